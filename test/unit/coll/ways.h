/* SPDX-License-Identifier: Apache-2.0 */
/* Algorithms of a schedule as one number, those of two levels with the pair that they are of; and
 * which of them an operation has on the ranks that tests run. */
#ifndef TEST_UNIT_COLL_WAYS_H
#define TEST_UNIT_COLL_WAYS_H

#include "cases.h"

#define WAYS (SCHED_ALG_COUNT + SCHED_HIER * SCHED_HIER)

/* False: SCHED_HIER by itself, whose pairs are ways of their own. */
bool way_set(struct op_case *c, unsigned way);
const char *way_name(unsigned way, char *buf, size_t size);
/* Whether the first `per_node` cores of each of so many trn2.48xlarge, with logical cores of two,
 * must have run it. */
bool way_must_run(enum sched_op op, unsigned way, enum sched_variant variant, uint32_t nodes,
                  uint32_t per_node);

#endif
