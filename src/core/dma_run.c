/* SPDX-License-Identifier: Apache-2.0 */
/* Running translated transfers. Everything was checked when they were translated. */
#include "core/core_int.h"

#include <math.h>
#include <string.h>

#include "run/run.h"

#define STREAM_BYTES (1u << 20) /* from here on kernel_copy chooses the kind of store */

static uint8_t *side_base(const struct dma_side *s, const struct dma_where *w)
{
    return s->sbuf ? w->core->kc.sbuf : w->b->var[s->var].host;
}

/* ---- iterators: the bytes of a side in element order ------------------------------------------
 */

static void iter_locate(struct dma_iter *it)
{
    if (it->s->mapped)
        it->p = it->base + (size_t)(it->off / ISA_SBUF_MAP_STRIDE) * it->sbuf_stride +
                it->off % ISA_SBUF_MAP_STRIDE;
    else
        it->p = it->base + it->off;
}

void dma_iter_init(struct dma_iter *it, const struct dma_side *s, const struct dma_where *w,
                   int64_t shift)
{
    bool flat = s->ndim > 0 && s->dim[0].step == 1;

    memset(it->idx, 0, sizeof(it->idx));
    it->base = side_base(s, w) + shift;
    it->sbuf_stride = w->core->kc.sbuf_stride;
    it->s = s;
    it->run = flat ? s->dim[0].n : 1;
    it->first = flat ? 1 : 0;
    it->pos = 0;
    it->off = s->off;
    iter_locate(it);
}

/* The next run; stays at the end after the last one. */
void dma_iter_next(struct dma_iter *it)
{
    const struct dma_side *s = it->s;

    it->pos = 0;
    for (unsigned i = it->first; i < s->ndim; i++) {
        it->off += s->dim[i].step;
        if (++it->idx[i] < s->dim[i].n)
            break;
        it->off -= s->dim[i].step * (int64_t)s->dim[i].n;
        it->idx[i] = 0;
    }
    iter_locate(it);
}

void dma_iter_read(struct dma_iter *it, void *buf, uint64_t n)
{
    uint8_t *b = buf;

    while (n > 0) {
        uint64_t k = it->run - it->pos < n ? it->run - it->pos : n;

        memcpy(b, it->p + it->pos, k);
        b += k;
        n -= k;
        it->pos += k;
        if (it->pos == it->run)
            dma_iter_next(it);
    }
}

void dma_iter_write(struct dma_iter *it, const void *buf, uint64_t n)
{
    const uint8_t *b = buf;

    while (n > 0) {
        uint64_t k = it->run - it->pos < n ? it->run - it->pos : n;

        memcpy(it->p + it->pos, b, k);
        b += k;
        n -= k;
        it->pos += k;
        if (it->pos == it->run)
            dma_iter_next(it);
    }
}

/* ---- loops ---- */

/* Source and destination may be the same memory (an input bound as output): memmove. */
static inline void copy_unit(uint8_t *d, const uint8_t *s, size_t n)
{
    if (n >= STREAM_BYTES && (d + n <= s || s + n <= d))
        kernel_copy(d, s, n);
    else
        memmove(d, s, n);
}

#define COPY_STRIDED(type)                                                                   \
    do {                                                                                     \
        for (uint64_t i = 0; i < n->dim[0].n; i++, s += n->dim[0].src, d += n->dim[0].dst) { \
            type v_;                                                                         \
            memcpy(&v_, s, sizeof(v_));                                                      \
            memcpy(d, &v_, sizeof(v_));                                                      \
        }                                                                                    \
    } while (0)

static void copy_inner(const struct dma_nest *n, uint8_t *d, const uint8_t *s)
{
    switch (n->unit) {
    case 1:
        COPY_STRIDED(uint8_t);
        break;
    case 2:
        COPY_STRIDED(uint16_t);
        break;
    case 4:
        COPY_STRIDED(uint32_t);
        break;
    case 8:
        COPY_STRIDED(uint64_t);
        break;
    default:
        for (uint64_t i = 0; i < n->dim[0].n; i++, s += n->dim[0].src, d += n->dim[0].dst)
            copy_unit(d, s, n->unit);
    }
}

static void copy_nest(const struct dma_nest *n, unsigned level, uint8_t *d, const uint8_t *s)
{
    if (level == 0) {
        copy_unit(d, s, n->unit);
        return;
    }
    if (level == 1) {
        copy_inner(n, d, s);
        return;
    }
    const struct dma_nest_dim *k = &n->dim[level - 1];

    for (uint64_t i = 0; i < k->n; i++, s += k->src, d += k->dst)
        copy_nest(n, level - 1, d, s);
}

struct cast {
    const struct dma_nest *n;
    enum dtype st, dt;
    size_t ses, des;
    uint8_t *staging;
    struct kernel_rng *sr;
};

/* One row of dim[0].n strided elements: gather, convert, scatter. */
static void cast_strided(const struct cast *c, uint8_t *d, const uint8_t *s)
{
    uint8_t *in = c->staging, *out = c->staging + DMA_CHUNK * 8;
    const struct dma_nest_dim *k = &c->n->dim[0];

    for (uint64_t left = k->n; left > 0;) {
        uint64_t n = left < DMA_CHUNK ? left : DMA_CHUNK;

        for (uint64_t i = 0; i < n; i++, s += k->src)
            memcpy(in + i * c->ses, s, c->ses);
        kernel_convert(c->dt, out, c->st, in, n, c->sr);
        for (uint64_t i = 0; i < n; i++, d += k->dst)
            memcpy(d, out + i * c->des, c->des);
        left -= n;
    }
}

static void cast_run(const struct cast *c, uint8_t *d, const uint8_t *s)
{
    uint64_t n = c->n->unit;

    if (d + n * c->des <= s || s + n * c->ses <= d) {
        kernel_convert(c->dt, d, c->st, s, n, c->sr);
        return;
    }
    for (uint64_t i = 0; i < n; i++) { /* overlapping sides: element order */
        uint8_t v[8];

        kernel_convert(c->dt, v, c->st, s + i * c->ses, 1, c->sr);
        memcpy(d + i * c->des, v, c->des);
    }
}

static void cast_nest(const struct cast *c, unsigned level, uint8_t *d, const uint8_t *s)
{
    if (level == 0) {
        cast_run(c, d, s);
        return;
    }
    if (level == 1 && c->n->unit == 1) {
        cast_strided(c, d, s);
        return;
    }
    const struct dma_nest_dim *k = &c->n->dim[level - 1];

    for (uint64_t i = 0; i < k->n; i++, s += k->src, d += k->dst)
        cast_nest(c, level - 1, d, s);
}

static void copy_iter(const struct dma_plan *plan, const struct dma_where *w)
{
    struct dma_iter s, d;

    dma_iter_init(&s, &plan->from[0], w, w->src_shift);
    dma_iter_init(&d, &plan->to, w, w->dst_shift);
    for (uint64_t left = plan->bytes; left > 0;) {
        uint64_t n = s.run - s.pos < d.run - d.pos ? s.run - s.pos : d.run - d.pos;

        if (n > left)
            n = left;
        memmove(d.p + d.pos, s.p + s.pos, n);
        left -= n;
        s.pos += n;
        d.pos += n;
        if (s.pos == s.run)
            dma_iter_next(&s);
        if (d.pos == d.run)
            dma_iter_next(&d);
    }
}

/* ---- arithmetic ---- */

/* fp32 chunk of the destination from the sources' next n elements; nan[i] set when an input is. */
static void fold_chunk(const struct dma_plan *plan, struct dma_iter *src, uint64_t n, float *acc,
                       float *tmp, uint8_t *raw, uint8_t *nan_in)
{
    bool first = true;

    if (plan->has_constant) {
        for (uint64_t i = 0; i < n; i++)
            acc[i] = plan->constant;
        first = false;
    }
    for (unsigned k = 0; k < plan->nfrom; k++) {
        const struct dma_side *s = &plan->from[k];
        float *to = first ? acc : tmp;

        dma_iter_read(&src[k], raw, n * s->esize);
        kernel_load_f32(to, (enum dtype)s->dtype, raw, n);
        if (nan_in != NULL)
            for (uint64_t i = 0; i < n; i++)
                nan_in[i] |= isnan(to[i]) != 0;
        if (plan->op == NEFF_OP_FMA) {
            if (first)
                for (uint64_t i = 0; i < n; i++)
                    acc[i] = plan->scale[k] * acc[i];
            else
                kernel_fma_f32(acc, plan->scale[k], tmp, n);
        } else if (!first) {
            kernel_fold_f32(plan->op == NEFF_OP_MIN   ? ISA_ALU_MIN
                            : plan->op == NEFF_OP_MAX ? ISA_ALU_MAX
                                                      : ISA_ALU_ADD,
                            acc, tmp, n);
        }
        first = false;
    }
}

static bool fold_run(const struct dma_plan *plan, const struct dma_where *w, struct kernel_rng *sr)
{
    struct dma_iter src[NEFF_MAX_SOURCES], dst;
    uint8_t *st = w->core->staging;
    float *acc = (float *)st, *tmp = (float *)(st + DMA_CHUNK * 8);
    uint8_t *raw = st + DMA_CHUNK * 16, nan_in[DMA_CHUNK];
    bool check = w->core->kc.check_nan && plan->op != NEFF_OP_CAST && plan->op != NEFF_OP_COPY;
    bool generated = false;

    for (unsigned k = 0; k < plan->nfrom; k++) /* a second source with a shift is `to` itself */
        dma_iter_init(&src[k], &plan->from[k], w, k == 0 ? w->src_shift : w->dst_shift);
    dma_iter_init(&dst, &plan->to, w, w->dst_shift);
    for (uint64_t left = plan->elements; left > 0;) {
        uint64_t n = left < DMA_CHUNK ? left : DMA_CHUNK;

        if (check)
            memset(nan_in, 0, n);
        fold_chunk(plan, src, n, acc, tmp, raw, check ? nan_in : NULL);
        if (check)
            for (uint64_t i = 0; i < n; i++)
                generated |= isnan(acc[i]) && !nan_in[i];
        kernel_store_f32((enum dtype)plan->to.dtype, raw, acc, n, sr);
        dma_iter_write(&dst, raw, n * plan->to.esize);
        left -= n;
    }
    return generated;
}

/* ---- transpose by index arithmetic ---- */

/* Host address of byte `at` of a side in element order. */
static uint8_t *side_at(const struct dma_side *s, const struct dma_where *w, int64_t shift,
                        uint64_t at)
{
    int64_t off = s->off;

    for (unsigned i = 0; i < s->ndim; i++) {
        off += (int64_t)(at % s->dim[i].n) * s->dim[i].step;
        at /= s->dim[i].n;
    }
    if (s->mapped)
        return side_base(s, w) + shift +
               (size_t)(off / ISA_SBUF_MAP_STRIDE) * w->core->kc.sbuf_stride +
               off % ISA_SBUF_MAP_STRIDE;
    return side_base(s, w) + shift + off;
}

static void transpose_slow(const struct dma_plan *plan, const struct dma_where *w)
{
    unsigned rank = plan->rank;

    for (uint64_t k = 0; k < plan->elements; k++) {
        uint64_t rest = k, idx[4], at = 0;

        for (unsigned i = rank; i-- > 0;) { /* destination index of element k */
            idx[dma_transpose_axis(rank, i)] = rest % plan->shape[dma_transpose_axis(rank, i)];
            rest /= plan->shape[dma_transpose_axis(rank, i)];
        }
        for (unsigned i = 0; i < rank; i++)
            at = at * plan->shape[i] + idx[i];
        for (unsigned b = 0; b < plan->tsize; b++)
            *side_at(&plan->to, w, w->dst_shift, k * plan->tsize + b) =
                *side_at(&plan->from[0], w, w->src_shift, at * plan->tsize + b);
    }
}

void dma_plan_run_rows(const struct dma_plan *plan, const struct dma_where *w, unsigned first,
                       unsigned end)
{
    const struct dma_nest *n = plan->nest;
    const struct dma_nest_dim *k = &n->dim[n->ndim - 1];
    uint8_t *d = side_base(&plan->to, w) + plan->to.off + w->dst_shift + first * k->dst;
    const uint8_t *s =
        side_base(&plan->from[0], w) + plan->from[0].off + w->src_shift + first * k->src;

    for (unsigned i = first; i < end; i++, s += k->src, d += k->dst)
        copy_nest(n, n->ndim - 1, d, s);
}

/* ---- large copies over the kernel pool ---- */

#define SHARE_PARTS 16u /* more than threads, which need not all run at the same speed */

struct shared_copy {
    const struct dma_plan *plan;
    const struct dma_where *where;
    unsigned parts;
};

static void shared_part(void *arg, unsigned part)
{
    const struct shared_copy *c = arg;
    unsigned rows = c->plan->rows;

    dma_plan_run_rows(c->plan, c->where, rows * part / c->parts, rows * (part + 1) / c->parts);
}

static uint64_t step_size(const struct dma_nest_dim *k)
{
    return k->dst < 0 ? (uint64_t)-k->dst : (uint64_t)k->dst;
}

/* Whether no byte is written twice, so that the order does not show: from the smallest step up,
 * each is at least as long as what the smaller ones reach. Steps that interleave are not
 * recognised. */
static bool writes_once(const struct dma_nest *n)
{
    uint64_t reach = n->unit;
    uint32_t done = 0;

    for (unsigned k = 0; k < n->ndim; k++) {
        unsigned least = n->ndim;

        for (unsigned i = 0; i < n->ndim; i++)
            if ((done >> i & 1) == 0 &&
                (least == n->ndim || step_size(&n->dim[i]) < step_size(&n->dim[least])))
                least = i;
        if (step_size(&n->dim[least]) < reach)
            return false;
        reach += step_size(&n->dim[least]) * (n->dim[least].n - 1);
        done |= 1u << least;
    }
    return true;
}

/* Rows lie in different partitions on one side and in HBM on the other: the sides never overlap. */
static void copy_run(const struct dma_plan *plan, const struct dma_where *w)
{
    struct shared_copy c = {plan, w, plan->rows < SHARE_PARTS ? plan->rows : SHARE_PARTS};
    struct run_pool *pool = w->core->kc.pool;

    if (plan->bytes >= RUN_SHARE_BYTES && c.parts > 1 && run_pool_size(pool) > 1 &&
        writes_once(plan->nest))
        run_pool_for(pool, c.parts, shared_part, &c);
    else
        copy_nest(plan->nest, plan->nest->ndim,
                  side_base(&plan->to, w) + plan->to.off + w->dst_shift,
                  side_base(&plan->from[0], w) + plan->from[0].off + w->src_shift);
}

bool dma_plan_run(const struct dma_plan *plan, const struct dma_where *w)
{
    struct kernel_rng *sr = w->core->kc.stochastic_rounding ? &w->core->dma_rng : NULL;
    struct cast c;

    switch ((enum dma_plan_kind)plan->kind) {
    case PLAN_NOTHING:
        break;
    case PLAN_COPY_NEST:
        copy_run(plan, w);
        break;
    case PLAN_COPY_ITER:
        copy_iter(plan, w);
        break;
    case PLAN_CAST_NEST:
        c = (struct cast){plan->nest,
                          (enum dtype)plan->from[0].dtype,
                          (enum dtype)plan->to.dtype,
                          plan->from[0].esize,
                          plan->to.esize,
                          w->core->staging,
                          sr};
        cast_nest(&c, plan->nest->ndim, side_base(&plan->to, w) + plan->to.off + w->dst_shift,
                  side_base(&plan->from[0], w) + plan->from[0].off + w->src_shift);
        break;
    case PLAN_FOLD:
        return fold_run(plan, w, sr);
    case PLAN_TRANSPOSE:
        transpose_slow(plan, w);
        break;
    }
    return false;
}
