/* SPDX-License-Identifier: Apache-2.0 */
#include "coll/choose.h"

#include "coll/coll_int.h"
#include "sched/select.h"

/* Larger side of the operation at one rank, bytes: what the documented table asks for. */
static uint64_t wish_bytes(const struct coll_wish *w, uint32_t n)
{
    uint64_t elem = w->op == SCHED_BARRIER ? 0 : dtype_size(w->dtype), sum = 0;

    if (sched_op_varies(w->op))
        return elem * (w->in_elems > w->out_elems ? w->in_elems : w->out_elems);
    for (uint32_t t = 0; t < w->tensors; t++)
        sum += w->counts[t] * elem;
    return w->op == SCHED_ALL_GATHER || w->op == SCHED_REDUCE_SCATTER ? sum * n : sum;
}

static NRT_STATUS algorithm(const struct topo_group *g, const struct coll_wish *w,
                            struct sched_request *r, struct err *err)
{
    struct sched_question q = {
        .op = w->op, .host = w->host, .size = wish_bytes(w, g->n), .dims = g->dims};
    struct sched_rules rules;
    struct sched_choice c;
    enum sched_alg forced = SCHED_ALG_COUNT;
    NRT_STATUS st;

    sched_rules_default(&rules);
    if (w->algorithm) {
        forced = sched_alg_from_name(w->algorithm);
        if (forced == SCHED_ALG_COUNT)
            return err_set(err, NRT_INVALID, "unknown algorithm %s", w->algorithm);
        if (!sched_alg_can(forced, w->op, &g->dims))
            return err_set(err, NRT_INVALID, "%s cannot do %s among these %u ranks", w->algorithm,
                           sched_op_name(w->op), g->n);
        (void)sched_rules_prefer(&rules, forced); /* the default table leaves room */
    }
    st = sched_select(&rules, &q, &c, err);
    if (st)
        return st;
    r->alg = c.alg;
    r->intra = c.intra;
    r->inter = c.inter;
    return NRT_SUCCESS;
}

/* The staged schedule of the documented table's algorithm. */
static NRT_STATUS request_make(const struct coll_comm *c, const struct coll_wish *w,
                               struct sched_request *ret, struct err *err)
{
    const struct topo_group *g = coll_comm_group(c);

    *ret = (struct sched_request){.op = w->op,
                                  .variant = SCHED_STAGED,
                                  .group = g,
                                  .tensors = w->tensors,
                                  .counts = w->counts,
                                  .elem_size =
                                      w->op == SCHED_BARRIER ? 1 : (uint32_t)dtype_size(w->dtype),
                                  .in_place = w->in_place,
                                  .send_count = w->send_count,
                                  .send_displ = w->send_displ,
                                  .recv_displ = w->recv_displ,
                                  .in_elems = w->in_elems,
                                  .out_elems = w->out_elems,
                                  .pairs = w->pairs,
                                  .pair_count = w->pair_count};
    return algorithm(g, w, ret, err);
}

NRT_STATUS coll_choose(const struct coll_comm *c, const struct coll_wish *w, struct sched **ret,
                       struct err *err)
{
    struct sched_request r;
    NRT_STATUS st = request_make(c, w, &r, err);

    if (st)
        return st;
    if (!w->algorithm)
        coll_request_tune(c, &r);
    st = sched_create(&r, ret, err);
    return st == NRT_FAILURE ? NRT_INVALID : st;
}

NRT_STATUS coll_choose_time(const struct coll_comm *c, const struct coll_wish *w,
                            struct time_collective *ret, struct time_moves *ret_moves,
                            struct err *err)
{
    struct sched_request r;
    struct time_rates slow;
    const struct time_rates *rates;
    struct sched *s;
    NRT_STATUS st = request_make(c, w, &r, err);

    if (st)
        return st;
    st = sched_create(&r, &s, err);
    if (st)
        return st == NRT_FAILURE ? NRT_INVALID : st;
    rates = coll_fault_rates(c, &slow) ? &slow : NULL;
    st = ret_moves ? time_collective_moves(s, rates, c->me, ret, ret_moves, err)
                   : time_collective(s, rates, ret, err);
    sched_destroy(s);
    return st;
}
