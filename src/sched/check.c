/* SPDX-License-Identifier: Apache-2.0 */
/* The checker's sequencers: each runs until it waits, in any order; memory, values and clocks
 * (check_*.c) tell what every order would do. check.h says what is proved. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check_int.h"

const char *sched_flaw_name(enum sched_flaw flaw)
{
    static const char *const names[SCHED_FLAW_COUNT] = {
        "none",      "bad step",   "out of bounds", "node border", "overlap", "unwritten",
        "read race", "write race", "reuse",         "line",        "network", "deadlock",
        "counter",   "result",     "input",         "outside",     "barrier"};

    return (unsigned)flaw < SCHED_FLAW_COUNT ? names[flaw] : "unknown";
}

void sched_counts_fini(struct sched_counts *counts)
{
    mem_free(counts->rank);
    mem_free(counts->flow);
    *counts = (struct sched_counts){0};
}

/* ---- ready sequencers ---- */

static void seq_queue(struct chk *c, struct chk_seq *s)
{
    uint32_t size = c->ranks * c->channels;

    if (s->queued)
        return;
    s->queued = true;
    c->queue[(c->queue_first + c->queue_count++) % size] = s->id;
}

struct chk_seq *chk_seq_of(struct chk *c, uint32_t rank, uint32_t channel)
{
    return &c->seq[(size_t)rank * c->channels + channel];
}

struct chk_who chk_who_is(const struct chk *c, const struct chk_seq *s)
{
    return (struct chk_who){s->id, s->epoch, s->clock, c->transfer};
}

/* `from` has raised a counter of (rank, channel), or filled its line (sem SCHED_SEM_COUNT). */
void chk_seq_wake(struct chk *c, uint32_t rank, uint32_t channel, uint32_t from, unsigned sem)
{
    struct chk_seq *s = chk_seq_of(c, rank, channel);

    if (s->state == CHK_WAITS && s->step->peer == from &&
        (s->step->kind == SCHED_TAKE ? sem == SCHED_SEM_COUNT : sem == s->step->sem))
        seq_queue(c, s);
}

/* A stamp of the present of s; what s does next is not covered by it. */
struct chk_stamp chk_seq_stamp(struct chk_seq *s)
{
    return (struct chk_stamp){chk_clock_ref(s->clock), s->id, s->epoch++, s->now};
}

bool chk_seq_learn(struct chk *c, struct chk_seq *s, const struct chk_stamp *stamp)
{
    if (s->now < stamp->when)
        s->now = stamp->when;
    return chk_clock_join(&c->clocks, &s->clock, stamp) || chk_no_memory(c);
}

/* ---- one step ---- */

/* Numbers of operands of each kind, and what else makes a step one. */
static bool step_valid(const struct chk *c, const struct chk_seq *s)
{
    const struct sched_step *st = s->step;
    const struct sched_ref *src = &st->src[0], *dst = &st->dst[0];

    switch (st->kind) {
    case SCHED_WAIT:
    case SCHED_EXPECT:
        return st->peer < c->ranks && st->sem < SCHED_SEM_COUNT;
    case SCHED_SIGNAL: /* the network's counters are raised by the network */
        return st->peer < c->ranks && st->sem < SCHED_SEM_SENT;
    case SCHED_COPY:
        return st->nsrc == 1 && st->ndst >= 1 && st->ndst <= SCHED_REFS_MAX && st->repeat >= 1;
    case SCHED_REDUCE:
        return st->nsrc >= 1 && st->nsrc <= SCHED_REFS_MAX && st->ndst >= 1 &&
               st->ndst <= SCHED_REFS_MAX && st->repeat >= 1;
    case SCHED_PUT:
        return st->nsrc == 1 && st->ndst == 1 && st->repeat <= 1 && dst->buf == SCHED_LINE &&
               dst->rank == st->peer && st->peer < c->ranks && dst->tensor == s->rank;
    case SCHED_TAKE:
        return st->nsrc == 1 && st->ndst == 0 && st->repeat <= 1 && src->buf == SCHED_LINE &&
               src->rank == s->rank && src->tensor == st->peer && st->peer < c->ranks;
    case SCHED_NET_SEND:
        return st->nsrc == 1 && st->ndst == 0 && st->repeat <= 1 && st->peer < c->ranks &&
               src->rank == s->rank;
    case SCHED_NET_RECV:
        return st->nsrc == 0 && st->ndst == 1 && st->repeat <= 1 && st->peer < c->ranks &&
               dst->rank == s->rank;
    default:
        return false;
    }
}

/* Only PUT writes lines, and only their owner reads them. */
static bool lines_valid(const struct chk_seq *s)
{
    const struct sched_step *st = s->step;

    for (unsigned d = 0; d < st->ndst; d++)
        if (st->dst[d].buf == SCHED_LINE && st->kind != SCHED_PUT)
            return false;
    for (unsigned k = 0; k < st->nsrc; k++)
        if (st->src[k].buf == SCHED_LINE && st->src[k].rank != s->rank)
            return false;
    return true;
}

static bool step_run(struct chk *c, struct chk_seq *s, bool *ret_waits)
{
    if (!step_valid(c, s))
        return chk_fail(c, s, SCHED_FLAW_STEP, NULL,
                        "kind %u with %u sources and %u destinations, peer %u, is no step",
                        s->step->kind, s->step->nsrc, s->step->ndst, s->step->peer);
    if (!lines_valid(s))
        return chk_fail(c, s, SCHED_FLAW_LINE, NULL,
                        "a line is written by PUT and read by its owner only");
    switch (s->step->kind) {
    case SCHED_WAIT:
        return chk_step_wait(c, s, ret_waits);
    case SCHED_SIGNAL:
        return chk_step_signal(c, s);
    case SCHED_EXPECT:
        return chk_step_expect(c, s);
    case SCHED_PUT:
        return chk_step_put(c, s);
    case SCHED_TAKE:
        return chk_step_take(c, s, ret_waits);
    case SCHED_NET_SEND:
    case SCHED_NET_RECV:
        return chk_step_net(c, s);
    default:
        return chk_step_move(c, s);
    }
}

static void event_send(const struct chk *c, const struct chk_seq *s, uint64_t begin)
{
    struct sched_check_event e = {.operation = c->rank[s->rank].operation,
                                  .rank = s->rank,
                                  .channel = s->channel,
                                  .index = s->index,
                                  .begin = begin,
                                  .end = s->now,
                                  .step = s->step};

    if (c->options->event)
        c->options->event(c->options->arg, &e);
}

/* ---- operations ---- */

/* The rank enters its next operation: all its channels begin, knowing what the application knew. */
static bool rank_enter(struct chk *c, uint32_t rank)
{
    uint32_t operation = c->rank[rank].operation;
    struct chk_seq *first = chk_seq_of(c, rank, 0);
    struct chk_stamp begin;
    bool ok = true;

    if (operation == c->runs)
        return true;
    first->epoch++; /* earlier signals do not say that this operation has begun */
    c->rank[rank].entered[operation] = first->epoch;
    begin = chk_seq_stamp(first);
    for (uint32_t ch = 0; ch < c->channels && ok; ch++) {
        struct chk_seq *s = chk_seq_of(c, rank, ch);

        s->state = CHK_READY;
        s->index = 0;
        s->step = NULL;
        c->source->rewind(c->source->ctx, rank, ch);
        ok = ch == 0 || chk_seq_learn(c, s, &begin);
        seq_queue(c, s);
    }
    chk_clock_put(&c->clocks, begin.clock);
    return ok;
}

/* What the operation added to the counters of a rank, by its own account. */
static bool rank_account(struct chk *c, uint32_t rank, uint32_t operation)
{
    for (uint32_t i = c->rank[rank].counters; i; i = c->counter[i - 1].next) {
        struct chk_counter *n = &c->counter[i - 1];
        int64_t sum = n->expects ? n->expected : n->largest;

        if (n->largest > sum)
            return chk_fail(c, chk_seq_of(c, rank, n->channel), SCHED_FLAW_COUNTER, NULL,
                            "waits for %s %lld of rank %u but expects %lld in all",
                            sched_sem_name((enum sched_sem)n->sem), (long long)n->largest, n->from,
                            (long long)sum);
        n->accounted[operation] = (uint32_t)sum;
        n->base += sum;
        n->largest = n->expected = 0;
        n->expects = false;
    }
    return true;
}

/* All ranks have finished an operation. */
static bool counters_check(struct chk *c, uint32_t operation)
{
    for (size_t i = 0; i < c->counter_count; i++) {
        const struct chk_counter *n = &c->counter[i];
        struct chk_seq s = *chk_seq_of(c, n->to, n->channel);

        if (n->gained[operation] == n->accounted[operation])
            continue;
        s.step = NULL;
        chk_fail(c, &s, SCHED_FLAW_COUNTER, NULL,
                 "in operation %u rank %u raised %s of rank %u by %u, which accounts for %u",
                 operation, n->from, sched_sem_name((enum sched_sem)n->sem), n->to,
                 n->gained[operation], n->accounted[operation]);
        c->violation.operation = operation;
        return false;
    }
    return true;
}

/* All streams of the rank have ended: the application has it again. */
static bool rank_leave(struct chk *c, uint32_t rank)
{
    uint32_t operation = c->rank[rank].operation;
    struct chk_seq *first = chk_seq_of(c, rank, 0);
    bool ok = true;

    for (uint32_t ch = 1; ch < c->channels && ok; ch++) {
        struct chk_stamp end = chk_seq_stamp(chk_seq_of(c, rank, ch));

        ok = chk_seq_learn(c, first, &end);
        chk_clock_put(&c->clocks, end.clock);
    }
    if (!ok || !chk_app_look(c, rank, operation) || !rank_account(c, rank, operation) ||
        !chk_app_fill(c, rank, operation + 1))
        return false;
    c->done[operation]++;
    c->rank[rank].ended = 0;
    c->rank[rank].operation++;
    return rank_enter(c, rank) && (c->done[operation] < c->ranks || counters_check(c, operation));
}

static bool seq_end(struct chk *c, struct chk_seq *s)
{
    if (c->source->status) {
        c->status = c->source->status(c->source->ctx, s->rank, s->channel);
        if (c->status != NRT_SUCCESS) {
            err_set(c->err, c->status, "rank %u, channel %u: the stream broke off", s->rank,
                    s->channel);
            return false;
        }
    }
    s->state = CHK_ENDED;
    return ++c->rank[s->rank].ended < c->channels || rank_leave(c, s->rank);
}

/* Run until it waits or ends. */
static bool seq_run(struct chk *c, struct chk_seq *s)
{
    for (;;) {
        bool waits = false;
        uint64_t begin = s->now;

        if (!s->step && !(s->step = c->source->next(c->source->ctx, s->rank, s->channel)))
            return seq_end(c, s);
        s->state = CHK_READY;
        if (!step_run(c, s, &waits))
            return false;
        if (waits) {
            s->state = CHK_WAITS;
            return true;
        }
        event_send(c, s, begin);
        if (c->rank[s->rank].operation == 0) {
            c->counts.rank[s->rank].steps++;
            if (!chk_step_count(c, s))
                return false;
        }
        s->step = NULL;
        s->index++;
    }
}

/* ---- the run ---- */

static bool ends_check(struct chk *c)
{
    for (size_t i = 0; i < c->wire_count; i++) {
        const struct chk_wire *w = &c->wire[i];

        if (w->sends != w->posts)
            return chk_fail(c, chk_seq_of(c, w->from, w->channel), SCHED_FLAW_NET, NULL,
                            "sent %u messages to rank %u, which received %u", w->sends, w->to,
                            w->posts);
    }
    for (size_t i = 0; i < c->line_count; i++)
        for (size_t k = 0; k < c->line[i].put_count; k++)
            if (!c->line[i].put[k].taken) {
                struct chk_spot spot = {SCHED_LINE, c->line[i].to, c->line[i].from,
                                        c->line[i].put[k].off};

                return chk_fail(c, chk_seq_of(c, c->line[i].from, c->line[i].channel),
                                SCHED_FLAW_LINE, &spot, "was put in operation %u and never taken",
                                c->line[i].put[k].operation);
            }
    return true;
}

static bool run_all(struct chk *c)
{
    uint32_t size = c->ranks * c->channels;

    for (uint32_t r = 0; r < c->ranks; r++)
        if (!chk_app_fill(c, r, 0) || !rank_enter(c, r))
            return false;
    while (c->queue_count) {
        struct chk_seq *s = &c->seq[c->queue[c->queue_first]];

        c->queue_first = (c->queue_first + 1) % size;
        c->queue_count--;
        s->queued = false;
        if (!seq_run(c, s))
            return false;
    }
    for (uint32_t i = 0; i < size; i++)
        if (c->seq[i].state == CHK_WAITS)
            return chk_deadlock_report(c, &c->seq[i]);
    return ends_check(c);
}

static uint32_t runs_default(const struct chk *c)
{
    for (uint32_t r = 0; r < c->ranks; r++)
        for (uint32_t ch = 0; ch < c->channels; ch++)
            if (c->source->buffer_elems(c->source->ctx, SCHED_LINE, r, ch))
                return 3;
    return 2;
}

static bool memory_init(struct chk *c)
{
    const struct sched_check_source *src = c->source;
    size_t tensors = c->req->tensors;

    for (uint32_t r = 0; r < c->ranks; r++) {
        for (uint32_t t = 0; t < tensors; t++) {
            struct chk_mem *m = &c->tensor[((size_t)r * tensors + t) * 2];
            uint64_t in = chk_tensor_elems(c, SCHED_IN, t), out = chk_tensor_elems(c, SCHED_OUT, t);

            if (c->req->in_place) {
                in = in > out ? in : out; /* both are one memory, m[1] */
                out = in;
                in = 0;
            }
            if (!chk_mem_init(&m[0], in) || !chk_mem_init(&m[1], out))
                return false;
        }
        for (uint32_t ch = 0; ch < c->channels; ch++) {
            struct chk_mem *m = &c->channel[((size_t)r * c->channels + ch) * 2];

            if (!chk_mem_init(&m[0], src->buffer_elems(src->ctx, SCHED_SLOT, r, ch)) ||
                !chk_mem_init(&m[1], src->buffer_elems(src->ctx, SCHED_TEMP, r, ch)))
                return false;
        }
    }
    return true;
}

static bool chk_init(struct chk *c)
{
    size_t seqs = (size_t)c->ranks * c->channels;

    c->clocks.seqs = (uint32_t)seqs;
    c->seq = mem_calloc(seqs, sizeof(*c->seq));
    c->rank = mem_calloc(c->ranks, sizeof(*c->rank));
    c->queue = mem_calloc(seqs, sizeof(*c->queue));
    c->tensor = mem_calloc((size_t)c->ranks * c->req->tensors * 2 + 1, sizeof(*c->tensor));
    c->channel = mem_calloc(seqs * 2, sizeof(*c->channel));
    c->standard = mem_calloc((size_t)c->runs * c->req->tensors + 1, sizeof(*c->standard));
    c->counts.ranks = c->ranks;
    c->counts.rank = mem_calloc(c->ranks, sizeof(*c->counts.rank));
    if (!c->seq || !c->rank || !c->queue || !c->tensor || !c->channel || !c->standard ||
        !c->counts.rank || !chk_values_init(&c->values, c->ranks))
        return false;
    for (uint32_t i = 0; i < seqs; i++) {
        c->seq[i] = (struct chk_seq){
            .rank = i / c->channels, .channel = i % c->channels, .id = i, .epoch = 1};
        if (!(c->seq[i].clock = chk_clock_new(&c->clocks)))
            return false;
    }
    return memory_init(c);
}

static void mems_fini(struct chk_mem *m, size_t count)
{
    for (size_t i = 0; m && i < count; i++)
        chk_mem_fini(&m[i]);
    mem_free(m);
}

static void signals_fini(struct chk *c, struct chk_signal *g, bool live)
{
    while (g) {
        struct chk_signal *next = g->next;

        if (live)
            chk_clock_put(&c->clocks, g->stamp.clock);
        mem_free(g);
        g = next;
    }
}

static void chk_fini(struct chk *c)
{
    size_t seqs = (size_t)c->ranks * c->channels;

    mems_fini(c->tensor, (size_t)c->ranks * c->req->tensors * 2);
    mems_fini(c->channel, seqs * 2);
    for (size_t i = 0; i < c->line_count; i++) {
        struct chk_line *l = &c->line[i];

        for (size_t k = 0; k < l->put_count; k++)
            chk_clock_put(&c->clocks, l->put[k].stamp.clock);
        mem_free(l->put);
        mems_fini(l->set, 2);
    }
    for (size_t i = 0; i < c->counter_count; i++)
        signals_fini(c, c->counter[i].first, true);
    signals_fini(c, c->free_signals, false);
    for (size_t i = 0; i < c->transfer_count; i++) {
        chk_clock_put(&c->clocks, c->transfer[i].stamp.clock);
        chk_clock_put(&c->clocks, c->transfer[i].post_stamp.clock);
        mem_free(c->transfer[i].runs.run);
    }
    for (size_t i = 0; i < c->wire_count; i++)
        mem_free(c->wire[i].transfer);
    for (size_t i = 0; c->seq && i < seqs; i++)
        chk_clock_put(&c->clocks, c->seq[i].clock);
    for (size_t i = 0; c->standard && i < (size_t)c->runs * c->req->tensors; i++)
        mem_free(c->standard[i].range);
    for (unsigned i = 0; i < SCHED_REFS_MAX; i++)
        mem_free(c->read[i].run);
    mem_free(c->made.run);
    chk_map_fini(&c->counter_of);
    chk_map_fini(&c->line_of);
    chk_map_fini(&c->wire_of);
    chk_map_fini(&c->flow_of);
    mem_free(c->line);
    mem_free(c->counter);
    mem_free(c->wire);
    mem_free(c->transfer);
    mem_free(c->seq);
    mem_free(c->rank);
    mem_free(c->queue);
    mem_free(c->standard);
    chk_values_fini(&c->values);
    chk_clocks_fini(&c->clocks);
    sched_counts_fini(&c->counts);
}

static int flow_compare(const void *a, const void *b)
{
    const struct sched_flow *x = a, *y = b;

    if (x->channel != y->channel)
        return x->channel < y->channel ? -1 : 1;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

NRT_STATUS sched_check(const struct sched_request *req, uint32_t ranks, uint32_t channels,
                       const struct sched_check_source *source,
                       const struct sched_check_options *options,
                       struct sched_violation *ret_violation, struct sched_counts *ret_counts,
                       struct err *err)
{
    static const struct sched_check_options plain = {0};
    struct err own = {0};
    struct chk c = {.req = req,
                    .source = source,
                    .options = options ? options : &plain,
                    .ranks = ranks,
                    .channels = channels,
                    .err = err ? err : &own};

    if (ret_violation)
        *ret_violation = (struct sched_violation){.buf = SCHED_BUF_COUNT};
    if (ranks == 0 || channels == 0 || channels > SCHED_CHANNELS_MAX ||
        ranks > UINT32_MAX / 4 / SCHED_CHANNELS_MAX || c.options->runs > SCHED_CHECK_RUNS_MAX)
        return err_set(err, NRT_INVALID, "%u ranks with %u channels, %u operations", ranks,
                       channels, c.options->runs);
    if ((c.status = chk_request_check(req, ranks, err)) != NRT_SUCCESS)
        return c.status;
    c.runs = c.options->runs ? c.options->runs : runs_default(&c);
    if (!chk_init(&c))
        chk_no_memory(&c);
    else
        run_all(&c);
    if (ret_violation && c.violation.flaw)
        *ret_violation = c.violation;
    if (ret_counts && c.status == NRT_SUCCESS) {
        qsort(c.counts.flow, c.counts.flow_count, sizeof(*c.counts.flow), flow_compare);
        *ret_counts = c.counts;
        c.counts = (struct sched_counts){0};
    }
    chk_fini(&c);
    return c.status;
}
