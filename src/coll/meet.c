/* SPDX-License-Identifier: Apache-2.0 */
/* The ranks of a world meet: in this process, or over a job. In the process of rank 0 a thread
 * keeps the job's root going: the other ranks get their answers while ours compute. */
#include "coll/meet.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "coll/meet_int.h"
#include "net/job.h"
#include "run/run.h"

#define ROOT_LOOK_MS 200 /* the root's timers: who is missing, who is silent */

/* A list of ranks that has exchanged something. */
struct meet_group {
    struct meet_group *next;
    struct net_group *net;
    uint32_t n, tag;
    uint32_t *ranks; /* NULL: the world */
    pthread_mutex_t lock;
};

struct coll_meet {
    uint32_t rank, world;
    struct coll_place alone;   /* world of 1 */
    struct house_world *house; /* ranks of this process */
    struct net_job *job;       /* or of several */
    struct coll_place *places; /* [world], of the job's blobs */
    pthread_mutex_t lock;      /* groups */
    struct meet_group *groups;
    pthread_t root;
    bool root_runs;
    int stop_fd; /* readable: the root's thread ends */
    struct log *log;
};

/* ---- the root's thread ---- */

static void *root_main(void *arg)
{
    struct coll_meet *m = arg;
    struct pollfd p[2] = {{.fd = m->stop_fd, .events = POLLIN},
                          {.fd = net_job_fd(m->job), .events = POLLIN}};

    while (!(p[0].revents & POLLIN)) {
        (void)net_job_progress(m->job, 64);
        if (poll(p, 2, ROOT_LOOK_MS) < 0)
            p[0].revents = 0;
    }
    return NULL;
}

static NRT_STATUS root_start(struct coll_meet *m, struct err *err)
{
    NRT_STATUS st;

    m->stop_fd = fd_keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (m->stop_fd < 0)
        return err_set(err, NRT_RESOURCE, "no descriptor for the root of the job");
    st = run_thread_start(&m->root, root_main, m, "nrt-root", err);
    m->root_runs = !st;
    return st;
}

static void root_stop(struct coll_meet *m)
{
    const uint64_t one = 1;

    if (m->root_runs) {
        while (write(m->stop_fd, &one, sizeof(one)) < 0)
            continue; /* an empty eventfd takes it; only a signal interrupts */
        pthread_join(m->root, NULL);
    }
    if (m->stop_fd >= 0)
        close(m->stop_fd);
}

static void group_free(struct meet_group *g)
{
    net_group_close(g->net);
    pthread_mutex_destroy(&g->lock);
    mem_free(g->ranks);
    mem_free(g);
}

/* ---- joining ---- */

static NRT_STATUS places_read(struct coll_meet *m, struct err *err)
{
    m->places = mem_calloc(m->world, sizeof(*m->places));
    if (!m->places)
        return err_set(err, NRT_RESOURCE, "no memory for %u ranks", m->world);
    for (uint32_t r = 0; r < m->world; r++) {
        const struct net_rank *nr = net_job_member(m->job, r);

        if (nr->blob_size != sizeof(*m->places))
            return err_set(err, NRT_INVALID, "rank %u says in %zu bytes where it is, not in %zu", r,
                           nr->blob_size, sizeof(*m->places));
        memcpy(&m->places[r], nr->blob, sizeof(*m->places));
        m->places[r].type[sizeof(m->places[r].type) - 1] = '\0';
    }
    return NRT_SUCCESS;
}

static NRT_STATUS job_join(struct coll_meet *m, const struct coll_meet_config *cfg, struct err *err)
{
    struct net_job_config jc = {.rank = cfg->rank,
                                .world = cfg->world,
                                .instance = cfg->instance,
                                .blob = &cfg->place,
                                .blob_size = sizeof(cfg->place),
                                .log = cfg->log};
    NRT_STATUS st;

    net_job_config_env(&jc, cfg->sink);
    st = net_job_open(&jc, &m->job, err); /* without a root: says which variable is missing */
    if (!st)
        st = net_job_wait(m->job, NET_NO_LIMIT, err);
    if (!st)
        st = places_read(m, err);
    if (!st && cfg->rank == 0)
        st = root_start(m, err);
    return st;
}

bool coll_meet_root_given(const struct diag_sink *sink)
{
    struct net_job_config jc = {0};

    net_job_config_env(&jc, sink);
    return jc.root != NULL;
}

NRT_STATUS coll_meet_open(const struct coll_meet_config *cfg, struct coll_meet **ret,
                          struct err *err)
{
    struct coll_meet *m = mem_zalloc(sizeof(*m));
    NRT_STATUS st = NRT_SUCCESS;

    if (!m)
        return err_set(err, NRT_RESOURCE, "no memory for a world of %u ranks", cfg->world);
    m->rank = cfg->rank;
    m->world = cfg->world;
    m->alone = cfg->place;
    m->stop_fd = -1;
    m->log = cfg->log;
    pthread_mutex_init(&m->lock, NULL);
    if (cfg->world > 1 && (coll_meet_root_given(cfg->sink) || cfg->world > cfg->local_max)) {
        st = job_join(m, cfg, err); /* logs */
    } else if (cfg->world > 1) {
        st = house_join(cfg, &m->house, err);
        if (st)
            LOGE(cfg->log, LOG_NRT, "coll_meet", "%s", err->text);
    }
    if (st) {
        coll_meet_close(m);
        return st;
    }
    *ret = m;
    return NRT_SUCCESS;
}

void coll_meet_close(struct coll_meet *m)
{
    if (!m)
        return;
    root_stop(m);
    while (m->groups) {
        struct meet_group *g = m->groups;

        m->groups = g->next;
        group_free(g);
    }
    net_job_close(m->job);
    if (m->house)
        house_leave(m->house);
    mem_free(m->places);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

uint32_t coll_meet_world(const struct coll_meet *m)
{
    return m->world;
}

const struct coll_place *coll_meet_place(const struct coll_meet *m, uint32_t rank)
{
    if (m->job)
        return &m->places[rank];
    return m->house ? house_place(m->house, rank) : &m->alone;
}

struct net_job *coll_meet_job(struct coll_meet *m)
{
    return m->job;
}

/* ---- exchanges over the job ---- */

/* What members call a list: the same on all, and different for different lists but for one pair in
 * four thousand million, which the job notices and refuses. */
static uint32_t group_id(const uint32_t *ranks, uint32_t n, uint32_t tag)
{
    uint32_t h = (2166136261u ^ tag) * 16777619u;

    for (uint32_t i = 0; i < n; i++)
        h = (h ^ (ranks ? ranks[i] : i)) * 16777619u;
    return h;
}

static NRT_STATUS group_add(struct coll_meet *m, const uint32_t *ranks, uint32_t n, uint32_t tag,
                            struct meet_group **ret, struct err *err)
{
    struct meet_group *g = mem_zalloc(sizeof(*g));
    NRT_STATUS st = NRT_RESOURCE;

    if (g && ranks)
        g->ranks = mem_calloc(n, sizeof(*ranks));
    if (!g || (ranks && !g->ranks))
        err_set(err, st, "no memory for a group of %u ranks", n);
    else
        st = net_group_open(m->job, group_id(ranks, n, tag), ranks, n, &g->net, err);
    if (st) {
        if (g)
            mem_free(g->ranks);
        mem_free(g);
        return st;
    }
    if (ranks)
        memcpy(g->ranks, ranks, n * sizeof(*ranks));
    g->n = n;
    g->tag = tag;
    pthread_mutex_init(&g->lock, NULL);
    g->next = m->groups;
    m->groups = g;
    *ret = g;
    return NRT_SUCCESS;
}

/* Where the list's group is linked; to NULL: there is none. */
static struct meet_group **group_at(struct coll_meet *m, const uint32_t *ranks, uint32_t n,
                                    uint32_t tag)
{
    struct meet_group **at = &m->groups, *g;

    while ((g = *at) && (g->n != n || g->tag != tag || (ranks == NULL) != (g->ranks == NULL) ||
                         (ranks && memcmp(g->ranks, ranks, n * sizeof(*ranks)) != 0)))
        at = &g->next;
    return at;
}

static NRT_STATUS group_of(struct coll_meet *m, const uint32_t *ranks, uint32_t n, uint32_t tag,
                           struct meet_group **ret, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    pthread_mutex_lock(&m->lock);
    *ret = *group_at(m, ranks, n, tag);
    if (!*ret)
        st = group_add(m, ranks, n, tag, ret, err);
    pthread_mutex_unlock(&m->lock);
    return st;
}

static void job_forget(struct coll_meet *m, const uint32_t *ranks, uint32_t n, uint32_t tag)
{
    struct meet_group **at, *g;

    pthread_mutex_lock(&m->lock);
    at = group_at(m, ranks, n, tag);
    g = *at;
    if (g)
        *at = g->next;
    pthread_mutex_unlock(&m->lock);
    if (g)
        group_free(g);
}

static NRT_STATUS parts_read(const struct net_group *g, uint32_t n, struct coll_parts *ret,
                             struct err *err)
{
    size_t bytes = 0, size;
    NRT_STATUS st;

    for (uint32_t i = 0; i < n; i++) {
        (void)net_op_part(g, i, &size);
        bytes += size;
    }
    st = parts_make(ret, n, bytes, err);
    for (uint32_t i = 0; i < n && !st; i++) {
        const void *p = net_op_part(g, i, &size);

        if (size)
            memcpy(ret->data + ret->off[i], p, size);
        ret->off[i + 1] = ret->off[i] + size;
    }
    return st;
}

/* With the group's lock. ret NULL: the rank leaves. */
static NRT_STATUS group_enter(const struct meet_group *g, const void *mine, size_t size,
                              const struct coll_terms *terms, struct coll_parts *ret,
                              struct err *err)
{
    struct net_op_terms net = {.call = terms->call,
                               .limit_ms = terms->limit_ms,
                               .leaves = ret == NULL,
                               .result_max = g->n * terms->most};
    NRT_STATUS st = NRT_SUCCESS;

    if (ret && terms->most)
        st = parts_make(ret, g->n, g->n * terms->most, err);
    return st ? st : net_op_enter(g->net, NET_OP_GATHER_V, mine, size, &net, err);
}

/* A rank that has no memory to enter: at least it leaves, if it may. */
static void group_pass(const struct meet_group *g, const struct coll_terms *terms)
{
    const struct coll_terms leaves = {.call = terms->call};
    struct err ignored = {0};

    if (!terms->excused || group_enter(g, NULL, 0, &leaves, NULL, &ignored) == NRT_RESOURCE)
        net_op_skip(g->net);
}

static NRT_STATUS job_gather(struct coll_meet *m, const uint32_t *ranks, uint32_t n, uint32_t tag,
                             const void *mine, size_t size, const struct coll_terms *terms,
                             struct coll_parts *ret, struct err *err)
{
    struct meet_group *g = NULL;
    struct err ignored = {0};
    NRT_STATUS st = group_of(m, ranks, n, tag, &g, err);

    if (st == NRT_RESOURCE && terms->excused)
        (void)group_of(m, ranks, n, tag, &g, &ignored);
    if (st == NRT_RESOURCE &&
        terms->counted) /* nothing says which exchange of the list comes next */
        net_job_give_up(m->job, "no memory to meet the other ranks");
    if (!g)
        return st;
    pthread_mutex_lock(&g->lock);
    if (!st)
        st = group_enter(g, mine, size, terms, ret, err);
    if (st == NRT_RESOURCE)
        group_pass(g, terms);
    if (!ret || st == NRT_RESOURCE)
        (void)net_job_progress(m->job, 64); /* to the root */
    if (!st && ret)
        st = net_op_wait(g->net, NET_NO_LIMIT, err);
    if (!st && ret)
        st = parts_read(g->net, n, ret, err);
    pthread_mutex_unlock(&g->lock);
    return st;
}

static uint32_t position(const struct coll_meet *m, const uint32_t *ranks, uint32_t n)
{
    uint32_t me = m->rank;

    for (uint32_t i = 0; ranks && i < n; i++)
        if (ranks[i] == m->rank)
            me = i;
    return me;
}

static NRT_STATUS alone_gather(const void *mine, size_t size, struct coll_parts *ret,
                               struct err *err)
{
    NRT_STATUS st = parts_make(ret, 1, size, err);

    if (!st && size)
        memcpy(ret->data, mine, size);
    if (!st)
        ret->off[1] = size;
    return st;
}

NRT_STATUS coll_meet_gather(struct coll_meet *m, const uint32_t *ranks, uint32_t n, uint32_t tag,
                            const void *mine, size_t size, const struct coll_terms *terms,
                            struct coll_parts *ret, struct err *err)
{
    NRT_STATUS st;

    *ret = (struct coll_parts){0};
    if (!ranks)
        n = m->world;
    if (n > 1 && m->job)
        st = job_gather(m, ranks, n, tag, mine, size, terms, ret, err);
    else if (n > 1)
        st = house_gather(m->house, position(m, ranks, n), ranks, n, tag, mine, size, terms, ret,
                          err);
    else
        st = alone_gather(mine, size, ret, err);
    if (st)
        coll_parts_free(ret);
    return st;
}

void coll_meet_forget(struct coll_meet *m, const uint32_t *ranks, uint32_t n, uint32_t tag)
{
    if (!ranks)
        n = m->world;
    if (n > 1 && m->job)
        job_forget(m, ranks, n, tag);
    else if (n > 1)
        house_forget(m->house, position(m, ranks, n), ranks, n, tag);
}

NRT_STATUS coll_meet_leave(struct coll_meet *m, const uint32_t *ranks, uint32_t n, uint32_t tag,
                           const void *mine, size_t size, bool back, struct err *err)
{
    const struct coll_terms none = {.counted = true, .back = back};

    if (!ranks)
        n = m->world;
    if (n < 2)
        return NRT_SUCCESS;
    if (m->job)
        return job_gather(m, ranks, n, tag, mine, size, &none, NULL, err);
    return house_gather(m->house, position(m, ranks, n), ranks, n, tag, mine, size, &none, NULL,
                        err);
}
