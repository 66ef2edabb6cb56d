/* SPDX-License-Identifier: Apache-2.0 */
/* Random NEFFs with collectives, what every rank gives to them, and what each must get: drawn from
 * a number, so that ranks that are processes draw the same. The oracle is the definition of each
 * operation (docs/spec/collectives.md 2) in loops over elements; values are small whole numbers, so
 * that sums are exact in every order and type. */
#ifndef TEST_SYSTEM_COLL_CASE_H
#define TEST_SYSTEM_COLL_CASE_H

#include <stdint.h>

#include "base/dtype.h"
#include "neffs.h"
#include "nrt/nrt.h"

#define CASE_RANKS   8
#define CASE_OPS     6
#define CASE_TENSORS 3

enum case_kind {
    CASE_ALL_GATHER,
    CASE_REDUCE_SCATTER,
    CASE_ALL_REDUCE,
    CASE_ALL_TO_ALL,
    CASE_PERMUTE,
    CASE_SEND,
    CASE_ALL_GATHER_V,
    CASE_ALL_TO_ALL_V,
    CASE_REDUCE_SCATTER_V,
    CASE_BARRIER,
    CASE_KINDS
};

struct case_op {
    enum case_kind kind;
    enum dtype dtype;
    unsigned reduce; /* 0 add, 1 min, 2 max */
    unsigned stream; /* 0 or 1 */
    unsigned tensors;
    uint64_t count[CASE_TENSORS]; /* elements of the smaller side (of one block) */
    bool in_place;                /* all_reduce: one variable is both */
    bool rows4;                   /* variable forms: with displacements of the receivers */
    bool chained;                 /* waits for the operation before on its engine */
    unsigned group_size, groups;
    uint32_t rank[CASE_RANKS]; /* groups, one after the other; later ranks take no part */
};

struct coll_case {
    uint64_t seed;
    unsigned ranks, ops;
    struct case_op op[CASE_OPS];
};

struct coll_case case_draw(uint64_t seed, unsigned ranks);
struct bytes case_neff(const struct coll_case *c);
/* Allocates the tensors of a rank, executes the model `times` times, and compares all outputs.
 * NULL, or what was wrong (static per thread). */
const char *case_run(const struct coll_case *c, unsigned rank, int vnc, nrt_model_t *m,
                     unsigned times);

#endif
