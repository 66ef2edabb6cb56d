/* SPDX-License-Identifier: Apache-2.0 */
/* What cases.h does element by element, for tensors of megabytes: each rank has a line of values,
 * and its input is that line again and again, each time begun at another place. So inputs are
 * written and outputs compared by whole pieces. Of one tensor. */
#ifndef TEST_UNIT_COLL_BULK_H
#define TEST_UNIT_COLL_BULK_H

#include "cases.h"

struct bulk; /* the lines of n ranks */

struct bulk *bulk_create(uint32_t n, uint64_t seed); /* NULL: no memory */
void bulk_destroy(struct bulk *b);
/* As case_run_once. */
NRT_STATUS bulk_run_once(struct rank *r, struct case_kit *k, struct bulk *b, uint64_t salt,
                         struct err *err);

#endif
