/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file of neuron-monitor (behaviour.md 19.3): which groups of metrics, of which
 * applications, how often. Pure; the file is hostile. */
#ifndef TOOLS_NEURON_MONITOR_CONFIG_H
#define TOOLS_NEURON_MONITOR_CONFIG_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* Groups of an application, then of the system. */
enum mon_group {
    MON_CORES,
    MON_MEMORY,
    MON_RUNTIME_VCPU,
    MON_EXECUTIONS,
    MON_APP_COUNT,
    MON_VCPU = MON_APP_COUNT,
    MON_MEMORY_INFO,
    MON_HW,
    MON_GROUP_COUNT
};
extern const char *const mon_group_names[MON_GROUP_COUNT];

#define MON_RUNTIMES_MAX 64
#define MON_PERIOD_MIN   0.001 /* seconds */
#define MON_PERIOD_MAX   86400.0
#define MON_PERIOD       5.0

/* One entry of neuron_runtimes. */
struct mon_runtime {
    bool filtered;
    regex_t filter;               /* of process tags; filtered only */
    double period[MON_APP_COUNT]; /* seconds; 0: not asked for */
};

struct mon_config {
    struct mon_runtime runtime[MON_RUNTIMES_MAX];
    size_t runtime_count;
    double period[MON_GROUP_COUNT]; /* of the system's groups, from MON_VCPU on */
    unsigned unknown;               /* members that mean nothing, which were left out */
    char unknown_name[64];          /* the first of them, cut */
};

/* Without a file: all groups of all applications and of the system. */
void mon_config_default(struct mon_config *c);
/* NRT_INVALID with the member's name: not JSON, wrong types, groups that do not exist, periods that
 * are none ("500ms", "1s", "2m", "1h", from 1 ms to a day), filters that are no regular expression
 * of at most 256 bytes, with back references, or with repetitions that multiply beyond 1024. *ret
 * is to be finished on success only. */
NRT_STATUS mon_config_parse(struct mon_config *ret, const void *bytes, size_t size,
                            struct err *err);
void mon_config_fini(struct mon_config *c);

/* Whether an entry is about a process with this tag. */
bool mon_runtime_matches(const struct mon_runtime *r, const char *tag);

#endif
