/* SPDX-License-Identifier: Apache-2.0 */
/* A device profile in the forms that can be asked for. Pure: bytes go to a sink, piece by piece.
 * Keys and columns: docs/profiling.md. */
#ifndef VIEWER_VIEWS_H
#define VIEWER_VIEWS_H

#include "common/json_out.h"
#include "viewer/figures.h"

struct viewer_sink {
    bool (*write)(void *arg, const void *bytes, size_t size); /* false: no more is asked */
    void *arg;
};
/* Gives on what there is once it is much, or all of it; false: the sink or memory failed. */
bool viewer_flush(struct strbuf *b, const struct viewer_sink *sink, bool all);

/* A model of a file, and what was counted. */
struct viewer_shown {
    const char *file; /* as the user named it */
    const struct viewer_figures *f;
};

#define VIEWER_TOP 10 /* instructions of a summary */

/* Each: false when the sink failed or memory ran out. */
bool viewer_text_keys(const struct viewer_shown *s, struct strbuf *out);  /* summary-text */
bool viewer_text_words(const struct viewer_shown *s, struct strbuf *out); /* summary */
/* Members of the object that is open: the keys of summary-text. */
void viewer_json_summary(const struct viewer_shown *s, struct json_out *j);
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
