# SPDX-License-Identifier: Apache-2.0
"""Data types of the NeuronCore (docs/spec/neuroncore.md section 2), element by element.

Everything passes through float64, which holds every fp32 value and every 32-bit integer exactly, so
each conversion rounds once. Conversions are monotone: an interval is converted by its two ends.
"""
import numpy as np

# Codes of section 2.1; those from 0x10 on are numbers of this project's encoding.
UINT64, INT8, UINT8, INT16, UINT16 = 0x1, 0x2, 0x3, 0x4, 0x5
BF16, FP16, INT32, UINT32, FP32, FP32R, INT64 = 0x6, 0x7, 0x8, 0x9, 0xA, 0xB, 0xC
E3M4, E4M3, E5M2, BOOL, TF32 = 0xD, 0xE, 0xF, 0x10, 0x11

SIZE = {UINT64: 8, INT64: 8, INT8: 1, UINT8: 1, INT16: 2, UINT16: 2, BF16: 2, FP16: 2, INT32: 4,
        UINT32: 4, FP32: 4, FP32R: 4, E3M4: 1, E4M3: 1, E5M2: 1, BOOL: 1, TF32: 4}
NAME = {UINT64: "uint64", INT64: "int64", INT8: "int8", UINT8: "uint8", INT16: "int16",
        UINT16: "uint16", BF16: "bfloat16", FP16: "float16", INT32: "int32", UINT32: "uint32",
        FP32: "float32", FP32R: "float32r", E3M4: "float8e3", E4M3: "float8e4", E5M2: "float8e5",
        BOOL: "bool", TF32: "tfloat32"}
INT_RANGE = {INT8: (-2**7, 2**7 - 1), UINT8: (0, 2**8 - 1), INT16: (-2**15, 2**15 - 1),
             UINT16: (0, 2**16 - 1), INT32: (-2**31, 2**31 - 1), UINT32: (0, 2**32 - 1),
             INT64: (-2**63, 2**63 - 1), UINT64: (0, 2**64 - 1)}
SIGNED = {INT8, INT16, INT32, INT64}
# exponent bits, mantissa bits, bias; all with IEEE infinities and NaNs
FLOAT = {FP32: (8, 23, 127), FP32R: (8, 23, 127), TF32: (8, 10, 127), BF16: (8, 7, 127),
         FP16: (5, 10, 15), E5M2: (5, 2, 15), E4M3: (4, 3, 7), E3M4: (3, 4, 3)}
RAW = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
SINT = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}

INTS = [INT8, UINT8, INT16, UINT16, INT32, UINT32]
FLOATS = [FP32, BF16, FP16, E4M3, E5M2, E3M4, TF32]


def is_float(dtype):
    return dtype in FLOAT


def is_int(dtype):
    return dtype in INT_RANGE


def _decode_float(raw, dtype):
    exp_bits, man_bits, bias = FLOAT[dtype]
    if dtype in (FP32, FP32R, TF32):
        exp_bits, man_bits, bias = FLOAT[FP32]      # a tf32 cell is read as fp32
    raw = raw.astype(np.int64)
    man = raw & ((1 << man_bits) - 1)
    exp = (raw >> man_bits) & ((1 << exp_bits) - 1)
    sign = np.where((raw >> (man_bits + exp_bits)) & 1, -1.0, 1.0)
    normal = np.ldexp((man + (1 << man_bits)).astype(np.float64), exp - bias - man_bits)
    small = np.ldexp(man.astype(np.float64), 1 - bias - man_bits)
    top = exp == (1 << exp_bits) - 1
    value = np.where(exp == 0, small, normal)
    value = np.where(top, np.where(man == 0, np.inf, np.nan), value)
    return sign * value


def decode(raw, dtype):
    """Bit patterns -> float64 holding the fp32 value by the compute rule (2.2)."""
    raw = np.asarray(raw)
    if is_float(dtype):
        return _decode_float(raw, dtype)
    if dtype == BOOL:
        return raw.astype(np.float64)
    value = raw.view(SINT[SIZE[dtype]]) if dtype in SIGNED else raw
    return value.astype(np.float32).astype(np.float64)


def decode_int(raw, dtype):
    """Bit patterns of an integer type -> int64 (not for 64-bit types)."""
    raw = np.asarray(raw)
    return (raw.view(SINT[SIZE[dtype]]) if dtype in SIGNED else raw).astype(np.int64)


def _encode_float(value, dtype):
    exp_bits, man_bits, bias = FLOAT[dtype]
    value = np.asarray(value, np.float64)
    mag = np.abs(value)
    finite = np.where(np.isfinite(mag), mag, 0.0)
    exp = np.maximum(np.frexp(finite)[1] - 1, 1 - bias)
    exp = np.where(finite == 0, 1 - bias, exp).astype(np.int64)
    units = np.rint(np.ldexp(finite, man_bits - exp)).astype(np.int64)   # RNE
    bits = ((exp + bias - 1) << man_bits) + units
    inf = ((1 << exp_bits) - 1) << man_bits
    bits = np.minimum(bits, inf)                                         # IEEE overflow
    bits = np.where(np.isinf(mag), inf, bits)
    bits = np.where(np.isnan(mag), inf | (1 << (man_bits - 1)), bits)
    bits = bits | (np.signbit(value).astype(np.int64) << (man_bits + exp_bits))
    return bits << 13 if dtype == TF32 else bits


def encode(value, dtype):
    """float64 -> bit patterns: RNE, IEEE overflow; integers RNE and saturating, NaN -> 0 (2.3)."""
    value = np.asarray(value, np.float64)
    raw = RAW[SIZE[dtype]]
    if is_float(dtype):
        return _encode_float(value, dtype).astype(raw)
    if dtype == BOOL:
        return (value != 0).astype(raw)
    low, high = INT_RANGE[dtype]
    whole = np.rint(np.where(np.isnan(value), 0.0, value))
    if SIZE[dtype] == 8:                                # in whole numbers: 2^64 - 1 is no double
        flat = [min(max(int(v), low), high) if np.isfinite(v) else (low if v < 0 else high)
                for v in whole.ravel()]
        return np.array([v & (2**64 - 1) for v in flat], np.uint64).reshape(value.shape)
    return np.clip(whole, low, high).astype(np.int64).astype(raw)


def encode_int(value, dtype):
    """int64 -> bit patterns directly, one rounding or saturation (iota, 4.7)."""
    value = np.asarray(value, np.int64)
    if is_int(dtype):
        low, high = INT_RANGE[dtype]
        if dtype == UINT32:
            return (value & 0xffffffff).astype(np.uint32)                # bits
        return np.clip(value, low, high).astype(RAW[SIZE[dtype]])
    return encode(value.astype(np.float64), dtype)


def round32(value):
    """float64 -> nearest fp32 value, as float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(value, np.float64).astype(np.float32).astype(np.float64)
