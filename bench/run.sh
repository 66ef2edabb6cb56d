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
work=$(mktemp -d)
trap 'for d in /dev/shm "${XDG_RUNTIME_DIR:-/tmp}" /tmp; do
          rm -rf "$d/opennrt-$(id -u)-$OPENNRT_INSTANCE" "$d/opennrt-$(id -u)-$OPENNRT_INSTANCE"-*; done
      rm -rf "$work"' EXIT
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
    "$build/tools/opennrt/opennrt" asm "$here/../examples/performance/layer.nasm" -o "$work/layer.neff"
    OPENNRT_HOST_THREADS=1 "$build/examples/performance_tips" "$work/layer.neff" pipeline 200 |
        awk -v name="$pipeline" '
            /at the same time/ { us = $(NF - 1) } /^ideal/ { ideal = $2 }
            /^what the stages/ { left = $7 } /^of what they leave/ { rest = $(NF - 1) }
            /of the ideal/ { share = $(NF - 1)
                printf "%-46s %10.1f  %-20s %10.1f %-8s %7.2f  at least 0.90 of the ideal: %s\n", name, us,
                    "(ideal, share)", ideal, "us", share / 100, (share >= 90 ? "met" : "MISSED") }
            END { if (share == "") print name ": NOT RUN: no figures"
                else printf "%-46s %10.1f  %-20s %10.1f %-8s %7.2f\n", "  by what stages beside each other leave", us,
                    "(ideal, share)", left, "us", rest / 100 }'
fi
# What it costs to be looked at, by medians of rounds in turns: processor time of executions of the digits demo and of
# a program of one instruction; time of the overlap example's four ranks.
looked() { # name, way, unit (ns, %), most
    awk -v name="$1" -v way="$2" -v unit="$3" -v most="$4" '
        /^nothing looks on/ { base = $4 }
        index($0, way) == 1 { cost = unit == "ns" ? $(NF - 3) : $(NF - 1)
            printf "%-46s %10.1f  %-20s %10.1f %-8s %7s  at most %g: %s\n", name, cost + 0,
                "(cost, alone ns)", base, unit, "-", most, (cost <= most ? "met" : "MISSED") }
        END { if (cost == "") print name ": NOT RUN: no figures" }'
}
row() { # whether a row of this name is wanted
    [ -z "$all" ] || return 0
    for word in $words; do
        case $1 in *"$word"*) return 0 ;; esac
    done
    return 1
}
unwatched() { # name, side, unit (ns, %), most: what the library takes more; what two equal ones differ by
    awk -v name="$1" -v side="$2" -v unit="$3" -v most="$4" '
        function more() { return (unit == "ns" ? $at : $(at + 2)) + 0 }
        { at = 0; for (i = 1; i < NF && !at; i++) if ($(i + 1) == "ns") at = i }
        /^nobody looks on/ { base = $at } index($0, side) == 1 { cost = more() }
        /^more than its copy/ { same = more() }
        END { if (base == "" || cost == "" || same == "") { print name ": NOT RUN: no figures"; exit }
              noise = same < 0 ? -same : same
              verdict = cost <= most ? "met" : cost <= noise ? "not decided (noise)" : "MISSED"
              printf "%-46s %10.2f  %-20s %10.2f %-8s %7s  ", name, cost, "(cost, equal ones)", same, unit, "-"
              if (most == "") printf "by where code lies, no goal (alone %.1f ns)\n", base
              else printf "at most %g: %s (alone %.1f ns)\n", most, verdict, base }'
}
all=$([ $# -gt 0 ] || echo yes) words=$*
if row "recording profile"; then
    printf '.name "one"\nsp:\n    end\n' >"$work/one.nasm"
    "$build/tools/opennrt/opennrt" asm "$work/one.nasm" -o "$work/one.neff"
    "$build/examples/digits_build" "$here/../examples/digits" "$work/digits.neff" >"$work/built"
    OPENNRT_HOST_THREADS=1 "$build/bench/trace_cost" "$work/one.neff" 41 20000 >"$work/one"
    OPENNRT_HOST_THREADS=1 "$build/bench/trace_cost" "$work/digits.neff" 41 300 >"$work/digits"
    looked "recording device time, one instruction" "device time" ns 100 <"$work/one"
    looked "recording device time, digits" "device time" % 20 <"$work/digits"
    looked "device profile, digits" "device profile" % 5 <"$work/digits"
    looked "system trace, digits" "system trace" % 5 <"$work/digits"
    looked "inspection of everything, digits" "inspection" % 5 <"$work/digits"
    off() { # what beside the library, program, processes, rounds, executions
        OPENNRT_HOST_THREADS=1 "$build/bench/off_cost" "$work/$2.neff" "$build/src/libnrt.so.1.0.0" "$1" "${@:3}"
    }
    if python3 "$here/off_patch.py" "$build/src/libnrt.so.1.0.0" "$work/libnrt-patched.so"; then
        off "$work/libnrt-patched.so" one 120 11 2000 |
            unwatched "not looked on, one instruction" "more than the other" ns 2
    else
        echo "not looked on, one instruction: NOT RUN: no copy with its places overwritten"
    fi
    off "$build/bench/libnrt-blind.so" one 60 11 2000 |
        unwatched "beside a build without, one instruction" "more than the other" ns ""
    off "$build/bench/libnrt-moved.so" one 60 11 2000 |
        unwatched "beside itself 16 bytes on, one instruction" "more than the other" ns ""
    off "$build/bench/libnrt-blind.so" digits 24 7 40 |
        unwatched "not looked on, digits" "more than the other" % 1
    if [ -n "${BENCH_PYTHON:-}" ]; then
        "$BENCH_PYTHON" "$here/../examples/overlap/overlap.py" "$build" --recording 11 --times 20 >"$work/overlap"
        looked "recording device time, overlap" "device time" % 20 <"$work/overlap"
    else
        echo "recording device time, overlap: NOT RUN: no NumPy"
    fi
fi
