#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Adds to the documents of neuron-monitor which pods and containers of this node have which cores and devices:

    neuron-monitor | neuron-monitor-prometheus.py --port 8000 --enable-k8s-info | neuron-monitor-k8s-info.py --period 15
    neuron-monitor | neuron-monitor-k8s-info.py

The kubelet knows, and tells it to local programs over its PodResources service (gRPC on a Unix socket). A thread asks it, so
that documents never wait for it; each answer goes into the next document. In the first form the answer is sent to
neuron-monitor-prometheus.py too, which listens at an address made of the pipe between the two. Needs grpcio and protobuf."""
import argparse
import json
import os
import queue
import socket
import stat
import struct
import sys
import threading
import time

NAME = 'neuron-monitor-k8s-info.py'
SOCKET = '/var/lib/kubelet/pod-resources/kubelet.sock'
METHOD = '/v1.PodResourcesLister/List'
PATIENCE = 10           # seconds that the kubelet may take
LARGEST = 16 << 20      # bytes of an answer, as the kubelet's own limit
CORE = 'aws.amazon.com/neuroncore'
DEVICES = ('aws.amazon.com/neuron', 'aws.amazon.com/neurondevice')
# Of the kubelet's podresources/v1 interface what is needed here: message, field, number, type (None: text), all repeated or single.
MESSAGES = {
    'ListPodResourcesRequest': [],
    'ListPodResourcesResponse': [('pod_resources', 1, 'PodResources', True)],
    'PodResources': [('name', 1, None, False), ('namespace', 2, None, False), ('containers', 3, 'ContainerResources', True)],
    'ContainerResources': [('name', 1, None, False), ('devices', 2, 'ContainerDevices', True)],
    'ContainerDevices': [('resource_name', 1, None, False), ('device_ids', 2, None, True)],
}


def message_classes():
    """Classes for the request and the response."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name='podresources.proto', package='v1', syntax='proto3')
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, type_, repeated in fields:
            message.field.add(name=field, number=number, label=kind.LABEL_REPEATED if repeated else kind.LABEL_OPTIONAL,
                              type=kind.TYPE_MESSAGE if type_ else kind.TYPE_STRING, type_name='.v1.' + type_ if type_ else None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    if hasattr(message_factory, 'GetMessageClass'):
        make = message_factory.GetMessageClass
    else:  # before protobuf 4.22
        make = message_factory.MessageFactory(pool).GetPrototype
    return [make(pool.FindMessageTypeByName('v1.' + name)) for name in ('ListPodResourcesRequest', 'ListPodResourcesResponse')]


class Kubelet(threading.Thread):
    """Asks the kubelet every period and leaves the newest answer."""

    def __init__(self, path, period):
        super().__init__(daemon=True)
        import grpc
        self.rpc_error = grpc.RpcError
        request, self.response = message_classes()
        self.request, self.period, self.answers = request(), period, queue.SimpleQueue()
        channel = grpc.insecure_channel('unix:' + path, options=[  # a kubelet that was restarted is found within seconds
            ('grpc.max_receive_message_length', LARGEST), ('grpc.initial_reconnect_backoff_ms', 1000),
            ('grpc.max_reconnect_backoff_ms', 5000)])
        self.list = channel.unary_unary(METHOD, request_serializer=request.SerializeToString,
                                        response_deserializer=self.parse)

    def parse(self, data):
        """The library reads what it can; an answer is right to its end."""
        message = self.response()
        if message.MergeFromString(data) != len(data):
            raise ValueError('bytes that are no message')
        return message

    def run(self):
        last = time.monotonic()
        while True:
            began = time.monotonic()
            pods, error = [], ''
            try:
                pods = list(self.list(self.request, timeout=PATIENCE).pod_resources)
            except self.rpc_error as e:
                error = 'kubelet: %s: %s' % (e.code().name, e.details())
            now = time.monotonic()
            self.answers.put((now - last, pods, error))
            last = now
            time.sleep(max(0, began + self.period - now))

    def newest(self):
        """(seconds since the answer before, pods, error), or None: nothing new."""
        found = None
        while not self.answers.empty():
            found = self.answers.get()
        return found


class Owners:
    """Which pod has which thing of one kind."""

    def __init__(self, what):
        self.what, self.table, self.wrong = what, {}, []

    def add(self, number, pod, container):
        """False: another pod has it."""
        row = self.table.setdefault(number, {'pod_name': pod.name, 'namespace': pod.namespace, 'container_name': []})
        if (row['pod_name'], row['namespace']) != (pod.name, pod.namespace):
            self.wrong.append('%s %d: %s/%s and %s/%s' % (self.what, number, row['namespace'], row['pod_name'], pod.namespace,
                                                         pod.name))
        elif container not in row['container_name']:
            row['container_name'].append(container)

    def rows(self):
        return {str(number): self.table[number] for number in sorted(self.table)}


def number_of(text, count):
    """The index that a device plugin's id is, or None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < count else None


def info_of(answer, hardware):
    """The object neuron_k8s_info. hardware: the documents' neuron_hardware_info, which says how many there are."""
    period, pods, error = answer
    per_device, devices = (hardware.get(k) or 0 for k in ('neuroncore_per_device_count', 'neuron_device_count'))
    cores, whole = Owners('core'), Owners('device')
    wrong = [error] if error else []
    for pod in pods:
        for container in pod.containers:
            for row in container.devices:
                for text in row.device_ids if row.resource_name in (CORE, *DEVICES) else ():
                    n = number_of(text, devices * (per_device if row.resource_name == CORE else 1))
                    if n is None:
                        wrong.append('%s/%s: no such %s: %s' % (pod.namespace, pod.name, row.resource_name, text))
                    elif row.resource_name == CORE:
                        cores.add(n, pod, container.name)
                    else:
                        whole.add(n, pod, container.name)
                        for core in range(n * per_device, (n + 1) * per_device):
                            cores.add(core, pod, container.name)
    share_devices(cores, whole, per_device)
    return {'period': period, 'neuroncores_k8s_info': cores.rows(), 'neurondevices_k8s_info': whole.rows(),
            'error': '; '.join(wrong + whole.wrong + cores.wrong)}


def share_devices(cores, whole, per_device):
    """A device of which a pod has cores is used by it; one whose cores several pods have is in the object of cores alone, since
    the documented row has room for one pod."""
    users = {}
    for core, row in sorted(cores.table.items()):
        users.setdefault(core // per_device, []).append(row)
    for device, rows in users.items():
        if len({(row['namespace'], row['pod_name']) for row in rows}) == 1:
            names = [name for row in rows for name in row['container_name']]
            whole.table[device] = dict(rows[0], container_name=list(dict.fromkeys(names)))
        else:
            whole.table.pop(device, None)


class Way:
    """The way back to neuron-monitor-prometheus.py, if that is what the documents come from."""

    def __init__(self):
        self.socket, self.address = None, None
        status = os.fstat(sys.stdin.fileno())
        if stat.S_ISFIFO(status.st_mode):
            self.address = '\0neuron-monitor-k8s-info-%d' % status.st_ino

    def send(self, info):
        if self.address is None:
            return
        try:
            if self.socket is None:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.settimeout(1)  # a program that does not take its answers has to do without
                self.socket.connect(self.address)
                uid = struct.unpack('3i', self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
                if uid not in (0, os.geteuid()):  # anybody may listen at such an address
                    raise PermissionError(uid)
            self.socket.sendall(json.dumps(info).encode() + b'\n')
        except OSError:  # nobody there wants it, or not now
            self.socket.close()
            self.socket = None


def number(text):
    value = float(text)
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError('not between 0 and 86400: ' + text)
    return value


def main():
    parser = argparse.ArgumentParser(description='Add to the documents of neuron-monitor which pods have which cores.')
    parser.add_argument('--version', action='version', version='%s (OpenNRT)' % NAME)
    parser.add_argument('--period', type=number, default=15, metavar='SECONDS', help='between questions to the kubelet (%(default)s)')
    parser.add_argument('--socket', default=SOCKET, metavar='PATH', help='of the kubelet (%(default)s)')
    args = parser.parse_args()
    try:
        kubelet = Kubelet(os.path.abspath(args.socket), args.period)
    except ImportError as e:
        sys.exit('%s: %s is not installed' % (NAME, 'grpcio' if e.name == 'grpc' else 'protobuf'))
    kubelet.start()
    way = Way()
    for line in sys.stdin.buffer:
        try:
            doc = json.loads(line)
            answer = kubelet.newest()
            if answer is not None:
                doc['neuron_k8s_info'] = info_of(answer, doc.get('neuron_hardware_info') or {})
                way.send(doc['neuron_k8s_info'])
            text = json.dumps(doc)
        except Exception as e:  # whatever is wrong with it, the next one may be right
            print('%s: a document was left out: %r' % (NAME, e), file=sys.stderr)
            continue
        try:
            print(text, flush=True)
        except BrokenPipeError:  # nobody reads any more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)


if __name__ == '__main__':
    main()
