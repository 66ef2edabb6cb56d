/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring for opennrt tune: every way of carrying out every operation, between processes. */
#ifndef TOOLS_OPENNRT_TUNE_H
#define TOOLS_OPENNRT_TUNE_H

#include "sched/tune.h"

#define TUNE_SAMPLES_MAX 512
#define TUNE_ROUNDS_MAX  15

/* Fills samples with what to measure: us is 0. largest: bytes of the largest operation. Returns how
 * many. */
size_t tune_plan(struct sched_tune_sample *samples, uint64_t largest);

/* Of what was measured, what a table made of it depends on: the ways that it and the fixed table
 * take at and around each size. Returns how many; us is 0. */
size_t tune_plan_again(const struct sched_tune_sample *first, size_t n,
                       const struct sched_tuning *tuned, struct sched_tune_sample *ret);

/* At each size of the plan, and halfway to the next: the means and patience of the fixed table,
 * then those of a tuned one where they differ. Returns how many. */
size_t tune_plan_verify(const struct sched_tuning *tuned, uint64_t largest,
                        struct sched_tune_sample *ret);

/* Measures all of them; those that could not be keep 0. budget_us: of each, about; rounds: turns
 * that it is taken in, of which the median counts, at most TUNE_ROUNDS_MAX. False: nothing could be
 * measured, and a message was printed. */
bool tune_measure(struct sched_tune_sample *samples, size_t n, double budget_us, unsigned rounds);

/* Measures a table against the fixed one and prints both and their ratio for each size. False: as
 * above. tune_verify.c. */
bool tune_verify(const struct sched_tuning *tuned, uint64_t largest);

/* As in "direct through 64K". */
void tune_means_text(struct sched_means m, char *ret, size_t size);
bool tune_same_point(const struct sched_tune_sample *a, const struct sched_tune_sample *b);
bool tune_same_way(const struct sched_tune_sample *a, const struct sched_tune_sample *b);

#endif
