#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The seed of random tests, in C and in Python alike: what OPENNRT_SEED means, what is refused, what is printed; and no
test reads a variable of its own.

usage: test_seed.py SEED_DRIVER TEST_FOLDER"""
import os
import re
import subprocess
import sys

DRIVER, FOLDER = sys.argv[1:3]
SUPPORT = os.path.join(FOLDER, 'support')
IN_PYTHON = 'import sys; sys.path.insert(0, sys.argv[1]); from seed import seed_take; seed_take(*map(int, sys.argv[2:]))'
# of both languages: the way to ask for a seed that is 7 otherwise, and for a new one
WAYS = [((DRIVER,), (DRIVER, 'new')),
        ((sys.executable, '-c', IN_PYTHON, SUPPORT, '7'), (sys.executable, '-c', IN_PYTHON, SUPPORT))]
TAKEN = {'0': 0, '1': 1, '010': 10, '4294967296': 1 << 32, '18446744073709551615': (1 << 64) - 1, '0x1f': 31, '0XFf': 255}
REFUSED = ['', ' ', 'abc', '-1', '+1', ' 1', '1 ', '1.0', '0x', '0x ', '0xg', '1f', '1_0', '18446744073709551616',
           '0x10000000000000000', '\u0664']


def run(argv, value):
    env = {k: v for k, v in os.environ.items() if k != 'OPENNRT_SEED'}
    if value is not None:
        env['OPENNRT_SEED'] = value
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


for fixed, new in WAYS:
    for value, want in TAKEN.items():
        for argv in (fixed, new):
            done = run(argv, value)
            assert done.stdout == 'OPENNRT_SEED=%d\n' % want and not done.stderr, (argv, value, done)
    for value in REFUSED:
        for argv in (fixed, new):
            done = run(argv, value)
            assert done.returncode == 2 and not done.stdout, (argv, value, done)
            assert done.stderr == 'OPENNRT_SEED is "%s", which is no number of 64 bits\n' % value, (argv, value, done)
    assert run(fixed, None).stdout == 'OPENNRT_SEED=7\n'
    drawn = {run(new, None).stdout for _ in range(4)}
    assert len(drawn) > 1 and all(re.match(r'OPENNRT_SEED=\d+\n', text) for text in drawn), drawn

read = 0
for folder, _, names in os.walk(FOLDER):
    for name in names:
        path = os.path.join(folder, name)
        if name.endswith(('.c', '.h', '.py', '.sh')):
            with open(path, encoding='utf-8') as f:
                own = re.findall(r'''(?:getenv\(|environ\.get\(|environ\[|\$\{?)["']?[A-Z_]*SEED\b''', f.read())
            assert not own or os.path.dirname(path) == SUPPORT and name in ('seed.h', 'seed.py'), (path, own)
            read += len(own)
assert read == 2, read
