/* SPDX-License-Identifier: Apache-2.0 */
/* A growing text. Zero-initialise; after a failed allocation `failed` stays set and further calls
 * do nothing, so a caller checks once at the end. */
#ifndef BASE_STRBUF_H
#define BASE_STRBUF_H

#include <stddef.h>
#include <stdarg.h>
#include <stdbool.h>

struct strbuf {
    char *s; /* NUL-terminated when not NULL */
    size_t len, cap;
    bool failed;
};
void strbuf_put(struct strbuf *b, const char *s);
void strbuf_putn(struct strbuf *b, const char *s, size_t n);
/* text, in UTF-8, as a string of JSON: in quotes, with escapes. */
void strbuf_put_json(struct strbuf *b, const char *text);
void strbuf_printf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
void strbuf_fini(struct strbuf *b);

/* Bytes of the UTF-8 character at text; 0 when it is none (overlong forms and surrogates too). */
size_t utf8_size(const char *text);

/* Sizes as in the reports: three decimals, B KB MB GB with base 1024, no blank ("30.562KB"). */
void size_text(char *buf, size_t buf_size, unsigned long long bytes);

#endif
