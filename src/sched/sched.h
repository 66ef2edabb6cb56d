/* SPDX-License-Identifier: Apache-2.0 */
/* Collective schedules: what every rank of a group does, step by step, to carry out one collective
 * operation. docs/spec/collectives.md sections 2, 5 to 9 and 11; docs/modules/sched.md explains.
 *
 * A schedule is an iterator. sched_create checks a request and derives sizes; sched_iter_* then
 * walks the steps of one rank and channel. Steps are made as they are asked for, a few at a time,
 * by a pure function of (request, rank, channel, position): nothing grows with the length of the
 * schedule, so a model can walk one rank of 65,536.
 *
 * The machine that runs it. Every (rank, channel) is a sequencer that executes its steps in order
 * and stops only at waits. Memory is named by symbolic buffers (enum sched_buf) with offsets in
 * elements; a step may touch buffers of other ranks, which is how NeuronLink works and how ranks of
 * one node share memory here. Ranks on different nodes exchange data only by NET_SEND and NET_RECV.
 *
 * Counters. Every signal goes from one rank to another: the counter (to, from, sem, channel) lives
 * at `to`, is raised only by `from` (by its sequencer of that channel, or by its network proxy for
 * SENT and ARRIVED, where from is the peer), only grows, and is compared by signed difference.
 * Values in steps are relative to the counter's value when the operation began. What one operation
 * adds to a counter is the largest value that its owner waits for, or what an EXPECT step says.
 * So programs need no reset between operations, and the same steps serve every execution.
 *
 * Pure: no I/O, no log, no threads, no globals. A schedule is read only after sched_create and may
 * be shared by threads; an iterator belongs to one thread. */
#ifndef SCHED_SCHED_H
#define SCHED_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct topo_group; /* topo/group.h: the ranks, their chips and nodes, cycles and labels */
struct topo_pair;
struct sched;

/* ---- requests ---- */

enum sched_op {
    SCHED_ALL_GATHER,
    SCHED_REDUCE_SCATTER,
    SCHED_ALL_REDUCE,
    SCHED_ALL_TO_ALL,
    SCHED_PERMUTE,
    SCHED_SENDRECV,
    SCHED_BARRIER,
    SCHED_ALL_GATHER_V,
    SCHED_ALL_TO_ALL_V,
    SCHED_REDUCE_SCATTER_V,
    SCHED_OP_COUNT
};

/* The variable forms (2.1): one tensor on each side, and tables of counts. */
static inline bool sched_op_varies(enum sched_op op)
{
    return op == SCHED_ALL_GATHER_V || op == SCHED_ALL_TO_ALL_V || op == SCHED_REDUCE_SCATTER_V;
}

enum sched_alg {
    SCHED_RING,
    SCHED_MESH,      /* two steps; between nodes: one connector per peer */
    SCHED_MESH_ONE,  /* single-step mesh, all_reduce only; prints as mesh */
    SCHED_MESH_TWO,  /* all_to_all that combines the blocks of a chip (6.6); prints as mesh */
    SCHED_KANGARING, /* prints as kangaring */
    SCHED_RDH,
    SCHED_HIER,      /* request.intra and .inter */
    SCHED_FLAT_RING, /* prints as ring */
    SCHED_PAIRS,     /* permute and sendrecv: one step; prints as ring */
    SCHED_ALG_COUNT
};

/* STAGED: channel buffers, as documented; what device time and the counts of the documentation
 * refer to. DIRECT: peers' tensors are read and written in place. INLINE: small payloads travel in
 * flagged lines (PUT, TAKE). The last two are faster in host memory and exist for some algorithms
 * inside a node (NRT_FAILURE otherwise). */
enum sched_variant { SCHED_STAGED, SCHED_DIRECT, SCHED_INLINE, SCHED_VARIANT_COUNT };

#define SCHED_INLINE_MAX 4096u /* bytes of one message in lines */

#define SCHED_SLOTS_DEFAULT 4u         /* K of 5.3 */
#define SCHED_CHUNK_DEFAULT (1u << 20) /* bytes of one slot */
#define SCHED_SLICES_MAX    16u
#define SCHED_CHANNELS_MAX  32u /* NEC_MAX_CHANNELS */
#define SCHED_SLOTS_MAX     32u /* NEC_MAX_NR_CHANNEL_CHUNKS */
#define SCHED_TENSORS_MAX   64u /* coalesced tensors of one operation (ours) */

struct sched_request {
    enum sched_op op;
    enum sched_alg alg;
    enum sched_variant variant;
    enum sched_alg intra, inter;    /* SCHED_HIER only */
    const struct topo_group *group; /* borrowed for the schedule's life */
    /* Coalesced tensors, 1 to SCHED_TENSORS_MAX (BARRIER: 0). counts[t], elements: all_gather the
     * input C; reduce_scatter the output C; all_reduce, all_to_all the whole buffer B (all_to_all:
     * a multiple of N); permute, sendrecv S; variable forms: unused. 0 is allowed. Borrowed during
     * sched_create only. */
    uint32_t tensors;
    const uint64_t *counts;
    uint32_t elem_size; /* bytes: 1, 2, 4 or 8 */
    bool in_place;      /* 5.3: the smaller side lies in the larger, or both are the same */
    /* Variable forms (2.1), elements: send_count[r * N + d], send_displ[r * N + d] and, unless
     * NULL, recv_displ[r * N + s]: what rank r sends to d, from where, and where source s lands at
     * r. all_gather_v reads column d = 0 of the first two. reduce_scatter_v: what rank r gives to
     * the sum of d, as many elements as every other rank gives; sums begin at 0 of the output, and
     * recv_displ is not read. in_elems, out_elems: elements of the source and destination tensor of
     * every rank. Borrowed for the schedule's life. */
    const uint32_t *send_count, *send_displ, *recv_displ;
    uint64_t in_elems, out_elems;
    const struct topo_pair *pairs; /* permute; borrowed during sched_create only */
    uint32_t pair_count;
    /* 0 takes the default of the algorithm. */
    uint32_t channels; /* at most what the group's topology offers, or 1 */
    uint32_t slots;    /* K */
    uint32_t slices;   /* S; K >= S + 1 */
    uint32_t chunk_bytes;
    uint32_t
        pipeline; /* SCHED_HIER: slices of the message in flight; default 3, fewer when short */
};

/* ---- steps ---- */

enum sched_buf {
    SCHED_IN,   /* the operation's input tensor `tensor` of `rank` */
    SCHED_OUT,  /* its output */
    SCHED_SLOT, /* channel buffer of (rank, channel of the step) */
    SCHED_TEMP, /* scratch of (rank, channel of the step); ranks of its node may reach it, too */
    SCHED_LINE, /* flagged lines at `rank` written by rank `tensor` (PUT and TAKE) */
    SCHED_BUF_COUNT
};

/* Place in a buffer, elements. In place, IN and OUT alias as 5.3 says: all_gather IN(r, t, i) is
 * OUT(r, t, r * C + i); reduce_scatter OUT(r, t, i) is IN(r, t, r * C + i); others the same. */
struct sched_ref {
    uint8_t buf;     /* enum sched_buf */
    uint32_t tensor; /* IN, OUT: coalesced tensor; LINE: the writing rank */
    uint32_t rank;   /* whose memory: position in the group */
    uint64_t off;
    int64_t stride; /* added for each repetition */
};

enum sched_kind {
    SCHED_WAIT,     /* until counter (me, peer, sem) >= base + value */
    SCHED_SIGNAL,   /* raise counter (peer, me, sem) by one; all my earlier steps are visible */
    SCHED_EXPECT,   /* no action: this operation adds `value` in all to counter (me, peer, sem) */
    SCHED_COPY,     /* src[0] to dst[0..ndst-1], count elements, repeat times */
    SCHED_REDUCE,   /* src[0] op src[1] op ..., left to right, rounded once, to every dst */
    SCHED_PUT,      /* write src[0] to dst[0], a LINE of another rank, with its sequence numbers */
    SCHED_TAKE,     /* wait until src[0], a LINE of mine, holds this operation's data */
    SCHED_NET_SEND, /* post src[0], mine, to peer's next NET_RECV from me on this channel */
    SCHED_NET_RECV, /* post dst[0], mine, for peer's next NET_SEND to me on this channel */
    SCHED_KIND_COUNT
};

enum sched_sem {
    SCHED_SEM_RECV,      /* data of a transfer has arrived: peer wrote it */
    SCHED_SEM_CREDIT,    /* peer has read the slot of a transfer of mine for the last time */
    SCHED_SEM_OUT_READY, /* peer's output may be written */
    SCHED_SEM_IN_READY,  /* peer's input (or a stage's result) may be read */
    SCHED_SEM_OUT_DONE,  /* peer will not write my output any more */
    SCHED_SEM_IN_DONE,   /* peer will not read my input any more */
    SCHED_SEM_SYNC,      /* handshakes and barriers of the algorithm */
    SCHED_SEM_SENT,      /* my proxy: NET_SEND number `value` to peer is complete */
    SCHED_SEM_ARRIVED,   /* my proxy: NET_RECV number `value` from peer is complete */
    SCHED_SEM_COUNT
};

#define SCHED_REFS_MAX 16 /* sources, and destinations, of one step */

struct sched_step {
    uint8_t kind; /* enum sched_kind */
    uint8_t sem;  /* WAIT, SIGNAL, EXPECT */
    uint8_t nsrc, ndst;
    uint16_t phase;  /* index for sched_phase_name: where in the algorithm this step belongs */
    uint32_t peer;   /* WAIT, SIGNAL, EXPECT, PUT, TAKE, NET_*: position in the group */
    uint32_t value;  /* WAIT, EXPECT: relative to the operation's base */
    uint32_t repeat; /* COPY, REDUCE: at least 1 */
    uint64_t count;  /* elements per repetition; 0 moves nothing but keeps the step's signals */
    struct sched_ref src[SCHED_REFS_MAX], dst[SCHED_REFS_MAX];
};

/* ---- schedules ---- */

/* Check the request against the group and derive sizes. NRT_INVALID (text names the field),
 * NRT_FAILURE (the algorithm cannot do this: text says why, so that the caller can choose
 * another), NRT_RESOURCE (memory). */
NRT_STATUS sched_create(const struct sched_request *req, struct sched **ret, struct err *err);
void sched_destroy(struct sched *s); /* NULL is fine */

const struct sched_request *sched_request_of(const struct sched *s); /* with defaults filled in */
uint32_t sched_ranks(const struct sched *s);
uint32_t sched_channels(const struct sched *s);
/* Elements of tensor `tensor` at one rank: IN and OUT of the operation. */
uint64_t sched_tensor_elems(const struct sched *s, enum sched_buf buf, uint32_t rank,
                            uint32_t tensor);
/* To whom rank sends in a permute or sendrecv; UINT32_MAX: to nobody. Other operations: the same.
 */
uint32_t sched_target(const struct sched *s, uint32_t rank);
/* Elements that SLOT or TEMP of (rank, channel) must hold; LINE: elements of the longest message
 * between two ranks (whoever keeps lines has two sets, used by operations in turn). 0: not used. */
uint64_t sched_buffer_elems(const struct sched *s, enum sched_buf buf, uint32_t rank,
                            uint32_t channel);

/* Ranks of one class have equal step streams up to renaming of ranks (and so of chunks). The
 * representative is the lowest rank of its class; class numbers run from 0 to count - 1. */
uint32_t sched_class_count(const struct sched *s);
uint32_t sched_class(const struct sched *s, uint32_t rank);
uint32_t sched_class_rank(const struct sched *s, uint32_t class_index); /* representative */
uint32_t sched_class_size(const struct sched *s, uint32_t class_index);
/* Ranks of one role do the same whatever the lengths of their chunks: equal signals and waits in
 * equal order, up to names, while bytes may differ and parts be empty. Classes refine roles; where
 * all chunks are equally long they are the same. The representative is the lowest rank, whose
 * chunks are the longest (cut of section 5.1). */
uint32_t sched_role_count(const struct sched *s);
uint32_t sched_role(const struct sched *s, uint32_t rank);
uint32_t sched_role_rank(const struct sched *s, uint32_t role); /* representative */

/* ---- iterators ---- */

struct sched_iter;
/* Steps of one rank and channel. NRT_RESOURCE when memory is out. s is borrowed. */
NRT_STATUS sched_iter_create(const struct sched *s, uint32_t rank, uint32_t channel,
                             struct sched_iter **ret);
void sched_iter_destroy(struct sched_iter *it); /* NULL is fine */
void sched_iter_rewind(struct sched_iter *it);
/* The next step, valid until the next call, or NULL at the end. After NULL, sched_iter_status tells
 * NRT_SUCCESS or NRT_RESOURCE (memory ran out; the stream is not complete). */
const struct sched_step *sched_iter_next(struct sched_iter *it);
NRT_STATUS sched_iter_status(const struct sched_iter *it);

/* ---- rows of equal bodies ----
 * A phase emits its steps in bodies, a few at a time. In a phase of one way, as the hops of a ring,
 * all that a rank and channel writes to others goes to one. */

/* For who counts routes only: leaves out what is left of the phase under way, if it is of one way.
 * Numbers of later steps are not those of a whole walk. False: it is not, nothing is left out. */
bool sched_iter_skip(struct sched_iter *it);

struct sched_body {
    uint32_t part;   /* a phase, in its turn */
    uint64_t number; /* of the next body in it */
};
/* Where the iterator stands; false: in the middle of a body, or not in a phase of one way. */
bool sched_iter_body(const struct sched_iter *it, struct sched_body *ret);
/* A copy of an iterator that stands between two bodies. NRT_RESOURCE. */
NRT_STATUS sched_iter_clone(const struct sched_iter *it, struct sched_iter **ret);
/* Bodies from here on that do the same row of steps but for names of chunks; may be 0. The row has
 * a body for each slice (sched_request.slices). */
uint64_t sched_iter_alike(const struct sched_iter *it);
/* Whether the bodies since `before`, a copy of the same iterator, can be repeated: every slot has
 * been used equally often. */
bool sched_iter_repeats(const struct sched_iter *it, const struct sched_iter *before);
/* As if these bodies had been done `times` more often; those in front are to be alike. */
void sched_iter_repeat(struct sched_iter *it, const struct sched_iter *before, uint64_t times);

/* ---- names ---- */

const char *sched_op_name(enum sched_op op);    /* "all_gather", ..., never NULL */
const char *sched_alg_name(enum sched_alg alg); /* "ring", "mesh", "mesh_one", "kangaring", ... */
const char *sched_alg_printed(enum sched_alg alg); /* as nccom-test prints it: mesh_one is "mesh" */
const char *sched_variant_name(enum sched_variant variant); /* "staged", "direct", "inline" */
const char *sched_buf_name(enum sched_buf buf);
const char *sched_kind_name(enum sched_kind kind);
const char *sched_sem_name(enum sched_sem sem);
const char *sched_phase_name(const struct sched *s, unsigned phase); /* "rs hop", "ag hop", ... */
/* How a phase uses the paths between chips. */
enum sched_traffic {
    SCHED_TRAFFIC_CYCLE, /* along the cycles of the channels, each with resources of its own */
    SCHED_TRAFFIC_MESH,  /* from everybody to everybody, on one channel */
    SCHED_TRAFFIC_AXES,  /* along one axis of the labels after the other; and on one chip */
};
enum sched_traffic sched_phase_traffic(const struct sched *s, unsigned phase);
/* The reverse; the COUNT value for unknown names. */
enum sched_op sched_op_from_name(const char *name);
enum sched_alg sched_alg_from_name(const char *name);
enum sched_variant sched_variant_from_name(const char *name);

#ifdef __cplusplus
}
#endif
#endif
