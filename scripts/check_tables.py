#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tables of promises name tests, commands and files that exist.

    check_tables.py <root> <intro-tests.json of a build, or none>

In a table whose last column is headed "shown by", each word in backquotes of that column must be the name of a test,
a test program without its suffix, a function of a test, a target of the Makefile ("make x"), a file from the root or
somewhere in test/, or begin with one of the commands below or a tool's name. Exit 1 when one is not, or when there is
no such table.
"""
import json
import os
import re
import sys

COMMANDS = ("scripts/", "bench/", "test/", "readelf ", "meson ")


def words(path):
    """(line, word) of the last column."""
    inside = False
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            cells = [c.strip() for c in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            if not line.startswith("|"):
                inside = False
            elif cells[-1] == "shown by":
                inside = True
            elif inside:
                for word in re.findall(r"`([^`]+)`", cells[-1]):
                    yield number, word


def known(root, tests):
    """Everything that may be named by a word of its own."""
    names = set(tests)
    for folder, _, files in os.walk(os.path.join(root, "test")):
        for file in files:
            if not file.endswith((".c", ".h", ".py", ".sh")):
                continue
            names |= {file, file.split(".")[0]}
            with open(os.path.join(folder, file), encoding="utf-8") as f:
                text = f.read()
            if file.endswith(".py"):
                names |= set(re.findall(r"^\s*def (\w+)\(", text, re.M))
            else:  # functions, and those that macros make of their names
                names |= set(re.findall(r"^(?:static )?[\w ]*?[ *](\w+)\(", text, re.M))
                names |= set(re.findall(r"^[A-Z]\w*\((\w+)\)", text, re.M))
    for file in os.listdir(os.path.join(root, "fuzz")):
        names.add(file.split(".")[0])
    with open(os.path.join(root, "Makefile"), encoding="utf-8") as f:
        names |= {"make " + t for t in re.findall(r"^([a-z-]+):", f.read(), re.M)}
    return names


def main():
    root, intro = os.path.abspath(sys.argv[1]), sys.argv[2]
    tests = []
    if intro != "none":
        with open(intro, encoding="utf-8") as f:
            tests = [t["name"] for t in json.load(f)]
    names = known(root, tests)
    tools = {f[:-len(".1")] for f in os.listdir(os.path.join(root, "docs/man"))}
    seen = bad = 0
    pages = [os.path.join(folder, f) for top in ("docs", "examples") for folder, _, files in os.walk(os.path.join(root, top))
             for f in files if f.endswith(".md")]
    for page in sorted(pages):
        for number, word in words(page):
            seen += 1
            first = word.split()[0]
            if word in names or first in tools or word.startswith(COMMANDS) and not (
                    "/" in first and not os.path.exists(os.path.join(root, first))):
                continue
            if os.path.exists(os.path.join(root, word)) or word.startswith("make ") and " ".join(word.split()[:2]) in names:
                continue
            print("%s:%d: there is no %s" % (os.path.relpath(page, root), number, word))
            bad += 1
    print("%d names in tables, %d unknown" % (seen, bad))
    return 1 if bad or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
