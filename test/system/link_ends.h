/* SPDX-License-Identifier: Apache-2.0 */
/* The ends of links that one process has with itself: none can close before the others answer. */
#ifndef TEST_SYSTEM_LINK_ENDS_H
#define TEST_SYSTEM_LINK_ENDS_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/link.h"

static inline void *link_close_main(void *link)
{
    net_link_close((struct net_link *)link);
    return NULL;
}

/* All of them, at most 16, each in a thread. */
static inline void links_close(struct net_link *const *l, uint32_t n)
{
    pthread_t threads[16];

    assert_in_range(n, 1, sizeof(threads) / sizeof(threads[0]));
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, link_close_main, l[i]), 0);
    for (uint32_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}
#endif
