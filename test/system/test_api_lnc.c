/* SPDX-License-Identifier: Apache-2.0 */
/* Logical cores of two physical ones, architectures, and the account of a load, on trn2:
 * behaviour.md 3, 6, 11 and 17. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "neffs.h"
#include "proves.h"

#define DEV NRT_TENSOR_PLACEMENT_DEVICE

static void start(unsigned lnc, const char *cores)
{
    api_env("trn2.48xlarge", lnc);
    setenv("NEURON_RT_VISIBLE_CORES", cores, 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
}

static void stop(void)
{
    nrt_close();
    unsetenv("NEURON_RT_VISIBLE_CORES");
    api_env_end();
}

/* Core 0 copies a to c, core 1 copies b to d, when core 0 has told it to; core 0 ends when core 1
 * has told it that it is done. */
static struct bytes neff_pair(void)
{
    struct neff_build *b = neff_build_create("pair");
    struct neff_build_queue q = {.name = "q", .type = "data", .num_queues = 1, .owner = "sp"};
    struct neff_build_group g = {.has_semaphore = true, .semaphore = 3};
    uint64_t n = 4;
    int from[2], to[2];

    assert_int_equal(neff_build_subgraph(b), 1);
    from[0] = neff_build_input(b, 0, "a", "int32", 1, &n);
    to[0] = neff_build_output(b, 0, "c", "int32", 1, &n);
    from[1] = neff_build_input(b, 1, "b", "int32", 1, &n);
    to[1] = neff_build_output(b, 1, "d", "int32", 1, &n);
    for (int i = 0; i < 2; i++) {
        struct isa_record *r;
        struct prog p;

        g.queue = neff_build_queue(b, i, &q);
        neff_build_copy(b, i, NEFF_SP, neff_build_group(b, i, NEFF_SP, &g), from[i], 0, to[i], 0,
                        16);
        prog_init(&p, ISA_SP);
        if (i == 1) {
            prog_op(&p, ISA_OP_NOP);
            prog_wait(&p, 7, 1); /* raised by the other core */
        }
        prog_trigger(&p, 0);
        r = prog_op(&p, ISA_OP_NOP);
        prog_wait(&p, 3, 1);
        r->update[r->nupdates++] = (struct isa_update){
            .kind = ISA_UPD_INC, .index = 7, .reg = ISA_NO_REG, .flags = ISA_UPD_PEER};
        if (i == 0) {
            prog_op(&p, ISA_OP_NOP);
            prog_wait(&p, 7, 1);
        }
        prog_done(&p, b, i);
    }
    return neff_finish(b, NULL);
}

static struct bytes neff_for(const char *arch)
{
    struct neff_build_options o = {.arch = arch};
    struct neff_build *b = neff_build_create("old");
    uint64_t n = 4;
    struct prog p;

    neff_build_input(b, 0, "a", "uint8", 1, &n);
    prog_init(&p, ISA_SP);
    prog_done(&p, b, 0);
    return neff_finish(b, &o);
}

static NRT_STATUS try_load(struct bytes f, nrt_model_t **m)
{
    NRT_STATUS status = nrt_load(f.data, f.size, 0, -1, m);

    neff_free(&f);
    return status;
}

static void subgraphs_run_together_on_one_logical_core(void **state)
{
    int32_t v[4] = {1, 2, 3, 4}, w[4] = {5, 6, 7, 8}, got[4];
    nrt_tensor_set_t *in, *out;
    nrt_tensor_info_array_t *infos;
    nrt_tensor_t *t[4];
    nrt_model_t *m;

    start(2, "3-4");
    assert_ok(try_load(neff_pair(), &m));
    assert_ok(nrt_get_model_tensor_info(m, &infos));
    assert_int_equal(infos->tensor_count, 4);
    assert_ok(nrt_free_model_tensor_info(infos));
    assert_ok(nrt_allocate_tensor_set(&in));
    assert_ok(nrt_allocate_tensor_set(&out));
    for (int i = 0; i < 4; i++) {
        assert_ok(nrt_tensor_allocate(DEV, 0, 16, "", &t[i]));
        assert_ok(nrt_add_tensor_to_tensor_set(i < 2 ? in : out,
                                               (const char *[]){"a", "b", "c", "d"}[i], t[i]));
    }
    assert_ok(nrt_tensor_write(t[0], v, 0, 16));
    assert_ok(nrt_tensor_write(t[1], w, 0, 16));
    for (int round = 0; round < 20; round++) {
        assert_ok(nrt_tensor_memset(t[2], 0, 0, 16));
        assert_ok(nrt_tensor_memset(t[3], 0, 0, 16));
        assert_ok(nrt_execute(m, in, out));
        assert_ok(nrt_tensor_read(t[2], got, 0, 16));
        assert_memory_equal(got, v, 16);
        assert_ok(nrt_tensor_read(t[3], got, 0, 16));
        assert_memory_equal(got, w, 16);
    }
    PROVES("neff-038");
    for (int i = 0; i < 4; i++)
        nrt_tensor_free(&t[i]);
    nrt_destroy_tensor_set(&in);
    nrt_destroy_tensor_set(&out);
    assert_ok(nrt_unload(m));
    stop();
}

static void load_of_another_lnc_names_both_and_the_variable(void **state)
{
    nrt_model_t *m;

    start(1, "0-1");
    api_log_clear();
    assert_int_equal(try_load(neff_pair(), &m), NRT_INVALID);
    assert_true(api_log_has("NEFF needs logical core size 2, runtime uses 1; set "
                            "NEURON_LOGICAL_NC_CONFIG=2"));
    stop();
    start(2, "0");
    api_log_clear();
    assert_int_equal(try_load(neff_nothing(4), &m), NRT_INVALID);
    assert_true(api_log_has("NEFF needs logical core size 1, runtime uses 2"));
    stop();
    PROVES("neff-205");
}

static void load_of_an_older_architecture_needs_the_switch(void **state)
{
    nrt_model_t *m;

    start(1, "0");
    api_log_clear();
    assert_int_equal(try_load(neff_for("trn1"), &m), NRT_UNSUPPORTED_NEFF_VERSION);
    assert_true(api_log_has("NEFF was built for trn1, device is trn2"));
    assert_ok(try_load(neff_for("trn2"), &m));
    assert_ok(nrt_unload(m));
    setenv("NEURON_RT_ALLOW_LEGACY_NEFF", "1", 1);
    assert_ok(try_load(neff_for("trn1"), &m));
    assert_ok(nrt_unload(m));
    assert_int_equal(try_load(neff_for("trn3"), &m), NRT_UNSUPPORTED_NEFF_VERSION);
    unsetenv("NEURON_RT_ALLOW_LEGACY_NEFF");
    stop();
    PROVES("neff-204");
    PROVES("api-217");
}

/* A model with known sizes. */
static struct bytes neff_sizes(void)
{
    struct neff_build *b = neff_build_create("sizes");
    uint64_t n = 3 << 20;
    uint8_t *data = calloc(1, n);
    struct prog p;

    for (uint64_t i = 0; i < n; i++)
        data[i] = (uint8_t)(i * 7);
    neff_build_input(b, 0, "a", "uint8", 1, &n);
    neff_build_constant(b, 0, "w", "uint8", 1, &n, data);
    neff_build_constant_raw(b, 0, "short", 100000, data, 1000);
    neff_build_tmp(b, 0, "tmp", 1 << 20, 4096);
    prog_init(&p, ISA_SP);
    prog_done(&p, b, 0);
    free(data);
    return neff_finish(b, NULL);
}

static void load_logs_the_memory_record(void **state)
{
    static const char *const lines[] = {"TDRV:dml_log_dev_neff_mem ",
                                        "[ND 0:NC 0] Current Usage Total: ",
                                        "\tshared scratchpad: 0.000B\n",
                                        "Per NEFF memory usage breakdown for [sizes]:\n",
                                        "\tTotal: ",
                                        "\t* model code: 320.000B\n",
                                        "\t* model constants: 3.095MB\n",
                                        "\t* scratchpad: 1.000MB\n",
                                        "\t* runtime: 0.000B\n",
                                        "\t* dma rings io: 0.000B\n",
                                        "\t* dma rings spill: 0.000B\n",
                                        "\t* dma rings collectives: 0.000B\n",
                                        "\t* dma rings runtime: 0.000B\n",
                                        "\t* collectives: 0.000B\n"};
    nrt_model_t *m;
    const char *p;

    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    start(1, "0");
    unsetenv("NEURON_RT_LOG_LEVEL");
    api_log_clear();
    assert_ok(try_load(neff_sizes(), &m));
    p = api_log();
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const char *at = strstr(p, lines[i]);

        if (!at)
            fail_msg("no \"%s\" in order in\n%s", lines[i], api_log());
        p = at;
    }
    PROVES("mem-025");
    PROVES("mem-026");
    PROVES("mem-024");
    assert_ok(nrt_unload(m));
    stop();
}

/* Replicas on one HBM (LNC 1 neighbours) share their constants when told. */
static void replicas_share_weights_of_one_hbm(void **state)
{
    size_t used[2];

    for (int share = 0; share < 2; share++) {
        struct bytes f = neff_sizes();
        nrt_vnc_memory_stats_t a, b;
        nrt_model_t *m;
        size_t n;

        setenv("NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS", share ? "TRUE" : "FALSE", 1);
        start(1, "0-1");
        unsetenv("NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS");
        assert_ok(nrt_load(f.data, f.size, 0, 2, &m));
        neff_free(&f);
        assert_ok(nrt_get_vnc_memory_stats(0, &a, sizeof(a), &n));
        assert_ok(nrt_get_vnc_memory_stats(1, &b, sizeof(b), &n));
        used[share] = a.bytes_used + b.bytes_used;
        assert_ok(nrt_unload(m));
        assert_ok(nrt_get_vnc_memory_stats(0, &a, sizeof(a), &n));
        assert_ok(nrt_get_vnc_memory_stats(1, &b, sizeof(b), &n));
        assert_int_equal(a.bytes_used + b.bytes_used, 0);
        stop();
    }
    assert_in_range(used[0] - used[1], 3 << 20, (3 << 20) + 110000);
    PROVES("mem-050");
    PROVES("api-218");
}

/* No room for the constants: the report, the status, everything given back, the next load works. */
static void load_without_room_gives_resource_and_the_next_works(void **state)
{
    nrt_vnc_memory_stats_t stats;
    nrt_tensor_t *t;
    nrt_model_t *m;
    size_t n;

    start(1, "0");
    assert_ok(nrt_tensor_allocate(DEV, 0, ((size_t)24 << 30) - (2 << 20), "most", &t));
    api_log_clear();
    assert_int_equal(try_load(neff_sizes(), &m), NRT_RESOURCE);
    assert_true(api_log_has("TDRV:log_dev_mem "));
    assert_true(api_log_has("usage: model constants"));
    assert_true(api_log_has("Failed to load NN: sizes, err: 4"));
    assert_ok(nrt_get_vnc_memory_stats(0, &stats, sizeof(stats), &n));
    assert_int_equal(stats.bytes_used, ((size_t)24 << 30) - (2 << 20));
    nrt_tensor_free(&t);
    assert_ok(try_load(neff_sizes(), &m));
    assert_ok(nrt_unload(m));
    PROVES("mem-022");
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subgraphs_run_together_on_one_logical_core),
        cmocka_unit_test(load_of_another_lnc_names_both_and_the_variable),
        cmocka_unit_test(load_of_an_older_architecture_needs_the_switch),
        cmocka_unit_test(load_logs_the_memory_record),
        cmocka_unit_test(replicas_share_weights_of_one_hbm),
        cmocka_unit_test(load_without_room_gives_resource_and_the_next_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
