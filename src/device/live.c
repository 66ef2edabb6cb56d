/* SPDX-License-Identifier: Apache-2.0 */
/* Live pages and counters: written by whoever drives a core, read by anybody. */
#include "device/device_int.h"

static const char *const counter_names[DEVICE_CTR_COUNT] = {
#define COUNTER_NAME(upper, lower) #lower,
    DEVICE_COUNTER_LIST(COUNTER_NAME)
#undef COUNTER_NAME
};

struct device_live_page *device_live(struct device_instance *in, uint32_t core)
{
    return core < in->lay.cores ? &ctl_core(in, core)->live : NULL;
}

const char *device_counter_name(enum device_counter c)
{
    return (unsigned)c < DEVICE_CTR_COUNT ? counter_names[c] : "unknown";
}

void device_counter_add(struct device_instance *in, uint32_t core, enum device_counter c,
                        uint64_t delta)
{
    if (core >= in->lay.cores || (unsigned)c >= DEVICE_CTR_COUNT || in->cfg.observe)
        return;
    struct ctl_core *k = ctl_core(in, core);
    atomic_fetch_add_explicit(&k->live.tally.more[c], delta, memory_order_relaxed);
    atomic_store_explicit(&k->present[c], delta, memory_order_relaxed);
}

void device_counter_get(const struct device_instance *in, uint32_t core, enum device_counter c,
                        uint64_t *ret_total, uint64_t *ret_present)
{
    *ret_total = *ret_present = 0;
    if (core >= in->lay.cores || (unsigned)c >= DEVICE_CTR_COUNT)
        return;
    struct ctl_core *k = ctl_core(in, core);
    *ret_total =
        atomic_load_explicit(&k->total[c], memory_order_relaxed) + tally_count(&k->live.tally, c);
    *ret_present = atomic_load_explicit(&k->present[c], memory_order_relaxed);
}

void device_counter_clear(struct device_instance *in, uint32_t core, enum device_counter c)
{
    struct ctl_core *k;

    if (core >= in->lay.cores || (unsigned)c >= DEVICE_CTR_COUNT || !ctl_may_clear(in))
        return;
    /* The tally is the owner's to write: the total is what makes the sum 0. */
    k = ctl_core(in, core);
    atomic_store_explicit(&k->total[c], 0 - tally_count(&k->live.tally, c), memory_order_relaxed);
    atomic_store_explicit(&k->present[c], 0, memory_order_relaxed);
}

enum device_counter device_status_counter(NRT_STATUS status)
{
    static const struct {
        NRT_STATUS status;
        enum device_counter counter;
    } map[] = {
        {NRT_SUCCESS, DEVICE_CTR_SUCCESS},
        {NRT_FAILURE, DEVICE_CTR_FAILURE},
        {NRT_INVALID, DEVICE_CTR_INVALID_ERROR},
        {NRT_INVALID_HANDLE, DEVICE_CTR_INVALID_ERROR},
        {NRT_RESOURCE, DEVICE_CTR_RESOURCE_ERROR},
        {NRT_TIMEOUT, DEVICE_CTR_TIMEOUT},
        {NRT_HW_ERROR, DEVICE_CTR_HW_ERROR},
        {NRT_QUEUE_FULL, DEVICE_CTR_FAILED_TO_QUEUE},
        {NRT_LOAD_NOT_ENOUGH_NC, DEVICE_CTR_RESOURCE_NC_ERROR},
        {NRT_UNSUPPORTED_NEFF_VERSION, DEVICE_CTR_UNSUPPORTED_NEFF_VERSION},
        {NRT_EXEC_BAD_INPUT, DEVICE_CTR_EXEC_BAD_INPUT},
        {NRT_EXEC_COMPLETED_WITH_NUM_ERR, DEVICE_CTR_COMPLETED_WITH_NUM_ERROR},
        {NRT_EXEC_COMPLETED_WITH_ERR, DEVICE_CTR_COMPLETED_WITH_ERROR},
        {NRT_EXEC_OOB, DEVICE_CTR_OOB_ERROR},
        {NRT_EXEC_HW_ERR_COLLECTIVES, DEVICE_CTR_HW_COLLECTIVES_ERROR},
        {NRT_EXEC_HW_ERR_HBM_UE, DEVICE_CTR_HW_HBM_UE_ERROR},
        {NRT_EXEC_HW_ERR_NC_UE, DEVICE_CTR_HW_NC_UE_ERROR},
        {NRT_EXEC_HW_ERR_DMA_ABORT, DEVICE_CTR_HW_DMA_ABORT_ERROR},
        {NRT_EXEC_SW_NQ_OVERFLOW, DEVICE_CTR_SW_NQ_OVERFLOW},
        {NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE, DEVICE_CTR_HW_REPAIRABLE_HBM_UE_ERROR},
    };

    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
        if (map[i].status == status)
            return map[i].counter;
    }
    return DEVICE_CTR_GENERIC_ERROR;
}

void device_memory_peak(const struct device_instance *in, uint32_t core, enum device_cat cat,
                        uint64_t *ret_present, uint64_t *ret_peak)
{
    *ret_present = *ret_peak = 0;
    if (core >= in->lay.cores || (unsigned)cat >= DEVICE_CAT_COUNT)
        return;
    struct ctl_core *k = ctl_core(in, core);
    *ret_present = atomic_load_explicit(&k->mem_present[cat], memory_order_relaxed);
    *ret_peak = atomic_load_explicit(&k->mem_peak[cat], memory_order_relaxed);
}

void device_memory_clear(struct device_instance *in, uint32_t core, enum device_cat cat)
{
    if (core >= in->lay.cores || (unsigned)cat >= DEVICE_CAT_COUNT || !ctl_may_clear(in))
        return;
    atomic_store_explicit(&ctl_core(in, core)->mem_present[cat], 0, memory_order_relaxed);
    atomic_store_explicit(&ctl_core(in, core)->mem_peak[cat], 0, memory_order_relaxed);
}

void device_runnable_add(struct device_instance *in, int delta)
{
    if (in->slot == DEVICE_NONE)
        return;
    atomic_fetch_add_explicit(&ctl_slot(in, in->slot)->runnable, (uint32_t)delta,
                              memory_order_relaxed);
}

uint32_t device_runnable(const struct device_instance *in)
{
    uint32_t n = atomic_load_explicit(&ctl_head(in)->slots_used, memory_order_relaxed), sum = 0;

    for (uint32_t i = 0; i < n && i < in->lay.slots; i++)
        sum += atomic_load_explicit(&ctl_slot(in, i)->runnable, memory_order_relaxed);
    return sum;
}
