/* SPDX-License-Identifier: Apache-2.0 */
/* Device profiles as files: NTFF in this project's own open form (docs/spec/ntff.md; the official
 * one is not published). A file holds models, what each of their programs' records and transfers
 * is, and executions with one event per instruction, transfer, wait, update and collective, each
 * with its device time. Pure: bytes in, views out; a document in, bytes out.
 *
 * The layout is little-endian, all structs below lie in the file as they are, at multiples of 8. */
#ifndef TIME_NTFF_H
#define TIME_NTFF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "time/time.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NTFF_MAGIC   "ONRTNTFF"
#define NTFF_VERSION 1u

enum ntff_section_type {
    NTFF_TEXTS = 1, /* bytes: texts that end with NUL; a text is named by its offset, 0 is "" */
    NTFF_MODELS,    /* struct ntff_model */
    NTFF_RECORDS,   /* struct ntff_record */
    NTFF_XFERS,     /* struct ntff_xfer */
    NTFF_EXECS,     /* struct ntff_exec */
    NTFF_EVENTS,    /* struct ntff_event */
    NTFF_SECTIONS = NTFF_EVENTS
};

struct ntff_head {
    char magic[8];
    uint32_t version;
    uint32_t sections; /* NTFF_SECTIONS: one struct ntff_section of each type follows, in order */
    uint64_t size;     /* of the file, bytes */
    uint64_t dropped_execs, dropped_events; /* that the profile had no room for */
};
static_assert(sizeof(struct ntff_head) == 40, "a multiple of 8");

struct ntff_section {
    uint32_t type;  /* enum ntff_section_type */
    uint32_t item;  /* bytes of one */
    uint64_t off;   /* in the file, a multiple of 8 */
    uint64_t count; /* of items */
};
static_assert(sizeof(struct ntff_section) == 24, "a multiple of 8");

struct ntff_model {
    uint32_t name;          /* text */
    uint32_t gen;           /* enum isa_gen */
    uint32_t cores;         /* physical cores of its logical core: 1 or 2 */
    uint32_t id;            /* h_nn */
    uint32_t instance, vnc; /* replica; logical core, counted from the process's first one */
    uint32_t rank;
    uint32_t pad;
    uint8_t hash[32];               /* of the NEFF's header */
    uint32_t first_record, records; /* in the section; by core, engine, record */
    uint32_t first_xfer, xfers;     /* by core, index */
};
static_assert(sizeof(struct ntff_model) == 80, "a multiple of 8");

/* An instruction of a program. */
struct ntff_record {
    uint8_t core, engine; /* enum isa_engine */
    uint16_t opcode;
    uint32_t record;                /* its number in the engine's program */
    uint32_t file, line, label, op; /* of the debug information: texts; line 0: not known */
};
static_assert(sizeof(struct ntff_record) == 24, "a multiple of 8");

/* A prepared transfer of a program. */
struct ntff_xfer {
    uint32_t core, index;
    uint32_t queue;                 /* queue set */
    uint32_t first_engine, engines; /* DMA engines */
    uint32_t pad;
    uint64_t bytes; /* written */
};
static_assert(sizeof(struct ntff_xfer) == 32, "a multiple of 8");

struct ntff_exec {
    uint32_t model;                      /* index */
    uint32_t status;                     /* NRT_STATUS */
    uint64_t run;                        /* number on the core, from 1 */
    uint64_t host_start_ns, host_end_ns; /* CLOCK_MONOTONIC */
    uint64_t total_ps;                   /* device time */
    uint64_t first_event, events;
    uint64_t dropped; /* events that the record of the execution had no room for */
};
static_assert(sizeof(struct ntff_exec) == 64, "a multiple of 8");

/* As struct time_event, with its time since the start of the execution. */
struct ntff_event {
    uint8_t kind, unit, index, op;
    int32_t value;
    uint32_t id, extra;
    uint64_t start_ps, end_ps;
};
static_assert(sizeof(struct ntff_event) == 32, "a multiple of 8");

/* ---- reading ---- */

/* A checked view of a file's bytes: every number that names something is in range, every text ends.
 */
struct ntff {
    const struct ntff_head *head;
    const char *texts;
    uint64_t text_bytes;
    const struct ntff_model *models;
    const struct ntff_record *records;
    const struct ntff_xfer *xfers;
    const struct ntff_exec *execs;
    const struct ntff_event *events;
    uint64_t model_count, record_count, xfer_count, exec_count, event_count;
};
/* bytes: at a multiple of 8, borrowed as long as ret is used. NRT_INVALID with what and where. */
NRT_STATUS ntff_open(const void *bytes, size_t size, struct ntff *ret, struct err *err);
static inline const char *ntff_text(const struct ntff *n, uint32_t text)
{
    return n->texts + text;
}

/* ---- writing ---- */

/* A document under construction. Zero-initialise. */
struct ntff_doc {
    /* Bytes of the sections; but events of executions alike are there once, and first_event of an
     * execution counts in them. */
    struct strbuf texts, models, records, xfers, execs, events;
    uint32_t model_count, record_count, xfer_count, exec_count;
    uint64_t event_count; /* of all executions */
    uint64_t dropped_execs, dropped_events;
};
void ntff_doc_fini(struct ntff_doc *d);
/* The offset of a copy of text; 0 for NULL and "". */
uint32_t ntff_doc_text(struct ntff_doc *d, const char *text);
/* Add one; the caller keeps the order that the structs above ask for: a model, then its records,
 * then its transfers; an execution, then its events. Ranges of a model and an execution are filled
 * in here. Memory that runs out is told by ntff_doc_write. */
uint32_t ntff_doc_model(struct ntff_doc *d, const struct ntff_model *m); /* its index */
void ntff_doc_record(struct ntff_doc *d, const struct ntff_record *r);
void ntff_doc_xfer(struct ntff_doc *d, const struct ntff_xfer *x);
void ntff_doc_exec(struct ntff_doc *d, const struct ntff_exec *e, const struct time_event *ev,
                   const struct time_span *spans, uint64_t count);
/* One whose events and their times are those of execution `like` of this document, which is kept
 * once. */
void ntff_doc_exec_like(struct ntff_doc *d, const struct ntff_exec *e, uint32_t like);
/* The file's bytes, appended to out. NRT_RESOURCE. */
NRT_STATUS ntff_doc_write(const struct ntff_doc *d, struct strbuf *out, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
