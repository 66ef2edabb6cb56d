/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's side of the credit protocol. Entries are posted in order, end in any order, and are
 * reported in order: the requests of the posted entries stand in a ring, whose head is looked at.
 */
#include "net/proxy.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/fault.h"
#include "base/log.h"
#include "run/run.h"

struct proxy_op {
    const struct net_entry *entries;
    uint32_t n;
};

struct proxy_slot {
    struct net_request *r;
    bool done;
};

struct net_proxy {
    struct net_proxy_config cfg;
    char name[64];
    struct proxy_op *ops; /* a queue: ops[first], then the others */
    size_t ops_cap;
    uint32_t first, count;
    bool running; /* ops[first] has begun */
    uint32_t posted, reported;
    uint32_t drawn; /* of entries, whether they are lost */
    struct proxy_slot ring[NET_OUTSTANDING];
    uint64_t last_progress;
    struct net_proxy_counters counters;
    struct err failure;
};

static uint64_t now(const struct net_proxy *p)
{
    return p->cfg.now != NULL ? p->cfg.now(p->cfg.now_arg) : run_now_ns();
}

static NET_ATOMIC(uint32_t) * index_of(const struct net_proxy *p)
{
    return &p->cfg.page->fold[0].index;
}

NRT_STATUS net_proxy_open(const struct net_proxy_config *cfg, struct net_proxy **ret,
                          struct err *err)
{
    struct net_proxy *p;

    *ret = NULL;
    if (cfg->page == NULL || cfg->handshake == NULL || cfg->complete == NULL ||
        cfg->wire.post == NULL || cfg->wire.test == NULL || cfg->wire.drop == NULL ||
        cfg->outstanding > NET_OUTSTANDING)
        return err_set(err, NRT_INVALID,
                       "a proxy without page, counters or wire, or with more "
                       "than 128 outstanding entries");
    p = mem_zalloc(sizeof(*p));
    if (p == NULL || !mem_grow((void **)&p->ops, &p->ops_cap, 1, sizeof(*p->ops))) {
        mem_free(p);
        return err_set(err, NRT_RESOURCE, "out of memory for a proxy");
    }
    p->cfg = *cfg;
    if (p->cfg.outstanding == 0)
        p->cfg.outstanding = NET_OUTSTANDING;
    snprintf(p->name, sizeof(p->name), "%s", cfg->name != NULL ? cfg->name : "connector");
    p->last_progress = now(p);
    *ret = p;
    return NRT_SUCCESS;
}

static void drop_all(struct net_proxy *p)
{
    for (uint32_t j = p->reported; j < p->posted; j++) {
        struct proxy_slot *s = &p->ring[j % NET_OUTSTANDING];

        if (s->r != NULL)
            p->cfg.wire.drop(p->cfg.wire.arg, s->r);
        s->r = NULL;
    }
    p->posted = p->reported;
}

void net_proxy_close(struct net_proxy *p)
{
    if (p == NULL)
        return;
    drop_all(p);
    mem_free(p->ops);
    mem_free(p);
}

NRT_STATUS net_proxy_add(struct net_proxy *p, const struct net_entry *entries, uint32_t n,
                         struct err *err)
{
    if (n > INT32_MAX)
        return err_set(err, NRT_INVALID, "%s: an operation of %u entries", p->name, n);
    for (uint32_t j = 0; j < n; j++) {
        if (entries[j].dynamic && entries[j].size_now == NULL)
            return err_set(err, NRT_INVALID,
                           "%s: entry %u has a size of run time and no place "
                           "for it",
                           p->name, j);
    }
    if (p->first > 0 && p->first + p->count == p->ops_cap) {
        memmove(p->ops, p->ops + p->first, p->count * sizeof(*p->ops));
        p->first = 0;
    }
    if (!mem_grow((void **)&p->ops, &p->ops_cap, (size_t)p->first + p->count + 1, sizeof(*p->ops)))
        return err_set(err, NRT_RESOURCE, "%s: out of memory for an operation", p->name);
    p->ops[p->first + p->count++] = (struct proxy_op){.entries = entries, .n = n};
    return NRT_SUCCESS;
}

uint32_t net_proxy_pending(const struct net_proxy *p)
{
    return p->count;
}

/* The counters stay where they are: the device does not go on. */
static void proxy_fail(struct net_proxy *p, const struct err *why)
{
    err_set(&p->failure, why->status, "%s: %s", p->name, why->text);
    p->counters.errors++;
    if (!p->cfg.quiet)
        LOGE(p->cfg.log, LOG_NRT, "net_proxy", "%s", p->failure.text);
    drop_all(p);
}

static void proxy_add_to(struct net_proxy *p, NET_ATOMIC(uint32_t) * counter, uint32_t n)
{
    __atomic_fetch_add((uint32_t *)counter, n, __ATOMIC_SEQ_CST);
    if (p->cfg.raised != NULL)
        p->cfg.raised(p->cfg.raised_arg);
}

static void op_over(struct net_proxy *p)
{
    p->running = false;
    p->counters.ops++;
    p->count--;
    p->first = p->count == 0 ? 0 : p->first + 1;
}

/* wait index = -1; index := 0, handshake += 1 */
static unsigned op_begin(struct net_proxy *p)
{
    if (p->count == 0 ||
        __atomic_load_n((uint32_t *)index_of(p), __ATOMIC_ACQUIRE) != NET_INDEX_READY)
        return 0;
    p->running = true;
    p->posted = p->reported = p->drawn = 0;
    __atomic_store_n((uint32_t *)index_of(p), 0, __ATOMIC_RELEASE);
    proxy_add_to(p, p->cfg.handshake, 1);
    if (p->ops[p->first].n == 0) /* no entry is the last: it is over as it begins */
        op_over(p);
    return 1;
}

/* What entry e moves, from a place that the device writes: read once, checked, then used. */
static bool entry_size(struct net_proxy *p, const struct net_entry *e, uint32_t j, uint32_t *ret)
{
    struct err why = {0};

    *ret = e->size;
    if (!p->cfg.send || !e->dynamic)
        return true;
    *ret = __atomic_load_n(e->size_now, __ATOMIC_ACQUIRE);
    if (*ret <= e->size)
        return true;
    err_set(&why, NRT_NETWORK_PROXY_FAILURE, "entry %u to rank %u has %u bytes, at most %u fit", j,
            e->peer, *ret, e->size);
    proxy_fail(p, &why);
    return false;
}

/* A message that is lost on the way: who sends it does not see that. Drawn once for each, however
 * often the provider wants it offered. */
static bool entry_lost(struct net_proxy *p, const struct net_entry *e, struct proxy_slot *s)
{
    if (!p->cfg.send || p->drawn > p->posted)
        return false;
    p->drawn = p->posted + 1;
    if (!fault_hit(FAULT_NET))
        return false;
    LOGI(p->cfg.log, LOG_NRT, "net_proxy",
         "%s: fault on demand: a message to rank %u is lost, entry %u of an operation of %u",
         p->name, e->peer, p->posted, p->ops[p->first].n);
    s->r = NULL;
    s->done = true;
    return true;
}

/* entry j is posted when index > j and fewer than `outstanding` entries are unreported */
static unsigned post_some(struct net_proxy *p)
{
    const struct proxy_op *op = &p->ops[p->first];
    uint32_t index = __atomic_load_n((uint32_t *)index_of(p), __ATOMIC_ACQUIRE);
    struct err why = {0};
    unsigned n = 0;

    if (index > op->n) {
        err_set(&why, NRT_NETWORK_PROXY_FAILURE, "the device posted entry %u of an operation of %u",
                index, op->n);
        proxy_fail(p, &why);
        return 0;
    }
    while (p->posted < index && p->posted - p->reported < p->cfg.outstanding) {
        const struct net_entry *e = &op->entries[p->posted];
        struct proxy_slot *s = &p->ring[p->posted % NET_OUTSTANDING];
        enum net_posted how;
        uint32_t size;

        if (!entry_size(p, e, p->posted, &size))
            return n;
        s->done = false;
        how = entry_lost(p, e, s) ? NET_POSTED
                                  : p->cfg.wire.post(p->cfg.wire.arg, p->cfg.send, p->cfg.channel,
                                                     e, size, &s->r, &why);
        if (how == NET_AGAIN) {
            p->counters.stalls++;
            break;
        }
        if (how == NET_FAILED) {
            proxy_fail(p, &why);
            return n;
        }
        p->posted++;
        p->counters.posts++;
        n++;
    }
    return n;
}

static bool size_ok(struct net_proxy *p, const struct net_entry *e, uint32_t j, uint32_t size)
{
    struct err why = {0};

    p->counters.bytes += size;
    if (p->cfg.send)
        return true;
    if (e->dynamic && size <= e->size) {
        __atomic_store_n(e->size_now, size, __ATOMIC_RELEASE);
        return true;
    }
    if (size == e->size)
        return true;
    err_set(&why, NRT_NETWORK_PROXY_FAILURE,
            "rank %u sent %u bytes for entry %u, for which %u were posted", e->peer, size, j,
            e->size);
    proxy_fail(p, &why);
    return false;
}

/* Looks at every posted entry that is not known to be over; false after a failure. */
static bool test_all(struct net_proxy *p)
{
    const struct proxy_op *op = &p->ops[p->first];

    for (uint32_t j = p->reported; j < p->posted; j++) {
        struct proxy_slot *s = &p->ring[j % NET_OUTSTANDING];
        struct err why = {0};
        uint32_t size = 0;
        NRT_STATUS st;

        if (s->done)
            continue;
        st = p->cfg.wire.test(p->cfg.wire.arg, s->r, &s->done, &size, &why);
        if (st != NRT_SUCCESS || s->done)
            s->r = NULL;
        if (st != NRT_SUCCESS) {
            proxy_fail(p, &why);
            return false;
        }
        if (s->done && !size_ok(p, &op->entries[j], j, size))
            return false;
        if (!s->done && j - p->reported >= 8)
            break; /* what comes later can only be reported later: look at it then */
    }
    return true;
}

/* A run of finished entries from the head is added at once. */
static unsigned report_some(struct net_proxy *p)
{
    uint32_t run = 0;

    if (!test_all(p))
        return 0;
    while (p->reported + run < p->posted && p->ring[(p->reported + run) % NET_OUTSTANDING].done)
        run++;
    if (run == 0)
        return 0;
    p->reported += run;
    p->counters.reports += run;
    proxy_add_to(p, p->cfg.complete, run);
    if (p->reported == p->ops[p->first].n)
        op_over(p);
    return run;
}

static void stall_warn(struct net_proxy *p, bool moved)
{
    uint64_t t;

    if (moved || p->posted == p->reported) {
        p->last_progress = 0; /* read the clock only when something waits */
        return;
    }
    t = now(p);
    if (p->last_progress == 0) {
        p->last_progress = t;
    } else if (t - p->last_progress >= NET_STALL_NS) {
        p->last_progress = t;
        p->counters.warnings++;
        LOGW(p->cfg.log, LOG_NRT, "net_proxy",
             "%s: no progress for 10 sec, entry %u of %u %s rank %u (%u posted)", p->name,
             p->reported, p->ops[p->first].n, p->cfg.send ? "to" : "from",
             p->ops[p->first].entries[p->reported].peer, p->posted - p->reported);
    }
}

unsigned net_proxy_step(struct net_proxy *p)
{
    unsigned n = 0;

    if (p->failure.status != NRT_SUCCESS)
        return 0;
    p->counters.steps++;
    if (p->running && p->posted > p->reported)
        n += report_some(p);
    if (!p->running)
        n += op_begin(p);
    if (p->running && p->failure.status == NRT_SUCCESS)
        n += post_some(p);
    if (n == 0)
        p->counters.idle_steps++;
    if (p->failure.status == NRT_SUCCESS)
        stall_warn(p, n > 0);
    return n;
}

NRT_STATUS net_proxy_state(const struct net_proxy *p, struct err *err)
{
    if (p->failure.status == NRT_SUCCESS)
        return NRT_SUCCESS;
    return err_set(err, p->failure.status, "%s", p->failure.text);
}

void net_proxy_position(const struct net_proxy *p, uint32_t *ret_n, uint32_t *ret_posted,
                        uint32_t *ret_reported)
{
    *ret_n = p->running ? p->ops[p->first].n : 0;
    *ret_posted = p->running ? p->posted : 0;
    *ret_reported = p->running ? p->reported : 0;
}

void net_proxy_count(const struct net_proxy *p, struct net_proxy_counters *ret)
{
    *ret = p->counters;
}
