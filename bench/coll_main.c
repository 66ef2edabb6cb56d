/* SPDX-License-Identifier: Apache-2.0 */
/* `make bench-coll`: our collectives beside MPI and Gloo, and beside what memory allows.
 *
 *     bench_coll [word ...]     rows whose names contain one of the words; default: all
 *
 * Per row, all sides are prepared and checked, then measured in turns, ROUNDS times: calls (from a
 * start line; the longest over the ranks), and a chain of dependent calls (mean of one). Figures
 * are medians over all rounds. docs/benchmarks.md explains the table. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coll_sides.h"

#define ROUNDS    3
#define BUDGET_US 12e3 /* of one side, round and manner of measuring */
#define CHAIN_MAX 100u /* the smallest input times 2^100, or times 4^50, is finite */
#define CHAINS    16

#define KIB 1024u
#define MIB (1024u * KIB)

struct row {
    enum job_op op;
    uint32_t ranks;
    uint64_t bytes;
    double goal, floor_goal; /* ratio to the best peer, and to the floor; 0: none is set */
    bool nodes;              /* each rank is one */
};

static const struct row rows[] = {
    {JOB_ALL_REDUCE, 1, 8, 0, 0}, /* trigger and completion, and nobody to wait for */
    {JOB_BARRIER, 2, 0, 1.0, 0},
    {JOB_ALL_REDUCE, 2, 8, 0.9, 0},
    {JOB_ALL_REDUCE, 2, 64, 0.9, 0},
    {JOB_ALL_REDUCE, 2, 256, 0.9, 0},
    {JOB_ALL_REDUCE, 2, 4 * KIB, 0.5, 0},
    {JOB_ALL_REDUCE, 2, 16 * KIB, 0.5, 0},
    {JOB_ALL_REDUCE, 2, 64 * KIB, 0.35, 0},
    {JOB_ALL_REDUCE, 2, 256 * KIB, 0.35, 0},
    {JOB_ALL_REDUCE, 2, MIB, 0.5, 1.6},
    {JOB_ALL_REDUCE, 2, 4 * MIB, 0.5, 1.6},
    {JOB_ALL_REDUCE, 2, 64 * MIB, 0.5, 1.6},
    {JOB_ALL_GATHER, 2, MIB, 0.7, 0},
    {JOB_ALL_GATHER, 2, 4 * MIB, 0.7, 0},
    {JOB_ALL_GATHER, 2, 64 * MIB, 0.7, 0},
    {JOB_REDUCE_SCATTER, 2, MIB, 0.5, 0},
    {JOB_REDUCE_SCATTER, 2, 4 * MIB, 0.5, 0},
    {JOB_REDUCE_SCATTER, 2, 64 * MIB, 0.5, 0},
    {JOB_TRIP, 2, 8, 0, 0},
    {JOB_TRIP, 2, 64 * KIB, 0, 0},
    {JOB_TRIP, 2, MIB, 0, 0},
    {JOB_TRIP, 2, 64 * MIB, 0, 0},
    {JOB_WINDOW, 2, 64 * MIB, 0, 0},
    {JOB_ALL_REDUCE, 4, 64, 0.7, 0},
    {JOB_ALL_REDUCE, 4, 4 * KIB, 0.7, 0},
    {JOB_ALL_REDUCE, 4, MIB, 0.7, 0},
    {JOB_ALL_REDUCE, 4, 64 * MIB, 0.7, 0},
    {JOB_ALL_REDUCE, 2, 8, 1.0, 0, true},
    {JOB_ALL_REDUCE, 2, 64 * KIB, 1.0, 0, true},
    {JOB_ALL_REDUCE, 2, MIB, 1.0, 0, true},
    {JOB_ALL_REDUCE, 2, 64 * MIB, 1.0, 0, true},
    {JOB_TRIP, 2, 8, 0, 0, true},
    {JOB_TRIP, 2, 64 * KIB, 0, 0, true},
    {JOB_TRIP, 2, MIB, 0, 0, true},
    {JOB_TRIP, 2, 64 * MIB, 0, 0, true},
    {JOB_WINDOW, 2, 64 * MIB, 0, 0, true},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* ---- figures of a side in a row ---- */

struct series {
    float *v;
    size_t n, cap;
};

struct figure {
    struct series calls, chains;
    bool runs;
    const char *why; /* it does not */
    uint32_t chain;  /* operations in a chain, equal in all rounds */
    double estimate; /* us of one sample, input and start line included */
    double call, p99, linked;
};

static void series_add(struct series *s, float v)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 1024;
        s->v = realloc(s->v, s->cap * sizeof(*s->v));
        if (!s->v)
            exit(1);
    }
    s->v[s->n++] = v;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

static double quantile(struct series *s, double q)
{
    if (s->n == 0)
        return 0;
    qsort(s->v, s->n, sizeof(*s->v), compare);
    return (double)s->v[(size_t)((double)(s->n - 1) * q + 0.5)];
}

/* ---- measuring ---- */

static uint32_t limited(double n, uint32_t least, uint32_t most)
{
    if (!(n >= least))
        return least;
    return n > most ? most : (uint32_t)n;
}

static float longest(const struct job_region *r, uint32_t i)
{
    float us = 0;

    for (uint32_t k = 0; k < r->ranks; k++)
        if (r->us[k][i] > us)
            us = r->us[k][i];
    return us;
}

static void side_prepare(struct side *s, const struct row *row, struct figure *f)
{
    double start;

    *f = (struct figure){.why = s->lost};
    if (s->lost[0] || (s->kind->all_reduce_only && row->op != JOB_ALL_REDUCE)) {
        f->why = s->lost[0] ? s->lost : "";
        return;
    }
    s->region->op = row->op;
    s->region->bytes = row->bytes;
    if (!side_do(s, JOB_PREPARE))
        return;
    for (uint32_t i = 0; i < row->ranks; i++)
        if (s->region->refused[i]) {
            f->why = s->region->refused[i] == 2 ? "wrong result" : "";
            side_do(s, JOB_RELEASE);
            return;
        }
    s->region->calls = 1; /* and those that warm up */
    start = job_now_us();
    f->runs = side_do(s, JOB_CALLS);
    f->estimate = (job_now_us() - start) / 4;
}

static void calls_measure(struct side *s, struct figure *f)
{
    s->region->calls = limited(BUDGET_US / f->estimate, 3, JOB_SAMPLES / 2);
    f->runs = side_do(s, JOB_CALLS);
    for (uint32_t i = 0; f->runs && i < s->region->calls; i++)
        series_add(&f->calls, longest(s->region, i));
}

static void chains_measure(struct side *s, struct figure *f)
{
    uint32_t most = s->region->ranks > 2 ? CHAIN_MAX / 2 : CHAIN_MAX;
    double us = quantile(&f->calls, 0.5);
    uint32_t times;

    if (s->kind->chain_max)
        most = s->kind->chain_max;
    if (f->chain == 0)
        f->chain = limited(BUDGET_US / us, 2, most) & ~1u; /* even: x to y and back */
    s->region->calls = f->chain;
    times = limited(BUDGET_US / (us * s->region->calls + 2 * f->estimate), 1, CHAINS);
    for (uint32_t i = 0; f->runs && i < times; i++) {
        f->runs = side_do(s, JOB_CHAIN);
        if (f->runs)
            series_add(&f->chains, longest(s->region, 0));
    }
}

/* ---- printing ---- */

static const char *size_text(uint64_t bytes)
{
    static char text[32];

    if (bytes >= MIB)
        snprintf(text, sizeof(text), "%g MiB", (double)bytes / MIB);
    else if (bytes >= KIB)
        snprintf(text, sizeof(text), "%g KiB", (double)bytes / KIB);
    else
        snprintf(text, sizeof(text), "%g B", (double)bytes);
    return text;
}

static void row_name(const struct row *row, char *out, size_t size)
{
    static const char *const names[] = {"all_reduce", "all_gather",      "reduce_scatter",
                                        "barrier",    "send, send back", "8 sends"};

    snprintf(out, size, "%s, %u %s%s%s%s", names[row->op], row->ranks, row->nodes ? "node" : "rank",
             row->ranks > 1 ? "s" : "", row->bytes ? ", " : "",
             row->bytes ? size_text(row->bytes) : "");
}

/* Between nodes the goal is held against the peers that use the same provider, and what stands in
 * the columns of the floor is the fastest of all. */
static void head_print(bool nodes)
{
    printf("%-28s %-22s %-5s %9s %10s %10s  %-24s %6s %10s %7s %6s  %s\n", "us", "", "", "ours",
           "p99", nodes ? "same prov." : "best peer", "", "ratio", nodes ? "best peer" : "floor",
           nodes ? "ratio" : "x floor", "flag", "goal");
}

struct table {
    const struct row *row;
    const struct side *sides;
    const struct figure *figures;
    unsigned n;
    double flag;
};

static double figure_of(const struct figure *f, bool chain)
{
    return chain ? f->linked : f->call;
}

/* The fastest side of a role; n: none. */
static unsigned best_of(const struct table *t, enum side_role role, bool chain)
{
    unsigned best = t->n;

    for (unsigned i = 0; i < t->n; i++)
        if (t->sides[i].kind->role == role && t->figures[i].runs &&
            (best == t->n ||
             figure_of(&t->figures[i], chain) < figure_of(&t->figures[best], chain)))
            best = i;
    return best;
}

/* Of the floor; between nodes the fastest of all peers. */
static unsigned least_of(const struct table *t, bool chain)
{
    unsigned peer = best_of(t, SIDE_PEER, chain), other = best_of(t, SIDE_OTHER, chain);

    if (!t->row->nodes)
        return t->row->op == JOB_BARRIER ? t->n : best_of(t, SIDE_FLOOR, chain);
    if (peer == t->n || other == t->n)
        return peer == t->n ? other : peer;
    return figure_of(&t->figures[peer], chain) < figure_of(&t->figures[other], chain) ? peer
                                                                                      : other;
}

#define OWN_GOAL_US 0.06

/* A rank alone: what an operation of a program costs besides the others. */
static void own_print(const struct table *t, unsigned ours)
{
    double us = t->figures[ours].linked;

    printf("%-46s %9.1f ns, 1,000 in one execution  <= %.0f %s\n",
           "executor, trigger and completion of a rank alone", us * 1e3, OWN_GOAL_US * 1e3,
           us <= OWN_GOAL_US ? "met" : "MISSED");
}

static void verdict_print(const struct row *row, double ratio, double above, const char *best)
{
    bool met = (ratio == 0 || ratio <= row->goal) &&
               (row->floor_goal == 0 || above == 0 || above <= row->floor_goal);

    if (row->goal == 0) { /* the figures alone */
        printf("  %s%s\n", best ? "-; best: " : "-", best ? best : "");
        return;
    }
    printf("  <= %.2f", row->goal);
    if (row->floor_goal > 0)
        printf(", <= %.1f floors", row->floor_goal);
    printf(ratio > 0 ? met ? " met" : " MISSED" : " NOT RUN: no peer");
    printf("%s%s\n", best ? "; best: " : "", best ? best : "");
}

static void line_print(const struct table *t, unsigned ours, bool chain)
{
    const struct figure *f = &t->figures[ours];
    unsigned peer = best_of(t, SIDE_PEER, chain), least = least_of(t, chain);
    double us = figure_of(f, chain), ratio = 0, above = 0;
    char name[64];

    row_name(t->row, name, sizeof(name));
    printf("%-28s %-22s %-5s %9.2f", name, t->sides[ours].kind->name, chain ? "chain" : "call", us);
    if (chain)
        printf(" %10s", "");
    else
        printf(" %10.2f", f->p99);
    if (peer < t->n) {
        ratio = us / figure_of(&t->figures[peer], chain);
        printf(" %10.2f  %-24s %6.2f", figure_of(&t->figures[peer], chain),
               t->sides[peer].kind->name, ratio);
    } else {
        printf(" %10s  %-24s %6s", "-", "", "-");
    }
    if (least < t->n) {
        above = us / figure_of(&t->figures[least], chain);
        printf(" %10.2f %7.2f", figure_of(&t->figures[least], chain), above);
    } else {
        printf(" %10s %7s", "", "");
    }
    printf(" %6.3f", t->flag);
    verdict_print(t->row, ratio, above,
                  least < t->n && t->row->nodes ? t->sides[least].kind->name : NULL);
}

static void row_print(const struct table *t)
{
    for (unsigned i = 0; i < t->n; i++) {
        if (t->sides[i].kind->role != SIDE_OURS)
            continue;
        if (t->figures[i].runs && t->row->ranks == 1) {
            if (t->sides[i].kind->chain_max)
                own_print(t, i);
        } else if (t->figures[i].runs) {
            line_print(t, i, false);
            line_print(t, i, true);
        } else {
            char name[64];

            row_name(t->row, name, sizeof(name));
            if (t->figures[i].why[0])
                printf("%-28s %-22s NOT RUN: %s\n", name, t->sides[i].kind->name,
                       t->figures[i].why);
        }
    }
    if (getenv("BENCH_VERBOSE"))
        for (unsigned i = 0; i < t->n; i++)
            if (t->figures[i].runs)
                printf("    %-28s call %10.3f  p99 %10.3f  chain %10.3f  (%zu calls) %s\n",
                       t->sides[i].kind->name, t->figures[i].call, t->figures[i].p99,
                       t->figures[i].linked, t->figures[i].calls.n, t->sides[i].region->said[0]);
    fflush(stdout);
}

/* ---- rows ---- */

/* Between two ranks of any side that is ours: the library has no part in it. */
static double flag_us(struct side *sides, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (sides[i].kind->role <= SIDE_FLOOR && side_do(&sides[i], JOB_TRIPS))
            return (double)sides[i].region->us[0][0];
    return 0;
}

static void row_run(const struct row *row, struct side *sides, unsigned n)
{
    struct figure figures[SIDES_MAX];
    struct table table = {row, sides, figures, n, 0};

    table.flag = row->ranks == 2 ? flag_us(sides, n) : 0;
    for (unsigned i = 0; i < n; i++)
        side_prepare(&sides[i], row, &figures[i]);
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < n; i++) {
            if (figures[i].runs)
                calls_measure(&sides[i], &figures[i]);
            if (figures[i].runs)
                chains_measure(&sides[i], &figures[i]);
        }
    if (row->ranks == 2)
        table.flag = (table.flag + flag_us(sides, n)) / 2;
    for (unsigned i = 0; i < n; i++) {
        struct figure *f = &figures[i];

        if (f->estimate > 0)
            side_do(&sides[i], JOB_RELEASE);
        f->call = quantile(&f->calls, 0.5);
        f->p99 = quantile(&f->calls, 0.99);
        f->linked = quantile(&f->chains, 0.5);
    }
    row_print(&table);
    for (unsigned i = 0; i < n; i++) {
        free(figures[i].calls.v);
        free(figures[i].chains.v);
    }
}

static bool wanted(const struct row *row, int argc, char **argv)
{
    char name[64];

    row_name(row, name, sizeof(name));
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i]))
            return true;
    return argc < 2;
}

static void group_run(uint32_t ranks, bool nodes, const char *dir, int argc, char **argv)
{
    static struct side sides[SIDES_MAX];
    unsigned n = 0;

    for (unsigned i = 0; i < ROWS; i++) {
        if (rows[i].ranks != ranks || rows[i].nodes != nodes || !wanted(&rows[i], argc, argv))
            continue;
        if (n == 0) {
            n = sides_start(sides, dir, ranks, nodes);
            for (unsigned k = 0; k < n; k++)
                if (sides[k].lost[0])
                    printf("%s, %u ranks: NOT RUN: %s\n", sides[k].kind->name, ranks,
                           sides[k].lost);
            if (ranks > 1)
                head_print(nodes);
        }
        row_run(&rows[i], sides, n);
    }
    for (unsigned k = 0; k < n; k++)
        if (sides[k].lost[0] && sides[k].region)
            printf("%s, %u ranks: lost: %s\n", sides[k].kind->name, ranks, sides[k].lost);
    if (n)
        sides_stop(sides, n);
}

/* The executor's own cost has no peer: a program prints it. */
static void steps_run(const char *dir)
{
    char program[512];
    pid_t pid;

    snprintf(program, sizeof(program), "%s/coll_steps", dir);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, NULL, 0) != pid)
        printf("executor: NOT RUN: no process\n");
}

int main(int argc, char **argv)
{
    char self[512];
    const char *dir;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0)
        return 1;
    self[n] = 0;
    dir = dirname(self);
    if (argc < 2)
        steps_run(dir);
    group_run(1, false, dir, argc, argv);
    group_run(2, false, dir, argc, argv);
    group_run(4, false, dir, argc, argv);
    group_run(2, true, dir, argc, argv);
    return 0;
}
