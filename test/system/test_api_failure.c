/* SPDX-License-Identifier: Apache-2.0 */
/* Executions that fail, and what is then printed: behaviour.md 5 and 8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <regex.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "device/device.h"
#include "models.h"
#include "neff/asm.h"
#include "neffs.h"
#include "proves.h"

/* ---- the information dump ---- */

/* The dump record by record: label and form of each, nothing between them, and the line of the call
 * behind it (behaviour.md 5). */
static void expect_infodump(const char *failure, const char *func, const char *vnc)
{
    static const struct {
        const char *form; /* of the message; with %s: failure, function, core */
        const char *id;
    } records[] = {
        {"Neuron runtime information - please include in any support request:", NULL},
        {"------------->8------------\\[ cut here \\]------------>8-------------", NULL},
        {"NRT version: [0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+ \\([0-9a-f]{40}\\)", "dump-038"},
        {"Embedded FW version: [^(]*software device[^(]* \\([0-9a-f]{40}\\) loaded from \"[^\"]+\"",
         "dump-039"},
        {"CCOM version: [^ ]+ \\(compat [0-9]+\\)", "dump-040"},
        {"NCFW version: [^(]+ \\([0-9a-f]{40}\\)", "dump-041"},
        {"Instance ID: [^ ]+", "dump-042"},
        {"Cluster ID: [0-9]+", "dump-043"},
        {"Kernel: Linux [^ ]+ .+", "dump-044"},
        {"Nodename: [^ ]+", "dump-045"},
        {"Driver version: .*software device.*", "dump-046"},
        {"", NULL}, /* the one without a prefix */
        {"Failure: %s in %s\\(\\)", "dump-047"},
        {"LNC: %s", "dump-048"},
        {"Visible cores: 0,1", "dump-049"},
        {"Environment:", NULL},
        {"    (NEURON|OPENNRT)_[A-Z_0-9]+=.*", "dump-050"}, /* one and more */
        {"-------------8<-----------\\[ cut to here \\]-----------8<------------", "dump-037"},
    };
    char *copy = strdup(api_log()), *line = NULL, *at;
    size_t r = 0, count = sizeof(records) / sizeof(records[0]);

    at = strstr(copy, "NRT:nrt_infodump");
    assert_non_null(at);
    while (at > copy && at[-1] != '\n')
        at--;
    for (line = strsep(&at, "\n"); line && r < count; line = strsep(&at, "\n")) {
        char form[256], whole[512];
        regex_t re;
        int match;

        if (strcmp(records[r].form, "Failure: %s in %s\\(\\)") == 0)
            snprintf(form, sizeof(form), "Failure: %s in %s\\(\\)", failure, func);
        else if (strcmp(records[r].form, "LNC: %s") == 0)
            snprintf(form, sizeof(form), "LNC: %s", vnc);
        else
            snprintf(form, sizeof(form), "%s", records[r].form);
        if (form[0])
            snprintf(whole, sizeof(whole),
                     "^[0-9]{4}-[A-Z][a-z]{2}-[0-9]{2} [0-9:]{8}\\.[0-9]{6} +[0-9]+:[0-9]+ +ERROR "
                     "+NRT:nrt_infodump {28}%s$",
                     form);
        else
            snprintf(whole, sizeof(whole), "^$");
        assert_int_equal(regcomp(&re, whole, REG_EXTENDED | REG_NOSUB), 0);
        match = regexec(&re, line, 0, NULL, 0);
        regfree(&re);
        if (match != 0)
            fail_msg("\"%s\" is not \"%s\" in\n%s", line, form, api_log());
        if (records[r].id)
            PROVES(records[r].id);
        /* The environment is as long as it is. */
        if (strncmp(form, "    (NEURON", 11) != 0 ||
            (!strstr(at, "    NEURON_") && !strstr(at, "    OPENNRT_")))
            r++;
    }
    assert_int_equal(r, count);
    assert_non_null(line);
    assert_non_null(strstr(line, "NRT:nrt_execute_repeat                      Failed to execute "
                                 "model "));
    PROVES("dump-052");
    free(copy);
}

/* ---- timeouts ---- */

static void execute_that_hangs_is_reported_at_once(void **state)
{
    nrt_model_t *m = load_at(neff_hang(), 1, -1), *ok = load_at(neff_copy(4, false), 1, -1);
    struct io io;

    setenv("OPENNRT_JOB_KEY", "the key of the job", 1);
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
        assert_true(api_log_has("    NEURON_RT_LOG_LOCATION_NRT=/"));
        assert_true(api_log_has("    OPENNRT_INSTANCE="));
        assert_true(api_log_has("    OPENNRT_JOB_KEY=(not shown)\n"));
        assert_false(api_log_has("of the job")); /* the key */
        /* The core takes the next execution. */
        assert_ok(nrt_execute(ok, io.in, io.out));
    }
    assert_int_equal(nrt_tensor_check_output_completion(io.t[1], 0, 3), NRT_TIMEOUT);
    unsetenv("OPENNRT_JOB_KEY");
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
    assert_true(api_log_has("ERROR  TDRV:exec_wait_round_robin                   "
                            "(FATAL-RT-UNDEFINED-STATE) execution timeout (1000 ms) on Neuron "
                            "Device 0 NC 0, model endless, waiting for execution completion "
                            "notification\n"));
    expect_infodump("NRT_TIMEOUT", "nrt_execute", "0");
    PROVES("dump-053");
    PROVES("api-215");
    io_fini(&io);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

/* 30 s of device time, which many waits for small transfers reach in seconds here. */
static void execute_without_end_is_stopped_after_30_s_by_default(void **state)
{
    nrt_model_t *m;
    struct io io;

    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    m = load(neff_endless_dma());
    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    io_add(&io, false, "c", DEV, 0, 4);
    api_log_clear();
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_TIMEOUT);
    assert_true(api_log_has("execution timeout (30000 ms) on Neuron Device 0 NC 0, model "
                            "endless-dma, waiting for execution completion notification\n"));
    PROVES("dump-054");
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
        PROVES("dump-059");
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
    PROVES("dump-061");
    io_fini(&io);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

/* table[ids[r], :] += src[r, :], by a queue set of the given type. */
static struct bytes neff_scatter(const char *type)
{
    static const char form[] =
        ".name scatter\nvar ids: input i32[4, 1]\nvar src: input f32[4, 8]\n"
        "var table: output f32[16, 8]\n"
        "queue qIn: in owner=sp n=16\nqueue qUp: %s owner=pool n=16\n"
        "sem ids_in, src_in, done\n"
        "tile I: sbuf i32[4, 1]\ntile S: sbuf f32[4, 8]\n"
        "sp:\n    dma on qIn -> ids_in: I <- ids\n    dma on qIn -> src_in: S <- src\n"
        "    wait done >= 16: end\n"
        "pool:\n    wait ids_in >= 16: nop\n    wait src_in >= 16: dma_dyn table[I, :], S, "
        "queue=qUp, op=add, sem=done\n";
    struct neff_asm_options o = {.file = "scatter.nasm"};
    struct neff_asm_info info;
    struct neff_build *b = NULL;
    struct neff_error error = {0};
    char text[1024];

    snprintf(text, sizeof(text), form, type);
    if (neff_asm_text(text, strlen(text), &o, &b, &info, &error) != NRT_SUCCESS)
        fail_msg("%s", error.text);
    return neff_finish(b, NULL);
}

/* The queue set says what the transfer is for, and the text follows it. */
static void execute_out_of_bounds_of_an_embedding_update_says_so(void **state)
{
    static const struct {
        const char *type, *what;
    } t[] = {{"embedding_update", "embedding table update"},
             {"dynamic", "scatter/gather (indirect memory copy via vector DGE)"}};
    float src[4][8], zero[16][8] = {{0}}, got[16][8];
    char line[256];

    for (unsigned r = 0; r < 4; r++)
        for (unsigned c = 0; c < 8; c++)
            src[r][c] = (float)(10 * r + c + 1);
    for (unsigned k = 0; k < 2; k++) {
        nrt_model_t *m = load_at(neff_scatter(t[k].type), 0, -1);
        int32_t ids[4] = {3, 15, 0, 7};
        struct io io;

        io_init(&io);
        io_add(&io, true, "ids", DEV, 0, sizeof(ids));
        io_add(&io, true, "src", DEV, 0, sizeof(src));
        io_add(&io, false, "table", DEV, 0, sizeof(zero));
        assert_ok(nrt_tensor_write(io.t[0], ids, 0, sizeof(ids)));
        assert_ok(nrt_tensor_write(io.t[1], src, 0, sizeof(src)));
        assert_ok(nrt_tensor_write(io.t[2], zero, 0, sizeof(zero)));
        assert_ok(nrt_execute(m, io.in, io.out));
        assert_ok(nrt_execute(m, io.in, io.out));
        assert_ok(nrt_tensor_read(io.t[2], got, 0, sizeof(got)));
        for (unsigned r = 0; r < 4; r++) /* added twice, exactly */
            for (unsigned c = 0; c < 8; c++)
                assert_true(got[ids[r]][c] == 2 * src[r][c]);
        assert_memory_equal(got[1], zero[1], sizeof(got[1]));

        ids[2] = 16;
        assert_ok(nrt_tensor_write(io.t[0], ids, 0, sizeof(ids)));
        api_log_clear();
        assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_OOB);
        snprintf(
            line, sizeof(line),
            "Received notification generated at runtime: failed to run %s, due to out-of-bound "
            "access. model name = scatter.",
            t[k].what);
        assert_true(api_log_has(line));
        snprintf(line, sizeof(line), "failed to run %s", t[!k].what);
        assert_false(api_log_has(line));
        io_fini(&io);
        assert_ok(nrt_unload(m));
    }
    PROVES("dump-060");
    api_log_clear();
}

static int64_t ns_of(const struct stat *sb)
{
    return (int64_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec;
}

/* A failed execution with the variable set to value; "0" asks for nothing. */
static void dump_inputs_by(const char *variable, const char *value)
{
    char dir[] = "/tmp/opennrt-dump-XXXXXX", cwd[4096], path[512], text[64];
    bool wanted = strcmp(value, "0") != 0;
    struct stat sb;
    int64_t newest;
    int32_t bad = 8;
    nrt_model_t *m;
    struct io io;
    struct dirent *e;
    bool found = false;
    DIR *d;

    nrt_close();
    setenv(variable, value, 1);
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
    assert_int_equal(api_log_has("TDRV:tensor_dump_inputs                      2 input tensors "
                                 "were dumped successfully to directory input_dump_"),
                     wanted);
    assert_int_equal(api_log_has(". Model name is index\n"), wanted);
    if (wanted)
        PROVES("dump-064");
    d = opendir(".");
    while ((e = readdir(d))) {
        unsigned number, id;
        FILE *f;

        if (sscanf(e->d_name, "input_dump_%u_h_nn_%u", &number, &id) != 2)
            continue;
        assert_false(found);
        found = true;
        assert_int_equal(id, 1001); /* the first load of the session */
        snprintf(path, sizeof(path), "input_dump_%u_h_nn_%u", number, id);
        assert_string_equal(e->d_name, path);
        assert_true(number <= INT32_MAX);
        PROVES("dump-062");
        snprintf(path, sizeof(path), "%s/i.bin", e->d_name);
        f = fopen(path, "rb");
        assert_non_null(f);
        bad = 0;
        assert_int_equal(fread(&bad, 4, 1, f), 1);
        fclose(f);
        assert_int_equal(bad, 8);
        assert_int_equal(stat(path, &sb), 0);
        newest = ns_of(&sb);
        unlink(path);
        snprintf(path, sizeof(path), "%s/a.bin", e->d_name);
        assert_int_equal(stat(path, &sb), 0);
        assert_int_equal(sb.st_size, 32);
        newest = ns_of(&sb) > newest ? ns_of(&sb) : newest;
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof(path), "%s/model_name.txt", e->d_name);
        assert_int_equal(stat(path, &sb), 0);
        assert_true(ns_of(&sb) >= newest); /* written last */
        f = fopen(path, "rb");
        assert_non_null(f);
        assert_non_null(fgets(text, sizeof(text), f));
        fclose(f);
        assert_string_equal(text, "index");
        PROVES("dump-063");
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof(path), "%s", e->d_name);
        assert_int_equal(rmdir(path), 0);
    }
    closedir(d);
    assert_int_equal(found, wanted);
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
    dump_inputs_by("NEURON_RT_DBG_DUMP_INPUTS_ON_ERR", "1006");
    PROVES("api-226");
    dump_inputs_by("NEURON_RT_DUMP_INPUTS_ON_ERR", "1006"); /* its older name */
    PROVES("api-227");
    dump_inputs_by("NEURON_RT_DBG_DUMP_INPUTS_ON_ERR", "0");
    PROVES("dump-065");
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

/* Who asks for a check that there is not must not take the program for clean. */
static void an_unknown_check_is_refused_by_name(void **state)
{
    static const struct {
        const char *value;
        NRT_STATUS status;
    } rows[] = {{"", NRT_SUCCESS},
                {" race , UNINIT,", NRT_SUCCESS},
                {"races", NRT_INVALID},
                {"race,uninit,all", NRT_INVALID},
                {"rac", NRT_INVALID}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        api_log_clear();
        setenv("OPENNRT_CHECK", rows[i].value, 1);
        if (load_status(neff_nothing(64), 0, 1) != rows[i].status)
            fail_msg("\"%s\"\n%s", rows[i].value, api_log());
        unsetenv("OPENNRT_CHECK");
        assert_int_equal(api_log_has("is neither race nor uninit"), rows[i].status != NRT_SUCCESS);
    }
    api_log_clear();
}

static void nan_is_an_error_only_when_asked(void **state)
{
    static const char *const names[] = {NULL, "NEURON_RT_NUMERICAL_ERRORS_VERBOSITY",
                                        "NEURON_FAIL_ON_NAN"};
    float inf = __builtin_inff(), zero = 0, two = 2;

    for (int k = 0; k < 3; k++) {
        uint64_t errors, runs;
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
        errors = counter(0, DEVICE_CTR_COMPLETED_WITH_NUM_ERROR);
        runs = counter(0, DEVICE_CTR_SUCCESS);
        assert_int_equal(nrt_execute(m, io.in, io.out),
                         k ? NRT_EXEC_COMPLETED_WITH_NUM_ERR : NRT_SUCCESS);
        assert_int_equal(counter(0, DEVICE_CTR_COMPLETED_WITH_NUM_ERROR), errors + (k != 0));
        assert_int_equal(counter(0, DEVICE_CTR_SUCCESS), runs + (k == 0));
        assert_int_equal(api_log_has("Failed to execute model multiply with status 1003"), k != 0);
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
    PROVES("dump-057");
    PROVES("dump-058");
    PROVES("api-224");
    PROVES("api-225");
    api_log_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(execute_that_hangs_is_reported_at_once),
        cmocka_unit_test(execute_without_end_is_stopped_by_the_timeout_of_its_load),
        cmocka_unit_test(execute_without_end_is_stopped_after_30_s_by_default),
        cmocka_unit_test(execute_out_of_bounds_gives_the_documented_lines),
        cmocka_unit_test(execute_out_of_bounds_of_an_embedding_update_says_so),
        cmocka_unit_test(execute_dumps_inputs_when_asked),
        cmocka_unit_test(execute_under_a_check_completes_with_an_error),
        cmocka_unit_test(an_unknown_check_is_refused_by_name),
        cmocka_unit_test(nan_is_an_error_only_when_asked),
    };

    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
