#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""neuron-monitor-prometheus.py and neuron-monitor-cloudwatch.py, fed by the real monitor that watches a real process.

usage: test_companions.py NEURON_MONITOR PROMETHEUS_PY CLOUDWATCH_PY LIBNRT OPENNRT BEHAVIOUR_MD"""
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from ports import port_kept  # noqa: E402
from tools import Site, Worker, proves  # noqa: E402

MONITOR, PROMETHEUS, CLOUDWATCH, LIB, OPENNRT, SPEC = sys.argv[1:7]
TAG = 'a"\\b'
FAKE_BOTO3 = '''import json, os
class Client:
    def put_metric_data(self, **request):
        failed = os.environ["FAKE_LOG"] + ".failed"
        if not os.path.exists(failed):
            open(failed, "w").close()
            raise RuntimeError("throttled")
        assert len(request["MetricData"]) <= 1000
        with open(os.environ["FAKE_LOG"], "a") as f:
            f.write(json.dumps(request) + "\\n")
def client(service, region_name):
    with open(os.environ["FAKE_LOG"], "a") as f:
        f.write(json.dumps([service, region_name]) + "\\n")
    return Client()
'''


def documents(site, worker):
    """Documents with 30 executions and two that were refused, and one after the process's end."""
    groups = ('neuroncore_counters', 'memory_used', 'neuron_runtime_vcpu_usage', 'execution_stats')
    config = {'period': '50ms', 'neuron_runtimes': [{'metrics': [{'type': g} for g in groups]}],
              'system_metrics': [{'type': g} for g in ('vcpu_usage', 'memory_info')]}
    path = os.path.join(site.tmp.name, 'config.json')
    with open(path, 'w', encoding='ascii') as f:
        json.dump(config, f)
    p = subprocess.Popen([MONITOR, '-c', path], env=site.env, stdout=subprocess.PIPE, text=True)
    site.started.append(p)
    lines = [p.stdout.readline()]
    worker.ok('run 30')
    worker.do('bad')
    worker.do('bad')

    seen = {'completed': 0, 'incorrect_input': 0}
    for line in lines:  # grows
        for data in json.loads(line)['neuron_runtime_data']:
            for key in seen:
                seen[key] += data['report']['execution_stats']['execution_summary'][key]
        if seen != {'completed': 30, 'incorrect_input': 2}:
            lines.append(p.stdout.readline())
    worker.end()
    last = p.stdout.readline()
    while json.loads(last)['neuron_runtime_data']:
        last = p.stdout.readline()
    p.kill()
    return lines, last


def scrape(port, p, good):
    """Until the answer is good; the documents are on their way."""
    while True:
        try:
            with urllib.request.urlopen('http://127.0.0.1:%d/metrics' % port, timeout=120) as r:
                text = r.read().decode()
            if good(text):
                return text
        except urllib.error.URLError:
            pass
        assert p.poll() is None


def value(text, name, **labels):
    got = []
    for line in text.splitlines():
        m = re.fullmatch(r'(\w+)(?:\{(.*)\})? (\S+)', line)
        if m and m.group(1) == name and set(labels.items()) <= set(re.findall(r'(\w+)="([^"]*)"', m.group(2) or '')):
            got.append(float(m.group(3)))
    assert len(got) == 1, (name, labels, got)
    return got[0]


def prometheus_start(site, *options):
    port = port_kept()
    p = subprocess.Popen([sys.executable, PROMETHEUS, '--port', str(port), *options], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    site.started.append(p)
    return p, port


def made_document(completed, refused, host, pods=None):
    """One that has all that the companions show, with the names of behaviour.md 19.3 and values of its own each."""
    stats = {'error_summary': {'model': refused, 'hardware': 1}, 'execution_summary': {'completed': completed, 'timed_out': 1},
             'latency_stats': {'total_latency': {'p0': 0.001, 'p50': 0.25, 'p100': 1.5}, 'device_latency': {'p50': 9}}}
    report = {'neuroncore_counters': {'neuroncores_in_use': {'0': {'neuroncore_utilization': 12.5, 'flops': 3},
                                                             '3': {'neuroncore_utilization': 100, 'flops': 3}}},
              'memory_used': {'neuron_runtime_used_bytes': {'host': host, 'neuron_device': 4096}},
              'neuron_runtime_vcpu_usage': {'vcpu_usage': {'user': 50, 'system': 6.25}}, 'execution_stats': stats}
    usage = {'user': 37.5, 'idle': 62.5}
    info = {'instance_name': 'n', 'instance_id': 'i-1', 'instance_type': 't', 'instance_availability_zone': '',
            'instance_region': 'r', 'subnet_id': 's', 'ami_id': 'a', 'error': ''}
    doc = {'neuron_runtime_data': [{'pid': 7, 'neuron_runtime_tag': TAG, 'error': '', 'report': report}],
           'system_data': {'vcpu_usage': {'average_usage': usage, 'usage_data': {'0': usage, '1': usage, '2': usage}},
                           'memory_info': {'memory_total_bytes': 1 << 40, 'memory_used_bytes': 77}}, 'instance_info': info}
    if pods:
        doc['neuron_k8s_info'] = {'neuroncores_k8s_info': pods, 'error': ''}
    return json.dumps(doc) + '\n'


def whole_text(completed, refused, host, pod=''):
    """The samples that Prometheus is to get, and of what type they are."""
    who = r'runtime_tag="a\"\\b",pid="7"'
    samples = {
        'neuroncore_utilization_ratio{neuroncore="0",%s%s}' % (who, pod): 0.125,
        'neuroncore_utilization_ratio{neuroncore="3",%s}' % who: 1,
        'neuron_runtime_memory_used_bytes{memory_location="host",%s}' % who: host,
        'neuron_runtime_memory_used_bytes{memory_location="neuron_device",%s}' % who: 4096,
        'execution_latency_seconds{percentile="p0",%s}' % who: 0.001,
        'execution_latency_seconds{percentile="p50",%s}' % who: 0.25,
        'execution_latency_seconds{percentile="p100",%s}' % who: 1.5,
        'execution_status_total{status_type="completed",%s}' % who: completed,
        'execution_status_total{status_type="timed_out",%s}' % who: refused / 2,
        'execution_errors_total{error_type="model",%s}' % who: refused,
        'execution_errors_total{error_type="hardware",%s}' % who: refused / 2,
        'neuron_runtime_vcpu_usage_ratio{usage_type="user",%s}' % who: 0.5,
        'neuron_runtime_vcpu_usage_ratio{usage_type="system",%s}' % who: 0.0625,
        'system_vcpu_usage_ratio{usage_type="user"}': 0.375,
        'system_vcpu_usage_ratio{usage_type="idle"}': 0.625,
        'system_vcpu_count': 3, 'system_memory_used_bytes': 77, 'system_memory_total_bytes': 1 << 40,
        'instance_info{instance_name="n",instance_id="i-1",instance_type="t",instance_availability_zone="",instance_region="r",'
        'subnet_id="s"}': 1}
    types = {re.match(r'\w+', name).group(): 'counter' if '_total{' in name else 'gauge' for name in samples}
    return samples, types


def parsed(text):
    """The samples and types of an answer, each of which stands once, behind its type."""
    samples, types, helped = {}, {}, set()
    for line in text.splitlines():
        word, name, rest = (line.split(' ', 3)[1:] if line[0] == '#' else [''] + line.rsplit(' ', 1))
        if word == 'HELP':
            helped.add(name)
        elif word == 'TYPE':
            assert name in helped and name not in types, line
            types[name] = rest
        else:
            assert name not in samples and re.match(r'\w+', name).group() in types, line
            samples[name] = float(rest)
    return samples, types


def prometheus_whole(site):
    """Every sample of documents whose values are known; what is wrong changes nothing; labels of pods where they are asked for."""
    pods = {'0': {'pod_name': 'p', 'namespace': 'm', 'container_name': ['c']}}
    for options, pod in ((), ''), (('--enable-k8s-info',), ',pod_name="p",namespace="m"'):
        p, port = prometheus_start(site, *options)

        def shows(host, *expected):
            got = parsed(scrape(port, p, lambda t: 'memory_location="host",runtime_tag="a\\"\\\\b",pid="7"} %d\n' % host in t))
            assert got == whole_text(*expected, host, pod), got

        def tell(*docs):
            p.stdin.write(''.join(docs))
            p.stdin.flush()
        tell(made_document(3, 2, 1, pods))
        scrape(port, p, lambda t: 'pid="7"' in t)
        tell(made_document(40, 2, 5, pods))
        shows(5, 43, 4)
        # Its counts are right, its cores are not: it is left out whole.
        wrong = json.loads(made_document(500, 2, 6))
        wrong['neuron_runtime_data'][0]['report']['neuroncore_counters'] = {'neuroncores_in_use': {'0': {}}}
        tell(json.dumps(wrong) + '\n', made_document(100, 2, 7, pods))
        shows(7, 143, 6)
        # A process that ended is forgotten; another one with its number begins anew.
        tell(json.dumps({'neuron_runtime_data': []}) + '\n', made_document(1, 2, 8, pods))
        shows(8, 1, 2)
        with urllib.request.urlopen('http://127.0.0.1:%d/metrics' % port, timeout=120) as r:
            assert r.headers['Content-Type'].startswith('text/plain; version=0.0.4'), r.headers
        p.stdin.close()
        assert p.wait() == 0 and p.stderr.read().count('left out') == 1


def prometheus(site, lines, last, pid):
    p, port = prometheus_start(site)
    # What is wrong is left out whole, and what was right before stays.
    wrong = ['not json', '[]', json.dumps({'neuron_runtime_data': [{'pid': pid, 'report': {'neuroncore_counters': 5}}]}),
             json.dumps({'system_data': {'memory_info': {'memory_used_bytes': 10 ** 400}}}), '\udcff']
    p.stdin.buffer.write(('\n'.join(wrong) + '\n' + ''.join(lines)).encode(errors='surrogateescape'))
    p.stdin.flush()
    who = {'pid': str(pid), 'runtime_tag': 'one'}
    done = re.compile(r'execution_status_total\{status_type="completed"[^}]*\} 30\n')
    refused = re.compile(r'execution_status_total\{status_type="incorrect_input"[^}]*\} 2\n')
    text = scrape(port, p, lambda t: done.search(t) and refused.search(t))
    doc = json.loads(lines[-1])
    data, = doc['neuron_runtime_data']
    used = data['report']['memory_used']['neuron_runtime_used_bytes']
    assert value(text, 'execution_errors_total', error_type='model', **who) == 2
    cores = data['report']['neuroncore_counters']['neuroncores_in_use']
    assert value(text, 'neuroncore_utilization_ratio', neuroncore='0', **who) == cores['0']['neuroncore_utilization'] / 100
    for place in ('host', 'neuron_device'):
        assert value(text, 'neuron_runtime_memory_used_bytes', memory_location=place, **who) == used[place] > 0
    assert value(text, 'system_memory_total_bytes') == doc['system_data']['memory_info']['memory_total_bytes']
    assert value(text, 'system_vcpu_count') == len(doc['system_data']['vcpu_usage']['usage_data'])
    assert value(text, 'instance_info', instance_type='trn1.2xlarge') == 1
    page = open(SPEC, encoding='utf-8').read()
    names = re.search(r'Prometheus names used by the official dashboard: (.*?)\. Records', page, re.S).group(1)
    for name in re.findall(r'[a-z_]{8,}(?=[{,]|$)', names):
        if name != 'execution_latency_seconds':  # only of periods with executions
            assert '\n%s' % name in '\n' + text, name
    p.stdin.write(last)
    p.stdin.flush()
    text = scrape(port, p, lambda t: 'runtime_tag' not in t)  # the process is gone, and its records
    assert value(text, 'system_vcpu_count') > 0
    p.stdin.close()
    assert p.wait() == 0 and p.stderr.read().count('left out') == len(wrong)
    help_ = site.run(sys.executable, PROMETHEUS, '--help').stdout
    assert all(x in help_ for x in ('--port', '--enable-k8s-info', '8000'))
    site.run(sys.executable, PROMETHEUS, '--port', 'x', code=2)
    site.run(sys.executable, PROMETHEUS, '--port', '70000', code=1)
    proves('tool-036')


def asked_of_cloudwatch(site, name, text):
    """The requests for these documents; the first is refused and comes again, and a line that is no document is left out."""
    log = os.path.join(site.tmp.name, name)
    done = subprocess.run([sys.executable, CLOUDWATCH, '--namespace', 'ns', '--region', 'us-west-2'],
                          input=text.encode(errors='surrogateescape'),
                          env=dict(site.env, PYTHONPATH=os.path.join(site.tmp.name, 'fake'), FAKE_LOG=log),
                          stderr=subprocess.PIPE, check=True, timeout=240)
    assert done.stderr.count(b'left out') == 2 and b'throttled' in done.stderr, done.stderr
    with open(log, encoding='ascii') as f:
        first, *requests = [json.loads(line) for line in f]
    assert first == ['cloudwatch', 'us-west-2'] and all(r['Namespace'] == 'ns' for r in requests)
    return requests


def flat(metrics):
    return sorted((m['MetricName'], m['Value'], m['Unit'], sorted((d['Name'], d['Value']) for d in m['Dimensions']))
                  for m in metrics)


def cloudwatch_whole(site):
    """Every metric of a document whose values are known, and one that needs more than one request."""
    every = [('neuroncore_utilization', 12.5, 'Percent', {'neuroncore': '0'}),
             ('neuroncore_utilization', 100, 'Percent', {'neuroncore': '3'}),
             ('neuron_runtime_memory_used', 5, 'Bytes', {'memory_location': 'host'}),
             ('neuron_runtime_memory_used', 4096, 'Bytes', {'memory_location': 'neuron_device'}),
             ('execution_status', 40, 'Count', {'status_type': 'completed'}),
             ('execution_status', 1, 'Count', {'status_type': 'timed_out'}),
             ('execution_errors', 2, 'Count', {'error_type': 'model'}),
             ('execution_errors', 1, 'Count', {'error_type': 'hardware'}),
             ('execution_latency', 0.001, 'Seconds', {'percentile': 'p0'}),
             ('execution_latency', 0.25, 'Seconds', {'percentile': 'p50'}),
             ('execution_latency', 1.5, 'Seconds', {'percentile': 'p100'}),
             ('neuron_runtime_vcpu_usage', 50, 'Percent', {'usage_type': 'user'}),
             ('neuron_runtime_vcpu_usage', 6.25, 'Percent', {'usage_type': 'system'})]
    of_host = [('system_vcpu_usage', 37.5, 'Percent', {'usage_type': 'user'}),
               ('system_vcpu_usage', 62.5, 'Percent', {'usage_type': 'idle'}),
               ('system_memory_used', 77, 'Bytes', {}), ('system_memory_total', 1 << 40, 'Bytes', {})]
    doc = made_document(40, 2, 5)
    many = json.loads(doc)
    many['instance_info']['instance_id'] = ''  # a dimension has a value, or is not there
    use = many['neuron_runtime_data'][0]['report']['neuroncore_counters']['neuroncores_in_use']
    use.update((str(i), {'neuroncore_utilization': i % 100}) for i in range(4, 2500))

    one, *rest = asked_of_cloudwatch(site, 'whole', '%s!\n%s%s' % (doc, doc, json.dumps(many) + '\n'))
    instance = {'instance_id': 'i-1', 'instance_type': 't'}
    expected = [(name, value_, unit, sorted(dict(where, **instance, **more).items()))
                for rows, more in ((every, {'runtime_tag': TAG}), (of_host, {})) for name, value_, unit, where in rows]
    assert flat(one['MetricData']) == sorted(expected), one
    assert [len(r['MetricData']) for r in rest] == [1000, 1000, len(expected) + 2496 - 2000]
    got = flat(m for r in rest for m in r['MetricData'])
    assert sum(name == 'neuroncore_utilization' for name, *_ in got) == 2498
    assert len({str(where) for name, _, _, where in got if name == 'neuroncore_utilization'}) == 2498
    assert all(('instance_id' not in dict(where)) and ('instance_type', 't') in where for *_, where in got)


def cloudwatch(site, lines):
    """With a stand-in for boto3 that writes down what it is asked."""
    os.mkdir(os.path.join(site.tmp.name, 'fake'))
    with open(os.path.join(site.tmp.name, 'fake', 'boto3.py'), 'w', encoding='ascii') as f:
        f.write(FAKE_BOTO3)
    # The first request is refused, one document is none: the others go on.
    requests = asked_of_cloudwatch(site, 'cloudwatch', lines[0] + '\udcff\n' + ''.join(lines))
    assert len(requests) == len(lines)
    total = 0
    for request in requests:
        for m in request['MetricData']:
            where = {d['Name']: d['Value'] for d in m['Dimensions']}
            assert set(m) == {'MetricName', 'Value', 'Unit', 'Dimensions'} and '' not in where.values()
            assert where['instance_type'] == 'trn1.2xlarge'
            if m['MetricName'] == 'execution_status' and where['status_type'] == 'completed':
                assert where['runtime_tag'] == 'one' and m['Unit'] == 'Count'
                total += m['Value']
    assert total == 30
    names = {m['MetricName'] for r in requests for m in r['MetricData']}
    assert names >= {'neuroncore_utilization', 'neuron_runtime_memory_used', 'execution_errors', 'system_memory_used',
                     'neuron_runtime_vcpu_usage', 'system_vcpu_usage'}, names
    site.run(sys.executable, CLOUDWATCH, '--namespace', 'ns', code=2)
    proves('tool-037')


with Site('comp', OPENNRT, LIB) as the_site:
    one = Worker(the_site, NEURON_RT_VISIBLE_CORES='0', NEURON_PROCESS_TAG='one')
    one.ok('load 0')
    the_lines, the_last = documents(the_site, one)
    prometheus(the_site, the_lines, the_last, one.pid)
    cloudwatch(the_site, the_lines)
    cloudwatch_whole(the_site)
    prometheus_whole(the_site)
