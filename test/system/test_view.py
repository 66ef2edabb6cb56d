#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""view, of neuron-explorer and of opennrt: what it says of profiles, against a reader of its own (support/ntff.py),
against the timeline that `opennrt run` writes, and against files that lie. What it keeps and serves: test_view_server.py.

    test_view.py <neuron-explorer> <opennrt> <libnrt> <source root>"""
import glob
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../support'))
import browser  # noqa: E402
import ntff  # noqa: E402
import pftrace  # noqa: E402
from seed import seed_take  # noqa: E402
from tools import proves  # noqa: E402
from view_case import EXPLORER, OPENNRT, PROGRAMS, ROOT, ViewCase  # noqa: E402

KEYS = {'pe': 'tensor_engine', 'dve': 'vector_engine', 'act': 'scalar_engine', 'pool': 'gpsimd_engine', 'sp': 'sync_engine'}


def opcodes():
    """name, and whether it computes, by number: docs/isa.md section 3."""
    with open(os.path.join(ROOT, 'docs/isa.md'), encoding='utf-8') as f:
        rows = re.findall(r'^\| (0x[0-9a-f]{2}) \| (\w+)[^|]*\| ([NCSD]) \|', f.read(), re.M)
    assert len(rows) > 50
    return {int(number, 16): (name, form == 'C') for number, name, form in rows}


OPCODES = opcodes()
COMPUTE = {number for number, (_, computes) in OPCODES.items() if computes}
with open(os.path.join(ROOT, 'data/isa_costs.json'), encoding='utf-8') as costs:
    # bytes per ps of a DMA engine, by generation
    RATE = {2 + i: float(r) / 1e3
            for i, r in enumerate(re.findall(r'"dma_bytes_per_ns_per_engine": ([0-9.]+)', costs.read()))}


def message(data):
    """(field, value) of a protobuf message: numbers, or bytes of what has a length."""
    at = 0
    while at < len(data):
        key, at = pftrace.varint(data, at)
        value, at = pftrace.varint(data, at)
        assert key & 7 in (0, 2), key
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
            assert at <= len(data)
        yield key >> 3, value


class View(ViewCase):
    # ---- figures, against the other reader ----

    def near(self, got, want):
        self.assertTrue(abs(got - want) <= 1e-8 * max(abs(want), 1e-3), '%r is not %r' % (got, want))

    def figures(self, path):
        p = ntff.read(path)
        self.assertEqual(len(p.models), 1)
        return p, ntff.Figures(p, 0, COMPUTE, RATE[p.models[0].gen])

    def check_summary(self, s, p, f):
        seconds = 1e-12
        whole = f.total or 1
        self.assertEqual((s['model_id'], s['nc_idx'], s['nd_idx'], s['rank_id']),
                         (p.models[0].id, p.models[0].vnc, 0, p.models[0].rank))
        self.assertEqual((s['model_name'], s['execution_count']), (p.text(p.models[0].name), len(f.execs)))
        self.near(s['total_time'], f.total * seconds)
        self.near(s['total_active_time'], f.active * seconds)
        self.near(s['total_active_time_percent'], f.active / whole)
        for number, engine in enumerate(ntff.ENGINES):
            key = KEYS[engine]
            units = [u for u in (number, number + 8) if u in f.units]  # on one or both physical cores
            busy = sum(f.busy[u] for u in units) / p.models[0].cores
            self.near(s[key + '_active_time'], busy * seconds)
            self.near(s[key + '_active_time_percent'], busy / whole)
            self.assertEqual(s[key + '_instruction_count'], sum(f.count[u] for u in units))
            self.assertEqual(key + '_idle_reason' in s, bool(units))
        self.assertEqual((s['matmul_instruction_count'], s['dma_transfer_count'], s['dma_transfer_total_bytes'],
                          s['cc_op_count']), (f.matmuls, f.transfers, f.bytes, f.colls))
        self.near(s['dma_transfer_average_bytes'], f.bytes / (f.transfers or 1))
        self.near(s['dma_active_time'], f.dma_active / p.models[0].cores * seconds)
        self.assertAlmostEqual(s['dma_efficiency_percent'], f.efficiency, delta=1e-4)  # whole ps for each transfer
        self.near(s['cc_active_time'], f.coll_any * seconds)
        self.near(s['cc_late_member_time'], f.coll_late * seconds)
        self.near(s['compute_active_time'], f.compute * seconds)
        self.near(s['dma_overlap_compute_time_percent'], f.dma_hidden / (f.dma_any or 1))
        self.near(s['cc_overlap_compute_time_percent'], f.coll_hidden / (f.coll_any or 1))

    def test_figures(self):
        seen = set()
        for path in self.profiles:
            p, f = self.figures(path)
            shown = self.json('-s', path)
            self.check_summary(shown['summary'][0], p, f)
            engines = {(e['core'] << 3 | ntff.ENGINES.index(e['engine'])): e for e in shown['engine']}
            self.assertEqual(sorted(engines), f.units)
            for unit, e in engines.items():
                self.assertEqual(e['instruction_count'], f.count[unit])
                self.near(e['active'], f.busy[unit] / 1e3)
                for why in ntff.REASONS:
                    self.near(e[why], f.idle[unit][why] / 1e3)
                    seen.add(why if f.idle[unit][why] else '')
                self.near(e['active'] + sum(e[why] for why in ntff.REASONS), f.total / 1e3)
            self.assertEqual({(q['core'], q['queue']): [q['transfer_count'], q['bytes']] for q in shown['queue']
                              if q['transfer_count']}, {k: q[:2] for k, q in f.queues.items()})
        self.assertTrue({'idle_engine', 'idle_transfer', 'idle_collective', 'idle_ended'} <= seen, seen)

    def test_summary_json(self):
        for name in ('matmul', 'summed'):
            path, neff = self.first(name)
            p, f = self.figures(path)
            shown = json.loads(self.view('-n', neff, '-s', path, '--output-format', 'summary-json'))
            self.assertEqual(list(shown), ['%s_instid_0_vnc_%d' % (p.models[0].hash[:16].hex(), p.models[0].vnc)])
            self.check_summary(list(shown.values())[0], p, f)
        proves('tool-178')

    def test_summary_text(self):
        path, neff = self.first('layernorm')
        p, f = self.figures(path)
        lines = self.view('-n', neff, '-s', path, '--output-format', 'summary-text').splitlines()
        shown = dict(re.fullmatch(r'(\w+) +(.*)', line).groups() for line in lines)
        self.assertEqual(len(shown), len(lines))
        for key, value in shown.items():
            if re.fullmatch(r'[-+0-9.e]+', value):
                shown[key] = float(value)
        self.assertTrue({'nc_idx', 'nd_idx', 'total_time'} <= set(shown))
        self.check_summary(shown, p, f)
        proves('tool-177')

    def test_words(self):
        """The summary for people: its figures."""
        path, neff = self.first('layernorm')
        _, f = self.figures(path)
        text = self.view(path, '-n', neff, '--output-format', 'summary', tool=OPENNRT)
        longest = re.findall(r'^ +([0-9.]+) +[0-9.]+ % +(\d+) +0 (\w+) +(\w+) (\d+)', text.split('longest')[1], re.M)
        want = [('%.3f' % (f.instructions[k][1] / 1e6), str(f.instructions[k][0]), ntff.ENGINES[k[0]],
                 OPCODES[f.instructions[k][2]][0], str(k[1])) for k in f.top(10)]
        self.assertEqual(longest, want)
        self.assertIn('the DMA engines move %.1f %%' % (100 * f.efficiency), text)
        self.assertIn('an engine computes %.1f %% of the time, %.1f %% of the time of transfers'
                      % (100 * f.compute / f.total, 100 * f.dma_hidden / f.dma_any), text)

    def test_reasons(self):
        """Why an engine is idle, in words: each reason that it has for one percent of the time or more, and no other."""
        seen = set()
        for name in ('layernorm', 'summed'):
            seen |= self.check_reasons(name)
        self.assertLessEqual({'idle_engine', 'idle_transfer', 'idle_collective', 'idle_ended'}, seen)

    def check_reasons(self, name):
        path, neff = self.first(name)
        _, f = self.figures(path)
        text = self.view(path, '-n', neff, '--output-format', 'summary', tool=OPENNRT)
        seen = set()
        rows = dict(re.findall(r'^ +0 (pe|dve|act|pool|sp) +(.*)$', text.split('\ntransfers')[0], re.M))
        self.assertEqual(sorted(rows), sorted(ntff.ENGINES[u] for u in f.units))
        said = {'idle_engine': r'waits for (other engines, most for \w+|its own earlier instructions)',
                'idle_transfer': r'waits for transfers, most for queue q(In|Out)?', 'idle_ended': 'has ended',
                'idle_between': 'stands between its instructions', 'idle_collective': 'waits for collectives'}
        for unit in f.units:
            row = rows[ntff.ENGINES[unit]]
            self.assertEqual(float(row.split()[2]), round(100 * f.busy[unit] / f.total, 1))
            for why, words in said.items():
                share = 100 * f.idle[unit][why] / f.total
                found = re.search(words + r' \(([0-9.]+) %\)', row)
                self.assertEqual(found is not None, share >= 1, (row, why, share))
                if found:
                    seen.add(why)
                    self.assertLessEqual(abs(float(found.groups()[-1]) - share), 0.051)
        return seen

    # ---- tables ----

    def test_tables(self):
        path, neff = self.first('matmul')
        p = ntff.read(path)
        shown = self.json('-n', neff, '-s', path)
        want = [e for e in p.events if e.kind == ntff.RECORD]
        self.assertEqual(len(shown['instruction']), len(want))
        with open(os.path.join(PROGRAMS, 'matmul.nasm'), encoding='utf-8') as f:
            source = f.read().splitlines()
        for got, e in zip(shown['instruction'], want):
            self.assertTrue({'timestamp', 'duration', 'label', 'hlo_name', 'opcode', 'operands'} <= set(got))
            self.near(got['timestamp'], e.start / 1e3)
            self.near(got['duration'], (e.end - e.start) / 1e3)
            self.assertEqual((got['engine'], got['opcode'], got['id']),
                             (ntff.ENGINES[e.unit], OPCODES[e.value][0], e.id))
            self.assertIn(got['opcode'], got['operands'])
            if got['opcode'] == 'nc_matmul':
                self.assertIn('nc_matmul psum.float32', got['operands'])
                self.assertIn('nc_matmul', source[got['source_line'] - 1])
        without = self.json('-s', path)
        self.assertEqual({i['operands'] for i in without['instruction']}, {''})
        self.assertNotEqual({i['operands'] for i in shown['instruction']}, {''})
        proves('tool-145')
        dma = [(e.start, e.end, p.xfers[e.value].bytes) for e in p.events if e.kind == ntff.XFER]
        self.assertEqual(len(shown['dma']), len(dma))
        for got, (start, end, size) in zip(shown['dma'], dma):
            self.near(got['timestamp'], start / 1e3)
            self.near(got['duration'], (end - start) / 1e3)
            self.assertEqual((got['bytes'], got['queue_name'] in ('qIn', 'qOut')), (size, True))
        self.assertEqual({d['queue_name'] for d in without['dma']}, {''})
        path, neff = self.first('summed')
        rows = self.json('-n', neff, '-s', path)['collective']
        self.assertEqual([r['operation'] for r in rows], ['all_reduce'] * len(ntff.read(path).execs))
        proves('tool-179')

    def test_traces_are_those_of_run(self):
        """What `opennrt run --timeline` draws of the same program: the same slices and, if asked for, arrows."""
        for name in ('matmul', 'layernorm', 'softmax'):
            path, neff = self.first(name)
            self.run_in(OPENNRT, 'run', neff, '--timeline', 'run.pftrace')
            run = pftrace.read(self.path('run.pftrace'))
            os.unlink(self.path('run.pftrace'))
            for flows in (True, False):
                self.view('-n', neff, '-s', path, '--output-format', 'perfetto', '--output-file', 'view.pftrace',
                          *(['--show-perfetto-flows'] if flows else []))
                got = pftrace.read(self.path('view.pftrace'))
                facts = lambda t, s: (t.path(s.track)[1:], s.name, s.start, s.end, s.source, s.depth,  # noqa: E731
                                      {k: v for k, v in s.args.items() if k not in ('cost', 'packet_ps', 'descriptors')})
                self.assertEqual([facts(got, s) for s in got.slices], [facts(run, s) for s in run.slices])
                arrows = lambda t: sorted((facts(t, a)[:4], facts(t, b)[:4]) for a, b in t.links)  # noqa: E731
                self.assertTrue(run.links)
                self.assertEqual(arrows(got), arrows(run) if flows else [])
        proves('tool-157')

    def test_schema(self):
        """Every table that is written is in the schema, with its columns and their types, and the other way round."""
        schema = {}
        for text in self.run_in(EXPLORER, '--show-profile-schema')[0].split('---\n'):
            name, columns = re.fullmatch(r'(\w+):\n  description: .+\n  properties:\n((?:    .+\n)+)', text).groups()
            schema[name] = dict(re.fullmatch(r'    (\w+): (.+)', c).groups() for c in columns.splitlines())
        path, neff = self.first('summed')
        shown = dict(self.json('-n', neff, '-s', path), **self.system('--output-format', 'json'))
        tracked = self.json('-n', self.path('spill.neff'), '-s', self.path('spill.ntff'), '--enable-memory-tracker')
        self.assertEqual(set(tracked) - set(shown), {'scratchpad_usage', 'scratchpad_tensor'})
        shown.update({name: rows for name, rows in tracked.items() if name not in shown})
        shown['summary'] += tracked['summary']
        self.assertEqual(set(shown), set(schema))
        types = {'string': str, 'integer': int, 'number': (int, float)}
        for name, rows in shown.items():
            self.assertTrue(rows, name)
            for row in rows:
                for key, kind in schema[name].items():
                    if ', where' not in kind:
                        self.assertIn(key, row, name)
                for key, value in row.items():
                    self.assertIsInstance(value, types[schema[name][key].split(',')[0]], (name, key))
        self.assertIn('--show-profile-schema', self.run_in(EXPLORER, '--help')[0])
        proves('tool-172')

    def test_terminology(self):
        """Every figure of a summary has a line that says what it is, and nothing else does but words."""
        text = self.view('--terminology')
        self.assertEqual(text, self.view('--terminology', tool=OPENNRT))
        figures, words = [dict(re.fullmatch(r'(\S.*?)  +(\S.*)', line).groups() for line in part.splitlines())
                          for part in text.split('\n\n')]
        keys = []
        for name in ('spill', 'pair'):
            lines = self.view('-n', self.path(name + '.neff'), '-s', self.path(name + '.ntff'), '--output-format', 'summary-text',
                              '--enable-memory-tracker')
            keys += [line.split()[0] for line in lines.splitlines()]
        engines = {'%s_idle_reason' % e for e in KEYS.values()}  # of those that have a program
        self.assertEqual(set(figures) - engines, set(keys) - engines)
        self.assertTrue(all(len(about.split()) >= 2 for about in figures.values()), figures)
        self.assertTrue(set(KEYS.values()) | {'scratchpad', 'transfer'} <= set(words))
        proves('tool-155')

    # ---- sources ----

    def source_rows(self, *argv):
        path, neff = self.first('matmul')
        return self.json('-n', neff, '-s', path, *argv)['instruction']

    def test_source_roots(self):
        """The line that the profile names, of the file below the root."""
        with open(os.path.join(PROGRAMS, 'matmul.nasm'), encoding='utf-8') as f:
            source = [line.strip() for line in f]
        # A program's end that nobody wrote is behind the last line.
        at = lambda n: ('', '') if n > len(source) else (kind, source[n - 1])  # noqa: E731
        for row in self.source_rows():
            self.assertEqual((row['source_root'], row['source_text']), ('', ''))
        for option, kind, line_id in (('--framework-source-root', 'framework', 'tool-158'), ('--nki-source-root', 'nki', 'tool-159')):
            for root in (PROGRAMS, ROOT, '/'):
                rows = self.source_rows(option, root)
                self.assertTrue(rows)
                for row in rows:
                    self.assertEqual((row['source_root'], row['source_text']), at(row['source_line']))
            for root in (os.path.join(ROOT, 'docs'), self.folder):
                self.assertEqual({row['source_text'] for row in self.source_rows(option, root)}, {''})
            path, neff = self.first('matmul')
            text = self.view('-n', neff, '-s', path, '--output-format', 'summary', option, PROGRAMS)
            named = re.findall(r'matmul\.nasm:(\d+)  \| (.*)', text)
            self.assertTrue(named)
            for number, line in named:
                self.assertEqual(line, source[int(number) - 1])
            _, shown = self.report(path, '-n', neff, option, PROGRAMS)
            self.assertTrue([label for label in shown[0]['labels'] if label.endswith(') | ' + source[int(named[0][0]) - 1])])
            self.assertIn('No such file', self.run_in(EXPLORER, 'view', '-n', neff, '-s', path, option, 'none', '--output-format', 'json',
                                                      code=1)[1])
            self.assertIn('Not a directory', self.run_in(EXPLORER, 'view', '-n', neff, '-s', path, option, path, '--output-format', 'json',
                                                         code=1)[1])
            proves(line_id)
        with tempfile.TemporaryDirectory() as root:  # a kernel's file is looked for among kernels first
            with open(os.path.join(root, 'matmul.nasm'), 'w', encoding='utf-8') as f:
                f.write('kernel\n' * 500)
            both = self.source_rows('--framework-source-root', PROGRAMS, '--nki-source-root', root)
            self.assertEqual({(row['source_root'], row['source_text']) for row in both}, {('nki', 'kernel')})

    def test_sources_that_lie(self):
        """No file outside of a root is read, whatever a profile or a link in the root says; nor anything but files."""
        with open(self.first('matmul')[0], 'rb') as f:
            data = f.read()
        name = os.path.join(PROGRAMS, 'matmul.nasm').encode()
        self.assertIn(b'\0' + name + b'\0', data)
        with tempfile.TemporaryDirectory() as tmp:
            root = os.path.join(tmp, 'root')
            os.mkdir(root)
            with open(os.path.join(tmp, 'secret'), 'w', encoding='utf-8') as f:
                f.write('secret\n' * 500)
            os.symlink('../secret', os.path.join(root, 'link'))
            os.symlink('..', os.path.join(root, 'up'))
            os.mkfifo(os.path.join(root, 'pipe'))
            os.mkdir(os.path.join(root, 'folder'))
            with open(os.path.join(root, 'short'), 'w', encoding='utf-8') as f:
                f.write('one line')
            for lie in ('../secret', 'x/../../secret', 'link', 'up/secret', 'pipe', 'folder', 'short', '', '/', '..', '/' * 30):
                named = lie.encode().ljust(len(name), b'\0') if lie else b'\0' * len(name)
                with open(self.path('lying.bin'), 'wb') as f:
                    f.write(data.replace(name, named))
                for option in ('--framework-source-root', '--nki-source-root'):
                    rows = self.json('-s', 'lying.bin', option, root)['instruction']
                    self.assertEqual({row['source_text'] for row in rows if row['source_line'] > 1}, {''}, lie)

    # ---- the scratchpad ----

    def test_memory_tracker(self):
        """Against the program: which transfer, in its order, moves which tensor."""
        path, neff = self.path('spill.ntff'), self.path('spill.neff')
        p = ntff.read(path)
        size = {'t': 128 * 64 * 4, 'v': 128 * 64 * 4, 'u': 128 * 32 * 4}
        moves = [None, ('t', 'written'), ('v', 'written'), ('u', 'written'), ('u', 'read'), ('v', 'read'), ('t', 'read'), None]
        shown = self.json('-n', neff, '-s', path, '--enable-memory-tracker')
        tensors, steps, base, peak = [], [], 0, 0
        self.assertEqual(len(p.execs), 2)
        for e, events in p.execs_of(0):
            xfers = [x for x in events if x.kind == ntff.XFER]
            self.assertEqual(len(xfers), len(moves))
            used = {}
            for x, move in zip(xfers, moves):
                if move:
                    u = used.setdefault(move[0], {'from': x.start, 'to': 0, 'written': 0, 'read': 0})
                    u['to'] = x.end
                    u[move[1]] += size[move[0]]
            tensors += [(e.run, base + u['from'], base + u['to'], name, size[name], u['written'], u['read'])
                        for name, u in used.items()]
            for length, held in ntff.covered(e.total, [[(u['from'], u['to'])] for u in used.values()]):
                usage = sum(size[name] for name, is_held in zip(used, held) if is_held)
                peak = max(peak, usage)
                if steps and steps[-1][2] == usage and steps[-1][0] == e.run:
                    steps[-1][1] += length
                else:
                    steps.append([e.run, length, usage])
            base += e.total
        got = [(r['execution'], r['timestamp'], r['timestamp'] + r['duration'], r['tensor_name'], r['size'], r['written'], r['read'])
               for r in shown['scratchpad_tensor']]
        for g, w in zip(sorted(got), sorted(tensors)):
            self.assertEqual((g[0],) + g[3:], (w[0],) + w[3:])
            self.near(g[1], w[1] / 1e3)
            self.near(g[2], w[2] / 1e3)
        self.assertEqual((len(got), {r['type'] for r in shown['scratchpad_tensor']}), (6, {'tmp-buf', 'virtual'}))
        usage = shown['scratchpad_usage']
        self.assertEqual([(r['execution'], r['usage']) for r in usage], [(run, bytes_) for run, _, bytes_ in steps])
        for r, (_, length, _) in zip(usage, steps):
            self.near(r['duration'], length / 1e3)
        self.assertEqual((peak, shown['summary'][0]['scratchpad_peak_bytes']), (sum(size.values()),) * 2)
        argv = ('-n', neff, '-s', path, '--output-format')
        text = self.view(*argv, 'summary', '--enable-memory-tracker')
        self.assertIn('scratchpad: at most %d bytes' % peak, text)
        self.assertEqual(re.findall(r'^ +[0-9.]+ +[0-9.]+ +(\d+) +\d+ +\d+ +0 (\w)$', text, re.M),
                         [(str(size[name]), name) for name in 'tuv'])
        page, _ = self.report('-n', neff, path, '--enable-memory-tracker')
        self.assertEqual(page.elements.count('svg'), 1)
        self.assertTrue([t for t in page.texts['div'] if 'the top is %d bytes' % peak in t])
        for form in ('summary', 'summary-text', 'summary-json', 'json', 'html'):  # nothing of it unless asked for
            self.assertNotIn('scratchpad', self.view(*argv, form, '--output-file', '-'))
        proves('tool-156')
        self.assertIn('without its NEFF', self.run_in(EXPLORER, 'view', '-s', path, '--enable-memory-tracker', '--output-format',
                                                      'summary')[1])

    # ---- which files, and where to ----

    def test_files(self):
        path, neff = self.first('matmul')
        with tempfile.TemporaryDirectory() as cwd:
            os.link(path, os.path.join(cwd, 'profile.ntff'))
            self.assertIn('model matmul', self.view('--output-format', 'summary', cwd=cwd))
            self.run_in(EXPLORER, 'view', '-s', 'none.ntff', '--output-format', 'summary', code=1, cwd=cwd)
        self.assertIn('model layernorm', self.view('-s', self.first('layernorm')[0], '--output-format', 'summary'))
        proves('tool-146')
        hashes = {ntff.read(p).models[0].hash[:16].hex() for p in self.profiles}
        with tempfile.TemporaryDirectory() as cwd:
            for form, suffix in (('json', 'json'), ('perfetto', 'pftrace')):
                self.view('-d', self.folder, '--output-format', form, cwd=cwd)
                self.assertEqual(sorted(glob.glob('device*.' + suffix, root_dir=cwd)),
                                 sorted('device_profile_model_%s.%s' % (h, suffix) for h in hashes))
            self.view('-d', self.folder, '--output-format', 'json', '--output-file', 'there/too', cwd=cwd)
            self.assertEqual(len(glob.glob(cwd + '/there/too/device_profile_model_*.json')), len(hashes))
            summed = ntff.read(self.first('summed')[0]).models[0].hash[:16].hex()
            with open(cwd + '/there/too/device_profile_model_%s.json' % summed, encoding='utf-8') as f:
                self.assertEqual(sorted({s['rank_id'] for s in json.load(f)['summary']}), [0, 1])
        text = self.view('-d', self.folder, '--output-format', 'summary-text')
        self.assertEqual(len(re.findall('^total_time ', text, re.M)), len(self.profiles) + len(glob.glob(self.inspected + '/*/*.ntff')))
        proves('tool-147')
        self.assertEqual(self.view('-s', path, '--output-format', 'summary-json', '--output-file', 'out.json'), 'out.json\n')
        with open(self.path('out.json'), encoding='utf-8') as f:
            self.assertEqual(f.read(), self.view('-s', path, '--output-format', 'summary-json'))
        self.assertIn('No such file', self.run_in(EXPLORER, 'view', '-s', path, '--output-format', 'json', '--output-file',
                                                  'no/such', code=1)[1])
        self.assertFalse(glob.glob(self.path('no*')))
        proves('tool-149')
        self.assertIn('no output format "pdf"', self.run_in(EXPLORER, 'view', '-s', path, '--output-format', 'pdf', code=2)[1])
        other = self.view('-n', self.first('add')[1], '-s', path, '--output-format', 'json', '--output-file', '-')
        self.assertEqual({i['operands'] for i in json.loads(other)['instruction']}, {''})  # not its NEFF

    # ---- system profiles ----

    def pb(self, name):
        with open(glob.glob(self.inspected + '/*/%s.pb' % name)[0], 'rb') as f:
            return list(message(f.read()))

    def calls(self):
        """What the capture wrote: by tracking id and name the name, core (None: none), thread, start and end."""
        found = {}
        for field, value in self.pb('ntrace'):
            if field == 1:
                e = dict(message(value))
                name, phase, ns = e[1].decode(), e.get(2, 0), e[4]
                call = found.setdefault((e[3], name), [name, e.get(5), e[6], ns, ns])
                call[3] = min(call[3], ns)
                call[4] = max(call[4], ns) if phase == 1 else call[4]
        self.assertGreater(len(found), 10)
        return found

    def test_system_json(self):
        shown, calls = self.system('--output-format', 'json'), self.calls()
        proves('tool-160')
        info = dict(self.pb('trace_info'))
        got = {(e['id'], e['name']): [e['name'], int(e['lnc_idx']) if 'lnc_idx' in e else None, e['thread_id'], e['timestamp'],
                         e['timestamp'] + e['duration']] for e in shown['trace_events']}
        self.assertEqual(len(got), len(shown['trace_events']))
        self.assertEqual(got, calls)
        for e in shown['trace_events']:
            self.assertEqual((e['instance_id'], e['process_id']), (info[1].decode(), str(info[2])))
            self.assertEqual(e['group'], 'nrt-nc-%03d' % int(e['lnc_idx']) if 'lnc_idx' in e else 'nrt')
            self.assertEqual(json.loads(e['details'])['tracking_id'], e['id'])
        memory = [dict(message(v)) for f, v in self.pb('host_mem') if f == 1]
        self.assertTrue(memory)
        self.assertEqual([(m['timestamp'], m['usage']) for m in shown['mem_usage']], [(m[1], m[2]) for m in memory])
        for m, want in zip(shown['mem_usage'], memory):
            self.near(m['percent_usage'], 100 * want[2] / (want[2] + want[3]))
        cpus = dict(self.pb('cpu_util'))[2]
        cpu = [dict(message(v)) for f, v in self.pb('cpu_util') if f == 1]
        self.assertGreater(len(cpu), 1)
        self.assertEqual([u['timestamp'] for u in shown['cpu_util']], [c[1] for c in cpu[1:]])
        for u, a, b in zip(shown['cpu_util'], cpu, cpu[1:]):
            used = b.get(2, 0) - a.get(2, 0) + b.get(3, 0) - a.get(3, 0)
            self.near(u['util'], min(100.0, 100 * used * 1e3 / (b[1] - a[1]) / cpus))
        with tempfile.TemporaryDirectory() as cwd:
            self.view('-d', self.inspected, '--ignore-system-profile', '--output-format', 'json', cwd=cwd)
            self.assertEqual([n[:20] for n in os.listdir(cwd)], ['device_profile_model'])
        proves('tool-161')

    def test_system_filters(self):
        calls = self.calls().values()

        def kept(*argv):
            return sorted((e['name'], e['timestamp']) for e in self.system('--output-format', 'json', *argv)['trace_events'])

        def want(keep):
            return sorted((c[0], c[3]) for c in calls if keep(c))
        self.assertEqual(kept('--system-trace-filter-neuron-core', '1'), want(lambda c: c[1] == 1))
        self.assertEqual(kept('--system-trace-filter-neuron-core', '0, 1'), want(lambda c: c[1] is not None))
        self.run_in(EXPLORER, 'view', '-d', self.inspected, '--system-trace-filter-neuron-core', '0,x', code=2)
        proves('tool-162')
        names = ['nrt_execute', 'model_load']
        self.assertEqual(kept('--system-trace-filter-event-type', ','.join(names)), want(lambda c: c[0] in names))
        self.assertEqual(kept('--system-trace-filter-event-type', 'nrt_execute', '--system-trace-filter-neuron-core', '0'),
                         want(lambda c: c[0] == 'nrt_execute' and c[1] == 0))
        self.assertTrue(kept('--system-trace-filter-event-type', 'nrt_execute'))
        proves('tool-163')
        instance = dict(self.pb('trace_info'))[1].decode()
        self.assertEqual(kept('--system-trace-filter-instance-id', 'i-other,' + instance), want(lambda c: True))
        self.assertEqual(kept('--system-trace-filter-instance-id', 'i-other'), [])
        proves('tool-164')

    def test_system_trace(self):
        calls, info = self.calls(), dict(self.pb('trace_info'))
        instance, process = info[1].decode(), info[2]

        def rows(*argv):
            t = self.system('--output-format', 'perfetto', *argv)
            self.assertEqual(sorted((s.name, s.start, s.end, s.args['id']) for s in t.slices),
                             sorted((c[0], c[3], c[4], i) for (i, _), c in calls.items()))
            return {(s.args['id'], s.name): t.path(s.track) for s in t.slices}, t
        got, t = rows()
        for i, (_, core, thread, _, _) in calls.items():
            where = 'worker_gid none lnc_idx none' if core is None else 'worker_gid 0.%d lnc_idx %d' % (core, core)
            self.assertEqual(got[i], ('instance_id %s process_id %d' % (instance, process), '%s thread_id %d' % (where, thread)))
        self.assertTrue([c for c in t.counters if t.tracks[c['track_event']['track_uuid']]['name'].startswith('host memory')])
        got, _ = rows('--system-trace-primary-group', 'lnc_idx')
        self.assertEqual({p for p, _ in got.values()}, {'lnc_idx 0', 'lnc_idx 1', 'lnc_idx none'})
        self.run_in(EXPLORER, 'view', '-d', self.inspected, '--system-trace-primary-group', 'worker_gid', code=2)
        proves('tool-165')
        got, _ = rows('--system-trace-secondary-group', 'thread_id,lnc_idx')
        for i, (_, core, thread, _, _) in calls.items():
            self.assertEqual(got[i][1], 'thread_id %d lnc_idx %s' % (thread, 'none' if core is None else core))
        self.run_in(EXPLORER, 'view', '-d', self.inspected, '--system-trace-secondary-group', 'thread_id,colour', code=2)
        proves('tool-166')

    # ---- the report ----

    def test_report(self):
        path, neff = self.first('layernorm')
        page, data = self.report(path, self.inspected, '-n', neff)
        self.assertIn(self.view(path, '-n', neff, '--output-format', 'summary'), page.texts['pre'])
        self.assertEqual((page.elements.count('canvas'), page.elements.count('svg')), (len(data), 1))
        profiles = sorted(glob.glob(self.inspected + '/*/*.ntff')) + [path]
        names = ['instruction', 'transfer', 'collective']
        self.assertEqual(len(data), 3)
        for shown, p in zip(sorted(data, key=lambda d: d['total_ns']), sorted(map(ntff.read, profiles),
                                                                              key=lambda p: p.execs[0].total)):
            self.near(shown['total_ns'], sum(e.total for e in p.execs) / 1e3)
            for kind, event in enumerate((ntff.RECORD, ntff.XFER, ntff.COLL)):
                self.assertEqual([s[1:3] for s in shown['slices'] if s[4] == kind],
                                 [[e.start / 1e3, (e.end - e.start) / 1e3] for e in p.events if e.kind == event])
                self.assertEqual(shown['kinds'][kind], names[kind])
            rows = dict(shown['rows'])
            self.assertTrue({s[0] for s in shown['slices']} <= set(rows))
            for s in shown['slices']:
                if s[4] == 0:
                    self.assertTrue(rows[s[0]].startswith('core 0 ') and shown['labels'][s[3]])
        proves('tool-148')  # the last of the formats

    def test_report_of_names_that_lie(self):
        with open(self.first('matmul')[0], 'rb') as f:
            data = f.read()
        source = os.path.join(PROGRAMS, 'matmul.nasm').encode()
        evil = b'</script><b>&"\'<img src=x>'
        self.assertIn(b'\0' + source + b'\0', data)
        evil = evil[:len(source)].ljust(len(source), b'x')
        with open(self.path('evil.bin'), 'wb') as f:
            f.write(data.replace(source, evil))
        page, shown = self.report('evil.bin')
        self.assertNotIn('b', page.elements)
        self.assertNotIn('img', page.elements)
        self.assertEqual(page.elements.count('script'), 2)
        self.assertTrue([t for t in page.texts['pre'] if evil.decode() in t])
        self.assertTrue([label for label in shown[0]['labels'] if evil.decode() in label])

    @unittest.skipUnless(os.environ.get('VIEW_BROWSER') == '1', 'a browser starts slowly: test view-browser, suite slow')
    def test_report_in_a_browser(self):
        path, neff = self.first('layernorm')
        self.report(path, self.inspected, '-n', neff)
        try:
            program = browser.find()
        except browser.Absent as e:
            print('NOT RUN: the report in a browser:', e)
            self.skipTest('no browser: %s' % e)
        drawn = re.findall(r'<canvas id="timeline\d+"[^>]* data-drawn="(\d+)"', browser.dom(program, self.path('report.html')))
        self.assertEqual(len(drawn), 3)
        self.assertTrue(all(int(n) > 3 for n in drawn), drawn)
        seen = browser.colours(program, self.path('report.html'), self.path('report.png'))
        self.assertGreater(seen.get(b'\xdd\xdd\xdd', 0), 300)  # waits
        self.assertGreater(len([c for c, n in seen.items() if n > 100]), 4)

    def test_too_many_slices(self):
        """A report leaves out the shortest slices and says so; the figures still count them."""
        with open(self.first('matmul')[0], 'rb') as f:
            data = bytearray(f.read())
        p = ntff.Profile(bytes(data))
        count, long = 100001, 10**9
        events = [struct.pack('<BBBBiIIQQ', ntff.RECORD, 0, 0, 0, 0x20, 0, 0, 2 * i, 2 * i + 1) for i in range(count)]
        events += [struct.pack('<BBBBiIIQQ', ntff.RECORD, 0, 0, 0, 0x20, 0, 0, 2 * count, 2 * count + long)]
        _, item, off, _ = struct.unpack_from('<IIQQ', data, 40 + 24 * 5)
        execs = struct.unpack_from('<IIQQ', data, 40 + 24 * 4)[2]
        data[off:] = b''.join(events)
        struct.pack_into('<Q', data, 16, len(data))
        struct.pack_into('<Q', data, 40 + 24 * 5 + 16, len(events))
        struct.pack_into('<Q', data, execs + 32, 2 * count + long)
        struct.pack_into('<QQ', data, execs + 40, 0, len(events))
        self.assertEqual((len(p.execs), item), (1, 32))
        with open(self.path('many.bin'), 'wb') as f:
            f.write(data)
        page, shown = self.report('many.bin')
        self.assertEqual([s[2] for s in shown[0]['slices']], [long / 1e3])
        self.assertTrue([t for t in page.texts['div'] if 'shortest slices are not drawn' in t])
        summary = json.loads(self.view('-s', 'many.bin', '--output-format', 'summary-json'))
        self.assertEqual(list(summary.values())[0]['tensor_engine_instruction_count'], count + 1)

    # ---- what is dropped, and what lies ----

    def test_dropped(self):
        path, _ = self.first('matmul')
        with open(path, 'rb') as f:
            data = bytearray(f.read())
        stored = len(ntff.Profile(bytes(data)).events)
        data[24:40] = (3).to_bytes(8, 'little') + (1001).to_bytes(8, 'little')
        with open(self.path('drops.bin'), 'wb') as f:
            f.write(data)
        out, err = self.run_in(EXPLORER, 'view', '-s', 'drops.bin', '--output-format', 'summary-json')
        self.assertIn('1001 trace events were dropped during capture (stored %d out of %d total events)'
                      % (stored, stored + 1001), err)
        self.assertIn('3 executions had no room', err)
        shown = list(json.loads(out).values())[0]
        self.assertEqual((shown['dropped_event_count'], shown['dropped_execution_count']), (1001, 3))
        proves('tool-180')

    def test_files_that_lie(self):
        """Any bytes changed anywhere: refused, or shown; never a crash, and no control characters."""
        seed = seed_take()
        rng = random.Random(seed)
        with open(self.first('matmul')[0], 'rb') as f:
            good = f.read()
        shown = 0
        for i in range(24):
            data = bytearray(good)
            for _ in range(rng.choice([1, 4, 64])):
                data[rng.randrange(40 if i % 3 else 0, len(data))] = rng.randrange(256)
            with open(self.path('lies.bin'), 'wb') as f:
                f.write(data)
            done = subprocess.run([EXPLORER, 'view', '-s', 'lies.bin', '--output-file', '-', '--output-format',
                                   rng.choice(['summary', 'summary-text', 'summary-json', 'json', 'perfetto']),
                                   '-n', self.path('matmul.neff'), '--enable-memory-tracker', '--nki-source-root', PROGRAMS],
                                  cwd=self.folder, env=self.site.env, capture_output=True, check=False, timeout=100)
            self.assertIn(done.returncode, (0, 1), (seed, i, done.stderr))
            self.assertEqual(done.returncode == 1, done.stderr.startswith(b'neuron-explorer view: lies.bin: ')
                             and b'Warning' not in done.stderr, (seed, i, done.stderr))
            shown += done.returncode == 0
        self.assertTrue(shown)

    def test_names_that_lie(self):
        path, _ = self.first('matmul')
        with open(path, 'rb') as f:
            data = f.read()
        self.assertIn(b'\0matmul\0', data)
        with open(self.path('evil.bin'), 'wb') as f:
            f.write(data.replace(b'\0matmul\0', b'\0\x1b[2J"\\\0', 1))
        text = self.view('-s', 'evil.bin', '--output-format', 'summary')
        self.assertIn('model ?[2J"\\ (', text)
        self.assertNotIn('\x1b', text + self.view('-s', 'evil.bin', '--output-format', 'summary-text'))
        self.assertEqual(self.json('-s', 'evil.bin')['summary'][0]['model_name'], '\x1b[2J"\\')


if __name__ == '__main__':
    unittest.main()
