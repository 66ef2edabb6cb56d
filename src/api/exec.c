/* SPDX-License-Identifier: Apache-2.0 */
/* nrt_execute: pin what the call names, find the memory (bind.c), and down to the model. */
#include "api/dump_int.h"
#include "api/exec_int.h"

static void count_completions(struct bound *b, int repeat)
{
    for (uint32_t i = b->in_count; i < b->in_count + b->out_count; i++)
        for (int k = 0; k < repeat; k++)
            tensor_complete(bound_tensor(b, i));
}

static void report(const struct api_model *am, NRT_STATUS status)
{
    LOGE(api_.log, LOG_NRT, "nrt_execute_repeat", "Failed to execute model %s with status %d",
         model_name(am->m), (int)status);
}

static NRT_STATUS run(const char *func, struct api_model *am, struct bound *b, uint32_t instance,
                      int repeat)
{
    struct exec_dump dump;
    struct model_call call = {.serial = b->serial,
                              .in = b->args,
                              .out = b->args + b->in_count,
                              .repeat = repeat,
                              .failed = api_dump_failed,
                              .failed_arg = &dump};
    struct err err;
    NRT_STATUS status;

    dump.func = func;
    dump.taken = false;
    err.status = NRT_SUCCESS;
    err.text[0] = '\0';
    status = model_execute(am->m, instance, &call, &err);
    if (__builtin_expect(status == NRT_SUCCESS, 1) || status == NRT_EXEC_COMPLETED_WITH_NUM_ERR)
        count_completions(b, repeat);
    if (__builtin_expect(status == NRT_SUCCESS, 1))
        return status;
    if (status == api_.dump_inputs_on)
        api_dump_inputs(am->m, call.in);
    if (api_infodump_wanted(status))
        api_infodump(status, func, model_vnc(am->m, instance));
    report(am, status);
    api_dump_finish(&dump);
    return status;
}

static __attribute__((cold, noinline)) NRT_STATUS run_traced(const char *func, struct api_model *am,
                                                             struct bound *b, uint32_t instance,
                                                             int repeat)
{
    uint32_t core = model_vnc(am->m, instance);
    uint64_t id = trace_id(&api_.trace);
    NRT_STATUS status;

    api_call_core(core);
    api_trace_start(TRACE_runtime_execute, core, am->m, id);
    status = run(func, am, b, instance, repeat);
    api_trace_stop(TRACE_runtime_execute, core, am->m, id, (uint64_t)status);
    return status;
}

NRT_STATUS bound_run(const char *func, struct api_model *am, struct bound *b, uint32_t instance,
                     int repeat)
{
    if (trace_on(&api_.trace))
        return run_traced(func, am, b, instance, repeat);
    return run(func, am, b, instance, repeat);
}

/* Not bound yet, or the sets have changed; or no handles at all. model: NULL if it is none. */
static NRT_STATUS bind_anew(const char *func, struct handle_slot *model,
                            const nrt_tensor_set_t *input_set, nrt_tensor_set_t *output_set,
                            struct bound **ret, uint32_t *ret_instance)
{
    struct handle_slot *in = handle_pin(&api_.sets, token_of(input_set));
    struct handle_slot *out = handle_pin(&api_.sets, token_of(output_set));
    NRT_STATUS status;

    if (!model || !in || !out) {
        status = api_fail(func, NRT_INVALID_HANDLE, "not a %s of this session",
                          !model ? "model" : "tensor set");
    } else {
        struct api_model *am = model->obj;

        status = bound_get("nrt_execute_repeat", am, token_of(input_set), token_of(output_set),
                           in->obj, out->obj, ret, ret_instance);
        if (status != NRT_SUCCESS) {
            if (api_infodump_wanted(status))
                api_infodump(status, func, model_vnc(am->m, *ret_instance));
            report(am, status);
        }
    }
    if (out)
        handle_unpin(out);
    if (in)
        handle_unpin(in);
    return status;
}

NRT_STATUS api_execute(const char *func, nrt_model_t *model, const nrt_tensor_set_t *input_set,
                       nrt_tensor_set_t *output_set, int repeat, const struct exec_later *later)
{
    struct handle_slot *ms;
    struct run_caller caller;
    struct binding *taken = NULL;
    struct bound *b = NULL;
    uint32_t instance = 0;
    NRT_STATUS status = NRT_SUCCESS;

    run_caller_enter(&caller);
    ms = handle_pin(&api_.models, token_of(model));
    if (__builtin_expect(ms != NULL, 1))
        b = bound_find(ms->obj, token_of(input_set), token_of(output_set), &taken);
    if (__builtin_expect(b == NULL, 0))
        status = bind_anew(func, ms, input_set, output_set, &b, &instance);
    if (__builtin_expect(status == NRT_SUCCESS, 1) && !later) {
        status = bound_run(func, ms->obj, b, instance, repeat);
        if (__builtin_expect(taken != NULL, 1))
            bound_end(b, taken);
        else
            bound_give(b);
    } else if (status == NRT_SUCCESS) {
        if (taken)
            bound_keep(b, taken);
        status = async_exec_leave(later, func, ms, b, instance, repeat);
        if (status == NRT_SUCCESS)
            ms = NULL; /* the request's, and so is b */
        else
            bound_give(b);
    }
    if (ms)
        handle_unpin(ms);
    run_caller_leave(&caller);
    return status;
}

static NRT_STATUS execute(const char *func, nrt_model_t *model, const nrt_tensor_set_t *input_set,
                          nrt_tensor_set_t *output_set, int repeat)
{
    static const struct exec_later later = {.implicit = true};

    if (!api_ready())
        return api_refuse(func);
    if (!model || !input_set || !output_set)
        return api_fail(func, NRT_INVALID, "model or a tensor set is NULL");
    if (repeat < 1)
        return api_fail(func, NRT_INVALID, "repeat_count %d is less than 1", repeat);
    return api_execute(func, model, input_set, output_set, repeat, api_.inflight ? &later : NULL);
}

/* A call that is traced goes a path of its own, so that any other looks once and keeps nothing. */
static __attribute__((cold, noinline)) NRT_STATUS execute_traced(
    const char *func, _Atomic uint16_t *known, nrt_model_t *model,
    const nrt_tensor_set_t *input_set, nrt_tensor_set_t *output_set, int repeat)
{
    struct api_call now __attribute__((cleanup(api_call_end))) = {.type = TRACE_NONE};

    api_call_begin(&now, func, known);
    return execute(func, model, input_set, output_set, repeat);
}

API_EXPORT NRT_STATUS nrt_execute(nrt_model_t *model, const nrt_tensor_set_t *input_set,
                                  nrt_tensor_set_t *output_set)
{
    static _Atomic uint16_t known;

    if (trace_on(&api_.trace))
        return execute_traced(__func__, &known, model, input_set, output_set, 1);
    return execute(__func__, model, input_set, output_set, 1);
}

API_EXPORT NRT_STATUS nrt_execute_repeat(nrt_model_t *model, const nrt_tensor_set_t *input_set,
                                         nrt_tensor_set_t *output_set, int repeat_count)
{
    static _Atomic uint16_t known;

    if (trace_on(&api_.trace))
        return execute_traced(__func__, &known, model, input_set, output_set, repeat_count);
    return execute(__func__, model, input_set, output_set, repeat_count);
}
