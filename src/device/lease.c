/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: what a communicator exposes to peers. A generation has members; while one of them lives
 * and has not left, extents leased to it are quarantined instead of freed, so that no peer writes
 * into memory that has a new owner. A generation is one bit of an extent's lease mask. */
#include "device/device_int.h"

#include <inttypes.h>

static void member_set(struct device_instance *in, struct ctl_gen *g, uint32_t slot, bool on)
{
    uint64_t w = atomic_load_explicit(&g->members[slot / 64], memory_order_relaxed);
    uint64_t bit = UINT64_C(1) << (slot % 64);

    COMMIT(in, g->members[slot / 64], on ? w | bit : w & ~bit);
}

static bool gen_has_members(const struct ctl_gen *g)
{
    for (unsigned w = 0; w < CTL_SLOT_WORDS; w++) {
        if (atomic_load_explicit(&g->members[w], memory_order_relaxed))
            return true;
    }
    return false;
}

/* Take the generation's bit off every extent; what no lease holds any more goes. Done again from
 * the start if a death interrupts it: the generation becomes free last. */
static void gen_close_locked(struct device_instance *in, uint32_t gi)
{
    uint64_t mask = ~(UINT64_C(1) << (gi % 64));
    uint32_t cap = ctl_extent_cap(in);

    for (uint32_t i = 1; i < cap; i++) {
        struct ctl_extent *x = ctl_extent(in, i);
        uint64_t w = atomic_load_explicit(&x->leases[gi / 64], memory_order_relaxed);
        uint32_t state = atomic_load_explicit(&x->state, memory_order_relaxed);

        if (state == EXT_FREE)
            continue;
        if (w & ~mask)
            COMMIT(in, x->leases[gi / 64], w & mask);
        if (state == EXT_QUARANTINE && !extent_leased(x))
            extent_release_locked(in, i);
    }
    COMMIT(in, ctl_gen(in, gi)->state, GEN_FREE);
}

void lease_leave_all_locked(struct device_instance *in, uint32_t slot)
{
    for (uint32_t gi = 0; gi < CTL_GEN_MAX; gi++) {
        struct ctl_gen *g = ctl_gen(in, gi);

        if (atomic_load_explicit(&g->state, memory_order_relaxed) != GEN_OPEN)
            continue;
        member_set(in, g, slot, false);
        if (!gen_has_members(g))
            gen_close_locked(in, gi);
    }
}

static struct ctl_gen *gen_find(struct device_instance *in, uint64_t id, uint32_t *ret_gi)
{
    for (uint32_t gi = 0; gi < CTL_GEN_MAX; gi++) {
        struct ctl_gen *g = ctl_gen(in, gi);

        if (atomic_load_explicit(&g->state, memory_order_relaxed) == GEN_OPEN && g->id == id) {
            *ret_gi = gi;
            return g;
        }
    }
    return NULL;
}

static NRT_STATUS lease_enter(struct device_instance *in, struct err *err)
{
    if (in->slot == DEVICE_NONE || device_instance_forked(in))
        return err_set(err, NRT_UNINITIALIZED, "this process has no slot in the instance");
    return ctl_lock(in, err);
}

static NRT_STATUS lease_open_locked(struct device_instance *in, const uint32_t *slots,
                                    unsigned slot_count, uint64_t *ret_lease, struct err *err)
{
    struct ctl_head *h = ctl_head(in);

    for (uint32_t gi = 0; gi < CTL_GEN_MAX; gi++) {
        struct ctl_gen *g = ctl_gen(in, gi);

        if (atomic_load_explicit(&g->state, memory_order_relaxed) != GEN_FREE)
            continue;
        for (unsigned w = 0; w < CTL_SLOT_WORDS; w++)
            atomic_store_explicit(&g->members[w], 0, memory_order_relaxed);
        for (unsigned s = 0; s < slot_count; s++)
            member_set(in, g, slots[s], true);
        PUT(in, g->id, h->next_generation);
        PUT(in, h->next_generation, h->next_generation + 1);
        COMMIT(in, g->state, GEN_OPEN);
        *ret_lease = g->id;
        return NRT_SUCCESS;
    }
    return err_set(err, NRT_RESOURCE, "all %u lease generations are in use", CTL_GEN_MAX);
}

NRT_STATUS device_lease_open(struct device_instance *in, const uint32_t *slots, unsigned slot_count,
                             uint64_t *ret_lease, struct err *err)
{
    if (slot_count == 0)
        return err_set(err, NRT_INVALID, "a lease has no members");
    for (unsigned s = 0; s < slot_count; s++) {
        if (slots[s] >= in->lay.slots)
            return err_set(err, NRT_INVALID, "slot %u is outside the instance", slots[s]);
    }
    NRT_STATUS st = lease_enter(in, err);
    if (st != NRT_SUCCESS)
        return st;
    st = lease_open_locked(in, slots, slot_count, ret_lease, err);
    ctl_unlock(in);
    return st;
}

NRT_STATUS device_lease_add(struct device_instance *in, uint64_t lease,
                            const struct device_extent *h, struct err *err)
{
    uint32_t gi;
    NRT_STATUS st = lease_enter(in, err);

    if (st != NRT_SUCCESS)
        return st;
    struct ctl_extent *x = ctl_extent(in, h->index);
    if (!gen_find(in, lease, &gi)) {
        st = err_set(err, NRT_INVALID_HANDLE, "lease %" PRIu64 " is not open", lease);
    } else if (!x || x->generation != h->generation || x->slot != in->slot ||
               atomic_load_explicit(&x->state, memory_order_acquire) != EXT_LIVE) {
        st = err_set(err, NRT_INVALID_HANDLE, "extent %u is not live", h->index);
    } else {
        uint64_t w = atomic_load_explicit(&x->leases[gi / 64], memory_order_relaxed);

        COMMIT(in, x->leases[gi / 64], w | UINT64_C(1) << (gi % 64));
    }
    ctl_unlock(in);
    return st;
}

NRT_STATUS device_lease_leave(struct device_instance *in, uint64_t lease, struct err *err)
{
    uint32_t gi;
    NRT_STATUS st = lease_enter(in, err);

    if (st != NRT_SUCCESS)
        return st;
    struct ctl_gen *g = gen_find(in, lease, &gi);
    if (!g) {
        st = err_set(err, NRT_INVALID_HANDLE, "lease %" PRIu64 " is not open", lease);
    } else {
        member_set(in, g, in->slot, false);
        if (!gen_has_members(g))
            gen_close_locked(in, gi);
    }
    ctl_unlock(in);
    return st;
}
