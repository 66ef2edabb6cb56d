/* SPDX-License-Identifier: Apache-2.0 */
/* The reports of behaviour.md 6 and 13, byte for byte, and the allocation log. */
#include "fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* The two header lines as the page has them. */
static const char header[] =
    "              |          |  Model   |  Model   |          |  Shared  |          |          "
    "|DMA Rings |DMA Rings | DMA Rings |DMA Rings |           |          | Profiler |\n"
    "              |  TOTAL   |   Code   |Constants | Tensors  |Scratchpad|Scratchpad| Runtime  "
    "|    IO    |  Spill   |Collectives| Runtime  |Collectives|  XT CC   | Buffers  |\n";

static char *file_text(const char *dir, const char *name)
{
    char path[160];
    struct stat sb;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (stat(path, &sb) != 0)
        return NULL;
    FILE *fp = fopen(path, "r");
    char *s = calloc(1, (size_t)sb.st_size + 1);
    assert_int_equal(fread(s, 1, (size_t)sb.st_size, fp), sb.st_size);
    fclose(fp);
    return s;
}

static struct device_extent take(struct device_instance *in, uint32_t core, uint32_t neff,
                                 enum device_cat cat, uint64_t size)
{
    struct device_alloc a = want(core, cat, size);
    struct device_extent x;

    a.neff = neff;
    a.name = "it, \"the\" one";
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    return x;
}

/* Two cores of one HBM at LNC 1, two NEFFs; the figures are chosen so that every column differs. */
static void fill(struct device_instance *in)
{
    assert_int_equal(device_neff_add(in, 2, 1001, "first.neff", NULL, NULL), NRT_SUCCESS);
    assert_int_equal(device_neff_add(in, 3, 1002, "second.neff", NULL, NULL), NRT_SUCCESS);
    take(in, 2, 1001, DEVICE_CAT_CODE, 96 * MIB);
    take(in, 2, 1001, DEVICE_CAT_CONST, 1536 * KIB);
    take(in, 2, 1001, DEVICE_CAT_SCRATCH, 512 * MIB);
    take(in, 2, 1001, DEVICE_CAT_RUNTIME, 64 * KIB);
    take(in, 2, 1001, DEVICE_CAT_RING_IO, 128);
    take(in, 2, 1001, DEVICE_CAT_RING_SPILL, 2 * KIB);
    take(in, 2, 1001, DEVICE_CAT_RING_COLL, 3 * KIB);
    take(in, 2, 1001, DEVICE_CAT_RING_RUNTIME, 4 * KIB);
    take(in, 2, 1001, DEVICE_CAT_COLL, 5 * KIB);
    take(in, 2, DEVICE_NONE, DEVICE_CAT_TENSOR, 20 * GIB);
    take(in, 2, DEVICE_NONE, DEVICE_CAT_SHARED_SCRATCH, GIB);
    take(in, 3, DEVICE_NONE, DEVICE_CAT_XT_CC, 6 * KIB);
    take(in, 3, DEVICE_NONE, DEVICE_CAT_PROFILER, 7 * KIB);
    take(in, 3, 1002, DEVICE_CAT_CODE, 1024);
}

/* Written out from the rules of section 13, not computed by the code under test. */
static const char table[] =
    "ND 0 Overall  | 21.595GB | 96.001MB | 1.500MB  | 20.000GB | 1.000GB  |512.000MB | 64.000KB "
    "| 128.000B | 2.000KB  |  3.000KB  | 4.000KB  |  5.000KB  | 6.000KB  | 7.000KB  |\n"
    "\\_NC 2        | 21.595GB | 96.000MB | 1.500MB  | 20.000GB | 1.000GB  |512.000MB | 64.000KB "
    "| 128.000B | 2.000KB  |  3.000KB  | 4.000KB  |  5.000KB  |  0.000B  |  0.000B  |\n"
    "  \\_NEFF 1001 |609.576MB | 96.000MB | 1.500MB  |   n/a    |   n/a    |512.000MB | 64.000KB "
    "| 128.000B | 2.000KB  |  3.000KB  | 4.000KB  |  5.000KB  |   n/a    |   n/a    |\n"
    "\\_NC 3        | 14.000KB | 1.000KB  |  0.000B  |  0.000B  |  0.000B  |  0.000B  |  0.000B  "
    "|  0.000B  |  0.000B  |  0.000B   |  0.000B  |  0.000B   | 6.000KB  | 7.000KB  |\n"
    "  \\_NEFF 1002 | 1.000KB  | 1.000KB  |  0.000B  |   n/a    |   n/a    |  0.000B  |  0.000B  "
    "|  0.000B  |  0.000B  |  0.000B   |  0.000B  |  0.000B   |   n/a    |   n/a    |\n"
    "\nNEFF id to name mapping:\n1001: \"first.neff\"\n1002: \"second.neff\"\n";

static void prove_categories(void)
{
    PROVES("mem-001");
    PROVES("mem-002");
    PROVES("mem-003");
    PROVES("mem-004");
    PROVES("mem-005");
    PROVES("mem-006");
    PROVES("mem-007");
    PROVES("mem-008");
    PROVES("mem-009");
    PROVES("mem-010");
    PROVES("mem-011");
    PROVES("mem-012");
    PROVES("mem-013");
}

static void oom_report_is_the_documented_one(void **state)
{
    struct fixture *f = fixture_new("trn2.3xlarge");
    char whole[8192];
    struct device_extent x;
    struct err err = {0};

    f->cfg.lnc = 1;
    struct device_instance *in = fixture_open(f);
    fill(in);
    struct device_alloc a = want(3, DEVICE_CAT_TENSOR, 5 * GIB);
    assert_int_equal(device_alloc(in, &a, &x, &err), NRT_RESOURCE);
    assert_int_equal(log_tap_find(&f->tap,
                                  "TDRV:print_lnc_hbm_details                   "
                                  "LNC size is 1. Neuron Cores using this HBM: NC 2 and NC 3"),
                     1);
    PROVES("mem-014");
    assert_int_equal(log_tap_find(&f->tap, "TDRV:log_dev_mem                             "
                                           "Failed to allocate 5.000GB (alignment: none, usage: "
                                           "tensors) on ND 0:NC 3"),
                     1);
    PROVES("mem-015");
    snprintf(whole, sizeof(whole),
             "TDRV:log_dev_mem_usage_table                 Displaying Current Memory Utilization:\n"
             "(NOTE: the lines are LONG, and NEFF id to name mapping is printed after)\n\n%s%s",
             header, table);
    if (log_tap_find(&f->tap, whole) != 1) {
        log_tap_dump(&f->tap);
        fail_msg("expected %s", whole);
    }
    PROVES("mem-016");
    PROVES("mem-017");
    PROVES("mem-018");
    PROVES("mem-019");
    PROVES("mem-024");
    prove_categories();

    char *text = file_text(f->dir, "neuron_mem_table_device_0_hbm_1.log");
    assert_non_null(text);
    assert_non_null(strstr(text, table));
    assert_non_null(strstr(text, "Failed to allocate 5.000GB"));
    free(text);
    PROVES("mem-020");
    a.size = 4096;
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    PROVES("mem-022");

    /* again: the file is overwritten, not longer */
    a.size = 30 * GIB;
    a.align = 8192;
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_RESOURCE);
    text = file_text(f->dir, "neuron_mem_table_device_0_hbm_1.log");
    assert_null(strstr(text, "5.000GB"));
    assert_non_null(strstr(text, "Failed to allocate 30.000GB (alignment: 8192, usage: tensors)"));
    free(text);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void oom_report_can_be_switched_off(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 17 * GIB);
    struct device_extent x;

    f->cfg.no_oom_log = true;
    struct device_instance *in = fixture_open(f);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_RESOURCE);
    assert_int_equal(log_tap_find(&f->tap, "Displaying"), 0);
    assert_int_equal(log_tap_find(&f->tap, "Failed to allocate"), 0);
    assert_null(file_text(f->dir, "neuron_mem_table_device_0_hbm_0.log"));
    device_instance_close(in);
    f->cfg.no_oom_log = false;
    in = fixture_open(f);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_RESOURCE);
    assert_int_equal(log_tap_find(&f->tap, "Displaying"), 1);
    /* one core per HBM on this type: nothing is shared */
    assert_int_equal(log_tap_find(&f->tap, "print_lnc_hbm_details"), 0);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void suppression_variable_is_read(void **state)
{
    struct device_config c = {0};

    setenv("NEURON_RT_ENABLE_DEVICE_MEMORY_OOM_LOG", "0", 1);
    assert_int_equal(device_config_env(&c, NULL), NRT_SUCCESS);
    assert_true(c.no_oom_log);
    unsetenv("NEURON_RT_ENABLE_DEVICE_MEMORY_OOM_LOG");
    assert_int_equal(device_config_env(&c, NULL), NRT_SUCCESS);
    assert_false(c.no_oom_log);
    PROVES("mem-021");
    assert_int_equal(c.memlog_max, 1048576);
    setenv("NEURON_RT_DEBUG_MEMLOG_MAX_SIZE", "3", 1);
    assert_int_equal(device_config_env(&c, NULL), NRT_SUCCESS);
    assert_int_equal(c.memlog_max, 3);
    unsetenv("NEURON_RT_DEBUG_MEMLOG_MAX_SIZE");
    setenv("NEURON_LOGICAL_NC_CONFIG", "3", 1);
    assert_int_equal(device_config_env(&c, NULL), NRT_INVALID);
    setenv("NEURON_RT_VIRTUAL_CORE_SIZE", "1", 1);
    setenv("NEURON_LOGICAL_NC_CONFIG", "2", 1);
    assert_int_equal(device_config_env(&c, NULL), NRT_SUCCESS);
    assert_int_equal(c.lnc, 2); /* the newer name wins */
    unsetenv("NEURON_LOGICAL_NC_CONFIG");
    assert_int_equal(device_config_env(&c, NULL), NRT_SUCCESS);
    assert_int_equal(c.lnc, 1);
    unsetenv("NEURON_RT_VIRTUAL_CORE_SIZE");
    assert_int_equal(device_config_env(&c, NULL), NRT_SUCCESS);
    assert_int_equal(c.lnc, 0);
    (void)state;
}

static void allocation_log_keeps_the_last_entries(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_alloc big = want(1, DEVICE_CAT_TENSOR, 17 * GIB);
    char name[64], want_text[1024];
    struct device_extent x, y;

    f->cfg.memlog_max = 3;
    struct device_instance *in = fixture_open(f);
    take(in, 0, DEVICE_NONE, DEVICE_CAT_CONST, 64);
    x = take(in, 1, DEVICE_NONE, DEVICE_CAT_TENSOR, 100);
    y = take(in, 1, 1001, DEVICE_CAT_RING_IO, 4096);
    assert_int_equal(device_free(in, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_alloc(in, &big, &x, NULL), NRT_RESOURCE);
    snprintf(name, sizeof(name), "neuron_memlog_%d.csv", (int)getpid());
    char *text = file_text(f->dir, name);
    assert_non_null(text);
    snprintf(want_text, sizeof(want_text),
             "index,op,device,nc,hbm,category,address,size,name\n"
             "1,alloc,0,1,1,tensors,0x10000000000,128,\"it, \"\"the\"\" one\"\n"
             "2,alloc,0,1,1,dma rings io,0x%llx,4096,\"it, \"\"the\"\" one\"\n"
             "3,free,0,1,1,tensors,0x10000000000,128,\n",
             (unsigned long long)y.addr);
    assert_string_equal(text, want_text);
    PROVES("mem-023");
    free(text);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* Whoever may write to the folder may have put a pipe there: nobody waits for its reader, and a
 * reader gets nothing. */
static void reports_go_to_files_alone(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_alloc big = want(1, DEVICE_CAT_TENSOR, 17 * GIB);
    char path[2][160], byte;
    struct device_extent x;
    int reader[2];

    f->cfg.memlog_max = 3;
    struct device_instance *in = fixture_open(f);
    snprintf(path[0], sizeof(path[0]), "%s/neuron_mem_table_device_0_hbm_1.log", f->dir);
    snprintf(path[1], sizeof(path[1]), "%s/neuron_memlog_%d.csv", f->dir, (int)getpid());
    for (int i = 0; i < 2; i++)
        assert_int_equal(mkfifo(path[i], 0600), 0);
    assert_int_equal(device_alloc(in, &big, &x, NULL), NRT_RESOURCE);
    for (int i = 0; i < 2; i++) {
        reader[i] = open(path[i], O_RDONLY | O_NONBLOCK);
        assert_true(reader[i] >= 0);
    }
    assert_int_equal(device_alloc(in, &big, &x, NULL), NRT_RESOURCE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(read(reader[i], &byte, 1), 0);
        close(reader[i]);
        assert_int_equal(unlink(path[i]), 0);
    }
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void load_record_is_the_documented_one(void **state)
{
    struct fixture *f = fixture_new("trn2.3xlarge");

    f->cfg.lnc = 1;
    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    log_close(f->log);
    f->cfg.log = f->log = log_open_env();
    unsetenv("NEURON_RT_LOG_LEVEL");
    log_tap_attach(&f->tap, f->log);
    struct device_instance *in = fixture_open(f);
    fill(in);
    device_log_neff_mem(in, 2, 1001, "first.neff");
    const char *text = "TDRV:dml_log_dev_neff_mem                    \n"
                       "[ND 0:NC 2] Current Usage Total: 21.595GB\n"
                       "\tshared scratchpad: 1.000GB\n"
                       "Per NEFF memory usage breakdown for [first.neff]:\n"
                       "\tTotal: 609.576MB\n"
                       "\t* model code: 96.000MB\n"
                       "\t* model constants: 1.500MB\n"
                       "\t* scratchpad: 512.000MB\n"
                       "\t* runtime: 64.000KB\n"
                       "\t* dma rings io: 128.000B\n"
                       "\t* dma rings spill: 2.000KB\n"
                       "\t* dma rings collectives: 3.000KB\n"
                       "\t* dma rings runtime: 4.000KB\n"
                       "\t* collectives: 5.000KB\n";
    if (log_tap_find(&f->tap, text) != 1) {
        log_tap_dump(&f->tap);
        fail();
    }
    PROVES("mem-026");
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

static void peaks_and_present(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct device_extent x = take(in, 0, DEVICE_NONE, DEVICE_CAT_TENSOR, 8192);
    uint64_t present, peak;

    take(in, 0, DEVICE_NONE, DEVICE_CAT_TENSOR, 4096);
    device_free(in, &x, NULL);
    device_memory_peak(in, 0, DEVICE_CAT_TENSOR, &present, &peak);
    assert_int_equal(present, 8192);
    assert_int_equal(peak, 12288);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oom_report_is_the_documented_one),
        cmocka_unit_test(oom_report_can_be_switched_off),
        cmocka_unit_test(suppression_variable_is_read),
        cmocka_unit_test(allocation_log_keeps_the_last_entries),
        cmocka_unit_test(reports_go_to_files_alone),
        cmocka_unit_test(load_record_is_the_documented_one),
        cmocka_unit_test(peaks_and_present),
    };

    runner_watchdog(120);
    return cmocka_run_group_tests_name("device-oom", tests, NULL, NULL);
}
