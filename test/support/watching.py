# SPDX-License-Identifier: Apache-2.0
"""What the tests of those who look at an instance share: a running neuron-monitor, and a process whose account and
counters are what it was told."""
import json
import os
import random
import re
import subprocess

from tools import Worker

APP = ('neuroncore_counters', 'memory_used', 'neuron_runtime_vcpu_usage', 'execution_stats')
SYSTEM = ('vcpu_usage', 'memory_info', 'neuron_hw_counters')


class Monitor:
    """Documents of a running monitor."""

    def __init__(self, tool, site, config=None, *args):
        argv = [tool, *args]
        if config is not None:
            path = os.path.join(site.tmp.name, 'config%d.json' % random.getrandbits(48))
            with open(path, 'w', encoding='utf-8') as f:
                json.dump(config, f)
            argv += ['--config-file', path]
        self.p = subprocess.Popen(argv, env=site.env, stdout=subprocess.PIPE, text=True)
        site.started.append(self.p)

    def doc(self):
        return json.loads(self.p.stdout.readline())

    def until(self, good):
        """Documents up to the first that is good, that one included."""
        docs = []
        while not docs or not good(docs):
            assert len(docs) < 1000, docs[-1]
            docs.append(self.doc())
        return docs

    def end(self):
        self.p.kill()
        self.p.wait()


def everything(period, **entry):
    return {'period': period, 'neuron_runtimes': [dict(metrics=[{'type': g} for g in APP], **entry)],
            'system_metrics': [{'type': g} for g in SYSTEM]}


def report(doc, pid):
    for data in doc['neuron_runtime_data']:
        if data['pid'] == pid:
            return data
    return None


def total(docs, pid, part, key):
    return sum(report(d, pid)['report']['execution_stats'][part][key] for d in docs if report(d, pid))


def size(n):
    """As the reports of the runtime write it."""
    for unit in ('B', 'KB', 'MB'):
        if n < 1024:
            return '%.3f%s' % (n, unit)
        n /= 1024
    return '%.3fGB' % n


class Counts(Worker):
    """prog_counts: the same talk, another program."""

    def __init__(self, site, program):
        self.p = subprocess.Popen([program], env=site.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.p.pid
        site.workers.append(self)
        assert self.answer() == 'ok'


GUIDE = ('completed_with_error', 'completed_with_num_error', 'failed_to_queue')


def section(page, number):
    """Of behaviour.md."""
    return page[page.index('\n## %d. ' % number):page.index('\n## %d. ' % (number + 1))]


def categories(page):
    """Section 11: what the account calls it, to the node of the sysfs tree and the key of neuron-monitor."""
    out = {}
    for names, node, key in re.findall(r'^\| (.*?) \|.*?\| ([a-z_]+) \| ([a-z_]+) \|$', section(page, 11), re.M):
        for name in [x.strip().lower() for x in names.split('/')]:  # the four kinds of rings are one row
            ring = node == 'dma_rings' and not name.startswith('dma')
            out['dma rings ' + name if ring else name] = (node, key)
    return out


def status_nodes(page):
    """Section 18, the driver's names: of the driver, those that the guide has others for, and what the driver adds."""
    text = section(page, 18)
    first = re.search(r'Status nodes: (.*?); guide names', text, re.S).group(1)
    adds = re.search(r'driver adds (.*?)\.', text, re.S).group(1)
    return re.findall(r'[a-z][a-z_]+', first) + ['execute_' + x for x in GUIDE] + \
        re.findall(r'\b(?:hw|execute_sw)_[a-z_]+', adds)
