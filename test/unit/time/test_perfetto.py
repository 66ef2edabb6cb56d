#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random tracks and events go through the trace writer and come back through the reader, which knows the
published form only: every field as it was given, in the order in which it was given.

    test_perfetto.py <perfetto_driver>
"""
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
import pftrace  # noqa: E402
from seed import seed_take  # noqa: E402

TEXT, UINT, INT, DOUBLE, BOOL = range(5)
FIELD = {TEXT: "string_value", UINT: "uint_value", INT: "int_value", DOUBLE: "double_value", BOOL: "bool_value"}


def word(data):
    return "-" if data is None else data.hex() or "."


def shown(data):
    """What a reader sees of a text: bytes that are no character are '?'."""
    out, at = "", 0
    while at < len(data):
        for n in (1, 2, 3, 4):
            try:
                out += data[at:at + n].decode("utf-8")
                at += n
                break
            except UnicodeDecodeError:
                continue
        else:
            out += "?"
            at += 1
    return out


def random_text(rng, null=True):
    kind = rng.randrange(6)
    if kind == 0 and null:
        return None
    if kind == 1:
        return bytes(rng.randrange(1, 256) for _ in range(rng.randrange(40)))
    if kind == 2:
        return "µs → ∑ 😀".encode()[:rng.randrange(1, 20)]
    return bytes(rng.randrange(32, 127) for _ in range(rng.randrange(1, 200)))


def random_number(rng, bits):
    return rng.getrandbits(rng.randrange(1, bits + 1))


def add(message, name, value):
    if value is not None:
        message[name] = value


def track(rng, uuids):
    uuid = random_number(rng, 64) | 1
    parent = rng.choice(uuids) if uuids and rng.randrange(2) else 0
    name, unit, pname = random_text(rng), random_text(rng) if rng.randrange(4) == 0 else None, random_text(rng)
    process, pid = rng.randrange(3) == 0, rng.randrange(1 << 31)
    ordered, order = rng.randrange(2), rng.randrange(-1 << 31, 1 << 31)
    line = "T %d %d %s %s %d %d %s %d %d" % (uuid, parent, word(name), word(unit), process, pid, word(pname), ordered,
                                             order)
    want = {"uuid": uuid, "child_ordering": 3 if ordered else 1, "sibling_order_rank": order}
    add(want, "parent_uuid", parent or None)
    add(want, "name", None if name is None else shown(name))
    if process:
        want["process"] = {"pid": pid}
        add(want["process"], "process_name", None if pname is None else shown(pname))
    if unit is not None:
        want["counter"] = {"unit_name": shown(unit)} if unit else {}
    uuids.append(uuid)
    return line, {"track_descriptor": want}


def argument(rng):
    name, kind = random_text(rng, null=False), rng.randrange(5)
    value = {TEXT: lambda: random_text(rng), UINT: lambda: random_number(rng, 64),
             INT: lambda: random_number(rng, 63) - (1 << 62), DOUBLE: lambda: rng.uniform(-1e9, 1e9),
             BOOL: lambda: rng.randrange(2)}[kind]()
    text = word(value) if kind == TEXT else repr(value)
    want = {"name": shown(name)}
    add(want, FIELD[kind], shown(value) if kind == TEXT and value is not None else value)
    return "%s:%d:%s" % (word(name), kind, text), want if len(want) == 2 else None


def event(rng, uuids):
    """A line, and the packets that it becomes."""
    is_slice, kind = rng.randrange(2) == 0, rng.randrange(1, 5)
    ns, uuid = random_number(rng, 62), rng.choice(uuids)
    end = ns + rng.randrange(-5, 1000)
    category, name, file = random_text(rng), random_text(rng), random_text(rng)
    number, counter = random_number(rng, 32), rng.uniform(-1e300, 1e300)
    flows = [random_number(rng, 64) for _ in range(rng.randrange(4))]
    ends = [random_number(rng, 64) for _ in range(rng.randrange(4))]
    args = [argument(rng) for _ in range(rng.randrange(5))]
    line = "%s %d %d %d %d %s %s %s %d %r %s %s %s" % (
        "S" if is_slice else "E", kind, ns, max(end, 0), uuid, word(category), word(name), word(file), number,
        counter, ",".join(map(str, flows)) or "-", ",".join(map(str, ends)) or "-", " ".join(a[0] for a in args))
    want = {"type": 1 if is_slice else kind, "track_uuid": uuid}
    add(want, "categories", None if category is None else [shown(category)])
    add(want, "name", None if name is None else shown(name))
    add(want, "debug_annotations", [a[1] for a in args if a[1]] or None)
    add(want, "flow_ids", flows or None)
    add(want, "terminating_flow_ids", ends or None)
    add(want, "source_location", None if file is None else {"file_name": shown(file), "line_number": number})
    add(want, "double_counter_value", counter if want["type"] == 4 else None)
    packets = [{"timestamp": ns, "track_event": want}]
    if is_slice:
        packets.append({"timestamp": max(end, ns), "track_event": {"type": 2, "track_uuid": uuid}})
    return line, packets


def run(driver, lines):
    emulator = os.environ.get("OPENNRT_EXE_WRAPPER", "").split()
    return subprocess.run([*emulator, driver], input="".join(l + "\n" for l in lines).encode(), stdout=subprocess.PIPE,
                          check=True).stdout


def random_traces(driver, rng):
    for _ in range(20):
        uuids, lines, want = [], [], []
        for _ in range(rng.randrange(1, 60)):
            if not uuids or rng.randrange(4) == 0:
                line, packet = track(rng, uuids)
                packets = [packet]
            else:
                line, packets = event(rng, uuids)
            lines.append(line)
            want += packets
        got = pftrace.decode("Trace", run(driver, lines))["packet"]
        for g, w in zip(got, want):
            w["trusted_packet_sequence_id"] = 7
            assert g == w, "%r\n is not\n%r" % (g, w)
        assert len(got) == len(want)


def slices_and_flows(driver):
    """Nested slices and an arrow, read as a viewer would."""
    name = lambda t: t.encode().hex()  # noqa: E731
    lines = ["T 1 0 - - 1 42 %s 1 0" % name("core 0"), "T 2 1 %s - 0 0 - 0 1" % name("ACT"),
             "T 3 1 %s - 0 0 - 0 2" % name("queue"),
             "E 1 100 0 2 - %s - 0 0 - -" % name("outer"), "S 1 100 150 2 - %s - 0 0 9 -" % name("inner"),
             "S 1 150 150 2 - %s - 0 0 - -" % name("empty"), "E 2 200 0 2 - - - 0 0 - -",
             "S 1 160 180 3 - %s - 0 0 - 9" % name("copy")]
    t = pftrace.Trace(run(driver, lines))
    assert [(s.name, s.start, s.end, s.depth) for s in t.of("core 0", "ACT")] == [
        ("outer", 100, 200, 0), ("inner", 100, 150, 1), ("empty", 150, 150, 1)]
    assert [(a.name, b.name) for a, b in t.links] == [("inner", "copy")]


def main():
    random_traces(sys.argv[1], random.Random(seed_take()))
    slices_and_flows(sys.argv[1])


if __name__ == "__main__":
    main()
