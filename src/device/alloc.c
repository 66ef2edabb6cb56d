/* SPDX-License-Identifier: Apache-2.0 */
/* The allocator: decision 4.
 *
 *   FREE --fill, commit--> TAKEN --zeroed, backed if asked--> LIVE --free--> FREE
 *                            |                                  | leased     ^
 *                            +--- failed, owner died ----> FREE +--> QUARANTINE
 *
 * A state is one word and its store is the commit; all else in an entry is written before it
 * becomes TAKEN. Links and sums follow the commit and are rebuilt if they do not (recover.c). */
#include "device/device_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/broken.h"

#define EXTENT_GRAIN 64u
#define PAGE_GRAIN   4096u
#define ALIGN_MAX    (UINT64_C(1) << 30)

static const char *const cat_names[DEVICE_CAT_COUNT] = {
    "model code",        "model constants", "tensors",
    "shared scratchpad", "scratchpad",      "runtime",
    "dma rings io",      "dma rings spill", "dma rings collectives",
    "dma rings runtime", "collectives",     "xt cc",
    "profiler buffers"};

const char *device_cat_name(enum device_cat cat)
{
    return (unsigned)cat < DEVICE_CAT_COUNT ? cat_names[cat] : "unknown";
}

/* --- the account of a change -------------------------------------------------------------------
 */

static void account_locked(struct device_instance *in, const struct ctl_extent *x, uint64_t size,
                           bool add)
{
    struct ctl_core *k = ctl_core(in, x->core < in->lay.cores ? x->core : 0);
    uint32_t cat = x->cat < DEVICE_CAT_COUNT ? x->cat : DEVICE_CAT_RUNTIME;
    uint64_t used = k->mem_used[cat];

    used = add ? used + size : used > size ? used - size : 0;
    PUT(in, k->mem_used[cat], used);
    atomic_store_explicit(&k->mem_present[cat], size, memory_order_relaxed);
    if (used > atomic_load_explicit(&k->mem_peak[cat], memory_order_relaxed))
        atomic_store_explicit(&k->mem_peak[cat], used, memory_order_relaxed);
    nodes_changed_locked(in, k, (enum device_cat)cat, size, add);
}

/* --- giving back
 * ---------------------------------------------------------------------------------- */

/* The extent's memory is free again. */
void extent_release_locked(struct device_instance *in, uint32_t index)
{
    struct ctl_head *h = ctl_head(in);
    struct ctl_extent *x = ctl_extent(in, index);
    uint64_t size = atomic_load_explicit(&x->size, memory_order_relaxed);
    struct extent_gap gap;

    memlog_add(in, false, x, NULL);
    COMMIT(in, x->state, EXT_FREE);
    for (unsigned w = 0; w < CTL_GEN_WORDS; w++)
        atomic_store_explicit(&x->leases[w], 0, memory_order_relaxed);
    if (x->hbm >= in->lay.hbms || !tree_remove(in, x->hbm, index)) {
        ctl_recover_locked(in);
        return;
    }
    account_locked(in, x, size, false);
    PUT(in, h->extents_used, h->extents_used - 1);
    if (tree_around(in, x->hbm, x->off, size, 0, &gap))
        hbm_reserve_add_locked(in, x->hbm, x->off, size, &gap);
    PUT(in, x->left, h->free_head);
    PUT(in, h->free_head, index);
}

void extent_drop_locked(struct device_instance *in, uint32_t index)
{
    struct ctl_extent *x = ctl_extent(in, index);

    if (!lease_exposes_locked(in, x))
        extent_release_locked(in, index);
    else
        COMMIT(in, x->state, EXT_QUARANTINE);
}

/* The entry behind a handle, if it still is what the handle says and belongs to this slot. */
static struct ctl_extent *extent_of(struct device_instance *in, const struct device_extent *h)
{
    struct ctl_extent *x = ctl_extent(in, h->index);

    if (!x || in->slot == DEVICE_NONE ||
        atomic_load_explicit(&x->state, memory_order_acquire) != EXT_LIVE ||
        x->generation != h->generation || x->slot != in->slot)
        return NULL;
    return x;
}

static NRT_STATUS stale_handle(struct device_instance *in, const struct device_extent *h,
                               struct err *err)
{
    LOGE(in->log, LOG_TDRV, "device_extent", "extent %u of generation %" PRIu64 " is not live",
         h->index, h->generation);
    return err_set(err, NRT_INVALID_HANDLE, "extent %u of generation %" PRIu64 " is not live",
                   h->index, h->generation);
}

NRT_STATUS device_free(struct device_instance *in, const struct device_extent *h, struct err *err)
{
    if (device_instance_forked(in))
        return err_set(err, NRT_UNINITIALIZED, "this process has no slot in the instance");
    NRT_STATUS st = ctl_lock(in, err);

    if (st != NRT_SUCCESS)
        return st;
    bool known = extent_of(in, h) != NULL;
    if (known)
        extent_drop_locked(in, h->index);
    ctl_unlock(in);
    return known ? NRT_SUCCESS : stale_handle(in, h, err);
}

unsigned device_free_neff(struct device_instance *in, uint32_t core, uint32_t neff)
{
    unsigned n = 0;

    if (in->slot == DEVICE_NONE || device_instance_forked(in) || ctl_lock(in, NULL) != NRT_SUCCESS)
        return 0;
    for (uint32_t i = 1; i < ctl_extent_cap(in); i++) {
        struct ctl_extent *x = ctl_extent(in, i);

        if (atomic_load_explicit(&x->state, memory_order_acquire) == EXT_LIVE &&
            x->slot == in->slot && x->core == core && x->neff == neff) {
            extent_drop_locked(in, i);
            n++;
        }
    }
    ctl_unlock(in);
    return n;
}

/* --- taking
 * ------------------------------------------------------------------------------------------ */

struct plan {
    uint32_t hbm;
    uint64_t size, align;
};

static NRT_STATUS plan_make(struct device_instance *in, const struct device_alloc *a,
                            struct plan *p, struct err *err)
{
    if (device_instance_forked(in) || !slot_kept(in))
        return err_set(err, NRT_UNINITIALIZED, "this process has no slot in the instance");
    if (a->core >= in->lay.cores || (unsigned)a->cat >= DEVICE_CAT_COUNT || a->size == 0)
        return err_set(err, NRT_INVALID, "allocation of %" PRIu64 " bytes for core %u, category %u",
                       a->size, a->core, (unsigned)a->cat);
    p->hbm = topo_core_hbm(in->topo, a->core);
    p->align = a->align ? a->align : a->size >= PAGE_GRAIN ? PAGE_GRAIN : EXTENT_GRAIN;
    if (!is_pow2_u64(p->align) || p->align > ALIGN_MAX)
        return err_set(err, NRT_INVALID, "alignment %" PRIu64 " is not a power of two up to 1 GiB",
                       p->align);
    if (p->align < EXTENT_GRAIN)
        p->align = EXTENT_GRAIN;
    if ((a->flags & DEVICE_ALLOC_AT) && (a->at % EXTENT_GRAIN) != 0)
        return err_set(err, NRT_INVALID, "offset %" PRIu64 " is not a multiple of %u", a->at,
                       EXTENT_GRAIN);
    if (u64_align_up_over(a->size, EXTENT_GRAIN, &p->size))
        p->size = UINT64_MAX; /* fits nowhere: the same answer as for any size too large */
    return NRT_SUCCESS;
}

/* A place: 1 found, 0 no room, -1 damaged. */
static int place_find(struct device_instance *in, const struct device_alloc *a,
                      const struct plan *p, uint64_t *ret_off)
{
    struct extent_gap gap;
    int rc = 0;

    if (p->size > in->hbm_bytes)
        return 0;
    if (a->flags & DEVICE_ALLOC_AT) {
        *ret_off = a->at;
        return range_ok(a->at, p->size, in->hbm_bytes) &&
               tree_around(in, p->hbm, a->at, p->size, 0, &gap);
    }
    if (a->flags & DEVICE_ALLOC_AFTER)
        rc = tree_find(in, p->hbm, p->size, p->align, a->at, ret_off);
    if (rc == 0)
        rc = tree_find(in, p->hbm, p->size, p->align, 0, ret_off);
    return rc;
}

/* Fill a free entry, commit it as TAKEN, link it. NRT_INVALID_HANDLE (inside): the links are
 * damaged, nothing was taken. */
static NRT_STATUS extent_take_locked(struct device_instance *in, const struct device_alloc *a,
                                     const struct plan *p, uint64_t off, uint32_t *ret_index,
                                     struct err *err)
{
    struct ctl_head *h = ctl_head(in);
    struct extent_gap gap;

    if (h->free_head == 0) {
        NRT_STATUS st = ctl_grow_extents_locked(in, err);

        if (st != NRT_SUCCESS)
            return st;
    }
    uint32_t i = h->free_head;
    struct ctl_extent *x = ctl_extent(in, i);
    if (!x || atomic_load_explicit(&x->state, memory_order_relaxed) != EXT_FREE ||
        !tree_around(in, p->hbm, off, p->size, 0, &gap))
        return NRT_INVALID_HANDLE;
    PUT(in, h->free_head, x->left);
    PUT(in, x->generation, h->next_generation);
    PUT(in, h->next_generation, h->next_generation + 1);
    PUT(in, x->hbm, p->hbm);
    PUT(in, x->off, off);
    atomic_store_explicit(&x->size, p->size, memory_order_relaxed);
    device_point(in);
    PUT(in, x->slot, in->slot);
    PUT(in, x->core, a->core);
    PUT(in, x->neff, a->neff);
    PUT(in, x->cat, (uint32_t)a->cat);
    PUT(in, x->held, 0);
    for (unsigned w = 0; w < CTL_GEN_WORDS; w++)
        atomic_store_explicit(&x->leases[w], 0, memory_order_relaxed);
    COMMIT(in, x->state, EXT_TAKEN);

    hbm_reserve_sub_locked(in, p->hbm, off, p->size, &gap);
    account_locked(in, x, p->size, true);
    PUT(in, h->extents_used, h->extents_used + 1);
    if (!tree_insert(in, p->hbm, i)) {
        COMMIT(in, x->state, EXT_FREE);
        return NRT_INVALID_HANDLE;
    }
    memlog_add(in, true, x, a->name);
    *ret_index = i;
    return NRT_SUCCESS;
}

/* One attempt with the links as they are. NRT_INVALID_HANDLE (inside): they are damaged. */
static NRT_STATUS alloc_locked(struct device_instance *in, const struct device_alloc *a,
                               const struct plan *p, uint32_t *ret_index, bool *ret_full,
                               struct err *err)
{
    uint64_t off = 0;
    int rc = place_find(in, a, p, &off);

    *ret_full = rc == 0;
    if (rc == 0)
        return NRT_RESOURCE;
    return rc < 0 ? NRT_INVALID_HANDLE : extent_take_locked(in, a, p, off, ret_index, err);
}

/* One try under the lock; damaged links are rebuilt once. *ret_full: no room on the HBM. */
static NRT_STATUS alloc_try(struct device_instance *in, const struct device_alloc *a,
                            const struct plan *p, uint32_t *ret_index, bool *ret_full,
                            struct err *err)
{
    NRT_STATUS st = ctl_lock(in, err);

    *ret_full = false;
    if (st != NRT_SUCCESS)
        return st;
    st = alloc_locked(in, a, p, ret_index, ret_full, err);
    if (st == NRT_INVALID_HANDLE && ctl_recover_locked(in) == NRT_SUCCESS)
        st = alloc_locked(in, a, p, ret_index, ret_full, err);
    if (st == NRT_INVALID_HANDLE)
        st = err_set(err, NRT_FAILURE,
                     "memory table of instance \"%s\" is damaged; run \"opennrt reset\"", in->name);
    ctl_unlock(in);
    return st;
}

bool device_was_full(const struct device_instance *in)
{
    return atomic_load(&in->was_full);
}

static NRT_STATUS no_room(struct device_instance *in, const struct device_alloc *a,
                          const struct plan *p, struct err *err)
{
    char size[32];

    size_text(size, sizeof(size), a->size);
    if (!(a->flags & (DEVICE_ALLOC_QUIET | DEVICE_ALLOC_AT))) {
        atomic_store(&in->was_full, true);
        if (!in->cfg.no_oom_log)
            oom_report(in, a);
        memlog_write_csv(in);
    }
    return err_set(err, NRT_RESOURCE, "no room for %s (%s) on HBM %u", size,
                   device_cat_name(a->cat), p->hbm);
}

/* Make a taken extent what was asked for: zero, backed. */
static NRT_STATUS extent_prepare(struct device_instance *in, const struct device_alloc *a,
                                 struct device_extent *x, struct err *err)
{
    uint32_t hbm = DEVICE_ADDR_HBM(x->addr);
    uint64_t off = DEVICE_ADDR_OFF(x->addr);
    NRT_STATUS st = NRT_SUCCESS;
    void *p;

    if (hbm_any_backed(in, hbm, off, x->size)) {
        if (a->flags & DEVICE_ALLOC_DIRTY)
            x->dirty = true;
        else
            st = hbm_zero(in, hbm, off, x->size, err);
    }
    if (st == NRT_SUCCESS && ((a->flags & DEVICE_ALLOC_BACK) || atomic_load(&in->hbm[hbm].exposed)))
        st = device_map(in, x->addr, x->size, DEVICE_RW, &p, err);
    return st;
}

NRT_STATUS device_alloc(struct device_instance *in, const struct device_alloc *a,
                        struct device_extent *ret, struct err *err)
{
    struct err own = {0};
    struct plan p;
    uint32_t index = 0;
    bool full = false;

    if (!err)
        err = &own;
    if (BROKEN(MEM))
        return err_set(err, NRT_FAILURE, "broken on purpose");
    NRT_STATUS st = plan_make(in, a, &p, err);
    if (st != NRT_SUCCESS)
        goto fail;
    if (fault_hit(FAULT_HBM))
        return no_room(in, a, &p, err);
    st = alloc_try(in, a, &p, &index, &full, err);
    if (full) {
        slot_reclaim_for(in, &(struct slot_need){.hbm = p.hbm});
        st = alloc_try(in, a, &p, &index, &full, err);
    }
    if (full)
        return no_room(in, a, &p, err);
    if (st != NRT_SUCCESS)
        goto fail;

    struct ctl_extent *x = ctl_extent(in, index);
    struct device_extent out = {.addr = DEVICE_ADDR(p.hbm, x->off),
                                .size = p.size,
                                .generation = x->generation,
                                .index = index};
    st = extent_prepare(in, a, &out, err);
    if (st != NRT_SUCCESS) {
        if (ctl_lock(in, NULL) == NRT_SUCCESS) {
            extent_drop_locked(in, index);
            ctl_unlock(in);
        }
        return st; /* logged by hbm.c, which knows why */
    }
    COMMIT(in, x->state, EXT_LIVE);
    *ret = out;
    return NRT_SUCCESS;

fail:
    if (st != NRT_TIMEOUT) /* the lock has said it */
        LOGE(in->log, LOG_TDRV, "log_dev_mem", "%s", err->text);
    return st;
}

/* --- changing
 * ---------------------------------------------------------------------------------------- */

static NRT_STATUS grow_locked(struct device_instance *in, struct ctl_extent *x, uint32_t index,
                              uint64_t size)
{
    struct extent_gap gap;
    uint64_t old = atomic_load_explicit(&x->size, memory_order_relaxed);

    if (!range_ok(x->off, size, in->hbm_bytes) ||
        !tree_around(in, x->hbm, x->off, size, index, &gap))
        return NRT_RESOURCE;
    COMMIT(in, x->size, size);
    if (size > old) {
        gap.prev_end = x->off + old;
        hbm_reserve_sub_locked(in, x->hbm, x->off + old, size - old, &gap);
        account_locked(in, x, size - old, true);
    } else {
        account_locked(in, x, old - size, false);
        gap.prev_end = x->off + size;
        hbm_reserve_add_locked(in, x->hbm, x->off + size, old - size, &gap);
    }
    if (!tree_refresh(in, x->hbm, index))
        return ctl_recover_locked(in);
    return NRT_SUCCESS;
}

/* New bytes of an extent: zero, and with memory where the HBM is exposed. */
static NRT_STATUS grown_prepare(struct device_instance *in, uint64_t addr, uint64_t size,
                                struct err *err)
{
    uint32_t hbm = DEVICE_ADDR_HBM(addr);
    NRT_STATUS st = NRT_SUCCESS;
    void *p;

    if (hbm_any_backed(in, hbm, DEVICE_ADDR_OFF(addr), size))
        st = hbm_zero(in, hbm, DEVICE_ADDR_OFF(addr), size, err);
    if (st == NRT_SUCCESS && atomic_load(&in->hbm[hbm].exposed))
        st = device_map(in, addr, size, DEVICE_RW, &p, err);
    return st;
}

NRT_STATUS device_extent_grow(struct device_instance *in, struct device_extent *h,
                              uint64_t new_size, struct err *err)
{
    uint64_t size, old = h->size;

    if (new_size == 0 || u64_align_up_over(new_size, EXTENT_GRAIN, &size))
        return err_set(err, NRT_INVALID, "new size %" PRIu64, new_size);
    if (device_instance_forked(in))
        return err_set(err, NRT_UNINITIALIZED, "this process has no slot in the instance");
    NRT_STATUS st = ctl_lock(in, err);
    if (st != NRT_SUCCESS)
        return st;
    struct ctl_extent *x = extent_of(in, h);
    if (!x) {
        ctl_unlock(in);
        return stale_handle(in, h, err);
    }
    st = size == old ? NRT_SUCCESS : grow_locked(in, x, h->index, size);
    ctl_unlock(in);
    if (st != NRT_SUCCESS)
        return err_set(err, st, "the addresses after the extent are taken");
    if (size > old && (st = grown_prepare(in, h->addr + old, size - old, err)) != NRT_SUCCESS) {
        if (ctl_lock(in, NULL) == NRT_SUCCESS) {
            grow_locked(in, x, h->index, old);
            ctl_unlock(in);
        }
        return st;
    }
    h->size = size;
    return NRT_SUCCESS;
}

NRT_STATUS device_extent_zero(struct device_instance *in, const struct device_extent *h,
                              uint64_t off, uint64_t size, struct err *err)
{
    if (!range_ok(off, size, h->size))
        return err_set(err, NRT_INVALID, "range outside the extent");
    return hbm_zero(in, DEVICE_ADDR_HBM(h->addr), DEVICE_ADDR_OFF(h->addr) + off, size, err);
}
