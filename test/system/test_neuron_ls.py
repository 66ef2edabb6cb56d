#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""neuron-ls: every mode against behaviour.md 19.1, with a process that owns cores.

usage: test_neuron_ls.py NEURON_LS LIBNRT OPENNRT INSTANCES_JSON"""
import ctypes
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from tools import control_of, proves  # noqa: E402

TOOL, LIB, OPENNRT = sys.argv[1:4]
with open(sys.argv[4], encoding='utf-8') as published:
    PUBLISHED = json.load(published)['instances']
ENV = dict(os.environ, OPENNRT_INSTANCE='ls%d' % os.getpid(), OPENNRT_INSTANCE_TYPE='trn2.48xlarge')
ENV.pop('NEURON_LOGICAL_NC_CONFIG', None)


def run(*args, code=0, **env):
    r = subprocess.run([TOOL, *args], env=dict(ENV, **env), stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True)
    assert r.returncode == code, (args, r)
    return r.stdout if code == 0 else r.stderr


def table(text):
    """Header cells of both lines joined, rows of cells, and where rules stand."""
    lines = [x for x in text.splitlines() if x and x[0] in '+|']
    width = {len(x) for x in lines}
    assert len(width) == 1, width
    cells = [[c.strip() for c in x.strip('|').split('|')] for x in lines if x[0] == '|']
    head = [' '.join((a + ' ' + b).split()) for a, b in zip(cells[0], cells[1])]
    return head, cells[2:], lines


# The published sample of a 16-device torus: neighbours and addresses.
NEIGHBOURS = ['12, 3, 4, 1', '13, 0, 5, 2', '14, 1, 6, 3', '15, 2, 7, 0', '0, 7, 8, 5', '1, 4, 9, 6',
              '2, 5, 10, 7', '3, 6, 11, 4', '4, 11, 12, 9', '5, 8, 13, 10', '6, 9, 14, 11',
              '7, 10, 15, 8', '8, 15, 0, 13', '9, 12, 1, 14', '10, 13, 2, 15', '11, 14, 3, 12']
BDF = ['cc', 'b5', 'b6', 'cb', '6f', '58', '59', '6e', '9b', '84', '85', '9a', 'f8', 'e1', 'e2', 'f7']


def default():
    text = run()
    head, rows, lines = table(text)
    assert text.splitlines()[:3] == ['instance-type: trn2.48xlarge',
                                     'instance-id: opennrt-%s (software device)' % ENV['OPENNRT_INSTANCE'],
                                     'logical-neuroncore-config: 2']
    assert head == ['NEURON DEVICE', 'NEURON CORES', 'NEURON CORE IDS', 'NEURON MEMORY',
                    'CONNECTED DEVICES', 'PCI BDF', 'CPU AFFINITY', 'NUMA NODE'], head
    assert len(rows) == 16
    for d, row in enumerate(rows):
        assert row[:6] == [str(d), '4', '%d-%d' % (4 * d, 4 * d + 3), '96 GB', NEIGHBOURS[d],
                           '0000:%s:00.0' % BDF[d]], row
    # Header texts are centred, the extra blank on the right; cells start after one blank.
    assert lines[1] == '| NEURON | NEURON |  NEURON  | NEURON |   CONNECTED   |     PCI      |      CPU      | NUMA |'
    assert lines[4].startswith('| 0      | 4      | 0-3      | 96 GB  | 12, 3, 4, 1   | 0000:cc:00.0 | ')
    proves('tool-005')
    assert table(run(NEURON_LOGICAL_NC_CONFIG='1'))[1][1][:3] == ['1', '8', '8-15']
    # Older types show no LNC line.
    text = run(OPENNRT_INSTANCE_TYPE='trn1.2xlarge', OPENNRT_INSTANCE=ENV['OPENNRT_INSTANCE'] + 'x')
    assert 'logical-neuroncore-config' not in text
    assert table(text)[1][0][:4] == ['0', '2', '0-1', '32 GB']
    proves('tool-006')


def cpus(text):
    """The set of "0-31,64-95"."""
    return {c for part in text.split(',') for c in range(int(part.split('-')[0]), int(part.split('-')[-1]) + 1)}


def placement():
    """CPU affinity and NUMA node of each device, as the documentation prints them for three types."""
    for kind, line in (('trn1.32xlarge', 'perf-018'), ('inf2.48xlarge', 'perf-019'), ('trn2.48xlarge', 'perf-020')):
        env = {'OPENNRT_INSTANCE_TYPE': kind, 'OPENNRT_INSTANCE': ENV['OPENNRT_INSTANCE'] + line}
        facts = PUBLISHED[kind]
        want = [[str(r['device']), r['pci_bdf'], r['cpu_affinity'], str(r['numa_node'])]
                for r in facts['device_table']['rows']]
        rows = table(run(**env))[1]
        assert [[r[0]] + r[5:8] for r in rows] == want, kind
        shown = json.loads(run('-j', **env))
        assert [[d['cpu_affinity'], d['numa_node']] for d in shown] == [r[2:] for r in want], kind
        # One set of CPUs per node, no CPU in two of them; all of the instance's where all nodes have devices.
        of = {r[7]: cpus(r[6]) for r in rows}
        assert all(of[r[7]] == cpus(r[6]) for r in rows)
        assert sum(len(c) for c in of.values()) == len(set().union(*of.values()))
        assert len(of) == facts['numa_nodes']['value']
        assert set().union(*of.values()) == set(range(facts['vcpus']['value'])), kind
        proves(line)


def topology():
    text = run('--topology')
    head, rows, _ = table(text)
    assert head == ['NEURON DEVICE', 'NEURON CORES', 'NEURON MEMORY', 'CONNECTED DEVICES', 'PCI BDF']
    assert rows[0] == ['0', '4', '96 GB', '12, 3, 4, 1', 'cc:00.0']
    drawing = text[text.index('Neuron Device Topology'):].splitlines()
    assert drawing[4] == '*––►[ 0 ]◄––►[ 1 ]◄––►[ 2 ]◄––►[ 3 ]◄––*', drawing[4]
    assert drawing[16] == '*––►[12 ]◄––►[13 ]◄––►[14 ]◄––►[15 ]◄––*', drawing[16]
    assert '*––► = Wrap-around link' in drawing[-1]
    proves('tool-003')
    proves('tool-009')


def with_process():
    os.environ.update(ENV, NEURON_RT_VISIBLE_CORES='2-5')  # devices 0 and 1
    nrt = ctypes.CDLL(LIB)
    assert nrt.nrt_init(1, b'', b'') == 0
    command = open('/proc/self/cmdline').read().replace('\0', ' ').strip()
    pid = os.getpid()

    version = run('--version').split()[1]  # the runtime is of the same build

    devices = json.loads(run('-j'))
    text = run('--json-output')
    assert text.startswith('[\n    {\n        "neuron_device": 0,\n')
    assert [d['neuron_device'] for d in devices] == list(range(16))
    for d in devices:
        i = d['neuron_device']
        assert set(d) == {'neuron_device', 'bdf', 'cpu_affinity', 'numa_node', 'connected_to', 'nc_count',
                          'logical_neuroncore_config', 'memory_size', 'neuroncore_ids',
                          'neuron_processes'}
        assert d['bdf'] == BDF[i] + ':00.0' and d['nc_count'] == 4
        assert d['connected_to'] == [int(x) for x in NEIGHBOURS[i].split(', ')]
        assert d['logical_neuroncore_config'] == 2 and d['memory_size'] == 96 << 30
        assert d['neuroncore_ids'] == list(range(4 * i, 4 * i + 4))
        assert isinstance(d['numa_node'], str) and isinstance(d['cpu_affinity'], str)
        ps = d['neuron_processes']
        assert [p['pid'] for p in ps] == ([pid] if i < 2 else []), ps
        for p in ps:
            assert set(p) == {'pid', 'command', 'neuron_runtime_version'}
            assert p['neuron_runtime_version'] == version
            assert p['command'] == (command if len(command) <= 40 else command[:37] + '...')
    proves('tool-004')
    proves('tool-010')

    head, rows, _ = table(run('--wide'))
    assert head == ['NEURON DEVICE', 'NEURON CORES', 'NEURON MEMORY', 'CONNECTED DEVICES', 'PCI BDF', 'PID',
                    'COMMAND', 'RUNTIME VERSION']
    assert len(rows) == 16
    assert [rows[0][4], rows[0][5], rows[0][7]] == ['cc:00.0', str(pid), version] and rows[2][5:] == ['', '', '']
    want = command if len(command) <= 80 else command[:77] + '...'
    assert rows[1][6] == want, (rows[1][6], want)
    proves('tool-001')
    proves('tool-007')

    def short(text):
        return text if len(text) <= 40 else text[:37] + '...'

    # This process owns cores of two devices; the tool itself, and a process that holds the control block open,
    # look at all of them without a runtime.
    with open(control_of(ENV['OPENNRT_INSTANCE']), 'rb') as control:
        looker = subprocess.Popen(['/bin/cat', '-'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[control.fileno()])
        looker.stdin.write(b'x')
        looker.stdin.flush()
        assert looker.stdout.read(1) == b'x'  # it runs: its command is its own
        head, rows, lines = table(run('-a'))
        looker.communicate()
    assert len(rows) == 2 * 16 + 2
    assert rows[0][5:7] == [str(pid), short(command)] and rows[0][7] == version
    for at in (1, 4, 7, 9):
        two = sorted([rows[at], rows[at + 1]], key=lambda r: int(r[5]) == looker.pid)
        assert at > 4 or two[0][:5] == two[1][:5] == [''] * 5, two
        assert two[0][6:] == [short(TOOL + ' -a'), 'NA'], two
        assert two[1][5:] == [str(looker.pid), '/bin/cat -', 'NA'], two
    assert lines[7].startswith('+--')  # after each device
    proves('tool-002')
    proves('tool-008')
    nrt.nrt_close()
    assert all(not d['neuron_processes'] for d in json.loads(run('-j')))


def small():
    """Memory that is no whole number of GB is told in MB; JSON has bytes. Two HBMs to a device here."""
    for mib, told in ('128', '256 MB'), ('768', '1536 MB'), ('512', '1 GB'):
        env = {'OPENNRT_INSTANCE_TYPE': 'trn1.2xlarge', 'OPENNRT_HBM_MIB': mib,
               'OPENNRT_INSTANCE': ENV['OPENNRT_INSTANCE'] + 's' + mib}
        code = 'import ctypes, sys; n = ctypes.CDLL(sys.argv[1]); assert n.nrt_init(1, b"", b"") == 0; n.nrt_close()'
        subprocess.run([sys.executable, '-c', code, LIB], env=dict(ENV, **env), check=True)
        try:
            assert table(run(**env))[1][0][3] == told, run(**env)
            assert json.loads(run('-j', **env))[0]['memory_size'] == int(mib) << 21
        finally:
            subprocess.run([OPENNRT, 'reset', '-i', env['OPENNRT_INSTANCE']], stdout=subprocess.DEVNULL)


def errors():
    for wrong, said in (('--nothing', "'--nothing'"), ('extra', 'unexpected "extra"')):
        first, usage = run(wrong, code=2).splitlines()[:2]
        assert first.endswith(said) and usage.startswith('usage: neuron-ls '), (first, usage)
    assert run(code=1, OPENNRT_INSTANCE_TYPE='none') == 'neuron-ls: no neuron device found\n'
    assert run(code=1, OPENNRT_INSTANCE_TYPE='trn9.huge', OPENNRT_INSTANCE='nobody') == 'neuron-ls: no instance type "trn9.huge"\n'
    assert 'usage' in run('--help') and 'OpenNRT' in run('--version')


try:
    default()
    placement()
    topology()
    with_process()
    small()
    errors()
finally:
    subprocess.run([OPENNRT, 'reset', '-i', ENV['OPENNRT_INSTANCE']], stdout=subprocess.DEVNULL)
