#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models of the protocol between ranks, searched in full by spin.

    run_spin.py <folder of the models> <compiler...>        77: spin is not installed

A model passes when spin finds no error, and fails with each of the defects that its comment lists: one that
goes unnoticed would mean that the model does not see what it is there for.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

MODELS = ("wake", "bells", "lines", "lease")


def search(path, compiler, defect, folder):
    """(errors, states) of a full search."""
    define = ["-D" + defect] if defect else []
    subprocess.run(["spin", *define, "-a", path], cwd=folder, check=True, stdout=subprocess.PIPE,
                   stderr=subprocess.STDOUT)
    subprocess.run([*compiler, "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c"], cwd=folder, check=True)
    text = subprocess.run(["./pan", "-m100000"], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
    errors = re.search(r"errors: (\d+)", text)
    states = re.search(r"(\d+) states, stored", text)
    if not errors or not states or "max search depth too small" in text or "out of memory" in text:
        sys.exit("run_spin.py: the search of %s was not complete:\n%s" % (path, text))
    return int(errors.group(1)), int(states.group(1))


def defects_of(path):
    """Names at the beginning of the lines of the list in the head comment."""
    with open(path, encoding="utf-8") as f:
        head = f.read().split("*/\n")[1]
    return re.findall(r"^ \*   ([A-Z_]+) +\S", head.split("Defects")[1], re.M)


def main():
    models, compiler = sys.argv[1], sys.argv[2:]
    failed = 0
    if not shutil.which("spin"):
        print("NOT RUN: spin is not installed")
        return 77
    for name in MODELS:
        path = os.path.abspath(os.path.join(models, name + ".pml"))
        defects = defects_of(path)
        if not defects:
            sys.exit("run_spin.py: %s lists no defects" % path)
        for defect in [None] + defects:
            with tempfile.TemporaryDirectory() as folder:
                errors, states = search(path, compiler, defect, folder)
            if (errors > 0) != (defect is not None):
                print("FAILED %s with %s: %d errors" % (name, defect or "no defect", errors))
                failed += 1
            elif defect is None:
                print("%s: %d states, %d defects" % (name, states, len(defects)))
    print("%d failed" % failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
