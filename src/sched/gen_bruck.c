/* SPDX-License-Identifier: Apache-2.0 */
/* all_gather and reduce_scatter over any number of nodes in ceil(log2 N) steps: Bruck's form and
 * its mirror (spec section 7). Ranks hold blocks 0, 1, ...: block i of rank r is chunk r + i. */
#include "sched/sched_int.h"

#define BRUCK_SLOTS 2

static uint32_t ranks(const struct sched_where *w)
{
    return w->st->shape->n;
}

static uint32_t steps_of(const struct sched_where *w)
{
    uint32_t steps = 0;

    while (1u << steps < ranks(w))
        steps++;
    return steps;
}

/* Blocks that travel in step k: 2^k, or what is left. */
static uint32_t blocks(const struct sched_where *w, uint32_t k)
{
    uint32_t rest = ranks(w) - (1u << k);

    return rest < 1u << k ? rest : 1u << k;
}

static uint32_t ahead(const struct sched_where *w, uint32_t by)
{
    return (w->me + by) % ranks(w);
}

static uint32_t behind(const struct sched_where *w, uint32_t by)
{
    return (w->me + ranks(w) - by) % ranks(w);
}

/* ---- all_gather ---- */

struct block_run {
    uint32_t first, n;
};

static uint32_t run_chunk(const void *arg, uint32_t j)
{
    const struct block_run *run = arg;

    return (run->first + j) % run->n;
}

static struct sched_set run_set(struct block_run *run, const struct sched_where *w, uint32_t first,
                                uint32_t count)
{
    *run = (struct block_run){first, ranks(w)};
    return (struct sched_set){run_chunk, run, count};
}

static uint64_t gather_once(const struct sched_where *w)
{
    return w->st->gather ? 1 : 0;
}

static void gather_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    enum sched_site site = sched_gather_site(w->st);
    struct sched_place out = sched_place_of(SITE_OUT, w->me);
    struct block_run run;

    (void)i;
    for (uint32_t k = 0; k < steps_of(w); k++) {
        struct sched_set set = run_set(&run, w, ahead(w, 1u << k), blocks(w, k));

        sched_emit_post_set(it, w, ahead(w, 1u << k), &set);
    }
    if (site != SITE_OUT && !w->s->req.in_place)
        sched_emit_copy(it, w, sched_chunk(w, w->me), sched_place_of(site, w->me), &out, 1);
}

static uint64_t gather_count(const struct sched_where *w)
{
    return w->st->gather ? steps_of(w) : 0;
}

static void gather_step(const struct sched_where *w, uint64_t k, struct sched_iter *it)
{
    uint32_t far = 1u << k, count = blocks(w, (uint32_t)k);
    struct block_run run;
    struct sched_set set = run_set(&run, w, w->me, count);

    sched_emit_deliver_set(it, w, behind(w, far), &set);
    set = run_set(&run, w, ahead(w, far), count);
    sched_emit_arrive_set(it, w, ahead(w, far), &set);
}

static void gather_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    (void)i;
    for (uint32_t k = 0; k < steps_of(w); k++)
        sched_emit_sent(it, w, behind(w, 1u << k));
}

/* ---- reduce_scatter ---- */

static uint64_t scatter_once(const struct sched_where *w)
{
    return w->st->scatter ? 1 : 0;
}

/* Slots of the steps lie one behind the other: step k has room for 2^k blocks. */
static struct sched_link link_of(const struct sched_where *w, uint32_t k, uint32_t peer)
{
    uint64_t ce = w->s->chunk_elems, before = ((1u << k) - 1) * BRUCK_SLOTS * ce;

    return (struct sched_link){.peer = peer,
                               .slots = BRUCK_SLOTS,
                               .slot_elems = (uint64_t)(1u << k) * ce,
                               .slot_at = w->st->slot_at + before,
                               .temp_at = w->st->temp_at + ranks(w) * ce + before};
}

static uint64_t run_len(const struct sched_where *w, uint32_t first, uint32_t count, uint64_t round)
{
    uint64_t len = 0;

    for (uint32_t j = 0; j < count; j++)
        len += sched_range_len(sched_slice(w, (first + j) % ranks(w), round, 1, 0));
    return len;
}

/* What arrives in step k is added to my blocks 0, 1, ...: chunks me, me + 1, ... */
static void post_round(const struct sched_where *w, uint64_t round, struct sched_iter *it)
{
    if (round >= sched_rounds(w, 1))
        return;
    for (uint32_t k = steps_of(w); k-- > 0;) {
        struct sched_link link = link_of(w, k, behind(w, 1u << k));

        sched_emit_post(it, w, &link, run_len(w, w->me, blocks(w, k), round));
    }
}

static void scatter_open(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    (void)i;
    for (uint64_t round = 0; round < BRUCK_SLOTS; round++)
        post_round(w, round, it);
}

static struct sched_place sum_at(const struct sched_where *w, uint32_t block)
{
    return sched_place_in(SITE_TEMP, w->me, w->st->temp_at + block * w->s->chunk_elems);
}

/* A block is still the input itself until something has been added to it: step k adds to the first
 * blocks(k) ones, and steps run downwards. */
static struct sched_place block_at(const struct sched_where *w, uint32_t k, uint32_t block)
{
    for (uint32_t done = k + 1; done < steps_of(w); done++)
        if (block < blocks(w, done))
            return sum_at(w, block);
    return sched_place_of(w->st->source, w->me);
}

static uint64_t scatter_count(const struct sched_where *w)
{
    return w->st->scatter ? sched_rounds(w, 1) * steps_of(w) : 0;
}

static void scatter_send(const struct sched_where *w, uint32_t k, uint64_t round,
                         struct sched_iter *it)
{
    uint32_t far = 1u << k, count = blocks(w, k);
    struct sched_link link = link_of(w, k, ahead(w, far));
    struct sched_place to = sched_emit_acquire(it, w, &link);
    uint64_t len = 0;

    for (uint32_t j = 0; j < count; j++) {
        struct sched_range range = sched_slice(w, ahead(w, far + j), round, 1, 0);

        sched_emit_copy(it, w, range, block_at(w, k, far + j), &to, 1);
        to.off += sched_range_len(range);
        len += sched_range_len(range);
    }
    sched_emit_commit(it, w, &link, len);
}

static void scatter_step(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    uint32_t steps = steps_of(w), k = steps - 1 - (uint32_t)(i % steps);
    uint64_t round = i / steps;
    struct sched_link link = link_of(w, k, behind(w, 1u << k));
    struct sched_place from;

    scatter_send(w, k, round, it);
    from = sched_emit_arrive(it, w, &link);
    for (uint32_t j = 0; j < blocks(w, k); j++) {
        struct sched_range range = sched_slice(w, ahead(w, j), round, 1, 0);
        struct sched_place both[2] = {block_at(w, k, j), from};
        struct sched_place dst = k == 0 ? sched_place_of(w->st->result, w->me) : sum_at(w, j);

        sched_emit_reduce(it, w, range, both, 2, &dst, 1);
        from.off += sched_range_len(range);
    }
    sched_emit_release(it, w, &link);
    if (k == 0)
        post_round(w, round + BRUCK_SLOTS, it);
}

static void scatter_close(const struct sched_where *w, uint64_t i, struct sched_iter *it)
{
    (void)i;
    for (uint32_t k = 0; k < steps_of(w); k++)
        sched_emit_sent(it, w, ahead(w, 1u << k));
}

static void bruck_needs(const struct sched *s, const struct sched_stage *st, uint64_t *slot,
                        uint64_t *temp)
{
    struct sched_where w = {.s = s, .st = st};
    uint64_t links = ((1u << steps_of(&w)) - 1) * BRUCK_SLOTS * s->chunk_elems;

    *slot = st->scatter ? links : 0;
    *temp = st->scatter ? links + st->shape->n * s->chunk_elems : 0;
}

/* Runs of blocks that pass the last rank break into two messages, on each rank in other steps. */
static uint32_t bruck_key(const struct sched_where *w)
{
    return w->st->gather ? w->me : 0;
}

const struct sched_algorithm sched_bruck = {
    .name = "rdh bruck",
    .key = bruck_key,
    .needs = bruck_needs,
    .phases = {{"bruck rs open", scatter_once, scatter_open},
               {"bruck rs", scatter_count, scatter_step},
               {"bruck rs close", scatter_once, scatter_close},
               {"bruck ag open", gather_once, gather_open},
               {"bruck ag", gather_count, gather_step},
               {"bruck ag close", gather_once, gather_close}},
};
