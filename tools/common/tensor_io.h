/* SPDX-License-Identifier: Apache-2.0 */
/* Files and tensors: a file's bytes, what of them goes into an input, an output as a file. Failures
 * are told on the standard error, after the tool's name. */
#ifndef TOOLS_COMMON_TENSOR_IO_H
#define TOOLS_COMMON_TENSOR_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"

struct tool_file {
    const uint8_t *bytes;
    size_t size; /* never 0 */
};

bool tool_file_map(const char *tool, const char *path, struct tool_file *ret);
void tool_file_unmap(struct tool_file *f);

/* The array of an .npy file, which must have the input's type and shape (sizes of 1 aside), or all
 * of any other, which must be as long. */
bool tool_tensor_fill(const char *tool, const nrt_tensor_info_t *info, nrt_tensor_t *tensor,
                      const char *path);

/* The element type in files: bytes where the NEFF has none. */
enum dtype tool_tensor_dtype(const nrt_tensor_info_t *info);

/* Before anything is executed: whether tool_tensor_save, called with each of the suffixes for each
 * output, would write no two outputs to one file; else it is told which. suffixes end with NULL. */
bool tool_outputs_apart(const char *tool, const nrt_tensor_info_array_t *infos,
                        const char *const *suffixes);

/* Writes <dir>/<name><suffix>: data, info->size bytes, after a header of NumPy where npy says so; a
 * slash in the name becomes '_'. ret_path, of path_size bytes, gets the file's path. */
bool tool_tensor_save(const char *tool, const char *dir, const char *suffix, bool npy,
                      const nrt_tensor_info_t *info, const uint8_t *data, char *ret_path,
                      size_t path_size);

#endif
