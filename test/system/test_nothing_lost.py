#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Nothing is lost: eight processes of one instance load, execute, allocate, add up over pairs, unload, end and are killed at
any moment, while monitors read; and whoever comes next on a core finds the runtime working and not a byte of the one
before. A rank that lost its partner says so with the documented status and a dump that names the partner. At the end no
process, core, byte or file of the instance is left.

usage: test_nothing_lost.py OPENNRT LIBNRT NEURON_LS NEURON_MONITOR [SECONDS]"""
import collections
import glob
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support'))
from seed import seed_take  # noqa: E402
from tools import Site, Worker  # noqa: E402

OPENNRT, LIB, LS, MONITOR = map(os.path.abspath, sys.argv[1:5])
SECONDS = float(sys.argv[5]) if len(sys.argv) > 5 else 10
SEED = seed_take()
LONE, PAIRS = 4, 2
ENDLESS = 1000000  # executions, of which a kill cuts off the most
MANY = 20          # rounds of a test that sees everything


class Tally:
    """What happened, for the report, and when to stop."""

    def __init__(self):
        self.lock, self.count, self.failure = threading.Lock(), {}, None
        self.end = time.monotonic() + SECONDS

    def add(self, what, n=1):
        with self.lock:
            self.count[what] = self.count.get(what, 0) + n

    def fail(self, text):
        """The first failure counts: the others may come from it."""
        with self.lock:
            self.failure = self.failure or text

    def over(self):
        return self.failure is not None or time.monotonic() > self.end


class Actor(threading.Thread):
    """One thread of this test: rounds until the time is over, or something was wrong."""

    def __init__(self, site, tally, number):
        super().__init__()
        self.site, self.tally, self.number = site, tally, number
        self.random = random.Random(SEED * 100 + number)
        self.pids = collections.deque(maxlen=2)  # of the processes started last

    def run(self):
        try:
            while not self.tally.over():
                self.round()
        except BaseException as e:  # the main thread tells it
            self.tally.fail('%s %d: %r\n%s' % (type(self).__name__, self.number, e, self.told()))

    def told(self):
        """What the log has of this actor's processes, and of one that could not start, at the moment of a failure, and the
        memory that there was."""
        with open(os.path.join(self.site.tmp.name, 'log'), encoding='utf-8', errors='replace') as f:
            mine = [line for line in f if any(' %d:' % pid in line for pid in self.pids) or 'not available' in line]
        with open('/proc/meminfo', encoding='ascii') as f:
            return ''.join(mine[-40:]) + ''.join(line for line in f if line.startswith(('MemFree', 'MemAvail', 'Shmem')))

    def worker(self, core, neff=None, **env):
        """The next process on a core: it starts, and finds no byte of the one before."""
        w = Worker(self.site, neff, NEURON_RT_VISIBLE_CORES=str(core), **env)
        self.pids.append(w.pid)
        assert w.do('memory 0') == 'ok 0', w.do('memory 0')
        self.tally.add('starts')
        return w

    def end(self, w):
        self.site.workers.remove(w)
        w.end()

    def kill(self, w):
        self.site.workers.remove(w)
        w.kill()
        self.tally.add('kills')

    def look(self):
        """A monitor's look, which takes some time and must not mind who dies meanwhile."""
        rows = json.loads(self.site.run(LS, '-j').stdout)
        assert len(rows) == 16
        self.tally.add('looks')


class Lone(Actor):
    """A process with a core of its own."""

    def round(self):
        w, held = self.worker(self.number), 0
        for _ in range(self.random.randint(1, 3)):
            w.ok('load 0')
            for _ in range(self.random.randint(1, 6)):
                what = self.random.choice(['run', 'tensor', 'touch', 'host', 'free'])
                if what == 'run':
                    w.ok('run %d' % self.random.randint(1, 2000))
                elif what == 'free' and held:
                    w.ok('free')
                    held -= 1
                elif what == 'touch':
                    w.ok('touch 0 %d' % self.random.randint(1, 8 << 20))
                elif what in ('tensor', 'host'):
                    size = self.random.randint(1, 64 << 20)
                    w.ok('tensor 0 %d' % size if what == 'tensor' else 'host %d' % (size >> 6))
                    held += 1
                self.tally.add('calls')
            if self.random.random() < 0.3:  # in the middle of something
                w.tell('run %d' % ENDLESS)
                if self.random.random() < 0.5:
                    self.look()
                self.kill(w)
                return
            w.ok('unload')
        if self.random.random() < 0.2:  # while it is idle
            self.kill(w)
        else:
            self.end(w)


class Pair(Actor):
    """Two processes that add up a tensor."""

    def round(self):
        first = LONE + 2 * (self.number - LONE)
        with socket.socket() as s:  # bound without listening, so that nobody else gets the port
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(('127.0.0.1', 0))
            root = '127.0.0.1:%d' % s.getsockname()[1]
            pair = [self.worker(first + i, self.site.sum2, NEURON_RT_ROOT_COMM_ID=root) for i in range(2)]
            self.both(pair, 'join 0 %d 2', 'join')
            for _ in range(self.random.randint(1, 3)):
                self.both(pair, 'run %d' % self.random.randint(1, 3000), 'sums')
            if self.random.random() < 0.5:
                self.lose_one(pair)
                return
            for w in pair:
                w.tell('unload')
            assert [w.answer() for w in pair] == ['ok', 'ok']
            for w in pair:
                self.end(w)

    def both(self, pair, line, what):
        for i, w in enumerate(pair):
            w.tell(line % i if '%' in line else line)
        got = [w.answer() for w in pair]
        assert got == ['ok', 'ok'], (line, got)
        self.tally.add(what)

    def lose_one(self, pair):
        lost = self.random.randint(0, 1)
        for w in pair:
            w.tell('run %d' % ENDLESS)
        if self.random.random() < 0.5:
            self.look()
        left = pair[1 - lost]
        self.kill(pair[lost])
        got = left.answer()
        assert got in ('ok', 'failed 1200'), got  # ok: they had done it all
        if got != 'ok':
            self.explained(left, lost)
        self.end(left)

    def explained(self, left, lost):
        """The dump of who is left names who is gone."""
        files = [f for f in glob.glob(os.path.join(self.site.dumps, '*', '*-pid-%d-*' % left.pid)) if not of_dead(f)]
        assert files, 'no dump of process %d' % left.pid
        folder = os.path.dirname(files[0])
        culprit = json.loads(self.site.run(OPENNRT, 'dump', 'show', '--json', folder).stdout)['culprit']
        assert culprit['cause'] in ('death', 'collective') and culprit['rank'] == lost, culprit
        self.tally.add('explained')
        shutil.rmtree(folder, ignore_errors=True)  # who takes the dead one's cores back may add to it now


def of_dead(path):
    """A dump of one that died, which others wrote: its number may be that of a later process."""
    try:
        with open(path, encoding='utf-8', errors='replace') as f:
            return ' dead=1 ' in f.read()
    except FileNotFoundError:  # of another pair, which has read it
        return True


class Monitor(Actor):
    """neuron-monitor, a document after the other, until it is ended."""

    def round(self):
        config = os.path.join(self.site.tmp.name, 'monitor.json')
        with open(config, 'w', encoding='ascii') as f:
            json.dump({'period': '1s', 'neuron_runtimes': [{'tag_filter': '.*', 'metrics': [
                {'type': 'neuroncore_counters'}, {'type': 'memory_used'}, {'type': 'execution_stats'}]}],
                'system_metrics': [{'type': 'neuron_hw_counters'}]}, f)
        p = subprocess.Popen([MONITOR, '-c', config], env=self.site.env, stdout=subprocess.PIPE, text=True)
        self.site.started.append(p)
        for _ in range(MANY):
            assert isinstance(json.loads(p.stdout.readline()), dict)
            self.tally.add('documents')
            if self.tally.over():
                break
        p.send_signal(signal.SIGKILL)
        p.wait()


def nothing_left(site):
    rows = json.loads(site.run(LS, '-j').stdout)
    assert not any(row['neuron_processes'] for row in rows), rows
    w = Worker(site, NEURON_RT_VISIBLE_CORES='0-31')
    for vnc in range(32):
        assert w.do('memory %d' % vnc) == 'ok 0', vnc
    w.end()
    assert not site.workers[:-1]
    folders = glob.glob('/dev/shm/opennrt-*-%s' % site.name)
    assert len(folders) == 1, folders
    site.run(OPENNRT, 'reset', '-i', site.name)
    assert not os.path.exists(folders[0])


def main():
    print('%g s' % SECONDS, flush=True)
    with Site('lost', OPENNRT, LIB, 'trn1.32xlarge') as site:
        site.dumps = os.path.join(site.tmp.name, 'dumps')
        site.env.update(NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=os.path.join(site.dumps, '%c'), OPENNRT_NEURON_DUMP='/bin/true',
                        NEURON_RT_LOG_LOCATION=os.path.join(site.tmp.name, 'log'))
        site.sum2 = site.assemble(os.path.join(HERE, '../programs/sum2.nasm'))
        tally = Tally()
        actors = [Lone(site, tally, i) for i in range(LONE)] + [Pair(site, tally, LONE + i) for i in range(PAIRS)]
        actors.append(Monitor(site, tally, 99))
        for a in actors:
            a.start()
        for a in actors:
            a.join()
        print(', '.join('%d %s' % (n, what) for what, n in sorted(tally.count.items())))
        if tally.failure:
            sys.exit(tally.failure)
        nothing_left(site)


main()
