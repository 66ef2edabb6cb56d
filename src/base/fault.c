/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"

#include <errno.h>

int fault_armed_;

/* Per point, from when it was armed: first, the number of the hit that may fail first (0: none
 * armed), hits so far and failures so far. seen: hits since fault_count_start.
 * Synchronization: atomics, since a point may be armed while other threads hit it: until all of it
 * is there none fails, but for a hit that had begun under what was armed before. */
static struct {
    uint64_t first, count, hits, failed, seen;
    uint64_t of32, seed; /* struct fault_chance */
} points_[FAULT_POINT_COUNT];

static const int fault_errno[FAULT_POINT_COUNT] = {
    [FAULT_ALLOC] = ENOMEM,   [FAULT_MMAP] = ENOMEM,   [FAULT_FILE] = EIO,   [FAULT_LOCK] = ENOLCK,
    [FAULT_BACKING] = ENOSPC, [FAULT_THREAD] = EAGAIN, [FAULT_HBM] = ENOMEM, [FAULT_ASYNC] = EAGAIN,
};

/* One more failure, unless there were enough: of several threads at most count get one. */
static bool failure_take(enum fault_point p)
{
    uint64_t count = __atomic_load_n(&points_[p].count, __ATOMIC_RELAXED);
    uint64_t failed = __atomic_load_n(&points_[p].failed, __ATOMIC_RELAXED);

    while (count == 0 || failed < count) {
        if (__atomic_compare_exchange_n(&points_[p].failed, &failed, failed + 1, false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return true;
    }
    return false;
}

bool fault_hit_slow(enum fault_point p)
{
    /* acquire: what was armed with it; of the odds: that what was armed before them is gone */
    uint64_t first = __atomic_load_n(&points_[p].first, __ATOMIC_ACQUIRE), n;
    struct fault_chance odds = {.of32 = __atomic_load_n(&points_[p].of32, __ATOMIC_ACQUIRE),
                                .seed = __atomic_load_n(&points_[p].seed, __ATOMIC_ACQUIRE)};

    __atomic_fetch_add(&points_[p].seen, 1, __ATOMIC_RELAXED);
    if (first == 0 || __atomic_load_n(&points_[p].first, __ATOMIC_RELAXED) != first)
        return false; /* not armed, or not with these odds */
    n = __atomic_add_fetch(&points_[p].hits, 1, __ATOMIC_RELAXED);
    if (n < first || !fault_drawn(&odds, n) || !failure_take(p))
        return false;
    errno = fault_errno[p];
    return true;
}

void fault_arm_many(enum fault_point p, uint64_t nth, uint64_t count,
                    const struct fault_chance *odds)
{
    __atomic_store_n(&points_[p].first, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&points_[p].of32, odds->of32, __ATOMIC_RELEASE); /* after first */
    __atomic_store_n(&points_[p].seed, odds->seed, __ATOMIC_RELEASE);
    __atomic_store_n(&points_[p].count, count, __ATOMIC_RELAXED);
    __atomic_store_n(&points_[p].hits, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&points_[p].failed, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&points_[p].first, nth, __ATOMIC_RELEASE);
    __atomic_store_n(&fault_armed_, 1, __ATOMIC_RELEASE);
}

void fault_arm(enum fault_point p, uint64_t nth)
{
    fault_arm_many(p, nth, 1, &(struct fault_chance){.of32 = FAULT_ALWAYS});
}

void fault_count_start(void)
{
    for (int i = 0; i < FAULT_POINT_COUNT; i++) {
        __atomic_store_n(&points_[i].first, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&points_[i].seen, 0, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&fault_armed_, 1, __ATOMIC_RELEASE);
}

uint64_t fault_count(enum fault_point p)
{
    return __atomic_load_n(&points_[p].seen, __ATOMIC_RELAXED);
}

void fault_disarm(void)
{
    __atomic_store_n(&fault_armed_, 0, __ATOMIC_RELEASE);
    for (int i = 0; i < FAULT_POINT_COUNT; i++)
        __atomic_store_n(&points_[i].first, 0, __ATOMIC_RELAXED);
}
