# SPDX-License-Identifier: Apache-2.0
"""The oracle: what one instruction does, written from docs/spec/neuroncore.md alone.

A Core holds windows of SBUF and PSUM. Executing a record changes the bytes where the result is
exact and notes a Check where it is only bounded (2.2, 3.2): the final value of that cell has to lie
between two bounds, converted to the type of the operand.
"""
import dataclasses

import numpy as np

import dtypes
import values as val
from records import ACT, BIT_OPS, COMPARE, DVE, NO_REG, POOL, PSUM, SBUF, UNARY, Scalar, Tensor

LANES = 128
PSUM_BYTES = 16384
SBUF_BYTES = {2: 192 * 1024, 3: 224 * 1024, 4: 256 * 1024}


class OutOfBounds(Exception):
    """The execution ends with NRT_EXEC_OOB."""


class Xorwow:
    """Marsaglia's generator; the sum with d is the output (4.9)."""

    def __init__(self, words):
        self.x, self.y, self.z, self.w, self.v, self.d = words

    def draw(self):
        t = self.x ^ (self.x >> 2)
        self.x, self.y, self.z, self.w = self.y, self.z, self.w, self.v
        self.v = (self.v ^ (self.v << 4) ^ t ^ (t << 1)) & 0xffffffff
        self.d = (self.d + 362437) & 0xffffffff
        return (self.d + self.v) & 0xffffffff


def splitmix_state(z):
    """Three splitmix64 outputs make the six words."""
    outputs = []
    for _ in range(3):
        z = (z + 0x9E3779B97F4A7C15) & (2**64 - 1)
        r = z
        r = ((r ^ (r >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        r = ((r ^ (r >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        outputs.append(r ^ (r >> 31))
    words = []
    for o in outputs:
        words += [o & 0xffffffff, o >> 32]
    if not any(words[:5]):
        words[4] = 1
    return words


class Lanes(dict):
    """What is made for a lane when it is first asked for: few instructions draw."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def __missing__(self, lane):
        self[lane] = self.make(lane)
        return self[lane]


@dataclasses.dataclass
class Check:
    """Bounded cells: address arrays [P, N] inside the window of mem, with low and high bounds."""
    mem: int
    dtype: int
    part: np.ndarray
    addr: np.ndarray
    low: np.ndarray
    high: np.ndarray
    strict_zero: bool


class Window:
    """Bytes [base, base + size) of every partition of one memory."""

    def __init__(self, base, data):
        self.base = base
        self.data = data            # uint8 [128, size]

    def index(self, tensor, addr):
        """Row and byte-column index arrays [P, N, size] of a tensor's elements."""
        size = dtypes.SIZE[tensor.dtype]
        rows = np.arange(tensor.part, tensor.part + tensor.nparts)[:, None, None]
        cols = (addr - self.base)[None, :, None] + np.arange(size)[None, None, :]
        assert cols.min() >= 0 and cols.max() < self.data.shape[1], "outside the window"
        assert tensor.part + tensor.nparts <= LANES
        return rows, cols


class Core:
    def __init__(self, gen, windows):
        self.gen = gen
        self.mem = windows          # {SBUF: Window, PSUM: Window}
        self.checks = []
        # bytes of a bounded cell that was overwritten in part: not compared
        self.unknown = {m: np.zeros(w.data.shape, bool) for m, w in windows.items()}
        self.acc = {ACT: val.exact(np.zeros(LANES)), DVE: val.exact(np.zeros(LANES))}
        # of an accumulation: (partition, byte): value, terms, sum|term|, further slack, unknown
        self.psum_sum = {}
        self.regs = {}
        # DVE of v4 has four states per lane
        self.rng = {DVE: None, POOL: Lanes(lambda p: Xorwow(splitmix_state(p)))}
        self.seed_dve(0)

    # --- operands -------------------------------------------------------------------------------

    def seed_dve(self, seed):
        per_lane = 4 if self.gen == 4 else 1
        self.rng[DVE] = Lanes(lambda p: [Xorwow(splitmix_state((seed << 32) | (k << 8) | p))
                                         for k in range(per_lane)])

    def reg(self, engine, number):
        """Signed value of a register."""
        v = self.regs.get((engine, number), 0)
        return v - 2**32 if v >= 2**31 else v

    def addresses(self, tensor, engine):
        """Byte offsets of the elements in pattern order, the last written dimension fastest."""
        at = np.zeros(1, np.int64)
        for step, num in reversed(tensor.dims):         # slowest first
            at = (at[:, None] + step * np.arange(num)[None, :]).ravel()
        if tensor.off_reg != NO_REG:
            at = at + self.reg(engine, tensor.off_reg) * tensor.off_mul
        addr = tensor.offset + at * dtypes.SIZE[tensor.dtype]
        limit = SBUF_BYTES[self.gen] if tensor.mem == SBUF else PSUM_BYTES
        if addr.min() < 0 or addr.max() + dtypes.SIZE[tensor.dtype] > limit:
            raise OutOfBounds
        return addr

    def read(self, tensor, engine):
        """Bit patterns [P, N]."""
        window = self.mem[tensor.mem]
        rows, cols = window.index(tensor, self.addresses(tensor, engine))
        raw = np.ascontiguousarray(window.data[rows, cols])
        return raw.view(dtypes.RAW[dtypes.SIZE[tensor.dtype]])[..., 0]

    def read32(self, tensor, engine):
        """Elements as fp32 (float64 carriers) [P, N]."""
        return dtypes.decode(self.read(tensor, engine), tensor.dtype)

    def write(self, tensor, raw, engine):
        """Exact bit patterns [P, N]; bounded cells under them are forgotten."""
        window = self.mem[tensor.mem]
        rows, cols = window.index(tensor, self.addresses(tensor, engine))
        size = dtypes.SIZE[tensor.dtype]
        raw = np.ascontiguousarray(np.broadcast_to(raw, cols.shape[1:2] if raw.ndim < 2 else
                                                   (tensor.nparts, cols.shape[1])))
        data = raw.astype(dtypes.RAW[size])[..., None].view(np.uint8)
        self._forget(tensor, engine)
        at = np.broadcast_to(rows, data.shape), np.broadcast_to(cols, data.shape)
        window.data[at] = data
        self.unknown[tensor.mem][at] = False

    def _forget(self, tensor, engine):
        addr = self.addresses(tensor, engine)
        size = dtypes.SIZE[tensor.dtype]
        hit = np.zeros(SBUF_BYTES[4] + 64, bool)
        for b in range(size):
            hit[addr + b] = True
        kept = []
        for c in self.checks:
            if c.mem == tensor.mem:
                dead = np.zeros(c.addr.shape, bool)
                for b in range(dtypes.SIZE[c.dtype]):
                    dead |= hit[c.addr + b]
                dead &= (c.part >= tensor.part) & (c.part < tensor.part + tensor.nparts)
                for b in range(dtypes.SIZE[c.dtype]):
                    cols = c.addr[dead] + b - self.mem[c.mem].base
                    self.unknown[c.mem][c.part[dead], cols] = True
                keep = ~dead
                c = Check(c.mem, c.dtype, c.part[keep], c.addr[keep], c.low[keep], c.high[keep],
                          c.strict_zero)
            if c.addr.size:
                kept.append(c)
        self.checks = kept

    def write_value(self, tensor, value, engine, strict_zero=True):
        """Write fp32 results [P, N]; each is converted to the operand's type.

        NaNs and bounded results become checks, exact ones bytes.
        """
        low = np.broadcast_to(value[0], (tensor.nparts, tensor.count))
        high = np.broadcast_to(value[1], low.shape)
        self.write(tensor, dtypes.encode(low, tensor.dtype), engine)
        # a non-strict zero, a NaN and a bounded value are compared by value
        loose = ~((low == high) & ((low != 0) | strict_zero))
        if loose.any():
            addr = np.broadcast_to(self.addresses(tensor, engine)[None, :], low.shape)
            part = np.broadcast_to(np.arange(tensor.part, tensor.part + tensor.nparts)[:, None],
                                   low.shape)
            self.checks.append(Check(tensor.mem, tensor.dtype, part[loose], addr[loose],
                                     low[loose], high[loose], strict_zero))

    def scalar(self, s, engine, nparts):
        """A scalar operand of an arithmetic instruction as fp32 [P, 1]."""
        if s is None:
            return np.zeros((nparts, 1))
        if s.kind == "f32":
            bits = s.v
        elif s.kind == "reg":
            bits = self.regs.get((engine, s.v), 0)
        elif s.kind == "i32":
            raise AssertionError("integer constant in an arithmetic instruction")
        else:
            return self.read32(Tensor(s.mem, s.dtype, s.part, nparts, s.v, [(1, 1)]), engine)
        return np.full((nparts, 1), dtypes.decode(np.array([bits], np.uint32), dtypes.FP32)[0])

    def scalar_bits(self, s, engine, nparts, size):
        """A scalar operand of a bit instruction as patterns [P, 1], cut to the width."""
        if s is None:
            return np.zeros((nparts, 1), np.uint64)
        if s.kind == "tile":
            raw = self.read(Tensor(s.mem, s.dtype, s.part, nparts, s.v, [(1, 1)]), engine)
            return raw.astype(np.uint64)
        v = self.regs.get((engine, s.v), 0) if s.kind == "reg" else s.v
        return np.full((nparts, 1), v & ((1 << (8 * size)) - 1), np.uint64)

    # --- accumulator registers (3.3) ------------------------------------------------------------

    def accumulate(self, rec, terms, lanes, op, init=None):
        """Apply reduce_cmd with the instruction's results [P, N]; returns the registers [P]."""
        low, high = self.acc[rec.engine]
        low, high = low.copy(), high.copy()
        if rec.reduce_cmd != "idle":
            if rec.reduce_cmd in ("reset", "reset_reduce"):
                start = val.exact(np.full(len(lanes), val.IDENTITY[op]))
            elif rec.reduce_cmd == "load_reduce":
                start = val.exact(init[:, 0])
            else:
                start = (low[lanes], high[lanes])
            new = start
            if rec.reduce_cmd != "reset":
                fresh = rec.reduce_cmd == "reset_reduce" and op != "subtract"
                new = val.fold(op, terms, None if fresh else start)
            low[lanes], high[lanes] = new
            self.acc[rec.engine] = (low, high)
        return low[lanes], high[lanes]

    def lanes(self, tensor):
        """The lane of an element is its partition in data or on_true (3.3)."""
        return np.arange(tensor.part, tensor.part + tensor.nparts)

    def write_reduced(self, tensor, value, engine, negate=False):
        if tensor is None:
            return
        low, high = value
        if negate:
            unknown = val.is_any(value)
            low, high = np.where(unknown, low, -high), np.where(unknown, high, -low)
        self.write_value(tensor, (low[:, None], high[:, None]), engine, strict_zero=False)

    # --- instructions ---------------------------------------------------------------------------

    def execute(self, rec):
        getattr(self, "do_" + rec.op)(rec)

    def do_nop(self, rec):
        pass

    # 4.1

    def do_nc_matmul(self, rec):
        dst, stationary, moving = rec.t
        a, b = self.read32(stationary, rec.engine), self.read32(moving, rec.engine)
        n = a.shape[0]
        old = self.read32(dst, rec.engine) if rec.acc else None
        with np.errstate(all="ignore"):
            total = a.T @ b                 # products are exact in float64
            size = np.abs(a).T @ np.abs(b)
            # subnormal inputs may count as 0, subnormal products may vanish
            flush_a = np.where(np.abs(a) < val.MIN32, np.abs(a), 0)
            flush_b = np.where(np.abs(b) < val.MIN32, np.abs(b), 0)
            flushed = (np.nan_to_num(flush_a).T @ np.where(np.isfinite(b), np.abs(b), 0)
                       + np.where(np.isfinite(a), np.abs(a), 0).T @ np.nan_to_num(flush_b))
            # 0 * inf with a flushed factor: NaN instead of inf
            odd = ((flush_a > 0).T.astype(float) @ np.isinf(b)
                   + np.isinf(a).T.astype(float) @ (flush_b > 0)) > 0
            over = np.where(np.isfinite(a), np.abs(a), 0).T @ np.where(np.isfinite(b), np.abs(b), 0)
            # an exact product beyond fp32 is an infinity of the reference
            term_over = np.zeros(total.shape, bool)
            if over.max(initial=0) > val.MAX32:
                term_over = over > val.MAX32
        m, k = total.shape
        whole = all(np.all(np.isfinite(v)) and np.all(v == np.rint(v)) for v in (a, b))
        whole = whole and (not rec.acc or bool(np.all(old == np.rint(old))))
        addr = self.addresses(dst, rec.engine)
        low, high = np.empty((m, k)), np.empty((m, k))
        for i in range(m):
            for j in range(k):
                key = (dst.part + i, int(addr[j]))
                terms, weight = n, size[i, j]
                lo = hi = total[i, j]
                slack_more = flushed[i, j] + n * 2.0 ** -126
                # partial sums may overflow, or a flushed factor meet an infinity
                unknown = term_over[i, j] or odd[i, j] or val.MAX32 < size[i, j] < np.inf
                if rec.acc:
                    base, t, w, s, was_unknown = self.psum_sum.get(
                        key, (old[i, j], 1, abs(old[i, j]), 0.0, False))
                    terms, weight, slack_more = terms + t, weight + w, slack_more + s
                    unknown |= was_unknown or val.MAX32 < weight < np.inf
                    with np.errstate(invalid="ignore"):
                        lo = hi = lo + base
                self.psum_sum[key] = (lo, terms, weight, slack_more, unknown)
                if unknown and not (np.isnan(a[:, i]).any() or np.isnan(b[:, j]).any()):
                    low[i, j], high[i, j] = np.inf, -np.inf
                elif whole and weight < 2 ** 24:
                    low[i, j] = high[i, j] = lo         # integers: every order gives this sum
                elif np.isfinite(lo):
                    slack = terms * 2.0 ** -23 * weight + slack_more
                    low[i, j], high[i, j] = lo - slack, hi + slack
                else:
                    low[i, j] = high[i, j] = lo
        self.write_value(dst, (low, high), rec.engine, strict_zero=False)

    def do_nc_transpose(self, rec):
        dst, data = rec.t
        raw = self.read(data, rec.engine)
        if rec.engine == DVE:
            if raw.shape[0] <= 32 and raw.shape[1] <= 32:
                out = raw.T
            else:
                out = np.empty_like(raw)
                for p in range(0, raw.shape[0], 32):
                    for f in range(0, raw.shape[1], 32):
                        out[p:p + 32, f:f + 32] = raw[p:p + 32, f:f + 32].T
            self.write(dst, out, rec.engine)
        elif self.gen == 2:
            self._transpose_by_identity(dst, dtypes.decode(raw, data.dtype), rec.engine)
        else:
            self.write(dst, raw.T.astype(dtypes.RAW[dtypes.SIZE[dst.dtype]]), rec.engine)

    def _transpose_by_identity(self, dst, x, engine):
        """v2: the matmul with an identity: NaN and infinities spread over their row of dst."""
        out = x.T.copy()                                        # [F, P]
        for f in range(out.shape[0]):
            bad = ~np.isfinite(out[f])
            for p in range(out.shape[1]):
                others = np.delete(bad, p)
                if others.any():
                    out[f, p] = np.nan                          # 0 * inf, 0 * NaN
        tiny = np.abs(out) < val.MIN32
        low, high = np.where(tiny, np.minimum(out, 0), out), np.where(tiny, np.maximum(out, 0), out)
        self.write_value(dst, (low, high), engine, strict_zero=False)

    # 4.2

    def do_tensor_copy(self, rec):
        dst, src = rec.t
        raw = self.read(src, rec.engine)
        if dst.dtype == src.dtype and not (rec.engine == ACT and self.gen == 2):
            self.write(dst, raw, rec.engine)
        else:
            self.write_value(dst, val.exact(dtypes.decode(raw, src.dtype)), rec.engine)

    def do_tensor_copy_predicated(self, rec):
        dst, predicate = rec.t[0], rec.t[1]
        take = (self.read(predicate, rec.engine) != 0) ^ bool(rec.reverse_pred)
        if len(rec.t) > 2 and rec.t[2]:
            src = self.read(rec.t[2], rec.engine)
        else:
            src = np.broadcast_to(self.scalar_bits(rec.s[0], rec.engine, dst.nparts,
                                                   dtypes.SIZE[dst.dtype]), take.shape)
        old = self.read(dst, rec.engine)
        self.write(dst, np.where(take, src, old), rec.engine)

    def do_memset(self, rec):
        dst = rec.t[0]
        pattern = self.scalar_bits(rec.s[0], rec.engine, dst.nparts, dtypes.SIZE[dst.dtype])
        self.write(dst, np.broadcast_to(pattern, (dst.nparts, dst.count)), rec.engine)

    def do_tensor_tensor(self, rec):
        dst, one, two = rec.t
        x, y = self.read(one, rec.engine), self.read(two, rec.engine)
        if rec.op0 in BIT_OPS:
            out = val.alu_bits(rec.op0, x, y, 8 * dtypes.SIZE[dst.dtype])
            self.write(dst, out, rec.engine)
            return
        wide = {dtypes.INT32, dtypes.UINT32}
        native = rec.engine == POOL and rec.op0 not in ("power", "abs_max", "abs_min")
        if native and {dst.dtype, one.dtype, two.dtype} <= wide:
            self.write(dst, val.alu_int(rec.op0, x, y, one.dtype == dtypes.INT32), rec.engine)
            return
        v = val.alu32(rec.op0, dtypes.decode(x, one.dtype), dtypes.decode(y, two.dtype))
        self.write_value(dst, v, rec.engine, strict_zero=rec.op0 not in ("max", "min", "relu"))

    def _two_stages(self, rec, data, first, second):
        v = val.alu_stage(rec.op0, val.exact(data), first, rec.reverse & 1)
        return val.alu_stage(rec.op1, v, second, rec.reverse & 2)

    def do_tensor_scalar(self, rec):
        dst, data = rec.t
        s = list(rec.s) + [None, None]
        if rec.op0 in BIT_OPS or rec.op1 in BIT_OPS:
            size = dtypes.SIZE[dst.dtype]
            x = self.read(data, rec.engine).astype(np.uint64)
            for op, operand, bit in ((rec.op0, s[0], 1), (rec.op1, s[1], 2)):
                if op in ("none", "bypass"):
                    continue
                y = np.broadcast_to(self.scalar_bits(operand, rec.engine, data.nparts, size),
                                    x.shape)
                x = val.alu_bits(op, *((y, x) if rec.reverse & bit else (x, y)), 8 * size)
            self.write(dst, x, rec.engine)
            return
        v = self._two_stages(rec, self.read32(data, rec.engine),
                             self.scalar(s[0], rec.engine, data.nparts),
                             self.scalar(s[1], rec.engine, data.nparts))
        loose = {rec.op0, rec.op1} & {"max", "min", "relu", "power", "rsqrt"}
        self.write_value(dst, v, rec.engine, strict_zero=not loose)

    def do_scalar_tensor_tensor(self, rec):
        dst, data, other = rec.t
        v = self._two_stages(rec, self.read32(data, rec.engine),
                             self.scalar(rec.s[0], rec.engine, data.nparts),
                             self.read32(other, rec.engine))
        loose = {rec.op0, rec.op1} & {"max", "min", "relu", "power", "rsqrt"}
        self.write_value(dst, v, rec.engine, strict_zero=not loose)

    def do_activation(self, rec):
        dst, data = rec.t[0], rec.t[1]
        reduce_res = rec.t[2] if len(rec.t) > 2 else None
        s = list(rec.s) + [None, None]
        x = self.read32(data, rec.engine)
        scale = self.scalar(s[0], rec.engine, data.nparts) if s[0] else np.ones((data.nparts, 1))
        bias = self.scalar(s[1], rec.engine, data.nparts)
        x = val.alu32("multiply", x, scale)[0]
        x = val.alu32("add", x, bias)[0]
        param = self.scalar(s[2] if len(s) > 2 else None, rec.engine, data.nparts)
        y = val.activation(rec.act, x, param)
        self.write_value(dst, y, rec.engine, strict_zero=False)
        reg = self.accumulate(rec, y, self.lanes(data), "add")
        self.write_reduced(reduce_res, reg, rec.engine)

    def do_activation_reduce(self, rec):
        assert rec.reduce_cmd == "reset_reduce"
        self.do_activation(rec)

    def do_reciprocal(self, rec):
        dst, data = rec.t
        self.write_value(dst, val.alu32("reciprocal", self.read32(data, rec.engine), 0.0),
                         rec.engine)

    def draw(self, engine, lane, element):
        state = self.rng[engine][lane]
        if engine == DVE:
            state = state[element % len(state)]
        return state.draw()

    def do_dropout(self, rec):
        dst, data = rec.t
        raw = self.read(data, rec.engine)
        prob = self.scalar(rec.s[0], rec.engine, data.nparts)
        out = raw.copy()
        for p in range(raw.shape[0]):
            limit = prob[p, 0] * 2.0 ** 32
            limit = 0 if np.isnan(limit) else int(min(max(limit, 0), 2.0 ** 32))
            for f in range(raw.shape[1]):
                if self.draw(rec.engine, data.part + p, f) < limit:
                    out[p, f] = 0
        self.write(dst, out, rec.engine)

    def do_rng(self, rec):
        dst = rec.t[0]
        bits = 8 * dtypes.SIZE[dst.dtype]
        out = np.array([[self.draw(rec.engine, dst.part + p, f) & ((1 << bits) - 1)
                         for f in range(dst.count)] for p in range(dst.nparts)], np.uint64)
        self.write(dst, out, rec.engine)

    def do_set_rng_seed(self, rec):
        self.seed_dve(int(self.read(rec.t[1], rec.engine)[0, 0]))

    def do_nc_stream_shuffle(self, rec):
        dst, src = rec.t
        data = self.read(src, rec.engine)
        out = self.read(dst, rec.engine).copy()
        for k in range(dst.nparts):
            q, i = divmod(k, 32)
            if rec.mask[i] != 255:
                out[k] = data[32 * q + rec.mask[i]]
        self.write(dst, out, rec.engine)

    # 4.3

    def do_tensor_reduce(self, rec):
        dst, data = rec.t
        raw = self.read(data, rec.engine)
        inner = 1
        for _, num in data.dims[:rec.naxes]:
            inner *= num
        raw = raw.reshape(raw.shape[0], -1, inner)
        if rec.op0 in BIT_OPS:
            out = raw[..., 0]
            for i in range(1, inner):
                out = val.alu_bits(rec.op0, out, raw[..., i], 8 * dtypes.SIZE[dst.dtype])
            self.write(dst, out, rec.engine)
            return
        v = val.fold(rec.op0, val.exact(dtypes.decode(raw, data.dtype)))
        if rec.negate:
            unknown = val.is_any(v)
            v = np.where(unknown, v[0], -v[1]), np.where(unknown, v[1], -v[0])
        self.write_value(dst, v, rec.engine, strict_zero=False)

    def do_tensor_partition_reduce(self, rec):
        dst, data = rec.t
        raw = self.read(data, rec.engine)
        if rec.op0 in BIT_OPS:
            out = raw[0]
            for p in range(1, raw.shape[0]):
                out = val.alu_bits(rec.op0, out, raw[p], 8 * dtypes.SIZE[dst.dtype])
            self.write(dst, out[None, :], rec.engine)
            return
        v = val.fold("add" if rec.op0 == "average" else rec.op0,
                     val.exact(dtypes.decode(raw, data.dtype).T))
        if rec.op0 == "average":
            unknown, n = val.is_any(v), raw.shape[0]
            v = val.rounded((v[0] / n, v[1] / n))
            v = val.make_any(v, unknown)
        self.write_value(dst, (v[0][None, :], v[1][None, :]), rec.engine, strict_zero=False)

    def do_tensor_scalar_reduce(self, rec):
        dst, data = rec.t[0], rec.t[1]
        reduce_res = rec.t[2] if len(rec.t) > 2 else None
        s = list(rec.s) + [None, None]
        v = val.alu_stage(rec.op0, val.exact(self.read32(data, rec.engine)),
                          self.scalar(s[0], rec.engine, data.nparts), 0)
        loose = rec.op0 in ("max", "min", "relu", "power", "rsqrt")
        self.write_value(dst, v, rec.engine, strict_zero=not loose)
        reg = self.accumulate(rec, v, self.lanes(data), rec.reduce_op,
                              self.scalar(s[1], rec.engine, data.nparts))
        self.write_reduced(reduce_res, reg, rec.engine, rec.negate)

    # 4.4

    def _pattern(self, rec, nparts):
        """offset + p * channel_multiplier + sum step_k * i_k in int32 [P, N]."""
        pattern = rec.pattern
        offset = pattern.offset
        if pattern.off_reg != NO_REG:
            offset += self.reg(rec.engine, pattern.off_reg)
        at = np.zeros(1, np.int64)
        for step, num in reversed(pattern.dims):
            at = (at[:, None] + step * np.arange(num, dtype=np.int64)[None, :]).ravel()
        out = offset + np.arange(nparts)[:, None] * pattern.channel_multiplier + at[None, :]
        return ((out + 2**31) % 2**32) - 2**31

    def do_iota(self, rec):
        dst = rec.t[0]
        self.write(dst, dtypes.encode_int(self._pattern(rec, dst.nparts), dst.dtype), rec.engine)

    def do_affine_select(self, rec):
        dst, on_true = rec.t
        take = val.compare(rec.cmp0, self._pattern(rec, dst.nparts), 0)
        on_false = self.scalar(rec.s[0], rec.engine, dst.nparts)
        out = np.where(take, self.read32(on_true, rec.engine), on_false)
        self.write_value(dst, val.exact(out), rec.engine)

    def do_range_select(self, rec):
        dst, on_true = rec.t[0], rec.t[1]
        reduce_res = rec.t[2] if len(rec.t) > 2 else None
        x = self.read32(on_true, rec.engine)
        bound0 = self.scalar(rec.s[0], rec.engine, dst.nparts)
        bound1 = self.scalar(rec.s[1], rec.engine, dst.nparts)
        start = self.scalar(rec.s[2] if len(rec.s) > 2 else None, rec.engine, dst.nparts)
        i = val.alu32("add", start, np.arange(x.shape[1])[None, :])[0]
        take = val.compare(rec.cmp0, i, bound0) & val.compare(rec.cmp1, i, bound1)
        out = val.exact(np.where(take, x, val.FMIN))
        self.write_value(dst, out, rec.engine)
        reg = self.accumulate(rec, out, self.lanes(on_true), "max")
        self.write_reduced(reduce_res, reg, rec.engine)

    def do_select_reduce(self, rec):
        dst, predicate, on_true = rec.t[0], rec.t[1], rec.t[2]
        reduce_res = rec.t[3] if len(rec.t) > 3 else None
        take = (self.read(predicate, rec.engine) != 0) ^ bool(rec.reverse_pred)
        raw = self.read(on_true, rec.engine)
        x = dtypes.decode(raw, on_true.dtype)
        on_false = np.broadcast_to(self.scalar(rec.s[0], rec.engine, dst.nparts), x.shape)
        picked = np.where(take, x, on_false)
        if dst.dtype == on_true.dtype:
            # selected elements keep their bits
            self.write(dst, np.where(take, raw, dtypes.encode(on_false, dst.dtype)), rec.engine)
        else:
            self.write_value(dst, val.exact(picked), rec.engine)
        if rec.reduce_op != "none":
            reg = self.accumulate(rec, val.exact(picked), self.lanes(on_true), "max")
            self.write_reduced(reduce_res, reg, rec.engine)

    # 4.5

    def do_max8(self, rec):
        dst, src = rec.t
        x = self.read32(src, rec.engine)
        out = np.empty((x.shape[0], 8))
        for p, row in enumerate(x):
            # NaN below -inf; of equal values the earlier position first
            order = sorted(range(len(row)), key=lambda i: (1, 0, i) if np.isnan(row[i])
                           else (0, -row[i], i))
            out[p] = [row[i] for i in order[:8]]
        self.write_value(dst, val.exact(out), rec.engine)

    def do_nc_find_index8(self, rec):
        dst, data, vals = rec.t
        x, wanted = self.read32(data, rec.engine), self.read32(vals, rec.engine)
        missing = (1 << (8 * dtypes.SIZE[dst.dtype])) - 1
        out = np.full((x.shape[0], 8), missing, np.uint64)
        for p in range(x.shape[0]):
            taken = set()
            for j in range(8):
                for i in np.flatnonzero(x[p] == wanted[p, j]):
                    if i not in taken:
                        taken.add(i)
                        out[p, j] = i
                        break
        self.write(dst, out, rec.engine)

    def do_nc_match_replace8(self, rec):
        dst, data, vals = rec.t[:3]
        dst_idx = rec.t[3] if len(rec.t) > 3 else None
        raw = self.read(data, rec.engine)
        x, wanted = dtypes.decode(raw, data.dtype), self.read32(vals, rec.engine)
        imm = self.scalar(rec.s[0], rec.engine, data.nparts)
        replaced = np.zeros(x.shape, bool)
        missing = (1 << (8 * dtypes.SIZE[dst_idx.dtype])) - 1 if dst_idx else 0
        index = np.full((x.shape[0], 8), missing, np.uint64)
        for p in range(x.shape[0]):
            for j in range(7, -1, -1):
                for i in np.flatnonzero(x[p] == wanted[p, j]):
                    if not replaced[p, i]:
                        replaced[p, i] = True
                        index[p, j] = i
                        break
        if dst.dtype == data.dtype:
            self.write(dst, np.where(replaced, dtypes.encode(imm, dst.dtype), raw), rec.engine)
        else:
            self.write_value(dst, val.exact(np.where(replaced, imm, x)), rec.engine)
        if dst_idx:
            self.write(dst_idx, index, rec.engine)

    def do_nc_n_gather(self, rec):
        dst, data, indices = rec.t
        raw, idx = self.read(data, rec.engine), self.read(indices, rec.engine).astype(np.int64)
        if idx.max() >= raw.shape[1]:
            raise OutOfBounds
        self.write(dst, np.take_along_axis(raw, idx, 1), rec.engine)

    # 4.6

    def do_bn_stats(self, rec):
        dst, data = rec.t
        x = self.read32(data, rec.engine)
        n_all = x.shape[1]
        low, high = np.empty((x.shape[0], 6)), np.empty((x.shape[0], 6))
        for half in (0, 1):
            part = x[:, half::2]
            n = part.shape[1]
            at = 3 * half
            low[:, at] = high[:, at] = n
            if n == 0:
                low[:, at:at + 3] = high[:, at:at + 3] = 0
                continue
            total = val.fold("add", val.exact(part))
            mean = val.rounded((total[0] / n, total[1] / n))
            low[:, at + 1], high[:, at + 1] = val.make_any(mean, val.is_any(total))
            with np.errstate(all="ignore"):
                center = part.mean(1, keepdims=True)
                square = ((part - center) ** 2).sum(1)
                biggest = (part ** 2).max(1)
                slack = n * (n_all * 2.0 ** -20 * square / n + n_all ** 2 * 2.0 ** -46 * biggest)
                slack = slack + 2.0 ** -22 * square + n * val.MIN32
                v = val.around(square, slack)
                v = np.where(np.isnan(v[0]), v[0], np.maximum(v[0], 0)), v[1]
                # squares that may leave the range of fp32
                bad = (square + slack + n * biggest > val.MAX32 / 8) | ~np.isfinite(square)
                bad &= ~np.isnan(part).any(1)
                low[:, at + 2], high[:, at + 2] = val.make_any(v, bad)
        self.write_value(dst, (low, high), rec.engine, strict_zero=False)

    def do_bn_aggr(self, rec):
        dst, data = rec.t
        x = self.read32(data, rec.engine).reshape(data.nparts, -1, 3)
        c, m, s = x[..., 0], x[..., 1], x[..., 2]
        n = data.count
        low, high = np.zeros((data.nparts, 2)), np.zeros((data.nparts, 2))
        for p in range(data.nparts):
            total = c[p].sum()
            if total == 0:
                continue
            k = len(c[p])
            mean = (c[p] * m[p]).sum() / total
            slack = (k + 1) * 2.0 ** -23 * (np.abs(c[p] * m[p]).sum() / total)
            slack += k * 2.0 ** -23 * abs(mean)                 # the sum of the counts
            low[p, 0], high[p, 0] = mean - slack, mean + slack
            var = (s[p] + c[p] * (m[p] - mean) ** 2).sum() / total
            slack = n * 2.0 ** -20 * var + n ** 2 * 2.0 ** -46 * (m[p] ** 2).max() + val.MIN32
            low[p, 1], high[p, 1] = max(var - slack, 0), var + slack
        self.write_value(dst, (low, high), rec.engine, strict_zero=False)
