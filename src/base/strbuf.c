/* SPDX-License-Identifier: Apache-2.0 */
#include "base/strbuf.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/broken.h"
#include "base/checked.h"
#include "base/mem.h"

/* Room for extra more characters and the NUL; false marks the buffer failed. */
static bool reserve(struct strbuf *b, size_t extra)
{
    size_t need, cap;
    char *s;

    if (b->failed)
        return false;
    if (size_add_over(b->len, extra, &need) || size_add_over(need, 1, &need)) {
        b->failed = true;
        return false;
    }
    if (need <= b->cap)
        return true;
    cap = b->cap > 64 ? b->cap : 64;
    while (cap < need) {
        if (size_mul_over(cap, 2, &cap)) {
            cap = need;
            break;
        }
    }
    s = mem_realloc(b->s, cap);
    if (s == NULL) {
        b->failed = true;
        return false;
    }
    b->s = s;
    b->cap = cap;
    return true;
}

void strbuf_putn(struct strbuf *b, const char *s, size_t n)
{
    if (!reserve(b, n))
        return;
    if (n > 0)
        memcpy(b->s + b->len, s, n);
    b->len += n;
    b->s[b->len] = '\0';
}

void strbuf_put(struct strbuf *b, const char *s)
{
    strbuf_putn(b, s, strlen(s));
}

void strbuf_put_json(struct strbuf *b, const char *text)
{
    strbuf_put(b, "\"");
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            strbuf_printf(b, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            strbuf_printf(b, "\\u%04x", (unsigned)*text);
        else
            strbuf_putn(b, text, 1);
    }
    strbuf_put(b, "\"");
}

void strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap)
{
    va_list ap2;
    int n;

    if (!reserve(b, 0))
        return;
    va_copy(ap2, ap);
    n = vsnprintf(b->s + b->len, b->cap - b->len, fmt, ap2);
    va_end(ap2);
    if (n < 0) {
        b->failed = true;
    } else if ((size_t)n >= b->cap - b->len) {
        if (reserve(b, (size_t)n))
            vsnprintf(b->s + b->len, b->cap - b->len, fmt, ap);
    }
    if (b->failed)
        b->s[b->len] = '\0';
    else
        b->len += (size_t)n;
}

void strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strbuf_vprintf(b, fmt, ap);
    va_end(ap);
}

void strbuf_fini(struct strbuf *b)
{
    mem_free(b->s);
    memset(b, 0, sizeof(*b));
}

void size_text(char *buf, size_t buf_size, unsigned long long bytes)
{
    static const char *const unit[] = {"B", "KB", "MB", "GB"};
    unsigned u = 0;
    double v = (double)bytes;

    while (u < 3 && v >= 1024.0 && !BROKEN(MEM)) {
        v /= 1024.0;
        u++;
    }
    snprintf(buf, buf_size, "%.3f%s", v, unit[u]);
}

size_t utf8_size(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;

    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}
