/* SPDX-License-Identifier: Apache-2.0 */
/* Executions in device time as a trace for Perfetto: the engines, queue sets and collective streams
 * of a logical core are tracks; records, transfers and collectives are slices with their text,
 * figures and source lines; arrows lead from what raised a semaphore to the record that waited for
 * it. Executions of one core follow each other.
 *
 * Pure. One thread at a time per timeline. */
#ifndef TIME_TIMELINE_H
#define TIME_TIMELINE_H

#include "neff/neff.h"
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

/* One execution: what time_replay was given, and its spans. The arrays have an entry per physical
 * core; everything is borrowed for the call. */
struct timeline_run {
    const struct timeline_core *core;
    unsigned cores;
    const struct time_program *const *progs;
    const struct neff_subgraph *const *sg; /* of which progs were made */
    const struct time_events *events;
    const struct time_span *spans;
    uint64_t total_ps;
};

struct timeline;
/* NULL: no memory. pid and vnc tell its tracks from those of other timelines in one trace. */
struct timeline *timeline_create(int32_t pid, uint32_t vnc);
void timeline_destroy(struct timeline *t); /* NULL is fine */
/* Add an execution behind those before it. *ret, *ret_size: the packets of this call, valid until
 * the next one; packets of all calls in their order, also mixed with those of other timelines, are
 * a trace. NRT_RESOURCE: no memory; nothing is given back, and the timeline can only be destroyed.
 */
NRT_STATUS timeline_add(struct timeline *t, const struct timeline_run *run, const uint8_t **ret,
                        size_t *ret_size, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
