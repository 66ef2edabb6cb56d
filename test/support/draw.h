/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers drawn from a seed, the same everywhere: splitmix64. As a hash, for what several processes
 * draw apart from each other, and as a sequence. */
#ifndef TEST_SUPPORT_DRAW_H
#define TEST_SUPPORT_DRAW_H

#include <stdint.h>

static inline uint64_t draw_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* The next of the sequence that *state stands in. */
static inline uint64_t draw_next(uint64_t *state)
{
    uint64_t x = *state;

    *state += UINT64_C(0x9e3779b97f4a7c15);
    return draw_mix(x);
}

#endif
