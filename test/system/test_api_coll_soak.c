/* SPDX-License-Identifier: Apache-2.0 */
/* A soak of collectives in NEFFs between nodes: jobs of processes on named instances, which load
 * random tables, execute them, check every byte, meet in barriers and gathers, and lose a rank by
 * kill -9 at a random moment. Whoever is left ends with a documented status, no value is ever
 * wrong, and the next job runs on the same instances. test_api_coll_soak [jobs] */
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
#include "coll_case.h"
#include "coll_ranks.h"
#include "device/device.h"
#include "proves.h"
#include "runner.h"
#include "seed.h"

#define RANKS_MOST 4
#define CASES      5

static unsigned jobs = 8, hits; /* ranks that lost another one */
static uint32_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

/* ---- a rank ---- */

/* Loads and executes a table; *ret_ran: it was one that these ranks can have (groups that are not
 * alike on all nodes are refused). Exits where a value is wrong. */
static NRT_STATUS table_run(uint64_t seed, unsigned rank, unsigned ranks, bool *ret_ran)
{
    static const char gives[] = "nrt_execute gives ";
    struct coll_case c = case_draw(seed, ranks);
    struct bytes f = case_neff(&c);
    const char *text, *at;
    nrt_model_t *m;

    *ret_ran = nrt_load_collectives(f.data, f.size, 0, -1, rank, ranks, &m) == NRT_SUCCESS;
    neff_free(&f);
    if (!*ret_ran)
        return NRT_SUCCESS; /* what is wrong with the job, the barrier tells */
    text = case_run(&c, rank, 0, m, 2);
    at = text ? strstr(text, gives) : NULL;
    if (text && !at) {
        fprintf(stderr, "%s\n", text);
        exit(3);
    }
    if (nrt_unload(m) != NRT_SUCCESS)
        exit(4);
    return at ? (NRT_STATUS)atoi(at + sizeof(gives) - 1) : NRT_SUCCESS;
}

static NRT_STATUS host_meet(unsigned rank, unsigned ranks, uint32_t k)
{
    uint32_t mine = 100 * k + rank, all[RANKS_MOST];
    NRT_STATUS st = nrt_barrier(0, rank, ranks);

    if (st == NRT_SUCCESS)
        st = nrt_all_gather(0, rank, ranks, sizeof(mine), &mine, all);
    /* the global communicator is made once */
    if (st == NRT_SUCCESS && (nrt_build_global_comm(0, rank, ranks) != NRT_SUCCESS ||
                              nrt_build_global_comm(0, rank, ranks + 1) != NRT_INVALID))
        exit(6);
    for (uint32_t i = 0; st == NRT_SUCCESS && i < ranks; i++)
        if (all[i] != 100 * k + i)
            exit(5);
    return st;
}

/* rank ranks per_node seed stays: CASES tables, or until the job has failed; after so many steps it
 * does nothing any more until it is killed (0: never). */
static int soak_helper(int argc, char **argv)
{
    unsigned rank = (unsigned)atoi(argv[1]), ranks = (unsigned)atoi(argv[2]), ran = 0;
    unsigned stays = argc > 5 ? (unsigned)atoi(argv[5]) : 0;
    NRT_STATUS st = NRT_SUCCESS;
    uint64_t seed;
    char line[64];
    bool good;

    if (argc < 5 || nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS)
        return 1;
    seed = strtoull(argv[4], NULL, 10);
    for (uint32_t k = 0; k < CASES && st == NRT_SUCCESS; k++) {
        st = table_run(seed + k, rank, ranks, &good);
        ran += good;
        if (st == NRT_SUCCESS)
            st = host_meet(rank, ranks, k);
        runner_say("step");
        if (k + 1 == stays)
            (void)runner_hear(line, sizeof(line));
    }
    snprintf(line, sizeof(line), "ended %d %u", (int)st, ran);
    runner_say(line);
    nrt_close();
    return 0;
}

/* Exchanges of variable size on two streams, each between all ranks in an order of its own and so
 * with a communicator of its own. */
static struct coll_case crossed_case(uint64_t seed, unsigned ranks)
{
    struct coll_case c = {.seed = seed, .ranks = ranks, .ops = CASE_OPS};

    for (unsigned k = 0; k < c.ops; k++) {
        struct case_op *op = &c.op[k];

        *op = (struct case_op){.kind = CASE_ALL_TO_ALL_V,
                               .dtype = DT_FP32,
                               .stream = k % 2,
                               .tensors = 1,
                               .count = {50},
                               .chained = true,
                               .group_size = ranks,
                               .groups = 1};
        for (unsigned r = 0; r < ranks;
             r++) /* CASE_OPS rotations and reflections: as many orders */
            op->rank[r] = k % 2 ? (ranks - r + k / 2) % ranks : (r + k / 2) % ranks;
    }
    return c;
}

/* rank ranks per_node seed */
static int crossed_helper(int argc, char **argv)
{
    unsigned rank = (unsigned)atoi(argv[1]), ranks = (unsigned)atoi(argv[2]);
    struct coll_case c;
    const char *text;
    struct bytes f;
    nrt_model_t *m;

    if (argc < 5)
        return 1;
    c = crossed_case(strtoull(argv[4], NULL, 10), ranks);
    f = case_neff(&c);
    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS ||
        nrt_load_collectives(f.data, f.size, 0, -1, rank, ranks, &m) != NRT_SUCCESS)
        return 2;
    text = case_run(&c, rank, 0, m, 2);
    if (text)
        fprintf(stderr, "%s\n", text);
    if (nrt_unload(m) != NRT_SUCCESS)
        return 3;
    nrt_close();
    neff_free(&f);
    return text ? 4 : 0;
}

/* rank ranks per_node seed: rank 1 executes, the others do not. Rank 1 says that it begins, and how
 * that ended. */
static int waiter_helper(int argc, char **argv)
{
    unsigned rank = (unsigned)atoi(argv[1]), ranks = (unsigned)atoi(argv[2]);
    struct bytes f = coll_neff(ranks, 16, 1, 0, 1);
    struct coll_caller k = {.rank = 0};
    char line[64];

    if (argc < 5 || nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS ||
        nrt_load_collectives(f.data, f.size, 0, -1, rank, ranks, &k.m) != NRT_SUCCESS)
        return 1;
    neff_free(&f);
    runner_say("begins");
    if (rank != 1)
        return runner_hear(line, sizeof(line)) ? 0 : 2;
    snprintf(line, sizeof(line), "waited %d", (int)coll_run(&k, 1));
    runner_say(line);
    return 0;
}

/* ---- jobs ---- */

struct job {
    unsigned nodes, per_node, ranks;
    struct runner_proc p[RANKS_MOST];
};

static void instance_name(char name[64], unsigned node)
{
    snprintf(name, 64, "%s-node%u", getenv("OPENNRT_INSTANCE"), node);
}

/* stays: after so many steps rank `victim` waits to be killed (soak_helper); 0: it does not. */
static void job_start(struct job *j, const char *helper, uint64_t seed, unsigned victim,
                      unsigned stays)
{
    char ranks[16], per_node[16], text[32], steps[16];

    coll_root_env();
    snprintf(ranks, sizeof(ranks), "%u", j->ranks);
    snprintf(per_node, sizeof(per_node), "%u", j->per_node);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)seed);
    for (unsigned r = 0; r < j->ranks; r++) {
        char rank[16], core[48], instance[96] = "OPENNRT_INSTANCE=";

        instance_name(instance + strlen(instance), r / j->per_node);
        snprintf(rank, sizeof(rank), "%u", r);
        snprintf(core, sizeof(core), "NEURON_RT_VISIBLE_CORES=%u", r % j->per_node);
        snprintf(steps, sizeof(steps), "%u", r == victim ? stays : 0);
        assert_true(runner_start(&j->p[r], helper,
                                 (const char *[]){rank, ranks, per_node, text, steps, NULL},
                                 (const char *[]){instance, core, "NEURON_RT_NUM_CORES", NULL}));
    }
}

/* The rank's last words: its status, and how many tables it has run. */
static NRT_STATUS rank_ended(struct runner_proc *p, unsigned *ret_ran)
{
    char line[64] = "";

    while (strncmp(line, "ended ", 6) != 0)
        if (!runner_line(p, line, sizeof(line), RUNNER_WAIT_MS))
            fail_msg("a rank says no more: it gives %d; log is\n%s", runner_wait(p, 1000),
                     api_log());
    *ret_ran = (unsigned)atoi(strchr(line + 6, ' '));
    return (NRT_STATUS)atoi(line + 6);
}

static bool documented(NRT_STATUS st)
{
    return st == NRT_FAILURE || st == NRT_EXEC_HW_ERR_COLLECTIVES ||
           st == NRT_NETWORK_PROXY_FAILURE;
}

/* waits: the one that is killed does not begin another step before, so that it is missed. */
static unsigned job_run(struct job *j, bool kill_one, bool waits, uint64_t seed)
{
    unsigned victim = kill_one ? draw(j->ranks) : j->ranks, steps = 1 + draw(CASES - 2), total = 0;

    job_start(j, "soak", seed, victim, waits ? steps : 0);
    for (unsigned i = 0; kill_one && i < steps; i++)
        if (!runner_expect(&j->p[victim], "step", RUNNER_WAIT_MS))
            fail_msg("seed %llu, %u nodes of %u: rank %u stops after %u steps; log is\n%s",
                     (unsigned long long)seed, j->nodes, j->per_node, victim, i, api_log());
    if (kill_one) {
        struct timespec t = {.tv_nsec = draw(20) * 1000000 + draw(1000000)};

        nanosleep(&t, NULL); /* into the next step; where, is left to chance */
        runner_kill(&j->p[victim], SIGKILL);
        (void)runner_wait(&j->p[victim], RUNNER_WAIT_MS);
    }
    for (unsigned r = 0; r < j->ranks; r++) {
        unsigned ran;
        NRT_STATUS st;

        if (r == victim)
            continue;
        st = rank_ended(&j->p[r], &ran);
        /* the signal may come when all is done: the last gather needs the victim */
        if (st != NRT_SUCCESS && !(kill_one && documented(st))) {
            fprintf(stderr, "log is\n%s\n", api_log()); /* longer than a message can be */
            fail_msg("seed %llu, %u nodes of %u, %s of rank %u after %u steps: rank %u gives %d",
                     (unsigned long long)seed, j->nodes, j->per_node, kill_one ? "loss" : "no loss",
                     victim, steps, r, (int)st);
        }
        assert_int_equal(runner_wait(&j->p[r], RUNNER_WAIT_MS), 0);
        total += ran;
        hits += st != NRT_SUCCESS;
    }
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    return total;
}

static void jobs_between_nodes_with_kills(void **state)
{
    static const unsigned shapes[][2] = {{2, 1}, {2, 2}, {3, 1}, {4, 1}};
    unsigned ran = 0;

    for (unsigned i = 0; i < jobs; i++) {
        const unsigned *shape = shapes[i % 4];
        struct job j = {.nodes = shape[0], .per_node = shape[1], .ranks = shape[0] * shape[1]};
        bool kill_one = i % 4 != 1 && i % 8 != 6;
        unsigned tables = job_run(&j, kill_one, i == 0, random_state + UINT64_C(1000) * i);

        ran += tables;
        if (!kill_one) {
            PROVES("inter-001");
            PROVES("inter-019");
            PROVES("inter-020");
        }
    }
    print_message("%u jobs, %u tables on all their ranks, %u ranks lost another\n", jobs, ran,
                  hits);
    assert_true(ran >= jobs && hits > 0);
    (void)state;
}

/* What an operation needs of other nodes it has before it runs: a rank that waited for another one
 * in the middle would hold up its other stream, where that one may wait for it. */
static void streams_with_variable_sizes_do_not_wait_for_each_other(void **state)
{
    struct job j = {.nodes = 2, .per_node = 2, .ranks = 4};

    for (unsigned i = 0; i < 3; i++) {
        job_start(&j, "crossed", random_state + i, 0, 0);
        for (unsigned r = 0; r < j.ranks; r++) {
            int rc = runner_wait(&j.p[r], RUNNER_WAIT_MS);

            if (rc != 0)
                fprintf(stderr, "log is\n%s\n", api_log());
            assert_int_equal(rc, 0);
        }
        unsetenv("NEURON_RT_ROOT_COMM_ID");
    }
    (void)state;
}

/* Rank 1 of two nodes executes, rank 0 does not: "begins" has been read of both. */
static void waiter_start(struct job *j, const char *limit_s)
{
    setenv("NEURON_RT_EXEC_TIMEOUT", limit_s, 1);
    job_start(j, "waiter", 0, 0, 0);
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    for (unsigned r = 0; r < j->ranks; r++)
        assert_true(runner_expect(&j->p[r], "begins", RUNNER_WAIT_MS));
}

static int waited(struct job *j)
{
    char line[64];
    int st;

    assert_true(runner_line(&j->p[1], line, sizeof(line), RUNNER_WAIT_MS));
    assert_int_equal(sscanf(line, "waited %d", &st), 1);
    assert_int_equal(runner_wait(&j->p[1], RUNNER_WAIT_MS), 0);
    return st;
}

static void who_waits_for_another_node_gives_up_at_its_limit(void **state)
{
    struct job j = {.nodes = 2, .per_node = 1, .ranks = 2};

    waiter_start(&j, "3");
    assert_int_equal(waited(&j), NRT_EXEC_HW_ERR_COLLECTIVES);
    assert_true(runner_tell(&j.p[0], "go"));
    assert_int_equal(runner_wait(&j.p[0], RUNNER_WAIT_MS), 0);
    (void)state;
}

/* What the network finds has a status of its own. */
static void who_waits_for_a_lost_node_says_so(void **state)
{
    struct job j = {.nodes = 2, .per_node = 1, .ranks = 2};

    waiter_start(&j, "0");
    runner_kill(&j.p[0], SIGKILL);
    (void)runner_wait(&j.p[0], RUNNER_WAIT_MS);
    assert_int_equal(waited(&j), NRT_NETWORK_PROXY_FAILURE);
    (void)state;
}

static int setup(void **state)
{
    random_state = (uint32_t)seed_take_new();
    return coll_setup(state);
}

static int teardown(void **state)
{
    for (unsigned node = 0; node < RANKS_MOST; node++) {
        char name[64];
        struct device_config cfg = {.name = name};
        bool removed;

        instance_name(name, node);
        (void)device_instance_reset(&cfg, true, &removed, NULL);
    }
    return coll_teardown(state);
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {{"soak", soak_helper},
                                                   {"crossed", crossed_helper},
                                                   {"waiter", waiter_helper},
                                                   {NULL, NULL}};
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_with_variable_sizes_do_not_wait_for_each_other),
        cmocka_unit_test(who_waits_for_another_node_gives_up_at_its_limit),
        cmocka_unit_test(who_waits_for_a_lost_node_says_so),
        cmocka_unit_test(jobs_between_nodes_with_kills)};
    int rc = coll_program_begin(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    if (argc > 1)
        jobs = (unsigned)atoi(argv[1]);
    return cmocka_run_group_tests_name("api-coll-soak", tests, setup, teardown);
}
