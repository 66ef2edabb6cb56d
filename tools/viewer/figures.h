/* SPDX-License-Identifier: Apache-2.0 */
/* What a profile says in figures: how busy each engine was and what it waited for, which
 * instructions took longest, how well the DMA engines were used, and how much of communication was
 * hidden behind computation. docs/profiling.md says how each is counted. Pure.
 *
 * Times are picoseconds of device time, summed over the executions of one model in one file; a sum
 * that would not fit stays at its greatest value. */
#ifndef VIEWER_FIGURES_H
#define VIEWER_FIGURES_H

#include "viewer/profile.h"

/* Why an engine did nothing. */
enum viewer_idle {
    VIEWER_IDLE_ENGINE,   /* waited for an instruction of an engine, its own too */
    VIEWER_IDLE_TRANSFER, /* waited for a transfer */
    VIEWER_IDLE_COLL,     /* waited for a collective */
    VIEWER_IDLE_OTHER,    /* waited; what let it go on is not in the profile */
    VIEWER_IDLE_BETWEEN,  /* neither waited nor worked between its instructions */
    VIEWER_IDLE_ENDED,    /* its program was over */
    VIEWER_IDLE_COUNT
};

struct viewer_engine {
    bool used; /* it has a program */
    uint64_t records;
    uint64_t busy_ps, compute_ps; /* compute: instructions that compute, also counted in busy */
    uint64_t idle_ps[VIEWER_IDLE_COUNT];
    uint64_t for_engine_ps[VIEWER_UNITS]; /* of IDLE_ENGINE: which */
};

struct viewer_queue {
    uint32_t core, queue;
    uint64_t transfers, bytes;
    uint64_t active_ps;                /* at least one of its transfers was under way */
    uint64_t awaited_ps[VIEWER_UNITS]; /* how long each engine waited for it */
};

struct viewer_instruction {
    uint64_t count, ps;
};

struct viewer_figures {
    const struct viewer_model *model;
    uint64_t executions, failed;
    uint64_t total_ps;
    uint64_t active_ps; /* an engine computes or moves, or a transfer or collective is under way */
    struct viewer_engine engine[VIEWER_UNITS];
    struct viewer_instruction *instructions; /* one for each record of the model */
    uint64_t matmuls;
    /* Transfers. ideal: how long their bytes alone take on all DMA engines of the core. */
    uint64_t transfers, transfer_bytes, dma_active_ps, dma_ideal_ps;
    struct viewer_queue *queues; /* of the model's transfers, in the order of core and queue */
    size_t queue_count;
    /* Collectives: under way once their last member has come. */
    uint64_t colls, coll_ps, coll_late_ps;
    uint64_t compute_ps;                    /* at least one engine computes */
    uint64_t dma_any_ps, coll_any_ps;       /* on any core */
    uint64_t dma_hidden_ps, coll_hidden_ps; /* of those, while an engine computes */
    uint64_t dropped_events;                /* of these executions */
};

/* Of all executions of the model. NRT_RESOURCE. viewer_figures_fini frees in every case. */
NRT_STATUS viewer_figures_make(struct viewer_figures *ret, const struct viewer_model *m,
                               struct err *err);
void viewer_figures_fini(struct viewer_figures *f);

/* The records of the model that took longest, at most max; ret gets their numbers. Returns how
 * many. Records that were not executed are left out; of equals the first comes first. */
size_t viewer_figures_top(const struct viewer_figures *f, uint32_t *ret, size_t max);

/* part of whole, 0 to 1; 0 when there is no whole. */
static inline double viewer_share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}
/* Which of an engine's reasons to be idle is the longest; VIEWER_IDLE_COUNT: it was never idle. */
enum viewer_idle viewer_idle_first(const struct viewer_engine *e);
uint64_t viewer_idle_sum(const struct viewer_engine *e);
/* Appends why, in words: "waits for transfers of queue 0". unit: whose reason it is. */
void viewer_idle_words(const struct viewer_figures *f, unsigned unit, enum viewer_idle why,
                       struct strbuf *out);

#endif
