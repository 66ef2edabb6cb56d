/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory the host can still give: MemAvailable and the limits of the cgroups this process
 * is in, less a margin that keeps the machine alive. */
#include "device/hostmem.h"
#include "device/device_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARGIN_MIN (UINT64_C(64) << 20)

static bool file_read(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, size - 1) : -1;

    if (fd >= 0)
        close(fd);
    buf[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* A number in a one-line file; "max" and failure give UINT64_MAX. */
static uint64_t file_number(const char *dir, const char *name)
{
    char path[640], buf[64];
    char *end;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (!file_read(path, buf, sizeof(buf)))
        return UINT64_MAX;
    unsigned long long v = strtoull(buf, &end, 10);
    return end == buf ? UINT64_MAX : v;
}

/* Value of `key` in a file of "key value" lines; 0 if there is none. */
static uint64_t file_key(const char *dir, const char *name, const char *key)
{
    char path[640], buf[8192];
    size_t n = strlen(key);

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (!file_read(path, buf, sizeof(buf)))
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

/* Every group from the process's own up to the root of the hierarchy. */
static void room_groups(struct host_room *r, const char *root, char *group, bool v2)
{
    for (;;) {
        char dir[512];

        snprintf(dir, sizeof(dir), "%s%s", root, group);
        if (v2)
            room_limit(r, file_number(dir, "memory.max"), file_number(dir, "memory.current"),
                       file_key(dir, "memory.stat", "inactive_file"));
        else
            room_limit(r, file_number(dir, "memory.limit_in_bytes"),
                       file_number(dir, "memory.usage_in_bytes"),
                       file_key(dir, "memory.stat", "total_inactive_file"));
        char *slash = strrchr(group, '/');
        if (!slash || group[0] == 0)
            return;
        *slash = 0;
    }
}

static void room_cgroups(struct host_room *r)
{
    char buf[4096];
    char *line, *save = NULL;

    if (!file_read("/proc/self/cgroup", buf, sizeof(buf)))
        return;
    for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *ctl = strchr(line, ':');
        char *group = ctl ? strchr(ctl + 1, ':') : NULL;

        if (!group || strlen(group) > 300)
            continue;
        *group++ = 0;
        if (ctl[1] == 0)
            room_groups(r, "/sys/fs/cgroup", group, true);
        else if (strcmp(ctl + 1, "memory") == 0)
            room_groups(r, "/sys/fs/cgroup/memory", group, false);
    }
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
    room_cgroups(ret);
    ret->available = ret->available > margin ? ret->available - margin : 0;
    if (in && in->cfg.host_limit_bytes) {
        uint64_t used = atomic_load_explicit(&in->host_backed, memory_order_relaxed);
        uint64_t left = in->cfg.host_limit_bytes > used ? in->cfg.host_limit_bytes - used : 0;

        if (left < ret->available)
            ret->available = left;
        ret->mem_avail = left;
    }
}
