#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Serves the documents of neuron-monitor to Prometheus: neuron-monitor | neuron-monitor-prometheus.py --port 8000

Counters add up what the documents hold; series of a process end with it. (neuron-monitor --prometheus PORT does without a pipe.)

With --enable-k8s-info cores are labelled with the pods that neuron-monitor-k8s-info.py finds. It may stand before this program,
then the documents say it; or, as published, after it: then documents go on to standard output, and the answers come back over
a socket whose address both make of the pipe between them."""
import argparse
import copy
import http.server
import json
import os
import socket
import stat
import struct
import sys
import threading

NAME = 'neuron-monitor-prometheus.py'
LONGEST = 32 << 20  # bytes of one answer of neuron-monitor-k8s-info.py

LABELS = ('instance_name', 'instance_id', 'instance_type', 'instance_availability_zone', 'instance_region', 'subnet_id')


def escape(value):
    return str(value).replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')


class Series:
    """The text of one answer, family by family."""

    def __init__(self):
        self.families = {}

    def add(self, name, kind, value, **labels):
        text = ','.join('%s="%s"' % (k, escape(v)) for k, v in labels.items())
        self.families.setdefault((name, kind), []).append('%s%s %.17g' % (name, '{%s}' % text if text else '', value))

    def text(self):
        lines = []
        for (name, kind), rows in sorted(self.families.items()):
            lines += ['# HELP %s From the documents of neuron-monitor.' % name, '# TYPE %s %s' % (name, kind)] + rows
        return '\n'.join(lines) + '\n'


class State:
    """What the documents said so far."""

    def __init__(self, k8s):
        self.k8s, self.lock = k8s, threading.Lock()
        self.groups, self.totals, self.tags, self.system, self.instance, self.pods = {}, {}, {}, {}, {}, {}

    def take(self, doc):
        """A document."""
        self.change(lambda: self.merge(doc))

    def take_pods(self, info):
        """An object neuron_k8s_info by itself."""
        self.change(lambda: self.merge_pods(info))

    def change(self, merge):
        """What cannot be shown leaves everything as it was, and raises."""
        names = ('groups', 'totals', 'tags', 'system', 'instance', 'pods')
        with self.lock:
            before = copy.deepcopy([getattr(self, name) for name in names])
            try:
                merge()
                self.text()
            except Exception:
                for name, value in zip(names, before):
                    setattr(self, name, value)
                raise

    def merge(self, doc):
        live = {d['pid'] for d in doc.get('neuron_runtime_data', [])}
        for pid in [p for p in self.tags if p not in live]:
            for table in (self.groups, self.totals, self.tags):
                table.pop(pid, None)
        for data in doc.get('neuron_runtime_data', []):
            self.take_runtime(data)
        self.system.update(doc.get('system_data', {}))
        self.instance = doc.get('instance_info', self.instance)
        self.merge_pods(doc.get('neuron_k8s_info') or {})

    def merge_pods(self, info):
        self.pods = info.get('neuroncores_k8s_info', self.pods)

    def take_runtime(self, data):
        pid = data['pid']
        self.tags[pid] = data.get('neuron_runtime_tag', '')
        self.groups.setdefault(pid, {}).update(data.get('report', {}))
        stats = data.get('report', {}).get('execution_stats', {})
        for part in ('execution_summary', 'error_summary'):
            for key, n in stats.get(part, {}).items():
                total = self.totals.setdefault(pid, {})
                total[part, key] = total.get((part, key), 0) + n

    def answer(self):
        with self.lock:
            return self.text()

    def text(self):
        out = Series()
        for pid, groups in self.groups.items():
            self.answer_runtime(out, {'runtime_tag': self.tags[pid], 'pid': pid}, groups, self.totals.get(pid, {}))
        self.answer_system(out)
        return out.text()

    def answer_runtime(self, out, who, groups, totals):
        for nc, use in groups.get('neuroncore_counters', {}).get('neuroncores_in_use', {}).items():
            pod = self.pods.get(nc, {}) if self.k8s else {}
            more = {k: pod[k] for k in ('pod_name', 'namespace') if k in pod}
            out.add('neuroncore_utilization_ratio', 'gauge', use['neuroncore_utilization'] / 100, neuroncore=nc, **who, **more)
        used = groups.get('memory_used', {}).get('neuron_runtime_used_bytes', {})
        for place in ('host', 'neuron_device'):
            if place in used:
                out.add('neuron_runtime_memory_used_bytes', 'gauge', used[place], memory_location=place, **who)
        latency = groups.get('execution_stats', {}).get('latency_stats', {}).get('total_latency') or {}
        for percentile, seconds in latency.items():
            out.add('execution_latency_seconds', 'gauge', seconds, percentile=percentile, **who)
        for (part, key), n in totals.items():
            name, label = ('execution_status_total', 'status_type') if part == 'execution_summary' else \
                ('execution_errors_total', 'error_type')
            out.add(name, 'counter', n, **{label: key}, **who)
        for use, percent in groups.get('neuron_runtime_vcpu_usage', {}).get('vcpu_usage', {}).items():
            out.add('neuron_runtime_vcpu_usage_ratio', 'gauge', percent / 100, usage_type=use, **who)

    def answer_system(self, out):
        vcpu = self.system.get('vcpu_usage', {})
        for use, percent in vcpu.get('average_usage', {}).items():
            out.add('system_vcpu_usage_ratio', 'gauge', percent / 100, usage_type=use)
        if 'usage_data' in vcpu:
            out.add('system_vcpu_count', 'gauge', len(vcpu['usage_data']))
        memory = self.system.get('memory_info', {})
        for key in ('memory_used_bytes', 'memory_total_bytes'):
            if key in memory:
                out.add('system_' + key, 'gauge', memory[key])
        if self.instance:
            out.add('instance_info', 'gauge', 1, **{k: self.instance.get(k, '') for k in LABELS})


def serve(state, port):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = state.answer().encode()
            self.send_response(200)
            self.send_header('Content-Type', 'text/plain; version=0.0.4; charset=utf-8')
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(('', port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def left_out(e):
    print('%s: a document was left out: %r' % (NAME, e), file=sys.stderr)


class After:
    """neuron-monitor-k8s-info.py behind this program: documents go to it, and it answers."""

    def __init__(self, state):
        self.state = state
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind('\0neuron-monitor-k8s-info-%d' % os.fstat(sys.stdout.fileno()).st_ino)
        self.server.listen()
        threading.Thread(target=self.answers, daemon=True).start()

    def answers(self):
        while True:
            connection, _ = self.server.accept()
            with connection:
                try:
                    self.answers_of(connection)
                except OSError:  # that one is gone
                    pass

    def answers_of(self, connection):
        uid = struct.unpack('3i', connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
        if uid not in (0, os.geteuid()):  # anybody may connect to such an address
            return
        with connection.makefile('rb') as lines:
            while line := lines.readline(LONGEST):
                try:
                    self.state.take_pods(json.loads(line))
                except Exception as e:
                    left_out(e)

    def document(self, line):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def follower(state):
    """The program behind this one, if there is a pipe that leads to it."""
    if not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        return None
    try:
        return After(state)
    except OSError as e:  # somebody else answers to that pipe's name
        print('%s: nobody is asked for pods: %s' % (NAME, e), file=sys.stderr)
        return None


def main():
    parser = argparse.ArgumentParser(description='Serve what neuron-monitor writes to standard input to Prometheus.')
    parser.add_argument('--version', action='version', version='%s (OpenNRT)' % NAME)
    parser.add_argument('--port', '-p', type=int, default=8000, help='TCP port (%(default)s)')
    parser.add_argument('--enable-k8s-info', action='store_true', help='label cores with the pods that own them')
    args = parser.parse_args()
    state = State(args.enable_k8s_info)
    try:
        serve(state, args.port)
    except (OSError, OverflowError) as e:
        sys.exit('%s: port %d: %s' % (NAME, args.port, e))
    after = follower(state) if args.enable_k8s_info else None
    for line in sys.stdin.buffer:
        try:
            doc = json.loads(line)
            state.take(doc)
            if 'neuron_k8s_info' in doc:  # who adds it stands before this one: the pipe leads elsewhere
                after = None
        except Exception as e:  # whatever is wrong with it, the next one may be right
            left_out(e)
        try:
            if after:
                after.document(line)
        except BrokenPipeError:  # it ended; scrapes go on
            print('%s: nobody reads the documents behind it any more' % NAME, file=sys.stderr)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            after = None


if __name__ == '__main__':
    main()
