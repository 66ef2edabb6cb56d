/* SPDX-License-Identifier: Apache-2.0 */
/* From what nccom-test is asked for to a time: algorithm, schedule, walk. */
#include <math.h>
#include <string.h>

#include "time/collective.h"

/* The algorithm asked for; several nodes with several ranks run it inside each, and what the table
 * gives for such groups between them. */
static NRT_STATUS choose(const struct time_question *q, struct time_answer *ret, struct err *err)
{
    const struct topo_dims *dims = &q->group->dims;
    struct sched_question ask = {.op = q->op, .size = ret->size, .dims = *dims};
    struct sched_rules rules;

    sched_rules_default(&rules);
    if (q->alg) {
        if (*q->alg == SCHED_HIER || !sched_rules_prefer(&rules, *q->alg))
            return err_set(err, NRT_INVALID, "no room for a rule");
        if (!sched_alg_can(*q->alg, q->op, dims) && !(dims->nodes > 1 && dims->per_node > 1))
            return err_set(err, NRT_FAILURE, "%s cannot do %s on this group",
                           sched_alg_name(*q->alg), sched_op_name(q->op));
    }
    return sched_select(&rules, &ask, &ret->choice, err);
}

/* Elements as sched_request counts them, and the size that they stand for. */
static uint64_t count_of(const struct time_question *q, uint64_t *ret_size)
{
    uint64_t n = q->group->n, elems = q->size / q->elem_size + (q->size % q->elem_size != 0);
    uint64_t each = elems / n + (elems % n != 0);

    switch (q->op) {
    case SCHED_ALL_GATHER:
    case SCHED_REDUCE_SCATTER:
        *ret_size = each * n * q->elem_size;
        return each;
    case SCHED_ALL_TO_ALL:
        *ret_size = each * n * q->elem_size;
        return each * n;
    default:
        *ret_size = elems * q->elem_size;
        return elems;
    }
}

static double bus_factor(enum sched_op op, double n)
{
    switch (op) {
    case SCHED_ALL_REDUCE:
        return 2 * (n - 1) / n;
    case SCHED_ALL_GATHER:
    case SCHED_REDUCE_SCATTER:
    case SCHED_ALL_TO_ALL:
        return (n - 1) / n;
    default:
        return 1;
    }
}

NRT_STATUS time_predict(const struct time_question *q, struct time_answer *ret, struct err *err)
{
    struct sched_request req = {.op = q->op,
                                .variant = SCHED_STAGED,
                                .group = q->group,
                                .tensors = q->op != SCHED_BARRIER,
                                .elem_size = q->elem_size,
                                .pairs = q->pairs,
                                .pair_count = q->pair_count};
    struct time_rates own;
    const struct time_rates *rates = q->rates ? q->rates : &own;
    struct sched *s;
    uint64_t count;
    NRT_STATUS st;

    memset(ret, 0, sizeof(*ret));
    if (sched_op_varies(q->op) || q->elem_size == 0)
        return err_set(err, NRT_INVALID, "%s of elements of %u bytes is not predicted",
                       sched_op_name(q->op), q->elem_size);
    time_rates_find(q->group, &own);
    count = count_of(q, &ret->size);
    st = choose(q, ret, err);
    if (st)
        return st;
    req.alg = ret->choice.alg;
    req.intra = ret->choice.intra;
    req.inter = ret->choice.inter;
    req.counts = &count;
    st = sched_create(&req, &s, err);
    if (st)
        return st;
    st = time_collective(s, rates, &ret->time, err);
    sched_destroy(s);
    if (st)
        return st;
    ret->low_ns = ret->time.unknown ? NAN : ret->time.ns / rates->spread;
    ret->high_ns = ret->time.unknown ? NAN : ret->time.ns * rates->spread;
    ret->algbw = ret->time.ns > 0 ? (double)ret->size / ret->time.ns : 0;
    ret->busbw = ret->algbw * bus_factor(q->op, q->group->n);
    return NRT_SUCCESS;
}
