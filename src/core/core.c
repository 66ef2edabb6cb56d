/* SPDX-License-Identifier: Apache-2.0 */
/* The core object: memories, semaphores, registers. */
#include "core/core_int.h"

#include <string.h>

NRT_STATUS core_create(const struct core_config *cfg, struct core **ret, struct err *err)
{
    struct core *c = mem_zalloc(sizeof(*c));
    NRT_STATUS st;

    if (c == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for a core");
    st = kernel_core_init(&c->kc, cfg->gen, 0, err);
    if (st != NRT_SUCCESS) {
        mem_free(c);
        return st;
    }
    c->kc.pool = cfg->pool;
    c->live = cfg->live;
    c->sem = cfg->live != NULL ? live_semaphores(cfg->live) : c->own_sem;
    memset(c->dirty, 0xff, sizeof(c->dirty)); /* a live page may hold a former owner's */
    kernel_rng_seed(&c->dma_rng, 0);
    c->exec = mem_zalloc(sizeof(*c->exec));
    c->staging = mem_aligned(64, DMA_STAGING);
    if (c->exec == NULL || c->staging == NULL) {
        core_destroy(c);
        return err_set(err, NRT_RESOURCE, "out of memory for a core");
    }
    exec_pending_reset(c->exec);
    *ret = c;
    return NRT_SUCCESS;
}

void core_destroy(struct core *c)
{
    if (c == NULL)
        return;
    kernel_core_fini(&c->kc);
    mem_free(c->exec);
    mem_free(c->staging);
    mem_free(c->queues);
    mem_free(c);
}

/* Stochastic rounding starts over with this seed; streams by engine and lane as in
 * kernel_core_init, and one for DMA. */
void core_seed_sr(struct core *c, uint32_t seed)
{
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        for (unsigned lane = 0; lane < ISA_PARTITIONS; lane++)
            kernel_rng_seed(&c->kc.sr_rng[e][lane],
                            (uint64_t)seed << 32 | 1u << 16 | e << 8 | lane);
    kernel_rng_seed(&c->dma_rng, (uint64_t)seed << 32 | 1u << 16 | ISA_ENGINES << 8);
    c->sr_seed = seed;
    c->sr_seeded = true;
}

NRT_STATUS core_queues_grow(struct core *c, size_t queues, struct err *err)
{
    if (!mem_grow((void **)&c->queues, &c->queue_cap, queues, sizeof(c->queues[0])))
        return err_set(err, NRT_RESOURCE, "out of memory for queues");
    return NRT_SUCCESS;
}

void core_reset(struct core *c)
{
    for (unsigned p = 0; p < ISA_PARTITIONS; p++) {
        memset(c->kc.sbuf + p * c->kc.sbuf_stride, 0, c->kc.sbuf_bytes);
        memset(c->kc.psum + p * c->kc.psum_stride, 0, ISA_PSUM_BYTES);
    }
    for (unsigned i = 0; i < ISA_SEMAPHORES; i++)
        __atomic_store_n(&c->sem[i], 0, __ATOMIC_RELAXED);
    memset(c->events, 0, sizeof(c->events));
    memset(c->engine, 0, sizeof(c->engine));
    c->engines = 0;
    kernel_core_start(&c->kc);
}

struct kernel_core *core_kernel(struct core *c)
{
    return &c->kc;
}

int32_t core_semaphore(const struct core *c, unsigned index)
{
    return index < ISA_SEMAPHORES ? __atomic_load_n(&c->sem[index], __ATOMIC_RELAXED) : 0;
}

bool core_event(const struct core *c, unsigned index)
{
    return index < ISA_EVENTS && (c->events[index / 64] >> index % 64 & 1) != 0;
}

uint32_t core_register(const struct core *c, unsigned engine, unsigned reg)
{
    return engine < ISA_ENGINES && reg < ISA_REGS ? c->engine[engine].regs[reg] : 0;
}
