/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt tune: measures once how this host carries out collective operations best, and keeps the
 * table where the runtime finds it (coll/means.h). */
#include "opennrt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "coll/means.h"
#include "tune.h"

#define PATH_SIZE   4096
#define BUDGET_US   12e3
#define ROUNDS      5
#define AGAIN       2 /* times of both, when it matters */
#define LARGEST_MIB 64

struct options {
    bool explain, dry_run, verify;
    char path[PATH_SIZE];
    uint64_t largest;
};

/* ---- explaining ---- */

void tune_means_text(struct sched_means m, char *ret, size_t size)
{
    snprintf(ret, size, "%s %s %" PRIu32 "K", sched_variant_name((enum sched_variant)m.variant),
             m.around ? "around" : "through", m.slice >> 10);
}

/* What was measured: at first, again of what was left, and in the end against the fixed table. */
struct figures {
    const struct sched_tune_sample *first, *again;
    size_t first_count, again_count;
    const struct sched_tune_record *record;
};

/* The least size in the reach of a rule. */
static uint64_t reach_least(const struct sched_tuning *t, unsigned rule)
{
    const struct sched_tune_rule *r = &t->rule[rule], *before = rule > 0 ? r - 1 : NULL;

    return before && before->op == r->op && before->crowded == r->crowded ? before->size_max + 1
                                                                          : 0;
}

/* The size that was measured in the reach of a rule: its largest; 0: none. */
static uint64_t point_size(const struct figures *f, const struct sched_tuning *t, unsigned rule)
{
    const struct sched_tune_rule *r = &t->rule[rule];
    uint64_t least = reach_least(t, rule);
    uint64_t best = 0;

    for (size_t i = 0; i < f->first_count; i++) {
        const struct sched_tune_sample *s = &f->first[i];

        if (s->op == r->op && s->crowded == r->crowded && s->size >= least && s->size > best &&
            (r->size_max == 0 || s->size <= r->size_max))
            best = s->size;
    }
    return best;
}

static bool listed(const struct sched_tune_sample *all, size_t n, const struct sched_tune_sample *s)
{
    for (size_t i = 0; i < n; i++)
        if (tune_same_way(&all[i], s))
            return true;
    return false;
}

/* The ways of a size with the fixed patience, but those that are among `but`. */
static void ways_put(const struct sched_tune_sample *s, size_t n,
                     const struct sched_tune_sample *but, size_t but_count, const char *head,
                     const struct sched_tune_sample *point, struct strbuf *out)
{
    struct sched_tune_sample was = *point;

    for (size_t i = 0; i < n; i++) {
        char text[64];

        was.means = s[i].means;
        if (!tune_same_way(&s[i], &was) || !(s[i].us > 0) || listed(but, but_count, &s[i]))
            continue;
        tune_means_text(s[i].means, text, sizeof(text));
        strbuf_printf(out, "%s %.2f %s%s", head, s[i].us, text,
                      tune_same_way(&s[i], point) ? " (fixed table)" : "");
        head = ";";
    }
}

/* Behind a rule, as a comment: every way of its size with its time. */
static void reasons_put(const struct figures *f, const struct sched_tuning *t, unsigned rule,
                        const struct sched_tuning *fixed, struct strbuf *out)
{
    const struct sched_tune_rule *r = &t->rule[rule];
    struct sched_tune_sample point = {.op = r->op,
                                      .crowded = r->crowded,
                                      .size = point_size(f, t, rule),
                                      .patience = fixed->patience[r->crowded]};

    if (point.size == 0) {
        strbuf_put(out, "  # between and beyond measured sizes: not slower at either");
        return;
    }
    point.means = sched_tuning_choose(fixed, (enum sched_op)r->op, r->crowded, point.size);
    ways_put(f->again, f->again_count, NULL, 0, "  # us:", &point, out);
    ways_put(f->first, f->first_count, f->again, f->again_count, "  # left at:", &point, out);
}

/* Whether the same was measured with another patience. */
static bool waits_differ(const struct sched_tune_sample *all, size_t n,
                         const struct sched_tune_sample *s)
{
    for (size_t i = 0; i < n; i++) {
        struct sched_tune_sample other = all[i];

        other.patience = s->patience;
        if (tune_same_way(&other, s) && !tune_same_way(&all[i], s))
            return true;
    }
    return false;
}

static void patience_put(const struct sched_tune_sample *all, size_t n, bool crowded,
                         const char *when, struct strbuf *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct sched_tune_sample *s = &all[i];

        if (s->crowded == crowded && s->us > 0 && waits_differ(all, n, s))
            strbuf_printf(out,
                          "# wait %s, %s of %" PRIu64 " bytes%s: %.2f us with spins %" PRIu32
                          " yields %" PRIu32 "\n",
                          crowded ? "crowded" : "spread", sched_op_name((enum sched_op)s->op),
                          s->size, when, s->us, s->patience.spins, s->patience.yields);
    }
}

/* The table as sched_tuning_print has it, with the measurements as comments. */
static void table_print(const struct sched_tuning *t, const struct figures *f, struct strbuf *out)
{
    struct sched_tuning head = *t, fixed;

    sched_tuning_default(&fixed);
    head.count = 0;
    sched_tuning_print(&head, out);
    tune_confirmation_put(f->record, out);
    for (unsigned c = 0; c < 2; c++) {
        patience_put(f->first, f->first_count, c, "", out);
        patience_put(f->again, f->again_count, c, ", again", out);
        tune_patience_confirmed_put(f->record, c, out);
    }
    for (unsigned i = 0; i < t->count; i++) {
        sched_tune_rule_print(&t->rule[i], out);
        reasons_put(f, t, i, &fixed, out);
        tune_confirmed_put(f->record, &t->rule[i], reach_least(t, i), out);
        strbuf_put(out, "\n");
    }
}

/* The table that is kept there and holds for this host. *ret_text: for mem_free, whether or not. */
static bool table_read(const struct options *o, struct sched_tuning *t, char **ret_text,
                       struct err *err)
{
    char host[SCHED_TUNE_HOST_MAX];

    *ret_text = NULL;
    if (!o->path[0])
        return false;
    if (means_read(o->path, t, ret_text, err) != NRT_SUCCESS)
        return false;
    means_host(host, sizeof(host));
    if (!t->host[0] || strcmp(t->host, host) == 0)
        return true;
    err_set(err, NRT_INVALID, "%s was measured on another host and is not used: the fixed table is",
            o->path);
    return false;
}

static int explain(const struct options *o)
{
    char *text;
    struct sched_tuning t;
    struct strbuf b = {0};
    struct err err = {0};
    bool kept = table_read(o, &t, &text, &err);

    if (kept)
        printf("# %s\n%s", o->path, text);
    else if (text)
        printf("# %s\n", err.text);
    else
        printf("# the fixed table%s%s\n", err.text[0] ? ": " : "", err.text);
    mem_free(text);
    if (kept)
        return EXIT_OK;
    sched_tuning_default(&t);
    sched_tuning_print(&t, &b);
    fputs(b.failed ? "" : b.s, stdout);
    strbuf_fini(&b);
    return EXIT_OK;
}

static int verify(const struct options *o)
{
    char *text;
    struct sched_tuning t;
    struct err err = {0};
    bool kept = table_read(o, &t, &text, &err);

    mem_free(text);
    if (!kept) {
        fprintf(stderr, "opennrt tune: no table to verify%s%s\n", err.text[0] ? ": " : "",
                err.text);
        return EXIT_FAILED;
    }
    printf("# %s\n", o->path);
    return tune_verify(&t, o->largest) ? EXIT_OK : EXIT_FAILED;
}

/* ---- measuring ---- */

/* Measures and decides; then once more with what mattered, since of many ways the fastest may be
 * the luckiest; then confirms what that left. False: it could not be, and a message was printed. */
static bool decide(uint64_t largest, struct figures *f, struct sched_tuning *ret)
{
    static struct sched_tune_sample first[TUNE_SAMPLES_MAX], again[TUNE_SAMPLES_MAX];
    static struct sched_tune_record record;
    struct err err = {0};

    *f = (struct figures){.first = first,
                          .again = again,
                          .first_count = tune_plan(first, largest),
                          .record = &record};
    if (!tune_measure(first, f->first_count, BUDGET_US, ROUNDS))
        return false;
    if (sched_tuning_decide(first, f->first_count, ret, &err) != NRT_SUCCESS) {
        fprintf(stderr, "opennrt tune: %s\n", err.text);
        return false;
    }
    f->again_count = tune_plan_again(first, f->first_count, ret, again);
    return tune_measure(again, f->again_count, AGAIN * BUDGET_US, AGAIN * ROUNDS + 1) &&
           tune_confirm(again, f->again_count, ret, &record);
}

static int measure(const struct options *o)
{
    struct figures f;
    struct sched_tuning tuned;
    struct strbuf b = {0};
    struct err err = {0};
    int rc = EXIT_FAILED;

    /* said before a minute of measuring, not after it */
    if (!o->dry_run && means_try(o->path, &err)) {
        fprintf(stderr, "opennrt tune: %s\n", err.text);
        return EXIT_FAILED;
    }
    if (!decide(o->largest, &f, &tuned))
        return EXIT_FAILED;
    means_host(tuned.host, sizeof(tuned.host));
    table_print(&tuned, &f, &b);
    if (b.failed) {
        fprintf(stderr, "opennrt tune: no memory\n");
    } else if (!o->dry_run && means_write(o->path, b.s, b.len, &err)) {
        fprintf(stderr, "opennrt tune: %s\n", err.text);
    } else {
        fputs(b.s, stdout);
        if (!o->dry_run)
            printf("# kept in %s\n", o->path);
        rc = EXIT_OK;
    }
    strbuf_fini(&b);
    return rc;
}

static bool largest_read(const char *text, uint64_t *ret)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);

    *ret = v << 20;
    return *text >= '0' && *text <= '9' && *end == 0 && v >= 1 && v <= LARGEST_MIB;
}

int cmd_tune(int argc, char **argv)
{
    struct options o = {.largest = (uint64_t)LARGEST_MIB << 20};
    const char *output = NULL, *largest = NULL;
    const struct tool_option options[] = {
        {0, "explain", NULL, "measure nothing; print the table in effect with what was measured",
         .flag = &o.explain},
        {0, "verify", NULL, "measure the table in effect against the fixed one, and print both",
         .flag = &o.verify},
        {0, "dry-run", NULL, "measure and print, keep nothing", .flag = &o.dry_run},
        {0, "output", "FILE", "keep it there (default: OPENNRT_TUNE, else the user's cache)",
         .text = &output},
        {0, "largest", "MIB", "largest operation measured (default 64)", .text = &largest}};
    const struct tool t = {
        "opennrt tune",
        "[options]",
        "Measures how this host carries out collective operations best, and keeps the table\n"
        "for the runtime. Run it while nothing else runs; it takes about a minute.\n",
        options,
        sizeof(options) / sizeof(options[0]),
        .mixed = true};
    int first, rc;

    if (!tool_parse(&t, argc, argv, &first, &rc))
        return rc;
    if (first < argc)
        return tool_usage(&t, "unexpected \"%s\"", argv[first]);
    if (!output && !means_path(o.path, sizeof(o.path)))
        o.path[0] = 0;
    if (output && (size_t)snprintf(o.path, sizeof(o.path), "%s", output) >= sizeof(o.path)) {
        fprintf(stderr, "opennrt tune: --output is too long\n");
        return EXIT_USAGE;
    }
    if (largest && !largest_read(largest, &o.largest)) {
        fprintf(stderr, "opennrt tune: --largest takes 1 to %d\n", LARGEST_MIB);
        return EXIT_USAGE;
    }
    if (o.explain)
        return explain(&o);
    if (o.verify)
        return verify(&o);
    if (!o.path[0] && !o.dry_run) {
        fprintf(stderr, "opennrt tune: nowhere to keep the table: set HOME, or give --output\n");
        return EXIT_FAILED;
    }
    return measure(&o);
}
