# SPDX-License-Identifier: Apache-2.0
"""Reads device profiles by docs/spec/ntff.md, and counts what `view` counts by docs/profiling.md: by trying
every point in time and every event, without sorting and joining. Shares nothing with the tools."""
import struct

ENGINES = ['pe', 'dve', 'act', 'pool', 'sp']
WAIT, RECORD, READ, COMPLETE, XFER, XFER_DONE, XFER_UPDATE, COLL, ARRIVAL = range(1, 10)
REASONS = ['idle_engine', 'idle_transfer', 'idle_collective', 'idle_unknown', 'idle_between', 'idle_ended']


class Row:
    def __init__(self, names, values):
        self.__dict__.update(zip(names.split(), values))


class Profile:
    def __init__(self, data):
        magic, version, sections, size, self.dropped_execs, self.dropped_events = struct.unpack_from('<8sIIQQQ', data)
        assert (magic, version, sections, size) == (b'ONRTNTFF', 1, 6, len(data))
        at = [struct.unpack_from('<IIQQ', data, 40 + 24 * i) for i in range(6)]
        assert [a[0] for a in at] == [1, 2, 3, 4, 5, 6]
        self.texts = data[at[0][2]:at[0][2] + at[0][3]]

        def rows(section, form, names):
            _, item, off, count = at[section - 1]
            assert item == struct.calcsize(form)
            return [Row(names, struct.unpack_from(form, data, off + i * item)) for i in range(count)]
        self.models = rows(2, '<8I32s4I', 'name gen cores id instance vnc rank pad hash first_record records first_xfer xfers')
        self.records = rows(3, '<BBHIIIII', 'core engine opcode record file line label op')
        self.xfers = rows(4, '<6IQ', 'core index queue first_engine engines pad bytes')
        self.execs = rows(5, '<IIQQQQQQQ', 'model status run host_start host_end total first_event events dropped')
        self.events = rows(6, '<BBBBiIIQQ', 'kind unit index op value id extra start end')

    def text(self, at):
        return self.texts[at:self.texts.index(b'\0', at)].decode()

    def execs_of(self, model):
        return [(e, self.events[e.first_event:e.first_event + e.events]) for e in self.execs if e.model == model]


def read(path):
    with open(path, 'rb') as f:
        return Profile(f.read())


def covered(total, sets):
    """Per piece of [0, total) between two times that occur: its length, and which of the sets cover it."""
    points = sorted({0, total} | {t for s in sets for span in s for t in span if t < total})
    for a, b in zip(points, points[1:]):
        yield b - a, [any(x <= a and b <= y for x, y in s) for s in sets]


def cause(events, wait):
    """The last update of what the wait is for, in time and in the file, that is not later than its end."""
    on_event, best = wait.op & 63 >= 3, None
    for u in events:
        if u.kind not in (READ, COMPLETE, XFER_UPDATE) or u.index != wait.index or u.start > wait.end:
            continue
        if ((u.op & 63) >= 6) == on_event and (u.unit >> 3) ^ (u.op >> 7) == wait.unit >> 3:
            if best is None or u.start >= best.start:
                best = u
    return best


class Figures:
    """Of one model of a profile. compute: the opcodes that compute. rate: bytes per ps of one DMA engine."""

    def __init__(self, p, model, compute, rate):
        m = p.models[model]
        self.execs = p.execs_of(model)
        self.total = sum(e.total for e, _ in self.execs)
        records = p.records[m.first_record:m.first_record + m.records]
        xfers = {(x.core, x.index): x for x in p.xfers[m.first_xfer:m.first_xfer + m.xfers]}
        self.units = sorted({r.core << 3 | r.engine for r in records})
        self.busy = dict.fromkeys(self.units, 0)
        self.count = dict.fromkeys(self.units, 0)
        self.idle = {u: dict.fromkeys(REASONS, 0) for u in self.units}
        self.queues = {}
        self.instructions = {}
        self.transfers = self.bytes = self.colls = self.coll_late = self.matmuls = 0
        self.dma_active = self.dma_any = self.coll_any = self.compute = self.dma_hidden = self.coll_hidden = self.active = 0
        for e, events in self.execs:
            self.add(e.total, events, xfers, compute)
        self.efficiency = self.bytes / 16 / rate / self.dma_active if self.dma_active else 0

    def add(self, total, events, xfers, compute):
        starts = [e for e in events if e.kind in (XFER, COLL)]
        spans = lambda wanted: [(e.start, e.end) for e in events if wanted(e)]  # noqa: E731
        computes = spans(lambda e: e.kind == RECORD and e.value in compute)
        moving = spans(lambda e: e.kind == XFER)
        colls = []
        for a in events:
            if a.kind == ARRIVAL:
                c = starts[a.id]
                came = min(max(a.extra << 32 | a.value & 0xffffffff, c.start), c.end)
                colls.append((came, c.end))
                self.coll_late += came - c.start
        self.colls += sum(e.kind == COLL for e in events)
        self.matmuls += sum(e.kind == RECORD and e.value in (0x20, 0x21) for e in events)
        for length, (computing, dma, coll) in covered(total, [computes, moving, colls]):
            self.compute += length * computing
            self.dma_any += length * dma
            self.coll_any += length * coll
            self.dma_hidden += length * (dma and computing)
            self.coll_hidden += length * (coll and computing)
            self.active += length * (dma or coll or computing)
        for core in (0, 1):
            one = spans(lambda e, core=core: e.kind == XFER and e.unit >> 3 == core)
            self.dma_active += sum(length for length, (dma,) in covered(total, [one]) if dma)
        for e in events:
            if e.kind == XFER:
                x = xfers[e.unit >> 3, e.value]
                self.transfers += 1
                self.bytes += x.bytes
                q = self.queues.setdefault((x.core, x.queue), [0, 0, []])
                q[0] += 1
                q[1] += x.bytes
            if e.kind == RECORD:
                got = self.instructions.setdefault((e.unit, e.id), [0, 0, e.value])
                got[0] += 1
                got[1] += e.end - e.start
        for u in self.units:
            self.unit(u, total, events, starts)

    def unit(self, u, total, events, starts):
        mine = [e for e in events if e.unit == u]
        records = [(e.start, e.end) for e in mine if e.kind == RECORD]
        waits = [e for e in mine if e.kind == WAIT and not e.op & 64]
        self.count[u] += len(records)
        busy = sum(length for length, (b,) in covered(total, [records]) if b)
        until = waited = 0
        for w in waits:
            ps = max(0, w.end - max(w.start, until))
            until = max(until, w.end)
            waited += ps
            by = cause(events, w)
            start = starts[by.id] if by is not None and by.kind == XFER_UPDATE else None
            reason = ('idle_unknown' if by is None else 'idle_engine' if start is None else
                      'idle_transfer' if start.kind == XFER else 'idle_collective')
            self.idle[u][reason] += ps
        ended = total - max([end for _, end in records] + [w.end for w in waits] + [0])
        self.busy[u] += busy
        self.idle[u]['idle_ended'] += ended
        self.idle[u]['idle_between'] += total - busy - waited - ended

    def top(self, n):
        """(unit, record) by time, the longest first; of equals the first of the program."""
        return sorted(self.instructions, key=lambda k: (-self.instructions[k][1], k))[:n]
