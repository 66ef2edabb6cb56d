/* SPDX-License-Identifier: Apache-2.0 */
/* How the ranks of a world meet and exchange bytes outside of the device: over the bootstrap job
 * when NEURON_RT_ROOT_COMM_ID is set, and through a table of this process when it is not and the
 * world fits the process's own cores. A world of one rank meets nobody.
 *
 * Threads: a meet may be used by several threads as long as they use different lists of ranks or
 * tags; all members of a list enter its exchanges in the same order. */
#ifndef COLL_MEET_H
#define COLL_MEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct log;
struct net_job;
struct coll_house; /* ranks of one process, see coll_house_create */
struct coll_meet;

/* Where a rank is: what it tells the others when it joins. */
struct coll_place {
    uint64_t instance; /* device_instance_serial: ranks with equal ones share memory */
    uint32_t core;     /* first physical core of its logical core, over the instance */
    uint32_t lnc;
    uint32_t slot;
    char type[36]; /* of the instance */
};

/* Meeting place of the ranks that are threads of this process. */
NRT_STATUS coll_house_create(struct coll_house **ret, struct err *err);
void coll_house_destroy(struct coll_house *h); /* nobody is in it; NULL is fine */

struct coll_meet_config {
    uint32_t rank, world;
    struct coll_place place;
    struct coll_house *house;
    uint32_t local_max;   /* ranks that this process could hold: its logical cores */
    const char *instance; /* name of the instance, for messages */
    struct log *log;      /* may be NULL */
    const struct diag_sink *sink;
    /* In a process: how long ranks may wait for each other crosswise (net/cross.h), and for all to
     * join; 0: no limit. Over a job the root knows its own. */
    uint32_t cross_ms, join_ms;
};

/* Blocks until all ranks are there, which may take any time (a peer may be compiling): the
 * documented lines say every 120 s who is missing. NRT_INVALID: rank and world do not fit each
 * other or what another rank said, no root although one is needed, or a malformed one; NRT_FAILURE:
 * a rank died, rank 0 cannot listen; NRT_TIMEOUT: OPENNRT_JOIN_TIMEOUT; NRT_RESOURCE. Logs. */
NRT_STATUS coll_meet_open(const struct coll_meet_config *cfg, struct coll_meet **ret,
                          struct err *err);
void coll_meet_close(struct coll_meet *m); /* NULL is fine */

/* Whether worlds that are not of one rank meet over a job, whatever they fit. */
bool coll_meet_root_given(const struct diag_sink *sink);
uint32_t coll_meet_world(const struct coll_meet *m);
const struct coll_place *coll_meet_place(const struct coll_meet *m, uint32_t rank);
struct net_job *coll_meet_job(struct coll_meet *m); /* NULL: the ranks meet in this process */

/* What the members of a list gave, in its order: part i is [off[i], off[i + 1]) of data. */
struct coll_parts {
    uint8_t *data;
    size_t *off; /* n + 1 */
    size_t room; /* bytes of data */
};
void coll_parts_free(struct coll_parts *p); /* there are none where an exchange has failed */

/* How a rank enters an exchange. */
struct coll_terms {
    const char *call; /* what it is in, for messages; static; NULL: nothing is said */
    /* Until all have entered, from the first one on; 0: none. Then the exchange ends on all
     * members, those that come later included, with NRT_TIMEOUT, and names who was missing. */
    uint32_t limit_ms;
    bool counted; /* there will be exchanges of this list and tag whatever becomes of this one */
    /* Not 0: nobody gives more bytes. Then all memory is taken before this rank enters, and none is
     * missing when the others have heard from it. */
    size_t most;
    /* Where this rank lacks memory to enter, it leaves for good and gives no bytes, if there is
     * memory for that: the others find an empty part and do not wait. With `most`, so that
     * NRT_RESOURCE always means that it has not entered. */
    bool excused;
    bool back; /* of who leaves, as coll_meet_leave */
};

/* Every rank of the list (its order is part of its name; this rank is in it; NULL: the world) gives
 * bytes and gets those of all. tag tells apart what different users of one list do. Blocks until
 * all have given. NRT_FAILURE: a rank has died or left; NRT_INVALID: the members do not agree;
 * NRT_TIMEOUT: the limit, or ranks wait for each other crosswise for too long (net/cross.h);
 * NRT_RESOURCE: this rank has not entered, or could not take what was given; who has not entered
 * fails the exchange for the others of its process (NRT_FAILURE), over a job they wait until their
 * limit. Exchanges of a list and tag are counted; where this rank has no memory to do even
 * that (its first one), and `counted` is set, nobody meets any more. Logs. */
NRT_STATUS coll_meet_gather(struct coll_meet *m, const uint32_t *ranks, uint32_t n, uint32_t tag,
                            const void *mine, size_t size, const struct coll_terms *terms,
                            struct coll_parts *ret, struct err *err);
/* This rank will not enter another exchange of the list and tag: what is kept for it goes. */
void coll_meet_forget(struct coll_meet *m, const uint32_t *ranks, uint32_t n, uint32_t tag);
/* Gives bytes to such an exchange and does not wait for it. The rank's next one of this list and
 * tag is another exchange; unless it may come back (`back`): then in a process it is the same one,
 * and what is given then counts, if not all had come before. Logs as the exchange does. */
NRT_STATUS coll_meet_leave(struct coll_meet *m, const uint32_t *ranks, uint32_t n, uint32_t tag,
                           const void *mine, size_t size, bool back, struct err *err);

#endif
