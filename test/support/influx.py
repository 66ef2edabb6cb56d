# SPDX-License-Identifier: Apache-2.0
"""A stand-in for InfluxDB 2, and a reader of its line protocol."""
import http.server
import json
import re
import threading
import urllib.parse


def line_protocol(text):
    """Points of InfluxDB's line protocol, character by character as its documentation has it."""
    points, at = [], 0

    def word(ends):
        nonlocal at
        got = ''
        while text[at] not in ends:
            assert text[at] not in '\n,= ', text[at - 20:at + 20]
            if text[at] == '\\':
                at += 1
                assert text[at] in ',= ', text[at - 20:at + 20]
            got += text[at]
            at += 1
        assert got
        return got

    def value():
        nonlocal at
        if text[at] == '"':
            got, at = '', at + 1
            while text[at] != '"':
                if text[at] == '\\':
                    at += 1
                    assert text[at] in '"\\'
                got += text[at]
                at += 1
            at += 1
            return got
        got = word(', ')
        if got[-1] == 'u':
            assert got[:-1].isdigit() and int(got[:-1]) < 1 << 64
            return int(got[:-1])
        assert re.fullmatch(r'-?\d+(\.\d+)?([eE][-+]?\d+)?', got), got
        return float(got)
    while at < len(text):
        name, tags, fields = word(', '), {}, {}
        while text[at] == ',':
            at += 1
            key = word('=')
            assert key not in tags
            at += 1
            tags[key] = word(', ')
        assert text[at] == ' '
        while text[at] in ' ,':
            if text[at] == ' ' and fields:
                break
            at += 1
            key = word('=')
            assert key not in fields and key not in tags
            at += 1
            fields[key] = value()
        end = text.index('\n', at)
        points.append((name, tags, fields, int(text[at + 1:end])))
        at = end + 1
    return points


class Database(http.server.ThreadingHTTPServer):
    """Stands in for InfluxDB 2: organizations, buckets, and points as it keeps them. Everything that it would refuse is an
    error; answer: what is said instead, by path."""
    daemon_threads = True

    def __init__(self, token=None):
        super().__init__(('127.0.0.1', 0), Database.Request)
        self.token, self.answers, self.buckets, self.writes, self.asked = token, {}, {}, 0, []
        self.lock = threading.Lock()
        self.endpoint = 'http://127.0.0.1:%d' % self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()

    class Request(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def log_message(self, *_):
            pass

        def say(self, status, value=None):
            data = value if isinstance(value, bytes) else json.dumps(value).encode() if value is not None else b''
            self.send_response(status)
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self):
            self.take(b'')

        def do_POST(self):
            self.take(self.rfile.read(int(self.headers['Content-Length'])))

        def take(self, body):
            url = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(url.query, strict_parsing=True)) if url.query else {}
            with self.server.lock:
                self.server.asked.append((self.command, url.path))
                try:
                    self.say(*self.answer(url.path, query, body))
                except Exception as e:  # noqa: BLE001  pylint: disable=broad-except
                    self.say(400, {'code': 'invalid', 'message': 'refused %r' % e})

        def answer(self, path, query, body):
            db = self.server
            if path in db.answers:
                return db.answers[path]
            if db.token and self.headers['Authorization'] != 'Token ' + db.token:
                return 401, {'code': 'unauthorized', 'message': 'unauthorized access'}
            if (self.command, path) == ('GET', '/api/v2/orgs'):
                return 200, {'orgs': [{'name': query['org'], 'id': '0123456789abcdef'}]}
            if (self.command, path) == ('GET', '/api/v2/buckets'):
                assert query['org'] == 'our org'
                return 200, {'buckets': [{'name': b, 'id': 'b%015x' % i} for i, b in enumerate(db.buckets) if b == query['name']]}
            if (self.command, path) == ('POST', '/api/v2/buckets'):
                bucket = json.loads(body)
                assert bucket['orgID'] == '0123456789abcdef' and bucket['retentionRules'] == []
                assert bucket['name'] not in db.buckets
                db.buckets[bucket['name']] = {}
                return 201, {'name': bucket['name']}
            assert query['org'] == 'our org' and self.command == 'POST'
            points = db.buckets[query['bucket']]
            if path == '/api/v2/delete':
                span = json.loads(body)
                assert span['start'] < '1970' and span['stop'] > '2261'
                points.clear()
                return 204, None
            assert path == '/api/v2/write' and query['precision'] == 'ns'
            for name, tags, fields, ns in line_protocol(body.decode()):
                assert fields and 0 <= ns < (1 << 63) - 1
                key = (name, tuple(sorted(tags.items())), ns)
                assert key not in points, 'this point was there: %r' % (key,)
                points[key] = fields
            db.writes += 1
            return 204, None
