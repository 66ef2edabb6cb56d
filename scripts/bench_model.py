#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Predictions of collectives beside published measurements: bench_model.py OPENNRT [DATA].

Every row of DATA/published_nccom.json is compared with what `opennrt predict` says; which rows the
parameters were fitted to stands in DATA/coll_times.json ("tables"). Printed are the rows (-v), the
error of each table, and means over the rows that nothing was fitted to. The error of a table is the geometric
mean of the factors between prediction and measurement, the larger by the smaller, less one ("factors"). The last
lines have beside it the arithmetic ("errors") and the geometric mean of |prediction / measurement - 1|, which take a
prediction that is far too small for less than one that is as much too large."""
import json
import math
import os
import statistics
import subprocess
import sys

ITEM = {'fp32': 4, 'bf16': 2, 'fp16': 2, 'uint8': 1, None: 4}
FACTOR = {'all_reduce': lambda n: 2 * (n - 1) / n, 'all_gather': lambda n: (n - 1) / n,
          'reduce_scatter': lambda n: (n - 1) / n}
GIB = {'GiB (2^30)': 2 ** 30 / 1e9}


class Row:
    """One measurement, and what it is compared with."""

    def __init__(self, table, size, measured, use, what='time(us)'):
        self.table, self.size, self.measured, self.use, self.what = (
            table, size, measured, use, what)
        self.predicted = self.algorithm = None
        self.stalls = 0  # iterations that were hit by a stall (Table.find_stalls)

    def steady(self):
        """The measurement without stalls."""
        return self.measured - self.stalls * self.table.stall_us

    def error(self):
        """ln of prediction / measurement."""
        return math.log(self.predicted / self.steady())

    def raw_error(self):
        """The same, stalls and all."""
        return math.log(self.predicted / self.measured)


class Table:
    """A published table, with what coll_times.json says about it."""

    def __init__(self, published, how):
        self.id, self.use, self.why = published['id'], how['use'], how.get('why', '')
        self.op = how.get('op', published['op'])
        self.instance = how.get('instance', published.get('instance'))
        self.ranks = how.get('ranks', published['ranks'])
        self.nodes, self.lnc = published['nodes'], published.get('lnc')
        self.dtype, self.base = published.get('dtype'), how.get('base', False)
        self.cores = how.get('cores')
        self.alg = how.get('alg')  # a name, or the largest message of each by bytes a rank of a node
        self.base_us = 0.0
        self.assumed = how.get('assumed', False)
        self.sweep = how.get('peak_of') or how.get('mean_of')
        self.peak = 'peak_of' in how
        self.rows = [self.row(i, r) for i, r in enumerate(published['rows'])]
        # A message that takes more than twice as long as a larger one: no function of the size fits.
        self.disorder = any(a.measured > 2 * b.measured for a in self.rows for b in self.rows
                            if None not in (a.size, b.size) and a.size < b.size)
        self.iters = how.get('iters', published.get('iters'))
        self.stall_us = 0.0  # what one stalled iteration adds to the mean
        if self.disorder and self.iters:
            self.find_stalls()

    def find_stalls(self):
        """A mean of n iterations, k of which were hit by one and the same stall, lies k/n of the stall above the
        others. Looked for is the step that all rows are whole multiples of, above the smallest one; nothing but the
        table is looked at. Taken when the rest is below a tenth of the step, which chance does not give: of 2000
        tables of random times between the same bounds none came below an eighth."""
        times = [r.measured for r in self.rows]
        low, high = min(times), max(times)
        rest = {}
        for i in range(1000):  # k is at most n
            step = (high - low) / self.iters * self.iters ** (i / 1000)
            rest[step] = math.sqrt(statistics.mean(((t - low) / step - round((t - low) / step)) ** 2 for t in times))
        step = min(rest, key=rest.get)
        if rest[step] < 0.1:
            self.stall_us = step
            for r in self.rows:
                r.stalls = round((r.measured - low) / step)

    def row(self, i, r):
        fitted = self.use == 'fit' and i % 2 == 0 or self.base and i == 0
        time = r.get('time_us', r.get('time_avg_us'))
        use = 'fit' if fitted else 'test'
        if time is None:
            return Row(self, r['size_B'], r['busbw'], use, 'busbw(GB/s)')
        return Row(self, r['size_B'], time, use)


    def alg_of(self, row):
        """What the row is compared with; None: what the documented table chooses."""
        if not isinstance(self.alg, dict):
            return self.alg
        each = row.size / (self.ranks / self.nodes)
        return next(a for a, most in self.alg.items() if most is None or each <= most)


def load(data):
    with open(os.path.join(data, 'published_nccom.json'), encoding='utf-8') as f:
        published = json.load(f)['tables']
    with open(os.path.join(data, 'coll_times.json'), encoding='utf-8') as f:
        how = json.load(f)['tables']
    names = {t['id'] for t in published}
    if names != set(how) - {'about'}:
        sys.exit('tables: %s' % sorted(names ^ (set(how) - {'about'})))
    return [Table(t, how[t['id']]) for t in published]


def predict(opennrt, op, instance, sizes, ranks=None, nodes=1, lnc=None, elem=4, alg=None,
            rates=None, cores=None):
    """Rows of `opennrt predict`, as it prints them in JSON."""
    args = [opennrt, 'predict', '--json', '--op', op, '--instance', instance, '--nodes', str(nodes),
            '--dtype', str(elem), '--sizes', sizes]
    args += ['--ranks', str(ranks)] if ranks else []
    args += ['--lnc', str(lnc)] if lnc else []
    args += ['--alg', alg] if alg else []
    args += ['--cores', ','.join(map(str, cores))] if cores else []
    for name, value in (rates or {}).items():
        args += ['--set', '%s=%r' % (name, value)]
    run = subprocess.run(args, check=False, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError('%s: %s' % (' '.join(args), run.stderr.strip()))
    return json.loads(run.stdout)['results']


def fill(opennrt, table, rates=None, only=None):
    """Predict the rows of a table (only: those of one use)."""
    rows = [r for r in table.rows if only in (None, r.use)]
    if table.use == 'skip' or not rows:
        return
    ask = {'ranks': table.ranks, 'nodes': table.nodes, 'lnc': table.lnc, 'elem': ITEM[table.dtype],
           'rates': rates, 'cores': table.cores}
    if table.sweep:
        got = [r['busbw(GB/s)'] for r in predict(opennrt, table.op, table.instance, table.sweep,
                                                 **ask)]
        rows[0].predicted = max(got) if table.peak else statistics.mean(got)
        return
    for alg in dict.fromkeys(table.alg_of(r) for r in rows):
        some = [r for r in rows if table.alg_of(r) == alg]
        got = predict(opennrt, table.op, table.instance, ','.join(str(r.size) for r in some), **dict(ask, alg=alg))
        for row, answer in zip(some, got):
            row.algorithm = answer['algorithm']
            row.predicted = answer['time(us)' if row.what == 'time(us)' else 'busbw(GB/s)']
    if table.base:
        table.base_us = max(rows[0].measured - rows[0].predicted, 0)
        for row in rows:
            row.predicted += table.base_us


def geometric(rows, raw=False):
    """Geometric mean of the factors, less one."""
    errors = [abs(r.raw_error() if raw else r.error()) for r in rows]
    return math.exp(statistics.mean(errors)) - 1 if rows else math.nan


def relative(rows, raw=False):
    """Arithmetic and geometric mean of |prediction / measurement - 1|; the least that counts is a thousandth."""
    errors = [abs(math.expm1(r.raw_error() if raw else r.error())) for r in rows]
    return statistics.mean(errors), statistics.geometric_mean(max(e, 0.001) for e in errors)


def nearest(rows):
    """The geometric mean of errors of the best predictions that never fall when the size grows: no model of a table
    whose rows contradict each other is nearer. The best ones are measured values, each next to the rows around it."""
    values = sorted({math.log(r.steady()) for r in rows})
    costs = [0.0] * len(values)  # of the rows so far, the last of them predicted as at most this value
    for r in sorted(rows, key=lambda r: r.size):
        costs = [c + abs(v - math.log(r.steady())) for c, v in zip(costs, values)]
        costs = [min(costs[:i + 1]) for i in range(len(costs))]
    return math.exp(costs[-1] / len(rows)) - 1


def contradictions(tables):
    """What the rows of tables in disorder cost over all rows, whatever the model: geometric mean, less one."""
    cost = 0.0
    for t in tables:
        rows = tested([t])
        if t.disorder and rows:
            cost += len(rows) * math.log1p(nearest(rows))
    return math.expm1(cost / len(tested(tables)))


def spread(rows):
    """The factor that two thirds of the rows are within, stalls and all: who measures has them, too."""
    errors = sorted(abs(r.raw_error()) for r in rows)
    return math.exp(errors[(2 * len(errors) + 2) // 3 - 1])


def tested(tables, which=lambda t: True):
    return [r for t in tables if t.use != 'skip' and which(t) for r in t.rows if r.use == 'test']


def report(tables, verbose):
    print('%-38s %5s %5s %9s %9s %9s  %s' % ('table', 'rows', 'tests', 'mean', 'worst', 'bias',
                                             'assumed'))
    for t in tables:
        if t.use == 'skip':
            print('%-38s %5d %5s left out: %s' % (t.id, len(t.rows), '-', t.why))
            continue
        rows = [r for r in t.rows if r.use == 'test']
        worst = max((abs(r.error()) for r in rows), default=math.nan)
        bias = statistics.mean(r.error() for r in rows) if rows else math.nan
        notes = [t.instance] if t.assumed else []
        notes += ['base %.1f us' % t.base_us] if t.base else []
        notes += ['stalls of %.0f us in single iterations taken out' % (t.stall_us * t.iters)] if t.stall_us else []
        notes += ['contradicts itself: none is nearer than %.1f%%' % (100 * nearest(rows))] if t.disorder else []
        print('%-38s %5d %5d %8.1f%% %8.1f%% %+8.1f%%  %s' % (
            t.id, len(t.rows), len(rows), 100 * geometric(rows), 100 * (math.exp(worst) - 1),
            100 * (math.exp(bias) - 1), ', '.join(notes)))
        for r in t.rows if verbose else []:
            print('    %12s %12.2f %12.2f %+8.1f%%  %-5s %s%s' % (
                r.size or '', r.measured, r.predicted, 100 * (math.exp(r.error()) - 1), r.use,
                r.algorithm or '',
                ', %d of %d stalled, else %.2f' % (r.stalls, t.iters, r.steady()) if r.stalls else ''))


def summary(tables):
    named = tested(tables, lambda t: not t.assumed and not t.base)
    lines = [('rows that nothing was fitted to, as published', tested(tables), True),
             ('the same, stalls of one table taken out', tested(tables), False),
             ('  of tables whose rows do not contradict each other',
              tested(tables, lambda t: not t.disorder), False),
             ('  of tables without a base of their own', tested(tables, lambda t: not t.base), False),
             ('  of tables that name their instance', named, False),
             ('  of tables no row of which was fitted to',
              tested(tables, lambda t: t.use == 'test' and not t.base), False),
             ('rows that were fitted to', [r for t in tables if t.use != 'skip' for r in t.rows
                                           if r.use == 'fit' and not t.base], False)]
    print('\n%-52s %4s %9s %9s %9s' % ('means of', 'rows', 'factors', 'errors', 'geometric'))
    for text, rows, raw in lines:
        mean, middle = relative(rows, raw)
        print('%-52s %4d %8.1f%% %8.1f%% %8.1f%%' % (
            text, len(rows), 100 * geometric(rows, raw), 100 * mean, 100 * middle))
    print('%-52s %4d %8.1f%%' % (
        'what contradictions of rows cost the best model', len(tested(tables)), 100 * contradictions(tables)))


def main():
    args = [a for a in sys.argv[1:] if a != '-v']
    if not 1 <= len(args) <= 2:
        sys.exit(__doc__)
    here = os.path.dirname(os.path.abspath(__file__))
    tables = load(args[1] if len(args) > 1 else os.path.join(here, '..', 'data'))
    for t in tables:
        fill(args[0], t)
    report(tables, '-v' in sys.argv)
    summary(tables)


if __name__ == '__main__':
    main()
