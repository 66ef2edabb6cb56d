/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at the control block from the inside and says what does not agree: the derived data against
 * the extent table, walked in the plainest way. */
#ifndef TEST_UNIT_DEVICE_AUDIT_H
#define TEST_UNIT_DEVICE_AUDIT_H

#include "device/device_int.h"
#include "fixture.h"

struct audit_walk {
    struct device_instance *in;
    uint32_t hbm, count;
    uint64_t pos;
};

static inline void audit_node(struct audit_walk *w, uint32_t i, unsigned depth)
{
    struct ctl_extent *x;

    if (!i)
        return;
    assert_true(depth < 200);
    x = ctl_extent(w->in, i);
    assert_non_null(x);
    audit_node(w, x->left, depth + 1);
    assert_int_equal(x->hbm, w->hbm);
    assert_int_not_equal(x->state, EXT_FREE);
    assert_true(x->off >= w->pos);
    w->pos = x->off + x->size;
    w->count++;
    audit_node(w, x->right, depth + 1);
}

static inline uint64_t audit_reserve(struct device_instance *in, uint32_t hbm)
{
    uint64_t n = 0;

    for (uint64_t b = 0; b < in->lay.blocks_per_hbm; b++) {
        bool backed = ctl_bits(in, hbm)[b / 64] >> (b % 64) & 1, touched = false;

        for (uint32_t i = 1; backed && i < ctl_extent_cap(in); i++) {
            struct ctl_extent *x = ctl_extent(in, i);

            touched =
                touched || (x->state != EXT_FREE && x->hbm == hbm &&
                            x->off < (b + 1) * DEVICE_BLOCK && x->off + x->size > b * DEVICE_BLOCK);
        }
        n += backed && !touched;
    }
    return n;
}

static inline void audit(struct device_instance *in)
{
    struct ctl_head *h = ctl_head(in);
    uint64_t used[TOPO_MAX_CORES][DEVICE_CAT_COUNT] = {{0}};
    uint32_t in_use = 0, in_list = 0, in_trees = 0, cap;
    struct err err = {0};

    assert_int_equal(ctl_lock(in, &err), NRT_SUCCESS);
    cap = ctl_extent_cap(in);
    for (uint32_t i = 1; i < cap; i++) {
        struct ctl_extent *x = ctl_extent(in, i);

        if (x->state == EXT_FREE)
            continue;
        assert_true(x->state <= EXT_QUARANTINE);
        in_use++;
        used[x->core][x->cat] += x->size;
    }
    for (uint32_t i = h->free_head; i; i = ctl_extent(in, i)->left) {
        assert_true(in_list < cap);
        assert_int_equal(ctl_extent(in, i)->state, EXT_FREE);
        in_list++;
    }
    for (uint32_t m = 0; m < in->lay.hbms; m++) {
        struct audit_walk w = {in, m, 0, 0};

        audit_node(&w, ctl_hbm(in, m)->root, 0);
        in_trees += w.count;
        assert_true(w.pos <= in->hbm_bytes);
        assert_true(ctl_hbm(in, m)->reserve_blocks == audit_reserve(in, m));
        assert_int_equal(ctl_hbm(in, m)->punch_count, 0);
    }
    assert_int_equal(in_use, in_trees);
    assert_int_equal(in_use, h->extents_used);
    assert_int_equal(in_use + in_list, cap - 1); /* nothing lost */
    for (uint32_t c = 0; c < in->lay.cores; c++) {
        for (unsigned k = 0; k < DEVICE_CAT_COUNT; k++)
            assert_true(ctl_core(in, c)->mem_used[k] == used[c][k]);
    }
    ctl_unlock(in);
}

#endif
