/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that any thread may make on anything, made by many threads at once; the thread
 * sanitizer watches in its own build. api.md 0 (MT) and 13. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "must.h"
#include "neffs.h"
#include "nrt/ndebug_stream.h"
#include "nrt/nrt_async.h"
#include "nrt/nrt_profile.h"
#include "nrt/nrt_sys_trace.h"
#include "opennrt/fault.h"
#include "proves.h"
#include "runner.h"

#define THREADS 6
#define ROUNDS  150

static nrt_model_t *shared_model;
static nrt_tensor_t *shared_in;
static struct bytes neff;

struct own {
    nrt_tensor_set_t *in, *out;
    nrt_tensor_t *c;
};

static void own_init(struct own *o)
{
    OK(nrt_allocate_tensor_set(&o->in));
    OK(nrt_allocate_tensor_set(&o->out));
    OK(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "c", &o->c));
    OK(nrt_add_tensor_to_tensor_set(o->in, "a", shared_in));
    OK(nrt_add_tensor_to_tensor_set(o->out, "c", o->c));
}

static void own_fini(struct own *o)
{
    nrt_tensor_free(&o->c);
    nrt_destroy_tensor_set(&o->in);
    nrt_destroy_tensor_set(&o->out);
}

/* Until a request is complete; asleep, or asking. */
static void finish(nrta_seq_t seq, bool asleep)
{
    struct pollfd p = {.events = POLLIN};
    bool done = false;

    if (asleep) {
        OK(nrta_get_completion_handle(seq, &p.fd));
        MUST(poll(&p, 1, RUNNER_WAIT_MS) == 1);
        close(p.fd);
    }
    do
        OK(nrta_is_completed(seq, &done));
    while (!done && sched_yield() == 0);
}

/* One model, one input, an output of each thread. */
static void *executes(void *arg)
{
    uint8_t got[64];
    struct own o;

    own_init(&o);
    for (int i = 0; i < ROUNDS * 4; i++) {
        OK(nrt_tensor_memset(o.c, 0, 0, 64));
        OK(nrt_execute(shared_model, o.in, o.out));
        OK(nrt_tensor_read(o.c, got, 0, 64));
        MUST(got[0] == 7 && got[63] == 7);
        if (i % 50 == 49) { /* other sets: bindings come and go */
            own_fini(&o);
            own_init(&o);
        }
    }
    OK(nrt_tensor_check_output_completion(o.c, 0, 0));
    own_fini(&o);
    return NULL;
}

static void *loads(void *arg)
{
    for (int i = 0; i < ROUNDS / 5; i++) {
        nrt_tensor_info_array_t *infos;
        nrt_model_info_t info;
        nrt_model_t *m;
        struct own o;
        uint32_t n;
        size_t size;

        OK(nrt_load(neff.data, neff.size, 0, -1, &m));
        OK(nrt_get_model_info(m, &info, sizeof(info), &size));
        OK(nrt_get_model_vnc_count(m, &n));
        OK(nrt_get_model_instance_count(m, &n));
        OK(nrt_get_model_tensor_info(m, &infos));
        OK(nrt_free_model_tensor_info(infos));
        own_init(&o);
        OK(nrt_execute(m, o.in, o.out));
        own_fini(&o);
        OK(nrt_unload(m));
    }
    return NULL;
}

static void *allocates(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        nrt_tensor_t *t, *s;
        nrt_tensor_device_allocation_info_t info;
        nrt_vnc_memory_stats_t stats;
        uint8_t buf[200] = {1};
        size_t n;

        OK(nrt_tensor_allocate((nrt_tensor_placement_t)(i % 3), i % 2, 1000 + i * 64, "t", &t));
        OK(nrt_tensor_write(t, buf, 100, sizeof(buf)));
        OK(nrt_tensor_allocate_slice(t, 100, 200, "s", &s));
        MUST(nrt_tensor_get_size(s) == 200);
        MUST(nrt_tensor_get_va(s) != NULL);
        if (i % 3 == 0)
            OK(nrt_tensor_get_device_allocation_info(s, &info));
        nrt_tensor_free(&t);
        OK(nrt_tensor_read(s, buf, 0, 200));
        MUST(buf[0] == 1 && buf[1] == 0);
        nrt_tensor_free(&s);
        OK(nrt_get_vnc_memory_stats(0, &stats, sizeof(stats), &n));
    }
    return NULL;
}

static void *asks(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        nrt_instance_info_t info;
        uint32_t n, map[4];
        uint8_t got[64];
        void *va;
        size_t size;

        OK(nrt_get_instance_info(&info, sizeof(info)));
        OK(nrt_get_total_vnc_count(&n));
        OK(nrt_get_visible_vnc_count(&n));
        n = 4;
        OK(nrt_host_device_id_rid_map_get(&n, map));
        OK(nrt_host_device_id_get(0, &n));
        OK(nrt_get_hbm_mmap_va(0, i % 2, &va, &size));
        OK(nrt_tensor_read(shared_in, got, 0, 64)); /* readers share a tensor */
        MUST(got[5] == 7);
        MUST(nrt_tensor_read((nrt_tensor_t *)&n, got, 0, 1) == NRT_INVALID_HANDLE);
    }
    return NULL;
}

/* Requests of each kind on all queues, each with a tracker of its thread. */
static void *requests(void *arg)
{
    nrta_error_tracker_t *tracker;
    const nrta_error_t *list;
    uint8_t sent[64], got[64];
    nrta_seq_t seq, last;
    nrt_tensor_t *t;
    struct own o;
    size_t count;

    own_init(&o);
    OK(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "t", &t));
    OK(nrta_error_tracker_create(0, &tracker));
    for (int i = 0; i < ROUNDS / 3; i++) {
        memset(sent, i, sizeof(sent));
        OK(nrta_tensor_write(t, sent, 0, 64, i % 2, tracker, &seq));
        finish(seq, i % 3 == 0);
        OK(nrta_tensor_copy(t, 0, o.c, 0, 64, i % 2, tracker, &seq));
        finish(seq, i % 3 == 1);
        OK(nrta_tensor_read(got, o.c, 0, 64, i % 2, tracker, &seq));
        finish(seq, i % 3 == 2);
        MUST(got[0] == (uint8_t)i && got[63] == (uint8_t)i);
        OK(nrta_execute_schedule(shared_model, o.in, o.out, 0, tracker, &seq));
        finish(seq, false);
        OK(nrta_get_sequence(0, NRTA_XU_COMPUTE, 0, &last));
        MUST(last >= seq);
        OK(nrt_tensor_read(o.c, got, 0, 64));
        MUST(got[0] == 7 && got[63] == 7);
    }
    OK(nrta_error_tracker_get_list(tracker, &list, &count));
    MUST(count == 0);
    nrta_error_tracker_destroy(tracker);
    nrt_tensor_free(&t);
    own_fini(&o);
    return NULL;
}

/* What there is one of in a process: who comes second is refused, and says so. */
static bool began(NRT_STATUS status)
{
    MUST(status == NRT_SUCCESS || status == NRT_FAILURE || status == NRT_INVALID);
    return status == NRT_SUCCESS;
}

/* Captures begin, are read and end while others execute; who has not begun one may end one. */
static void *observes(void *arg)
{
    static const char *const files[] = {"/dev/null", "/dev/zero"};
    static atomic_uint next;
    const char *file = files[atomic_fetch_add(&next, 1) % 2];

    for (int i = 0; i < ROUNDS / 10; i++) {
        ndebug_stream_event_header_t header;
        char *text = NULL;
        void *payload;
        size_t size;
        int fd;

        if (began(nrt_sys_trace_start(NULL)))
            (void)began(nrt_sys_trace_fetch_events(&text, &size, NULL));
        nrt_sys_trace_buffer_free(text);
        (void)began(nrt_sys_trace_stop());
        if (began(nrt_trace_start(false)))
            (void)began(nrt_trace_stop("/dev/null"));
        if (began(nrt_profile_start(shared_model, file)))
            (void)began(nrt_profile_stop(file));
        if (began(nrt_debug_client_connect(i % 2, &fd))) {
            MUST(nrt_debug_client_read_one_event(fd, &header, &payload) == NRT_QUEUE_EMPTY);
            nrt_debug_client_connect_close(fd);
        }
    }
    return NULL;
}

/* Faults that concern executions which do not come. */
static void *injects(void *arg)
{
    uint64_t struck;

    for (int i = 0; i < ROUNDS; i++) {
        OK(opennrt_fault_add("sram:0:1000000000:7"));
        OK(opennrt_fault_struck(&struck));
        MUST(struck == 0);
        OK(opennrt_fault_clear());
    }
    return NULL;
}

/* One waits for the completions that another produces. */
struct pair {
    nrt_tensor_t *c;
    struct own o;
};

static void *waits(void *arg)
{
    struct pair *p = arg;

    for (uint64_t n = 1; n <= ROUNDS; n++)
        OK(nrt_tensor_check_output_completion(p->c, n % 2 ? -1 : 60000000, n));
    return NULL;
}

static void *produces(void *arg)
{
    struct pair *p = arg;

    for (int i = 0; i < ROUNDS; i++)
        OK(nrt_execute(shared_model, p->o.in, p->o.out));
    return NULL;
}

static void run_all(void *(*const fns[])(void *), int count, void *arg)
{
    pthread_t t[16];

    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&t[i], NULL, fns[i], arg), 0);
    for (int i = 0; i < count; i++)
        pthread_join(t[i], NULL);
}

static void threads_execute_one_model(void **state)
{
    void *(*fns[THREADS + 6])(void *);

    for (int i = 0; i < THREADS + 6; i++) /* more than a model keeps bindings for */
        fns[i] = executes;
    run_all(fns, THREADS + 6, NULL);
    PROVES("perf-023");
}

static void threads_make_every_call_at_once(void **state)
{
    void *(*const fns[])(void *) = {executes, loads,     allocates, asks,
                                    executes, allocates, loads,     asks};
    void *(*const others[])(void *) = {requests, executes, observes, loads,
                                       requests, observes, injects,  allocates};

    run_all(fns, 8, NULL);
    run_all(others, 8, NULL);
    api_log_clear();
}

static void threads_wait_for_completions_of_others(void **state)
{
    void *(*const fns[])(void *) = {waits, waits, produces};
    struct pair p;

    own_init(&p.o);
    p.c = p.o.c;
    run_all(fns, 3, &p);
    own_fini(&p.o);
}

/* An execution has its binding for itself: others of the same sets use or make another one. */
static void threads_execute_with_the_same_sets(void **state)
{
    void *(*fns[THREADS + 6])(void *);
    struct pair p;

    own_init(&p.o);
    p.c = p.o.c;
    for (int i = 0; i < THREADS + 6; i++) /* more than a model keeps bindings for */
        fns[i] = produces;
    run_all(fns, THREADS + 6, &p);
    OK(nrt_tensor_check_output_completion(p.c, 0, (THREADS + 6) * ROUNDS));
    MUST(nrt_tensor_check_output_completion(p.c, 0, (THREADS + 6) * ROUNDS + 1) == NRT_TIMEOUT);
    own_fini(&p.o);
}

/* An execution that lasts, with sets of its own. */
static void *lasts(void *arg)
{
    struct own o;

    own_init(&o);
    OK(nrt_execute_repeat(shared_model, o.in, o.out, 20000));
    own_fini(&o);
    return NULL;
}

static void others_do_not_take_the_binding_of_one_that_lasts(void **state)
{
    void *(*fns[1 + THREADS + 6])(void *) = {lasts};

    for (int i = 1; i <= THREADS + 6; i++) /* more than a model keeps bindings for */
        fns[i] = executes;
    run_all(fns, 1 + THREADS + 6, NULL);
}

/* A model is unloaded while others execute it: the call waits for them, they then get a status. */
struct victim {
    nrt_model_t *m;
    _Atomic long runs;
};

static void *executes_until_gone(void *arg)
{
    struct victim *v = arg;
    NRT_STATUS status;
    struct own o;

    own_init(&o);
    while ((status = nrt_execute(v->m, o.in, o.out)) == NRT_SUCCESS)
        atomic_fetch_add(&v->runs, 1);
    MUST(status == NRT_INVALID_HANDLE);
    own_fini(&o);
    return NULL;
}

static void *unloads(void *arg)
{
    struct victim *v = arg;

    while (atomic_load(&v->runs) < 20)
        ;
    OK(nrt_unload(v->m));
    return NULL;
}

static void unload_waits_for_executions_of_other_threads(void **state)
{
    void *(*const fns[])(void *) = {executes_until_gone, executes_until_gone, unloads};

    for (int i = 0; i < 10; i++) {
        struct victim v = {0};

        assert_ok(nrt_load(neff.data, neff.size, 0, -1, &v.m));
        run_all(fns, 3, &v);
    }
}

static int setup(void **state)
{
    api_env("trn1.2xlarge", 0);
    neff = neff_copy(64, false);
    return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") ||
           nrt_load(neff.data, neff.size, 0, -1, &shared_model) ||
           nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 64, "a", &shared_in) ||
           nrt_tensor_memset(shared_in, 0, 7, 64);
}

static int teardown(void **state)
{
    nrt_tensor_free(&shared_in);
    nrt_unload(shared_model);
    neff_free(&neff);
    nrt_close();
    api_env_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_execute_one_model),
        cmocka_unit_test(threads_make_every_call_at_once),
        cmocka_unit_test(threads_wait_for_completions_of_others),
        cmocka_unit_test(threads_execute_with_the_same_sets),
        cmocka_unit_test(others_do_not_take_the_binding_of_one_that_lasts),
        cmocka_unit_test(unload_waits_for_executions_of_other_threads),
    };

    runner_watchdog(300);
    return cmocka_run_group_tests(tests, setup, teardown);
}
