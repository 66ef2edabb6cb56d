/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of failures. Every request under way has room reserved in its tracker, so that a failure is
 * never lost for want of memory: `owed` counts failures and requests under way, and the list has
 * room for that many. */
#include "queue/queue_int.h"

#define FIRST_ROOM 64u

struct queue_tracker {
    _Atomic uint32_t refs;
    uint32_t core;
    _Atomic uint64_t owed, room;
    pthread_mutex_t lock; /* what follows */
    struct queue_error *list;
    size_t count;
    struct queue_error *shown; /* copy that the caller was given */
    size_t shown_cap;
};

struct queue_tracker *queue_tracker_create(uint32_t core)
{
    struct queue_tracker *t = mem_zalloc(sizeof(*t));

    if (!t)
        return NULL;
    t->list = mem_calloc(FIRST_ROOM, sizeof(*t->list));
    if (!t->list) {
        mem_free(t);
        return NULL;
    }
    t->core = core;
    atomic_store(&t->refs, 1);
    atomic_store(&t->room, FIRST_ROOM);
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void queue_tracker_unref(struct queue_tracker *t)
{
    if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_destroy(&t->lock);
    mem_free(t->list);
    mem_free(t->shown);
    mem_free(t);
}

uint32_t queue_tracker_core(const struct queue_tracker *t)
{
    return t->core;
}

static bool grow(struct queue_tracker *t, uint64_t owed)
{
    size_t room;
    bool ok = true;

    pthread_mutex_lock(&t->lock);
    room = (size_t)atomic_load(&t->room);
    if (room < owed) {
        ok = mem_grow((void **)&t->list, &room, (size_t)owed, sizeof(*t->list));
        atomic_store(&t->room, room);
    }
    pthread_mutex_unlock(&t->lock);
    return ok;
}

bool queue_tracker_reserve(struct queue_tracker *t)
{
    uint64_t owed = atomic_fetch_add(&t->owed, 1) + 1;

    if (__builtin_expect(owed > atomic_load(&t->room), 0) && !grow(t, owed)) {
        atomic_fetch_sub(&t->owed, 1);
        return false;
    }
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return true;
}

void queue_tracker_fail(struct queue_tracker *t, uint64_t seq, NRT_STATUS status)
{
    pthread_mutex_lock(&t->lock);
    t->list[t->count++] = (struct queue_error){.seq = seq, .status = (uint64_t)status};
    pthread_mutex_unlock(&t->lock);
    queue_tracker_unref(t);
}

void queue_tracker_pass(struct queue_tracker *t)
{
    atomic_fetch_sub(&t->owed, 1);
    queue_tracker_unref(t);
}

NRT_STATUS queue_tracker_list(struct queue_tracker *t, const struct queue_error **ret,
                              size_t *ret_count)
{
    NRT_STATUS status = NRT_SUCCESS;

    pthread_mutex_lock(&t->lock);
    if (mem_grow((void **)&t->shown, &t->shown_cap, t->count, sizeof(*t->shown))) {
        for (size_t i = 0; i < t->count; i++)
            t->shown[i] = t->list[i];
        *ret = t->shown;
        *ret_count = t->count;
    } else {
        status = NRT_RESOURCE;
    }
    pthread_mutex_unlock(&t->lock);
    return status;
}
