/* SPDX-License-Identifier: Apache-2.0 */
/* What is lost, and why. A peer is lost for a reason of its own, which stays; a job takes all that
 * are left. A message that this rank has lost for want of memory leaves a hole in what its
 * communicator receives: that is broken here from then on. Its sender is not lost, so it can be
 * told, and other communicators, those that are opened later too, lack nothing. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "net/link_int.h"

#define HOLE_TEXT_MAX 128

/* ---- peers ---- */

/* p: NULL: of anybody. */
static const char *loss_text(const struct net_link *l, const struct link_peer *p)
{
    if (p != NULL && p->why != NULL)
        return p->why;
    return l->lost ? l->why : "it is lost"; /* where there was no memory for more */
}

static void peer_lose(struct net_link *l, struct link_peer *p, const char *why)
{
    if (p->lost)
        return; /* the first reason is the one */
    p->lost = true;
    if (!l->lost)
        p->why = mem_strdup(why);
}

static void under_way_fail(struct net_link *l, struct net_request *r, NRT_STATUS st,
                           const char *why)
{
    bool cancels = !r->done && r->in_provider;

    link_request_fail(l, r, st, why);
    if (cancels)
        fabric_cancel(l->f, r);
}

void link_lose_locked(struct net_link *l, uint32_t rank, const char *why)
{
    if (rank == NET_NO_RANK && !l->lost) {
        l->lost = true;
        snprintf(l->why, sizeof(l->why), "%s", why);
    }
    for (uint32_t i = 0; i < l->world; i++)
        if (rank == NET_NO_RANK || i == rank)
            peer_lose(l, &l->peers[i], why);
    for (struct net_request *r = l->busy; r != NULL; r = r->next) {
        const struct link_peer *p = r->peer != NET_NO_RANK ? &l->peers[r->peer] : NULL;

        if (p != NULL ? p->lost : l->lost)
            under_way_fail(l, r, NRT_NETWORK_PROXY_FAILURE, loss_text(l, p));
    }
}

void net_link_lose(struct net_link *l, uint32_t rank, const char *why)
{
    pthread_mutex_lock(&l->lock);
    if (rank < l->world || rank == NET_NO_RANK)
        link_lose_locked(l, rank, why);
    pthread_mutex_unlock(&l->lock);
}

/* ---- communicators ---- */

/* NULL: it is not held, and is not the next one. */
static struct link_group *group_find(struct net_link *l, uint32_t number)
{
    struct link_group *g = l->groups;

    while (g != NULL && g->number != number)
        g = g->next;
    if (g == NULL && number >= l->group_free)
        g = &l->coming;
    return g;
}

NRT_STATUS link_group_add(struct net_link *l, uint32_t number, struct err *err)
{
    struct link_group *g = mem_alloc(sizeof(*g));

    if (g == NULL)
        return err_set(err, NRT_RESOURCE, "no memory for a communicator");
    *g = (struct link_group){.next = l->groups, .number = number, .lacks = NET_NO_RANK};
    if (l->coming.number == number)
        g->lacks = l->coming.lacks;
    l->coming.lacks = NET_NO_RANK;
    l->groups = g;
    return NRT_SUCCESS;
}

void link_group_remove(struct net_link *l, uint32_t number)
{
    struct link_group **at = &l->groups, *g;

    while (*at != NULL && (*at)->number != number)
        at = &(*at)->next;
    g = *at;
    if (g == NULL)
        return;
    *at = g->next;
    mem_free(g);
}

static void hole_text(const struct net_link *l, uint32_t from, char text[HOLE_TEXT_MAX])
{
    snprintf(text, HOLE_TEXT_MAX,
             "rank %u has no memory for a message of rank %u that came before its receive", l->rank,
             from);
}

void link_message_lose(struct net_link *l, uint64_t tag)
{
    uint32_t from = (uint32_t)(tag >> 48);
    uint32_t number = (uint32_t)(tag >> 16) / NET_LINK_GROUP_CHANNELS;
    struct link_group *g = from < l->world ? group_find(l, number) : NULL;
    char why[HOLE_TEXT_MAX];

    if (g == NULL)
        return;
    if (g == &l->coming && g->number != number)
        *g = (struct link_group){.number = number, .lacks = NET_NO_RANK};
    if (g->lacks == NET_NO_RANK)
        g->lacks = from;
    l->holes = true;
    hole_text(l, g->lacks, why);
    for (struct net_request *r = l->busy; r != NULL; r = r->next)
        if (r->owned && !r->send && r->channel / NET_LINK_GROUP_CHANNELS == number)
            under_way_fail(l, r, NRT_RESOURCE, why);
}

/* ---- what is posted ---- */

uint32_t link_group_lacks(const struct net_link *l, uint32_t number)
{
    for (const struct link_group *g = l->groups; l->holes && g != NULL; g = g->next)
        if (g->number == number)
            return g->lacks;
    return l->coming.number == number ? l->coming.lacks : NET_NO_RANK;
}

NRT_STATUS link_loss_find(const struct net_link *l, bool send, uint32_t channel, uint32_t rank,
                          struct err *err)
{
    const struct link_peer *p = rank < l->world ? &l->peers[rank] : NULL;
    uint32_t lacks = send ? NET_NO_RANK : link_group_lacks(l, channel / NET_LINK_GROUP_CHANNELS);
    char why[HOLE_TEXT_MAX];

    if (p != NULL && p->lost)
        return err_set(err, NRT_NETWORK_PROXY_FAILURE, "rank %u: %s", rank, loss_text(l, p));
    if (rank == NET_NO_RANK && l->lost)
        return err_set(err, NRT_NETWORK_PROXY_FAILURE, "%s", l->why);
    if (lacks == NET_NO_RANK)
        return NRT_SUCCESS;
    hole_text(l, lacks, why);
    return err_set(err, NRT_RESOURCE, "%s", why);
}

void link_losses_free(struct net_link *l)
{
    while (l->groups != NULL)
        link_group_remove(l, l->groups->number);
    for (uint32_t i = 0; l->peers != NULL && i < l->world; i++)
        mem_free(l->peers[i].why);
}
