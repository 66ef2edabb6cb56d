/* SPDX-License-Identifier: Apache-2.0 */
#include "diag/pb.h"

#include <string.h>

#define VARINT 0u
#define LENGTH 2u

static void varint(struct strbuf *b, uint64_t v)
{
    char byte[10];
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        byte[n++] = (char)(v | 0x80);
    byte[n++] = (char)v;
    strbuf_putn(b, byte, n);
}

static void bytes(struct strbuf *b, unsigned field, const char *s, size_t n)
{
    varint(b, field << 3 | LENGTH);
    varint(b, n);
    strbuf_putn(b, s, n);
}

void pb_uint(struct strbuf *b, unsigned field, uint64_t v)
{
    varint(b, field << 3 | VARINT);
    varint(b, v);
}

void pb_text(struct strbuf *b, unsigned field, const char *text)
{
    bytes(b, field, text, strlen(text));
}

void pb_message(struct strbuf *b, unsigned field, struct strbuf *m)
{
    bytes(b, field, m->s ? m->s : "", m->len);
    b->failed = b->failed || m->failed;
    m->len = 0;
}
