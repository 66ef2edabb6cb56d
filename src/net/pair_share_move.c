/* SPDX-License-Identifier: Apache-2.0 */
/* Moving messages inside an instance: each function does one piece of work for the first transfer
 * of a pair, if there is some. What a page says is loaded once, then checked, then used. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "kernel/kernel.h"
#include "net/pair_share.h"

/* --- sending -----------------------------------------------------------------------------------
 */

static void heard(struct net_pair *p)
{
    p->moved_at = pairs_now(p->set);
}

/* What shows that the other end works: it has called recv_tensor, it reads. */
static void notice(struct net_pair *p)
{
    struct pair_share *h = p->share;
    uint64_t wants = atomic_load_explicit(&h->other->wants, memory_order_relaxed);
    uint64_t taken = atomic_load_explicit(&h->other->taken, memory_order_relaxed);

    if (wants == h->wants && taken == h->taken)
        return;
    h->wants = wants;
    h->taken = taken;
    p->wants = wants;
    heard(p);
}

/* How a message ended that the receiver has said so of: room is from its page or its farewell. */
static void sent(struct net_pair *p, uint64_t room)
{
    struct net_transfer *t = p->first;
    char why[ERR_TEXT_MAX];

    heard(p);
    if (room == SHARE_TAKEN) {
        if (!t->m.device && t->at < t->size) {
            pair_protocol_fail(p, "it has what was not sent");
            return;
        }
        pair_first_over(p, NRT_SUCCESS, NULL);
        return;
    }
    snprintf(why, sizeof(why), "%" PRIu64 " bytes were sent where %s wants at most %" PRIu64,
             t->size, p->name, room);
    pair_first_over(p, NRT_FAILURE, why);
}

/* Looks whether the receiver is done with the first message. */
static bool sent_some(struct net_pair *p)
{
    const struct share_got *g = &p->share->other->ring.got[p->first->index % NET_PAIR_PENDING_MAX];
    uint64_t room;

    if (p->share->gone)
        return false;
    if (atomic_load_explicit(&g->number, memory_order_acquire) != p->first->index + 1)
        return false;
    room = atomic_load_explicit(&g->room, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    p->share->gone = !share_page_is(p);
    if (p->share->gone)
        return false;
    sent(p, room);
    return true;
}

/* Puts a piece of the first message where the receiver can read it. */
static bool stage_some(struct net_pair *p)
{
    struct pair_share *h = p->share;
    struct net_transfer *t = p->first;
    struct share_have *e = &h->own->ring.have[t->index % NET_PAIR_PENDING_MAX];
    uint64_t taken = atomic_load_explicit(&h->other->taken, memory_order_acquire), n, at;

    if (t->at == 0)
        h->base = taken; /* of earlier messages, which are all over */
    taken -= h->base;
    if (taken > t->at) {
        pair_protocol_fail(p, "it has taken what was not put");
        return false;
    }
    at = t->at % SHARE_STAGE;
    n = SHARE_STAGE - (t->at - taken);
    if (n > t->size - t->at)
        n = t->size - t->at;
    if (n > SHARE_STAGE - at)
        n = SHARE_STAGE - at;
    if (n == 0)
        return false;
    memcpy(h->stage_at + at, (const uint8_t *)t->m.p + t->at, n);
    t->at += n;
    atomic_store_explicit(&e->put, t->at, memory_order_release);
    share_point(p);
    heard(p);
    share_tell(p);
    return share_connected(p);
}

void pair_share_settle(struct net_pair *p)
{
    while (p->send && share_connected(p) && p->share != NULL && p->first != NULL && sent_some(p))
        continue;
}

static bool send_some(struct net_pair *p)
{
    const struct net_transfer *t = p->first;
    bool moved = sent_some(p);

    if (!share_connected(p) || moved)
        return moved && share_connected(p);
    notice(p);
    return !t->m.device && t->at < t->size && stage_some(p);
}

/* --- receiving ---------------------------------------------------------------------------------
 */

/* Tells how the first message ended. */
static void answer(struct net_pair *p, uint64_t room)
{
    struct share_got *g = &p->share->own->ring.got[p->first->index % NET_PAIR_PENDING_MAX];

    atomic_store_explicit(&g->room, room, memory_order_relaxed);
    atomic_store_explicit(&g->number, p->first->index + 1, memory_order_release);
    share_point(p);
    share_tell(p);
}

static void received(struct net_pair *p)
{
    answer(p, SHARE_TAKEN);
    if (share_connected(p))
        pair_first_over(p, NRT_SUCCESS, NULL);
}

static void refused(struct net_pair *p, uint64_t size)
{
    struct net_transfer *t = p->first;
    char why[ERR_TEXT_MAX];

    snprintf(why, sizeof(why), "%s sent %" PRIu64 " bytes where %" PRIu64 " fit", p->name, size,
             t->m.size);
    answer(p, t->m.size);
    if (share_connected(p))
        pair_first_over(p, NRT_FAILURE, why);
}

/* Whether what has been read up to now, from the page and from where it says the message is, was
 * the sender's. */
static bool was_theirs(struct net_pair *p, bool source)
{
    struct pair_share *h = p->share;

    atomic_thread_fence(memory_order_acquire);
    h->gone = atomic_load_explicit(&h->other->closed, memory_order_relaxed) != 0 ||
              !share_page_is(p) ||
              (source && !device_extent_is(p->set->cfg.in, h->source_extent, h->source_generation));
    return !h->gone;
}

/* Looks whether the first message is there. */
static bool begin(struct net_pair *p)
{
    struct pair_share *h = p->share;
    struct net_transfer *t = p->first;
    const struct share_have *e = &h->other->ring.have[t->index % NET_PAIR_PENDING_MAX];
    uint64_t size, from;
    uint32_t how;

    if (atomic_load_explicit(&e->number, memory_order_acquire) != t->index + 1)
        return false;
    size = atomic_load_explicit(&e->size, memory_order_relaxed);
    from = atomic_load_explicit(&e->addr, memory_order_relaxed);
    how = atomic_load_explicit(&e->how, memory_order_relaxed);
    h->source_generation = atomic_load_explicit(&e->generation, memory_order_relaxed);
    h->source_extent = atomic_load_explicit(&e->extent, memory_order_relaxed);
    if (!was_theirs(p, false))
        return false;
    heard(p);
    p->wants = t->index + 1;
    if (size > t->m.size) {
        refused(p, size);
        return share_connected(p);
    }
    if (how >= SHARE_HOW_END || from > UINT64_MAX - size) {
        pair_protocol_fail(p, "its message is at no address");
        return false;
    }
    t->size = size;
    t->from = from;
    t->reads = how == SHARE_DEVICE;
    p->busy = t;
    return true;
}

/* Reads n bytes of the message from there; false: the pair has failed, or the sender is gone. */
static bool read_piece(struct net_pair *p, uint64_t from, uint64_t n)
{
    struct net_transfer *t = p->busy;
    struct pair_share *h = p->share;
    struct err why = {0};
    void *src;

    if (device_map(p->set->cfg.in, from, n, DEVICE_READ, &src, &why) != NRT_SUCCESS) {
        pair_fail(p, NRT_FAILURE, "a message of %s cannot be read: %s", p->name, why.text);
        return false;
    }
    kernel_copy((uint8_t *)t->m.p + t->at, src, n);
    if (!was_theirs(p, true))
        return false;
    t->at += n;
    atomic_store_explicit(&h->own->taken,
                          atomic_load_explicit(&h->own->taken, memory_order_relaxed) + n,
                          memory_order_release);
    share_point(p);
    heard(p);
    return true;
}

/* The next piece out of the staging memory. */
static bool unstage_some(struct net_pair *p)
{
    struct net_transfer *t = p->busy;
    const struct share_have *e = &p->share->other->ring.have[t->index % NET_PAIR_PENDING_MAX];
    uint64_t put = atomic_load_explicit(&e->put, memory_order_acquire);
    uint64_t at = t->at % SHARE_STAGE, n = put - t->at;

    if (!was_theirs(p, false))
        return false;
    if (put < t->at || put > t->size || n > SHARE_STAGE) {
        pair_protocol_fail(p, "it has put more than there is room for");
        return false;
    }
    if (n > SHARE_STAGE - at)
        n = SHARE_STAGE - at;
    if (n == 0 || !read_piece(p, t->from + at, n))
        return false;
    if (t->at < t->size)
        share_tell(p);
    return share_connected(p);
}

static bool receive_some(struct net_pair *p)
{
    struct net_transfer *t = p->busy;
    uint64_t left;

    if (p->share->gone)
        return false;
    if (t == NULL)
        return begin(p);
    left = t->size - t->at;
    if (left > 0 &&
        (t->reads ? !read_piece(p, t->from + t->at, left < PAIR_PIECE ? left : PAIR_PIECE)
                  : !unstage_some(p)))
        return false;
    if (t->at == t->size)
        received(p);
    return share_connected(p);
}

bool pair_share_move(struct net_pair *p)
{
    if (p->first == NULL)
        return false;
    if (p->send)
        return send_some(p);
    return receive_some(p);
}

void pair_share_ended(struct net_pair *p, const struct msg_transfer *m)
{
    if (m->index < p->ended)
        return; /* its page has said so */
    if (p->first == NULL || m->index != p->first->index)
        pair_protocol_fail(p, "it has what was not sent");
    else
        sent(p, m->size);
}
