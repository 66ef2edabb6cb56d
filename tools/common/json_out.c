/* SPDX-License-Identifier: Apache-2.0 */
#include "common/json_out.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void line(struct json_out *j)
{
    if (j->indent)
        strbuf_printf(&j->out, "\n%*s", (int)(j->indent * j->depth), "");
}

static void escaped(struct strbuf *b, const char *text)
{
    strbuf_put(b, "\"");
    while (*text) {
        unsigned char c = (unsigned char)*text;
        size_t n = utf8_size(text);

        if (n == 0) {
            strbuf_put(b, "?");
            text++;
            continue;
        }
        if (c == '"' || c == '\\')
            strbuf_printf(b, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            strbuf_printf(b, "\\u%04x", c);
        else
            strbuf_putn(b, text, n);
        text += n;
    }
    strbuf_put(b, "\"");
}

/* Everything in front of a value. */
static void begin(struct json_out *j, const char *key)
{
    if (j->depth > 0) {
        if (j->some[j->depth - 1])
            strbuf_put(&j->out, j->indent ? "," : ", ");
        j->some[j->depth - 1] = true;
        line(j);
    }
    if (key) {
        escaped(&j->out, key);
        strbuf_put(&j->out, ": ");
    }
}

void json_out_open(struct json_out *j, const char *key, char bracket)
{
    begin(j, key);
    strbuf_putn(&j->out, &bracket, 1);
    if (j->depth >= JSON_OUT_DEPTH) {
        j->out.failed = true;
        return;
    }
    j->some[j->depth++] = false;
}

void json_out_close(struct json_out *j, char bracket)
{
    if (j->depth > 0 && j->some[--j->depth])
        line(j);
    strbuf_putn(&j->out, &bracket, 1);
}

void json_out_text(struct json_out *j, const char *key, const char *text)
{
    begin(j, key);
    escaped(&j->out, text);
}

void json_out_uint(struct json_out *j, const char *key, uint64_t v)
{
    begin(j, key);
    strbuf_printf(&j->out, "%" PRIu64, v);
}

void json_out_int(struct json_out *j, const char *key, int64_t v)
{
    begin(j, key);
    strbuf_printf(&j->out, "%" PRId64, v);
}

void json_out_bool(struct json_out *j, const char *key, bool v)
{
    begin(j, key);
    strbuf_put(&j->out, v ? "true" : "false");
}

void json_out_thousandths(struct json_out *j, const char *key, uint64_t v)
{
    begin(j, key);
    strbuf_printf(&j->out, "%" PRIu64 ".%03u", v / 1000, (unsigned)(v % 1000));
}

void json_out_real(struct json_out *j, const char *key, double v)
{
    begin(j, key);
    if (isfinite(v))
        strbuf_printf(&j->out, "%.9g", v);
    else
        strbuf_put(&j->out, "null");
}

void json_out_null(struct json_out *j, const char *key)
{
    begin(j, key);
    strbuf_put(&j->out, "null");
}
