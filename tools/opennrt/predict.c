/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt predict: how long a collective operation would last on instances that need not be there.
 * Nothing is executed and no data moves: only the pure rooms work here (docs/predict.md). */
#include "group.h"
#include "opennrt.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "time/collective.h"

static void help(FILE *to)
{
    fprintf(
        to,
        "usage: opennrt predict --op OP [options]\n\n"
        "Predicts how long a collective operation lasts (docs/predict.md).\n\n"
        "      --op OP           all_gather, reduce_scatter, all_reduce, all_to_all, permute,\n"
        "                        sendrecv, barrier\n"
        "      --instance TYPE   of the nodes (default trn2.48xlarge)\n"
        "      --nodes N         nodes (default 1)\n"
        "      --ranks N         ranks in all (default: every core of every node)\n"
        "      --cores LIST      logical cores of every node that have ranks, A,B,...\n"
        "      --servers N       servers that NeuronLink joins to one node (default 1)\n"
        "      --lnc N           logical core size (default: of the type)\n"
        "      --sizes LIST      bytes of the larger side: A,B,..., or A:B[:F], from A to B by\n"
        "                        factors of F (default 1M; K, M and G are powers of 1024; F\n"
        "                        is 2)\n"
        "      --dtype BYTES     size of an element: 1, 2, 4 (default) or 8\n"
        "      --alg ALG         instead of the documented table's choice: ring, mesh,\n"
        "                        mesh_one, kangaring, rdh, flat_ring\n"
        "      --set NAME=VALUE  another value for a cost of data/coll_times.json; may be given\n"
        "                        again\n"
        "      --parts           what the time consists of\n"
        "      --json            JSON instead of a table\n"
        "  -h, --help            this text\n");
}

struct job {
    const char *op, *alg;
    struct group_place place;
    uint64_t elem_size;
    uint64_t *sizes;
    size_t size_count, size_cap;
    double set[TIME_RATE_COUNT]; /* NAN: as it is */
    bool parts, json;
};

static int failed(const struct err *err)
{
    fprintf(stderr, "opennrt predict: %s\n", err->text);
    return EXIT_FAILED;
}

/* ---- output ---- */

static void unknown_print(uint32_t unknown, const char *separator, const char *quote)
{
    const char *before = "";

    for (int i = 0; i < TIME_RATE_COUNT; i++)
        if (unknown >> i & 1) {
            printf("%s%s%s%s", before, quote, time_rate_name((enum time_rate)i), quote);
            before = separator;
        }
}

static void bar_format(char *text, size_t size, double low_ns, double high_ns)
{
    if (isnan(low_ns))
        snprintf(text, size, "unknown");
    else
        snprintf(text, size, "%.2f..%.2f", low_ns / 1e3, high_ns / 1e3);
}

static void row_print(const struct job *job, const struct time_answer *a)
{
    char bar[48];

    bar_format(bar, sizeof(bar), a->low_ns, a->high_ns);
    printf("%12" PRIu64 " %14.2f %24s %12.2f %12.2f %10s  %s%s\n", a->size, a->time.ns / 1e3, bar,
           a->algbw, a->busbw, sched_choice_printed(&a->choice), time_part_name(a->time.bottleneck),
           a->time.unknown ? " (lower bound)" : "");
    for (int p = 0; job->parts && p < TIME_PART_COUNT; p++)
        if (a->time.part_ns[p] > 0)
            printf("%12s %14.2f   %s\n", "", a->time.part_ns[p] / 1e3,
                   time_part_name((enum time_part)p));
}

static void row_json(const struct time_answer *a, bool first)
{
    printf("%s{\"size(B)\":%" PRIu64 ",\"time(us)\":%.3f,", first ? "" : ",\n", a->size,
           a->time.ns / 1e3);
    if (isnan(a->low_ns))
        printf("\"low(us)\":null,\"high(us)\":null,");
    else
        printf("\"low(us)\":%.3f,\"high(us)\":%.3f,", a->low_ns / 1e3, a->high_ns / 1e3);
    printf("\"algbw(GB/s)\":%.4f,\"busbw(GB/s)\":%.4f,\"algorithm\":\"%s\",\"bottleneck\":\"%s\","
           "\"parts(us)\":{",
           a->algbw, a->busbw, sched_choice_printed(&a->choice),
           time_part_name(a->time.bottleneck));
    for (int p = 0; p < TIME_PART_COUNT; p++)
        printf("%s\"%s\":%.3f", p ? "," : "", time_part_name((enum time_part)p),
               a->time.part_ns[p] / 1e3);
    printf("},\"unknown\":[");
    unknown_print(a->time.unknown, ",", "\"");
    printf("],\"roles\":%u,\"steps\":%" PRIu64 "}", a->time.roles, a->time.steps);
}

static void head_print(const struct job *job, const struct topo_group *g)
{
    if (job->json) {
        printf("{\"operation\":\"%s\",\"instance\":\"%s\",\"nodes\":%u,\"ranks\":%u,\"lnc\":%u,"
               "\"results\":[\n",
               job->op, job->place.instance, g->nodes, g->n, g->world.lnc);
        return;
    }
    printf("%s: %u rank%s on %u node%s of %s, LNC %u; a prediction, nothing was executed\n\n",
           job->op, g->n, g->n == 1 ? "" : "s", g->nodes, g->nodes == 1 ? "" : "s",
           job->place.instance, g->world.lnc);
    printf("%12s %14s %24s %12s %12s %10s  %s\n", "size(B)", "time(us)", "error bar(us)",
           "algbw(GB/s)", "busbw(GB/s)", "algorithm", "bottleneck");
}

static void tail_print(const struct job *job, uint32_t unknown)
{
    if (job->json) {
        printf("]}\n");
        return;
    }
    if (!unknown)
        return;
    printf("\nLower bounds: nothing is published or measured about ");
    unknown_print(unknown, ", ", "");
    printf(".\n");
}

/* ---- the prediction ---- */

static int sizes_predict(const struct job *job, struct time_question *q)
{
    struct time_answer a = {0};
    struct time_rates rates;
    uint32_t unknown = 0;
    struct err err = {0};

    time_rates_find(q->group, &rates);
    for (int i = 0; i < TIME_RATE_COUNT; i++)
        if (!isnan(job->set[i]))
            rates.value[i] = job->set[i];
    q->rates = &rates;
    for (size_t i = 0; i < job->size_count; i++) {
        bool same = i > 0 && job->sizes[i] >= q->size && job->sizes[i] <= a.size; /* rounded up */

        q->size = job->sizes[i];
        if (!same && time_predict(q, &a, &err) != NRT_SUCCESS)
            return failed(&err);
        unknown |= a.time.unknown;
        if (i == 0)
            head_print(job, q->group);
        if (job->json)
            row_json(&a, i == 0);
        else
            row_print(job, &a);
    }
    tail_print(job, unknown);
    return EXIT_OK;
}

static int job_run(const struct job *job, struct time_question *q)
{
    struct topo_pair *pairs = NULL;
    struct topo_world world;
    struct topo_group g;
    int rc = group_open("opennrt predict", &job->place, &world, &g);

    if (rc != EXIT_OK)
        return rc;
    q->group = &g;
    if (q->op == SCHED_PERMUTE) {
        pairs = group_pairs(g.n);
        q->pairs = pairs;
        q->pair_count = pairs ? g.n : 0;
    }
    rc = sizes_predict(job, q);
    free(pairs);
    topo_group_fini(&g);
    return rc;
}

/* ---- arguments ---- */

static bool number(const char *option, const char *text, uint64_t max, uint64_t *ret)
{
    return group_number("opennrt predict", option, text, 1, max, ret);
}

/* One size with a unit of 1024; *text moves behind it. */
static bool size_take(const char **text, uint64_t *ret)
{
    static const char units[] = "kmgt";
    const char *unit;
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(*text, &end, 10);
    if (**text < '0' || **text > '9' || errno)
        return false;
    unit = *end ? strchr(units, *end | 0x20) : NULL;
    if (unit) {
        unsigned shift = 10 * (unsigned)(unit - units + 1);

        if (v > UINT64_MAX >> shift)
            return false;
        v <<= shift;
        end++;
        end += *end == 'B' || *end == 'b';
    }
    *text = end;
    *ret = v;
    return true;
}

static bool size_add(struct job *job, uint64_t size)
{
    if (size == 0 || size > UINT64_C(1) << 40 ||
        !mem_grow((void **)&job->sizes, &job->size_cap, job->size_count + 1, sizeof(*job->sizes)))
        return false;
    job->sizes[job->size_count++] = size;
    return true;
}

/* A:B[:F]; *text stands behind A. */
static bool range_take(const char **text, struct job *job, uint64_t size)
{
    uint64_t last, factor = 2;

    ++*text;
    if (!size_take(text, &last) || last < size)
        return false;
    if (**text == ':') {
        ++*text;
        if (!size_take(text, &factor) || factor < 2)
            return false;
    }
    while (size <= last / factor) {
        size *= factor;
        if (!size_add(job, size))
            return false;
    }
    return true;
}

static bool sizes_take(const char *text, struct job *job)
{
    const char *at = text;
    uint64_t size;
    bool ok;

    job->size_count = 0;
    do {
        ok = size_take(&at, &size) && size_add(job, size);
        if (ok && *at == ':')
            ok = range_take(&at, job, size);
    } while (ok && *at++ == ',');
    if (ok && at[-1] == '\0')
        return true;
    fprintf(stderr, "opennrt predict: --sizes wants A, A,B or A:B[:F] up to 1024G, not \"%s\"\n",
            text);
    return false;
}

static bool dtype_take(const char *text, struct job *job)
{
    if (!number("dtype", text, 8, &job->elem_size))
        return false;
    if ((job->elem_size & (job->elem_size - 1)) == 0)
        return true;
    fprintf(stderr, "opennrt predict: --dtype wants 1, 2, 4 or 8, not \"%s\"\n", text);
    return false;
}

static bool set_take(const char *text, struct job *job)
{
    const char *equals = strchr(text, '=');
    enum time_rate rate = TIME_RATE_COUNT;
    char name[32], *end;
    double v;

    if (equals && (size_t)(equals - text) < sizeof(name)) {
        memcpy(name, text, (size_t)(equals - text));
        name[equals - text] = '\0';
        rate = time_rate_from_name(name);
    }
    v = equals ? strtod(equals + 1, &end) : 0;
    if (rate == TIME_RATE_COUNT || end == equals + 1 || *end || !(v >= 0) || v > 1e12 ||
        (v == 0 && rate > TIME_RATE_NET)) {
        fprintf(stderr, "opennrt predict: --set wants a cost and its value, not \"%s\"\n", text);
        return false;
    }
    job->set[rate] = v;
    return true;
}

static const struct option options[] = {{"op", required_argument, NULL, 'o'},
                                        {"instance", required_argument, NULL, 'i'},
                                        {"nodes", required_argument, NULL, 'N'},
                                        {"ranks", required_argument, NULL, 'n'},
                                        {"lnc", required_argument, NULL, 'l'},
                                        {"servers", required_argument, NULL, 'S'},
                                        {"cores", required_argument, NULL, 'c'},
                                        {"sizes", required_argument, NULL, 's'},
                                        {"dtype", required_argument, NULL, 'd'},
                                        {"alg", required_argument, NULL, 'a'},
                                        {"set", required_argument, NULL, '='},
                                        {"parts", no_argument, NULL, 'p'},
                                        {"json", no_argument, NULL, 'j'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

/* One option; false: wrong, and said so. */
static bool option_take(struct job *job, int c, const char *arg)
{
    switch (c) {
    case 'o':
        job->op = arg;
        return true;
    case 'i':
        job->place.instance = arg;
        return true;
    case 'a':
        job->alg = arg;
        return true;
    case 'N':
        return number("nodes", arg, TOPO_MAX_RANKS, &job->place.nodes);
    case 'n':
        return number("ranks", arg, TOPO_MAX_RANKS, &job->place.ranks);
    case 'l':
        return number("lnc", arg, 2, &job->place.lnc);
    case 'c':
        return group_cores("opennrt predict", arg, &job->place);
    case 'S':
        return number("servers", arg, TOPO_MAX_CHIPS, &job->place.servers);
    case 's':
        return sizes_take(arg, job);
    case 'd':
        return dtype_take(arg, job);
    case '=':
        return set_take(arg, job);
    case 'p':
        return job->parts = true;
    case 'j':
        return job->json = true;
    default:
        return false;
    }
}

static bool question_make(const struct job *job, struct time_question *q, enum sched_alg *alg)
{
    *q = (struct time_question){.op = sched_op_from_name(job->op),
                                .elem_size = (uint32_t)job->elem_size};
    if (q->op == SCHED_OP_COUNT || sched_op_varies(q->op)) {
        fprintf(stderr, "opennrt predict: --op: unknown operation \"%s\", or one with tables\n",
                job->op);
        return false;
    }
    if (!job->alg)
        return true;
    *alg = sched_alg_from_name(job->alg);
    q->alg = alg;
    if (*alg == SCHED_ALG_COUNT || *alg == SCHED_HIER) {
        fprintf(stderr, "opennrt predict: --alg: unknown algorithm \"%s\"\n", job->alg);
        return false;
    }
    return true;
}

/* The exit code; -1: go on. */
static int arguments_take(struct job *job, int argc, char **argv)
{
    int c;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            help(stdout);
            return EXIT_OK;
        }
        if (!option_take(job, c, optarg)) {
            help(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind != argc || !job->op) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (job->size_count == 0 && !size_add(job, 1 << 20))
        return EXIT_FAILED;
    return -1;
}

int cmd_predict(int argc, char **argv)
{
    struct job job = {.place = {.instance = "trn2.48xlarge", .nodes = 1, .servers = 1},
                      .elem_size = 4};
    struct time_question q;
    enum sched_alg alg;
    int rc;

    for (int i = 0; i < TIME_RATE_COUNT; i++)
        job.set[i] = NAN;
    rc = arguments_take(&job, argc, argv);
    if (rc < 0)
        rc = question_make(&job, &q, &alg) ? job_run(&job, &q) : EXIT_USAGE;
    mem_free(job.sizes);
    return rc;
}
