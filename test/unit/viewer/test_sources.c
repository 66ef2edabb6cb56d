/* SPDX-License-Identifier: Apache-2.0 */
/* How much of source files is read: a file of more than 16 MiB is none, and what is kept of all
 * that a profile names ends at 256 MiB, also where it names one file by many names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "viewer/sources.h"

#define MIB (1 << 20)

static char root[64];

/* A file with this first line, and holes. */
static void file_make(const char *name, const char *line, off_t size)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", root, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fprintf(f, "%s\n", line) > 0);
    assert_int_equal(fflush(f), 0);
    assert_int_equal(ftruncate(fileno(f), size), 0);
    assert_int_equal(fclose(f), 0);
}

static const char *line_of(const struct viewer_source *s, const char *name)
{
    const char *where;

    return s->line(s->arg, name, 1, &where);
}

static void texts_have_a_limit(void **state)
{
    struct viewer_sources s = {0};
    const struct viewer_source *view;
    char name[32];

    (void)state;
    file_make("f", "the first line", 16 * MIB);
    file_make("long", "too long", 16 * MIB + 1);
    file_make("short", "short", 10);
    assert_true(viewer_sources_root(&s, VIEWER_ROOT_FRAMEWORK, root));
    view = viewer_sources_view(&s);
    assert_null(line_of(view, "long"));
    for (int i = 0; i < 16; i++) { /* one file below the root, by sixteen names */
        snprintf(name, sizeof(name), "there%d/f", i);
        assert_string_equal(line_of(view, name), "the first line");
        assert_int_equal(s.bytes, (i + 1) * (uint64_t)(16 * MIB));
    }
    assert_null(line_of(view, "seventeenth/f"));
    assert_null(line_of(view, "short"));
    assert_string_equal(line_of(view, "there3/f"), "the first line"); /* what is kept stays */
    assert_int_equal(s.bytes, UINT64_C(256) * MIB);
    viewer_sources_fini(&s);
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/test-view-sources-XXXXXX");
    return mkdtemp(root) ? 0 : 1;
}

static int teardown(void **state)
{
    char cmd[96];

    (void)state;
    snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
    return system(cmd) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_have_a_limit)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
