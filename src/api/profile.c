/* SPDX-License-Identifier: Apache-2.0 */
/* Device profiles: docs/spec/api.md 8, functions 79 to 86. */
#include <inttypes.h>
#include <string.h>

#include "api/api_int.h"
#include "diag/profile.h"
#include "nrt/nrt_profile.h"

struct nrt_profile_continuous_options {
    char *dir; /* NULL: the default */
};

#define DEFAULT_DIR "./output"

static NRT_STATUS told(const char *func, NRT_STATUS status, const struct err *err)
{
    return status == NRT_SUCCESS ? status : api_fail(func, status, "%s", err->text);
}

/* ---- one model ---- */

API_EXPORT NRT_STATUS nrt_profile_start(nrt_model_t *model, const char *filename)
{
    struct run_caller caller;
    struct handle_slot *slot;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(model && filename && filename[0], "model or filename is NULL, or the name is empty");
    run_caller_enter(&caller);
    slot = handle_pin(&api_.models, token_of(model));
    if (slot) {
        status = profiler_start(api_.profiler, ((struct api_model *)slot->obj)->m, filename, &err);
        handle_unpin(slot);
        status = told(__func__, status, &err);
    } else {
        status = api_fail(__func__, NRT_INVALID_HANDLE, "not a model of this session");
    }
    run_caller_leave(&caller);
    return status;
}

API_EXPORT NRT_STATUS nrt_profile_stop(const char *filename)
{
    struct run_caller caller;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(filename, "filename is NULL");
    run_caller_enter(&caller);
    status = told(__func__, profiler_stop(api_.profiler, filename, &err), &err);
    run_caller_leave(&caller);
    return status;
}

/* ---- continuous ---- */

API_EXPORT NRT_STATUS
nrt_profile_continuous_options_allocate(nrt_profile_continuous_options_t **options)
{
    nrt_profile_continuous_options_t *o;

    API_NEED(options, "options is NULL");
    o = mem_zalloc(sizeof(*o));
    if (!o)
        return api_fail(__func__, NRT_RESOURCE, "no host memory for options");
    *options = o;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_profile_continuous_options_free(nrt_profile_continuous_options_t *options)
{
    API_NEED(options, "options is NULL");
    mem_free(options->dir);
    mem_free(options);
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_profile_continuous_options_set_output_dir(
    nrt_profile_continuous_options_t *options, const char *output_dir)
{
    char *copy;

    API_NEED(options && output_dir && output_dir[0],
             "options or output_dir is NULL, or output_dir is empty");
    copy = mem_strdup(output_dir);
    if (!copy)
        return api_fail(__func__, NRT_RESOURCE, "no host memory for the name of a folder");
    mem_free(options->dir);
    options->dir = copy;
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_profile_continuous_start(nrt_profile_continuous_options_t *options)
{
    struct run_caller caller;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(options, "options is NULL");
    if (api_.inflight > 0)
        return api_fail(__func__, NRT_FAILURE, "executions are asynchronous");
    run_caller_enter(&caller);
    status = told(__func__, profiler_continuous_start(api_.profiler, &err), &err);
    run_caller_leave(&caller);
    return status;
}

API_EXPORT NRT_STATUS nrt_profile_continuous_save(uint32_t vnc,
                                                  nrt_profile_continuous_options_t *options)
{
    struct run_caller caller;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(options, "options is NULL");
    if (vnc >= api_.vnc_count)
        return api_fail(__func__, NRT_INVALID,
                        "core %" PRIu32 " is not one of the %" PRIu32 " owned", vnc,
                        api_.vnc_count);
    run_caller_enter(&caller);
    status = profiler_continuous_save(api_.profiler, vnc, options->dir ? options->dir : DEFAULT_DIR,
                                      &err);
    status = told(__func__, status, &err);
    run_caller_leave(&caller);
    return status;
}

API_EXPORT NRT_STATUS nrt_profile_continuous_stop(void)
{
    struct run_caller caller;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    run_caller_enter(&caller);
    status = told(__func__, profiler_continuous_stop(api_.profiler, &err), &err);
    run_caller_leave(&caller);
    return status;
}
