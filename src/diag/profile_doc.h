/* SPDX-License-Identifier: Apache-2.0 */
/* A profile under construction: executions as NTFF, within the room of the profile buffers. The
 * caller locks. */
#ifndef DIAG_PROFILE_DOC_H
#define DIAG_PROFILE_DOC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model/model.h"
#include "time/ntff.h"

/* An execution with the device time of its events. */
struct profile_run {
    const struct model_seen *seen;
    const struct time_events *ev;
    const struct time_kept *times;
};
/* Borrows all; *ret lives until the keeper, which is one per core, is asked again. NRT_RESOURCE,
 * and NRT_INVALID: ev is no record. */
NRT_STATUS profile_run_make(struct profile_run *ret, struct time_keeper *keeper,
                            const struct model_seen *s, const struct time_events *ev,
                            struct err *err);

/* Bytes of events that a document may hold, by what they are about. */
struct profile_room {
    uint64_t events, transfers, collectives;
};
struct profile_doc;
struct profile_doc *profile_doc_new(const struct profile_room *room); /* NULL: without limit */
void profile_doc_free(struct profile_doc *d);                         /* NULL is fine */
/* An execution that has no room is counted, with its events. */
void profile_doc_add(struct profile_doc *d, const struct profile_run *r);
/* The model goes: a later one at its address is another one. */
void profile_doc_forget(struct profile_doc *d, const struct model *m);
uint32_t profile_doc_count(const struct profile_doc *d);      /* executions */
const uint8_t *profile_doc_hash(const struct profile_doc *d); /* of the first model's NEFF */
/* To a file. NRT_INVALID: fresh, and the file is there; NRT_FAILURE: it cannot be written;
 * NRT_RESOURCE. */
NRT_STATUS profile_doc_write(const struct profile_doc *d, const char *path, bool fresh,
                             struct err *err);

#endif
