#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every header of include/ and src/ compiles alone, in C17 and in C++17.

    check_headers.py [--cc gcc] [--cxx g++] [root] [build folder with generated headers]

Public headers get only -Iinclude, so that they cannot lean on ours. Two kinds of internal headers are
exempt: *_int.h, and those that use C11 atomics and are not their room's face (src/<room>/<room>.h), from C++;
and *_body.h and vec_*.h, text that a room's C files include with macros or processor flags, from both.
"""
import argparse
import concurrent.futures
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "test", "support"))
from proves import proves  # noqa: E402

def is_text(name):
    return name.endswith("_body.h") or name.startswith("vec_")


def headers(root):
    for top in ("include", "src"):
        for folder, _, files in os.walk(os.path.join(root, top)):
            for name in sorted(files):
                if name.endswith(".h") and not is_text(name):
                    yield os.path.relpath(os.path.join(folder, name), root)


def c_only(root, header):
    parts = header.split("/")
    if parts[0] == "include" or parts[-1] == parts[-2] + ".h":
        return False
    if parts[-1].endswith("_int.h"):
        return True
    with open(os.path.join(root, header), encoding="utf-8") as f:
        text = f.read()
    return "_Atomic" in text or "<stdatomic.h>" in text


def compile_one(root, build, compiler, lang, std, header):
    flags = ["-std=" + std, "-x", lang, "-fsyntax-only", "-Wall", "-Wextra", "-Werror",
             "-Wno-unused-parameter", "-Wno-unused-function", "-I" + os.path.join(root, "include")]
    if header.startswith("src/"):
        flags += ["-D_GNU_SOURCE", "-I" + os.path.join(root, "src"),
                  "-I" + os.path.join(build, "src"), "-I" + os.path.join(build, "data")]
        if lang == "c":
            flags[0] = "-std=gnu17"
        else:
            flags[0] = "-std=gnu++17"
    elif lang == "c":
        flags.append("-pedantic")  # a published struct ends in a flexible array: no ISO C++
    name = header.split("/", 1)[1]
    lines = ['#include "%s"' % name] * 2 + [""]  # twice, for the guard
    done = subprocess.run([compiler] + flags + ["-"], input="\n".join(lines), text=True,
                          capture_output=True, check=False)
    if done.returncode != 0:
        return "%s in %s (%s):\n%s" % (header, std, compiler, done.stderr[:1500])
    return None


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cc", default="gcc")
    p.add_argument("--cxx", default="g++")
    p.add_argument("root", nargs="?", default=os.path.join(os.path.dirname(__file__), ".."))
    p.add_argument("build", nargs="?", default="build")
    a = p.parse_args()
    root = os.path.abspath(a.root)
    jobs = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for h in headers(root):
            jobs.append(pool.submit(compile_one, root, a.build, a.cc, "c", "c17", h))
            if not c_only(root, h):
                jobs.append(pool.submit(compile_one, root, a.build, a.cxx, "c++", "c++17", h))
        bad = [j.result() for j in jobs if j.result() is not None]
    for text in bad:
        print(text)
    print("%d compilations, %d failed" % (len(jobs), len(bad)))
    if bad or not jobs:
        return 1
    proves("api-191")
    return 0


if __name__ == "__main__":
    sys.exit(main())
