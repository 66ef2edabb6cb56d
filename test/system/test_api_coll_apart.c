/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that do not come together in a load: their tables differ in one of several groups, one runs
 * out of host memory anywhere, is killed, or makes its calls in another order. Nobody waits for
 * ever, and everybody gets the documented status. And what goes on while a load waits. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "base/fault.h"
#include "coll/coll_int.h"
#include "coll_limit.h"
#include "coll_ranks.h"
#include "models.h"
#include "proves.h"
#include "runner.h"
#include "seed.h"

static uint32_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

/* ---- tables of several groups ---- */

struct part {
    uint64_t n;        /* floats */
    uint32_t ranks[3]; /* of the group; ends with UINT32_MAX */
    unsigned stream;
};
#define ALL UINT32_MAX

/* One all_reduce per part; all of those in which `rank` takes part are started, one by one. */
static struct bytes parts_neff(const struct part *part, unsigned count, uint32_t rank)
{
    struct neff_build *b = neff_build_create("parts");
    struct prog p;

    prog_init(&p, ISA_SP);
    for (unsigned i = 0, done = 0; i < count; i++) {
        const struct part *t = &part[i];
        char in_name[8], out_name[8];
        struct neff_build_coll_group group = {t->ranks, 0};
        struct neff_build_coll_range in, out;
        struct neff_build_coll c = coll_floats("all_reduce", &group, &in, &out);
        bool mine = false;

        while (group.count < 3 && t->ranks[group.count] != ALL)
            mine = t->ranks[group.count++] == rank || mine;
        snprintf(in_name, sizeof(in_name), "a%u", i);
        snprintf(out_name, sizeof(out_name), "c%u", i);
        in = (struct neff_build_coll_range){neff_build_input(b, 0, in_name, "float32", 1, &t->n), 0,
                                            4 * t->n};
        out = (struct neff_build_coll_range){neff_build_output(b, 0, out_name, "float32", 1, &t->n),
                                             0, 4 * t->n};
        c.stream = t->stream;
        neff_build_collective(b, 0, &c);
        if (mine)
            coll_prog(&p, (int32_t)i, (int32_t)++done);
    }
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

/* Of a chain of groups of two, two ranks differ in the middle one: the ranks at the ends, which
 * have nothing to do with it, fail as the others do, with the same words. Without a root it is the
 * last load that tells. */
static void a_difference_in_one_group_fails_all_ranks(void **state)
{
    static const struct part good[] = {
        {16, {0, 1, ALL}, 0}, {16, {1, 2, ALL}, 0}, {16, {2, 3, ALL}, 0}};
    static const struct part size[] = {
        {16, {0, 1, ALL}, 0}, {20, {1, 2, ALL}, 0}, {16, {2, 3, ALL}, 0}};
    static const struct part less[] = {{16, {0, 1, ALL}, 0}, {16, {2, 3, ALL}, 0}};

    for (unsigned root = 0; root < 2; root++) {
        struct coll_caller k[4];
        struct bytes f[4];

        if (root)
            coll_root_env();
        coll_session(4);
        for (unsigned how = 0; how < 3; how++) {
            unsigned refused = 0;

            for (uint32_t r = 0; r < 4; r++)
                f[r] = r != 2 || how == 2 ? parts_neff(good, 3, r)
                       : how == 0         ? parts_neff(size, 3, r)
                                          : parts_neff(less, 2, r);
            api_log_clear();
            coll_callers_load(k, 4, f);
            for (unsigned r = 0; r < 4; r++) {
                if (k[r].loaded == NRT_SUCCESS)
                    assert_ok(nrt_unload(k[r].m));
                else
                    assert_int_equal(k[r].loaded, NRT_INVALID);
                refused += k[r].loaded == NRT_INVALID;
                neff_free(&f[r]);
            }
            assert_int_equal(refused, how == 2 ? 0 : root ? 4 : 1);
            if (how == 0)
                assert_true(api_log_has("sg00/collectives.json: [1]: rank 2 has another operation, "
                                        "size, type or algorithm here than rank 1"));
            if (how == 1)
                assert_true(
                    api_log_has("sg00/collectives.json: [1]: of its group of 2, whose first "
                                "is rank 1, only 1 ranks have it: not the one at position 1"));
            coll_nothing_held(4);
        }
        nrt_close();
    }
    unsetenv("NEURON_RT_ROOT_COMM_ID");
}

/* The same groups in another order on each rank: no two wait for each other. */
static void groups_in_any_order_are_opened_in_one(void **state)
{
    static const struct part three[] = {
        {16, {0, 1, ALL}, 0}, {16, {1, 2, ALL}, 0}, {16, {2, 0, ALL}, 0}, {16, {0, 1, 2}, 1}};
    static const unsigned orders[][4] = {{0, 1, 2, 3}, {1, 3, 0, 2}, {2, 3, 1, 0}, {3, 2, 1, 0}};

    coll_session(3);
    for (unsigned i = 0; i < 12; i++) {
        struct coll_caller k[3];
        struct bytes f[3];

        for (uint32_t r = 0; r < 3; r++) {
            const unsigned *order = orders[draw(4)];
            struct part mine[4];

            for (unsigned p = 0; p < 4; p++)
                mine[p] = three[order[p]];
            f[r] = parts_neff(mine, 4, r);
        }
        coll_callers_load(k, 3, f);
        for (unsigned r = 0; r < 3; r++) {
            assert_int_equal(k[r].loaded, NRT_SUCCESS);
            assert_ok(nrt_unload(k[r].m));
            neff_free(&f[r]);
        }
    }
    coll_nothing_held(3);
    nrt_close();
}

/* ---- calls in opposite order ---- */

struct crossing {
    pthread_t thread;
    unsigned rank;
    bool barrier_first;
    struct bytes neff;
    NRT_STATUS load, barrier;
    nrt_model_t *m;
};

static void *crossing_thread(void *arg)
{
    struct crossing *c = arg;

    c->load = nrt_build_global_comm((int32_t)c->rank, c->rank, 2);
    if (c->load != NRT_SUCCESS)
        return NULL;
    if (c->barrier_first)
        c->barrier = nrt_barrier((int32_t)c->rank, c->rank, 2);
    c->load =
        nrt_load_collectives(c->neff.data, c->neff.size, (int32_t)c->rank, -1, c->rank, 2, &c->m);
    if (!c->barrier_first)
        c->barrier = nrt_barrier((int32_t)c->rank, c->rank, 2);
    return NULL;
}

static void crossing_run(struct crossing *c, struct bytes f, bool opposite)
{
    for (unsigned r = 0; r < 2; r++) {
        c[r] = (struct crossing){.rank = r, .neff = f, .barrier_first = opposite && r == 1};
        assert_int_equal(pthread_create(&c[r].thread, NULL, crossing_thread, &c[r]), 0);
    }
    for (unsigned r = 0; r < 2; r++)
        pthread_join(c[r].thread, NULL);
}

/* A load of a world without a root waits for nobody. */
static void a_load_before_a_barrier_here_and_after_it_there(void **state)
{
    struct bytes f = coll_neff(2, 16, 1, 0, 1);

    setenv("NEURON_RT_EXEC_TIMEOUT", "10", 1); /* in one order they meet before */
    for (unsigned root = 0; root < 2; root++) {
        NRT_STATUS want = root ? NRT_TIMEOUT : NRT_SUCCESS;
        struct crossing c[2];

        if (root)
            coll_root_env();
        coll_session(2);
        api_log_clear();
        crossing_run(c, f, true);
        for (unsigned r = 0; r < 2; r++) {
            assert_int_equal(c[r].load, want);
            assert_int_equal(c[r].barrier, want);
            if (!root)
                assert_ok(nrt_unload(c[r].m));
        }
        if (root)
            assert_true(api_log_has(
                "rank 0 waits in nrt_load_collectives for rank 1, rank 1 waits in "
                "nrt_barrier for rank 0: all ranks must make their calls in the same order"));
        coll_nothing_held(2);
        crossing_run(c, f, false); /* and in one order all is well again */
        for (unsigned r = 0; r < 2; r++) {
            assert_int_equal(c[r].load, NRT_SUCCESS);
            assert_int_equal(c[r].barrier, NRT_SUCCESS);
            assert_ok(nrt_unload(c[r].m));
        }
        nrt_close();
    }
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    neff_free(&f);
}

/* ---- what goes on while a load waits ---- */

static void *barrier_thread(void *arg)
{
    struct crossing *c = arg;

    c->barrier = nrt_barrier((int32_t)c->rank, c->rank, 2);
    return NULL;
}

static void a_load_that_waits_holds_up_nothing_else(void **state)
{
    struct bytes f = coll_neff(2, 16, 1, 0, 1), other = coll_neff(2, 16, 2, 1, 1);

    for (unsigned root = 0; root < 2; root++) {
        struct coll_caller a[2], gone[2], waits[2] = {0};
        struct crossing b[2];

        if (root)
            coll_root_env();
        coll_session(2);
        coll_load_both(a, f);
        coll_load_both(gone, f);
        waits[0] = (struct coll_caller){.rank = 0, .ranks = 2, .neff = other};
        waits[1] = (struct coll_caller){.rank = 1, .ranks = 2, .neff = other};
        assert_int_equal(pthread_create(&waits[0].thread, NULL, coll_load_thread, &waits[0]), 0);
        for (unsigned i = 0; i < 20; i++) { /* the other rank does not load yet */
            coll_run_both(a, 5);
            for (unsigned r = 0; r < 2; r++) {
                b[r] = (struct crossing){.rank = r};
                assert_int_equal(pthread_create(&b[r].thread, NULL, barrier_thread, &b[r]), 0);
            }
            for (unsigned r = 0; r < 2; r++) {
                pthread_join(b[r].thread, NULL);
                assert_int_equal(b[r].barrier, NRT_SUCCESS);
            }
        }
        assert_ok(nrt_unload(gone[0].m));
        assert_ok(nrt_unload(gone[1].m));
        coll_run_both(a, 5);
        coll_load_thread(&waits[1]);
        pthread_join(waits[0].thread, NULL);
        for (unsigned r = 0; r < 2; r++) {
            assert_int_equal(waits[r].loaded, NRT_SUCCESS);
            assert_ok(nrt_unload(waits[r].m));
            assert_ok(nrt_unload(a[r].m));
        }
        coll_nothing_held(2);
        nrt_close();
    }
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    neff_free(&f);
    neff_free(&other);
}

/* A rank that yields its CPU and never sleeps shows what it waits for, like one that sleeps. */
static void who_only_yields_says_what_it_waits_for(void **state)
{
    struct bytes f = coll_neff(2, 16, 1, 0, 1);
    uint64_t end = run_now_ns() + RUNNER_WAIT_MS * UINT64_C(1000000);
    struct coll_caller k[2];
    struct coll_comm *c[2];
    struct coll_view v;

    coll_session(2);
    coll_load_both(k, f);
    for (unsigned r = 0; r < 2; r++)
        c[r] = api_.world->ranks[r].comms->comm;
    for (unsigned crowded = 0; crowded < 2; crowded++)
        c[0]->tuning.patience[crowded].yields = UINT32_MAX;
    k[0].ranks = 1;
    assert_int_equal(pthread_create(&k[0].thread, NULL, coll_run_thread, &k[0]), 0);
    do {
        sched_yield();
        coll_comm_view(c[1], 0, &v);
    } while (!v.waits && run_now_ns() < end);
    assert_true(v.waits && v.waits_for == 1);
    assert_int_equal(coll_run(&k[1], 1), NRT_SUCCESS);
    pthread_join(k[0].thread, NULL);
    assert_int_equal(k[0].ran, NRT_SUCCESS);
    coll_comm_view(c[1], 0, &v);
    assert_false(v.waits);
    nrt_close();
    neff_free(&f);
    (void)state;
}

/* ---- a program that does not begin ---- */

/* Executes parts of 16 floats, both of them. */
static void *parts_run_thread(void *arg)
{
    static const char *const names[] = {"a0", "a1", "c0", "c1"};
    struct coll_caller *k = arg;
    struct io io;

    io_init(&io);
    for (unsigned i = 0; i < 4; i++)
        io_add(&io, i < 2, names[i], DEV, (int)k->rank, 64);
    k->ran = nrt_execute(k->m, io.in, io.out);
    io_fini(&io);
    return NULL;
}

static struct coll_comm *comm_with(uint32_t rank, uint32_t other)
{
    struct shared_comm *c = api_.world->ranks[rank].comms;

    while (c && !(c->n == 2 && (c->ranks[0] == other || c->ranks[1] == other)))
        c = c->next;
    assert_non_null(c);
    return c->comm;
}

/* What breaks the group of ranks 0 and 1 keeps rank 0 from beginning anything: rank 2, which waits
 * for it in another group that works, is told. It has no other way to learn of it. */
static void a_rank_that_cannot_begin_tells_its_other_groups(void **state)
{
    static const struct part two[] = {{16, {0, 1, ALL}, 0}, {16, {0, 2, ALL}, 0}};
    struct coll_caller k[3];
    struct bytes f[3];

    setenv("NEURON_RT_EXEC_TIMEOUT", "3600", 1);
    coll_session(3);
    for (uint32_t r = 0; r < 3; r++)
        f[r] = parts_neff(two, 2, r);
    coll_callers_load(k, 3, f);
    for (unsigned r = 0; r < 3; r++)
        assert_int_equal(k[r].loaded, NRT_SUCCESS);
    (void)coll_fail(comm_with(0, 1), NRT_EXEC_HW_ERR_COLLECTIVES, 1, "the test breaks it");
    api_log_clear();
    assert_int_equal(pthread_create(&k[2].thread, NULL, parts_run_thread, &k[2]), 0);
    (void)parts_run_thread(&k[0]);
    pthread_join(k[2].thread, NULL);
    assert_int_equal(k[0].ran, NRT_EXEC_HW_ERR_COLLECTIVES);
    assert_int_equal(k[2].ran, NRT_EXEC_HW_ERR_COLLECTIVES);
    assert_true(api_log_has("the execution of rank 0 ended before its all_reduce: a communicator "
                            "of 2 ranks is broken by an operation before"));
    for (unsigned r = 0; r < 3; r++) {
        assert_ok(nrt_unload(k[r].m));
        neff_free(&f[r]);
    }
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    coll_nothing_held(3);
    nrt_close();
    (void)state;
}

/* ---- processes: no host memory, death ---- */

static const struct part big_table[] = {
    {300, {0, 1, ALL}, 0}, {16, {1, 0, ALL}, 0}, {70000, {0, 1, ALL}, 1}, {5, {0, 1, ALL}, 0}};

/* argv: rank, limit of its loads in ms. Loads when told, with the nth allocation of the load
 * failing (0: none); says the status and how many allocations were asked for, until it hears "end".
 */
static int load_helper(int argc, char **argv)
{
    uint32_t rank = (uint32_t)atoi(argv[1]);
    struct bytes f = parts_neff(big_table, 4, rank);
    char line[64];

    if (argc < 3 || nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS ||
        nrt_build_global_comm(0, rank, 2) != NRT_SUCCESS)
        return 1;
    coll_limit((uint32_t)atoi(argv[2]));
    runner_say("ready");
    while (runner_hear(line, sizeof(line)) && strcmp(line, "end") != 0) {
        uint64_t nth = strtoull(line, NULL, 10);
        nrt_model_t *m;
        NRT_STATUS st;

        if (nth)
            fault_arm(FAULT_ALLOC, nth);
        else
            fault_count_start();
        st = nrt_load_collectives(f.data, f.size, 0, -1, rank, 2, &m);
        snprintf(line, sizeof(line), "%d %llu", (int)st,
                 (unsigned long long)(nth ? 0 : fault_count(FAULT_ALLOC)));
        fault_disarm();
        if (st == NRT_SUCCESS && nrt_unload(m) != NRT_SUCCESS)
            return 2;
        runner_say(line);
    }
    neff_free(&f);
    nrt_close();
    return 0;
}

#define NO_LIMIT "3600000" /* the test's own comes first */
#define WHILE_MS 300

static void loaders_start(struct runner_proc *p, const char *limit_ms)
{
    coll_root_env();
    for (unsigned r = 0; r < 2; r++) {
        char rank[16], cores[40];

        snprintf(rank, sizeof(rank), "%u", r);
        snprintf(cores, sizeof(cores), "NEURON_RT_VISIBLE_CORES=%u", r);
        assert_true(
            runner_start(&p[r], "load", (const char *[]){rank, limit_ms, NULL},
                         (const char *[]){cores, "NEURON_RT_NUM_CORES", "OPENNRT_JOIN_TIMEOUT",
                                          "NEURON_RT_EXEC_TIMEOUT=1", NULL}));
    }
    for (unsigned r = 0; r < 2; r++)
        assert_true(runner_expect(&p[r], "ready", RUNNER_WAIT_MS));
}

static NRT_STATUS loader_says(struct runner_proc *p, uint64_t *ret_count)
{
    char line[64], *end;
    NRT_STATUS st;

    if (!runner_line(p, line, sizeof(line), RUNNER_WAIT_MS))
        fail_msg("a rank says nothing");
    st = (NRT_STATUS)strtol(line, &end, 10);
    if (ret_count)
        *ret_count = strtoull(end, NULL, 10);
    return st;
}

/* Both load, and the nth allocation of it fails at rank `poor` (0: none); count: how many it had.
 * Where the poor one has failed and the other one does not say anything for a while, it may wait
 * for what the poor one has not sent, without a limit: so that one is ended. How long the while is
 * decides only which of two right ends is seen. False: a rank was ended. */
static bool loaders_load(struct runner_proc *p, unsigned poor, uint64_t nth, NRT_STATUS st[2],
                         uint64_t *ret_count)
{
    unsigned other = 1 - poor;
    bool both = true;
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)nth);
    for (unsigned r = 0; r < 2; r++)
        assert_true(runner_tell(&p[r], r == poor ? text : "0"));
    st[poor] = loader_says(&p[poor], ret_count);
    if (st[poor] && !runner_peek(&p[other], WHILE_MS)) {
        runner_kill(&p[poor], SIGKILL);
        (void)runner_wait(&p[poor], RUNNER_WAIT_MS);
        both = false;
    }
    st[other] = loader_says(&p[other], NULL);
    return both;
}

static void loaders_end(struct runner_proc *p)
{
    for (unsigned r = 0; r < 2; r++) {
        if (p[r].pid == 0) /* ended already */
            continue;
        assert_true(runner_tell(&p[r], "end"));
        assert_int_equal(runner_wait(&p[r], RUNNER_WAIT_MS), 0);
    }
    unsetenv("NEURON_RT_ROOT_COMM_ID");
}

/* What the rank without memory and the other one return: both fail, or none does. The other one
 * has the poor one's words where that could still speak; else it names who has been lost, or both
 * wait for each other, the poor one a call further on, which ends at a limit of its own. Where it
 * was the root that lacked memory, the job is over: each returns what it hears of first, that or
 * that the other one has gone. */
static bool ends_are_right(unsigned poor, const NRT_STATUS st[2])
{
    NRT_STATUS mine = st[poor], other = st[1 - poor];

    if (mine == NRT_SUCCESS || other == NRT_SUCCESS)
        return mine == other;
    if (poor == 0 && api_log_has("the root is out of memory"))
        return (mine == NRT_RESOURCE || mine == NRT_FAILURE) &&
               (other == NRT_RESOURCE || other == NRT_FAILURE);
    return mine == NRT_RESOURCE && (other == NRT_FAILURE || other == NRT_TIMEOUT) &&
           (api_log_has(poor ? "rank 1 " : "rank 0 ") ||
            api_log_has(poor ? "ranks 1 " : "ranks 0 "));
}

/* Somewhere in each stretch of a load's allocations, and often among the last ones, when the ranks
 * tell each other how it went, one fails, at one rank: the load fails on both, or on neither. Where
 * it was a connection of the job that needed the memory, the job is over. */
static void host_memory_runs_out_anywhere_in_a_load(void **state)
{
    struct runner_proc p[2];
    unsigned failed = 0, mute = 0, over = 0;
    uint64_t count;
    NRT_STATUS st[2];

    loaders_start(p, NO_LIMIT);
    for (unsigned poor = 0; poor < 2; poor++) {
        (void)loaders_load(p, 1 - poor, 0, st, NULL); /* once for what a process takes only once */
        (void)loaders_load(p, poor, 0, st, &count);
        assert_true(st[0] == NRT_SUCCESS && st[1] == NRT_SUCCESS && count > 50);
        for (uint64_t nth = 1 + draw(64); nth <= count;
             nth += 1 + draw(nth + 16 > count ? 4 : 80)) {
            bool both;

            api_log_clear();
            both = loaders_load(p, poor, nth, st, NULL);
            if (!ends_are_right(poor, st))
                fail_msg("allocation %u of rank %u: rank 0 returns %d, rank 1 %d; log is\n%s",
                         (unsigned)nth, poor, st[0], st[1], api_log());
            failed += st[0] != NRT_SUCCESS;
            mute += !both;
            if (!both || (st[0] && (api_log_has("rank 1 (host ") || api_log_has("rank 0 (host ") ||
                                    api_log_has("the root is out of memory")))) {
                over++;
                loaders_end(p);
                loaders_start(p, NO_LIMIT);
            }
            (void)loaders_load(p, poor, 0, st, NULL); /* and the next one is whole */
            if (st[0] || st[1])
                fail_msg("after allocation %u of rank %u: %d and %d; log is\n%s", (unsigned)nth,
                         poor, st[0], st[1], api_log());
        }
        print_message("rank %u, %u allocations: %u failed loads so far, %u without a word, %u "
                      "with the job\n",
                      poor, (unsigned)count, failed, mute, over);
    }
    assert_true(failed > 0);
    loaders_end(p);
}

/* rank vnc size: of two; says the status of a load of so much of a file (0: all of it). */
static int choice_helper(int argc, char **argv)
{
    uint32_t rank = (uint32_t)atoi(argv[1]);
    struct bytes f = coll_neff(2, 16, 1, 0, 1);
    size_t size = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    nrt_model_t *m;
    char line[16];

    if (argc < 4 || nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS)
        return 1;
    snprintf(
        line, sizeof(line), "%d",
        (int)nrt_load_collectives(f.data, size ? size : f.size, atoi(argv[2]), -1, rank, 2, &m));
    runner_say(line);
    (void)runner_hear(line, sizeof(line)); /* until both know */
    neff_free(&f);
    nrt_close();
    return 0;
}

/* A rank that cannot load tells the other one, also where it has several cores and has named none
 * of them, or one that is not there. */
static void a_rank_of_several_cores_tells_why_it_cannot_load(void **state)
{
    static const struct {
        const char *vnc, *size;
        NRT_STATUS st;
    } bad[] = {{"-1", "2000", NRT_INVALID}, {"7", "0", NRT_LOAD_NOT_ENOUGH_NC}};

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct runner_proc p[2];

        coll_root_env();
        for (unsigned r = 0; r < 2; r++)
            assert_true(runner_start(
                &p[r], "choice",
                (const char *[]){r ? "1" : "0", r ? bad[i].vnc : "-1", r ? bad[i].size : "0", NULL},
                (const char *[]){r ? "NEURON_RT_VISIBLE_CORES=2-3" : "NEURON_RT_VISIBLE_CORES=0-1",
                                 "NEURON_RT_NUM_CORES", "OPENNRT_JOIN_TIMEOUT=100", NULL}));
        for (unsigned r = 0; r < 2; r++)
            assert_int_equal(loader_says(&p[r], NULL), r ? bad[i].st : NRT_FAILURE);
        for (unsigned r = 0; r < 2; r++) {
            assert_true(runner_tell(&p[r], "end"));
            assert_int_equal(runner_wait(&p[r], RUNNER_WAIT_MS), 0);
        }
        unsetenv("NEURON_RT_ROOT_COMM_ID");
    }
    (void)state;
}

/* A rank is killed, or stopped, somewhere in a load. A limit ends the load with a stopped one, and
 * may do so before: then nobody was missed, or the limit was that of the rank that is stopped,
 * which has said so. */
static void a_rank_is_killed_in_a_load(void **state)
{
    for (unsigned i = 0; i < 8; i++) {
        struct timespec t = {.tv_nsec = draw(6) * 1000000 + draw(1000000)};
        struct runner_proc p[2];
        NRT_STATUS st;
        int sig = i % 4 == 3 ? SIGSTOP : SIGKILL;

        loaders_start(p, sig == SIGSTOP ? "1000" : NO_LIMIT);
        assert_true(runner_tell(&p[0], "0") && runner_tell(&p[1], "0"));
        nanosleep(&t, NULL); /* where in the load it hits is left to chance */
        runner_kill(&p[1], sig);
        st = loader_says(&p[0], NULL);
        if (st && st != NRT_FAILURE && (sig == SIGKILL || st != NRT_TIMEOUT))
            fail_msg("signal %d after %ld ns: status %d", sig, t.tv_nsec, st);
        runner_kill(&p[1], SIGKILL);
        (void)runner_wait(&p[1], RUNNER_WAIT_MS);
        assert_true(runner_tell(&p[0], "end"));
        assert_int_equal(runner_wait(&p[0], RUNNER_WAIT_MS), 0);
        unsetenv("NEURON_RT_ROOT_COMM_ID");
    }
}

/* A test that has failed leaves processes, a session and settings behind. */
static int tidy(void **state)
{
    runner_drop_all();
    nrt_close();
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    (void)state;
    return 0;
}

static int setup(void **state)
{
    random_state = (uint32_t)seed_take_new();
    return coll_setup(state);
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {
        {"load", load_helper}, {"choice", choice_helper}, {NULL, NULL}};
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_difference_in_one_group_fails_all_ranks, tidy),
        cmocka_unit_test_teardown(groups_in_any_order_are_opened_in_one, tidy),
        cmocka_unit_test_teardown(a_load_before_a_barrier_here_and_after_it_there, tidy),
        cmocka_unit_test_teardown(a_load_that_waits_holds_up_nothing_else, tidy),
        cmocka_unit_test_teardown(who_only_yields_says_what_it_waits_for, tidy),
        cmocka_unit_test_teardown(a_rank_that_cannot_begin_tells_its_other_groups, tidy),
        cmocka_unit_test_teardown(host_memory_runs_out_anywhere_in_a_load, tidy),
        cmocka_unit_test_teardown(a_rank_of_several_cores_tells_why_it_cannot_load, tidy),
        cmocka_unit_test_teardown(a_rank_is_killed_in_a_load, tidy),
    };
    int rc = coll_program_begin(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    runner_watchdog(280);
    return cmocka_run_group_tests_name("api-coll-apart", tests, setup, coll_teardown);
}
