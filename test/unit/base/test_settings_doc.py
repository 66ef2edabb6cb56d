#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The variables of settings_list.h are those of docs/spec/behaviour.md 1.2, effect column included."""
import re
import sys

LIST, DOC = sys.argv[1:3]
COMPONENTS = ["TDRV", "NMGR", "NRT", "HAL"]


def listed():
    text = open(LIST, encoding="utf-8").read()
    return {m.group(1): m.group(2) for m in
            re.finditer(r'X\((\w+), \w+, "(?:[^"\\]|\\.)*", ([YPR]),', text)}


def documented():
    text = open(DOC, encoding="utf-8").read()
    text = text[text.index("### 1.2 Runtime variables"):text.index("### 1.3 ")]
    found = {}
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if not line.startswith("| ") or len(cells) < 3 or cells[0] in ("#", "Name", "---"):
            continue
        if cells[0].startswith("OPENNRT_"):
            found[cells[0]] = "Y"
            continue
        names = [n.strip() for n in cells[1].split(",")]
        for name in names:
            if name.startswith("_"):  # "NEURON_RT_PROFILE_BUF_EVENT_MB, _DMA_MB": the prefix is shared
                stem = re.match(r"(NEURON_RT_(?:PROFILE_BUF|ULTRASERVER))_", names[0]).group(1)
                name = stem + name
            if "`<component>`" in name:
                for c in COMPONENTS:
                    found[name.replace("`<component>`", c)] = cells[6]
            else:
                found[name] = cells[6]
    removed = text[text.index("Removed or legacy names"):text.index("### 1.2.1")]
    for name in re.findall(r"\bNEURON[A-Z_]+\b", removed):
        found[name] = "R"
    return found


a, b = listed(), documented()
for name in sorted(set(a) | set(b)):
    if a.get(name) != b.get(name):
        print("%s: listed as %s, documented as %s" % (name, a.get(name), b.get(name)))
print(len(a), "listed,", len(b), "documented")
sys.exit(a != b or len(a) < 80)
