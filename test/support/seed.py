# SPDX-License-Identifier: Apache-2.0
"""The seed of a random test, as in seed.h."""
import os
import re
import secrets
import sys


def seed_take(otherwise=None):
    """OPENNRT_SEED, decimal or 0x and hexadecimal, at most 64 bits; without it what is given, or a new one. It is
    printed as it repeats what was drawn. A value that is no such number ends the program."""
    text = os.environ.get('OPENNRT_SEED')
    if text is None:
        seed = secrets.randbits(32) if otherwise is None else otherwise
    else:
        hexa = text[:2].lower() == '0x'
        if not re.fullmatch('0[xX][0-9a-fA-F]+' if hexa else '[0-9]+', text) or int(text, 16 if hexa else 10) >> 64:
            sys.stderr.write('OPENNRT_SEED is "%s", which is no number of 64 bits\n' % text)
            sys.exit(2)
        seed = int(text, 16 if hexa else 10)
    print('OPENNRT_SEED=%d' % seed, flush=True)
    return seed
