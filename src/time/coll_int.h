/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of collective times share. coll_load.c counts who shares links and interfaces,
 * coll_cost.c costs one step, coll_match.c keeps what signals were sent when, collective.c walks,
 * coll_repeat.c goes over what repeats itself. */
#ifndef TIME_COLL_INT_H
#define TIME_COLL_INT_H

#include "base/mem.h"
#include "sched/sched.h"
#include "time/collective.h"
#include "topo/group.h"

/* A moment, and what the time until then consists of. */
struct moment {
    double ns;
    double part[TIME_PART_COUNT];
};

static inline void moment_add(struct moment *m, enum time_part part, double ns)
{
    m->ns += ns;
    m->part[part] += ns;
}

static inline void moment_max(struct moment *m, const struct moment *other)
{
    if (other->ns > m->ns)
        *m = *other;
}

/* ---- who shares what (coll_load.c)
 * ---------------------------------------------------------------- Ranks that do the same do it at
 * the same time, so what crowds a link is what all ranks of a node send in the same place of their
 * schedules. Places are counted by runs: a phase's run is a row of transfers of one rank and
 * channel to one chip; the runs of a longer message repeat those of the shortest one that leaves no
 * part empty, and this one is walked for all ranks of a node. */
#define LOAD_PHASES 24 /* 3 stages of 8: sched_step.phase is below */

struct load;
/* NRT_RESOURCE; errors of sched_create. s is borrowed until load_free. */
NRT_STATUS load_make(const struct sched *s, struct load **ret, struct err *err);
void load_free(struct load *l); /* NULL is fine */

/* Where a sequencer is in its runs; zero-initialise. */
struct load_place {
    uint32_t run[LOAD_PHASES]; /* 1 + number of the run; 0: none yet */
    uint32_t chip[LOAD_PHASES];
};
/* Take note of a transfer to another chip, and return its run's number. */
uint32_t load_run(struct load_place *p, unsigned phase, uint32_t chip);

/* Transfers of the node that use the most crowded link of the way from one chip to another, in this
 * run of a rank and channel; at least 1. */
uint32_t load_links(const struct load *l, uint32_t rank, uint32_t channel, unsigned phase,
                    uint32_t run, const struct topo_route *route);
/* Ranks and channels of one node, and of one chip, that send over the network in this phase; at
 * least 1. */
uint32_t load_senders(const struct load *l, unsigned phase);
uint32_t load_chip_senders(const struct load *l, unsigned phase);
/* Channels on which a rank moves data; at least 1. */
uint32_t load_channels(const struct load *l, uint32_t rank);

/* ---- costs (coll_cost.c) ---- */

struct costs {
    const struct sched *s;
    const struct topo_group *g;
    const struct load *load;
    const struct time_rates *rates;
    uint32_t unknown; /* rates that were asked for and are NAN */
};
/* A rate; where it is not known, `free` (which costs nothing), and a note. */
double cost_rate(struct costs *c, enum time_rate rate, double free);
/* How long a transfer of `rank` keeps its queue, and which resource is to blame. */
double cost_transfer(struct costs *c, uint32_t rank, uint32_t channel, struct load_place *place,
                     const struct sched_step *step, enum time_part *ret_part);
/* From the last byte of what a signal follows to the sequencer that waits for it, on one chip. */
double cost_signal(struct costs *c, const struct sched_step *step);
/* What a transfer takes of the rank's DMA engines if it is spread evenly over all of them. */
double cost_engines(struct costs *c, const struct sched_step *step);
double cost_send(struct costs *c, const struct sched_step *step); /* the same of an interface */
/* Of a signal between two ranks of a node, what the links take that it passes, or the way to the
 * chip's other die. */
double cost_way(struct costs *c, uint32_t from, uint32_t to);

/* ---- what one rank moves (coll_moves.c) ---- */

/* Whose sequencers' transfers are kept: the walk is of a role, `rank` is of it. Its own iterators
 * go along with those of the representative. */
struct noted {
    uint32_t rank, role;
    struct sched_iter *it[SCHED_CHANNELS_MAX];
    const struct sched_step *step[SCHED_CHANNELS_MAX]; /* its next one; NULL: to be asked for */
    struct time_moves *moves;
};
/* False: no memory. */
bool noted_open(struct noted *n, const struct sched *s, uint32_t rank, struct time_moves *moves);
void noted_close(struct noted *n);
/* The representative's sequencer of this channel has done a step: each of them, in their order.
 * start, end: of what it moved; of other steps both are when it was done. False: no memory. */
bool noted_step(struct noted *n, const struct costs *c, uint32_t channel,
                const struct sched_step *done, double start_ns, double end_ns);

/* ---- signals (coll_match.c)
 * ----------------------------------------------------------------------- Sequencers are numbered
 * role * channels + channel. The peers of a rank that have one role are numbered in the order in
 * which it first signals, or waits for, them; number i of the waiting side is answered by number i
 * of the signalling side. */
struct match;
NRT_STATUS match_make(const struct sched *s, struct match **ret);
void match_free(struct match *m); /* NULL is fine */
/* The sequencer's next signal to a rank. False: no memory. */
bool match_signal(struct match *m, uint32_t sequencer, unsigned sem, uint32_t peer,
                  const struct moment *at);
/* When signal number `value` of a rank reached the sequencer; NULL: not sent yet. *ret_memory is
 * set to false when memory is out. */
const struct moment *match_wait(struct match *m, uint32_t sequencer, unsigned sem, uint32_t peer,
                                uint32_t value, bool *ret_memory);
/* From now on the peer's first signals to whomever answer these waits: its representative signals
 * nobody of the sequencer's role. False: they do already, or it never waited. */
bool match_loosen(struct match *m, uint32_t sequencer, unsigned sem, uint32_t peer);
/* As match_wait, of signals that the sequencer itself sends to a rank. */
const struct moment *match_own(const struct match *m, uint32_t sequencer, unsigned sem,
                               uint32_t peer, uint32_t value);

/* By how much a sequencer, its queue and its interface got later in a period of a long row of equal
 * hops. */
struct steps {
    struct moment now, queue, nic;
};
/* By which of them `was` has become `is`, or by nothing; NULL: by something else. */
const struct moment *moment_step_of(const struct moment *was, const struct moment *is,
                                    const struct steps *steps);
void moment_later(struct moment *m, const struct moment *step, uint64_t times);

/* Signals sent by every row, for match_repeats; *ret is the caller's to free. False: no memory. */
bool match_counts(const struct match *m, size_t **ret, size_t *ret_rows);
/* Whether every row has either sent nothing since `counts` was taken, or its last signals are those
 * of then, a step of its sequencer later: as many as were sent since, and `more`. */
bool match_repeats(const struct match *m, const size_t *counts, size_t rows, size_t more,
                   const struct steps *steps);
/* As if what was sent since had been sent `times` more often; older signals are forgotten. */
void match_repeat(struct match *m, const size_t *counts, size_t more, const struct steps *steps,
                  uint64_t times);

/* ---- the walk (collective.c) ---- */

struct sequencer {
    uint32_t id, rank, channel;
    struct sched_iter *it;
    const struct sched_step *step; /* that it waits at, or NULL */
    bool ended, waited;            /* waited: stood still since its last transfer */
    struct moment now;
    struct moment queue;                /* the DMA queue is free */
    struct moment nic;                  /* the interface is free */
    struct moment done;                 /* all transfers so far are complete */
    struct moment own[SCHED_BUF_COUNT]; /* its last write to this buffer of its own rank is */
    struct load_place place;
    double engines;  /* ns of all DMA engines of the rank that its transfers take */
    double from, to; /* its last transfer: on its queue or the interface */
};

struct walk {
    struct costs c;
    struct match *match;
    struct sequencer *seq;
    uint32_t count;
    bool memory; /* it has not run out */
    struct time_collective *ret;
    struct noted *noted;   /* NULL: nobody asked */
    struct repeat *repeat; /* NULL: no long rows of equal hops */
};

/* ---- rows of equal hops (coll_repeat.c) ---- */

/* *ret is NULL where there are none that are worth it. NRT_RESOURCE. */
NRT_STATUS repeat_make(const struct walk *w, struct repeat **ret);
void repeat_free(struct repeat *r); /* NULL is fine */
/* Whether the sequencer, which is between two steps, has to stand until the others are there. */
bool repeat_parks(struct repeat *r, const struct sequencer *q);
/* Nobody can go on. False: none of them stands because of repeat_parks. */
bool repeat_turn(struct repeat *r, struct walk *w);

#endif
