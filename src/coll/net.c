/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of schedules between nodes. A connector is one channel to or from one peer: a proxy
 * (net/proxy.h) and the page and counters through which the executor, as the device, drives it by
 * the credit protocol (docs/spec/collectives.md 11.3). Connectors belong to the communicator and
 * are shared by its plans; a plan has for each a wire: what one operation sends or receives.
 *
 * Data travels from where it lies to where it belongs; a receive is posted as soon as the schedule
 * allows it. An operation is over when all its entries are: the provider has nothing of it left. */
#include <stdio.h>

#include "base/mem.h"
#include "coll/coll_int.h"

#define LINK_BUDGET 64
#define SETTLE_NS   UINT64_C(100000000)  /* of a failure */
#define CLOSE_NS    UINT64_C(2000000000) /* of a communicator that closes */

struct coll_connector {
    _Alignas(128) struct net_page page;
    _Atomic uint32_t handshake, complete; /* added to by the proxy */
    uint32_t handshake_base, base;        /* their values when the operation began */
    uint32_t peer, channel;
    bool send;
    struct net_proxy *proxy;
    struct coll_connector *next;
};

/* ---- connectors ---- */

static struct coll_connector *connector_find(const struct coll_comm *c, uint32_t peer,
                                             uint32_t channel, bool send)
{
    struct coll_connector *k = c->net->connectors;

    while (k && (k->peer != peer || k->channel != channel || k->send != send))
        k = k->next;
    return k;
}

static NRT_STATUS connector_make(struct coll_comm *c, const struct plan_wire *w,
                                 struct coll_connector **ret, struct err *err)
{
    struct coll_connector *k = mem_aligned(128, sizeof(*k));
    char name[64];
    NRT_STATUS st;

    if (!k)
        return err_set(err, NRT_RESOURCE, "no memory for a connector");
    *k = (struct coll_connector){.peer = w->peer, .channel = w->channel, .send = w->send};
    snprintf(name, sizeof(name), "channel %u %s rank %u", w->channel, w->send ? "to" : "from",
             w->peer);
    struct net_proxy_config cfg = {.send = w->send,
                                   .channel = c->net->first_channel + w->channel,
                                   .page = &k->page,
                                   .handshake = &k->handshake,
                                   .complete = &k->complete,
                                   .wire = net_link_wire(c->cfg.link),
                                   .log = c->cfg.log,
                                   .quiet = true,
                                   .now = c->cfg.now,
                                   .now_arg = c->cfg.now_arg,
                                   .name = name};

    st = net_proxy_open(&cfg, &k->proxy, err);
    if (st) {
        mem_free(k);
        return st;
    }
    k->next = c->net->connectors;
    c->net->connectors = k;
    *ret = k;
    return NRT_SUCCESS;
}

/* ---- compiling ---- */

static struct plan_wire *wire_of(struct coll_plan *p, uint32_t channel, uint32_t peer, bool send,
                                 uint32_t *ret_index)
{
    for (size_t i = p->wire_count; i-- > 0;) { /* most repeat a recent one */
        struct plan_wire *w = &p->wires[i];

        if (w->peer == peer && w->channel == channel && w->send == send) {
            *ret_index = (uint32_t)i;
            return w;
        }
    }
    return NULL;
}

static struct plan_wire *wire_new(struct coll_plan *p, uint32_t channel, uint32_t peer, bool send,
                                  uint32_t *ret_index)
{
    if (!mem_grow((void **)&p->wires, &p->wire_cap, p->wire_count + 1, sizeof(*p->wires)))
        return NULL;
    *ret_index = (uint32_t)p->wire_count++;
    p->wires[*ret_index] = (struct plan_wire){.peer = peer, .channel = channel, .send = send};
    return &p->wires[*ret_index];
}

/* One entry for each piece; a message of no bytes is one, too. */
static bool entries_add(struct coll_plan *p, struct plan_wire *w, const struct plan_ref *ref,
                        uint64_t bytes)
{
    uint32_t world = sched_request_of(p->s)->group->rank[w->peer];
    uint16_t stamp = (uint16_t)(p->signature ^ p->signature >> 16);
    uint64_t at = 0;

    do {
        uint64_t n = bytes - at < COLL_NET_PIECE ? bytes - at : COLL_NET_PIECE;

        if (!mem_grow((void **)&w->entries, &w->entry_cap, w->count + 1u, sizeof(*w->entries)) ||
            !mem_grow((void **)&w->refs, &w->ref_cap, w->count + 1u, sizeof(*w->refs)))
            return false;
        w->entries[w->count] =
            (struct net_entry){.size = (uint32_t)n, .peer = world, .stamp = stamp};
        w->refs[w->count] = *ref;
        w->refs[w->count++].off += at;
        at += n;
    } while (at < bytes);
    return true;
}

bool coll_wire_add(struct coll_plan *p, uint32_t channel, struct plan_step *step)
{
    struct plan_channel *ch = &p->channels[channel];
    bool send = step->kind == SCHED_NET_SEND;
    struct plan_wire *w = wire_of(p, channel, step->peer, send, &step->repeat);
    const struct plan_ref none = {0}, *ref = step->count ? &ch->refs[step->refs] : &none;

    if (!w)
        w = wire_new(p, channel, step->peer, send, &step->repeat);
    if (!w || !entries_add(p, w, ref, step->count * p->elem) ||
        !mem_grow((void **)&w->ends, &w->end_cap, w->messages + 1u, sizeof(*w->ends)))
        return false;
    if (step->count)
        p->bases[ref->base].wired = true;
    w->ends[w->messages++] = w->count;
    w->last = (size_t)(step - ch->steps);
    step->value = w->count;
    step->sem = send ? SCHED_SEM_SENT : SCHED_SEM_ARRIVED;
    return true;
}

/* A WAIT counts messages; from here on it counts entries of its wire. */
static NRT_STATUS wait_fix(struct coll_plan *p, uint32_t channel, struct plan_step *step,
                           struct err *err)
{
    const struct plan_wire *w =
        wire_of(p, channel, step->peer, step->sem == SCHED_SEM_SENT, &step->repeat);

    if (!w || step->value > w->messages)
        return err_set(err, NRT_INVALID,
                       "the schedule waits for message %u with rank %u on channel %u, which it "
                       "does not post",
                       step->value, step->peer, channel);
    step->value = step->value ? w->ends[step->value - 1] : 0;
    return NRT_SUCCESS;
}

NRT_STATUS coll_wires_greet(struct coll_plan *p, struct err *err)
{
    if (p->wire_count == 0)
        return NRT_SUCCESS;
    for (size_t i = 0; i < p->wire_count; i++)
        coll_tell_want(p->comm, p->wires[i].peer);
    return coll_tell_greet(p->comm, err);
}

NRT_STATUS coll_comm_greet(struct coll_comm *c, struct err *err)
{
    const struct topo_group *g = c->cfg.group;

    if (!c->net)
        return NRT_SUCCESS;
    for (uint32_t r = 0; r < c->n; r++)
        if (g->node[r] != g->node[c->me])
            coll_tell_want(c, r);
    return coll_tell_greet(c, err);
}

static NRT_STATUS connectors_take(struct coll_plan *p, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    pthread_mutex_lock(&p->comm->net->lock);
    for (size_t i = 0; i < p->wire_count && !st; i++) {
        struct plan_wire *w = &p->wires[i];

        w->connector = connector_find(p->comm, w->peer, w->channel, w->send);
        if (!w->connector)
            st = connector_make(p->comm, w, &w->connector, err);
    }
    pthread_mutex_unlock(&p->comm->net->lock);
    return st;
}

NRT_STATUS coll_wires_open(struct coll_plan *p, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    if (p->wire_count && !p->comm->net)
        return err_set(err, NRT_INVALID, "a schedule between nodes for a communicator of one");
    if (p->wire_count)
        st = connectors_take(p, err);
    for (uint32_t ch = 0; ch < sched_channels(p->s) && !st; ch++)
        for (size_t i = 0; i < p->channels[ch].count && !st; i++) {
            struct plan_step *step = &p->channels[ch].steps[i];

            if (step->kind == SCHED_WAIT && step->sem >= SCHED_SEM_SENT)
                st = wait_fix(p, ch, step, err);
        }
    return st;
}

void coll_wires_free(struct coll_plan *p)
{
    for (size_t i = 0; i < p->base_count; i++)
        if (p->bases[i].memory)
            net_memory_release(p->comm->cfg.link, p->bases[i].memory);
    for (size_t i = 0; i < p->wire_count; i++) {
        mem_free(p->wires[i].entries);
        mem_free(p->wires[i].refs);
        mem_free(p->wires[i].ends);
    }
    mem_free(p->wires);
}

/* ---- an operation ---- */

/* Tensors are registered again for every operation: what lay at their address may have been freed
 * in between. Buffers stay. */
static NRT_STATUS memory_register(struct coll_plan *p, struct err *err)
{
    struct net_link *link = p->comm->cfg.link;

    for (size_t i = 0; i < p->base_count; i++) {
        struct plan_base *b = &p->bases[i];
        bool buffer = b->buf == SCHED_SLOT || b->buf == SCHED_TEMP;
        NRT_STATUS st;

        if (!b->wired || b->bytes == 0 || (buffer && b->registered == b->p))
            continue;
        net_memory_release(link, b->memory);
        b->memory = NULL;
        st = net_memory_register(link, b->p, b->bytes, &b->memory, err);
        if (st)
            return st;
        b->registered = b->p;
    }
    return NRT_SUCCESS;
}

static void index_set(struct coll_connector *k, uint32_t v)
{
    /* release: data that is sent was written before */
    atomic_store_explicit(&k->page.fold[0].index, v, memory_order_release);
}

NRT_STATUS coll_wires_begin(struct coll_plan *p, struct err *err)
{
    static uint8_t nothing[1]; /* where messages of no bytes come from and go to */
    NRT_STATUS st = memory_register(p, err);

    for (size_t i = 0; i < p->wire_count && !st; i++) {
        struct plan_wire *w = &p->wires[i];

        for (uint32_t j = 0; j < w->count; j++) {
            struct net_entry *e = &w->entries[j];
            const struct plan_base *b = e->size ? &p->bases[w->refs[j].base] : NULL;

            e->data = b ? b->p + w->refs[j].off : nothing;
            e->memory = b ? b->memory : NULL;
        }
    }
    /* nothing can fail from here on: no operation is pending at any proxy */
    for (size_t i = 0; i < p->wire_count && !st; i++) {
        struct plan_wire *w = &p->wires[i];

        st = net_proxy_add(w->connector->proxy, w->entries, w->count, err);
        index_set(w->connector, NET_INDEX_READY);
    }
    return st;
}

static uint32_t since(const _Atomic uint32_t *counter, uint32_t base)
{
    /* acquire: data that has been received is visible */
    return atomic_load_explicit(counter, memory_order_acquire) - base;
}

uint32_t coll_net_culprit(const struct coll_comm *c, uint32_t otherwise)
{
    uint32_t lost = c->cfg.job ? net_job_culprit(c->cfg.job) : NET_NO_RANK;

    for (uint32_t r = 0; r < c->n && lost != NET_NO_RANK; r++)
        if (c->cfg.group->rank[r] == lost)
            return r;
    return otherwise;
}

void coll_net_fail(struct coll_comm *c, uint32_t peer, const struct err *why, const char *differ)
{
    bool mine = why->status == NRT_RESOURCE; /* this rank's memory: nobody else is to blame */
    char where[COLL_WHERE_MAX];

    coll_where(c, where, sizeof(where));
    coll_fail(c, mine ? NRT_EXEC_HW_ERR_COLLECTIVES : NRT_NETWORK_PROXY_FAILURE,
              mine ? c->me : coll_net_culprit(c, peer), "%s: %s%s", where, why->text, differ);
}

/* What has broken the wire, in words that say where; unless the peer that was asked has told of the
 * failure that did. */
static void proxy_check(struct coll_comm *c, const struct coll_connector *k)
{
    char differ[COLL_DIFFER_MAX];
    struct err why = {0};

    if (!net_proxy_state(k->proxy, &why))
        return;
    /* where nobody was lost the peer may do something else: it is asked what */
    if (why.status != NRT_RESOURCE && coll_net_culprit(c, c->n) == c->n)
        coll_tell_ask(c, k->peer);
    coll_differ_text(c, k->peer, differ);
    coll_net_fail(c, k->peer, &why, differ);
}

bool coll_net_post(struct coll_comm *c, const struct plan_step *step)
{
    struct coll_connector *k = c->run->plan->wires[step->repeat].connector;

    if (since(&k->handshake, k->handshake_base) == 0)
        (void)net_proxy_step(k->proxy);
    if (since(&k->handshake, k->handshake_base) == 0)
        return false;
    index_set(k, step->value);
    (void)net_proxy_step(k->proxy); /* at once, where the wire has room */
    proxy_check(c, k);
    return !c->status;
}

bool coll_net_reached(struct coll_comm *c, const struct plan_step *step)
{
    const struct coll_connector *k = c->run->plan->wires[step->repeat].connector;

    return since(&k->complete, k->base) >= step->value;
}

static bool wire_over(const struct plan_wire *w)
{
    return since(&w->connector->complete, w->connector->base) == w->count;
}

bool coll_net_over(struct coll_comm *c, const struct plan_step **ret)
{
    const struct coll_plan *p = c->run->plan;

    for (size_t i = 0; i < p->wire_count; i++)
        if (!wire_over(&p->wires[i])) {
            *ret = &p->channels[p->wires[i].channel].steps[p->wires[i].last];
            return false;
        }
    return true;
}

void coll_wires_end(struct coll_plan *p)
{
    for (size_t i = 0; i < p->wire_count; i++) {
        struct coll_connector *k = p->wires[i].connector;

        k->handshake_base++;
        k->base += p->wires[i].count;
    }
}

/* ---- progress ---- */

unsigned coll_net_progress(struct coll_comm *c)
{
    struct coll_plan *p = c->run->plan;
    unsigned n = net_link_progress(c->cfg.link, LINK_BUDGET);

    for (size_t i = 0; p && i < p->wire_count && !c->status; i++) {
        struct plan_wire *w = &p->wires[i];

        if (wire_over(w))
            continue;
        n += net_proxy_step(w->connector->proxy);
        proxy_check(c, w->connector);
    }
    return c->status ? n : n + coll_tell_progress(c);
}

bool coll_net_busy(const struct coll_comm *c)
{
    return c->net && c->run->plan && c->run->plan->wire_count > 0;
}

void coll_net_expect(struct coll_comm *c, bool waits)
{
    if (c->net->expects == waits)
        return;
    c->net->expects = waits;
    net_link_expect(c->cfg.link, waits);
}

void coll_net_stop(struct coll_comm *c)
{
    coll_net_expect(c, false);
    pthread_mutex_lock(&c->net->lock);
    for (struct coll_connector *k = c->net->connectors; k; k = k->next) {
        net_proxy_close(k->proxy);
        k->proxy = NULL;
    }
    pthread_mutex_unlock(&c->net->lock);
    net_link_settle(c->cfg.link, SETTLE_NS);
    net_link_give_up(c->cfg.link);
}

/* ---- opening and closing ---- */

NRT_STATUS coll_net_open(struct coll_comm *c, uint32_t number, struct err *err)
{
    if (number >= NET_LINK_GROUP_MAX)
        return err_set(err, NRT_RESOURCE, "no number is left for a communicator between nodes");
    c->net = mem_zalloc(sizeof(*c->net));
    if (!c->net)
        return err_set(err, NRT_RESOURCE, "no memory for a communicator");
    if (net_link_group_hold(c->cfg.link, number, err)) {
        mem_free(c->net);
        c->net = NULL; /* there is nothing to drop */
        return err->status;
    }
    pthread_mutex_init(&c->net->lock, NULL);
    c->net->first_channel = number * NET_LINK_GROUP_CHANNELS;
    return coll_tell_open(c, c->net->first_channel + NET_LINK_GROUP_CHANNELS - 1, err);
}

void coll_net_close(struct coll_comm *c)
{
    struct coll_connector *next;

    if (!c->net)
        return;
    coll_net_expect(c, false);
    for (struct coll_connector *k = c->net->connectors; k; k = next) {
        next = k->next;
        net_proxy_close(k->proxy);
        mem_free(k);
    }
    coll_tell_drop(c);
    net_link_settle(c->cfg.link, CLOSE_NS);
    net_link_group_drop(c->cfg.link, c->net->first_channel / NET_LINK_GROUP_CHANNELS);
    coll_tell_free(c);
    pthread_mutex_destroy(&c->net->lock);
    mem_free(c->net);
    c->net = NULL;
}
