/* SPDX-License-Identifier: Apache-2.0 */
/* Random collectives that the host drives, what every rank gives to them, and what each must get:
 * drawn from a number, so that ranks that are processes draw the same. The oracle is the definition
 * of each operation (docs/spec/behaviour.md 17) in loops over elements; values are small whole
 * numbers, so that sums are exact in every order and type. */
#ifndef TEST_SYSTEM_DRIVEN_CASE_H
#define TEST_SYSTEM_DRIVEN_CASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "nrt/nrt_async.h"

#define DRIVEN_RANKS 8

enum driven_place {
    DRIVEN_APART,
    DRIVEN_IN_PLACE, /* the smaller side is its place in the larger, or they are the same */
    DRIVEN_SHIFTED,  /* they overlap, the output behind by an element */
    DRIVEN_LISTS,    /* the larger side is N tensors */
    DRIVEN_PLACES
};

struct driven_case {
    uint64_t seed;
    unsigned ranks; /* of the world */
    nrt_cc_op_type_t cc_op;
    enum dtype dtype;
    nrt_op_type_t op;
    uint64_t elems;               /* of the smaller side */
    uint32_t group[DRIVEN_RANKS]; /* a permutation of the world, cut into groups of n */
    unsigned n;                   /* the last, incomplete group takes no part */
    uint8_t place[DRIVEN_RANKS];  /* enum driven_place, each rank its own */
};

struct driven_case driven_draw(uint64_t seed, unsigned ranks);

/* One operation of one rank: its tensors and its request. */
struct driven_run {
    const struct driven_case *c;
    unsigned rank, vnc;
    bool idle; /* in no group */
    uint32_t group[DRIVEN_RANKS];
    unsigned me;
    nrt_tensor_t *whole; /* memory of the sides that overlap */
    nrt_tensor_t *in[DRIVEN_RANKS], *out[DRIVEN_RANKS];
    unsigned ins, outs;
    nrta_seq_t seq;
};

/* Tensors with what the rank gives, and 0 in the output if it lies apart. */
void driven_make(struct driven_run *r, const struct driven_case *c, unsigned rank, unsigned vnc);
NRT_STATUS driven_prepare(const struct driven_run *r, nrt_cc_context_t **ret);
void driven_schedule(struct driven_run *r, nrta_error_tracker_t *t); /* prepares, too */
/* It is complete. NULL: the output is right, and the input what it was where it lies apart; else
 * what is wrong (static per thread). */
const char *driven_compare(const struct driven_run *r);
void driven_free(struct driven_run *r);

#endif
