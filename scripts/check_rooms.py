#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who includes whom: a room under src/ includes only rooms on lines below its own in the picture of
docs/design.md. Headers ending in _int.h are their room's own. tools/ and examples/ use only public
headers (a tool may use the public header of a room listed in TOOL_ROOMS). A library of ONE_FILE is known to
one file of src/.

    check_rooms.py [root]      exit 1 and one line per violation
"""
import os
import re
import sys

# Upper rooms first; rooms of one line may not include each other. From docs/design.md, checked against it
# below, so that the picture and this check cannot drift apart.
LEVELS = [
    ["api"],
    ["diag"],
    ["model", "tensor"],
    ["queue"],
    ["coll"],
    ["net"],
    ["core"],
    ["kernel"],
    ["device"],
    ["run"],
    ["time"],
    ["sched"],
    ["topo"],
    ["neff"],
    ["isa"],
    ["base"],
]
PUBLIC = ("nrt", "ndl", "neff")
# A tool that shows an instance uses the device room's reader and what that needs; one that shows
# collective schedules has no library's header to go by, since none of them is run there; one that measures
# collectives runs them in ways that no program can ask the runtime for; one that says whether models would
# fit places them.
TOOL_ROOMS = {"model", "device", "base", "neff", "isa", "topo", "time", "core", "sched", "coll"}
# What names the providers of a network stays behind src/net/fabric.h, what knows the host behind src/run/place.h.
ONE_FILE = {"rdma/": "src/net/fabric.c", "hwloc.h": "src/run/host.c"}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def picture(root):
    """The rooms of the design page, line by line."""
    path = os.path.join(root, "docs", "design.md")
    if not os.path.exists(path):
        return None
    text = open(path, encoding="utf-8").read()
    block = re.search(r"## Rooms.*?```\n(.*?)```", text, re.S).group(1)
    lines = []
    for line in block.splitlines():
        m = re.match(r"  ([a-z]+(?:\s+[a-z]+)?)\s{2,}", line)
        if m:
            lines.append(m.group(1).split())
    return lines


def sources(top):
    for folder, dirs, files in os.walk(top):
        dirs[:] = [d for d in dirs if not d.startswith("build")]
        for name in sorted(files):
            if name.endswith((".c", ".h")):
                yield os.path.join(folder, name)


def check_src(root, level):
    src = os.path.join(root, "src")
    bad = []
    for path in sources(src):
        rel = os.path.relpath(path, src)
        room = rel.split(os.sep)[0]
        where = "src/" + rel
        if room not in level:
            bad.append("%s: room %s is not in the picture" % (where, room))
            continue
        for _, name in INCLUDE.findall(open(path, encoding="utf-8").read()):
            target = name.split("/")[0]
            bad += ["%s: includes %s, which only %s may" % (where, name, only)
                    for start, only in ONE_FILE.items() if name.startswith(start) and where != only]
            own_file = os.path.exists(os.path.join(os.path.dirname(path), name))
            if "/" not in name:
                continue  # system header, or a file of the same folder
            public = os.path.exists(os.path.join(root, "include", name))
            if target not in level or own_file or target == room:
                continue
            if public and not os.path.exists(os.path.join(src, name)):
                continue  # include/neff/... is public although neff is a room's name, too
            if level[target] <= level[room]:
                bad.append("%s: includes %s, which is not below %s" % (where, name, room))
            elif name.endswith("_int.h"):
                bad.append("%s: includes %s, which is private to %s" % (where, name, target))
            elif not os.path.exists(os.path.join(src, name)):
                bad.append("%s: includes %s, which does not exist" % (where, name))
    return bad


def check_outside(root, level):
    bad = []
    for top, allowed in (("tools", TOOL_ROOMS), ("examples", set())):
        for path in sources(os.path.join(root, top)):
            for _, name in INCLUDE.findall(open(path, encoding="utf-8").read()):
                target = name.split("/")[0]
                if "/" not in name or not os.path.exists(os.path.join(root, "src", name)):
                    continue
                if target not in allowed or name.endswith("_int.h"):
                    bad.append("%s: includes %s" % (os.path.relpath(path, root), name))
    for path in sources(os.path.join(root, "include")):
        for _, name in INCLUDE.findall(open(path, encoding="utf-8").read()):
            if "/" in name and not name.startswith("sys/") and name.split("/")[0] not in PUBLIC:
                bad.append("%s: includes %s" % (os.path.relpath(path, root), name))
    return bad


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..")
    root = os.path.abspath(root)
    level = {room: i for i, rooms in enumerate(LEVELS) for room in rooms}
    bad = []
    drawn = picture(root)
    if drawn is not None:
        flat = [room for rooms in drawn for room in rooms]
        if sorted(flat) != sorted(level) or any(
                level[a] > level[b] for a, b in zip(flat, flat[1:])):
            bad.append("docs/design.md draws %s, this script knows %s" % (drawn, LEVELS))
    bad += check_src(root, level) + check_outside(root, level)
    for line in bad:
        print(line)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
