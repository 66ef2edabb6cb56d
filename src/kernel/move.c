/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that move bits: tensor_copy_predicated, nc_transpose, nc_stream_shuffle, nc_n_gather
 * (neuroncore.md 4.1, 4.2, 4.5). */
#include "kernel/kernel_int.h"

#include <math.h>
#include <string.h>

#define QUAD 32

/* ---- tensor_copy_predicated ------------------------------------------------------------------ */

static NRT_STATUS run_copy_predicated(const struct kernel_op *op, struct kernel_core *kc,
                                      const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_rec *rec = r.rec;
    const struct k_tile *d, *p, *s;

    if (st != NRT_SUCCESS)
        return st;
    d = &rec->t[0];
    p = &rec->t[1];
    s = rec->ntiles > 2 && rec->t[2].n != 0 ? &rec->t[2] : NULL;
    for (unsigned k = 0; k < rec->nrows; k++) {
        uint8_t *pred = (uint8_t *)r.buf[0], *out = r.raw, *src = r.raw2;
        uint64_t cell = 0;

        k_gather(d, k_row(&r, 0, k), 0, d->n, out);
        k_gather(p, k_row(&r, 1, k), 0, d->n, pred);
        if (s != NULL)
            k_gather(s, k_row(&r, 2, k), 0, d->n, src);
        else if (rec->s[0].kind == ISA_SC_F32)
            dtype_store((enum dtype)d->dtype, &cell, k_scalar_f32(&r, 0, k));
        else
            cell = k_scalar_bits(&r, 0, k);
        for (uint32_t i = 0; i < d->n; i++) {
            size_t at = (size_t)i * d->esize;

            if ((k_cell(pred + (size_t)i * p->esize, p->esize) != 0) != (rec->reverse_pred != 0))
                memcpy(out + at, s != NULL ? src + at : (uint8_t *)&cell, d->esize);
        }
        k_scatter(d, k_row(&r, 0, k), 0, d->n, out);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_copy_predicated(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 3, run_copy_predicated, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS)
        return st;
    if (rec->t[1].esize > 4)
        return k_refuse(l, "predicate of dtype", rec->t[1].dtype);
    if (rec->t[2].n == 0)
        return rec->s[0].kind != ISA_SC_NONE ? NRT_SUCCESS : k_refuse(l, "absent operand", 2);
    if (rec->t[2].esize != rec->t[0].esize)
        return k_refuse(l, "src of dtype", rec->t[2].dtype);
    return k_same_shape(l, rec, 0, 2);
}

/* ---- nc_transpose ---------------------------------------------------------------------------- */

static uint8_t *pack_area(const struct kernel_core *kc)
{
    return (uint8_t *)kc->scratch + K_SCRATCH_PACK;
}

/* Rows [first, first + rows) of tile i, packed one after the other. */
static void gather_rows(const struct k_run *r, unsigned i, unsigned first, unsigned rows,
                        uint8_t *out)
{
    const struct k_tile *t = &r->rec->t[i];
    size_t bytes = (size_t)t->n * t->esize;

    for (unsigned k = 0; k < rows; k++)
        k_gather(t, k_row(r, i, first + k), 0, t->n, out + k * bytes);
}

/* out[i] = in[i * pitch], cells of in_size bytes into cells of out_size (upper bytes 0). */
static void column(uint8_t *out, unsigned out_size, const uint8_t *in, unsigned in_size,
                   size_t pitch, uint32_t n)
{
    if (out_size == 4 && in_size == 4) {
        for (uint32_t i = 0; i < n; i++)
            memcpy(out + (size_t)i * 4, in + i * pitch, 4);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t v = k_cell(in + i * pitch, in_size);

        memcpy(out + (size_t)i * out_size, &v, out_size);
    }
}

/* dst[f, p] = data[p, f] for the whole tile. */
static NRT_STATUS run_transpose(const struct kernel_op *op, struct kernel_core *kc,
                                const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_tile *d, *s;
    uint8_t *in = pack_area(kc);

    if (st != NRT_SUCCESS)
        return st;
    d = &r.rec->t[0];
    s = &r.rec->t[1];
    gather_rows(&r, 1, 0, s->nparts, in);
    for (unsigned f = 0; f < s->n; f++) {
        column(r.raw, d->esize, in + (size_t)f * s->esize, s->esize, (size_t)s->n * s->esize,
               s->nparts);
        k_scatter(d, k_row(&r, 0, f), 0, d->n, r.raw);
    }
    return NRT_SUCCESS;
}

/* Each block of 32 partitions by 32 elements in its place. */
static NRT_STATUS run_transpose_blocks(const struct kernel_op *op, struct kernel_core *kc,
                                       const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_tile *d;
    uint8_t *in = pack_area(kc);
    size_t pitch;

    if (st != NRT_SUCCESS)
        return st;
    d = &r.rec->t[0];
    pitch = (size_t)d->n * d->esize;
    for (unsigned q = 0; q < d->nparts; q += QUAD) {
        gather_rows(&r, 1, q, QUAD, in);
        for (unsigned i = 0; i < QUAD; i++) {
            uint8_t *out = r.raw;

            for (uint32_t f = 0; f < d->n; f += QUAD)
                column(out + (size_t)f * d->esize, d->esize, in + (size_t)(f + i) * d->esize,
                       d->esize, pitch, QUAD);
            k_scatter(d, k_row(&r, 0, q + i), 0, d->n, out);
        }
    }
    return NRT_SUCCESS;
}

/* v2, PE: the product with an identity in fp32, where 0 * inf and 0 * NaN are NaN. */
static NRT_STATUS run_transpose_identity(const struct kernel_op *op, struct kernel_core *kc,
                                         const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_tile *s;
    float *in = (float *)(void *)pack_area(kc);

    if (st != NRT_SUCCESS)
        return st;
    s = &r.rec->t[1];
    for (unsigned p = 0; p < s->nparts; p++)
        memcpy(in + (size_t)p * s->n, k_read(&r, 1, p, 0, s->n, r.buf[0]), s->n * sizeof(*in));
    for (unsigned f = 0; f < s->n; f++) {
        float *out = r.buf[1];
        unsigned bad = 0;

        for (unsigned p = 0; p < s->nparts; p++) {
            out[p] = in[(size_t)p * s->n + f];
            bad += !isfinite(out[p]);
        }
        for (unsigned p = 0; p < s->nparts && bad > 0; p++)
            if (bad > 1 || isfinite(out[p]))
                out[p] = NAN;
        k_write(&r, 0, f, 0, s->nparts, out);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_transpose(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_transpose, &st);
    const struct k_tile *d, *s;
    bool pe = l->r->engine == ISA_PE;

    if (rec == NULL)
        return st;
    d = &rec->t[0];
    s = &rec->t[1];
    if (d->n == 0 || s->n == 0)
        return k_refuse(l, "absent operand", d->n != 0);
    if (d->esize != s->esize && !(pe && s->esize == 1 && d->esize == 2) && l->kc->gen != ISA_V2)
        return k_refuse(l, "dst of dtype", d->dtype);
    if (!pe && (s->nparts > QUAD || s->n > QUAD)) {
        l->op->fn = run_transpose_blocks;
        if (s->nparts % QUAD != 0 || s->n % QUAD != 0)
            return k_refuse(l, "elements or partitions not a multiple of 32:", s->n);
        if ((size_t)QUAD * s->n * s->esize > K_PACK_BYTES)
            return k_refuse(l, "elements of operand", 1);
        return d->esize == s->esize ? k_same_shape(l, rec, 0, 1)
                                    : k_refuse(l, "dst of dtype", d->dtype);
    }
    if (s->n > ISA_PARTITIONS || d->nparts != s->n || d->n != s->nparts)
        return k_refuse(l, "elements of operand", 1);
    if (pe && l->kc->gen == ISA_V2)
        l->op->fn = run_transpose_identity;
    else if (d->esize != s->esize && !(pe && s->esize == 1 && d->esize == 2))
        return k_refuse(l, "dst of dtype", d->dtype);
    return NRT_SUCCESS;
}

/* ---- nc_stream_shuffle ----------------------------------------------------------------------- */

static NRT_STATUS run_shuffle(const struct kernel_op *op, struct kernel_core *kc,
                              const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_rec *rec = r.rec;
    const struct k_tile *d, *s;
    uint8_t *in = pack_area(kc);
    size_t pitch;

    if (st != NRT_SUCCESS)
        return st;
    d = &rec->t[0];
    s = &rec->t[1];
    pitch = (size_t)s->n * s->esize;
    for (unsigned q = 0; q < d->nparts; q += QUAD) {
        unsigned left = q < s->nparts ? s->nparts - q : 0;

        gather_rows(&r, 1, q, left < QUAD ? left : QUAD, in);
        for (unsigned i = 0; i < QUAD && q + i < d->nparts; i++)
            if (rec->x.mask[i] != 255)
                k_scatter(d, k_row(&r, 0, q + i), 0, d->n, in + rec->x.mask[i] * pitch);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_shuffle(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_shuffle, &st);
    const struct k_tile *d, *s;

    if (rec == NULL)
        return st;
    d = &rec->t[0];
    s = &rec->t[1];
    if (d->n == 0 || s->n != d->n)
        return k_refuse(l, "elements of operand", 1);
    if (d->esize != s->esize || (size_t)QUAD * s->n * s->esize > K_PACK_BYTES)
        return k_refuse(l, "src of dtype", s->dtype);
    for (unsigned k = 0; k < d->nparts; k++) {
        unsigned m = rec->x.mask[k % QUAD];

        if (m != 255 && (m >= QUAD || k - k % QUAD + m >= s->nparts))
            return k_refuse(l, "mask names partition", k - k % QUAD + m);
    }
    return NRT_SUCCESS;
}

/* ---- nc_n_gather ----------------------------------------------------------------------------- */

static NRT_STATUS check_indices(struct k_run *r, struct err *err)
{
    const struct k_tile *x = &r->rec->t[2];
    uint32_t limit = r->rec->t[1].n;
    bool sgn = dtype_kind((enum dtype)x->dtype) == DTK_INT;

    for (unsigned k = 0; k < r->rec->nrows; k++) {
        const uint8_t *p = r->raw;

        k_gather(x, k_row(r, 2, k), 0, x->n, r->raw);
        for (uint32_t i = 0; i < x->n; i++, p += x->esize) {
            uint64_t v = k_cell(p, x->esize);

            if (v >= limit)
                return err_set(err, NRT_EXEC_OOB,
                               "indices: element %u of partition %u is %lld, data has %u elements",
                               i, x->part + k,
                               sgn && x->esize == 4 ? (long long)(int32_t)v : (long long)v, limit);
        }
    }
    return NRT_SUCCESS;
}

static NRT_STATUS run_n_gather(const struct kernel_op *op, struct kernel_core *kc,
                               const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_tile *d, *s, *x;

    if (st != NRT_SUCCESS || (st = check_indices(&r, err)) != NRT_SUCCESS)
        return st;
    d = &r.rec->t[0];
    s = &r.rec->t[1];
    x = &r.rec->t[2];
    for (unsigned k = 0; k < r.rec->nrows; k++) {
        uint8_t *data = pack_area(kc), *idx = r.raw2, *out = r.raw;

        k_gather(s, k_row(&r, 1, k), 0, s->n, data);
        k_gather(x, k_row(&r, 2, k), 0, x->n, idx);
        for (uint32_t i = 0; i < d->n; i++)
            memcpy(out + (size_t)i * d->esize,
                   data + k_cell(idx + (size_t)i * x->esize, x->esize) * s->esize, s->esize);
        k_scatter(d, k_row(&r, 0, k), 0, d->n, out);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_n_gather(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 3, run_n_gather, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 2)) != NRT_SUCCESS)
        return st;
    if (rec->t[1].n == 0 || rec->t[1].nparts != rec->nrows)
        return k_refuse(l, "partitions of operand", 1);
    if (rec->t[1].esize != rec->t[0].esize)
        return k_refuse(l, "data of dtype", rec->t[1].dtype);
    if (!dtype_is_int((enum dtype)rec->t[2].dtype))
        return k_refuse(l, "indices of dtype", rec->t[2].dtype);
    return NRT_SUCCESS;
}
