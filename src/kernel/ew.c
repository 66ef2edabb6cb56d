/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise instructions: memset, copies, tensor_tensor, tensor_scalar, scalar_tensor_tensor,
 * reciprocal (neuroncore.md 4.2). */
#include "kernel/kernel_int.h"

#include <string.h>

#include "run/run.h"

/* ---- memset ---------------------------------------------------------------------------------- */

static NRT_STATUS run_memset(const struct kernel_op *op, struct kernel_core *kc,
                             const uint32_t *regs, struct err *err)
{
    struct k_run r;
    const struct k_tile *t;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    uint32_t bits;
    uint8_t *cell = r.raw;

    if (st != NRT_SUCCESS)
        return st;
    t = &r.rec->t[0];
    bits = k_scalar_bits(&r, 0, 0); /* little-endian: the low bytes are the cell */
    for (uint32_t i = 0; i < t->n; i++)
        memcpy(cell + (size_t)i * t->esize, &bits, t->esize);
    for (unsigned k = 0; k < r.rec->nrows; k++)
        k_scatter(t, k_row(&r, 0, k), 0, t->n, cell);
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_memset(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 1, run_memset, &st);

    if (rec == NULL)
        return st;
    if (rec->t[0].n == 0)
        return k_refuse(l, "absent operand", 0);
    return NRT_SUCCESS;
}

/* ---- copies ---------------------------------------------------------------------------------- */

#define SHARE_PARTS 8u /* more than threads, which need not all run at the same speed */

static void copy_part(void *arg, unsigned part)
{
    const struct k_run *r = arg;
    unsigned rows = r->end - r->first, end = r->first + rows * (part + 1) / SHARE_PARTS;
    size_t bytes = (size_t)r->rec->t[0].n * r->rec->t[0].esize;

    for (unsigned k = r->first + rows * part / SHARE_PARTS; k < end; k++)
        memmove(k_row(r, 0, k), k_row(r, 1, k), bytes);
}

/* Bits from tile 1 to tile 0, row k to row k. */
static void move_rows(struct k_run *r)
{
    const struct k_tile *d = &r->rec->t[0], *s = &r->rec->t[1];

    if (d->contig && s->contig) {
        if ((size_t)d->n * d->esize * (r->end - r->first) >= RUN_SHARE_BYTES)
            run_pool_for(r->kc->pool, SHARE_PARTS, copy_part, r);
        else
            for (unsigned part = 0; part < SHARE_PARTS; part++)
                copy_part(r, part);
        return;
    }
    for (unsigned k = r->first; k < r->end; k++) {
        uint8_t *to = k_row(r, 0, k);
        const uint8_t *from = k_row(r, 1, k);

        if (s->contig && !r->copy) {
            k_scatter(d, to, 0, d->n, from);
        } else if (d->contig && !r->copy) {
            k_gather(s, from, 0, s->n, to);
        } else {
            k_gather(s, from, 0, s->n, r->raw);
            k_scatter(d, to, 0, d->n, r->raw);
        }
    }
}

static NRT_STATUS run_move(const struct kernel_op *op, struct kernel_core *kc, const uint32_t *regs,
                           struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);

    if (st != NRT_SUCCESS)
        return st;
    move_rows(&r);
    return NRT_SUCCESS;
}

static NRT_STATUS run_cast(const struct kernel_op *op, struct kernel_core *kc, const uint32_t *regs,
                           struct err *err)
{
    struct k_run r;
    const struct k_tile *d;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);

    if (st != NRT_SUCCESS)
        return st;
    d = &r.rec->t[0];
    /* Straight from the source's fp32 view into the destination's type. */
    for (unsigned k = r.first; k < r.end; k++)
        for (uint32_t i = 0; i < d->n; i += r.chunk) {
            uint32_t n = d->n - i < r.chunk ? d->n - i : r.chunk;

            k_write(&r, 0, k, i, n, k_read(&r, 1, k, i, n, r.buf[0]));
        }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_tensor_copy(struct k_lower *l)
{
    const struct isa_compute *c = &l->r->body.c;
    bool act_v2 = l->r->engine == ISA_ACT && l->kc->gen == ISA_V2;
    bool move = c->t[0].dtype == c->t[1].dtype && !act_v2;
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, move ? run_move : run_cast, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS)
        return st;
    l->op->shares = move && rec->t[0].contig && rec->t[1].contig;
    k_offer_rows(l, rec, 1);
    return NRT_SUCCESS;
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

static void ew_tensor_tensor(struct k_run *r, const float *const *in, float *out, uint32_t n)
{
    r->vec->bin[r->rec->op0](out, in[0], in[1], n);
}

static void scalar_stage(const struct k_run *r, unsigned op, bool reversed, float *out,
                         const float *x, float s, uint32_t n)
{
    (reversed ? r->vec->bin_r : r->vec->bin_s)[op](out, x, s, n);
}

/* Whether both operators of the record are one loop. */
static bool is_pair(const struct k_rec *rec)
{
    return rec->pair0 < K_PAIRS;
}

static void find_pair(struct k_rec *rec)
{
    rec->pair0 = (uint8_t)k_pair_index(rec->op0);
    rec->pair1 = (uint8_t)k_pair_index(rec->op1);
    if (rec->reverse != 0 || rec->pair1 == K_PAIRS)
        rec->pair0 = K_PAIRS;
}

static void ew_tensor_scalar(struct k_run *r, const float *const *in, float *out, uint32_t n)
{
    const struct k_rec *rec = r->rec;

    if (is_pair(rec)) {
        r->vec->pair_s[rec->pair0][rec->pair1](out, in[0], r->sf[0], r->sf[1], n);
        return;
    }
    scalar_stage(r, rec->op0, rec->reverse & 1, out, in[0], r->sf[0], n);
    if (rec->op1 != ISA_ALU_NONE)
        scalar_stage(r, rec->op1, rec->reverse & 2, out, out, r->sf[1], n);
}

static void ew_scalar_tensor_tensor(struct k_run *r, const float *const *in, float *out, uint32_t n)
{
    const struct k_rec *rec = r->rec;
    float *t = r->buf[3]; /* out may be in[1] itself */

    if (is_pair(rec)) {
        r->vec->pair[rec->pair0][rec->pair1](out, in[0], r->sf[0], in[1], n);
        return;
    }
    scalar_stage(r, rec->op0, rec->reverse & 1, t, in[0], r->sf[0], n);
    if (rec->op1 == ISA_ALU_NONE)
        memcpy(out, t, n * sizeof(*out));
    else if (rec->reverse & 2)
        r->vec->bin[rec->op1](out, in[1], t, n);
    else
        r->vec->bin[rec->op1](out, t, in[1], n);
}

static void ew_reciprocal(struct k_run *r, const float *const *in, float *out, uint32_t n)
{
    r->vec->bin_s[ISA_ALU_RECIPROCAL](out, in[0], 0.0f, n);
}

#define RUN_EW(name, nin)                                                            \
    static NRT_STATUS run_##name(const struct kernel_op *op, struct kernel_core *kc, \
                                 const uint32_t *regs, struct err *err)              \
    {                                                                                \
        struct k_run r;                                                              \
        NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);                          \
        if (st != NRT_SUCCESS)                                                       \
            return st;                                                               \
        k_elementwise(&r, 1, nin, true, ew_##name);                                  \
        k_run_end(&r);                                                               \
        return NRT_SUCCESS;                                                          \
    }
RUN_EW(tensor_tensor, 2)
RUN_EW(tensor_scalar, 1)
RUN_EW(scalar_tensor_tensor, 2)
RUN_EW(reciprocal, 1)

/* ---- integer and bit arithmetic -------------------------------------------------------------- */

static bool int_op_native(unsigned op)
{
    return op != ISA_ALU_NONE && op <= ISA_ALU_LOGICAL_NOT;
}

static uint64_t cut(uint64_t v, unsigned size)
{
    return size == 8 ? v : v & ((1ull << size * 8) - 1);
}

static NRT_STATUS run_int_tensor_tensor(const struct kernel_op *op, struct kernel_core *kc,
                                        const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_tile *d;
    unsigned size;
    bool sgn;

    if (st != NRT_SUCCESS)
        return st;
    d = &r.rec->t[0];
    size = d->esize;
    sgn = dtype_kind((enum dtype)r.rec->t[1].dtype) == DTK_INT;
    for (unsigned k = 0; k < r.rec->nrows; k++) {
        uint8_t *x = r.raw, *y = r.raw2;

        k_gather(&r.rec->t[1], k_row(&r, 1, k), 0, d->n, x);
        k_gather(&r.rec->t[2], k_row(&r, 2, k), 0, d->n, y);
        for (uint32_t i = 0; i < d->n; i++, x += size, y += size) {
            uint64_t v = k_int_op(r.rec->op0, k_cell(x, size), k_cell(y, size), size, sgn);

            memcpy(x, &v, size);
        }
        k_scatter(d, k_row(&r, 0, k), 0, d->n, r.raw);
    }
    return NRT_SUCCESS;
}

static NRT_STATUS run_bit_tensor_scalar(const struct kernel_op *op, struct kernel_core *kc,
                                        const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_rec *rec = r.rec;
    const struct k_tile *d;
    unsigned size;

    if (st != NRT_SUCCESS)
        return st;
    d = &rec->t[0];
    size = d->esize;
    for (unsigned k = 0; k < rec->nrows; k++) {
        uint64_t a = cut(k_scalar_bits(&r, 0, k), size), b = cut(k_scalar_bits(&r, 1, k), size);
        uint8_t *p = r.raw;

        k_gather(&rec->t[1], k_row(&r, 1, k), 0, d->n, p);
        for (uint32_t i = 0; i < d->n; i++, p += size) {
            uint64_t v = k_cell(p, size);

            v = rec->reverse & 1 ? k_int_op(rec->op0, a, v, size, false)
                                 : k_int_op(rec->op0, v, a, size, false);
            if (rec->op1 != ISA_ALU_NONE) {
                v = cut(v, size);
                v = rec->reverse & 2 ? k_int_op(rec->op1, b, v, size, false)
                                     : k_int_op(rec->op1, v, b, size, false);
            }
            memcpy(p, &v, size);
        }
        k_scatter(d, k_row(&r, 0, k), 0, d->n, r.raw);
    }
    return NRT_SUCCESS;
}

/* ---- lowering -------------------------------------------------------------------------------- */

NRT_STATUS k_lower_tensor_tensor(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 3, run_tensor_tensor, &st);
    bool bits, int32 = true;

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS ||
        (st = k_same_shape(l, rec, 0, 2)) != NRT_SUCCESS)
        return st;
    l->op->flops = (uint64_t)rec->t[0].n * rec->nrows;
    bits = isa_alu_is_bit(rec->op0);
    for (unsigned i = 0; i < 3; i++)
        int32 = int32 && (rec->t[i].dtype == DT_INT32 || rec->t[i].dtype == DT_UINT32);
    if (bits || (int32 && rec->engine == ISA_POOL && int_op_native(rec->op0))) {
        l->op->fn = run_int_tensor_tensor;
        return bits ? k_bit_types(l, rec, 3) : NRT_SUCCESS;
    }
    if (!k_float_op(rec->vec, rec->op0))
        return k_refuse(l, "operator", rec->op0);
    k_offer_rows(l, rec, 1);
    k_offer_join(l, rec);
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_tensor_scalar(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_tensor_scalar, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS)
        return st;
    find_pair(rec);
    l->op->flops = (uint64_t)rec->t[0].n * rec->nrows * (rec->op1 != ISA_ALU_NONE ? 2 : 1);
    if (isa_alu_is_bit(rec->op0) || isa_alu_is_bit(rec->op1)) {
        /* bypass is the one operator of both classes */
        if ((!isa_alu_is_bit(rec->op0) && rec->op0 != ISA_ALU_BYPASS) ||
            (!isa_alu_is_bit(rec->op1) && rec->op1 != ISA_ALU_BYPASS && rec->op1 != ISA_ALU_NONE))
            return k_refuse(l, "bit and arithmetic operators in one record, operator", rec->op0);
        l->op->fn = run_bit_tensor_scalar;
        return k_bit_types(l, rec, 2);
    }
    if (!k_float_op(rec->vec, rec->op0))
        return k_refuse(l, "operator", rec->op0);
    if (rec->op1 != ISA_ALU_NONE && !k_float_op(rec->vec, rec->op1))
        return k_refuse(l, "operator", rec->op1);
    k_offer_rows(l, rec, 1);
    k_offer_join(l, rec);
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_scalar_tensor_tensor(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 3, run_scalar_tensor_tensor, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS ||
        (st = k_same_shape(l, rec, 0, 2)) != NRT_SUCCESS)
        return st;
    find_pair(rec);
    l->op->flops = (uint64_t)rec->t[0].n * rec->nrows * 2;
    if (!k_float_op(rec->vec, rec->op0))
        return k_refuse(l, "operator", rec->op0);
    if (rec->op1 != ISA_ALU_NONE && !k_float_op(rec->vec, rec->op1))
        return k_refuse(l, "operator", rec->op1);
    k_offer_rows(l, rec, 1);
    k_offer_join(l, rec);
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_reciprocal(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_reciprocal, &st);

    if (rec == NULL)
        return st;
    l->op->flops = (uint64_t)rec->t[0].n * rec->nrows;
    if ((st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS)
        return st;
    k_offer_rows(l, rec, 1);
    return NRT_SUCCESS;
}
