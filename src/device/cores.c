/* SPDX-License-Identifier: Apache-2.0 */
/* Who owns which core. A claim writes the owner word of each core under the lock; a death in the
 * middle leaves words of a dead slot, which the next process in need reclaims. */
#include "device/device_int.h"

#include <stdio.h>
#include <string.h>

static bool core_free(const struct device_instance *in, uint32_t core)
{
    return atomic_load_explicit(&ctl_core(in, core)->owner, memory_order_acquire) == 0;
}

static bool vnc_free(const struct device_instance *in, uint32_t vnc)
{
    for (uint32_t i = 0; i < in->lnc; i++) {
        if (!core_free(in, vnc * in->lnc + i))
            return false;
    }
    return true;
}

uint32_t device_core_owner(const struct device_instance *in, uint32_t core)
{
    if (core >= in->lay.cores)
        return DEVICE_NONE;
    uint32_t w = atomic_load_explicit(&ctl_core(in, core)->owner, memory_order_acquire);
    return w == 0 || w > in->lay.slots ? DEVICE_NONE : w - 1;
}

bool device_core_mine(const struct device_instance *in, uint32_t core)
{
    return device_core_owner(in, core) == in->slot && slot_kept(in);
}

uint32_t device_cores_free_count(const struct device_instance *in)
{
    uint32_t n = 0;

    for (uint32_t v = 0; v < topo_vnc_count(in->topo, in->lnc); v++)
        n += vnc_free(in, v);
    return n;
}

static bool run_free(const struct device_instance *in, uint32_t first, uint32_t count)
{
    for (uint32_t v = first; v < first + count; v++) {
        if (!vnc_free(in, v))
            return false;
    }
    return true;
}

static void live_clear(struct ctl_core *k)
{
    struct device_live_page *p = &k->live;

    tally_fold(k);
    memset(p, 0, offsetof(struct device_live_page, tally));
    atomic_store_explicit(&p->neff, DEVICE_NONE, memory_order_relaxed);
}

static void run_take_locked(struct device_instance *in, uint32_t first, uint32_t count)
{
    for (uint32_t c = first * in->lnc; c < (first + count) * in->lnc; c++) {
        live_clear(ctl_core(in, c));
        device_point(in);
        COMMIT(in, ctl_core(in, c)->owner, in->slot + 1);
    }
}

static NRT_STATUS not_available(struct device_instance *in, uint32_t first, uint32_t count,
                                struct err *err)
{
    return err_set(err, NRT_RESOURCE,
                   "NeuronCore(s) not available - Requested:nc%u-nc%u Available:%u", first,
                   first + count - 1, device_cores_free_count(in));
}

static NRT_STATUS claim_check(const struct device_instance *in, struct err *err)
{
    if (device_instance_forked(in) || !slot_kept(in))
        return err_set(err, NRT_UNINITIALIZED, "this process has no slot in the instance");
    return NRT_SUCCESS;
}

static void cores_reclaim(struct device_instance *in, uint32_t first, uint32_t count)
{
    slot_reclaim_for(in, &(struct slot_need){.first_core = first * in->lnc,
                                             .end_core = (first + count) * in->lnc,
                                             .hbm = DEVICE_NONE});
}

NRT_STATUS device_cores_claim(struct device_instance *in, uint32_t first, uint32_t count,
                              struct err *err)
{
    uint32_t total = topo_vnc_count(in->topo, in->lnc);
    NRT_STATUS st = claim_check(in, err);

    if (st != NRT_SUCCESS)
        return st;
    if (count == 0 || !range_ok(first, count, total)) {
        uint64_t last = (uint64_t)first + (count ? count : 1) - 1;

        return err_set(err, NRT_INVALID, "Could not open the nd%llu",
                       (unsigned long long)(last * in->lnc / in->topo->cores_per_device));
    }
    for (int pass = 0;; pass++) {
        st = ctl_lock(in, err);
        if (st != NRT_SUCCESS)
            return st;
        if (run_free(in, first, count)) {
            run_take_locked(in, first, count);
            ctl_unlock(in);
            return NRT_SUCCESS;
        }
        ctl_unlock(in);
        if (pass == 1)
            return not_available(in, first, count, err);
        cores_reclaim(in, first, count);
    }
}

static bool run_find(const struct device_instance *in, uint32_t count, uint32_t *ret_first)
{
    uint32_t total = topo_vnc_count(in->topo, in->lnc);

    for (uint32_t v = 0; v + count <= total; v++) {
        if (run_free(in, v, count)) {
            *ret_first = v;
            return true;
        }
    }
    return false;
}

NRT_STATUS device_cores_claim_run(struct device_instance *in, uint32_t count, uint32_t *ret_first,
                                  struct err *err)
{
    uint32_t total = topo_vnc_count(in->topo, in->lnc), first = 0;
    NRT_STATUS st = claim_check(in, err);

    if (st != NRT_SUCCESS)
        return st;
    if (count == 0)
        count = total;
    if (count > total)
        return err_set(
            err, NRT_INVALID, "Could not open the nd%llu",
            (unsigned long long)(((uint64_t)count - 1) * in->lnc / in->topo->cores_per_device));
    for (int pass = 0;; pass++) {
        st = ctl_lock(in, err);
        if (st != NRT_SUCCESS)
            return st;
        if (run_find(in, count, &first)) {
            run_take_locked(in, first, count);
            ctl_unlock(in);
            *ret_first = first;
            return NRT_SUCCESS;
        }
        ctl_unlock(in);
        if (pass == 1)
            return not_available(in, 0, count, err);
        cores_reclaim(in, 0, total);
    }
}

void device_cores_release(struct device_instance *in)
{
    if (claim_check(in, NULL) != NRT_SUCCESS || ctl_lock(in, NULL) != NRT_SUCCESS)
        return;
    for (uint32_t c = 0; c < in->lay.cores; c++) {
        if (device_core_mine(in, c))
            COMMIT(in, ctl_core(in, c)->owner, 0);
    }
    ctl_unlock(in);
}

void device_cores_reset(struct device_instance *in)
{
    for (uint32_t c = 0; c < in->lay.cores; c++) {
        if (!device_core_mine(in, c))
            continue;
        live_clear(ctl_core(in, c));
        device_counter_add(in, c, DEVICE_CTR_RESET_REQ_COUNT, 1);
    }
}
