/* SPDX-License-Identifier: Apache-2.0 */
/* Load, execute, unload through the public API: api.md 4.4, 4.5, 7; behaviour.md 6 to 8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <fenv.h>
#include <pthread.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "device/device.h"
#include "neffs.h"
#include "proves.h"

static nrt_model_t *load_at(struct bytes f, int vnc, int count)
{
    nrt_model_t *m = NULL;
    NRT_STATUS status;

    status = nrt_load(f.data, f.size, vnc, count, &m);
    if (status != NRT_SUCCESS)
        fail_msg("nrt_load: %d\n%s", status, api_log());
    neff_free(&f); /* the caller's bytes may go at once */
    return m;
}

static nrt_model_t *load(struct bytes f)
{
    return load_at(f, -1, -1);
}

static NRT_STATUS load_status(struct bytes f, int vnc, int count)
{
    nrt_model_t *m = (nrt_model_t *)&f;
    NRT_STATUS status = nrt_load(f.data, f.size, vnc, count, &m);

    if (status == NRT_SUCCESS)
        assert_ok(nrt_unload(m));
    else
        assert_ptr_equal(m, &f); /* untouched */
    neff_free(&f);
    return status;
}

/* Sets with tensors by name; up to 4 of them. */
struct io {
    nrt_tensor_set_t *in, *out;
    nrt_tensor_t *t[4];
    unsigned n;
};

static void io_init(struct io *io)
{
    memset(io, 0, sizeof(*io));
    assert_ok(nrt_allocate_tensor_set(&io->in));
    assert_ok(nrt_allocate_tensor_set(&io->out));
}

static nrt_tensor_t *io_add(struct io *io, bool input, const char *name,
                            nrt_tensor_placement_t place, int vnc, size_t size)
{
    nrt_tensor_t *t;

    assert_ok(nrt_tensor_allocate(place, vnc, size, name, &t));
    assert_ok(nrt_add_tensor_to_tensor_set(input ? io->in : io->out, name, t));
    io->t[io->n++] = t;
    return t;
}

static void io_fini(struct io *io)
{
    for (unsigned i = 0; i < io->n; i++)
        nrt_tensor_free(&io->t[i]);
    nrt_destroy_tensor_set(&io->in);
    nrt_destroy_tensor_set(&io->out);
}

#define DEV  NRT_TENSOR_PLACEMENT_DEVICE
#define VIRT NRT_TENSOR_PLACEMENT_VIRTUAL

static void put_floats(nrt_tensor_t *t, const float *v, unsigned n)
{
    assert_ok(nrt_tensor_write(t, v, 0, n * sizeof(*v)));
}

static float get_float(nrt_tensor_t *t, unsigned i)
{
    float v;

    assert_ok(nrt_tensor_read(t, &v, i * sizeof(v), sizeof(v)));
    return v;
}

static uint32_t model_core(nrt_model_t *m)
{
    nrt_model_info_t info = {99};
    size_t n;

    assert_ok(nrt_get_model_info(m, &info, sizeof(info), &n));
    return info.vnc;
}

/* ---- load ---- */

static void load_minus_one_takes_the_first_free_core(void **state)
{
    nrt_model_t *a, *b, *c, *d;
    uint32_t n = 0;

    a = load_at(neff_nothing(16), -1, 1); /* the open client's arguments */
    assert_int_equal(model_core(a), 0);
    b = load(neff_nothing(16));
    assert_int_equal(model_core(b), 1);
    c = load(neff_nothing(16)); /* none is free: fewest models, lowest index */
    assert_int_equal(model_core(c), 0);
    d = load(neff_nothing(16));
    assert_int_equal(model_core(d), 1);
    assert_ok(nrt_unload(a));
    assert_ok(nrt_unload(c));
    a = load(neff_nothing(16));
    assert_int_equal(model_core(a), 0);
    assert_ok(nrt_get_model_vnc_count(a, &n));
    assert_int_equal(n, 1);
    PROVES("api-014");
    n = 0;
    assert_ok(nrt_get_model_nc_count(a, &n));
    assert_int_equal(n, 1);
    PROVES("api-013");
    n = 0;
    assert_ok(nrt_get_model_instance_count(a, &n));
    assert_int_equal(n, 1);
    PROVES("api-069");
    assert_ok(nrt_unload(a));
    assert_ok(nrt_unload(b));
    assert_ok(nrt_unload(d));
    assert_fails(nrt_unload(d), NRT_INVALID_HANDLE, "nrt_unload");
    PROVES("api-010");
    PROVES("api-012");
}

static void load_outside_the_owned_cores_gives_the_documented_chain(void **state)
{
    api_log_clear();
    assert_int_equal(load_status(neff_nothing(16), 2, -1), NRT_LOAD_NOT_ENOUGH_NC);
    assert_true(
        api_log_has("TDRV:db_vtpb_get_mla_and_tpb                 Could not find VNC id 2"));
    assert_true(
        api_log_has("NMGR:dlr_kelf_stage                          Failed to create shared io"));
    assert_true(api_log_has("Failed to stage graph: kelf-0.json to NeuronCore"));
    assert_true(api_log_has("NMGR:kmgr_load_nn_post_metrics               Failed to load NN: "
                            "nothing, err: 9"));
    assert_int_equal(load_status(neff_nothing(16), 1, 2), NRT_LOAD_NOT_ENOUGH_NC);
    assert_int_equal(load_status(neff_nothing(16), -1, 3), NRT_LOAD_NOT_ENOUGH_NC);
    PROVES("api-135");
    PROVES("neff-203");
    api_log_clear();
}

static void an_unknown_instruction_is_refused_by_its_code(void **state)
{
    uint64_t n = 4;
    struct neff_build *b = neff_build_create("unknown");
    struct prog p;

    neff_build_input(b, 0, "a", "uint8", 1, &n);
    prog_init(&p, ISA_SP);
    prog_op(&p, 9999);
    prog_done(&p, b, 0);
    api_log_clear();
    assert_int_equal(load_status(neff_finish(b, NULL), -1, -1), NRT_INVALID);
    assert_true(api_log_has("Unsupported hardware operator code 9999 found in neff."));
    PROVES("neff-193");
    assert_true(api_log_has("Please make sure to upgrade to latest aws-neuronx-runtime-lib and "
                            "aws-neuronx-collective; for detailed installation instructions visit "
                            "Neuron documentation."));
    assert_true(api_log_has("Failed to load NN: unknown, err: 2"));
    PROVES("neff-202");
    api_log_clear();
}

static void load_of_bad_bytes_is_refused_with_its_message(void **state)
{
    struct neff_build_options o = {.arch = "trn2"};
    uint8_t junk[2048] = {0};
    struct neff_build *b;
    struct bytes f;
    nrt_model_t *m;

    api_log_clear();
    assert_int_equal(nrt_load(junk, 100, -1, -1, &m), NRT_INVALID);
    assert_true(api_log_has("Invalid NEFF: 100 bytes is smaller than the header"));
    assert_true(
        api_log_has("NMGR:kmgr_load_nn_post_metrics               Failed to load NN: , err: 2"));
    assert_int_equal(api_log_errors(), 2);

    f = neff_nothing(16);
    ((uint8_t *)f.data)[24] = 3; /* neff_version_major */
    api_log_clear();
    assert_int_equal(load_status(f, -1, -1), NRT_UNSUPPORTED_NEFF_VERSION);
    assert_true(api_log_has("NEFF version mismatch supported: 2.0 received: 3.0"));
    PROVES("api-136");

    for (int legacy = 0; legacy < 2; legacy++) {
        struct prog p;
        uint64_t n = 4;

        b = neff_build_create("newer");
        neff_build_input(b, 0, "a", "uint8", 1, &n);
        prog_init(&p, ISA_SP);
        prog_done(&p, b, 0);
        setenv("NEURON_RT_ALLOW_LEGACY_NEFF", legacy ? "1" : "0", 1);
        api_log_clear();
        /* Newer than the device: no switch helps. */
        assert_int_equal(load_status(neff_finish(b, &o), -1, -1), NRT_UNSUPPORTED_NEFF_VERSION);
        assert_true(api_log_has("NEFF was built for trn2, device is trn1"));
    }
    unsetenv("NEURON_RT_ALLOW_LEGACY_NEFF");
    PROVES("neff-206");
    api_log_clear();
}

static void load_checks_the_hash_when_told_at_the_load(void **state)
{
    struct bytes f = neff_nothing(16);

    memset((uint8_t *)f.data + 988, 0, 36); /* no seal of the header */
    ((uint8_t *)f.data)[172] ^= 1;          /* of the hash */
    unsetenv("NEURON_RT_VALIDATE_HASH");
    {
        nrt_model_t *m;

        assert_ok(nrt_load(f.data, f.size, -1, -1, &m));
        assert_ok(nrt_unload(m));
    }
    setenv("NEURON_RT_VALIDATE_HASH", "true", 1);
    api_log_clear();
    assert_int_equal(load_status(f, -1, -1), NRT_INVALID);
    assert_true(api_log_has("NEFF hash mismatch: header "));
    assert_int_equal(load_status(neff_nothing(16), -1, -1), NRT_SUCCESS);
    unsetenv("NEURON_RT_VALIDATE_HASH");
    PROVES("api-216");
    api_log_clear();
}

static void model_tensor_info_describes_inputs_then_outputs(void **state)
{
    struct neff_build *b = neff_build_create("info");
    uint64_t shape[3] = {2, 3, 4}, n = 300;
    nrt_tensor_info_array_t *a = NULL;
    char long_name[301];
    nrt_model_info_t info[2];
    nrt_model_t *m;
    struct prog p;
    size_t size;

    memset(long_name, 'z', 300);
    long_name[300] = '\0';
    neff_build_output(b, 0, "out1", "bfloat16", 3, shape);
    neff_build_input(b, 0, "in2", "float8e4", 3, shape);
    neff_build_input(b, 0, "in1", "float32", 0, NULL);
    neff_build_output(b, 0, long_name, "bool", 1, &n);
    prog_init(&p, ISA_SP);
    prog_done(&p, b, 0);
    m = load(neff_finish(b, NULL));
    assert_ok(nrt_get_model_tensor_info(m, &a));
    assert_ok(nrt_unload(m)); /* the array lives on */
    assert_int_equal(a->tensor_count, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(a->tensor_array[i].usage,
                         i < 2 ? NRT_TENSOR_USAGE_INPUT : NRT_TENSOR_USAGE_OUTPUT);
    for (int i = 0; i < 4; i++) {
        nrt_tensor_info_t *t = &a->tensor_array[i];

        if (strcmp(t->name, "in1") == 0) { /* rank 0 */
            assert_int_equal(t->ndim, 1);
            assert_int_equal(t->shape[0], 1);
            assert_int_equal(t->size, 4);
            assert_int_equal(t->dtype, NRT_DTYPE_FLOAT32);
        } else if (strcmp(t->name, "in2") == 0) { /* float8 */
            assert_int_equal(t->dtype, NRT_DTYPE_INT8);
            assert_int_equal(t->size, 24);
            assert_int_equal(t->ndim, 3);
            assert_int_equal(t->shape[0] * 100 + t->shape[1] * 10 + t->shape[2], 234);
        } else if (strcmp(t->name, "out1") == 0) {
            assert_int_equal(t->dtype, NRT_DTYPE_BFLOAT16);
            assert_int_equal(t->size, 48);
        } else { /* cut, boolean */
            assert_int_equal(strlen(t->name), NRT_TENSOR_NAME_MAX - 1);
            assert_int_equal(t->dtype, NRT_DTYPE_UINT8);
            assert_int_equal(t->size, 300);
        }
    }
    assert_ok(nrt_free_model_tensor_info(a));
    PROVES("api-068");
    PROVES("api-070");
    PROVES("hbm-018");

    m = load_at(neff_nothing(4), 1, -1);
    for (size_t k = 1; k <= sizeof(info); k++) {
        memset(info, 0xAA, sizeof(info));
        assert_ok(nrt_get_model_info(m, info, k, &size));
        assert_int_equal(size, k < 4 ? k : 4);
        assert_int_equal(((uint8_t *)info)[0], 1);
        assert_int_equal(((uint8_t *)info)[size], 0xAA);
    }
    assert_fails(nrt_get_model_info(m, info, 0, &size), NRT_INVALID, "nrt_get_model_info");
    assert_ok(nrt_unload(m));
    PROVES("api-080");
}

/* ---- execute ---- */

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

/* ---- failures ---- */

static void expect_infodump(const char *failure, const char *func, const char *vnc)
{
    static const char *const lines[] = {
        ("ERROR   NRT:nrt_infodump                            Neuron runtime information - please "
         "include in any support request:\n"),
        "------------->8------------[ cut here ]------------>8-------------\n",
        "NRT version: ",
        "Embedded FW version: ",
        "CCOM version: ",
        "NCFW version: ",
        "Instance ID: ",
        "Cluster ID: ",
        "Kernel: Linux ",
        "Nodename: ",
        "Driver version: ",
        "\n\n",
        "Failure: ",
        "LNC: ",
        "Visible cores: 0,1\n",
        "Environment:\n",
        "    NEURON_RT_LOG_LOCATION_NRT=",
        "-------------8<-----------[ cut to here ]-----------8<------------\n",
        "NRT:nrt_execute_repeat                      Failed to execute model ",
    };
    const char *p = api_log();
    char line[128];

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const char *at = strstr(p, lines[i]);

        if (!at)
            fail_msg("no \"%s\" in order in\n%s", lines[i], api_log());
        p = at;
    }
    snprintf(line, sizeof(line), "Failure: %s in %s()\n", failure, func);
    assert_true(api_log_has(line));
    snprintf(line, sizeof(line), "LNC: %s\n", vnc);
    assert_true(api_log_has(line));
}

static void execute_that_hangs_is_reported_at_once(void **state)
{
    nrt_model_t *m = load_at(neff_hang(), 1, -1), *ok = load_at(neff_copy(4, false), 1, -1);
    struct io io;

    io_init(&io);
    io_add(&io, true, "a", DEV, 1, 4);
    io_add(&io, false, "c", DEV, 1, 4);
    for (int i = 0; i < 2; i++) {
        api_log_clear();
        assert_int_equal(nrt_execute(m, io.in, io.out), NRT_TIMEOUT);
        assert_true(api_log_has("TDRV:"));
        assert_true(api_log_has("(FATAL-RT-UNDEFINED-STATE) execution timeout ("));
        assert_true(api_log_has(" ms) on Neuron Device 0 NC 1, model hang, waiting for execution "
                                "completion notification"));
        assert_true(api_log_has("toy.nasm:42")); /* where it waits */
        expect_infodump("NRT_TIMEOUT", "nrt_execute", "1");
        /* The core takes the next execution. */
        assert_ok(nrt_execute(ok, io.in, io.out));
    }
    assert_int_equal(nrt_tensor_check_output_completion(io.t[1], 0, 3), NRT_TIMEOUT);
    PROVES("api-132");
    io_fini(&io);
    assert_ok(nrt_unload(m));
    assert_ok(nrt_unload(ok));
    api_log_clear();
}

static void execute_without_end_is_stopped_by_the_timeout_of_its_load(void **state)
{
    nrt_model_t *m;
    struct io io;

    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    m = load(neff_endless());
    unsetenv("NEURON_RT_EXEC_TIMEOUT"); /* read at load */
    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    api_log_clear();
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_TIMEOUT);
    assert_true(api_log_has("execution timeout (1000 ms) on Neuron Device 0 NC 0, model endless"));
    PROVES("api-215");
    io_fini(&io);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

static uint64_t counter(uint32_t core, enum device_counter c)
{
    struct device_config cfg = {.name = getenv("OPENNRT_INSTANCE"), .observe = true};
    struct device_instance *in;
    uint64_t total = 0, present;

    assert_ok(device_instance_open(&cfg, &in, NULL));
    device_counter_get(in, core, c, &total, &present);
    device_instance_close(in);
    return total;
}

static void execute_out_of_bounds_gives_the_documented_lines(void **state)
{
    nrt_model_t *m = load_at(neff_index(), 0, -1);
    uint64_t oob = counter(0, DEVICE_CTR_OOB_ERROR), good = counter(0, DEVICE_CTR_SUCCESS);
    uint64_t runs = counter(0, DEVICE_CTR_INFERENCE_COUNT);
    int32_t a[8] = {0, 10, 20, 30, 40, 50, 60, 70}, i, c = 5;
    char line[128];
    struct io io;

    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 32);
    io_add(&io, true, "i", DEV, 0, 4);
    io_add(&io, false, "c", DEV, 0, 4);
    assert_ok(nrt_tensor_write(io.t[0], a, 0, 32));
    for (i = 0; i < 8; i++) {
        assert_ok(nrt_tensor_write(io.t[1], &i, 0, 4));
        assert_ok(nrt_execute(m, io.in, io.out));
        assert_ok(nrt_tensor_read(io.t[2], &c, 0, 4));
        assert_int_equal(c, 10 * i);
    }
    for (const int32_t *bad = (const int32_t[]){8, -1, INT32_MAX, INT32_MIN, 0}; *bad; bad++) {
        assert_ok(nrt_tensor_write(io.t[1], bad, 0, 4));
        api_log_clear();
        assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_OOB);
        assert_true(api_log_has("TDRV:exec_process_custom_notification"));
        assert_true(api_log_has("Received notification generated at runtime: failed to run "
                                "scatter/gather (indirect memory copy via vector DGE), due to "
                                "out-of-bound access. model name = index."));
        assert_true(api_log_has("toy.nasm:7"));
        assert_true(api_log_has("TDRV:exec_wait_round_robin                   [ND 0][NC 0] Out of "
                                "bounds access on model index"));
        snprintf(line, sizeof(line), "Inference completed with err: 1006. mode->h_nn=");
        assert_true(api_log_has(line));
        expect_infodump("NRT_EXEC_OOB", "nrt_execute", "0");
    }
    assert_int_equal(counter(0, DEVICE_CTR_OOB_ERROR), oob + 4);
    assert_int_equal(counter(0, DEVICE_CTR_SUCCESS), good + 8);
    assert_int_equal(counter(0, DEVICE_CTR_INFERENCE_COUNT), runs + 8);
    PROVES("api-146");
    io_fini(&io);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

static void dump_inputs_by(const char *variable)
{
    char dir[] = "/tmp/opennrt-dump-XXXXXX", cwd[4096], path[512];
    int32_t bad = 8;
    nrt_model_t *m;
    struct io io;
    struct dirent *e;
    bool found = false;
    DIR *d;

    nrt_close();
    setenv(variable, "1006", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    unsetenv(variable);
    api_log_clear();
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    m = load(neff_index());
    io_init(&io);
    io_add(&io, true, "a", VIRT, 0, 32);
    io_add(&io, true, "i", DEV, 0, 4);
    io_add(&io, false, "c", DEV, 0, 4);
    assert_ok(nrt_execute(m, io.in, io.out)); /* this one is fine: no dump */
    assert_ok(nrt_tensor_write(io.t[1], &bad, 0, 4));
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_OOB);
    assert_true(
        api_log_has("TDRV:tensor_dump_inputs                      2 input tensors were dumped "
                    "successfully to directory input_dump_"));
    assert_true(api_log_has("Model name is index"));
    d = opendir(".");
    while ((e = readdir(d))) {
        unsigned number, id;
        FILE *f;

        if (sscanf(e->d_name, "input_dump_%u_h_nn_%u", &number, &id) != 2)
            continue;
        assert_false(found);
        found = true;
        assert_int_equal(id, 1001); /* the first load of the session */
        snprintf(path, sizeof(path), "%s/i.bin", e->d_name);
        f = fopen(path, "rb");
        assert_non_null(f);
        bad = 0;
        assert_int_equal(fread(&bad, 4, 1, f), 1);
        fclose(f);
        assert_int_equal(bad, 8);
        unlink(path);
        snprintf(path, sizeof(path), "%s/a.bin", e->d_name);
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof(path), "%s/model_name.txt", e->d_name);
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof(path), "%s", e->d_name);
        assert_int_equal(rmdir(path), 0);
    }
    closedir(d);
    assert_true(found);
    assert_int_equal(chdir(cwd), 0);
    rmdir(dir);
    io_fini(&io);
    assert_ok(nrt_unload(m));
    nrt_close();
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    api_log_clear();
}

static void execute_dumps_inputs_when_asked(void **state)
{
    dump_inputs_by("NEURON_RT_DBG_DUMP_INPUTS_ON_ERR");
    PROVES("api-226");
    dump_inputs_by("NEURON_RT_DUMP_INPUTS_ON_ERR"); /* its older name */
    PROVES("api-227");
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

/* OPENNRT_CHECK finds a read of what nobody wrote: a logical error of the program. */
static void execute_under_a_check_completes_with_an_error(void **state)
{
    for (int check = 0; check < 2; check++) {
        nrt_model_t *m;
        struct io io;

        if (check)
            setenv("OPENNRT_CHECK", "uninit", 1);
        m = load(neff_unwritten());
        unsetenv("OPENNRT_CHECK");
        io_init(&io);
        io_add(&io, false, "c", DEV, 0, 4);
        api_log_clear();
        assert_int_equal(nrt_execute(m, io.in, io.out),
                         check ? NRT_EXEC_COMPLETED_WITH_ERR : NRT_SUCCESS);
        assert_true(api_log_has("nrt_infodump") == check);
        io_fini(&io);
        assert_ok(nrt_unload(m));
    }
    PROVES("api-144");
    api_log_clear();
}

static void nan_is_an_error_only_when_asked(void **state)
{
    static const char *const names[] = {NULL, "NEURON_RT_NUMERICAL_ERRORS_VERBOSITY",
                                        "NEURON_FAIL_ON_NAN"};
    float inf = __builtin_inff(), zero = 0, two = 2;

    for (int k = 0; k < 3; k++) {
        nrt_model_t *m;
        struct io io;
        float c;

        nrt_close();
        if (names[k])
            setenv(names[k], k == 1 ? "critical" : "1", 1);
        assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
        if (names[k])
            unsetenv(names[k]);
        m = load(neff_multiply());
        io_init(&io);
        io_add(&io, true, "a", DEV, 0, 4);
        io_add(&io, true, "b", DEV, 0, 4);
        io_add(&io, false, "c", VIRT, 0, 4);
        put_floats(io.t[0], &inf, 1);
        put_floats(io.t[1], &two, 1);
        assert_ok(nrt_execute(m, io.in, io.out)); /* inf is fine */
        put_floats(io.t[1], &zero, 1);
        api_log_clear();
        assert_int_equal(nrt_execute(m, io.in, io.out),
                         k ? NRT_EXEC_COMPLETED_WITH_NUM_ERR : NRT_SUCCESS);
        c = get_float(io.t[2], 0); /* readable */
        assert_true(c != c);
        assert_false(api_log_has("nrt_infodump"));
        assert_ok(nrt_tensor_check_output_completion(io.t[2], 0, 2)); /* it completed */
        io_fini(&io);
        assert_ok(nrt_unload(m));
    }
    nrt_close();
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    PROVES("api-143");
    PROVES("api-224");
    PROVES("api-225");
    api_log_clear();
}

/* ---- replicas ---- */

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

/* ---- memory ---- */

static void unload_gives_back_all_memory(void **state)
{
    nrt_vnc_memory_stats_t before, during, after;
    uint64_t shape = 1 << 20;
    struct neff_build *b;
    nrt_model_t *m;
    struct prog p;
    uint8_t *data = calloc(1, shape);
    size_t n;

    assert_ok(nrt_get_vnc_memory_stats(0, &before, sizeof(before), &n));
    b = neff_build_create("memory");
    neff_build_constant(b, 0, "w", "uint8", 1, &shape, data);
    neff_build_tmp(b, 0, "tmp", 4096, 0);
    neff_build_virtual(b, 0, "v", 65536, NULL, 0);
    neff_build_input(b, 0, "a", "uint8", 1, &shape);
    prog_init(&p, ISA_SP);
    prog_done(&p, b, 0);
    m = load_at(neff_finish(b, NULL), 0, -1);
    assert_ok(nrt_get_vnc_memory_stats(0, &during, sizeof(during), &n));
    assert_true(during.bytes_used >= before.bytes_used + shape + 4096 + 65536);
    assert_ok(nrt_unload(m));
    assert_ok(nrt_get_vnc_memory_stats(0, &after, sizeof(after), &n));
    assert_int_equal(after.bytes_used, before.bytes_used);
    PROVES("mem-052");
    free(data);
}

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

/* ---- graph walker ---- */

static void *read_file(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    void *data;

    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *ret_size = (size_t)ftell(f);
    rewind(f);
    data = malloc(*ret_size);
    assert_int_equal(fread(data, 1, *ret_size, f), *ret_size);
    fclose(f);
    return data;
}

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

struct job {
    nrt_model_t *m;
    struct io *io;
    NRT_STATUS status;
    unsigned before, after;
};

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

static void *small_stack_user(void *arg)
{
    struct job *j = arg;
    nrt_model_t *m = NULL;
    struct bytes f = neff_add(4);

    j->status = nrt_load(f.data, f.size, -1, -1, &m);
    neff_free(&f);
    if (j->status == NRT_SUCCESS)
        j->status = nrt_unload(m);
    for (int i = 0; i < 10 && j->status == NRT_SUCCESS; i++)
        j->status = nrt_execute(j->m, j->io->in, j->io->out);
    return NULL;
}

static void execute_needs_little_stack(void **state)
{
    struct job j = {.m = load(neff_add(4))};
    pthread_attr_t attr;
    pthread_t t;
    struct io io;

    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 16);
    io_add(&io, true, "b", VIRT, 0, 16);
    io_add(&io, false, "c", DEV, 0, 16);
    j.io = &io;
    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstacksize(&attr, 128 * 1024), 0);
    assert_int_equal(pthread_create(&t, &attr, small_stack_user, &j), 0);
    pthread_join(t, NULL);
    assert_ok(j.status);
    io_fini(&io);
    assert_ok(nrt_unload(j.m));
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

static int setup(void **state)
{
    api_env("trn1.2xlarge", 0);
    return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
}

static int teardown(void **state)
{
    nrt_vnc_memory_stats_t stats;
    size_t n;

    for (uint32_t i = 0; i < 2; i++)
        if (nrt_get_vnc_memory_stats(i, &stats, sizeof(stats), &n) != NRT_SUCCESS ||
            stats.bytes_used != 0) {
            fprintf(stderr, "core %u still uses %zu bytes\n", i, stats.bytes_used);
            return 1;
        }
    nrt_close();
    api_env_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_minus_one_takes_the_first_free_core),
        cmocka_unit_test(load_outside_the_owned_cores_gives_the_documented_chain),
        cmocka_unit_test(an_unknown_instruction_is_refused_by_its_code),
        cmocka_unit_test(load_of_bad_bytes_is_refused_with_its_message),
        cmocka_unit_test(load_checks_the_hash_when_told_at_the_load),
        cmocka_unit_test(model_tensor_info_describes_inputs_then_outputs),
        cmocka_unit_test(execute_adds_in_every_placement),
        cmocka_unit_test(execute_leaves_unwritten_bytes_of_outputs),
        cmocka_unit_test(execute_chains_models_and_slices),
        cmocka_unit_test(binding_follows_what_happens_to_the_set),
        cmocka_unit_test(execute_refuses_sets_that_do_not_fit),
        cmocka_unit_test(execute_repeat_feeds_outputs_back),
        cmocka_unit_test(completions_count_executions_that_finished),
        cmocka_unit_test(execute_that_hangs_is_reported_at_once),
        cmocka_unit_test(execute_without_end_is_stopped_by_the_timeout_of_its_load),
        cmocka_unit_test(execute_out_of_bounds_gives_the_documented_lines),
        cmocka_unit_test(execute_dumps_inputs_when_asked),
        cmocka_unit_test(stochastic_rounding_is_seeded_at_the_load),
        cmocka_unit_test(execute_under_a_check_completes_with_an_error),
        cmocka_unit_test(nan_is_an_error_only_when_asked),
        cmocka_unit_test(replicas_run_in_turn_where_their_tensors_are),
        cmocka_unit_test(unload_gives_back_all_memory),
        cmocka_unit_test(close_with_live_models_tensors_and_sets_then_init),
        cmocka_unit_test(graph_walks_cpu_and_core_nodes),
        cmocka_unit_test(execute_ignores_and_restores_the_callers_fp_mode),
        cmocka_unit_test(execute_needs_little_stack),
        cmocka_unit_test(execute_defers_cancellation),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
