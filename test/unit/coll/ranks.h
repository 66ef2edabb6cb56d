/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks of one node or several as threads of this process or as processes: each opens its node's
 * instance for itself and meets the others through a table in shared memory. Nodes are named
 * instances, with links over loopback between them. */
#ifndef TEST_UNIT_COLL_RANKS_H
#define TEST_UNIT_COLL_RANKS_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "coll/coll.h"
#include "device/device.h"
#include "topo/group.h"

#define RANKS_MAX   64
#define RANKS_BLOCK 320 /* bytes that a rank gives to one exchange */

struct ranks_table; /* shared by all */

struct rank {
    uint32_t me, n;
    uint32_t world; /* rank in the world; me is its position in the group */
    uint32_t core;  /* physical, on its node */
    struct ranks_table *table;
    jmp_buf *over; /* where the body ends that meets nobody */
    struct device_instance *in;
    uint64_t timeout_ns; /* of communicators */
    struct log *log;
    const struct topo_group *group;
    struct net_link *link; /* NULL: one node */
    struct coll_comm *comm;
    void *arg;                    /* of the body */
    struct device_extent *memory; /* given out by rank_memory */
    size_t memory_count, memory_cap;
};

enum ranks_kind { RANKS_THREADS, RANKS_PROCESSES };

/* Whether the host and the groups that this process is in can give that much memory; else it is
 * said that `what` was not run. */
bool ranks_have_room(uint64_t bytes, const char *what);
/* The same for what an emulator, if this is one, keeps of the memory that ranks map. */
bool ranks_have_emulator_room(void);

/* Runs body on every rank of a trn2.48xlarge with n of its cores, communicator open, and closes
 * everything. A body returns NULL or a text. timeout_ms: of the communicators. NULL when all did
 * well, else the first text (static). Bodies of processes are forked copies: arg is read only. */
const char *ranks_run(enum ranks_kind kind, uint32_t n, uint64_t timeout_ms,
                      const char *(*body)(struct rank *r), void *arg);
struct ranks_nodes {
    uint32_t nodes, per_node;
    const char *provider; /* NULL: the first that works */
    uint64_t shuffle;     /* not 0: the group lists the ranks in an order drawn from it */
    const char *type;     /* of the instances, with logical cores of one; NULL: trn2.48xlarge, 2 */
    bool by_hand;         /* links without a thread: only who waits makes progress */
};
/* The same on several nodes. */
const char *ranks_run_nodes(enum ranks_kind kind, const struct ranks_nodes *where,
                            uint64_t timeout_ms, const char *(*body)(struct rank *r), void *arg);
/* Where the communicators of the next runs leave flight records: coll_config.flight_dir. */
extern const char *ranks_flight_dir;
/* The same, and process `victim` is killed with SIGKILL when it calls ranks_die. */
void ranks_die(struct rank *r);
/* Another communicator of the same group. Collective. */
NRT_STATUS ranks_comm_open(struct rank *r, struct coll_comm **ret, struct err *err);
/* The limit of the rank's communicator, which is a number of looks at the others from now on: a
 * clock that all share goes on when every rank has looked, but for those that are out. So nobody is
 * missed who only gets little of the machine. For an operation that has not looked yet. */
void ranks_limit(struct rank *r, uint64_t looks);
void ranks_out(struct rank *r, uint32_t rank);
/* All ranks wait for all. When one is over instead, the others end here, and the run fails. */
void ranks_barrier(struct rank *r);
/* A page that all ranks share, zero at first. */
void *ranks_shared(struct rank *r);
/* What the page held when the last run ended. */
const void *ranks_shared_last(void);

/* Device memory of this rank, filled with 0xa5; address in *ret_addr. */
void *rank_memory(struct rank *r, uint64_t size, uint64_t *ret_addr);
void rank_memory_free(struct rank *r); /* all of it */

#endif
