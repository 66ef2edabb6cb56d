/* SPDX-License-Identifier: Apache-2.0 */
/* Random values for the kernel tests; seed.h. */
#ifndef TEST_KERNEL_COMMON_H
#define TEST_KERNEL_COMMON_H

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kernel_int.h"
#include "seed.h"

static uint64_t rng_state;

static void seed_from_env(void)
{
    rng_state = seed_take_new() * 2 + 1;
}

static inline uint32_t rnd(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (uint32_t)(rng_state >> 16);
}

static inline uint32_t below(uint32_t n)
{
    return rnd() % n;
}

static inline float f_of(uint32_t bits)
{
    float v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static inline uint32_t bits_of(float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof(u));
    return u;
}

/* Any fp32: edges of every narrower type, random bits, plain numbers, halves. */
static inline float any_f32(void)
{
    static const float edges[] = {
        0.0f,          -0.0f,       1.0f,        -1.0f,       0.5f,       INFINITY,  -INFINITY,
        NAN,           FLT_MAX,     -FLT_MAX,    0x1p-149f,   -0x1p-126f, 0x1p-133f, 65504.0f,
        65520.0f,      0x1p-24f,    0x1p-25f,    57344.0f,    61440.0f,   240.0f,    248.0f,
        448.0f,        464.0f,      15.5f,       15.75f,      127.5f,     -128.5f,   255.5f,
        256.0f,        32767.5f,    65535.5f,    0x1p31f,     -0x1p31f,   0x1p32f,   2147483520.0f,
        4294967040.0f, 16777217.0f, 0x1.fep127f, 0x1.ffp127f, -0.5f};
    uint32_t r = below(8);

    if (r == 0)
        return edges[below(sizeof(edges) / sizeof(edges[0]))];
    if (r <= 2)
        return f_of(rnd());
    if (r == 3)
        return (float)((int32_t)below(2000) - 1000) / 2;
    if (r == 4) /* around the smallest values of the 8- and 16-bit floats */
        return ldexpf((float)((int32_t)rnd() / 256), -23 - (int)below(40));
    return (float)(int32_t)rnd() / 0x1p29f;
}

#endif
