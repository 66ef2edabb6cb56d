/* SPDX-License-Identifier: Apache-2.0 */
/* Rows for a database: any cells in any order. Whatever they hold, what comes out are lines of the
 * protocol: no text ends its place, no two points are one. The input is a script: a byte that says
 * what comes, and for a text its bytes up to a NUL. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct out {
    char *s;
    size_t len, cap;
};

static bool keep(void *arg, const void *bytes, size_t size)
{
    struct out *o = arg;

    if (!mem_grow((void **)&o->s, &o->cap, o->len + size + 1, 1))
        return false;
    memcpy(o->s + o->len, bytes, size);
    o->len += size;
    o->s[o->len] = '\0';
    return true;
}

/* ---- the protocol, read by its definition ---- */

/* Up to the first of these signs that no backslash is before. */
static const char *word_end(const char *s, const char *signs)
{
    while (*s && !strchr(signs, *s))
        s += *s == '\\' && s[1] ? 2 : 1;
    return s;
}

static const char *pair_end(const char *s, bool field)
{
    const char *equals = word_end(s, "=, \n"), *end;

    if (*equals != '=' || equals == s)
        abort(); /* no name, or no value */
    s = equals + 1;
    if (!field || *s != '"') {
        end = word_end(s, field ? ", \n" : ", =\n");
        if (end == s)
            abort();
        return end;
    }
    for (s++; *s != '"'; s++) {
        if (*s == '\\')
            s++;
        if (!*s)
            abort();
    }
    return s + 1;
}

/* A line; what tells its point from others goes into points. */
static const char *line_check(const char *s, struct str_map *points)
{
    const char *start = s, *tags;
    char *point;
    size_t n;

    if (strncmp(s, "table", 5) != 0)
        abort();
    for (s = word_end(s, ", \n"); *s == ',';)
        s = pair_end(s + 1, false);
    tags = s;
    if (*s != ' ')
        abort();
    do
        s = pair_end(s + 1, true);
    while (*s == ',');
    n = strspn(s + 1, "0123456789");
    if (*s != ' ' || n == 0 || s[1 + n] != '\n')
        abort();
    point = malloc((size_t)(tags - start) + n + 2);
    if (!point)
        abort();
    memcpy(point, start, (size_t)(tags - start));
    memcpy(point + (tags - start), s, n + 1);
    point[tags - start + (ptrdiff_t)n + 1] = '\0';
    if (str_map_get(points, point, &(uint64_t){0}) || !str_map_put(points, point, 0, NULL))
        abort();
    free(point);
    return s + n + 2;
}

/* ---- the script ---- */

/* Each key once in a row, as all tables of the viewer have it. */
static void cell(struct viewer_rows *r, uint8_t what, unsigned number, const uint8_t **at,
                 const uint8_t *end)
{
    static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};
    const char *text = (const char *)*at;
    uint64_t v = 0;
    double real;

    if (what < 2) {
        *at += strlen(text) + (*at + strlen(text) < end);
        (what == 0 ? viewer_put_text : viewer_tag_text)(r, keys[number], text);
        return;
    }
    memcpy(&v, *at, (size_t)(end - *at) < sizeof(v) ? (size_t)(end - *at) : sizeof(v));
    *at += (size_t)(end - *at) < sizeof(v) ? (size_t)(end - *at) : sizeof(v);
    memcpy(&real, &v, sizeof(real));
    switch (what) {
    case 2:
        viewer_put_uint(r, keys[number], v);
        break;
    case 3:
        viewer_put_real(r, keys[number], real);
        break;
    case 4:
        viewer_put_ns(r, keys[number], v);
        break;
    case 5:
        viewer_tag_uint(r, keys[number], v);
        break;
    case 6:
        viewer_time_ns(r, v);
        break;
    default:
        viewer_time_ps(r, v % 8);
        break;
    }
}

static void script(struct viewer_rows *r, const uint8_t *at, const uint8_t *end)
{
    viewer_table(r, "table");
    while (at < end) {
        viewer_row(r, true);
        for (unsigned n = 0; n < 8 && at < end && *at != '\n'; n++) {
            uint8_t what = *at++ % 8;

            cell(r, what, n, &at, end);
        }
        at += at < end;
        viewer_row(r, false);
    }
    viewer_table(r, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    struct out out = {0};
    const struct viewer_sink sink = {keep, &out};
    struct viewer_lines lines;
    struct str_map points = {0};

    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    bytes[size] = '\0';
    viewer_lines_init(&lines, &sink);
    script(&lines.rows, bytes, bytes + size);
    if (!viewer_lines_end(&lines))
        abort();
    for (const char *s = out.s; s && *s;)
        s = line_check(s, &points);
    if (out.s && strlen(out.s) != out.len)
        abort();
    viewer_lines_fini(&lines);
    str_map_fini(&points);
    mem_free(out.s);
    free(bytes);
    return 0;
}
