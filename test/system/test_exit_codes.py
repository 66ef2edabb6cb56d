#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every tool ends with 0, 1 for a failure and 2 for a wrong command line, and answers --help and --version.

    test_exit_codes.py <source root> <tool>..."""
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../support'))
from tools import control_of, proves  # noqa: E402

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
# Commands of opennrt whose options are not of the table that has --version.
NO_VERSION = {'asm', 'disasm', 'predict', 'run', 'schedule'}


def code(tool, *args, env=env):
    done = subprocess.run([tools[tool], *args], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=120)
    return done.returncode, done.stdout, done.stderr


def to_nobody(tool, *args):
    """The exit code when there is no room for the answer."""
    with open('/dev/full', 'wb') as full:
        return subprocess.run([tools[tool], *args], env=env, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE,
                              check=False, timeout=120).returncode


def commands(tool):
    """Its subcommands, as its help lists them."""
    return re.findall(r'^  ([a-z]+)  +\w', code(tool, '--help')[1], re.M)


def spec(name):
    with open(os.path.join(root, 'docs/spec', name), encoding='utf-8') as f:
        return f.read()


def listed():
    """Every option above tool-275 in the checklist: how the tool is asked for its help, and the spellings that this must show."""
    options = re.findall(r'`tool-\d+` (.*?) (?:option )?(-{1,2}[A-Za-z].*?)(?: \(.*?\))? \u2014 behaviour', spec('checklist.md').split('`tool-275`')[0])
    text = spec('behaviour.md')
    parts = re.search(r'`capture \[options\](.*?)`inspect \[(.*?)`view`:(.*?) Global (.*?) Outputs:', text, re.S).groups()
    explorer = [(command, set(re.findall(r'(?<![\w-])--?[a-zA-Z][\w-]*', part)))
                for command, part in zip((['capture'], ['inspect'], ['view'], []), parts)]
    for tool, option in options:
        names = option.split('/')
        if tool == 'profile view tool':
            places = [['neuron-explorer'] + command for command, known in explorer if set(names) <= known]
            assert places, option
            for place in places:
                yield place, names
        else:
            yield tool.split(), names


def every_option_is_listed():
    seen, helps = set(), {}
    for (tool, *command), names in listed():
        key = (tool, *command)
        if key not in helps:
            rc, helps[key], _ = code(tool, *command, '--help')
            assert rc == 0, key
        for name in names:
            assert re.search(r'(?<![\w-])%s(?![\w-])' % re.escape(name), helps[key]), (key, name)
        seen.add((tool, names[-1]))
    assert {t for t, _ in seen} == {'nccom-test', 'neuron-explorer', 'neuron-ls', 'neuron-monitor', 'neuron-packager'}, seen
    assert len(seen) > 100, len(seen)
    assert {('neuron-explorer', '--db-bucket'), ('nccom-test', '--cc-dim'), ('neuron-packager', '--keep-debug')} <= seen


def one_comes_while_a_monitor_runs(head):
    with tempfile.NamedTemporaryFile('w', suffix='.json') as config:
        config.write('{"period": "20ms", "system_metrics": [{"type": "memory_info"}]}')
        config.flush()
        with subprocess.Popen([tools['neuron-monitor'], '-c', config.name], env=env, stdout=subprocess.PIPE, text=True) as p:
            def said():
                return json.loads(p.stdout.readline())['neuron_hardware_info']['error']
            assert said() == ''
            path = control_of(env['OPENNRT_INSTANCE'])
            assert code('opennrt', 'reset')[0] == 0
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(path + '.new', 'xb') as control:
                control.write(head[:8] + bytes([head[8] ^ 1]) + head[9:] + bytes(4096))
            os.rename(path + '.new', path)  # whole at once, as the runtime makes it
            while not (error := said()):  # the document that was under way
                pass
            assert 'was made by version' in error, error
            os.unlink(path)
            while said():
                pass
            p.kill()


def an_instance_of_another_version():
    """Nobody shows it as an empty one: a scheduler would place work on cores that are in use."""
    rc, _, err = code('nccom-test', '-r', '2', '-b', '8', '-e', '8', '-n', '1', '-w', '0', 'allr')
    assert rc == 0, err
    lookers = [('neuron-ls',), ('neuron-ls', '-j'), ('neuron-monitor', '-n', '1'), ('opennrt', 'sysfs', '--snapshot', '/no/such/x')]
    lookers += [('neuron-top',)] if 'neuron-top' in tools else []
    with open(control_of(env['OPENNRT_INSTANCE']), 'r+b', buffering=0) as control:
        head = control.read(12)  # a magic number, and the version of what follows
        for wrong, said in ((head[:8] + bytes([head[8] ^ 1]) + head[9:], 'was made by version'),
                            (bytes([head[0] ^ 1]) + head[1:], 'is not a control block')):
            control.seek(0)
            control.write(wrong)
            for tool, *args in lookers:
                rc, out, err = code(tool, *args)
                assert rc == 1 and out == '' and said in err and 'opennrt reset' in err, (tool, rc, out, err)
        control.seek(0)
        control.write(head)
    one_comes_while_a_monitor_runs(head)
    # One of another type than a new process would make is shown as it is.
    assert code('nccom-test', '-r', '2', '-b', '8', '-e', '8', '-n', '1', '-w', '0', 'allr')[0] == 0
    out = code('neuron-ls', env=dict(env, OPENNRT_INSTANCE_TYPE='trn2.48xlarge', NEURON_LOGICAL_NC_CONFIG='2'))[1]
    assert out.startswith('instance-type: trn1.2xlarge\n'), out


try:
    every_option_is_listed()
    proves('tool-275')
    in_tree = {d for d in os.listdir(os.path.join(root, 'tools')) if d not in ('common', 'viewer') and
               os.path.isdir(os.path.join(root, 'tools', d))}
    missing = in_tree - set(tools)
    assert missing <= {'neuron-top'}, missing  # needs ncurses
    for tool in sorted(tools):
        rc, out, err = code(tool, '--help')
        assert (rc, err) == (0, '') and out.startswith('usage: ' + tool), (tool, rc, out, err)
        rc, out, err = code(tool, '--version')
        assert rc == 0 and re.match(re.escape(tool) + r' \d+\.\d+\.\d+', out), (tool, rc, out, err)
        assert [to_nobody(tool, '--help'), to_nobody(tool, '--version')] == [1, 1], tool
        rc, out, err = code(tool, '--no-such-option')
        assert rc == 2 and out == '' and err != '', (tool, rc, out, err)
        failing = FAILURES[tool]
        rc, out, err = code(tool, *failing[1:], env=failing[0])
        assert rc == 1 and tool in err, (tool, rc, out, err)
        for command in commands(tool):
            rc, out, _ = code(tool, command, '--help')
            assert (rc, to_nobody(tool, command, '--help')) == (0, 1), (tool, command)
            if tool == 'opennrt' and command not in NO_VERSION:
                assert '--version' in out, command
                rc, out, err = code(tool, command, '--version')
                assert (rc, err) == (0, '') and re.match(r'opennrt %s \d+\.\d+\.\d+' % command, out), (command, rc, out, err)
            rc, out, err = code(tool, command, '--no-such-option')
            assert (rc, out) == (2, '') and (tool != 'opennrt' or 'no-such-option' in err), (tool, command, rc, out, err)
    assert len(commands('opennrt')) > 10 and len(commands('neuron-packager')) == 4, 'subcommands are found'
    for tool, *args in (('opennrt', 'doctor'), ('opennrt', 'fit', '--tensors', '0:5'), ('neuron-ls',),
                        ('neuron-ls', '-j'), ('neuron-top',), ('neuron-explorer', '--show-profile-schema')):
        if tool not in tools:
            continue
        assert code(tool, *args)[0] == 0 and to_nobody(tool, *args) == 1, (tool, args)
    an_instance_of_another_version()
    proves('tool-274')
finally:
    subprocess.run([tools['opennrt'], 'reset', '--force', '-i', env['OPENNRT_INSTANCE']], env=env, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False)
