/* SPDX-License-Identifier: Apache-2.0 */
/* A schedule's own iterators as the checker's source: one for every rank and channel, made when
 * first asked. */
#include "base/mem.h"
#include "sched/check.h"
#include "topo/group.h"

struct sched_check_iters {
    const struct sched *s;
    struct sched_iter **iter; /* [ranks * channels] */
    bool no_memory;
};

static struct sched_iter **iter_slot(const struct sched_check_iters *it, uint32_t rank,
                                     uint32_t channel)
{
    return &it->iter[(size_t)rank * sched_channels(it->s) + channel];
}

static void iters_rewind(void *ctx, uint32_t rank, uint32_t channel)
{
    struct sched_check_iters *it = ctx;
    struct sched_iter **slot = iter_slot(it, rank, channel);

    if (*slot)
        sched_iter_rewind(*slot);
    else if (sched_iter_create(it->s, rank, channel, slot) != NRT_SUCCESS)
        it->no_memory = true;
}

static const struct sched_step *iters_next(void *ctx, uint32_t rank, uint32_t channel)
{
    const struct sched_check_iters *it = ctx;
    struct sched_iter *iter = *iter_slot(it, rank, channel);

    return iter ? sched_iter_next(iter) : NULL;
}

static NRT_STATUS iters_status(void *ctx, uint32_t rank, uint32_t channel)
{
    const struct sched_check_iters *it = ctx;

    return it->no_memory ? NRT_RESOURCE : sched_iter_status(*iter_slot(it, rank, channel));
}

static uint64_t iters_elems(void *ctx, enum sched_buf buf, uint32_t rank, uint32_t channel)
{
    const struct sched_check_iters *it = ctx;

    return sched_buffer_elems(it->s, buf, rank, channel);
}

static uint32_t iters_node(void *ctx, uint32_t rank)
{
    const struct sched_check_iters *it = ctx;

    return sched_request_of(it->s)->group->node[rank];
}

NRT_STATUS sched_check_open(const struct sched *s, struct sched_check_source *ret)
{
    struct sched_check_iters *it = mem_zalloc(sizeof(*it));

    if (!it)
        return NRT_RESOURCE;
    it->s = s;
    it->iter = mem_calloc((size_t)sched_ranks(s) * sched_channels(s), sizeof(struct sched_iter *));
    if (!it->iter) {
        mem_free(it);
        return NRT_RESOURCE;
    }
    *ret = (struct sched_check_source){.ctx = it,
                                       .next = iters_next,
                                       .rewind = iters_rewind,
                                       .status = iters_status,
                                       .buffer_elems = iters_elems,
                                       .node = iters_node};
    return NRT_SUCCESS;
}

void sched_check_close(struct sched_check_source *source)
{
    struct sched_check_iters *it = source->ctx;

    if (!it)
        return;
    for (size_t i = 0; i < (size_t)sched_ranks(it->s) * sched_channels(it->s); i++)
        sched_iter_destroy(it->iter[i]);
    mem_free(it->iter);
    mem_free(it);
    source->ctx = NULL;
}
