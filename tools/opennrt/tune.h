/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring for opennrt tune: every way of carrying out every operation, between processes. */
#ifndef TOOLS_OPENNRT_TUNE_H
#define TOOLS_OPENNRT_TUNE_H

#include "sched/tune.h"

#define TUNE_SAMPLES_MAX 512

/* Fills samples with what to measure: us is 0. largest: bytes of the largest operation. Returns how
 * many. */
size_t tune_plan(struct sched_tune_sample *samples, uint64_t largest);

/* Measures all of them; those that could not be keep 0. budget_us: of each, about. False: nothing
 * could be measured, and a message was printed. */
bool tune_measure(struct sched_tune_sample *samples, size_t n, double budget_us);

#endif
