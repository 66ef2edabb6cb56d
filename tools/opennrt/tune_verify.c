/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt tune --verify: a table against the fixed one, by measurements that it was not made of. */
#include "tune.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUDGET_US 40e3
#define ROUNDS    15

struct outcome {
    unsigned same, count;
    double ratio[TUNE_SAMPLES_MAX];
    const struct sched_tune_sample *worst; /* of ratio[] */
    double worst_ratio;
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void point_text(const struct sched_tune_sample *s, char *ret, size_t size)
{
    snprintf(ret, size, "%-15s %-8s %9" PRIu64, sched_op_name((enum sched_op)s->op),
             s->crowded ? "crowded" : "spread", s->op == SCHED_BARRIER ? 0 : s->size);
}

static void way_put(const struct sched_tune_sample *s)
{
    char text[64];

    tune_means_text(s->means, text, sizeof(text));
    printf("%s, spins %" PRIu32 " yields %" PRIu32, text, s->patience.spins, s->patience.yields);
}

static void point_print(const struct sched_tune_sample *fixed,
                        const struct sched_tune_sample *tuned, struct outcome *o)
{
    char text[64];
    double ratio;

    point_text(fixed, text, sizeof(text));
    if (!(fixed->us > 0) || !(tuned->us > 0)) {
        printf("%s  not measured\n", text);
        return;
    }
    ratio = tuned->us / fixed->us;
    printf("%s %10.2f %10.2f  %5.3f  ", text, fixed->us, tuned->us, ratio);
    way_put(fixed);
    printf(" -> ");
    way_put(tuned);
    printf("\n");
    if (!o->worst || ratio > o->worst_ratio) {
        o->worst = tuned;
        o->worst_ratio = ratio;
    }
    o->ratio[o->count++] = ratio;
}

bool tune_verify(const struct sched_tuning *tuned, uint64_t largest)
{
    static struct sched_tune_sample s[TUNE_SAMPLES_MAX];
    size_t n = tune_plan_verify(tuned, largest, s), pairs = 0;
    struct outcome o = {0};
    char text[64];

    for (size_t i = 0; i < n; i++) /* what is the same needs no figures */
        if ((i + 1 < n && tune_same_point(&s[i], &s[i + 1])) ||
            (i > 0 && tune_same_point(&s[i], &s[i - 1])))
            s[pairs++] = s[i];
        else
            o.same++;
    printf("# us, median of %u turns that each takes with the other: the fixed table, the tuned "
           "one, their ratio\n",
           ROUNDS);
    if (pairs > 0 && !tune_measure(s, pairs, BUDGET_US, ROUNDS))
        return false;
    for (size_t i = 0; i < pairs; i += 2)
        point_print(&s[i], &s[i + 1], &o);
    printf("# %u of %u sizes differ from the fixed table", o.count, o.count + o.same);
    if (o.count > 0) {
        qsort(o.ratio, o.count, sizeof(o.ratio[0]), compare);
        point_text(o.worst, text, sizeof(text));
        printf(": ratio median %.3f, worst %.3f (%s)", o.ratio[o.count / 2], o.worst_ratio, text);
    }
    printf("\n");
    return true;
}
