#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the benchmarks of collectives of a build folder: bench/run_coll.sh BUILD [word ...]
# What its processes leave, however they end, goes with it.
set -eu
build=$(cd "$1" && pwd)
shift
export OPENNRT_INSTANCE=bench-coll$$
BENCH_TMP=$(mktemp -d)
export BENCH_TMP
trap 'for d in /dev/shm "${XDG_RUNTIME_DIR:-/tmp}" /tmp; do
          rm -rf "$d/opennrt-$(id -u)-$OPENNRT_INSTANCE"-*; done
      rm -rf "$BENCH_TMP"' EXIT
"$build/bench/bench_coll" "$@"
