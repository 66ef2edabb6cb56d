/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring for opennrt tune: every way of carrying out every operation, between processes. */
#ifndef TOOLS_OPENNRT_TUNE_H
#define TOOLS_OPENNRT_TUNE_H

#include "sched/tune.h"

#define TUNE_SAMPLES_MAX (3 * SCHED_TUNE_CASES_MAX)
#define TUNE_ROUNDS_MAX  15

/* Fills samples with what to measure: us is 0. largest: bytes of the largest operation. Returns how
 * many. */
size_t tune_plan(struct sched_tune_sample *samples, uint64_t largest);

/* Of what was measured, what a table made of it depends on: the ways that it and the fixed table
 * take at and around each size. Returns how many; us is 0. */
size_t tune_plan_again(const struct sched_tune_sample *first, size_t n,
                       const struct sched_tuning *tuned, struct sched_tune_sample *ret);

/* Measures all of them; those that could not be keep 0. budget_us: of each, about; rounds: turns
 * that it is taken in, of which the median counts, at most TUNE_ROUNDS_MAX, and fewer where the
 * host is so busy that they take many times the budget. False: nothing could be
 * measured, and a message was printed. */
bool tune_measure(struct sched_tune_sample *samples, size_t n, double budget_us, unsigned rounds);

/* Times of a case, us; 0: it could not be measured. */
struct tune_times {
    double fixed[2]; /* the fixed table, measured twice, as if it were two */
    double tuned;
};

/* Turns that the three of them take, in a trial. */
#define TUNE_TURNS 15

/* One trial of all cases, in processes and on an instance of its own. False: as above. */
bool tune_trial(const struct sched_tune_case *cases, size_t n, struct tune_times *ret);

/* The table made of samples, confirmed by trials. False: it could not be, and a message was
 * printed. */
bool tune_confirm(const struct sched_tune_sample *samples, size_t n, struct sched_tuning *ret,
                  struct sched_tune_record *record);

/* What was confirmed and what fell in the reach of a rule, as comments behind it. */
void tune_confirmed_put(const struct sched_tune_record *record, const struct sched_tune_rule *r,
                        uint64_t least, struct strbuf *out);
/* The same of the patience of a crowd, as lines of comments. */
void tune_patience_confirmed_put(const struct sched_tune_record *record, bool crowded,
                                 struct strbuf *out);
/* What came of it in all, likewise. */
void tune_confirmation_put(const struct sched_tune_record *record, struct strbuf *out);

/* Measures a table against the fixed one and prints both and their ratio for each size. False: as
 * above. tune_verify.c. */
bool tune_verify(const struct sched_tuning *tuned, uint64_t largest);

/* As in "direct through 64K". */
void tune_means_text(struct sched_means m, char *ret, size_t size);
bool tune_same_point(const struct sched_tune_sample *a, const struct sched_tune_sample *b);
bool tune_same_way(const struct sched_tune_sample *a, const struct sched_tune_sample *b);

#endif
