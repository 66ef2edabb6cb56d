# SPDX-License-Identifier: Apache-2.0
"""NumPy's side of the benchmarks: reads "<operation> <calls>", prints microseconds per call."""
import math
import sys
import time

import numpy as np

ROWS, COLUMNS = 128, 4096
rng = np.random.default_rng(1)
x = rng.standard_normal((ROWS, COLUMNS), dtype=np.float32)
y = rng.standard_normal((ROWS, COLUMNS), dtype=np.float32)
gamma = rng.standard_normal(COLUMNS, dtype=np.float32)
beta = rng.standard_normal(COLUMNS, dtype=np.float32)
out = np.empty_like(x)


def softmax():
    np.subtract(x, x.max(1, keepdims=True), out=out)
    np.exp(out, out=out)
    np.divide(out, out.sum(1, keepdims=True), out=out)


def layernorm():
    mean = x.mean(1, keepdims=True)
    np.subtract(x, mean, out=out)
    scale = 1 / np.sqrt((out * out).mean(1, keepdims=True) + np.float32(1e-5))
    np.multiply(out, scale, out=out)
    np.multiply(out, gamma, out=out)
    np.add(out, beta, out=out)


def tanh():
    np.tanh(x, out=out)


def gelu():
    """The tanh form: NumPy has no erf."""
    np.multiply(x, x, out=out)
    np.multiply(out, x, out=out)
    np.multiply(out, np.float32(0.044715), out=out)
    np.add(out, x, out=out)
    np.multiply(out, np.float32(math.sqrt(2 / math.pi)), out=out)
    np.tanh(out, out=out)
    np.add(out, np.float32(1), out=out)
    np.multiply(out, x, out=out)
    np.multiply(out, np.float32(0.5), out=out)


def add():
    np.add(x, y, out=out)


def copy():
    """No row: what moving the bytes of tanh costs (docs/benchmarks.md)."""
    np.copyto(out, x)


OPERATIONS = {f.__name__: f for f in (softmax, layernorm, tanh, gelu, add, copy)}
print("ready", flush=True)
for line in sys.stdin:
    name, calls = line.split()
    run = OPERATIONS[name]
    start = time.perf_counter()
    for _ in range(int(calls)):
        run()
    print((time.perf_counter() - start) * 1e6 / int(calls), flush=True)
