/* SPDX-License-Identifier: Apache-2.0 */
/* A plain executor of schedules on numbers: every sequencer of every rank is a cursor, one of those
 * that can go on is picked at random, and memory is arrays of uint64. Sums wrap, so any order of
 * contributions gives the same number and the closed formulas in test_run.c are the oracle. */
#ifndef TEST_SCHED_SIM_H
#define TEST_SCHED_SIM_H

#include "sched/sched.h"

struct sim;

/* Buffers filled with garbage; tensors with sim_in(). seed: order of execution. */
struct sim *sim_new(const struct sched *s, uint64_t seed);
void sim_free(struct sim *sim);
/* One operation on fresh inputs derived from salt. NULL, or a text that says what went wrong
 * (deadlock, access out of bounds, unequal message); valid until the next call. */
const char *sim_run(struct sim *sim, uint64_t salt);
/* Element i of tensor t of the input of rank r under a salt. */
uint64_t sim_in(uint64_t salt, uint32_t r, uint32_t t, uint64_t i);
/* Element i of the output of rank r after the last run. */
uint64_t sim_out(const struct sim *sim, uint32_t r, uint32_t t, uint64_t i);

#endif
