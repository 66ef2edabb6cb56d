#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""examples/overlap, with two layers and a chip for each rank: results are right (the example compares with NumPy
itself), the order of the predicted times is the documented one, and the timelines show compute, collectives, their
steps and the links that these go over apart.

    test_overlap.py <overlap.py> <build> [shifts]

shifts: instead, four layers whose weights are gathered 0, 1 and 2 layers early.
"""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import pftrace  # noqa: E402
from proves import proves  # noqa: E402

LAYERS, RANKS = 2, 4
ROW = re.compile(r"^(.*\S) +[0-9.]+ +([0-9.]+) +([0-9]+)%$", re.M)
ENGINES = {"pe", "act", "dve", "pool", "sp"}


def overlaps(slices):
    """Whether any two of them are under way at one time."""
    ends = 0
    for s in sorted(slices, key=lambda s: s.start):
        if s.start < ends:
            return True
        ends = max(ends, s.end)
    return False


def rank_of(trace, s):
    return trace.path(s.track)[0]


def last_execution(slices):
    """Of a rank: every entry of the table is triggered once in each execution."""
    return slices[-len({s.args["entry"] for s in slices}):]


def timeline(path, fsdp_stream, layers):
    t = pftrace.read(path)
    ranks = {rank_of(t, s) for s in t.slices}
    assert ranks == {"overlap, rank %d of %d" % (r, RANKS) for r in range(RANKS)}, ranks
    for s in t.slices:
        row = t.path(s.track)[-1]
        kind = {"instruction": row in ENGINES, "wait": row in ENGINES, "transfer": row.startswith("queue "),
                "collective": row.startswith("stream ") and " channel " not in row,
                "step": row.startswith("stream ") and " channel " in row, "link": row.startswith("link chip ")}
        assert kind[s.categories[0]], (row, s.categories)
        assert s.categories[0] == "wait" or s.source["file_name"].endswith("overlap.nasm")
        if s.categories == ["collective"]:
            assert row == "stream %d" % (0 if s.name == "all_reduce" else fsdp_stream)
    for rank in ranks:
        own = [s for s in t.slices if rank_of(t, s) == rank]
        colls = last_execution([s for s in own if s.categories == ["collective"]])
        assert sorted(s.name for s in colls) == sorted(
            ["all_gather", "all_gather", "all_reduce", "all_reduce", "reduce_scatter"] * layers)
        # Of one stream they follow each other; two streams are under way together, and engines work meanwhile.
        for stream in (0, 1):
            assert not overlaps([s for s in colls if t.path(s.track)[-1] == "stream %d" % stream])
        assert overlaps(colls) == (fsdp_stream == 1)
        work = [s for s in own if s.name == "nc_matmul" and s.start > colls[0].start]
        assert any(c.start < s.start and s.end < c.end for c in colls for s in work)
    assert any(a.categories == ["collective"] and b.categories == ["instruction"] for a, b in t.links)


def of_operation(s, categories, entry):
    return s.categories[0] in categories and s.args["entry"] == entry


def links(path):
    """Rank r is on chip r, of the first row of the torus: 0, 1, 2, 3 and round. Every step that writes to another
    rank's chip is on the links of the way there while it lasts, and no other step is on any."""
    t = pftrace.read(path)
    for r in range(RANKS):
        own = [s for s in t.slices if rank_of(t, s) == "overlap, rank %d of %d" % (r, RANKS)]
        colls = [s for s in own if s.categories == ["collective"]]
        ways = {}
        for s in own:
            if s.categories == ["link"]:
                a, b = re.fullmatch(r"link chip (\d) to chip (\d)", t.path(s.track)[-1]).groups()
                assert (int(b) - int(a)) % RANKS in (1, RANKS - 1), (a, b)
                what = (s.start, s.end, s.args["entry"], s.args["channel"], s.args["to rank"], s.args["bytes"])
                ways.setdefault(what, []).append((int(a), int(b)))
        for s in (s for s in own if s.categories == ["step"]):
            what = (s.start, s.end, s.args["entry"], s.args["channel"], s.args["to rank"], s.args["bytes"])
            at, way = r, ways.pop(what, [])
            while way:
                nearer = [link for link in way if link[0] == at]
                assert len(nearer) == 1, way
                way.remove(nearer[0])
                at = nearer[0][1]
            assert at == s.args["to rank"], s.args
            assert any(c.start <= s.start and s.end <= c.end and c.args["entry"] == s.args["entry"] for c in colls)
        assert not ways, ways
        # Of a gather between two each gives its part to the other, once.
        for c in (c for c in colls if c.name == "all_gather"):
            sent = [s.args["bytes"] for s in own if of_operation(s, ["step"], c.args["entry"]) and
                    s.args["to rank"] != r and c.start <= s.start <= c.end]
            assert sum(sent) == c.args["bytes in"], (sent, c.args)
    assert any(s.categories == ["link"] for s in t.slices)


def example(keep, *options):
    """Its text, and the (name, device us, hidden per cent) of each row."""
    p = subprocess.run([sys.executable, sys.argv[1], sys.argv[2], "--times", "1", "--chips", str(RANKS), "--keep", keep,
                        *options], capture_output=True, text=True)
    print(p.stdout, p.stderr, sep="\n")
    assert p.returncode == 0
    return p.stdout, [(name, float(us), int(hidden)) for name, us, hidden in ROW.findall(p.stdout)]


def of_name(colls, name):
    return sorted((c for c in colls if c.name == name), key=lambda c: c.start)


def shifted(path, layers, shift):
    """Of every rank: a layer has two all_gathers (of weights), then two all_reduces. The weights of layer l are asked for
    when layer l - shift begins, so not before its predecessor's last all_reduce is over; if shift is not 0, before that
    of layer l - 1 is. The gradient of layer l is sent behind the last all_reduce of layer l + shift."""
    t = pftrace.read(path)
    for r in range(RANKS):
        colls = last_execution([s for s in t.slices if s.categories == ["collective"] and
                                rank_of(t, s) == "overlap, rank %d of %d" % (r, RANKS)])
        gathers, reduces, scatters = (of_name(colls, n) for n in ("all_gather", "all_reduce", "reduce_scatter"))
        assert (len(gathers), len(reduces), len(scatters)) == (2 * layers, 2 * layers, layers)
        for l in range(1, layers):
            if l > shift:
                assert gathers[2 * l].start >= reduces[2 * (l - shift) - 1].end, (r, l, shift)
            if shift:
                assert gathers[2 * l].start < reduces[2 * l - 1].end, (r, l, shift)
        for l in range(layers - shift):
            assert scatters[l].start >= reduces[2 * (l + shift) + 1].start, (r, l, shift)


def shifts():
    """The example itself compares all results with NumPy."""
    with tempfile.TemporaryDirectory() as keep:
        out, rows = example(keep, "--shifts", "--layers", "4")
        assert len(rows) == 3 and "4 layers" in out
        us, hidden = [r[1] for r in rows], [r[2] for r in rows]
        assert us[0] > us[1] and us[0] > us[2], "early weights, late gradients"
        assert 0 < hidden[0] < min(hidden[1:]) and max(hidden) < 100
        assert "the order is the documented one" in out
        for s in range(3):
            shifted(os.path.join(keep, "shift-%d.pftrace" % s), 4, s)


def main():
    if sys.argv[3:] == ["shifts"]:
        shifts()
        return
    with tempfile.TemporaryDirectory() as keep:
        out, rows = example(keep, "--layers", str(LAYERS))
        assert len(rows) == 6
        us = [r[1] for r in rows]
        assert us[0] > us[1] > us[2], "one stream, two, and with packets"
        assert us[3] > us[4] and us[3] > us[5], "early weights, late gradients"
        assert all(0 < r[2] < 100 for r in rows)
        assert "the order is the documented one" in out
        timeline(os.path.join(keep, "one-stream.pftrace"), 0, 1)
        timeline(os.path.join(keep, "two-streams.pftrace"), 1, 1)
        timeline(os.path.join(keep, "two-streams-packets.pftrace"), 1, 1)
        proves("ovl-012")
        links(os.path.join(keep, "two-streams.pftrace"))
        timeline(os.path.join(keep, "shift-1.pftrace"), 1, LAYERS)


if __name__ == "__main__":
    main()
