#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# opennrt doctor and reset on hosts with something wrong: each fault is made, and must be named with
# its remedy. What needs a mount name space is left out where the host forbids one, and says so.
set -u
opennrt=$(realpath "$1")
fails=0
export OPENNRT_INSTANCE=doctor-test-$$

# Below whatever is not well stands a remedy, and nowhere else.
remedied() {
    awk '/^ +remedy: ./ { bad += !open; open = 0; next }
        { bad += open; open = /^(note|warning|error) / }
        END { exit bad + open > 0 }' <<<"$1"
}

# expect <name> <exit code> <level and check as printed> <text of the remedy or finding> -- command
expect() {
    local name=$1 code=$2 line=$3 text=$4 out rc
    shift 5
    out=$("$@" 2>&1)
    rc=$?
    if [ $rc -ne "$code" ] || ! grep -qE "^$line" <<<"$out" || ! grep -qF -- "$text" <<<"$out" ||
        ! remedied "$out"; then
        echo "FAILED $name: exit code $rc, wanted $code, \"$line\", \"$text\" in:"
        echo "$out"
        fails=$((fails + 1))
    else
        echo "ok $name"
    fi
}

expect healthy 0 "ok +record locks" "they work" -- "$opennrt" doctor
# A sanitized build reserves terabytes of addresses, so it cannot start under a limit, and reads its
# options and looks for leaks through /proc.
sanitized=0
if bash -c "ulimit -v 20000000; '$opennrt' --help" >/dev/null 2>&1; then
    expect "address space" 1 "error +address space" "ulimit -v unlimited" -- \
    bash -c "ulimit -v 4000000; '$opennrt' doctor"
    expect "address space, enough for one" 0 "warning +address space" "ulimit -v unlimited" -- \
    bash -c "ulimit -v 20000000; '$opennrt' doctor"
else
    sanitized=1
    echo "left out: the address-space limits and a host without /proc, where this build cannot run"
fi
expect "an HBM as the type has" 0 "ok +HBM" "16.000GB each" -- "$opennrt" doctor
expect "a small HBM" 0 "note +HBM" "unset OPENNRT_HBM_MIB" -- env OPENNRT_HBM_MIB=128 "$opennrt" doctor
for mib in 63 many 17000; do
    expect "an HBM of $mib MiB" 1 "error +HBM" "unset OPENNRT_HBM_MIB" -- env OPENNRT_HBM_MIB=$mib "$opennrt" doctor
done
expect "open files" 0 "warning +open files" "ulimit -n" -- bash -c "ulimit -n 32; '$opennrt' doctor"
expect "file size" 1 "error +file size" "ulimit -f unlimited" -- bash -c "ulimit -f 1000; '$opennrt' doctor"
expect "no file size" 1 "error +file size" "ulimit -f unlimited" -- bash -c "ulimit -f 0; '$opennrt' doctor"
expect "instance name" 1 "error +instance" "another name in OPENNRT_INSTANCE" -- "$opennrt" doctor --instance a/b
expect "no HOME" 0 "warning +HOME" "export HOME" -- env -u HOME "$opennrt" doctor
expect "HOME missing" 0 "note +HOME" "caches" -- env HOME=/nowhere/at/all "$opennrt" doctor
expect "one CPU" 0 "warning +CPUs" "more CPUs" -- taskset -c 0 "$opennrt" doctor
expect "OPENNRT_DIR missing" 1 "error +sharing" "OPENNRT_DIR a writable folder" -- \
    env OPENNRT_DIR=/nowhere/at/all "$opennrt" doctor
expect usage 2 "usage:" "unknown instance type" -- "$opennrt" doctor --type trn9.big
expect "unknown command" 2 "usage:" "unknown command" -- "$opennrt" cure
expect "no instance" 0 "there is no instance" "$OPENNRT_INSTANCE" -- "$opennrt" reset

# Providers of libfabric: hidden, of one machine only, and as they are.
if ldconfig -p | grep -q 'libfabric\.so\.1 .*x86-64' && [ -e /usr/include/rdma/fabric.h ]; then
    expect "network" 0 "ok +network" "providers " -- env -u FI_PROVIDER "$opennrt" doctor
    expect "no provider between nodes" 0 "warning +network" "let FI_PROVIDER name one" -- \
        env FI_PROVIDER=shm "$opennrt" doctor
    expect "no provider" 0 "warning +network" "there are: none" -- \
        env FI_PROVIDER=nobody "$opennrt" doctor
fi

if unshare -rm true 2>/dev/null; then
    # A host with other facts: the files that the checks read, with other contents.
    facts=$(mktemp -d)
    trap 'rm -rf "$facts"' EXIT
    meminfo() { # kB available
        sed "s/^MemAvailable:.*/MemAvailable: $1 kB/" /proc/meminfo >"$facts/meminfo"
    }
    with_facts() { # mounts, then doctor
        unshare -rm bash -c "$1; '$opennrt' doctor"
    }
    meminfo 100000
    expect "no memory" 1 "error +memory" "free memory: device memory is host memory" -- \
        with_facts "mount --bind '$facts/meminfo' /proc/meminfo"
    meminfo 2000000
    expect "less memory than promised" 0 "note +memory" "fine as long as" -- \
        with_facts "mount --bind '$facts/meminfo' /proc/meminfo"
    mkdir -p "$facts/kernel/yama"
    for scope in 0 1 3; do
        echo $scope >"$facts/kernel/yama/ptrace_scope"
        if [ $scope = 0 ]; then line="ok +ptrace" text="not restricted"; else
            line="note +ptrace +yama ptrace_scope $scope" text="debuggers attach only"; fi
        expect "ptrace scope $scope" 0 "$line" "$text" -- \
            with_facts "mount --bind '$facts/kernel' /proc/sys/kernel"
    done
    fabric=$(ldconfig -p | awk '/libfabric\.so\.1 / { print $NF; exit }')
    if [ -n "$fabric" ]; then
        expect "no libfabric" 0 "note +network" "install libfabric" -- \
            with_facts "mount --bind /dev/null '$(realpath "$fabric")'"
    fi
    expect "read-only /tmp" 0 "warning +/tmp" "mount a writable /tmp" -- \
        unshare -rm bash -c "mount --rbind /tmp /tmp; mount -o remount,bind,ro /tmp; '$opennrt' doctor"
    expect "/dev/shm too small" 0 "warning +/dev/shm" "shm-size" -- unshare -rm bash -c \
        "mount -t tmpfs -o size=1m none /dev/shm; '$opennrt' doctor --type trn2.48xlarge"
    expect "/dev/shm read-only" 0 "warning +/dev/shm" "mount a tmpfs" -- \
        unshare -rm bash -c "mount -t tmpfs -o ro none /dev/shm; '$opennrt' doctor"
    expect "no folder at all" 1 "error +folder" "writable" -- unshare -rm bash -c \
        "mount -t tmpfs -o ro none /dev/shm; mount --rbind /tmp /tmp; mount -o remount,bind,ro /tmp
         env -u XDG_RUNTIME_DIR '$opennrt' doctor"
    # Without /proc the loader cannot find libraries next to the program.
    libs=$(ldd "$opennrt" | awk '/libnrt|libneff/ { sub("/[^/]*$", "", $3); print $3; exit }')
    group=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
    limits=/sys/fs/cgroup/memory$group
    for version in 1 2; do
        if [ $version = 1 ] && [ -z "$group" ] || [ $version = 2 ] && ! grep -q ^0:: /proc/self/cgroup; then
            echo "left out: a limit of cgroups of version $version, which this host does not have"
            continue
        fi
        expect "cgroup limit, version $version" 0 "warning +cgroup" "limit 1.000GB" -- unshare -rm bash -c "
            mount -t tmpfs none /sys/fs/cgroup
            if [ $version = 1 ]; then
                mkdir -p '$limits'; cd '$limits'
                echo 1073741824 >memory.limit_in_bytes; echo 1000000000 >memory.usage_in_bytes
            else
                dir=/sys/fs/cgroup\$(sed -n s/^0:://p /proc/self/cgroup); mkdir -p \"\$dir\"; cd \"\$dir\"
                echo 1073741824 >memory.max; echo 1000000000 >memory.current
            fi
            echo 'anon 5' >memory.stat
            '$opennrt' doctor"
    done
    if [ $sanitized = 0 ]; then
        expect "no /proc" 0 "warning +sharing" "set OPENNRT_DIR" -- \
            env LD_LIBRARY_PATH="$libs" unshare -rm bash -c "mount -t tmpfs none /proc; '$opennrt' doctor"
    fi
else
    echo "left out: this host allows no mount name space"
fi

# An instance of another version, as it lies in shared memory.
dir=/dev/shm/opennrt-$(id -u)-$OPENNRT_INSTANCE
if mkdir -m 700 "$dir" 2>/dev/null; then
    head -c 65536 /dev/zero >"$dir/control"
    expect "left-over instance" 1 "error +instance" "opennrt reset" -- "$opennrt" doctor
    expect "reset removes it" 0 "instance \"" "removed" -- "$opennrt" reset
    [ ! -e "$dir" ] || { echo "FAILED: $dir is still there"; fails=$((fails + 1)); }
fi
exit $((fails > 0))
