/* SPDX-License-Identifier: Apache-2.0 */
/* Confirming what opennrt tune decided, before it is kept: the trials, and what is said of them. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "tune.h"

#define BUDGET_US 40e3
#define LIMIT_S   300 /* for all trials: a host so busy confirms nothing */

/* ---- trials ---- */

bool tune_trial(const struct sched_tune_case *cases, size_t n, struct tune_times *ret)
{
    static struct sched_tune_sample s[TUNE_SAMPLES_MAX];

    for (size_t i = 0; i < 3 * n; i++) { /* fixed, tuned, fixed */
        const struct sched_tune_case *c = &cases[i / 3];
        unsigned table = i % 3 == 1;

        s[i] = (struct sched_tune_sample){c->op,           c->crowded,         c->size,
                                          c->means[table], c->patience[table], 0};
    }
    if (n > 0 && !tune_measure(s, 3 * n, BUDGET_US, TUNE_TURNS))
        return false;
    for (size_t i = 0; i < n; i++)
        ret[i] = (struct tune_times){{s[3 * i].us, s[3 * i + 2].us}, s[3 * i + 1].us};
    return true;
}

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Against the better of the two that the fixed table has: by what it differs from itself, another
 * one is not known to be faster. arg: until when. */
static bool ratios_take(void *arg, const struct sched_tune_case *cases, size_t n, double *ratio)
{
    static struct tune_times times[SCHED_TUNE_CASES_MAX];
    bool late = now_s() > *(const double *)arg;

    if (late)
        fprintf(stderr, "opennrt tune: too busy a host: what is not confirmed yet falls back\n");
    else if (!tune_trial(cases, n, times))
        return false;
    for (size_t i = 0; i < n; i++) {
        const double *fixed = times[i].fixed;
        double least = fixed[0] < fixed[1] ? fixed[0] : fixed[1];

        ratio[i] = !late && least > 0 ? times[i].tuned / least : 0;
    }
    return true;
}

bool tune_confirm(const struct sched_tune_sample *samples, size_t n, struct sched_tuning *ret,
                  struct sched_tune_record *record)
{
    struct err err = {0};
    double until = now_s() + LIMIT_S;

    if (sched_tuning_confirm(samples, n, ratios_take, &until, ret, record, &err) == NRT_SUCCESS)
        return true;
    fprintf(stderr, "opennrt tune: %s\n", err.text);
    return false;
}

/* ---- what is said of them ---- */

/* As in "took 0.81 of the fixed table's time (0.78 to 0.86 in 7 trials)". */
static void figures_put(const struct sched_tune_case *c, struct strbuf *out)
{
    double least, most, median = sched_tune_case_ratio(c, &least, &most);

    if (!(c->ratio[c->trials - 1] > 0)) {
        strbuf_put(out, "could not be measured anew");
        return;
    }
    strbuf_printf(out, "took %.3f of the fixed table's time (%.3f to %.3f in %u trial%s)", median,
                  least, most, c->trials, c->trials == 1 ? "" : "s");
}

static void case_put(const struct sched_tune_case *c, struct strbuf *out)
{
    char text[64];

    tune_means_text(c->means[1], text, sizeof(text));
    if (c->verdict == SCHED_TUNE_KEPT) {
        strbuf_printf(out, "  # confirmed at %" PRIu64 ": ", c->size);
        figures_put(c, out);
        return;
    }
    strbuf_printf(out, "  # fell at %" PRIu64 ": %s was chosen, ", c->size, text);
    figures_put(c, out);
    strbuf_put(out, c->verdict == SCHED_TUNE_BESIDE
                        ? ", but a size beside it fell: the fixed table's choice stays"
                        : ": the fixed table's choice stays");
}

static bool patience_alone(const struct sched_tune_case *c)
{
    return sched_means_equal(c->means[0], c->means[1]);
}

void tune_confirmed_put(const struct sched_tune_record *record, const struct sched_tune_rule *r,
                        uint64_t least, struct strbuf *out)
{
    for (size_t i = 0; i < record->count; i++) {
        const struct sched_tune_case *c = &record->c[i];

        if (c->op == r->op && c->crowded == r->crowded && c->size >= least &&
            (r->size_max == 0 || c->size <= r->size_max) && !patience_alone(c))
            case_put(c, out);
    }
}

void tune_patience_confirmed_put(const struct sched_tune_record *record, bool crowded,
                                 struct strbuf *out)
{
    for (size_t i = 0; i < record->count; i++) {
        const struct sched_tune_case *c = &record->c[i];

        if (c->crowded != crowded || !patience_alone(c))
            continue;
        strbuf_printf(
            out,
            "# wait %s, %s at %s of %" PRIu64 " bytes: spins %" PRIu32 " yields %" PRIu32 "%s ",
            crowded ? "crowded" : "spread", c->verdict == SCHED_TUNE_KEPT ? "confirmed" : "fell",
            sched_op_name((enum sched_op)c->op), c->size, c->patience[1].spins,
            c->patience[1].yields, c->verdict == SCHED_TUNE_KEPT ? "" : " was chosen,");
        figures_put(c, out);
        strbuf_put(out,
                   c->verdict == SCHED_TUNE_KEPT ? "\n" : ": the fixed table's choice stays\n");
    }
}

void tune_confirmation_put(const struct sched_tune_record *record, struct strbuf *out)
{
    unsigned kept = 0;

    for (size_t i = 0; i < record->count; i++)
        kept += record->c[i].verdict == SCHED_TUNE_KEPT;
    strbuf_printf(out,
                  "# measured anew before it was kept, in turns with the fixed table: %u choices "
                  "confirmed by %u trials each, %zu fell back\n",
                  kept, SCHED_TUNE_TRIALS, record->count - kept);
}
