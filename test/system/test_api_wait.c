/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that wait, and calls that must not: api.md 4.7, notes 21 and 33. The library runs on this
 * program's clock, so that half a minute passes without waiting for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "models.h"
#include "neffs.h"
#include "proves.h"
#include "runner.h"

static _Atomic int64_t skew_s;

/* In place of the C library's, for this program and all it has loaded. */
int clock_gettime(clockid_t clock, struct timespec *ts)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, ts);

    if (rc == 0 && clock == CLOCK_MONOTONIC)
        ts->tv_sec += atomic_load(&skew_s);
    return rc;
}

/* ---- the warning of a wait without end ---- */

struct waiter {
    nrt_tensor_t *t;
    int64_t timeout;
    _Atomic int state; /* 1: about to wait, 2: back */
    NRT_STATUS status;
};

static void *waits(void *arg)
{
    struct waiter *w = arg;

    atomic_store(&w->state, 1);
    w->status = nrt_tensor_check_output_completion(w->t, w->timeout, 1);
    atomic_store(&w->state, 2);
    return NULL;
}

static void unbounded_wait_warns_once_after_thirty_seconds(void **state)
{
    const char *line = "WARN   NRT:nrt_tensor_check_output_completion";
    nrt_model_t *m;
    struct waiter w = {.timeout = -1};
    pthread_t t;
    struct io io;

    nrt_close();
    setenv("NEURON_RT_LOG_LEVEL", "WARN", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    unsetenv("NEURON_RT_LOG_LEVEL");
    api_log_clear();
    m = load(neff_copy(4, false));
    io_init(&io);
    io_add(&io, true, "a", DEV, 0, 4);
    w.t = io_add(&io, false, "c", DEV, 0, 4);
    assert_int_equal(pthread_create(&t, NULL, waits, &w), 0);
    while (atomic_load(&w.state) == 0)
        sched_yield();
    /* The waiter looks at the clock again and again: from some look on more than 30 s have passed
     * since its first, and one more hour changes nothing. */
    while (!api_log_has(line)) {
        atomic_fetch_add(&skew_s, 10);
        sched_yield();
        assert_int_equal(atomic_load(&w.state), 1);
    }
    assert_true(api_log_has("30 seconds"));
    for (int i = 0; i < 100; i++) {
        atomic_fetch_add(&skew_s, 36);
        sched_yield();
    }
    assert_ok(nrt_execute(m, io.in, io.out));
    pthread_join(t, NULL);
    assert_ok(w.status);
    assert_null(strstr(strstr(api_log(), line) + 1, line)); /* one warning */
    assert_int_equal(api_log_errors(), 0);
    PROVES("hbm-022");

    /* One with a limit ends at it and does not warn. */
    assert_ok(nrt_tensor_reset_output_completion(w.t));
    w = (struct waiter){.t = w.t, .timeout = INT64_C(3600) * 1000000};
    api_log_clear();
    assert_int_equal(pthread_create(&t, NULL, waits, &w), 0);
    while (atomic_load(&w.state) != 2) {
        atomic_fetch_add(&skew_s, 600);
        sched_yield();
    }
    pthread_join(t, NULL);
    assert_int_equal(w.status, NRT_TIMEOUT);
    assert_false(api_log_has("WARN "));
    io_fini(&io);
    assert_ok(nrt_unload(m));
    api_log_clear();
}

/* ---- read and write do not wait for each other ---- */

/* A page of the caller that cannot be accessed yet: the transfer that comes to it stops there until
 * the other one is through. */
#define PAGE 4096u
#define SIZE (64u * PAGE)

static char *closed_page;
static _Atomic int stopped, through;

static void fault(int sig, siginfo_t *si, void *context)
{
    char *at = si->si_addr;

    if (at < closed_page || at >= closed_page + PAGE) {
        static const char text[] = "a fault that the test did not make\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

        (void)ignored;
        _exit(1);
    }
    atomic_store(&stopped, 1);
    while (!atomic_load(&through))
        sched_yield();
    mprotect(closed_page, PAGE, PROT_READ | PROT_WRITE);
}

struct transfer {
    nrt_tensor_t *t;
    char *buf;
    bool write;
    NRT_STATUS status;
};

static void *transfers(void *arg)
{
    struct transfer *x = arg;

    x->status =
        x->write ? nrt_tensor_write(x->t, x->buf, 0, SIZE) : nrt_tensor_read(x->t, x->buf, 0, SIZE);
    return NULL;
}

static void read_and_write_do_not_wait_for_each_other(void **state)
{
    struct sigaction sa = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_NODEFER}, old;
    static char other[SIZE];

    sigaction(SIGSEGV, &sa, &old);
    for (int k = 0; k < 8; k++) {
        bool first_writes = k & 1, same = k & 2;
        nrt_tensor_placement_t place = k & 4 ? VIRT : DEV;
        char *buf = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct transfer first = {.write = first_writes, .buf = buf};
        struct transfer second = {.write = !first_writes, .buf = other};
        nrt_tensor_t *t[2];
        pthread_t thread;

        assert_ptr_not_equal(buf, MAP_FAILED);
        memset(buf, 7, SIZE);
        for (int i = 0; i < 2; i++) {
            assert_ok(nrt_tensor_allocate(place, 0, SIZE, "", &t[i]));
            assert_ok(nrt_tensor_memset(t[i], 0, 1, SIZE));
        }
        first.t = t[0];
        second.t = t[same ? 0 : 1];
        closed_page = buf + SIZE / 2;
        atomic_store(&stopped, 0);
        atomic_store(&through, 0);
        assert_int_equal(mprotect(closed_page, PAGE, PROT_NONE), 0);
        assert_int_equal(pthread_create(&thread, NULL, transfers, &first), 0);
        while (!atomic_load(&stopped))
            sched_yield();
        transfers(&second); /* comes back while the first is in the middle */
        assert_ok(second.status);
        assert_int_equal(atomic_load(&through), 0);
        atomic_store(&through, 1);
        pthread_join(thread, NULL);
        assert_ok(first.status);
        munmap(buf, SIZE);
        for (int i = 0; i < 2; i++)
            nrt_tensor_free(&t[i]);
    }
    sigaction(SIGSEGV, &old, NULL);
    PROVES("hbm-023");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unbounded_wait_warns_once_after_thirty_seconds),
        cmocka_unit_test(read_and_write_do_not_wait_for_each_other),
    };

    runner_watchdog(120);
    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
