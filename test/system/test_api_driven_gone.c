/* SPDX-License-Identifier: Apache-2.0 */
/* Collectives that the host drives, when something goes away: their tensors, their session, a peer,
 * or what a peer does is another thing. docs/spec/api.md 5. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "async_held.h"
#include "coll_limit.h"
#include "coll_ranks.h"
#include "driven_world.h"
#include "models.h"
#include "proves.h"
#include "runner.h"
#include "seed.h"

static uint64_t seed;

/* ---- what goes away ---- */

static void *free_thread(void *arg)
{
    nrt_tensor_t *t = *(nrt_tensor_t **)arg;

    nrt_tensor_free(&t);
    __atomic_store_n((nrt_tensor_t **)arg, NULL, __ATOMIC_RELEASE);
    return NULL;
}

static void tensors_are_freed_after_their_requests(void **state)
{
    struct driven_case c = driven_sum_of(seed, 2, 50);
    nrt_tensor_t *other;
    nrt_cc_context_t *ctx;
    nrta_error_tracker_t *t[2];
    struct driven_run r[2];
    pthread_t thread;
    nrta_seq_t seq;
    float byte;

    driven_session(2, t);
    driven_make_all(r, &c);
    driven_schedule(&r[0], t[0]);
    assert_int_equal(pthread_create(&thread, NULL, free_thread, &r[0].in[0]), 0);
    /* its handle has ended when this fails, and from then on the thread waits for the request */
    while (nrt_tensor_read(r[0].in[0], &byte, 0, 4) == NRT_SUCCESS)
        sched_yield();
    assert_non_null(__atomic_load_n(&r[0].in[0], __ATOMIC_ACQUIRE));
    driven_schedule(&r[1], t[1]);
    pthread_join(thread, NULL);
    assert_null(r[0].in[0]);
    async_finish(r[0].seq);
    async_finish(r[1].seq);
    assert_int_equal(async_errors(t[0]), 0);
    assert_null(driven_compare(&r[1]));

    /* between the two calls: a tensor that is freed, and one that gets other storage */
    assert_ok(driven_prepare(&r[1], &ctx));
    nrt_tensor_free(&r[1].in[0]);
    assert_fails(nrta_cc_schedule(&ctx, 0, t[1], &seq), NRT_INVALID_HANDLE, "nrta_cc_schedule");
    assert_non_null(ctx);
    other = r[1].in[0] = device_tensor(1, 200);
    assert_ok(driven_prepare(&r[1], &ctx));
    assert_ok(nrt_tensor_attach_buffer(other, malloc(200), 200));
    assert_fails(nrta_cc_schedule(&ctx, 0, t[1], &seq), NRT_INVALID, "nrta_cc_schedule");
    free(nrt_tensor_get_va(other));
    nrt_close();
}

/* nrt_close carries out what was scheduled: descriptors outlive it. */
static void a_session_ends_after_its_requests(void **state)
{
    struct driven_case c = driven_sum_of(seed, 2, 20000);
    nrta_error_tracker_t *t[2];
    struct driven_run r[20][2];
    struct pollfd p[2] = {{.events = POLLIN}, {.events = POLLIN}};

    driven_session(2, t);
    for (unsigned k = 0; k < 20; k++)
        driven_make_all(r[k], &c);
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < 20; k++)
            driven_schedule(&r[k][i], t[i]);
        assert_ok(nrta_get_completion_handle(r[19][i].seq, &p[i].fd));
    }
    api_log_clear();
    nrt_close();
    assert_int_equal(poll(p, 2, 0), 2);
    close(p[0].fd);
    close(p[1].fd);
    assert_int_equal(api_log_errors(), 0);
    api_log_clear();
}

/* ---- peers that do something else, or nothing ---- */

static void differing_operations_name_the_rank(void **state)
{
    struct driven_case a = driven_sum_of(seed, 2, 3000), b = driven_sum_of(seed, 2, 5000);
    nrta_error_tracker_t *t[2];
    struct driven_run r[2], later;
    nrt_cc_context_t *ctx;
    nrta_seq_t seq;

    driven_session(2, t);
    driven_make(&r[0], &a, 0, 0);
    driven_make(&r[1], &b, 1, 1);
    driven_make(&later, &a, 0, 0);
    api_log_clear();
    driven_schedule_all(r, 2, t);
    for (unsigned i = 0; i < 2; i++) {
        async_finish(r[i].seq);
        assert_int_equal(async_errors(t[i]), 1);
        assert_int_equal(async_error(t[i], 0, &seq), NRT_EXEC_HW_ERR_COLLECTIVES);
        assert_true(seq == r[i].seq);
    }
    assert_true(api_log_has("another operation") && api_log_has("rank "));
    api_log_clear();

    /* the unit has ended, until there is another session */
    assert_ok(driven_prepare(&later, &ctx));
    assert_fails(nrta_cc_schedule(&ctx, 0, t[0], &seq), NRT_EXEC_UNIT_UNRECOVERABLE,
                 "nrta_cc_schedule");
    PROVES("api-141");
    assert_ok(nrt_tensor_write(later.in[0], "abcd", 0, 4));
    nrt_close();
    driven_session(2, t);
    driven_make_all(r, &a);
    driven_schedule_all(r, 2, t);
    driven_finish_all(r, 2);
    nrt_close();
}

/* Each rank sums another number of elements. argv: rank, ranks. */
static int differs_helper(int argc, char **argv)
{
    nrta_error_tracker_t *t;
    struct driven_case c;
    struct driven_run r;
    unsigned rank, ranks;
    nrta_seq_t seq;
    uint64_t status;

    if (!driven_rank_join(argv, &rank, &ranks, &t))
        return 1;
    c = driven_sum_of(seed, ranks, 30000 * (rank + 1));
    driven_make(&r, &c, rank, 0);
    driven_schedule(&r, t);
    async_finish(r.seq);
    status = async_errors(t) == 1 ? async_error(t, 0, &seq) : NRT_SUCCESS;
    nrt_close();
    return status == NRT_EXEC_HW_ERR_COLLECTIVES || status == NRT_NETWORK_PROXY_FAILURE ? 0 : 2;
}

static void differing_operations_between_nodes(void **state)
{
    struct runner_proc p[2];

    coll_root_env();
    for (unsigned r = 0; r < 2; r++)
        driven_rank_start(&p[r], "differs", r, 2, 1, "");
    for (unsigned r = 0; r < 2; r++)
        assert_int_equal(runner_wait(&p[r], RUNNER_WAIT_MS), 0);
    unsetenv("NEURON_RT_ROOT_COMM_ID");
    driven_nodes_remove();
    api_log_clear();
}

static void a_rank_that_does_not_come_is_named(void **state)
{
    struct driven_case c = driven_sum_of(seed, 2, 16);
    nrta_error_tracker_t *t[2];
    struct driven_run r[2];
    nrta_seq_t seq;

    driven_session(2, t);
    coll_limit(1);
    driven_make_all(r, &c);
    driven_schedule(&r[1], t[1]);
    async_finish(r[1].seq);
    assert_int_equal(async_error(t[1], 0, &seq), NRT_TIMEOUT);
    if (!api_log_has("not entered by ranks 0") || !api_log_has("nrta_cc_schedule"))
        fail_msg("%s", api_log());
    nrt_close();
    api_log_clear();
}

/* Says "first" after an operation with the other; then "second" when it has scheduled another one
 * that fails as it should, or waits for its end. argv: rank, ranks, "" or "victim". */
static int killed_helper(int argc, char **argv)
{
    nrta_error_tracker_t *t;
    struct driven_case c;
    struct driven_run r;
    unsigned rank, ranks;
    nrta_seq_t seq;
    char line[16];

    if (!driven_rank_join(argv, &rank, &ranks, &t))
        return 1;
    c = driven_sum_of(seed, ranks, 1000);
    driven_make(&r, &c, rank, 0);
    driven_schedule(&r, t);
    async_finish(r.seq);
    runner_say(driven_compare(&r) || async_errors(t) ? "wrong" : "first");
    if (!runner_hear(line, sizeof(line)))
        return 2;
    driven_schedule(&r, t);
    async_finish(r.seq);
    if (async_errors(t) != 1 || async_error(t, 0, &seq) != NRT_EXEC_HW_ERR_COLLECTIVES)
        return 3;
    nrt_close();
    return 0;
}

static void a_killed_rank_fails_the_others(void **state)
{
    struct runner_proc p[3];

    coll_root_env();
    for (unsigned r = 0; r < 3; r++)
        driven_rank_start(&p[r], "killed", r, 3, 0, "");
    for (unsigned r = 0; r < 3; r++)
        assert_true(runner_expect(&p[r], "first", RUNNER_WAIT_MS));
    for (unsigned r = 0; r < 2; r++)
        assert_true(runner_tell(&p[r], "go"));
    runner_kill(&p[2], SIGKILL);
    assert_int_equal(runner_wait(&p[2], RUNNER_WAIT_MS), RUNNER_SIGNAL(SIGKILL));
    for (unsigned r = 0; r < 2; r++)
        assert_int_equal(runner_wait(&p[r], RUNNER_WAIT_MS), 0);
    unsetenv("NEURON_RT_ROOT_COMM_ID");
}

static int setup(void **state)
{
    seed = seed_take_new();
    return coll_setup(state);
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {
        {"killed", killed_helper}, {"differs", differs_helper}, {NULL, NULL}};
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_are_freed_after_their_requests),
        cmocka_unit_test(a_session_ends_after_its_requests),
        cmocka_unit_test(differing_operations_name_the_rank),
        cmocka_unit_test(differing_operations_between_nodes),
        cmocka_unit_test(a_rank_that_does_not_come_is_named),
        cmocka_unit_test(a_killed_rank_fails_the_others),
    };
    int rc = coll_program_begin(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    return cmocka_run_group_tests_name("api-driven-gone", tests, setup, coll_teardown);
}
