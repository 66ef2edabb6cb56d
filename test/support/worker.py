#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A process with a runtime, for the tests of tools: it does what it is told on its standard input and answers each
line with "ok" or "failed STATUS".

usage: worker.py LIBNRT NEFF      (a NEFF with the inputs a and b and the output c, of 4096 bytes each)

load VNC     load the NEFF; memory VNC     bytes the account shows for the core ("ok BYTES")
join VNC RANK RANKS                         load it as a rank, with the others
run N        execute it N times; bad       execute it without its inputs
later N      leave N executions to the compute unit, one after the other, and wait for each
tensor VNC BYTES, host BYTES                allocate a tensor; touch VNC BYTES: one in HBM, written and freed
free         free the tensor allocated last; unload
fault ITEM   put a fault in force; struck   how many have struck ("ok COUNT"); calm     none is any more
begin ITEM   end the session, and begin one with this fault in the variable"""
import ctypes
import os
import sys

BYTES = 4096


class Worker:
    def __init__(self, lib, neff):
        self.nrt = ctypes.CDLL(lib)
        self.neff = open(neff, 'rb').read()
        self.tensors, self.model, self.sets = [], ctypes.c_void_p(), []
        self.must(self.nrt.nrt_init(1, b'', b''))

    @staticmethod
    def must(status):
        if status != 0:
            raise RuntimeError('failed %d' % status)

    def allocate(self, place, vnc, size):
        t = ctypes.c_void_p()
        self.must(self.nrt.nrt_tensor_allocate(place, vnc, ctypes.c_size_t(size), b't', ctypes.byref(t)))
        return t

    def load(self, vnc):
        self.must(self.nrt.nrt_load(self.neff, ctypes.c_size_t(len(self.neff)), int(vnc), 1, ctypes.byref(self.model)))
        self.make_sets(vnc)

    def join(self, vnc, rank, ranks):
        self.must(self.nrt.nrt_load_collectives(self.neff, ctypes.c_size_t(len(self.neff)), int(vnc), 1, int(rank),
                                                int(ranks), ctypes.byref(self.model)))
        self.make_sets(vnc)

    def make_sets(self, vnc):
        self.sets = []
        for names in ('ab', 'c', ''):
            s = ctypes.c_void_p()
            self.must(self.nrt.nrt_allocate_tensor_set(ctypes.byref(s)))
            for name in names:
                self.must(self.nrt.nrt_add_tensor_to_tensor_set(s, name.encode(), self.allocate(0, int(vnc), BYTES)))
            self.sets.append(s)

    def run(self, n):
        for _ in range(int(n)):
            self.must(self.nrt.nrt_execute(self.model, self.sets[0], self.sets[1]))

    def later(self, n):
        tracker, seq = ctypes.c_void_p(), ctypes.c_uint64()
        errors, count = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_size_t()
        self.must(self.nrt.nrta_error_tracker_create(0, ctypes.byref(tracker)))
        try:
            for _ in range(int(n)):
                self.must(self.nrt.nrta_execute_schedule(self.model, self.sets[0], self.sets[1], 0, tracker,
                                                         ctypes.byref(seq)))
                self.must(self.nrt.nrt_async_drain_queued_execs(-1))
                self.must(self.nrt.nrta_error_tracker_get_list(tracker, ctypes.byref(errors), ctypes.byref(count)))
                self.must(errors[1] if count.value else 0)
        finally:
            self.nrt.nrta_error_tracker_destroy(tracker)

    def bad(self):
        self.must(self.nrt.nrt_execute(self.model, self.sets[2], self.sets[1]))

    def tensor(self, vnc, size):
        self.tensors.append(self.allocate(0, int(vnc), int(size)))

    def touch(self, vnc, size):
        t = self.allocate(0, int(vnc), int(size))
        status = self.nrt.nrt_tensor_memset(t, ctypes.c_uint64(0), 1, ctypes.c_size_t(int(size)))
        self.nrt.nrt_tensor_free(ctypes.byref(t))
        self.must(status)

    def host(self, size):
        self.tensors.append(self.allocate(2, 0, int(size)))

    def free(self):
        t = self.tensors.pop()
        self.nrt.nrt_tensor_free(ctypes.byref(t))

    def unload(self):
        self.must(self.nrt.nrt_unload(self.model))

    def fault(self, item):
        self.must(self.nrt.opennrt_fault_add(item.encode()))

    def calm(self):
        self.must(self.nrt.opennrt_fault_clear())

    def begin(self, item):
        self.nrt.nrt_close()
        self.tensors, self.model, self.sets = [], ctypes.c_void_p(), [ctypes.c_void_p()] * 3
        os.environ['OPENNRT_FAULT'] = item
        self.must(self.nrt.nrt_init(1, b'', b''))

    def struck(self):
        n = ctypes.c_uint64()
        self.must(self.nrt.opennrt_fault_struck(ctypes.byref(n)))
        return n.value

    def memory(self, vnc):
        stats, size = (ctypes.c_size_t * 2)(), ctypes.c_size_t()
        self.must(self.nrt.nrt_get_vnc_memory_stats(int(vnc), stats, ctypes.c_size_t(ctypes.sizeof(stats)),
                                                    ctypes.byref(size)))
        return stats[0]


def main():
    worker = Worker(*sys.argv[1:3])
    print('ok', flush=True)
    for line in sys.stdin:
        word, *args = line.split()
        try:
            value = getattr(worker, word)(*args)
            print('ok' if value is None else 'ok %d' % value, flush=True)
        except RuntimeError as e:
            print(e, flush=True)


if __name__ == '__main__':
    main()
