/* SPDX-License-Identifier: Apache-2.0 */
/* The tensors of an operation: where they are mapped here, and that peers may reach them. Programs
 * repeat their operations, and turn two tensors about, so what was found out about the last sets is
 * kept with the plan. It holds as long as the extents in which they lie are the same ones: a few
 * loads tell. */
#include <string.h>

#include "base/mem.h"
#include "coll/coll_int.h"

/* ---- plans ---- */

/* The variable forms have one tensor and no list of counts. */
static uint32_t tensor_count(const struct coll_plan *p)
{
    const struct sched_request *r = sched_request_of(p->s);

    return sched_op_varies(r->op) ? 1 : r->tensors;
}

static uint64_t tensor_bytes(const struct coll_plan *p, enum sched_buf buf, uint32_t tensor)
{
    return sched_tensor_elems(p->s, buf, p->comm->me, tensor) * p->elem;
}

static bool is_tensor(const struct plan_base *b)
{
    return b->buf == SCHED_IN || b->buf == SCHED_OUT;
}

/* Bases of tensors, mine first. */
static bool bases_list(struct coll_plan *p)
{
    p->tensor_bases = mem_calloc(p->base_count + 1, sizeof(*p->tensor_bases));
    if (!p->tensor_bases)
        return false;
    for (unsigned peers = 0; peers < 2; peers++) {
        for (size_t i = 0; i < p->base_count; i++)
            if (is_tensor(&p->bases[i]) && (p->bases[i].rank != p->comm->me) == peers)
                p->tensor_bases[p->tensor_base_count++] = (uint32_t)i;
        if (!peers)
            p->own_base_count = p->tensor_base_count;
    }
    return true;
}

void coll_tensors_measure(struct coll_plan *p)
{
    p->tensors = tensor_count(p);
    for (uint32_t t = 0; t < p->tensors; t++) {
        uint64_t in = tensor_bytes(p, SCHED_IN, t), out = tensor_bytes(p, SCHED_OUT, t);

        p->bytes += in > out ? in : out;
    }
}

bool coll_tensors_open(struct coll_plan *p)
{
    if (!bases_list(p))
        return false;
    for (unsigned i = 0; i < PLAN_SETS; i++) {
        struct plan_set *set = &p->sets[i];

        set->addr = mem_calloc(2 * (size_t)p->tensors + 1, sizeof(*set->addr));
        set->held = mem_calloc(2 * (size_t)p->tensors + 1, sizeof(*set->held));
        set->at = mem_calloc(p->own_base_count + 1, sizeof(*set->at));
        if (!set->addr || !set->held || !set->at)
            return false;
    }
    return true;
}

void coll_tensors_free(struct coll_plan *p)
{
    for (unsigned i = 0; i < PLAN_SETS; i++) {
        mem_free(p->sets[i].addr);
        mem_free(p->sets[i].held);
        mem_free(p->sets[i].at);
    }
    mem_free(p->tensor_bases);
}

/* ---- operations ---- */

static NRT_STATUS map_tensor(struct coll_comm *c, const struct plan_base *b, uint64_t addr,
                             uint8_t **ret, struct err *err)
{
    void *p;
    NRT_STATUS st = device_map(c->cfg.in, addr, b->bytes, DEVICE_RW, &p, err);

    if (!st)
        *ret = p;
    return st;
}

/* Peers read and write my tensors while the operation is under way, and longer when it fails: from
 * here on, memory freed under them is not given to anybody else (decision 4). */
static NRT_STATUS set_hold(struct coll_plan *p, struct plan_set *set, struct err *err)
{
    struct coll_comm *c = p->comm;

    for (uint32_t i = 0; i < 2 * p->tensors; i++) {
        uint64_t addr = set->addr[i];
        uint64_t bytes = i < p->tensors ? tensor_bytes(p, SCHED_IN, i)
                                        : tensor_bytes(p, SCHED_OUT, i - p->tensors);
        struct device_extent *held =
            &c->held[(addr * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (COLL_HELD - 1)];
        NRT_STATUS st =
            bytes ? device_lease_hold(c->cfg.in, c->lease, addr, bytes, held, err) : NRT_SUCCESS;

        if (st)
            return st;
        set->held[i] = bytes ? *held : (struct device_extent){0};
    }
    return NRT_SUCCESS;
}

/* Mapped, backed and leased; then the set is known. */
static NRT_STATUS set_find(struct coll_plan *p, struct plan_set *set, const uint64_t *in,
                           const uint64_t *out, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    set->known = false;
    if (p->tensors) {
        memcpy(set->addr, in, p->tensors * sizeof(*in));
        memcpy(set->addr + p->tensors, out, p->tensors * sizeof(*out));
    }
    for (uint32_t i = 0; i < p->own_base_count && !st; i++) {
        const struct plan_base *b = &p->bases[p->tensor_bases[i]];

        st = map_tensor(p->comm, b, b->buf == SCHED_IN ? in[b->tensor] : out[b->tensor],
                        &set->at[i], err);
    }
    if (!st)
        st = set_hold(p, set, err);
    set->known = !st;
    return st;
}

static bool set_is(const struct coll_plan *p, const struct plan_set *set, const uint64_t *in,
                   const uint64_t *out)
{
    if (!set->known)
        return false;
    for (uint32_t t = 0; t < p->tensors; t++)
        if (set->addr[t] != in[t] || set->addr[p->tensors + t] != out[t])
            return false;
    return device_lease_holds(p->comm->cfg.in, set->held, 2 * p->tensors);
}

/* NULL: not known, or its memory is not the same any more. */
static struct plan_set *set_of(struct coll_plan *p, const uint64_t *in, const uint64_t *out)
{
    for (unsigned i = 0; i < PLAN_SETS; i++)
        if (set_is(p, &p->sets[i], in, out))
            return &p->sets[i];
    return NULL;
}

NRT_STATUS coll_tensors_take(struct coll_plan *p, const uint64_t *in, const uint64_t *out,
                             struct err *err)
{
    struct plan_set *set = p->set && set_is(p, p->set, in, out) ? p->set : set_of(p, in, out);

    if (!set) {
        NRT_STATUS st;

        set = &p->sets[p->set_next++ % PLAN_SETS];
        p->set = NULL;
        st = set_find(p, set, in, out, err);
        if (st)
            return st;
    }
    for (uint32_t i = 0; set != p->set && i < p->own_base_count; i++)
        p->bases[p->tensor_bases[i]].p = set->at[i];
    p->set = set;
    for (uint32_t i = p->own_base_count; i < p->tensor_base_count; i++)
        p->bases[p->tensor_bases[i]].p = NULL;
    return NRT_SUCCESS;
}

/* A peer's tensor, which it published before the signal that let us come here. */
NRT_STATUS coll_tensor_of_peer(struct coll_comm *c, struct plan_base *b)
{
    struct coll_publish *pub = &c->peers[b->rank].area->publish;
    struct err err;
    uint64_t addr = atomic_load_explicit(
        b->buf == SCHED_IN ? &pub->in[b->tensor] : &pub->out[b->tensor], memory_order_relaxed);

    err_clear(&err);
    if (map_tensor(c, b, addr, &b->p, &err))
        return coll_fail(c, NRT_EXEC_HW_ERR_COLLECTIVES, b->rank,
                         "tensor %u that rank %u offers cannot be reached: %s", b->tensor, b->rank,
                         err.text);
    return NRT_SUCCESS;
}
