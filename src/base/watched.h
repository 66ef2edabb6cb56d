/* SPDX-License-Identifier: Apache-2.0 */
/* Who looks on, seldom: by a trace, a profile or a record of device time.
 *
 * WATCHED(cond): every place of a call, an execution or an instruction that asks whether somebody
 * does asks through this, or looks at what such a place found in the same call. In a build with
 * -DOPENNRT_BLIND it is the constant 0 and the compiler drops what hangs on it: beside such a build
 * bench/off_cost.c measures what the places cost while nobody looks on.
 *
 * An execution asks once, whether there is anybody at all, faults on demand among them, which a
 * blind build has too: watched_any. Whoever comes or goes counts himself. */
#ifndef BASE_WATCHED_H
#define BASE_WATCHED_H

#include <stdbool.h>
#include <stdint.h>

#ifdef OPENNRT_BLIND
#define WATCHED(cond) ((void)sizeof(cond), 0)
#else
#define WATCHED(cond) __builtin_expect((cond) ? 1 : 0, 0)
#endif

extern uint32_t watched_; /* how many; through __atomic only */

static inline bool watched_any(void)
{
    return __builtin_expect(__atomic_load_n(&watched_, __ATOMIC_RELAXED) != 0, 0);
}

/* Somebody who was not there (was) is there now (is), or the other way round. */
static inline void watched_count(bool was, bool is)
{
    if (was != is)
        __atomic_fetch_add(&watched_, is ? 1u : UINT32_MAX, __ATOMIC_SEQ_CST);
}

/* In the child of a fork, which has forgotten all of them. */
static inline void watched_forget(void)
{
    __atomic_store_n(&watched_, 0, __ATOMIC_SEQ_CST);
}

#endif
