/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of OPENNRT_CHECK share: check.c (life and findings), check_shadow.c (who touched a
 * byte), check_clock.c (what is ordered) and check_ops.c (what records, transfers and collectives
 * touch). */
#ifndef CORE_CHECK_INT_H
#define CORE_CHECK_INT_H

#include "core/core_int.h"

#define STRANDS  128 /* engines of both cores, then queue sets, then streams of collectives */
#define STREAMS  4   /* per core */
#define COLLS    64  /* collectives under way whose trigger is remembered */
#define ENGINE0  (2 * ISA_ENGINES)
#define BEFORE   1u /* access id: host or an earlier execution */
#define FIRST_ID 2u

#define MADE    1024
#define HISTORY 64 /* updates of a semaphore or event that are remembered */

struct clock {
    uint32_t at[STRANDS];
};

/* What a semaphore (or event, values 0 and 1) had after each update, and who had led to it. Before
 * the first one: 0 and nobody. */
struct history {
    uint64_t count;
    struct past {
        int32_t value;
        struct clock vc;
    } past[HISTORY]; /* of update i: past[i % HISTORY] */
};

/* Access ids, 0: none. read: READERS and the number of a set, where several have read the byte and
 * none of them was before another. Numbers of ids and sets go on from one execution to the next, so
 * nobody has to look for what is old in the cells. */
struct cell {
    uint32_t write, read;
};

#define READERS UINT32_C(0x80000000)

struct access {
    uint32_t clock;
    uint32_t record; /* transfers: that of the trigger */
    uint16_t strand;
    uint8_t core, engine;
    bool dma;
};

struct region {
    uint8_t *base;
    uint64_t size;
    struct cell *cells;
    unsigned core;
    uint8_t mem;     /* ISA_SBUF, ISA_PSUM, ISA_HBM */
    uint64_t stride; /* on chip: host bytes per partition */
};

struct core_check {
    unsigned what; /* CORE_CHECK_* */
    struct region *regions;
    size_t nregions, cap_regions;
    uint32_t first_of_run; /* ids below it are of earlier executions */
    struct access *acc;    /* id - first_of_run */
    size_t nacc, cap_acc;
    uint32_t first_set; /* numbers below it are of earlier executions */
    uint32_t *readers;  /* of number - first_set on: how many, then their ids, the latest first */
    size_t nreaders, cap_readers;
    uint32_t *sets; /* hash table of the places in readers, plus 1: no two sets are equal */
    size_t nsets, cap_sets;
    struct {
        uint32_t id; /* that the set was made for, from what was there */
        uint32_t from, to;
    } made[MADE];
    uint64_t runs;
    unsigned nstrands;
    unsigned queue0[CORE_MAX];  /* strand of queue set 0 */
    unsigned stream0[CORE_MAX]; /* of stream 0 */
    struct {
        uint32_t serial;
        struct clock vc;
    } colls[COLLS]; /* by serial: the stream as the operation began */
    struct clock strand[STRANDS];
    struct history *sem[CORE_MAX][ISA_SEMAPHORES], *event[CORE_MAX][ISA_EVENTS]; /* on demand */
    struct clock pending[CORE_PENDING]; /* of the trigger */
    uint64_t races, uninit;
    bool no_memory;
    struct err first;
};

/* ---- check_shadow.c ---- */

static inline struct access *check_access(const struct core_check *k, uint32_t id)
{
    return &k->acc[id - k->first_of_run];
}

/* A new access of the strand; 0: no memory. */
uint32_t check_access_new(struct core_check *k, unsigned strand, unsigned core, unsigned engine,
                          uint32_t record, bool dma);
/* One access of n bytes at p. id: the access under way. */
void check_touch(const struct core_exec *x, struct core_check *k, uint32_t id, const uint8_t *p,
                 uint64_t n, bool write);

/* ---- check_clock.c ---- */

unsigned check_strand(unsigned core, unsigned engine);
void check_join(struct clock *to, const struct clock *from);
/* The strand changed a name of core `to`, which now has this value. assign: whatever led to the old
 * value no longer counts. */
void check_release(struct core_check *k, unsigned strand, unsigned to, bool event, unsigned index,
                   int32_t value, bool assign);

#endif
