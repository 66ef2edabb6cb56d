#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""opennrt schedule: what it prints is a schedule, its picture is XML with a box for every step that moves
data, wrong usage is told.     test_schedule.py <opennrt>"""
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ET

TOOL = sys.argv.pop(1)
SVG = "{http://www.w3.org/2000/svg}"
TABLE = ["--op", "all_gather_v", "--alg", "mesh", "--ranks", "3", "--table"]
RING = ["--op", "all_gather", "--alg", "ring", "--ranks", "4", "--count", "64", "--channels", "1"]


def run(*args):
    p = subprocess.run([TOOL, "schedule", *args], capture_output=True, text=True, timeout=120)
    return p.returncode, p.stdout, p.stderr


class Schedule(unittest.TestCase):
    def test_steps(self):
        rc, out, err = run(*RING)
        self.assertEqual((rc, err), (0, ""))
        lines = out.splitlines()
        self.assertEqual(lines[0], "schedule ranks 4 channels 1")
        self.assertEqual(sum(x.startswith("rank ") for x in lines), 4)
        # N - 1 hops of one slice: N - 1 steps that write to the next rank, each followed by its signal.
        for r in range(4):
            to = (r + 1) % 4
            self.assertTrue(any("@%d" % to in x for x in lines))
        self.assertEqual(sum("signal recv" in x for x in lines), 12)
        rc, one, err = run(*RING, "--rank", "2")
        self.assertEqual(rc, 0)
        self.assertIn("rank 2 channel 0", one)
        self.assertNotIn("rank 1 channel 0", one)

    def test_proof_and_counts(self):
        rc, out, err = run(*RING, "--check")
        self.assertEqual((rc, err), (0, ""))
        self.assertTrue(out.startswith("proved: 4 ranks, 1 channels, "), out)
        rc, out, err = run(*RING, "--counts")
        rows = [x.split() for x in out.split("\n\n")[0].splitlines()[1:]]
        self.assertEqual(len(rows), 4)
        for row in rows:  # section 6.1: sends (N-1)*C, touches 2N-1 in units of C
            self.assertEqual(int(row[2]), 3 * 64 * 4)
            self.assertEqual(int(row[4]) + int(row[5]), 7 * 64)
        flows = out.split("\n\n")[1].splitlines()[1:]
        self.assertEqual([x.split()[1:] for x in flows],
                         [[str(r), str((r + 1) % 4), str(3 * 64)] for r in range(4)])

    def moved(self, op, *args):
        """(from, to) -> elements, of ranks that send each other some."""
        rc, out, err = run("--op", op, "--alg", "mesh", "--ranks", "3", "--counts", "--check", *args)
        self.assertEqual((rc, err), (0, ""))
        self.assertIn("proved: 3 ranks", out)
        flows = {}
        for x in out.split("\n\n")[1].splitlines()[1:]:
            if x.startswith("proved"):
                continue
            _, source, to, elements = map(int, x.split())
            flows[source, to] = flows.get((source, to), 0) + elements
        return {k: n for k, n in flows.items() if n}

    def test_tables(self):
        pairs = [(s, d) for s in range(3) for d in range(3) if s != d]
        given = [5, 0, 7]
        self.assertEqual(self.moved("all_gather_v", "--table", "5,0,7"),
                         {(s, d): given[s] for s, d in pairs if given[s]})
        self.assertEqual(self.moved("reduce_scatter_v", "--table", "5,0,7"),
                         {(s, d): given[d] for s, d in pairs if given[d]})
        rows = [[1, 2, 3], [4, 5, 0], [7, 8, 9]]
        self.assertEqual(self.moved("all_to_all_v", "--table", "1,2,3,4,5,0,7,8,9"),
                         {(s, d): rows[s][d] for s, d in pairs if rows[s][d]})
        self.assertEqual(self.moved("all_to_all_v", "--count", "6"), {k: 6 for k in pairs})

    def test_picture(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "x.svg")
            rc, out, err = run(*RING, "--svg", path)
            self.assertEqual((rc, out, err), (0, "", ""))
            root = ET.parse(path).getroot()
            self.assertEqual(root.tag, SVG + "svg")
            boxes = [x for x in root.iter(SVG + "rect") if x.find(SVG + "title") is not None
                     and x.get("class") is None]
            steps = run(*RING)[1].splitlines()
            self.assertEqual(len(boxes), sum(" copy " in x or " reduce " in x for x in steps))
            width = float(root.get("width"))
            for x in root.iter(SVG + "rect"):  # nothing outside the sheet
                self.assertLessEqual(float(x.get("x", 0)) + float(x.get("width")), width)
            titles = [x.text for x in root.iter(SVG + "text") if x.get("class") == "title"]
            self.assertEqual(titles, ["all_gather, ring, staged: 4 ranks on 1 node, 64 elements"])
            rc, out, err = run(*RING, "--svg", os.path.join(d, "no", "x.svg"))
            self.assertEqual(rc, 1)
            self.assertIn("No such file", err)

    def test_every_phase_has_its_colour(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "x.svg")
            for alg in (("kangaring", "--ranks", "8"), ("rdh", "--ranks", "16"),
                        ("hier", "--ranks", "6", "--nodes", "2", "--inter", "rdh"),
                        ("hier", "--ranks", "4", "--nodes", "2", "--inter", "mesh", "--intra", "mesh"),
                        ("hier", "--ranks", "8", "--nodes", "2", "--inter", "mesh", "--intra", "rdh")):
                rc, out, err = run("--op", "all_reduce", "--count", "64", "--svg", path, "--alg", *alg)
                self.assertEqual((rc, out, err), (0, "", ""))
                root = ET.parse(path).getroot()
                legend = [x for x in root.iter(SVG + "rect") if x.get("width") == "14"]
                names = [x for x in root.iter(SVG + "text") if x.get("y") == str(int(legend[0].get("y")) + 11)]
                self.assertEqual(len(names), len(legend) + 3)  # and data, signal, waits
                fills = [x.get("fill") for x in legend]
                self.assertEqual(len(fills), len(set(fills)), alg)
                boxes = {x.get("fill") for x in root.iter(SVG + "rect") if x.find(SVG + "title") is not None
                         and x.get("class") is None}
                self.assertEqual(boxes, set(fills))
                for x in names:  # a letter is some 6 pixels wide
                    self.assertLessEqual(int(x.get("x")) + 6 * len(x.text), int(root.get("width")), alg)

    def test_wrong_usage(self):
        for args, word in (
                ((), "usage:"),
                (("--op", "all_gather"), "usage:"),
                (("--op", "gather", "--alg", "ring"), "unknown operation \"gather\""),
                (("--op", "all_gather", "--alg", "tree"), "unknown algorithm \"tree\""),
                ((*RING, "--variant", "fast"), "unknown variant \"fast\""),
                ((*RING, "--instance", "trn9"), "unknown instance type \"trn9\""),
                ((*RING, "--nodes", "3"), "4 ranks do not divide over 3 nodes"),
                ((*RING, "--count", "12x"), "--count wants a number"),
                ((*RING, "--count", "99999999999999999999"), "--count wants a number"),
                ((*RING, "--nodes", "0"), "--nodes wants a number from 1"),
                ((*RING, "--dtype", "3"), "--dtype wants 1, 2, 4 or 8"),
                (("--alg", "ring"), "--op is missing"),
                (("--op", "all_gather"), "--alg is missing"),
                ((*RING, "extra"), "what is \"extra\"?"),
                ((*RING, "--rank", "4"), "--rank 4: there are 4 ranks"),
                ((*RING, "--table", "1,2,3,4"), "--table: all_gather has blocks of one length"),
                ((*TABLE, "1,2"), "--table wants 3 numbers"),
                ((*TABLE, "1,2,3,4"), "number 3 is \"3,4\""),
                ((*TABLE, "1,,3"), "number 2 is \",3\""),
                ((*TABLE, "1,2,4294967296"), "number 3 is"),
                ((*TABLE, "4294967295,4294967295,1"), "exceed 2^32"),
                ((*RING, "extra"), "usage:"),
                ((*RING, "--what"), "usage:")):
            rc, out, err = run(*args)
            self.assertEqual(rc, 2, (args, err))
            self.assertIn(word, err)
        rc, out, err = run("--op", "all_gather", "--alg", "rdh", "--ranks", "12", "--nodes", "3")
        self.assertEqual(rc, 1)  # an algorithm that cannot do it says why
        self.assertTrue(err.startswith("opennrt schedule: "), err)
        self.assertEqual(run("--help")[0], 0)


if __name__ == "__main__":
    unittest.main()
