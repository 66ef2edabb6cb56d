#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# neuron-dump: what the Neuron Runtime runs when an execution has failed (docs/dumps.md). The runtime has
# left its snapshots in the local directory; this adds what is to be known of the host to each of them,
# and uploads the directory where a prefix is given. To change what a core dump holds, put another
# program in its place.
set -u
LC_ALL=C
export LC_ALL

usage() {
    cat <<'END'
usage: neuron-dump --local-output-dir DIR --instance-id ID --pid N --tid N --log-id N [...]

Completes the core dump that the Neuron Runtime has begun in a directory.

  --neff-name NAME           name from the NEFF's header
  --neff-uuid HEX            UUID from the NEFF's header
  --date-time TIME           yyyy-mm-dd-HH-MM
  --pid N, --tid N           process and thread that failed
  --log-id N                 number of this dump in its process
  --instance-id ID           of the instance
  --cluster-id HEX           of the collective job; zeros without one
  --error-location NAME      function of the API that failed
  --error-code N             what it returned
  --local-output-dir DIR     where the snapshots are
  --s3-output-prefix PREFIX  where to upload them, with the aws command
  --help                     this text
  --version                  version of this tool
END
}

fail() {
    echo "neuron-dump: $1" >&2
    exit "${2-1}"
}

name= uuid= date= pid= tid= log= instance= cluster= location= code= dir= s3=
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h)
        usage
        exit # 1 where standard output is full
        ;;
    --version)
        echo "neuron-dump @VERSION@ (OpenNRT, software device)"
        exit
        ;;
    --neff-name | --neff-uuid | --date-time | --pid | --tid | --log-id | --instance-id | --cluster-id | \
        --error-location | --error-code | --local-output-dir | --s3-output-prefix)
        [ $# -ge 2 ] || fail "$1 needs a value" 2
        ;;
    *) fail "unknown argument \"$1\"; --help tells more" 2 ;;
    esac
    case $1 in
    --neff-name) name=$2 ;;
    --neff-uuid) uuid=$2 ;;
    --date-time) date=$2 ;;
    --pid) pid=$2 ;;
    --tid) tid=$2 ;;
    --log-id) log=$2 ;;
    --instance-id) instance=$2 ;;
    --cluster-id) cluster=$2 ;;
    --error-location) location=$2 ;;
    --error-code) code=$2 ;;
    --local-output-dir) dir=$2 ;;
    --s3-output-prefix) s3=$2 ;;
    esac
    shift 2
done
for number in "$pid" "$tid" "$log"; do
    case $number in
    '' | *[!0-9]*) fail "--pid, --tid and --log-id are numbers" 2 ;;
    esac
done
[ -n "$instance" ] || fail "--instance-id is missing" 2
[ -n "$dir" ] || fail "no local directory: --local-output-dir is empty"
[ -d "$dir" ] || fail "there is no directory $dir"

# A text as a quoted value of a snapshot's line.
quoted() {
    printf '"%s"' "$(printf '%s' "$1" | tr -c '[:print:]' '?' | sed 's/\\/\\x5c/g; s/"/\\x22/g')"
}

# The output of a command, a line each; nothing if there is no such command.
lines() {
    kind=$1
    shift
    command -v "$1" >/dev/null 2>&1 || return 0
    timeout 10 "$@" 2>/dev/null </dev/null | while IFS= read -r line; do
        printf '%s text=%s\n' "$kind" "$(quoted "$line")"
    done
}

packages() {
    echo '[packages]'
    if command -v dpkg-query >/dev/null 2>&1; then
        lines package dpkg-query -W 'aws-neuron*' 'opennrt*'
    elif command -v rpm >/dev/null 2>&1; then
        lines package rpm -qa 'aws-neuron*' 'opennrt*'
    fi
}

host() {
    echo '[host]'
    printf 'call neff_name=%s neff_uuid=%s date_time=%s cluster_id=%s error_location=%s error_code=%s\n' \
        "$(quoted "$name")" "$(quoted "$uuid")" "$(quoted "$date")" "$(quoted "$cluster")" \
        "$(quoted "$location")" "$(quoted "$code")"
    lines host uname -a
    lines host uptime
    lines host df -h "$dir"
    lines host head -n 3 /proc/meminfo
    here=$(dirname -- "$(readlink -f -- "$0")")
    [ ! -x "$here/neuron-ls" ] || lines device "$here/neuron-ls"
}

what=$(packages && host && echo '[complete]') || fail "the host could not be described"
found=0
for file in "$dir/$instance"-nd*-pid-"$pid"-tid-"$tid"-lid-"$log"; do
    [ -f "$file" ] && [ ! -h "$file" ] || continue # what somebody has linked there is another file
    printf '%s\n' "$what" >>"$file" || fail "cannot write to $file"
    found=$((found + 1))
done
[ "$found" -gt 0 ] || fail "no snapshot of process $pid, thread $tid, log id $log in $dir"

[ -n "$s3" ] || exit 0
command -v aws >/dev/null 2>&1 || fail "cannot upload to $s3: there is no aws command"
aws s3 cp --recursive "$dir" "$s3" >&2 || fail "the upload to $s3 failed"
