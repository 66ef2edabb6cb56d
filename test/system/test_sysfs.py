#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""opennrt sysfs against behaviour.md section 18. The oracle is what processes were told to do (prog_counts.c, worker.py),
added up here by the categories of behaviour.md section 11, and what neuron-ls and nrt_get_vnc_memory_stats say.

usage: test_sysfs.py mount|snapshot OPENNRT LIBNRT NEURON_LS PROG_COUNTS BEHAVIOUR_MD
mount is skipped (77) where this host forbids a FUSE mount, which is asked of the kernel itself."""
import ctypes
import errno
import json
import os
import random
import re
import select
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
import watching  # noqa: E402
from seed import seed_take  # noqa: E402
from tools import Site, Worker, proves  # noqa: E402
from watching import Counts  # noqa: E402

MODE, OPENNRT, LIB, LS, COUNTS, SPEC = sys.argv[1:7]
LIBC = ctypes.CDLL(None, use_errno=True)
PAGE = open(SPEC, encoding='utf-8').read()
SECTION = watching.section(PAGE, 18)

# Nodes of the specification: lists of words in its drawing of the tree.
DEVICE_MEM = re.search(r'device_mem/ +\{total present peak\} and (.*?)\n +memory_usage/host_mem', SECTION, re.S).group(1).split()
HOST_MEM = re.search(r'memory_usage/host_mem/ (application_memory.*)', SECTION).group(1).split()
OTHER = re.search(r'other_info/ +(.*)', SECTION).group(1).split()
GUIDE = {'infer_' + x: 'execute_' + x for x in watching.GUIDE}
STATUS = watching.status_nodes(PAGE)
NODE_OF = {name: node for name, (node, _) in watching.categories(PAGE).items()}
HOST_KINDS = ['application_memory', 'constants', 'dma_buffers', 'tensors']  # enum device_host_mem


class MountSite(Site):
    """Takes its mount down first, whatever went wrong."""
    root = None

    def __exit__(self, *what):
        while self.root and os.path.ismount(self.root):
            subprocess.run(['umount', '-l', self.root], check=False)
        super().__exit__(*what)


class Tree:
    """The tree of a site: mounted, or copied anew for every look."""

    def __init__(self, site):
        self.site, self.root, self.server = site, os.path.join(site.tmp.name, 'sysfs'), None
        if MODE == 'mount':
            os.mkdir(self.root)
            site.root = self.root
            site.run(OPENNRT, 'sysfs', self.root)
            assert os.path.ismount(self.root)

    def look(self):
        if MODE == 'snapshot':
            shutil.rmtree(self.root, ignore_errors=True)
            self.site.run(OPENNRT, 'sysfs', '--snapshot', self.root)
        return self

    def text(self, path):
        with open(os.path.join(self.root, path), encoding='ascii') as f:
            return f.read()

    def number(self, path):
        text = self.text(path)
        assert re.fullmatch(r'\d+\n', text), (path, text)
        return int(text)

    def parts(self, path):
        """total, present and, of memory, peak: the files of a counter, and no other file."""
        folder = os.path.join(self.root, path)
        names = {n for n in os.listdir(folder) if not os.path.isdir(os.path.join(folder, n))}
        want = ['total', 'present'] + (['peak'] if 'memory_usage' in path else [])
        assert names == set(want), (path, names)
        assert all(os.stat(os.path.join(folder, n)).st_mode & 0o777 == 0o644 for n in want)
        return tuple(self.number(path + '/' + n) for n in want)

    def write(self, path, text='1\n'):
        """In one write, as a shell does; Python's files try again when one fails."""
        fd = os.open(os.path.join(self.root, path), os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def close(self):
        if MODE == 'mount':
            subprocess.run(['umount', self.root], check=True)
            assert not os.path.ismount(self.root)


def core_dir(site, core):
    return 'neuron%d/neuron_core%d' % (core // site.per_device, core % site.per_device)


class Model:
    """What was done, added up."""

    def __init__(self, cores, devices):
        self.counts = {(c, n): [0, 0] for c in range(cores) for n in STATUS + OTHER}
        self.memory = {(c, n): [0, 0, 0] for c in range(cores) for n in DEVICE_MEM + ['']}
        self.host = {(d, k): [0, 0, 0] for d in range(devices) for k in HOST_MEM}
        self.host_core = [0, 0, 0]
        self.extents = {}

    @staticmethod
    def change(level, delta):
        level[0] += delta
        level[1] = abs(delta)
        if delta > 0:
            level[2] = max(level[2], level[0])

    def use(self, core, category, delta):
        for node in (NODE_OF[category], ''):
            self.change(self.memory[core, node], delta)


def compare(site, tree, model):
    for (core, name), want in model.counts.items():
        folder = 'other_info' if name in OTHER else 'status'
        got = tree.parts('%s/stats/%s/%s' % (core_dir(site, core), folder, name))
        assert got == tuple(want), (core, name, got, want)
    for (core, name), want in model.memory.items():
        got = tree.parts('%s/stats/memory_usage/device_mem/%s' % (core_dir(site, core), name))
        assert got == tuple(want), (core, name, got, want)
    for (device, kind), want in model.host.items():
        got = tree.parts('neuron%d/stats/memory_usage/host_mem/%s' % (device, kind))
        assert got == tuple(want), (device, kind, got, want)
    for core in range(site.cores):
        got = tree.parts(core_dir(site, core) + '/stats/memory_usage/host_mem')
        assert got == (tuple(model.host_core) if core == 0 else (0, 0, 0)), (core, got, model.host_core)


def act(rng, site, counts, model):
    """One thing at random, done and added up."""
    kind = rng.choice(('count', 'alloc', 'alloc', 'free', 'host'))
    if kind == 'count':
        core, name, delta = rng.randrange(site.cores), rng.choice(STATUS + OTHER), rng.getrandbits(rng.randrange(1, 40))
        counts.ok('count %d %d %s' % (core, delta, name))
        model.counts[core, name][0] += delta
        model.counts[core, name][1] = delta
    elif kind == 'alloc':
        core, size, cat = rng.randrange(site.cores), 1 + rng.getrandbits(rng.randrange(1, 23)), rng.choice(sorted(NODE_OF))
        n = next(i for i in range(4096) if i not in model.extents)
        counts.ok('alloc %d %d %d %s' % (n, core, size, cat))
        model.extents[n] = (core, cat, (size + 63) // 64 * 64)
        model.use(core, cat, model.extents[n][2])
    elif kind == 'free' and model.extents:
        n = rng.choice(sorted(model.extents))
        core, cat, size = model.extents.pop(n)
        counts.ok('free %d' % n)
        model.use(core, cat, -size)
    elif kind == 'host':
        k = rng.randrange(4)
        level = model.host[0, HOST_KINDS[k]]
        delta = rng.randrange(-level[0], 1 + (1 << 20))
        counts.ok('host %d %d' % (k, delta))
        model.change(level, delta)
        model.change(model.host_core, delta)


def prove_nodes():
    for i, name in enumerate(HOST_MEM):
        proves('tool-%03d' % (218 + i))
    for i, name in enumerate(STATUS):
        proves('tool-%03d' % (227 + i))
    for i, name in enumerate(DEVICE_MEM):
        proves('tool-%03d' % (251 + i))
    proves('tool-262')
    for i, name in enumerate(OTHER):
        proves('tool-%03d' % (263 + i))
    proves('tool-270')


def check_words():
    """The words that were read from the page are those of the checklist, in its order."""
    lines = dict(re.findall(r'`(tool-\d+)` sysfs node (\S+)', open(os.path.join(os.path.dirname(SPEC), 'checklist.md'),
                                                                   encoding='utf-8').read()))
    for first, names, folder in ((218, HOST_MEM, 'stats/memory_usage/host_mem/'),
                                 (227, STATUS, 'neuron_core/stats/status/'),
                                 (251, DEVICE_MEM, 'neuron_core/stats/memory_usage/device_mem/'),
                                 (263, OTHER, 'neuron_core/stats/other_info/')):
        for i, name in enumerate(names):
            assert lines['tool-%03d' % (first + i)] == folder + name, (first + i, name)


def setup(name, kind, per_device):
    site = MountSite(name, OPENNRT, LIB, kind)
    site.per_device = per_device
    return site


def levels(rng, kind, per_device, cores):
    with setup('sysfs', kind, per_device) as site:
        site.cores = cores
        counts = Counts(site, COUNTS)
        tree, model = Tree(site), Model(cores, cores // per_device)
        for _ in range(12 if MODE == 'mount' and cores == 2 else 3):
            for _ in range(80):
                act(rng, site, counts, model)
            compare(site, tree.look(), model)
        prove_nodes()
        for node in GUIDE:
            link = os.path.join(tree.root, core_dir(site, 0), 'stats/status', node)
            assert os.readlink(link) == GUIDE[node] and os.path.isdir(link)
            assert tree.number(core_dir(site, 0) + '/stats/status/%s/total' % node) == \
                model.counts[0, GUIDE[node]][0]
        proves('tool-273')
        if MODE == 'mount':
            clear(rng, site, tree, counts, model)
        # What a killed process held is nobody's any more once somebody looked for it; peaks stay.
        counts.kill()
        Counts(site, COUNTS).end()
        tree.look()
        for core in range(cores):
            base = core_dir(site, core) + '/stats/memory_usage/device_mem/'
            for node in DEVICE_MEM + ['']:
                total, _, peak = tree.parts(base + node)
                assert total == 0 and peak == model.memory[core, node][2], (core, node, total, peak)
        assert all(tree.parts('neuron0/stats/memory_usage/host_mem/' + k)[0] == 0 for k in HOST_MEM)
        tree.close()


def clear(rng, site, tree, counts, model):
    """Writing anything to a file of a counter; what memory is in use stays."""
    for (core, name), want in model.counts.items():
        tree.write('%s/stats/%s/%s/%s' % (core_dir(site, core), 'other_info' if name in OTHER else 'status', name,
                                          rng.choice(('total', 'present'))), rng.choice(('1\n', '0', 'x' * 100)))
        want[:] = [0, 0]
    for (core, name), want in model.memory.items():
        tree.write('%s/stats/memory_usage/device_mem/%s/%s' % (core_dir(site, core), name,
                                                               rng.choice(('total', 'present', 'peak'))))
        want[1:] = [0, 0]
    for (device, kind), want in model.host.items():
        tree.write('neuron%d/stats/memory_usage/host_mem/%s/peak' % (device, kind))
        want[1:] = [0, 0]
    tree.write(core_dir(site, 0) + '/stats/memory_usage/host_mem/peak')
    model.host_core[1:] = [0, 0]
    compare(site, tree, model)
    for _ in range(60):  # and it goes on from there
        act(rng, site, counts, model)
    compare(site, tree, model)
    for path in ('neuron0/core_count', 'neuron0/stats/hardware/mem_ecc_uncorrected', 'neuron0/info/serial_number'):
        assert os.stat(os.path.join(tree.root, path)).st_mode & 0o777 == 0o444
        try:  # root may open it, to whom modes are nothing
            tree.write(path)
            raise AssertionError(path)
        except OSError as e:
            assert e.errno == errno.EACCES, (path, e)
    proves('tool-271')


def constants():
    """Of every type, whether somebody made the instance or not; the links are those of neuron-ls."""
    names = re.search(r'Driver identity strings.*?: (.*?) \(DRV\)', SECTION, re.S).group(1)
    identity = {x.split()[2]: x.split() for x in names.split('; ')}
    types = [('trn1.2xlarge', 'Trn1', 1, 2), ('inf2.24xlarge', 'Inf2', 6, 2), ('trn2.3xlarge', 'Trn2', 1, 8)]
    if MODE == 'mount':  # a copy of these is many files
        types += [('trn1.32xlarge', 'Trn1', 16, 2), ('trn2.48xlarge', 'Trn2', 16, 8)]
    for kind, family, count, per_device in types:
        with setup('sysfsc', kind, per_device) as site:
            tree = Tree(site).look()
            listed = json.loads(site.run(LS, '-j').stdout)
            devices = sorted((n for n in os.listdir(tree.root) if n.startswith('neuron')), key=lambda n: int(n[6:]))
            assert devices == ['neuron%d' % d['neuron_device'] for d in listed] and len(devices) == count, (kind, devices)
            arch, core_arch, instance_type, device_name = identity[family]
            for d in listed:
                base = 'neuron%d/' % d['neuron_device']
                assert tree.text(base + 'connected_devices') == ', '.join(map(str, d['connected_to'])) + '\n'
                assert tree.number(base + 'core_count') == per_device
                assert tree.text(base + 'info/architecture/arch_type') == arch + '\n'
                assert tree.text(base + 'info/architecture/instance_type') == instance_type + '\n'
                assert tree.text(base + 'info/architecture/device_name') == device_name + '\n'
                cores = sorted(n for n in os.listdir(os.path.join(tree.root, base)) if n.startswith('neuron_core'))
                assert cores == ['neuron_core%d' % c for c in range(per_device)]
                assert all(tree.text(base + c + '/info/architecture/arch_type') == core_arch + '\n' for c in cores)
                assert os.readlink(os.path.join(tree.root, base, 'subsystem')) == '..'
            for servers in (2, 4):
                assert tree.text('node_id_%d' % servers) == '-1\n' and tree.text('server_id_%d' % servers) == '0' * 16 + '\n'
            assert tree.text('ultraserver_mode') == '1\n'
            tree.close()
    for line in ('202', '203', '207', '208', '209', '226'):
        proves('tool-' + line)
    if MODE == 'snapshot':
        return
    with setup('sysfsu', 'trn2-ultraserver', 8) as site:
        tree = Tree(site)
        w = Worker(site, NEURON_RT_VISIBLE_CORES='0')
        tree.look()
        assert [tree.text('node_id_%d' % n) for n in (2, 4)] == ['0\n'] * 2 and tree.text('ultraserver_mode') == '4,2,1\n'
        ids = {tree.text('server_id_%d' % n) for n in (2, 4)}
        assert len(ids) == 1 and re.fullmatch(r'[0-9a-f]{16}\n', ids.pop())
        serials = {tree.text('neuron%d/info/serial_number' % d) for d in range(16)}
        assert len(serials) == 16 and all(re.fullmatch(r'[0-9a-f]{16}\n', s) for s in serials)
        w.kill()
        tree.close()
    proves('tool-206')
    proves('tool-269')


def real(site):
    """Executions through the library, and the hardware's nodes."""
    tree = Tree(site)
    w = Worker(site, NEURON_RT_VISIBLE_CORES='1')
    base = 'neuron0/neuron_core1/stats/'
    w.ok('load 0', 'run 25', 'host 3000000')
    assert w.do('bad') == 'failed 1002'
    tree.look()
    assert tree.parts(base + 'status/success') == (25, 1) and tree.parts(base + 'status/exec_bad_input') == (1, 1)
    assert tree.parts(base + 'other_info/inference_count')[0] == 25
    assert tree.parts(base + 'other_info/model_load_count') == (1, 1)
    assert tree.number('neuron0/neuron_core0/stats/status/success/total') == 0
    assert tree.parts(base + 'memory_usage/device_mem/')[0] == int(w.ok('memory 0').split()[1])
    assert tree.parts(base + 'memory_usage/device_mem/tensors')[0] == 3 * 4096
    assert tree.parts(base + 'memory_usage/host_mem') == (3000000,) * 3
    assert tree.parts('neuron0/stats/memory_usage/host_mem/tensors') == (3000000,) * 3
    w.ok('free')
    assert tree.look().parts('neuron0/stats/memory_usage/host_mem/tensors') == (0, 3000000, 3000000)
    ecc = ('sram_ecc_uncorrected', 'mem_ecc_uncorrected', 'mem_ecc_repairable_uncorrected')
    for error, status, node in (('sram', 1202, 'hw_nc_ue_error'), ('hbm', 1201, 'hw_hbm_ue_error'),
                                ('hbm-repairable', 1205, 'hw_repairable_hbm_ue_error')):
        site.run(OPENNRT, 'inject', error, '1')
        assert w.do('run 1') == 'failed %d' % status
        assert tree.look().parts(base + 'status/' + node) == (1, 1)
    hardware = 'neuron0/stats/hardware/'
    assert [tree.number(hardware + n) for n in ecc] == [1, 1, 1]
    assert [tree.number(hardware + n) for n in ('sram_ecc_corrected', 'mem_ecc_corrected')] == [0, 0]
    for line in range(210, 215):
        proves('tool-%d' % line)
    health = hardware + 'health_status/'
    assert [tree.number(health + n) for n in ecc] == [1, 1, 1] and tree.number(health + 'hw_error_count') == 3
    assert tree.text(health + 'unhealthy_components') == 'hbm,sram\n' and tree.number(health + 'healthcheck_heartbeat') > 1e9
    proves('tool-215')
    assert re.fullmatch(r'POWER_STATUS_NO_DATA,\d{10},0\.00,0\.00,0\.00\n', tree.text('neuron0/stats/power/utilization'))
    proves('tool-216')
    assert re.fullmatch(r'POWER_STATUS_NO_DATA,\d{10},0,0,0\n', tree.text('neuron0/stats/power/utilization_raw'))
    proves('tool-217')
    assert tree.text('neuron0/info/notify_delay') == '-1\n'
    if MODE == 'mount':
        reset(site, tree, w)
        waiting(tree, w)
    else:
        w.end()
    tree.close()


def reset(site, tree, w):
    """Refused while somebody has a core of it; afterwards an error that waited is gone."""
    info = 'neuron0/neuron_core1/stats/other_info/'
    before = tree.number(info + 'reset_req_count/total')
    assert before == 1  # of the worker's start
    site.run(OPENNRT, 'inject', 'hbm', '1')
    try:
        tree.write('neuron0/reset')
        raise AssertionError('a device in use was reset')
    except OSError as e:
        assert e.errno == errno.EBUSY
    assert tree.parts(info + 'reset_fail_count') == (1, 1) and tree.number(info + 'reset_req_count/total') == 2
    assert os.stat(os.path.join(tree.root, 'neuron0/reset')).st_mode & 0o777 == 0o200
    w.end()
    tree.write('neuron0/reset')
    assert tree.parts(info + 'reset_fail_count') == (1, 1) and tree.number(info + 'reset_req_count/total') == 3
    with_error = Worker(site, NEURON_RT_VISIBLE_CORES='1')
    with_error.ok('load 0', 'run 1')
    with_error.end()
    proves('tool-204')


def thread_sleeps(tid):
    with open('/proc/self/task/%d/stat' % tid, encoding='ascii') as f:
        return f.read().rsplit(')', 1)[1].split()[0] == 'S'


def waiting(tree, _):
    """poll: POLLPRI and POLLERR once the value is not the one read, with notifications on."""
    site = tree.site
    w = Worker(site, NEURON_RT_VISIBLE_CORES='0')
    w.ok('load 0')
    path = 'neuron0/neuron_core0/stats/status/success/total'
    fd = os.open(os.path.join(tree.root, path), os.O_RDONLY)
    poll = select.poll()
    poll.register(fd, select.POLLERR | select.POLLPRI)
    was = int(os.read(fd, 128))
    w.ok('run 1')
    assert poll.poll(0) == []  # off is the default
    tree.write('neuron0/info/notify_delay', '0\n')
    assert tree.text('neuron0/info/notify_delay') == '0\n'
    assert poll.poll(0) == [(fd, select.POLLERR | select.POLLPRI)]
    assert poll.poll(0)  # until it is read
    os.lseek(fd, 0, os.SEEK_SET)
    assert int(os.read(fd, 128)) == was + 1 and poll.poll(0) == []
    for i in range(20):
        tid, got = [], []

        def wait():
            tid.append(threading.get_native_id())
            got.append(poll.poll(60000))
        t = threading.Thread(target=wait)
        t.start()
        while i % 2 and not (tid and thread_sleeps(tid[0])):
            pass  # every second time somebody sleeps in poll by then
        w.ok('run 1')
        t.join()
        assert got == [[(fd, select.POLLERR | select.POLLPRI)]], got
        os.lseek(fd, 0, os.SEEK_SET)
        assert int(os.read(fd, 128)) == was + 2 + i
    proves('tool-272')
    for bad in ('1', '-2', 'on', '00', ' 0'):
        try:
            tree.write('neuron0/info/notify_delay', bad)
            raise AssertionError(bad)
        except OSError as e:
            assert e.errno == errno.EINVAL
    tree.write('neuron0/info/notify_delay', '-1')
    w.ok('run 1')
    assert poll.poll(0) == []
    os.close(fd)
    proves('tool-205')
    w.end()


def comes_and_goes():
    """The tree is there without an instance, and follows one that comes, goes, and comes as another type."""
    with setup('sysfsg', 'trn1.2xlarge', 2) as site:
        tree = Tree(site).look()
        assert tree.parts('neuron0/neuron_core0/stats/status/success') == (0, 0)
        w = Worker(site, NEURON_RT_VISIBLE_CORES='0')
        w.ok('load 0', 'run 2')
        assert tree.look().number('neuron0/neuron_core0/stats/status/success/total') == 2
        w.end()
        site.run(OPENNRT, 'reset')
        site.env['OPENNRT_INSTANCE_TYPE'] = 'trn2.48xlarge'
        w = Worker(site, NEURON_RT_VISIBLE_CORES='0')
        assert tree.look().number('neuron0/core_count') == 8 and tree.number('neuron15/core_count') == 8
        w.end()
        tree.close()


def refusal(act):
    try:
        act()
    except OSError as e:
        return e.errno
    return 0


def only_values_change():
    """No program makes, takes away or renames a node: as in sysfs, whose answers these are."""
    with setup('sysfsn', 'trn1.2xlarge', 2) as site:
        tree = Tree(site)
        there, new = (os.path.join(tree.root, 'neuron0', name) for name in ('core_count', 'new'))
        folder, before = os.path.dirname(there) + '/info', names_in(tree.root)
        for act in (lambda: os.mkdir(new), lambda: os.rmdir(folder), lambda: os.unlink(there), lambda: os.symlink('a', new),
                    lambda: os.link(there, new), lambda: os.rename(there, new), lambda: os.mkfifo(new), lambda: os.chmod(there, 0o644),
                    lambda: os.chown(there, 0, 0), lambda: os.utime(there)):
            assert refusal(act) == errno.EPERM
        assert refusal(lambda: os.close(os.open(new, os.O_WRONLY | os.O_CREAT))) == errno.EACCES
        assert names_in(tree.root) == before
        for place in (tree.root, os.path.dirname(there)):  # a second tree would hide the first
            assert 'a tree is mounted there' in site.run(OPENNRT, 'sysfs', place, code=1).stderr
        tree.close()  # was the only one


def words():
    with setup('sysfsw', 'trn1.2xlarge', 2) as site:
        help_ = site.run(OPENNRT, 'sysfs', '--help').stdout
        assert all(x in help_ for x in ('--snapshot', '--instance', '--foreground'))
        site.run(OPENNRT, 'sysfs', code=2)
        site.run(OPENNRT, 'sysfs', '--snapshot', '--foreground', 'x', code=2)
        site.run(OPENNRT, 'sysfs', '--snapshot', site.tmp.name + '/a/b', code=1)
        site.run(OPENNRT, 'sysfs', '--snapshot', site.tmp.name + '/a')
        assert 'File exists' in site.run(OPENNRT, 'sysfs', '--snapshot', site.tmp.name + '/a', code=1).stderr
        assert '--snapshot' in site.run(OPENNRT, 'sysfs', site.tmp.name + '/none', code=1).stderr
        said = site.run(OPENNRT, 'sysfs', site.neff, code=1).stderr  # a file
        assert 'Not a directory' in said or '--snapshot' in said, said
        site.run(OPENNRT, 'sysfs', '--snapshot', site.tmp.name + '/b', code=1, OPENNRT_INSTANCE_TYPE='none')
        one_node(site)


def names_in(folder):
    return {os.path.relpath(os.path.join(at, name), folder) for at, folders, files in os.walk(folder)
            for name in folders + files}


def one_node(site):
    """A snapshot of a node has the node, what is in it, and the folders on the way: nothing whose name only begins alike."""
    whole = names_in(os.path.join(site.tmp.name, 'a'))
    for i, node in enumerate(('neuron0/neuron_core1', 'neuron0/neuron_core0/stats/status/success', 'neuron0/core_count')):
        assert node in whole
        part = os.path.join(site.tmp.name, 'part%d' % i)
        site.run(OPENNRT, 'sysfs', '--snapshot', part, node)
        ways = {node[:at] for at, c in enumerate(node) if c == '/'}
        assert names_in(part) == {n for n in whole if n == node or n.startswith(node + '/')} | ways, node
    for wrong in ('neuron0/neuron_core', 'neuron0/', 'neuron9', '/neuron0', 'neuron0/../neuron0'):
        assert wrong in site.run(OPENNRT, 'sysfs', '--snapshot', site.tmp.name + '/c', wrong, code=1).stderr
    assert not os.path.exists(site.tmp.name + '/c')
    site.run(OPENNRT, 'sysfs', '--snapshot', site.tmp.name + '/c', 'neuron0', 'neuron0', code=2)


def may_mount():
    """Asks the kernel: a FUSE mount that nobody serves."""
    folder = os.path.join('/tmp', 'opennrt-fuse-%d' % os.getpid())
    try:
        fd = os.open('/dev/fuse', os.O_RDWR)
    except OSError:
        return False
    os.mkdir(folder)
    try:
        options = b'fd=%d,rootmode=40000,user_id=%d,group_id=%d' % (fd, os.getuid(), os.getgid())
        if LIBC.mount(b'probe', folder.encode(), b'fuse', 0, options) != 0:
            return False
        LIBC.umount2(folder.encode(), 2)
        return True
    finally:
        os.close(fd)
        os.rmdir(folder)


if MODE == 'mount' and not may_mount():
    print('NOT RUN: this host forbids a FUSE mount')
    sys.exit(77)
the_rng = random.Random(seed_take())
check_words()
constants()
levels(the_rng, 'trn1.2xlarge', 2, 2)
if MODE == 'mount':
    levels(the_rng, 'inf2.24xlarge', 2, 12)
with setup('sysfsr', 'trn1.2xlarge', 2) as the_site:
    real(the_site)
comes_and_goes()
if MODE == 'snapshot':
    words()
else:
    only_values_change()
