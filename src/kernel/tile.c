/* SPDX-License-Identifier: Apache-2.0 */
/* Operands: from the record's pattern to host memory and back. */
#include "kernel/kernel_int.h"

#include <math.h>
#include <string.h>

size_t k_stride(const struct kernel_core *kc, uint8_t mem)
{
    return mem == ISA_PSUM ? kc->psum_stride : kc->sbuf_stride;
}

static uint32_t row_bytes(const struct kernel_core *kc, uint8_t mem)
{
    return mem == ISA_PSUM ? ISA_PSUM_BYTES : kc->sbuf_bytes;
}

static uint8_t *mem_base(const struct kernel_core *kc, uint8_t mem)
{
    return mem == ISA_PSUM ? kc->psum : kc->sbuf;
}

static void merge_dims(struct k_tile *t, const struct isa_tensor *s)
{
    t->ndim = 0;
    for (unsigned d = 0; d < s->ndim; d++) {
        int64_t step = (int64_t)s->dim[d].step * t->esize;
        struct k_dim *last = t->ndim > 0 ? &t->dim[t->ndim - 1] : NULL;

        if (s->dim[d].num == 1)
            continue;
        if (last != NULL && (int64_t)last->step * last->num == step) {
            last->num *= s->dim[d].num;
            continue;
        }
        t->dim[t->ndim].step = (int32_t)step;
        t->dim[t->ndim++].num = s->dim[d].num;
    }
    if (t->ndim == 0) {
        t->dim[0].step = t->esize;
        t->dim[0].num = 1;
        t->ndim = 1;
    }
    t->contig = t->ndim == 1 && t->dim[0].step == t->esize;
}

static NRT_STATUS tile_resolve(const struct kernel_core *kc, const struct isa_tensor *s,
                               unsigned index, struct k_tile *t, struct err *err)
{
    uint64_t n = 1;
    int64_t lo = 0, hi;
    uint32_t total;

    if (s->mem == ISA_MEM_NONE)
        return NRT_SUCCESS; /* absent: n stays 0 */
    if (s->mem != ISA_SBUF && s->mem != ISA_PSUM)
        return err_set(err, NRT_INVALID, "operand %u: memory %u", index, s->mem);
    t->esize = (uint8_t)dtype_size((enum dtype)s->dtype);
    if (t->esize == 0 || s->ndim < 1 || s->ndim > 4)
        return err_set(err, NRT_INVALID, "operand %u: dtype %u, %u dimensions", index, s->dtype,
                       s->ndim);
    if (s->nparts == 0 || s->part + s->nparts > ISA_PARTITIONS)
        return err_set(err, NRT_INVALID, "operand %u: partitions %u + %u", index, s->part,
                       s->nparts);
    t->mem = s->mem;
    t->dtype = s->dtype;
    t->part = s->part;
    t->nparts = s->nparts;
    t->off_reg = s->off_reg;
    t->off_mul = s->off_mul;
    t->offset = s->offset;
    hi = t->esize;
    for (unsigned d = 0; d < s->ndim; d++) {
        int64_t span = (int64_t)s->dim[d].step * t->esize * ((int64_t)s->dim[d].num - 1);

        if (s->dim[d].num == 0 || (n *= s->dim[d].num) > K_MAX_ELEMS)
            return err_set(err, NRT_INVALID, "operand %u: number of elements", index);
        if (span < 0)
            lo += span;
        else
            hi += span;
    }
    total = row_bytes(kc, s->mem);
    /* With an offset register only the span must fit; the run checks the place. */
    if (s->off_reg != ISA_NO_REG ? s->off_reg >= ISA_REGS || hi - lo > total || s->offset > total
                                 : (int64_t)s->offset + lo < 0 || (int64_t)s->offset + hi > total)
        return err_set(err, NRT_INVALID, "operand %u: bytes %lld to %lld of a partition of %u",
                       index, (long long)s->offset + lo, (long long)s->offset + hi, total);
    t->n = (uint32_t)n;
    t->lo = (int32_t)lo;
    t->hi = (int32_t)hi;
    t->row = mem_base(kc, s->mem) + s->part * k_stride(kc, s->mem) + s->offset;
    merge_dims(t, s);
    return NRT_SUCCESS;
}

static NRT_STATUS scalar_resolve(const struct kernel_core *kc, const struct isa_scalar *s,
                                 unsigned index, unsigned nrows, struct k_scalar *k,
                                 struct err *err)
{
    k->kind = s->kind;
    k->bits = s->v;
    if (s->kind == ISA_SC_REG) {
        if (s->v >= ISA_REGS)
            return err_set(err, NRT_INVALID, "scalar %u: register %u", index, s->v);
        k->reg = (uint8_t)s->v;
    } else if (s->kind == ISA_SC_TILE) {
        size_t size = dtype_size((enum dtype)s->dtype);

        if ((s->mem != ISA_SBUF && s->mem != ISA_PSUM) || size == 0 ||
            s->part + nrows > ISA_PARTITIONS || s->v > row_bytes(kc, s->mem) ||
            s->v + size > row_bytes(kc, s->mem))
            return err_set(err, NRT_INVALID, "scalar %u: tile at byte %u of partitions %u + %u",
                           index, s->v, s->part, nrows);
        k->mem = s->mem;
        k->dtype = s->dtype;
        k->part = s->part;
        k->row = mem_base(kc, s->mem) + s->part * k_stride(kc, s->mem) + s->v;
    }
    return NRT_SUCCESS;
}

static bool same_walk(const struct k_tile *a, const struct k_tile *b)
{
    return a->esize == b->esize && a->ndim == b->ndim &&
           memcmp(a->dim, b->dim, a->ndim * sizeof(a->dim[0])) == 0;
}

/* Whether writing a (at row ra) disturbs elements of b (at rb) that are read later. */
static bool disturbs(const struct k_tile *a, const uint8_t *ra, const struct k_tile *b,
                     const uint8_t *rb)
{
    if (a->n == 0 || b->n == 0 || a->mem != b->mem || a->part >= b->part + b->nparts ||
        b->part >= a->part + a->nparts)
        return false;
    if (a->part == b->part && (ra + a->hi <= rb + b->lo || rb + b->hi <= ra + a->lo))
        return false;
    return !(ra == rb && same_walk(a, b));
}

NRT_STATUS k_rec_new(const struct isa_record *r, struct kernel_core *kc, enum kernel_math math,
                     unsigned ntiles, struct arena *arena, struct k_rec **ret, struct err *err)
{
    const struct isa_compute *c = &r->body.c;
    struct k_rec *rec = arena_alloc(arena, sizeof(struct k_rec) + ntiles * sizeof(struct k_tile));
    NRT_STATUS st;

    if (rec == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for instructions");
    rec->vec = k_vec_choose(math);
    rec->opcode = (uint8_t)r->opcode;
    rec->engine = r->engine < ISA_ENGINES ? r->engine : 0;
    rec->gen = (uint8_t)kc->gen;
    rec->ntiles = (uint8_t)ntiles;
    rec->op0 = c->op0;
    rec->op1 = c->op1;
    rec->reduce_op = c->reduce_op;
    rec->reduce_cmd = c->reduce_cmd;
    rec->reverse = c->reverse;
    rec->act = c->act;
    rec->negate = c->negate;
    rec->acc = c->acc;
    rec->reverse_pred = c->reverse_pred;
    rec->cmp0 = c->cmp0;
    rec->cmp1 = c->cmp1;
    rec->perf_mode = c->perf_mode;
    rec->transpose = c->transpose;
    memcpy(&rec->x, &c->x, sizeof(rec->x));
    for (unsigned i = 0; i < ntiles; i++) {
        st = tile_resolve(kc, &c->t[i], i, &rec->t[i], err);
        if (st != NRT_SUCCESS)
            return st;
        if (rec->t[i].n != 0 && rec->t[i].off_reg != ISA_NO_REG)
            rec->dynamic = true;
    }
    rec->nrows = rec->t[0].n != 0 ? rec->t[0].nparts : ntiles > 1 ? rec->t[1].nparts : 0;
    for (unsigned i = 0; i < 3; i++) {
        st = scalar_resolve(kc, &c->s[i], i, rec->nrows, &rec->s[i], err);
        if (st != NRT_SUCCESS)
            return st;
    }
    for (unsigned i = 1; i < ntiles; i++)
        rec->copy |= disturbs(&rec->t[0], rec->t[0].row, &rec->t[i], rec->t[i].row);
    *ret = rec;
    return NRT_SUCCESS;
}

static NRT_STATUS dynamic_offsets(struct k_run *r, struct err *err)
{
    const struct k_rec *rec = r->rec;

    for (unsigned i = 0; i < rec->ntiles; i++) {
        const struct k_tile *t = &rec->t[i];
        int32_t v;
        int64_t by;
        uint32_t total;

        if (t->n == 0 || t->off_reg == ISA_NO_REG)
            continue;
        v = (int32_t)r->regs[t->off_reg];
        total = row_bytes(r->kc, t->mem);
        by = v * t->off_mul; /* 32 by 32 bits */
        if (by < -(int64_t)total || by > (int64_t)total || t->offset + by * t->esize + t->lo < 0 ||
            t->offset + by * t->esize + t->hi > total)
            return err_set(err, NRT_EXEC_OOB,
                           "operand %u: register r%u = %d times %lld moves its bytes %lld to %lld "
                           "out of a partition of %u",
                           i, t->off_reg, v, (long long)t->off_mul, (long long)t->offset + t->lo,
                           (long long)t->offset + t->hi, total);
        r->row[i] += by * t->esize;
    }
    r->copy = false;
    for (unsigned i = 1; i < rec->ntiles; i++)
        r->copy |= disturbs(&rec->t[0], r->row[0], &rec->t[i], r->row[i]);
    return NRT_SUCCESS;
}

NRT_STATUS k_run_begin(struct k_run *r, const struct kernel_op *op, struct kernel_core *kc,
                       const uint32_t *regs, struct err *err)
{
    return k_run_start(r, (const struct k_rec *)(uintptr_t)op->priv[0], kc, regs, err);
}

NRT_STATUS k_run_start(struct k_run *r, const struct k_rec *rec, struct kernel_core *kc,
                       const uint32_t *regs, struct err *err)
{
    uint8_t *scratch = kc->scratch;

    r->rec = rec;
    r->vec = rec->vec;
    r->kc = kc;
    r->regs = regs;
    r->nan = false;
    r->first = kc->row_first;
    r->end = rec->nrows < kc->row_end ? rec->nrows : kc->row_end;
    r->k = r->first;
    r->pos = 0;
    r->copy = rec->copy;
    r->sf[0] = r->sf[1] = r->sf[2] = 0.0f;
    for (unsigned i = 0; i < rec->ntiles; i++) {
        r->row[i] = rec->t[i].row;
        r->stride[i] = k_stride(kc, rec->t[i].mem);
        if (kc->elsewhere != NULL && (kc->elsewhere->tiles >> i & 1) != 0) {
            r->row[i] = kc->elsewhere->tile[i].row0 - rec->t[i].lo;
            r->stride[i] = (size_t)kc->elsewhere->tile[i].step;
        }
    }
    for (unsigned i = 0; i < K_BUFS; i++)
        r->buf[i] = (float *)(void *)(scratch + i * K_BUF_BYTES);
    r->raw = scratch + K_BUFS * K_BUF_BYTES;
    r->raw2 = scratch + K_BUFS * K_BUF_BYTES + K_RAW_BYTES;
    if (rec->dynamic) {
        NRT_STATUS st = dynamic_offsets(r, err);

        if (st != NRT_SUCCESS)
            return st;
    }
    r->chunk = r->copy ? K_MAX_ELEMS : K_CHUNK;
    return NRT_SUCCESS;
}

void k_run_end(struct k_run *r)
{
    if (r->nan)
        r->kc->nan_count++;
}

/* ---- packed buffers -------------------------------------------------------------------------- */

/* Position in a pattern, walked run by run along the fastest dimension. */
struct walk {
    uint32_t i[4];
    int64_t off; /* bytes of the current element */
};

static void walk_start(struct walk *w, const struct k_tile *t, uint32_t start)
{
    w->off = 0;
    for (unsigned d = 0; d < t->ndim; d++) {
        w->i[d] = start % t->dim[d].num;
        start /= t->dim[d].num;
        w->off += (int64_t)w->i[d] * t->dim[d].step;
    }
}

/* Advance by run elements, which ends at most at the end of the fastest dimension. */
static void walk_next(struct walk *w, const struct k_tile *t, uint32_t run)
{
    w->i[0] += run;
    w->off += (int64_t)run * t->dim[0].step;
    for (unsigned d = 0; d < t->ndim && w->i[d] == t->dim[d].num; d++) {
        w->off -= (int64_t)t->dim[d].num * t->dim[d].step;
        w->i[d] = 0;
        if (d + 1 < t->ndim) {
            w->i[d + 1]++;
            w->off += t->dim[d + 1].step;
        }
    }
}

#define RUN_COPY(type)                                                                      \
    do {                                                                                    \
        for (uint32_t j_ = 0; j_ < n; j_++)                                                 \
            memcpy(out + (size_t)j_ * sizeof(type), in + (int64_t)j_ * step, sizeof(type)); \
    } while (0)

static void run_in(uint8_t *out, const uint8_t *in, int32_t step, uint32_t n, unsigned esize)
{
    if (step == (int32_t)esize) {
        memcpy(out, in, (size_t)n * esize);
        return;
    }
    switch (esize) {
    case 1:
        RUN_COPY(uint8_t);
        break;
    case 2:
        RUN_COPY(uint16_t);
        break;
    case 4:
        RUN_COPY(uint32_t);
        break;
    default:
        RUN_COPY(uint64_t);
    }
}

#undef RUN_COPY
#define RUN_COPY(type)                                                                      \
    do {                                                                                    \
        for (uint32_t j_ = 0; j_ < n; j_++)                                                 \
            memcpy(out + (int64_t)j_ * step, in + (size_t)j_ * sizeof(type), sizeof(type)); \
    } while (0)

static void run_out(uint8_t *out, int32_t step, const uint8_t *in, uint32_t n, unsigned esize)
{
    if (step == (int32_t)esize) {
        memcpy(out, in, (size_t)n * esize);
        return;
    }
    switch (esize) {
    case 1:
        RUN_COPY(uint8_t);
        break;
    case 2:
        RUN_COPY(uint16_t);
        break;
    case 4:
        RUN_COPY(uint32_t);
        break;
    default:
        RUN_COPY(uint64_t);
    }
}

void k_gather(const struct k_tile *t, const uint8_t *row, uint32_t start, uint32_t n, void *out)
{
    uint8_t *o = out;
    struct walk w;

    walk_start(&w, t, start);
    while (n > 0) {
        uint32_t run = t->dim[0].num - w.i[0] < n ? t->dim[0].num - w.i[0] : n;

        run_in(o, row + w.off, t->dim[0].step, run, t->esize);
        o += (size_t)run * t->esize;
        n -= run;
        walk_next(&w, t, run);
    }
}

void k_scatter(const struct k_tile *t, uint8_t *row, uint32_t start, uint32_t n, const void *in)
{
    const uint8_t *p = in;
    struct walk w;

    walk_start(&w, t, start);
    while (n > 0) {
        uint32_t run = t->dim[0].num - w.i[0] < n ? t->dim[0].num - w.i[0] : n;

        run_out(row + w.off, t->dim[0].step, p, run, t->esize);
        p += (size_t)run * t->esize;
        n -= run;
        walk_next(&w, t, run);
    }
}

uint8_t *k_elem(const struct k_tile *t, uint8_t *row, uint32_t i)
{
    struct walk w;

    walk_start(&w, t, i);
    return row + w.off;
}

/* ---- fp32 views ------------------------------------------------------------------------------ */

const float *k_convert_in(const struct k_run *r, unsigned i, unsigned k, uint32_t start, uint32_t n,
                          float *buf)
{
    const struct k_tile *t = &r->rec->t[i];
    const uint8_t *row = k_row(r, i, k);

    if (t->contig) {
        r->vec->load[t->dtype](buf, row + (size_t)start * t->esize, n);
    } else if (k_is_f32(t->dtype) || t->dtype == DT_TF32) {
        k_gather(t, row, start, n, buf);
    } else {
        k_gather(t, row, start, n, r->raw);
        r->vec->load[t->dtype](buf, r->raw, n);
    }
    return buf;
}

/* A float type narrower than fp32 that rounding can choose for. */
static bool takes_sr(uint8_t dtype)
{
    return dtype_is_float((enum dtype)dtype) && !k_is_f32(dtype) && dtype != DT_FP8_E8M0;
}

static void store_sr(const struct k_run *r, const struct k_tile *t, unsigned k, const float *src,
                     uint32_t n, uint8_t *out)
{
    struct kernel_rng *g = &r->kc->sr_rng[r->rec->engine][t->part + k];

    for (uint32_t j = 0; j < n; j++)
        dtype_store_sr((enum dtype)t->dtype, out + (size_t)j * t->esize, src[j],
                       kernel_rng_next(g));
}

/* OCP saturation: clamp to the largest finite value; NaN stays. */
static const float *saturate(const struct k_run *r, uint8_t dtype, const float *src, uint32_t n)
{
    float max = dtype == DT_FP8_E5 ? 57344.0f : 448.0f, *out = r->raw2;

    for (uint32_t j = 0; j < n; j++)
        out[j] = src[j] > max ? max : src[j] < -max ? -max : src[j];
    return out;
}

void k_encode(const struct k_run *r, unsigned i, unsigned k, uint32_t n, const float *src, void *to)
{
    const struct k_tile *t = &r->rec->t[i];

    if (r->kc->saturate_ocp && (t->dtype == DT_FP8_E5 || t->dtype == DT_FP8_E4FN))
        src = saturate(r, t->dtype, src, n);
    if (r->kc->stochastic_rounding && takes_sr(t->dtype))
        store_sr(r, t, k, src, n, to);
    else
        r->vec->store[t->dtype](to, src, n);
}

void k_convert_out(const struct k_run *r, unsigned i, unsigned k, uint32_t start, uint32_t n,
                   const float *src)
{
    const struct k_tile *t = &r->rec->t[i];
    uint8_t *row = k_row(r, i, k);

    if (t->contig) {
        k_encode(r, i, k, n, src, row + (size_t)start * t->esize);
    } else if (k_is_f32(t->dtype)) {
        k_scatter(t, row, start, n, src);
    } else {
        k_encode(r, i, k, n, src, r->raw);
        k_scatter(t, row, start, n, r->raw);
    }
}

/* ---- scalars --------------------------------------------------------------------------------- */

static inline float scalar_f32(const struct k_run *r, unsigned i, unsigned k)
{
    const struct k_scalar *s = &r->rec->s[i];
    uint32_t bits;
    float v;

    switch (s->kind) {
    case ISA_SC_TILE:
        if (s->dtype == DT_FP32) {
            memcpy(&v, s->row + k * k_stride(r->kc, s->mem), sizeof(v));
            return v;
        }
        return dtype_load((enum dtype)s->dtype, s->row + k * k_stride(r->kc, s->mem));
    case ISA_SC_I32:
        return (float)(int32_t)s->bits;
    case ISA_SC_REG:
        bits = r->regs[s->reg];
        break;
    case ISA_SC_F32:
        bits = s->bits;
        break;
    default:
        return 0.0f;
    }
    memcpy(&v, &bits, sizeof(v));
    return v;
}

float k_scalar_f32(const struct k_run *r, unsigned i, unsigned k)
{
    return scalar_f32(r, i, k);
}

uint32_t k_scalar_bits(const struct k_run *r, unsigned i, unsigned k)
{
    const struct k_scalar *s = &r->rec->s[i];
    uint32_t v = 0;

    if (s->kind == ISA_SC_REG)
        return r->regs[s->reg];
    if (s->kind == ISA_SC_TILE) {
        size_t size = dtype_size((enum dtype)s->dtype);

        memcpy(&v, s->row + k * k_stride(r->kc, s->mem), size < 4 ? size : 4);
        return v;
    }
    return s->bits;
}

/* ---- NaN detection --------------------------------------------------------------------------- */

bool k_nan_in(enum dtype t, float v)
{
    uint64_t cell = 0;
    float back;

    if (!dtype_is_float(t))
        return false;
    if (t != DT_FP8_E4FN && t != DT_FP8_E8M0)
        return isnan(v);
    dtype_store(t, &cell, v);
    back = dtype_load(t, &cell);
    return isnan(back);
}

void k_nan_note(struct k_run *r, const float *out, const float *const *in, unsigned nin, uint32_t n)
{
    enum dtype t = (enum dtype)r->rec->t[0].dtype;

    if (r->nan || !dtype_is_float(t))
        return;
    for (unsigned s = 0; s < 3; s++)
        if (r->rec->s[s].kind != ISA_SC_NONE && isnan(r->sf[s]))
            return;
    for (uint32_t j = 0; j < n; j++) {
        bool from = false;

        if (!k_nan_in(t, out[j]))
            continue;
        for (unsigned i = 0; i < nin; i++)
            from |= isnan(in[i][j]);
        if (!from) {
            r->nan = true;
            return;
        }
    }
}

/* ---- the row loop ---------------------------------------------------------------------------- */

/* Whether rows of tile i are fp32 in place: what k_read and k_out give is the memory itself. */
static bool in_place(const struct k_run *r, unsigned i)
{
    return r->rec->t[i].contig && k_is_f32(r->rec->t[i].dtype);
}

static void row_scalars(struct k_run *r)
{
    for (unsigned s = 0; s < 3; s++)
        if (r->rec->s[s].kind != ISA_SC_NONE)
            r->sf[s] = scalar_f32(r, s, r->k);
}

/* A row of fp32 in place, chunk by chunk. */
static void row_in_place(struct k_run *r, const float *const *row, unsigned nin, float *out,
                         k_ew_fn fn)
{
    uint32_t total = r->rec->t[0].n;
    const float *in[3] = {row[0], row[1], row[2]};

    for (r->pos = 0; total - r->pos > K_CHUNK; r->pos += K_CHUNK) {
        fn(r, in, out, K_CHUNK);
        out += K_CHUNK;
        for (unsigned j = 0; j < nin; j++)
            in[j] += K_CHUNK;
    }
    fn(r, in, out, total - r->pos);
}

/* All operands in place: nothing to convert, so nothing to ask for each chunk. */
static void rows_in_place(struct k_run *r, unsigned first, unsigned nin, k_ew_fn fn)
{
    const float *in[3] = {NULL, NULL, NULL};

    for (r->k = r->first; r->k < r->end; r->k++) {
        row_scalars(r);
        for (unsigned j = 0; j < nin; j++)
            in[j] = (const float *)(const void *)k_row(r, first + j, r->k);
        row_in_place(r, in, nin, (float *)(void *)k_row(r, 0, r->k), fn);
    }
}

void k_elementwise(struct k_run *r, unsigned first, unsigned nin, bool check_nan, k_ew_fn fn)
{
    const struct k_rec *rec = r->rec;
    uint32_t total = rec->t[0].n;
    bool note = check_nan && r->kc->check_nan, plain = !r->copy && !r->kc->check_nan;

    for (unsigned i = 0; i < nin; i++)
        plain = plain && in_place(r, first + i);
    if (plain && in_place(r, 0)) {
        rows_in_place(r, first, nin, fn);
        return;
    }
    for (r->k = r->first; r->k < r->end; r->k++) {
        row_scalars(r);
        for (r->pos = 0; r->pos < total; r->pos += r->chunk) {
            uint32_t n = total - r->pos < r->chunk ? total - r->pos : r->chunk;
            const float *in[3] = {NULL, NULL, NULL};
            float *out = k_out(r, 0, r->k, r->pos, r->buf[0]);

            for (unsigned j = 0; j < nin; j++)
                in[j] = k_read(r, first + j, r->k, r->pos, n, r->buf[1 + j]);
            fn(r, in, out, n);
            if (note)
                k_nan_note(r, out, in, nin, n);
            k_write(r, 0, r->k, r->pos, n, out);
        }
    }
}

/* ---- accumulator registers ------------------------------------------------------------------- */

float k_identity(unsigned op)
{
    switch (op) {
    case ISA_ALU_MULTIPLY:
        return 1.0f;
    case ISA_ALU_MAX:
        return -INFINITY;
    case ISA_ALU_MIN:
    case ISA_ALU_ABS_MIN:
        return INFINITY;
    default:
        return 0.0f;
    }
}

bool k_folds(unsigned cmd)
{
    return cmd == ISA_RC_REDUCE || cmd == ISA_RC_RESET_REDUCE || cmd == ISA_RC_LOAD_REDUCE;
}

float k_acc_start(unsigned cmd, unsigned op, float reg, float init)
{
    switch (cmd) {
    case ISA_RC_RESET:
    case ISA_RC_RESET_REDUCE:
        return k_identity(op);
    case ISA_RC_LOAD_REDUCE:
        return init;
    default:
        return reg;
    }
}
