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

/* A communicator that models share. Members are the loading thread's, but for what lock guards. */
struct shared_comm {
    struct shared_comm *next;
    struct coll_rank *rank;
    struct coll_meet *meet;
    uint32_t n, me, stream;
    uint32_t *ranks; /* of the meet's world */
    bool alone;      /* of a model of one rank */
    bool stale;      /* under lock: no load takes it any more; models that have it keep it */
    unsigned refs;   /* under lock */
    uint64_t id;     /* equal on all members, never 0; of those driven by the host: 1 */
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
    uint64_t run; /* number of the run that has triggered it last */
    uint8_t stream;
    bool in_place;
    bool tiles; /* its tensors lie in SBUF (tile.c) */
    struct shared_comm *comm;
    struct coll_plan *plan;
    struct coll_varies *varies;
    uint32_t inputs, outputs;
    /* Device time of an operation, and what of it one DMA engine works, and one packet takes there;
     * 0: not known. */
    uint64_t lasts_ps, engines_ps, packet_ps;
    struct time_moves moves; /* none unless somebody wanted them, or they are not known */
    /* What the last operation used: where the binding's tensors were (of tiles, their copies), and
     * their device addresses. */
    uint64_t binding; /* core_binding_serial; 0: nothing */
    bool found;       /* host, addr and copies are whole */
    void **host;      /* inputs, then outputs */
    uint64_t *addr;
    /* Inputs, then outputs: inputs that overlap an output are sent from here; of tiles all have
     * one.
     */
    struct device_extent *copy;
    bool copies; /* some are */
};

struct coll_table {
    struct coll_rank *rank;
    uint32_t count[CORE_MAX]; /* entries of each subgraph */
    struct coll_entry *entry[CORE_MAX];
    struct shared_comm **comms; /* referenced */
    size_t comm_count, comm_cap;
    bool confirmed; /* all ranks have theirs: loads to come can use its communicators */
    struct arena mem;
};

/* ---- streams ---- */

struct stream_op {
    struct core_trigger t;
    struct coll_entry *e;
    uint64_t arrival_ps; /* when it has ended and the run is recorded */
    uint64_t late_ps;    /* that a fault on demand has kept it */
};

/* op[first ...]: `ended` operations whose signal was not taken, then those to be carried out. */
struct stream {
    struct stream_op op[STREAM_DEPTH];
    uint32_t first, ended, count; /* count: all of them */
    bool running;                 /* op[first + ended] has begun */
    bool asked;                   /* its counts are on their way (ENTRY_VARIES) */
    uint64_t traced;              /* number of its trace events; 0: it has none */
    uint64_t free_ps; /* of a recorded run, its running estimate: its last operation has ended */
};

/* What was read of a member (circle.c). */
struct circle_seen {
    uint32_t epoch, looks;
};
#define CIRCLE_MOST 128u /* members of all communicators of a set */

struct coll_circle {
    uint32_t epoch, looks; /* as this rank tells them; no looks: something has moved */
    uint32_t reads;        /* that agree */
    uint32_t count;
    uint64_t comms;
    struct circle_seen seen[CIRCLE_MOST]; /* in the last of them */
};

struct coll_streams {
    struct device_instance *in;
    struct trace *trace;      /* NULL: none */
    uint32_t vnc;             /* whose ring takes the events */
    struct coll_table *table; /* of the run */
    uint64_t runs;            /* number of this one */
    uint64_t timeout_ns;
    uint32_t busy; /* bit per stream with operations to be carried out */
    uint64_t beats;
    bool dozed; /* nothing has moved since the last sleep */
    struct coll_circle circle;
    struct stream stream[TOPO_MAX_STREAMS];
    uint8_t order[TOPO_MAX_STREAMS * STREAM_DEPTH]; /* streams, as their operations ended */
    uint32_t order_first, order_count;
    uint32_t signals; /* that can be taken: of those, and of a failure that was not told */
    bool failed;      /* an operation failed with err: what runs is abandoned */
    bool told;        /* its signal was taken */
    struct shared_comm *refused; /* not NULL: all its members fail alike, before they began it */
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
    uint32_t vnc, core; /* owned logical core; its first physical one over the instance */
    /* Held while this rank waits for others: loading by who joins or makes tables, host by who
     * is in a barrier or gather. Then lock, held for moments: meet, id, count, comms. */
    pthread_mutex_t loading, host, lock;
    struct coll_meet *meet; /* NULL: not joined */
    uint32_t *global;       /* [count]: 0, 1, 2, ...: the ranks of a model are a piece of it */
    uint32_t id, count;
    struct coll_meet *alone; /* for models of one rank */
    struct net_link *link;   /* to other nodes; NULL: not needed yet */
    struct topo_world topo, topo_alone;
    struct topo_place *places, *place_alone; /* of the two */
    struct shared_comm *comms;
    uint64_t comm_ids;
    bool driven;    /* of operations that the host drives (driven.c): no streams, no loads */
    bool heard;     /* why the load failed, another rank has told */
    uint32_t loads; /* number of the load under way, or of the last one */
    struct core_outside outside;
    struct coll_streams streams;
};

/* The same core as a rank of operations that the host drives: with communicators, plans and a link
 * of its own, so that they run beside the programs of the core. It shares the meet of the core's
 * other rank. All but rank.lock belongs to whoever carries out the core's operations. */
struct coll_driver {
    struct coll_rank rank;
    struct device_extent scratch[2]; /* for inputs, for outputs; size 0: none yet */
};

struct coll_world {
    struct coll_world_config cfg;
    struct coll_house *house;
    struct sched_tuning tuning; /* of this host */
    uint32_t count;
    struct coll_rank *ranks;
    struct coll_driver *drivers;
    uint64_t epoch;   /* when it was made, s: that of a job whose ranks are all in this process */
    char *flight_dir; /* of coll_config; NULL: none, memory was out */
    /* Limits; 0: none. Of a load until all are there (OPENNRT_JOIN_TIMEOUT); from then on; and of
     * ranks that wait for each other crosswise (NEURON_RT_EXEC_TIMEOUT). */
    uint32_t join_ms, limit_ms, cross_ms;
    uint64_t exec_ns; /* of an operation that the host drives (NEURON_RT_EXEC_TIMEOUT); 0: none */
    struct net_servers *servers; /* of the ranks' links (NEURON_RT_RANKS_PER_NETWORK_PROXY) */
};

/* What ranks are in, for messages. */
#define CALL_LOAD     "nrt_load_collectives"
#define CALL_SCHEDULE "nrta_cc_schedule"

/* Tags of exchanges (meet.h). Those of a load have the number of the load, which all ranks of the
 * model agree on when they find each other ready: a rank that has left a load anywhere is in step
 * with the others in the next one. */
#define TAG_HOST  UINT32_MAX       /* no part of a load */
#define TAG_READY (UINT32_MAX - 1) /* the first one of each load */
#define TAG_DRIVEN                                                                \
    (UINT32_MAX - 2) /* operations that the host drives: no part of a load either \
                      */
#define LOADS_MAX ((UINT32_MAX >> 4) - 1) /* whose tags are none of these */
enum {
    TAG_STREAM,
    TAG_TABLE = 14,
    TAG_DONE = 15
}; /* of a load; TAG_STREAM and up: communicators */

/* table.c: whether the ranks of a model, of which this is one, are among those of the meet. */
NRT_STATUS model_ranks_check(const struct coll_rank *r, uint32_t rank, uint32_t count,
                             struct err *err);

/* Its ranks, as the meet counts; this one is its rank `rank`. */
static inline const uint32_t *model_ranks(const struct coll_rank *r, uint32_t rank)
{
    return r->global + (r->id - rank);
}

static inline uint32_t load_tag(const struct coll_rank *r, uint32_t what)
{
    return r->loads << 4 | what;
}

/* circle.c */
/* Something has moved in the run. */
void circle_moved(struct coll_streams *s);
/* The run can only go on when an operation does, and has looked at all of them in vain. Fails those
 * under way when all ranks that could move them wait, too. */
void circle_look(struct coll_streams *s);

/* stream.c */
void streams_init(struct coll_rank *r); /* and its table of functions */

#define SHARED_IN_PLACE UINT64_C(1)

/* table.c: what an entry of a NEFF's table is called below. Without a reduction: a sum. */
enum sched_op coll_sched_op(enum neff_coll_op op);
enum kernel_combine coll_combine(enum neff_coll_reduce r);

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

/* tile.c: an entry whose tensors lie in the SBUF of b's core. */
/* Before it begins: e->addr names copies in device memory, those of inputs filled. */
NRT_STATUS tiles_take(struct device_instance *in, struct coll_entry *e,
                      const struct core_binding *b, struct err *err);
/* It has ended: outputs come back. */
void tiles_give(const struct coll_entry *e, const struct core_binding *b);

/* agree.c: what the ranks of a model (n of them, as the meet counts) tell each other when they load
 * it. NRT_FAILURE: one cannot, err names it and says why; NRT_TIMEOUT: one does not come; and as
 * coll_meet_gather. */
/* First, without limit but that of joining: a peer may be compiling. */
NRT_STATUS agree_ready(struct coll_rank *r, const uint32_t *model, uint32_t n, struct err *err);
/* Instead, by a rank that cannot load: it does not wait. */
NRT_STATUS agree_leave(struct coll_rank *r, const uint32_t *model, uint32_t n, const char *why,
                       struct err *err);
/* Last: how it went. Where err carries a failure it is this rank's own, or, if r->heard, what
 * another one has told. */
NRT_STATUS agree_done(struct coll_rank *r, const uint32_t *model, uint32_t n, struct err *err);

/* A collective in words, for messages: NUL-terminated, or full. */
struct agree_words {
    char text[88];
};

struct agree_comm { /* a communicator that this rank's table wants */
    uint32_t n, me, stream;
    const uint32_t *ranks;
    /* The collectives with this communicator: what tells one from another, and where they stand.
     * SHARED_IN_PLACE stays set where it is set on all members. */
    size_t count;
    uint64_t *signature;
    const uint32_t *graph, *entry;
    const struct agree_words *words;
    uint64_t key,
        order; /* filled: name of the communicator, and its place among all of the model */
};
/* In between: compare tables. Every rank calls it with what its table wants, in the order of its
 * entries; where err carries a failure this rank has no table, and the others are told.
 * NRT_INVALID, the same on all: the tables differ. Then comms have keys and orders: made in
 * ascending order, no two ranks wait for each other. */
NRT_STATUS agree_tables(struct coll_rank *r, const uint32_t *model, uint32_t n,
                        const struct neff *neff, struct agree_comm *comms, size_t count,
                        struct err *err);

/* shared.c; by the loading thread. */
struct shared_want {
    bool alone;
    bool failed;            /* this rank's load has: the members are told, and nothing is made */
    uint32_t n, me, stream; /* me: position of this rank */
    const uint32_t *ranks;
};
/* The communicator of a list of ranks, opened with the others if one of them has none that works:
 * every member calls it, in the same order. Takes a reference. NRT_FAILURE: the load of another
 * member has failed, by name. */
NRT_STATUS shared_comm_get(struct coll_rank *r, const struct shared_want *want,
                           struct shared_comm **ret, struct err *err);
/* In this load the members have met for the last time. */
void shared_comm_part(struct coll_rank *r, const struct shared_want *want);
void shared_comm_put(struct shared_comm *c); /* any thread */
/* Nobody takes it any more: its members may not agree on its plans. */
void shared_comm_retire(struct shared_comm *c);
/* The communicator of a driven rank: open from its first use to the end of the session, so nobody
 * is asked whether it works. Every member comes here for the first operation of the list. */
NRT_STATUS shared_comm_keep(struct coll_rank *r, const struct shared_want *want,
                            struct shared_comm **ret, struct err *err);
void shared_comm_put_all(struct coll_rank *r); /* those kept */
/* The plan of a wish; every member calls it, in the same order. Of a driven rank's communicator the
 * plans used last are kept, the same ones on all members. */
NRT_STATUS shared_plan_get(struct shared_comm *c, const struct coll_wish *wish,
                           struct coll_plan **ret, struct err *err);

#endif
