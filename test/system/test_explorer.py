#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""neuron-explorer: every option of capture and inspect, against NumPy and against what the files hold.

    test_explorer.py <neuron-explorer> <opennrt> <libnrt> <allreduce_build> <man page>"""
import glob
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest
import zlib

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../support'))
from tools import Site, proves  # noqa: E402

TOOL, OPENNRT, LIB, ALLREDUCE, MAN = map(os.path.abspath, [sys.argv.pop(1) for _ in range(5)])
RNG = np.random.default_rng(15)

# total = total + seed, so that each execution leaves another output.
COUNTING = '''
.name counting
var seed: input f32[2, 512]
var total: output f32[2, 512]
queue q: in owner=sp
tile t, u: sbuf f32[2, 512]
sem loaded, added, stored
sp:
    dma on q -> loaded: t <- seed
    dma on q -> loaded: u <- total
    wait added >= 1: dma on q -> stored: total <- t
    wait stored >= 1: end
dve:
    wait loaded >= 2: tensor_tensor t, t, u, add -> added++
    end
'''
# Two outputs, of which --save-output makes files of their names with '_' for '/'.
TWO = '''
.name two
var seed: input f32[4]
var "%s": output f32[4]
var "%s": output f32[4]
queue q: in owner=sp
sem s
sp:
    dma on q -> s: "%s" <- seed, "%s" <- seed
    wait s >= 1: end
'''
# Waits for a semaphore that nothing raises.
HANG = '''
.name hang
var a: input f32[2, 512]
var c: output f32[2, 512]
queue q: in owner=sp
tile t: sbuf f32[2, 512]
sem loaded, never
sp:
    dma on q -> loaded: t <- a
    wait never >= 1: dma on q -> loaded: c <- t
    end
'''


class Explorer(unittest.TestCase):
    def setUp(self):
        self.site = Site('explorer', OPENNRT, LIB).__enter__()
        self.addCleanup(self.site.__exit__)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.a, self.b = RNG.standard_normal((2, 2, 512), dtype=np.float32)
        np.save(self.path('a.npy'), self.a)
        self.b.tofile(self.path('b.bin'))

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def run_in(self, *argv, code=0, **env):
        done = subprocess.run(argv, env=dict(self.site.env, **env), cwd=self.folder.name, capture_output=True, text=True,
                              check=False, timeout=100)
        self.assertEqual(done.returncode, code, (argv, done))
        return done

    def capture(self, *argv, code=0, neff=None, **env):
        return self.run_in(TOOL, 'capture', '-n', neff or self.site.neff, *argv, code=code, **env)

    def assemble(self, name, text):
        with open(self.path(name + '.nasm'), 'w', encoding='utf-8') as f:
            f.write(text)
        self.run_in(OPENNRT, 'asm', name + '.nasm', '-o', name + '.neff')
        return self.path(name + '.neff')

    def files(self, pattern='*.ntff'):
        return sorted(os.path.basename(p) for p in glob.glob(self.path(pattern)))

    def loads(self, name):
        with open(self.path(name), encoding='utf-8') as f:
            return json.load(f)

    # ---- what is executed ----

    def test_inputs_and_outputs(self):
        said = self.capture('--disable-profile', '--save-output', '--save-output-npy', 'a', 'a.npy', 'b', 'b.bin')
        self.assertEqual(said.stdout, 'c\nc.npy\n')
        np.testing.assert_array_equal(np.fromfile(self.path('c'), np.float32), (self.a + self.b).ravel())
        proves('tool-133')
        got = np.load(self.path('c.npy'))
        self.assertEqual((got.dtype, got.shape), (np.float32, (2, 512)))
        np.testing.assert_array_equal(got, self.a + self.b)
        proves('tool-134')
        self.assertEqual(self.files(), [])  # no profile
        proves('tool-129')
        self.capture('--disable-profile', '--save-output-npy', 'a', 'a.npy')  # b is zero
        np.testing.assert_array_equal(np.load(self.path('c.npy')), self.a)
        proves('tool-174')
        for wrong, why in ((('z', 'a.npy'), 'no input z'), (('a', 'missing.npy'), 'missing.npy: No such file'),
                           (('a', 'c.npy', 'b', self.site.neff), 'needs 4096')):
            self.assertIn(why, self.capture('--disable-profile', *wrong, code=1).stderr)
        self.assertIn('input b has no file', self.capture('a', 'a.npy', 'b', code=2).stderr)

    def test_types_that_numpy_has_not(self):
        with open(os.path.join(os.path.dirname(__file__), '../programs/add.nasm'), encoding='utf-8') as f:
            text = f.read()
        half = self.assemble('half', text.replace('f32', 'bf16').replace('ROWS = 256', 'ROWS = 2'))
        bad = self.capture('--disable-profile', '--save-output-npy', neff=half, code=1)
        self.assertIn('c is of type bfloat16', bad.stderr)
        self.capture('--disable-profile', '--save-output', neff=half)
        self.assertEqual(os.path.getsize(self.path('c')), 2 * 512 * 2)

    def test_outputs_have_files_of_their_own(self):
        """Else nothing is executed and nothing written; where nothing is saved, nothing is in the way."""
        raw, npy = '--save-output', '--save-output-npy'
        for names, options, file in ((('a/b', 'a_b'), [raw], 'a_b'), (('a/b', 'a_b'), [npy], 'a_b.npy'),
                                     (('x.npy', 'x'), [raw, npy], 'x.npy'), (('a/b', 'a_b'), [], None),
                                     (('x.npy', 'x'), [raw], None), (('a/b', 'a_c'), [raw, npy], None)):
            neff = self.assemble('two', TWO % (names + names))
            before = self.files('*')
            said = self.capture(*options, neff=neff, code=1 if file else 0)
            if file:
                self.assertIn('outputs %s and %s would be one file, %s, ' % (*names, file), said.stderr)
                self.assertIn('nothing was executed', said.stderr)
                self.assertEqual(self.files('*'), before)
            else:
                want = [n.replace('/', '_') + e for n in names for e, o in (('', raw), ('.npy', npy)) if o in options]
                self.assertEqual(said.stdout.split(), ['profile.ntff', *want])

    def test_the_default_neff(self):
        os.link(self.site.neff, self.path('file.neff'))
        self.run_in(TOOL, 'capture')
        self.assertEqual(self.files(), ['profile.ntff'])
        proves('tool-122')
        self.run_in(TOOL, 'capture', '--neff', 'other.neff', code=1)

    def test_determinism(self):
        same = self.capture('--num-exec', '4', '--check-output-determinism', '--disable-profile', 'a', 'a.npy')
        self.assertEqual(same.stderr, '')
        np.save(self.path('one.npy'), np.ones((2, 512), np.float32))
        counting = self.assemble('counting', COUNTING)
        for mode in ('sync', 'async-wait'):
            bad = self.capture('--num-exec', '4', '--check-output-determinism', '--disable-profile', '--exec-mode', mode,
                               'seed', 'one.npy', neff=counting, code=1)
            sums = re.search(r'output total of rank 0: CRC32 (\w+) of execution 2 differs from (\w+) of the first', bad.stderr)
            self.assertEqual([int(s, 16) for s in sums.groups()],
                             [zlib.crc32(np.full((2, 512), n, np.float32)) for n in (2, 1)])
        proves('tool-135')
        self.capture('--exec-mode', 'async', '--check-output-determinism', code=2)

    def test_modes_execute_as_often(self):
        np.save(self.path('one.npy'), np.ones((2, 512), np.float32))
        counting = self.assemble('counting', COUNTING)
        for mode in ('sync', 'async', 'async-wait'):
            for n in (1, 7, 200):
                self.capture('--num-exec', str(n), '--exec-mode', mode, '--disable-profile', '--save-output-npy', 'seed',
                             'one.npy', neff=counting)
                self.assertTrue((np.load(self.path('total.npy')) == n).all(), (mode, n))
        proves('tool-124')
        self.capture('--exec-mode', 'later', code=2)
        proves('tool-127')

    def test_failed_executions(self):
        hang = self.assemble('hang', HANG)
        for mode in ('sync', 'async', 'async-wait'):
            bad = self.capture('--num-exec', '3', '--exec-mode', mode, '--disable-profile', neff=hang, code=1,
                               NEURON_RT_EXEC_TIMEOUT='1')
            self.assertIn('execution 1 of rank 0: NRT_TIMEOUT (5)', bad.stderr)
        lenient = self.capture('--num-exec', '3', '--ignore-exec-errors', '--save-output', neff=hang,
                               NEURON_RT_EXEC_TIMEOUT='1')
        for n in (1, 2, 3):
            self.assertIn('execution %d of rank 0: NRT_TIMEOUT (5), ignored' % n, lenient.stderr)
        proves('tool-128')

    def test_single_io(self):
        self.capture('--disable-profile', '--single-io', '--save-output', 'a', 'a.npy', 'b', 'b.bin')
        # Both inputs and the output are the bytes that came last: b, which is added to itself.
        np.testing.assert_array_equal(np.fromfile(self.path('c'), np.float32), (self.b + self.b).ravel())
        proves('tool-131')
        self.capture('--disable-profile', '--single-io', '--single-io-threshold', '4096', '--save-output', 'a', 'a.npy', 'b',
                     'b.bin')
        np.testing.assert_array_equal(np.fromfile(self.path('c'), np.float32), (self.a + self.b).ravel())
        self.capture('--disable-profile', '--single-io', '--single-io-threshold', '4095', '--save-output', 'a', 'a.npy', 'b',
                     'b.bin')
        np.testing.assert_array_equal(np.fromfile(self.path('c'), np.float32), (self.b + self.b).ravel())
        proves('tool-132')

    def test_single_io_takes_one_tensor(self):
        """130 tensors of 128 MiB are more than an HBM of 16 GiB has; with --single-io they are one."""
        many = self.assemble('many', '.name many\n.arch trn1\n' + 'sp: end\n' + ''.join(
            'var t%d: %s u8[128, 1048576]\n' % (i, 'output' if i == 129 else 'input') for i in range(130)))
        full = self.capture('--disable-profile', neff=many, code=1)
        self.assertIn('NRT_RESOURCE (4)', full.stderr)
        self.assertRegex(full.stderr, r'Failed to allocate 128\.000MB .*usage: tensors')
        self.capture('--disable-profile', '--single-io', neff=many)
        proves('mem-043')

    # ---- profiles ----

    def test_profiles(self):
        self.assertEqual(self.capture('-s', 'mine.ntff').stdout, 'mine.ntff\n')
        with open(self.path('mine.ntff'), 'rb') as f:
            self.assertEqual(f.read(8), b'ONRTNTFF')
        proves('tool-123')
        proves('tool-173')
        self.capture('--profile-nth-exec=2')
        self.assertEqual(self.files('profile*'), ['profile_exec_2.ntff'])  # executed twice, as the documentation has it
        self.capture('--profile-nth-exec', '3', '--num-exec', '7', '-s', 'p.x')
        self.assertEqual(self.files('p_*'), ['p_exec_3.x', 'p_exec_6.x'])
        self.capture('--profile-nth-exec', '0', '-s', 'never.ntff')
        self.assertEqual(self.files('never*'), [])
        proves('tool-125')
        self.capture('--exec-mode', 'async', '--num-exec', '70', '-s', 'all.ntff')
        self.assertEqual(self.files('all*'), ['all.ntff'])
        # The runtime shows its variables when an execution fails.
        hang, shown = self.assemble('hang', HANG), 'NEURON_RT_ENABLE_DGE_NOTIFICATIONS=1'
        for options, wanted in (((), False), (('--enable-dge-notifs',), True)):
            said = self.capture(*options, '-s', 'dge.ntff', neff=hang, code=1, NEURON_RT_EXEC_TIMEOUT='1').stderr
            self.assertEqual(shown in said.replace(' ', ''), wanted, said)
        proves('tool-130')
        self.assertIn('no/such/folder.ntff', self.capture('-s', 'no/such/folder.ntff', code=1).stderr)

    def test_system_trace(self):
        listed = self.run_in(TOOL, 'capture', '--systrace-get-event-types').stdout.split('\n')
        self.assertTrue({'nc_exec_running', 'nrt_load', 'nrt_execute', 'model_load'} < set(listed))
        proves('tool-141')
        self.capture('-t', 'systrace', '-s', 'all.json', '--num-exec', '3')
        events = self.loads('all.json')['events']
        self.assertTrue({e['event_type'] for e in events} <= set(listed))
        runs = [e['phase'] for e in events if e['event_type'] == 'nc_exec_running']
        self.assertEqual(runs, ['start', 'stop'] * 3)
        self.capture('--capture-type', 'profile', '-s', 'p.ntff')
        self.assertIn('is profile or systrace', self.capture('-t', 'both', code=2).stderr)
        proves('tool-126')
        self.capture('-t', 'systrace', '-s', 'two.json', '--systrace-event-filter', 'nrt_execute', '--systrace-event-filter',
                     'model_load')
        self.assertEqual({e['event_type'] for e in self.loads('two.json')['events']}, {'nrt_execute', 'model_load'})
        self.assertIn('NRT_INVALID', self.capture('-t', 'systrace', '--systrace-event-filter', 'none', code=1).stderr)
        self.capture('--systrace-event-filter', 'nrt_execute', code=2)
        proves('tool-142')

    # ---- several workers ----

    def test_workers(self):
        neff = self.path('allreduce.neff')
        subprocess.run([ALLREDUCE, '2', '1000', neff], check=True)
        x = RNG.integers(-100, 100, (2, 1000)).astype(np.float32)
        for rank in range(2):
            np.save(self.path('x%d.npy' % rank), x[rank])
        with open(self.path('inputs.txt'), 'w', encoding='utf-8') as f:
            f.write('x x0.npy\nx x1.npy\n')
        self.capture('-r', '2', '-m', 'inputs.txt', '--save-output-npy', '-s', './out.ntff', neff=neff)
        self.assertEqual(self.files('out*'), ['out_rank_0.ntff', 'out_rank_1.ntff'])
        proves('tool-136')
        proves('tool-175')
        for rank in range(2):
            np.testing.assert_array_equal(np.load(self.path('y_rank_%d.npy' % rank)), x[0] + x[1])
        self.capture('-r', '2', '-m', 'inputs.txt', 'x', 'x0.npy', neff=neff, code=2)
        with open(self.path('one.txt'), 'w', encoding='utf-8') as f:
            f.write('x x0.npy\n')
        self.assertIn('1 lines for 2 workers', self.capture('-r', '2', '-m', 'one.txt', neff=neff, code=1).stderr)
        proves('tool-140')
        self.capture('--collectives-worker-count', '2', '-i', '1', '-s', 'few.ntff', neff=neff)
        self.assertEqual(self.files('few*'), ['few_rank_1.ntff'])
        proves('tool-137')
        self.capture('-r', '2', '-i', 'all', '-s', 'every.ntff', neff=neff)
        self.assertEqual(len(self.files('every*')), 2)
        self.capture('-r', '2', '-i', '2', neff=neff, code=2)
        proves('tool-139')
        self.assertIn('which has 2 cores', self.capture('-r', '3', neff=neff, code=1).stderr)

    def test_two_nodes(self):
        """Two processes, each with a core and a rank: what each node of a job would start."""
        neff = self.path('allreduce.neff')
        subprocess.run([ALLREDUCE, '2', '1000', neff], check=True)
        np.save(self.path('x.npy'), np.arange(1000, dtype=np.float32))
        with socket.socket() as s:  # bound, and never listening, until the job has ended: nobody else gets the port
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(('127.0.0.1', 0))
            env = dict(self.site.env, NEURON_RT_ROOT_COMM_ID='127.0.0.1:%d' % s.getsockname()[1])
            nodes = [subprocess.Popen([TOOL, 'capture', '-n', neff, '-r', '1', '--collectives-worker-count', '2',
                                       '--collectives-worker-start-id', str(rank), '--save-output-npy', '-s', 'n.ntff', 'x',
                                       'x.npy'], env=dict(env, NEURON_RT_VISIBLE_CORES=str(rank)), cwd=self.folder.name)
                     for rank in range(2)]
            self.assertEqual([n.wait(timeout=100) for n in nodes], [0, 0])
        self.assertEqual(self.files('n_*'), ['n_rank_0.ntff', 'n_rank_1.ntff'])
        for rank in range(2):
            np.testing.assert_array_equal(np.load(self.path('y_rank_%d.npy' % rank)), 2 * np.arange(1000))
        self.capture('-r', '2', '--collectives-worker-count', '2', '--collectives-worker-start-id', '1', neff=neff, code=2)
        proves('tool-138')

    # ---- inspect ----

    def test_inspect(self):
        def variables(*options):
            out = self.run_in(TOOL, 'inspect', *options, 'env').stdout
            return dict(re.findall(r'^NEURON_RT_INSPECT_(\w+)=(.*)$', out, re.M))

        both = {'ENABLE': '1', 'OUTPUT_DIR': '.', 'SYSTEM_PROFILE': '1', 'DEVICE_PROFILE': '1'}
        self.assertEqual(variables(), both)
        self.assertEqual(variables('-o', 'there', '-n', '77'),
                         dict(both, OUTPUT_DIR='there', SYS_TRACE_MAX_EVENTS_PER_NC='77'))
        self.assertEqual(variables('--capture-system-profiles'), dict(both, DEVICE_PROFILE='0'))
        proves('tool-143')
        self.assertEqual(variables('--capture-device-profiles'), dict(both, SYSTEM_PROFILE='0'))
        proves('tool-144')
        self.run_in(TOOL, 'inspect', 'sh', '-c', 'exit 7', code=7)  # the command's own code and arguments
        self.assertIn('No such file', self.run_in(TOOL, 'inspect', './nothing', code=1).stderr)
        self.run_in(TOOL, 'inspect', code=2)
        self.run_in(TOOL, 'inspect', '-o', 'results', OPENNRT, 'run', self.site.neff, '-n', '3')
        found = [os.path.basename(p) for p in glob.glob(self.path('results/*_pid_*/*'))]
        self.assertTrue([p for p in found if p.endswith('.ntff')], found)
        self.assertIn('ntrace.pb', found)
        proves('tool-176')

    # ---- the tool ----

    def test_help(self):
        with open(MAN, encoding='utf-8') as f:
            man = f.read().replace('\\-', '-')
        for command in ('capture', 'inspect', 'view'):
            text = self.run_in(TOOL, command, '--help').stdout
            names = re.findall(r'^ +(?:-\w, |    )?(--[a-z-]+)', text, re.M)
            self.assertGreater(len(names), 4)
            for name in names:
                self.assertRegex(man, re.escape(name) + r'(?![\w-])')
            self.assertEqual(self.run_in(TOOL, command, '-h').stdout, text)
            self.run_in(TOOL, command, '--no-such-option', code=2)
        self.assertIn('capture', self.run_in(TOOL, '--help').stdout)
        proves('tool-171')
        for flag in ('-v', '--version'):
            self.assertRegex(self.run_in(TOOL, flag).stdout, r'^neuron-explorer \d+\.\d+\.\d+ \(OpenNRT, software device\)\n$')
        proves('tool-170')
        self.run_in(TOOL, code=2)
        self.assertIn('unknown command "fly"', self.run_in(TOOL, 'fly', code=2).stderr)


if __name__ == '__main__':
    unittest.main()
