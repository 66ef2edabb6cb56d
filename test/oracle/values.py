# SPDX-License-Identifier: Apache-2.0
"""fp32 results that are exact or known to lie between two bounds (neuroncore.md 2.2 and 3).

A value is a pair of float64 arrays (low, high). Exact results have low == high, both an fp32 value,
or both NaN. ANY marks an element about which the specification says nothing (low > high).
"""
import math

import numpy as np

import dtypes

MAX32 = float(np.finfo(np.float32).max)
MIN32 = 2.0 ** -126
FMIN = -MAX32


def f32(value):
    return np.asarray(value, np.float64).astype(np.float32)


def exact(value):
    value = np.asarray(value).astype(np.float64)
    return value, value.copy()


def is_exact(v):
    return bool(np.all((v[0] == v[1]) | (np.isnan(v[0]) & np.isnan(v[1]))))


def make_any(v, where):
    """Elements of v for which any result is right."""
    return np.where(where, np.inf, v[0]), np.where(where, -np.inf, v[1])


def is_any(v):
    return (v[0] == np.inf) & (v[1] == -np.inf)


def rounded(v):
    """One rounding to fp32 of an interval (monotone)."""
    low, high = dtypes.round32(v[0]), dtypes.round32(v[1])
    return np.where(is_any(v), v[0], low), np.where(is_any(v), v[1], high)


def around(value, slack):
    """value +- slack, infinities and NaN left as they are."""
    value = np.asarray(value, np.float64)
    with np.errstate(invalid="ignore"):
        low, high = value - slack, value + slack
    plain = np.isfinite(value)
    return np.where(plain, low, value), np.where(plain, high, value)


def ulps(value, n):
    """value +- n units in the last place of fp32."""
    mag = np.abs(np.asarray(value, np.float64))
    mag = np.where(np.isfinite(mag), mag, 1.0)
    exponent = np.maximum(np.frexp(mag)[1] - 1, -126)
    return around(value, n * np.ldexp(1.0, exponent - 23))


# --- ALU operators (3.1) -------------------------------------------------------------------------

_COMPARE = {"eq": np.equal, "ne": np.not_equal, "ge": np.greater_equal, "gt": np.greater,
            "le": np.less_equal, "lt": np.less}


def compare(op, x, y):
    return _COMPARE[op](x, y)


def truth(x):
    return (x != 0) | np.isnan(x)


def alu32(op, x, y):
    """One arithmetic stage on exact fp32 arrays (float64 carriers) -> value."""
    x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    a, b = f32(x), f32(y)
    with np.errstate(all="ignore"):
        if op in ("bypass", "none"):
            return exact(x)
        if op == "add":
            return exact(a + b)
        if op == "subtract":
            return exact(a - b)
        if op == "multiply":
            return exact(a * b)
        if op == "max":
            return exact(np.maximum(a, b))          # NaN propagates
        if op == "min":
            return exact(np.minimum(a, b))
        if op in _COMPARE:
            return exact(_COMPARE[op](a, b))
        if op == "logical_and":
            return exact(truth(x) & truth(y))
        if op == "logical_or":
            return exact(truth(x) | truth(y))
        if op == "logical_xor":
            return exact(truth(x) ^ truth(y))
        if op == "logical_not":
            return exact(x == 0)
        if op == "power":
            return ulps(np.power(x, y), 2)
        if op == "abs_max":
            return exact(np.where(np.abs(x) > np.abs(y), x, y))
        if op == "abs_min":
            return exact(np.where(np.abs(x) < np.abs(y), x, y))
        if op == "abs":
            return exact(np.abs(x))
        if op == "square":
            return exact(a * a)
        if op == "relu":
            return exact(np.maximum(a, np.float32(0)))
        if op == "rsqrt":
            return ulps(1 / np.sqrt(x), 2)
        if op == "reciprocal":
            return exact(np.float32(1) / a)
    raise AssertionError(op)


def alu_stage(op, v, y, reverse):
    """A stage whose left operand may be an interval; only monotone operators may follow one."""
    if is_exact(v):
        return alu32(op, y, v[0]) if reverse else alu32(op, v[0], y)
    assert op in ("none", "bypass", "add", "multiply", "max", "min"), op
    y = np.broadcast_to(np.asarray(y, np.float64), v[0].shape)
    one, two = alu32(op, v[0], y)[0], alu32(op, v[1], y)[0]
    return np.minimum(one, two), np.maximum(one, two)


def alu_bits(op, x, y, bits):
    """Bit operators on unsigned patterns of the given width; shifts by >= width give 0."""
    mask = (1 << bits) - 1
    x, y = np.asarray(x).astype(np.uint64), np.asarray(y).astype(np.uint64)
    if op == "invert":
        out = ~x
    elif op == "bit_and":
        out = x & y
    elif op == "bit_or":
        out = x | y
    elif op == "bit_xor":
        out = x ^ y
    else:
        amount = np.minimum(y, np.uint64(63))
        out = x << amount if op == "shl" else x >> amount
        out = np.where(y >= bits, np.uint64(0), out)
    return out & np.uint64(mask)


def alu_int(op, x, y, signed):
    """Native 32-bit integer arithmetic of POOL (4.2): x, y uint32 patterns -> uint32 patterns."""
    a, b = x.astype(np.uint64), y.astype(np.uint64)
    if signed:
        ka, kb = x.view(np.int32).astype(np.int64), y.view(np.int32).astype(np.int64)
    else:
        ka, kb = x.astype(np.int64), y.astype(np.int64)
    if op == "add":
        out = a + b
    elif op == "subtract":
        out = a - b
    elif op == "multiply":
        out = a * b
    elif op == "max":
        out = np.where(ka >= kb, a, b)
    elif op == "min":
        out = np.where(ka <= kb, a, b)
    elif op in _COMPARE:
        out = _COMPARE[op](ka, kb)
    elif op == "logical_and":
        out = (a != 0) & (b != 0)
    elif op == "logical_or":
        out = (a != 0) | (b != 0)
    elif op == "logical_xor":
        out = (a != 0) ^ (b != 0)
    else:
        raise AssertionError(op)
    return (out.astype(np.uint64) & np.uint64(0xffffffff)).astype(np.uint32)


# --- folds (2.2, 3.3) ----------------------------------------------------------------------------

IDENTITY = {"add": 0.0, "subtract": 0.0, "multiply": 1.0, "max": -np.inf, "min": np.inf,
            "abs_max": 0.0, "abs_min": np.inf, "logical_and": 1.0, "logical_or": 0.0,
            "logical_xor": 0.0}


def fold(op, terms, start=None):
    """Fold values [..., n] over the last axis, after start [...] if given.

    Sums and products may be reassociated: n terms, |error| <= n 2^-23 sum|term|, products relative
    n 2^-23; the other operators are exact.
    """
    low, high = terms
    if start is not None:
        low = np.concatenate([start[0][..., None], low], -1)
        high = np.concatenate([start[1][..., None], high], -1)
    n = low.shape[-1]
    unknown = np.any(is_any((low, high)), -1)
    with np.errstate(all="ignore"):
        if op in ("add", "subtract"):
            if op == "subtract":
                low, high = (np.concatenate([low[..., :1], -high[..., 1:]], -1),
                             np.concatenate([high[..., :1], -low[..., 1:]], -1))
            size = np.sum(np.maximum(np.abs(low), np.abs(high)), -1)
            slack = n * 2.0 ** -23 * size if n > 1 else 0.0 * size
            lo, hi = np.sum(low, -1) - slack, np.sum(high, -1) + slack
            bad = np.isfinite(size) & (size > MAX32)        # a partial sum may overflow
            special = ~np.isfinite(size)
            lo = np.where(special, np.sum(low, -1), lo)
            hi = np.where(special, np.sum(high, -1), hi)
            # infinities meet partial sums that may themselves overflow: only then unknown
            rest = np.sum(np.where(np.isfinite(low), np.abs(low), 0), -1)
            bad |= special & ~np.isnan(lo) & (rest > MAX32)
            v = make_any((lo, hi), bad | unknown)
            return v if n > 1 else rounded(v)
        if op == "multiply":
            assert is_exact((low, high)) or n == 1
            if n == 1:
                return low[..., 0], high[..., 0]
            mag = np.abs(low)
            product = np.prod(low, -1)
            grow = np.prod(np.maximum(mag, 1), -1)
            shrink = np.prod(np.where(mag < 1, mag, 1), -1)
            bad = ~np.isnan(product) & ((grow > MAX32) | (shrink < MIN32))
            bad |= ~np.isfinite(product)
            bad &= ~np.any(np.isnan(low), -1)
            return make_any(around(product, n * 2.0 ** -23 * np.abs(product)), bad | unknown)
        if op in ("max", "min"):
            # NaN propagates
            pick = np.max if op == "max" else np.min
            return make_any((pick(low, -1), pick(high, -1)), unknown)
        assert is_exact((low, high))
        if op in ("logical_and", "logical_or", "logical_xor"):
            t = truth(low)
            out = {"logical_and": np.all, "logical_or": np.any,
                   "logical_xor": lambda a, axis: np.sum(a, axis) % 2 == 1}[op](t, -1)
            return exact(out)
        assert op in ("abs_max", "abs_min")
        acc = low[..., 0]
        for i in range(1, n):
            acc = alu32(op, acc, low[..., i])[0]
        return exact(acc)


# --- activation functions (3.2) ------------------------------------------------------------------

_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _cdf(x):
    return 0.5 * _erfc(-x / math.sqrt(2))


def _pdf(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _gelu_tanh(x):
    # (1 + tanh z) / 2 is the logistic function of 2z: no cancellation
    return x * _sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))


def _gelu_sigmoid_dx(x):
    s = _sigmoid(1.702 * x)
    return s + 1.702 * x * s * _sigmoid(-1.702 * x)


_DEFINITION = {
    "sigmoid": _sigmoid, "gelu": lambda x: x * _cdf(x), "gelu_dx": lambda x: _cdf(x) + x * _pdf(x),
    "gelu_apprx_tanh": _gelu_tanh, "gelu_apprx_sigmoid": lambda x: x * _sigmoid(1.702 * x),
    "gelu_apprx_sigmoid_dx": _gelu_sigmoid_dx, "silu": lambda x: x * _sigmoid(x),
    "silu_dx": lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)), "tanh": np.tanh,
    "softplus": _softplus, "mish": lambda x: x * np.tanh(_softplus(x)), "erf": _erf,
    "erf_dx": lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x), "exp": np.exp, "log": np.log,
    "sin": np.sin, "arctan": np.arctan, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x}
_AT_INF = {  # limits where the formula gives 0 * inf; (at -inf, at +inf)
    "gelu": (0, np.inf), "silu": (0, np.inf), "mish": (0, np.inf), "gelu_apprx_tanh": (0, np.inf),
    "gelu_apprx_sigmoid": (0, np.inf), "gelu_dx": (0, 1), "silu_dx": (0, 1),
    "gelu_apprx_sigmoid_dx": (0, 1)}
_TWO_ULP = {"sqrt", "rsqrt", "reciprocal", "exp", "log", "sin", "arctan", "tanh", "erf", "sigmoid"}


def activation(act, x, param=0.0):
    """f(x) for exact fp32 x -> value."""
    x = np.asarray(x, np.float64)
    a = f32(x)
    with np.errstate(all="ignore"):
        if act == "copy":
            return exact(x)
        if act == "square":
            return exact(a * a)
        if act == "relu":
            return exact(np.maximum(a, np.float32(0)))
        if act == "prelu":
            return exact(np.where(np.isnan(x) | (x >= 0), a, np.float32(param) * a))
        if act == "sign":
            return exact(np.where(np.isnan(x), x, np.sign(x)))
        if act == "abs":
            return exact(np.abs(x))
        r = _DEFINITION[act](x)
        if act in _AT_INF:
            r = np.where(x == -np.inf, _AT_INF[act][0], np.where(x == np.inf, _AT_INF[act][1], r))
        r = np.where(np.isnan(x), np.nan, r)
        if act in _TWO_ULP:
            return ulps(r, 2)
        four, floor = ulps(r, 4), around(r, 2.0 ** -22)
        return np.minimum(four[0], floor[0]), np.maximum(four[1], floor[1])
