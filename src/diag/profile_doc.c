/* SPDX-License-Identifier: Apache-2.0 */
#include "diag/profile_doc.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "core/core.h"
#include "neff/neff.h"

/* ---- an execution ---- */

NRT_STATUS profile_run_make(struct profile_run *ret, struct time_keeper *keeper,
                            const struct model_seen *s, const struct time_events *ev,
                            struct err *err)
{
    const struct time_program *progs[CORE_MAX];

    *ret = (struct profile_run){.seen = s, .ev = ev};
    for (unsigned c = 0; c < s->cores; c++)
        progs[c] = core_program_time(s->prog[c]);
    return time_keeper_replay(keeper, progs, s->cores, ev, true, &ret->times, err);
}

/* ---- documents ---- */

struct held_model {
    const struct model *m; /* NULL: gone */
    uint32_t instance, index;
    /* Its last execution here: whose times these were, what room it took, its place. */
    uint64_t number; /* 0: none */
    struct profile_room need;
    uint32_t exec;
};

struct profile_doc {
    struct ntff_doc n;
    bool limited;
    struct profile_room room; /* what is left of it */
    struct held_model *models;
    size_t count, cap;
    uint8_t hash[NEFF_HASH_SIZE]; /* of the first */
};

struct profile_doc *profile_doc_new(const struct profile_room *room)
{
    struct profile_doc *d = mem_zalloc(sizeof(*d));

    if (d && room) {
        d->limited = true;
        d->room = *room;
    }
    return d;
}

void profile_doc_free(struct profile_doc *d)
{
    if (!d)
        return;
    ntff_doc_fini(&d->n);
    mem_free(d->models);
    mem_free(d);
}

static void engine_add(struct profile_doc *d, const struct model_seen *s, unsigned c, unsigned e)
{
    const struct neff_engine_code *code = &s->sg[c]->engines[e];
    const struct neff_debug_record *last = NULL;
    uint32_t file = 0, label = 0, op = 0;

    for (uint32_t i = 0; i < core_program_records(s->prog[c], e); i++) {
        const struct neff_debug_record *dbg = i < code->debug_count ? &code->debug[i] : NULL;
        struct ntff_record r = {.core = (uint8_t)c,
                                .engine = (uint8_t)e,
                                .opcode = (uint16_t)core_program_opcode(s->prog[c], e, i),
                                .record = i,
                                .line = dbg ? dbg->line : 0};

        /* Neighbours mostly share their texts: one copy for a run of equal ones. */
        if (dbg) {
            file = last && last->file == dbg->file ? file : ntff_doc_text(&d->n, dbg->file);
            label = last && last->label == dbg->label ? label : ntff_doc_text(&d->n, dbg->label);
            op = last && last->op == dbg->op ? op : ntff_doc_text(&d->n, dbg->op);
            r.file = file;
            r.label = label;
            r.op = op;
        }
        last = dbg;
        ntff_doc_record(&d->n, &r);
    }
}

static void xfers_add(struct profile_doc *d, const struct model_seen *s, unsigned c)
{
    const struct time_program *t = core_program_time(s->prog[c]);

    for (uint32_t i = 0; i < t->xfer_count; i++) {
        struct ntff_xfer x = {.core = c,
                              .index = i,
                              .queue = t->xfers[i].queue,
                              .first_engine = t->xfers[i].first_engine % TIME_DMA_ENGINES,
                              .engines = t->xfers[i].engines,
                              .bytes = core_program_xfer_bytes(s->prog[c], i)};

        ntff_doc_xfer(&d->n, &x);
    }
}

/* The run's model in the document, which gets it when it is new; NULL: no memory. */
static struct held_model *model_add(struct profile_doc *d, const struct model_seen *s)
{
    struct ntff_model m = {.gen = core_program_time(s->prog[0])->gen,
                           .cores = s->cores,
                           .id = model_id(s->model),
                           .instance = s->instance,
                           .vnc = s->vnc,
                           .rank = model_rank(s->model)};
    uint32_t index;

    for (size_t i = 0; i < d->count; i++)
        if (d->models[i].m == s->model && d->models[i].instance == s->instance)
            return &d->models[i];
    if (!mem_grow((void **)&d->models, &d->cap, d->count + 1, sizeof(*d->models)))
        return NULL;
    memcpy(m.hash, model_hash(s->model), sizeof(m.hash));
    m.name = ntff_doc_text(&d->n, model_name(s->model));
    index = ntff_doc_model(&d->n, &m);
    if (index == 0)
        memcpy(d->hash, m.hash, sizeof(d->hash));
    d->models[d->count++] =
        (struct held_model){.m = s->model, .instance = s->instance, .index = index};
    for (unsigned c = 0; c < s->cores; c++)
        for (unsigned e = 0; e < ISA_ENGINES; e++)
            engine_add(d, s, c, e);
    for (unsigned c = 0; c < s->cores; c++)
        xfers_add(d, s, c);
    return &d->models[d->count - 1];
}

static struct profile_room room_of(const struct time_events *ev)
{
    struct profile_room need = {0};

    for (size_t i = 0; i < ev->count; i++)
        switch ((enum time_event_kind)ev->ev[i].kind) {
        case TIME_EV_XFER:
        case TIME_EV_XFER_DONE:
        case TIME_EV_XFER_UPDATE:
            need.transfers += sizeof(ev->ev[i]);
            break;
        case TIME_EV_COLL:
        case TIME_EV_COLL_ARRIVAL:
        case TIME_EV_COLL_LASTS:
        case TIME_EV_COLL_ENGINES:
        case TIME_EV_COLL_PACKET:
            need.collectives += sizeof(ev->ev[i]);
            break;
        default:
            need.events += sizeof(ev->ev[i]);
            break;
        }
    return need;
}

/* Whether as much is left, and then take it. */
static bool room_take(struct profile_doc *d, const struct profile_room *need)
{
    if (!d->limited)
        return true;
    if (need->events > d->room.events || need->transfers > d->room.transfers ||
        need->collectives > d->room.collectives)
        return false;
    d->room.events -= need->events;
    d->room.transfers -= need->transfers;
    d->room.collectives -= need->collectives;
    return true;
}

void profile_doc_add(struct profile_doc *d, const struct profile_run *r)
{
    const struct model_seen *s = r->seen;
    struct ntff_exec e = {.status = (uint32_t)s->status,
                          .run = s->run,
                          .host_start_ns = s->start_ns,
                          .host_end_ns = s->end_ns,
                          .total_ps = r->times->report.total_ps,
                          .dropped = r->ev->dropped};
    struct held_model *m = model_add(d, s);
    bool again = m && m->number == r->times->number;

    if (m && !again)
        m->need = room_of(r->ev);
    if (!m || !room_take(d, &m->need)) {
        if (m)
            m->number = 0; /* its events are not here */
        d->n.dropped_execs++;
        d->n.dropped_events += r->ev->count + r->ev->dropped;
        return;
    }
    d->n.dropped_events += r->ev->dropped;
    e.model = m->index;
    if (again) {
        ntff_doc_exec_like(&d->n, &e, m->exec);
    } else {
        m->exec = d->n.exec_count;
        m->number = r->times->number;
        ntff_doc_exec(&d->n, &e, r->ev->ev, r->times->spans, r->ev->count);
    }
}

void profile_doc_forget(struct profile_doc *d, const struct model *m)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->models[i].m == m)
            d->models[i].m = NULL;
}

uint32_t profile_doc_count(const struct profile_doc *d)
{
    return d->n.exec_count;
}

const uint8_t *profile_doc_hash(const struct profile_doc *d)
{
    return d->hash;
}

NRT_STATUS profile_doc_write(const struct profile_doc *d, const char *path, bool fresh,
                             struct err *err)
{
    struct strbuf out = {0};
    NRT_STATUS status = ntff_doc_write(&d->n, &out, err);

    if (status == NRT_SUCCESS && !fd_file_write(path, out.s, out.len, fresh))
        status = err_set(err, fresh && errno == EEXIST ? NRT_INVALID : NRT_FAILURE, "%s: %s", path,
                         strerror(errno));
    strbuf_fini(&out);
    return status;
}
