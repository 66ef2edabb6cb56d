# SPDX-License-Identifier: Apache-2.0
"""What the tests of view share: profiles to look at, ways to ask, and what else they know of them.

The command line of such a test is <neuron-explorer> <opennrt> <libnrt> <source root>; VIEW_WITHOUT, a list of "server" and
"database", is what the tools were built without."""
import glob
import html.parser
import json
import os
import subprocess
import sys
import tempfile
import unittest

import pftrace
from tools import Site

EXPLORER, OPENNRT, LIB, ROOT = map(os.path.abspath, [sys.argv.pop(1) for _ in range(4)])
os.environ['no_proxy'] = '*'  # this host's servers are not looked for behind a proxy
WITHOUT = os.environ.get('VIEW_WITHOUT', '').split()
SERVES, DATABASES = 'server' not in WITHOUT, 'database' not in WITHOUT
PROGRAMS = os.path.join(ROOT, 'test/programs')


class Page(html.parser.HTMLParser):
    """Texts by element, and everything that would load something."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.texts, self.loads, self.elements, self.data = [], {}, [], [], ''
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.loads += [(tag, k, v) for k, v in attrs if k in ('src', 'href', 'action', 'data', 'background') or k.startswith('on')]
        if tag not in ('meta', 'link', 'img', 'polyline'):
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if self.open and self.open[-1][0] == tag:
            self.open.pop()

    def handle_data(self, data):
        tag, attrs = self.open[-1] if self.open else ('', {})
        if attrs.get('id') == 'data':
            self.data += data
        else:
            self.texts.setdefault(tag, []).append(data)


class ViewCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """Profiles to look at: of one execution, of several, of two ranks with a collective, of two physical cores."""
        cls.site = Site('view', OPENNRT, LIB).__enter__()
        cls.tmp = tempfile.TemporaryDirectory()
        cls.folder = cls.tmp.name
        for name in ('matmul', 'layernorm', 'softmax', 'waits', 'add', 'spill', 'summed', 'pair'):
            cls.site.run(OPENNRT, 'asm', os.path.join(PROGRAMS, name + '.nasm'), '-o', cls.path(name + '.neff'))
        for name in ('matmul', 'layernorm', 'softmax', 'waits'):
            cls.capture(cls.site, name, '--profile-nth-exec', '1', '--num-exec', '1', '-s', cls.path(name + '.ntff'))
        cls.capture(cls.site, 'spill', '--exec-mode', 'async', '--num-exec', '2', '-s', cls.path('spill.ntff'))
        cls.capture(cls.site, 'add', '--exec-mode', 'async', '--num-exec', '3', '-s', cls.path('add.ntff'))
        with Site('viewpair', OPENNRT, LIB, 'trn2.3xlarge') as pair:
            cls.capture(pair, 'pair', '-s', cls.path('pair.ntff'))
        # Only what is watched when it is loaded has times of its collectives.
        cls.inspected = cls.path('inspected')
        cls.site.run(EXPLORER, 'inspect', '-o', cls.inspected, EXPLORER, 'capture', '-n', cls.path('summed.neff'), '-r', '2',
                     '--num-exec', '3', '--disable-profile', NEURON_RT_INSPECT_CPU_UTIL='1', NEURON_RT_INSPECT_HOST_MEMORY='1')
        for path in glob.glob(cls.path('inspected/*/*.ntff')):
            os.link(path, cls.path('summed_' + os.path.basename(path)))
        cls.profiles = sorted(glob.glob(cls.path('*.ntff')))
        assert len(cls.profiles) >= 8, cls.profiles

    @classmethod
    def tearDownClass(cls):
        cls.tmp.cleanup()
        cls.site.__exit__()

    @classmethod
    def path(cls, *names):
        return os.path.join(cls.folder, *names)

    @classmethod
    def capture(cls, site, name, *argv):
        site.run(EXPLORER, 'capture', '-n', cls.path(name + '.neff'), *argv)

    def run_in(self, *argv, code=0, cwd=None):
        done = subprocess.run(argv, env=self.site.env, cwd=cwd or self.folder, capture_output=True, check=False, timeout=100)
        self.assertEqual(done.returncode, code, (argv, done))
        return done.stdout.decode(), done.stderr.decode()

    def view(self, *argv, tool=EXPLORER, **more):
        return self.run_in(tool, 'view', *argv, **more)[0]

    def json(self, *argv):
        return json.loads(self.view('--output-format', 'json', '--output-file', '-', *argv))

    def first(self, name):
        """A profile of the program, and its NEFF."""
        return [p for p in self.profiles if os.path.basename(p).startswith(name)][0], self.path(name + '.neff')

    def report(self, *argv):
        self.view(*argv, '--output-format', 'html', '--output-file', 'report.html', tool=OPENNRT)
        with open(self.path('report.html'), encoding='utf-8') as f:
            page = Page(f.read())
        self.assertEqual(page.loads, [])
        return page, json.loads(page.data)

    def system(self, *argv):
        with tempfile.TemporaryDirectory() as cwd:
            self.view('-d', self.inspected, '--ignore-device-profile', *argv, cwd=cwd)
            names = os.listdir(cwd)
            self.assertEqual(len(names), 1)
            path = os.path.join(cwd, names[0])
            if names == ['system_profile.pftrace']:
                return pftrace.read(path)
            self.assertEqual(names, ['system_profile.json'])
            with open(path, encoding='utf-8') as f:
                return json.load(f)
