/* SPDX-License-Identifier: Apache-2.0 */
/* The memory account as a client of the library sees it: behaviour.md 2, 6, 11, 12, 14, 17. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "device/device.h"
#include "neff/asm.h"
#include "neffs.h"
#include "proves.h"

#define IO_COPIES    32
#define SPILL_COPIES 16
#define CONST_BYTES  8192
#define MIB          (UINT64_C(1) << 20)

/* 32 copies from the input to scratch memory, 16 between two pieces of scratch memory, one
 * constant. */
static struct bytes neff_memory(void)
{
    struct neff_build *b = neff_build_create("memory");
    const struct neff_build_queue q = {.name = "q", .type = "data", .num_queues = 1, .owner = "sp"};
    static uint8_t data[CONST_BYTES];
    uint64_t n = 64;
    int va = neff_build_input(b, 0, "a", "uint8", 1, &n);
    int vc = neff_build_output(b, 0, "c", "uint8", 1, &n);
    int v1 = neff_build_virtual(b, 0, "v1", MIB, NULL, 0);
    int v2 = neff_build_virtual(b, 0, "v2", MIB, NULL, 699 * MIB);
    int queue = neff_build_queue(b, 0, &q);
    struct prog p;

    data[0] = 1;
    neff_build_constant_raw(b, 0, "k", sizeof(data), data, sizeof(data));
    prog_init(&p, ISA_SP);
    for (uint32_t i = 0; i < IO_COPIES + SPILL_COPIES; i++) {
        struct neff_build_group g = {
            .id = i, .queue = queue, .has_semaphore = true, .semaphore = 3};
        int group = neff_build_group(b, 0, NEFF_SP, &g);
        bool io = i < IO_COPIES;

        neff_build_copy(b, 0, NEFF_SP, group, io ? va : v1, 0, io ? (i == 0 ? vc : v1) : v2, 0, 64);
        prog_trigger(&p, (int32_t)i);
    }
    prog_op(&p, ISA_OP_NOP);
    prog_wait(&p, 3, IO_COPIES + SPILL_COPIES);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

/* Another pair of eyes on the same instance. */
static struct device_instance *observe(void)
{
    struct device_config cfg = {.name = getenv("OPENNRT_INSTANCE"), .observe = true};
    struct device_instance *in = NULL;
    struct err err = {0};

    if (device_instance_open(&cfg, &in, &err) != NRT_SUCCESS)
        fail_msg("observe: %s", err.text);
    return in;
}

static uint64_t category(struct device_instance *eye, uint32_t hbm, enum device_cat cat)
{
    struct device_usage u;

    assert_int_equal(device_usage_hbm(eye, hbm, &u), NRT_SUCCESS);
    return u.bytes[cat];
}

/* A line of the record, "\t* name: size". */
static bool log_line(const char *name, uint64_t bytes)
{
    char size[32], line[96];

    size_text(size, sizeof(size), bytes);
    snprintf(line, sizeof(line), "\n\t* %s: %s\n", name, size);
    return api_log_has(line);
}

static void load_is_accounted_and_told(void **state)
{
    struct bytes f = neff_memory();
    struct device_usage u;
    nrt_model_t *m;
    char line[160], size[32];

    (void)state;
    api_env("trn1.2xlarge", 0);
    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    api_log_clear();
    assert_ok(nrt_load(f.data, f.size, 0, 1, &m));
    unsetenv("NEURON_RT_LOG_LEVEL");

    struct device_instance *eye = observe();
    assert_true(category(eye, 0, DEVICE_CAT_CONST) == CONST_BYTES);
    assert_true(category(eye, 0, DEVICE_CAT_SHARED_SCRATCH) == 704 * MIB); /* 700, in steps of 64 */
    assert_true(category(eye, 0, DEVICE_CAT_SCRATCH) == 0);
    /* twice as many copies of the same shape with a model's input or output as without */
    assert_true(category(eye, 0, DEVICE_CAT_RING_SPILL) > 0);
    assert_true(category(eye, 0, DEVICE_CAT_RING_IO) ==
                2 * category(eye, 0, DEVICE_CAT_RING_SPILL));
    assert_true(category(eye, 0, DEVICE_CAT_RING_COLL) == 0);
    PROVES("mem-044");

    assert_int_equal(device_usage_core(eye, 0, &u), NRT_SUCCESS);
    size_text(size, sizeof(size), u.total);
    snprintf(line, sizeof(line), "\n[ND 0:NC 0] Current Usage Total: %s\n", size);
    if (!api_log_has("INFO  TDRV:dml_log_dev_neff_mem                    \n") ||
        !api_log_has(line) || !api_log_has("\n\tshared scratchpad: 704.000MB\n") ||
        !api_log_has("\nPer NEFF memory usage breakdown for [memory]:\n\tTotal: "))
        fail_msg("log is\n%s", api_log());
    assert_true(log_line("model code", u.bytes[DEVICE_CAT_CODE]));
    assert_true(log_line("model constants", CONST_BYTES));
    assert_true(log_line("dma rings io", u.bytes[DEVICE_CAT_RING_IO]));
    assert_true(log_line("dma rings spill", u.bytes[DEVICE_CAT_RING_SPILL]));
    PROVES("mem-025");

    assert_ok(nrt_unload(m));
    assert_int_equal(device_usage_core(eye, 0, &u), NRT_SUCCESS);
    assert_true(u.total == 0);
    device_instance_close(eye);
    nrt_close();
    api_env_end();
    neff_free(&f);
}

/* A gather of rows; without it, the same static transfers and a wait less. */
static struct bytes neff_gather(bool gather)
{
    static const char head[] =
        ".name gather\n"
        "var ids: input i32[128, 1]\nvar table: input f32[1000, 64]\nvar y: output f32[128, 64]\n"
        "queue qIn: in owner=sp n=16\nqueue qOut: out owner=sp n=16\n"
        "queue qDyn: dynamic owner=pool n=16\nsem got_ids, rows, saved\n"
        "tile I: sbuf i32[128, 1]\ntile E: sbuf f32[128, 64]\n"
        "sp:\n    dma on qIn -> got_ids: I <- ids\n";
    static const char with[] = "    wait rows >= 16: dma on qOut -> saved: y <- E\n"
                               "    wait saved >= 16: end\n"
                               "pool:\n    memset E, -1.0\n    wait got_ids >= 16: dma_dyn E, "
                               "table[I, :], queue=qDyn, oob=skip, sem=rows\n";
    static const char without[] = "    wait got_ids >= 16: dma on qOut -> saved: y <- E\n"
                                  "    wait saved >= 16: end\n"
                                  "pool:\n    memset E, -1.0\n";
    struct neff_asm_options o = {.file = "gather"};
    struct neff_asm_info info;
    struct neff_build *b = NULL;
    struct neff_error error = {0};
    char text[2048];

    snprintf(text, sizeof(text), "%s%s", head, gather ? with : without);
    assert_int_equal(neff_asm_text(text, strlen(text), &o, &b, &info, &error), 0);
    return neff_finish(b, NULL);
}

static uint64_t gather_ring_bytes(bool gather)
{
    struct bytes f = neff_gather(gather);
    uint64_t sum = 0;
    nrt_model_t *m;

    api_env("trn1.2xlarge", 0);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_ok(nrt_load(f.data, f.size, 0, 1, &m));
    struct device_instance *eye = observe();
    for (int c = DEVICE_CAT_RING_IO; c <= DEVICE_CAT_RING_RUNTIME; c++)
        sum += category(eye, 0, (enum device_cat)c);
    device_instance_close(eye);
    assert_ok(nrt_unload(m));
    nrt_close();
    api_env_end();
    neff_free(&f);
    return sum;
}

static void generated_descriptors_occupy_no_ring(void **state)
{
    (void)state;
    assert_true(gather_ring_bytes(false) > 0);
    assert_true(gather_ring_bytes(true) == gather_ring_bytes(false));
    PROVES("mem-045");
}

static uint64_t constants_of_four(const char *shared, uint64_t *ret_hbm1)
{
    struct bytes f = neff_memory();
    nrt_model_t *m;

    api_env("trn2.3xlarge", 1); /* cores 0 and 1 share HBM 0, 2 and 3 HBM 1 */
    if (shared)
        setenv("NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS", shared, 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    unsetenv("NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS");
    assert_ok(nrt_load(f.data, f.size, 0, 4, &m));
    struct device_instance *eye = observe();
    uint64_t hbm0 = category(eye, 0, DEVICE_CAT_CONST);
    *ret_hbm1 = category(eye, 1, DEVICE_CAT_CONST);
    assert_true(category(eye, 2, DEVICE_CAT_CONST) == 0);
    device_instance_close(eye);
    assert_ok(nrt_unload(m));
    nrt_close();
    api_env_end();
    neff_free(&f);
    return hbm0;
}

static void shared_weights_are_stored_once_per_bank(void **state)
{
    uint64_t other;

    (void)state;
    assert_true(constants_of_four(NULL, &other) == 2 * CONST_BYTES);
    assert_true(other == 2 * CONST_BYTES);
    assert_true(constants_of_four("1", &other) == CONST_BYTES);
    assert_true(other == CONST_BYTES);
    PROVES("mem-050");
}

static uint64_t resets(uint32_t core)
{
    struct device_instance *eye = observe();
    uint64_t total, present;

    device_counter_get(eye, core, DEVICE_CTR_RESET_REQ_COUNT, &total, &present);
    device_instance_close(eye);
    return total;
}

static void reset_switch(void **state)
{
    (void)state;
    api_env("trn1.2xlarge", 0);
    setenv("NEURON_RT_VISIBLE_CORES", "1", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_int_equal(resets(0), 0); /* not ours */
    assert_int_equal(resets(1), 1);
    nrt_close();
    setenv("NEURON_RT_RESET_CORES", "0", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_int_equal(resets(1), 1);
    nrt_close();
    setenv("NEURON_RT_RESET_CORES", "1", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_int_equal(resets(1), 2);
    PROVES("api-200");
    PROVES("api-223");
    nrt_close();
    unsetenv("NEURON_RT_RESET_CORES");
    api_env_end();
    unsetenv("NEURON_RT_VISIBLE_CORES");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_is_accounted_and_told),
        cmocka_unit_test(generated_descriptors_occupy_no_ring),
        cmocka_unit_test(shared_weights_are_stored_once_per_bank),
        cmocka_unit_test(reset_switch),
    };

    return cmocka_run_group_tests_name("api-memory", tests, NULL, NULL);
}
