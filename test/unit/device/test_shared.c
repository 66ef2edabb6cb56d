/* SPDX-License-Identifier: Apache-2.0 */
/* Threads and processes on one instance: the same memory is never given twice, the account is the
 * sum of all, and whoever stops, exits or dies holds nobody up. */
#include "audit.h"
#include "seed.h"

#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#define MIB (UINT64_C(1) << 20)

struct worker {
    struct device_instance *in;
    unsigned seed;
    unsigned char mark;
    int rounds;
};

/* Allocates, marks, checks, frees; whoever gave the same bytes twice is found. */
static void *worker_run(void *arg)
{
    struct worker *w = arg;
    struct device_extent x[16];
    int n = 0;

    for (int r = 0; r < w->rounds; r++) {
        if (n < 16 && rand_r(&w->seed) % 2) {
            struct device_alloc a =
                want(0, DEVICE_CAT_TENSOR, 64 + (unsigned)rand_r(&w->seed) % 9000);
            void *p;

            if (device_alloc(w->in, &a, &x[n], NULL) != NRT_SUCCESS ||
                device_map(w->in, x[n].addr, x[n].size, DEVICE_RW, &p, NULL) != NRT_SUCCESS ||
                !all_bytes(p, x[n].size, 0))
                return (void *)1;
            memset(p, w->mark, x[n++].size);
        } else if (n) {
            void *p;

            n--;
            if (device_map(w->in, x[n].addr, x[n].size, DEVICE_RW, &p, NULL) != NRT_SUCCESS ||
                !all_bytes(p, x[n].size, w->mark) || device_free(w->in, &x[n], NULL) != NRT_SUCCESS)
                return (void *)2;
        }
    }
    while (n)
        device_free(w->in, &x[--n], NULL);
    return NULL;
}

static void threads_share_an_instance(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f), *other = fixture_open(f);
    struct worker w[4];
    pthread_t t[4];

    for (int i = 0; i < 4; i++) {
        w[i] =
            (struct worker){i % 2 ? in : other, 1000u + (unsigned)i, (unsigned char)(i + 1), 2000};
        assert_int_equal(pthread_create(&t[i], NULL, worker_run, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *rc;

        pthread_join(t[i], &rc);
        assert_null(rc);
    }
    assert_true(used_on(in, 0) == 0);
    audit(in);
    device_instance_close(in);
    device_instance_close(other);
    (void)state;
    fixture_free(f);
}

static void processes_share_an_instance(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");

    f->cfg.hbm_bytes = runner_hbm_bytes(); /* an emulator walks every page of a mapping on fork */
    struct device_instance *in = fixture_open(f);
    pid_t pid[6];

    for (int i = 0; i < 6; i++) {
        pid[i] = fork();
        if (pid[i] == 0) {
            struct device_config c = f->cfg;
            struct device_instance *own;
            struct worker w = {NULL, 77u + (unsigned)i, (unsigned char)(i + 1), 1500};

            c.log = NULL;
            if (device_instance_open(&c, &own, NULL) != NRT_SUCCESS)
                _exit(9);
            w.in = own;
            void *rc = worker_run(&w);
            if (i % 2)
                device_instance_close(own);
            _exit(rc ? 1 : 0); /* half of them without close */
        }
    }
    for (int i = 0; i < 6; i++) {
        int status;

        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_int_equal(status, 0);
    }
    device_reclaim(in);
    assert_true(used_on(in, 0) == 0);
    audit(in);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* What one process thinks it holds. */
struct sums {
    uint64_t bytes[2][DEVICE_CAT_COUNT];
};

/* Random load of one process; its sums go to the parent, then it waits to be killed or told to end.
 */
static int account_child(struct fixture *f, unsigned seed, int out, int in_fd)
{
    struct device_config c = f->cfg;
    struct device_instance *in;
    struct device_extent x[64];
    struct device_alloc made[64];
    struct sums sums = {0};
    int n = 0;
    char go;

    c.log = NULL;
    if (device_instance_open(&c, &in, NULL) != NRT_SUCCESS)
        return 1;
    for (int step = 0; step < 800; step++) {
        if (n < 64 && rand_r(&seed) % 5 < 3) {
            made[n] = want((uint32_t)rand_r(&seed) % 2,
                           (enum device_cat)(rand_r(&seed) % DEVICE_CAT_COUNT),
                           random_size(&seed) % (8 * MIB) + 1);
            if (device_alloc(in, &made[n], &x[n], NULL) != NRT_SUCCESS)
                return 2;
            n++;
        } else if (n) {
            int i = rand_r(&seed) % n;

            if (device_free(in, &x[i], NULL) != NRT_SUCCESS)
                return 3;
            x[i] = x[--n];
            made[i] = made[n];
        }
    }
    while (n--)
        sums.bytes[made[n].core][made[n].cat] += x[n].size;
    if (write(out, &sums, sizeof(sums)) != (ssize_t)sizeof(sums) || read(in_fd, &go, 1) != 1)
        return 4;
    device_instance_close(in);
    return 0;
}

static void check_sums(struct device_instance *in, const struct sums *s, const bool *alive, int n)
{
    for (uint32_t core = 0; core < 2; core++) {
        struct device_usage u;

        assert_int_equal(device_usage_core(in, core, &u), NRT_SUCCESS);
        for (unsigned c = 0; c < DEVICE_CAT_COUNT; c++) {
            uint64_t sum = 0;

            for (int i = 0; i < n; i++)
                sum += alive[i] ? s[i].bytes[core][c] : 0;
            assert_true(u.bytes[c] == sum);
        }
    }
    audit(in);
}

static void account_of_many_processes_is_their_sum(void **state)
{
    enum { N = 8 };
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct sums s[N];
    bool alive[N];
    pid_t pid[N];
    int up[N][2], down[2], status;
    unsigned seed = (unsigned)seed_take_new();

    assert_int_equal(pipe(down), 0);
    for (int i = 0; i < N; i++) {
        assert_int_equal(pipe(up[i]), 0);
        pid[i] = fork();
        if (pid[i] == 0)
            _exit(account_child(f, seed + (unsigned)i, up[i][1], down[0]));
    }
    for (int i = 0; i < N; i++) {
        close(up[i][1]);
        assert_int_equal(read(up[i][0], &s[i], sizeof(s[i])), sizeof(s[i]));
        alive[i] = true;
    }
    check_sums(in, s, alive, N);
    for (int i = 0; i < N; i += 2) { /* every other one dies on the spot */
        kill(pid[i], SIGKILL);
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        alive[i] = false;
    }
    assert_int_equal(device_reclaim(in), N / 2);
    check_sums(in, s, alive, N);
    for (int i = 1; i < N; i += 2)
        assert_int_equal(write(down[1], "g", 1), 1);
    for (int i = 0; i < N; i++) {
        if (alive[i]) {
            assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
            assert_int_equal(status, 0);
            alive[i] = false;
        }
        close(up[i][0]);
    }
    close(down[0]);
    close(down[1]);
    check_sums(in, s, alive, N);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* A stopped process that holds the lock: others get a status and its pid, and go on when it does.
 */
static int helper_lock(int argc, char **argv)
{
    struct device_config cfg = {.dir = argv[1]};
    struct device_instance *in = NULL;

    if (device_instance_open(&cfg, &in, NULL) != NRT_SUCCESS || ctl_lock(in, NULL) != NRT_SUCCESS)
        return 1;
    runner_say("locked");
    raise(SIGSTOP);
    ctl_unlock(in);
    runner_say("unlocked");
    device_instance_close(in);
    (void)argc;
    return 0;
}

static void stopped_lock_holder_is_named(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct runner_proc p = {0};
    const char *args[] = {f->dir, NULL};
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 64);
    struct device_extent x;
    struct err err = {0};
    char text[32];

    f->cfg.lock_limit_ms = 300;
    struct device_instance *in = fixture_open(f);
    assert_true(runner_start(&p, "lock", args, NULL));
    assert_true(runner_expect(&p, "locked", RUNNER_WAIT_MS));
    assert_int_equal(device_alloc(in, &a, &x, &err), NRT_TIMEOUT);
    snprintf(text, sizeof(text), "held by pid %d", p.pid);
    assert_non_null(strstr(err.text, text));
    runner_kill(&p, SIGCONT);
    assert_true(runner_expect(&p, "unlocked", RUNNER_WAIT_MS));
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);

    if (runner_emulator_lacks("a stopped lock holder that is killed", RUNNER_NO_ROBUST)) {
        device_instance_close(in);
        fixture_free(f);
        skip();
    }
    /* stopped and then killed: reclaimed at once */
    assert_true(runner_start(&p, "lock", args, NULL));
    assert_true(runner_expect(&p, "locked", RUNNER_WAIT_MS));
    runner_kill(&p, SIGKILL);
    runner_wait(&p, RUNNER_WAIT_MS);
    assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
    audit(in);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* Takes core 0 and some of its memory, and is killed. argv: dir */
static int helper_doomed(int argc, char **argv)
{
    struct device_config cfg = {.dir = argv[1]};
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 1u << 20);
    struct device_instance *in = NULL;
    struct device_extent x;
    char line[16];

    if (device_instance_open(&cfg, &in, NULL) != NRT_SUCCESS ||
        device_cores_claim(in, 0, 1, NULL) != NRT_SUCCESS ||
        device_alloc(in, &a, &x, NULL) != NRT_SUCCESS)
        return 1;
    runner_say("ready");
    runner_hear(line, sizeof(line));
    (void)argc;
    return 0;
}

/* Stopped is a process that a signal holds, not one that waits, nor one that is gone. */
static void a_stopped_process_is_told_from_one_that_waits(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct runner_proc p = {0};

    assert_false(device_slot_stopped(in, device_slot(in)));
    assert_false(device_slot_stopped(in, device_slot(in) + 1)); /* nobody's */
    assert_false(device_slot_stopped(in, UINT32_MAX));
    assert_true(runner_start(&p, "doomed", (const char *[]){f->dir, NULL}, NULL));
    assert_true(runner_expect(&p, "ready", RUNNER_WAIT_MS));
    assert_false(device_slot_stopped(in, 1));
    runner_kill(&p, SIGSTOP);
    assert_int_equal(waitid(P_PID, (id_t)p.pid, &(siginfo_t){0}, WSTOPPED | WNOWAIT), 0);
    assert_true(device_slot_stopped(in, 1));
    runner_kill(&p, SIGCONT);
    assert_int_equal(waitid(P_PID, (id_t)p.pid, &(siginfo_t){0}, WCONTINUED | WNOWAIT), 0);
    assert_false(device_slot_stopped(in, 1));
    runner_kill(&p, SIGKILL);
    runner_wait(&p, RUNNER_WAIT_MS);
    assert_false(device_slot_stopped(in, 1));
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* Stands still while it makes an instance in its folder: so do others that want to make one, and
 * say why after their limit. */
static int helper_maker(int argc, char **argv)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/.opennrt-%u.lock", argv[1], (unsigned)geteuid());
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        return 1;
    runner_say("making");
    raise(SIGSTOP);
    (void)argc;
    return 0;
}

static void stopped_maker_of_an_instance_is_a_timeout(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = NULL;
    struct runner_proc p = {0};
    const char *args[] = {f->dir, NULL};
    struct err err = {0};

    f->cfg.lock_limit_ms = 300;
    assert_true(runner_start(&p, "maker", args, NULL));
    assert_true(runner_expect(&p, "making", RUNNER_WAIT_MS));
    assert_int_equal(device_instance_open(&f->cfg, &in, &err), NRT_TIMEOUT);
    assert_null(in);
    assert_non_null(strstr(err.text, "another process is making an instance and may be stopped"));
    runner_kill(&p, SIGCONT);
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
    device_instance_close(fixture_open(f));
    (void)state;
    fixture_free(f);
}

/* Holds the instance's only HBM, then is a process whose descriptors the kernel has taken away
 * while its slot still lives: the middle of an exit. */
static int helper_leaving(int argc, char **argv)
{
    struct device_config cfg = {.dir = argv[1]};
    struct device_instance *in = NULL;
    char line[16];
    void *p;

    if (device_instance_open(&cfg, &in, NULL) != NRT_SUCCESS ||
        device_map(in, DEVICE_ADDR(0, 0), 1, DEVICE_RW, &p, NULL) != NRT_SUCCESS)
        return 1;
    *(char *)p = 1;
    close(in->hbm[0].fd);
    runner_say("leaving");
    runner_hear(line, sizeof(line));
    _exit(0);
    (void)argc;
}

struct attacher {
    struct device_instance *in;
    NRT_STATUS status;
    char first;
};

static void *attach_run(void *arg)
{
    struct attacher *a = arg;
    void *p;

    a->status = device_map(a->in, DEVICE_ADDR(0, 0), 1, DEVICE_RW, &p, NULL);
    if (a->status == NRT_SUCCESS)
        a->first = *(char *)p;
    return NULL;
}

static void peer_that_exits_is_waited_for(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct runner_proc p = {0};
    const char *args[] = {f->dir, NULL};
    struct attacher a = {0};
    pthread_t t;

    assert_true(runner_start(&p, "leaving", args, NULL));
    assert_true(runner_expect(&p, "leaving", RUNNER_WAIT_MS));
    f->cfg.lock_limit_ms = 100; /* one that stays is told of */
    struct device_instance *in = a.in = fixture_open(f);
    attach_run(&a);
    assert_int_equal(a.status, NRT_FAILURE);
    assert_int_equal(log_tap_find(&f->tap, "cannot open HBM 0 of process"), 1);
    device_instance_close(in);

    f->cfg.lock_limit_ms = 20000;
    in = a.in = fixture_open(f);
    assert_int_equal(pthread_create(&t, NULL, attach_run, &a), 0);
    assert_true(runner_tell(&p, "exit"));
    pthread_join(t, NULL);
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
    assert_int_equal(a.status, NRT_SUCCESS);
    assert_int_equal(a.first, 0); /* new memory: the former went with its last holder */
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

/* ---- a dead process that another one is about to give back ---- */

static void dump_slowly(void *arg, struct device_instance *in, int pid, const uint32_t *cores,
                        unsigned count)
{
    char line[16];

    (void)arg, (void)in, (void)pid, (void)cores, (void)count;
    runner_say("dumping");
    runner_hear(line, sizeof(line));
}

/* Reclaims when told, and its dump takes until it is told again. argv: dir */
static int helper_reaper(int argc, char **argv)
{
    struct device_config cfg = {.dir = argv[1], .on_dead = dump_slowly};
    struct device_instance *in = NULL;
    char line[16];

    if (device_instance_open(&cfg, &in, NULL) != NRT_SUCCESS)
        return 1;
    runner_say("ready");
    runner_hear(line, sizeof(line));
    device_reclaim(in);
    device_instance_close(in);
    (void)argc;
    return 0;
}

struct claimer {
    struct device_instance *in;
    NRT_STATUS status;
};

static void *claim_run(void *arg)
{
    struct claimer *c = arg;

    c->status = device_cores_claim(c->in, 0, 1, NULL);
    return NULL;
}

/* A process holds core 0 and is killed, and p[1] writes its dump. */
static void die_and_be_dumped(struct fixture *f, struct runner_proc p[2])
{
    const char *args[] = {f->dir, NULL};

    assert_true(runner_start(&p[0], "doomed", args, NULL));
    assert_true(runner_expect(&p[0], "ready", RUNNER_WAIT_MS));
    assert_true(runner_start(&p[1], "reaper", args, NULL));
    assert_true(runner_expect(&p[1], "ready", RUNNER_WAIT_MS));
    runner_kill(&p[0], SIGKILL);
    runner_wait(&p[0], RUNNER_WAIT_MS);
    assert_true(runner_tell(&p[1], "reclaim"));
    assert_true(runner_expect(&p[1], "dumping", RUNNER_WAIT_MS));
}

/* The next process on a core works, also while others still write the dump of the one before. */
static void what_others_reclaim_is_waited_for(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in;
    struct runner_proc p[2] = {0};
    char text[96];
    pthread_t thread;

    in = fixture_open(f);
    in->cfg.lock_limit_ms = 300;
    assert_int_equal(device_cores_claim(in, 1, 1, NULL), NRT_SUCCESS);
    die_and_be_dumped(f, p);
    assert_int_equal(device_cores_claim(in, 1, 1, NULL), NRT_RESOURCE); /* of the living, at once */
    assert_int_equal(log_tap_find(&f->tap, "has not given back"), 0);
    assert_int_equal(device_cores_claim(in, 0, 1, NULL), NRT_RESOURCE); /* but not for ever */
    snprintf(text, sizeof(text), "pid %d has not given back what process ", p[1].pid);
    assert_true(log_tap_find(&f->tap, text) > 0);

    struct claimer c = {in, NRT_FAILURE};
    in->cfg.lock_limit_ms = RUNNER_WAIT_MS;
    assert_int_equal(pthread_create(&thread, NULL, claim_run, &c), 0);
    assert_true(runner_tell(&p[1], "go on"));
    pthread_join(thread, NULL);
    assert_int_equal(c.status, NRT_SUCCESS);
    assert_int_equal(used_on(in, 0), 0);
    assert_int_equal(runner_wait(&p[1], RUNNER_WAIT_MS), 0);

    device_cores_release(in);
    die_and_be_dumped(f, p);
    assert_int_equal(pthread_create(&thread, NULL, claim_run, &c), 0);
    runner_kill(&p[1], SIGKILL); /* nobody's dump any more: the claimer reclaims both */
    runner_wait(&p[1], RUNNER_WAIT_MS);
    pthread_join(thread, NULL);
    assert_int_equal(c.status, NRT_SUCCESS);
    assert_int_equal(used_on(in, 0), 0);
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

int main(int argc, char **argv)
{
    static const struct runner_helper helpers[] = {
        {"lock", helper_lock},     {"maker", helper_maker},   {"leaving", helper_leaving},
        {"doomed", helper_doomed}, {"reaper", helper_reaper}, {NULL, NULL}};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share_an_instance),
        cmocka_unit_test(processes_share_an_instance),
        cmocka_unit_test(account_of_many_processes_is_their_sum),
        cmocka_unit_test(stopped_lock_holder_is_named),
        cmocka_unit_test(a_stopped_process_is_told_from_one_that_waits),
        cmocka_unit_test(stopped_maker_of_an_instance_is_a_timeout),
        cmocka_unit_test(peer_that_exits_is_waited_for),
        cmocka_unit_test(what_others_reclaim_is_waited_for),
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    runner_watchdog(280);
    return cmocka_run_group_tests_name("device-shared", tests, NULL, NULL);
}
