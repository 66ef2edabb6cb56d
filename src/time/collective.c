/* SPDX-License-Identifier: Apache-2.0 */
/* The walk: every sequencer of every representative goes on until it waits for a signal that has
 * not been sent, in turn, until all are at their end. What a moment is does not depend on the order
 * of these turns, only on the waits. Long rows of equal hops are gone over once they repeat
 * (coll_repeat.c). */
#include "time/collective.h"

#include <string.h>

#include "time/coll_int.h"

/* ---- steps ---- */

static void issue(struct walk *w, struct sequencer *q)
{
    moment_add(&q->now, TIME_PART_ISSUE, cost_rate(&w->c, TIME_RATE_ISSUE, 0));
}

/* A transfer waits for the queue, and for what this sequencer itself wrote and the transfer reads;
 * what others wrote it has waited for by a signal. */
static void transfer(struct walk *w, struct sequencer *q, const struct sched_step *step)
{
    struct moment at;
    enum time_part part;
    double ns;

    issue(w, q);
    at = q->now;
    moment_max(&at, &q->queue);
    for (unsigned i = 0; i < step->nsrc; i++)
        if (step->src[i].rank == q->rank && step->src[i].buf < SCHED_BUF_COUNT)
            moment_max(&at, &q->own[step->src[i].buf]);
    if (q->waited)
        moment_add(&at, TIME_PART_LATENCY, cost_rate(&w->c, TIME_RATE_RESTART, 0));
    q->waited = false;
    ns = cost_transfer(&w->c, q->rank, q->channel, &q->place, step, &part);
    q->engines += cost_engines(&w->c, step);
    q->from = at.ns;
    moment_add(&at, part, ns);
    q->to = at.ns;
    q->queue = at;
    moment_add(&at, TIME_PART_LATENCY, cost_rate(&w->c, TIME_RATE_DMA_START, 0));
    moment_max(&q->done, &at);
    for (unsigned i = 0; i < step->ndst; i++)
        if (step->dst[i].rank == q->rank && step->dst[i].buf < SCHED_BUF_COUNT)
            moment_max(&q->own[step->dst[i].buf], &at);
}

static void signal(struct walk *w, struct sequencer *q, const struct sched_step *step)
{
    struct moment at;

    issue(w, q);
    at = q->now;
    moment_max(&at, &q->done);
    moment_add(&at, TIME_PART_LATENCY,
               cost_signal(&w->c, step) + cost_way(&w->c, q->rank, step->peer));
    w->memory &= match_signal(w->match, q->id, step->sem, step->peer, &at);
}

static void net_send(struct walk *w, struct sequencer *q, const struct sched_step *step)
{
    struct moment at;

    issue(w, q);
    at = q->now;
    moment_max(&at, &q->done);
    moment_max(&at, &q->nic);
    q->from = at.ns;
    moment_add(&at, TIME_PART_NIC, cost_send(&w->c, step));
    q->to = at.ns;
    q->nic = at;
    moment_add(&at, TIME_PART_NET_LATENCY, cost_rate(&w->c, TIME_RATE_NET, 0));
    w->memory &= match_signal(w->match, q->id, SCHED_SEM_ARRIVED, step->peer, &at);
}

/* A message goes when its receive is posted: SENT is raised nowhere, so it numbers the posts. */
static void net_post(struct walk *w, struct sequencer *q, const struct sched_step *step)
{
    struct moment at;

    issue(w, q);
    at = q->now;
    moment_add(&at, TIME_PART_NET_LATENCY, cost_rate(&w->c, TIME_RATE_NET, 0));
    w->memory &= match_signal(w->match, q->id, SCHED_SEM_SENT, step->peer, &at);
}

/* False: what it waits for has not been sent. */
static bool wait(struct walk *w, struct sequencer *q, const struct sched_step *step)
{
    const struct moment *at, *posted;
    bool memory = true;

    if (step->sem == SCHED_SEM_SENT) {
        at = match_own(w->match, q->id, SCHED_SEM_ARRIVED, step->peer, step->value);
    } else {
        at = match_wait(w->match, q->id, step->sem, step->peer, step->value, &memory);
        w->memory &= memory;
    }
    if (!at)
        return false;
    issue(w, q);
    q->waited |= at->ns > q->now.ns;
    moment_max(&q->now, at);
    if (step->sem == SCHED_SEM_ARRIVED) {
        posted = match_own(w->match, q->id, SCHED_SEM_SENT, step->peer, step->value);
        if (posted)
            moment_max(&q->now, posted);
    }
    return true;
}

/* ---- the walk ---- */

/* The step that the sequencer has just done, where somebody wants to know. */
static void note(struct walk *w, const struct sequencer *q)
{
    const struct sched_step *step = q->step;
    bool moves =
        step->kind == SCHED_COPY || step->kind == SCHED_REDUCE || step->kind == SCHED_NET_SEND;
    double later = q->to > q->now.ns ? q->to : q->now.ns;

    if (w->noted && q->id / sched_channels(w->c.s) == w->noted->role)
        w->memory &= noted_step(w->noted, &w->c, q->channel, q->step, moves ? q->from : later,
                                moves ? q->to : later);
}

/* Whether it went on. */
static bool sequencer_run(struct walk *w, struct sequencer *q)
{
    bool moved = false;

    while (w->memory) {
        if (!q->step && w->repeat && repeat_parks(w->repeat, q))
            return moved;
        if (!q->step)
            q->step = sched_iter_next(q->it);
        if (!q->step) {
            w->memory &= sched_iter_status(q->it) == NRT_SUCCESS;
            q->ended = true;
            return true;
        }
        switch ((enum sched_kind)q->step->kind) {
        case SCHED_WAIT:
            if (!wait(w, q, q->step))
                return moved;
            break;
        case SCHED_SIGNAL:
            signal(w, q, q->step);
            break;
        case SCHED_COPY:
        case SCHED_REDUCE:
            transfer(w, q, q->step);
            break;
        case SCHED_NET_SEND:
            net_send(w, q, q->step);
            break;
        case SCHED_NET_RECV:
            net_post(w, q, q->step);
            break;
        case SCHED_EXPECT: /* bookkeeping */
        case SCHED_PUT:    /* not of a staged schedule */
        case SCHED_TAKE:
        case SCHED_KIND_COUNT:
            break;
        }
        note(w, q);
        q->step = NULL;
        w->ret->steps++;
        moved = true;
    }
    return moved;
}

/* Nobody can go on. Ranks of one role have neighbours of several where a chain has ends (the flat
 * ring): then other signals of the neighbour's role answer. If those have been asked for already,
 * the first sequencer that waits takes its signal as sent. */
static void loosen(struct walk *w)
{
    struct sequencer *first = NULL;
    bool found = false;

    for (uint32_t i = 0; i < w->count; i++) {
        struct sequencer *q = &w->seq[i];

        if (q->ended)
            continue;
        found |= match_loosen(w->match, q->id, q->step->sem, q->step->peer);
        first = first ? first : q;
    }
    if (found || !first)
        return;
    note(w, first);
    first->step = NULL;
    w->ret->loose++;
}

static void walk_all(struct walk *w)
{
    bool going = true;

    while (going && w->memory) {
        bool moved = false;

        going = false;
        for (uint32_t i = 0; i < w->count; i++) {
            if (w->seq[i].ended)
                continue;
            moved |= sequencer_run(w, &w->seq[i]);
            going |= !w->seq[i].ended;
        }
        if (going && !moved && !(w->repeat && repeat_turn(w->repeat, w)))
            loosen(w);
    }
}

static NRT_STATUS sequencers_make(struct walk *w, const struct sched *s)
{
    uint32_t channels = sched_channels(s), roles = sched_role_count(s);
    struct moment start = {0};
    NRT_STATUS st = NRT_SUCCESS;

    w->seq = mem_calloc((size_t)roles * channels, sizeof(*w->seq));
    if (!w->seq)
        return NRT_RESOURCE;
    moment_add(&start, TIME_PART_LAUNCH, cost_rate(&w->c, TIME_RATE_LAUNCH, 0));
    while (w->count < roles * channels && !st) {
        struct sequencer *q = &w->seq[w->count];

        *q = (struct sequencer){.id = w->count,
                                .rank = sched_role_rank(s, w->count / channels),
                                .channel = w->count % channels,
                                .now = start};
        st = sched_iter_create(s, q->rank, q->channel, &q->it);
        if (!st)
            w->count++;
    }
    return st;
}

static void report(struct walk *w)
{
    struct time_collective *ret = w->ret;
    struct moment end = {0};
    double engines = 0; /* of the rank of sequencer i: its channels follow each other */

    for (uint32_t i = 0; i < w->count; i++) {
        moment_max(&end, &w->seq[i].now);
        moment_max(&end, &w->seq[i].done);
        engines = w->seq[i].channel > 0 ? engines + w->seq[i].engines : w->seq[i].engines;
        if (ret->engines_ns < engines)
            ret->engines_ns = engines;
    }
    ret->ns = end.ns;
    if (ret->engines_ns > end.ns)
        ret->engines_ns = end.ns;
    for (int p = 0; p < TIME_PART_COUNT; p++) {
        ret->part_ns[p] = end.part[p];
        if (end.part[p] > end.part[ret->bottleneck])
            ret->bottleneck = (enum time_part)p;
    }
    ret->unknown = w->c.unknown;
    ret->roles = sched_role_count(w->c.s);
}

/* noted: open, or NULL. */
static NRT_STATUS collective(const struct sched *s, const struct time_rates *rates,
                             struct noted *noted, struct time_collective *ret, struct err *err)
{
    const struct sched_request *req = sched_request_of(s);
    struct walk w = {.memory = true, .ret = ret, .noted = noted};
    struct time_rates own;
    struct load *load = NULL;
    NRT_STATUS st;

    memset(ret, 0, sizeof(*ret));
    if (req->variant != SCHED_STAGED)
        return err_set(err, NRT_INVALID, "device time is that of the staged variant, not of %s",
                       sched_variant_name(req->variant));
    if (!rates) {
        time_rates_find(req->group, &own);
        rates = &own;
    }
    st = load_make(s, &load, err);
    if (st)
        return st;
    w.c = (struct costs){.s = s, .g = req->group, .load = load, .rates = rates};
    st = match_make(s, &w.match);
    if (!st)
        st = sequencers_make(&w, s);
    if (!st)
        st = repeat_make(&w, &w.repeat);
    if (!st) {
        walk_all(&w);
        st = w.memory ? NRT_SUCCESS : NRT_RESOURCE;
    }
    if (!st)
        report(&w);
    for (uint32_t i = 0; i < w.count; i++)
        sched_iter_destroy(w.seq[i].it);
    repeat_free(w.repeat);
    mem_free(w.seq);
    match_free(w.match);
    load_free(load);
    return st ? err_set(err, st, "no memory for device time") : NRT_SUCCESS;
}

NRT_STATUS time_collective(const struct sched *s, const struct time_rates *rates,
                           struct time_collective *ret, struct err *err)
{
    return collective(s, rates, NULL, ret, err);
}

NRT_STATUS time_collective_moves(const struct sched *s, const struct time_rates *rates,
                                 uint32_t rank, struct time_collective *ret,
                                 struct time_moves *ret_moves, struct err *err)
{
    struct noted noted;
    NRT_STATUS st;

    *ret_moves = (struct time_moves){0};
    if (noted_open(&noted, s, rank, ret_moves))
        st = collective(s, rates, &noted, ret, err);
    else
        st = err_set(err, NRT_RESOURCE, "no memory for device time");
    noted_close(&noted);
    ret_moves->total_ps = st || ret->ns >= 1e15 ? 0 : (uint64_t)(ret->ns * 1e3);
    return st;
}
