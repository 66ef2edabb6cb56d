#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The NEFF of the main example is what its page says: read from its disassembly and from the tensors that
neuron-packager shows.

usage: test_digits.py ROOT DIGITS_BUILD OPENNRT NEURON_PACKAGER"""
import os
import re
import subprocess
import sys
import tempfile

ROOT, BUILDER, OPENNRT, PACKAGER = map(os.path.abspath, sys.argv[1:5])


def run(*args):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, text=True).stdout


def engines_of(text):
    """{engine: its records}."""
    parts = re.split(r'^(pe|act|dve|pool|sp):\n', text, flags=re.M)
    return {name: code.splitlines() for name, code in zip(parts[1::2], parts[2::2])}


def main():
    with tempfile.TemporaryDirectory() as tmp:
        neff = os.path.join(tmp, 'digits.neff')
        run(BUILDER, os.path.join(ROOT, 'examples', 'digits'), neff)
        text, info = run(OPENNRT, 'disasm', neff), run(PACKAGER, 'info', neff)

    engines = engines_of(text)
    at_work = [e for e, code in engines.items() if any(not re.match(r'; |\s+(end|r\d+ = |nop)', line) for line in code)]
    assert len(at_work) >= 4, at_work

    # Two hidden layers in a loop on two engines, and a third product; each with weights of its own.
    weights = {name: tuple(map(int, shape.split(', ')))
               for name, shape in re.findall(r'^var (w\d): file float32\[([\d, ]+)\]', text, re.M)}
    assert weights == {'w1': (64, 128), 'w2': (128, 128), 'w3': (128, 10)}, weights
    for engine, op in (('pe', 'nc_matmul'), ('act', 'activation')):
        code = engines[engine]
        back = next(i for i, line in enumerate(code) if 'goto @' in line)
        label = code.index('; ' + re.search(r'@\d+', code[back]).group(0))
        assert label < back and sum(op in line for line in code[label:back]) == 2, (engine, code)
    assert sum('op=relu' in line for line in engines['act']) == 2

    # A softmax: exp of what is left of the largest, its sum, and a product with the reciprocal.
    assert any('op=maximum, negate' in line for line in engines['dve'])
    assert any('op=exp' in line and 'reduce_op=add' in line for line in engines['act'])
    assert any('reciprocal' in line for line in engines['dve'])

    shapes = re.findall(r'hbm\.\w+\(\w+, \d+((?:, \[\d+,\d+\])+)\)', text)
    assert max(shape.count('[') for shape in shapes) == 3, shapes
    for tensor, shape in (('images', r'\[128,64\]'), ('probs', r'\[128,10\]'), ('labels', r'\[128\]')):
        assert re.search(r'\b%s\b.*%s' % (tensor, shape), info), info
    print('%d engines, %d transfers' % (len(at_work), len(shapes) // 2))


main()
