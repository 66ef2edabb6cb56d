/* SPDX-License-Identifier: Apache-2.0 */
/* Executions in device time as a trace for Perfetto: the engines, queue sets and collective streams
 * of a logical core are tracks, and so are the links and the network that its collectives use;
 * records, transfers, collectives and their steps are slices with their text, figures and source
 * lines; arrows lead from what raised a semaphore to the record that waited for it. Executions of
 * one core follow each other.
 *
 * Pure. One thread at a time per timeline. */
#ifndef TIME_TIMELINE_H
#define TIME_TIMELINE_H

#include "base/strbuf.h"
#include "neff/neff.h"
#include "time/collective.h"
#include "time/perfetto.h"
#include "time/time.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Who is shown. Texts are borrowed for the call. */
struct timeline_core {
    const char *name; /* of the program */
    int32_t pid;
    uint32_t vnc;  /* logical core over the instance */
    uint32_t rank; /* of the program, of `ranks`; 1: it is alone */
    uint32_t ranks;
};

/* What the events of an execution name by numbers. Texts may be NULL: not known. */
struct timeline_record {
    const char *name, *label, *op, *file;
    uint32_t line; /* 0: not known */
    bool guess;    /* nothing is published about its cost */
};
struct timeline_xfer {
    const char *queue_name, *type, *descriptors;
    uint32_t queue; /* queue set */
    uint32_t first_engine, engines;
    uint64_t bytes, packet_ps; /* packet_ps 0: not known */
};
struct timeline_coll {
    const char *name, *algorithm;
    bool sizes; /* the two are known */
    uint64_t bytes_in, bytes_out;
    const struct time_moves *moves; /* what it moves when, alone on the device; NULL: not known */
};

/* Who knows it: each fills *ret, which is zero before, and what it points to stays until the next
 * call of the same one; any number may come, also such as the execution's program does not have. */
struct timeline_facts {
    /* text gets the record's text, or stays as it is. */
    void (*record)(const void *arg, unsigned core, unsigned engine, uint32_t id,
                   struct timeline_record *ret, struct strbuf *text);
    void (*xfer)(const void *arg, unsigned core, uint32_t index, struct timeline_xfer *ret);
    void (*coll)(const void *arg, unsigned core, uint32_t entry, struct timeline_coll *ret);
};

/* Of programs in memory: arg is a struct timeline_programs, whose arrays have an entry per physical
 * core. */
extern const struct timeline_facts timeline_program_facts;
struct timeline_programs {
    const struct time_program *const *progs;
    const struct neff_subgraph *const *sg; /* of which progs were made */
    /* Of a collective, timeline_coll.moves; NULL: nobody knows. */
    const struct time_moves *(*moves)(const void *arg, unsigned core, uint32_t entry);
    const void *moves_arg;
};

/* Of an entry of a subgraph's table of collectives; *ret stays as it is when it has none such. */
void timeline_coll_facts(const struct neff_subgraph *sg, uint32_t entry, struct timeline_coll *ret);

/* One execution: its events, and spans of time_replay or of a file. Everything is borrowed for the
 * call. */
struct timeline_run {
    const struct timeline_core *core;
    const struct timeline_facts *facts;
    const void *arg; /* of facts */
    const struct time_events *events;
    const struct time_span *spans; /* where by is TIME_NONE everywhere there are no arrows */
    uint64_t total_ps;
};

struct timeline;
/* NULL: no memory. pid and vnc tell its tracks from those of other timelines in one trace. */
struct timeline *timeline_create(int32_t pid, uint32_t vnc);
void timeline_destroy(struct timeline *t); /* NULL is fine */
/* Add an execution behind those before it. *ret, *ret_size: the packets of this call, valid until
 * the next one; packets of all calls in their order, also mixed with those of other timelines, are
 * a trace. NRT_RESOURCE: no memory, or slices of one place that overlap more than TIMELINE_ROWS_MAX
 * times, which no program's do; nothing is given back, and the timeline can only be destroyed. */
#define TIMELINE_ROWS_MAX 8192u
NRT_STATUS timeline_add(struct timeline *t, const struct timeline_run *run, const uint8_t **ret,
                        size_t *ret_size, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
