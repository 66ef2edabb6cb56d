/* SPDX-License-Identifier: Apache-2.0 */
/* The flight recorder: what the collectives of a core did last, in its live page, so that it can be
 * read while the process lives, while it is stopped, and after it was killed. Always on: a record
 * is a dozen stores and two readings of the processor's counter.
 *
 * Writers: device_flight_begin and the stores of struct device_flight, by the thread that runs the
 * communicator; several communicators of a core may record at once. Readers: anybody, observers of
 * the instance too; nothing read is trusted. */
#ifndef DEVICE_FLIGHT_H
#define DEVICE_FLIGHT_H

#include "device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- writing ----------------------------------------------------------------------------------
 */

/* What the records of one communicator have in common; fixed when it opens. */
struct device_flight_group {
    struct device_flights *log; /* of the core; NULL: record nothing */
    uint64_t comm;
    uint32_t me, n, members;
    uint32_t member[DEVICE_FLIGHT_MEMBERS]; /* world ranks; [0, members) */
};

/* log is that of the core in its live page; NULL is fine. */
void device_flight_open(struct device_instance *in, uint32_t core, struct device_flight_group *g);
/* A counter that runs evenly and is read without a system call; device_flight_read converts. */
uint64_t device_flight_tick(void);
/* A record, while nobody has needed its place for a newer one. All zeros: none. */
struct device_flight_at {
    struct device_flight *f;
    uint64_t number;
};
/* The record of an operation that begins now. */
struct device_flight_at device_flight_begin(const struct device_flight_group *g, uint64_t seq,
                                            uint32_t what, uint64_t bytes, uint64_t total);
/* Where it stands; wait: device_flight_wait, or 0. */
void device_flight_stand(const struct device_flight_at *at, uint64_t steps, uint64_t wait);
/* It is over. status: NRT_STATUS; culprit: world rank, with a status. */
void device_flight_end(const struct device_flight_at *at, uint64_t steps, uint32_t status,
                       uint32_t culprit);
/* It is over in less time than records are printed with: saves a reading of the counter. */
void device_flight_end_at_once(const struct device_flight_at *at, uint64_t steps);

static inline uint32_t device_flight_what(uint32_t op, uint32_t alg, uint32_t variant,
                                          uint32_t dtype)
{
    return dtype << 24 | variant << 16 | alg << 8 | op;
}

static inline uint64_t device_flight_wait(uint32_t sem, uint32_t rank)
{
    return UINT64_C(1) << 63 | (uint64_t)(sem & 0xff) << 32 | rank;
}

/* --- reading ----------------------------------------------------------------------------------
 */

struct device_flight_view {
    uint64_t number, comm, seq;
    uint8_t op, alg, variant, dtype; /* sched_op, sched_alg, sched_variant, dtype; unchecked */
    uint64_t bytes;
    uint32_t me, n;   /* position and size; me < n, unless the record is damaged */
    uint32_t members; /* of member; at most n */
    uint32_t member[DEVICE_FLIGHT_MEMBERS];
    bool over;
    uint64_t age_ns, lasted_ns; /* since it began; until it ended, or so far */
    uint64_t steps, total;
    bool waits;
    uint8_t sem; /* sched_sem; unchecked */
    uint32_t waits_for;
    uint64_t waited_ns; /* since it began to, until it ended or so far; 0: not known */
    uint32_t status;    /* of the end: NRT_STATUS; unchecked */
    uint32_t culprit;
};

/* The record that is `back` operations old, 0 the newest. False: there is none, or it is being
 * written. Bounded, whatever the page holds. */
bool device_flight_read(const struct device_flights *log, unsigned back,
                        struct device_flight_view *ret);
/* One line without a newline: "#7 all_reduce by ring, ..."; names that are none are "unknown".
 * Printable whatever the record holds. */
#define DEVICE_FLIGHT_TEXT 512
void device_flight_text(const struct device_flight_view *v, char *buf, size_t size);

#ifdef __cplusplus
}
#endif

#endif
