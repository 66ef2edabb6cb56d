/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the container: members or a finished payload to header plus payload. Pure: bytes go to a
 * sink, member data come from memory or from a callback. */
#ifndef NEFF_WRITE_H
#define NEFF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "neff/format.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where bytes go: consecutive calls, except that the header comes last, at off 0. */
struct neff_out {
    NRT_STATUS (*write)(void *arg, uint64_t off, const void *data, size_t size, struct err *err);
    void *arg;
};

/* A member: size bytes at data, or pulled with read when data is NULL. */
struct neff_source {
    const char *name;
    uint64_t size;
    const void *data;
    NRT_STATUS (*read)(void *arg, uint64_t off, void *dst, size_t size, struct err *err);
    void *arg;
};

#define NEFF_PLAIN 0 /* level: plain tar */

/* Write header and a tar of the members, plain (level NEFF_PLAIN) or gzip (1..9). data_size and
 * hash of *h are filled in; everything else stays as given. Equal input gives equal bytes. */
NRT_STATUS neff_write_members(struct neff_header *h, const struct neff_source *sources,
                              size_t count, int level, const struct neff_out *out, struct err *err);
/* The same around a payload that is finished already. */
NRT_STATUS neff_write_payload(struct neff_header *h, const void *payload, size_t size,
                              const struct neff_out *out, struct err *err);
/* The header as it stands in the file: NEFF_HEADER_SIZE bytes. */
void neff_header_put(const struct neff_header *h, uint8_t *ret_bytes);

struct neff;
/* The same NEFF with its payload as a plain tar, bytes of the tar unchanged. */
NRT_STATUS neff_write_plain(const struct neff *neff, const struct neff_out *out, struct err *err);
/* neuron-packager optimize: the constants of a subgraph merged into one member, "weights.dat", that
 * def.json points into; debug_info/ left out unless kept; payload a plain tar. neff must be a plain
 * tar itself (neff_write_plain). Feature bit bin-weights is set. */
NRT_STATUS neff_write_optimized(const struct neff *neff, bool keep_debug,
                                const struct neff_out *out, struct err *err);
/* Random version 4. */
NRT_STATUS neff_uuid_random(uint8_t uuid[NEFF_UUID_SIZE], struct err *err);

/* A neff_out that collects in memory. Zero-initialise; free bytes with mem_free. */
struct neff_memory {
    uint8_t *bytes;
    size_t size, cap;
};
NRT_STATUS neff_memory_write(void *arg, uint64_t off, const void *data, size_t size,
                             struct err *err);

#ifdef __cplusplus
}
#endif
#endif
