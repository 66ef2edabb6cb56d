/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks of collectives as threads of one session, for the tests of collectives in NEFFs, and the
 * frame of tests whose ranks are processes. */
#ifndef TEST_SYSTEM_COLL_RANKS_H
#define TEST_SYSTEM_COLL_RANKS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "neffs.h"
#include "nrt/nrt.h"
#include "runner.h"

/* Of a group of tests: an instance of Trainium2 of its own. */
int coll_setup(void **state);
int coll_teardown(void **state);

/* The beginning of main where ranks are processes, helpers of this program. -1: the tests are to
 * run; else the exit code: of a helper, or of a skipped test under an emulator, for which the
 * memories of many cores are too much. */
int coll_program_begin(int argc, char **argv, const struct runner_helper *helpers);
/* The teardown of a test that may fail while its ranks live. */
int coll_ranks_drop(void **state);

/* A root on a free port of this host, in the environment. */
void coll_root_env(void);
/* nrt_init with so many cores. */
void coll_session(unsigned cores);
/* No device memory is used on any of the session's cores. */
void coll_nothing_held(unsigned cores);

/* An operation on one input and one output of floats; reductions add. */
struct neff_build_coll coll_floats(const char *op, struct neff_build_coll_group *group,
                                   struct neff_build_coll_range *in,
                                   struct neff_build_coll_range *out);
/* Starts entry `entry` on semaphore 3, then waits for its value `times`. */
void coll_prog(struct prog *p, int32_t entry, int32_t times);
/* Entries: all_reduce of n floats of "a" to "c" on stream i for every entry i; SP starts `which`
 * and waits. */
struct bytes coll_neff(unsigned ranks, uint64_t n, unsigned entries, unsigned which,
                       unsigned streams);

struct coll_caller {
    pthread_t thread;
    unsigned rank, ranks;
    struct bytes neff;
    NRT_STATUS loaded, ran, again;
    nrt_model_t *m;
    float got;
    bool keep; /* the model */
};

/* Rank r loads f[r], executes twice, and unloads; all together. */
void coll_callers_run(struct coll_caller *k, unsigned ranks, struct bytes *f);
/* Rank r loads f[r]; the models stay. As a thread: of one rank. */
void *coll_load_thread(void *caller);
void coll_callers_load(struct coll_caller *k, unsigned ranks, const struct bytes *f);
/* Both ranks of a session of two load f, which succeeds; the models stay. */
void coll_load_both(struct coll_caller *k, struct bytes f);
/* Execute a loaded model `repeat` times; as a thread: k->ranks times, the status is k->ran. */
NRT_STATUS coll_run(struct coll_caller *k, unsigned repeat);
void *coll_run_thread(void *caller);
/* Both ranks do, and succeed. */
void coll_run_both(struct coll_caller *k, unsigned repeat);

#endif
