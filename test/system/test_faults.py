#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every row of the table in docs/faults.md, read from the page: the item is put in force, the call is made, and status, log,
counters, dump and recovery are those of the row. By the variable and by the call of opennrt/fault.h: the same item fails the
same way; of the rows of ranks, which take long, "ranks" makes two by the call, too, drawn, and "ranks-both" all. Then
what items select.

usage: test_faults.py cores|ranks|ranks-both OPENNRT LIBNRT FAULTS_MD"""
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
from seed import seed_take  # noqa: E402
from tools import Site, Worker  # noqa: E402

WHAT, OPENNRT, LIB, PAGE = sys.argv[1:5]
COLUMNS = ['item', 'call', 'status', 'message', 'status node', 'hardware node', 'culprit', 'unit', 'recovery']
ALONE = {'execute': ('run 1', True), 'tensor': ('touch 0 3000000', False), 'later': ('later 1', True)}
RANKS = ('all_reduce', 'between nodes')


def rows():
    """The last table of the page."""
    text = open(PAGE, encoding='utf-8').read()
    table = text[text.index('| item | call |'):]
    head, _, *lines = table[:table.index('\n\n')].splitlines()
    assert [c.strip() for c in head.strip('|').split('|')] == COLUMNS, head
    out = []
    for line in lines:
        cells = [c.strip().strip('`') for c in line.strip('|').split('|')]
        assert len(cells) == len(COLUMNS), line
        out.append(dict(zip(COLUMNS, cells)))
    return out


def errors():
    """Every name of the first table, and every error that the tool knows, has a row; but for points of the host's, of
    which test_api_fault.c fails every one."""
    listed = {r['item'].split(':')[0] for r in rows()}
    page = open(PAGE, encoding='utf-8').read()
    named = set()
    for line in page[page.index('| name |'):page.index('| key |')].splitlines()[2:]:
        named |= set(re.findall('`([a-z-]+)`', line.split('|')[1] if line else ''))
    assert len(named) == 23 and named - listed == {'alloc', 'mmap', 'file', 'lock', 'thread', 'queue'}, named - listed
    with Site('faultl', OPENNRT, LIB) as site:
        known = re.search(r'^  ERROR +(.*?)\(with', site.run(OPENNRT, 'inject', '--help').stdout, re.S | re.M).group(1)
    names = set(re.findall(r'[a-z-]+', known))
    assert {'sram', 'hbm', 'hbm-repairable', 'dma-tx', 'dma-rx', 'device', 'parity', 'notification',
            'nq-overflow'} == names, names
    assert names <= listed, names - listed


def counters(site, node):
    """Those of a folder of the tree, by name: what they count in all."""
    copy = os.path.join(site.tmp.name, 'tree')
    site.run(OPENNRT, 'sysfs', '--snapshot', copy, node)  # a whole tree of sixteen devices is 6,000 files
    folder, got = os.path.join(copy, node), {}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            path = os.path.join(path, 'total')
        if os.path.isfile(path) and not os.path.islink(os.path.join(folder, name)):
            with open(path, encoding='ascii') as f:
                got[name] = int(f.read())
    shutil.rmtree(copy)
    return got


def numbers(site, core='neuron0/neuron_core0'):
    """The counters of a core and its device as they are."""
    status, hardware = counters(site, core + '/stats/status'), counters(site, os.path.dirname(core) + '/stats/hardware')
    assert 'success' in status and 'mem_ecc_uncorrected' in hardware
    return {**status, **hardware}


def grown(before, after):
    return {k: after[k] - before[k] for k in after if after[k] != before[k]}


def log_of(path):
    with open(path, encoding='utf-8', errors='replace') as f:
        return f.read()


def records(text):
    """Without times, numbers of threads and of dumps."""
    return [re.sub('core dump [0-9]+', 'core dump', r) for r in re.findall(r'(?:ERROR|WARN|INFO) .*', text)]


class Watched:
    """A worker with a log and a folder for its dumps; the site's own counts of a core."""

    def __init__(self, site, name, neff=None, core='neuron0/neuron_core0', **env):
        self.site, self.core, self.seen = site, core, None
        self.log = os.path.join(site.tmp.name, name + '.log')
        self.dumps = os.path.join(site.tmp.name, name + '.dumps')
        open(self.log, 'w', encoding='ascii').close()
        shutil.rmtree(self.dumps, ignore_errors=True)
        self.w = Worker(site, neff, NEURON_RT_LOG_LOCATION=self.log, NEURON_RT_LOG_LEVEL='INFO',
                        NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=self.dumps, OPENNRT_NEURON_DUMP='/bin/true',
                        NEURON_RT_ENABLE_DGE_NOTIFICATIONS='1', **env)

    def do(self, line):
        """The answer, and what it logged."""
        said = len(log_of(self.log))
        return self.w.do(line), log_of(self.log)[said:]

    def grown(self):
        """The counters that have grown since the last look, by how much."""
        before, self.seen = self.seen, numbers(self.site, self.core)
        return grown(before or self.seen, self.seen)

    def culprit(self):
        """What the dumps since the last look blame, as the column calls it; '-': there are none."""
        if not os.path.isdir(self.dumps):
            return '-'
        shown = self.site.run(OPENNRT, 'dump', 'show', '--json', self.dumps).stdout
        shutil.rmtree(self.dumps)
        return json.loads(shown)['culprit']['cause']


def wanted(row):
    return {row[k]: 1 for k in ('status node', 'hardware node') if row[k] != '-'}


def strikes(row, worker, line, also):
    """The call meets the fault; also: what else has grown since the last look."""
    got, text = worker.do(line)
    assert got == 'failed ' + row['status'], (row, got, text)
    assert row['message'] in text and ' ERROR ' in text, (row, text)
    counts = worker.grown()
    assert counts == {**wanted(row), **also}, (row, counts)
    culprit = worker.culprit()
    assert culprit == row['culprit'], (row, culprit)
    return records(text)


def check_alone(row, site):
    line, loads = ALONE[row['call']]
    worker = Watched(site, 'alone', NEURON_RT_VISIBLE_CORES='0', OPENNRT_FAULT=row['item'])
    if loads:
        worker.w.ok('load 0')
    worker.grown()
    first = strikes(row, worker, line, {})
    assert row['recovery'] == 'next'
    got, text = worker.do(line)
    assert got == 'ok' and ' ERROR ' not in text, (row, got, text)
    if loads:
        worker.w.ok('fault ' + row['item'])
    else:  # memory that is there is not made again
        worker.w.end()
        seen = worker.seen
        worker = Watched(site, 'alone', NEURON_RT_VISIBLE_CORES='0', OPENNRT_FAULT=row['item'])
        worker.seen = seen
    again = strikes(row, worker, line, {'success': 1} if loads else {})
    assert again == first, (row, set(again) ^ set(first))
    if row['unit'] != '-':
        worker.w.ok('fault ' + row['item'])
        assert worker.w.do('later 1') == 'failed ' + row['status'], row
        got = worker.w.do('later 1')
        assert got == {'usable': 'ok', '101': 'failed 101'}[row['unit']], (row, got)
    worker.w.end()


def variable(site):
    """What is not understood is said and ignored, whatever it is; the rest is in force."""
    bad = ['x', 'hbm', 'hbm:', 'hbm:9', 'hbm:0:-1', 'hbm:0:1:2:3', 'alloc:0', 'alloc:x', ':', '::::', 'HBM:0', 'hbm:0x1',
           'hbm:4294967296', 'q' * 300, '\x7f:0', 'é:1', 'file:99999999999999999999', 'hbm:core=0:1', 'hbm:core=0:core=0',
           'hbm:0:core=0', 'hbm:p=1.5', 'hbm:p=', 'hbm:p=.', 'hbm:at=act', 'hbm:at=xxx.0', 'hbm:at=act.x', 'hbm:model=',
           'hbm:hit=1', 'alloc:core=1', 'alloc:1:2', 'semaphore:0:0:256', 'slow-link:0:0', 'late-rank:0:0:3600001',
           'net-loss:0', 'hbm:seed=1=2', 'hbm:what=1', 'hbm:=1']
    worker = Watched(site, 'bad', NEURON_RT_VISIBLE_CORES='0', OPENNRT_FAULT=','.join(bad + ['hbm:0:3']))
    text = log_of(worker.log)
    assert len(re.findall(' ERROR .*OPENNRT_FAULT: ', text)) == text.count('OPENNRT_FAULT: ') == len(bad), text
    for item in bad:  # by name; a long one as far as its first 80 bytes
        assert not item.isprintable() or 'OPENNRT_FAULT: "%s' % item[:40] in text, (item, text)
    worker.w.ok('load 0', 'run 3')
    assert worker.w.do('run 1') == 'failed 1201'
    assert worker.w.do('struck') == 'ok 1'
    for item in bad:
        if item.isascii():
            said = len(log_of(worker.log))
            assert worker.w.do('fault hbm:0,' + item) == 'failed 2', item
            assert log_of(worker.log)[said:].count(' ERROR ') == 1, item
    worker.w.ok('run 5')  # the good item of a bad list is not in force
    worker.w.end()


def pattern(worker, item, n=60):
    """Which of n executions fail: '.' and '!'."""
    worker.w.ok('calm', 'fault ' + item)
    return ''.join({'ok': '.', 'failed 1201': '!'}[worker.w.do('run 1')] for _ in range(n))


def selection(site):
    w = Watched(site, 'sel', NEURON_RT_VISIBLE_CORES='0')
    w.w.ok('load 0')
    for n in (0, 1, 7):
        assert pattern(w, 'hbm:0:%d' % n, 12) == '.' * n + '!' + '.' * (11 - n)
    assert pattern(w, 'hbm:0:2:0:count=3', 8) == '..!!!...'
    assert pattern(w, 'hbm:core=0:after=3:count=0', 8) == '...!!!!!'
    assert pattern(w, 'hbm:core=1', 5) == '.....'
    assert pattern(w, 'hbm:model=add', 3) == '!..' and pattern(w, 'hbm:model=ad', 3) == '...'
    assert pattern(w, 'hbm:at=act.0:after=1', 4) == '.!..'
    assert pattern(w, 'hbm:at=act.99', 4) == '....'  # there is no such record
    assert pattern(w, 'hbm:at=pe.0:count=0', 4) == '....'  # nor such an engine
    assert pattern(w, 'hbm:0,hbm:0', 4) == '!!..'  # two at once: the second waits for the next
    assert pattern(w, 'hbm:p=1:count=0', 5) == '!!!!!' and pattern(w, 'hbm:p=0:count=0', 5) == '.....'
    drawn = [pattern(w, 'hbm:p=0.3:seed=%d:count=0' % s) for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2], drawn
    for text in drawn:
        assert 5 <= text.count('!') <= 35, text  # 18 are expected; less than one seed in 10000 is outside
    assert pattern(w, 'hbm:p=0.3:seed=1') == first_only(drawn[0])
    w.w.ok('calm')
    w.w.end()
    again = Watched(site, 'replay', NEURON_RT_VISIBLE_CORES='0')
    again.w.ok('load 0')
    assert pattern(again, 'hbm:p=0.3:seed=2:count=0') == drawn[2]
    again.w.end()


def first_only(text):
    at = text.index('!')
    return '.' * at + '!' + '.' * (len(text) - at - 1)


def draws(site, name, seed):
    """Of 40 calls of every row's kind, in a process of its own: which fail when each may with a probability."""
    w = Watched(site, name, NEURON_RT_VISIBLE_CORES='0')
    once = {'item': 'alloc:1', 'status': '4'}  # by the host, before the process has a second thread
    got = {'alloc:1': drawn_calls(w, once, 'host 64', seed)}
    w.w.ok('load 0')
    for row in rows():
        if row['call'] in ALONE and not row['item'].startswith('backing:'):  # memory that is there is not made again
            got[row['item']] = drawn_calls(w, row, ALONE[row['call']][0], seed)
    w.w.end()
    return got


def drawn_calls(w, row, line, seed):
    w.w.ok('fault %s:p=0.2:seed=%d:count=0' % (row['item'], seed))
    text = ''.join({'ok': '.', 'failed ' + row['status']: '!'}[w.w.do(line)] for _ in range(40))
    w.w.ok('calm')
    return text


def replays(site):
    """What a seed draws of any kind of fault, another process draws again, and another seed does not. Where a call meets the
    fault once, what is drawn is of the number of the call and the seed alone: the same of every kind."""
    first, again, other = (draws(site, *which) for which in (('first', 1), ('again', 1), ('other', 2)))
    assert {'sram', 'hbm', 'hbm-repairable', 'parity', 'dma-tx', 'dma-rx', 'device', 'nq-overflow', 'notification', 'semaphore',
            'hbm-full', 'queue-full', 'alloc'} == {item.split(':')[0] for item in first}, sorted(first)
    for item, text in first.items():
        assert text == again[item] != other[item], (item, text, again[item], other[item])
        assert set(text) == set(other[item]) == {'.', '!'}, (item, text, other[item])
    for drawn in (first, other):
        assert len({text for item, text in drawn.items() if item != 'alloc:1'}) == 1, drawn


HOST = ('mmap', 'file', 'lock', 'thread', 'backing', 'alloc')


def drawn_sessions(point, seeds=12):
    """What the calls of a session give when the host may refuse any of its calls of a kind, for one seed after the other; in a
    process and an instance of their own."""
    got = []
    with Site('faulth', OPENNRT, LIB) as site:
        w = Watched(site, 'host', NEURON_RT_VISIBLE_CORES='0', OPENNRT_HOST_THREADS='1')
        for seed in range(seeds):
            got.append([w.w.do('begin %s:p=0.1:seed=%d:count=0' % (point, seed)),
                        *(w.w.do(line) for line in ('load 0', 'run 1', 'later 1', 'touch 0 3000000'))])
        w.w.end()
    return got


def replays_host():
    """Another process meets the same refusals of its host with the same seed: every call has the same status again."""
    for point in HOST:
        first, again = drawn_sessions(point), drawn_sessions(point)
        assert first == again, (point, [pair for pair in zip(first, again) if pair[0] != pair[1]])
        failed = [any(answer != 'ok' for answer in session) for session in first]
        assert any(failed) and len({tuple(session) for session in first}) > 1, (point, first)


# ---- ranks ----

class Pair:
    """Two ranks, on devices 0 and 1 of an instance, or on the first core of two instances."""

    def __init__(self, site, other, item, port, by_variable, limit=None):
        neff = site.assemble(os.path.join(HERE, '../programs/sum2.nasm'))
        env = {'NEURON_RT_ROOT_COMM_ID': '127.0.0.1:%d' % port, 'OPENNRT_DEVICE_TIME': '1',
               'NEURON_RT_EXEC_TIMEOUT': limit or ('2' if '600000' in item or 'net' in item else '120')}
        core = ('0', 'neuron0/neuron_core0') if other is not site else ('2', 'neuron1/neuron_core0')
        variable = {'OPENNRT_FAULT': item} if by_variable else {}
        self.a = Watched(site, 'a', neff, NEURON_RT_VISIBLE_CORES='0', **variable, **env)
        if not by_variable:
            self.a.w.ok('fault ' + item)
        self.b = Watched(other, 'b', neff, core[1], NEURON_RT_VISIBLE_CORES=core[0], **env)

    def both(self, a, b):
        self.a.w.tell(a)
        self.b.w.tell(b)
        return self.a.w.answer(), self.b.w.answer()

    def end(self):
        for x in (self.a, self.b):
            x.w.kill()


def kept_port(kept):
    """One that nobody else gets: it stays bound, without listening, until this test ends."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', 0))
    kept.append(s)
    return s.getsockname()[1]


def lasts(path):
    """Microseconds that the log says the operation lasts on devices."""
    return float(re.search(r'all_reduce of 2 ranks lasts ([0-9.]+) us', log_of(path)).group(1))


def check_ranks(row, site, other, kept, by_variable):
    """Once: the item is in force from nrt_init on, or by the call before the ranks come together."""
    p = Pair(site, other, row['item'], kept_port(kept), by_variable)
    assert p.both('join 0 0 2', 'join 0 1 2') == ('ok', 'ok')
    before = numbers(other, p.b.core)
    p.a.w.tell('run 1')
    p.b.w.tell('run 1')
    got = p.b.w.answer()
    mine = p.a.w.answer()
    if row['status'] == '0' or row['culprit'] == 'death':
        assert mine == ('ok' if row['status'] == '0' else ''), (row, mine)
    text = log_of(p.a.log) + log_of(p.b.log)
    assert got == ('ok' if row['status'] == '0' else 'failed ' + row['status']), (row, got, text)
    assert row['message'] in text and ('ERROR' in text) == (row['status'] != '0'), (row, text)
    assert grown(before, numbers(other, p.b.core)) == (wanted(row) or {'success': 1}), row
    if row['culprit'] == 'death':
        assert p.a.w.p.wait() == -signal.SIGKILL
    if row['culprit'] == '-':
        assert not os.path.isdir(p.a.dumps) and not os.path.isdir(p.b.dumps)
    else:
        culprit = json.loads(other.run(OPENNRT, 'dump', 'show', '--json', p.b.dumps).stdout)['culprit']
        assert culprit['cause'] == row['culprit'] and culprit['rank'] == 0, (row, culprit)
    if row['item'].startswith('slow-link'):
        assert lasts(p.a.log) > lasts(p.b.log)  # who has no such item knows nothing of it
    if row['recovery'] == 'next':
        assert p.both('run 3', 'run 3') == ('ok', 'ok')
        assert 'ERROR' not in log_of(p.a.log) + log_of(p.b.log), row
        p.end()
        return
    assert row['recovery'] == 'restart', row
    assert p.b.w.do('run 1') == 'failed ' + row['status'], row
    p.end()
    p = Pair(site, other, '', kept_port(kept), True)
    assert p.both('join 0 0 2', 'join 0 1 2') == ('ok', 'ok')
    assert p.both('run 3', 'run 3') == ('ok', 'ok')
    p.end()


def drawn_ranks(site, kept, seed):
    """Which of 40 operations rank 0 begins late, when each may with a probability, and before which one it dies with the same."""
    text, odds = '', ':p=0.2:seed=%d:count=0' % seed
    p = Pair(site, site, 'late-rank:0:0:1' + odds, kept_port(kept), True)
    assert p.both('join 0 0 2', 'join 0 1 2') == ('ok', 'ok')
    for _ in range(40):
        said = len(log_of(p.a.log))
        assert p.both('run 1', 'run 1') == ('ok', 'ok')
        text += '!' if 'a rank is late, core 0' in log_of(p.a.log)[said:] else '.'
    p.end()
    p = Pair(site, site, 'dead-rank:0' + odds, kept_port(kept), True)
    assert p.both('join 0 0 2', 'join 0 1 2') == ('ok', 'ok')
    lived = 0
    while p.both('run 1', 'run 1') == ('ok', 'ok'):
        lived += 1
        assert lived < 40
    assert p.a.w.p.wait() == -signal.SIGKILL
    p.end()
    return text, lived


def replays_ranks(site, kept):
    """As replays: other processes draw the same with the same seed, and both kinds strike the same operation first."""
    first, again, other = (drawn_ranks(site, kept, seed) for seed in (1, 1, 2))
    assert first == again and first[0] != other[0], (first, again, other)
    for text, lived in (first, other):
        assert lived == text.index('!'), (text, lived)


def drawn_losses(site, other, kept, seed):
    """How many operations of two nodes pass before one message of rank 0 is lost, when each may be with a probability, and
    which message that was."""
    p = Pair(site, other, 'net-loss:p=0.2:seed=%d' % seed, kept_port(kept), True, limit='120')
    assert p.both('join 0 0 2', 'join 0 1 2') == ('ok', 'ok')
    passed, lost = -1, []
    while not lost:
        passed += 1
        assert passed < 40
        p.a.w.tell('run 1')
        p.b.w.tell('run 1')
        while not lost and not select.select([p.b.w.p.stdout], [], [], 0.02)[0]:  # the operation ends, or a message is lost
            lost = re.findall(r'a message to rank \d+ is lost, entry \d+ of an operation of \d+\n', log_of(p.a.log))[:1]
        assert lost or (p.a.w.answer(), p.b.w.answer()) == ('ok', 'ok')
    p.end()
    return passed, lost


def replays_losses(site, other, kept):
    """As replays."""
    first, again = ([drawn_losses(site, other, kept, seed) for seed in (1, 2)] for _ in range(2))
    assert first == again and first[0] != first[1], (first, again)


def main():
    table = rows()
    assert {r['call'] for r in table} == {*ALONE, *RANKS}
    if WHAT == 'cores':
        errors()
        with Site('fault', OPENNRT, LIB) as site:
            for r in table:
                if r['call'] in ALONE:
                    check_alone(r, site)
            variable(site)
            selection(site)
            replays(site)
        replays_host()
        return
    kept, ranks = [], [r for r in table if r['call'] in RANKS]
    called = ranks if WHAT == 'ranks-both' else random.Random(seed_take()).sample(ranks, 2)
    with Site('faultr', OPENNRT, LIB, 'trn1.32xlarge') as site, Site('faults', OPENNRT, LIB, 'trn1.32xlarge') as other:
        for r in ranks:
            for by_variable in (True, False) if r in called else (True,):
                check_ranks(r, site, other if r['call'] == 'between nodes' else site, kept, by_variable)
        if WHAT == 'ranks-both':
            replays_ranks(site, kept)
            replays_losses(site, other, kept)


main()
