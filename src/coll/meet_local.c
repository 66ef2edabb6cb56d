/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that are threads of one process, each with its own logical core, meet under one lock. A
 * world is filled by the first ranks that ask for its size. Its desks, one for each list of ranks
 * and tag, hold exchanges, which every rank counts for itself: everybody lays down a copy, the last
 * one opens the exchange, everybody takes all copies, the last one clears it away. An exchange that
 * has failed stays until the last one has learned of it. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "coll/meet_int.h"
#include "net/cross.h"
#include "run/run.h"

struct exchange {
    struct exchange *next;
    uint32_t seq;
    struct part {
        uint8_t *data; /* NULL: not given yet */
        size_t size;
        bool left; /* its rank will not come to take */
        bool back; /* but may give something else instead */
    } * parts;
    bool *in, *waits;      /* as in net_cross */
    uint32_t given, taken; /* taken: who has left counts */
    bool open;
    struct err failed; /* status: NRT_SUCCESS, it has not */
    uint64_t begun, deadline;
    struct net_cross cross;
};

struct desk {
    struct desk *next;
    uint32_t n, tag;
    uint32_t *ranks;    /* n; NULL: the world */
    uint32_t *next_seq; /* n: of the exchange that the rank enters next */
    uint32_t *refused;  /* n: 1 plus that of the one it could not even make; 0: none */
    bool *forgotten;    /* n: it enters none */
    struct exchange *exchanges;
};

struct house_world {
    struct coll_house *house;
    struct house_world *next; /* of those that wait for ranks */
    uint32_t ranks, joined, left;
    bool *here;
    struct coll_place *places;
    struct desk *desks;
    uint64_t cross_ns;
    bool over; /* a rank had no memory to meet: nobody meets any more */
    uint32_t culprit;
    struct log *log;
};

struct coll_house {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct house_world *filling;
};

NRT_STATUS coll_house_create(struct coll_house **ret, struct err *err)
{
    struct coll_house *h = mem_zalloc(sizeof(*h));
    pthread_condattr_t attr;

    if (!h)
        return err_set(err, NRT_RESOURCE, "no memory for the ranks of this process");
    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->changed, &attr);
    pthread_condattr_destroy(&attr);
    *ret = h;
    return NRT_SUCCESS;
}

void coll_house_destroy(struct coll_house *h)
{
    if (!h)
        return;
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    mem_free(h);
}

/* ---- waiting ---- */

#define LOOK_NS UINT64_C(200000000) /* between two looks at what does not end */

/* The first ranks that are missing, for the lines that say so. */
static void missing_text(const bool *here, const uint32_t *ranks, uint32_t n, char *buf,
                         size_t size)
{
    size_t at = 0;
    unsigned named = 0;

    buf[0] = '\0';
    for (uint32_t i = 0; i < n && named < 8 && at < size; i++)
        if (!here[i]) {
            at += (size_t)snprintf(buf + at, size - at, "%s%u", named ? ", " : "",
                                   ranks ? ranks[i] : i);
            named++;
        }
}

/* Waits for a change under the lock, until then. */
static void house_wait(struct coll_house *h, uint64_t until)
{
    struct timespec ts = {.tv_sec = (time_t)(until / 1000000000u),
                          .tv_nsec = (long)(until % 1000000000u)};

    pthread_cond_timedwait(&h->changed, &h->lock, &ts);
}

static uint64_t first_line(void)
{
    return run_now_ns() + MEET_RETRY_MS * UINT64_C(1000000);
}

/* Every 120 s, what is missing. */
static void line_say(uint64_t *next_line, struct log *log,
                     void (*say)(struct log *log, const void *arg), const void *arg)
{
    if (run_now_ns() < *next_line)
        return;
    *next_line = first_line();
    say(log, arg);
}

/* ---- joining ---- */

static void exchange_free(struct exchange *x, uint32_t n)
{
    for (uint32_t i = 0; x->parts && i < n; i++)
        mem_free(x->parts[i].data);
    mem_free(x->parts);
    mem_free(x->in);
    mem_free(x->waits);
    mem_free(x);
}

static void desk_free(struct desk *d)
{
    while (d->exchanges) {
        struct exchange *x = d->exchanges;

        d->exchanges = x->next;
        exchange_free(x, d->n);
    }
    mem_free(d->ranks);
    mem_free(d->next_seq);
    mem_free(d->refused);
    mem_free(d->forgotten);
    mem_free(d);
}

static void world_free(struct house_world *w)
{
    while (w->desks) {
        struct desk *d = w->desks;

        w->desks = d->next;
        desk_free(d);
    }
    mem_free(w->here);
    mem_free(w->places);
    mem_free(w);
}

static struct house_world *world_make(struct coll_house *h, const struct coll_meet_config *cfg)
{
    struct house_world *w = mem_zalloc(sizeof(*w));

    if (!w)
        return NULL;
    w->house = h;
    w->ranks = cfg->world;
    w->log = cfg->log;
    w->cross_ns = cfg->cross_ms ? cfg->cross_ms * UINT64_C(1000000) : UINT64_MAX;
    w->here = mem_calloc(cfg->world, sizeof(*w->here));
    w->places = mem_calloc(cfg->world, sizeof(*w->places));
    if (!w->here || !w->places) {
        world_free(w);
        return NULL;
    }
    w->next = h->filling;
    h->filling = w;
    return w;
}

static void world_unlist(struct house_world *w)
{
    struct house_world **at = &w->house->filling;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
}

static void world_full(struct house_world *w)
{
    world_unlist(w);
    pthread_cond_broadcast(&w->house->changed);
}

static void say_joining(struct log *log, const void *arg)
{
    const struct house_world *w = arg;
    char who[128];

    missing_text(w->here, NULL, w->ranks, who, sizeof(who));
    LOGW(log, LOG_NRT, "coll_meet",
         "Timeout waiting for incoming connection (waited %u sec) - retrying "
         "(NEURON_RT_ROOT_COMM_ID is not set, so all %u ranks must be threads of this process; not "
         "here: %s)",
         MEET_RETRY_MS / 1000, w->ranks, who);
}

/* Who is missing has been missing for too long: this rank leaves the world that is being filled. */
static NRT_STATUS join_give_up(struct house_world *w, const struct coll_meet_config *cfg,
                               struct err *err)
{
    char who[128];

    missing_text(w->here, NULL, w->ranks, who, sizeof(who));
    err_set(err, NRT_TIMEOUT,
            "after %u s these ranks of %u have not joined: %s. NEURON_RT_ROOT_COMM_ID is not set, "
            "so all must be threads of this process",
            cfg->join_ms / 1000, w->ranks, who);
    w->here[cfg->rank] = false;
    if (--w->joined == 0) {
        world_unlist(w);
        world_free(w);
    }
    return NRT_TIMEOUT;
}

NRT_STATUS house_join(const struct coll_meet_config *cfg, struct house_world **ret, struct err *err)
{
    uint64_t next_line = first_line(), end = UINT64_MAX;
    struct coll_house *h = cfg->house;
    struct house_world *w;
    NRT_STATUS st = NRT_SUCCESS;

    pthread_mutex_lock(&h->lock);
    for (w = h->filling; w && w->ranks != cfg->world; w = w->next)
        continue;
    if (!w)
        w = world_make(h, cfg);
    if (!w) {
        st = err_set(err, NRT_RESOURCE, "no memory for a world of %u ranks", cfg->world);
    } else if (w->here[cfg->rank]) {
        st = err_set(err, NRT_INVALID,
                     "rank %u of a world of %u is here already: two ranks have the same "
                     "g_device_id",
                     cfg->rank, cfg->world);
    } else {
        w->here[cfg->rank] = true;
        w->places[cfg->rank] = cfg->place;
        if (++w->joined == w->ranks)
            world_full(w);
        if (cfg->join_ms)
            end = run_now_ns() + cfg->join_ms * UINT64_C(1000000);
        while (w->joined < w->ranks && run_now_ns() < end) {
            house_wait(h, next_line < end ? next_line : end);
            line_say(&next_line, cfg->log, say_joining, w);
        }
        if (w->joined < w->ranks)
            st = join_give_up(w, cfg, err);
        else
            *ret = w;
    }
    pthread_mutex_unlock(&h->lock);
    return st;
}

void house_leave(struct house_world *w)
{
    struct coll_house *h = w->house;
    bool last;

    pthread_mutex_lock(&h->lock);
    last = ++w->left == w->ranks;
    pthread_mutex_unlock(&h->lock);
    if (last)
        world_free(w);
}

const struct coll_place *house_place(const struct house_world *w, uint32_t rank)
{
    return &w->places[rank];
}

/* ---- exchanges ---- */

NRT_STATUS parts_make(struct coll_parts *p, uint32_t n, size_t bytes, struct err *err)
{
    if (p->data && bytes <= p->room)
        return NRT_SUCCESS;
    coll_parts_free(p);
    p->data = mem_alloc(bytes ? bytes : 1);
    p->off = mem_calloc((size_t)n + 1, sizeof(*p->off));
    p->room = bytes;
    if (p->data && p->off)
        return NRT_SUCCESS;
    coll_parts_free(p);
    return err_set(err, NRT_RESOURCE, "no memory for an exchange of %zu bytes", bytes);
}

void coll_parts_free(struct coll_parts *p)
{
    mem_free(p->data);
    mem_free(p->off);
    *p = (struct coll_parts){0};
}

/* Where the list's desk is linked; to NULL: there is none. */
static struct desk **desk_at(struct house_world *w, const uint32_t *ranks, uint32_t n, uint32_t tag)
{
    struct desk **at = &w->desks, *d;

    while ((d = *at) && (d->n != n || d->tag != tag || (ranks == NULL) != (d->ranks == NULL) ||
                         (ranks && memcmp(d->ranks, ranks, n * sizeof(*ranks)) != 0)))
        at = &d->next;
    return at;
}

static struct desk *desk_find(struct house_world *w, const uint32_t *ranks, uint32_t n,
                              uint32_t tag)
{
    struct desk *d = *desk_at(w, ranks, n, tag);

    if (d)
        return d;
    d = mem_zalloc(sizeof(*d));
    if (!d)
        return NULL;
    d->n = n;
    d->tag = tag;
    d->next_seq = mem_calloc(n, sizeof(*d->next_seq));
    d->refused = mem_calloc(n, sizeof(*d->refused));
    d->forgotten = mem_calloc(n, sizeof(*d->forgotten));
    d->ranks = ranks ? mem_calloc(n, sizeof(*ranks)) : NULL;
    if (!d->next_seq || !d->refused || !d->forgotten || (ranks && !d->ranks)) {
        desk_free(d);
        return NULL;
    }
    if (ranks)
        memcpy(d->ranks, ranks, n * sizeof(*ranks));
    d->next = w->desks;
    w->desks = d;
    return d;
}

void house_forget(struct house_world *w, uint32_t me, const uint32_t *ranks, uint32_t n,
                  uint32_t tag)
{
    struct desk **at, *d;
    uint32_t left = 0;

    pthread_mutex_lock(&w->house->lock);
    at = desk_at(w, ranks, n, tag);
    d = *at;
    if (d)
        d->forgotten[me] = true;
    for (uint32_t i = 0; d && i < n; i++)
        left += !d->forgotten[i];
    if (d && left == 0) {
        *at = d->next;
        desk_free(d);
    }
    pthread_mutex_unlock(&w->house->lock);
}

/* Member `me` does not take part: it has no memory. */
static void exchange_refuse(const struct desk *d, struct exchange *x, uint32_t me)
{
    (void)err_set(&x->failed, NRT_FAILURE, "rank %u has no memory to meet the other ranks",
                  d->ranks ? d->ranks[me] : me);
    x->in[me] = true;
    x->taken += !x->parts[me].left;
}

static struct exchange *exchange_make(struct desk *d, uint32_t seq)
{
    struct exchange *x = mem_zalloc(sizeof(*x));

    if (!x)
        return NULL;
    x->parts = mem_calloc(d->n, sizeof(*x->parts));
    x->in = mem_calloc(d->n, sizeof(*x->in));
    x->waits = mem_calloc(d->n, sizeof(*x->waits));
    if (!x->parts || !x->in || !x->waits) {
        exchange_free(x, d->n);
        return NULL;
    }
    x->seq = seq;
    x->begun = run_now_ns();
    x->deadline = UINT64_MAX;
    x->cross = (struct net_cross){
        .call = "", .n = d->n, .ranks = d->ranks, .in = x->in, .waits = x->waits};
    x->next = d->exchanges;
    d->exchanges = x;
    for (uint32_t i = 0; i < d->n; i++)
        if (d->refused[i] == seq + 1)
            exchange_refuse(d, x, i);
    return x;
}

static bool exchange_over(const struct exchange *x)
{
    return x->open || x->failed.status;
}

/* The one that this rank enters now. What it left in the last one, and nobody has taken, is
 * replaced: the rank is back there. NULL: no memory, and the rank has passed it by. */
static struct exchange *exchange_next(struct desk *d, uint32_t me)
{
    struct exchange *x = d->exchanges;
    uint32_t seq = d->next_seq[me];

    while (x && !(x->seq + 1 == seq && !exchange_over(x) && x->parts[me].back))
        x = x->next;
    if (x)
        return x;
    d->next_seq[me]++;
    for (x = d->exchanges; x && x->seq != seq;)
        x = x->next;
    return x ? x : exchange_make(d, seq);
}

/* The rank's part, and how it waits. */
static void part_put(struct exchange *x, uint32_t n, uint32_t me, uint8_t *data, size_t size,
                     bool leaves, const struct coll_terms *terms)
{
    struct part *p = &x->parts[me];
    uint64_t end = x->begun + terms->limit_ms * UINT64_C(1000000);

    x->given += !p->data;
    x->taken -= p->left;
    mem_free(p->data);
    *p = (struct part){data, size, leaves, leaves && terms->back};
    x->taken += leaves;
    x->in[me] = true;
    x->waits[me] = !leaves;
    x->open = !x->failed.status && x->given == n;
    if (terms->call && !x->cross.call[0])
        x->cross.call = terms->call;
    if (terms->limit_ms && end < x->deadline)
        x->deadline = end;
}

/* ---- exchanges that do not end ---- */

static void exchange_fail(const struct house_world *w, struct exchange *x)
{
    if (w->log)
        LOGE(w->log, LOG_NRT, "coll_meet", "%s", x->failed.text);
    pthread_cond_broadcast(&w->house->changed);
}

static void time_out(const struct house_world *w, const struct desk *d, struct exchange *x)
{
    char who[128];

    missing_text(x->in, d->ranks, d->n, who, sizeof(who));
    err_set(&x->failed, NRT_TIMEOUT,
            "%s, exchange #%u of %u ranks: not entered by ranks %s within "
            "%llu ms",
            x->cross.call, x->seq, d->n, who,
            (unsigned long long)((x->deadline - x->begun) / 1000000));
    exchange_fail(w, x);
}

static void cross_check(struct house_world *w)
{
    struct net_cross *list = NULL;

    for (struct desk *d = w->desks; d; d = d->next)
        for (struct exchange *x = d->exchanges; x; x = x->next)
            if (!exchange_over(x)) {
                x->cross.next = list;
                list = &x->cross;
            }
    if (!net_cross_look(list, run_now_ns(), w->cross_ns))
        return;
    for (struct desk *d = w->desks; d; d = d->next)
        for (struct exchange *x = d->exchanges; x; x = x->next)
            if (!exchange_over(x) && x->cross.stuck) {
                char text[256];

                (void)net_cross_text(list, &x->cross, text, sizeof(text));
                err_set(&x->failed, NRT_TIMEOUT, "%s", text);
                exchange_fail(w, x);
            }
}

/* ---- one exchange ---- */

struct gathering {
    const struct desk *d;
    const struct exchange *x;
};

static void say_gathering(struct log *log, const void *arg)
{
    const struct gathering *g = arg;

    LOGW(log, LOG_NRT, "coll_meet",
         "Timeout waiting for RX (waited %u sec) - retrying (%u of %u ranks have come)",
         MEET_RETRY_MS / 1000, g->x->given, g->d->n);
}

static void exchange_wait(struct house_world *w, const struct desk *d, struct exchange *x)
{
    struct gathering g = {d, x};
    uint64_t line = first_line();

    while (!exchange_over(x) && !w->over) {
        uint64_t look = run_now_ns() + LOOK_NS;

        house_wait(w->house, look < x->deadline ? look : x->deadline);
        line_say(&line, w->log, say_gathering, &g);
        if (!exchange_over(x) && run_now_ns() >= x->deadline)
            time_out(w, d, x);
        else if (!exchange_over(x))
            cross_check(w);
    }
}

static NRT_STATUS parts_take(const struct exchange *x, uint32_t n, struct coll_parts *ret,
                             struct err *err)
{
    size_t bytes = 0;
    NRT_STATUS st;

    if (x->failed.status)
        return err_set(err, x->failed.status, "%s", x->failed.text);
    for (uint32_t i = 0; i < n; i++)
        bytes += x->parts[i].size;
    st = parts_make(ret, n, bytes, err);
    for (uint32_t i = 0; i < n && !st; i++) {
        memcpy(ret->data + ret->off[i], x->parts[i].data, x->parts[i].size);
        ret->off[i + 1] = ret->off[i] + x->parts[i].size;
    }
    return st;
}

static void exchange_end(struct desk *d, struct exchange *x)
{
    struct exchange **at = &d->exchanges;

    if (x->taken < d->n)
        return;
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    exchange_free(x, d->n);
}

/* The exchange that the rank would have entered fails; NULL: nobody has made it yet. */
static void pass_by(const struct house_world *w, struct desk *d, struct exchange *x, uint32_t me)
{
    bool first;

    if (!x) {
        d->refused[me] = d->next_seq[me];
        return;
    }
    first = !x->failed.status;
    exchange_refuse(d, x, me);
    if (first)
        exchange_fail(w, x);
    exchange_end(d, x);
}

/* culprit: a rank that does not know which exchange comes next, and so ends them all. UINT32_MAX:
 * nobody does, this rank has passed one by. */
static NRT_STATUS world_refuse(struct house_world *w, uint32_t culprit, struct err *err)
{
    if (w->over)
        return err_set(err, NRT_FAILURE, "rank %u has no memory to meet the other ranks",
                       w->culprit);
    if (culprit != UINT32_MAX) {
        w->over = true;
        w->culprit = culprit;
        pthread_cond_broadcast(&w->house->changed);
    }
    return err_set(err, NRT_RESOURCE, "no memory to meet the other ranks");
}

/* A rank that has no memory to enter, and may leave instead: it does not pass the exchange by. */
static void excuse(struct house_world *w, uint32_t me, const uint32_t *ranks, uint32_t n,
                   uint32_t tag, const struct coll_terms *terms)
{
    const struct coll_terms leaves = {.call = terms->call};
    struct err ignored = {0};

    (void)house_gather(w, me, ranks, n, tag, NULL, 0, &leaves, NULL, &ignored);
}

/* ret NULL: the rank leaves. */
NRT_STATUS house_gather(struct house_world *w, uint32_t me, const uint32_t *ranks, uint32_t n,
                        uint32_t tag, const void *mine, size_t size, const struct coll_terms *terms,
                        struct coll_parts *ret, struct err *err)
{
    struct coll_house *h = w->house;
    uint8_t *copy = mem_alloc(size ? size : 1);
    bool room = !ret || !terms->most || parts_make(ret, n, n * terms->most, err) == NRT_SUCCESS;
    struct exchange *x;
    struct desk *d;
    uint32_t seq;
    NRT_STATUS st = NRT_SUCCESS;

    pthread_mutex_lock(&h->lock);
    d = desk_find(w, ranks, n, tag);
    seq = d ? d->next_seq[me] : 0;
    x = d ? exchange_next(d, me) : NULL;
    if (!copy || !room || !x || w->over) {
        bool leaves = terms->excused && !w->over;

        if (d && leaves)
            d->next_seq[me] = seq;
        else if (d && !w->over)
            pass_by(w, d, x, me);
        st = world_refuse(w, d || !terms->counted ? UINT32_MAX : ranks ? ranks[me] : me, err);
        pthread_mutex_unlock(&h->lock);
        mem_free(copy);
        if (leaves)
            excuse(w, me, ranks, n, tag, terms);
        return st;
    }
    if (size)
        memcpy(copy, mine, size);
    part_put(x, n, me, copy, size, !ret, terms);
    if (x->open)
        pthread_cond_broadcast(&h->changed);
    if (ret) {
        exchange_wait(w, d, x);
        x->waits[me] = false;
        st = exchange_over(x) ? parts_take(x, n, ret, err) : world_refuse(w, UINT32_MAX, err);
        x->taken++;
    }
    exchange_end(d, x);
    pthread_mutex_unlock(&h->lock);
    return st;
}
