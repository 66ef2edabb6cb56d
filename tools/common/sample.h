/* SPDX-License-Identifier: Apache-2.0 */
/* What neuron-monitor and neuron-top know at one moment, of the instance and of the host, and what
 * two moments tell. */
#ifndef TOOLS_COMMON_SAMPLE_H
#define TOOLS_COMMON_SAMPLE_H

#include "common/host.h"
#include "common/view.h"

/* Shared by the groups whose period began then. */
struct sample {
    unsigned refs;
    struct snap snap;
    struct host_process *process; /* of snap.processes */
    bool *process_ok;
    struct host_cpus cpus;
    struct host_memory memory;
    bool cpus_ok, memory_ok;
};

/* NULL: no memory. One reference is the caller's. */
struct sample *sample_take(struct view *v);
struct sample *sample_ref(struct sample *s); /* NULL is fine */
void sample_unref(struct sample *s);

/* User and system time of a process between two moments as percent of one CPU; false: it ended or
 * is new. */
bool sample_vcpu(const struct sample *prev, const struct sample *cur, size_t process,
                 double *ret_user, double *ret_system);
/* Host memory that the runtime accounts to a process, and the rest of its anonymous memory. */
uint64_t sample_host_bytes(const struct sample *s, size_t process, uint64_t ret[DEVICE_HOST_COUNT]);

/* Utilization of a logical core in percent: the mean of its physical cores. */
double sample_vnc_utilization(const struct sample *prev, const struct sample *cur, uint32_t vnc,
                              unsigned lnc, double *ret_flops);

#define SAMPLE_ERRORS   6
#define SAMPLE_STATUSES 6
extern const char *const sample_error_names[SAMPLE_ERRORS],
    *const sample_status_names[SAMPLE_STATUSES];
/* Counts of status nodes, as the monitor names them. */
void sample_outcomes(const uint64_t count[DEVICE_CTR_COUNT], uint64_t ret_errors[SAMPLE_ERRORS],
                     uint64_t ret_statuses[SAMPLE_STATUSES]);

#endif
