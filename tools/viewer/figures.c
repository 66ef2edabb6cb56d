/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over the events of each execution. A wait counts from where an earlier wait of its
 * engine ended: several waits of one instruction begin together, and the one that holds last is to
 * blame for the time since the one before. */
#include "viewer/figures.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "viewer/spans.h"

/* More than any device has; what is beyond would leave the range of a time. */
#define BYTES_MAX (UINT64_C(1) << 50)

/* ---- sums ---- */

static void add(uint64_t *sum, uint64_t v)
{
    if (__builtin_add_overflow(*sum, v, sum))
        *sum = UINT64_MAX;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* ---- an execution ---- */

/* What is collected of one execution. */
struct pass {
    struct viewer_figures *f;
    const struct viewer_exec *x;
    const uint32_t *queue_of; /* per transfer of the model: its queue */
    struct spans busy[VIEWER_UNITS], compute, dma[TIME_CORES], dma_any, coll, active;
    struct spans *queue;              /* per queue */
    uint64_t waited_ps[VIEWER_UNITS]; /* until when the unit's waits are counted */
    uint64_t ended_ps[VIEWER_UNITS];  /* of the unit's last record */
    uint64_t wait_ps[VIEWER_UNITS];   /* sum of its counted waits */
};

static bool is_compute(unsigned opcode)
{
    const struct isa_op_info *op = isa_op_info(opcode);

    return op && op->format == ISA_FMT_COMPUTE;
}

static void record_add(struct pass *p, const struct ntff_event *e)
{
    struct viewer_engine *en = &p->f->engine[e->unit];
    uint64_t limit = p->x->e->total_ps;
    uint32_t index;

    add(&en->records, 1);
    spans_add(&p->busy[e->unit], e->start_ps, e->end_ps, limit);
    p->ended_ps[e->unit] = e->end_ps;
    if (is_compute((unsigned)e->value)) {
        spans_add(&p->compute, e->start_ps, e->end_ps, limit);
        add(&en->compute_ps, less(e->end_ps < limit ? e->end_ps : limit, e->start_ps));
        spans_add(&p->active, e->start_ps, e->end_ps, limit);
    }
    if (e->value == ISA_OP_NC_MATMUL || e->value == ISA_OP_NC_MATMUL_MX)
        add(&p->f->matmuls, 1);
    if (viewer_record(p->x->model, e->unit, e->id, &index)) {
        add(&p->f->instructions[index].count, 1);
        add(&p->f->instructions[index].ps, e->end_ps - e->start_ps);
    }
}

/* The queue of the transfer that e starts; NULL: the model has no such transfer. */
static struct viewer_queue *queue_of(const struct pass *p, const struct ntff_event *e)
{
    uint32_t index;

    if (!viewer_xfer(p->x->model, e->unit >> 3, (uint32_t)e->value, &index))
        return NULL;
    return &p->f->queues[p->queue_of[index]];
}

static void xfer_add(struct pass *p, const struct ntff_event *e)
{
    const struct ntff_xfer *x = viewer_xfer(p->x->model, e->unit >> 3, (uint32_t)e->value, NULL);
    struct viewer_queue *q = queue_of(p, e);
    uint64_t limit = p->x->e->total_ps, bytes = x ? x->bytes : 0;

    add(&p->f->transfers, 1);
    add(&p->f->transfer_bytes, bytes);
    add(&p->f->dma_ideal_ps, time_dma_ps((enum isa_gen)p->x->model->m->gen, TIME_DMA_COPY,
                                         bytes < BYTES_MAX ? bytes : BYTES_MAX) /
                                 TIME_DMA_ENGINES);
    spans_add(&p->dma[e->unit >> 3], e->start_ps, e->end_ps, limit);
    spans_add(&p->dma_any, e->start_ps, e->end_ps, limit);
    spans_add(&p->active, e->start_ps, e->end_ps, limit);
    if (q) {
        add(&q->transfers, 1);
        add(&q->bytes, bytes);
        spans_add(&p->queue[q - p->f->queues], e->start_ps, e->end_ps, limit);
    }
}

/* e: an ARRIVAL; the collective is under way from then on. */
static void coll_add(struct pass *p, const struct ntff_event *e)
{
    const struct ntff_event *c = viewer_start(p->x, e->id);
    uint64_t from;

    if (!c || c->kind != TIME_EV_COLL)
        return;
    from = viewer_ps(e) > c->start_ps ? viewer_ps(e) : c->start_ps;
    from = from < c->end_ps ? from : c->end_ps;
    add(&p->f->coll_late_ps, from - c->start_ps);
    add(&p->f->coll_ps, c->end_ps - from);
    spans_add(&p->coll, from, c->end_ps, p->x->e->total_ps);
    spans_add(&p->active, from, c->end_ps, p->x->e->total_ps);
}

/* ps more that the unit waited for what the update did. */
static void reason_add(struct pass *p, unsigned unit, uint32_t update, uint64_t ps)
{
    struct viewer_engine *en = &p->f->engine[unit];
    const struct ntff_event *u = update == VIEWER_NONE ? NULL : &p->x->ev[update], *start;
    struct viewer_queue *q;

    if (u && u->kind != TIME_EV_XFER_UPDATE) {
        add(&en->idle_ps[VIEWER_IDLE_ENGINE], ps);
        add(&en->for_engine_ps[u->unit], ps);
        return;
    }
    start = u ? viewer_start(p->x, u->id) : NULL;
    if (start && start->kind == TIME_EV_XFER) {
        add(&en->idle_ps[VIEWER_IDLE_TRANSFER], ps);
        q = queue_of(p, start);
        if (q)
            add(&q->awaited_ps[unit], ps);
        return;
    }
    add(&en->idle_ps[start ? VIEWER_IDLE_COLL : VIEWER_IDLE_OTHER], ps);
}

static void wait_add(struct pass *p, uint32_t i)
{
    const struct ntff_event *e = &p->x->ev[i];
    uint64_t *until = &p->waited_ps[e->unit];
    uint64_t from = e->start_ps > *until ? e->start_ps : *until;
    uint64_t to = e->end_ps < p->x->e->total_ps ? e->end_ps : p->x->e->total_ps;

    if (to <= from)
        return;
    reason_add(p, e->unit, p->x->by[i], to - from);
    add(&p->wait_ps[e->unit], to - from);
    *until = to;
}

static void events_add(struct pass *p)
{
    for (uint32_t i = 0; i < p->x->count; i++) {
        const struct ntff_event *e = &p->x->ev[i];

        switch (e->kind) {
        case TIME_EV_WAIT:
            if (viewer_is_wait(e))
                wait_add(p, i);
            break;
        case TIME_EV_RECORD:
            record_add(p, e);
            break;
        case TIME_EV_XFER:
            xfer_add(p, e);
            break;
        case TIME_EV_COLL:
            add(&p->f->colls, 1);
            break;
        case TIME_EV_COLL_ARRIVAL:
            coll_add(p, e);
            break;
        default:
            break;
        }
    }
}

/* Of an engine with a program, what is left of the execution when work and waits are taken off. */
static void engine_end(struct pass *p, unsigned unit)
{
    struct viewer_engine *en = &p->f->engine[unit];
    uint64_t total = p->x->e->total_ps, busy, last, ended;

    if (!en->used)
        return;
    spans_join(&p->busy[unit]);
    busy = spans_sum(&p->busy[unit]);
    last = p->ended_ps[unit] > p->waited_ps[unit] ? p->ended_ps[unit] : p->waited_ps[unit];
    ended = less(total, last);
    add(&en->busy_ps, busy);
    add(&en->idle_ps[VIEWER_IDLE_ENDED], ended);
    add(&en->idle_ps[VIEWER_IDLE_BETWEEN], less(less(less(total, busy), p->wait_ps[unit]), ended));
}

static void pass_end(struct pass *p)
{
    struct viewer_figures *f = p->f;

    for (unsigned u = 0; u < VIEWER_UNITS; u++)
        engine_end(p, u);
    for (unsigned c = 0; c < TIME_CORES; c++) {
        spans_join(&p->dma[c]);
        add(&f->dma_active_ps, spans_sum(&p->dma[c]));
    }
    for (size_t q = 0; q < f->queue_count; q++) {
        spans_join(&p->queue[q]);
        add(&f->queues[q].active_ps, spans_sum(&p->queue[q]));
    }
    spans_join(&p->compute);
    spans_join(&p->dma_any);
    spans_join(&p->coll);
    spans_join(&p->active);
    add(&f->active_ps, spans_sum(&p->active));
    add(&f->compute_ps, spans_sum(&p->compute));
    add(&f->dma_any_ps, spans_sum(&p->dma_any));
    add(&f->coll_any_ps, spans_sum(&p->coll));
    add(&f->dma_hidden_ps, spans_common(&p->dma_any, &p->compute));
    add(&f->coll_hidden_ps, spans_common(&p->coll, &p->compute));
}

/* All sets of a pass, one after the other; NULL at the end. */
static struct spans *pass_set(struct pass *p, size_t i)
{
    struct spans *const one[] = {&p->compute, &p->dma_any, &p->coll, &p->active};
    const size_t ones = sizeof(one) / sizeof(one[0]);

    if (i < VIEWER_UNITS)
        return &p->busy[i];
    i -= VIEWER_UNITS;
    if (i < TIME_CORES)
        return &p->dma[i];
    i -= TIME_CORES;
    if (i < ones)
        return one[i];
    i -= ones;
    return i < p->f->queue_count ? &p->queue[i] : NULL;
}

static NRT_STATUS exec_add(struct pass *p, const struct ntff_exec *e, struct err *err)
{
    struct viewer_exec x;
    NRT_STATUS st = viewer_exec_init(&x, p->f->model, e, err);
    bool failed = false;

    if (st != NRT_SUCCESS)
        return st;
    for (size_t i = 0; pass_set(p, i); i++)
        spans_clear(pass_set(p, i));
    memset(p->waited_ps, 0, sizeof(p->waited_ps));
    memset(p->ended_ps, 0, sizeof(p->ended_ps));
    memset(p->wait_ps, 0, sizeof(p->wait_ps));
    p->x = &x;
    events_add(p);
    pass_end(p);
    for (size_t i = 0; pass_set(p, i); i++)
        failed = failed || pass_set(p, i)->failed;
    add(&p->f->executions, 1);
    add(&p->f->failed, e->status != NRT_SUCCESS);
    add(&p->f->total_ps, e->total_ps);
    add(&p->f->dropped_events, e->dropped);
    viewer_exec_fini(&x);
    return failed ? err_set(err, NRT_RESOURCE, "no memory for the figures of a profile")
                  : NRT_SUCCESS;
}

/* ---- queues ---- */

struct queue_key {
    uint32_t core, queue, xfer;
};

static int queue_order(const void *a, const void *b)
{
    const struct queue_key *x = a, *y = b;

    if (x->core != y->core)
        return x->core < y->core ? -1 : 1;
    return (x->queue > y->queue) - (x->queue < y->queue);
}

/* The queues of the model's transfers, and per transfer which. */
static bool queues_make(struct viewer_figures *f, uint32_t *queue_of)
{
    const struct viewer_model *m = f->model;
    uint32_t n = m->m->xfers;
    struct queue_key *key = mem_calloc((size_t)n + 1, sizeof(*key));
    bool ok = key != NULL;
    size_t cap = 0;

    for (uint32_t i = 0; ok && i < n; i++) {
        const struct ntff_xfer *x = &m->n->xfers[m->m->first_xfer + i];

        key[i] = (struct queue_key){x->core, x->queue, i};
    }
    if (ok && n > 1)
        qsort(key, n, sizeof(*key), queue_order);
    for (uint32_t i = 0; ok && i < n; i++) {
        if (i == 0 || queue_order(&key[i - 1], &key[i]) != 0) {
            ok = mem_grow((void **)&f->queues, &cap, f->queue_count + 1, sizeof(*f->queues));
            if (ok)
                f->queues[f->queue_count++] =
                    (struct viewer_queue){.core = key[i].core, .queue = key[i].queue};
        }
        if (ok)
            queue_of[key[i].xfer] = (uint32_t)f->queue_count - 1;
    }
    mem_free(key);
    return ok;
}

/* ---- the whole ---- */

NRT_STATUS viewer_figures_make(struct viewer_figures *ret, const struct viewer_model *m,
                               struct err *err)
{
    struct pass p = {.f = ret};
    uint32_t *queue_of = mem_calloc((size_t)m->m->xfers + 1, sizeof(*queue_of));
    NRT_STATUS st = NRT_SUCCESS;
    bool ok = queue_of != NULL;

    *ret = (struct viewer_figures){.model = m};
    for (unsigned u = 0; u < VIEWER_UNITS; u++)
        ret->engine[u].used = m->first_record[u] != VIEWER_NONE;
    ret->instructions = mem_calloc((size_t)m->m->records + 1, sizeof(*ret->instructions));
    ok = ok && ret->instructions && queues_make(ret, queue_of);
    if (ok)
        p.queue = mem_calloc(ret->queue_count + 1, sizeof(*p.queue));
    if (!ok || !p.queue)
        st = err_set(err, NRT_RESOURCE, "no memory for the figures of a profile");
    p.queue_of = queue_of;
    for (const struct ntff_exec *e = viewer_exec_first(m); st == NRT_SUCCESS && e;
         e = viewer_exec_next(m, e))
        st = exec_add(&p, e, err);
    for (size_t i = 0; p.queue && pass_set(&p, i); i++)
        spans_fini(pass_set(&p, i));
    mem_free(p.queue);
    mem_free(queue_of);
    return st;
}

void viewer_figures_fini(struct viewer_figures *f)
{
    mem_free(f->instructions);
    mem_free(f->queues);
    f->instructions = NULL;
    f->queues = NULL;
    f->queue_count = 0;
}

size_t viewer_figures_top(const struct viewer_figures *f, uint32_t *ret, size_t max)
{
    size_t n = 0;

    for (uint32_t i = 0; i < f->model->m->records; i++) {
        size_t at = n;

        if (f->instructions[i].count == 0)
            continue;
        while (at > 0 && f->instructions[ret[at - 1]].ps < f->instructions[i].ps)
            at--;
        if (at >= max)
            continue;
        n = n < max ? n + 1 : max;
        memmove(&ret[at + 1], &ret[at], (n - at - 1) * sizeof(*ret));
        ret[at] = i;
    }
    return n;
}

/* ---- reasons ---- */

enum viewer_idle viewer_idle_first(const struct viewer_engine *e)
{
    enum viewer_idle best = VIEWER_IDLE_COUNT;

    for (unsigned i = 0; i < VIEWER_IDLE_COUNT; i++)
        if (e->idle_ps[i] > (best == VIEWER_IDLE_COUNT ? 0 : e->idle_ps[best]))
            best = (enum viewer_idle)i;
    return best;
}

uint64_t viewer_idle_sum(const struct viewer_engine *e)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < VIEWER_IDLE_COUNT; i++)
        add(&sum, e->idle_ps[i]);
    return sum;
}

static void queue_words(const struct viewer_figures *f, unsigned unit, struct strbuf *out)
{
    const struct viewer_queue *most = NULL;
    const char *name;

    for (size_t i = 0; i < f->queue_count; i++)
        if (f->queues[i].awaited_ps[unit] > (most ? most->awaited_ps[unit] : 0))
            most = &f->queues[i];
    strbuf_put(out, "waits for transfers");
    if (!most)
        return;
    name = viewer_queue_name(f->model, most->core, most->queue);
    if (name)
        strbuf_printf(out, ", most for queue %s", name);
    else
        strbuf_printf(out, ", most for queue %u", most->queue);
}

static void engine_words(const struct viewer_figures *f, unsigned unit, struct strbuf *out)
{
    const uint64_t *ps = f->engine[unit].for_engine_ps;
    unsigned most = 0;

    for (unsigned u = 1; u < VIEWER_UNITS; u++)
        most = ps[u] > ps[most] ? u : most;
    if (most == unit)
        strbuf_put(out, "waits for its own earlier instructions");
    else
        strbuf_printf(out, "waits for other engines, most for %s", isa_engine_name(most & 7));
    if (most >> 3 != unit >> 3)
        strbuf_printf(out, " of core %u", most >> 3);
}

void viewer_idle_words(const struct viewer_figures *f, unsigned unit, enum viewer_idle why,
                       struct strbuf *out)
{
    switch (why) {
    case VIEWER_IDLE_ENGINE:
        engine_words(f, unit, out);
        break;
    case VIEWER_IDLE_TRANSFER:
        queue_words(f, unit, out);
        break;
    case VIEWER_IDLE_COLL:
        strbuf_put(out, "waits for collectives");
        break;
    case VIEWER_IDLE_OTHER:
        strbuf_put(out, "waits for something that the profile does not show");
        break;
    case VIEWER_IDLE_BETWEEN:
        strbuf_put(out, "stands between its instructions");
        break;
    case VIEWER_IDLE_ENDED:
        strbuf_put(out, "has ended");
        break;
    case VIEWER_IDLE_COUNT:
        strbuf_put(out, "never idle");
        break;
    }
}
