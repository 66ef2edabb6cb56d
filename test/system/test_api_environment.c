/* SPDX-License-Identifier: Apache-2.0 */
/* Variables of the environment and what they do, through the whole library: behaviour.md 1. Those
 * of one subject are with it: cores in api-process, rounding in api-exec, failures in api-failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "device/device.h"
#include "models.h"
#include "neffs.h"
#include "proves.h"

#define MIB (UINT64_C(1) << 20)

static void start(void)
{
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
}

/* Another session with one variable (NULL: unset). */
static void start_with(const char *name, const char *value)
{
    nrt_close();
    value ? setenv(name, value, 1) : unsetenv(name);
    api_log_clear();
    start();
    unsetenv(name);
}

static struct device_instance *observe(void)
{
    struct device_config cfg = {.name = getenv("OPENNRT_INSTANCE"), .observe = true};
    struct device_instance *in = NULL;

    assert_ok(device_instance_open(&cfg, &in, NULL));
    return in;
}

/* ---- scratchpad ---- */

/* One variable at the start, one that lies across the first 512 MiB. */
static struct bytes neff_across(void)
{
    struct neff_build *b = neff_build_create("across");
    struct prog p;

    neff_build_virtual(b, 0, "v1", MIB, NULL, 0);
    neff_build_virtual(b, 0, "v2", 2 * MIB, NULL, 511 * MIB);
    prog_init(&p, ISA_SP);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

static void expect_scratch(uint64_t shared_mib, uint64_t private_mib)
{
    nrt_model_t *m = load_at(neff_across(), 0, -1);
    struct device_instance *eye = observe();
    struct device_usage u;

    assert_ok(device_usage_hbm(eye, 0, &u));
    assert_int_equal(u.bytes[DEVICE_CAT_SHARED_SCRATCH] / MIB, shared_mib);
    assert_int_equal(u.bytes[DEVICE_CAT_SCRATCH] / MIB, private_mib);
    device_instance_close(eye);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

/* The need is 513 MiB. Contiguous: steps of 64; pages: v2 fits where a page ends behind it. */
static void scratchpad_variables(void **state)
{
    const char *contiguous = "NEURON_RT_CONTIGUOUS_SCRATCHPAD";
    const char *page = "NEURON_SCRATCHPAD_PAGE_SIZE", *older = "NEURON_RT_ONE_TMPBUF_PAGE_SIZE_MB";

    start_with(contiguous, NULL); /* the default here */
    expect_scratch(576, 0);
    start_with(contiguous, "true");
    expect_scratch(576, 0);
    start_with(contiguous, "0");
    expect_scratch(1024, 2);
    PROVES("api-228");

    setenv(contiguous, "0", 1);
    start_with(page, "1024");
    expect_scratch(1024, 0);
    start_with(page, "1536");
    expect_scratch(1536, 0);
    start_with(page, "600"); /* no multiple of 512: the default */
    expect_scratch(1024, 2);
    PROVES("api-229");
    start_with(older, "1024");
    expect_scratch(1024, 0);
    setenv(page, "1536", 1);
    start_with(older, "1024"); /* the newer name wins */
    expect_scratch(1536, 0);
    unsetenv(page);
    PROVES("api-230");
    unsetenv(contiguous);
    start_with(page, "1536"); /* no effect in contiguous mode */
    expect_scratch(576, 0);
}

/* ---- reports of a failed allocation ---- */

static char *text_of(const char *path)
{
    struct stat sb;
    char *text = NULL;
    FILE *f = fopen(path, "r");

    if (f && fstat(fileno(f), &sb) == 0 && (text = calloc(1, (size_t)sb.st_size + 1)))
        if (fread(text, 1, (size_t)sb.st_size, f) != (size_t)sb.st_size)
            text[0] = '\0';
    if (f)
        fclose(f);
    return text;
}

static void allocate_too_much(void)
{
    nrt_tensor_t *t = NULL;

    api_log_clear();
    assert_int_equal(nrt_tensor_allocate(DEV, 0, (size_t)17 << 30, "huge", &t), NRT_RESOURCE);
    assert_null(t);
}

/* On a core that no other test runs out of memory on: the report's path is the documented one, and
 * tests run at the same time. */
static void memory_report_variable(void **state)
{
    const char *path = "/tmp/neuron_mem_table_device_13_hbm_1.log";

    nrt_close();
    api_env_end();
    api_env("trn1.32xlarge", 0);
    setenv("NEURON_RT_VISIBLE_CORES", "27", 1);
    start();
    for (int on = 0; on < 3; on++) {
        char *text;

        unlink(path);
        start_with("NEURON_RT_ENABLE_DEVICE_MEMORY_OOM_LOG", on == 0 ? "0" : on == 1 ? "1" : NULL);
        allocate_too_much();
        assert_int_equal(api_log_has("Failed to allocate 17.000GB (alignment: none, usage: "
                                     "tensors) on ND 13:NC 1\n"),
                         on != 0);
        assert_int_equal(api_log_has("Displaying Current Memory Utilization:"), on != 0);
        text = text_of(path);
        assert_int_equal(text && strstr(text, "ND 13 Overall"), on != 0);
        free(text);
    }
    unlink(path);
    nrt_close();
    api_env_end();
    api_env("trn1.2xlarge", 0);
    start();
    PROVES("api-231");
}

static unsigned lines_of(const char *text)
{
    unsigned n = 0;

    for (; text && *text; text++)
        n += *text == '\n';
    return n;
}

/* The log keeps the last entries; 0: none, and no file. */
static void allocation_log_variable(void **state)
{
    static const struct {
        const char *max;
        int rows; /* of five */
    } rows[] = {{"2", 2}, {"5", 5}, {"6", 5}, {NULL, 5}, {"0", -1}};
    char path[64];

    snprintf(path, sizeof(path), "/tmp/neuron_memlog_%d.csv", (int)getpid());
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        nrt_tensor_t *t;
        char *text;

        unlink(path);
        start_with("NEURON_RT_DEBUG_MEMLOG_MAX_SIZE", rows[i].max);
        for (int k = 0; k < 2; k++) {
            assert_ok(nrt_tensor_allocate(DEV, 0, 64, "entry", &t));
            nrt_tensor_free(&t);
        }
        assert_ok(nrt_tensor_allocate(DEV, 0, 64, "last", &t));
        allocate_too_much();
        text = text_of(path);
        if (rows[i].rows < 0) {
            assert_null(text);
        } else {
            assert_non_null(text);
            assert_int_equal(lines_of(text), 1 + rows[i].rows);
            assert_non_null(strstr(text, "index,op,device,nc,hbm,category,address,size,name\n"));
            assert_non_null(strstr(text, "\n4,alloc,0,0,0,tensors,"));
            assert_non_null(strstr(text, ",64,last\n"));
        }
        free(text);
        nrt_tensor_free(&t);
    }
    unlink(path);
    api_log_clear();
    PROVES("api-232");
}

/* ---- for the tools ---- */

static void process_tag_is_for_the_tools_to_see(void **state)
{
    char pid[16], longer[400], cut[256];
    const char *const tags[] = {"training, rank 3", NULL, longer};
    const char *const want[] = {"training, rank 3", pid, cut};

    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    memset(cut, 'x', 255);
    cut[255] = '\0';
    for (size_t i = 0; i < 3; i++) {
        struct device_instance *eye;
        struct device_process p;

        start_with("NEURON_PROCESS_TAG", tags[i]);
        eye = observe();
        assert_true(device_process_get(eye, 0, &p));
        assert_int_equal(p.pid, getpid());
        assert_string_equal(p.tag, want[i]);
        device_instance_close(eye);
    }
    PROVES("api-255");
}

/* ---- accepted, without effect ---- */

static void accepted_variables_are_checked_and_printed(void **state)
{
    static const struct {
        const char *name, *good, *bad; /* bad NULL: any text will do */
        const char *id, *also;
    } rows[] = {
        {"NEURON_RT_DBG_DMA_PACKETIZATION_SIZE", "8192", "4k", "api-239", NULL},
        {"NEURON_RT_DBG_DMA_PACKETIZATION_SIZE", "4096", "4095", "ovl-006", NULL},
        {"NEURON_RT_DBG_CC_DMA_PACKET_SIZE", "65536", "64K", "api-240", NULL},
        {"NEURON_RT_DBG_CC_DMA_PACKET_SIZE", "1024", "65537", "ovl-007", NULL},
        {"NEURON_RT_DBG_CC_DMA_PACKET_SIZE", "65536, 4096,512", "512,70000", "ovl-008", NULL},
        {"NEURON_RT_DBG_INTRA_RDH_CHANNEL_BUFFER_SIZE", "1048576", "1M", "api-241", NULL},
        {"NEURON_RT_ONE_THREAD_PER_CORE", "on", "perhaps", "api-243", NULL},
        {"NEURON_RT_RANKS_PER_NETWORK_PROXY", "4", "four", "api-244", NULL},
        {"NEURON_RT_ULTRASERVER_MODE", "mode4", NULL, "api-252",
         "UltraServer: mode mode4, server "
         "unset, node unset\n"},
        {"NEURON_RT_ULTRASERVER_SERVER_ID", "0a1b", NULL, "api-253",
         "UltraServer: mode unset, server 0a1b, node unset\n"},
        {"NEURON_RT_ULTRASERVER_NODE_ID", "3", "third", "api-254",
         "UltraServer: mode unset, server unset, node 3\n"},
        {"NEURON_RT_INSPECT_PRECACHE_ENABLE", "1", "yes", "api-266", NULL},
    };

    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[160];
        nrt_model_t *hang;
        struct io io;

        if (rows[i].bad) {
            start_with(rows[i].name, rows[i].bad);
            snprintf(text, sizeof(text),
                     "WARN   NRT:nrt_init                                %s: ", rows[i].name);
            if (!api_log_has(text) || lines_of(api_log()) != 1)
                fail_msg("%s=%s: log is\n%s", rows[i].name, rows[i].bad, api_log());
        }
        start_with(rows[i].name, rows[i].good);
        assert_string_equal(api_log(), "");
        setenv(rows[i].name, rows[i].good, 1);
        hang = load_at(neff_hang(), 0, -1);
        io_init(&io);
        io_add(&io, true, "a", DEV, 0, 4);
        io_add(&io, false, "c", DEV, 0, 4);
        assert_int_equal(nrt_execute(hang, io.in, io.out), NRT_TIMEOUT);
        snprintf(text, sizeof(text), "    %s=%s\n", rows[i].name, rows[i].good);
        assert_true(api_log_has(text));
        if (rows[i].also) {
            assert_true(api_log_has(rows[i].also));
            PROVES("dump-051");
        } else {
            assert_false(api_log_has("UltraServer"));
        }
        unsetenv(rows[i].name);
        PROVES(rows[i].id);
        io_fini(&io);
        assert_ok(nrt_unload(hang));
    }
    unsetenv("NEURON_RT_LOG_LEVEL");
    api_log_clear();
}

/* ---- reading rules ---- */

static NRT_STATUS load_with(const char *name, const char *value, const struct bytes *f)
{
    nrt_model_t *m;
    NRT_STATUS status;

    setenv(name, value, 1);
    status = nrt_load(f->data, f->size, 0, -1, &m);
    unsetenv(name);
    if (status == NRT_SUCCESS)
        assert_ok(nrt_unload(m));
    return status;
}

static void reading_rules(void **state)
{
    static const char *const yes[] = {"1", "true", "TRUE", "True", "on"};
    static const char *const no[] = {"0", "false", "FALSE", "False", "off", ""};
    static const char *const bad[] = {"yes", "ON", "2"};
    struct bytes f = neff_nothing(16);
    uint32_t n = 0;

    /* Booleans, read at each load: a file whose hash is wrong. */
    memset((uint8_t *)f.data + 988, 0, 36);
    ((uint8_t *)f.data)[172] ^= 1;
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        assert_int_equal(load_with("NEURON_RT_VALIDATE_HASH", yes[i], &f), NRT_INVALID);
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        assert_int_equal(load_with("NEURON_RT_VALIDATE_HASH", no[i], &f), NRT_SUCCESS);
    start_with("NEURON_RT_LOG_LEVEL", "WARN");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        api_log_clear();
        assert_int_equal(load_with("NEURON_RT_VALIDATE_HASH", bad[i], &f), NRT_SUCCESS);
        assert_true(api_log_has("WARN "));
        assert_true(api_log_has("NEURON_RT_VALIDATE_HASH"));
    }
    neff_free(&f);

    /* Integers, read at each nrt_init and not between: blanks are fine, anything else is not. */
    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1);
    start_with("NEURON_RT_NUM_CORES", " 1\t");
    assert_string_equal(api_log(), "");
    assert_ok(nrt_get_visible_vnc_count(&n));
    assert_int_equal(n, 1);
    setenv("NEURON_RT_NUM_CORES", "2", 1);
    assert_ok(nrt_get_visible_vnc_count(&n));
    assert_int_equal(n, 1);
    for (const char *const *v = (const char *const[]){"one", "1x", "0x1", "1.0", "-1", NULL}; *v;
         v++) {
        start_with("NEURON_RT_NUM_CORES", *v);
        assert_true(api_log_has("WARN   NRT:nrt_init"));
        assert_true(api_log_has("NEURON_RT_NUM_CORES"));
        assert_ok(nrt_get_visible_vnc_count(&n));
        assert_int_equal(n, 2); /* the default: all */
    }
    unsetenv("NEURON_RT_LOG_LEVEL");
    start_with("NEURON_RT_NUM_CORES", NULL);
    api_log_clear();
    PROVES("api-269");
}

/* ---- device time ---- */

/* What frameworks are told about overlap is none of the runtime's business. */
static void variables_of_frameworks_are_passed_over(void **state)
{
    static const char *const names[] = {
        "NEURON_FSDP", "NEURON_FSDP_CC_MULTISTREAM", "NEURON_NXD_FSDP_CC_MULTISTREAM",
        "NEURON_FSDP_NUM_LAYER_EARLY_AG_SHIFT", "NEURON_FSDP_NUM_LAYER_LATE_RS_SHIFT"};
    static const char *const values[] = {"1", "no number", ""};

    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1);
    for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            setenv(names[i], values[v], 1);
        start_with("NEURON_FSDP", values[v]);
        assert_string_equal(api_log(), "");
        (void)load_at(neff_add(64), 0, -1);
        assert_string_equal(api_log(), "");
    }
    PROVES("ovl-011");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
    start_with("NEURON_RT_LOG_LEVEL", NULL);
}

/* Off: no record. On, read at the load: one record for each execution, with the same figure for the
 * same program, and twice as much device time is not less. */
static void device_time_is_logged_when_asked(void **state)
{
    double us[4] = {0};
    nrt_model_t *m;
    struct io io;

    start_with("NEURON_RT_LOG_LEVEL", "INFO");
    for (int k = 0; k < 4; k++) {
        uint64_t n = k == 3 ? 1 << 20 : 1 << 10;
        unsigned records = 0;

        if (k)
            setenv("OPENNRT_DEVICE_TIME", "1", 1);
        m = load_at(neff_add(n), 0, -1);
        unsetenv("OPENNRT_DEVICE_TIME");
        io_init(&io);
        io_add(&io, true, "a", DEV, 0, n * 4);
        io_add(&io, true, "b", DEV, 0, n * 4);
        io_add(&io, false, "c", DEV, 0, n * 4);
        api_log_clear();
        for (int run = 0; run < 2; run++)
            assert_ok(nrt_execute(m, io.in, io.out));
        for (const char *p = api_log(); (p = strstr(p, "INFO  NMGR:device_time ")); p++) {
            const char *at = strstr(p, "model add: device time ");
            double got = 0;

            assert_non_null(at);
            assert_int_equal(sscanf(at, "model add: device time %lf us;", &got), 1);
            assert_true(got > 0 && (us[k] == 0 || us[k] == got));
            us[k] = got;
            records++;
        }
        assert_int_equal(records, k ? 2 : 0);
        io_fini(&io);
        assert_ok(nrt_unload(m));
    }
    assert_true(us[1] == us[2]);
    /* Two reads and one write of 4 MiB, against those of 4 KiB. */
    assert_true(us[3] > us[1]);
    start_with("NEURON_RT_LOG_LEVEL", NULL);
    api_log_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scratchpad_variables),
        cmocka_unit_test(memory_report_variable),
        cmocka_unit_test(allocation_log_variable),
        cmocka_unit_test(process_tag_is_for_the_tools_to_see),
        cmocka_unit_test(accepted_variables_are_checked_and_printed),
        cmocka_unit_test(reading_rules),
        cmocka_unit_test(variables_of_frameworks_are_passed_over),
        cmocka_unit_test(device_time_is_logged_when_asked),
    };

    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
