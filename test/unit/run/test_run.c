/* SPDX-License-Identifier: Apache-2.0 */
#include "run/run.h"

#include <errno.h>
#include <fenv.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fault.h"
#include "proves.h"
#include "runner.h"

/* --- Waiting -----------------------------------------------------------------------------------
 */

static void wait_returns_at_once_when_changed(void **state)
{
    struct run_word w = {.value = 5};

    assert_true(run_wait(&w, 4, 0, NULL));
    assert_true(run_wait(&w, 4, RUN_FOREVER, NULL));
    assert_int_equal(w.sleepers, 0);
}

static void wait_gives_up_at_its_limit(void **state)
{
    struct run_word w = {.value = 5};
    uint64_t before = run_now_ns();

    assert_false(run_wait(&w, 5, 0, NULL));
    assert_false(run_wait(&w, 5, 3000000, NULL));
    assert_true(run_now_ns() - before >= 3000000);
    assert_int_equal(w.sleepers, 0);
    assert_int_equal(w.value, 5);
}

static void wait_any_gives_up_at_its_limit(void **state)
{
    struct run_word a = {.value = 5}, b = {.value = 6};
    struct run_word *const both[] = {&a, &b};
    const uint32_t seen[] = {5, 6}, old[] = {5, 5};
    uint64_t before = run_now_ns();

    assert_false(run_wait_any(both, seen, 2, 0));
    assert_false(run_wait_any(both, seen, 2, 3000000));
    assert_false(run_wait_any(both, seen, 1, 3000000));
    assert_true(run_now_ns() - before >= 6000000);
    assert_true(run_wait_any(both, old, 2, RUN_FOREVER));
    assert_int_equal(a.sleepers + b.sleepers, 0);
    (void)state;
}

#define ANY_ROUNDS 3000u

struct any {
    struct run_word there[RUN_WORDS_MAX], back;
    unsigned n;
};

/* Answers whichever word is posted. */
static void *any_echo(void *arg)
{
    struct any *a = arg;
    struct run_word *w[RUN_WORDS_MAX];
    uint32_t seen[RUN_WORDS_MAX] = {0};

    for (unsigned i = 0; i < a->n; i++)
        w[i] = &a->there[i];
    for (uint32_t round = 0; round < ANY_ROUNDS; round++) {
        (void)run_wait_any(w, seen, a->n, RUN_FOREVER);
        for (unsigned i = 0; i < a->n; i++)
            seen[i] = run_word_load(w[i]);
        run_word_post(&a->back);
    }
    return NULL;
}

/* A wake that is lost keeps it for ever, and the watchdog ends the test. */
static void any_word_wakes(void)
{
    for (unsigned n = 1; n <= RUN_WORDS_MAX; n++) {
        struct any a = {.n = n};
        pthread_t t;

        assert_int_equal(pthread_create(&t, NULL, any_echo, &a), 0);
        for (uint32_t round = 0; round < ANY_ROUNDS; round++) {
            run_word_post(&a.there[round * 7 % n]);
            assert_true(run_wait(&a.back, round, RUN_FOREVER, NULL));
        }
        pthread_join(t, NULL);
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(a.there[i].sleepers, 0);
    }
}

static void wait_any_is_woken_by_each(void **state)
{
    any_word_wakes();
    (void)state;
}

/* The same where the kernel does not know the call: a filter says so to a child. */
static void wait_any_without_the_call(void **state)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex_waitv, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
            _exit(runner_emulated() ? 0 : 2); /* an emulator does not filter, nor know the call */
        wait_any_gives_up_at_its_limit(NULL);
        any_word_wakes();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    (void)state;
}

struct counts {
    unsigned progress, asleep, awake, work;
    unsigned sleeps;       /* the word is posted after this many */
    struct run_word *post; /* posted when work or sleeps run out */
};

static bool count_progress(void *arg)
{
    struct counts *c = arg;

    c->progress++;
    if (c->work > 0 && --c->work == 0)
        run_word_post(c->post);
    return c->work > 0;
}

static void count_sleep(void *arg, bool asleep)
{
    struct counts *c = arg;

    if (asleep)
        c->asleep++;
    else if (++c->awake == c->sleeps)
        run_word_post(c->post);
}

static uint32_t too_many(void *arg)
{
    return 1000;
}

static void wait_runs_progress_and_reports_sleep(void **state)
{
    struct run_word w = {.value = 0};
    struct counts c = {.post = &w};
    struct run_policy p = {.progress = count_progress,
                           .runnable = too_many,
                           .asleep = count_sleep,
                           .arg = &c,
                           .spin_us = RUN_NO_SPIN,
                           .sleep_ms = 1};

    c.sleeps = 3; /* it wakes every millisecond to make progress */
    assert_true(run_wait(&w, 0, RUN_FOREVER, &p));
    assert_int_equal(c.asleep, 3);
    assert_int_equal(c.awake, 3);
    assert_true(c.progress >= 3);
    w.value = 0;
    /* The waiter's own progress is what makes the value change: it must not sleep first. */
    c = (struct counts){.post = &w, .work = 1000};
    assert_true(run_wait(&w, 0, RUN_FOREVER, &p));
    assert_int_equal(c.asleep, 0);
    assert_int_equal(c.progress, 1000);
}

/* Instead of the C library's: counts the calls of this thread. */
static _Thread_local unsigned yields;

int sched_yield(void)
{
    yields++;
    return (int)syscall(SYS_sched_yield);
}

struct doze {
    struct run_word w;
    unsigned yields; /* before the sleep */
};

/* The sleep is the last thing that the waiter comes to, however long the yields took. */
static void note_yields(void *arg, bool asleep)
{
    struct doze *d = arg;

    if (asleep) {
        d->yields = yields;
        run_word_post(&d->w);
    }
}

/* Where more threads run than fit the CPUs, a waiter gives its CPU up several times before it
 * sleeps; one that spins on a CPU of its own does so only when it has spun for long enough. */
static void waiters_yield_before_they_sleep(void **state)
{
    struct doze d = {0};
    struct run_policy crowd = {.runnable = too_many, .asleep = note_yields, .arg = &d};

    yields = 0;
    assert_true(run_wait(&d.w, 0, RUN_FOREVER, &crowd));
    assert_in_range(d.yields, 2, 1000);
    PROVES("perf-021");
    crowd.spin_us = RUN_NO_SPIN; /* told to sleep at once */
    yields = 0;
    assert_true(run_wait(&d.w, 1, RUN_FOREVER, &crowd));
    assert_int_equal(d.yields, 0);
}

struct pair {
    struct run_word there, back;
    struct run_policy policy;
    uint32_t rounds;
    uint64_t data;
};

static void *echo(void *arg)
{
    struct pair *p = arg;

    for (uint32_t i = 0; i < p->rounds; i++) {
        while (!run_wait(&p->there, i, 100000000, &p->policy))
            ;
        p->data = p->data * 3 + 1; /* plain: the words order it */
        run_word_post(&p->back);
    }
    return NULL;
}

static void ping_pong(struct run_policy policy, uint32_t rounds)
{
    struct pair p = {.policy = policy, .rounds = rounds};
    uint64_t want = 0;
    pthread_t t;

    assert_int_equal(run_thread_start(&t, echo, &p, "echo", NULL), NRT_SUCCESS);
    for (uint32_t i = 0; i < rounds; i++) {
        want = (want + i) * 3 + 1;
        p.data += i;
        run_word_post(&p.there);
        while (!run_wait(&p.back, i, 100000000, &policy))
            ;
        assert_true(p.data == want);
    }
    pthread_join(t, NULL);
    assert_int_equal(p.there.sleepers, 0);
    assert_int_equal(p.back.sleepers, 0);
}

static void ping_pong_loses_no_wakeup(void **state)
{
    struct run_policy spin = {.spin_us = 1000}, sleep = {.spin_us = RUN_NO_SPIN, .sleep_ms = 60000},
                      crowd = {.runnable = too_many, .sleep_ms = 60000};

    /* With sleeps of a minute a lost wake-up would hang the test, and the watchdog end it. */
    ping_pong(sleep, 3000);
    ping_pong(crowd, 3000);
    ping_pong(spin, 3000);
}

struct storm {
    struct run_word w;
    uint32_t posts;
};

static void *storm_waiter(void *arg)
{
    struct storm *s = arg;
    struct run_policy p = {.spin_us = RUN_NO_SPIN, .sleep_ms = 60000};
    uint32_t seen = 0;

    while (seen < s->posts) {
        run_wait(&s->w, seen, RUN_FOREVER, &p);
        seen = run_word_load(&s->w);
    }
    return NULL;
}

static void every_waiter_sees_the_last_post(void **state)
{
    struct storm s = {.posts = 20000};
    pthread_t t[4];

    for (int i = 0; i < 4; i++)
        assert_int_equal(run_thread_start(&t[i], storm_waiter, &s, NULL, NULL), NRT_SUCCESS);
    for (uint32_t i = 0; i < s.posts; i++)
        run_word_post(&s.w);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(s.w.sleepers, 0);
}

/* Processes share a word through a file that both map. */
static struct run_word *word_map(const char *fd_text)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(fd_text), 0);

    return p == MAP_FAILED ? NULL : p;
}

static int helper_echo(int argc, char **argv)
{
    struct run_word *w = word_map(argv[1]);
    struct run_policy p = {.spin_us = RUN_NO_SPIN, .sleep_ms = 60000};

    if (w == NULL)
        return 1;
    runner_say("ready");
    for (uint32_t i = 0; i < 1000; i++) {
        if (!run_wait(&w[0], i, RUN_FOREVER, &p))
            return 2;
        run_word_post(&w[1]);
    }
    return 0;
}

static int helper_sleeper(int argc, char **argv)
{
    struct run_word *w = word_map(argv[1]);
    struct run_policy p = {.spin_us = RUN_NO_SPIN, .sleep_ms = 60000};

    if (w == NULL)
        return 1;
    runner_say("ready");
    run_wait(&w[0], 0, RUN_FOREVER, &p);
    return 0;
}

static void words_work_between_processes(void **state)
{
    int fd = memfd_create("words", 0); /* inherited by the helper */
    char fd_text[16];
    const char *args[] = {fd_text, NULL};
    struct run_policy p = {.spin_us = RUN_NO_SPIN, .sleep_ms = 60000};
    struct runner_proc proc;
    struct run_word *w;

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 4096), 0);
    snprintf(fd_text, sizeof(fd_text), "%d", fd);
    w = word_map(fd_text);
    assert_true(runner_start(&proc, "echo", args, NULL));
    assert_true(runner_expect(&proc, "ready", RUNNER_WAIT_MS));
    for (uint32_t i = 0; i < 1000; i++) {
        run_word_post(&w[0]);
        assert_true(run_wait(&w[1], i, RUN_FOREVER, &p));
    }
    assert_int_equal(runner_wait(&proc, RUNNER_WAIT_MS), 0);

    /* A sleeper that is killed leaves its count, and words go on working. */
    w[0].value = 0;
    assert_true(runner_start(&proc, "sleeper", args, NULL));
    assert_true(runner_expect(&proc, "ready", RUNNER_WAIT_MS));
    while (__atomic_load_n(&w[0].sleepers, __ATOMIC_ACQUIRE) == 0)
        sched_yield();
    runner_kill(&proc, SIGKILL);
    assert_int_equal(runner_wait(&proc, RUNNER_WAIT_MS), RUNNER_SIGNAL(SIGKILL));
    assert_int_equal(w[0].sleepers, 1);
    run_word_post(&w[0]);
    assert_true(run_wait(&w[0], 0, 0, &p));
    munmap(w, 4096);
    close(fd);
}

/* --- Owning ------------------------------------------------------------------------------------
 */

#define QUEUE 20 /* more than RUN_OWNER_TURNS: some share a word */

struct line {
    struct run_owner owner;
    struct run_policy policy;
    struct run_word asleep; /* counts waiters that went to sleep */
    unsigned order[QUEUE], count;
    uint64_t sum; /* plain: the owner word orders it */
};
struct customer {
    struct line *line;
    unsigned id, rounds;
};

static void note_sleep(void *arg, bool asleep)
{
    struct line *l = arg;

    if (asleep)
        run_word_post(&l->asleep);
}

static void *stand_in_line(void *arg)
{
    struct customer *c = arg;
    struct line *l = c->line;

    run_owner_take(&l->owner, &l->policy);
    l->order[l->count++] = c->id;
    run_owner_give(&l->owner);
    return NULL;
}

/* With one CPU nobody spins: each waiter is seen asleep, and the one in front is woken. */
static void owners_come_in_order(void **state)
{
    static struct line l;
    struct customer c[QUEUE];
    pthread_t t[QUEUE];
    struct err err = {0};

    memset(&l, 0, sizeof(l));
    l.policy = (struct run_policy){.cpus = 1, .asleep = note_sleep, .arg = &l, .sleep_ms = 60000};
    assert_int_equal(run_owner_queue(&l.owner), 0);
    run_owner_take(&l.owner, NULL);
    for (unsigned i = 0; i < QUEUE; i++) {
        uint32_t seen = run_word_load(&l.asleep);

        c[i] = (struct customer){&l, i, 0};
        assert_int_equal(run_thread_start(&t[i], stand_in_line, &c[i], NULL, &err), NRT_SUCCESS);
        assert_true(run_wait(&l.asleep, seen, RUN_FOREVER, NULL));
        assert_int_equal(run_owner_queue(&l.owner), i + 2);
        assert_false(run_owner_try(&l.owner));
    }
    assert_int_equal(l.count, 0);
    run_owner_give(&l.owner);
    for (unsigned i = 0; i < QUEUE; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(l.count, QUEUE);
    for (unsigned i = 0; i < QUEUE; i++)
        assert_int_equal(l.order[i], i);
    assert_int_equal(run_owner_queue(&l.owner), 0);
    assert_true(run_owner_try(&l.owner));
    assert_false(run_owner_try(&l.owner));
    run_owner_give(&l.owner);
}

static void *come_again(void *arg)
{
    struct customer *c = arg;

    for (unsigned i = 0; i < c->rounds; i++) {
        if (i % 7 != 0 || !run_owner_try(&c->line->owner))
            run_owner_take(&c->line->owner, &c->line->policy);
        c->line->sum = c->line->sum + 1;
        run_owner_give(&c->line->owner);
    }
    return NULL;
}

/* Many owners, each again and again: one at a time, and nobody sleeps through its turn (the word
 * sleeps a minute). Tickets pass the end of their type on the way. */
static void owners_exclude_each_other(void **state)
{
    static struct line l;
    struct customer c[4];
    pthread_t t[4];
    struct err err = {0};

    for (unsigned cpus = 0; cpus < 3; cpus++) { /* 0: as many as there are */
        memset(&l, 0, sizeof(l));
        l.policy = (struct run_policy){.cpus = cpus, .sleep_ms = 60000};
        l.owner.next = l.owner.now = UINT32_MAX - 1000;
        l.owner.turn[l.owner.next % RUN_OWNER_TURNS].value = l.owner.next;
        for (unsigned i = 0; i < 4; i++) {
            c[i] = (struct customer){&l, i, 2000};
            assert_int_equal(run_thread_start(&t[i], come_again, &c[i], NULL, &err), NRT_SUCCESS);
        }
        for (unsigned i = 0; i < 4; i++)
            pthread_join(t[i], NULL);
        assert_int_equal(l.sum, 4 * 2000);
        assert_int_equal(run_owner_queue(&l.owner), 0);
    }
}

/* --- The caller's state ------------------------------------------------------------------------
 */

static volatile float tiny = 1e-40f, one = 1.0f, third = 3.0f, huge = 1e38f;

static void caller_gets_its_floating_point_mode_back(void **state)
{
    struct run_caller c;
    float nearest;
    fenv_t env;

    fegetenv(&env);
    fesetround(FE_TONEAREST);
    nearest = one / third;
    fesetround(FE_DOWNWARD);
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040); /* FTZ, DAZ */
    assert_true(tiny * one == 0.0f);
#endif
    feraiseexcept(FE_INVALID);
    run_caller_enter(&c);
    assert_int_equal(fegetround(), FE_TONEAREST);
    assert_true(one / third == nearest);
    assert_true(tiny * one != 0.0f); /* subnormals are kept */
    huge = huge * huge;              /* raises overflow */
    run_caller_leave(&c);
    assert_int_equal(fegetround(), FE_DOWNWARD);
    assert_true(one / third < nearest);
#if defined(__x86_64__)
    assert_true(tiny * one == 0.0f);
#endif
    assert_true(fetestexcept(FE_INVALID));
    assert_false(fetestexcept(FE_OVERFLOW));
    fesetenv(&env);
}

static void caller_is_not_cancelled_inside(void **state)
{
    struct run_caller outer, inner;
    int old;

    run_caller_enter(&outer);
    run_caller_enter(&inner);
    run_caller_leave(&inner);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    assert_int_equal(old, PTHREAD_CANCEL_DISABLE);
    run_caller_leave(&outer);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
    assert_int_equal(old, PTHREAD_CANCEL_ENABLE);
}

/* --- Threads -----------------------------------------------------------------------------------
 */

static void *thread_look(void *arg)
{
    sigset_t *mask = arg;

    pthread_sigmask(SIG_BLOCK, NULL, mask);
    return (void *)(size_t)(fegetround() == FE_TONEAREST);
}

static void threads_block_signals_and_compute_in_our_mode(void **state)
{
    sigset_t inside, before, after;
    pthread_t t;
    void *ret;

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    fesetround(FE_DOWNWARD);
    assert_int_equal(run_thread_start(&t, thread_look, &inside, "a name that is too long", NULL),
                     NRT_SUCCESS);
    pthread_join(t, &ret);
    fesetround(FE_TONEAREST);
    assert_non_null(ret);
    for (int s = 1; s < 32; s++) {
        if (s != SIGKILL && s != SIGSTOP)
            assert_true(sigismember(&inside, s));
    }
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (int s = 1; s < 32; s++)
        assert_int_equal(sigismember(&before, s), sigismember(&after, s));
}

static void thread_start_reports_failed_memory(void **state)
{
    struct err err = {.status = NRT_SUCCESS};
    pthread_t t;

    fault_arm(FAULT_ALLOC, 1);
    assert_int_equal(run_thread_start(&t, thread_look, NULL, NULL, &err), NRT_RESOURCE);
    fault_disarm();
    assert_true(err.text[0] != '\0');
}

static void cpu_lists(void **state)
{
    static const char *const bad[] = {"",   ",", "1,",   "-1",  "3-1",
                                      "1-", "a", "1024", "1 2", "0-1024"};
    struct run_cpus c;

    assert_true(run_cpus_parse("40-47,88-95", &c));
    for (unsigned i = 0; i < RUN_CPUS_MAX; i++)
        assert_int_equal(c.bits[i / 64] >> (i % 64) & 1,
                         (i >= 40 && i <= 47) || (i >= 88 && i <= 95));
    assert_true(run_cpus_parse("0,1023", &c));
    assert_int_equal(c.bits[15] >> 63, 1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(run_cpus_parse(bad[i], &c));
    assert_true(run_cpu_count() >= 1);
}

static void threads_can_be_pinned(void **state)
{
    cpu_set_t all, now;
    struct run_cpus c = {{0}};
    unsigned last = 0;

    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    for (unsigned i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all))
            last = i;
    }
    c.bits[last / 64] = 1ull << (last % 64);
    assert_true(run_thread_pin(pthread_self(), &c));
    assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
    assert_int_equal(CPU_COUNT(&now), 1);
    assert_true(CPU_ISSET(last, &now));
    assert_int_equal(run_cpu_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
    memset(&c, 0, sizeof(c));
    assert_false(run_thread_pin(pthread_self(), &c));
    assert_true(errno != 0);
}

/* Wherever a thread goes by itself, its mask is as before; out of the mask it does not go. */
static void threads_move_within_their_mask(void **state)
{
    cpu_set_t all, now;
    struct run_cpus c = {{0}};
    unsigned first = CPU_SETSIZE;

    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    for (unsigned i = 0; i < CPU_SETSIZE; i++) {
        assert_int_equal(run_cpu_move(i), CPU_ISSET(i, &all) != 0);
        if (CPU_ISSET(i, &all) && first == CPU_SETSIZE)
            first = i;
        assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
        assert_true(CPU_EQUAL(&now, &all));
    }
    assert_false(run_cpu_move(CPU_SETSIZE));
    assert_false(run_cpu_move(UINT_MAX));
    c.bits[first / 64] = UINT64_C(1) << first % 64;
    assert_true(run_thread_pin(pthread_self(), &c));
    assert_true(run_cpu_move(first));
    assert_int_equal(run_cpu_now(), first);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

/* --- The pool ----------------------------------------------------------------------------------
 */

#define PARTS_MAX 1000

struct job {
    struct run_pool *pool;
    unsigned hits[PARTS_MAX]; /* plain: every part is run by one thread, once */
    unsigned nested;
};

static void part(void *arg, unsigned p)
{
    struct job *j = arg;

    j->hits[p]++;
}

static void pool_runs_every_part_once(void **state)
{
    static struct job j;

    for (unsigned threads = 1; threads <= 5; threads++) {
        struct run_pool *pool = run_pool_new(threads);

        assert_int_equal(run_pool_size(pool), threads);
        run_pool_begin(pool);
        for (unsigned n = 0; n < 40; n++) {
            memset(&j, 0, sizeof(j));
            run_pool_for(pool, n, part, &j);
            for (unsigned p = 0; p < PARTS_MAX; p++)
                assert_int_equal(j.hits[p], p < n);
        }
        run_pool_end(pool);
        run_pool_free(pool);
    }
    memset(&j, 0, sizeof(j));
    run_pool_for(NULL, 7, part, &j);
    assert_int_equal(j.hits[6], 1);
    assert_int_equal(run_pool_size(NULL), 1);
    run_pool_begin(NULL);
    run_pool_end(NULL);
    run_pool_free(NULL);
    run_pool_free(run_pool_new(0)); /* never used: no thread was started */
}

struct meeting {
    uint32_t arrived; /* atomic */
    pthread_t who[2];
};

/* Each part waits for the other: only two threads at once can end this. */
static void meeting_part(void *arg, unsigned p)
{
    struct meeting *m = arg;

    m->who[p] = pthread_self();
    __atomic_add_fetch(&m->arrived, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&m->arrived, __ATOMIC_ACQUIRE) < 2)
        sched_yield();
}

static void pool_shares_the_parts_of_a_job(void **state)
{
    struct run_pool *pool = run_pool_new(2);

    for (int i = 0; i < 50; i++) {
        struct meeting m = {0};

        run_pool_for(pool, 2, meeting_part, &m);
        assert_false(pthread_equal(m.who[0], m.who[1]));
    }
    run_pool_free(pool);
}

/* As meeting_part; the one that is not the caller's says where its thread may run. */
struct kept {
    struct meeting m;
    pthread_t caller;
    cpu_set_t cpus;
};

static void kept_part(void *arg, unsigned p)
{
    struct kept *k = arg;

    if (!pthread_equal(pthread_self(), k->caller))
        sched_getaffinity(0, sizeof(k->cpus), &k->cpus);
    meeting_part(&k->m, p);
}

static void pool_keeps_its_workers_where_they_belong(void **state)
{
    struct run_pool *pool = run_pool_new(2);
    struct kept k = {.caller = pthread_self()};
    struct run_cpus alone = {{0}};
    int last = runner_last_cpu();

    alone.bits[last / 64] = UINT64_C(1) << last % 64;
    run_pool_keep(pool, NULL); /* anywhere */
    run_pool_keep(pool, &alone);
    run_pool_for(pool, 2, kept_part, &k);
    assert_int_equal(CPU_COUNT(&k.cpus), 1);
    assert_true(CPU_ISSET(last, &k.cpus));
    run_pool_free(pool);
    (void)state;
}

static void nested_part(void *arg, unsigned p)
{
    struct job *j = arg;

    __atomic_fetch_add(&j->nested, 1, __ATOMIC_RELAXED);
}

static void part_that_calls(void *arg, unsigned p)
{
    struct job *j = arg;

    run_pool_for(j->pool, 10, nested_part, j);
}

static void pool_in_a_part_runs_inline(void **state)
{
    static struct job j;

    j.pool = run_pool_new(3);
    run_pool_for(j.pool, 8, part_that_calls, &j);
    assert_int_equal(j.nested, 80);
    run_pool_free(j.pool);
}

struct stress {
    struct run_pool *pool;
    bool bad;
};

static void *stress_caller(void *arg)
{
    struct stress *s = arg;
    struct job *j = calloc(1, sizeof(*j));

    for (unsigned n = 0; n < 3000; n++) {
        unsigned parts = n % 20;

        run_pool_begin(s->pool);
        run_pool_for(s->pool, parts, part, j);
        run_pool_end(s->pool);
        for (unsigned p = 0; p < parts; p++) {
            if (j->hits[p] != 1)
                s->bad = true;
            j->hits[p] = 0;
        }
    }
    free(j);
    return NULL;
}

static void pool_shared_by_several_callers(void **state)
{
    struct stress s[3];
    struct run_pool *pool = run_pool_new(3);
    pthread_t t[3];

    for (int i = 0; i < 3; i++) {
        s[i] = (struct stress){.pool = pool};
        assert_int_equal(run_thread_start(&t[i], stress_caller, &s[i], NULL, NULL), NRT_SUCCESS);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
        assert_false(s[i].bad);
    }
    run_pool_free(pool);
}

static void pool_without_memory_for_threads_still_works(void **state)
{
    static struct job j;
    struct run_pool *pool;

    fault_arm(FAULT_ALLOC, 1);
    assert_null(run_pool_new(4));
    fault_arm(FAULT_ALLOC, 2);
    assert_null(run_pool_new(4));
    fault_disarm();
    pool = run_pool_new(4);
    fault_arm(FAULT_ALLOC, 2); /* the second worker cannot start */
    memset(&j, 0, sizeof(j));
    run_pool_for(pool, 30, part, &j);
    fault_disarm();
    for (unsigned p = 0; p < 30; p++)
        assert_int_equal(j.hits[p], 1);
    memset(&j, 0, sizeof(j));
    run_pool_for(pool, 30, part, &j);
    for (unsigned p = 0; p < 30; p++)
        assert_int_equal(j.hits[p], 1);
    run_pool_free(pool);
}

static void *small_stack_caller(void *arg)
{
    static struct job j;

    j.pool = arg;
    run_pool_for(j.pool, 100, part, &j);
    return NULL;
}

static void pool_needs_little_of_the_callers_stack(void **state)
{
    struct run_pool *pool = run_pool_new(2);
    pthread_attr_t attr;
    pthread_t t;

    pthread_attr_init(&attr);
    assert_int_equal(pthread_attr_setstacksize(&attr, 128 * 1024), 0);
    assert_int_equal(pthread_create(&t, &attr, small_stack_caller, pool), 0);
    pthread_join(t, NULL);
    pthread_attr_destroy(&attr);
    run_pool_free(pool);
}

static const struct runner_helper helpers[] = {
    {"echo", helper_echo}, {"sleeper", helper_sleeper}, {NULL, NULL}};

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_returns_at_once_when_changed),
        cmocka_unit_test(wait_gives_up_at_its_limit),
        cmocka_unit_test(wait_any_gives_up_at_its_limit),
        cmocka_unit_test(wait_any_is_woken_by_each),
        cmocka_unit_test(wait_any_without_the_call),
        cmocka_unit_test(wait_runs_progress_and_reports_sleep),
        cmocka_unit_test(waiters_yield_before_they_sleep),
        cmocka_unit_test(ping_pong_loses_no_wakeup),
        cmocka_unit_test(every_waiter_sees_the_last_post),
        cmocka_unit_test(words_work_between_processes),
        cmocka_unit_test(owners_come_in_order),
        cmocka_unit_test(owners_exclude_each_other),
        cmocka_unit_test(caller_gets_its_floating_point_mode_back),
        cmocka_unit_test(caller_is_not_cancelled_inside),
        cmocka_unit_test(threads_block_signals_and_compute_in_our_mode),
        cmocka_unit_test(thread_start_reports_failed_memory),
        cmocka_unit_test(cpu_lists),
        cmocka_unit_test(threads_can_be_pinned),
        cmocka_unit_test(threads_move_within_their_mask),
        cmocka_unit_test(pool_runs_every_part_once),
        cmocka_unit_test(pool_shares_the_parts_of_a_job),
        cmocka_unit_test(pool_keeps_its_workers_where_they_belong),
        cmocka_unit_test(pool_in_a_part_runs_inline),
        cmocka_unit_test(pool_shared_by_several_callers),
        cmocka_unit_test(pool_without_memory_for_threads_still_works),
        cmocka_unit_test(pool_needs_little_of_the_callers_stack),
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    runner_watchdog(240);
    return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
