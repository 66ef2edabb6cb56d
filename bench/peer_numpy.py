# SPDX-License-Identifier: Apache-2.0
"""NumPy's side of the benchmarks: reads "op n" lines, answers with the seconds that n runs took.
Each op is written as a careful user would: out= everywhere, no temporary that can be avoided."""
import sys
import time

import numpy as np

P, N = 128, 4096
rng = np.random.default_rng(1)
x = rng.standard_normal((P, N), dtype=np.float32)
y = rng.standard_normal((P, N), dtype=np.float32)
out = np.empty_like(x)
tmp = np.empty_like(x)
gamma = rng.standard_normal(N, dtype=np.float32)
beta = rng.standard_normal(N, dtype=np.float32)


def softmax():
    np.subtract(x, x.max(axis=1, keepdims=True), out=out)
    np.exp(out, out=out)
    np.divide(out, out.sum(axis=1, keepdims=True), out=out)


def layernorm():
    mean = x.mean(axis=1, keepdims=True)
    np.subtract(x, mean, out=out)
    np.multiply(out, out, out=tmp)
    var = tmp.mean(axis=1, keepdims=True)
    np.multiply(out, 1.0 / np.sqrt(var + np.float32(1e-5)), out=out)
    np.multiply(out, gamma, out=out)
    np.add(out, beta, out=out)


def tanh():
    np.tanh(x, out=out)


def gelu():
    # the tanh form: NumPy has no erf
    np.multiply(x, x, out=tmp)
    np.multiply(tmp, x, out=tmp)
    np.multiply(tmp, np.float32(0.044715), out=tmp)
    np.add(tmp, x, out=tmp)
    np.multiply(tmp, np.float32(0.7978845608), out=tmp)
    np.tanh(tmp, out=tmp)
    np.add(tmp, np.float32(1), out=tmp)
    np.multiply(tmp, x, out=out)
    np.multiply(out, np.float32(0.5), out=out)


def add():
    np.add(x, y, out=out)


OPS = {f.__name__: f for f in (softmax, layernorm, tanh, gelu, add)}
for f in OPS.values():
    f()
print("ready", flush=True)
for line in sys.stdin:
    name, n = line.split()
    f = OPS[name]
    t = time.perf_counter()
    for _ in range(int(n)):
        f()
    print(time.perf_counter() - t, flush=True)
