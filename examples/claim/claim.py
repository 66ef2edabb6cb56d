#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Eight processes that share the devices of an instance, as a scheduler's jobs do: each looks with `neuron-ls -j` which
devices nobody has, claims a run of them by starting the runtime on their cores, works, and gives them back. Looking is only a
hint, since others look at the same time; the claim decides, and who is refused looks again.

That no core is ever owned twice is checked without the runtime: an owner holds a lock file for each of its cores. And a
core comes clean: its account shows no byte of the owner before.

usage: claim.py [--neuron-ls PROGRAM] [--lib LIBNRT] [--processes 8] [--claims 10] [--seed N]
OPENNRT_INSTANCE names the instance; it needs at least one device."""
import argparse
import ctypes
import fcntl
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time

NRT_RESOURCE = 4
PATIENCE = 300  # seconds that a process waits for the others


def devices(neuron_ls):
    """Of each device, in order: its cores and the processes that own some of them."""
    rows = json.loads(subprocess.run([neuron_ls, '-j'], check=True, capture_output=True, text=True).stdout)
    return [(row['neuroncore_ids'], [p['pid'] for p in row['neuron_processes']]) for row in rows]


def free_runs(table, want):
    """First devices of all runs of so many that nobody has."""
    free = [not pids for _, pids in table]
    return [i for i in range(len(table) - want + 1) if all(free[i:i + want])]


class Job:
    def __init__(self, number, args, folder, barrier, ret):
        self.args, self.folder, self.barrier, self.ret = args, folder, barrier, ret
        self.random = random.Random(args.seed * 1000 + number)
        self.nrt = ctypes.CDLL(args.lib)
        self.locks = []
        self.claims = self.refused = self.waits = 0

    def claim(self, cores):
        """Whether the runtime gave them to this process."""
        os.environ['NEURON_RT_VISIBLE_CORES'] = '%d-%d' % (cores[0], cores[-1])
        status = self.nrt.nrt_init(1, b'', b'')
        if status == NRT_RESOURCE:
            self.refused += 1
            return False
        assert status == 0, status
        for core in cores:  # locked by somebody: the core has two owners
            f = open(os.path.join(self.folder, str(core)), 'w', encoding='ascii')
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.locks.append(f)
        self.claims += 1
        return True

    def release(self):
        for f in self.locks:
            f.close()
        self.locks = []
        self.nrt.nrt_close()

    def work(self, table, first, want):
        """What only an owner can see: the devices are its own, the cores are empty, and it may fill them."""
        stats, size = (ctypes.c_size_t * 2)(), ctypes.c_size_t()
        cores = sum(len(table[first + i][0]) for i in range(want))
        for vnc in range(cores):
            assert self.nrt.nrt_get_vnc_memory_stats(vnc, stats, ctypes.c_size_t(ctypes.sizeof(stats)),
                                                     ctypes.byref(size)) == 0
            assert stats[0] == 0, 'core %d holds %d bytes of somebody else' % (vnc, stats[0])
            tensor = ctypes.c_void_p()
            assert self.nrt.nrt_tensor_allocate(0, vnc, ctypes.c_size_t(1 << 20), b't', ctypes.byref(tensor)) == 0
        for _, pids in devices(self.args.neuron_ls)[first:first + want]:
            assert pids == [os.getpid()], pids

    def all_for_one(self):
        """Everybody has seen the same free device: exactly one gets it, and the others are refused."""
        table = devices(self.args.neuron_ls)
        self.barrier.wait(PATIENCE)
        mine = self.claim(table[0][0])
        if mine:
            self.work(table, 0, 1)
        self.barrier.wait(PATIENCE)
        if mine:
            self.release()
        self.barrier.wait(PATIENCE)

    def run(self):
        self.all_for_one()
        won = self.claims
        while self.claims < self.args.claims + won:
            table = devices(self.args.neuron_ls)
            want = self.random.randint(1, max(1, len(table) // 4))
            runs = free_runs(table, want)
            if not runs:
                self.waits += 1
                time.sleep(self.random.uniform(0, 0.01))
                continue
            first = self.random.choice(runs)
            if self.claim([c for cores, _ in table[first:first + want] for c in cores]):
                self.work(table, first, want)
                self.release()
        self.ret.put((won, self.claims, self.refused, self.waits))


def job(*args):
    Job(*args).run()


def main():
    p = argparse.ArgumentParser(description='Processes that claim cores of an instance under contention.')
    p.add_argument('--neuron-ls', default='neuron-ls')
    p.add_argument('--lib', default='libnrt.so.1')
    p.add_argument('--processes', type=int, default=8)
    p.add_argument('--claims', type=int, default=10)
    p.add_argument('--seed', type=int, default=random.randrange(1 << 30))
    args = p.parse_args()
    os.environ.setdefault('NEURON_RT_LOG_LOCATION', os.devnull)  # a refusal is an error to the runtime
    print('seed %d' % args.seed, flush=True)
    context = multiprocessing.get_context('fork')
    barrier, ret = context.Barrier(args.processes), context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        jobs = [context.Process(target=job, args=(i, args, folder, barrier, ret)) for i in range(args.processes)]
        for j in jobs:
            j.start()
        for j in jobs:
            j.join()
        if any(j.exitcode != 0 for j in jobs):
            sys.exit('a process failed: exit codes %s' % [j.exitcode for j in jobs])
        told = [ret.get() for _ in jobs]
        won, claims, refused, waits = (sum(column) for column in zip(*told))
    if won != 1 or any(pids for _, pids in devices(args.neuron_ls)):
        sys.exit('%d processes got the one device, or one has kept some' % won)
    print('%d processes, %d claims, %d refused, %d found no room; no core was owned twice'
          % (args.processes, claims, refused, waits))


if __name__ == '__main__':
    main()
