#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""neuron-monitor against behaviour.md 19.3, with real processes: what they were told to do is the oracle.

usage: test_monitor.py NEURON_MONITOR LIBNRT OPENNRT MAN_PAGE GUIDE"""
import collections
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from ports import port_kept  # noqa: E402
from seed import seed_take  # noqa: E402
from tools import Site, Worker, proves  # noqa: E402
from watching import APP, SYSTEM, Monitor, everything, report, total  # noqa: E402

TOOL, LIB, OPENNRT, MAN, GUIDE = sys.argv[1:6]
VCPU_USES = {'user', 'nice', 'system', 'idle', 'io_wait', 'irq', 'soft_irq'}
PERCENTILES = ['p0', 'p1', 'p25', 'p50', 'p75', 'p99', 'p100']


def executions(site, worker, late):
    """Every execution is in exactly one document."""
    m = Monitor(TOOL, site, everything('50ms'))
    docs = [m.doc()]
    first = report(docs[0], worker.pid)
    assert set(first) == {'pid', 'address', 'neuron_runtime_tag', 'error', 'report'}
    assert first['neuron_runtime_tag'] == 'app "one"\\' and first['error'] == ''
    proves('tool-039')
    stats = first['report']['execution_stats']
    assert stats['latency_stats'] == {'total_latency': None, 'device_latency': None}, stats
    assert set(stats['error_summary']) == {'generic', 'numerical', 'transient', 'model', 'runtime', 'hardware'}
    assert set(stats['execution_summary']) == {'completed', 'completed_with_err', 'completed_with_num_err', 'timed_out',
                                               'incorrect_input', 'failed_to_queue'}
    worker.ok('run 25')
    assert worker.do('bad') == 'failed 1002' and worker.do('bad') == 'failed 1002'
    docs += m.until(lambda ds: total(ds, worker.pid, 'execution_summary', 'completed') >= 25 and
                    total(ds, worker.pid, 'execution_summary', 'incorrect_input') >= 2)
    # A process that begins while the monitor runs is counted from its first execution.
    w = Worker(site, NEURON_RT_VISIBLE_CORES=str(late))
    w.ok('load 0', 'run 7')
    docs += m.until(lambda ds: total(ds, w.pid, 'execution_summary', 'completed') >= 7)
    docs += [m.doc(), m.doc()]
    m.end()
    assert total(docs, worker.pid, 'execution_summary', 'completed') == 25
    assert total(docs, worker.pid, 'execution_summary', 'incorrect_input') == 2
    assert total(docs, worker.pid, 'error_summary', 'model') == 2
    assert total(docs, w.pid, 'execution_summary', 'completed') == 7
    seen = 0
    for d in docs:
        r = report(d, worker.pid)['report']['execution_stats']
        for kind in ('total_latency', 'device_latency'):
            p = r['latency_stats'][kind]
            assert (p is None) == (r['execution_summary']['completed'] == 0), r
            if p:
                assert list(p) == PERCENTILES and list(p.values()) == sorted(p.values()), p
                assert 1e-7 < p['p0'] < 10, p
        if r['execution_summary']['completed']:
            seen += 1
            both = r['latency_stats']
            assert all(both['total_latency'][p] >= both['device_latency'][p] for p in PERCENTILES), both
    assert seen
    w.end()
    proves('tool-026')


def cores(site, worker):
    m = Monitor(TOOL, site, everything('50ms'))
    m.doc()
    worker.ok('run 2000')
    docs = m.until(lambda ds: total(ds, worker.pid, 'execution_summary', 'completed') >= 2000)
    docs += [m.doc()]
    busy = [report(d, worker.pid)['report']['neuroncore_counters'] for d in docs]
    for b in busy:
        assert list(b['neuroncores_in_use']) == ['0'], b
        nc = b['neuroncores_in_use']['0']
        assert set(nc) == {'neuroncore_utilization', 'flops'} and 0 <= nc['neuroncore_utilization'] <= 100, nc
    assert max(b['neuroncores_in_use']['0']['neuroncore_utilization'] for b in busy) > 0
    # 1024 additions an execution; flops are per second of the measured period.
    flops = sum(b['neuroncores_in_use']['0']['flops'] * b['period'] for b in busy)
    assert abs(flops - 1024 * 2000) < 1, flops
    m.end()


def running(site, worker):
    """is_running is of the moment at which the process was looked at: so it is looked at until an execution is met."""
    def model(doc):
        return report(doc, worker.pid)['report']['memory_used']['loaded_models'][0]

    m = Monitor(TOOL, site, everything('5ms'))
    met = looks = 0
    while not met:
        worker.tell('run 20000')
        met = model(m.doc())['is_running']
        assert worker.answer() == 'ok'
        looks += 1
        assert looks < 2000
    m.until(lambda ds: not model(ds[-1])['is_running'])
    m.end()


def cores_v3d():
    with Site('monv3', OPENNRT, LIB, 'trn2.48xlarge') as site:
        w = Worker(site, NEURON_RT_VISIBLE_CORES='1')
        m = Monitor(TOOL, site, everything('20ms'))
        d = m.doc()
        m.end()
        nc = report(d, w.pid)['report']['neuroncore_counters']['neuroncores_in_use']
        assert nc == {'1': {'neuroncore_utilization': 0, 'flops': 0,
                            'v3d': {'nc_v3.2': {'neuroncore_utilization': 0}, 'nc_v3.3': {'neuroncore_utilization': 0}}}}
        info = d['neuron_hardware_info']
        assert info == {'neuron_device_type': 'trainium', 'neuron_device_version': 'v3', 'neuroncore_version': 'v3d',
                        'neuron_device_count': 16, 'neuron_device_memory_size': 96 << 30,
                        'neuroncore_per_device_count': 4, 'logical_neuroncore_config': 2, 'error': ''}
    proves('tool-025')
    proves('tool-033')


def memory(site, worker, other):
    """Equal to the account; host tensors by their kind."""
    m = Monitor(TOOL, site, everything('30ms'))
    worker.ok('host 3000000', 'tensor 0 1000000')
    want = int(worker.ok('memory 0').split()[1])
    d = m.until(lambda ds: report(ds[-1], worker.pid)['report']['memory_used']['neuron_runtime_used_bytes']
                ['usage_breakdown']['host']['tensors'] == 3000000 and
                report(ds[-1], worker.pid)['report']['memory_used']['neuron_runtime_used_bytes']
                ['neuron_device'] == want)[-1]
    used = report(d, worker.pid)['report']['memory_used']
    bytes_ = used['neuron_runtime_used_bytes']
    down = bytes_['usage_breakdown']
    assert set(down['host']) == {'application_memory', 'constants', 'dma_buffers', 'tensors'}
    assert bytes_['host'] == sum(down['host'].values())
    assert list(down['neuroncore_memory_usage']) == ['0']
    nc = down['neuroncore_memory_usage']['0']
    assert set(nc) == {'constants', 'model_code', 'model_shared_scratchpad', 'runtime_memory', 'tensors'}
    assert sum(nc.values()) == want
    tensors = 3 * 4096 + (1000000 + 63) // 64 * 64
    assert nc['tensors'] == tensors, (nc, tensors)
    model, = used['loaded_models']
    assert set(model) == {'name', 'uuid', 'model_id', 'is_running', 'subgraphs'}
    header = open(site.neff, 'rb').read(1024)
    assert model['uuid'].replace('-', '') == header[204:220].hex() and model['name'] == 'add', model
    sg = model['subgraphs']
    assert list(sg) == ['sg_00'] and sg['sg_00']['neuroncore_index'] == 0 and sg['sg_00']['neuron_device_index'] == 0
    device = sg['sg_00']['memory_used_bytes']
    assert set(device['usage_breakdown']['neuron_device']) == {'constants', 'model_code', 'runtime_memory', 'tensors'}
    assert device['neuron_device'] == sum(device['usage_breakdown']['neuron_device'].values())
    assert device['neuron_device'] == want - tensors - nc['model_shared_scratchpad']
    of_model = device['usage_breakdown']['neuron_device']
    assert all(of_model[k] == nc[k] for k in ('constants', 'model_code', 'runtime_memory')), (of_model, nc)
    assert of_model['tensors'] == 0 and not model['is_running'], model
    assert report(d, other.pid)['report']['memory_used']['loaded_models'] == []
    worker.ok('free', 'free')
    m.until(lambda ds: report(ds[-1], worker.pid)['report']['memory_used']['neuron_runtime_used_bytes']['usage_breakdown']
            ['host']['tensors'] == 0)
    m.end()
    proves('tool-027')


def system(site):
    m = Monitor(TOOL, site, everything('20ms'))
    d = m.until(lambda ds: len(ds) == 3)[-1]
    m.end()
    s = d['system_data']
    v = s['vcpu_usage']
    assert set(v['average_usage']) == VCPU_USES and all(set(u) == VCPU_USES for u in v['usage_data'].values())
    online = [x.split()[0][3:] for x in open('/proc/stat') if re.match(r'cpu\d', x)]
    assert sorted(v['usage_data']) == sorted(online)
    assert sum(v['average_usage'].values()) < 100.001 and v['context_switch_count'] > 0
    proves('tool-030')
    info = {k: int(x.split()[0]) << 10 for k, x in (y.split(':') for y in open('/proc/meminfo')) if 'kB' in x}
    mi = s['memory_info']
    assert set(mi) == {'period', 'error', 'memory_total_bytes', 'memory_used_bytes', 'swap_total_bytes', 'swap_used_bytes'}
    assert mi['memory_total_bytes'] == info['MemTotal'] and mi['swap_total_bytes'] == info['SwapTotal']
    assert 0 < mi['memory_used_bytes'] < info['MemTotal']
    proves('tool-031')
    assert d['instance_info'] == {
        'instance_name': site.name, 'instance_id': 'opennrt-' + site.name, 'instance_type': 'trn1.2xlarge',
        'instance_availability_zone': '', 'instance_availability_zone_id': '', 'instance_region': '', 'ami_id': '',
        'subnet_id': '', 'error': 'a software device: there is no instance metadata service'}
    proves('tool-032')
    assert set(d) == {'neuron_runtime_data', 'system_data', 'instance_info', 'neuron_hardware_info'}


def runtime_vcpu(site, worker):
    m = Monitor(TOOL, site, everything('50ms'))
    m.doc()

    def used(d):
        return report(d, worker.pid)['report']['neuron_runtime_vcpu_usage']

    def seen_to_work(ds):
        """The kernel tells of whole ticks: until there is one, the process has to work on."""
        worker.ok('run 20000')
        return any(sum(used(d)['vcpu_usage'].values()) > 0 for d in ds)
    docs = m.until(seen_to_work)
    m.end()
    use = [used(d) for d in docs]
    assert all(set(u) == {'period', 'error', 'vcpu_usage'} and set(u['vcpu_usage']) == {'user', 'system'} for u in use)
    # Against the kernel's own figure, whole, in its ticks.
    stat = open('/proc/%d/stat' % worker.pid).read().rsplit(')', 1)[1].split()
    ticks = int(stat[11]) + int(stat[12])
    seen = sum((u['vcpu_usage']['user'] + u['vcpu_usage']['system']) * u['period'] for u in use) / 100
    assert 0 < seen <= ticks / os.sysconf('SC_CLK_TCK') + 0.05, (seen, ticks)
    proves('tool-028')


def hardware(site, worker):
    m = Monitor(TOOL, site, everything('30ms'))

    def now(ds):
        return ds[-1]['system_data']['neuron_hw_counters']['neuron_devices'][0]

    zero = {'neuron_device_index': 0, 'mem_ecc_corrected': 0, 'mem_ecc_uncorrected': 0,
            'mem_ecc_repairable_uncorrected': 0, 'sram_ecc_uncorrected': 0, 'sram_ecc_corrected': 0}
    assert now([m.doc()]) == zero
    for error, status in (('hbm', 1201), ('sram', 1202), ('hbm-repairable', 1205)):
        site.run(site.opennrt, 'inject', error, '0')
        assert worker.do('run 1') == 'failed %d' % status
    docs = m.until(lambda ds: now(ds)['mem_ecc_repairable_uncorrected'] == 1 and
                   total(ds, worker.pid, 'error_summary', 'transient') == 1)
    assert now(docs) == dict(zero, mem_ecc_uncorrected=1, sram_ecc_uncorrected=1, mem_ecc_repairable_uncorrected=1)
    assert total(docs, worker.pid, 'error_summary', 'hardware') == 2
    m.end()
    proves('tool-029')


def configuration(site, worker, other):
    """Filters by tag, periods by inheritance: the shortest period ever measured of a group is its own."""
    config = {'period': '40ms',
              'neuron_runtimes': [{'tag_filter': '^app "one"', 'period': '160ms',
                                   'metrics': [{'type': 'execution_stats', 'period': '640ms'},
                                               {'type': 'neuron_runtime_vcpu_usage'}]}],
              'system_metrics': [{'type': 'memory_info'}, {'type': 'vcpu_usage', 'period': '0.32s'}]}
    begun = time.monotonic()
    m = Monitor(TOOL, site, config)
    least, samples = {}, collections.Counter()

    def measured(ds):
        d = ds[-1]
        assert report(d, other.pid) is None, d
        groups = dict(d['system_data'])
        groups.update(report(d, worker.pid)['report'] if report(d, worker.pid) else {})
        for name, g in groups.items():
            assert g['error'] == '' and g['period'] > 0
            least[name] = min(least.get(name, 99), g['period'])
            samples[name] += 1  # a group is in a document when its period has ended
        return time.monotonic() - begun > 3 * 0.64 and least.get('execution_stats', 9) < 1.28 and least.get('vcpu_usage', 9) < 0.64 and \
            least.get('neuron_runtime_vcpu_usage', 9) < 0.32 and least.get('memory_info', 9) < 0.08
    m.until(measured)
    elapsed = time.monotonic() - begun
    m.end()
    proves('tool-024')
    assert set(least) == {'execution_stats', 'neuron_runtime_vcpu_usage', 'memory_info', 'vcpu_usage'}
    for name, period in (('execution_stats', 0.64), ('neuron_runtime_vcpu_usage', 0.16), ('memory_info', 0.04),
                         ('vcpu_usage', 0.32)):
        # A sample that came late makes the next period shorter, never the mean of two.
        assert least[name] < 2 * period, (name, least)
        assert samples[name] <= elapsed / period + 2, (name, samples, elapsed)  # nor is one taken before it is due
    # Who is sampled more often is sampled whenever the other is; after a late sample of both they may be equal.
    assert least['execution_stats'] >= least['neuron_runtime_vcpu_usage'] > 0
    proves('tool-021')
    proves('tool-023')

    d = json.loads(site.run(TOOL, '--count', '1').stdout)
    r = report(d, worker.pid)['report']
    assert set(r) == set(APP) and set(d['system_data']) == set(SYSTEM) and report(d, other.pid)
    for g in list(r.values()) + list(d['system_data'].values()):
        assert g['error'] == '' and g['period'] >= 4.99, g
    proves('tool-022')
    proves('tool-035')


def config_errors(site):
    path = os.path.join(site.tmp.name, 'bad.json')
    for text, message in (('{', 'configuration'), ('[]', 'not an object'), ('{"period": 5}', 'wrong type'),
                          ('{"period": "0s"}', 'period'), ('{"period": "1"}', 'period'), ('{"period": "2d"}', 'period'),
                          ('{"period": "25h"}', 'period'), ('{"period": "-1s"}', 'period'),
                          ('{"period": "1e3s"}', 'period'),
                          ('{"system_metrics": [{"type": "memory_used"}]}', 'no group'),
                          ('{"system_metrics": [{}]}', 'type'), ('{"system_metrics": [1]}', 'object'),
                          ('{"neuron_runtimes": [{"tag_filter": "("}]}', 'tag_filter'),
                          ('{"neuron_runtimes": [{"tag_filter": "((a{99}){99}){99}"}]}', 'tag_filter'),
                          ('{"neuron_runtimes": [{"tag_filter": "(a)\\\\1"}]}', 'tag_filter'),
                          ('{}', 'no group')):
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        done = site.run(TOOL, '-c', path, '-n', '1', code=1)
        assert message in done.stderr and done.stdout == '', (text, done)
    site.run(TOOL, '-c', site.tmp.name + '/absent', code=1)
    with open(path, 'w', encoding='utf-8') as f:
        f.write('{"system_metrics": [{"type": "memory_info", "period": "1ms"}], "more": 1, "else": 2}')
    assert site.run(TOOL, '-c', path, '-n', '1').stderr == ''
    assert '2 unknown members, the first is "more"' in site.run(TOOL, '-c', path, '-n', '1', '--verbose', '1').stderr
    assert 'document' in site.run(TOOL, '-c', path, '-n', '2', '--verbose', '4').stderr
    proves('tool-020')
    for wrong in (['--verbose', '5'], ['--verbose', 'x'], ['--nonsense'], ['word'], ['--prometheus', '0'], ['-n', '0']):
        site.run(TOOL, *wrong, code=2)
    site.run(TOOL, '-n', '1', code=1, OPENNRT_INSTANCE_TYPE='none')
    text = site.run(TOOL, '--help').stdout
    page = open(MAN, encoding='utf-8').read().replace('\\-', '-')
    for option in ('--verbose', '--config-file', '-c', '--count', '--prometheus', '--address', '--help', '--version'):
        assert option in text and option in page, option
    # A reader that goes away ends the monitor.
    p = subprocess.Popen([TOOL, '-c', path], env=site.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    p.stdout.readline()
    p.stdout.close()
    assert p.wait() == 1


def kills(site):
    """Processes die while they are read; every document is whole, and the dead are gone from the next."""
    rng = random.Random(seed_take())
    m = Monitor(TOOL, site, everything('2ms'))
    for _ in range(8):
        w = Worker(site, NEURON_RT_VISIBLE_CORES='1')
        w.ok('load 0', 'run %d' % rng.randrange(1, 500))
        m.until(lambda ds: report(ds[-1], w.pid))
        w.p.stdin.write('run 100000\n')
        w.p.stdin.flush()
        for _ in range(rng.randrange(4)):
            m.doc()
        w.kill()
        m.until(lambda ds: report(ds[-1], w.pid) is None)
    m.end()


def scrape(port, path='/metrics'):
    with urllib.request.urlopen('http://127.0.0.1:%d%s' % (port, path), timeout=120) as r:
        return r.headers, r.read().decode()


def series(text):
    """{name: {labels: value}} of the text format; every family has its help and type in front."""
    out, families = {}, []
    for line in text.splitlines():
        if line.startswith('#'):
            words = line.split(' ', 3)
            assert words[1] in ('HELP', 'TYPE'), line
            families.append((words[1], words[2]))
            continue
        name, labels, value = re.fullmatch(r'(\w+)(?:\{(.*)\})? (\S+)', line).groups()
        assert families[-2:] == [('HELP', name), ('TYPE', name)], line
        pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or '')
        key = frozenset(pairs)
        assert key not in out.setdefault(name, {}), line
        out[name][key] = float(value)
    return out


def pick(rows, **labels):
    got = [v for k, v in rows.items() if set(labels.items()) <= set(k)]
    assert len(got) == 1, (rows, labels)
    return got[0]


def share_of_a_busy_core(port, worker, tag):
    """A share, not per cent: of a core at work it is far from 0, and never above 1."""
    ratio = 0
    while ratio < 0.02:  # who reads may have been away for longer than the core was at work
        worker.tell('run 20000')
        scrape(port)
        ratio = pick(series(scrape(port)[1])['neuroncore_utilization_ratio'], runtime_tag=tag, neuroncore='0')
        assert 0 <= ratio <= 1, ratio
        assert worker.answer() == 'ok'


def prometheus(site, worker):
    port = port_kept()
    p = subprocess.Popen([TOOL, '--prometheus', str(port)], env=site.env, stderr=subprocess.PIPE, text=True)
    site.started.append(p)
    while True:
        try:
            headers, text = scrape(port)
            break
        except urllib.error.URLError:
            assert p.poll() is None, p.stderr.read()
    assert headers['Content-Type'] == 'text/plain; version=0.0.4; charset=utf-8'
    tag = 'app \\"one\\"\\\\'
    before = series(text)
    worker.ok('run 40')
    worker.do('bad')
    stuck = socket.create_connection(('127.0.0.1', port))  # asks for nothing, and holds nobody up
    for garbage in (b'\0\0\0\0', b'\x16\x03\x01' * 4000, b'POST / HTTP/1.1\r\n\r\n', b'GET\r\n\r\n'):
        with socket.create_connection(('127.0.0.1', port)) as c:
            try:
                c.sendall(garbage)
                c.shutdown(socket.SHUT_WR)
                while c.recv(4096):
                    pass
            except OSError:  # it has hung up already
                pass
    after = series(scrape(port)[1])
    stuck.close()
    for status, more in (('completed', 40), ('incorrect_input', 1), ('timed_out', 0)):
        was, now = [pick(x['execution_status_total'], status_type=status, runtime_tag=tag) for x in (before, after)]
        assert now - was == more, (status, was, now)
    assert pick(after['execution_errors_total'], error_type='model', runtime_tag=tag) - \
        pick(before['execution_errors_total'], error_type='model', runtime_tag=tag) == 1
    assert os.sysconf('SC_NPROCESSORS_ONLN') == pick(after['system_vcpu_count'])
    # What ran since the last look took time; of the CPU's the kernel may have counted none.
    for name, labels, least, most in (('neuroncore_utilization_ratio', {'neuroncore': '0'}, 1e-9, 1),
                                      ('neuron_runtime_memory_used_bytes', {'memory_location': 'host'}, 1, 1 << 40),
                                      ('execution_latency_seconds', {'percentile': 'p99'}, 1e-7, 10),
                                      ('neuron_runtime_vcpu_usage_ratio', {'usage_type': 'user'}, 0, float('inf'))):
        assert least <= pick(after[name], runtime_tag=tag, **labels) <= most, (name, after[name])
    share_of_a_busy_core(port, worker, tag)
    want = int(worker.ok('memory 0').split()[1])
    assert pick(after['neuron_runtime_memory_used_bytes'], runtime_tag=tag, memory_location='neuron_device') == want
    ratios = after['system_vcpu_usage_ratio']
    assert {dict(k)['usage_type'] for k in ratios} == VCPU_USES, ratios
    assert all(0 <= r <= 1 for r in ratios.values()) and sum(ratios.values()) < 1.0001, ratios  # no tick may have passed
    with open('/proc/meminfo', encoding='ascii') as f:
        installed = int(re.search(r'^MemTotal: +(\d+) kB', f.read(), re.M).group(1)) << 10
    assert pick(after['system_memory_total_bytes']) == installed
    assert 0 < pick(after['system_memory_used_bytes']) < installed
    assert pick(after['instance_info'], instance_type='trn1.2xlarge', instance_id='opennrt-' + site.name) == 1
    assert 'href="/metrics"' in scrape(port, '/')[1]
    try:
        scrape(port, '/nothing')
        raise AssertionError('404 expected')
    except urllib.error.HTTPError as e:
        assert e.code == 404
    assert p.poll() is None
    site.run(TOOL, '--prometheus', str(port), code=1)  # the port is taken
    site.run(TOOL, '--prometheus', str(port), '--address', 'here', code=1)
    p.kill()
    p.wait()


def absent():
    """Watching what is not there does not make it."""
    with Site('monno', OPENNRT, LIB) as site:
        m = Monitor(TOOL, site, everything('10ms'))
        d = m.doc()
        assert d['neuron_runtime_data'] == [] and d['instance_info']['instance_type'] == 'trn1.2xlarge'
        assert d['system_data']['neuron_hw_counters']['error'] != ''
        dirs = ['/dev/shm', os.environ.get('XDG_RUNTIME_DIR', '/tmp'), '/tmp']
        assert not any(os.path.exists('%s/opennrt-%d-%s' % (x, os.getuid(), site.name)) for x in dirs)
        w = Worker(site)  # it comes
        m.until(lambda ds: report(ds[-1], w.pid))
        w.kill()
        site.run(site.opennrt, 'reset')  # it is removed, and made anew
        w = Worker(site)
        m.until(lambda ds: report(ds[-1], w.pid))
        m.end()


def guide():
    """The configuration of the page."""
    config = json.loads(re.search(r'```json\n(.*?)```', open(GUIDE, encoding='utf-8').read(), re.S).group(1))
    with Site('mong', OPENNRT, LIB) as site:
        train = Worker(site, NEURON_RT_VISIBLE_CORES='0', NEURON_PROCESS_TAG='train-0')
        other = Worker(site, NEURON_RT_VISIBLE_CORES='1')
        m = Monitor(TOOL, site, config)
        m.doc()
        train.ok('load 0', 'run 5')
        other.ok('load 0', 'run 5')
        # A document holds what is due: after a late sample that may be one group alone.
        def groups(doc):
            return (report(doc, train.pid) or {'report': {}})['report']

        docs = m.until(lambda ds: sum(groups(d)['execution_stats']['execution_summary']['completed']
                                      for d in ds if 'execution_stats' in groups(d)) == 5 and
                       any('memory_used' in groups(d) for d in ds) and any(d['system_data'] for d in ds))
        assert all(set(groups(d)) <= {'execution_stats', 'memory_used'} for d in docs)
        assert not any(report(d, other.pid) for d in docs)
        assert all(set(d['system_data']) <= {'memory_info'} for d in docs)
        m.end()


with Site('mon', OPENNRT, LIB) as the_site:
    one = Worker(the_site, NEURON_RT_VISIBLE_CORES='0', NEURON_PROCESS_TAG='app "one"\\')
    one.ok('load 0', 'run 3')
    executions(the_site, one, 1)
    two = Worker(the_site, NEURON_RT_VISIBLE_CORES='1', NEURON_PROCESS_TAG='two')
    cores(the_site, one)
    running(the_site, one)
    memory(the_site, one, two)
    system(the_site)
    runtime_vcpu(the_site, one)
    hardware(the_site, one)
    configuration(the_site, one, two)
    config_errors(the_site)
    prometheus(the_site, one)
    two.end()
    kills(the_site)
cores_v3d()
absent()
guide()
