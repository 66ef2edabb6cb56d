/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdio.h>

#include "base/broken.h"

#define DIAG_TEXT_MAX 1024

NRT_STATUS err_vset(struct err *err, NRT_STATUS status, const char *fmt, va_list ap)
{
    if (err != NULL && err->status == NRT_SUCCESS) {
        err->status = status;
        if (vsnprintf(err->text, sizeof(err->text), fmt, ap) < 0)
            err->text[0] = '\0';
    }
    return status;
}

NRT_STATUS err_set(struct err *err, NRT_STATUS status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_vset(err, status, fmt, ap);
    va_end(ap);
    return status;
}

const char *status_name(NRT_STATUS status)
{
    if (BROKEN(API))
        return "";
    switch (status) {
#define NAME(s) \
    case s:     \
        return #s
        NAME(NRT_SUCCESS);
        NAME(NRT_FAILURE);
        NAME(NRT_INVALID);
        NAME(NRT_INVALID_HANDLE);
        NAME(NRT_RESOURCE);
        NAME(NRT_TIMEOUT);
        NAME(NRT_HW_ERROR);
        NAME(NRT_QUEUE_FULL);
        NAME(NRT_LOAD_NOT_ENOUGH_NC);
        NAME(NRT_UNSUPPORTED_NEFF_VERSION);
        NAME(NRT_FAIL_HOST_MEM_ALLOC);
        NAME(NRT_UNINITIALIZED);
        NAME(NRT_CLOSED);
        NAME(NRT_QUEUE_EMPTY);
        NAME(NRT_EXEC_UNIT_UNRECOVERABLE);
        NAME(NRT_EXEC_BAD_INPUT);
        NAME(NRT_EXEC_COMPLETED_WITH_NUM_ERR);
        NAME(NRT_EXEC_COMPLETED_WITH_ERR);
        NAME(NRT_EXEC_NC_BUSY);
        NAME(NRT_EXEC_OOB);
        NAME(NRT_COLL_PENDING);
        NAME(NRT_EXEC_HW_ERR_COLLECTIVES);
        NAME(NRT_EXEC_HW_ERR_HBM_UE);
        NAME(NRT_EXEC_HW_ERR_NC_UE);
        NAME(NRT_EXEC_HW_ERR_DMA_ABORT);
        NAME(NRT_EXEC_SW_NQ_OVERFLOW);
        NAME(NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE);
        NAME(NRT_NETWORK_PROXY_FAILURE);
#undef NAME
    }
    return "UNKNOWN STATUS";
}

__attribute__((format(printf, 3, 0))) static void diag_send(void (*to)(void *, const char *),
                                                            void *arg, const char *fmt, va_list ap)
{
    char text[DIAG_TEXT_MAX];

    if (vsnprintf(text, sizeof(text), fmt, ap) >= 0)
        to(arg, text);
}

void diag_warn(const struct diag_sink *sink, const char *fmt, ...)
{
    va_list ap;

    if (sink == NULL || sink->warn == NULL)
        return;
    va_start(ap, fmt);
    diag_send(sink->warn, sink->arg, fmt, ap);
    va_end(ap);
}

void diag_debug(const struct diag_sink *sink, const char *fmt, ...)
{
    va_list ap;

    if (sink == NULL || sink->debug == NULL)
        return;
    va_start(ap, fmt);
    diag_send(sink->debug, sink->arg, fmt, ap);
    va_end(ap);
}
