# SPDX-License-Identifier: Apache-2.0
"""A whole core as a sequential interpreter (docs/spec/neuroncore.md sections 4.10, 5 and 6).

Engines and DMA queues are actors; at every step one that can go on is picked by a random generator,
so running a program under two seeds shows whether it has races. Static DMA groups are dicts of the
form that stands in an engine's JSON (docs/spec/neff.md section 7).
"""
import numpy as np

import dtypes
import values as val
from neuroncore import LANES, Core, OutOfBounds
from records import HBM, NO_REG, PSUM, SBUF, Hbm, Tensor

MAP_STRIDE = 262144
ADD = 2                         # of a dynamic transfer
BY_NAME = {v: k for k, v in dtypes.NAME.items()}


class Hang(Exception):
    """Nothing can go on and not every engine has ended."""


def signed(v):
    v &= 0xffffffff
    return v - 2**32 if v >= 2**31 else v


def pattern(offset, steps, sizes):
    """Offset of every position, the first dimension fastest."""
    at = np.zeros(1, np.int64)
    for step, size in reversed(list(zip(steps, sizes))):
        at = (at[:, None] + step * np.arange(size, dtype=np.int64)[None, :]).ravel()
    return offset + at


class Machine:
    def __init__(self, gen, windows, programs, groups, queues, variables, sbuf_name="SB"):
        """programs: {engine: [Record]}; groups: {engine: [dict]}; queues: {name: num_queues};
        variables: {name: (var_id, uint8 array)}; the state buffer has array None."""
        self.core = Core(gen, windows)
        self.programs, self.groups, self.queues = programs, groups, queues
        self.names = variables
        self.by_id = {i: data for i, data in variables.values()}
        self.peer = None            # the other core of the logical core
        self.arrived = set()        # engines inside a core_barrier
        self.sem = [0] * 256
        self.event = [0] * 256
        self.pc = {e: 0 for e in programs}
        self.done = set()
        self.pending = {q: [] for q in queues}      # transfers in trigger order
        self.queue_order = sorted(queues)

    # --- bytes ----------------------------------------------------------------------------------

    def _cells(self, name):
        return self.names[name][1]

    def load(self, name, at):
        data = self._cells(name)
        if data is not None:
            return data[at]
        window = self.core.mem[SBUF]
        return window.data[at // MAP_STRIDE, at % MAP_STRIDE - window.base]

    def store(self, name, at, raw):
        data = self._cells(name)
        if data is not None:
            for a, r in zip(at, raw):               # of equal addresses the later wins
                data[a] = r
            return
        window = self.core.mem[SBUF]
        for a, r in zip(at, raw):
            window.data[a // MAP_STRIDE, a % MAP_STRIDE - window.base] = r

    # --- static DMA (5.2, 5.3, 5.4) ---------------------------------------------------------------

    def transfer(self, group):
        for desc in group["desc"]:
            self.descriptor(desc)

    def _source(self, part):
        at = pattern(part["from_off"], part["from_steps"], part["from_sizes"])
        return self.load(part["from"], at), BY_NAME[part.get("from_dtype", "uint8")]

    def descriptor(self, desc):
        op = desc.get("op", "copy")
        sources = [self._source(p) for p in desc.get("from_arr", [desc])]
        to = BY_NAME[desc.get("to_dtype", "uint8")]
        at = pattern(desc["to_off"], desc["to_steps"], desc["to_sizes"])
        if op in ("copy", "cast") and sources[0][1] == to:
            out = sources[0][0]
        elif op == "transpose":
            out = self._transpose(desc, sources[0][0])
        else:
            out = self._compute(desc, op, sources, to)
        self.store(desc["to"], at, out)

    def _transpose(self, desc, raw):
        size = desc.get("transpose_element_size", 1)
        shape = list(desc["transpose_shape"])
        while len(shape) > 2 and shape[-1] == 1:
            shape.pop()
        axes = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}[len(shape)]
        cube = raw.reshape(shape + [size])
        return np.transpose(cube, axes + (len(shape),)).ravel()

    def _compute(self, desc, op, sources, to):
        terms = []
        for raw, dtype in sources:
            cells = np.ascontiguousarray(raw).view(dtypes.RAW[dtypes.SIZE[dtype]])
            terms.append(dtypes.decode(cells, dtype))
        if op in ("cast", "copy"):
            out = terms[0]
        elif op == "fma":
            scales = desc.get("scale", [1.0] * len(terms))
            scales = scales if isinstance(scales, list) else [scales] * len(terms)
            products = [val.alu32("multiply", np.float64(np.float32(s)), t)[0]
                        for s, t in zip(scales, terms)]
            out = self._fold("add", products)
        else:
            if "constant_dtype" in desc:
                terms.insert(0, np.full_like(terms[0], dtypes.round32(desc["constant"])))
            out = self._fold(op, terms)
        return dtypes.encode(out, to).view(np.uint8)

    def _fold(self, op, terms):
        out = terms[0]
        for t in terms[1:]:
            out = val.alu32(op, out, t)[0]
        return out

    # --- dynamic DMA (5.5, 6.4) -------------------------------------------------------------------

    def _hbm_rows(self, place, engine, index):
        """Element byte addresses [rows, row elements] of an HBM operand, before any check."""
        size = dtypes.SIZE[place.dtype]
        inner = pattern(0, [s for s, _ in place.dims[:-1]], [n for _, n in place.dims[:-1]])
        rows = place.dims[-1][1]
        if index is None:
            base = place.dims[-1][0] * np.arange(rows, dtype=np.int64)
        else:
            raw = self.core.read(index, engine)[:, 0]
            base = dtypes.decode_int(raw, index.dtype) * place.off_mul
        shift = 0
        if index is None and place.off_reg != NO_REG:
            shift = self.core.reg(engine, place.off_reg) * place.off_mul
        return place.offset + (base[:, None] + inner[None, :] + shift) * size

    def _row_ok(self, place, addr, by_row):
        size = dtypes.SIZE[place.dtype]
        limit = len(self.by_id[place.var_id])
        first = place.bound_first
        last = first + place.bound_bytes if place.bound_bytes else limit
        ok = (addr.min(1) >= first) & (addr.max(1) + size <= min(last, limit))
        return ok if by_row else np.full(len(ok), ok.all())

    def dynamic(self, rec):
        """The transfer as a list of (destination store, raw) made at the start: indices are read
        now, data when the transfer runs."""
        engine = rec.engine
        oob = self.core.regs.get((engine, rec.oob_reg), 0) & 1 if rec.oob_reg != NO_REG else rec.oob
        sides = []
        for place, side in ((rec.src, 1), (rec.dst, 2)):
            index = rec.index if rec.index_side == side else None
            if isinstance(place, Hbm):
                addr = self._hbm_rows(place, engine, index)
                ok = self._row_ok(place, addr, index is not None)
                if not ok.all() and not oob:
                    raise OutOfBounds
                sides.append(("hbm", place, addr, ok))
            else:
                addr = self.core.addresses(place, engine)
                sides.append(("tile", place, addr, None))
        return sides

    def run_dynamic(self, sides, op):
        (src_kind, src, src_addr, src_ok), (dst_kind, dst, dst_addr, dst_ok) = sides
        s_size, d_size = dtypes.SIZE[src.dtype], dtypes.SIZE[dst.dtype]

        def flat(kind, place, addr):
            """(row of memory or None, byte address) of every element in order."""
            if kind == "hbm":
                return [(None, int(a)) for a in addr.ravel()]
            return [(p, int(a)) for p in range(place.part, place.part + place.nparts)
                    for a in addr]

        ok = src_ok if src_ok is not None else dst_ok
        sources, targets = flat(src_kind, src, src_addr), flat(dst_kind, dst, dst_addr)
        assert len(sources) == len(targets)
        rows = len(ok) if ok is not None else 1
        per_row = len(sources) // rows
        for k, (s, d) in enumerate(zip(sources, targets)):
            if ok is not None and not ok[k // per_row]:
                continue
            raw = self._element(src, s, s_size)
            if op == ADD:               # read-modify-write (5.3)
                old = self._element(dst, d, d_size)
                total = val.alu32("add", dtypes.decode(old.view(dtypes.RAW[d_size]), dst.dtype),
                                  dtypes.decode(raw.view(dtypes.RAW[s_size]), src.dtype))[0]
                raw = dtypes.encode(total, dst.dtype).view(np.uint8)
            elif src.dtype != dst.dtype:
                value = dtypes.decode(raw.view(dtypes.RAW[s_size]), src.dtype)
                raw = dtypes.encode(value, dst.dtype).view(np.uint8)
            self._put(dst, d, raw)

    def _element(self, place, where, size):
        part, at = where
        if part is None:
            return self.by_id[place.var_id][at:at + size].copy()
        window = self.core.mem[place.mem]
        return window.data[part, at - window.base:at - window.base + size].copy()

    def _put(self, place, where, raw):
        part, at = where
        if part is None:
            self.by_id[place.var_id][at:at + len(raw)] = raw
            return
        window = self.core.mem[place.mem]
        window.data[part, at - window.base:at - window.base + len(raw)] = raw

    # --- records (4.10, 6.2, 6.3) -----------------------------------------------------------------

    def holds(self, engine, wait):
        value = self.core.reg(engine, wait.reg) if wait.reg != NO_REG else wait.value
        if wait.kind == "sem_ge":
            return self.sem[wait.index] >= value
        if wait.kind == "sem_eq":
            return self.sem[wait.index] == value
        return bool(self.event[wait.index]) == (wait.kind == "event_set")

    def update(self, engine, upd):
        value = self.core.reg(engine, upd.reg) if upd.reg != NO_REG else upd.value
        core = self.peer if upd.peer else self
        if upd.kind == "event_set":
            core.event[upd.index] = 1
        elif upd.kind == "event_clear":
            core.event[upd.index] = 0
        else:
            now = core.sem[upd.index]
            core.sem[upd.index] = signed({"inc": now + 1, "dec": now - 1, "add": now + value,
                                          "sub": now - value, "write": value}[upd.kind])

    def _complete(self, queue, group):
        amount = self.queues[queue]
        if group.get("semaphore") is not None:
            self.sem[group["semaphore"]] = signed(self.sem[group["semaphore"]] + amount)
        for remote in group.get("remote_semaphores", []):
            self.peer.sem[remote] = signed(self.peer.sem[remote] + amount)
        if group.get("event") is not None:
            self.event[group["event"]] = 1

    def _reg_alu(self, rec):
        regs = self.core.regs
        a = regs.get((rec.engine, rec.ra), 0)
        b = regs.get((rec.engine, rec.rb), 0) if rec.rb != NO_REG else rec.imm & 0xffffffff
        sa, sb = signed(a), signed(b)
        if rec.seq_op in ("shl", "shr", "sar"):
            far = b >= 32
            out = {"shl": 0 if far else a << b, "shr": 0 if far else a >> b,
                   "sar": (-1 if sa < 0 else 0) if far else sa >> b}[rec.seq_op]
        else:
            out = {"add": a + b, "sub": a - b, "mul": a * b, "and": a & b, "or": a | b,
                   "xor": a ^ b, "min": min(sa, sb), "max": max(sa, sb)}[rec.seq_op]
        regs[(rec.engine, rec.rd)] = out & 0xffffffff

    def _place(self, rec):
        """(array-like loader, address, dtype) of a register_load/store element."""
        place = rec.place
        if isinstance(place, Hbm):
            at = place.offset
            if place.off_reg != NO_REG:
                at += self.core.reg(rec.engine, place.off_reg) * place.off_mul * \
                    dtypes.SIZE[place.dtype]
            if at < 0 or at + dtypes.SIZE[place.dtype] > len(self.by_id[place.var_id]):
                raise OutOfBounds
            return (None, at), place
        return (place.part, int(self.core.addresses(place, rec.engine)[0])), place

    def step(self, engine):
        rec = self.programs[engine][self.pc[engine]]
        following = self.pc[engine] + 1
        for upd in rec.updates:
            if upd.at_read:
                self.update(engine, upd)
        if rec.op == "end":
            self.done.add(engine)
        elif rec.op in ("nop", "drain"):
            pass
        elif rec.op == "core_barrier" and engine not in self.arrived:
            self.arrived.add(engine)
            self.peer.sem[rec.first] = signed(self.peer.sem[rec.first] + 1)
            return                      # the rest of it when the peer has come, too
        elif rec.op == "core_barrier":
            self.arrived.remove(engine)
            self.sem[rec.first] = signed(self.sem[rec.first] - 1)
        elif rec.op == "sem_range_clear":
            for i in range(rec.first, rec.first + rec.count):
                self.sem[i] = 0
        elif rec.op == "register_move":
            v = self.core.regs.get((engine, rec.rb), 0) if rec.rb != NO_REG else rec.imm
            self.core.regs[(engine, rec.rd)] = v & 0xffffffff
        elif rec.op == "register_alu":
            self._reg_alu(rec)
        elif rec.op == "register_load":
            where, place = self._place(rec)
            raw = self._element(place, where, dtypes.SIZE[place.dtype])
            raw = raw.view(dtypes.RAW[dtypes.SIZE[place.dtype]])
            v = int(dtypes.decode_int(raw, place.dtype)[0]) if dtypes.is_int(place.dtype) else \
                int(raw[0])
            self.core.regs[(engine, rec.rd)] = v & 0xffffffff
        elif rec.op == "register_store":
            where, place = self._place(rec)
            v = self.core.regs.get((engine, rec.ra), 0)
            raw = np.frombuffer(v.to_bytes(4, "little"), np.uint8)[:dtypes.SIZE[place.dtype]]
            self._put(place, where, raw)
        elif rec.op == "branch":
            a = self.core.reg(engine, rec.ra)
            b = self.core.reg(engine, rec.rb) if rec.rb != NO_REG else rec.imm
            taken = {"always": True, "lt": a < b, "le": a <= b, "eq": a == b, "ne": a != b,
                     "ge": a >= b, "gt": a > b}[rec.seq_op]
            if taken:
                following = rec.target
        elif rec.op == "dma_trigger":
            for group in self.groups[engine]:
                if group["id"] == rec.imm:
                    self.pending[group["queue"]].append(("static", group))
        elif rec.op == "dma_dyn":
            queue = self.queue_order[rec.queue]
            group = {"semaphore": rec.semaphore if rec.semaphore >= 0 else None}
            self.pending[queue].append(("dynamic", group, self.dynamic(rec), rec.dyn_op))
        else:
            self.core.execute(rec)
        for upd in rec.updates:
            if not upd.at_read:
                self.update(engine, upd)
        self.pc[engine] = following

    def can_step(self, engine):
        rec = self.programs[engine][self.pc[engine]]
        if engine in self.arrived:
            return self.sem[rec.first] >= 1
        return all(self.holds(engine, w) for w in rec.waits)

    def actors(self):
        """Engines and queues that can go on."""
        ready = [e for e in self.programs if e not in self.done and self.can_step(e)]
        return ready + [q for q, p in self.pending.items() if p]

    def act(self, actor):
        if not isinstance(actor, str):
            self.step(actor)
            return
        item = self.pending[actor].pop(0)
        if item[0] == "static":
            self.transfer(item[1])
        else:
            self.run_dynamic(item[2], item[3])
        self._complete(actor, item[1])

    def run(self, rng):
        run_cores([self], rng)


def run_cores(machines, rng, limit=200000):
    """Until every engine of all cores has ended and every transfer is done; the memories hold the
    result. Two machines are each other's peer and share the arrays of HBM."""
    for machine in machines:
        machine.peer = machines[-1] if machine is machines[0] else machines[0]
    for _ in range(limit):
        choices = [(m, a) for m in machines for a in m.actors()]
        if not choices:
            if all(len(m.done) == len(m.programs) for m in machines):
                return
            raise Hang
        machine, actor = choices[int(rng.integers(len(choices)))]
        machine.act(actor)
    raise Hang
