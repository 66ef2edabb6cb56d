/* SPDX-License-Identifier: Apache-2.0 */
/* The API trace, which goes into a file: functions 69 and 70 of section 7 of api.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "models.h"
#include "proves.h"
#include "trace_doc.h"

static void api_trace_writes_a_file(void **state)
{
    char path[64];
    struct fetched f;
    struct add_job j;

    snprintf(path, sizeof(path), "/tmp/test-api-trace-%d.json", (int)getpid());
    assert_fails(nrt_trace_stop(path), NRT_FAILURE, "nrt_trace_stop");
    assert_int_not_equal(access(path, F_OK), 0);
    for (int mem = 0; mem < 2; mem++) {
        assert_ok(nrt_trace_start(mem));
        assert_fails(nrt_trace_start(mem), NRT_FAILURE, "nrt_trace_start");
        PROVES("api-071");
        add_job_init(&j, 0, 8);
        add_job_run(&j, 2);
        add_job_fini(&j);
        assert_fails(nrt_trace_stop(NULL), NRT_INVALID, "nrt_trace_stop");
        assert_fails(nrt_trace_stop("/no/such/folder/t"), NRT_INVALID, "nrt_trace_stop");
        assert_ok(nrt_trace_stop(path));
        assert_fails(nrt_trace_stop(path), NRT_FAILURE, "nrt_trace_stop");
        fetched_open(&f, path);
        assert_int_equal(fetched_count(&f, "nrt_execute", "stop"), 3);
        assert_int_equal(fetched_count(&f, "dmem_buf_copyin", "stop"), mem ? 2 : 0);
        fetched_close(&f);
        PROVES("api-072");
        assert_int_equal(unlink(path), 0);
    }
}

/* A disk that is full costs no event: the next try has all of them, and those since. */
static void api_trace_outlives_a_full_disk(void **state)
{
    enum { TIMES = 40 };
    char path[64];
    struct fetched f;
    struct stat st;
    struct add_job j;
    size_t room;

    snprintf(path, sizeof(path), "/tmp/test-api-full-%d.json", (int)getpid());
    assert_ok(nrt_trace_start(false));
    add_job_init(&j, 0, 8); /* which runs it once */
    add_job_run(&j, TIMES - 1);
    room = api_disk_full(true);
    assert_fails(nrt_trace_stop(path), NRT_FAILURE, "nrt_trace_stop");
    api_disk_full(false);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_fails(nrt_trace_stop("/dev/full"), NRT_FAILURE, "nrt_trace_stop");
    assert_fails(nrt_trace_start(false), NRT_FAILURE, "nrt_trace_start"); /* it goes on */
    add_job_run(&j, 1);
    assert_ok(nrt_trace_stop(path));
    assert_fails(nrt_trace_stop(path), NRT_FAILURE, "nrt_trace_stop");
    fetched_open(&f, path);
    assert_true(f.size > room);
    assert_int_equal(fetched_count(&f, "device_exec", "stop"), TIMES + 1);
    fetched_close(&f);
    assert_int_equal(unlink(path), 0);
    add_job_fini(&j);
}

static void calls_need_init(void **state)
{
    assert_fails(nrt_trace_start(true), NRT_UNINITIALIZED, "nrt_trace_start");
    assert_fails(nrt_trace_stop("/dev/null"), NRT_UNINITIALIZED, "nrt_trace_stop");
}

int main(void)
{
    const struct CMUnitTest before[] = {cmocka_unit_test(calls_need_init)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(api_trace_writes_a_file),
        cmocka_unit_test_teardown(api_trace_outlives_a_full_disk, api_disk_free),
    };
    int failed;

    api_env("trn1.2xlarge", 0);
    failed = cmocka_run_group_tests(before, NULL, NULL);
    api_env_end();
    return failed + cmocka_run_group_tests(tests, models_setup, models_teardown);
}
