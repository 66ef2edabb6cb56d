#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The parts of report.html between its marks, as C strings.

    gen_page.py report.html page.inc"""
import re
import sys

with open(sys.argv[1], encoding='utf-8') as f:
    parts = re.split('@@[A-Z]+@@', f.read())
assert len(parts) == 3
with open(sys.argv[2], 'w', encoding='utf-8') as out:
    for name, part in zip(('page_head', 'page_middle', 'page_tail'), parts):
        lines = ''.join('    "%s"\n' % line.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')
                        for line in part.splitlines(keepends=True))
        out.write('static const char %s[] =\n%s    "";\n' % (name, lines))
