/* SPDX-License-Identifier: Apache-2.0 */
/* Executions that fail, and what is then printed: behaviour.md 5 and 8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "device/device.h"
#include "models.h"
#include "neffs.h"
#include "proves.h"

/* ---- the information dump ---- */

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

/* ---- timeouts ---- */

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

/* ---- out of bounds, inputs to files ---- */

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

/* ---- logical and numerical errors ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(execute_that_hangs_is_reported_at_once),
        cmocka_unit_test(execute_without_end_is_stopped_by_the_timeout_of_its_load),
        cmocka_unit_test(execute_out_of_bounds_gives_the_documented_lines),
        cmocka_unit_test(execute_dumps_inputs_when_asked),
        cmocka_unit_test(execute_under_a_check_completes_with_an_error),
        cmocka_unit_test(nan_is_an_error_only_when_asked),
    };

    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
