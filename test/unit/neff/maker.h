/* SPDX-License-Identifier: Apache-2.0 */
/* NEFFs for the reader's tests, made without the project's writer: members as text, a tar written
 * byte by byte, the header written byte by byte. Everything aborts on failure. */
#ifndef TEST_NEFF_MAKER_H
#define TEST_NEFF_MAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "neff/neff.h"

struct maker_member {
    char *name;
    uint8_t *data;
    size_t size;
    char type; /* tar type flag, '0' by default */
};

struct maker {
    struct maker_member members[64];
    size_t count;
    uint8_t header[NEFF_HEADER_SIZE];
    bool gzip;
    bool keep_data_size; /* data_size was set by hand */
    bool keep_hash;
};

/* The complete example of docs/spec/neff.md section 11: c = a + b, one subgraph. */
void maker_example(struct maker *m);
/* The smallest NEFF that loads: one engine, no variable. */
void maker_small(struct maker *m);
/* The example twice: sg00 and sg01, LNC 2. */
void maker_two_cores(struct maker *m);
void maker_fini(struct maker *m);

void maker_put(struct maker *m, const char *name, const void *data,
               size_t size); /* add or replace */
void maker_text(struct maker *m, const char *name, const char *text);
void maker_remove(struct maker *m, const char *name);
struct maker_member *maker_find(struct maker *m, const char *name);
/* The text of a member with the only occurrence of `from` replaced by `to`. */
void maker_edit(struct maker *m, const char *name, const char *from, const char *to);
void maker_set_u64(struct maker *m, size_t off, uint64_t v);
void maker_set_u32(struct maker *m, size_t off, uint32_t v);
/* A version 1 .npy file of n float32 zeros. */
void maker_npy(struct maker *m, const char *name, size_t n, const char *header_override);

/* The file; free() it. Hash and data_size are filled in unless kept. */
uint8_t *maker_write(struct maker *m, size_t *ret_size);
uint8_t *maker_tar(const struct maker *m, size_t *ret_size);

#endif
