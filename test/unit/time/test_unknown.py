#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/time.md lists what data/isa_costs.json has no cost for, all of it and nothing else.

    test_unknown.py <isa_costs.json> <time.md>
"""
import json
import re
import sys

GENERATIONS = ("v2", "v3", "v4")


def nulls(name, entry):
    """Names of the values that are null: the entry's, or those of single generations or keys."""
    if not isinstance(entry, dict):
        return [name] if entry is None else []
    if "value" in entry:
        return [name] if entry["value"] is None else []
    lacking = [g for g in GENERATIONS if g in entry and entry[g] is None]
    if lacking:
        return ["%s %s" % (name, g) for g in lacking]
    return [n for key, e in entry.items() if isinstance(e, dict) for n in nulls("%s.%s" % (name, key), e)]


def unknown(data):
    found = [n for name, e in data["parameters"].items() for n in nulls(name, e)]
    found += [n for name, e in data["dma"].items() for n in nulls("dma." + name, e)]
    for band in data["dma"]["payload_bands_bytes_per_partition"]:
        if band["value"] is None:
            found.append("dma.payload_bands_bytes_per_partition")
    for instruction in data["instructions"]:
        for cost in instruction["cost"]:
            if cost["expr"] is None:
                engine = cost.get("when", {}).get("engine")
                found.append(instruction["name"] + (" " + engine if engine else ""))
    return set(found)


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        want = unknown(json.load(f))
    with open(sys.argv[2], encoding="utf-8") as f:
        section = re.search(r"^## Unknown\n(.*?)(?=^## |\Z)", f.read(), re.S | re.M).group(1)
    listed = set(re.findall(r"`([^`]+)`", section))
    for name in sorted(want - listed):
        print("has no cost, and the page does not say so: " + name)
    for name in sorted(listed - want):
        print("is listed as unknown and is not: " + name)
    print("%d costs are unknown" % len(want))
    return 0 if want == listed and want else 1


if __name__ == "__main__":
    sys.exit(main())
