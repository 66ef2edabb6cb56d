/* SPDX-License-Identifier: Apache-2.0 */
/* Device time: what instructions and transfers cost by the published figures (data/isa_costs.json,
 * docs/spec/neuroncore.md 5.6 and 7), and the clock that turns the event record of an execution
 * into times (decision 8 of the design). Pure. All times are picoseconds unless named otherwise.
 */
#ifndef TIME_TIME_H
#define TIME_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "isa/isa.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TIME_DMA_ENGINES 16 /* per physical core */
#define TIME_CORES       2  /* physical cores of a logical core */

/* ---- costs ---- */

/* Issue interval of a record on its engine. */
struct time_cost {
    uint32_t ps;
    uint32_t dependent_ps; /* added when an input overlaps the output of the record before it */
    bool guess;            /* nothing is published: ps is the project's UNPUBLISHED_ISSUE */
};
/* r passed isa_check_program; gen one of isa_gen. */
struct time_cost time_cost_record(const struct isa_record *r, enum isa_gen gen);
/* Whether an input tile of `next` overlaps an output tile of `prev` (static patterns; a register
 * offset counts as the whole partition). */
bool time_record_dependent(const struct isa_record *prev, const struct isa_record *next);
/* Clock of an engine in GHz; SP and sequencer records count ACT's clock. */
double time_clock_ghz(enum isa_gen gen, unsigned engine);

enum time_dma_kind {
    TIME_DMA_COPY = 0,
    TIME_DMA_COMPUTE,
    TIME_DMA_TRANSPOSE, /* into SBUF from HBM */
    TIME_DMA_TRANSPOSE_SBUF
};
/* ps that `bytes` (the larger of read and written) take on one DMA engine. */
uint64_t time_dma_ps(enum isa_gen gen, enum time_dma_kind kind, uint64_t bytes);
uint64_t time_dma_start_ps(enum isa_gen gen); /* from trigger to first byte */
uint64_t time_dma_hwdge_ps(enum isa_gen gen); /* a hardware DGE makes the descriptors */
unsigned time_dge_blocks(enum isa_gen gen);   /* per core */

/* ---- the event record -------------------------------------------------------------------------
 * Written by the core in execution order, one fixed-size event each. A record is: its WAITs, one
 * RECORD, its READ updates, its COMPLETE updates; a transfer is one XFER after the RECORD that
 * triggered it, and its updates (XFER_UPDATE) follow when it was executed. A collective is one COLL
 * there; when it ended, its ARRIVAL, LASTS, ENGINES and PACKET stand before its XFER_DONE. Serials
 * of transfers and collectives count together.
 */
enum time_event_kind {
    TIME_EV_WAIT = 1,     /* index, op = enum isa_wait_kind, value = wanted */
    TIME_EV_RECORD,       /* id = record number, value = opcode, op = 1: engine ended with it */
    TIME_EV_READ,         /* update at read: index, op = enum isa_update_kind, value */
    TIME_EV_COMPLETE,     /* update at completion */
    TIME_EV_XFER,         /* id = serial of the transfer, value = index in time_program.xfers */
    TIME_EV_XFER_DONE,    /* id = serial */
    TIME_EV_XFER_UPDATE,  /* follows XFER_DONE: index, op, value */
    TIME_EV_COLL,         /* id = serial, value = index in the collectives table, index = stream */
    TIME_EV_COLL_ARRIVAL, /* id = serial; extra and value: high and low half of the ps when the
                             last of the other members entered */
    /* The same of the ps that it lasts, alone on the device, from the later of that and its turn in
     * its stream; that every DMA engine of the rank works for it meanwhile; that one of its packets
     * takes there (0: all of it is one packet). */
    TIME_EV_COLL_LASTS,
    TIME_EV_COLL_ENGINES,
    TIME_EV_COLL_PACKET,
};
struct time_event {
    uint8_t kind;  /* enum time_event_kind */
    uint8_t unit;  /* engine | core << 3: who did it (transfers: who triggered it) */
    uint8_t index; /* semaphore or event */
    uint8_t op;    /* bit 7: on the other core */
    int32_t value;
    uint32_t id;
    uint32_t extra; /* 0 unless a kind says otherwise */
};
static_assert(sizeof(struct time_event) == 16, "an event is 16 bytes");
#define TIME_UNIT(core, engine) ((uint8_t)((core) << 3 | (engine)))
#define TIME_OP_PEER            0x80
#define TIME_OP_LATE            0x40 /* WAIT inside a record (core_barrier), after its RECORD event */

/* A record of events: storage of the caller. When full, events are counted and dropped. */
struct time_events {
    struct time_event *ev;
    size_t count, cap;
    uint64_t dropped;
};

/* ---- from events to device time ---- */

struct time_xfer {
    uint32_t queue;            /* queue set: transfers of one set run in order */
    uint32_t first_engine;     /* DMA engines first .. first + engines - 1, modulo 16 */
    uint32_t engines;          /* num_queues of the set */
    bool hwdge;                /* a DGE block is busy for time_dma_hwdge_ps first */
    uint64_t bytes;            /* written */
    const uint64_t *engine_ps; /* per engine of the set: its share by time_dma_ps */
    uint64_t packet_ps; /* that one packet of the set's rings takes; an engine with several busy
                         * rings goes to the next one after each. 0: a transfer is one packet */
};
/* Static facts of the program of one physical core. */
struct time_program {
    enum isa_gen gen;
    const struct time_cost *cost[ISA_ENGINES]; /* per record */
    const uint8_t *dependent[ISA_ENGINES]; /* per record: 1 if dependent on the record before it in
                                              program order */
    uint32_t count[ISA_ENGINES];
    const struct time_xfer *xfers;
    uint32_t xfer_count;
};

struct time_report {
    uint64_t total_ps;                          /* start to end of the execution */
    uint64_t busy_ps[TIME_CORES][ISA_ENGINES];  /* sum of intervals */
    uint64_t wait_ps[TIME_CORES][ISA_ENGINES];  /* stalled on semaphores or events */
    uint64_t guess_ps[TIME_CORES][ISA_ENGINES]; /* part of busy_ps that rests on a guess */
    uint64_t dma_busy_ps[TIME_CORES][TIME_DMA_ENGINES];
    uint64_t colls;          /* collectives */
    uint64_t coll_ps;        /* sum of what they lasted from their last member's arrival */
    uint64_t coll_late_ps;   /* of the time before, in which they waited for other members */
    uint64_t coll_behind_ps; /* and before that, for those of their stream */
    /* Time in which a collective was under way, all members there; and the part of it in which
     * nothing else was: neither a record on an engine nor a transfer. */
    uint64_t coll_any_ps, coll_alone_ps;
    uint64_t forced; /* waits let through because no order of the recorded events satisfies them
                        in time order: the program races */
    bool truncated;  /* the record dropped events: times are a lower bound */
};

#define TIME_NONE UINT32_MAX

/* When each event happened: start and end of RECORD and XFER; of COLL from its turn in its stream;
 * of WAIT from when its engine came to it, to when it held; both equal for the others. */
struct time_span {
    uint64_t start_ps, end_ps;
    uint32_t by; /* WAIT: the event that changed its semaphore or event last; TIME_NONE: none */
};

/* Replay the events in device time. progs: cores programs. spans: NULL or count entries, filled.
 * NRT_INVALID: the record is not one (unknown record or transfer numbers); NRT_RESOURCE. */
NRT_STATUS time_replay(const struct time_program *const *progs, unsigned cores,
                       const struct time_events *events, struct time_span *spans,
                       struct time_report *ret, struct err *err);

/* ---- executions alike (kept.c) ----
 * Most programs do the same every time, and then the events of their executions are the same bits:
 * what one of them took, the next one does. */
struct time_kept {
    const struct time_program *prog[TIME_CORES];
    unsigned cores;
    struct time_events events; /* a copy */
    struct time_span *spans;   /* events.count; NULL: nobody asked */
    struct time_report report;
    size_t span_cap;
    uint64_t number; /* other times have other numbers, of one keeper; 0: nothing is kept */
};
#define TIME_KEPT 4  /* programs that take turns */
struct time_keeper { /* zero-initialise */
    struct time_kept kept[TIME_KEPT];
    unsigned oldest;
    uint64_t numbers;
};
/* time_replay, unless the same events of the same programs are kept. *ret: valid until the next
 * call. spans: ret->spans is wanted. The errors of time_replay. */
NRT_STATUS time_keeper_replay(struct time_keeper *k, const struct time_program *const *progs,
                              unsigned cores, const struct time_events *events, bool spans,
                              const struct time_kept **ret, struct err *err);
/* A program goes: a later one at its address is another one. Numbers are not used again. */
void time_keeper_drop(struct time_keeper *k);

#ifdef __cplusplus
}
#endif
#endif
