/* SPDX-License-Identifier: Apache-2.0 */
/* A world of ranks that the host drives: sessions whose cores are the ranks, one operation of all
 * of them, and ranks that are processes, on one instance or on nodes. What fails ends the test. */
#ifndef TEST_SYSTEM_DRIVEN_WORLD_H
#define TEST_SYSTEM_DRIVEN_WORLD_H

#include "driven_case.h"
#include "runner.h"

/* The session's cores into the global communicator, each a rank, from threads. The status of the
 * last one that failed. */
NRT_STATUS driven_join(unsigned ranks);
/* A session of so many cores that are the ranks of a world, each with a tracker. */
void driven_session(unsigned ranks, nrta_error_tracker_t **t);

/* An all_reduce of float32 sums over the whole world. */
struct driven_case driven_sum_of(uint64_t seed, unsigned ranks, uint64_t elems);

/* Of every rank of a session, whose cores are 0 to ranks - 1. */
void driven_make_all(struct driven_run *r, const struct driven_case *c);
void driven_free_all(struct driven_run *r, unsigned ranks);
void driven_schedule_all(struct driven_run *r, unsigned ranks, nrta_error_tracker_t **t);
/* Completes what was scheduled; all of it is right. */
void driven_finish_all(const struct driven_run *r, unsigned ranks);

/* Starts a helper of this program as a rank, with the arguments rank, ranks, arg and "whole" (where
 * there are nodes) or "". per_node 0: all on the instance of this test; else on nodes of so many.
 */
void driven_rank_start(struct runner_proc *p, const char *helper, unsigned rank, unsigned ranks,
                       unsigned per_node, const char *arg);
/* In such a helper: a session, which joins the world as argv[1] of argv[2] ranks, with a tracker.
 * false: one of these calls failed. */
bool driven_rank_join(char **argv, unsigned *ret_rank, unsigned *ret_ranks,
                      nrta_error_tracker_t **ret_tracker);
/* The instances of the nodes, of which there are at most so many. */
#define DRIVEN_NODES 3u
void driven_nodes_remove(void);

#endif
