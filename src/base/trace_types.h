/* SPDX-License-Identifier: Apache-2.0 */
/* Every type of trace event, once: T(name, group, key0, key1). The keys name the values of an event
 * in the data object of the JSON form; NULL: it has no such value. docs/spec/traces.md. */
#ifndef BASE_TRACE_TYPES_H
#define BASE_TRACE_TYPES_H

/* clang-format off */
/* What the device does. */
#define TRACE_HARDWARE(T) \
    T(nc_exec_running, HARDWARE, "nc_timestamp_ns", "exec_id") \
    T(cc_running, HARDWARE, "operation", NULL) \
    T(cc_exec_barrier, HARDWARE, "status", NULL) \
    T(numerical_err, HARDWARE, "nan_count", NULL) \
    T(nrt_model_switch, HARDWARE, "from_model_id", "to_model_id") \
    T(timestamp_sync_point, HARDWARE, "cpu_timestamp_ns", "nc_timestamp_ns") \
    T(hw_notify, HARDWARE, "status", NULL)

/* What the runtime does. */
#define TRACE_SOFTWARE(T) \
    T(model_load, SOFTWARE, "status", "model_id") \
    T(runtime_execute, SOFTWARE, "status", NULL) \
    T(device_exec, SOFTWARE, "status", NULL) \
    T(tensor_read, SOFTWARE, "size", NULL) \
    T(tensor_write, SOFTWARE, "size", NULL) \
    T(dmem_buf_copyin, SOFTWARE, "size", NULL) \
    T(dmem_buf_copyout, SOFTWARE, "size", NULL) \
    T(cc_exec, SOFTWARE, "status", NULL)

/* Calls of the program: a name is the function's. */
#define TRACE_CALLS(C) \
    C(nrt_add_tensor_to_tensor_set) C(nrt_all_gather) C(nrt_allocate_tensor_set) \
    C(nrt_async_drain_queued_execs) C(nrt_async_sendrecv_accept) C(nrt_async_sendrecv_close) \
    C(nrt_async_sendrecv_connect) C(nrt_async_sendrecv_flush) \
    C(nrt_async_sendrecv_get_max_num_communicators_per_lnc) \
    C(nrt_async_sendrecv_get_max_num_pending_request) C(nrt_async_sendrecv_init) \
    C(nrt_async_sendrecv_recv_tensor) C(nrt_async_sendrecv_send_tensor) \
    C(nrt_async_sendrecv_test_comm) C(nrt_async_sendrecv_test_request) C(nrt_barrier) \
    C(nrt_build_global_comm) C(nrt_cc_global_comm_init) C(nrt_debug_client_connect) \
    C(nrt_debug_client_connect_close) C(nrt_debug_client_read_one_event) \
    C(nrt_destroy_tensor_set) C(nrt_execute) C(nrt_execute_repeat) C(nrt_get_attached_efa_bdf) \
    C(nrt_get_dmabuf_fd) C(nrt_get_hbm_mmap_va) C(nrt_get_model_info) \
    C(nrt_get_model_instance_count) C(nrt_get_model_nc_count) C(nrt_get_model_tensor_info) \
    C(nrt_get_model_vnc_count) C(nrt_get_tensor_from_tensor_set) C(nrt_get_vnc_memory_stats) \
    C(nrt_host_device_id_get) C(nrt_host_device_id_rid_map_get) C(nrt_inspect_begin) \
    C(nrt_inspect_begin_with_options) C(nrt_inspect_stop) C(nrt_load) C(nrt_load_collectives) \
    C(nrt_memcpy_to_device) C(nrt_profile_continuous_save) C(nrt_profile_continuous_start) \
    C(nrt_profile_continuous_stop) C(nrt_profile_start) C(nrt_profile_stop) \
    C(nrt_tensor_allocate) C(nrt_tensor_allocate_empty) C(nrt_tensor_allocate_slice) \
    C(nrt_tensor_attach_buffer) C(nrt_tensor_check_output_completion) C(nrt_tensor_copy) \
    C(nrt_tensor_free) C(nrt_tensor_get_device_allocation_info) C(nrt_tensor_get_size) \
    C(nrt_tensor_get_va) C(nrt_tensor_memset) C(nrt_tensor_read) C(nrt_tensor_read_batch) \
    C(nrt_tensor_reset_output_completion) C(nrt_tensor_write) C(nrt_tensor_write_batch) \
    C(nrt_unload) C(nrta_cc_prepare) C(nrta_cc_schedule) C(nrta_error_tracker_create) \
    C(nrta_error_tracker_destroy) C(nrta_error_tracker_get_list) C(nrta_execute_schedule) \
    C(nrta_get_completion_handle) C(nrta_get_sequence) C(nrta_is_completed) \
    C(nrta_tensor_copy) C(nrta_tensor_read) C(nrta_tensor_write)
/* clang-format on */

#endif
