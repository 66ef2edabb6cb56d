#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Core dumps from end to end: programs that fail in ways known beforehand, and for each `opennrt dump show` names
the culprit: the engine and the line of the text that is marked "<--", or the rank. And the flow of behaviour.md 16:
neuron-dump and its flags, directories, what disables dumps, what a dump holds.

usage: test_dump.py OPENNRT NEURON_DUMP PROG_DUMPS DUMPS_MD [PART ...]"""
import json
import os
import random
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from ports import port_kept  # noqa: E402
from proves import proves  # noqa: E402
from seed import seed_take  # noqa: E402

OPENNRT, NEURON_DUMP, PROG, DUMPS_MD = map(os.path.abspath, sys.argv[1:5])
TMP = tempfile.TemporaryDirectory()
NAME = 'dump%d' % os.getpid()
LIMIT = '20'  # seconds of an execution that has to reach it, and that no other one reaches on a slow host
ZEROS = '0' * 16

HANG = """.name hang
var a: input u8[4]
sem never
sp: nop
    wait never >= 1: nop   ; <--
"""

# name: (text, inputs, environment, status, cause, engine)
PROGRAMS = {
    'semaphore-never-raised': (HANG, {}, {}, 5, 'never raised', 'sp'),
    'semaphore-raised-too-few-times': (""".name few
var a: input u8[4]
sem s
dve: signal s++
     signal s++
sp: wait s >= 3: nop   ; <--
""", {}, {}, 5, 'never raised', 'sp'),
    'event-never-set': (""".name event
var a: input u8[4]
event e
act: wait e: nop   ; <--
""", {}, {}, 5, 'never raised', 'act'),
    'deadlock-of-two-engines': (""".name deadlock
var a: input u8[4]
sem left, right
dve: wait left >= 1: nop -> right++   ; <--
act: wait right >= 1: nop -> left++
""", {}, {}, 5, 'deadlock', 'dve'),
    'waits-for-an-engine-that-waits-for-ever': (""".name chain
var a: input u8[4]
sem first, second, never
pe:  wait first >= 1: nop
act: wait second >= 1: nop -> first++
pool: wait never >= 1: nop -> second++   ; <--
""", {}, {}, 5, 'never raised', 'pool'),
    'transfer-that-is-never-triggered': (""".name transfer
var a: input u8[4]
var c: output u8[4]
queue q: data owner=sp n=1
sem done, go
dve: wait done >= 1: nop
sp:  wait go >= 1: nop   ; <--
     dma on q -> done: c <- a
     wait done >= 1: end
""", {}, {}, 5, 'never raised', 'sp'),
    'endless-loop': (""".name endless
var a: input u8[4]
sp: nop
again:
    goto again   ; <--
""", {}, {'NEURON_RT_EXEC_TIMEOUT': '1'}, 5, 'endless', 'sp'),
    'others-wait-for-an-endless-loop': (""".name waits
var a: input u8[4]
sem s
reg n
pe: wait s >= 1: nop
sp: n = 0
again:
    if n >= 0 goto again   ; <--
    signal s++
""", {}, {'NEURON_RT_EXEC_TIMEOUT': '1'}, 5, 'endless', 'sp'),
    'index-outside-of-the-variable': (""".name gather
var ids: input i32[4, 1]
var src: input f32[4, 8]
var table: output f32[16, 8]
queue qIn: in owner=sp n=16
queue qUp: dynamic owner=pool n=16
sem ids_in, src_in, done
tile I: sbuf i32[4, 1]
tile S: sbuf f32[4, 8]
sp: dma on qIn -> ids_in: I <- ids
    dma on qIn -> src_in: S <- src
    wait done >= 16: end
pool: wait ids_in >= 16: nop
    wait src_in >= 16: dma_dyn table[I, :], S, queue=qUp, op=add, sem=done   ; <--
""", {'ids': bytes([1, 0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0, 3, 0, 0, 0])}, {}, 1006, 'out of bounds', 'pool'),
    'register-outside-of-the-variable': (""".name register
var a: input i32[8]
var i: input i32[1]
var c: output i32[1]
reg n, v
sp: n = load(i[0])
    v = load(a[n])   ; <--
    store c[0], v
""", {'i': bytes([8, 0, 0, 0])}, {}, 1006, 'out of bounds', 'sp'),
}
# Of each of them, every engine that waits in the end: for what, the number of the semaphore or event, the value that it wants and
# the one that is there. Semaphores and events have numbers in the order of their declarations.
WAITS = {
    'semaphore-never-raised': {'sp': ('semaphore>=', 0, 1, 0)},
    'semaphore-raised-too-few-times': {'sp': ('semaphore>=', 0, 3, 2)},
    'event-never-set': {'act': ('event==', 0, 1, 0)},
    'deadlock-of-two-engines': {'dve': ('semaphore>=', 0, 1, 0), 'act': ('semaphore>=', 1, 1, 0)},
    'waits-for-an-engine-that-waits-for-ever': {
        'pe': ('semaphore>=', 0, 1, 0), 'act': ('semaphore>=', 1, 1, 0), 'pool': ('semaphore>=', 2, 1, 0)},
    'transfer-that-is-never-triggered': {'dve': ('semaphore>=', 0, 1, 0), 'sp': ('semaphore>=', 1, 1, 0)},
    'endless-loop': {},
    'others-wait-for-an-endless-loop': {'pe': ('semaphore>=', 0, 1, 0)},
    'index-outside-of-the-variable': {'sp': ('semaphore>=', 2, 16, 0)},
    'register-outside-of-the-variable': {},
}
# What only the text says: no engine is to blame, or it names its records itself.
WORDS = {
    'read-of-what-nobody-wrote': (""".name unwritten
var c: output f32[4, 8]
queue q: out owner=sp n=1
sem done
tile T: sbuf f32[4, 8]
sp: dma on q -> done: c <- T
    wait done >= 1: end
""", {'OPENNRT_CHECK': 'uninit'}, 1004, 'check', r'sp record 0 '),
    'memory-error': (HANG.replace('wait never >= 1: nop', 'nop'), {'OPENNRT_FAULT': 'hbm:0'}, 1201, 'hardware', r'HBM'),
    'sram-error': (HANG.replace('wait never >= 1: nop', 'nop'), {'OPENNRT_FAULT': 'sram:0:0:7'}, 1202, 'hardware',
                   r'metadata: 0x7'),
    'stuck-dma-queue': (HANG.replace('wait never >= 1: nop', 'nop'), {'OPENNRT_FAULT': 'dma-tx:0:0:3'}, 1203, 'hardware',
                        r'DMA TX engine 3 '),
    'device-that-does-not-answer': (HANG.replace('wait never >= 1: nop', 'nop'), {'OPENNRT_FAULT': 'device:0'}, 6,
                                    'hardware', r'Device 0 has failed: it does not answer'),
}


def environment(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(('NEURON_', 'OPENNRT_')) or k == 'OPENNRT_PROVES_LOG'}
    env.update(OPENNRT_INSTANCE=NAME, OPENNRT_NEURON_DUMP=NEURON_DUMP, NEURON_RT_LOG_LEVEL='ERROR',
               OPENNRT_INSTANCE_TYPE='trn1.32xlarge')
    env.update(more)
    return env


def where():
    return tempfile.mkdtemp(dir=TMP.name)


def assembled(text):
    path = os.path.join(where(), 'p.neff')
    source = os.path.join(os.path.dirname(path), 'p.nasm')
    with open(source, 'w', encoding='utf-8') as f:
        f.write(text)
    subprocess.run([OPENNRT, 'asm', source, '-o', path], check=True, timeout=120)
    return path


def run(text, inputs=None, **env):
    """Executes; the status, the text on standard error, and the pid."""
    neff = assembled(text)
    args = [OPENNRT, 'run', neff]
    for name, data in (inputs or {}).items():
        raw = os.path.join(os.path.dirname(neff), name + '.raw')
        with open(raw, 'wb') as f:
            f.write(data)
        args += ['--input', '%s=%s' % (name, raw)]
    with subprocess.Popen(args, env=environment(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          cwd=TMP.name) as p:
        err = p.communicate(timeout=120)[1]
    status = re.findall(r'NRT_[A-Z_]+ \((\d+)\)$', err, re.M)
    assert p.returncode == (1 if status else 0), (p.returncode, err)
    return (int(status[-1]) if status else 0), err, p.pid


def attach(text, **env):
    """Runs what ends well, on an instance in which another process may have left something."""
    status, err, _ = run(text, **env)
    assert status == 0, err


def show(folder, *args, code=0):
    done = subprocess.run([OPENNRT, 'dump', 'show', *args, folder], capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == code, done
    return done.stdout


def shown(folder):
    got = json.loads(show(folder, '--json'))
    # The text for people says the same.
    assert show(folder).startswith('culprit: ') and got['culprit']['text'] in show(folder)
    return got


# ---- the culprits ----

def marked(text):
    return 1 + next(i for i, line in enumerate(text.splitlines()) if '<--' in line)


def check_waits(name, folder, got, longest):
    """Both forms say of every engine that waits for what and since when, which is not before the execution began; that lasted
    less than the whole run."""
    core, text = got['files'][0], show(folder)
    waits = {e['engine']: (e['waits'], e['id'], e['wanted'], e['value']) for e in core['engines'] if 'waits' in e}
    assert waits == WAITS[name], (name, core)
    said = {'event==': 'event %d to be set', 'semaphore>=': 'semaphore %d, wanted %d, value %d'}
    paragraph = text[text.index('  the execution began '):]
    since = {e['engine']: e['since_us'] for e in core['engines'] if 'waits' in e}
    lines = dict(re.findall(r'^  (\w+) record .* waits for (.*)$', paragraph, re.M))
    assert lines == {e: said[w[0]] % w[1:1 + said[w[0]].count('%d')] + ', for %.3f s' % (since[e] / 1e6)
                     for e, w in WAITS[name].items()}, (name, text)
    assert all(0 <= s <= core['since_us'] for s in since.values()), (name, core)
    assert 0 < core['since_us'] <= longest * 1e6, (name, core['since_us'], longest)
    assert paragraph.startswith('  the execution began %.3f s before\n' % (core['since_us'] / 1e6)), (name, text)


def culprits():
    for name, (text, inputs, env, want, cause, engine) in PROGRAMS.items():
        folder, began = os.path.join(where(), 'dumps'), time.monotonic()
        status, err, pid = run(text, inputs, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder, **env)
        longest = time.monotonic() - began
        assert status == want, (name, status, err)
        got = shown(folder)
        c = got['culprit']
        assert c['cause'] == cause, (name, c)
        assert c['at']['engine'] == engine and c['at']['line'] == marked(text), (name, c)
        assert c['at']['file'].endswith('/p.nasm') and c['at']['instruction'], (name, c)
        assert c['pid'] == pid and got['files'][0]['status'] == want and got['files'][0]['complete']
        check_waits(name, folder, got, longest)
    for name, (text, env, want, cause, words) in WORDS.items():
        folder = os.path.join(where(), 'dumps')
        status, err, pid = run(text, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder, **env)
        assert status == want, (name, status, err)
        c = shown(folder)['culprit']
        assert c['cause'] == cause and re.search(words, c['text']) and c['pid'] == pid, (name, c)


# ---- the flow ----

def recorder():
    """A neuron-dump that writes down its arguments, and the file they go to."""
    path = os.path.join(where(), 'neuron-dump')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('#!/bin/sh\nfor a in "$@"; do printf "%s\\n" "$a"; done >"$0.args"\nls "$0.dir" >"$0.ls" 2>/dev/null\n'
                'exit ${EXIT_WITH:-0}\n')
    os.chmod(path, 0o755)
    return path, path + '.args'


def arguments(path):
    with open(path, encoding='utf-8') as f:
        words = f.read().split('\n')[:-1]
    assert len(words) % 2 == 0
    return dict(zip(words[::2], words[1::2])), words[::2]


def flow():
    instance = 'opennrt-' + NAME
    tool, args = recorder()
    folder = where()
    before = time.time()
    status, err, pid = run(HANG, OPENNRT_NEURON_DUMP=tool, NEURON_RT_S3_CORE_DUMP_PREFIX='s3://b/%d-%c-%p-%t-%l-%i-%%-%x',
                           NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder + '/d%d/c%c/p%p/t%t/l%l/i%i/%%/%x')
    assert status == 5, err
    got, order = arguments(args)
    proves('dump-001')
    proves('dump-030')
    dates = {time.strftime('%Y-%m-%d-%H-%M', time.gmtime(t)) for t in (before, time.time())}
    date = got['--date-time']
    assert date in dates
    proves('dump-014')
    for name, value, line in (('--neff-name', 'hang', 'dump-012'), ('--pid', str(pid), 'dump-015'),
                              ('--tid', str(pid), 'dump-016'), ('--log-id', '0', 'dump-017'),
                              ('--instance-id', instance, 'dump-018'), ('--cluster-id', ZEROS, 'dump-019'),
                              ('--error-location', 'nrt_execute', 'dump-020'), ('--error-code', '5', 'dump-021')):
        assert got[name] == value, (name, got)
        proves(line)
    proves('dump-028')
    assert re.fullmatch('[0-9a-f]{32}', got['--neff-uuid'])
    proves('dump-013')
    local = '%s/d%s/c%s/p%d/t%d/l0/i%s/%%%%/%%x' % (folder, date, ZEROS, pid, pid, instance)
    assert got['--local-output-dir'] == local and os.path.isdir(local), got
    proves('dump-022')
    for line in ('dump-006', 'dump-007', 'dump-008', 'dump-009', 'dump-010', 'dump-011', 'api-245'):
        proves(line)
    assert got['--s3-output-prefix'] == 's3://b/%s-%s-%d-%d-0-%s-%%%%-%%x' % (date, ZEROS, pid, pid, instance)
    proves('dump-023')
    proves('dump-005')  # passed, and the tool that would upload was ours
    proves('api-246')
    assert len(order) == 12
    # The files of the runtime, and what they hold.
    name = '%s-nd0-nc0-pid-%d-tid-%d-lid-0' % (instance, pid, pid)
    assert sorted(os.listdir(local)) == sorted([name, '%s-nrt-pid-%d.log' % (instance, pid)])
    with open(os.path.join(local, name), encoding='ascii') as f:
        text = f.read()
    for section in ('[failure]', '[engines]', '[instr]', '[semaphores]', '[dma]', '[memory]', '[env]', '[end]'):
        assert '\n%s\n' % section in text
    assert 'env set="OPENNRT_NEURON_DUMP=%s"' % tool in text
    proves('dump-024')
    with open(os.path.join(local, '%s-nrt-pid-%d.log' % (instance, pid)), encoding='utf-8') as f:
        log = f.read()
    # The records at ERROR as they were printed, the information dump among them.
    assert all(line in log for line in err.splitlines() if ' ERROR ' in line), (log, err)
    assert 'NRT:nrt_infodump' in log and 'Failed to execute model hang with status 5\n' in log
    proves('dump-026')

    # Without the second variable there is no flag for it.
    run(HANG, OPENNRT_NEURON_DUMP=tool, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder)
    assert '--s3-output-prefix' not in arguments(args)[0]
    os.unlink(args)

    # A neuron-dump that fails changes nothing; nor does a directory that cannot be made.
    for more in ({'EXIT_WITH': '3', 'NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY': folder},
                 {'NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY': args + '/x'}):
        status, err, _ = run(HANG, OPENNRT_NEURON_DUMP=tool, **more)
        assert status == 5 and os.path.exists(args), err
    proves('dump-029')
    os.unlink(args)

    # Disabled: both variables empty; no tool, or none that can be executed.
    status, err, _ = run(HANG, OPENNRT_NEURON_DUMP=tool, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY='', NEURON_RT_S3_CORE_DUMP_PREFIX='')
    assert status == 5, err
    assert not os.path.exists(args)
    proves('dump-002')
    run(HANG, OPENNRT_NEURON_DUMP=tool, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY='', NEURON_RT_S3_CORE_DUMP_PREFIX='s3://b')
    assert arguments(args)[0]['--local-output-dir'] == ''  # one of the two is not enough
    os.unlink(args)
    nothing = where()
    for absent in (tool + '-that-is-not-there', NEURON_DUMP + '/x'):
        status, _, _ = run(HANG, OPENNRT_NEURON_DUMP=absent, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=nothing)
        assert status == 5 and os.listdir(nothing) == []
    os.chmod(tool, 0o644)
    assert run(HANG, OPENNRT_NEURON_DUMP=tool, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=nothing)[0] == 5
    assert os.listdir(nothing) == []
    os.chmod(tool, 0o755)
    proves('dump-003')

    # An execution that ends well leaves none.
    attach(HANG.replace('wait never >= 1: nop', 'nop'), OPENNRT_NEURON_DUMP=tool, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=nothing)
    assert os.listdir(nothing) == [] and not os.path.exists(args)

    # The directory without a variable: as documented, in a place of this test's own.
    status, _, pid = run(HANG, OPENNRT_NEURON_DUMP=tool)
    got, _ = arguments(args)
    assert got['--local-output-dir'] == '/tmp/neuron-core-dump/dt-%s-cid-%s' % (got['--date-time'], ZEROS)
    proves('dump-004')
    for file in os.listdir(got['--local-output-dir']):
        if file.startswith(instance + '-'):
            os.unlink(os.path.join(got['--local-output-dir'], file))


def log_ids():
    """Every dump of a process has a number of its own; the log's tail is of the last one."""
    folder = where()
    rank = Rank(assembled(HANG), NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder)
    for k in range(3):
        assert rank.do('run') == 'status 5'
    rank.end()
    assert sorted(int(f.rsplit('-', 1)[1]) for f in os.listdir(folder) if '-lid-' in f) == [0, 1, 2]
    log, = [f for f in os.listdir(folder) if '-lid-' not in f]
    with open(os.path.join(folder, log), encoding='utf-8') as f:
        assert f.read().count('Failed to execute model hang with status 5\n') == 3


# ---- neuron-dump itself ----

def the_tool():
    def tool(*args, code=0, **env):
        done = subprocess.run([NEURON_DUMP, *args], capture_output=True, text=True, timeout=120, check=False,
                              env=dict(os.environ, **env))
        assert done.returncode == code, done
        return done

    flags = ['--neff-name', '--neff-uuid', '--date-time', '--pid', '--tid', '--log-id', '--instance-id', '--cluster-id',
             '--error-location', '--error-code', '--local-output-dir', '--s3-output-prefix']
    usage = tool('--help').stdout
    assert all(f in usage for f in flags)
    assert '--pid needs a value' in tool('--pid', code=2).stderr
    assert 'unknown argument "--what"' in tool('--what', 'x', code=2).stderr
    folder = where()
    name = os.path.join(folder, 'i-1-nd0-nc0-pid-7-tid-8-lid-9')
    values = ['a "name"\\\n', 'f' * 32, '2026-01-02-03-04', '7', '8', '9', 'i-1', ZEROS, 'nrt_execute', '5', folder]
    call = [w for pair in zip(flags, values) for w in pair]
    assert 'no snapshot' in tool(*call, code=1).stderr
    with open(name, 'w', encoding='ascii') as f:
        f.write('opennrt-core-dump version=1 of="core"\n[end]\nend lines=2\n')
    tool(*call)
    with open(name, encoding='ascii') as f:
        text = f.read()
    assert '\n[packages]\n' in text and '\n[host]\n' in text and text.endswith('\n[complete]\n')
    assert 'call neff_name="a \\x22name\\x22\\x5c?" neff_uuid="%s" date_time="2026-01-02-03-04"' % ('f' * 32) in text
    assert 'host text="Linux ' in text
    # A file from before there was since_us: nothing is said of how long.
    old = where()
    with open(os.path.join(old, os.path.basename(name)), 'w', encoding='ascii') as f:
        f.write('opennrt-core-dump version=1 of="core"\nmodel id=1 neff_name="m"\n'
                'engine name="act" record=0 retired=0 ended=0 waits="semaphore>=" id=1 wanted=1 value=0\n'
                'engine name="sp" record=0 retired=0 ended=0 waits="event==" id=2 wanted=1 value=0\n[end]\nend lines=5\n')
    got = shown(old)
    assert 'since_us' not in json.dumps(got) and [e['wanted'] for e in got['files'][0]['engines']] == [1, 1], got
    lines = show(old).splitlines()
    assert any(line.endswith(' waits for semaphore 1, wanted 1, value 0') for line in lines), lines
    assert any(line.endswith(' waits for event 2 to be set') for line in lines), lines
    assert not any('began' in line for line in lines), lines
    # A link with the name of a snapshot, which somebody may put into a directory of all users, is not followed.
    other = os.path.join(where(), 'other')
    shutil.move(name, other)
    os.symlink(other, name)
    assert 'no snapshot' in tool(*call, code=1).stderr
    with open(other, encoding='ascii') as f:
        assert f.read() == text
    os.unlink(name)
    shutil.move(other, name)
    # Names of files may be anything; what is shown is text.
    odd = where()
    shutil.copy(name, os.path.join(odd, 'a\n\x1b[31m\x7fb'))
    assert '\na??[31m?b\n' in show(odd) and json.loads(show(odd, '--json'))['files'][0]['file'] == 'a\n\x1b[31m\x7fb'
    # The upload, by an aws of ours; without one it fails and says so.
    bin_dir = where()
    aws = os.path.join(bin_dir, 'aws')
    with open(aws, 'w', encoding='utf-8') as f:
        f.write('#!/bin/sh\necho "$@" >"$0.args"\n')
    os.chmod(aws, 0o755)
    tool(*call, '--s3-output-prefix', 's3://b/p', PATH=bin_dir + os.pathsep + os.environ['PATH'])
    with open(aws + '.args', encoding='utf-8') as f:
        assert f.read() == 's3 cp --recursive %s s3://b/p\n' % folder
    for k in (4, 7, 11):  # what it needs is asked for
        bad = call[:2 * (k - 1)] + call[2 * k:]
        assert tool(*bad, code=1 if k == 11 else 2).stderr.startswith('neuron-dump: ')
    proves('tool-059')


# ---- ranks ----

ALLREDUCE = """.name job
var a: input f32[8]
var c: output f32[8]
collective ar: c[:] <- all_reduce(add, a[:]) ranks=%d
sem done
sp: trigger_collective ar, done
    wait done >= 1: end
"""


class Rank:
    def __init__(self, neff, rank=0, ranks=0, **env):
        env = environment(OPENNRT_JOIN_TIMEOUT='60', **env)
        self.p = subprocess.Popen([PROG, neff, str(rank), str(ranks)], env=env, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def line(self):
        return self.p.stdout.readline().rstrip('\n')

    def say(self, word):
        got = self.line()
        assert got == 'ok', (got, self.p.communicate(timeout=120)[1])
        self.p.stdin.write(word + '\n')
        self.p.stdin.flush()

    def do(self, word):
        self.say(word)
        return self.line()

    def kill(self):
        self.p.kill()
        self.p.wait(120)

    def end(self):
        self.p.stdin.close()
        self.p.stdin = None
        err = self.p.communicate(timeout=120)[1]
        assert self.p.returncode == 0, (self.p.returncode, err)


def job(n, folder, text=None, **env):
    neffs = [assembled((text(r) if text else ALLREDUCE % n)) for r in range(n)]
    root = '127.0.0.1:%d' % port_kept()
    return [Rank(neffs[r], r, n, NEURON_RT_ROOT_COMM_ID=root, NEURON_RT_VISIBLE_CORES=str(r),
                 NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder + '/%d-%c', **env)
            for r in range(n)]


def only(folder):
    """The one directory in it."""
    names = os.listdir(folder)
    assert len(names) == 1, [(n, os.listdir(os.path.join(folder, n))) for n in names]
    name, = names
    return os.path.join(folder, name)


def peers(got, text, longest):
    """What the ranks 0 and 2 waited for, in both forms: their engine for the operation's semaphore, their operation because of
    rank 1, for as long as it says, which is not longer than their execution (but for two roundings to a microsecond)."""
    waited = []
    for rank in (0, 2):
        core, = [f for f in got['files'] if f['of'] == 'core' and f['rank'] == rank]
        cc, = [f for f in got['files'] if f['of'] == 'cc-core' and f['rank'] == rank]
        e, = core['engines']
        assert (e['engine'], e['waits'], e['id'], e['wanted'], e['value']) == ('sp', 'semaphore>=', 0, 1, 0), e
        paragraph = text[text.index('\n' + core['file'] + '\n'):].split('\n\n')[0]
        assert 'waits for semaphore 0, wanted 1, value 0, for %.3f s' % (e['since_us'] / 1e6) in paragraph.splitlines()[-1], paragraph
        assert e['since_us'] <= core['since_us'], core
        wait = re.search(r' waits for \w+ of rank 1, for ([0-9.]+) ms$', cc['operations'][0])
        waited += [float(wait.group(1))] if wait else []  # who began late may be told of the failure before it waits
        ms, of = re.search(r': failed after ([0-9.]+) ms with status 1200 because of rank (\d+),', cc['operations'][0]).groups()
        assert not wait or 0 < float(wait.group(1)) <= float(ms), cc
        assert of == '1' and 0 < float(ms) * 1e3 <= core['since_us'] + 2 <= longest * 1e6 + 2, (cc, core, longest)
        assert '  all_reduce #2: %s\n' % cc['operations'][0] in text
    assert waited, got  # the one that gave up


def ranks():
    # A rank that never arrives: the others name it.
    folder = where()
    job_ranks = job(3, folder, NEURON_RT_EXEC_TIMEOUT=LIMIT)
    for r in job_ranks:
        r.say('run')
    assert [r.line() for r in job_ranks] == ['status 0'] * 3
    began = time.monotonic()
    for r in (0, 2):
        job_ranks[r].say('run')
    for r in (0, 2):
        assert job_ranks[r].line() == 'status 1200'
    longest = time.monotonic() - began
    for r in job_ranks:
        r.end()
    got = shown(only(folder))
    assert got['culprit']['cause'] == 'collective' and got['culprit']['rank'] == 1, got['culprit']
    # All in one directory, which has the job's time and id.
    assert re.fullmatch(r'\d{4}(-\d\d){4}-[0-9a-f]{16}', os.path.basename(only(folder)))
    assert not only(folder).endswith(ZEROS)
    assert {f['rank'] for f in got['files'] if f['of'] == 'core'} == {0, 2}
    proves('dump-027')
    cc = [f for f in os.listdir(only(folder)) if '-cc-core-' in f]
    assert len(cc) == 2 and all(re.fullmatch(
        r'opennrt-%s-nd[01]-cc-core-\d+-pid-\d+-tid-\d+-lid-0' % NAME, f) for f in cc), cc
    assert all('all_reduce' in f['operations'][0] for f in got['files'] if f['of'] == 'cc-core')
    proves('dump-025')
    peers(got, show(only(folder)), longest)

    # A rank that dies, in an operation that cannot end yet.
    folder = where()
    job_ranks = job(3, folder)
    job_ranks[2].say('run')
    under_way(job_ranks[2], 1)
    job_ranks[2].kill()
    assert all(s in GONE for s in after_death(job_ranks[:2]))
    for r in (0, 1):
        job_ranks[r].end()
    got = shown(only(folder))
    c = got['culprit']
    assert c['rank'] == 2 and c['cause'] == 'death' and c['pid'] == job_ranks[2].p.pid, c
    assert [f['dead'] for f in got['files'] if f['rank'] == 2] == [True, True]

    # A rank that fails by itself while the others wait for it: an engine before its collective hangs.
    folder = where()

    def text(r):
        return (ALLREDUCE % 3).replace('sp: trigger', 'sem never\nsp: wait never >= 1: nop   ; <--\n    trigger'
                                       if r == 1 else 'sp: trigger')
    job_ranks = job(3, folder, text, NEURON_RT_EXEC_TIMEOUT=LIMIT)
    for r in job_ranks:
        r.say('run')
    assert [r.line() for r in job_ranks] == ['status 1200', 'status 5', 'status 1200']
    for r in job_ranks:
        r.end()
    c = shown(only(folder))['culprit']
    assert c['rank'] == 1 and c['cause'] == 'never raised' and c['at']['line'] == marked(text(1)), c


GONE = ('status 1200', 'status 1206')  # of who sees a death: the core or the network, whichever is first


def after_death(ranks):
    """Runs them; one may have had all that it needs of the operation in which another died, but not of the next."""
    for r in ranks:
        r.say('run')
    got = [r.line() for r in ranks]
    return [r.do('run') if s == 'status 0' else s for r, s in zip(ranks, got)]


def under_way(rank, sequence, instance=NAME):
    """Until the instance shows that the rank is in the operation of that number."""
    while True:
        done = subprocess.run([OPENNRT, 'ranks', '--json'], env=environment(OPENNRT_INSTANCE=instance), capture_output=True,
                              text=True, timeout=120, check=False)
        cores = json.loads(done.stdout)['cores'] if done.returncode == 0 else []
        if any(c['pid'] == rank.p.pid and o['sequence'] == sequence and o['state'] == 'under way'
               for c in cores for o in c['operations']):
            return
        assert rank.p.poll() is None


# ---- processes that are gone ----

def cpu_ticks(pid):
    with open('/proc/%d/stat' % pid, encoding='ascii') as f:
        return sum(map(int, f.read().rsplit(')', 1)[1].split()[11:13]))


def executing(rank, ticks=20):
    """Until the process, which has said that it begins an execution without end, has computed for a while in it."""
    start = cpu_ticks(rank.p.pid)
    while cpu_ticks(rank.p.pid) < start + ticks:
        assert rank.p.poll() is None
        os.sched_yield()


def one_file(folder):
    files = [f for f in os.listdir(folder) if '-lid-' in f]
    assert len(files) == 1, files
    return os.path.join(folder, files[0])


def deaths():
    endless = assembled(PROGRAMS['endless-loop'][0])
    good = HANG.replace('wait never >= 1: nop', 'nop')
    env = {}
    for sig in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT):
        env['NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY'] = folder = where()
        rank = Rank(endless, NEURON_RT_VISIBLE_CORES='0', NEURON_RT_EXEC_TIMEOUT='0', **env)
        assert rank.do('begin') == 'begun'
        executing(rank)
        rank.p.send_signal(sig)
        assert rank.p.wait(120) == -sig and os.listdir(folder) == []
        attach(good, NEURON_RT_VISIBLE_CORES='2', **env)
        got = shown(folder)
        c = got['culprit']
        assert c['cause'] == 'death' and c['pid'] == rank.p.pid and c['at']['engine'] == 'sp', c
        assert c['at']['op'] == 'branch' and c['at']['record'] == 1, c
        assert 'process %d has died' % rank.p.pid in c['text'], c
        assert got['files'][0]['neff_name'] == 'endless' and '-pid-%d-' % rank.p.pid in one_file(folder)
    dead_memory(endless)
    dead_pair()
    dead_many(endless)
    # Idle: nothing to tell.
    env['NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY'] = folder = where()
    rank = Rank(assembled(good), **env)
    assert rank.do('run') == 'status 0'
    rank.kill()
    attach(good, **env)
    assert os.listdir(folder) == []


def any_signal():
    """Whatever signal ends them, each on a core of its own: the next to attach leaves a dump of every one."""
    ends = [s for s in signal.valid_signals() if s < 32 and s not in (
        signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGURG,
        signal.SIGWINCH)]
    assert len(ends) == 23, ends
    endless, folder, ranks_of = assembled(PROGRAMS['endless-loop'][0]), where(), []
    try:
        for c in range(len(ends)):
            ranks_of.append(Rank(endless, NEURON_RT_VISIBLE_CORES=str(c), NEURON_RT_EXEC_TIMEOUT='0',
                                 NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder + '/%p'))
            resource.prlimit(ranks_of[-1].p.pid, resource.RLIMIT_CORE, (0, 0))
        for rank, sig in zip(ranks_of, ends):  # one computes at a time; the others wait for their line, or are dead
            assert rank.do('begin') == 'begun'
            executing(rank)
            rank.p.send_signal(sig)
            assert rank.p.wait(120) == -sig
    finally:
        for rank in ranks_of:
            rank.p.kill()
    attach(HANG.replace('wait never >= 1: nop', 'nop'), NEURON_RT_VISIBLE_CORES='31',
           NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder + '/%p')
    assert sorted(os.listdir(folder)) == sorted(str(r.p.pid) for r in ranks_of)
    for rank, sig in zip(ranks_of, ends):
        c = shown(os.path.join(folder, str(rank.p.pid)))['culprit']
        assert c['cause'] == 'death' and c['pid'] == rank.p.pid and c['at']['engine'] == 'sp', (sig, c)


def crashes():
    """Who writes a dump dies in the middle of it, at any byte: what stands there is read, and blames whom its whole
    lines blame; the next to attach is not disturbed."""
    hang, good = assembled(HANG), HANG.replace('wait never >= 1: nop', 'nop')
    seed = seed_take()
    rng = random.Random(seed)
    folder = where()
    rank = Rank(hang, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder)
    assert rank.do('run') == 'status 5'
    rank.end()
    with open(one_file(folder), encoding='ascii') as f:
        size = f.read().index('\n[packages]\n')
    for at in [0, 1, size - 1, size * 2] + [rng.randrange(size) for _ in range(9)]:
        folder = where()
        rank = Rank(hang, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder, PROG_DUMPS_DIES_AT=str(at))
        rank.say('run')
        assert rank.p.wait(120) == -signal.SIGKILL, at
        with open(one_file(folder), encoding='ascii') as f:
            text = f.read()
        assert len(text) == at or len(text) < at and re.search(r'\nend lines=\d+$', text), (at, text)
        assert len(text) == at or at > size - 64, (at, size)  # fewer digits of times and ids
        lines = {line.split(' ')[0] for line in text[:text.rfind('\n') + 1].splitlines()}
        if 'opennrt-core-dump' in lines:
            got = shown(folder)
            assert len(got['files']) == 1 and not got['files'][0]['complete'], (at, got)
            assert got['files'][0].get('status', 0) == (5 if 'failure' in lines else 0), (at, got)
            if '[semaphores]' in lines:
                c = got['culprit']
                assert c['cause'] == 'never raised' and c['at']['engine'] == 'sp' and c['at']['line'] == marked(HANG), (at, c)
        else:
            show(folder, code=1)
        attach(good, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder)


def dead_memory(endless):
    """What the program was is known of a dead process, too, where its device memory outlives it: in files, or because somebody
    else has the HBM, here the other core that shares it. Who comes next has neither device memory nor a slot."""
    good = HANG.replace('wait never >= 1: nop', 'nop')
    for how in ('files', 'neighbour'):
        folder, where_it_is = where(), where()
        env = {'NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY': folder, 'OPENNRT_INSTANCE': NAME + how, 'OPENNRT_INSTANCE_TYPE': 'trn2.48xlarge',
               'NEURON_LOGICAL_NC_CONFIG': '1'}
        if how == 'files':
            env['OPENNRT_DIR'] = where_it_is
        else:
            neighbour = Rank(assembled(good), NEURON_RT_VISIBLE_CORES='1', **env)
            assert neighbour.do('run') == 'status 0'
        rank = Rank(endless, NEURON_RT_VISIBLE_CORES='0', NEURON_RT_EXEC_TIMEOUT='0', **env)
        assert rank.do('begin') == 'begun'
        executing(rank)
        rank.kill()
        attach(good, NEURON_RT_VISIBLE_CORES='8', **env)
        c = shown(folder)['culprit']
        assert c['cause'] == 'death' and c['pid'] == rank.p.pid and 'goto' in c['at']['instruction'], (how, c)
        with open(one_file(folder), encoding='ascii') as f:
            assert len(re.findall(r'^instr engine="sp" record=\d+ bytes=[0-9a-f]+$', f.read(), re.M)) == 2
        if how == 'neighbour':
            neighbour.end()
        subprocess.run([OPENNRT, 'reset', '--instance', NAME + how], env=environment(**env), capture_output=True, check=True)


def dead_pair():
    """Two cores of a dead process are one dump, for which neuron-dump runs once."""
    folder, tool = where(), os.path.join(where(), 'neuron-dump')
    with open(tool, 'w', encoding='utf-8') as f:
        f.write('#!/bin/sh\necho "$@" >>"$0.runs"\n')
    os.chmod(tool, 0o755)
    env = {'NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY': folder, 'OPENNRT_INSTANCE': NAME + 'pair', 'OPENNRT_NEURON_DUMP': tool,
           'OPENNRT_INSTANCE_TYPE': 'trn2.48xlarge', 'NEURON_LOGICAL_NC_CONFIG': '2'}
    twice = PROGRAMS['endless-loop'][0].replace('.name endless', '.name endless\n.arch trn2\n.lnc 2')
    rank = Rank(assembled(twice), NEURON_RT_VISIBLE_CORES='0', NEURON_RT_EXEC_TIMEOUT='0', **env)
    assert rank.do('begin') == 'begun'
    executing(rank)
    rank.kill()
    attach(twice.replace('goto again', 'nop'), NEURON_RT_VISIBLE_CORES='1', **env)
    start = 'opennrt-%spair-nd0-' % NAME
    assert sorted(f for f in os.listdir(folder) if '-lid-' in f) == [
        '%snc%d-pid-%d-tid-%d-lid-0' % (start, nc, rank.p.pid, rank.p.pid) for nc in (0, 1)]
    with open(tool + '.runs', encoding='utf-8') as f:
        runs = f.read().splitlines()
    assert len(runs) == 1 and '--pid %d ' % rank.p.pid in runs[0], runs
    subprocess.run([OPENNRT, 'reset', '--instance', NAME + 'pair'], env=environment(**env), capture_output=True, check=True)


def dead_many(endless):
    """Of many dead processes the snapshots are there when the next one is ready; neuron-dump, here one that does not end before it
    is told to, runs behind its back, for one after another, and nrt_close waits for it."""
    folder, tool = where(), os.path.join(where(), 'neuron-dump')
    with open(tool, 'w', encoding='utf-8') as f:
        f.write('#!/bin/sh\nuntil [ -e "$0.go" ]; do sleep 0.05; done\necho "$@" >>"$0.ended"\n')
    os.chmod(tool, 0o755)
    env = {'NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY': folder, 'OPENNRT_INSTANCE': NAME + 'many', 'OPENNRT_NEURON_DUMP': tool,
           'OPENNRT_INSTANCE_TYPE': 'trn1.32xlarge'}
    ranks = [Rank(endless, NEURON_RT_VISIBLE_CORES=str(c), NEURON_RT_EXEC_TIMEOUT='0', **env) for c in range(3)]
    for rank in ranks:
        assert rank.do('begin') == 'begun'
    for rank in ranks:
        executing(rank)
    for rank in ranks:
        rank.kill()
    nxt = Rank(assembled(HANG.replace('wait never >= 1: nop', 'nop')), NEURON_RT_VISIBLE_CORES='5', **env)
    try:
        assert nxt.do('run') == 'status 0'
        assert not os.path.exists(tool + '.ended')
        got = sorted(f for f in os.listdir(folder) if '-lid-' in f)
    finally:
        with open(tool + '.go', 'w', encoding='utf-8'):
            pass
    assert len(got) == 3 and all(any('-pid-%d-' % r.p.pid in f for f in got) for r in ranks), got
    nxt.end()
    with open(tool + '.ended', encoding='utf-8') as f:
        ended = f.read().splitlines()
    assert sorted(re.search(r'--pid (\d+) ', e).group(1) for e in ended) == sorted(str(r.p.pid) for r in ranks), ended
    subprocess.run([OPENNRT, 'reset', '--instance', NAME + 'many'], env=environment(**env), capture_output=True, check=True)


def signals():
    """OPENNRT_SIGNAL_DUMP=1 dumps at once and goes on to what was there; without it nothing is installed."""
    endless = assembled(PROGRAMS['endless-loop'][0])
    good = assembled(HANG.replace('wait never >= 1: nop', 'nop'))
    for wanted in ('1', '0'):
        for sig in (signal.SIGTERM, signal.SIGSEGV):
            folder = where()
            rank = Rank(endless, NEURON_RT_EXEC_TIMEOUT='0', NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder,
                        OPENNRT_SIGNAL_DUMP=wanted)
            assert rank.do('begin') == 'begun'
            executing(rank)
            with open('/proc/%d/status' % rank.p.pid, encoding='ascii') as f:
                caught = int(re.search(r'SigCgt:\s*(\w+)', f.read()).group(1), 16)
            assert bool(caught >> (sig - 1) & 1) == (wanted == '1')
            assert wanted == '1' or caught & 0x7fffffff == 0, hex(caught)  # none of any signal; real-time ones are the C library's
            rank.p.send_signal(sig)
            assert rank.p.wait(120) == -sig
            if wanted == '0':
                assert os.listdir(folder) == []
                run(HANG, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY='')  # takes what it has left
                continue
            got = shown(folder)
            c = got['culprit']
            assert c['cause'] == 'death' and c['pid'] == rank.p.pid and got['files'][0]['signal'] == sig, c
            assert c['at']['engine'] == 'sp' and 'goto' in c['at']['instruction'] and got['files'][0]['complete'], c
    # The program's own handler comes after the dump; an idle core that has executed is dumped too.
    folder = where()
    rank = Rank(good, NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY=folder, OPENNRT_SIGNAL_DUMP='1', PROG_DUMPS_HANDLER='1')
    assert rank.do('run') == 'status 0'
    rank.say('crash')
    assert rank.p.wait(120) == 77
    assert shown(folder)['files'][0]['signal'] == signal.SIGSEGV


# ---- the page ----

def guide():
    """The example of docs/dumps.md, word for word."""
    with open(DUMPS_MD, encoding='utf-8') as f:
        block = re.search(r'## An example\n\n((?:    .*\n)+)', f.read()).group(1)
    steps = re.findall(r'    \$ (.*)\n((?:    (?!\$).*\n)*)', block)
    folder = where()
    script, want = '', ''
    for command, output in steps:
        output = ''.join(line[4:] + '\n' for line in output.splitlines())
        if command.startswith('cat '):
            with open(os.path.join(folder, command[4:]), 'w', encoding='utf-8') as f:
                f.write(output)
        script += command + '\n'
        want += output
    path = os.pathsep.join([os.path.dirname(OPENNRT), os.path.dirname(NEURON_DUMP), os.environ['PATH']])
    done = subprocess.run(['/bin/sh', '-c', script], cwd=folder, env=environment(PATH=path), capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.stdout == want, (done, want)
    assert 'culprit: nd0 nc0, deadlock: ' in want


if __name__ == '__main__':
    PARTS = (culprits, flow, log_ids, the_tool, ranks, deaths, any_signal, crashes, signals, guide)
    try:
        for part in PARTS:
            if part.__name__ in sys.argv[5:] or len(sys.argv) == 5:
                part()
    finally:
        subprocess.run([OPENNRT, 'reset', '--instance', NAME], capture_output=True, check=False)
        TMP.cleanup()
