/* SPDX-License-Identifier: Apache-2.0 */
/* Array headers: whatever parses must describe itself consistently, and if we can write its type,
 * the header that we write for it must parse to the same description. */
#include <stdint.h>
#include <stdlib.h>

#include "base/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct npy_desc d, again;
    struct err err = {.status = NRT_SUCCESS};
    struct strbuf out = {.s = NULL};

    if (npy_parse(data, size, &d, &err) != NRT_SUCCESS) {
        if (err.status != NRT_INVALID || err.text[0] == '\0')
            abort();
        return 0;
    }
    if (d.data_off > size || d.ndim > NPY_MAX_DIMS)
        abort();
    if (d.dtype == DT_INVALID)
        return 0;
    if (dtype_size(d.dtype) != d.elem_size)
        abort();
    if (!npy_write_header(&out, d.dtype, d.ndim, d.shape) ||
        npy_parse(out.s, out.len, &again, &err) != NRT_SUCCESS)
        abort();
    if (again.dtype != d.dtype || again.ndim != d.ndim || again.data_bytes != d.data_bytes ||
        again.data_off != out.len)
        abort();
    strbuf_fini(&out);
    return 0;
}
