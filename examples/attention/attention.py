#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The NumPy reference of attention.nasm.

  attention.py inputs DIR     writes DIR/q.bin, k.bin, v.bin (float32 [256, 64])
  attention.py check DIR      compares DIR/o.out with the reference; ends with 1 if it is off
"""
import os
import sys

import numpy as np

S, D = 256, 64
TOLERANCE = 2e-6


def inputs():
    rng = np.random.default_rng(7)
    return [rng.standard_normal((S, D), dtype=np.float32) for _ in range(3)]


def head(q, k, v):
    """In float64, so that only the device rounds."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    scores = q @ k.T / np.sqrt(D)
    scores = np.where(np.arange(S)[:, None] >= np.arange(S)[None, :], scores, -np.inf)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights @ v / weights.sum(1, keepdims=True)


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("inputs", "check"):
        sys.exit(__doc__)
    where = sys.argv[2]
    if sys.argv[1] == "inputs":
        os.makedirs(where, exist_ok=True)
        for name, x in zip("qkv", inputs()):
            x.tofile(os.path.join(where, name + ".bin"))
        return
    got = np.fromfile(os.path.join(where, "o.out"), np.float32).reshape(S, D)
    error = np.abs(got - head(*inputs())).max()
    print(f"attention of {S} tokens: largest difference from the NumPy reference {error:.1e}")
    sys.exit(0 if error < TOLERANCE else 1)


if __name__ == "__main__":
    main()
