/* SPDX-License-Identifier: Apache-2.0 */
/* OPENNRT_CHECK=race,uninit: what no order of execution can hide. Every engine and every queue set
 * is a strand with a vector clock; updates release it into the semaphore or event, waits take it
 * from there. A shadow cell per byte remembers the last write and the reads since; two accesses of
 * different strands, one of them a write, with no path of signals between them are a race. A byte
 * that nothing wrote and that is no input or constant is uninitialised. Slow, and it allocates: for
 * finding bugs only.
 *
 * A wait takes what was released up to the update that first made it hold, not what came later.
 * Limit: that history goes HISTORY updates back, which makes no false report. */
#include "core/check_int.h"

#include <string.h>
/* ---- life ---- */

NRT_STATUS check_create(struct core_program *p, struct err *err)
{
    p->check = mem_zalloc(sizeof(*p->check));
    if (p->check == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for checks");
    p->check->what = p->opt.checks;
    p->check->first_of_run = FIRST_ID;
    return NRT_SUCCESS;
}

static void regions_free(struct core_check *k, unsigned kind_mask)
{
    size_t n = 0;

    for (size_t i = 0; i < k->nregions; i++) {
        if (kind_mask >> k->regions[i].mem & 1)
            mem_free(k->regions[i].cells);
        else
            k->regions[n++] = k->regions[i];
    }
    k->nregions = n;
}

void check_destroy(struct core_check *k)
{
    if (k == NULL)
        return;
    regions_free(k, ~0u);
    for (unsigned c = 0; c < CORE_MAX; c++)
        for (unsigned i = 0; i < ISA_SEMAPHORES; i++) {
            mem_free(k->sem[c][i]);
            mem_free(k->event[c][i]);
        }
    mem_free(k->regions);
    mem_free(k->acc);
    mem_free(k->readers);
    mem_free(k->sets);
    mem_free(k);
}

static bool region_add(struct core_check *k, struct region r)
{
    if (!mem_grow((void **)&k->regions, &k->cap_regions, k->nregions + 1, sizeof(k->regions[0])))
        return false;
    r.cells = mem_calloc(r.size + 1, sizeof(r.cells[0]));
    if (r.cells == NULL)
        return false;
    k->regions[k->nregions++] = r;
    return true;
}

/* The variables' memory; ranges that touch or overlap become one region (inputs bound as outputs,
 * scratchpads, both cores' views of one HBM). */
static bool add_hbm(struct core_check *k, const struct core_exec *x)
{
    for (unsigned c = 0; c < x->count; c++) {
        const struct core_program *p = x->run->program[c];

        for (uint32_t v = 0; v < p->sg->var_count; v++) {
            struct region r = {.base = x->run->binding[c]->var[v].host,
                               .size = p->sg->vars[v].size,
                               .core = c,
                               .mem = ISA_HBM};

            if (!p->var_used[v] || r.size == 0)
                continue;
            for (size_t i = 0; i < k->nregions; i++) {
                struct region *o = &k->regions[i];
                uint8_t *end = r.base + r.size;

                if (o->mem != ISA_HBM || end < o->base || r.base > o->base + o->size)
                    continue;
                if (o->base + o->size > end)
                    end = o->base + o->size;
                if (o->base < r.base)
                    r.base = o->base;
                r.size = (uint64_t)(end - r.base);
                mem_free(o->cells);
                *o = k->regions[--k->nregions];
                i = (size_t)-1; /* the larger one may touch others */
            }
            if (!region_add(k, r))
                return false;
        }
    }
    return true;
}

/* What the last execution left is old from now on. When numbers run out they begin again, with the
 * cells saying of on-chip memory only what was written. */
static void make_old(struct core_check *k)
{
    k->first_of_run += (uint32_t)k->nacc;
    k->first_set += (uint32_t)k->nreaders;
    k->nacc = k->nreaders = k->nsets = 0;
    if (k->sets != NULL)
        memset(k->sets, 0, k->cap_sets * sizeof(k->sets[0]));
    if (k->first_of_run <= READERS / 2 && k->first_set <= READERS / 2)
        return;
    for (size_t i = 0; i < k->nregions; i++)
        for (uint64_t b = 0; b < k->regions[i].size; b++) {
            struct cell *c = &k->regions[i].cells[b];

            *c = (struct cell){.write = c->write == 0 ? 0 : BEFORE};
        }
    memset(k->made, 0, sizeof(k->made));
    k->first_of_run = FIRST_ID;
    k->first_set = 0;
}

bool check_start(struct core_check *k, const struct core_exec *x)
{
    regions_free(k, 1u << ISA_HBM); /* bindings change; on-chip memory keeps what it held */
    make_old(k);
    if (k->nregions == 0) {
        for (unsigned c = 0; c < x->count; c++) {
            const struct kernel_core *kc = &x->core[c]->kc;
            struct region s = {.base = kc->sbuf,
                               .size = ISA_PARTITIONS * kc->sbuf_stride,
                               .core = c,
                               .mem = ISA_SBUF,
                               .stride = kc->sbuf_stride};
            struct region m = {.base = kc->psum,
                               .size = ISA_PARTITIONS * kc->psum_stride,
                               .core = c,
                               .mem = ISA_PSUM,
                               .stride = kc->psum_stride};

            if (!region_add(k, s) || !region_add(k, m))
                return false;
        }
    }
    if (!add_hbm(k, x))
        return false;
    k->runs++;
    k->nstrands = ENGINE0;
    for (unsigned c = 0; c < x->count; c++) {
        k->queue0[c] = k->nstrands;
        k->nstrands += x->run->program[c]->sg->queue_count;
        k->stream0[c] = k->nstrands;
        k->nstrands += x->run->program[c]->sg->coll_count > 0 ? STREAMS : 0;
    }
    memset(k->strand, 0, sizeof(k->strand));
    for (unsigned c = 0; c < CORE_MAX; c++)
        for (unsigned i = 0; i < ISA_SEMAPHORES; i++) {
            if (k->sem[c][i] != NULL)
                k->sem[c][i]->count = 0;
            if (k->event[c][i] != NULL)
                k->event[c][i]->count = 0;
        }
    for (unsigned s = 0; s < STRANDS; s++)
        k->strand[s].at[s] = 1;
    k->races = k->uninit = 0;
    k->no_memory = false;
    k->first.status = NRT_SUCCESS;
    return k->nstrands <= STRANDS;
}

/* ---- the end ---- */

NRT_STATUS check_finish(struct core_check *k, struct err *err)
{
    if (k->no_memory)
        return err_set(err, NRT_RESOURCE, "out of memory for checks");
    if (k->races == 0 && k->uninit == 0)
        return NRT_SUCCESS;
    return err_set(err, NRT_EXEC_COMPLETED_WITH_ERR,
                   "%s (%llu racing and %llu uninitialised byte accesses)", k->first.text,
                   (unsigned long long)k->races, (unsigned long long)k->uninit);
}
