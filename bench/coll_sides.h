/* SPDX-License-Identifier: Apache-2.0 */
/* Sides of the collective benchmarks, as the driver sees them. */
#ifndef BENCH_COLL_SIDES_H
#define BENCH_COLL_SIDES_H

#include <sys/types.h>

#include "coll_job.h"

/* SIDE_OTHER: a peer that no goal is held against, but is reported. */
enum side_role { SIDE_OURS, SIDE_FLOOR, SIDE_PEER, SIDE_OTHER };

/* Which jobs a side takes part in. */
enum side_jobs { SIDE_NODE, SIDE_NODE_2, SIDE_NODE_4, SIDE_NODES };

struct side_kind {
    const char *name;
    enum side_role role;
    enum side_jobs jobs;  /* of a node, with any number of ranks or that many; between nodes */
    bool all_reduce_only; /* the settings differ in nothing else */
    const char *program, *command;
    uint32_t chain_max; /* operations in a chain; 0: what keeps its sums finite */
};

struct side {
    const struct side_kind *kind;
    struct job_region *region; /* NULL: never started */
    pid_t pid;                 /* of its launcher; 0: gone */
    char path[64];
    char lost[64]; /* why it cannot take part; "": it can */
};

#define SIDES_MAX 32

/* Starts every side that a job of so many ranks has, of one node or each a node, and waits until
 * its ranks are there. dir: of the programs. Returns how many; those that did not come say why in
 * `lost`. */
unsigned sides_start(struct side *sides, const char *dir, uint32_t ranks, bool nodes);
/* One command, carried out by all ranks. False: the side is lost. */
bool side_do(struct side *s, enum job_command command);
void sides_stop(struct side *sides, unsigned n);

#endif
