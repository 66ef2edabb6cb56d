/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks, shared communicators, plans and tables from the inside. */
#ifndef COLL_WORLD_INT_H
#define COLL_WORLD_INT_H

#include <pthread.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "coll/choose.h"
#include "coll/coll.h"
#include "coll/meet.h"
#include "coll/world.h"
#include "device/device.h"
#include "topo/group.h"

#define STREAM_DEPTH 64u /* operations that a stream holds, the one under way included */

struct net_link;
struct coll_rank;

/* A schedule and its plan, used by every operation of the communicator that is the same but for its
 * tensors. Lives as long as the communicator. */
struct shared_plan {
    struct shared_plan *next;
    struct strbuf key; /* bytes */
    uint32_t *tables;  /* of the variable-size forms: counts, sources, targets */
    struct sched *s;
    struct coll_plan *plan;
};

/* A communicator that models share. */
struct shared_comm {
    struct shared_comm *next;
    struct coll_rank *rank;
    struct coll_meet *meet;
    uint32_t n, me, stream;
    uint32_t *ranks; /* of the meet's world */
    bool alone;      /* of a model of one rank */
    bool stale;      /* another one took its place; models that have it keep it */
    unsigned refs;
    uint64_t id; /* equal on all members, never 0 */
    struct topo_group group;
    struct coll_comm *comm;
    struct shared_plan *plans;
};

enum entry_kind {
    ENTRY_IDLE,   /* this rank takes no part */
    ENTRY_FIXED,  /* one plan */
    ENTRY_VARIES, /* counts are known when it runs (varies.c) */
};
struct coll_varies;

/* One entry of a collectives table on this rank. */
struct coll_entry {
    const struct neff_coll *c;
    enum entry_kind kind;
    uint8_t stream;
    bool in_place;
    struct shared_comm *comm;
    struct coll_plan *plan;
    struct coll_varies *varies;
    uint32_t inputs, outputs;
    /* What the last operation used: where the binding's tensors were, and their device addresses.
     */
    const void **host; /* inputs, then outputs */
    uint64_t *addr;
    struct device_extent *copy; /* [inputs]: inputs that overlap an output are sent from here */
};

struct coll_table {
    struct coll_rank *rank;
    uint32_t count[CORE_MAX]; /* entries of each subgraph */
    struct coll_entry *entry[CORE_MAX];
    struct shared_comm **comms; /* referenced */
    size_t comm_count, comm_cap;
    struct arena mem;
};

/* ---- streams ---- */

struct stream_op {
    struct core_trigger t;
    struct coll_entry *e;
};

/* op[first ...]: `ended` operations whose signal was not taken, then those to be carried out. */
struct stream {
    struct stream_op op[STREAM_DEPTH];
    uint32_t first, ended, count; /* count: all of them */
    bool running;                 /* op[first + ended] has begun */
    bool asked;                   /* its counts are on their way (ENTRY_VARIES) */
};

struct coll_streams {
    struct device_instance *in;
    struct coll_table *table; /* of the run */
    uint64_t timeout_ns;
    uint32_t busy; /* bit per stream with operations to be carried out */
    uint64_t beats;
    struct stream stream[TOPO_MAX_STREAMS];
    uint8_t order[TOPO_MAX_STREAMS * STREAM_DEPTH]; /* streams, as their operations ended */
    uint32_t order_first, order_count;
    bool failed;                 /* an operation failed with err: what runs is abandoned */
    bool told;                   /* its signal was taken */
    struct core_trigger failure; /* its trigger */
    struct coll_suspect suspect;
    bool suspected;
    struct err err;
    struct device_live_page *live;
    uint32_t started; /* operations, for the live page */
};

/* A logical core. */
struct coll_rank {
    struct coll_world *w;
    uint32_t vnc, core;     /* owned logical core; its first physical one over the instance */
    pthread_mutex_t lock;   /* joining and making tables */
    pthread_mutex_t host;   /* barrier and gather */
    struct coll_meet *meet; /* NULL: not joined */
    uint32_t id, count;
    struct coll_meet *alone; /* for models of one rank */
    struct net_link *link;   /* to other nodes; NULL: not needed yet */
    bool *linked;            /* [count]: ranks whose address the link has */
    struct topo_world topo, topo_alone;
    struct topo_place *places, *place_alone; /* of the two */
    struct shared_comm *comms;               /* under lock */
    uint64_t comm_ids;
    struct core_outside outside;
    struct coll_streams streams;
};

struct coll_world {
    struct coll_world_config cfg;
    struct coll_house *house;
    struct sched_tuning tuning; /* of this host */
    uint32_t count;
    struct coll_rank *ranks;
    char *flight_dir; /* of coll_config; NULL: none, memory was out */
};

/* table.c: whether the ranks of a model, of which this is one, are among those of the meet. */
NRT_STATUS model_ranks_check(const struct coll_rank *r, uint32_t rank, uint32_t count,
                             struct err *err);

/* stream.c */
void streams_init(struct coll_rank *r); /* and its table of functions */

#define SHARED_IN_PLACE UINT64_C(1)

/* varies.c: the variable-size forms of one entry. */
/* Rows of the table of counts: the fourth is there where the variable has room for it. */
uint32_t varies_rows(const struct neff_coll *c, const struct neff_subgraph *sg, uint32_t n);
NRT_STATUS varies_make(struct coll_entry *e, const struct neff_subgraph *sg, struct err *err);
void varies_free(struct coll_varies *v); /* NULL is fine */
/* Begin to exchange the counts that lie at meta (rows and ranks as declared). */
NRT_STATUS varies_ask(struct coll_entry *e, const uint32_t *meta, struct err *err);
/* All counts are there: begin the operation proper. NRT_INVALID, the same on all members: they do
 * not fit the tensors. */
NRT_STATUS varies_begin(struct coll_entry *e, struct err *err);
/* It has ended: write the received counts. */
void varies_end(const struct coll_entry *e, uint32_t *meta);

/* shared.c; all under the rank's lock. */
struct shared_want {
    bool alone;
    uint32_t n, me, stream; /* me: position of this rank */
    const uint32_t *ranks;
    /* The collectives of the model with this communicator, for the members to compare: what tells
     * one from another, and its number in the table `member`. SHARED_IN_PLACE stays set where it
     * is set on all members. */
    const char *member;
    uint64_t *signature;
    const uint32_t *entry;
    size_t count;
};
/* The communicator of a list of ranks, opened with the others if one of them has none that works:
 * every member calls it, in the same order. Takes a reference. */
NRT_STATUS shared_comm_get(struct coll_rank *r, const struct shared_want *want,
                           struct shared_comm **ret, struct err *err);
void shared_comm_put(struct shared_comm *c);
/* The plan of a wish; every member calls it, in the same order. */
NRT_STATUS shared_plan_get(struct shared_comm *c, const struct coll_wish *wish,
                           struct coll_plan **ret, struct err *err);

#endif
