/* SPDX-License-Identifier: Apache-2.0 */
/* Operations drawn from a number, so that every rank draws the same, and what must come of them:
 * plain loops over dtype_load and dtype_store. Values are small integers, so that every order of a
 * sum is exact and the definition alone is the oracle; the order itself is proved by the schedules'
 * tests. */
#ifndef TEST_UNIT_COLL_CASES_H
#define TEST_UNIT_COLL_CASES_H

#include "ranks.h"

#define CASE_TENSORS 3

#define CASE_TYPE_FIRST DT_UINT64 /* the codes of nrt_dtype_t */
#define CASE_TYPES      (DT_FP8_E5 - CASE_TYPE_FIRST + 1)

struct op_case {
    enum sched_op op;
    enum sched_alg alg;
    enum sched_variant variant;
    enum sched_alg intra, inter; /* of SCHED_HIER */
    enum dtype dtype;
    enum kernel_combine reduce;
    uint32_t tensors;
    uint64_t counts[CASE_TENSORS];
    uint32_t block; /* elements of the largest block of a variable form; 0: up to 5,000 */
    bool in_place;
    bool alone; /* planned without the others */
    bool tuned; /* variant and sizes as coll_request_tune chooses them */
    uint32_t chunk_bytes;
    uint64_t salt; /* of tables and pairs */
};
/* Values are 0 to 2. Floats of eight bits hold their sums exactly for a few ranks only; for more,
 * the largest value is what they can do. */
bool case_sum_is_exact(enum dtype t, uint32_t n);
/* Up to 5,000, of a variable form. */
uint32_t case_block(const struct op_case *c);
/* Any operation; not every algorithm has it (case_open then says NRT_FAILURE, on all ranks). */
struct op_case case_draw(uint64_t salt, uint32_t n);

struct tensors {
    uint8_t *in[CASE_TENSORS], *out[CASE_TENSORS];
    uint64_t in_addr[CASE_TENSORS], out_addr[CASE_TENSORS];
    uint64_t in_len[CASE_TENSORS], out_len[CASE_TENSORS]; /* elements */
};

/* A case on one rank: schedule, plan, tensors (by rank_memory). */
struct case_kit {
    struct op_case c;
    struct sched *s;
    struct coll_plan *plan;
    struct tensors ts;
    uint32_t *table; /* of the variable forms: counts, source and target places */
    struct topo_pair *pairs;
    uint32_t pair_count;
    struct device_instance *in;
    struct device_extent own; /* buffers of a plan made alone */
};
/* NRT_FAILURE: not by this algorithm; else what coll_plan_create says. Close it in any case. */
NRT_STATUS case_open(struct rank *r, struct case_kit *k, const struct op_case *c, struct err *err);
void case_close(struct case_kit *k); /* tensors stay until rank_memory_free */

/* Inputs from salt, outputs all 0xa5 where they are apart. */
void case_fill(struct rank *r, struct case_kit *k, uint64_t salt);
/* Whether the outputs are what the definition says; else err tells the first that is not. */
bool case_check(struct rank *r, const struct case_kit *k, uint64_t salt, struct err *err);
/* Fill, run, check. NRT_FAILURE: wrong values; else what coll says. */
NRT_STATUS case_run_once(struct rank *r, struct case_kit *k, uint64_t salt, struct err *err);
/* The source of the pair whose target is rank r; false: r is in no pair. Of SCHED_PERMUTE. */
bool case_pair_source(const struct case_kit *k, uint32_t n, uint32_t r, uint32_t *ret);
/* One drawn case three times with one plan; its memory is freed. Success also when the algorithm
 * does not have it. */
NRT_STATUS case_run(struct rank *r, uint64_t salt, struct err *err);

#endif
