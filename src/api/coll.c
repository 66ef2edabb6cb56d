/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks: docs/spec/api.md 4.4 (function 9), 4.9 and 7 (functions 71, 75 and 76). */
#include <inttypes.h>

#include "api/api_int.h"
#include "base/broken.h"

API_EXPORT NRT_STATUS nrt_load_collectives(const void *neff_bytes, size_t size, int32_t vnc,
                                           int32_t vnc_count, uint32_t ctx_device_id,
                                           uint32_t ctx_device_count, nrt_model_t **model)
{
    struct model_where where = {
        .vnc = vnc, .vnc_count = 1, .rank = ctx_device_id, .world = ctx_device_count};

    API_NEED_READY();
    API_NEED(neff_bytes && model, "neff_bytes or model is NULL");
    API_NEED(vnc >= -1, "vnc is below -1");
    API_NEED(vnc_count == -1 || vnc_count == 1, "vnc_count is neither -1 nor 1");
    if (ctx_device_id >= ctx_device_count)
        return api_fail(__func__, NRT_INVALID,
                        "rank ctx_device_id %" PRIu32 " is not below ctx_device_count %" PRIu32,
                        ctx_device_id, ctx_device_count);
    return api_model_load(__func__, neff_bytes, size, &where, model);
}

/* The core's global communicator; a failure is logged where it is known. */
static NRT_STATUS join(const char *func, int64_t vnc, uint32_t id, uint32_t count)
{
    struct err err = {0};

    if (!api_ready())
        return api_refuse(func);
    if (vnc < 0 || vnc >= api_.vnc_count)
        return api_fail(func, NRT_INVALID, "vnc %" PRId64 " is not one of the %" PRIu32 " owned",
                        vnc, api_.vnc_count);
    if (id >= count)
        return api_fail(func, NRT_INVALID,
                        "rank g_device_id %" PRIu32 " is not below g_device_count %" PRIu32, id,
                        count);
    return coll_world_join(api_.world, (uint32_t)vnc, id, count, &err);
}

static NRT_STATUS gather(const char *func, int32_t vnc, uint32_t id, uint32_t count,
                         const void *input, size_t size, void *output)
{
    enum trace_type type = size > 0 ? TRACE_cc_exec : TRACE_cc_exec_barrier;
    struct run_caller caller;
    struct err err = {0};
    uint64_t traced = 0;
    NRT_STATUS status;

    run_caller_enter(&caller);
    status = join(func, vnc, id, count);
    if (status == NRT_SUCCESS) {
        if (trace_on(&api_.trace)) {
            api_call_core((uint32_t)vnc);
            api_trace_start(type, (uint32_t)vnc, NULL, traced = trace_id(&api_.trace));
        }
        status = coll_world_gather(api_.world, (uint32_t)vnc, func, input, size, output, &err);
        if (traced != 0)
            api_trace_stop(type, (uint32_t)vnc, NULL, traced, (uint64_t)status);
    }
    run_caller_leave(&caller);
    return status;
}

static NRT_STATUS build(const char *func, int64_t vnc, uint32_t id, uint32_t count)
{
    struct run_caller caller;
    NRT_STATUS status;

    run_caller_enter(&caller);
    status = join(func, vnc, id, count);
    run_caller_leave(&caller);
    return status;
}

API_EXPORT NRT_STATUS nrt_build_global_comm(int32_t vnc, uint32_t g_device_id,
                                            uint32_t g_device_count)
{
    API_CALL();
    return build(__func__, vnc, g_device_id, g_device_count);
}

/* A core has one global communicator; what the host drives has communicators of its own in it. */
API_EXPORT NRT_STATUS nrt_cc_global_comm_init(uint32_t vnc, uint32_t g_device_id,
                                              uint32_t g_device_count)
{
    API_CALL();
    return build(__func__, vnc, g_device_id, g_device_count);
}

API_EXPORT NRT_STATUS nrt_barrier(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count)
{
    API_CALL();
    return gather(__func__, vnc, g_device_id, g_device_count, NULL, 0, NULL);
}

API_EXPORT NRT_STATUS nrt_all_gather(int32_t vnc, uint32_t g_device_id, uint32_t g_device_count,
                                     uint32_t rank_input_size, void *input, void *output)
{
    API_NEED_READY();
    API_NEED(rank_input_size == 0 || (input && output), "input or output is NULL");
    return gather(__func__, vnc, g_device_id, g_device_count, input, rank_input_size, output);
}

API_EXPORT void *nrt_get_libnccl_net(int *err, char *err_msg, size_t err_msg_size)
{
    if (err)
        *err = BROKEN(API);
    if (err_msg && err_msg_size)
        err_msg[0] = '\0';
    return NULL;
}
