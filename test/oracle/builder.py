# SPDX-License-Identifier: Apache-2.0
"""Random but legal operands: shapes, types, access patterns, partition starts, contents."""
import dataclasses
from typing import Dict, List

import numpy as np

import dtypes as dt
from neuroncore import PSUM_BYTES, SBUF_BYTES, Window
from records import NO_REG, PSUM, SBUF, Record, Scalar, Tensor

EDGES = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 127.5, 128.5, 240.0, 247.0, 248.0,
                  255.5, -128.5, 448.0, 32767.5, 57344.0, 61440.0, 65504.0, 65519.0, 65520.0,
                  65535.5, 2147483520.0, 2147483648.0, -2147483648.0, 4294967040.0, 4294967296.0,
                  3.4028235e38, -3.4028235e38, 1.1754944e-38, 1e-40, -1e-45, 6.1e-5, 5.9e-8,
                  3e-8, 0.0019531, 0.001, np.inf, -np.inf, np.nan, 88.8, -104.0, 1e30, -1e-30])


@dataclasses.dataclass
class Case:
    gen: int
    windows: Dict[int, Window]
    records: List[Record]
    regs: Dict[tuple, int]
    note: str = ""
    max_fused: int = 1


def legal_starts(nparts):
    return [0] if nparts > 64 else [0, 64] if nparts > 32 else [0, 32, 64, 96]


class Builder:
    """Places tiles one after the other in a window of SBUF and one of PSUM."""

    def __init__(self, rng, gen=None):
        self.rng = rng
        self.gen = gen or int(rng.choice([2, 3, 4]))
        self.cursor = {SBUF: 0, PSUM: 0}
        self.placed = []            # tensors and scalar tiles, offsets relative to the window
        self.fills = []
        self.regs = {}
        self.base = None
        self.bank = False

    # --- choices --------------------------------------------------------------------------------

    def pick(self, items):
        return items[int(self.rng.integers(len(items)))]

    def chance(self, p):
        return bool(self.rng.random() < p)

    def parts(self, limit=128):
        r = self.rng.random()
        if r < 0.5:
            n = int(self.rng.integers(1, 9))
        elif r < 0.8:
            n = int(self.rng.integers(1, 65))
        else:
            n = self.pick([32, 33, 64, 65, 128, int(self.rng.integers(1, 129))])
        return min(n, limit)

    def elems(self, limit=300):
        r = self.rng.random()
        top = 17 if r < 0.6 else 70 if r < 0.9 else 300
        return int(self.rng.integers(1, min(top, limit) + 1))

    def memory(self, psum=0.3):
        return PSUM if self.chance(psum) else SBUF

    def start(self, nparts):
        return self.pick(legal_starts(nparts))

    # --- tiles ----------------------------------------------------------------------------------

    def factors(self, count):
        """count as a product of one to four numbers."""
        dims = [count]
        for _ in range(int(self.rng.integers(0, 4))):
            i = int(self.rng.integers(len(dims)))
            divisors = [d for d in range(1, dims[i] + 1) if dims[i] % d == 0]
            d = self.pick(divisors)
            dims[i:i + 1] = [d, dims[i] // d]
        return dims

    def steps(self, nums, dst, limit):
        """Steps in elements for the numbers; a destination touches every element once."""
        if self.chance(0.4):
            steps, run = [], 1
            for n in nums:                              # contiguous
                steps.append(run)
                run *= n
            return steps
        order = list(self.rng.permutation(len(nums)))
        for _ in range(4):
            steps, run = [0] * len(nums), int(self.rng.integers(1, 4))
            for i in order:
                steps[i] = run * self.pick([1, 1, -1])
                run = run * nums[i] + int(self.rng.integers(0, 3))
            if not dst:
                for i in range(len(nums)):
                    if self.chance(0.12):
                        steps[i] = self.pick([0, 1, -1, 2, 3])
            if sum(abs(s) * (n - 1) for s, n in zip(steps, nums)) < limit:
                return steps
        steps, run = [], 1
        for n in nums:
            steps.append(run)
            run *= n
        return steps

    def tile(self, mem, dtype, nparts, count=None, nums=None, part=None, dst=False, over=None,
             limit=900):
        """A tensor of nparts x count (or the given numbers, fastest first)."""
        nums = list(nums) if nums is not None else self.factors(count)
        total = int(np.prod(nums))
        steps = self.steps(nums, dst, max(limit, 2 * total) if mem == SBUF else max(400, total + 1))
        size = dt.SIZE[dtype]
        low = sum(min(0, s * (n - 1)) for s, n in zip(steps, nums)) * size
        high = sum(max(0, s * (n - 1)) for s, n in zip(steps, nums)) * size + size
        if part is None:
            part = self.start(nparts)
        if over is not None and over.mem == mem:
            at = over.offset + int(self.rng.integers(-40, 41))
            at = max(at, -low)
        else:
            at = self.cursor[mem] + int(self.rng.integers(0, 12)) - low
        at += -at % size
        self.cursor[mem] = max(self.cursor[mem], at + high)
        t = Tensor(mem, dtype, part, nparts, at, list(zip(steps, nums)))
        self.placed.append(t)
        return t

    def column(self, mem, dtype, nparts, raw):
        """A [P,1] scalar tile with the given patterns [P]."""
        size = dt.SIZE[dtype]
        at = self.cursor[mem] + int(self.rng.integers(0, 8))
        at += -at % size
        self.cursor[mem] = at + size
        s = Scalar("tile", at, mem, dtype, self.start(nparts))
        self.placed.append(s)
        self.fills.append((Tensor(mem, dtype, s.part, nparts, at, [(1, 1)]), s,
                           np.asarray(raw).reshape(-1, 1)))
        return s

    def fill(self, tensor, raw):
        self.fills.append((tensor, tensor, np.asarray(raw)))

    def register(self, engine, value):
        number = self.pick([r for r in range(64) if (engine, r) not in self.regs])
        self.regs[(engine, number)] = value & 0xffffffff
        return number

    # --- contents -------------------------------------------------------------------------------

    def raw(self, dtype, shape, mode):
        """Bit patterns: normal, unit, ints, bits, edges or mix."""
        rng, size = self.rng, dt.SIZE[dtype]
        if mode == "bits" and dtype != dt.BOOL:
            return rng.integers(0, 256, tuple(shape) + (size,), dtype=np.uint8).view(
                dt.RAW[size])[..., 0]
        if dtype == dt.BOOL:
            return rng.integers(0, 2, shape).astype(np.uint8)
        if mode == "ints":
            v = rng.integers(-9, 10, shape).astype(np.float64)
        elif mode == "edges":
            v = rng.choice(EDGES, shape)
        else:
            v = rng.normal(0, 1, shape) * (1 if mode == "unit" else self.pick([1, 1, 10, 200, 1e-3]))
            if mode == "mix":
                v = np.where(rng.random(shape) < 0.15, rng.choice(EDGES, shape), v)
        if dt.is_int(dtype) and mode in ("normal", "unit") and self.chance(0.5):
            return self.raw(dtype, shape, "bits")
        return dt.encode(v, dtype)

    def source(self, mem, dtype, nparts, count=None, mode=None, **kw):
        """A source tile with random contents."""
        t = self.tile(mem, dtype, nparts, count, **kw)
        mode = mode or self.pick(["normal", "unit", "ints", "bits", "edges", "mix"])
        if mode != "bits":          # the window itself is random bytes
            self.fill(t, self.raw(dtype, (nparts, t.count), mode))
        elif dtype == dt.BOOL:
            self.fill(t, self.raw(dtype, (nparts, t.count), mode))
        return t

    def f32_scalar(self, engine, nparts, mode="mix", tile_mem=None, dtype=dt.FP32):
        """A scalar operand: constant, register or tile."""
        kind = self.rng.random()
        if kind < 0.45 or tile_mem is None and kind < 0.7:
            return Scalar("f32", int(self.raw(dt.FP32, (1,), mode)[0]))
        if kind < 0.6:
            return Scalar("reg", self.register(engine, int(self.raw(dt.FP32, (1,), mode)[0])))
        mem = tile_mem if tile_mem is not None else SBUF
        return self.column(mem, dtype, nparts, self.raw(dtype, (nparts,), mode))

    # --- the case -------------------------------------------------------------------------------

    def finish(self, records, note="", max_fused=1):
        """Choose where the windows lie, move the tiles there, fill them."""
        limits = {SBUF: SBUF_BYTES[self.gen], PSUM: PSUM_BYTES}
        windows = {}
        for mem, limit in limits.items():
            size = self.cursor[mem] + int(self.rng.integers(0, 24))
            size += -size % 4
            if size > limit:
                return None
            if mem == PSUM and self.bank:
                base = 2048 * int(self.rng.integers(0, (limit - size) // 2048 + 1))
            else:
                base = self.pick([0, limit - size, 4 * int(self.rng.integers(0, (limit - size) // 4 + 1))])
            windows[mem] = Window(base, self.rng.integers(0, 256, (128, size), dtype=np.uint8))
        for item in self.placed:
            base = windows[item.mem].base
            if isinstance(item, Scalar):
                item.v += base
            else:
                item.offset += base
        for tensor, owner, raw in self.fills:
            if tensor is not owner:
                tensor.offset = owner.v
            self._poke(windows[tensor.mem], tensor, raw)
        for rec in records:
            for tensor in rec.t:
                if tensor is not None and self.chance(0.08):
                    self._offset_by_register(rec.engine, tensor)
        return Case(self.gen, windows, records, self.regs, note, max_fused)

    def _offset_by_register(self, engine, tensor):
        """The same elements, a part of the offset in a register of the engine."""
        if tensor.off_reg != NO_REG:                    # a tensor of two records
            return
        size = dt.SIZE[tensor.dtype]
        mul = self.pick([1, -1, 3, int(self.rng.integers(-500, 500)) or 1])
        most = tensor.offset // size // abs(mul)        # what may be taken from the offset
        value = int(self.rng.integers(0, most + 1)) * (1 if mul > 0 else -1)
        tensor.offset -= value * mul * size
        tensor.off_reg, tensor.off_mul = self.register(engine, value), mul

    def _poke(self, window, tensor, raw):
        at = np.zeros(1, np.int64)
        for step, num in reversed(tensor.dims):
            at = (at[:, None] + step * np.arange(num)[None, :]).ravel()
        size = dt.SIZE[tensor.dtype]
        rows, cols = window.index(tensor, tensor.offset + at * size)
        data = np.ascontiguousarray(np.broadcast_to(raw, (tensor.nparts, tensor.count)))
        data = data.astype(dt.RAW[size])[..., None].view(np.uint8)
        window.data[np.broadcast_to(rows, data.shape), np.broadcast_to(cols, data.shape)] = data
