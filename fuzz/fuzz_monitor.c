/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of neuron-monitor: any bytes; what is accepted has periods in range and filters
 * that can be used. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "neuron-monitor/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(double period)
{
    if (period != 0 && !(period >= MON_PERIOD_MIN && period <= MON_PERIOD_MAX))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mon_config c;
    struct err err = {0};

    if (mon_config_parse(&c, data, size, &err) != NRT_SUCCESS) {
        if (!err.text[0])
            abort();
        return 0;
    }
    for (size_t r = 0; r < c.runtime_count; r++) {
        for (unsigned g = 0; g < MON_APP_COUNT; g++)
            check(c.runtime[r].period[g]);
        (void)mon_runtime_matches(&c.runtime[r], "train-0 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    }
    for (unsigned g = MON_VCPU; g < MON_GROUP_COUNT; g++)
        check(c.period[g]);
    mon_config_fini(&c);
    return 0;
}
