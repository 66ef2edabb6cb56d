#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What neuron-monitor and neuron-top make of an account and of counters: every category of behaviour.md section 11 and
every status node of section 18, each with a figure of its own, against the keys and columns of section 19.

usage: test_watchers_told.py NEURON_MONITOR NEURON_TOP OPENNRT LIBNRT PROG_COUNTS BEHAVIOUR_MD TOOLS_MD"""
import collections
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import watching  # noqa: E402
from tools import Site  # noqa: E402
from watching import Counts, Monitor, everything, report, size, total  # noqa: E402

MONITOR, TOP, OPENNRT, LIB, COUNTS, SPEC, GUIDE = sys.argv[1:8]
PAGE = open(SPEC, encoding='utf-8').read()
CATEGORIES = watching.categories(PAGE)
CORES = 2
HOST = ('application_memory', 'constants', 'dma_buffers', 'tensors')  # in the order of prog_counts
# Section 19.3: a number of the summary to the node whose it is.
SUMMARY = {'completed': 'success', 'completed_with_err': 'execute_completed_with_error',
           'completed_with_num_err': 'execute_completed_with_num_error', 'timed_out': 'timeout',
           'incorrect_input': 'exec_bad_input', 'failed_to_queue': 'execute_failed_to_queue'}
# docs/tools.md, row error_summary.
CLASSES = {'model': ('oob_error', 'exec_bad_input', 'execute_completed_with_error', 'unsupported_neff_version',
                     'execute_sw_semaphore_error', 'execute_sw_event_error', 'execute_sw_psum_collision',
                     'execute_sw_sequencer_fatal'),
           'runtime': ('timeout', 'resource_error', 'resource_nc_error', 'invalid_error', 'execute_failed_to_queue',
                       'execute_sw_nq_overflow'),
           'transient': ('hw_dma_abort_error', 'hw_repairable_hbm_ue_error'),
           'hardware': ('hw_error', 'hw_collectives_error', 'hw_hbm_ue_error', 'hw_nc_ue_error'),
           'numerical': ('execute_completed_with_num_error',), 'generic': ('failure', 'generic_error')}


def account(counts):
    """Bytes of every category on every core, no two sums alike."""
    held = {}
    for i, (core, name) in enumerate((c, n) for c in range(CORES) for n in sorted(CATEGORIES)):
        held[core, name] = 64 << (i // 2) if i % 2 == 0 else 192 << (i // 2)
        counts.ok('alloc %d %d %d %s' % (i, core, held[core, name], name))
    return held


def keys(doc, pid, held, host):
    used = report(doc, pid)['report']['memory_used']['neuron_runtime_used_bytes']
    for core in range(CORES):
        want = collections.Counter()
        for name, (_, key) in CATEGORIES.items():
            want[key] += held[core, name]
        assert used['usage_breakdown']['neuroncore_memory_usage'][str(core)] == dict(want), (core, used, want)
    assert used['neuron_device'] == sum(held.values())
    got = used['usage_breakdown']['host']
    assert set(got) == set(HOST) and all(got[k] == host[k] for k in HOST[1:]), (got, host)
    assert used['host'] == sum(got.values())


def columns(site, held, host):
    def of(*names):
        return size(sum(v for (_, n), v in held.items() if n in names))

    rows = site.run(TOP).stdout.splitlines()
    device, = [r for r in rows if r.startswith('  Device ')]
    named = ('tensors', 'model constants', 'model code', 'shared scratchpad', 'scratchpad')
    assert dict(re.findall(r'([A-Z][A-Za-z ]+): (\S+)', device[len('  Device  '):])) == {
        'Total': size(sum(held.values())), 'Tensors': of('tensors'), 'Constants': of('model constants'),
        'Model Code': of('model code'), 'Model Scratchpad': of('shared scratchpad', 'scratchpad'),
        'Runtime Memory': of(*(set(CATEGORIES) - set(named)))}, device
    line, = [r for r in rows if r.startswith('  Host ')]
    got = dict(re.findall(r'([A-Z][A-Za-z. ]+): (\S+)', line[len('  Host  '):]))
    assert list(got) == ['Total', 'Tensors', 'Constants', 'DMA Buffers', 'App. Memory'], line
    assert (got['Tensors'], got['Constants'], got['DMA Buffers']) == \
        tuple(size(host[k]) for k in ('tensors', 'constants', 'dma_buffers')), line


def memory(site, counts):
    held, host = account(counts), {}
    for kind, name in enumerate(HOST):
        host[name] = 5000 * (kind + 1) ** 3
        counts.ok('host %d %d' % (kind, host[name]))
    m = Monitor(MONITOR, site, everything('20ms'))
    keys(m.doc(), counts.pid, held, host)
    m.end()
    columns(site, held, host)


def outcomes(site, counts):
    """A power of two for every node, so that no two sums are alike, on two cores."""
    nodes = watching.status_nodes(PAGE)
    assert sorted(nodes) == sorted([n for of in CLASSES.values() for n in of] + ['success'])
    m = Monitor(MONITOR, site, everything('20ms'))
    m.doc()
    for i, node in enumerate(nodes):
        counts.ok('count %d %d %s' % (i % CORES, 1 << i, node))
    told = {node: 1 << i for i, node in enumerate(nodes)}
    last = nodes[-1]  # told last: the document that has it has, or follows, what has the rest
    kind, = [c for c, of in CLASSES.items() if last in of]
    docs = m.until(lambda ds: total(ds, counts.pid, 'error_summary', kind) >= told[last])
    docs += [m.doc()]
    m.end()
    for key, node in SUMMARY.items():
        got = total(docs, counts.pid, 'execution_summary', key)
        assert got == told[node], (key, got)
    for key, of in CLASSES.items():
        got = total(docs, counts.pid, 'error_summary', key)
        assert got == sum(told[n] for n in of), (key, got)


def described():
    """The row of the page names every class."""
    row = re.search(r'^\| `error_summary` \|.*', open(GUIDE, encoding='utf-8').read(), re.M).group(0)
    assert all('`%s`' % c in row for c in CLASSES), row


with Site('told', OPENNRT, LIB) as the_site:
    the_counts = Counts(the_site, COUNTS)
    outcomes(the_site, the_counts)
    memory(the_site, the_counts)
described()
