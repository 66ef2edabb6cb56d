/* SPDX-License-Identifier: Apache-2.0 */
#include "common/host.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *const host_use_names[HOST_USE_COUNT] = {"user",    "nice", "system",  "idle",
                                                    "io_wait", "irq",  "soft_irq"};

double host_ticks_per_second(void)
{
    long hz = sysconf(_SC_CLK_TCK);

    return hz > 0 ? (double)hz : 100;
}

static bool cpu_line(const char *line, struct host_cpu *ret)
{
    uint64_t *t = ret->ticks;

    return sscanf(line,
                  " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                  " %" SCNu64,
                  &t[HOST_USER], &t[HOST_NICE], &t[HOST_SYSTEM], &t[HOST_IDLE], &t[HOST_IO_WAIT],
                  &t[HOST_IRQ], &t[HOST_SOFT_IRQ]) == HOST_USE_COUNT;
}

bool host_cpus_read(struct host_cpus *ret)
{
    FILE *f = fopen("/proc/stat", "re");
    char line[8192];
    bool all = false;
    unsigned number;
    int at;

    ret->count = 0;
    ret->context_switches = 0;
    if (!f)
        return false;
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, "cpu ", 4) == 0)
            all = cpu_line(line + 4, &ret->all);
        else if (ret->count < HOST_CPUS_MAX && sscanf(line, "cpu%u%n", &number, &at) == 1 &&
                 cpu_line(line + at, &ret->cpu[ret->count]))
            ret->cpu[ret->count++].number = number;
        else if (strncmp(line, "ctxt ", 5) == 0)
            (void)sscanf(line + 5, "%" SCNu64, &ret->context_switches);
    }
    fclose(f);
    return all;
}

void host_cpu_shares(const struct host_cpu *prev, const struct host_cpu *cur,
                     double ret[HOST_USE_COUNT])
{
    double sum = 0;

    for (unsigned i = 0; i < HOST_USE_COUNT; i++) {
        /* iowait may go back (proc(5)). */
        ret[i] = cur->ticks[i] > prev->ticks[i] ? (double)(cur->ticks[i] - prev->ticks[i]) : 0;
        sum += ret[i];
    }
    for (unsigned i = 0; i < HOST_USE_COUNT; i++)
        ret[i] = sum > 0 ? 100 * ret[i] / sum : 0;
}

bool host_memory_read(struct host_memory *ret)
{
    uint64_t total = 0, available = 0, swap = 0, swap_free = 0, kib;
    FILE *f = fopen("/proc/meminfo", "re");
    char line[256], name[64];

    if (!f)
        return false;
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%63[^:]: %" SCNu64, name, &kib) != 2)
            continue;
        if (strcmp(name, "MemTotal") == 0)
            total = kib << 10;
        else if (strcmp(name, "MemAvailable") == 0)
            available = kib << 10;
        else if (strcmp(name, "SwapTotal") == 0)
            swap = kib << 10;
        else if (strcmp(name, "SwapFree") == 0)
            swap_free = kib << 10;
    }
    fclose(f);
    *ret = (struct host_memory){.total = total,
                                .used = total > available ? total - available : 0,
                                .swap_total = swap,
                                .swap_used = swap > swap_free ? swap - swap_free : 0};
    return total != 0;
}

static bool process_times(int pid, struct host_process *ret)
{
    char path[48], text[1024];
    const char *p;
    size_t n;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "re");
    if (!f)
        return false;
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    p = strrchr(text, ')'); /* the name in front may hold anything; utime and stime are 14 and 15 */
    return p && sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
                       &ret->user_ticks, &ret->system_ticks) == 2;
}

bool host_process_read(int pid, struct host_process *ret)
{
    char path[48], line[256];
    uint64_t kib;
    FILE *f;

    memset(ret, 0, sizeof(*ret));
    if (pid <= 0 || !process_times(pid, ret))
        return false;
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    f = fopen(path, "re");
    if (!f)
        return false;
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1)
            ret->resident = kib << 10;
    fclose(f);
    return true;
}
