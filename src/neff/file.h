/* SPDX-License-Identifier: Apache-2.0 */
/* Files for the builder and the tools; the runtime does not use it. */
#ifndef NEFF_FILE_H
#define NEFF_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "neff/write.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A file mapped for reading. */
struct neff_map {
    const uint8_t *bytes; /* NULL when the file is empty */
    size_t size;
};
NRT_STATUS neff_file_map(const char *path, struct neff_map *ret, struct err *err);
void neff_file_unmap(struct neff_map *m);

/* Write a file beside path with fill, look at it with check (may be NULL), then rename it to path.
 * On failure nothing is left behind and an existing file stays. */
NRT_STATUS neff_file_replace(
    const char *path, NRT_STATUS (*fill)(void *arg, const struct neff_out *out, struct err *err),
    NRT_STATUS (*check)(void *arg, const char *path, struct err *err), void *arg, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
