/* SPDX-License-Identifier: Apache-2.0 */
/* Bootstrap: the ranks of a job meet over TCP at the root, which lives in the process of rank 0 and
 * listens at NEURON_RT_ROOT_COMM_ID, and learn each other's identity and blob. Afterwards the same
 * connections carry small collectives between hosts: barrier and all_gather over groups of ranks.
 * docs/net.md explains; docs/spec/behaviour.md 17 and docs/spec/collectives.md 14 are the facts.
 *
 * Progress: nothing here has a thread. net_job_progress does bounded work and never blocks; the
 * wait functions run it and sleep on the job's descriptors in between. Rank 0's process has to make
 * progress for the others to get theirs.
 *
 * Threads: any thread may call any function; a job has one lock, and progress of a second thread
 * returns at once. A forked child must not use a job of its parent.
 *
 * Errors: whoever knows first logs once; the text is also in err. The first failure of a job stays,
 * and every later call returns it. */
#ifndef NET_JOB_H
#define NET_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct log;
struct net_job;
struct net_group;

#define NET_HOST_MAX  64 /* host name with NUL; the documented limit is 63 characters */
#define NET_TEXT_MAX  128
#define NET_BLOB_MAX  4096
#define NET_WORLD_MAX 65536u
#define NET_PART_MAX  (64u << 20) /* bytes that one rank gives to one collective */
#define NET_TOTAL_MAX (1u << 30)  /* bytes of a result */
#define NET_NO_LIMIT  UINT64_MAX
#define NET_NO_RANK   UINT32_MAX

/* Whether a rank whose key file is another one may join, when OPENNRT_JOB_KEY is unset on both
 * sides. Hosts that share no file system cannot share the key file: such a job is not
 * authenticated, and both sides say so. From this very host there is no such excuse. */
enum net_unkeyed { NET_UNKEYED_OTHER_HOSTS, NET_UNKEYED_NEVER, NET_UNKEYED_ALWAYS };

/* What a rank brings. Zero-initialise and set what matters; everything is copied. Times are in
 * milliseconds; 0 means the default. */
struct net_job_config {
    const char *root; /* NEURON_RT_ROOT_COMM_ID; NULL is refused unless world is 1 */
    uint32_t rank, world;
    const char *version;  /* of the runtime, the same on all ranks; NULL: this library's */
    const char *host;     /* NULL: gethostname */
    const char *node;     /* which node this rank is on; NULL: the host */
    const char *instance; /* name of the instance; NULL: "default" */
    const void *blob;     /* what the other ranks need to reach this one; at most NET_BLOB_MAX */
    size_t blob_size;
    const char *key; /* OPENNRT_JOB_KEY; NULL: the key file */
    /* Folders to look for the key file, first that is not NULL wins. NULL in all three: the
     * variables OPENNRT_DIR, HOME, XDG_RUNTIME_DIR. */
    const char *key_dirs[3];
    enum net_unkeyed unkeyed;
    struct log *log; /* may be NULL */

    uint64_t join_limit_ms; /* until everybody has joined; 0: none, as documented */
    uint64_t retry_ms;      /* between the documented "retrying" lines: 120 s */
    uint64_t handshake_ms;  /* a connection that has not joined by then is dropped: 10 s */
    uint64_t report_ms;     /* how often the root tells waiting ranks who is missing: 200 ms */
    uint64_t close_ms;      /* longest time that closing spends on sending the last words: 2 s */
    uint64_t dead_ms;       /* silence of a host after which the kernel gives it up: 20 s */
    /* Of rank 0: how long ranks may wait for each other crosswise (each in an operation that the
     * other has not entered) before these operations end: 30 s. */
    uint64_t cross_ms;
    unsigned half_open_max;     /* connections that have not joined; 0: 64 */
    uint64_t (*now)(void *arg); /* nanoseconds; NULL: the monotonic clock */
    void *now_arg;
};

/* A rank as the others see it. Valid until the job is closed. */
struct net_rank {
    char host[NET_HOST_MAX], node[NET_TEXT_MAX], instance[NET_TEXT_MAX];
    uint32_t pid;
    const void *blob;
    size_t blob_size;
};

/* --- a job -------------------------------------------------------------------------------------
 */

/* Fills root, key, the join limit and cross_ms from NEURON_RT_ROOT_COMM_ID, OPENNRT_JOB_KEY,
 * OPENNRT_JOIN_TIMEOUT and NEURON_RT_EXEC_TIMEOUT; strings are the environment's own. */
void net_job_config_env(struct net_job_config *cfg, const struct diag_sink *sink);

/* Starts to join; rank 0 starts to listen. Resolves a host name in cfg->root, and so may block for
 * as long as that takes; otherwise returns at once. NRT_INVALID: the address is missing or
 * malformed, rank and world do not fit, a name is too long, a key is unusable. NRT_FAILURE: rank 0
 * cannot listen there, or there is no entropy. NRT_RESOURCE: memory, descriptors. Logs. */
NRT_STATUS net_job_open(const struct net_job_config *cfg, struct net_job **ret, struct err *err);
/* Says goodbye, sends what is queued for at most close_ms, frees all, groups included. After rank 0
 * has closed, the others can call nothing but close. NULL is fine. */
void net_job_close(struct net_job *job);

/* Bounded work: at most budget messages; returns how many were handled. Never blocks. */
unsigned net_job_progress(struct net_job *job, unsigned budget);
/* A descriptor that polls readable when net_job_progress has something to do, timers apart. Owned
 * by the job. */
int net_job_fd(const struct net_job *job);

/* NRT_SUCCESS, with *ret_joined whether everybody is there; else why the job failed: NRT_INVALID
 * (this rank or another one was set up wrongly: address, world size, rank, version, key),
 * NRT_TIMEOUT (the join limit; names who is missing), NRT_FAILURE (a rank or the root died). */
NRT_STATUS net_job_state(struct net_job *job, bool *ret_joined, struct err *err);
/* Makes progress until everybody has joined or limit_ns has passed (NRT_TIMEOUT, and the job lives
 * on; NET_NO_LIMIT is none); else as net_job_state. */
NRT_STATUS net_job_wait(struct net_job *job, uint64_t limit_ns, struct err *err);

uint32_t net_job_rank(const struct net_job *job);
uint32_t net_job_world(const struct net_job *job);
/* What the root drew when the job was complete, the same on every rank: a random id that names the
 * job in dumps, and the root's wall clock in seconds. 0 before. */
uint64_t net_job_cluster_id(const struct net_job *job);
uint64_t net_job_epoch(const struct net_job *job);
/* Whether every rank showed that it has the key. */
bool net_job_authenticated(const struct net_job *job);
/* NULL before everybody has joined, or out of range. */
const struct net_rank *net_job_member(const struct net_job *job, uint32_t rank);
/* This rank cannot go on (memory): the job is over, here with NRT_RESOURCE and this text, and on
 * the other ranks as if this one had died. */
void net_job_give_up(struct net_job *job, const char *why);
/* The rank whose death or mistake ended the job; NET_NO_RANK: none. */
uint32_t net_job_culprit(struct net_job *job);
/* Whether rank 0 has left in order: the job is over, but nobody has failed, and ranks that still
 * exchange data by other ways may go on. */
bool net_job_left(struct net_job *job);

/* --- collectives over the bootstrap connections ------------------------------------------------
 */

enum net_op { NET_OP_BARRIER = 1, NET_OP_GATHER, NET_OP_GATHER_V };

/* Ranks that act together: n distinct ranks in an order that all of them give alike, this rank
 * among them; NULL: the world. id names the group in messages and must be the same on its members
 * and differ between groups that live at one time. NRT_INVALID, NRT_RESOURCE. Local, sends nothing;
 * freed with the job. */
NRT_STATUS net_group_open(struct net_job *job, uint32_t id, const uint32_t *ranks, uint32_t n,
                          struct net_group **ret, struct err *err);
/* Frees it; nothing may be under way. */
void net_group_close(struct net_group *g);
uint32_t net_group_size(const struct net_group *g);

/* Starts the group's next operation; one at a time per group. A barrier takes no bytes; gather
 * takes the same number from every member, gather_v any. data is copied. NRT_INVALID: one is under
 * way, or the size is out of bounds (NET_PART_MAX each, NET_TOTAL_MAX together). */
NRT_STATUS net_op_start(struct net_group *g, enum net_op kind, const void *data, size_t size,
                        struct err *err);
/* How a member enters. Zero: it waits without limit, and has nothing to say. */
struct net_op_terms {
    const char
        *call; /* what the member is in, for messages: "nrt_barrier"; at most 47 characters */
    /* Until all have entered, from the first one on; the shortest limit of a member counts. When it
     * is over, the operation ends on all members, also those that come later, with NRT_TIMEOUT and
     * a text that names who was missing. 0: none. */
    uint32_t limit_ms;
    bool leaves; /* it does not wait for the end: for this member the operation is over */
    /* Where the members give at most so many bytes together, memory for them is taken before the
     * others can see this member enter: what they give is then not lost for lack of it. */
    size_t result_max;
};
NRT_STATUS net_op_enter(struct net_group *g, enum net_op kind, const void *data, size_t size,
                        const struct net_op_terms *terms, struct err *err);
/* This member cannot enter the group's next operation (memory): the one after it is its next. The
 * others wait for it until their limit. */
void net_op_skip(struct net_group *g);
/* Whether it is done. NRT_INVALID: the members do not agree on operation, size or group (text names
 * two that differ); NRT_FAILURE: a member has left or died. */
NRT_STATUS net_op_test(struct net_group *g, bool *ret_done, struct err *err);
/* Makes progress until it is done. NRT_TIMEOUT after limit_ns: text names who has not entered; the
 * operation goes on, and a later wait may still see it end. */
NRT_STATUS net_op_wait(struct net_group *g, uint64_t limit_ns, struct err *err);
/* What member i (in the group's order) gave to the last finished operation; valid until the next
 * net_op_start or net_op_enter, one that fails included, or the close. */
const void *net_op_part(const struct net_group *g, uint32_t i, size_t *ret_size);

#ifdef __cplusplus
}
#endif

#endif
