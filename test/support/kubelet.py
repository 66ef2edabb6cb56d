# SPDX-License-Identifier: Apache-2.0
"""A kubelet as far as its PodResources service goes: a gRPC server on a Unix socket. What it answers is put together from the
field numbers of the published podresources/v1 interface, with no protobuf library, and with fields a reader has no use for."""
from concurrent import futures

import grpc


def varint(n):
    out = b''
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    """A text or a message."""
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def container(name, *devices):
    """devices: (resource name, ids)."""
    out = field(1, name)
    for resource, ids in devices:
        topology = field(1, varint(1 << 3) + varint(1))  # nodes { id: 1 }
        out += field(2, field(1, resource) + b''.join(field(2, i) for i in ids) + field(3, topology))
    return out + field(3, varint(5) + varint(600)) + field(4, field(1, 'memory') + varint(2 << 3) + varint(1 << 33))


def pod(namespace, name, *containers):
    return field(1, field(1, name) + field(2, namespace) + b''.join(field(3, c) for c in containers))


class Kubelet:
    """answer: bytes, or a grpc.StatusCode to fail with; may change at any time. asked: how often it was."""

    def __init__(self, path, answer=b''):
        self.answer, self.asked = answer, 0
        self.server = grpc.server(futures.ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(self.list)  # without serializers: bytes as they are
        self.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler('v1.PodResourcesLister', {'List': handler})])
        assert self.server.add_insecure_port('unix:' + path)
        self.server.start()

    def list(self, request, context):
        assert request == b''
        self.asked += 1
        if isinstance(self.answer, grpc.StatusCode):
            context.abort(self.answer, 'as the test wants it')
        return self.answer

    def stop(self):
        self.server.stop(None).wait()
