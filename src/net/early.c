/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that come before their receive. To some providers a connection is a queue: a message
 * that nobody waits for yet stops whatever comes behind it (net of libfabric 1.17 sets aside four
 * of at most 128 bytes). So ranks that share two communicators can wait for each other in a ring:
 * what each waits for stands behind what it will wait for later.
 *
 * Therefore a link that has something under way, or on which somebody waits for a greeting or has
 * waited for long in an operation between nodes (coll_net_expect), and to which nothing has come
 * for EARLY_NS, takes what stands at the heads of its connections: of one peer after the other,
 * with a receive for any message of that peer, which is behind all others and so gets only what
 * none of them wants. If there is nothing, it is cancelled in the next turn. What it took lies in
 * memory until its receive is posted.
 *
 * A peer that stops in the middle of a message keeps the receive that takes it. No other receive is
 * posted for this peer then, because the message may be the other one's; those for other peers are,
 * and other messages are taken with other buffers, so nobody else seems to be silent. A receive for
 * a message from anybody is posted, too; when the half taken one turns out to be its, it is
 * cancelled and gets that. */
#include <string.h>

#include "base/base.h"
#include "net/link_int.h"
#include "run/run.h"

#define EARLY_NS UINT64_C(10000000)
/* Of messages in memory: what four connectors may have under way. More are left where they are. */
#define EARLY_BYTES (4u * NET_OUTSTANDING * LINK_MESSAGE_MAX)

static uint32_t channel_of(uint64_t tag)
{
    return (uint32_t)(tag >> 16);
}

/* ---- takes ---- */

static void take_free(struct link_take *t)
{
    if (t == NULL)
        return;
    if (t->memory != NULL)
        fabric_unregister(t->memory);
    mem_free(t->buf);
    mem_free(t);
}

static struct link_take *take_make(struct net_link *l)
{
    struct link_take *t = l->early.spare;
    struct err ignored = {0};

    l->early.spare = NULL;
    if (t != NULL)
        return t;
    t = mem_zalloc(sizeof(*t));
    if (t != NULL)
        t->buf = mem_alloc(LINK_MESSAGE_MAX);
    if (t == NULL || t->buf == NULL ||
        fabric_register(l->f, t->buf, LINK_MESSAGE_MAX, &t->memory, &ignored) != NRT_SUCCESS) {
        take_free(t);
        return NULL;
    }
    return t;
}

/* It is under way no more: its buffer may be used again. */
static void take_put(struct net_link *l, struct link_take *t)
{
    if (l->early.spare != NULL)
        take_free(t);
    else
        l->early.spare = t;
}

static void take_unlink(struct net_link *l, struct link_take *t)
{
    struct link_take **at = &l->early.takes;

    if (*at == t)
        l->early.trying = false;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    t->next = NULL;
}

static void take_post(struct net_link *l, uint32_t peer)
{
    struct link_take *t = take_make(l);
    struct net_request *r = t != NULL ? link_own_new(l, peer) : NULL;
    int ignored;

    if (r == NULL) {
        if (t != NULL)
            take_put(l, t);
        return;
    }
    r->in_provider = fabric_recv(l->f, link_tag(peer, 0, 0), ~TAG_RANK, t->buf, LINK_MESSAGE_MAX,
                                 t->memory, r, &ignored) == FABRIC_OK;
    if (!r->in_provider) {
        link_request_free_if_over(l, r);
        take_put(l, t);
        return;
    }
    r->take = t;
    t->r = r;
    t->peer = peer;
    t->cancelled = t->moved = false;
    t->next = l->early.takes;
    l->early.takes = t;
    l->early.trying = true;
}

bool link_early_half(const struct net_link *l, uint32_t peer)
{
    for (const struct link_take *t = l->early.takes; t != NULL; t = t->next)
        if (t->peer == peer)
            return true;
    return false;
}

void link_early_moved(struct net_link *l, uint32_t peer)
{
    for (struct link_take *t = l->early.takes; t != NULL; t = t->next) {
        if (t->peer != peer)
            continue;
        if (l->early.trying && t == l->early.takes)
            t->moved = true; /* it would get the new endpoint's messages, too */
        else
            t->peer = NET_NO_RANK;
    }
}

void link_early_stop(struct net_link *l)
{
    l->early.trying = false;
    for (struct link_take *t = l->early.takes; t != NULL; t = t->next) {
        t->r->take = NULL;
        t->r = NULL;
        t->peer = NET_NO_RANK;
    }
}

void link_early_unregister(struct net_link *l)
{
    struct link_take *lists[] = {l->early.takes, l->early.spare};

    for (unsigned i = 0; i < 2; i++)
        for (struct link_take *t = lists[i]; t != NULL; t = t->next) {
            if (t->memory != NULL)
                fabric_unregister(t->memory);
            t->memory = NULL;
        }
}

/* ---- taking ---- */

/* A part of an operation; receives from anybody always are, so who waits for one says so. */
static bool something_under_way(const struct net_link *l)
{
    if (l->early.expected > 0)
        return true;
    for (const struct net_request *r = l->busy; r != NULL; r = r->next)
        if (r->owned && r->in_provider && r->peer != NET_NO_RANK)
            return true;
    return false;
}

/* What is held, and what the messages that are half taken may come to. */
static size_t held(const struct net_link *l)
{
    size_t bytes = l->early.bytes;

    for (const struct link_take *t = l->early.takes; t != NULL; t = t->next)
        bytes += LINK_MESSAGE_MAX;
    return bytes;
}

/* The next whose messages may stand at a head. False: all have been tried in vain. */
static bool peer_next(struct net_link *l, uint32_t *ret)
{
    struct link_early *e = &l->early;

    while (e->empty < l->world) {
        e->peer = (e->peer + 1) % l->world;
        e->empty++;
        if (l->peers[e->peer].known && !l->peers[e->peer].lost && !link_early_half(l, e->peer)) {
            *ret = e->peer;
            return true;
        }
    }
    return false;
}

/* The try is ended in the first turn after it. One that is still there in the second is in the
 * middle of a message. */
static bool try_ended(struct net_link *l)
{
    struct link_take *t = l->early.takes;

    if (l->early.trying && t->cancelled) {
        l->early.trying = false;
        if (t->moved)
            t->peer = NET_NO_RANK;
    }
    if (!l->early.trying)
        return true;
    fabric_cancel(l->f, t->r); /* without effect on one that has its message */
    t->cancelled = true;
    return false;
}

void link_early_turn(struct net_link *l)
{
    struct link_early *e = &l->early;
    uint64_t now;
    uint32_t peer;

    if (!try_ended(l))
        return;
    now = run_now_ns();
    if (e->quiet_ns == 0)
        e->quiet_ns = now;
    if (now - e->quiet_ns < EARLY_NS || l->leaves || held(l) >= EARLY_BYTES)
        return;
    if (something_under_way(l) && peer_next(l, &peer)) {
        take_post(l, peer);
    } else {
        e->quiet_ns = now;
        e->empty = 0;
    }
}

void link_early_end(struct net_link *l, uint32_t peer)
{
    struct link_early *e = &l->early;
    struct link_take *t = e->takes;

    if (!e->trying || (peer != NET_NO_RANK && t->peer != peer))
        return;
    fabric_cancel(l->f, t->r);
    t->cancelled = true;
    e->quiet_ns = 0; /* no other one, as long as this lasts */
    while (e->trying && e->takes == t && link_progress_locked(l, FABRIC_BATCH) > 0)
        ; /* other completions stand before its own */
}

/* ---- what was taken ---- */

/* Its communicator is closed: a receive stands there that forgets what comes for it. */
static bool nobody_reads(const struct net_link *l, uint64_t tag)
{
    for (const struct net_request *r = l->busy; r != NULL; r = r->next)
        if (r->forgets &&
            r->channel / NET_LINK_GROUP_CHANNELS == channel_of(tag) / NET_LINK_GROUP_CHANNELS)
            return true;
    return false;
}

/* An empty one takes memory, too. */
static size_t memory_of(const struct early_message *m)
{
    return sizeof(*m) + m->size;
}

/* A receive for a message of anybody that was posted while this one was half way: it has not seen
 * it, and may have to wait for ever. */
static void claim(struct net_link *l, uint64_t tag)
{
    for (struct net_request *r = l->busy; r != NULL; r = r->next)
        if (r->owned && r->in_provider && !r->send && !r->again && r->peer == NET_NO_RANK &&
            r->channel == channel_of(tag)) {
            r->again = true;
            fabric_cancel(l->f, r);
            return;
        }
}

void link_early_keep(struct net_link *l, const uint8_t *data, const struct fabric_completion *c)
{
    struct link_early *e = &l->early;
    size_t size = c->truncated ? 0 : c->size;
    struct early_message *m = mem_alloc(sizeof(*m) + size);

    if (m == NULL) {
        link_message_lose(l, c->tag);
        return;
    }
    *m = (struct early_message){.tag = c->tag, .size = size, .truncated = c->truncated};
    if (size > 0)
        memcpy(m->data, data, size);
    e->bytes += memory_of(m);
    if (e->last != NULL)
        e->last->next = m;
    else
        e->first = m;
    e->last = m;
    claim(l, c->tag);
}

bool link_early_over(struct net_link *l, struct net_request *r, const struct fabric_completion *c)
{
    struct link_take *t = r->take;
    bool taken = c->error == 0 || c->truncated;

    take_unlink(l, t);
    r->take = NULL;
    t->r = NULL;
    if (taken) {
        l->early.empty = 0;
        if (channel_of(c->tag) == OWN_CHANNEL)
            link_own_heard(l, c);
        else if (c->tag >> 48 < l->world && !nobody_reads(l, c->tag))
            link_early_keep(l, t->buf, c);
    }
    take_put(l, t);
    return taken;
}

/* ---- the queue ---- */

/* Takes the one behind `before`, or the first. */
static struct early_message *unlink_after(struct link_early *e, struct early_message *before)
{
    struct early_message **at = before != NULL ? &before->next : &e->first, *m = *at;

    *at = m->next;
    if (e->last == m)
        e->last = before;
    e->bytes -= memory_of(m);
    return m;
}

struct early_message *link_early_find(struct net_link *l, uint64_t tag, uint64_t ignore)
{
    struct early_message *before = NULL;

    for (struct early_message *m = l->early.first; m != NULL; before = m, m = m->next)
        if (((m->tag ^ tag) & ~ignore) == 0)
            return unlink_after(&l->early, before);
    return NULL;
}

void link_early_drop(struct net_link *l, uint32_t number)
{
    uint64_t any_channel = (uint64_t)(NET_LINK_GROUP_CHANNELS - 1) << 16;
    uint64_t tag = link_tag(0, number * NET_LINK_GROUP_CHANNELS, 0);
    struct early_message *m;

    while ((m = link_early_find(l, tag, TAG_RANK | TAG_STAMP | any_channel)) != NULL)
        mem_free(m);
}

void link_early_free(struct net_link *l)
{
    while (l->early.first != NULL)
        mem_free(unlink_after(&l->early, NULL));
    while (l->early.takes != NULL) {
        struct link_take *t = l->early.takes;

        l->early.takes = t->next;
        take_free(t);
    }
    take_free(l->early.spare);
    l->early.spare = NULL;
}
