#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""For each section of the checklist, a deliberately broken build turns the section's lines open.

    check_breaks.py <source folder> <work folder> [section...]

Runs the tests of an unbroken build once, each with a log of proofs of its own, so that it is known which
test proves which line. Then it builds with -Dbreak=<section> (src/base/broken.h), runs the tests again that
proved a line of the section, and demands that none of these lines is proven by the broken build. Sections
without a proven line are listed as such: there is nothing to open. Where sections are named, the proofs of an
unbroken run that the work folder already holds are taken, so that the work can be done in pieces.
Exit 1 if a line stays proven, 77 if nothing could be checked.
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

SECTIONS = {"neff": 1, "ovl": 2, "mem": 3, "hbm": 4, "perf": 5, "dump": 6, "inter": 7, "intra": 8,
            "api": 9, "tool": 10}
SUITES = ("unit", "system", "abi", "oracle")
# Before each test: its own log, named by its command line.
WRAPPER = "sh -c 'OPENNRT_PROVES_LOG=$0/$(printf %%s \"$*\" | md5sum | cut -c1-32) exec \"$@\"' %s"


def say(text):
    print(text, flush=True)


def build(source, folder, section):
    env = dict(os.environ)
    options = ["-Dbreak=" + section, "-Dbuildtype=debug"]  # with fuzz targets, which tables of the docs name
    if os.path.exists(os.path.join(folder, "build.ninja")):
        cmd = ["meson", "configure", folder] + options
    else:
        cmd = ["meson", "setup", folder, source] + options
    subprocess.run(cmd, check=True, env=env, stdout=subprocess.DEVNULL)
    # A test whose compilation the defect prevents must not run as it was before.
    for top, _, files in os.walk(os.path.join(folder, "test")):
        for name in files:
            path = os.path.join(top, name)
            if name.startswith("test_") and "." not in name and os.access(path, os.X_OK):
                os.remove(path)
    # -k 0: where a defect shows as a refused compilation, the other tests still get built.
    done = subprocess.run(["ninja", "-C", folder, "-k", "0", "-j2"], check=False, env=env, text=True,
                          capture_output=True)
    if done.returncode != 0 and section == "none":
        sys.exit("check_breaks.py: the unbroken build fails:\n" + done.stdout[-3000:])


def tests_of(folder):
    """{name of the log: name of the test} of the suites that prove lines."""
    listed = json.loads(subprocess.run(["meson", "introspect", "--tests", folder], check=True, text=True,
                                       capture_output=True).stdout)
    return {hashlib.md5(" ".join(t["cmd"]).encode()).hexdigest(): t["name"] for t in listed
            if any(s.split(":")[-1] in SUITES for s in t["suite"])}


def prove(folder, names, must_pass):
    """{test: lines that it proved}. names: the tests to run, None for all."""
    logs = os.path.join(folder, "proofs")
    shutil.rmtree(logs, ignore_errors=True)
    os.mkdir(logs)
    env = dict(os.environ, ORACLE_CASES=os.environ.get("ORACLE_CASES", "25"))
    for selected in [names] if names else [["--suite", s] for s in SUITES]:
        done = subprocess.run(["meson", "test", "-C", folder, "--no-rebuild", "-t", "4", "--wrapper", WRAPPER % logs]
                              + selected, check=False, env=env, text=True, capture_output=True)
        if must_pass and done.returncode != 0:
            sys.exit("check_breaks.py: the unbroken tests fail:\n" + done.stdout[-3000:])
    tests = tests_of(folder)
    proofs = {}
    for log in os.listdir(logs):
        with open(os.path.join(logs, log), encoding="utf-8") as f:
            proofs[tests[log]] = sorted({line.split()[0] for line in f if line.strip()})
    return proofs


def main():
    source, work = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    with open(os.path.join(source, "docs/spec/checklist.md"), encoding="utf-8") as f:
        sections = {re.match(r"- \[.\] `([a-z]+)-", line).group(1) for line in f
                    if line.startswith("- [")}
    wanted = sys.argv[3:] or sorted(sections, key=lambda s: SECTIONS.get(s, 99))
    os.makedirs(work, exist_ok=True)
    folder = os.path.join(work, "build")
    kept = os.path.join(work, "unbroken.json")
    if len(sys.argv) == 3 or not os.path.exists(kept):
        build(source, folder, "none")
        with open(kept, "w", encoding="utf-8") as f:
            json.dump(prove(folder, None, True), f, indent=1)
    with open(kept, encoding="utf-8") as f:
        whole = json.load(f)
    bad = checked = 0
    for section in wanted:
        names = sorted(t for t, lines in whole.items() if any(i.split("-")[0] == section for i in lines))
        mine = {i for t in names for i in whole[t] if i.split("-")[0] == section}
        if not mine:
            say("%-6s nothing proven yet, nothing to open" % section)
            continue
        build(source, folder, section)
        broken = prove(folder, names, False)
        still = sorted("%s (%s)" % (i, t) for t in broken for i in broken[t] if i in mine)
        checked += 1
        say("%-6s %d lines proven, %d still proven when broken%s" % (
            section, len(mine), len(still), ": " + ", ".join(still) if still else ""))
        bad += bool(still)
    build(source, folder, "none")
    if not checked:
        return 77
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
