#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two nodes as two network name spaces with a veth pair between them: real addresses, hosts that share
no key file, and a link that goes down.

    test_net_namespaces.py <test_net_processes> <test_net_link> <test_coll_net>     77: not permitted here
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support'))
from proves import proves  # noqa: E402

HERE, THERE = "10.77.0.1", "10.77.0.2"


def run(*args):
    subprocess.run(args, check=True)


class Rank:
    """A helper of a test program, here or in the other name space."""

    def __init__(self, program, helper, args, home, other=None):
        env = dict(os.environ, HOME=home, NEURON_RT_LOG_LEVEL="WARN")
        for name in ("OPENNRT_JOB_KEY", "OPENNRT_DIR", "XDG_RUNTIME_DIR"):
            env.pop(name, None)
        enter = ["nsenter", "-t", str(other), "-n"] if other else []
        self.log = tempfile.TemporaryFile("w+")
        self.p = subprocess.Popen(enter + [program, "--runner-helper", helper] + [str(a) for a in args],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                  env=env, text=True)

    def line(self, start):
        """The next line that begins so; the program's own limits end the wait."""
        for text in self.p.stdout:
            if text.startswith(start):
                return text.rstrip("\n")
        raise AssertionError("no line %r; log: %s" % (start, self.logged()))

    def logged(self):
        self.log.seek(0)
        return self.log.read()

    def end(self):
        try:
            self.p.stdin.write("bye\n")
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        self.p.wait()


def expect(text, *parts):
    for part in parts:
        assert part in text, "%r is not in %r" % (part, text)


def nodes():
    other = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 1000"],
                             stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "ready\n"
    inside = ["nsenter", "-t", str(other.pid), "-n"]
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(other.pid))
    run("ip", "addr", "add", HERE + "/24", "dev", "here")
    run("ip", "link", "set", "here", "up")
    run(*inside, "ip", "addr", "add", THERE + "/24", "dev", "there")
    run(*inside, "ip", "link", "set", "there", "up")
    run(*inside, "ip", "link", "set", "lo", "up")
    return other


def hosts_without_a_common_key_file(processes, other, homes):
    root = HERE + ":4711"
    ranks = [Rank(processes, "rank", (0, root, 2, "-", 30), homes[0]),
             Rank(processes, "rank", (1, root, 2, "-", 30), homes[1], other)]
    for r in ranks:
        expect(r.line("ended"), "ended 0 ")
    for r in reversed(ranks):
        r.end()
        expect(r.logged(), "this job is not authenticated", "OPENNRT_JOB_KEY")


def a_stranger_of_the_same_host(processes, homes):
    """It is refused, and its place is still there for the one whose it is."""
    root = HERE + ":4712"
    keeper = Rank(processes, "rank", (0, root, 2, "-", 30), homes[0])
    thief = Rank(processes, "rank", (1, root, 2, "-", 30), homes[1])
    expect(thief.line("failed"), "do not have the same key")
    thief.end()
    ranks = [keeper, Rank(processes, "rank", (1, root, 2, "-", 30), homes[0])]
    for r in ranks:
        expect(r.line("ended"), "ended 0 ")
    for r in reversed(ranks):
        r.end()


def no_way_to_the_root(processes, other, homes):
    lost = Rank(processes, "rank", (1, "10.99.0.1:4713", 2, "k", 1), homes[0], other)
    expect(lost.line("failed"), "failed 2 ",
           "No interface found in the same subnet as remote address 10.99.0.1:4713", "rank 1")
    proves("inter-007")
    lost.end()


def tensors_between_nodes(link, other, homes):
    root = HERE + ":4714"
    ranks = [Rank(link, "ring", (0, root, 2, "any", 3), homes[0]),
             Rank(link, "ring", (1, root, 2, "any", 3), homes[0], other)]
    for r in ranks:
        expect(r.line("ended"), "ended 0 ")
    for r in reversed(ranks):
        r.end()


def the_link_goes_down(processes, other, homes):
    """Nobody says goodbye, and no kernel closes anything: silence is what both sides notice."""
    root = HERE + ":4715"
    ranks = [Rank(processes, "rank", (0, root, 2, "k", 0, 2000), homes[0]),
             Rank(processes, "rank", (1, root, 2, "k", 0, 2000), homes[0], other)]
    for r in ranks:
        r.line("busy")
    run("ip", "link", "set", "here", "down")
    expect(ranks[0].line("ended"), "ended 1 1 ", "RX, connection closed by remote peer: rank 1 (")
    expect(ranks[1].line("ended"), "ended 1 0 ", "RX, connection closed by remote peer: rank 0 (")
    for r in ranks:
        r.end()
    run("ip", "link", "set", "here", "up")


def collectives(coll, other, homes, root, ops, silence_ms):
    """Two nodes of one rank, each with the interface of its name space: all_reduce of 20,000 bytes."""
    return [Rank(coll, "rank", (0, root, 2, 1, homes[0], 120000, 5000, ops, silence_ms), homes[0]),
            Rank(coll, "rank", (1, root, 2, 1, homes[0], 120000, 5000, ops, silence_ms), homes[1], other)]


def collectives_between_nodes(coll, other, homes):
    ranks = collectives(coll, other, homes, HERE + ":4716", 30, 0)
    for r in ranks:
        expect(r.line("ended"), "ended 0 ")
    for r in reversed(ranks):
        r.end()


def the_link_goes_down_in_a_collective(coll, other, homes):
    """1206: the network, whose silence of 2 s is noticed; long before the limit of the operation."""
    ranks = collectives(coll, other, homes, HERE + ":4717", 0, 2000)
    for r in ranks:
        r.line("busy")
    run("ip", "link", "set", "here", "down")
    for i, r in enumerate(ranks):
        text = r.line("ended")
        expect(text, "ended 1206 ", "rank %u (" % (1 - i), "operation ", "(all_reduce by rdh)")
    for r in ranks:
        r.end()
    run("ip", "link", "set", "here", "up")
    collectives_between_nodes(coll, other, homes)


def inner(processes, link, coll):
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        other = nodes()
        try:
            homes = (a, b)
            hosts_without_a_common_key_file(processes, other.pid, homes)
            a_stranger_of_the_same_host(processes, homes)
            no_way_to_the_root(processes, other.pid, homes)
            tensors_between_nodes(link, other.pid, homes)
            the_link_goes_down(processes, other.pid, homes)
            collectives_between_nodes(coll, other.pid, homes)
            the_link_goes_down_in_a_collective(coll, other.pid, homes)
        finally:
            other.kill()
    print("two nodes, 7 tests")


def main():
    if sys.argv[1] == "--inner":
        inner(*sys.argv[2:5])
        return 0
    try:
        probe = subprocess.run(["unshare", "-rn", "sh", "-c", "ip link add here type veth peer name there && unshare -n true"],
                               capture_output=True, text=True)
    except FileNotFoundError as e:
        print("NOT RUN: %s" % e)
        return 77
    if probe.returncode != 0:
        print("NOT RUN: no network name space with a veth pair here: %s" % probe.stderr.strip())
        return 77
    return subprocess.run(["unshare", "-rn", sys.executable, os.path.abspath(__file__), "--inner"] +
                          sys.argv[1:4]).returncode


if __name__ == "__main__":
    sys.exit(main())
