/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroups of this process, and how many CPUs' time they grant: cpu.max of version 2,
 * cpu.cfs_quota_us and cpu.cfs_period_us of version 1. */
#include "run/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run/place.h"

#define GROUP_MAX 300
#define ROOT_MAX  200

bool run_file_text(const char *dir, const char *name, char *buf, size_t size)
{
    char path[ROOT_MAX + GROUP_MAX + 200];
    ssize_t n = -1;
    int fd;

    buf[0] = '\0';
    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
        return false;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, buf, size - 1);
        close(fd);
    }
    buf[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* Whether one of "cpu,cpuacct" is the controller. */
static bool is_among(const char *list, const char *controller)
{
    size_t len = strlen(controller);

    while (*list != '\0') {
        size_t n = strcspn(list, ",");

        if (n == len && memcmp(list, controller, n) == 0)
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}

/* A line of /proc/self/cgroup: "number:controllers:group", no controllers for version 2. */
static void line_each(const char *root, const char *controller, char *line,
                      void (*group)(void *arg, const char *dir, bool v2), void *arg)
{
    char *list = strchr(line, ':'), *name = list != NULL ? strchr(list + 1, ':') : NULL;
    char dir[ROOT_MAX + GROUP_MAX + 100];
    bool v2;

    if (name == NULL || strlen(name) > GROUP_MAX)
        return;
    *name++ = '\0';
    v2 = *++list == '\0';
    if (!v2 && !is_among(list, controller))
        return;
    for (;;) {
        char *slash = strrchr(name, '/');

        snprintf(dir, sizeof(dir), "%s/sys/fs/cgroup%s%s%s", root, v2 ? "" : "/",
                 v2 ? "" : controller, name);
        group(arg, dir, v2);
        if (slash == NULL || name[0] == '\0')
            return;
        *slash = '\0';
    }
}

void run_cgroup_each(const char *root, const char *controller,
                     void (*group)(void *arg, const char *dir, bool v2), void *arg)
{
    char buf[4096];
    char *line, *save = NULL;

    if (strlen(root) > ROOT_MAX || !run_file_text(root, "proc/self/cgroup", buf, sizeof(buf)))
        return;
    for (line = strtok_r(buf, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        line_each(root, controller, line, group, arg);
}

/* --- CPU time ----------------------------------------------------------------------------------
 */

/* Microseconds; 0: "max", -1, or no number. */
static uint64_t time_parse(const char **text)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(*text, &end, 10);
    if (end == *text || errno != 0 || v < 0)
        return 0;
    *text = end;
    return (uint64_t)v;
}

static unsigned cpus_for(uint64_t quota, uint64_t period)
{
    uint64_t n;

    if (quota == 0 || period == 0)
        return 0;
    n = quota / period + (quota % period != 0);
    return n < RUN_CPUS_MAX ? (unsigned)n : RUN_CPUS_MAX;
}

static void group_least(void *arg, const char *dir, bool v2)
{
    unsigned *least = arg, n;
    char text[64], second[64];
    const char *quota = text, *period = second;
    uint64_t us;

    if (!run_file_text(dir, v2 ? "cpu.max" : "cpu.cfs_quota_us", text, sizeof(text)))
        return;
    us = time_parse(&quota);
    if (v2)
        period = quota; /* both are on one line */
    else if (!run_file_text(dir, "cpu.cfs_period_us", second, sizeof(second)))
        return;
    n = cpus_for(us, time_parse(&period));
    if (n != 0 && (*least == 0 || n < *least))
        *least = n;
}

unsigned run_quota_cpus(const char *root)
{
    unsigned least = 0;

    run_cgroup_each(root, "cpu", group_least, &least);
    return least;
}
