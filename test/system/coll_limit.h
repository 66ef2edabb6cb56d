/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of a session's exchanges, for tests that link the library's objects: set when its
 * ranks have met, so that no machine is too slow to start. */
#ifndef TEST_SYSTEM_COLL_LIMIT_H
#define TEST_SYSTEM_COLL_LIMIT_H

#include "api/api_int.h"
#include "coll/world_int.h"

/* While no call is under way. */
static inline void coll_limit(uint32_t ms)
{
    api_.world->join_ms = api_.world->limit_ms = ms;
}

#endif
