#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""count_tests.py <testlog.json> <label>: counts of a run of `meson test`.

Prints one line NOT RUN per skipped test; one line PART for each part of a passed one that says NOT RUN (it counts as
skipped, beside the test); one line FAILED per failed one with the lines that say what went wrong, then the end of
what it printed (the first SHOWN of them: of a machine that one cannot log into, this is all one has); and, last,
"passed failed skipped". Exit 1 when the log is missing or holds no test.
"""
import json
import re
import sys

SHOWN, LINES, TELLING = 5, 40, 12
# Lines of cmocka, of Python's unittest, of the sanitizers and of the programs' own checks that tell a failure.
TELLS = re.compile(r"^\[ +(ERROR|FAILED|LINE)|^(ERROR|FAIL(ED)?|Traceback|\w*Error)\b|: error:|runtime error:"
                   r"|ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|Assertion|AssertionError|Segmentation")


def telling(test):
    """The lines that tell what failed, each with the line before it: they stand in front of a report that may be
    cut on its way."""
    lines = [s for name in ("stdout", "stderr") for s in (test.get(name) or "").splitlines()]
    found = [i for i, line in enumerate(lines) if TELLS.search(line)]
    wanted = sorted({j for i in found for j in (i - 1, i) if j >= 0})[:TELLING]
    return ["        > " + lines[i] for i in wanted]


def end_of(test):
    """The last LINES lines of each of the two outputs, indented; the errors last, as a report stands there."""
    out = []
    for stream in ("stdout", "stderr"):
        lines = (test.get(stream) or "").rstrip().splitlines()
        if lines:
            left = len(lines) - LINES
            out.append("        -- %s%s" % (stream, " (%d lines before)" % left if left > 0 else ""))
            out += ["        " + line for line in lines[-LINES:]]
    return out or ["        -- it printed nothing"]


def reason(test):
    """What a skipped test printed: the last line that says why."""
    lines = [s for s in (test.get("stdout") or "").splitlines() + (test.get("stderr") or "").splitlines()
             if s.strip()]
    for line in reversed(lines):
        m = re.search(r"NOT RUN[^:]*: *(.*)|SKIP[A-Z]*:? *(.*)", line)
        if m:
            return m.group(1) or m.group(2) or line
    return lines[-1] if lines else "the test gave no reason"


def parts(test):
    """What a test that passed has said of what it left out."""
    return [m.group(1) for s in (test.get("stdout") or "").splitlines() for m in [re.match(r"NOT RUN:? *(.*)", s)] if m]


def main():
    passed = failed = skipped = 0
    try:
        with open(sys.argv[1], encoding="utf-8") as f:
            tests = [json.loads(line) for line in f if line.strip()]
    except OSError:
        return 1
    for t in tests:
        if t["result"] in ("OK", "EXPECTEDFAIL"):
            passed += 1
            for part in parts(t):
                skipped += 1
                print("PART    %s %s: not run: %s" % (sys.argv[2], t["name"], part))
        elif t["result"] == "SKIP":
            skipped += 1
            print("NOT RUN %s %s: %s" % (sys.argv[2], t["name"], reason(t)))
        else:
            failed += 1
            print("FAILED  %s %s: %s, after %.0f s" % (sys.argv[2], t["name"], t["result"],
                                                      t.get("duration") or 0))
            if failed <= SHOWN:
                print("\n".join(telling(t) + end_of(t)))
    print(passed, failed, skipped)
    return 0 if tests else 1


if __name__ == "__main__":
    sys.exit(main())
