/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring: the runs of all sides of one row are interleaved, so that a machine whose clock or
 * neighbours change treats them alike; the figure is the median over rounds. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>

#define MEASURE_SIDES  4
#define MEASURE_ROUNDS 15

/* One side of a comparison. run is called many times; NULL: this side cannot run here, why says
 * why not. time_us, if given, measures by itself and returns microseconds per call. */
struct measure_side {
    const char *name;
    void (*run)(void *arg);
    double (*time_us)(void *arg, unsigned calls);
    void *arg;
    const char *why;
    double us; /* result: median over rounds of the mean time of a call */
};

/* RATE: ratio = our rate / the peer's, goal is a lower bound. TIME: ratio = our time / the peer's,
 * goal is an upper bound. */
enum measure_kind { MEASURE_RATE, MEASURE_TIME };

struct measure_row {
    const char *what;
    enum measure_kind kind;
    const char *unit; /* of the printed figures: "us", "GFLOP/s", "GB/s" */
    double work;      /* units of work of one call times 1e-3 per us: 2*M*N*K*1e-3 for GFLOP/s;
                         0: the figure is the time itself */
    double goal;      /* 0: none */
    unsigned rounds;  /* 0: MEASURE_ROUNDS */
    struct measure_side ours, peer[MEASURE_SIDES - 1];
};

double measure_now_us(void);
/* Pages touched, huge ones asked for; exits when memory is out. */
void *measure_alloc(size_t size);
/* Times every side, round by round. */
void measure_run(struct measure_row *row);
/* One line of the table per peer (one without ratio if there is none); false when a goal that could
 * be compared was missed. The ratio is against the best peer of the row. */
bool measure_print(const struct measure_row *row);
void measure_print_head(void);
/* A row that could not run at all. */
void measure_print_missing(const char *what, const char *why);
/* Round trip of a flag between two threads, microseconds: what two virtual CPUs are worth now. */
double measure_round_trip_us(void);

#endif
