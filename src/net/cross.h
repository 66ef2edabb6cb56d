/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that wait for each other crosswise. Waiting alone is no mistake, however long it takes: a
 * peer may be compiling. But a rank that waits in an operation enters no other one, so when ranks
 * that each operation misses wait in another of them, none will ever end: two ranks that make two
 * calls in opposite order. A program that calls from several threads of one rank may look so for a
 * moment, hence the time. Pure. */
#ifndef NET_CROSS_H
#define NET_CROSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An operation that not all of its members have entered. */
struct net_cross {
    struct net_cross *next;
    const char *call;      /* what its members are in; "": nobody said */
    uint32_t n;            /* members */
    const uint32_t *ranks; /* n; NULL: 0 to n - 1 */
    const bool *in;        /* n: has entered */
    const bool *waits;     /* n: and does nothing else */
    /* The look's own; zero at first. */
    uint64_t since; /* when it was found stuck; 0: it is not */
    bool stuck;
};

/* Looks at all operations of one set of ranks, now. True: one has been stuck for limit_ns; then all
 * with `stuck` set are to be ended, and net_cross_text says why. */
bool net_cross_look(struct net_cross *list, uint64_t now, uint64_t limit_ns);
/* Who waits for whom, from a rank that waits in op, which is stuck, along ranks that are missing.
 * The first of these is returned. */
uint32_t net_cross_text(const struct net_cross *list, const struct net_cross *op, char *text,
                        size_t size);

#endif
