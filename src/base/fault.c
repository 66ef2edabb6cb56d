/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"

#include <errno.h>

int fault_armed_;

/* Per point: hits left until the failure (0: none armed) and hits seen since fault_count_start.
 * Synchronization: relaxed atomics; a test arms before it starts threads. */
static uint64_t fault_left[FAULT_POINT_COUNT];
static uint64_t fault_seen[FAULT_POINT_COUNT];

static const int fault_errno[FAULT_POINT_COUNT] = {
    [FAULT_ALLOC] = ENOMEM, [FAULT_MMAP] = ENOMEM,    [FAULT_FILE] = EIO,
    [FAULT_LOCK] = ENOLCK,  [FAULT_BACKING] = ENOSPC, [FAULT_THREAD] = EAGAIN,
};

bool fault_hit_slow(enum fault_point p)
{
    uint64_t left = __atomic_load_n(&fault_left[p], __ATOMIC_RELAXED);

    __atomic_fetch_add(&fault_seen[p], 1, __ATOMIC_RELAXED);
    /* Count down with a compare-and-swap, so that of several threads exactly one gets the failure.
     */
    while (left != 0) {
        if (__atomic_compare_exchange_n(&fault_left[p], &left, left - 1, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            if (left != 1)
                return false;
            errno = fault_errno[p];
            return true;
        }
    }
    return false;
}

void fault_arm(enum fault_point p, uint64_t nth)
{
    __atomic_store_n(&fault_left[p], nth, __ATOMIC_RELAXED);
    __atomic_store_n(&fault_armed_, 1, __ATOMIC_RELEASE);
}

void fault_count_start(void)
{
    for (int i = 0; i < FAULT_POINT_COUNT; i++) {
        __atomic_store_n(&fault_left[i], 0, __ATOMIC_RELAXED);
        __atomic_store_n(&fault_seen[i], 0, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&fault_armed_, 1, __ATOMIC_RELEASE);
}

uint64_t fault_count(enum fault_point p)
{
    return __atomic_load_n(&fault_seen[p], __ATOMIC_RELAXED);
}

void fault_disarm(void)
{
    __atomic_store_n(&fault_armed_, 0, __ATOMIC_RELEASE);
    for (int i = 0; i < FAULT_POINT_COUNT; i++)
        __atomic_store_n(&fault_left[i], 0, __ATOMIC_RELAXED);
}
