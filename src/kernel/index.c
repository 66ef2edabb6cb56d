/* SPDX-License-Identifier: Apache-2.0 */
/* max8, nc_find_index8, nc_match_replace8 (neuroncore.md 4.5). */
#include "kernel/kernel_int.h"

#include <math.h>
#include <string.h>

#define VALS 8

/* ---- max8 ------------------------------------------------------------------------------------ */

/* a ranks below b; NaN below everything. */
static bool below(float a, float b)
{
    return a < b || (isnan(a) && !isnan(b));
}

static void top8(const float *in, uint32_t n, float out[VALS])
{
    unsigned have = 0;

    for (uint32_t i = 0; i < n; i++) {
        unsigned at;

        if (have == VALS && !below(out[VALS - 1], in[i]))
            continue;
        at = have < VALS ? have++ : VALS - 1;
        for (; at > 0 && below(out[at - 1], in[i]); at--)
            out[at] = out[at - 1];
        out[at] = in[i];
    }
}

static NRT_STATUS run_max8(const struct kernel_op *op, struct kernel_core *kc, const uint32_t *regs,
                           struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);

    if (st != NRT_SUCCESS)
        return st;
    for (unsigned k = 0; k < r.rec->nrows; k++) {
        float out[VALS];

        top8(k_read(&r, 1, k, 0, r.rec->t[1].n, r.buf[1]), r.rec->t[1].n, out);
        k_write(&r, 0, k, 0, VALS, out);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_max8(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_max8, &st);

    if (rec == NULL)
        return st;
    if (rec->t[0].n != VALS)
        return k_refuse(l, "elements of operand", 0);
    if (rec->t[1].n < VALS)
        return k_refuse(l, "elements of operand", 1);
    if (rec->t[0].nparts != rec->t[1].nparts)
        return k_refuse(l, "partitions of operand", 1);
    return NRT_SUCCESS;
}

/* ---- matching -------------------------------------------------------------------------------- */

static uint32_t find_from(const float *x, uint32_t n, float v, uint32_t from)
{
    for (uint32_t i = from; i < n; i++)
        if (x[i] == v)
            return i;
    return UINT32_MAX;
}

/* Positions of vals[j] in x for j in the given order, equal values taking successive positions;
 * UINT32_MAX when there is none left. */
static void match8(const float *x, uint32_t n, const float *vals, bool descending,
                   uint32_t out[VALS])
{
    for (int s = 0; s < VALS; s++) {
        int j = descending ? VALS - 1 - s : s;
        uint32_t from = 0;

        for (int t = 0; t < s; t++) {
            int i = descending ? VALS - 1 - t : t;

            if (vals[i] == vals[j]) /* a later match of the same value only lies further on */
                from = out[i] == UINT32_MAX ? n : out[i] + 1;
        }
        out[j] = find_from(x, n, vals[j], from);
    }
}

static void write_index(const struct k_run *r, unsigned i, unsigned k, const uint32_t *idx)
{
    const struct k_tile *t = &r->rec->t[i];
    uint8_t cells[VALS * 8];

    for (unsigned j = 0; j < VALS; j++) {
        uint64_t v = idx[j] == UINT32_MAX ? UINT64_MAX : idx[j];

        memcpy(cells + (size_t)j * t->esize, &v, t->esize);
    }
    k_scatter(t, k_row(r, i, k), 0, VALS, cells);
}

static NRT_STATUS run_find_index8(const struct kernel_op *op, struct kernel_core *kc,
                                  const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);

    if (st != NRT_SUCCESS)
        return st;
    for (unsigned k = 0; k < r.rec->nrows; k++) {
        uint32_t n = r.rec->t[1].n, idx[VALS];
        const float *x = k_read(&r, 1, k, 0, n, r.buf[1]);

        match8(x, n, k_read(&r, 2, k, 0, VALS, r.buf[2]), false, idx);
        write_index(&r, 0, k, idx);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_find_index8(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 3, run_find_index8, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 2)) != NRT_SUCCESS)
        return st;
    if (rec->t[0].n != VALS || !dtype_is_int((enum dtype)rec->t[0].dtype))
        return k_refuse(l, "elements of operand", 0);
    if (rec->t[1].n == 0 || rec->t[1].nparts != rec->nrows)
        return k_refuse(l, "partitions of operand", 1);
    return NRT_SUCCESS;
}

static NRT_STATUS run_match_replace8(const struct kernel_op *op, struct kernel_core *kc,
                                     const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_tile *d, *s;

    if (st != NRT_SUCCESS)
        return st;
    d = &r.rec->t[0];
    s = &r.rec->t[1];
    for (unsigned k = 0; k < r.rec->nrows; k++) {
        uint32_t n = s->n, idx[VALS];
        float imm = k_scalar_f32(&r, 0, k), *out = r.buf[0];

        memcpy(out, k_read(&r, 1, k, 0, n, r.buf[1]), n * sizeof(*out));
        match8(out, n, k_read(&r, 2, k, 0, VALS, r.buf[2]), true, idx);
        if (d->dtype == s->dtype) {
            uint8_t *cells = r.raw2, cell[8];

            k_gather(s, k_row(&r, 1, k), 0, n, cells);
            k_encode(&r, 0, k, 1, &imm, cell);
            for (unsigned j = 0; j < VALS; j++)
                if (idx[j] != UINT32_MAX)
                    memcpy(cells + (size_t)idx[j] * d->esize, cell, d->esize);
            k_scatter(d, k_row(&r, 0, k), 0, n, cells);
        } else {
            for (unsigned j = 0; j < VALS; j++)
                if (idx[j] != UINT32_MAX)
                    out[idx[j]] = imm;
            k_write(&r, 0, k, 0, n, out);
        }
        if (r.rec->t[3].n != 0)
            write_index(&r, 3, k, idx);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_match_replace8(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 4, run_match_replace8, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS)
        return st;
    if (rec->t[2].n != VALS || rec->t[2].nparts != rec->nrows)
        return k_refuse(l, "elements of operand", 2);
    if (rec->t[3].n != 0 && (rec->t[3].n != VALS || rec->t[3].nparts != rec->nrows))
        return k_refuse(l, "elements of operand", 3);
    return NRT_SUCCESS;
}
