#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""neuron-top against behaviour.md 19.2, on a terminal of 30 rows of 120 columns.

usage: test_top.py NEURON_TOP LIBNRT OPENNRT MAN_PAGE"""
import os
import re
import select
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from terminal import Terminal  # noqa: E402
from tools import Site, Worker, proves  # noqa: E402
from watching import size  # noqa: E402

TOOL, LIB, OPENNRT, MAN = sys.argv[1:5]
DOWN, UP, RIGHT = '\x1b[B', '\x1b[A', '\x1b[C'


def has(*parts):
    return lambda rows: all(any(re.search(p, r) for r in rows) for p in parts)


def plain(site, one):
    """Without a terminal: one frame, nothing but text."""
    out = site.run(TOOL).stdout
    assert '\x1b' not in out
    rows = out.splitlines()
    assert re.fullmatch(r'neuron-top \S+   instance: opennrt-%s   type: trn1.2xlarge' % site.name, rows[0]), rows[0]
    proves('tool-011')
    for head in ('NeuronCore v2 Utilization', 'VCPU Utilization', 'Memory Usage Summary', 'Memory Usage Details'):
        assert sum(r.startswith(head) for r in rows) == 1, (head, rows)
    used = int(one.ok('memory 0').split()[1])
    host, = [r for r in rows if r.startswith('  Host ')]
    assert re.fullmatch(r'  Host    Total: \S+  Tensors: %s  Constants: 0.000B  DMA Buffers: 0.000B  App. Memory: \S+'
                        % re.escape(size(2000000)), host), host
    proves('tool-014')
    device, = [r for r in rows if r.startswith('  Device ')]
    got = dict(re.findall(r'([A-Z][A-Za-z ]+): (\S+)', device[len('  Device  '):]))
    assert list(got) == ['Total', 'Tensors', 'Constants', 'Model Code', 'Runtime Memory', 'Model Scratchpad'], got
    assert got['Total'] == size(used) and got['Tensors'] == size(3 * 4096 + 65536), got
    proves('tool-015')
    assert re.search(r'System   \[ *\d+\.\d\d%, +\d+\.\d\d%\]    Runtime  \[ *\d+\.\d\d%, +\d+\.\d\d%\]', out)
    proves('tool-013')
    assert re.search(r'\[-\] train +\S+ +%s\n +\[-\] Model 1001 add +\S+ +\S+\n +core 0 +' % re.escape(size(used)), out), out
    assert '[-] other' in out
    proves('tool-019')


def keys(site, one, two):
    t = Terminal([os.path.abspath(TOOL)], site.env, 30, 120)
    t.until(lambda rows: has(r'^neuron-top ', r'NC0 .*%', r'\+\] train', r'\+\] other', r'>1:all< 2:train 3:other')(rows) and
            1 in t.attributes('neuron-top') and  # bold
            32 in t.attributes('>1:all<') and 32 not in t.attributes('2:train'))  # green
    t.key('f')
    t.until(has(r'Utilization \(TFLOPS\)', r'NC0 +0\.0000'))
    t.key('F')
    t.until(has(r'Utilization \(%\)'))
    proves('tool-012')

    one.tell('run 500000')
    in_use = has(r'NC0 +\[[| ]{20}\] +(?!0\.00%)\d+\.\d\d%', r'NC1 +\[ {20}\] +0\.00%', r'Runtime  \[ *(?!0\.00%)\d+\.\d\d%')

    def seen(rows):
        """A frame that was drawn over by the next is one more reason to go on executing."""
        if select.select([one.p.stdout], [], [], 0)[0]:
            assert one.answer() == 'ok'
            one.tell('run 500000')
        return in_use(rows)
    t.until(seen)
    assert one.answer() == 'ok'
    t.until(has(r'NC0 +\[ {20}\] +0\.00%'))

    t.until(lambda rows: not has('Model 1001')(rows))
    t.key('x')
    t.until(lambda rows: has(r'-\] train', r'-\] other', r'-\] Model 1001 add', r'core 0')(rows) and
            7 in t.attributes('[-] train'))  # the cursor
    t.key(DOWN)
    t.until(lambda _: 7 in t.attributes('[-] Model 1001'))
    t.key(RIGHT)  # this row only
    t.until(lambda rows: has(r'\+\] Model 1001', r'-\] train')(rows) and not has(r'core 0')(rows))
    t.key(UP + RIGHT)
    t.until(lambda rows: has(r'\+\] train')(rows) and not has('Model 1001')(rows))
    t.key('x')
    t.until(has(r'\+\] train', r'\+\] other'))
    t.key(DOWN * 50)  # stays within the tree
    t.until(lambda _: 7 in t.attributes('[+] other'))
    proves('tool-016')

    t.key('2')
    t.until(lambda rows: has(r'>2:train<')(rows) and not has(r'\] other')(rows) and 32 in t.attributes('>2:train<'))
    t.key('d')
    t.until(lambda rows: has(r'>3:other<')(rows) and not has(r'\] train')(rows))
    t.key('d')
    t.until(has(r'>1:all<'))
    t.key('a')
    t.until(has(r'>3:other<'))
    t.key('a')
    t.until(has(r'>2:train<'))
    t.key('9f')  # there is none
    t.until(has(r'>2:train<', r'Utilization \(TFLOPS\)'))
    t.key('f1')
    t.until(has(r'>1:all<'))
    proves('tool-017')

    t.key('3')
    t.until(has(r'>3:other<'))
    two.kill()  # its tab goes, and the choice with it
    t.until(lambda rows: has(r'>1:all< 2:train')(rows) and not has('3:other')(rows))
    one.ok('run 10', 'host 5000000')
    t.until(has(r'Host    Total: \S+  Tensors: %s' % re.escape(size(7000000))))
    t.key('q')
    assert t.wait() == 0


def small(site):
    """A terminal with room for little: nothing is drawn beyond it, the cursor's row is seen."""
    t = Terminal([os.path.abspath(TOOL)], site.env, 5, 30)
    t.until(has(r'\+\] train', r'>1:all<'))
    t.key('x' + DOWN)
    t.until(lambda _: 7 in t.attributes('[-] Model 1001'))
    t.key('q')
    assert t.wait() == 0


def errors(site):
    for wrong, said in (('word', 'unknown argument "word"'), ('--nonsense', "'--nonsense'"), ('-z', "'z'")):
        done = site.run(TOOL, wrong, code=2)
        first, usage = done.stderr.splitlines()[:2]
        assert first.endswith(said) and usage.startswith('usage: neuron-top ') and done.stdout == '', done
    proves('tool-018')
    site.run(TOOL, code=1, OPENNRT_INSTANCE_TYPE='none')
    text = site.run(TOOL, '--help').stdout
    page = open(MAN, encoding='utf-8').read().replace('\\-', '-')
    for option in ('--help', '--version'):
        assert option in text and option in page


with Site('top', OPENNRT, LIB) as the_site:
    first = Worker(the_site, NEURON_RT_VISIBLE_CORES='0', NEURON_PROCESS_TAG='train')
    second = Worker(the_site, NEURON_RT_VISIBLE_CORES='1', NEURON_PROCESS_TAG='other')
    first.ok('load 0', 'run 3', 'host 2000000', 'tensor 0 65536')
    plain(the_site, first)
    keys(the_site, first, second)
    small(the_site)
    errors(the_site)
