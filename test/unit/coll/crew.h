/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that work together and may be killed at any moment: a table in shared memory through
 * which they exchange what a bootstrap would, and tell each other how far they are. Nobody waits
 * for the dead: who reaps a process says so in the table. */
#ifndef TEST_UNIT_COLL_CREW_H
#define TEST_UNIT_COLL_CREW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ranks.h"
#include "run/run.h"

#define CREW_MAX   8
#define CREW_MARKS 16
#define CREW_TEXT  768

struct crew_table {
    struct run_word bell; /* posted after every change */
    _Atomic uint64_t mark[CREW_MARKS];
    _Atomic uint32_t dead[CREW_MAX]; /* by rank */
    _Atomic uint32_t step[CREW_MAX]; /* exchanges that a rank has begun */
    uint8_t block[2][CREW_MAX][RANKS_BLOCK];
    char text[CREW_MAX][CREW_TEXT];
};

struct crew_table *crew_table_new(void); /* zero; shared with all processes forked afterwards */
void crew_table_free(struct crew_table *t);
void crew_mark(struct crew_table *t, unsigned mark, uint64_t value);
/* Until the mark is at least value; false after limit_ms. */
bool crew_await(struct crew_table *t, unsigned mark, uint64_t value, unsigned limit_ms);
/* Before the ranks of a communicator start: nobody is dead, nothing is exchanged. */
void crew_restart(struct crew_table *t);
void crew_dead(struct crew_table *t, uint32_t rank);

/* A rank of a communicator on a trn2.48xlarge. */
struct crew_seat {
    struct rank rank; /* in, log set by the caller before crew_sit */
    struct crew_table *crew;
    struct topo_group group;
    uint64_t (*now)(void *arg); /* the clock, in ns, of limits; NULL: that of the machine */
    void *now_arg;
    uint64_t limit_ms; /* of an exchange; 0: none */
};
/* cores: logical ones, all below CREW_MAX, in the order of the ranks. NRT_FAILURE, from here and
 * from coll_plan_create: a rank died before everybody had come; NRT_TIMEOUT: one did not come;
 * else as coll_comm_open. */
NRT_STATUS crew_sit(struct crew_seat *s, struct crew_table *t, const uint32_t *cores, uint32_t me,
                    uint32_t n, uint64_t timeout_ms, struct err *err);
void crew_leave(struct crew_seat *s);

/* The instance in `dir` for this process; aborts with a message where there is none. */
struct device_instance *crew_instance(const char *dir, struct log *log);

#endif
