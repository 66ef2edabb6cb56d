#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random cases of every instruction through the C core and the oracle.

  run_oracle.py DRIVER [--instr name,name] [--cases n] [--only case] [--math fast|exact]

The number of cases per instruction is ORACLE_CASES (500). A failing case is named, so that
OPENNRT_SEED and --only repeat it.
"""
import argparse
import copy
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np

import cases
import compare
import dtypes
from neuroncore import Core, OutOfBounds
from records import PSUM, SBUF, Record

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from seed import seed_take  # noqa: E402

BATCH = 50
SUCCESS, EXEC_OOB = 0, 1006


def pack_case(case):
    sbuf, psum = case.windows[SBUF], case.windows[PSUM]
    head = struct.pack("<8I", case.gen, len(case.records), case.max_fused, len(case.regs),
                       sbuf.base, sbuf.data.shape[1], psum.base, psum.data.shape[1])
    regs = b"".join(struct.pack("<III", e, n, v) for (e, n), v in case.regs.items())
    return (head + regs + b"".join(r.pack() for r in case.records) + sbuf.data.tobytes()
            + psum.data.tobytes())


def run_driver(driver, batch, math):
    """Feeds a batch to the driver; returns [(status, text, {memory: data})]."""
    with tempfile.TemporaryDirectory() as tmp:
        source, result = os.path.join(tmp, "in"), os.path.join(tmp, "out")
        with open(source, "wb") as f:
            f.write(b"ORC1" + struct.pack("<I", len(batch)))
            for case in batch:
                f.write(pack_case(case))
        done = subprocess.run([driver, source, result, math], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"driver ended with {done.returncode}: {done.stdout}")
        with open(result, "rb") as f:
            data = f.read()
    at, out = 0, []
    for case in batch:
        status, length = struct.unpack_from("<iI", data, at)
        text = data[at + 8:at + 8 + length].decode()
        at += 8 + length
        memories = {}
        for mem in (SBUF, PSUM):
            shape = case.windows[mem].data.shape
            size = shape[0] * shape[1]
            memories[mem] = np.frombuffer(data, np.uint8, size, at).reshape(shape)
            at += size
        out.append((status, text, memories))
    assert at == len(data), "the driver wrote more than expected"
    return out


def describe(rec):
    """The fields of a record that differ from their defaults."""
    plain = Record(rec.op, rec.engine)
    fields = {k: v for k, v in vars(rec).items() if v != getattr(plain, k)}
    return f"{rec.op} engine {rec.engine} " + ", ".join(f"{k}={v}" for k, v in fields.items())


def judge(case, status, text, memories):
    core = Core(case.gen, {m: copy.copy(w) for m, w in case.windows.items()})
    for window in core.mem.values():
        window.data = window.data.copy()
    core.regs = case.regs
    wanted = SUCCESS
    try:
        for rec in case.records:
            core.execute(rec)
    except OutOfBounds:
        wanted = EXEC_OOB
    if status != wanted:
        return [f"status {status} ({text}), wanted {wanted}"]
    if wanted != SUCCESS:
        return []               # outputs are undefined
    return compare.differences(core, memories)


def self_test(driver, seed):
    """Wrong results must be found: the first element written by the last record is damaged. Not all can be:
    damage to a NaN, to a sum of large products or to an element written twice is within what is allowed; over
    many seeds 29 to 40 of 40 are found. A comparison that looks away finds none."""
    for number, name in enumerate(cases.INSTRUCTIONS):
        batch = [cases.generate(name, np.random.default_rng([seed, number, i])) for i in range(40)]
        found = runs = 0
        for case, (status, text, memories) in zip(batch, run_driver(driver, batch, "fast")):
            dst = case.records[-1].t[0]
            if status != SUCCESS:
                continue
            damaged = {m: d.copy() for m, d in memories.items()}
            at = dst.offset - case.windows[dst.mem].base
            damaged[dst.mem][dst.part, at:at + dtypes.SIZE[dst.dtype]] ^= 0x55
            runs += 1
            found += bool(judge(case, status, text, damaged))
        print(f"{name:26s} {found} of {runs} damaged results found", flush=True)
        if found < 0.5 * runs or runs == 0:
            sys.exit(f"{name}: the comparison does not see damage")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--instr")
    parser.add_argument("--cases", type=int, default=int(os.environ.get("ORACLE_CASES", "500")))
    parser.add_argument("--only", type=int)
    parser.add_argument("--math", default="fast", choices=["fast", "exact"])
    parser.add_argument("--show", type=int, default=5, help="failures shown per instruction")
    parser.add_argument("--self-test", action="store_true", help="damage results, see them found")
    args = parser.parse_args()
    if args.self_test:
        self_test(args.driver, 20)
        return
    seed = seed_take()
    names = args.instr.split(",") if args.instr else list(cases.INSTRUCTIONS)
    print(f"{args.cases} cases per instruction, {args.math} math", flush=True)
    failed = 0
    for name in names:
        number = list(cases.INSTRUCTIONS).index(name)
        numbers = [args.only] if args.only is not None else range(args.cases)
        numbers, bad = list(numbers), 0
        for at in range(0, len(numbers), BATCH):
            chosen = numbers[at:at + BATCH]
            batch = [cases.generate(name, np.random.default_rng([seed, number, i])) for i in chosen]
            for i, case, result in zip(chosen, batch, run_driver(args.driver, batch, args.math)):
                wrong = judge(case, *result)
                if wrong:
                    bad += 1
                    if bad <= args.show:
                        print(f"  {name} case {i} (gen {case.gen}):")
                        for rec in case.records:
                            print(f"    {describe(rec)}")
                        for line in wrong:
                            print(f"    {line}")
        print(f"{name:26s} {len(numbers)} cases, {bad} wrong", flush=True)
        failed += bad
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
