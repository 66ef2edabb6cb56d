/* SPDX-License-Identifier: Apache-2.0 */
/* Handles of the public API. A handle is a token, not an address: kind, session, generation and
 * index of a slot. It is looked up before anything is dereferenced, so a freed, foreign or invented
 * handle is refused and never followed.
 *
 *    63 61 60        50 49                      22 21                0
 *   +-----+------------+--------------------------+------------------+
 *   |kind |  session   |        generation        |      index       |
 *   +-----+------------+--------------------------+------------------+
 *
 * A slot also carries a small reader-writer lock, its pins: whoever uses an object pins its slot,
 * and whoever frees the object first makes the token invalid, then waits until the pins are gone. A
 * thread may pin one slot several times; readers are never kept out by a waiting writer, so that
 * cannot deadlock. Slots are never given back to the host while the library is loaded. */
#ifndef API_HANDLE_INT_H
#define API_HANDLE_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HANDLE_INDEX_BITS   22
#define HANDLE_GEN_BITS     28
#define HANDLE_SESSION_BITS 11
#define HANDLE_KIND_SHIFT   (HANDLE_INDEX_BITS + HANDLE_GEN_BITS + HANDLE_SESSION_BITS)
#define HANDLE_CHUNK        1024
#define HANDLE_CHUNKS       ((1u << HANDLE_INDEX_BITS) / HANDLE_CHUNK)
#define HANDLE_EXCL         0x80000000u

enum handle_kind {
    HANDLE_TENSOR = 1,
    HANDLE_SET = 2,
    HANDLE_MODEL = 3,
    HANDLE_COMM = 4,
    HANDLE_REQUEST = 5,
    HANDLE_TRACKER = 6,
    HANDLE_CONTEXT = 7
};

struct handle_slot {
    _Atomic uint64_t token; /* 0: not in use */
    _Atomic uint32_t pins;  /* users, or HANDLE_EXCL */
    uint32_t gen;           /* of the next object; table lock */
    uint32_t next_free;     /* index + 1 of the next free slot, 0: none; table lock */
    uint32_t index;
    void *obj; /* written before token; valid while pinned */
    /* What handle_is compares: 0 at first, then as the object's owner stores it under the lock. */
    _Atomic uint64_t version;
};

struct handle_table {
    enum handle_kind kind;
    pthread_mutex_t lock;                               /* slots' lists, not lookups */
    _Atomic(struct handle_slot *) chunk[HANDLE_CHUNKS]; /* grows only */
    uint32_t used;                                      /* slots ever handed out */
    uint32_t gen_first; /* where the generations of this copy of the library begin */
    uint32_t free_head; /* index + 1, 0: none */
};

#define HANDLE_TABLE_INIT(k)                           \
    {                                                  \
        .kind = (k), .lock = PTHREAD_MUTEX_INITIALIZER \
    }

/* A slot for an object that is still to be made, so that there is nothing left to fail when it is
 * there: NULL when host memory or slots are out. It goes to handle_give or handle_drop. */
struct handle_slot *handle_reserve(struct handle_table *t);
/* Put obj into the slot for this session; the token. */
uint64_t handle_give(struct handle_table *t, struct handle_slot *s, uint32_t session, void *obj);
void handle_drop(struct handle_table *t, struct handle_slot *s); /* NULL is fine */
/* Both at once; 0 as above. */
uint64_t handle_new(struct handle_table *t, uint32_t session, void *obj);

/* Slow halves of the inline functions below. */
struct handle_slot *handle_pin_wait(struct handle_slot *s, uint64_t token);

/* Pin a slot that has had the token, which is not 0; NULL when it has it no more. */
static inline struct handle_slot *handle_pin_slot(struct handle_slot *s, uint64_t token)
{
    if (atomic_load_explicit(&s->token, memory_order_relaxed) != token)
        return NULL;

    if (__builtin_expect(atomic_fetch_add_explicit(&s->pins, 1, memory_order_seq_cst) & HANDLE_EXCL,
                         0))
        return handle_pin_wait(s, token);

    /* Freed in between? Pin then look, against "end the token, then look for pins" in handle_take:
     * one of the two sees the other (sequentially consistent on both sides). */
    if (atomic_load_explicit(&s->token, memory_order_seq_cst) != token) {
        atomic_fetch_sub_explicit(&s->pins, 1, memory_order_release);
        return NULL;
    }
    return s;
}

/* Find and pin; NULL when the token is not a live handle of this table. */
static inline struct handle_slot *handle_pin(struct handle_table *t, uint64_t token)
{
    uint32_t index = (uint32_t)token & ((1u << HANDLE_INDEX_BITS) - 1);
    struct handle_slot *c =
        atomic_load_explicit(&t->chunk[index / HANDLE_CHUNK], memory_order_acquire);

    if (!c || token == 0)
        return NULL;
    return handle_pin_slot(&c[index % HANDLE_CHUNK], token);
}

static inline void handle_unpin(struct handle_slot *s)
{
    atomic_fetch_sub_explicit(&s->pins, 1, memory_order_release);
}

/* Whether the pinned slot still has this token (false: somebody is freeing the object). */
static inline bool handle_live(const struct handle_slot *s, uint64_t token)
{
    return atomic_load_explicit(&s->token, memory_order_seq_cst) == token;
}

/* Whether the token is a live handle of this table and its object this version, at a moment within
 * the call. Nothing is pinned: for those who need no more than that the object has not changed. */
static inline bool handle_is(struct handle_table *t, uint64_t token, uint64_t version)
{
    uint32_t index = (uint32_t)token & ((1u << HANDLE_INDEX_BITS) - 1);
    struct handle_slot *c, *s;

    c = atomic_load_explicit(&t->chunk[index / HANDLE_CHUNK], memory_order_acquire);
    if (!c || token == 0)
        return false;
    s = &c[index % HANDLE_CHUNK];
    /* The version before the token: one that is read after the token has ended belongs to nobody,
     * or to the slot's next object. */
    return atomic_load_explicit(&s->version, memory_order_acquire) == version &&
           atomic_load_explicit(&s->token, memory_order_relaxed) == token;
}

/* Find and lock for a change: waits until nobody has it pinned (the caller must not). NULL as
 * above. */
struct handle_slot *handle_lock(struct handle_table *t, uint64_t token);
void handle_unlock(struct handle_slot *s);

/* End the token and wait for its users; the object, now the caller's to destroy, or NULL when the
 * token is not a live handle. */
void *handle_take(struct handle_table *t, uint64_t token);

/* The same, and handle_lock, without waiting: NULL with *ret_busy when somebody uses the object. */
void *handle_take_now(struct handle_table *t, uint64_t token, bool *ret_busy);
struct handle_slot *handle_lock_now(struct handle_table *t, uint64_t token, bool *ret_busy);

/* End any live token, one per call, for the end of a session; NULL when there is none left. *cursor
 * starts at 0. */
void *handle_take_any(struct handle_table *t, uint32_t *cursor);

#endif
