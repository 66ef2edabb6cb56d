/* SPDX-License-Identifier: Apache-2.0 */
/* What the naive proof wants to find: the operations by their definitions, element by element. */
#include "naive_int.h"

#include "topo/group.h"

uint64_t naive_mix(uint64_t a, uint64_t b)
{
    a = (a ^ b) * 0xff51afd7ed558ccdu;
    a = (a ^ (a >> 33)) * 0xc4ceb9fe1a85ec53u;
    return a ^ (a >> 29);
}

struct naive_value naive_input(uint32_t run, uint32_t r, uint32_t t, uint64_t i)
{
    uint64_t h = naive_mix(naive_mix(naive_mix(run + 1, r + 7), t + 77), i + 777);

    return (struct naive_value){h, h, true};
}

struct naive_value naive_stale(uint32_t run, uint32_t r, uint32_t t, uint64_t i)
{
    uint64_t h = naive_mix(naive_input(run, r, t, i).order, 4711);

    return (struct naive_value){h, h, true};
}

/* Element i of the output of r in a permute: what its source gave; without one, what was there. */
static struct naive_value permuted(const struct sched_request *req, uint32_t r, uint32_t run,
                                   uint32_t t, uint32_t i)
{
    for (uint32_t k = 0; k < req->pair_count; k++)
        if (req->pairs[k].target == r)
            return naive_input(run, req->pairs[k].source, t, i);
    return req->in_place ? naive_input(run, r, t, i) : naive_stale(run, r, t, i);
}

/* The same in a variable form: the block that covers it. */
static struct naive_value placed(const struct sched_request *req, uint32_t ranks, uint32_t r,
                                 uint32_t run, uint32_t i)
{
    for (uint32_t s = 0; s < ranks; s++) {
        uint32_t k = s * ranks + (req->op == SCHED_ALL_GATHER_V ? 0 : r);
        uint64_t to =
            req->recv_displ ? req->recv_displ[r * ranks + s] : s * (req->out_elems / ranks);

        if (i >= to && i - to < req->send_count[k])
            return naive_input(run, s, 0, req->send_displ[k] + i - to);
    }
    return req->in_place && i < req->in_elems ? naive_input(run, r, 0, i)
                                              : naive_stale(run, r, 0, i);
}

/* In a reduction of blocks: as many elements as each rank gives to r; the rest is as it was. */
static struct naive_value summed(const struct sched_request *req, uint32_t ranks, uint32_t r,
                                 uint32_t run, uint32_t i)
{
    struct naive_value sum = {0};

    if (i >= req->send_count[r])
        return req->in_place && i < req->in_elems ? naive_input(run, r, 0, i)
                                                  : naive_stale(run, r, 0, i);
    for (uint32_t q = 0; q < ranks; q++)
        sum.sum += naive_input(run, q, 0, req->send_displ[q * ranks + r] + i).sum;
    return sum;
}

struct naive_value naive_want(const struct sched_request *req, uint32_t ranks, uint32_t run,
                              uint32_t r, uint32_t t, uint32_t i)
{
    uint64_t c = req->counts[t];
    struct naive_value sum = {0};

    switch (req->op) {
    case SCHED_ALL_GATHER:
        return naive_input(run, i / (uint32_t)c, t, i % c);
    case SCHED_ALL_TO_ALL:
        return naive_input(run, i / (uint32_t)(c / ranks), t, c / ranks * r + i % (c / ranks));
    case SCHED_SENDRECV:
        return naive_input(run, (r + ranks - 1) % ranks, t, i);
    case SCHED_PERMUTE:
        return permuted(req, r, run, t, i);
    case SCHED_ALL_GATHER_V:
    case SCHED_ALL_TO_ALL_V:
        return placed(req, ranks, r, run, i);
    case SCHED_REDUCE_SCATTER_V:
        return summed(req, ranks, r, run, i);
    default:
        for (uint32_t q = 0; q < ranks; q++)
            sum.sum += naive_input(run, q, t, req->op == SCHED_REDUCE_SCATTER ? c * r + i : i).sum;
        return sum;
    }
}
