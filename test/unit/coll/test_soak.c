/* SPDX-License-Identifier: Apache-2.0 */
/* Mixed operations of 2 to 8 processes on one instance, with random kill -9 and SIGSTOP.
 *
 *     test_coll_soak [operations]      OPENNRT_SEED replays the cases
 *
 * Episodes: some of the workers, in some order, open a communicator, run drawn cases, and close it.
 * In the middle of one a victim may be killed at any instruction, or stopped inside an operation
 * until the others have given it up. Then every other rank ends with the documented status and
 * names the victim (or had everything that it needed); the dead is replaced, and the next episode
 * runs on the same instance. After each episode no core has a byte in use: an auditor, a process of
 * its own, looks. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cases.h"
#include "common_clock.h"
#include "crew.h"
#include "device/device_int.h"
#include "draw.h"
#include "runner.h"
#include "seed.h"

#define TIMEOUT_MS 10     /* of the clock of an episode, without anything moving */
#define LIMIT_MS   600000 /* nothing may take as long as that */
#define CASES_MAX  24
#define AUDITOR    CREW_MAX

enum mark {
    GO,      /* number of the episode */
    STOP,    /* 1: the workers end */
    RUN,     /* operations that have ended, over all ranks of the episode */
    AUDIT,   /* the auditor is to look at the account of this episode */
    AUDITED, /* it has */
    LEAKED   /* bytes in use that it found, in all */
};

#define EPISODES_MOST 200 /* in an emulator */

enum harm { NOTHING, KILL, PAUSE };

/* What a rank reports. */
struct report {
    _Atomic uint32_t inside; /* an operation of the communicator */
    _Atomic uint32_t status; /* how it ended */
    _Atomic uint32_t ended;  /* 1: status is there; 2: and everything is closed */
};

/* In shared memory. */
struct shared {
    struct common_clock clock;
    struct report reports[CREW_MAX];
};

struct soak {
    struct crew_table *t;
    struct report *reports; /* by rank */
    struct common_clock *clock;
    char dir[64];
    uint64_t seed;
    pid_t pid[CREW_MAX + 1];
    unsigned long operations, kills, pauses, lucky, failed, early;
};

struct episode {
    uint64_t salt;
    uint32_t n, cases, victim;
    uint32_t cores[CREW_MAX]; /* by rank; worker and core have one number */
    enum harm harm;
    uint64_t after; /* the victim's harm comes when RUN has reached this */
};

static uint64_t default_seed;
static unsigned long wanted = 800;
static bool emulated; /* nobody is killed */

static struct episode episode_draw(const struct soak *k, uint64_t number)
{
    uint64_t salt = draw_mix(k->seed ^ draw_mix(number));
    struct episode e = {.salt = salt,
                        .n = 2 + (uint32_t)(draw_mix(salt + 1) % (CREW_MAX - 1)),
                        .cases = 1 + (uint32_t)(draw_mix(salt + 2) % CASES_MAX)};
    uint64_t what = draw_mix(salt + 3) % 100;

    e.harm = number % (emulated ? 4 : 40) == 3 ? PAUSE : what < 40 && !emulated ? KILL : NOTHING;
    e.victim = (uint32_t)(draw_mix(salt + 4) % e.n);
    e.after = draw_mix(salt + 5) % (e.cases * 2 * e.n + 1);
    for (uint32_t i = 0; i < CREW_MAX; i++)
        e.cores[i] = i;
    for (uint32_t i = CREW_MAX - 1; i > 0; i--) {
        uint32_t k2 = (uint32_t)(draw_mix(salt + 10 + i) % (i + 1)), c = e.cores[i];

        e.cores[i] = e.cores[k2];
        e.cores[k2] = c;
    }
    return e;
}

/* ---- workers ---- */

struct episode_clock {
    struct soak *k;
    uint32_t me, n;
};

static uint64_t episode_now(void *arg)
{
    const struct episode_clock *e = arg;

    return common_clock_look(e->k->clock, e->me, e->n);
}

static NRT_STATUS case_soak(struct soak *k, struct crew_seat *s, uint64_t salt, struct err *err)
{
    struct report *mine = &k->reports[s->rank.me];
    struct op_case c = case_draw(salt, s->rank.n);
    struct case_kit kit;
    NRT_STATUS st;
    bool have;

    memset(err, 0, sizeof(*err));
    st = case_open(&s->rank, &kit, &c, err);
    have = kit.s != NULL; /* else this algorithm does not have the operation: the same for all */
    for (unsigned i = 0; i < 3 && !st; i++) {
        case_fill(&s->rank, &kit, salt + i);
        atomic_store(&mine->inside, 1);
        st = coll_begin(kit.plan, kit.ts.in_addr, kit.ts.out_addr, err);
        if (!st)
            st = coll_wait(s->rank.comm, err);
        atomic_store(&mine->inside, 0);
        if (!st && !case_check(&s->rank, &kit, salt + i, err)) {
            fprintf(stderr, "rank %u of %u: %s\n", s->rank.me, s->rank.n, err->text);
            abort();
        }
        if (!st)
            atomic_fetch_add(&k->t->mark[RUN], 1);
    }
    case_close(&kit);
    rank_memory_free(&s->rank);
    return have || st != NRT_FAILURE ? st : NRT_SUCCESS;
}

static void rank_soak(struct soak *k, struct device_instance *in, const struct episode *e,
                      uint32_t me)
{
    struct episode_clock clock = {.k = k, .me = me, .n = e->n};
    struct crew_seat s = {
        .rank = {.in = in}, .limit_ms = 2 * TIMEOUT_MS, .now = episode_now, .now_arg = &clock};
    struct err err = {0};
    NRT_STATUS st = crew_sit(&s, k->t, e->cores, me, e->n, TIMEOUT_MS, &err);
    bool open = !st;

    for (uint32_t i = 0; i < e->cases && !st; i++)
        st = case_soak(k, &s, draw_mix(e->salt + 100) + i * 64, &err);
    snprintf(k->t->text[me], CREW_TEXT, "%s", st ? err.text : "");
    atomic_store(&k->reports[me].status, st);
    atomic_store(&k->reports[me].ended, 1);
    common_clock_out(k->clock, me);
    run_word_post(&k->t->bell);
    if (open)
        crew_leave(&s);
    atomic_store(&k->reports[me].ended, 2);
    run_word_post(&k->t->bell);
}

static void worker(struct soak *k, uint32_t who, uint64_t first)
{
    struct device_instance *in = crew_instance(k->dir, NULL);

    device_runnable_add(in, 1);
    for (uint64_t number = first;; number++) {
        struct episode e = episode_draw(k, number);

        device_runnable_add(in, -1);
        while (!crew_await(k->t, GO, number, LIMIT_MS)) {
        }
        device_runnable_add(in, 1);
        if (atomic_load(&k->t->mark[STOP]))
            break;
        for (uint32_t me = 0; me < e.n; me++)
            if (e.cores[me] == who)
                rank_soak(k, in, &e, me);
    }
    device_runnable_add(in, -1);
    device_instance_close(in);
}

static void auditor(struct soak *k)
{
    struct device_instance *in = crew_instance(k->dir, NULL);

    for (uint64_t number = 1;; number++) {
        while (!crew_await(k->t, AUDIT, number, LIMIT_MS)) {
        }
        if (atomic_load(&k->t->mark[STOP]))
            break;
        (void)device_reclaim(in);
        for (uint32_t core = 0; core < 2 * CREW_MAX; core++) {
            struct device_usage u;

            if (device_usage_core(in, core, &u))
                abort();
            atomic_fetch_add(&k->t->mark[LEAKED], u.total);
        }
        crew_mark(k->t, AUDITED, number);
    }
    device_instance_close(in);
}

static void start(struct soak *k, uint32_t who, uint64_t first)
{
    pid_t parent = getpid();

    fflush(NULL);
    k->pid[who] = fork();
    if (k->pid[who] != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    if (who == AUDITOR)
        auditor(k);
    else
        worker(k, who, first);
    _exit(0);
}

/* ---- the parent ---- */

static void soak_fail(struct soak *k, uint64_t number, const struct episode *e, const char *why)
{
    static const char *const words[] = {"nothing", "kill", "pause"};

    for (uint32_t r = 0; r < e->n; r++)
        print_message("rank %u (core %u): %s, status %u: %s\n", r, e->cores[r],
                      atomic_load(&k->reports[r].ended) ? "ended" : "not ended",
                      atomic_load(&k->reports[r].status), k->t->text[r]);
    for (uint32_t w = 0; w <= CREW_MAX; w++)
        kill(k->pid[w], SIGKILL);
    fail_msg("seed %llu, episode %llu, %u ranks, %s to rank %u: %s", (unsigned long long)k->seed,
             (unsigned long long)number, e->n, words[e->harm], e->victim, why);
}

static void await(struct soak *k, uint64_t number, const struct episode *e, enum mark mark,
                  uint64_t value, const char *why)
{
    if (!crew_await(k->t, mark, value, LIMIT_MS))
        soak_fail(k, number, e, why);
}

/* Until every rank but `except` has got so far. */
static void ranks_await(struct soak *k, uint64_t number, const struct episode *e, uint32_t except,
                        uint32_t ended, const char *why)
{
    uint64_t end = run_now_ns() + LIMIT_MS * UINT64_C(1000000);

    for (uint32_t r = 0; r < e->n;) {
        uint32_t seen = run_word_load(&k->t->bell);

        if (r == except || atomic_load(&k->reports[r].ended) >= ended)
            r++;
        else if (run_now_ns() >= end)
            soak_fail(k, number, e, why);
        else
            run_wait(&k->t->bell, seen, 100000000, NULL);
    }
}

/* Kills or stops the victim. False: it was never met inside an operation, and runs on. */
static bool harm_do(struct soak *k, const struct episode *e)
{
    pid_t pid = k->pid[e->cores[e->victim]];
    int status;

    while (atomic_load(&k->t->mark[RUN]) < e->after && !atomic_load(&k->reports[e->victim].ended) &&
           waitpid(pid, &status, WNOHANG) == 0)
        sched_yield();
    for (uint64_t spin = draw_mix(e->salt + 6) % 20000; spin > 0; spin--)
        atomic_thread_fence(memory_order_seq_cst); /* anywhere in it */
    if (e->harm == KILL) {
        kill(pid, SIGKILL);
        (void)waitpid(pid, &status, 0);
        crew_dead(k->t, e->victim);
        k->kills++;
        return true;
    }
    while (!atomic_load(&k->reports[e->victim].ended)) {
        kill(pid, SIGSTOP);
        (void)waitpid(pid, &status, WUNTRACED);
        if (atomic_load(&k->reports[e->victim].inside)) {
            k->pauses++;
            return true;
        }
        kill(pid, SIGCONT);
        sched_yield();
    }
    return false;
}

/* What a rank that was not harmed may report. */
static void judge(struct soak *k, uint64_t number, const struct episode *e, uint32_t rank)
{
    NRT_STATUS st = (NRT_STATUS)atomic_load(&k->reports[rank].status);
    char name[32];

    if (st == NRT_SUCCESS) {
        k->lucky++;
        return;
    }
    snprintf(name, sizeof(name), "rank %u ", e->victim);
    if (st == NRT_EXEC_HW_ERR_COLLECTIVES)
        k->failed++;
    else if (st == (e->harm == KILL ? NRT_FAILURE : NRT_TIMEOUT))
        k->early++; /* where a plan is made, the test's exchange speaks */
    else
        soak_fail(k, number, e, "not the documented status");
    /* of the stopped the exchange knows nothing: it names the first that has not come */
    if (st != NRT_TIMEOUT && !strstr(k->t->text[rank], name))
        soak_fail(k, number, e, "the message does not name the rank");
}

static void episode_run(struct soak *k, uint64_t number)
{
    struct episode e = episode_draw(k, number);
    uint32_t dead = e.n;
    bool harmed = false;

    crew_restart(k->t);
    atomic_store(&k->t->mark[RUN], 0);
    common_clock_start(k->clock);
    memset(k->reports, 0, CREW_MAX * sizeof(*k->reports));
    crew_mark(k->t, GO, number);
    if (e.harm != NOTHING)
        harmed = harm_do(k, &e);
    if (harmed) {
        common_clock_out(k->clock, e.victim);
        ranks_await(k, number, &e, e.victim, 1, "a rank waits for ever");
        for (uint32_t r = 0; r < e.n; r++)
            if (r != e.victim)
                judge(k, number, &e, r);
    }
    if (harmed && e.harm == PAUSE)
        kill(k->pid[e.cores[e.victim]], SIGCONT);
    if (harmed && e.harm == KILL)
        dead = e.victim;
    ranks_await(k, number, &e, dead, 2, "a rank does not end");
    for (uint32_t r = 0; r < e.n && !harmed; r++)
        if (atomic_load(&k->reports[r].status) != NRT_SUCCESS)
            soak_fail(k, number, &e, "a failure without a reason");
    k->operations += atomic_load(&k->t->mark[RUN]) / e.n;
    crew_mark(k->t, AUDIT, number);
    await(k, number, &e, AUDITED, number, "the auditor does not answer");
    if (atomic_load(&k->t->mark[LEAKED]))
        soak_fail(k, number, &e, "memory is still in use");
    if (harmed && e.harm == KILL)
        start(k, e.cores[e.victim], number + 1);
}

static void soak(void **state)
{
    struct soak k = {.t = crew_table_new(), .seed = default_seed};
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t number = 0;
    char cmd[128];

    if (shared == MAP_FAILED)
        abort();
    k.reports = shared->reports;
    k.clock = &shared->clock;
    strcpy(k.dir, "/tmp/opennrt-soak-XXXXXX");
    if (!mkdtemp(k.dir))
        abort();
    for (uint32_t w = 0; w <= CREW_MAX; w++)
        start(&k, w, 1);
    /* where stops alone are left, one may meet nobody inside an operation */
    while (k.operations < wanted || (emulated && k.failed == 0 && number < EPISODES_MOST))
        episode_run(&k, ++number);
    crew_mark(k.t, STOP, 1);
    crew_mark(k.t, GO, number + 1);
    crew_mark(k.t, AUDIT, number + 1);
    for (uint32_t w = 0; w <= CREW_MAX; w++) {
        int status;

        assert_int_equal(waitpid(k.pid[w], &status, 0), k.pid[w]);
        assert_int_equal(status, 0);
    }
    print_message(
        "%lu operations in %llu communicators: %lu kills, %lu stopped inside an "
        "operation; survivors: %lu reported the failure, %lu while making a plan, %lu had "
        "all they needed\n",
        k.operations, (unsigned long long)number, k.kills, k.pauses, k.failed, k.early, k.lucky);
    assert_true((emulated ? k.pauses : k.kills) > 0 && k.failed > 0);
    munmap(shared, sizeof(*shared));
    crew_table_free(k.t);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", k.dir);
    assert_int_equal(system(cmd), 0);
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(soak)};

    if (!ranks_have_emulator_room())
        return RUNNER_SKIP;
    emulated = runner_emulator_lacks("what is killed in coll-soak", RUNNER_NO_ROBUST);
    if (emulated)
        wanted /= 2;
    if (argc > 1)
        wanted = strtoul(argv[1], NULL, 0);
    default_seed = seed_take_new();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
