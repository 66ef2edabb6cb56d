/* SPDX-License-Identifier: Apache-2.0 */
/* Communicators: areas made, exchanged, leased, given up; bells; failures. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "coll/coll_int.h"

/* ---- areas ---- */

/* ---- opening ---- */

struct hello { /* what members tell each other */
    uint64_t magic;
    uint32_t version, rank; /* these three are at their place in every version */
    uint64_t area;          /* device address; means something on its node */
    uint32_t slot, core, n;
    uint32_t net;    /* lowest number that the link has free */
    uint32_t tuning; /* of its table of means */
    struct run_cpus cpus;
};

static uint64_t monotonic(void *arg)
{
    (void)arg;
    return run_now_ns();
}

/* ---- how operations are carried out here ---- */

/* Of the table's text: the struct has holes, whose bytes are anything. */
static NRT_STATUS tuning_hash(const struct sched_tuning *t, uint32_t *ret, struct err *err)
{
    struct strbuf text = {0};
    uint32_t h = 2166136261u;
    NRT_STATUS st = NRT_SUCCESS;

    sched_tuning_print(t, &text);
    if (text.failed)
        st = err_set(err, NRT_RESOURCE, "no memory for a communicator");
    for (size_t i = 0; i < text.len && !st; i++)
        h = (h ^ (uint8_t)text.s[i]) * 16777619u;
    strbuf_fini(&text);
    *ret = h;
    return st;
}

static void tuning_take(struct coll_comm *c)
{
    if (c->cfg.tuning)
        c->tuning = *c->cfg.tuning;
    else
        sched_tuning_default(&c->tuning);
    c->cfg.tuning = NULL; /* the caller's need not live on */
}

/* What all members of a node must see alike: their CPUs together, and whether they have the same
 * table. Ranks that are bound to a CPU each have as many CPUs as they are. */
static void host_agree(struct coll_comm *c, const struct hello *all)
{
    struct run_cpus any = {{0}};
    bool same = true;

    for (uint32_t r = 0; r < c->n; r++) {
        if (!coll_near(c, r))
            continue;
        same = same && all[r].tuning == all[c->me].tuning;
        for (unsigned i = 0; i < RUN_CPUS_MAX / 64; i++)
            any.bits[i] |= all[r].cpus.bits[i];
    }
    for (unsigned i = 0; i < RUN_CPUS_MAX / 64; i++)
        c->cpus += (unsigned)__builtin_popcountll(any.bits[i]);
    if (c->cpus == 0) /* unknown */
        c->cpus = 1;
    c->crowded = c->cfg.group->per_node > c->cpus;
    if (!same)
        sched_tuning_default(&c->tuning);
}

void coll_request_tune(const struct coll_comm *c, struct sched_request *req)
{
    sched_request_tune(req, &c->tuning, c->crowded);
}

static NRT_STATUS area_make(struct coll_comm *c, struct err *err)
{
    struct device_alloc a = {.core = c->cfg.core,
                             .neff = DEVICE_NONE,
                             .cat = c->cfg.driven ? DEVICE_CAT_XT_CC : DEVICE_CAT_COLL,
                             .size = coll_area_size(c->n, c->channels),
                             .align = 4096,
                             .name = "collectives area"};
    NRT_STATUS st = device_alloc(c->cfg.in, &a, &c->extent, err);
    void *p;

    if (st)
        return st;
    st = device_map(c->cfg.in, c->extent.addr, a.size, DEVICE_RW, &p, err);
    if (st)
        return st;
    /* new memory is zero: counters, lines, bell and failure begin there */
    struct coll_area *area = p;

    area->n = c->n;
    area->channels = c->channels;
    area->magic = COLL_MAGIC;
    return NRT_SUCCESS;
}

static NRT_STATUS peer_take(struct coll_comm *c, uint32_t rank, const struct hello *h,
                            struct err *err)
{
    struct coll_peer *p = &c->peers[rank];
    void *area;
    NRT_STATUS st;

    if (h->magic == 0)
        return err_set(err, NRT_FAILURE, "rank %u has no memory for a communicator",
                       coll_job_rank(c, rank));
    if (h->magic == COLL_MAGIC && h->version != COLL_VERSION)
        return err_set(err, NRT_INVALID,
                       "rank %u of the group has version %u of collectives, rank %u has version "
                       "%u: all ranks must run the same version of the runtime",
                       rank, h->version, c->me, COLL_VERSION);
    if (h->magic != COLL_MAGIC || h->n != c->n || h->rank != rank)
        return err_set(err, NRT_INVALID,
                       "rank %u answers as rank %u of a group of %u; the members have different "
                       "groups",
                       coll_job_rank(c, rank), h->rank, h->n);
    if (!coll_near(c, rank))
        return NRT_SUCCESS;
    st = device_map(c->cfg.in, h->area, coll_area_size(c->n, c->channels), DEVICE_RW, &area, err);
    if (st)
        return st;
    *p = (struct coll_peer){.slot = h->slot, .core = h->core, .area = area};
    if (p->area->magic != COLL_MAGIC || p->area->n != c->n || p->area->channels != c->channels)
        return err_set(err, NRT_INVALID, "rank %u has no area at %#" PRIx64, coll_job_rank(c, rank),
                       h->area);
    p->counters = coll_area_counters(p->area, c->n, 0, c->me);
    if (rank == c->me)
        c->own = area;
    return NRT_SUCCESS;
}

/* What a member says after each thing that it does for itself. */
struct step {
    uint64_t lease; /* of its node, when it has opened it */
    uint64_t good;
};

/* Tells the others how it went (st), and takes what they say: NRT_SUCCESS when all are well. */
static NRT_STATUS step_meet(struct coll_comm *c, NRT_STATUS st, uint64_t lease, struct step *all,
                            struct err *err)
{
    struct step mine = {.lease = lease, .good = st == NRT_SUCCESS};
    struct err why = {0};
    NRT_STATUS met =
        c->cfg.exchange.all_gather(c->cfg.exchange.arg, &mine, sizeof(mine), all, &why);

    for (uint32_t r = 0; r < c->n && !met; r++)
        if (!all[r].good)
            met = err_set(&why, NRT_FAILURE, "rank %u cannot be a member of the communicator",
                          coll_job_rank(c, r));
    if (st)
        return st;
    if (met)
        *err = why;
    return met;
}

/* Its owner may have failed since it told of the lease, and have left it: that is its failure, and
 * no wrong handle of this rank's caller. */
static NRT_STATUS lease_join(struct coll_comm *c, uint64_t lease, struct err *err)
{
    struct err why = {0};
    NRT_STATUS st = device_lease_join(c->cfg.in, lease, &why);

    if (st == NRT_INVALID_HANDLE)
        return err_set(err, NRT_FAILURE, "rank %u has given the communicator up",
                       coll_job_rank(c, c->near[0]));
    if (st)
        *err = why;
    else
        c->lease = lease;
    return st;
}

/* The lease is one generation of the instance: the rank with index 0 opens it for its node, and who
 * hears of it joins. Nobody raises a counter of mine before my area is leased: hence the second
 * exchange, in which everybody says that it is, and that it can meet other nodes, too.
 * test/model/lease.pml. */
static NRT_STATUS lease_take(struct coll_comm *c, NRT_STATUS st, uint32_t number, struct step *all,
                             struct err *err)
{
    uint32_t slot = device_slot(c->cfg.in);
    uint64_t mine = 0;

    for (uint32_t y = 0; y < c->near_count; y++)
        c->near_slot[y] = c->peers[c->near[y]].slot;
    if (!st && c->me == c->near[0])
        st = device_lease_open(c->cfg.in, &slot, 1, &mine, err);
    c->lease = mine; /* to be left again, whatever comes */
    st = step_meet(c, st, mine, all, err);
    if (st)
        return st;
    if (c->me != c->near[0])
        st = lease_join(c, all[c->near[0]].lease, err);
    if (!st)
        st = device_lease_add(c->cfg.in, c->lease, &c->extent, err);
    if (!st) {
        st = device_lease_watch(c->cfg.in, c->lease, &c->busy, err);
        c->watched = !st;
    }
    if (!st && c->cfg.group->nodes > 1)
        st = coll_net_open(c, number, err);
    return step_meet(c, st, 0, all, err);
}

static NRT_STATUS comm_alloc(struct coll_comm *c, struct err *err)
{
    size_t counters = (size_t)c->n * c->channels * SCHED_SEM_COUNT;

    c->peers = mem_calloc(c->n, sizeof(*c->peers));
    c->offers = mem_calloc(c->n, sizeof(*c->offers));
    c->mine = mem_calloc(counters, sizeof(*c->mine));
    c->base = mem_calloc(counters, sizeof(*c->base));
    c->staging = mem_aligned(64, (size_t)c->n * SCHED_INLINE_MAX);
    c->run = mem_zalloc(sizeof(*c->run));
    c->near_slot = mem_calloc(c->near_count, sizeof(*c->near_slot));
    c->near_live = mem_calloc(c->near_count, sizeof(*c->near_live));
    if (c->run && c->peers && c->offers && c->mine && c->base && c->staging && c->near_slot &&
        c->near_live)
        return NRT_SUCCESS;
    return err_set(err, NRT_RESOURCE, "no memory for a communicator");
}

/* st: whether this rank has what it needs for itself. */
static NRT_STATUS hello_meet(struct coll_comm *c, NRT_STATUS st, uint32_t tuning, struct hello *all,
                             struct err *err)
{
    struct hello mine = {.magic = st ? 0 : COLL_MAGIC, /* who has no area says so */
                         .version = COLL_VERSION,
                         .area = c->extent.addr,
                         .slot = device_slot(c->cfg.in),
                         .core = c->cfg.core,
                         .n = c->n,
                         .rank = c->me,
                         .net = c->cfg.link ? net_link_group_free(c->cfg.link) : 0,
                         .tuning = tuning};
    struct err why = {0};
    NRT_STATUS met;

    run_cpus_mine(&mine.cpus);
    met = c->cfg.exchange.all_gather(c->cfg.exchange.arg, &mine, sizeof(mine), all, &why);
    if (st)
        return st;
    if (met)
        *err = why;
    return met;
}

/* Everybody must learn of a rank that fails: each exchange carries whether the rank is well, and
 * who has heard that one is not goes no further. all, steps: [n]. */
static NRT_STATUS comm_meet(struct coll_comm *c, struct hello *all, struct step *steps,
                            struct err *err)
{
    uint32_t number = 0, tuning = 0;
    bool here = true; /* everybody has said that it has an area */
    NRT_STATUS st = comm_alloc(c, err);

    if (c->cfg.unfit)
        st = err_set(err, c->cfg.unfit->status, "%s", c->cfg.unfit->text);
    if (!st)
        st = area_make(c, err);
    if (!st)
        st = tuning_hash(&c->tuning, &tuning, err);
    st = hello_meet(c, st, tuning, all, err);
    if (st)
        return st;
    for (uint32_t r = 0; r < c->n; r++) {
        here = here && all[r].magic != 0;
        number = all[r].net > number ? all[r].net : number;
    }
    for (uint32_t r = 0; r < c->n && !st; r++)
        st = peer_take(c, r, &all[r], err);
    if (!here)
        return st;
    host_agree(c, all);
    st = lease_take(c, st, number, steps, err);
    if (st)
        return st;
    coll_flight_open(c);
    if (c->cfg.group->nodes == 1)
        return NRT_SUCCESS;
    return step_meet(c, coll_tell_meet(c, err), 0, steps, err);
}

/* Without memory to receive what the others say: they are told, and not waited for. */
static NRT_STATUS comm_refuse(const struct coll_config *cfg, struct err *err)
{
    const struct hello none = {0};

    if (cfg->exchange.leave)
        cfg->exchange.leave(cfg->exchange.arg, &none, sizeof(none));
    return err_set(err, NRT_RESOURCE, "no memory for a communicator");
}

static NRT_STATUS comm_fill(struct coll_comm *c, struct err *err)
{
    struct hello *all = mem_calloc(c->n, sizeof(*all));
    struct step *steps = mem_calloc(c->n, sizeof(*steps));
    NRT_STATUS st = all && steps ? comm_meet(c, all, steps, err) : comm_refuse(&c->cfg, err);

    mem_free(all);
    mem_free(steps);
    return st;
}

NRT_STATUS coll_comm_open(const struct coll_config *cfg, struct coll_comm **ret, struct err *err)
{
    struct coll_comm *c;
    NRT_STATUS st;

    if (cfg->group->nodes != 1 && !cfg->link)
        return err_set(err, NRT_INVALID, "the group spans %u nodes, and there is no link",
                       cfg->group->nodes);
    if (cfg->rank >= cfg->group->n)
        return err_set(err, NRT_INVALID, "rank %u of a group of %u", cfg->rank, cfg->group->n);
    c = mem_zalloc(sizeof(*c));
    if (!c)
        return comm_refuse(cfg, err);
    c->cfg = *cfg;
    c->faults = device_faults_armed(cfg->in);
    c->n = cfg->group->n;
    c->refuser = c->n;
    c->me = cfg->rank;
    c->near = &cfg->group->at[cfg->group->node[c->me] * cfg->group->per_node];
    c->near_count = cfg->group->per_node;
    c->channels = cfg->group->flat_channels > TOPO_MAX_CHANNELS ? cfg->group->flat_channels
                                                                : TOPO_MAX_CHANNELS;
    tuning_take(c);
    if (!c->cfg.timeout_ns)
        c->cfg.timeout_ns = COLL_TIMEOUT_NS;
    c->greet_ns = c->cfg.timeout_ns;
    if (!c->cfg.now)
        c->cfg.now = monotonic;
    st = comm_fill(c, err);
    if (st) {
        if (c->cfg.log)
            LOGE(c->cfg.log, LOG_NRT, "coll_comm_open", "%s", err->text);
        coll_comm_close(c);
        return st;
    }
    *ret = c;
    return NRT_SUCCESS;
}

void coll_comm_close(struct coll_comm *c)
{
    struct err ignored = {0};

    if (!c)
        return;
    coll_net_close(c); /* before the memory that messages come from and go to */
    if (c->extent.size)
        (void)device_free(c->cfg.in, &c->extent, &ignored); /* quarantined while leased */
    if (c->watched)
        device_lease_unwatch(c->cfg.in, c->lease, &c->busy);
    if (c->lease)
        (void)device_lease_leave(c->cfg.in, c->lease, &ignored);
    mem_free(c->run);
    mem_free(c->peers);
    mem_free(c->offers);
    mem_free(c->mine);
    mem_free(c->base);
    mem_free(c->staging);
    mem_free(c->near_slot);
    mem_free(c->near_live);
    mem_free(c);
}

const struct topo_group *coll_comm_group(const struct coll_comm *c)
{
    return c->cfg.group;
}

NRT_STATUS coll_comm_status(const struct coll_comm *c)
{
    return c->status;
}

bool coll_comm_works(const struct coll_comm *c)
{
    return c->status == NRT_SUCCESS &&
           (!c->net ||
            net_link_group_serves(c->cfg.link, c->net->first_channel / NET_LINK_GROUP_CHANNELS));
}

/* ---- bells ---- */

/* A waiter says that it sleeps, then looks once more; a raiser raises, then looks whether somebody
 * sleeps. The two fences (here and in wait.c) order each side's store before its load, so that at
 * least one of them sees the other. */
void coll_bells_ring(struct coll_comm *c)
{
    struct coll_peer *p = c->rung;

    if (!p)
        return;
    c->rung = NULL;
    atomic_thread_fence(memory_order_seq_cst);
    for (; p; p = p->rung_next) {
        p->rung = false;
        if (atomic_load_explicit(&p->area->sleeping, memory_order_relaxed))
            run_word_post(&p->area->bell);
    }
}

/* ---- failures ---- */

/* What is printed of a text that peers may have written. */
static void why_copy(char to[COLL_WHY_MAX + 1], const char *from, uint32_t size)
{
    size = size < COLL_WHY_MAX ? size : COLL_WHY_MAX;
    for (uint32_t i = 0; i < size; i++)
        to[i] = (char)(from[i] < 0x20 || from[i] > 0x7e ? '?' : from[i]);
    to[size] = '\0';
}

void coll_why_find(const struct coll_comm *c, uint32_t culprit, char text[COLL_WHY_MAX + 1])
{
    text[0] = '\0';
    for (uint32_t i = 0; i < c->near_count && !text[0]; i++) {
        const struct coll_why *w = &c->peers[c->near[i]].area->why;
        uint32_t size = atomic_load_explicit(&w->size, memory_order_acquire);

        if (size && w->culprit == culprit)
            why_copy(text, w->text, size);
    }
    if (!text[0] && c->net && c->net->tell)
        coll_told_why(c, culprit, text);
    why_copy(text, text, (uint32_t)strlen(text));
}

/* Before the failure is handed on. */
static void why_publish(struct coll_comm *c, uint32_t culprit)
{
    struct coll_why *w = &c->peers[c->me].area->why;
    uint32_t size = (uint32_t)strlen(c->why);

    if (size == 0 || atomic_load_explicit(&w->size, memory_order_relaxed))
        return;
    w->culprit = culprit;
    memcpy(w->text, c->why, size);
    atomic_store_explicit(&w->size, size, memory_order_release);
}

static void failure_spread(struct coll_comm *c, NRT_STATUS status, uint32_t culprit)
{
    uint64_t word = (uint64_t)status << 32 | (culprit + UINT64_C(1)), none;

    for (uint32_t r = 0; r < c->n; r++) {
        if (!c->peers[r].area)
            continue;
        none = 0;
        atomic_compare_exchange_strong(&c->peers[r].area->failure, &none, word);
        run_word_post(&c->peers[r].area->bell);
    }
}

/* What follows when c->status, c->err and c->why are there. */
static void fail_finish(struct coll_comm *c, uint32_t culprit)
{
    if (c->cfg.log)
        LOGE(c->cfg.log, LOG_NRT, "coll_wait", "%s", c->err.text);
    why_publish(c, culprit);
    coll_differ_publish(c);
    failure_spread(c, c->status, culprit);
    if (c->net && c->net->tell) {
        coll_tell_failure(c);
        coll_net_stop(c);
    }
    coll_flight_fail(c, culprit);
}

NRT_STATUS coll_fail(struct coll_comm *c, NRT_STATUS status, uint32_t culprit, const char *fmt, ...)
{
    va_list ap;

    if (c->status)
        return c->status;
    va_start(ap, fmt);
    c->status = err_vset(&c->err, status, fmt, ap);
    va_end(ap);
    if (culprit == c->me)
        why_copy(c->why, c->err.text, (uint32_t)strlen(c->err.text));
    fail_finish(c, culprit);
    return status;
}

/* Whom others have found guilty has no reason of its own to tell. */
void coll_failure_take(struct coll_comm *c, uint64_t word)
{
    uint32_t culprit = (uint32_t)word - 1;
    NRT_STATUS status = (NRT_STATUS)(word >> 32);
    char where[COLL_WHERE_MAX], differ[COLL_DIFFER_MAX];

    if (c->status)
        return;
    coll_where(c, where, sizeof(where));
    coll_differ_text(c, culprit < c->n ? culprit : c->me, differ);
    if (status != NRT_NETWORK_PROXY_FAILURE)
        status = NRT_EXEC_HW_ERR_COLLECTIVES;
    if (culprit < c->n) {
        coll_why_find(c, culprit, c->why);
        c->status = err_set(&c->err, status, "%s, was stopped: rank %u failed%s%s%s", where,
                            culprit, c->why[0] ? ": " : "", c->why, differ);
    } else {
        c->status = err_set(&c->err, status, "%s, was stopped by another rank%s", where, differ);
    }
    fail_finish(c, culprit);
}
