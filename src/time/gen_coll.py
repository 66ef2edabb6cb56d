#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""data/coll_times.json and data/instances.json -> constant tables in C (included by coll_rates.c):
gen_coll.py COLL_TIMES INSTANCES OUT. A parameter that the room does not know, or misses, stops the
build."""
import json
import sys

GENS = ('v2', 'v3', 'v4')
PARAMETERS = ('launch_ns', 'issue_ns', 'dma_start_ns', 'restart_ns', 'signal_ns', 'cycle_ns', 'hop_ns', 'die_ns',
              'net_ns', 'cycle_share', 'mesh_share', 'reduce_efficiency', 'hbm_efficiency', 'link_efficiency',
              'net_efficiency')
GIB = 2 ** 30 / 1e9


def number(v):
    return 'NAN' if v is None else repr(float(v))


def value(obj, key):
    v = obj.get(key) or {}
    return (v.get('value'), v.get('unit', ''))


def gb_per_s(v, unit):
    """A published bandwidth in decimal GB/s."""
    if v is None:
        return None
    scale = {'GiB/s': GIB, 'GB/s': 1.0, 'TB/s': 1000.0, 'B/ns': 1.0}
    return v * next(s for u, s in scale.items() if unit.startswith(u))


def chip_row(chip):
    engine = gb_per_s(*value(chip, 'dma_engine_bandwidth'))
    hbm = gb_per_s(*value(chip, 'hbm_bandwidth')) / chip['hbm_stacks']['value']
    return '{%s, %s, %s, %d}' % (number(engine), number(chip['dma_engines_per_core']['value']), number(hbm),
                                 value(chip, 'dies')[0] or 1)


def links(inst):
    """One way, GB/s: a link inside a server, and one between servers."""
    nl = inst.get('neuronlink', {})
    inside = None
    for key in ('per_link_bandwidth', 'per_link_intra_bandwidth'):
        inside = inside or gb_per_s(*value(nl, key))
    between = gb_per_s(*value(inst.get('z_links', {}), 'per_link_inter_bandwidth'))
    between = between or gb_per_s(*value(nl, 'per_link_inter_bandwidth'))
    levels = nl.get('levels')
    if levels:  # printed as the sum of both ways, per chip
        inside = gb_per_s(*value(levels, 'intra_server')) / 2
        between = gb_per_s(*value(levels, 'inter_server')) / 2
    return inside, between


def main():
    with open(sys.argv[1], encoding='utf-8') as f:
        times = json.load(f)
    with open(sys.argv[2], encoding='utf-8') as f:
        data = json.load(f)
    given = times['parameters']
    if set(given) != set(PARAMETERS):
        sys.exit('parameters of %s: %s' % (sys.argv[1], sorted(set(given) ^ set(PARAMETERS))))
    out = ['/* SPDX-License-Identifier: Apache-2.0 */',
           '/* Made by gen_coll.py from data/coll_times.json and data/instances.json. */',
           'static const double fitted_rates[3][%d] = {' % len(PARAMETERS)]
    for gen in GENS:
        out.append('    {%s},' % ', '.join(number(given[p][gen]) for p in PARAMETERS))
    out += ['};', 'static const double rate_spread[3] = {%s};' %
            ', '.join(number(times['spread'][g]) for g in GENS),
            'static const char *const fitted_names[] = {%s};' %
            ', '.join('"%s"' % p for p in PARAMETERS),
            'static const struct chip_rates chip_rates[3] = {']
    for gen, prefix in zip(GENS, ('NeuronCore-v2', 'NeuronCore-v3', 'NeuronCore-v4')):
        out.append('    %s,' % chip_row(next(c for n, c in data['chips'].items()
                                             if n.startswith(prefix))))
    out += ['};', 'static const struct link_rates link_rates[] = {']
    for name, inst in data['instances'].items():
        if 'server_type' in inst:
            base = dict(data['instances'][inst['server_type']])
            inside, between = links(base)
            between = links(inst)[1] or between
        else:
            inside, between = links(inst)
        out.append('    {"%s", %s, %s},' % (name, number(inside), number(between)))
    out.append('};')
    with open(sys.argv[3], 'w', encoding='utf-8') as f:
        f.write('\n'.join(out) + '\n')


if __name__ == '__main__':
    main()
