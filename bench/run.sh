#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the benchmarks of a build folder: bench/run.sh BUILD [row ...]
# One host thread, then the rows that want two. Ends with 0 unless something could not run at all;
# missed goals are in the table.
set -eu
build=$(cd "$1" && pwd)
shift
here=$(cd "$(dirname "$0")" && pwd)
for p in /usr/bin/python3 python3; do
    [ -n "${BENCH_PYTHON:-}" ] || ! "$p" -c 'import numpy' 2>/dev/null || export BENCH_PYTHON=$p
done
export BENCH_NUMPY=$here/numpy_peer.py NEURON_RT_NUM_CORES=1 POCL_DEVICES="basic pthread"
export OPENNRT_INSTANCE=bench$$ OPENNRT_INSTANCE_TYPE=trn1.2xlarge
trap 'for d in /dev/shm "${XDG_RUNTIME_DIR:-/tmp}" /tmp; do
          rm -rf "$d/opennrt-$(id -u)-$OPENNRT_INSTANCE"; done' EXIT
model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
echo "# $(nproc) CPUs, ${model:-unknown}; load $(cut -d' ' -f1 /proc/loadavg)"
run() {
    OMP_NUM_THREADS=$1 OPENBLAS_NUM_THREADS=$1 "$build/bench/bench" --threads "$@" || [ $? = 3 ]
}
run 1 "$@"
if [ "$(nproc)" -ge 2 ]; then
    run 2 "$@"
else
    echo "two host threads: NOT RUN: one CPU"
fi
# Write, execute and read of three sets of tensors at the same time, by the example of docs/performance.md.
pipeline="pipeline write, execute, read of 4 MiB"
wanted=$([ $# -gt 0 ] || echo yes)
for word in "$@"; do
    case $pipeline in *"$word"*) wanted=yes ;; esac
done
if [ -n "$wanted" ]; then
    work=$(mktemp -d)
    "$build/tools/opennrt/opennrt" asm "$here/../examples/performance/layer.nasm" -o "$work/layer.neff"
    OPENNRT_HOST_THREADS=1 "$build/examples/performance_tips" "$work/layer.neff" pipeline 200 |
        awk -v name="$pipeline" '
            /at the same time/ { us = $(NF - 1) } /^ideal/ { ideal = $2 }
            /of the ideal/ { share = $(NF - 1)
                printf "%-46s %10.1f  %-20s %10.1f %-8s %7.2f  at least 0.90 of the ideal: %s\n", name, us,
                    "(ideal, share)", ideal, "us", share / 100, (share >= 90 ? "met" : "MISSED") }'
    rm -rf "$work"
fi
