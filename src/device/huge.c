/* SPDX-License-Identifier: Apache-2.0 */
/* Huge pages for device memory that is copied often. Hosts rarely give them to shared memory when
 * it is first touched (shmem_enabled is "never" by default), but since Linux 6.1 a process may ask
 * for them afterwards. That costs a copy of the block, a millisecond or so, and saves a fraction of
 * every later one: so a block must have been copied a few times first, and a host that refuses is
 * not asked again. The kernel keeps the bytes and the other mappings of the block correct. */
#include "device/device_int.h"

#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* Saving about 80 us a copy of 2 MiB against 600 to 3,000 us once (docs/kernels.md). */
#define HUGE_AFTER 16

void device_copied(struct device_instance *in, uint64_t addr, uint64_t size)
{
    struct hbm_map *m = &in->hbm[DEVICE_ADDR_HBM(addr)];
    uint64_t first = (DEVICE_ADDR_OFF(addr) + DEVICE_BLOCK - 1) / DEVICE_BLOCK;
    uint64_t end = (DEVICE_ADDR_OFF(addr) + size) / DEVICE_BLOCK;

    if (!m->copies)
        return;
    for (uint64_t b = first; b < end; b++) {
        char *p = atomic_load_explicit(&m->base, memory_order_acquire) + b * DEVICE_BLOCK;

        if (atomic_load_explicit(&m->copies[b], memory_order_relaxed) >= HUGE_AFTER)
            continue;
        if (atomic_fetch_add_explicit(&m->copies[b], 1, memory_order_relaxed) == HUGE_AFTER - 1 &&
            !atomic_load_explicit(&in->huge_refused, memory_order_relaxed) &&
            madvise(p, DEVICE_BLOCK, MADV_COLLAPSE) != 0)
            atomic_store_explicit(&in->huge_refused, true, memory_order_relaxed);
    }
}
