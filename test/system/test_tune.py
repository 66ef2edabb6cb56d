#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""opennrt tune: measures, keeps a table that explains itself, and shows the one in effect.
     test_tune.py <opennrt>"""
import os
import re
import resource
import subprocess
import sys
import tempfile
import unittest

TOOL = sys.argv.pop(1)


def run(*args, **env):  # confirming alone may take five minutes on a busy host
    p = subprocess.run([TOOL, "tune", *args], capture_output=True, text=True, timeout=800,
                       env={**os.environ, **env})
    return p.returncode, p.stdout, p.stderr


class Tune(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        self.env = {"XDG_CACHE_HOME": self.tmp.name, "OPENNRT_TUNE": ""}
        self.path = os.path.join(self.tmp.name, "opennrt", "tune")

    def test_measures_and_explains(self):
        if "ASAN_OPTIONS" in os.environ:  # scripts/sanitized.sh; --verify measures there, too
            print("NOT RUN measures_and_explains: a sanitizer makes minutes of it")
            return
        rc, out, err = run("--largest", "1", **self.env)
        self.assertEqual(rc, 0, err)
        with open(self.path) as f:
            text = f.read()
        self.assertEqual(out, text + f"# kept in {self.path}\n")
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        self.assertTrue(text.startswith("opennrt-tune 1\nhost "))
        rules = [l for l in text.splitlines() if " to " in l and not l.startswith("#")]
        self.assertGreaterEqual(len(rules), 2 * (3 * 9 + 1) if (os.cpu_count() or 1) > 1 else 28)
        said = self.check_confirmation(text, rules)
        for line in rules:  # what was chosen is not slower than the fixed table, by its own figures
            line = re.split(r"  # (?:confirmed|fell) at ", line)[0]
            if "# us:" not in line:
                continue
            rule, why = line.split("  # us: ")
            chosen = re.search(r"(staged|direct|inline) (through|around) slice (\d+)", rule)
            name = f"{chosen[1]} {chosen[2]} {int(chosen[3]) >> 10}K"
            why, _, left = why.partition("  # left at: ")  # at the first measuring
            ways = {}
            for way in why.split("; "):
                us, what = way.split(" ", 1)
                ways[what.replace(" (fixed table)", "")] = float(us)
                if what.endswith(" (fixed table)"):
                    fixed = float(us)
            self.assertLessEqual(ways[name], fixed, line)
            for way in left.split("; ") if left else ():
                self.assertNotIn(way.split(" ", 1)[1].replace(" (fixed table)", ""), ways, line)
        rc, out, err = run("--explain", **self.env)
        self.assertEqual((rc, out), (0, f"# {self.path}\n{text}"), err)
        # and what is measured anew afterwards is what was confirmed, by the same ways
        rc, out, err = run("--verify", "--largest", "1", **self.env)
        self.assertEqual(rc, 0, err)
        rows = [l.split() for l in out.splitlines() if not l.startswith("#")]
        self.assertEqual(sorted((r[0], r[1], int(r[2])) for r in rows), sorted(said))

    def check_confirmation(self, text, rules):
        """What the comments say of the confirmation agrees with the table. Returns where it differs from the fixed one."""
        head = re.search(r"^# measured anew before it was kept, in turns with the fixed table: (\d+) choices confirmed by "
                         r"7 trials each, (\d+) fell back$", text, re.M)
        self.assertTrue(head, text)
        figures = r"([\d.]+) of the fixed table's time \(([\d.]+) to ([\d.]+) in (\d+) trials?\)"
        said, fell = [], 0
        busy = " could not be measured anew"  # in five minutes
        for line in rules:
            rule, *parts = re.split(r"  # (?=confirmed at |fell at )", line)
            op, crowd, _, limit, variant, path, _, size = rule.split("  # ")[0].split()
            way = f"{variant} {path} {int(size) >> 10}K"
            for part in parts:
                if busy in part:
                    self.assertRegex(part, r"^fell at \d+: .* was chosen," + busy + ".*: the fixed table's choice stays$")
                    fell += 1
                    continue
                m = re.fullmatch(r"(confirmed|fell) at (\d+): (?:(.*) was chosen, )?took " + figures + "(.*)", part)
                self.assertTrue(m, part)
                at, median, low, high, trials = int(m[2]), float(m[4]), float(m[5]), float(m[6]), int(m[7])
                self.assertTrue(limit == "any" or at <= int(limit), line)
                self.assertTrue(low <= median <= high, part)
                if m[1] == "confirmed":
                    self.assertTrue(median <= 0.95 and trials == 7 and m[8] == "", part)
                    said.append((op, crowd, 0 if op == "barrier" else at))
                else:  # of a size beside a fallen one nothing is asked
                    fell += 1
                    self.assertTrue(m[8].endswith(": the fixed table's choice stays"), part)
                    self.assertTrue("beside it fell" in m[8] or high >= 1 or median >= 0.95, part)
                    self.assertNotEqual(m[3], way, line)
        kept = len(said)
        for line in re.findall(r"^# wait \S+, (?:confirmed|fell) at .*$", text, re.M):
            if busy in line:
                fell += 1
                continue
            m = re.fullmatch(r"# wait (\S+), (confirmed|fell) at (\S+) of (\d+) bytes: spins (\d+) yields (\d+)"
                             r"(?: was chosen,)? took " + figures + "(?:: the fixed table's choice stays)?", line)
            self.assertTrue(m, line)
            stays = f"wait {m[1]} spins {m[5]} yields {m[6]}\n" in text
            self.assertEqual(stays, m[2] == "confirmed", line)
            fell += not stays
            kept += stays
            if stays:
                said.append((m[3], m[1], 0 if m[3] == "barrier" else int(m[4])))
        self.assertEqual((kept, fell), (int(head[1]), int(head[2])))
        return said

    def test_verify(self):
        """By figures of its own: what is the same as the fixed table has none, what is not has both."""
        rc, out, err = run("--verify", **self.env)
        self.assertEqual((rc, out), (1, ""))
        self.assertIn("no table to verify", err)
        head = ["opennrt-tune 1", "wait spread spins 2000 yields 16", "wait crowded spins 0 yields 1000"]
        with open(self.path_made(), "w") as f:  # slow on purpose, at all sizes from 257 to 4096
            f.write("\n".join(head + ["all_reduce spread to 256 inline through slice 65536",
                                      "all_reduce crowded to 256 inline through slice 65536",
                                      "all_reduce spread to 4096 staged through slice 65536",
                                      "all_reduce crowded to 4096 staged through slice 65536"]
                              + ["%s %s to %s %s through slice 65536" % (op, crowd, limit, how)
                                 for op in ("all_reduce", "all_gather", "reduce_scatter", "barrier")
                                 for crowd, most in (("spread", "512"), ("crowded", "2048"))
                                 for limit, how in (((most, "inline"), ("any", "direct")) if op != "barrier"
                                                    else (("any", "inline"),))]) + "\n")
        os.chmod(self.path, 0o600)
        rc, out, err = run("--verify", "--largest", "1", **self.env)
        self.assertEqual(rc, 0, err)
        lines = out.splitlines()
        self.assertEqual(lines[0], f"# {self.path}")
        rows = [l.split() for l in lines if not l.startswith("#")]
        crowds = ("spread", "crowded") if (os.cpu_count() or 1) > 1 else ("crowded",)
        # measured sizes, and the middle of every stretch between two of them in which no table changes its means
        where = [("all_reduce", crowd, size) for crowd, between in (("spread", (384, 768)), ("crowded", (640,)))
                 for size in (*between, 1024, 1536, 2048, 3072, 4096)]
        self.assertEqual([(r[0], r[1], int(r[2])) for r in rows], where)
        count = sum(crowd in crowds for _, crowd, _ in where)
        for r in rows:
            if r[1] in crowds:
                fixed, tuned, ratio, itself = (float(x) for x in r[3:7])
                self.assertTrue(fixed > 0 and tuned > 0 and itself > 0)
                # of what was printed with two digits
                self.assertGreaterEqual(ratio + 0.001, (tuned - 0.005) / (fixed + 0.005))
                self.assertLessEqual(ratio - 0.001, (tuned + 0.005) / (fixed - 0.005))
                way = " ".join(r[7:])
                self.assertIn(" -> staged through 64K, spins ", way)
                first = "inline" if int(r[2]) <= (1024 if r[1] == "crowded" else 512) else "direct"
                self.assertTrue(way.startswith(first + " through 64K, spins "), way)
        self.assertRegex(lines[-1], r"^# %d of \d+ sizes differ from the fixed table: ratio median [\d.]+, worst "
                                    r"[\d.]+ \(all_reduce " % count)
        ratios = sorted(float(r[5]) for r in rows if r[1] in crowds)
        self.assertIn("ratio median %.3f, worst %.3f (" % (ratios[len(ratios) // 2], ratios[-1]), lines[-1])
        itself = sorted(float(r[6]) for r in rows if r[1] in crowds)
        self.assertTrue(lines[-1].endswith("; of the fixed table to itself %.3f to %.3f" % (itself[0], itself[-1])))

    def path_made(self):
        os.makedirs(os.path.dirname(self.path))
        return self.path

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

    def test_nowhere_to_keep_it(self):
        """Is told before anything is measured: where nothing can be, for want of an address space, too."""
        path = os.path.join(self.tmp.name, "x" * 300)
        for little in (False,) if "ASAN_OPTIONS" in os.environ else (True, False):
            p = subprocess.run([TOOL, "tune", "--output", path, "--largest", "1"], capture_output=True, text=True,
                               check=False, env={**os.environ, **self.env}, preexec_fn=little and (
                                   lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))) or None)
            self.assertEqual((p.returncode, p.stdout), (1, ""))
            self.assertTrue(p.stderr.startswith(f"opennrt tune: {path}."), p.stderr)
            self.assertTrue(p.stderr.endswith(": File name too long\n"), p.stderr)


if __name__ == "__main__":
    unittest.main()
