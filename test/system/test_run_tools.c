/* SPDX-License-Identifier: Apache-2.0 */
/* `opennrt run` and examples/run_neff on small NEFFs. */
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
#include "base/npy.h"
#include "neffs.h"
#include "proves.h"
#include "runner.h"

static char dir[] = "/tmp/libnrt-run-XXXXXX";
static char cwd[4096];

static void put(const char *name, const void *data, size_t size)
{
    FILE *f = fopen(name, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

static size_t get(const char *name, void *data, size_t size)
{
    FILE *f = fopen(name, "rb");
    size_t n = 0;

    if (f) {
        n = fread(data, 1, size, f);
        fclose(f);
    }
    return n;
}

static void put_neff(const char *name, struct bytes f)
{
    put(name, f.data, f.size);
    neff_free(&f);
}

/* Runs a program; its output goes to out. */
static int run(const char *const *argv, char *out, size_t size)
{
    struct runner_proc p;
    char line[1024];

    out[0] = '\0';
    assert_true(runner_start_program(&p, argv, NULL));
    while (runner_line(&p, line, sizeof(line), RUNNER_WAIT_MS))
        snprintf(out + strlen(out), size - strlen(out), "%s\n", line);
    return runner_wait(&p, RUNNER_WAIT_MS);
}
#define RUN(out, ...) run((const char *const[]){__VA_ARGS__, NULL}, out, sizeof(out))

/* An array of `size` bytes. */
static void npy_put(const char *name, enum dtype t, unsigned ndim, const uint64_t *shape,
                    const void *v, size_t size)
{
    struct strbuf b = {0};

    assert_true(npy_write_header(&b, t, ndim, shape));
    strbuf_putn(&b, v, size);
    put(name, b.s, b.len);
    strbuf_fini(&b);
}

static void opennrt_run_reads_and_writes_npy(void **state)
{
    float a[4] = {1, 2, 3, 4}, b[4] = {0.5, 0.25, -3, 100};
    static const uint64_t four = 4;
    struct npy_desc d;
    uint8_t buf[512];
    char out[4096];
    size_t n;

    put_neff("add.neff", neff_add(4));
    npy_put("a.npy", DT_FP32, 1, &four, a, 16);
    put("b.bin", b, sizeof(b)); /* raw */
    assert_int_equal(RUN(out, OPENNRT, "run", "add.neff", "--input", "a=a.npy", "--input",
                         "b=b.bin", "--output", "results", "--repeat", "3"),
                     0);
    assert_non_null(strstr(out, "software device"));
    assert_non_null(strstr(out, "input  a: float32 [4], 16 bytes"));
    assert_non_null(strstr(out, "3 executions"));
    n = get("results/c.npy", buf, sizeof(buf));
    assert_int_equal(npy_parse(buf, n, &d, NULL), NRT_SUCCESS);
    assert_int_equal(d.dtype, DT_FP32);
    assert_int_equal(d.ndim, 1);
    assert_int_equal(d.data_off + d.data_bytes, n);
    for (int i = 0; i < 4; i++) {
        float v;

        memcpy(&v, buf + d.data_off + 4 * i, 4);
        assert_true(v == a[i] + b[i]);
    }
    /* Shown when no folder is given; inputs that are not given are zero. */
    assert_int_equal(RUN(out, OPENNRT, "run", "add.neff", "-i", "a=a.npy"), 0);
    assert_non_null(strstr(out, "  c = 1 2 3 4\n"));
}

/* As many bytes are not enough: of an array, type and shape are the input's, too. */
static void opennrt_run_takes_arrays_that_fit(void **state)
{
    static const struct {
        enum dtype t;
        unsigned ndim;
        uint64_t shape[3];
        int rc;
    } rows[] = {{DT_FP32, 1, {4}, 0},     {DT_FP32, 2, {1, 4}, 0}, {DT_FP32, 3, {1, 4, 1}, 0},
                {DT_INT32, 1, {4}, 1},    {DT_UINT8, 1, {16}, 1},  {DT_FP32, 2, {2, 2}, 1},
                {DT_BF16, 2, {2, 4}, 1},  {DT_FP16, 1, {8}, 1},    {DT_FP32, 3, {2, 1, 2}, 1},
                {DT_UINT64, 2, {1, 2}, 1}};
    static const float v[4] = {1, 2, 3, 4};
    char out[4096];

    put_neff("add.neff", neff_add(4));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        npy_put("x.npy", rows[i].t, rows[i].ndim, rows[i].shape, v, 16);
        if (RUN(out, OPENNRT, "run", "add.neff", "-i", "a=x.npy") != rows[i].rc)
            fail_msg("row %zu: %s", i, out);
        if (rows[i].rc == 0)
            assert_non_null(strstr(out, "  c = 1 2 3 4\n"));
    }
}

/* The sizes of a matrix, one by one: what is transposed or cut into other rows has as many. */
static void opennrt_run_takes_matrices_that_fit(void **state)
{
    static const char text[] = "var a: input f32[4, 8]\nvar c: output f32[4, 8]\n"
                               "queue q: data owner=sp n=16\nsem moved\nsp:\n"
                               "    dma on q -> moved: c <- a\n    wait moved >= 16: end\n";
    static const struct {
        unsigned ndim;
        uint64_t shape[4];
        int rc;
    } rows[] = {{2, {4, 8}, 0}, {4, {1, 4, 1, 8}, 0}, {2, {8, 4}, 1},   {2, {2, 16}, 1},
                {1, {32}, 1},   {3, {4, 2, 4}, 1},    {3, {4, 8, 1}, 0}};
    static const float v[32] = {1};
    char out[4096];

    (void)state;
    put("matrix.nasm", text, sizeof(text) - 1);
    assert_int_equal(RUN(out, OPENNRT, "asm", "matrix.nasm", "-o", "matrix.neff"), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        npy_put("x.npy", DT_FP32, rows[i].ndim, rows[i].shape, v, sizeof(v));
        if (RUN(out, OPENNRT, "run", "matrix.neff", "-i", "a=x.npy") != rows[i].rc)
            fail_msg("row %zu: %s", i, out);
    }
}

static void opennrt_run_refuses_what_is_wrong(void **state)
{
    static const char eight[8];
    char out[4096];
    size_t size;
    uint8_t *lib;
    FILE *f;

    put("short.bin", eight, sizeof(eight));
    assert_int_equal(RUN(out, OPENNRT, "run"), 2);
    assert_int_equal(RUN(out, OPENNRT, "run", "add.neff", "more"), 2);
    assert_int_equal(RUN(out, OPENNRT, "run", "add.neff", "--repeat", "0"), 2);
    assert_int_equal(RUN(out, OPENNRT, "run", "--help"), 0);
    assert_int_equal(RUN(out, OPENNRT, "run", "missing.neff"), 1);
    assert_int_equal(RUN(out, OPENNRT, "run", "."), 1);
    assert_int_equal(RUN(out, OPENNRT, "run", "short.bin"), 1);
    assert_int_equal(RUN(out, OPENNRT, "run", "add.neff", "-i", "z=a.npy"), 1);
    assert_int_equal(RUN(out, OPENNRT, "run", "add.neff", "-i", "a=short.bin"), 1);
    assert_int_equal(RUN(out, OPENNRT, "run", "add.neff", "-i", "a"), 1);

    /* Native code in the file runs only when the user says so. */
    f = fopen(CPU_NODE, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    size = (size_t)ftell(f);
    rewind(f);
    lib = malloc(size);
    assert_int_equal(fread(lib, 1, size, f), size);
    fclose(f);
    put_neff("graph.neff", neff_graph(4, "double_it", "negate_it", lib, size));
    free(lib);
    assert_int_equal(RUN(out, OPENNRT, "run", "graph.neff", "-i", "x=a.npy"), 1);
    assert_int_equal(RUN(out, OPENNRT, "run", "graph.neff", "-i", "x=a.npy", "--allow-cpu-nodes"),
                     0);
    assert_non_null(strstr(out, "  y = -2 -4 -6 -8\n"));
}

/* Two outputs that would be one file: nothing is executed and nothing written. */
static void opennrt_run_keeps_outputs_apart(void **state)
{
    static const char *const names[][2] = {{"a/b", "a_b"}, {"a/b", "a_c"}};
    static const uint64_t shape[1] = {4};
    char out[4096];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct neff_build *b = neff_build_create("apart");
        struct prog p;

        assert_non_null(b);
        neff_build_output(b, 0, names[i][0], "float32", 1, shape);
        neff_build_output(b, 0, names[i][1], "float32", 1, shape);
        prog_init(&p, ISA_SP);
        prog_done(&p, b, 0);
        put_neff("apart.neff", neff_finish(b, NULL));
        assert_int_equal(RUN(out, OPENNRT, "run", "apart.neff"), 0);
        assert_int_equal(RUN(out, OPENNRT, "run", "apart.neff", "-o", i ? "two" : "one"), !i);
        assert_true((strstr(out, "execution") != NULL) == (i == 1));
        assert_int_equal(access("one", F_OK), -1);
    }
    assert_int_equal(access("two/a_b.npy", F_OK), 0);
    assert_int_equal(access("two/a_c.npy", F_OK), 0);
}

/* What is no file is called what it is, and a pipe that nobody writes to is not waited for. */
static void opennrt_run_names_what_is_no_file(void **state)
{
    static const struct {
        const char *args, *told;
    } cases[] = {{"missing.neff", "missing.neff: No such file or directory"},
                 {".", ".: Is a directory"},
                 {"pipe", "pipe: a pipe, not a file"},
                 {"/dev/zero", "/dev/zero: a device, not a file"},
                 {"empty.neff", "empty.neff: empty file"},
                 {"add.neff -i a=pipe", "pipe: a pipe, not a file"},
                 {"add.neff -i a=/dev/null", "/dev/null: a device, not a file"}};
    char out[4096], command[512], line[256];

    put("empty.neff", "", 0);
    assert_int_equal(mkfifo("pipe", 0600), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(command, sizeof(command), "'%s' run %s 2>&1 >/dev/null", OPENNRT, cases[i].args);
        snprintf(line, sizeof(line), "opennrt run: %s\n", cases[i].told);
        assert_int_equal(RUN(out, "/bin/sh", "-c", command), 1);
        assert_string_equal(out, line);
    }
}

static void run_neff_has_the_guides_command_line(void **state)
{
    float a[4] = {1, 2, 3, 4}, b[4] = {10, 20, 30, 40}, c[5];
    char out[4096];

    put_neff("my.neff", neff_add(4));
    put("input_1.bin", a, sizeof(a));
    put("input_2.bin", b, sizeof(b));
    assert_int_equal(RUN(out, RUN_NEFF, "my.neff", "a", "input_1.bin", "b", "input_2.bin"), 0);
    assert_int_equal(get("c.out", c, sizeof(c)), 16);
    for (int i = 0; i < 4; i++)
        assert_true(c[i] == a[i] + b[i]);
    assert_int_equal(RUN(out, RUN_NEFF, "my.neff"), 0);
    assert_int_equal(get("c.out", c, sizeof(c)), 16);
    assert_true(c[3] == 0);
    PROVES("api-201");
    assert_int_equal(RUN(out, RUN_NEFF), 2);
    assert_int_equal(RUN(out, RUN_NEFF, "my.neff", "a"), 2);
    assert_int_equal(RUN(out, RUN_NEFF, "my.neff", "a", "my.neff"), 1);
    assert_int_equal(RUN(out, RUN_NEFF, "input_1.bin"), 1);
}

static int setup(void **state)
{
    api_env("trn1.2xlarge", 0);
    return !getcwd(cwd, sizeof(cwd)) || !mkdtemp(dir) || chdir(dir) != 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"add.neff",    "a.npy",       "b.bin",      "results/c.npy",
                                        "results",     "short.bin",   "graph.neff", "my.neff",
                                        "input_1.bin", "input_2.bin", "c.out",      "x.npy",
                                        "matrix.nasm", "matrix.neff"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        remove(names[i]);
    if (chdir(cwd) != 0)
        return 1;
    rmdir(dir);
    api_env_end();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opennrt_run_reads_and_writes_npy),
        cmocka_unit_test(opennrt_run_takes_arrays_that_fit),
        cmocka_unit_test(opennrt_run_takes_matrices_that_fit),
        cmocka_unit_test(opennrt_run_refuses_what_is_wrong),
        cmocka_unit_test(opennrt_run_keeps_outputs_apart),
        cmocka_unit_test(opennrt_run_names_what_is_no_file),
        cmocka_unit_test(run_neff_has_the_guides_command_line),
    };

    runner_watchdog(120);
    return cmocka_run_group_tests(tests, setup, teardown);
}
