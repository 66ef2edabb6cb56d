# SPDX-License-Identifier: Apache-2.0
"""Random valid programs without races: engines, semaphores, DMA, loops; exact instructions only.

Buffers are tiles or HBM variables. Every step names what it reads and writes; the waits that order
it after the steps it depends on follow from that. Each engine counts its steps in one semaphore,
each queue set its transfers in another.
"""
import dataclasses

import numpy as np

import dtypes as dt
from machine import MAP_STRIDE, Machine
from neuroncore import Window
from records import (ACT, DVE, PE, POOL, PSUM, SBUF, SP, Hbm, Pattern, Record, Scalar, Tensor,
                     Update, Wait)

TYPES = [dt.FP32, dt.FP32, dt.BF16, dt.FP16, dt.INT32, dt.INT16, dt.UINT8]
SBUF_WINDOW, PSUM_WINDOW = 8192, 4096
OWNER = {SP: "sp", ACT: "act", POOL: "pool", DVE: "dve"}


@dataclasses.dataclass
class Buffer:
    """A tile (tensor) or a variable (name), and the events of its last write and the reads since."""
    dtype: int
    parts: int
    count: int
    tensor: object = None
    name: str = None
    written: object = None
    read: list = dataclasses.field(default_factory=list)


class Program:
    def __init__(self, rng, gen, prefix=""):
        self.rng, self.gen, self.prefix = rng, gen, prefix
        self.records = {e: [] for e in (PE, DVE, ACT, POOL, SP)}
        self.groups = {SP: [], ACT: []}
        self.queues = {"qIn": {"type": "in", "owner": "sp", "num_queues": self.int(1, 16)},
                       "qMid": {"type": "data", "owner": "act", "num_queues": self.int(1, 16)},
                       "qOut": {"type": "out", "owner": "sp", "num_queues": self.int(1, 4)},
                       "qDyn": {"type": "dynamic", "owner": "pool", "num_queues": self.int(1, 16)},
                       "qHw": {"type": "dynamic", "owner": "sp", "num_queues": self.int(1, 16)}}
        self.queue_sem = {"qIn": 20, "qMid": 21, "qOut": 22, "qDyn": 23, "qHw": 24}
        self.engine_count = {e: 0 for e in self.records}
        self.queue_count = {q: 0 for q in self.queues}
        self.variables = {"SB": {"type": "state-buffer", "var_id": 0}}
        self.inputs, self.outputs, self.constants = {}, {}, {}
        self.output_dtype = {}
        self.column = {SBUF: 0, PSUM: 0}
        self.tiles = []
        self.next_sem, self.next_event = 40, 0
        self.dma_id = 0
        self.full = False

    # --- choices --------------------------------------------------------------------------------

    def int(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def pick(self, items):
        return items[self.int(0, len(items) - 1)]

    def chance(self, p):
        return bool(self.rng.random() < p)

    # --- buffers --------------------------------------------------------------------------------

    def tile(self, dtype, parts, count, mem=SBUF):
        size = dt.SIZE[dtype]
        pad = self.int(1, 3) if self.chance(0.3) else 1
        at = self.column[mem] + -self.column[mem] % 4
        need = size * ((count - 1) * pad + 1)
        if mem == PSUM and at // 2048 != (at + need - 1) // 2048:
            at += -at % 2048
        if at + need > (SBUF_WINDOW if mem == SBUF else PSUM_WINDOW):
            self.full = True
            return None
        self.column[mem] = at + need
        start = self.pick([0] if parts > 64 else [0, 64] if parts > 32 else [0, 32, 64, 96])
        b = Buffer(dtype, parts, count, Tensor(mem, dtype, start, parts, at, [(pad, count)]))
        return b

    def variable(self, kind, size, data=None, name=None):
        name = name or f"{self.prefix}{kind.replace('-', '_')}{len(self.variables)}"
        var = {"type": kind, "var_id": len(self.variables), "size": size}
        if kind == "file":
            var["file_name"] = name + ".raw"
            self.constants[name] = data
        if kind == "input":
            self.inputs[name] = data
        if kind == "output":
            self.outputs[name] = size
        if kind == "virtual":
            used = [v["backing_variable_off"] + v["size"] for v in self.variables.values()
                    if v["type"] == "virtual"]
            var["backing_variable_off"] = -(-max(used, default=0) // 64) * 64
        self.variables[name] = var
        return name

    # --- order ----------------------------------------------------------------------------------

    def waits_for(self, engine, reads, writes):
        events = [b.written for b in reads + writes if b.written]
        for b in writes:
            events += b.read
        best, waits = {}, []
        for e in events:
            if e[0] == "event":
                if ("event", e[1]) not in best:
                    best[("event", e[1])] = 1
            elif e[3] != engine:
                best[("sem", e[1])] = max(best.get(("sem", e[1]), 0), e[2])
        for (kind, index), value in best.items():
            waits.append(Wait("event_set", index) if kind == "event"
                         else Wait("sem_ge", index, value))
        while len(waits) > 4:
            self.records[engine].append(Record("nop", engine, waits=waits[:4]))
            waits = waits[4:]
        return waits

    def note(self, event, reads, writes):
        for b in reads:
            b.read.append(event)
        for b in writes:
            b.written, b.read = event, []

    def emit(self, engine, rec, reads, writes):
        """A step of an engine."""
        rec.waits = self.waits_for(engine, reads, writes)
        self.engine_count[engine] += 1
        rec.updates.append(Update("inc", 10 + engine) if self.chance(0.7)
                           else Update("add", 10 + engine, 1))
        self.records[engine].append(rec)
        self.note(("sem", 10 + engine, self.engine_count[engine], engine), reads, writes)

    def trigger(self, queue, desc, reads, writes, times=1, remote=None, extra=()):
        """A static transfer; more than once: a loop of the engine, each after the one before."""
        engine = SP if self.queues[queue]["owner"] == "sp" else ACT
        n, sem = self.queues[queue]["num_queues"], self.queue_sem[queue]
        self.dma_id += 1
        group = {"id": self.dma_id, "queue": queue, "semaphore": sem, "desc": desc}
        event = None
        if times == 1 and self.next_event < 200 and self.chance(0.2):
            group["event"] = self.next_event
            event = ("event", self.next_event)
            self.next_event += 1
        if remote is not None:
            group["remote_semaphores"] = [remote]
        self.groups[engine].append(group)
        out = self.records[engine]
        if extra:
            out.append(Record("nop", engine, waits=list(extra)))
        waits = self.waits_for(engine, reads, writes)
        if times == 1:
            out.append(Record("dma_trigger", engine, imm=self.dma_id, waits=waits))
        else:
            done = self.queue_count[queue]
            out.append(Record("register_move", engine, rd=1, imm=0, waits=waits))
            out.append(Record("register_move", engine, rd=2, imm=done))
            top = len(out)
            out.append(Record("dma_trigger", engine, imm=self.dma_id,
                              waits=[Wait("sem_ge", sem, reg=2)]))
            out.append(Record("register_alu", engine, seq_op="add", rd=2, ra=2, imm=n))
            out.append(Record("register_alu", engine, seq_op="add", rd=1, ra=1, imm=1))
            out.append(Record("branch", engine, seq_op="lt", ra=1, imm=times, target=top))
        self.queue_count[queue] += n * times
        self.note(event or ("sem", sem, self.queue_count[queue], None), reads, writes)

    # --- DMA steps ------------------------------------------------------------------------------

    def contents(self, dtype, shape):
        if dt.is_int(dtype):
            low, high = dt.INT_RANGE[dtype]
            v = self.rng.integers(max(low, -1000), min(high, 1000), shape).astype(np.float64)
        else:
            v = np.round(self.rng.normal(0, 8, shape), 2)
        return dt.encode(v, dtype)

    def tile_side(self, key, b, columns_first):
        """Descriptor fields of a tile: rows in order, or element by element, column by column."""
        t, size = b.tensor, dt.SIZE[b.dtype]
        step = t.dims[0][0] * size
        off = t.part * MAP_STRIDE + t.offset
        if columns_first:
            dims = [(1, size), (MAP_STRIDE, b.parts), (step, b.count)]
        elif step == size:
            dims = [(1, size * b.count), (MAP_STRIDE, b.parts)]
        else:
            dims = [(1, size), (step, b.count), (MAP_STRIDE, b.parts)]
        return {key: "SB", key + "_off": off, key + "_steps": [s for s, _ in dims],
                key + "_sizes": [n for _, n in dims]}

    def flat_side(self, key, name, off, size):
        return {key: name, key + "_off": off, key + "_steps": [1], key + "_sizes": [size]}

    def load(self, dtype=None, parts=None, count=None, raw=None):
        """A new tile filled from an input or a constant."""
        dtype = dtype or self.pick(TYPES)
        b = self.tile(dtype, parts or self.pick([1, 4, 16, 32, 64, 128, self.int(1, 128)]),
                      count or self.int(1, 24))
        if b is None:
            return None
        other = dtype if raw is not None or self.chance(0.7) else self.pick(TYPES)
        columns = raw is None and self.chance(0.3)
        if raw is None:
            raw = self.contents(other, (b.parts, b.count))
        data = np.ascontiguousarray(raw).view(np.uint8).ravel()
        name = self.variable(self.pick(["input", "file"]), len(data), data)
        desc = {"op": "copy" if other == dtype else "cast"}
        if other != dtype:
            desc.update(from_dtype=dt.NAME[other], to_dtype=dt.NAME[dtype])
        desc.update(self.flat_side("from", name, 0, len(data)))
        if not columns and b.parts > 1 and self.chance(0.3):    # last row first
            row = len(data) // b.parts
            desc.update(from_off=row * (b.parts - 1), from_steps=[1, -row],
                        from_sizes=[row, b.parts])
        desc.update(self.tile_side("to", b, columns))
        self.trigger(self.pick(["qIn", "qMid"]), [desc], [], [b])
        self.tiles.append(b)
        return b

    def store(self, b, queue=None):
        """A tile into an output variable."""
        size = dt.SIZE[b.dtype] * b.parts * b.count
        name = self.variable("output", size)
        desc = self.tile_side("from", b, self.chance(0.3))
        desc.update(self.flat_side("to", name, 0, size))
        self.output_dtype[name] = b.dtype
        out = Buffer(b.dtype, b.parts, b.count, name=name)
        self.trigger(queue or self.pick(["qOut", "qMid"]), [desc], [b], [out])

    def hbm_step(self):
        """Compute between HBM variables, then into a tile."""
        dtype, parts, count = self.pick([dt.FP32, dt.INT32, dt.BF16]), self.int(1, 64), self.int(1, 16)
        b = self.tile(dtype, parts, count)
        if b is None:
            return
        size = dt.SIZE[dtype] * parts * count
        op = self.pick(["add", "min", "max", "fma", "transpose", "loop"])
        names = [self.variable("input", size,
                               self.contents(dtype, (parts * count,)).view(np.uint8))
                 for _ in range(1 if op == "transpose" else self.int(1, 4))]
        mid = Buffer(dtype, 1, parts * count, name=self.variable(
            self.pick(["tmp-buf", "virtual"]), size))
        typed = {"from_dtype": dt.NAME[dtype]}
        parts_of = [dict(self.flat_side("from", n, 0, size), **typed) for n in names]
        to = dict(self.flat_side("to", mid.name, 0, size), to_dtype=dt.NAME[dtype])
        queue = self.pick(["qIn", "qMid"])
        if op == "loop":            # mid = x; then mid += x, several times
            copy = dict(self.flat_side("from", names[0], 0, size),
                        **self.flat_side("to", mid.name, 0, size))
            self.trigger(queue, [copy], [], [mid])
            again = dict(self.flat_side("from", mid.name, 0, size), **typed)
            self.trigger(queue, [dict(to, op="add", from_arr=[again, parts_of[0]])], [mid], [mid],
                         times=self.int(2, 5))
        elif op == "transpose":
            desc = dict(self.flat_side("from", names[0], 0, size), op=op,
                        transpose_shape=[parts, count, 1, 1],
                        transpose_element_size=dt.SIZE[dtype],
                        **self.flat_side("to", mid.name, 0, size))
            self.trigger(queue, [desc], [], [mid])
        else:
            desc = dict(to, op=op, from_arr=parts_of)
            if op == "fma":
                desc.update(scale_dtype="float32",
                            scale=[float(self.int(-4, 4)) / 4 for _ in names])
            elif op != "add" and self.chance(0.5):
                desc.update(constant_dtype="float32", constant=float(self.int(-3, 3)))
            self.trigger(queue, [desc], [], [mid])
        desc = dict(self.flat_side("from", mid.name, 0, size), **self.tile_side("to", b, False))
        self.trigger(self.pick(["qIn", "qMid"]), [desc], [mid], [b])
        self.tiles.append(b)

    def dynamic(self, engine, rec, reads, writes):
        """A dynamic transfer as a step of an engine."""
        queue = "qDyn" if engine == POOL else "qHw"
        rec.queue, rec.semaphore = sorted(self.queues).index(queue), self.queue_sem[queue]
        rec.mode = 0 if engine == POOL else 1
        rec.waits = self.waits_for(engine, reads, writes)
        self.records[engine].append(rec)
        self.queue_count[queue] += self.queues[queue]["num_queues"]
        self.note(("sem", rec.semaphore, self.queue_count[queue], None), reads, writes)

    def table(self, rows, width, dtype, written):
        """A table in HBM: a constant, or an output that starts as a copy of an input."""
        size = rows * width * dt.SIZE[dtype]
        data = self.contents(dtype, (rows, width)).view(np.uint8).ravel()
        if not written:
            return Buffer(dtype, rows, width, name=self.variable("file", size, data))
        first = self.variable("input", size, data)
        b = Buffer(dtype, rows, width, name=self.variable("output", size))
        self.output_dtype[b.name] = dtype
        copy = dict(self.flat_side("from", first, 0, size), **self.flat_side("to", b.name, 0, size))
        self.trigger("qIn", [copy], [], [b])
        return b

    def indices(self, rows, n, unique):
        """A tile of n indices; perhaps some out of bounds, and whether those are skipped."""
        wanted = self.rng.permutation(rows)[:n] if unique else self.rng.integers(0, rows, n)
        wanted = wanted.astype(np.float64).reshape(n, 1)
        dtype = self.pick([dt.INT32, dt.UINT32])
        skip = self.chance(0.4)
        if skip:
            wanted[self.int(0, n - 1), 0] = self.pick([rows, rows + 7] +
                                                      ([-1] if dtype == dt.INT32 else []))
        return self.load(dtype, n, 1, dt.encode(wanted, dtype)), skip

    def by_index(self):
        """Gather or scatter rows of a table by an index tile, copying or adding."""
        n, width = self.int(1, 32), self.int(1, 12)
        rows, scatter, add = self.int(n, 40), self.chance(0.5), self.chance(0.3)
        dtype = self.pick(TYPES)
        other = dtype if self.chance(0.6) else self.pick(TYPES)
        index, skip = self.indices(rows, n, unique=scatter)
        tile = self.load(other, n, width) if index else None
        if tile is None:
            return
        table = self.table(rows, width, dtype, scatter)
        hbm = Hbm(self.variables[table.name]["var_id"], dtype, 0, [(1, width), (0, n)],
                  off_mul=width)
        rec = Record("dma_dyn", POOL, index=index.tensor, dyn_op=2 if add else 0)
        if skip and self.chance(0.3):       # the mode from a register
            rec.oob_reg = self.int(8, 63)
            self.records[POOL].append(Record("register_move", POOL, rd=rec.oob_reg, imm=1))
        else:
            rec.oob = int(skip)
        if scatter:
            rec.src, rec.dst, rec.index_side = tile.tensor, hbm, 2
            self.dynamic(POOL, rec, [index, tile], [table])
        else:
            rec.src, rec.dst, rec.index_side = hbm, tile.tensor, 1
            self.dynamic(POOL, rec, [index, table], [tile])

    def by_offset(self):
        """A piece of a table at a register's offset, to or from a tile; perhaps out of bounds."""
        engine = SP if self.gen > 2 and self.chance(0.5) else POOL
        parts, width = self.int(1, 32), self.int(1, 12)
        rows = parts + self.int(0, 6)
        dtype, store = self.pick(TYPES), self.chance(0.4)
        tile = self.load(dtype if engine == SP or self.chance(0.6) else self.pick(TYPES), parts,
                         width)
        if tile is None:
            return
        table = self.table(rows, width, dtype, store)
        skip = self.chance(0.4)
        first = self.int(0, rows - parts) if not skip else self.pick([-1, rows, 0])
        reg = self.int(8, 63)
        self.records[engine].append(Record("register_move", engine, rd=reg, imm=first))
        hbm = Hbm(self.variables[table.name]["var_id"], dtype, 0, [(1, width), (width, parts)],
                  off_reg=reg, off_mul=width)
        rec = Record("dma_dyn", engine, oob=int(skip))
        if store:
            rec.src, rec.dst = tile.tensor, hbm
            self.dynamic(engine, rec, [tile], [table])
        else:
            rec.src, rec.dst = hbm, tile.tensor
            self.dynamic(engine, rec, [table], [tile])

    # --- compute steps --------------------------------------------------------------------------

    def source(self, **want):
        fit = [b for b in self.tiles if all(getattr(b, k) == v for k, v in want.items())]
        return self.pick(fit) if fit else None

    def engine_for(self, *tiles):
        choice = [DVE]
        if all(b.tensor.mem == SBUF for b in tiles):
            choice.append(POOL)
        return self.pick(choice)

    def result(self, dtype, parts, count, psum=0.2):
        return self.tile(dtype, parts, count, PSUM if self.chance(psum) else SBUF)

    def copy_step(self):
        a = self.source()
        b = self.result(self.pick(TYPES), a.parts, a.count)
        if b:
            engine = self.engine_for(a, b)
            if self.gen > 2 and self.chance(0.3):
                engine = ACT
            self.emit(engine, Record("tensor_copy", engine, [b.tensor, a.tensor]), [a], [b])
            self.tiles.append(b)

    def binary_step(self):
        a = self.source()
        other = self.source(parts=a.parts, count=a.count)
        if a.tensor.mem == PSUM and other.tensor.mem == PSUM:
            return
        b = self.result(self.pick(TYPES), a.parts, a.count) if self.chance(0.7) else other
        if b:
            engine = self.engine_for(a, other, b)
            op = self.pick(["add", "subtract", "multiply", "max", "min", "ge", "eq"])
            self.emit(engine, Record("tensor_tensor", engine, [b.tensor, a.tensor, other.tensor],
                                     op0=op), [a, other], [b])
            if b is not other:
                self.tiles.append(b)

    def const(self):
        return Scalar("f32", int(dt.encode([self.int(-8, 8) / 4], dt.FP32)[0]))

    def scalar_step(self):
        a = self.source()
        b = self.result(self.pick(TYPES), a.parts, a.count) if self.chance(0.5) else a
        if b:
            rec = Record("tensor_scalar", DVE, [b.tensor, a.tensor], [self.const(), self.const()],
                         op0=self.pick(["add", "multiply", "subtract"]),
                         op1=self.pick(["add", "max", "min"]))
            self.emit(DVE, rec, [a], [b])
            if b is not a:
                self.tiles.append(b)

    def iota_step(self):
        b = self.tile(self.pick(TYPES), self.int(1, 128), self.int(1, 24))
        if b:
            p = Pattern(self.int(-50, 50), self.int(-3, 3), [(self.int(-4, 4), b.count)])
            self.emit(POOL, Record("iota", POOL, [b.tensor], pattern=p), [], [b])
            self.tiles.append(b)

    def memset_step(self):
        b = self.tile(self.pick(TYPES), self.int(1, 128), self.int(1, 24))
        if b:
            bits = int(self.contents(b.dtype, (1,))[0])
            engine = self.engine_for(b)
            self.emit(engine, Record("memset", engine, [b.tensor], [Scalar("i32", bits)]), [], [b])
            self.tiles.append(b)

    def select_step(self):
        a = self.source()
        if a.tensor.mem != SBUF:
            return
        b = self.tile(a.dtype, a.parts, a.count)
        if b:
            p = Pattern(self.int(-5, 5), self.pick([1, -1, 0]), [(self.pick([1, -1]), a.count)])
            self.emit(POOL, Record("affine_select", POOL, [b.tensor, a.tensor], [self.const()],
                                   cmp0=self.pick(["ge", "gt", "eq", "ne"]), pattern=p), [a], [b])
            self.tiles.append(b)

    def transpose_step(self):
        a = self.source()
        if a.parts > 32 or a.count > 32:
            return
        b = self.result(a.dtype, a.count, a.parts)
        if b:
            self.emit(DVE, Record("nc_transpose", DVE, [b.tensor, a.tensor]), [a], [b])
            self.tiles.append(b)

    def max8_step(self):
        a = self.source()
        if a.count < 8:
            return
        b = self.result(a.dtype, a.parts, 8)
        if b:
            self.emit(DVE, Record("max8", DVE, [b.tensor, a.tensor]), [a], [b])
            self.tiles.append(b)

    def matmul_step(self):
        """Small integers: every order of summation gives the same sum."""
        k, m, n = self.pick([1, 8, 32, 128]), self.int(1, 64), self.int(1, 24)
        pair = [self.rng.integers(-6, 7, s).astype(float) for s in ((k, m), (k, n), (k, m), (k, n))]
        dtype = self.pick([dt.BF16, dt.FP32, dt.FP16])
        tiles = [self.load(dtype, k, p.shape[1], dt.encode(p, dtype)) for p in pair]
        b = self.tile(dt.FP32, m, n, PSUM)
        if b is None or None in tiles:
            return
        for t in tiles[1:]:             # both inputs start at one partition
            if t.tensor.part != tiles[0].tensor.part:
                return
        for i, acc in ((0, 0), (2, 1)):
            self.emit(PE, Record("nc_matmul", PE, [b.tensor, tiles[i].tensor, tiles[i + 1].tensor],
                                 acc=acc), tiles[i:i + 2] + ([b] if acc else []), [b])
        self.tiles.append(b)

    # --- loops ----------------------------------------------------------------------------------

    def counter(self, engine, reg, body, times):
        """for reg in 0 .. times - 1: body(); the records of one engine."""
        out = self.records[engine]
        out.append(Record("register_move", engine, rd=reg, imm=0))
        top = len(out)
        body()
        out.append(Record("register_alu", engine, seq_op="add", rd=reg, ra=reg, imm=1))
        out.append(Record("branch", engine, seq_op="lt", ra=reg, imm=times, target=top))

    def window_of(self, b, width, reg):
        """The columns reg * width ... of a tile."""
        step = b.tensor.dims[0][0]
        return dataclasses.replace(b.tensor, dims=[(step, width)], off_reg=reg,
                                   off_mul=width * step)

    def loop_step(self):
        """One engine walks over the columns of a tile."""
        a = self.source()
        widths = [w for w in range(1, a.count) if a.count % w == 0]
        if not widths:
            return
        width, reg = self.pick(widths), self.int(3, 63)
        part = self.window_of(a, width, reg)
        waits = self.waits_for(DVE, [a], [a])
        self.records[DVE].append(Record("nop", DVE, waits=waits))
        self.counter(DVE, reg, lambda: self.records[DVE].append(
            Record("tensor_scalar", DVE, [part, part], [self.const(), None], op0="add")),
            a.count // width)
        self.emit(DVE, Record("nop", DVE), [], [])
        self.note(("sem", 10 + DVE, self.engine_count[DVE], DVE), [], [a])

    def pingpong_step(self):
        """One engine feeds another through a small tile, both in loops, with registers in waits."""
        a = self.source()
        if a.tensor.mem != SBUF or a.count < 2 or self.next_sem > 250:
            return
        width = self.pick([w for w in range(1, a.count) if a.count % w == 0])
        cell = self.tile(a.dtype, a.parts, width)
        total = self.tile(self.pick([dt.FP32, dt.INT32, dt.BF16]), a.parts, width)
        if cell is None or total is None:
            return
        first, second = self.pick([(POOL, DVE), (DVE, POOL)])
        if self.gen > 2 and self.chance(0.3):
            first, second = ACT, DVE
        data, ack = self.next_sem, self.next_sem + 1
        self.next_sem += 2
        times = a.count // width
        self.emit(second, Record("memset", second, [total.tensor], [Scalar("i32", 0)]), [], [total])
        self.records[first].append(Record("nop", first, waits=self.waits_for(first, [a], [cell])))
        self.counter(first, 5, lambda: self.records[first].append(Record(
            "tensor_copy", first, [cell.tensor, self.window_of(a, width, 5)],
            waits=[Wait("sem_ge", ack, reg=5)], updates=[Update("inc", data)])), times)
        self.emit(first, Record("nop", first), [a], [])
        counted = self.chance(0.5)

        def consume():
            rec = Record("tensor_tensor", second, [total.tensor, total.tensor, cell.tensor],
                         op0="add", updates=[Update("inc", ack)])
            if counted:
                rec.waits = [Wait("sem_ge", data, 1)]
                rec.updates.insert(0, Update("sub", data, 1))
            else:
                self.records[second].append(Record("register_alu", second, seq_op="add", rd=7,
                                                   ra=6, imm=1))
                rec.waits = [Wait("sem_ge", data, reg=7)]
            self.records[second].append(rec)

        self.counter(second, 6, consume, times)
        self.emit(second, Record("nop", second), [], [])
        event = ("sem", 10 + second, self.engine_count[second], second)
        self.note(event, [], [total, cell])
        self.tiles.append(total)

    def register_step(self):
        """A column number from HBM picks a column of a tile; the register goes to an output."""
        a = self.source()
        engine = self.pick([DVE, POOL])
        if a.tensor.mem != SBUF:
            return
        b = self.tile(a.dtype, a.parts, 1)
        if b is None:
            return
        column = self.int(0, a.count - 1)
        name = self.variable("input", 8, np.array([column, 99], np.int32).view(np.uint8))
        out = self.variable("output", 4)
        place = Hbm(self.variables[name]["var_id"], dt.INT32, 0, [(1, 1)])
        target = Hbm(self.variables[out]["var_id"], dt.INT32, 0, [(1, 1)])
        reg = self.int(8, 63)
        self.records[engine] += [
            Record("register_load", engine, rd=reg, place=place),
            Record("register_store", engine, ra=reg, place=target)]
        part = dataclasses.replace(a.tensor, dims=[(1, 1)], off_reg=reg,
                                   off_mul=a.tensor.dims[0][0])
        self.emit(engine, Record("tensor_copy", engine, [b.tensor, part]), [a], [b])
        self.tiles.append(b)

    # --- two cores ------------------------------------------------------------------------------

    def send(self, name, semaphore):
        """A tile into a tensor that both cores know; the peer's semaphore says when it is there."""
        b = self.source()
        while b.tensor.mem != SBUF:
            b = self.source()
        size = dt.SIZE[b.dtype] * b.parts * b.count
        self.variable("output", size, name=name)
        self.output_dtype[name] = b.dtype
        desc = dict(self.tile_side("from", b, False), **self.flat_side("to", name, 0, size))
        self.trigger("qOut", [desc], [b], [Buffer(b.dtype, b.parts, b.count, name=name)],
                     remote=semaphore)
        return b, self.queues["qOut"]["num_queues"]

    def receive(self, name, like, semaphore, amount):
        b = self.tile(like.dtype, like.parts, like.count)
        if b is None:
            return
        size = dt.SIZE[b.dtype] * b.parts * b.count
        self.variable("output", size, name=name)
        desc = dict(self.flat_side("from", name, 0, size), **self.tile_side("to", b, False))
        self.trigger("qIn", [desc], [], [b], extra=[Wait("sem_ge", semaphore, amount)])
        self.tiles.append(b)

    def meet(self, engine, semaphore, signal):
        """A barrier of both cores, and a plain signal to the peer that its next step waits for."""
        self.records[engine] += [
            Record("core_barrier", engine, first=semaphore),
            Record("nop", engine, updates=[Update("add", signal, 3, peer=True)]),
            Record("nop", engine, waits=[Wait("sem_ge", signal, 3)],
                   updates=[Update("sub", signal, 3)])]

    # --- the program ----------------------------------------------------------------------------

    def body(self, steps):
        for _ in range(self.int(1, 3)):
            self.load()
        kinds = [self.load, self.hbm_step, self.by_index, self.by_offset, self.copy_step,
                 self.copy_step, self.binary_step, self.binary_step, self.scalar_step,
                 self.iota_step, self.memset_step, self.select_step, self.transpose_step,
                 self.max8_step, self.matmul_step, self.loop_step, self.pingpong_step,
                 self.register_step]
        for _ in range(steps):
            self.pick(kinds)()

    def finish(self):
        """Everything into outputs; the ends of the engines' programs."""
        for b in list(self.tiles):
            if b.tensor.mem == PSUM:
                c = self.tile(b.dtype, b.parts, b.count)
                if c is None:
                    continue
                self.emit(DVE, Record("tensor_copy", DVE, [c.tensor, b.tensor]), [b], [c])
                b = c
            self.store(b)
        for e in list(self.records):
            if not self.records[e] and self.chance(0.5):
                del self.records[e]
            else:
                self.records[e].append(Record("end", e))
        self.groups = {e: g for e, g in self.groups.items() if e in self.records}

    def machine(self, shared=None):
        """An interpreter with the inputs in place; shared: arrays of the other core."""
        arrays = {}
        for name, var in self.variables.items():
            data = self.inputs.get(name, self.constants.get(name))
            if name == "SB":
                arrays[name] = (0, None)
            elif shared and name in shared:
                arrays[name] = (var["var_id"], shared[name][1])
            elif data is not None:
                arrays[name] = (var["var_id"], np.array(data, np.uint8))
            else:
                arrays[name] = (var["var_id"], np.zeros(var["size"], np.uint8))
        windows = {SBUF: Window(0, np.zeros((128, SBUF_WINDOW), np.uint8)),
                   PSUM: Window(0, np.zeros((128, PSUM_WINDOW), np.uint8))}
        queues = {q: d["num_queues"] for q, d in self.queues.items()}
        return Machine(self.gen, windows, self.records, self.groups, queues, arrays)


class Single:
    """A program of one core."""

    def __init__(self, seed, gen):
        rng = np.random.default_rng(seed)
        program = Program(rng, gen)
        program.body(int(rng.integers(3, 22)))
        program.finish()
        self.gen, self.cores = gen, [program]

    def machines(self):
        first = self.cores[0].machine()
        return [first] + [c.machine(first.names) for c in self.cores[1:]]

    @property
    def inputs(self):
        return {n: d for c in self.cores for n, d in c.inputs.items()}

    @property
    def outputs(self):
        return {n: s for c in self.cores for n, s in c.outputs.items()}

    @property
    def output_dtype(self):
        return {n: t for c in self.cores for n, t in c.output_dtype.items()}


class Pair(Single):
    """Programs of the two cores of a logical core that meet and exchange tiles."""

    def __init__(self, seed, gen):
        rng = np.random.default_rng(seed)
        one, two = Program(rng, gen, "a_"), Program(rng, gen, "b_")
        for number in range(int(rng.integers(1, 4))):
            for program in (one, two):
                program.body(int(rng.integers(2, 6)))
            if program.chance(0.5):
                engines = [PE, DVE, ACT, POOL]
                engine = program.pick(engines)
                # of each engine its own: two engines may be on their way to a barrier at once
                at = 240 + 2 * engines.index(engine)
                one.meet(engine, at, at + 1)
                two.meet(engine, at, at + 1)
            left, right = (one, two) if program.chance(0.5) else (two, one)
            like, amount = left.send(f"shared{number}", 230 + number)
            right.receive(f"shared{number}", like, 230 + number, amount)
        one.finish()
        two.finish()
        self.gen, self.cores = gen, [one, two]


def generate(seed, gen, cores=1):
    return (Single if cores == 1 else Pair)(seed, gen)
