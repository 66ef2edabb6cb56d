# SPDX-License-Identifier: Apache-2.0
"""A Slurm of this test's own: slurmctld and two slurmd on loopback, with kept ports, one folder for all files, no munge and
no cgroups. Its nodes are called 127.0.0.1 and 127.0.0.2, so that their names have addresses; what runs on them has an
instance of OpenNRT for each (TaskProlog)."""
import os
import pwd
import shutil
import socket
import subprocess
import threading

from ports import port_kept

WAIT = 90  # seconds for what a loaded machine may delay
PROGRAMS = ('slurmctld', 'slurmd', 'srun', 'salloc', 'scancel', 'sbcast', 'scontrol', 'squeue')
NODES = ('127.0.0.1', '127.0.0.2')

CONF = """\
ClusterName=opennrt
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
SlurmctldPort={port}
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/%n.pid
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={dir}/prolog.sh
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/linear
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
MessageTimeout=60
ReturnToService=2
FirstJobId={first}
"""

PROLOG = """\
#!/bin/sh
echo "export OPENNRT_INSTANCE=$OPENNRT_INSTANCE-$SLURMD_NODENAME"
"""


class Unavailable(Exception):
    """There can be no Slurm here; says why."""


class Daemon:
    """A daemon in the foreground, whose log says when it is ready."""

    def __init__(self, ready, *argv, env):
        self.log = []
        self.name = argv[0]
        self.seen = threading.Event()
        self.process = subprocess.Popen(argv, env=env, text=True, errors='replace', stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self.read, args=(ready,))
        self.reader.start()

    def read(self, ready):
        for line in self.process.stdout:
            self.log.append(line)
            if ready in line:
                self.seen.set()
        self.seen.set()  # it has ended, which wait_ready tells apart

    def wait_ready(self):
        if not self.seen.wait(WAIT) or self.process.poll() is not None:
            raise Unavailable('%s does not start: %s' % (self.name, ''.join(self.log[-3:]).strip()))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(WAIT)  # whoever inherited the pipe may still hold it
        self.process.stdout.close()


class Slurm:
    """folder: empty, of the caller, who removes it. env: of the daemons and of self.env, in which clients run."""

    def __init__(self, folder, env):
        missing = [p for p in PROGRAMS if not shutil.which(p)]
        if missing:
            raise Unavailable('not installed: ' + ' '.join(missing))
        try:
            self.user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError as e:
            raise Unavailable('the user has no name') from e
        self.dir, self.daemons = folder, []
        self.env = dict(env, SLURM_CONF=os.path.join(folder, 'slurm.conf'))
        self.configure()
        try:
            self.start('Running as primary controller', 'slurmctld', '-D', '-c')
            for node in NODES:
                self.start('slurmd started on', 'slurmd', '-D', '-N', node)
            for d in self.daemons:
                d.wait_ready()
            self.probe()
        except BaseException:
            self.stop()
            raise

    def configure(self):
        first = port_kept(3)
        os.mkdir(os.path.join(self.dir, 'state'))
        self.write('cgroup.conf', '')
        self.write('prolog.sh', PROLOG, 0o755)
        conf = CONF.format(dir=self.dir, host=socket.gethostname().split('.')[0], user=self.user, port=first,
                           first=100000 + os.getpid())
        for i, node in enumerate(NODES):
            os.mkdir(os.path.join(self.dir, 'spool-' + node))
            conf += 'NodeName=%s NodeAddr=%s Port=%d CPUs=%d\n' % (node, node, first + 1 + i, max(4, os.cpu_count() or 1))
        self.write('slurm.conf', conf + 'PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n')

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.dir, name)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(path, mode)

    def start(self, ready, *argv):
        self.daemons.append(Daemon(ready, *argv, env=self.env))

    def probe(self):
        """Waits until both nodes run a task."""
        try:
            p = subprocess.run(['srun', '-N', '2', '-n', '2', 'true'], env=self.env, stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=WAIT)
        except subprocess.TimeoutExpired as e:
            raise Unavailable('srun runs nothing within %d s' % WAIT) from e
        if p.returncode != 0:
            raise Unavailable('srun: ' + p.stderr.strip())

    def jobs(self):
        """The ids of the jobs that run or wait. One that was cancelled does neither, though its nodes are not free yet."""
        out = subprocess.run(['squeue', '-h', '-t', 'running,pending', '-o', '%i'], env=self.env, check=True, capture_output=True, text=True,
                             timeout=WAIT).stdout
        return out.split()

    def cancel(self):
        """What a check has left: its tasks would outlive the daemons."""
        for job in self.jobs():
            subprocess.run(['scancel', job], env=self.env, check=False, timeout=WAIT)

    def stop(self):
        for d in reversed(self.daemons):
            d.stop()
        self.daemons = []
