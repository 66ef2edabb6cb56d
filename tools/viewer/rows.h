/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of tables, whatever they are written as: what a row holds is said once, and a form makes
 * JSON, lines of text or InfluxDB's line protocol of it. Pure. */
#ifndef VIEWER_ROWS_H
#define VIEWER_ROWS_H

#include "common/json_out.h"

struct viewer_sink {
    bool (*write)(void *arg, const void *bytes, size_t size); /* false: no more is asked */
    void *arg;
};
/* Gives on what there is once it is much, or all of it; false: the sink or memory failed. */
bool viewer_flush(struct strbuf *b, const struct viewer_sink *sink, bool all);

enum viewer_cell_kind {
    VIEWER_TEXT,
    VIEWER_UINT,
    VIEWER_REAL,
    VIEWER_THOUSANDTHS /* uint / 1000: nanoseconds of picoseconds */
};
enum viewer_cell_role {
    VIEWER_FIELD,
    VIEWER_TAG, /* names what the row is about: a database finds rows by it */
    VIEWER_TIME /* of the row; at most one, in ns: a UINT or THOUSANDTHS */
};
struct viewer_cell {
    const char *key;
    enum viewer_cell_kind kind;
    enum viewer_cell_role role;
    const char *text; /* any bytes */
    uint64_t uint;
    double real;
};

struct viewer_rows;
struct viewer_rows_form {
    void (*table)(struct viewer_rows *r, const char *name); /* NULL: the one that is open ends */
    void (*row)(struct viewer_rows *r, bool open);          /* begins or ends */
    void (*cell)(struct viewer_rows *r, const struct viewer_cell *c);
};
struct viewer_rows {
    const struct viewer_rows_form *form;
    bool ok; /* false: sink or memory failed; no more need be put */
};

static inline void viewer_table(struct viewer_rows *r, const char *name)
{
    r->form->table(r, name);
}
static inline void viewer_row(struct viewer_rows *r, bool open)
{
    r->form->row(r, open);
}
void viewer_put_text(struct viewer_rows *r, const char *key, const char *text);
void viewer_put_uint(struct viewer_rows *r, const char *key, uint64_t v);
void viewer_put_real(struct viewer_rows *r, const char *key, double v);
void viewer_put_ns(struct viewer_rows *r, const char *key, uint64_t ps);
void viewer_tag_text(struct viewer_rows *r, const char *key, const char *text);
void viewer_tag_uint(struct viewer_rows *r, const char *key, uint64_t v);
void viewer_time_ns(struct viewer_rows *r, uint64_t ns); /* "timestamp" */
void viewer_time_ps(struct viewer_rows *r, uint64_t ps);

/* Objects in arrays of the object that is open in j. sink: NULL, or where pieces of j go. */
struct viewer_rows_json {
    struct viewer_rows rows;
    struct json_out *j;
    const struct viewer_sink *sink;
};
void viewer_rows_json_init(struct viewer_rows_json *ret, struct json_out *j,
                           const struct viewer_sink *sink);
/* "key  value", a line each; tables have no names and rows no ends. */
struct viewer_rows_text {
    struct viewer_rows rows;
    struct strbuf *out;
};
void viewer_rows_text_init(struct viewer_rows_text *ret, struct strbuf *out);

#endif
