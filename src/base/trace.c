/* SPDX-License-Identifier: Apache-2.0 */
/* The rings, and their form as JSON. A ring's memory comes and goes under its lock, so an event
 * that meets the end of a capture finds no ring, and nobody waits for anybody else. */
#include "base/trace.h"

#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

struct type_row {
    const char *name;
    enum trace_group group;
    const char *key[TRACE_DATA];
};

#define HARDWARE TRACE_HARDWARE_GROUP
#define SOFTWARE TRACE_SOFTWARE_GROUP
static const struct type_row rows[TRACE_TYPE_COUNT] = {
#define ROW(name, group, key0, key1) [TRACE_##name] = {#name, group, {key0, key1}},
#define CALL(name)                   [TRACE_##name] = {#name, SOFTWARE, {NULL, NULL}},
    TRACE_HARDWARE(ROW) TRACE_SOFTWARE(ROW) TRACE_CALLS(CALL)
#undef ROW
#undef CALL
};

const char *trace_type_name(enum trace_type t)
{
    return rows[t].name;
}

enum trace_group trace_type_group(enum trace_type t)
{
    return rows[t].group;
}

enum trace_type trace_type_find(const char *name)
{
    for (unsigned t = TRACE_NONE + 1; t < TRACE_TYPE_COUNT; t++)
        if (strcmp(rows[t].name, name) == 0)
            return (enum trace_type)t;
    return TRACE_NONE;
}

/* ---- what a capture holds ---- */

static void bit_set(uint64_t *bits, uint64_t i, bool on)
{
    if (on)
        bits[i / 64] |= UINT64_C(1) << i % 64;
    else
        bits[i / 64] &= ~(UINT64_C(1) << i % 64);
}

void trace_config_defaults(struct trace_config *c)
{
    *c = (struct trace_config){.max_events = TRACE_MAX_EVENTS};
}

void trace_config_core(struct trace_config *c, uint64_t core, bool on)
{
    if (core < TRACE_CORE_MAX)
        bit_set(c->cores_off, core, !on);
}

void trace_config_type(struct trace_config *c, enum trace_type t, bool on)
{
    bit_set(c->types_off, t, !on);
}

/* ---- life ---- */

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t trace_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

NRT_STATUS trace_open(struct trace *t, uint32_t cores, struct err *err)
{
    t->rings = mem_calloc((size_t)cores + 1, sizeof(*t->rings));
    if (!t->rings)
        return err_set(err, NRT_RESOURCE, "no host memory for trace rings");
    t->cores = cores;
    for (uint32_t i = 0; i <= cores; i++)
        pthread_mutex_init(&t->rings[i].lock, NULL);
    return NRT_SUCCESS;
}

static void ring_drop(struct trace_ring *r)
{
    pthread_mutex_lock(&r->lock);
    mem_free(r->ev);
    r->ev = NULL;
    r->cap = r->first = r->count = r->stored = r->dropped = r->seen = 0;
    r->fresh = false;
    pthread_mutex_unlock(&r->lock);
}

static void rings_drop(struct trace *t)
{
    watched_count(__atomic_exchange_n(&t->on, 0, __ATOMIC_SEQ_CST), false);
    for (uint32_t i = 0; i <= t->cores; i++)
        ring_drop(&t->rings[i]);
}

void trace_close(struct trace *t)
{
    if (!t->rings)
        return;
    rings_drop(t);
    for (uint32_t i = 0; i <= t->cores; i++)
        pthread_mutex_destroy(&t->rings[i].lock);
    mem_free(t->rings);
    for (uint32_t i = 0; i < t->name_count; i++)
        mem_free(t->names[i]);
    mem_free(t->names);
    t->rings = NULL;
    t->names = NULL;
    t->name_count = t->cores = 0;
}

/* Of the calling thread, asked for once: a system call per event would cost more than the event. */
static __thread uint32_t tid_;

void trace_forget(struct trace *t)
{
    tid_ = 0;
    __atomic_store_n(&t->on, 0, __ATOMIC_SEQ_CST);
    pthread_mutex_init(&t->fetch, NULL); /* a thread that is not here may have held them */
    pthread_mutex_init(&t->lock, NULL);
    t->rings = NULL;
    t->names = NULL;
    t->name_count = t->cores = 0;
}

static bool ring_make(struct trace_ring *r, uint64_t max)
{
    struct trace_event *ev;

    if (r->ev)
        return true;
    if (max > SIZE_MAX / sizeof(*ev))
        return false;
    /* Fresh pages of the host cost nothing before they are written. One event at least, so that
     * ev tells whether there is a ring. */
    ev = mem_calloc(max > 0 ? (size_t)max : 1, sizeof(*ev));
    if (!ev)
        return false;
    pthread_mutex_lock(&r->lock);
    r->ev = ev;
    r->cap = max;
    r->fresh = true;
    pthread_mutex_unlock(&r->lock);
    return true;
}

/* Rings for the cores of c, and one for the process, where there are none yet; these are fresh. */
static bool rings_make(struct trace *t, const struct trace_config *c)
{
    bool some = false;

    for (uint32_t i = 0; i < t->cores; i++) {
        if (i < TRACE_CORE_MAX && c->cores_off[i / 64] >> i % 64 & 1)
            continue;
        if (!ring_make(&t->rings[i], c->max_events))
            return false;
        some = true;
    }
    return !some || ring_make(&t->rings[t->cores], c->max_events);
}

/* The fresh rings stay, or go. */
static void rings_settle(struct trace *t, bool stay)
{
    for (uint32_t i = 0; i <= t->cores; i++) {
        if (t->rings[i].fresh && !stay)
            ring_drop(&t->rings[i]);
        t->rings[i].fresh = false;
    }
}

/* A capture that runs holds what c asks for, too. */
static void types_join(struct trace *t, const struct trace_config *c, bool runs)
{
    for (unsigned i = 0; i < sizeof(c->types_off) / sizeof(*c->types_off); i++)
        __atomic_store_n(&t->types_off[i], c->types_off[i] & (runs ? t->types_off[i] : UINT64_MAX),
                         __ATOMIC_RELAXED);
}

NRT_STATUS trace_start(struct trace *t, enum trace_owner owner, const struct trace_config *c,
                       struct err *err)
{
    NRT_STATUS status = NRT_SUCCESS;
    bool runs, stay;

    pthread_mutex_lock(&t->fetch);
    pthread_mutex_lock(&t->lock);
    runs = __atomic_load_n(&t->on, __ATOMIC_SEQ_CST);
    if (runs && (owner != TRACE_BY_PROGRAM || t->owner != owner)) {
        status = err_set(err, NRT_FAILURE, "a capture of trace events is running already");
        goto out_unlock;
    }
    stay = rings_make(t, c);
    rings_settle(t, stay);
    if (!stay) {
        status = err_set(err, NRT_RESOURCE, "no host memory for rings of %llu trace events",
                         (unsigned long long)c->max_events);
        goto out_unlock;
    }
    types_join(t, c, runs);
    t->starts = runs ? t->starts + 1 : 1;
    t->owner = owner;
    if (!runs)
        t->epoch_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
    watched_count(__atomic_exchange_n(&t->on, 1, __ATOMIC_SEQ_CST), true);

out_unlock:
    pthread_mutex_unlock(&t->lock);
    pthread_mutex_unlock(&t->fetch);
    return status;
}

static NRT_STATUS not_running(struct err *err)
{
    return err_set(err, NRT_FAILURE, "no capture of trace events is running");
}

NRT_STATUS trace_stop(struct trace *t, enum trace_owner owner, struct err *err)
{
    NRT_STATUS status = NRT_SUCCESS;

    pthread_mutex_lock(&t->fetch);
    pthread_mutex_lock(&t->lock);
    if (!__atomic_load_n(&t->on, __ATOMIC_SEQ_CST) || t->owner != owner)
        status = not_running(err);
    else if (--t->starts == 0)
        rings_drop(t);
    pthread_mutex_unlock(&t->lock);
    pthread_mutex_unlock(&t->fetch);
    return status;
}

NRT_STATUS trace_running(struct trace *t, enum trace_owner owner, struct err *err)
{
    bool ok;

    pthread_mutex_lock(&t->lock);
    ok = __atomic_load_n(&t->on, __ATOMIC_SEQ_CST) && t->owner == owner;
    pthread_mutex_unlock(&t->lock);
    return ok ? NRT_SUCCESS : not_running(err);
}

/* ---- names ---- */

uint32_t trace_name_id(struct trace *t, const char *name)
{
    uint32_t id = 0;
    char **grown;

    pthread_mutex_lock(&t->lock);
    while (id < t->name_count && strcmp(t->names[id], name) != 0)
        id++;
    if (id == t->name_count) {
        grown = mem_realloc(t->names, (id + 1) * sizeof(*grown));
        if (grown) {
            t->names = grown;
            t->names[id] = mem_strdup(name);
        }
        if (grown && t->names[id])
            t->name_count++;
        else
            id = UINT32_MAX;
    }
    pthread_mutex_unlock(&t->lock);
    return id + 1;
}

const char *trace_name(struct trace *t, uint32_t id)
{
    const char *name = "";

    pthread_mutex_lock(&t->lock);
    if (id > 0 && id <= t->name_count)
        name = t->names[id - 1];
    pthread_mutex_unlock(&t->lock);
    return name;
}

/* ---- events ---- */

static uint32_t thread_id(void)
{
    if (tid_ == 0)
        tid_ = (uint32_t)syscall(SYS_gettid);
    return tid_;
}

void trace_put(struct trace *t, uint32_t core, const struct trace_event *e)
{
    struct trace_ring *r;
    uint64_t at, ns = e->ns ? e->ns : trace_now_ns();

    if (!trace_on(t) ||
        __atomic_load_n(&t->types_off[e->type / 64], __ATOMIC_RELAXED) >> e->type % 64 & 1)
        return;
    r = &t->rings[core < t->cores ? core : t->cores];
    pthread_mutex_lock(&r->lock);
    if (!r->ev)
        goto out_unlock;
    r->stored++;
    if (r->cap == 0) {
        r->dropped++;
        goto out_unlock;
    }
    if (r->count == r->cap) {
        r->first = r->first + 1 == r->cap ? 0 : r->first + 1;
        r->count--;
        r->dropped++;
    }
    at = r->first + r->count++;
    if (at >= r->cap)
        at -= r->cap;
    r->ev[at] = *e;
    r->ev[at].ns = ns;
    r->ev[at].tid = thread_id();

out_unlock:
    pthread_mutex_unlock(&r->lock);
}

/* ---- fetching ---- */

static bool batch_room(struct trace_batch *b, uint64_t more)
{
    struct trace_event *ev;
    uint32_t *core;

    if (more == 0)
        return true;
    ev = mem_realloc(b->ev, (b->count + more) * sizeof(*ev));
    if (!ev)
        return false;
    b->ev = ev;
    core = mem_realloc(b->core, (b->count + more) * sizeof(*core));
    if (!core)
        return false;
    b->core = core;
    return true;
}

/* Copy the oldest events of a ring. */
static bool ring_look(struct trace_ring *r, uint32_t core, uint64_t max, struct trace_batch *b)
{
    uint64_t n, at;
    bool ok;

    pthread_mutex_lock(&r->lock);
    n = r->count < max ? r->count : max;
    at = r->first;
    ok = batch_room(b, n);
    for (uint64_t i = 0; ok && i < n; i++) {
        b->ev[b->count] = r->ev[at];
        b->core[b->count++] = core;
        at = at + 1 == r->cap ? 0 : at + 1;
    }
    if (ok) {
        r->seen = r->stored - r->count + n;
        b->stored += r->stored;
        b->dropped += r->dropped;
    }
    pthread_mutex_unlock(&r->lock);
    return ok;
}

/* Take what was looked at, but for events that the ring has pushed out since. */
static void ring_take_seen(struct trace_ring *r)
{
    uint64_t first, n;

    pthread_mutex_lock(&r->lock);
    first = r->stored - r->count;
    n = r->seen > first ? r->seen - first : 0;
    if (n > 0) {
        r->first = (r->first + n) % r->cap;
        r->count -= n;
    }
    pthread_mutex_unlock(&r->lock);
}

static bool is_of(const struct trace *t, uint32_t ring, uint64_t core)
{
    return core == TRACE_ALL || (core == ring && ring < t->cores);
}

/* fetch is held. */
static NRT_STATUS look(struct trace *t, enum trace_owner owner, uint64_t core, uint64_t max,
                       struct trace_batch *ret, struct err *err)
{
    bool ok = true;

    *ret = (struct trace_batch){0};
    if (trace_running(t, owner, err) != NRT_SUCCESS)
        return NRT_FAILURE;
    for (uint32_t i = 0; ok && i <= t->cores; i++)
        if (is_of(t, i, core))
            ok = ring_look(&t->rings[i], i < t->cores ? i : TRACE_NO_CORE, max, ret);
    if (ok)
        return NRT_SUCCESS;
    trace_batch_fini(ret);
    return err_set(err, NRT_RESOURCE, "no host memory to fetch trace events");
}

NRT_STATUS trace_look(struct trace *t, enum trace_owner owner, struct trace_batch *ret,
                      struct err *err)
{
    NRT_STATUS status;

    pthread_mutex_lock(&t->fetch);
    status = look(t, owner, TRACE_ALL, TRACE_ALL, ret, err);
    pthread_mutex_unlock(&t->fetch);
    return status;
}

void trace_batch_fini(struct trace_batch *b)
{
    mem_free(b->ev);
    mem_free(b->core);
    *b = (struct trace_batch){0};
}

/* Values of the host's clock are given in the time of day, like the event's own. */
static bool is_host_time(const char *key)
{
    return strcmp(key, "cpu_timestamp_ns") == 0;
}

void trace_event_json(struct trace *t, const struct trace_event *e, uint32_t core,
                      struct strbuf *out)
{
    static const char *const phases[] = {"start", "stop", "instant"};
    const struct type_row *row = &rows[e->type];

    strbuf_printf(out,
                  "{\"event_type\":\"%s\",\"phase\":\"%s\",\"tracking_id\":%llu,"
                  "\"timestamp_ns\":%llu,\"process_id\":%d,\"thread_id\":%u",
                  row->name, phases[e->phase], (unsigned long long)e->tracking,
                  (unsigned long long)(e->ns + t->epoch_ns), (int)getpid(), e->tid);
    if (core != TRACE_NO_CORE)
        strbuf_printf(out, ",\"nc_idx\":%u", core);
    if (e->seq != 0)
        strbuf_printf(out, ",\"seq_id\":%llu", (unsigned long long)e->seq);
    if (e->name != 0) {
        strbuf_printf(out, ",\"rank_id\":%u,\"model_name\":", e->rank);
        strbuf_put_json(out, trace_name(t, e->name));
    }
    strbuf_put(out, ",\"data\":{");
    for (unsigned i = 0; i < e->data_count; i++)
        strbuf_printf(
            out, "%s\"%s\":%llu", i > 0 ? "," : "", row->key[i],
            (unsigned long long)(e->data[i] + (is_host_time(row->key[i]) ? t->epoch_ns : 0)));
    strbuf_put(out, "}}");
}

/* fetch is held. */
static NRT_STATUS document(struct trace *t, enum trace_owner owner, uint64_t core, uint64_t max,
                           struct strbuf *out, struct err *err)
{
    struct trace_batch b;
    NRT_STATUS status = look(t, owner, core, max, &b, err);

    if (status != NRT_SUCCESS)
        return status;
    strbuf_put(out, "{\"events\":[");
    for (uint64_t i = 0; i < b.count; i++) {
        strbuf_put(out, i > 0 ? ",\n" : "\n");
        trace_event_json(t, &b.ev[i], b.core[i], out);
    }
    strbuf_printf(out, "],\"stored_events\":%llu,\"dropped_events\":%llu}",
                  (unsigned long long)b.stored, (unsigned long long)b.dropped);
    trace_batch_fini(&b);
    if (!out->failed)
        return NRT_SUCCESS;
    return err_set(err, NRT_RESOURCE, "no host memory for the text of trace events");
}

NRT_STATUS trace_fetch(struct trace *t, enum trace_owner owner, uint64_t core, uint64_t max,
                       struct strbuf *out, struct err *err)
{
    NRT_STATUS status;

    pthread_mutex_lock(&t->fetch);
    status = document(t, owner, core, max, out, err);
    for (uint32_t i = 0; status == NRT_SUCCESS && i <= t->cores; i++)
        if (is_of(t, i, core))
            ring_take_seen(&t->rings[i]);
    pthread_mutex_unlock(&t->fetch);
    return status;
}

NRT_STATUS trace_document(struct trace *t, enum trace_owner owner, struct strbuf *out,
                          struct err *err)
{
    NRT_STATUS status;

    pthread_mutex_lock(&t->fetch);
    status = document(t, owner, TRACE_ALL, TRACE_ALL, out, err);
    pthread_mutex_unlock(&t->fetch);
    return status;
}
