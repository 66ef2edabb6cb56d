/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives that the host drives, where one of two ranks has no host memory: at each of its
 * allocations in turn (where "all" is not asked for, at some of them, drawn by OPENNRT_SEED), from
 * the call on to the end of the operation. Ranks are processes of one
 * instance, or of two nodes. What fails says so on both, the rank that had memory waits for no
 * limit, and what comes next works. docs/driven.md. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "async_held.h"
#include "base/fault.h"
#include "coll_ranks.h"
#include "driven_world.h"
#include "runner.h"
#include "seed.h"

#define RANKS 2u

/* ---- a rank ---- */

/* What became of one session. */
struct outcome {
    NRT_STATUS call;        /* of the first nrta_cc_schedule, or of what came before */
    NRT_STATUS first, next; /* of the first request and of the one after it */
    uint64_t hits;          /* counted, where nothing was armed */
    unsigned fds;           /* open when it had ended */
};

static NRT_STATUS schedule(struct driven_run *r, nrta_error_tracker_t *t)
{
    nrt_cc_context_t *ctx = NULL;
    NRT_STATUS st = driven_prepare(r, &ctx);

    return st == NRT_SUCCESS ? nrta_cc_schedule(&ctx, 0, t, &r->seq) : st;
}

/* The status of the request, whose result is right if it has one. */
static NRT_STATUS ended(const struct driven_run *r, nrta_error_tracker_t *t)
{
    nrta_seq_t seq;
    bool done = false;

    while (!done) { /* a descriptor needs memory */
        if (nrta_is_completed(r->seq, &done) != NRT_SUCCESS)
            abort();
        if (!done)
            sched_yield();
    }
    fault_disarm();
    for (size_t i = 0; i < async_errors(t); i++) {
        NRT_STATUS st = (NRT_STATUS)async_error(t, i, &seq);

        if (seq == r->seq)
            return st;
    }
    if (driven_compare(r)) {
        fprintf(stderr, "%s\n", driven_compare(r));
        abort();
    }
    return NRT_SUCCESS;
}

/* hit: 0, it is counted how many there are; UINT64_MAX: nothing. */
static bool session(char **argv, uint64_t hit, uint64_t elems, struct outcome *ret)
{
    nrta_error_tracker_t *t;
    struct driven_case c;
    struct driven_run r, later;
    unsigned rank, ranks;
    char line[16];

    *ret = (struct outcome){.next = NRT_SUCCESS};
    if (!driven_rank_join(argv, &rank, &ranks, &t))
        return false;
    c = driven_sum_of(1, ranks, elems);
    driven_make(&r, &c, rank, 0);
    driven_make(&later, &c, rank, 0);
    runner_say("here");
    if (!runner_hear(line, sizeof(line)))
        return false;
    if (hit == 0)
        fault_count_start();
    else if (hit != UINT64_MAX)
        fault_arm(FAULT_ALLOC, hit);
    ret->call = schedule(&r, t);
    if (ret->call != NRT_SUCCESS) { /* nothing was left to the unit: once more */
        fault_disarm();
        if (schedule(&r, t) != NRT_SUCCESS)
            return false;
    }
    if (hit == 0) {
        async_finish(r.seq);
        ret->hits = fault_count(FAULT_ALLOC);
    }
    ret->first = ended(&r, t);
    runner_say("ended"); /* both schedule the next when both know how the first has ended */
    if (!runner_hear(line, sizeof(line)))
        return false;
    ret->next = schedule(&later, t);
    if (ret->next == NRT_SUCCESS)
        ret->next = ended(&later, t);
    nrt_close();
    ret->fds = runner_open_fds();
    return true;
}

/* Sessions as the test asks for them, "<hit> <elements>", until it closes its end. argv: rank,
 * ranks. */
static int rank_helper(int argc, char **argv)
{
    char line[64], said[96];
    unsigned long long hit, elems;
    struct outcome o;

    while (runner_hear(line, sizeof(line))) {
        if (sscanf(line, "%llu %llu", &hit, &elems) != 2 || !session(argv, hit, elems, &o))
            return 1;
        snprintf(said, sizeof(said), "%d %d %d %llu %u", (int)o.call, (int)o.first, (int)o.next,
                 (unsigned long long)o.hits, o.fds);
        runner_say(said);
    }
    return 0;
}

/* ---- the test ---- */

struct world {
    struct runner_proc p[RANKS];
    unsigned poor;
    uint64_t elems;
};

static struct outcome outcome_hear(struct runner_proc *p)
{
    struct outcome o = {NRT_SUCCESS};
    unsigned long long hits;
    int call, first, next;
    char line[96];

    assert_true(runner_line(p, line, sizeof(line), RUNNER_WAIT_MS));
    assert_int_equal(sscanf(line, "%d %d %d %llu %u", &call, &first, &next, &hits, &o.fds), 5);
    o.call = (NRT_STATUS)call;
    o.first = (NRT_STATUS)first;
    o.next = (NRT_STATUS)next;
    o.hits = hits;
    return o;
}

/* One session of both; the poor one lacks its allocation `hit`. */
static void once(struct world *w, uint64_t hit, struct outcome *o)
{
    char line[64];

    for (unsigned r = 0; r < RANKS; r++) {
        snprintf(line, sizeof(line), "%llu %llu",
                 (unsigned long long)(r == w->poor ? hit : UINT64_MAX),
                 (unsigned long long)w->elems);
        assert_true(runner_tell(&w->p[r], line));
    }
    for (unsigned r = 0; r < RANKS; r++)
        assert_true(runner_expect(&w->p[r], "here", RUNNER_WAIT_MS));
    for (unsigned r = 0; r < RANKS; r++)
        assert_true(runner_tell(&w->p[r], "go"));
    for (unsigned r = 0; r < RANKS; r++)
        assert_true(runner_expect(&w->p[r], "ended", RUNNER_WAIT_MS));
    for (unsigned r = 0; r < RANKS; r++)
        assert_true(runner_tell(&w->p[r], "go"));
    for (unsigned r = 0; r < RANKS; r++)
        o[r] = outcome_hear(&w->p[r]);
}

/* The job's root is in the process of rank 0: without it, or without its connection, the job is
 * over and nobody meets any more. Who hears of that first depends on when it was. */
static bool job_over(const struct outcome *o)
{
    NRT_STATUS bad[] = {o->first, o->next};

    for (unsigned i = 0; i < 2; i++)
        if (bad[i] != NRT_RESOURCE && bad[i] != NRT_FAILURE &&
            bad[i] != NRT_NETWORK_PROXY_FAILURE && bad[i] != NRT_EXEC_HW_ERR_COLLECTIVES &&
            (i == 0 || bad[i] != NRT_EXEC_UNIT_UNRECOVERABLE))
            return false;
    return api_log_has("NRT:net_job");
}

/* What may be, by docs/driven.md. */
static bool outcome_fits(const struct outcome *poor, const struct outcome *rich)
{
    NRT_STATUS next = NRT_EXEC_HW_ERR_COLLECTIVES;

    if (poor->first == NRT_SUCCESS)
        return rich->first == NRT_SUCCESS && poor->next == NRT_SUCCESS && rich->next == NRT_SUCCESS;
    if (poor->first == NRT_EXEC_HW_ERR_COLLECTIVES) /* it had begun, and its queue has ended */
        next = NRT_EXEC_UNIT_UNRECOVERABLE;
    else if (poor->first != NRT_RESOURCE)
        return false;
    if (rich->first == NRT_FAILURE) /* there is no communicator yet */
        return poor->next == NRT_SUCCESS && rich->next == NRT_SUCCESS;
    return rich->first == NRT_EXEC_HW_ERR_COLLECTIVES &&
           rich->next == NRT_EXEC_UNIT_UNRECOVERABLE && poor->next == next;
}

static void one_hit(struct world *w, uint64_t hit, unsigned seen[3])
{
    struct outcome o[RANKS], *poor = &o[w->poor], *rich = &o[1 - w->poor];
    char name[16];

    snprintf(name, sizeof(name), "rank %u", w->poor);
    api_log_clear();
    once(w, hit, o);
    if (!outcome_fits(poor, rich) && !(w->poor == 0 && job_over(poor) && job_over(rich)))
        fail_msg("hit %llu: the poor rank has %d, %d, %d, the other one %d, %d, %d\n%s",
                 (unsigned long long)hit, (int)poor->call, (int)poor->first, (int)poor->next,
                 (int)rich->call, (int)rich->first, (int)rich->next, api_log());
    if (poor->first != NRT_SUCCESS && (!api_log_has(name) || !api_log_has("memory")))
        fail_msg("hit %llu is not explained\n%s", (unsigned long long)hit, api_log());
    seen[0] += poor->call != NRT_SUCCESS;
    seen[1] += rich->first == NRT_FAILURE;
    seen[2] += rich->first == NRT_EXEC_HW_ERR_COLLECTIVES;
}

static bool all;
static uint64_t seed;

/* Every so many of its allocations. */
static void poor_rank(unsigned per_node, unsigned poor, uint64_t every)
{
    struct world w = {.poor = poor, .elems = 300};
    struct outcome o[RANKS], end[RANKS];
    unsigned seen[3] = {0};

    coll_root_env();
    for (unsigned r = 0; r < RANKS; r++)
        driven_rank_start(&w.p[r], "rank", r, RANKS, per_node, "");
    once(&w, 0, o);
    assert_true(o[poor].hits > 0);
    if (all)
        every = 1;
    for (uint64_t hit = 1 + seed % every; hit <= o[poor].hits; hit += every)
        one_hit(&w, hit, seen);
    once(&w, UINT64_MAX, end);
    for (unsigned r = 0; r < RANKS; r++) {
        assert_int_equal(end[r].first, NRT_SUCCESS);
        assert_int_equal(end[r].next, NRT_SUCCESS);
        assert_int_equal(end[r].fds, o[r].fds);
    }
    print_message("rank %u: %llu hits, %u in the call, %u before and %u after it was open\n", poor,
                  (unsigned long long)o[poor].hits, seen[0], seen[1], seen[2]);
    for (unsigned r = 0; r < RANKS; r++) /* who hears of the end of its input, ends */
        assert_int_equal(runner_wait(&w.p[r], RUNNER_WAIT_MS), 0);
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    if (per_node)
        driven_nodes_remove();
    api_log_clear();
}

static void of_one_instance(void **state)
{
    poor_rank(0, 1, 4);
    poor_rank(0, 0, 16);
}

static void between_nodes(void **state)
{
    poor_rank(1, 1, 16);
    poor_rank(1, 0, 40);
}

static int setup(void **state)
{
    seed = seed_take_new();
    setenv("OPENNRT_HOST_THREADS", "1", 1);
    return coll_setup(state);
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {{"rank", rank_helper}, {NULL, NULL}};
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(of_one_instance, coll_ranks_drop),
        cmocka_unit_test_teardown(between_nodes, coll_ranks_drop)};
    int rc = coll_program_begin(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    all = argc > 1 && strcmp(argv[1], "all") == 0;
    return cmocka_run_group_tests_name("api-driven-poor", tests, setup, coll_teardown);
}
