#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""nccom-test on the software device: every operation between 2, 4 and 8 ranks, verified by the tool and
here; every option's effect; what goes wrong and how it is said (docs/spec/collectives.md 16).

usage: test_nccom.py NCCOM_TEST OPENNRT docs/nccom-test.md [port_probe.so]"""
import glob
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from proves import proves  # noqa: E402

TOOL, OPENNRT, PAGE = map(os.path.abspath, sys.argv[1:4])
HERE = tempfile.TemporaryDirectory()
ENV = dict(os.environ, OPENNRT_INSTANCE='nccom%d' % os.getpid(), OPENNRT_INSTANCE_TYPE='trn1.32xlarge',
           TMPDIR=HERE.name, NEURON_RT_EXEC_TIMEOUT='120')  # only a hang reaches it
for name in ('NEURON_LOGICAL_NC_CONFIG', 'NEURON_RT_ROOT_COMM_ID', 'NEURON_RT_NUM_CORES',
             'NEURON_RT_VISIBLE_CORES'):
    ENV.pop(name, None)
NAMES = {'allr': 'all_reduce', 'allg': 'all_gather', 'redsct': 'reduce_scatter', 'sendrecv': 'sendrecv',
         'alltoall': 'alltoall', 'permute': 'permute'}
FACTOR = {'allr': lambda r: 2 * (r - 1) / r, 'allg': lambda r: (r - 1) / r, 'redsct': lambda r: (r - 1) / r,
          'alltoall': lambda r: (r - 1) / r, 'sendrecv': lambda r: 1, 'permute': lambda r: 1}


def run(*args, code=0, **env):
    """Standard output and error."""
    r = subprocess.run([TOOL, *map(str, args)], env=dict(ENV, **env), stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    if r.returncode != code:
        for log in logs():
            print(open(log).read(), file=sys.stderr)
        sys.exit('%s: exit code %d\n%s%s' % (args, r.returncode, r.stdout, r.stderr))
    return r.stdout, r.stderr


def logs():
    return glob.glob(HERE.name + '/nccom_test_log_*.log')


def blocks(text):
    """Each table: header, rows of cells, average."""
    found = []
    for line in text.splitlines():
        if 'size(B)' in line:
            found.append([line.split(), [], None])
        elif line.startswith('Avg bus bandwidth:'):
            found[-1][2] = float(re.fullmatch(r'Avg bus bandwidth:\t(\d+\.\d{4})GB/s', line).group(1))
        else:
            found[-1][1].append(line.split())
    return found


def file(name, content):
    path = os.path.join(HERE.name, name)
    with open(path, 'w') as f:
        f.write(content if isinstance(content, str) else json.dumps(content))
    return path


# ---- operations ----

def operations():
    """All fixed-size operations, three sizes, several types: the tool verifies, the columns fit each other."""
    types = {2: 'fp32', 4: 'bf16', 8: 'int8'}
    size = {'fp32': 4, 'bf16': 2, 'int8': 1}
    for ranks, dtype in types.items():
        for short in NAMES:
            json_path = os.path.join(HERE.name, 'r.json')
            out, _ = run('-r', ranks, '-b', '64', '-e', '1mb', '-f', '128', '-n', 4, '-w', 1, '-d', dtype,
                         '--check', short, '--report-to-json-file', json_path)
            head, rows, avg = blocks(out)[0]
            assert head == ['size(B)', 'count(elems)', 'type', 'time:avg(us)', 'algbw(GB/s)', 'busbw(GB/s)']
            assert [int(r[0]) for r in rows] == [64, 8192, 1048576], rows
            report = json.load(open(json_path))['results']
            for cells, r in zip(rows, report):
                assert int(cells[1]) * size[dtype] == int(cells[0]) and cells[2] == dtype
                assert r['size(B)'] == int(cells[0]) and float(cells[3]) == r['time:avg(us)'] > 0
                assert abs(r['busbw(GB/s)'] - r['algbw(GB/s)'] * FACTOR[short](ranks)) < 1e-9
                # the time is rounded to two decimals, the bandwidth is of the unrounded one
                slack = r['algbw(GB/s)'] * (0.006 / r['time:avg(us)'] + 1e-9) + 1e-9
                assert abs(r['algbw(GB/s)'] - r['size(B)'] / r['time:avg(us)'] / 1e3) <= slack, r
            assert abs(avg - sum(r['busbw(GB/s)'] for r in report) / 3) < 1e-4
    assert run('-r', 2, '-b', 64, '-e', 64, '-c', 'all_reduce')[0].count('\n') == 3
    for line in ('tool-060', 'tool-061', 'tool-063', 'tool-064', 'tool-065', 'tool-067', 'tool-068', 'tool-116'):
        proves(line)
    proves('tool-094')


def every_type_and_all_ones():
    for dtype in 'uint8 int8 fp8 uint16 int16 fp16 bf16 uint32 int32 fp32'.split():
        run('-r', 4, '-b', 96, '-e', 96, '-n', 2, '-w', 0, '-d', dtype, '-c', 'all_ones', 'allr')
        run('-r', 4, '-b', 96, '-e', 96, '-n', 2, '-w', 0, '-d', dtype, '-c', 'random', 'redsct')
    proves('tool-117')
    proves('tool-079')


def saved(log, what):
    """Bytes of an .npy file that a failed check left."""
    data = open(re.search(r': %s of operation 0 saved as (\S+)' % what, log).group(1), 'rb').read()
    return data[10 + struct.unpack('<H', data[8:10])[0]:]


def gathered(dim, shape):
    """all_gather of 4 x 4 bytes of 4 ranks in SBUF, put together here from what each rank had."""
    inputs, outputs = [], []
    for rank in range(4):   # a check that fails saves the tensors; only byte 0 of the output is damaged
        out, _ = run('-r', 4, '-b', 64, '-e', 64, '-n', 1, '-w', 0, '-c', '--seed', 7, '--sb2sb', '--cc-dim', dim,
                     '--input-shape', '[1,1][4,4]', '--output-shape', shape, 'allg', code=1,
                     NCCOM_TEST_CORRUPT=str(rank))
        log = open(re.search(r'log file (\S+)', out).group(1)).read()
        inputs.append(saved(log, 'input'))
        outputs.append(saved(log, 'output'))
    cols, rows = map(int, re.fullmatch(r'\[1,1\]\[(\d+),(\d+)\]', shape).groups())
    below = 1 if dim == 0 else rows // 4    # blocks one below the other, before the next to the right
    want = bytes(inputs[col // 4 * below + row // 4][row % 4 * 4 + col % 4] for row in range(rows)
                 for col in range(cols))
    assert len(set(inputs)) == 4
    for got in outputs:
        assert got[1:] == want[1:] and got[0] != want[0], (dim, shape, got, want)


def tensors_in_sbuf():
    """The tool verifies every element of both tensors; the default shapes, given ones, with steps."""
    for op, ranks, dtype in (('allr', 2, 'fp32'), ('allg', 3, 'bf16'), ('redsct', 4, 'int8')):
        out, _ = run('-r', ranks, '-b', 768, '-e', '48kb', '-f', 64, '-n', 4, '-w', 1, '-d', dtype, '-c', '--sb2sb', op)
        assert [int(r[0]) for r in blocks(out)[0][1]] == [768, 49152], out
    run('-r', 4, '-b', 4096, '-e', 4096, '-n', 4, '-d', 'int32', '-c', '--sb2sb', '--unique-buff', 'allr')
    proves('tool-099')
    small = ('-b', 4096, '-e', 4096, '-n', 4, '-d', 'bf16', '-c', '--sb2sb')
    run('-r', 4, *small, '--input-shape', '[2,3][16,32]', 'allg')
    run('-r', 4, *small, '--input-shape', '[1,1][64,32]', 'redsct')
    run('-r', 4, *small, '--input-shape', '[1,2][32,64]', 'allr')
    proves('tool-100')
    run('-r', 4, *small, '--output-shape', '[3,1][32,64]', 'allg')
    run('-r', 4, *small, '--input-shape', '[2,1][64,32]', '--output-shape', '[1,4][16,32]', 'redsct')
    run('-r', 4, *small, '--input-shape', '[1,1][16,32]', '--output-shape', '[1,2][32,64]', 'allg')
    proves('tool-101')
    # ranks that are in no group: their tensors stay as they were
    groups = file('one.json', {'replica_groups': [[[2, 0]]]})
    run('-r', 3, *small, '--custom-replica-groups', groups, 'allg')
    for dim, shape in ((0, '[1,1][16,4]'), (1, '[1,1][8,8]')):
        gathered(dim, shape)
    for dim in (0, 1):
        run('-r', 4, '-b', 64, '-e', 64, '-n', 2, '-c', '--sb2sb', '--cc-dim', dim, '--input-shape', '[1,1][4,4]',
            'allg')
    proves('tool-102')
    out, _ = run('-r', 2, *small, 'allr', code=1, NCCOM_TEST_CORRUPT='1')
    assert 'rank 1: check failed: stream 0 all_reduce' in open(re.search(r'log file (\S+)', out).group(1)).read()
    out, _ = run('-r', 2, '-b', '32mb', '-e', '32mb', '-n', 1, '--sb2sb', 'allr', code=1)
    log = open(re.search(r'log file (\S+)', out).group(1)).read()
    assert '--sb2sb: the tensors need 524288 bytes of each partition, SBUF has 196608' in log, log
    both = file('both.json', {'streams': [{'operation': 'allg', 'minbytes': '4kb', 'maxbytes': '4kb', 'sb2sb': 'true'},
                                          {'operation': 'allr', 'minbytes': '1kb', 'maxbytes': '1kb'},
                                          {'operation': 'redsct', 'minbytes': '64', 'maxbytes': '64',
                                           'sb2sb': 'true'}]})
    run('-r', 2, '-d', 'fp32', '-n', 4, '-c', '--streams-json', both)


def variable_sizes():
    """The guide's examples; entries for each rank, with displacements of the receivers; equal blocks."""
    allgv = file('allgv.json', {'metadata': [{'send_counts': [256], 'send_displs': [0], 'recv_counts': [256] * 4,
                                              'recv_displs': [0, 256, 512, 768]}]})
    head, rows, _ = blocks(run('allgv', '-r', 4, '-N', 1, '-b', 2048, '-e', 2048, '-d', 'fp16', '-c',
                               '--variable-size-op-metadata', allgv, '--show-algorithm')[0])[0]
    assert rows[0][:3] == ['2048', '1024', 'fp16'] and rows[0][-1] == 'mesh', rows
    proves('tool-062')
    alltoallv = file('alltoallv.json', {'metadata': [{'send_counts': [512, 1024], 'send_displs': [0, 512],
                                                      'recv_counts': [], 'recv_displs': []}]})
    head, rows, _ = blocks(run('-r', 2, '-d', 'fp32', 'alltoallv', '-b', '1MB', '-e', '1MB', '-n', 4, '-c',
                               '--variable-size-op-metadata', alltoallv)[0])[0]
    assert rows[0][:3] == ['1048608', '262152', 'fp32'], rows
    proves('tool-066')
    entries = file('each.json', {'metadata': [
        {'send_counts': [8, 16], 'send_displs': [0, 8]},
        {'send_counts': [24, 0], 'send_displs': [8, 40], 'recv_counts': [16, 0], 'recv_displs': [40, 0]}]})
    run('-r', 2, '-d', 'uint8', 'alltoallv', '-b', 24, '-e', 2400, '-f', 10, '-n', 4, '-c',
        '--variable-size-op-metadata', entries)
    proves('tool-084')
    run('-r', 4, '-d', 'int16', 'alltoallv', '-b', 3200, '-e', 3200, '-n', 4, '-c')
    run('-r', 8, '-d', 'int16', 'all_gatherv', '-b', 3200, '-e', 3200, '-n', 4, '-c', '--data-parallel-dimension', 4)
    out, _ = run('-r', 2, '-d', 'fp32', 'alltoallv', '-b', '4k', '-e', '4k', '-n', 4, '-c', code=1,
                 NCCOM_TEST_CORRUPT='1')
    assert 'rank 1: check failed: stream 0 alltoallv' in open(re.search(r'log file (\S+)', out).group(1)).read()
    entries = file('bad.json', {'metadata': [{'send_counts': [8, 16], 'send_displs': [0, 8], 'recv_counts': [8, 15],
                                              'recv_displs': [0, 8]}]})
    assert 'receives 15 from rank 1, which sends 8' in run(
        '-r', 2, 'alltoallv', '--variable-size-op-metadata', entries, code=2)[1]


def logical_cores_of_two():
    """A NEFF for LNC 2 has two programs."""
    env = dict(OPENNRT_INSTANCE=ENV['OPENNRT_INSTANCE'] + 'l', OPENNRT_INSTANCE_TYPE='trn2.48xlarge')
    run('-r', 4, '-b', 4096, '-e', 4096, '-d', 'fp32', '-c', 'allr', **env)
    subprocess.run([OPENNRT, 'reset'], env=dict(ENV, **env), check=True, stdout=subprocess.DEVNULL)


# ---- options ----

def npy(path):
    data = open(path, 'rb').read()
    return data[10 + struct.unpack('<H', data[8:10])[0]:]


def corruption_is_caught():
    """One byte of one rank's output, on the device: the row fails, tensors are saved, and they differ there."""
    for mode in ('random', 'all_ones'):
        out, _ = run('-r', 4, '-b', '64k', '-e', '64k', '-n', 4, '-d', 'fp32', '--seed', 5, '--check', mode,
                     'allg', code=1, NCCOM_TEST_CORRUPT='2')
        m = re.fullmatch(r'size\(B\)    count\(elems\)    type    time:avg\(us\)    algbw\(GB/s\)    busbw\(GB/s\)\n'
                         r'  65536    Failure running neuron-bench - log file (\S+)\n'
                         r'1 errors found - test failed\n', out)
        assert m, out
        log = open(m.group(1)).read()
        assert ', seed 5\n' in log.splitlines(True)[0], log
        assert 'rank 2: check failed: stream 0 all_gather, operation 0, tensor 0: 1 of 16384 elements' in log, log
        saved = sorted(glob.glob(m.group(1)[:-4] + '_check/*'))
        if mode == 'random':
            assert [os.path.basename(p) for p in saved] == [
                'rank2_stream0_op0_part0_%s.npy' % s for s in ('golden', 'input', 'output')], saved
            golden, inp, output = map(npy, saved)
            assert len(golden) == len(output) == 65536 and len(inp) == 16384
            assert [i for i in range(65536) if golden[i] != output[i]] == [3]
            assert output[32768:49152] == inp
        else:
            assert saved == []
    proves('tool-114')
    proves('tool-080')


def tensors_of_operations():
    common = ['-r', 4, '-n', 6, '-w', 2, '-d', 'fp32', '-c', '-b', '64k', '-e', '64k', '--show-input-output-size']
    head, rows, _ = blocks(run(*common, '--coalesced-cc-size-ratio', '[1,2,1]', 'allg')[0])[0]
    assert head[2:4] == ['total_input_size(B)', 'total_output_size(B)']
    assert rows[0][2:4] == ['16384', '65536'], rows
    run(*common, '--unique-buff', '--coalesced-cc-size-ratio', '[1,3]', 'redsct')
    proves('tool-081')
    proves('tool-082')
    env = dict(OPENNRT_INSTANCE=ENV['OPENNRT_INSTANCE'] + 's', OPENNRT_INSTANCE_TYPE='trn2.48xlarge',
               NEURON_LOGICAL_NC_CONFIG='1')
    run(*common, '--shared-output-buff', 'allg', **env)
    run(*common, '--shared-output-buff', '--unique-buff', 'allr', **env)
    proves('tool-083')
    subprocess.run([OPENNRT, 'reset'], env=dict(ENV, **env), check=True, stdout=subprocess.DEVNULL)
    assert 'no two logical cores of trn1.32xlarge' in run(*common, '--shared-output-buff', 'allg', code=2)[1]


def groups_and_pairs():
    groups = file('g.json', {'replica_groups': [[[0, 1], [3, 2]], [[0, 2], [1, 3]]]})
    pairs = file('p.json', {'src_target_pairs': [[[0, 1], [1, 0], [2, 3], [3, 2]], [[0, 0], [2, 3], [3, 2]]]})
    common = ['-r', 4, '-n', 6, '-d', 'int32', '-c', '-b', '4k', '-e', '4k']
    for op in ('allr', 'allg', 'redsct', 'alltoall'):
        head, rows, _ = blocks(run(*common, '--custom-replica-groups', groups, '--show-input-output-size', op)[0])[0]
        want = {'allr': ['4096', '4096'], 'allg': ['2048', '4096'], 'redsct': ['4096', '2048'],
                'alltoall': ['4096', '4096']}[op]     # of groups of two
        assert rows[0][2:4] == want, (op, rows)
        run(*common, '--data-parallel-dimension', 2, op)
    proves('tool-104')
    proves('tool-103')
    run('-r', 32, '-n', 2, '-w', 0, '-b', 64, '-e', 64, '-c', '--data-parallel-dimension', 1, 'allr')   # 32 groups
    run(*common, '--custom-src-target-pairs', pairs, 'permute')
    proves('tool-105')
    assert 'rank 1 is in two places' in run(
        *common, '--custom-replica-groups', file('b.json', {'replica_groups': [[[0, 1], [1, 2]]]}), 'allr', code=2)[1]
    assert 'b.json:1:' in run(*common, '--custom-replica-groups', file('b.json', '{"replica_groups": [[['), 'allr',
                              code=2)[1]
    assert 'No such file' in run(*common, '--custom-replica-groups', '/nowhere', 'allr', code=2)[1]


def streams():
    """The guide's example on four ranks: one block a stream, a finished stream repeats its last size."""
    groups = file('g.json', {'replica_groups': [[[0, 1], [2, 3]]]})
    path = file('s.json', {'streams': [
        {'operation': 'all_reduce', 'datatype': 'bf16', 'stepfactor': 2, 'minbytes': '1KB', 'maxbytes': '4KB',
         'custom_replica_groups': groups},
        {'operation': 'allg', 'datatype': 'fp32', 'ops_per_iter': 2, 'minbytes': '1KB', 'maxbytes': '1KB'}]})
    report = os.path.join(HERE.name, 's_out.json')
    out, _ = run('allg', '-r', 4, '-c', '--streams-json', path, '--report-to-json-file', report)
    found = blocks(out)
    assert len(found) == 2
    assert [r[:3] for r in found[0][1]] == [['1024', '512', 'bf16'], ['2048', '1024', 'bf16'], ['4096', '2048', 'bf16']]
    assert [r[:3] for r in found[1][1]] == [['1024', '256', 'fp32']] * 3
    assert [r['stream'] for r in json.load(open(report))['results']] == [0, 0, 0, 1, 1, 1]
    proves('tool-106')
    proves('tool-119')
    assert 'more than 4 streams' in run('allg', '-r', 4, '--streams-json', file('s5.json', {'streams': [{}] * 5}),
                                        code=2)[1]


def debug():
    """The runtime's log as it comes, and by which means it carries the operation out."""
    _, err = run('-r', 2, '-b', 64, '-e', 64, '--debug', 'allr')
    assert re.search(r'DEBUG +NRT:coll_plan_create +plan: all_reduce of 64 bytes between 2 ranks: mesh, ', err), err
    assert re.search(r'^nccom-test: stream 0: all_reduce of 64 bytes: mesh, (inline|direct|staged)$', err, re.M), err
    assert '[size ' not in err
    proves('tool-098')
    _, err = run('-r', 4, '-b', 64, '-e', 64, '--debug', '--vcpu-pin-mode', 'allr')
    cpus = sorted(os.sched_getaffinity(0))
    for rank in range(4):
        assert 'nccom-test: rank %d is on CPU %d\n' % (rank, cpus[rank % len(cpus)]) in err, err
    proves('tool-107')


def shown():
    head, rows, _ = blocks(run('-r', 2, '-b', '4k', '-e', '4k', '-n', 30, '-t', 'p0', 'avg', 'p100', '--gib',
                               '--show-algorithm', 'allg')[0].replace('GiB', 'GB'))[0]
    assert head[3:] == ['time:p0(us)', 'time:avg(us)', 'time:p100(us)', 'algbw(GB/s)', 'busbw(GB/s)', 'algorithm']
    assert int(rows[0][3]) <= float(rows[0][4]) + 0.5 and float(rows[0][4]) - 0.5 <= int(rows[0][5])
    assert rows[0][-1] == 'mesh', rows
    proves('tool-096')
    head, rows, _ = blocks(run('-r', 4, '--show-algorithm', '-b', '4k', '-e', '4k', 'permute', '--vcpu-pin-mode')[0])[0]
    assert rows[0][-1] == 'ring'
    proves('intra-019')


def progress():
    """On a terminal, and only there."""
    for quiet in (False, True):
        master, slave = pty.openpty()
        args = [TOOL, '-r', '2', '-b', '64', '-e', '64', 'allr'] + (['--non-interactive'] if quiet else [])
        p = subprocess.Popen(args, env=ENV, stdout=subprocess.DEVNULL, stderr=slave, stdin=subprocess.DEVNULL)
        os.close(slave)
        seen = b''
        while True:
            try:
                more = os.read(master, 4096)
            except OSError:     # the other side is closed
                break
            if not more:
                break
            seen += more
        os.close(master)
        assert p.wait() == 0
        assert (b'\r[size 1 of 1]' in seen) != quiet, seen
    proves('tool-093')


# ---- what goes wrong ----

def hosts_of_the_user():
    """~/hosts, where no other hosts are given; nobody has to have one."""
    home = os.path.join(HERE.name, 'home')
    os.mkdir(home)
    for lines, said in ((None, '2 nodes need 2 hosts, 0 are given: --hosts, --hosts-file or ~/hosts'),
                        ('# mine\n\na\n', '2 nodes need 2 hosts, 1 are given'),
                        ('a\n  # no host\nb slots=1\n', 'several nodes need NEURON_RT_ROOT_COMM_ID=')):
        if lines is not None:
            with open(os.path.join(home, 'hosts'), 'w') as f:
                f.write(lines)
        _, err = run('-r', 2, '-N', 2, 'allr', code=1, HOME=home)
        assert said in err, (lines, err)
    _, err = run('-r', 2, '-N', 2, 'allr', '--hosts', 'a', code=1, HOME=home)
    assert '2 nodes need 2 hosts, 1 are given' in err, err      # it adds none to those


def wrong_command_lines():
    for args, text in (
            ((), '-r/--nworkers is required'), (('-r', 2), 'no operation given'),
            (('-r', 64, 'allr'), '64 ranks on a node, but trn1.32xlarge has 32 logical cores'),
            (('-r', 4, '-b', 100, '-e', 100, 'alltoall', '-d', 'fp32'),
             'alltoall: 100 bytes are not a multiple of 4 ranks of 4 bytes (fp32)'),
            (('-r', 2, '--sb2sb', 'alltoall'), '--sb2sb is for all_reduce, all_gather and reduce_scatter'),
            (('-r', 2, '--sb2sb', '--coalesced-cc-size-ratio', '[1,1]', 'allr'), 'not for --sb2sb'),
            (('-r', 2, '--sb2sb', '--cc-dim', 0, 'redsct'), '--cc-dim 0 is for all_gather'),
            (('-r', 2, '--sb2sb', '--cc-dim', 2, 'allg'), '--cc-dim: "2" is not a number from 0 to 1'),
            (('-r', 2, '--input-shape', '[1,1][8,8]', 'allr'), 'is for --sb2sb'),
            (('-r', 2, '-b', 64, '-e', 64, '--sb2sb', '--input-shape', '[1,1][8,9]', 'allr'),
             '--input-shape: 8 x 9 elements are not the 64 of the tensor'),
            (('-r', 2, '-b', 256, '-e', 256, '--sb2sb', '--output-shape', '[1,1][1,256]', 'allr'),
             '--output-shape: more than 128 partitions'),
            (('-r', 2, '-b', 64, '-e', 64, '--sb2sb', '--input-shape', '[0,1][8,8]', 'allr'),
             '--input-shape: a step of 0'),
            (('-r', 2, '-b', 64, '-e', 64, '--sb2sb', '--input-shape', '[1,1][8]', 'allr'), 'is not a shape'),
            (('-r', 4, '-b', 64, '-e', 64, '--sb2sb', '--input-shape', '[1,1][8,2]', '--output-shape',
              '[1,1][16,4]', '--cc-dim', 0, 'allg'), 'do not make 4 partitions (--cc-dim 0)'),
            (('-r', 4, '-b', 60, '-e', 60, '--sb2sb', '--input-shape', '[1,1][3,5]', '--output-shape',
              '[1,1][4,15]', 'allg'), '4 ranks of 5 partitions each do not make 15 partitions'),
            (('-r', 2, '-N', 2, 'allr', '--hosts', 'a'), '2 nodes need 2 hosts, 1 are given')):
        out, err = run(*args, code=1 if 'hosts' in text else 2)
        assert out == '' and text in err, (args, err)
    out, err = run('-r', 2, '-N', 2, 'allr', '--hosts', 'a', 'b', code=1)
    assert 'several nodes need NEURON_RT_ROOT_COMM_ID=' in err, err
    hosts_of_the_user()
    out, err = run('-r', 2, '-N', 2, 'allr', code=2, OPENNRT_INSTANCE=ENV['OPENNRT_INSTANCE'] + 'i',
                   OPENNRT_INSTANCE_TYPE='inf2.48xlarge')
    assert 'not supported on Inf2' in err, err
    out, err = run('-r', 2, 'allr', code=1, OPENNRT_INSTANCE_TYPE='none')
    assert out.startswith('Neuron DKMS Driver is not running! Read the troubleshooting guide at: '), out
    assert out.count('\n') == 1 and err == ''
    proves('tool-115')
    assert run('--help')[0].startswith('usage: nccom-test [options] <operation>')
    assert run('--version')[0].startswith('nccom-test ')


def a_run_that_fails():
    """Ranks that cannot meet: every size fails, each with a log, and the next one is tried."""
    out, _ = run('-r', 2, '-b', 64, '-e', 128, '-f', 2, 'allr', code=1, NEURON_RT_ROOT_COMM_ID='nonsense')
    rows = re.findall(r'^ *(\d+)    Failure running neuron-bench - log file (\S+)$', out, re.M)
    assert [r[0] for r in rows] == ['64', '128'] and out.endswith('\n2 errors found - test failed\n'), out
    assert 'Avg bus bandwidth' not in out
    assert 'NEURON_RT_ROOT_COMM_ID' in open(rows[0][1]).read()
    # another host's address: rank 0 cannot listen there, and nobody waits for it until a limit that none reaches
    out, _ = run('-r', 2, '-b', 64, '-e', 64, 'allr', code=1, NEURON_RT_ROOT_COMM_ID='203.0.113.1:4000',
                 NEURON_RT_EXEC_TIMEOUT='1000000')
    log = open(re.search(r'log file (\S+)$', out, re.M).group(1)).read()
    assert 'rank 0 failed' in log and '203.0.113.1' in log, log


def the_port_of_rank_0():
    """Which nccom-test chooses: nobody else can have it when rank 0 begins to listen there."""
    probe, said = os.path.abspath(sys.argv[4]), os.path.join(HERE.name, 'port')
    run('-r', 2, '-b', 64, '-e', 64, '-n', 2, '-w', 1, 'allr', LD_PRELOAD=probe, PORT_PROBE=said)
    looks = open(said).read().split()
    assert looks and set(looks) == {'taken'}, looks


# ---- the page ----

def shape(text):
    """Without what differs between machines: figures, and so the widths of columns."""
    return [' '.join(re.sub(r'\d+\.\d+', '#', line).split()) for line in text.splitlines()]


def examples_of_the_page():
    """The examples of docs/nccom-test.md, on the instance that a user gets who has set nothing."""
    env = dict(ENV, OPENNRT_INSTANCE=ENV['OPENNRT_INSTANCE'] + 'd')
    env.pop('OPENNRT_INSTANCE_TYPE')
    found = re.findall(r'^```\n\$ nccom-test (.*)\n((?:.*\n)*?)```$', open(PAGE, encoding='utf-8').read(), re.M)
    assert found
    for args, wanted in found:
        r = subprocess.run([TOOL, *args.split()], env=env, stdout=subprocess.PIPE, text=True)
        assert r.returncode == 0 and shape(r.stdout) == shape(wanted), (args, r.stdout)
    subprocess.run([OPENNRT, 'reset'], env=env, check=True, stdout=subprocess.DEVNULL)


def main():
    try:
        for part in (operations, every_type_and_all_ones, tensors_in_sbuf, variable_sizes, logical_cores_of_two,
                     corruption_is_caught, tensors_of_operations, groups_and_pairs, streams, debug, shown, progress,
                     wrong_command_lines, a_run_that_fails, *[the_port_of_rank_0] * (len(sys.argv) > 4),
                     examples_of_the_page):
            part()
            print('ok', part.__name__, flush=True)
    finally:
        subprocess.run([OPENNRT, 'reset'], env=ENV, stdout=subprocess.DEVNULL)
        HERE.cleanup()


main()
