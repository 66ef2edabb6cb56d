#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""For each section of the checklist, a deliberately broken build turns the section's lines open.

    check_breaks.py <source folder> <work folder> [section...]

Runs the tests of an unbroken build once, then builds with -Dbreak=<section> (src/base/broken.h), runs
them again with a log of proofs, and demands that no line of the section which the unbroken build proves is
proven by the broken one. Sections without a proven line are listed as such: there is nothing to open.
Exit 1 if a line stays proven, 77 if nothing could be checked.
"""
import os
import re
import subprocess
import sys

SECTIONS = {"neff": 1, "ovl": 2, "mem": 3, "hbm": 4, "perf": 5, "dump": 6, "inter": 7, "intra": 8,
            "api": 9, "tool": 10}
SUITES = ["--suite", "unit", "--suite", "system", "--suite", "abi"]


def say(text):
    print(text, flush=True)


def build(source, folder, section):
    env = dict(os.environ)
    options = ["-Dbreak=" + section, "-Dfuzzers=off", "-Dbuildtype=debug"]
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


def prove(folder, must_pass):
    log = os.path.join(folder, "proofs.log")
    if os.path.exists(log):
        os.remove(log)
    done = subprocess.run(["meson", "test", "-C", folder, "--no-rebuild"] + SUITES,
                          env=dict(os.environ, OPENNRT_PROVES_LOG=log), check=False, text=True,
                          capture_output=True)
    if must_pass and done.returncode != 0:
        sys.exit("check_breaks.py: the unbroken tests fail:\n" + done.stdout[-3000:])
    if not os.path.exists(log):
        return set()
    with open(log, encoding="utf-8") as f:
        return {line.split()[0] for line in f if line.strip()}


def main():
    source, work = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    with open(os.path.join(source, "docs/spec/checklist.md"), encoding="utf-8") as f:
        sections = {re.match(r"- \[.\] `([a-z]+)-", line).group(1) for line in f
                    if line.startswith("- [")}
    wanted = sys.argv[3:] or sorted(sections, key=lambda s: SECTIONS.get(s, 99))
    os.makedirs(work, exist_ok=True)
    folder = os.path.join(work, "build")
    build(source, folder, "none")
    whole = prove(folder, True)
    bad = checked = 0
    for section in wanted:
        mine = {i for i in whole if i.split("-")[0] == section}
        if not mine:
            say("%-6s nothing proven yet, nothing to open" % section)
            continue
        build(source, folder, section)
        still = sorted(mine & prove(folder, False))
        checked += 1
        say("%-6s %d lines proven, %d still proven when broken%s" % (
            section, len(mine), len(still), ": " + " ".join(still) if still else ""))
        bad += bool(still)
    build(source, folder, "none")
    if not checked:
        return 77
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
