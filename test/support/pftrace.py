# SPDX-License-Identifier: Apache-2.0
"""Reads traces in the form of Perfetto: protobuf's wire form by its published rules, and the fields by
the published numbers (github.com/google/perfetto, protos/perfetto/trace). Shares nothing with the writer.
What is not in the tables below, a wrong wire type, bytes that are left over and text that is not UTF-8
are errors."""
import struct

VARINT, FIXED64, BYTES = 0, 1, 2

# message: field number -> (name, type, repeated). A type is a message below or one of the scalars.
MESSAGES = {
    "Trace": {1: ("packet", "TracePacket", True)},
    "TracePacket": {8: ("timestamp", "uint64", False), 10: ("trusted_packet_sequence_id", "uint32", False),
                    11: ("track_event", "TrackEvent", False), 60: ("track_descriptor", "TrackDescriptor", False)},
    "TrackDescriptor": {1: ("uuid", "uint64", False), 2: ("name", "string", False),
                        3: ("process", "ProcessDescriptor", False), 5: ("parent_uuid", "uint64", False),
                        8: ("counter", "CounterDescriptor", False), 11: ("child_ordering", "enum", False),
                        12: ("sibling_order_rank", "int32", False)},
    "ProcessDescriptor": {1: ("pid", "int32", False), 6: ("process_name", "string", False)},
    "CounterDescriptor": {6: ("unit_name", "string", False)},
    "TrackEvent": {4: ("debug_annotations", "DebugAnnotation", True), 9: ("type", "enum", False),
                   11: ("track_uuid", "uint64", False), 22: ("categories", "string", True),
                   23: ("name", "string", False), 33: ("source_location", "SourceLocation", False),
                   44: ("double_counter_value", "double", False), 47: ("flow_ids", "fixed64", True),
                   48: ("terminating_flow_ids", "fixed64", True)},
    "DebugAnnotation": {2: ("bool_value", "bool", False), 3: ("uint_value", "uint64", False),
                        4: ("int_value", "int64", False), 5: ("double_value", "double", False),
                        6: ("string_value", "string", False), 10: ("name", "string", False)},
    "SourceLocation": {2: ("file_name", "string", False), 4: ("line_number", "uint32", False)},
}
WIRE = {"uint64": VARINT, "uint32": VARINT, "int32": VARINT, "int64": VARINT, "enum": VARINT, "bool": VARINT,
        "fixed64": FIXED64, "double": FIXED64, "string": BYTES}
BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
        assert shift < 70, "a varint of more than ten bytes"
    assert value < 1 << 64
    return value, at


def scalar(kind, value):
    if kind in ("int32", "int64") and value >= 1 << 63:
        value -= 1 << 64
    if kind == "int32":
        assert -1 << 31 <= value < 1 << 31
    if kind in ("uint32", "enum"):
        assert value < 1 << 32
    if kind == "bool":
        assert value in (0, 1)
        return bool(value)
    return value


def decode(message, data):
    """The fields of a message by name; repeated ones are lists, absent ones are not there."""
    fields, at, out = MESSAGES[message], 0, {}
    while at < len(data):
        key, at = varint(data, at)
        assert key >> 3 in fields, "%s has no field %d here" % (message, key >> 3)
        name, kind, repeated = fields[key >> 3]
        assert key & 7 == WIRE.get(kind, BYTES), "%s.%s has wire type %d" % (message, name, key & 7)
        if key & 7 == VARINT:
            value, at = varint(data, at)
            value = scalar(kind, value)
        elif key & 7 == FIXED64:
            value = struct.unpack_from("<d" if kind == "double" else "<Q", data, at)[0]
            at += 8
        else:
            size, at = varint(data, at)
            assert size <= len(data) - at, "%s.%s runs over the end" % (message, name)
            part, at = data[at:at + size], at + size
            value = part.decode("utf-8") if kind == "string" else decode(kind, part)
        if repeated:
            out.setdefault(name, []).append(value)
        else:
            assert name not in out, "%s.%s twice" % (message, name)
            out[name] = value
    return out


class Slice:
    def __init__(self, begin):
        event = begin["track_event"]
        self.start, self.end = begin["timestamp"], None
        self.track = event["track_uuid"]
        self.name, self.categories = event.get("name"), event.get("categories", [])
        self.args = {}
        for a in event.get("debug_annotations", []):
            assert a["name"] not in self.args, "argument %s twice" % a["name"]
            values = [v for k, v in a.items() if k != "name"]
            assert len(values) == 1, "an argument has one value"
            self.args[a["name"]] = values[0]
        self.source = event.get("source_location")
        self.flows, self.flow_ends = event.get("flow_ids", []), event.get("terminating_flow_ids", [])
        self.depth = 0


class Trace:
    """tracks: descriptor by uuid. slices: in order of their begin. counters, instants: packets. A slice
    that ends before it begins, ends twice or never, or does not nest is an error; so is an event of a
    track that was not described before it."""

    def __init__(self, data):
        self.packets = decode("Trace", data).get("packet", [])
        self.tracks, self.slices, self.counters, self.instants = {}, [], [], []
        for p in self.packets:
            assert p["trusted_packet_sequence_id"] != 0
            assert ("track_event" in p) != ("track_descriptor" in p), "a packet is one or the other"
            if "track_descriptor" in p:
                d = p["track_descriptor"]
                assert d["uuid"] != 0 and self.tracks.get(d["uuid"], d) == d, "two tracks of one uuid"
                self.tracks[d["uuid"]] = d
            else:
                assert p["track_event"]["track_uuid"] in self.tracks, "event of an unknown track"
        for d in self.tracks.values():
            assert d.get("parent_uuid") is None or d["parent_uuid"] in self.tracks, "unknown parent"
        self.pair(sorted((p for p in self.packets if "track_event" in p), key=lambda p: p["timestamp"]))
        self.links = self.connect()

    def pair(self, events):
        open_slices = {}
        for p in events:
            event = p["track_event"]
            stack = open_slices.setdefault(event["track_uuid"], [])
            if event["type"] == BEGIN:
                s = Slice(p)
                s.depth = len(stack)
                stack.append(s)
                self.slices.append(s)
            elif event["type"] == END:
                assert stack, "an end without a slice"
                stack.pop().end = p["timestamp"]
            elif event["type"] == COUNTER:
                assert "counter" in self.tracks[event["track_uuid"]]
                self.counters.append(p)
            else:
                assert event["type"] == INSTANT
                self.instants.append(p)
        assert not any(open_slices.values()), "a slice without an end"

    def connect(self):
        """(from, to) slices of every flow, in time order; a flow that leads nowhere is an error."""
        last, used, links = {}, set(), []
        for s in self.slices:
            for f in s.flow_ends + s.flows:
                if f in last:
                    links.append((last[f], s))
                    used.add(f)
            for f in s.flow_ends:
                assert f in last, "flow %d ends before it begins" % f
                del last[f]
            for f in s.flows:
                last[f] = s
        assert not set(last) - used, "a flow that leads nowhere"
        return links

    def path(self, uuid):
        """Names from the process down to the track."""
        d = self.tracks[uuid]
        name = d.get("name", d.get("process", {}).get("process_name"))
        return (self.path(d["parent_uuid"]) if "parent_uuid" in d else ()) + (name,)

    def of(self, *path):
        """Slices of the tracks whose path ends so."""
        return [s for s in self.slices if self.path(s.track)[-len(path):] == path]


def read(path):
    with open(path, "rb") as f:
        return Trace(f.read())
