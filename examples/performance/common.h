/* SPDX-License-Identifier: Apache-2.0 */
/* What the experiments share: a call that must succeed, the clock, a median, a file. */
#ifndef EXAMPLES_PERFORMANCE_COMMON_H
#define EXAMPLES_PERFORMANCE_COMMON_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "nrt/nrt.h"

#define OK(call)                                                                  \
    do {                                                                          \
        NRT_STATUS ok_ = (call);                                                  \
        if (ok_ != NRT_SUCCESS) {                                                 \
            fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, #call, \
                    nrt_get_status_as_str(ok_));                                  \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

static inline double clock_us(clockid_t which)
{
    struct timespec t;

    clock_gettime(which, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static inline double now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

/* For qsort, of numbers. */
static inline int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The whole file; the caller frees it. One that cannot be read, or is empty, ends the program. */
static inline void *file_read(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    char *data = NULL;
    long size;

    *ret_size = 0;
    if (f && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) > 0) {
        rewind(f);
        data = malloc((size_t)size);
        *ret_size = data ? fread(data, 1, (size_t)size, f) : 0;
    }
    if (f)
        fclose(f);
    if (*ret_size == 0) {
        fprintf(stderr, "%s: cannot read %s\n", program_invocation_short_name, path);
        exit(1);
    }
    return data;
}

#endif
