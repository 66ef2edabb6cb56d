/* SPDX-License-Identifier: Apache-2.0 */
/* The collective benchmarks: what the driver (coll_main.c) and the programs that it measures share.
 *
 * A side is one library with one set of settings, run as a job of its own: N ranks that map the
 * side's region, sleep until the driver posts a command, all carry it out, and sleep again. So the
 * sides of a row take turns on the same CPUs within one run, whatever launched them, and a side
 * that is not being measured costs nothing. How an operation is timed is the same code for all
 * (coll_job.c): per call, from a start line that no library has a part in; and in chains, where
 * each all_reduce reads what the one before wrote.
 *
 * C11 and C++17. Ranks are processes or threads. Synchronization: `command` and `left` are words to
 * sleep on; everything else is written before one of them is posted. */
#ifndef BENCH_COLL_JOB_H
#define BENCH_COLL_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define JOB_RANKS   8
#define JOB_SAMPLES 4096

/* TRIP: rank 0's x to rank 1's y, and from there to rank 0's y. WINDOW: x to rank 1's y in
 * JOB_WINDOW_MESSAGES messages, all under way at once, and a word back when they have come. */
enum job_op {
    JOB_ALL_REDUCE,
    JOB_ALL_GATHER,
    JOB_REDUCE_SCATTER,
    JOB_BARRIER,
    JOB_TRIP,
    JOB_WINDOW,
    JOB_OPS
};
#define JOB_WINDOW_MESSAGES 8
enum job_command { JOB_PREPARE, JOB_CALLS, JOB_CHAIN, JOB_TRIPS, JOB_RELEASE, JOB_QUIT };

struct job_region {
    uint32_t command;  /* number of the last command, posted by the driver */
    uint32_t left;     /* ranks that have not carried it out; at first those that have not come */
    uint32_t kind, op; /* enum job_command, enum job_op */
    uint32_t ranks;
    uint32_t calls;                   /* JOB_CALLS: samples; JOB_CHAIN: operations in the chain */
    uint64_t bytes;                   /* all_reduce: the buffer; else its larger side; 0: barrier */
    uint32_t refused[JOB_RANKS];      /* by PREPARE: 1 cannot do it, 2 computed something else */
    float us[JOB_RANKS][JOB_SAMPLES]; /* CALLS: of each; CHAIN and TRIPS: mean of one in [0] */
    char said[JOB_RANKS][64];         /* what a side wants to say of itself */
    uint32_t arrived __attribute__((aligned(64))); /* the start line */
    uint32_t phase __attribute__((aligned(64)));
    uint32_t ping __attribute__((aligned(64))), pong __attribute__((aligned(64)));
};

/* Driver: a new file, mapped. Exits when that fails. */
struct job_region *job_region_make(const char *path, uint32_t ranks);
struct job_region *job_region_open(const char *path); /* rank */
void job_region_close(struct job_region *r);
/* Rank: the process becomes all ranks of the region, each one process; returns which. The last one
 * is the caller itself, with which the others die. */
uint32_t job_ranks_start(const struct job_region *r);
/* A new folder for files of the run, below BENCH_TMP (else /tmp); false: there is none. */
bool job_folder_make(char *buf, size_t size);

/* Driver: post a command, and wait until every rank has carried it out. False after that many
 * milliseconds; `alive` is asked now and then. */
void job_command_post(struct job_region *r, enum job_command kind);
bool job_command_wait(struct job_region *r, unsigned limit_ms, bool (*alive)(void *), void *arg);

/* What a library can do. x and y hold `bytes` each, in memory of the library's choice; an operation
 * reads x and writes y, or the reverse if flipped (all_reduce only). reduce_scatter writes the
 * first bytes / ranks of y, all_gather reads those of x. */
struct job_library {
    bool (*prepare)(void *arg, enum job_op op, uint64_t bytes, float **x, float **y);
    void (*run)(void *arg, bool flipped);
    /* Everybody's earlier operations are over and none of their traffic is under way; or NULL. */
    void (*settle)(void *arg);
    /* Called now and then at the start line: some libraries finish their messages only so. */
    void (*progress)(void *arg);
    void (*release)(void *arg);
    /* Times that many dependent operations by its own means, us; NULL: run is called. */
    double (*chain)(void *arg, uint32_t operations);
};

/* Carries out commands until JOB_QUIT. Puts the calling process on CPU `rank` if each rank can have
 * its own. */
void job_serve(struct job_region *r, uint32_t rank, const struct job_library *lib, void *arg);
/* Waits for all ranks of the side. */
void job_start_line(struct job_region *r, const struct job_library *lib, void *arg);

double job_now_us(void);
unsigned job_port_free(void); /* of TCP: nobody has it now */
void *job_alloc(size_t size); /* 2 MiB aligned, huge pages asked for, touched */

#ifdef __cplusplus
}
#endif
#endif
