#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""neuron-monitor-k8s-info.py in both of its places, with documents of the real monitor that watches a real process, and a gRPC
server that stands in for the kubelet.

usage: test_k8s_info.py NEURON_MONITOR PROMETHEUS_PY K8S_INFO_PY LIBNRT OPENNRT"""
import json
import os
import random
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
try:
    from kubelet import Kubelet, container, field, pod, varint
    import google.protobuf  # noqa: F401
    import grpc
except ImportError as missing:
    print('SKIP: %s' % missing)
    sys.exit(77)
from ports import port_kept  # noqa: E402
from seed import seed_take  # noqa: E402
from tools import Site, Worker, proves  # noqa: E402

MONITOR, PROMETHEUS, K8S, LIB, OPENNRT = sys.argv[1:6]
CORE, DEVICE, ALIAS = 'aws.amazon.com/neuroncore', 'aws.amazon.com/neurondevice', 'aws.amazon.com/neuron'
os.environ['no_proxy'] = '*'  # this host's servers are not looked for behind a proxy
KEYS = {'period', 'neuroncores_k8s_info', 'neurondevices_k8s_info', 'error'}


def row(namespace, name, *containers):
    return {'pod_name': name, 'namespace': namespace, 'container_name': list(containers)}


# trn1.32xlarge: 16 devices of two cores. What pods have, and what follows from it.
PODS = [
    (pod('n0', 'p0', container('c0', (CORE, ['0', '1']))), {0: row('n0', 'p0', 'c0'), 1: row('n0', 'p0', 'c0')},
     {0: row('n0', 'p0', 'c0')}),
    # Two containers of a pod, which share a device; and things of others.
    (pod('n1', 'p1', container('a', (CORE, ['2']), ('cpu', ['2'])), container('b', (CORE, ['3']), ('x.com/neuroncore', ['9']))),
     {2: row('n1', 'p1', 'a'), 3: row('n1', 'p1', 'b')}, {1: row('n1', 'p1', 'a', 'b')}),
    # Two pods, which share one: no row for it.
    (pod('n1', 'p2', container('a', (CORE, ['4']))), {4: row('n1', 'p2', 'a')}, {}),
    (pod('n2', 'p2', container('a', (CORE, ['5']))), {5: row('n2', 'p2', 'a')}, {}),
    # Whole devices, under both names, and half a device.
    (pod('n3', 'whole', container('w', (DEVICE, ['7', '15']))), {c: row('n3', 'whole', 'w') for c in (14, 15, 30, 31)},
     {d: row('n3', 'whole', 'w') for d in (7, 15)}),
    (pod('n3', 'alias', container('w', (ALIAS, ['8']))), {c: row('n3', 'alias', 'w') for c in (16, 17)},
     {8: row('n3', 'alias', 'w')}),
    (pod('n3', 'half', container('w', (CORE, ['21']))), {21: row('n3', 'half', 'w')}, {10: row('n3', 'half', 'w')}),
    # A device and a core of it; and two pods of one namespace on a device.
    (pod('n3', 'both', container('w', (DEVICE, ['9']), (CORE, ['18']))), {c: row('n3', 'both', 'w') for c in (18, 19)},
     {9: row('n3', 'both', 'w')}),
    (pod('n4', 'q1', container('a', (CORE, ['22']))), {22: row('n4', 'q1', 'a')}, {}),
    (pod('n4', 'q2', container('a', (CORE, ['23']))), {23: row('n4', 'q2', 'a')}, {}),
    (pod('kube-system', 'none', container('proxy')), {}, {}),
]


def expected(rows):
    return {str(k): v for k, v in rows.items()}


def start(site, *argv, **kw):
    p = subprocess.Popen(argv, env=site.env, text=True, **kw)
    site.started.append(p)
    return p


PERIODS = {}  # process number: what its documents said


def until(p, good):
    """The first document of p whose neuron_k8s_info is good."""
    while True:
        line = p.stdout.readline()
        assert line, p.wait()
        doc = json.loads(line)
        info = doc.get('neuron_k8s_info')
        if info is not None:
            assert set(info) == KEYS and info['period'] > 0, info
            PERIODS.setdefault(p.pid, []).append(info['period'])
            if good(info):
                return doc


def documents(site, path, kubelet):
    """The object follows what the kubelet says, errors included, and comes back when the kubelet does."""
    monitor = start(site, MONITOR, '-c', path, stdout=subprocess.PIPE)
    sock = os.path.join(site.tmp.name, 'kubelet.sock')
    began = time.monotonic()
    p = start(site, sys.executable, K8S, '--period', '0.05', '--socket', sock, stdin=monitor.stdout, stdout=subprocess.PIPE)
    monitor.stdout.close()
    until(p, lambda info: info['error'].startswith('kubelet: ') and info['neuroncores_k8s_info'] == {})  # there is none yet
    kubelet = kubelet(sock)
    doc = until(p, lambda info: info['error'] == '')
    assert doc['neuron_runtime_data'] and doc['neuron_k8s_info']['neuroncores_k8s_info'] == {}

    kubelet.answer = b''.join(bytes_ for bytes_, _, _ in PODS)
    info = until(p, lambda info: info['neuroncores_k8s_info'])['neuron_k8s_info']
    assert info['error'] == ''
    assert info['neuroncores_k8s_info'] == expected({k: v for _, cores, _ in PODS for k, v in cores.items()}), info
    assert info['neurondevices_k8s_info'] == expected({k: v for _, _, devices in PODS for k, v in devices.items()}), info
    proves('tool-034')

    kubelet.answer = grpc.StatusCode.PERMISSION_DENIED
    info = until(p, lambda info: info['error'])['neuron_k8s_info']
    assert info['error'] == 'kubelet: PERMISSION_DENIED: as the test wants it', info
    assert info['neuroncores_k8s_info'] == info['neurondevices_k8s_info'] == {}

    # Two pods with one core, and ids that are none: the error says it, what is right stays.
    kubelet.answer = b''.join([pod('n', 'first', container('c', (CORE, ['0', '-1', '32', 'x', '1' * 4000]))),
                               pod('n', 'second', container('c', (CORE, ['0', '1']), (DEVICE, ['16', '\u0663']))),
                               pod('n', 'third', container('c', (CORE, ['2']))), pod('m', 'third', container('c', (DEVICE, ['1'])))])
    info = until(p, lambda info: 'core 0' in info['error'])['neuron_k8s_info']
    assert info['neuroncores_k8s_info'] == expected({0: row('n', 'first', 'c'), 1: row('n', 'second', 'c'),
                                                     2: row('n', 'third', 'c'), 3: row('m', 'third', 'c')}), info
    assert info['neurondevices_k8s_info'] == {} and 'core 2: n/third and m/third' in info['error'], info
    assert info['error'].count('no such') == 6 and 'core 0: n/first and n/second' in info['error'], info['error']

    hostile(p, kubelet)
    kubelet.stop()
    until(p, lambda info: info['error'].startswith('kubelet: UNAVAILABLE'))
    monitor.kill()
    assert p.wait() == 0
    # It asks once a period, and a period of a document is part of the time that has passed.
    passed = time.monotonic() - began
    assert kubelet.asked <= passed / 0.05 + 1 and sum(PERIODS[p.pid]) <= passed, (kubelet.asked, PERIODS[p.pid], passed)


# Another user's program: it connects to an address and sends, or listens and says how much it got.
STRANGER = '''import os, socket, sys
try:
    os.setuid(65534)
except OSError:
    sys.exit(3)
s, got = socket.socket(socket.AF_UNIX), 0
if sys.argv[2:]:
    s.connect("\\0" + sys.argv[1])
else:
    s.bind("\\0" + sys.argv[1])
    s.listen()
    print("listens", flush=True)
    s, _ = s.accept()
try:
    if sys.argv[2:]:
        s.sendall(sys.argv[2].encode())
        s.shutdown(socket.SHUT_WR)
    while data := s.recv(4096):
        got += len(data)
except ConnectionError:
    pass
print(got)
'''


def way_of(pipe):
    return 'neuron-monitor-k8s-info-%d' % os.fstat(pipe.fileno()).st_ino


def forged(port, server):
    """What another user says is not believed."""
    info = {'neuroncores_k8s_info': {'0': {'pod_name': 'forged', 'namespace': 'x'}}}
    done = subprocess.run([sys.executable, '-c', STRANGER, way_of(server.stdout), json.dumps(info) + '\n'], check=False, timeout=120)
    assert done.returncode in (0, 3), done  # 3: this process cannot become one
    with urllib.request.urlopen('http://127.0.0.1:%d/metrics' % port, timeout=120) as r:
        assert b'forged' not in r.read()


def overheard(site, path, sock):
    """Another user who listens where neuron-monitor-prometheus.py does is told nothing."""
    monitor = start(site, MONITOR, '-c', path, stdout=subprocess.PIPE)
    ear = start(site, sys.executable, '-c', STRANGER, way_of(monitor.stdout), stdout=subprocess.PIPE)
    if ear.stdout.readline() == '':
        assert ear.wait() == 3
        print('not seen: another user who listens')
        monitor.kill()
        return
    p = start(site, sys.executable, K8S, '--period', '0.05', '--socket', sock, stdin=monitor.stdout, stdout=subprocess.PIPE)
    monitor.stdout.close()
    until(p, lambda info: info['error'] == '')
    until(p, lambda info: info['error'] == '')
    monitor.kill()
    assert p.wait() == 0 and ear.communicate(timeout=120)[0] == '0\n'


def hostile(p, kubelet):
    """Bytes that are no answer are an error of the object, and nothing else."""
    draw = random.Random(seed_take())
    whole = PODS[0][0]
    wrong = [whole[:-1], field(1, b'\x0a\xff'), field(1, field(1, b'\xff\xfe')), varint(1 << 3 | 2) + varint(1 << 40),
             b'\x07' + bytes(draw.randrange(256) for _ in range(64))]  # there is no wire type 7
    for answer in wrong:
        kubelet.answer = b''
        until(p, lambda info: info['error'] == '')
        kubelet.answer = answer
        until(p, lambda info: info['error'].startswith('kubelet: '))


def published(site, path, kubelet):
    """The published order: the answers reach the labels of neuron-monitor-prometheus.py."""
    sock, port = os.path.join(site.tmp.name, 'second.sock'), port_kept()
    kubelet = kubelet(sock)
    kubelet.answer = pod('n"s', 'p\\0', container('c', (DEVICE, ['0'])))
    monitor = start(site, MONITOR, '-c', path, stdout=subprocess.PIPE)
    server = start(site, sys.executable, PROMETHEUS, '--port', str(port), '--enable-k8s-info', stdin=monitor.stdout,
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    scrape(port, server, r'neuroncore_utilization_ratio\{neuroncore="0"')
    forged(port, server)
    k8s = start(site, sys.executable, K8S, '--period', '0.05', '--socket', sock, stdin=server.stdout, stdout=subprocess.PIPE)
    monitor.stdout.close()
    server.stdout.close()
    doc = until(k8s, lambda info: info['error'] == '')
    assert doc['neuron_k8s_info']['neurondevices_k8s_info'] == {'0': row('n"s', 'p\\0', 'c')}
    scrape(port, server, r'neuroncore_utilization_ratio\{neuroncore="0",.*pod_name="p\\\\0",namespace="n\\"s"\} ')
    kubelet.answer = pod('later', 'other', container('c', (CORE, ['0'])))
    # The documents are read on, or the pipe is full: k8s would wait, and with it the way back.
    until(k8s, lambda info: info['neuroncores_k8s_info'] == {'0': row('later', 'other', 'c')})
    scrape(port, server, r'neuroncore_utilization_ratio\{neuroncore="0",.*pod_name="other",namespace="later"\} ')
    overheard(site, path, sock)
    k8s.kill()  # Prometheus is served on
    k8s.stdout.close()
    assert 'nobody reads' in server.stderr.readline()
    scrape(port, server, r'neuroncore_utilization_ratio\{neuroncore="0",')
    monitor.kill()
    assert server.wait() == 0
    kubelet.stop()
    proves('tool-038')


def scrape(port, p, wanted):
    """Until it says that: the answer is on its way."""
    while True:
        try:
            with urllib.request.urlopen('http://127.0.0.1:%d/metrics' % port, timeout=120) as r:
                if re.search(wanted, r.read().decode()):
                    return
        except urllib.error.URLError:
            pass
        assert p.poll() is None


def usage(site):
    help_ = site.run(sys.executable, K8S, '--help', COLUMNS='200').stdout
    assert '--period' in help_ and '(15)' in help_ and '/var/lib/kubelet/pod-resources/kubelet.sock' in help_
    for wrong in ('0', '-1', 'x', 'nan', '1e9'):
        site.run(sys.executable, K8S, '--period', wrong, code=2)
    # Without the gRPC package: one line.
    os.mkdir(os.path.join(site.tmp.name, 'without'))
    with open(os.path.join(site.tmp.name, 'without', 'grpc.py'), 'w', encoding='ascii') as f:
        f.write('raise ImportError("no", name="grpc")\n')
    done = site.run(sys.executable, K8S, code=1, PYTHONPATH=os.path.join(site.tmp.name, 'without'))
    assert done.stderr == 'neuron-monitor-k8s-info.py: grpcio is not installed\n', done.stderr
    # Nobody reads: it ends, and says nothing.
    p = start(site, sys.executable, K8S, '--socket', '/nowhere', stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.close()
    p.stdin.write('{}\n')
    p.stdin.flush()
    assert p.wait() == 0 and p.stderr.read() == ''
    # What is no document is left out.
    done = subprocess.run([sys.executable, K8S, '--socket', '/nowhere'], input='[]\n{\n{"a": 1}\n', text=True, env=site.env,
                          capture_output=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1].startswith('{"a": 1') and done.stderr.count('left out') >= 1, done


def main():
    with Site('k8s', OPENNRT, LIB, 'trn1.32xlarge') as site:
        one = Worker(site, NEURON_RT_VISIBLE_CORES='0')
        one.ok('load 0')
        path = os.path.join(site.tmp.name, 'config.json')
        with open(path, 'w', encoding='ascii') as f:
            json.dump({'period': '50ms', 'neuron_runtimes': [{'metrics': [{'type': 'neuroncore_counters'}]}]}, f)
        kubelets = []

        def kubelet(sock):
            kubelets.append(Kubelet(sock))
            return kubelets[-1]

        usage(site)
        documents(site, path, kubelet)
        published(site, path, kubelet)
        assert all(k.asked > 0 for k in kubelets)


main()
