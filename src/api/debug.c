/* SPDX-License-Identifier: Apache-2.0 */
/* The debug stream: docs/spec/api.md 10. */
#include "api/api_int.h"

API_EXPORT NRT_STATUS nrt_debug_client_connect(int logical_nc_idx, int *stream_fd)
{
    struct run_caller caller;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(stream_fd, "stream_fd is NULL");
    if (logical_nc_idx < 0 || (uint32_t)logical_nc_idx >= api_.vnc_count)
        return api_fail(__func__, NRT_INVALID, "core %d is not one of the %u owned", logical_nc_idx,
                        api_.vnc_count);
    run_caller_enter(&caller);
    status = debug_stream_connect(api_.debug, (uint32_t)logical_nc_idx, stream_fd, &err);
    run_caller_leave(&caller);
    return status == NRT_SUCCESS ? status : api_fail(__func__, status, "%s", err.text);
}

API_EXPORT void nrt_debug_client_connect_close(int stream_fd)
{
    struct run_caller caller;

    API_CALL();
    if (!api_ready())
        return;
    run_caller_enter(&caller);
    (void)debug_stream_close(api_.debug, stream_fd);
    run_caller_leave(&caller);
}

API_EXPORT NRT_STATUS nrt_debug_client_read_one_event(int stream_fd,
                                                      ndebug_stream_event_header_t *header,
                                                      void **payload)
{
    struct run_caller caller;
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(header && payload, "header or payload is NULL");
    run_caller_enter(&caller);
    status = debug_stream_read(api_.debug, stream_fd, header, payload, &err);
    run_caller_leave(&caller);
    if (status == NRT_SUCCESS || status == NRT_QUEUE_EMPTY) /* that there is none is an answer */
        return status;
    return api_fail(__func__, status, "%s", err.text);
}
