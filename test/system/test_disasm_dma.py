#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Descriptors of every op whose patterns are any bytes, not only whole elements: printed and assembled again they
move the same bytes in the same order as the same types, and what they compute is the same.

    test_disasm_dma.py <opennrt> <neuron-packager>"""
import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, '..', 'oracle'), os.path.join(HERE, '..', 'support')]
import neffwrite  # noqa: E402
from seed import seed_take  # noqa: E402

opennrt, packager = sys.argv[1], sys.argv[2]
ENV = dict(os.environ, OPENNRT_INSTANCE='disasm%d' % os.getpid(), OPENNRT_INSTANCE_TYPE='trn1.2xlarge')

SIZES = {'float8e3': 1, 'float8e4': 1, 'float8e5': 1, 'float16': 2, 'float32': 4, 'float32r': 4, 'bfloat16': 2,
         'uint8': 1, 'uint16': 2, 'uint32': 4, 'uint64': 8, 'int8': 1, 'int16': 2, 'int32': 4, 'int64': 8}
OPS = ['copy', 'cast', 'add', 'min', 'max', 'fma', 'transpose']
PROGRAM = 'sp: dma_trigger 0\n    wait $S[0] >= 1: end\n'
SP = 4  # of neffwrite


class Program:
    """Records as neffwrite takes them."""
    def __init__(self, data):
        self.data = data

    def pack(self):
        return self.data


def run(*args, env=None):
    done = subprocess.run(args, capture_output=True, text=True, check=False, env=env, timeout=120)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


# ---- drawing ----

class Draw:
    def __init__(self, rng):
        self.rng = rng
        self.variables = {'SB': {'type': 'state-buffer', 'var_id': 0}}
        self.inputs, self.outputs = [], []

    def variable(self, kind, size):
        name = '%s%d' % (kind, len(self.variables))
        self.variables[name] = {'type': kind, 'var_id': len(self.variables), 'size': size}
        entry = {'name': name, 'size': size, 'shape': [size], 'dtype': 'uint8'}
        if kind == 'input':
            self.inputs.append(entry)
        else:
            self.outputs.append(dict(entry, time_series=False))
        return name

    def factors(self, n, most):
        """At most `most` numbers with the product n, among them some of 1."""
        out = []
        while len(out) < most - 1 and self.rng.random() < 0.7:
            out.append(self.rng.choice([d for d in range(1, n + 1) if n % d == 0]) if n else 0)
            n = n // out[-1] if out[-1] else 0
        return out + [n]

    def steps(self, sizes, writes):
        """Bytes; those of a destination keep its bytes apart, so that the order of writing says nothing."""
        steps, reach = [], 1
        for n in sizes:
            if writes:
                steps.append(self.rng.choice([1, -1]) * (reach + self.rng.choice([0, 0, 1, 3])))
                reach += abs(steps[-1]) * max(n - 1, 0)
            else:
                steps.append(self.rng.choice([0, 1, 2, 3, 4, 6, 8, 16, -1, -4, -5]))
        if self.rng.random() < 0.7:
            steps[0] = 1
        return steps

    def side(self, key, count, dtype, on_chip):
        """The fields of one side of `count` elements."""
        size, writes = SIZES[dtype], key == 'to'
        runs = self.factors(count, 4)
        sizes = [runs[0] * size] + runs[1:]
        steps = self.steps(sizes, writes)
        low = sum(min(0, s * (n - 1)) for s, n in zip(steps, sizes) if count)
        high = sum(max(0, s * (n - 1)) for s, n in zip(steps, sizes) if count)
        off = self.rng.randrange(9) - low
        name = 'SB' if on_chip else self.variable('output' if writes else 'input', off + high + 1 + self.rng.randrange(9))
        return {key: name, key + '_off': off, key + '_steps': steps, key + '_sizes': sizes, key + '_dtype': dtype}

    def descriptor(self, op, dtype, on_chip):
        count = self.rng.choice([0, 1, 2, 6, 12, 24])
        if op == 'transpose':
            return self.transpose(count, dtype, on_chip)
        sources = self.rng.randrange(1, 4) if op in ('add', 'min', 'max', 'fma') else 1
        to_type = dtype if op == 'copy' and self.rng.random() < 0.5 else self.rng.choice(list(SIZES))
        sides = [self.side('from', count, dtype if k == 0 else self.rng.choice(list(SIZES)), on_chip)
                 for k in range(sources)]
        desc = {'op': op, 'from_arr': sides} if op in ('add', 'min', 'max', 'fma') else dict(sides[0], op=op)
        desc.update(self.side('to', count, to_type, False))
        if op == 'fma':
            desc.update(scale_dtype='float32', scale=[self.rng.choice([-0.0, 1.0, 0.1, -2.5e-30, 3.0]) for _ in sides])
        elif op in ('min', 'max') and self.rng.random() < 0.6:
            desc.update(self.rng.choice([{'constant_dtype': 'float32', 'constant': -0.0},
                                         {'constant_dtype': 'float32', 'constant': 0.1},
                                         {'constant_dtype': 'int32', 'constant': -7},
                                         {'constant_dtype': 'uint32', 'constant': 4000000000}]))
        return desc

    def transpose(self, count, dtype, on_chip):
        size = SIZES[dtype]
        desc = dict(self.side('from', count, dtype, on_chip), op='transpose')
        same = [t for t in SIZES if SIZES[t] == size]  # bytes are moved: the types may differ
        desc.update(self.side('to', count, self.rng.choice(same), False))
        if self.rng.random() < 0.7:
            moved = self.rng.choice([n for n in (1, 2, 4, 8) if count * size % n == 0])
            shape = self.factors(count * size // moved, 4)
            desc.update(transpose_shape=shape + [1] * (4 - len(shape)), transpose_element_size=moved)
        return desc


# ---- what a descriptor means ----

def addresses(desc, key):
    """Every byte, in the order of the pattern."""
    at = [desc[key + '_off']]
    for step, n in zip(reversed(desc[key + '_steps']), reversed(desc[key + '_sizes'])):
        at = [a + step * k for a in at for k in range(n)]
    return desc[key], at


def float32(v):
    return struct.pack('<f', v)


def meaning(desc):
    op, to_type = desc.get('op', 'copy'), desc.get('to_dtype', 'uint8')
    sources = desc.get('from_arr') or [desc]
    types = [s.get('from_dtype', 'uint8') for s in sources]
    if op == 'copy' and types[0] != to_type:
        op = 'cast'
    out = [op, addresses(desc, 'to'), [addresses(s, 'from') for s in sources]]
    if op == 'fma':
        scale = desc.get('scale', 1.0)
        out.append([float32(s) for s in (scale if isinstance(scale, list) else [scale] * len(sources))])
    if op in ('min', 'max') and 'constant_dtype' in desc:
        out.append(float32(desc['constant']))
    if op == 'transpose':
        size = desc.get('transpose_element_size', SIZES[types[0]])
        pattern = desc['from_sizes'][::-1]
        if 'transpose_shape' not in desc:
            pattern[-1] //= size
        shape = desc.get('transpose_shape', pattern + [1] * (4 - len(pattern)))
        out += [size, shape] if 0 not in shape else []  # nothing is moved
    elif op != 'copy':
        out += [to_type, types]
    return out


# ---- there and back ----

def write(path, draw, descs, program):
    groups = [{'id': 0, 'queue': 'q', 'semaphore': 0, 'desc': descs}]
    neffwrite.write(path, 2, {SP: [program]}, {SP: groups}, {'q': {'type': 'data', 'owner': 'sp', 'num_queues': 1}},
                    draw.variables, {}, (draw.inputs, draw.outputs))


def descriptors(neff, folder):
    run(packager, 'unpack', '-o', folder, neff)
    with open(folder + '/sg00/sp.json' if os.path.exists(folder + '/sg00/sp.json') else folder + '/sg00/SP.json',
              encoding='ascii') as f:
        return json.load(f)['dma'][0]['desc']


def back(tmp, neff):
    """The file, printed and assembled again."""
    with open(tmp + '/again.nasm', 'w', encoding='ascii') as f:
        f.write(run(opennrt, 'disasm', neff))
    run(opennrt, 'asm', tmp + '/again.nasm', '-o', tmp + '/again.neff')
    return tmp + '/again.neff'


def results(tmp, neff, draw, rng_bytes, name):
    args = [opennrt, 'run', neff, '--output', tmp + '/' + name]
    for t in draw.inputs:
        with open(tmp + '/' + t['name'], 'wb') as f:
            f.write(rng_bytes[t['name']])
        args += ['--input', '%s=%s/%s' % (t['name'], tmp, t['name'])]
    run(*args, env=ENV)
    out = {}
    for t in draw.outputs:
        with open('%s/%s/%s.npy' % (tmp, name, t['name']), 'rb') as f:
            out[t['name']] = f.read()[-t['size']:]
    return out


def records(tmp):
    with open(tmp + '/sp.nasm', 'w', encoding='ascii') as f:
        f.write(PROGRAM)
    run(opennrt, 'asm', tmp + '/sp.nasm', '-c', 'sp', '-o', tmp + '/sp.bin')
    with open(tmp + '/sp.bin', 'rb') as f:
        return Program(f.read())


def every_pattern_comes_back(tmp, program, rng):
    """Two of every op and type, sources in HBM and on the core."""
    draw = Draw(rng)
    descs = [draw.descriptor(op, dtype, on_chip) for op in OPS for dtype in SIZES for on_chip in (False, True)]
    write(tmp + '/any.neff', draw, descs, program)
    again = descriptors(back(tmp, tmp + '/any.neff'), tmp + '/any')
    assert len(again) == len(descs)
    for k, (a, b) in enumerate(zip(descs, again)):
        assert meaning(a) == meaning(b), 'descriptor %d\n%s\n%s' % (k, a, b)


def what_is_computed_is_the_same(tmp, program, rng):
    draw = Draw(rng)
    descs = [draw.descriptor(op, dtype, False) for op in OPS for dtype in SIZES]
    write(tmp + '/run.neff', draw, descs, program)
    given = {t['name']: bytes(rng.randrange(256) for _ in range(t['size'])) for t in draw.inputs}
    first = results(tmp, tmp + '/run.neff', draw, given, 'first')
    again = results(tmp, back(tmp, tmp + '/run.neff'), draw, given, 'again')
    for name, data in first.items():
        assert data == again[name], (name, data, again[name])


def strides_of_bytes_are_not_taken_for_bytes_to_add(tmp, program):
    """Floats 6 bytes apart, at an odd place: as uint8 the sum would be another."""
    draw = Draw(random.Random(0))
    x, y = draw.variable('input', 32), draw.variable('output', 12)
    side = {'from': x, 'from_off': 1, 'from_steps': [1, 6], 'from_sizes': [4, 3], 'from_dtype': 'float32'}
    desc = {'op': 'add', 'from_arr': [side, dict(side, from_off=2 + 12, from_steps=[1, 0])],
            'to': y, 'to_off': 0, 'to_steps': [1], 'to_sizes': [12], 'to_dtype': 'float32'}
    write(tmp + '/add.neff', draw, [desc], program)
    data = bytearray(range(32))
    struct.pack_into('<f', data, 1, 1.5)
    struct.pack_into('<f', data, 7, -2.0)
    struct.pack_into('<f', data, 14, 0.25)  # the third is 13 to 17, of which this is a part
    third = struct.unpack_from('<f', data, 13)[0]
    want = [struct.unpack('<f', float32(v + 0.25))[0] for v in (1.5, -2.0, third)]
    for k, neff in enumerate((tmp + '/add.neff', back(tmp, tmp + '/add.neff'))):
        got = struct.unpack('<3f', results(tmp, neff, draw, {x: bytes(data)}, 'add%d' % k)[y])
        assert all(g == w or math.isnan(g) and math.isnan(w) for g, w in zip(got, want)), (neff, got, want)


def main():
    rng = random.Random(seed_take())
    try:
        with tempfile.TemporaryDirectory() as tmp:
            program = records(tmp)
            strides_of_bytes_are_not_taken_for_bytes_to_add(tmp, program)
            every_pattern_comes_back(tmp, program, rng)
            what_is_computed_is_the_same(tmp, program, rng)
    finally:
        subprocess.run([opennrt, 'reset', '--force', '-i', ENV['OPENNRT_INSTANCE']], capture_output=True, check=False)
    print('OK')


main()
