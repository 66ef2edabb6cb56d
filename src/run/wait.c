/* SPDX-License-Identifier: Apache-2.0 */
/* The one wait function. A waiter spins, yields, and then registers as a sleeper and sleeps in the
 * kernel; a waker changes the value and calls the kernel only if a sleeper is registered.
 *
 * No wake-up is lost: the sleeper adds itself (seq_cst), then the kernel compares the value with
 * `seen` under its own lock; the waker changes the value (seq_cst), then reads the sleepers. Either
 * the waker sees the sleeper and wakes it, or the sleeper's compare sees the new value. */
#include "run/run.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/broken.h"

#define YIELDS 16
/* Polls of the word between two looks at the clock, at the run queue and at progress. */
#define SPIN_BATCH 64

uint64_t run_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint32_t run_word_load(const struct run_word *w)
{
    return __atomic_load_n(&w->value, __ATOMIC_ACQUIRE);
}

/* Not FUTEX_PRIVATE: the word may be in memory shared between processes. */
static void wake_sleepers(struct run_word *w)
{
    if (__atomic_load_n(&w->sleepers, __ATOMIC_SEQ_CST) != 0)
        syscall(SYS_futex, &w->value, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void run_word_post(struct run_word *w)
{
    __atomic_fetch_add(&w->value, 1, __ATOMIC_SEQ_CST);
    wake_sleepers(w);
}

void run_word_set(struct run_word *w, uint32_t value)
{
    __atomic_store_n(&w->value, value, __ATOMIC_SEQ_CST);
    wake_sleepers(w);
}

static void word_sleep(struct run_word *w, uint32_t seen, uint64_t ns)
{
    struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000u),
                          .tv_nsec = (long)(ns % 1000000000u)};

    __atomic_fetch_add(&w->sleepers, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &w->value, FUTEX_WAIT, seen, &ts, NULL, 0);
    __atomic_fetch_sub(&w->sleepers, 1, __ATOMIC_SEQ_CST);
}

static bool changed(const struct run_word *w, uint32_t seen)
{
    return run_word_load(w) != seen;
}

static bool make_progress(const struct run_policy *p)
{
    return p->progress != NULL && p->progress(p->arg);
}

static bool fits(const struct run_policy *p, unsigned cpus)
{
    return cpus > 1 && (p->runnable == NULL || p->runnable(p->arg) <= cpus);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* True when the value changed before end. */
static bool spin(const struct run_word *w, uint32_t seen, uint64_t end, const struct run_policy *p,
                 unsigned cpus)
{
    while (fits(p, cpus) && run_now_ns() < end) {
        for (int i = 0; i < SPIN_BATCH; i++) {
            if (changed(w, seen))
                return true;
            run_relax();
        }
        make_progress(p);
    }
    return changed(w, seen);
}

bool run_wait(struct run_word *w, uint32_t seen, uint64_t limit_ns, const struct run_policy *policy)
{
    static const struct run_policy none = {.cpus = 0};
    const struct run_policy *p = policy != NULL ? policy : &none;
    uint64_t start, end, spin_ns, sleep_ns;
    unsigned cpus;

    if (changed(w, seen))
        return true;
    cpus = p->cpus != 0 ? p->cpus : run_cpu_count();
    spin_ns = p->spin_us == RUN_NO_SPIN ? 0 : (p->spin_us ? p->spin_us : RUN_SPIN_US) * 1000ull;
    sleep_ns = (p->sleep_ms ? p->sleep_ms : RUN_SLEEP_MS) * 1000000ull;
    start = run_now_ns();
    end = limit_ns < UINT64_MAX - start ? start + limit_ns : UINT64_MAX;
    if (spin_ns != 0 && spin(w, seen, min_u64(end, start + spin_ns), p, cpus))
        return true;
    for (int i = 0; spin_ns != 0 && i < YIELDS && !BROKEN(PERF); i++) {
        if (changed(w, seen))
            return true;
        make_progress(p);
        sched_yield();
    }
    for (;;) {
        uint64_t now;

        /* While there is work to do for others, do that instead of sleeping. */
        while (make_progress(p) && !changed(w, seen) && run_now_ns() < end)
            ;
        if (changed(w, seen))
            return true;
        now = run_now_ns();
        if (now >= end)
            return false;
        if (p->asleep != NULL)
            p->asleep(p->arg, true);
        word_sleep(w, seen, min_u64(end - now, sleep_ns));
        if (p->asleep != NULL)
            p->asleep(p->arg, false);
    }
}

/* --- several words ------------------------------------------------------------------------------
 */

static bool any_changed(struct run_word *const *w, const uint32_t *seen, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (changed(w[i], seen[i]))
            return true;
    return false;
}

/* As word_sleep: registered at every word before the kernel compares. False: no such call. */
static bool words_sleep(struct run_word *const *w, const uint32_t *seen, unsigned n, uint64_t end)
{
    struct futex_waitv v[RUN_WORDS_MAX] = {0};
    struct timespec ts = {.tv_sec = (time_t)(end / 1000000000u),
                          .tv_nsec = (long)(end % 1000000000u)};
    bool known;

    for (unsigned i = 0; i < n; i++) {
        v[i].uaddr = (uintptr_t)&w[i]->value;
        v[i].val = seen[i];
        v[i].flags = FUTEX_32; /* not private: see wake_sleepers */
        __atomic_fetch_add(&w[i]->sleepers, 1, __ATOMIC_SEQ_CST);
    }
    known = syscall(SYS_futex_waitv, v, n, 0, &ts, CLOCK_MONOTONIC) >= 0 || errno != ENOSYS;
    for (unsigned i = 0; i < n; i++)
        __atomic_fetch_sub(&w[i]->sleepers, 1, __ATOMIC_SEQ_CST);
    return known;
}

bool run_wait_any(struct run_word *const *w, const uint32_t *seen, unsigned n, uint64_t limit_ns)
{
    uint64_t now = run_now_ns(), most = (uint64_t)INT32_MAX * 1000000000u, end;

    end = now + min_u64(limit_ns, most); /* a time that the kernel takes */
    for (; !any_changed(w, seen, n); now = run_now_ns()) {
        if (now >= end)
            return false;
        if (n == 1)
            word_sleep(w[0], seen[0], end - now);
        else if (!words_sleep(w, seen, n, end))
            word_sleep(w[0], seen[0], min_u64(end - now, RUN_WORDS_NAP_NS));
    }
    return true;
}
