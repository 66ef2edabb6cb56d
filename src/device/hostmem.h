/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory the host can still give to device memory. */
#ifndef DEVICE_HOSTMEM_H
#define DEVICE_HOSTMEM_H

#include <stdint.h>

struct device_instance;

struct host_room {
    uint64_t available;  /* bytes that may still be backed, margin taken off */
    uint64_t mem_avail;  /* MemAvailable */
    uint64_t cgroup_max; /* smallest limit of the process's groups; UINT64_MAX: none */
};

/* in may be NULL (no test limit applies). Reads /proc and /sys; never fails: what cannot be read
 * does not limit. Any thread. */
void host_room_get(const struct device_instance *in, struct host_room *ret);

#endif
