/* SPDX-License-Identifier: Apache-2.0 */
/* The caller: its order of calls, its threads with their modes and stacks, its functions as CPU
 * nodes. api.md 4.3, behaviour.md 7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <fenv.h>
#include <pthread.h>

#include <cmocka.h>

#include "api_support.h"
#include "models.h"
#include "neffs.h"
#include "proves.h"

/* ---- the end of a session ---- */

/* The guide's order, and close with everything live. */
static void close_with_live_models_tensors_and_sets_then_init(void **state)
{
    for (int round = 0; round < 3; round++) {
        nrt_model_t *m = load(neff_copy(4, false));
        struct io io;

        io_init(&io);
        io_add(&io, true, "a", DEV, 0, 4);
        io_add(&io, false, "c", DEV, 0, 4);
        assert_ok(nrt_execute(m, io.in, io.out));
        if (round == 0) {
            assert_ok(nrt_unload(m));
            for (unsigned i = 0; i < io.n; i++)
                nrt_tensor_free(&io.t[i]);
            nrt_destroy_tensor_set(&io.in);
            nrt_destroy_tensor_set(&io.out);
        }
        nrt_close();
        assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
        if (round) {
            assert_fails(nrt_execute(m, io.in, io.out), NRT_INVALID_HANDLE, "nrt_execute");
            assert_fails(nrt_unload(m), NRT_INVALID_HANDLE, "nrt_unload");
        }
    }
}

/* ---- CPU nodes ---- */

static void *graph_user(void *arg)
{
    nrt_model_t *m = arg;
    struct io io;
    float x[16], k[16];

    io_init(&io);
    io_add(&io, true, "x", VIRT, -1, 64);
    io_add(&io, true, "k", DEV, 0, 64);
    io_add(&io, false, "y", (uintptr_t)&io & 64 ? VIRT : DEV, 0, 64);
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 16; i++) {
            x[i] = (float)(round + i);
            k[i] = (float)((uintptr_t)pthread_self() % 1000);
        }
        put_floats(io.t[0], x, 16);
        put_floats(io.t[1], k, 16);
        assert_ok(nrt_execute(m, io.in, io.out));
        for (unsigned i = 0; i < 16; i++)
            if (get_float(io.t[2], i) != -(2 * x[i] + k[i]))
                abort();
    }
    io_fini(&io);
    return NULL;
}

static void graph_walks_cpu_and_core_nodes(void **state)
{
    size_t size;
    void *lib = read_file(CPU_NODE, &size);
    nrt_tensor_info_array_t *a;
    pthread_t t[4];
    nrt_model_t *m;

    api_log_clear();
    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1);
    nrt_close();
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    unsetenv("NEURON_RT_LOG_LEVEL");
    m = load(neff_graph(16, "double_it", "negate_it", lib, size));
    assert_true(api_log_has("WARN"));
    assert_true(api_log_has("contains native code"));
    PROVES("neff-195");
    PROVES("neff-196");
    assert_ok(nrt_get_model_tensor_info(m, &a));
    assert_int_equal(a->tensor_count, 3); /* t and u are internal */
    assert_string_equal(a->tensor_array[0].name, "x");
    assert_string_equal(a->tensor_array[1].name, "k");
    assert_string_equal(a->tensor_array[2].name, "y");
    PROVES("neff-197");
    assert_ok(nrt_free_model_tensor_info(a));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, graph_user, m), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_ok(nrt_unload(m));
    PROVES("neff-198");
    PROVES("perf-023");

    api_log_clear();
    assert_int_equal(load_status(neff_graph(16, "double_it", "not_there", lib, size), -1, -1),
                     NRT_INVALID);
    assert_true(api_log_has("no function not_there in cpu.so"));
    assert_int_equal(load_status(neff_graph(16, "double_it", "negate_it", "not elf", 7), -1, -1),
                     NRT_INVALID);
    setenv("OPENNRT_CPU_NODES", "0", 1);
    api_log_clear();
    assert_int_equal(load_status(neff_graph(16, "double_it", "negate_it", lib, size), -1, -1),
                     NRT_INVALID);
    assert_true(api_log_has("OPENNRT_CPU_NODES"));
    unsetenv("OPENNRT_CPU_NODES");

    m = load(neff_graph(16, "double_it", "refuse_it", lib, size));
    {
        struct io io;

        io_init(&io);
        io_add(&io, true, "x", DEV, 0, 64);
        io_add(&io, true, "k", DEV, 0, 64);
        io_add(&io, false, "y", DEV, 0, 64);
        assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_BAD_INPUT);
        assert_true(api_log_has("CPU node negate of model graph ended with status 1002"));
        io_fini(&io);
    }
    assert_ok(nrt_unload(m));
    free(lib);
    nrt_close();
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    api_log_clear();
}

/* ---- the caller's thread ---- */

#if defined(__x86_64__)
static unsigned fp_mode(void)
{
    return __builtin_ia32_stmxcsr();
}

static void fp_set(unsigned v)
{
    __builtin_ia32_ldmxcsr(v);
}
#define FP_FLUSH 0x8040u /* flush to zero, subnormals are zero */
#else
static unsigned fp_mode(void)
{
    uint64_t v;

    __asm__ volatile("mrs %0, fpcr" : "=r"(v));
    return (unsigned)v;
}

static void fp_set(unsigned v)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)v));
}
#define FP_FLUSH 0x1000000u
#endif

static void execute_ignores_and_restores_the_callers_fp_mode(void **state)
{
    nrt_model_t *m = load(neff_multiply());
    float tiny = 0x1p-140f, one = 1, got;
    unsigned saved = fp_mode(), flushed;
    struct io io;

    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    io_add(&io, true, "b", DEV, 0, 4);
    io_add(&io, false, "c", DEV, 0, 4);
    put_floats(io.t[0], &tiny, 1);
    put_floats(io.t[1], &one, 1);
    fp_set(saved | FP_FLUSH);
    flushed = fp_mode();
    assert_ok(nrt_execute(m, io.in, io.out));
    assert_int_equal(fp_mode(), flushed);
    fp_set(saved);
    got = get_float(io.t[2], 0);
    assert_memory_equal(&got, &tiny, 4); /* subnormals are kept */
    io_fini(&io);
    assert_ok(nrt_unload(m));
}

/* A session from init to close, with what can go deep: a graph with CPU nodes, an execution that
 * fails and prints the dump, an allocation that fails and prints the table. */
static void *small_stack_user(void *arg)
{
    size_t size, *failed_at = arg;
    void *lib = read_file(CPU_NODE, &size);
    struct bytes f[3] = {neff_add(4), neff_graph(16, "double_it", "negate_it", lib, size),
                         neff_index()};
    nrt_tensor_set_t *set = NULL;
    nrt_tensor_t *t = NULL, *none = NULL;
    nrt_model_t *m[3] = {NULL};
    NRT_STATUS got[12];
    size_t n = 0;

    got[n++] = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
    got[n++] = nrt_tensor_allocate(DEV, 0, 64, "t", &t);
    got[n++] = nrt_tensor_memset(t, 0, 0x7f, 64);
    got[n++] = nrt_allocate_tensor_set(&set);
    for (const char *const *name = (const char *const[]){"a", "b", "c", "x", "k", "y", "i", NULL};
         *name; name++)
        if (nrt_add_tensor_to_tensor_set(set, *name, t) != NRT_SUCCESS)
            got[0] = NRT_FAILURE;
    for (int i = 0; i < 3; i++)
        got[n++] = nrt_load(f[i].data, f[i].size, 0, -1, &m[i]);
    for (int i = 0; i < 2; i++)
        got[n++] = nrt_execute(m[i], set, set);
    got[n++] = nrt_execute(m[2], set, set) == NRT_EXEC_OOB ? NRT_SUCCESS : NRT_FAILURE;
    got[n++] = nrt_tensor_allocate(DEV, 0, SIZE_MAX / 2, "", &none) == NRT_RESOURCE ? NRT_SUCCESS
                                                                                    : NRT_FAILURE;
    nrt_close();
    for (*failed_at = 0; *failed_at < n && got[*failed_at] == NRT_SUCCESS; ++*failed_at)
        ;
    if (*failed_at == n)
        *failed_at = SIZE_MAX;
    for (int i = 0; i < 3; i++)
        neff_free(&f[i]);
    free(lib);
    return NULL;
}

#define SMALL_STACK (128 * 1024)
#define PAINT       0xa5

/* The stack is the test's, painted: what has another colour afterwards was used. */
static void session_needs_little_stack(void **state)
{
    size_t failed_at = 0, spared = 0;
    pthread_attr_t attr;
    uint8_t *stack;
    pthread_t t;

    nrt_close();
    stack = mmap(NULL, SMALL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(stack != MAP_FAILED);
    memset(stack, PAINT, SMALL_STACK);
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstack(&attr, stack, SMALL_STACK), 0);
    assert_int_equal(pthread_create(&t, &attr, small_stack_user, &failed_at), 0);
    pthread_join(t, NULL);
    pthread_attr_destroy(&attr);
    assert_true(failed_at == SIZE_MAX);
    while (spared < SMALL_STACK && stack[spared] == PAINT)
        spared++;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* their frames are larger */
    if (SMALL_STACK - spared > 64 * 1024)
        fail_msg("it took %zu bytes of stack", SMALL_STACK - spared);
#endif
    assert_int_equal(munmap(stack, SMALL_STACK), 0);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    api_log_clear();
}

struct cancel {
    nrt_model_t *m;
    struct io *io;
    _Atomic int inside;
    _Atomic int returned;
};

static void *cancelled_user(void *arg)
{
    struct cancel *c = arg;
    NRT_STATUS status;

    c->inside = 1;
    status = nrt_execute(c->m, c->io->in, c->io->out);
    c->returned = status == NRT_TIMEOUT ? 1 : 2;
    for (;;)
        pthread_testcancel(); /* now it may end */
    return NULL;
}

/* The cancellation waits until the call has returned; the core and the model are usable after it.
 */
static void execute_defers_cancellation(void **state)
{
    nrt_model_t *copy = load_at(neff_copy(4, false), 0, -1);
    struct cancel c = {0};
    pthread_t t;
    void *result;
    struct io io;

    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    c.m = load_at(neff_endless(), 0, -1);
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    io_add(&io, false, "c", DEV, 0, 4);
    c.io = &io;
    assert_int_equal(pthread_create(&t, NULL, cancelled_user, &c), 0);
    while (!c.inside)
        sched_yield();
    pthread_cancel(t);
    pthread_join(t, &result);
    assert_ptr_equal(result, PTHREAD_CANCELED);
    assert_int_equal(c.returned, 1); /* the call ended by itself */
    assert_ok(nrt_execute(copy, io.in, io.out));
    assert_ok(nrt_unload(c.m));
    assert_ok(nrt_unload(copy));
    io_fini(&io);
    api_log_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_with_live_models_tensors_and_sets_then_init),
        cmocka_unit_test(graph_walks_cpu_and_core_nodes),
        cmocka_unit_test(execute_ignores_and_restores_the_callers_fp_mode),
        cmocka_unit_test(session_needs_little_stack),
        cmocka_unit_test(execute_defers_cancellation),
    };

    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
