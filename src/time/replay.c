/* SPDX-License-Identifier: Apache-2.0 */
/* The clock: replays the events of an execution as a discrete-event simulation. Each engine takes
 * its recorded groups in order,
 *
 *     WAIT* RECORD (READ | XFER | COLL | late WAIT)* COMPLETE*
 *
 * starts a group when its waits hold in device time, fires READ at the start and COMPLETE and the
 * transfers at the end of the interval; transfers occupy rings of DMA engines (rings.c) and fire
 * their updates when the slowest share is done. Semaphore values are recomputed in this order, not
 * taken from the record.
 *
 * A collective has its turn when the one before it in its stream has ended, and begins when its
 * last member has come. Then it has a ring on every DMA engine of the rank, with the work that its
 * events tell, and ends when all of this is done, but not before it has lasted what they tell. */
#include <string.h>

#include "base/mem.h"
#include "time/replay_int.h"

/* ---- agenda ---- */

static bool before(const struct action *a, const struct action *b)
{
    return a->ps != b->ps ? a->ps < b->ps : a->seq < b->seq;
}

static void push(struct replay *r, uint64_t ps, enum act_kind kind, uint32_t what)
{
    size_t i = r->nheap;
    struct action a = {ps, r->seq++, what, (uint8_t)kind};

    if (!mem_grow((void **)&r->heap, &r->cap_heap, i + 1, sizeof(r->heap[0]))) {
        r->no_memory = true;
        return;
    }
    r->nheap++;
    for (; i > 0 && before(&a, &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = a;
}

static struct action pop(struct replay *r)
{
    struct action top = r->heap[0], last = r->heap[--r->nheap];
    size_t i = 0;

    for (;;) {
        size_t c = 2 * i + 1;

        if (c >= r->nheap)
            break;
        if (c + 1 < r->nheap && before(&r->heap[c + 1], &r->heap[c]))
            c++;
        if (!before(&r->heap[c], &last))
            break;
        r->heap[i] = r->heap[c];
        i = c;
    }
    r->heap[i] = last;
    return top;
}

static void span(struct replay *r, uint32_t i, uint64_t start, uint64_t end)
{
    if (r->spans != NULL)
        r->spans[i] = (struct time_span){start, end, NONE};
}

/* A wait that held at `now`, and which its engine had come to at `since`. */
static void wait_span(struct replay *r, unsigned core, uint32_t i, uint64_t since, uint64_t now)
{
    const struct time_event *e = &r->ev[i];
    unsigned kind = e->op & 0x3f;

    span(r, i, since, now);
    if (r->spans != NULL && kind != ISA_WAIT_NONE)
        r->spans[i].by = kind == ISA_WAIT_EVENT_SET || kind == ISA_WAIT_EVENT_CLEAR
                             ? r->by_event[core][e->index]
                             : r->by[core][e->index];
}

static void finish_at(struct replay *r, uint64_t ps)
{
    if (r->rep->total_ps < ps)
        r->rep->total_ps = ps;
}

/* ---- semaphores and waits ---- */

static bool wait_holds(const struct replay *r, unsigned core, const struct time_event *w)
{
    switch (w->op & 0x3f) {
    case ISA_WAIT_SEM_GE:
        return r->sem[core][w->index] >= w->value;
    case ISA_WAIT_SEM_EQ:
        return r->sem[core][w->index] == w->value;
    case ISA_WAIT_EVENT_SET:
        return r->event[core][w->index];
    case ISA_WAIT_EVENT_CLEAR:
        return !r->event[core][w->index];
    default:
        return true;
    }
}

static bool is_late(const struct time_event *e)
{
    return e->kind == TIME_EV_WAIT && (e->op & TIME_OP_LATE) != 0;
}

static void coll_trigger(struct replay *r, uint32_t serial, uint64_t now);
static void unit_start(struct replay *r, unsigned u, uint64_t now);
static void unit_resume(struct replay *r, unsigned u, uint64_t now);

/* Whether the waits in front of the unit's next group, or its late wait, hold. */
static bool unit_ready(const struct replay *r, unsigned u)
{
    const struct unit *un = &r->unit[u];

    if (un->late)
        return wait_holds(r, u >> 3, &r->ev[un->ev[un->body]]);
    for (uint32_t i = un->at; i < un->count; i++) {
        const struct time_event *e = &r->ev[un->ev[i]];

        if (e->kind != TIME_EV_WAIT || is_late(e))
            return true;
        if (!wait_holds(r, u >> 3, e))
            return false;
    }
    return false; /* nothing left */
}

static void unit_go(struct replay *r, unsigned u, uint64_t now)
{
    if (r->unit[u].late)
        unit_resume(r, u, now);
    else
        unit_start(r, u, now);
}

/* Something changed: whoever waits looks at once, so that a passing value is not missed. */
static void changed(struct replay *r, uint64_t now)
{
    for (unsigned u = 0; u < UNITS; u++) {
        struct unit *un = &r->unit[u];

        if ((un->busy && !un->late) || un->at >= un->count || un->clock > now)
            continue;
        if (unit_ready(r, u))
            unit_go(r, u, now);
    }
}

static void update(struct replay *r, unsigned core, const struct time_event *e, uint64_t now)
{
    unsigned to = (e->op & TIME_OP_PEER) != 0 ? 1 - core : core, kind = e->op & 0x3f;
    uint32_t *s = (uint32_t *)&r->sem[to][e->index]; /* wraps like the core's */

    if (kind == ISA_UPD_EVENT_SET || kind == ISA_UPD_EVENT_CLEAR)
        r->by_event[to][e->index] = (uint32_t)(e - r->ev);
    else if (kind != ISA_UPD_NONE)
        r->by[to][e->index] = (uint32_t)(e - r->ev);
    switch (e->op & 0x3f) {
    case ISA_UPD_INC:
        *s += 1;
        break;
    case ISA_UPD_DEC:
        *s -= 1;
        break;
    case ISA_UPD_ADD:
        *s += (uint32_t)e->value;
        break;
    case ISA_UPD_SUB:
        *s -= (uint32_t)e->value;
        break;
    case ISA_UPD_WRITE:
        *s = (uint32_t)e->value;
        break;
    case ISA_UPD_EVENT_SET:
    case ISA_UPD_EVENT_CLEAR:
        r->event[to][e->index] = (e->op & 0x3f) == ISA_UPD_EVENT_SET;
        break;
    default:
        break;
    }
    changed(r, now);
}

/* ---- engines ---- */

/* READ updates from body on; stops before COMPLETE and XFER, or at a late wait that does not hold.
 * since: when the engine came to the first of them. */
static void run_body(struct replay *r, unsigned u, uint64_t since, uint64_t now)
{
    struct unit *un = &r->unit[u];

    un->late = false;
    while (un->body < un->count) {
        const struct time_event *e = &r->ev[un->ev[un->body]];

        if (e->kind == TIME_EV_READ) {
            span(r, un->ev[un->body], now, now);
            un->body++;
            update(r, u >> 3, e, now);
        } else if (is_late(e)) {
            if (!wait_holds(r, u >> 3, e)) {
                un->late = true;
                un->clock = now;
                return;
            }
            wait_span(r, u >> 3, un->ev[un->body], since, now);
            since = now;
            un->body++;
        } else {
            break;
        }
    }
    push(r, now + un->interval, ACT_RECORD_END, u);
}

static void unit_start(struct replay *r, unsigned u, uint64_t now)
{
    struct unit *un = &r->unit[u];
    const struct time_program *p = r->progs[u >> 3];
    unsigned engine = u & 7;
    const struct time_event *e;
    uint32_t id;

    if (now > un->clock)
        r->rep->wait_ps[u >> 3][engine] += now - un->clock;
    for (;; un->at++) {
        e = &r->ev[un->ev[un->at]];
        if (e->kind == TIME_EV_RECORD)
            break;
        wait_span(r, u >> 3, un->ev[un->at], un->clock, now);
    }
    id = e->id;
    un->interval = p->cost[engine][id].ps;
    if (p->cost[engine][id].guess)
        r->rep->guess_ps[u >> 3][engine] += un->interval;
    if (id == un->last_record + 1 && p->dependent[engine] != NULL && p->dependent[engine][id])
        un->interval += p->cost[engine][id].dependent_ps;
    un->last_record = id;
    un->start = now;
    un->busy = true;
    un->body = un->at + 1;
    run_body(r, u, now, now);
}

static void unit_resume(struct replay *r, unsigned u, uint64_t now)
{
    struct unit *un = &r->unit[u];

    r->rep->wait_ps[u >> 3][u & 7] += now - un->clock;
    un->start = now;
    run_body(r, u, un->clock, now);
}

static void unit_end(struct replay *r, unsigned u, uint64_t now)
{
    struct unit *un = &r->unit[u];
    uint64_t start = now - un->interval;

    r->rep->busy_ps[u >> 3][u & 7] += un->interval;
    span(r, un->ev[un->at], start, now);
    finish_at(r, now);
    for (uint32_t i = un->body; i <= un->count; i++) {
        const struct time_event *e = i < un->count ? &r->ev[un->ev[i]] : NULL;

        if (e == NULL ||
            (e->kind != TIME_EV_COMPLETE && e->kind != TIME_EV_XFER && e->kind != TIME_EV_COLL)) {
            un->at = i;
            break;
        }
        if (e->kind == TIME_EV_COLL) {
            coll_trigger(r, e->id, now);
        } else if (e->kind == TIME_EV_XFER) {
            const struct xfer *x = &r->xfers[e->id];
            const struct time_program *p = r->progs[u >> 3];
            uint64_t ready = now;

            if (p->xfers[x->xfer].hwdge && time_dge_blocks(p->gen) > 0) {
                uint64_t *f = r->dge_free[u >> 3];
                unsigned b = f[1] < f[0] ? 1 : 0;

                ready = (f[b] > now ? f[b] : now) + time_dma_hwdge_ps(p->gen);
                f[b] = ready;
            }
            push(r, ready + time_dma_start_ps(p->gen), ACT_XFER_READY, e->id);
        } else {
            span(r, un->ev[i], now, now);
            update(r, u >> 3, e, now);
        }
    }
    un->busy = false;
    un->clock = now;
    if (un->at < un->count && unit_ready(r, u))
        unit_start(r, u, now);
}

/* ---- transfers ---- */

/* All shares are done. Of one set transfers end in order: it waits for the one before, and those
 * behind it may have waited. */
static void xfer_end(struct replay *r, uint32_t serial, uint64_t now)
{
    struct xfer *x = &r->xfers[serial];

    x->finished = true;
    while (x->finished && !x->behind) {
        span(r, x->event, x->ready, now);
        push(r, now, ACT_XFER_DONE, serial);
        x->finished = false;
        x->over = true;
        r->moving--;
        if (x->next == NONE)
            return;
        serial = x->next;
        x = &r->xfers[serial];
        x->behind = false;
    }
}

/* Behind the last transfer of its set. */
static void xfer_line_up(struct replay *r, uint32_t serial)
{
    struct xfer *x = &r->xfers[serial];
    uint32_t *last = &r->queue_last[x->core][r->progs[x->core]->xfers[x->xfer].queue];

    x->next = NONE;
    if (*last != NONE && !r->xfers[*last].over) {
        r->xfers[*last].next = serial;
        x->behind = true;
    }
    *last = serial;
}

static void xfer_ready(struct replay *r, uint32_t serial, uint64_t now)
{
    struct xfer *x = &r->xfers[serial];
    const struct time_xfer *t = &r->progs[x->core]->xfers[x->xfer];

    x->ready = now;
    r->moving++;
    xfer_line_up(r, serial);
    for (uint32_t e = 0; e < t->engines; e++) {
        unsigned k = (t->first_engine + e) % TIME_DMA_ENGINES;
        struct rings_job job = {t->queue, serial, t->engine_ps[e], t->packet_ps};
        uint64_t next;

        if (job.left_ps == 0)
            continue;
        x->shares++;
        if (!rings_add(&r->dma[x->core][k], &job, now, &next))
            r->no_memory = true;
        else if (next != RINGS_IDLE)
            push(r, next, ACT_ENGINE, x->core * TIME_DMA_ENGINES + k);
    }
    if (x->shares == 0)
        xfer_end(r, serial, now);
}

/* ---- collectives ---- */

static void coll_turn(struct replay *r, uint32_t serial, uint64_t now)
{
    struct xfer *x = &r->xfers[serial];
    uint64_t begin = now > x->arrival ? now : x->arrival;

    x->ready = now;
    r->rep->coll_behind_ps += now - x->trigger;
    r->rep->coll_late_ps += begin - now;
    push(r, begin, ACT_COLL_BEGIN, serial);
}

static void coll_trigger(struct replay *r, uint32_t serial, uint64_t now)
{
    struct xfer *x = &r->xfers[serial];
    uint32_t *last = &r->stream_last[x->stream];
    bool free = *last == NONE || r->xfers[*last].over;

    r->rep->colls++;
    x->trigger = now;
    if (!free)
        r->xfers[*last].next = serial;
    *last = serial;
    if (free)
        coll_turn(r, serial, now);
}

static void coll_begin(struct replay *r, uint32_t serial, uint64_t now)
{
    struct xfer *x = &r->xfers[serial];
    struct rings_job job = {RING_STREAM + x->stream, serial, x->engines, x->packet};
    uint64_t next;

    x->begin = now;
    x->shares = 1; /* its time alone on the device */
    r->colls++;
    push(r, now + x->lasts < now ? UINT64_MAX : now + x->lasts, ACT_COLL_SHARE, serial);
    for (uint32_t k = 0; k < r->cores * TIME_DMA_ENGINES && x->engines > 0; k++) {
        x->shares++;
        if (!rings_add(&r->dma[k / TIME_DMA_ENGINES][k % TIME_DMA_ENGINES], &job, now, &next))
            r->no_memory = true;
        else if (next != RINGS_IDLE)
            push(r, next, ACT_ENGINE, k);
    }
}

static void coll_end(struct replay *r, uint32_t serial, uint64_t now)
{
    struct xfer *x = &r->xfers[serial];

    x->over = true;
    r->colls--;
    r->rep->coll_ps += now - x->begin;
    span(r, x->event, x->ready, now);
    push(r, now, ACT_XFER_DONE, serial);
    if (x->next != NONE)
        coll_turn(r, x->next, now);
}

/* ---- DMA engines ---- */

static void share_done(struct replay *r, uint32_t serial, uint64_t now)
{
    if (--r->xfers[serial].shares > 0)
        return;
    if (r->xfers[serial].coll)
        coll_end(r, serial, now);
    else
        xfer_end(r, serial, now);
}

/* A DMA engine comes to the end of what it served; a packet boundary that was put forward leaves
 * the later time on the agenda. */
static void engine_step(struct replay *r, uint32_t engine, uint64_t now)
{
    struct rings *d = &r->dma[engine / TIME_DMA_ENGINES][engine % TIME_DMA_ENGINES];
    uint32_t serial;
    uint64_t next;
    bool done;

    if (d->until_ps != now)
        return;
    next = rings_step(d, &done, &serial);
    if (next != RINGS_IDLE)
        push(r, next, ACT_ENGINE, engine);
    if (done)
        share_done(r, serial, now);
}

static void xfer_done(struct replay *r, uint32_t serial, uint64_t now)
{
    const struct xfer *x = &r->xfers[serial];

    finish_at(r, now);
    if (x->done == NONE)
        return;
    span(r, x->done, now, now);
    for (size_t i = x->done + (size_t)1;
         i < r->count && r->ev[i].kind == TIME_EV_XFER_UPDATE && r->ev[i].id == serial; i++) {
        span(r, (uint32_t)i, now, now);
        update(r, x->core, &r->ev[i], now);
    }
}

/* Nothing is due but records are left: in time order they never become ready, so the program
 * races. Let the one that executed first go on. */
static bool force(struct replay *r, uint64_t now)
{
    uint32_t first = NONE;
    unsigned unit = 0;

    for (unsigned u = 0; u < UNITS; u++) {
        struct unit *un = &r->unit[u];
        uint32_t at = un->late ? un->body : un->at;

        if (un->at < un->count && (!un->busy || un->late) && un->ev[at] < first) {
            first = un->ev[at];
            unit = u;
        }
    }
    if (first == NONE)
        return false;
    r->rep->forced++;
    if (r->unit[unit].late) {
        r->unit[unit].body++;
        unit_resume(r, unit, now);
    } else {
        unit_start(r, unit, now);
    }
    return true;
}

/* What the time since the last event counts as. */
static void account(struct replay *r, uint64_t now)
{
    bool works = r->moving > 0;

    if (r->colls > 0) {
        for (unsigned u = 0; u < UNITS && !works; u++)
            works = r->unit[u].busy && !r->unit[u].late;
        r->rep->coll_any_ps += now - r->counted;
        r->rep->coll_alone_ps += works ? 0 : now - r->counted;
    }
    r->counted = now;
}

static void simulate(struct replay *r)
{
    uint64_t now = 0;

    changed(r, 0);
    do {
        while (r->nheap > 0 && !r->no_memory) {
            struct action a = pop(r);

            now = a.ps;
            account(r, now);
            switch ((enum act_kind)a.kind) {
            case ACT_RECORD_END:
                unit_end(r, a.what, now);
                break;
            case ACT_XFER_READY:
                xfer_ready(r, a.what, now);
                break;
            case ACT_XFER_DONE:
                xfer_done(r, a.what, now);
                break;
            case ACT_ENGINE:
                engine_step(r, a.what, now);
                break;
            case ACT_COLL_BEGIN:
                coll_begin(r, a.what, now);
                break;
            case ACT_COLL_SHARE:
                share_done(r, a.what, now);
                break;
            }
        }
    } while (!r->no_memory && force(r, now));
}

NRT_STATUS time_replay(const struct time_program *const *progs, unsigned cores,
                       const struct time_events *events, struct time_span *spans,
                       struct time_report *ret, struct err *err)
{
    struct replay *r;
    NRT_STATUS st;

    memset(ret, 0, sizeof(*ret));
    ret->truncated = events->dropped > 0;
    if (cores < 1 || cores > TIME_CORES || events->count >= NONE)
        return err_set(err, NRT_INVALID, "%u cores, %zu events", cores, events->count);
    r = mem_zalloc(sizeof(*r));
    if (r == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for a replay");
    r->progs = progs;
    r->cores = cores;
    r->ev = events->ev;
    r->count = events->count;
    r->spans = spans;
    r->rep = ret;
    memset(r->stream_last, 0xff, sizeof(r->stream_last)); /* NONE */
    memset(r->by, 0xff, sizeof(r->by));
    memset(r->by_event, 0xff, sizeof(r->by_event));
    if (spans != NULL)
        memset(spans, 0, events->count * sizeof(spans[0]));
    st = replay_read(r, err);
    if (st == NRT_SUCCESS) {
        simulate(r);
        if (r->no_memory)
            st = err_set(err, NRT_RESOURCE, "out of memory for a replay");
    }
    mem_free(r->order);
    mem_free(r->xfers);
    mem_free(r->heap);
    for (unsigned c = 0; c < TIME_CORES; c++) {
        for (unsigned k = 0; k < TIME_DMA_ENGINES; k++) {
            ret->dma_busy_ps[c][k] = r->dma[c][k].busy_ps;
            rings_fini(&r->dma[c][k]);
        }
        mem_free(r->queue_last[c]);
    }
    mem_free(r);
    return st;
}
