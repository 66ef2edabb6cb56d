/* SPDX-License-Identifier: Apache-2.0 */
/* A thread goes round its links and sleeps in between: shortly while any of them may have work,
 * else for long, until somebody posts.
 *
 * Who posts holds the link's lock, and then takes the server's; so the thread takes no link's lock
 * with its own held. That no post is slept through: the thread says that it is about to sleep
 * (`idle`), looks at all links once more, and only then sleeps. Whoever posts after that look finds
 * `idle` set. */
#include "net/servers.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "net/link_int.h"
#include "run/run.h"

/* The thread looks this often while there may be work, and seldom when there is none. */
#define BUSY_NS UINT64_C(1000000)
#define IDLE_NS UINT64_C(100000000)

struct net_server {
    struct net_server *next;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t go;   /* CLOCK_MONOTONIC */
    pthread_cond_t left; /* the thread has let go of a link */
    struct net_link **links;
    size_t cap;
    unsigned count;
    struct net_link *serving; /* NULL: none just now */
    bool stop, kicked;
    _Atomic bool idle;
};

struct net_servers {
    pthread_mutex_t lock; /* joining and leaving; before a server's */
    unsigned links;       /* of one thread, at most */
    struct net_server *first;
};

NRT_STATUS net_servers_create(unsigned links, struct net_servers **ret, struct err *err)
{
    struct net_servers *s = mem_zalloc(sizeof(*s));

    if (s == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for proxy threads");
    pthread_mutex_init(&s->lock, NULL);
    s->links = links;
    *ret = s;
    return NRT_SUCCESS;
}

void net_servers_destroy(struct net_servers *s)
{
    if (s == NULL)
        return;
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* ---- the thread ---- */

/* A turn over all links, with the lock held but while one is served; whether any may have work. */
static bool round_links(struct net_server *v)
{
    bool busy = false;

    for (unsigned i = 0; i < v->count && !v->stop; i++) {
        struct net_link *l = v->links[i];

        v->serving = l;
        pthread_mutex_unlock(&v->lock);
        busy |= link_serve(l);
        pthread_mutex_lock(&v->lock);
        v->serving = NULL;
        pthread_cond_broadcast(&v->left);
    }
    return busy;
}

static void sleep_for(struct net_server *v, uint64_t ns)
{
    uint64_t end = run_now_ns() + ns;
    struct timespec t = {.tv_sec = (time_t)(end / 1000000000u),
                         .tv_nsec = (long)(end % 1000000000u)};

    if (!v->kicked && !v->stop)
        (void)pthread_cond_timedwait(&v->go, &v->lock, &t);
    v->kicked = false;
}

static void *server_main(void *arg)
{
    struct net_server *v = arg;

    pthread_mutex_lock(&v->lock);
    while (!v->stop) {
        bool was_idle = atomic_load(&v->idle), busy = round_links(v);

        atomic_store(&v->idle, !busy);
        if (busy || was_idle)
            sleep_for(v, busy ? BUSY_NS : IDLE_NS);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

void server_wake(struct net_server *v)
{
    if (v == NULL || !atomic_load(&v->idle))
        return;
    pthread_mutex_lock(&v->lock);
    v->kicked = true;
    pthread_cond_signal(&v->go);
    pthread_mutex_unlock(&v->lock);
}

/* ---- its links ---- */

static void server_free(struct net_server *v)
{
    pthread_cond_destroy(&v->go);
    pthread_cond_destroy(&v->left);
    pthread_mutex_destroy(&v->lock);
    mem_free(v->links);
    mem_free(v);
}

/* A thread without links yet; under the set's lock. */
static NRT_STATUS server_start(struct net_servers *s, const struct run_cpus *cpus,
                               struct net_server **ret, struct err *err)
{
    struct net_server *v = mem_zalloc(sizeof(*v));
    pthread_condattr_t attr;
    NRT_STATUS st;

    if (v == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for a proxy thread");
    pthread_mutex_init(&v->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&v->go, &attr);
    pthread_condattr_destroy(&attr);
    pthread_cond_init(&v->left, NULL);
    st = run_thread_start(&v->thread, server_main, v, "nrt-net", err);
    if (st != NRT_SUCCESS) {
        server_free(v);
        return st;
    }
    run_thread_keep(v->thread, cpus);
    v->next = s->first;
    s->first = v;
    *ret = v;
    return NRT_SUCCESS;
}

/* One more link; under the set's lock. */
static NRT_STATUS server_take(struct net_server *v, struct net_link *l, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    pthread_mutex_lock(&v->lock);
    if (mem_grow((void **)&v->links, &v->cap, (size_t)v->count + 1, sizeof(v->links[0])))
        v->links[v->count++] = l;
    else
        st = err_set(err, NRT_RESOURCE, "out of memory for a proxy thread");
    v->kicked = true;
    pthread_cond_signal(&v->go);
    pthread_mutex_unlock(&v->lock);
    return st;
}

/* Its last link has left; under the set's lock. */
static void server_end(struct net_servers *s, struct net_server *v)
{
    struct net_server **at = &s->first;

    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    pthread_mutex_lock(&v->lock);
    v->stop = true;
    pthread_cond_signal(&v->go);
    pthread_mutex_unlock(&v->lock);
    pthread_join(v->thread, NULL);
    server_free(v);
}

NRT_STATUS server_join(struct net_servers *s, struct net_link *l, const struct run_cpus *cpus,
                       struct net_server **ret, struct err *err)
{
    struct net_server *v;
    NRT_STATUS st = NRT_SUCCESS;

    pthread_mutex_lock(&s->lock);
    for (v = s->first; v != NULL && v->count == s->links; v = v->next)
        ;
    if (v == NULL)
        st = server_start(s, cpus, &v, err);
    if (st == NRT_SUCCESS) {
        st = server_take(v, l, err);
        if (st == NRT_SUCCESS)
            *ret = v;
        else if (v->count == 0)
            server_end(s, v);
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

void server_leave(struct net_servers *s, struct net_server *v, struct net_link *l)
{
    unsigned i = 0;

    pthread_mutex_lock(&s->lock);
    pthread_mutex_lock(&v->lock);
    while (v->links[i] != l)
        i++;
    v->links[i] = v->links[--v->count];
    v->kicked = true; /* the round under way may miss the link that has moved */
    while (v->serving == l)
        pthread_cond_wait(&v->left, &v->lock);
    pthread_mutex_unlock(&v->lock);
    if (v->count == 0)
        server_end(s, v);
    pthread_mutex_unlock(&s->lock);
}
