/* SPDX-License-Identifier: Apache-2.0 */
/* The proof of a schedule. sched_check runs the steps of every rank and channel symbolically, a few
 * operations in a row, and shows for every possible timing at once that
 *   - every output element of every rank ends as the definition of the operation asks: moved data
 *     from the right place, a reduction with each rank's contribution once, all_reduce with the
 *     same order of additions (the same bits) everywhere; what the operation may not write, and
 *     inputs, are as they were;
 *   - no read meets data that a signal does not order before it, no two writes overlap unordered,
 *     no write overtakes a read, also from one operation to the next: an application overwrites
 *     its tensors as soon as its own rank is done, and starts again at once;
 *   - every wait is satisfied, nothing waits in a circle, every counter gains in an operation
 *     exactly what its owner accounts for, messages of the network pair up in order and in size;
 *   - no step leaves a buffer, a node or the rules of struct sched_step.
 *
 * Why one run is enough. A wait for value v is satisfied by the v-th signal of one sequencer, so
 * which step happens before which does not depend on timing, and neither does what a race-free
 * schedule computes. Vector clocks hold that relation; two accesses that it does not order are a
 * violation even if this run met them in a harmless order. docs/modules/sched.md tells more.
 *
 * The steps come from any source: the iterator of sched.h, or streams written or damaged by hand.
 * Pure. One call is one thread's; cost grows with steps and pieces of buffers, not with elements.
 */
#ifndef SCHED_CHECK_H
#define SCHED_CHECK_H

#include "sched/sched.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where steps and sizes come from. Every function gets ctx. */
struct sched_check_source {
    void *ctx;
    /* Next step, valid until the next call for the same rank and channel; NULL at the end. */
    const struct sched_step *(*next)(void *ctx, uint32_t rank, uint32_t channel);
    /* Back to the first step; called before every operation. */
    void (*rewind)(void *ctx, uint32_t rank, uint32_t channel);
    /* After NULL: NRT_SUCCESS, or why the stream is not complete. May be NULL: always success. */
    NRT_STATUS (*status)(void *ctx, uint32_t rank, uint32_t channel);
    /* As sched_buffer_elems. */
    uint64_t (*buffer_elems)(void *ctx, enum sched_buf buf, uint32_t rank, uint32_t channel);
    /* Node of a rank: ranks of different nodes share no memory and no counters. May be NULL: all
     * ranks are on one node. */
    uint32_t (*node)(void *ctx, uint32_t rank);
};

/* A schedule's own steps as a source. s is borrowed. NRT_RESOURCE: memory. sched_check_close ends
 * the source. */
NRT_STATUS sched_check_open(const struct sched *s, struct sched_check_source *ret);
void sched_check_close(struct sched_check_source *source);

enum sched_flaw {
    SCHED_FLAW_NONE,
    SCHED_FLAW_STEP,       /* not a step: unknown kind, rank or buffer, wrong operands */
    SCHED_FLAW_BOUNDS,     /* leaves a buffer */
    SCHED_FLAW_NODE,       /* memory or counter of another node */
    SCHED_FLAW_OVERLAP,    /* operands of one step overlap */
    SCHED_FLAW_UNWRITTEN,  /* reads what nobody wrote */
    SCHED_FLAW_READ_RACE,  /* a read that nothing orders after the write */
    SCHED_FLAW_WRITE_RACE, /* two writes that nothing orders */
    SCHED_FLAW_REUSE,      /* a write that nothing orders after an earlier read */
    SCHED_FLAW_LINE,       /* PUT and TAKE do not pair up */
    SCHED_FLAW_NET,        /* NET_SEND and NET_RECV do not pair up, or differ in size */
    SCHED_FLAW_DEADLOCK,   /* a wait that nothing will satisfy */
    SCHED_FLAW_COUNTER,    /* a counter gains other than what its owner accounts for */
    SCHED_FLAW_RESULT,     /* a wrong output element */
    SCHED_FLAW_INPUT,      /* a changed input element */
    SCHED_FLAW_OUTSIDE,    /* an element changed that the operation may not write */
    SCHED_FLAW_BARRIER,    /* a rank leaves a barrier before another has entered */
    SCHED_FLAW_COUNT
};
const char *sched_flaw_name(enum sched_flaw flaw); /* "read race", ..., never NULL */

#define SCHED_AT_END UINT64_MAX /* step: after the last step of the operation */

/* The first violation. */
struct sched_violation {
    enum sched_flaw flaw;
    uint32_t operation;     /* 0 is the first of the run */
    uint32_t rank, channel; /* whose step */
    uint64_t step;          /* index in its stream, or SCHED_AT_END */
    /* The element, where the flaw has one; buf is SCHED_BUF_COUNT otherwise. */
    enum sched_buf buf;
    uint32_t buf_rank, tensor;
    uint64_t element;
};

/* One executed step, for drawings. Times are logical: a step that moves data lasts 1, others 0, a
 * wait ends when its signal was raised. */
struct sched_check_event {
    uint32_t operation, rank, channel;
    uint64_t index;
    uint64_t begin, end;
    const struct sched_step *step;
};

struct sched_check_options {
    uint32_t runs; /* operations in a row: 1 to SCHED_CHECK_RUNS_MAX; 0: 3 where there are lines
                    * (the set of operation 0 is used again in operation 2), else 2 */
    void (*event)(void *arg, const struct sched_check_event *e); /* may be NULL */
    void *arg;
};
#define SCHED_CHECK_RUNS_MAX 3u

/* What one rank did in the first operation. Touches are HBM reads and writes in elements, as
 * section 5 of docs/spec/collectives.md counts them, of the steps that this rank executes; the
 * documented duplication has two destinations, so a copy to more reads once for every two. */
struct sched_rank_counts {
    uint64_t steps;
    uint64_t sent_bytes; /* written to memory of other ranks, and sent over the network */
    uint64_t net_bytes;  /* the part over the network */
    uint64_t reads, writes;
};

/* Elements that went from the memory of one rank to that of another, on one channel. */
struct sched_flow {
    uint32_t channel, from, to;
    uint64_t elems;
};

/* Of the first operation. Zero-initialise; sched_counts_fini frees. */
struct sched_counts {
    uint32_t ranks;
    struct sched_rank_counts *rank;
    struct sched_flow *flow; /* by channel, from, to */
    size_t flow_count;
};
void sched_counts_fini(struct sched_counts *counts);

/* Check the schedule of `ranks` ranks with `channels` sequencers each. Of req, op, tensors, counts,
 * elem_size, in_place, the tables of variable forms and the pairs are read: what the operation
 * means. req->group is not used. options, ret_violation and ret_counts may be NULL; ret_violation
 * is set in every case (SCHED_FLAW_NONE when there is none), ret_counts on success.
 * NRT_SUCCESS: proved. NRT_FAILURE: a violation; err says which, in a sentence. NRT_INVALID: the
 * request makes no sense. NRT_RESOURCE: memory; or what source->status said. */
NRT_STATUS sched_check(const struct sched_request *req, uint32_t ranks, uint32_t channels,
                       const struct sched_check_source *source,
                       const struct sched_check_options *options,
                       struct sched_violation *ret_violation, struct sched_counts *ret_counts,
                       struct err *err);

#ifdef __cplusplus
}
#endif
#endif
