#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The README shows what happens: its commands run, and their output is compared with what it prints.

usage: test_readme.py ROOT BUILD

Of an example a line `$ command` is run; the lines below it are its output, where `...` stands for any
lines. Numbers differ between machines and count as equal, but for accuracies; so does what `doctor`
finds on a check. The
demo's output stands in a block of its own, without a command."""
import os
import re
import subprocess
import sys
import tempfile

root, build = map(os.path.abspath, sys.argv[1:3])
readme = open(os.path.join(root, 'README.md'), encoding='utf-8').read()
FINDING = re.compile(r'(ok|note|warning|error) +(.*?)  .*')


def same_shape(line):
    """The line without what differs from host to host."""
    if line.startswith('accuracy '):                    # the same on every host
        return line
    finding = FINDING.fullmatch(line)
    if finding:
        return 'finding ' + finding.group(2).strip()
    return ' '.join(re.sub(r'\d+(\.\d+)?(e[-+]\d+)?', '#', line).split())


def compare(what, wanted, got):
    """Each run of lines between `...` is found in the output, in order."""
    # A host without the finding has no remedy for it either.
    wanted = [line for line in wanted if not line.lstrip().startswith('remedy:')]
    got = [same_shape(line) for line in got.splitlines() if not line.lstrip().startswith('remedy:')]
    at = 0
    runs = '\n'.join(wanted).split('\n...')
    for number, run in enumerate(runs):
        run = [same_shape(line) for line in run.strip('\n').splitlines()]
        if not run:
            continue
        places = [i for i in range(at, len(got) - len(run) + 1) if got[i:i + len(run)] == run]
        if number == 0 and not what.startswith('demo'):
            places = places if places[:1] == [0] else []
        if not places:
            sys.exit(f'{what}: not in the output:\n' + '\n'.join(run) + '\nThe output:\n' +
                     '\n'.join(got))
        at = places[0] + len(run)
    if len(runs) == 1 and at != len(got):
        sys.exit(f'{what}: more output than the README shows: {got[at:]}')


def shell(command, cwd, env):
    done = subprocess.run(['bash', '-c', command], cwd=cwd, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f'{command}: exit code {done.returncode}\n{done.stdout}')
    return done.stdout.replace(env['OPENNRT_INSTANCE'], 'default')


def main():
    # The two commands come first.
    first = re.search(r'^    make .*\n    make .*\n', readme, re.M).group(0)
    assert [line.split('#')[0].strip() for line in first.splitlines()] == ['make demo', 'make test']
    assert readme.index(first) < readme.index('\n## ')
    # Every target that is named exists.
    makefile = open(os.path.join(root, 'Makefile'), encoding='utf-8').read()
    targets = set(re.findall(r'^([a-z]+):', makefile, re.M))
    for target in re.findall(r'`make ([a-z]+)', readme) + re.findall(r'^ *make ([a-z]+)', readme, re.M):
        assert target in targets, target
    # The plain client stays one that is read in one go.
    with open(os.path.join(root, 'examples', 'run_neff.c'), encoding='utf-8') as client:
        assert len(client.readlines()) <= 200
    # Every page that is linked exists.
    for page in re.findall(r'\]\(([^)#:]+)\)', readme):
        assert os.path.exists(os.path.join(root, page)), page

    env = dict(os.environ, OPENNRT_INSTANCE='readme%d' % os.getpid(), NEURON_RT_NUM_CORES='1')
    env.pop('OPENNRT_INSTANCE_TYPE', None)
    ran = 0
    with tempfile.TemporaryDirectory() as tmp:
        os.symlink(build, os.path.join(tmp, 'build'))
        os.symlink(os.path.join(root, 'examples'), os.path.join(tmp, 'examples'))
        try:
            for block in re.findall(r'^```\n(.*?)^```', readme, re.M | re.S):
                if 'NEFF Nodes:' in block:
                    demo = os.path.join(root, 'examples', 'digits', 'demo.sh')
                    compare('demo', block.splitlines(), shell(f'{demo} build 5003', tmp, env))
                    ran += 1
                parts = re.split(r'^\$ (.*)\n', block, flags=re.M)[1:]
                for command, output in zip(parts[::2], parts[1::2]):
                    compare(command, output.splitlines(), shell(command, tmp, env))
                    ran += 1
        finally:
            shell('build/tools/opennrt/opennrt reset', tmp, env)
    assert ran == 8, ran


main()
