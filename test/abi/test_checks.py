#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each checking script is seen to fail on a small tree that breaks its rule, and to pass without."""
import json
import os
import subprocess
import sys
import tempfile

SCRIPTS = sys.argv[1]
FAILED = []


TREES = tempfile.TemporaryDirectory(prefix="opennrt-checks-")


def tree(files):
    root = tempfile.mkdtemp(dir=TREES.name)
    for name, text in files.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    return root


def run(script, *args):
    done = subprocess.run([sys.executable, os.path.join(SCRIPTS, script)] + list(args), text=True,
                          capture_output=True, check=False)
    return done.returncode, done.stdout + done.stderr


def expect(what, got, code, text=""):
    if got[0] != code or text not in got[1]:
        FAILED.append("%s: exit %d, want %d and %r in:\n%s" % (what, got[0], code, text, got[1]))


def rooms():
    good = {"src/core/core.c": '#include "core/core.h"\n#include "base/err.h"\n',
            "src/core/core.h": '#include "neff/neff.h"\n', "src/neff/neff.h": "",
            "src/neff/neff.c": '#include "neff/neff_int.h"\n#include "neff/format.h"\n',
            "src/neff/neff_int.h": "", "include/neff/format.h": "", "src/base/err.h": ""}
    expect("rooms, good", run("check_rooms.py", tree(good)), 0)
    for what, file, text, said in (
            ("upwards", "src/base/err.h", '#include "core/core.h"\n', "not below base"),
            ("sideways", "src/topo/x.c", '#include "time/t.h"\n', "not below topo"),
            ("private", "src/core/core.c", '#include "neff/neff_int.h"\n', "private to neff"),
            ("unknown room", "src/misc/x.c", "", "not in the picture"),
            ("library", "src/core/core.c", "#include <rdma/fabric.h>\n", "only src/net/fabric.c may"),
            ("example", "examples/a.c", '#include "neff/neff.h"\n', "examples/a.c"),
            ("tool", "tools/a.c", '#include "neff/neff_int.h"\n', "tools/a.c"),
            ("public", "include/neff/format.h", '#include "base/err.h"\n', "include/neff")):
        extra = {"src/time/t.h": ""} if what == "sideways" else {}
        expect("rooms, " + what, run("check_rooms.py", tree({**good, **extra, file: text})), 1, said)
    picture = "## Rooms\n```\n  api      x\n  base     y\n```\n"
    expect("rooms, picture", run("check_rooms.py", tree({**good, "docs/design.md": picture})), 1,
           "draws")


def headers():
    good = "#include <stdint.h>\n#ifndef A\n#define A\nuint32_t f(void);\n#endif\n"
    expect("headers, good", run("check_headers.py", tree({"include/nrt/a.h": good})), 0)
    for what, name, text in (
            ("not alone", "include/nrt/a.h", "uint32_t f(void);\n"),
            ("no guard", "include/nrt/a.h", "struct s { int x; };\n"),
            ("not C++", "include/nrt/a.h", "int f(int class);\n"),
            ("not C", "include/nrt/a.h", "class f;\n"),
            ("leans on src", "include/nrt/a.h", '#include "base/err.h"\n'),
            ("internal", "src/base/err.h", "uint32_t f(void);\n")):
        files = {"include/nrt/z.h": good, "src/base/err.h": good, name: text}
        expect("headers, " + what, run("check_headers.py", tree(files)), 1, "1 failed"
               if what in ("not C++", "not C") else "failed")


def symbols():
    header = ("#include <stdint.h>\ntypedef struct s { int (*cb)(int); } s_t;\n"
              "typedef int (*fn_t)(int);\nstatic inline int here(int a) { if (a) { return 1; } return 2; }\n"
              "/* nrt_comment(); */\nint nrt_a(int x);\nuint64_t *nrt_b(\n    s_t *x, fn_t f)"
              " __attribute__((deprecated(\"x\")));\n")
    code = '#include "nrt/a.h"\nint nrt_a(int x) { return x; }\n'
    both = "uint64_t *nrt_b(s_t *x, fn_t f) { return 0; }\n"
    for what, source, result, said in (
            ("good", code + both, 0, "2 declared, 2 exported"),
            ("missing", code, 1, "declared but not exported: nrt_b"),
            ("extra", code + both + "int nrt_c(void) { return 0; }\n", 1,
             "exported but not declared: nrt_c"),
            ("swapped", code + "int nrt_c(void) { return 0; }\n", 1, "nrt_b")):
        root = tree({"include/nrt/a.h": header, "a.c": source})
        lib = os.path.join(root, "liba.so")
        subprocess.run(["gcc", "-shared", "-fPIC", "-I" + os.path.join(root, "include"), "-o", lib,
                        os.path.join(root, "a.c")], check=True)
        expect("symbols, " + what,
               run("check_symbols.py", lib, os.path.join(root, "include"), "nrt"), result, said)


def counts():
    """Of a failed test the lines that tell why and the end of both outputs are shown, of the sixth only the name."""
    def test(name, result, out="", err=""):
        return json.dumps({"name": name, "result": result, "stdout": out, "stderr": err, "duration": 1.5})

    long = "\n".join("line %d" % n for n in range(100))
    log = [test("good", "OK", "all well\nnone is NOT RUN"),
           test("most", "OK", "1..2\nNOT RUN rest: no room\nNOT RUN: more\n"),
           test("left", "SKIP", "NOT RUN left: no such device"), test("first", "FAIL", long, "why\n"), test("mute", "TIMEOUT")]
    cmocka = "[ RUN      ] here\n[  ERROR   ] --- rank 3 of 4\n[   LINE   ] --- t.c:7: error: Failure!\n" + long
    log += [test("unit", "FAIL", "[       OK ] there", cmocka)]
    log += [test("more-%d" % n, "FAIL", "said %d" % n) for n in range(3)]
    root = tree({"log.json": "\n".join(log) + "\n"})
    code, said = run("count_tests.py", os.path.join(root, "log.json"), "ci")
    got = code, said
    for text in ("NOT RUN ci left: no such device\n", "PART    ci most: not run: rest: no room\nPART    ci most: not run: more\n",
                 "FAILED  ci first: FAIL, after 2 s\n",
                 "stdout (60 lines before)\n        line 60\n", "        line 99\n        -- stderr\n        why\n",
                 "FAILED  ci mute: TIMEOUT, after 2 s\n        -- it printed nothing\n", "        said 1\n",
                 "FAILED  ci more-2: FAIL", "FAILED  ci unit: FAIL, after 2 s\n        > [ RUN      ] here\n"
                 "        > [  ERROR   ] --- rank 3 of 4\n        > [   LINE   ] --- t.c:7: error: Failure!\n        -- stdout"):
        expect("counts", got, 0, text)
    if "line 59" in said or "said 2" in said or "all well" in said or not said.endswith("\n2 6 3\n"):
        FAILED.append("counts: too much or the wrong sum in:\n" + said)
    expect("counts, nothing ran", run("count_tests.py", os.path.join(root, "none"), "ci"), 1)


def tables():
    """A test, a file, a tool and a target that exist; one that does not, in the last column only."""
    def page(cell):
        return {"docs/a.md": "| promise | shown by |\n|---|---|\n| `nobody` asks | %s |\n\n| x | y |\n|--|--|\n| `b` | `c` |\n"
                             % cell, "Makefile": "test: setup\n", "fuzz/fuzz_x.c": "", "docs/man/neuron-x.1": "",
                "test/unit/test_a.c": "static void it_is_so(void **state)\n{\n}\nCASE(made)\n",
                "test/b.py": "class B:\n    def test_b(self):\n        pass\n"}
    good = "`test_a` `it_is_so`, `made`; `b.py` `test_b`; `make test`, `fuzz_x`, `docs/a.md`, `neuron-x --all`"
    expect("tables, good", run("check_tables.py", tree(page(good)), "none"), 0, "9 names in tables, 0 unknown")
    for word in ("it_is_not", "test_c", "make it", "docs/b.md", "scripts/none.py", "neuron-y --all"):
        expect("tables, " + word, run("check_tables.py", tree(page("`%s`" % word)), "none"), 1, "there is no " + word)
    expect("tables, none", run("check_tables.py", tree({**page(""), "docs/a.md": "no table"}), "none"), 1)


rooms()
tables()
headers()
counts()
symbols()
for text in FAILED:
    print(text)
sys.exit(1 if FAILED else 0)
