/* SPDX-License-Identifier: Apache-2.0 */
/* The Neuron Runtime's API: initialisation, models, tensors, execution. Names, values and layouts
 * are those of the header nrt/nrt.h of the AWS Neuron SDK; what each call does is in
 * docs/spec/api.md section 4, and here in short.
 *
 * States. Calls need a runtime that nrt_init has made ready, unless they say "any state"; others
 * give NRT_UNINITIALIZED before the first nrt_init (and in the child of a fork) and NRT_CLOSED
 * after nrt_close. Functions that return a pointer, a size or nothing give NULL, 0 or do nothing
 * then.
 *
 * Handles. A model, tensor or set that the library did not return, or that was freed, or that
 * belongs to a session ended by nrt_close, is refused with NRT_INVALID_HANDLE and never
 * dereferenced.
 *
 * Arguments. A required pointer that is NULL gives NRT_INVALID. Outputs are written on success
 * only. Texts marked optional may be NULL. A call that fails logs one line at level ERROR.
 *
 * Threads. Any call may be made from any thread. Calls on different objects may run together; calls
 * on one tensor or one set must be ordered by the caller when one of them changes it. nrt_execute,
 * nrt_load and nrt_unload may run together on anything. nrt_init and nrt_close run alone.
 *
 * A "vnc" is a logical NeuronCore, counted from the first core the process owns. Sizes and offsets
 * are bytes. */
#ifndef NRT_NRT_H
#define NRT_NRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ndl/neuron_driver_shared_tensor_batch_op.h"
#include "nrt/nrt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NRT_MAJOR_VERSION 2
#define NRT_MINOR_VERSION 0

typedef struct nrt_model nrt_model_t;
typedef struct nrt_tensor nrt_tensor_t;
typedef struct nrt_cc_context nrt_cc_context_t;
typedef void nrt_tensor_set_t; /* named tensors */

/* Where a tensor's bytes live. */
typedef enum {
    NRT_TENSOR_PLACEMENT_DEVICE = 0,  /* HBM of a logical core */
    NRT_TENSOR_PLACEMENT_HOST = 1,    /* host memory a device could read directly; at most 4 MiB */
    NRT_TENSOR_PLACEMENT_VIRTUAL = 2, /* plain host memory */
} nrt_tensor_placement_t;

typedef enum {
    NRT_FRAMEWORK_TYPE_INVALID = 0,
    NRT_FRAMEWORK_TYPE_NO_FW = 1, /* an application without a framework */
    NRT_FRAMEWORK_TYPE_TENSORFLOW = 2,
    NRT_FRAMEWORK_TYPE_PYTORCH = 3,
    NRT_FRAMEWORK_TYPE_MXNET = 4,
    NRT_FRAMEWORK_TYPE_PRECHECK = 5,
} nrt_framework_type_t;

/* Values of nrt_instance_info_t.family. */
enum {
    NRT_INSTANCE_UNKNOWN = 0,
    NRT_INSTANCE_INF1 = 1,
    NRT_INSTANCE_TRN1 = 2,
    NRT_INSTANCE_TRN1N = 3,
    NRT_INSTANCE_INF2 = 4,
    NRT_INSTANCE_TRN2 = 5,
    NRT_INSTANCE_TRN2N = 6,
    NRT_INSTANCE_INF2E = 7,
    NRT_INSTANCE_TRN2P = 8,
    NRT_INSTANCE_TRN2U = 9,
    NRT_INSTANCE_TRN2E = 10,
    NRT_INSTANCE_TRN2EU = 11,
    NRT_INSTANCE_TRN2AC = 12,
    NRT_INSTANCE_TRN2UAC = 13,
    NRT_INSTANCE_TRN3 = 14,
    NRT_INSTANCE_TRN3PDS98 = 15,
};

/* Values of nrt_instance_info_t.size. UNKNOWN moves when sizes are appended. */
enum {
    NRT_INSTANCE_SIZE_1XL = 0,
    NRT_INSTANCE_SIZE_2XL = 1,
    NRT_INSTANCE_SIZE_4XL = 2,
    NRT_INSTANCE_SIZE_6XL = 3,
    NRT_INSTANCE_SIZE_8XL = 4,
    NRT_INSTANCE_SIZE_24XL = 5,
    NRT_INSTANCE_SIZE_32XL = 6,
    NRT_INSTANCE_SIZE_48XL = 7,
    NRT_INSTANCE_SIZE_3XL = 8,
    NRT_INSTANCE_SIZE_UNKNOWN = 9,
    NRT_INSTANCE_SIZE_NUM = NRT_INSTANCE_SIZE_UNKNOWN,
};

/* Reductions. */
typedef enum nrt_op_type {
    NRT_OP_ADD = 0x0,
    NRT_OP_FMA = 0x1,
    NRT_OP_MAX = 0x2,
    NRT_OP_MIN = 0x3,
    NRT_OP_INVALID = 0xF,
} nrt_op_type_t;

/* Element types. */
typedef enum nrt_dtype {
    NRT_DTYPE_UNKNOWN = 0x0,
    NRT_DTYPE_INVALID = 0x0,
    NRT_DTYPE_UINT64 = 0x1,
    NRT_DTYPE_INT8 = 0x2,
    NRT_DTYPE_UINT8 = 0x3,
    NRT_DTYPE_INT16 = 0x4,
    NRT_DTYPE_UINT16 = 0x5,
    NRT_DTYPE_BFLOAT16 = 0x6,
    NRT_DTYPE_FLOAT16 = 0x7,
    NRT_DTYPE_INT32 = 0x8,
    NRT_DTYPE_UINT32 = 0x9,
    NRT_DTYPE_FLOAT32 = 0xA,
    NRT_DTYPE_FP32R = 0xB, /* 4 bytes, reduced-precision matmul operand */
    NRT_DTYPE_INT64 = 0xC,
    NRT_DTYPE_FP8_E3 = 0xD,
    NRT_DTYPE_FP8_E4 = 0xE,
    NRT_DTYPE_FP8_E5 = 0xF,
} nrt_dtype_t;

/* Collective operations. */
typedef enum nrt_cc_op_type {
    NRT_CC_ALLGATHER = 0,
    NRT_CC_ALLREDUCE = 1,
    NRT_CC_REDUCESCATTER = 2,
} nrt_cc_op_type_t;

typedef struct nrt_instance_info {
    uint32_t family; /* NRT_INSTANCE_* */
    uint32_t size;   /* NRT_INSTANCE_SIZE_* */
    char arch_name[16];
    char device_revision[8];
} nrt_instance_info_t;

/* The transfers of a batch call that concern one tensor. */
typedef struct nrt_tensor_batch {
    const nrt_tensor_t *tensor;
    const nrt_tensor_batch_op_t *ops;
    uint32_t num_ops;
} nrt_tensor_batch_t;

typedef struct nrt_tensor_device_allocation_info {
    uint64_t physical_address; /* in the device's address space; of the slice, for a slice */
    size_t size;               /* bytes allocated: may exceed the tensor's size */
    int hbm_index;             /* HBM within the device */
} nrt_tensor_device_allocation_info_t;

/* Grows at its end only. */
typedef struct nrt_vnc_memory_stats {
    size_t bytes_used;
    size_t bytes_limit; /* of the core's HBM: neighbours that share one report the same limit */
} nrt_vnc_memory_stats_t;

/* Members of a collective driven by the host: rank_n of the ctx_device_count ranks of a job, each
 * once, in any order, which is that of chunks and blocks. replica_group[rank] is ctx_device_id,
 * this rank, on core vnc. As those of a model, the ranks follow each other in the global
 * communicator: rank 0 is ctx_device_id ranks before this one. */
typedef struct nrt_cc_comm {
    uint32_t *replica_group;
    uint32_t rank;
    uint32_t rank_n;
    uint32_t ctx_device_id;
    uint32_t ctx_device_count;
    uint32_t vnc;
} nrt_cc_comm_t;

typedef struct nrt_tensor_list {
    nrt_tensor_t **tensors;
    size_t num_tensors;
} nrt_tensor_list_t;

/* ---- Initialisation and topology ---- */

/* Read the environment (docs/spec/behaviour.md section 1), attach to the device and take exclusive
 * ownership of the selected cores. framework is a value other than INVALID and is recorded only;
 * the texts are optional. Again without nrt_close: NRT_SUCCESS, no effect. After nrt_close: a new
 * session. Any state. NRT_INVALID: framework, or a malformed core selection. NRT_RESOURCE: cores
 * are taken, or memory is short. NRT_FAILURE: no device. */
NRT_STATUS nrt_init(nrt_framework_type_t framework, const char *fw_version,
                    const char *fal_version);

/* Unload every model, free every tensor's storage and give up the cores. Handles become invalid.
 * Without an initialised runtime: no effect. */
void nrt_close(void);

/* Write the first min(instance_info_len, sizeof(*info)) bytes. Any state. NRT_INVALID: info is NULL
 * or the length is 0. */
NRT_STATUS nrt_get_instance_info(nrt_instance_info_t *info, size_t instance_info_len);

/* Logical cores of the instance, whatever the selection variables say; 0 when there is no device.
 * Any state. The first name is the deprecated one. */
NRT_STATUS nrt_get_total_nc_count(uint32_t *vnc_count);
NRT_STATUS nrt_get_total_vnc_count(uint32_t *vnc_count);

/* Logical cores the process may use; before nrt_init: those that nrt_init would select now. Any
 * state. The first name is the deprecated one. */
NRT_STATUS nrt_get_visible_nc_count(uint32_t *vnc_count);
NRT_STATUS nrt_get_visible_vnc_count(uint32_t *vnc_count);

/* ---- Models ---- */

/* Check, place and stage the NEFF of size bytes at neff_bytes, which may be released afterwards.
 * vnc: the core, or -1 for the first free one (else the one with the fewest models). vnc_count: -1
 * or 1; above 1: one replica on each of that many cores, used in turn by nrt_execute. The model is
 * owned by the caller until nrt_unload. NRT_INVALID: bad NEFF or arguments.
 * NRT_UNSUPPORTED_NEFF_VERSION: version, features or architecture. NRT_LOAD_NOT_ENOUGH_NC: not that
 * many cores are owned. NRT_RESOURCE: device or host memory. */
NRT_STATUS nrt_load(const void *neff_bytes, size_t size, int32_t vnc, int32_t vnc_count,
                    nrt_model_t **model);

/* nrt_load for a rank of a world: the NEFF's collectives work between the ctx_device_count ranks
 * that load it, of which this is number ctx_device_id. The core's global communicator is made with
 * these numbers if it has none. A model may have fewer ranks than the global communicator: they
 * follow each other there, its rank 0 being ctx_device_id ranks before this one. vnc_count: -1 or
 * 1. With more than one process NEURON_RT_ROOT_COMM_ID says where rank 0 listens, ranks load from
 * a thread each, and the call blocks until all do, however long that takes. Without it all ranks
 * are cores of this process and no load waits: one thread may load for every core in turn, the last
 * load has the errors of all, and an execution of the others waits for it. Errors of nrt_load, and
 * NRT_INVALID: the numbers do not fit each other or those of other ranks, two ranks with one id,
 * the ranks' NEFFs differ, a collective that cannot be carried out, the variable is missing or
 * malformed; NRT_FAILURE: a rank has died, or rank 0 cannot listen; NRT_TIMEOUT:
 * OPENNRT_JOIN_TIMEOUT. */
NRT_STATUS nrt_load_collectives(const void *neff_bytes, size_t size, int32_t vnc, int32_t vnc_count,
                                uint32_t ctx_device_id, uint32_t ctx_device_count,
                                nrt_model_t **model);

/* Wait for the model's executions and free what it holds; the handle is dead afterwards. */
NRT_STATUS nrt_unload(nrt_model_t *model);

/* Logical cores the model uses: one per replica. Deprecated, both names. */
NRT_STATUS nrt_get_model_nc_count(const nrt_model_t *model, uint32_t *vnc_count);
NRT_STATUS nrt_get_model_vnc_count(const nrt_model_t *model, uint32_t *vnc_count);

/* ---- Tensor sets ---- */

/* A new empty set, owned by the caller. */
NRT_STATUS nrt_allocate_tensor_set(nrt_tensor_set_t **result);

/* Free the set, not its tensors (which may be gone already), and set *tensor_set to NULL. NULL, or
 * a pointer to NULL: no effect. Any state. */
void nrt_destroy_tensor_set(nrt_tensor_set_t **tensor_set);

/* Add the tensor under tensor_name, which is copied, or replace the one of that name. The set
 * borrows the tensor: it must live while the set is used in a call. */
NRT_STATUS nrt_add_tensor_to_tensor_set(nrt_tensor_set_t *tensor_set, const char *tensor_name,
                                        nrt_tensor_t *tensor);

/* The tensor of that name. NRT_FAILURE: there is none; *tensor is untouched. */
NRT_STATUS nrt_get_tensor_from_tensor_set(nrt_tensor_set_t *tensor_set, const char *tensor_name,
                                          nrt_tensor_t **tensor);

/* ---- Execution ---- */

/* One run of the model; returns when the outputs are written. Every input and output of the model
 * must be in the sets, with at least its size; other names are ignored. Device tensors must lie on
 * the HBM of the model's core; host tensors are copied in and out. NRT_EXEC_BAD_INPUT: the sets do
 * not fit. NRT_TIMEOUT: the program hangs. NRT_EXEC_*: what happened while it ran. */
NRT_STATUS nrt_execute(nrt_model_t *model, const nrt_tensor_set_t *input_set,
                       nrt_tensor_set_t *output_set);

/* repeat_count (at least 1) runs. The NEFF must let output k be input k of the next run. */
NRT_STATUS nrt_execute_repeat(nrt_model_t *model, const nrt_tensor_set_t *input_set,
                              nrt_tensor_set_t *output_set, int repeat_count);

/* ---- Tensors ---- */

/* A new tensor of size zero bytes, owned by the caller. vnc is the core for DEVICE and may be -1
 * for the others. name is optional and for messages. size 0: a tensor without storage. NRT_INVALID:
 * no such core or placement, HOST above 4 MiB. NRT_RESOURCE: memory. */
NRT_STATUS nrt_tensor_allocate(nrt_tensor_placement_t tensor_placement, int vnc, size_t size,
                               const char *name, nrt_tensor_t **tensor);

/* Give up the handle; the storage goes with its last handle. Sets *tensor to NULL. NULL, or a
 * pointer to NULL: no effect. Any state. */
void nrt_tensor_free(nrt_tensor_t **tensor);

/* Copy size bytes at offset of the tensor to buf. NRT_INVALID: range. size 0: nothing, any buf. */
NRT_STATUS nrt_tensor_read(const nrt_tensor_t *tensor, void *buf, size_t offset, size_t size);

/* Copy size bytes of buf to the tensor at offset. NRT_INVALID: range. size 0: nothing, any buf. */
NRT_STATUS nrt_tensor_write(nrt_tensor_t *tensor, const void *buf, size_t offset, size_t size);

/* Transfers on several tensors, in order. All ranges are checked before the first byte moves.
 * unsafe: do not wait for queued executions that use the tensors. num_batches 0: nothing. */
NRT_STATUS nrt_tensor_read_batch(const nrt_tensor_batch_t *batches, uint64_t num_batches,
                                 bool unsafe);
NRT_STATUS nrt_tensor_write_batch(const nrt_tensor_batch_t *batches, uint64_t num_batches,
                                  bool unsafe);

/* Copy between tensors; ranges of one storage may overlap. NRT_INVALID: range, or two device
 * tensors on different HBMs. */
NRT_STATUS nrt_tensor_copy(const nrt_tensor_t *src, size_t src_offset, nrt_tensor_t *dst,
                           size_t dst_offset, size_t size);

/* Bytes; 0 for an empty tensor, NULL or a dead handle. Any state. */
size_t nrt_tensor_get_size(const nrt_tensor_t *tensor);

/* Set size bytes at offset to the low 8 bits of value. NRT_INVALID: range. */
NRT_STATUS nrt_tensor_memset(nrt_tensor_t *tensor, uint64_t offset, int value, size_t size);

/* A tensor without storage, owned by the caller. name is optional. */
NRT_STATUS nrt_tensor_allocate_empty(const char *name, nrt_tensor_t **tensor);

/* Give the tensor the caller's buffer as its storage, in place of what it had. The buffer must
 * outlive the tensor and is never freed by the library. Slices of the tensor keep the old storage.
 */
NRT_STATUS nrt_tensor_attach_buffer(nrt_tensor_t *tensor, void *buffer, size_t size);

/* A new handle, owned by the caller, on [offset, offset + size) of the source's storage. name is
 * optional. NRT_INVALID: range. */
NRT_STATUS nrt_tensor_allocate_slice(const nrt_tensor_t *tensor_source, size_t offset, size_t size,
                                     const char *name, nrt_tensor_t **tensor_slice);

/* Address of the tensor's bytes in this process; NULL without storage or on failure. */
void *nrt_tensor_get_va(const nrt_tensor_t *tensor);

/* NRT_INVALID: not a device tensor. */
NRT_STATUS
nrt_tensor_get_device_allocation_info(const nrt_tensor_t *tensor,
                                      nrt_tensor_device_allocation_info_t *alloc_info);

/* Wait until at least expected_completion_count executions that had the tensor in their output set
 * have finished. timeout: microseconds; 0 polls; negative waits for ever and warns once after 30 s.
 * NRT_TIMEOUT: not reached in time. */
NRT_STATUS nrt_tensor_check_output_completion(const nrt_tensor_t *output_tensor, int64_t timeout,
                                              uint64_t expected_completion_count);

/* Set the tensor's count of completions to 0. */
NRT_STATUS nrt_tensor_reset_output_completion(nrt_tensor_t *output_tensor);

/* ---- Collectives ---- */

/* Make the global communicator of a core: rank g_device_id of g_device_count, the largest world of
 * all NEFFs to be run. Blocks until all ranks are there. Again with the same numbers: NRT_SUCCESS.
 * NRT_INVALID: the core is not owned, is another rank already, the id is not below the count, two
 * ranks have one id or the ranks disagree about the count, NEURON_RT_ROOT_COMM_ID is missing or
 * malformed; NRT_FAILURE: the ranks cannot meet; NRT_TIMEOUT: OPENNRT_JOIN_TIMEOUT; NRT_RESOURCE.
 */
NRT_STATUS nrt_build_global_comm(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count);

/* The same, for collectives that the host drives (nrta_cc_prepare): a core has one global
 * communicator for them and for its models, and either function makes it. */
NRT_STATUS nrt_cc_global_comm_init(uint32_t vnc, uint32_t g_device_id, uint32_t g_device_count);

/* ---- Device addresses and memory ---- */

/* A dma-buf of the device memory [va, va + size), owned by the caller (close it). NRT_INVALID, with
 * *fd untouched: the range is not device memory of this process, is not whole pages, or the host
 * cannot make a dma-buf of it. */
NRT_STATUS nrt_get_dmabuf_fd(uint64_t va, uint64_t size, int *fd);

/* The host's number of a device. NRT_INVALID: no such device. */
NRT_STATUS nrt_host_device_id_get(int neuron_dev, uint32_t *host_device_id);

/* The routing id of every device, indexed by host device id. *count in: room, out: entries.
 * NRT_INVALID: no room; *count then says how many there are. */
NRT_STATUS nrt_host_device_id_rid_map_get(uint32_t *count, uint32_t *host_did_to_rid_map);

/* Where an HBM is mapped in this process. What the process has allocated there gets its host memory
 * now, and what it allocates later then, so it can be accessed by plain loads and stores.
 * NRT_INVALID_HANDLE: hbm_idx is past the device's last. NRT_INVALID: other arguments.
 * NRT_RESOURCE: the host is full. */
NRT_STATUS nrt_get_hbm_mmap_va(int device_id, int hbm_idx, void **addr, size_t *size);

/* Write the first min(stats_size_in, sizeof(*stats)) bytes and that number to *stats_size_out.
 * NRT_INVALID: the core is not owned, or stats_size_in is 0. */
NRT_STATUS nrt_get_vnc_memory_stats(uint32_t vnc, nrt_vnc_memory_stats_t *stats,
                                    size_t stats_size_in, size_t *stats_size_out);

/* PCI address of the network device next to the device that holds va. *len in: room with the NUL,
 * out: length without it. NRT_RESOURCE: no room. NRT_FAILURE: no such device, which is the default
 * here. */
NRT_STATUS nrt_get_attached_efa_bdf(const void *va, char *efa_bdf, size_t *len);

#ifdef __cplusplus
}
#endif
#endif
