/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that need facts of the runtime: N12, N13, K04, A06, R02, E15, E07 of state-buffers, ranks.
 */
#include "neff/neff_int.h"

#include <string.h>

#include "base/checked.h"
#include "isa/isa.h"

#define SBUF_ENUM_MAX 1048576u /* byte runs looked at one by one before a pattern is refused */

struct checker {
    const struct neff *neff;
    const struct neff_facts *facts;
    const struct diag_sink *sink;
    struct err *err;
    const struct neff_subgraph *sg;
};

/* Generations in the order in which they appeared; 0: unknown. What follows the four letters of a
 * name does not count. */
static int arch_generation(const char *arch)
{
    const struct isa_arch *a = isa_arch_find(arch, strnlen(arch, 4));

    if (a != NULL)
        return (int)a->gen;
    return strncmp(arch, "inf1", 4) == 0 ? 1 : 0;
}

static NRT_STATUS check_arch(const struct checker *c)
{
    const char *want = c->neff->arch, *have = c->facts->arch;
    int a, b;

    if (want == NULL || have == NULL || strcmp(want, have) == 0)
        return NRT_SUCCESS;
    a = arch_generation(want);
    b = arch_generation(have);
    if (c->facts->allow_legacy && a > 0 && a < b) {
        diag_warn(c->sink, "NEFF was built for %s, device is %s", want, have);
        return NRT_SUCCESS;
    }
    return neff_fail(c->err, NRT_UNSUPPORTED_NEFF_VERSION, "NEFF was built for %s, device is %s",
                     want, have);
}

static NRT_STATUS check_cores(const struct checker *c)
{
    const struct neff_header *h = &c->neff->header;
    uint64_t physical = (uint64_t)c->facts->owned_cores * c->facts->lnc;

    if (h->lnc_size != 0 && h->lnc_size != c->facts->lnc)
        return neff_fail(c->err, NRT_INVALID,
                         "NEFF needs logical core size %u, runtime uses %u; set "
                         "NEURON_LOGICAL_NC_CONFIG=%u",
                         h->lnc_size, c->facts->lnc, h->lnc_size);
    if (c->neff->graph_count != 1 && c->neff->graph_count != c->facts->lnc)
        return neff_fail(c->err, NRT_INVALID, "NEFF has %u subgraphs, LNC size is %u",
                         c->neff->graph_count, c->facts->lnc);
    if (h->num_tpb > physical)
        return neff_fail(c->err, NRT_LOAD_NOT_ENOUGH_NC, "Could not find VNC id %u",
                         c->facts->owned_cores);
    return NRT_SUCCESS;
}

/* ---- E07 of state-buffers ---- */

/* Whether every byte lies in the real part of its partition. Dimensions whose step is a multiple
 * of the partition stride keep the byte in its place; if the others stay inside one partition the
 * answer is immediate. Patterns that cross partitions otherwise are walked run by run. */
static bool sbuf_inside(const struct neff_access *a, uint64_t partition_bytes)
{
    int64_t lo = (int64_t)(a->off % NEFF_SBUF_STRIDE), hi = lo;
    uint64_t runs = 1, count[NEFF_MAX_DIMS] = {1, 1, 1, 1}, at[NEFF_MAX_DIMS] = {0};

    for (unsigned i = 0; i < a->ndim; i++) {
        int64_t reach = (int64_t)(a->sizes[i] - 1) * a->steps[i]; /* inside the address map */

        if (a->sizes[i] == 0)
            return true;
        if (a->steps[i] % (int64_t)NEFF_SBUF_STRIDE == 0)
            continue;
        if (reach < 0)
            lo += reach;
        else
            hi += reach;
        count[i] = a->sizes[i];
    }
    if (lo >= 0 && hi < (int64_t)partition_bytes)
        return true;

    for (unsigned i = 0; i < a->ndim; i++) {
        if (u64_mul_over(runs, count[i], &runs) || runs > SBUF_ENUM_MAX)
            return false;
    }
    for (uint64_t r = 0; r < runs; r++) {
        int64_t off = (int64_t)a->off;
        unsigned i = 0;

        for (unsigned k = 0; k < a->ndim; k++)
            off += (int64_t)at[k] * a->steps[k];
        if ((uint64_t)off % NEFF_SBUF_STRIDE >= partition_bytes)
            return false;
        while (i < a->ndim && ++at[i] == count[i])
            at[i++] = 0;
    }
    return true;
}

static NRT_STATUS check_sbuf(const struct checker *c, const struct neff_access *a,
                             const char *member, uint32_t group, uint32_t desc)
{
    const struct neff_var *v = &c->sg->vars[a->var];
    int64_t lo = (int64_t)a->off, hi = lo + 1;

    if (v->type != NEFF_VAR_STATE_BUFFER || c->facts->sbuf_partition_bytes == 0 ||
        sbuf_inside(a, c->facts->sbuf_partition_bytes))
        return NRT_SUCCESS;
    for (unsigned i = 0; i < a->ndim; i++) {
        int64_t reach = (int64_t)(a->sizes[i] - 1) * a->steps[i];

        *(reach < 0 ? &lo : &hi) += reach;
    }
    return neff_fail(c->err, NRT_INVALID,
                     "%s: dma[%u].desc[%u]: access [%lld,%lld) outside %s of %llu bytes", member,
                     group, desc, (long long)lo, (long long)hi, v->name,
                     (unsigned long long)c->facts->sbuf_partition_bytes * NEFF_PARTITIONS);
}

/* ---- E15 ---- */

static NRT_STATUS check_write(const struct checker *c, const struct neff_access *to,
                              const char *member, uint32_t group, uint32_t desc)
{
    const struct neff_var *v = &c->sg->vars[to->var];

    if (v->type == NEFF_VAR_FILE && c->facts->weights_shared)
        return neff_fail(c->err, NRT_INVALID, "%s: dma[%u].desc[%u]: %s is read-only", member,
                         group, desc, v->name);
    if (v->type == NEFF_VAR_FILE || v->type == NEFF_VAR_INPUT || v->type == NEFF_VAR_POINTER ||
        v->type == NEFF_VAR_DGE_TABLE)
        diag_warn(c->sink, "%s: dma[%u].desc[%u]: writes %s variable %s", member, group, desc,
                  neff_var_type_name(v->type), v->name);
    return NRT_SUCCESS;
}

static NRT_STATUS check_desc(const struct checker *c, const struct neff_desc *d, const char *member,
                             uint32_t group, uint32_t desc)
{
    NRT_STATUS st = check_write(c, &d->to, member, group, desc);

    if (st == NRT_SUCCESS)
        st = check_sbuf(c, &d->to, member, group, desc);
    for (unsigned i = 0; i < d->from_count && st == NRT_SUCCESS; i++)
        st = check_sbuf(c, &d->from[i], member, group, desc);
    return st;
}

static NRT_STATUS check_engine(const struct checker *c, const struct neff_engine_code *code)
{
    bool remote_ok =
        c->facts->lnc == 2 && (c->facts->arch == NULL || arch_generation(c->facts->arch) >= 3);

    for (uint32_t g = 0; g < code->group_count; g++) {
        const struct neff_dma_group *group = &code->groups[g];

        if (group->remote_semaphore_count > 0 && !remote_ok)
            return neff_fail(c->err, NRT_INVALID, "%s: dma[%u]: remote_semaphores needs LNC size 2",
                             code->json_member, g);
        for (uint32_t d = 0; d < group->desc_count; d++) {
            NRT_STATUS st = check_desc(c, &group->descs[d], code->json_member, g, d);

            if (st != NRT_SUCCESS)
                return st;
        }
    }
    return NRT_SUCCESS;
}

static NRT_STATUS check_ranks(const struct checker *c, const char *member)
{
    uint32_t world = c->facts->world_size;

    for (uint32_t i = 0; i < c->sg->coll_count && world > 0; i++) {
        const struct neff_coll *coll = &c->sg->colls[i];

        for (uint32_t g = 0; g < coll->group_count; g++) {
            for (uint32_t k = 0; k < coll->groups[g].rank_count; k++) {
                if (coll->groups[g].ranks[k] >= world)
                    return neff_fail(c->err, NRT_INVALID, "%s: [%u]: rank %u outside a job of %u",
                                     member, i, coll->groups[g].ranks[k], world);
            }
        }
        for (uint32_t k = 0; k < 2 * coll->pair_count; k++) {
            if (coll->pairs[k / 2][k % 2] >= world)
                return neff_fail(c->err, NRT_INVALID, "%s: [%u]: rank %u outside a job of %u",
                                 member, i, coll->pairs[k / 2][k % 2], world);
        }
    }
    return NRT_SUCCESS;
}

/* E07 of the tiles that collectives work on. */
static NRT_STATUS check_tile(const struct checker *c, const char *member, uint32_t index,
                             const struct neff_coll_range *r)
{
    if (r->partitions == 0 || c->facts->sbuf_partition_bytes == 0 ||
        neff_tile_inside(r, dtype_size(c->sg->colls[index].dtype), c->facts->sbuf_partition_bytes))
        return NRT_SUCCESS;
    return neff_fail(c->err, NRT_INVALID, "%s: [%u]: range outside %s of %llu bytes", member, index,
                     c->sg->vars[r->var].name,
                     (unsigned long long)c->facts->sbuf_partition_bytes * NEFF_PARTITIONS);
}

static NRT_STATUS check_tiles(const struct checker *c, const char *member)
{
    NRT_STATUS st = NRT_SUCCESS;

    for (uint32_t i = 0; i < c->sg->coll_count; i++) {
        const struct neff_coll *coll = &c->sg->colls[i];

        for (uint32_t k = 0; k < coll->in_count && st == NRT_SUCCESS; k++)
            st = check_tile(c, member, i, &coll->in[k]);
        for (uint32_t k = 0; k < coll->out_count && st == NRT_SUCCESS; k++)
            st = check_tile(c, member, i, &coll->out[k]);
    }
    return st;
}

NRT_STATUS neff_check(const struct neff *neff, const struct neff_facts *facts,
                      const struct diag_sink *sink, struct err *err)
{
    struct checker c = {neff, facts, sink, err, NULL};
    NRT_STATUS st = check_arch(&c);

    if (st == NRT_SUCCESS)
        st = check_cores(&c);
    for (uint32_t g = 0; g < neff->graph_count && st == NRT_SUCCESS; g++) {
        c.sg = &neff->graphs[g];
        for (unsigned e = 0; e < NEFF_ENGINE_COUNT && st == NRT_SUCCESS; e++)
            st = check_engine(&c, &c.sg->engines[e]);
        if (st == NRT_SUCCESS)
            st = check_ranks(&c, c.sg->coll_member);
        if (st == NRT_SUCCESS)
            st = check_tiles(&c, c.sg->coll_member);
    }
    return st;
}
