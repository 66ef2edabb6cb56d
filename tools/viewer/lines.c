/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax is that of "Line protocol" in the documentation of InfluxDB 2: measurement and tags
 * with backslashes before commas, blanks and equals signs; strings in quotes; times in nanoseconds.
 */
#include "viewer/lines.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "viewer/views.h"

#define TEXT_MAX 65000u                        /* bytes of a string: the database takes 64 KB */
#define NS_MAX   UINT64_C(9223372036854775806) /* the last time that it knows */

/* ---- lanes ---- */

/* The latest time of each lane of a series; later lanes have earlier ones, so that the first lane
 * with room is found by halves. */
struct viewer_lanes {
    uint64_t *last;
    size_t count, cap;
};

static bool lane_take(struct viewer_lanes *l, uint64_t ns, size_t *ret)
{
    size_t low = 0, high = l->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (l->last[mid] < ns)
            high = mid;
        else
            low = mid + 1;
    }
    if (low == l->count && !mem_grow((void **)&l->last, &l->cap, l->count + 1, sizeof(*l->last)))
        return false;
    if (low == l->count)
        l->count++;
    l->last[low] = ns;
    *ret = low;
    return true;
}

/* Of the series that l->tags names. */
static bool series_lane(struct viewer_lines *l, size_t *ret)
{
    uint64_t index;

    if (!str_map_get(&l->series, l->tags.s, &index)) {
        index = l->count;
        if (!mem_grow((void **)&l->lanes, &l->cap, l->count + 1, sizeof(*l->lanes)) ||
            !str_map_put(&l->series, l->tags.s, index, NULL))
            return false;
        l->lanes[l->count++] = (struct viewer_lanes){0};
    }
    return lane_take(&l->lanes[index], l->ns, ret);
}

/* ---- texts ---- */

/* In a tag a backslash cannot be told from the mark before the next sign: it becomes '/'. */
static void tag_put(struct strbuf *out, const char *text)
{
    struct strbuf plain = {0};

    viewer_text_plain(&plain, text);
    for (const char *s = plain.s ? plain.s : ""; *s; s++) {
        if (*s == ',' || *s == '=' || *s == ' ')
            strbuf_put(out, "\\");
        strbuf_putn(out, *s == '\\' ? "/" : s, 1);
    }
    out->failed = out->failed || plain.failed;
    strbuf_fini(&plain);
}

static void string_put(struct strbuf *out, const char *text)
{
    struct strbuf plain = {0};
    size_t size = 0;

    viewer_text_plain(&plain, text);
    strbuf_put(out, "\"");
    for (const char *s = plain.s ? plain.s : ""; *s;) {
        size_t n = utf8_size(s);

        size += n + (*s == '"' || *s == '\\');
        if (n == 0 || size > TEXT_MAX)
            break;
        if (*s == '"' || *s == '\\')
            strbuf_put(out, "\\");
        strbuf_putn(out, s, n);
        s += n;
    }
    strbuf_put(out, "\"");
    out->failed = out->failed || plain.failed;
    strbuf_fini(&plain);
}

/* ---- the form ---- */

static struct viewer_lines *as_lines(struct viewer_rows *r)
{
    return (struct viewer_lines *)(void *)r;
}

static void line_table(struct viewer_rows *r, const char *name)
{
    as_lines(r)->table = name;
}

static void row_end(struct viewer_lines *l)
{
    size_t lane;

    if (!l->rows.ok || l->tags.failed || l->fields.failed || !series_lane(l, &lane)) {
        l->rows.ok = false;
        return;
    }
    if (l->fields.len == 0) /* nothing but names: the database would refuse it */
        return;
    strbuf_put(&l->out, l->tags.s);
    if (lane > 0)
        strbuf_printf(&l->out, ",lane=%zu", lane);
    strbuf_printf(&l->out, " %s %" PRIu64 "\n", l->fields.s, l->ns);
    l->rows.ok = viewer_flush(&l->out, l->sink, false);
}

static void line_row(struct viewer_rows *r, bool open)
{
    struct viewer_lines *l = as_lines(r);

    if (!open) {
        row_end(l);
        return;
    }
    l->tags.len = l->fields.len = 0;
    l->ns = 0;
    strbuf_put(&l->tags, l->table);
}

static void tag_cell(struct viewer_lines *l, const struct viewer_cell *c)
{
    if (c->kind == VIEWER_UINT) {
        strbuf_printf(&l->tags, ",%s=%" PRIu64, c->key, c->uint);
    } else if (c->text[0]) { /* a tag without a value is an error */
        strbuf_printf(&l->tags, ",%s=", c->key);
        tag_put(&l->tags, c->text);
    }
}

static void line_cell(struct viewer_rows *r, const struct viewer_cell *c)
{
    struct viewer_lines *l = as_lines(r);

    if (c->role == VIEWER_TAG) {
        tag_cell(l, c);
        return;
    }
    if (c->role == VIEWER_TIME) {
        l->ns = c->kind == VIEWER_THOUSANDTHS ? c->uint / 1000 : c->uint;
        l->ns = l->ns < NS_MAX ? l->ns : NS_MAX;
        return;
    }
    if (c->kind == VIEWER_REAL && !isfinite(c->real)) /* there is no such value */
        return;
    strbuf_printf(&l->fields, "%s%s=", l->fields.len ? "," : "", c->key);
    switch (c->kind) {
    case VIEWER_TEXT:
        string_put(&l->fields, c->text);
        break;
    case VIEWER_UINT:
        strbuf_printf(&l->fields, "%" PRIu64 "u", c->uint);
        break;
    case VIEWER_REAL:
        strbuf_printf(&l->fields, "%.17g", c->real);
        break;
    case VIEWER_THOUSANDTHS:
        strbuf_printf(&l->fields, "%" PRIu64 ".%03u", c->uint / 1000, (unsigned)(c->uint % 1000));
        break;
    }
}

void viewer_lines_init(struct viewer_lines *ret, const struct viewer_sink *sink)
{
    static const struct viewer_rows_form form = {line_table, line_row, line_cell};

    *ret = (struct viewer_lines){.rows = {&form, true}, .sink = sink};
}

bool viewer_lines_end(struct viewer_lines *l)
{
    l->rows.ok = l->rows.ok && viewer_flush(&l->out, l->sink, true);
    return l->rows.ok;
}

void viewer_lines_fini(struct viewer_lines *l)
{
    for (size_t i = 0; i < l->count; i++)
        mem_free(l->lanes[i].last);
    mem_free(l->lanes);
    str_map_fini(&l->series);
    strbuf_fini(&l->out);
    strbuf_fini(&l->tags);
    strbuf_fini(&l->fields);
}
