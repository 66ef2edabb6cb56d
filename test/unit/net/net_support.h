/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of jobs whose ranks are threads: a port that nobody else gets, a key folder, a clock.
 */
#ifndef TEST_UNIT_NET_SUPPORT_H
#define TEST_UNIT_NET_SUPPORT_H

#include <pthread.h>

#include "log_tap.h"
#include "net/job.h"

#define RANKS_MAX 64

/* A port of an address, kept for this test by a bound socket that does not listen. */
struct port {
    int fd, number;
    char root[80]; /* "127.0.0.1:4711" */
};
/* host: "127.0.0.1" or "::1". False: this machine does not have it. */
bool port_take(struct port *p, const char *host);
void port_free(struct port *p);

/* A temporary folder, removed with what is in it. */
struct folder {
    char path[64];
};
void folder_make(struct folder *f);
void folder_remove(struct folder *f);

/* A clock that the test moves. */
struct clock {
    _Atomic uint64_t ns;
};
uint64_t clock_now(void *arg);

/* Ranks of one job, each with its own log. */
struct ranks {
    struct port port;
    struct folder folder;
    struct log *log;
    struct log_tap tap;
    struct net_job_config cfg; /* of every rank, but for the rank */
    struct net_job *job[RANKS_MAX];
};
/* A job of world ranks on 127.0.0.1, none opened yet. */
void ranks_setup(struct ranks *r, uint32_t world);
NRT_STATUS ranks_open(struct ranks *r, uint32_t rank, struct err *err);
/* Makes progress on all open jobs until done, or fails the test after 30 s. */
void ranks_until(struct ranks *r, bool (*done)(void *arg), void *arg);
/* Opens those that are not open, and makes progress until all have joined. */
void ranks_join(struct ranks *r);
/* So many rounds of progress of all ranks, whatever they bring. */
void ranks_steps(struct ranks *r, int n);
/* The job of a slot has failed with this status and a message that contains the text. */
void ranks_expect_failure(struct ranks *r, uint32_t slot, NRT_STATUS want, const char *text);
void ranks_teardown(struct ranks *r);

#endif
