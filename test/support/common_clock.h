/* SPDX-License-Identifier: Apache-2.0 */
/* A clock of several processes, in memory that they share, for limits that must end an operation
 * though no machine may be too slow for it. It goes on by a millisecond when every rank has looked
 * at it, which one does that has waited in vain for a while: so nobody is missed who only gets
 * little of the machine. Who has been stopped or has ended is taken out. */
#ifndef TEST_SUPPORT_COMMON_CLOCK_H
#define TEST_SUPPORT_COMMON_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define COMMON_CLOCK_MAX 64
struct common_clock {
    _Atomic uint64_t ms;
    _Atomic uint64_t out; /* bits of ranks */
    _Atomic uint64_t looked[COMMON_CLOCK_MAX];
};

/* While nobody looks. */
static inline void common_clock_start(struct common_clock *c)
{
    atomic_store(&c->ms, 1);
    atomic_store(&c->out, 0);
    for (unsigned i = 0; i < COMMON_CLOCK_MAX; i++)
        atomic_store(&c->looked[i], 0);
}

static inline void common_clock_out(struct common_clock *c, uint32_t rank)
{
    atomic_fetch_or(&c->out, UINT64_C(1) << rank);
}

/* What it shows to a rank of n, in ns. */
static inline uint64_t common_clock_look(struct common_clock *c, uint32_t rank, uint32_t n)
{
    uint64_t now = atomic_load(&c->ms);
    bool all = true;

    atomic_store(&c->looked[rank], now);
    for (uint32_t r = 0; r < n && all; r++)
        all = (atomic_load(&c->out) >> r & 1) || atomic_load(&c->looked[r]) == now;
    if (all)
        (void)atomic_compare_exchange_strong(&c->ms, &now, now + 1);
    return now * 1000000;
}

#endif
