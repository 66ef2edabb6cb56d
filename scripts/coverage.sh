#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# coverage.sh <build folder> [goal]: line coverage of every parser of untrusted bytes, from the unit
# tests and the replay of the fuzz corpora. Exit 1 when a file is below the goal (90 per cent).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=$1
goal=${2:-90}
parsers="src/base/npy.c src/neff/json.c src/neff/neff_header.c src/neff/neff_tar.c src/neff/neff_def.c
         src/neff/neff_var.c src/neff/neff_engine.c src/neff/neff_desc.c src/neff/neff_graph.c
         src/neff/neff_coll.c src/neff/neff_debug.c src/neff/neff_check.c src/isa/check.c
         src/isa/check_compute.c src/isa/check_seq.c src/isa/rules.c src/isa/asm_lex.c
         src/isa/asm_expr.c src/isa/asm_ref.c src/isa/asm_decl.c src/isa/asm_rec.c src/isa/asm_stmt.c
         src/isa/operand.c src/isa/print.c src/neff/asm_glue.c src/neff/neff_image.c
         src/net/msg.c src/sched/text.c src/sched/tune_text.c src/coll/tell_msg.c src/device/fault_item.c
         tools/opennrt/dump_file.c tools/viewer/lines.c
         tools/nccom-test/sets.c tools/nccom-test/result.c"
# Files that were split keep their prefix: whatever else begins like a parser is one.
for f in "$root"/src/isa/asm*.c "$root"/src/isa/rules*.c; do
    case " $(echo $parsers) " in
    *" ${f#"$root"/} "*) ;;
    *) parsers="$parsers ${f#"$root"/}" ;;
    esac
done

find "$build" -name '*.gcda' -delete
meson test -C "$build" --no-rebuild -t 4 --suite unit --suite fuzz >"$build/coverage-tests.log" 2>&1 || {
    tail -20 "$build/coverage-tests.log"
    echo "coverage.sh: the tests failed" >&2
    exit 1
}
low=0
printf '%-28s %8s %7s\n' parser lines covered
for f in $parsers; do
    if [ ! -f "$root/$f" ]; then
        echo "$f: there is no such file; name what took its place"
        low=1
        continue
    fi
    case $f in # what Meson calls the object of a room, and of a tool
    src/*) object=$(echo "${f#src/}" | tr / _) data=$build/src ;;
    *) object=${f##*/} data=$build/${f%/*} ;;
    esac
    data=$(find "$data" -name "$object.gcda" | head -1)
    line=""
    [ -z "$data" ] || line=$(cd "$build" && gcov -n "${data#"$build"/}" 2>/dev/null |
        grep -F -A1 "$f'" | sed -n 's/^Lines executed:\([0-9.]*\)% of \([0-9]*\)$/\1 \2/p' | head -1)
    set -- ${line:-0 0}
    mark=""
    if awk "BEGIN { exit !($1 < $goal) }"; then
        mark="  below $goal"
        low=1
    fi
    printf '%-28s %8s %6s%%%s\n' "$f" "$2" "$1" "$mark"
done
exit $low
