/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: what a program's trigger_collective starts. Operations of one stream run one after the
 * other, streams side by side, all by the thread that drives the core: in the trigger itself (so
 * that peers get what is ready at once), whenever the core looks, and while it waits.
 *
 * On the way of an operation nothing allocates or makes a system call, unless the thread sleeps. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "base/trace.h"
#include "base/watched.h"
#include "coll/coll_int.h"
#include "coll/world_int.h"

#define BUDGET 256u  /* of one look at an operation */
#define POLLS  64u   /* looks of one poll, where the ranks fit the CPUs */
#define SPINS  2048u /* looks between two yields */

/* ---- ended operations ---- */

static struct stream_op *stream_op(struct stream *st, uint32_t i)
{
    return &st->op[(st->first + i) % STREAM_DEPTH];
}

static struct coll_comm *running_comm(struct stream *st)
{
    return stream_op(st, st->ended)->e->comm->comm;
}

/* That of one of the operations outstanding; s->busy is not 0. */
static struct coll_comm *busy_comm(struct coll_streams *s)
{
    return running_comm(&s->stream[__builtin_ctz(s->busy)]);
}

static void op_done(struct coll_streams *s, struct stream *st)
{
    s->order[(s->order_first + s->order_count++) % sizeof(s->order)] = (uint8_t)(st - s->stream);
    s->signals++;
    st->running = false;
    if (++st->ended == st->count)
        s->busy &= ~(1u << (st - s->stream));
}

/* The operation fails the run; it stays where it is until the run has been abandoned. */
static void op_failed(struct coll_streams *s, struct stream *st, NRT_STATUS status,
                      const char *text)
{
    if (s->failed)
        return;
    s->failed = true;
    s->told = false;
    s->signals++;
    s->failure = stream_op(st, st->ended)->t;
    s->err = (struct err){0};
    err_set(&s->err, status, "%s", text);
    s->suspected = true;
    s->suspect = (struct coll_suspect){
        .core = s->failure.core, .op = s->failure.op, .count = s->table->count[s->failure.core]};
}

/* ---- tensors ---- */

/* Where input i overlaps an output although the operation was not declared in place, it is sent
 * from a copy: an output may be written before a peer has read the input. */
static NRT_STATUS input_copy(struct coll_streams *s, struct coll_entry *e, uint32_t i,
                             struct err *err)
{
    struct device_alloc a = {.core = e->comm->rank->core,
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_COLL,
                             .size = e->c->in[i].size,
                             .align = 4096,
                             .name = "copy of a collective's input"};
    NRT_STATUS st = NRT_SUCCESS;

    if (e->copy[i].size == 0)
        st = device_alloc(s->in, &a, &e->copy[i], err);
    if (!st) {
        e->addr[i] = e->copy[i].addr;
        e->copies = true;
    }
    return st;
}

static bool input_overlaps(const struct coll_entry *e, uint32_t i)
{
    if (e->in_place)
        return false;
    for (uint32_t k = 0; k < e->outputs; k++)
        if (ranges_meet(e->addr[i], e->c->in[i].size, e->addr[e->inputs + k], e->c->out[k].size))
            return true;
    return false;
}

static const struct neff_coll_range *range_of(const struct coll_entry *e, uint32_t i)
{
    return i < e->inputs ? &e->c->in[i] : &e->c->out[i - e->inputs];
}

/* The binding's memory has changed since the last operation of this entry, or this is the first. */
static NRT_STATUS tensors_find(struct coll_streams *s, struct coll_entry *e,
                               const struct core_binding *b, struct err *err)
{
    uint64_t size;
    NRT_STATUS st = NRT_SUCCESS;

    e->found = e->copies = false;
    for (uint32_t i = 0; i < e->inputs + e->outputs; i++) {
        const struct neff_coll_range *r = range_of(e, i);

        e->host[i] = core_binding_get(b, r->var, &size);
        e->addr[i] = 0;
        if (r->size && !device_va_addr(s->in, (const uint8_t *)e->host[i] + r->off, &e->addr[i]))
            return err_set(err, NRT_FAILURE, "a tensor of a collective is not in device memory");
    }
    for (uint32_t i = 0; i < e->inputs && !st; i++)
        if (input_overlaps(e, i))
            st = input_copy(s, e, i, err);
    e->found = !st;
    return st;
}

static NRT_STATUS inputs_copy(struct coll_streams *s, const struct coll_entry *e, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    for (uint32_t i = 0; i < e->inputs && !st; i++) {
        void *to;

        if (e->copy[i].size == 0 || e->addr[i] != e->copy[i].addr)
            continue;
        st = device_map(s->in, e->addr[i], e->c->in[i].size, DEVICE_RW, &to, err);
        if (!st)
            memcpy(to, (const uint8_t *)e->host[i] + e->c->in[i].off, e->c->in[i].size);
    }
    return st;
}

/* A binding that has been made anew may hold what it held. What was found of one that could not be
 * used is not all of it. */
static bool tensors_same(const struct coll_entry *e, const struct core_binding *b)
{
    uint64_t size;
    bool same = e->found;

    for (uint32_t i = 0; i < e->inputs + e->outputs && same; i++)
        same = core_binding_get(b, range_of(e, i)->var, &size) == e->host[i];
    return same;
}

static NRT_STATUS tensors_take(struct coll_streams *s, struct coll_entry *e,
                               const struct core_binding *b, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    if (__builtin_expect(e->tiles, 0))
        return tiles_take(s->in, e, b, err);
    if (__builtin_expect(e->binding != core_binding_serial(b), 0)) {
        e->binding = 0;
        if (!tensors_same(e, b))
            st = tensors_find(s, e, b, err);
        if (!st)
            e->binding = core_binding_serial(b);
    }
    return st || !e->copies ? st : inputs_copy(s, e, err);
}

/* ---- operations ---- */

/* The table of counts of a variable-size form. */
static uint32_t *counts_at(const struct stream_op *op)
{
    const struct neff_coll *c = op->e->c;
    uint64_t size;

    return (uint32_t *)((uint8_t *)core_binding_get(op->t.binding, c->metadata_var, &size) +
                        c->metadata_off);
}

/* The stream's operation begins or ends, for the system trace. */
static void op_trace(struct coll_streams *s, struct stream *st, const struct stream_op *op,
                     enum trace_phase phase)
{
    struct trace_event e = {.tracking = st->traced,
                            .data = {op->t.op},
                            .type = TRACE_cc_running,
                            .phase = (uint8_t)phase,
                            .data_count = 1};

    trace_put(s->trace, s->vnc, &e);
}

/* When an operation's turn is, in device time. */
static uint64_t turn_ps(const struct stream *st, const struct stream_op *op)
{
    return (op->t.ps > st->free_ps ? op->t.ps : st->free_ps) + op->late_ps;
}

static void op_begin(struct coll_streams *s, struct stream *st)
{
    struct stream_op *op = stream_op(st, st->ended);
    struct coll_entry *e = op->e;
    struct err err;
    NRT_STATUS status;

    if (e->kind == ENTRY_IDLE) {
        op_done(s, st);
        return;
    }
    err_clear(&err);
    e->comm->comm->cfg.timeout_ns = s->timeout_ns;
    op->late_ps = coll_late(e->comm->comm);
    if (WATCHED(op->t.recorded) && e->kind == ENTRY_FIXED)
        coll_enter(e->comm->comm, turn_ps(st, op));
    status = tensors_take(s, e, op->t.binding, &err);
    st->asked = e->kind == ENTRY_VARIES;
    if (!status && st->asked)
        status = varies_ask(e, counts_at(op), &err);
    else if (!status)
        status = coll_begin(e->plan, e->addr, e->addr + e->inputs, &err);
    if (__builtin_expect(status != NRT_SUCCESS, 0)) { /* the others must not wait for it */
        (void)coll_fail(e->comm->comm, NRT_EXEC_HW_ERR_COLLECTIVES, e->comm->me, "%s", err.text);
        op_failed(s, st, status, err.text);
        return;
    }
    st->running = true;
    st->traced = 0;
    if (s->trace && trace_on(s->trace)) {
        st->traced = trace_id(s->trace);
        op_trace(s, st, op, TRACE_START);
    }
    if (s->live) /* for whoever looks at a core that hangs */
        atomic_store_explicit(&s->live->coll_seq, ++s->started, memory_order_relaxed);
}

/* The exchange of an operation's counts has ended: it begins itself. */
static void varies_asked(struct coll_streams *s, struct stream *st, struct coll_entry *e)
{
    struct shared_comm *c = e->comm;
    struct err err = {0};
    NRT_STATUS status = varies_begin(e, &err);

    st->asked = false;
    if (status == NRT_INVALID) { /* everybody sees that, and nobody has begun */
        st->running = false;
        s->refused = c;
    } else if (status)
        (void)coll_fail(c->comm, NRT_EXEC_HW_ERR_COLLECTIVES, c->me, "%s", err.text);
    if (status)
        op_failed(s, st, status, err.text);
}

/* What was under way has ended here: the operation, or only the exchange of its counts. */
static void op_end(struct coll_streams *s, struct stream *st)
{
    struct stream_op *op = stream_op(st, st->ended);

    if (st->asked) {
        varies_asked(s, st, op->e);
        return;
    }
    if (op->e->kind == ENTRY_VARIES)
        varies_end(op->e, counts_at(op));
    if (__builtin_expect(op->e->tiles, 0))
        tiles_give(op->e, op->t.binding);
    if (WATCHED(op->t.recorded) && op->e->kind == ENTRY_FIXED) {
        op->arrival_ps = coll_arrival(op->e->comm->comm);
        if (op->late_ps != 0 && op->arrival_ps < turn_ps(st, op))
            op->arrival_ps = turn_ps(st, op); /* it has waited for itself */
        st->free_ps = turn_ps(st, op);
        if (st->free_ps < op->arrival_ps)
            st->free_ps = op->arrival_ps;
        if (u64_add_over(st->free_ps, op->e->lasts_ps, &st->free_ps))
            st->free_ps = UINT64_MAX;
    }
    if (WATCHED(st->traced != 0))
        op_trace(s, st, op, TRACE_STOP);
    op_done(s, st);
}

/* Whether anything moved. */
static bool stream_progress(struct coll_streams *s, struct stream *st)
{
    bool moved = false;

    while (st->ended < st->count) {
        struct coll_comm *c;

        if (!st->running) {
            moved = true;
            op_begin(s, st);
            if (s->failed)
                return true;
            if (!st->running)
                continue;
        }
        c = running_comm(st);
        switch (coll_progress(c, BUDGET)) {
        case COLL_DONE:
            op_end(s, st);
            if (s->failed)
                return true;
            moved = true;
            break;
        case COLL_MOVED:
            return true;
        case COLL_BLOCKED:
            return moved;
        case COLL_FAILED:
            op_failed(s, st, coll_comm_status(c), c->err.text);
            return true;
        }
    }
    return moved;
}

/* Bit i for the i-th of those that were busy. */
static uint32_t streams_look(void *arg)
{
    struct coll_streams *s = arg;
    uint32_t moved = 0, bit = 1;

    for (uint32_t left = s->busy; left && !s->failed; left &= left - 1, bit <<= 1)
        if (stream_progress(s, &s->stream[__builtin_ctz(left)]))
            moved |= bit;
    if (moved) {
        s->dozed = false;
        circle_moved(s);
    }
    return moved;
}

static bool streams_progress(struct coll_streams *s)
{
    return streams_look(s) != 0;
}

/* ---- the table of functions (core/core.h) ---- */

static NRT_STATUS outside_trigger(void *arg, const struct core_trigger *t, struct err *err)
{
    struct coll_streams *s = arg;
    struct stream_op *op;
    struct coll_entry *e;
    struct stream *st;

    if (!s->table || t->core >= CORE_MAX || t->op >= s->table->count[t->core])
        return err_set(err, NRT_INVALID, "the model has no collective %u", t->op);
    e = &s->table->entry[t->core][t->op];
    st = &s->stream[e->stream];
    if (st->count == STREAM_DEPTH)
        return NRT_QUEUE_FULL;
    op = stream_op(st, st->count++);
    op->t = *t;
    op->e = e;
    e->run = s->runs;
    op->arrival_ps = 0;
    s->busy |= 1u << e->stream;
    circle_moved(s);
    if (!s->failed)
        (void)stream_progress(s, st);
    return NRT_SUCCESS;
}

static uint64_t outside_progress(void *arg, uint64_t budget)
{
    struct coll_streams *s = arg;

    (void)budget; /* one look at each stream */
    return s->busy && streams_progress(s);
}

static bool outside_poll(void *arg)
{
    struct coll_streams *s = arg;

    if (streams_progress(s))
        return true;
    if (!s->busy || busy_comm(s)->crowded) /* who else runs, is looked at when these polls fail */
        return false;
    for (unsigned i = 0; i < POLLS; i++)
        if (streams_progress(s))
            return true;
    return false;
}

static bool outside_take(void *arg, struct core_signal *ret)
{
    struct coll_streams *s = arg;
    struct stream *st;

    if (s->signals == 0)
        return false;
    s->signals--;
    ret->status = NRT_SUCCESS;
    ret->text = NULL;
    ret->arrival_ps = ret->lasts_ps = ret->engines_ps = ret->packet_ps = 0;
    if (s->order_count > 0) {
        st = &s->stream[s->order[s->order_first]];
        s->order_first = (s->order_first + 1) % sizeof(s->order);
        s->order_count--;
        ret->of = &st->op[st->first].t; /* its place is taken by the next trigger at the earliest */
        ret->arrival_ps = st->op[st->first].arrival_ps;
        ret->lasts_ps = st->op[st->first].e->lasts_ps;
        ret->engines_ps = st->op[st->first].e->engines_ps;
        ret->packet_ps = st->op[st->first].e->packet_ps;
        st->first = (st->first + 1) % STREAM_DEPTH;
        st->ended--;
        st->count--;
        return true;
    }
    s->told = true;
    ret->of = &s->failure;
    ret->status = s->err.status;
    ret->text = s->err.text;
    return true;
}

static bool outside_outstanding(void *arg)
{
    const struct coll_streams *s = arg;

    return s->busy != 0 || s->order_count != 0;
}

/* Operations outstanding have their own limit (see coll_doze), which names who is missing; so the
 * core's never strikes while there are any. */
static uint64_t outside_beat(void *arg)
{
    struct coll_streams *s = arg;

    return ++s->beats;
}

/* Whether each member of c is one of d. */
static bool members_within(const struct shared_comm *c, const struct shared_comm *d)
{
    uint32_t k = 0;

    for (uint32_t i = 0; i < c->n && k < d->n; i++)
        for (k = 0; k < d->n && c->ranks[i] != d->ranks[k];)
            k++;
    return k < d->n;
}

/* Whether all members of c drop alike what this rank has not begun of it: all of them have seen the
 * refusal, and none has begun what comes behind it in its stream. */
static bool dropped_alike(const struct coll_streams *s, const struct shared_comm *c)
{
    return s->refused && c->stream == s->refused->stream && members_within(c, s->refused);
}

/* Nobody must wait for what was accepted here, whether it has begun or waits for the operation
 * before it. */
static void stream_abandon(const struct coll_streams *s, struct stream *st, const char *why)
{
    for (uint32_t i = st->ended; i < st->count; i++) {
        struct shared_comm *c = stream_op(st, i)->e->comm;
        bool begun = st->running && i == st->ended;

        if (c && (begun || !dropped_alike(s, c)))
            (void)coll_fail(c->comm, NRT_EXEC_HW_ERR_COLLECTIVES, c->me,
                            "the execution of rank %u ended before its operation: %s", c->me, why);
    }
}

static void outside_abandon(void *arg, const char *why)
{
    struct coll_streams *s = arg;

    for (unsigned i = 0; i < TOPO_MAX_STREAMS; i++) {
        struct stream *st = &s->stream[i];

        stream_abandon(s, st, why);
        st->first = st->ended = st->count = 0;
        st->running = false;
    }
    s->busy = 0;
    s->order_first = s->order_count = 0;
    s->signals = s->failed && !s->told;
}

/* ---- waiting ---- */

static void outside_wait(void *arg, uint64_t limit_ns)
{
    struct coll_streams *s = arg;
    struct coll_comm *c[TOPO_MAX_STREAMS];
    unsigned n = 0;

    if (s->failed || s->order_count || !s->busy)
        return;
    for (uint32_t left = s->busy; left; left &= left - 1)
        c[n++] = running_comm(&s->stream[__builtin_ctz(left)]);
    if (!s->dozed && coll_spin(c, n, SPINS, streams_look, s))
        return;
    /* what it was, the next look tells; where nothing came, spinning again would find nothing */
    s->dozed = coll_doze(c, n, limit_ns) == COLL_BLOCKED;
    if (s->dozed)
        circle_look(s);
    else
        circle_moved(s);
}

void streams_init(struct coll_rank *r)
{
    struct coll_streams *s = &r->streams;

    s->in = r->w->cfg.in;
    s->trace = r->w->cfg.trace;
    s->vnc = r->vnc;
    s->live = device_live(s->in, r->core);
    r->outside = (struct core_outside){.arg = s,
                                       .trigger = outside_trigger,
                                       .progress = outside_progress,
                                       .poll = outside_poll,
                                       .take = outside_take,
                                       .signals = &s->signals,
                                       .outstanding = outside_outstanding,
                                       .beat = outside_beat,
                                       .wait = outside_wait,
                                       .abandon = outside_abandon};
}

void coll_table_use(struct coll_table *t, uint64_t timeout_ns)
{
    struct coll_streams *s = &t->rank->streams;

    s->table = t;
    circle_moved(s);
    s->runs++;
    s->timeout_ns = timeout_ns ? timeout_ns : UINT64_MAX / 4; /* a clock plus that does not wrap */
    s->failed = s->told = s->suspected = false;
    s->signals = s->order_count;
    s->refused = NULL;
    for (unsigned i = 0; i < TOPO_MAX_STREAMS; i++)
        s->stream[i].free_ps = 0;
}

void coll_table_failed(struct coll_table *t, const char *why)
{
    const struct coll_streams *s = &t->rank->streams;

    for (unsigned core = 0; core < CORE_MAX; core++)
        for (uint32_t i = 0; i < t->count[core]; i++) {
            const struct coll_entry *e = &t->entry[core][i];

            if (e->kind == ENTRY_IDLE || e->run == s->runs || e->comm->n == 1 ||
                dropped_alike(s, e->comm))
                continue;
            (void)coll_fail(e->comm->comm, NRT_EXEC_HW_ERR_COLLECTIVES, e->comm->me,
                            "the execution of rank %u ended before its %s: %s", e->comm->me,
                            neff_coll_op_name(e->c->op), why);
        }
}

bool coll_table_suspect(const struct coll_table *t, struct coll_suspect *ret)
{
    *ret = t->rank->streams.suspect;
    return t->rank->streams.suspected;
}
