/* SPDX-License-Identifier: Apache-2.0 */
/* The system trace: api.md 9. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "models.h"
#include "neffs.h"
#include "nrt/nrt_sys_trace.h"
#include "proves.h"
#include "trace_doc.h"

/* ---- options ---- */

static bool has(const char **names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void options_have_defaults_and_names(void **state)
{
    static const char *const documented[] = {
        "nc_exec_running",  "cc_running",           "cc_exec_barrier", "numerical_err",
        "nrt_model_switch", "timestamp_sync_point", "hw_notify",       "nrt_load",
        "nrt_execute",      "model_load",           "runtime_execute", "device_exec",
        "nrt_tensor_read",  "nrt_tensor_write",     "tensor_read",     "tensor_write",
        "dmem_buf_copyin",  "dmem_buf_copyout",     "cc_exec"};
    nrt_sys_trace_config_t *o = NULL;
    const char **all = NULL, **on = NULL;
    size_t all_n = 0, on_n = 0;

    assert_ok(nrt_sys_trace_get_event_types(&all, &all_n));
    for (size_t i = 0; i < sizeof(documented) / sizeof(*documented); i++)
        if (!has(all, all_n, documented[i]))
            fail_msg("%s is no type", documented[i]);
    for (size_t i = 0; i < all_n; i++)
        assert_false(has(all + i + 1, all_n - i - 1, all[i]));
    PROVES("api-112");

    assert_ok(nrt_sys_trace_config_allocate(&o));
    assert_ok(nrt_sys_trace_config_get_enabled_event_types(o, &on, &on_n));
    assert_int_equal(on_n, all_n);
    nrt_sys_trace_free_event_types(on, on_n);
    PROVES("api-106");

    assert_ok(nrt_sys_trace_config_set_capture_enabled_for_event_type(o, "nrt_load", false));
    assert_ok(nrt_sys_trace_config_set_capture_enabled_for_event_type(o, "cc_exec", false));
    assert_ok(nrt_sys_trace_config_set_capture_enabled_for_event_type(o, "cc_exec", true));
    assert_ok(nrt_sys_trace_config_get_enabled_event_types(o, &on, &on_n));
    assert_int_equal(on_n, all_n - 1);
    assert_false(has(on, on_n, "nrt_load"));
    assert_true(has(on, on_n, "cc_exec"));
    PROVES("api-114");
    for (size_t i = 0; i < on_n; i++) /* the strings are the caller's, one by one */
        free((void *)(uintptr_t)on[i]);
    free((void *)(uintptr_t)on);
    nrt_sys_trace_free_event_types(all, all_n);
    nrt_sys_trace_free_event_types(NULL, 3);
    PROVES("api-113");

    nrt_sys_trace_config_set_defaults(o);
    assert_ok(nrt_sys_trace_config_get_enabled_event_types(o, &on, &on_n));
    assert_int_equal(on_n, all_n);
    nrt_sys_trace_free_event_types(on, on_n);
    PROVES("api-107");
    nrt_sys_trace_config_free(o);
    nrt_sys_trace_config_free(NULL);
    PROVES("api-108");
}

static void options_refuse_what_is_none(void **state)
{
    nrt_sys_trace_config_t *o = NULL;
    const char **names = NULL;
    size_t n = 0;

    assert_fails(nrt_sys_trace_config_allocate(NULL), NRT_INVALID, "nrt_sys_trace_config_allocate");
    assert_fails(nrt_sys_trace_fetch_options_allocate(NULL), NRT_INVALID,
                 "nrt_sys_trace_fetch_options_allocate");
    assert_ok(nrt_sys_trace_config_allocate(&o));
    assert_fails(nrt_sys_trace_config_set_capture_enabled_for_event_type(o, "no_such", true),
                 NRT_INVALID, "nrt_sys_trace_config_set_capture_enabled_for_event_type");
    assert_fails(nrt_sys_trace_config_set_capture_enabled_for_event_type(o, NULL, true),
                 NRT_INVALID, "nrt_sys_trace_config_set_capture_enabled_for_event_type");
    assert_fails(nrt_sys_trace_config_set_capture_enabled_for_event_type(NULL, "nrt_load", true),
                 NRT_INVALID, "nrt_sys_trace_config_set_capture_enabled_for_event_type");
    assert_fails(nrt_sys_trace_get_event_types(NULL, &n), NRT_INVALID,
                 "nrt_sys_trace_get_event_types");
    assert_fails(nrt_sys_trace_get_event_types(&names, NULL), NRT_INVALID,
                 "nrt_sys_trace_get_event_types");
    assert_fails(nrt_sys_trace_config_get_enabled_event_types(NULL, &names, &n), NRT_INVALID,
                 "nrt_sys_trace_config_get_enabled_event_types");
    nrt_sys_trace_config_set_defaults(NULL);
    nrt_sys_trace_config_set_max_events_per_nc(NULL, 1);
    nrt_sys_trace_config_set_capture_enabled_for_nc(NULL, 0, true);
    nrt_sys_trace_fetch_options_set_defaults(NULL);
    nrt_sys_trace_fetch_options_free(NULL);
    nrt_sys_trace_fetch_options_set_max_events_per_nc(NULL, 1);
    nrt_sys_trace_fetch_options_set_nc_idx(NULL, 1);
    nrt_sys_trace_buffer_free(NULL);
    PROVES("api-111");
    nrt_sys_trace_config_free(o);
}

/* ---- capture ---- */

static void capture_begins_and_ends_once(void **state)
{
    struct fetched f;
    char *buf = NULL;
    size_t n = 0;

    assert_fails(nrt_sys_trace_stop(), NRT_FAILURE, "nrt_sys_trace_stop");
    assert_fails(nrt_sys_trace_fetch_events(&buf, &n, NULL), NRT_FAILURE,
                 "nrt_sys_trace_fetch_events");
    assert_null(buf);
    assert_ok(nrt_sys_trace_start(NULL));
    assert_fails(nrt_trace_start(false), NRT_FAILURE, "nrt_trace_start");
    assert_fails(nrt_trace_stop("/dev/null"), NRT_FAILURE, "nrt_trace_stop");
    assert_fails(nrt_sys_trace_fetch_events(NULL, &n, NULL), NRT_INVALID,
                 "nrt_sys_trace_fetch_events");
    assert_fails(nrt_sys_trace_fetch_events(&buf, NULL, NULL), NRT_INVALID,
                 "nrt_sys_trace_fetch_events");
    fetched_init(&f, NULL); /* nothing yet: an empty list, not no list */
    assert_int_equal(f.events->u.count, 0);
    fetched_fini(&f);
    PROVES("api-115");

    assert_ok(nrt_sys_trace_stop());
    assert_fails(nrt_sys_trace_stop(), NRT_FAILURE, "nrt_sys_trace_stop");
    PROVES("api-116");
}

/* What a client computes from a document: durations by the device's clock. */
static void document_tells_what_ran(void **state)
{
    uint64_t before, last = 0, shown = 0;
    struct timespec now;
    struct fetched f;
    struct add_job j;

    add_job_init(&j, 0, 8);
    clock_gettime(CLOCK_REALTIME, &now);
    before = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    assert_ok(nrt_sys_trace_start(NULL));
    add_job_run(&j, 5);
    fetched_init(&f, NULL);
    assert_int_equal(fetched_count(&f, "nrt_execute", "start"), 5);
    assert_int_equal(fetched_count(&f, "nrt_execute", "stop"), 5);
    assert_int_equal(fetched_count(&f, "runtime_execute", "stop"), 5);
    assert_int_equal(fetched_count(&f, "device_exec", "stop"), 5);
    for (unsigned i = 0; i < 5; i++) {
        const struct json_node *a = fetched_find(&f, "nc_exec_running", "start", i);
        const struct json_node *b = fetched_find(&f, "nc_exec_running", "stop", i);
        const struct json_node *s = fetched_find(&f, "timestamp_sync_point", "instant", i);
        const struct json_node *da, *db, *ds;

        assert_true(a && b && s);
        da = json_member(&f.doc, a, "data");
        db = json_member(&f.doc, b, "data");
        ds = json_member(&f.doc, s, "data");
        assert_int_equal(fetched_number(&f, a, "tracking_id"),
                         fetched_number(&f, b, "tracking_id"));
        assert_int_equal(fetched_number(&f, a, "nc_idx"), 0);
        assert_int_equal(fetched_number(&f, a, "process_id"), getpid());
        assert_int_equal(fetched_number(&f, a, "thread_id"), gettid());
        assert_int_equal(fetched_number(&f, da, "exec_id"), fetched_number(&f, db, "exec_id"));
        assert_true(fetched_number(&f, da, "nc_timestamp_ns") >= last);
        last = fetched_number(&f, db, "nc_timestamp_ns");
        /* A transfer takes a while: 1.3 us or more before its first byte (neuroncore.md 7). */
        assert_true(last - fetched_number(&f, da, "nc_timestamp_ns") > 1000);
        assert_true(fetched_number(&f, a, "timestamp_ns") >= before);
        assert_true(fetched_number(&f, a, "timestamp_ns") >= shown);
        shown = fetched_number(&f, b, "timestamp_ns");
        assert_true(shown >= fetched_number(&f, a, "timestamp_ns"));
        /* The sync point pairs the two clocks at the start of this execution. */
        assert_int_equal(fetched_number(&f, ds, "cpu_timestamp_ns"),
                         fetched_number(&f, a, "timestamp_ns"));
        assert_int_equal(fetched_number(&f, ds, "nc_timestamp_ns"),
                         fetched_number(&f, da, "nc_timestamp_ns"));
        assert_string_equal(fetched_text(&f, a, "model_name"), "add");
    }
    PROVES("api-202");
    fetched_fini(&f);

    fetched_init(&f, NULL); /* once fetched, they are gone */
    assert_int_equal(f.events->u.count, 0);
    fetched_fini(&f);
    PROVES("api-122");
    PROVES("api-123");
    assert_ok(nrt_sys_trace_stop());
    add_job_fini(&j);
}

/* Each start has its stop, later and with the same number, and every call is there. */
static void document_pairs_starts_and_stops(void **state)
{
    float v[8] = {0};
    struct fetched f;
    struct add_job j;

    assert_ok(nrt_sys_trace_start(NULL));
    add_job_init(&j, 1, 8);
    assert_ok(nrt_tensor_read(j.io.t[2], v, 0, sizeof(v)));
    add_job_fini(&j);
    fetched_init(&f, NULL);
    for (const struct json_node *e = json_first(f.events); e < f.doc.nodes + f.events->next;
         e = json_next(&f.doc, e)) {
        bool found = false;

        if (strcmp(fetched_text(&f, e, "phase"), "start") != 0)
            continue;
        for (const struct json_node *x = json_next(&f.doc, e); x < f.doc.nodes + f.events->next;
             x = json_next(&f.doc, x))
            if (fetched_is(&f, x, fetched_text(&f, e, "event_type"), "stop") &&
                fetched_number(&f, x, "tracking_id") == fetched_number(&f, e, "tracking_id")) {
                assert_true(fetched_number(&f, x, "timestamp_ns") >=
                            fetched_number(&f, e, "timestamp_ns"));
                found = true;
            }
        if (!found)
            fail_msg("no stop of %s", fetched_text(&f, e, "event_type"));
    }
    assert_int_equal(fetched_count(&f, "nrt_load", "start"), 1);
    assert_int_equal(fetched_number(&f, fetched_find(&f, "nrt_load", "start", 0), "nc_idx"), 1);
    assert_int_equal(fetched_count(&f, "model_load", "start"), 1);
    assert_int_equal(fetched_count(&f, "nrt_tensor_allocate", "stop"), 3);
    assert_int_equal(fetched_count(&f, "nrt_tensor_write", "stop"), 2);
    assert_int_equal(fetched_count(&f, "tensor_write", "stop"), 2);
    assert_int_equal(fetched_count(&f, "dmem_buf_copyin", "stop"), 2);
    assert_int_equal(fetched_count(&f, "nrt_tensor_read", "stop"), 1);
    assert_int_equal(fetched_count(&f, "dmem_buf_copyout", "stop"), 1);
    assert_int_equal(
        fetched_number(&f,
                       json_member(&f.doc, fetched_find(&f, "dmem_buf_copyout", "stop", 0), "data"),
                       "size"),
        sizeof(v));
    assert_int_equal(fetched_count(&f, "nrt_unload", "stop"), 1);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());
}

static void model_switches_and_nans_are_events(void **state)
{
    float nan[2][1] = {{0.0f}, {1.0f / 0.0f}}; /* 0 * infinity */
    struct fetched f;
    struct io io;
    struct add_job j;
    nrt_model_t *m;

    add_job_init(&j, 0, 8);
    m = load_at(neff_multiply(), 0, 1);
    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    io_add(&io, true, "b", DEV, 0, 4);
    io_add(&io, false, "c", DEV, 0, 4);
    put_floats(io.t[0], nan[0], 1);
    put_floats(io.t[1], nan[1], 1);
    assert_ok(nrt_sys_trace_start(NULL));
    add_job_run(&j, 2); /* the model that ran last */
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_COMPLETED_WITH_NUM_ERR);
    fetched_init(&f, NULL);
    assert_int_equal(fetched_count(&f, "nrt_model_switch", "instant"), 1);
    assert_int_equal(fetched_count(&f, "numerical_err", "instant"), 1);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());
    io_fini(&io);
    assert_ok(nrt_unload(m));
    add_job_fini(&j);
}

/* ---- collectives ---- */

#define RANKS 2u
#define EXECS 3u

struct rank {
    pthread_t thread;
    uint32_t id;
    struct bytes neff;
    float got;
    bool good;
};

static void *rank_thread(void *arg)
{
    struct rank *r = arg;
    float v[4] = {(float)r->id + 1, 0, 0, 0};
    uint32_t all[RANKS];
    nrt_model_t *m;
    struct io io;
    int vnc = (int)r->id;

    if (nrt_load_collectives(r->neff.data, r->neff.size, vnc, 1, r->id, RANKS, &m) != NRT_SUCCESS)
        return NULL;
    io_init(&io);
    put_floats(io_add(&io, true, "a", DEV, vnc, sizeof(v)), v, 4);
    io_add(&io, false, "c", DEV, vnc, sizeof(v));
    r->good = true;
    for (unsigned i = 0; i < EXECS; i++)
        r->good = r->good && nrt_execute(m, io.in, io.out) == NRT_SUCCESS;
    r->good = r->good && nrt_barrier(vnc, r->id, RANKS) == NRT_SUCCESS &&
              nrt_all_gather(vnc, r->id, RANKS, sizeof(r->id), &r->id, all) == NRT_SUCCESS;
    r->got = get_float(io.t[1], 0);
    io_fini(&io);
    r->good = nrt_unload(m) == NRT_SUCCESS && r->good;
    return NULL;
}

/* A pair of a start and a stop on each rank's core, so many times; the stop has a status unless it
 * names the operation. */
static void pairs_of_each_rank(const struct fetched *f, const char *type, unsigned times,
                               const char *value)
{
    unsigned of[RANKS] = {0};

    assert_int_equal(fetched_count(f, type, "start"), RANKS * times);
    assert_int_equal(fetched_count(f, type, "stop"), RANKS * times);
    for (unsigned i = 0; i < RANKS * times; i++) {
        const struct json_node *a = fetched_find(f, type, "start", i), *b = NULL;
        uint64_t core = fetched_number(f, a, "nc_idx");

        for (unsigned k = 0; k < RANKS * times && !b; k++) {
            b = fetched_find(f, type, "stop", k);
            if (fetched_number(f, b, "tracking_id") != fetched_number(f, a, "tracking_id"))
                b = NULL;
        }
        assert_non_null(b);
        assert_int_equal(fetched_number(f, b, "nc_idx"), core);
        assert_true(fetched_number(f, b, "timestamp_ns") >= fetched_number(f, a, "timestamp_ns"));
        assert_int_equal(fetched_number(f, json_member(&f->doc, b, "data"), value), 0);
        assert_true(core < RANKS);
        of[core]++;
    }
    for (unsigned r = 0; r < RANKS; r++)
        assert_int_equal(of[r], times);
}

/* Each operation of a NEFF on its core, and what the host exchanges. */
static void collectives_are_events(void **state)
{
    struct bytes neff = neff_all_reduce(RANKS, 4);
    struct rank r[RANKS];
    struct fetched f;

    assert_ok(nrt_sys_trace_start(NULL));
    for (uint32_t i = 0; i < RANKS; i++) {
        r[i] = (struct rank){.id = i, .neff = neff};
        assert_int_equal(pthread_create(&r[i].thread, NULL, rank_thread, &r[i]), 0);
    }
    for (unsigned i = 0; i < RANKS; i++)
        pthread_join(r[i].thread, NULL);
    for (unsigned i = 0; i < RANKS; i++)
        assert_true(r[i].good && r[i].got == 3);
    fetched_init(&f, NULL);
    pairs_of_each_rank(&f, "cc_running", EXECS, "operation"); /* entry 0 of the table */
    pairs_of_each_rank(&f, "cc_exec_barrier", 1, "status");
    pairs_of_each_rank(&f, "cc_exec", 1, "status");
    PROVES("intra-028");
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());
    neff_free(&neff);
}

/* ---- filters, limits, drops ---- */

static void one_type(nrt_sys_trace_config_t *o, const char *type)
{
    const char **all;
    size_t n;

    assert_ok(nrt_sys_trace_get_event_types(&all, &n));
    for (size_t i = 0; i < n; i++)
        assert_ok(nrt_sys_trace_config_set_capture_enabled_for_event_type(
            o, all[i], strcmp(all[i], type) == 0));
    nrt_sys_trace_free_event_types(all, n);
}

static void rings_hold_what_they_may(void **state)
{
    nrt_sys_trace_config_t *o;
    struct fetched f;
    struct add_job j;

    add_job_init(&j, 0, 8);
    assert_ok(nrt_sys_trace_config_allocate(&o));
    one_type(o, "device_exec"); /* so that the numbers are known: each execution is two events */
    nrt_sys_trace_config_set_max_events_per_nc(o, 10);
    assert_ok(nrt_sys_trace_start(o));
    add_job_run(&j, 20);
    fetched_init(&f, NULL);
    assert_int_equal(f.events->u.count, 10);
    assert_int_equal(fetched_count(&f, "device_exec", "start"), 5);
    assert_int_equal(fetched_number(&f, f.doc.nodes, "stored_events"), 40);
    assert_int_equal(fetched_number(&f, f.doc.nodes, "dropped_events"), 30);
    /* The oldest went: what is left are the last five executions. */
    assert_int_equal(fetched_number(&f, fetched_find(&f, "device_exec", "stop", 4), "seq_id") -
                         fetched_number(&f, fetched_find(&f, "device_exec", "start", 0), "seq_id"),
                     4);
    fetched_fini(&f);
    PROVES("api-109");
    PROVES("api-203");
    assert_ok(nrt_sys_trace_stop());

    nrt_sys_trace_config_set_max_events_per_nc(o, 0);
    assert_ok(nrt_sys_trace_start(o));
    add_job_run(&j, 3);
    fetched_init(&f, NULL);
    assert_int_equal(f.events->u.count, 0);
    assert_int_equal(fetched_number(&f, f.doc.nodes, "dropped_events"), 6);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());

    nrt_sys_trace_config_set_max_events_per_nc(o, UINT64_MAX); /* no host has that much */
    assert_fails(nrt_sys_trace_start(o), NRT_RESOURCE, "nrt_sys_trace_start");
    assert_fails(nrt_sys_trace_stop(), NRT_FAILURE, "nrt_sys_trace_stop");
    nrt_sys_trace_config_free(o);
    add_job_fini(&j);
}

/* Only events of this core, of this type alone. */
static nrt_sys_trace_config_t *only(uint32_t core, const char *type)
{
    nrt_sys_trace_config_t *o;

    assert_ok(nrt_sys_trace_config_allocate(&o));
    one_type(o, type);
    for (uint32_t i = 0; i < 128; i++)
        nrt_sys_trace_config_set_capture_enabled_for_nc(o, i, i == core);
    return o;
}

/* Both jobs run once; events of each kind that are there then. */
static void joined_sees(struct add_job *j, unsigned executions0, unsigned executions1,
                        unsigned device0, unsigned device1)
{
    const unsigned want[2][2] = {{executions0, device0}, {executions1, device1}};
    nrt_sys_trace_fetch_options_t *fo;
    struct fetched f;

    add_job_run(&j[0], 1);
    add_job_run(&j[1], 1);
    assert_ok(nrt_sys_trace_fetch_options_allocate(&fo));
    for (unsigned core = 0; core < 2; core++) {
        nrt_sys_trace_fetch_options_set_nc_idx(fo, core);
        fetched_init(&f, fo);
        assert_int_equal(fetched_count(&f, "nrt_execute", "stop"), want[core][0]);
        assert_int_equal(fetched_count(&f, "device_exec", "stop"), want[core][1]);
        assert_int_equal(f.events->u.count, 2 * (want[core][0] + want[core][1]));
        fetched_fini(&f);
    }
    nrt_sys_trace_fetch_options_free(fo);
}

/* Sessions of several threads, each of which cares for a core of its own. */
static void starts_share_a_capture(void **state)
{
    nrt_sys_trace_config_t *first = only(1, "device_exec"), *second = only(0, "nrt_execute");
    struct add_job j[2];

    add_job_init(&j[0], 0, 8);
    add_job_init(&j[1], 1, 8);
    assert_ok(nrt_sys_trace_start(first));
    joined_sees(j, 0, 0, 0, 1);

    nrt_sys_trace_config_set_max_events_per_nc(second, UINT64_MAX); /* no host has that much */
    assert_fails(nrt_sys_trace_start(second), NRT_RESOURCE, "nrt_sys_trace_start");
    joined_sees(j, 0, 0, 0, 1); /* what ran goes on as it was */

    nrt_sys_trace_config_set_max_events_per_nc(second, 100);
    assert_ok(nrt_sys_trace_start(second));
    joined_sees(j, 1, 1, 1, 1);
    assert_ok(nrt_sys_trace_stop());
    joined_sees(j, 1, 1, 1, 1);
    assert_ok(nrt_sys_trace_stop());
    assert_fails(nrt_sys_trace_stop(), NRT_FAILURE, "nrt_sys_trace_stop");

    assert_ok(nrt_sys_trace_start(first)); /* nothing of the one before is left */
    joined_sees(j, 0, 0, 0, 1);
    assert_ok(nrt_sys_trace_stop());
    nrt_sys_trace_config_free(first);
    nrt_sys_trace_config_free(second);
    add_job_fini(&j[0]);
    add_job_fini(&j[1]);
}

static void cores_are_left_out_and_chosen(void **state)
{
    nrt_sys_trace_fetch_options_t *fo;
    nrt_sys_trace_config_t *o;
    struct fetched f;
    struct add_job j[2];

    add_job_init(&j[0], 0, 8);
    add_job_init(&j[1], 1, 8);
    assert_ok(nrt_sys_trace_config_allocate(&o));
    for (uint32_t i = 0; i < 128; i++) /* on any machine */
        nrt_sys_trace_config_set_capture_enabled_for_nc(o, i, false);
    nrt_sys_trace_config_set_capture_enabled_for_nc(o, UINT32_MAX, false);
    assert_ok(nrt_sys_trace_start(o));
    add_job_run(&j[0], 2);
    add_job_run(&j[1], 2);
    fetched_init(&f, NULL);
    assert_int_equal(f.events->u.count, 0);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());

    nrt_sys_trace_config_set_capture_enabled_for_nc(o, 1, true);
    assert_ok(nrt_sys_trace_start(o));
    add_job_run(&j[0], 2);
    add_job_run(&j[1], 3);
    fetched_init(&f, NULL);
    assert_int_equal(fetched_count(&f, "device_exec", "stop"), 3);
    assert_int_equal(fetched_count(&f, "nrt_execute", "stop"), 3);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());
    PROVES("api-110");

    assert_ok(nrt_sys_trace_fetch_options_allocate(&fo));
    assert_ok(nrt_sys_trace_start(NULL));
    add_job_run(&j[0], 4);
    add_job_run(&j[1], 5);
    nrt_sys_trace_fetch_options_set_nc_idx(fo, 1);
    nrt_sys_trace_fetch_options_set_max_events_per_nc(fo, 3);
    fetched_init(&f, fo);
    assert_int_equal(f.events->u.count, 3);
    for (const struct json_node *e = json_first(f.events); e < f.doc.nodes + f.events->next;
         e = json_next(&f.doc, e))
        assert_int_equal(fetched_number(&f, e, "nc_idx"), 1);
    fetched_fini(&f);
    PROVES("api-120");
    nrt_sys_trace_fetch_options_set_defaults(fo);
    nrt_sys_trace_fetch_options_set_nc_idx(fo, 0);
    fetched_init(&f, fo);
    assert_int_equal(fetched_count(&f, "device_exec", "stop"), 4);
    assert_int_equal(fetched_count(&f, "nrt_execute", "start"), 4);
    fetched_fini(&f);
    PROVES("api-118");
    nrt_sys_trace_fetch_options_set_nc_idx(fo, 7); /* no such core: nothing */
    fetched_init(&f, fo);
    assert_int_equal(f.events->u.count, 0);
    fetched_fini(&f);
    PROVES("api-121");
    fetched_init(&f, NULL); /* the rest of core 1 */
    assert_int_equal(fetched_count(&f, "device_exec", "stop"), 5);
    fetched_fini(&f);
    nrt_sys_trace_fetch_options_free(fo);
    assert_ok(nrt_sys_trace_fetch_options_allocate(&fo)); /* the defaults again: all */
    add_job_run(&j[0], 1);
    add_job_run(&j[1], 1);
    fetched_init(&f, fo);
    assert_int_equal(fetched_count(&f, "device_exec", "stop"), 2);
    fetched_fini(&f);
    PROVES("api-117");
    nrt_sys_trace_fetch_options_free(fo);
    PROVES("api-119");
    assert_ok(nrt_sys_trace_stop());
    nrt_sys_trace_config_free(o);
    add_job_fini(&j[0]);
    add_job_fini(&j[1]);
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS  400

static void *runner(void *arg)
{
    struct add_job *j = arg;

    for (int i = 0; i < ROUNDS; i++)
        if (nrt_execute(j->m, j->io.in, j->io.out) != NRT_SUCCESS)
            return NULL;
    return arg;
}

/* Captures come and go while threads execute; one that lasts sees every execution once. */
static void threads_share_the_rings(void **state)
{
    unsigned seen = 0, stops = 0;
    pthread_t t[THREADS];
    struct add_job j[THREADS];
    struct fetched f;

    for (int i = 0; i < THREADS; i++)
        add_job_init(&j[i], i % 2, 8);
    assert_ok(nrt_sys_trace_start(NULL));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, runner, &j[i]), 0);
    for (int k = 0; k < 20; k++) {
        fetched_init(&f, NULL);
        seen += fetched_count(&f, "device_exec", "start");
        stops += fetched_count(&f, "device_exec", "stop");
        fetched_fini(&f);
    }
    for (int i = 0; i < THREADS; i++) {
        void *ok;

        assert_int_equal(pthread_join(t[i], &ok), 0);
        assert_non_null(ok);
    }
    fetched_init(&f, NULL);
    seen += fetched_count(&f, "device_exec", "start");
    stops += fetched_count(&f, "device_exec", "stop");
    assert_int_equal(fetched_number(&f, f.doc.nodes, "dropped_events"), 0);
    fetched_fini(&f);
    assert_int_equal(seen, THREADS * ROUNDS);
    assert_int_equal(stops, THREADS * ROUNDS);
    assert_ok(nrt_sys_trace_stop());

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, runner, &j[i]), 0);
    for (int k = 0; k < 50; k++) {
        assert_ok(nrt_sys_trace_start(NULL));
        assert_ok(nrt_sys_trace_stop());
    }
    for (int i = 0; i < THREADS; i++) {
        void *ok;

        assert_int_equal(pthread_join(t[i], &ok), 0);
        assert_non_null(ok);
        add_job_fini(&j[i]);
    }
}

static void fork_leaves_the_capture_to_the_parent(void **state)
{
    struct fetched f;
    struct add_job j;
    int status;
    pid_t pid;

    add_job_init(&j, 0, 8);
    assert_ok(nrt_sys_trace_start(NULL));
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(nrt_sys_trace_stop() == NRT_UNINITIALIZED ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    add_job_run(&j, 1);
    fetched_init(&f, NULL);
    assert_int_equal(fetched_count(&f, "device_exec", "stop"), 1);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());
    add_job_fini(&j);
}

static void calls_need_init(void **state)
{
    char *buf = NULL;
    size_t n = 0;

    assert_fails(nrt_sys_trace_start(NULL), NRT_UNINITIALIZED, "nrt_sys_trace_start");
    assert_fails(nrt_sys_trace_stop(), NRT_UNINITIALIZED, "nrt_sys_trace_stop");
    assert_fails(nrt_sys_trace_fetch_events(&buf, &n, NULL), NRT_UNINITIALIZED,
                 "nrt_sys_trace_fetch_events");
}

/* A capture that nobody ended goes with its session. */
static void close_ends_the_capture(void **state)
{
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_ok(nrt_sys_trace_start(NULL));
    nrt_close();
    assert_fails(nrt_sys_trace_stop(), NRT_CLOSED, "nrt_sys_trace_stop");
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_fails(nrt_sys_trace_stop(), NRT_FAILURE, "nrt_sys_trace_stop");
    nrt_close();
}

static int setup(void **state)
{
    setenv("NEURON_FAIL_ON_NAN", "1", 1);
    return models_setup(state);
}

int main(void)
{
    const struct CMUnitTest before[] = {cmocka_unit_test(calls_need_init),
                                        cmocka_unit_test(close_ends_the_capture)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_have_defaults_and_names),
        cmocka_unit_test(options_refuse_what_is_none),
        cmocka_unit_test(capture_begins_and_ends_once),
        cmocka_unit_test(document_tells_what_ran),
        cmocka_unit_test(document_pairs_starts_and_stops),
        cmocka_unit_test(model_switches_and_nans_are_events),
        cmocka_unit_test(collectives_are_events),
        cmocka_unit_test(rings_hold_what_they_may),
        cmocka_unit_test(starts_share_a_capture),
        cmocka_unit_test(cores_are_left_out_and_chosen),
        cmocka_unit_test(threads_share_the_rings),
        cmocka_unit_test(fork_leaves_the_capture_to_the_parent),
    };
    int failed;

    api_env("trn1.2xlarge", 0);
    failed = cmocka_run_group_tests(before, NULL, NULL);
    api_env_end();
    return failed + cmocka_run_group_tests(tests, setup, models_teardown);
}
