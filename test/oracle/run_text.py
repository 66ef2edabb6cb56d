#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs as text, written from docs/isa.md, must assemble to the bytes that docs/isa.md gives them.

  run_text.py OPENNRT docs/isa.md [--cases n]

The records are those of the oracle's cases (packed by records.py) with waits, updates and sequencer records drawn
here. The text is made from the page: which operands a function takes, in which order and under which names, and what
the operators, functions and types are called is read from its tables. So it is the page that is on trial, not only
the assembler: what it does not say cannot be written here. ORACLE_CASES sets the number of cases of each instruction
(a twentieth of them), OPENNRT_SEED the seed.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

import cases
from records import ACTS, ALU, NO_REG, REDUCE_CMD, REG_OPS, SBUF, Record, Tensor, Update, Wait

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from seed import seed_take  # noqa: E402

ENGINE = "pe dve act pool sp".split()
MEM = ["", "sbuf", "psum"]


# ---- the page ----

def enumerators(page, title):
    """{number: name} of a list `0 none, 1 bypass, ...` of section 2.3, or of the types of 2.2."""
    text = re.search(r"^%s: (.*?)\.$" % title, page, re.M | re.S).group(1)
    return {int(n): name for n, name in re.findall(r"(\d+) ([a-z]\w*)", text)}


def types(page):
    text = page.split("### 2.2 Data types")[1].split("###")[0]
    return {int(n, 16): name for n, name in re.findall(r"(0x[0-9A-F]+) ([a-z]\w+)", text)}


def parts(cell):
    """The words of a cell, without the brackets around what may be left out."""
    cell = re.sub(r"t\[(\d)\]", r"t\1", cell.split(";")[0])
    cell = re.sub(r" \(\w+ [^()]*\)", "", cell)   # a remark
    return [word.strip() for word in re.sub(r"[\[\]]", "", cell).split(",") if "…" not in word]


class Operand:
    """One word of the table: what the text calls it, and the field of a record that it is."""

    def __init__(self, word, tensors):
        word, self.default = (word.split(" = ") + [None])[:2]
        self.flag = word.startswith("*")
        m = re.fullmatch(r"(?:(s)(\d) |t(\d) )?(\w+)(?: \((\w+)\))?", word.strip("*"))
        scalar, number, tensor, self.name, field = m.groups()
        self.kind, self.field = "field", field or self.name
        if scalar:
            self.kind, self.field = "scalar", int(number)
        elif tensor:
            self.kind, self.field = "tensor", int(tensor)
        elif self.flag or field or self.name in FIELDS:
            pass
        else:
            self.kind, self.field = "tensor", len(tensors)
        if self.kind == "tensor":
            tensors.append(self.field)


FIELDS = {"op0", "op1", "reduce_op", "reduce_cmd", "naxes", "cmp0", "cmp1", "pattern", "mask", "perf_mode", "pe_row",
          "pe_col", "pe_rows", "pe_cols", "index_offset", "padding_val"}


def functions(page):
    """{function: its operands} of the second table of section 4."""
    section = page.split("## 4. The compute body")[1].split("## 5.")[0]
    found = {}
    for names, cell in re.findall(r"^\| ([a-z][\w, ]*) \| (.*) \|$", section.split("| function |")[1], re.M):
        if cell.startswith("the same"):
            found[names] = found[before]
            continue
        tensors = []
        operands = [Operand(word, tensors) for word in parts(cell)]
        for name in names.split(", "):
            found[name] = operands
        before = names
    return found


# ---- the text ----

class Writer:
    def __init__(self, page):
        self.alu, self.act = enumerators(page, "ALU operators"), enumerators(page, "Activation functions")
        # in the order of their numbers, which is that of REG_OPS
        self.regop = re.findall(r'"([^"]+)"', re.search(r"^regop +=(.*)$", page, re.M).group(1))
        self.cmd, self.types, self.functions = enumerators(page, "Reduce commands"), types(page), functions(page)

    def tensor(self, t):
        text = "%s.%s(%d:%d, %d" % (MEM[t.mem], self.types[t.dtype], t.part, t.part + t.nparts, t.offset)
        text += "".join(", [%d,%d]" % dim for dim in reversed(t.dims))
        if t.off_reg != NO_REG:
            text += ", +r%d*%d" % (t.off_reg, t.off_mul)
        return text + ")"

    def scalar(self, s):
        if s.kind == "tile":
            return "%s.%s(%d, %d)" % (MEM[s.mem], self.types[s.dtype], s.part, s.v)
        if s.kind == "reg":
            return "r%d" % s.v
        bits = s.v & 0xffffffff
        return "i32(%d)" % (bits - (bits >> 31 << 32)) if s.kind == "i32" else "bits(0x%x)" % bits

    def pattern(self, p):
        text = "[%s]" % ", ".join("[%d,%d]" % dim for dim in reversed(p.dims))
        offset = "offset=%s" % (p.offset if p.off_reg == NO_REG else "r%d + %d" % (p.off_reg, p.offset))
        return "%s, %s, channel_multiplier=%d" % (text, offset, p.channel_multiplier)

    def field(self, r, name):
        if name in ("op0", "op1", "reduce_op", "cmp0", "cmp1"):
            return self.alu[ALU.index(getattr(r, name))]
        if name == "act":
            return self.act[ACTS.index(r.act)]
        if name == "reduce_cmd":
            return self.cmd[REDUCE_CMD.index(r.reduce_cmd)]
        if name == "mask":
            return "[%s]" % ", ".join(str(b) for b in r.mask)
        if name == "pattern":
            return self.pattern(r.pattern)
        return str({"reverse0": r.reverse & 1, "reverse1": r.reverse >> 1}.get(name, getattr(r, name, 0)))

    def operand(self, r, o):
        """Its text without a name; None: it is absent, or what it is by default."""
        if o.kind == "tensor":
            return self.tensor(r.t[o.field]) if o.field < len(r.t) and r.t[o.field] else None
        if o.kind == "scalar":
            s = r.s[o.field] if o.field < len(r.s) else None
            return self.scalar(s) if s and s.kind != "none" else None
        text = self.field(r, o.field)
        return None if text == (o.default or ("0" if o.flag else None)) else text

    def compute(self, r, rng):
        words, named = [], False
        for o in self.functions[r.op]:
            text = self.operand(r, o)
            if text is None:
                named = True        # what follows says its name
            elif o.flag:
                words.append(o.name if rng.integers(2) else o.name + "=1")
            else:
                named = named or rng.integers(8) == 0
                words.append("%s=%s" % (o.name, text) if named else text)
        return "%s %s" % (r.op, ", ".join(words))

    def sequencer(self, r):
        b = "r%d" % r.rb if r.rb != NO_REG else str(r.imm)
        if r.op == "register_move":
            return "r%d = %s" % (r.rd, b)
        if r.op == "register_alu":
            return "r%d = r%d %s %s" % (r.rd, r.ra, self.regop[REG_OPS.index(r.seq_op)], b)
        if r.op == "register_load":
            return "r%d = load(%s)" % (r.rd, self.tensor(r.place))
        if r.op == "register_store":
            return "store %s, r%d" % (self.tensor(r.place), r.ra)
        if r.op == "branch" and r.seq_op != "always":
            return "if r%d %s %s goto @%d" % (r.ra, CONDS[r.seq_op], b, r.target)
        if r.op == "branch":
            return "goto @%d" % r.target
        if r.op == "sem_range_clear":
            return "sem_range_clear $S[%d], %d" % (r.first, r.count)
        return r.op

    def wait(self, w):
        if w.kind.startswith("event"):
            return ("" if w.kind == "event_set" else "!") + "$E[%d]" % w.index
        return "$S[%d] %s %s" % (w.index, {"sem_ge": ">=", "sem_eq": "=="}[w.kind],
                                 "r%d" % w.reg if w.reg != NO_REG else w.value)

    def update(self, u):
        value = "r%d" % u.reg if u.reg != NO_REG else str(u.value)
        text = {"inc": "$S[%d]++", "dec": "$S[%d]--", "add": "$S[%d] += " + value, "sub": "$S[%d] -= " + value,
                "write": "$S[%d] = " + value, "event_set": "$E[%d] = 1", "event_clear": "$E[%d] = 0"}[u.kind] % u.index
        return ("peer " if u.peer else "") + text + (" @ read" if u.at_read else "")

    def line(self, r, rng):
        body = self.compute(r, rng) if r.op in self.functions else self.sequencer(r)
        if r.waits:
            body = "wait %s: %s" % (", ".join(map(self.wait, r.waits)), body)
        if r.updates:
            body += " -> " + ", ".join(map(self.update, r.updates))
        return body


CONDS = {"lt": "<", "le": "<=", "eq": "==", "ne": "!=", "ge": ">=", "gt": ">"}


# ---- what is drawn here ----

def draw(rng, items):
    return items[int(rng.integers(len(items)))]


def value_of(rng):
    """(value, register)."""
    return (0, int(rng.integers(64))) if rng.integers(3) == 0 else (int(rng.integers(-2**31, 2**31)), NO_REG)


def decorate(r, rng):
    for _ in range(int(rng.integers(0, 5)) if rng.integers(3) else 0):
        kind = draw(rng, ["sem_ge", "sem_eq", "event_set", "event_clear"])
        value, reg = value_of(rng) if kind.startswith("sem") else (0, NO_REG)
        r.waits.append(Wait(kind, int(rng.integers(256)), value, reg))
    for _ in range(int(rng.integers(0, 5)) if rng.integers(3) else 0):
        kind = draw(rng, ["inc", "dec", "add", "sub", "write", "event_set", "event_clear"])
        value, reg = value_of(rng) if kind in ("add", "sub", "write") else (0, NO_REG)
        r.updates.append(Update(kind, int(rng.integers(256)), value, reg, bool(rng.integers(2))))
    return r


def sequencer_record(rng, engine, at):
    def reg():
        return int(rng.integers(64))

    op = draw(rng, ["nop", "drain", "register_move", "register_alu", "register_load", "register_store", "branch",
                    "sem_range_clear"])
    r = Record(op, engine)
    if op in ("register_move", "register_alu", "branch"):
        r.imm, r.rb = value_of(rng)
    if op in ("register_move", "register_alu", "register_load"):
        r.rd = reg()
    if op in ("register_alu", "register_store", "branch"):
        r.ra = reg()
    if op == "register_alu":
        r.seq_op = draw(rng, REG_OPS)
    if op == "branch":
        r.seq_op = draw(rng, ["always"] + list(CONDS))
        r.target = int(rng.integers(at + 1))
        if r.seq_op == "always":
            r.ra = r.imm = 0
    if op in ("register_load", "register_store"):
        r.place = Tensor(SBUF, 0x8, int(rng.integers(128)), 1, 4 * int(rng.integers(1000)), [(1, 1)])
    if op == "sem_range_clear":
        r.first, r.count = int(rng.integers(200)), 1 + int(rng.integers(50))
    return r


def program_of(name, number, seed, n):
    """Cases of one instruction that are of one engine and generation, with sequencer records between them."""
    rng = np.random.default_rng([seed, number])
    case = cases.generate(name, rng)
    engine, gen = case.records[0].engine, case.gen
    records = []
    for i in range(n):
        while case.gen != gen or any(r.engine != engine for r in case.records):
            case = cases.generate(name, rng)
        records += case.records
        records.append(sequencer_record(rng, engine, len(records)))
        case = cases.generate(name, rng)
    return engine, gen, [decorate(r, rng) for r in records] + [Record("end", engine)], rng


# ---- the comparison ----

def assemble(opennrt, text, engine):
    with tempfile.TemporaryDirectory() as tmp:
        source, result = os.path.join(tmp, "in.nasm"), os.path.join(tmp, "out.bin")
        with open(source, "w", encoding="utf-8") as f:
            f.write(text)
        done = subprocess.run([opennrt, "asm", source, "-o", result, "-c", ENGINE[engine]], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            return done.stdout, b""
        with open(result, "rb") as f:
            return "", f.read()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("opennrt")
    parser.add_argument("page")
    parser.add_argument("--cases", type=int, default=max(1, int(os.environ.get("ORACLE_CASES", "500")) // 20))
    args = parser.parse_args()
    seed = seed_take()
    with open(args.page, encoding="utf-8") as f:
        writer = Writer(f.read())
    bad = total = 0
    for number, name in enumerate(cases.INSTRUCTIONS):
        engine, gen, records, rng = program_of(name, number, seed, args.cases)
        lines = [writer.line(r, rng) for r in records]
        text = ".arch v%d\n%s:\n%s\n" % (gen, ENGINE[engine], "\n".join(lines))
        said, got = assemble(args.opennrt, text, engine)
        wanted = b"".join(r.pack() for r in records)
        if said:
            at = re.search(r":(\d+):", said)
            print("%s: %s    %s" % (name, said, lines[int(at.group(1)) - 3] if at else ""))
            bad += 1
        elif got != wanted:
            k = next((i for i in range(len(records)) if got[320 * i:320 * i + 320] != wanted[320 * i:320 * i + 320]),
                     len(records))
            print("%s: record %d of %d differs: %s" % (name, k, len(records), lines[min(k, len(lines) - 1)]))
            print("  wanted %s\n  got    %s" % (wanted[320 * k:320 * k + 320].hex(), got[320 * k:320 * k + 320].hex()))
            bad += 1
        total += len(records)
    print("%d records as text, %d instructions wrong" % (total, bad))
    return 1 if bad or total < len(cases.INSTRUCTIONS) else 0


if __name__ == "__main__":
    sys.exit(main())
