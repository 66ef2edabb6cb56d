/* SPDX-License-Identifier: Apache-2.0 */
/* The memory nodes of the sysfs tree: which categories each holds, the last change, the peak. What
 * is in use is never kept here: it is the account's (device memory) or the slots' (host memory), so
 * that a death cannot leave a node that nobody takes down again. */
#include "device/device_int.h"

#define LOAD(field)     atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, v) atomic_store_explicit(&(field), (v), memory_order_relaxed)

static const char *const node_names[DEVICE_MEM_COUNT] = {
#define NODE_NAME(upper, lower) #lower,
    DEVICE_MEM_LIST(NODE_NAME)
#undef NODE_NAME
        [DEVICE_MEM_ALL] = "device_mem"};

static const enum device_mem_node node_of[DEVICE_CAT_COUNT] = {
    [DEVICE_CAT_CODE] = DEVICE_MEM_CODE,
    [DEVICE_CAT_CONST] = DEVICE_MEM_CONSTANTS,
    [DEVICE_CAT_TENSOR] = DEVICE_MEM_TENSORS,
    [DEVICE_CAT_SHARED_SCRATCH] = DEVICE_MEM_SHARED_SCRATCH,
    [DEVICE_CAT_SCRATCH] = DEVICE_MEM_SCRATCH,
    [DEVICE_CAT_RUNTIME] = DEVICE_MEM_RUNTIME,
    [DEVICE_CAT_RING_IO] = DEVICE_MEM_DMA_RINGS,
    [DEVICE_CAT_RING_SPILL] = DEVICE_MEM_DMA_RINGS,
    [DEVICE_CAT_RING_COLL] = DEVICE_MEM_DMA_RINGS,
    [DEVICE_CAT_RING_RUNTIME] = DEVICE_MEM_DMA_RINGS,
    [DEVICE_CAT_COLL] = DEVICE_MEM_COLLECTIVES,
    [DEVICE_CAT_XT_CC] = DEVICE_MEM_COLLECTIVES,
    [DEVICE_CAT_PROFILER] = DEVICE_MEM_NOTIFICATIONS,
};

const char *device_mem_node_name(enum device_mem_node node)
{
    return (unsigned)node < DEVICE_MEM_COUNT ? node_names[node] : "unknown";
}

static bool holds(enum device_mem_node node, unsigned cat)
{
    return node == DEVICE_MEM_ALL || node_of[cat] == node;
}

static void peak_raise(_Atomic uint64_t *peak, uint64_t used)
{
    uint64_t was = LOAD(*peak);

    while (used > was && !atomic_compare_exchange_weak(peak, &was, used))
        ;
}

/* --- device memory ---------------------------------------------------------------------------- */

void nodes_changed_locked(struct device_instance *in, struct ctl_core *k, enum device_cat cat,
                          uint64_t size, bool add)
{
    const enum device_mem_node nodes[] = {node_of[cat], DEVICE_MEM_ALL};

    for (unsigned i = 0; i < 2; i++) {
        uint64_t used = 0;

        for (unsigned c = 0; c < DEVICE_CAT_COUNT; c++)
            used += holds(nodes[i], c) ? k->mem_used[c] : 0;
        STORE(k->node_present[nodes[i]], size);
        if (add)
            peak_raise(&k->node_peak[nodes[i]], used);
    }
}

NRT_STATUS device_mem_node_get(struct device_instance *in, uint32_t core, enum device_mem_node node,
                               struct device_level *ret)
{
    struct device_usage u;

    *ret = (struct device_level){0};
    if (core >= in->lay.cores || (unsigned)node >= DEVICE_MEM_COUNT)
        return NRT_SUCCESS;
    NRT_STATUS st = device_usage_core(in, core, &u);
    if (st != NRT_SUCCESS)
        return st;
    for (unsigned c = 0; c < DEVICE_CAT_COUNT; c++)
        ret->total += holds(node, c) ? u.bytes[c] : 0;
    ret->present = LOAD(ctl_core(in, core)->node_present[node]);
    ret->peak = LOAD(ctl_core(in, core)->node_peak[node]);
    return NRT_SUCCESS;
}

void device_mem_node_clear(struct device_instance *in, uint32_t core, enum device_mem_node node)
{
    if (core >= in->lay.cores || (unsigned)node >= DEVICE_MEM_COUNT || !ctl_may_clear(in))
        return;
    STORE(ctl_core(in, core)->node_present[node], 0);
    STORE(ctl_core(in, core)->node_peak[node], 0);
    for (unsigned c = 0; node != DEVICE_MEM_ALL && c < DEVICE_CAT_COUNT; c++)
        if (holds(node, c))
            device_memory_clear(in, core, (enum device_cat)c);
}

/* --- host memory ------------------------------------------------------------------------------ */

/* The first core of a slot: where its host memory counts. */
static uint32_t home_core(const struct device_instance *in, uint32_t slot)
{
    for (uint32_t c = 0; c < in->lay.cores; c++)
        if (device_core_owner(in, c) == slot)
            return c;
    return DEVICE_NONE;
}

static uint64_t slot_host(const struct device_instance *in, uint32_t slot,
                          enum device_host_mem kind)
{
    int64_t v = atomic_load(&ctl_slot(in, slot)->host_mem[kind]);

    return v < 0 ? 0 : (uint64_t)v;
}

static uint64_t core_host(const struct device_instance *in, uint32_t core)
{
    uint32_t slot = device_core_owner(in, core);
    uint64_t sum = 0;

    if (slot == DEVICE_NONE || home_core(in, slot) != core)
        return 0;
    for (unsigned k = 0; k < DEVICE_HOST_COUNT; k++)
        sum += slot_host(in, slot, (enum device_host_mem)k);
    return sum;
}

static uint64_t device_host(const struct device_instance *in, uint32_t dev,
                            enum device_host_mem kind)
{
    uint32_t first = dev * in->topo->cores_per_device;
    uint64_t sum = 0;

    for (uint32_t c = first; c < first + in->topo->cores_per_device; c++) {
        uint32_t slot = device_core_owner(in, c);

        if (slot != DEVICE_NONE && home_core(in, slot) == c)
            sum += slot_host(in, slot, kind);
    }
    return sum;
}

/* The sums are read after the own share was added: of two processes that add at once, the later one
 * sees both, so no peak is missed. */
void device_host_mem_add(struct device_instance *in, enum device_host_mem kind, int64_t delta)
{
    uint64_t size = delta < 0 ? 0 - (uint64_t)delta : (uint64_t)delta;
    uint32_t core, dev;

    if (in->slot == DEVICE_NONE || (unsigned)kind >= DEVICE_HOST_COUNT)
        return;
    atomic_fetch_add(&ctl_slot(in, in->slot)->host_mem[kind], delta);
    core = home_core(in, in->slot);
    if (core == DEVICE_NONE)
        return;
    dev = topo_core_device(in->topo, core);
    STORE(ctl_core(in, core)->host_present, size);
    STORE(ctl_head(in)->host_present[dev][kind], size);
    if (delta < 0)
        return;
    peak_raise(&ctl_core(in, core)->host_peak, core_host(in, core));
    peak_raise(&ctl_head(in)->host_peak[dev][kind], device_host(in, dev, kind));
}

void device_host_core_get(const struct device_instance *in, uint32_t core, struct device_level *ret)
{
    *ret = (struct device_level){0};
    if (core >= in->lay.cores)
        return;
    ret->total = core_host(in, core);
    ret->present = LOAD(ctl_core(in, core)->host_present);
    ret->peak = LOAD(ctl_core(in, core)->host_peak);
}

void device_host_get(const struct device_instance *in, uint32_t dev, enum device_host_mem kind,
                     struct device_level *ret)
{
    *ret = (struct device_level){0};
    if (dev >= in->topo->device_count || (unsigned)kind >= DEVICE_HOST_COUNT)
        return;
    ret->total = device_host(in, dev, kind);
    ret->present = LOAD(ctl_head(in)->host_present[dev][kind]);
    ret->peak = LOAD(ctl_head(in)->host_peak[dev][kind]);
}

void device_host_core_clear(struct device_instance *in, uint32_t core)
{
    if (core >= in->lay.cores || !ctl_may_clear(in))
        return;
    STORE(ctl_core(in, core)->host_present, 0);
    STORE(ctl_core(in, core)->host_peak, 0);
}

void device_host_clear(struct device_instance *in, uint32_t dev, enum device_host_mem kind)
{
    if (dev >= in->topo->device_count || (unsigned)kind >= DEVICE_HOST_COUNT || !ctl_may_clear(in))
        return;
    STORE(ctl_head(in)->host_present[dev][kind], 0);
    STORE(ctl_head(in)->host_peak[dev][kind], 0);
}

/* --- reset ------------------------------------------------------------------------------------ */

/* Observers write no tally: a request is counted in the core's total. */
static void count_one(struct ctl_core *k, enum device_counter c)
{
    atomic_fetch_add_explicit(&k->total[c], 1, memory_order_relaxed);
    STORE(k->present[c], 1);
}

NRT_STATUS device_reset(struct device_instance *in, uint32_t dev, struct err *err)
{
    uint32_t first = dev * in->topo->cores_per_device, owner = DEVICE_NONE;
    uint32_t end = first + in->topo->cores_per_device;

    if (dev >= in->topo->device_count || !ctl_may_clear(in))
        return err_set(err, NRT_INVALID, "device %u cannot be reset", dev);
    for (uint32_t c = first; c < end && owner == DEVICE_NONE; c++) {
        owner = device_core_owner(in, c);
        if (owner != DEVICE_NONE && !device_slot_live(in, owner))
            owner = DEVICE_NONE;
    }
    for (uint32_t c = first; c < end; c++) {
        struct ctl_core *k = ctl_core(in, c);

        count_one(k, DEVICE_CTR_RESET_REQ_COUNT);
        if (owner == DEVICE_NONE)
            atomic_store_explicit(&k->hw_error, 0, memory_order_relaxed);
        else
            count_one(k, DEVICE_CTR_RESET_FAIL_COUNT);
    }
    if (owner != DEVICE_NONE)
        return err_set(err, NRT_RESOURCE, "device %u is in use by process %d", dev,
                       (int)ctl_slot(in, owner)->pid);
    return NRT_SUCCESS;
}
