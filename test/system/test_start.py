#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ranks start by hand, under Open MPI's mpirun and under Slurm's srun: the commands of docs/net.md, word for
word. And what a rank says when it was started wrongly: the variable, the rank, what to do; the page's examples of
that print what the page says they print.

    test_start.py <build folder> <docs/net.md>

srun is a stand-in that sets what Slurm documents for its tasks; test_slurm.py takes the real one.
"""
import os
import re
import shutil
import socket
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from ports import port_kept  # noqa: E402
from proves import proves  # noqa: E402

BUILD, NET_MD = map(os.path.abspath, sys.argv[1:3])
RANK = os.path.join(BUILD, "examples", "allreduce_rank")
DIR = tempfile.TemporaryDirectory()
NAME = "start%d" % os.getpid()

SRUN = """\
#!/bin/sh
# srun -n N COMMAND...: N tasks on this host, with the variables of srun(1)
[ "$1" = -n ] || exit 2
n=$2
shift 2
i=0
pids=
while [ "$i" -lt "$n" ]; do
    SLURM_PROCID=$i SLURM_LOCALID=$i SLURM_NTASKS=$n SLURM_NPROCS=$n SLURM_NODEID=0 SLURM_JOB_ID=1 "$@" &
    pids="$pids $!"
    i=$((i + 1))
done
bad=0
for p in $pids; do wait "$p" || bad=1; done
exit $bad
"""


def environment(**more):
    env = dict(os.environ, HOME=DIR.name, build=BUILD, dir=DIR.name, OPENNRT_INSTANCE=NAME,
               NEURON_RT_LOG_LEVEL="ERROR", OPENNRT_JOIN_TIMEOUT="60", OMPI_ALLOW_RUN_AS_ROOT="1",
               OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
               OPENNRT_INSTANCE_TYPE="trn2.48xlarge", NEURON_LOGICAL_NC_CONFIG="1",
               NEURON_RT_ROOT_COMM_ID="127.0.0.1:%d" % port_kept())
    for name in ("OPENNRT_JOB_KEY", "OPENNRT_DIR", "NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES"):
        env.pop(name, None)
    env.update(more)
    return {k: v for k, v in env.items() if v is not None}


# ---- the page ----

def blocks():
    """The indented blocks of "Starting a job" that start the example, by their first word."""
    with open(NET_MD, encoding="utf-8") as f:
        page = f.read().split("## Starting a job")[1].split("\n## ")[0]
    found = [textwrap.dedent(b) for b in re.findall(r"(?:^    .*\n)+", page, re.M) if "allreduce_" in b]
    names = ["build", "hand", "mpirun", "srun", "nodes"]
    assert len(found) == len(names), found
    by = dict(zip(names, found))
    assert by["mpirun"].startswith("mpirun ") and by["srun"].startswith("srun ") and "OPENNRT_INSTANCE" in by["nodes"]
    return by


def example(name, text, path=None):
    env = environment()
    if path:
        env["PATH"] = path + os.pathsep + env["PATH"]
    # a name of our own for what the page calls after its nodes, a port that is free
    text = re.sub(r"OPENNRT_INSTANCE=(\w+)", r"OPENNRT_INSTANCE=%s\1" % NAME, text)
    done = subprocess.run(["sh", "-e", "-c", text], env=env, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    lines = sorted(re.findall(r"rank \d of 4: 1000 sums, 0 wrong", done.stdout))
    want = ["rank %d of 4: 1000 sums, 0 wrong" % r for r in range(4)]
    if done.returncode != 0 or lines != want:
        sys.exit("%s: exit code %d\n%s\n%s" % (name, done.returncode, text, done.stdout))
    print("%s: 4 ranks" % name)


def the_page():
    page = blocks()
    # the page's port may be in use here; all else of its first block is run as it is
    first = page["build"].replace("export NEURON_RT_ROOT_COMM_ID=127.0.0.1:45678\n", "")
    assert first != page["build"]
    subprocess.run(["sh", "-e", "-c", first], env=environment(), check=True, stdout=subprocess.DEVNULL)
    example("by hand", page["hand"])
    example("two nodes", page["nodes"])
    if shutil.which("mpirun"):
        example("mpirun", page["mpirun"])
    else:
        print("NOT RUN: mpirun is not installed")
    stand_in = os.path.join(DIR.name, "bin")
    os.mkdir(stand_in)
    with open(os.path.join(stand_in, "srun"), "w", encoding="utf-8") as f:
        f.write(SRUN)
    os.chmod(f.name, 0o755)
    example("srun (a stand-in)", page["srun"], stand_in)


# ---- started wrongly ----

def start(rank, world, core=None, **env):
    return subprocess.Popen([RANK, "%s/%s.neff" % (DIR.name, "a" if world == 4 else "b"), str(rank), str(world), "1000"],
                            env=environment(NEURON_RT_VISIBLE_CORES=str(rank if core is None else core), **env), text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def output(p):
    """Of a rank that ends by itself: no limit of ours is reached before it says what is wrong."""
    out, _ = p.communicate(timeout=110)
    assert p.returncode == 1, (p.returncode, out)
    return out


def says(out, *parts):
    for part in parts:
        assert part in out, "%r is not in:\n%s" % (part, out)


def no_limit(**env):
    """Ranks that would wait for ever: an error comes before any timeout."""
    return dict(env, OPENNRT_JOIN_TIMEOUT=None)


def wrong_root():
    out = output(start(1, 4, **no_limit(NEURON_RT_ROOT_COMM_ID=None)))
    says(out, "rank 1 of 4", "NEURON_RT_ROOT_COMM_ID is not set", "set it to <ip>:<port>")
    for text in ("127.0.0.1", "127.0.0.1:port", ":4711", "[::1:4711", "127.0.0.1:99999"):
        out = output(start(2, 4, **no_limit(NEURON_RT_ROOT_COMM_ID=text)))
        says(out, "NEURON_RT_ROOT_COMM_ID of rank 2", text)
    out = output(start(0, 4, **no_limit(NEURON_RT_ROOT_COMM_ID="192.0.2.1:4711")))
    says(out, "rank 0", "NEURON_RT_ROOT_COMM_ID=192.0.2.1:4711", "this is no address of this host")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        root = "127.0.0.1:%d" % taken.getsockname()[1]
        out = output(start(0, 4, **no_limit(NEURON_RT_ROOT_COMM_ID=root)))
        says(out, "rank 0", "NEURON_RT_ROOT_COMM_ID=" + root, "another job or another rank 0 uses this port")
    root = "127.0.0.1:%d" % port_kept()
    out = output(start(3, 4, OPENNRT_JOIN_TIMEOUT="1", NEURON_RT_ROOT_COMM_ID=root))
    says(out, "rank 3 could not reach rank 0", "NEURON_RT_ROOT_COMM_ID=" + root, "start rank 0",
         "allreduce_rank: nrt_load_collectives: NRT_TIMEOUT")


def ranks_that_do_not_fit():
    subprocess.run([os.path.join(BUILD, "examples", "allreduce_build"), "3", "1000", DIR.name + "/b.neff"],
                   check=True)
    root = no_limit(NEURON_RT_ROOT_COMM_ID="127.0.0.1:%d" % port_kept())
    ranks = [start(0, 4, **root), start(1, 3, **root)]
    for p in ranks:
        says(output(p), "rank 1", "says that the job has 3 ranks, rank 0 says 4", "(g_device_count)")
    root = no_limit(NEURON_RT_ROOT_COMM_ID="127.0.0.1:%d" % port_kept())
    ranks = [start(0, 4, **root), start(1, 4, **root), start(1, 4, core=2, **root)]
    for p in ranks:
        says(output(p), "two processes are rank 1", "g_device_id")


def two_nodes(**env):
    """What the four ranks of a job on two nodes say."""
    env = no_limit(NEURON_RT_ROOT_COMM_ID="127.0.0.1:%d" % port_kept(), **env)
    ranks = [start(r, 4, core=r % 2, OPENNRT_INSTANCE=NAME + ("west" if r < 2 else "east"), **env) for r in range(4)]
    return [output(p) for p in ranks]


def no_network_library():
    """libfabric cannot be opened, or has no provider that works: said by name, where a group spans nodes."""
    broken = os.path.join(DIR.name, "broken")
    os.mkdir(broken)
    path = os.path.join(broken, "libfabric.so.1")
    with open(path, "w", encoding="utf-8"):
        pass
    before = os.environ.get("LD_LIBRARY_PATH")
    libs = {"LD_LIBRARY_PATH": broken + (":" + before if before else "")}
    for out in two_nodes(**libs):
        says(out, "NCCL init error: Error opening libfabric.so.1, cannot use collective operations! Please set "
             "LD_LIBRARY_PATH to library location. Error: %s: " % path, "libfabric1",
             "allreduce_rank: nrt_load_collectives: NRT_FAILURE")
    proves("inter-006")
    root = no_limit(NEURON_RT_ROOT_COMM_ID="127.0.0.1:%d" % port_kept(), **libs)
    for p in [start(r, 4, **root) for r in range(4)]:
        out, _ = p.communicate(timeout=110)
        assert p.returncode == 0 and "1000 sums, 0 wrong" in out, out  # one node does without
    for out in two_nodes(FI_PROVIDER="none_of_these"):
        says(out, "Unable to run multi-instance workload.  Ofi plugin is not installed or EFA is not enabled",
             "has no usable provider", "allreduce_rank: nrt_load_collectives: NRT_FAILURE")


def shown(line, out):
    """Whether the output has the line of the page, in which ... is any text."""
    return re.search(".*".join(re.escape(part) for part in line.split("...")) + "$", out, re.M) is not None


def run_until(commands, env, enough):
    """What they print until they end, or until that is enough: a rank that is left waits for ever."""
    out = ""
    with subprocess.Popen(["sh", "-c", commands], env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True) as p:
        hung = threading.Timer(110, os.killpg, (p.pid, signal.SIGKILL))
        hung.start()
        for line in p.stdout:
            out += line
            if enough(out):
                os.killpg(p.pid, signal.SIGKILL)
                break
        hung.cancel()
        hung.join()
    return out


def failures_of_the_page():
    """Their ranks end by themselves, each with a documented status, but for one where the page has a limit. That would
    be over before the others are there on a slow host, so it is longer here, and the rank is ended."""
    with open(NET_MD, encoding="utf-8") as f:
        page = f.read().split("## When a job does not start")[1].split("\n## ")[0]
    found = re.findall(r"^```sh\n(.*?)^```\n```\n(.*?)^```$", page, re.M | re.S)
    assert len(found) == page.count("```sh") == 7, found
    for commands, expected in found:
        own = "127.0.0.1:%d" % port_kept()
        lines = expected.replace("127.0.0.1:45678", own).splitlines()
        commands, limits = re.subn(r"(OPENNRT_JOIN_TIMEOUT)=\d+", r"\1=3600", commands.replace("127.0.0.1:45678", own))
        ending = commands.count("allreduce_rank ") - (limits > 0)

        def enough(out):
            ends = re.findall(r"^allreduce_rank: nrt_load_collectives: (NRT_(?:INVALID|FAILURE))$", out, re.M)
            return len(ends) == ending and all(shown(line, out) for line in lines)
        out = run_until(commands, environment(**no_limit(NEURON_RT_ROOT_COMM_ID=own)), enough)
        assert enough(out), "%s\nprints\n%s\nand not\n%s" % (commands, out, expected)


def main():
    the_page()
    failures_of_the_page()
    print("failures of the page: as it says")
    wrong_root()
    print("wrong roots: named")
    ranks_that_do_not_fit()
    print("ranks that do not fit: named")
    no_network_library()
    print("no network library: named")
    for name in (NAME, NAME + "west", NAME + "east"):
        subprocess.run([os.path.join(BUILD, "tools", "opennrt", "opennrt"), "reset"],
                       env=environment(OPENNRT_INSTANCE=name), stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    main()
