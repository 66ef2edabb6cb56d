/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed table, choosing from a table, and deciding one from measurements. */
#include "sched/tune.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "topo/group.h"

#define SLICE      (64u << 10)
#define AROUND_MIN (UINT64_C(16) << 20) /* two tensors of two ranks are more than a cache holds */
#define MARGIN     0.90 /* what is not this much faster is as fast: measurements scatter */
#define ALIKE      0.97 /* but nothing is taken that is slower than by this somewhere */
#define NEAR_RANKS 256u /* that direct and inline forms take (gen_near.c) */

/* ---- the fixed table ---- */

static void rule_add(struct sched_tuning *t, enum sched_op op, bool crowded, uint64_t size_max,
                     struct sched_means means)
{
    t->rule[t->count++] = (struct sched_tune_rule){(uint8_t)op, crowded, size_max, means};
}

/* Lines save a round of signals and cost a copy on each side, so they pay for small messages, and
 * for larger ones where a round of signals means that ranks take turns on a CPU. */
void sched_tuning_default(struct sched_tuning *ret)
{
    static const enum sched_op ops[] = {SCHED_ALL_REDUCE, SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER};

    memset(ret, 0, sizeof(*ret));
    for (unsigned crowded = 0; crowded < 2; crowded++) {
        for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
            rule_add(ret, ops[i], crowded,
                     crowded ? (ops[i] == SCHED_ALL_REDUCE ? 1024 : 2048) : 512,
                     (struct sched_means){SCHED_INLINE, false, SLICE});
            rule_add(ret, ops[i], crowded, AROUND_MIN - 1,
                     (struct sched_means){SCHED_DIRECT, false, SLICE});
            rule_add(ret, ops[i], crowded, 0, (struct sched_means){SCHED_DIRECT, true, SLICE});
        }
        rule_add(ret, SCHED_BARRIER, crowded, 0, (struct sched_means){SCHED_INLINE, false, SLICE});
    }
    ret->patience[false] = (struct sched_patience){2000, 16};
    ret->patience[true] = (struct sched_patience){0, 1000};
}

/* ---- choosing ---- */

struct sched_means sched_tuning_choose(const struct sched_tuning *t, enum sched_op op, bool crowded,
                                       uint64_t bytes)
{
    for (unsigned i = 0; i < t->count; i++) {
        const struct sched_tune_rule *r = &t->rule[i];

        if (r->op == op && r->crowded == crowded && (r->size_max == 0 || bytes <= r->size_max))
            return r->means;
    }
    return (struct sched_means){SCHED_STAGED, false, SLICE};
}

static uint64_t message_bytes(const struct sched_request *req)
{
    uint64_t sum = 0;

    for (uint32_t t = 0; req->counts && t < req->tensors; t++)
        if (u64_add_over(sum, req->counts[t], &sum))
            return UINT64_MAX;
    return u64_mul_over(sum, req->elem_size, &sum) ? UINT64_MAX : sum;
}

uint64_t sched_request_bytes(const struct sched_request *req)
{
    uint64_t bytes = message_bytes(req);

    if (req->op != SCHED_ALL_GATHER && req->op != SCHED_REDUCE_SCATTER)
        return bytes;
    return u64_mul_over(bytes, req->group->n, &bytes) ? UINT64_MAX : bytes;
}

void sched_request_tune(struct sched_request *req, const struct sched_tuning *t, bool crowded)
{
    struct sched_means m = sched_tuning_choose(t, req->op, crowded, sched_request_bytes(req));
    bool near = req->op == SCHED_ALL_REDUCE || req->op == SCHED_ALL_GATHER ||
                req->op == SCHED_REDUCE_SCATTER || req->op == SCHED_BARRIER;

    if (!near || m.variant == SCHED_STAGED || req->group->nodes > 1 || req->group->n > NEAR_RANKS)
        return;
    if (m.variant == SCHED_INLINE && message_bytes(req) > SCHED_INLINE_MAX)
        m.variant = SCHED_DIRECT;
    req->alg = SCHED_MESH;
    req->variant = (enum sched_variant)m.variant;
    req->channels = 0;
}

/* ---- deciding ---- */

bool sched_means_equal(struct sched_means a, struct sched_means b)
{
    return a.variant == b.variant && a.around == b.around && a.slice == b.slice;
}

bool sched_patience_equal(struct sched_patience a, struct sched_patience b)
{
    return a.spins == b.spins && a.yields == b.yields;
}

static bool measured(const struct sched_tune_sample *s)
{
    return isfinite(s->us) && s->us > 0;
}

static bool same_point(const struct sched_tune_sample *a, const struct sched_tune_sample *b)
{
    return a->op == b->op && a->crowded == b->crowded && a->size == b->size;
}

static struct sched_means fixed_means(const struct sched_tuning *fixed,
                                      const struct sched_tune_sample *s)
{
    return sched_tuning_choose(fixed, (enum sched_op)s->op, s->crowded, s->size);
}

/* Least of the measured times of these means and this patience at a point; 0: not measured. */
static double time_of(const struct sched_tune_sample *samples, size_t n,
                      const struct sched_tune_sample *point, struct sched_means means,
                      struct sched_patience patience)
{
    double best = 0;

    for (size_t i = 0; i < n; i++) {
        const struct sched_tune_sample *s = &samples[i];

        if (same_point(s, point) && measured(s) && sched_means_equal(s->means, means) &&
            sched_patience_equal(s->patience, patience) && (best <= 0 || s->us < best))
            best = s->us;
    }
    return best;
}

/* The points of one operation and crowd, from which its rules are made. */
struct points {
    const struct sched_tune_sample *samples;
    size_t n;
    enum sched_op op;
    bool crowded;
    const struct sched_tuning *fixed;
    const struct sched_tune_record *but; /* what was refused */
};

/* Whether other means were refused at one of these sizes. */
static bool refused(const struct points *p, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < p->but->count; i++) {
        const struct sched_tune_case *c = &p->but->c[i];

        if (c->verdict == SCHED_TUNE_REFUSED && c->op == p->op && c->crowded == p->crowded &&
            c->size >= from && c->size <= to && !sched_means_equal(c->means[0], c->means[1]))
            return true;
    }
    return false;
}

static struct sched_means means_decide(const struct points *p,
                                       const struct sched_tune_sample *point)
{
    struct sched_means best = fixed_means(p->fixed, point);
    struct sched_patience patience = p->fixed->patience[point->crowded];
    double least = MARGIN * time_of(p->samples, p->n, point, best, patience);

    if (refused(p, point->size, point->size))
        return best;
    for (size_t i = 0; i < p->n && least > 0; i++) {
        const struct sched_tune_sample *s = &p->samples[i];

        if (same_point(s, point) && measured(s) && sched_patience_equal(s->patience, patience) &&
            s->us < least) {
            least = s->us;
            best = s->means;
        }
    }
    return best;
}

/* The sample of the least size above that of another one (NULL: of all); NULL: none. */
static const struct sched_tune_sample *point_after(const struct points *p,
                                                   const struct sched_tune_sample *last)
{
    const struct sched_tune_sample *next = NULL;

    for (size_t i = 0; i < p->n; i++) {
        const struct sched_tune_sample *s = &p->samples[i];

        if (s->op == p->op && s->crowded == p->crowded && (!last || s->size > last->size) &&
            (!next || s->size < next->size))
            next = s;
    }
    return next;
}

/* Instead of those of the fixed table, for a stretch of sizes between two points. By what was
 * measured, and in a straight line between, no size is slower. */
static struct sched_means between_decide(const struct points *p, const struct sched_tune_sample *a,
                                         const struct sched_tune_sample *b, uint64_t from,
                                         uint64_t to)
{
    struct sched_means was = sched_tuning_choose(p->fixed, p->op, p->crowded, from);
    struct sched_patience patience = p->fixed->patience[p->crowded];
    double was_a = time_of(p->samples, p->n, a, was, patience);
    double was_b = time_of(p->samples, p->n, b, was, patience);
    double least = 2 * MARGIN;
    struct sched_means best = was;

    if (refused(p, a->size, a->size) || refused(p, from, to) || refused(p, b->size, b->size))
        return was;
    for (size_t i = 0; i < p->n && was_a > 0 && was_b > 0; i++) {
        const struct sched_tune_sample *s = &p->samples[i];
        double at_a, at_b;

        if (!same_point(s, b) || !sched_patience_equal(s->patience, patience))
            continue;
        at_a = time_of(p->samples, p->n, a, s->means, patience);
        at_b = time_of(p->samples, p->n, b, s->means, patience);
        if (at_a > 0 && at_b > 0 && at_a <= was_a && at_b <= was_b &&
            at_a / was_a + at_b / was_b < least) {
            least = at_a / was_a + at_b / was_b;
            best = s->means;
        }
    }
    return best;
}

/* Where only one of the points is there: as at that one, if the fixed table is the same. */
static struct sched_means beyond_decide(const struct points *p,
                                        const struct sched_tune_sample *point, uint64_t from)
{
    struct sched_means was = sched_tuning_choose(p->fixed, p->op, p->crowded, from);

    return sched_means_equal(was, fixed_means(p->fixed, point)) ? means_decide(p, point) : was;
}

/* The last size for which a table has the rule that it has for this one; 0: no limit. */
static uint64_t rule_until(const struct sched_tuning *t, enum sched_op op, bool crowded,
                           uint64_t size)
{
    for (unsigned i = 0; i < t->count; i++) {
        const struct sched_tune_rule *r = &t->rule[i];

        if (r->op == op && r->crowded == crowded && (r->size_max == 0 || size <= r->size_max))
            return r->size_max;
    }
    return 0;
}

/* Appends a rule, or lets the last one reach as far where it stands for no point of its own. */
static NRT_STATUS rule_put(const struct points *p, uint64_t size_max, struct sched_means means,
                           bool *alone, bool point, struct sched_tuning *ret, struct err *err)
{
    struct sched_tune_rule *last = ret->count ? &ret->rule[ret->count - 1] : NULL;

    if (*alone && last && sched_means_equal(last->means, means)) {
        last->size_max = size_max;
    } else if (ret->count == SCHED_TUNE_RULES_MAX) {
        return err_set(err, NRT_INVALID, "more than %u rules", SCHED_TUNE_RULES_MAX);
    } else {
        rule_add(ret, p->op, p->crowded, size_max, means);
    }
    *alone = !point;
    return NRT_SUCCESS;
}

/* Rules for the sizes above one point (NULL: from 0) and below another (NULL: without end). */
static NRT_STATUS gap_decide(const struct points *p, const struct sched_tune_sample *a,
                             const struct sched_tune_sample *b, bool *alone,
                             struct sched_tuning *ret, struct err *err)
{
    uint64_t from = a ? a->size + 1 : 0;

    if (b && b->size <= 1) /* and 0 as a limit is none */
        return NRT_SUCCESS;
    while ((!b || from < b->size) && (!a || from > a->size)) {
        uint64_t to = rule_until(p->fixed, p->op, p->crowded, from);
        NRT_STATUS st;

        if (b && (to == 0 || to >= b->size))
            to = b->size - 1;
        st = rule_put(
            p, to, a && b ? between_decide(p, a, b, from, to) : beyond_decide(p, a ? a : b, from),
            alone, false, ret, err);
        if (st != NRT_SUCCESS || to == 0)
            return st;
        from = to + 1;
    }
    return NRT_SUCCESS;
}

/* Rules of one operation and crowd stand by size, the last one without a limit. */
static NRT_STATUS rules_decide(const struct points *p, struct sched_tuning *ret, struct err *err)
{
    const struct sched_tune_sample *last = NULL, *next = point_after(p, NULL);
    NRT_STATUS st = NRT_SUCCESS;
    bool alone = false;

    for (unsigned i = 0; i < p->fixed->count && !next; i++) /* nothing is known: as it was */
        if (p->fixed->rule[i].op == p->op && p->fixed->rule[i].crowded == p->crowded)
            st = st ? st
                    : rule_put(p, p->fixed->rule[i].size_max, p->fixed->rule[i].means, &alone, true,
                               ret, err);
    while (next && st == NRT_SUCCESS) {
        st = gap_decide(p, last, next, &alone, ret, err);
        if (st == NRT_SUCCESS)
            st = rule_put(p, next->size, means_decide(p, next), &alone, true, ret, err);
        last = next;
        next = point_after(p, last);
    }
    if (last && st == NRT_SUCCESS) {
        alone = true; /* where nothing changes behind the last point its rule has no limit */
        st = gap_decide(p, last, NULL, &alone, ret, err);
    }
    return st;
}

/* Sum over the points of a crowd where the fixed patience was measured with the fixed means; 0:
 * this one was not measured at all of them, or is slower at one. */
static double patience_time(const struct sched_tune_sample *samples, size_t n, bool crowded,
                            struct sched_patience patience, const struct sched_tuning *fixed)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        const struct sched_tune_sample *s = &samples[i];
        struct sched_means means = fixed_means(fixed, s);
        double us;
        bool other = false;

        if (s->crowded != crowded || !measured(s) || !sched_means_equal(s->means, means) ||
            !sched_patience_equal(s->patience, fixed->patience[crowded]))
            continue;
        for (size_t k = 0; k < n; k++) /* points asked for one patience say nothing */
            other = other || (same_point(&samples[k], s) &&
                              !sched_patience_equal(samples[k].patience, fixed->patience[crowded]));
        if (!other)
            continue;
        us = time_of(samples, n, s, means, patience);
        if (us <= 0 || us * ALIKE > time_of(samples, n, s, means, fixed->patience[crowded]))
            return 0;
        sum += us;
    }
    return sum;
}

static struct sched_patience patience_decide(const struct sched_tune_sample *samples, size_t n,
                                             bool crowded, const struct sched_tuning *fixed)
{
    struct sched_patience best = fixed->patience[crowded];
    double least = MARGIN * patience_time(samples, n, crowded, best, fixed);

    for (size_t i = 0; i < n && least > 0; i++) {
        double us;

        if (samples[i].crowded != crowded)
            continue;
        us = patience_time(samples, n, crowded, samples[i].patience, fixed);
        if (us > 0 && us < least) {
            least = us;
            best = samples[i].patience;
        }
    }
    return best;
}

/* Whether the patience of a crowd was refused. */
static bool patience_refused(const struct sched_tune_record *but, bool crowded)
{
    for (size_t i = 0; i < but->count; i++)
        if (but->c[i].verdict == SCHED_TUNE_REFUSED && but->c[i].crowded == crowded &&
            sched_means_equal(but->c[i].means[0], but->c[i].means[1]))
            return true;
    return false;
}

NRT_STATUS sched_tuning_decide_but(const struct sched_tune_sample *samples, size_t n,
                                   const struct sched_tune_record *but, struct sched_tuning *ret,
                                   struct err *err)
{
    struct sched_tuning fixed;

    sched_tuning_default(&fixed);
    memset(ret, 0, sizeof(*ret));
    for (unsigned crowded = 0; crowded < 2; crowded++) {
        for (unsigned op = 0; op < SCHED_OP_COUNT; op++) {
            const struct points p = {samples, n, (enum sched_op)op, crowded, &fixed, but};
            NRT_STATUS st = rules_decide(&p, ret, err);

            if (st)
                return st;
        }
        ret->patience[crowded] = patience_refused(but, crowded)
                                     ? fixed.patience[crowded]
                                     : patience_decide(samples, n, crowded, &fixed);
    }
    return NRT_SUCCESS;
}

NRT_STATUS sched_tuning_decide(const struct sched_tune_sample *samples, size_t n,
                               struct sched_tuning *ret, struct err *err)
{
    static const struct sched_tune_record nothing;

    return sched_tuning_decide_but(samples, n, &nothing, ret, err);
}

/* ---- comparing ---- */

/* The cases that are being collected. */
struct cases {
    const struct sched_tuning *tables[2];
    struct sched_tune_case *c;
    size_t count;
    unsigned sizes;
};

static NRT_STATUS case_add(const struct points *p, uint64_t size, struct cases *all,
                           struct err *err)
{
    struct sched_tune_case c = {.op = (uint8_t)p->op, .crowded = p->crowded, .size = size};

    for (unsigned i = 0; i < 2; i++) {
        c.means[i] = sched_tuning_choose(all->tables[i], p->op, p->crowded, size);
        c.patience[i] = all->tables[i]->patience[p->crowded];
    }
    all->sizes++;
    if (sched_means_equal(c.means[0], c.means[1]) &&
        sched_patience_equal(c.patience[0], c.patience[1]))
        return NRT_SUCCESS;
    if (all->count == SCHED_TUNE_CASES_MAX)
        return err_set(err, NRT_INVALID, "more than %d sizes differ", SCHED_TUNE_CASES_MAX);
    all->c[all->count++] = c;
    return NRT_SUCCESS;
}

/* The middle of every stretch above one size and below another. */
static NRT_STATUS stretches_add(const struct points *p, uint64_t above, uint64_t below,
                                struct cases *all, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    for (uint64_t from = above + 1, to; from < below && st == NRT_SUCCESS; from = to + 1) {
        to = below - 1;
        for (unsigned i = 0; i < 2; i++) {
            uint64_t until = rule_until(all->tables[i], p->op, p->crowded, from);

            to = until > 0 && until < to ? until : to;
        }
        st = case_add(p, from + (to - from) / 2, all, err);
    }
    return st;
}

NRT_STATUS sched_tuning_cases(const struct sched_tune_sample *samples, size_t n,
                              const struct sched_tuning *tuned, struct sched_tune_case *ret,
                              size_t *ret_count, unsigned *ret_sizes, struct err *err)
{
    struct sched_tuning fixed;
    struct cases all = {.tables = {&fixed, tuned}, .c = ret};
    NRT_STATUS st = NRT_SUCCESS;

    sched_tuning_default(&fixed);
    for (unsigned k = 0; k < 2 * SCHED_OP_COUNT; k++) {
        const struct points p = {.samples = samples,
                                 .n = n,
                                 .op = (enum sched_op)(k % SCHED_OP_COUNT),
                                 .crowded = k >= SCHED_OP_COUNT};
        const struct sched_tune_sample *last = NULL, *next = point_after(&p, NULL);

        while (next && st == NRT_SUCCESS) {
            if (last)
                st = stretches_add(&p, last->size, next->size, &all, err);
            if (st == NRT_SUCCESS)
                st = case_add(&p, next->size, &all, err);
            last = next;
            next = point_after(&p, last);
        }
    }
    *ret_count = all.count;
    *ret_sizes = all.sizes;
    return st;
}
