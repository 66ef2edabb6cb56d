# SPDX-License-Identifier: Apache-2.0
"""Two processes, a core each, whose NIXL agents write and read each other's device memory by the UCX backend.

    nixl_peers.py LIBNRT

The memory is what nrt_tensor_get_va gives, registered as DRAM: NIXL's UCX takes VRAM for memory of a GPU."""
import ctypes
import multiprocessing
import os
import sys

SIZES = (1, 64, 4096, 100001, 16 << 20)
PLACEMENT_DEVICE = 0
FRAMEWORK_NONE = 1


def content(size, rank):
    return (bytes((i * 7 + rank + size) & 255 for i in range(256)) * (size // 256 + 1))[:size]


class Tensor:
    """Device memory of core 0 of this process."""

    def __init__(self, nrt, size):
        self.nrt, self.handle = nrt, ctypes.c_void_p()
        size = ctypes.c_size_t(size)
        assert nrt.nrt_tensor_allocate(PLACEMENT_DEVICE, 0, size, b't', ctypes.byref(self.handle)) == 0
        self.va = nrt.nrt_tensor_get_va(self.handle)
        assert self.va

    def write(self, data):
        assert self.nrt.nrt_tensor_write(self.handle, data, ctypes.c_size_t(0), ctypes.c_size_t(len(data))) == 0

    def read(self, size):
        data = ctypes.create_string_buffer(size)
        assert self.nrt.nrt_tensor_read(self.handle, data, ctypes.c_size_t(0), ctypes.c_size_t(size)) == 0
        return data.raw


def transfer(nixl, agent, op, ends, size, other):
    lists = []
    for va in ends:
        lists.append(nixl.nixlXferDList(nixl.DRAM_SEG))
        lists[-1].addDesc((va, size, 0))
    request = agent.createXferReq(op, *lists, other)
    status = agent.postXferReq(request)
    while status != nixl.NIXL_SUCCESS:
        assert status == nixl.NIXL_IN_PROG, status
        status = agent.getXferStatus(request)
    agent.releaseXferReq(request)


def peer(rank, pipe, lib):
    from nixl_cu12 import _bindings as nixl

    os.environ['NEURON_RT_VISIBLE_CORES'] = str(rank)
    nrt = ctypes.CDLL(lib)
    nrt.nrt_tensor_get_va.restype = ctypes.c_void_p
    assert nrt.nrt_init(FRAMEWORK_NONE, b'', b'') == 0
    agent = nixl.nixlAgent('peer%d' % rank, nixl.nixlAgentConfig(True))
    backend = agent.createBackend('UCX', {})
    out, into = Tensor(nrt, max(SIZES)), Tensor(nrt, max(SIZES))
    registered = nixl.nixlRegDList(nixl.DRAM_SEG)
    for t in (out, into):
        registered.addDesc((t.va, max(SIZES), 0, ''))
    assert agent.registerMem(registered, [backend]) == nixl.NIXL_SUCCESS
    pipe.send((agent.getLocalMD(), out.va, into.va))
    metadata, their_out, their_into = pipe.recv()
    other = agent.loadRemoteMD(metadata).decode()

    def together():
        pipe.send(None)
        pipe.recv()

    for size in SIZES:
        for op, ends in ((nixl.NIXL_WRITE, (out.va, their_into)), (nixl.NIXL_READ, (into.va, their_out))):
            into.write(bytes(size))
            out.write(content(size, rank))
            together()
            transfer(nixl, agent, op, ends, size, other)
            together()
            assert into.read(size) == content(size, 1 - rank), (size, op)
            together()
    assert agent.deregisterMem(registered, [backend]) == nixl.NIXL_SUCCESS
    together()
    nrt.nrt_close()
    print('peer %d: %d sizes written and read' % (rank, len(SIZES)), flush=True)
    os._exit(0)  # the exit handlers of a library in NIXL 1.5.1's wheel crash, without libnrt too


def main():
    context = multiprocessing.get_context('spawn')
    ends = context.Pipe()
    peers = [context.Process(target=peer, args=(rank, ends[rank], sys.argv[1])) for rank in range(2)]
    for p in peers:
        p.start()
    for end in ends:
        end.close()  # so that a peer whose other one died ends too
    for p in peers:
        p.join()
    sys.exit(any(p.exitcode for p in peers))


if __name__ == '__main__':
    main()
