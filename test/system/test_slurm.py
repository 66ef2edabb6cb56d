#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Ranks under a real Slurm of two nodes (slurm.py): the srun command of docs/net.md, word for word, and nccom-test
--slurm-mode in a job of its own, in one that is there, and with its program copied to the nodes.

    test_slurm.py <build folder> <docs/net.md>

test_start.py and test_nccom_nodes.py do the same with stand-ins for Slurm's commands, where this one is NOT RUN."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from ports import port_kept  # noqa: E402
from slurm import NODES, Slurm, Unavailable, WAIT  # noqa: E402

SKIP = 77
BUILD, NET_MD = map(os.path.abspath, sys.argv[1:3])
TOOL = os.path.join(BUILD, 'tools', 'nccom-test', 'nccom-test')
OPENNRT = os.path.join(BUILD, 'tools', 'opennrt', 'opennrt')
INSTANCE = 'slurm%d' % os.getpid()
NCCOM = ['-r', '4', '-N', '2', '-b', '4096', '-e', '4096', '-n', '2', '-w', '1', '-d', 'fp32', '-c', '--slurm-mode',
         '--data-collector-host', '127.0.0.1']


def environment(home):
    env = dict(os.environ, HOME=home, TMPDIR=home, OPENNRT_INSTANCE=INSTANCE, NEURON_RT_EXEC_TIMEOUT='60',
               OPENNRT_JOIN_TIMEOUT=str(WAIT), NEURON_RT_LOG_LEVEL='ERROR', build=BUILD, dir=home,
               OPENNRT_INSTANCE_TYPE='trn2.48xlarge', NEURON_LOGICAL_NC_CONFIG='1')
    for name in list(env):
        if name.startswith('SLURM') or name in ('OPENNRT_JOB_KEY', 'OPENNRT_DIR', 'NEURON_RT_VISIBLE_CORES',
                                                'NEURON_RT_NUM_CORES', 'NEURON_RT_ROOT_COMM_ID'):
            del env[name]
    return env


def checked(args, env, code=0):
    p = subprocess.run(args, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * WAIT)
    if p.returncode != code:
        for log in glob.glob(env['dir'] + '/nccom_test_log_*.log'):
            with open(log, encoding='utf-8', errors='replace') as f:
                print(f.read(), file=sys.stderr)
        sys.exit('%s: exit code %d\n%s%s' % (' '.join(args), p.returncode, p.stdout, p.stderr))
    return p.stdout


# ---- the page ----

def page_command(word):
    with open(NET_MD, encoding='utf-8') as f:
        page = f.read().split('## Starting a job')[1].split('\n## ')[0]
    found = [textwrap.dedent(b) for b in re.findall(r'(?:^    .*\n)+', page, re.M)]
    found = [b for b in found if b.startswith(word + ' ')]
    assert len(found) == 1, found
    return found[0]


def the_page(slurm):
    """On one node, as written; and spread over both, which are then two nodes of the job."""
    env = dict(slurm.env)
    text = page_command('srun')
    checked([os.path.join(BUILD, 'examples', 'allreduce_build'), '4', '1000', env['dir'] + '/a.neff'], env)
    for spread in ('', '-N 2 --ntasks-per-node=2 '):
        env['NEURON_RT_ROOT_COMM_ID'] = '127.0.0.1:%d' % port_kept()
        out = checked(['sh', '-e', '-c', text.replace('srun ', 'srun ' + spread, 1)], env)
        lines = sorted(re.findall(r'rank \d of 4: 1000 sums, 0 wrong', out))
        assert lines == ['rank %d of 4: 1000 sums, 0 wrong' % r for r in range(4)], out


# ---- nccom-test ----

def nccom(slurm, *args, code=0, **env):
    out = checked([TOOL, *NCCOM, '--data-collector-port', str(port_kept()), *args],
                  dict(slurm.env, **env), code)
    return out.splitlines()


def a_job_of_its_own(slurm):
    for op in ('allr', 'allg', 'redsct', 'alltoall'):
        row = nccom(slurm, '--show-algorithm', op)[1].split()
        assert row[:3] == ['4096', '1024', 'fp32'], row
        assert row[-1] == ('mesh' if op == 'alltoall' else 'hier'), row
    assert slurm.jobs() == []  # given back


def a_job_that_is_there(slurm):
    p = subprocess.run(['salloc', '--nodes=2', '--no-shell'], env=slurm.env, stdin=subprocess.DEVNULL, capture_output=True,
                       text=True, timeout=WAIT)
    job = re.search(r'Granted job allocation (\d+)', p.stderr).group(1)
    script = slurm.dir + '/setup.sh'
    slurm.write('setup.sh', '#!/bin/sh\necho "$SLURMD_NODENAME" >>%s/called\n' % slurm.dir, 0o755)
    nccom(slurm, 'allr', '--slurm-job-id', job, '--slurm-vcpus-per-node', '1', '--slurm-setup-script', script)
    with open(slurm.dir + '/called', encoding='utf-8') as f:
        assert sorted(f.read().split()) == list(NODES)
    assert slurm.jobs() == [job]  # somebody else's: it stays
    folder = '/tmp/nccom_test_' + job
    try:
        nccom(slurm, 'allr', '--slurm-job-id', job, '--slurm-use-head-node-neuron-bench')
        assert sorted(os.listdir(folder)) == ['libnrt.so.1', 'nccom-test']
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    checked(['scancel', job], slurm.env)


def a_wrong_result(slurm):
    """What fails in a task makes the run fail, and its job is given back."""
    out = nccom(slurm, 'allr', code=1, NCCOM_TEST_CORRUPT='3')
    assert any('Failure running neuron-bench' in line for line in out), out
    assert slurm.jobs() == []


def main():
    with tempfile.TemporaryDirectory() as home:
        env = environment(home)
        os.mkdir(home + '/slurm')
        try:
            slurm = Slurm(home + '/slurm', env)
        except Unavailable as e:
            print('NOT RUN slurm: %s' % e)
            sys.exit(SKIP)
        try:
            for check in (the_page, a_job_of_its_own, a_job_that_is_there, a_wrong_result):
                check(slurm)
                print('ok ' + check.__name__, flush=True)
        finally:
            try:
                slurm.cancel()
            finally:
                slurm.stop()
            for node in NODES:
                subprocess.run([OPENNRT, 'reset'], env=dict(env, OPENNRT_INSTANCE='%s-%s' % (INSTANCE, node)),
                               stdout=subprocess.DEVNULL, check=False)


main()
