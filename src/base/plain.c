/* SPDX-License-Identifier: Apache-2.0 */
#include "base/plain.h"

#include <string.h>

static const char digit[] = "0123456789abcdef";

void plain_init(struct plain *p, char *buf, size_t size)
{
    *p = (struct plain){.buf = buf, .size = size};
    buf[0] = '\0';
}

void plain_putn(struct plain *p, const char *s, size_t n)
{
    size_t room = p->size - 1 - p->len;

    if (n > room) {
        n = room;
        p->cut = true;
    }
    memcpy(p->buf + p->len, s, n);
    p->len += n;
    p->buf[p->len] = '\0';
}

void plain_put(struct plain *p, const char *s)
{
    plain_putn(p, s, strlen(s));
}

void plain_u64(struct plain *p, uint64_t v, unsigned digits)
{
    char text[20];
    unsigned n = 0;

    do
        text[sizeof(text) - ++n] = digit[v % 10];
    while ((v /= 10) != 0);
    while (n < digits && n < sizeof(text))
        text[sizeof(text) - ++n] = '0';
    plain_putn(p, text + sizeof(text) - n, n);
}

void plain_i64(struct plain *p, int64_t v)
{
    if (v < 0)
        plain_put(p, "-");
    plain_u64(p, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 0);
}

void plain_hex(struct plain *p, uint64_t v, unsigned digits)
{
    for (unsigned k = digits; k-- > 0;)
        plain_putn(p, &digit[v >> (4 * k) & 15], 1);
}

void plain_bytes(struct plain *p, const void *data, size_t n)
{
    const uint8_t *b = data;

    for (size_t i = 0; i < n; i++)
        plain_hex(p, b[i], 2);
}

void plain_quoted(struct plain *p, const char *s)
{
    plain_put(p, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c >= ' ' && c < 127 && c != '"' && c != '\\') {
            plain_putn(p, s, 1);
        } else {
            plain_put(p, "\\x");
            plain_hex(p, c, 2);
        }
    }
    plain_put(p, "\"");
}
