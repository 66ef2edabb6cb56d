#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/performance.md run, with fewer batches, and print what the page says, but for the figures.

usage: test_performance.py PAGE OPENNRT TIPS PROXIES ALLREDUCE_BUILD LAYER"""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from ports import port_kept  # noqa: E402

page, opennrt, tips, proxies, allreduce_build, layer = map(os.path.abspath, sys.argv[1:7])
text = open(page, encoding='utf-8').read()
env = {k: v for k, v in os.environ.items() if not k.startswith(('NEURON_', 'HWLOC_', 'OPENNRT_'))}
env['OPENNRT_INSTANCE'] = 'performance%d' % os.getpid()
env['NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT'] = str(port_kept(2))  # a core each
PORT = port_kept()
CPUS = os.sched_getaffinity(0)


def commands():
    """Blocks of indented lines, each with the figures that follow it."""
    parts = re.split(r'<!-- output: \w+ -->\n```\n(.*?)```', text, flags=re.S)
    for before, shown in zip(parts[0::2], parts[1::2]):
        yield '\n'.join(re.findall(r'^    (.+)$', before, re.M)), shown


def shape(out):
    """Without figures, and without how many blanks stand before them; CPUs stay."""
    out = re.sub(r'\b\d+\.\d\b', 'N', out)
    out = out.replace('on CPUs 0,1\n', 'on CPUs %s\n' % ','.join(str(c) for c in sorted(CPUS)))
    return re.sub(r'by \d+ CPUs', 'by N CPUs', re.sub(r' +', ' ', out)).strip()


def run(script, tmp):
    """As a reader would type it."""
    script = script.replace('opennrt asm layer.nasm', '%s asm %s' % (opennrt, layer))
    script = script.replace('two-nodes', env['OPENNRT_INSTANCE'] + 'b')
    script = script.replace('INSTANCE=pair', 'INSTANCE=' + env['OPENNRT_INSTANCE'] + 'c')
    script = script.replace('allreduce_build', allreduce_build).replace(':45678', ':%d' % PORT)
    script = re.sub(r'\bperformance_proxies (sum\.neff(?: busy)?)$', proxies + r' \1 6', script, flags=re.M)
    script = re.sub(r'\bperformance_tips (layer\.neff \w+)$', tips + r' \1 6', script, flags=re.M)
    return subprocess.run(['sh', '-ec', script], cwd=tmp, env=env, check=True, stdout=subprocess.PIPE, text=True,
                          timeout=300).stdout


def figures(out):
    return [float(x) for x in re.findall(r'\b\d+\.\d\b', out)]


def check(script, shown, out):
    if 'placement' in script:
        if not {0, 1} <= CPUS:
            print('NOT RUN: placement: CPUs 0 and 1 are not this process\'s')
            return
        if 'NEURON_RT_LOW_LATENCY' in script and 'taskset' not in script:  # the worker keeps off the proxy's CPU
            rest = ','.join(str(c) for c in sorted(CPUS - {1}))
            shown = shown.replace('nrt-core0                          0', 'nrt-core0 ' + rest)
        if 'NEURON_RT_ONE_THREAD' in script:
            shown = shown.replace('0,1', ','.join(str(c) for c in sorted(CPUS)))
        assert shape(out) == shape(shown), out
        return
    if 'calls' in script:  # twice, with and without the variable
        assert shape(out) == shape(shown), out
        direct, queued = figures(out)[1], figures(out)[3]
        assert 0 < direct and 0 < queued
        return
    assert shape(out) == shape(shown), out
    assert all(x > 0 for x in figures(out)), out


def page_runs(folder):
    count = 0
    for command, expected in commands():
        count += 1
        if 'taskset' in command and not {0, 1} <= CPUS:
            print('NOT RUN: taskset: CPUs 0 and 1 are not this process\'s')
            continue
        check(command, expected, run(command, folder))
    assert count == 11, count


def wrong_use_is_said(folder):
    for args in ([], ['layer.neff'], ['layer.neff', 'nonsense'], ['layer.neff', 'depth', '0']):
        assert subprocess.run([tips, *args], env=env, cwd=folder, stderr=subprocess.PIPE).returncode == 2, args
    for args in ([], ['sum.neff', 'busy', '0'], ['sum.neff', 'nonsense'], ['sum.neff', 'busy', '6', '6']):
        assert subprocess.run([proxies, *args], env=env, cwd=folder, stderr=subprocess.PIPE).returncode == 2, args
    assert subprocess.run([proxies, 'none.neff'], env=env, cwd=folder, stderr=subprocess.PIPE).returncode == 1
    assert subprocess.run([tips, 'none.neff', 'depth'], env=env, cwd=folder, stderr=subprocess.PIPE).returncode == 1


with tempfile.TemporaryDirectory() as tmp_folder:
    try:
        page_runs(tmp_folder)
        wrong_use_is_said(tmp_folder)
    finally:
        for name in (env['OPENNRT_INSTANCE'] + end for end in ('', 'b', 'c', 'c-node1')):
            subprocess.run([opennrt, 'reset', '-i', name], env=env, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
