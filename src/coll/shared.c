/* SPDX-License-Identifier: Apache-2.0 */
/* Communicators and plans that models share. Whether a communicator can be used again is asked of
 * all its members each time a model wants it: one of them may have closed its own, or seen it
 * break. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/settings.h"
#include "coll/world_int.h"
#include "device/device.h"
#include "net/job.h"
#include "net/link.h"
#include "run/place.h"

#define PLANS_KEPT 64u /* of a communicator whose operations the host drives */

/* ---- what members tell each other ---- */

static struct coll_meet *meet_of(const struct coll_rank *r, const struct shared_want *want)
{
    return want->alone ? r->alone : r->meet;
}

static uint32_t tag_of(const struct coll_rank *r, uint32_t stream)
{
    return r->driven ? TAG_DRIVEN : load_tag(r, TAG_STREAM + stream);
}

/* most: bytes of any member. Without memory for all that, the others get nothing from this rank. */
static NRT_STATUS members_gather(const struct coll_rank *r, const struct shared_want *want,
                                 const void *mine, size_t size, size_t most, struct coll_parts *ret,
                                 struct err *err)
{
    const struct coll_terms terms = {.call = r->driven ? CALL_SCHEDULE : CALL_LOAD,
                                     .limit_ms = r->w->limit_ms,
                                     .most = most,
                                     .excused = true};

    return coll_meet_gather(meet_of(r, want), want->ranks, want->n, tag_of(r, want->stream), mine,
                            size, &terms, ret, err);
}

struct agree {
    uint64_t id;   /* of the communicator that this rank has and that works; 0: none */
    uint64_t next; /* the first member's names the one that is opened if not all have the same */
    uint64_t failed;
};

/* *ret_fresh: a new communicator is needed, with this id; 0: everybody has the same. */
static NRT_STATUS agree_check(const struct shared_want *want, const struct coll_parts *all,
                              uint64_t *ret_fresh, struct err *err)
{
    struct agree first, a;
    bool same = true;

    for (uint32_t i = 0; i < want->n; i++) {
        if (all->off[i + 1] == all->off[i])
            return err_set(err, NRT_FAILURE, "rank %u has no memory for a communicator",
                           want->ranks[i]);
        if (all->off[i + 1] - all->off[i] != sizeof(a))
            return err_set(err, NRT_INVALID, "rank %u speaks another protocol", want->ranks[i]);
        memcpy(&a, all->data + all->off[i], sizeof(a));
        if (a.failed)
            return err_set(err, NRT_FAILURE, "rank %u cannot load the model", want->ranks[i]);
        if (i == 0)
            first = a;
        same = same && a.id != 0 && a.id == first.id;
    }
    *ret_fresh = same ? 0 : first.next;
    return NRT_SUCCESS;
}

/* have: the communicator that this rank has, or NULL. */
static NRT_STATUS agree(struct coll_rank *r, const struct shared_want *want,
                        const struct shared_comm *have, uint64_t *ret_fresh, struct err *err)
{
    bool works = have && coll_comm_works(have->comm);
    struct agree mine = {.id = works ? have->id : 0, .next = ++r->comm_ids, .failed = want->failed};
    struct coll_parts all;
    NRT_STATUS st = members_gather(r, want, &mine, sizeof(mine), sizeof(mine), &all, err);

    if (st)
        return st;
    st = agree_check(want, &all, ret_fresh, err);
    coll_parts_free(&all);
    return st;
}

/* ---- communicators ---- */

static struct shared_want want_of(const struct shared_comm *c)
{
    return (struct shared_want){
        .alone = c->alone, .n = c->n, .me = c->me, .stream = c->stream, .ranks = c->ranks};
}

/* Of a member that had no memory to give its bytes: zeros, which say that it cannot go on. */
static NRT_STATUS exchange(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    struct shared_comm *c = arg;
    struct shared_want want = want_of(c);
    struct coll_parts parts;
    NRT_STATUS st = members_gather(c->rank, &want, mine, size, size, &parts, err);

    if (st)
        return st;
    memset(all, 0, size * c->n);
    for (uint32_t i = 0; i < c->n && !st; i++) {
        size_t given = parts.off[i + 1] - parts.off[i];

        if (given == size)
            memcpy((uint8_t *)all + i * size, parts.data + parts.off[i], size);
        else if (given)
            st = err_set(err, NRT_INVALID, "the members of a group exchange different things");
    }
    coll_parts_free(&parts);
    return st;
}

static void exchange_leave(void *arg, const void *mine, size_t size)
{
    struct shared_comm *c = arg;
    struct err ignored = {0};

    (void)coll_meet_leave(c->meet, c->ranks, c->n, tag_of(c->rank, c->stream), mine, size, false,
                          &ignored);
}

static void plan_free(struct shared_plan *p)
{
    if (!p)
        return;
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
    c->meet = meet_of(r, want);
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
    const struct device_instance *in = r->w->cfg.in;
    struct net_link_config cfg = {.rank = r->id, .world = r->count, .log = r->w->cfg.log};
    struct net_job_config jc = {0};

    if (r->link)
        return net_link_renew(r->link, err);
    net_job_config_env(&jc, &r->w->cfg.sink);
    cfg.root = jc.root;
    cfg.servers = r->w->servers;
    (void)run_place_proxy(device_place(in), topo_core_device(device_topo(in), r->core),
                          r->w->cfg.first_vnc + r->vnc, &cfg.cpus);
    return net_link_open(&cfg, &r->link, err);
}

/* What this rank needs for itself before the members open the communicator. */
static NRT_STATUS comm_prepare(struct shared_comm *c, struct err *err)
{
    struct coll_rank *r = c->rank;
    NRT_STATUS st =
        topo_group_init(&c->group, c->alone ? &r->topo_alone : &r->topo, c->ranks, c->n, err);

    return st || c->group.nodes == 1 ? st : link_open(r, err);
}

/* What a member says when it is prepared: 1 and its address, or 0. */
struct prepared {
    size_t size;
    uint8_t bytes[1 + NET_ADDRESS_MAX];
};

static NRT_STATUS prepared_check(const struct shared_want *want, const struct coll_parts *all,
                                 struct err *err)
{
    for (uint32_t i = 0; i < want->n; i++) {
        bool silent = all->off[i + 1] == all->off[i];

        if (silent || all->data[all->off[i]] != 1)
            return err_set(err, NRT_FAILURE, "rank %u %s a member of a communicator",
                           want->ranks[i], silent ? "has no memory to be" : "cannot be");
    }
    return NRT_SUCCESS;
}

static NRT_STATUS members_link(struct shared_comm *c, const struct coll_parts *all, struct err *err)
{
    struct coll_rank *r = c->rank;
    NRT_STATUS st = NRT_SUCCESS;

    for (uint32_t i = 0; i < c->n && !st; i++)
        st = net_link_peer(r->link, c->ranks[i], all->data + all->off[i] + 1,
                           all->off[i + 1] - all->off[i] - 1, err);
    if (!st)
        net_link_watch(r->link, coll_meet_job(c->meet));
    return st;
}

/* Those of programs greet in a load; every run brings its own limit. */
static uint64_t comm_timeout(const struct coll_rank *r)
{
    uint64_t ns = r->driven ? r->w->exec_ns : r->w->limit_ms * UINT64_C(1000000);

    return ns ? ns : UINT64_MAX / 4; /* a clock plus that does not wrap */
}

/* All are prepared. What fails here is told in the first exchange of the communicator. */
static NRT_STATUS comm_open(struct shared_comm *c, const struct coll_parts *all, struct err *err)
{
    const struct coll_world *w = c->rank->w;
    struct coll_config cfg = {.in = w->cfg.in,
                              .group = &c->group,
                              .rank = c->me,
                              .core = c->rank->core,
                              .exchange = {c, exchange, exchange_leave},
                              .job = coll_meet_job(c->meet),
                              .tuning = &w->tuning,
                              .flight_dir = w->flight_dir,
                              .driven = c->rank->driven,
                              .timeout_ns = comm_timeout(c->rank),
                              .log = w->cfg.log};
    struct err why = {0};

    if (c->group.nodes > 1) {
        if (members_link(c, all, &why))
            cfg.unfit = &why;
        cfg.link = c->rank->link;
    }
    return coll_comm_open(&cfg, &c->comm, err);
}

/* c: NULL, there was no memory for it. */
static NRT_STATUS members_open(struct coll_rank *r, const struct shared_want *want,
                               struct shared_comm *c, struct err *err)
{
    struct prepared p = {.size = 1};
    struct coll_parts all;
    struct err why = {0};
    NRT_STATUS st = NRT_RESOURCE, met;

    if (c)
        st = comm_prepare(c, err);
    else
        err_set(err, st, "no memory for a communicator");
    p.bytes[0] = !st;
    if (!st && c->group.nodes > 1)
        p.size += net_link_address(r->link, p.bytes + 1);
    met = members_gather(r, want, p.bytes, p.size, sizeof(p.bytes), &all, &why);
    if (met) {
        if (!st)
            *err = why;
        return st ? st : met;
    }
    if (!st)
        st = prepared_check(want, &all, err);
    if (!st)
        st = comm_open(c, &all, err);
    coll_parts_free(&all);
    return st;
}

/* With a reference; NULL: there is none. */
static struct shared_comm *comm_find(struct coll_rank *r, const struct shared_want *want)
{
    struct shared_comm *c;

    pthread_mutex_lock(&r->lock);
    c = r->comms;
    while (c &&
           (c->stale || c->n != want->n || c->stream != want->stream || c->alone != want->alone ||
            memcmp(c->ranks, want->ranks, want->n * sizeof(*c->ranks)) != 0))
        c = c->next;
    if (c)
        c->refs++;
    pthread_mutex_unlock(&r->lock);
    return c;
}

static void comm_add(struct shared_comm *c)
{
    pthread_mutex_lock(&c->rank->lock);
    c->next = c->rank->comms;
    c->rank->comms = c;
    pthread_mutex_unlock(&c->rank->lock);
}

void shared_comm_retire(struct shared_comm *c)
{
    pthread_mutex_lock(&c->rank->lock);
    c->stale = true;
    pthread_mutex_unlock(&c->rank->lock);
}

void shared_comm_part(struct coll_rank *r, const struct shared_want *want)
{
    coll_meet_forget(meet_of(r, want), want->ranks, want->n, tag_of(r, want->stream));
}

/* With the other members, who have agreed on the id. */
static NRT_STATUS comm_new(struct coll_rank *r, const struct shared_want *want, uint64_t id,
                           struct shared_comm **ret, struct err *err)
{
    struct shared_comm *c = comm_make(r, want);
    NRT_STATUS st = members_open(r, want, c, err);

    if (st) {
        if (c)
            comm_free(c);
        return st;
    }
    c->id = id;
    comm_add(c);
    *ret = c;
    return NRT_SUCCESS;
}

NRT_STATUS shared_comm_keep(struct coll_rank *r, const struct shared_want *want,
                            struct shared_comm **ret, struct err *err)
{
    struct shared_comm *c = comm_find(r, want);

    if (!c)
        return comm_new(r, want, 1, ret, err);
    shared_comm_put(c); /* the list keeps it */
    *ret = c;
    return NRT_SUCCESS;
}

void shared_comm_put_all(struct coll_rank *r)
{
    while (r->comms)
        shared_comm_put(r->comms);
}

NRT_STATUS shared_comm_get(struct coll_rank *r, const struct shared_want *want,
                           struct shared_comm **ret, struct err *err)
{
    struct shared_comm *c = comm_find(r, want);
    uint64_t fresh = 0;
    NRT_STATUS st = agree(r, want, c, &fresh, err);

    if (c && (st || fresh)) {
        if (fresh)
            shared_comm_retire(c); /* its models keep it */
        shared_comm_put(c);
        c = NULL;
    }
    if (!st && fresh)
        return comm_new(r, want, fresh, ret, err);
    if (!st)
        *ret = c;
    return st;
}

void shared_comm_put(struct shared_comm *c)
{
    struct shared_comm **at = &c->rank->comms;
    bool last;

    pthread_mutex_lock(&c->rank->lock);
    last = --c->refs == 0;
    while (last && *at != c)
        at = &(*at)->next;
    if (last)
        *at = c->next;
    pthread_mutex_unlock(&c->rank->lock);
    if (last)
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

/* Of operations that the host drives nobody knows that the others make the same, so they are only
 * asked where they must be: else a rank that makes another one would wait here, and the others in
 * their operation, where differences are found and named. */
static NRT_STATUS plan_compile(struct shared_comm *c, struct shared_plan *p,
                               const struct coll_wish *w, struct err *err)
{
    if (c->rank->driven && !coll_sched_has_buffers(p->s))
        return coll_plan_create_alone(c->comm, p->s, w->dtype, w->reduce, NULL, &p->plan, err);
    return coll_plan_create(c->comm, p->s, w->dtype, w->reduce, &p->plan, err);
}

/* Members drive the same operations in the same order, so all forget the same plan. */
static void plans_trim(struct shared_comm *c)
{
    struct shared_plan **at = &c->plans;

    for (unsigned i = 0; *at && i < PLANS_KEPT; i++)
        at = &(*at)->next;
    if (*at) {
        plan_free(*at);
        *at = NULL;
    }
}

/* NULL: there is none. Of a driven rank it is the first of the list from now on. */
static struct coll_plan *plan_find(struct shared_comm *c, const struct strbuf *key)
{
    struct shared_plan **at = &c->plans, *p;

    while ((p = *at) && (p->key.len != key->len || memcmp(p->key.s, key->s, key->len) != 0))
        at = &p->next;
    if (!p)
        return NULL;
    if (c->rank->driven) {
        *at = p->next;
        p->next = c->plans;
        c->plans = p;
    }
    return p->plan;
}

static NRT_STATUS plan_make(struct shared_comm *c, const struct coll_wish *wish, struct strbuf *key,
                            struct coll_plan **ret, struct err *err)
{
    struct shared_plan *p = mem_zalloc(sizeof(*p));
    struct coll_wish w = *wish;
    NRT_STATUS st;

    if (!p)
        st = err_set(err, NRT_RESOURCE, "no memory for a plan");
    else
        st = tables_keep(p, &w, c->n, err);
    if (!st)
        st = coll_choose(c->comm, &w, &p->s, err);
    if (st == NRT_RESOURCE) /* all else is wrong for everybody */
        coll_plan_refuse(c->comm);
    if (!st)
        st = plan_compile(c, p, &w, err);
    if (st) {
        plan_free(p);
        return st;
    }
    p->key = *key;
    *key = (struct strbuf){0};
    p->next = c->plans;
    c->plans = p;
    if (c->rank->driven)
        plans_trim(c);
    *ret = p->plan;
    return NRT_SUCCESS;
}

NRT_STATUS shared_plan_get(struct shared_comm *c, const struct coll_wish *w, struct coll_plan **ret,
                           struct err *err)
{
    struct strbuf key = {0};
    NRT_STATUS st = NRT_SUCCESS;

    *ret = NULL;
    if (!plan_key(w, c->n, &key)) {
        st = err_set(err, NRT_RESOURCE, "no memory for a plan");
        if (c->rank->driven) /* whose next plan may never come */
            coll_plan_refuse(c->comm);
        else
            coll_comm_set_unfit(c->comm);
    }
    if (!st)
        *ret = plan_find(c, &key);
    if (!st && !*ret)
        st = plan_make(c, w, &key, ret, err);
    strbuf_fini(&key);
    return st;
}
