#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compute and collectives side by side: overlap.nasm on four ranks, built in several ways.

    overlap.py BUILD [--layers N] [--width N] [--times N] [--chips N] [--keep DIR] [--shifts]
    overlap.py BUILD --recording N [--times N] [...]

One layer on one stream, on two streams, and on two streams with the packet sizes that the documentation
recommends; then four layers whose weights are gathered 0, 1 and 2 layers early and whose gradients are
scattered as much later (--shifts: these only). Every result is compared with NumPy. Printed are the time on this host, what it
would take on a trn2 by the published costs, and how much of the time of collectives was hidden; --keep
leaves the timelines for ui.perfetto.dev in DIR. --recording instead runs one layer on two streams N times with
and N times without the record of device time, in turns, and prints medians of the time on this host.
"""
import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

import numpy as np

RANKS, H, T, SEQS, D = 4, 128, 128, 4, 64
ATT = 5 * D
CHIP_CORES = 8  # of a Trainium2
TOLERANCE = 2e-5  # of the largest value
HERE = os.path.dirname(os.path.abspath(__file__))
# Bytes of packets: of the program's transfers; of streams 0 and 1 (docs/spec/collectives.md 12).
DOCUMENTED = {"NEURON_RT_DBG_DMA_PACKETIZATION_SIZE": "65536", "NEURON_RT_DBG_CC_DMA_PACKET_SIZE": "65536,4096"}
FIGURES = re.compile(r"device time ([0-9.]+) us.* under way ([0-9.]+) us, alone ([0-9.]+) us")


def tp(rank):
    return rank % 2


def fsdp(rank):
    return rank // 2


class Data:
    """Inputs of all ranks, and the outputs that they must give."""

    def __init__(self, layers, width, seed=7):
        rng = np.random.default_rng(seed)
        self.layers, self.width = layers, width
        self.x = rng.standard_normal((2, H, SEQS * T)).astype(np.float32)  # of the two halves of the batch
        self.dy = rng.standard_normal((2, SEQS * T, H)).astype(np.float32)
        # of the two halves of a layer
        self.att = (rng.standard_normal((layers, 2, H, ATT)) * 0.05).astype(np.float32)
        self.ffn = (rng.standard_normal((layers, 2, H, 2 * width)) * 0.05).astype(np.float32)

    def inputs(self, rank):
        rows = slice(fsdp(rank) * H // 2, (fsdp(rank) + 1) * H // 2)
        return {"x": self.x[fsdp(rank)], "dy": self.dy[fsdp(rank)], "att": self.att[:, tp(rank), rows],
                "ffn": self.ffn[:, tp(rank), rows]}

    @staticmethod
    def attention(x, w):
        out = np.empty_like(x)
        for b in range(SEQS):
            q, k, v = (x[:, b * T:(b + 1) * T].T @ w[:, i * D:(i + 1) * D] for i in range(3))
            s = q @ k.T * 0.125
            p = np.exp(s - s.max(1, keepdims=True))
            out[:, b * T:(b + 1) * T] = (p / p.sum(1, keepdims=True) @ v @ w[:D, 3 * D:5 * D]).T
        return out

    def hidden(self, x, w):
        return np.maximum(x.T @ w[:, :self.width], 0)

    def down(self, w):
        """The last matrix: block b of its rows is b-th behind the first matrix."""
        blocks = w[:, self.width:].reshape(128, self.width // 128, H)
        return blocks.transpose(1, 0, 2).reshape(self.width, H)

    def outputs(self):
        """By rank, in float64."""
        att, ffn = self.att.astype(np.float64), self.ffn.astype(np.float64)
        x = [a.astype(np.float64) for a in self.x]
        total = np.zeros((self.layers, 2, self.width, H))  # gradient, of layer and half of the layer
        for l in range(self.layers):
            for f in range(2):
                x[f] = x[f] + sum(self.attention(x[f], att[l, t]) for t in range(2))
                hidden = [self.hidden(x[f], ffn[l, t]) for t in range(2)]
                for t in range(2):
                    total[l, t] += hidden[t].T @ self.dy[f]
                x[f] = x[f] + sum((hidden[t] @ self.down(ffn[l, t])).T for t in range(2))
        half = self.width // 2
        return [{"y": x[fsdp(r)], "dw": total[:, tp(r), half * fsdp(r):half * (fsdp(r) + 1)]} for r in range(RANKS)]


def port_kept():
    """A port for rank 0 that nobody else gets while the socket is there: it is bound, without listening."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    return s


def check(data, where):
    """The largest error of any output, as a part of its largest value."""
    worst = 0.0
    for rank, outputs in enumerate(data.outputs()):
        for name, want in outputs.items():
            got = np.fromfile(os.path.join(where, "%d.%s.out" % (rank, name)), np.float32).reshape(want.shape)
            worst = max(worst, np.abs(got - want).max() / np.abs(want).max())
    if not worst < TOLERANCE:
        sys.exit("overlap: results are off by %.1e of the largest" % worst)
    return worst


def core_of(rank, chips):
    """Ranks that follow each other share a chip, of which all have as many."""
    return rank * chips // RANKS * CHIP_CORES + rank % (RANKS // chips)


def run(build, where, data, times, chips, env, **defines):
    """All ranks: what each of them printed."""
    tool = os.path.join(build, "tools", "opennrt", "opennrt")
    neff = os.path.join(where, "overlap.neff")
    subprocess.run([tool, "asm", os.path.join(HERE, "overlap.nasm"), "-o", neff] +
                   ["-D%s=%d" % d for d in dict(defines, LAYERS=data.layers, F=data.width).items()], check=True)
    for rank in range(RANKS):
        for name, a in data.inputs(rank).items():
            np.ascontiguousarray(a).tofile(os.path.join(where, "%d.%s.in" % (rank, name)))
    kept = port_kept()
    env = dict(os.environ, OPENNRT_INSTANCE="overlap-%d" % os.getpid(), OPENNRT_INSTANCE_TYPE="trn2.48xlarge",
               NEURON_LOGICAL_NC_CONFIG="1", NEURON_RT_ROOT_COMM_ID="127.0.0.1:%d" % kept.getsockname()[1],
               NEURON_RT_LOG_LOCATION="console", **env)
    program = os.path.join(build, "examples", "overlap_rank")
    ranks = [subprocess.Popen([program, neff, str(r), str(RANKS), where, str(times)],
                              env=dict(env, NEURON_RT_VISIBLE_CORES=str(core_of(r, chips))), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True) for r in range(RANKS)]
    texts = [p.communicate()[0] for p in ranks]
    kept.close()
    if any(p.returncode for p in ranks):
        sys.exit("overlap: a rank failed\n" + "\n".join(texts))
    check(data, where)
    return texts


def wall(texts):
    """Seconds that an execution took on this host."""
    return max(float(re.search(r"wall ([0-9.]+) s", t).group(1)) for t in texts)


def timed(build, where, data, times, chips, timeline, env, **defines):
    """(seconds on this host, us on a device, share of the collectives' time that was hidden)"""
    if os.path.exists(timeline):
        os.remove(timeline)
    env = dict(env, NEURON_RT_LOG_LEVEL="INFO", OPENNRT_DEVICE_TIME="1", OPENNRT_TIMELINE=timeline)
    texts = run(build, where, data, times, chips, env, **defines)
    last = [[float(x) for x in FIGURES.findall(t)[-1]] for t in texts]  # of each rank's last execution
    return wall(texts), max(d for d, _, _ in last), 1 - sum(a for _, _, a in last) / sum(u for _, u, _ in last)


def recording(build, where, data, times, chips, rounds):
    took = {"0": [], "1": []}
    for _ in range(rounds):
        for way, seconds in took.items():
            seconds.append(wall(run(build, where, data, times, chips, {"OPENNRT_DEVICE_TIME": way}, FSDP_STREAM=1)))
    base = sorted(took["0"])[rounds // 2] * 1e9
    for name, seconds in (("nothing looks on", took["0"]), ("device time", took["1"])):
        ns = sorted(seconds)[rounds // 2] * 1e9
        print("%-18s %10.0f ns an execution  %+8.0f ns  %+6.1f %%" % (name, ns, ns - base, 100 * (ns / base - 1)))


def table(title, rows):
    """rows: name, what run gave. Returns the device times."""
    print("%s\n%-44s %12s %12s %10s" % (title, "", "host (ms)", "device (us)", "hidden"))
    for name, (wall, device, hidden) in rows:
        print("%-44s %12.3f %12.1f %9.0f%%" % (name, wall * 1e3, device, hidden * 100))
    print()
    return [r[1][1] for r in rows]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    p.add_argument("build")
    p.add_argument("--layers", type=int, default=4, help="of the second table")
    p.add_argument("--width", type=int, default=1024, help="of the feed-forward part of a rank, a multiple of 512")
    p.add_argument("--times", type=int, default=5, help="executions on this host, of which the mean is printed")
    p.add_argument("--chips", type=int, default=1, choices=(1, 2, 4), help="on which the ranks sit")
    p.add_argument("--recording", type=int, metavar="N", help="measure what it costs, by so many runs of each kind")
    p.add_argument("--keep", help="folder for the timelines")
    p.add_argument("--shifts", action="store_true", help="the second table only")
    a = p.parse_args()
    where = tempfile.mkdtemp()
    keep = a.keep or where
    os.makedirs(keep, exist_ok=True)
    try:
        if a.recording:
            return recording(a.build, where, Data(1, a.width), a.times, a.chips, a.recording)

        def one(data, name, env=None, **defines):
            timeline = os.path.join(keep, name + ".pftrace")
            return timed(a.build, where, data, a.times, a.chips, timeline, env or {}, **defines)

        layer, layers = Data(1, a.width), Data(a.layers, a.width)
        ways = [3, 2, 1] if a.shifts else table("one layer", [
            ("one stream", one(layer, "one-stream", FSDP_STREAM=0)),
            ("two streams", one(layer, "two-streams", FSDP_STREAM=1)),
            ("two streams, documented packet sizes", one(layer, "two-streams-packets", DOCUMENTED, FSDP_STREAM=1))])
        shifts = table("%d layers, two streams, documented packet sizes" % a.layers, [
            ("weights %d layers early, gradients late" % s,
             one(layers, "shift-%d" % s, DOCUMENTED, FSDP_STREAM=1, SHIFT=s)) for s in range(3)])
    finally:
        shutil.rmtree(where)
    if a.keep:
        print("timelines: %s/*.pftrace, for https://ui.perfetto.dev" % a.keep)
    ok = ways[0] > ways[1] > ways[2] and shifts[0] > max(shifts[1:])
    print("the order is %sthe documented one" % ("" if ok else "not "))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
