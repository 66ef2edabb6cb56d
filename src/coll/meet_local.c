/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that are threads of one process, each with its own logical core, meet under one lock. A
 * world is filled by the first ranks that ask for its size; its desks, one for each list of ranks
 * and tag, take one exchange at a time: everybody lays down a copy, the last one opens the desk,
 * everybody takes all copies, the last one clears it. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "coll/meet_int.h"
#include "run/run.h"

struct desk {
    struct desk *next;
    uint32_t n, tag;
    uint32_t *ranks; /* n; NULL: the world */
    struct part {
        uint8_t *data; /* NULL: not given yet */
        size_t size;
        bool left; /* its rank will not come to take */
    } * parts;
    uint32_t given, taken; /* taken: who has left counts */
    bool open;
};

struct house_world {
    struct coll_house *house;
    struct house_world *next; /* of those that wait for ranks */
    uint32_t ranks, joined, left;
    bool *here;
    struct coll_place *places;
    struct desk *desks;
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

/* The first ranks that are missing, for the lines that say so. */
static void missing_text(const bool *here, uint32_t n, char *buf, size_t size)
{
    size_t at = 0;
    unsigned named = 0;

    buf[0] = '\0';
    for (uint32_t r = 0; r < n && named < 8 && at < size; r++)
        if (!here[r]) {
            at += (size_t)snprintf(buf + at, size - at, "%s%u", named ? ", " : "", r);
            named++;
        }
}

/* Waits for a change under the lock; says every 120 s what is missing. */
static void house_wait(struct coll_house *h, uint64_t *next_line, struct log *log,
                       void (*say)(struct log *log, const void *arg), const void *arg)
{
    struct timespec ts = {.tv_sec = (time_t)(*next_line / 1000000000u),
                          .tv_nsec = (long)(*next_line % 1000000000u)};

    pthread_cond_timedwait(&h->changed, &h->lock, &ts);
    if (run_now_ns() < *next_line)
        return;
    *next_line = run_now_ns() + MEET_RETRY_MS * UINT64_C(1000000);
    say(log, arg);
}

static uint64_t first_line(void)
{
    return run_now_ns() + MEET_RETRY_MS * UINT64_C(1000000);
}

/* ---- joining ---- */

static void world_free(struct house_world *w)
{
    while (w->desks) {
        struct desk *d = w->desks;

        w->desks = d->next;
        for (uint32_t i = 0; i < d->n; i++)
            mem_free(d->parts[i].data);
        mem_free(d->parts);
        mem_free(d->ranks);
        mem_free(d);
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

static void world_full(struct house_world *w)
{
    struct house_world **at = &w->house->filling;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    pthread_cond_broadcast(&w->house->changed);
}

static void say_joining(struct log *log, const void *arg)
{
    const struct house_world *w = arg;
    char who[128];

    missing_text(w->here, w->ranks, who, sizeof(who));
    LOGW(log, LOG_NRT, "coll_meet",
         "Timeout waiting for incoming connection (waited %u sec) - retrying "
         "(NEURON_RT_ROOT_COMM_ID "
         "is not set, so all %u ranks must be threads of this process; not here: %s)",
         MEET_RETRY_MS / 1000, w->ranks, who);
}

NRT_STATUS house_join(const struct coll_meet_config *cfg, struct house_world **ret, struct err *err)
{
    struct coll_house *h = cfg->house;
    uint64_t next_line = first_line();
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
        while (w->joined < w->ranks)
            house_wait(h, &next_line, cfg->log, say_joining, w);
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
    p->data = mem_alloc(bytes ? bytes : 1);
    p->off = mem_calloc((size_t)n + 1, sizeof(*p->off));
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

static struct desk *desk_find(struct house_world *w, const uint32_t *ranks, uint32_t n,
                              uint32_t tag)
{
    struct desk *d = w->desks;

    while (d && (d->n != n || d->tag != tag || (ranks == NULL) != (d->ranks == NULL) ||
                 (ranks && memcmp(d->ranks, ranks, n * sizeof(*ranks)) != 0)))
        d = d->next;
    if (d)
        return d;
    d = mem_zalloc(sizeof(*d));
    if (!d)
        return NULL;
    d->n = n;
    d->tag = tag;
    d->parts = mem_calloc(n, sizeof(*d->parts));
    d->ranks = ranks ? mem_calloc(n, sizeof(*ranks)) : NULL;
    if (!d->parts || (ranks && !d->ranks)) {
        mem_free(d->parts);
        mem_free(d->ranks);
        mem_free(d);
        return NULL;
    }
    if (ranks)
        memcpy(d->ranks, ranks, n * sizeof(*ranks));
    d->next = w->desks;
    w->desks = d;
    return d;
}

static void say_gathering(struct log *log, const void *arg)
{
    const struct desk *d = arg;

    LOGW(log, LOG_NRT, "coll_meet",
         "Timeout waiting for RX (waited %u sec) - retrying (%u of %u ranks have come)",
         MEET_RETRY_MS / 1000, d->given, d->n);
}

static NRT_STATUS parts_take(const struct desk *d, struct coll_parts *ret, struct err *err)
{
    size_t bytes = 0;
    NRT_STATUS st;

    for (uint32_t i = 0; i < d->n; i++)
        bytes += d->parts[i].size;
    st = parts_make(ret, d->n, bytes, err);
    for (uint32_t i = 0; i < d->n && !st; i++) {
        memcpy(ret->data + ret->off[i], d->parts[i].data, d->parts[i].size);
        ret->off[i + 1] = ret->off[i] + d->parts[i].size;
    }
    return st;
}

static void desk_clear(struct desk *d)
{
    for (uint32_t i = 0; i < d->n; i++) {
        mem_free(d->parts[i].data);
        d->parts[i] = (struct part){0};
    }
    d->given = d->taken = 0;
    d->open = false;
}

/* What this rank left and nobody has taken is replaced: the rank is back. */
static void part_put(struct desk *d, uint32_t me, uint8_t *data, size_t size, bool leaves)
{
    struct part *p = &d->parts[me];

    d->given += !p->data;
    d->taken -= p->left;
    mem_free(p->data);
    *p = (struct part){data, size, leaves};
    d->taken += leaves;
    d->open = d->given == d->n;
}

static void desk_end(struct coll_house *h, struct desk *d)
{
    if (d->taken == d->n)
        desk_clear(d);
    pthread_cond_broadcast(&h->changed);
}

/* ret NULL: the rank leaves. */
NRT_STATUS house_gather(struct house_world *w, uint32_t me, const uint32_t *ranks, uint32_t n,
                        uint32_t tag, const void *mine, size_t size, struct coll_parts *ret,
                        struct err *err)
{
    struct coll_house *h = w->house;
    uint64_t next_line = first_line();
    uint8_t *copy = mem_alloc(size ? size : 1);
    struct desk *d;
    NRT_STATUS st = NRT_SUCCESS;

    pthread_mutex_lock(&h->lock);
    d = desk_find(w, ranks, n, tag);
    if (!copy || !d) {
        pthread_mutex_unlock(&h->lock);
        mem_free(copy);
        return err_set(err, NRT_RESOURCE, "no memory for an exchange of %zu bytes", size);
    }
    if (size)
        memcpy(copy, mine, size);
    while (d->open) /* the exchange before is not cleared yet */
        house_wait(h, &next_line, w->log, say_gathering, d);
    part_put(d, me, copy, size, !ret);
    if (d->open)
        pthread_cond_broadcast(&h->changed);
    while (ret && !d->open)
        house_wait(h, &next_line, w->log, say_gathering, d);
    if (ret) {
        st = parts_take(d, ret, err);
        d->taken++;
    }
    desk_end(h, d);
    pthread_mutex_unlock(&h->lock);
    return st;
}
