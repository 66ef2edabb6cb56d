/* SPDX-License-Identifier: Apache-2.0 */
/* A device profile as the views need it: its executions, what each event names, which event let
 * which wait go, and the NEFF that was executed where somebody has it. Pure: what a file says may
 * be anything that ntff_open accepts, and nothing is looked up without a look at its range. */
#ifndef VIEWER_PROFILE_H
#define VIEWER_PROFILE_H

#include "neff/neff.h"
#include "time/ntff.h"
#include "time/timeline.h"

#define VIEWER_NONE  TIME_NONE
#define VIEWER_UNITS 16 /* core << 3 | engine: struct ntff_event */

/* A file's executions by model, so that no model looks at those of the others. */
struct viewer_file {
    const struct ntff *n;
    uint64_t *first; /* per model: 1 + its first execution; 0: none */
    uint64_t *next;  /* per execution: 1 + the next one of its model */
};
/* n: borrowed. NRT_RESOURCE; then there is nothing to end. */
NRT_STATUS viewer_file_init(struct viewer_file *ret, const struct ntff *n, struct err *err);
void viewer_file_fini(struct viewer_file *f);

struct viewer_model {
    const struct ntff *n;
    const struct viewer_file *file;
    const struct ntff_model *m;
    const struct neff *neff; /* NULL: not known */
    /* Per unit: its first record in m's, VIEWER_NONE: none; per core the same of transfers. */
    uint32_t first_record[VIEWER_UNITS], first_xfer[TIME_CORES];
};

/* index: of the model in f->n. neff: NULL, or one whose hash is the model's. */
void viewer_model_init(struct viewer_model *ret, const struct viewer_file *f, uint64_t index,
                       const struct neff *neff);
/* Its executions, in the order of the file; NULL: no more. */
const struct ntff_exec *viewer_exec_first(const struct viewer_model *m);
const struct ntff_exec *viewer_exec_next(const struct viewer_model *m, const struct ntff_exec *e);

/* The record or transfer that an event names; NULL: the model has none such. *ret_index, which may
 * be NULL: its number among the model's. */
const struct ntff_record *viewer_record(const struct viewer_model *m, unsigned unit, uint32_t id,
                                        uint32_t *ret_index);
const struct ntff_xfer *viewer_xfer(const struct viewer_model *m, unsigned core, uint32_t index,
                                    uint32_t *ret_index);
/* The NEFF's program of a physical core; NULL: not known. */
const struct neff_subgraph *viewer_subgraph(const struct viewer_model *m, unsigned core);
/* Its queue set's name, or NULL. */
const char *viewer_queue_name(const struct viewer_model *m, unsigned core, uint32_t queue);
/* The record's text, appended to out; false: not known. */
bool viewer_record_text(const struct viewer_model *m, const struct ntff_record *r,
                        struct strbuf *out);
const char *viewer_opcode_name(unsigned opcode); /* never NULL */

/* An execution. by and start have an entry per event. */
struct viewer_exec {
    const struct viewer_model *model;
    const struct ntff_exec *e;
    const struct ntff_event *ev;
    uint32_t count;
    uint32_t *by;     /* of a wait: the update that let it go, VIEWER_NONE: none is recorded */
    uint32_t *starts; /* per serial: the event that started the transfer or collective */
    uint32_t serials;
};
/* NRT_RESOURCE; then there is nothing to end. */
NRT_STATUS viewer_exec_init(struct viewer_exec *ret, const struct viewer_model *m,
                            const struct ntff_exec *e, struct err *err);
void viewer_exec_fini(struct viewer_exec *x);

/* In front of an instruction, which then is the next one of its engine. */
static inline bool viewer_is_wait(const struct ntff_event *e)
{
    return e->kind == TIME_EV_WAIT && (e->op & TIME_OP_LATE) == 0;
}
/* The transfer or collective with that serial; NULL: none. */
const struct ntff_event *viewer_start(const struct viewer_exec *x, uint32_t serial);
/* ps of an event of the kinds ARRIVAL to PACKET. */
static inline uint64_t viewer_ps(const struct ntff_event *e)
{
    return (uint64_t)e->extra << 32 | (uint32_t)e->value;
}

/* For timelines: arg is a struct viewer_model. */
extern const struct timeline_facts viewer_facts;

#endif
