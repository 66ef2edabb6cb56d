/* SPDX-License-Identifier: Apache-2.0 */
/* The variable-size forms (docs/spec/collectives.md 2.1). What a rank sends stands in a table in
 * its memory when the operation runs; so the ranks first gather their tables, an operation like any
 * other, and then everybody makes the same schedule from the same numbers. Tables that are those of
 * the operation before need no new one. */
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/mem.h"
#include "coll/world_int.h"

enum { ROW_COUNT, ROW_DISPL, ROW_RECEIVED, ROW_TARGET, ROWS_MAX };

struct coll_varies {
    struct device_instance *in;
    uint32_t n, rows;
    struct coll_plan *gather;
    struct device_extent mine_x, all_x;
    struct device_extent places; /* for what comes from other nodes to be added; or none */
    uint32_t *mine;              /* [rows][n] */
    uint32_t *all;               /* [n][rows][n] */
    /* [n][n] as sched_request has them, copied from `all` */
    uint32_t *count, *displ, *target;
    struct sched *s; /* of these; NULL: none yet */
    struct coll_plan *plan;
};

static NRT_STATUS block_make(struct coll_entry *e, uint64_t size, struct device_extent *x,
                             uint32_t **ret, struct err *err)
{
    struct device_instance *in = e->comm->rank->w->cfg.in;
    struct device_alloc a = {.core = e->comm->rank->core,
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_COLL,
                             .size = size,
                             .name = "counts of a collective"};
    void *p = NULL;
    NRT_STATUS st = device_alloc(in, &a, x, err);

    if (!st)
        st = device_map(in, x->addr, size, DEVICE_RW, &p, err);
    *ret = p;
    return st;
}

/* Blocks to be added come from other nodes into memory of their own: at most as many elements as
 * there are in the output, from every rank (gen_sum_v.c). */
static NRT_STATUS places_make(struct coll_entry *e, struct coll_varies *v, struct err *err)
{
    const struct topo_group *g = coll_comm_group(e->comm->comm);
    uint64_t block = (e->c->out[0].size + 63) / 64 * 64, size;

    if (e->c->op != NEFF_COLL_REDUCE_SCATTER_V)
        return NRT_SUCCESS;
    if (!kernel_combine_can(e->c->dtype))
        return err_set(err, NRT_INVALID, "%s cannot be reduced", dtype_name(e->c->dtype));
    if (g->nodes == 1 || block == 0)
        return NRT_SUCCESS;
    if (u64_mul_over(block, v->n, &size))
        return err_set(err, NRT_INVALID, "an output of %" PRIu64 " bytes is too large", block);
    return coll_buffers_alloc(e->comm->comm, size, &v->places, err);
}

static NRT_STATUS varies_fill(struct coll_entry *e, struct coll_varies *v, struct err *err)
{
    uint64_t row = (uint64_t)v->n * sizeof(uint32_t), counts = (uint64_t)v->rows * v->n;
    struct coll_wish wish = {
        .op = SCHED_ALL_GATHER, .dtype = DT_UINT32, .tensors = 1, .counts = &counts};
    NRT_STATUS st = shared_plan_get(e->comm, &wish, &v->gather, err); /* with the others */

    if (st)
        return st;
    st = coll_comm_greet(e->comm->comm, err);
    if (!st)
        st = block_make(e, v->rows * row, &v->mine_x, &v->mine, err);
    if (!st)
        st = block_make(e, v->n * v->rows * row, &v->all_x, &v->all, err);
    if (!st)
        st = places_make(e, v, err);
    v->count = mem_calloc((size_t)v->n * v->n, sizeof(*v->count));
    v->displ = mem_calloc((size_t)v->n * v->n, sizeof(*v->displ));
    v->target = mem_calloc((size_t)v->n * v->n, sizeof(*v->target));
    if (!st && (!v->count || !v->displ || !v->target))
        st = err_set(err, NRT_RESOURCE, "no memory for a collective");
    if (st)
        coll_comm_set_unfit(e->comm->comm);
    return st;
}

uint32_t varies_rows(const struct neff_coll *c, const struct neff_subgraph *sg, uint32_t n)
{
    uint64_t room = sg->vars[c->metadata_var].size - c->metadata_off;

    return room / (n * sizeof(uint32_t)) >= ROWS_MAX ? ROWS_MAX : ROW_TARGET;
}

NRT_STATUS varies_make(struct coll_entry *e, const struct neff_subgraph *sg, struct err *err)
{
    struct coll_varies *v = mem_zalloc(sizeof(*v));

    if (!v) {
        coll_comm_set_unfit(e->comm->comm);
        return err_set(err, NRT_RESOURCE, "no memory for a collective");
    }
    e->varies = v;
    v->in = e->comm->rank->w->cfg.in;
    v->n = e->comm->n;
    v->rows = varies_rows(e->c, sg, v->n);
    return varies_fill(e, v, err);
}

static void plan_drop(struct coll_varies *v)
{
    coll_plan_destroy(v->plan);
    sched_destroy(v->s);
    v->plan = NULL;
    v->s = NULL;
}

void varies_free(struct coll_varies *v)
{
    struct err ignored = {0};

    if (!v)
        return;
    plan_drop(v);
    if (v->mine_x.size)
        (void)device_free(v->in, &v->mine_x, &ignored);
    if (v->all_x.size)
        (void)device_free(v->in, &v->all_x, &ignored);
    if (v->places.size)
        (void)device_free(v->in, &v->places, &ignored);
    mem_free(v->count);
    mem_free(v->displ);
    mem_free(v->target);
    mem_free(v);
}

NRT_STATUS varies_ask(struct coll_entry *e, const uint32_t *meta, struct err *err)
{
    struct coll_varies *v = e->varies;

    memcpy(v->mine, meta, (size_t)v->rows * v->n * sizeof(*meta));
    return coll_begin(v->gather, &v->mine_x.addr, &v->all_x.addr, err);
}

/* Row `row` of every rank's table; whether it differs from what is there. */
static bool row_take(const struct coll_varies *v, unsigned row, uint32_t *to)
{
    size_t bytes = v->n * sizeof(*to);
    bool differs = false;

    for (uint32_t r = 0; r < v->n; r++) {
        const uint32_t *from = v->all + ((size_t)r * v->rows + row) * v->n;

        differs |= memcmp(to + (size_t)r * v->n, from, bytes) != 0;
        memcpy(to + (size_t)r * v->n, from, bytes);
    }
    return differs;
}

/* Row 3 is read where blocks have places of their own. */
static bool reads_targets(const struct coll_entry *e)
{
    return e->varies->rows > ROW_TARGET && e->c->op != NEFF_COLL_REDUCE_SCATTER_V;
}

static NRT_STATUS plan_make(struct coll_entry *e, struct coll_varies *v, struct err *err)
{
    uint64_t elem = dtype_size(e->c->dtype);
    struct coll_wish wish = {.op = coll_sched_op(e->c->op),
                             .dtype = e->c->dtype,
                             .send_count = v->count,
                             .send_displ = v->displ,
                             .recv_displ = reads_targets(e) ? v->target : NULL,
                             .in_elems = e->c->in[0].size / elem,
                             .out_elems = e->c->out[0].size / elem,
                             .algorithm = e->c->algorithm};
    NRT_STATUS st = coll_choose(e->comm->comm, &wish, &v->s, err);

    if (!st)
        st = coll_plan_create_alone(e->comm->comm, v->s, e->c->dtype, coll_combine(e->c->reduce),
                                    v->places.size ? &v->places : NULL, &v->plan, err);
    if (st)
        plan_drop(v);
    return st;
}

NRT_STATUS varies_begin(struct coll_entry *e, struct err *err)
{
    struct coll_varies *v = e->varies;
    bool differs = row_take(v, ROW_COUNT, v->count);
    NRT_STATUS st = NRT_SUCCESS;

    differs |= row_take(v, ROW_DISPL, v->displ);
    if (reads_targets(e))
        differs |= row_take(v, ROW_TARGET, v->target);
    if (differs || !v->plan) {
        plan_drop(v);
        st = plan_make(e, v, err);
    }
    return st ? st : coll_begin(v->plan, e->addr, e->addr + e->inputs, err);
}

void varies_end(const struct coll_entry *e, uint32_t *meta)
{
    const struct coll_varies *v = e->varies;
    uint32_t column = e->c->op == NEFF_COLL_ALL_GATHER_V ? 0 : e->comm->me;

    for (uint32_t r = 0; r < v->n; r++)
        meta[ROW_RECEIVED * v->n + r] = v->count[(size_t)r * v->n + column];
}
