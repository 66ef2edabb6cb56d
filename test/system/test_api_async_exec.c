/* SPDX-License-Identifier: Apache-2.0 */
/* Executions by the compute unit: results, order, overlap with other units, failures that end the
 * unit, and what is freed meanwhile. docs/spec/api.md 5, behaviour.md 9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdatomic.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "async_held.h"
#include "proves.h"
#include "runner.h"

static nrta_error_tracker_t *tracker;

static int setup(void **state)
{
    return nrta_error_tracker_create(0, &tracker);
}

static int teardown(void **state)
{
    nrta_error_tracker_destroy(tracker);
    return 0;
}

static void restart(void)
{
    nrt_close();
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_ok(nrta_error_tracker_create(0, &tracker));
}

/* Another thread waits: for the tensor, the model, or the end of the session. */
struct waiter {
    pthread_t thread;
    nrt_tensor_t **t;
    nrt_model_t *m;
    _Atomic int started, done;
};

static void *waiter_main(void *arg)
{
    struct waiter *w = arg;

    atomic_store(&w->started, 1);
    if (w->t)
        nrt_tensor_free(w->t);
    else if (w->m)
        nrt_unload(w->m);
    else
        nrt_close();
    atomic_store(&w->done, 1);
    return NULL;
}

static void waiter_start(struct waiter *w)
{
    assert_int_equal(pthread_create(&w->thread, NULL, waiter_main, w), 0);
    while (!atomic_load(&w->started))
        sched_yield();
    for (unsigned i = 0; i < 200; i++) /* chances to come back too early */
        sched_yield();
    assert_int_equal(atomic_load(&w->done), 0);
}

static void executions_run_in_order_with_their_own_inputs(void **state)
{
    nrt_model_t *m = load_at(neff_add(4), 0, -1);
    struct io io[8];
    nrta_seq_t seq[8], again;

    for (unsigned i = 0; i < 8; i++) {
        float a[4] = {(float)i, 1, 2, 3}, b[4] = {100, (float)i, 300, 400};

        io_init(&io[i]);
        put_floats(io_add(&io[i], true, "a", DEV, 0, 16), a, 4);
        put_floats(io_add(&io[i], true, "b", DEV, 0, 16), b, 4);
        io_add(&io[i], false, "c", DEV, 0, 16);
    }
    for (unsigned i = 0; i < 8; i++) {
        assert_ok(nrta_execute_schedule(m, io[i].in, io[i].out, 0, tracker, &seq[i]));
        if (i > 0)
            assert_int_equal(seq[i], seq[i - 1] + 1);
    }
    async_finish(seq[7]);
    for (unsigned i = 0; i < 8; i++) {
        assert_true(async_completed(seq[i]));
        assert_float_equal(get_float(io[i].t[2], 0), 100 + i, 0);
        assert_float_equal(get_float(io[i].t[2], 1), 1 + i, 0);
        assert_ok(nrt_tensor_check_output_completion(io[i].t[2], 0, 1));
        assert_int_equal(nrt_tensor_check_output_completion(io[i].t[2], 0, 2), NRT_TIMEOUT);
    }
    PROVES("api-048");
    /* the same sets, as often as the queue takes */
    for (unsigned i = 0; i < 500; i++) {
        NRT_STATUS status;

        do
            status = nrta_execute_schedule(m, io[0].in, io[0].out, 0, tracker, &again);
        while (status == NRT_QUEUE_FULL);
        assert_ok(status);
    }
    async_finish(again);
    assert_ok(nrt_tensor_check_output_completion(io[0].t[2], 0, 501));
    assert_int_equal(async_errors(tracker), 0);
    for (unsigned i = 0; i < 8; i++)
        io_fini(&io[i]);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

/* While an execution stands still, the other units of its core go on, as does another core; what is
 * behind it in its queue waits. */
static void units_overlap_and_a_queue_does_not(void **state)
{
    nrta_error_tracker_t *far;
    struct held h, other;
    nrt_tensor_t *t;
    uint8_t in[64], out[64] = {0};
    nrta_seq_t first, second, move, there;

    held_init(&h, CPU_NODE, 0);
    held_init(&other, CPU_NODE, 1);
    assert_ok(nrta_error_tracker_create(1, &far));
    assert_ok(nrt_tensor_allocate(DEV, 0, 64, NULL, &t));
    held_close(&h);
    held_none(&other);
    assert_ok(nrta_execute_schedule(h.m, h.io.in, h.io.out, 0, tracker, &first));
    held_reach(&h);
    assert_ok(nrta_execute_schedule(h.m, h.io.in, h.io.out, 0, tracker, &second));
    for (unsigned i = 0; i < 100; i++) {
        memset(in, (int)i, sizeof(in));
        assert_ok(nrta_tensor_write(t, in, 0, 64, 0, tracker, &move));
        async_finish(move);
        assert_ok(nrta_tensor_copy(t, 0, t, 32, 32, 0, tracker, &move));
        async_finish(move);
        assert_ok(nrta_tensor_read(out, t, 0, 64, 0, tracker, &move));
        async_finish(move);
        assert_memory_equal(in, out, 64);
    }
    assert_ok(nrta_execute_schedule(other.m, other.io.in, other.io.out, 0, far, &there));
    async_finish(there);
    assert_false(async_completed(first));
    assert_false(async_completed(second));
    PROVES("ovl-013");
    held_open(&h);
    async_finish(second);
    assert_true(async_completed(first));
    PROVES("perf-009");
    assert_int_equal(NRTA_SEQ_GET_SEQ_NUM(second), NRTA_SEQ_GET_SEQ_NUM(first) + 1);
    assert_int_equal(NRTA_SEQ_GET_XU_ID(second), NRTA_SEQ_GET_XU_ID(first));
    assert_int_not_equal(NRTA_SEQ_GET_XU_ID(move), NRTA_SEQ_GET_XU_ID(first));
    assert_int_equal((uint64_t)NRTA_SEQ_GET_XU_ID(first) << 48 | NRTA_SEQ_GET_SEQ_NUM(first),
                     first);
    PROVES("perf-014");
    nrta_error_tracker_destroy(far);
    nrt_tensor_free(&t);
    held_fini(&h);
    held_fini(&other);
}

static void wrong_arguments_are_refused_by_the_call(void **state)
{
    nrt_model_t *m = load_at(neff_add(4), 0, -1);
    struct io io, wrong;
    nrta_error_tracker_t *far;
    nrta_seq_t seq = 11;

    io_init(&io);
    io_init(&wrong);
    io_add(&io, true, "a", DEV, 0, 16);
    io_add(&io, true, "b", DEV, 0, 16);
    io_add(&io, false, "c", DEV, 0, 16);
    io_add(&wrong, true, "a", DEV, 0, 16);
    io_add(&wrong, false, "c", DEV, 0, 8);
    assert_ok(nrta_error_tracker_create(1, &far));
    assert_fails(nrta_execute_schedule(NULL, io.in, io.out, 0, tracker, &seq), NRT_INVALID,
                 "nrta_execute_schedule");
    assert_fails(nrta_execute_schedule(m, NULL, io.out, 0, tracker, &seq), NRT_INVALID,
                 "nrta_execute_schedule");
    assert_fails(nrta_execute_schedule(m, io.in, NULL, 0, tracker, &seq), NRT_INVALID,
                 "nrta_execute_schedule");
    assert_fails(nrta_execute_schedule(m, io.in, io.out, 1, tracker, &seq), NRT_INVALID,
                 "nrta_execute_schedule");
    assert_fails(nrta_execute_schedule(m, io.in, io.out, 0, NULL, &seq), NRT_INVALID,
                 "nrta_execute_schedule");
    assert_fails(nrta_execute_schedule(m, io.in, io.out, 0, tracker, NULL), NRT_INVALID,
                 "nrta_execute_schedule");
    assert_fails(nrta_execute_schedule(m, io.in, io.out, 0, far, &seq), NRT_INVALID,
                 "nrta_execute_schedule");
    assert_fails(nrta_execute_schedule((nrt_model_t *)tracker, io.in, io.out, 0, tracker, &seq),
                 NRT_INVALID_HANDLE, "nrta_execute_schedule");
    api_log_clear();
    assert_int_equal(nrta_execute_schedule(m, wrong.in, io.out, 0, tracker, &seq),
                     NRT_EXEC_BAD_INPUT); /* no b */
    assert_int_equal(nrta_execute_schedule(m, io.in, wrong.out, 0, tracker, &seq),
                     NRT_EXEC_BAD_INPUT); /* c is too small */
    assert_int_equal(seq, 11);
    assert_int_equal(async_errors(tracker), 0);
    nrta_error_tracker_destroy(far);
    io_fini(&io);
    io_fini(&wrong);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

static void failures_go_to_the_tracker_and_the_unit_goes_on(void **state)
{
    nrt_model_t *m = load_at(neff_index(), 0, -1);
    int32_t index[3] = {3, 1 << 20, 5}, values[8] = {10, 11, 12, 13, 14, 15, 16, 17}, got;
    struct io io[3];
    nrta_seq_t seq[3], failed;

    for (unsigned i = 0; i < 3; i++) {
        io_init(&io[i]);
        assert_ok(nrt_tensor_write(io_add(&io[i], true, "a", DEV, 0, 32), values, 0, 32));
        assert_ok(nrt_tensor_write(io_add(&io[i], true, "i", DEV, 0, 4), &index[i], 0, 4));
        io_add(&io[i], false, "c", DEV, 0, 4);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_ok(nrta_execute_schedule(m, io[i].in, io[i].out, 0, tracker, &seq[i]));
    async_finish(seq[2]);
    assert_int_equal(async_errors(tracker), 1);
    assert_int_equal(async_error(tracker, 0, &failed), NRT_EXEC_OOB);
    assert_int_equal(failed, seq[1]);
    PROVES("api-056");
    PROVES("perf-013");
    for (unsigned i = 0; i < 3; i += 2) {
        assert_ok(nrt_tensor_read(io[i].t[2], &got, 0, 4));
        assert_int_equal(got, values[index[i]]);
    }
    assert_int_equal(nrt_tensor_check_output_completion(io[1].t[2], 0, 1), NRT_TIMEOUT);
    for (unsigned i = 0; i < 3; i++)
        io_fini(&io[i]);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

/* After a timeout the compute unit is lost until the next session; synchronous executions and the
 * other units are not. */
static void a_timeout_ends_the_compute_unit(void **state)
{
    nrt_model_t *hang = load_at(neff_hang(), 0, -1), *m = load_at(neff_copy(4, false), 0, -1);
    struct io io;
    struct held h;
    nrta_seq_t seq[4], at;
    uint8_t byte = 5;

    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    io_add(&io, false, "c", DEV, 0, 4);
    held_init(&h, CPU_NODE, 0);
    held_close(&h);
    assert_ok(nrta_execute_schedule(h.m, h.io.in, h.io.out, 0, tracker, &seq[0]));
    assert_ok(nrta_execute_schedule(hang, io.in, io.out, 0, tracker, &seq[1]));
    assert_ok(nrta_execute_schedule(m, io.in, io.out, 0, tracker, &seq[2]));
    held_open(&h);
    async_finish(seq[2]);
    assert_int_equal(async_errors(tracker), 2);
    assert_int_equal(async_error(tracker, 0, &at), NRT_TIMEOUT);
    assert_int_equal(at, seq[1]);
    assert_int_equal(async_error(tracker, 1, &at), NRT_EXEC_UNIT_UNRECOVERABLE);
    assert_int_equal(at, seq[2]);
    for (unsigned i = 0; i < 3; i++)
        assert_fails(nrta_execute_schedule(m, io.in, io.out, 0, tracker, &seq[3]),
                     NRT_EXEC_UNIT_UNRECOVERABLE, "nrta_execute_schedule");
    assert_ok(nrta_tensor_write(io.t[0], &byte, 0, 1, 0, tracker, &seq[3]));
    async_finish(seq[3]);
    assert_ok(nrt_execute(m, io.in, io.out));
    held_fini(&h);
    io_fini(&io);
    restart();
    m = load_at(neff_copy(4, false), 0, -1);
    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    io_add(&io, false, "c", DEV, 0, 4);
    assert_ok(nrta_execute_schedule(m, io.in, io.out, 0, tracker, &seq[3]));
    async_finish(seq[3]);
    assert_int_equal(async_errors(tracker), 0);
    PROVES("perf-011");
    io_fini(&io);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

/* ---- what is freed meanwhile ---- */

static void sets_may_go_at_once(void **state)
{
    nrt_model_t *m = load_at(neff_add(4), 0, -1);
    float a[4] = {1, 2, 3, 4}, b[4] = {10, 20, 30, 40};
    nrta_seq_t seq, behind;
    struct held h;
    struct io io;

    held_init(&h, CPU_NODE, 0);
    held_close(&h);
    io_init(&io);
    put_floats(io_add(&io, true, "a", DEV, 0, 16), a, 4);
    put_floats(io_add(&io, true, "b", DEV, 0, 16), b, 4);
    io_add(&io, false, "c", DEV, 0, 16);
    assert_ok(nrta_execute_schedule(h.m, h.io.in, h.io.out, 0, tracker, &seq));
    held_reach(&h);
    assert_ok(nrta_execute_schedule(m, io.in, io.out, 0, tracker, &behind));
    nrt_destroy_tensor_set(&io.in);
    nrt_destroy_tensor_set(&io.out);
    assert_false(async_completed(behind));
    held_open(&h);
    async_finish(behind);
    assert_float_equal(get_float(io.t[2], 3), 44, 0);
    assert_int_equal(async_errors(tracker), 0);
    io_fini(&io);
    held_fini(&h);
    assert_ok(nrt_unload(m));
}

static void tensors_and_models_wait_for_their_executions(void **state)
{
    nrta_seq_t seq[3], none;
    struct waiter w = {0}, u = {0};
    nrt_tensor_t *y;
    struct held h;

    held_init(&h, CPU_NODE, 0);
    held_close(&h);
    for (unsigned i = 0; i < 3; i++)
        assert_ok(nrta_execute_schedule(h.m, h.io.in, h.io.out, 0, tracker, &seq[i]));
    held_reach(&h);
    y = h.io.t[2];
    w.t = &h.io.t[2];
    u.m = h.m;
    waiter_start(&w);
    waiter_start(&u);
    assert_fails(nrta_execute_schedule(h.m, h.io.in, h.io.out, 0, tracker, &none),
                 NRT_INVALID_HANDLE, "nrta_execute_schedule"); /* it is going */
    assert_fails(nrta_tensor_read(&none, y, 0, 4, 0, tracker, &none), NRT_INVALID_HANDLE,
                 "nrta_tensor_read");
    held_open(&h);
    pthread_join(w.thread, NULL);
    pthread_join(u.thread, NULL);
    for (unsigned i = 0; i < 3; i++)
        assert_true(async_completed(seq[i]));
    assert_int_equal(async_errors(tracker), 0);
    io_fini(&h.io);
    api_log_clear();
}

static void closing_waits_for_executions(void **state)
{
    nrta_seq_t seq;
    struct waiter w = {0};
    struct held h;

    held_init(&h, CPU_NODE, 0);
    held_close(&h);
    for (unsigned i = 0; i < 5; i++)
        assert_ok(nrta_execute_schedule(h.m, h.io.in, h.io.out, 0, tracker, &seq));
    held_reach(&h);
    waiter_start(&w);
    held_open(&h);
    pthread_join(w.thread, NULL);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_ok(nrta_error_tracker_create(0, &tracker));
    api_log_clear();
}

/* Replicas take turns, each on the compute unit of its own core. */
static void replicas_use_the_units_of_their_cores(void **state)
{
    nrt_model_t *m = load_at(neff_nothing(8), 0, 2);
    nrta_error_tracker_t *t[2] = {tracker, NULL};
    nrta_seq_t seq, last[2] = {0};
    struct io io[2];

    assert_ok(nrta_error_tracker_create(1, &t[1]));
    for (unsigned i = 0; i < 2; i++) {
        io_init(&io[i]);
        io_add(&io[i], true, "a", VIRT, -1, 8);
        io_add(&io[i], false, "c", VIRT, -1, 8);
    }
    for (unsigned i = 0; i < 20; i++) {
        /* the tracker must be that of the core: whose turn it is shows in who refuses */
        NRT_STATUS status =
            nrta_execute_schedule(m, io[i % 2].in, io[i % 2].out, 0, t[i % 2], &seq);

        if (status == NRT_INVALID)
            continue;
        assert_ok(status);
        last[i % 2] = seq;
    }
    assert_true(last[0] && last[1]);
    assert_int_not_equal(NRTA_SEQ_GET_XU_ID(last[0]), NRTA_SEQ_GET_XU_ID(last[1]));
    async_finish(last[0]);
    async_finish(last[1]);
    nrta_error_tracker_destroy(t[1]);
    io_fini(&io[0]);
    io_fini(&io[1]);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(executions_run_in_order_with_their_own_inputs, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(units_overlap_and_a_queue_does_not, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_arguments_are_refused_by_the_call, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_go_to_the_tracker_and_the_unit_goes_on, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_timeout_ends_the_compute_unit, setup, teardown),
        cmocka_unit_test_setup_teardown(sets_may_go_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(tensors_and_models_wait_for_their_executions, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(closing_waits_for_executions, setup, teardown),
        cmocka_unit_test_setup_teardown(replicas_use_the_units_of_their_cores, setup, teardown),
    };

    runner_watchdog(240);
    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
