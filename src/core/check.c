/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_int.h"

NRT_STATUS check_create(struct core_program *p, struct err *err)
{
    return err_set(err, NRT_INVALID, "OPENNRT_CHECK is not supported yet");
}

void check_destroy(struct core_check *k)
{
}
