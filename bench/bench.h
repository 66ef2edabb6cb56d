/* SPDX-License-Identifier: Apache-2.0 */
/* The measuring library: sides that do the same work are timed in turns within one job, so that a
 * machine whose speed drifts treats them alike; medians over the turns are compared. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>

#define BENCH_MAX_SIDES  6
#define BENCH_MAX_ROUNDS 101

/* One way to do the work. run does it n times and returns the seconds that took, or a negative
 * number when it cannot; then the side counts as missing. */
struct bench_side {
    const char *name;
    double (*run)(void *arg, unsigned n);
    void *arg;
    double median, best; /* out: seconds per operation */
    bool missing;
};

enum bench_unit { BENCH_US, BENCH_GFLOPS, BENCH_GBPS };

/* How the goal is stated. TIME: our time over the peer's, at most `goal`. SPEED: the peer's time
 * over ours, at least `goal`. NONE: our figure alone, no goal. */
enum bench_goal { BENCH_GOAL_NONE, BENCH_GOAL_TIME, BENCH_GOAL_SPEED };

struct bench_row {
    const char *what;
    enum bench_unit unit;
    double work; /* floating-point operations or bytes of one operation */
    enum bench_goal goal_kind;
    double goal;
    struct bench_side
        side[BENCH_MAX_SIDES]; /* [0] is ours; the fastest of the others is the peer */
    unsigned side_count;
    bool two_threads; /* the figure needs two threads: a flag round trip is printed beside it */
};

struct bench_options {
    const char *filter; /* substring of `what`; NULL: all */
    unsigned rounds;    /* turns per side; 0: 15 */
    double turn_s;      /* seconds of one turn; 0: 0.03 */
    const char *json;   /* file to append one JSON object per row to; NULL: none */
};

double bench_now(void); /* seconds, monotonic */
/* Run and print one row; returns 1 if its goal is missed, else 0. Rows whose peers are all missing
 * print NOT RUN in the peer's column. */
int bench_row_run(struct bench_row *row, const struct bench_options *opt);
void bench_head(void);
bool bench_wanted(const char *what, const struct bench_options *opt);
/* Round trip of a flag between two threads, microseconds: tells how far apart the two CPUs are. */
double bench_flag_round_trip(void);
/* 2 MiB-aligned, touched; huge: ask for huge pages, else refuse them. free() it. */
void *bench_buffer(size_t bytes, bool huge);

/* ---- peers (peer_*.c); each returns false when the library is not built in or does not work ---
 */

bool peer_onednn_open(int threads);
bool peer_onednn_gemm(int m, int k, int n, bool bf16, struct bench_side *ret);
bool peer_openblas_gemm(int m, int k, int n, int threads, struct bench_side *ret);
bool peer_pocl_launch(struct bench_side *ret);                         /* 4 args, enqueue, finish */
bool peer_pocl_copy(bool write, size_t bytes, struct bench_side *ret); /* blocking, basic device */
bool peer_numpy(const char *op, struct bench_side *ret); /* softmax layernorm tanh gelu add */
void peer_numpy_close(void);
bool peer_memcpy(bool write, size_t bytes, struct bench_side *ret);      /* plain memcpy */
bool peer_memcpy_nt(bool write, size_t bytes, struct bench_side *ret);   /* streaming stores */
bool peer_malloc_copy(size_t bytes, struct bench_side *ret);             /* malloc, memcpy, free */
bool peer_pread(const char *path, size_t bytes, struct bench_side *ret); /* into fresh memory */

#endif
