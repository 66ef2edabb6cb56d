/* SPDX-License-Identifier: Apache-2.0 */
/* A process's logical cores as ranks: joining a world, where everybody is, exchanges of the host.
 */
#include "coll/means.h"
#include "coll/world.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/dumpdir.h"
#include "base/log.h"
#include "base/settings.h"
#include "coll/world_int.h"
#include "net/job.h"
#include "net/link.h"

#define LIMIT_S 30 /* shortest limit of a wait among ranks of which all are there */

static struct coll_place place_of(const struct coll_rank *r)
{
    const struct device_instance *in = r->w->cfg.in;
    struct coll_place p = {.instance = device_instance_serial(in),
                           .core = r->core,
                           .lnc = device_lnc(in),
                           .slot = device_slot(in)};

    strncpy(p.type, device_topo(in)->name, sizeof(p.type) - 1);
    return p;
}

/* ---- where the ranks are ---- */

/* The number of an instance among the nodes of a world, which count in the order of the ranks. */
static uint32_t node_of(uint64_t *nodes, uint32_t *count, uint64_t instance)
{
    for (uint32_t i = *count; i-- > 0;)
        if (nodes[i] == instance)
            return i;
    nodes[*count] = instance;
    return (*count)++;
}

static NRT_STATUS place_check(const struct coll_rank *r, const struct coll_place *p, uint32_t rank,
                              struct err *err)
{
    const struct topo_instance *type = device_topo(r->w->cfg.in);

    if (strcmp(p->type, type->name) != 0 || p->lnc != device_lnc(r->w->cfg.in))
        return err_set(
            err, NRT_INVALID,
            "rank %u is on a %s with logical cores of %u, this rank on a %s with %u: all "
            "nodes of a job have one type and one NEURON_LOGICAL_NC_CONFIG",
            rank, p->type, p->lnc, type->name, device_lnc(r->w->cfg.in));
    if (p->core >= topo_core_count(type) || p->core % p->lnc != 0)
        return err_set(err, NRT_INVALID, "rank %u says that it is on core %u", rank, p->core);
    return NRT_SUCCESS;
}

static NRT_STATUS places_fill(const struct coll_rank *r, const struct coll_meet *m,
                              struct topo_place *places, uint32_t *ret_nodes, struct err *err)
{
    uint32_t n = coll_meet_world(m), chip_cores = device_topo(r->w->cfg.in)->cores_per_device;
    uint64_t *nodes = mem_calloc(n, sizeof(*nodes));
    NRT_STATUS st = NRT_SUCCESS;

    *ret_nodes = 0;
    if (!nodes)
        return err_set(err, NRT_RESOURCE, "no memory for a world of %u ranks", n);
    for (uint32_t i = 0; i < n && !st; i++) {
        const struct coll_place *p = coll_meet_place(m, i);

        st = place_check(r, p, i, err);
        if (!st)
            places[i] = (struct topo_place){.node = node_of(nodes, ret_nodes, p->instance),
                                            .chip = (uint16_t)(p->core / chip_cores),
                                            .core = (uint16_t)(p->core % chip_cores / p->lnc)};
    }
    mem_free(nodes);
    return st;
}

/* places: room for every rank of m; borrowed by the result. */
static NRT_STATUS topo_make(const struct coll_rank *r, const struct coll_meet *m,
                            struct topo_place *places, struct topo_world *ret, struct err *err)
{
    struct topo_fabric fabric;
    uint32_t nodes;
    NRT_STATUS st = places_fill(r, m, places, &nodes, err);

    if (!st)
        st = topo_fabric_init(&fabric, device_topo(r->w->cfg.in), 1, err);
    if (!st)
        st = topo_world_init(ret, &fabric, device_lnc(r->w->cfg.in), nodes, 0, err);
    if (!st)
        st = topo_world_set_places(ret, places, coll_meet_world(m), err);
    return st;
}

/* ---- ranks ---- */

static NRT_STATUS meet_open(struct coll_rank *r, uint32_t id, uint32_t count,
                            struct topo_place **ret_places, struct topo_world *topo,
                            struct coll_meet **ret, struct err *err)
{
    struct coll_world *w = r->w;
    struct coll_meet_config cfg = {.rank = id,
                                   .world = count,
                                   .place = place_of(r),
                                   .house = w->house,
                                   .local_max = w->count,
                                   .instance = device_instance_name(w->cfg.in),
                                   .log = w->cfg.log,
                                   .sink = &w->cfg.sink,
                                   .cross_ms = w->cross_ms,
                                   .join_ms = w->join_ms};
    struct topo_place *places = mem_calloc(count, sizeof(*places));
    struct coll_meet *m = NULL;
    NRT_STATUS st;

    if (!places)
        return err_set(err, NRT_RESOURCE, "no memory for a world of %u ranks", count);
    st = coll_meet_open(&cfg, &m, err); /* logs */
    if (!st && (st = topo_make(r, m, places, topo, err)) != NRT_SUCCESS)
        LOGE(w->cfg.log, LOG_NRT, "coll_world_join", "%s", err->text);
    if (st) {
        coll_meet_close(m);
        mem_free(places);
        return st;
    }
    *ret_places = places;
    *ret = m;
    return NRT_SUCCESS;
}

static NRT_STATUS rank_init(struct coll_world *w, uint32_t vnc, struct err *err)
{
    struct coll_rank *r = &w->ranks[vnc];

    r->w = w;
    r->vnc = vnc;
    r->core = device_vnc_core(w->cfg.in, w->cfg.first_vnc + vnc);
    pthread_mutex_init(&r->loading, NULL);
    pthread_mutex_init(&r->host, NULL);
    pthread_mutex_init(&r->lock, NULL);
    streams_init(r);
    return meet_open(r, 0, 1, &r->place_alone, &r->topo_alone, &r->alone, err);
}

static void driver_init(struct coll_world *w, uint32_t vnc)
{
    struct coll_rank *r = &w->drivers[vnc].rank;

    r->w = w;
    r->vnc = vnc;
    r->core = w->ranks[vnc].core;
    r->driven = true;
    pthread_mutex_init(&r->lock, NULL);
}

/* Before the rank whose meet it uses. */
static void driver_fini(struct coll_driver *d)
{
    struct err ignored = {0};

    shared_comm_put_all(&d->rank);
    for (unsigned i = 0; i < 2; i++)
        if (d->scratch[i].size)
            (void)device_free(d->rank.w->cfg.in, &d->scratch[i], &ignored);
    net_link_close(d->rank.link);
    pthread_mutex_destroy(&d->rank.lock);
}

static void rank_fini(struct coll_rank *r)
{
    net_link_close(r->link);
    coll_meet_close(r->meet);
    coll_meet_close(r->alone);
    mem_free(r->global);
    mem_free(r->places);
    mem_free(r->place_alone);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->host);
    pthread_mutex_destroy(&r->loading);
}

static struct coll_rank *rank_of(struct coll_world *w, uint32_t vnc, struct err *err)
{
    if (vnc < w->count)
        return &w->ranks[vnc];
    err_set(err, NRT_INVALID, "logical core %u is not one of the %u that this process owns", vnc,
            w->count);
    return NULL;
}

/* ---- worlds ---- */

/* Without OPENNRT_JOIN_TIMEOUT who waits for ranks that are in the load waits as long as an
 * execution would, but not so short that a busy host fails loads. */
static void limits_env(struct coll_world *w, const struct diag_sink *sink)
{
    const uint32_t most = UINT32_MAX / 1000;
    uint32_t join = (uint32_t)settings_int("OPENNRT_JOIN_TIMEOUT", 0, 0, INT32_MAX, sink);
    uint32_t exec = (uint32_t)settings_int("NEURON_RT_EXEC_TIMEOUT", LIMIT_S, 0, INT32_MAX, sink);
    uint32_t limit = join ? join : exec && exec < LIMIT_S ? LIMIT_S : exec;

    w->cross_ms = (exec < most ? exec : most) * 1000;
    w->join_ms = (join < most ? join : most) * 1000;
    w->limit_ms = (limit < most ? limit : most) * 1000;
    w->exec_ns = (uint64_t)exec * 1000 * 1000 * 1000;
}

/* A thread serves the network of one rank of this process, or of as many as the variable says. */
static NRT_STATUS proxies_env(struct coll_world *w, struct err *err)
{
    int64_t ranks =
        settings_int("NEURON_RT_RANKS_PER_NETWORK_PROXY", 1, 1, INT32_MAX, &w->cfg.sink);

    return net_servers_create((unsigned)ranks, &w->servers, err);
}

NRT_STATUS coll_world_create(const struct coll_world_config *cfg, struct coll_world **ret,
                             struct err *err)
{
    struct coll_world *w = mem_zalloc(sizeof(*w));
    NRT_STATUS st = NRT_SUCCESS;

    if (w) {
        w->ranks = mem_calloc(cfg->vnc_count, sizeof(*w->ranks));
        w->drivers = mem_calloc(cfg->vnc_count, sizeof(*w->drivers));
    }
    if (!w || !w->ranks || !w->drivers) {
        if (w) {
            mem_free(w->ranks);
            mem_free(w->drivers);
        }
        mem_free(w);
        return err_set(err, NRT_RESOURCE, "no memory for the ranks of this process");
    }
    w->cfg = *cfg;
    w->epoch = (uint64_t)time(NULL);
    limits_env(w, &cfg->sink);
    (void)means_load(&w->tuning, &cfg->sink);
    w->flight_dir =
        mem_strdup(settings_str("NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY", DUMPDIR_DEFAULT));
    st = proxies_env(w, err);
    if (!st)
        st = coll_house_create(&w->house, err);
    for (; w->count < cfg->vnc_count && !st; w->count++) {
        st = rank_init(w, w->count, err);
        driver_init(w, w->count);
    }
    if (st) {
        coll_world_destroy(w);
        return st;
    }
    *ret = w;
    return NRT_SUCCESS;
}

void coll_world_destroy(struct coll_world *w)
{
    if (!w)
        return;
    for (uint32_t i = 0; i < w->count; i++) {
        driver_fini(&w->drivers[i]);
        rank_fini(&w->ranks[i]);
    }
    net_servers_destroy(w->servers);
    coll_house_destroy(w->house);
    mem_free(w->ranks);
    mem_free(w->drivers);
    mem_free(w->flight_dir);
    mem_free(w);
}

const struct core_outside *coll_world_outside(struct coll_world *w, uint32_t vnc)
{
    return &w->ranks[vnc].outside;
}

static NRT_STATUS refuse(struct coll_world *w, struct err *err)
{
    LOGE(w->cfg.log, LOG_NRT, "coll_world_join", "%s", err->text);
    return err->status;
}

/* Of a rank that has joined. */
static NRT_STATUS joined_check(const struct coll_rank *r, uint32_t id, uint32_t count,
                               struct err *err)
{
    if (r->id == id && r->count == count)
        return NRT_SUCCESS;
    err_set(err, NRT_INVALID,
            "logical core %u is rank %u of %u already, not rank %u of %u: the global "
            "communicator is made once, for the largest world",
            r->vnc, r->id, r->count, id, count);
    return refuse(r->w, err);
}

/* Who the core is, for whoever reads its page. */
static void live_rank(const struct coll_rank *r, struct net_job *job)
{
    for (unsigned i = 0; i < device_lnc(r->w->cfg.in); i++) {
        struct device_live_page *p = device_live(r->w->cfg.in, r->core + i);

        atomic_store_explicit(&p->job_cluster, job ? net_job_cluster_id(job) : 0,
                              memory_order_relaxed);
        atomic_store_explicit(&p->job_epoch, job ? net_job_epoch(job) : r->w->epoch,
                              memory_order_relaxed);
        atomic_store_explicit(&p->rank, r->id, memory_order_relaxed);
        atomic_store_explicit(&p->world, r->count, memory_order_relaxed);
    }
}

/* The first time, with the other ranks. */
static NRT_STATUS join(struct coll_rank *r, uint32_t id, uint32_t count, struct err *err)
{
    struct coll_meet *m = NULL;
    NRT_STATUS st;

    r->global = mem_calloc(count, sizeof(*r->global));
    if (!r->global) {
        err_set(err, NRT_RESOURCE, "no memory for a world of %u ranks", count);
        return refuse(r->w, err);
    }
    for (uint32_t i = 0; i < count; i++)
        r->global[i] = i;
    st = meet_open(r, id, count, &r->places, &r->topo, &m, err);
    if (st) {
        mem_free(r->global); /* the next try may be for another world */
        r->global = NULL;
        return st;
    }
    pthread_mutex_lock(&r->lock);
    r->id = id;
    r->count = count;
    r->meet = m; /* the three stay from now on */
    live_rank(r, coll_meet_job(m));
    pthread_mutex_unlock(&r->lock);
    return NRT_SUCCESS;
}

NRT_STATUS coll_world_join(struct coll_world *w, uint32_t vnc, uint32_t id, uint32_t count,
                           struct err *err)
{
    struct coll_rank *r = rank_of(w, vnc, err);
    uint32_t have, have_count;
    NRT_STATUS st;

    if (!r)
        return refuse(w, err);
    if (count == 0 || id >= count || count > NET_WORLD_MAX) {
        err_set(err, NRT_INVALID,
                "rank %u of a world of %u: ranks go from 0 to the world size, at most %u, minus 1",
                id, count, NET_WORLD_MAX);
        return refuse(w, err);
    }
    if (coll_world_joined(w, vnc, &have, &have_count)) /* a load that waits is not waited for */
        return joined_check(r, id, count, err);
    pthread_mutex_lock(&r->loading);
    st = coll_world_joined(w, vnc, &have, &have_count) ? joined_check(r, id, count, err)
                                                       : join(r, id, count, err);
    pthread_mutex_unlock(&r->loading);
    return st;
}

bool coll_world_joined(struct coll_world *w, uint32_t vnc, uint32_t *ret_id, uint32_t *ret_count)
{
    struct coll_rank *r = &w->ranks[vnc];
    bool joined;

    pthread_mutex_lock(&r->lock);
    joined = r->meet != NULL;
    *ret_id = r->id;
    *ret_count = r->count;
    pthread_mutex_unlock(&r->lock);
    return joined;
}

bool coll_world_within(struct coll_world *w, uint32_t vnc, uint32_t count)
{
    uint32_t id, have;

    if (coll_world_joined(w, vnc, &id, &have))
        return coll_meet_job(w->ranks[vnc].meet) == NULL;
    return count <= w->count && !coll_meet_root_given(NULL);
}

NRT_STATUS coll_world_gather(struct coll_world *w, uint32_t vnc, const char *call, const void *mine,
                             size_t size, void *all, struct err *err)
{
    const struct coll_terms terms = {.call = call}; /* without limit: a peer may be compiling */
    struct coll_rank *r = rank_of(w, vnc, err);
    struct coll_parts parts;
    struct coll_meet *m;
    uint32_t id, count;
    NRT_STATUS st;

    if (!r)
        return refuse(w, err);
    if (!coll_world_joined(w, vnc, &id, &count)) {
        err_set(err, NRT_INVALID, "logical core %u has no global communicator", vnc);
        return refuse(w, err);
    }
    m = r->meet; /* stays from now on */
    pthread_mutex_lock(&r->host);
    st = coll_meet_gather(m, NULL, 0, TAG_HOST, mine, size, &terms, &parts, err); /* logs */
    pthread_mutex_unlock(&r->host);
    if (st)
        return st;
    for (uint32_t i = 0; i < count && !st; i++)
        if (parts.off[i + 1] - parts.off[i] != size) {
            err_set(err, NRT_INVALID, "rank %u gives %zu bytes, rank %u gives %zu", i,
                    parts.off[i + 1] - parts.off[i], id, size);
            st = refuse(w, err);
        }
    if (!st && size)
        memcpy(all, parts.data, size * count);
    coll_parts_free(&parts);
    return st;
}

/* ---- loads ---- */

NRT_STATUS coll_world_ready(struct coll_world *w, uint32_t vnc, uint32_t rank, uint32_t count,
                            const char *why, struct err *err)
{
    struct coll_rank *r = rank_of(w, vnc, err);
    uint32_t id, world;
    NRT_STATUS st = NRT_SUCCESS;

    if (!r)
        return refuse(w, err);
    if (count == 1)
        return NRT_SUCCESS;
    if (why && !coll_world_joined(w, vnc, &id, &world))
        st = coll_world_join(w, vnc, rank, count, err);
    if (st)
        return st;
    st = model_ranks_check(r, rank, count, err);
    if (st)
        return st;
    pthread_mutex_lock(&r->loading);
    st = why ? agree_leave(r, model_ranks(r, rank), count, why[0] ? why : "no reason given", err)
             : agree_ready(r, model_ranks(r, rank), count, err);
    pthread_mutex_unlock(&r->loading);
    return st;
}
