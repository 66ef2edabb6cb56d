/* SPDX-License-Identifier: Apache-2.0 */
/* Which algorithm carries out an operation: the table of docs/spec/collectives.md section 10 as
 * data. A rule says when it applies; the first that applies, and whose algorithm can do the
 * operation on this group, is taken. So overridden thresholds never lead to an algorithm that
 * cannot. Pure; rules are read only once made. */
#ifndef SCHED_SELECT_H
#define SCHED_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/sched.h"
#include "topo/group.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a rule asks of the group; all of its bits must hold. */
enum sched_need {
    SCHED_NEED_ONE_RANK = 1 << 0,
    SCHED_NEED_HOST = 1 << 1,       /* a host-driven operation */
    SCHED_NEED_NODES = 1 << 2,      /* X > 1 */
    SCHED_NEED_ONE_EACH = 1 << 3,   /* Y = 1 */
    SCHED_NEED_MANY_EACH = 1 << 4,  /* Y > 1 */
    SCHED_NEED_NODES_POW2 = 1 << 5, /* X a power of two */
    SCHED_NEED_ONE_CHIP = 1 << 6,   /* D = 1 */
    SCHED_NEED_CHIPS = 1 << 7,      /* D > 1 */
    SCHED_NEED_FEW_BYTES = 1 << 8,  /* row 4: the extra transfer of a single step is under a hop */
};

/* One row; limits of 0 are no limits, sizes are bytes. The fields may be changed by whoever
 * overrides the table; `row` names it. */
struct sched_rule {
    char row[4];    /* of the table; 12 and 13 have one rule for each threshold: "13b" */
    uint16_t ops;   /* bit 1 << enum sched_op */
    uint16_t needs; /* enum sched_need */
    uint32_t ranks_min, ranks_max;
    uint32_t nodes_max;
    uint64_t size_min, size_max; /* inclusive */
    uint64_t size_per_node;      /* size < nodes * this */
    enum sched_alg alg;
};

#define SCHED_RULES_MAX 32

struct sched_rules {
    unsigned count;
    struct sched_rule rule[SCHED_RULES_MAX];
};

/* The table as documented. */
void sched_rules_default(struct sched_rules *ret);
/* The rule of a row, to change it; NULL if there is none. */
struct sched_rule *sched_rules_find(struct sched_rules *rules, const char *row);
/* A rule before all others, row "set": this algorithm wherever it can. False: no room. */
bool sched_rules_prefer(struct sched_rules *rules, enum sched_alg alg);

/* Whether an algorithm can carry out an operation on such a group. */
bool sched_alg_can(enum sched_alg alg, enum sched_op op, const struct topo_dims *dims);

struct sched_question {
    enum sched_op op; /* a barrier is answered as an all_reduce */
    bool host;        /* host-driven */
    uint64_t size;    /* larger side of the operation, bytes at one rank */
    struct topo_dims dims;
};

/* alg; for SCHED_HIER also those of the stages: inside a node, and between nodes. */
struct sched_choice {
    enum sched_alg alg, intra, inter;
    char row[4], intra_row[4], inter_row[4]; /* the rules that decided; "" where unused */
    bool host;
};

/* NRT_INVALID when no rule applies: with the documented table only for operations outside it.
 */
NRT_STATUS sched_select(const struct sched_rules *rules, const struct sched_question *q,
                        struct sched_choice *ret, struct err *err);

/* The name that nccom-test prints: that of the algorithm, but "ring" where a host-driven operation
 * runs Ring in every stage. */
const char *sched_choice_printed(const struct sched_choice *c);

#ifdef __cplusplus
}
#endif
#endif
