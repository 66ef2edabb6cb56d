/* SPDX-License-Identifier: Apache-2.0 */
/* The executor: steps of a plan, channel by channel, each until it waits. */
#include <string.h>

#include "coll/coll_int.h"

#define AT_ONCE 4096u /* bytes: done in less than a microsecond, if nothing must be waited for */

/* ---- signals ---- */

static void peer_rung(struct coll_comm *c, uint32_t peer)
{
    struct coll_peer *p = &c->peers[peer];

    if (p->rung)
        return;
    p->rung = true;
    p->rung_next = c->rung;
    c->rung = p;
}

static void counter_raise(struct coll_comm *c, const struct plan_step *step, uint32_t channel)
{
    struct coll_peer *peer = &c->peers[step->peer];
    uint32_t *mine = &c->mine[coll_counter_at(c, step->peer, channel, step->sem)];

    /* pairs with the acquire in reached() */
    atomic_store_explicit(&peer->counters[(size_t)channel * c->n].c.sem[step->sem], ++*mine,
                          memory_order_release);
    peer_rung(c, step->peer);
}

bool coll_same_operation(struct coll_comm *c, uint32_t rank, uint64_t mark)
{
    if (mark >> 32 != (uint32_t)c->seq || (uint32_t)mark == c->run->plan->signature)
        return true;
    coll_differ_fail(c, rank, mark);
    return false;
}

static bool reached(struct coll_comm *c, const struct plan_step *step, uint32_t channel)
{
    union coll_counter_line *line = coll_area_counters(c->own, c->n, channel, step->peer);
    uint32_t want = c->base[coll_counter_at(c, step->peer, channel, step->sem)] + step->value;

    if ((int32_t)(atomic_load_explicit(&line->c.sem[step->sem], memory_order_acquire) - want) < 0)
        return false;
    return step->value == 0 ||
           coll_same_operation(
               c, step->peer,
               atomic_load_explicit(&line->c.signature[c->seq & 1], memory_order_relaxed));
}

/* ---- lines ---- */

static uint8_t *ref_at(const struct coll_plan *p, const struct plan_ref *ref, uint32_t repeat)
{
    return p->bases[ref->base].p + ref->off + ref->stride * (int64_t)repeat;
}

/* A line's payload: all of it in the lines of a message but the last, in which mostly some words.
 */
static inline void line_copy(uint8_t *to, const uint8_t *from, uint64_t n)
{
    uint64_t word;

    if (n == COLL_LINE_DATA) { /* a size that the compiler knows */
        memcpy(to, from, COLL_LINE_DATA);
        return;
    }
    for (; n >= sizeof(word); n -= sizeof(word), to += sizeof(word), from += sizeof(word)) {
        memcpy(&word, from, sizeof(word));
        memcpy(to, &word, sizeof(word));
    }
    for (; n; n--)
        *to++ = *from++;
}

static void line_end(const struct coll_comm *c, struct coll_line *line)
{
    atomic_store_explicit(&line->signature, c->run->plan->signature, memory_order_relaxed);
    /* pairs with the acquire in take() */
    atomic_store_explicit(&line->seq, (uint32_t)c->seq, memory_order_release);
}

/* Payload first, then the number that says so, in each line that is complete: a message of several
 * pieces (coalesced tensors) fills its lines one piece after the other, and step->value tells the
 * last one. An empty message is one line. */
static void put(struct coll_comm *c, const struct plan_step *step, const struct plan_ref *refs)
{
    const struct coll_plan *p = c->run->plan;
    struct coll_line *line =
        coll_area_lines(c->peers[step->peer].area, c->n, c->channels, c->seq & 1, c->me);
    uint64_t at = 0, left = step->count * p->elem;
    const uint8_t *src = left ? ref_at(p, &refs[0], 0) : NULL;

    if (!step->line) { /* else it is the first one, from its start */
        line += refs[1].off / COLL_LINE_DATA;
        at = refs[1].off % COLL_LINE_DATA;
    }
    for (;; line++, at = 0) {
        uint64_t n = COLL_LINE_DATA - at < left ? COLL_LINE_DATA - at : left;

        line_copy(line->data + at, src, n);
        src += n;
        left -= n;
        if (at + n == COLL_LINE_DATA || (left == 0 && step->value))
            line_end(c, line);
        if (left == 0)
            break;
    }
    peer_rung(c, step->peer);
}

/* All lines of a message are there: into private memory, where the steps that follow read it. */
static bool take(struct coll_comm *c, const struct plan_step *step)
{
    const struct coll_plan *p = c->run->plan;
    struct coll_line *line = coll_area_lines(c->own, c->n, c->channels, c->seq & 1, step->peer);
    uint8_t *to = c->staging + (size_t)step->peer * SCHED_INLINE_MAX;
    uint64_t bytes = step->count * p->elem, lines = coll_lines_of(bytes);

    /* the last is written last, so most of the time one look is enough */
    for (uint64_t i = lines; i-- > 0;) {
        uint32_t seq = atomic_load_explicit(&line[i].seq, memory_order_acquire);

        if (seq != (uint32_t)c->seq)
            return false;
        if (!coll_same_operation(c, step->peer,
                                 (uint64_t)seq << 32 | atomic_load_explicit(&line[i].signature,
                                                                            memory_order_relaxed)))
            return false;
    }
    for (uint64_t i = 0; i < lines; i++) {
        uint64_t n = bytes - i * COLL_LINE_DATA;

        line_copy(to + i * COLL_LINE_DATA, line[i].data, n < COLL_LINE_DATA ? n : COLL_LINE_DATA);
    }
    return true;
}

/* ---- the beginning ---- */

static void publish(struct coll_comm *c, const struct coll_plan *p, const uint64_t *in,
                    const uint64_t *out)
{
    struct coll_publish *pub = &c->own->publish;
    unsigned i = c->seq & 1;

    for (uint32_t t = 0; t < p->tensors; t++) {
        /* read by peers after a signal of this operation, which releases them */
        atomic_store_explicit(&pub->in[t], in[t], memory_order_relaxed);
        atomic_store_explicit(&pub->out[t], out[t], memory_order_relaxed);
    }
    /* pairs with op_said: who reads what belongs to the new mark does not find the old one after it
     */
    atomic_store_explicit(&pub->op[i].mark, COLL_MARK_NONE(i), memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&pub->op[i].what, p->said.what, memory_order_relaxed);
    atomic_store_explicit(&pub->op[i].how, p->said.how, memory_order_relaxed);
    atomic_store_explicit(&pub->op[i].mark, (uint64_t)(uint32_t)c->seq << 32 | p->signature,
                          memory_order_release);
    /* release: who sees the number sees its operation */
    atomic_store_explicit(&pub->started, c->seq, memory_order_release);
    c->flying = device_flight_begin(&c->flight, c->seq, p->what, p->bytes, p->step_count);
}

/* Peers wait for lines, which say themselves what they belong to: those that an operation begins
 * with go before everything that is only told about it. */
static void lines_first(struct coll_comm *c, const struct coll_plan *p)
{
    const struct plan_channel *ch = &p->channels[0];

    for (size_t i = 0; i < p->lines_first; i++)
        put(c, &ch->steps[i], ch->refs + ch->steps[i].refs);
    c->run->cursor[0].step = c->run->steps = p->lines_first;
}

NRT_STATUS coll_begin(struct coll_plan *p, const uint64_t *in, const uint64_t *out, struct err *err)
{
    struct coll_comm *c = p->comm;
    struct coll_run *run = c->run;
    NRT_STATUS st;

    /* A member that failed may have left enough behind for this operation to end well here. */
    if (c->status || coll_failed_elsewhere(c))
        return err_set(err, c->status, "%s", c->err.text);
    if (p->comm->run->plan)
        return err_set(err, NRT_INVALID, "an operation of this communicator is under way");
    st = coll_tensors_take(p, in, out, err);
    if (!st && p->wire_count)
        st = coll_wires_begin(p, err);
    if (st)
        return st;
    atomic_store_explicit(&c->busy, 1, memory_order_relaxed);
    c->seq++;
    c->watch.since = 0;
    run->plan = p;
    run->left = p->channel_count;
    run->next = 0;
    run->steps = 0;
    run->blocked = NULL;
    run->waited = false;
    run->cursor[0] = (struct coll_cursor){0}; /* most have no other one: no call of memset */
    for (uint32_t ch = 1; ch < run->left; ch++)
        run->cursor[ch] = (struct coll_cursor){0};
    lines_first(c, p);
    publish(c, p, in, out);
    for (size_t i = 0; i < p->target_count; i++) {
        const struct plan_target *t = &p->targets[i];

        atomic_store_explicit(
            &c->peers[t->peer].counters[(size_t)t->channel * c->n].c.signature[c->seq & 1],
            (uint64_t)(uint32_t)c->seq << 32 | p->signature, memory_order_relaxed);
    }
    coll_bells_ring(c);
    return NRT_SUCCESS;
}

/* ---- data ---- */

/* Elements [done, done + n) of one repetition. */
static void combine_piece(const struct coll_plan *p, const struct plan_step *step,
                          const struct plan_ref *refs, uint32_t repeat, uint64_t done, uint64_t n)
{
    const void *src[SCHED_REFS_MAX];
    void *dst[SCHED_REFS_MAX];
    uint64_t at = done * p->elem;

    for (unsigned i = 0; i < step->nsrc; i++)
        src[i] = ref_at(p, &refs[i], repeat) + at;
    for (unsigned i = 0; i < step->ndst; i++)
        dst[i] = ref_at(p, &refs[step->nsrc + i], repeat) + at;
    kernel_combine(p->dtype, p->reduce, src, step->nsrc, dst, step->ndst, n,
                   p->means.around ? KERNEL_STORES_AROUND : KERNEL_STORES_THROUGH);
}

static bool refs_ready(struct coll_comm *c, const struct plan_step *step,
                       const struct plan_ref *refs)
{
    struct coll_plan *p = c->run->plan;

    for (unsigned i = 0; i < step->nsrc + (unsigned)step->ndst; i++) {
        struct plan_base *b = &p->bases[refs[i].base];

        if (!b->p && coll_tensor_of_peer(c, b))
            return false;
    }
    return true;
}

/* Moves pieces until the step is done (true) or the budget is used. */
static bool move_pieces(const struct coll_plan *p, const struct plan_step *step,
                        const struct plan_ref *refs, struct coll_cursor *cur, unsigned *budget)
{
    uint64_t most = p->means.slice / p->elem;

    while (cur->repeat < step->repeat) {
        while (cur->done < step->count) {
            uint64_t n = step->count - cur->done < most ? step->count - cur->done : most;

            if (*budget == 0)
                return false;
            combine_piece(p, step, refs, cur->repeat, cur->done, n);
            cur->done += n;
            if (n == most)
                --*budget;
        }
        cur->done = 0;
        cur->repeat++;
    }
    cur->repeat = 0;
    return true;
}

/* Apart from execute, whose other steps need none of its registers and are most of a small
 * operation. */
__attribute__((noinline)) static bool move(struct coll_comm *c, const struct plan_step *step,
                                           const struct plan_ref *refs, struct coll_cursor *cur,
                                           unsigned *budget)
{
    const struct coll_plan *p = c->run->plan;

    if (step->count == 0)
        return true;
    if (step->reaches && cur->done == 0 && cur->repeat == 0 && !refs_ready(c, step, refs))
        return false;
    if (step->pair) {
        p->pair((float *)(void *)ref_at(p, &refs[2], 0),
                (const float *)(void *)ref_at(p, &refs[0], 0),
                (const float *)(void *)ref_at(p, &refs[1], 0), step->count);
        return true;
    }
    if (step->small) {
        memmove(ref_at(p, &refs[1], 0), ref_at(p, &refs[0], 0), step->count * p->elem);
        return true;
    }
    if (!step->whole)
        return move_pieces(p, step, refs, cur, budget);
    combine_piece(p, step, refs, 0, 0, step->count);
    return true;
}

/* ---- progress ---- */

/* False: the step waits, failed, or ran out of budget. */
static inline bool execute(struct coll_comm *c, const struct plan_step *step,
                           const struct plan_ref *refs, uint32_t channel, struct coll_cursor *cur,
                           unsigned *budget)
{
    switch (step->kind) {
    case SCHED_WAIT:
        return step->sem >= SCHED_SEM_SENT ? coll_net_reached(c, step) : reached(c, step, channel);
    case SCHED_NET_SEND:
    case SCHED_NET_RECV:
        return coll_net_post(c, step);
    case SCHED_SIGNAL:
        counter_raise(c, step, channel);
        return true;
    case SCHED_PUT:
        put(c, step, refs);
        return true;
    case SCHED_TAKE:
        return take(c, step);
    default:
        return move(c, step, refs, cur, budget);
    }
}

/* Steps of one channel; how many were executed. */
static uint64_t channel_progress(struct coll_comm *c, uint32_t channel, unsigned *budget)
{
    struct coll_run *run = c->run;
    const struct plan_channel *ch = &run->plan->channels[channel];
    struct coll_cursor *cur = &run->cursor[channel];
    uint64_t moved = 0;

    while (cur->step<ch->count && * budget> 0) {
        const struct plan_step *step = &ch->steps[cur->step];
        uint64_t before = cur->done + cur->repeat;

        if (!execute(c, step, ch->refs + step->refs, channel, cur, budget)) {
            run->blocked = step;
            run->blocked_channel = channel;
            run->waited = true;
            return moved + (cur->done + cur->repeat != before);
        }
        cur->step++;
        moved++;
        --*budget;
        if (cur->step == ch->count)
            run->left--;
    }
    return moved;
}

/* Asks for a cache line that is to be written. A compiler would take an instruction that all
 * processors have, which asks for reading. */
static void line_want(const void *p)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
    __builtin_prefetch(p, 1);
#endif
}

#define WANTED 8u /* peers, and lines of each */

/* The next operation is mostly one like this: the lines that it puts first are on their way to me
 * until then. Counters are not asked for: peers still look at those that this operation raised. */
static void lines_want(struct coll_comm *c, const struct coll_plan *p)
{
    const struct plan_channel *ch = &p->channels[0];

    for (size_t i = 0; i < p->lines_first && i < WANTED; i++) {
        const struct plan_step *step = &ch->steps[i];
        struct coll_line *line =
            coll_area_lines(c->peers[step->peer].area, c->n, c->channels, (c->seq + 1) & 1, c->me);
        uint64_t lines = step->line ? 1 : coll_lines_of(step->count * p->elem);

        if (!step->line)
            line += ch->refs[step->refs + 1].off / COLL_LINE_DATA;
        for (uint64_t k = 0; k < lines && k < WANTED; k++)
            line_want(line + k);
    }
}

static void operation_end(struct coll_comm *c)
{
    struct coll_plan *p = c->run->plan;

    for (size_t i = 0; i < p->total_count; i++) {
        const struct plan_total *t = &p->totals[i];

        c->base[coll_counter_at(c, t->peer, t->channel, t->sem)] += t->value;
    }
    if (p->wire_count)
        coll_wires_end(p);
    if (c->net)
        coll_net_expect(c, false);
    if (p->bytes > AT_ONCE || c->run->waited)
        device_flight_end(&c->flying, c->run->steps, NRT_SUCCESS, 0);
    else
        device_flight_end_at_once(&c->flying, c->run->steps);
    atomic_store_explicit(&c->own->publish.ended, c->seq, memory_order_release);
    atomic_store_explicit(&c->busy, 0, memory_order_relaxed);
    c->run->plan = NULL;
    lines_want(c, p);
    coll_bells_ring(c);
}

/* A round over the channels; how many steps were executed. */
static uint64_t channels_progress(struct coll_comm *c, unsigned budget)
{
    struct coll_run *run = c->run;
    const struct coll_plan *p = run->plan;
    uint32_t ch = run->next;
    uint64_t moved = 0;

    if (p->channel_count == 1 && p->channels[0].count && !c->status) /* most of the small ones */
        return run->cursor[0].step < p->channels[0].count ? channel_progress(c, 0, &budget) : 0;
    for (uint32_t i = 0; i < p->channel_count && !c->status; i++) {
        if (run->cursor[ch].step < p->channels[ch].count)
            moved += channel_progress(c, ch, &budget);
        else if (p->channels[ch].count == 0 && run->cursor[ch].step++ == 0)
            run->left--; /* nothing to do on this channel */
        ch = ch + 1 < p->channel_count ? ch + 1 : 0;
    }
    run->next = run->next + 1 < p->channel_count ? run->next + 1 : 0;
    return moved;
}

static inline enum coll_state progress(struct coll_comm *c, unsigned budget)
{
    struct coll_run *run = c->run;
    uint64_t moved;

    if (c->status)
        return COLL_FAILED;
    if (!run->plan)
        return COLL_DONE;
    moved = channels_progress(c, budget);
    run->steps += moved;
    if (moved) /* who waits for me sees that I live, also while I do not wait myself */
        atomic_store_explicit(&c->own->publish.steps, run->steps, memory_order_relaxed);
    if (!c->status && run->left == 0 &&
        (!run->plan->wire_count || coll_net_over(c, &run->blocked))) {
        operation_end(c);
        return COLL_DONE;
    }
    if (!c->status && c->net)
        moved += coll_net_progress(c);
    if (c->status)
        return COLL_FAILED;
    coll_bells_ring(c); /* also when I moved: the caller may not come back soon */
    if (moved)
        return COLL_MOVED;
    return coll_failed_elsewhere(c) ? COLL_FAILED : COLL_BLOCKED;
}

enum coll_state coll_progress(struct coll_comm *c, unsigned budget)
{
    enum coll_state state = progress(c, budget);

    /* whoever looks: also one that does not wait itself, as between two instructions of a core */
    if (__builtin_expect(c->run->told, 0) && state != COLL_BLOCKED)
        coll_wait_over(c);
    return state;
}
