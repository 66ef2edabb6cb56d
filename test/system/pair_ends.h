/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a send and receive, for the tests of nrt_async_sendrecv.h. */
#ifndef TEST_SYSTEM_PAIR_ENDS_H
#define TEST_SYSTEM_PAIR_ENDS_H

#include <stdbool.h>
#include <stddef.h>

#include "nrt/nrt.h"
#include "nrt/nrt_async_sendrecv.h"
#include "runner.h"

#define PAIR_COMMS   64
#define PAIR_PENDING 128

typedef nrt_async_sendrecv_comm_t comm_t;
typedef nrt_async_sendrecv_request_t request_t;

/* A core of this process, and how it reaches its peer. */
struct pair_end {
    int lnc, peer_lnc;
    char peer_ip[64];
};

/* The first of the two ports of a host's cores 0 and 1; host is 0 (the test's own) or 1. They are
 * bound, without listening, until this process ends: nobody else gets them. */
unsigned pair_port(unsigned host);
void pair_setenv(const char *name, long v);

/* Core lnc of the current instance, with the port of the environment. */
void pair_begin(int lnc);
void pair_teardown(void);
/* The test is core 0 of an instance of its own, without a limit unless NEURON_RT_EXEC_TIMEOUT is
 * set; the reverse is pair_teardown. */
void pair_setup(void);

/* Connects or accepts; the others wait until it is done, or the request is. */
comm_t *pair_comm_new(const struct pair_end *e, bool send);
NRT_STATUS pair_comm_wait(comm_t *c);
comm_t *pair_comm_connected(const struct pair_end *e, bool send);
NRT_STATUS pair_request_wait(request_t *r, size_t *ret_size);
nrt_tensor_t *pair_tensor_new(nrt_tensor_placement_t where, size_t size);
request_t *pair_post(bool send, nrt_tensor_t *t, size_t off, size_t size, comm_t *c);

/* LNC, PEER and IP from the command line of a helper. */
struct pair_end pair_end_from(char **argv);

/* A helper of this program at the other end, on this instance or another one. */
void pair_start(struct runner_proc *p, const char *name, struct pair_end *e, bool other,
                const char *ip, const char *a, const char *b);

/* The helper "peer": connect, accept, send N, recv N, wait, lost, fork, close. */
int pair_helper_peer(int argc, char **argv);
void pair_tell(struct runner_proc *p, const char *line);

/* A peer that is there; the test connects to it or accepts it. */
comm_t *pair_peer_start(struct runner_proc *p, struct pair_end *e, bool other, bool send);
/* The same, with pair_setup before it and a limit of *ret_s seconds: the shortest of 4, 8, 16 and
 * so on in which this host connects. */
comm_t *pair_peer_limited(struct runner_proc *p, struct pair_end *e, bool other, bool send,
                          long *ret_s);
void pair_peer_end(struct runner_proc *p);

#endif
