# SPDX-License-Identifier: Apache-2.0
"""Compares the memories of the C core with those of the oracle."""
import numpy as np

import dtypes
import values as val


def _value(raw, dtype):
    if dtypes.is_int(dtype):
        return dtypes.decode_int(raw, dtype).astype(np.float64)
    return dtypes.decode(raw, dtype)


def check_bounded(check, data, base):
    """Whether each bounded cell lies between its converted bounds; returns (ok, actual values)."""
    size = dtypes.SIZE[check.dtype]
    cols = (check.addr - base)[:, None] + np.arange(size)[None, :]
    raw = np.ascontiguousarray(data[check.part[:, None], cols]).view(dtypes.RAW[size])[:, 0]
    got = _value(raw, check.dtype)
    low = _value(dtypes.encode(check.low, check.dtype), check.dtype)
    high = _value(dtypes.encode(check.high, check.dtype), check.dtype)
    unknown = val.is_any((check.low, check.high))
    if check.dtype == dtypes.BOOL:
        low = np.where((check.low <= 0) & (check.high >= 0) & (check.low != check.high), 0, low)
        low, high = np.minimum(low, high), np.maximum(low, high)
    ok = (got >= low) & (got <= high)
    ok |= np.isnan(got) & np.isnan(low) & np.isnan(high)
    exact = (check.low == check.high) & (got == 0)
    if check.strict_zero and dtypes.is_float(check.dtype):
        ok &= ~exact | (np.signbit(got) == np.signbit(low))
    return ok | unknown, got


def differences(core, got):
    """Texts about what is wrong; got: {memory: uint8 [128, size]} after the run."""
    out = []
    for mem, window in core.mem.items():
        loose = core.unknown[mem].copy()
        for check in core.checks:
            if check.mem != mem:
                continue
            for b in range(dtypes.SIZE[check.dtype]):
                loose[check.part, check.addr - window.base + b] = True
            ok, actual = check_bounded(check, got[mem], window.base)
            for i in np.flatnonzero(~ok)[:3]:
                out.append(f"memory {mem} partition {check.part[i]} byte {check.addr[i]} "
                           f"{dtypes.NAME[check.dtype]}: got {actual[i]!r}, wanted "
                           f"[{check.low[i]!r}, {check.high[i]!r}]")
            if (~ok).sum() > 3:
                out.append(f"... {(~ok).sum()} such cells")
        wrong = (window.data != got[mem]) & ~loose
        for p, c in np.argwhere(wrong)[:3]:
            out.append(f"memory {mem} partition {p} byte {c + window.base}: got "
                       f"{got[mem][p, c]:#04x}, wanted {window.data[p, c]:#04x}")
        if wrong.sum() > 3:
            out.append(f"... {wrong.sum()} such bytes in memory {mem}")
    return out
