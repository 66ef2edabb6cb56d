/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of neuron-dump that nobody waits for: whoever puts them goes on at once, dump_later_wait
 * returns when the last of them has ended, and more may come afterwards. */
#include <pthread.h>
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

#include "diag/dump_int.h"
#include "runner.h"

#define RUNS 3

static char folder[] = "/tmp/libnrt-later-XXXXXX";

static const char *file(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* Does not end before the file "go" is there; each that ends adds a byte to "ended". */
static void tool_make(char *path, size_t size)
{
    FILE *f = fopen(file("tool"), "w");

    assert_non_null(f);
    fprintf(f, "#!/bin/sh\nuntil [ -e %s/go ]; do sleep 0.01; done\nprintf x >>%s/ended\n", folder,
            folder);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(file("tool"), 0755), 0);
    snprintf(path, size, "%s", file("tool"));
}

static unsigned ended(void)
{
    struct stat st;

    return stat(file("ended"), &st) == 0 ? (unsigned)st.st_size : 0;
}

static void *let_go(void *arg)
{
    FILE *f = fopen(file("go"), "w");

    return f && fclose(f) == 0 ? NULL : arg;
}

static void all_have_ended_when_the_wait_is_over(void **state)
{
    struct dump_later later = DUMP_LATER_INIT;
    struct dump_config cfg = {.later = &later};
    struct dump d = {.cfg = &cfg, .call = "call", .text = "text", .dir_fd = -1};
    pthread_t t;
    void *bad;

    dump_later_wait(&later); /* for nothing */
    tool_make(cfg.tool, sizeof(cfg.tool));
    for (unsigned i = 0; i < RUNS; i++)
        dump_tool_later(&d);
    assert_int_equal(ended(), 0);
    assert_int_equal(pthread_create(&t, NULL, let_go, &later), 0);
    dump_later_wait(&later);
    assert_int_equal(ended(), RUNS);
    pthread_join(t, &bad);
    assert_null(bad);
    for (unsigned i = 1; i <= RUNS; i++) { /* the thread has gone, or is about to */
        dump_tool_later(&d);
        if (i % 2 == 0)
            dump_later_wait(&later);
    }
    dump_later_wait(&later);
    assert_int_equal(ended(), 2 * RUNS);
    (void)state;
}

static int teardown(void **state)
{
    for (const char *const *name = (const char *const[]){"tool", "go", "ended", NULL}; *name;
         name++)
        (void)unlink(file(*name));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_have_ended_when_the_wait_is_over)};

    runner_watchdog(120);
    if (!mkdtemp(folder))
        return 1;
    return cmocka_run_group_tests_name("dump-later", tests, NULL, teardown);
}
