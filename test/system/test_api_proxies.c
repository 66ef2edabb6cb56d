/* SPDX-License-Identifier: Apache-2.0 */
/* NEURON_RT_RANKS_PER_NETWORK_PROXY and NEURON_RT_ONE_THREAD_PER_CORE through the public calls: two
 * nodes, each one process with two ranks; how many proxy threads each of them has while an
 * all_reduce goes between them, and how many CPUs these keep to. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "coll_ranks.h"
#include "device/device.h"
#include "models.h"
#include "proves.h"
#include "runner.h"

#define NODES    2
#define PER_NODE 2
#define RANKS    (NODES * PER_NODE)

/* ---- a node ---- */

struct rank {
    pthread_t thread;
    int core;
    unsigned rank;
    struct bytes neff;
    nrt_model_t *m;
    float got;
};

static void *rank_main(void *arg)
{
    struct rank *r = arg;
    struct io io;

    if (nrt_load_collectives(r->neff.data, r->neff.size, r->core, 1, r->rank, RANKS, &r->m) !=
        NRT_SUCCESS)
        abort();
    io_init(&io);
    put_floats(io_add(&io, true, "a", DEV, r->core, 64), &(float){(float)r->rank + 1}, 1);
    io_add(&io, false, "c", DEV, r->core, 64);
    if (nrt_execute(r->m, io.in, io.out) != NRT_SUCCESS)
        abort();
    r->got = get_float(io.t[1], 0);
    io_fini(&io);
    return NULL;
}

/* number of the node, and of the threads that are to come */
static int node(int argc, char **argv)
{
    unsigned number = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    unsigned threads = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
    struct rank r[PER_NODE];
    char line[64];

    coll_session(PER_NODE);
    for (unsigned i = 0; i < PER_NODE; i++) {
        r[i] = (struct rank){
            .core = (int)i, .rank = number * PER_NODE + i, .neff = coll_neff(RANKS, 16, 1, 0, 1)};
        if (pthread_create(&r[i].thread, NULL, rank_main, &r[i]) != 0)
            return 1;
    }
    for (unsigned i = 0; i < PER_NODE; i++)
        pthread_join(r[i].thread, NULL);
    threads = runner_threads_become("nrt-net", threads); /* before it is looked where they are */
    snprintf(line, sizeof(line), "threads %u pinned %u sums %g %g", threads,
             runner_threads_pinned("nrt-net"), (double)r[0].got, (double)r[1].got);
    runner_say(line);
    (void)runner_hear(line, sizeof(line)); /* the others may still look */
    for (unsigned i = 0; i < PER_NODE; i++) {
        if (nrt_unload(r[i].m) != NRT_SUCCESS)
            return 1;
        neff_free(&r[i].neff);
    }
    nrt_close();
    return 0;
}

/* ---- both ---- */

static void instance_name(char *name, size_t size, unsigned number)
{
    snprintf(name, size, "%s-node%u", getenv("OPENNRT_INSTANCE"), number);
}

/* Proxy threads of each node with this value of the variable. Returns how many CPUs those of the
 * first node are pinned to. */
static unsigned nodes_have(const char *value, unsigned threads)
{
    unsigned pinned[NODES];
    struct runner_proc p[NODES] = {0};
    char number[16], count[16], instance[96], proxies[64], line[128];

    coll_root_env();
    snprintf(count, sizeof(count), "%u", threads);
    for (unsigned n = 0; n < NODES; n++) {
        snprintf(number, sizeof(number), "%u", n);
        snprintf(instance, sizeof(instance), "OPENNRT_INSTANCE=");
        instance_name(instance + strlen(instance), sizeof(instance) - strlen(instance), n);
        snprintf(proxies, sizeof(proxies), "NEURON_RT_RANKS_PER_NETWORK_PROXY%s%s",
                 value ? "=" : "", value ? value : "");
        assert_true(runner_start(&p[n], "node", (const char *[]){number, count, NULL},
                                 (const char *[]){instance, proxies, NULL}));
    }
    for (unsigned n = 0; n < NODES; n++) {
        unsigned got;
        float sums[PER_NODE];

        assert_true(runner_line(&p[n], line, sizeof(line), RUNNER_WAIT_MS));
        assert_int_equal(
            sscanf(line, "threads %u pinned %u sums %g %g", &got, &pinned[n], &sums[0], &sums[1]),
            4);
        assert_int_equal(got, threads);
        assert_true(sums[0] == 10 && sums[1] == 10);
    }
    for (unsigned n = 0; n < NODES; n++)
        assert_true(runner_tell(&p[n], "go"));
    for (unsigned n = 0; n < NODES; n++)
        assert_int_equal(runner_wait(&p[n], RUNNER_WAIT_MS), 0);
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    return pinned[0];
}

static void ranks_share_a_proxy(void **state)
{
    (void)state;
    (void)nodes_have(NULL, PER_NODE);
    (void)nodes_have("1", PER_NODE);
    (void)nodes_have("2", 1);
    (void)nodes_have("64", 1);
    PROVES("perf-017");
}

/* hwloc is told of a host of two cores, which are CPUs 0 and 1 of this one. */
static void each_proxy_has_a_cpu_of_its_own(void **state)
{
    cpu_set_t mine;

    (void)state;
    if (sched_getaffinity(0, sizeof(mine), &mine) != 0 || !CPU_ISSET(0, &mine) ||
        !CPU_ISSET(1, &mine)) {
        print_message("NOT RUN: CPUs 0 and 1 are not this process's\n");
        skip();
    }
    setenv("HWLOC_SYNTHETIC", "numa:1 core:2 pu:1", 1);
    setenv("NEURON_RT_ONE_THREAD_PER_CORE", "1", 1);
    assert_int_equal(nodes_have(NULL, PER_NODE), PER_NODE);
    assert_int_equal(nodes_have("2", 1), 1);
    unsetenv("NEURON_RT_ONE_THREAD_PER_CORE");
    unsetenv("HWLOC_SYNTHETIC");
}

static int teardown(void **state)
{
    for (unsigned n = 0; n < NODES; n++) {
        char name[96];
        struct device_config cfg = {.name = name};
        bool removed;

        instance_name(name, sizeof(name), n);
        (void)device_instance_reset(&cfg, true, &removed, NULL);
    }
    return coll_teardown(state);
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {{"node", node}, {NULL, NULL}};
    const struct CMUnitTest tests[] = {cmocka_unit_test(ranks_share_a_proxy),
                                       cmocka_unit_test(each_proxy_has_a_cpu_of_its_own)};
    int rc = coll_program_begin(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    runner_watchdog(280);
    return cmocka_run_group_tests(tests, coll_setup, teardown);
}
