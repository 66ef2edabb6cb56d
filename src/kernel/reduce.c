/* SPDX-License-Identifier: Apache-2.0 */
/* Reductions: tensor_reduce, tensor_partition_reduce, tensor_scalar_reduce (neuroncore.md 4.3). */
#include "kernel/kernel_int.h"

#include <math.h>
#include <string.h>

/* Where a fold over given elements starts: logic from its identity, others from the first. */
static bool logic_start(unsigned op, float *ret)
{
    *ret = op == ISA_ALU_LOGICAL_AND ? 1.0f : 0.0f;
    return op == ISA_ALU_LOGICAL_AND || op == ISA_ALU_LOGICAL_OR || op == ISA_ALU_LOGICAL_XOR;
}

static float fold_all(const struct k_vec *v, unsigned op, const float *in, uint32_t n)
{
    float start;

    if (logic_start(op, &start))
        return v->fold[op](start, in, n);
    return v->fold[op](in[0], in + 1, n - 1);
}

/* ---- tensor_reduce --------------------------------------------------------------------------- */

static NRT_STATUS run_tensor_reduce(const struct kernel_op *op, struct kernel_core *kc,
                                    const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_rec *rec = r.rec;
    uint32_t outer, inner;

    if (st != NRT_SUCCESS)
        return st;
    outer = rec->t[0].n;
    inner = rec->inner;
    for (; r.k < r.end; r.k++) {
        const float *in = k_read(&r, 1, r.k, 0, rec->t[1].n, r.buf[1]);
        float *out = r.buf[0];

        for (uint32_t i = 0; i < outer; i++) {
            const float *part = in + (size_t)i * inner;

            out[i] = fold_all(r.vec, rec->op0, part, inner);
            if (rec->negate)
                out[i] = -out[i];
            if (kc->check_nan && k_nan_in((enum dtype)rec->t[0].dtype, out[i]) &&
                !r.vec->has_nan(part, inner))
                r.nan = true;
        }
        k_write(&r, 0, r.k, 0, outer, out);
    }
    k_run_end(&r);
    return NRT_SUCCESS;
}

static NRT_STATUS run_bit_reduce(const struct kernel_op *op, struct kernel_core *kc,
                                 const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_rec *rec = r.rec;
    const struct k_tile *d, *s;

    if (st != NRT_SUCCESS)
        return st;
    d = &rec->t[0];
    s = &rec->t[1];
    for (unsigned k = 0; k < rec->nrows; k++) {
        const uint8_t *p = r.raw;
        uint8_t *out = r.raw2;

        k_gather(s, k_row(&r, 1, k), 0, s->n, r.raw);
        for (uint32_t i = 0; i < d->n; i++, out += d->esize) {
            uint64_t v = k_cell(p, s->esize);

            p += s->esize;
            for (uint32_t j = 1; j < rec->inner; j++, p += s->esize)
                v = k_int_op(rec->op0, v, k_cell(p, s->esize), s->esize, false);
            memcpy(out, &v, d->esize);
        }
        k_scatter(d, k_row(&r, 0, k), 0, d->n, r.raw2);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_tensor_reduce(struct k_lower *l)
{
    const struct isa_compute *c = &l->r->body.c;
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_tensor_reduce, &st);
    uint64_t inner = 1;

    if (rec == NULL)
        return st;
    if (rec->t[0].n == 0 || rec->t[1].n == 0)
        return k_refuse(l, "absent operand", rec->t[0].n != 0);
    if (c->naxes < 1 || c->naxes > c->t[1].ndim)
        return k_refuse(l, "reduced dimensions", c->naxes);
    for (unsigned d = 0; d < c->naxes; d++)
        inner *= c->t[1].dim[d].num;
    rec->inner = (uint32_t)inner; /* at most K_MAX_ELEMS, as the whole pattern is */
    if ((uint64_t)rec->t[0].n * inner != rec->t[1].n)
        return k_refuse(l, "elements of operand", 0);
    if (rec->t[0].nparts != rec->t[1].nparts)
        return k_refuse(l, "partitions of operand", 1);
    l->op->flops = (uint64_t)rec->t[1].n * rec->nrows;
    if (isa_alu_is_bit(rec->op0)) {
        l->op->fn = run_bit_reduce;
        return k_bit_types(l, rec, 2);
    }
    if (rec->op0 >= ISA_ALU_COUNT || rec->vec->fold[rec->op0] == NULL)
        return k_refuse(l, "operator", rec->op0);
    k_offer_rows(l, rec, 1);
    return NRT_SUCCESS;
}

/* ---- tensor_partition_reduce ----------------------------------------------------------------- */

static void note_partition_nan(struct k_run *r, const float *out, uint32_t i)
{
    uint32_t parts = r->rec->t[1].nparts;

    if (!k_nan_in((enum dtype)r->rec->t[0].dtype, out[i]))
        return;
    for (unsigned p = 0; p < parts; p++) {
        float v;
        const float *in = k_read(r, 1, p, i, 1, &v);

        if (isnan(in[0]))
            return;
    }
    r->nan = true;
}

static NRT_STATUS run_partition_reduce(const struct kernel_op *op, struct kernel_core *kc,
                                       const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_rec *rec = r.rec;
    unsigned alu, first = 1;
    uint32_t n, parts;
    float *acc = r.buf[0], start;

    if (st != NRT_SUCCESS)
        return st;
    n = rec->t[0].n;
    parts = rec->t[1].nparts;
    alu = rec->op0 == ISA_ALU_AVERAGE ? ISA_ALU_ADD : rec->op0;
    if (logic_start(alu, &start)) {
        first = 0;
        for (uint32_t i = 0; i < n; i++)
            acc[i] = start;
    } else {
        memcpy(acc, k_read(&r, 1, 0, 0, n, r.buf[1]), n * sizeof(*acc));
    }
    for (unsigned p = first; p < parts; p++)
        r.vec->bin[alu](acc, acc, k_read(&r, 1, p, 0, n, r.buf[1]), n);
    if (rec->op0 == ISA_ALU_AVERAGE)
        for (uint32_t i = 0; i < n; i++)
            acc[i] /= (float)parts;
    if (kc->check_nan)
        for (uint32_t i = 0; i < n && !r.nan; i++)
            note_partition_nan(&r, acc, i);
    k_write(&r, 0, 0, 0, n, acc);
    k_run_end(&r);
    return NRT_SUCCESS;
}

static NRT_STATUS run_bit_partition_reduce(const struct kernel_op *op, struct kernel_core *kc,
                                           const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_tile *d, *s;
    uint8_t *acc = r.raw2, *in = r.raw;

    if (st != NRT_SUCCESS)
        return st;
    d = &r.rec->t[0];
    s = &r.rec->t[1];
    k_gather(s, k_row(&r, 1, 0), 0, s->n, acc);
    for (unsigned p = 1; p < s->nparts; p++) {
        k_gather(s, k_row(&r, 1, p), 0, s->n, in);
        for (uint32_t i = 0; i < s->n; i++) {
            uint8_t *cell = acc + (size_t)i * s->esize;
            uint64_t v = k_int_op(r.rec->op0, k_cell(cell, s->esize),
                                  k_cell(in + (size_t)i * s->esize, s->esize), s->esize, false);

            memcpy(cell, &v, s->esize);
        }
    }
    k_scatter(d, k_row(&r, 0, 0), 0, d->n, acc);
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_partition_reduce(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_partition_reduce, &st);

    if (rec == NULL)
        return st;
    if (rec->t[0].n == 0 || rec->t[0].n != rec->t[1].n)
        return k_refuse(l, "elements of operand", 1);
    if (rec->t[0].nparts != 1)
        return k_refuse(l, "partitions of operand", 0);
    l->op->flops = (uint64_t)rec->t[1].n * rec->t[1].nparts;
    if (isa_alu_is_bit(rec->op0)) {
        l->op->fn = run_bit_partition_reduce;
        return k_bit_types(l, rec, 2);
    }
    if (rec->op0 != ISA_ALU_AVERAGE &&
        (rec->op0 >= ISA_ALU_COUNT || rec->vec->fold[rec->op0] == NULL))
        return k_refuse(l, "operator", rec->op0);
    return NRT_SUCCESS;
}

/* ---- tensor_scalar_reduce -------------------------------------------------------------------- */

void k_fold_begin(struct k_run *r, struct k_fold *f, unsigned op, unsigned lane, float init)
{
    f->reg = &r->kc->dve_acc[lane];
    r->kc->acc_used = true;
    f->op = op;
    f->acc = k_acc_start(r->rec->reduce_cmd, op, *f->reg, init);
    f->nan = isnan(f->acc);
}

void k_fold_chunk(struct k_run *r, struct k_fold *f, const float *out, const float *in, uint32_t n)
{
    if (!k_folds(r->rec->reduce_cmd))
        return;
    f->acc = r->vec->fold[f->op](f->acc, out, n);
    if (r->kc->check_nan)
        f->nan |= r->vec->has_nan(in, n);
}

void k_fold_end(struct k_run *r, struct k_fold *f, unsigned res, bool negate, bool arithmetic)
{
    float v;

    if (r->rec->reduce_cmd != ISA_RC_IDLE)
        *f->reg = f->acc;
    if (r->rec->t[res].n == 0)
        return;
    v = negate ? -*f->reg : *f->reg;
    if (arithmetic && r->kc->check_nan && !f->nan && k_nan_in((enum dtype)r->rec->t[res].dtype, v))
        r->nan = true;
    k_write(r, res, r->k, 0, 1, &v);
}

static NRT_STATUS run_scalar_reduce(const struct kernel_op *op, struct kernel_core *kc,
                                    const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_rec *rec = r.rec;
    struct k_fold f;

    if (st != NRT_SUCCESS)
        return st;
    for (; r.k < r.end; r.k++) {
        r.sf[0] = k_scalar_f32(&r, 0, r.k);
        r.sf[1] = k_scalar_f32(&r, 1, r.k);
        k_fold_begin(&r, &f, rec->reduce_op, rec->t[1].part + r.k, r.sf[1]);
        f.nan |= isnan(r.sf[0]);
        for (r.pos = 0; r.pos < rec->t[0].n; r.pos += r.chunk) {
            uint32_t left = rec->t[0].n - r.pos, n = left < r.chunk ? left : r.chunk;
            const float *in = k_read(&r, 1, r.k, r.pos, n, r.buf[1]);
            float *out = k_out(&r, 0, r.k, r.pos, r.buf[0]);

            r.vec->bin_s[rec->op0](out, in, r.sf[0], n);
            k_fold_chunk(&r, &f, out, in, n);
            if (kc->check_nan)
                k_nan_note(&r, out, &in, 1, n);
            k_write(&r, 0, r.k, r.pos, n, out);
        }
        k_fold_end(&r, &f, 2, rec->negate, true);
    }
    k_run_end(&r);
    return NRT_SUCCESS;
}

NRT_STATUS k_check_fold(struct k_lower *l, const struct k_rec *rec, unsigned op, unsigned res)
{
    if (rec->reduce_cmd >= ISA_RC_COUNT)
        return k_refuse(l, "reduce_cmd", rec->reduce_cmd);
    if (op >= ISA_ALU_COUNT || rec->vec->fold[op] == NULL)
        return k_refuse(l, "reduce_op", op);
    if (rec->t[res].n != 0 && (rec->t[res].n != 1 || rec->t[res].nparts != rec->nrows))
        return k_refuse(l, "reduce_res elements", rec->t[res].n);
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_scalar_reduce(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 3, run_scalar_reduce, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS)
        return st;
    if (!k_float_op(rec->vec, rec->op0))
        return k_refuse(l, "operator", rec->op0);
    l->op->flops = (uint64_t)rec->t[0].n * rec->nrows * 2;
    k_offer_rows(l, rec, 5);
    return k_check_fold(l, rec, rec->reduce_op, 2);
}
