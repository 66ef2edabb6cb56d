/* SPDX-License-Identifier: Apache-2.0 */
/* Every fault point failed at every hit of an execution that fails and dumps: the status is that of
 * the execution, nothing is leaked, and the next one dumps again. And dumps of live pages that hold
 * nonsense. Linked with the runtime's objects, so that it can arm the points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/api_int.h"
#include "api_support.h"
#include "base/fault.h"
#include "diag/dump.h"
#include "draw.h"
#include "models.h"
#include "neffs.h"
#include "proves.h"
#include "runner.h"
#include "seed.h"

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
            assert_false(api_log_has("was ended after")); /* neuron-dump, which was not */
            assert_int_equal(runner_open_fds(), fds);
        }
        assert_int_equal(nrt_execute(m, io.in, io.out), NRT_TIMEOUT);
        assert_int_equal(take_files(&whole), 1);
        assert_int_equal(whole, 1);
        /* The points are on the way: the folder, the file and each of its lines; the child, and the
         * descriptor for it. */
        if (p == FAULT_FILE)
            assert_true(cut > 20 && cut < hits);
        if (p == FAULT_THREAD)
            assert_int_equal(hits, 2);
        printf("point %d: %llu hits, %u dumps cut short\n", p, (unsigned long long)hits, cut);
    }
    PROVES("dump-029");
    io_fini(&io);
    assert_ok(nrt_unload(m));
    api_log_clear();
    (void)state;
}

static uint64_t draw_state;

/* A page as a process that went wild may leave it: any bytes, or a program that lies anywhere in an
 * HBM and is as long as that. */
static void make_nonsense(struct device_live_page *p, unsigned round)
{
    uint8_t *bytes = (uint8_t *)p;

    for (size_t i = 0; round % 2 == 0 && i < sizeof(*p); i++)
        bytes[i] = (uint8_t)draw_next(&draw_state);
    if (round % 2 != 0) {
        uint64_t off = draw_next(&draw_state) % (UINT64_C(16) << 30);

        p->code_addr = DEVICE_ADDR(0, off);
        p->code_bytes = (UINT64_C(16) << 30) - off;
        for (unsigned e = 0; e < DEVICE_ENGINES; e++)
            p->engine[e].pc = draw_next(&draw_state) >> draw_next(&draw_state) % 64;
    }
    p->flights.next = 1 + draw_next(&draw_state) % DEVICE_FLIGHTS;
    for (unsigned i = 0; i < DEVICE_FLIGHTS; i++)
        p->flights.flight[i].number = i + 1;
}

/* Such a page is dumped whole, with handlers' means and others', and no memory is made for it. */
static void a_page_of_nonsense_is_dumped(void **state)
{
    nrt_model_t *m = load(neff_hang());
    struct device_live_page *p = device_live(api_.in, 0), *saved = malloc(sizeof(*saved));
    struct io io;
    unsigned whole;

    draw_state = seed_take(1);
    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_TIMEOUT);
    assert_int_equal(take_files(&whole), 1);
    assert_non_null(saved);
    memcpy(saved, p, sizeof(*p));
    for (unsigned round = 0; round < 64; round++) {
        struct dump d = {.cfg = &api_.dump,
                         .status = NRT_FAILURE,
                         .call = "nrt_execute",
                         .text = "nonsense",
                         .quick = round % 4 < 2};

        make_nonsense(p, round);
        fault_count_start();
        dump_begin(&d, 0);
        dump_core(&d, 0, NULL, 0);
        dump_end(&d);
        assert_int_equal(fault_count(FAULT_BACKING), 0);
        fault_disarm();
        assert_int_equal(take_files(&whole), 2);
        assert_int_equal(whole, 2);
        memcpy(p, saved, sizeof(*p));
    }
    free(saved);
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
    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1);
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
        cmocka_unit_test(a_page_of_nonsense_is_dumped),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
