#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A NEFF, printed and assembled again, has the same members byte for byte, whatever its text declared.

    test_disasm.py <opennrt> <neuron-packager>"""
import difflib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import types

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'oracle'))
import neffwrite  # noqa: E402

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
var z0: input f32
var z1: output f32
var z2: file f32 = {-1.5} id=13
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
  k <- transpose(k, shape=[1, 4], size=4)
  hbm.f32(z1, 0, bytes, [1,4]) <- add(hbm.f32(v0, 3, bytes, [-1,4]), z0, z2)
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


QUOTED = """
var "x.1": input f32[4]
var x_1: output f32[4]
var "9", "in/%s": virtual f32[4] @ 0 area="the area"
var "a b": dge-table ["x.1", "9"]
var "-": pointer -> "x.1"
queue "q 0": in owner=sp instances=[i0]
sem s
dma g on "q 0".i0 by sp -> s {
  x_1 <- "x.1"
  "9"[0:2] <- "x.1"[2:4]
}
sp:
    dma_trigger g
    wait s >= 1: end
"""


def names_that_are_no_words_stand_in_quotes():
    text = QUOTED % ('n' * 150)
    with tempfile.TemporaryDirectory() as tmp:
        printed = there_and_back(text, tmp)
        for line in ('var "x.1": input float32[4]\n', 'var x_1: output', 'var "9": virtual', 'var "in/nnn', ' -> "x.1"\n',
                     'dge-table ["x.1", "9"]', 'queue "q 0": in ', ' on "q 0"."i0" ', 'hbm.uint8("x.1", 0, '):
            assert line in printed, (line, printed)
        for bad, why in (('"x.1"', '""'), 'a name is expected'), (('x_1', '"%s"' % ('n' * 201)), 'the name is too long'), \
                        (('x_1', '"x.1"'), 'x.1'), (('x_1', '"sp"'), 'sp'):
            with open(f'{tmp}/bad.nasm', 'w', encoding='ascii') as f:
                f.write(text.replace(*bad, 1))
            done = subprocess.run([opennrt, 'asm', f'{tmp}/bad.nasm', '-o', f'{tmp}/bad.neff'], capture_output=True, text=True,
                                  check=False)
            assert done.returncode == 1 and why in done.stderr, (bad, done)


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


def refused(tmp, neff, line):
    """The text of the file has the line, and is refused there."""
    text = run(opennrt, 'disasm', neff)
    number = [k for k, l in enumerate(text.split('\n'), 1) if l.startswith(line)]
    assert len(number) == 1, (line, text)
    with open(f'{tmp}/refused.nasm', 'w', encoding='ascii') as f:
        f.write(text)
    done = subprocess.run([opennrt, 'asm', f'{tmp}/refused.nasm', '-o', f'{tmp}/refused.neff'], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1 and f'refused.nasm:{number[0]}: ' in done.stderr, (line, done)


def what_no_text_says_is_a_line_that_is_refused():
    """Instances with a quote, a var_id out of order, a node on the CPU, and a name that no string holds."""
    sp = [types.SimpleNamespace(pack=lambda: struct.pack('<HBB', 4, 1, 4).ljust(320, b'\0'))]  # end
    io = [[{'name': 'x', 'size': 4, 'shape': [4], 'dtype': 'uint8'}],
          [{'name': 'y', 'size': 4, 'shape': [4], 'dtype': 'uint8', 'time_series': False}]]
    for key, line in ('id', 'var y: output uint8[4] id=7'), ('quote', 'queue q: data n=1 instances=[?'), ('area', 'var v: virtual'):
        variables = {'x': {'type': 'input', 'var_id': 0, 'size': 4},
                     'y': {'type': 'output', 'var_id': 7 if key == 'id' else 1, 'size': 4}}
        queues = {'q': {'type': 'data', 'num_queues': 1}}
        if key == 'quote':
            queues['q']['queue_instances'] = ['a"b']
        if key == 'area':
            variables['v'] = {'type': 'virtual', 'var_id': 2, 'size': 4, 'backing_variable_off': 0, 'backing_buf': 'a\nb'}
        with tempfile.TemporaryDirectory() as tmp:
            neffwrite.write(f'{tmp}/x.neff', 2, {4: sp}, {}, queues, variables, {}, io)
            refused(tmp, f'{tmp}/x.neff', line)
            if key == 'id':
                continue
            run(packager, 'unpack', '-o', f'{tmp}/x', f'{tmp}/x.neff')
            with open(f'{tmp}/x/neff.json', encoding='ascii') as f:
                graph = json.load(f)
            if key == 'area':
                graph['nodes'].append({'id': 2, 'executor': 'CPU', 'name': 'host', 'library': 'x.so', 'function': 'f',
                                       'inputs': io[1], 'outputs': [dict(io[1][0], name='z')]})
            for name, data in ('neff.json', json.dumps(graph)), ('x.so', ''):
                with open(f'{tmp}/x/{name}', 'w', encoding='ascii') as f:
                    f.write(data)
            os.remove(f'{tmp}/x/neff.tgz')
            run('tar', 'cf', f'{tmp}/x.tar', '-C', f'{tmp}/x', *os.listdir(f'{tmp}/x'))
            run(packager, 'create', '-i', f'{tmp}/x.tar', '-o', f'{tmp}/y', '-n', 'two"names' if key == 'quote' else 'y')
            refused(tmp, f'{tmp}/y.neff', '.name ?' if key == 'quote' else '.node ? ; node 1 runs on the CPU')


SHARED = """
var a: input u8[4]
var b: output u8[4]
queue q: in owner=sp
dma g0 on q by sp id 9 { b[0] <- a[0] }
dma g1 on q by sp id 4 { b[1] <- a[1] }
dma g2 on q by sp id 9 { b[2] <- a[2] }
dma g3 on q by sp id 7 { b[3] <- a[3] }
dma g4 on q by sp id 9 { b[3] <- a[2] }
dma g5 on q by sp id 4 { b[2] <- a[0] }
sp:
    dma_trigger 9
    end
"""


def groups_of_one_id_have_names_of_their_own():
    with tempfile.TemporaryDirectory() as tmp:
        printed = there_and_back(SHARED, tmp)
        names = re.findall(r'^dma (\S+)', printed, re.M)
        assert names == ['sp_9', 'sp_4', 'sp_9_2', 'sp_7', 'sp_9_4', 'sp_4_5'], names


def an_engine_is_for_bare_records():
    with tempfile.TemporaryDirectory() as tmp:
        with open(f'{tmp}/x.nasm', 'w', encoding='ascii') as f:
            f.write('sp:\n    end\n')
        run(opennrt, 'asm', f'{tmp}/x.nasm', '-o', f'{tmp}/x.neff')
        run(opennrt, 'asm', f'{tmp}/x.nasm', '-c', 'sp', '-o', f'{tmp}/x.sp')
        run(opennrt, 'disasm', '-e', 'sp', f'{tmp}/x.sp')
        done = subprocess.run([opennrt, 'disasm', '-e', 'sp', f'{tmp}/x.neff'], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and not done.stdout, (done.returncode, done.stdout)
        assert 'x.neff is not bare records' in done.stderr, done.stderr


def main():
    for head in ONE, TWO:
        for middle in '', COLLECTIVES:
            text = DECLARATIONS % head + middle
            text += PROGRAMS if middle else ''.join(l + '\n' for l in PROGRAMS.split('\n') if 'collective' not in l)
            with tempfile.TemporaryDirectory() as tmp:
                there_and_back(text, tmp)
    names_that_are_no_words_stand_in_quotes()
    merged_constants_are_not_taken_for_others()
    what_no_text_says_is_a_line_that_is_refused()
    groups_of_one_id_have_names_of_their_own()
    an_engine_is_for_bare_records()
    print('OK')


main()
