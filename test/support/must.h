/* SPDX-License-Identifier: Apache-2.0 */
/* Checks for threads of a test: cmocka's assertions are for its own thread. */
#ifndef TEST_SUPPORT_MUST_H
#define TEST_SUPPORT_MUST_H

#include <stdio.h>
#include <stdlib.h>

#include "nrt/nrt_status.h"

#define MUST(cond)                                                     \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                   \
        }                                                              \
    } while (0)
#define OK(call) MUST((call) == NRT_SUCCESS)

#endif
