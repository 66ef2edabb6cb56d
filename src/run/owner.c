/* SPDX-License-Identifier: Apache-2.0 */
/* The owner word: who may drive a core now, first come first served. A ticket lock whose turn is
 * told through one of several words, so that giving wakes the next owner and, up to
 * RUN_OWNER_TURNS waiters, nobody else. Ticket t is at turn when word t mod RUN_OWNER_TURNS holds
 * t; all zeros means that ticket 0 may go. */
#include "run/run.h"

static struct run_word *turn_of(struct run_owner *o, uint32_t ticket)
{
    return &o->turn[ticket % RUN_OWNER_TURNS];
}

/* The one behind the owner is served next and may spin for a moment; who stands further back
 * sleeps, however many CPUs there are. */
static void wait_turn(struct run_owner *o, uint32_t ticket, const struct run_policy *policy)
{
    struct run_policy p = {.spin_us = RUN_NO_SPIN};
    struct run_word *w = turn_of(o, ticket);
    uint32_t seen;

    if (policy != NULL)
        p = *policy;
    if (ticket - __atomic_load_n(&o->now, __ATOMIC_RELAXED) > 1)
        p.spin_us = RUN_NO_SPIN;
    while ((seen = run_word_load(w)) != ticket)
        run_wait(w, seen, RUN_FOREVER, &p);
}

void run_owner_take(struct run_owner *o, const struct run_policy *policy)
{
    uint32_t ticket = __atomic_fetch_add(&o->next, 1, __ATOMIC_RELAXED);

    if (__builtin_expect(run_word_load(turn_of(o, ticket)) != ticket, 0))
        wait_turn(o, ticket, policy);
}

bool run_owner_try(struct run_owner *o)
{
    uint32_t ticket = __atomic_load_n(&o->next, __ATOMIC_RELAXED);

    return run_word_load(turn_of(o, ticket)) == ticket &&
           __atomic_compare_exchange_n(&o->next, &ticket, ticket + 1, false, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}

void run_owner_give(struct run_owner *o)
{
    uint32_t ticket = __atomic_load_n(&o->now, __ATOMIC_RELAXED) + 1;

    __atomic_store_n(&o->now, ticket, __ATOMIC_RELAXED);
    run_word_set(turn_of(o, ticket), ticket);
}

uint32_t run_owner_queue(const struct run_owner *o)
{
    uint32_t now = __atomic_load_n(&o->now, __ATOMIC_RELAXED);
    uint32_t next = __atomic_load_n(&o->next, __ATOMIC_RELAXED);

    return next - now;
}
