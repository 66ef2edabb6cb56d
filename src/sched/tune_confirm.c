/* SPDX-License-Identifier: Apache-2.0 */
/* Confirming a table by trials that it was not made of: what they do not bear out falls back to the
 * fixed table. Who takes the trials is the caller's business. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sched/tune.h"

#define FASTER 0.95 /* in the median, what is kept */
#define SLOWER 1.03 /* in the median, what is no tie */
#define ODD    1    /* trials that may go another way: a host is never quite alone */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double sched_tune_case_ratio(const struct sched_tune_case *c, double *least, double *most)
{
    double sorted[SCHED_TUNE_TRIALS];

    memcpy(sorted, c->ratio, c->trials * sizeof(sorted[0]));
    qsort(sorted, c->trials, sizeof(sorted[0]), compare);
    *least = sorted[0];
    *most = sorted[c->trials - 1];
    return sorted[c->trials / 2];
}

static double median(const struct sched_tune_case *c)
{
    double least, most;

    return sched_tune_case_ratio(c, &least, &most);
}

static bool patience_alone(const struct sched_tune_case *c)
{
    return sched_means_equal(c->means[0], c->means[1]);
}

/* By the trials so far; the last may be missing. */
static bool falls(const struct sched_tune_case *c)
{
    double last = c->ratio[c->trials - 1];
    unsigned slower = 0;

    if (!isfinite(last) || last <= 0)
        return true;
    if (patience_alone(c))
        return c->trials == SCHED_TUNE_TRIALS && median(c) > SLOWER;
    for (unsigned i = 0; i < c->trials; i++)
        slower += c->ratio[i] > 1;
    return slower > ODD || (c->trials == SCHED_TUNE_TRIALS && median(c) > FASTER);
}

/* The case that is nearest to showing that the patience of a crowd is of use, if none shows it; it
 * speaks for all. NULL: one does, or there is none to judge by. */
static struct sched_tune_case *patience_idle(struct sched_tune_case *c, size_t n, bool crowded)
{
    struct sched_tune_case *best = NULL;

    for (size_t i = 0; i < n; i++)
        if (c[i].crowded == crowded && patience_alone(&c[i]) &&
            (!best || median(&c[i]) < median(best)))
            best = &c[i];
    return best && median(best) > FASTER ? best : NULL;
}

static NRT_STATUS record_add(struct sched_tune_record *record, const struct sched_tune_case *c,
                             enum sched_tune_verdict verdict, struct err *err)
{
    if (record->count == sizeof(record->c) / sizeof(record->c[0]))
        return err_set(err, NRT_INVALID, "too many choices fell");
    record->c[record->count] = *c;
    record->c[record->count++].verdict = (uint8_t)verdict;
    return NRT_SUCCESS;
}

/* Records what falls, if anything does; what was judged has its verdict. */
static NRT_STATUS judge(struct sched_tune_case *c, size_t n, struct sched_tune_record *record,
                        bool *ret_fell, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    *ret_fell = false;
    for (size_t i = 0; i < n; i++)
        if (falls(&c[i]))
            c[i].verdict = SCHED_TUNE_REFUSED;
    for (unsigned crowded = 0; crowded < 2 && n > 0 && c->trials == SCHED_TUNE_TRIALS; crowded++) {
        struct sched_tune_case *idle = patience_idle(c, n, crowded);

        if (idle)
            idle->verdict = SCHED_TUNE_REFUSED;
    }
    for (size_t i = 0; i < n && st == NRT_SUCCESS; i++)
        if (c[i].verdict == SCHED_TUNE_REFUSED) {
            *ret_fell = true;
            st = record_add(record, &c[i], SCHED_TUNE_REFUSED, err);
        }
    return st;
}

/* Trials of all cases, until something falls or there have been enough. */
static NRT_STATUS trials_take(struct sched_tune_case *c, size_t n, sched_tune_trial *trial,
                              void *arg, struct sched_tune_record *record, bool *ret_fell,
                              struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    *ret_fell = false;
    for (unsigned t = 0; t < SCHED_TUNE_TRIALS && n > 0 && !*ret_fell && st == NRT_SUCCESS; t++) {
        double ratio[SCHED_TUNE_CASES_MAX];

        if (!trial(arg, c, n, ratio))
            return err_set(err, NRT_FAILURE, "the table could not be confirmed");
        for (size_t i = 0; i < n; i++)
            c[i].ratio[c[i].trials++] = ratio[i];
        st = judge(c, n, record, ret_fell, err);
    }
    return st;
}

/* Records what a table has no longer, though no figures of its own refused it. */
static NRT_STATUS beside_record(const struct sched_tune_case *c, size_t n,
                                const struct sched_tuning *now, struct sched_tune_record *record,
                                struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    for (size_t i = 0; i < n && st == NRT_SUCCESS; i++) {
        struct sched_means m =
            sched_tuning_choose(now, (enum sched_op)c[i].op, c[i].crowded, c[i].size);

        if (c[i].verdict == SCHED_TUNE_OPEN && !patience_alone(&c[i]) &&
            sched_means_equal(m, c[i].means[0]))
            st = record_add(record, &c[i], SCHED_TUNE_BESIDE, err);
    }
    return st;
}

/* Each turn of the loop in which something falls takes means or a patience from the table that it
 * never has again, so there is a last one. */
NRT_STATUS sched_tuning_confirm(const struct sched_tune_sample *samples, size_t n,
                                sched_tune_trial *trial, void *arg, struct sched_tuning *ret,
                                struct sched_tune_record *record, struct err *err)
{
    struct sched_tune_case c[SCHED_TUNE_CASES_MAX];
    size_t count = 0;
    unsigned sizes;
    bool fell = true;
    NRT_STATUS st = NRT_SUCCESS;

    record->count = 0;
    while (fell && st == NRT_SUCCESS) {
        st = sched_tuning_decide_but(samples, n, record, ret, err);
        if (st == NRT_SUCCESS)
            st = beside_record(c, count, ret, record, err);
        if (st == NRT_SUCCESS)
            st = sched_tuning_cases(samples, n, ret, c, &count, &sizes, err);
        if (st == NRT_SUCCESS)
            st = trials_take(c, count, trial, arg, record, &fell, err);
    }
    for (size_t i = 0; i < count && st == NRT_SUCCESS; i++)
        st = record_add(record, &c[i], SCHED_TUNE_KEPT, err);
    return st;
}
