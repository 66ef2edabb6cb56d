/* SPDX-License-Identifier: Apache-2.0 */
/* Executions that succeed, and those whose sets do not fit: api.md 4.5, behaviour.md 7 and 10. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "device/device.h"
#include "models.h"
#include "neffs.h"
#include "proves.h"

static void execute_adds_in_every_placement(void **state)
{
    static const nrt_tensor_placement_t places[] = {DEV, VIRT, NRT_TENSOR_PLACEMENT_HOST};
    nrt_model_t *m = load(neff_add(1000));
    float a[1000], b[1000];

    for (int i = 0; i < 1000; i++) {
        a[i] = (float)i;
        b[i] = (float)(i * i);
    }
    for (int k = 0; k < 27; k++) {
        struct io io;

        io_init(&io);
        io_add(&io, true, "a", places[k % 3], 0, sizeof(a));
        io_add(&io, true, "b", places[k / 3 % 3], 0, sizeof(b) + 100); /* larger is accepted */
        io_add(&io, false, "c", places[k / 9], 0, sizeof(a));
        put_floats(io.t[0], a, 1000);
        put_floats(io.t[1], b, 1000);
        for (int round = 0; round < 3; round++) {
            assert_ok(nrt_execute(m, io.in, io.out));
            for (unsigned i = 0; i < 1000; i += 37)
                assert_true(get_float(io.t[2], i) == a[i] + b[i]);
            assert_true(get_float(io.t[0], 999) == 999);
            assert_ok(nrt_tensor_memset(io.t[2], 0, 0, sizeof(a)));
        }
        io_fini(&io);
    }
    assert_ok(nrt_unload(m));
    PROVES("api-015");
    PROVES("api-127");
    PROVES("hbm-004");
}

/* A program may write a part of an output: the rest is the caller's. */
static void execute_leaves_unwritten_bytes_of_outputs(void **state)
{
    nrt_model_t *m = load(neff_copy(64, true));

    for (int place = 0; place < 2; place++) {
        struct io io;
        uint8_t got[64];

        io_init(&io);
        io_add(&io, true, "a", place ? VIRT : DEV, 0, 64);
        io_add(&io, false, "c", place ? VIRT : DEV, 0, 64);
        assert_ok(nrt_tensor_memset(io.t[0], 0, 1, 64));
        assert_ok(nrt_tensor_memset(io.t[1], 0, 9, 64));
        assert_ok(nrt_execute(m, io.in, io.out));
        assert_ok(nrt_tensor_read(io.t[1], got, 0, 64));
        for (int i = 0; i < 64; i++)
            assert_int_equal(got[i], i < 32 ? 1 : 9);
        io_fini(&io);
    }
    assert_ok(nrt_unload(m));
}

static void execute_chains_models_and_slices(void **state)
{
    nrt_model_t *add = load_at(neff_add(4), 0, -1), *copy = load_at(neff_copy(16, false), 0, -1);
    float a[8] = {1, 2, 3, 4, 10, 20, 30, 40};
    nrt_tensor_t *t, *lo, *hi;
    nrt_tensor_set_t *next;
    struct io io;

    io_init(&io);
    assert_ok(nrt_tensor_allocate(DEV, 0, sizeof(a), "both", &t));
    put_floats(t, a, 8);
    assert_ok(nrt_tensor_allocate_slice(t, 0, 16, "lo", &lo));
    assert_ok(nrt_tensor_allocate_slice(t, 16, 16, "hi", &hi));
    assert_ok(nrt_add_tensor_to_tensor_set(io.in, "a", lo));
    assert_ok(nrt_add_tensor_to_tensor_set(io.in, "b", hi));
    io_add(&io, false, "c", DEV, 0, 16);
    assert_ok(nrt_execute(add, io.in, io.out));
    /* The output is the next model's input. */
    assert_ok(nrt_allocate_tensor_set(&next));
    assert_ok(nrt_add_tensor_to_tensor_set(next, "a", io.t[0]));
    assert_ok(nrt_add_tensor_to_tensor_set(next, "c", lo));
    assert_ok(nrt_execute(copy, next, next));
    for (int i = 0; i < 4; i++) {
        assert_true(get_float(t, (unsigned)i) == a[i] + a[4 + i]);
        assert_true(get_float(t, (unsigned)i + 4) == a[4 + i]);
    }
    PROVES("hbm-005");
    nrt_tensor_free(&lo);
    nrt_tensor_free(&hi);
    nrt_tensor_free(&t);
    nrt_destroy_tensor_set(&next);
    io_fini(&io);
    assert_ok(nrt_unload(add));
    assert_ok(nrt_unload(copy));
}

/* A kept binding is dropped by add, free and attach. */
static void binding_follows_what_happens_to_the_set(void **state)
{
    nrt_model_t *m = load(neff_copy(4, false));
    nrt_tensor_set_t *gone;
    nrt_tensor_t *other;
    uint32_t host = 77, v = 1;
    struct io io;

    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    io_add(&io, false, "c", DEV, 0, 4);
#define RUN_GIVES(want)                                \
    do {                                               \
        assert_ok(nrt_execute(m, io.in, io.out));      \
        assert_ok(nrt_tensor_read(io.t[1], &v, 0, 4)); \
        assert_int_equal(v, want);                     \
    } while (0)
    RUN_GIVES(0);
    assert_ok(nrt_tensor_memset(io.t[0], 0, 1, 4));
    RUN_GIVES(0x01010101);
    /* add */
    assert_ok(nrt_tensor_allocate(DEV, 0, 4, "", &other));
    assert_ok(nrt_tensor_memset(other, 0, 2, 4));
    assert_ok(nrt_add_tensor_to_tensor_set(io.in, "a", other));
    RUN_GIVES(0x02020202);
    assert_ok(nrt_add_tensor_to_tensor_set(io.in, "a", io.t[0]));
    RUN_GIVES(0x01010101);
    /* attach */
    assert_ok(nrt_tensor_attach_buffer(io.t[0], &host, 4));
    RUN_GIVES(77);
    host = 78; /* read at each execution */
    RUN_GIVES(78);
    assert_ok(nrt_tensor_attach_buffer(io.t[0], &host, 3));
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_BAD_INPUT);
    assert_ok(nrt_tensor_attach_buffer(io.t[0], &host, 4));
    RUN_GIVES(78);
    /* free */
    nrt_tensor_free(&io.t[0]);
    api_log_clear();
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_BAD_INPUT);
    assert_true(api_log_has("input tensor \"a\" was freed"));
    assert_ok(nrt_add_tensor_to_tensor_set(io.in, "a", other));
    RUN_GIVES(0x02020202);
    /* The same slot for a new tensor is not the old tensor. */
    nrt_tensor_free(&other);
    assert_ok(nrt_tensor_allocate(DEV, 0, 4, "", &other));
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_BAD_INPUT);
    /* A set that is gone, though it was bound. */
    assert_ok(nrt_add_tensor_to_tensor_set(io.in, "a", other));
    assert_ok(nrt_execute(m, io.in, io.out));
    gone = io.in;
    nrt_destroy_tensor_set(&io.in);
    assert_int_equal(nrt_execute(m, gone, io.out), NRT_INVALID_HANDLE);
    assert_ok(nrt_allocate_tensor_set(&io.in));
    assert_int_equal(nrt_execute(m, gone, io.out), NRT_INVALID_HANDLE);
    /* A new set at the place of an old one. */
    for (uint32_t i = 0; i < 40; i++) {
        assert_ok(nrt_tensor_write(other, &i, 0, 4));
        nrt_destroy_tensor_set(&io.in);
        assert_ok(nrt_allocate_tensor_set(&io.in));
        assert_ok(nrt_add_tensor_to_tensor_set(io.in, "a", other));
        RUN_GIVES(i);
    }
    nrt_tensor_free(&other);
    io_fini(&io);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

static void execute_refuses_sets_that_do_not_fit(void **state)
{
    nrt_model_t *m = load_at(neff_add(4), 0, -1), *one = load_at(neff_copy(16, false), 1, -1);
    nrt_model_t *none;
    nrt_tensor_t *far, *small;
    struct neff_build *b;
    struct prog p;
    struct io io;

    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 16);
    api_log_clear();
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_BAD_INPUT);
    assert_true(api_log_has("no input tensor \"b\" in the set"));
    assert_true(api_log_has("NRT:nrt_execute_repeat                      Failed to execute model "
                            "add with status 1002"));
    assert_false(api_log_has("nrt_infodump"));
    io_add(&io, true, "b", DEV, 0, 16);
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_BAD_INPUT); /* no output */
    io_add(&io, false, "c", DEV, 0, 16);
    io_add(&io, true, "extra", DEV, 1, 1); /* ignored */
    assert_ok(nrt_execute(m, io.in, io.out));
    assert_ok(nrt_tensor_allocate(DEV, 1, 16, "far", &far));
    assert_ok(nrt_add_tensor_to_tensor_set(io.in, "b", far));
    api_log_clear();
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_BAD_INPUT);
    assert_true(api_log_has("input tensor \"far\" is on HBM 1"));
    PROVES("hbm-006");
    PROVES("api-142");
    assert_ok(nrt_add_tensor_to_tensor_set(io.in, "b", io.t[1]));
    assert_ok(nrt_tensor_allocate(DEV, 0, 15, "small", &small));
    assert_ok(nrt_add_tensor_to_tensor_set(io.out, "c", small));
    api_log_clear();
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_BAD_INPUT);
    assert_true(api_log_has("output tensor \"c\" has 15 bytes, the model needs 16"));
    assert_fails(nrt_execute((nrt_model_t *)io.in, io.in, io.out), NRT_INVALID_HANDLE,
                 "nrt_execute");
    assert_fails(nrt_execute(m, (nrt_tensor_set_t *)m, io.out), NRT_INVALID_HANDLE, "nrt_execute");
    nrt_tensor_free(&far);
    nrt_tensor_free(&small);
    io_fini(&io);

    /* Without inputs and outputs empty sets are right. */
    b = neff_build_create("none");
    prog_init(&p, ISA_SP);
    prog_done(&p, b, 0);
    none = load(neff_finish(b, NULL));
    io_init(&io);
    assert_ok(nrt_execute(none, io.in, io.out));
    io_fini(&io);
    assert_ok(nrt_unload(none));
    assert_ok(nrt_unload(m));
    assert_ok(nrt_unload(one));
    api_log_clear();
}

static void execute_repeat_feeds_outputs_back(void **state)
{
    nrt_model_t *m = load(neff_add(4)), *index;
    float a[4] = {1, 2, 3, 4}, b[4] = {10, 10, 10, 10};

    for (int place = 0; place < 4; place++) {
        struct io io;

        io_init(&io);
        io_add(&io, true, "a", place & 1 ? VIRT : DEV, 0, 16);
        io_add(&io, true, "b", DEV, 0, 16);
        io_add(&io, false, "c", place & 2 ? VIRT : DEV, 0, 16);
        put_floats(io.t[0], a, 4);
        put_floats(io.t[1], b, 4);
        for (int n = 1; n <= 5; n++) {
            assert_ok(nrt_execute_repeat(m, io.in, io.out, n));
            for (unsigned i = 0; i < 4; i++) { /* c = a + n * b */
                assert_true(get_float(io.t[2], i) == a[i] + (float)n * b[i]);
                assert_true(get_float(io.t[0], i) == a[i]); /* inputs stay */
            }
        }
        assert_ok(nrt_tensor_check_output_completion(io.t[2], 0, 1 + 2 + 3 + 4 + 5));
        assert_int_equal(nrt_tensor_check_output_completion(io.t[2], 0, 16), NRT_TIMEOUT);
        assert_ok(nrt_execute(m, io.in, io.out)); /* and the plain call again */
        assert_true(get_float(io.t[2], 1) == 12);
        io_fini(&io);
    }
    assert_ok(nrt_unload(m));
    PROVES("api-016");

    index = load(neff_index()); /* 32 bytes in, 4 out: not built for it */
    {
        struct io io;

        io_init(&io);
        io_add(&io, true, "a", DEV, 0, 32);
        io_add(&io, true, "i", DEV, 0, 4);
        io_add(&io, false, "c", DEV, 0, 4);
        assert_ok(nrt_execute_repeat(index, io.in, io.out, 1));
        assert_int_equal(nrt_execute_repeat(index, io.in, io.out, 2), NRT_EXEC_BAD_INPUT);
        io_fini(&io);
    }
    assert_ok(nrt_unload(index));
    api_log_clear();
}

static void completions_count_executions_that_finished(void **state)
{
    nrt_model_t *m = load(neff_copy(4, false));
    struct io io;

    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    io_add(&io, false, "c", DEV, 0, 4);
    for (int i = 0; i < 3; i++)
        assert_ok(nrt_execute(m, io.in, io.out));
    assert_ok(nrt_tensor_check_output_completion(io.t[1], -1, 3));
    assert_int_equal(nrt_tensor_check_output_completion(io.t[1], 0, 4), NRT_TIMEOUT);
    assert_int_equal(nrt_tensor_check_output_completion(io.t[0], 0, 1), NRT_TIMEOUT); /* input */
    assert_ok(nrt_tensor_reset_output_completion(io.t[1]));
    assert_int_equal(nrt_tensor_check_output_completion(io.t[1], 0, 1), NRT_TIMEOUT);
    assert_ok(nrt_execute(m, io.in, io.out));
    assert_ok(nrt_tensor_check_output_completion(io.t[1], 1000, 1));
    io_fini(&io);
    assert_ok(nrt_unload(m));
    PROVES("hbm-021");
    PROVES("api-035");
    PROVES("api-036");
}

static void replicas_run_in_turn_where_their_tensors_are(void **state)
{
    nrt_model_t *m = load_at(neff_copy(4, false), -1, 2);
    uint64_t runs[2] = {counter(0, DEVICE_CTR_SUCCESS), counter(1, DEVICE_CTR_SUCCESS)};
    uint32_t n = 0;

    assert_ok(nrt_get_model_instance_count(m, &n));
    assert_int_equal(n, 2);
    assert_ok(nrt_get_model_vnc_count(m, &n));
    assert_int_equal(n, 2);
    for (int place = 0; place < 3; place++) {
        struct io io;

        io_init(&io);
        io_add(&io, true, "a", place ? DEV : VIRT, place - 1, 4);
        io_add(&io, false, "c", VIRT, -1, 4);
        for (int i = 0; i < 6; i++)
            assert_ok(nrt_execute(m, io.in, io.out));
        for (uint32_t c = 0; c < 2; c++) {
            unsigned want = place == 0 ? 3 : place - 1 == (int)c ? 6 : 0;

            assert_int_equal(counter(c, DEVICE_CTR_SUCCESS), runs[c] + want);
            runs[c] += want;
        }
        io_fini(&io);
    }
    assert_ok(nrt_unload(m));
}

/* Stochastic rounding and its seed are read at the load: in a new session the same seed gives the
 * same bits, another one others, and without it the cast rounds to nearest. */
static void stochastic_rounding_is_seeded_at_the_load(void **state)
{
    enum { N = 512 };
    static const char *const seeds[] = {NULL, "7", "7", "8"};
    static uint16_t got[4][N];
    float a[N];
    unsigned up = 0;

    for (int i = 0; i < N; i++)
        a[i] = 1 + 0x1p-9f; /* a quarter of the way between two bfloat16 */
    for (int k = 0; k < 4; k++) {
        nrt_model_t *m;
        struct io io;

        nrt_close(); /* a core goes on in its stream of random numbers */
        assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
        setenv("NEURON_RT_STOCHASTIC_ROUNDING_EN", seeds[k] ? "TRUE" : "false", 1);
        if (seeds[k])
            setenv("NEURON_RT_STOCHASTIC_ROUNDING_SEED", seeds[k], 1);
        m = load(neff_cast(N));
        unsetenv("NEURON_RT_STOCHASTIC_ROUNDING_EN");
        unsetenv("NEURON_RT_STOCHASTIC_ROUNDING_SEED");
        io_init(&io);
        io_add(&io, true, "a", DEV, 0, sizeof(a));
        io_add(&io, false, "c", DEV, 0, sizeof(got[k]));
        put_floats(io.t[0], a, N);
        assert_ok(nrt_execute(m, io.in, io.out));
        assert_ok(nrt_tensor_read(io.t[1], got[k], 0, sizeof(got[k])));
        io_fini(&io);
        assert_ok(nrt_unload(m));
    }
    for (int i = 0; i < N; i++) {
        assert_int_equal(got[0][i], 0x3f80);
        assert_true(got[1][i] == 0x3f80 || got[1][i] == 0x3f81);
        up += got[1][i] == 0x3f81;
    }
    assert_in_range(up, N / 8, N / 2); /* a quarter, widely */
    assert_memory_equal(got[1], got[2], sizeof(got[1]));
    assert_memory_not_equal(got[1], got[3], sizeof(got[1]));
    PROVES("api-220");
    PROVES("api-221");
    PROVES("perf-022");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(execute_adds_in_every_placement),
        cmocka_unit_test(execute_leaves_unwritten_bytes_of_outputs),
        cmocka_unit_test(execute_chains_models_and_slices),
        cmocka_unit_test(binding_follows_what_happens_to_the_set),
        cmocka_unit_test(execute_refuses_sets_that_do_not_fit),
        cmocka_unit_test(execute_repeat_feeds_outputs_back),
        cmocka_unit_test(completions_count_executions_that_finished),
        cmocka_unit_test(replicas_run_in_turn_where_their_tensors_are),
        cmocka_unit_test(stochastic_rounding_is_seeded_at_the_load),
    };

    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
