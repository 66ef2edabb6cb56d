#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A NEFF, printed and assembled again, has the same members byte for byte, whatever its text declared.

    test_disasm.py <opennrt> <neuron-packager>"""
import difflib
import os
import re
import subprocess
import sys
import tempfile

opennrt, packager = sys.argv[1], sys.argv[2]

DECLARATIONS = """
.name "there and back"
.arch %(arch)s
%(lnc)s
var a, b: input bf16[3, 4] align=64
var c: output float8e4[12] align=4096
var %(long)s_in: input i32[8]
var %(long)s_out: output i32[8]
var t: tmp-buf u8[28] align=128
var v0: virtual u8[100] @ 4096
var v1: virtual u8[64] @ 0 area=west
var v2: virtual u8[64] @ 64 area=west
var k: file f32[2, 2] = {1, 2, 3, nan}
var k2: file u8[5] = {7}
var k3: file bool[2] = {1, 0}
var p: pointer -> a
var dt: dge-table [a, k, t, b, c]
var SB: state-buffer
queue q0: in
queue q1: out owner=pool n=16
queue q2: data owner=act sem=200 fabric=alt
queue q3: embedding_update owner=sp instances=[i0, i1] fabric=alt
queue q4: dynamic owner=pool n=3
sem s=5, u=6, w=255
event e=7
tile T: sbuf bf16[3, 4]
tile U: sbuf f32[128, 2] @ 1024
tile X: sbuf bf16[16, 32] @ 2048 part=4
tile V: psum f32[128, 512] bank=3
dma g0 on q0 by sp -> s: T <- a
dma g1 on q3.i1 by sp id 77 -> s, e {
  c <- cast b
  t.view(i32)[0:4] <- add(k.reshape(4).view(i32), t.view(i32)[0:4], t.view(i32)[3::-1])
  k[:, 0] <- fma(k[:, 1] * 0.5, k[1, ::-1] * -2)
  t.view(i32)[0:4] <- max(t.view(i32)[0:4], from=-3)
  t.view(f32)[0:4] <- min(t.view(f32)[0:4], from=0.5)
  k <- transpose(k)
  %(long)s_out <- %(long)s_in
}
"""
COLLECTIVES = """
collective total: c[0:4], c[8:12] <- all_reduce(max, c[4:8], c[0:4]) ranks=4 stream=2 algorithm=ring
collective swap: b[0] <- permute(a[1]) pairs={0 -> 1, 1 -> 0}
collective all: barrier() group={3, 1} group={0, 2}
collective turn: b[0] <- all_gather_v(a[0, 0:2]) group={1, 0} metadata=v0.view(u32)[3:19]
collective tiles: X[8:16, 1:32:4] <- all_reduce(add, X[0:8, 0:8]) ranks=2 stream=1
"""
PROGRAMS = """
sp: dma_trigger g0
    wait s >= 1, s == 1: nop -> s++, u--, w += 5
    wait !e: nop -> e = 1
    wait e: nop -> s = 9 @ read, e = 0 @ read
    dma_trigger g1
    end
act: activation U, V[:, 0:2], exp, scale=2.0
    trigger_collective swap, u
    trigger_collective tiles
pool: r4 = 5
    dma_dyn T, a, queue=q4, sem=s
    memset U, 1.5
"""
LONG = 'n' * 190
ONE = {'arch': 'trn1', 'lnc': '', 'long': LONG}
TWO = {'arch': 'trn2', 'lnc': '.lnc 2', 'long': LONG}


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (args, done.stderr)
    return done.stdout


def members(neff, folder):
    run(packager, 'unpack', '-o', folder, neff)
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            with open(path, 'rb') as f:
                found[os.path.relpath(path, folder)] = f.read()
    del found['neff.tgz']
    for name in found:
        if name.endswith('def.json'):  # of a constant read from a file the size may be missing
            found[name] = re.sub(rb'("type": "file", "var_id": \d+), "size": \d+', rb'\1', found[name])
    return {n: d for n, d in found.items() if not n.startswith('debug_info')}  # lines are another text's


def lines(data):
    return data.decode('latin1').split('\n')


def there_and_back(text, tmp):
    with open(f'{tmp}/first.nasm', 'w', encoding='ascii') as f:
        f.write(text)
    run(opennrt, 'asm', f'{tmp}/first.nasm', '-o', f'{tmp}/first.neff')
    first = members(f'{tmp}/first.neff', f'{tmp}/first')
    printed = run(opennrt, 'disasm', f'{tmp}/first.neff')
    with open(f'{tmp}/again.nasm', 'w', encoding='ascii') as f:
        f.write(printed)
    run(opennrt, 'asm', f'{tmp}/again.nasm', '-I', f'{tmp}/first', '-o', f'{tmp}/again.neff')
    again = members(f'{tmp}/again.neff', f'{tmp}/again')
    assert sorted(first) == sorted(again), (sorted(first), sorted(again))
    for name, data in first.items():
        if data != again[name]:
            sys.exit(f'{name}:\n' + '\n'.join(difflib.unified_diff(lines(data), lines(again[name]), 'first', 'again', lineterm='')))
    return printed


def merged_constants_are_not_taken_for_others():
    """Of two constants in one member each would be read from its beginning."""
    text = 'var o: output f32[4]\nvar k: file f32[4] = {1}\nvar l: file f32[4] = {2}\n' \
           'queue q: out owner=sp\nsem s\nsp: dma on q -> s: o <- l\n    wait s >= 1: end\n'
    with tempfile.TemporaryDirectory() as tmp:
        with open(f'{tmp}/two.nasm', 'w', encoding='ascii') as f:
            f.write(text)
        run(opennrt, 'asm', f'{tmp}/two.nasm', '-o', f'{tmp}/two.neff')
        run(packager, 'optimize', f'{tmp}/two.neff')
        run(packager, 'unpack', '-o', f'{tmp}/two', f'{tmp}/two_optimized.neff')
        with open(f'{tmp}/again.nasm', 'w', encoding='ascii') as f:
            f.write(run(opennrt, 'disasm', f'{tmp}/two_optimized.neff'))
        done = subprocess.run([opennrt, 'asm', f'{tmp}/again.nasm', '-I', f'{tmp}/two', '-o', f'{tmp}/again.neff'],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 1, done
        assert done.stderr.endswith('again.nasm:3: k has neither a file nor values\n'), done.stderr


def main():
    for head in ONE, TWO:
        for middle in '', COLLECTIVES:
            text = DECLARATIONS % head + middle
            text += PROGRAMS if middle else ''.join(l + '\n' for l in PROGRAMS.split('\n') if 'collective' not in l)
            with tempfile.TemporaryDirectory() as tmp:
                there_and_back(text, tmp)
    merged_constants_are_not_taken_for_others()
    print('OK')


main()
