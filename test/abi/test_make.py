#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every target of the Makefile first sees to its packages, with the one script that knows them; what the comment at its
head lists is there, and the other way round. Nothing is run but `make -n`.

    test_make.py <source root>
"""
import os
import re
import subprocess
import sys

ROOT = sys.argv[1]
with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as f:
    TEXT = f.read()
LISTED = set(re.findall(r"^#     make ([a-z-]+)", TEXT, re.M))
PHONY = set(re.search(r"^\.PHONY: (.*)$", TEXT, re.M).group(1).split())
ASKED = {"demo", "test", "bench", "install", "fuzz", "asan", "tsan"}  # what a newcomer is told of
assert ASKED <= LISTED, ASKED - LISTED
assert LISTED == PHONY - {"all", "clean"}, LISTED ^ PHONY
for target in sorted(PHONY - {"clean"}):
    done = subprocess.run(["make", "-n", "-C", ROOT, target, "PREFIX=/nowhere"], text=True, capture_output=True, check=False,
                          env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if not re.match(r"make(\[\d+\])?: ", line)]
    assert re.fullmatch(r"scripts/setup\.sh [a-z]+", commands[0]), (target, commands[0])
    kinds = commands[0].split()[1:]
    with open(os.path.join(ROOT, "scripts/setup.sh"), encoding="utf-8") as f:
        assert re.search(r"^\s+%s\)" % kinds[0], f.read(), re.M), kinds
print("%d targets" % (len(PHONY) - 1))
