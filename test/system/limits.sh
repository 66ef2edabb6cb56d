#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A plain client on hosts that lack something: address space, room in /dev/shm, an instance of its own
# version. It ends with 0, or with 1 and a message that says what is missing; never by a signal.
#     limits.sh <opennrt> <run_neff>
set -u
opennrt=$(realpath "$1")
run_neff=$(realpath "$2")
fails=0
work=$(mktemp -d)
export OPENNRT_INSTANCE=limits-test-$$ OPENNRT_INSTANCE_TYPE=trn1.2xlarge
cleanup() {
    rm -rf "$work"
    for d in /dev/shm "${XDG_RUNTIME_DIR:-/tmp}" /tmp; do
        rm -rf "$d/opennrt-$(id -u)-$OPENNRT_INSTANCE" "$d/opennrt-0-$OPENNRT_INSTANCE" # root of a name space
    done
}
trap cleanup EXIT
cd "$work" || exit 1
cat >copy.nasm <<'END'
var a: input f32[128, 4]
var c: output f32[128, 4]
queue q: data owner=sp n=16
sem moved
sp:
    dma on q -> moved: c <- a
    wait moved >= 16: end
END
"$opennrt" asm copy.nasm -o copy.neff || exit 1

# ends <name> <exit code> <text that must be said> -- command
ends() {
    local name=$1 code=$2 text=$3 rc
    shift 4
    "$@" >out.txt 2>&1
    rc=$?
    if [ $rc -ne "$code" ] || ! grep -qF -- "$text" out.txt; then
        echo "FAILED $name: exit code $rc, wanted $code and \"$text\" in:"
        tail -20 out.txt
        fails=$((fails + 1))
    else
        echo "ok $name"
    fi
}

ends "no limit" 0 "" -- "$run_neff" copy.neff

# A limit of the address space, kB. Where the program itself cannot be started nothing is asked of it.
limited() { bash -c 'ulimit -v "$0"; exec "$@"' "$@"; }
refused=0 done=0
if limited 30000000 "$opennrt" --help >/dev/null 2>&1; then
    for kb in $(seq 40000 15000 400000) $(seq 1000000 1500000 40000000); do
        limited "$kb" "$opennrt" --help >/dev/null 2>&1 || continue
        limited "$kb" "$run_neff" copy.neff >out.txt 2>&1
        rc=$?
        if [ $rc = 0 ]; then
            done=$((done + 1))
        elif [ $rc = 1 ] && grep -q "ERROR .*\(memory\|cannot map\)" out.txt; then
            refused=$((refused + 1))
        elif [ $rc != 127 ]; then # the loader's, for a program larger than the one asked first
            echo "FAILED address space of $kb kB: exit code $rc"
            tail -5 out.txt
            fails=$((fails + 1))
        fi
    done
    echo "address space: $refused refused with a message, $done done"
    [ $refused -ge 5 ] && [ $done -ge 5 ] || { echo "FAILED: too few of one of them"; fails=$((fails + 1)); }
else
    echo "left out: limits of the address space, under which this build cannot run"
fi

if unshare -rm true 2>/dev/null; then
    # What does not fit into /dev/shm goes elsewhere; with nowhere else it is said.
    ends "/dev/shm of 1 MiB" 0 "" -- unshare -rm bash -c \
        "mount -t tmpfs -o size=1m none /dev/shm && '$run_neff' copy.neff"
    # Where: /dev/shm, else the user's runtime folder, else /tmp; for this user alone.
    mkdir -m 700 run
    for place in "$work/run" /tmp; do
        runtime=$place
        [ "$place" != /tmp ] || runtime=/nowhere/at/all
        ends "the control block in $place" 0 "modes 700 and 600" -- env XDG_RUNTIME_DIR="$runtime" unshare -rm bash -c "
            mount -t tmpfs -o ro none /dev/shm && '$run_neff' copy.neff || exit
            cd '$place/opennrt-0-$OPENNRT_INSTANCE' && echo modes \$(stat -c %a .) and \$(stat -c %a control)"
    done
    ends "64 KiB in all" 1 "no folder for the control block" -- unshare -rm bash -c \
        "mount -t tmpfs -o size=64k none /dev/shm && mount -t tmpfs -o size=64k none /tmp &&
         env -u XDG_RUNTIME_DIR '$run_neff' copy.neff"
else
    echo "left out: this host allows no mount name space"
fi

# An instance that another version left.
dir=/dev/shm/opennrt-$(id -u)-$OPENNRT_INSTANCE
if [ -f "$dir/control" ]; then
    ours=$("$opennrt" --version 2>/dev/null | sed 's/.* //')
    printf '9.8.7\0' | dd of="$dir/control" bs=1 seek=16 conv=notrunc status=none
    printf '\115\0\0\0' | dd of="$dir/control" bs=1 seek=8 conv=notrunc status=none
    ends "other version" 1 "was made by version 9.8.7" -- "$run_neff" copy.neff
    grep -F "this is version $ours" out.txt | grep -qF "opennrt reset" ||
        { echo "FAILED: it does not say this version and the remedy"; fails=$((fails + 1)); }
    ends "reset" 0 "removed" -- "$opennrt" reset
    ends "after reset" 0 "" -- "$run_neff" copy.neff
else
    echo "left out: an instance of another version; this one is not in /dev/shm"
fi
exit $((fails > 0))
