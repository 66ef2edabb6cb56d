#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""break_headers.py <include folder> <output folder>: the public headers with a deliberate defect, for the
build with -Dbreak=api: structs begin with a field too many, and every value is off."""
import os
import re
import sys


def damage(text):
    text = re.sub(r"(struct\s+\w*\s*\{)", r"\1 char broken_on_purpose[64];", text)

    def values(m):
        body = re.sub(r"=\s*([^,/}\n]+)", r"= (\1) + 1000", m.group(2))
        return m.group(1) + re.sub(r"(\w+)(\s*)([,}\n/])", r"\1\2\3", body, count=1) + m.group(3)

    text = re.sub(r"(enum\s*\w*\s*\{)(.*?)(\})", values, text, flags=re.S)
    # An enumeration without values starts somewhere else.
    text = re.sub(r"(enum\s*\w*\s*\{\s*)(\w+)(\s*,)", r"\1\2 = 1000\3", text)
    return re.sub(r"(#define\s+(?:NRT|RT|GIT)_\w+\s+)(\d+)\b", r"\g<1>(\2 + 1000)", text)


def main():
    source, out = sys.argv[1:3]
    for folder, _, files in os.walk(source):
        for name in files:
            if not name.endswith(".h"):
                continue
            path = os.path.join(folder, name)
            target = os.path.join(out, os.path.relpath(path, source))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(path, encoding="utf-8") as f, open(target, "w", encoding="utf-8") as g:
                g.write(damage(f.read()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
