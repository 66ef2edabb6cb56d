#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nrtpy against NumPy and the library's own account. LD_LIBRARY_PATH and PYTHONPATH lead to libnrt and the package.

    test_nrtpy.py <opennrt> <neuron-packager> <allreduce_build> <source root>"""
import ast
import ctypes
import gc
import glob
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../support'))
from proves import proves  # noqa: E402

ASM, PACKAGER, ALLREDUCE, ROOT = map(os.path.abspath, [sys.argv.pop(1) for _ in range(4)])
INSTANCE = 'nrtpy%d' % os.getpid()
os.environ.update(OPENNRT_INSTANCE=INSTANCE, OPENNRT_INSTANCE_TYPE='trn1.2xlarge')  # two cores, an HBM each
for unset in ('NEURON_LOGICAL_NC_CONFIG', 'NEURON_RT_VISIBLE_CORES', 'NEURON_RT_NUM_CORES', 'NEURON_RT_ROOT_COMM_ID'):
    os.environ.pop(unset, None)

import numpy as np  # noqa: E402

import nrtpy  # noqa: E402
from nrtpy import BenchmarkResult, NrtError, NrtpyError, NrtpyModel, NrtpyTensor, NrtTensor  # noqa: E402

LIB = ctypes.CDLL('libnrt.so.1')
TMP = tempfile.TemporaryDirectory()
RNG = np.random.default_rng(20)


def setUpModule():
    text = read(os.path.join(ROOT, 'test/programs/add.nasm'))
    assemble('add', text)
    adds_into_a = text.replace('-> out: c[', '-> out: a[').replace('var c: output f32[ROWS, COLS]', '')
    assemble('into', adds_into_a)
    rewrite('into', 'alias', lambda node: node['outputs'].append(node['inputs'][0]))
    rewrite('add', 'untyped', lambda node: [t.pop('dtype') for t in node['inputs'] + node['outputs']])
    subprocess.run([ALLREDUCE, '2', '1000', neff('allreduce')], check=True)


def tearDownModule():
    nrtpy.reset()
    subprocess.run([ASM, 'reset', '--force', '-i', INSTANCE], stdout=subprocess.DEVNULL, check=False)
    TMP.cleanup()


def read(path, mode='r'):
    with open(path, mode, encoding=None if 'b' in mode else 'utf-8') as f:
        return f.read()


def neff(name):
    return os.path.join(TMP.name, name + '.neff')


def assemble(name, text):
    source = os.path.join(TMP.name, name + '.nasm')
    with open(source, 'w', encoding='utf-8') as f:
        f.write(text)
    subprocess.run([ASM, 'asm', source, '-o', neff(name), '-D', 'ROWS=2'], check=True)


def rewrite(source, name, change):
    """The NEFF with its node in neff.json changed."""
    folder = os.path.join(TMP.name, name)
    subprocess.run([PACKAGER, 'unpack', '-o', folder, neff(source)], check=True, stdout=subprocess.DEVNULL)
    path = os.path.join(folder, 'neff.json')
    graph = json.loads(read(path))
    change(graph['nodes'][0])
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(graph, f)
    tar = folder + '.tar'
    subprocess.run(['tar', 'cf', tar, *os.listdir(folder)], check=True, cwd=folder)
    subprocess.run([PACKAGER, 'create', '-i', tar, '-o', neff(name)[:-len('.neff')]], check=True,
                   stdout=subprocess.DEVNULL)


def used(core=0):
    """Bytes of the core's HBM that the library says are in use."""
    stats, size = (ctypes.c_size_t * 2)(), ctypes.c_size_t()
    assert LIB.nrt_get_vnc_memory_stats(core, stats, ctypes.c_size_t(16), ctypes.byref(size)) == 0
    return stats[0]


def pair():
    a, b = RNG.standard_normal((2, 2, 512), dtype=np.float32)
    return a, b, {'a': NrtpyTensor.from_numpy(a, 'a'), 'b': NrtpyTensor.from_numpy(b, 'b')}


class Case(unittest.TestCase):
    def tearDown(self):
        gc.collect()
        nrtpy.reset()


class Configuration(Case):
    def test_what_is_refused(self):
        for bad in (2, [0, 'a'], [0, 1.5], [None], [True]):
            self.assertRaises(TypeError, nrtpy.configure, bad)
        self.assertRaises(ValueError, nrtpy.configure, [0, -1])
        self.assertNotIn('NEURON_RT_VISIBLE_CORES', os.environ)
        kept = NrtpyTensor.from_numpy(np.zeros(1))
        self.assertRaises(NrtpyError, nrtpy.configure, [0])
        self.assertRaises(NrtpyError, nrtpy.configure)
        self.assertEqual(kept.numpy(), 0)

    def test_sets_the_variable_and_nothing_else(self):
        count = ctypes.c_uint32()
        nrtpy.configure(np.arange(1, 2))
        self.assertEqual(os.environ['NEURON_RT_VISIBLE_CORES'], '1')
        self.assertIn(LIB.nrt_get_vnc_memory_stats(0, None, ctypes.c_size_t(0), None), (13, 14))  # has not begun
        nrtpy.configure()
        self.assertEqual(os.environ['NEURON_RT_VISIBLE_CORES'], '1')
        kept = NrtpyTensor.from_numpy(np.ones(1))
        self.assertEqual(LIB.nrt_get_visible_vnc_count(ctypes.byref(count)), 0)
        self.assertEqual((count.value, kept.numpy()), (1, 1))
        with self.assertRaises(NrtError):
            NrtpyTensor.from_numpy(np.ones(1), core_id=1)
        proves('tool-181')

    def test_reset(self):
        os.environ['NEURON_RT_VISIBLE_CORES'] = '0,1'
        try:
            nrtpy.reset()  # nothing has begun
            nrtpy.configure(range(1))
            model, (a, _, inputs) = NrtpyModel.load_from_neff(neff('add')), pair()
            first = nrtpy.get_nrtpy_singleton()
            nrtpy.reset()
            self.assertEqual(os.environ['NEURON_RT_VISIBLE_CORES'], '0,1')
            later = NrtpyTensor.from_numpy(a, core_id=1)  # its handle may have the number of an older one
            for stale in (lambda: inputs['a'].numpy(), lambda: inputs['a'].write_from_numpy(a),
                          lambda: model(inputs), lambda: model.benchmark(inputs, mode='host'),
                          lambda: first.free_tensor(inputs['a'])):
                self.assertRaises(NrtpyError, stale)
            before = used(1)
            del model, inputs, stale
            gc.collect()
            self.assertEqual(used(1), before)
            np.testing.assert_array_equal(later.numpy(), a)
            self.assertIsNot(nrtpy.get_nrtpy_singleton(), first)
            proves('tool-182')
        finally:
            del os.environ['NEURON_RT_VISIBLE_CORES']

    def test_singleton(self):
        got = []
        threads = [threading.Thread(target=lambda: got.append(nrtpy.get_nrtpy_singleton())) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len(set(map(id, got))), 1)
        one, before = got[0], used()
        tensor = NrtpyTensor.from_numpy(np.zeros(1 << 20, np.uint8))
        self.assertGreaterEqual(used(), before + (1 << 20))
        one.free_tensor(tensor)
        self.assertEqual(used(), before)
        for again in (lambda: one.free_tensor(tensor), tensor.numpy, lambda: tensor.write_from_numpy(np.zeros(1 << 20, 'B'))):
            self.assertRaises(NrtpyError, again)
        self.assertRaises(TypeError, one.free_tensor, 3)
        proves('tool-183')


class Tensors(Case):
    def test_constructor(self):
        ref = nrtpy.get_nrtpy_singleton().allocate(24, 0, 'six')
        self.assertIsInstance(ref, NrtTensor)
        tensor = NrtpyTensor(ref, 6, 'float32', name='six')
        self.assertEqual((tensor.shape, tensor.dtype, tensor.name), ((6,), np.dtype(np.float32), 'six'))
        np.testing.assert_array_equal(tensor.numpy(), np.zeros(6))
        other = NrtpyTensor(ref, [2, 3], np.int32)
        self.assertEqual((other.shape, other.name), ((2, 3), ''))
        self.assertRaises(ValueError, NrtpyTensor, ref, (5,), np.float32)
        self.assertRaises(TypeError, NrtpyTensor, object(), (6,), np.float32)
        proves('tool-184')

    def test_any_array(self):
        types = ['?', 'b', 'B', 'h', 'H', 'i', 'I', 'l', 'L', 'e', 'f', 'd', 'F', 'V3', 'S5', [('x', 'i4'), ('y', 'f8')]]
        for dtype in types:
            for shape in ((), (0,), (1,), (7,), (3, 0, 2), (2, 3, 5)):
                raw = RNG.bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)
                array = np.frombuffer(raw, dtype).reshape(shape) if raw else np.zeros(shape, dtype)
                tensor = NrtpyTensor.from_numpy(array, name='t')
                back = tensor.numpy()
                self.assertEqual((back.shape, back.dtype, back.tobytes()), (array.shape, array.dtype, array.tobytes()))
                self.assertEqual((tensor.shape, tensor.dtype, tensor.name), (array.shape, array.dtype, 't'))
        strided = np.arange(60, dtype=np.int32).reshape(3, 4, 5)[::-1, ::2, 1:].T
        np.testing.assert_array_equal(NrtpyTensor.from_numpy(strided).numpy(), strided)
        self.assertRaises(TypeError, NrtpyTensor.from_numpy, np.array([object()]))
        before = used(0), used(1)
        there = NrtpyTensor.from_numpy(np.zeros(1 << 21, np.uint8), core_id=1)
        self.assertEqual(used(0), before[0])
        self.assertGreaterEqual(used(1), before[1] + there.tensor_ref.size)
        proves('tool-185')
        proves('tool-187')

    def test_write(self):
        tensor = NrtpyTensor.from_numpy(np.zeros((4, 6), np.float32))
        before = used()
        new = RNG.standard_normal((6, 4), dtype=np.float32).T
        tensor.write_from_numpy(new)
        np.testing.assert_array_equal(tensor.numpy(), new)
        tensor.write_from_numpy(np.arange(12))  # 96 bytes of another type
        self.assertEqual(tensor.numpy().tobytes(), np.arange(12).tobytes())
        for wrong in (np.zeros(25, np.float32), np.zeros(23, np.float32), np.zeros(0)):
            self.assertRaises(ValueError, tensor.write_from_numpy, wrong)
        self.assertEqual((tensor.numpy().tobytes(), used()), (np.arange(12).tobytes(), before))
        proves('tool-186')

    def test_collection(self):
        nrtpy.get_nrtpy_singleton()
        empty = used(0), used(1)
        for _ in range(50):
            NrtpyTensor.from_numpy(np.zeros(1 << 20, np.uint8), core_id=1)
        model, (_, _, inputs) = NrtpyModel.load_from_neff(neff('add')), pair()
        outputs = model(inputs)
        self.assertGreater(used(0), empty[0])
        del model, inputs
        gc.collect()
        held = used(0)
        self.assertGreater(held, empty[0])  # the output
        del outputs
        gc.collect()
        self.assertEqual((used(0), used(1)), empty)
        proves('tool-188')


class Models(Case):
    def test_load(self):
        import pathlib
        self.assertEqual(NrtpyModel.load_from_neff(neff('add')).name, 'add')
        self.assertEqual(NrtpyModel.load_from_neff(pathlib.Path(neff('add')), name='sum').name, 'sum')
        before = used(0), used(1)
        other = NrtpyModel.load_from_neff(neff('add'), core_id=1)
        self.assertEqual(used(0), before[0])
        self.assertGreater(used(1), before[1])
        a, b = RNG.standard_normal((2, 2, 512), dtype=np.float32)
        got = other({n: NrtpyTensor.from_numpy(t, core_id=1) for n, t in (('a', a), ('b', b))})
        np.testing.assert_array_equal(got['c'].numpy(), a + b)
        proves('tool-189')

    def test_infos(self):
        model = NrtpyModel.load_from_neff(neff('add'))
        self.assertEqual(list(model.input_tensors_info), ['a', 'b'])
        self.assertEqual(list(model.output_tensors_info), ['c'])
        for info in [*model.input_tensors_info.values(), *model.output_tensors_info.values()]:
            self.assertEqual((info.size, info.dtype, info.shape), (4096, 'float32', [2, 512]))
        untyped = NrtpyModel.load_from_neff(neff('untyped')).output_tensors_info['c']
        self.assertEqual((untyped.size, untyped.dtype, untyped.shape), (4096, 'unknown', [2, 512]))
        proves('tool-190')

    def test_call(self):
        model, (a, b, inputs) = NrtpyModel.load_from_neff(neff('add')), pair()
        outputs = model(inputs=inputs)
        self.assertEqual((list(outputs), outputs['c'].dtype, outputs['c'].shape), (['c'], np.float32, (2, 512)))
        np.testing.assert_array_equal(outputs['c'].numpy(), a + b)
        inputs['b'].write_from_numpy(a)
        mine = {'c': NrtpyTensor.from_numpy(np.zeros((2, 512), np.float32))}
        self.assertIsNone(model(inputs, mine))
        np.testing.assert_array_equal(mine['c'].numpy(), a + a)
        np.testing.assert_array_equal(outputs['c'].numpy(), a + b)
        self.assertRaises(TypeError, model, {'a': a, 'b': b})
        proves('tool-191')

    def test_void_outputs(self):
        model, (a, b, inputs) = NrtpyModel.load_from_neff(neff('untyped')), pair()
        got = model(inputs)['c'].numpy()
        self.assertEqual((got.dtype, got.shape), (np.dtype('V4'), (2, 512)))
        np.testing.assert_array_equal(got.view(np.float32), a + b)
        proves('tool-198')

    def test_aliased_outputs(self):
        model, (a, b, inputs) = NrtpyModel.load_from_neff(neff('alias')), pair()
        before = used()
        for times in (1, 2, 3):
            self.assertIs(model(inputs)['a'], inputs['a'])
            a = a + b
            np.testing.assert_array_equal(inputs['a'].numpy(), a)
        self.assertEqual((times, used()), (3, before))
        proves('tool-199')

    def test_threads(self):
        model = NrtpyModel.load_from_neff(neff('add'))
        failures = []

        def work(seed):
            rng = np.random.default_rng(seed)
            for _ in range(20):
                a, b = rng.standard_normal((2, 2, 512), dtype=np.float32)
                got = model({'a': NrtpyTensor.from_numpy(a), 'b': NrtpyTensor.from_numpy(b)})['c'].numpy()
                if not np.array_equal(got, a + b):
                    failures.append(seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failures, [])

    def test_collectives(self):
        total, wrong = [np.arange(1000, dtype=np.float32) * (r + 1) for r in range(2)], []

        def rank(r):
            model = NrtpyModel.load_from_neff(neff('allreduce'), core_id=r, cc_enabled=True, rank_id=r, world_size=2)
            got = model({'x': NrtpyTensor.from_numpy(total[r], core_id=r)})['y'].numpy()
            if not np.array_equal(got, total[0] + total[1]):
                wrong.append(r)

        ranks = [threading.Thread(target=rank, args=(r,)) for r in range(2)]
        for t in ranks:
            t.start()
        for t in ranks:
            t.join()
        self.assertEqual(wrong, [])
        with self.assertRaisesRegex(NrtError, r'^NRT Error NRT_INVALID\(2\): Failed to load model$'):
            NrtpyModel.load_from_neff(neff('allreduce'), cc_enabled=True, rank_id=2, world_size=2)
        proves('tool-200')


class Benchmarks(Case):
    def test_host(self):
        model, (a, b, inputs) = NrtpyModel.load_from_neff(neff('add')), pair()
        mine = {'c': NrtpyTensor.from_numpy(np.zeros((2, 512), np.float32))}
        result = model.benchmark(inputs, mine, warmup_iter=3, benchmark_iter=17, mode='host')
        np.testing.assert_array_equal(mine['c'].numpy(), a + b)
        self.assertEqual((result.iterations, result.warmup_iterations, len(result.durations_ms)), (17, 3, 17))
        self.assertTrue(all(ms > 0 for ms in result.durations_ms))
        for n in (0, -1):
            self.assertRaises(ValueError, model.benchmark, inputs, benchmark_iter=n)
        self.assertRaises(ValueError, model.benchmark, inputs, mode='gpu')
        self.assertRaises(NrtError, model.benchmark, {}, mode='host')
        proves('tool-194')

    def test_fields(self):
        model, (_, _, inputs) = NrtpyModel.load_from_neff(neff('add')), pair()
        result = model.benchmark(inputs, mode='host')
        self.assertIsInstance(result, BenchmarkResult)
        ms = np.array(result.durations_ms)
        self.assertEqual((result.iterations, result.warmup_iterations), (5, 5))
        np.testing.assert_allclose([result.mean_ms, result.min_ms, result.max_ms, result.std_dev_ms],
                                   [ms.mean(), ms.min(), ms.max(), ms.std()], rtol=1e-9)
        proves('tool-195')

    def test_device(self):
        model, (_, _, inputs) = NrtpyModel.load_from_neff(neff('add')), pair()
        result = model.benchmark(inputs, warmup_iter=2, benchmark_iter=9)
        self.assertEqual((result.iterations, result.warmup_iterations), (9, 2))
        # The same program on the same data lasts as long on the device, whatever the host does.
        self.assertGreater(result.min_ms, 0)
        self.assertEqual(len(set(np.round(result.durations_ms, 6))), 1)
        again = model.benchmark(inputs, warmup_iter=0, benchmark_iter=1)
        self.assertAlmostEqual(again.mean_ms, result.mean_ms, places=6)
        proves('tool-193')

    def test_trace(self):
        model, (a, b, inputs) = NrtpyModel.load_from_neff(neff('add')), pair()
        beside = neff('add')[:-len('.neff')] + '.ntff'
        np.testing.assert_array_equal(model(inputs, save_trace=True)['c'].numpy(), a + b)
        self.assertEqual(read(beside, 'rb')[:8], b'ONRTNTFF')
        os.unlink(beside)
        mine = os.path.join(TMP.name, 'mine.ntff')
        model(inputs, save_trace=True, ntff_name=mine)
        self.assertEqual(read(mine, 'rb')[:8], b'ONRTNTFF')
        os.unlink(mine)
        self.assertRaises(NrtError, model, {}, save_trace=True, ntff_name=mine)
        self.assertEqual(glob.glob(os.path.join(TMP.name, '*.ntff')), [])
        proves('tool-192')


class Errors(Case):
    def test_hierarchy(self):
        for kind in (NrtpyError, NrtError):
            self.assertTrue(issubclass(kind, RuntimeError))
        self.assertFalse(issubclass(NrtError, NrtpyError) or issubclass(NrtpyError, NrtError))
        proves('tool-196')

    def test_texts(self):
        model, (a, _, inputs) = NrtpyModel.load_from_neff(neff('add')), pair()
        broken = os.path.join(TMP.name, 'broken.neff')
        with open(broken, 'wb') as f:
            f.write(read(neff('add'), 'rb')[:900])
        huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (1 << 40,), (0,))
        cases = [('NRT_FAILURE(1): Failed to load model', lambda: NrtpyModel.load_from_neff(neff('missing'))),
                 ('NRT_INVALID(2): Failed to load model', lambda: NrtpyModel.load_from_neff(broken)),
                 ('NRT_EXEC_BAD_INPUT(1002): Failed to execute model', lambda: model({'a': inputs['a']})),
                 ('NRT_RESOURCE(4): Failed to allocate tensor', lambda: NrtpyTensor.from_numpy(huge))]
        for text, call in cases:
            with self.assertRaises(NrtError) as caught:
                call()
            self.assertEqual(str(caught.exception), 'NRT Error ' + text)
            self.assertEqual(caught.exception.status, int(text.split('(')[1].split(')')[0]))
        tensor = NrtpyTensor.from_numpy(a)
        LIB.nrt_tensor_free(ctypes.byref(ctypes.c_void_p(tensor.tensor_ref.handle.value)))  # behind its back
        for text, call in (('read', tensor.numpy), ('write', lambda: tensor.write_from_numpy(a))):
            with self.assertRaises(NrtError) as caught:
                call()
            self.assertEqual(str(caught.exception), 'NRT Error NRT_INVALID_HANDLE(3): Failed to %s tensor' % text)
        proves('tool-197')


class Package(unittest.TestCase):
    def test_versions(self):
        """The interpreter at hand runs all the above; the grammar is that of 3.11, and so is what is imported."""
        self.assertGreaterEqual(sys.version_info[:2], (3, 11))
        for path in glob.glob(os.path.join(ROOT, 'python/nrtpy/*.py')):
            tree = ast.parse(read(path), path, feature_version=(3, 11))
            for node in ast.walk(tree):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                    [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
                for name in names:  # none of the modules that 3.12 to 3.14 dropped
                    self.assertIn(name.split('.')[0], {'atexit', 'contextlib', 'ctypes', 'dataclasses', 'json', 'math',
                                                       'numpy', 'operator', 'os', 'pathlib', 'statistics', 'threading',
                                                       'time'})
        proves('tool-201')

    def test_without_the_library(self):
        env = {k: v for k, v in os.environ.items() if k != 'LD_LIBRARY_PATH'}
        done = subprocess.run([sys.executable, '-c', 'import nrtpy'], env=dict(env, LD_LIBRARY_PATH=TMP.name),
                              capture_output=True, text=True, check=False, timeout=120)
        if done.returncode == 0:
            self.skipTest('NOT RUN: a libnrt.so.1 is installed on this host')
        self.assertIn('ImportError: libnrt.so.1: cannot open shared object file', done.stderr)


if __name__ == '__main__':
    unittest.main()
