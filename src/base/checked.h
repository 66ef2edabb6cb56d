/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic on numbers from outside. Every function returns true on overflow and then leaves
 * *ret_r unspecified. */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool u64_add_over(uint64_t a, uint64_t b, uint64_t *ret_r)
{
    return __builtin_add_overflow(a, b, ret_r);
}

static inline bool u64_mul_over(uint64_t a, uint64_t b, uint64_t *ret_r)
{
    return __builtin_mul_overflow(a, b, ret_r);
}

static inline bool i64_add_over(int64_t a, int64_t b, int64_t *ret_r)
{
    return __builtin_add_overflow(a, b, ret_r);
}

static inline bool i64_mul_over(int64_t a, int64_t b, int64_t *ret_r)
{
    return __builtin_mul_overflow(a, b, ret_r);
}

static inline bool size_add_over(size_t a, size_t b, size_t *ret_r)
{
    return __builtin_add_overflow(a, b, ret_r);
}

static inline bool size_mul_over(size_t a, size_t b, size_t *ret_r)
{
    return __builtin_mul_overflow(a, b, ret_r);
}

/* Whether [off, off + size) lies inside [0, total). */
static inline bool range_ok(uint64_t off, uint64_t size, uint64_t total)
{
    return off <= total && size <= total - off;
}

/* Whether [a, a + a_size) and [b, b + b_size), which do not wrap, have a byte in common. */
static inline bool ranges_meet(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

static inline bool is_pow2_u64(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

/* Round v up to a multiple of align, a power of two; true on overflow. */
static inline bool u64_align_up_over(uint64_t v, uint64_t align, uint64_t *ret_r)
{
    uint64_t t;

    if (__builtin_add_overflow(v, align - 1, &t))
        return true;
    *ret_r = t & ~(align - 1);
    return false;
}

#endif
