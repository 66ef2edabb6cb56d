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


def prometheus(site, lines, last, pid):
    port = port_kept()
    p = subprocess.Popen([sys.executable, PROMETHEUS, '--port', str(port)], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True)
    site.started.append(p)
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
    assert 0 <= value(text, 'neuroncore_utilization_ratio', neuroncore='0', **who) <= 1
    assert value(text, 'neuron_runtime_memory_used_bytes', memory_location='neuron_device', **who) == used['neuron_device']
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


def cloudwatch(site, lines):
    """With a stand-in for boto3 that writes down what it is asked."""
    os.mkdir(os.path.join(site.tmp.name, 'fake'))
    with open(os.path.join(site.tmp.name, 'fake', 'boto3.py'), 'w', encoding='ascii') as f:
        f.write(FAKE_BOTO3)
    log = os.path.join(site.tmp.name, 'cloudwatch')
    # The first request is refused, one document is none: the others go on.
    done = subprocess.run([sys.executable, CLOUDWATCH, '--namespace', 'ns', '--region', 'us-west-2'],
                          input=(lines[0] + '\udcff\n' + ''.join(lines)).encode(errors='surrogateescape'),
                          env=dict(site.env, PYTHONPATH=os.path.join(site.tmp.name, 'fake'), FAKE_LOG=log),
                          stderr=subprocess.PIPE, check=True, timeout=240)
    assert done.stderr.count(b'left out') == 2 and b'throttled' in done.stderr, done.stderr
    with open(log, encoding='ascii') as f:
        first, *requests = [json.loads(line) for line in f]
    assert first == ['cloudwatch', 'us-west-2'] and len(requests) == len(lines)
    total = 0
    for request in requests:
        assert request['Namespace'] == 'ns'
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
