/* SPDX-License-Identifier: Apache-2.0 */
/* Derived data from stated data: run by whoever finds the lock orphaned, and by anybody who finds
 * the derived data damaged. Nothing here believes what a dead process was about to do; blocks of a
 * punch in progress count as backed, hence are zeroed before anybody gets them. */
#include "device/device_int.h"

static bool extent_sane(const struct device_instance *in, const struct ctl_extent *x)
{
    uint64_t size = atomic_load_explicit(&x->size, memory_order_relaxed);

    return x->hbm < in->lay.hbms && size > 0 && range_ok(x->off, size, in->hbm_bytes) &&
           x->core < in->lay.cores && x->cat < DEVICE_CAT_COUNT;
}

static void recover_sums(struct device_instance *in, const struct ctl_extent *x)
{
    ctl_core(in, x->core)->mem_used[x->cat] += atomic_load_explicit(&x->size, memory_order_relaxed);
    ctl_head(in)->extents_used++;
}

/* NRT_FAILURE: two extents overlap or one lies outside, which no sequence of stores of ours leaves.
 */
NRT_STATUS ctl_recover_locked(struct device_instance *in)
{
    struct ctl_head *h = ctl_head(in);
    uint32_t cap = ctl_extent_cap(in);
    NRT_STATUS st = NRT_SUCCESS;

    for (uint32_t i = 0; i < in->lay.hbms; i++)
        PUT(in, ctl_hbm(in, i)->root, 0);
    for (uint32_t c = 0; c < in->lay.cores; c++) {
        for (unsigned k = 0; k < DEVICE_CAT_COUNT; k++)
            ctl_core(in, c)->mem_used[k] = 0;
    }
    h->extents_used = 0;
    PUT(in, h->free_head, 0);
    for (uint32_t i = cap - 1; i >= 1; i--) {
        struct ctl_extent *x = ctl_extent(in, i);
        uint32_t state = atomic_load_explicit(&x->state, memory_order_acquire);

        if (state == EXT_FREE) {
            PUT(in, x->left, h->free_head);
            PUT(in, h->free_head, i);
        } else if (state > EXT_QUARANTINE || !extent_sane(in, x) || !tree_insert(in, x->hbm, i)) {
            st = NRT_FAILURE;
        } else {
            recover_sums(in, x);
        }
    }
    for (uint32_t i = 0; st == NRT_SUCCESS && i < in->lay.hbms; i++) {
        hbm_punch_recover_locked(in, i);
        ctl_hbm(in, i)->reserve_blocks = hbm_reserve_count(in, i);
    }
    return st;
}
