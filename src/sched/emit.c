/* SPDX-License-Identifier: Apache-2.0 */
/* Steps from movements of ranges: pieces, references, numbers of signals, slots and messages. */
#include "sched/iter_int.h"
#include "sched/space_int.h"

/* ---- signals ---- */

static void push_signal(struct sched_iter *it, enum sched_kind kind, enum sched_sem sem,
                        uint32_t rank, uint32_t value)
{
    struct sched_step *step = sched_iter_push(it, kind);

    step->sem = (uint8_t)sem;
    step->peer = rank;
    step->value = value;
}

void sched_emit_wait(struct sched_iter *it, const struct sched_where *w, enum sched_sem sem,
                     uint32_t position)
{
    uint32_t rank = sched_rank_at(w, position);

    push_signal(it, SCHED_WAIT, sem, rank, ++sched_iter_peer(it, rank)->waits[sem]);
}

void sched_emit_signal(struct sched_iter *it, const struct sched_where *w, enum sched_sem sem,
                       uint32_t position)
{
    push_signal(it, SCHED_SIGNAL, sem, sched_rank_at(w, position), 0);
}

/* Starting behind oneself, so that not everybody begins with position 0. */
void sched_emit_signal_all(struct sched_iter *it, const struct sched_where *w, enum sched_sem sem)
{
    uint32_t n = w->st->shape->n;

    for (uint32_t i = 1; i < n; i++)
        sched_emit_signal(it, w, sem, (w->me + i) % n);
}

void sched_emit_wait_all(struct sched_iter *it, const struct sched_where *w, enum sched_sem sem)
{
    uint32_t n = w->st->shape->n;

    for (uint32_t i = 1; i < n; i++)
        sched_emit_wait(it, w, sem, (w->me + i) % n);
}

/* ---- references ---- */

static struct sched_ref ref_of(const struct sched_where *w, const struct sched_place *at,
                               const struct sched_piece *piece)
{
    const struct sched *s = w->s;
    struct sched_ref ref = {.rank = sched_rank_at(w, at->position)};

    switch (at->site) {
    case SITE_IN:
    case SITE_OUT:
        ref.buf = at->site == SITE_IN ? SCHED_IN : SCHED_OUT;
        ref.tensor = piece->tensor;
        if (at->slot_of)
            ref.off = piece->small + (at->slot_of - 1) * s->counts[piece->tensor];
        else
            ref.off = (at->site == SITE_IN ? s->in_big : s->out_big) ? piece->big : piece->small;
        break;
    case SITE_HOLD:
        ref.buf = SCHED_TEMP;
        ref.off = s->hold_at + piece->hold;
        break;
    case SITE_SLOT:
        ref.buf = SCHED_SLOT;
        ref.off = at->off + piece->rel;
        break;
    case SITE_LINE:
        ref.buf = SCHED_LINE;
        ref.tensor = sched_rank_at(w, at->writer);
        ref.off = at->off + piece->rel;
        break;
    default:
        ref.buf = SCHED_TEMP;
        ref.off = at->off + piece->rel;
        break;
    }
    return ref;
}

static bool follows(const struct sched_ref *last, const struct sched_ref *next, uint32_t repeat)
{
    int64_t step = (int64_t)(next->off - last->off);

    if (last->buf != next->buf || last->rank != next->rank || last->tensor != next->tensor)
        return false;
    return repeat == 1 || step == last->stride * (int64_t)repeat;
}

/* If the last step of the body is the one before the last in a regular series, they become one. */
static void merge_last(struct sched_iter *it)
{
    if (it->count < 2 || it->status)
        return;
    struct sched_step *last = &it->steps[it->count - 2], *next = last + 1;

    if (last->kind != next->kind || last->count != next->count || last->nsrc != next->nsrc ||
        last->ndst != next->ndst || last->repeat == UINT32_MAX)
        return;
    for (unsigned i = 0; i < last->nsrc; i++)
        if (!follows(&last->src[i], &next->src[i], last->repeat))
            return;
    for (unsigned i = 0; i < last->ndst; i++)
        if (!follows(&last->dst[i], &next->dst[i], last->repeat))
            return;
    if (last->repeat == 1) {
        for (unsigned i = 0; i < last->nsrc; i++)
            last->src[i].stride = (int64_t)(next->src[i].off - last->src[i].off);
        for (unsigned i = 0; i < last->ndst; i++)
            last->dst[i].stride = (int64_t)(next->dst[i].off - last->dst[i].off);
    }
    last->repeat++;
    it->count--;
}

static struct sched_step *push_data(struct sched_iter *it, enum sched_kind kind, uint64_t count)
{
    struct sched_step *step = sched_iter_push(it, kind);

    step->count = count;
    return step;
}

/* ---- movements ---- */

static void copy_piece(struct sched_iter *it, const struct sched_where *w,
                       const struct sched_piece *piece, const struct sched_place *src,
                       const struct sched_place *dst, unsigned ndst)
{
    while (ndst > 0) {
        unsigned n = ndst < SCHED_REFS_MAX ? ndst : SCHED_REFS_MAX;
        struct sched_step *step = push_data(it, SCHED_COPY, piece->len);

        step->nsrc = 1;
        step->src[0] = ref_of(w, src, piece);
        step->ndst = (uint8_t)n;
        for (unsigned i = 0; i < n; i++)
            step->dst[i] = ref_of(w, &dst[i], piece);
        merge_last(it);
        dst += n;
        ndst -= n;
    }
}

void sched_emit_copy(struct sched_iter *it, const struct sched_where *w, struct sched_range r,
                     struct sched_place src, const struct sched_place *dst, unsigned ndst)
{
    struct sched_pieces pieces;
    struct sched_piece piece;

    sched_pieces_begin(&pieces, w, r);
    while (sched_pieces_next(&pieces, &piece))
        copy_piece(it, w, &piece, &src, dst, ndst);
}

static void reduce_piece(struct sched_iter *it, const struct sched_where *w,
                         const struct sched_piece *piece, const struct sched_place *src,
                         unsigned nsrc, const struct sched_place *dst, unsigned ndst)
{
    struct sched_place chain = {SITE_TEMP, w->me, w->s->chain_at, 0, 0};
    bool chained = false;

    /* All but the last step of a chain write TEMP; only as many destinations as a step holds. */
    while (nsrc > 0) {
        unsigned room = SCHED_REFS_MAX - chained, n = nsrc < room ? nsrc : room;
        struct sched_step *step = push_data(it, SCHED_REDUCE, piece->len);

        if (chained)
            step->src[step->nsrc++] = ref_of(w, &chain, piece);
        for (unsigned i = 0; i < n; i++)
            step->src[step->nsrc++] = ref_of(w, &src[i], piece);
        src += n;
        nsrc -= n;
        chained = true;
        if (nsrc > 0) {
            step->ndst = 1;
            step->dst[0] = ref_of(w, &chain, piece);
            continue;
        }
        n = ndst < SCHED_REFS_MAX ? ndst : SCHED_REFS_MAX;
        step->ndst = (uint8_t)n;
        for (unsigned i = 0; i < n; i++)
            step->dst[i] = ref_of(w, &dst[i], piece);
        merge_last(it);
        copy_piece(it, w, piece, &dst[0], dst + n, ndst - n);
    }
}

/* dst[0] must be readable by this rank when there are more than SCHED_REFS_MAX destinations. */
void sched_emit_reduce(struct sched_iter *it, const struct sched_where *w, struct sched_range r,
                       const struct sched_place *src, unsigned nsrc, const struct sched_place *dst,
                       unsigned ndst)
{
    struct sched_pieces pieces;
    struct sched_piece piece;

    if (nsrc == 1) {
        sched_emit_copy(it, w, r, src[0], dst, ndst);
        return;
    }
    sched_pieces_begin(&pieces, w, r);
    while (sched_pieces_next(&pieces, &piece))
        reduce_piece(it, w, &piece, src, nsrc, dst, ndst);
}

void sched_emit_put(struct sched_iter *it, const struct sched_where *w, struct sched_range r,
                    struct sched_place src, uint32_t position)
{
    struct sched_place line = {SITE_LINE, position, 0, w->me, 0};
    struct sched_piece piece = {0};
    struct sched_pieces pieces;

    sched_pieces_begin(&pieces, w, r);
    while (sched_pieces_next(&pieces, &piece) || sched_range_len(r) == 0) {
        struct sched_step *step = push_data(it, SCHED_PUT, piece.len);

        step->peer = sched_rank_at(w, position);
        step->nsrc = step->ndst = 1;
        step->src[0] = ref_of(w, &src, &piece);
        step->dst[0] = ref_of(w, &line, &piece);
        if (sched_range_len(r) == 0)
            return;
    }
}

void sched_emit_take(struct sched_iter *it, const struct sched_where *w, uint64_t len,
                     uint32_t position)
{
    struct sched_place line = {SITE_LINE, w->me, 0, position, 0};
    struct sched_piece piece = {.len = len};
    struct sched_step *step = push_data(it, SCHED_TAKE, len);

    step->peer = sched_rank_at(w, position);
    step->nsrc = 1;
    step->src[0] = ref_of(w, &line, &piece);
}

/* ---- messages between nodes ---- */

static void push_message(struct sched_iter *it, const struct sched_where *w, uint32_t position,
                         bool send, const struct sched_place *at, const struct sched_piece *piece)
{
    uint32_t rank = sched_rank_at(w, position);
    struct sched_step *step = push_data(it, send ? SCHED_NET_SEND : SCHED_NET_RECV, piece->len);

    step->peer = rank;
    if (send) {
        step->nsrc = 1;
        step->src[0] = ref_of(w, at, piece);
        sched_iter_peer(it, rank)->messages_out++;
    } else {
        step->ndst = 1;
        step->dst[0] = ref_of(w, at, piece);
    }
}

/* One message per piece, and one for an empty range: it is a signal too. Returns their number. */
static uint32_t push_messages(struct sched_iter *it, const struct sched_where *w, uint32_t position,
                              bool send, const struct sched_place *at, struct sched_range r)
{
    struct sched_pieces pieces;
    struct sched_piece piece = {0};
    uint32_t n = 0;

    sched_pieces_begin(&pieces, w, r);
    while (sched_pieces_next(&pieces, &piece)) {
        push_message(it, w, position, send, at, &piece);
        n++;
    }
    if (n == 0)
        push_message(it, w, position, send,
                     &(struct sched_place){.site = SITE_TEMP, .position = w->me}, &piece);
    return n ? n : 1;
}

static uint32_t piece_count(const struct sched_where *w, struct sched_range r)
{
    struct sched_pieces pieces;
    struct sched_piece piece;
    uint32_t n = 0;

    sched_pieces_begin(&pieces, w, r);
    while (sched_pieces_next(&pieces, &piece))
        n++;
    return n;
}

static void wait_arrived(struct sched_iter *it, uint32_t rank, uint32_t messages)
{
    struct sched_peer *p = sched_iter_peer(it, rank);

    p->messages_in += messages;
    push_signal(it, SCHED_WAIT, SCHED_SEM_ARRIVED, rank, p->messages_in);
}

void sched_emit_sent(struct sched_iter *it, const struct sched_where *w, uint32_t peer)
{
    uint32_t rank = sched_rank_at(w, peer);

    if (sched_is_net(w, peer))
        push_signal(it, SCHED_WAIT, SCHED_SEM_SENT, rank, sched_iter_peer(it, rank)->messages_out);
}

/* ---- transfers into slots ---- */

static void wait_credit(struct sched_iter *it, uint32_t rank, const struct sched_link *link)
{
    struct sched_peer *p = sched_iter_peer(it, rank);
    uint32_t t = p->slots_out;

    /* Value 0: everything of earlier operations is released. Once is enough for the first slots. */
    if (t >= link->slots || !p->credit_waited)
        push_signal(it, SCHED_WAIT, SCHED_SEM_CREDIT, rank,
                    t >= link->slots ? t - link->slots + 1 : 0);
    p->credit_waited = true;
}

struct sched_place sched_emit_acquire(struct sched_iter *it, const struct sched_where *w,
                                      const struct sched_link *link)
{
    uint32_t rank = sched_rank_at(w, link->peer);
    struct sched_peer *p = sched_iter_peer(it, rank);
    uint32_t t;

    if (!sched_is_net(w, link->peer)) {
        t = p->slots_out;
        wait_credit(it, rank, link);
        return (struct sched_place){SITE_SLOT, link->peer,
                                    link->slot_at + t % link->slots * link->slot_elems, 0, 0};
    }
    t = p->temp_out;
    if (t >= link->slots)
        push_signal(it, SCHED_WAIT, SCHED_SEM_SENT, rank, p->temp_messages[t % link->slots]);
    return (struct sched_place){SITE_TEMP, w->me,
                                link->temp_at + t % link->slots * link->slot_elems, 0, 0};
}

void sched_emit_commit(struct sched_iter *it, const struct sched_where *w,
                       const struct sched_link *link, uint64_t len)
{
    uint32_t rank = sched_rank_at(w, link->peer);
    struct sched_peer *p = sched_iter_peer(it, rank);

    if (!sched_is_net(w, link->peer)) {
        p->slots_out++;
        push_signal(it, SCHED_SIGNAL, SCHED_SEM_RECV, rank, 0);
        return;
    }
    uint32_t slot = p->temp_out % link->slots;
    struct sched_place from = {SITE_TEMP, w->me, link->temp_at + slot * link->slot_elems, 0, 0};

    push_message(it, w, link->peer, true, &from, &(struct sched_piece){.len = len});
    p->temp_messages[slot] = p->messages_out;
    p->temp_out++;
}

void sched_emit_send(struct sched_iter *it, const struct sched_where *w,
                     const struct sched_link *link, struct sched_range r,
                     const struct sched_place *src, unsigned nsrc)
{
    if (nsrc == 1 && sched_is_net(w, link->peer) && piece_count(w, r) <= 1) {
        push_messages(it, w, link->peer, true, &src[0], r);
        return;
    }
    struct sched_place to = sched_emit_acquire(it, w, link);

    sched_emit_reduce(it, w, r, src, nsrc, &to, 1);
    sched_emit_commit(it, w, link, sched_range_len(r));
}

void sched_emit_post(struct sched_iter *it, const struct sched_where *w,
                     const struct sched_link *link, uint64_t len)
{
    if (!sched_is_net(w, link->peer))
        return;
    struct sched_peer *p = sched_iter_peer(it, sched_rank_at(w, link->peer));
    struct sched_place to = {.site = SITE_SLOT, .position = w->me};

    to.off = link->slot_at + p->slots_posted++ % link->slots * link->slot_elems;
    push_message(it, w, link->peer, false, &to, &(struct sched_piece){.len = len});
}

struct sched_place sched_emit_arrive(struct sched_iter *it, const struct sched_where *w,
                                     const struct sched_link *link)
{
    uint32_t rank = sched_rank_at(w, link->peer);
    uint32_t t = sched_iter_peer(it, rank)->slots_in++;

    if (sched_is_net(w, link->peer))
        wait_arrived(it, rank, 1);
    else
        sched_emit_wait(it, w, SCHED_SEM_RECV, link->peer);
    return (struct sched_place){SITE_SLOT, w->me,
                                link->slot_at + t % link->slots * link->slot_elems, 0, 0};
}

void sched_emit_release(struct sched_iter *it, const struct sched_where *w,
                        const struct sched_link *link)
{
    if (!sched_is_net(w, link->peer))
        sched_emit_signal(it, w, SCHED_SEM_CREDIT, link->peer);
}

/* ---- transfers into the output ---- */

void sched_emit_deliver(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                        struct sched_range r, struct sched_place src,
                        const struct sched_place *also)
{
    struct sched_place dst[2] = {{.site = SITE_OUT, .position = peer}};

    if (sched_is_net(w, peer)) {
        if (also)
            sched_emit_copy(it, w, r, src, also, 1);
        push_messages(it, w, peer, true, &src, r);
        return;
    }
    if (also)
        dst[1] = *also;
    sched_emit_copy(it, w, r, src, dst, also ? 2 : 1);
    sched_emit_signal(it, w, SCHED_SEM_RECV, peer);
}

void sched_emit_post_out(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                         struct sched_range r)
{
    if (sched_is_net(w, peer))
        push_messages(it, w, peer, false,
                      &(struct sched_place){.site = SITE_OUT, .position = w->me}, r);
}

void sched_emit_arrive_out(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                           struct sched_range r)
{
    uint32_t n = 0;

    if (!sched_is_net(w, peer)) {
        sched_emit_wait(it, w, SCHED_SEM_RECV, peer);
        return;
    }
    n = piece_count(w, r);
    wait_arrived(it, sched_rank_at(w, peer), n ? n : 1);
}

/* ---- sets of chunks ---- */

/* Pieces of a set, those that follow each other in the output joined. */
struct runs {
    const struct sched_where *w;
    const struct sched_set *set;
    struct sched_pieces pieces;
    uint32_t next; /* chunk of the set */
    bool open;     /* pieces is under way */
    struct sched_piece ahead;
    bool have_ahead;
};

static bool runs_piece(struct runs *r, struct sched_piece *ret)
{
    for (;;) {
        if (r->open && sched_pieces_next(&r->pieces, ret))
            return true;
        if (r->next == r->set->count)
            return false;
        sched_pieces_begin(&r->pieces, r->w, sched_chunk(r->w, r->set->q(r->set->arg, r->next++)));
        r->open = true;
    }
}

static void runs_begin(struct runs *r, const struct sched_where *w, const struct sched_set *set)
{
    *r = (struct runs){.w = w, .set = set};
    r->have_ahead = runs_piece(r, &r->ahead);
}

static bool runs_next(struct runs *r, struct sched_piece *ret)
{
    if (!r->have_ahead)
        return false;
    *ret = r->ahead;
    while ((r->have_ahead = runs_piece(r, &r->ahead)) && r->ahead.tensor == ret->tensor &&
           r->ahead.big == ret->big + ret->len)
        ret->len += r->ahead.len;
    return true;
}

static uint32_t push_set(struct sched_iter *it, const struct sched_where *w, uint32_t position,
                         bool send, const struct sched_set *set)
{
    struct sched_place out = {.site = SITE_OUT, .position = w->me};
    struct sched_place nowhere = {.site = SITE_TEMP, .position = w->me};
    struct sched_piece piece = {0};
    struct runs runs;
    uint32_t n = 0;

    runs_begin(&runs, w, set);
    while (runs_next(&runs, &piece)) {
        push_message(it, w, position, send, &out, &piece);
        n++;
    }
    if (n == 0)
        push_message(it, w, position, send, &nowhere, &piece);
    return n ? n : 1;
}

void sched_emit_deliver_set(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                            const struct sched_set *set)
{
    struct sched_place from = {.site = SITE_OUT, .position = w->me};
    struct sched_place to = {.site = SITE_OUT, .position = peer};

    if (sched_is_net(w, peer)) {
        push_set(it, w, peer, true, set);
        return;
    }
    for (uint32_t j = 0; j < set->count; j++)
        sched_emit_copy(it, w, sched_chunk(w, set->q(set->arg, j)), from, &to, 1);
    sched_emit_signal(it, w, SCHED_SEM_RECV, peer);
}

void sched_emit_post_set(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                         const struct sched_set *set)
{
    if (sched_is_net(w, peer))
        push_set(it, w, peer, false, set);
}

void sched_emit_arrive_set(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                           const struct sched_set *set)
{
    struct sched_piece piece;
    struct runs runs;
    uint32_t n = 0;

    if (!sched_is_net(w, peer)) {
        sched_emit_wait(it, w, SCHED_SEM_RECV, peer);
        return;
    }
    runs_begin(&runs, w, set);
    while (runs_next(&runs, &piece))
        n++;
    wait_arrived(it, sched_rank_at(w, peer), n ? n : 1);
}

/* ---- explicit references ---- */

void sched_emit_block(struct sched_iter *it, struct sched_ref src, struct sched_ref dst,
                      uint64_t count)
{
    struct sched_step *step;

    if (count == 0)
        return;
    step = push_data(it, SCHED_COPY, count);
    step->nsrc = step->ndst = 1;
    step->src[0] = src;
    step->dst[0] = dst;
}

void sched_emit_block_reduce(struct sched_iter *it, const struct sched_ref *src, unsigned nsrc,
                             struct sched_ref dst, uint64_t count)
{
    struct sched_step *step;

    if (nsrc == 1 || count == 0) {
        sched_emit_block(it, src[0], dst, count);
        return;
    }
    step = push_data(it, SCHED_REDUCE, count);
    step->nsrc = (uint8_t)nsrc;
    for (unsigned i = 0; i < nsrc; i++)
        step->src[i] = src[i];
    step->ndst = 1;
    step->dst[0] = dst;
}

void sched_emit_block_send(struct sched_iter *it, struct sched_ref src, uint32_t rank,
                           uint64_t count)
{
    struct sched_step *step = push_data(it, SCHED_NET_SEND, count);

    step->peer = rank;
    step->nsrc = 1;
    step->src[0] = src;
    sched_iter_peer(it, rank)->messages_out++;
}

void sched_emit_block_post(struct sched_iter *it, struct sched_ref dst, uint32_t rank,
                           uint64_t count)
{
    struct sched_step *step = push_data(it, SCHED_NET_RECV, count);

    step->peer = rank;
    step->ndst = 1;
    step->dst[0] = dst;
}

void sched_emit_arrive_block(struct sched_iter *it, const struct sched_where *w, uint32_t peer)
{
    wait_arrived(it, sched_rank_at(w, peer), 1);
}
