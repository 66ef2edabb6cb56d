/* SPDX-License-Identifier: Apache-2.0 */
/* One queue: putting requests in, carrying them out in order, asking how far it is. */
#include <inttypes.h>
#include <sched.h>
#include <string.h>

#include "base/broken.h"
#include "base/checked.h"
#include "queue/queue_int.h"

#define GIVE_WAY 64 /* times, so that whoever else can run comes to its next state */

void queue_give_way(void)
{
    for (int i = 0; i < GIVE_WAY; i++)
        sched_yield();
}

bool queue_status_final(NRT_STATUS status)
{
    switch (status) {
    case NRT_TIMEOUT:
    case NRT_HW_ERROR:
    case NRT_EXEC_HW_ERR_COLLECTIVES:
    case NRT_EXEC_HW_ERR_HBM_UE:
    case NRT_EXEC_HW_ERR_NC_UE:
    case NRT_EXEC_HW_ERR_DMA_ABORT:
    case NRT_EXEC_SW_NQ_OVERFLOW:
    case NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE:
    case NRT_NETWORK_PROXY_FAILURE:
        return true;
    default:
        return false;
    }
}

/* ---- putting in ---- */

static struct queue_slot *slots_make(struct queue *q)
{
    struct queue_slot *slots;

    pthread_mutex_lock(&q->core->lock);
    slots = atomic_load_explicit(&q->slots, memory_order_relaxed);
    if (!slots) {
        slots = mem_aligned(_Alignof(struct queue_slot), QUEUE_SLOTS * sizeof(*slots));
        if (slots)
            memset(slots, 0, QUEUE_SLOTS * sizeof(*slots));
        atomic_store(&q->slots, slots);
    }
    pthread_mutex_unlock(&q->core->lock);
    return slots;
}

/* Whether a queue that has issued so many has no room. issued may be old, and `completed` newer:
 * then the caller finds out when it tries to take the number. */
static bool is_full(struct queue *q, uint64_t issued, unsigned limit)
{
    uint64_t completed;

    if (issued - atomic_load(&q->known) < limit)
        return false;
    completed = atomic_load(&q->completed);
    atomic_store(&q->known, completed);
    return issued - completed >= limit && issued == atomic_load(&q->issued);
}

/* The next number; 0: *ret_status says why there is none. */
static uint64_t number_take(struct queue *q, unsigned limit, NRT_STATUS *ret_status)
{
    uint64_t issued = atomic_load(&q->issued);

    do {
        if (issued & QUEUE_CLOSED) {
            *ret_status = NRT_CLOSED;
            return 0;
        }
        if (is_full(q, issued, limit)) {
            *ret_status = NRT_QUEUE_FULL;
            return 0;
        }
    } while (!atomic_compare_exchange_weak(&q->issued, &issued, issued + 1));
    return issued + 1;
}

static NRT_STATUS refuse(const struct queue *q, NRT_STATUS status, struct err *err)
{
    switch (status) {
    case NRT_QUEUE_FULL:
        return err_set(err, status, "the queue is full");
    case NRT_CLOSED:
        return err_set(err, status, "the runtime is closed");
    case NRT_EXEC_UNIT_UNRECOVERABLE:
        return err_set(err, status,
                       "execution unit %#" PRIx32 " has failed for good: the runtime must be "
                       "initialized again",
                       q->id);
    default:
        return err_set(err, status, "no host memory for a queue of requests");
    }
}

NRT_STATUS queue_push(struct queue_set *s, uint32_t core, enum queue_kind kind, unsigned queue,
                      const struct queue_request *req, const void *arg, size_t arg_size,
                      unsigned limit, uint64_t *ret_seq, struct err *err)
{
    struct queue_slot *slots, *slot;
    struct queue_core *c;
    struct queue *q;
    uint64_t num;
    NRT_STATUS status = NRT_INVALID;

    if (BROKEN(PERF))
        return NRT_FAILURE;
    if (core >= s->count || queue >= queue_count(kind))
        return err_set(err, NRT_INVALID, "there is no queue %u of unit %d on core %" PRIu32, queue,
                       (int)kind, core);
    c = queue_core_get(s, core, &status);
    if (!c)
        return err_set(err, status,
                       status == NRT_CLOSED ? "the runtime is closed"
                                            : "no host memory for a logical core");
    q = queue_find(s, core, kind, queue);
    if (atomic_load_explicit(&q->dead, memory_order_acquire))
        return refuse(q, NRT_EXEC_UNIT_UNRECOVERABLE, err);
    if (fault_hit(FAULT_ASYNC))
        return refuse(q, NRT_QUEUE_FULL, err);
    slots = atomic_load_explicit(&q->slots, memory_order_acquire);
    if (__builtin_expect(!slots, 0) && !(slots = slots_make(q)))
        return refuse(q, NRT_RESOURCE, err);
    if (__builtin_expect(atomic_load_explicit(&c->hand_count, memory_order_acquire) == 0, 0)) {
        status = queue_crew_begin(c, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    if (req->tracker && !queue_tracker_reserve(req->tracker))
        return refuse(q, NRT_RESOURCE, err);
    num = number_take(q, limit < QUEUE_DEPTH ? limit : QUEUE_DEPTH, &status);
    if (num == 0) {
        if (req->tracker)
            queue_tracker_pass(req->tracker);
        return refuse(q, status, err);
    }
    QUEUE_STEP();
    slot = &slots[num % QUEUE_SLOTS];
    slot->req = *req;
    memcpy(slot->arg, arg, arg_size);
    *ret_seq = queue_seq(q, num);
    QUEUE_STEP();
    atomic_store(&slot->ready, num);
    QUEUE_STEP();
    queue_crew_call(q);
    return NRT_SUCCESS;
}

/* ---- carrying out ---- */

static struct queue_slot *next_slot(const struct queue *q)
{
    uint64_t num = atomic_load_explicit(&q->completed, memory_order_relaxed) + 1;

    return &atomic_load_explicit(&q->slots, memory_order_relaxed)[num % QUEUE_SLOTS];
}

const struct queue_request *queue_next(const struct queue *q)
{
    return &next_slot(q)->req;
}

/* The queue's first final failure. What is behind it in the queue meets it, too. */
static void die(struct queue *q, uint64_t num, NRT_STATUS status)
{
    LOGE(q->core->set->log, LOG_NRT, "queue_run",
         "execution unit %#" PRIx32 " fails for good with request %" PRIu64 ": status %d, %s",
         q->id, num, (int)status, status_name(status));
    atomic_store_explicit(&q->dead, 1, memory_order_release);
}

void queue_run_next(struct queue *q)
{
    struct queue_slot *slot = next_slot(q);
    const struct queue_ops *ops = slot->req.ops;
    uint64_t num = atomic_load_explicit(&slot->ready, memory_order_relaxed);
    NRT_STATUS status = NRT_EXEC_UNIT_UNRECOVERABLE;

    if (!atomic_load_explicit(&q->dead, memory_order_relaxed)) {
        status = ops->run(slot->arg);
        if (__builtin_expect(queue_status_final(status), 0))
            die(q, num, status);
    }
    QUEUE_STEP();
    ops->drop(slot->arg);
    if (slot->req.tracker) {
        if (__builtin_expect(status != NRT_SUCCESS, 0))
            queue_tracker_fail(slot->req.tracker, queue_seq(q, num), status);
        else
            queue_tracker_pass(slot->req.tracker);
    }
    QUEUE_STEP();
    if (!ops->told)
        atomic_store_explicit(&q->finished, num, memory_order_relaxed);
    /* From here on the caller may see it complete, and ask for the failure. */
    atomic_store(&q->completed, num);
    QUEUE_STEP();
    if (__builtin_expect(atomic_load(&q->waiting) != 0, 0))
        queue_notices_tell(q);
    if (!ops->told)
        return;
    ops->told(slot->arg, queue_seq(q, num), status);
    atomic_store(&q->finished, num);
    QUEUE_STEP();
    if (atomic_load(&q->waiting) != 0)
        queue_notices_tell(q);
}

/* ---- asking ---- */

NRT_STATUS queue_completed(const struct queue_set *s, uint64_t seq, bool *ret_completed)
{
    uint64_t num;
    struct queue *q = queue_of(s, seq, &num);

    if (!q)
        return NRT_INVALID;
    *ret_completed = atomic_load_explicit(&q->completed, memory_order_acquire) >= num;
    return NRT_SUCCESS;
}

NRT_STATUS queue_last(const struct queue_set *s, uint32_t core, enum queue_kind kind,
                      unsigned queue, uint64_t *ret_seq)
{
    struct queue *q;

    if (core >= s->count || queue >= queue_count(kind))
        return NRT_INVALID;
    q = queue_find(s, core, kind, queue);
    *ret_seq = q ? queue_seq(q, atomic_load_explicit(&q->completed, memory_order_acquire))
                 : queue_id(core, kind, queue) << QUEUE_NUM_BITS;
    return NRT_SUCCESS;
}
