/* SPDX-License-Identifier: Apache-2.0 */
/* What generators share.
 *
 * A schedule is a list of parts; a part is one phase of an algorithm on one stage. A stage is a set
 * of ranks that carry out a reduce_scatter, a gather or both: the whole group, the ranks of one
 * node (INTRA) or the ranks with one local index (INTER); hierarchical schedules have two or three,
 * all others one. Algorithms are written once, over the positions 0 .. n-1 of a stage, and never
 * speak of tensors: they move ranges of chunks between places, and space.c knows where these lie.
 *
 * A phase has a count of iterations (hops, peers, slices) and a body that emits the few steps of
 * iteration i; both are pure. What runs on from body to body (numbers of transfers between two
 * ranks) is kept by the emitter. */
#ifndef SCHED_SCHED_INT_H
#define SCHED_SCHED_INT_H

#include "base/mem.h"
#include "sched/sched.h"
#include "topo/group.h"

/* ---- arithmetic ---- */

struct sched_span {
    uint64_t begin, end;
};
/* cut(E, n) of 5.1: part i of [0, elems), u = max(1, 64 / elem_size). */
struct sched_span sched_cut(uint64_t elems, uint32_t elem_size, uint32_t n, uint32_t i);
/* Part i of n of span s. */
struct sched_span sched_span_cut(struct sched_span s, uint32_t elem_size, uint32_t n, uint32_t i);

static inline uint64_t sched_span_len(struct sched_span s)
{
    return s.end - s.begin;
}

/* ---- stages ---- */

enum sched_scope { SCHED_GROUP, SCHED_INTRA, SCHED_INTER };

/* Where the elements of a chunk lie. */
enum sched_site {
    SITE_NONE,
    SITE_IN,   /* input tensors */
    SITE_OUT,  /* output tensors */
    SITE_HOLD, /* TEMP: the result of the first stage of a hierarchical reduce_scatter */
    SITE_SLOT, /* contiguous, at .off of SLOT */
    SITE_TEMP, /* contiguous, at .off of TEMP */
    SITE_LINE, /* contiguous, at .off of LINE of .writer */
};

struct sched_algorithm;
struct sched_stage {
    enum sched_scope scope;
    const struct topo_layout *shape; /* INTRA: of a node; INTER: of one rank per node */
    const struct sched_algorithm *algorithm;
    bool scatter, gather;      /* reduce_scatter, all_gather; both: all_reduce */
    enum sched_site source;    /* of the scatter, or of a gather alone: own chunk */
    enum sched_site result;    /* of the scatter: own chunk; a gather ends in SITE_OUT always */
    bool undivided;            /* all_reduce: chunk 0 is the whole vector */
    uint64_t slot_at, temp_at; /* this stage's part of SLOT and TEMP, elements */
};

#define SCHED_STAGES_MAX 3
#define SCHED_NOBODY     UINT32_MAX

struct sched_part {
    uint8_t stage;
    uint8_t phase; /* of the stage's algorithm */
    uint16_t slice;
};

struct sched {
    struct sched_request req;  /* with defaults; counts points to own memory */
    uint64_t *counts;          /* the same, all_to_all per chunk */
    uint64_t *prefix;          /* [tensors + 1]: sums of counts */
    uint32_t *target, *origin; /* PAIRS: [n], SCHED_NOBODY: none */
    const struct topo_group *g;
    uint32_t n;
    uint32_t channels;
    uint32_t slices;        /* of the pipeline; 1 unless hierarchical */
    bool in_big, out_big;   /* the input, the output has all N chunks (or is the whole vector) */
    uint64_t chunk_elems;   /* of one slot: a multiple of 64 bytes */
    struct topo_layout own; /* a plain layout: one rank per node, or all ranks */
    struct arena mem;       /* all arrays below and above */
    struct sched_stage stage[SCHED_STAGES_MAX];
    uint32_t stages;
    struct sched_part *parts;
    uint32_t part_count;
    uint64_t slot_elems, temp_elems, line_elems;
    uint64_t hold_at, chain_at; /* SITE_HOLD, chained reductions (chunk_elems): within TEMP */
    uint32_t *classes;          /* [n] class of a rank */
    uint32_t *class_rank, *class_size;
    uint32_t class_count;
    uint32_t *roles; /* the same where lengths do not count */
    uint32_t *role_rank;
    uint32_t role_count;
};

/* Who and where: the argument of every body. */
struct sched_where {
    const struct sched *s;
    const struct sched_stage *st;
    uint32_t rank;    /* in the group */
    uint32_t me;      /* position in the stage */
    uint32_t channel; /* and slice of the pipeline: which part of every chunk */
    uint32_t slice;
    uint16_t phase;
};

/* Group rank of a position of the stage that w->rank belongs to, and the reverse for its own. */
uint32_t sched_rank_at(const struct sched_where *w, uint32_t position);
bool sched_is_net(const struct sched_where *w, uint32_t position); /* on another node than I */

/* A full mesh over the whole group, where positions are ranks: peers in number, and the one at
 * distance i + 1 ahead of me and behind. */
uint64_t sched_peers(const struct sched_where *w);
uint32_t sched_peer_ahead(const struct sched_where *w, uint64_t i);
uint32_t sched_peer_behind(const struct sched_where *w, uint64_t i);

/* Key of algorithms whose positions all do the same. */
uint32_t sched_key_same(const struct sched_where *w);
/* Which step of a chained reduction takes source i: part of the key where my own is source i. */
uint32_t sched_key_source(uint32_t i);

/* ---- chunks ---- */

/* Elements of chunk q (a position) of the stage that this channel and slice move. Offsets within a
 * chunk run from 0 to this length and are the same at every rank and place. */
uint64_t sched_chunk_len(const struct sched_where *w, uint32_t q);
uint64_t sched_chunk_len_max(const struct sched_where *w);
/* How many chunks, from chunk 0 on, are as long as chunk 0 at least. */
uint32_t sched_chunks_equal(const struct sched_where *w);
/* Elements of SITE_HOLD for one channel. */
uint64_t sched_hold_elems(const struct sched_where *w);

/* A place: where a range of a chunk lies at one rank. */
struct sched_place {
    enum sched_site site;
    uint32_t position; /* whose memory */
    uint64_t off;      /* SLOT, TEMP, LINE: where the range begins; else unused */
    uint32_t writer;   /* LINE: position */
    uint32_t slot_of; /* IN, OUT of all_to_all: 1 + the chunk to use instead of the range's; or 0 */
};

static inline struct sched_place sched_place_of(enum sched_site site, uint32_t position)
{
    return (struct sched_place){.site = site, .position = position};
}

static inline struct sched_place sched_place_in(enum sched_site site, uint32_t position,
                                                uint64_t off)
{
    return (struct sched_place){.site = site, .position = position, .off = off};
}

/* A range [begin, end) of chunk q. */
struct sched_range {
    uint32_t q;
    uint64_t begin, end;
};

static inline uint64_t sched_range_len(struct sched_range r)
{
    return r.end - r.begin;
}

/* All of chunk q. */
struct sched_range sched_chunk(const struct sched_where *w, uint32_t q);

/* Several chunks that travel together: q(arg, 0), q(arg, 1), ... */
struct sched_set {
    uint32_t (*q)(const void *arg, uint32_t j);
    const void *arg;
    uint32_t count;
};

/* Rounds of a stage (5.1): how often S slices of chunk_elems pass until the longest chunk is done;
 * at least one, since signals are sent for empty parts too. */
uint64_t sched_rounds(const struct sched_where *w, uint32_t slices);
/* Slice i of round `round` of chunk q. */
struct sched_range sched_slice(const struct sched_where *w, uint32_t q, uint64_t round,
                               uint32_t slices, uint32_t i);

/* ---- emitting ---- */

struct sched_iter;

void sched_emit_wait(struct sched_iter *it, const struct sched_where *w, enum sched_sem sem,
                     uint32_t position); /* for the next signal from there */
void sched_emit_signal(struct sched_iter *it, const struct sched_where *w, enum sched_sem sem,
                       uint32_t position); /* raise it by one */
/* Signal each position of a stage except my own, and wait for one signal of each. */
void sched_emit_signal_all(struct sched_iter *it, const struct sched_where *w, enum sched_sem sem);
void sched_emit_wait_all(struct sched_iter *it, const struct sched_where *w, enum sched_sem sem);
/* Move a range from one place to others, or reduce several places: as many steps as it has pieces,
 * none when it is empty. More sources than a step holds are chained through TEMP, in ranges of
 * at most chunk_elems. */
void sched_emit_copy(struct sched_iter *it, const struct sched_where *w, struct sched_range r,
                     struct sched_place src, const struct sched_place *dst, unsigned ndst);
void sched_emit_reduce(struct sched_iter *it, const struct sched_where *w, struct sched_range r,
                       const struct sched_place *src, unsigned nsrc, const struct sched_place *dst,
                       unsigned ndst);
/* Flagged lines: my range of a chunk (one PUT per piece, one empty PUT for an empty range) to
 * `position`, and the wait for len elements from there. Line offsets begin at 0. */
void sched_emit_put(struct sched_iter *it, const struct sched_where *w, struct sched_range r,
                    struct sched_place src, uint32_t position);
void sched_emit_take(struct sched_iter *it, const struct sched_where *w, uint64_t len,
                     uint32_t position);
/* Steps with explicit references (variable forms): a copy, nothing if count is 0; a message. */
void sched_emit_block(struct sched_iter *it, struct sched_ref src, struct sched_ref dst,
                      uint64_t count);
void sched_emit_block_send(struct sched_iter *it, struct sched_ref src, uint32_t rank,
                           uint64_t count);
void sched_emit_block_post(struct sched_iter *it, struct sched_ref dst, uint32_t rank,
                           uint64_t count);
/* src[0] op src[1] op ... into dst, at most SCHED_REFS_MAX; one source is copied. */
void sched_emit_block_reduce(struct sched_iter *it, const struct sched_ref *src, unsigned nsrc,
                             struct sched_ref dst, uint64_t count);
void sched_emit_arrive_block(struct sched_iter *it, const struct sched_where *w, uint32_t peer);

/* Transfers into slots. A directed connector (sender, receiver) has `slots` slots of `slot_elems`
 * in the receiver's SLOT, per channel and stage; transfers are numbered over the whole operation,
 * and both sides name them in the same order. The same calls serve hops inside a node (the sender
 * writes into the slot) and between nodes (it sends, in one message, from its source when that is
 * contiguous, else from a slot of its own TEMP). */
struct sched_link {
    uint32_t peer; /* position */
    uint32_t slots;
    uint64_t slot_elems;
    uint64_t slot_at; /* of this connector in the receiver's SLOT, elements */
    uint64_t temp_at; /* net only: as many send slots in the sender's TEMP */
};
/* Sender: wait for the next slot and return the place to fill (the peer's SLOT, or TEMP), then
 * hand over the len elements there. */
struct sched_place sched_emit_acquire(struct sched_iter *it, const struct sched_where *w,
                                      const struct sched_link *link);
void sched_emit_commit(struct sched_iter *it, const struct sched_where *w,
                       const struct sched_link *link, uint64_t len);
/* Sender: reduce or copy one range into the next slot of the link and hand it over. */
void sched_emit_send(struct sched_iter *it, const struct sched_where *w,
                     const struct sched_link *link, struct sched_range r,
                     const struct sched_place *src, unsigned nsrc);
/* Receiver: post the receive of len elements into the next slot (net; inside a node nothing). At
 * most link->slots may be posted and not released. */
void sched_emit_post(struct sched_iter *it, const struct sched_where *w,
                     const struct sched_link *link, uint64_t len);
/* Receiver: wait for the next transfer; its place. */
struct sched_place sched_emit_arrive(struct sched_iter *it, const struct sched_where *w,
                                     const struct sched_link *link);
/* Receiver: the slot of the oldest transfer that arrived and was not released is free. */
void sched_emit_release(struct sched_iter *it, const struct sched_where *w,
                        const struct sched_link *link);

/* Transfers that land in the output of `peer`: from `src` (mine) to the same range there, with one
 * signal. `also`: a second destination of mine (a duplicated write), or NULL. */
void sched_emit_deliver(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                        struct sched_range r, struct sched_place src,
                        const struct sched_place *also);
/* Whole chunks out of my own output; between nodes neighbours in memory share a message. */
void sched_emit_deliver_set(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                            const struct sched_set *set);
/* Receiver: post (net; inside a node nothing), and wait. */
void sched_emit_post_out(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                         struct sched_range r);
void sched_emit_arrive_out(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                           struct sched_range r);
void sched_emit_post_set(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                         const struct sched_set *set);
void sched_emit_arrive_set(struct sched_iter *it, const struct sched_where *w, uint32_t peer,
                           const struct sched_set *set);
/* All sends to peer are complete: their memory may be used again. Net only, else nothing. */
void sched_emit_sent(struct sched_iter *it, const struct sched_where *w, uint32_t peer);

/* ---- algorithms ---- */

#define SCHED_MESH_MAX 1024 /* chips of a mesh, ranks of a single-step mesh */

/* Where my own chunk lies when a gather begins. */
static inline enum sched_site sched_gather_site(const struct sched_stage *st)
{
    return st->scatter ? SITE_OUT : st->source;
}

/* Variable forms: elements that `from` sends to `to`, and where they lie in its input and in the
 * output of `to` (a sum: where it lies). */
uint64_t sched_v_count(const struct sched *s, uint32_t from, uint32_t to);
uint64_t sched_v_source(const struct sched *s, uint32_t from, uint32_t to);
uint64_t sched_v_target(const struct sched *s, uint32_t from, uint32_t to);

struct sched_phase {
    const char *name;
    uint64_t (*count)(const struct sched_where *w); /* iterations; NULL: one */
    void (*body)(const struct sched_where *w, uint64_t i, struct sched_iter *it);
    bool one_way; /* all bodies of a rank and channel write to one other rank */
    /* Bodies from i on that do the same row of steps, but for names of chunks; NULL: not known. */
    uint64_t (*alike)(const struct sched_where *w, uint64_t i);
};

#define SCHED_PHASES_MAX 8

struct sched_algorithm {
    const char *name;
    /* Whether it can do what the stage asks; fills err. NULL: always. */
    NRT_STATUS (*check)(const struct sched *s, const struct sched_stage *st, struct err *err);
    /* Elements of SLOT and TEMP per channel, from slot_at and temp_at. NULL: none. */
    void (*needs)(const struct sched *s, const struct sched_stage *st, uint64_t *slot,
                  uint64_t *temp);
    /* Positions with equal keys (below 2^31) have the same steps but for names, when all chunks of
     * the stage have one length; sched_class. NULL: no two positions do. */
    uint32_t (*key)(const struct sched_where *w);
    struct sched_phase phases[SCHED_PHASES_MAX + 1]; /* ends with a NULL body */
};

extern const struct sched_algorithm sched_ring, sched_mesh, sched_mesh_one, sched_kangaring,
    sched_rdh, sched_bruck, sched_fold, sched_exchange, sched_sum_v, sched_combine, sched_pairs,
    sched_alone, sched_direct, sched_inline;

#endif
