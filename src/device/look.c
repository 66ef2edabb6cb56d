/* SPDX-License-Identifier: Apache-2.0 */
/* A look at device memory by somebody who has no slot yet, and so cannot attach an HBM: whoever
 * takes back what a dead process held before it claims a slot of its own. A file is there after all
 * its users; other memory lives as long as a process that has it. Nothing is made, no block gets
 * memory, nobody is told. */
#include "device/device_int.h"

#include <sys/mman.h>
#include <unistd.h>

/* A descriptor of the HBM's memory; -1: it cannot be had. */
static int look_fd_locked(struct device_instance *in, uint32_t hbm)
{
    const struct backing_ops *ops = backing_for(in);
    const struct ctl_hbm *h = ctl_hbm(in, hbm);
    struct backing_id id = {.dev = h->backing_dev, .ino = atomic_load(&h->backing_ino)};
    int fd;

    if (id.ino == 0)
        return -1;
    if (ops->outlives)
        return ops->attach(in, hbm, 0, 0, &id, &fd, NULL) == NRT_SUCCESS ? fd : -1;
    for (uint32_t s = 0; s < in->lay.slots; s++) {
        struct ctl_slot *slot = ctl_slot(in, s);
        int theirs = atomic_load_explicit(&slot->hbm_fd[hbm], memory_order_acquire) - 1;

        if (theirs >= 0 && slot_live_locked(in, s) &&
            ops->attach(in, hbm, slot->pid, theirs, &id, &fd, NULL) == NRT_SUCCESS)
            return fd;
    }
    return -1;
}

bool device_look(struct device_instance *in, uint64_t addr, uint64_t size, struct device_look *ret)
{
    uint32_t hbm = DEVICE_ADDR_HBM(addr);
    uint64_t off = DEVICE_ADDR_OFF(addr), start = off / DEVICE_BLOCK * DEVICE_BLOCK, end = start;
    void *p;
    int fd;

    *ret = (struct device_look){.map = NULL};
    if (hbm >= in->lay.hbms || size == 0 || !range_ok(off, size, in->hbm_bytes) ||
        ctl_lock(in, NULL) != NRT_SUCCESS)
        return false;
    while (end < off + size && hbm_any_backed(in, hbm, end, 1))
        end += DEVICE_BLOCK;
    fd = end > off ? look_fd_locked(in, hbm) : -1;
    ctl_unlock(in);
    if (fd < 0)
        return false;
    p = mmap(NULL, end - start, PROT_READ, MAP_SHARED, fd, (off_t)start);
    close(fd);
    if (p == MAP_FAILED)
        return false;
    *ret = (struct device_look){.at = (const char *)p + (off - start),
                                .size = end < off + size ? end - off : size,
                                .map = p,
                                .map_size = end - start};
    return true;
}

void device_look_end(struct device_look *look)
{
    if (look->map)
        munmap(look->map, look->map_size);
    *look = (struct device_look){.map = NULL};
}
