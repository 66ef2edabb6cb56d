/* SPDX-License-Identifier: Apache-2.0 */
/* Placing a subgraph: extents of HBM by category, addresses of variables, constants, programs. */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "model/model_int.h"

#define PLACE_ALIGN 64
#define CELL_BYTES  8
#define ALIGN_MAX   (UINT64_C(1) << 30)

NRT_STATUS extent_va(struct model_host *h, const struct device_extent *x, void **ret,
                     struct err *err)
{
    return device_map(h->cfg.in, x->addr, x->size, DEVICE_RW, ret, err);
}

static NRT_STATUS ext_alloc(struct model *m, struct stage *st, unsigned which, enum device_cat cat,
                            uint64_t size, uint64_t align, unsigned flags, struct err *err)
{
    struct device_alloc a = {.core = st->phys->index,
                             .neff = m->id,
                             .cat = cat,
                             .flags = flags,
                             .size = size,
                             .align = align,
                             .name = m->neff->name};
    NRT_STATUS status;

    if (size == 0)
        return NRT_SUCCESS;
    status = device_alloc(m->h->cfg.in, &a, &st->ext[which], err);
    if (status == NRT_SUCCESS)
        st->has[which] = true;
    return status;
}

/* The variables of one type, one after the other: offsets by position, total size, largest
 * alignment. */
struct pack {
    uint64_t size, align;
};

static NRT_STATUS pack_add(struct pack *p, const struct neff_var *v, uint64_t size,
                           uint64_t *ret_off, struct err *err)
{
    uint64_t align = v->alignment > PLACE_ALIGN ? v->alignment : PLACE_ALIGN;

    if (align > ALIGN_MAX)
        return err_set(err, NRT_RESOURCE, "var %s: alignment %llu cannot be given", v->name,
                       (unsigned long long)v->alignment);
    if (u64_align_up_over(p->size, align, ret_off) || u64_add_over(*ret_off, size, &p->size))
        return err_set(err, NRT_RESOURCE, "var %s: sizes overflow", v->name);
    if (align > p->align)
        p->align = align;
    return NRT_SUCCESS;
}

static uint64_t cell_bytes(const struct neff_var *v)
{
    uint64_t need = v->type == NEFF_VAR_POINTER ? CELL_BYTES : (uint64_t)v->list_count * CELL_BYTES;

    return v->size > need ? v->size : need;
}

static unsigned ext_of_var(const struct neff_var *v)
{
    switch (v->type) {
    case NEFF_VAR_FILE:
        return EXT_CONST;
    case NEFF_VAR_TMP_BUF:
        return EXT_TMP;
    case NEFF_VAR_POINTER:
    case NEFF_VAR_DGE_TABLE:
        return EXT_CELLS;
    default:
        return EXT_COUNT;
    }
}

/* Bytes of the *.bin members of this subgraph; those outside any subgraph count for the first. */
static uint64_t code_bytes(const struct model *m, unsigned core)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < m->neff->member_count; i++) {
        const char *name = m->neff->members[i].name;
        size_t n = strlen(name);
        unsigned owner = 0;

        if (n < 4 || strcmp(name + n - 4, ".bin") != 0)
            continue;
        for (uint32_t g = 0; g < m->neff->graph_count; g++) {
            const char *dir = m->neff->graphs[g].dir;

            if (dir[0] && strncmp(name, dir, strlen(dir)) == 0)
                owner = g;
        }
        if (owner == core)
            sum += m->neff->members[i].size;
    }
    return sum;
}

/* Another replica's constants on the same HBM. */
static struct stage *shared_consts(struct model *m, struct instance *in, unsigned core)
{
    if (!m->h->share_weights)
        return NULL;
    for (struct instance *o = m->inst; o != in; o++)
        if (o->lc->hbm == in->lc->hbm && o->stage[core].has[EXT_CONST])
            return &o->stage[core];
    return NULL;
}

static NRT_STATUS place_scratch(struct model *m, struct stage *st, struct err *err)
{
    const struct neff_subgraph *sg = st->sg;
    struct scratch_var *sv = mem_calloc(sg->var_count, sizeof(*sv));
    uint64_t *addrs = mem_calloc(sg->var_count, sizeof(*addrs));
    size_t n = 0;
    NRT_STATUS status = NRT_SUCCESS;

    if (!sv || !addrs) {
        status = err_set(err, NRT_RESOURCE, "no host memory for the scratchpad's variables");
        goto out;
    }
    for (uint32_t i = 0; i < sg->var_count; i++)
        if (sg->vars[i].type == NEFF_VAR_VIRTUAL && sg->vars[i].size != 0) {
            sv[n].off = sg->vars[i].scratch_off;
            sv[n++].size = sg->vars[i].size;
        }
    if (n == 0)
        goto out;

    status = scratchpad_load(st->phys->pad, m->id, sv, n, addrs, &st->lease, err);
    if (status != NRT_SUCCESS)
        goto out;
    n = 0;
    for (uint32_t i = 0; i < sg->var_count; i++)
        if (sg->vars[i].type == NEFF_VAR_VIRTUAL && sg->vars[i].size != 0) {
            st->vars[i].addr = addrs[n++];
            st->vars[i].placed = true;
        }
out:
    mem_free(sv);
    mem_free(addrs);
    return status;
}

/* Addresses of variables in their extents. */
static NRT_STATUS place_vars(struct model *m, struct instance *in, unsigned core, struct err *err)
{
    static const enum device_cat cats[] = {[EXT_CONST] = DEVICE_CAT_CONST,
                                           [EXT_TMP] = DEVICE_CAT_SCRATCH,
                                           [EXT_CELLS] = DEVICE_CAT_RUNTIME};
    struct stage *st = &in->stage[core];
    const struct neff_subgraph *sg = st->sg;
    struct stage *other = shared_consts(m, in, core);
    struct pack pack[EXT_COUNT] = {0};
    NRT_STATUS status;

    /* First the offsets (kept in addr), then the extents, then the addresses. */
    for (uint32_t i = 0; i < sg->var_count; i++) {
        const struct neff_var *v = &sg->vars[i];
        unsigned e = ext_of_var(v);

        if (e == EXT_COUNT || (e != EXT_CELLS && v->size == 0))
            continue;
        st->vars[i].placed = true;
        status =
            pack_add(&pack[e], v, e == EXT_CELLS ? cell_bytes(v) : v->size, &st->vars[i].addr, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    for (unsigned e = EXT_CONST; e <= EXT_CELLS; e++) {
        if (e == EXT_CONST && other) {
            st->ext[e] = other->ext[e];
            st->consts_shared = true;
            continue;
        }
        status = ext_alloc(m, st, e, cats[e], pack[e].size, pack[e].align,
                           e == EXT_CONST ? DEVICE_ALLOC_DIRTY : 0, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    for (uint32_t i = 0; i < sg->var_count; i++) {
        unsigned e = ext_of_var(&sg->vars[i]);

        if (st->vars[i].placed)
            st->vars[i].addr += st->ext[e].addr;
    }
    return place_scratch(m, st, err);
}

static NRT_STATUS const_va(struct model *m, struct var_place *v, struct err *err)
{
    uint32_t hbm = DEVICE_ADDR_HBM(v->addr), dev = topo_hbm_device(m->h->topo, hbm);
    uint64_t size;
    void *base;
    NRT_STATUS status = device_hbm_va(m->h->cfg.in, dev, hbm - dev * m->h->topo->hbms_per_device,
                                      &base, &size, err);

    if (status == NRT_SUCCESS)
        v->va = (uint8_t *)base + DEVICE_ADDR_OFF(v->addr);
    return status;
}

/* Pointers to all placed variables; backs their memory. */
static NRT_STATUS map_vars(struct model *m, struct stage *st, struct err *err)
{
    for (uint32_t i = 0; i < st->sg->var_count; i++) {
        uint64_t size = st->sg->vars[i].size;
        NRT_STATUS status;

        if (ext_of_var(&st->sg->vars[i]) == EXT_CELLS)
            size = cell_bytes(&st->sg->vars[i]);
        if (!st->vars[i].placed || size == 0)
            continue;
        /* A constant gets its memory with its bytes; here only its address. */
        if (ext_of_var(&st->sg->vars[i]) == EXT_CONST) {
            status = const_va(m, &st->vars[i], err);
            if (status != NRT_SUCCESS)
                return status;
            continue;
        }
        status = device_map(m->h->cfg.in, st->vars[i].addr, size, DEVICE_RW, &st->vars[i].va, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    return NRT_SUCCESS;
}

NRT_STATUS stage_place(struct model *m, struct instance *in, uint32_t core, struct err *err)
{
    struct stage *st = &in->stage[core];
    NRT_STATUS status;

    st->phys = &in->lc->phys[core];
    st->sg = &m->neff->graphs[core];
    st->vars = mem_calloc(st->sg->var_count, sizeof(*st->vars));
    if (!st->vars)
        return err_set(err, NRT_RESOURCE, "no host memory for %u variables", st->sg->var_count);

    status = device_neff_add(m->h->cfg.in, st->phys->index, m->id, m->neff->name,
                             m->neff->header.uuid, err);
    if (status != NRT_SUCCESS)
        return status;
    st->named = true;

    status = ext_alloc(m, st, EXT_CODE, DEVICE_CAT_CODE, code_bytes(m, core), 0, 0, err);
    if (status == NRT_SUCCESS)
        status = place_vars(m, in, core, err);
    if (status == NRT_SUCCESS)
        status =
            ext_alloc(m, st, EXT_RING_IO, DEVICE_CAT_RING_IO, st->sg->ring_io_bytes, 0, 0, err);
    if (status == NRT_SUCCESS)
        status = ext_alloc(m, st, EXT_RING_SPILL, DEVICE_CAT_RING_SPILL, st->sg->ring_spill_bytes,
                           0, 0, err);
    if (status == NRT_SUCCESS && !m->h->cfg.account_only)
        status = map_vars(m, st, err);
    return status;
}

void stage_remove(struct model *m, struct instance *in, uint32_t core)
{
    struct stage *st = &in->stage[core];

    if (!st->phys)
        return;
    core_program_destroy(st->prog);
    if (st->lease)
        scratchpad_unload(st->phys->pad, st->lease);
    if (st->named) {
        device_free_neff(m->h->cfg.in, st->phys->index, m->id);
        device_neff_remove(m->h->cfg.in, st->phys->index, m->id);
    }
    mem_free(st->vars);
    memset(st, 0, sizeof(*st));
}

/* ---- contents ---- */

/* Bytes of a constant, to every replica that has a copy of its own. */
static NRT_STATUS put_constant(void *arg, uint32_t graph, uint32_t var, uint64_t off,
                               const void *data, size_t size, struct err *err)
{
    struct model *m = arg;
    NRT_STATUS status;

    if (!range_ok(off, size, m->neff->graphs[graph].vars[var].size))
        return err_set(err, NRT_INVALID, "var %s: data outside the variable",
                       m->neff->graphs[graph].vars[var].name);
    for (uint32_t i = 0; i < m->instance_count; i++) {
        struct stage *st = &m->inst[i].stage[graph];

        if (graph >= m->inst[i].stage_count || st->consts_shared)
            continue;
        status = device_write(m->h->cfg.in, st->vars[var].addr + off, data, size, err);
        if (status != NRT_SUCCESS)
            return status;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS zero_range(struct model *m, struct stage *st, uint64_t from, uint64_t to,
                             struct err *err)
{
    if (!st->ext[EXT_CONST].dirty || from >= to)
        return NRT_SUCCESS;
    return device_extent_zero(m->h->cfg.in, &st->ext[EXT_CONST], from, to - from, err);
}

/* What no data covers reads as zero: between variables and behind short files. Then memory is
 * behind every byte of the constants. */
static NRT_STATUS finish_consts(struct model *m, struct stage *st, struct err *err)
{
    uint64_t at = 0;
    void *va;
    NRT_STATUS status = NRT_SUCCESS;

    if (!st->has[EXT_CONST])
        return NRT_SUCCESS;
    for (uint32_t i = 0; i < st->sg->var_count && status == NRT_SUCCESS; i++) {
        const struct neff_var *v = &st->sg->vars[i];
        uint64_t off;

        if (ext_of_var(v) != EXT_CONST || !st->vars[i].placed)
            continue;
        off = st->vars[i].addr - st->ext[EXT_CONST].addr;
        status = zero_range(m, st, at, off, err);
        if (status == NRT_SUCCESS)
            status = zero_range(m, st, off + v->file_bytes, off + v->size, err);
        at = off + v->size;
    }
    if (status == NRT_SUCCESS)
        status = zero_range(m, st, at, st->ext[EXT_CONST].size, err);
    if (status == NRT_SUCCESS)
        status = extent_va(m->h, &st->ext[EXT_CONST], &va, err);
    return status;
}

static NRT_STATUS fill_code(struct model *m, struct instance *in, uint32_t core, struct err *err)
{
    struct stage *st = &in->stage[core];
    uint8_t *p;
    void *va;
    uint64_t left;
    NRT_STATUS status;

    if (!st->has[EXT_CODE])
        return NRT_SUCCESS;
    status = extent_va(m->h, &st->ext[EXT_CODE], &va, err);
    if (status != NRT_SUCCESS)
        return status;
    p = va;
    left = st->ext[EXT_CODE].size;
    /* The instruction streams; other tables are accounted but have no reader. */
    for (unsigned e = 0; e < NEFF_ENGINE_COUNT; e++) {
        const struct neff_engine_code *ec = &st->sg->engines[e];

        if (!ec->present || !ec->instr || ec->instr_bytes > left)
            continue;
        memcpy(p, ec->instr, ec->instr_bytes);
        p += ec->instr_bytes;
        left -= ec->instr_bytes;
    }
    return NRT_SUCCESS;
}

NRT_STATUS stages_fill(struct model *m, struct err *err)
{
    struct neff_constant_sink sink = {.put = put_constant, .arg = m};
    NRT_STATUS status = NRT_SUCCESS;

    if (m->neff->constant_bytes != 0)
        status = neff_constants_stream(m->neff, &sink, err);
    for (uint32_t i = 0; i < m->instance_count; i++)
        for (uint32_t c = 0; c < m->inst[i].stage_count && status == NRT_SUCCESS; c++) {
            status = finish_consts(m, &m->inst[i].stage[c], err);
            if (status == NRT_SUCCESS)
                status = fill_code(m, &m->inst[i], c, err);
        }
    return status;
}
