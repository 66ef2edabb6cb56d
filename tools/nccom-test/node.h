/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test: one step on one node: starts the ranks, waits for them, tells the launcher. */
#ifndef NCCOM_NODE_H
#define NCCOM_NODE_H

#include "job.h"

struct cc_node {
    const struct cc_job *job;
    unsigned step;
    uint32_t node;  /* of job->o.nodes */
    uint32_t local; /* which of the nodes on this host: the others get instances of their own */
    const char *token;
    const char *save_dir; /* for tensors that are wrong */
    const char *log_dir;  /* NULL, or where the node keeps a log of its own */
    int to;               /* the launcher: text of result.h */
};

/* Returns the exit code. What ranks print goes to standard output. */
int cc_node_run(const struct cc_node *n);

#endif
