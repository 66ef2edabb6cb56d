/* SPDX-License-Identifier: Apache-2.0 */
/* Loads of ranks that all live in this process. None of them waits for the others, so that one
 * thread can load them one after the other, as a program does that drives all cores of a node: who
 * comes last meets the others on behalf of all, with a thread for each rank, and an execution of a
 * model waits until that has happened, or a rank has failed to load it, which may try again.
 *
 * Ranks come in the order of their loads: the n-th load of each core for the same ranks is the same
 * model. One group meets at a time, since the exchanges of a rank know no other order. */
#include <string.h>
#include <time.h>

#include "model/model_int.h"

#define NS_PER_S 1000000000u

/* The loads of one model: one of each rank. */
struct group {
    pthread_mutex_t gate; /* held until all hands are there */
    bool off;             /* they are not: nobody meets */
    struct err why;       /* then */
    uint32_t count;
    struct late *rank[];
};
struct hand {
    struct group *g;
    struct late *l;
    pthread_t thread;
};

void late_init(struct late_loads *ll)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&ll->lock, NULL);
    pthread_mutex_init(&ll->meeting, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&ll->moved, &attr);
    pthread_condattr_destroy(&attr);
}

void late_fini(struct late_loads *ll)
{
    while (ll->first) {
        struct late *l = ll->first; /* a failure: models are gone */

        ll->first = l->next;
        mem_free(l);
    }
    pthread_cond_destroy(&ll->moved);
    pthread_mutex_destroy(&ll->meeting);
    pthread_mutex_destroy(&ll->lock);
}

/* ---- who is there ---- */

/* The first that came as rank `rank` of the model of like, or (failed) could not. NULL: nobody has
 * yet. Locked. */
static struct late *come_as(const struct late_loads *ll, const struct late *like, uint32_t rank,
                            bool failed)
{
    struct late *l = ll->first;

    while (l && !(l->rank == rank && l->base == like->base && l->world == like->world &&
                  failed == !l->model))
        l = l->next;
    return l;
}

static void list_add(struct late_loads *ll, struct late *l)
{
    struct late **at = &ll->first;

    while (*at)
        at = &(*at)->next;
    l->next = NULL;
    *at = l;
}

static void list_remove(struct late_loads *ll, struct late *l)
{
    struct late **at = &ll->first;

    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
}

/* The rank tries again. Locked. */
static void failure_forget(struct late_loads *ll, const struct late *who)
{
    struct late *l = come_as(ll, who, who->rank, true);

    if (l)
        list_remove(ll, l);
    mem_free(l);
}

static enum late_state state_of(const struct late *l)
{
    return atomic_load_explicit(&l->state, memory_order_acquire);
}

static void state_set(struct late *l, enum late_state s) /* locked */
{
    atomic_store_explicit(&l->state, s, memory_order_release);
}

/* Take one load of each rank, if all are there. Locked. */
static bool group_take(struct late_loads *ll, const struct late *like, struct group *g)
{
    for (g->count = 0; g->count < like->world; g->count++) {
        g->rank[g->count] = come_as(ll, like, g->count, false);
        if (!g->rank[g->count])
            return false;
    }
    for (uint32_t i = 0; i < g->count; i++) {
        list_remove(ll, g->rank[i]);
        state_set(g->rank[i], LATE_MEETS);
    }
    return true;
}

/* ---- meeting ---- */

static void *hand_main(void *arg)
{
    struct hand *hand = arg;

    pthread_mutex_lock(&hand->g->gate);
    pthread_mutex_unlock(&hand->g->gate);
    if (!hand->g->off)
        (void)model_meet(hand->l->model, &hand->l->err);
    return NULL;
}

/* All of them at once; own: the caller's. */
static void group_meet(struct group *g, struct hand *hands, struct late *own)
{
    uint32_t started = 0;

    pthread_mutex_init(&g->gate, NULL);
    pthread_mutex_lock(&g->gate);
    for (uint32_t i = 0; i < g->count && !g->off; i++) {
        struct hand *hand = &hands[started];

        if (g->rank[i] == own)
            continue;
        *hand = (struct hand){.g = g, .l = g->rank[i]};
        if (run_thread_start(&hand->thread, hand_main, hand, "nrt-load", &g->why) == NRT_SUCCESS)
            started++;
        else
            g->off = true;
    }
    pthread_mutex_unlock(&g->gate);
    if (!g->off)
        (void)model_meet(own->model, &own->err);
    for (uint32_t i = 0; i < started; i++)
        pthread_join(hands[i].thread, NULL);
    for (uint32_t i = 0; i < g->count && g->off; i++)
        g->rank[i]->err = g->why;
    pthread_mutex_destroy(&g->gate);
}

/* Where one has failed all have, also those that it could not tell. */
static void failure_spread(struct group *g)
{
    const struct late *failed = NULL;

    for (uint32_t i = 0; i < g->count; i++) {
        const struct late *l = g->rank[i];

        if (l->err.status && (!failed || failed->err.status == NRT_FAILURE))
            failed = l; /* NRT_FAILURE: it may only have heard of another */
    }
    for (uint32_t i = 0; i < g->count && failed; i++)
        (void)err_set(&g->rank[i]->err, NRT_FAILURE, "rank %u cannot load the model: %s",
                      failed->base + failed->rank, failed->err.text);
}

static void group_end(struct late_loads *ll, struct group *g, const struct late *own)
{
    pthread_mutex_lock(&ll->lock);
    for (uint32_t i = 0; i < g->count; i++) {
        struct late *l = g->rank[i];

        if (l != own && l->err.status)
            model_log_failed(l->model, &l->err);
        state_set(l, l->err.status ? LATE_FAILED : LATE_NOT);
    }
    pthread_cond_broadcast(&ll->moved);
    pthread_mutex_unlock(&ll->lock);
}

void late_refuse(struct model_host *h, const struct late *who, const char *why)
{
    struct late *l = mem_alloc(sizeof(*l));

    pthread_mutex_lock(&h->late.lock);
    failure_forget(&h->late, who);
    if (l) { /* else the others only find that it does not come */
        *l = *who;
        l->model = NULL;
        (void)err_set(&l->err, NRT_FAILURE, "rank %u cannot load the model: %s", l->base + l->rank,
                      why);
        list_add(&h->late, l);
    }
    pthread_cond_broadcast(&h->late.moved);
    pthread_mutex_unlock(&h->late.lock);
}

NRT_STATUS late_come(struct model *m, struct err *err)
{
    struct late_loads *ll = &m->h->late;
    struct late *l = &m->late;
    struct hand *hands = mem_calloc(l->world, sizeof(*hands));
    struct group *g = mem_zalloc(sizeof(*g) + l->world * sizeof(*g->rank));
    NRT_STATUS status = NRT_SUCCESS;
    bool all = false;

    if (!g || !hands) {
        status = err_set(err, NRT_RESOURCE, "no host memory to meet %u ranks", l->world);
        late_refuse(m->h, l, err->text);
        goto out_free;
    }
    pthread_mutex_lock(&ll->meeting);
    pthread_mutex_lock(&ll->lock);
    failure_forget(ll, l);
    state_set(l, LATE_WAITS);
    list_add(ll, l);
    all = group_take(ll, l, g);
    pthread_mutex_unlock(&ll->lock);
    if (all) {
        group_meet(g, hands, l);
        failure_spread(g);
        if (l->err.status)
            status = err_set(err, l->err.status, "%s", l->err.text);
        group_end(ll, g, l);
    }
    pthread_mutex_unlock(&ll->meeting);

out_free:
    mem_free(g);
    mem_free(hands);
    return status;
}

/* ---- models that have not met ---- */

static void deadline_in(uint64_t ns, struct timespec *ret)
{
    clock_gettime(CLOCK_MONOTONIC, ret);
    ret->tv_sec += (time_t)(ns / NS_PER_S);
    ret->tv_nsec += (long)(ns % NS_PER_S);
    if (ret->tv_nsec >= (long)NS_PER_S) {
        ret->tv_nsec -= (long)NS_PER_S;
        ret->tv_sec++;
    }
}

/* The load's, or that of a rank that has not come. NULL: there is none. Locked. */
static const struct err *failure_of(const struct late_loads *ll, const struct model *m)
{
    const struct late *l = &m->late;

    if (state_of(l) != LATE_WAITS)
        return state_of(l) == LATE_FAILED ? &l->err : NULL;
    for (uint32_t i = 0; i < l->world; i++) {
        const struct late *failed = come_as(ll, l, i, false) ? NULL : come_as(ll, l, i, true);

        if (failed)
            return &failed->err;
    }
    return NULL;
}

static NRT_STATUS missing(const struct late_loads *ll, const struct model *m, struct err *err)
{
    const struct late *l = &m->late;

    for (uint32_t i = 0; i < l->world; i++)
        if (!come_as(ll, l, i, false))
            return err_set(err, NRT_TIMEOUT,
                           "rank %u of %u has not loaded model %s, which nrt_load_collectives of "
                           "this process is to do",
                           l->base + i, l->world, m->neff->name);
    return err_set(err, NRT_TIMEOUT, "the %u ranks of model %s are still meeting", l->world,
                   m->neff->name);
}

NRT_STATUS late_wait(struct model *m, struct err *err)
{
    struct late_loads *ll = &m->h->late;
    NRT_STATUS status = NRT_SUCCESS;
    const struct err *failure = NULL;
    struct timespec end;
    int rc = 0;

    deadline_in(m->env.timeout_ns, &end);
    pthread_mutex_lock(&ll->lock);
    while (rc == 0 && !(failure = failure_of(ll, m))) {
        if (state_of(&m->late) != LATE_WAITS && state_of(&m->late) != LATE_MEETS)
            break;
        ll->sleepers++;
        rc = m->env.timeout_ns > 0 ? pthread_cond_timedwait(&ll->moved, &ll->lock, &end)
                                   : pthread_cond_wait(&ll->moved, &ll->lock);
        ll->sleepers--;
    }
    if (failure)
        status = err_set(err, failure->status, "%s", failure->text);
    else if (state_of(&m->late) != LATE_NOT)
        status = missing(ll, m, err);
    pthread_mutex_unlock(&ll->lock);
    if (status != NRT_SUCCESS)
        LOGE(m->h->cfg.log, LOG_NMGR, "dlr_infer", "%s", err->text);
    return status;
}

void late_forget(struct model *m)
{
    struct late_loads *ll = &m->h->late;

    pthread_mutex_lock(&ll->lock);
    while (state_of(&m->late) == LATE_MEETS)
        pthread_cond_wait(&ll->moved, &ll->lock);
    if (state_of(&m->late) == LATE_WAITS)
        list_remove(ll, &m->late);
    pthread_mutex_unlock(&ll->lock);
}

bool late_may(struct model_host *h, const struct model_where *where, uint32_t vnc, struct late *ret)
{
    uint32_t id, count;

    if (where->world <= 1 || !h->cfg.world || !coll_world_within(h->cfg.world, vnc, where->world))
        return false;
    if (!coll_world_joined(h->cfg.world, vnc, &id, &count)) {
        id = where->rank;
        count = where->world;
    }
    if (id < where->rank || id - where->rank + (uint64_t)where->world > count)
        return false; /* refused when it meets, which it does alone */
    ret->vnc = vnc;
    ret->rank = where->rank;
    ret->world = where->world;
    ret->base = id - where->rank;
    return true;
}
