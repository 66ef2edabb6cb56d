/* SPDX-License-Identifier: Apache-2.0 */
/* What the host's /proc says about its CPUs, its memory and a process. Every reader gives false
 * when the file is not there or not as documented in proc(5); nothing is made up then. */
#ifndef TOOLS_COMMON_HOST_H
#define TOOLS_COMMON_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOST_CPUS_MAX 1024

/* Ticks since the start; the names of neuron-monitor. */
enum host_use {
    HOST_USER,
    HOST_NICE,
    HOST_SYSTEM,
    HOST_IDLE,
    HOST_IO_WAIT,
    HOST_IRQ,
    HOST_SOFT_IRQ,
    HOST_USE_COUNT
};
extern const char *const host_use_names[HOST_USE_COUNT];

struct host_cpu {
    unsigned number;
    uint64_t ticks[HOST_USE_COUNT];
};

struct host_cpus {
    struct host_cpu all, cpu[HOST_CPUS_MAX];
    size_t count;
    uint64_t context_switches;
};
bool host_cpus_read(struct host_cpus *ret);
/* Percent of the time between two readings of one CPU. */
void host_cpu_shares(const struct host_cpu *prev, const struct host_cpu *cur,
                     double ret[HOST_USE_COUNT]);

struct host_memory {
    uint64_t total, used, swap_total, swap_used; /* bytes; used: total less available */
};
bool host_memory_read(struct host_memory *ret);

struct host_process {
    uint64_t user_ticks, system_ticks;
    uint64_t resident; /* bytes of anonymous memory */
};
bool host_process_read(int pid, struct host_process *ret);
double host_ticks_per_second(void);

#endif
