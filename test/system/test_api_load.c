/* SPDX-License-Identifier: Apache-2.0 */
/* Load and unload through the public API: api.md 4.4 and 7, behaviour.md 6. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "device/hostmem.h"
#include "models.h"
#include "neff_hole.h"
#include "neffs.h"
#include "proves.h"

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

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they map what they like */
#define BIG    ((uint64_t)1 << 30)
#define STEP   ((uint64_t)16 << 20) /* from one mark to the next */
#define MARKS  (BIG / STEP)
#define LITTLE ((uint64_t)64 << 20)

/* A plain tar with a constant of BIG bytes, mapped: a hole but for the marks, which count up. NULL,
 * with the reason told: this host has no room for the constant or the file. */
static void *big_neff(size_t *ret_size)
{
    struct bytes f = neff_marks(BIG, STEP);
    uint64_t at, total;
    struct host_room room;
    void *map = NULL;
    int fd = -1;

    host_room_get(NULL, &room);
    if (room.available < BIG + LITTLE) {
        print_message("NOT RUN: this host can give only %llu MiB to the device\n",
                      (unsigned long long)room.available >> 20);
        goto done;
    }
    fd = neff_hole_open(f.data, f.size, "sg00/w.raw", BIG, &at, &total);
    if (fd < 0) {
        print_message("NOT RUN: no file of a gigabyte in /tmp: %s\n", strerror(errno));
        goto done;
    }
    for (uint32_t i = 0; i < MARKS; i++)
        assert_int_equal(pwrite(fd, &i, sizeof(i), (off_t)(at + i * STEP)), sizeof(i));
    map = mmap(NULL, total, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(map != MAP_FAILED);
    *ret_size = total;
    close(fd);
done:
    neff_free(&f);
    return map;
}

static uint64_t private_bytes(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    unsigned long long kb = 0;
    char line[256];

    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "VmData: %llu", &kb) == 1)
            break;
    fclose(f);
    assert_true(kb > 0);
    return kb * 1024;
}

/* They go from the file to the device's memory, which is not the process's own. */
static void a_gigabyte_of_constants_costs_next_to_no_memory(void **state)
{
    uint32_t got[MARKS];
    struct rlimit old, tight;
    nrt_model_t *m = NULL;
    nrt_tensor_t *c;
    NRT_STATUS status;
    struct io io;
    size_t size = 0;
    void *map = big_neff(&size);

    if (map == NULL)
        skip();
    assert_int_equal(getrlimit(RLIMIT_DATA, &old), 0);
    tight = old;
    tight.rlim_cur = private_bytes() + LITTLE;
    assert_int_equal(setrlimit(RLIMIT_DATA, &tight), 0);
    status = nrt_load(map, size, 0, 1, &m);
    assert_int_equal(setrlimit(RLIMIT_DATA, &old), 0);
    if (status != NRT_SUCCESS)
        fail_msg("status %d\n%s", (int)status, api_log());
    munmap(map, size);

    io_init(&io);
    c = io_add(&io, false, "c", DEV, 0, sizeof(got));
    assert_ok(nrt_execute(m, io.in, io.out));
    assert_ok(nrt_tensor_read(c, got, 0, sizeof(got)));
    for (uint32_t i = 0; i < MARKS; i++)
        assert_int_equal(got[i], i);
    io_fini(&io);
    assert_ok(nrt_unload(m));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_minus_one_takes_the_first_free_core),
        cmocka_unit_test(load_outside_the_owned_cores_gives_the_documented_chain),
        cmocka_unit_test(an_unknown_instruction_is_refused_by_its_code),
        cmocka_unit_test(load_of_bad_bytes_is_refused_with_its_message),
        cmocka_unit_test(load_checks_the_hash_when_told_at_the_load),
        cmocka_unit_test(model_tensor_info_describes_inputs_then_outputs),
        cmocka_unit_test(unload_gives_back_all_memory),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(a_gigabyte_of_constants_costs_next_to_no_memory),
#endif
    };

    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
