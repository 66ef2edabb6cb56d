/* SPDX-License-Identifier: Apache-2.0 */
/* Further functions of the Neuron Runtime's API. Names and layouts are those of the header
 * nrt/nrt_experimental.h of the AWS Neuron SDK; docs/spec/api.md section 7. The rules on states,
 * handles, arguments and threads at the head of nrt/nrt.h hold here too. */
#ifndef NRT_NRT_EXPERIMENTAL_H
#define NRT_NRT_EXPERIMENTAL_H

#include <stddef.h>
#include <stdint.h>

#include "nrt/nrt.h"
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum nrt_tensor_usage {
    NRT_TENSOR_USAGE_INPUT = 0,
    NRT_TENSOR_USAGE_OUTPUT = 1,
} nrt_tensor_usage_t;

#define NRT_TENSOR_NAME_MAX 256

typedef struct nrt_tensor_info {
    char name[NRT_TENSOR_NAME_MAX]; /* NUL-terminated, longer names are cut */
    nrt_tensor_usage_t usage;
    size_t size;       /* bytes */
    nrt_dtype_t dtype; /* UNKNOWN when the NEFF does not say; 8-bit floats are reported as INT8 */
    uint32_t *shape;   /* ndim entries; a tensor of rank 0 has the one entry 1 */
    uint32_t ndim;
} nrt_tensor_info_t;

typedef struct nrt_tensor_info_array {
    uint64_t tensor_count;
    nrt_tensor_info_t tensor_array[];
} nrt_tensor_info_array_t;

/* One image of microcode. */
typedef struct nrt_ucode_img {
    uint8_t *bin;
    size_t size;
} nrt_ucode_img;

typedef struct nrt_ucode_info {
    nrt_ucode_img iram;
    nrt_ucode_img dram;
} nrt_ucode_info;

/* Grows at its end only. */
typedef struct nrt_model_info {
    uint32_t vnc; /* the model's (first) core */
} nrt_model_info_t;

/* The model's inputs, then its outputs, in the NEFF's order. Owned by the caller until
 * nrt_free_model_tensor_info; independent of the model afterwards. */
NRT_STATUS nrt_get_model_tensor_info(nrt_model_t *model, nrt_tensor_info_array_t **tensor_info);

/* Free the array and its shapes. Any state. */
NRT_STATUS nrt_free_model_tensor_info(nrt_tensor_info_array_t *tensor_info);

/* Replicas of the model that are staged, at least 1. Deprecated. */
NRT_STATUS nrt_get_model_instance_count(nrt_model_t *model, uint32_t *instance_count);

/* Write the first min(info_size_in, sizeof(*info)) bytes and that number to *info_size_out.
 * NRT_INVALID: info_size_in is 0. */
NRT_STATUS nrt_get_model_info(const nrt_model_t *model, nrt_model_info_t *info, size_t info_size_in,
                              size_t *info_size_out);

/* Images for the pooling engine, used by the next nrt_init; a software device needs none and
 * ignores what is in them. Only before nrt_init: NRT_FAILURE after it. NRT_INVALID: an image
 * without bytes. */
NRT_STATUS nrt_set_pool_eng_ucode(const nrt_ucode_info *ucode_info);

/* Wait until all ranks of the core's global communicator have come here. It is made with these
 * numbers if there is none; errors of nrt_build_global_comm, and NRT_FAILURE: a rank has died. */
NRT_STATUS nrt_barrier(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count);

/* Give rank_input_size bytes of host memory, the same number on every rank, and get those of all
 * ranks in their order: output has room for g_device_count times that. Errors of nrt_barrier;
 * NRT_INVALID also: the ranks' sizes differ. */
NRT_STATUS nrt_all_gather(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count,
                          uint32_t rank_input_size, void *input, void *output);

/* The plug-in through which a collectives library would reach the network; there is none here,
 * since the library has its own transport: NULL, with *err 0 and an empty text (NULL pointers and
 * no room are fine). Any state. */
void *nrt_get_libnccl_net(int *err, char *err_msg, size_t err_msg_size);

/* The implicit asynchronous mode, which is deprecated, is on when the variable
 * NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS has a value above 0 at nrt_init, which then warns.
 * nrt_execute checks its arguments, leaves the execution to a thread of the model's core, and
 * returns; NRT_QUEUE_FULL: that many (at most 63) executions of the core are not complete;
 * NRT_EXEC_UNIT_UNRECOVERABLE: an earlier one ended in a timeout or a fault of the device. Reading,
 * writing, setting and copying a tensor waits for the queued executions that use it, freeing it
 * and unloading a model, too.
 *
 * The callback is called for each of these executions when it is complete, in their order on each
 * core, by a thread of the core, which carries out the next one afterwards. job_id counts the
 * executions of a core up, from 1. A callback may make any call; one that would have to wait for an
 * execution is refused with NRT_INVALID (freeing does nothing, then). */
typedef void (*NRT_ASYNC_EXEC_STATUS_CALLBACK)(void *params, uint32_t model_id, uint32_t vnc,
                                               uint64_t job_id, NRT_STATUS status);

/* Call this from now on in place of the one before, which may still be under way; NULL: the
 * default, which logs failures. Any state; it outlives sessions. */
NRT_STATUS nrt_register_async_exec_callback(NRT_ASYNC_EXEC_STATUS_CALLBACK callback, void *params);

/* Wait until the executions are complete that core vnc (-1: each core) has queued, and their
 * callbacks have returned. NRT_INVALID: not a core of this process, or called from a callback. */
NRT_STATUS nrt_async_drain_queued_execs(int32_t vnc);

/* Capture the events of all cores of the process (nrt/nrt_sys_trace.h), with the copies between
 * host and device memory if trace_mem. NRT_FAILURE: a capture runs already; NRT_RESOURCE. */
NRT_STATUS nrt_trace_start(bool trace_mem);

/* End that capture and write its events to a file, in the form of nrt_sys_trace_fetch_events; what
 * was there is replaced. NRT_FAILURE: no capture of nrt_trace_start runs. When the file cannot be
 * written (NRT_FAILURE) or made (NRT_INVALID), or memory is out (NRT_RESOURCE), the capture goes on
 * with all of its events. */
NRT_STATUS nrt_trace_stop(const char *filename);

/* Copy to device memory mapped into this process (nrt_tensor_get_va, nrt_get_hbm_mmap_va). size 0:
 * nothing. NRT_INVALID: [dest, dest + size) is not in one such mapping. */
NRT_STATUS nrt_memcpy_to_device(void *dest, const void *src, size_t size);

#ifdef __cplusplus
}
#endif
#endif
