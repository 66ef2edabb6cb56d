#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""view, of neuron-explorer and of opennrt: what it keeps, serves and gives to a database.

    test_view_server.py <neuron-explorer> <opennrt> <libnrt> <source root>"""
import glob
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../support'))
import ntff  # noqa: E402
from influx import Database  # noqa: E402
from ports import port_kept  # noqa: E402
from tools import proves  # noqa: E402
from view_case import DATABASES, EXPLORER, OPENNRT, ROOT, SERVES, ViewCase  # noqa: E402


class Server:
    """view, serving; gives answers of its web server."""

    def __init__(self, test, *argv, port='0', env=None):
        self.p = subprocess.Popen([EXPLORER, 'view', *argv, '--port', port], cwd=test.folder, env=dict(test.site.env, **(env or {})),
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        test.addCleanup(self.end)
        self.said = self.p.stdout.readline()
        match = re.fullmatch(r'View (?:profile|a list of profiles) at (http://localhost:(\d+)/\S*)\n', self.said)
        if not match:
            raise AssertionError((self.said, self.p.communicate(timeout=100)))
        self.url, self.port = match.group(1), int(match.group(2))
        test.assertEqual(self.p.stdout.readline(), 'ctrl-c to exit\n')

    def ask(self, path, method='GET', **headers):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=100)
        try:
            c.request(method, path, headers=headers)
            a = c.getresponse()
            return a.status, a.read(), a.headers
        finally:
            c.close()

    def end(self, sig=signal.SIGINT):
        if self.p.poll() is None:
            self.p.send_signal(sig)
        code = self.p.wait(timeout=100)
        self.p.stdout.close()
        self.p.stderr.close()
        return code


class Serving(ViewCase):
    def test_kept(self):
        """Results below a data path, under a name."""
        path, neff = self.first('matmul')
        with tempfile.TemporaryDirectory() as cwd:
            data = os.path.join(cwd, 'there/too')
            for form, files in (('html', ['report.html']), ('summary', ['summary.txt']), ('summary-json', ['summary.json']),
                                ('json', ['device_profile_model_%s.json' % ntff.read(path).models[0].hash[:16].hex()])):
                argv = ('view', '-n', neff, '-s', path, '--output-format', form, '--data-path', data, '--display-name', 'as ' + form)
                self.run_in(EXPLORER, *argv, cwd=cwd)
                self.assertEqual(os.listdir(self.kept(data, 'as ' + form)), files)
            self.assertEqual(set(os.listdir(os.path.join(data, 'profiles/global'))),
                             {'as %s@latest' % form for form in ('html', 'json', 'summary', 'summary-json')})
            self.assertEqual(os.listdir(cwd), ['there'])
            proves('tool-152')
            proves('tool-153')
            kept = os.path.join(self.kept(data, 'as summary'), 'summary.txt')
            with open(kept, 'w', encoding='utf-8') as f:
                f.write('older')
            argv = ('view', '-s', path, '--output-format', 'summary', '--data-path', data, '--display-name', 'as summary')
            self.assertIn('as summary@latest: is there already', self.run_in(EXPLORER, *argv, code=1, cwd=cwd)[1])
            with open(kept, encoding='utf-8') as f:
                self.assertEqual(f.read(), 'older')
            self.run_in(EXPLORER, *argv, '--force', cwd=cwd)
            with open(kept, encoding='utf-8') as f:
                self.assertIn('model matmul', f.read())
            proves('tool-154')
            for wrong in (['--data-path', data], ['--display-name', 'x'], ['--force'],
                          ['--data-path', data, '--display-name', '..'], ['--data-path', data, '--display-name', 'a/b'],
                          ['--data-path', data, '--display-name', 'a', '--output-file', 'b']):
                self.run_in(EXPLORER, 'view', '-s', path, '--output-format', 'summary', *wrong, code=2, cwd=cwd)

    # ---- keeping and serving ----

    def kept(self, data, name):
        return os.path.join(data, 'profiles/global', name + '@latest')

    @unittest.skipUnless(SERVES, 'built without libmicrohttpd')
    def test_server(self):
        """The report of a profile and the list of all, until interrupted."""
        path, neff = self.first('layernorm')
        with tempfile.TemporaryDirectory() as data:
            s = Server(self, '-n', neff, '-s', path, '--data-path', data)
            name = re.fullmatch(r'http://localhost:\d+/profile/(n_[0-9a-f]{40})', s.url).group(1)
            with urllib.request.urlopen('http://127.0.0.1:%d/profile/%s' % (s.port, name), timeout=100) as answer:
                got = answer.read().decode()
                self.assertEqual(answer.headers['Content-Type'], 'text/html; charset=utf-8')
            self.view('-n', neff, '-s', path, '--output-format', 'html', '--output-file', 'same.html')
            with open(self.path('same.html'), encoding='utf-8') as f:
                self.assertEqual(got, f.read())
            status, body, headers = s.ask('/profile/%s/device_profile_model_%s.json' % (name, ntff.read(path).models[0].hash[:16].hex()))
            self.assertEqual((status, headers['Content-Type']), (200, 'application/json'))
            self.assertEqual(json.loads(body), self.json('-n', neff, '-s', path))
            self.assertEqual(json.loads(s.ask('/profiles.json')[1]), [name])
            # Only this host's own names, and only the loopback address.
            self.assertEqual([s.ask('/', Host=h)[0] for h in ('localhost', 'LOCALHOST:1', '127.0.0.1:80', '[::1]:5')], [200] * 4)
            self.assertEqual([s.ask('/', Host=h)[0] for h in ('evil.example', 'localhost.evil.example', '127.0.0.12')], [403] * 3)
            with open('/proc/net/tcp', encoding='ascii') as f:
                listening = [line.split()[1] for line in f if line.split()[3] == '0A']
            self.assertEqual([a for a in listening if a.endswith(':%04X' % s.port)], ['0100007F:%04X' % s.port])
            head = s.ask('/profile/' + name, 'HEAD')
            self.assertEqual((head[0], head[1], head[2]['Content-Length']), (200, b'', str(len(got.encode()))))
            self.assertEqual([s.ask('/', m)[0] for m in ('POST', 'PUT', 'DELETE', 'NONSENSE')], [405] * 4)
            self.assertEqual(s.end(), 0)
            # A list, of what is kept while the server runs, at a given port; names are texts, whatever they hold.
            port = str(port_kept())
            s = Server(self, '--data-path', data, port=port)
            self.assertEqual(s.said, 'View a list of profiles at http://localhost:%s/\n' % port)
            evil = '<b>&"\'%2f ü'
            self.view('-s', path, '--data-path', data, '--ingest-only', '--display-name', evil)
            page = s.ask('/')[1].decode()
            self.assertNotIn('<b>', page)
            links = [urllib.parse.unquote(link) for link in re.findall('<a href="([^"]*)"', page)]
            self.assertEqual(sorted(links), sorted('/profile/' + n for n in (name, evil)))
            self.assertEqual([s.ask(link)[0] for link in re.findall('<a href="([^"]*)"', page)], [200] * 2)
            self.assertEqual(s.end(signal.SIGTERM), 0)
            proves('tool-150')
            taken = socket.create_server(('127.0.0.1', 0))
            self.addCleanup(taken.close)
            self.assertIn('Address already in use', self.run_in(EXPLORER, 'view', '--data-path', data, '--port',
                                                                str(taken.getsockname()[1]), code=1)[1])
            self.run_in(EXPLORER, 'view', '--port', '65536', code=2)

    @unittest.skipUnless(SERVES, 'built without libmicrohttpd')
    def test_server_gives_nothing_else(self):
        """No file outside of a profile's folder, whatever is asked for; and what is no HTTP harms nobody."""
        with tempfile.TemporaryDirectory() as data:
            self.view('-s', self.first('matmul')[0], '--data-path', data, '--ingest-only', '--display-name', 'it')
            folder = self.kept(data, 'it')
            with open(os.path.join(data, 'secret'), 'w', encoding='utf-8') as f:
                f.write('secret')
            os.symlink(os.path.join(data, 'secret'), os.path.join(folder, 'link'))
            os.symlink(folder, self.kept(data, 'other'))
            os.mkfifo(os.path.join(folder, 'pipe'))
            os.mkdir(os.path.join(folder, 'folder'))
            s = Server(self, '--data-path', data)
            self.assertEqual(s.ask('/profile/it/summary.txt')[0], 200)
            up = ('..', '%2e%2e', '..%2f..%2f..%2fsecret', '../../../secret', '%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret', '', '.', 'link', 'pipe',
                  'folder', 'folder/x', 'summary.txt/', 'summary.txt%00', '%00', 'x' * 300, '/etc/passwd', '%2fetc%2fpasswd')
            for what in ['/profile/it/' + u for u in up] + ['/profile/' + u for u in up + ('it/../it', '.it', 'other')] + \
                    ['/x', '//', '/../secret', '/profile', '/' + 'y' * 100000]:
                status, body, _ = s.ask(what)
                self.assertNotIn(b'secret', body, what)
                if what != '/profile/it/summary.txt%00':  # the library may end the name there
                    self.assertIn(status, (400, 404, 414, 431), what)
            for raw in (b'\0' * 5000, b'GET / HTTP/9.9\r\n\r\n', b'GET /\r\n\r\n', b'GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n',
                        b'GET / HTTP/1.1\r\n' + b'X: y\r\n' * 20000, b'\r\n' * 9, b'GET'):
                c = socket.create_connection(('127.0.0.1', s.port), timeout=100)
                self.addCleanup(c.close)  # and stays as it is: nobody waits for it
                try:
                    c.sendall(raw)
                except OSError:
                    pass  # sent away
            self.assertEqual(s.ask('/profile/it/summary.txt')[0], 200)
            self.assertEqual(s.end(), 0)

    @unittest.skipUnless(SERVES, 'built without libmicrohttpd')
    def test_server_is_not_kept_busy(self):
        """Clients that come and say nothing, more than there is room for, keep nobody out: the oldest of them are sent away, and
        not those in the middle of an answer."""
        size = 64 << 20
        with tempfile.TemporaryDirectory() as data:
            self.view('-s', self.first('matmul')[0], '--data-path', data, '--ingest-only', '--display-name', 'it')
            with open(os.path.join(self.kept(data, 'it'), 'summary.txt'), 'r+b') as f:
                f.truncate(size)
            s = Server(self, '--data-path', data)
            slow = http.client.HTTPConnection('127.0.0.1', s.port, timeout=100)
            self.addCleanup(slow.close)
            slow.request('GET', '/profile/it/summary.txt')
            answer = slow.getresponse()
            self.assertEqual((answer.status, len(answer.read(1000))), (200, 1000))
            silent = []
            for _ in range(100):
                silent.append(socket.create_connection(('127.0.0.1', s.port), timeout=100))
                self.addCleanup(silent[-1].close)
            silent[99].sendall(b'GET / HT')
            _, text, headers = s.ask('/profiles.json')
            self.assertEqual((json.loads(text), headers.get_all('Connection')), (['it'], ['close']))
            self.assertEqual([c.recv(1) for c in silent[:30]], [b''] * 30)
            silent[99].sendall(b'TP/1.1\r\nHost: localhost\r\n\r\n')
            self.assertEqual(silent[99].recv(12), b'HTTP/1.1 200')
            self.assertEqual(1000 + len(answer.read()), size)
            self.assertEqual(s.end(), 0)

    @unittest.skipUnless(SERVES, 'built without libmicrohttpd')
    def test_server_keeps_the_newest(self):
        """Who has come last, and has had no time to ask, is not the one to go, though all others are in the middle of an
        answer: its request is answered."""
        with open(os.path.join(ROOT, 'tools/viewer/serve.c'), encoding='utf-8') as f:
            clients = int(re.search(r'^#define CLIENTS_MAX +(\d+)u$', f.read(), re.M).group(1))
        with tempfile.TemporaryDirectory() as data:
            self.view('-s', self.first('matmul')[0], '--data-path', data, '--ingest-only', '--display-name', 'it')
            with open(os.path.join(self.kept(data, 'it'), 'summary.txt'), 'r+b') as f:
                f.truncate(64 << 20)
            s = Server(self, '--data-path', data)
            for _ in range(clients - 1):
                slow = http.client.HTTPConnection('127.0.0.1', s.port, timeout=100)
                self.addCleanup(slow.close)
                slow.request('GET', '/profile/it/summary.txt')
                answer = slow.getresponse()
                self.addCleanup(answer.close)
                self.assertEqual((answer.status, len(answer.read(1000))), (200, 1000))
            newest = socket.create_connection(('127.0.0.1', s.port), timeout=100)
            self.addCleanup(newest.close)
            newest.sendall(b'GET / HT')
            newest.sendall(b'TP/1.1\r\nHost: localhost\r\n\r\n')
            self.assertEqual(newest.recv(12), b'HTTP/1.1 200')
            self.assertEqual(s.end(), 0)

    def test_ingest_only(self):
        """Kept without a server, under a name; the same profile again, and another under its name."""
        path, neff = self.first('matmul')
        with tempfile.TemporaryDirectory() as data:
            argv = ('-n', neff, '-s', path, '--ingest-only')
            made = [re.fullmatch(r'Profile "(n_[0-9a-f]{40})" is ready to view\n', self.view(*argv, '--data-path', data)).group(1)
                    for _ in range(2)]
            self.assertEqual(made[0], made[1])
            hashed = ntff.read(path).models[0].hash[:16].hex()
            files = sorted(['report.html', 'summary.txt', 'summary.json', 'device_profile_model_%s.json' % hashed,
                            'device_profile_model_%s.pftrace' % hashed])
            self.assertEqual(sorted(os.listdir(self.kept(data, made[0]))), files)
            with open(os.path.join(self.kept(data, made[0]), 'summary.json'), encoding='utf-8') as f:
                self.assertEqual(f.read(), self.view('-n', neff, '-s', path, '--output-format', 'summary-json'))
            out = self.view('-s', self.first('softmax')[0], '--ingest-only', '--data-path', data)
            self.assertNotIn(made[0], out)
            out = self.view('-d', self.inspected, '--ingest-only', '--data-path', data)
            name = re.fullmatch(r'Profile "(p_[0-9a-f]{40})" is ready to view\n', out).group(1)
            self.assertTrue({'system_profile.json', 'report.html'} <= set(os.listdir(self.kept(data, name))))
            named = argv + ('--display-name', 'mine')
            self.assertEqual(self.view(*named, '--data-path', data, tool=OPENNRT), 'Profile "mine" is ready to view\n')
            self.assertIn('is there already', self.run_in(EXPLORER, 'view', *named, '--data-path', data, code=1)[1])
            with open(os.path.join(self.kept(data, 'mine'), 'older'), 'w', encoding='utf-8'):
                pass
            self.view(*named, '--data-path', data, '--force')
            self.assertEqual(sorted(os.listdir(self.kept(data, 'mine'))), files)
            self.run_in(EXPLORER, 'view', '-s', 'none.ntff', '--ingest-only', '--data-path', data, code=1)
            self.assertEqual(len(os.listdir(os.path.join(data, 'profiles/global'))), 4)  # nothing half done is left
            self.links_are_replaced(argv + ('--display-name', 'linked', '--data-path', data), self.kept(data, 'linked'), files)
            # Without a data path, below the user's own.
            for env, place in (({'XDG_DATA_HOME': data + '/x'}, data + '/x'), ({'HOME': data + '/h'}, data + '/h/.local/share')):
                self.site.run(EXPLORER, 'view', *argv, **dict({'XDG_DATA_HOME': ''}, **env))
                self.assertEqual(os.listdir(place + '/opennrt/explorer/profiles/global'), [made[0] + '@latest'])
            proves('tool-151')

    def links_are_replaced(self, argv, path, files):
        """A link of a profile's name is replaced; what it leads to stays."""
        with tempfile.TemporaryDirectory() as other:
            with open(os.path.join(other, 'precious'), 'w', encoding='utf-8'):
                pass
            os.symlink(other, path)
            self.assertIn('is there already', self.run_in(EXPLORER, 'view', *argv, code=1)[1])
            self.view(*argv, '--force')
            self.assertEqual(os.listdir(other), ['precious'])
            self.assertFalse(os.path.islink(path))
            self.assertEqual(sorted(os.listdir(path)), files)
            self.assertEqual(len(os.listdir(os.path.dirname(path))), 5)

    # ---- databases ----

    @unittest.skipUnless(DATABASES, 'built without libcurl')
    def test_database(self):
        """Every row of the tables is a point of its own in a bucket of its own."""
        db = Database('a token')
        self.addCleanup(db.close)
        env = {'INFLUX_TOKEN': 'a token', 'no_proxy': '*', 'NO_PROXY': '*'}
        with tempfile.TemporaryDirectory() as data:
            argv = ('-n', self.path('spill.neff'), self.path('spill.ntff'), self.first('layernorm')[0], self.inspected,
                    '--enable-memory-tracker')
            base = (EXPLORER, 'view', *argv, '--data-path', data, '--ingest-only', '--db-endpoint', db.endpoint + '/')
            done = self.site.run(*base, '--db-org', 'our org', '--db-bucket', 'a bucket&', cwd=self.folder, **env)
            self.assertEqual(done.stdout, 'Profile "a bucket&" is ready to view\n')
            proves('tool-167')
            proves('tool-168')
            self.assertEqual(list(db.buckets), ['a bucket&'])
            self.assertTrue(os.path.exists(os.path.join(self.kept(data, 'a bucket&'), 'report.html')))
            shown = {}
            for path in glob.glob(self.kept(data, 'a bucket&') + '/*.json'):
                if 'summary' not in path:
                    with open(path, encoding='utf-8') as f:
                        for table, rows in json.load(f).items():
                            shown.setdefault(table, []).extend(rows)
            points = {}
            for (table, tags, ns), fields in db.buckets['a bucket&'].items():
                tags = dict(tags)
                tags.pop('lane', None)
                points.setdefault(table, []).append(dict(fields, **tags, timestamp=ns))
            self.assertEqual(set(points), {t for t, rows in shown.items() if rows})

            def whole(row, keys):  # as a database has it: tags are texts, empty ones are none, times whole
                return sorted((k, int(row.get(k, 0)) if k == 'timestamp' else '%.5g' % row[k] if isinstance(row[k], (int, float))
                               else row[k]) for k in keys if row.get(k, '') != '')
            for table, rows in points.items():
                tags = [{k for k, v in row.items() if isinstance(v, str)} for row in rows]
                self.assertEqual(len(rows), len(shown[table]))
                want = []
                for row in shown[table]:
                    row = dict(row, timestamp=row.get('timestamp', 0))
                    want.append(whole({k: str(v) if k in tags[0] else v for k, v in row.items()}, row))
                self.assertEqual(sorted(whole(row, row) for row in rows), sorted(want), table)
            proves('tool-169')
            # The bucket is there now.
            self.assertIn('already', self.site.run(*base, '--db-org', 'our org', '--db-bucket', 'a bucket&', '--display-name', 'x', code=1,
                                                   cwd=self.folder, **env).stderr)
            points = dict(db.buckets['a bucket&'])
            self.site.run(*base, '--db-org', 'our org', '--db-bucket', 'a bucket&', '--force', cwd=self.folder, **env)
            self.assertEqual(db.buckets['a bucket&'], points)
            # The profile's name is the bucket's without one, the organization that of the environment.
            done = self.site.run(*base, '--display-name', 'named', cwd=self.folder, INFLUX_ORG='our org', **env)
            self.assertEqual(db.buckets['named'], points)
            self.site.run(*base, code=2, cwd=self.folder, **dict(env, INFLUX_ORG=''))

    @unittest.skipUnless(DATABASES, 'built without libcurl')
    def test_databases_that_lie(self):
        """What the server says is told, in plain text; nothing is kept of a profile that it did not take."""
        db = Database()
        self.addCleanup(db.close)
        env = {'no_proxy': '*', 'NO_PROXY': '*', 'XDG_DATA_HOME': self.path('lying data')}
        argv = (EXPLORER, 'view', '-s', self.first('matmul')[0], '--ingest-only', '--db-org', 'our org', '--db-bucket', 'b')

        def fails(endpoint, **more):
            done = self.site.run(*argv, '--db-endpoint', endpoint, code=1, **dict(env, **more))
            self.assertTrue(done.stderr.startswith('neuron-explorer view: database: '), done.stderr)
            self.assertNotIn('\x1b', done.stderr)
            self.assertFalse(os.path.exists(self.path('lying data')))
            return done.stderr
        db.token = 'a token'
        self.assertIn('status 401: unauthorized access', fails(db.endpoint, INFLUX_TOKEN='another'))
        db.token = None
        bad = (b'', b'[', b'{}', b'[]', b'{"orgs": [{}, 1, {"name": "our org", "id": "../x"}]}', b'\xff' * 10, b'{"orgs": {"a": 1}}',
               b'[' * 100000, b'x' * (3 << 20))
        for answer in bad:
            db.answers = {'/api/v2/buckets': (404, answer), '/api/v2/orgs': (200, answer)}
            self.assertIn('the organization is not known: status 200', fails(db.endpoint))
        db.answers = {'/api/v2/write': (422, {'message': 'no \x1b[2J room'})}
        self.assertIn('the profile could not be written: status 422: no ?[2J room', fails(db.endpoint))
        db.buckets.clear()
        db.answers = {'/api/v2/write': (302, b'')}
        self.assertIn('status 302', fails(db.endpoint))
        for endpoint in ('http://127.0.0.1:%d' % port_kept(), 'file:///etc/passwd', 'nonsense://x', 'http://'):
            fails(endpoint)


if __name__ == '__main__':
    unittest.main()
