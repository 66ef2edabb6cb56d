/* SPDX-License-Identifier: Apache-2.0 */
/* Models: docs/spec/api.md 4.4 and 7. */
#include <stdio.h>
#include <string.h>

#include "api/api_int.h"
#include "base/checked.h"

void api_model_destroy(struct api_model *am)
{
    if (!am)
        return;
    profiler_forget(api_.profiler, am->m);
    api_bindings_destroy(am->bindings);
    model_unload(am->m);
    mem_free(am);
}

/* Both events of a load, which has begun at ns; only now its core is known. m NULL: it failed. */
static void load_traced(const struct model *m, uint64_t ns, NRT_STATUS status)
{
    uint32_t core = m ? model_vnc(m, 0) : TRACE_NO_CORE;
    struct trace_event e = {.ns = ns,
                            .tracking = trace_id(&api_.trace),
                            .type = TRACE_model_load,
                            .phase = TRACE_START};

    if (m) {
        api_call_core(core);
        model_trace_fields(m, &e);
    }
    trace_put(&api_.trace, core, &e);
    e.ns = 0;
    e.phase = TRACE_STOP;
    e.data[0] = (uint64_t)status;
    e.data[1] = m ? model_id(m) : 0;
    e.data_count = m ? 2 : 1;
    trace_put(&api_.trace, core, &e);
}

NRT_STATUS api_model_load(const char *func, const void *neff_bytes, size_t size,
                          const struct model_where *where, nrt_model_t **model)
{
    struct run_caller caller;
    struct handle_slot *slot = NULL;
    struct api_model *am;
    struct err err = {0};
    uint64_t traced = 0;
    NRT_STATUS status;

    run_caller_enter(&caller);
    am = mem_zalloc(sizeof(*am));
    if (am) {
        slot = handle_reserve(&api_.models); /* before the other ranks hear that all is well */
        am->bindings = api_bindings_create();
        am->last_us = UINT32_MAX;
    }
    if (!am || !slot || !am->bindings) {
        status = api_fail(func, NRT_RESOURCE, "no host memory, or no room, for another model");
        model_refuse(api_.host, where, "no host memory, or no room, for another model");
        goto out_free;
    }
    if (trace_on(&api_.trace))
        traced = trace_now_ns();
    status = model_load(api_.host, neff_bytes, size, where, &am->m, &err);
    if (traced != 0)
        load_traced(am->m, traced, status);
    if (status != NRT_SUCCESS)
        goto out_free; /* logged there */

    if (inspect_on(api_.inspect))
        inspect_loaded(api_.inspect, am->m, neff_bytes, size);
    *model = (nrt_model_t *)(uintptr_t)handle_give(&api_.models, slot, api_.session, am);
    run_caller_leave(&caller);
    return NRT_SUCCESS;

out_free:
    handle_drop(&api_.models, slot);
    if (am)
        api_bindings_destroy(am->bindings);
    mem_free(am);
    run_caller_leave(&caller);
    return status;
}

API_EXPORT NRT_STATUS nrt_load(const void *neff_bytes, size_t size, int32_t vnc, int32_t vnc_count,
                               nrt_model_t **model)
{
    struct model_where where = {.vnc = vnc, .vnc_count = vnc_count < 0 ? 1 : (uint32_t)vnc_count};

    API_NEED_READY();
    API_NEED(neff_bytes && model, "neff_bytes or model is NULL");
    API_NEED(vnc >= -1, "vnc is below -1");
    API_NEED(vnc_count == -1 || vnc_count > 0, "vnc_count is 0 or below -1");
    return api_model_load(__func__, neff_bytes, size, &where, model);
}

static NRT_STATUS bad_model(const char *func)
{
    return api_fail(func, NRT_INVALID_HANDLE, "not a model of this session");
}

API_EXPORT NRT_STATUS nrt_unload(nrt_model_t *model)
{
    struct run_caller caller;
    struct api_model *am;
    bool busy = false;
    NRT_STATUS status = NRT_SUCCESS;

    API_NEED_READY();
    API_NEED(model, "model is NULL");
    run_caller_enter(&caller);
    am = api_may_wait() ? handle_take(&api_.models, token_of(model)) /* waits for its executions */
                        : handle_take_now(&api_.models, token_of(model), &busy);
    if (busy)
        status = api_fail(__func__, NRT_INVALID, "a callback must not wait for a model in use");
    else if (am)
        api_model_destroy(am);
    else
        status = bad_model(__func__);
    run_caller_leave(&caller);
    return status;
}

static NRT_STATUS instance_count(const char *func, const nrt_model_t *model, uint32_t *ret)
{
    struct handle_slot *slot;

    if (!api_ready())
        return api_refuse(func);
    if (!model || !ret)
        return api_fail(func, NRT_INVALID, "model or the count is NULL");
    slot = handle_pin(&api_.models, token_of(model));
    if (!slot)
        return bad_model(func);
    *ret = model_instance_count(((struct api_model *)slot->obj)->m);
    handle_unpin(slot);
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_get_model_nc_count(const nrt_model_t *model, uint32_t *vnc_count)
{
    API_CALL();
    return instance_count(__func__, model, vnc_count);
}

API_EXPORT NRT_STATUS nrt_get_model_vnc_count(const nrt_model_t *model, uint32_t *vnc_count)
{
    API_CALL();
    return instance_count(__func__, model, vnc_count);
}

API_EXPORT NRT_STATUS nrt_get_model_instance_count(nrt_model_t *model, uint32_t *count)
{
    API_CALL();
    return instance_count(__func__, model, count);
}

API_EXPORT NRT_STATUS nrt_get_model_info(const nrt_model_t *model, nrt_model_info_t *info,
                                         size_t info_size_in, size_t *info_size_out)
{
    nrt_model_info_t v = {0};
    struct handle_slot *slot;
    size_t n = info_size_in < sizeof(v) ? info_size_in : sizeof(v);

    API_NEED_READY();
    API_NEED(model && info && info_size_out && info_size_in,
             "model, info or info_size_out is NULL, or the size is 0");
    slot = handle_pin(&api_.models, token_of(model));
    if (!slot)
        return bad_model(__func__);
    v.vnc = model_vnc(((struct api_model *)slot->obj)->m, 0);
    handle_unpin(slot);
    memcpy(info, &v, n);
    *info_size_out = n;
    return NRT_SUCCESS;
}

/* ---- tensor information ---- */

/* 8-bit floats are reported as INT8 and booleans as UINT8: what the open client insists on. */
static nrt_dtype_t reported_dtype(enum dtype t)
{
    switch (t) {
    case DT_FP8_E3:
    case DT_FP8_E4:
    case DT_FP8_E5:
        return NRT_DTYPE_INT8;
    case DT_BOOL:
        return NRT_DTYPE_UINT8;
    default:
        return t < DT_FP8_E3 ? (nrt_dtype_t)t : NRT_DTYPE_UNKNOWN;
    }
}

/* One block: the array, then all shapes. nrt_free_model_tensor_info frees it as one. */
static nrt_tensor_info_array_t *info_create(const struct model *m)
{
    uint32_t n_in = model_input_count(m), n = n_in + model_output_count(m);
    size_t head = sizeof(nrt_tensor_info_array_t) + (size_t)n * sizeof(nrt_tensor_info_t);
    nrt_tensor_info_array_t *a;
    size_t dims = 0;
    uint32_t *shape;

    for (uint32_t i = 0; i < n; i++)
        dims += (i < n_in ? model_input(m, i) : model_output(m, i - n_in))->ndim;
    a = mem_zalloc(head + dims * sizeof(*shape));
    if (!a)
        return NULL;

    shape = (uint32_t *)((char *)a + head);
    a->tensor_count = n;
    for (uint32_t i = 0; i < n; i++) {
        const struct model_tensor *mt = i < n_in ? model_input(m, i) : model_output(m, i - n_in);
        nrt_tensor_info_t *ti = &a->tensor_array[i];

        snprintf(ti->name, sizeof(ti->name), "%s", mt->name);
        ti->usage = i < n_in ? NRT_TENSOR_USAGE_INPUT : NRT_TENSOR_USAGE_OUTPUT;
        ti->size = mt->size;
        ti->dtype = reported_dtype(mt->dtype);
        ti->shape = shape;
        ti->ndim = mt->ndim;
        for (unsigned d = 0; d < mt->ndim; d++)
            *shape++ = (uint32_t)mt->shape[d];
    }
    return a;
}

API_EXPORT NRT_STATUS nrt_get_model_tensor_info(nrt_model_t *model,
                                                nrt_tensor_info_array_t **tensor_info)
{
    struct handle_slot *slot;
    nrt_tensor_info_array_t *a;

    API_NEED_READY();
    API_NEED(model && tensor_info, "model or tensor_info is NULL");
    slot = handle_pin(&api_.models, token_of(model));
    if (!slot)
        return bad_model(__func__);
    a = info_create(((struct api_model *)slot->obj)->m);
    handle_unpin(slot);
    if (!a)
        return api_fail(__func__, NRT_RESOURCE, "no host memory for the tensor information");
    *tensor_info = a;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_free_model_tensor_info(nrt_tensor_info_array_t *tensor_info)
{
    API_NEED(tensor_info, "tensor_info is NULL");
    mem_free(tensor_info);
    return NRT_SUCCESS;
}
