#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The worked example of docs/api.md is what it says: its files are taken out of the page, assembled, compiled, run.

usage: test_guide.py PAGE OPENNRT LIBNRT INCLUDE CC..."""
import os
import re
import subprocess
import sys
import tempfile

page, opennrt, lib, include = map(os.path.abspath, sys.argv[1:5])
cc = sys.argv[5:]
text = open(page, encoding='utf-8').read()
files = dict(re.findall(r'<!-- file: (\S+) -->\n```\w*\n(.*?)```', text, re.S))
output = re.search(r'<!-- output -->\n```\n(.*?)```', text, re.S).group(1)
assert set(files) == {'add.nasm', 'first.c'}, files.keys()

libdir = os.path.dirname(os.path.abspath(lib))
instance = 'guide%d' % os.getpid()
env = dict(os.environ, OPENNRT_INSTANCE=instance, LD_LIBRARY_PATH=libdir)
with tempfile.TemporaryDirectory() as tmp:
    for name, body in files.items():
        with open(os.path.join(tmp, name), 'w', encoding='utf-8') as f:
            f.write(body)
    if not os.path.exists(os.path.join(libdir, 'libnrt.so')):
        os.symlink(os.path.abspath(lib), os.path.join(tmp, 'libnrt.so'))
    subprocess.run([opennrt, 'asm', 'add.nasm', '-o', 'add.neff'], cwd=tmp, env=env, check=True)
    subprocess.run([*cc, 'first.c', '-o', 'first', '-Wall', '-Werror', '-I', include, '-L', libdir, '-L.', '-lnrt'],
                   cwd=tmp, env=env, check=True)
    try:
        got = subprocess.run(['./first'], cwd=tmp, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    finally:
        subprocess.run([opennrt, 'reset', '-i', instance], env=env, stdout=subprocess.DEVNULL)
assert got == output, (got, output)
