/* SPDX-License-Identifier: Apache-2.0 */
/* Where the threads of a process run and where the memory of a device lies: the NUMA nodes that the
 * documentation gives the devices of an instance type, mapped onto those of the host. The rules are
 * in docs/modules/run.md. */
#ifndef RUN_PLACE_H
#define RUN_PLACE_H

#include "base/err.h"
#include "run/run.h"
#include "topo/topo.h"

struct log;

/* --- the host ----------------------------------------------------------------------------------
 */

#define RUN_NODES_MAX 64

struct run_node {
    unsigned os; /* the system's number */
    struct run_cpus cpus;
};

/* Nodes with CPUs that the process's cgroup allows, in the order of their numbers. */
struct run_host {
    unsigned count;
    struct run_node node[RUN_NODES_MAX];
    uint16_t core[RUN_CPUS_MAX]; /* lowest CPU of the same physical core */
};

/* As hwloc sees it, which is loaded for this (HWLOC_XMLFILE and HWLOC_SYNTHETIC describe another
 * machine). Takes milliseconds, more on large machines. NRT_FAILURE: no hwloc, or it cannot tell.
 */
NRT_STATUS run_host_read(struct run_host *ret, struct err *err);

/* How many CPUs the time that the cgroups grant is worth, rounded up; 0: no limit. root is the
 * folder that has proc and sys: "" for the machine. Never fails: what cannot be read is no limit.
 */
unsigned run_quota_cpus(const char *root);

/* --- a placement -------------------------------------------------------------------------------
 */

struct run_place_config {
    const struct topo_instance *topo;
    struct run_cpus mask;    /* what the process may use; empty: not known, nothing is pinned */
    struct run_cpus allowed; /* what the system would let it use beyond the mask; may be empty */
    const char *low_latency; /* CPUs of the proxy threads, "40-47,88-95"; NULL: any */
    bool one_per_core;       /* each proxy thread on a physical core of its own */
    unsigned quota;          /* CPUs that cgroups grant; 0: no limit */
    const struct run_host *host; /* NULL: the machine, read when first needed */
    struct log *log;             /* may be NULL */
};

/* The environment's: the calling thread's mask, NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY (and only
 * if that is set, what is allowed), NEURON_RT_ONE_THREAD_PER_CORE, the cgroups. low_latency is the
 * environment's own storage. */
void run_place_config_env(struct run_place_config *cfg, const struct diag_sink *sink);

struct run_place;

/* Copies what cfg points to, but for topo and log. Reads no topology yet: the first of the
 * functions below that needs one does, and logs what it decided and why. NRT_RESOURCE. */
NRT_STATUS run_place_new(const struct run_place_config *cfg, struct run_place **ret,
                         struct err *err);
void run_place_free(struct run_place *p); /* NULL is fine */

/* All below: any thread; p may be NULL, which places nothing. */

/* The system's number of the node that a device is on; -1: the host has one, or the documentation
 * names none for this type. */
int run_place_node(struct run_place *p, unsigned device);

/* CPUs for a thread of ours, outside of the mask only where the variable names them for proxies;
 * false: those that its creator has (*ret is untouched).
 * Worker: of the device's node, not those of the proxies unless nothing is left.
 * Proxy: those of NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY, else of the device's node; with
 * one_per_core a single one, by number, physical cores before their second threads.
 * Pool: what the variable has not given to the proxies. */
bool run_place_worker(struct run_place *p, unsigned device, struct run_cpus *ret);
bool run_place_proxy(struct run_place *p, unsigned device, unsigned number, struct run_cpus *ret);
bool run_place_pool(struct run_place *p, struct run_cpus *ret);
/* Threads that a kernel pool should have, the caller included: as many as it has CPUs, no more than
 * cgroups grant. At least 1. */
unsigned run_place_pool_size(struct run_place *p);

/* Pages of [mem, mem + size) that have no memory yet come from the node if it has some to give; for
 * memory that processes share, in all of them. False: errno. mem is on a page boundary. */
bool run_memory_prefer(void *mem, size_t size, unsigned node);

#endif
