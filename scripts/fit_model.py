#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refit the parameters of data/coll_times.json and print the residuals:
fit_model.py OPENNRT [--write] [--rounds N] [--step F] [--gen v2,v3] [--clean] [--cross | --spread | --check].

A coordinate search in factors, from the values that stand in the file: each parameter in turn is
multiplied and divided by a step, which shrinks when no parameter helps any more. What is minimised is
the mean of |ln(prediction / measurement)| over the rows that the file names for fitting; for v3, also
the two documented crossovers count, as if they were rows: on 64 ranks of trn2.48xlarge mesh is to be
faster than RDH at half of 1 MB and slower at twice that, and so RDH and KangaRing around 56 MB; what
the wrong one is faster by is an error. Deterministic. --clean starts from values that know nothing: 100 ns for
every latency but the published one of the network, 1 for efficiencies, a quarter of the engines, and steps of 4; no
latency falls below 1 ns. --check fits nothing: ends with 1 if a step of 5 %, the last of a search, from the values that
stand in the file helps. --write puts values (three digits) and spreads back into the file. --spread fits nothing: the spreads of the values that stand in the file."""
import json
import math
import os
import re
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor

import bench_model

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, '..', 'data')
ARCH = {'trn1': 'v2', 'inf2': 'v2', 'trn2': 'v3'}
CROSSINGS = (('mesh', 'rdh', 1 << 20), ('rdh', 'kangaring', 56 << 20))
CROSSING_WEIGHT = 10
MARGIN = 0.03  # by which the right one is to be faster
LAST_STEP = 1.5 ** (1 / 8)  # of a search
# Not above the published figures, which are peaks. The links of trn1.32xlarge may be twice as fast as
# printed: trn1n.32xlarge has the same devices, and twice the figure is printed for it. With the rings of 2023 an
# all_gather of 32 ranks of trn1 took 149 us at its fastest: its 31 hops have 3.49 us each beyond the other latencies.
LIMITS = {'cycle_ns': {'v2': 3490.0, 'v3': math.inf}, 'hbm_efficiency': 1.0,
          'link_efficiency': {'v2': 2.0, 'v3': 1.0}, 'mesh_share': 1.0, 'net_efficiency': 1.0,
          'reduce_efficiency': 2.0}
# Nothing on v3 measures the network: these stay as published.
PUBLISHED = {'v3': {'net_ns', 'net_efficiency'}, 'v2': {'die_ns'}}  # of v2, one die


def gen_of(table):
    return ARCH[table.instance[:4]]


def crossing_error(opennrt, rates, first, second, size):
    """How far the order is from the documented one at half and at twice the size."""
    sizes = '%d,%d' % (size // 2, size * 2)
    times = [[r['time(us)'] for r in bench_model.predict(
        opennrt, 'all_reduce', 'trn2.48xlarge', sizes, alg=a, elem=2, rates=rates)]
             for a in (first, second)]
    below, above = (math.log(times[0][i] / times[1][i]) for i in (0, 1))
    return max(below + MARGIN, 0) + max(MARGIN - above, 0)


def cost(opennrt, tables, gen, rates, pool):
    jobs = [pool.submit(bench_model.fill, opennrt, t, rates, 'fit') for t in tables]
    crossings = [pool.submit(crossing_error, opennrt, rates, *c) for c in CROSSINGS
                 if gen == 'v3']
    for j in jobs:
        j.result()
    errors = [abs(r.error()) for t in tables for r in t.rows if r.use == 'fit']
    for c in crossings:
        errors += [c.result()] * CROSSING_WEIGHT
    return statistics.mean(errors)


def rounded(v):
    return float('%.3g' % v)


def limit(name, gen):
    top = LIMITS.get(name, math.inf)
    return top[gen] if isinstance(top, dict) else top


def clean(start):
    """Values from which nothing follows."""
    known = {'net_ns': 15000.0, 'mesh_share': 0.25}
    return {n: known.get(n, 100.0 if n.endswith('_ns') else 1.0) for n in start}


def neighbours(rates, step, gen):
    for name in rates:
        for factor in (step, 1 / step):
            v = min(rounded(rates[name] * factor), limit(name, gen))
            if v != rates[name]:
                yield dict(rates, **{name: v})


def at_rest(opennrt, gen, tables, rates):
    """Whether a search that stands here ends: no single one of its last steps helps."""
    with ThreadPoolExecutor(2) as pool:
        here = cost(opennrt, tables, gen, rates, pool)
        best = min(cost(opennrt, tables, gen, r, pool) for r in neighbours(rates, LAST_STEP, gen))
    print('%s: mean |ln error| %.5f, one step further at best %.5f' % (gen, here, best))
    return here - best < 1e-4


def search(opennrt, gen, tables, start, rounds):
    """Values that no single step improves any more."""
    rates, step = dict(start), 4 if '--clean' in sys.argv else 1.5
    if '--step' in sys.argv:
        step = float(sys.argv[sys.argv.index('--step') + 1])
    with ThreadPoolExecutor(2) as pool:
        best = cost(opennrt, tables, gen, rates, pool)
        for _ in range(rounds):
            before = best
            for name in rates:
                for factor in (step, 1 / step):
                    v = min(rounded(rates[name] * factor), limit(name, gen))
                    if '--clean' in sys.argv and name.endswith('_ns'):
                        v = max(v, 1.0)
                    if v == rates[name]:
                        continue
                    trial = dict(rates, **{name: v})
                    c = cost(opennrt, tables, gen, trial, pool)
                    if c < best - 1e-6:
                        best, rates = c, trial
                        break
            print('%s: mean |ln error| %.4f, step %.3f: %s' % (
                gen, best, step, ', '.join('%s %g' % i for i in rates.items())), flush=True)
            if before - best < 1e-4:
                step = math.sqrt(step)
                if step < 1.03:
                    break
    return rates


def write(values, spreads):
    path = os.path.join(DATA, 'coll_times.json')
    with open(path, encoding='utf-8') as f:
        text = f.read()
    for (name, gen), v in values.items():
        text, n = re.subn(r'("%s": \{[^}]*?"%s": )[^,}]+' % (name, gen),
                          lambda m, v=v: m.group(1) + '%g' % v, text, count=1)
        assert n == 1, name
    for gen, v in spreads.items():
        text, n = re.subn(r'("spread": \{[^}]*?"%s": )[^,}\s]+' % gen,
                          lambda m, v=v: m.group(1) + '%.3g' % v, text, count=1)
        assert n == 1, gen
    json.loads(text)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def error_bar(tables):
    """The factor of the error bar of a generation: of its tables, whose rows are predicted."""
    return bench_model.spread(bench_model.tested(tables, lambda t: not t.base))


def rows_of(tables, use):
    return [r for t in tables for r in t.rows if r.use == use and not (t.base and r is t.rows[0])]


def cross(opennrt, gen, tables, everything, start, rounds):
    """Fit to halves: every second one of the rows for fitting is put aside."""
    fitted = rows_of(tables, 'fit')
    for half in (0, 1):
        for i, r in enumerate(fitted):
            r.use = 'fit' if i % 2 == half else 'aside'
        rates = search(opennrt, gen, tables, start, rounds)
        for t in everything:
            bench_model.fill(opennrt, t, rates)
        print('%s, half %d: %s' % (gen, half, ', '.join('%d rows %s %.1f%%' % (
            len(rows_of(everything, use)), what, 100 * bench_model.geometric(rows_of(everything, use)))
            for use, what in (('fit', 'fitted to'), ('aside', 'put aside'), ('test', 'for testing')))), flush=True)
    for r in fitted:
        r.use = 'fit'


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    opennrt = sys.argv[1]
    rounds = int(sys.argv[sys.argv.index('--rounds') + 1]) if '--rounds' in sys.argv else 40
    gens = sys.argv[sys.argv.index('--gen') + 1].split(',') if '--gen' in sys.argv else ['v2', 'v3']
    with open(os.path.join(DATA, 'coll_times.json'), encoding='utf-8') as f:
        given = json.load(f)['parameters']
    values, spreads, rest = {}, {}, True
    for gen in gens:
        everything = [t for t in bench_model.load(DATA) if t.use != 'skip' and gen_of(t) == gen]
        tables = [t for t in everything if t.use == 'fit']
        start = {n: p[gen] for n, p in given.items()
                 if p['fitted'] and n not in PUBLISHED[gen]}
        if '--check' in sys.argv:
            rest &= at_rest(opennrt, gen, tables, start)
            continue
        if '--clean' in sys.argv:
            start = clean(start)
        if '--cross' in sys.argv:
            cross(opennrt, gen, tables, everything, start, rounds)
            continue
        rates = start if '--spread' in sys.argv else search(opennrt, gen, tables, start, rounds)
        values.update({(n, gen): v for n, v in rates.items()})
        for t in everything:
            bench_model.fill(opennrt, t, rates)
        spreads[gen] = error_bar(everything)
        bench_model.report(everything, True)
        bench_model.summary(everything)
    if '--write' in sys.argv:
        write(values, spreads)
    return 0 if rest else 1


if __name__ == '__main__':
    sys.exit(main())
