/* SPDX-License-Identifier: Apache-2.0 */
/* The account: who uses how much of what. All figures come from the extent table. */
#include "device/device_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/broken.h"

static NRT_STATUS account_lock(struct device_instance *in)
{
    return in->cfg.observe ? NRT_SUCCESS : ctl_lock(in, NULL);
}

static void account_unlock(struct device_instance *in)
{
    if (!in->cfg.observe)
        ctl_unlock(in);
}

/* A plausible copy of an entry in use; observers read without the lock, so nothing is believed. */
static bool info_get(const struct device_instance *in, uint32_t i, struct device_extent_info *ret)
{
    const struct ctl_extent *x = ctl_extent(in, i);
    uint32_t state = atomic_load_explicit(&x->state, memory_order_acquire);

    if (state == EXT_FREE || state > EXT_QUARANTINE)
        return false;
    uint64_t size = atomic_load_explicit(&x->size, memory_order_relaxed);
    if (x->hbm >= in->lay.hbms || x->core >= in->lay.cores || x->cat >= DEVICE_CAT_COUNT ||
        !range_ok(x->off, size, in->hbm_bytes))
        return false;
    ret->addr = DEVICE_ADDR(x->hbm, x->off);
    ret->size = size;
    ret->slot = x->slot;
    ret->core = x->core;
    ret->neff = x->neff;
    ret->cat = (enum device_cat)x->cat;
    ret->quarantined = state == EXT_QUARANTINE;
    return true;
}

static void usage_add(struct device_usage *u, const struct device_extent_info *x)
{
    u->bytes[x->cat] += x->size;
    u->total += x->size;
}

enum usage_by { BY_CORE, BY_NEFF, BY_HBM };

static NRT_STATUS usage_sum(struct device_instance *in, enum usage_by by, uint32_t a, uint32_t b,
                            struct device_usage *ret)
{
    struct device_usage u = {0};
    struct device_extent_info x;
    NRT_STATUS st = account_lock(in);

    if (st != NRT_SUCCESS)
        return st;
    for (uint32_t i = 1; i < ctl_extent_cap(in); i++) {
        if (!info_get(in, i, &x))
            continue;
        if (by == BY_HBM ? DEVICE_ADDR_HBM(x.addr) == a
                         : x.core == a && (by == BY_CORE || x.neff == b))
            usage_add(&u, &x);
    }
    account_unlock(in);
    *ret = u;
    return NRT_SUCCESS;
}

NRT_STATUS device_usage_core(struct device_instance *in, uint32_t core, struct device_usage *ret)
{
    if (core >= in->lay.cores)
        return NRT_INVALID;
    return usage_sum(in, BY_CORE, core, 0, ret);
}

NRT_STATUS device_usage_neff(struct device_instance *in, uint32_t core, uint32_t neff,
                             struct device_usage *ret)
{
    if (core >= in->lay.cores)
        return NRT_INVALID;
    return usage_sum(in, BY_NEFF, core, neff, ret);
}

NRT_STATUS device_usage_hbm(struct device_instance *in, uint32_t hbm, struct device_usage *ret)
{
    if (hbm >= in->lay.hbms)
        return NRT_INVALID;
    return usage_sum(in, BY_HBM, hbm, 0, ret);
}

/* From the running sums: this one is called often. */
NRT_STATUS device_vnc_memory(struct device_instance *in, uint32_t vnc, uint64_t *ret_used,
                             uint64_t *ret_limit)
{
    uint64_t used = 0;

    if (vnc >= topo_vnc_count(in->topo, in->lnc))
        return NRT_INVALID;
    NRT_STATUS st = account_lock(in);
    if (st != NRT_SUCCESS)
        return st;
    for (uint32_t c = vnc * in->lnc; c < (vnc + 1) * in->lnc; c++) {
        for (unsigned k = 0; k < DEVICE_CAT_COUNT; k++)
            used += ctl_core(in, c)->mem_used[k];
    }
    account_unlock(in);
    *ret_used = used;
    *ret_limit = BROKEN(MEM) ? 0 : in->hbm_bytes;
    return NRT_SUCCESS;
}

NRT_STATUS device_extents_visit(struct device_instance *in,
                                void (*fn)(void *arg, const struct device_extent_info *x),
                                void *arg)
{
    struct device_extent_info *list = NULL, x;
    size_t n = 0, cap = 0;
    NRT_STATUS st = account_lock(in);

    if (st != NRT_SUCCESS)
        return st;
    for (uint32_t i = 1; i < ctl_extent_cap(in); i++) {
        if (!info_get(in, i, &x))
            continue;
        if (!mem_grow((void **)&list, &cap, n + 1, sizeof(*list))) {
            st = NRT_RESOURCE;
            break;
        }
        list[n++] = x;
    }
    account_unlock(in);
    for (size_t i = 0; st == NRT_SUCCESS && i < n; i++)
        fn(arg, &list[i]);
    mem_free(list);
    return st;
}

/* --- loaded NEFFs
 * --------------------------------------------------------------------------------- */

NRT_STATUS device_neff_add(struct device_instance *in, uint32_t core, uint32_t neff,
                           const char *name, const uint8_t *uuid, struct err *err)
{
    static const uint8_t none[16];

    if (core >= in->lay.cores || in->slot == DEVICE_NONE)
        return err_set(err, NRT_INVALID, "core %u is outside the instance", core);
    NRT_STATUS st = ctl_lock(in, err);
    if (st != NRT_SUCCESS)
        return st;
    st = NRT_RESOURCE;
    for (uint32_t i = 0; i < in->lay.neffs && st != NRT_SUCCESS; i++) {
        struct ctl_neff *n = ctl_neff(in, i);

        if (atomic_load_explicit(&n->used, memory_order_relaxed))
            continue;
        PUT(in, n->slot, in->slot);
        PUT(in, n->core, core);
        PUT(in, n->id, neff);
        snprintf(n->name, sizeof(n->name), "%s", name ? name : "");
        memcpy(n->uuid, uuid ? uuid : none, sizeof(n->uuid));
        COMMIT(in, n->used, 1);
        st = NRT_SUCCESS;
    }
    ctl_unlock(in);
    if (st != NRT_SUCCESS)
        return err_set(err, st, "all %u entries for loaded NEFFs are in use", in->lay.neffs);
    return st;
}

void device_neff_remove(struct device_instance *in, uint32_t core, uint32_t neff)
{
    if (in->slot == DEVICE_NONE || device_instance_forked(in) || ctl_lock(in, NULL) != NRT_SUCCESS)
        return;
    for (uint32_t i = 0; i < in->lay.neffs; i++) {
        struct ctl_neff *n = ctl_neff(in, i);

        if (atomic_load_explicit(&n->used, memory_order_relaxed) && n->slot == in->slot &&
            n->core == core && n->id == neff)
            COMMIT(in, n->used, 0);
    }
    ctl_unlock(in);
}

uint32_t device_neff_count(const struct device_instance *in)
{
    return in->lay.neffs;
}

bool device_neff_get(const struct device_instance *in, uint32_t i, struct device_neff_info *ret)
{
    const struct ctl_neff *n;

    if (i >= in->lay.neffs)
        return false;
    n = ctl_neff(in, i);
    if (atomic_load_explicit(&n->used, memory_order_acquire) != 1)
        return false;
    ret->slot = n->slot;
    ret->core = n->core;
    ret->id = n->id;
    memcpy(ret->name, n->name, sizeof(ret->name));
    ret->name[sizeof(ret->name) - 1] = '\0';
    memcpy(ret->uuid, n->uuid, sizeof(ret->uuid));
    return ret->core < in->lay.cores && ret->slot < in->lay.slots;
}

/* --- the record of a load
 * --------------------------------------------------------------------------- */

void device_log_neff_mem(struct device_instance *in, uint32_t core, uint32_t neff, const char *name)
{
    static const enum device_cat lines[] = {
        DEVICE_CAT_CODE,      DEVICE_CAT_CONST,        DEVICE_CAT_SCRATCH,
        DEVICE_CAT_RUNTIME,   DEVICE_CAT_RING_IO,      DEVICE_CAT_RING_SPILL,
        DEVICE_CAT_RING_COLL, DEVICE_CAT_RING_RUNTIME, DEVICE_CAT_COLL};
    struct device_usage all, own;
    struct strbuf b = {0};
    char size[32];
    uint64_t total = 0;

    if (!log_on(in->log, LOG_TDRV, LOG_INFO) || device_usage_core(in, core, &all) != NRT_SUCCESS ||
        device_usage_neff(in, core, neff, &own) != NRT_SUCCESS)
        return;
    size_text(size, sizeof(size), all.total);
    strbuf_printf(&b, "\n[ND %u:NC %u] Current Usage Total: %s\n", topo_core_device(in->topo, core),
                  core % in->topo->cores_per_device, size);
    size_text(size, sizeof(size), all.bytes[DEVICE_CAT_SHARED_SCRATCH]);
    strbuf_printf(&b, "\tshared scratchpad: %s\n", size);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        total += own.bytes[lines[i]];
    size_text(size, sizeof(size), total);
    strbuf_printf(&b, "Per NEFF memory usage breakdown for [%s]:\n\tTotal: %s\n", name, size);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        size_text(size, sizeof(size), own.bytes[lines[i]]);
        strbuf_printf(&b, "\t* %s: %s\n", device_cat_name(lines[i]), size);
    }
    if (!b.failed)
        log_msg(in->log, LOG_TDRV, LOG_INFO, "dml_log_dev_neff_mem", "%s", b.s);
    strbuf_fini(&b);
}
