/* SPDX-License-Identifier: Apache-2.0 */
/* Queues and the threads of a core from the inside.
 *
 * A queue is a ring of 64 slots. `issued` counts the requests that callers have put in, `completed`
 * those that were carried out; both only grow. Who puts one in takes its number by raising
 * `issued`, writes the slot and then the number into slot.ready. Who works on the queue has claimed
 * it: one thread at a time, and the next request is always number completed + 1.
 *
 *     caller   issued = n  ->  slot  ->  ready = n  ->  claimed? seekers? else call one up
 *     worker   claim -> ready == completed + 1 ? -> run, drop -> completed = n -> ... -> let go
 *
 * Slot n is used again by request n + 64, whose number nobody can take before n + 1 is completed:
 * the worker may use the slot of a request until it completes the next one.
 *
 * That no request is forgotten: `seekers` counts the threads of the core that will look at every
 * queue before they sleep. A caller writes ready, then reads claimed, then seekers. A worker lets
 * go of the queue, then looks at it; and lowers seekers, then looks at all queues. All of these
 * are sequentially consistent, so either the caller sees a thread that will come, or the thread
 * sees the request.
 *
 * Who copies stays a seeker, though one that comes late: `copying` counts those. While there is a
 * CPU for one more, a request that only they would come to calls another thread up, by the same
 * rule: a caller reads copying after it wrote ready, a worker raises copying, then looks at all
 * queues. */
#ifndef QUEUE_QUEUE_INT_H
#define QUEUE_QUEUE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "queue/queue.h"
#include "run/run.h"

#define QUEUE_SLOTS  64u                 /* more than QUEUE_DEPTH, a power of two */
#define QUEUE_ALL    8u                  /* queues of a core */
#define QUEUE_CLOSED (UINT64_C(1) << 63) /* in issued: nobody takes a number any more */

struct queue_slot {
    _Alignas(64) _Atomic uint64_t ready; /* number of the request that is in it */
    struct queue_request req;
    _Alignas(16) unsigned char arg[QUEUE_ARG];
};

/* Somebody who waits for a completion: a descriptor of ours, or a thread in queue_drain. */
struct queue_notice {
    struct queue_notice *next;
    uint64_t num;
    int fd; /* -1: a thread */
    bool *told;
};

/* Lines that callers write, that the worker writes, and that hardly anybody does: a caller that
 * leaves a request need not take a line away from the worker. */
struct queue {
    _Alignas(64) _Atomic uint64_t issued; /* and QUEUE_CLOSED */
    _Atomic uint64_t known;               /* `completed`, as a caller has seen it, or less */
    _Alignas(64) _Atomic uint64_t completed;
    _Atomic uint64_t finished;             /* completed, and told to whom it concerns */
    _Atomic uint32_t waiting;              /* notices */
    _Alignas(64) _Atomic uint32_t claimed; /* by a thread of the core */
    _Atomic uint32_t dead;                 /* failed for good */
    _Atomic(struct queue_slot *) slots;    /* made with the first request */
    struct queue_core *core;
    uint32_t id;          /* upper 16 bits of a sequence */
    pthread_mutex_t lock; /* notices */
    struct queue_notice *notices;
    uint32_t telling;      /* who writes to descriptors that it has taken out; under lock */
    struct run_word moved; /* posted when a thread in queue_drain may go on */
};

/* A thread of a core. */
struct queue_hand {
    struct queue_core *core;
    unsigned number;
    pthread_t thread;
    struct run_word bell;
};

struct queue_core {
    struct queue_set *set;
    uint32_t index;
    uint32_t cpus; /* that its hands may have */
    _Alignas(64) _Atomic uint32_t seekers;
    _Atomic uint32_t copying;          /* of them */
    _Atomic uint32_t busy;             /* hands at something that lasts */
    _Atomic uint32_t asleep;           /* bits of hands */
    _Alignas(64) pthread_mutex_t lock; /* starting hands, making slots */
    _Atomic uint32_t hand_count;
    _Atomic uint32_t ending; /* all its queues are closed and empty */
    struct queue_hand hand[QUEUE_ALL];
    struct queue q[QUEUE_ALL];
};

struct queue_set {
    struct log *log;
    bool (*cpus)(void *arg, uint32_t core, struct run_cpus *ret);
    void *cpus_arg;
    uint32_t count;
    pthread_mutex_t lock; /* making cores, stopping */
    bool stopped;
    _Atomic(struct queue_core *) cores[]; /* each made with the first request for it */
};

/* Between two states. A test makes the thread that comes to the n-th of them give way to all
 * others, so that it meets them there. */
#define QUEUE_STEP()                \
    do {                            \
        if (fault_hit(FAULT_QUEUE)) \
            queue_give_way();       \
    } while (0)
void queue_give_way(void);

/* Of the whole set, by the numbers of kind and queue; NULL: there is none. */
struct queue *queue_find(const struct queue_set *s, uint32_t core, enum queue_kind kind,
                         unsigned queue);
/* The queue of a sequence, and the number in it; NULL: no such request. */
struct queue *queue_of(const struct queue_set *s, uint64_t seq, uint64_t *ret_num);

/* The upper 16 bits of its sequences, as a number of 16 bits. */
uint64_t queue_id(uint32_t core, enum queue_kind kind, unsigned queue);

static inline uint64_t queue_seq(const struct queue *q, uint64_t num)
{
    return (uint64_t)q->id << QUEUE_NUM_BITS | num;
}

/* Whether its next request is there. */
static inline bool queue_has_work(const struct queue *q)
{
    struct queue_slot *slots = atomic_load_explicit(&q->slots, memory_order_acquire);
    uint64_t num = atomic_load(&q->completed) + 1;

    return slots && atomic_load(&slots[num % QUEUE_SLOTS].ready) == num;
}

/* unit.c: carry out the next request of a claimed queue, which is there. */
void queue_run_next(struct queue *q);
/* And what it says of itself. */
const struct queue_request *queue_next(const struct queue *q);

/* set.c: the core, made if need be; NULL: no host memory, or the set has been stopped. */
struct queue_core *queue_core_get(struct queue_set *s, uint32_t core, NRT_STATUS *ret_status);

/* crew.c: a request was put into q: see to it that a thread comes. */
void queue_crew_call(struct queue *q);
/* The first thread of a core. */
NRT_STATUS queue_crew_begin(struct queue_core *c, struct err *err);
/* Wake all, who end when nothing is left, and join them. */
void queue_crew_end(struct queue_core *c);

/* notice.c: after completed was raised. */
void queue_notices_tell(struct queue *q);
/* Until all requests that have a number now are completed and told of. */
void queue_wait(struct queue *q);

/* tracker.c: room for the failure of one more request, which refers to the tracker; false: no
 * memory. Then one of the two. */
bool queue_tracker_reserve(struct queue_tracker *t);
void queue_tracker_fail(struct queue_tracker *t, uint64_t seq, NRT_STATUS status);
void queue_tracker_pass(struct queue_tracker *t);

#endif
