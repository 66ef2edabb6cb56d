/* SPDX-License-Identifier: Apache-2.0 */
/* Long rows of equal hops, as in a ring of 65,536 ranks. After some of them nothing new happens:
 * all moments of a sequencer are those of a few hops before, later by the same; what is its queue's
 * may be later by more. Then the rest of the row is gone over at once.
 *
 * So that there is one state to compare, all sequencers stop at every few hops until the others are
 * there; what a moment is does not depend on such stops. One earlier state is kept, and replaced
 * after 1, 2, 4, ... stops (Brent's search for a cycle), so that a period of any length is found.
 */
#include <math.h>
#include <string.h>

#include "time/coll_int.h"

#define RANKS_MIN 1024u /* shorter rings are walked hop by hop */
#define NEAR_NS   1e-4  /* rounding makes equal times differ by less */

/* How it all was at one stop. */
struct state {
    struct sequencer *seq; /* NULL: there is none. Each has an iterator of its own */
    uint32_t count;
    struct steps *step; /* since then, of each sequencer: filled when asked for */
    size_t *sent, rows; /* match_counts */
    uint64_t body, steps;
};

struct repeat {
    uint64_t stride; /* bodies between two stops: all slots are used equally often */
    size_t more;     /* signals that may be under way */
    uint32_t part;
    uint64_t stop;
    uint64_t stops, keep_at; /* since the part, or the last row, began; when a state is kept */
    struct state kept;
};

/* ---- moments ---- */

static bool moved_by(const struct moment *was, const struct moment *is, const struct moment *step)
{
    if (fabs(is->ns - was->ns - step->ns) > NEAR_NS)
        return false;
    for (unsigned p = 0; p < TIME_PART_COUNT; p++)
        if (fabs(is->part[p] - was->part[p] - step->part[p]) > NEAR_NS)
            return false;
    return true;
}

const struct moment *moment_step_of(const struct moment *was, const struct moment *is,
                                    const struct steps *steps)
{
    static const struct moment none;

    if (is->ns == was->ns)
        return &none;
    if (moved_by(was, is, &steps->now))
        return &steps->now;
    if (moved_by(was, is, &steps->queue))
        return &steps->queue;
    return moved_by(was, is, &steps->nic) ? &steps->nic : NULL;
}

void moment_later(struct moment *m, const struct moment *step, uint64_t times)
{
    m->ns += (double)times * step->ns;
    for (unsigned p = 0; p < TIME_PART_COUNT; p++)
        m->part[p] += (double)times * step->part[p];
}

static struct moment moment_step(const struct moment *was, const struct moment *is)
{
    struct moment step = {.ns = is->ns - was->ns};

    for (unsigned p = 0; p < TIME_PART_COUNT; p++)
        step.part[p] = is->part[p] - was->part[p];
    return step;
}

/* ---- states ---- */

static void state_drop(struct state *s)
{
    for (uint32_t i = 0; s->seq && i < s->count; i++)
        sched_iter_destroy(s->seq[i].it);
    mem_free(s->seq);
    mem_free(s->step);
    mem_free(s->sent);
    *s = (struct state){0};
}

/* False: no memory. */
static bool state_keep(struct state *s, const struct walk *w, uint64_t body)
{
    state_drop(s);
    s->seq = mem_calloc(w->count, sizeof(*s->seq));
    s->step = mem_calloc(w->count, sizeof(*s->step));
    if (!s->seq || !s->step || !match_counts(w->match, &s->sent, &s->rows))
        return false;
    s->body = body;
    s->steps = w->ret->steps;
    for (; s->count < w->count; s->count++) {
        struct sequencer *q = &s->seq[s->count];

        *q = w->seq[s->count];
        if (sched_iter_clone(q->it, &q->it) != NRT_SUCCESS) {
            q->it = NULL;
            return false;
        }
    }
    return true;
}

/* The moments of a sequencer, in turn; the first of them may have rates of their own. */
#define MOMENTS (4u + SCHED_BUF_COUNT)
#define RATES   3u
static struct moment *moment_at(struct sequencer *q, unsigned i)
{
    struct moment *const own[] = {&q->now, &q->queue, &q->nic, &q->done};

    return i < 4 ? own[i] : &q->own[i - 4];
}

static const struct moment *rate_of(const struct steps *s, unsigned i)
{
    return i == 0 ? &s->now : i == 1 ? &s->queue : &s->nic;
}

static bool sequencer_same(struct sequencer *was, struct sequencer *is, const struct steps *steps)
{
    bool same = is->waited == was->waited && is->ended == was->ended &&
                memcmp(&is->place, &was->place, sizeof(is->place)) == 0;

    for (unsigned i = 0; i < MOMENTS && same; i++)
        same = moment_step_of(moment_at(was, i), moment_at(is, i), steps) != NULL;
    return same && sched_iter_repeats(is->it, was->it);
}

/* What nothing couples goes at a rate of its own: sequencers, and queues and interfaces that are
 * behind with their work. A wait ends in another way once the slower one of two gets behind the
 * other: in how many periods that may be, 0 if they are about as late. */
static double periods_ordered(const struct moment *was, const struct moment *is, double step,
                              const struct moment *other_was, const struct moment *other_is,
                              double other_step)
{
    if (step <= other_step + NEAR_NS || was->ns >= other_is->ns)
        return INFINITY;
    return other_was->ns > is->ns ? (other_was->ns - is->ns) / (step - other_step) : 0;
}

/* The same of all that two sequencers of a channel have; channels never wait for each other. */
static double pair_ordered(const struct state *s, const struct walk *w, uint32_t a, uint32_t b)
{
    double least = INFINITY;

    for (unsigned i = 0; i < RATES; i++)
        for (unsigned k = 0; k < RATES; k++)
            least =
                fmin(least, periods_ordered(moment_at(&s->seq[a], i), moment_at(&w->seq[a], i),
                                            rate_of(&s->step[a], i)->ns, moment_at(&s->seq[b], k),
                                            moment_at(&w->seq[b], k), rate_of(&s->step[b], k)->ns));
    return least;
}

static double all_ordered(const struct state *s, const struct walk *w)
{
    double least = INFINITY;

    for (uint32_t a = 0; a < w->count && least >= 1; a++)
        for (uint32_t b = 0; b < w->count; b++)
            if (w->seq[a].channel == w->seq[b].channel)
                least = fmin(least, pair_ordered(s, w, a, b));
    return least;
}

static bool state_repeats(const struct repeat *r, const struct walk *w)
{
    const struct state *s = &r->kept;

    for (uint32_t i = 0; i < w->count; i++) {
        struct sequencer *was = &s->seq[i], *is = &w->seq[i];

        s->step[i].now = moment_step(&was->now, &is->now);
        s->step[i].queue = moment_step(&was->queue, &is->queue);
        s->step[i].nic = moment_step(&was->nic, &is->nic);
        if (!sequencer_same(was, is, &s->step[i]))
            return false;
    }
    return match_repeats(w->match, s->sent, s->rows, r->more, s->step);
}

/* Periods that are alike from here on, for everybody, and in which nobody overtakes another. */
static uint64_t periods_left(const struct repeat *r, const struct walk *w, uint64_t period)
{
    double ordered = all_ordered(&r->kept, w);
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < w->count && ordered >= 1; i++) {
        uint64_t alike = sched_iter_alike(r->kept.seq[i].it);

        least = alike < least ? alike : least;
    }
    if (ordered < 1 || least < period)
        return 0;
    least = (least - period) / period;
    return ordered < (double)least ? (uint64_t)ordered : least;
}

static void sequencer_repeat(struct sequencer *was, struct sequencer *is, const struct steps *steps,
                             uint64_t times)
{
    for (unsigned i = 0; i < MOMENTS; i++) {
        const struct moment *step = moment_step_of(moment_at(was, i), moment_at(is, i), steps);

        moment_later(moment_at(is, i), step, times);
    }
    is->engines += (double)times * (is->engines - was->engines);
    sched_iter_repeat(is->it, was->it, times);
}

/* Go over what repeats the bodies since the kept state, if it does; returns bodies gone over. */
static uint64_t row_skip(struct repeat *r, struct walk *w)
{
    const struct state *s = &r->kept;
    uint64_t period = r->stop - s->body, times;

    if (!state_repeats(r, w))
        return 0;
    times = periods_left(r, w, period);
    if (times == 0)
        return 0;
    for (uint32_t i = 0; i < w->count; i++)
        sequencer_repeat(&s->seq[i], &w->seq[i], &s->step[i], times);
    match_repeat(w->match, s->sent, r->more, s->step, times);
    w->ret->repeated += times * (w->ret->steps - s->steps);
    w->ret->steps += times * (w->ret->steps - s->steps);
    return times * period;
}

/* ---- stops ---- */

NRT_STATUS repeat_make(const struct walk *w, struct repeat **ret)
{
    const struct sched *s = w->c.s;
    const struct sched_request *req = sched_request_of(s);
    struct repeat *r;

    *ret = NULL;
    if (sched_ranks(s) < RANKS_MIN || req->alg == SCHED_HIER || w->noted)
        return NRT_SUCCESS;
    r = mem_zalloc(sizeof(*r));
    if (!r)
        return NRT_RESOURCE;
    r->stride = (uint64_t)req->slots * req->slices;
    r->more = 4u * ((size_t)req->slots + req->slices);
    r->part = UINT32_MAX;
    *ret = r;
    return NRT_SUCCESS;
}

void repeat_free(struct repeat *r)
{
    if (!r)
        return;
    state_drop(&r->kept);
    mem_free(r);
}

static void search_begin(struct repeat *r, uint64_t stop)
{
    state_drop(&r->kept);
    r->stop = stop;
    r->stops = 0;
    r->keep_at = 1;
}

bool repeat_parks(struct repeat *r, const struct sequencer *q)
{
    struct sched_body body;

    if (!sched_iter_body(q->it, &body))
        return false;
    if (body.part != r->part) {
        r->part = body.part;
        search_begin(r, r->stride);
    }
    return body.number >= r->stop;
}

/* All stand at the stop: look for a repetition. */
static bool stop_done(struct repeat *r, struct walk *w)
{
    uint64_t skipped = r->kept.seq ? row_skip(r, w) : 0;

    if (skipped > 0) {
        search_begin(r, r->stop + skipped + r->stride);
        return true;
    }
    if (++r->stops == r->keep_at) {
        w->memory &= state_keep(&r->kept, w, r->stop);
        r->keep_at *= 2;
    }
    r->stop += r->stride;
    return true;
}

bool repeat_turn(struct repeat *r, struct walk *w)
{
    bool all = true, any = false;
    struct sched_body body;

    for (uint32_t i = 0; i < w->count; i++) {
        const struct sequencer *q = &w->seq[i];
        bool parked = !q->ended && !q->step && sched_iter_body(q->it, &body) &&
                      body.part == r->part && body.number == r->stop;

        all &= parked;
        any |= parked;
    }
    if (all && any)
        return stop_done(r, w);
    r->stop += r->stride; /* those that do not stand wait for those that do, or for loosen */
    return any;
}
