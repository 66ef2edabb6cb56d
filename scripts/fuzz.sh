#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh <libFuzzer build folder> <seconds> [target...]: every target for that long, on a copy of its
# corpus, so that the checked-in one changes only by hand. Findings stay in <build folder>/findings.
set -eu
build=$1 seconds=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -gt 0 ] || set -- $(cd "$root/fuzz" && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')
failed=""
mkdir -p "$build/findings"
for x in "$@"; do
    exe=$build/fuzz/fuzz_$x
    [ -x "$exe" ] || { echo "fuzz.sh: $exe is not built" >&2; failed="$failed $x"; continue; }
    mkdir -p "$build/corpus/$x"
    echo "== $x for $seconds s"
    if ! "$root/scripts/sanitized.sh" "$exe" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
        -artifact_prefix="$build/findings/$x-" -print_final_stats=1 \
        "$build/corpus/$x" "$root/fuzz/corpus/$x" >"$build/findings/$x.log" 2>&1; then
        failed="$failed $x"
        tail -30 "$build/findings/$x.log"
    fi
    grep -E "stat::number_of_executed_units|cov:" "$build/findings/$x.log" | tail -2
done
[ -z "$failed" ] || { echo "findings or failures in:$failed"; exit 1; }
echo "no findings"
