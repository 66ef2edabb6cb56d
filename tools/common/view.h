/* SPDX-License-Identifier: Apache-2.0 */
/* How the tools see an instance: by observing it, without a slot and without its lock, so that it
 * is never disturbed and nobody who is stopped or dead can stop a tool. A snapshot is read once and
 * then belongs to the tool; rates are differences of two. Nothing that the instance holds is
 * trusted: texts end, numbers are in range. */
#ifndef TOOLS_COMMON_VIEW_H
#define TOOLS_COMMON_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/device.h"
#include "device/tally.h"

/* The instance that the environment names: a live one, or the one that the first process would
 * make. */
struct view {
    struct device_instance *in; /* NULL: not there */
    struct device_config cfg;
    const struct topo_instance *topo;
    const char *name;
    unsigned lnc;   /* of a process that would start now */
    struct err err; /* why an instance that is there cannot be looked at: other version, damaged;
                       status NRT_SUCCESS: it can, or there is none */
};

/* False: no device, settings that are wrong, or an instance that cannot be looked at; said as
 * "<tool>: ...". */
bool view_open(struct view *v, const char *tool);
/* Look again: the instance may have come, or have been removed and made anew, of any type. */
void view_refresh(struct view *v);
void view_close(struct view *v);

static inline uint64_t view_device_bytes(const struct view *v)
{
    uint64_t hbm = v->in              ? device_hbm_bytes(v->in)
                   : v->cfg.hbm_bytes ? v->cfg.hbm_bytes
                                      : v->topo->hbm_bytes;

    return hbm * v->topo->hbms_per_device;
}

/* ---- a snapshot ---- */

struct snap_process {
    struct device_process p; /* live */
    uint32_t cores;          /* physical, owned */
    uint64_t device_bytes;
};

/* What one NEFF (DEVICE_NONE: none) of one process uses on one physical core. */
struct snap_use {
    uint32_t slot, core, neff;
    struct device_usage use;
};

struct snap_core {
    uint32_t process;    /* index of the owner, DEVICE_NONE: nobody who lives */
    uint64_t running_us; /* CLOCK_MONOTONIC of the start of what runs now; 0: idle */
    uint32_t running;    /* its NEFF, DEVICE_NONE */
    struct device_tally_view tally;
};

struct snap {
    uint64_t ns;         /* CLOCK_MONOTONIC */
    uint32_t core_count; /* 0: no instance */
    struct snap_core *cores;
    struct snap_process *processes;
    size_t process_count, process_cap;
    struct snap_use *uses; /* in the order slot, core, neff */
    size_t use_count, use_cap;
    struct device_neff_info *neffs; /* of live processes; in the order slot, id, core */
    size_t neff_count, neff_cap;
};

/* False: no memory. snap_fini frees it in every case. */
bool snap_take(struct view *v, struct snap *ret);
void snap_fini(struct snap *s);
/* Sum of what matches; DEVICE_NONE matches all. neff: UINT32_MAX - 1 matches all. */
#define SNAP_ANY_NEFF (DEVICE_NONE - 1)
void snap_usage(const struct snap *s, uint32_t slot, uint32_t core, uint32_t neff,
                struct device_usage *ret);

/* ---- rates between two snapshots of one view; prev may be an empty one ---- */

double rate_seconds(const struct snap *prev, const struct snap *cur);
/* Share of the period in which a physical core was busy, 0 to 1; NULL ret_flops is fine. */
double rate_utilization(const struct snap *prev, const struct snap *cur, uint32_t core);
double rate_flops(const struct snap *prev, const struct snap *cur, uint32_t core);

#define RATE_PERCENTILES 7 /* 0 1 25 50 75 99 100 */
extern const unsigned rate_percentiles[RATE_PERCENTILES];

/* Executions of a process in the period. */
struct rate_executions {
    uint64_t count[DEVICE_CTR_COUNT];
    uint64_t timed; /* executions with times; 0: the percentiles mean nothing */
    double whole[RATE_PERCENTILES], core[RATE_PERCENTILES]; /* seconds, within 3.2 percent */
};
void rate_executions(const struct snap *prev, const struct snap *cur, uint32_t process,
                     struct rate_executions *ret);

#endif
