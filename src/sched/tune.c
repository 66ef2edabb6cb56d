/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed table, choosing from a table, and deciding one from measurements. */
#include "sched/tune.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "topo/group.h"

#define SLICE      (64u << 10)
#define AROUND_MIN (UINT64_C(16) << 20) /* two tensors of two ranks are more than a cache holds */
#define MARGIN     0.97 /* what is not this much faster is as fast: measurements scatter */
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

static bool means_equal(struct sched_means a, struct sched_means b)
{
    return a.variant == b.variant && a.around == b.around && a.slice == b.slice;
}

static bool patience_equal(struct sched_patience a, struct sched_patience b)
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

        if (same_point(s, point) && measured(s) && means_equal(s->means, means) &&
            patience_equal(s->patience, patience) && (best <= 0 || s->us < best))
            best = s->us;
    }
    return best;
}

static struct sched_means means_decide(const struct sched_tune_sample *samples, size_t n,
                                       const struct sched_tune_sample *point,
                                       const struct sched_tuning *fixed)
{
    struct sched_means best = fixed_means(fixed, point);
    struct sched_patience patience = fixed->patience[point->crowded];
    double least = MARGIN * time_of(samples, n, point, best, patience);

    for (size_t i = 0; i < n && least > 0; i++) {
        const struct sched_tune_sample *s = &samples[i];

        if (same_point(s, point) && measured(s) && patience_equal(s->patience, patience) &&
            s->us < least) {
            least = s->us;
            best = s->means;
        }
    }
    return best;
}

/* Rules of one operation and crowd stand by size, the last one without a limit. */
static NRT_STATUS rules_decide(const struct sched_tune_sample *samples, size_t n, enum sched_op op,
                               bool crowded, const struct sched_tuning *fixed,
                               struct sched_tuning *ret, struct err *err)
{
    const struct sched_tune_sample *last = NULL;

    for (;;) {
        const struct sched_tune_sample *next = NULL;

        for (size_t i = 0; i < n; i++)
            if (samples[i].op == op && samples[i].crowded == crowded &&
                (!last || samples[i].size > last->size) && (!next || samples[i].size < next->size))
                next = &samples[i];
        if (!next)
            break;
        if (ret->count == SCHED_TUNE_RULES_MAX)
            return err_set(err, NRT_INVALID, "more than %u points", SCHED_TUNE_RULES_MAX);
        rule_add(ret, op, crowded, next->size, means_decide(samples, n, next, fixed));
        last = next;
    }
    if (last)
        ret->rule[ret->count - 1].size_max = 0;
    for (unsigned i = 0; i < fixed->count && !last; i++) /* nothing is known: as it was */
        if (fixed->rule[i].op == op && fixed->rule[i].crowded == crowded) {
            if (ret->count == SCHED_TUNE_RULES_MAX)
                return err_set(err, NRT_INVALID, "more than %u points", SCHED_TUNE_RULES_MAX);
            ret->rule[ret->count++] = fixed->rule[i];
        }
    return NRT_SUCCESS;
}

/* Sum over the points of a crowd where the fixed patience was measured with the fixed means; 0:
 * this one was not measured at all of them. */
static double patience_time(const struct sched_tune_sample *samples, size_t n, bool crowded,
                            struct sched_patience patience, const struct sched_tuning *fixed)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        const struct sched_tune_sample *s = &samples[i];
        struct sched_means means = fixed_means(fixed, s);
        double us;
        bool other = false;

        if (s->crowded != crowded || !measured(s) || !means_equal(s->means, means) ||
            !patience_equal(s->patience, fixed->patience[crowded]))
            continue;
        for (size_t k = 0; k < n; k++) /* points measured with one patience say nothing */
            other = other || (same_point(&samples[k], s) && measured(&samples[k]) &&
                              !patience_equal(samples[k].patience, fixed->patience[crowded]));
        if (!other)
            continue;
        us = time_of(samples, n, s, means, patience);
        if (us <= 0)
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

NRT_STATUS sched_tuning_decide(const struct sched_tune_sample *samples, size_t n,
                               struct sched_tuning *ret, struct err *err)
{
    struct sched_tuning fixed;

    sched_tuning_default(&fixed);
    memset(ret, 0, sizeof(*ret));
    for (unsigned crowded = 0; crowded < 2; crowded++) {
        for (unsigned op = 0; op < SCHED_OP_COUNT; op++) {
            NRT_STATUS st = rules_decide(samples, n, (enum sched_op)op, crowded, &fixed, ret, err);

            if (st)
                return st;
        }
        ret->patience[crowded] = patience_decide(samples, n, crowded, &fixed);
    }
    return NRT_SUCCESS;
}
