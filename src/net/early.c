/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that come before their receive. To some providers a connection is a queue: a message
 * that nobody waits for yet stops whatever comes behind it (net of libfabric 1.17 sets aside four
 * of at most 128 bytes). So ranks that share two communicators can wait for each other in a ring:
 * what each waits for stands behind what it will wait for later.
 *
 * Therefore a link that has something under way, or on which somebody waits for a greeting or has
 * waited for long in an operation between nodes (coll_net_expect), and to which nothing has come
 * for EARLY_NS, takes what stands at the head: with a receive for any message, which is behind all
 * others and so gets only what none of them wants. If there is nothing, it is cancelled in the next
 * turn. What it took lies in memory until its receive is posted; as long as it is in the middle of
 * a message no other receive is posted, because that message may be the other one's. */
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

/* ---- taking ---- */

static bool buffer_make(struct net_link *l)
{
    struct link_early *e = &l->early;
    struct err ignored = {0};

    if (e->buf != NULL)
        return true;
    e->buf = mem_alloc(LINK_MESSAGE_MAX);
    if (e->buf != NULL &&
        fabric_register(l->f, e->buf, LINK_MESSAGE_MAX, &e->memory, &ignored) != NRT_SUCCESS) {
        mem_free(e->buf);
        e->buf = NULL;
    }
    return e->buf != NULL;
}

static void take_post(struct net_link *l)
{
    struct link_early *e = &l->early;
    struct net_request *r = buffer_make(l) ? link_own_new(l, NET_NO_RANK) : NULL;
    int ignored;

    if (r == NULL)
        return;
    r->takes = true;
    r->in_provider = fabric_recv(l->f, 0, UINT64_MAX, e->buf, LINK_MESSAGE_MAX, e->memory, r,
                                 &ignored) == FABRIC_OK;
    if (r->in_provider)
        e->take = r;
    link_request_free_if_over(l, r);
}

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

void link_early_turn(struct net_link *l)
{
    struct link_early *e = &l->early;
    uint64_t now;

    if (e->take != NULL) {
        fabric_cancel(l->f, e->take); /* without effect on one that has its message */
        return;
    }
    now = run_now_ns();
    if (e->quiet_ns == 0)
        e->quiet_ns = now;
    if (now - e->quiet_ns < EARLY_NS || l->leaves || e->bytes >= EARLY_BYTES)
        return;
    if (something_under_way(l))
        take_post(l);
    else
        e->quiet_ns = now;
}

void link_early_end(struct net_link *l)
{
    if (l->early.take == NULL)
        return;
    fabric_cancel(l->f, l->early.take);
    while (l->early.take != NULL && link_progress_locked(l, FABRIC_BATCH) > 0)
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

static void keep(struct net_link *l, const struct fabric_completion *c)
{
    struct link_early *e = &l->early;
    size_t size = c->truncated ? 0 : c->size;
    struct early_message *m = mem_alloc(sizeof(*m) + size);

    if (m == NULL) {
        link_lose_locked(l, (uint32_t)(c->tag >> 48),
                         "out of memory for a message that came before its receive");
        return;
    }
    *m = (struct early_message){.tag = c->tag, .size = size, .truncated = c->truncated};
    if (size > 0)
        memcpy(m->data, e->buf, size);
    e->bytes += memory_of(m);
    if (e->last != NULL)
        e->last->next = m;
    else
        e->first = m;
    e->last = m;
}

bool link_early_over(struct net_link *l, const struct fabric_completion *c)
{
    struct link_early *e = &l->early;

    e->take = NULL;
    if (c->error != 0 && !c->truncated) {
        e->quiet_ns = 0; /* there was nothing */
        return false;
    }
    if (channel_of(c->tag) == OWN_CHANNEL)
        link_own_heard(l, c);
    else if (c->tag >> 48 < l->world && !nobody_reads(l, c->tag))
        keep(l, c);
    return true;
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
    mem_free(l->early.buf);
    l->early.buf = NULL;
}
