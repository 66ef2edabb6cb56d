/* SPDX-License-Identifier: Apache-2.0 */
/* Translation of transfers: access patterns become loops over host memory, checked so that running
 * them needs no check. Both sides of a copy are split into common loops where their sizes divide
 * each other ("refinement"), which almost all programs do; the rest walks two iterators. */
#include "core/core_int.h"

#include <string.h>

#define SBUF_STRIDE ((int64_t)ISA_SBUF_MAP_STRIDE)
/* Runs that an irregular SBUF pattern may have: each is looked at when it is prepared. */
#define IRREGULAR_RUNS_MAX (1u << 24)

uint64_t dma_side_count(const struct dma_side *s)
{
    uint64_t n = 1;

    for (unsigned i = 0; i < s->ndim; i++)
        n *= s->dim[i].n; /* checked when the side was made */
    return n;
}

/* Drop dimensions of one element: their steps mean nothing and may be any number. */
static void side_drop_ones(struct dma_side *s)
{
    unsigned out = 0;

    for (unsigned i = 0; i < s->ndim; i++)
        if (s->dim[i].n != 1)
            s->dim[out++] = s->dim[i];
    s->ndim = (uint8_t)out;
}

/* Merge dimensions that continue each other. */
void dma_side_merge(struct dma_side *s)
{
    unsigned out = 0;

    side_drop_ones(s);
    if (s->mapped)
        return;
    for (unsigned i = 0; i < s->ndim; i++) {
        if (out > 0 && s->dim[i].step == s->dim[out - 1].step * (int64_t)s->dim[out - 1].n)
            s->dim[out - 1].n *= s->dim[i].n;
        else
            s->dim[out++] = s->dim[i];
    }
    s->ndim = (uint8_t)out;
}

/* Lowest and highest byte offset of the pattern, relative to off; true on overflow. */
bool dma_side_extent(const struct dma_side *s, int64_t *ret_lo, int64_t *ret_hi)
{
    int64_t lo = 0, hi = 0, d;

    for (unsigned i = 0; i < s->ndim; i++) {
        if (s->dim[i].n - 1 > INT64_MAX ||
            i64_mul_over((int64_t)(s->dim[i].n - 1), s->dim[i].step, &d))
            return true;
        if (d < 0 ? i64_add_over(lo, d, &lo) : i64_add_over(hi, d, &hi))
            return true;
    }
    *ret_lo = lo;
    *ret_hi = hi;
    return false;
}

/* An SBUF pattern whose steps do not keep partition and byte apart: look at every run. */
static bool irregular_ok(const struct core_program *p, const struct dma_side *s)
{
    uint64_t runs = 1, idx[DMA_DIMS] = {0};
    bool flat = s->ndim > 0 && s->dim[0].step == 1;
    int64_t run = flat ? (int64_t)s->dim[0].n : 1;
    unsigned first = flat ? 1 : 0;

    for (unsigned i = first; i < s->ndim; i++)
        if (u64_mul_over(runs, s->dim[i].n, &runs) || runs > IRREGULAR_RUNS_MAX)
            return false;
    for (uint64_t k = 0; k < runs; k++) {
        int64_t a = s->off;

        for (unsigned i = first; i < s->ndim; i++)
            a += (int64_t)idx[i] * s->dim[i].step;
        if (a < 0 || a / SBUF_STRIDE >= ISA_PARTITIONS ||
            a % SBUF_STRIDE + run > (int64_t)p->core->kc.sbuf_bytes)
            return false;
        for (unsigned i = first; i < s->ndim && ++idx[i] == s->dim[i].n; i++)
            idx[i] = 0;
    }
    return true;
}

/* From the address map to host rows: every step is dp partitions and db bytes; the sums must stay
 * inside a partition on their own, then the host address is linear in the indices too. */
static bool side_map_sbuf(const struct core_program *p, struct dma_side *s)
{
    int64_t p_lo, p_hi, b_lo, b_hi, stride = (int64_t)p->core->kc.sbuf_stride;
    struct dma_side part = *s, byte = *s;

    for (unsigned i = 0; i < s->ndim; i++) {
        int64_t dp = s->dim[i].step / SBUF_STRIDE, db = s->dim[i].step % SBUF_STRIDE;

        if (db > SBUF_STRIDE / 2) {
            dp++;
            db -= SBUF_STRIDE;
        } else if (db < -SBUF_STRIDE / 2) {
            dp--;
            db += SBUF_STRIDE;
        }
        part.dim[i].step = dp;
        byte.dim[i].step = db;
    }
    if (dma_side_extent(&part, &p_lo, &p_hi) || dma_side_extent(&byte, &b_lo, &b_hi))
        return false;
    p_lo += s->off / SBUF_STRIDE;
    p_hi += s->off / SBUF_STRIDE;
    b_lo += s->off % SBUF_STRIDE;
    b_hi += s->off % SBUF_STRIDE;
    if (p_lo < 0 || p_hi >= ISA_PARTITIONS || b_lo < 0 || b_hi >= (int64_t)p->core->kc.sbuf_bytes) {
        s->mapped = true;
        return irregular_ok(p, s);
    }
    s->off = s->off / SBUF_STRIDE * stride + s->off % SBUF_STRIDE;
    for (unsigned i = 0; i < s->ndim; i++)
        s->dim[i].step = part.dim[i].step * stride + byte.dim[i].step;
    return true;
}

/* One side of a descriptor. *ret_bytes: what it moves. */
static NRT_STATUS side_make(struct core_program *p, const struct neff_access *a, struct dma_side *s,
                            uint64_t *ret_bytes, struct err *err)
{
    const struct neff_var *v;
    uint64_t bytes = 1;
    int64_t lo, hi;

    memset(s, 0, sizeof(*s));
    if (a->var >= p->sg->var_count || a->ndim < 1 || a->ndim > NEFF_MAX_DIMS ||
        dtype_size((enum dtype)a->dtype) == 0 || a->off > INT64_MAX)
        return err_set(err, NRT_INVALID, "invalid access pattern");
    v = &p->sg->vars[a->var];
    s->sbuf = v->type == NEFF_VAR_STATE_BUFFER;
    s->var = a->var;
    s->dtype = a->dtype;
    s->esize = (uint8_t)dtype_size((enum dtype)a->dtype);
    s->off = (int64_t)a->off;
    s->ndim = a->ndim;
    for (unsigned i = 0; i < a->ndim; i++) {
        s->dim[i].n = a->sizes[i];
        s->dim[i].step = a->steps[i];
        if (u64_mul_over(bytes, a->sizes[i], &bytes) || bytes > INT64_MAX)
            return err_set(err, NRT_INVALID, "access pattern too large");
    }
    *ret_bytes = bytes;
    if (bytes == 0)
        return NRT_SUCCESS;
    side_drop_ones(s);
    if (a->sizes[0] % s->esize != 0)
        return err_set(err, NRT_INVALID, "innermost size not a multiple of %s",
                       dtype_name((enum dtype)a->dtype));
    if (dma_side_extent(s, &lo, &hi) || i64_add_over(lo, s->off, &lo) ||
        i64_add_over(hi, s->off, &hi) || hi == INT64_MAX)
        return err_set(err, NRT_INVALID, "access pattern too large");
    s->lo = lo;
    s->hi = hi + 1;
    if (s->sbuf) {
        if (!side_map_sbuf(p, s))
            return err_set(err, NRT_INVALID,
                           "access [%lld,%lld) outside %s of %u bytes per partition", (long long)lo,
                           (long long)hi + 1, v->name, p->core->kc.sbuf_bytes);
    } else {
        if (lo < 0 || (uint64_t)hi >= v->size)
            return err_set(err, NRT_INVALID, "access [%lld,%lld) outside %s of %llu bytes",
                           (long long)lo, (long long)hi + 1, v->name, (unsigned long long)v->size);
        program_use_var(p, a->var);
    }
    dma_side_merge(s);
    return NRT_SUCCESS;
}

/* ---- common loops ---- */

/* Split two lists of dimensions with equal totals into common ones. False when the sizes do not
 * divide or there are too many. src/dst of the lists' own steps go to ret. */
bool dma_loops_refine(const struct dma_dim *a, unsigned na, const struct dma_dim *b, unsigned nb,
                      struct dma_loops *ret)
{
    struct dma_dim x = {1, 0}, y = {1, 0};
    unsigned i = 0, k = 0;

    ret->ndim = 0;
    for (;;) {
        while (x.n == 1 && i < na)
            x = a[i++];
        while (y.n == 1 && k < nb)
            y = b[k++];
        if (x.n == 1 && y.n == 1)
            return true;
        uint64_t n = x.n < y.n ? x.n : y.n;

        if (n == 1 || x.n % n != 0 || y.n % n != 0 || ret->ndim == DMA_NEST_MAX)
            return false;
        ret->dim[ret->ndim++] = (struct dma_nest_dim){n, x.step, y.step};
        x.n /= n;
        y.n /= n;
        x.step *= (int64_t)n;
        y.step *= (int64_t)n;
    }
}

/* Take the innermost contiguous dimension (elements of ses and des bytes) as the unit, merge what
 * continues it, keep a copy in the arena. */
struct dma_nest *dma_nest_make(struct core_program *p, struct dma_loops *l, int64_t ses,
                               int64_t des)
{
    uint64_t unit = 1;
    unsigned first = 0, out;
    struct dma_nest *n;

    while (first < l->ndim && l->dim[first].src == ses * (int64_t)unit &&
           l->dim[first].dst == des * (int64_t)unit)
        unit *= l->dim[first++].n;
    out = first;
    for (unsigned i = first; i < l->ndim; i++) {
        struct dma_nest_dim *prev = out > first ? &l->dim[out - 1] : NULL;

        if (prev && l->dim[i].src == prev->src * (int64_t)prev->n &&
            l->dim[i].dst == prev->dst * (int64_t)prev->n)
            prev->n *= l->dim[i].n;
        else
            l->dim[out++] = l->dim[i];
    }
    n = arena_alloc(&p->arena, sizeof(*n) + (out - first) * sizeof(n->dim[0]));
    if (n == NULL)
        return NULL;
    n->unit = unit;
    n->ndim = out - first;
    memcpy(n->dim, l->dim + first, (out - first) * sizeof(n->dim[0]));
    return n;
}

/* The side's dimensions at element granularity. False if the bytes of an element do not lie
 * together. */
static bool side_elements(const struct dma_side *s, struct dma_dim *ret, unsigned *ret_n)
{
    unsigned n = 0;

    if (s->esize == 1) {
        memcpy(ret, s->dim, s->ndim * sizeof(ret[0]));
        *ret_n = s->ndim;
        return true;
    }
    if (s->ndim == 0 || s->dim[0].step != 1 || s->dim[0].n % s->esize != 0)
        return false;
    if (s->dim[0].n > s->esize)
        ret[n++] = (struct dma_dim){s->dim[0].n / s->esize, s->esize};
    for (unsigned i = 1; i < s->ndim; i++)
        ret[n++] = s->dim[i];
    *ret_n = n;
    return true;
}

/* plan->to, plan->from[0] are made: choose how to copy or convert. */
NRT_STATUS dma_plan_copy(struct core_program *p, struct dma_plan *plan, struct err *err)
{
    const struct dma_side *s = &plan->from[0], *d = &plan->to;
    struct dma_dim a[DMA_DIMS], b[DMA_DIMS];
    bool same = s->dtype == d->dtype;
    unsigned na, nb;
    struct dma_loops l;

    if (same) {
        plan->kind = PLAN_COPY_ITER;
        if (s->mapped || d->mapped || !dma_loops_refine(s->dim, s->ndim, d->dim, d->ndim, &l))
            return NRT_SUCCESS;
        plan->nest = dma_nest_make(p, &l, 1, 1);
        plan->kind = PLAN_COPY_NEST;
        if (plan->nest != NULL)
            dma_plan_find_rows(p->core, plan);
    } else {
        plan->kind = PLAN_FOLD;
        if (s->mapped || d->mapped || !side_elements(s, a, &na) || !side_elements(d, b, &nb) ||
            !dma_loops_refine(a, na, b, nb, &l))
            return NRT_SUCCESS;
        plan->nest = dma_nest_make(p, &l, s->esize, d->esize);
        plan->kind = PLAN_CAST_NEST;
    }
    return plan->nest != NULL ? NRT_SUCCESS
                              : err_set(err, NRT_RESOURCE, "out of memory preparing a transfer");
}

/* Axis permutations of neuroncore.md 5.4: (1,0), (2,1,0), (3,1,2,0). */
unsigned dma_transpose_axis(unsigned rank, unsigned k)
{
    static const uint8_t perm[5][4] = {{0}, {0}, {1, 0}, {2, 1, 0}, {3, 1, 2, 0}};

    return perm[rank][k];
}

/* Cut the dimensions of a side (innermost first, totals equal) at the borders of the array's
 * dimensions: group[g] of array dimension g, innermost first; group 0 are the bytes of an element.
 * False when they do not divide. */
bool dma_side_groups(const struct dma_side *s, const uint64_t *size, unsigned groups,
                     struct dma_dim (*ret)[DMA_NEST_MAX], unsigned *ret_n)
{
    unsigned i = 0;
    struct dma_dim x = {1, 0};

    for (unsigned g = 0; g < groups; g++) {
        uint64_t left = size[g];

        ret_n[g] = 0;
        while (left > 1) {
            while (x.n == 1 && i < s->ndim)
                x = s->dim[i++];
            uint64_t n = x.n < left ? x.n : left;

            if (n == 1 || x.n % n != 0 || left % n != 0 || ret_n[g] == DMA_NEST_MAX)
                return false;
            ret[g][ret_n[g]++] = (struct dma_dim){n, x.step};
            x.n /= n;
            x.step *= (int64_t)n;
            left /= n;
        }
    }
    return true;
}

/* plan->rank, tsize, shape and both sides are set. */
NRT_STATUS dma_plan_transpose(struct core_program *p, struct dma_plan *plan, struct err *err)
{
    struct dma_dim group[DMA_DIMS][DMA_NEST_MAX], src[DMA_DIMS * DMA_NEST_MAX];
    uint64_t size[DMA_DIMS];
    unsigned count[DMA_DIMS], n = 0, rank = plan->rank;
    struct dma_loops l;

    plan->kind = PLAN_TRANSPOSE;
    if (plan->from[0].mapped || plan->to.mapped)
        return NRT_SUCCESS;
    size[0] = plan->tsize;
    for (unsigned k = 0; k < rank; k++)
        size[1 + k] = plan->shape[rank - 1 - k];
    if (!dma_side_groups(&plan->from[0], size, rank + 1, group, count))
        return NRT_SUCCESS;
    /* source dimensions in the order of the destination, innermost first */
    for (unsigned i = 0; i < count[0]; i++)
        src[n++] = group[0][i];
    for (unsigned k = 0; k < rank; k++) {
        unsigned g = rank - dma_transpose_axis(rank, rank - 1 - k); /* group of that source axis */

        for (unsigned i = 0; i < count[g]; i++)
            src[n++] = group[g][i];
    }
    if (!dma_loops_refine(src, n, plan->to.dim, plan->to.ndim, &l))
        return NRT_SUCCESS;
    plan->nest = dma_nest_make(p, &l, 1, 1);
    if (plan->nest == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory preparing a transfer");
    plan->kind = PLAN_COPY_NEST;
    return NRT_SUCCESS;
}

/* ---- descriptors ---- */

static NRT_STATUS static_transpose(struct core_program *p, const struct neff_desc *d,
                                   struct dma_plan *plan, uint64_t bytes, struct err *err)
{
    uint32_t es = d->transpose_element_size;
    uint64_t total = es;
    unsigned rank = 4;

    if ((es != 1 && es != 2 && es != 4 && es != 8))
        return err_set(err, NRT_INVALID, "invalid transpose_element_size");
    for (unsigned i = 0; i < 4; i++) {
        plan->shape[i] = d->transpose_shape[i];
        if (u64_mul_over(total, plan->shape[i], &total))
            return err_set(err, NRT_INVALID, "invalid transpose_shape");
    }
    if (total != bytes || plan->bytes != bytes)
        return err_set(err, NRT_INVALID, "invalid transpose_shape");
    while (rank > 2 && plan->shape[rank - 1] == 1)
        rank--;
    plan->rank = (uint8_t)rank;
    plan->tsize = (uint8_t)es;
    plan->elements = bytes / es;
    return dma_plan_transpose(p, plan, err);
}

NRT_STATUS dma_plan_static(struct core_program *p, const struct neff_desc *d, struct dma_plan *ret,
                           struct err *err)
{
    uint64_t bytes = 0;
    NRT_STATUS st;

    memset(ret, 0, sizeof(*ret));
    ret->op = d->op;
    ret->nfrom = d->from_count;
    if (d->op >= NEFF_OP_COUNT || d->from_count < 1 || d->from_count > NEFF_MAX_SOURCES)
        return err_set(err, NRT_INVALID, "invalid descriptor");
    if (d->from_count > 1 &&
        (d->op == NEFF_OP_COPY || d->op == NEFF_OP_CAST || d->op == NEFF_OP_TRANSPOSE))
        return err_set(err, NRT_INVALID, "%u sources for op %s", d->from_count,
                       neff_op_name((enum neff_op)d->op));
    st = side_make(p, &d->to, &ret->to, &ret->bytes, err);
    if (st != NRT_SUCCESS)
        return st;
    ret->elements = ret->bytes / ret->to.esize;
    ret->from = arena_calloc(&p->arena, d->from_count, sizeof(ret->from[0]));
    if (ret->from == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory preparing a transfer");
    for (unsigned i = 0; i < d->from_count; i++) {
        st = side_make(p, &d->from[i], &ret->from[i], &bytes, err);
        if (st != NRT_SUCCESS)
            return st;
        if (d->op != NEFF_OP_TRANSPOSE && bytes / ret->from[i].esize != ret->elements)
            return err_set(err, NRT_INVALID, "%llu elements to %llu",
                           (unsigned long long)(bytes / ret->from[i].esize),
                           (unsigned long long)ret->elements);
    }
    if (ret->elements == 0 && bytes == 0) {
        ret->kind = PLAN_NOTHING;
        return NRT_SUCCESS;
    }
    switch (d->op) {
    case NEFF_OP_TRANSPOSE:
        return static_transpose(p, d, ret, bytes, err);
    case NEFF_OP_COPY:
    case NEFF_OP_CAST:
        return dma_plan_copy(p, ret, err);
    default:
        break;
    }
    ret->kind = PLAN_FOLD;
    if (d->op == NEFF_OP_FMA) {
        if (d->scale == NULL)
            return err_set(err, NRT_INVALID, "scale is missing");
        ret->scale = d->scale;
    }
    ret->has_constant = d->has_constant != 0;
    ret->constant = (float)d->constant;
    return NRT_SUCCESS;
}

/* ---- shares of the DMA engines ---- */

/* Elements of each partition of a mapped-out SBUF side; false when the pattern is irregular. */
static bool side_partitions(const struct core_program *p, const struct dma_side *s,
                            uint64_t count[ISA_PARTITIONS])
{
    int64_t stride = (int64_t)p->core->kc.sbuf_stride;
    uint64_t inner = 1, combos = 1, idx[DMA_DIMS] = {0};
    struct dma_dim part[DMA_DIMS];
    unsigned n = 0;

    if (s->mapped)
        return false;
    for (unsigned i = 0; i < s->ndim; i++) {
        int64_t step = s->dim[i].step;
        int64_t dp = (step + (step < 0 ? -stride / 2 : stride / 2)) / stride;

        if (dp == 0) {
            inner *= s->dim[i].n;
            continue;
        }
        part[n++] = (struct dma_dim){s->dim[i].n, dp};
        combos *= s->dim[i].n;
        if (combos > 4096)
            return false;
    }
    memset(count, 0, ISA_PARTITIONS * sizeof(count[0]));
    for (uint64_t k = 0; k < combos; k++) {
        int64_t at = s->off / stride;

        for (unsigned i = 0; i < n; i++)
            at += (int64_t)idx[i] * part[i].step;
        if (at < 0 || at >= ISA_PARTITIONS)
            return false;
        count[at] += inner;
        for (unsigned i = 0; i < n && ++idx[i] == part[i].n; i++)
            idx[i] = 0;
    }
    return true;
}

/* Which published rate applies. */
static enum time_dma_kind plan_time_kind(const struct dma_plan *plan)
{
    if (plan->op == NEFF_OP_TRANSPOSE)
        return plan->from[0].sbuf && plan->to.sbuf ? TIME_DMA_TRANSPOSE_SBUF : TIME_DMA_TRANSPOSE;
    return plan->op == NEFF_OP_COPY || plan->op == NEFF_OP_CAST ? TIME_DMA_COPY : TIME_DMA_COMPUTE;
}

void dma_plan_split(const struct core_program *p, const struct dma_plan *plan, unsigned q,
                    uint64_t *ret)
{
    uint64_t part[ISA_PARTITIONS], sum[NEFF_MAX_QUEUES] = {0}, read = 0, total, each;
    enum time_dma_kind kind = plan_time_kind(plan);
    enum isa_gen gen = p->core->kc.gen;
    const struct dma_side *side = NULL;

    if (plan->kind == PLAN_NOTHING)
        return;
    for (unsigned i = 0; i < plan->nfrom; i++) {
        read += dma_side_count(&plan->from[i]);
        if (plan->from[i].sbuf && side == NULL)
            side = &plan->from[i];
    }
    if (plan->to.sbuf)
        side = &plan->to;
    each = read > plan->bytes ? read : plan->bytes;
    if (side == NULL || !side_partitions(p, side, part)) {
        for (unsigned e = 0; e < q; e++)
            ret[e] += time_dma_ps(gen, kind, each / q + (e < each % q ? 1 : 0));
        return;
    }
    total = dma_side_count(side);
    for (unsigned i = 0; i < ISA_PARTITIONS; i++)
        sum[i * q / ISA_PARTITIONS] += part[i];
    for (unsigned e = 0; e < q; e++)
        ret[e] += time_dma_ps(
            gen, kind,
            total == each ? sum[e] : (uint64_t)((double)sum[e] * ((double)each / (double)total)));
}
