/* SPDX-License-Identifier: Apache-2.0 */
/* Our side of the benchmarks: everything through the public libnrt API. */
#ifndef BENCH_OURS_H
#define BENCH_OURS_H

#include <stdint.h>

#include "bench.h"
#include "nrt/nrt.h"

/* (Re-)initialise the runtime with so many host threads; exits when it fails. */
void ours_open(int host_threads);

/* Tensor calls on a DEVICE tensor of `bytes`, touched before. */
struct bench_side ours_copy(bool write, size_t bytes);
/* Allocate, write all, free. */
struct bench_side ours_allocate(size_t bytes);

/* A program in the text form, with one -D style definition per pair (NULL-terminated), loaded on
 * core 0, its inputs and outputs allocated there. check, if given, sees the output after one run and
 * says whether it is right. run executes it n times. */
struct ours_program {
    const char *text;
    const char *const *defines;
    bool (*fill)(const char *input, void *buf, size_t size); /* NULL: small floats */
    bool (*check)(const char *output, const void *buf, size_t size);
};
struct bench_side ours_program(const struct ours_program *p);

#endif
