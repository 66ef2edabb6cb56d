/* SPDX-License-Identifier: Apache-2.0 */
/* affine_select, range_select, select_reduce (neuroncore.md 4.4). */
#include "kernel/kernel_int.h"

#include <string.h>

#define FMIN (-3.4028234663852886e38f)

/* ---- affine patterns ------------------------------------------------------------------------- */

uint32_t k_pattern_count(const struct isa_pattern *p)
{
    uint64_t n = 1;

    for (unsigned d = 0; d < p->ndim && d < 4; d++) {
        n *= p->num[d];
        if (n > K_MAX_ELEMS)
            return 0;
    }
    return p->ndim >= 1 && p->ndim <= 4 ? (uint32_t)n : 0;
}

void k_pattern_fill(const struct isa_pattern *p, uint32_t *out)
{
    uint32_t n = 1;

    out[0] = 0;
    for (unsigned d = 0; d < p->ndim; d++) {
        for (uint32_t i = 1; i < p->num[d]; i++)
            for (uint32_t j = 0; j < n; j++)
                out[i * n + j] = out[j] + i * (uint32_t)p->step[d]; /* wraps */
        n *= p->num[d];
    }
}

uint32_t k_pattern_base(const struct k_run *r, unsigned k)
{
    const struct isa_pattern *p = &r->rec->x.pattern;
    uint32_t base = (uint32_t)p->offset + k * (uint32_t)p->channel_multiplier;

    return p->off_reg != ISA_NO_REG ? base + r->regs[p->off_reg] : base;
}

NRT_STATUS k_check_pattern(struct k_lower *l, const struct k_rec *rec)
{
    const struct isa_pattern *p = &rec->x.pattern;

    if (k_pattern_count(p) != rec->t[0].n)
        return k_refuse(l, "pattern elements", k_pattern_count(p));
    if (p->off_reg != ISA_NO_REG && p->off_reg >= ISA_REGS)
        return k_refuse(l, "pattern register", p->off_reg);
    return NRT_SUCCESS;
}

/* ---- affine_select --------------------------------------------------------------------------- */

static bool cmp_int(unsigned op, int32_t x)
{
    switch (op) {
    case ISA_ALU_EQ:
        return x == 0;
    case ISA_ALU_NE:
        return x != 0;
    case ISA_ALU_GE:
        return x >= 0;
    case ISA_ALU_GT:
        return x > 0;
    case ISA_ALU_LE:
        return x <= 0;
    default:
        return x < 0;
    }
}

static bool cmp_float(unsigned op, float x, float y)
{
    switch (op) {
    case ISA_ALU_EQ:
        return x == y;
    case ISA_ALU_NE:
        return x != y;
    case ISA_ALU_GE:
        return x >= y;
    case ISA_ALU_GT:
        return x > y;
    case ISA_ALU_LE:
        return x <= y;
    default:
        return x < y;
    }
}

static bool is_cmp(unsigned op)
{
    return op >= ISA_ALU_EQ && op <= ISA_ALU_LT;
}

static void ew_affine(struct k_run *r, const float *const *in, float *out, uint32_t n)
{
    const uint32_t *pat = (const uint32_t *)(const void *)r->buf[4] + r->pos;
    uint32_t base = k_pattern_base(r, r->k);
    float on_false = r->sf[0];
    const float *x = in[0];

#define PICK(cond)                            \
    for (uint32_t i = 0; i < n; i++) {        \
        int32_t a = (int32_t)(base + pat[i]); \
        out[i] = (cond) ? x[i] : on_false;    \
    }
    switch (r->rec->cmp0) {
    case ISA_ALU_GE:
        PICK(a >= 0)
        break;
    case ISA_ALU_GT:
        PICK(a > 0)
        break;
    default:
        PICK(cmp_int(r->rec->cmp0, a))
    }
#undef PICK
}

static NRT_STATUS run_affine_select(const struct kernel_op *op, struct kernel_core *kc,
                                    const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);

    if (st != NRT_SUCCESS)
        return st;
    k_pattern_fill(&r.rec->x.pattern, (uint32_t *)(void *)r.buf[4]);
    k_elementwise(&r, 1, 1, false, ew_affine);
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_affine_select(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_affine_select, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS)
        return st;
    if (!is_cmp(rec->cmp0))
        return k_refuse(l, "comparison", rec->cmp0);
    return k_check_pattern(l, rec);
}

/* ---- range_select ---------------------------------------------------------------------------- */

static NRT_STATUS run_range_select(const struct kernel_op *op, struct kernel_core *kc,
                                   const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_rec *rec = r.rec;
    struct k_fold f;

    if (st != NRT_SUCCESS)
        return st;
    for (r.k = 0; r.k < rec->nrows; r.k++) {
        float b0 = k_scalar_f32(&r, 0, r.k), b1 = k_scalar_f32(&r, 1, r.k);
        float start = k_scalar_f32(&r, 2, r.k);

        k_fold_begin(&r, &f, ISA_ALU_MAX, rec->t[1].part + r.k, 0.0f);
        for (r.pos = 0; r.pos < rec->t[0].n; r.pos += r.chunk) {
            uint32_t left = rec->t[0].n - r.pos, n = left < r.chunk ? left : r.chunk;
            const float *in = k_read(&r, 1, r.k, r.pos, n, r.buf[1]);
            float *out = k_out(&r, 0, r.k, r.pos, r.buf[0]);

            for (uint32_t i = 0; i < n; i++) {
                float at = start + (float)(r.pos + i);

                out[i] =
                    cmp_float(rec->cmp0, at, b0) && cmp_float(rec->cmp1, at, b1) ? in[i] : FMIN;
            }
            k_fold_chunk(&r, &f, out, in, n);
            k_write(&r, 0, r.k, r.pos, n, out);
        }
        k_fold_end(&r, &f, 2, false, false);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_range_select(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 3, run_range_select, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS)
        return st;
    if (!is_cmp(rec->cmp0) || !is_cmp(rec->cmp1))
        return k_refuse(l, "comparison", is_cmp(rec->cmp0) ? rec->cmp1 : rec->cmp0);
    return k_check_fold(l, rec, ISA_ALU_MAX, 2);
}

/* ---- select_reduce --------------------------------------------------------------------------- */

static NRT_STATUS run_select_reduce(const struct kernel_op *op, struct kernel_core *kc,
                                    const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_rec *rec = r.rec;
    const struct k_tile *d, *p, *s;
    struct k_fold f;

    if (st != NRT_SUCCESS)
        return st;
    d = &rec->t[0];
    p = &rec->t[1];
    s = &rec->t[2];
    for (r.k = 0; r.k < rec->nrows; r.k++) {
        float on_false = k_scalar_f32(&r, 0, r.k), *out = r.buf[0];
        uint8_t *pred = r.raw, *cells = (uint8_t *)r.buf[4], *keep = (uint8_t *)r.buf[2];

        memcpy(out, k_read(&r, 2, r.k, 0, d->n, r.buf[1]), d->n * sizeof(*out));
        k_gather(p, k_row(&r, 1, r.k), 0, d->n, pred);
        for (uint32_t i = 0; i < d->n; i++) {
            keep[i] =
                (k_cell(pred + (size_t)i * p->esize, p->esize) != 0) != (rec->reverse_pred != 0);
            out[i] = keep[i] ? out[i] : on_false;
        }
        k_fold_begin(&r, &f, ISA_ALU_MAX, s->part + r.k, 0.0f);
        if (rec->reduce_op != ISA_ALU_NONE)
            k_fold_chunk(&r, &f, out, out, d->n);
        if (d->dtype == s->dtype) {
            /* selected elements keep their bits */
            uint8_t *bits = (uint8_t *)r.buf[3];

            k_encode(&r, 0, r.k, d->n, out, cells);
            k_gather(s, k_row(&r, 2, r.k), 0, d->n, bits);
            for (uint32_t i = 0; i < d->n; i++)
                if (keep[i])
                    memcpy(cells + (size_t)i * d->esize, bits + (size_t)i * d->esize, d->esize);
            k_scatter(d, k_row(&r, 0, r.k), 0, d->n, cells);
        } else {
            k_write(&r, 0, r.k, 0, d->n, out);
        }
        if (rec->reduce_op != ISA_ALU_NONE || rec->t[3].n != 0)
            k_fold_end(&r, &f, 3, false, false);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_select_reduce(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 4, run_select_reduce, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS ||
        (st = k_same_shape(l, rec, 0, 2)) != NRT_SUCCESS)
        return st;
    if (rec->t[0].esize > 4 || rec->t[1].esize > 4 || rec->t[2].esize > 4)
        return k_refuse(l, "64-bit operand, dtype", rec->t[0].dtype);
    if (rec->reduce_op == ISA_ALU_NONE)
        rec->reduce_cmd = ISA_RC_IDLE;
    return k_check_fold(l, rec, ISA_ALU_MAX, 3);
}
