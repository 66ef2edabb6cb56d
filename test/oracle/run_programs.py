#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random programs with semaphores, DMA and loops: libnrt against the sequential interpreter.

  run_programs.py DRIVER [--cases n] [--only case] [--keep DIR] [--races]
                  [--two-cores]

Each program becomes a NEFF (written by neffwrite.py), runs once through the documented API, and its
output tensors are compared with the interpreter's; the interpreter runs it under two orders first.

With --races one wait of each program is taken away. Where the interpreter then gets different results
under different orders, OPENNRT_CHECK=race must report it.

With --recorded everything runs once more with the record of device time, and every bit of the outputs must
be the same; the log has a line of device time for each program.
"""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import dtypes as dt
import neffwrite
import programs
from machine import Hang, run_cores
from neuroncore import OutOfBounds

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from seed import seed_take  # noqa: E402

RACE = "1004"               # NRT_EXEC_COMPLETED_WITH_ERR

INSTANCE = {2: "trn1.2xlarge", 3: "trn2.3xlarge", 4: "trn3-gen1-ultraserver"}


def tensor_list(sizes):
    return [{"name": n, "size": s, "shape": [s], "dtype": "uint8"} for n, s in sizes.items()]


def prepare(program, base):
    """Write NEFF and inputs; the driver's commands."""
    cores = [{"programs": c.records, "groups": c.groups, "queues": c.queues,
              "variables": c.variables,
              "files": {n + ".raw": np.asarray(d).tobytes() for n, d in c.constants.items()}}
             for c in program.cores]
    neffwrite.write_cores(base + ".neff", program.gen, cores,
                          (tensor_list({n: len(d) for n, d in program.inputs.items()}),
                           tensor_list(program.outputs)))
    lines = [f"neff {base}.neff"]
    for name, data in program.inputs.items():
        np.asarray(data, np.uint8).tofile(f"{base}.{name}.in")
        lines.append(f"in {name} {base}.{name}.in")
    for name, size in program.outputs.items():
        lines.append(f"out {name} {size} {base}.{name}.out")
    return lines + ["run"]


def interpret(program, seed):
    """The output bytes under the order that seed draws."""
    machines = program.machines()
    with np.errstate(all="ignore"):
        run_cores(machines, np.random.default_rng(seed))
    arrays = {n: a for m in machines for n, (_, a) in m.names.items()}
    return {n: arrays[n].tobytes() for n in program.outputs}


def expected(program, seed):
    results = [interpret(program, [seed, order]) for order in (1, 2)]
    if results[0] != results[1]:
        sys.exit("the generated program has a race")
    return results[0]


def take_wait(program, seed, tries=12):
    """Remove a wait so that the order matters: True, the program is changed. False: none found."""
    rng = np.random.default_rng([seed, 99])
    waiting = [r for core in program.cores for records in core.records.values() for r in records
               if any(w.kind == "sem_ge" for w in r.waits)]
    for _ in range(min(tries, len(waiting))):
        rec = waiting[int(rng.integers(len(waiting)))]
        if not rec.waits:
            continue
        kept, gone = rec.waits[:], int(rng.integers(len(rec.waits)))
        rec.waits = kept[:gone] + kept[gone + 1:]
        results = set()
        try:
            for order in range(6):
                results.add(tuple(interpret(program, [seed, order]).values()))
        except (Hang, OutOfBounds):
            results = set()             # another fault: not what is asked here
        if len(results) > 1:
            return True
        rec.waits = kept
    return False


def equal(program, name, want, got):
    """Bits, but any NaN and either zero for floats."""
    if want == got:
        return True
    dtype = program.output_dtype.get(name)
    if dtype is None or not dt.is_float(dtype):
        return False
    a, b = (dt.decode(np.frombuffer(x, dt.RAW[dt.SIZE[dtype]]), dtype) for x in (want, got))
    return bool(np.all((a == b) | (np.isnan(a) & np.isnan(b))))


def drive(driver, commands, env):
    """The status of each program."""
    done = subprocess.run([driver, commands], env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    remove_instance(env["OPENNRT_INSTANCE"])
    if done.returncode != 0:
        print(done.stderr[-3000:])
        sys.exit(f"driver ended with {done.returncode} after {len(done.stdout.split())} programs")
    return done.stdout.split()


def outputs(base, program):
    found = {}
    for name in program.outputs:
        with open(f"{base}.{name}.out", "rb") as f:
            found[name] = f.read()
    return found


def recorded(driver, commands, env, made, before):
    """What is wrong with each program when its device time is recorded, by number; before: outputs without."""
    for i, base, program in made:
        for name in program.outputs if i in before else ():
            os.unlink(f"{base}.{name}.out")
    log = commands + ".log"
    statuses = drive(driver, commands, dict(env, OPENNRT_DEVICE_TIME="1", NEURON_RT_LOG_LEVEL="INFO",
                                            NEURON_RT_LOG_LOCATION=log))
    with open(log, encoding="utf-8") as f:
        times = len(re.findall(r": device time (?:0\.\d*[1-9]|[1-9])", f.read()))
    if times != statuses.count("0"):
        sys.exit(f"device time of {times} programs is recorded; {statuses.count('0')} ran")
    wrong = {}
    for (i, base, program), status in zip(made, statuses, strict=True):
        if status != "0":
            wrong[i] = f"recorded: status {status}"
        elif i in before and outputs(base, program) != before[i]:
            wrong[i] = "other bits when recorded"
    return wrong


def remove_instance(name):
    """The folder of an instance that only this test used."""
    for root in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR", "/tmp"), "/tmp"):
        for path in glob.glob(os.path.join(root, f"opennrt-{os.getuid()}-{name}")):
            shutil.rmtree(path, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--cases", type=int, default=int(os.environ.get("ORACLE_CASES", "200")))
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", help="directory for the files")
    parser.add_argument("--races", action="store_true", help="see the head of this file")
    parser.add_argument("--recorded", action="store_true", help="see the head of this file")
    parser.add_argument("--two-cores", action="store_true",
                        help="programs for the two cores of a logical core (LNC 2)")
    args = parser.parse_args()
    seed = seed_take()
    numbers = [args.only] if args.only is not None else range(args.cases)
    print(f"{len(numbers)} programs", flush=True)
    bad = total = 0
    for gen, instance in INSTANCE.items():
        if args.two_cores and gen == 2:
            continue                # logical cores of two exist from trn2 on
        with tempfile.TemporaryDirectory() as tmp:
            tmp = args.keep or tmp
            os.makedirs(tmp, exist_ok=True)
            made, lines = [], []
            for i in numbers:
                if i % 3 == gen - 2:
                    program = programs.generate([seed, i], gen, 2 if args.two_cores else 1)
                    if args.races and not take_wait(program, seed + i):
                        continue
                    base = os.path.join(tmp, f"p{i}")
                    lines += prepare(program, base)
                    made.append((i, base, program))
            if not made:
                continue
            with open(os.path.join(tmp, "list"), "w") as f:
                f.write("\n".join(lines) + "\n")
            name = f"oracle{os.getpid()}g{gen}"
            env = dict(os.environ, OPENNRT_INSTANCE_TYPE=instance, OPENNRT_INSTANCE=name,
                       NEURON_RT_NUM_CORES="1",
                       NEURON_LOGICAL_NC_CONFIG="2" if args.two_cores else "1")
            if args.races:
                env["OPENNRT_CHECK"] = "race"
            statuses = drive(args.driver, os.path.join(tmp, "list"), env)
            if len(statuses) != len(made):
                sys.exit(f"{len(statuses)} of {len(made)} programs")
            got = {} if args.races else {i: outputs(base, program) for (i, base, program), status
                                         in zip(made, statuses) if status == "0"}
            again = recorded(args.driver, os.path.join(tmp, "list"), env, made, got) if args.recorded else {}
            for (i, base, program), status in zip(made, statuses):
                if args.races:
                    wrong = [] if status == RACE else [f"status {status}: the race is not seen"]
                else:
                    wrong = [] if status == "0" else [f"status {status}"]
                    wrong += [again[i]] if i in again else []
                if not wrong and not args.races:
                    want = expected(program, seed)
                    wrong += [f"output {name} differs" for name in program.outputs
                              if not equal(program, name, want[name], got[i][name])]
                if wrong:
                    bad += 1
                    print(f"  program {i} (gen {gen}): " + ", ".join(wrong[:4]))
            total += len(made)
            print(f"generation {gen}: {len(made)} programs", flush=True)
    print(f"{bad} of {total} wrong")
    sys.exit(1 if bad or total == 0 else 0)


if __name__ == "__main__":
    main()
