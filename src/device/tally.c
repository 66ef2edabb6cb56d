/* SPDX-License-Identifier: Apache-2.0 */
#include "device/tally.h"

#include <string.h>

#include "device/device_int.h"

#define LOAD(field)     atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, v) atomic_store_explicit(&(field), (v), memory_order_relaxed)

_Static_assert(DEVICE_TALLY_BUCKETS == (43 - 3 + 1) * 16, "exponents 4 to 43, and below 16");

static void count(struct ctl_core *k, enum device_counter c, uint64_t delta)
{
    STORE(k->live.tally.count[c], LOAD(k->live.tally.count[c]) + delta);
    STORE(k->present[c], delta);
}

void device_tally_add(struct device_instance *in, uint32_t core, const struct device_tally_end *e)
{
    struct ctl_core *k;
    struct device_tally *t;

    if (core >= in->lay.cores || (unsigned)e->status >= DEVICE_CTR_COUNT)
        return;
    k = ctl_core(in, core);
    t = &k->live.tally;
    count(k, e->status, 1);
    if (e->status == DEVICE_CTR_SUCCESS)
        count(k, DEVICE_CTR_INFERENCE_COUNT, 1);
    if (e->busy_us)
        count(k, DEVICE_CTR_NC_TIME_IN_USE, e->busy_us);
    if (e->flops)
        count(k, DEVICE_CTR_FLOP_COUNT, e->flops);
    if (e->core_ns) {
        uint32_t b = device_tally_bucket(e->core_ns), w = device_tally_bucket(e->whole_ns);

        STORE(t->core[b], LOAD(t->core[b]) + 1);
        STORE(t->whole[w], LOAD(t->whole[w]) + 1);
    }
}

void tally_fold(struct ctl_core *k)
{
    struct device_tally *t = &k->live.tally;

    for (unsigned c = 0; c < DEVICE_CTR_COUNT; c++) {
        STORE(k->total[c], LOAD(k->total[c]) + tally_count(t, c));
        STORE(t->count[c], 0);
        STORE(t->more[c], 0);
    }
    for (unsigned b = 0; b < DEVICE_TALLY_BUCKETS; b++) {
        STORE(t->core[b], 0);
        STORE(t->whole[b], 0);
    }
}

void device_tally_read(struct device_instance *in, uint32_t core, struct device_tally_view *ret)
{
    const struct device_tally *t;

    memset(ret, 0, sizeof(*ret));
    if (core >= in->lay.cores)
        return;
    t = &ctl_core(in, core)->live.tally;
    for (unsigned c = 0; c < DEVICE_CTR_COUNT; c++)
        ret->count[c] = tally_count(t, c);
    for (unsigned b = 0; b < DEVICE_TALLY_BUCKETS; b++) {
        ret->core[b] = LOAD(t->core[b]);
        ret->whole[b] = LOAD(t->whole[b]);
    }
}
