#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every row of the table in docs/faults.md, read from the page: the item is put in force, the call is made, and status, log,
counters and recovery are those of the row. Twice each: the same item fails the same way. Other executions are untouched.

usage: test_faults.py OPENNRT LIBNRT FAULTS_MD"""
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from tools import Site, Worker  # noqa: E402

OPENNRT, LIB, PAGE = sys.argv[1:4]
STATUS = 'neuron0/neuron_core0/stats/status'
HARDWARE = 'neuron0/stats/hardware'


def rows():
    """The last table of the page: item, call, status, message, status node, hardware node, recovery."""
    text = open(PAGE, encoding='utf-8').read()
    table = text[text.index('| item | call |'):]
    head, _, *lines = table[:table.index('\n\n')].splitlines()
    names = [c.strip() for c in head.strip('|').split('|')]
    assert names == ['item', 'call', 'status', 'message', 'status node', 'hardware node', 'recovery'], names
    out = []
    for line in lines:
        cells = [c.strip().strip('`') for c in line.strip('|').split('|')]
        assert len(cells) == len(names), line
        out.append(dict(zip(names, cells)))
    return out


def errors():
    """Every error that the tool knows has a row."""
    listed = {r['item'].split(':')[0] for r in rows()}
    with Site('faultl', OPENNRT, LIB) as site:
        known = re.search(r'^  ERROR +(.*?)\(with', site.run(OPENNRT, 'inject', '--help').stdout, re.S | re.M).group(1)
    names = set(re.findall(r'[a-z-]+', known))
    assert {'sram', 'hbm', 'hbm-repairable', 'dma-tx', 'dma-rx', 'device', 'nq-overflow'} == names, names
    assert names <= listed, names - listed


def numbers(site):
    """The counters as they are."""
    root = os.path.join(site.tmp.name, 'tree')
    shutil.rmtree(root, ignore_errors=True)
    site.run(OPENNRT, 'sysfs', '--snapshot', root)
    got = {}
    for name in os.listdir(os.path.join(root, STATUS)):
        if not os.path.islink(os.path.join(root, STATUS, name)):
            got[name] = int(open(os.path.join(root, STATUS, name, 'total'), encoding='ascii').read())
    for name in os.listdir(os.path.join(root, HARDWARE)):
        if os.path.isfile(os.path.join(root, HARDWARE, name)):
            got[name] = int(open(os.path.join(root, HARDWARE, name), encoding='ascii').read())
    return got


def grown(before, after):
    return {k: after[k] - before[k] for k in after if after[k] != before[k]}


def log_of(path):
    with open(path, encoding='utf-8', errors='replace') as f:
        return f.read()


CALLS = {'execute': ('run 1', ['load 0']), 'tensor': ('touch 0 3000000', [])}


def check(row, site, log, before):
    """Records of the log without times and numbers of threads, and the counters afterwards."""
    call, first = CALLS[row['call']]
    w = Worker(site, NEURON_RT_VISIBLE_CORES='0', OPENNRT_FAULT=row['item'], NEURON_RT_ENABLE_DGE_NOTIFICATIONS='1',
               NEURON_RT_LOG_LOCATION=log)
    for line in first:
        w.ok(line)
    said = len(log_of(log))
    got = w.do(call)
    assert got == 'failed ' + row['status'], (row, got, log_of(log)[said:])
    text = log_of(log)[said:]
    assert row['message'] in text and ' ERROR ' in text, (row, text)
    assert row['recovery'] == 'next'
    said = len(log_of(log))
    w.ok(call)
    assert ' ERROR ' not in log_of(log)[said:], log_of(log)[said:]
    want = {row[k]: 1 for k in ('status node', 'hardware node') if row[k] != '-'}
    if row['call'] == 'execute':
        want['success'] = 1  # that of the recovery
    now = numbers(site)
    assert grown(before, now) == want, (row, grown(before, now))
    w.end()
    return re.findall(r'(?:ERROR|WARN|INFO) .*', text), now


def warnings(site, log):
    """What is not understood is said and ignored, whatever it is."""
    bad = ['x', 'hbm', 'hbm:', 'hbm:9', 'hbm:0:-1', 'hbm:0:1:2:3', 'alloc:0', 'alloc:x', ':', '::::', 'HBM:0', 'hbm:0x1',
           'hbm:4294967296', 'hbm:0:16777216', 'q' * 300, '\x7f:0', 'hbm\t:0', 'é:1', 'file:99999999999999999999']
    w = Worker(site, NEURON_RT_VISIBLE_CORES='0', OPENNRT_FAULT=','.join(bad), NEURON_RT_LOG_LOCATION=log,
               NEURON_RT_LOG_LEVEL='WARNING')
    text = log_of(log)
    assert text.count('OPENNRT_FAULT: ') == len(bad), (text.count('OPENNRT_FAULT: '), text)
    w.ok('load 0', 'run 3')
    w.end()


def after(site, log):
    """`after` counts executions: exactly the one behind them fails."""
    for n in (0, 1, 7):
        w = Worker(site, NEURON_RT_VISIBLE_CORES='0', OPENNRT_FAULT='hbm:0:%d' % n, NEURON_RT_LOG_LOCATION=log)
        w.ok('load 0')
        got = [w.do('run 1') for _ in range(12)]
        assert got == ['ok'] * n + ['failed 1201'] + ['ok'] * (11 - n), (n, got)
        w.end()


table = rows()
assert len(table) >= 8
errors()
with Site('fault', OPENNRT, LIB) as the_site:
    the_log = os.path.join(the_site.tmp.name, 'log')
    open(the_log, 'w', encoding='ascii').close()
    counters = numbers(the_site)
    for r in table:
        first_text, counters = check(r, the_site, the_log, counters)
        second_text, counters = check(r, the_site, the_log, counters)
        assert first_text and first_text == second_text, (r, first_text, second_text)
    os.truncate(the_log, 0)
    warnings(the_site, the_log)
    after(the_site, the_log)
