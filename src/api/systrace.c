/* SPDX-License-Identifier: Apache-2.0 */
/* The system trace: docs/spec/api.md 9, and functions 69 and 70 of section 7. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>

#include "api/api_int.h"
#include "base/fault.h"
#include "base/fd.h"
#include "nrt/nrt_sys_trace.h"

struct nrt_sys_trace_config {
    struct trace_config c;
};

struct nrt_sys_trace_fetch_options {
    uint64_t core, max; /* TRACE_ALL: all */
};

/* ---- options of a capture ---- */

API_EXPORT NRT_STATUS nrt_sys_trace_config_allocate(nrt_sys_trace_config_t **options)
{
    nrt_sys_trace_config_t *o;

    API_NEED(options, "options is NULL");
    o = mem_alloc(sizeof(*o));
    if (!o)
        return api_fail(__func__, NRT_RESOURCE, "no host memory for options");
    trace_config_defaults(&o->c);
    *options = o;
    return NRT_SUCCESS;
}

API_EXPORT void nrt_sys_trace_config_set_defaults(nrt_sys_trace_config_t *options)
{
    if (options)
        trace_config_defaults(&options->c);
}

API_EXPORT void nrt_sys_trace_config_free(nrt_sys_trace_config_t *options)
{
    mem_free(options);
}

API_EXPORT void nrt_sys_trace_config_set_max_events_per_nc(nrt_sys_trace_config_t *options,
                                                           uint64_t max_events_per_nc)
{
    if (options)
        options->c.max_events = max_events_per_nc;
}

API_EXPORT void nrt_sys_trace_config_set_capture_enabled_for_nc(nrt_sys_trace_config_t *options,
                                                                uint32_t nc_idx, bool enabled)
{
    if (options)
        trace_config_core(&options->c, nc_idx, enabled);
}

NRT_STATUS api_trace_type_set(const char *func, struct trace_config *c, const char *event_type,
                              bool enabled)
{
    enum trace_type t;

    if (!c || !event_type)
        return api_fail(func, NRT_INVALID, "options or event_type is NULL");
    t = trace_type_find(event_type);
    if (t == TRACE_NONE)
        return api_fail(func, NRT_INVALID, "\"%s\" is not a type of event", event_type);
    trace_config_type(c, t, enabled);
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS nrt_sys_trace_config_set_capture_enabled_for_event_type(
    nrt_sys_trace_config_t *options, const char *event_type, bool enabled)
{
    return api_trace_type_set(__func__, options ? &options->c : NULL, event_type, enabled);
}

static NRT_STATUS type_names(const char *func, const struct trace_config *c, const char ***ret,
                             size_t *ret_count)
{
    const char *names[TRACE_TYPE_COUNT];
    size_t n = 0;

    for (unsigned t = TRACE_NONE + 1; t < TRACE_TYPE_COUNT; t++)
        if (trace_config_has_type(c, (enum trace_type)t))
            names[n++] = trace_type_name((enum trace_type)t);
    return api_strings(func, names, n, ret, ret_count);
}

API_EXPORT NRT_STATUS nrt_sys_trace_get_event_types(const char ***event_types, size_t *count)
{
    struct trace_config all;

    API_NEED(event_types && count, "event_types or count is NULL");
    trace_config_defaults(&all);
    return type_names(__func__, &all, event_types, count);
}

API_EXPORT NRT_STATUS nrt_sys_trace_config_get_enabled_event_types(nrt_sys_trace_config_t *options,
                                                                   const char ***event_types,
                                                                   size_t *count)
{
    API_NEED(options && event_types && count, "options, event_types or count is NULL");
    return type_names(__func__, &options->c, event_types, count);
}

API_EXPORT void nrt_sys_trace_free_event_types(const char **event_types, size_t count)
{
    api_strings_free(event_types, count);
}

/* ---- capture ---- */

static NRT_STATUS begin(const char *func, enum trace_owner owner, const struct trace_config *c)
{
    struct run_caller caller;
    struct err err = {0};
    NRT_STATUS status;

    run_caller_enter(&caller);
    status = trace_start(&api_.trace, owner, c, &err);
    run_caller_leave(&caller);
    return status == NRT_SUCCESS ? status : api_fail(func, status, "%s", err.text);
}

API_EXPORT NRT_STATUS nrt_sys_trace_start(nrt_sys_trace_config_t *options)
{
    struct trace_config c;

    API_NEED_READY();
    trace_config_defaults(&c);
    return begin(__func__, TRACE_BY_PROGRAM, options ? &options->c : &c);
}

API_EXPORT NRT_STATUS nrt_sys_trace_stop(void)
{
    struct run_caller caller;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    run_caller_enter(&caller);
    status = trace_stop(&api_.trace, TRACE_BY_PROGRAM, &err);
    run_caller_leave(&caller);
    return status == NRT_SUCCESS ? status : api_fail(__func__, status, "%s", err.text);
}

/* ---- fetching ---- */

API_EXPORT void nrt_sys_trace_fetch_options_set_defaults(nrt_sys_trace_fetch_options_t *options)
{
    if (options)
        *options = (nrt_sys_trace_fetch_options_t){.core = TRACE_ALL, .max = TRACE_ALL};
}

API_EXPORT NRT_STATUS nrt_sys_trace_fetch_options_allocate(nrt_sys_trace_fetch_options_t **options)
{
    nrt_sys_trace_fetch_options_t *o;

    API_NEED(options, "options is NULL");
    o = mem_alloc(sizeof(*o));
    if (!o)
        return api_fail(__func__, NRT_RESOURCE, "no host memory for options");
    *o = (nrt_sys_trace_fetch_options_t){.core = TRACE_ALL, .max = TRACE_ALL};
    *options = o;
    return NRT_SUCCESS;
}

API_EXPORT void nrt_sys_trace_fetch_options_free(nrt_sys_trace_fetch_options_t *options)
{
    mem_free(options);
}

API_EXPORT void nrt_sys_trace_fetch_options_set_max_events_per_nc(
    nrt_sys_trace_fetch_options_t *options, uint64_t max_events_per_nc)
{
    if (options)
        options->max = max_events_per_nc;
}

API_EXPORT void nrt_sys_trace_fetch_options_set_nc_idx(nrt_sys_trace_fetch_options_t *options,
                                                       uint64_t nc_idx)
{
    if (options)
        options->core = nc_idx;
}

API_EXPORT NRT_STATUS nrt_sys_trace_fetch_events(char **buffer, size_t *written_size,
                                                 const nrt_sys_trace_fetch_options_t *options)
{
    struct run_caller caller;
    struct strbuf out = {0};
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(buffer && written_size, "buffer or written_size is NULL");
    run_caller_enter(&caller);
    status = trace_fetch(&api_.trace, TRACE_BY_PROGRAM, options ? options->core : TRACE_ALL,
                         options ? options->max : TRACE_ALL, &out, &err);
    run_caller_leave(&caller);
    if (status != NRT_SUCCESS) {
        strbuf_fini(&out);
        return api_fail(__func__, status, "%s", err.text);
    }
    *buffer = out.s;
    *written_size = out.len;
    return NRT_SUCCESS;
}

API_EXPORT void nrt_sys_trace_buffer_free(char *buffer)
{
    mem_free(buffer);
}

/* ---- the API trace ---- */

API_EXPORT NRT_STATUS nrt_trace_start(bool trace_mem)
{
    struct trace_config c;

    API_NEED_READY();
    trace_config_defaults(&c);
    trace_config_type(&c, TRACE_dmem_buf_copyin, trace_mem);
    trace_config_type(&c, TRACE_dmem_buf_copyout, trace_mem);
    return begin(__func__, TRACE_BY_API_TRACE, &c);
}

/* The events stay in their rings until they are in the file: there is another try. */
static NRT_STATUS finish(const char *filename, struct err *err)
{
    struct strbuf out = {0};
    NRT_STATUS status = trace_document(&api_.trace, TRACE_BY_API_TRACE, &out, err);
    int fd = -1;

    if (status == NRT_SUCCESS && !fault_hit(FAULT_FILE))
        fd = fd_keep(open(filename, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (status == NRT_SUCCESS && fd < 0)
        status = err_set(err, NRT_INVALID, "%s: %s", filename, strerror(errno));
    if (status == NRT_SUCCESS && !fd_file_end(fd, out.s, out.len))
        status = err_set(err, NRT_FAILURE, "%s: %s", filename, strerror(errno));
    strbuf_fini(&out);
    return status;
}

API_EXPORT NRT_STATUS nrt_trace_stop(const char *filename)
{
    struct run_caller caller;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(filename && filename[0], "filename is NULL or empty");
    run_caller_enter(&caller);
    status = trace_running(&api_.trace, TRACE_BY_API_TRACE, &err);
    if (status == NRT_SUCCESS)
        status = finish(filename, &err);
    if (status == NRT_SUCCESS)
        status = trace_stop(&api_.trace, TRACE_BY_API_TRACE, &err);
    run_caller_leave(&caller);
    return status == NRT_SUCCESS ? status : api_fail(__func__, status, "%s", err.text);
}
