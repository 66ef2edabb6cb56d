/* SPDX-License-Identifier: Apache-2.0 */
/* bn_stats, bn_aggr (neuroncore.md 4.6). */
#include "kernel/kernel_int.h"

#include <math.h>

#define STATS 6

/* Rows that go side by side: each step of one waits for the one before it. As many fit the
 * first-level cache between the two passes over them. */
#define BN_ROWS 4u /* of K_BUFS */

struct bn_row {
    const float *in;
    float mean[2], dev[2]; /* of the even and of the odd elements */
};

static void bn_write(struct k_run *r, unsigned k, const struct bn_row *row, const float count[2])
{
    float cells[STATS], *out = k_out(r, 0, k, 0, cells);
    bool nan = false;

    for (unsigned h = 0; h < 2; h++) {
        out[3 * h] = count[h];
        out[3 * h + 1] = row->mean[h];
        out[3 * h + 2] = row->dev[h];
        nan |= isnan(row->mean[h]) || isnan(row->dev[h]);
    }
    if (r->kc->check_nan && nan && !r->vec->has_nan(row->in, r->rec->t[1].n))
        r->nan = true;
    k_write(r, 0, k, 0, STATS, out);
}

/* Rows k to k + rows - 1. */
static void bn_rows(struct k_run *r, unsigned rows)
{
    uint32_t n = r->rec->t[1].n;
    const float count[2] = {(float)((n + 1) / 2), (float)(n / 2)};
    struct bn_row row[BN_ROWS];

    for (unsigned i = 0; i < rows; i++) {
        row[i].in = k_read(r, 1, r->k + i, 0, n, r->buf[i]);
        r->vec->sum2(row[i].in, n, row[i].mean);
    }
    for (unsigned i = 0; i < rows; i++) {
        for (unsigned h = 0; h < 2; h++)
            row[i].mean[h] = count[h] > 0 ? row[i].mean[h] / count[h] : 0.0f;
        r->vec->sqdev2(row[i].in, n, row[i].mean, row[i].dev);
    }
    for (unsigned i = 0; i < rows; i++)
        bn_write(r, r->k + i, &row[i], count);
}

static NRT_STATUS run_bn_stats(const struct kernel_op *op, struct kernel_core *kc,
                               const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);

    if (st != NRT_SUCCESS)
        return st;
    for (unsigned rows; r.k < r.end; r.k += rows) {
        rows = r.end - r.k < BN_ROWS ? r.end - r.k : BN_ROWS;
        bn_rows(&r, rows);
    }
    k_run_end(&r);
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_bn_stats(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_bn_stats, &st);

    if (rec == NULL)
        return st;
    if (rec->t[0].n != STATS)
        return k_refuse(l, "elements of operand", 0);
    if (rec->t[1].n == 0 || rec->t[1].nparts != rec->nrows)
        return k_refuse(l, "partitions of operand", 1);
    l->op->flops = (uint64_t)rec->t[1].n * rec->nrows * 4;
    k_offer_rows(l, rec, 1);
    return NRT_SUCCESS;
}

/* Triples (count, mean, count * variance) into mean and variance; few of them, so in double. */
static void aggregate(const float *in, uint32_t n, float out[2])
{
    double c = 0, mean = 0, var = 0;

    for (uint32_t i = 0; i < n; i += 3) {
        c += in[i];
        mean += (double)in[i] * in[i + 1];
    }
    out[0] = out[1] = 0.0f;
    if (c == 0)
        return;
    mean /= c;
    for (uint32_t i = 0; i < n; i += 3) {
        double d = in[i + 1] - mean;

        var += in[i + 2] + in[i] * d * d;
    }
    out[0] = (float)mean;
    out[1] = (float)(var / c);
}

static NRT_STATUS run_bn_aggr(const struct kernel_op *op, struct kernel_core *kc,
                              const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);
    uint32_t n;

    if (st != NRT_SUCCESS)
        return st;
    n = r.rec->t[1].n;
    for (; r.k < r.end; r.k++) {
        const float *in = k_read(&r, 1, r.k, 0, n, r.buf[1]);
        float out[2];

        aggregate(in, n, out);
        if (kc->check_nan && (isnan(out[0]) || isnan(out[1])) && !r.vec->has_nan(in, n))
            r.nan = true;
        k_write(&r, 0, r.k, 0, 2, out);
    }
    k_run_end(&r);
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_bn_aggr(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 2, run_bn_aggr, &st);

    if (rec == NULL)
        return st;
    if (rec->t[0].n != 2)
        return k_refuse(l, "elements of operand", 0);
    if (rec->t[1].n == 0 || rec->t[1].n % 3 != 0)
        return k_refuse(l, "elements of operand", 1);
    if (rec->t[1].nparts != rec->nrows)
        return k_refuse(l, "partitions of operand", 1);
    l->op->flops = (uint64_t)rec->t[1].n * rec->nrows * 2;
    k_offer_rows(l, rec, 1);
    return NRT_SUCCESS;
}
