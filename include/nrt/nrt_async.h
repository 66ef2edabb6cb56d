/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that return at once and are carried out by the execution units of a logical core. Names,
 * values and layouts are those of the header nrt/nrt_async.h of the AWS Neuron SDK;
 * docs/spec/api.md section 5, and docs/async.md with an example.
 *
 * Units. Each logical core has five. A unit has queues: requests of one queue are carried out in
 * the order in which they were scheduled, different queues do not wait for each other, and what
 * depends on what across them is the caller's to order. 63 requests of a queue may be under way.
 *
 * Requests. A call that schedules checks its arguments, gives the request a sequence and returns.
 * Its errors: NRT_QUEUE_FULL, the queue has 63 requests; NRT_EXEC_UNIT_UNRECOVERABLE, an earlier
 * request of the queue ended in a timeout or a fault of the device, and the runtime must be
 * initialised again; NRT_INVALID, the queue, the tracker or another argument; NRT_RESOURCE, host
 * memory or threads. What happens later goes to the error tracker. Host buffers must stay valid
 * until the request is complete. Tensors are kept: nrt_tensor_free waits for the requests that use
 * the tensor. nrt_close carries out what was scheduled before.
 *
 * The rules on states, handles and arguments at the head of nrt/nrt.h hold here too. All functions
 * may be called from any thread, except that calls on one error tracker are for one at a time. */
#ifndef NRT_NRT_ASYNC_H
#define NRT_NRT_ASYNC_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nrt/nrt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Kinds of units. Grows at its end only. */
typedef enum {
    NRTA_XU_TENSOR_READ = 0,  /* queues 0 and 1 */
    NRTA_XU_TENSOR_WRITE = 1, /* queues 0 and 1 */
    NRTA_XU_TENSOR_OP = 2,    /* other work on tensors: queues 0 and 1 */
    NRTA_XU_COMPUTE = 3,      /* queue 0 */
    NRTA_XU_COLLECTIVES = 4,  /* queue 0 */
    NRTA_XU_TYPE_NUM = 5,
} nrta_xu_t;

/* A request: its execution unit (and queue) in the upper 16 bits, never 0, and its number there in
 * the lower 48, which counts up from 1. Of two requests of one queue the later one is larger. */
typedef uint64_t nrta_seq_t;
typedef uint16_t nrta_xu_id_t;

#define NRTA_SEQ_NUM_MAX             ((1ull << 48) - 1)
#define NRTA_SEQ_NUM_MASK            NRTA_SEQ_NUM_MAX
#define NRTA_SEQ_GET_SEQ_NUM(seq_id) ((seq_id)&NRTA_SEQ_NUM_MASK)
#define NRTA_SEQ_GET_XU_ID(seq_id)   ((seq_id) >> 48)

/* A request that failed. */
typedef struct nrta_error {
    nrta_seq_t seq_id;
    uint64_t error_code; /* an NRT_STATUS */
} nrta_error_t;
static_assert(sizeof(nrta_error_t) == 16, "the layout is public");

typedef struct nrta_error_tracker nrta_error_tracker_t;

/* ---- Requests ---- */

/* Copy size bytes of buf to the tensor at offset, by unit TENSOR_WRITE of the core that the tensor
 * was allocated on (of the first core, for a tensor in host memory). NRT_INVALID also: the range is
 * not inside the tensor. */
NRT_STATUS nrta_tensor_write(nrt_tensor_t *tensor, const void *buf, uint64_t offset, uint64_t size,
                             int queue, nrta_error_tracker_t *err, nrta_seq_t *req_sequence);

/* Copy size bytes of the tensor at offset to buf, by unit TENSOR_READ. As above. */
NRT_STATUS nrta_tensor_read(void *buf, nrt_tensor_t *tensor, uint64_t offset, uint64_t size,
                            int queue, nrta_error_tracker_t *err, nrta_seq_t *req_sequence);

/* Copy size bytes of src at src_offset to dst at dst_offset, by unit TENSOR_OP; ranges of one
 * storage may overlap. NRT_INVALID also: the tensors were allocated on different cores. */
NRT_STATUS nrta_tensor_copy(nrt_tensor_t *src, uint64_t src_offset, nrt_tensor_t *dst,
                            uint64_t dst_offset, uint64_t size, int queue,
                            nrta_error_tracker_t *err, nrta_seq_t *req_sequence);

/* Execute the model once, by unit COMPUTE of its core (of the replica whose turn it is). The sets
 * are looked up by this call, and may change or be destroyed afterwards; their tensors and the
 * model are kept: nrt_unload waits. queue is 0. NRT_INVALID_HANDLE; NRT_EXEC_BAD_INPUT: the sets do
 * not fit. */
NRT_STATUS nrta_execute_schedule(nrt_model_t *model, const nrt_tensor_set_t *input,
                                 nrt_tensor_set_t *output, int queue, nrta_error_tracker_t *err,
                                 nrta_seq_t *req_sequence);

/* Prepare a collective operation; *cc_ctx is a context for nrta_cc_schedule. What the arguments
 * point to is copied. The core needs a global communicator (nrt_cc_global_comm_init). Does not wait
 * for the other ranks.
 *
 * input and output hold device tensors of the core's HBM, each whole: C bytes and N * C for an
 * operation that gathers or scatters among N ranks, as one tensor or, the larger side, as N; equal
 * sizes for NRT_CC_ALLREDUCE. Sides may overlap, be equal or lie in each other. op is one of ADD,
 * MAX and MIN, and ignored by NRT_CC_ALLGATHER.
 *
 * A context that is never scheduled keeps no tensor, and goes at nrt_close. NRT_INVALID: an
 * argument, or no global communicator; NRT_INVALID_HANDLE: a tensor; NRT_RESOURCE: host memory. */
NRT_STATUS nrta_cc_prepare(nrt_cc_comm_t *comm, nrt_tensor_list_t *input, nrt_tensor_list_t *output,
                           nrt_dtype_t dtype, nrt_op_type_t op, nrt_cc_op_type_t cc_op,
                           nrt_cc_context_t **cc_ctx);

/* Carry the operation out once, by unit COLLECTIVES of its core, beside whatever the other units
 * do; queue is 0. The context is used up and *cc_ctx becomes NULL; it stays when the call fails.
 * All members of a group schedule the same operations in the same order; the first one opens the
 * group's communicator. NRT_INVALID_HANDLE: the context, or a tensor freed since; NRT_INVALID also:
 * a tensor's storage was replaced since.
 *
 * To the tracker: NRT_TIMEOUT, not all members came to the first operation within 30 s
 * (NEURON_RT_EXEC_TIMEOUT if that is longer, or OPENNRT_JOIN_TIMEOUT); NRT_FAILURE, one died
 * before; NRT_EXEC_HW_ERR_COLLECTIVES, one died, does another operation, or nothing moved for
 * NEURON_RT_EXEC_TIMEOUT; NRT_NETWORK_PROXY_FAILURE, another node was lost; NRT_RESOURCE. The log
 * names the rank. All but NRT_FAILURE and NRT_RESOURCE end the queue. */
NRT_STATUS nrta_cc_schedule(nrt_cc_context_t **cc_ctx, int queue, nrta_error_tracker_t *err,
                            nrta_seq_t *req_sequence);

/* ---- Completion ---- */

/* Whether the request is complete: what it read or wrote is there, or its failure is in its
 * tracker. NRT_INVALID: seq is no request of this session. */
NRT_STATUS nrta_is_completed(nrta_seq_t seq, bool *is_completed);

/* The last request that this queue of core lnc has completed; its number is 0 when there was none.
 * All requests of the queue with lower sequences are complete, too. NRT_INVALID: there is no such
 * queue. */
NRT_STATUS nrta_get_sequence(uint32_t lnc, nrta_xu_t xu, int queue, nrta_seq_t *seq);

/* A descriptor that poll, epoll and select find readable from the completion of the request on. The
 * caller closes it, before or after; no other call on it is allowed. It outlives nrt_close.
 * NRT_INVALID: seq is no request of this session. NRT_RESOURCE: no descriptors. */
NRT_STATUS nrta_get_completion_handle(nrta_seq_t seq, int *fd);

/* ---- Failures ---- */

/* A list of failed requests of one logical core, owned by the caller. NRT_INVALID: the core is not
 * owned. */
NRT_STATUS nrta_error_tracker_create(uint32_t lnc_idx, nrta_error_tracker_t **error_tracker);

/* The failures of requests under way have nowhere to go then. nrt_close does it, too. */
void nrta_error_tracker_destroy(nrta_error_tracker_t *error_tracker);

/* All failures so far of requests scheduled with the tracker, in the order of their completion. The
 * list is the tracker's and lasts until the next call on it. */
NRT_STATUS nrta_error_tracker_get_list(nrta_error_tracker_t *error_tracker,
                                       const nrta_error_t **list, size_t *error_count);

#ifdef __cplusplus
}
#endif
#endif
