#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""off_patch.py libnrt.so COPY: a copy whose executions do not ask whether they are traced.

The places that nrt_execute passes are overwritten by instructions that do nothing, of the same length, so that
every other instruction stays at its address: what the library takes more than the copy is what the places cost,
and not what it is worth to a program that it lies elsewhere. x86-64, by objdump. Ends with 1 when a place is not
found, since then the copy would say nothing."""
import re
import subprocess
import sys

NOPS = ["", "90", "6690", "0f1f00", "0f1f4000", "0f1f440000", "660f1f440000", "0f1f8000000000", "0f1f840000000000",
        "660f1f840000000000"]
FUNCTIONS = ["nrt_execute", "api_execute"]


def code(library):
    """Function -> [(address, length, text)]; the text of a shared library lies in the file where it lies in memory."""
    out = subprocess.run(["objdump", "-d", "-w", library], stdout=subprocess.PIPE, check=True, text=True).stdout
    functions, lines = {}, []
    for line in out.splitlines():
        begin = re.match(r"[0-9a-f]+ <(\S+)>:$", line)
        if begin:
            lines = functions.setdefault(begin.group(1), [])
            continue
        parts = line.split("\t")
        if len(parts) == 3:
            lines.append((int(parts[0].strip().rstrip(":"), 16), len(parts[1].split()), parts[2]))
    return functions


def places(name, lines):
    """A word of api_ is loaded, compared with 0, and the way for who is traced lies out of line."""
    for (start, _, load), (_, _, test), (jump, length, target) in zip(lines, lines[1:], lines[2:]):
        loaded = re.match(r"mov +0x[0-9a-f]+\(%\w+\),%(\w+)", load)
        if loaded and re.match(r"test +%{0},%{0}".format(loaded.group(1)), test) and \
                re.match(r"jne +[0-9a-f]+ <{0}\.cold".format(name), target):
            yield start, jump + length


def main():
    library, copy = sys.argv[1:]
    with open(library, "rb") as f:
        data = bytearray(f.read())
    functions = code(library)
    for name in FUNCTIONS:
        found = list(places(name, functions.get(name, [])))
        if len(found) != 1:
            sys.exit(f"off_patch: {len(found)} places in {name}, 1 expected")
        at, end = found[0]
        while at < end:
            nop = bytes.fromhex(NOPS[min(end - at, 9)])
            data[at:at + len(nop)] = nop
            at += len(nop)
    with open(copy, "wb") as f:
        f.write(data)


main()
