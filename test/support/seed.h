/* SPDX-License-Identifier: Apache-2.0 */
/* The seed of a random test: OPENNRT_SEED, decimal or 0x and hexadecimal, at most 64 bits; without
 * it what the test gives, or a new one. It is printed as it repeats what was drawn. A value that is
 * no such number ends the program: a test that ran with another seed than the wanted one shows
 * nothing. seed.py is the same for tests in Python. */
#ifndef TEST_SUPPORT_SEED_H
#define TEST_SUPPORT_SEED_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "draw.h"

static inline uint64_t seed_parse(const char *text)
{
    int base = text[0] == '0' && (text[1] | 32) == 'x' ? 16 : 10;
    const char *digits = text + (base == 16 ? 2 : 0),
               *allowed = base == 16 ? "0123456789abcdefABCDEF" : "0123456789";
    size_t n = strspn(digits, allowed);
    uint64_t seed;

    errno = 0;
    seed = strtoull(digits, NULL, base);
    if (n == 0 || digits[n] != 0 || errno != 0) {
        fprintf(stderr, "OPENNRT_SEED is \"%s\", which is no number of 64 bits\n", text);
        exit(2);
    }
    return seed;
}

static inline uint64_t seed_take(uint64_t otherwise)
{
    const char *text = getenv("OPENNRT_SEED");
    uint64_t seed = text ? seed_parse(text) : otherwise;

    printf("OPENNRT_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

/* Or another each time, of 32 bits. */
static inline uint64_t seed_take_new(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return seed_take(draw_mix((uint64_t)now.tv_sec * 1000000007 + (uint64_t)now.tv_nsec +
                              ((uint64_t)getpid() << 40)) >>
                     32);
}

#endif
