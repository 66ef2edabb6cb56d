/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of opennrt/fault.h. */
#include "opennrt/fault.h"

#include "api/api_int.h"

API_EXPORT NRT_STATUS opennrt_fault_add(const char *items)
{
    struct err err = {0};
    NRT_STATUS status;

    API_NEED_READY();
    API_NEED(items, "items is NULL");
    status = device_faults_add(api_.in, items, &err);
    return status == NRT_SUCCESS ? status : api_fail(__func__, status, "%s", err.text);
}

API_EXPORT NRT_STATUS opennrt_fault_clear(void)
{
    API_NEED_READY();
    device_faults_clear(api_.in);
    return NRT_SUCCESS;
}

API_EXPORT NRT_STATUS opennrt_fault_struck(uint64_t *ret_count)
{
    API_NEED_READY();
    API_NEED(ret_count, "ret_count is NULL");
    *ret_count = device_faults_struck(api_.in);
    return NRT_SUCCESS;
}
