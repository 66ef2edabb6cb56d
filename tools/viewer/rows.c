/* SPDX-License-Identifier: Apache-2.0 */
#include "viewer/rows.h"

#include <inttypes.h>

#include "viewer/views.h"

bool viewer_flush(struct strbuf *b, const struct viewer_sink *sink, bool all)
{
    const size_t much = 1u << 16;
    bool ok = !b->failed;

    if (ok && b->len > 0 && (all || b->len >= much)) {
        ok = sink->write(sink->arg, b->s, b->len);
        b->len = 0;
    }
    return ok;
}

/* ---- what is put ---- */

static void put(struct viewer_rows *r, struct viewer_cell c)
{
    r->form->cell(r, &c);
}

void viewer_put_text(struct viewer_rows *r, const char *key, const char *text)
{
    put(r, (struct viewer_cell){.key = key, .kind = VIEWER_TEXT, .text = text});
}

void viewer_put_uint(struct viewer_rows *r, const char *key, uint64_t v)
{
    put(r, (struct viewer_cell){.key = key, .kind = VIEWER_UINT, .uint = v});
}

void viewer_put_real(struct viewer_rows *r, const char *key, double v)
{
    put(r, (struct viewer_cell){.key = key, .kind = VIEWER_REAL, .real = v});
}

void viewer_put_ns(struct viewer_rows *r, const char *key, uint64_t ps)
{
    put(r, (struct viewer_cell){.key = key, .kind = VIEWER_THOUSANDTHS, .uint = ps});
}

void viewer_tag_text(struct viewer_rows *r, const char *key, const char *text)
{
    put(r, (struct viewer_cell){.key = key, .kind = VIEWER_TEXT, .role = VIEWER_TAG, .text = text});
}

void viewer_tag_uint(struct viewer_rows *r, const char *key, uint64_t v)
{
    put(r, (struct viewer_cell){.key = key, .kind = VIEWER_UINT, .role = VIEWER_TAG, .uint = v});
}

void viewer_time_ns(struct viewer_rows *r, uint64_t ns)
{
    put(r, (struct viewer_cell){
               .key = "timestamp", .kind = VIEWER_UINT, .role = VIEWER_TIME, .uint = ns});
}

void viewer_time_ps(struct viewer_rows *r, uint64_t ps)
{
    put(r, (struct viewer_cell){
               .key = "timestamp", .kind = VIEWER_THOUSANDTHS, .role = VIEWER_TIME, .uint = ps});
}

/* ---- JSON ---- */

static struct viewer_rows_json *as_json(struct viewer_rows *r)
{
    return (struct viewer_rows_json *)(void *)r;
}

static void json_table(struct viewer_rows *r, const char *name)
{
    if (name)
        json_out_open(as_json(r)->j, name, '[');
    else
        json_out_close(as_json(r)->j, ']');
}

static void json_row(struct viewer_rows *r, bool open)
{
    struct viewer_rows_json *w = as_json(r);

    if (open) {
        json_out_open(w->j, NULL, '{');
        return;
    }
    json_out_close(w->j, '}');
    if (w->sink)
        r->ok = r->ok && viewer_flush(&w->j->out, w->sink, false);
}

static void json_cell(struct viewer_rows *r, const struct viewer_cell *c)
{
    struct json_out *j = as_json(r)->j;

    switch (c->kind) {
    case VIEWER_TEXT:
        json_out_text(j, c->key, c->text);
        break;
    case VIEWER_UINT:
        json_out_uint(j, c->key, c->uint);
        break;
    case VIEWER_REAL:
        json_out_real(j, c->key, c->real);
        break;
    case VIEWER_THOUSANDTHS:
        json_out_thousandths(j, c->key, c->uint);
        break;
    }
}

void viewer_rows_json_init(struct viewer_rows_json *ret, struct json_out *j,
                           const struct viewer_sink *sink)
{
    static const struct viewer_rows_form form = {json_table, json_row, json_cell};

    *ret = (struct viewer_rows_json){{&form, true}, j, sink};
}

/* ---- text ---- */

static void text_table(struct viewer_rows *r, const char *name)
{
    (void)r;
    (void)name;
}

static void text_row(struct viewer_rows *r, bool open)
{
    (void)r;
    (void)open;
}

static void text_cell(struct viewer_rows *r, const struct viewer_cell *c)
{
    struct strbuf *out = ((struct viewer_rows_text *)(void *)r)->out;

    strbuf_printf(out, "%-44s  ", c->key);
    switch (c->kind) {
    case VIEWER_TEXT: /* of a file: stays on its line */
        viewer_text_plain(out, c->text);
        break;
    case VIEWER_UINT:
        strbuf_printf(out, "%" PRIu64, c->uint);
        break;
    case VIEWER_REAL:
        strbuf_printf(out, "%.9g", c->real);
        break;
    case VIEWER_THOUSANDTHS:
        strbuf_printf(out, "%" PRIu64 ".%03u", c->uint / 1000, (unsigned)(c->uint % 1000));
        break;
    }
    strbuf_put(out, "\n");
    r->ok = !out->failed;
}

void viewer_rows_text_init(struct viewer_rows_text *ret, struct strbuf *out)
{
    static const struct viewer_rows_form form = {text_table, text_row, text_cell};

    *ret = (struct viewer_rows_text){{&form, true}, out};
}
