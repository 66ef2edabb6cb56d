/* SPDX-License-Identifier: Apache-2.0 */
/* Eight threads of a process, which the thread sanitizer watches in its own build, make the calls
 * that test_api_threads.c leaves out: the rest of those on tensors, options, the implicit mode,
 * collectives of the host and messages between cores. api.md 0 (MT) and 13. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "async_held.h"
#include "coll_ranks.h"
#include "driven_world.h"
#include "must.h"
#include "neffs.h"
#include "nrt/nrt_async.h"
#include "nrt/nrt_profile.h"
#include "nrt/nrt_sys_trace.h"
#include "pair_ends.h"
#include "runner.h"

#define CALLERS 8u
#define ROUNDS  60

static nrt_model_t *shared_model;
static nrt_tensor_t *shared_in;

struct caller {
    pthread_t thread;
    unsigned n;
    void *arg;
};

/* fns[i] by thread i; count of them, which repeat. */
static void run_all(void *(*const *fns)(void *), unsigned count, void *arg)
{
    struct caller c[CALLERS];

    for (unsigned i = 0; i < CALLERS; i++) {
        c[i] = (struct caller){.n = i, .arg = arg};
        MUST(pthread_create(&c[i].thread, NULL, fns[i % count], &c[i]) == 0);
    }
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(c[i].thread, NULL);
}

static nrt_tensor_t *own_tensor(int vnc, size_t size)
{
    nrt_tensor_t *t;

    OK(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, vnc, size, "t", &t));
    return t;
}

static void session(const char *depth)
{
    if (depth)
        setenv("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS", depth, 1);
    coll_session(1);
    unsetenv("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS");
}

/* ---- tensors, questions, options ---- */

static void *moves(void *arg)
{
    uint8_t mine = (uint8_t)(1 + ((struct caller *)arg)->n), sent[64], got[64];
    nrt_tensor_batch_op_t in = {.size = 64, .buffer = sent}, out = {.size = 64, .buffer = got};

    memset(sent, mine, sizeof(sent));
    for (int i = 0; i < ROUNDS; i++) {
        nrt_tensor_t *a = own_tensor(0, 64), *b = own_tensor(0, 64), *host, *found = NULL;
        nrt_tensor_batch_t write = {a, &in, 1}, read = {b, &out, 1};
        nrt_tensor_set_t *set;

        OK(nrt_tensor_write_batch(&write, 1, i % 2));
        OK(nrt_tensor_copy(a, 0, b, 0, 64));
        OK(nrt_tensor_read_batch(&read, 1, i % 2));
        MUST(got[0] == mine && got[63] == mine);
        OK(nrt_memcpy_to_device(nrt_tensor_get_va(b), sent, 1));
        OK(nrt_tensor_allocate_empty("e", &host));
        OK(nrt_tensor_attach_buffer(host, got, 64));
        OK(nrt_tensor_copy(shared_in, 0, host, 0, 64)); /* readers share it */
        MUST(got[0] == 7 && got[63] == 7);
        OK(nrt_tensor_reset_output_completion(b));
        OK(nrt_allocate_tensor_set(&set));
        OK(nrt_add_tensor_to_tensor_set(set, "b", b));
        OK(nrt_get_tensor_from_tensor_set(set, "b", &found));
        MUST(found == b);
        nrt_destroy_tensor_set(&set);
        nrt_tensor_free(&host);
        nrt_tensor_free(&b);
        nrt_tensor_free(&a);
    }
    return NULL;
}

static void *asks(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        nrt_version_t version;
        char text[64] = "";
        size_t size = sizeof(text);
        int fd, err = 1, most;
        uint32_t n;

        OK(nrt_get_version(&version, sizeof(version)));
        MUST(strcmp(nrt_get_status_as_str(NRT_QUEUE_FULL), "NRT_QUEUE_FULL") == 0);
        MUST(nrt_get_libnccl_net(&err, text, sizeof(text)) == NULL && err == 0);
        OK(nrt_get_total_nc_count(&n));
        OK(nrt_get_visible_nc_count(&n));
        OK(nrt_get_model_nc_count(shared_model, &n));
        OK(nrt_async_sendrecv_get_max_num_communicators_per_lnc(&most));
        OK(nrt_async_sendrecv_get_max_num_pending_request(&most));
        /* where the host has no way to do it, it says so */
        if (nrt_get_dmabuf_fd((uint64_t)nrt_tensor_get_va(shared_in), 64, &fd) == NRT_SUCCESS)
            close(fd);
        (void)nrt_get_attached_efa_bdf(nrt_tensor_get_va(shared_in), text, &size);
    }
    return NULL;
}

static void *trace_options(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        nrt_sys_trace_fetch_options_t *fetch;
        nrt_sys_trace_config_t *config;
        const char **names;
        size_t count;

        OK(nrt_sys_trace_config_allocate(&config));
        nrt_sys_trace_config_set_defaults(config);
        nrt_sys_trace_config_set_max_events_per_nc(config, 100);
        nrt_sys_trace_config_set_capture_enabled_for_nc(config, 1, false);
        OK(nrt_sys_trace_config_set_capture_enabled_for_event_type(config, "nrt_load", false));
        OK(nrt_sys_trace_get_event_types(&names, &count));
        nrt_sys_trace_free_event_types(names, count);
        OK(nrt_sys_trace_config_get_enabled_event_types(config, &names, &count));
        nrt_sys_trace_free_event_types(names, count);
        nrt_sys_trace_config_free(config);
        OK(nrt_sys_trace_fetch_options_allocate(&fetch));
        nrt_sys_trace_fetch_options_set_defaults(fetch);
        nrt_sys_trace_fetch_options_set_max_events_per_nc(fetch, 10);
        nrt_sys_trace_fetch_options_set_nc_idx(fetch, 0);
        nrt_sys_trace_fetch_options_free(fetch);
    }
    return NULL;
}

static void *profile_options(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        nrt_profile_continuous_options_t *profile;
        nrt_inspect_config_t *o;
        const char **names;
        size_t count;

        OK(nrt_profile_continuous_options_allocate(&profile));
        OK(nrt_profile_continuous_options_set_output_dir(profile, "/tmp"));
        OK(nrt_profile_continuous_options_free(profile));
        OK(nrt_inspect_config_allocate(&o));
        OK(nrt_inspect_config_set_defaults(o));
        OK(nrt_inspect_config_set_session_id(o, i));
        OK(nrt_inspect_config_set_output_dir(o, "/tmp"));
        OK(nrt_inspect_config_set_sys_trace_max_events_per_nc(o, 100));
        OK(nrt_inspect_config_set_capture_enabled_for_nc(o, 0, true));
        OK(nrt_inspect_config_set_capture_enabled_for_event_type_string(o, "nrt_load", false));
        OK(nrt_inspect_config_set_enable_inspect(o, false));
        OK(nrt_inspect_config_set_enable_inspect_on_fail(o, false));
        OK(nrt_inspect_config_set_activity(o, "cpu_util", false));
        OK(nrt_inspect_config_get_all_activity_types(&names, &count));
        nrt_inspect_config_free_activity_types(names, count);
        OK(nrt_inspect_config_get_enabled_activity_types(o, &names, &count));
        nrt_inspect_config_free_activity_types(names, count);
        OK(nrt_inspect_config_free(o));
    }
    return NULL;
}

static void model_begin(const char *depth)
{
    struct bytes neff = neff_copy(64, false);

    session(depth);
    assert_ok(nrt_load(neff.data, neff.size, 0, -1, &shared_model));
    shared_in = own_tensor(0, 64);
    assert_ok(nrt_tensor_memset(shared_in, 0, 7, 64));
    neff_free(&neff);
}

static void model_end(void)
{
    nrt_tensor_free(&shared_in);
    assert_ok(nrt_unload(shared_model));
    nrt_close();
}

static void callers_move_and_ask(void **state)
{
    void *(*const fns[])(void *) = {moves, asks, trace_options, profile_options};

    model_begin(NULL);
    run_all(fns, 4, NULL);
    model_end();
    api_log_clear();
}

/* ---- the implicit mode ---- */

static atomic_uint told;

static void tells(void *params, uint32_t model_id, uint32_t vnc, uint64_t job_id, NRT_STATUS status)
{
    MUST(params == &told && status == NRT_SUCCESS);
    atomic_fetch_add(&told, 1);
}

static void *leaves_executions(void *arg)
{
    nrt_tensor_t *c = own_tensor(0, 64);
    nrt_tensor_set_t *in, *out;
    uint8_t got[64];

    OK(nrt_allocate_tensor_set(&in));
    OK(nrt_allocate_tensor_set(&out));
    OK(nrt_add_tensor_to_tensor_set(in, "a", shared_in));
    OK(nrt_add_tensor_to_tensor_set(out, "c", c));
    for (int i = 0; i < ROUNDS; i++) {
        NRT_STATUS status;

        OK(nrt_register_async_exec_callback(tells, &told)); /* the same for all */
        OK(nrt_tensor_memset(c, 0, 0, 64));
        while ((status = nrt_execute(shared_model, in, out)) == NRT_QUEUE_FULL)
            sched_yield();
        MUST(status == NRT_SUCCESS);
        if (i % 2)
            OK(nrt_async_drain_queued_execs(i % 4 == 1 ? 0 : -1));
        OK(nrt_tensor_read(c, got, 0, 64)); /* waits for it */
        MUST(got[0] == 7 && got[63] == 7);
    }
    nrt_tensor_free(&c);
    nrt_destroy_tensor_set(&in);
    nrt_destroy_tensor_set(&out);
    return NULL;
}

static void callers_leave_executions(void **state)
{
    void *(*const fns[])(void *) = {leaves_executions};

    model_begin("4"); /* fewer than callers */
    run_all(fns, 1, NULL);
    assert_ok(nrt_async_drain_queued_execs(-1));
    assert_int_equal(atomic_load(&told), CALLERS * ROUNDS);
    assert_ok(nrt_register_async_exec_callback(NULL, NULL));
    model_end();
    api_log_clear();
}

/* ---- collectives of the host ---- */

/* All callers leave operations with the one core, which is a world by itself. */
static void *sums_alone(void *arg)
{
    struct driven_case one = driven_sum_of(((struct caller *)arg)->n, 1, 16);
    nrta_error_tracker_t *t;

    OK(nrta_error_tracker_create(0, &t));
    for (int i = 0; i < ROUNDS; i++) {
        nrt_cc_context_t *ctx = NULL;
        struct driven_run r;

        driven_make(&r, &one, 0, 0);
        OK(driven_prepare(&r, &ctx));
        OK(nrta_cc_schedule(&ctx, 0, t, &r.seq));
        async_finish(r.seq);
        MUST(driven_compare(&r) == NULL);
        driven_free(&r);
    }
    MUST(async_errors(t) == 0);
    nrta_error_tracker_destroy(t);
    return NULL;
}

static void callers_leave_collectives_with_a_core(void **state)
{
    void *(*const fns[])(void *) = {sums_alone};

    session(NULL);
    assert_ok(driven_join(1));
    run_all(fns, 1, NULL);
    nrt_close();
}

/* Each caller is a rank: all of them build the communicator, meet, gather and add up. */
static void *is_a_rank(void *arg)
{
    struct caller *me = arg;
    struct driven_case sum = driven_sum_of(1, CALLERS, 16);
    nrta_error_tracker_t *t;

    if (me->n % 2)
        OK(nrt_build_global_comm((int)me->n, me->n, CALLERS));
    else
        OK(nrt_cc_global_comm_init(me->n, me->n, CALLERS));
    OK(nrta_error_tracker_create(me->n, &t));
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        uint32_t mine = i * CALLERS + me->n, all[CALLERS];
        nrt_cc_context_t *ctx = NULL;
        struct driven_run r;

        driven_make(&r, &sum, me->n, me->n);
        OK(driven_prepare(&r, &ctx));
        OK(nrta_cc_schedule(&ctx, 0, t, &r.seq));
        OK(nrt_barrier((int)me->n, me->n, CALLERS));
        OK(nrt_all_gather((int)me->n, me->n, CALLERS, sizeof(mine), &mine, all));
        for (unsigned k = 0; k < CALLERS; k++)
            MUST(all[k] == i * CALLERS + k);
        async_finish(r.seq);
        MUST(driven_compare(&r) == NULL);
        driven_free(&r);
    }
    MUST(async_errors(t) == 0);
    nrta_error_tracker_destroy(t);
    return NULL;
}

/* A program with a collective, which all ranks load and execute. */
static void *loads_as_a_rank(void *arg)
{
    struct caller *me = arg;
    struct bytes *neff = me->arg;
    struct coll_caller k = {.rank = me->n, .ranks = CALLERS};

    for (unsigned i = 0; i < 3; i++) {
        OK(nrt_load_collectives(neff->data, neff->size, (int)me->n, 1, me->n, CALLERS, &k.m));
        OK(coll_run(&k, 2));
        OK(nrt_unload(k.m));
    }
    return NULL;
}

static void callers_are_ranks(void **state)
{
    void *(*const driven[])(void *) = {is_a_rank}, *(*const loaded[])(void *) = {loads_as_a_rank};
    struct bytes neff = neff_all_reduce(CALLERS, 16);

    if (runner_emulated()) {
        print_message("NOT RUN: emulated, the memories of many cores are slow to map\n");
        skip();
    }
    coll_session(CALLERS);
    run_all(driven, 1, NULL);
    run_all(loaded, 1, &neff);
    nrt_close();
    neff_free(&neff);
}

/* ---- messages ---- */

static atomic_ulong sum;

/* Even callers send from core 0, odd ones receive on core 1; who gets whose messages is open. */
static void *sends_or_receives(void *arg)
{
    struct caller *me = arg;
    bool send = me->n % 2 == 0;
    int lnc = send ? 0 : 1;
    nrt_tensor_t *t = own_tensor(lnc, 8);
    nrt_async_sendrecv_comm_t *c;

    if (send)
        OK(nrt_async_sendrecv_connect("127.0.0.1", 1, 0, &c));
    else
        OK(nrt_async_sendrecv_accept("127.0.0.1", 0, 1, &c));
    OK(pair_comm_wait(c));
    for (uint64_t i = 0; i < ROUNDS; i++) {
        nrt_async_sendrecv_request_t *r;
        uint64_t v = me->n << 20 | i;
        size_t size;

        if (send) {
            OK(nrt_tensor_write(t, &v, 0, 8));
            OK(nrt_async_sendrecv_send_tensor(t, 0, 8, c, &r));
        } else {
            OK(nrt_async_sendrecv_recv_tensor(t, 0, 8, c, &r));
        }
        OK(pair_request_wait(r, &size));
        MUST(size == 8);
        if (send)
            continue;
        OK(nrt_async_sendrecv_flush(lnc));
        OK(nrt_tensor_read(t, &v, 0, 8));
        MUST((v & 0xfffff) == i); /* a communicator's messages come in order */
        atomic_fetch_add(&sum, v);
    }
    nrt_tensor_free(&t);
    return NULL;
}

static void callers_send_and_receive(void **state)
{
    void *(*const fns[])(void *) = {sends_or_receives};
    unsigned long want = 0;

    for (unsigned n = 0; n < CALLERS; n += 2)
        for (unsigned i = 0; i < ROUNDS; i++)
            want += n << 20 | i;
    setenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED", "1", 1);
    setenv("OPENNRT_JOB_KEY", "of the tests", 1);
    pair_setenv("NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", pair_port(0));
    coll_session(2);
    for (int lnc = 0; lnc < 2; lnc++)
        assert_ok(nrt_async_sendrecv_init(lnc));
    run_all(fns, 1, NULL);
    assert_int_equal(atomic_load(&sum), want);
    for (int lnc = 0; lnc < 2; lnc++)
        assert_ok(nrt_async_sendrecv_close(lnc));
    nrt_close();
    unsetenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(callers_move_and_ask),
        cmocka_unit_test(callers_leave_executions),
        cmocka_unit_test(callers_leave_collectives_with_a_core),
        cmocka_unit_test(callers_are_ranks),
        cmocka_unit_test(callers_send_and_receive),
    };

    runner_watchdog(290);
    return cmocka_run_group_tests(tests, coll_setup, coll_teardown);
}
