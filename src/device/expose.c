/* SPDX-License-Identifier: Apache-2.0 */
/* An HBM whose whole address is given to the program (nrt_get_hbm_mmap_va): from then on this
 * process's extents on it have memory from their first moment, because accesses through that
 * address do not come by device_map. */
#include "device/device_int.h"

struct exposing {
    struct device_instance *in;
    uint32_t hbm;
    NRT_STATUS status;
    struct err *err;
};

static void extent_back(void *arg, const struct device_extent_info *x)
{
    struct exposing *e = arg;
    void *p;

    if (e->status == NRT_SUCCESS && x->slot == e->in->slot && DEVICE_ADDR_HBM(x->addr) == e->hbm)
        e->status = device_map(e->in, x->addr, x->size, DEVICE_RW, &p, e->err);
}

/* The flag comes first: an extent is in the table before its allocation looks at the flag, so one
 * that the visit does not see yet is backed by its own allocation. */
NRT_STATUS device_hbm_expose(struct device_instance *in, uint32_t dev, uint32_t hbm, void **ret_va,
                             uint64_t *ret_size, struct err *err)
{
    uint64_t size;
    void *va;
    NRT_STATUS st = device_hbm_va(in, dev, hbm, &va, &size, err);

    if (st != NRT_SUCCESS)
        return st;
    struct exposing e = {
        .in = in, .hbm = dev * in->topo->hbms_per_device + hbm, .status = NRT_SUCCESS, .err = err};
    bool was = atomic_exchange(&in->hbm[e.hbm].exposed, true);

    st = device_extents_visit(in, extent_back, &e);
    if (st != NRT_SUCCESS)
        err_set(err, st, "the table of extents cannot be read");
    else
        st = e.status;
    if (st != NRT_SUCCESS) {
        if (!was)
            atomic_store(&in->hbm[e.hbm].exposed, false);
        return st;
    }
    *ret_va = va;
    *ret_size = size;
    return NRT_SUCCESS;
}
