# SPDX-License-Identifier: Apache-2.0
"""One generator of random cases per instruction: a function of a Builder that returns a Case."""
import numpy as np

import dtypes as dt
from builder import Builder
from records import (ACT, ACTS, BIT_OPS, COMPARE, DVE, PE, POOL, PSUM, SBUF, UNARY, Pattern,
                     Record, Scalar)

ANY = dt.INTS + dt.FLOATS + [dt.BOOL]
COPYABLE = dt.INTS + dt.FLOATS
ARITH = ["add", "subtract", "multiply", "max", "min", "eq", "ne", "ge", "gt", "le", "lt",
         "logical_and", "logical_or", "logical_xor", "abs_max", "abs_min"]
BITS = ["bit_and", "bit_or", "bit_xor", "shl", "shr"]
CHAIN = ["reset", "reduce", "reset_reduce", "idle"]


def engines(b, pool=True, act=True):
    names = [DVE] + ([POOL] if pool else []) + ([ACT] if act and b.gen > 2 else [])
    return b.pick(names)


def mem_for(b, engine, psum=0.3):
    return SBUF if engine == POOL else b.memory(psum)


def two_mems(b, engine):
    """Memories of two inputs, not both PSUM."""
    one = mem_for(b, engine)
    return one, SBUF if one == PSUM else mem_for(b, engine)


def destination(b, engine, dtype, nparts, count=None, like=None, **kw):
    over = like if like is not None and b.chance(0.2) else None
    mem = over.mem if over is not None else mem_for(b, engine)
    return b.tile(mem, dtype, nparts, count, dst=True, over=over, **kw)


def bits_scalar(b, engine, dtype):
    """Bits in a type, constant or in a register, whose higher bits do not count."""
    if b.chance(0.3):
        return Scalar("reg", b.register(engine, int(b.rng.integers(0, 2**32))))
    return Scalar("i32", int(b.raw(dtype, (1,), "bits")[0]))


def sort_dims(b, n):
    """n as at most three dimensions (1.6)."""
    while True:
        nums = b.factors(n)
        if len(nums) <= 3:
            return nums


def sort_elems(b):
    return int(b.rng.integers(1000, 3000)) if b.chance(0.03) else max(8, b.elems())


def tensor_copy(b):
    engine = engines(b)
    p, n = b.parts(), b.elems()
    st = b.pick(ANY)
    src = b.source(mem_for(b, engine), st, p, n)
    dst = destination(b, engine, st if b.chance(0.4) else b.pick(ANY), p, n, src)
    return b.finish([Record("tensor_copy", engine, [dst, src])])


def tensor_copy_predicated(b):
    p, n = b.parts(), b.elems()
    dtype = b.pick(COPYABLE)
    m1, m2 = two_mems(b, DVE)
    pred = b.source(m1, b.pick([dt.UINT8, dt.UINT16, dt.UINT32]), p, n, mode="bits")
    b.fill(pred, b.rng.integers(0, 2, (p, n)) * b.rng.integers(1, 200, (p, n)))
    rec = Record("tensor_copy_predicated", DVE, [None, pred], reverse_pred=int(b.chance(0.4)))
    if b.chance(0.75):
        rec.t.append(b.source(m2, dtype, p, n))
        rec.t[0] = destination(b, DVE, dtype, p, n, rec.t[2])
    else:
        rec.s = [bits_scalar(b, DVE, dtype)]
        rec.t[0] = destination(b, DVE, dtype, p, n)
    return b.finish([rec])


def memset(b):
    engine = b.pick([DVE, POOL])
    dtype = b.pick(COPYABLE)
    dst = destination(b, engine, dtype, b.parts(), b.elems())
    return b.finish([Record("memset", engine, [dst], [bits_scalar(b, engine, dtype)])])


def tensor_tensor(b):
    engine = b.pick([DVE, POOL])
    p, n = b.parts(), b.elems()
    m1, m2 = two_mems(b, engine)
    kind = b.rng.random()
    if kind < 0.2:
        engine, op = DVE, b.pick(BITS)
        types = b.pick([[dt.INT8, dt.UINT8], [dt.INT16, dt.UINT16], [dt.INT32, dt.UINT32]])
        t1, t2, td = b.pick(types), b.pick(types), b.pick(types)
    elif kind < 0.4:
        op = b.pick(ARITH)
        t1, t2, td = (b.pick([dt.INT32, dt.UINT32]) for _ in range(3))
    elif kind < 0.47:
        engine, op = POOL, "power"
        m1 = m2 = SBUF
        t1, t2, td = dt.FP32, dt.FP32, b.pick([dt.FP32, dt.BF16])
    else:
        op = b.pick(ARITH)
        t1, t2, td = b.pick(ANY), b.pick(ANY), b.pick(ANY)
        if b.chance(0.4):
            t1 = t2 = td = b.pick([dt.FP32, dt.BF16, dt.FP16])
    if engine == POOL:
        m1 = m2 = SBUF
    mode = "unit" if op == "power" else None
    one, two = b.source(m1, t1, p, n, mode=mode), b.source(m2, t2, p, n, mode=mode)
    if op == "power":
        b.fill(one, dt.encode(np.exp(b.rng.normal(0, 2, (p, n))), t1))
    if op in ("shl", "shr"):
        b.fill(two, b.rng.integers(0, 8 * dt.SIZE[t2] + 3, (p, n)))
    dst = destination(b, engine, td, p, n, one)
    return b.finish([Record("tensor_tensor", engine, [dst, one, two], op0=op)])


def tensor_scalar(b):
    p, n = b.parts(), b.elems()
    if b.chance(0.2):
        types = b.pick([[dt.INT8, dt.UINT8], [dt.INT16, dt.UINT16], [dt.INT32, dt.UINT32]])
        data = b.source(b.memory(), b.pick(types), p, n, mode="bits")
        rec = Record("tensor_scalar", DVE, [destination(b, DVE, b.pick(types), p, n, data), data])
        for i in range(2):
            op = b.pick(BITS + ["invert"] + (["none"] if i else []))
            width = 8 * dt.SIZE[data.dtype]
            value = int(b.rng.integers(0, width + 3)) if op in ("shl", "shr") else \
                int(b.rng.integers(-2**31, 2**31))
            if op in ("invert", "none"):
                s = None
            elif b.chance(0.4):
                s = Scalar("i32", value)
            elif b.chance(0.4):
                s = Scalar("reg", b.register(DVE, value))
            else:
                t = b.pick(types)
                raw = b.raw(t, (p,), "bits") if op not in ("shl", "shr") else \
                    b.rng.integers(0, width + 2, p)
                s = b.column(b.memory(), t, p, raw)
            rec.s.append(s)
            if i == 0:
                rec.op0 = op
            else:
                rec.op1 = op
            if op not in UNARY and op != "none" and b.chance(0.3):
                rec.reverse |= 1 << i
        return b.finish([rec])
    engine = engines(b)
    mode = None
    if engine == ACT:
        op0, op1 = b.pick([("multiply", "add"), ("multiply", "none"), ("add", "none")])
    elif engine == POOL:
        op0, op1 = b.pick(["rsqrt", "power"]), b.pick(["none", "add", "multiply", "max", "min"])
        mode = "unit"
    else:
        op0 = b.pick(ARITH + ["abs", "logical_not", "square", "relu", "reciprocal", "bypass"])
        op1 = b.pick(ARITH + ["abs", "square", "relu", "bypass", "none", "none", "none"])
    rec = Record("tensor_scalar", engine, op0=op0, op1=op1)
    data = b.source(mem_for(b, engine), b.pick(ANY) if mode is None else dt.FP32, p, n, mode=mode)
    if engine == POOL:
        b.fill(data, dt.encode(np.exp(b.rng.normal(0, 2, (p, n))), data.dtype))
    rec.t = [destination(b, engine, b.pick(ANY) if b.chance(0.6) else dt.FP32, p, n, data), data]
    for i, op in enumerate((op0, op1)):
        unary = op in UNARY or op == "none"
        rec.s.append(None if unary else
                     b.f32_scalar(engine, p, mode or "mix",
                                  SBUF if engine == POOL else b.memory()))
        if not unary and engine == DVE and b.chance(0.3):
            rec.reverse |= 1 << i
    return b.finish([rec])


def scalar_tensor_tensor(b):
    p, n = b.parts(), b.elems()
    m1, m2 = two_mems(b, DVE)
    data, other = b.source(m1, b.pick(ANY), p, n), b.source(m2, b.pick(ANY), p, n)
    dst = destination(b, DVE, b.pick(ANY) if b.chance(0.5) else dt.FP32, p, n, data)
    rec = Record("scalar_tensor_tensor", DVE, [dst, data, other],
                 [b.f32_scalar(DVE, p, "mix", b.memory())], op0=b.pick(ARITH), op1=b.pick(ARITH),
                 reverse=int(b.rng.integers(0, 4)))
    if b.chance(0.15):
        rec.op0, rec.s, rec.reverse = b.pick(["abs", "relu", "bypass", "logical_not"]), [None], \
            rec.reverse & 2
    return b.finish([rec])


def _activation(b, op):
    p = b.parts()
    records = []
    chain = [None] if op == "activation_reduce" else [None] * int(b.rng.integers(1, 4))
    part = b.start(p)               # one set of lanes for the whole chain
    act = b.pick([a for a in ACTS if a != "prelu"])
    for i in range(len(chain)):
        n = b.elems()
        mode = b.pick(["unit", "normal", "mix", "edges", "bits"])
        if len(chain) > 1 or op == "activation_reduce" and b.chance(0.7):
            mode = b.pick(["unit", "unit", "normal"])
        dtype = b.pick([dt.FP32, dt.FP32, dt.BF16, dt.FP16, b.pick(ANY)])
        data = b.source(b.memory(), dtype, p, n, mode=mode, part=part)
        dst = destination(b, ACT, b.pick([dt.FP32, dt.FP32, dt.BF16, b.pick(ANY)]), p, n, data)
        rec = Record(op, ACT, [dst, data], [None, None], act=act)
        if b.chance(0.6):
            rec.s[0] = b.f32_scalar(ACT, p, "unit", b.memory())
        if b.chance(0.6) and not (b.gen == 2 and act == "reciprocal"):
            if b.gen > 2 and b.chance(0.3):
                bits = int(b.raw(dt.FP32, (1,), "unit")[0])
                rec.s[1] = Scalar("f32", bits) if b.chance(0.6) else \
                    Scalar("reg", b.register(ACT, bits))
            else:
                bt = b.pick([dt.FP32, dt.FP32, dt.BF16, dt.FP16, dt.INT8])
                rec.s[1] = b.column(b.memory(), bt, p, b.raw(bt, (p,), "unit"))
        if op == "activation_reduce":
            rec.reduce_op, rec.reduce_cmd = "add", "reset_reduce"
        elif len(chain) > 1 or b.chance(0.4):
            rec.reduce_op, rec.reduce_cmd = "add", b.pick(CHAIN)
        if op == "activation_reduce" or rec.reduce_op == "add" and b.chance(0.7):
            rec.t.append(b.tile(b.memory(), b.pick([dt.FP32, dt.FP32, dt.BF16]), p, 1, dst=True))
        records.append(rec)
    return b.finish(records)


def activation(b):
    return _activation(b, "activation")


def activation_reduce(b):
    return _activation(b, "activation_reduce")


def reciprocal(b):
    p, n = b.parts(), b.elems()
    data = b.source(b.memory(), b.pick(ANY), p, n)
    dst = destination(b, DVE, b.pick(ANY) if b.chance(0.5) else dt.FP32, p, n, data)
    return b.finish([Record("reciprocal", DVE, [dst, data])])


def dropout(b):
    p, n = b.parts(24), b.elems(80)
    dtype = b.pick(COPYABLE)
    data = b.source(b.memory(), dtype, p, n)
    dst = destination(b, DVE, dtype, p, n, data)
    if b.chance(0.5):
        prob = Scalar("f32", int(dt.encode([b.pick([0.0, 1.0, 0.5, 0.1, 2.0, -1.0, np.nan])],
                                           dt.FP32)[0]))
    elif b.chance(0.3):
        prob = Scalar("reg", b.register(DVE, int(dt.encode([b.rng.random()], dt.FP32)[0])))
    else:
        kind = dt.FP32 if dt.is_int(dtype) else b.pick([dt.FP32, dt.BF16, dt.FP16])
        prob = b.column(b.memory(), kind, p, dt.encode(b.rng.random(p), kind))
    recs = [Record("dropout", DVE, [dst, data], [prob])]
    return b.finish(_seeded(b, DVE) + recs)


def _seeded(b, engine):
    """Sometimes a set_rng_seed first."""
    if engine == POOL or b.chance(0.4):
        return []
    src = b.source(b.memory(), b.pick([dt.UINT32, dt.INT32]), 1, 1, mode="bits")
    return [Record("set_rng_seed", DVE, [None, src])]


def rng(b):
    engine = b.pick([DVE, POOL] if b.gen > 2 else [DVE])
    recs = _seeded(b, engine)
    for _ in range(int(b.rng.integers(1, 3))):
        dst = destination(b, engine, b.pick(dt.INTS), b.parts(24), b.elems(60))
        recs.append(Record("rng", engine, [dst]))
    return b.finish(recs)


def set_rng_seed(b):
    src = b.source(b.memory(), b.pick([dt.UINT32, dt.INT32]), 1, 1, mode="bits")
    dst = destination(b, DVE, b.pick(dt.INTS), b.parts(16), b.elems(40))
    return b.finish([Record("set_rng_seed", DVE, [None, src]), Record("rng", DVE, [dst])])


def nc_stream_shuffle(b):
    dtype, n = b.pick(COPYABLE), b.elems()
    d = b.parts()
    s = b.parts(32) if d <= 32 else d
    area = -(-max(d, s) // 32) * 32
    starts = [0] if area >= 96 else [0, 64] if area == 64 else [0, 32, 64, 96]
    src = b.source(b.memory(), dtype, s, n, part=b.pick(starts))
    if s == d and b.chance(0.15):
        dst = b.tile(src.mem, dtype, d, nums=[k for _, k in src.dims], dst=True, over=src,
                     part=src.part)
    else:
        dst = b.tile(b.memory(), dtype, d, n, dst=True, part=b.pick(starts))
    mask = bytearray(b.rng.integers(0, 32, 32).astype(np.uint8).tobytes())
    for i in range(32):
        used = [q for q in range(4) if 32 * q + i < d]
        if used:
            top = min(min(32, s - 32 * q) for q in used)
            mask[i] = 255 if b.chance(0.15) else int(b.rng.integers(0, top))
    return b.finish([Record("nc_stream_shuffle", DVE, [dst, src], mask=bytes(mask))])


def tensor_reduce(b):
    p = b.parts()
    nums = b.factors(b.elems())
    naxes = int(b.rng.integers(1, len(nums) + 1))
    outer = int(np.prod(nums[naxes:])) if naxes < len(nums) else 1
    rec = Record("tensor_reduce", DVE, naxes=naxes)
    if b.chance(0.15):
        rec.op0 = b.pick(["bit_and", "bit_or", "bit_xor"])
        types = b.pick([[dt.INT8, dt.UINT8], [dt.INT16, dt.UINT16], [dt.INT32, dt.UINT32]])
        data = b.source(b.memory(), b.pick(types), p, nums=nums, mode="bits")
        td = b.pick(types)
    else:
        rec.op0 = b.pick(["add", "add", "max", "min", "multiply", "subtract", "logical_and",
                          "logical_or", "logical_xor"])
        mode = b.pick(["unit", "ints", "mix", "edges"])
        if rec.op0 == "multiply":
            mode = "unit"
        data = b.source(b.memory(), b.pick(ANY) if b.chance(0.6) else dt.FP32, p, nums=nums,
                        mode=mode)
        if rec.op0 == "multiply" and b.chance(0.8):     # factors near 1 stay in range
            near = np.exp(b.rng.normal(0, 0.2, (p, data.count)))
            b.fill(data, dt.encode(near * b.rng.choice([1, -1], near.shape), data.dtype))
        td = b.pick([dt.FP32, dt.FP32, dt.BF16, b.pick(ANY)])
        rec.negate = int(b.chance(0.3))
    rec.t = [destination(b, DVE, td, p, outer, data), data]
    return b.finish([rec])


def tensor_partition_reduce(b):
    p, n = b.parts(), b.elems()
    rec = Record("tensor_partition_reduce", POOL)
    if b.chance(0.25):
        rec.op0 = b.pick(["bit_and", "bit_or"])
        types = b.pick([[dt.INT8, dt.UINT8], [dt.INT16, dt.UINT16], [dt.INT32, dt.UINT32]])
        data = b.source(SBUF, b.pick(types), p, n, mode="bits")
        td = b.pick(types)
    else:
        rec.op0 = b.pick(["add", "average", "max"])
        data = b.source(SBUF, b.pick(ANY), p, n, mode=b.pick(["unit", "ints", "mix", "edges"]))
        td = b.pick([dt.FP32, dt.BF16, b.pick(ANY)])
    rec.t = [destination(b, POOL, td, 1, n, data), data]
    return b.finish([rec])


def tensor_scalar_reduce(b):
    p, records = b.parts(), []
    part = b.start(p)
    reduce_op = b.pick(["add", "multiply", "max", "min"])
    for _ in range(int(b.rng.integers(1, 4))):
        n = b.elems()
        data = b.source(b.memory(), b.pick(ANY) if b.chance(0.5) else dt.FP32, p, n,
                        mode="unit", part=part)
        if dt.is_int(data.dtype):
            b.fill(data, b.raw(data.dtype, (p, n), "ints"))
        op0 = b.pick(["add", "subtract", "multiply", "max", "min", "ge", "lt"])
        rec = Record("tensor_scalar_reduce", DVE,
                     [destination(b, DVE, b.pick([dt.FP32, dt.BF16, b.pick(ANY)]), p, n, data), data],
                     [b.f32_scalar(DVE, p, "unit", b.memory()),
                      b.f32_scalar(DVE, p, "unit", b.memory())],
                     op0=op0, reduce_op=reduce_op, negate=int(b.chance(0.3)),
                     reduce_cmd=b.pick(["reset_reduce", "load_reduce"] if not records or
                                       reduce_op == "multiply" else
                                       ["reset_reduce", "reduce", "load_reduce"]))
        if b.chance(0.8):
            rec.t.append(b.tile(b.memory(), b.pick([dt.FP32, dt.BF16]), p, 1, dst=True))
        else:
            rec.negate = 0
        if rec.reduce_cmd != "load_reduce":
            rec.s[1] = None
        records.append(rec)
    return b.finish(records)


def _random_pattern(b, n):
    dims = [(int(b.rng.integers(-2000, 2001)) if b.chance(0.9) else
             int(b.rng.integers(-2**31, 2**31)), k) for k in b.factors(n)]
    big = b.chance(0.2)
    offset = int(b.rng.integers(-2**31, 2**31)) if big else int(b.rng.integers(-500, 500))
    pattern = Pattern(offset, int(b.rng.integers(-300, 300)), dims)
    if b.chance(0.2):
        pattern.off_reg = b.register(POOL, int(b.rng.integers(-1000, 1000)))
    return pattern


def iota(b):
    p, n = b.parts(), b.elems()
    dst = b.tile(SBUF, b.pick(COPYABLE), p, n, dst=True)
    return b.finish([Record("iota", POOL, [dst], pattern=_random_pattern(b, n))])


def affine_select(b):
    p, n = b.parts(), b.elems()
    on_true = b.source(SBUF, b.pick(ANY), p, n)
    dst = destination(b, POOL, b.pick(ANY) if b.chance(0.5) else on_true.dtype, p, n, on_true)
    pattern = _random_pattern(b, n)
    if b.chance(0.6):
        pattern.dims = [(b.pick([-1, 1, 2, 0]), k) for _, k in pattern.dims]
        pattern.offset, pattern.channel_multiplier = b.pick([0, 3, -5]), b.pick([1, -1, 0])
    return b.finish([Record("affine_select", POOL, [dst, on_true],
                            [Scalar("f32", int(b.raw(dt.FP32, (1,), "mix")[0]))],
                            cmp0=b.pick(sorted(COMPARE)), pattern=pattern)])


def range_select(b):
    if b.gen == 2:
        b.gen = 3
    p, n, records = b.parts(), b.elems(), []
    part = b.start(p)
    for _ in range(int(b.rng.integers(1, 3))):
        mode = b.pick(["unit", "ints", "normal"])
        on_true = b.source(b.memory(), b.pick([dt.FP32, dt.BF16, dt.FP16, dt.E5M2]), p, n,
                           mode=mode, part=part)
        dst = destination(b, DVE, b.pick([dt.FP32, dt.BF16, dt.FP16, dt.E4M3]), p, n, on_true)
        start = float(b.rng.integers(0, 1000))
        bounds = [b.column(b.memory(), dt.FP32, p,
                           dt.encode(np.floor(start + b.rng.random(p) * n), dt.FP32))
                  for _ in range(2)]
        bits = int(dt.encode([start], dt.FP32)[0])
        rec = Record("range_select", DVE, [dst, on_true],
                     bounds + [Scalar("f32", bits) if b.chance(0.7) else
                               Scalar("reg", b.register(DVE, bits))],
                     cmp0=b.pick(["ge", "gt", "le", "lt", "eq"]),
                     cmp1=b.pick(["ge", "gt", "le", "lt"]), reduce_op="max",
                     reduce_cmd=b.pick(["reset_reduce", "reset_reduce", "reduce"] if records
                                       else ["reset_reduce", "reset"]))
        if b.chance(0.8):
            rec.t.append(b.tile(b.memory(), b.pick([dt.FP32, dt.BF16, dt.FP16]), p, 1, dst=True))
        records.append(rec)
    return b.finish(records)


def select_reduce(b):
    p, n, records = b.parts(), b.elems(), []
    part = b.start(p)
    for _ in range(int(b.rng.integers(1, 3))):
        m1, m2 = two_mems(b, DVE)
        pred = b.source(m1, b.pick([dt.UINT8, dt.INT8, dt.UINT16, dt.INT16]), p, n, mode="bits")
        b.fill(pred, b.rng.integers(0, 2, (p, n)) * b.rng.integers(1, 100, (p, n)))
        types = [dt.FP32, dt.BF16, dt.FP16, dt.E4M3, dt.INT8, dt.UINT16]
        on_true = b.source(m2, b.pick(types), p, n, mode=b.pick(["unit", "ints", "normal"]),
                           part=part)
        dst = destination(b, DVE, on_true.dtype if b.chance(0.5) else b.pick(ANY), p, n, on_true)
        rec = Record("select_reduce", DVE, [dst, pred, on_true],
                     [b.f32_scalar(DVE, p, "unit", b.memory())],
                     reverse_pred=int(b.chance(0.4)))
        if b.chance(0.7):
            rec.reduce_op = "max"
            rec.reduce_cmd = b.pick(["reset_reduce", "reset_reduce", "reduce"] if records
                                    else ["reset_reduce", "reset"])
            if b.chance(0.8):
                rec.t.append(b.tile(b.memory(), b.pick([dt.FP32, dt.BF16]), p, 1, dst=True))
        records.append(rec)
    return b.finish(records)


def max8(b):
    p, n = b.parts(32), sort_elems(b)
    src = b.source(b.memory(), b.pick(ANY), p, nums=sort_dims(b, n))
    dst = destination(b, DVE, src.dtype if b.chance(0.5) else b.pick([dt.FP32, dt.BF16]), p, 8, src)
    return b.finish([Record("max8", DVE, [dst, src])])


def nc_find_index8(b):
    p, n = b.parts(32), sort_elems(b)
    dtype = b.pick(COPYABLE)
    m1, m2 = two_mems(b, DVE)
    data = b.source(m1, dtype, p, nums=sort_dims(b, n))
    raw = b.raw(dtype, (p, n), b.pick(["ints", "ints", "edges", "normal"]))
    vals = b.tile(m2, dtype if b.chance(0.7) else dt.FP32, p, nums=[8])
    b.fill(data, raw)
    x = dt.decode(raw, dtype)
    wanted = np.take_along_axis(x, b.rng.integers(0, n, (p, 8)), 1)
    wanted = np.where(b.rng.random((p, 8)) < 0.1, 77.0, wanted)
    b.fill(vals, dt.encode(wanted, vals.dtype))
    dst = destination(b, DVE, b.pick([dt.UINT16, dt.UINT32]), p, 8, data)
    return b.finish([Record("nc_find_index8", DVE, [dst, data, vals])])


def nc_match_replace8(b):
    p, n = b.parts(32), sort_elems(b)
    dtype = b.pick(COPYABLE)
    m1, m2 = two_mems(b, DVE)
    data = b.source(m1, dtype, p, n, mode="bits")
    raw = b.raw(dtype, (p, n), b.pick(["ints", "ints", "edges", "normal"]))
    vals = b.tile(m2, dtype if b.chance(0.7) else dt.FP32, p, nums=[8])
    b.fill(data, raw)
    x = dt.decode(raw, dtype)
    wanted = np.take_along_axis(x, b.rng.integers(0, n, (p, 8)), 1)
    wanted = np.where(b.rng.random((p, 8)) < 0.1, 77.0, wanted)
    b.fill(vals, dt.encode(wanted, vals.dtype))
    imm = int(b.raw(dt.FP32, (1,), "mix")[0])
    rec = Record("nc_match_replace8", DVE,
                 [destination(b, DVE, dtype if b.chance(0.6) else dt.FP32, p, n, data), data, vals],
                 [Scalar("f32", imm) if b.chance(0.7) else Scalar("reg", b.register(DVE, imm))])
    if b.chance(0.7):
        rec.t.append(b.tile(b.memory(), b.pick([dt.UINT32, dt.UINT16]), p, 8, dst=True))
    return b.finish([rec])


def nc_n_gather(b):
    p, n, k = b.parts(), b.elems(), b.elems()
    dtype = b.pick(COPYABLE)
    data = b.source(SBUF, dtype, p, n, mode="bits")
    idx = b.source(SBUF, dt.UINT32, p, k, mode="bits")
    values = b.rng.integers(0, n, (p, k))
    if b.chance(0.1):
        values[int(b.rng.integers(p)), int(b.rng.integers(k))] = b.pick([n, n + 5, 2**32 - 1])
    b.fill(idx, values)
    dst = destination(b, POOL, dtype, p, k, data)
    return b.finish([Record("nc_n_gather", POOL, [dst, data, idx])])


def bn_stats(b):
    p, n = b.parts(), min(512, b.elems(512))
    data = b.source(b.memory(), b.pick([dt.FP32, dt.FP32, dt.BF16, dt.FP16, dt.INT8, dt.E4M3]), p,
                    n, mode=b.pick(["unit", "ints", "normal"]))
    if b.chance(0.2) and dt.is_float(data.dtype):
        b.fill(data, dt.encode(100 + b.rng.normal(0, 1, (p, n)), data.dtype))
    dst = destination(b, DVE, b.pick([dt.FP32, dt.FP32, dt.BF16]), p, 6, data)
    return b.finish([Record("bn_stats", DVE, [dst, data])])


def bn_aggr(b):
    p, k = b.parts(), int(b.rng.integers(1, 20))
    data = b.tile(b.memory(), dt.FP32, p, 3 * k, dst=True)
    x = np.empty((p, k, 3))
    x[..., 0] = b.rng.integers(0, 257, (p, k))
    if b.chance(0.1):
        x[0, :, 0] = 0
    x[..., 1] = b.rng.normal(0, 1, (p, k)) + b.pick([0, 5])
    x[..., 2] = x[..., 0] * np.abs(b.rng.normal(0, 1, (p, k)))
    b.fill(data, dt.encode(x.reshape(p, -1), dt.FP32))
    dst = destination(b, DVE, b.pick([dt.FP32, dt.FP32, dt.BF16]), p, 2, data)
    return b.finish([Record("bn_aggr", DVE, [dst, data])])


def nc_matmul(b):
    b.bank = True
    m, n = int(b.rng.integers(1, 129)), 512 if b.chance(0.03) else b.elems()
    if b.chance(0.6):
        m = int(b.rng.integers(1, 20))
    half = b.gen == 4 and b.chance(0.2)                 # a sum is rounded once: one record
    dst = b.tile(PSUM, dt.BF16 if half else dt.FP32, m, n, dst=True, limit=100)
    if b.cursor[PSUM] > 2048:
        return None
    records = []
    for i in range(1 if half else int(b.rng.integers(1, 4))):
        k = b.parts()
        start = b.start(k)
        pair = b.pick([(dt.BF16, dt.BF16), (dt.FP32, dt.FP32), (dt.FP32, dt.FP32),
                       (dt.FP16, dt.FP16), (dt.TF32, dt.FP32), (dt.FP16, dt.BF16),
                       (dt.E4M3, dt.E5M2), (dt.E3M4, dt.BF16), (dt.E4M3, dt.FP16)])
        mode = b.pick(["unit", "unit", "normal", "ints", "mix", "edges"]) if i == 0 and \
            b.chance(0.4) else b.pick(["unit", "ints"])
        stationary = b.source(SBUF, pair[0], k, m, part=start, mode=mode)
        moving = b.source(SBUF, pair[1], k, n, part=start, mode=mode)
        acc = int(i > 0 and b.chance(0.8))
        records.append(Record("nc_matmul", PE, [dst, stationary, moving], acc=acc))
    return b.finish(records, max_fused=b.pick([1, len(records)]))


def nc_transpose(b):
    if b.chance(0.5):
        dtype = b.pick(COPYABLE)
        if b.chance(0.5):
            p, n = int(b.rng.integers(1, 33)), int(b.rng.integers(1, 33))
            out = n, p
        else:
            p, n = b.pick([32, 64, 96, 128]), b.pick([32, 64, 96])
            out = p, n
        data = b.source(b.memory(), dtype, p, n, mode="bits")
        dst = destination(b, DVE, dtype, out[0], out[1], data)
        return b.finish([Record("nc_transpose", DVE, [dst, data])])
    b.bank = True
    p, n = b.parts(), int(b.rng.integers(1, 129))
    if b.gen == 2:
        dtype = b.pick([dt.FP32, dt.BF16, dt.FP16])
        td = b.pick([dt.FP32, dtype])
        mode = b.pick(["unit", "ints", "mix"])
    else:
        dtype = b.pick(COPYABLE)
        td = b.pick([dt.UINT16, dt.INT16]) if dt.SIZE[dtype] == 1 else dtype
        mode = "bits"
    dst = b.tile(PSUM, td, n, p, dst=True, limit=100)
    if b.cursor[PSUM] > 2048:
        return None
    data = b.source(SBUF, dtype, p, n, mode=mode)
    return b.finish([Record("nc_transpose", PE, [dst, data])])


INSTRUCTIONS = {f.__name__: f for f in (
    nc_matmul, nc_transpose, tensor_copy, tensor_copy_predicated, memset, tensor_tensor,
    tensor_scalar, scalar_tensor_tensor, activation, activation_reduce, reciprocal, dropout,
    nc_stream_shuffle, tensor_reduce, tensor_partition_reduce, tensor_scalar_reduce,
    affine_select, range_select, select_reduce, max8, nc_find_index8, nc_match_replace8,
    nc_n_gather, bn_stats, bn_aggr, iota, rng, set_rng_seed)}


def generate(name, rng_state):
    """A legal case; draws again where a tile did not fit."""
    while True:
        case = INSTRUCTIONS[name](Builder(rng_state))
        if case is not None:
            return case
