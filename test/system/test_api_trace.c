/* SPDX-License-Identifier: Apache-2.0 */
/* The system trace: api.md 9, and functions 69 and 70 of section 7. Documents are read with the
 * JSON reader, as a client would. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "models.h"
#include "neff/json.h"
#include "neffs.h"
#include "nrt/nrt_sys_trace.h"
#include "proves.h"

/* ---- documents ---- */

struct fetched {
    char *text;
    size_t size;
    struct json_doc doc;
    const struct json_node *events;
};

static void doc_read(struct fetched *f)
{
    struct err err = {0};

    memset(&f->doc, 0, sizeof(f->doc));
    assert_int_equal(f->text[f->size], '\0');
    assert_int_equal(strlen(f->text), f->size);
    if (json_parse(&f->doc, "events", f->text, f->size, &err) != NRT_SUCCESS)
        fail_msg("%s in\n%s", err.text, f->text);
    f->events = json_member(&f->doc, f->doc.nodes, "events");
    assert_non_null(f->events);
    assert_int_equal(f->events->type, JSON_ARRAY);
}

static void fetch(struct fetched *f, const nrt_sys_trace_fetch_options_t *o)
{
    f->text = NULL;
    f->size = SIZE_MAX;
    assert_ok(nrt_sys_trace_fetch_events(&f->text, &f->size, o));
    doc_read(f);
}

static void fetched_fini(struct fetched *f)
{
    json_doc_fini(&f->doc);
    nrt_sys_trace_buffer_free(f->text);
}

static uint64_t number(const struct fetched *f, const struct json_node *obj, const char *name)
{
    const struct json_node *n = json_member(&f->doc, obj, name);

    assert_non_null(n);
    assert_int_equal(n->type, JSON_INT);
    return (uint64_t)n->u.i;
}

static const char *text(const struct fetched *f, const struct json_node *obj, const char *name)
{
    const struct json_node *n = json_member(&f->doc, obj, name);

    assert_non_null(n);
    assert_int_equal(n->type, JSON_STRING);
    return json_text(&f->doc, n);
}

static bool is(const struct fetched *f, const struct json_node *e, const char *type,
               const char *phase)
{
    return strcmp(text(f, e, "event_type"), type) == 0 &&
           (!phase || strcmp(text(f, e, "phase"), phase) == 0);
}

/* The n-th event of this type and phase; NULL: there are fewer. */
static const struct json_node *find(const struct fetched *f, const char *type, const char *phase,
                                    unsigned n)
{
    const struct json_node *e = json_first(f->events);

    for (uint64_t i = 0; i < f->events->u.count; i++, e = json_next(&f->doc, e))
        if (is(f, e, type, phase) && n-- == 0)
            return e;
    return NULL;
}

static unsigned count(const struct fetched *f, const char *type, const char *phase)
{
    unsigned n = 0;

    while (find(f, type, phase, n))
        n++;
    return n;
}

/* A model, its tensors, and one execution of it on core vnc. */
struct job {
    nrt_model_t *m;
    struct io io;
};

static void job_init(struct job *j, int vnc)
{
    float v[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    j->m = load_at(neff_add(8), vnc, 1);
    io_init(&j->io);
    io_add(&j->io, true, "a", DEV, vnc, sizeof(v));
    io_add(&j->io, true, "b", DEV, vnc, sizeof(v));
    io_add(&j->io, false, "c", DEV, vnc, sizeof(v));
    put_floats(j->io.t[0], v, 8);
    put_floats(j->io.t[1], v, 8);
    assert_ok(nrt_execute(j->m, j->io.in, j->io.out)); /* binds */
}

static void job_run(struct job *j, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        assert_ok(nrt_execute(j->m, j->io.in, j->io.out));
}

static void job_fini(struct job *j)
{
    io_fini(&j->io);
    assert_ok(nrt_unload(j->m));
}

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
    fetch(&f, NULL); /* nothing yet: an empty list, not no list */
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
    struct job j;

    job_init(&j, 0);
    clock_gettime(CLOCK_REALTIME, &now);
    before = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    assert_ok(nrt_sys_trace_start(NULL));
    job_run(&j, 5);
    fetch(&f, NULL);
    assert_int_equal(count(&f, "nrt_execute", "start"), 5);
    assert_int_equal(count(&f, "nrt_execute", "stop"), 5);
    assert_int_equal(count(&f, "runtime_execute", "stop"), 5);
    assert_int_equal(count(&f, "device_exec", "stop"), 5);
    for (unsigned i = 0; i < 5; i++) {
        const struct json_node *a = find(&f, "nc_exec_running", "start", i);
        const struct json_node *b = find(&f, "nc_exec_running", "stop", i);
        const struct json_node *s = find(&f, "timestamp_sync_point", "instant", i);
        const struct json_node *da, *db, *ds;

        assert_true(a && b && s);
        da = json_member(&f.doc, a, "data");
        db = json_member(&f.doc, b, "data");
        ds = json_member(&f.doc, s, "data");
        assert_int_equal(number(&f, a, "tracking_id"), number(&f, b, "tracking_id"));
        assert_int_equal(number(&f, a, "nc_idx"), 0);
        assert_int_equal(number(&f, a, "process_id"), getpid());
        assert_int_equal(number(&f, a, "thread_id"), gettid());
        assert_int_equal(number(&f, da, "exec_id"), number(&f, db, "exec_id"));
        assert_true(number(&f, da, "nc_timestamp_ns") >= last);
        last = number(&f, db, "nc_timestamp_ns");
        /* A transfer takes a while: 1.3 us or more before its first byte (neuroncore.md 7). */
        assert_true(last - number(&f, da, "nc_timestamp_ns") > 1000);
        assert_true(number(&f, a, "timestamp_ns") >= before);
        assert_true(number(&f, a, "timestamp_ns") >= shown);
        shown = number(&f, b, "timestamp_ns");
        assert_true(shown >= number(&f, a, "timestamp_ns"));
        /* The sync point pairs the two clocks at the start of this execution. */
        assert_int_equal(number(&f, ds, "cpu_timestamp_ns"), number(&f, a, "timestamp_ns"));
        assert_int_equal(number(&f, ds, "nc_timestamp_ns"), number(&f, da, "nc_timestamp_ns"));
        assert_string_equal(text(&f, a, "model_name"), "add");
    }
    PROVES("api-202");
    fetched_fini(&f);

    fetch(&f, NULL); /* once fetched, they are gone */
    assert_int_equal(f.events->u.count, 0);
    fetched_fini(&f);
    PROVES("api-122");
    PROVES("api-123");
    assert_ok(nrt_sys_trace_stop());
    job_fini(&j);
}

/* Each start has its stop, later and with the same number, and every call is there. */
static void document_pairs_starts_and_stops(void **state)
{
    float v[8] = {0};
    struct fetched f;
    struct job j;

    assert_ok(nrt_sys_trace_start(NULL));
    job_init(&j, 1);
    assert_ok(nrt_tensor_read(j.io.t[2], v, 0, sizeof(v)));
    job_fini(&j);
    fetch(&f, NULL);
    for (const struct json_node *e = json_first(f.events); e < f.doc.nodes + f.events->next;
         e = json_next(&f.doc, e)) {
        bool found = false;

        if (strcmp(text(&f, e, "phase"), "start") != 0)
            continue;
        for (const struct json_node *x = json_next(&f.doc, e); x < f.doc.nodes + f.events->next;
             x = json_next(&f.doc, x))
            if (is(&f, x, text(&f, e, "event_type"), "stop") &&
                number(&f, x, "tracking_id") == number(&f, e, "tracking_id")) {
                assert_true(number(&f, x, "timestamp_ns") >= number(&f, e, "timestamp_ns"));
                found = true;
            }
        if (!found)
            fail_msg("no stop of %s", text(&f, e, "event_type"));
    }
    assert_int_equal(count(&f, "nrt_load", "start"), 1);
    assert_int_equal(number(&f, find(&f, "nrt_load", "start", 0), "nc_idx"), 1);
    assert_int_equal(count(&f, "model_load", "start"), 1);
    assert_int_equal(count(&f, "nrt_tensor_allocate", "stop"), 3);
    assert_int_equal(count(&f, "nrt_tensor_write", "stop"), 2);
    assert_int_equal(count(&f, "tensor_write", "stop"), 2);
    assert_int_equal(count(&f, "dmem_buf_copyin", "stop"), 2);
    assert_int_equal(count(&f, "nrt_tensor_read", "stop"), 1);
    assert_int_equal(count(&f, "dmem_buf_copyout", "stop"), 1);
    assert_int_equal(
        number(&f, json_member(&f.doc, find(&f, "dmem_buf_copyout", "stop", 0), "data"), "size"),
        sizeof(v));
    assert_int_equal(count(&f, "nrt_unload", "stop"), 1);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());
}

static void model_switches_and_nans_are_events(void **state)
{
    float nan[2][1] = {{0.0f}, {1.0f / 0.0f}}; /* 0 * infinity */
    struct fetched f;
    struct io io;
    struct job j;
    nrt_model_t *m;

    job_init(&j, 0);
    m = load_at(neff_multiply(), 0, 1);
    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    io_add(&io, true, "b", DEV, 0, 4);
    io_add(&io, false, "c", DEV, 0, 4);
    put_floats(io.t[0], nan[0], 1);
    put_floats(io.t[1], nan[1], 1);
    assert_ok(nrt_sys_trace_start(NULL));
    job_run(&j, 2); /* the model that ran last */
    assert_int_equal(nrt_execute(m, io.in, io.out), NRT_EXEC_COMPLETED_WITH_NUM_ERR);
    fetch(&f, NULL);
    assert_int_equal(count(&f, "nrt_model_switch", "instant"), 1);
    assert_int_equal(count(&f, "numerical_err", "instant"), 1);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());
    io_fini(&io);
    assert_ok(nrt_unload(m));
    job_fini(&j);
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

    assert_int_equal(count(f, type, "start"), RANKS * times);
    assert_int_equal(count(f, type, "stop"), RANKS * times);
    for (unsigned i = 0; i < RANKS * times; i++) {
        const struct json_node *a = find(f, type, "start", i), *b = NULL;
        uint64_t core = number(f, a, "nc_idx");

        for (unsigned k = 0; k < RANKS * times && !b; k++) {
            b = find(f, type, "stop", k);
            if (number(f, b, "tracking_id") != number(f, a, "tracking_id"))
                b = NULL;
        }
        assert_non_null(b);
        assert_int_equal(number(f, b, "nc_idx"), core);
        assert_true(number(f, b, "timestamp_ns") >= number(f, a, "timestamp_ns"));
        assert_int_equal(number(f, json_member(&f->doc, b, "data"), value), 0);
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
    fetch(&f, NULL);
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
    struct job j;

    job_init(&j, 0);
    assert_ok(nrt_sys_trace_config_allocate(&o));
    one_type(o, "device_exec"); /* so that the numbers are known: each execution is two events */
    nrt_sys_trace_config_set_max_events_per_nc(o, 10);
    assert_ok(nrt_sys_trace_start(o));
    job_run(&j, 20);
    fetch(&f, NULL);
    assert_int_equal(f.events->u.count, 10);
    assert_int_equal(count(&f, "device_exec", "start"), 5);
    assert_int_equal(number(&f, f.doc.nodes, "stored_events"), 40);
    assert_int_equal(number(&f, f.doc.nodes, "dropped_events"), 30);
    /* The oldest went: what is left are the last five executions. */
    assert_int_equal(number(&f, find(&f, "device_exec", "stop", 4), "seq_id") -
                         number(&f, find(&f, "device_exec", "start", 0), "seq_id"),
                     4);
    fetched_fini(&f);
    PROVES("api-109");
    PROVES("api-203");
    assert_ok(nrt_sys_trace_stop());

    nrt_sys_trace_config_set_max_events_per_nc(o, 0);
    assert_ok(nrt_sys_trace_start(o));
    job_run(&j, 3);
    fetch(&f, NULL);
    assert_int_equal(f.events->u.count, 0);
    assert_int_equal(number(&f, f.doc.nodes, "dropped_events"), 6);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());

    nrt_sys_trace_config_set_max_events_per_nc(o, UINT64_MAX); /* no host has that much */
    assert_fails(nrt_sys_trace_start(o), NRT_RESOURCE, "nrt_sys_trace_start");
    assert_fails(nrt_sys_trace_stop(), NRT_FAILURE, "nrt_sys_trace_stop");
    nrt_sys_trace_config_free(o);
    job_fini(&j);
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
static void joined_sees(struct job *j, unsigned executions0, unsigned executions1, unsigned device0,
                        unsigned device1)
{
    const unsigned want[2][2] = {{executions0, device0}, {executions1, device1}};
    nrt_sys_trace_fetch_options_t *fo;
    struct fetched f;

    job_run(&j[0], 1);
    job_run(&j[1], 1);
    assert_ok(nrt_sys_trace_fetch_options_allocate(&fo));
    for (unsigned core = 0; core < 2; core++) {
        nrt_sys_trace_fetch_options_set_nc_idx(fo, core);
        fetch(&f, fo);
        assert_int_equal(count(&f, "nrt_execute", "stop"), want[core][0]);
        assert_int_equal(count(&f, "device_exec", "stop"), want[core][1]);
        assert_int_equal(f.events->u.count, 2 * (want[core][0] + want[core][1]));
        fetched_fini(&f);
    }
    nrt_sys_trace_fetch_options_free(fo);
}

/* Sessions of several threads, each of which cares for a core of its own. */
static void starts_share_a_capture(void **state)
{
    nrt_sys_trace_config_t *first = only(1, "device_exec"), *second = only(0, "nrt_execute");
    struct job j[2];

    job_init(&j[0], 0);
    job_init(&j[1], 1);
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
    job_fini(&j[0]);
    job_fini(&j[1]);
}

static void cores_are_left_out_and_chosen(void **state)
{
    nrt_sys_trace_fetch_options_t *fo;
    nrt_sys_trace_config_t *o;
    struct fetched f;
    struct job j[2];

    job_init(&j[0], 0);
    job_init(&j[1], 1);
    assert_ok(nrt_sys_trace_config_allocate(&o));
    for (uint32_t i = 0; i < 128; i++) /* on any machine */
        nrt_sys_trace_config_set_capture_enabled_for_nc(o, i, false);
    nrt_sys_trace_config_set_capture_enabled_for_nc(o, UINT32_MAX, false);
    assert_ok(nrt_sys_trace_start(o));
    job_run(&j[0], 2);
    job_run(&j[1], 2);
    fetch(&f, NULL);
    assert_int_equal(f.events->u.count, 0);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());

    nrt_sys_trace_config_set_capture_enabled_for_nc(o, 1, true);
    assert_ok(nrt_sys_trace_start(o));
    job_run(&j[0], 2);
    job_run(&j[1], 3);
    fetch(&f, NULL);
    assert_int_equal(count(&f, "device_exec", "stop"), 3);
    assert_int_equal(count(&f, "nrt_execute", "stop"), 3);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());
    PROVES("api-110");

    assert_ok(nrt_sys_trace_fetch_options_allocate(&fo));
    assert_ok(nrt_sys_trace_start(NULL));
    job_run(&j[0], 4);
    job_run(&j[1], 5);
    nrt_sys_trace_fetch_options_set_nc_idx(fo, 1);
    nrt_sys_trace_fetch_options_set_max_events_per_nc(fo, 3);
    fetch(&f, fo);
    assert_int_equal(f.events->u.count, 3);
    for (const struct json_node *e = json_first(f.events); e < f.doc.nodes + f.events->next;
         e = json_next(&f.doc, e))
        assert_int_equal(number(&f, e, "nc_idx"), 1);
    fetched_fini(&f);
    PROVES("api-120");
    nrt_sys_trace_fetch_options_set_defaults(fo);
    nrt_sys_trace_fetch_options_set_nc_idx(fo, 0);
    fetch(&f, fo);
    assert_int_equal(count(&f, "device_exec", "stop"), 4);
    assert_int_equal(count(&f, "nrt_execute", "start"), 4);
    fetched_fini(&f);
    PROVES("api-118");
    nrt_sys_trace_fetch_options_set_nc_idx(fo, 7); /* no such core: nothing */
    fetch(&f, fo);
    assert_int_equal(f.events->u.count, 0);
    fetched_fini(&f);
    PROVES("api-121");
    fetch(&f, NULL); /* the rest of core 1 */
    assert_int_equal(count(&f, "device_exec", "stop"), 5);
    fetched_fini(&f);
    nrt_sys_trace_fetch_options_free(fo);
    assert_ok(nrt_sys_trace_fetch_options_allocate(&fo)); /* the defaults again: all */
    job_run(&j[0], 1);
    job_run(&j[1], 1);
    fetch(&f, fo);
    assert_int_equal(count(&f, "device_exec", "stop"), 2);
    fetched_fini(&f);
    PROVES("api-117");
    nrt_sys_trace_fetch_options_free(fo);
    PROVES("api-119");
    assert_ok(nrt_sys_trace_stop());
    nrt_sys_trace_config_free(o);
    job_fini(&j[0]);
    job_fini(&j[1]);
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS  400

static void *runner(void *arg)
{
    struct job *j = arg;

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
    struct job j[THREADS];
    struct fetched f;

    for (int i = 0; i < THREADS; i++)
        job_init(&j[i], i % 2);
    assert_ok(nrt_sys_trace_start(NULL));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, runner, &j[i]), 0);
    for (int k = 0; k < 20; k++) {
        fetch(&f, NULL);
        seen += count(&f, "device_exec", "start");
        stops += count(&f, "device_exec", "stop");
        fetched_fini(&f);
    }
    for (int i = 0; i < THREADS; i++) {
        void *ok;

        assert_int_equal(pthread_join(t[i], &ok), 0);
        assert_non_null(ok);
    }
    fetch(&f, NULL);
    seen += count(&f, "device_exec", "start");
    stops += count(&f, "device_exec", "stop");
    assert_int_equal(number(&f, f.doc.nodes, "dropped_events"), 0);
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
        job_fini(&j[i]);
    }
}

static void fork_leaves_the_capture_to_the_parent(void **state)
{
    struct fetched f;
    struct job j;
    int status;
    pid_t pid;

    job_init(&j, 0);
    assert_ok(nrt_sys_trace_start(NULL));
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(nrt_sys_trace_stop() == NRT_UNINITIALIZED ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    job_run(&j, 1);
    fetch(&f, NULL);
    assert_int_equal(count(&f, "device_exec", "stop"), 1);
    fetched_fini(&f);
    assert_ok(nrt_sys_trace_stop());
    job_fini(&j);
}

/* ---- the API trace ---- */

static void api_trace_writes_a_file(void **state)
{
    char path[64];
    struct fetched f;
    struct job j;

    snprintf(path, sizeof(path), "/tmp/test-api-trace-%d.json", (int)getpid());
    assert_fails(nrt_trace_stop(path), NRT_FAILURE, "nrt_trace_stop");
    assert_int_not_equal(access(path, F_OK), 0);
    for (int mem = 0; mem < 2; mem++) {
        assert_ok(nrt_trace_start(mem));
        assert_fails(nrt_trace_start(mem), NRT_FAILURE, "nrt_trace_start");
        PROVES("api-071");
        job_init(&j, 0);
        job_run(&j, 2);
        job_fini(&j);
        assert_fails(nrt_trace_stop(NULL), NRT_INVALID, "nrt_trace_stop");
        assert_fails(nrt_trace_stop("/no/such/folder/t"), NRT_INVALID, "nrt_trace_stop");
        assert_ok(nrt_trace_stop(path));
        assert_fails(nrt_trace_stop(path), NRT_FAILURE, "nrt_trace_stop");
        f.text = read_file(path, &f.size);
        f.text = realloc(f.text, f.size + 1);
        f.text[f.size] = '\0';
        doc_read(&f);
        assert_int_equal(count(&f, "nrt_execute", "stop"), 3);
        assert_int_equal(count(&f, "dmem_buf_copyin", "stop"), mem ? 2 : 0);
        json_doc_fini(&f.doc);
        free(f.text);
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
    struct job j;
    size_t room;

    snprintf(path, sizeof(path), "/tmp/test-api-full-%d.json", (int)getpid());
    assert_ok(nrt_trace_start(false));
    job_init(&j, 0); /* which runs it once */
    job_run(&j, TIMES - 1);
    room = api_disk_full(true);
    assert_fails(nrt_trace_stop(path), NRT_FAILURE, "nrt_trace_stop");
    api_disk_full(false);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_fails(nrt_trace_stop("/dev/full"), NRT_FAILURE, "nrt_trace_stop");
    assert_fails(nrt_trace_start(false), NRT_FAILURE, "nrt_trace_start"); /* it goes on */
    job_run(&j, 1);
    assert_ok(nrt_trace_stop(path));
    assert_fails(nrt_trace_stop(path), NRT_FAILURE, "nrt_trace_stop");
    f.text = read_file(path, &f.size);
    assert_true(f.size > room);
    f.text = realloc(f.text, f.size + 1);
    f.text[f.size] = '\0';
    doc_read(&f);
    assert_int_equal(count(&f, "device_exec", "stop"), TIMES + 1);
    json_doc_fini(&f.doc);
    free(f.text);
    assert_int_equal(unlink(path), 0);
    job_fini(&j);
}

static void calls_need_init(void **state)
{
    char *buf = NULL;
    size_t n = 0;

    assert_fails(nrt_sys_trace_start(NULL), NRT_UNINITIALIZED, "nrt_sys_trace_start");
    assert_fails(nrt_sys_trace_stop(), NRT_UNINITIALIZED, "nrt_sys_trace_stop");
    assert_fails(nrt_sys_trace_fetch_events(&buf, &n, NULL), NRT_UNINITIALIZED,
                 "nrt_sys_trace_fetch_events");
    assert_fails(nrt_trace_start(true), NRT_UNINITIALIZED, "nrt_trace_start");
    assert_fails(nrt_trace_stop("/dev/null"), NRT_UNINITIALIZED, "nrt_trace_stop");
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
        cmocka_unit_test(api_trace_writes_a_file),
        cmocka_unit_test_teardown(api_trace_outlives_a_full_disk, api_disk_free),
    };
    int failed;

    api_env("trn1.2xlarge", 0);
    failed = cmocka_run_group_tests(before, NULL, NULL);
    api_env_end();
    return failed + cmocka_run_group_tests(tests, setup, models_teardown);
}
