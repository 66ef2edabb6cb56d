/* SPDX-License-Identifier: Apache-2.0 */
/* Fault points: named places where a test makes an operation fail on its n-th hit. Process-wide and
 * off by default; a disabled point costs one predictable branch. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

enum fault_point {
    FAULT_ALLOC,
    FAULT_MMAP,
    FAULT_FILE,
    FAULT_LOCK,
    FAULT_BACKING,
    FAULT_THREAD,
    FAULT_QUEUE, /* nothing fails: the thread stops for a moment between two states of a queue */
    FAULT_POINT_COUNT
};

extern int
    fault_armed_; /* any point armed or counting; through __atomic only (C++ reads this too) */
bool fault_hit_slow(enum fault_point p);
/* True: the caller must behave as if the operation failed (errno is set: ENOMEM, EIO, ...). */
static inline bool fault_hit(enum fault_point p)
{
    return __builtin_expect(__atomic_load_n(&fault_armed_, __ATOMIC_RELAXED) != 0, 0) &&
           fault_hit_slow(p);
}

void fault_arm(enum fault_point p, uint64_t nth); /* the nth hit from now (1 = next) fails, once */
void fault_count_start(void); /* count hits of all points from 0, fail nothing */
uint64_t fault_count(enum fault_point p);
void fault_disarm(void);

#endif
