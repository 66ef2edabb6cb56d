/* SPDX-License-Identifier: Apache-2.0 */
/* A model whose execution stands still until the test lets it go on: x -> CPU node -> + k -> CPU
 * node -> y, 16 floats. And what tests of requests share. */
#ifndef TEST_SYSTEM_ASYNC_HELD_H
#define TEST_SYSTEM_ASYNC_HELD_H

#include <stdbool.h>

#include "models.h"
#include "nrt/nrt_async.h"

struct gate {
    int reached, open; /* how many executions have been there; whether they may go on */
};

struct held {
    nrt_model_t *m;
    struct io io; /* t[0]: x, t[1]: k, t[2]: y */
    struct gate gate;
};
/* On core vnc, its tensors in host memory. library: path of the CPU nodes. */
void held_init(struct held *h, const char *library, int vnc);
void held_fini(struct held *h);
/* The next executions stop at the gate, which is closed; or do not stop. */
void held_close(struct held *h);
void held_none(struct held *h);
void held_reach(struct held *h); /* waits until one is there */
void held_open(struct held *h);

bool async_completed(nrta_seq_t seq);
void async_finish(nrta_seq_t seq); /* waits by a completion handle */
size_t async_errors(nrta_error_tracker_t *t);
uint64_t async_error(nrta_error_tracker_t *t, size_t i, nrta_seq_t *ret_seq); /* its status */

#endif
