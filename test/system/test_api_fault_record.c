/* SPDX-License-Identifier: Apache-2.0 */
/* Every fault point failed at every hit, over the calls that record, capture and print, and over
 * those that ask for faults: a status that says so and a line in the log; what had begun can be
 * ended; nothing stays open or held; and the same calls work afterwards. docs/spec/api.md 8 to 10.
 * The test is linked with the runtime's objects, so that it can arm the points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "fault_tour.h"
#include "models.h"
#include "neffs.h"
#include "nrt/ndebug_stream.h"
#include "nrt/nrt_profile.h"
#include "nrt/nrt_sys_trace.h"
#include "opennrt/fault.h"
#include "runner.h"

#define N 64

static char folder[64], place[96], file[128]; /* place: of one tour, made by what writes there */
static struct bytes add, print;

/* What a tour has made, as far as it came. */
struct things {
    nrt_model_t *m;
    struct io io;
    nrt_profile_continuous_options_t *continuous;
    nrt_sys_trace_config_t *trace;
    nrt_sys_trace_fetch_options_t *fetch;
    nrt_inspect_config_t *inspect;
    const char **names;
    size_t n_names;
    char *document;
    void *payload;
    int stream;
};

/* A model and its tensors; not what is looked at, so no fault is armed yet. */
static void things_init(struct things *k, const struct bytes *neff, bool has_b)
{
    static unsigned turn;

    snprintf(place, sizeof(place), "%s/%u", folder, turn++);
    *k = (struct things){.stream = -1};
    assert_ok(nrt_load(neff->data, neff->size, 0, 1, &k->m));
    io_init(&k->io);
    io_add(&k->io, true, "a", DEV, 0, has_b ? N * sizeof(float) : N);
    if (has_b) {
        io_add(&k->io, true, "b", DEV, 0, N * sizeof(float));
        io_add(&k->io, false, "c", DEV, 0, N * sizeof(float));
    }
}

static NRT_STATUS run(struct things *k)
{
    return nrt_execute(k->m, k->io.in, k->io.out);
}

static NRT_STATUS tour_profile(struct things *k)
{
    TRY(nrt_profile_start(k->m, file));
    TRY(run(k));
    TRY(nrt_profile_stop(file));
    TRY(nrt_profile_continuous_options_allocate(&k->continuous));
    TRY(nrt_profile_continuous_options_set_output_dir(k->continuous, place));
    TRY(nrt_profile_continuous_start(k->continuous));
    TRY(run(k));
    TRY(nrt_profile_continuous_save(0, k->continuous));
    TRY(nrt_profile_continuous_stop());
    TRY(nrt_profile_continuous_options_free(k->continuous));
    k->continuous = NULL;
    return NRT_SUCCESS;
}

static NRT_STATUS tour_trace(struct things *k)
{
    size_t size;

    TRY(nrt_sys_trace_config_allocate(&k->trace));
    DO(nrt_sys_trace_config_set_defaults(k->trace));
    DO(nrt_sys_trace_config_set_max_events_per_nc(k->trace, 100));
    DO(nrt_sys_trace_config_set_capture_enabled_for_nc(k->trace, 1, false));
    TRY(nrt_sys_trace_get_event_types(&k->names, &k->n_names));
    TRY(nrt_sys_trace_config_set_capture_enabled_for_event_type(k->trace, k->names[0], false));
    DO(nrt_sys_trace_free_event_types(k->names, k->n_names));
    k->names = NULL;
    TRY(nrt_sys_trace_config_get_enabled_event_types(k->trace, &k->names, &k->n_names));
    TRY(nrt_sys_trace_start(k->trace));
    TRY(run(k));
    TRY(nrt_sys_trace_fetch_options_allocate(&k->fetch));
    DO(nrt_sys_trace_fetch_options_set_defaults(k->fetch));
    DO(nrt_sys_trace_fetch_options_set_max_events_per_nc(k->fetch, 3));
    DO(nrt_sys_trace_fetch_options_set_nc_idx(k->fetch, 0));
    TRY(nrt_sys_trace_fetch_events(&k->document, &size, k->fetch));
    if (strlen(k->document) != size)
        return NRT_FAIL_HOST_MEM_ALLOC;
    DO(nrt_sys_trace_buffer_free(k->document));
    k->document = NULL;
    TRY(nrt_sys_trace_stop());
    DO(nrt_sys_trace_fetch_options_free(k->fetch));
    DO(nrt_sys_trace_config_free(k->trace));
    k->fetch = NULL;
    k->trace = NULL;
    return NRT_SUCCESS;
}

static NRT_STATUS tour_inspect(struct things *k)
{
    NRT_STATUS status;

    TRY(nrt_inspect_config_allocate(&k->inspect));
    TRY(nrt_inspect_config_set_defaults(k->inspect));
    TRY(nrt_inspect_config_set_session_id(k->inspect, 1));
    TRY(nrt_inspect_config_set_output_dir(k->inspect, place));
    TRY(nrt_inspect_config_set_sys_trace_max_events_per_nc(k->inspect, 100));
    TRY(nrt_inspect_config_set_capture_enabled_for_nc(k->inspect, 1, false));
    TRY(nrt_inspect_config_set_capture_enabled_for_event_type_string(k->inspect, "nrt_execute",
                                                                     true));
    TRY(nrt_inspect_config_set_enable_inspect(k->inspect, true));
    TRY(nrt_inspect_config_set_enable_inspect_on_fail(k->inspect, true));
    TRY(nrt_inspect_config_get_all_activity_types(&k->names, &k->n_names));
    TRY(nrt_inspect_config_set_activity(k->inspect, k->names[0], true));
    DO(nrt_inspect_config_free_activity_types(k->names, k->n_names));
    k->names = NULL;
    TRY(nrt_inspect_config_get_enabled_activity_types(k->inspect, &k->names, &k->n_names));
    TRY(nrt_inspect_begin_with_options(k->inspect));
    TRY(run(k));
    TRY(nrt_inspect_stop());
    TRY(nrt_inspect_config_free(k->inspect));
    k->inspect = NULL;
    setenv("NEURON_RT_INSPECT_ENABLE", "1", 1); /* not at nrt_init, which would begin by itself */
    status = nrt_inspect_begin();
    unsetenv("NEURON_RT_INSPECT_ENABLE");
    tour_note("nrt_inspect_begin");
    if (status != NRT_SUCCESS)
        return status;
    TRY(run(k));
    TRY(nrt_inspect_stop());
    return NRT_SUCCESS;
}

static NRT_STATUS tour_debug(struct things *k)
{
    ndebug_stream_event_header_t h;
    NRT_STATUS status;

    TRY(nrt_debug_client_connect(0, &k->stream));
    TRY(run(k));
    /* What is printed while memory is short is lost, which the log tells; the program goes on. */
    status = nrt_debug_client_read_one_event(k->stream, &h, &k->payload);
    tour_note("nrt_debug_client_read_one_event");
    if (status != NRT_SUCCESS)
        return status == NRT_QUEUE_EMPTY ? NRT_RESOURCE : status;
    DO(nrt_debug_client_connect_close(k->stream));
    k->stream = -1;
    return NRT_SUCCESS;
}

/* The items concern executions that do not come, so that they do not fail the tour. */
static NRT_STATUS tour_faults(struct things *k)
{
    uint64_t n;

    TRY(opennrt_fault_add("sram:0:1000000:7,hbm:1:1000000"));
    TRY(run(k));
    TRY(opennrt_fault_struck(&n));
    TRY(opennrt_fault_clear());
    return n ? NRT_EXEC_HW_ERR_NC_UE : NRT_SUCCESS;
}

/* In this order: a program may end what it may not have begun. */
static void give_back(struct things *k)
{
    nrt_profile_stop(file);
    nrt_profile_continuous_stop();
    nrt_sys_trace_stop();
    nrt_inspect_stop();
    if (k->continuous)
        assert_ok(nrt_profile_continuous_options_free(k->continuous));
    if (k->inspect)
        assert_ok(nrt_inspect_config_free(k->inspect));
    nrt_sys_trace_config_free(k->trace);
    nrt_sys_trace_fetch_options_free(k->fetch);
    nrt_sys_trace_free_event_types(k->names, k->n_names);
    nrt_sys_trace_buffer_free(k->document);
    nrt_debug_client_connect_close(k->stream);
    free(k->payload);
    assert_ok(opennrt_fault_clear());
    io_fini(&k->io);
    assert_ok(nrt_unload(k->m));
}

static const struct tour {
    const char *name;
    NRT_STATUS (*fn)(struct things *);
    const struct bytes *neff;
    bool has_b;
} tours[] = {{"profile", tour_profile, &add, true},
             {"trace", tour_trace, &add, true},
             {"inspect", tour_inspect, &add, true},
             {"debug", tour_debug, &print, false},
             {"faults", tour_faults, &add, true}};

static void expect_nothing_held(const char *name, const char *point, uint64_t hit)
{
    nrt_vnc_memory_stats_t stats;
    size_t n;

    for (uint32_t i = 0; i < 2; i++) {
        assert_ok(nrt_get_vnc_memory_stats(i, &stats, sizeof(stats), &n));
        if (stats.bytes_used != 0)
            fail_msg("%s, %s %llu: core %u holds %zu bytes", name, point, (unsigned long long)hit,
                     i, stats.bytes_used);
    }
}

/* A session in which memory behind HBM, mappings and threads are not there yet. */
static void session(void)
{
    nrt_close();
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
}

static void whole_tour(const struct tour *t, const char *point, uint64_t hit)
{
    struct things k;
    NRT_STATUS status;

    things_init(&k, t->neff, t->has_b);
    status = t->fn(&k);
    if (status != NRT_SUCCESS)
        fail_msg("%s after %s %llu gives %d\n%s", t->name, point, (unsigned long long)hit,
                 (int)status, api_log());
    give_back(&k);
}

/* The status of the tour with a fault at that hit. fds: open when nothing is. */
static NRT_STATUS one_hit(const struct tour *t, enum fault_point p, uint64_t hit, unsigned fds)
{
    const char *point = tour_points[p];
    struct things k;
    NRT_STATUS status;

    if (p == FAULT_MMAP || p == FAULT_BACKING || p == FAULT_LOCK || p == FAULT_THREAD)
        session();
    things_init(&k, t->neff, t->has_b);
    api_log_clear();
    fault_arm(p, hit);
    status = t->fn(&k);
    fault_disarm();
    if (!tour_status_may_be(p, status))
        fail_msg("%s, %s %llu: status %d", t->name, point, (unsigned long long)hit, (int)status);
    if (status != NRT_SUCCESS && !api_log()[0])
        fail_msg("%s, %s %llu: status %d without a line in the log", t->name, point,
                 (unsigned long long)hit, (int)status);
    give_back(&k);
    if (p != FAULT_LOCK) /* what could not be freed goes with the session */
        expect_nothing_held(t->name, point, hit);
    whole_tour(t, point, hit);
    if (runner_open_fds() != fds)
        fail_msg("%s, %s %llu: %u open files, were %u", t->name, point, (unsigned long long)hit,
                 runner_open_fds(), fds);
    api_log_clear();
    return status;
}

static uint64_t hits_of(const struct tour *t, enum fault_point p)
{
    struct things k;
    uint64_t hits;

    session();
    things_init(&k, t->neff, t->has_b);
    fault_count_start();
    assert_ok(t->fn(&k));
    hits = fault_count(p);
    fault_disarm();
    give_back(&k);
    return hits;
}

static void calls_survive_every_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(tours) / sizeof(tours[0]); i++) {
        uint64_t all = 0, failed = 0;

        for (int p = 0; p < FAULT_POINT_COUNT; p++) {
            uint64_t hits = hits_of(&tours[i], (enum fault_point)p), seen = 0;
            unsigned fds = runner_open_fds();

            for (uint64_t hit = 1; hit <= hits; hit++)
                seen += one_hit(&tours[i], (enum fault_point)p, hit, fds) != NRT_SUCCESS;
            if (hits)
                print_message("%-8s %-10s %llu hits, %llu seen by a call\n", tours[i].name,
                              tour_points[p], (unsigned long long)hits, (unsigned long long)seen);
            all += hits;
            failed += seen;
        }
        assert_true(all > 0);
        assert_true(failed > 0);
    }
}

/* A capture of no core goes on as it was when another start got but one of its two rings. */
static void a_start_without_memory_adds_nothing(void **state)
{
    struct things k;
    size_t size;

    (void)state;
    session();
    things_init(&k, &add, true);
    assert_ok(nrt_sys_trace_config_allocate(&k.trace));
    for (uint32_t i = 0; i < 128; i++)
        nrt_sys_trace_config_set_capture_enabled_for_nc(k.trace, i, false);
    assert_ok(nrt_sys_trace_start(k.trace));
    nrt_sys_trace_config_set_capture_enabled_for_nc(k.trace, 0, true);
    fault_arm(FAULT_ALLOC, 2);
    assert_int_equal(nrt_sys_trace_start(k.trace), NRT_RESOURCE);
    fault_disarm();
    assert_ok(run(&k));
    assert_ok(nrt_sys_trace_fetch_events(&k.document, &size, NULL));
    assert_null(strstr(k.document, "event_type"));
    nrt_sys_trace_buffer_free(k.document);
    assert_ok(nrt_sys_trace_start(k.trace)); /* now it has both */
    assert_ok(run(&k));
    assert_ok(nrt_sys_trace_fetch_events(&k.document, &size, NULL));
    assert_non_null(strstr(k.document, "device_exec"));
    assert_ok(nrt_sys_trace_stop());
    give_back(&k);
}

static void the_tours_make_every_call(void **state)
{
    static const struct {
        const char *name;
        unsigned functions; /* docs/spec/api.md */
    } headers[] = {{"nrt/nrt_profile.h", 25},
                   {"nrt/nrt_sys_trace.h", 18},
                   {"nrt/ndebug_stream.h", 3},
                   {"opennrt/fault.h", 3}};
    static const char *const but[] = {NULL};

    (void)state;
    for (size_t h = 0; h < sizeof(headers) / sizeof(headers[0]); h++) {
        char path[4096];

        snprintf(path, sizeof(path), HEADERS "/%s", headers[h].name);
        assert_int_equal(tour_covers(path, but), headers[h].functions);
    }
}

static int setup(void **state)
{
    (void)state;
    api_env("trn1.2xlarge", 0);
    setenv("OPENNRT_HOST_THREADS", "1", 1);
    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1); /* what is dropped is a warning */
    snprintf(folder, sizeof(folder), "/tmp/opennrt-tour-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof(file), "%s/one.ntff", folder);
    setenv("NEURON_RT_INSPECT_OUTPUT_DIR", folder, 1);
    add = neff_add(N);
    setenv("NEURON_RT_DEBUG_OUTPUT_DIR", folder, 1);
    setenv("NEURON_RT_GPSIMD_STDOUT_QUEUE_SIZE_BYTES", "1024", 1);
    print = neff_print("tile", DT_UINT8, 1, N);
    return 0;
}

static int teardown(void **state)
{
    char cmd[96];

    (void)state;
    neff_free(&add);
    neff_free(&print);
    nrt_close();
    api_env_end();
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", folder);
    return system(cmd);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(calls_survive_every_fault, tour_end_session),
        cmocka_unit_test(a_start_without_memory_adds_nothing),
        cmocka_unit_test(the_tours_make_every_call)};

    runner_watchdog(580);
    return cmocka_run_group_tests_name("api-fault-record", tests, setup, teardown);
}
