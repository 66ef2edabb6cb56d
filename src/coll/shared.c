/* SPDX-License-Identifier: Apache-2.0 */
/* Communicators and plans that models share. Whether a communicator can be used again is asked of
 * all its members each time a model wants it: one of them may have closed its own, or seen it
 * break. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "coll/world_int.h"
#include "device/device.h"
#include "net/job.h"
#include "net/link.h"

/* ---- what members agree on ---- */

struct agree {
    uint64_t id; /* of the communicator that this rank has and that works; 0: none */
    uint64_t
        next; /* the first member's names the one that is opened if they do not have the same */
    uint64_t entries;
    /* then a signature of each entry */
};

static NRT_STATUS differ(const struct shared_comm *c, const struct shared_want *want, uint32_t r,
                         size_t i, struct err *err)
{
    return err_set(
        err, NRT_INVALID,
        "%s: [%u]: rank %u has another operation, size, type or algorithm here than rank "
        "%u",
        want->member, want->entry[i], c->ranks[r], c->ranks[c->me]);
}

/* *ret_fresh: a new communicator is needed, with this id; 0: everybody has the same. */
static NRT_STATUS agree_check(struct shared_comm *c, const struct coll_parts *all,
                              const struct shared_want *want, uint64_t *ret_fresh, struct err *err)
{
    size_t size = sizeof(struct agree) + want->count * sizeof(*want->signature);
    struct agree first, a;
    bool same = true;

    for (uint32_t r = 0; r < c->n; r++) {
        const uint8_t *p = all->data + all->off[r];

        if (all->off[r + 1] - all->off[r] < sizeof(a))
            return err_set(err, NRT_INVALID, "rank %u speaks another protocol", c->ranks[r]);
        memcpy(&a, p, sizeof(a));
        if (r == 0)
            first = a;
        same = same && a.id != 0 && a.id == first.id;
        if (a.entries != want->count || all->off[r + 1] - all->off[r] != size)
            return err_set(err, NRT_INVALID,
                           "%s: rank %u has %llu collectives with this group, rank %u has %zu",
                           want->member, c->ranks[r], (unsigned long long)a.entries,
                           c->ranks[c->me], want->count);
        for (size_t i = 0; i < want->count; i++) {
            uint64_t theirs;

            memcpy(&theirs, p + sizeof(a) + i * sizeof(theirs), sizeof(theirs));
            if ((theirs ^ want->signature[i]) & ~SHARED_IN_PLACE)
                return differ(c, want, r, i, err);
            want->signature[i] &= theirs | ~SHARED_IN_PLACE;
        }
    }
    *ret_fresh = same ? 0 : first.next;
    return NRT_SUCCESS;
}

static NRT_STATUS agree(struct shared_comm *c, const struct shared_want *want, uint64_t *ret_fresh,
                        struct err *err)
{
    size_t size = sizeof(struct agree) + want->count * sizeof(*want->signature);
    struct agree head = {.id = c->comm && coll_comm_status(c->comm) == NRT_SUCCESS ? c->id : 0,
                         .next = ++c->rank->comm_ids,
                         .entries = want->count};
    uint8_t *mine = mem_alloc(size);
    struct coll_parts all;
    NRT_STATUS st;

    if (!mine)
        return err_set(err, NRT_RESOURCE, "no memory for a communicator");
    memcpy(mine, &head, sizeof(head));
    if (want->count)
        memcpy(mine + sizeof(head), want->signature, want->count * sizeof(*want->signature));
    st = coll_meet_gather(c->meet, c->ranks, c->n, c->stream, mine, size, &all, err);
    mem_free(mine);
    if (st)
        return st;
    st = agree_check(c, &all, want, ret_fresh, err);
    coll_parts_free(&all);
    return st;
}

/* ---- communicators ---- */

static NRT_STATUS exchange(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    struct shared_comm *c = arg;
    struct coll_parts parts;
    NRT_STATUS st = coll_meet_gather(c->meet, c->ranks, c->n, c->stream, mine, size, &parts, err);

    if (st)
        return st;
    if (parts.off[c->n] != size * c->n)
        st = err_set(err, NRT_INVALID, "the members of a group exchange different things");
    else
        memcpy(all, parts.data, size * c->n);
    coll_parts_free(&parts);
    return st;
}

static void plan_free(struct shared_plan *p)
{
    coll_plan_destroy(p->plan);
    sched_destroy(p->s);
    strbuf_fini(&p->key);
    mem_free(p->tables);
    mem_free(p);
}

static void comm_free(struct shared_comm *c)
{
    while (c->plans) {
        struct shared_plan *p = c->plans;

        c->plans = p->next;
        plan_free(p);
    }
    coll_comm_close(c->comm);
    topo_group_fini(&c->group);
    mem_free(c->ranks);
    mem_free(c);
}

static struct shared_comm *comm_make(struct coll_rank *r, const struct shared_want *want)
{
    struct shared_comm *c = mem_zalloc(sizeof(*c));

    if (c)
        c->ranks = mem_calloc(want->n, sizeof(*c->ranks));
    if (!c || !c->ranks) {
        mem_free(c);
        return NULL;
    }
    memcpy(c->ranks, want->ranks, want->n * sizeof(*c->ranks));
    c->rank = r;
    c->meet = want->alone ? r->alone : r->meet;
    c->n = want->n;
    c->me = want->me;
    c->stream = want->stream;
    c->alone = want->alone;
    c->refs = 1;
    return c;
}

/* The rank's link to other nodes, with the addresses of these members: opened for the first group
 * that needs it. */
static NRT_STATUS link_open(struct coll_rank *r, struct err *err)
{
    struct net_link_config cfg = {.rank = r->id, .world = r->count, .log = r->w->cfg.log};
    struct net_job_config jc = {0};

    if (r->link)
        return NRT_SUCCESS;
    net_job_config_env(&jc, &r->w->cfg.sink);
    cfg.root = jc.root;
    if (!r->linked)
        r->linked = mem_calloc(r->count, sizeof(*r->linked));
    if (!r->linked)
        return err_set(err, NRT_RESOURCE, "no memory for %u ranks", r->count);
    return net_link_open(&cfg, &r->link, err);
}

static NRT_STATUS members_link(struct shared_comm *c, struct err *err)
{
    struct coll_rank *r = c->rank;
    uint8_t address[NET_ADDRESS_MAX];
    struct coll_parts all;
    NRT_STATUS st = link_open(r, err);

    if (!st)
        st = coll_meet_gather(c->meet, c->ranks, c->n, c->stream, address,
                              net_link_address(r->link, address), &all, err);
    if (st)
        return st;
    for (uint32_t i = 0; i < c->n && !st; i++) {
        uint32_t rank = c->ranks[i];

        if (r->linked[rank])
            continue;
        st = net_link_peer(r->link, rank, all.data + all.off[i], all.off[i + 1] - all.off[i], err);
        r->linked[rank] = !st;
    }
    coll_parts_free(&all);
    if (!st)
        net_link_watch(r->link, coll_meet_job(c->meet));
    return st;
}

static NRT_STATUS comm_open(struct shared_comm *c, struct err *err)
{
    const struct coll_world_config *wc = &c->rank->w->cfg;
    struct coll_config cfg = {.in = wc->in,
                              .group = &c->group,
                              .rank = c->me,
                              .core = c->rank->core,
                              .exchange = {c, exchange},
                              .tuning = &c->rank->w->tuning,
                              .log = wc->log};
    NRT_STATUS st = topo_group_init(&c->group, c->alone ? &c->rank->topo_alone : &c->rank->topo,
                                    c->ranks, c->n, err);

    if (!st && c->group.nodes > 1) {
        st = members_link(c, err);
        cfg.link = c->rank->link;
        cfg.job = coll_meet_job(c->meet);
    }
    return st ? st : coll_comm_open(&cfg, &c->comm, err);
}

static struct shared_comm *comm_find(struct coll_rank *r, const struct shared_want *want)
{
    struct shared_comm *c = r->comms;

    while (c &&
           (c->stale || c->n != want->n || c->stream != want->stream || c->alone != want->alone ||
            memcmp(c->ranks, want->ranks, want->n * sizeof(*c->ranks)) != 0))
        c = c->next;
    return c;
}

/* Under the rank's lock, so that loads on this core agree one after the other. */
NRT_STATUS shared_comm_get(struct coll_rank *r, const struct shared_want *want,
                           struct shared_comm **ret, struct err *err)
{
    struct shared_comm *have = comm_find(r, want), *c = have ? have : comm_make(r, want);
    uint64_t fresh = 0;
    NRT_STATUS st;

    if (!c)
        return err_set(err, NRT_RESOURCE, "no memory for a communicator");
    st = agree(c, want, &fresh, err);
    if (!st && fresh && have) {
        have->stale = true; /* its models keep it */
        c = comm_make(r, want);
        if (!c)
            return err_set(err, NRT_RESOURCE, "no memory for a communicator");
    }
    if (!st && fresh) {
        c->id = fresh;
        st = comm_open(c, err);
    }
    if (st) {
        if (c != have)
            comm_free(c);
        return st;
    }
    if (c == have) {
        c->refs++;
    } else {
        c->next = r->comms;
        r->comms = c;
    }
    *ret = c;
    return NRT_SUCCESS;
}

void shared_comm_put(struct shared_comm *c)
{
    struct shared_comm **at = &c->rank->comms;

    if (--c->refs > 0)
        return;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    comm_free(c);
}

/* ---- plans ---- */

static bool key_put(struct strbuf *b, const void *p, size_t size)
{
    strbuf_putn(b, p, size);
    return !b->failed;
}

/* All that tells one plan from another, as bytes. */
static bool plan_key(const struct coll_wish *w, uint32_t n, struct strbuf *b)
{
    size_t table = w->send_count ? (size_t)n * n * sizeof(uint32_t) : 0;
    uint64_t head[] = {w->op,         w->dtype,    w->reduce,    w->in_place, w->tensors,
                       w->pair_count, w->in_elems, w->out_elems, table};

    return key_put(b, head, sizeof(head)) &&
           key_put(b, w->counts, w->tensors * sizeof(*w->counts)) &&
           key_put(b, w->pairs, w->pair_count * sizeof(*w->pairs)) &&
           key_put(b, w->send_count, table) && key_put(b, w->send_displ, table) &&
           key_put(b, w->recv_displ, table) &&
           key_put(b, w->algorithm, w->algorithm ? strlen(w->algorithm) : 0);
}

/* The schedule borrows its tables: from the plan that it belongs to. */
static NRT_STATUS tables_keep(struct shared_plan *p, struct coll_wish *w, uint32_t n,
                              struct err *err)
{
    size_t cells = (size_t)n * n;

    if (!w->send_count)
        return NRT_SUCCESS;
    p->tables = mem_calloc(cells, 3 * sizeof(*p->tables));
    if (!p->tables)
        return err_set(err, NRT_RESOURCE, "no memory for a plan");
    memcpy(p->tables, w->send_count, cells * sizeof(*p->tables));
    memcpy(p->tables + cells, w->send_displ, cells * sizeof(*p->tables));
    memcpy(p->tables + 2 * cells, w->recv_displ, cells * sizeof(*p->tables));
    w->send_count = p->tables;
    w->send_displ = p->tables + cells;
    w->recv_displ = p->tables + 2 * cells;
    return NRT_SUCCESS;
}

static NRT_STATUS plan_make(struct shared_comm *c, const struct coll_wish *wish, struct strbuf *key,
                            struct coll_plan **ret, struct err *err)
{
    struct shared_plan *p = mem_zalloc(sizeof(*p));
    struct coll_wish w = *wish;
    NRT_STATUS st;

    if (!p)
        return err_set(err, NRT_RESOURCE, "no memory for a plan");
    st = tables_keep(p, &w, c->n, err);
    if (!st)
        st = coll_choose(c->comm, &w, &p->s, err);
    if (!st)
        st = coll_plan_create(c->comm, p->s, w.dtype, w.reduce, &p->plan, err);
    if (st) {
        plan_free(p);
        return st;
    }
    p->key = *key;
    *key = (struct strbuf){0};
    p->next = c->plans;
    c->plans = p;
    *ret = p->plan;
    return NRT_SUCCESS;
}

NRT_STATUS shared_plan_get(struct shared_comm *c, const struct coll_wish *w, struct coll_plan **ret,
                           struct err *err)
{
    struct strbuf key = {0};
    NRT_STATUS st = NRT_SUCCESS;

    *ret = NULL;
    if (!plan_key(w, c->n, &key))
        st = err_set(err, NRT_RESOURCE, "no memory for a plan");
    for (struct shared_plan *p = c->plans; p && !st && !*ret; p = p->next)
        if (p->key.len == key.len && memcmp(p->key.s, key.s, key.len) == 0)
            *ret = p->plan;
    if (!st && !*ret)
        st = plan_make(c, w, &key, ret, err);
    strbuf_fini(&key);
    return st;
}
