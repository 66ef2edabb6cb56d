/* SPDX-License-Identifier: Apache-2.0 */
/* One transfer of a batch call, in the layout that runtime and driver share. Names and layout are
 * those of the header of the same name of the AWS Neuron SDK; docs/spec/api.md section 4.2. */
#ifndef NDL_NEURON_DRIVER_SHARED_TENSOR_BATCH_OP_H
#define NDL_NEURON_DRIVER_SHARED_TENSOR_BATCH_OP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uint64_t nrt_tensor_batch_offset_t;
typedef uint64_t nrt_tensor_batch_size_t;

/* Move size bytes between the caller's buffer and the tensor at offset. */
typedef struct nrt_tensor_batch_op {
    nrt_tensor_batch_offset_t offset; /* bytes from the start of the tensor */
    nrt_tensor_batch_size_t size;     /* bytes */
    void *buffer;                     /* borrowed for the duration of the call */
} nrt_tensor_batch_op_t;

#ifdef __cplusplus
}
#endif
#endif
