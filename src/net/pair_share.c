/* SPDX-License-Identifier: Apache-2.0 */
/* Transfers of a pair inside one instance: who has what and who has got it is said in pages of the
 * instance's memory (pair_share.h), and the receiver copies from HBM to HBM. The connection stays
 * what tells that the other end has gone, and what wakes an end that sleeps.
 *
 * Sleeping. An end at which somebody looks again and again needs no word. Before its thread goes to
 * sleep for good it says so in the page and looks once more; who has written something looks there
 * afterwards, with a full fence on either side between the two. So one of them sees the other. */
#include "net/pair_share.h"

#include "base/base.h"
#include "device/device.h"
#include "net/pair_int.h"

_Static_assert(sizeof(struct share_have) == SHARE_LINE, "one cache line a message");

/* --- agreeing ----------------------------------------------------------------------------------
 */

/* Memory of the pair on its core's HBM; reads as zero. */
static bool memory_get(struct net_pair *p, uint64_t size, struct device_extent *ret, void **ret_p)
{
    struct device_instance *in = p->set->cfg.in;
    struct device_alloc a = {.core = device_vnc_core(in, p->core),
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_COLL,
                             .flags = DEVICE_ALLOC_BACK | DEVICE_ALLOC_QUIET,
                             .size = size,
                             .name = "send and receive"};
    struct err why = {0};

    if (device_alloc(in, &a, ret, &why) != NRT_SUCCESS)
        return false;
    if (device_map(in, ret->addr, size, DEVICE_RW, ret_p, &why) == NRT_SUCCESS)
        return true;
    (void)device_free(in, ret, &why);
    ret->size = 0;
    return false;
}

/* What this end needs: the page, and of a sender the staging memory. */
static bool memories_get(struct net_pair *p, struct pair_share *h)
{
    void *page, *stage;

    if (!memory_get(p, sizeof(struct share_page), &h->mine, &page))
        return false;
    h->own = page;
    if (!p->send)
        return true;
    if (!memory_get(p, SHARE_STAGE, &h->stage, &stage))
        return false;
    h->stage_at = stage;
    return true;
}

/* Gives its memory back, now or later. */
static void share_drop(struct net_pairs *s, struct pair_share *h)
{
    h->next_kept = s->kept;
    s->kept = h;
    pairs_share_free(s, false);
}

bool pair_share_offer(struct net_pair *p)
{
    struct msg m = {.type = MSG_SHARE};
    struct pair_share *h = NULL;

    if (p->set->cfg.share)
        h = mem_zalloc(sizeof(*h));
    if (h != NULL && memories_get(p, h)) {
        m.u.share = (struct msg_share){
            .addr = h->mine.addr, .generation = h->mine.generation, .extent = h->mine.index};
        p->share = h;
    } else if (h != NULL) {
        share_drop(p->set, h);
    }
    line_send(p->set, p->line, msg_build(&m, NULL, NULL));
    return p->share != NULL;
}

bool pair_share_offered(struct net_pair *p, const struct msg_share *m)
{
    struct pair_share *h = p->share;
    struct err why = {0};
    void *page;

    if (h == NULL)
        return true; /* it hears the same of us */
    if (m->generation == 0) {
        pair_share_end(p);
        return true;
    }
    if (m->addr % SHARE_LINE != 0 || device_map(p->set->cfg.in, m->addr, sizeof(struct share_page),
                                                DEVICE_READ, &page, &why) != NRT_SUCCESS)
        return false;
    h->other = page;
    h->extent = m->extent;
    h->generation = m->generation;
    h->agreed = true;
    return true;
}

/* --- words to the other end --------------------------------------------------------------------
 */

void share_tell(struct net_pair *p)
{
    struct msg m = {.type = MSG_LOOK};

    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&p->share->other->asleep, memory_order_relaxed) != 0)
        line_send(p->set, p->line, msg_build(&m, NULL, NULL));
}

/* Whether this end has to do something as soon as the other one has. */
static bool must_look(const struct net_pair *p)
{
    const struct net_transfer *t = p->first;

    while (p->send && t != NULL && (t->m.device || t->at == t->size))
        t = t->next;
    return t != NULL;
}

static void asleep_set(struct net_pair *p, bool asleep)
{
    atomic_store_explicit(&p->share->own->asleep, asleep, memory_order_relaxed);
    share_point(p);
}

static void watch(struct net_pair *p)
{
    if (p->share->watched)
        return;
    p->share->watched = true;
    p->share->next = p->set->watched;
    p->set->watched = p;
}

static void unwatch(struct net_pair *p)
{
    struct net_pair **at = &p->set->watched;

    if (!p->share->watched)
        return;
    while (*at != p)
        at = &(*at)->share->next;
    *at = p->share->next;
    p->share->watched = false;
    asleep_set(p, false);
}

void pair_share_post(struct net_pair *p, const struct net_transfer *t)
{
    struct pair_share *h = p->share;
    struct share_have *e = &h->own->ring.have[t->index % NET_PAIR_PENDING_MAX];
    bool staged = !t->m.device && t->size > 0;
    uint64_t addr = staged ? h->stage.addr : t->m.addr;

    p->told++;
    p->fresh = NULL;
    watch(p);
    if (p->send) {
        atomic_store_explicit(&e->size, t->size, memory_order_relaxed);
        atomic_store_explicit(&e->addr, addr, memory_order_relaxed);
        atomic_store_explicit(&e->generation, staged ? h->stage.generation : t->m.generation,
                              memory_order_relaxed);
        atomic_store_explicit(&e->extent, staged ? h->stage.index : t->m.extent,
                              memory_order_relaxed);
        atomic_store_explicit(&e->how, staged ? SHARE_STAGED : SHARE_DEVICE, memory_order_relaxed);
        atomic_store_explicit(&e->put, 0, memory_order_relaxed);
        atomic_store_explicit(&e->number, t->index + 1, memory_order_release);
        share_point(p);
        p->more |= staged;
        share_tell(p);
    } else {
        atomic_store_explicit(&h->own->wants, p->told, memory_order_relaxed);
        share_point(p);
    }
    if (p->set->dozing && share_connected(p))
        p->more |= pair_share_doze(p);
}

bool pair_share_doze(struct net_pair *p)
{
    const struct share_page *other = p->share->other;
    const struct net_transfer *t = p->first;
    const struct share_have *e;
    uint64_t slot;

    if (!must_look(p) || p->share->gone)
        return false;
    asleep_set(p, true);
    atomic_thread_fence(memory_order_seq_cst);
    slot = t->index % NET_PAIR_PENDING_MAX;
    if (p->send)
        return atomic_load_explicit(&other->taken, memory_order_relaxed) != p->share->taken ||
               atomic_load_explicit(&other->ring.got[slot].number, memory_order_relaxed) ==
                   t->index + 1;
    e = &other->ring.have[slot];
    if (atomic_load_explicit(&e->number, memory_order_relaxed) != t->index + 1)
        return false;
    return p->busy == NULL || t->reads ||
           atomic_load_explicit(&e->put, memory_order_relaxed) != t->at;
}

void pair_share_rouse(struct net_pair *p)
{
    asleep_set(p, false);
}

struct net_pair *pair_share_next(const struct net_pair *p)
{
    return p->share->next;
}

bool pairs_share_look(struct net_pairs *s)
{
    struct net_pair *p = s->watched, *next;
    bool moved = false;

    for (; p != NULL; p = next) {
        next = p->share->next;
        if (p->first == NULL)
            unwatch(p);
        else
            moved |= pair_share_move(p);
    }
    return moved;
}

/* --- ends --------------------------------------------------------------------------------------
 */

void pair_share_farewell(struct net_pair *p)
{
    struct pair_share *h = p->share;
    uint64_t i = p->ended > NET_PAIR_PENDING_MAX ? p->ended - NET_PAIR_PENDING_MAX : 0;

    if (h == NULL || !h->agreed || p->send || h->talking)
        return;
    h->talking = true;
    for (; i < p->ended; i++) {
        const struct share_got *g = &h->own->ring.got[i % NET_PAIR_PENDING_MAX];
        struct msg m = {
            .type = MSG_ENDED,
            .u.transfer = {.index = i,
                           .size = atomic_load_explicit(&g->room, memory_order_relaxed)}};

        (void)conn_send(&p->line->c, msg_build(&m, NULL, NULL));
    }
}

/* False: the device's lock cannot be had. */
static bool memory_put(struct device_instance *in, struct device_extent *x)
{
    struct err ignored = {0};
    NRT_STATUS st = x->size == 0 ? NRT_SUCCESS : device_free(in, x, &ignored);

    if (st != NRT_SUCCESS && st != NRT_INVALID_HANDLE)
        return false;
    x->size = 0;
    return true;
}

void pairs_share_free(struct net_pairs *s, bool last)
{
    struct pair_share **at = &s->kept;

    while (*at != NULL) {
        struct pair_share *h = *at;

        bool put = memory_put(s->cfg.in, &h->stage) && memory_put(s->cfg.in, &h->mine);

        if (put || last) {
            *at = h->next_kept;
            mem_free(h);
        } else {
            at = &h->next_kept;
        }
    }
}

void pair_share_end(struct net_pair *p)
{
    struct pair_share *h = p->share;

    if (h == NULL)
        return;
    unwatch(p);
    atomic_store_explicit(&h->own->closed, 1, memory_order_relaxed);
    share_point(p);
    /* Before any of what the other end may be reading gets other bytes. */
    atomic_thread_fence(memory_order_seq_cst);
    p->share = NULL;
    share_drop(p->set, h);
}
