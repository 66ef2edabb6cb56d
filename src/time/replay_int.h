/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the clock share: replay_read.c sorts the events by who did what, replay.c lets
 * time pass. */
#ifndef TIME_REPLAY_INT_H
#define TIME_REPLAY_INT_H

#include "time/rings_int.h"
#include "time/time.h"

#define NONE    TIME_NONE
#define UNITS   16 /* core << 3 | engine */
#define DGE_MAX 2
#define STREAMS 256 /* time_event.index */

#define RING_STREAM 0x80000000u /* and up: rings of streams; below: of queue sets */

enum act_kind {
    ACT_RECORD_END,
    ACT_XFER_READY,
    ACT_XFER_DONE,
    ACT_ENGINE,
    ACT_COLL_BEGIN, /* all members have come */
    ACT_COLL_SHARE  /* its time alone on the device is over */
};

struct action {
    uint64_t ps, seq;
    uint32_t what; /* unit, serial, or DMA engine: core * TIME_DMA_ENGINES + engine */
    uint8_t kind;
};

struct unit {
    uint32_t *ev; /* its events, in order */
    uint32_t count, at;
    bool busy;     /* inside a group: until ACT_RECORD_END or its late wait */
    bool late;     /* waits in the middle of a record */
    uint32_t body; /* next event of the running group, in ev */
    uint64_t clock, start, interval;
    uint32_t last_record;
};

struct xfer {
    uint32_t event; /* XFER, COLL */
    uint32_t done;  /* XFER_DONE, NONE */
    uint32_t xfer;  /* in time_program.xfers */
    uint8_t core;
    uint32_t shares;     /* engines that have not done theirs */
    uint32_t next;       /* of its set, NONE: the last so far */
    bool behind;         /* one before it in its set is not over */
    bool finished, over; /* all shares are done; and those before it */
    uint64_t ready;      /* when they began; COLL: its turn in its stream */
    /* COLL */
    bool coll;
    uint8_t stream;
    uint64_t trigger, arrival, lasts, engines, packet, begin;
};

struct replay {
    const struct time_program *const *progs;
    unsigned cores;
    const struct time_event *ev;
    size_t count;
    struct time_span *spans;
    struct time_report *rep;
    struct unit unit[UNITS];
    uint32_t *order; /* storage of unit[].ev */
    struct xfer *xfers;
    uint32_t nxfers;
    struct action *heap;
    size_t nheap, cap_heap;
    uint64_t seq;
    bool no_memory;
    int32_t sem[TIME_CORES][ISA_SEMAPHORES];
    bool event[TIME_CORES][ISA_EVENTS];
    struct rings dma[TIME_CORES][TIME_DMA_ENGINES];
    uint64_t dge_free[TIME_CORES][DGE_MAX];
    uint32_t *queue_last[TIME_CORES]; /* per queue set: its last transfer that began, or NONE */
    uint32_t nqueues[TIME_CORES];
    uint32_t stream_last[STREAMS]; /* its last collective that was triggered, or NONE */
    uint32_t by[TIME_CORES][ISA_SEMAPHORES], by_event[TIME_CORES][ISA_EVENTS]; /* time_span.by */
    uint64_t counted;       /* until when coll_any_ps and coll_alone_ps are */
    uint32_t moving, colls; /* transfers, collectives under way */
};

/* Check the events, and sort them: each engine's, each transfer's, each collective's. NRT_INVALID:
 * they are not of these programs; NRT_RESOURCE. Fills order, xfers, unit, queue_last. */
NRT_STATUS replay_read(struct replay *r, struct err *err);

#endif
