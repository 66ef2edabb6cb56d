/* SPDX-License-Identifier: Apache-2.0 */
/* Loads of ranks that live in one process (src/model/late.c), which meet as the test says: how a
 * failure reaches the others that it could not tell, and those that wait already. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "model/model_int.h"
#include "runner.h"

#define RANKS 3u
#define BASE  4u /* what rank 0 of the model is globally */

static struct model_host host;
static struct model models[RANKS];
static struct err ends[RANKS]; /* of each rank's meeting; a status of 0: it goes well */

/* ---- what late.c calls ---- */

NRT_STATUS model_meet(struct model *m, struct err *err)
{
    const struct err *end = &ends[m - models];

    return end->status ? err_set(err, end->status, "%s", end->text) : NRT_SUCCESS;
}

void model_log_failed(const struct model *m, const struct err *err)
{
    (void)m, (void)err;
}

/* ---- ranks ---- */

static int setup(void **state)
{
    static struct neff neff = {.name = "one_of"};

    memset(&host, 0, sizeof(host));
    memset(models, 0, sizeof(models));
    memset(ends, 0, sizeof(ends));
    late_init(&host.late);
    for (uint32_t r = 0; r < RANKS; r++) {
        struct model *m = &models[r];

        m->h = &host;
        m->neff = &neff;
        m->late = (struct late){.model = m, .vnc = r, .rank = r, .world = RANKS, .base = BASE};
    }
    (void)state;
    return 0;
}

static int teardown(void **state)
{
    for (uint32_t r = 0; r < RANKS; r++)
        late_forget(&models[r]);
    late_fini(&host.late);
    (void)state;
    return 0;
}

static void comes(uint32_t rank, NRT_STATUS want)
{
    struct err err = {0};

    assert_int_equal(late_come(&models[rank], &err), want);
}

/* An execution of the rank finds this. */
static void finds(uint32_t rank, NRT_STATUS want, const char *text)
{
    struct err err = {0};

    assert_int_equal(late_wait(&models[rank], &err), want);
    assert_string_equal(err.text, text);
}

/* ---- who could not be told ---- */

static void where_all_meet_all_can_execute(void **state)
{
    for (uint32_t r = 0; r < RANKS; r++)
        comes(r, NRT_SUCCESS);
    for (uint32_t r = 0; r < RANKS; r++)
        finds(r, NRT_SUCCESS, "");
    (void)state;
}

/* One has failed after its last word to the others, who took the load to be well. */
static void one_that_failed_in_silence_fails_all(void **state)
{
    const char *others = "rank 5 cannot load the model: no memory for its last step";

    err_set(&ends[1], NRT_RESOURCE, "no memory for its last step");
    comes(0, NRT_SUCCESS);
    comes(1, NRT_SUCCESS);
    comes(2, NRT_FAILURE); /* the last of them */
    finds(0, NRT_FAILURE, others);
    finds(1, NRT_RESOURCE, "no memory for its last step");
    finds(2, NRT_FAILURE, others);
    (void)state;
}

/* Of two that have failed the one is named that has a reason of its own. */
static void who_only_heard_of_a_failure_is_not_named(void **state)
{
    err_set(&ends[0], NRT_FAILURE, "rank 6 is gone");
    err_set(&ends[2], NRT_INVALID, "its table differs");
    comes(0, NRT_SUCCESS);
    comes(2, NRT_SUCCESS);
    comes(1, NRT_FAILURE);
    finds(0, NRT_FAILURE, "rank 6 is gone");
    finds(1, NRT_FAILURE, "rank 6 cannot load the model: its table differs");
    finds(2, NRT_INVALID, "its table differs");
    (void)state;
}

/* ---- who waits already ---- */

struct waiter {
    pthread_t thread;
    struct model *m;
    NRT_STATUS status;
    struct err err;
};

static void *waiter_main(void *arg)
{
    struct waiter *w = arg;

    w->status = late_wait(w->m, &w->err);
    return NULL;
}

/* Until so many sleep: who has counted itself has let go of the lock in its sleep only. */
static void sleepers_await(unsigned count)
{
    unsigned now;

    do {
        sched_yield();
        pthread_mutex_lock(&host.late.lock);
        now = host.late.sleepers;
        pthread_mutex_unlock(&host.late.lock);
    } while (now < count);
}

static void who_sleeps_is_woken(bool refuse)
{
    struct waiter w[2];

    for (uint32_t r = 0; r < 2; r++) {
        comes(r, NRT_SUCCESS);
        w[r] = (struct waiter){.m = &models[r]};
        assert_int_equal(pthread_create(&w[r].thread, NULL, waiter_main, &w[r]), 0);
    }
    sleepers_await(2);
    if (refuse)
        late_refuse(&host, &models[2].late, "its file is bad");
    else
        comes(2, NRT_SUCCESS);
    for (uint32_t r = 0; r < 2; r++) { /* an execution has no limit here */
        pthread_join(w[r].thread, NULL);
        assert_int_equal(w[r].status, refuse ? NRT_FAILURE : NRT_SUCCESS);
        assert_string_equal(w[r].err.text,
                            refuse ? "rank 6 cannot load the model: its file is bad" : "");
    }
    assert_int_equal(host.late.sleepers, 0);
}

static void who_sleeps_is_woken_by_a_refusal(void **state)
{
    who_sleeps_is_woken(true);
    (void)state;
}

static void who_sleeps_is_woken_by_the_last_load(void **state)
{
    who_sleeps_is_woken(false);
    (void)state;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(where_all_meet_all_can_execute),           TEST(one_that_failed_in_silence_fails_all),
        TEST(who_only_heard_of_a_failure_is_not_named), TEST(who_sleeps_is_woken_by_a_refusal),
        TEST(who_sleeps_is_woken_by_the_last_load),
    };

    runner_watchdog(30);
    return cmocka_run_group_tests_name("model-late", tests, NULL, NULL);
}
