/* SPDX-License-Identifier: Apache-2.0 */
/* The extents of one HBM by offset: a treap whose nodes are entries of the extent table, linked by
 * index. Free space is what lies between extents; each node carries the first and last byte and the
 * largest gap of its subtree, so that the lowest fitting gap is found without walking.
 *
 * All of it is derived data in shared memory: recovery builds it again from the table. Indices are
 * checked at every step and the depth is bounded, so that a damaged tree is noticed, not followed.
 */
#include "device/device_int.h"

#define DEPTH_MAX 200

struct tree {
    struct device_instance *in;
    uint32_t hbm;
    bool bad;
};

static uint32_t prio(uint32_t i)
{
    uint32_t x = i * 0x9e3779b1u;

    x ^= x >> 16;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    return x;
}

/* Node of an index that must exist. */
static struct ctl_extent *node(struct tree *t, uint32_t i)
{
    struct ctl_extent *x = ctl_extent(t->in, i);

    if (!x || x->hbm != t->hbm) {
        t->bad = true;
        return NULL;
    }
    return x;
}

static uint64_t x_end(const struct ctl_extent *x)
{
    return x->off + atomic_load_explicit(&x->size, memory_order_relaxed);
}

static uint64_t sub_or_0(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void max_to(uint64_t *m, uint64_t v)
{
    if (v > *m)
        *m = v;
}

/* Recompute the sums of a node from its children. */
static void update(struct tree *t, struct ctl_extent *x)
{
    uint64_t first = x->off, last = x_end(x), gap = 0;

    if (x->left) {
        struct ctl_extent *l = node(t, x->left);

        if (!l)
            return;
        first = l->first;
        max_to(&gap, l->gap);
        max_to(&gap, sub_or_0(x->off, l->last));
    }
    if (x->right) {
        struct ctl_extent *r = node(t, x->right);

        if (!r)
            return;
        max_to(&gap, r->gap);
        max_to(&gap, sub_or_0(r->first, last));
        last = r->last;
    }
    PUT(t->in, x->first, first);
    PUT(t->in, x->last, last);
    PUT(t->in, x->gap, gap);
}

static uint32_t merge(struct tree *t, uint32_t a, uint32_t b, unsigned depth)
{
    if (!a || !b)
        return a ? a : b;
    struct ctl_extent *x = node(t, a), *y = node(t, b);
    if (!x || !y || depth > DEPTH_MAX) {
        t->bad = true;
        return 0;
    }
    if (prio(a) > prio(b)) {
        PUT(t->in, x->right, merge(t, x->right, b, depth + 1));
        update(t, x);
        return a;
    }
    PUT(t->in, y->left, merge(t, a, y->left, depth + 1));
    update(t, y);
    return b;
}

/* Split tree i: extents before off to *ret_a, the others to *ret_b. */
static void split(struct tree *t, uint32_t i, uint64_t off, uint32_t *ret_a, uint32_t *ret_b,
                  unsigned depth)
{
    uint32_t part;

    *ret_a = *ret_b = 0;
    if (!i)
        return;
    struct ctl_extent *x = node(t, i);
    if (!x || depth > DEPTH_MAX) {
        t->bad = true;
        return;
    }
    if (x->off < off) {
        split(t, x->right, off, &part, ret_b, depth + 1);
        PUT(t->in, x->right, part);
        *ret_a = i;
    } else {
        split(t, x->left, off, ret_a, &part, depth + 1);
        PUT(t->in, x->left, part);
        *ret_b = i;
    }
    update(t, x);
}

uint32_t tree_at(struct device_instance *in, uint32_t hbm, uint64_t off)
{
    struct tree t = {.in = in, .hbm = hbm};
    uint32_t i = ctl_hbm(in, hbm)->root;

    for (unsigned depth = 0; i && depth <= DEPTH_MAX; depth++) {
        struct ctl_extent *x = node(&t, i);

        if (!x)
            return 0;
        if (off < x->off)
            i = x->left;
        else if (off >= x_end(x))
            i = x->right;
        else
            return i;
    }
    return 0;
}

bool tree_around(struct device_instance *in, uint32_t hbm, uint64_t off, uint64_t size,
                 uint32_t skip, struct extent_gap *ret)
{
    struct tree t = {.in = in, .hbm = hbm};
    uint32_t i = ctl_hbm(in, hbm)->root;

    ret->prev_end = 0;
    ret->next_off = in->hbm_bytes;
    for (unsigned depth = 0; i; depth++) {
        struct ctl_extent *x = node(&t, i);

        if (!x || depth > DEPTH_MAX)
            return false;
        if (i == skip) {
            /* its neighbours: the end of the left subtree, the start of the right one */
            struct ctl_extent *l = x->left ? node(&t, x->left) : NULL;
            struct ctl_extent *r = x->right ? node(&t, x->right) : NULL;

            if (l)
                max_to(&ret->prev_end, l->last);
            if (r && r->first < ret->next_off)
                ret->next_off = r->first;
            break;
        }
        if (x_end(x) <= off) {
            ret->prev_end = x_end(x);
            i = x->right;
        } else if (x->off >= off + size || (skip && x->off > off)) {
            ret->next_off = x->off;
            i = x->left;
        } else {
            return false;
        }
    }
    return !t.bad && off >= ret->prev_end && off + size <= ret->next_off;
}

bool tree_insert(struct device_instance *in, uint32_t hbm, uint32_t index)
{
    struct tree t = {.in = in, .hbm = hbm};
    struct ctl_hbm *h = ctl_hbm(in, hbm);
    struct ctl_extent *x = node(&t, index);
    struct extent_gap around;
    uint32_t a, b;

    if (!x || !tree_around(in, hbm, x->off, x_end(x) - x->off, 0, &around))
        return false;
    PUT(in, x->left, 0);
    PUT(in, x->right, 0);
    update(&t, x);
    split(&t, h->root, x->off, &a, &b, 0);
    PUT(in, h->root, merge(&t, merge(&t, a, index, 0), b, 0));
    return !t.bad;
}

static uint32_t remove_at(struct tree *t, uint32_t i, uint32_t index, uint64_t off, unsigned depth)
{
    struct ctl_extent *x = i ? node(t, i) : NULL;

    if (!x || depth > DEPTH_MAX) {
        t->bad = true;
        return i;
    }
    if (i == index)
        return merge(t, x->left, x->right, 0);
    if (off < x->off)
        PUT(t->in, x->left, remove_at(t, x->left, index, off, depth + 1));
    else
        PUT(t->in, x->right, remove_at(t, x->right, index, off, depth + 1));
    update(t, x);
    return i;
}

bool tree_remove(struct device_instance *in, uint32_t hbm, uint32_t index)
{
    struct tree t = {.in = in, .hbm = hbm};
    struct ctl_hbm *h = ctl_hbm(in, hbm);
    struct ctl_extent *x = node(&t, index);

    if (!x)
        return false;
    PUT(in, h->root, remove_at(&t, h->root, index, x->off, 0));
    return !t.bad;
}

static void refresh_at(struct tree *t, uint32_t i, uint32_t index, uint64_t off, unsigned depth)
{
    struct ctl_extent *x = i ? node(t, i) : NULL;

    if (!x || depth > DEPTH_MAX) {
        t->bad = true;
        return;
    }
    if (i != index)
        refresh_at(t, off < x->off ? x->left : x->right, index, off, depth + 1);
    update(t, x);
}

bool tree_refresh(struct device_instance *in, uint32_t hbm, uint32_t index)
{
    struct tree t = {.in = in, .hbm = hbm};
    struct ctl_extent *x = node(&t, index);

    if (x)
        refresh_at(&t, ctl_hbm(in, hbm)->root, index, x->off, 0);
    return !t.bad;
}

/* --- search ---------------------------------------------------------------------------------- */

struct want {
    uint64_t size, align, from;
};

static bool fits(const struct want *w, uint64_t lo, uint64_t hi, uint64_t *ret_off)
{
    uint64_t at;

    if (lo < w->from)
        lo = w->from;
    if (u64_align_up_over(lo, w->align, &at) || at > hi || hi - at < w->size)
        return false;
    *ret_off = at;
    return true;
}

/* Lowest place in [lo, hi), which holds exactly the extents of subtree i. */
static bool find_in(struct tree *t, uint32_t i, const struct want *w, uint64_t lo, uint64_t hi,
                    uint64_t *ret_off, unsigned depth)
{
    if (hi <= w->from || hi - lo < w->size)
        return false;
    if (!i)
        return fits(w, lo, hi, ret_off);
    struct ctl_extent *x = node(t, i);
    if (!x || depth > DEPTH_MAX || x->first < lo || x->last > hi) {
        t->bad = true;
        return false;
    }
    if (x->gap < w->size && x->first - lo < w->size && hi - x->last < w->size)
        return false;
    return find_in(t, x->left, w, lo, x->off, ret_off, depth + 1) ||
           find_in(t, x->right, w, x_end(x), hi, ret_off, depth + 1);
}

int tree_find(struct device_instance *in, uint32_t hbm, uint64_t size, uint64_t align,
              uint64_t from, uint64_t *ret_off)
{
    struct tree t = {.in = in, .hbm = hbm};
    const struct want w = {.size = size, .align = align, .from = from};

    if (find_in(&t, ctl_hbm(in, hbm)->root, &w, 0, in->hbm_bytes, ret_off, 0) && !t.bad)
        return 1;
    return t.bad ? -1 : 0;
}
