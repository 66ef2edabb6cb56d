/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into a NEFF: header, members, subgraphs, variables, nodes. Nothing is executed; files
 * whose engine code is in another encoding can be inspected too. An image never changes, so any
 * number of threads may use it; what it returns lives as long as the image. */
#ifndef NEFF_INSPECT_H
#define NEFF_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "neff/build.h"
#include "neff/format.h"
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct neff_image;

/* Why a call failed. Zero-initialise; the first error stays. */
struct neff_error {
    NRT_STATUS status;
    char text[480];
};

#define NEFF_IMAGE_LENIENT    1u /* accept what docs/spec/neff.md calls lenient */
#define NEFF_IMAGE_CHECK_HASH 2u /* compare the digest of the payload with the header */

/* Read and check a NEFF: a file (mapped until closed), or memory (borrowed until closed). error
 * may be NULL. */
NEFF_API NRT_STATUS neff_image_open(const char *path, unsigned flags, struct neff_image **ret_image,
                                    struct neff_error *error);
NEFF_API NRT_STATUS neff_image_open_memory(const void *bytes, size_t size, unsigned flags,
                                           struct neff_image **ret_image, struct neff_error *error);
NEFF_API void neff_image_close(struct neff_image *image); /* NULL is fine */

/* In host byte order. */
NEFF_API const struct neff_header *neff_image_header(const struct neff_image *image);
NEFF_API const char *neff_image_name(const struct neff_image *image);
NEFF_API bool neff_image_is_gzip(const struct neff_image *image);

/* Members in archive order; NULL past the last. */
NEFF_API const char *neff_image_member(const struct neff_image *image, uint32_t index,
                                       uint64_t *ret_size);
/* Copy [off, off + size) of a member. In a gzip payload each call may unpack from the start. */
NEFF_API NRT_STATUS neff_image_member_read(const struct neff_image *image, uint32_t index,
                                           uint64_t off, void *dst, size_t size,
                                           struct neff_error *error);

struct neff_image_graph {
    const char *name;
    const char *isa_name; /* NULL: the programs are in a compiler's own encoding */
    int64_t isa_version;
    uint32_t variable_count;
    uint64_t scratchpad_bytes, constant_bytes;
    uint64_t code_bytes[NEFF_ENGINE_COUNT]; /* instruction streams, 0 without the engine */
};
/* False past the last (there are one or two). */
NEFF_API bool neff_image_graph(const struct neff_image *image, uint32_t graph,
                               struct neff_image_graph *ret);

struct neff_image_variable {
    const char *name;
    const char *type; /* "input", "file", ... */
    int64_t var_id;
    uint64_t size;
    const char *file;     /* member with the data of a file variable, else NULL */
    uint64_t scratch_off; /* of virtual variables */
};
NEFF_API bool neff_image_variable(const struct neff_image *image, uint32_t graph, uint32_t index,
                                  struct neff_image_variable *ret);

struct neff_image_node {
    const char *name;
    bool is_cpu;
    uint32_t input_count, output_count;
};
NEFF_API bool neff_image_node(const struct neff_image *image, uint32_t node,
                              struct neff_image_node *ret);

struct neff_image_tensor {
    const char *name;
    uint64_t size;
    unsigned ndim;
    const uint64_t *shape;
    const char *dtype;  /* as in the file, NULL when missing */
    const char *format; /* NULL when missing */
    bool time_series;
};
/* Inputs are 0 .. input_count - 1, the outputs follow. */
NEFF_API bool neff_image_tensor(const struct neff_image *image, uint32_t node, uint32_t index,
                                struct neff_image_tensor *ret);

#ifdef __cplusplus
}
#endif
#endif
