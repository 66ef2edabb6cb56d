#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An installed tree is all that a program needs: headers, libraries, pkg-config files, tools, pages.

usage: test_install.py PREFIX                     a tree that was installed there
       test_install.py --build BUILD MESON        installs the build into a folder of its own first"""
import glob
import os
import re
import subprocess
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(os.path.dirname(here))
TOOLS = sorted(name for name in os.listdir(os.path.join(root, 'tools'))
               if os.path.exists(os.path.join(root, 'tools', name, 'main.c')) or
               os.path.exists(os.path.join(root, 'tools', name, name + '.sh')))
TOOLS = sorted(TOOLS + [os.path.basename(p) for p in glob.glob(os.path.join(root, 'tools', '*', 'neuron-*.py'))])


def run(*cmd, **kw):
    done = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if done.returncode != 0:
        sys.exit(f'{" ".join(cmd)}: exit code {done.returncode}\n{done.stdout}')
    return done.stdout


def check_files(prefix, libdir):
    """All that belongs there, and nothing of ours that is not public."""
    public = {os.path.relpath(h, os.path.join(root, 'include'))
              for h in glob.glob(os.path.join(root, 'include', '**', '*.h'), recursive=True)}
    installed = {os.path.relpath(h, os.path.join(prefix, 'include'))
                 for h in glob.glob(os.path.join(prefix, 'include', '**', '*.h'), recursive=True)}
    assert installed == public, installed ^ public
    for name, major in (('nrt', 1), ('neff', 0)):
        assert os.path.exists(os.path.join(libdir, f'lib{name}.so')), name
        soname = run('readelf', '-d', os.path.join(libdir, f'lib{name}.so'))
        assert re.search(rf'SONAME.*\[lib{name}\.so\.{major}\]', soname), soname
    assert sorted(os.listdir(os.path.join(prefix, 'bin'))) == TOOLS
    for tool in TOOLS:
        page = os.path.join(prefix, 'share', 'man', 'man1', tool + '.1')
        assert os.path.exists(page), page + ' is missing'


def check_tools(prefix, env):
    """They run where they are: no path of the build, no search path of the caller."""
    for tool in TOOLS:
        path = os.path.join(prefix, 'bin', tool)
        assert 'usage' in run(path, '--help', env=env).lower(), tool
    assert 'instance-type: ' in run(os.path.join(prefix, 'bin', 'neuron-ls'), env=env)


def named_options(prefix, name, follow):
    """Long options on a page, and, with follow, on the pages that it refers to."""
    with open(os.path.join(prefix, 'share', 'man', 'man1', name)) as f:
        text = f.read().replace('\\-', '-')
    named = set(re.findall(r'--[a-z][\w-]*', text))
    others = re.findall(r'^\.so man1/(\S+)$', text, re.M)
    if follow:
        others += [o + '.1' for o in re.findall(r'^\.BR? "?([a-z-]+)', text, re.M) if o in TOOLS]
    return named.union(*(named_options(prefix, o, False) for o in others))


def check_pages(prefix, env):
    """Every long option that the help of a tool, or of one of its commands, names is on its page, or on
    one that it refers to."""
    for tool in TOOLS:
        path = os.path.join(prefix, 'bin', tool)
        text = run(path, '--help', env=env)
        commands = re.findall(r'^  ([a-z][a-z-]*)  ', text, re.M) if 'commands:' in text else []
        for command in commands:
            text += run(path, command, '--help', env=env)
        missing = set(re.findall(r'(?<![\w-])--[a-z][\w-]*', text)) - {'--help', '--version'}
        missing -= named_options(prefix, tool + '.1', True)
        assert not missing, f'{tool}.1 lacks {sorted(missing)}'


def check_programs(libdir, env, tmp, sysroot):
    pkg = dict(env, PKG_CONFIG_LIBDIR=os.path.join(libdir, 'pkgconfig'))
    if sysroot:
        pkg['PKG_CONFIG_SYSROOT_DIR'] = sysroot
    flags = run('pkg-config', '--cflags', '--libs', 'nrt', 'neff', env=pkg).split()
    assert run('pkg-config', '--modversion', 'nrt', env=pkg).strip()
    used = dict(env, LD_LIBRARY_PATH=libdir)
    c, cpp = os.path.join(tmp, 'c'), os.path.join(tmp, 'cpp')
    warn = ['-Wall', '-Wextra', '-Werror']   # not -pedantic: a documented struct ends in a flexible array
    run('cc', '-std=c17', *warn, os.path.join(here, 'installed', 'program.c'), '-o', c, *flags, cwd=tmp)
    run('c++', '-std=c++17', *warn, os.path.join(here, 'installed', 'program.cpp'), '-o', cpp, *flags,
        cwd=tmp)
    got = run(c, env=used)
    # c[6] = (6 + 0) * (6 + 1)
    assert got == '6 * 7 = 42\n', got
    got = run(cpp, env=used)
    assert re.fullmatch(r'same, [1-9]\d* cores, NRT_SUCCESS\n', got), got


def main():
    with tempfile.TemporaryDirectory() as tmp:
        prefix, sysroot = sys.argv[1], ''
        if prefix == '--build':
            sysroot = os.path.join(tmp, 'root')
            run(sys.argv[3], 'install', '-C', sys.argv[2], '--no-rebuild', '--destdir', sysroot)
            libs = glob.glob(os.path.join(sysroot, '**', 'libnrt.so'), recursive=True)
            libdir = os.path.dirname(libs[0])
            prefix = os.path.dirname(os.path.dirname(
                glob.glob(os.path.join(sysroot, '**', 'bin', 'opennrt'), recursive=True)[0]))
        else:
            libdir = os.path.join(prefix, 'lib')
        env = {k: v for k, v in os.environ.items() if k not in ('LD_LIBRARY_PATH', 'PKG_CONFIG_PATH')}
        env['OPENNRT_INSTANCE'] = 'install%d' % os.getpid()
        check_files(prefix, libdir)
        try:
            check_tools(prefix, env)
            check_pages(prefix, env)
            check_programs(libdir, env, tmp, sysroot)
        finally:
            run(os.path.join(prefix, 'bin', 'opennrt'), 'reset', env=env)


main()
