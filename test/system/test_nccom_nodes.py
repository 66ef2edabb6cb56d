#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""nccom-test over several nodes, each an instance of its own on this host: with Open MPI's mpirun, and with
stand-ins for Slurm's commands, which note how they were called (docs/spec/collectives.md 16.6).

usage: test_nccom_nodes.py NCCOM_TEST OPENNRT"""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from ports import port_kept  # noqa: E402
from proves import proves  # noqa: E402

TOOL, OPENNRT = map(os.path.abspath, sys.argv[1:3])
HERE = tempfile.TemporaryDirectory()
INSTANCE = 'nccomn%d' % os.getpid()


ENV = dict(os.environ, OPENNRT_INSTANCE=INSTANCE, OPENNRT_INSTANCE_TYPE='trn1.32xlarge', TMPDIR=HERE.name,
           HOME=HERE.name, NEURON_RT_EXEC_TIMEOUT='60', OMPI_ALLOW_RUN_AS_ROOT='1',
           OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1', NEURON_RT_ROOT_COMM_ID='127.0.0.1:%d' % port_kept())
ENV.pop('NEURON_LOGICAL_NC_CONFIG', None)
SMALL = ['-r', '4', '-N', '2', '-b', '4096', '-e', '4096', '-n', '2', '-w', '1', '-d', 'fp32', '-c']


def start(*args, env=ENV):
    return subprocess.Popen([TOOL, *map(str, args), '--data-collector-port', str(port_kept())], env=env, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(p, code=0):
    out, err = p.communicate()
    if p.returncode != code:
        for log in glob.glob(HERE.name + '/nccom_test_log_*.log'):
            print(open(log).read(), file=sys.stderr)
        sys.exit('exit code %d\n%s%s' % (p.returncode, out, err))
    return out, err


def run(*args, code=0, env=ENV):
    return finish(start(*args, env=env), code)


def cells(out):
    return out.splitlines()[1].split()


# ---- mpirun ----

def mpi():
    hosts = ['--hosts', '127.0.0.1', '127.0.0.1']
    logs = os.path.join(HERE.name, 'logs')
    os.mkdir(logs)
    for op in ('allr', 'allg', 'redsct', 'alltoall', 'sendrecv'):
        out, _ = run(*SMALL, '--show-algorithm', op, *hosts)
        assert cells(out)[:3] == ['4096', '1024', 'fp32'], out
        assert cells(out)[-1] == {'alltoall': 'mesh', 'sendrecv': 'ring'}.get(op, 'hier'), out
    proves('tool-069')
    proves('tool-085')
    run(*SMALL, 'allr', *hosts, '--debug', '--mpi-log-dir', logs)
    assert sorted(os.listdir(logs)) == ['nccom_test_node0.log', 'nccom_test_node1.log']
    assert all(os.path.getsize(os.path.join(logs, name)) > 0 for name in os.listdir(logs))
    proves('tool-087')
    path = os.path.join(HERE.name, 'hosts')
    with open(path, 'w') as f:
        f.write('# two nodes\n127.0.0.1\n\n127.0.0.1\n')
    run(*SMALL, 'allr')                         # ~/hosts
    os.rename(path, path + '.txt')
    run(*SMALL, 'allr', '--hosts-file', path + '.txt', '--data-collector-host', '127.0.0.1')
    proves('tool-086')
    out, _ = run(*SMALL, 'allr', *hosts, code=1, env=dict(ENV, NCCOM_TEST_CORRUPT='3'))
    # mpirun ends the other node with the first, and drops what it has not read by then: which of the
    # two lines about rank 3 is there depends on who was faster.
    log = re.search(r'log file (\S+)', out).group(1)
    assert re.search('rank 3: check failed|node [01]: rank [0-3] failed', open(log).read())


# ---- Slurm ----

COMMANDS = {
    # every task is a process here; a task's node is its number
    'srun': '''import os, subprocess, sys
note('srun')
opts = [a for a in sys.argv[1:] if a.startswith('--')]
n = int([a.split('=')[1] for a in opts if a.startswith('--ntasks=')][0])
first = next(i for i in range(1, len(sys.argv)) if not sys.argv[i].startswith('--'))
if os.path.exists(HERE + '/gate') and '--bench-step' in sys.argv:
    open(HERE + '/gate').read()
tasks = [subprocess.Popen(sys.argv[first:], env=dict(os.environ, SLURM_PROCID=str(i), SLURM_LOCALID=str(i),
         SLURM_STEP_NODELIST='127.0.0.1,other')) for i in range(n)]
sys.exit(max([t.wait() for t in tasks]))
''',
    'salloc': '''import sys
note('salloc')
print('salloc: Granted job allocation 77', file=sys.stderr)
''',
    'scancel': "note('scancel')\n",
    'sbcast': '''import shutil, sys
note('sbcast')
shutil.copy(sys.argv[-2], sys.argv[-1])
'''}


def stand_ins():
    folder = os.path.join(HERE.name, 'bin')
    os.mkdir(folder)
    for name, body in COMMANDS.items():
        path = os.path.join(folder, name)
        with open(path, 'w') as f:
            f.write('#!%s\nHERE = %r\n\n\ndef note(name):\n    import sys\n    with open(HERE + "/called", "a") as f:\n'
                    '        print(name, *sys.argv[1:], file=f)\n\n\n%s' % (sys.executable, HERE.name, body))
        os.chmod(path, 0o755)
    env = dict(ENV, PATH=folder + ':' + ENV['PATH'])
    env.pop('NEURON_RT_ROOT_COMM_ID')
    return env


def called():
    path = os.path.join(HERE.name, 'called')
    with open(path) as f:
        lines = f.read().splitlines()
    os.remove(path)
    return lines


def slurm():
    env = stand_ins()
    local = ['--slurm-mode', '--data-collector-host', '127.0.0.1']
    begin = 'srun --jobid=%s --nodes=2 --ntasks=2 --ntasks-per-node=1 '

    run(*SMALL, 'allr', *local, env=env)        # a job of its own
    lines = called()
    assert lines[0] == 'salloc --nodes=2 --no-shell' and lines[-1] == 'scancel 77', lines
    assert lines[1] == begin % 77 + 'nproc', lines
    cpus = len(os.sched_getaffinity(0))
    assert lines[2].startswith(begin % 77 + '--cpus-per-task=%d %s --bench-step 0 -r 4' % (cpus, TOOL)), lines
    proves('tool-088')
    proves('tool-109')

    script = os.path.join(HERE.name, 'setup.sh')
    with open(script, 'w') as f:
        f.write('#!/bin/sh\necho "setup of $SLURM_PROCID" >> %s/called\n' % HERE.name)
    os.chmod(script, 0o755)
    run(*SMALL, 'allr', *local, '--slurm-job-id', '12345', '-u', '3', '--slurm-setup-script', script, env=env)
    lines = called()
    assert lines[0] == begin % 12345 + script, lines
    assert sorted(lines[1:3]) == ['setup of 0', 'setup of 1'], lines
    assert lines[3].startswith(begin % 12345 + '--cpus-per-task=3 '), lines
    assert len(lines) == 4, lines               # neither salloc nor scancel
    for line in ('tool-089', 'tool-090', 'tool-091'):
        proves(line)

    with open(script, 'w') as f:
        f.write('#!/bin/sh\necho no >&2\nexit 3\n')
    _, err = run(*SMALL, 'allr', *local, '--slurm-job-id', '1', '-u', '1', '--slurm-setup-script', script, env=env,
                 code=1)
    assert 'srun failed: no' in err, err
    called()

    job = 'j%d' % os.getpid()
    try:
        run(*SMALL, 'allr', *local, '--slurm-job-id', job, '-u', '1', '--slurm-use-head-node-neuron-bench',
            '--slurm-setup-script', 'default', env=env)
        folder = '/tmp/nccom_test_' + job
        assert sorted(os.listdir(folder)) == ['libnrt.so.1', 'nccom-test']
        lines = called()
        assert lines[0] == begin % job + 'mkdir -p ' + folder, lines
        assert lines[2] == 'sbcast --force --jobid=%s %s %s/nccom-test' % (job, TOOL, folder), lines
        assert lines[3] == begin % job + folder + '/nccom-test --version', lines
        assert lines[4].startswith(begin % job + '--cpus-per-task=1 %s/nccom-test --bench-step 0' % folder), lines
        proves('tool-092')
    finally:
        shutil.rmtree('/tmp/nccom_test_' + job, ignore_errors=True)


def interrupted():
    """A job of its own is given back also when the user stops the program."""
    env = dict(ENV, PATH=os.path.join(HERE.name, 'bin') + ':' + ENV['PATH'])
    gate = os.path.join(HERE.name, 'gate')
    os.mkfifo(gate)
    p = start(*SMALL, 'allr', '-S', '-u', '1', '--data-collector-host', '127.0.0.1', env=env)
    with open(gate, 'w'):                       # srun runs, and waits for what is written here
        p.send_signal(signal.SIGINT)
        out, err = finish(p, 1)
    assert out == '' and err == 'nccom-test: stopped\n', (out, err)
    assert called()[-1] == 'scancel 77'
    os.remove(gate)


def strangers():
    """Whoever does not know the run's secret is dropped, and the run goes on."""
    env = dict(ENV, PATH=os.path.join(HERE.name, 'bin') + ':' + ENV['PATH'])
    gate, at = os.path.join(HERE.name, 'gate'), port_kept()
    os.mkfifo(gate)
    p = subprocess.Popen([TOOL, *SMALL, 'allr', '-S', '--slurm-job-id', '1', '-u', '1', '--data-collector-host',
                          '127.0.0.1', '--data-collector-port', str(at)], env=env, text=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with open(gate, 'w') as f:                  # opens when srun runs: the collector listens
        silent = [socket.create_connection(('127.0.0.1', at)) for _ in range(40)]
        for s in silent[20:]:                   # more than it keeps: closed at once
            assert s.recv(1) == b''
            s.close()
        for s in silent[:18]:
            s.close()
        for text in (b'GET / HTTP/1.1\r\n\r\n', b'nccom-test 1 %s 0 2\n' % (b'0' * 32), b'x' * 100000, b'\0'):
            with socket.create_connection(('127.0.0.1', at)) as s:
                try:
                    s.sendall(text)
                    assert s.recv(1) == b''
                except ConnectionError:
                    pass
        f.write('go')
    out, _ = finish(p)
    assert cells(out)[:2] == ['4096', '1024']
    for s in silent[18:20]:
        s.close()
    os.remove(gate)
    proves('tool-108')


def main():
    try:
        slurm()
        print('ok slurm', flush=True)
        interrupted()
        print('ok interrupted', flush=True)
        strangers()
        print('ok strangers', flush=True)
        if shutil.which('mpirun'):
            mpi()
            print('ok mpi')
        else:
            print('NOT RUN mpi: no mpirun')
    finally:
        for name in (INSTANCE, INSTANCE + '-node1'):
            subprocess.run([OPENNRT, 'reset'], env=dict(ENV, OPENNRT_INSTANCE=name), stdout=subprocess.DEVNULL)
        HERE.cleanup()


main()
