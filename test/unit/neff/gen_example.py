# SPDX-License-Identifier: Apache-2.0
"""The JSON examples of docs/spec/neff.md section 11 as C strings, taken from the page itself."""
import json
import re
import sys

page = open(sys.argv[1], encoding="utf-8").read()
section = page[page.index("## 11. "):page.index("## 12. ")]
blocks = re.findall(r"```json\n(.*?)```", section, re.S)
definition, sp, kinds = (json.loads(b) for b in blocks)

# The descriptors "of every remaining kind" join the groups of the SP engine.
sp["dma"].append({"id": 3, "queue": "qIn", "desc": kinds})

def one_line(value):
    """JSON with one blank after ':' and ',', as json.dumps does: tests edit it by text."""
    return json.dumps(value)

kelf = re.search(r"```json\n(\{\"graphs\".*?)```", page, re.S).group(1)
neff = re.search(r"```json\n(\{\"nodes\".*?)```", page, re.S).group(1)
for name, text in (("kelf", kelf), ("neff", one_line(json.loads(neff))),
                   ("def", one_line(definition)), ("sp", one_line(sp))):
    print('static const char example_%s[] = %s;' % (name, json.dumps(text.strip())))
