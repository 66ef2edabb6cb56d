/* SPDX-License-Identifier: Apache-2.0 */
/* Fault points: named places where an operation is made to fail, by tests and by OPENNRT_FAULT.
 * Process-wide and off by default; a disabled point costs one predictable branch. */
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
    FAULT_HBM,   /* an HBM has no room for an allocation */
    FAULT_ASYNC, /* a queue of requests is full */
    FAULT_NET,   /* a message between nodes is lost on the way */
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

/* Whether something happens at its n-th chance: drawn from the seed alone, so that a replay draws
 * the same. */
struct fault_chance {
    uint64_t of32; /* of 2^32; at least 2^32: always */
    uint64_t seed;
};
#define FAULT_ALWAYS (UINT64_C(1) << 32)
static inline bool fault_drawn(const struct fault_chance *c, uint64_t n)
{
    uint64_t x = c->seed + n * UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) >> 32 < c->of32;
}

void fault_arm(enum fault_point p, uint64_t nth); /* the nth hit from now (1 = next) fails, once */
/* From the nth hit on: those that are drawn fail, at most count of them (0: all). */
void fault_arm_many(enum fault_point p, uint64_t nth, uint64_t count,
                    const struct fault_chance *odds);
void fault_count_start(void); /* count hits of all points from 0, fail nothing */
uint64_t fault_count(enum fault_point p);
void fault_disarm(void);

#endif
