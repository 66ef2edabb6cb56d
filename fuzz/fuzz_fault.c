/* SPDX-License-Identifier: Apache-2.0 */
/* An item of OPENNRT_FAULT: any bytes; what is taken is within the limits that its users rely on.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "device/fault_item.h"
#include "isa/isa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct fault_item *it)
{
    if ((unsigned)it->kind > DEVICE_FAULT_LINK || (unsigned)it->point >= FAULT_POINT_COUNT ||
        (unsigned)it->hw >= DEVICE_HW_COUNT || it->engine < -1 || it->engine >= ISA_ENGINES ||
        it->odds.of32 > FAULT_ALWAYS || !memchr(it->model, 0, sizeof(it->model)))
        abort();
    if (it->kind == DEVICE_FAULT_HW && it->hw == DEVICE_HW_NONE)
        abort();
    if (it->kind == DEVICE_FAULT_SEMAPHORE && it->detail >= ISA_SEMAPHORES)
        abort();
    if (it->kind == DEVICE_FAULT_LINK && it->detail == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fault_item it;
    struct err err = {0};
    /* Its end is the end of the memory, so that a byte more is found. */
    char *text = malloc(size ? size : 1);

    if (!text)
        return 0;
    memcpy(text, data, size);
    if (fault_item_parse(text, size, &it, &err) == NRT_SUCCESS) {
        check(&it);
    } else if (err.status != NRT_INVALID || !err.text[0]) {
        abort();
    }
    free(text);
    return 0;
}
