#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random DMA descriptors of every op and type through libnrt, against the interpreter.

  run_dma.py DRIVER [--cases n] [--only case]

ORACLE_CASES (500) counts descriptors; a NEFF holds 25 of them, each with tensors of its own.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

import dtypes as dt
import neffwrite
from builder import Builder
from machine import Machine
from neuroncore import Window
from proves import proves
from records import PSUM, SBUF, SP, Record
from run_programs import remove_instance, tensor_list

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from seed import seed_take  # noqa: E402

PER_NEFF = 25
TYPES = [dt.E3M4, dt.E4M3, dt.E5M2, dt.FP16, dt.FP32, dt.FP32R, dt.BF16, dt.UINT8, dt.UINT16,
         dt.UINT32, dt.UINT64, dt.INT8, dt.INT16, dt.INT32, dt.INT64]
OPS = ["copy", "cast", "add", "min", "max", "fma", "transpose"]
OP_IDS = dict(zip(OPS, range(98, 105)))
TYPE_IDS = dict(zip(TYPES, range(105, 120)))


class Draw(Builder):
    """Patterns in bytes, each in a variable of its own."""

    def __init__(self, rng):
        super().__init__(rng, 3)
        self.variables = {"SB": {"type": "state-buffer", "var_id": 0}}
        self.data = {}              # inputs
        self.outputs = {}           # name: (size, dtype)
        self.seen_types, self.seen_ops, self.negative = set(), set(), False

    def variable(self, kind, size):
        name = f"{kind}{len(self.variables)}"
        self.variables[name] = {"type": kind, "var_id": len(self.variables), "size": size}
        return name

    def side(self, key, kind, size, count, dst):
        """Fields of one side over `count` elements of `size` bytes; the variable's bytes."""
        nums = self.factors(count)
        if len(nums) == 4 and not self.chance(0.4):
            nums = nums[:2] + [nums[2] * nums[3]]
        if self.chance(0.5) and len(nums) < 4:
            nums = [1] + nums       # element by element
        steps = self.steps(nums[1:], dst, 4000) if len(nums) > 1 else []
        run = nums[0]
        steps = [1] + [s * size * run for s in steps]
        sizes = [run * size] + nums[1:]
        low = sum(min(0, s * (n - 1)) for s, n in zip(steps[1:], sizes[1:]))
        high = sum(max(0, s * (n - 1)) for s, n in zip(steps[1:], sizes[1:])) + sizes[0]
        off = -low + int(self.rng.integers(0, 9))
        total = off + high + int(self.rng.integers(0, 9))
        self.negative |= low < 0
        name = self.variable(kind, total)
        return {key: name, key + "_off": off, key + "_steps": steps, key + "_sizes": sizes}, total

    def contents(self, side, key, dtype, total, mode):
        """Typed random values where the pattern reads, random bytes elsewhere."""
        data = self.rng.integers(0, 256, total, dtype=np.uint8)
        at = np.zeros(1, np.int64)
        for s, n in reversed(list(zip(side[key + "_steps"], side[key + "_sizes"]))):
            at = (at[:, None] + s * np.arange(n)[None, :]).ravel()
        at += side[key + "_off"]
        size = dt.SIZE[dtype]
        if size == 8:
            big = self.chance(0.5)
            values = self.rng.integers(-2**62 if big else -1000, 2**62 if big else 1000,
                                       len(at) // size)
            raw = values.astype(np.int64).view(np.uint64)
        else:
            raw = self.raw(dtype, (len(at) // size,), mode)
        data[at] = np.ascontiguousarray(raw).view(np.uint8).ravel()
        self.data[side[key]] = data

    def descriptor(self):
        op = self.pick(OPS)
        self.seen_ops.add(op)
        count = int(self.rng.integers(1, 200))
        if op == "transpose":
            shape = [int(self.rng.integers(1, 7)) for _ in range(self.pick([2, 3, 4]))]
            count = int(np.prod(shape))
            while len(shape) < 4:
                shape.append(1)
        to = self.pick(TYPES)
        modes = ["ints", "unit", "normal", "edges", "mix"]
        if op in ("copy", "transpose"):
            size = dt.SIZE[to]
            desc, total = self.side("from", "input", size, count, False)
            self.contents(desc, "from", dt.UINT8, total, "bits")
            if op == "copy" and self.chance(0.5):
                desc.update(from_dtype=dt.NAME[to], to_dtype=dt.NAME[to])
            if op == "transpose":
                desc.update(transpose_shape=shape, transpose_element_size=size)
                if self.chance(0.3):
                    desc["num_tiling_dimensions"] = 2
            self.compare = None
        else:
            sources, mode = [], self.pick(modes)
            for _ in range(1 if op == "cast" else int(self.rng.integers(1, 17))
                           if self.chance(0.1) else int(self.rng.integers(1, 4))):
                dtype = self.pick(TYPES)
                self.seen_types.add(dtype)
                part, total = self.side("from", "input", dt.SIZE[dtype], count, False)
                part["from_dtype"] = dt.NAME[dtype]
                self.contents(part, "from", dtype, total, mode)
                sources.append(part)
            desc = dict(sources[0]) if op == "cast" else {"from_arr": sources}
            desc["to_dtype"] = dt.NAME[to]
            self.seen_types.add(to)
            if op == "fma":
                desc["scale_dtype"] = "float32"
                desc["scale"] = [float(np.float32(self.rng.normal())) for _ in sources]
            if op in ("min", "max") and self.chance(0.5):
                kind = self.pick(["float32", "int32", "uint32"])
                desc["constant_dtype"] = kind
                desc["constant"] = 1.5 if kind == "float32" else int(self.rng.integers(0, 1000))
            self.compare = to
        desc["op"] = op
        side, total = self.side("to", "output", dt.SIZE[to], count, True)
        desc.update(side)
        self.outputs[side["to"]] = (total, self.compare)
        return desc


def build(rng, count):
    draw = Draw(rng)
    groups = [{"id": i, "queue": "q", "semaphore": 1, "desc": [draw.descriptor()]}
              for i in range(count)]
    program = [Record("dma_trigger", SP, imm=i) for i in range(count)]
    program.append(Record("end", SP))
    queues = {"q": {"type": "data", "owner": "sp", "num_queues": int(rng.integers(1, 17))}}
    return draw, {SP: program}, {SP: groups}, queues


def expected(draw, programs, groups, queues):
    arrays = {}
    for name, var in draw.variables.items():
        data = None if name == "SB" else draw.data.get(name, np.zeros(var.get("size", 0), np.uint8))
        arrays[name] = (var["var_id"], data)
    windows = {SBUF: Window(0, np.zeros((128, 16), np.uint8)),
               PSUM: Window(0, np.zeros((128, 16), np.uint8))}
    machine = Machine(3, windows, programs, groups, {q: d["num_queues"] for q, d in queues.items()},
                      arrays)
    with np.errstate(all="ignore"):
        machine.run(np.random.default_rng(0))
    return {n: machine.names[n][1] for n in draw.outputs}


def same(desc, want, got, dtype):
    """Bytes outside the pattern are equal; elements as bits, any NaN, zeros of either sign."""
    if np.array_equal(want, got):
        return True
    if dtype is None or not dt.is_float(dtype):
        return False
    at = np.zeros(1, np.int64)
    for s, n in reversed(list(zip(desc["to_steps"], desc["to_sizes"]))):
        at = (at[:, None] + s * np.arange(n)[None, :]).ravel()
    at += desc["to_off"]
    outside = np.ones(len(want), bool)
    outside[at] = False
    raw = dt.RAW[dt.SIZE[dtype]]
    a, b = (dt.decode(np.ascontiguousarray(x[at]).view(raw), dtype) for x in (want, got))
    return np.array_equal(want[outside], got[outside]) and bool(
        np.all((a == b) | (np.isnan(a) & np.isnan(b))))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--cases", type=int, default=int(os.environ.get("ORACLE_CASES", "500")))
    parser.add_argument("--only", type=int, help="number of the NEFF")
    args = parser.parse_args()
    seed = seed_take()
    neffs = [args.only] if args.only is not None else range(-(-args.cases // PER_NEFF))
    print(f"{len(neffs) * PER_NEFF} descriptors", flush=True)
    bad, ops, types, negative = 0, set(), set(), False
    with tempfile.TemporaryDirectory() as tmp:
        made, lines = [], []
        for i in neffs:
            draw, programs, groups, queues = build(np.random.default_rng([seed, i]), PER_NEFF)
            base = os.path.join(tmp, f"d{i}")
            neffwrite.write(base + ".neff", 3, programs, groups, queues, draw.variables, {},
                            (tensor_list({n: len(d) for n, d in draw.data.items()}),
                             tensor_list({n: s for n, (s, _) in draw.outputs.items()})))
            lines.append(f"neff {base}.neff")
            for name, data in draw.data.items():
                data.tofile(f"{base}.{name}.in")
                lines.append(f"in {name} {base}.{name}.in")
            lines += [f"out {n} {s} {base}.{n}.out" for n, (s, _) in draw.outputs.items()]
            lines.append("run")
            made.append((i, base, draw, programs, groups, queues))
        with open(os.path.join(tmp, "list"), "w") as f:
            f.write("\n".join(lines) + "\n")
        name = f"oracledma{os.getpid()}"
        env = dict(os.environ, OPENNRT_INSTANCE_TYPE="trn2.3xlarge", OPENNRT_INSTANCE=name,
                   NEURON_RT_NUM_CORES="1", NEURON_LOGICAL_NC_CONFIG="1")
        done = subprocess.run([args.driver, os.path.join(tmp, "list")], env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        remove_instance(name)
        statuses = done.stdout.split()
        if done.returncode != 0 or len(statuses) != len(made):
            print(done.stderr[-3000:])
            sys.exit(f"driver ended with {done.returncode}")
        for (i, base, draw, programs, groups, queues), status in zip(made, statuses):
            if status != "0":
                bad += 1
                print(f"  NEFF {i}: status {status}")
                continue
            want = expected(draw, programs, groups, queues)
            for group in groups[SP]:
                desc = group["desc"][0]
                got = np.fromfile(f"{base}.{desc['to']}.out", np.uint8)
                if not same(desc, want[desc["to"]], got, draw.outputs[desc["to"]][1]):
                    bad += 1
                    if bad < 6:
                        print(f"  NEFF {i} group {group['id']}: {desc}")
            ops |= draw.seen_ops
            types |= draw.seen_types
            negative |= draw.negative
    print(f"{bad} wrong")
    if bad:
        sys.exit(1)
    for op in ops:
        proves(f"neff-{OP_IDS[op]:03}", __file__)
    for t in types:
        proves(f"neff-{TYPE_IDS[t]:03}", __file__)
    if negative:
        proves("neff-120", __file__)


if __name__ == "__main__":
    main()
