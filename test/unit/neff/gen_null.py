# SPDX-License-Identifier: Apache-2.0
"""gen_null.py include/neff/build.h: calls of every function with NULL for each of its pointers, one at a time, and with
NULL in each pointer of every struct. A function, a parameter or a struct that is new to this file ends the build.

Printed are lines of an X macro: X(what, may_be_null, expression), where the expression is of type int and negative when
the call failed; b is a builder that can be written (test_null.c has the samples)."""
import re
import sys

# Values of the parameters, by name; "function.name" goes first. Pointers are names of test_null.c.
VALUES = {
    'b': 'b', 'graph': '0', 'engine': 'NEFF_SP', 'version': '1', 'name': '"new"', 'dtype': '"float32"', 'ndim': '1',
    'shape': 'shape', 'size': '8', 'alignment': '0', 'area': '"west"', 'off': '0', 'data': 'bytes', 'data_size': '4',
    'path': 'path', 'var': '0', 'vars': 'vars', 'count': '1', 'q': '&queue', 'g': '&group', 'group': '0', 'd': '&desc',
    'from': '0', 'from_off': '0', 'to': '1', 'to_off': '0', 'code': 'bytes', 'file': '"x.nasm"', 'line': '1',
    'label': '"here"', 'op': '"add"', 'control': 'bytes', 'control_size': '4', 'datapath': 'bytes', 'datapath_size': '4',
    'opcode': 'bytes', 'opcode_size': '4', 'c': '&coll', 'n': '&node', 'options': '&options', 'ret_bytes': '&written',
    'ret_size': '&written_size', 'bytes': 'NULL', 'neff_build_program.engine': 'NEFF_ACT', 'neff_build_node.n': '&node',
}
# What a comment of the header allows.
MAY_BE_NULL = {
    'neff_build_create.name', 'neff_build_destroy.b', 'neff_build_isa.name', 'neff_build_virtual.area',
    'neff_build_debug.file', 'neff_build_debug.label', 'neff_build_debug.op', 'neff_build_write_memory.options',
    'neff_build_write_file.options', 'neff_build_free.bytes', 'neff_build_queue.owner', 'neff_build_group.instance_name',
    'neff_build_group.function_start', 'neff_build_side.dtype', 'neff_build_desc.op', 'neff_build_desc.scales',
    'neff_build_desc.constant_dtype', 'neff_build_coll.reduce', 'neff_build_coll.dtype', 'neff_build_coll.algorithm',
    'neff_build_node.name', 'neff_build_tensor.format', 'neff_build_options.build_version', 'neff_build_options.arch',
}
# Made int: how the result of a function tells that it failed.
RESULT = {'int': '%s', 'NRT_STATUS': 'failed(%s)', 'void': '(%s, 0)', 'struct neff_build *': 'created(%s)',
          'const char *': 'told(%s)'}


def declarators(text):
    """(name, is it a pointer) of a member's declaration or a parameter."""
    parts = text.split(',')
    for part in parts:
        yield re.findall(r'[A-Za-z_]\w*', re.sub(r'\[[^]]*\]', '', part))[-1], '*' in part


def main():
    with open(sys.argv[1], encoding='ascii') as f:
        text = re.sub(r'/\*.*?\*/|^#.*?$', ' ', f.read(), flags=re.S | re.M)
    count = 0
    functions = re.findall(r'NEFF_API\s+([\w\s*]+?)\s*\b(neff_build_\w+)\(([^;]*)\);', text)
    assert len(functions) == text.count('NEFF_API'), functions
    for result, name, parameters in functions:
        result = ' '.join(result.replace('*', ' * ').split())
        params = [next(declarators(p)) for p in parameters.split(',')]
        for k, (null, pointer) in enumerate(params):
            if not pointer:
                continue
            args = ['NULL' if i == k else VALUES.get(f'{name}.{p}') or VALUES[p] for i, (p, _) in enumerate(params)]
            what = f'{name}.{null}'
            print('X("%s", %d, %s) \\' % (what, what in MAY_BE_NULL, RESULT[result] % f'{name}({", ".join(args)})'))
            count += 1
    for struct, members in re.findall(r'struct (neff_build_\w+) \{([^}]*)\};', text):
        for member in members.split(';'):
            for name, pointer in declarators(member) if member.strip() else ():
                if pointer:
                    what = f'{struct}.{name}'
                    print('X("%s", %d, WITHOUT(%s, %s)) \\' % (what, what in MAY_BE_NULL, struct, name))
                    count += 1
    assert count > 80, count


print('#define NULL_CALLS(X) \\')
main()
print()
