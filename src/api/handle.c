/* SPDX-License-Identifier: Apache-2.0 */
#include "api/handle_int.h"

#include <sched.h>
#include <time.h>

#include "base/mem.h"

#define INDEX_MASK   ((1u << HANDLE_INDEX_BITS) - 1)
#define GEN_MASK     ((1u << HANDLE_GEN_BITS) - 1)
#define SESSION_MASK ((1u << HANDLE_SESSION_BITS) - 1)

/* Users hold a slot for one call. First give the CPU away, then sleep a little. */
static void wait_step(unsigned *step)
{
    if (++*step < 64) {
        sched_yield();
    } else {
        struct timespec ts = {.tv_nsec = 50000};

        nanosleep(&ts, NULL);
    }
}

static struct handle_slot *slot_at(struct handle_table *t, uint32_t index)
{
    struct handle_slot *c =
        atomic_load_explicit(&t->chunk[index / HANDLE_CHUNK], memory_order_acquire);

    return c ? &c[index % HANDLE_CHUNK] : NULL;
}

/* Under the table lock. */
static struct handle_slot *slot_get(struct handle_table *t)
{
    struct handle_slot *s;

    if (t->free_head) {
        s = slot_at(t, t->free_head - 1);
        t->free_head = s->next_free;
        return s;
    }
    if (t->used > INDEX_MASK)
        return NULL;

    s = slot_at(t, t->used);
    if (!s) {
        struct handle_slot *c = mem_calloc(HANDLE_CHUNK, sizeof(*c));

        if (!c)
            return NULL;
        for (uint32_t i = 0; i < HANDLE_CHUNK; i++)
            c[i].gen = t->gen_first & GEN_MASK;
        atomic_store_explicit(&t->chunk[t->used / HANDLE_CHUNK], c, memory_order_release);
        s = &c[t->used % HANDLE_CHUNK];
    }
    s->index = t->used++;
    return s;
}

static void slot_put(struct handle_table *t, struct handle_slot *s)
{
    pthread_mutex_lock(&t->lock);
    s->next_free = t->free_head;
    t->free_head = s->index + 1;
    pthread_mutex_unlock(&t->lock);
}

struct handle_slot *handle_reserve(struct handle_table *t)
{
    struct handle_slot *s;

    pthread_mutex_lock(&t->lock);
    s = slot_get(t);
    if (s)
        s->gen = (s->gen + 1) & GEN_MASK;
    pthread_mutex_unlock(&t->lock);
    return s;
}

uint64_t handle_give(struct handle_table *t, struct handle_slot *s, uint32_t session, void *obj)
{
    uint64_t token = (uint64_t)t->kind << HANDLE_KIND_SHIFT |
                     (uint64_t)(session & SESSION_MASK) << (HANDLE_INDEX_BITS + HANDLE_GEN_BITS) |
                     (uint64_t)s->gen << HANDLE_INDEX_BITS | s->index;

    s->obj = obj;
    atomic_store_explicit(&s->version, 0, memory_order_relaxed);
    atomic_store_explicit(&s->token, token, memory_order_release);
    return token;
}

void handle_drop(struct handle_table *t, struct handle_slot *s)
{
    if (s)
        slot_put(t, s);
}

uint64_t handle_new(struct handle_table *t, uint32_t session, void *obj)
{
    struct handle_slot *s = handle_reserve(t);

    return s ? handle_give(t, s, session, obj) : 0;
}

struct handle_slot *handle_pin_wait(struct handle_slot *s, uint64_t token)
{
    unsigned step = 0;

    for (;;) {
        atomic_fetch_sub_explicit(&s->pins, 1, memory_order_release);
        while (atomic_load_explicit(&s->pins, memory_order_relaxed) & HANDLE_EXCL)
            wait_step(&step);
        if (!(atomic_fetch_add_explicit(&s->pins, 1, memory_order_seq_cst) & HANDLE_EXCL))
            break;
    }
    if (!handle_live(s, token)) {
        handle_unpin(s);
        return NULL;
    }
    return s;
}

struct handle_slot *handle_lock(struct handle_table *t, uint64_t token)
{
    struct handle_slot *s = slot_at(t, (uint32_t)token & INDEX_MASK);
    unsigned step = 0;

    if (!s || token == 0)
        return NULL;

    for (;;) {
        uint32_t none = 0;

        if (!handle_live(s, token))
            return NULL;
        if (atomic_compare_exchange_weak_explicit(&s->pins, &none, HANDLE_EXCL,
                                                  memory_order_seq_cst, memory_order_relaxed))
            break;
        wait_step(&step);
    }
    if (!handle_live(s, token)) {
        handle_unlock(s);
        return NULL;
    }
    return s;
}

void handle_unlock(struct handle_slot *s)
{
    /* Others may have added themselves meanwhile; only our bit goes. */
    atomic_fetch_and_explicit(&s->pins, ~HANDLE_EXCL, memory_order_release);
}

/* Of a slot whose token has ended: those who came meanwhile see that, and go. Returns its object.
 */
static void *retire(struct handle_table *t, struct handle_slot *s)
{
    unsigned step = 0;
    void *obj;

    while (atomic_load_explicit(&s->pins, memory_order_seq_cst) != 0)
        wait_step(&step);
    obj = s->obj;
    s->obj = NULL;
    slot_put(t, s);
    return obj;
}

void *handle_take(struct handle_table *t, uint64_t token)
{
    struct handle_slot *s = slot_at(t, (uint32_t)token & INDEX_MASK);
    uint64_t want = token;

    if (!s || token == 0 ||
        !atomic_compare_exchange_strong_explicit(&s->token, &want, 0, memory_order_seq_cst,
                                                 memory_order_relaxed))
        return NULL;
    return retire(t, s);
}

struct handle_slot *handle_lock_now(struct handle_table *t, uint64_t token, bool *ret_busy)
{
    struct handle_slot *s = slot_at(t, (uint32_t)token & INDEX_MASK);
    uint32_t none = 0;

    *ret_busy = false;
    if (!s || token == 0 || !handle_live(s, token))
        return NULL;
    if (!atomic_compare_exchange_strong_explicit(&s->pins, &none, HANDLE_EXCL, memory_order_seq_cst,
                                                 memory_order_relaxed)) {
        *ret_busy = handle_live(s, token);
        return NULL;
    }
    if (!handle_live(s, token)) {
        handle_unlock(s);
        return NULL;
    }
    return s;
}

void *handle_take_now(struct handle_table *t, uint64_t token, bool *ret_busy)
{
    struct handle_slot *s = handle_lock_now(t, token, ret_busy);
    uint64_t want = token;
    bool mine;

    if (!s)
        return NULL;
    mine = atomic_compare_exchange_strong_explicit(&s->token, &want, 0, memory_order_seq_cst,
                                                   memory_order_relaxed);
    handle_unlock(s);
    if (!mine)
        return NULL;
    return retire(t, s);
}

void *handle_take_any(struct handle_table *t, uint32_t *cursor)
{
    uint32_t used;

    pthread_mutex_lock(&t->lock);
    used = t->used;
    pthread_mutex_unlock(&t->lock);

    for (; *cursor < used; ++*cursor) {
        struct handle_slot *s = slot_at(t, *cursor);
        uint64_t token = atomic_load_explicit(&s->token, memory_order_acquire);
        void *obj = token ? handle_take(t, token) : NULL;

        if (obj)
            return obj;
    }
    return NULL;
}
