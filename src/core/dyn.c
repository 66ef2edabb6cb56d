/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that only execution knows: DMA_DYN, register_load and register_store. A value from a
 * register or an index tile is read once, checked, then used from the copy (decision 5). */
#include "core/core_int.h"

#include <string.h>

/* ---- places ---- */

/* Register offset in bytes; false when no 64-bit number holds it (always out of bounds). */
static bool place_shift(const struct dyn_place *pl, int64_t value, int64_t *ret)
{
    return !i64_mul_over(value, pl->off_mul, ret);
}

static bool place_inside(const struct dyn_place *pl, int64_t shift)
{
    int64_t lo, hi;

    return !i64_add_over(pl->lo, shift, &lo) && !i64_add_over(pl->hi, shift, &hi) &&
           lo >= pl->bound_lo && hi <= pl->bound_hi;
}

/* HBM operand: its sides and bounds. rows: the slowest dimension is left out (indexed). */
static NRT_STATUS hbm_place(struct core_program *p, const struct isa_hbm *h, bool rows,
                            struct dyn_place *pl, struct dma_side *s, struct err *err)
{
    uint32_t var = program_var(p, h->var_id);
    uint64_t bound_end;
    int64_t lo, hi, es = (int64_t)dtype_size((enum dtype)h->dtype);

    memset(s, 0, sizeof(*s));
    if (var == NEFF_NONE || p->sg->vars[var].type == NEFF_VAR_STATE_BUFFER)
        return err_set(err, NRT_INVALID, "unknown HBM variable %u", h->var_id);
    if (es == 0 || h->ndim < 1 || h->ndim > 4 ||
        (h->off_reg != ISA_NO_REG && h->off_reg >= ISA_REGS))
        return err_set(err, NRT_INVALID, "invalid HBM operand");
    const struct neff_var *v = &p->sg->vars[var];

    if (h->bound_bytes == 0)
        bound_end = v->size;
    else if (u64_add_over(h->bound_first, h->bound_bytes, &bound_end) || bound_end > v->size)
        return err_set(err, NRT_INVALID, "bounds outside %s of %llu bytes", v->name,
                       (unsigned long long)v->size);
    *pl = (struct dyn_place){.off_reg = h->off_reg,
                             .esize = (uint8_t)es,
                             .var = var,
                             .off_mul = (int64_t)h->off_mul * es,
                             .bound_lo = h->bound_bytes == 0 ? 0 : (int64_t)h->bound_first,
                             .bound_hi = (int64_t)bound_end};
    s->var = var;
    s->dtype = h->dtype;
    s->esize = (uint8_t)es;
    s->off = h->offset;
    s->dim[s->ndim++] = (struct dma_dim){(uint64_t)es, 1};
    for (unsigned i = 0; i < h->ndim - (rows ? 1u : 0u); i++) {
        int64_t step = 0;

        if (h->num[i] == 0 || (h->num[i] > 1 && i64_mul_over(h->step[i], es, &step)))
            return err_set(err, NRT_INVALID, "invalid HBM operand");
        s->dim[s->ndim++] = (struct dma_dim){h->num[i], step};
    }
    /* no variable is larger, so it is out of bounds with every offset; the limit keeps sums of
     * steps far from 2^63 */
    if (dma_side_extent(s, &lo, &hi) || i64_add_over(lo, s->off, &pl->lo) ||
        i64_add_over(hi, s->off, &hi) || i64_add_over(hi, 1, &pl->hi) || lo < -CORE_VAR_MAX ||
        hi - lo > CORE_VAR_MAX)
        return err_set(err, NRT_INVALID, "HBM operand too large");
    program_use_var(p, var);
    return NRT_SUCCESS;
}

/* SBUF tile: partition slowest. */
static NRT_STATUS tile_place(struct core_program *p, const struct isa_tensor *t,
                             struct dyn_place *pl, struct dma_side *s, struct err *err)
{
    int64_t lo, hi, es = (int64_t)dtype_size((enum dtype)t->dtype);
    int64_t stride = (int64_t)p->core->kc.sbuf_stride;

    memset(s, 0, sizeof(*s));
    if (t->mem != ISA_SBUF || es == 0 || t->ndim < 1 || t->ndim > 4 || t->nparts < 1 ||
        t->part + t->nparts > ISA_PARTITIONS || t->offset >= p->core->kc.sbuf_bytes ||
        (t->off_reg != ISA_NO_REG && t->off_reg >= ISA_REGS))
        return err_set(err, NRT_INVALID, "invalid SBUF operand");
    *pl = (struct dyn_place){.sbuf = true,
                             .off_reg = t->off_reg,
                             .esize = (uint8_t)es,
                             .off_mul = (int64_t)t->off_mul * es,
                             .bound_hi = (int64_t)p->core->kc.sbuf_bytes};
    isa_tensor_extent(t, &lo, &hi);
    pl->lo = lo;
    pl->hi = hi;
    s->sbuf = true;
    s->dtype = t->dtype;
    s->esize = (uint8_t)es;
    s->off = t->part * stride + t->offset;
    s->dim[s->ndim++] = (struct dma_dim){(uint64_t)es, 1};
    for (unsigned i = 0; i < t->ndim; i++) {
        if (t->dim[i].num == 0)
            return err_set(err, NRT_INVALID, "invalid SBUF operand");
        s->dim[s->ndim++] = (struct dma_dim){t->dim[i].num, t->dim[i].step * es};
    }
    s->dim[s->ndim++] = (struct dma_dim){t->nparts, stride};
    return NRT_SUCCESS;
}

/* ---- DMA_DYN ---- */

/* Shape of an operand, slowest first, for transposes; returns the rank. */
static unsigned place_shape(const union isa_place *pl, unsigned mem, uint64_t *ret)
{
    unsigned n = 0;

    if (mem == ISA_SBUF) {
        ret[n++] = pl->tile.nparts;
        for (unsigned i = pl->tile.ndim; i-- > 0;)
            ret[n++] = pl->tile.dim[i].num;
    } else {
        for (unsigned i = pl->hbm.ndim; i-- > 0;)
            ret[n++] = pl->hbm.num[i];
    }
    return n;
}

/* The part of `other` that belongs to one row: its outer dimensions go to d->other. */
static NRT_STATUS split_rows(struct core_dyn *d, struct dma_side *other, uint64_t row_elements,
                             struct err *err)
{
    uint64_t size[2] = {row_elements * other->esize, d->rows};
    struct dma_dim group[2][DMA_NEST_MAX];
    unsigned n[2];

    if (!dma_side_groups(other, size, 2, group, n) || n[0] > DMA_DIMS || n[1] > DMA_DIMS)
        return err_set(err, NRT_INVALID, "rows of %llu elements do not divide the other operand",
                       (unsigned long long)row_elements);
    memcpy(other->dim, group[0], n[0] * sizeof(group[0][0]));
    other->ndim = (uint8_t)n[0];
    memcpy(d->other, group[1], n[1] * sizeof(group[1][0]));
    d->other_ndim = (uint8_t)n[1];
    return NRT_SUCCESS;
}

/* Indexed transpose: dst = src[idx].T. Row w of the source is one position of the destination axis
 * that source axis 0 becomes. */
static NRT_STATUS indexed_transpose(struct core_program *p, struct core_dyn *d,
                                    struct dma_plan *plan, const uint64_t *shape, unsigned rank,
                                    struct err *err)
{
    struct dma_dim sg[DMA_DIMS][DMA_NEST_MAX], dg[DMA_DIMS][DMA_NEST_MAX];
    struct dma_dim src[DMA_DIMS * DMA_NEST_MAX], dst[DMA_DIMS * DMA_NEST_MAX];
    uint64_t ssize[DMA_DIMS] = {plan->from[0].esize}, dsize[DMA_DIMS] = {plan->to.esize};
    unsigned sn[DMA_DIMS], dn[DMA_DIMS], ns = 0, nd = 0;
    struct dma_loops l;

    for (unsigned k = 0; k < rank; k++) {
        ssize[1 + k] = k + 1 == rank ? 1 : shape[rank - 1 - k]; /* without the rows */
        dsize[1 + k] = shape[dma_transpose_axis(rank, rank - 1 - k)];
    }
    if (!dma_side_groups(&plan->from[0], ssize, rank + 1, sg, sn) ||
        !dma_side_groups(&plan->to, dsize, rank + 1, dg, dn))
        return err_set(err, NRT_INVALID, "shapes of a transpose do not divide");
    for (unsigned i = 0; i < sn[0]; i++)
        src[ns++] = sg[0][i];
    for (unsigned i = 0; i < dn[0]; i++)
        dst[nd++] = dg[0][i];
    for (unsigned k = 0; k < rank; k++) { /* destination axes, innermost first */
        unsigned axis = dma_transpose_axis(rank, rank - 1 - k);

        if (axis == 0) {
            if (dn[1 + k] > DMA_DIMS)
                return err_set(err, NRT_INVALID, "shapes of a transpose do not divide");
            memcpy(d->other, dg[1 + k], dn[1 + k] * sizeof(dg[0][0]));
            d->other_ndim = (uint8_t)dn[1 + k];
            continue;
        }
        for (unsigned i = 0; i < sn[rank - axis]; i++)
            src[ns++] = sg[rank - axis][i];
        for (unsigned i = 0; i < dn[1 + k]; i++)
            dst[nd++] = dg[1 + k][i];
    }
    if (!dma_loops_refine(src, ns, dst, nd, &l))
        return err_set(err, NRT_INVALID, "shapes of a transpose do not divide");
    plan->nest = dma_nest_make(p, &l, 1, 1);
    plan->kind = PLAN_COPY_NEST;
    return plan->nest != NULL ? NRT_SUCCESS : err_set(err, NRT_RESOURCE, "out of memory");
}

/* Choose the loops of plan, whose sides are made; with an index those of one row. */
static NRT_STATUS dyn_plan(struct core_program *p, const struct isa_dyn *r, struct core_dyn *d,
                           struct dma_plan *plan, uint64_t row_elements, struct err *err)
{
    struct dma_side *other = d->index_side == 1 ? &plan->to : &plan->from[0];
    uint64_t shape[DMA_DIMS];
    unsigned rank;
    NRT_STATUS st;

    if (r->op == ISA_DYN_TRANSPOSE) {
        rank = place_shape(&r->src, r->src_mem, shape);
        if (plan->from[0].dtype != plan->to.dtype || rank > 4 || d->index_side == 2)
            return err_set(err, NRT_INVALID, "invalid transpose");
        if (d->index_side == 1 && rank >= 2)
            return indexed_transpose(p, d, plan, shape, rank, err);
        if (d->index_side == 0) {
            while (rank < 2)
                shape[rank++] = 1;
            memcpy(plan->shape, shape, rank * sizeof(shape[0]));
            plan->rank = (uint8_t)rank;
            plan->tsize = plan->to.esize;
            plan->elements = plan->bytes / plan->tsize;
            dma_side_merge(&plan->from[0]);
            dma_side_merge(&plan->to);
            return dma_plan_transpose(p, plan, err);
        }
    }
    if (d->index_side != 0) {
        st = split_rows(d, other, row_elements, err);
        if (st != NRT_SUCCESS)
            return st;
        plan->elements = row_elements;
        plan->bytes = row_elements * plan->to.esize;
    }
    dma_side_merge(&plan->from[0]);
    dma_side_merge(&plan->to);
    if (r->op == ISA_DYN_ADD) { /* to = from[0] + to */
        plan->from[1] = plan->to;
        plan->nfrom = 2;
        plan->op = NEFF_OP_ADD;
        plan->kind = PLAN_FOLD;
        return NRT_SUCCESS;
    }
    return dma_plan_copy(p, plan, err);
}

static NRT_STATUS dyn_index(struct core_program *p, const struct isa_dyn *r, struct core_dyn *d,
                            struct err *err)
{
    const struct isa_tensor *t = &r->index;
    const struct isa_hbm *h = d->index_side == 1 ? &r->src.hbm : &r->dst.hbm;
    int64_t lo, hi;

    isa_tensor_extent(t, &lo, &hi);
    if ((d->index_side == 1 ? r->src_mem : r->dst_mem) != ISA_HBM || t->mem != ISA_SBUF ||
        (t->dtype != DT_INT32 && t->dtype != DT_UINT32) || t->off_reg != ISA_NO_REG ||
        t->nparts < 1 || t->part + t->nparts > ISA_PARTITIONS || lo < 0 ||
        hi > (int64_t)p->core->kc.sbuf_bytes || isa_tensor_count(t) != 1 || h->ndim < 1 ||
        h->ndim > 4 || h->num[h->ndim - 1] != t->nparts)
        return err_set(err, NRT_INVALID, "invalid index operand");
    d->rows = t->nparts;
    d->index_signed = t->dtype == DT_INT32;
    d->index_off = t->part * (int64_t)p->core->kc.sbuf_stride + t->offset;
    return NRT_SUCCESS;
}

static NRT_STATUS dyn_group(struct core_program *p, unsigned engine, const struct isa_dyn *r,
                            const struct dma_plan *whole, struct core_dyn *d, struct err *err)
{
    uint64_t split[NEFF_MAX_QUEUES] = {0};
    struct dma_group g = {.sem = r->semaphore, .event = -1};
    const struct neff_queue *q;

    if (r->queue >= p->sg->queue_count)
        return err_set(err, NRT_INVALID, "unknown queue %u", r->queue);
    g.queue = p->queue_sorted[r->queue];
    q = &p->sg->queues[g.queue];
    if (g.sem >= ISA_SEMAPHORES || q->num_queues < 1 || q->num_queues > NEFF_MAX_QUEUES)
        return err_set(err, NRT_INVALID, "invalid semaphore %d", r->semaphore);
    if (g.sem >= 0)
        program_use_sem(p, (unsigned)g.sem);
    g.inc = q->num_queues;
    g.bytes = whole->bytes;
    g.first = (uint32_t)p->nplans - 1;
    g.count = 1;
    dma_plan_split(p, whole, q->num_queues, split);
    d->group = (uint32_t)p->ngroups;
    return program_add_group(p, &g, engine, split,
                             r->mode == ISA_DGE_HW ? CORE_DGE_HW : CORE_DGE_SW, err);
}

NRT_STATUS dyn_lower(struct core_program *p, unsigned engine, const struct isa_record *rec,
                     uint32_t *ret_index, struct err *err)
{
    const struct isa_dyn *r = &rec->body.d;
    struct core_dyn d = {
        .op = r->op, .index_side = r->index_side, .oob = r->oob, .oob_reg = r->oob_reg};
    struct dma_plan plan = {.op = NEFF_OP_COPY, .nfrom = 1}, whole;
    uint64_t src_n, dst_n;
    NRT_STATUS st = NRT_SUCCESS;

    if (r->index_side > 2 || r->op >= ISA_DYN_OP_COUNT ||
        (r->oob_reg != ISA_NO_REG && r->oob_reg >= ISA_REGS))
        return err_set(err, NRT_INVALID, "invalid dynamic transfer");
    plan.from = arena_calloc(&p->arena, 2, sizeof(plan.from[0]));
    if (plan.from == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory preparing a transfer");
    if (r->index_side != 0)
        st = dyn_index(p, r, &d, err);
    if (st == NRT_SUCCESS)
        st = r->src_mem == ISA_HBM
                 ? hbm_place(p, &r->src.hbm, r->index_side == 1, &d.src, &plan.from[0], err)
                 : tile_place(p, &r->src.tile, &d.src, &plan.from[0], err);
    if (st == NRT_SUCCESS)
        st = r->dst_mem == ISA_HBM
                 ? hbm_place(p, &r->dst.hbm, r->index_side == 2, &d.dst, &plan.to, err)
                 : tile_place(p, &r->dst.tile, &d.dst, &plan.to, err);
    if (st != NRT_SUCCESS)
        return st;
    src_n = dma_side_count(&plan.from[0]) / plan.from[0].esize * (r->index_side == 1 ? d.rows : 1);
    dst_n = dma_side_count(&plan.to) / plan.to.esize * (r->index_side == 2 ? d.rows : 1);
    if (src_n != dst_n)
        return err_set(err, NRT_INVALID, "%llu elements to %llu", (unsigned long long)src_n,
                       (unsigned long long)dst_n);
    plan.elements = dst_n;
    plan.bytes = dst_n * plan.to.esize;
    whole = plan;
    whole.from = arena_calloc(&p->arena, 1, sizeof(plan.from[0]));
    if (whole.from == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory preparing a transfer");
    whole.from[0] = plan.from[0];
    dma_side_merge(&whole.from[0]);
    dma_side_merge(&whole.to);
    st = dyn_plan(p, r, &d, &plan, r->index_side != 0 ? dst_n / d.rows : dst_n, err);
    if (st != NRT_SUCCESS)
        return st;
    whole.kind = plan.kind;
    whole.op = r->op == ISA_DYN_TRANSPOSE ? NEFF_OP_TRANSPOSE : plan.op;
    d.plan = (uint32_t)p->nplans;
    st = program_add_plan(p, &plan, err);
    if (st == NRT_SUCCESS)
        st = dyn_group(p, engine, r, &whole, &d, err);
    if (st != NRT_SUCCESS)
        return st;
    if (!mem_grow((void **)&p->dyns, &p->cap_dyns, p->ndyns + 1, sizeof(p->dyns[0])))
        return err_set(err, NRT_RESOURCE, "out of memory preparing a transfer");
    *ret_index = (uint32_t)p->ndyns;
    p->dyns[p->ndyns++] = d;
    return NRT_SUCCESS;
}

static NRT_STATUS oob(const struct core_program *p, const struct dyn_place *pl, int64_t value,
                      const char *what, struct err *err)
{
    return err_set(err, NRT_EXEC_OOB, "%s %lld moves access [%lld,%lld) outside %s [%lld,%lld)",
                   what, (long long)value, (long long)pl->lo, (long long)pl->hi,
                   pl->sbuf ? "SBUF partition" : p->sg->vars[pl->var].name, (long long)pl->bound_lo,
                   (long long)pl->bound_hi);
}

/* Rows by index; those out of bounds are dropped (skip) or end it. */
static NRT_STATUS run_rows(struct core_exec *x, const struct core_dyn *d,
                           const struct dma_plan *plan, struct dma_where *w, bool skip,
                           uint32_t access, uint64_t *ret_bytes, struct err *err)
{
    const struct core_program *p = w->b->program;
    const struct dyn_place *pl = d->index_side == 1 ? &d->src : &d->dst;
    int64_t index[ISA_PARTITIONS];

    for (uint32_t r = 0; r < d->rows; r++) { /* read when the record starts */
        uint32_t v;

        memcpy(&v, w->core->kc.sbuf + d->index_off + r * (int64_t)w->core->kc.sbuf_stride, 4);
        index[r] = d->index_signed ? (int64_t)(int32_t)v : (int64_t)v;
    }
    for (uint32_t r = 0; r < d->rows; r++) {
        int64_t shift, other = 0;
        uint32_t rest = r;

        if (!place_shift(pl, index[r], &shift) || index[r] < 0 || !place_inside(pl, shift)) {
            if (!skip)
                return oob(p, pl, index[r], "index", err);
            x->st.skipped++;
            continue;
        }
        for (unsigned i = 0; i < d->other_ndim; i++) {
            other += (int64_t)(rest % d->other[i].n) * d->other[i].step;
            rest /= (uint32_t)d->other[i].n;
        }
        w->src_shift = d->index_side == 1 ? shift : other;
        w->dst_shift = d->index_side == 1 ? other : shift;
        if (x->check != NULL)
            check_plan(x, x->check, access, plan, w);
        if (dma_plan_run(plan, w))
            w->core->kc.nan_count++;
        *ret_bytes += plan->bytes;
    }
    return NRT_SUCCESS;
}

NRT_STATUS dyn_run(struct core_exec *x, unsigned core, unsigned engine, const struct core_dyn *d,
                   uint32_t access, uint64_t *ret_bytes, struct err *err)
{
    struct core *c = x->core[core];
    const struct core_binding *b = x->run->binding[core];
    const struct core_program *p = b->program;
    const struct dma_plan *plan = &p->plans[d->plan];
    const uint32_t *regs = c->engine[engine].regs;
    struct dma_where w = {c, b, 0, 0};
    bool skip = (d->oob_reg != ISA_NO_REG ? regs[d->oob_reg] : d->oob) != 0;
    const struct dyn_place *side[2] = {&d->src, &d->dst};
    int64_t *shift[2] = {&w.src_shift, &w.dst_shift};

    *ret_bytes = 0;
    for (unsigned i = 0; i < 2; i++) {
        int64_t value = side[i]->off_reg != ISA_NO_REG ? (int32_t)regs[side[i]->off_reg] : 0;

        if (d->index_side == i + 1)
            continue;
        if (!place_shift(side[i], value, shift[i]) || !place_inside(side[i], *shift[i])) {
            if (!skip)
                return oob(p, side[i], value, "offset", err);
            x->st.skipped++;
            return NRT_SUCCESS;
        }
    }
    if (d->index_side != 0)
        return run_rows(x, d, plan, &w, skip, access, ret_bytes, err);
    if (x->check != NULL)
        check_plan(x, x->check, access, plan, &w);
    if (dma_plan_run(plan, &w))
        c->kc.nan_count++;
    *ret_bytes = plan->bytes;
    return NRT_SUCCESS;
}

/* ---- register_load, register_store ---- */

NRT_STATUS place_lower(struct core_program *p, const struct isa_seq *s, uint32_t *ret_index,
                       struct err *err)
{
    struct core_place pl = {0};
    struct dma_side side;
    NRT_STATUS st;

    if (s->place_mem == ISA_HBM)
        st = hbm_place(p, &s->place.hbm, false, &pl.at, &side, err);
    else
        st = tile_place(p, &s->place.tile, &pl.at, &side, err);
    if (st != NRT_SUCCESS)
        return st;
    if (dma_side_count(&side) != side.esize || side.esize > 4)
        return err_set(err, NRT_INVALID, "the operand is not one element of at most 4 bytes");
    pl.off = side.off;
    pl.dtype = side.dtype;
    if (!mem_grow((void **)&p->places, &p->cap_places, p->nplaces + 1, sizeof(p->places[0])))
        return err_set(err, NRT_RESOURCE, "out of memory preparing a record");
    *ret_index = (uint32_t)p->nplaces;
    p->places[p->nplaces++] = pl;
    return NRT_SUCCESS;
}

uint8_t *place_resolve(const struct core_place *pl, struct core *c, const struct core_binding *b,
                       const uint32_t *regs, struct err *err)
{
    int64_t value = pl->at.off_reg != ISA_NO_REG ? (int32_t)regs[pl->at.off_reg] : 0, shift;

    if (!place_shift(&pl->at, value, &shift) || !place_inside(&pl->at, shift)) {
        oob(b->program, &pl->at, value, "offset", err);
        return NULL;
    }
    return (pl->at.sbuf ? c->kc.sbuf : b->var[pl->at.var].host) + pl->off + shift;
}
