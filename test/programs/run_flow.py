#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random texts of loops, conditions, scopes, macros and register arithmetic do what docs/isa.md section 6 says.

  run_flow.py OPENNRT NEFF_DRIVER [--count N]

Each statement is drawn as text together with what it does to the registers and to the output `o`; both results are
compared. Every text is one engine's program and ends for certain.
"""
import argparse
import glob
import operator
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from seed import seed_take  # noqa: E402

CELLS = 64  # elements of o
MASK = 0xffffffff
MOST = 3000  # bodies that a run passes through; a longer one is left out
COMPARE = {"<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">=": operator.ge, ">": operator.gt}


def signed(x):
    x &= MASK
    return x - (1 << 32) if x >> 31 else x


ALU = {"+": operator.add, "-": operator.sub, "*": operator.mul, "&": operator.and_, "|": operator.or_, "^": operator.xor,
       "<<": lambda x, y: x << y, ">>": lambda x, y: x >> y, ">>>": lambda x, y: signed(x) >> y,
       "min": lambda x, y: min(signed(x), signed(y)), "max": lambda x, y: max(signed(x), signed(y))}


class TooLong(Exception):
    pass


class Scope:
    """What a statement may name: registers (those in kept are read only) and constants with their values."""

    def __init__(self, regs, kept=frozenset(), consts=()):
        self.regs, self.kept, self.consts = regs, kept, consts

    def having(self, reg=None, kept=False, const=None):
        return Scope(self.regs + ([reg] if reg else []), self.kept | ({reg} if kept else set()),
                     self.consts + ((const,) if const else ()))

    def written(self):
        return [r for r in self.regs if r not in self.kept]


class State(dict):
    """Registers by name, and the output."""

    def __init__(self, regs):
        super().__init__({r: 0 for r in regs})
        self.out, self.passed = [0] * CELLS, 0


class Draw:
    """Each method appends its lines to `lines` and gives back what they do to a State."""

    def __init__(self, rnd):
        self.rnd, self.lines, self.names = rnd, [], 0

    def name(self, letter):
        self.names += 1
        return f"{letter}{self.names}"

    def number(self):
        r = self.rnd
        return r.choice([0, 1, 2, -1, 7, -3, r.randint(-50, 50), r.randint(-2**31, 2**31 - 1)])

    def value(self, scope):
        """Text of a register, a constant or an expression, and how to get its value."""
        if self.rnd.random() < .5:
            reg = self.rnd.choice(scope.regs)
            return reg, lambda st: st[reg]
        if scope.consts and self.rnd.random() < .4:
            const, v = self.rnd.choice(scope.consts)
            return const, lambda st: v & MASK
        v = self.number()
        return self.rnd.choice([f"({v})", f"({v - 5} + 5)", f"({v + 3} - 3)"]), lambda st: v & MASK

    def condition(self, scope):
        reg, op = self.rnd.choice(scope.regs), self.rnd.choice(list(COMPARE))
        text, get = self.value(scope)
        return f"{reg} {op} {text}", lambda st: COMPARE[op](signed(st[reg]), signed(get(st)))

    def block(self, scope, depth, indent, most):
        parts = [self.statement(scope, depth, indent) for _ in range(self.rnd.randint(1, most))]

        def do(st):
            st.passed += 1
            if st.passed > MOST:
                raise TooLong
            for part in parts:
                part(st)
        return do

    def line(self, indent, text):
        self.lines.append("  " * indent + text)

    # ---- statements of one line ----

    def move(self, scope, indent):
        reg = self.rnd.choice(scope.written())
        text, get = self.value(scope)
        self.line(indent, f"{reg} = {text}")
        return lambda st: st.__setitem__(reg, get(st))

    def compute(self, scope, indent):
        reg, left, op = self.rnd.choice(scope.written()), self.rnd.choice(scope.regs), self.rnd.choice(list(ALU))
        text, get = self.value(scope)
        if ">" in op or "<" in op:
            count = self.rnd.randint(0, 31)
            text, get = str(count), lambda st: count
        self.line(indent, f"{reg} = {left} {op} {text}")
        return lambda st: st.__setitem__(reg, ALU[op](st[left], get(st)) & MASK)

    def accumulate(self, scope, indent):
        reg, sign = self.rnd.choice(scope.written()), self.rnd.choice([1, -1])
        text, get = self.value(scope)
        self.line(indent, f"{reg} {'+' if sign > 0 else '-'}= {text}")
        return lambda st: st.__setitem__(reg, (st[reg] + sign * get(st)) & MASK)

    def store(self, scope, indent):
        cell, reg = self.rnd.randrange(CELLS), self.rnd.choice(scope.regs)
        self.line(indent, f"store o[{cell}], {reg}")
        return lambda st: st.out.__setitem__(cell, st[reg])

    def load(self, scope, indent):
        cell, reg = self.rnd.randrange(CELLS), self.rnd.choice(scope.written())
        self.line(indent, f"{reg} = load(o[{cell}])")
        return lambda st: st.__setitem__(reg, st.out[cell])

    # ---- statements with blocks ----

    def loop(self, scope, depth, indent):
        var, first, step = self.name("v"), self.rnd.randint(-3, 5), self.rnd.choice([1, 1, 2, 3])
        end = first + self.rnd.randint(-2, 6)
        text, begin, get = str(end), lambda st: None, lambda st: end
        if self.rnd.random() < .4:
            bound, reg = self.name("q"), self.rnd.choice(scope.regs)
            self.line(indent, f"reg {bound}")
            self.line(indent, f"{bound} = {reg} & 7")
            text, begin, get = bound, lambda st: st.__setitem__(bound, st[reg] & 7), lambda st: st[bound]
        self.line(indent, f"for {var} in {first}..{text} step {step} {{")
        body = self.block(scope.having(var, True), depth - 1, indent + 1, 3)
        self.line(indent, "}")

        def do(st):
            begin(st)
            st[var] = first & MASK
            while signed(st[var]) < get(st):
                body(st)
                st[var] = (st[var] + step) & MASK
        return do

    def countdown(self, scope, depth, indent):
        reg, count = self.name("c"), self.rnd.randint(0, 5)
        self.line(indent, f"reg {reg}")
        self.line(indent, f"{reg} = {count}")
        self.line(indent, f"while {reg} > 0 {{")
        body = self.block(scope.having(reg, True), depth - 1, indent + 1, 3)
        self.line(indent + 1, f"{reg} -= 1")
        self.line(indent, "}")

        def do(st):
            st[reg] = count
            while st[reg]:
                body(st)
                st[reg] -= 1
        return do

    def choice(self, scope, depth, indent):
        arms = []
        for k in range(self.rnd.randint(1, 3)):
            text, holds = self.condition(scope)
            self.line(indent, f"{'} else ' if k else ''}if {text} {{")
            arms.append((holds, self.block(scope, depth - 1, indent + 1, 3)))
        if self.rnd.random() < .6:
            self.line(indent, "} else {")
            arms.append((lambda st: True, self.block(scope, depth - 1, indent + 1, 3)))
        self.line(indent, "}")

        def do(st):
            for holds, body in arms:
                if holds(st):
                    return body(st)
            return None
        return do

    def constant_choice(self, scope, depth, indent):
        left, right = self.rnd.randint(1, 2), self.rnd.randint(1, 2)
        self.line(indent, f"if {left} == {right} {{")
        yes = self.block(scope, depth - 1, indent + 1, 2)
        self.line(indent, "} else {")
        no = self.block(scope, depth - 1, indent + 1, 2)
        self.line(indent, "}")
        return yes if left == right else no

    def repetition(self, scope, depth, indent):
        var, first, step = self.name("k"), self.rnd.randint(-2, 3), self.rnd.choice([1, 2])
        end, cell = first + self.rnd.randint(0, 3), self.rnd.randint(4, 20)
        reg = self.rnd.choice(scope.written())
        self.line(indent, f"repeat {var} in {first}..{end} step {step} {{")
        body = self.block(scope, depth - 2, indent + 1, 2)
        self.line(indent + 1, f"{reg} += {var}")
        self.line(indent + 1, f"store o[{cell} + {var}], {reg} }}")

        def do(st):
            for k in range(first, end, step):
                body(st)
                st[reg] = (st[reg] + k) & MASK
                st.out[cell + k] = st[reg]
        return do

    def scope(self, scope, depth, indent):
        reg, v, const, w = self.name("z"), self.number(), self.name("N"), self.number()
        self.line(indent, "{")
        self.line(indent + 1, f"reg {reg}")
        self.line(indent + 1, f"{reg} = {v}")
        self.line(indent + 1, f"const {const} = {w}")
        body = self.block(scope.having(reg, const=(const, w)), depth - 1, indent + 1, 3)
        self.line(indent, "}")

        def do(st):
            st[reg] = v & MASK
            body(st)
        return do

    def macro(self, scope, _depth, indent):
        name, reg, cell = self.name("m"), self.rnd.choice(scope.written()), self.rnd.randrange(CELLS)
        self.line(indent, "{")
        self.line(indent + 1, f"macro {name}(x, y) {{ y = y + x")
        self.line(indent + 2, f"store o[{cell}], y }}")
        text, get = self.value(scope)
        self.line(indent + 1, f"{name}({text}, {reg}) }}")

        def do(st):
            st[reg] = (st[reg] + get(st)) & MASK
            st.out[cell] = st[reg]
        return do

    def statement(self, scope, depth, indent):
        plain = [self.move, self.compute, self.compute, self.accumulate, self.store, self.store, self.load]
        nested = [self.loop, self.loop, self.countdown, self.choice, self.choice, self.constant_choice, self.repetition,
                  self.scope, self.macro]
        if depth > 0 and self.rnd.random() < .5:
            return self.rnd.choice(nested)(scope, depth, indent)
        return self.rnd.choice(plain)(scope, indent)


def draw(rnd):
    """A text and what o holds when it has run."""
    d, regs = Draw(rnd), [f"a{i}" for i in range(rnd.randint(2, 5))]
    d.lines = [f"var o: output i32[{CELLS}]", "const K0 = 5", "reg " + ", ".join(regs),
               rnd.choice(["sp", "pe", "act", "pool", "dve"]) + ":"]
    parts = [d.statement(Scope(regs, consts=(("K0", 5),)), 3, 1) for _ in range(rnd.randint(3, 8))]
    st = State(regs)
    for part in parts:
        part(st)
    for i, reg in enumerate(regs):
        d.line(1, f"store o[{i}], {reg}")
        st.out[i] = st[reg]
    return "\n".join(d.lines) + "\n", [x & MASK for x in st.out]


def run(args, texts, tmp):
    """What o held after each."""
    instance, lines = f"flow{os.getpid()}", []
    for i, text in enumerate(texts):
        with open(f"{tmp}/{i}.nasm", "w", encoding="ascii") as f:
            f.write(text)
        subprocess.run([args.opennrt, "asm", f"{tmp}/{i}.nasm", "-o", f"{tmp}/{i}.neff"], check=True)
        lines += [f"neff {tmp}/{i}.neff", f"out o {4 * CELLS} {tmp}/{i}.out", "run"]
    with open(f"{tmp}/list", "w", encoding="ascii") as f:
        f.write("\n".join(lines) + "\n")
    env = dict(os.environ, OPENNRT_INSTANCE_TYPE="trn1.2xlarge", OPENNRT_INSTANCE=instance, NEURON_RT_NUM_CORES="1")
    done = subprocess.run([args.driver, f"{tmp}/list"], env=env, text=True, capture_output=True, check=False)
    for root in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR", "/tmp"), "/tmp"):
        for path in glob.glob(os.path.join(root, f"opennrt-{os.getuid()}-{instance}")):
            shutil.rmtree(path, ignore_errors=True)
    if done.returncode or done.stdout.split() != ["0"] * len(texts):
        sys.exit(f"driver {done.returncode}: {done.stdout[-500:]} {done.stderr[-2000:]}")
    for i in range(len(texts)):
        with open(f"{tmp}/{i}.out", "rb") as f:
            yield list(struct.unpack(f"<{CELLS}I", f.read()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("opennrt")
    parser.add_argument("driver")
    parser.add_argument("--count", type=int, default=60)
    args = parser.parse_args()
    rnd, drawn, bad = random.Random(seed_take()), [], 0
    while len(drawn) < args.count:
        try:
            drawn.append(draw(rnd))
        except TooLong:
            pass
    with tempfile.TemporaryDirectory() as tmp:
        for got, (text, want) in zip(run(args, [t for t, _ in drawn], tmp), drawn):
            for cell in range(CELLS):
                if got[cell] != want[cell]:
                    print(f"{text}; o[{cell}] is {got[cell]}, not {want[cell]}")
                    bad += 1
                    break
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
