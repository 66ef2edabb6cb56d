/* SPDX-License-Identifier: Apache-2.0 */
#include "driven_world.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "async_held.h"
#include "coll_ranks.h"
#include "device/device.h"

/* ---- sessions ---- */

struct joiner {
    pthread_t thread;
    unsigned rank, ranks;
    NRT_STATUS status;
};

static void *join_thread(void *arg)
{
    struct joiner *j = arg;

    j->status = nrt_cc_global_comm_init(j->rank, j->rank, j->ranks);
    return NULL;
}

NRT_STATUS driven_join(unsigned ranks)
{
    struct joiner j[DRIVEN_RANKS];
    NRT_STATUS status = NRT_SUCCESS;

    for (unsigned r = 0; r < ranks; r++) {
        j[r] = (struct joiner){.rank = r, .ranks = ranks};
        assert_int_equal(pthread_create(&j[r].thread, NULL, join_thread, &j[r]), 0);
    }
    for (unsigned r = 0; r < ranks; r++) {
        pthread_join(j[r].thread, NULL);
        if (j[r].status != NRT_SUCCESS)
            status = j[r].status;
    }
    return status;
}

void driven_session(unsigned ranks, nrta_error_tracker_t **t)
{
    coll_session(ranks);
    assert_ok(driven_join(ranks));
    for (unsigned r = 0; r < ranks; r++)
        assert_ok(nrta_error_tracker_create(r, &t[r]));
}

struct driven_case driven_sum_of(uint64_t seed, unsigned ranks, uint64_t elems)
{
    struct driven_case c = {.seed = seed,
                            .ranks = ranks,
                            .cc_op = NRT_CC_ALLREDUCE,
                            .dtype = DT_FP32,
                            .op = NRT_OP_ADD,
                            .elems = elems,
                            .n = ranks};

    for (unsigned i = 0; i < ranks; i++)
        c.group[i] = i;
    return c;
}

void driven_make_all(struct driven_run *r, const struct driven_case *c)
{
    for (unsigned i = 0; i < c->ranks; i++)
        driven_make(&r[i], c, i, i);
}

void driven_free_all(struct driven_run *r, unsigned ranks)
{
    for (unsigned i = 0; i < ranks; i++)
        driven_free(&r[i]);
}

void driven_schedule_all(struct driven_run *r, unsigned ranks, nrta_error_tracker_t **t)
{
    for (unsigned i = 0; i < ranks; i++)
        driven_schedule(&r[i], t[i]);
}

void driven_finish_all(const struct driven_run *r, unsigned ranks)
{
    for (unsigned i = 0; i < ranks; i++)
        if (!r[i].idle)
            async_finish(r[i].seq);
    for (unsigned i = 0; i < ranks; i++) {
        const char *wrong = driven_compare(&r[i]);

        if (wrong)
            fail_msg("%s", wrong);
    }
}

/* ---- processes ---- */

static void node_name(char name[64], unsigned node)
{
    snprintf(name, 64, "%s-node%u", getenv("OPENNRT_INSTANCE"), node);
}

void driven_rank_start(struct runner_proc *p, const char *helper, unsigned rank, unsigned ranks,
                       unsigned per_node, const char *arg)
{
    char r[16], n[16], cores[40], instance[96] = "OPENNRT_INSTANCE=";

    if (per_node)
        node_name(instance + strlen(instance), rank / per_node);
    snprintf(r, sizeof(r), "%u", rank);
    snprintf(n, sizeof(n), "%u", ranks);
    snprintf(cores, sizeof(cores), "NEURON_RT_VISIBLE_CORES=%u", per_node ? rank % per_node : rank);
    assert_true(runner_start(
        p, helper, (const char *[]){r, n, arg, per_node ? "whole" : "", NULL},
        (const char *[]){cores, "NEURON_RT_NUM_CORES", per_node ? instance : NULL, NULL}));
}

bool driven_rank_join(char **argv, unsigned *ret_rank, unsigned *ret_ranks,
                      nrta_error_tracker_t **ret_tracker)
{
    *ret_rank = (unsigned)atoi(argv[1]);
    *ret_ranks = (unsigned)atoi(argv[2]);
    return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS &&
           nrt_cc_global_comm_init(0, *ret_rank, *ret_ranks) == NRT_SUCCESS &&
           nrta_error_tracker_create(0, ret_tracker) == NRT_SUCCESS;
}

void driven_nodes_remove(void)
{
    bool removed;
    char name[64];

    for (unsigned k = 0; k < DRIVEN_NODES; k++) {
        struct device_config cfg = {.name = name};

        node_name(name, k);
        device_instance_reset(&cfg, false, &removed, NULL);
    }
}
