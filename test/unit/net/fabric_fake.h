/* SPDX-License-Identifier: Apache-2.0 */
/* A network for one link in which everything happens when the test says so: it takes the place of
 * src/net/fabric.c in a test that is linked with it. Receives are matched in the order in which
 * they were posted, as a provider does; what is sent is gone. */
#ifndef TEST_UNIT_NET_FABRIC_FAKE_H
#define TEST_UNIT_NET_FABRIC_FAKE_H

#include "net/fabric_int.h"

#define FAKE_MAX 32u

struct fake_recv {
    void *context;
    uint64_t tag, ignore;
    uint8_t *p;
    size_t size;
    bool half; /* in the middle of a message: no cancel has an effect */
};

struct fake_fabric {
    struct fake_recv posted[FAKE_MAX];
    unsigned posted_count;
    struct fabric_completion done[FAKE_MAX]; /* that the next polls give */
    unsigned done_count;
    unsigned cancels;        /* asked for */
    enum fabric_result recv; /* what posting a receive gives; FABRIC_OK: it is posted */
};
extern struct fake_fabric fake;

void fake_reset(void);
/* The first receive that a message with this tag would match; NULL: none. */
struct fake_recv *fake_match(uint64_t tag);
/* The whole message comes. False: nobody receives it, and it is gone. */
bool fake_deliver(uint64_t tag, const void *bytes, size_t size);

#endif
