/* SPDX-License-Identifier: Apache-2.0 */
/* Every fault point failed at every hit of an execution that fails and dumps: the status is that of
 * the execution, nothing is leaked, and the next one dumps again. Linked with the runtime's
 * objects, so that it can arm the points. */
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
#include "base/fault.h"
#include "models.h"
#include "neffs.h"
#include "proves.h"
#include "runner.h"

static char dir[] = "/tmp/libnrt-dump-fault-XXXXXX";

/* Files of cores in the directory, which is emptied; *ret_whole: those that end as they should. */
static unsigned take_files(unsigned *ret_whole)
{
    DIR *d = opendir(dir);
    unsigned n = 0;

    *ret_whole = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        size_t size;
        char *text;

        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        if (strstr(e->d_name, "-lid-")) {
            text = read_file(path, &size);
            assert_true(size == 0 || text[size - 1] == '\n'); /* whole lines, whatever failed */
            *ret_whole += size > 0 && memmem(text, size, "\nend lines=", 11) != NULL;
            n++;
            free(text);
        }
        assert_int_equal(unlink(path), 0);
    }
    closedir(d);
    return n;
}

static void a_dump_that_fails_changes_no_status(void **state)
{
    nrt_model_t *m = load(neff_hang());
    struct io io;
    unsigned whole, fds;

    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_TIMEOUT);
    assert_int_equal(take_files(&whole), 1);
    assert_int_equal(whole, 1);
    fds = runner_open_fds();
    for (int p = 0; p < FAULT_POINT_COUNT; p++) {
        uint64_t hits;
        unsigned cut = 0;

        fault_count_start();
        assert_int_equal(nrt_execute(m, io.in, io.out), NRT_TIMEOUT);
        hits = fault_count((enum fault_point)p);
        fault_disarm();
        (void)take_files(&whole);
        for (uint64_t hit = 1; hit <= hits; hit++) {
            fault_arm((enum fault_point)p, hit);
            assert_int_equal(nrt_execute(m, io.in, io.out), NRT_TIMEOUT);
            fault_disarm();
            (void)take_files(&whole);
            cut += whole == 0;
            assert_int_equal(runner_open_fds(), fds);
        }
        assert_int_equal(nrt_execute(m, io.in, io.out), NRT_TIMEOUT);
        assert_int_equal(take_files(&whole), 1);
        assert_int_equal(whole, 1);
        /* The points are on the way: the folder, the file and each of its lines; the child. */
        if (p == FAULT_FILE)
            assert_true(cut > 20 && cut < hits);
        if (p == FAULT_THREAD)
            assert_int_equal(hits, 1);
        printf("point %d: %llu hits, %u dumps cut short\n", p, (unsigned long long)hits, cut);
    }
    PROVES("dump-029");
    io_fini(&io);
    assert_ok(nrt_unload(m));
    api_log_clear();
    (void)state;
}

static int setup(void **state)
{
    int rc;

    assert_non_null(mkdtemp(dir));
    api_env("trn1.2xlarge", 0);
    setenv("NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY", dir, 1);
    setenv("OPENNRT_NEURON_DUMP", "/bin/true", 1);
    rc = nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "");
    (void)state;
    return rc;
}

static int teardown(void **state)
{
    nrt_close();
    api_env_end();
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dump_that_fails_changes_no_status),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
