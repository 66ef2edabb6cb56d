/* SPDX-License-Identifier: Apache-2.0 */
/* The wire form: a field is a key (number << 3 | wire type) and a value; a message inside a message
 * is its length and its bytes. A length is known when the message ends: room for four bytes is kept
 * in front of it and filled then, with leading zeros, which the form allows. */
#include "time/perfetto.h"

#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2 };

#define LENGTH_BYTES 4 /* a message of at most 2^28 - 1 bytes */
#define VARINT_MAX   10

/* The fields that are written, as numbered by the messages that are named first. */
enum field {
    TRACE_PACKET = 1,
    PACKET_TIMESTAMP = 8,
    PACKET_SEQUENCE = 10,
    PACKET_EVENT = 11,
    PACKET_DESCRIPTOR = 60,
    DESCRIPTOR_UUID = 1,
    DESCRIPTOR_NAME = 2,
    DESCRIPTOR_PROCESS = 3,
    DESCRIPTOR_PARENT = 5,
    DESCRIPTOR_COUNTER = 8,
    DESCRIPTOR_CHILD_ORDERING = 11,
    DESCRIPTOR_RANK = 12,
    PROCESS_PID = 1,
    PROCESS_NAME = 6,
    COUNTER_UNIT_NAME = 6,
    EVENT_ANNOTATION = 4,
    EVENT_TYPE = 9,
    EVENT_TRACK = 11,
    EVENT_CATEGORY = 22,
    EVENT_NAME = 23,
    EVENT_SOURCE = 33,
    EVENT_DOUBLE_COUNTER = 44,
    EVENT_FLOW = 47,
    EVENT_FLOW_END = 48,
    ANNOTATION_BOOL = 2,
    ANNOTATION_UINT = 3,
    ANNOTATION_INT = 4,
    ANNOTATION_DOUBLE = 5,
    ANNOTATION_TEXT = 6,
    ANNOTATION_NAME = 10,
    SOURCE_FILE = 2,
    SOURCE_LINE = 4,
};
enum { ORDER_BY_NAME = 1, ORDER_BY_RANK = 3 }; /* TrackDescriptor.ChildTracksOrdering */

/* ---- bytes ---- */

static uint8_t *room(struct perfetto *p, size_t n)
{
    if (p->failed || !mem_grow((void **)&p->bytes, &p->cap, p->size + n, 1)) {
        p->failed = true;
        return NULL;
    }
    return p->bytes + p->size;
}

static void put_varint(struct perfetto *p, uint64_t v)
{
    uint8_t *to = room(p, VARINT_MAX);

    if (to == NULL)
        return;
    for (; v >= 0x80; v >>= 7)
        *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    p->size = (size_t)(to - p->bytes);
}

static void put_key(struct perfetto *p, enum field f, enum wire w)
{
    put_varint(p, (uint64_t)f << 3 | w);
}

static void put_uint(struct perfetto *p, enum field f, uint64_t v)
{
    put_key(p, f, VARINT);
    put_varint(p, v);
}

static void put_fixed64(struct perfetto *p, enum field f, uint64_t v)
{
    uint8_t *to;

    put_key(p, f, FIXED64);
    to = room(p, sizeof(v));
    for (unsigned i = 0; to != NULL && i < sizeof(v); i++)
        to[i] = (uint8_t)(v >> 8 * i);
    p->size += to != NULL ? sizeof(v) : 0;
}

static void put_double(struct perfetto *p, enum field f, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    put_fixed64(p, f, bits);
}

/* Nothing for NULL. */
static void put_text(struct perfetto *p, enum field f, const char *text)
{
    size_t n = text != NULL ? strnlen(text, PERFETTO_TEXT_MAX) : 0;
    uint8_t *to;

    if (text == NULL)
        return;
    put_key(p, f, BYTES);
    put_varint(p, n);
    to = room(p, n);
    for (size_t i = 0, len; to != NULL && i < n; i += len) {
        len = utf8_size(text + i);
        if (len == 0 || len > n - i) {
            to[i] = '?';
            len = 1;
        } else {
            memcpy(to + i, text + i, len);
        }
    }
    p->size += to != NULL ? n : 0;
}

/* Returns where the message began, for message_end. */
static size_t message_begin(struct perfetto *p, enum field f)
{
    put_key(p, f, BYTES);
    if (room(p, LENGTH_BYTES) != NULL)
        p->size += LENGTH_BYTES;
    return p->size;
}

static void message_end(struct perfetto *p, size_t begin)
{
    size_t n = p->size - begin;

    if (p->failed)
        return;
    if (n >> 7 * LENGTH_BYTES != 0) {
        p->failed = true;
        return;
    }
    for (unsigned i = 0; i < LENGTH_BYTES; i++)
        p->bytes[begin - LENGTH_BYTES + i] =
            (uint8_t)((n >> 7 * i & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
}

/* ---- packets ---- */

static size_t packet_begin(struct perfetto *p)
{
    size_t begin = message_begin(p, TRACE_PACKET);

    put_uint(p, PACKET_SEQUENCE, p->sequence);
    return begin;
}

void perfetto_track(struct perfetto *p, const struct perfetto_track *t)
{
    size_t packet = packet_begin(p), track = message_begin(p, PACKET_DESCRIPTOR), part;

    put_uint(p, DESCRIPTOR_UUID, t->uuid);
    if (t->parent != 0)
        put_uint(p, DESCRIPTOR_PARENT, t->parent);
    put_text(p, DESCRIPTOR_NAME, t->name);
    if (t->process) {
        part = message_begin(p, DESCRIPTOR_PROCESS);
        put_uint(p, PROCESS_PID, (uint64_t)(int64_t)t->pid);
        put_text(p, PROCESS_NAME, t->pname);
        message_end(p, part);
    }
    if (t->unit != NULL) {
        part = message_begin(p, DESCRIPTOR_COUNTER);
        if (t->unit[0] != 0)
            put_text(p, COUNTER_UNIT_NAME, t->unit);
        message_end(p, part);
    }
    put_uint(p, DESCRIPTOR_CHILD_ORDERING, t->ordered ? ORDER_BY_RANK : ORDER_BY_NAME);
    put_uint(p, DESCRIPTOR_RANK, (uint64_t)(int64_t)t->order);
    message_end(p, track);
    message_end(p, packet);
}

static void put_arg(struct perfetto *p, const struct perfetto_arg *a)
{
    size_t begin;

    if (a->type == PERFETTO_TEXT && a->text == NULL)
        return;
    begin = message_begin(p, EVENT_ANNOTATION);
    put_text(p, ANNOTATION_NAME, a->name);
    switch (a->type) {
    case PERFETTO_TEXT:
        put_text(p, ANNOTATION_TEXT, a->text);
        break;
    case PERFETTO_UINT:
        put_uint(p, ANNOTATION_UINT, a->u);
        break;
    case PERFETTO_INT:
        put_uint(p, ANNOTATION_INT, (uint64_t)a->i);
        break;
    case PERFETTO_DOUBLE:
        put_double(p, ANNOTATION_DOUBLE, a->d);
        break;
    case PERFETTO_BOOL:
        put_uint(p, ANNOTATION_BOOL, a->b);
        break;
    }
    message_end(p, begin);
}

void perfetto_event(struct perfetto *p, const struct perfetto_event *e)
{
    size_t packet = packet_begin(p), event, part;

    put_uint(p, PACKET_TIMESTAMP, e->ns);
    event = message_begin(p, PACKET_EVENT);
    put_uint(p, EVENT_TYPE, e->type);
    put_uint(p, EVENT_TRACK, e->track);
    put_text(p, EVENT_CATEGORY, e->category);
    put_text(p, EVENT_NAME, e->name);
    for (unsigned i = 0; i < e->arg_count; i++)
        put_arg(p, &e->args[i]);
    for (unsigned i = 0; i < e->flow_count; i++)
        put_fixed64(p, EVENT_FLOW, e->flows[i]);
    for (unsigned i = 0; i < e->flow_end_count; i++)
        put_fixed64(p, EVENT_FLOW_END, e->flow_ends[i]);
    if (e->file != NULL) {
        part = message_begin(p, EVENT_SOURCE);
        put_text(p, SOURCE_FILE, e->file);
        put_uint(p, SOURCE_LINE, e->line);
        message_end(p, part);
    }
    if (e->type == PERFETTO_COUNTER)
        put_double(p, EVENT_DOUBLE_COUNTER, e->counter);
    message_end(p, event);
    message_end(p, packet);
}

void perfetto_slice(struct perfetto *p, const struct perfetto_event *e, uint64_t end_ns)
{
    struct perfetto_event begin = *e;
    struct perfetto_event end = {
        .type = PERFETTO_END, .ns = end_ns > e->ns ? end_ns : e->ns, .track = e->track};

    begin.type = PERFETTO_BEGIN;
    perfetto_event(p, &begin);
    perfetto_event(p, &end);
}

void perfetto_drop(struct perfetto *p)
{
    p->size = 0;
}

void perfetto_fini(struct perfetto *p)
{
    mem_free(p->bytes);
    *p = (struct perfetto){0};
}
