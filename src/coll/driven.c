/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that the host drives (nrta_cc_schedule): docs/spec/api.md 5, functions 47 and 48.
 *
 * A core is a second rank for them, which has communicators of its own: what the host drives and
 * what programs trigger never meet in one, and run at the same time. Communicators live from the
 * first operation of a group to the end of the session, plans are made when they are needed.
 *
 * Whether the sides of an operation overlap, each rank knows of itself only. So operations are
 * always planned apart, and an input that overlaps an output is sent from a copy. A side of several
 * tensors is put together, or taken apart, in the same memory. */
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "coll/coll_int.h"
#include "coll/world_int.h"

enum { SCRATCH_IN, SCRATCH_OUT };

/* An operation as its plan takes it. */
struct drive {
    struct coll_driver *dr;
    const struct coll_driven *d;
    uint64_t in_bytes, out_bytes; /* of a side */
    uint64_t in, out;             /* device addresses of whole sides */
    struct err *err;
};

static struct device_instance *instance(const struct drive *v)
{
    return v->dr->rank.w->cfg.in;
}

/* ---- scratch memory ---- */

/* Twice what there was, at least: what peers could reach is in quarantine until the communicators
 * close, and so never more than what is in use. */
static NRT_STATUS scratch_get(struct drive *v, unsigned which, uint64_t size, uint64_t *ret)
{
    struct device_extent *x = &v->dr->scratch[which];
    uint64_t twice = x->size < UINT64_MAX / 2 ? 2 * x->size : x->size;
    struct device_alloc a = {.core = v->dr->rank.core,
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_XT_CC,
                             .size = size > twice ? size : twice,
                             .align = 4096,
                             .name = "sides of collectives of the host"};
    struct device_extent old = *x;
    struct err ignored = {0};
    NRT_STATUS st = NRT_SUCCESS;

    if (size > x->size) {
        st = device_alloc(instance(v), &a, x, v->err);
        if (st)
            *x = old;
        else if (old.size)
            (void)device_free(instance(v), &old, &ignored);
    }
    *ret = x->addr;
    return st;
}

/* Between a whole side at `whole` and its n pieces; one of one piece too. */
static NRT_STATUS pieces_move(struct drive *v, uint64_t whole, uint64_t bytes,
                              const uint64_t *pieces, uint32_t n, bool apart)
{
    uint64_t size = bytes / n;
    void *a, *b;
    NRT_STATUS st = NRT_SUCCESS;

    for (uint32_t i = 0; i < n && size && !st; i++) {
        st = device_map(instance(v), whole + i * size, size, DEVICE_RW, &a, v->err);
        if (!st)
            st = device_map(instance(v), pieces[i], size, DEVICE_RW, &b, v->err);
        if (!st)
            memcpy(apart ? b : a, apart ? a : b, size);
    }
    return st;
}

static NRT_STATUS sides_take(struct drive *v)
{
    const struct coll_driven *d = v->d;
    uint64_t small = d->elems * dtype_size(d->dtype);
    bool copy;
    NRT_STATUS st = NRT_SUCCESS;

    v->in_bytes = d->op == SCHED_REDUCE_SCATTER ? small * d->n : small;
    v->out_bytes = d->op == SCHED_ALL_GATHER ? small * d->n : small;
    v->in = d->in[0];
    v->out = d->out[0];
    copy = d->in_count > 1 ||
           (d->out_count == 1 && ranges_meet(v->in, v->in_bytes, v->out, v->out_bytes));
    if (copy)
        st = scratch_get(v, SCRATCH_IN, v->in_bytes, &v->in);
    if (copy && !st)
        st = pieces_move(v, v->in, v->in_bytes, d->in, d->in_count, false);
    if (d->out_count > 1 && !st)
        st = scratch_get(v, SCRATCH_OUT, v->out_bytes, &v->out);
    return st;
}

/* ---- operations ---- */

static NRT_STATUS plan_get(const struct drive *v, struct shared_comm *c, struct coll_plan **ret)
{
    const struct coll_wish wish = {.op = v->d->op,
                                   .dtype = v->d->dtype,
                                   .reduce = v->d->reduce,
                                   .host = true,
                                   .tensors = 1,
                                   .counts = &v->d->elems};

    return shared_plan_get(c, &wish, ret, v->err);
}

/* Whatever fails on one rank alone breaks the communicator: the others must not wait. st: what was
 * not the communicator's own failure; what this rank's request ends with. */
static NRT_STATUS operate_fail(const struct drive *v, struct shared_comm *c, NRT_STATUS st)
{
    uint32_t culprit = st == NRT_FAILURE ? coll_plan_refuser(c->comm) : c->me;
    uint64_t heard = atomic_load(&c->comm->peers[c->me].area->failure);

    if (heard)
        coll_failure_take(c->comm, heard);
    (void)coll_fail(c->comm, NRT_EXEC_HW_ERR_COLLECTIVES, culprit, "%s", v->err->text);
    /* Another one has refused; or, what nrta_cc_prepare could not see: the members' plans differ.
     */
    return st == NRT_FAILURE || st == NRT_INVALID ? coll_comm_status(c->comm) : st;
}

/* The communicator is open. */
static NRT_STATUS operate(struct drive *v, struct shared_comm *c)
{
    NRT_STATUS st = coll_comm_status(c->comm);
    struct coll_plan *plan;

    if (st)
        return err_set(v->err, st, "a communicator of %u ranks is broken by an operation before",
                       c->n);
    st = plan_get(v, c, &plan);
    if (!st)
        st = sides_take(v);
    if (!st) {
        (void)coll_late(c->comm);
        st = coll_begin(plan, &v->in, &v->out, v->err);
    }
    if (!st)
        st = coll_wait(c->comm, v->err);
    if (!st && v->d->out_count > 1)
        st = pieces_move(v, v->out, v->out_bytes, v->d->out, v->d->out_count, true);
    if (st && coll_comm_status(c->comm) == NRT_SUCCESS)
        return operate_fail(v, c, st);
    return st == NRT_INVALID || st == NRT_FAILURE ? coll_comm_status(c->comm) : st;
}

/* ---- ranks ---- */

/* The core has joined, and stays the rank that it is. */
static NRT_STATUS driver_join(struct coll_driver *dr, struct err *err)
{
    struct coll_rank *r = &dr->rank, *other = &r->w->ranks[r->vnc];

    if (r->meet)
        return NRT_SUCCESS;
    pthread_mutex_lock(&other->lock);
    r->id = other->id;
    r->count = other->count;
    r->global = other->global;
    r->topo = other->topo;
    r->meet = other->meet;
    pthread_mutex_unlock(&other->lock);
    if (!r->meet)
        return err_set(err, NRT_INVALID,
                       "logical core %u has no global communicator (nrt_cc_global_comm_init)",
                       r->vnc);
    return NRT_SUCCESS;
}

NRT_STATUS coll_world_drive_check(struct coll_world *w, uint32_t vnc, uint32_t rank, uint32_t count,
                                  uint32_t *ret_first, struct err *err)
{
    struct coll_rank r = {.vnc = vnc};

    if (!coll_world_joined(w, vnc, &r.id, &r.count))
        return err_set(err, NRT_INVALID,
                       "logical core %u has no global communicator (nrt_cc_global_comm_init)", vnc);
    if (r.id < rank || r.id - rank + (uint64_t)count > r.count)
        return err_set(err, NRT_INVALID,
                       "rank %u of %u does not fit global rank %u of %u: the ranks follow each "
                       "other in the global communicator",
                       rank, count, r.id, r.count);
    *ret_first = r.id - rank;
    return NRT_SUCCESS;
}

/* The communicator of the group, opened if this is its first operation. */
static NRT_STATUS comm_get(struct drive *v, struct shared_comm **ret)
{
    const struct coll_driven *d = v->d;
    struct coll_rank *r = &v->dr->rank;
    const struct shared_want want = {.n = d->n, .me = d->me, .ranks = d->group};

    return shared_comm_keep(r, &want, ret, v->err);
}

NRT_STATUS coll_world_drive(struct coll_world *w, uint32_t vnc, const struct coll_driven *d,
                            struct err *err)
{
    struct drive v = {.dr = &w->drivers[vnc], .d = d, .err = err};
    struct shared_comm *c = NULL;
    NRT_STATUS st = driver_join(v.dr, err);

    if (!st)
        st = comm_get(&v, &c);
    if (st) {
        LOGE(w->cfg.log, LOG_NRT, CALL_SCHEDULE, "%s of %u ranks: no communicator: %s",
             sched_op_name(d->op), d->n, err->text);
        return st;
    }
    device_runnable_add(w->cfg.in, 1);
    st = operate(&v, c);
    device_runnable_add(w->cfg.in, -1);
    return st;
}
