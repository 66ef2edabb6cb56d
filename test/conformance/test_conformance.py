#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The generator on a made-up checklist and log, and the real checklist's shape."""
import os
import subprocess
import sys
import tempfile

SCRIPT, CHECKLIST = sys.argv[1:3]
FAKE = """# Definition
## 1. First things
- [ ] `aa-001` one thing — doc 1
- [ ] `aa-002` another | thing — doc 2; more
## 2. Second things
- [ ] `bb-001` a last thing
"""


def run(checklist, log):
    with tempfile.TemporaryDirectory() as d:
        for name, text in (("c.md", checklist), ("log", log)):
            with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                f.write(text)
        out = os.path.join(d, "out.md")
        done = subprocess.run([sys.executable, SCRIPT, os.path.join(d, "c.md"),
                               os.path.join(d, "log"), out], text=True, capture_output=True, check=False)
        text = open(out, encoding="utf-8").read() if os.path.exists(out) else None
        return done.returncode, done.stdout + done.stderr, text


def expect(cond, what):
    if not cond:
        print("FAILED:", what)
        sys.exit(1)


code, said, text = run(FAKE, "")
expect(code == 0 and "0 of 3 lines proven, 3 open" in said, "no proofs: everything open")
expect(text.count("| open |") == 3 + 1, "no proofs: every line says open")

code, said, text = run(FAKE, "aa-002 test/b.c:7\naa-002 test/a.c:3\naa-002 test/a.c:9\n")
expect(code == 0 and "**1 of 3 lines proven, 2 open.**" in text, "total")
expect("| `aa-002` | another \\| thing | `test/a.c`, `test/b.c` |" in text, "the proof's places")
expect("| `aa-001` | one thing | open |" in text, "an open line")
expect("| 1. First things | 1 | 1 | 2 |" in text, "section count")
expect("| 2. Second things | 0 | 1 | 1 |" in text, "section without proofs")

code, said, text = run(FAKE, "aa-003 test/a.c:3\n")
expect(code != 0 and "aa-003 (test/a.c)" in said and text is None, "unknown id")
code, said, text = run(FAKE, "aa-001 nonsense\n")
expect(code != 0 and text is None, "malformed line")
code, said, text = run("nothing\n", "")
expect(code != 0, "empty checklist")

# The real checklist: every item parses, ids are unique, ten sections.
items = [s for s in open(CHECKLIST, encoding="utf-8") if s.startswith("- [")]
with tempfile.NamedTemporaryFile("w", suffix=".log") as empty:
    done = subprocess.run([sys.executable, SCRIPT, CHECKLIST, empty.name], text=True,
                          capture_output=True, check=True)
expect("0 of %d lines proven" % len(items) in done.stdout, "every item of the checklist is read")
ids = [s.split("`")[1] for s in items]
expect(len(set(ids)) == len(ids), "ids are unique")
