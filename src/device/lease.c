/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: what a communicator exposes to peers. A generation has members; while one of them lives
 * and has not left, extents leased to it are quarantined instead of freed, so that no peer writes
 * into memory that has a new owner. A generation is one bit of an extent's lease mask. */
#include "device/device_int.h"

#include <inttypes.h>

#include "base/mem.h"

static uint16_t members_of(const struct ctl_gen *g, uint32_t slot)
{
    return atomic_load_explicit(&g->members[slot], memory_order_relaxed);
}

static bool gen_has_members(const struct ctl_gen *g)
{
    for (uint32_t slot = 0; slot < CTL_SLOT_MAX; slot++) {
        if (members_of(g, slot))
            return true;
    }
    return false;
}

static bool leased_to(const struct ctl_extent *x, uint32_t gi)
{
    return atomic_load_explicit(&x->leases[gi / 64], memory_order_relaxed) >> (gi % 64) & 1;
}

static bool extent_leased(const struct ctl_extent *x)
{
    for (unsigned w = 0; w < CTL_GEN_WORDS; w++) {
        if (atomic_load_explicit(&x->leases[w], memory_order_relaxed))
            return true;
    }
    return false;
}

static void lease_set(struct device_instance *in, struct ctl_extent *x, uint32_t gi, bool on)
{
    uint64_t w = atomic_load_explicit(&x->leases[gi / 64], memory_order_relaxed);
    uint64_t bit = UINT64_C(1) << (gi % 64);

    COMMIT(in, x->leases[gi / 64], on ? w | bit : w & ~bit);
}

/* Take the generation's bit off every extent; what no lease holds any more goes. Done again from
 * the start if a death interrupts it: the generation becomes free last. */
static void gen_close_locked(struct device_instance *in, uint32_t gi)
{
    uint32_t cap = ctl_extent_cap(in);

    for (uint32_t i = 1; i < cap; i++) {
        struct ctl_extent *x = ctl_extent(in, i);
        uint32_t state = atomic_load_explicit(&x->state, memory_order_relaxed);

        if (state == EXT_FREE)
            continue;
        if (leased_to(x, gi))
            lease_set(in, x, gi, false);
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
        COMMIT(in, g->members[slot], 0);
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
        for (uint32_t s = 0; s < CTL_SLOT_MAX; s++)
            atomic_store_explicit(&g->members[s], 0, memory_order_relaxed);
        for (unsigned s = 0; s < slot_count; s++)
            COMMIT(in, g->members[slots[s]], (uint16_t)(members_of(g, slots[s]) + 1));
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

NRT_STATUS device_lease_join(struct device_instance *in, uint64_t lease, struct err *err)
{
    uint32_t gi;
    NRT_STATUS st = lease_enter(in, err);

    if (st != NRT_SUCCESS)
        return st;
    struct ctl_gen *g = gen_find(in, lease, &gi);
    if (g)
        COMMIT(in, g->members[in->slot], (uint16_t)(members_of(g, in->slot) + 1));
    else
        st = err_set(err, NRT_INVALID_HANDLE, "lease %" PRIu64 " is not open", lease);
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
        lease_set(in, x, gi, true);
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
    if (!g || !members_of(g, in->slot)) {
        st = err_set(err, NRT_INVALID_HANDLE, "lease %" PRIu64 " is not open", lease);
    } else {
        COMMIT(in, g->members[in->slot], (uint16_t)(members_of(g, in->slot) - 1));
        if (!gen_has_members(g))
            gen_close_locked(in, gi);
    }
    ctl_unlock(in);
    return st;
}

NRT_STATUS device_lease_look(struct device_instance *in, uint64_t lease, const uint32_t *slots,
                             unsigned slot_count, bool *ret_member, struct err *err)
{
    NRT_STATUS st = lease_enter(in, err);
    uint32_t gi;

    if (st != NRT_SUCCESS)
        return st;
    const struct ctl_gen *g = gen_find(in, lease, &gi);
    for (unsigned i = 0; i < slot_count; i++)
        ret_member[i] = g && slots[i] < in->lay.slots && members_of(g, slots[i]) &&
                        slot_live_locked(in, slots[i]);
    ctl_unlock(in);
    return NRT_SUCCESS;
}

/* --- what is leased only while an operation is under way ---------------------------------------
 */

static const _Atomic uint32_t always_busy = 1;

/* Whether no operation of this process is under way in the generation. Who does not watch cannot
 * say so. */
static bool idle_locked(const struct device_instance *in, uint64_t lease)
{
    bool watched = false;

    for (const struct lease_watch *w = in->watches; w; w = w->next) {
        if (w->lease != lease)
            continue;
        if (atomic_load_explicit(w->busy, memory_order_relaxed))
            return false;
        watched = true;
    }
    return watched;
}

bool lease_exposes_locked(const struct device_instance *in, const struct ctl_extent *x)
{
    if (!x->held || x->slot != in->slot)
        return extent_leased(x);
    for (uint32_t gi = 0; gi < CTL_GEN_MAX; gi++) {
        if (leased_to(x, gi) && !idle_locked(in, ctl_gen(in, gi)->id))
            return true;
    }
    return false;
}

NRT_STATUS device_lease_watch(struct device_instance *in, uint64_t lease,
                              const _Atomic uint32_t *busy, struct err *err)
{
    struct lease_watch *w = mem_alloc(sizeof(*w));
    NRT_STATUS st = NRT_RESOURCE;
    uint32_t gi;

    if (!w)
        return err_set(err, st, "no memory for a lease");
    st = lease_enter(in, err);
    if (st != NRT_SUCCESS) {
        mem_free(w);
        return st;
    }
    for (struct lease_watch **at = &in->watches; *at;) { /* of failed ones that are over */
        struct lease_watch *old = *at;

        if (old->busy != &always_busy || gen_find(in, old->lease, &gi)) {
            at = &old->next;
            continue;
        }
        *at = old->next;
        mem_free(old);
    }
    *w = (struct lease_watch){in->watches, lease, busy};
    in->watches = w;
    ctl_unlock(in);
    return NRT_SUCCESS;
}

/* The last member of this process leaves in peace: nothing that it held is exposed any more. */
static void holds_end_locked(struct device_instance *in, uint64_t lease)
{
    uint32_t cap = ctl_extent_cap(in), gi;

    if (!gen_find(in, lease, &gi))
        return;
    for (uint32_t i = 1; i < cap; i++) {
        struct ctl_extent *x = ctl_extent(in, i);

        if (atomic_load_explicit(&x->state, memory_order_relaxed) == EXT_LIVE && x->held &&
            x->slot == in->slot && leased_to(x, gi))
            lease_set(in, x, gi, false);
    }
}

void device_lease_unwatch(struct device_instance *in, uint64_t lease, const _Atomic uint32_t *busy)
{
    struct lease_watch **at = &in->watches, *mine;
    bool others = false;

    if (lease_enter(in, NULL) != NRT_SUCCESS)
        return;
    while (*at && (*at)->busy != busy)
        at = &(*at)->next;
    mine = *at;
    if (mine && atomic_load_explicit(busy, memory_order_relaxed)) {
        mine->busy = &always_busy;
    } else if (mine) {
        *at = mine->next;
        mem_free(mine);
        for (const struct lease_watch *w = in->watches; w; w = w->next)
            others = others || w->lease == lease;
        if (!others)
            holds_end_locked(in, lease);
    }
    ctl_unlock(in);
}

void lease_watches_free(struct device_instance *in)
{
    while (in->watches) {
        struct lease_watch *w = in->watches;

        in->watches = w->next;
        mem_free(w);
    }
}

static bool extent_is(const struct ctl_extent *x, uint64_t generation)
{
    return atomic_load_explicit(&x->state, memory_order_acquire) == EXT_LIVE &&
           atomic_load_explicit(&x->generation, memory_order_relaxed) == generation;
}

bool device_extent_is(const struct device_instance *in, uint32_t index, uint64_t generation)
{
    const struct ctl_extent *x = ctl_extent(in, index);

    return x && extent_is(x, generation);
}

/* Whether the range lies in the extent that *h remembers, and which is still the same one. Its
 * lease lasts as long as it does. */
static bool holds_already(const struct device_instance *in, uint64_t addr, uint64_t size,
                          const struct device_extent *h)
{
    const struct ctl_extent *x = ctl_extent(in, h->index);

    return h->generation && addr >= h->addr && device_extent_is(in, h->index, h->generation) &&
           range_ok(addr - h->addr, size, atomic_load_explicit(&x->size, memory_order_relaxed));
}

bool device_lease_holds(const struct device_instance *in, const struct device_extent *held,
                        unsigned count)
{
    uint32_t cap = ctl_extent_cap(in);

    /* Entry 0 is no extent and never live. */
    for (unsigned i = 0; i < count; i++)
        if (held[i].generation && (held[i].index >= cap ||
                                   !extent_is(ctl_extents(in) + held[i].index, held[i].generation)))
            return false;
    return true;
}

static NRT_STATUS hold_locked(struct device_instance *in, uint64_t lease, uint64_t addr,
                              uint64_t size, struct device_extent *h, struct err *err)
{
    uint32_t gi, hbm = DEVICE_ADDR_HBM(addr), index = 0;
    uint64_t off = DEVICE_ADDR_OFF(addr);
    struct ctl_extent *x = NULL;

    if (hbm < in->lay.hbms)
        index = tree_at(in, hbm, off);
    if (index)
        x = ctl_extent(in, index);
    if (!x || x->slot != in->slot ||
        atomic_load_explicit(&x->state, memory_order_acquire) != EXT_LIVE ||
        !range_ok(off - x->off, size, atomic_load_explicit(&x->size, memory_order_relaxed)))
        return err_set(err, NRT_INVALID,
                       "%" PRIu64 " bytes at %#" PRIx64 " are not all of one "
                       "tensor of this process",
                       size, addr);
    if (!gen_find(in, lease, &gi))
        return err_set(err, NRT_INVALID_HANDLE, "lease %" PRIu64 " is not open", lease);
    PUT(in, x->held, 1);
    lease_set(in, x, gi, true);
    *h = (struct device_extent){.addr = DEVICE_ADDR(hbm, x->off),
                                .size = atomic_load_explicit(&x->size, memory_order_relaxed),
                                .generation = x->generation,
                                .index = index};
    return NRT_SUCCESS;
}

NRT_STATUS device_lease_hold(struct device_instance *in, uint64_t lease, uint64_t addr,
                             uint64_t size, struct device_extent *h, struct err *err)
{
    NRT_STATUS st;

    if (holds_already(in, addr, size, h))
        return NRT_SUCCESS;
    st = lease_enter(in, err);
    if (st != NRT_SUCCESS)
        return st;
    st = hold_locked(in, lease, addr, size, h, err);
    ctl_unlock(in);
    return st;
}
