/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt tune --verify: a table against the fixed one, by measurements that it was not made of. */
#include "tune.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct outcome {
    unsigned count;
    double ratio[SCHED_TUNE_CASES_MAX];
    const struct sched_tune_case *worst; /* of ratio[] */
    double worst_ratio;
    double same_least, same_most; /* of the fixed table to itself */
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void point_text(const struct sched_tune_case *c, char *ret, size_t size)
{
    snprintf(ret, size, "%-15s %-8s %9" PRIu64, sched_op_name((enum sched_op)c->op),
             c->crowded ? "crowded" : "spread", c->op == SCHED_BARRIER ? 0 : c->size);
}

static void way_put(const struct sched_tune_case *c, unsigned table)
{
    char text[64];

    tune_means_text(c->means[table], text, sizeof(text));
    printf("%s, spins %" PRIu32 " yields %" PRIu32, text, c->patience[table].spins,
           c->patience[table].yields);
}

static void outcome_add(struct outcome *o, const struct sched_tune_case *c, double ratio,
                        double same)
{
    if (!o->worst || ratio > o->worst_ratio) {
        o->worst = c;
        o->worst_ratio = ratio;
    }
    o->same_least = o->count == 0 || same < o->same_least ? same : o->same_least;
    o->same_most = same > o->same_most ? same : o->same_most;
    o->ratio[o->count++] = ratio;
}

static void case_print(const struct sched_tune_case *c, const struct tune_times *t,
                       struct outcome *o)
{
    char text[64];
    double ratio, same;

    point_text(c, text, sizeof(text));
    if (!(t->fixed[0] > 0) || !(t->fixed[1] > 0) || !(t->tuned > 0)) {
        printf("%s  not measured\n", text);
        return;
    }
    ratio = t->tuned / t->fixed[0];
    same = t->fixed[1] / t->fixed[0];
    printf("%s %10.2f %10.2f  %5.3f  %5.3f  ", text, t->fixed[0], t->tuned, ratio, same);
    way_put(c, 0);
    printf(" -> ");
    way_put(c, 1);
    printf("\n");
    outcome_add(o, c, ratio, same);
}

static void outcome_print(struct outcome *o, unsigned sizes)
{
    char text[64];

    printf("# %u of %u sizes differ from the fixed table", o->count, sizes);
    if (o->count > 0) {
        qsort(o->ratio, o->count, sizeof(o->ratio[0]), compare);
        point_text(o->worst, text, sizeof(text));
        printf(": ratio median %.3f, worst %.3f (%s); of the fixed table to itself %.3f to %.3f",
               o->ratio[o->count / 2], o->worst_ratio, text, o->same_least, o->same_most);
    }
    printf("\n");
}

bool tune_verify(const struct sched_tuning *tuned, uint64_t largest)
{
    static struct sched_tune_sample plan[TUNE_SAMPLES_MAX];
    static struct sched_tune_case c[SCHED_TUNE_CASES_MAX];
    static struct tune_times times[SCHED_TUNE_CASES_MAX];
    struct outcome o = {0};
    struct err err = {0};
    size_t count;
    unsigned sizes;

    if (sched_tuning_cases(plan, tune_plan(plan, largest), tuned, c, &count, &sizes, &err)) {
        fprintf(stderr, "opennrt tune: %s\n", err.text);
        return false;
    }
    printf("# us, median of %u turns that each takes with the others: the fixed table, the tuned "
           "one, their ratio, that of the fixed one to itself\n",
           TUNE_TURNS);
    if (!tune_trial(c, count, times))
        return false;
    for (size_t i = 0; i < count; i++)
        case_print(&c[i], &times[i], &o);
    outcome_print(&o, sizes);
    return true;
}
