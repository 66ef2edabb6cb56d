/* SPDX-License-Identifier: Apache-2.0 */
/* The shared scratchpad of a core: behaviour.md section 14. One struct per physical core, owned by
 * the model room; its lock is the caller's (loads of one core are serial). */
#ifndef DEVICE_SCRATCHPAD_H
#define DEVICE_SCRATCHPAD_H

#include "device/device.h"

#define SCRATCH_STEP      (UINT64_C(64) << 20)   /* growth of the contiguous region */
#define SCRATCH_PAGE_UNIT (UINT64_C(512) << 20)  /* page sizes are multiples of this ... */
#define SCRATCH_PAGE_MAX  (UINT64_C(3584) << 20) /* ... up to this */

struct scratch_config {
    bool contiguous;
    uint64_t page_bytes; /* non-contiguous mode */
};
/* From NEURON_RT_CONTIGUOUS_SCRATCHPAD, NEURON_SCRATCHPAD_PAGE_SIZE and its older name; defaults by
 * platform and LNC. Bad values warn through sink. */
struct scratch_config scratch_config_env(const struct topo_instance *t, unsigned lnc,
                                         const struct diag_sink *sink);

/* One `virtual` variable: backing_variable_off and size, bytes. */
struct scratch_var {
    uint64_t off, size;
};

/* Pure figures. need: MAX(off + size), false on overflow. fits: the rule of non-contiguous mode. */
bool scratch_need(const struct scratch_var *vars, size_t count, uint64_t *ret_need);
bool scratch_fits(const struct scratch_var *v, uint64_t page_bytes);
/* Smallest legal page size with which every variable fits; 0: none. */
uint64_t scratch_page_advice(const struct scratch_var *vars, size_t count);

struct scratchpad;
struct scratch_lease; /* one loaded NEFF's hold on the scratchpad */

NRT_STATUS scratchpad_create(struct device_instance *in, uint32_t core, struct scratch_config cfg,
                             struct scratchpad **ret, struct err *err);
void scratchpad_destroy(struct scratchpad *sp); /* after every lease is gone; NULL is fine */

/* Load: make room for the variables of NEFF neff and give the device address of each in
 * addrs[count]. Grows the shared region or pages; misfits get private extents (category
 * Scratchpad). Nothing changes on failure (NRT_RESOURCE, OOM report printed; in contiguous mode the
 * text advises to set NEURON_RT_CONTIGUOUS_SCRATCHPAD to 0). Warns with the recommended page size
 * when there are misfits. */
NRT_STATUS scratchpad_load(struct scratchpad *sp, uint32_t neff, const struct scratch_var *vars,
                           size_t count, uint64_t *addrs, struct scratch_lease **ret,
                           struct err *err);
/* Unload: private extents go, shared memory shrinks to the MAX of the NEFFs that are left. */
void scratchpad_unload(struct scratchpad *sp, struct scratch_lease *lease);

uint64_t scratchpad_shared_bytes(const struct scratchpad *sp);
uint64_t scratchpad_private_bytes(const struct scratchpad *sp);

#endif
