/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over the events of an execution finds which slice lets which record go on; a second one
 * writes the slices. A queue set whose transfers overlap has several tracks of one name, which
 * Perfetto shows as one. */
#include "time/timeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"

#define NONE      TIME_NONE
#define PS_PER_NS 1000u
#define UNITS     16
#define ARGS_MAX  12
#define FLOWS_MAX 256 /* arrows from one slice, and to one */

enum row_kind { ROW_CORE, ROW_ENGINE, ROW_QUEUE, ROW_STREAM, ROW_STEPS, ROW_LINK, ROW_NET };

/* A track. */
struct row {
    enum row_kind kind;
    uint32_t core, index; /* engine, queue set, stream, channel of a stream, link or node */
    uint64_t uuid, parent;
    uint64_t end_ns; /* of its last slice */
};

struct timeline {
    struct perfetto out;
    uint64_t first; /* uuids and flows of this timeline are from here on */
    uint64_t rows_made, flows_made;
    struct row *row;
    size_t rows, cap_rows;
    uint64_t base_ps; /* when the next execution begins */
};

/* An execution while it is added. */
struct adding {
    struct timeline *t;
    const struct timeline_run *run;
    const struct time_event *ev;
    size_t count;
    /* Per event. Of a slice: the first wait that it lets go, of a wait: the next one of that slice;
     * NONE: none. */
    uint32_t *lets, *lets_next;
    uint32_t *xfer; /* per serial: its XFER or COLL */
    uint32_t xfers;
    uint32_t record[UNITS]; /* the unit's RECORD that comes next, or was last; NONE */
    uint64_t *arrival;      /* per serial */
};

/* ---- tracks ---- */

static uint64_t ns_of(const struct adding *a, uint64_t ps)
{
    return (a->t->base_ps + ps) / PS_PER_NS;
}

static const struct row *row_add(struct timeline *t, struct row row, const char *name, int32_t at)
{
    if (t->rows >= TIMELINE_ROWS_MAX ||
        !mem_grow((void **)&t->row, &t->cap_rows, t->rows + 1, sizeof(t->row[0]))) {
        t->out.failed = true;
        return NULL;
    }
    row.uuid = t->first + ++t->rows_made;
    perfetto_track(&t->out, &(struct perfetto_track){.uuid = row.uuid,
                                                     .parent = row.parent,
                                                     .name = name,
                                                     .ordered = row.kind == ROW_CORE,
                                                     .order = at});
    t->row[t->rows] = row;
    return &t->row[t->rows++];
}

/* The process; once. */
static void head_add(struct timeline *t, const struct timeline_core *core)
{
    char name[64];
    struct strbuf whole = {0};

    if (core->ranks > 1)
        (void)snprintf(name, sizeof(name), ", rank %" PRIu32 " of %" PRIu32, core->rank,
                       core->ranks);
    else
        (void)snprintf(name, sizeof(name), ", core %" PRIu32, core->vnc);
    strbuf_put(&whole, core->name);
    strbuf_put(&whole, name);
    t->out.failed |= whole.failed;
    perfetto_track(&t->out, &(struct perfetto_track){.uuid = t->first,
                                                     .process = true,
                                                     .pid = core->pid,
                                                     .pname = whole.s,
                                                     .ordered = true,
                                                     .order = (int32_t)core->rank});
    strbuf_fini(&whole);
}

static uint64_t core_row(struct adding *a, uint32_t core)
{
    struct timeline *t = a->t;
    const struct row *made;
    char name[32];

    for (size_t i = 0; i < t->rows; i++)
        if (t->row[i].kind == ROW_CORE && t->row[i].core == core)
            return t->row[i].uuid;
    if (t->rows_made == 0)
        head_add(t, a->run->core);
    (void)snprintf(name, sizeof(name), "physical core %" PRIu32, core);
    made = row_add(t, (struct row){.kind = ROW_CORE, .core = core, .parent = t->first}, name,
                   (int32_t)core);
    return made != NULL ? made->uuid : 0;
}

/* A track for a slice that begins at ns: the row has as many as its slices overlap. NULL: no
 * memory. */
static struct row *row_find(struct adding *a, enum row_kind kind, uint32_t core, uint32_t index,
                            const char *name, uint64_t ns)
{
    /* behind each other, whatever their numbers */
    static const int32_t place[] = {[ROW_ENGINE] = 0,   [ROW_STREAM] = 100, [ROW_STEPS] = 200,
                                    [ROW_LINK] = 10000, [ROW_NET] = 20000,  [ROW_QUEUE] = 1 << 24};
    struct timeline *t = a->t;
    uint64_t parent;

    for (size_t i = 0; i < t->rows; i++) {
        struct row *r = &t->row[i];

        if (r->kind == kind && r->core == core && r->index == index && r->end_ns <= ns)
            return r;
    }
    parent = core_row(a, core);
    if (row_add(t, (struct row){.kind = kind, .core = core, .index = index, .parent = parent}, name,
                place[kind] + (int32_t)index) == NULL)
        return NULL;
    return &t->row[t->rows - 1];
}

/* ---- arrows ---- */

/* In front of a record; those in the middle of one (core_barrier) are not shown. */
static bool is_wait(const struct time_event *e)
{
    return e->kind == TIME_EV_WAIT && (e->op & TIME_OP_LATE) == 0;
}

/* The slice that an update belongs to, or NONE. */
static uint32_t slice_of(const struct adding *a, const uint32_t *owner, uint32_t update)
{
    const struct time_event *e = &a->ev[update];

    if (e->kind == TIME_EV_XFER_UPDATE)
        return e->id < a->xfers ? a->xfer[e->id] : NONE;
    return owner[update];
}

static bool later(const struct adding *a, uint32_t slice, uint32_t record)
{
    uint64_t from = ns_of(a, a->run->spans[slice].start_ps);
    uint64_t to = ns_of(a, a->run->spans[record].start_ps);

    return from > to || (from == to && slice > record);
}

/* owner: of each READ and COMPLETE, and of each WAIT, its record. */
static void owners_find(struct adding *a, uint32_t *owner)
{
    uint32_t serial = 0;

    for (unsigned u = 0; u < UNITS; u++)
        a->record[u] = NONE;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct time_event *e = &a->ev[i];

        if (e->kind == TIME_EV_RECORD)
            a->record[e->unit] = i;
        if (e->kind == TIME_EV_XFER || e->kind == TIME_EV_COLL)
            a->xfer[serial++] = i;
        if (e->kind == TIME_EV_COLL_ARRIVAL && e->id < a->xfers)
            a->arrival[e->id] = (uint64_t)e->extra << 32 | (uint32_t)e->value;
        owner[i] = e->kind <= TIME_EV_COMPLETE ? a->record[e->unit] : NONE;
    }
    for (unsigned u = 0; u < UNITS; u++)
        a->record[u] = NONE;
    for (uint32_t i = (uint32_t)a->count; i-- > 0;) { /* the record that a wait stands before */
        const struct time_event *e = &a->ev[i];

        if (e->kind == TIME_EV_RECORD)
            a->record[e->unit] = i;
        if (is_wait(e))
            owner[i] = a->record[e->unit];
    }
}

static void arrows_find(struct adding *a, const uint32_t *owner)
{
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t from;

        a->lets_next[i] = NONE;
        if (!is_wait(&a->ev[i]) || a->run->spans[i].by == NONE || owner[i] == NONE)
            continue;
        from = slice_of(a, owner, a->run->spans[i].by);
        if (from == NONE || from == owner[i] || later(a, from, owner[i]))
            continue;
        a->lets_next[i] = a->lets[from];
        a->lets[from] = i;
    }
}

/* A wait that an arrow leads to has its slice in lets. */
static bool has_arrow(const struct adding *a, const uint32_t *owner, uint32_t wait)
{
    uint32_t from, at;
    unsigned n = 0;

    if (a->run->spans[wait].by == NONE)
        return false;
    from = slice_of(a, owner, a->run->spans[wait].by);
    if (from == NONE)
        return false;
    for (at = a->lets[from]; at != NONE && n < FLOWS_MAX; at = a->lets_next[at], n++)
        if (at == wait)
            return true;
    return false;
}

static uint64_t flow_of(const struct adding *a, uint32_t wait)
{
    return a->t->first + a->t->flows_made + wait + 1;
}

/* ---- slices ---- */

struct slice {
    struct perfetto_event e;
    struct perfetto_arg args[ARGS_MAX];
    uint64_t flows[FLOWS_MAX], ends[FLOWS_MAX];
};

static void arg_uint(struct slice *s, const char *name, uint64_t v)
{
    s->args[s->e.arg_count++] = (struct perfetto_arg){.name = name, .type = PERFETTO_UINT, .u = v};
}

static void arg_text(struct slice *s, const char *name, const char *text)
{
    s->args[s->e.arg_count++] =
        (struct perfetto_arg){.name = name, .type = PERFETTO_TEXT, .text = text};
}

static void arrows_from(const struct adding *a, struct slice *s, uint32_t slice)
{
    for (uint32_t w = a->lets[slice]; w != NONE && s->e.flow_count < FLOWS_MAX; w = a->lets_next[w])
        s->flows[s->e.flow_count++] = flow_of(a, w);
}

/* On a track of its row, with the exact times among its arguments. */
static void slice_put(struct adding *a, struct slice *s, struct row *row, struct time_span span)
{
    uint64_t end = ns_of(a, span.end_ps);

    if (row == NULL)
        return;
    arg_uint(s, "start_ps", span.start_ps);
    arg_uint(s, "duration_ps", span.end_ps - span.start_ps);
    s->e.ns = ns_of(a, span.start_ps);
    s->e.track = row->uuid;
    s->e.args = s->args;
    s->e.flows = s->flows;
    s->e.flow_ends = s->ends;
    perfetto_slice(&a->t->out, &s->e, end);
    row->end_ns = end > s->e.ns ? end : s->e.ns;
}

static struct row *engine_row(struct adding *a, uint8_t unit, uint64_t ps)
{
    return row_find(a, ROW_ENGINE, unit >> 3, unit & 7, isa_engine_name(unit & 7), ns_of(a, ps));
}

static void wait_text(struct strbuf *b, const struct time_event *w)
{
    unsigned kind = w->op & 0x3f;

    if (kind < ISA_WAIT_SEM_GE || kind > ISA_WAIT_EVENT_CLEAR)
        return;
    strbuf_put(b, b->len > 0 ? ", " : "");
    if (kind <= ISA_WAIT_SEM_EQ)
        strbuf_printf(b, "S[%u] %s %d", w->index, kind == ISA_WAIT_SEM_GE ? ">=" : "==", w->value);
    else
        strbuf_printf(b, "E[%u] %s", w->index, kind == ISA_WAIT_EVENT_SET ? "set" : "clear");
}

/* The waits of a unit from event i on, before its record: one slice from when the engine came to
 * them, unless it did not stand still. */
static void waits_put(struct adding *a, uint32_t i, uint32_t record)
{
    struct time_span span = a->run->spans[i];
    uint8_t unit = a->ev[i].unit;
    struct strbuf what = {0};
    struct slice s = {.e = {.category = "wait", .name = "wait"}};

    span.end_ps = a->run->spans[record].start_ps;
    if (span.end_ps <= span.start_ps)
        return;
    for (; i < record; i++)
        if (is_wait(&a->ev[i]) && a->ev[i].unit == unit)
            wait_text(&what, &a->ev[i]);
    arg_text(&s, "for", what.s);
    a->t->out.failed |= what.failed;
    slice_put(a, &s, engine_row(a, unit, span.start_ps), span);
    strbuf_fini(&what);
}

static void record_put(struct adding *a, const uint32_t *owner, uint32_t i, uint32_t first_wait)
{
    const struct time_event *e = &a->ev[i];
    struct slice s = {.e = {.category = "instruction"}};
    struct timeline_record r = {0};
    struct strbuf text = {0};

    a->run->facts->record(a->run->arg, e->unit >> 3, e->unit & 7, e->id, &r, &text);
    s.e.name = r.name != NULL ? r.name : "record";
    arg_uint(&s, "record", e->id);
    arg_text(&s, "instruction", text.s);
    if (r.guess)
        arg_text(&s, "cost", "a guess: nothing is published");
    arg_text(&s, "label", r.label);
    arg_text(&s, "op", r.op);
    s.e.file = r.file;
    s.e.line = r.line;
    arrows_from(a, &s, i);
    for (uint32_t w = first_wait; w < i; w++)
        if (owner[w] == i && is_wait(&a->ev[w]) && has_arrow(a, owner, w) &&
            s.e.flow_end_count < FLOWS_MAX)
            s.ends[s.e.flow_end_count++] = flow_of(a, w);
    a->t->out.failed |= text.failed;
    slice_put(a, &s, engine_row(a, e->unit, a->run->spans[i].start_ps), a->run->spans[i]);
    strbuf_fini(&text);
}

/* What an engine triggered with its last record has the place of that in the source. */
static void source_of(const struct adding *a, const struct time_event *e, struct slice *s)
{
    struct timeline_record r = {0};
    struct strbuf text = {0};
    uint32_t record = a->record[e->unit];

    if (record == NONE)
        return;
    a->run->facts->record(a->run->arg, e->unit >> 3, e->unit & 7, a->ev[record].id, &r, &text);
    strbuf_fini(&text);
    s->e.file = r.file;
    s->e.line = r.line;
}

static void xfer_put(struct adding *a, uint32_t i)
{
    const struct time_event *e = &a->ev[i];
    struct slice s = {.e = {.category = "transfer"}};
    struct time_span span = a->run->spans[i];
    struct timeline_xfer x = {0};
    char name[300];

    a->run->facts->xfer(a->run->arg, e->unit >> 3, (uint32_t)e->value, &x);
    s.e.name = x.queue_name != NULL ? x.queue_name : "transfer";
    arg_text(&s, "type", x.type);
    arg_text(&s, "triggered by", isa_engine_name(e->unit & 7));
    arg_uint(&s, "bytes", x.bytes);
    arg_uint(&s, "first DMA engine", x.first_engine);
    arg_uint(&s, "rings", x.engines);
    if (x.packet_ps > 0)
        arg_uint(&s, "packet_ps", x.packet_ps);
    arg_text(&s, "descriptors", x.descriptors);
    arrows_from(a, &s, i);
    source_of(a, e, &s);
    (void)snprintf(name, sizeof(name), "queue %s", x.queue_name != NULL ? x.queue_name : "?");
    slice_put(a, &s, row_find(a, ROW_QUEUE, e->unit >> 3, x.queue, name, ns_of(a, span.start_ps)),
              span);
}

/* ---- steps of collectives ---- */

/* An operation whose steps are put. */
struct operation {
    const struct time_event *e;
    const struct timeline_coll *c;
    struct time_span span; /* from its last member's arrival */
    const char *file;      /* of its trigger */
    uint32_t line;
};

/* One piece of the way of a move: the track's slice. */
static void piece_put(struct adding *a, const struct operation *o, const struct time_move *m,
                      const char *category, enum row_kind kind, uint32_t index, const char *name)
{
    struct slice s = {
        .e = {.category = category, .name = m->phase, .file = o->file, .line = o->line}};
    double scale = o->c->moves->total_ps > 0
                       ? (double)(o->span.end_ps - o->span.start_ps) / (double)o->c->moves->total_ps
                       : 1;
    struct time_span at = {o->span.start_ps + (uint64_t)((double)m->start_ps * scale),
                           o->span.start_ps + (uint64_t)((double)m->end_ps * scale), NONE};

    arg_text(&s, "operation", o->c->name);
    arg_uint(&s, "entry", (uint32_t)o->e->value);
    arg_text(&s, "step", sched_kind_name(m->kind));
    arg_uint(&s, "bytes", m->bytes);
    arg_uint(&s, "to rank", m->peer);
    arg_uint(&s, "stream", o->e->index);
    arg_uint(&s, "channel", m->channel);
    slice_put(a, &s, row_find(a, kind, 0, index, name, ns_of(a, at.start_ps)), at);
}

/* The links of its way are busy at once. On a switch they lead up to it and down from it. */
static void way_put(struct adding *a, const struct operation *o, const struct time_move *m)
{
    const struct topo_route *r = &m->route;
    char name[64];

    for (unsigned i = 0; i < r->link_count; i++) {
        if (r->link_count == r->hops)
            (void)snprintf(name, sizeof(name), "link chip %u to chip %u", r->chips[i],
                           r->chips[i + 1]);
        else if (i == 0)
            (void)snprintf(name, sizeof(name), "link chip %u to the switch", r->chips[0]);
        else
            (void)snprintf(name, sizeof(name), "link the switch to chip %u", r->chips[r->hops]);
        piece_put(a, o, m, "link", ROW_LINK, r->links[i], name);
    }
    if (m->net) {
        (void)snprintf(name, sizeof(name), "network to node %" PRIu32, m->node);
        piece_put(a, o, m, "link", ROW_NET, m->node, name);
    }
}

/* They are known as they are when nothing else is on the device; where the operation lasted longer
 * each of them did so by as much. */
static void steps_put(struct adding *a, const struct operation *o)
{
    char name[64];

    for (size_t i = 0; i < o->c->moves->count && !a->t->out.failed; i++) {
        const struct time_move *m = &o->c->moves->move[i];

        (void)snprintf(name, sizeof(name), "stream %u channel %" PRIu32, o->e->index, m->channel);
        piece_put(a, o, m, "step", ROW_STEPS, o->e->index * SCHED_CHANNELS_MAX + m->channel, name);
        way_put(a, o, m);
    }
}

static void coll_put(struct adding *a, uint32_t i)
{
    const struct time_event *e = &a->ev[i];
    struct slice s = {.e = {.category = "collective"}};
    struct time_span span = a->run->spans[i], members = span;
    uint64_t arrival = e->id < a->xfers ? a->arrival[e->id] : 0;
    struct timeline_coll c = {0};
    struct row *row;
    char name[32];

    (void)snprintf(name, sizeof(name), "stream %u", e->index);
    row = row_find(a, ROW_STREAM, 0, e->index, name, ns_of(a, span.start_ps));
    a->run->facts->coll(a->run->arg, e->unit >> 3, (uint32_t)e->value, &c);
    s.e.name = c.name != NULL ? c.name : "collective";
    if (c.sizes) {
        arg_uint(&s, "bytes in", c.bytes_in);
        arg_uint(&s, "bytes out", c.bytes_out);
    }
    arg_text(&s, "algorithm", c.algorithm);
    arg_uint(&s, "entry", (uint32_t)e->value);
    arg_text(&s, "triggered by", isa_engine_name(e->unit & 7));
    if (c.moves != NULL && c.moves->left_out > 0)
        arg_uint(&s, "steps not shown", c.moves->left_out);
    arrows_from(a, &s, i);
    source_of(a, e, &s);
    members.end_ps = arrival < span.end_ps ? arrival : span.end_ps;
    if (row != NULL && members.end_ps > members.start_ps)
        arg_uint(&s, "waits for members_ps", members.end_ps - members.start_ps);
    slice_put(a, &s, row, span);
    members.start_ps = members.end_ps > members.start_ps ? members.end_ps : members.start_ps;
    members.end_ps = span.end_ps;
    if (c.moves != NULL)
        steps_put(a, &(struct operation){e, &c, members, s.e.file, s.e.line});
}

static void slices_put(struct adding *a, const uint32_t *owner)
{
    uint32_t first_wait[UNITS];

    for (unsigned u = 0; u < UNITS; u++)
        first_wait[u] = a->record[u] = NONE;
    for (uint32_t i = 0; i < a->count && !a->t->out.failed; i++) {
        uint32_t *w = &first_wait[a->ev[i].unit % UNITS];

        switch (a->ev[i].kind) {
        case TIME_EV_WAIT:
            if (*w == NONE && is_wait(&a->ev[i]) && owner[i] != NONE)
                *w = i;
            break;
        case TIME_EV_RECORD:
            if (*w != NONE)
                waits_put(a, *w, i);
            record_put(a, owner, i, *w != NONE ? *w : i);
            a->record[a->ev[i].unit % UNITS] = i;
            *w = NONE;
            break;
        case TIME_EV_XFER:
            xfer_put(a, i);
            break;
        case TIME_EV_COLL:
            coll_put(a, i);
            break;
        default:
            break;
        }
    }
}

/* ---- the whole ---- */

static bool is_start(const struct time_event *e)
{
    return e->kind == TIME_EV_XFER || e->kind == TIME_EV_COLL;
}

struct timeline *timeline_create(int32_t pid, uint32_t vnc)
{
    struct timeline *t = mem_zalloc(sizeof(*t));
    uint64_t key = (uint64_t)(uint32_t)pid << 12 | (vnc & 0xfff);

    if (t == NULL)
        return NULL;
    t->first = key << 28 | 1; /* 2^28 tracks and arrows */
    t->out.sequence = (uint32_t)(key | 1u << 31);
    return t;
}

void timeline_destroy(struct timeline *t)
{
    if (t == NULL)
        return;
    perfetto_fini(&t->out);
    mem_free(t->row);
    mem_free(t);
}

NRT_STATUS timeline_add(struct timeline *t, const struct timeline_run *run, const uint8_t **ret,
                        size_t *ret_size, struct err *err)
{
    struct adding a = {.t = t, .run = run, .ev = run->events->ev, .count = run->events->count};
    uint32_t *owner = mem_calloc(a.count + 1, sizeof(*owner));

    for (size_t i = 0; i < a.count; i++)
        a.xfers += is_start(&a.ev[i]);
    a.lets = mem_calloc(a.count + 1, sizeof(*a.lets));
    a.lets_next = mem_calloc(a.count + 1, sizeof(*a.lets_next));
    a.xfer = mem_calloc((size_t)a.xfers + 1, sizeof(*a.xfer));
    a.arrival = mem_calloc((size_t)a.xfers + 1, sizeof(*a.arrival));
    perfetto_drop(&t->out);
    if (owner != NULL && a.lets != NULL && a.lets_next != NULL && a.xfer != NULL &&
        a.arrival != NULL) {
        memset(a.lets, 0xff, (a.count + 1) * sizeof(*a.lets)); /* NONE */
        owners_find(&a, owner);
        arrows_find(&a, owner);
        slices_put(&a, owner);
        t->flows_made += a.count;
        t->base_ps += run->total_ps;
    } else {
        t->out.failed = true;
    }
    mem_free(owner);
    mem_free(a.lets);
    mem_free(a.lets_next);
    mem_free(a.xfer);
    mem_free(a.arrival);
    *ret = t->out.bytes;
    *ret_size = t->out.size;
    return t->out.failed ? err_set(err, NRT_RESOURCE, "out of memory for a timeline") : NRT_SUCCESS;
}
