/* SPDX-License-Identifier: Apache-2.0 */
/* Areas in shared memory, communicators and plans from the inside.
 *
 * An area lies in the HBM of its rank and is written by others; nothing in it is believed: counters
 * are compared, addresses are checked against the HBMs before use, names are numbers checked where
 * they are printed. */
#ifndef COLL_COLL_INT_H
#define COLL_COLL_INT_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "coll/coll.h"
#include "device/device.h"
#include "device/flight.h"
#include "net/link.h"
#include "run/run.h"
#include "topo/group.h"

#define COLL_MAGIC UINT64_C(0x31616572616c6c6f) /* "ollarea1" */
/* Of what ranks tell each other when a communicator opens, and of the messages between nodes. */
#define COLL_VERSION   4u
#define COLL_LINE_DATA 56u /* payload bytes of a line */
#define COLL_LINES     ((SCHED_INLINE_MAX + COLL_LINE_DATA - 1) / COLL_LINE_DATA)
#define COLL_LINE_SETS 2u
#define COLL_HELD      128u
#define COLL_ENTERED   4u

/* Raised by one sequencer of one rank; its own cache line. */
struct coll_counters {
    _Atomic uint32_t sem[SCHED_SEM_COUNT];
    /* What the writer's last two operations are: sequence number in the upper half, signature in
     * the lower; index is the parity of the sequence number. Written before their first signal. */
    _Atomic uint64_t signature[2];
};

union coll_counter_line {
    struct coll_counters c;
    uint8_t pad[64];
};
static_assert(sizeof(union coll_counter_line) == 64, "one cache line per writer");

/* Payload, then the sequence number of the operation, in one cache line. */
struct coll_line {
    uint8_t data[COLL_LINE_DATA];
    _Atomic uint32_t signature;
    _Atomic uint32_t seq; /* written last; 0: never used */
};
static_assert(sizeof(struct coll_line) == 64, "payload and flag travel together");

/* What an operation is, as its rank announces it (differ.c): enough to say how two differ. */
struct coll_op {
    uint64_t mark; /* sequence number in the upper half, signature in the lower; 0: none */
    uint64_t what; /* op, alg, dtype, bytes */
    uint64_t how;  /* the signature again, that readers see what belongs together; the rest */
};
/* The mark of what is published under this parity of the number, while it belongs to no operation:
 * its number has the other parity. */
#define COLL_MARK_NONE(parity) ((parity) ? 0 : UINT64_C(1) << 32)

/* What the owner of the area publishes. */
struct coll_publish {
    _Atomic uint64_t started, ended; /* operations */
    _Atomic uint64_t steps;
    _Atomic uint64_t wait;     /* 0: none; else for what: see wait_pack */
    _Atomic uint32_t wait_for; /* value of the counter, or number of the line */
    _Atomic uint32_t cpu;      /* 1 + where it ran at its last look; 0: not known */
    struct {
        _Atomic uint64_t mark, what, how; /* as in struct coll_op; mark: none while others change */
    } op[2];                              /* the last two; index is the parity of the number */
    _Atomic uint64_t in[SCHED_TENSORS_MAX]; /* device addresses of the tensors of `started` */
    _Atomic uint64_t out[SCHED_TENSORS_MAX];
};

/* Device time of the owner's trigger of operation `seq`, in picoseconds of its run. */
struct coll_entered {
    _Atomic uint64_t seq, ps;
};

/* Why a rank has failed, in its own words: of its owner, or what another node has told of. */
#define COLL_WHY_MAX 184u
struct coll_why {
    _Atomic uint32_t size; /* of the text; written last, once; 0: none */
    uint32_t culprit;
    char text[COLL_WHY_MAX];
};

/* An operation of another node that is not the same as the owner's: ranks of its node may be told
 * of the failure before they hear of the operation themselves. */
struct coll_differing {
    _Atomic uint32_t rank; /* 1 + whose; written last, once; 0: none */
    struct coll_op op;
};

/* What the owner tells of a run that waits (circle.c). */
struct coll_stuck {
    _Atomic uint64_t word;                 /* epoch << 32 | looks in vain; no looks: it moves */
    _Atomic uint64_t in[TOPO_MAX_STREAMS]; /* communicators of its operations; 0: none */
};

struct coll_area {
    uint64_t magic;
    uint32_t n, channels;
    _Alignas(64) struct run_word bell;
    _Atomic uint32_t sleeping; /* the owner looks at the bell before it sleeps */
    _Alignas(
        64) _Atomic uint64_t failure; /* status << 32 | 1 + culprit; 0: none. First one stays */
    struct coll_why why;              /* by the owner, before it hands a failure on */
    struct coll_differing differing;  /* as well */
    _Alignas(64) struct coll_publish publish;
    struct coll_stuck stuck;
    _Alignas(64) struct coll_entered entered[COLL_ENTERED]; /* by seq modulo their count */
    /* then, at offsets that n and channels give: counters [channels][n], lines
     * [sets][n][COLL_LINES]
     */
};

struct coll_peer { /* of this node; others: area is NULL */
    uint32_t slot; /* of the process */
    uint32_t core; /* physical, whose live page has its flight records */
    struct coll_area *area;
    union coll_counter_line *counters; /* mine to raise, [channels]: stride n */
    struct coll_peer *rung_next;
    bool rung; /* raised something since its bell was looked at: it is in the communicator's list */
};

/* What a rank whose operation is blocked has seen of the others. */
struct coll_watch {
    uint64_t since; /* when the pulse changed last; 0: not looked at in this operation */
    uint64_t pulse;
    uint64_t told;  /* when other nodes were told how this one stands */
    uint64_t nap;   /* of the next sleep while the network may bring something */
    uint64_t slept; /* since the last look */
};

/* Of a rank that gives its CPU to others while it waits (spread.c). */
struct coll_spread {
    uint32_t yields;
    bool stays;        /* the host does not let it move */
    uint64_t moved_ns; /* when it last did */
};

/* What every member says of its plan; all but the address must agree. */
struct coll_offer {
    uint64_t buffers;
    uint32_t signature, channels;
    struct coll_op op; /* the same in words, for messages */
};
#define COLL_CHANNELS_NONE UINT32_MAX /* the member cannot make the plan */

struct coll_comm {
    struct coll_config cfg;
    /* Of greetings, which a load may wait for while operations, each with the limit of its model,
     * run. */
    uint64_t greet_ns;
    uint32_t n, me, channels;
    struct coll_peer *peers;
    struct device_extent extent;
    uint64_t lease;
    const uint32_t *near; /* ranks of my node, near_count */
    uint32_t near_count;
    uint32_t *near_slot;                  /* and their slots */
    bool *near_live;                      /* as the last look found them */
    bool watched;                         /* the lease looks at busy */
    _Atomic uint32_t busy;                /* an operation is under way, or one has failed */
    struct device_extent held[COLL_HELD]; /* tensors leased, by a hash of the address */
    uint32_t *mine;         /* [n][channels][sem]: values of the counters that I raise */
    uint32_t *base;         /* [n][channels][sem]: of my counters, at the start of the operation */
    uint8_t *staging;       /* [n][SCHED_INLINE_MAX]: lines taken */
    uint64_t seq;           /* operations begun */
    struct coll_peer *rung; /* the first of those that are */
    struct coll_area *own;  /* mine */
    struct coll_run *run;   /* of the operation under way; plan is NULL when there is none */
    struct coll_watch watch;
    struct coll_net *net; /* NULL: one node */
    /* The members do not know yet that this one has failed: its next plan tells them. */
    bool unfit;
    struct coll_offer *offers; /* [n]: what members say of the plan that is made */
    uint32_t refuser; /* of the last that all were asked for, or of a greeting; n: nobody */
    struct sched_tuning tuning;
    unsigned cpus; /* that the members of my node may run on, together */
    bool crowded;  /* these members are more */
    struct coll_spread spread;
    struct device_flight_group flight;
    struct device_flight_at flying; /* record of the operation under way, or of the last one */
    const uint32_t *faults;         /* device_faults_armed */
    char why[COLL_WHY_MAX + 1]; /* the cause of the failure, in the culprit's words; "": unknown */
    /* Written after err by the thread of the operations; a load of another model reads it. */
    _Atomic NRT_STATUS status;
    struct err err;
};

/* Layout of an area. */
#define COLL_COUNTERS_AT ((sizeof(struct coll_area) + 63) & ~(size_t)63)

static inline size_t coll_lines_at(uint32_t n, uint32_t channels)
{
    return COLL_COUNTERS_AT + (size_t)channels * n * sizeof(union coll_counter_line);
}

static inline size_t coll_area_size(uint32_t n, uint32_t channels)
{
    return coll_lines_at(n, channels) +
           (size_t)COLL_LINE_SETS * n * COLL_LINES * sizeof(struct coll_line);
}

static inline union coll_counter_line *coll_area_counters(struct coll_area *a, uint32_t n,
                                                          uint32_t channel, uint32_t from)
{
    return (union coll_counter_line *)((uint8_t *)a + COLL_COUNTERS_AT) + (size_t)channel * n +
           from;
}

static inline struct coll_line *coll_area_lines(struct coll_area *a, uint32_t n, uint32_t channels,
                                                unsigned set, uint32_t from)
{
    return (struct coll_line *)((uint8_t *)a + coll_lines_at(n, channels)) +
           ((size_t)set * n + from) * COLL_LINES;
}

static inline size_t coll_counter_at(const struct coll_comm *c, uint32_t peer, uint32_t channel,
                                     unsigned sem)
{
    return ((size_t)peer * c->channels + channel) * SCHED_SEM_COUNT + sem;
}

/* What ranks tell of themselves: in the same words on this node and between nodes. */
struct coll_said {
    uint64_t started, ended, steps, wait; /* as in struct coll_publish */
    struct coll_op op[2];
};

/* Whether the rank is on my node. */
static inline bool coll_near(const struct coll_comm *c, uint32_t rank)
{
    return c->cfg.group->node[rank] == c->cfg.group->node[c->me];
}

/* As the job counts it: how messages name a rank before the communicator is open. */
static inline uint32_t coll_job_rank(const struct coll_comm *c, uint32_t rank)
{
    return c->cfg.group->rank[rank];
}

/* More ranks run in the instance, or belong to this communicator, than there are CPUs for them: who
 * waits should give up its CPU. */
bool coll_crowded(const struct coll_comm *c);
/* ---- where ranks run (spread.c) ---- */

/* Gives the CPU to whoever waits for it, and now and then looks whether the ranks of this node lie
 * on one CPU while another has fewer: one of them goes there. */
void coll_yield(struct coll_comm *c);
/* Where a rank on CPU `mine` should go; COLL_STAY: nowhere. count: ranks on each of RUN_CPUS_MAX
 * CPUs, the rank included. The result is one of `allowed`, and has at least two ranks fewer. */
#define COLL_STAY UINT32_MAX
uint32_t coll_spread_to(const uint16_t *count, uint32_t mine, const struct run_cpus *allowed);

/* ---- operations that differ (differ.c) ---- */

#define COLL_OP_TEXT 128
/* What a plan's operations are; the mark has no number yet. */
struct coll_op coll_op_of(const struct coll_plan *p);
/* In words; of anything that a peer may have said. */
void coll_op_text(const struct coll_op *op, char text[COLL_OP_TEXT]);
/* Whether what the rank has announced for the operation under way here is another one; *ret is
 * that. False also when nothing is known of it, or none is under way. */
bool coll_op_differs(const struct coll_comm *c, uint32_t rank, struct coll_op *ret);
/* "; rank 0 has all_reduce ..., rank 1 has all_gather ...": how the operation under way here
 * differs from that of the rank, or else from that of any other one; "" where it does not. */
#define COLL_DIFFER_MAX 352
void coll_differ_text(const struct coll_comm *c, uint32_t rank, char text[COLL_DIFFER_MAX]);
/* Of an operation of another node that differs the ranks of mine know then, before a failure is
 * handed on. */
void coll_differ_publish(struct coll_comm *c);
/* The rank does another operation, whose mark was seen; the communicator is broken now. */
void coll_differ_fail(struct coll_comm *c, uint32_t rank, uint64_t mark);
/* Whether a rank does the same operation as I, as far as a mark tells: it may be ahead or behind.
 * False: the communicator is broken now. */
bool coll_same_operation(struct coll_comm *c, uint32_t rank, uint64_t mark);
/* Wake peers that sleep, among those raised since the last call. */
void coll_bells_ring(struct coll_comm *c);
/* What a rank published last. False: nothing is known of it. */
bool coll_said_by(const struct coll_comm *c, uint32_t rank, struct coll_said *ret);
/* Where the operation under way stands, for messages: "operation 7 (all_reduce by ring), rank 2 in
 * "ag hop" after 12 steps". */
#define COLL_WHERE_MAX 192
void coll_where(const struct coll_comm *c, char *text, size_t size);
/* The operation under way fails on all members: none of them will ever go on (circle.c). */
void coll_circle_fail(struct coll_comm *c);
/* Break the communicator on all members; the first failure stays. Logs once here. Returns its
 * status. Of a culprit that is this rank itself the text is handed on as its reason. */
NRT_STATUS coll_fail(struct coll_comm *c, NRT_STATUS status, uint32_t culprit, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for what another member wrote into an area or sent. */
void coll_failure_take(struct coll_comm *c, uint64_t word);
/* Why the culprit has failed: as it says itself, or as the first of my node has heard it; "" where
 * nobody knows. */
void coll_why_find(const struct coll_comm *c, uint32_t culprit, char text[COLL_WHY_MAX + 1]);
/* A failure that another member announced. False: none. */
static inline bool coll_failed_elsewhere(struct coll_comm *c)
{
    uint64_t word = atomic_load_explicit(&c->own->failure, memory_order_relaxed);

    if (__builtin_expect(word == 0, 1))
        return false;
    coll_failure_take(c, word);
    return true;
}

/* The operations of n communicators of one rank (1 to COLL_DOZE_MAX) are blocked. Looks as often as
 * one should before a sleep: in rounds of so many polls and a yield while the ranks that run fit
 * the CPUs, then after yields. Who has yielded more than twice says in its areas what it waits for.
 * look: bit i for an operation of c[i] that has moved. Returns that; 0: it is time to sleep. */
typedef uint32_t coll_look_fn(void *arg);
uint32_t coll_spin(struct coll_comm *const *c, unsigned n, unsigned polls, coll_look_fn *look,
                   void *arg);
/* What was said of a wait does not hold any more: run->told. */
void coll_wait_over(struct coll_comm *c);
/* The operations of n communicators of one rank (1 to COLL_DOZE_MAX) are blocked: one sleep of at
 * most limit_ns, or until a peer raises something for any of them, and now and then a look at the
 * peers, which fails a communicator when one is gone or when nothing has moved for cfg.timeout_ns.
 * Says what happened meanwhile to the one that moved, as coll_progress does. */
#define COLL_DOZE_MAX TOPO_MAX_STREAMS
enum coll_state coll_doze(struct coll_comm *const *c, unsigned n, uint64_t limit_ns);
_Static_assert(COLL_DOZE_MAX <= RUN_WORDS_MAX, "a sleep waits for the bells of all streams");

/* ---- faults on demand (fault.c) ---- */

struct time_rates;

/* The rank is about to begin an operation: it may die, or be late. Device time that it is late. */
uint64_t coll_fault_enter(struct coll_comm *c);
static inline uint64_t coll_late(struct coll_comm *c)
{
    return device_faults_any(c->faults) ? coll_fault_enter(c) : 0;
}
/* True: links between its members are slower than their type's, and *ret has the rates. */
bool coll_fault_rates(const struct coll_comm *c, struct time_rates *ret);

/* ---- the flight recorder (flight.c) ---- */

/* The lease is known. */
void coll_flight_open(struct coll_comm *c);
/* The communicator has failed: the record of the operation ends, and the records of the ranks that
 * cannot write theirs, the culprit first, then the own ones go to files of cfg.flight_dir. */
void coll_flight_fail(struct coll_comm *c, uint32_t culprit);

/* ---- plans ---- */

/* Memory that steps refer to. p is resolved at creation (SLOT, TEMP, LINE), at the start of an
 * operation (my tensors) or when first used in one (a peer's tensors: NULL until then). */
struct plan_base {
    uint8_t buf; /* enum sched_buf */
    uint32_t rank, channel;
    uint32_t tensor; /* IN, OUT; LINE: the writer */
    uint64_t bytes;  /* that the steps touch, from p on */
    uint8_t *p;
    bool wired;          /* messages come from it or go to it */
    uint8_t *registered; /* p when it was registered with the network */
    struct net_memory *memory;
};

/* Tensors that operations of the plan were begun with, and what was found out about them; it holds
 * while the extents are the same. */
#define PLAN_SETS 2u /* programs turn two tensors about */
struct plan_set {
    bool known;
    uint64_t *addr;             /* [2 * tensors]: inputs, then outputs */
    struct device_extent *held; /* of each; all zero for a tensor of no bytes */
    uint8_t **at;               /* [own_base_count] */
};

struct plan_ref {
    uint32_t base;
    int64_t stride; /* bytes */
    uint64_t off;
};

struct plan_step {
    uint8_t kind, sem, nsrc, ndst;
    uint16_t phase;
    bool whole;   /* COPY, REDUCE: one piece */
    bool small;   /* and that is a copy of a few bytes */
    bool pair;    /* REDUCE: and that is one of two sources, for coll_plan.pair */
    bool line;    /* PUT: a whole message, which one line holds */
    bool reaches; /* COPY, REDUCE: tensors of peers, which are found when they are first used */
    uint32_t peer;
    uint32_t value;  /* WAIT; PUT: whether it is the last piece of the message; NET_*, and WAIT for
                        SENT or ARRIVED: entries of the wire up to here */
    uint32_t repeat; /* NET_*, and WAIT for SENT or ARRIVED: number of the wire */
    uint32_t refs;   /* first of nsrc + ndst */
    uint64_t count;
};

struct plan_channel {
    struct plan_step *steps;
    size_t count, cap;
    struct plan_ref *refs;
    size_t ref_count, ref_cap;
};

/* Lines that a message of PUT or TAKE fills; an empty one fills one. */
static inline uint64_t coll_lines_of(uint64_t bytes)
{
    return bytes > COLL_LINE_DATA ? (bytes + COLL_LINE_DATA - 1) / COLL_LINE_DATA : 1;
}

struct plan_total { /* what one operation adds to a counter of mine */
    uint32_t peer;
    uint16_t channel;
    uint8_t sem;
    uint32_t value;
};

struct plan_target { /* whom my sequencer of a channel raises counters of */
    uint32_t peer;
    uint32_t channel;
};

struct coll_plan {
    struct coll_comm *comm;
    const struct sched *s;
    bool alone; /* made without asking the others */
    enum dtype dtype;
    enum kernel_combine reduce;
    struct sched_means means;
    uint32_t elem;
    uint32_t signature;   /* equal on all members that do the same */
    uint32_t what;        /* for the flight recorder: device_flight_what */
    struct coll_op said;  /* for peers; without the number */
    uint64_t step_count;  /* of all channels */
    kernel_pair_fn *pair; /* small reductions of two sources; NULL: as others */
    uint32_t channel_count;
    size_t lines_first; /* of the only channel: steps that put lines, before the first other one */
    struct plan_channel *channels;
    struct plan_base *bases;
    size_t base_count, base_cap;
    uint32_t tensors;       /* coalesced */
    uint64_t bytes;         /* of all of them, the larger side of each */
    uint32_t *tensor_bases; /* bases of tensors: own_base_count of mine, then those of peers */
    uint32_t own_base_count, tensor_base_count;
    struct plan_set sets[PLAN_SETS];
    struct plan_set *set; /* where the own bases are; NULL: not resolved */
    unsigned set_next;    /* to be forgotten */
    struct plan_total *totals;
    size_t total_count, total_cap;
    struct plan_target *targets;
    size_t target_count, target_cap;
    struct plan_wire *wires;
    size_t wire_count, wire_cap;
    struct device_extent buffers; /* SLOT and TEMP of all channels */
    bool have_buffers;
    uint64_t *buffer_addr; /* [n]: device address of every member's buffers */
};

/* tensors.c: before compiling, how many tensors of how many bytes; at its end; false: no memory. */
void coll_tensors_measure(struct coll_plan *p);
bool coll_tensors_open(struct coll_plan *p);
void coll_tensors_free(struct coll_plan *p);
/* An operation begins: mine are mapped, backed and leased, and the bases say where; those of peers
 * are not known yet. NRT_INVALID: not in one extent of this process; NRT_RESOURCE: host memory. */
NRT_STATUS coll_tensors_take(struct coll_plan *p, const uint64_t *in, const uint64_t *out,
                             struct err *err);
/* Map a tensor of a peer on the node for the operation under way. Fails the communicator. */
NRT_STATUS coll_tensor_of_peer(struct coll_comm *c, struct plan_base *b);

/* Where an operation is. */
struct coll_cursor {
    size_t step;
    uint32_t repeat; /* repetitions done of it */
    uint64_t done;   /* elements done of this repetition */
};

struct coll_run {
    struct coll_plan *plan;
    uint32_t left; /* channels that have not ended */
    uint32_t next; /* channel to look at first */
    uint64_t steps;
    struct coll_cursor cursor[SCHED_CHANNELS_MAX];
    const struct plan_step *blocked; /* the last step that waited */
    uint32_t blocked_channel;
    bool waited; /* a step has been blocked */
    bool told;   /* its area says that it waits */
};

/* ---- between nodes (net.c, tell.c) ---- */

/* Messages of one channel with one peer, in one direction, of one operation: entries for the
 * connector's proxy, in the order of the steps. A message longer than COLL_NET_PIECE is several. */
struct plan_wire {
    uint32_t peer, channel;
    bool send;
    struct coll_connector *connector;
    struct net_entry *entries;
    struct plan_ref *refs; /* where each entry's data lies; stride unused */
    uint32_t count;
    size_t entry_cap, ref_cap;
    uint32_t *ends; /* entries up to each message */
    uint32_t messages;
    size_t end_cap;
    size_t last; /* step of the last message */
};

#define COLL_NET_PIECE (512u << 10) /* longest message on the wire, bytes */

struct coll_tell;
struct coll_net {           /* of a communicator over several nodes */
    uint32_t first_channel; /* of its channels on the link */
    bool expects;           /* see coll_net_expect */
    /* A load makes plans on one thread while operations run on another one: the list of connectors,
     * and what tell.c has. Whoever finds that the communicator has failed lets go of it first. */
    pthread_mutex_t lock;
    struct coll_connector *connectors;
    struct coll_tell *tell;
};

/* Memory only; the other nodes are met by coll_tell_meet, when all have said that they have it. */
NRT_STATUS coll_net_open(struct coll_comm *c, uint32_t number, struct err *err);
void coll_net_close(struct coll_comm *c);
/* Whom the job has lost, as a position in the group; `otherwise`: nobody that it knows of. */
uint32_t coll_net_culprit(const struct coll_comm *c, uint32_t otherwise);
/* What the network, or this rank's memory for it, has refused. peer: whose it is, where the job has
 * lost nobody; n: unknown. differ: what the peer does instead, or "". */
void coll_net_fail(struct coll_comm *c, uint32_t peer, const struct err *why, const char *differ);
/* Compiling: a NET_* step, whose reference (if it moves anything) has just been added. */
bool coll_wire_add(struct coll_plan *p, uint32_t channel, struct plan_step *step);
/* After compiling: proxies, and what WAITs for SENT and ARRIVED wait for. */
NRT_STATUS coll_wires_open(struct coll_plan *p, struct err *err);
/* Both ends of a wire have it in their plans, so both greet. */
NRT_STATUS coll_wires_greet(struct coll_plan *p, struct err *err);
void coll_wires_free(struct coll_plan *p);
/* An operation begins: the entries get their addresses and go to the proxies. NRT_RESOURCE: memory
 * cannot be registered; nothing has begun. */
NRT_STATUS coll_wires_begin(struct coll_plan *p, struct err *err);
/* NET_*: false: the proxy is not ready. */
bool coll_net_post(struct coll_comm *c, const struct plan_step *step);
bool coll_net_reached(struct coll_comm *c, const struct plan_step *step);
/* Link, proxies and messages about the communicator; how many things happened. */
unsigned coll_net_progress(struct coll_comm *c);
/* All entries of the operation are over. False: *ret is a step that is not. */
bool coll_net_over(struct coll_comm *c, const struct plan_step **ret);
void coll_wires_end(struct coll_plan *p);
/* Whether the network may need progress before anything is heard. */
bool coll_net_busy(const struct coll_comm *c);
/* No request of ours is left in the network. */
void coll_net_stop(struct coll_comm *c);
/* Who waits for long in an operation expects what other nodes tell: it may stand behind messages
 * that nobody here has asked for yet. */
void coll_net_expect(struct coll_comm *c, bool waits);

/* What ranks of different nodes tell each other about the communicator itself. Each rank talks to
 * those with its index on the other nodes, and through its area to those of its own. */
NRT_STATUS coll_tell_open(struct coll_comm *c, uint32_t channel, struct err *err);
/* Greets its counterparts. NRT_FAILURE: one of them has said that it cannot; and as
 * coll_tell_greet.
 */
NRT_STATUS coll_tell_meet(struct coll_comm *c, struct err *err);
/* Greets the ranks of other nodes that are wanted, which greet this one: connections are made now
 * and not in the first operation, and one that cannot be made is named. Who has been greeted costs
 * nothing. Takes no memory but the link's for messages. By two threads at once only where all have
 * been greeted: the end of one call ends what the other wants. NRT_RESOURCE: this rank lacks memory
 * for that, and has told those that it has not greeted; NRT_FAILURE: it has been told so, for
 * coll_plan_refuser's sake, and has told its own. What the host drives tells nobody here: its
 * caller breaks the communicator, at once and on all. */
void coll_tell_want(struct coll_comm *c, uint32_t rank);
NRT_STATUS coll_tell_greet(struct coll_comm *c, struct err *err);
void coll_tell_drop(struct coll_comm *c);  /* gives back what the network has */
void coll_tell_free(struct coll_comm *c);  /* after the link has settled */
void coll_tell_state(struct coll_comm *c); /* how the ranks of this node stand */
/* The same, to be answered by the other nodes: waits until it is known that the rank, of another
 * node, does another operation than this one, but no longer than a failure may take to tell. */
void coll_tell_ask(struct coll_comm *c, uint32_t rank);
void coll_tell_failure(struct coll_comm *c); /* bounded */
unsigned coll_tell_progress(struct coll_comm *c);
/* What was last told of a rank of another node, and when that came, by the communicator's clock; 0:
 * nothing yet. */
uint64_t coll_told(const struct coll_comm *c, uint32_t rank, struct coll_said *ret);
/* What another node has said of why the culprit has failed; "" if nothing. */
void coll_told_why(const struct coll_comm *c, uint32_t culprit, char text[COLL_WHY_MAX + 1]);

#endif
