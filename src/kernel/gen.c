/* SPDX-License-Identifier: Apache-2.0 */
/* iota, dropout, rng, set_rng_seed (neuroncore.md 4.2, 4.7, 4.9). */
#include "kernel/kernel_int.h"

#include <math.h>
#include <string.h>

/* ---- iota ------------------------------------------------------------------------------------ */

/* v in fp32 such that rounding it further gives what rounding v at once gives: the part that does
 * not fit is kept as a set last bit. */
static float int_to_odd(int32_t v)
{
    float f = (float)v;
    uint32_t bits;

    if ((double)f == (double)v)
        return f;
    memcpy(&bits, &f, sizeof(bits));
    if (fabs((double)f) > fabs((double)v))
        bits--;
    bits |= 1;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static void store_int(uint8_t dtype, uint8_t *out, int32_t v)
{
    int64_t lo = 0, hi = 0, x = v;

    switch (dtype) {
    case DT_INT8:
        lo = INT8_MIN, hi = INT8_MAX;
        break;
    case DT_UINT8:
        hi = UINT8_MAX;
        break;
    case DT_INT16:
        lo = INT16_MIN, hi = INT16_MAX;
        break;
    case DT_UINT16:
        hi = UINT16_MAX;
        break;
    case DT_UINT64:
        hi = INT64_MAX;
        break;
    default: /* INT32, UINT32, INT64: the bits, sign-extended */
        lo = INT64_MIN, hi = INT64_MAX;
    }
    x = x < lo ? lo : x > hi ? hi : x;
    memcpy(out, &x, dtype_size((enum dtype)dtype));
}

static NRT_STATUS run_iota(const struct kernel_op *op, struct kernel_core *kc, const uint32_t *regs,
                           struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_tile *d;
    uint32_t *pat = (uint32_t *)(void *)r.buf[4];

    if (st != NRT_SUCCESS)
        return st;
    d = &r.rec->t[0];
    k_pattern_fill(&r.rec->x.pattern, pat);
    for (unsigned k = 0; k < r.rec->nrows; k++) {
        uint32_t base = k_pattern_base(&r, k);
        uint8_t *cells = r.raw;

        if (dtype_is_int((enum dtype)d->dtype)) {
            for (uint32_t i = 0; i < d->n; i++, cells += d->esize)
                store_int(d->dtype, cells, (int32_t)(base + pat[i]));
            k_scatter(d, k_row(&r, 0, k), 0, d->n, r.raw);
            continue;
        }
        for (uint32_t i = 0; i < d->n; i++) {
            int32_t v = (int32_t)(base + pat[i]);

            r.buf[0][i] = d->esize == 4 && d->dtype != DT_TF32 ? (float)v : int_to_odd(v);
        }
        k_write(&r, 0, k, 0, d->n, r.buf[0]);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_iota(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 1, run_iota, &st);

    if (rec == NULL)
        return st;
    return rec->t[0].n == 0 ? k_refuse(l, "absent operand", 0) : k_check_pattern(l, rec);
}

/* ---- random numbers -------------------------------------------------------------------------- */

static uint32_t draw(struct kernel_core *kc, unsigned engine, unsigned lane, uint32_t i)
{
    if (engine == ISA_POOL)
        return kernel_rng_next(&kc->pool_rng[lane]);
    return kernel_rng_next(&kc->dve_rng[lane][kc->gen == ISA_V4 ? i % 4 : 0]);
}

/* Draws below this drop the element: prob * 2^32, cut, held to 0 .. 2^32. */
static uint64_t threshold(float prob)
{
    double t = (double)prob * 0x1p32;

    return !(t > 0) ? 0 : t >= 0x1p32 ? 1ull << 32 : (uint64_t)t;
}

static NRT_STATUS run_dropout(const struct kernel_op *op, struct kernel_core *kc,
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
        uint64_t limit = threshold(k_scalar_f32(&r, 0, k));
        uint8_t *cells = r.raw;

        k_gather(s, k_row(&r, 1, k), 0, s->n, cells);
        for (uint32_t i = 0; i < s->n; i++, cells += s->esize)
            if (draw(kc, r.rec->engine, s->part + k, i) < limit)
                memset(cells, 0, s->esize);
        k_scatter(d, k_row(&r, 0, k), 0, d->n, r.raw);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_dropout(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_dropout, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS)
        return st;
    return rec->t[0].esize == rec->t[1].esize ? NRT_SUCCESS
                                              : k_refuse(l, "dst of dtype", rec->t[0].dtype);
}

static NRT_STATUS run_rng(const struct kernel_op *op, struct kernel_core *kc, const uint32_t *regs,
                          struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    const struct k_tile *d;

    if (st != NRT_SUCCESS)
        return st;
    d = &r.rec->t[0];
    for (unsigned k = 0; k < r.rec->nrows; k++) {
        uint8_t *cells = r.raw;

        for (uint32_t i = 0; i < d->n; i++, cells += d->esize) {
            uint64_t v = draw(kc, r.rec->engine, d->part + k, i);

            memcpy(cells, &v, d->esize);
        }
        k_scatter(d, k_row(&r, 0, k), 0, d->n, r.raw);
    }
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_rng(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 1, run_rng, &st);

    if (rec == NULL)
        return st;
    return rec->t[0].n == 0 ? k_refuse(l, "absent operand", 0) : NRT_SUCCESS;
}

static NRT_STATUS run_set_rng_seed(const struct kernel_op *op, struct kernel_core *kc,
                                   const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    uint32_t seed;

    if (st != NRT_SUCCESS)
        return st;
    memcpy(&seed, k_row(&r, 1, 0), sizeof(seed));
    for (uint64_t p = 0; p < ISA_PARTITIONS; p++)
        for (uint64_t k = 0; k < 4; k++)
            kernel_rng_seed(&kc->dve_rng[p][k], (uint64_t)seed << 32 | k << 8 | p);
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_set_rng_seed(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_set_rng_seed, &st);

    if (rec == NULL)
        return st;
    if (rec->t[1].n != 1 || rec->t[1].nparts != 1 || rec->t[1].esize != 4)
        return k_refuse(l, "elements of operand", 1);
    return NRT_SUCCESS;
}
