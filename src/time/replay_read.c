/* SPDX-License-Identifier: Apache-2.0 */
/* From the row of recorded events to what the clock goes through: see replay_int.h. */
#include "time/replay_int.h"

#include <string.h>

#include "base/mem.h"

static bool is_start(const struct time_event *e) /* of something that runs beside the engines */
{
    return e->kind == TIME_EV_XFER || e->kind == TIME_EV_COLL;
}

static bool is_units(const struct time_event *e)
{
    return e->kind <= TIME_EV_XFER || e->kind == TIME_EV_COLL;
}

static bool event_ok(const struct replay *r, const struct time_event *e)
{
    unsigned core = e->unit >> 3, engine = e->unit & 7;

    if (e->kind < TIME_EV_WAIT || e->kind > TIME_EV_COLL_PACKET || core >= r->cores ||
        engine >= ISA_ENGINES)
        return false;
    if (e->kind == TIME_EV_RECORD && e->id >= r->progs[core]->count[engine])
        return false;
    if ((e->op & TIME_OP_PEER) != 0 && r->cores < 2)
        return false;
    return e->kind != TIME_EV_XFER ||
           (e->value >= 0 && (uint32_t)e->value < r->progs[core]->xfer_count);
}

/* First pass: check, count per unit, find the serials. */
static NRT_STATUS scan(struct replay *r, struct err *err)
{
    uint32_t xfers = 0;

    for (size_t i = 0; i < r->count; i++) {
        if (!event_ok(r, &r->ev[i]))
            return err_set(err, NRT_INVALID, "event %zu is not one of these programs", i);
        if (is_units(&r->ev[i]))
            r->unit[r->ev[i].unit].count++;
        xfers += is_start(&r->ev[i]);
    }
    r->nxfers = xfers;
    r->order = mem_calloc(r->count + 1, sizeof(r->order[0]));
    r->xfers = mem_calloc((size_t)xfers + 1, sizeof(r->xfers[0]));
    for (unsigned c = 0; c < r->cores; c++) {
        const struct time_program *p = r->progs[c];

        for (uint32_t i = 0; i < p->xfer_count; i++)
            if (p->xfers[i].queue >= r->nqueues[c])
                r->nqueues[c] = p->xfers[i].queue + 1;
        r->queue_last[c] = mem_calloc((size_t)r->nqueues[c] + 1, sizeof(uint32_t));
        if (r->queue_last[c] == NULL)
            return err_set(err, NRT_RESOURCE, "out of memory for a replay");
        memset(r->queue_last[c], 0xff, ((size_t)r->nqueues[c] + 1) * sizeof(uint32_t)); /* NONE */
    }
    if (r->order == NULL || r->xfers == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for a replay");
    return NRT_SUCCESS;
}

static bool tells_of_start(const struct time_event *e) /* or end of one of these */
{
    return e->kind == TIME_EV_XFER_DONE || e->kind >= TIME_EV_COLL_ARRIVAL;
}

static void take_note(struct xfer *x, const struct time_event *e, uint32_t at)
{
    uint64_t ps = (uint64_t)e->extra << 32 | (uint32_t)e->value;

    switch ((enum time_event_kind)e->kind) {
    case TIME_EV_COLL_ARRIVAL:
        x->arrival = ps;
        break;
    case TIME_EV_COLL_LASTS:
        x->lasts = ps;
        break;
    case TIME_EV_COLL_ENGINES:
        x->engines = ps;
        break;
    case TIME_EV_COLL_PACKET:
        x->packet = ps;
        break;
    default:
        x->done = at;
        break;
    }
}

/* Second pass: each unit's events, each transfer's. Serials count from 0 in order of their XFER. */
static NRT_STATUS sort_events(struct replay *r, struct err *err)
{
    uint32_t at = 0, serial = 0;

    for (unsigned u = 0; u < UNITS; u++) {
        r->unit[u].ev = r->order + at;
        at += r->unit[u].count;
        r->unit[u].count = 0;
        r->unit[u].last_record = NONE - 1;
    }
    for (size_t i = 0; i < r->count; i++) {
        const struct time_event *e = &r->ev[i];

        if (is_units(e)) {
            struct unit *un = &r->unit[e->unit];

            /* before the first RECORD only waits may stand; events are dropped at the end only */
            un->ev[un->count++] = (uint32_t)i;
        }
        if (is_start(e)) {
            if (e->id != serial)
                return err_set(err, NRT_INVALID, "event %zu: serial %u, expected %u", i, e->id,
                               serial);
            r->xfers[serial++] = (struct xfer){.event = (uint32_t)i,
                                               .done = NONE,
                                               .xfer = (uint32_t)e->value,
                                               .core = (uint8_t)(e->unit >> 3),
                                               .next = NONE,
                                               .coll = e->kind == TIME_EV_COLL,
                                               .stream = e->index};
        } else if (tells_of_start(e)) {
            if (e->id >= serial)
                return err_set(err, NRT_INVALID, "event %zu: transfer %u did not start", i, e->id);
            take_note(&r->xfers[e->id], e, (uint32_t)i);
        }
    }
    for (unsigned u = 0; u < UNITS; u++) {
        struct unit *un = &r->unit[u];

        while (un->count > 0 && r->ev[un->ev[un->count - 1]].kind == TIME_EV_WAIT)
            un->count--; /* the record they belong to was dropped */
        for (uint32_t i = 0; i < un->count; i++) {
            uint8_t kind = r->ev[un->ev[i]].kind;

            if (kind == TIME_EV_RECORD)
                break;
            if (kind != TIME_EV_WAIT)
                return err_set(err, NRT_INVALID, "event %u stands before its record", un->ev[i]);
        }
    }
    return NRT_SUCCESS;
}

NRT_STATUS replay_read(struct replay *r, struct err *err)
{
    NRT_STATUS st = scan(r, err);

    return st != NRT_SUCCESS ? st : sort_events(r, err);
}
