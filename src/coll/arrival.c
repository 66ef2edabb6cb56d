/* SPDX-License-Identifier: Apache-2.0 */
/* When members enter operations, in device time: runs that are recorded tell each other, through
 * their areas, and nobody waits for it. */
#include "coll/coll_int.h"

void coll_enter(struct coll_comm *c, uint64_t ps)
{
    uint64_t seq = c->seq + 1;
    struct coll_entered *e = &c->peers[c->me].area->entered[seq % COLL_ENTERED];

    atomic_store_explicit(&e->ps, ps, memory_order_relaxed);
    atomic_store_explicit(&e->seq, seq, memory_order_release);
}

uint64_t coll_arrival(const struct coll_comm *c)
{
    uint64_t last = 0;

    for (uint32_t i = 0; i < c->near_count; i++) {
        uint32_t r = c->near[i];
        const struct coll_entered *e = &c->peers[r].area->entered[c->seq % COLL_ENTERED];
        uint64_t ps, seq = atomic_load_explicit(&e->seq, memory_order_acquire);

        if (r == c->me || seq != c->seq)
            continue;
        ps = atomic_load_explicit(&e->ps, memory_order_acquire);
        /* a member so far ahead that it fills this place again says so afterwards */
        if (ps > last && atomic_load_explicit(&e->seq, memory_order_relaxed) == c->seq)
            last = ps;
    }
    return last;
}
