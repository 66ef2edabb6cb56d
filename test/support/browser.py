# SPDX-License-Identifier: Apache-2.0
"""A browser without a screen, where the machine has one: what a page becomes, and how it looks."""
import os
import shutil
import struct
import subprocess
import tempfile
import zlib

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome-headless-shell')
WIDTH, HEIGHT = 900, 700


class Absent(Exception):
    """Why there is none."""


def run(program, page, *options):
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run([program, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
                               '--hide-scrollbars', '--force-device-scale-factor=1', '--user-data-dir=' + home,
                               '--window-size=%d,%d' % (WIDTH, HEIGHT), *options, page],
                              env=dict(os.environ, HOME=home, XDG_CONFIG_HOME=home, XDG_CACHE_HOME=home), capture_output=True,
                              check=False, timeout=120)


def find():
    """A browser that shows an empty page here."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if not program:
        raise Absent('there is no ' + ', '.join(NAMES))
    try:
        done = run(program, 'data:text/html,<p>here', '--dump-dom')
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Absent('%s: %s' % (program, e)) from e
    if done.returncode or b'here' not in done.stdout:
        raise Absent('%s ends with %d: %s' % (program, done.returncode, done.stderr.decode(errors='replace')[-300:]))
    return program


def dom(program, path):
    """The page after its scripts have run."""
    done = run(program, 'file://' + path, '--dump-dom')
    assert done.returncode == 0, done
    return done.stdout.decode()


def colours(program, path, png):
    """How often each colour occurs in a picture of the page."""
    done = run(program, 'file://' + path, '--screenshot=' + png)
    assert done.returncode == 0 and os.path.exists(png), done
    with open(png, 'rb') as f:
        return count(f.read())


def count(data):
    """Of an 8-bit RGB or RGBA picture: the PNG specification, sections 5 and 9."""
    assert data[:8] == b'\x89PNG\r\n\x1a\n'
    at, packed = 8, b''
    while at < len(data):
        size, kind = struct.unpack_from('>I4s', data, at)
        body = data[at + 8:at + 8 + size]
        if kind == b'IHDR':
            width, height, depth, form, _, _, interlaced = struct.unpack('>IIBBBBB', body)
            assert depth == 8 and form in (2, 6) and not interlaced
        elif kind == b'IDAT':
            packed += body
        at += size + 12
    n = 3 if form == 2 else 4
    raw, row, found = zlib.decompress(packed), bytearray(width * n), {}
    for y in range(height):
        start = y * (width * n + 1)
        filtered, above, row = raw[start], row, bytearray(raw[start + 1:start + 1 + width * n])
        for i in range(width * n if filtered else 0):
            a = row[i - n] if i >= n else 0
            b, c = above[i], above[i - n] if i >= n else 0
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            row[i] = row[i] + (0, a, b, (a + b) // 2, nearest)[filtered] & 255
        for i in range(0, width * n, n):
            colour = bytes(row[i:i + 3])
            found[colour] = found.get(colour, 0) + 1
    return found
