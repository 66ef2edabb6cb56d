#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The worked example of a page is what it says: its files are taken out of the page, assembled, compiled, run.

usage: test_guide.py PAGE OPENNRT LIBNRT INCLUDE CC..."""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from ports import port_kept  # noqa: E402

page, opennrt, lib, include = map(os.path.abspath, sys.argv[1:5])
cc = sys.argv[5:]
text = open(page, encoding='utf-8').read()
files = dict(re.findall(r'<!-- file: (\S+) -->\n```\w*\n(.*?)```', text, re.S))
output = re.search(r'<!-- output -->\n```\n(.*?)```', text, re.S).group(1)

libdir = os.path.dirname(os.path.abspath(lib))
instance = 'guide%d' % os.getpid()
env = dict(os.environ, OPENNRT_INSTANCE=instance, LD_LIBRARY_PATH=libdir)


def compile_it(tmp, source):
    subprocess.run([*cc, source, '-o', source[:-2], '-Wall', '-Werror', '-I', include, '-L', libdir, '-L.', '-lnrt'],
                   cwd=tmp, env=env, check=True)


def first(tmp):
    assert set(files) == {'add.nasm', 'first.c'}, files.keys()
    subprocess.run([opennrt, 'asm', 'add.nasm', '-o', 'add.neff'], cwd=tmp, env=env, check=True)
    compile_it(tmp, 'first.c')
    return subprocess.run(['./first'], cwd=tmp, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


def from_python(tmp):
    """The commands of the page, with the package of the source tree."""
    assert set(files) == {'add.nasm', 'add.py'}, files.keys()
    assert '\n    opennrt asm add.nasm -o add.neff\n    python3 add.py\n' in text
    subprocess.run([opennrt, 'asm', 'add.nasm', '-o', 'add.neff'], cwd=tmp, env=env, check=True)
    package = os.path.join(os.path.dirname(page), '../python')
    return subprocess.run([sys.executable, 'add.py'], cwd=tmp, env=dict(env, PYTHONPATH=package), check=True,
                          stdout=subprocess.PIPE, text=True, timeout=120).stdout


def pipeline(tmp):
    """The commands of the page."""
    assert set(files) == {'add.nasm', 'pipeline.c'}, files.keys()
    commands = re.search(r'\n((?:    [^\n]+\n)*    ./pipeline\n)', text).group(1)
    for old, new in (('gcc pipeline.c -o pipeline -lnrt', 'true'), ('opennrt asm', opennrt + ' asm')):
        assert old in commands
        commands = commands.replace(old, new)
    compile_it(tmp, 'pipeline.c')
    return subprocess.run(['sh', '-ec', commands], cwd=tmp, env=env, check=True, stdout=subprocess.PIPE, text=True,
                          timeout=120).stdout


def talk(tmp):
    """The commands of the page, with a port of this test's own."""
    assert set(files) == {'talk.c'}, files.keys()
    commands = re.search(r'\n((?:    [^\n]+\n)*    wait; cat first.txt\n)', text).group(1)
    port = str(port_kept(2))  # a core each
    assert '45645' in commands and 'gcc talk.c -o talk -lnrt' in commands
    commands = commands.replace('45645', port).replace('gcc talk.c -o talk -lnrt', 'true')
    compile_it(tmp, 'talk.c')
    return subprocess.run(['sh', '-ec', commands], cwd=tmp, env=env, check=True, stdout=subprocess.PIPE, text=True,
                          timeout=120).stdout


def ranks(tmp):
    """The commands of the page, with a port of this test's own."""
    assert set(files) == {'sum.nasm', 'rank.c'}, files.keys()
    commands = re.search(r'\n((?:    [^\n]+\n)*    wait; cat out.0 [^\n]+\n)', text).group(1)
    port = str(port_kept())
    for old, new in (('45600', port), ('gcc rank.c -o rank -lnrt', 'true'), ('opennrt asm', opennrt + ' asm')):
        assert old in commands
        commands = commands.replace(old, new)
    compile_it(tmp, 'rank.c')
    return subprocess.run(['sh', '-ec', commands], cwd=tmp, env=env, check=True, stdout=subprocess.PIPE, text=True,
                          timeout=120).stdout


def drive(tmp):
    """The commands of the page, with a port of this test's own."""
    assert set(files) == {'drive.c'}, files.keys()
    commands = re.search(r'\n((?:    [^\n]+\n)*    wait; cat out.0 [^\n]+\n)', text).group(1)
    port = str(port_kept())
    for old, new in (('45601', port), ('gcc drive.c -o drive -lnrt', 'true')):
        assert old in commands
        commands = commands.replace(old, new)
    compile_it(tmp, 'drive.c')
    return subprocess.run(['sh', '-ec', commands], cwd=tmp, env=env, check=True, stdout=subprocess.PIPE, text=True,
                          timeout=120).stdout


def profiled(tmp):
    """The commands of the page."""
    assert set(files) == {'add.nasm', 'profiled.c'}, files.keys()
    commands = re.search(r'\n((?:    [^\n]+\n)*    opennrt view add.ntff -n add.neff\n)', text).group(1)
    for old, new in (('gcc profiled.c -o profiled -lnrt', 'true'), ('opennrt asm', opennrt + ' asm'),
                     ('opennrt view', opennrt + ' view')):
        assert old in commands
        commands = commands.replace(old, new)
    compile_it(tmp, 'profiled.c')
    return subprocess.run(['sh', '-ec', commands], cwd=tmp, env=env, check=True, stdout=subprocess.PIPE, text=True,
                          timeout=120).stdout


with tempfile.TemporaryDirectory() as tmp:
    for name, body in files.items():
        with open(os.path.join(tmp, name), 'w', encoding='utf-8') as f:
            f.write(body)
    if not os.path.exists(os.path.join(libdir, 'libnrt.so')):
        os.symlink(os.path.abspath(lib), os.path.join(tmp, 'libnrt.so'))
    try:
        got = {'api.md': first, 'async.md': pipeline, 'collectives.md': ranks, 'driven.md': drive, 'nrtpy.md': from_python,
               'profiling.md': profiled, 'sendrecv.md': talk}[os.path.basename(page)](tmp)
    finally:
        subprocess.run([opennrt, 'reset', '-i', instance], env=env, stdout=subprocess.DEVNULL)
assert got == output, (got, output)
