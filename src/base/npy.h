/* SPDX-License-Identifier: Apache-2.0 */
/* .npy files, versions 1 to 3: bytes in, description out. Untrusted input. */
#ifndef BASE_NPY_H
#define BASE_NPY_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/dtype.h"
#include "base/strbuf.h"

#define NPY_MAX_DIMS 32

struct npy_desc {
    enum dtype
        dtype; /* DT_INVALID when the descr is legal but has no dtype of ours (f8, V2, ...) */
    size_t elem_size; /* bytes per element, from descr */
    bool fortran_order;
    unsigned ndim;
    uint64_t shape[NPY_MAX_DIMS];
    size_t data_off;     /* first byte of the array data */
    uint64_t data_bytes; /* product of shape times elem_size, overflow-checked */
};

/* Parse the header at the start of bytes [0, size). The data need not be inside [0, size); the
 * caller compares data_off + data_bytes with what it has. */
NRT_STATUS npy_parse(const void *bytes, size_t size, struct npy_desc *ret, struct err *err);
/* Whether elements of type t stand in such an array: it has NumPy's type for t, or NumPy has none
 * and the elements are as long. */
bool npy_holds(const struct npy_desc *d, enum dtype t);
/* Append a version 1 header for a C-order array; false when memory is out or dtype has no descr
 * (bfloat16 and fp8 are written as '<V2' and '|V1', as ml_dtypes saves them). */
bool npy_write_header(struct strbuf *out, enum dtype t, unsigned ndim, const uint64_t *shape);

#endif
