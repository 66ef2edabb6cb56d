/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of system profiles. Events come in rings of their own, so stops may stand far from
 * their starts: all are put in the order of what they belong to, then joined, then put in time
 * order. */
#include "viewer/system.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- protobuf's wire form ---- */

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

struct reader {
    const uint8_t *at, *end;
    bool bad;
};

struct field {
    uint64_t number, value; /* value of a VARINT */
    enum wire wire;
    struct reader bytes;
};

static uint64_t varint(struct reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end)
            break;
        v |= (uint64_t)(*r->at & 0x7f) << shift;
        if (!(*r->at++ & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

static void pass(struct reader *r, uint64_t n)
{
    if (n > (uint64_t)(r->end - r->at))
        r->bad = true;
    else
        r->at += n;
}

/* The next field; false: the end, or r->bad. */
static bool next(struct reader *r, struct field *f)
{
    uint64_t key;

    if (r->bad || r->at == r->end)
        return false;
    key = varint(r);
    *f = (struct field){.number = key >> 3, .wire = (enum wire)(key & 7)};
    if (f->wire == VARINT) {
        f->value = varint(r);
    } else if (f->wire == BYTES) {
        uint64_t n = varint(r);

        f->bytes.at = r->at;
        pass(r, n);
        f->bytes.end = r->at;
    } else if (f->wire == FIXED64 || f->wire == FIXED32) {
        pass(r, f->wire == FIXED64 ? 8 : 4);
    } else {
        r->bad = true;
    }
    return !r->bad;
}

/* ---- texts ---- */

/* A copy that ends at its first NUL or its end. */
static size_t text_add(struct viewer_system *s, const struct reader *bytes)
{
    size_t at, n = strnlen((const char *)bytes->at, (size_t)(bytes->end - bytes->at));

    if (s->texts.len == 0)
        strbuf_putn(&s->texts, "", 1);
    if (n == 0)
        return 0;
    at = s->texts.len;
    strbuf_putn(&s->texts, (const char *)bytes->at, n);
    strbuf_putn(&s->texts, "", 1);
    return at;
}

/* ---- messages ---- */

/* An event before it is joined. */
struct raw {
    struct viewer_call call;
    uint64_t phase;
    size_t order;
};
struct raws {
    struct raw *one;
    size_t count, cap;
};

static bool event_read(struct viewer_system *s, struct reader bytes, struct raws *all)
{
    struct raw raw = {.call = {.core = VIEWER_NO_CORE}, .order = all->count};
    struct field f;

    while (next(&bytes, &f)) {
        if (f.wire == BYTES && f.number == 1)
            raw.call.type = text_add(s, &f.bytes);
        else if (f.wire == BYTES && f.number == 7)
            raw.call.details = text_add(s, &f.bytes);
        else if (f.wire == VARINT && f.number == 2)
            raw.phase = f.value;
        else if (f.wire == VARINT && f.number == 3)
            raw.call.tracking = f.value;
        else if (f.wire == VARINT && f.number == 4)
            raw.call.from_ns = raw.call.to_ns = f.value;
        else if (f.wire == VARINT && f.number == 5)
            raw.call.core = f.value;
        else if (f.wire == VARINT && f.number == 6)
            raw.call.thread = f.value;
    }
    if (bytes.bad || raw.phase > VIEWER_INSTANT ||
        !mem_grow((void **)&all->one, &all->cap, all->count + 1, sizeof(raw)))
        return false;
    all->one[all->count++] = raw;
    return true;
}

/* By what they belong to; a start before its stop. */
static int raw_order(const void *a, const void *b)
{
    const struct raw *x = a, *y = b;

    if (x->call.tracking != y->call.tracking)
        return x->call.tracking < y->call.tracking ? -1 : 1;
    if (x->phase != y->phase)
        return x->phase < y->phase ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static int call_order(const void *a, const void *b)
{
    const struct viewer_call *x = a, *y = b;

    if (x->from_ns != y->from_ns)
        return x->from_ns < y->from_ns ? -1 : 1;
    if (x->to_ns != y->to_ns) /* what holds others comes first */
        return x->to_ns > y->to_ns ? -1 : 1;
    return (x->tracking > y->tracking) - (x->tracking < y->tracking);
}

/* A start takes the stop behind it. */
static bool calls_join(struct viewer_system *s, struct raws *all)
{
    if (s->texts.failed)
        return false;
    if (all->count > 1)
        qsort(all->one, all->count, sizeof(*all->one), raw_order);
    for (size_t i = 0; i < all->count; i++) {
        struct viewer_call call = all->one[i].call;
        const struct raw *stop = i + 1 < all->count ? &all->one[i + 1] : NULL;

        if (all->one[i].phase == VIEWER_START && stop && stop->phase == VIEWER_STOP &&
            stop->call.tracking == call.tracking &&
            strcmp(viewer_system_text(s, stop->call.type), viewer_system_text(s, call.type)) == 0) {
            call.details = stop->call.details;
            if (stop->call.from_ns > call.from_ns)
                call.to_ns = stop->call.from_ns;
            i++;
        }
        if (!mem_grow((void **)&s->calls, &s->call_cap, s->call_count + 1, sizeof(call)))
            return false;
        s->calls[s->call_count++] = call;
    }
    if (s->call_count > 1)
        qsort(s->calls, s->call_count, sizeof(*s->calls), call_order);
    return true;
}

static bool trace_read(struct viewer_system *s, struct reader r)
{
    struct raws all = {0};
    struct field f;
    bool ok = true;

    while (ok && next(&r, &f)) {
        if (f.wire == BYTES && f.number == 1)
            ok = event_read(s, f.bytes, &all);
        else if (f.wire == VARINT && f.number == 2)
            s->stored = f.value;
        else if (f.wire == VARINT && f.number == 3)
            s->dropped = f.value;
    }
    ok = ok && !r.bad && calls_join(s, &all);
    mem_free(all.one);
    return ok;
}

static bool info_read(struct viewer_system *s, struct reader r)
{
    struct field f;

    while (next(&r, &f)) {
        if (f.wire == BYTES && f.number == 1)
            s->instance = text_add(s, &f.bytes);
        else if (f.wire == VARINT && f.number == 2)
            s->process = f.value;
    }
    return !r.bad;
}

static bool sample_read(struct reader r, struct viewer_sample *ret)
{
    struct field f;

    *ret = (struct viewer_sample){0};
    while (next(&r, &f)) {
        if (f.wire == VARINT && f.number == 1)
            ret->ns = f.value;
        else if (f.wire == VARINT && f.number == 2)
            ret->a = f.value;
        else if (f.wire == VARINT && f.number == 3)
            ret->b = f.value;
    }
    return !r.bad;
}

/* cpus: the field beside the samples, or NULL. */
static bool samples_read(struct reader r, struct viewer_sample **list, size_t *count, size_t *cap,
                         uint64_t *cpus)
{
    struct field f;

    while (next(&r, &f)) {
        if (cpus && f.wire == VARINT && f.number == 2)
            *cpus = f.value;
        if (f.wire != BYTES || f.number != 1)
            continue;
        if (!mem_grow((void **)list, cap, *count + 1, sizeof(**list)) ||
            !sample_read(f.bytes, &(*list)[*count]))
            return false;
        ++*count;
    }
    return !r.bad;
}

NRT_STATUS viewer_system_read(struct viewer_system *s, const char *name, const void *bytes,
                              size_t size, struct err *err)
{
    struct reader r = {bytes, (const uint8_t *)bytes + size, false};
    bool ok = false;

    if (s->texts.len == 0)
        strbuf_putn(&s->texts, "", 1);
    if (strcmp(name, "trace_info") == 0)
        ok = info_read(s, r);
    else if (strcmp(name, "ntrace") == 0)
        ok = trace_read(s, r);
    else if (strcmp(name, "host_mem") == 0)
        ok = samples_read(r, &s->memory, &s->memory_count, &s->memory_cap, NULL);
    else if (strcmp(name, "cpu_util") == 0)
        ok = samples_read(r, &s->cpu, &s->cpu_count, &s->cpu_cap, &s->cpus);
    if (s->texts.failed)
        return err_set(err, NRT_RESOURCE, "no memory for a system profile");
    return ok ? NRT_SUCCESS : err_set(err, NRT_INVALID, "this is no %s of a system profile", name);
}

void viewer_system_fini(struct viewer_system *s)
{
    strbuf_fini(&s->texts);
    mem_free(s->calls);
    mem_free(s->memory);
    mem_free(s->cpu);
    *s = (struct viewer_system){0};
}

double viewer_system_cpu(const struct viewer_system *s, size_t i)
{
    const struct viewer_sample *cur = &s->cpu[i], *prev = i ? &s->cpu[i - 1] : cur;
    double used = (double)(cur->a - prev->a) + (double)(cur->b - prev->b); /* us */
    double whole = (double)(cur->ns - prev->ns) / 1e3 * (double)s->cpus;

    if (cur->a < prev->a || cur->b < prev->b || cur->ns <= prev->ns || s->cpus == 0)
        return 0;
    return used < whole ? used / whole : 1;
}
