#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""opennrt tune: measures, keeps a table that explains itself, and shows the one in effect.
     test_tune.py <opennrt>"""
import os
import re
import subprocess
import sys
import tempfile
import unittest

TOOL = sys.argv.pop(1)


def run(*args, **env):
    p = subprocess.run([TOOL, "tune", *args], capture_output=True, text=True, timeout=150,
                       env={**os.environ, **env})
    return p.returncode, p.stdout, p.stderr


class Tune(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        self.env = {"XDG_CACHE_HOME": self.tmp.name, "OPENNRT_TUNE": ""}
        self.path = os.path.join(self.tmp.name, "opennrt", "tune")

    def test_measures_and_explains(self):
        rc, out, err = run("--largest", "1", **self.env)
        self.assertEqual(rc, 0, err)
        with open(self.path) as f:
            text = f.read()
        self.assertEqual(out, text + f"# kept in {self.path}\n")
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertTrue(text.startswith("opennrt-tune 1\nhost "))
        rules = [l for l in text.splitlines() if " to " in l and not l.startswith("#")]
        self.assertGreaterEqual(len(rules), 2 * (3 * 9 + 1) if (os.cpu_count() or 1) > 1 else 28)
        for line in rules:  # what was chosen is not slower than the fixed table, by its own figures
            if "# us:" not in line:
                continue
            rule, why = line.split("  # us: ")
            chosen = re.search(r"(staged|direct|inline) (through|around) slice (\d+)", rule)
            name = f"{chosen[1]} {chosen[2]} {int(chosen[3]) >> 10}K"
            ways = {}
            for way in why.split("; "):
                us, what = way.split(" ", 1)
                ways[what.replace(" (fixed table)", "")] = float(us)
                if what.endswith(" (fixed table)"):
                    fixed = float(us)
            self.assertLessEqual(ways[name], fixed, line)
        rc, out, err = run("--explain", **self.env)
        self.assertEqual((rc, out), (0, f"# {self.path}\n{text}"), err)

    def test_without_a_table(self):
        rc, out, _ = run("--explain", **self.env)
        self.assertEqual(rc, 0)
        self.assertIn("# the fixed table", out)
        self.assertIn("all_reduce spread to 512 inline through", out)
        os.makedirs(os.path.dirname(self.path))
        with open(self.path, "w") as f:
            f.write(out[out.index("opennrt-tune"):].replace("1\n", "1\nhost another\n", 1))
        os.chmod(self.path, 0o600)
        rc, out, _ = run("--explain", **self.env)
        self.assertEqual(rc, 0)
        self.assertIn("measured on another host", out)

    def test_usage(self):
        for args in (("--largest", "0"), ("--largest", "65"), ("--largest", "x"), ("extra",),
                     ("--what",)):
            self.assertEqual(run(*args, **self.env)[0], 2, args)
        self.assertEqual(run("--help", **self.env)[0], 0)
        rc, _, err = run("--output", os.path.join(self.tmp.name, "x" * 300), "--largest", "1",
                         **self.env)
        self.assertEqual(rc, 1)
        self.assertTrue(err.startswith("opennrt tune: "), err)


if __name__ == "__main__":
    unittest.main()
