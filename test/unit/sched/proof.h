/* SPDX-License-Identifier: Apache-2.0 */
/* Cases for proofs and mutations: a world, a group in it, and a request, from a few numbers. */
#ifndef TEST_SCHED_PROOF_H
#define TEST_SCHED_PROOF_H

#include "sched/check.h"
#include "topo/group.h"

/* Numbers that depend on nothing but the seed. */
struct proof_random {
    uint64_t state;
};
uint32_t proof_draw(struct proof_random *r, uint32_t below);
/* OPENNRT_SEED, or the default; printed. */
struct proof_random proof_seed(void);

struct proof_world {
    const char *type;
    uint8_t lnc;
    uint8_t servers; /* of an UltraServer node */
    uint32_t nodes, per_node;
    bool shuffled; /* the ranks of the group in another order */
};

struct proof_group {
    struct topo_fabric fabric;
    struct topo_world world;
    struct topo_group group;
};
/* All ranks of the world. Fails the test when there is no such group. */
void proof_group_init(struct proof_group *g, const struct proof_world *w, struct proof_random *r);
/* Those of a list, in its order; per_node 0: of a world with a rank on every logical core. */
void proof_group_list(struct proof_group *g, const struct proof_world *w, const uint32_t *list,
                      uint32_t n);
void proof_list_shuffle(uint32_t *list, uint32_t n, struct proof_random *r);
void proof_group_fini(struct proof_group *g);

#define PROOF_TENSORS 3

struct proof_case {
    struct sched_request req;
    uint64_t counts[PROOF_TENSORS];
    uint32_t *table; /* of variable forms and pairs */
    struct topo_pair *pairs;
};
/* What the caller of sched_create may choose: size of elements, channels, slots, slices. */
void proof_request_vary(struct sched_request *req, struct proof_random *r);
/* How large: index into sizes around N, around slots, over several rounds. */
#define PROOF_SIZES 9
/* Fill counts, tables and pairs for req->op, whose other members are set. A variable form gets
 * random counts (some 0) and places that do not overlap. */
void proof_case_init(struct proof_case *c, const struct sched_request *req, unsigned size,
                     struct proof_random *r);
void proof_case_fini(struct proof_case *c);
/* "all_reduce ring staged in place, 16 ranks, ..." */
void proof_case_text(const struct proof_case *c, char *text, size_t size);

enum proof_outcome { PROOF_PROVED, PROOF_WRONG, PROOF_UNSUPPORTED };
/* Create and check. PROOF_WRONG: err says what. Statuses other than NRT_FAILURE and NRT_SUCCESS of
 * sched_create are wrong, too. counts may be NULL. */
enum proof_outcome proof_run(const struct proof_case *c, struct sched_counts *counts,
                             struct err *err);

#endif
