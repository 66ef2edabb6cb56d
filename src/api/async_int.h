/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls that schedule share. */
#ifndef API_ASYNC_INT_H
#define API_ASYNC_INT_H

#include "api/api_int.h"
#include "nrt/nrt_async.h"
#include "queue/queue.h"

#define ASYNC_SHORT (64u << 10) /* bytes of a copy for which no other thread is called up */
#define ASYNC_LONG  (8u << 20)  /* up to here only while there are CPUs for one */

/* Where a request goes. */
struct async_to {
    const char *func;
    uint32_t core; /* counted from the first owned */
    enum queue_kind kind;
    int queue;
    bool lasts, copies; /* as in struct queue_request */
};

/* Leave a request; logs a failure, after which what arg holds is still the caller's. tracker and
 * seq are the arguments of the public call. */
NRT_STATUS async_push(const struct async_to *to, const struct queue_ops *ops, const void *arg,
                      size_t arg_size, nrta_error_tracker_t *tracker, nrta_seq_t *seq);

/* The same without a tracker and a sequence, up to limit requests. */
NRT_STATUS async_push_implicit(const struct async_to *to, const struct queue_ops *ops,
                               const void *arg, size_t arg_size, unsigned limit);

/* The logical core that a tensor was allocated on, counted from the first owned; false: it lies in
 * host memory. */
bool async_tensor_core(const struct tensor *t, uint32_t *ret_core);

#endif
