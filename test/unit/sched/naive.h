/* SPDX-License-Identifier: Apache-2.0 */
/* A second proof, slow and simple, to judge the first: it keeps every access to every element,
 * builds the graph of what the signals order, closes it, and looks at all pairs. It shares no idea
 * with src/sched/check_*.c: no clocks, no pieces, no expressions. For small schedules only. */
#ifndef TEST_SCHED_NAIVE_H
#define TEST_SCHED_NAIVE_H

#include "sched/check.h"

/* NULL: right for every timing; else what is wrong, valid until the next call. */
const char *naive_check(const struct sched_request *req, uint32_t ranks, uint32_t channels,
                        const struct sched_check_source *source, uint32_t runs);
/* Whether this step changes any cell in any of the operations, in a schedule that is right. */
bool naive_changes(const struct sched_request *req, uint32_t ranks, uint32_t channels,
                   const struct sched_check_source *source, uint32_t runs, uint32_t rank,
                   uint32_t channel, size_t step);

#endif
