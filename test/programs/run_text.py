#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The programs of this folder: text to NEFF with `opennrt asm`, executed through libnrt, compared
with NumPy.

  run_text.py OPENNRT NEFF_DRIVER [--only NAME]

Each is printed by `opennrt disasm` and assembled again too: both files must do the same.
"""
import argparse
import glob
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from seed import seed_take  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
INSTANCE = {"trn1": "trn1.2xlarge", "trn2": "trn2.3xlarge", "trn3": "trn3-gen1-ultraserver"}
ALL = ("trn1", "trn2", "trn3")


class Run:
    def __init__(self, name, program, inputs, outputs, defines=None, archs=ALL, lnc=1, status="0"):
        self.name, self.program, self.inputs, self.outputs = name, program, inputs, outputs
        self.defines, self.archs, self.lnc, self.status = defines or {}, archs, lnc, status


def close(want, rel=1e-5, abs_=1e-6):
    return lambda got: np.allclose(got, want, rtol=rel, atol=abs_)


def same(want):
    return lambda got: np.array_equal(got, want)


def softmax(rng, rows, cols):
    x = rng.standard_normal((rows, cols)).astype(np.float32) * 4
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    y = e / e.sum(1, keepdims=True)
    return Run(f"softmax {rows}x{cols}", "softmax", {"x": x},
               {"y": ((rows, cols), np.float32, close(y))}, {"ROWS": rows, "COLS": cols})


def add(rng, rows, cols):
    a, b = (rng.standard_normal((rows, cols)).astype(np.float32) for _ in range(2))
    return Run(f"add {rows}x{cols}", "add", {"a": a, "b": b},
               {"c": ((rows, cols), np.float32, same(a + b))}, {"ROWS": rows, "COLS": cols})


def layernorm(rng, rows, cols):
    x = (rng.standard_normal((rows, cols)) * 3 + 5).astype(np.float32)
    g, b = (rng.standard_normal(cols).astype(np.float32) for _ in range(2))
    d = x.astype(np.float64)
    y = (d - d.mean(1, keepdims=True)) / np.sqrt(d.var(1, keepdims=True) + 1e-5) * g + b
    return Run(f"layernorm {rows}x{cols}", "layernorm", {"x": x, "gamma": g, "beta": b},
               {"y": ((rows, cols), np.float32, close(y, 1e-4, 1e-4))},
               {"ROWS": rows, "COLS": cols})


def embed(rng, tokens, vocab, dim):
    ids = rng.integers(-3, vocab + 3, (tokens, 1)).astype(np.int32)
    table = rng.standard_normal((vocab, dim)).astype(np.float32)
    y = np.full((tokens, dim), -1, np.float32)
    ok = ((ids >= 0) & (ids < vocab))[:, 0]
    y[ok] = table[ids[ok, 0]]
    return Run(f"embed {tokens} of {vocab}x{dim}", "embed", {"ids": ids, "table": table},
               {"y": ((tokens, dim), np.float32, same(y))},
               {"TOKENS": tokens, "VOCAB": vocab, "DIM": dim})


def loop(rng, n, cols):
    x = rng.integers(-9, 9, (n, 128, cols)).astype(np.float32)
    return Run(f"loop {n}", "loop", {"x": x},
               {"total": ((128, cols), np.float32, same(x.sum(0))),
                "count": ((1, 1), np.int32, same(np.array([[n]])))}, {"N": n, "COLS": cols})


def topk(rng, rows, cols, k):
    x = rng.integers(0, 50, (rows, cols)).astype(np.float32)  # many equal values
    order = np.argsort(-x, 1, kind="stable")[:, :k]
    values = np.take_along_axis(x, order, 1)
    # of equal values in one round the replaced ones are the first: the order is the stable one
    return Run(f"topk {k} of {rows}x{cols}", "topk", {"x": x},
               {"values": ((rows, k), np.float32, same(values)),
                "indices": ((rows, k), np.uint32, same(order)),
                "argmax": ((rows, 1), np.uint32, same(order[:, :1]))},
               {"ROWS": rows, "COLS": cols, "K": k})


def matmul(rng, m, k, n):
    a, b = (rng.integers(-8, 8, s).astype(np.float32) for s in ((m, k), (k, n)))
    return Run(f"matmul {m}x{k}x{n}", "matmul", {"a": a, "b": b},
               {"c": ((m, n), np.float32, same(a @ b))},
               {"M": m, "K": k, "N": n, "DT": "f32"})


def pair(rng, cols):
    x = rng.integers(-9, 9, (256, cols)).astype(np.float32)
    sums = np.stack([x[:128].sum(0), x[128:].sum(0)])
    return Run("pair", "pair", {"x": x}, {"sums": ((2, cols), np.float32, same(sums)),
                                          "y": ((256, cols), np.float32, same(x - sums.sum(0)))},
               {"COLS": cols}, ("trn2",), 2)


def hang(rng):
    x = rng.standard_normal((128, 64)).astype(np.float32)
    return Run("hang", "hang", {"x": x}, {"y": ((128, 64), np.float32, lambda got: True)},
               status="5")


def runs(rng):
    return [add(rng, 256, 512), add(rng, 200, 33), softmax(rng, 128, 512), softmax(rng, 5, 7),
            layernorm(rng, 128, 1024), layernorm(rng, 64, 700), embed(rng, 128, 1000, 64),
            embed(rng, 3, 5, 8), loop(rng, 6, 64), loop(rng, 2, 16), topk(rng, 64, 300, 16),
            topk(rng, 128, 40, 24), matmul(rng, 128, 384, 512), matmul(rng, 17, 130, 9),
            pair(rng, 256), hang(rng)]


def assemble(tool, source, out, arch, defines):
    args = [tool, "asm", source, "-o", out, "--arch", arch]
    for k, v in defines.items():
        args += ["-D", f"{k}={v}"]
    subprocess.run(args, check=True)


def execute(driver, run, neff, arch, tmp):
    """The status that the driver prints, and the outputs."""
    lines = [f"neff {neff}"]
    for name, data in run.inputs.items():
        data.tofile(f"{tmp}/{name}.in")
        lines.append(f"in {name} {tmp}/{name}.in")
    for name, (shape, dtype, _) in run.outputs.items():
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        lines.append(f"out {name} {size} {tmp}/{name}.out")
    with open(f"{tmp}/list", "w") as f:
        f.write("\n".join(lines + ["run"]) + "\n")
    instance = f"text{os.getpid()}"
    env = dict(os.environ, OPENNRT_INSTANCE_TYPE=INSTANCE[arch], OPENNRT_INSTANCE=instance,
               NEURON_RT_NUM_CORES="1", NEURON_LOGICAL_NC_CONFIG=str(run.lnc))
    done = subprocess.run([driver, f"{tmp}/list"], env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    for root in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR", "/tmp"), "/tmp"):
        for path in glob.glob(os.path.join(root, f"opennrt-{os.getuid()}-{instance}")):
            shutil.rmtree(path, ignore_errors=True)
    if done.returncode:
        return f"driver {done.returncode}: {done.stderr[-2000:]}", {}, done.stderr
    got = {}
    if done.stdout.strip() == "0":
        for name, (shape, dtype, _) in run.outputs.items():
            got[name] = np.fromfile(f"{tmp}/{name}.out", dtype).reshape(shape)
    return done.stdout.strip(), got, done.stderr


def try_run(args, run, arch, tmp):
    wrong = []
    first = f"{tmp}/first.neff"
    assemble(args.opennrt, f"{HERE}/{run.program}.nasm", first, arch, run.defines)
    text = subprocess.run([args.opennrt, "disasm", first], check=True, stdout=subprocess.PIPE)
    with open(f"{tmp}/again.nasm", "wb") as f:
        f.write(text.stdout)
    assemble(args.opennrt, f"{tmp}/again.nasm", f"{tmp}/again.neff", arch, {})
    for neff in ("first", "again"):
        status, got, log = execute(args.driver, run, f"{tmp}/{neff}.neff", arch, tmp)
        if status != run.status:
            wrong.append(f"{neff}: status {status}, not {run.status}: {log[-1500:]}")
        for name, data in got.items():
            if not run.outputs[name][2](data):
                wrong.append(f"{neff}: output {name} is wrong")
        if run.program == "hang" and neff == "first":
            for part in ("hang.nasm:17 stuck", "semaphore 3 >= 17, value 16"):
                if part not in log:
                    wrong.append(f"the report of the hang does not say {part}: {log[-1500:]}")
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("opennrt")
    parser.add_argument("driver")
    parser.add_argument("--only")
    args = parser.parse_args()
    bad = 0
    for run in runs(np.random.default_rng(seed_take())):
        if args.only and args.only not in run.name:
            continue
        for arch in run.archs:
            with tempfile.TemporaryDirectory() as tmp:
                wrong = try_run(args, run, arch, tmp)
            print(f"{run.name} on {arch}: {'; '.join(wrong) or 'ok'}", flush=True)
            bad += bool(wrong)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
