/* SPDX-License-Identifier: Apache-2.0 */
/* Execution units: requests that a caller leaves behind and a thread of ours carries out.
 * docs/modules/queue.md explains the protocol; docs/spec/api.md 5 and behaviour.md 9 are the facts.
 *
 *   queue_set           one per session
 *     core              one per logical core: its units, and the threads that work for it
 *       unit            tensor read, tensor write, tensor op, compute, collectives; each has 1 or 2
 *         queue         up to QUEUE_DEPTH requests, carried out in order
 *
 * Queues do not wait for each other. A request is known by its sequence: the number of its unit and
 * queue in the upper 16 bits, its own in the lower 48, from 1 on. What a request does is the
 * caller's business (struct queue_ops); this room knows order, completion and failure.
 *
 * Threads: all functions may be called from any thread at any time between queue_set_create and
 * queue_set_destroy, unless they say otherwise. */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "run/run.h"

#ifdef __cplusplus
extern "C" {
#endif

struct log;
struct queue_set;
struct queue_tracker;

/* Values are those of nrta_xu_t. */
enum queue_kind {
    QUEUE_TENSOR_READ,
    QUEUE_TENSOR_WRITE,
    QUEUE_TENSOR_OP,
    QUEUE_COMPUTE,
    QUEUE_COLLECTIVES,
    QUEUE_KINDS
};

#define QUEUE_DEPTH    63u  /* requests of a queue that are not completed */
#define QUEUE_ARG      112u /* bytes of a request's own */
#define QUEUE_NUM_BITS 48u
#define QUEUE_NUM_MAX  ((UINT64_C(1) << QUEUE_NUM_BITS) - 1)
#define QUEUE_CORES    2048u /* that the 16 bits of a unit have room for */

/* Queues of a unit of this kind. */
unsigned queue_count(enum queue_kind kind);

/* What a request does. arg is the request's own copy of the bytes given to queue_push. All three
 * run on a thread of the core, in this order, with no lock held; a request of the same queue
 * begins when they have returned. */
struct queue_ops {
    /* Carry it out. Not called when the queue has failed for good. Logs its failures. */
    NRT_STATUS (*run)(void *arg);
    /* Give back what the request holds: before anybody can see that it is complete. */
    void (*drop)(void *arg);
    /* After it is complete. May be NULL. */
    void (*told)(void *arg, uint64_t seq, NRT_STATUS status);
};

struct queue_request {
    const struct queue_ops *ops;
    struct queue_tracker *tracker; /* gets its failure; NULL: nobody does */
    /* It may take long, or wait for somebody: other queues of the core get another thread
     * meanwhile. */
    bool lasts;
    /* If it lasts: it waits for nobody, and is over before others would miss the thread. Where all
     * CPUs have something that lasts, others wait for its end instead. */
    bool copies;
};

struct queue_config {
    uint32_t cores; /* logical cores, at most QUEUE_CORES */
    /* Where the threads of a core are to run; false: wherever their creator may. May be NULL. Any
     * thread. */
    bool (*cpus)(void *arg, uint32_t core, struct run_cpus *ret);
    void *cpus_arg;
    struct log *log; /* borrowed, may be NULL */
};
NRT_STATUS queue_set_create(const struct queue_config *cfg, struct queue_set **ret,
                            struct err *err);
/* Refuses new requests with NRT_CLOSED, waits until those there are have been carried out, and ends
 * the threads. By one thread, not one of them; a second time it does nothing. NULL is fine. */
void queue_set_stop(struct queue_set *s);
/* After queue_set_stop, when nobody is in a call. NULL is fine. */
void queue_set_destroy(struct queue_set *s);

/* Leave a request: arg_size (at most QUEUE_ARG) bytes of arg are copied. limit: requests that the
 * queue may have that are not completed, this one included; at most QUEUE_DEPTH. On success
 * *ret_seq is its sequence, written before the request can begin. NRT_QUEUE_FULL;
 * NRT_EXEC_UNIT_UNRECOVERABLE: the queue has failed for good; NRT_RESOURCE: host memory, or no
 * thread can be started; NRT_CLOSED; nothing has happened then, and drop is not called. Costs no
 * system call while a thread of the core is awake, allocates at the first request of a queue only.
 */
NRT_STATUS queue_push(struct queue_set *s, uint32_t core, enum queue_kind kind, unsigned queue,
                      const struct queue_request *req, const void *arg, size_t arg_size,
                      unsigned limit, uint64_t *ret_seq, struct err *err);

/* NRT_INVALID: no request has this sequence. */
NRT_STATUS queue_completed(const struct queue_set *s, uint64_t seq, bool *ret_completed);
/* Sequence of the last request completed; its number is 0 when there is none. NRT_INVALID: there is
 * no such queue. */
NRT_STATUS queue_last(const struct queue_set *s, uint32_t core, enum queue_kind kind,
                      unsigned queue, uint64_t *ret_seq);
/* A descriptor that poll calls readable from the completion of the request on. The caller closes
 * it, when it likes. NRT_INVALID as above; NRT_RESOURCE: no descriptors. */
NRT_STATUS queue_notice_fd(struct queue_set *s, uint64_t seq, int *ret_fd, struct err *err);
/* Wait until all requests that the queue had when this was called are completed and told of. Not
 * from a thread of the core (queue_worker_of). */
void queue_drain(struct queue_set *s, uint32_t core, enum queue_kind kind, unsigned queue);

/* Whether the calling thread works for a core, and then which; also when the set is another. */
bool queue_worker_of(uint32_t *ret_core);
/* In the child of a fork: the calling thread is no worker any more. */
void queue_forget(void);

/* Whether a failure ends the unit: after a timeout or a fault of the device nobody knows what state
 * it is in. */
bool queue_status_final(NRT_STATUS status);

/* ---- failures of requests ---- */

struct queue_error {
    uint64_t seq;
    uint64_t status;
};

/* A list of failures, counted by reference: its maker's, and one of each request that is under way.
 * NULL: no host memory. */
struct queue_tracker *queue_tracker_create(uint32_t core);
void queue_tracker_unref(struct queue_tracker *t);
uint32_t queue_tracker_core(const struct queue_tracker *t);
/* All failures so far, in the order of completion. The list lasts until the next call of this
 * function or the end of the tracker. NRT_RESOURCE. */
NRT_STATUS queue_tracker_list(struct queue_tracker *t, const struct queue_error **ret,
                              size_t *ret_count);

#ifdef __cplusplus
}
#endif
#endif
