/* SPDX-License-Identifier: Apache-2.0 */
/* The tally of a core's executions, in its live page: how many ended how, and how long they took.
 * Always on. There is one writer, whoever owns the core's executions, so an execution costs a few
 * plain loads and stores; readers (neuron-monitor, neuron-top, sysfs) subtract two readings to see
 * a period. It begins anew when the core is claimed: what it holds is the present owner's. */
#ifndef DEVICE_TALLY_H
#define DEVICE_TALLY_H

#include "device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How one execution of a physical core ended. */
struct device_tally_end {
    enum device_counter status; /* device_status_counter */
    uint64_t busy_us, flops;    /* nc_time_in_use, flop_count; 0: not counted */
    uint64_t core_ns;           /* time on the core; 0: the times are not recorded */
    uint64_t whole_ns;          /* with waiting for the core, copies and CPU nodes */
};

/* Count it. The caller owns the executions of the core (run_owner) or is its only user; readers see
 * the counters one after the other. */
void device_tally_add(struct device_instance *in, uint32_t core, const struct device_tally_end *e);

/* A reading. Any thread, any process; a core outside the instance has all zeros. */
struct device_tally_view {
    uint64_t count[DEVICE_CTR_COUNT];
    uint32_t core[DEVICE_TALLY_BUCKETS], whole[DEVICE_TALLY_BUCKETS];
};
void device_tally_read(struct device_instance *in, uint32_t core, struct device_tally_view *ret);

/* The bucket of a value (the last one: 2^44 and more), and the first value of a bucket: a value
 * lies in [first(b), first(b + 1)), at most a sixteenth of itself wide. */
static inline uint32_t device_tally_bucket(uint64_t v)
{
    uint32_t e;

    if (v < 16)
        return (uint32_t)v;
    e = 63 - (uint32_t)__builtin_clzll(v);
    return e < 44 ? (e - 3) * 16 + (uint32_t)(v >> (e - 4) & 15) : DEVICE_TALLY_BUCKETS - 1;
}

static inline uint64_t device_tally_first(uint32_t bucket)
{
    return bucket < 16 ? bucket : (uint64_t)(16 + bucket % 16) << (bucket / 16 - 1);
}

#ifdef __cplusplus
}
#endif

#endif
