/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory the host can still give: MemAvailable and the limits of the cgroups this process
 * is in, less a margin that keeps the machine alive. */
#include "device/hostmem.h"
#include "device/device_int.h"

#include <stdlib.h>
#include <string.h>

#include "run/cgroup.h"

#define MARGIN_MIN (UINT64_C(64) << 20)

/* A number in a one-line file; "max" and failure give UINT64_MAX. */
static uint64_t file_number(const char *dir, const char *name)
{
    char buf[64];
    char *end;

    if (!run_file_text(dir, name, buf, sizeof(buf)))
        return UINT64_MAX;
    unsigned long long v = strtoull(buf, &end, 10);
    return end == buf ? UINT64_MAX : v;
}

/* Value of `key` in a file of "key value" lines; 0 if there is none. */
static uint64_t file_key(const char *dir, const char *name, const char *key)
{
    char buf[8192];
    size_t n = strlen(key);

    if (!run_file_text(dir, name, buf, sizeof(buf)))
        return 0;
    for (char *p = buf; p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strncmp(p, key, n) == 0 && (p[n] == ' ' || p[n] == ':'))
            return strtoull(p + n + 1, NULL, 10);
    }
    return 0;
}

static void room_limit(struct host_room *r, uint64_t max, uint64_t used, uint64_t reclaimable)
{
    uint64_t room;

    if (max >= UINT64_C(1) << 60 || used == UINT64_MAX)
        return;
    used = used > reclaimable ? used - reclaimable : 0;
    room = max > used ? max - used : 0;
    if (max < r->cgroup_max)
        r->cgroup_max = max;
    if (room < r->available)
        r->available = room;
}

static void group_limit(void *arg, const char *dir, bool v2)
{
    struct host_room *r = arg;

    if (v2)
        room_limit(r, file_number(dir, "memory.max"), file_number(dir, "memory.current"),
                   file_key(dir, "memory.stat", "inactive_file"));
    else
        room_limit(r, file_number(dir, "memory.limit_in_bytes"),
                   file_number(dir, "memory.usage_in_bytes"),
                   file_key(dir, "memory.stat", "total_inactive_file"));
}

void host_room_get(const struct device_instance *in, struct host_room *ret)
{
    uint64_t total = file_key("/proc", "meminfo", "MemTotal") << 10;
    uint64_t margin = total / 64 > MARGIN_MIN ? total / 64 : MARGIN_MIN;

    ret->mem_avail = file_key("/proc", "meminfo", "MemAvailable") << 10;
    ret->cgroup_max = UINT64_MAX;
    ret->available = ret->mem_avail;
    if (total == 0) /* no /proc: let the kernel say no */
        ret->available = ret->mem_avail = UINT64_MAX;
    run_cgroup_each("", "memory", group_limit, ret);
    ret->available = ret->available > margin ? ret->available - margin : 0;
    if (in && in->cfg.host_limit_bytes) {
        uint64_t used = atomic_load_explicit(&in->host_backed, memory_order_relaxed);
        uint64_t left = in->cfg.host_limit_bytes > used ? in->cfg.host_limit_bytes - used : 0;

        if (left < ret->available)
            ret->available = left;
        ret->mem_avail = left;
    }
}
