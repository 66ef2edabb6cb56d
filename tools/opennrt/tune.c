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
#define LARGEST_MIB 64

struct options {
    bool explain, dry_run;
    char path[PATH_SIZE];
    uint64_t largest;
};

/* ---- explaining ---- */

static void means_text(struct sched_means m, char *ret, size_t size)
{
    snprintf(ret, size, "%s %s %" PRIu32 "K", sched_variant_name((enum sched_variant)m.variant),
             m.around ? "around" : "through", m.slice >> 10);
}

/* Behind a rule, as a comment: every way of its point with its time. */
static void reasons_put(const struct sched_tune_sample *s, size_t n,
                        const struct sched_tune_rule *rule, uint64_t size,
                        const struct sched_tuning *fixed, struct strbuf *out)
{
    struct sched_patience patience = fixed->patience[rule->crowded];
    struct sched_means was =
        sched_tuning_choose(fixed, (enum sched_op)rule->op, rule->crowded, size);
    const char *sep = "  # us:";

    for (size_t i = 0; i < n; i++) {
        char text[64];

        if (s[i].op != rule->op || s[i].crowded != rule->crowded || s[i].size != size ||
            s[i].patience.spins != patience.spins || s[i].patience.yields != patience.yields ||
            !(s[i].us > 0))
            continue;
        means_text(s[i].means, text, sizeof(text));
        strbuf_printf(out, "%s %.2f %s%s", sep, s[i].us, text,
                      s[i].means.variant == was.variant && s[i].means.around == was.around &&
                              s[i].means.slice == was.slice
                          ? " (fixed table)"
                          : "");
        sep = ";";
    }
}

static uint64_t point_size(const struct sched_tune_sample *s, size_t n,
                           const struct sched_tune_rule *rule)
{
    uint64_t largest = 0;

    if (rule->size_max)
        return rule->size_max;
    for (size_t i = 0; i < n; i++)
        if (s[i].op == rule->op && s[i].crowded == rule->crowded && s[i].size > largest)
            largest = s[i].size;
    return largest;
}

static void patience_put(const struct sched_tune_sample *s, size_t n, bool crowded,
                         struct strbuf *out)
{
    for (size_t i = 0; i < n; i++)
        if (s[i].crowded == crowded && s[i].op == SCHED_ALL_REDUCE && s[i].us > 0)
            for (size_t k = 0; k < n; k++)
                if (k != i && s[k].op == s[i].op && s[k].crowded == crowded &&
                    s[k].size == s[i].size && s[k].us > 0 &&
                    (s[k].patience.spins != s[i].patience.spins ||
                     s[k].patience.yields != s[i].patience.yields) &&
                    s[k].means.variant == s[i].means.variant) {
                    strbuf_printf(out,
                                  "# wait %s, all_reduce of %" PRIu64 " bytes: %.2f us with spins "
                                  "%" PRIu32 " yields %" PRIu32 "\n",
                                  crowded ? "crowded" : "spread", s[i].size, s[i].us,
                                  s[i].patience.spins, s[i].patience.yields);
                    break;
                }
}

/* The table as sched_tuning_print has it, with the measurements as comments. */
static void table_print(const struct sched_tuning *t, const struct sched_tune_sample *s, size_t n,
                        struct strbuf *out)
{
    struct sched_tuning head = *t, fixed;

    sched_tuning_default(&fixed);
    head.count = 0;
    sched_tuning_print(&head, out);
    for (unsigned c = 0; c < 2; c++)
        patience_put(s, n, c, out);
    for (unsigned i = 0; i < t->count; i++) {
        sched_tune_rule_print(&t->rule[i], out);
        reasons_put(s, n, &t->rule[i], point_size(s, n, &t->rule[i]), &fixed, out);
        strbuf_put(out, "\n");
    }
}

static int explain(const struct options *o)
{
    char host[SCHED_TUNE_HOST_MAX], *text = NULL;
    struct sched_tuning t;
    struct strbuf b = {0};
    struct err err = {0};
    NRT_STATUS st = o->path[0] ? means_read(o->path, &t, &text, &err) : NRT_FAILURE;

    means_host(host, sizeof(host));
    if (st == NRT_SUCCESS && (!t.host[0] || strcmp(t.host, host) == 0)) {
        printf("# %s\n%s", o->path, text);
        mem_free(text);
        return EXIT_OK;
    }
    if (st == NRT_SUCCESS)
        printf("# %s was measured on another host and is not used: the fixed table is\n", o->path);
    else
        printf("# the fixed table%s%s\n", err.text[0] ? ": " : "", err.text);
    mem_free(text);
    sched_tuning_default(&t);
    sched_tuning_print(&t, &b);
    fputs(b.failed ? "" : b.s, stdout);
    strbuf_fini(&b);
    return EXIT_OK;
}

/* ---- measuring ---- */

static int measure(const struct options *o)
{
    static struct sched_tune_sample samples[TUNE_SAMPLES_MAX];
    size_t n = tune_plan(samples, o->largest);
    struct sched_tuning tuned;
    struct strbuf b = {0};
    struct err err = {0};
    int rc = EXIT_FAILED;

    if (!tune_measure(samples, n, BUDGET_US))
        return EXIT_FAILED;
    if (sched_tuning_decide(samples, n, &tuned, &err)) {
        fprintf(stderr, "opennrt tune: %s\n", err.text);
        return EXIT_FAILED;
    }
    means_host(tuned.host, sizeof(tuned.host));
    table_print(&tuned, samples, n, &b);
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
        {0, "dry-run", NULL, "measure and print, keep nothing", .flag = &o.dry_run},
        {0, "output", "FILE", "keep it there (default: OPENNRT_TUNE, else the user's cache)",
         .text = &output},
        {0, "largest", "MIB", "largest operation measured (default 64)", .text = &largest}};
    const struct tool t = {
        "opennrt tune",
        "[options]",
        "Measures how this host carries out collective operations best, and keeps the table\n"
        "for the runtime. Run it while nothing else runs; it takes about half a minute.\n",
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
    if (!o.path[0] && !o.dry_run) {
        fprintf(stderr, "opennrt tune: nowhere to keep the table: set HOME, or give --output\n");
        return EXIT_FAILED;
    }
    return measure(&o);
}
