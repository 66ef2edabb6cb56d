/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of collectives that lie in SBUF. Peers reach device memory only, so such a tensor has a
 * copy there: inputs are copied out before their operation begins, outputs back when it has ended.
 *
 * Schedules count in blocks, one for each rank, where the larger side of all_gather and
 * reduce_scatter is cut. In device memory blocks lie one behind the other, row after row. In SBUF
 * they fill the partitions first, then the free dimension: where the larger side has k times as
 * many partitions as the smaller one, block b begins at row (b mod k) * rows of a block and at
 * column b / k of blocks (docs/spec/collectives.md 2). */
#include <string.h>

#include "coll/world_int.h"

/* One side of an operation, as its blocks lie in SBUF. */
struct tile {
    uint8_t *at; /* of its first element */
    size_t stride, elem, step;
    uint32_t blocks, across, rows; /* blocks over the partitions; rows of a block */
    size_t row;                    /* bytes of a block's row */
};

static struct tile tile_of(const struct coll_entry *e, uint32_t i, const struct core_binding *b)
{
    const struct neff_coll *c = e->c;
    const struct neff_coll_range *r = i < e->inputs ? c->in : c->out;
    const struct neff_coll_range *small = c->op == NEFF_COLL_REDUCE_SCATTER ? c->out : c->in;
    struct tile t = {.elem = dtype_size(c->dtype), .step = r->step, .blocks = 1, .across = 1};
    size_t stride;
    uint8_t *sbuf = core_binding_sbuf(b, &stride);

    if (r->size > small->size)
        t.blocks = e->comm->n;
    t.across = r->partitions / small->partitions;
    t.rows = small->partitions;
    t.row = r->size / r->partitions / (t.blocks / t.across);
    t.at = sbuf + r->off / NEFF_SBUF_STRIDE * stride + r->off % NEFF_SBUF_STRIDE;
    t.stride = stride * r->partition_step;
    return t;
}

/* Size bytes of elements that lie step apart on one side, close together on the other. */
static void row_copy(const struct tile *t, uint8_t *row, uint8_t *flat, bool into_sbuf)
{
    size_t run = t->step == t->elem ? t->row : t->elem;

    for (size_t done = 0; done < t->row; done += run, row += t->step, flat += run)
        if (into_sbuf)
            memcpy(row, flat, run);
        else
            memcpy(flat, row, run);
}

static void tile_copy(const struct tile *t, uint8_t *flat, bool into_sbuf)
{
    for (uint32_t b = 0; b < t->blocks; b++)
        for (uint32_t p = 0; p < t->rows; p++, flat += t->row) {
            size_t column = b / t->across * (t->row / t->elem) * t->step;

            row_copy(t, t->at + (b % t->across * t->rows + p) * t->stride + column, flat,
                     into_sbuf);
        }
}

/* Tensor i's copy in device memory, made and mapped on its first use. */
static NRT_STATUS copy_make(struct device_instance *in, struct coll_entry *e, uint32_t i,
                            struct err *err)
{
    struct device_alloc a = {.core = e->comm->rank->core,
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_COLL,
                             .size = i < e->inputs ? e->c->in->size : e->c->out->size,
                             .align = 4096,
                             .name = "copy of a collective's tile"};
    NRT_STATUS st = NRT_SUCCESS;

    if (e->copy[i].size == 0)
        st = device_alloc(in, &a, &e->copy[i], err);
    if (!st)
        st = device_map(in, e->copy[i].addr, a.size, DEVICE_RW, &e->host[i], err);
    if (!st)
        e->addr[i] = e->copy[i].addr;
    return st;
}

NRT_STATUS tiles_take(struct device_instance *in, struct coll_entry *e,
                      const struct core_binding *b, struct err *err)
{
    for (uint32_t i = 0; i < e->inputs + e->outputs; i++) {
        struct tile t = tile_of(e, i, b);
        NRT_STATUS st = e->addr[i] ? NRT_SUCCESS : copy_make(in, e, i, err);

        if (st)
            return st;
        if (i < e->inputs)
            tile_copy(&t, e->host[i], false);
    }
    return NRT_SUCCESS;
}

void tiles_give(const struct coll_entry *e, const struct core_binding *b)
{
    for (uint32_t i = e->inputs; i < e->inputs + e->outputs; i++) {
        struct tile t = tile_of(e, i, b);

        tile_copy(&t, e->host[i], true);
    }
}
