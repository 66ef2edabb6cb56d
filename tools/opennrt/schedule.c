/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt schedule: print, prove, count and draw the schedule of a collective operation. Nothing is
 * executed: only the pure rooms work here. */
#include "group.h"
#include "opennrt.h"
#include "schedule_table.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "sched/check.h"
#include "sched/draw.h"
#include "sched/text.h"

static void help(FILE *to)
{
    fprintf(to,
            "usage: opennrt schedule --op OP --alg ALG [--ranks N] [options]\n\n"
            "Prints what every rank does, step by step (docs/modules/sched.md has the form).\n\n"
            "      --op OP           all_gather, reduce_scatter, all_reduce, all_to_all, permute,\n"
            "                        sendrecv, barrier, all_gather_v, reduce_scatter_v,\n"
            "                        all_to_all_v\n"
            "      --alg ALG         ring, mesh, mesh_one, mesh_two, kangaring, rdh, hier,\n"
            "                        flat_ring, pairs\n"
            "      --intra ALG       inside a node, with --alg hier (default ring)\n"
            "      --inter ALG       between nodes, with --alg hier (default ring)\n"
            "      --variant NAME    staged (default), direct, inline\n"
            "      --ranks N         ranks in all (default: every core of every node)\n"
            "      --nodes N         nodes (default 1)\n"
            "      --instance TYPE   of the nodes (default trn2.48xlarge)\n"
            "      --lnc N           logical core size (default: of the type)\n"
            "      --count N         elements, as the operation counts them (default 1024)\n"
            "      --table N,N,...   of the variable forms: elements of the block of every rank;\n"
            "                        all_to_all_v: those that rank 0 sends, then of rank 1, ...\n"
            "                        (default: --count for all)\n"
            "      --dtype BYTES     size of an element: 1, 2, 4 (default) or 8\n"
            "      --in-place        input and output share memory\n"
            "      --channels N      0: what the topology offers (default)\n"
            "      --rank R          only this rank\n"
            "      --check           prove it instead of printing it\n"
            "      --counts          steps, bytes, touches and flows instead of steps\n"
            "      --svg FILE        draw it into FILE\n"
            "  -h, --help            this text\n");
}

struct job {
    const char *op, *alg, *intra, *inter, *variant, *instance, *svg, *table;
    uint64_t ranks, nodes, lnc, count, elem_size, channels, rank;
    bool in_place, one_rank, check, counts;
};

static int failed(const struct err *err)
{
    fprintf(stderr, "opennrt schedule: %s\n", err->text);
    return EXIT_FAILED;
}

/* ---- output ---- */

static int steps_print(const struct sched *s, const struct topo_group *g, const struct job *job)
{
    uint32_t first = job->one_rank ? (uint32_t)job->rank : 0;
    uint32_t last = job->one_rank ? (uint32_t)job->rank + 1 : sched_ranks(s);
    struct strbuf b = {0};

    sched_text_head_print(sched_ranks(s), sched_channels(s), &b);
    for (uint32_t r = first; r < last; r++)
        for (uint32_t ch = 0; ch < sched_channels(s); ch++) {
            struct sched_text_stream head = {.rank = r,
                                             .channel = ch,
                                             .node = g->node[r],
                                             .slot = sched_buffer_elems(s, SCHED_SLOT, r, ch),
                                             .temp = sched_buffer_elems(s, SCHED_TEMP, r, ch),
                                             .line = sched_buffer_elems(s, SCHED_LINE, r, ch)};
            const struct sched_step *st;
            struct sched_iter *it;
            uint64_t index = 0;
            NRT_STATUS status = sched_iter_create(s, r, ch, &it);

            sched_text_stream_print(&head, &b);
            while (status == NRT_SUCCESS && (st = sched_iter_next(it))) {
                sched_text_line_print(st, r, index++, sched_phase_name(s, st->phase), &b);
                if (b.len > 65536 && !b.failed) { /* schedules may be longer than memory */
                    fwrite(b.s, 1, b.len, stdout);
                    b.len = 0;
                }
            }
            if (status == NRT_SUCCESS)
                status = sched_iter_status(it);
            if (status == NRT_SUCCESS)
                sched_iter_destroy(it);
            if (status != NRT_SUCCESS || b.failed) {
                fprintf(stderr, "opennrt schedule: no memory\n");
                strbuf_fini(&b);
                return EXIT_FAILED;
            }
        }
    fwrite(b.s, 1, b.len, stdout);
    strbuf_fini(&b);
    return EXIT_OK;
}

static void counts_print(const struct sched_counts *n)
{
    printf("%6s %10s %14s %14s %14s %14s\n", "rank", "steps", "sent(B)", "network(B)", "reads",
           "writes");
    for (uint32_t r = 0; r < n->ranks; r++)
        printf("%6u %10" PRIu64 " %14" PRIu64 " %14" PRIu64 " %14" PRIu64 " %14" PRIu64 "\n", r,
               n->rank[r].steps, n->rank[r].sent_bytes, n->rank[r].net_bytes, n->rank[r].reads,
               n->rank[r].writes);
    printf("\n%7s %6s %6s %14s\n", "channel", "from", "to", "elements");
    for (size_t i = 0; i < n->flow_count; i++)
        printf("%7u %6u %6u %14" PRIu64 "\n", n->flow[i].channel, n->flow[i].from, n->flow[i].to,
               n->flow[i].elems);
}

static const char *phase_of(void *arg, unsigned phase)
{
    return sched_phase_name(arg, phase);
}

static int picture_write(struct sched *s, const struct sched_request *req,
                         const struct sched_check_source *source, const struct job *job)
{
    char title[160];
    struct sched_draw_options o = {.title = title, .phase = phase_of, .arg = s};
    struct strbuf svg = {0};
    struct err err = {0};
    NRT_STATUS status;
    FILE *f;
    bool ok;

    snprintf(title, sizeof(title), "%s, %s, %s: %u ranks on %u node%s, %" PRIu64 " elements",
             job->op, job->alg, sched_variant_name(req->variant), req->group->n, req->group->nodes,
             req->group->nodes == 1 ? "" : "s", job->count);
    status = sched_draw(req, sched_ranks(s), sched_channels(s), source, &o, &svg, &err);
    if (status == NRT_INVALID || status == NRT_RESOURCE || !svg.s) {
        strbuf_fini(&svg);
        return failed(&err);
    }
    f = fopen(job->svg, "wb");
    ok = f && fwrite(svg.s, 1, svg.len, f) == svg.len;
    if (f)
        ok = fclose(f) == 0 && ok;
    if (!ok)
        fprintf(stderr, "opennrt schedule: %s: %s\n", job->svg, strerror(errno));
    strbuf_fini(&svg);
    if (status != NRT_SUCCESS) /* drawn up to the violation */
        return failed(&err);
    return ok ? EXIT_OK : EXIT_FAILED;
}

/* ---- the schedule ---- */

static int proof_print(const struct sched *s, const struct sched_request *req,
                       const struct sched_check_source *source, const struct job *job)
{
    struct sched_counts n = {0};
    struct err err = {0};
    NRT_STATUS status =
        sched_check(req, sched_ranks(s), sched_channels(s), source, NULL, NULL, &n, &err);

    if (status != NRT_SUCCESS)
        return failed(&err);
    if (job->counts)
        counts_print(&n);
    if (job->check)
        printf("proved: %u ranks, %u channels, %" PRIu64 " steps of rank 0\n", sched_ranks(s),
               sched_channels(s), n.rank[0].steps);
    sched_counts_fini(&n);
    return EXIT_OK;
}

static int schedule_show(const struct job *job, const struct sched_request *req)
{
    struct sched_check_source source;
    struct sched *s;
    struct err err = {0};
    int rc = EXIT_OK;

    if (sched_create(req, &s, &err) != NRT_SUCCESS)
        return failed(&err);
    if (job->one_rank && job->rank >= sched_ranks(s)) {
        fprintf(stderr, "opennrt schedule: --rank %" PRIu64 ": there are %u ranks\n", job->rank,
                sched_ranks(s));
        sched_destroy(s);
        return EXIT_USAGE;
    }
    if (sched_check_open(s, &source) != NRT_SUCCESS) {
        sched_destroy(s);
        fprintf(stderr, "opennrt schedule: no memory\n");
        return EXIT_FAILED;
    }
    if (job->check || job->counts)
        rc = proof_print(s, req, &source, job);
    if (rc == EXIT_OK && job->svg)
        rc = picture_write(s, req, &source, job);
    if (!job->check && !job->counts && !job->svg)
        rc = steps_print(s, req->group, job);
    sched_check_close(&source);
    sched_destroy(s);
    return rc;
}

static int job_run(const struct job *job, struct sched_request *req)
{
    struct group_place place = {job->instance, job->nodes, 1, job->ranks, job->lnc};
    struct topo_world world;
    struct topo_group g;
    struct topo_pair *pairs = NULL;
    uint32_t *cells = NULL;
    int rc = group_open("opennrt schedule", &place, &world, &g);

    if (rc != EXIT_OK)
        return rc;
    if (req->op == SCHED_PERMUTE) {
        pairs = group_pairs(g.n);
        req->pairs = pairs;
        req->pair_count = pairs ? g.n : 0;
    }
    req->group = &g;
    if (sched_op_varies(req->op) && !schedule_table_fill(job->table, job->count, req, &cells))
        rc = EXIT_USAGE;
    else
        rc = schedule_show(job, req);
    free(cells);
    free(pairs);
    topo_group_fini(&g);
    return rc;
}

/* ---- arguments ---- */

static bool number(const char *option, const char *text, uint64_t max, uint64_t *ret)
{
    return group_number("opennrt schedule", option, text, 0, max, ret);
}

static bool elem_size(const char *text, uint64_t *ret)
{
    if (!number("dtype", text, 8, ret))
        return false;
    if (*ret == 1 || *ret == 2 || *ret == 4 || *ret == 8)
        return true;
    fprintf(stderr, "opennrt schedule: --dtype wants 1, 2, 4 or 8, not \"%s\"\n", text);
    return false;
}

static bool alg_named(const char *option, const char *name, enum sched_alg *ret)
{
    *ret = sched_alg_from_name(name);
    if (*ret == SCHED_ALG_COUNT)
        fprintf(stderr, "opennrt schedule: --%s: unknown algorithm \"%s\"\n", option, name);
    return *ret != SCHED_ALG_COUNT;
}

static bool request_make(const struct job *job, struct sched_request *req)
{
    *req = (struct sched_request){.op = sched_op_from_name(job->op),
                                  .variant = sched_variant_from_name(job->variant),
                                  .counts = &job->count,
                                  .elem_size = (uint32_t)job->elem_size,
                                  .in_place = job->in_place,
                                  .channels = (uint32_t)job->channels};
    req->tensors = req->op == SCHED_BARRIER ? 0 : 1;
    if (req->op == SCHED_OP_COUNT) {
        fprintf(stderr, "opennrt schedule: --op: unknown operation \"%s\"\n", job->op);
        return false;
    }
    if (job->table && !sched_op_varies(req->op)) {
        fprintf(stderr, "opennrt schedule: --table: %s has blocks of one length\n", job->op);
        return false;
    }
    if (req->variant == SCHED_VARIANT_COUNT) {
        fprintf(stderr, "opennrt schedule: --variant: unknown variant \"%s\"\n", job->variant);
        return false;
    }
    return alg_named("alg", job->alg, &req->alg) && alg_named("intra", job->intra, &req->intra) &&
           alg_named("inter", job->inter, &req->inter);
}

static const struct option options[] = {
    {"op", required_argument, NULL, 'o'},      {"alg", required_argument, NULL, 'a'},
    {"intra", required_argument, NULL, 'y'},   {"inter", required_argument, NULL, 'x'},
    {"variant", required_argument, NULL, 'v'}, {"instance", required_argument, NULL, 'i'},
    {"svg", required_argument, NULL, 's'},     {"ranks", required_argument, NULL, 'n'},
    {"nodes", required_argument, NULL, 'N'},   {"lnc", required_argument, NULL, 'l'},
    {"count", required_argument, NULL, 'c'},   {"table", required_argument, NULL, 't'},
    {"dtype", required_argument, NULL, 'd'},   {"channels", required_argument, NULL, 'k'},
    {"rank", required_argument, NULL, 'r'},    {"in-place", no_argument, NULL, 'p'},
    {"check", no_argument, NULL, 'C'},         {"counts", no_argument, NULL, 'T'},
    {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};

/* One option; false: wrong, and said so. */
static bool option_take(struct job *job, int c, const char *arg)
{
    switch (c) {
    case 'o':
        job->op = arg;
        return true;
    case 'a':
        job->alg = arg;
        return true;
    case 'y':
        job->intra = arg;
        return true;
    case 'x':
        job->inter = arg;
        return true;
    case 'v':
        job->variant = arg;
        return true;
    case 'i':
        job->instance = arg;
        return true;
    case 's':
        job->svg = arg;
        return true;
    case 'n':
        return number("ranks", arg, TOPO_MAX_RANKS, &job->ranks);
    case 'N':
        return group_number("opennrt schedule", "nodes", arg, 1, TOPO_MAX_RANKS, &job->nodes);
    case 'l':
        return number("lnc", arg, 2, &job->lnc);
    case 'c':
        return number("count", arg, UINT64_MAX, &job->count);
    case 't':
        job->table = arg;
        return true;
    case 'd':
        return elem_size(arg, &job->elem_size);
    case 'k':
        return number("channels", arg, SCHED_CHANNELS_MAX, &job->channels);
    case 'r':
        job->one_rank = true;
        return number("rank", arg, TOPO_MAX_RANKS, &job->rank);
    case 'p':
        return job->in_place = true;
    case 'C':
        return job->check = true;
    case 'T':
        return job->counts = true;
    default:
        return false;
    }
}

int cmd_schedule(int argc, char **argv)
{
    struct job job = {.intra = "ring",
                      .inter = "ring",
                      .variant = "staged",
                      .instance = "trn2.48xlarge",
                      .nodes = 1,
                      .count = 1024,
                      .elem_size = 4};
    struct sched_request req;
    int c;

    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            help(stdout);
            return EXIT_OK;
        }
        if (!option_take(&job, c, optarg)) {
            help(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind != argc || !job.op || !job.alg) {
        if (optind != argc)
            fprintf(stderr, "opennrt schedule: what is \"%s\"?\n", argv[optind]);
        else
            fprintf(stderr, "opennrt schedule: --%s is missing\n", job.op ? "alg" : "op");
        help(stderr);
        return EXIT_USAGE;
    }
    if (!request_make(&job, &req))
        return EXIT_USAGE;
    return job_run(&job, &req);
}
