/* SPDX-License-Identifier: Apache-2.0 */
/* The implicit asynchronous mode: behaviour.md 9 and 1.2 #13, api.md 7 functions 74 and 77. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "async_held.h"
#include "device/device.h"
#include "proves.h"
#include "runner.h"

#define VARIABLE "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS"

static char child_instance[32];

static void session(const char *depth)
{
    if (depth)
        setenv(VARIABLE, depth, 1);
    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1);
    api_log_clear();
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    unsetenv("NEURON_RT_LOG_LEVEL");
    unsetenv(VARIABLE);
}

/* What the callback was told, by the worker; read after a drain. */
struct seen {
    unsigned count;
    uint32_t model[128], vnc[128];
    uint64_t job[128];
    NRT_STATUS status[128];
    pthread_t thread[128];
};
static struct seen seen[2];

static void note(void *params, uint32_t model_id, uint32_t vnc, uint64_t job_id, NRT_STATUS status)
{
    struct seen *s = &((struct seen *)params)[vnc];

    if (s->count < 128) {
        s->model[s->count] = model_id;
        s->vnc[s->count] = vnc;
        s->job[s->count] = job_id;
        s->status[s->count] = status;
        s->thread[s->count] = pthread_self();
    }
    s->count++;
}

static int setup(void **state)
{
    memset(seen, 0, sizeof(seen));
    session("3");
    return nrt_register_async_exec_callback(note, seen);
}

static int teardown(void **state)
{
    nrt_close();
    return nrt_register_async_exec_callback(NULL, NULL);
}

static void the_mode_warns_and_is_off_by_default(void **state)
{
    struct held h;

    session(NULL);
    assert_false(api_log_has(VARIABLE));
    held_init(&h, CPU_NODE, 0);
    held_none(&h);
    assert_ok(nrt_execute(h.m, h.io.in, h.io.out));
    assert_ok(nrt_tensor_check_output_completion(h.io.t[2], 0, 1)); /* it is over already */
    assert_ok(nrt_async_drain_queued_execs(-1));
    held_fini(&h);
    nrt_close();
    session("1");
    assert_true(api_log_has("WARN "));
    assert_true(api_log_has(VARIABLE));
    assert_true(api_log_has("deprecated"));
    held_init(&h, CPU_NODE, 0);
    held_close(&h);
    assert_ok(nrt_execute(h.m, h.io.in, h.io.out)); /* it returns, and stands still */
    held_reach(&h);
    assert_int_equal(nrt_tensor_check_output_completion(h.io.t[2], 0, 1), NRT_TIMEOUT);
    assert_fails(nrt_execute(h.m, h.io.in, h.io.out), NRT_QUEUE_FULL, "nrt_execute");
    held_open(&h);
    assert_ok(nrt_tensor_check_output_completion(h.io.t[2], -1, 1));
    held_fini(&h);
    PROVES("perf-001");
    PROVES("perf-002");
    nrt_close();
}

static void callbacks_come_in_order_and_drain_waits_for_them(void **state)
{
    struct held h[2];
    NRT_STATUS status;

    for (int i = 0; i < 2; i++) {
        held_init(&h[i], CPU_NODE, i);
        held_none(&h[i]);
    }
    for (unsigned i = 0; i < 60; i++) {
        do
            status = nrt_execute(h[i % 2].m, h[i % 2].io.in, h[i % 2].io.out);
        while (status == NRT_QUEUE_FULL);
        assert_ok(status);
    }
    assert_ok(nrt_async_drain_queued_execs(0));
    assert_int_equal(seen[0].count, 30);
    assert_ok(nrt_async_drain_queued_execs(-1));
    for (unsigned c = 0; c < 2; c++) {
        assert_int_equal(seen[c].count, 30);
        for (unsigned i = 0; i < 30; i++) {
            assert_int_equal(seen[c].job[i], i + 1);
            assert_int_equal(seen[c].vnc[i], c);
            assert_int_equal(seen[c].model[i], seen[c].model[0]);
            assert_int_equal(seen[c].status[i], NRT_SUCCESS);
            /* one worker per core, which is not the caller */
            assert_true(pthread_equal(seen[c].thread[i], seen[c].thread[0]));
            assert_false(pthread_equal(seen[c].thread[i], pthread_self()));
        }
        assert_ok(nrt_tensor_check_output_completion(h[c].io.t[2], 0, 30));
    }
    assert_int_equal(seen[0].model[0] + 1, seen[1].model[0]); /* h_nn counts loads */
    PROVES("api-076");
    PROVES("api-079");
    PROVES("perf-005");
    PROVES("perf-007");
    assert_fails(nrt_async_drain_queued_execs(2), NRT_INVALID, "nrt_async_drain_queued_execs");
    assert_fails(nrt_async_drain_queued_execs(-2), NRT_INVALID, "nrt_async_drain_queued_execs");
    for (int i = 0; i < 2; i++)
        held_fini(&h[i]);
}

/* The value is the number of executions that a core may have queued, at most 63. */
static void the_depth_is_the_value_up_to_63(void **state)
{
    static const struct {
        const char *text;
        unsigned depth;
    } rows[] = {{"1", 1}, {"3", 3}, {"63", 63}, {"64", 63}, {"1000000", 63}};

    for (unsigned r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        struct held h;

        nrt_close();
        session(rows[r].text);
        held_init(&h, CPU_NODE, 0);
        held_close(&h);
        for (unsigned i = 0; i < rows[r].depth; i++)
            assert_ok(nrt_execute(h.m, h.io.in, h.io.out));
        assert_fails(nrt_execute(h.m, h.io.in, h.io.out), NRT_QUEUE_FULL, "nrt_execute");
        held_open(&h);
        assert_ok(nrt_async_drain_queued_execs(0));
        assert_ok(nrt_tensor_check_output_completion(h.io.t[2], 0, rows[r].depth));
        held_fini(&h);
    }
    PROVES("api-219");
    PROVES("perf-003");
    PROVES("perf-004");
}

static void arguments_are_checked_by_the_call(void **state)
{
    struct held h;

    held_init(&h, CPU_NODE, 0);
    held_none(&h);
    assert_int_equal(nrt_execute(NULL, h.io.in, h.io.out), NRT_INVALID);
    assert_int_equal(nrt_execute(h.m, h.io.out, h.io.in), NRT_EXEC_BAD_INPUT);
    assert_int_equal(nrt_execute_repeat(h.m, h.io.in, h.io.out, 0), NRT_INVALID);
    assert_ok(nrt_async_drain_queued_execs(0));
    assert_int_equal(seen[0].count, 0);
    held_fini(&h);
    api_log_clear();
}

/* ---- calls that wait for executions ---- */

enum call { READ, WRITE, SET, COPY_FROM, COPY_TO, READ_BATCH, WRITE_BATCH, FREE, UNLOAD, CALLS };

struct waiting {
    enum call call;
    struct held *h;
    nrt_tensor_t *other;
    _Atomic int started, done;
    NRT_STATUS status;
};

static void *waiting_main(void *arg)
{
    struct waiting *w = arg;
    nrt_tensor_t *y = w->h->io.t[2];
    float v = 1;
    nrt_tensor_batch_op_t op = {0, 4, &v};
    nrt_tensor_batch_t b = {y, &op, 1};

    atomic_store(&w->started, 1);
    switch (w->call) {
    case READ:
        w->status = nrt_tensor_read(y, &v, 0, 4);
        break;
    case WRITE:
        w->status = nrt_tensor_write(y, &v, 0, 4);
        break;
    case SET:
        w->status = nrt_tensor_memset(y, 0, 1, 4);
        break;
    case COPY_FROM:
        w->status = nrt_tensor_copy(y, 0, w->other, 0, 4);
        break;
    case COPY_TO:
        w->status = nrt_tensor_copy(w->other, 0, y, 0, 4);
        break;
    case READ_BATCH:
        w->status = nrt_tensor_read_batch(&b, 1, false);
        break;
    case WRITE_BATCH:
        w->status = nrt_tensor_write_batch(&b, 1, false);
        break;
    case FREE:
        nrt_tensor_free(&w->h->io.t[2]);
        break;
    default:
        w->status = nrt_unload(w->h->m);
        break;
    }
    atomic_store(&w->done, 1);
    return NULL;
}

static void access_to_a_tensor_in_use_waits(void **state)
{
    for (unsigned call = 0; call < CALLS; call++) {
        struct held h;
        struct waiting w = {.call = (enum call)call, .h = &h};
        nrt_tensor_t *slice;
        nrt_tensor_batch_op_t op;
        nrt_tensor_batch_t b;
        pthread_t thread;
        float v = -1;

        held_init(&h, CPU_NODE, 0);
        assert_ok(nrt_tensor_allocate(VIRT, -1, 4, NULL, &w.other));
        assert_ok(nrt_tensor_allocate_slice(h.io.t[2], 8, 4, NULL, &slice));
        held_close(&h);
        assert_ok(nrt_execute(h.m, h.io.in, h.io.out));
        assert_ok(nrt_execute(h.m, h.io.in, h.io.out));
        held_reach(&h);
        /* other tensors, and unsafe batches, do not wait */
        assert_ok(nrt_tensor_write(w.other, &v, 0, 4));
        op = (nrt_tensor_batch_op_t){0, 4, &v};
        b = (nrt_tensor_batch_t){slice, &op, 1};
        assert_ok(nrt_tensor_read_batch(&b, 1, true));
        assert_int_equal(pthread_create(&thread, NULL, waiting_main, &w), 0);
        while (!atomic_load(&w.started))
            sched_yield();
        for (unsigned i = 0; i < 200; i++)
            sched_yield();
        assert_int_equal(atomic_load(&w.done), 0);
        held_open(&h);
        pthread_join(thread, NULL);
        assert_ok(w.status);
        if (call != FREE)
            assert_ok(nrt_tensor_check_output_completion(h.io.t[2], 0, 2));
        nrt_tensor_free(&slice);
        nrt_tensor_free(&w.other);
        io_fini(&h.io);
        if (call != UNLOAD)
            assert_ok(nrt_unload(h.m));
    }
    PROVES("perf-008");
}

/* ---- callbacks ---- */

/* A callback that makes every call which would wait, and some that do not. */
struct inside {
    struct held *h;
    nrt_model_t *model;
    nrt_tensor_t *mine;
    unsigned called, refused, allowed, freed;
};

static void calls_inside(void *params, uint32_t model_id, uint32_t vnc, uint64_t job_id,
                         NRT_STATUS status)
{
    struct inside *k = params;
    nrt_tensor_t *y = k->h->io.t[2], *gone = k->mine;
    float v = 2;

    if (k->called++ > 0)
        return; /* the next execution stands at the gate while the first callback runs */
    k->refused += nrt_async_drain_queued_execs((int32_t)vnc) == NRT_INVALID;
    k->refused += nrt_async_drain_queued_execs(-1) == NRT_INVALID;
    k->refused += nrt_tensor_read(y, &v, 0, 4) == NRT_INVALID;
    k->refused += nrt_tensor_write(y, &v, 0, 4) == NRT_INVALID;
    k->refused += nrt_tensor_memset(y, 0, 0, 4) == NRT_INVALID;
    k->refused += nrt_tensor_copy(y, 0, k->mine, 0, 4) == NRT_INVALID;
    k->refused += nrt_tensor_attach_buffer(y, NULL, 0) == NRT_INVALID;
    k->refused += nrt_unload(k->model) == NRT_INVALID;
    k->refused += nrt_tensor_check_output_completion(y, -1, 99) == NRT_INVALID;
    nrt_tensor_free(&y);
    k->refused += y == k->h->io.t[2]; /* nothing happened */
    nrt_close();
    k->allowed += nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS; /* it is open still */
    k->allowed += nrt_tensor_write(k->mine, &v, 0, 4) == NRT_SUCCESS;
    k->allowed += nrt_tensor_check_output_completion(y, 0, 1) == NRT_SUCCESS;
    k->allowed += nrt_execute(k->model, k->h->io.in, k->h->io.out) == NRT_SUCCESS;
    nrt_tensor_free(&gone);
    k->freed = gone == NULL;
}

static void a_callback_never_waits_for_itself(void **state)
{
    struct held h;
    struct inside k = {.h = &h};

    held_init(&h, CPU_NODE, 0);
    held_none(&h);
    k.model = h.m;
    assert_ok(nrt_tensor_allocate(VIRT, -1, 4, NULL, &k.mine));
    assert_ok(nrt_register_async_exec_callback(calls_inside, &k));
    held_close(&h);
    assert_ok(nrt_execute(h.m, h.io.in, h.io.out));
    assert_ok(nrt_execute(h.m, h.io.in, h.io.out)); /* queued behind it, and uses all of it */
    held_open(&h);
    assert_ok(nrt_async_drain_queued_execs(0));
    assert_ok(nrt_async_drain_queued_execs(0)); /* the one that the callback has queued */
    assert_int_equal(k.called, 3);
    assert_int_equal(k.refused, 10);
    assert_int_equal(k.allowed, 4);
    assert_int_equal(k.freed, 1);
    held_fini(&h);
    api_log_clear();
}

static void failures_go_to_the_callback_and_by_default_to_the_log(void **state)
{
    nrt_model_t *m = load_at(neff_index(), 0, -1);
    int32_t index = 1 << 20, values[8] = {0};
    struct io io;

    io_init(&io);
    assert_ok(nrt_tensor_write(io_add(&io, true, "a", DEV, 0, 32), values, 0, 32));
    assert_ok(nrt_tensor_write(io_add(&io, true, "i", DEV, 0, 4), &index, 0, 4));
    io_add(&io, false, "c", DEV, 0, 4);
    assert_ok(nrt_execute(m, io.in, io.out));
    assert_ok(nrt_async_drain_queued_execs(0));
    assert_int_equal(seen[0].count, 1);
    assert_int_equal(seen[0].status[0], NRT_EXEC_OOB);
    assert_ok(nrt_register_async_exec_callback(NULL, NULL));
    api_log_clear();
    assert_ok(nrt_execute(m, io.in, io.out));
    assert_ok(nrt_async_drain_queued_execs(0));
    assert_int_equal(seen[0].count, 1);
    assert_true(api_log_has("execution 2 of core 0"));
    assert_true(api_log_has("NRT_EXEC_OOB"));
    assert_int_equal(nrt_tensor_check_output_completion(io.t[2], 0, 1), NRT_TIMEOUT);
    PROVES("perf-006");
    io_fini(&io);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

/* Closing carries out what is queued and calls back for each; then the library may start again. */
static void closing_loses_no_callback(void **state)
{
    for (unsigned round = 0; round < 10; round++) {
        struct held h;

        memset(seen, 0, sizeof(seen));
        held_init(&h, CPU_NODE, 0);
        held_none(&h);
        for (unsigned i = 0; i < 3; i++)
            assert_ok(nrt_execute(h.m, h.io.in, h.io.out));
        nrt_close();
        assert_int_equal(seen[0].count, 3);
        session("3");
    }
    api_log_clear();
}

/* A child of a fork starts its own session, with a mode of its own. */
static void a_fork_starts_anew(void **state)
{
    struct held h;
    int status;
    pid_t child;

    held_init(&h, CPU_NODE, 0);
    held_close(&h);
    for (unsigned i = 0; i < 3; i++)
        assert_ok(nrt_execute(h.m, h.io.in, h.io.out));
    held_reach(&h);
    child = fork();
    if (child == 0) {
        if (nrt_async_drain_queued_execs(-1) != NRT_UNINITIALIZED)
            _exit(1);
        setenv("OPENNRT_INSTANCE", child_instance, 1);
        if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS)
            _exit(2);
        if (nrt_async_drain_queued_execs(-1) != NRT_SUCCESS)
            _exit(3);
        nrt_close();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    held_open(&h);
    assert_ok(nrt_async_drain_queued_execs(0));
    assert_int_equal(seen[0].count, 3);
    held_fini(&h);
    api_log_clear();
}

static int group_setup(void **state)
{
    api_env("trn1.2xlarge", 0);
    snprintf(child_instance, sizeof(child_instance), "c%d", (int)getpid());
    return 0;
}

static int group_teardown(void **state)
{
    struct device_config cfg = {.name = child_instance};
    bool removed;

    device_instance_reset(&cfg, false, &removed, NULL);
    api_env_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mode_warns_and_is_off_by_default),
        cmocka_unit_test_setup_teardown(callbacks_come_in_order_and_drain_waits_for_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_depth_is_the_value_up_to_63, setup, teardown),
        cmocka_unit_test_setup_teardown(arguments_are_checked_by_the_call, setup, teardown),
        cmocka_unit_test_setup_teardown(access_to_a_tensor_in_use_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_callback_never_waits_for_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_go_to_the_callback_and_by_default_to_the_log,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(closing_loses_no_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(a_fork_starts_anew, setup, teardown),
    };

    runner_watchdog(120);
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
