#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""opennrt run --timeline: the trace of a program whose times can be worked out by hand from the published
costs (docs/spec/neuroncore.md 5.6 and 7), read by what Perfetto publishes of its form.

    test_timeline.py <opennrt> <matmul.nasm> <layernorm.nasm>
"""
import os
import re
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import pftrace  # noqa: E402

TOOL, MATMUL, LAYERNORM = sys.argv[1:4]
GUESS = 64e6 / 1.4e3 / 1e3  # ns: 64 cycles of ACT's clock, which nobody has published
START, ENGINE, CLOCK = 1300.0, 17.0, 2.8  # DMA: ns, bytes per ns; PE of Trainium, GHz


class Timeline(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.env = dict(os.environ, OPENNRT_INSTANCE="timeline%d" % os.getpid(), OPENNRT_INSTANCE_TYPE="trn1.2xlarge",
                        OPENNRT_DEVICE_TIME="1", NEURON_RT_LOG_LEVEL="INFO", NEURON_RT_LOG_LOCATION="console")

    def tearDown(self):
        subprocess.run([TOOL, "reset"], env=self.env, capture_output=True, timeout=120)
        self.dir.cleanup()

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def trace(self, source, *args):
        """The trace of the program, and the device times that the log has (us)."""
        subprocess.run([TOOL, "asm", source, "-o", self.path("x.neff")], check=True, timeout=120)
        p = subprocess.run([TOOL, "run", self.path("x.neff"), "--timeline", self.path("x.pftrace"), *args], env=self.env,
                           capture_output=True, text=True, timeout=120)
        self.assertEqual(p.returncode, 0, p.stderr)
        times = [float(t) for t in re.findall(r"device time ([0-9.]+) us", p.stdout + p.stderr)]
        return pftrace.read(self.path("x.pftrace")), times

    def about(self, got, want):
        """Whole nanoseconds, cut off: at most two short of the sum."""
        self.assertTrue(want - 2 <= got <= want + 0.01, "%r is not %r" % (got, want))

    def test_times_by_hand(self):
        """Three loads into one queue set of 16 engines, each followed by a matmul; act copies, sp stores."""
        t, times = self.trace(MATMUL)
        load = (128 * 128 + 128 * 512) * 2 / 16 / ENGINE  # A's and B's steps in bf16, a sixteenth each
        queue = t.of("queue qIn")
        self.assertEqual([s.name for s in queue], ["qIn"] * 3)
        for i, s in enumerate(queue):
            self.about(s.start, (i + 1) * GUESS + START)
        # Transfers of one set go through its rings one after the other.
        for i, s in enumerate(sorted(queue, key=lambda s: s.end)):
            self.about(s.end, GUESS + START + (i + 1) * load)
            self.assertEqual(s.args["bytes"], (128 * 128 + 128 * 512) * 2)
            self.assertEqual(s.args["rings"], 16)
            self.assertEqual(s.args["triggered by"], "sp")
        # A matmul starts when its load has ended, and takes 512 cycles.
        matmul = [s for s in t.of("pe") if s.name == "nc_matmul"]
        self.assertEqual(len(matmul), 3)
        for i, s in enumerate(matmul):
            self.about(s.start, GUESS + START + (i + 1) * load)
            self.about(s.end - s.start, 512 / CLOCK + 1)
            self.assertIn("nc_matmul psum.float32(0:128, 0, [1,512])", s.args["instruction"])
            self.assertEqual(s.args["record"], i)
        # The trace ends when the log says that the execution did.
        self.assertEqual(len(times), 1)
        self.about(max(s.end for s in t.slices), times[0] * 1e3 + 1)
        self.assertEqual(t.of("sp")[0].args["cost"], "a guess: nothing is published")
        self.assertNotIn("cost", matmul[0].args)

    def test_waits_and_arrows(self):
        t, _ = self.trace(MATMUL)
        arrows = [(a.name, b.args["instruction"].split(": ")[0]) for a, b in t.links]
        self.assertEqual(sorted(arrows), sorted(
            [("qIn", "wait $S[0]>=%d" % n) for n in (16, 32, 48)] +
            [("nop", "wait $S[1]>=1"), ("activation", "wait $S[2]>=1"), ("qOut", "wait $S[3]>=16")]))
        for a, b in t.links:
            self.assertEqual(a.end, b.start)  # here everything that waits had come before
            wait = [s for s in t.slices if s.track == b.track and s.name == "wait" and s.end == b.start]
            self.assertEqual(len(wait), 1)
        self.assertEqual(t.of("act")[0].args["for"], "S[1] >= 1")
        self.assertEqual(t.of("act")[0].start, 0)

    def test_tracks_and_sources(self):
        t, _ = self.trace(MATMUL)
        core = ("matmul, core 0", "physical core 0")
        self.assertEqual({t.path(s.track) for s in t.slices},
                         {core + (n,) for n in ("pe", "act", "sp", "queue qIn", "queue qOut")})
        self.assertEqual(sum("process" in d for d in t.tracks.values()), 1)
        with open(MATMUL) as f:
            text = f.read().splitlines()
        seen = 0
        for s in t.slices:
            if s.categories == ["instruction"] and s.name in ("nc_matmul", "activation"):
                self.assertEqual(s.source["file_name"], MATMUL)
                self.assertIn(s.name, text[s.source["line_number"] - 1])
                seen += 1
        self.assertEqual(seen, 4)

    def test_executions_follow_each_other(self):
        """Slices of a track do not overlap (the reader sees to nesting), and each run looks like the first."""
        t, times = self.trace(LAYERNORM, "--repeat", "4")
        self.assertEqual(len(times), 4)
        self.assertEqual(len(set(times)), 1)
        self.assertTrue(all(s.depth == 0 for s in t.slices))
        self.assertEqual(len(t.slices) % 4, 0)
        one = len(t.slices) // 4
        for i in range(one):
            for k in range(4):
                a, b = t.slices[i], t.slices[i + k * one]
                self.assertEqual((a.name, a.args, t.path(a.track)), (b.name, b.args, t.path(b.track)))
                self.assertTrue(abs(b.start - a.start - k * times[0] * 1e3) <= k + 1)
        self.assertEqual(len(t.links) % 4, 0)
        self.assertTrue(t.links)

    def test_a_file_that_cannot_be_written(self):
        subprocess.run([TOOL, "asm", MATMUL, "-o", self.path("x.neff")], check=True, timeout=120)
        p = subprocess.run([TOOL, "run", self.path("x.neff"), "--timeline", self.path("no/such")], env=self.env,
                           capture_output=True, text=True, timeout=120)
        self.assertEqual(p.returncode, 1)
        self.assertIn("no/such: No such file or directory", p.stderr)
        # The runtime says so, and executes all the same.
        p = subprocess.run([TOOL, "run", self.path("x.neff")], env=dict(self.env, OPENNRT_TIMELINE=self.path("no/such")),
                           capture_output=True, text=True, timeout=120)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertEqual((p.stdout + p.stderr).count("no/such: No such file or directory"), 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
