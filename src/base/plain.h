/* SPDX-License-Identifier: Apache-2.0 */
/* Text in a buffer of the caller's, without memory, locale or lock: what a core dump is written
 * with, in a signal handler too. What does not fit is cut off and `cut` stays set. */
#ifndef BASE_PLAIN_H
#define BASE_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct plain {
    char *buf; /* NUL-terminated at len */
    size_t size, len;
    bool cut;
};

/* size > 0. */
void plain_init(struct plain *p, char *buf, size_t size);
void plain_put(struct plain *p, const char *s);
void plain_putn(struct plain *p, const char *s, size_t n);
/* Decimal, with leading zeros up to `digits` (at most 20). */
void plain_u64(struct plain *p, uint64_t v, unsigned digits);
void plain_i64(struct plain *p, int64_t v);
/* Hexadecimal in lower case, the last `digits` (at most 16). */
void plain_hex(struct plain *p, uint64_t v, unsigned digits);
/* The bytes as pairs of hexadecimal digits. */
void plain_bytes(struct plain *p, const void *data, size_t n);
/* In double quotes; control characters, quotes, backslashes and bytes above 126 become \xNN. */
void plain_quoted(struct plain *p, const char *s);

#endif
