/* SPDX-License-Identifier: Apache-2.0 */
/* One DMA engine: it serves its rings round robin and goes to the next one at packet boundaries
 * (docs/spec/collectives.md 12). A ring is the engine's share of a queue set and holds its
 * transfers in order. The caller keeps the clock: rings_add and rings_step tell it when to come
 * back. */
#ifndef TIME_RINGS_INT_H
#define TIME_RINGS_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RINGS_IDLE UINT64_MAX

struct rings_job {
    uint32_t ring, serial; /* queue set; transfer */
    uint64_t left_ps;
    uint64_t packet_ps; /* that one packet takes; 0: all of it is one packet */
};

/* Zero-initialise; rings_fini frees. */
struct rings {
    struct rings_job *job; /* waiting and served, in the order in which they came */
    size_t count, cap;
    size_t served;               /* index in job, while until_ps is not 0 */
    uint64_t since_ps, until_ps; /* of what is served without a look at the other rings; 0: idle */
    uint32_t last;               /* ring served last */
    uint64_t busy_ps;
};

/* A transfer has come. False: no memory. *ret_next: when to call rings_step; RINGS_IDLE: as it was
 * told before. */
bool rings_add(struct rings *r, const struct rings_job *job, uint64_t now_ps, uint64_t *ret_next);
/* It is until_ps. Returns the next time, or RINGS_IDLE; *ret_done: a transfer has ended,
 * *ret_serial.
 */
uint64_t rings_step(struct rings *r, bool *ret_done, uint32_t *ret_serial);
void rings_fini(struct rings *r);

#endif
