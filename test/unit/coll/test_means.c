/* SPDX-License-Identifier: Apache-2.0 */
/* The file of opennrt tune: a good one is used; whatever else lies there is named in a warning, and
 * the fixed table holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "coll/means.h"

static char dir[64], file[128], warning[1024];

static void warn(void *arg, const char *text)
{
    (void)arg;
    snprintf(warning, sizeof(warning), "%s", text);
}

static const struct diag_sink sink = {.warn = warn};

/* The text of a table for that host, which differs from the fixed one. */
static void table(const char *host, struct strbuf *out)
{
    struct sched_tuning t;

    sched_tuning_default(&t);
    t.patience[0].spins = 12345;
    snprintf(t.host, sizeof(t.host), "%s", host);
    sched_tuning_print(&t, out);
    assert_false(out->failed);
}

static void table_here(struct strbuf *out)
{
    char host[SCHED_TUNE_HOST_MAX];

    means_host(host, sizeof(host));
    table(host, out);
}

static void put(const char *text, size_t size)
{
    struct err err = {0};

    if (means_write(file, text, size, &err))
        fail_msg("%s", err.text);
}

/* The fixed table, and a warning that says so and names `word`; word NULL: no warning. */
static void expect_fixed(const char *word)
{
    struct sched_tuning t, fixed;
    struct strbuf have = {0}, want = {0};

    sched_tuning_default(&fixed);
    warning[0] = 0;
    assert_false(means_load(&t, &sink));
    sched_tuning_print(&t, &have);
    sched_tuning_print(&fixed, &want);
    assert_string_equal(have.s, want.s);
    strbuf_fini(&have);
    strbuf_fini(&want);
    if (!word) {
        assert_string_equal(warning, "");
    } else if (!strstr(warning, word) || !strstr(warning, "fixed table")) {
        fail_msg("\"%s\" does not say \"%s\"", warning, word);
    }
}

static void used(void **state)
{
    struct strbuf b = {0};
    struct sched_tuning t;
    struct stat st;

    table_here(&b);
    put(b.s, b.len);
    warning[0] = 0;
    assert_true(means_load(&t, &sink));
    assert_int_equal(t.patience[0].spins, 12345);
    assert_string_equal(warning, "");
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    setenv("OPENNRT_TUNE", "0", 1);
    expect_fixed(NULL);
    setenv("OPENNRT_TUNE", file, 1);
    strbuf_fini(&b);
    (void)state;
}

/* Trying makes the folders, leaves what is there as it is, and nothing new. */
static void tried(void **state)
{
    char below[256], deep[300], longer[400];
    struct strbuf b = {0};
    struct stat before, after;
    struct err err = {0};

    table_here(&b);
    put(b.s, b.len);
    assert_int_equal(stat(file, &before), 0);
    assert_int_equal(means_try(file, &err), NRT_SUCCESS);
    assert_int_equal(stat(file, &after), 0);
    assert_true(before.st_ino == after.st_ino && before.st_size == after.st_size);
    snprintf(below, sizeof(below), "%s/below", dir);
    snprintf(deep, sizeof(deep), "%s/table", below);
    assert_int_equal(means_try(deep, &err), NRT_SUCCESS);
    assert_int_equal(rmdir(below), 0);              /* it is empty */
    snprintf(deep, sizeof(deep), "%s/table", file); /* a file is no folder */
    assert_int_equal(means_try(deep, &err), NRT_FAILURE);
    assert_non_null(strstr(err.text, "Not a directory"));
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    memcpy(longer, dir, strlen(dir));
    longer[strlen(dir)] = '/';
    err = (struct err){0};
    assert_int_equal(means_try(longer, &err), NRT_FAILURE);
    assert_non_null(strstr(err.text, "File name too long"));
    strbuf_fini(&b);
    (void)state;
}

static void absent(void **state)
{
    unlink(file);
    expect_fixed(NULL);
    (void)state;
}

static void stale(void **state)
{
    struct strbuf b = {0};

    table("a machine of long ago", &b);
    put(b.s, b.len);
    expect_fixed("another host");
    strbuf_fini(&b);
    (void)state;
}

static void hostile(void **state)
{
    struct strbuf b = {0};
    char *large = mem_zalloc(SCHED_TUNE_TEXT_MAX + 1), other[160];

    assert_non_null(large);
    table_here(&b);
    put(b.s, b.len);
    assert_int_equal(chmod(file, 0666), 0);
    expect_fixed("another user");
    put(b.s, b.len / 2);
    expect_fixed("");
    put("garbage", 7);
    expect_fixed("no table");
    put("", 0);
    expect_fixed("no table");
    put(large, SCHED_TUNE_TEXT_MAX + 1);
    expect_fixed("longer");
    put(large, SCHED_TUNE_TEXT_MAX);
    expect_fixed("no table");
    snprintf(other, sizeof(other), "%s.other", file);
    put(b.s, b.len);
    assert_int_equal(rename(file, other), 0);
    assert_int_equal(symlink(other, file), 0);
    expect_fixed("symbolic links");
    unlink(file);
    assert_int_equal(mkfifo(file, 0600), 0); /* nobody writes to it: no wait for ever */
    expect_fixed("no plain file");
    unlink(file);
    assert_int_equal(mkdir(file, 0700), 0);
    expect_fixed("no plain file");
    rmdir(file);
    unlink(other);
    mem_free(large);
    strbuf_fini(&b);
    (void)state;
}

static void places(void **state)
{
    char path[4096];

    unsetenv("OPENNRT_TUNE");
    setenv("XDG_CACHE_HOME", "/x", 1);
    setenv("HOME", "/h", 1);
    assert_true(means_path(path, sizeof(path)));
    assert_string_equal(path, "/x/opennrt/tune");
    unsetenv("XDG_CACHE_HOME");
    assert_true(means_path(path, sizeof(path)));
    assert_string_equal(path, "/h/.cache/opennrt/tune");
    unsetenv("HOME");
    assert_false(means_path(path, sizeof(path)));
    setenv("HOME", "relative", 1);
    assert_false(means_path(path, sizeof(path)));
    setenv("OPENNRT_TUNE", file, 1);
    assert_true(means_path(path, sizeof(path)));
    assert_string_equal(path, file);
    assert_false(means_path(path, strlen(file)));
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(used),    cmocka_unit_test(tried),
                                       cmocka_unit_test(absent),  cmocka_unit_test(stale),
                                       cmocka_unit_test(hostile), cmocka_unit_test(places)};
    int failed;

    strcpy(dir, "/tmp/opennrt-means-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    snprintf(file, sizeof(file), "%s/a/b/tune", dir);
    setenv("OPENNRT_TUNE", file, 1);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file);
    for (char *slash; (slash = strrchr(file, '/')) && strlen(file) > strlen(dir);) {
        *slash = 0;
        rmdir(file);
    }
    return failed;
}
