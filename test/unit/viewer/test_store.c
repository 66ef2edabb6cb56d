/* SPDX-License-Identifier: Apache-2.0 */
/* How a folder of results gets its name: docs/profiling.md, "In a browser". On the file system that
 * is there, and on those that know less: the program has its own renameat2, which refuses what they
 * refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "viewer/store.h"

static unsigned refused; /* flags of renameat2 */
static unsigned refusals;

int renameat2(int old_dir, const char *old, int new_dir, const char *new, unsigned flags)
{
    if (flags & refused) {
        refusals++;
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_renameat2, old_dir, old, new_dir, new, flags);
}

static char data[64];

static void path_of(const char *name, char path[256])
{
    snprintf(path, 256, "%s/profiles/global/%s@latest", data, name);
}

/* A folder of results that holds this word. False: errno of viewer_store_end. */
static bool store(const char *name, const char *word, bool replace)
{
    struct strbuf folder = {0}, file = {0};
    bool ok;
    int e;

    assert_true(viewer_store_begin(data, name, &folder));
    strbuf_printf(&file, "%s/word", folder.s);
    assert_true(fd_file_write(file.s, word, strlen(word), true));
    ok = viewer_store_end(data, name, folder.s, replace);
    e = errno;
    assert_int_not_equal(access(folder.s, F_OK), 0); /* it has the name, or is gone */
    strbuf_fini(&file);
    strbuf_fini(&folder);
    errno = e;
    return ok;
}

static void holds(const char *name, const char *word)
{
    char path[256], got[32] = "";
    FILE *f;

    path_of(name, path);
    strncat(path, "/word", sizeof(path) - strlen(path) - 1);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(got, sizeof(got), f));
    fclose(f);
    assert_string_equal(got, word);
}

/* Nothing but these names is in the folder of all profiles. */
static void are_kept(unsigned count)
{
    struct viewer_store_list l;
    char path[256], cmd[320];
    FILE *f;
    unsigned n = 0;

    assert_true(viewer_store_list(data, &l));
    assert_int_equal(l.count, count);
    viewer_store_list_fini(&l);
    snprintf(path, sizeof(path), "%s/profiles/global", data);
    snprintf(cmd, sizeof(cmd), "ls -A %s | wc -l", path);
    f = popen(cmd, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%u", &n), 1);
    pclose(f);
    assert_int_equal(n, count); /* nothing half done, under a hidden name */
}

/* New, there already, replaced, and a link, whose target stays. */
static void all_of_it(const char *name, unsigned before)
{
    char path[256], other[128];
    struct stat st;

    assert_true(store(name, "one", false));
    holds(name, "one");
    assert_false(store(name, "two", false));
    assert_int_equal(errno, EEXIST);
    holds(name, "one");
    are_kept(before + 1);
    assert_true(store(name, "three", true));
    holds(name, "three");
    are_kept(before + 1);

    path_of(name, path);
    viewer_store_remove(path);
    snprintf(other, sizeof(other), "%s/precious", data);
    assert_int_equal(symlink(other, path), 0);
    assert_false(store(name, "four", false));
    assert_int_equal(errno, EEXIST);
    assert_true(store(name, "five", true));
    holds(name, "five");
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(access(other, F_OK), 0);
    are_kept(before + 1);
}

static void names_are_swapped(void **state)
{
    (void)state;
    all_of_it("here", 0);
}

static void names_are_moved_where_they_cannot_be_swapped(void **state)
{
    (void)state;
    refused = RENAME_EXCHANGE;
    all_of_it("no exchange", 1);
    assert_true(refusals >= 2);
}

static void names_are_moved_where_no_flag_is_known(void **state)
{
    (void)state;
    refusals = 0;
    refused = RENAME_EXCHANGE | RENAME_NOREPLACE;
    all_of_it("no flag", 2);
    assert_true(refusals >= 5);
}

static int setup(void **state)
{
    char other[128];

    (void)state;
    snprintf(data, sizeof(data), "/tmp/test-view-store-XXXXXX");
    if (!mkdtemp(data))
        return 1;
    snprintf(other, sizeof(other), "%s/precious", data);
    return mkdir(other, 0755);
}

static int teardown(void **state)
{
    char cmd[96];

    (void)state;
    snprintf(cmd, sizeof(cmd), "rm -rf %s", data);
    return system(cmd) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_swapped),
        cmocka_unit_test(names_are_moved_where_they_cannot_be_swapped),
        cmocka_unit_test(names_are_moved_where_no_flag_is_known),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
