#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Dumps of failing jobs whose ranks are on two nodes (two instances on loopback), and of logical cores of two physical ones:
one directory per job, the dump of every rank that failed, and `opennrt dump show` names the rank that the others wait for.

usage: test_dump_jobs.py OPENNRT NEURON_DUMP PROG_DUMPS DUMPS_MD [PART ...]      (as test_dump.py, whose helpers it uses)"""
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_dump import ALLREDUCE, GONE, HANG, LIMIT, NAME, OPENNRT, TMP, Rank, after_death, assembled, \
    attach, marked, only, shown, under_way, where  # noqa: E402
from ports import port_kept  # noqa: E402

OTHER = NAME + 'b'
NODES = (NAME, OTHER)
IDLE = HANG.replace('wait never >= 1: nop', 'nop')


def reset():
    for name in NODES:
        subprocess.run([OPENNRT, 'reset', '--instance', name], capture_output=True, check=False)


def nodes_job(per_node, folder, text=None, **env):
    """Ranks in order, per_node on each of two nodes. text: the program of a rank."""
    n = 2 * per_node
    root = '127.0.0.1:%d' % port_kept()
    return [Rank(assembled(text(r) if text else ALLREDUCE % n), r, n, OPENNRT_INSTANCE=NODES[r // per_node],
                 NEURON_RT_ROOT_COMM_ID=root, NEURON_RT_VISIBLE_CORES=str(r % per_node),
                 NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder + '/%d-%c', **env)
            for r in range(n)]


def end(ranks):
    for r in ranks:
        r.end()


def all_run(ranks):
    """One execution of each; what they print."""
    for r in ranks:
        r.say('run')
    return [r.line() for r in ranks]


def shown_of(folder, job, ranks, lnc=1):
    """What the one directory of the job says, which has a dump of each of these ranks and cores, and of no others."""
    got = shown(only(folder))
    assert re.fullmatch(r'\d{4}(-\d\d){4}-[0-9a-f]{16}', os.path.basename(only(folder)))
    for of in ('core', 'cc-core'):
        rows = sorted((f['rank'], f['file'].split('-nd')[0], f['pid']) for f in got['files'] if f['of'] == of)
        want = sorted((r, 'opennrt-' + NODES[r // (len(job) // 2)], job[r].p.pid) for r in ranks for _ in range(lnc))
        assert rows == want, (of, rows, want)
    assert all(f['complete'] for f in got['files']), got['files']
    return got['culprit']


def absent():
    """A rank that does not come; of its node another one waits, too."""
    folder = where()
    job = nodes_job(2, folder, NEURON_RT_EXEC_TIMEOUT=LIMIT)
    assert all_run([job[r] for r in (0, 1, 3)]) == ['status 1200'] * 3
    end(job)
    c = shown_of(folder, job, (0, 1, 3))
    assert c['cause'] == 'collective' and c['rank'] == 2 and '3 ranks wait for rank 2' in c['text'], c


def killed():
    """kill -9 of a rank in an operation: its dump comes from the other rank of its node."""
    folder = where()
    job = nodes_job(2, folder)
    job[2].say('run')
    under_way(job[2], 1, OTHER)  # and cannot end without the others
    job[2].kill()
    left = [job[r] for r in (0, 1, 3)]
    assert all(s in GONE for s in after_death(left))
    end(left)
    c = shown_of(folder, job, (0, 1, 2, 3))
    assert c['cause'] == 'death' and c['rank'] == 2 and c['pid'] == job[2].p.pid, c
    assert 'process %d has died' % job[2].p.pid in c['text'] and c['at']['engine'] == 'sp', c
    assert c['at']['waits'] == 'semaphore>=' and 'wait' in c['at']['instruction'], c
    while_it_is_written(folder, job[2].p.pid, 2)


def while_it_is_written(folder, pid, rank):
    """The dump of the rank that died grows line by line, first of its core, then of its CC-core: whoever looks meanwhile is told
    of the same rank."""
    files = sorted(glob.glob(os.path.join(only(folder), '*-pid-%d-*' % pid)), key=lambda f: 'cc-core' in f)
    assert len(files) == 2 and 'cc-core' in files[1], files
    whole = [open(f, 'rb').read() for f in files]
    for f in files:
        os.unlink(f)
    for f, text in zip(files, whole):
        ends = [i + 1 for i, c in enumerate(text) if c == ord('\n')]
        assert len(ends) > 10, text
        for end in [0] + ends:
            with open(f, 'wb') as out:
                out.write(text[:end])
            c = shown(only(folder))['culprit']
            assert c['cause'] in ('death', 'collective') and c.get('rank') == rank, (text[:end], c)
    assert c['cause'] == 'death', c


def killed_alone():
    """The same where nobody is left on its node: the others name it, and who attaches there next adds its dump."""
    folder = where()
    job = nodes_job(1, folder)
    job[1].say('run')
    under_way(job[1], 1, OTHER)
    job[1].kill()
    assert after_death(job[:1])[0] in GONE
    end(job[:1])
    c = shown_of(folder, job, (0,))
    assert c['cause'] == 'collective' and c['rank'] == 1 and 'has left no dump' in c['text'], c
    attach(IDLE, OPENNRT_INSTANCE=OTHER, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder + '/%d-%c')
    c = shown_of(folder, job, (0, 1))
    assert c['cause'] == 'death' and c['rank'] == 1 and c['pid'] == job[1].p.pid, c


def own():
    """A rank of the other node fails by itself: an engine before its collective hangs."""
    folder = where()

    def text(r):
        return (ALLREDUCE % 4).replace('sp: trigger', 'sem never\nsp: wait never >= 1: nop   ; <--\n    trigger'
                                       if r == 2 else 'sp: trigger')
    job = nodes_job(2, folder, text, NEURON_RT_EXEC_TIMEOUT=LIMIT)
    got = all_run(job)
    assert got[2] == 'status 5' and all(s in GONE for s in got[:2] + got[3:]), got
    end(job)
    c = shown_of(folder, job, range(4))
    assert c['cause'] == 'never raised' and c['rank'] == 2 and c['at']['line'] == marked(text(2)), c


TWO = """.name two
var a: input f32[8]
var c: output f32[8]
var d: output f32[4]
collective first: c[:] <- all_reduce(add, a[:]) ranks=4
collective second: d[:] <- all_reduce(add, a[0:4]) ranks=4
sem done
sp: trigger_collective %s, done
    wait done >= 1: trigger_collective %s, done
    wait done >= 2: end
"""


def earlier_job(name):
    """Two ranks of one node only: from now on its communicators have other numbers than those of the other node."""
    root = '127.0.0.1:%d' % port_kept()
    job = [Rank(assembled(ALLREDUCE % 2), r, 2, OPENNRT_INSTANCE=name, NEURON_RT_ROOT_COMM_ID=root,
                NEURON_RT_VISIBLE_CORES=str(r)) for r in range(2)]
    assert all_run(job) == ['status 0'] * 2
    end(job)


def mismatch():
    """A rank that does its operations in another order than all others; loading cannot see it."""
    folder = where()
    earlier_job(OTHER)
    job = nodes_job(2, folder, lambda r: TWO % (('second', 'first') if r == 2 else ('first', 'second')))
    for r in (0, 1, 3):
        job[r].say('run')
    for r in (0, 1, 3):
        under_way(job[r], 1, NODES[r // 2])  # all have begun theirs, which makes them the most
    assert job[2].do('run') == 'status 1200' and [job[r].line() for r in (0, 1, 3)] == ['status 1200'] * 3
    end(job)
    c = shown_of(folder, job, range(4))
    assert c['cause'] == 'collective' and c['rank'] == 2 and re.match(
        r'rank 2 does all_reduce by .* of 16 bytes float32 as operation 1 where 3 others do something else; rank [0-3] says: .*'
        'another operation, size, type or algorithm', c['text']), c  # and not who was only stopped for it


LOGICAL = """.name logical
.arch trn2
.lnc 2
var a: input f32[8]
var c: output f32[8]
sem done, never
if core == 0 {
collective ar: c[:] <- all_reduce(add, a[:]) ranks=4
sp: trigger_collective ar, done
    wait done >= 1: end
} else {
sp: end
}
"""


def lnc2():
    """Ranks on logical cores of two physical ones: both are in the dump, and the one that has no collectives is to blame."""
    guilty, nc = 3, 3  # the second rank of a node has the device's cores 2 and 3
    folder, text = where(), LOGICAL.replace('sp: end', 'sp: wait never >= 1: nop   ; <--\n    end')
    job = nodes_job(2, folder, lambda r: text if r == guilty else LOGICAL, NEURON_RT_EXEC_TIMEOUT=LIMIT,
                    NEURON_LOGICAL_NC_CONFIG='2', OPENNRT_INSTANCE_TYPE='trn2.48xlarge')
    got = all_run(job)
    assert got[guilty] == 'status 5', got
    end(job)
    c = shown_of(folder, job, [r for r in range(4) if got[r] != 'status 0'], lnc=2)
    assert c['cause'] == 'never raised' and c['rank'] == guilty and c['nc'] == nc, c
    assert c['at']['line'] == marked(text), c


if __name__ == '__main__':
    PARTS = (absent, killed, killed_alone, own, mismatch, lnc2)
    try:
        reset()  # what a test of the same number has left
        for part in PARTS:
            if part.__name__ in sys.argv[5:] or len(sys.argv) == 5:
                part()
                reset()  # the next may want another type of instance
    finally:
        reset()
        TMP.cleanup()
