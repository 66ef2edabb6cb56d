/* SPDX-License-Identifier: Apache-2.0 */
/* bn_stats, bn_aggr (neuroncore.md 4.6). */
#include "kernel/kernel_int.h"

#include <math.h>

#define STATS 6

static NRT_STATUS run_bn_stats(const struct kernel_op *op, struct kernel_core *kc,
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
        float count[2] = {(float)((n + 1) / 2), (float)(n / 2)}, mean[2], dev[2], out[STATS];
        bool nan = false;

        r.vec->sum2(in, n, mean);
        for (unsigned h = 0; h < 2; h++)
            mean[h] = count[h] > 0 ? mean[h] / count[h] : 0.0f;
        r.vec->sqdev2(in, n, mean, dev);
        for (unsigned h = 0; h < 2; h++) {
            out[3 * h] = count[h];
            out[3 * h + 1] = mean[h];
            out[3 * h + 2] = dev[h];
            nan |= isnan(mean[h]) || isnan(dev[h]);
        }
        if (kc->check_nan && nan && !r.vec->has_nan(in, n))
            r.nan = true;
        k_write(&r, 0, r.k, 0, STATS, out);
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
