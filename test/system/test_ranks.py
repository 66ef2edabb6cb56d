#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""opennrt ranks: a live rank, one that hangs, one that is stopped, one that was killed; garbage in the records.

usage: test_ranks.py OPENNRT PROG_FLIGHTS"""
import json
import os
import re
import signal
import subprocess
import sys

opennrt, prog = sys.argv[1:3]
name = 'ranks%d' % os.getpid()
env = dict(os.environ, OPENNRT_INSTANCE=name)


def tool(*args, code=0):
    done = subprocess.run([opennrt, 'ranks', *args], env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, (args, done)
    return done.stdout if code == 0 else done.stderr


def shown(*args):
    """The one core with records, as JSON."""
    got = json.loads(tool('--json', *args))
    assert got['instance'] == name
    assert [(c['device'], c['core']) for c in got['cores']] == [(0, 0)], got
    return got['cores'][0]


class Rank:
    def __init__(self):
        self.p = subprocess.Popen([prog], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ok()

    def ok(self):
        assert self.p.stdout.readline() == 'ok\n'

    def do(self, *lines):
        for line in lines:
            self.p.stdin.write(line + '\n')
            self.p.stdin.flush()
            self.ok()


def asleep(rank):
    """Until the process waits for its next line: on a loaded machine it runs on for a while after its answer."""
    state = ''
    while state != 'S':
        assert rank.p.poll() is None
        with open('/proc/%d/stat' % rank.p.pid, encoding='ascii') as f:
            state = f.read().rsplit(')', 1)[1].split()[0]


def states():
    assert tool(code=1).startswith('opennrt ranks: ')
    rank = Rank()
    assert tool() == 'instance "%s": no collective operation has been recorded\n' % name
    assert json.loads(tool('--json')) == {'instance': name, 'cores': []}

    rank.do('begin 1', 'end', 'begin 2', 'wait')
    asleep(rank)
    core = shown()
    assert core['pid'] == rank.p.pid and core['process'] == 'sleeping', core
    op, = core['operations']
    ages = op.pop('age_ns'), op.pop('lasted_ns')
    assert 0 < ages[0] < 600e9 and 0 < ages[1] < 600e9, ages
    assert op == {'sequence': 2, 'operation': 'all_gather', 'algorithm': 'mesh', 'variant': 'direct', 'bytes': 4096,
                  'dtype': 'bfloat16', 'rank': 11, 'position': 1, 'size': 9, 'members': [10, 11, 12, 13, 14, 15],
                  'communicator': 7, 'state': 'under way', 'steps': 12, 'total_steps': 34,
                  'waits_for': {'semaphore': 'recv', 'rank': 14}}, op
    text = tool().splitlines()
    assert text[0] == 'nd0 nc0  pid %d sleeping' % rank.p.pid, text
    assert text[1].startswith('  rank 11 #2 all_gather by mesh (direct) of 4096 bytes bfloat16, communicator 7, member 1 '
                              'of 9 (10,11,12,13,14,15,...): has run for '), text
    assert re.search(r' ms, 12 of 34 steps, waits for recv of rank 14, for \d+\.\d{3} ms$', text[1]), text
    old = shown('--history')['operations']
    assert [o['sequence'] for o in old] == [2, 1] and old[1]['state'] == 'ended' and old[1]['steps'] == 34, old

    os.kill(rank.p.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, rank.p.pid, os.WSTOPPED)
    core = shown()
    assert core['process'] == 'stopped' and core['operations'][0]['sequence'] == 2, core
    os.kill(rank.p.pid, signal.SIGCONT)

    rank.do('fail')
    op, = shown()['operations']
    assert (op['state'], op['status'], op['culprit'], op['waits_for']['rank']) == ('failed', 1200, 14, 14), op
    assert 'with status 1200 because of rank 14' in tool()

    rank.do(*['begin %d' % i for i in range(3, 50)])
    assert [o['sequence'] for o in shown('--history')['operations']] == list(range(49, 17, -1))

    rank.p.kill()
    rank.p.wait()
    core = shown()
    assert core['process'] == 'gone' and core['operations'][0]['sequence'] == 49, core
    return rank


def garbage():
    rank = Rank()
    for seed in range(60):
        rank.do('garbage %d' % seed)
        got = json.loads(tool('--json', '--history'))
        assert seed % 2 == 0 or len(got['cores'][0]['operations']) == 32, got
        assert all(c == '\n' or ' ' <= c <= '~' for c in tool('--history'))
    rank.p.stdin.close()
    rank.p.wait()


try:
    assert tool('--nonsense', code=2) and tool('too', 'many', code=2)
    assert 'usage: opennrt ranks' in tool('--help')
    states()
    garbage()
finally:
    subprocess.run([opennrt, 'reset', '--force', '-i', name], env=env, stdout=subprocess.DEVNULL, check=False)
