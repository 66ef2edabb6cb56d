/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test: runs steps on one node or on many, and collects what the nodes say. */
#ifndef NCCOM_LAUNCH_H
#define NCCOM_LAUNCH_H

#include "job.h"
#include "report.h"
#include "result.h"

#define CC_ARGS_MAX 512u

struct cc_launch {
    const struct cc_job *job;
    int argc; /* of the command line, which nodes get again */
    char **argv;
    char exe[CC_PATH_MAX]; /* this program, on the nodes */
    char token[CC_TOKEN_MAX];
    /* several nodes */
    int listener; /* -1: one node */
    char collector[256];
    const char *hosts[CC_HOSTS_MAX];
    char host_text[CC_HOSTS_MAX * 4]; /* of a hosts file */
    char slurm_job[64];
    bool slurm_own; /* to be given back */
    uint32_t vcpus;
};

/* Finds hosts and the collector's address, makes a Slurm job, runs the set-up script: whatever
 * comes before the first step. NRT_INVALID with a text. */
NRT_STATUS cc_launch_open(struct cc_launch *l, const struct cc_job *j, int argc, char **argv,
                          struct err *err);
void cc_launch_close(struct cc_launch *l);
/* Whether SIGINT or SIGTERM has come since cc_launch_open: the step under way has been stopped. */
bool cc_launch_stopped(void);
/* One step: rows[stream_count]. Failed ones say where the log is. */
void cc_launch_step(struct cc_launch *l, unsigned step, struct cc_row *rows);

/* remote.c: what starts the nodes of a step; args has room for CC_ARGS_MAX words, which are freed
 * with cc_args_free. False: too many. */
bool cc_remote_args(const struct cc_launch *l, unsigned step, char **args);
void cc_args_free(char **args);
NRT_STATUS cc_remote_open(struct cc_launch *l, struct err *err);
void cc_remote_close(struct cc_launch *l);
#endif
