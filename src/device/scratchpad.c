/* SPDX-License-Identifier: Apache-2.0 */
/* Shared scratchpad of a core, contiguous or in pages. Memory never moves: the contiguous region
 * grows and shrinks at its end, pages are added and dropped at the end of the list. */
#include "device/scratchpad.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/broken.h"
#include "base/log.h"
#include "base/settings.h"
#include "device/device_int.h"

struct scratch_lease {
    struct scratch_lease *next;
    uint64_t need;
    struct device_extent *priv; /* one per misfit */
    size_t priv_count;
};

struct scratchpad {
    struct device_instance *in;
    uint32_t core;
    struct scratch_config cfg;
    struct scratch_lease *leases;
    struct device_extent region; /* contiguous; size 0: none */
    struct device_extent *pages; /* non-contiguous */
    size_t page_count, page_cap;
    uint64_t private_bytes;
};

/* --- figures
 * -------------------------------------------------------------------------------------- */

bool scratch_need(const struct scratch_var *vars, size_t count, uint64_t *ret_need)
{
    uint64_t need = 0, end;

    for (size_t i = 0; i < count; i++) {
        if (u64_add_over(vars[i].off, vars[i].size, &end))
            return false;
        if (end > need)
            need = end;
    }
    *ret_need = need;
    return !BROKEN(MEM);
}

bool scratch_fits(const struct scratch_var *v, uint64_t page_bytes)
{
    uint64_t in_page = v->off % page_bytes;

    return v->size <= page_bytes - in_page && !BROKEN(MEM);
}

uint64_t scratch_page_advice(const struct scratch_var *vars, size_t count)
{
    for (uint64_t p = SCRATCH_PAGE_UNIT; p <= SCRATCH_PAGE_MAX; p += SCRATCH_PAGE_UNIT) {
        size_t i = 0;

        while (i < count && scratch_fits(&vars[i], p))
            i++;
        if (i == count)
            return p;
    }
    return 0;
}

static uint64_t page_size_env(const struct diag_sink *sink)
{
    const char *name = "NEURON_SCRATCHPAD_PAGE_SIZE";
    int64_t mb = 512;
    const char *text = settings_str(name, NULL);

    if (!text) {
        name = "NEURON_RT_ONE_TMPBUF_PAGE_SIZE_MB";
        text = settings_str(name, NULL);
    }
    if (!text)
        return SCRATCH_PAGE_UNIT;
    if (!settings_parse_int(text, &mb) || mb < 512 || mb > 3584 || mb % 512 != 0) {
        diag_warn(sink, "%s \"%s\" is not a multiple of 512 up to 3584; using 512", name, text);
        mb = 512;
    }
    return (uint64_t)mb << 20;
}

struct scratch_config scratch_config_env(const struct topo_instance *t, unsigned lnc,
                                         const struct diag_sink *sink)
{
    bool supported = t->arch == TOPO_V2 || lnc == 2;
    struct scratch_config c = {.page_bytes = page_size_env(sink)};

    if (BROKEN(MEM))
        return (struct scratch_config){.page_bytes = 1};
    c.contiguous = settings_bool("NEURON_RT_CONTIGUOUS_SCRATCHPAD", supported, sink) && supported;
    return c;
}

/* --- shared memory
 * ----------------------------------------------------------------------------------- */

static uint64_t need_max(const struct scratchpad *sp)
{
    uint64_t m = 0;

    for (const struct scratch_lease *l = sp->leases; l; l = l->next)
        m = l->need > m ? l->need : m;
    return m;
}

static uint64_t round_up(uint64_t v, uint64_t unit)
{
    uint64_t r = v % unit;

    return r ? v - r > UINT64_MAX - unit ? UINT64_MAX : v - r + unit : v;
}

static struct device_alloc alloc_for(const struct scratchpad *sp, enum device_cat cat,
                                     uint32_t neff, uint64_t size)
{
    return (struct device_alloc){
        .core = sp->core, .neff = neff, .cat = cat, .size = size, .align = 0, .name = "scratchpad"};
}

/* The region starts in the upper half of the HBM (each core of a shared HBM its own part), so that
 * tensors, which fill from below, do not stand in its way. */
static uint64_t region_start(const struct scratchpad *sp)
{
    const struct topo_instance *t = device_topo(sp->in);
    uint32_t per_hbm = t->cores_per_device / t->hbms_per_device;
    uint64_t half = device_hbm_bytes(sp->in) / 2;

    return half + half / per_hbm * (sp->core % per_hbm);
}

static NRT_STATUS region_fit(struct scratchpad *sp, uint64_t need, struct err *err)
{
    uint64_t size = round_up(need, SCRATCH_STEP);
    NRT_STATUS st;

    if (size == sp->region.size)
        return NRT_SUCCESS;
    if (size == 0) {
        st = device_free(sp->in, &sp->region, err);
        memset(&sp->region, 0, sizeof(sp->region));
        return st;
    }
    struct device_alloc a = alloc_for(sp, DEVICE_CAT_SHARED_SCRATCH, DEVICE_NONE, size);
    if (sp->region.size == 0) {
        a.flags = DEVICE_ALLOC_AFTER;
        a.at = region_start(sp);
        return device_alloc(sp->in, &a, &sp->region, err);
    }
    struct err grow_err = {0};
    st = device_extent_grow(sp->in, &sp->region, size, &grow_err);
    if (st != NRT_RESOURCE)
        return st == NRT_SUCCESS ? st : err_set(err, st, "%s", grow_err.text);
    a.size = size - sp->region.size;
    atomic_store(&sp->in->was_full, true);
    if (!sp->in->cfg.no_oom_log)
        oom_report(sp->in, &a);
    memlog_write_csv(sp->in);
    LOGE(sp->in->log, LOG_TDRV, "scratchpad_load",
         "the contiguous scratchpad cannot grow: %s; set NEURON_RT_CONTIGUOUS_SCRATCHPAD to 0",
         grow_err.text);
    return err_set(err, st,
                   "the contiguous scratchpad cannot grow to %" PRIu64 " MB: %s; set "
                   "NEURON_RT_CONTIGUOUS_SCRATCHPAD to 0",
                   size >> 20, grow_err.text);
}

static NRT_STATUS pages_fit(struct scratchpad *sp, uint64_t need, struct err *err)
{
    size_t want = (size_t)(round_up(need, sp->cfg.page_bytes) / sp->cfg.page_bytes);
    size_t had = sp->page_count;
    NRT_STATUS st = NRT_SUCCESS;

    if (want > had && !mem_grow((void **)&sp->pages, &sp->page_cap, want, sizeof(*sp->pages)))
        return err_set(err, NRT_RESOURCE, "no memory");
    struct device_alloc a =
        alloc_for(sp, DEVICE_CAT_SHARED_SCRATCH, DEVICE_NONE, sp->cfg.page_bytes);
    while (st == NRT_SUCCESS && sp->page_count < want) {
        st = device_alloc(sp->in, &a, &sp->pages[sp->page_count], err);
        sp->page_count += st == NRT_SUCCESS;
    }
    if (st != NRT_SUCCESS)
        want = had;
    while (sp->page_count > want)
        device_free(sp->in, &sp->pages[--sp->page_count], NULL);
    return st;
}

static NRT_STATUS shared_fit(struct scratchpad *sp, uint64_t need, struct err *err)
{
    if (need > device_hbm_bytes(sp->in))
        need = device_hbm_bytes(sp->in) + SCRATCH_PAGE_MAX; /* fails with the report */
    return sp->cfg.contiguous ? region_fit(sp, need, err) : pages_fit(sp, need, err);
}

/* --- loads
 * --------------------------------------------------------------------------------------------- */

NRT_STATUS scratchpad_create(struct device_instance *in, uint32_t core, struct scratch_config cfg,
                             struct scratchpad **ret, struct err *err)
{
    struct scratchpad *sp;

    if (core >= topo_core_count(device_topo(in)) ||
        (!cfg.contiguous && (cfg.page_bytes == 0 || cfg.page_bytes % SCRATCH_PAGE_UNIT != 0)))
        return err_set(err, NRT_INVALID, "scratchpad of core %u, page %" PRIu64, core,
                       cfg.page_bytes);
    sp = mem_zalloc(sizeof(*sp));
    if (!sp)
        return err_set(err, NRT_RESOURCE, "no memory");
    sp->in = in;
    sp->core = core;
    sp->cfg = cfg;
    *ret = sp;
    return NRT_SUCCESS;
}

static void lease_free(struct scratchpad *sp, struct scratch_lease *l)
{
    for (size_t i = 0; i < l->priv_count; i++) {
        sp->private_bytes -= l->priv[i].size;
        device_free(sp->in, &l->priv[i], NULL);
    }
    mem_free(l->priv);
    mem_free(l);
}

void scratchpad_destroy(struct scratchpad *sp)
{
    if (!sp)
        return;
    while (sp->leases)
        scratchpad_unload(sp, sp->leases);
    mem_free(sp->pages);
    mem_free(sp);
}

static bool var_private(const struct scratchpad *sp, const struct scratch_var *v)
{
    return !sp->cfg.contiguous && !scratch_fits(v, sp->cfg.page_bytes);
}

static NRT_STATUS privates_alloc(struct scratchpad *sp, struct scratch_lease *l, uint32_t neff,
                                 const struct scratch_var *vars, size_t count, struct err *err)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        n += var_private(sp, &vars[i]);
    if (n && !(l->priv = mem_calloc(n, sizeof(*l->priv))))
        return err_set(err, NRT_RESOURCE, "no memory");
    for (size_t i = 0; i < count; i++) {
        if (!var_private(sp, &vars[i]))
            continue;
        struct device_alloc a = alloc_for(sp, DEVICE_CAT_SCRATCH, neff, vars[i].size);
        NRT_STATUS st = device_alloc(sp->in, &a, &l->priv[l->priv_count], err);
        if (st != NRT_SUCCESS)
            return st;
        sp->private_bytes += l->priv[l->priv_count++].size;
    }
    return NRT_SUCCESS;
}

/* Device address of each variable; also those without bytes have one. */
static void addresses(const struct scratchpad *sp, const struct scratch_lease *l,
                      const struct scratch_var *vars, size_t count, uint64_t *addrs)
{
    uint64_t page = sp->cfg.page_bytes;
    size_t priv = 0;

    for (size_t i = 0; i < count; i++) {
        if (var_private(sp, &vars[i])) {
            addrs[i] = l->priv[priv++].addr;
        } else if (sp->cfg.contiguous) {
            addrs[i] = sp->region.addr + vars[i].off;
        } else {
            uint64_t p = vars[i].off / page;

            addrs[i] = p < sp->page_count ? sp->pages[p].addr + vars[i].off % page : 0;
        }
    }
}

static void advise(struct scratchpad *sp, const struct scratch_var *vars, size_t count,
                   uint32_t neff, size_t misfits)
{
    uint64_t page = scratch_page_advice(vars, count);

    if (misfits == 0)
        return;
    if (page)
        LOGW(sp->in->log, LOG_TDRV, "scratchpad_load",
             "%zu variables of NEFF %u do not fit scratchpad pages of %" PRIu64
             " MB and got private memory; recommended NEURON_SCRATCHPAD_PAGE_SIZE %" PRIu64,
             misfits, neff, sp->cfg.page_bytes >> 20, page >> 20);
    else
        LOGW(sp->in->log, LOG_TDRV, "scratchpad_load",
             "%zu variables of NEFF %u do not fit scratchpad pages of %" PRIu64
             " MB and got private memory; no page size fits them all",
             misfits, neff, sp->cfg.page_bytes >> 20);
}

NRT_STATUS scratchpad_load(struct scratchpad *sp, uint32_t neff, const struct scratch_var *vars,
                           size_t count, uint64_t *addrs, struct scratch_lease **ret,
                           struct err *err)
{
    uint64_t need, before = need_max(sp);
    NRT_STATUS st;

    if (!scratch_need(vars, count, &need))
        return err_set(err, NRT_INVALID, "scratchpad variable ends past the address space");
    struct scratch_lease *l = mem_zalloc(sizeof(*l));
    if (!l)
        return err_set(err, NRT_RESOURCE, "no memory");
    l->need = need;
    st = shared_fit(sp, need > before ? need : before, err);
    if (st != NRT_SUCCESS)
        goto fail;
    st = privates_alloc(sp, l, neff, vars, count, err);
    if (st != NRT_SUCCESS) {
        shared_fit(sp, before, NULL);
        goto fail;
    }
    addresses(sp, l, vars, count, addrs);
    advise(sp, vars, count, neff, l->priv_count);
    l->next = sp->leases;
    sp->leases = l;
    *ret = l;
    return NRT_SUCCESS;
fail:
    lease_free(sp, l);
    return st;
}

void scratchpad_unload(struct scratchpad *sp, struct scratch_lease *lease)
{
    struct scratch_lease **p = &sp->leases;

    while (*p && *p != lease)
        p = &(*p)->next;
    if (!*p)
        return;
    *p = lease->next;
    lease_free(sp, lease);
    shared_fit(sp, need_max(sp), NULL);
}

uint64_t scratchpad_shared_bytes(const struct scratchpad *sp)
{
    return sp->cfg.contiguous ? sp->region.size : sp->page_count * sp->cfg.page_bytes;
}

uint64_t scratchpad_private_bytes(const struct scratchpad *sp)
{
    return sp->private_bytes;
}
