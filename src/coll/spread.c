/* SPDX-License-Identifier: Apache-2.0 */
/* Where the ranks of a node run while they wait. Ranks that yield to each other are always runnable
 * and each of them runs for some microseconds only; a kernel that has woken them all on one CPU may
 * leave them there although another one is idle, and an operation then takes twice as long (seen
 * with Linux 6.18: four ranks, two CPUs). So every rank says where it runs, looks now and then
 * where the others do, and goes to a CPU that has at least two ranks fewer.
 *
 * All of this is a hint: what others say may be old or wrong, and then a rank moves in vain, which
 * the kernel may undo. It never moves out of the thread's mask, nor often. */
#include <sched.h>

#include "coll/coll_int.h"

#define LOOK_EVERY 64u                /* yields of a rank whose node has too few CPUs */
#define PAUSE_NS   UINT64_C(10000000) /* between two moves of a rank: the kernel may know better */

uint32_t coll_spread_to(const uint16_t *count, uint32_t mine, const struct run_cpus *allowed)
{
    uint32_t least = mine;

    for (uint32_t cpu = 0; cpu < RUN_CPUS_MAX; cpu++)
        if ((allowed->bits[cpu / 64] >> cpu % 64 & 1) && count[cpu] < count[least])
            least = cpu;
    return count[mine] >= count[least] + 2 ? least : COLL_STAY;
}

/* Counts the ranks of the node by CPU. Of those on CPU `mine` the last one is to move, so that not
 * all of them go at once: false, if that is not me. */
static bool ranks_count(const struct coll_comm *c, uint32_t mine, uint16_t *count)
{
    for (uint32_t i = 0; i < c->near_count; i++) {
        uint32_t r = c->near[i];
        uint32_t at = atomic_load_explicit(&c->peers[r].area->publish.cpu, memory_order_relaxed);

        if (at == 0 || at > RUN_CPUS_MAX)
            continue;
        if (at - 1 == mine && r > c->me)
            return false;
        count[at - 1]++;
    }
    return true;
}

static void look(struct coll_comm *c)
{
    uint32_t mine = run_cpu_now(), to;
    uint16_t count[RUN_CPUS_MAX] = {0};
    struct coll_publish *pub = &c->peers[c->me].area->publish;
    struct run_cpus allowed;
    uint64_t now;

    if (mine >= RUN_CPUS_MAX || c->spread.stays)
        return;
    if (atomic_load_explicit(&pub->cpu, memory_order_relaxed) != mine + 1)
        atomic_store_explicit(&pub->cpu, mine + 1, memory_order_relaxed);
    if (!ranks_count(c, mine, count) || count[mine] < 2)
        return;
    now = run_now_ns();
    if (now - c->spread.moved_ns < PAUSE_NS)
        return;
    run_cpus_mine(&allowed);
    to = coll_spread_to(count, mine, &allowed);
    if (to == COLL_STAY)
        return;
    c->spread.moved_ns = now;
    c->spread.stays = !run_cpu_move(to);
    if (!c->spread.stays)
        atomic_store_explicit(&pub->cpu, to + 1, memory_order_relaxed);
}

void coll_yield(struct coll_comm *c)
{
    sched_yield();
    if (!c->crowded || ++c->spread.yields % LOOK_EVERY == 0)
        look(c);
}
