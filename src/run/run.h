/* SPDX-License-Identifier: Apache-2.0 */
/* Progress and waiting: the one wait function, our threads, the kernel pool, the caller's
 * floating-point mode and cancellation, clocks. docs/modules/run.md. */
#ifndef RUN_RUN_H
#define RUN_RUN_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* --- Clocks ------------------------------------------------------------------------------------
 */

uint64_t run_now_ns(void); /* monotonic */

/* --- CPUs --------------------------------------------------------------------------------------
 */

#define RUN_CPUS_MAX 1024

struct run_cpus {
    uint64_t bits[RUN_CPUS_MAX / 64];
};
unsigned run_cpu_count(void); /* CPUs in the calling thread's affinity mask, at least 1 */
void run_cpus_mine(struct run_cpus *ret); /* that mask; empty when it is not known */
/* That mask and what else the system (cpuset groups, CPUs that are online) would let a thread of
 * this process have. Asks by a thread that ends at once: nobody's mask changes. */
void run_cpus_allowed(struct run_cpus *ret);
unsigned run_cpu_now(void); /* that the calling thread runs on, as of now; 0 when not known */
/* The calling thread goes to a CPU of its mask, which stays as it was: from there on the kernel may
 * move it as before. False: the CPU is not in the mask, or the host does not allow it. Two or three
 * system calls. A mask that somebody else gives the thread meanwhile may be lost. */
bool run_cpu_move(unsigned cpu);
/* "40-47,88-95", blanks around numbers allowed; false when malformed, decreasing, or past
 * RUN_CPUS_MAX. */
bool run_cpus_parse(const char *text, struct run_cpus *ret);
bool run_thread_pin(pthread_t t, const struct run_cpus *cpus); /* false: errno */
/* The same if there are any. The thread stays as it is where the system refuses. */
void run_thread_keep(pthread_t t, const struct run_cpus *cpus);

/* --- Waiting -----------------------------------------------------------------------------------
 */

/* Between two looks of who polls: the other thread of the CPU may run. */
static inline void run_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

/* What a waiter sleeps on. It may lie in memory that processes share; all zeros is a valid start.
 * Synchronization: value and sleepers are accessed with the functions below only. A sleeper that is
 * killed leaves its count behind, which costs later wakers a system call and nothing else. */
struct run_word {
    uint32_t value;
    uint32_t sleepers;
};
uint32_t run_word_load(
    const struct run_word *w); /* acquire; pairs with run_word_post, run_word_set */
/* Release: what the caller wrote before is seen by whoever sees the new value. Wakes every waiter;
 * a system call only if one sleeps. */
void run_word_post(struct run_word *w); /* value += 1 */
void run_word_set(struct run_word *w, uint32_t value);

/* How to wait. Zero-initialised, it spins briefly, yields, then sleeps. Callbacks may be NULL; they
 * are called on the waiting thread. */
struct run_policy {
    /* Runs whatever else the waiter could do (network, CC streams); true when it did work. Called
     * between polls while spinning and yielding, and at least once before every sleep. */
    bool (*progress)(void *arg);
    /* Ranks that run now, this one included (the control block counts them); spinning happens only
     * while they fit the CPUs. */
    uint32_t (*runnable)(void *arg);
    /* Told true before the thread sleeps in the kernel and false after, for that count. */
    void (*asleep)(void *arg, bool asleep);
    void *arg;
    unsigned cpus;     /* 0: run_cpu_count() */
    unsigned spin_us;  /* longest spin; 0: RUN_SPIN_US; RUN_NO_SPIN: none */
    unsigned sleep_ms; /* longest single sleep, after which progress runs again; 0: RUN_SLEEP_MS */
};
#define RUN_SPIN_US  200
#define RUN_NO_SPIN  UINT32_MAX
#define RUN_SLEEP_MS 50
#define RUN_FOREVER  UINT64_MAX

/* Until the value differs from seen: true. After limit_ns without that: false, so that the caller
 * can look whether its peers live, and call again. policy may be NULL. May be used by any thread.
 */
bool run_wait(struct run_word *w, uint32_t seen, uint64_t limit_ns,
              const struct run_policy *policy);

/* Several words at once, n of them (1 to RUN_WORDS_MAX): sleeps until the value of one differs from
 * what was seen of it: true. After limit_ns without that: false. A kernel that cannot wait for
 * several (Linux before 5.16) sleeps on the first word, and then for at most RUN_WORDS_NAP_NS. */
#define RUN_WORDS_MAX    8
#define RUN_WORDS_NAP_NS UINT64_C(1000000)
bool run_wait_any(struct run_word *const *w, const uint32_t *seen, unsigned n, uint64_t limit_ns);

/* --- Owning ------------------------------------------------------------------------------------
 */

/* Who may drive a logical core now: one at a time, first come first served, so that a request is
 * never overtaken by later ones. All zeros is free. Not for memory that processes share: an owner
 * that dies keeps it. */
#define RUN_OWNER_TURNS 16
struct run_owner {
    uint32_t next; /* ticket of the next to come */
    uint32_t now;  /* ticket that is served */
    struct run_word turn[RUN_OWNER_TURNS];
};
/* Wait until everybody who came before has given it back. Without a queue: two atomic operations
 * and no system call. Who comes next waits by policy (NULL: defaults), who stands further back
 * sleeps without spinning. Not recursive. Must not be left by cancellation or longjmp. */
void run_owner_take(struct run_owner *o, const struct run_policy *policy);
bool run_owner_try(struct run_owner *o); /* false: somebody owns it or waits for it */
/* By the owner. What it wrote before is seen by the next one. */
void run_owner_give(struct run_owner *o);
uint32_t run_owner_queue(const struct run_owner *o); /* owner and waiters; 0: free */

/* --- Floating-point state and cancellation of the caller ---------------------------------------
 */

/* What an entry point saves: the thread is the program's. */
struct run_caller {
    uint64_t fp;
    int cancel;
};
/* Floating point to the mode that all our arithmetic assumes (round to nearest, subnormals kept, no
 * traps), cancellation off until run_caller_leave restores both. Exception flags that the
 * program had raised are its own and come back; the ones our arithmetic raises are dropped. Nests.
 */
void run_caller_enter(struct run_caller *c);
void run_caller_leave(const struct run_caller *c);
/* The floating-point part alone, for threads of ours. */
uint64_t run_fp_enter(void);
void run_fp_leave(uint64_t saved);

/* --- Threads -----------------------------------------------------------------------------------
 */

/* A joinable thread with every signal blocked and the floating-point mode set. name (at most 15
 * bytes) shows in tools; may be NULL. */
NRT_STATUS run_thread_start(pthread_t *ret, void *(*fn)(void *arg), void *arg, const char *name,
                            struct err *err);

/* --- The kernel pool ---------------------------------------------------------------------------
 */

/* Threads that share the parts of one kernel with the caller. Workers start at first use, spin only
 * inside an execution (between run_pool_begin and run_pool_end), and then only briefly, else they
 * sleep. One job at a time: while the pool is busy, another caller, or a part that itself calls,
 * runs its parts on its own thread. A NULL pool has size 1. */
struct run_pool;
/* Bytes of a copy below which handing parts to other threads takes longer than copying them. */
#define RUN_SHARE_BYTES (128u << 10)
struct run_pool *run_pool_new(
    unsigned threads); /* caller included; 0: run_cpu_count(). NULL: memory */
/* Where its workers run; before the first job, NULL: wherever their creator may. */
void run_pool_keep(struct run_pool *pool, const struct run_cpus *cpus);
void run_pool_free(struct run_pool *pool); /* joins; nobody may be using it */
unsigned run_pool_size(const struct run_pool *pool);
/* Whether there are workers, which want to know of executions. */
bool run_pool_started(const struct run_pool *pool);
void run_pool_begin(struct run_pool *pool);
void run_pool_end(struct run_pool *pool);
/* fn(arg, part) for every part in [0, n_parts), each exactly once, all finished on return. Threads
 * claim parts in order as they come; the caller takes all that nobody else has claimed, so that a
 * worker which the host does not run delays nothing. Results must not depend on who ran a part; the
 * parts themselves depend on n_parts only. Uses less than 1 KiB of the caller's stack besides fn.
 */
void run_pool_for(struct run_pool *pool, unsigned n_parts, void (*fn)(void *arg, unsigned part),
                  void *arg);

#endif
