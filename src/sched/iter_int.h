/* SPDX-License-Identifier: Apache-2.0 */
/* The iterator's inside, for iter.c and emit.c only. */
#ifndef SCHED_ITER_INT_H
#define SCHED_ITER_INT_H

#include "sched/sched_int.h"

/* What runs on over an operation between this sequencer and one other rank. */
struct sched_peer {
    bool used, credit_waited;
    uint32_t rank;
    uint32_t waits[SCHED_SEM_COUNT];           /* signals waited for */
    uint32_t slots_out, slots_in, slots_freed; /* transfers into slots: sent, arrived, released */
    uint32_t slots_posted;                     /* net: receives posted into slots */
    uint32_t temp_out;                         /* net: transfers out of send slots */
    uint32_t messages_out, messages_in;        /* net: sends posted, receives waited for */
    uint32_t temp_messages[SCHED_SLOTS_MAX];   /* messages_out after the last send of a slot */
};

struct sched_iter {
    const struct sched *s;
    struct sched_where w;
    uint32_t part;
    const struct sched_phase *phase;
    uint64_t i, n;
    bool totals;
    NRT_STATUS status;
    struct sched_step *steps; /* of the body under way */
    size_t count, cap, pos;
    struct sched_peer *peers; /* hash table, a power of two */
    uint32_t peer_cap, peer_count;
    struct sched_peer spare; /* written to when memory ran out */
    struct sched_step waste; /* likewise */
};

/* The numbers kept for a rank; valid until the next call. */
struct sched_peer *sched_iter_peer(struct sched_iter *it, uint32_t rank);
/* A new step at the end of the body, without references; valid until the next call. */
struct sched_step *sched_iter_push(struct sched_iter *it, enum sched_kind kind);
/* Position of a rank in the stages of a scope. */
uint32_t sched_position_of(const struct sched *s, enum sched_scope scope, uint32_t rank);

#endif
