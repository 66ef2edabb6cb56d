#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every tool ends with 0, 1 for a failure and 2 for a wrong command line, and answers --help and --version.

    test_exit_codes.py <source root> <tool>..."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../support'))
from proves import proves  # noqa: E402

root, tools = sys.argv[1], {os.path.basename(t): os.path.abspath(t) for t in sys.argv[2:]}
env = dict(os.environ, OPENNRT_INSTANCE='codes%d' % os.getpid(), OPENNRT_INSTANCE_TYPE='trn1.2xlarge', LC_ALL='C')
no_such_type = dict(env, OPENNRT_INSTANCE_TYPE='nonsense')

# What fails although the command line is right: a file or folder that is not there, a host that cannot.
FAILURES = {
    'nccom-test': (env, '-r', '2', '-b', '8', '-e', '8', '-n', '1', '-w', '0', '--report-to-json-file', '/no/such/file', 'allr'),
    'neuron-dump': (env, '--local-output-dir', '/no/such/folder', '--instance-id', 'i', '--pid', '1', '--tid', '1',
                    '--log-id', '1'),
    'neuron-explorer': (env, 'capture', '-n', '/no/such/file'),
    'neuron-ls': (no_such_type,),
    'neuron-monitor': (no_such_type,),
    'neuron-packager': (env, 'info', '/no/such/file'),
    'neuron-top': (no_such_type,),
    'opennrt': (env, 'run', '/no/such/file'),
}


def code(tool, *args, env=env):
    done = subprocess.run([tools[tool], *args], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=120)
    return done.returncode, done.stdout, done.stderr


def commands(tool):
    """Its subcommands, as its help lists them."""
    return re.findall(r'^  ([a-z]+)  +\w', code(tool, '--help')[1], re.M)


try:
    in_tree = {d for d in os.listdir(os.path.join(root, 'tools')) if d not in ('common', 'viewer') and
               os.path.isdir(os.path.join(root, 'tools', d))}
    missing = in_tree - set(tools)
    assert missing <= {'neuron-top'}, missing  # needs ncurses
    for tool in sorted(tools):
        rc, out, err = code(tool, '--help')
        assert (rc, err) == (0, '') and out.startswith('usage: ' + tool), (tool, rc, out, err)
        rc, out, err = code(tool, '--version')
        assert rc == 0 and re.match(re.escape(tool) + r' \d+\.\d+\.\d+', out), (tool, rc, out, err)
        rc, out, err = code(tool, '--no-such-option')
        assert rc == 2 and out == '' and err != '', (tool, rc, out, err)
        failing = FAILURES[tool]
        rc, out, err = code(tool, *failing[1:], env=failing[0])
        assert rc == 1 and tool in err, (tool, rc, out, err)
        for command in commands(tool):
            assert code(tool, command, '--help')[0] == 0, (tool, command)
            assert code(tool, command, '--no-such-option')[0] == 2, (tool, command)
    assert len(commands('opennrt')) > 10 and len(commands('neuron-packager')) == 4, 'subcommands are found'
    proves('tool-274')
finally:
    subprocess.run([tools['opennrt'], 'reset', '--force', '-i', env['OPENNRT_INSTANCE']], env=env, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False)
