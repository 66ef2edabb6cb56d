/* SPDX-License-Identifier: Apache-2.0 */
/* Device profiles: api.md 8, functions 79 to 86, behaviour.md 15 and variables 27 to 31. Programs
 * without branches are their own oracle: each of their records and transfers is there once per
 * execution. */
#include <dirent.h>
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
#include "models.h"
#include "neffs.h"
#include "nrt/nrt_profile.h"
#include "proves.h"
#include "time/ntff.h"

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[8][128];
    static unsigned turn;
    char *p = path[turn++ % 8];

    snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
    return p;
}

/* ---- a model to run ---- */

#define N 256

/* ---- files ---- */

struct file {
    void *bytes;
    struct ntff n;
};

static void file_open(struct file *f, const char *path)
{
    struct err err = {0};
    size_t size;

    f->bytes = read_file(path, &size);
    if (ntff_open(f->bytes, size, &f->n, &err) != NRT_SUCCESS)
        fail_msg("%s: %s", path, err.text);
}

static uint64_t kinds(const struct file *f, const struct ntff_exec *e, unsigned kind)
{
    uint64_t n = 0;

    for (uint64_t i = 0; i < e->events; i++)
        n += f->n.events[e->first_event + i].kind == kind;
    return n;
}

/* Every record and transfer of the model once, in device time, and a wait for the transfer. */
static void exec_check(const struct file *f, const struct ntff_exec *e)
{
    const struct ntff_model *m = &f->n.models[e->model];
    uint64_t last[TIME_CORES][ISA_ENGINES] = {{0}}, bytes = 0;

    assert_int_equal(e->status, NRT_SUCCESS);
    assert_int_equal(e->dropped, 0);
    assert_true(e->total_ps > 0);
    assert_true(e->host_end_ns >= e->host_start_ns);
    assert_int_equal(kinds(f, e, TIME_EV_RECORD), m->records);
    assert_int_equal(kinds(f, e, TIME_EV_XFER), m->xfers);
    assert_int_equal(kinds(f, e, TIME_EV_XFER_DONE), m->xfers);
    assert_true(kinds(f, e, TIME_EV_WAIT) > 0);
    for (uint64_t i = 0; i < e->events; i++) {
        const struct ntff_event *v = &f->n.events[e->first_event + i];
        uint64_t *end = &last[v->unit >> 3][v->unit & 7];

        assert_true(v->end_ps <= e->total_ps);
        if (v->kind == TIME_EV_RECORD) { /* an engine does one thing after the other */
            assert_true(v->start_ps >= *end);
            *end = v->end_ps;
        } else if (v->kind == TIME_EV_XFER) {
            assert_true(v->end_ps - v->start_ps > 0);
            bytes += f->n.xfers[m->first_xfer + (uint64_t)v->value].bytes;
        }
    }
    assert_int_equal(bytes, N * sizeof(float)); /* c = a + b by one transfer that writes c */
}

static unsigned files_in(const char *dir, char name[512])
{
    DIR *d = opendir(dir);
    struct dirent *e;
    unsigned n = 0;

    while (d && (e = readdir(d)))
        if (strstr(e->d_name, ".ntff")) {
            snprintf(name, 512, "%s/%s", dir, e->d_name);
            n++;
        }
    if (d)
        closedir(d);
    return n;
}

/* ---- one model ---- */

static void profile_holds_every_event(void **state)
{
    const char *path = path_of("one.ntff");
    struct file f;
    struct add_job j;
    FILE *old;

    add_job_init(&j, 0, N);
    old = fopen(path, "w"); /* what was there goes */
    assert_non_null(old);
    fputs("something longer than nothing", old);
    fclose(old);
    add_job_run(&j, 2);
    assert_ok(nrt_profile_start(j.m, path));
    {
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, 0);
    }
    add_job_run(&j, 3);
    assert_ok(nrt_profile_stop(path));
    add_job_run(&j, 1);
    file_open(&f, path);
    assert_int_equal(f.n.model_count, 1);
    assert_int_equal(f.n.exec_count, 3);
    assert_string_equal(ntff_text(&f.n, f.n.models[0].name), "add");
    assert_int_equal(f.n.models[0].vnc, 0);
    for (unsigned i = 0; i < 3; i++) {
        exec_check(&f, &f.n.execs[i]);
        assert_int_equal(f.n.execs[i].run, f.n.execs[0].run + i);
        assert_int_equal(f.n.execs[i].total_ps, f.n.execs[0].total_ps); /* the device repeats */
    }
    free(f.bytes);
    PROVES("api-082");
    add_job_fini(&j);
}

/* A disk that is full costs no execution: the next stop has all of them, and those since. */
static void a_full_disk_ends_no_profile(void **state)
{
    enum { TIMES = 40 };
    const char *path = path_of("full.ntff");
    struct stat st;
    struct file f;
    struct add_job j;
    size_t room;

    (void)state;
    add_job_init(&j, 0, N);
    assert_ok(nrt_profile_start(j.m, path));
    add_job_run(&j, TIMES);
    room = api_disk_full(true);
    assert_fails(nrt_profile_stop(path), NRT_FAILURE, "nrt_profile_stop");
    api_disk_full(false);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_fails(nrt_profile_start(j.m, path), NRT_INVALID, "nrt_profile_start"); /* it goes on */
    add_job_run(&j, 2);
    assert_ok(nrt_profile_stop(path));
    assert_fails(nrt_profile_stop(path), NRT_INVALID, "nrt_profile_stop");
    assert_int_equal(stat(path, &st), 0);
    assert_true((size_t)st.st_size > room);
    file_open(&f, path);
    assert_int_equal(f.n.exec_count, TIMES + 2);
    free(f.bytes);
    add_job_fini(&j);
}

/* A profile that does not begin, here since its buffers have no room, leaves the file as it was. */
static void a_file_is_emptied_only_by_a_profile_that_begins(void **state)
{
    const uint64_t left = UINT64_C(200) << 20; /* of the HBM, for 384 MiB of buffers */
    const char *path = path_of("kept.ntff");
    nrt_tensor_t *big = NULL;
    struct stat st;
    struct add_job j;
    FILE *old = fopen(path, "w");

    (void)state;
    assert_non_null(old);
    fputs("of before", old);
    fclose(old);
    add_job_init(&j, 0, N);
    for (uint64_t size = UINT64_C(16) << 30; !big; size -= left)
        (void)nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, size, "big", &big);
    assert_int_equal(nrt_profile_start(j.m, path), NRT_RESOURCE); /* and a table in the log */
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, strlen("of before"));
    nrt_tensor_free(&big);
    assert_ok(nrt_profile_start(j.m, path));
    assert_ok(nrt_profile_stop(path));
    add_job_fini(&j);
}

static void profile_refuses_wrong_names(void **state)
{
    const char *a = path_of("a.ntff"), *b = path_of("b.ntff");
    struct file f;
    struct add_job j[2];

    add_job_init(&j[0], 0, N);
    add_job_init(&j[1], 1, N);
    assert_fails(nrt_profile_start(NULL, a), NRT_INVALID, "nrt_profile_start");
    assert_fails(nrt_profile_start(j[0].m, NULL), NRT_INVALID, "nrt_profile_start");
    assert_fails(nrt_profile_start(j[0].m, ""), NRT_INVALID, "nrt_profile_start");
    assert_fails(nrt_profile_start(j[0].m, "/no/such/folder/x"), NRT_INVALID, "nrt_profile_start");
    assert_fails(nrt_profile_start((nrt_model_t *)&f, a), NRT_INVALID_HANDLE, "nrt_profile_start");
    assert_fails(nrt_profile_stop(NULL), NRT_INVALID, "nrt_profile_stop");
    assert_fails(nrt_profile_stop(a), NRT_INVALID, "nrt_profile_stop");
    assert_ok(nrt_profile_start(j[0].m, a));
    assert_fails(nrt_profile_start(j[0].m, b), NRT_INVALID, "nrt_profile_start");
    assert_fails(nrt_profile_start(j[1].m, a), NRT_INVALID, "nrt_profile_start");
    assert_ok(nrt_profile_start(j[1].m, b)); /* several at once */
    add_job_run(&j[0], 1);
    add_job_run(&j[1], 2);
    assert_fails(nrt_profile_stop(path_of("c.ntff")), NRT_INVALID, "nrt_profile_stop");
    assert_ok(nrt_profile_stop(a));
    assert_ok(nrt_profile_stop(b));
    assert_fails(nrt_profile_stop(a), NRT_INVALID, "nrt_profile_stop");
    file_open(&f, a);
    assert_int_equal(f.n.exec_count, 1);
    free(f.bytes);
    file_open(&f, b);
    assert_int_equal(f.n.exec_count, 2);
    assert_int_equal(f.n.models[0].vnc, 1);
    free(f.bytes);
    PROVES("api-081");

    assert_ok(nrt_profile_start(j[0].m, a)); /* the model goes, and its profile */
    add_job_fini(&j[0]);
    assert_fails(nrt_profile_stop(a), NRT_INVALID, "nrt_profile_stop");
    add_job_fini(&j[1]);
}

/* ---- continuous ---- */

static void continuous_keeps_the_latest(void **state)
{
    nrt_profile_continuous_options_t *o = NULL, *other = NULL;
    char name[512], second[512];
    struct file f;
    struct add_job j;

    assert_fails(nrt_profile_continuous_options_allocate(NULL), NRT_INVALID,
                 "nrt_profile_continuous_options_allocate");
    assert_ok(nrt_profile_continuous_options_allocate(&o));
    assert_ok(nrt_profile_continuous_options_allocate(&other));
    PROVES("api-083");
    assert_fails(nrt_profile_continuous_options_set_output_dir(o, NULL), NRT_INVALID,
                 "nrt_profile_continuous_options_set_output_dir");
    assert_fails(nrt_profile_continuous_options_set_output_dir(o, ""), NRT_INVALID,
                 "nrt_profile_continuous_options_set_output_dir");
    assert_fails(nrt_profile_continuous_options_set_output_dir(NULL, "x"), NRT_INVALID,
                 "nrt_profile_continuous_options_set_output_dir");
    strcpy(name, path_of("continuous/deep"));
    assert_ok(nrt_profile_continuous_options_set_output_dir(o, name));
    strcpy(second, path_of("elsewhere"));
    assert_ok(nrt_profile_continuous_options_set_output_dir(other, second));

    assert_fails(nrt_profile_continuous_start(NULL), NRT_INVALID, "nrt_profile_continuous_start");
    assert_fails(nrt_profile_continuous_stop(), NRT_FAILURE, "nrt_profile_continuous_stop");
    assert_fails(nrt_profile_continuous_save(0, o), NRT_FAILURE, "nrt_profile_continuous_save");
    add_job_init(&j, 0, N);
    assert_ok(nrt_profile_continuous_start(o));
    assert_fails(nrt_profile_continuous_start(o), NRT_FAILURE, "nrt_profile_continuous_start");
    PROVES("api-086");
    assert_fails(nrt_profile_continuous_save(0, o), NRT_FAILURE, "nrt_profile_continuous_save");
    assert_fails(nrt_profile_continuous_save(99, o), NRT_INVALID, "nrt_profile_continuous_save");
    assert_fails(nrt_profile_continuous_save(0, NULL), NRT_INVALID, "nrt_profile_continuous_save");
    add_job_run(&j, 4);
    assert_ok(nrt_profile_continuous_save(0, o));
    assert_int_equal(files_in(path_of("continuous/deep"), name), 1);
    file_open(&f, name);
    assert_int_equal(f.n.exec_count, 1);
    exec_check(&f, &f.n.execs[0]);
    free(f.bytes);
    assert_fails(nrt_profile_continuous_save(1, o), NRT_FAILURE, "nrt_profile_continuous_save");

    add_job_run(&j, 1); /* it goes on, and names do not meet */
    assert_ok(nrt_profile_continuous_save(0, o));
    assert_ok(nrt_profile_continuous_save(0, o));
    assert_int_equal(files_in(path_of("continuous/deep"), name), 3);
    assert_ok(nrt_profile_continuous_save(0, other)); /* these options' folder */
    assert_int_equal(files_in(second, name), 1);
    PROVES("api-085");
    add_job_fini(&j); /* of an unloaded model, too, and a save that fails does not lose it */
    assert_ok(nrt_profile_continuous_options_set_output_dir(o, name)); /* a file */
    assert_fails(nrt_profile_continuous_save(0, o), NRT_FAILURE, "nrt_profile_continuous_save");
    assert_ok(nrt_profile_continuous_save(0, other));
    assert_int_equal(files_in(second, name), 2);
    PROVES("api-087");
    assert_ok(nrt_profile_continuous_stop()); /* saves nothing */
    assert_int_equal(files_in(second, name), 2);
    assert_fails(nrt_profile_continuous_stop(), NRT_FAILURE, "nrt_profile_continuous_stop");
    assert_fails(nrt_profile_continuous_save(0, o), NRT_FAILURE, "nrt_profile_continuous_save");
    PROVES("api-088");
    assert_ok(nrt_profile_continuous_options_free(o));
    assert_ok(nrt_profile_continuous_options_free(other));
    assert_fails(nrt_profile_continuous_options_free(NULL), NRT_INVALID,
                 "nrt_profile_continuous_options_free");
    PROVES("api-084");
}

/* Not while executions are asynchronous, nor while inspect records devices. */
static void continuous_needs_the_cores_for_itself(void **state)
{
    nrt_profile_continuous_options_t *o;
    nrt_inspect_config_t *c;

    assert_ok(nrt_profile_continuous_options_allocate(&o));
    assert_ok(nrt_inspect_config_allocate(&c));
    assert_ok(nrt_inspect_config_set_output_dir(c, path_of("inspected")));
    assert_ok(nrt_inspect_config_set_enable_inspect(c, true));
    assert_ok(nrt_inspect_begin_with_options(c));
    assert_fails(nrt_profile_continuous_start(o), NRT_FAILURE, "nrt_profile_continuous_start");
    assert_ok(nrt_inspect_stop());
    assert_ok(nrt_inspect_config_set_activity(c, "device_profile", false));
    assert_ok(nrt_inspect_begin_with_options(c)); /* inspect without devices does not mind */
    assert_ok(nrt_profile_continuous_start(o));
    assert_ok(nrt_profile_continuous_stop());
    assert_ok(nrt_inspect_stop());
    nrt_close();
    setenv("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS", "3", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_fails(nrt_profile_continuous_start(o), NRT_FAILURE, "nrt_profile_continuous_start");
    PROVES("api-206");
    nrt_close();
    unsetenv("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS");
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_ok(nrt_profile_continuous_options_free(o));
    assert_ok(nrt_inspect_config_free(c));
}

/* ---- the profile buffers ---- */

static const char *const bufs[] = {"NEURON_RT_PROFILE_BUF_EVENT_MB", "NEURON_RT_PROFILE_BUF_DMA_MB",
                                   "NEURON_RT_PROFILE_BUF_THROTTLE_MB",
                                   "NEURON_RT_PROFILE_BUF_CC_CORE_INSTRUCTION_MB",
                                   "NEURON_RT_PROFILE_BUF_CC_CORE_EVENT_MB"};

static uint64_t used(uint32_t vnc)
{
    nrt_vnc_memory_stats_t stats;
    size_t n;

    assert_ok(nrt_get_vnc_memory_stats(vnc, &stats, sizeof(stats), &n));
    return stats.bytes_used;
}

/* Megabytes that a profile takes of the core. */
static uint64_t buffers_mb(struct add_job *j)
{
    uint64_t before = used(0), during;

    assert_ok(nrt_profile_start(j->m, path_of("account.ntff")));
    during = used(0);
    assert_ok(nrt_profile_stop(path_of("account.ntff")));
    assert_int_equal(used(0), before);
    assert_true(during > before);
    PROVES("mem-042");
    return (during - before) >> 20;
}

static void reinit(void)
{
    nrt_close();
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
}

static void buffers_have_their_sizes(void **state)
{
    static const char *const lines[] = {"api-233", "api-234", "api-235", "api-236", "api-237"};
    uint64_t base;
    struct add_job j;

    add_job_init(&j, 0, N);
    base = buffers_mb(&j);
    assert_int_equal(base, 64 + 128 + 64 + 64 + 64); /* the documented sizes */
    add_job_fini(&j);
    for (unsigned i = 0; i < 5; i++) {
        setenv(bufs[i], "7", 1);
        reinit();
        add_job_init(&j, 0, N);
        assert_int_equal(buffers_mb(&j), base - (i == 1 ? 128 : 64) + 7);
        add_job_fini(&j);
        unsetenv(bufs[i]);
        PROVES(lines[i]);
    }
    PROVES("mem-041");
    reinit();
}

/* What has no room is counted, and the rest is whole. */
static void buffers_are_limits(void **state)
{
    const char *path = path_of("full.ntff");
    uint64_t kept = 0;
    struct file f;
    struct add_job j;

    for (unsigned i = 0; i < 2; i++) { /* of events, and of transfers */
        setenv(bufs[i], "1", 1);
        reinit();
        add_job_init(&j, 0, N);
        assert_ok(nrt_profile_start(j.m, path));
        add_job_run(&j, 24000);
        assert_ok(nrt_profile_stop(path));
        file_open(&f, path);
        assert_true(f.n.head->dropped_execs > 0);
        assert_int_equal(f.n.head->dropped_execs + f.n.exec_count, 24000);
        for (uint64_t k = 0; k < f.n.event_count; k++) {
            unsigned kind = f.n.events[k].kind;
            bool transfer = kind >= TIME_EV_XFER && kind <= TIME_EV_XFER_UPDATE;

            kept += transfer == (i == 1) ? sizeof(struct time_event) : 0;
        }
        assert_true(kept <= 1 << 20 && kept > (1 << 20) - 1024);
        kept = 0;
        exec_check(&f, &f.n.execs[f.n.exec_count - 1]);
        free(f.bytes);
        add_job_fini(&j);
        unsetenv(bufs[i]);
    }
    reinit();
}

static int setup(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/test-profile-XXXXXX");
    return mkdtemp(folder) ? models_setup(state) : 1;
}

static int teardown(void **state)
{
    char cmd[96];

    snprintf(cmd, sizeof(cmd), "rm -rf %s", folder);
    return models_teardown(state) || system(cmd) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profile_holds_every_event),
        cmocka_unit_test_teardown(a_full_disk_ends_no_profile, api_disk_free),
        cmocka_unit_test(a_file_is_emptied_only_by_a_profile_that_begins),
        cmocka_unit_test(profile_refuses_wrong_names),
        cmocka_unit_test(continuous_keeps_the_latest),
        cmocka_unit_test(continuous_needs_the_cores_for_itself),
        cmocka_unit_test(buffers_have_their_sizes),
        cmocka_unit_test(buffers_are_limits),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
