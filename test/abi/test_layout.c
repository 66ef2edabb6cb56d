/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, offsets and values of the public headers: api.md 2 to 4 and 7. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "nrt/ndebug_stream.h"
#include "nrt/nrt.h"
#include "nrt/nrt_async.h"
#include "nrt/nrt_experimental.h"
#include "nrt/nrt_version.h"

#include "proves.h"

#define SIZE(type, size) static_assert(sizeof(type) == (size), #type)
#define AT(type, field, offset, bytes)                                                        \
    static_assert(offsetof(type, field) == (offset) && sizeof(((type *)0)->field) == (bytes), \
                  #type "." #field)
#define VALUE(name, value) static_assert((int)(name) == (value), #name)

SIZE(NRT_STATUS, 4);
SIZE(nrt_instance_info_t, 32);
AT(nrt_instance_info_t, family, 0, 4);
AT(nrt_instance_info_t, size, 4, 4);
AT(nrt_instance_info_t, arch_name, 8, 16);
AT(nrt_instance_info_t, device_revision, 24, 8);
SIZE(nrt_tensor_batch_op_t, 24);
AT(nrt_tensor_batch_op_t, offset, 0, 8);
AT(nrt_tensor_batch_op_t, size, 8, 8);
AT(nrt_tensor_batch_op_t, buffer, 16, 8);
SIZE(nrt_tensor_batch_t, 24);
AT(nrt_tensor_batch_t, tensor, 0, 8);
AT(nrt_tensor_batch_t, ops, 8, 8);
AT(nrt_tensor_batch_t, num_ops, 16, 4);
SIZE(nrt_tensor_device_allocation_info_t, 24);
AT(nrt_tensor_device_allocation_info_t, physical_address, 0, 8);
AT(nrt_tensor_device_allocation_info_t, size, 8, 8);
AT(nrt_tensor_device_allocation_info_t, hbm_index, 16, 4);
SIZE(nrt_vnc_memory_stats_t, 16);
AT(nrt_vnc_memory_stats_t, bytes_used, 0, 8);
AT(nrt_vnc_memory_stats_t, bytes_limit, 8, 8);
SIZE(nrt_cc_comm_t, 32);
AT(nrt_cc_comm_t, replica_group, 0, 8);
AT(nrt_cc_comm_t, rank, 8, 4);
AT(nrt_cc_comm_t, rank_n, 12, 4);
AT(nrt_cc_comm_t, ctx_device_id, 16, 4);
AT(nrt_cc_comm_t, ctx_device_count, 20, 4);
AT(nrt_cc_comm_t, vnc, 24, 4);
SIZE(nrt_tensor_list_t, 16);
AT(nrt_tensor_list_t, tensors, 0, 8);
AT(nrt_tensor_list_t, num_tensors, 8, 8);
SIZE(nrt_version_t, 224);
AT(nrt_version_t, rt_major, 0, 8);
AT(nrt_version_t, rt_minor, 8, 8);
AT(nrt_version_t, rt_patch, 16, 8);
AT(nrt_version_t, rt_maintenance, 24, 8);
AT(nrt_version_t, rt_detail, 32, 128);
AT(nrt_version_t, git_hash, 160, 64);
SIZE(nrt_tensor_info_t, 296);
AT(nrt_tensor_info_t, name, 0, 256);
AT(nrt_tensor_info_t, usage, 256, 4);
AT(nrt_tensor_info_t, size, 264, 8);
AT(nrt_tensor_info_t, dtype, 272, 4);
AT(nrt_tensor_info_t, shape, 280, 8);
AT(nrt_tensor_info_t, ndim, 288, 4);
SIZE(nrt_tensor_info_array_t, 8);
AT(nrt_tensor_info_array_t, tensor_count, 0, 8);
static_assert(offsetof(nrt_tensor_info_array_t, tensor_array) == 8, "tensor_array");
SIZE(nrt_ucode_img, 16);
AT(nrt_ucode_img, bin, 0, 8);
AT(nrt_ucode_img, size, 8, 8);
SIZE(nrt_ucode_info, 32);
AT(nrt_ucode_info, iram, 0, 16);
AT(nrt_ucode_info, dram, 16, 16);
SIZE(ndebug_stream_event_header_t, 64);
AT(ndebug_stream_event_header_t, data_size, 0, 8);
AT(ndebug_stream_event_header_t, type, 8, 4);
AT(ndebug_stream_event_header_t, reserved, 12, 52);
SIZE(ndebug_stream_payload_debug_tensor_read_t, 1024);
AT(ndebug_stream_payload_debug_tensor_read_t, prefix, 0, 512);
AT(ndebug_stream_payload_debug_tensor_read_t, logical_nc_id, 512, 4);
AT(ndebug_stream_payload_debug_tensor_read_t, pipe, 516, 4);
AT(ndebug_stream_payload_debug_tensor_read_t, tensor_dtype, 520, 16);
AT(ndebug_stream_payload_debug_tensor_read_t, tensor_shape, 536, 64);
AT(ndebug_stream_payload_debug_tensor_read_t, tensor_data_size, 600, 8);
AT(ndebug_stream_payload_debug_tensor_read_t, reserved0, 608, 416);
static_assert(offsetof(ndebug_stream_payload_debug_tensor_read_t, tensor_data) == 1024, "data");
SIZE(nrt_model_info_t, 4);
AT(nrt_model_info_t, vnc, 0, 4);

VALUE(NDEBUG_STREAM_EVENT_TYPE_INVALID, 0);
VALUE(NDEBUG_STREAM_EVENT_TYPE_DEBUG_TENSOR_READ, 1);
VALUE(NRT_TENSOR_PLACEMENT_DEVICE, 0);
VALUE(NRT_TENSOR_PLACEMENT_HOST, 1);
VALUE(NRT_TENSOR_PLACEMENT_VIRTUAL, 2);
VALUE(NRT_FRAMEWORK_TYPE_INVALID, 0);
VALUE(NRT_FRAMEWORK_TYPE_NO_FW, 1);
VALUE(NRT_FRAMEWORK_TYPE_TENSORFLOW, 2);
VALUE(NRT_FRAMEWORK_TYPE_PYTORCH, 3);
VALUE(NRT_FRAMEWORK_TYPE_MXNET, 4);
VALUE(NRT_FRAMEWORK_TYPE_PRECHECK, 5);
VALUE(NRT_INSTANCE_UNKNOWN, 0);
VALUE(NRT_INSTANCE_INF1, 1);
VALUE(NRT_INSTANCE_TRN1, 2);
VALUE(NRT_INSTANCE_TRN1N, 3);
VALUE(NRT_INSTANCE_INF2, 4);
VALUE(NRT_INSTANCE_TRN2, 5);
VALUE(NRT_INSTANCE_TRN2N, 6);
VALUE(NRT_INSTANCE_INF2E, 7);
VALUE(NRT_INSTANCE_TRN2P, 8);
VALUE(NRT_INSTANCE_TRN2U, 9);
VALUE(NRT_INSTANCE_TRN2E, 10);
VALUE(NRT_INSTANCE_TRN2EU, 11);
VALUE(NRT_INSTANCE_TRN2AC, 12);
VALUE(NRT_INSTANCE_TRN2UAC, 13);
VALUE(NRT_INSTANCE_TRN3, 14);
VALUE(NRT_INSTANCE_TRN3PDS98, 15);
VALUE(NRT_INSTANCE_SIZE_1XL, 0);
VALUE(NRT_INSTANCE_SIZE_2XL, 1);
VALUE(NRT_INSTANCE_SIZE_4XL, 2);
VALUE(NRT_INSTANCE_SIZE_6XL, 3);
VALUE(NRT_INSTANCE_SIZE_8XL, 4);
VALUE(NRT_INSTANCE_SIZE_24XL, 5);
VALUE(NRT_INSTANCE_SIZE_32XL, 6);
VALUE(NRT_INSTANCE_SIZE_48XL, 7);
VALUE(NRT_INSTANCE_SIZE_3XL, 8);
VALUE(NRT_INSTANCE_SIZE_UNKNOWN, 9);
VALUE(NRT_INSTANCE_SIZE_NUM, 9);
VALUE(NRT_OP_ADD, 0);
VALUE(NRT_OP_FMA, 1);
VALUE(NRT_OP_MAX, 2);
VALUE(NRT_OP_MIN, 3);
VALUE(NRT_OP_INVALID, 15);
VALUE(NRT_DTYPE_UNKNOWN, 0x0);
VALUE(NRT_DTYPE_INVALID, 0x0);
VALUE(NRT_DTYPE_UINT64, 0x1);
VALUE(NRT_DTYPE_INT8, 0x2);
VALUE(NRT_DTYPE_UINT8, 0x3);
VALUE(NRT_DTYPE_INT16, 0x4);
VALUE(NRT_DTYPE_UINT16, 0x5);
VALUE(NRT_DTYPE_BFLOAT16, 0x6);
VALUE(NRT_DTYPE_FLOAT16, 0x7);
VALUE(NRT_DTYPE_INT32, 0x8);
VALUE(NRT_DTYPE_UINT32, 0x9);
VALUE(NRT_DTYPE_FLOAT32, 0xA);
VALUE(NRT_DTYPE_FP32R, 0xB);
VALUE(NRT_DTYPE_INT64, 0xC);
VALUE(NRT_DTYPE_FP8_E3, 0xD);
VALUE(NRT_DTYPE_FP8_E4, 0xE);
VALUE(NRT_DTYPE_FP8_E5, 0xF);
VALUE(NRT_CC_ALLGATHER, 0);
VALUE(NRT_CC_ALLREDUCE, 1);
VALUE(NRT_CC_REDUCESCATTER, 2);
VALUE(NRT_TENSOR_USAGE_INPUT, 0);
VALUE(NRT_TENSOR_USAGE_OUTPUT, 1);
VALUE(NRT_MAJOR_VERSION, 2);
VALUE(NRT_MINOR_VERSION, 0);
VALUE(RT_VERSION_DETAIL_LEN, 128);
VALUE(GIT_HASH_LEN, 64);
VALUE(NRT_TENSOR_NAME_MAX, 256);

SIZE(nrta_error_t, 16);
AT(nrta_error_t, seq_id, 0, 8);
AT(nrta_error_t, error_code, 8, 8);
SIZE(nrta_seq_t, 8);
SIZE(nrta_xu_id_t, 2);
VALUE(NRTA_XU_TENSOR_READ, 0);
VALUE(NRTA_XU_TENSOR_WRITE, 1);
VALUE(NRTA_XU_TENSOR_OP, 2);
VALUE(NRTA_XU_COMPUTE, 3);
VALUE(NRTA_XU_COLLECTIVES, 4);
VALUE(NRTA_XU_TYPE_NUM, 5);
static_assert(NRTA_SEQ_NUM_MAX == UINT64_C(0xffffffffffff), "48 bits");
static_assert(NRTA_SEQ_NUM_MASK == UINT64_C(0xffffffffffff), "48 bits");
static_assert(NRTA_SEQ_GET_SEQ_NUM(UINT64_C(0x1234abcdef012345)) == UINT64_C(0xabcdef012345),
              "the lower 48 bits");
static_assert(NRTA_SEQ_GET_XU_ID(UINT64_C(0xf234abcdef012345)) == 0xf234, "the upper 16 bits");

/* What compiled above holds; the ids are recorded when this runs. */
int main(void)
{
    static const char *const ids[] = {
        "api-155", "api-156", "api-157", "api-158", "api-159", "api-160", "api-161",
        "api-162", "api-163", "api-164", "api-165", "api-166", "api-167", "api-168",
        "api-169", "api-170", "api-180", "api-171", "api-172", "api-173", "api-174",
        "api-175", "api-176", "api-177", "api-178", "api-179", "api-181", "api-182",
        "api-183", "api-184", "api-185", "api-186", "api-187", "api-188",
    };

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        PROVES(ids[i]);
    return 0;
}
