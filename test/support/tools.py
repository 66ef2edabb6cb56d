# SPDX-License-Identifier: Apache-2.0
"""What the tests of the tools that look at an instance share: an instance of their own, workers in it, the tool."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from proves import proves  # noqa: E402,F401


def control_of(instance):
    """The file of an instance's control block."""
    folders = ('/dev/shm', os.environ.get('XDG_RUNTIME_DIR', '/tmp'), '/tmp')
    files = [os.path.join(folder, 'opennrt-%d-%s' % (os.getuid(), instance), 'control') for folder in folders]
    return next(filter(os.path.exists, files))


class Worker:
    """A process with a runtime (worker.py). env: its own variables; neff: another one than the site's."""

    def __init__(self, site, neff=None, **env):
        self.p = subprocess.Popen([sys.executable, os.path.join(HERE, 'worker.py'), site.lib, neff or site.neff],
                                  env=dict(site.env, **env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.p.pid
        site.workers.append(self)
        assert self.answer() == 'ok'

    def answer(self):
        return self.p.stdout.readline().strip()

    def tell(self, line):
        """Without waiting for the answer."""
        self.p.stdin.write(line + '\n')
        self.p.stdin.flush()

    def do(self, *lines):
        """The answer to the last line."""
        for line in lines:
            self.tell(line)
            got = self.answer()
        return got

    def ok(self, *lines):
        got = self.do(*lines)
        assert got.startswith('ok'), (lines, got)
        return got

    def kill(self):
        self.p.kill()
        self.p.wait()

    def end(self):
        self.p.stdin.close()
        assert self.p.wait() == 0


class Site:
    """An instance, removed at the end, and a NEFF that adds."""

    def __init__(self, name, opennrt, lib, kind='trn1.2xlarge'):
        self.opennrt, self.lib, self.workers = os.path.abspath(opennrt), os.path.abspath(lib), []
        self.started = []  # other processes, ended with the site
        self.name = '%s%d' % (name, os.getpid())
        self.env = dict(os.environ, OPENNRT_INSTANCE=self.name, OPENNRT_INSTANCE_TYPE=kind)
        for unset in ('NEURON_LOGICAL_NC_CONFIG', 'NEURON_RT_VISIBLE_CORES', 'NEURON_RT_NUM_CORES',
                      'NEURON_PROCESS_TAG'):
            self.env.pop(unset, None)

    def __enter__(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.neff = self.assemble(os.path.join(HERE, '../programs/add.nasm'), '-D', 'ROWS=2')
        return self

    def assemble(self, nasm, *options):
        """A NEFF beside the site's log."""
        neff = os.path.join(self.tmp.name, os.path.basename(nasm) + '.neff')
        subprocess.run([self.opennrt, 'asm', nasm, '-o', neff, *options], check=True, env=self.env)
        return neff

    def __exit__(self, *_):
        for w in self.workers:
            if w.p.poll() is None:
                w.kill()
        for p in self.started:
            if p.poll() is None:
                p.kill()
                p.wait()
        self.tmp.cleanup()
        subprocess.run([self.opennrt, 'reset', '--force', '-i', self.name], env=self.env, stdout=subprocess.DEVNULL,
                       check=False)

    def run(self, *argv, code=0, cwd=None, **env):
        done = subprocess.run(argv, env=dict(self.env, **env), cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, (argv, done)
        return done
