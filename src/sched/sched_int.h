/* SPDX-License-Identifier: Apache-2.0 */
/* What generators share: the schedule with its derived sizes, the table of an algorithm, and the
 * emitter of steps.
 *
 * A generator is a list of phases. A phase has a count of iterations (hops, peers, slices: a pure
 * function of schedule, rank and channel) and a body that emits the few steps of iteration i. The
 * iterator calls bodies in order, one at a time; what must be carried from body to body (numbers of
 * transfers on a connector) is computed from i. */
#ifndef SCHED_SCHED_INT_H
#define SCHED_SCHED_INT_H

#include "sched/sched.h"
#include "topo/topo.h"

struct sched_emit; /* where bodies put steps: emit.c */

struct sched_where { /* who and where, the arguments of every body */
    const struct sched *s;
    uint32_t rank, channel;
    unsigned phase;
};

struct sched_phase {
    const char *name;
    uint64_t (*count)(const struct sched_where *w); /* iterations; NULL: one */
    void (*body)(const struct sched_where *w, uint64_t i, struct sched_emit *out);
};

/* A contiguous range [begin, end) of the elements of something cut. */
struct sched_span {
    uint64_t begin, end;
};
/* cut(E, n) of 5.1: part i of elems elements of elem_size bytes. Pure arithmetic. */
struct sched_span sched_cut(uint64_t elems, uint32_t elem_size, uint32_t n, uint32_t i);

#endif
