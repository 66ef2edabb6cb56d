#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# conformance.sh <build folder>: runs the tests with a log of proofs; if they pass, writes docs/conformance.md.
set -eu
build=$1
root=$(cd "$(dirname "$0")/.." && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
OPENNRT_PROVES_LOG=$log meson test -C "$build" --no-rebuild --print-errorlogs -t 4 --no-suite slow || {
    echo "conformance.sh: the tests failed; docs/conformance.md is unchanged" >&2
    exit 1
}
"$root/scripts/conformance.py" "$root/docs/spec/checklist.md" "$log" "$root/docs/conformance.md"
