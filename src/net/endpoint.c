/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoint of a link, and where those of its peers are. A message that is half way when its
 * peer stops keeps memory that its owner wants back; nothing but closing the endpoint makes the
 * provider let go of it. So the link stops: everything under way on it fails, and what was made for
 * it, communicators, can post nothing more. The next communicator gets a new endpoint. Its members
 * tell each other where theirs are, so all learn of the new one, and no old channel is used with
 * it: members that do not know yet that theirs has failed are told so when they post. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/link_int.h"
#include "run/run.h"

/* --- opening and closing ------------------------------------------------------------------------
 */

/* The local address from which the root is reached; a datagram socket tells without sending. */
static NRT_STATUS local_for(const char *root, struct addr *ret, struct err *err)
{
    struct addr to;
    int fd;
    NRT_STATUS st = addr_parse(root != NULL ? root : "127.0.0.1:1", &to, err);

    if (st != NRT_SUCCESS)
        return st;
    fd = fd_keep(socket(to.sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ret->len = sizeof(ret->sa);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to.sa, to.len) != 0 ||
        getsockname(fd, (struct sockaddr *)&ret->sa, &ret->len) != 0)
        st = err_set(err, NRT_INVALID,
                     "No interface found in the same subnet as remote address %s: %s", root,
                     strerror(errno));
    if (fd >= 0)
        close(fd);
    return st;
}

/* An address is what the provider says, and which endpoint of the link it is: a port may come
 * again. */
static NRT_STATUS address_take(struct net_link *l, struct fabric *f, struct err *err)
{
    uint8_t address[NET_ADDRESS_MAX];
    uint32_t number = l->endpoints + 1;
    size_t size = 0;
    NRT_STATUS st = fabric_address(f, address, &size, err);

    if (st == NRT_SUCCESS && size + sizeof(number) > sizeof(l->address))
        st = err_set(err, NRT_FAILURE, "provider %s has addresses of %zu bytes", fabric_provider(f),
                     size);
    if (st != NRT_SUCCESS)
        return st;
    memcpy(l->address, address, size);
    memcpy(l->address + size, &number, sizeof(number));
    l->address_size = size + sizeof(number);
    l->endpoints = number;
    return NRT_SUCCESS;
}

/* provider: only this one; NULL: the first that works. The link is as it was when this fails. */
static NRT_STATUS endpoint_make(struct net_link *l, const char *provider, struct fabric **ret,
                                struct err *err)
{
    char why_not[512];
    NRT_STATUS st = fabric_open(&l->local, provider, why_not, sizeof(why_not), ret, err);

    if (st != NRT_SUCCESS)
        return st;
    st = address_take(l, *ret, err);
    if (st != NRT_SUCCESS) {
        fabric_close(*ret);
        return st;
    }
    LOGI(l->log, LOG_NRT, "net_link", "rank %u uses libfabric provider %s%s%s", l->rank,
         fabric_provider(*ret), why_not[0] != '\0' ? "; not " : "", why_not);
    return NRT_SUCCESS;
}

NRT_STATUS link_endpoint_open(struct net_link *l, const char *root, const char *provider,
                              struct err *err)
{
    struct fabric *f = NULL;
    NRT_STATUS st = local_for(root, &l->local, err);

    if (st == NRT_SUCCESS)
        st = endpoint_make(l, provider, &f, err);
    if (st == NRT_SUCCESS)
        l->f = f;
    return st;
}

/* What was registered with the endpoint for the link itself. */
static void own_memory_free(struct net_link *l)
{
    if (l->forgotten_memory != NULL)
        fabric_unregister(l->forgotten_memory);
    l->forgotten_memory = NULL;
    link_early_unregister(l);
}

/* Its buffers, when no endpoint can write to them any more. */
static void own_buffers_free(struct net_link *l)
{
    mem_free(l->forgotten);
    l->forgotten = NULL;
    link_early_free(l);
}

void link_endpoint_close(struct net_link *l)
{
    own_memory_free(l);
    if (l->f != NULL)
        fabric_close(l->f);
    own_buffers_free(l);
    for (uint32_t i = 0; l->peers != NULL && i < l->world; i++)
        mem_free(l->peers[i].address);
}

size_t net_link_address(struct net_link *l, uint8_t buf[NET_ADDRESS_MAX])
{
    size_t size;

    pthread_mutex_lock(&l->lock);
    size = l->address_size;
    memcpy(buf, l->address, size);
    pthread_mutex_unlock(&l->lock);
    return size;
}

/* --- stopping, and beginning again --------------------------------------------------------------
 */

/* The link's own have no owner, and one of them is always under way. */
static bool dropped_under_way(const struct net_link *l)
{
    for (const struct net_request *r = l->busy; r != NULL; r = r->next) {
        if (!r->owned && !r->own && r->in_provider)
            return true;
    }
    return false;
}

static void endpoint_stop(struct net_link *l)
{
    struct net_request *next;

    fabric_stop(l->f);
    l->stopped = true;
    link_early_stop(l);
    for (struct net_request *r = l->busy; r != NULL; r = next) {
        next = r->next;
        r->in_provider = false;
        link_request_fail(l, r, NRT_NETWORK_PROXY_FAILURE, LINK_STOP_TEXT);
        link_request_free_if_over(l, r);
    }
}

void net_link_settle(struct net_link *l, uint64_t limit_ns)
{
    uint64_t end = run_now_ns() + limit_ns;

    pthread_mutex_lock(&l->lock);
    while (!l->stopped && dropped_under_way(l) && run_now_ns() < end)
        (void)link_progress_locked(l, FABRIC_BATCH);
    if (!l->stopped && dropped_under_way(l))
        endpoint_stop(l);
    pthread_mutex_unlock(&l->lock);
}

/* It is to be learned again, with the next communicator. */
static void peer_forget(struct net_link *l, uint32_t rank)
{
    struct link_peer *p = &l->peers[rank];

    mem_free(p->address);
    *p = (struct link_peer){.lost = p->lost, .why = p->why, .oldest = l->group_free};
}

/* All are. */
static void peers_forget(struct net_link *l)
{
    for (uint32_t i = 0; i < l->world; i++) {
        peer_forget(l, i);
    }
}

static NRT_STATUS endpoint_renew(struct net_link *l, struct err *err)
{
    struct fabric *fresh = NULL;
    NRT_STATUS st = endpoint_make(l, fabric_provider(l->f), &fresh, err);

    if (st != NRT_SUCCESS)
        return st;
    own_memory_free(l);
    own_buffers_free(l);
    fabric_retire(l->f);
    l->f = fresh;
    l->oldest = l->group_free;
    peers_forget(l);
    l->owes = false;
    l->stopped = false;
    if (l->server != NULL)
        link_own_receive(l);
    LOGI(l->log, LOG_NRT, "net_link",
         "rank %u has a new endpoint, its number %u: the last one was closed, because a peer "
         "stopped in the middle of a message",
         l->rank, l->endpoints);
    return NRT_SUCCESS;
}

NRT_STATUS net_link_renew(struct net_link *l, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    pthread_mutex_lock(&l->lock);
    if (l->stopped)
        st = endpoint_renew(l, err);
    if (st != NRT_SUCCESS)
        LOGE(l->log, LOG_NRT, "net_link", "rank %u: %s", l->rank, err->text);
    pthread_mutex_unlock(&l->lock);
    return st;
}

/* --- channels and peers -------------------------------------------------------------------------
 */

uint32_t net_link_group_free(struct net_link *l)
{
    uint32_t n;

    pthread_mutex_lock(&l->lock);
    n = l->group_free;
    pthread_mutex_unlock(&l->lock);
    return n;
}

NRT_STATUS net_link_group_hold(struct net_link *l, uint32_t number, struct err *err)
{
    NRT_STATUS st;

    pthread_mutex_lock(&l->lock);
    st = link_group_add(l, number, err);
    if (st == NRT_SUCCESS && number >= l->group_free)
        l->group_free = number + 1;
    pthread_mutex_unlock(&l->lock);
    return st;
}

bool net_link_group_serves(struct net_link *l, uint32_t number)
{
    bool serves;

    pthread_mutex_lock(&l->lock);
    serves = !l->stopped && number >= l->oldest && link_group_lacks(l, number) == NET_NO_RANK;
    pthread_mutex_unlock(&l->lock);
    return serves;
}

/* Fails what is under way with a peer whose endpoint is another one now: that knows nothing of it.
 * Both count from there on what communicators send that are still to be opened. */
static void peer_moved(struct net_link *l, uint32_t rank)
{
    for (struct net_request *r = l->busy; r != NULL; r = r->next) {
        if (r->done || r->own || r->peer != rank)
            continue;
        link_request_fail(l, r, NRT_NETWORK_PROXY_FAILURE, LINK_MOVED_TEXT);
        if (r->in_provider)
            fabric_cancel(l->f, r);
    }
    link_early_moved(l, rank);
    peer_forget(l, rank);
}

static NRT_STATUS peer_take(struct net_link *l, uint32_t rank, const uint8_t *address, size_t size,
                            struct err *err)
{
    struct link_peer *p = &l->peers[rank];
    uint8_t *copy = mem_alloc(size);
    uint64_t at;
    NRT_STATUS st;

    if (copy == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for the address of rank %u", rank);
    st = fabric_peer(l->f, address, size - sizeof(l->endpoints), &at, err);
    if (st != NRT_SUCCESS) {
        mem_free(copy);
        return st;
    }
    if (p->known)
        peer_moved(l, rank);
    memcpy(copy, address, size);
    p->address = copy;
    p->address_size = size;
    p->at = at;
    p->known = true;
    return NRT_SUCCESS;
}

NRT_STATUS net_link_peer(struct net_link *l, uint32_t rank, const void *address, size_t size,
                         struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    pthread_mutex_lock(&l->lock);
    if (rank >= l->world || size <= sizeof(l->endpoints) || size > NET_ADDRESS_MAX)
        st = err_set(err, NRT_INVALID, "rank %u of %u with an address of %zu bytes", rank, l->world,
                     size);
    else if (l->stopped)
        st = err_set(err, NRT_NETWORK_PROXY_FAILURE, "rank %u: %s", l->rank, LINK_STOP_TEXT);
    else if (l->peers[rank].address_size != size ||
             memcmp(l->peers[rank].address, address, size) != 0)
        st = peer_take(l, rank, address, size, err);
    pthread_mutex_unlock(&l->lock);
    return st;
}
