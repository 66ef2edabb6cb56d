/* SPDX-License-Identifier: Apache-2.0 */
/* Small NEFFs for tests of the whole library, made with the builder and records of the isa. */
#ifndef TEST_SYSTEM_NEFFS_H
#define TEST_SYSTEM_NEFFS_H

#include <stddef.h>
#include <stdint.h>

#include "isa/isa.h"
#include "neff/build.h"

/* A program of one engine under construction. */
struct prog {
    struct isa_record rec[64];
    unsigned n;
    enum isa_engine engine;
};
void prog_init(struct prog *p, enum isa_engine engine);
struct isa_record *prog_op(struct prog *p, unsigned opcode);
void prog_wait(struct prog *p, unsigned sem, int32_t value); /* of the last record: sem >= value */
void prog_trigger(struct prog *p, int32_t id);
void prog_done(struct prog *p, struct neff_build *b, int graph); /* END, and into the NEFF */
struct isa_tensor prog_tile(unsigned mem, enum dtype t, unsigned part, unsigned nparts,
                            uint32_t offset, unsigned n);

struct bytes {
    void *data;
    size_t size;
};
/* Writes and destroys the builder; ends the test with the builder's reason when it fails. */
struct bytes neff_finish(struct neff_build *b, const struct neff_build_options *opt);
void neff_free(struct bytes *f);

/* One input "a" and one output "c" of n bytes, nothing runs. */
struct bytes neff_nothing(uint64_t n);
/* c = a + b, n floats, by one DMA; "a", "b" -> "c". */
struct bytes neff_add(uint64_t n);
/* c = a, n bytes; of c only the first half is written when half. */
struct bytes neff_copy(uint64_t n, bool half);
/* c = the first word of every step bytes of a constant of size bytes; a plain tar, whose member
 * sg00/w.raw has but one block of it. */
struct bytes neff_marks(uint64_t size, uint64_t step);
/* c = the sum of the a of all ranks, n floats. */
struct bytes neff_all_reduce(unsigned ranks, uint64_t n);
/* The engine waits for semaphore 9, which nothing raises. */
struct bytes neff_hang(void);
/* A loop without end. */
struct bytes neff_endless(void);
/* A loop without end of transfers of 4 bytes from "a" to "c", each waited for. */
struct bytes neff_endless_dma(void);
/* Reads an element of "a" (8 int32) whose index is the value of "i" (1 int32), to "c" (1 int32). */
struct bytes neff_index(void);
/* c = a, n floats rounded to bfloat16 by DMA. */
struct bytes neff_cast(uint64_t n);
/* c (4 bytes) is copied from on-chip memory that nobody wrote. */
struct bytes neff_unwritten(void);
/* Shows a tile of "a" (parts rows of n elements of t) on POOL, with this label. */
struct bytes neff_print(const char *label, enum dtype t, unsigned parts, unsigned n);
/* c[0] = a[0] * b[0] on DVE (1 float each). */
struct bytes neff_multiply(void);
/* "x" -> CPU double_it -> core adds "k" -> CPU negate_it -> "y"; n floats. library: bytes of the
 * shared object with the functions. */
struct bytes neff_graph(uint64_t n, const char *first, const char *last, const void *library,
                        size_t library_size);

#endif
