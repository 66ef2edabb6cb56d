/* SPDX-License-Identifier: Apache-2.0 */
/* A device profile in the forms that can be asked for. Pure: bytes go to a sink, piece by piece.
 * Keys and columns: docs/profiling.md. */
#ifndef VIEWER_VIEWS_H
#define VIEWER_VIEWS_H

#include "viewer/figures.h"
#include "viewer/rows.h"

/* Lines of source files. */
struct viewer_source {
    /* The line of the file that a profile names, without blanks around it, as long as the source
     * lives; NULL: not known. *ret_root: whose file it is, "nki" or "framework". */
    const char *(*line)(void *arg, const char *file, uint32_t line, const char **ret_root);
    void *arg;
};

/* A model of a file, and what was counted. */
struct viewer_shown {
    const char *file; /* as the user named it */
    const struct viewer_figures *f;
    const struct viewer_source *source;   /* NULL: nobody said where sources are */
    const struct viewer_scratch *scratch; /* NULL: not asked for */
};
/* The source line of a record, or NULL. *ret_root may be NULL. */
const char *viewer_source_line(const struct viewer_shown *s, const struct ntff_record *r,
                               const char **ret_root);

#define VIEWER_TOP 10 /* instructions of a summary */

/* Each: false when the sink failed or memory ran out. */
bool viewer_text_keys(const struct viewer_shown *s, struct strbuf *out);  /* summary-text */
bool viewer_text_words(const struct viewer_shown *s, struct strbuf *out); /* summary */
/* The keys of summary-text, in a row that is open. */
void viewer_summary_put(const struct viewer_shown *s, struct viewer_rows *r);
/* All tables: of device profiles. NRT_RESOURCE; what rows fail at is in r->ok. */
NRT_STATUS viewer_tables_put(const struct viewer_shown *const *s, size_t count,
                             struct viewer_rows *r, struct err *err);
/* The whole document "json". NRT_FAILURE: the sink; NRT_RESOURCE. */
NRT_STATUS viewer_json_profile(const struct viewer_shown *const *s, size_t count,
                               const struct viewer_sink *sink, struct err *err);
/* A trace for Perfetto. arrows: from what let an instruction go to it. */
NRT_STATUS viewer_trace_profile(const struct viewer_shown *const *s, size_t count, bool arrows,
                                const struct viewer_sink *sink, struct err *err);
/* "tensor_engine": how the documentation calls an engine; the instruction set says "pe". */
const char *viewer_engine_key(unsigned engine);
/* The device of the model's core, counted as the core is: from the process's first one. */
uint32_t viewer_device(const struct ntff_model *m);
/* The first 16 bytes of its NEFF's hash, in hex, as the files of inspections have it. */
#define VIEWER_HASH_SIZE 33
void viewer_hash_text(const struct ntff_model *m, char ret[VIEWER_HASH_SIZE]);
/* A text of a file for a terminal: what moves the cursor or is not UTF-8 becomes '?'. */
void viewer_text_plain(struct strbuf *out, const char *text);

#endif
