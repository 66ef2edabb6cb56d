/* SPDX-License-Identifier: Apache-2.0 */
/* Tours of the API: functions that make call after call and end with the first status that is not
 * the one of a tour without a fault. What was called is written down, so that a test can show that
 * nothing a header declares was left out. */
#ifndef TEST_SYSTEM_FAULT_TOUR_H
#define TEST_SYSTEM_FAULT_TOUR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/fault.h"
#include "nrt/nrt_status.h"

/* As OPENNRT_FAULT calls the points. */
extern const char *const tour_points[FAULT_POINT_COUNT];

/* Writes down that the function was called: its name up to the end or a bracket. */
void tour_note(const char *call);

#define TRY(call)               \
    do {                        \
        NRT_STATUS s_ = (call); \
        tour_note(#call);       \
        if (s_ != NRT_SUCCESS)  \
            return s_;          \
    } while (0)
/* One that has another answer on this device. */
#define TRY_FOR(call, status)   \
    do {                        \
        NRT_STATUS s_ = (call); \
        tour_note(#call);       \
        if (s_ != (status))     \
            return s_;          \
    } while (0)
/* One that returns nothing. */
#define DO(call)          \
    do {                  \
        call;             \
        tour_note(#call); \
    } while (0)

/* What a fault of this point may make of a tour, by docs/spec/api.md 3.1. */
bool tour_status_may_be(enum fault_point p, NRT_STATUS status);

/* A teardown: ends what a failed test has left. */
int tour_end_session(void **state);

/* Ends the test when a function that the header declares was not called, unless its name begins
 * with one of `but` (which ends with NULL). How many it declares. */
unsigned tour_covers(const char *header, const char *const *but);

#endif
