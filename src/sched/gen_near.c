/* SPDX-License-Identifier: Apache-2.0 */
/* A group of one, and the variants for ranks that see each other's memory (ours).
 *
 * direct: every rank reads its chunk in all inputs, reduces it once and writes it to all outputs.
 * Each byte of an input is read once and each byte of an output written once, which no staged form
 * reaches; the price is a handshake before and after.
 *
 * inline: the payload is so small that it travels in the cache lines that announce it. Everybody
 * sends to everybody, so who has taken all lines of an operation knows that its own lines of the
 * operation before have been taken too, and two sets of lines suffice. */
#include "sched/sched_int.h"

/* ---- one rank ---- */

static void alone(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    enum sched_site to = w->st->gather ? SITE_OUT : w->st->result;
    struct sched_place dst = sched_place_of(to, w->me);

    (void)i;
    if (!w->s->req.in_place && w->st->source != to)
        sched_emit_copy(it, w, sched_chunk(w, 0), sched_place_of(w->st->source, w->me), &dst, 1);
}

const struct sched_algorithm sched_alone = {
    .name = "copy",
    .key = sched_key_same,
    .phases = {{"copy", NULL, alone}},
};

/* ---- direct ---- */

#define NEAR_MAX 256 /* ranks whose places fit the body's arrays */

static NRT_STATUS near_check(const struct sched *s, const struct sched_stage *st, struct err *err)
{
    (void)s;
    if (st->shape->n > NEAR_MAX)
        return err_set(err, NRT_FAILURE, "%u ranks; direct and inline forms end at %u",
                       st->shape->n, NEAR_MAX);
    return NRT_SUCCESS;
}

static enum sched_sem direct_ready(const struct sched_where *w)
{
    return w->st->scatter ? SCHED_SEM_IN_READY : SCHED_SEM_OUT_READY;
}

static void direct_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    (void)i;
    sched_emit_signal_all(it, w, direct_ready(w));
    sched_emit_wait_all(it, w, direct_ready(w));
}

static uint64_t direct_rounds(const struct sched_where *w)
{
    return sched_rounds(w, 1);
}

static void direct_move(const struct sched_where *w, uint64_t round, struct sched_iter *it)
{
    struct sched_range range = sched_slice(w, w->me, round, 1, 0);
    struct sched_place src[NEAR_MAX], dst[NEAR_MAX];
    uint32_t n = w->st->shape->n;
    unsigned ndst = 0;

    for (uint32_t i = 0; i < n; i++)
        src[i] = sched_place_of(w->st->source, i);
    if (!w->st->gather) {
        dst[ndst++] = sched_place_of(w->st->result, w->me);
    } else { /* my own first, for what is copied on from there */
        bool placed = !w->st->scatter && w->s->req.in_place;

        for (uint32_t i = placed; i < n; i++)
            dst[ndst++] = sched_place_of(SITE_OUT, (w->me + i) % n);
    }
    if (w->st->scatter)
        sched_emit_reduce(it, w, range, src, n, dst, ndst);
    else
        sched_emit_copy(it, w, range, src[w->me], dst, ndst);
}

static void direct_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    enum sched_sem done = w->st->gather ? SCHED_SEM_OUT_DONE : SCHED_SEM_IN_DONE;

    (void)i;
    sched_emit_signal_all(it, w, done);
    sched_emit_wait_all(it, w, done);
}

static uint32_t near_key(const struct sched_where *w)
{
    return w->st->scatter ? sched_key_source(w->me) : 0;
}

const struct sched_algorithm sched_direct = {
    .name = "direct",
    .key = near_key,
    .check = near_check,
    .phases = {{"ready", NULL, direct_open},
               {"move", direct_rounds, direct_move},
               {"done", NULL, direct_close}},
};

/* ---- inline ---- */

static NRT_STATUS inline_check(const struct sched *s, const struct sched_stage *st, struct err *err)
{
    uint64_t bytes = s->prefix[s->req.tensors] * s->req.elem_size;

    if (bytes > SCHED_INLINE_MAX)
        return err_set(err, NRT_FAILURE, "%llu bytes; lines carry %u", (unsigned long long)bytes,
                       SCHED_INLINE_MAX);
    return near_check(s, st, err);
}

/* What I send to a position: of an all_reduce all, of a reduce_scatter its chunk, else mine. */
static uint32_t inline_chunk(const struct sched_where *w, uint32_t position)
{
    if (w->st->undivided)
        return 0;
    return w->st->scatter ? position : w->me;
}

static void inline_put(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t to = (uint32_t)((w->me + i + 1) % w->st->shape->n);

    sched_emit_put(it, w, sched_chunk(w, inline_chunk(w, to)), sched_place_of(w->st->source, w->me),
                   to);
}

static uint64_t inline_peers(const struct sched_where *w)
{
    return w->st->shape->n - 1;
}

static void inline_take(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t from = (uint32_t)((w->me + i + 1) % w->st->shape->n);

    sched_emit_take(it, w, sched_chunk_len(w, w->st->scatter ? inline_chunk(w, w->me) : from),
                    from);
}

static struct sched_place inline_source(const struct sched_where *w, uint32_t position)
{
    if (position == w->me)
        return sched_place_of(w->st->source, w->me);
    return (struct sched_place){.site = SITE_LINE, .position = w->me, .writer = position};
}

static void inline_finish(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    struct sched_place src[NEAR_MAX], out = sched_place_of(SITE_OUT, w->me);
    uint32_t n = w->st->shape->n;

    (void)i;
    for (uint32_t p = 0; p < n; p++)
        src[p] = inline_source(w, p);
    if (w->st->scatter) {
        sched_emit_reduce(it, w, sched_chunk(w, inline_chunk(w, w->me)), src, n, &out, 1);
        return;
    }
    for (uint32_t p = 0; p < n; p++)
        if (p != w->me || !w->s->req.in_place)
            sched_emit_copy(it, w, sched_chunk(w, p), src[p], &out, 1);
}

const struct sched_algorithm sched_inline = {
    .name = "inline",
    .key = near_key,
    .check = inline_check,
    .phases = {{"put", inline_peers, inline_put},
               {"take", inline_peers, inline_take},
               {"finish", NULL, inline_finish}},
};
