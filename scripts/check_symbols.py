#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exported symbols of a library equal the functions that its headers declare, both ways.

    check_symbols.py [--cc gcc] [--nm nm] <library.so> <include root> <header folder>...

Declarations are read from the preprocessed headers, so comments and macros do not count. Prints the
names on one side only; exit 1 if there are any, or if either side is empty.
"""
import argparse
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "support"))
from proves import proves  # noqa: E402


def declared(cc, include, folders):
    """Names of functions declared in these folders' headers (static and inline ones are not)."""
    names = set()
    for folder in folders:
        top = os.path.join(include, folder)
        for header in sorted(os.listdir(top)):
            if not header.endswith(".h"):
                continue
            path = os.path.abspath(os.path.join(top, header))
            text = subprocess.run([cc, "-E", "-I" + include, path], check=True, text=True,
                                  capture_output=True).stdout
            names |= functions(own_lines(text, path))
    return names


def own_lines(text, path):
    """The lines of a preprocessed text that come from this file itself."""
    out, own = [], False
    for line in text.splitlines():
        m = re.match(r'# \d+ "([^"]*)"', line)
        if m:
            own = os.path.abspath(m.group(1)) == path
        elif own:
            out.append(line)
    return "\n".join(out)


def functions(text):
    text = re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)", "", text)
    while True:  # bodies: of functions become ";", of types vanish
        shorter = re.sub(r"(\)?)\s*\{[^{}]*\}", lambda m: ");" if m.group(1) else " ", text)
        if shorter == text:
            break
        text = shorter
    names = set()
    for statement in text.split(";"):
        statement = " ".join(statement.split())
        if re.match(r"(typedef|static|_Static_assert|static_assert|extern \"C\")\b", statement):
            continue
        m = re.search(r"\b([A-Za-z_]\w*)\s*\(", statement)
        if m and not statement.startswith("#"):
            names.add(m.group(1))
    return names


def exported(nm, library):
    text = subprocess.run([nm, "-D", "--defined-only", library], check=True, text=True,
                          capture_output=True).stdout
    names = set()
    for line in text.splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] != "A":  # A: the version nodes
            names.add(parts[2].split("@")[0])
    return names


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cc", default="gcc")
    p.add_argument("--nm", default="nm")
    p.add_argument("library")
    p.add_argument("include")
    p.add_argument("folders", nargs="+")
    a = p.parse_args()
    want, have = declared(a.cc, a.include, a.folders), exported(a.nm, a.library)
    for name in sorted(want - have):
        print("declared but not exported: " + name)
    for name in sorted(have - want):
        print("exported but not declared: " + name)
    print("%d declared, %d exported" % (len(want), len(have)))
    if want != have or not want:
        return 1
    if "nrt" in a.folders:
        proves("api-190")
    return 0


if __name__ == "__main__":
    sys.exit(main())
