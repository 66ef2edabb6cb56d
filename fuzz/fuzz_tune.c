/* SPDX-License-Identifier: Apache-2.0 */
/* The file of opennrt tune: any bytes; what is read is printed and read again, to the same table.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "sched/tune.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sched_tuning t, again;
    struct strbuf b = {0};
    struct err err = {0};

    if (sched_tuning_parse((const char *)data, size, &t, &err) != NRT_SUCCESS)
        return 0;
    for (unsigned op = 0; op < SCHED_OP_COUNT; op++)
        for (unsigned k = 0; k < 128; k++) {
            struct sched_means m =
                sched_tuning_choose(&t, (enum sched_op)op, k & 1, UINT64_C(1) << k / 2);

            if (m.variant >= SCHED_VARIANT_COUNT || m.slice < SCHED_SLICE_MIN ||
                m.slice > SCHED_SLICE_MAX)
                abort();
        }
    sched_tuning_print(&t, &b);
    if (b.failed || sched_tuning_parse(b.s, b.len, &again, &err) != NRT_SUCCESS ||
        memcmp(&t, &again, sizeof(t)) != 0)
        abort();
    strbuf_fini(&b);
    return 0;
}
