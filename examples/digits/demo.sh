#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The main example, from the trained weights to classified images:
#     examples/digits/demo.sh BUILD [STEP]
# BUILD is a build folder; every STEP-th byte of the NEFF is flipped at the end (default 1: all).
# DEMO_WRAP, a command such as "valgrind -q", is put in front of the classifier, which is then timed less.
# Ends with 0 only if every step did what it says, with 77 where that command is not installed.
set -eu

if [ -n "${DEMO_WRAP:-}" ] && ! command -v "${DEMO_WRAP%% *}" >/dev/null; then
    echo "NOT RUN demo under ${DEMO_WRAP%% *}: it is not installed"
    exit 77
fi

build=$(cd "$1" && pwd)
step=${2:-1}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
# An instance of its own, so that the memory account shows this program only.
export OPENNRT_INSTANCE=demo$$ OPENNRT_INSTANCE_TYPE=trn1.2xlarge NEURON_RT_NUM_CORES=1
cleanup() {
    rm -rf "$work"
    for d in /dev/shm "${XDG_RUNTIME_DIR:-/tmp}" /tmp; do
        rm -rf "$d/opennrt-$(id -u)-$OPENNRT_INSTANCE"
    done
}
trap cleanup EXIT

# The distribution's Python first: it is the one that setup.sh gives NumPy.
python=
for p in /usr/bin/python3 python3; do
    [ -n "$python" ] || ! "$p" -c 'import numpy' 2>/dev/null || python=$p
done
[ -n "$python" ] || { echo "demo.sh: no python3 with NumPy" >&2; exit 1; }

title() { printf '\n== %s\n' "$*"; }
# The INFO records of a run without their prefix.
account() { sed -n '/dml_log_dev_neff_mem/,/^$/p' "$1" | sed '1d;$d'; }
device_time() { sed -n 's/.*\(device time .*\)/\1/p' "$1" | tail -1; }

title "NumPy reference, images held out of training"
"$python" "$here/reference.py" "$work"

title "Build the NEFF"
"$build/examples/digits_build" "$here" "$work/digits.neff"
"$build/tools/neuron-packager/neuron-packager" info "$work/digits.neff"

title "Load and execute one batch: run_neff digits.neff images batch0.bin"
(cd "$work" && OPENNRT_DEVICE_TIME=1 NEURON_RT_LOG_LEVEL=INFO NEURON_RT_LOG_LOCATION=console \
    "$build/examples/run_neff" digits.neff images batch0.bin >run.txt 2>run.log) ||
    { cat "$work/run.log"; exit 1; }
grep '^output' "$work/run.txt"
title "Memory account of the load"
account "$work/run.log"
title "Predicted device time of a batch"
device_time "$work/run.log" | grep .

title "Classify"
# Unquoted: a command and its options.
${DEMO_WRAP:-} "$build/examples/digits_classify" "$work/digits.neff" "$work" ${DEMO_WRAP:+3}

title "One causal attention head"
"$build/tools/opennrt/opennrt" asm "$here/../attention/attention.nasm" -o "$work/attention.neff"
"$python" "$here/../attention/attention.py" inputs "$work"
(cd "$work" && OPENNRT_DEVICE_TIME=1 NEURON_RT_LOG_LEVEL=INFO NEURON_RT_LOG_LOCATION=console \
    "$build/examples/run_neff" attention.neff q q.bin k k.bin v v.bin >run.txt 2>run.log) ||
    { cat "$work/run.log"; exit 1; }
"$python" "$here/../attention/attention.py" check "$work"
device_time "$work/run.log" | grep .

title "Flip one bit of a byte, with NEURON_RT_VALIDATE_HASH=1"
"$build/examples/digits_flip" "$work/digits.neff" "$step"
