/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that all live in one process, without a root: a load waits for no other, as one thread
 * needs it that loads for every core in turn; executions find what became of the others. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/api_int.h"
#include "api_support.h"
#include "base/fault.h"
#include "coll/coll_int.h"
#include "coll/world_int.h"
#include "coll_ranks.h"
#include "draw.h"
#include "models.h"
#include "runner.h"

#define RANKS_MAX 8

static NRT_STATUS load_rank(struct coll_caller *k, unsigned rank, unsigned ranks, struct bytes f)
{
    *k = (struct coll_caller){.rank = rank, .ranks = ranks, .neff = f};
    coll_load_thread(k); /* by this thread */
    return k->loaded;
}

/* Every rank executes once, together; the sum of 1 to ranks. */
static void run_all(struct coll_caller *k, unsigned ranks)
{
    for (unsigned r = 0; r < ranks; r++) {
        k[r].ranks = 1; /* times */
        assert_int_equal(pthread_create(&k[r].thread, NULL, coll_run_thread, &k[r]), 0);
    }
    for (unsigned r = 0; r < ranks; r++) {
        pthread_join(k[r].thread, NULL);
        assert_int_equal(k[r].ran, NRT_SUCCESS);
        assert_true(k[r].got == (float)(ranks * (ranks + 1) / 2));
    }
}

static void unload_all(struct coll_caller *k, unsigned ranks)
{
    for (unsigned r = 0; r < ranks; r++)
        assert_ok(nrt_unload(k[r].m));
}

static void one_thread_loads_every_rank_in_any_order(void **state)
{
    uint64_t seed = 5;

    for (unsigned ranks = 2; ranks <= RANKS_MAX; ranks++) {
        struct bytes f = coll_neff(ranks, 16, 1, 0, 1);
        struct coll_caller k[RANKS_MAX];

        coll_session(ranks);
        for (unsigned round = 0; round < 4; round++) {
            unsigned order[RANKS_MAX];

            for (unsigned i = 0; i < ranks; i++) {
                unsigned at = (unsigned)(draw_next(&seed) % (i + 1));

                order[i] = order[at];
                order[at] = i;
            }
            for (unsigned i = 0; i < ranks; i++)
                assert_ok(load_rank(&k[order[i]], order[i], ranks, f));
            run_all(k, ranks);
            unload_all(k, ranks);
        }
        coll_nothing_held(ranks);
        neff_free(&f);
        nrt_close();
    }
}

static void limit_env(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

/* Who waits in a load for a greeting of another node waits no longer than for anything else there.
 */
static void greetings_have_the_limit_of_loads(void **state)
{
    static const struct {
        const char *exec, *join;
        uint64_t ms;
    } cases[] = {{NULL, NULL, 30000},
                 {"20", NULL, 30000},
                 {"110", NULL, 110000},
                 {"110", "70", 70000},
                 {"0", NULL, 0}};
    struct bytes f = coll_neff(2, 16, 1, 0, 1);

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct coll_caller k[2];
        uint64_t ms;

        limit_env("NEURON_RT_EXEC_TIMEOUT", cases[i].exec);
        limit_env("OPENNRT_JOIN_TIMEOUT", cases[i].join);
        coll_session(2);
        for (unsigned r = 0; r < 2; r++)
            assert_ok(load_rank(&k[r], r, 2, f));
        ms = api_.world->ranks[0].comms->comm->greet_ns / 1000000;
        assert_true(cases[i].ms ? ms == cases[i].ms : ms > UINT64_C(1000) * 3600 * 24 * 365);
        unload_all(k, 2);
        nrt_close();
    }
    limit_env("NEURON_RT_EXEC_TIMEOUT", NULL);
    limit_env("OPENNRT_JOIN_TIMEOUT", NULL);
    neff_free(&f);
    (void)state;
}

/* Core by core, not model by model; then a part of the world. */
static void models_of_a_core_come_in_a_row(void **state)
{
    struct bytes f[3] = {coll_neff(4, 16, 1, 0, 1), coll_neff(4, 16, 2, 0, 2),
                         coll_neff(4, 16, 3, 2, 1)};
    struct bytes two = coll_neff(2, 16, 1, 0, 1);
    struct coll_caller k[3][4], part[2];

    coll_session(4);
    for (unsigned r = 0; r < 4; r++)
        for (unsigned i = 0; i < 3; i++)
            assert_ok(load_rank(&k[i][r], r, 4, f[i]));
    for (unsigned i = 0; i < 3; i++)
        run_all(k[2 - i], 4);
    for (unsigned r = 0; r < 2; r++) /* of the same cores, whose world is known */
        assert_ok(load_rank(&part[r], r, 2, two));
    run_all(part, 2);
    unload_all(part, 2);
    for (unsigned i = 0; i < 3; i++) {
        unload_all(k[i], 4);
        neff_free(&f[i]);
    }
    coll_nothing_held(4);
    neff_free(&two);
    nrt_close();
}

static void an_execution_waits_for_the_last_load(void **state)
{
    struct bytes f = coll_neff(3, 16, 1, 0, 1);
    struct coll_caller k[3];

    coll_session(3);
    for (unsigned r = 0; r < 2; r++) {
        assert_ok(load_rank(&k[r], r, 3, f));
        k[r].ranks = 1;
        assert_int_equal(pthread_create(&k[r].thread, NULL, coll_run_thread, &k[r]), 0);
    }
    assert_ok(load_rank(&k[2], 2, 3, f));
    assert_ok(coll_run(&k[2], 1));
    assert_true(k[2].got == 6);
    for (unsigned r = 0; r < 2; r++) {
        pthread_join(k[r].thread, NULL);
        assert_int_equal(k[r].ran, NRT_SUCCESS);
        assert_true(k[r].got == 6);
    }
    unload_all(k, 3);
    coll_nothing_held(3);
    neff_free(&f);
    nrt_close();
}

static void who_never_comes_is_named(void **state)
{
    struct bytes f = coll_neff(3, 16, 1, 0, 1);
    struct coll_caller k[3];

    coll_session(3);
    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    assert_ok(load_rank(&k[0], 0, 3, f));
    setenv("NEURON_RT_EXEC_TIMEOUT", "60", 1);
    assert_ok(load_rank(&k[2], 2, 3, f));
    api_log_clear();
    assert_int_equal(coll_run(&k[0], 1), NRT_TIMEOUT);
    assert_true(api_log_has("rank 1 of 3 has not loaded model one_of"));
    assert_ok(nrt_unload(k[0].m));
    assert_ok(load_rank(&k[0], 0, 3, f));
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    assert_ok(load_rank(&k[1], 1, 3, f)); /* nothing of that is left */
    run_all(k, 3);
    unload_all(k, 3);
    coll_nothing_held(3);
    neff_free(&f);
    nrt_close();
}

/* The file is bad at one rank, whichever and whenever it comes: executions of the others fail at
 * once, until it has loaded a good one. */
static void a_rank_that_cannot_load_may_try_again(void **state)
{
    struct bytes good = coll_neff(3, 16, 1, 0, 1), bad = {good.data, 2000};
    struct coll_caller k[3], none;
    char line[64];

    coll_session(3);
    for (unsigned victim = 0; victim < 3; victim++)
        for (unsigned when = 0; when < 3; when++) {
            api_log_clear();
            for (unsigned i = 0, r = 0; i < 3; i++)
                if (i == when) {
                    assert_int_equal(load_rank(&none, victim, 3, bad), NRT_INVALID);
                } else {
                    r += r == victim;
                    assert_ok(load_rank(&k[r], r, 3, good));
                    r++;
                }
            snprintf(line, sizeof(line), "rank %u cannot load the model: ", victim);
            assert_false(api_log_has(line));
            for (unsigned r = 0; r < 3; r++)
                if (r != victim)
                    assert_int_equal(coll_run(&k[r], 1), NRT_FAILURE);
            assert_true(api_log_has(line));
            assert_int_equal(load_rank(&none, victim, 3, bad), NRT_INVALID); /* once more in vain */
            assert_ok(load_rank(&k[victim], victim, 3, good));
            run_all(k, 3);
            unload_all(k, 3);
            coll_nothing_held(3);
        }
    /* Nothing of the failures is left: who is missing has not failed. */
    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    assert_ok(load_rank(&k[0], 0, 3, good));
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    assert_int_equal(coll_run(&k[0], 1), NRT_TIMEOUT);
    assert_ok(nrt_unload(k[0].m));
    assert_int_equal(load_rank(&none, 1, 3, bad), NRT_INVALID); /* and that stays, to the end */
    nrt_close();
    neff_free(&good);
}

/* An execution that waits already, mostly: how far it has got decides only what is tried. */
static void who_waits_hears_of_a_failure(void **state)
{
    struct bytes good = coll_neff(2, 16, 1, 0, 1), bad = {good.data, 2000};
    struct coll_caller k, none;

    coll_session(2);
    for (unsigned i = 0; i < 20; i++) {
        assert_ok(load_rank(&k, 0, 2, good));
        k.ranks = 1;
        assert_int_equal(pthread_create(&k.thread, NULL, coll_run_thread, &k), 0);
        assert_int_equal(load_rank(&none, 1, 2, bad), NRT_INVALID);
        pthread_join(k.thread, NULL);
        assert_int_equal(k.ran, NRT_FAILURE);
        assert_ok(nrt_unload(k.m));
    }
    nrt_close();
    neff_free(&good);
}

static void what_differs_fails_the_last_load_and_all_executions(void **state)
{
    struct bytes f[2] = {coll_neff(2, 16, 1, 0, 1), coll_neff(2, 15, 1, 0, 1)};
    struct coll_caller k[2];

    coll_session(2);
    for (unsigned round = 0; round < 3; round++) {
        unsigned first = round % 2;

        assert_ok(load_rank(&k[first], first, 2, f[first]));
        api_log_clear();
        assert_int_equal(load_rank(&k[!first], !first, 2, f[!first]), NRT_INVALID);
        assert_true(api_log_has("rank 1 has another operation, size, type or algorithm here"));
        api_log_clear();
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(coll_run(&k[first], 1), NRT_INVALID);
        assert_true(api_log_has("rank 1 has another operation, size, type or algorithm here"));
        assert_ok(nrt_unload(k[first].m));
        coll_nothing_held(2);
    }
    for (unsigned r = 0; r < 2; r++)
        assert_ok(load_rank(&k[r], r, 2, f[0]));
    run_all(k, 2);
    unload_all(k, 2);
    neff_free(&f[0]);
    neff_free(&f[1]);
    nrt_close();
}

/* Also by another thread, at any time of the meeting. */
static void *unload_thread(void *arg)
{
    struct coll_caller *k = arg;

    k->ran = nrt_unload(k->m);
    return NULL;
}

static void a_model_goes_before_the_others_have_come(void **state)
{
    struct bytes f = coll_neff(2, 16, 1, 0, 1);
    struct coll_caller k[2], early;

    for (unsigned round = 0; round < 2; round++) {
        coll_session(2);
        assert_ok(load_rank(&early, 0, 2, f));
        assert_ok(nrt_unload(early.m));
        coll_nothing_held(2);
        assert_ok(load_rank(&k[1], 1, 2, f)); /* meets nobody */
        if (round == 0) {
            assert_ok(load_rank(&k[0], 0, 2, f));
            run_all(k, 2);
            for (unsigned i = 0; i < 20; i++) {
                assert_ok(load_rank(&early, 0, 2, f));
                assert_int_equal(pthread_create(&early.thread, NULL, unload_thread, &early), 0);
                assert_ok(load_rank(&k[1], 1, 2, f));
                pthread_join(early.thread, NULL);
                assert_ok(early.ran);
            }
        }
        nrt_close(); /* with models that wait */
    }
    coll_session(2);
    coll_nothing_held(2);
    nrt_close();
    neff_free(&f);
}

/* The last load, which meets for all, with a fault at each of its points: all ranks can execute or
 * none can, and a new pair of loads works. */
static void the_last_load_survives_every_fault(void **state)
{
    static const enum fault_point points[] = {FAULT_ALLOC, FAULT_THREAD};
    struct bytes f = coll_neff(2, 16, 1, 0, 1);
    unsigned failed = 0;

    setenv("OPENNRT_JOIN_TIMEOUT", "2", 1); /* of who has no memory even for the place to meet */
    coll_session(2);
    unsetenv("OPENNRT_JOIN_TIMEOUT");
    for (unsigned p = 0; p < 2; p++)
        for (uint64_t hit = 1, hits = 1; hit <= hits; hit++) {
            struct coll_caller k[2];

            assert_ok(load_rank(&k[0], 0, 2, f));
            fault_count_start();
            assert_ok(load_rank(&k[1], 1, 2, f));
            hits = fault_count(points[p]);
            fault_disarm();
            run_all(k, 2);
            unload_all(k, 2);

            assert_ok(load_rank(&k[0], 0, 2, f));
            fault_arm(points[p], hit);
            if (load_rank(&k[1], 1, 2, f) == NRT_SUCCESS) {
                fault_disarm();
                run_all(k, 2);
                unload_all(k, 2);
            } else {
                fault_disarm();
                assert_int_not_equal(coll_run(&k[0], 1), NRT_SUCCESS);
                assert_ok(nrt_unload(k[0].m));
                failed++;
            }
            coll_nothing_held(2);
        }
    assert_true(failed > 10);
    nrt_close();
    neff_free(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_loads_every_rank_in_any_order),
        cmocka_unit_test(greetings_have_the_limit_of_loads),
        cmocka_unit_test(models_of_a_core_come_in_a_row),
        cmocka_unit_test(an_execution_waits_for_the_last_load),
        cmocka_unit_test(who_never_comes_is_named),
        cmocka_unit_test(a_rank_that_cannot_load_may_try_again),
        cmocka_unit_test(who_waits_hears_of_a_failure),
        cmocka_unit_test(what_differs_fails_the_last_load_and_all_executions),
        cmocka_unit_test(a_model_goes_before_the_others_have_come),
        cmocka_unit_test(the_last_load_survives_every_fault),
    };

    return cmocka_run_group_tests_name("api-coll-late", tests, coll_setup, coll_teardown);
}
