/* SPDX-License-Identifier: Apache-2.0 */
/* A program that defines a function of the runtime itself, as one open client does: the library's
 * own calls must not end up in it, and the program's must. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nrt/nrt.h"

static int calls;

const char *nrt_get_status_as_str(NRT_STATUS status)
{
    calls++;
    return "mine";
}

/* So may an allocation function of that name; the library must not find it either. */
void *mem_alloc(size_t size);
void *mem_alloc(size_t size)
{
    calls += 100;
    return NULL;
}

int main(void)
{
    nrt_tensor_t *t;

    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS)
        return 1;
    if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 99, 1, "", &t) != NRT_INVALID)
        return 2;
    if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, 1, "", &t) != NRT_SUCCESS)
        return 3;
    if (calls != 0)
        return 4;
    if (strcmp(nrt_get_status_as_str(NRT_SUCCESS), "mine") != 0 || calls != 1)
        return 5;
    nrt_close();
    return 0;
}
