/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for words, within a process and between processes, and owning by turns. */
#include "run/run.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

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

struct any {
    struct run_word there[RUN_WORDS_MAX], back;
    unsigned n;
    uint32_t rounds;
};

/* Answers whichever word is posted. */
static void *any_echo(void *arg)
{
    struct any *a = arg;
    struct run_word *w[RUN_WORDS_MAX];
    uint32_t seen[RUN_WORDS_MAX] = {0};

    for (unsigned i = 0; i < a->n; i++)
        w[i] = &a->there[i];
    for (uint32_t round = 0; round < a->rounds; round++) {
        (void)run_wait_any(w, seen, a->n, RUN_FOREVER);
        for (unsigned i = 0; i < a->n; i++)
            seen[i] = run_word_load(w[i]);
        run_word_post(&a->back);
    }
    return NULL;
}

/* A wake that is lost keeps it for ever, and the watchdog ends the test. */
static void any_word_wakes(uint32_t rounds)
{
    for (unsigned n = 1; n <= RUN_WORDS_MAX; n++) {
        struct any a = {.n = n, .rounds = rounds};
        pthread_t t;

        assert_int_equal(pthread_create(&t, NULL, any_echo, &a), 0);
        for (uint32_t round = 0; round < rounds; round++) {
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
    any_word_wakes(3000);
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
        any_word_wakes(300); /* each may take a nap between two looks */
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
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    runner_watchdog(240);
    return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
