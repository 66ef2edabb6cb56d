/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and progress, over what fabric.c gives. A request's memory stays with the link
 * until both the provider and its owner have done with it, so that a lost peer or a dropped proxy
 * leaves nothing that a late completion could hurt. */
#include "net/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "net/link_int.h"
#include "run/run.h"

#define LOOK_EVERY 64 /* turns of progress between two looks at the job */
#define JOB_BUDGET 4  /* its messages handled in one look */

/* After so many turns without a post the thread that serves a link takes it to be idle. */
#define IDLE_TURNS 200

/* --- requests ----------------------------------------------------------------------------------
 */

struct net_request *link_request_new(struct net_link *l)
{
    struct net_request *r = l->free;

    if (r != NULL)
        l->free = r->next;
    else
        r = mem_aligned(64, (sizeof(*r) + 63) & ~(size_t)63);
    if (r == NULL)
        return NULL;
    memset(r, 0, sizeof(*r));
    r->owned = true;
    r->next = l->busy;
    r->at = &l->busy;
    if (r->next != NULL)
        r->next->at = &r->next;
    l->busy = r;
    return r;
}

void link_request_free_if_over(struct net_link *l, struct net_request *r)
{
    if (r->owned || r->in_provider)
        return;
    *r->at = r->next;
    if (r->next != NULL)
        r->next->at = r->at;
    r->next = l->free;
    l->free = r;
}

void link_request_fail(struct net_link *l, struct net_request *r, NRT_STATUS st, const char *why)
{
    if (r->done)
        return;
    l->counters.errors++;
    if (r->peer == NET_NO_RANK)
        err_set(&r->failure, st, "%s", why);
    else
        err_set(&r->failure, st, "%s rank %u: %s", r->send ? "sending to" : "receiving from",
                r->peer, why);
    r->done = true;
}

/* --- the wire ----------------------------------------------------------------------------------
 */

/* A request of an owner is over. */
static void owned_over(struct net_link *l, struct net_request *r, const struct fabric_completion *c)
{
    if (c->truncated) {
        char why[96];

        snprintf(why, sizeof(why), "it sent more than the %u bytes that were posted", r->size);
        link_request_fail(l, r, NRT_NETWORK_PROXY_FAILURE, why);
    } else if (c->error != 0) {
        link_request_fail(l, r, NRT_NETWORK_PROXY_FAILURE, strerror(c->error));
    } else if (!r->send && (c->tag & TAG_STAMP) != r->stamp) {
        link_request_fail(l, r, NRT_NETWORK_PROXY_FAILURE, "it does another operation");
    } else if (!r->done) {
        if (!r->send)
            r->size = (uint32_t)c->size;
        r->done = true;
    }
}

/* A message that is here already is this receive's. */
static void early_give(struct net_link *l, struct net_request *r, struct early_message *early)
{
    struct fabric_completion c = {.size = early->size,
                                  .tag = early->tag,
                                  .truncated = early->truncated || early->size > r->size};

    if (!c.truncated && c.size > 0)
        memcpy(r->data, early->data, c.size);
    owned_over(l, r, &c);
    mem_free(early);
}

/* Of a message that is here already, or from the provider. */
static enum fabric_result receive(struct net_link *l, uint64_t tag, uint64_t ignore,
                                  const struct net_entry *e, struct net_request *r, int *ret_error)
{
    const struct fabric_memory *m = (const struct fabric_memory *)e->memory;
    struct early_message *early;

    early = link_early_find(l, tag, ignore);
    if (early == NULL && e->peer != NET_NO_RANK && link_early_half(l, e->peer))
        return FABRIC_AGAIN; /* the message that is half here may be this one's */
    if (early == NULL)
        return fabric_recv(l->f, tag, ignore, e->data, r->size, m, r, ret_error);
    early_give(l, r, early);
    return FABRIC_DONE;
}

/* A receive for a message of anybody, once more. Without room at the provider it waits for one of
 * the next turns. */
static void post_again(struct net_link *l, struct net_request *r)
{
    uint64_t tag = link_tag(0, r->channel, 0), ignore = TAG_RANK | TAG_STAMP;
    struct early_message *early = link_early_find(l, tag, ignore);
    enum fabric_result how;
    int error = 0;

    r->waits = false;
    if (early != NULL) {
        early_give(l, r, early);
        return;
    }
    how = fabric_recv(l->f, tag, ignore, r->data, r->size, r->memory, r, &error);
    r->in_provider = how == FABRIC_OK;
    if (how == FABRIC_FAILED)
        link_request_fail(l, r, NRT_NETWORK_PROXY_FAILURE, strerror(error));
    r->waits = how == FABRIC_AGAIN;
    l->waits |= r->waits;
}

static void waiting_post(struct net_link *l)
{
    l->waits = false;
    for (struct net_request *r = l->busy; r != NULL; r = r->next)
        if (r->waits && !r->done)
            post_again(l, r);
}

/* A receive for a message of anybody was cancelled, since one has come that it had not seen, and
 * gets that; or, where that is another one's meanwhile, is posted again. What it may have got in
 * the meantime of the same peer is younger. */
static void receive_again(struct net_link *l, struct net_request *r,
                          const struct fabric_completion *c)
{
    struct early_message *older = NULL;

    r->again = false;
    if (!r->owned || r->done)
        return;
    if (c->error == ECANCELED) {
        post_again(l, r);
        return;
    }
    if (c->error == 0 || c->truncated)
        older = link_early_find(l, c->tag, TAG_STAMP);
    if (older == NULL) {
        owned_over(l, r, c);
        return;
    }
    link_early_keep(l, r->data, c);
    early_give(l, r, older);
}

/* Why no message can be posted. */
static NRT_STATUS refusal(const struct net_link *l, bool send, uint32_t channel, uint32_t rank,
                          struct err *err)
{
    const struct link_peer *p = rank < l->world ? &l->peers[rank] : NULL;
    uint32_t group = channel / NET_LINK_GROUP_CHANNELS;
    bool anybody = rank == NET_NO_RANK && !send;
    const char *why = NULL;

    if (l->stopped)
        why = LINK_STOP_TEXT;
    else if (link_loss_find(l, send, channel, rank, err) != NRT_SUCCESS)
        return err->status;
    else if (group < l->oldest)
        why = LINK_STOP_TEXT;
    else if (!anybody && (p == NULL || !p->known))
        why = "its address is not known";
    else if (!anybody && group < p->oldest)
        why = LINK_MOVED_TEXT;
    if (why == NULL)
        return NRT_SUCCESS;
    return anybody ? err_set(err, NRT_NETWORK_PROXY_FAILURE, "%s", why)
                   : err_set(err, NRT_NETWORK_PROXY_FAILURE, "rank %u: %s", rank, why);
}

static enum net_posted post_locked(struct net_link *l, bool send, uint32_t channel,
                                   const struct net_entry *e, uint32_t size,
                                   struct net_request **ret, struct err *err)
{
    const struct fabric_memory *m = (const struct fabric_memory *)e->memory;
    struct link_peer *p = e->peer < l->world ? &l->peers[e->peer] : NULL;
    bool anybody = e->peer == NET_NO_RANK;
    struct net_request *r;
    enum fabric_result how;
    int error = 0;

    if (!send)
        link_early_end(l, e->peer);
    if (refusal(l, send, channel, e->peer, err) != NRT_SUCCESS)
        return NET_FAILED;
    r = link_request_new(l);
    if (r == NULL) {
        err_set(err, NRT_RESOURCE, "out of memory for a message with rank %u", e->peer);
        return NET_FAILED;
    }
    r->peer = e->peer;
    r->send = send;
    r->size = size;
    r->stamp = e->stamp;
    r->channel = channel;
    r->data = e->data;
    r->memory = m;
    how = send ? fabric_send(l->f, p->at, link_tag(l->rank, channel, e->stamp), e->data, size, m, r,
                             &error)
               : receive(l, link_tag(anybody ? 0 : e->peer, channel, 0),
                         anybody ? TAG_RANK | TAG_STAMP : TAG_STAMP, e, r, &error);
    r->in_provider = how == FABRIC_OK;
    r->done = how == FABRIC_DONE;
    if (p != NULL)
        p->talked = true;
    if (how == FABRIC_AGAIN || how == FABRIC_FAILED) {
        r->owned = false;
        link_request_free_if_over(l, r);
    }
    if (how == FABRIC_AGAIN) {
        l->counters.stalls++;
        return NET_AGAIN;
    }
    if (how == FABRIC_FAILED) {
        l->counters.errors++;
        err_set(err, NRT_NETWORK_PROXY_FAILURE, "%s rank %u: %s",
                send ? "sending to" : "receiving from", e->peer, strerror(error));
        return NET_FAILED;
    }
    if (send) {
        l->counters.sends++;
        p->sent++;
    } else {
        l->counters.recvs++;
    }
    server_wake(l->server);
    *ret = r;
    return NET_POSTED;
}

static enum net_posted wire_post(void *arg, bool send, uint32_t channel, const struct net_entry *e,
                                 uint32_t size, struct net_request **ret, struct err *err)
{
    struct net_link *l = arg;
    enum net_posted how;

    pthread_mutex_lock(&l->lock);
    how = post_locked(l, send, channel, e, size, ret, err);
    pthread_mutex_unlock(&l->lock);
    return how;
}

static NRT_STATUS wire_test(void *arg, struct net_request *r, bool *ret_done, uint32_t *ret_size,
                            struct err *err)
{
    struct net_link *l = arg;
    NRT_STATUS st = NRT_SUCCESS;

    pthread_mutex_lock(&l->lock);
    *ret_done = r->done;
    *ret_size = r->size;
    if (r->failure.status != NRT_SUCCESS)
        st = err_set(err, r->failure.status, "%s", r->failure.text);
    if (r->done) {
        if (st == NRT_SUCCESS && r->send)
            l->counters.bytes_sent += r->size;
        else if (st == NRT_SUCCESS)
            l->counters.bytes_received += r->size;
        r->owned = false;
        link_request_free_if_over(l, r);
    }
    pthread_mutex_unlock(&l->lock);
    return st;
}

static void wire_drop(void *arg, struct net_request *r)
{
    struct net_link *l = arg;

    pthread_mutex_lock(&l->lock);
    r->owned = false;
    if (r->in_provider)
        fabric_cancel(l->f, r);
    link_request_free_if_over(l, r);
    pthread_mutex_unlock(&l->lock);
}

struct net_wire net_link_wire(struct net_link *l)
{
    return (struct net_wire){.arg = l, .post = wire_post, .test = wire_test, .drop = wire_drop};
}

/* --- progress ----------------------------------------------------------------------------------
 */

static void received_count(struct net_link *l, const struct fabric_completion *c)
{
    uint32_t from = (uint32_t)(c->tag >> 48), channel = (uint32_t)(c->tag >> 16);

    if ((c->error == 0 || c->truncated) && from < l->world && channel != OWN_CHANNEL &&
        channel / NET_LINK_GROUP_CHANNELS >= l->peers[from].oldest)
        l->peers[from].received++;
}

/* Whether anything has moved: where nothing came, the end of a receive that takes is no news. */
static bool complete(struct net_link *l, const struct fabric_completion *c)
{
    struct net_request *r = c->context;
    bool news = true;

    if (r == NULL)
        return true;
    r->in_provider = false;
    if (!r->send)
        received_count(l, c);
    if (r->take != NULL) {
        news = link_early_over(l, r, c);
    } else {
        l->early.quiet_ns = 0;
        if (r->own)
            link_own_over(l, r, c);
        else if (r->again)
            receive_again(l, r, c);
        else
            owned_over(l, r, c);
    }
    link_request_free_if_over(l, r);
    return news;
}

/* The bootstrap's connections see a death at once, whatever the provider notices. A job that has
 * lost one rank has lost them all: who waits for a rank that lives waits for one that has stopped.
 */
static void look_at_job(struct net_link *l)
{
    struct err why = {0};
    bool joined;

    if (l->job == NULL || l->lost)
        return;
    l->since_look = 0;
    (void)net_job_progress(l->job, JOB_BUDGET);
    if (net_job_state(l->job, &joined, &why) == NRT_SUCCESS || net_job_left(l->job))
        return;
    link_lose_locked(l, NET_NO_RANK, why.text);
}

unsigned link_progress_locked(struct net_link *l, unsigned budget)
{
    struct fabric_completion c[FABRIC_BATCH];
    unsigned done = 0;
    int n;

    if (l->stopped)
        return 0;
    do {
        n = fabric_poll(l->f, c);
        l->counters.polls++;
        for (int i = 0; i < n; i++)
            done += complete(l, &c[i]);
    } while (n == FABRIC_BATCH && done < budget);
    if (done == 0) {
        l->counters.idle_polls++;
        link_early_turn(l);
    }
    if (l->waits)
        waiting_post(l);
    if (l->owes)
        link_answers_give(l);
    if (++l->since_look >= LOOK_EVERY)
        look_at_job(l);
    return done;
}

unsigned net_link_progress(struct net_link *l, unsigned budget)
{
    unsigned done;

    if (pthread_mutex_trylock(&l->lock) != 0)
        return 0;
    done = link_progress_locked(l, budget);
    pthread_mutex_unlock(&l->lock);
    return done;
}

void net_link_look(struct net_link *l)
{
    pthread_mutex_lock(&l->lock);
    look_at_job(l);
    pthread_mutex_unlock(&l->lock);
}

void net_link_expect(struct net_link *l, bool waits)
{
    pthread_mutex_lock(&l->lock);
    if (waits)
        l->early.expected++;
    else
        l->early.expected--;
    pthread_mutex_unlock(&l->lock);
}

bool net_link_heard(struct net_link *l, uint32_t rank)
{
    const struct link_peer *p = &l->peers[rank];
    bool heard;

    pthread_mutex_lock(&l->lock);
    heard = p->received > 0 || p->lost || l->stopped;
    pthread_mutex_unlock(&l->lock);
    return heard;
}

/* --- memory, job and counters
 * ----------------------------------------------------------------------
 */

NRT_STATUS net_memory_register(struct net_link *l, void *p, size_t size, struct net_memory **ret,
                               struct err *err)
{
    struct fabric_memory *m;
    NRT_STATUS st;

    pthread_mutex_lock(&l->lock);
    st = fabric_register(l->f, p, size, &m, err);
    pthread_mutex_unlock(&l->lock);
    *ret = (struct net_memory *)m;
    return st;
}

void net_memory_release(struct net_link *l, struct net_memory *m)
{
    if (m == NULL)
        return;
    pthread_mutex_lock(&l->lock);
    fabric_unregister((struct fabric_memory *)m);
    pthread_mutex_unlock(&l->lock);
}

void net_link_watch(struct net_link *l, struct net_job *job)
{
    pthread_mutex_lock(&l->lock);
    l->job = job;
    pthread_mutex_unlock(&l->lock);
}

const char *net_link_provider(const struct net_link *l)
{
    return fabric_provider(l->f);
}

void net_link_count(struct net_link *l, struct net_link_counters *ret)
{
    pthread_mutex_lock(&l->lock);
    *ret = l->counters;
    pthread_mutex_unlock(&l->lock);
}

/* --- being served --------------------------------------------------------------------------
 */

/* A program that computes has messages under way, too, and rank 0's has a job to answer for. */
bool link_serve(struct net_link *l)
{
    uint64_t posts;
    bool busy;

    /* Who has the lock makes progress, perhaps for long, or posts, registers memory or counts: the
     * thread's other links do not wait for that. True: it looks here again in a millisecond. */
    if (pthread_mutex_trylock(&l->lock) != 0)
        return true;
    posts = l->counters.sends + l->counters.recvs;
    l->idle_turns = posts != l->served_posts ? 0 : l->idle_turns + 1;
    l->served_posts = posts;
    if (l->counters.polls == l->served_polls) {
        if (link_progress_locked(l, FABRIC_BATCH) > 0)
            l->idle_turns = 0;
        look_at_job(l);
    }
    l->served_polls = l->counters.polls;
    busy = l->idle_turns < IDLE_TURNS;
    pthread_mutex_unlock(&l->lock);
    return busy;
}

static NRT_STATUS serve_begin(struct net_link *l, const struct net_link_config *cfg,
                              struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    l->servers = cfg->servers;
    if (l->servers == NULL)
        st = net_servers_create(1, &l->own_servers, err);
    if (l->servers == NULL)
        l->servers = l->own_servers;
    return st == NRT_SUCCESS ? server_join(l->servers, l, &cfg->cpus, &l->server, err) : st;
}

static void serve_end(struct net_link *l)
{
    if (l->server != NULL)
        server_leave(l->servers, l->server, l);
    l->server = NULL;
    net_servers_destroy(l->own_servers);
}

/* --- making and ending -------------------------------------------------------------------------
 */

NRT_STATUS net_link_open(const struct net_link_config *cfg, struct net_link **ret, struct err *err)
{
    struct net_link *l = mem_zalloc(sizeof(*l));
    struct err why = {0};
    NRT_STATUS st;

    *ret = NULL;
    if (l == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for a link");
    pthread_mutex_init(&l->lock, NULL);
    l->log = cfg->log;
    l->rank = cfg->rank;
    l->world = cfg->world;
    l->farewell_ns = cfg->farewell_ns != 0 ? cfg->farewell_ns : FAREWELL_NS;
    l->coming.lacks = NET_NO_RANK;
    l->peers = mem_calloc(cfg->world, sizeof(*l->peers));
    if (cfg->world > NET_WORLD_MAX)
        st = err_set(&why, NRT_INVALID, "a world of %u ranks", cfg->world);
    else if (l->peers == NULL)
        st = err_set(&why, NRT_RESOURCE, "out of memory for %u peers", cfg->world);
    else
        st = link_endpoint_open(l, cfg->root, cfg->provider, &why);
    if (st == NRT_SUCCESS && !cfg->by_hand) {
        link_own_receive(l);
        st = serve_begin(l, cfg, &why);
    }
    if (st != NRT_SUCCESS) {
        LOGE(cfg->log, LOG_NRT, "net_link", "rank %u: %s", cfg->rank, why.text);
        net_link_close(l);
        return err_set(err, st, "rank %u: %s", cfg->rank, why.text);
    }
    *ret = l;
    return NRT_SUCCESS;
}

static void requests_free(struct net_request *r)
{
    while (r != NULL) {
        struct net_request *next = r->next;

        mem_free(r);
        r = next;
    }
}

void net_link_give_up(struct net_link *l)
{
    pthread_mutex_lock(&l->lock);
    l->hurry = true;
    pthread_mutex_unlock(&l->lock);
}

void net_link_close(struct net_link *l)
{
    if (l == NULL)
        return;
    if (l->server != NULL)
        link_farewell(l);
    serve_end(l);
    link_endpoint_close(l); /* first: after that nothing completes any more */
    requests_free(l->busy);
    requests_free(l->free);
    link_losses_free(l);
    mem_free(l->peers);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}
