/* SPDX-License-Identifier: Apache-2.0 */
/* The choice of means: never worse than the fixed table by what was measured, whatever that is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "runner.h"
#include "sched/tune.h"
#include "topo/group.h"
#include "seed.h"

static uint64_t state64;

static uint32_t below(uint32_t n)
{
    state64 = state64 * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(state64 >> 33) % n;
}

static const enum sched_op ops[] = {SCHED_ALL_REDUCE, SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER,
                                    SCHED_BARRIER};
static const struct sched_patience patiences[] = {{2000, 16}, {0, 1000}, {500, 0}, {20000, 100}};

#define SAMPLES 400

static struct sched_means means_draw(void)
{
    return (struct sched_means){(uint8_t)below(SCHED_VARIANT_COUNT), below(2),
                                SCHED_SLICE_MIN << below(8)};
}

/* Points with a few ways each, the fixed one mostly among them; times with many ties, and some that
 * are none. */
static size_t samples_draw(struct sched_tune_sample *s)
{
    static const double odd[] = {0, -1, __builtin_nan(""), __builtin_inf()};
    unsigned points = 1 + below(20);
    struct sched_tuning fixed;
    size_t n = 0;

    sched_tuning_default(&fixed);
    for (unsigned p = 0; p < points; p++) {
        struct sched_tune_sample point = {
            .op = (uint8_t)ops[below(4)], .crowded = below(2), .size = UINT64_C(1) << below(28)};
        unsigned ways = 1 + below(8);
        bool with_fixed = below(5) != 0;

        for (unsigned w = 0; w < ways && n < SAMPLES; w++) {
            bool is_fixed = w == 0 && with_fixed;

            s[n] = point;
            s[n].patience = fixed.patience[point.crowded];
            s[n].means = is_fixed || below(4) == 0
                             ? sched_tuning_choose(&fixed, (enum sched_op)point.op, point.crowded,
                                                   point.size)
                             : means_draw();
            if (!is_fixed && below(3) == 0) {
                s[n].means =
                    sched_tuning_choose(&fixed, (enum sched_op)point.op, point.crowded, point.size);
                s[n].patience = patiences[below(4)];
            }
            s[n].us = below(12) ? 1 + below(6) /* further apart than what counts as equal */
                                : odd[below(4)];
            n++;
        }
    }
    return n;
}

static bool alike(struct sched_means a, struct sched_means b)
{
    return a.variant == b.variant && a.around == b.around && a.slice == b.slice;
}

/* Least time of the samples of a point with these means and the fixed patience; 0: none. */
static double least(const struct sched_tune_sample *s, size_t n, const struct sched_tune_sample *at,
                    struct sched_means means, struct sched_patience patience)
{
    double best = 0;

    for (size_t i = 0; i < n; i++)
        if (s[i].op == at->op && s[i].crowded == at->crowded && s[i].size == at->size &&
            alike(s[i].means, means) && s[i].patience.spins == patience.spins &&
            s[i].patience.yields == patience.yields && s[i].us > 0 && s[i].us < 1e9 &&
            (best <= 0 || s[i].us < best))
            best = s[i].us;
    return best;
}

static void never_worse(void **state)
{
    static struct sched_tune_sample s[SAMPLES];
    struct sched_tuning fixed, tuned;
    struct err err = {0};

    sched_tuning_default(&fixed);
    for (unsigned round = 0; round < runner_rounds(3000); round++) {
        size_t n = samples_draw(s);

        assert_int_equal(sched_tuning_decide(s, n, &tuned, &err), NRT_SUCCESS);
        for (size_t i = 0; i < n; i++) {
            enum sched_op op = (enum sched_op)s[i].op;
            struct sched_patience p = fixed.patience[s[i].crowded];
            struct sched_means was = sched_tuning_choose(&fixed, op, s[i].crowded, s[i].size);
            struct sched_means is = sched_tuning_choose(&tuned, op, s[i].crowded, s[i].size);
            double before = least(s, n, &s[i], was, p), now = least(s, n, &s[i], is, p);

            if (before <= 0) { /* nothing to compare with */
                assert_true(alike(was, is));
                continue;
            }
            assert_true(now > 0 && now <= before);
            if (now == before)
                assert_true(alike(was, is));
            /* and as good as anything that was measured */
            assert_true(s[i].us > 0 && s[i].us < now && s[i].patience.spins == p.spins &&
                                s[i].patience.yields == p.yields
                            ? false
                            : true);
        }
    }
    (void)state;
}

/* A size that may show something: near a point, near a limit of the fixed table, or any. */
static uint64_t size_draw(const struct sched_tune_sample *s, size_t n,
                          const struct sched_tuning *fixed)
{
    uint64_t at;

    switch (below(3)) {
    case 0:
        at = s[below((uint32_t)n)].size;
        break;
    case 1:
        at = fixed->rule[below(fixed->count)].size_max;
        break;
    default:
        return below(UINT32_MAX) >> below(32);
    }
    return at + below(3) - (at > 0);
}

/* The point that is nearest to a size from below, or from above; NULL: none. */
static const struct sched_tune_sample *neighbour(const struct sched_tune_sample *s, size_t n,
                                                 enum sched_op op, bool crowded, uint64_t size,
                                                 bool above)
{
    const struct sched_tune_sample *best = NULL;

    for (size_t i = 0; i < n; i++)
        if (s[i].op == op && s[i].crowded == crowded &&
            (above ? s[i].size >= size : s[i].size <= size) &&
            (!best || (above ? s[i].size < best->size : s[i].size > best->size)))
            best = &s[i];
    return best;
}

/* Between the points: what is chosen is at neither of the two points around slower than the fixed
 * table's choice for the size, so nowhere on a line between; where one of the two says nothing, it
 * is the fixed table's choice, or what the other says of the same choice. */
static void never_worse_between(void **state)
{
    static struct sched_tune_sample s[SAMPLES];
    struct sched_tuning fixed, tuned;
    struct err err = {0};
    unsigned other = 0, beyond = 0;

    sched_tuning_default(&fixed);
    for (unsigned round = 0; round < 3000; round++) {
        size_t n = samples_draw(s);

        assert_int_equal(sched_tuning_decide(s, n, &tuned, &err), NRT_SUCCESS);
        for (unsigned k = 0; k < 200; k++) {
            enum sched_op op = ops[below(4)];
            bool crowded = below(2);
            uint64_t size = size_draw(s, n, &fixed);
            struct sched_means was = sched_tuning_choose(&fixed, op, crowded, size);
            struct sched_means is = sched_tuning_choose(&tuned, op, crowded, size);
            const struct sched_tune_sample *around[2], *one = NULL;
            double before[2], now[2];

            if (alike(was, is) || (op == SCHED_BARRIER && size == 0)) /* the latter is the point */
                continue;
            for (unsigned i = 0; i < 2; i++) {
                around[i] = neighbour(s, n, op, crowded, size, i);
                if (!around[i])
                    continue;
                one = around[i];
                before[i] = least(s, n, one, was, fixed.patience[crowded]);
                now[i] = least(s, n, one, is, fixed.patience[crowded]);
                assert_true(now[i] > 0 && before[i] > 0 && now[i] <= before[i]);
            }
            assert_non_null(one);
            if (around[0] && around[1]) {
                assert_true(now[0] + now[1] < before[0] + before[1]);
                other += around[0] != around[1];
                continue;
            }
            beyond++;
            assert_true(alike(was, sched_tuning_choose(&fixed, op, crowded, one->size)));
            assert_true(alike(is, sched_tuning_choose(&tuned, op, crowded, one->size)));
        }
    }
    assert_true(other > 100 && beyond > 100); /* it came to it */
    (void)state;
}

/* What is won at both ends is taken between them, as a person would. */
static void gained_between(void **state)
{
    const struct sched_means slow = {SCHED_DIRECT, false, 65536},
                             fast = {SCHED_DIRECT, false, 262144},
                             odd = {SCHED_STAGED, false, 65536};
    struct sched_tuning fixed, tuned;
    struct err err = {0};
    struct sched_tune_sample s[6];

    sched_tuning_default(&fixed);
    for (unsigned i = 0; i < 6; i++)
        s[i] = (struct sched_tune_sample){.op = SCHED_ALL_REDUCE,
                                          .size = i < 3 ? 4096 : 65536,
                                          .means = i % 3 == 0   ? slow
                                                   : i % 3 == 1 ? fast
                                                                : odd,
                                          .patience = fixed.patience[0],
                                          .us = (const double[]){10, 8, 11, 40, 30, 20}[i]};
    assert_int_equal(sched_tuning_decide(s, 6, &tuned, &err), NRT_SUCCESS);
    for (uint64_t size = 4096; size < 65536; size++) /* odd is slower at one end */
        assert_true(alike(sched_tuning_choose(&tuned, SCHED_ALL_REDUCE, false, size), fast));
    assert_true(alike(sched_tuning_choose(&tuned, SCHED_ALL_REDUCE, false, 65536), odd));
    assert_true(alike(sched_tuning_choose(&tuned, SCHED_ALL_REDUCE, false, 65537), odd));
    /* where the fixed table has others: as there */
    for (unsigned i = 0; i < 2; i++) {
        uint64_t size = i ? UINT64_C(32) << 20 : 100;

        assert_true(alike(sched_tuning_choose(&tuned, SCHED_ALL_REDUCE, false, size),
                          sched_tuning_choose(&fixed, SCHED_ALL_REDUCE, false, size)));
    }
    (void)state;
}

static struct sched_tune_sample patience_sample(bool crowded, uint64_t size,
                                                struct sched_patience p, double us)
{
    struct sched_tuning fixed;

    sched_tuning_default(&fixed);
    return (struct sched_tune_sample){
        .op = SCHED_ALL_REDUCE,
        .crowded = crowded,
        .size = size,
        .means = sched_tuning_choose(&fixed, SCHED_ALL_REDUCE, crowded, size),
        .patience = p,
        .us = us};
}

static void patience(void **state)
{
    struct sched_tuning fixed, tuned;
    struct err err = {0};

    sched_tuning_default(&fixed);
    const struct sched_patience was = fixed.patience[true], other = {7, 9};
    /* better in sum */
    struct sched_tune_sample s[] = {
        patience_sample(true, 64, was, 10), patience_sample(true, 64, other, 10.2),
        patience_sample(true, 4096, was, 30), patience_sample(true, 4096, other, 20)};

    assert_int_equal(sched_tuning_decide(s, 4, &tuned, &err), NRT_SUCCESS);
    assert_int_equal(tuned.patience[true].spins, 7);
    assert_int_equal(tuned.patience[true].yields, 9);
    assert_memory_equal(&tuned.patience[false], &fixed.patience[false], sizeof(was));
    s[1].us = 12; /* better in sum, but worse at one */
    assert_int_equal(sched_tuning_decide(s, 4, &tuned, &err), NRT_SUCCESS);
    assert_memory_equal(&tuned.patience[true], &was, sizeof(was));
    s[1].us = s[3].us = 10.2; /* a tie */
    s[2].us = 10;
    assert_int_equal(sched_tuning_decide(s, 4, &tuned, &err), NRT_SUCCESS);
    assert_memory_equal(&tuned.patience[true], &was, sizeof(was));
    s[1].us = 5; /* not measured everywhere */
    s[3].us = 0;
    assert_int_equal(sched_tuning_decide(s, 4, &tuned, &err), NRT_SUCCESS);
    assert_memory_equal(&tuned.patience[true], &was, sizeof(was));
    (void)state;
}

/* At every point where another one was tried, the chosen patience is as fast as the fixed one. */
static void patience_never_worse(void **state)
{
    static struct sched_tune_sample s[SAMPLES];
    struct sched_tuning fixed, tuned;
    struct err err = {0};
    unsigned changed = 0;

    sched_tuning_default(&fixed);
    for (unsigned round = 0; round < runner_rounds(5000); round++) {
        size_t n = samples_draw(s);

        if (below(2)) /* few points, so that one may be the best at all of them */
            n = n < 12 ? n : 12;
        assert_int_equal(sched_tuning_decide(s, n, &tuned, &err), NRT_SUCCESS);
        for (size_t i = 0; i < n; i++) {
            struct sched_patience was = fixed.patience[s[i].crowded],
                                  is = tuned.patience[s[i].crowded];
            struct sched_means means =
                sched_tuning_choose(&fixed, (enum sched_op)s[i].op, s[i].crowded, s[i].size);
            double before = least(s, n, &s[i], means, was), now;

            if (memcmp(&was, &is, sizeof(was)) == 0 || before <= 0 ||
                memcmp(&s[i].patience, &was, sizeof(was)) == 0)
                continue;
            now = least(s, n, &s[i], means, is);
            assert_true(now > 0 && now <= before);
            changed++;
        }
    }
    assert_true(changed > runner_rounds(100));
    (void)state;
}

static void nothing_measured(void **state)
{
    struct sched_tuning fixed, tuned;
    struct err err = {0};

    sched_tuning_default(&fixed);
    assert_int_equal(sched_tuning_decide(NULL, 0, &tuned, &err), NRT_SUCCESS);
    for (unsigned i = 0; i < 4; i++)
        for (unsigned crowded = 0; crowded < 2; crowded++)
            for (unsigned b = 0; b < 64; b++)
                assert_true(alike(sched_tuning_choose(&fixed, ops[i], crowded, UINT64_C(1) << b),
                                  sched_tuning_choose(&tuned, ops[i], crowded, UINT64_C(1) << b)));
    (void)state;
}

/* ---- confirming ---- */

/* Few ways, so that neighbours often agree, and what is between them with them. */
static void samples_crowd(struct sched_tune_sample *s, size_t n, const struct sched_tuning *fixed)
{
    for (size_t i = 0; i < n; i++)
        if (!alike(s[i].means,
                   sched_tuning_choose(fixed, (enum sched_op)s[i].op, s[i].crowded, s[i].size)))
            s[i].means = (struct sched_means){s[i].means.variant, false, 65536};
}

/* A host that was never there: what a trial of a way at a size shows, and what it has shown. */
struct host {
    unsigned kind;
    uint64_t seed;   /* its figures depend on nothing else */
    unsigned trials; /* so far */
    struct {
        struct sched_tune_case c;
        unsigned trial;
        double ratio;
    } shown[1 << 16];
    size_t shown_count;
};

/* Megabytes: not assigned from a literal, which a compiler may put on the stack first. */
static void host_begin(struct host *h, unsigned kind, uint64_t seed)
{
    h->kind = kind;
    h->seed = seed;
    h->trials = 0;
    h->shown_count = 0;
}

static double noise(struct host *h, const struct sched_tune_case *c)
{
    uint64_t x = h->seed ^ (c->size * 2654435761u) ^ ((uint64_t)c->op << 40) ^
                 ((uint64_t)c->crowded << 50) ^ ((uint64_t)c->means[1].variant << 20) ^
                 ((uint64_t)h->trials << 32) ^ c->patience[1].spins;

    for (unsigned i = 0; i < 3; i++)
        x = (x ^ (x >> 31)) * UINT64_C(0x9e3779b97f4a7c15);
    return (double)(x >> 40) / (1 << 24);
}

/* Kinds: mostly good; a toss of a coin; never good; sometimes no figure. */
static double host_ratio(struct host *h, const struct sched_tune_case *c)
{
    double u = noise(h, c);

    switch (h->kind) {
    case 0:
        return u < 0.1 ? 1.0001 : 0.7 + 0.27 * u;
    case 1:
        return 0.8 + 0.4 * u;
    case 2:
        return 1.01 + u;
    default:
        return u < 0.02 ? __builtin_nan("") : u < 0.04 ? 0 : u < 0.05 ? -1 : 0.9;
    }
}

static bool host_trial(void *arg, const struct sched_tune_case *cases, size_t n, double *ratio)
{
    struct host *h = arg;

    h->trials++;
    for (size_t i = 0; i < n; i++) {
        ratio[i] = host_ratio(h, &cases[i]);
        assert_true(h->shown_count < sizeof(h->shown) / sizeof(h->shown[0]));
        h->shown[h->shown_count].c = cases[i];
        h->shown[h->shown_count].trial = h->trials;
        h->shown[h->shown_count++].ratio = ratio[i];
    }
    return true;
}

static bool same_patience(struct sched_patience a, struct sched_patience b)
{
    return a.spins == b.spins && a.yields == b.yields;
}

static bool same_case(const struct sched_tune_case *a, const struct sched_tune_case *b)
{
    return a->op == b->op && a->crowded == b->crowded && a->size == b->size &&
           alike(a->means[0], b->means[0]) && alike(a->means[1], b->means[1]) &&
           same_patience(a->patience[0], b->patience[0]) &&
           same_patience(a->patience[1], b->patience[1]);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* What the last trials of the host said of a case: the median, the largest but one; false: it did
 * not have all of the last seven, in all of which every figure was a number. */
static bool borne_out(const struct host *h, const struct sched_tune_case *c, double *median,
                      double *most)
{
    double all[7];
    unsigned got = 0;

    if (h->trials < 7)
        return false;
    for (size_t i = 0; i < h->shown_count; i++)
        if (h->shown[i].trial + 7 > h->trials && same_case(&h->shown[i].c, c)) {
            if (!(h->shown[i].ratio > 0) || got == 7)
                return false;
            all[got++] = h->shown[i].ratio;
        }
    if (got != 7)
        return false;
    qsort(all, 7, sizeof(all[0]), by_value);
    *median = all[3];
    *most = all[5];
    return true;
}

/* A size of which the confirmation asked last what the table does at this one: the size itself, or
 * one of the same stretch between two measured sizes, or the measured size beyond which it is. */
static bool asked_for(const struct host *h, const struct sched_tune_sample *s, size_t n,
                      const struct sched_tuning *fixed, enum sched_op op, bool crowded,
                      uint64_t size)
{
    const struct sched_tune_sample *below_it = neighbour(s, n, op, crowded, size, false);
    const struct sched_tune_sample *above_it = neighbour(s, n, op, crowded, size, true);
    struct sched_means was = sched_tuning_choose(fixed, op, crowded, size);

    for (size_t i = 0; i < h->shown_count; i++) {
        const struct sched_tune_case *c = &h->shown[i].c;
        bool here =
            below_it && above_it
                ? (below_it == above_it || below_it->size == size || above_it->size == size
                       ? c->size == size
                       : c->size > below_it->size && c->size < above_it->size)
                : (below_it ? c->size == below_it->size : above_it && c->size == above_it->size);

        if (h->shown[i].trial == h->trials && c->op == op && c->crowded == crowded && here &&
            alike(c->means[0], was))
            return true;
    }
    return false;
}

static bool refused_at(const struct sched_tune_record *r, enum sched_op op, bool crowded,
                       uint64_t size)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->c[i].verdict == SCHED_TUNE_REFUSED && r->c[i].op == op &&
            r->c[i].crowded == crowded && r->c[i].size == size &&
            !alike(r->c[i].means[0], r->c[i].means[1]))
            return true;
    return false;
}

/* Of a confirmed table at any size: the fixed choice, or that of the table before, which the last
 * trials had and bore out; and between two measured sizes, neither of them slower or refused. */
static void size_check(const struct host *h, const struct sched_tune_sample *s, size_t n,
                       const struct sched_tuning *tables[3], const struct sched_tune_record *record,
                       enum sched_op op, bool crowded, uint64_t size, unsigned *other)
{
    struct sched_means was = sched_tuning_choose(tables[0], op, crowded, size);
    struct sched_means is = sched_tuning_choose(tables[2], op, crowded, size);

    if (alike(was, is))
        return;
    ++*other;
    assert_true(alike(is, sched_tuning_choose(tables[1], op, crowded, size)));
    assert_true(asked_for(h, s, n, tables[0], op, crowded, size));
    assert_false(refused_at(record, op, crowded, size));
    for (unsigned i = 0; i < 2; i++) {
        const struct sched_tune_sample *end = neighbour(s, n, op, crowded, size, i);
        struct sched_patience p = tables[0]->patience[crowded];

        if (!end)
            continue;
        assert_false(refused_at(record, op, crowded, end->size));
        assert_true(least(s, n, end, is, p) > 0);
        assert_true(least(s, n, end, is, p) <= least(s, n, end, was, p));
    }
}

/* The cases of the table are those with figures that bear them out, and the record says so. */
static void cases_check(const struct host *h, const struct sched_tune_sample *s, size_t n,
                        const struct sched_tuning *tuned, const struct sched_tune_record *record,
                        unsigned *kept)
{
    static struct sched_tune_case c[SCHED_TUNE_CASES_MAX];
    struct err err = {0};
    size_t count, said = 0;
    unsigned sizes;
    bool of_use[2] = {true, true};

    assert_int_equal(sched_tuning_cases(s, n, tuned, c, &count, &sizes, &err), NRT_SUCCESS);
    for (size_t i = 0; i < count; i++)
        if (alike(c[i].means[0], c[i].means[1]))
            of_use[c[i].crowded] = false;
    for (size_t i = 0; i < count; i++) {
        double median = 0, most = 0;

        assert_true(borne_out(h, &c[i], &median, &most));
        if (alike(c[i].means[0], c[i].means[1])) {
            assert_true(median <= 1.03);
            of_use[c[i].crowded] = of_use[c[i].crowded] || median <= 0.95;
        } else {
            assert_true(median <= 0.95 && most <= 1);
        }
    }
    assert_true(of_use[0] && of_use[1]);
    for (size_t i = 0; i < record->count; i++)
        if (record->c[i].verdict == SCHED_TUNE_KEPT) {
            assert_true(said < count && same_case(&record->c[i], &c[said]));
            assert_int_equal(record->c[i].trials, 7);
            assert_false(
                refused_at(record, (enum sched_op)c[said].op, c[said].crowded, c[said].size) &&
                !alike(c[said].means[0], c[said].means[1]));
            said++;
        } else {
            assert_int_equal(said, 0); /* first what fell */
            assert_true(record->c[i].trials > 0);
        }
    assert_int_equal(said, count);
    *kept += count > 0;
}

/* Whatever trials show: every choice of the table is the fixed one or was borne out, by the trials
 * that were taken of the table as it is; and that comes to an end. */
static void confirmed(void **state)
{
    static struct sched_tune_sample s[SAMPLES];
    static struct sched_tune_record record;
    static struct host h;
    struct sched_tuning fixed, before, after;
    const struct sched_tuning *tables[3] = {&fixed, &before, &after};
    struct err err = {0};
    unsigned fell = 0, kept = 0, beside = 0, other = 0, patience_kept = 0, patience_fell = 0;

    sched_tuning_default(&fixed);
    for (unsigned round = 0; round < 2000; round++) {
        size_t n = samples_draw(s);
        unsigned kind;

        n = round % 2 && n > 12 ? 12 : n; /* few points, so that another patience may win */
        if (round % 4 < 2)
            samples_crowd(s, n, &fixed);
        kind = round % 4 == 3 ? below(4) : 0;
        host_begin(&h, kind, below(UINT32_MAX));
        assert_int_equal(sched_tuning_decide(s, n, &before, &err), NRT_SUCCESS);
        assert_int_equal(sched_tuning_confirm(s, n, host_trial, &h, &after, &record, &err),
                         NRT_SUCCESS);
        cases_check(&h, s, n, &after, &record, &kept);
        for (unsigned k = 0; k < 200; k++) {
            uint64_t size = size_draw(s, n, &fixed);

            size_check(&h, s, n, tables, &record, ops[below(4)], below(2), size ? size : 1, &other);
        }
        for (size_t i = 0; i < record.count; i++) {
            fell += record.c[i].verdict == SCHED_TUNE_REFUSED;
            beside += record.c[i].verdict == SCHED_TUNE_BESIDE;
        }
        for (unsigned crowded = 0; crowded < 2; crowded++)
            if (!same_patience(before.patience[crowded], fixed.patience[crowded])) {
                bool stays = same_patience(before.patience[crowded], after.patience[crowded]);

                assert_true(stays ||
                            same_patience(after.patience[crowded], fixed.patience[crowded]));
                patience_kept += stays;
                patience_fell += !stays;
            } else {
                assert_true(same_patience(after.patience[crowded], fixed.patience[crowded]));
            }
        if (h.kind == 2) /* nothing was ever any good */
            for (unsigned i = 0; i < 2 * 4 * 64; i++)
                assert_true(alike(
                    sched_tuning_choose(&after, ops[i / 128], i & 1, UINT64_C(1) << i / 2 % 64),
                    sched_tuning_choose(&fixed, ops[i / 128], i & 1, UINT64_C(1) << i / 2 % 64)));
    }
    assert_true(fell > 100 && kept > 100 && beside > 10 && other > 100); /* it came to it */
    assert_true(patience_kept > 10 && patience_fell > 10);
    (void)state;
}

/* Whoever has the same figures comes to the same table and says the same of it. */
static void confirmed_alike(void **state)
{
    static struct sched_tune_sample s[SAMPLES];
    static struct sched_tune_record record[2];
    static struct host h[2];
    struct sched_tuning after[2];
    struct err err = {0};

    for (unsigned round = 0; round < 200; round++) {
        size_t n = samples_draw(s);
        unsigned kind = below(4);
        uint64_t seed = below(UINT32_MAX);

        for (unsigned i = 0; i < 2; i++) {
            host_begin(&h[i], kind, seed);
            memset(&after[i], i ? 0xff : 0, sizeof(after[i]));
            assert_int_equal(
                sched_tuning_confirm(s, n, host_trial, &h[i], &after[i], &record[i], &err),
                NRT_SUCCESS);
        }
        assert_memory_equal(&after[0], &after[1], sizeof(after[0]));
        assert_int_equal(h[0].trials, h[1].trials);
        assert_int_equal(record[0].count, record[1].count);
        for (size_t i = 0; i < record[0].count; i++) {
            assert_true(same_case(&record[0].c[i], &record[1].c[i]));
            assert_int_equal(record[0].c[i].verdict, record[1].c[i].verdict);
        }
    }
    (void)state;
}

/* Answers from a list of ratios by size; the last one for ever. */
struct script {
    struct {
        uint64_t size;
        double ratio[SCHED_TUNE_TRIALS + 1];
    } line[4];
    unsigned trials, asked[4];
};

static bool script_trial(void *arg, const struct sched_tune_case *cases, size_t n, double *ratio)
{
    struct script *h = arg;

    h->trials++;
    for (size_t i = 0; i < n; i++)
        for (unsigned k = 0; k < 4; k++)
            if (h->line[k].size == cases[i].size) {
                unsigned at = h->asked[k]++;

                ratio[i] = h->line[k].ratio[at < SCHED_TUNE_TRIALS ? at : SCHED_TUNE_TRIALS];
            }
    return true;
}

/* As a person would: a size that is slower twice falls with what is between it and the next, and
 * the other one is confirmed anew; a gain that is less than 5 % is none. */
static void confirmed_by_hand(void **state)
{
    static struct sched_tune_record record;
    const struct sched_means slow = {SCHED_DIRECT, false, 65536},
                             fast = {SCHED_STAGED, false, 65536};
    struct sched_tuning fixed, t;
    struct err err = {0};
    struct sched_tune_sample s[4];
    struct script h = {.line = {{4096, {1.01, 0.8, 0.8, 0.8, 1.01}},
                                {(4096 + 65536) / 2, {0.8, 0.8, 0.8, 0.8, 1.5}},
                                {65536, {0.9, 0.9, 1.01, 0.9, 0.9, 0.8, 1.2, 0.8}}}};

    sched_tuning_default(&fixed);
    for (unsigned i = 0; i < 4; i++)
        s[i] = (struct sched_tune_sample){.op = SCHED_ALL_REDUCE,
                                          .size = i < 2 ? 4096 : 65536,
                                          .means = i % 2 ? fast : slow,
                                          .patience = fixed.patience[0],
                                          .us = i % 2 ? 5 : 10};
    assert_int_equal(sched_tuning_confirm(s, 4, script_trial, &h, &t, &record, &err), NRT_SUCCESS);
    assert_int_equal(h.trials, 5 + 7);
    for (uint64_t size = 4096; size < 65536; size++)
        assert_true(alike(sched_tuning_choose(&t, SCHED_ALL_REDUCE, false, size), slow));
    assert_true(alike(sched_tuning_choose(&t, SCHED_ALL_REDUCE, false, 65536), fast));
    assert_int_equal(record.count, 3);
    for (unsigned i = 0; i < 3; i++) {
        static const uint8_t verdict[] = {SCHED_TUNE_REFUSED, SCHED_TUNE_BESIDE, SCHED_TUNE_KEPT};
        double low, high, mid = sched_tune_case_ratio(&record.c[i], &low, &high);

        assert_int_equal(record.c[i].verdict, verdict[i]);
        assert_int_equal(record.c[i].size, h.line[i].size);
        assert_int_equal(record.c[i].trials, i < 2 ? 5 : 7);
        assert_true(mid > 0.79 && mid < 0.81);
        assert_true(low > 0.79 && low < 0.81);
        assert_true(high == (i == 0 ? 1.01 : i == 1 ? 1.5 : 1.2));
    }
    h = (struct script){.line = {{4096, {0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8}},
                                 {(4096 + 65536) / 2, {0.96, 0.96, 0.96, 0.96, 0.8, 0.8, 0.8}},
                                 {65536, {1, 1, 1, 0.8, 0.8, 0.8, 0.8, 0.8}}}};
    assert_int_equal(sched_tuning_confirm(s, 4, script_trial, &h, &t, &record, &err), NRT_SUCCESS);
    assert_int_equal(h.trials, 7 + 7);
    assert_true(alike(sched_tuning_choose(&t, SCHED_ALL_REDUCE, false, 4096), fast));
    assert_true(alike(sched_tuning_choose(&t, SCHED_ALL_REDUCE, false, 4097), slow));
    assert_true(alike(sched_tuning_choose(&t, SCHED_ALL_REDUCE, false, 65535), slow));
    assert_true(alike(sched_tuning_choose(&t, SCHED_ALL_REDUCE, false, 65536), fast));
    (void)state;
}

static bool no_trial(void *arg, const struct sched_tune_case *cases, size_t n, double *ratio)
{
    (void)arg;
    (void)cases;
    for (size_t i = 0; i < n; i++)
        ratio[i] = 0.5;
    return false;
}

/* What could not be confirmed is no table; where nothing differs no trial is asked for. */
static void unconfirmed(void **state)
{
    static struct sched_tune_record record;
    struct sched_tuning fixed, t;
    struct err err = {0};
    struct sched_tune_sample s[2];

    sched_tuning_default(&fixed);
    for (unsigned i = 0; i < 2; i++)
        s[i] = (struct sched_tune_sample){.op = SCHED_ALL_REDUCE,
                                          .size = 4096,
                                          .means = {i ? SCHED_STAGED : SCHED_DIRECT, false, 65536},
                                          .patience = fixed.patience[0],
                                          .us = i ? 5 : 10};
    assert_int_equal(sched_tuning_confirm(s, 2, no_trial, NULL, &t, &record, &err), NRT_FAILURE);
    assert_non_null(strstr(err.text, "confirmed"));
    assert_int_equal(sched_tuning_confirm(s, 1, no_trial, NULL, &t, &record, &err), NRT_SUCCESS);
    assert_int_equal(record.count, 0);
    (void)state;
}

/* What is printed is read back, and any prefix or damaged copy is refused or read as a table within
 * the limits. */
static void text(void **state)
{
    static struct sched_tune_sample s[SAMPLES];
    struct sched_tuning tuned, again;
    struct err err = {0};

    for (unsigned round = 0; round < 200; round++) {
        struct strbuf b = {0};
        size_t n = samples_draw(s), cut;
        char *damaged;

        assert_int_equal(sched_tuning_decide(s, n, &tuned, &err), NRT_SUCCESS);
        snprintf(tuned.host, sizeof(tuned.host), "%u CPUs of some kind", 1 + below(64));
        sched_tuning_print(&tuned, &b);
        assert_false(b.failed);
        assert_int_equal(sched_tuning_parse(b.s, b.len, &again, &err), NRT_SUCCESS);
        assert_string_equal(again.host, tuned.host);
        assert_int_equal(again.count, tuned.count);
        for (unsigned i = 0; i < tuned.count; i++) {
            assert_int_equal(again.rule[i].op, tuned.rule[i].op);
            assert_int_equal(again.rule[i].crowded, tuned.rule[i].crowded);
            assert_int_equal(again.rule[i].size_max, tuned.rule[i].size_max);
            assert_true(alike(again.rule[i].means, tuned.rule[i].means));
        }
        assert_memory_equal(again.patience, tuned.patience, sizeof(again.patience));
        damaged = malloc(b.len);
        assert_non_null(damaged);
        memcpy(damaged, b.s, b.len);
        cut = below((uint32_t)b.len);
        damaged[cut] = (char)below(256);
        (void)sched_tuning_parse(damaged, b.len, &again, &(struct err){0});
        (void)sched_tuning_parse(damaged, cut, &again, &(struct err){0});
        assert_true(again.count <= SCHED_TUNE_RULES_MAX);
        free(damaged);
        strbuf_fini(&b);
    }
    (void)state;
}

static void refused(void **state)
{
#define HEAD "opennrt-tune 1\nwait spread spins 1 yields 2\nwait crowded spins 3 yields 4\n"
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "no table"},
        {"opennrt-tune\n", "no table"},
        {"opennrt-tune 2\n", "another version"},
        {"opennrt-tune 1\nwait spread spins 1 yields 2\n", "missing"},
        {HEAD "wait spread spins 1 yields 2\n", "second"},
        {HEAD "host a\nhost b\n", "second"},
        {HEAD "host \x01\n", "printable"},
        {HEAD "host\n", "no name"},
        {HEAD "barrier spread to any inline through slice 4096 more\n", "line 4"},
        {HEAD "barrier somewhere to any inline through slice 4096\n", "expected"},
        {HEAD "barrier spread to 0 inline through slice 4096\n", "expected"},
        {HEAD "barrier spread to 18446744073709551616 inline through slice 4096\n", "expected"},
        {HEAD "barrier spread to any inline through slice 4095\n", "expected"},
        {HEAD "barrier spread to any inline through slice 5000\n", "power of two"},
        {HEAD "barrier spread to any inline through slice 33554432\n", "expected"},
        {HEAD "all_broadcast spread to any inline through slice 4096\n", "expected"},
        {HEAD "wait spread spins 1000001 yields 2\n", "million"},
    };
    struct sched_tuning t;

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};

        assert_int_equal(sched_tuning_parse(cases[i].text, strlen(cases[i].text), &t, &err),
                         NRT_INVALID);
        if (!strstr(err.text, cases[i].says))
            fail_msg("case %u: \"%s\" does not say \"%s\"", i, err.text, cases[i].says);
    }
    assert_int_equal(
        sched_tuning_parse(HEAD "# words\n\n \t \n", strlen(HEAD) + 12, &t, &(struct err){0}),
        NRT_SUCCESS);
    (void)state;
}

/* A tuned request is one that a schedule can be made of, whatever the table says. */
static void requests(void **state)
{
    struct topo_fabric fabric;
    struct topo_world world;
    struct err err = {0};

    assert_int_equal(topo_fabric_init(&fabric, topo_instance_find("trn2.48xlarge"), 1, &err), 0);
    for (unsigned round = 0; round < 400; round++) {
        struct topo_group g;
        uint64_t counts[2] = {below(3000), below(3000)};
        struct sched_tuning t = {.count = 1};
        struct sched_request req = {.op = ops[below(4)],
                                    .alg = SCHED_RING,
                                    .group = &g,
                                    .counts = counts,
                                    .elem_size = 4,
                                    .in_place = below(2)};
        uint32_t ranks = 1 + below(12);
        struct sched *s;

        req.tensors = req.op == SCHED_BARRIER ? 0 : 1 + below(2);
        t.rule[0] = (struct sched_tune_rule){.op = (uint8_t)req.op, .means = means_draw()};
        assert_int_equal(topo_world_init(&world, &fabric, 2, 1, ranks, &err), 0);
        assert_int_equal(topo_group_init(&g, &world, NULL, 0, &err), 0);
        sched_request_tune(&req, &t, false);
        if (sched_create(&req, &s, &err))
            fail_msg("%s of %u ranks, variant %u: %s", sched_op_name(req.op), ranks, req.variant,
                     err.text);
        sched_destroy(s);
        topo_group_fini(&g);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(never_worse),
                                       cmocka_unit_test(never_worse_between),
                                       cmocka_unit_test(gained_between),
                                       cmocka_unit_test(patience),
                                       cmocka_unit_test(patience_never_worse),
                                       cmocka_unit_test(nothing_measured),
                                       cmocka_unit_test(confirmed),
                                       cmocka_unit_test(confirmed_alike),
                                       cmocka_unit_test(confirmed_by_hand),
                                       cmocka_unit_test(unconfirmed),
                                       cmocka_unit_test(text),
                                       cmocka_unit_test(refused),
                                       cmocka_unit_test(requests)};

    state64 = seed_take_new();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
