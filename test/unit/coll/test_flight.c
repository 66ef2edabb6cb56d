/* SPDX-License-Identifier: Apache-2.0 */
/* The flight recorder: what it says of operations that ended, and what it leaves when a rank is
 * killed, or stops. docs/modules/coll.md, "The flight recorder". */
#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cases.h"
#include "coll/coll_int.h"
#include "device/flight.h"
#include "runner.h"

static char dir[64];

static const struct op_case ring_reduce = {
    .op = SCHED_ALL_REDUCE, .alg = SCHED_RING, .dtype = DT_FP32, .tensors = 1, .counts = {5000}};

static const struct device_flights *flights_of(struct rank *r)
{
    return &device_live(r->in, r->core)->flights;
}

/* ---- operations that ended ---- */

#define OPERATIONS 50u /* more than are kept */

static const char *ended_body(struct rank *r)
{
    struct device_flight_view v, last = {0};
    struct case_kit k;
    struct err err = {0};
    unsigned back;

    if (device_flight_read(flights_of(r), 0, &v))
        return "a record before the first operation";
    if (case_open(r, &k, &ring_reduce, &err))
        return "the plan was not made";
    for (unsigned i = 0; i < OPERATIONS; i++)
        if (case_run_once(r, &k, i, &err))
            return "an operation failed";
    for (back = 0; device_flight_read(flights_of(r), back, &v); back++) {
        if (v.seq != OPERATIONS - back || v.number != v.seq)
            return "not the sequence numbers";
        if (v.op != SCHED_ALL_REDUCE || v.alg != SCHED_RING || v.variant != SCHED_STAGED ||
            v.dtype != DT_FP32 || v.bytes != 20000)
            return "not what was done";
        if (v.me != r->me || v.n != r->n || v.members != r->n || v.member[v.me] != r->me)
            return "not the group";
        if (!v.over || v.status != NRT_SUCCESS || v.waits || v.steps != v.total ||
            v.total != coll_plan_steps(k.plan))
            return "not how it ended";
        if (v.age_ns < v.lasted_ns || (back > 0 && v.age_ns < last.age_ns))
            return "not when";
        last = v;
    }
    case_close(&k);
    return back == DEVICE_FLIGHTS ? NULL : "not as many as are kept";
}

static void operations_that_ended(void **state)
{
    const char *text = ranks_run(RANKS_PROCESSES, 3, 120000, ended_body, NULL);

    if (text)
        fail_msg("%s", text);
    text = ranks_run(RANKS_THREADS, 2, 120000, ended_body, NULL);
    if (text)
        fail_msg("%s", text);
}

/* ---- since when ---- */

/* Stays on one CPU, since the ticks of two may differ. *ret: where it may run. */
static bool stays(struct run_cpus *ret)
{
    unsigned cpu = run_cpu_now();
    struct run_cpus one = {0};

    run_cpus_mine(ret);
    one.bits[cpu / 64] = UINT64_C(1) << cpu % 64;
    return run_thread_pin(pthread_self(), &one);
}

/* Rank 0 says that it waits since the moment at which it first found that it must, between two
 * looks at the clock, and says the same when it finds that again. The others come only then. */
static const char *since_body(struct rank *r)
{
    const struct device_flights *log = flights_of(r);
    uint64_t before, first, again;
    struct device_flight_view v;
    struct case_kit k;
    struct err err = {0};
    struct run_cpus cpus;
    const char *bad = NULL;
    char text[DEVICE_FLIGHT_TEXT];

    if (case_open(r, &k, &ring_reduce, &err))
        return "the plan was not made";
    if (r->me == 0) {
        if (!stays(&cpus))
            return "it cannot stay on its CPU";
        if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
            return "the operation did not begin";
        while (coll_progress(r->comm, 1) == COLL_MOVED) {
        }
        before = device_flight_tick();
        (void)coll_doze(&r->comm, 1, 0);
        first = atomic_load(&log->flight[0].since);
        if (first < before || first > device_flight_tick())
            bad = "not since it found that it must wait";
        (void)coll_doze(&r->comm, 1, 0);
        again = atomic_load(&log->flight[0].since);
        if (again != first)
            bad = "it has not moved, and says that it waits since later";
        if (!device_flight_read(log, 0, &v) || !v.waits || v.waited_ns == 0 ||
            v.waited_ns > v.lasted_ns)
            bad = "the record does not say how long it waits";
        (void)run_thread_pin(pthread_self(), &cpus);
        device_flight_text(&v, text, sizeof(text));
        if (!strstr(text, ", waits for ") || !strstr(text, ", for "))
            bad = "the text does not say how long it waits";
        v.waited_ns = 0;
        device_flight_text(&v, text, sizeof(text));
        if (!strstr(text, ", waits for ") || strstr(text, ", for "))
            bad = "the text says how long it waits, which is not known";
    }
    ranks_barrier(r);
    if (r->me != 0 && coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
        bad = "the operation did not begin";
    if (coll_wait(r->comm, &err))
        bad = "the operation failed";
    if (!device_flight_read(log, 0, &v) || v.waits || v.waited_ns != 0)
        bad = "the record of one that has ended waits";
    ranks_barrier(r);
    case_close(&k);
    return bad;
}

/* A look in between is no step; after a step a rank waits anew. */
static void a_wait_after_a_step_begins_anew(void **state)
{
    static struct device_flights log;
    struct device_flight_group g = {.log = &log, .n = 2, .members = 2, .member = {0, 1}};
    struct device_flight_at at = device_flight_begin(&g, 1, 0, 64, 34);
    uint64_t wait = device_flight_wait(SCHED_SEM_RECV, 1), first;

    device_flight_stand(&at, 5, wait);
    first = atomic_load(&at.f->since);
    while (device_flight_tick() == first) {
    }
    device_flight_stand(&at, 5, 0);
    device_flight_stand(&at, 5, wait);
    assert_true(atomic_load(&at.f->since) == first);
    device_flight_stand(&at, 7, 0);
    device_flight_stand(&at, 7, wait);
    assert_true(atomic_load(&at.f->since) > first);
    (void)state;
}

static void since_when_a_rank_waits(void **state)
{
    const char *text = ranks_run(RANKS_THREADS, 3, 120000, since_body, NULL);

    if (text)
        fail_msg("%s", text);
}

/* ---- files ---- */

static char *file_of(unsigned rank)
{
    static char text[65536];
    char part[32], path[512];
    struct dirent *e;
    unsigned found = 0;
    DIR *d = opendir(dir);
    FILE *f;

    assert_non_null(d);
    snprintf(part, sizeof(part), "-rank-%u-", rank);
    while ((e = readdir(d))) {
        if (!strstr(e->d_name, part))
            continue;
        found++;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
    }
    closedir(d);
    if (found != 1)
        fail_msg("%u files of rank %u", found, rank);
    f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    unlink(path);
    return text;
}

static void file_says(unsigned rank, const char *what)
{
    char *text = file_of(rank);

    for (; *what; what += strlen(what) + 1)
        if (!strstr(text, what))
            fail_msg("the file of rank %u has no \"%s\":\n%s", rank, what, text);
}

static const char *killed_body(struct rank *r)
{
    struct case_kit k;
    struct err err = {0};

    if (case_open(r, &k, &ring_reduce, &err))
        return "the plan was not made";
    for (unsigned i = 1; i <= 7; i++) {
        if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
            break;
        if (r->me == 1 && i == 7) {
            (void)coll_progress(r->comm, 3);
            ranks_die(r);
        }
        if (coll_wait(r->comm, &err))
            break;
    }
    case_close(&k);
    return err.status == NRT_EXEC_HW_ERR_COLLECTIVES ? NULL : "not the documented status";
}

/* The first file that was made in the folder since it is watched. */
static void first_file(int watch, char name[NAME_MAX + 1])
{
    _Alignas(struct inotify_event) char events[4096];
    const struct inotify_event *e = (const struct inotify_event *)events;

    assert_true(read(watch, events, sizeof(events)) > 0);
    assert_true(e->len > 0);
    snprintf(name, NAME_MAX + 1, "%.*s", NAME_MAX, e->name);
}

/* The dead one's file is written by a survivor, from what it had recorded, and before all others:
 * whoever looks into the folder first finds whom the failure is about. */
static void of_a_killed_rank(void **state)
{
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    char name[NAME_MAX + 1];
    const char *text;

    assert_int_equal(mkdir(dir, 0700), 0);
    assert_true(watch >= 0 && inotify_add_watch(watch, dir, IN_CREATE | IN_MOVED_TO) >= 0);
    text = ranks_run(RANKS_PROCESSES, 3, 120000, killed_body, NULL);
    if (text)
        fail_msg("%s", text);
    first_file(watch, name);
    close(watch);
    if (!strstr(name, "-rank-1-"))
        fail_msg("%s is the first file", name);
    file_says(1, "rank 1, core 2 of instance node0\0"
                 "for one that is gone or stands still\0"
                 "failure: \0"
                 "#7 all_reduce by ring (staged) of 20000 bytes float32\0"
                 "member 1 of 3 (0,1,2): has run for \0"
                 "#6 all_reduce by ring\0"
                 "ended after \0");
    file_says(0, "rank 0, core 0\0#7 all_reduce by ring\0failed after \0because of rank 1\0");
    file_says(2, "rank 2, core 4\0#7 all_reduce by ring\0failed after \0because of rank 1\0");
    assert_int_equal(rmdir(dir), 0); /* no other file */
}

/* Rank 1 stands still; rank 0 gives up on it, which rank 2 is told, and they write its file, too;
 * then it goes on and finds that it has failed. */
static const char *stopped_body(struct rank *r)
{
    _Atomic uint64_t *shared = ranks_shared(r);
    struct case_kit k;
    struct err err = {0};
    NRT_STATUS st;

    if (case_open(r, &k, &ring_reduce, &err))
        return "the plan was not made";
    if (coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err))
        return "nothing has begun";
    if (r->me == 1) {
        (void)coll_progress(r->comm, 3);
        shared[1] = (uint64_t)getpid();
        raise(SIGSTOP);
    }
    while (r->me == 0 && (!shared[1] || !device_slot_stopped(r->in, r->comm->peers[1].slot)))
        sched_yield();
    if (r->me == 0)
        ranks_out(r, 1);
    if (r->me != 1)
        ranks_limit(r, r->me == 0 ? 5 : 1000000);
    st = coll_wait(r->comm, &err);
    if (r->me != 1 && ++shared[0] == r->n - 1)
        kill((pid_t)shared[1], SIGCONT);
    case_close(&k);
    return st == NRT_EXEC_HW_ERR_COLLECTIVES ? NULL : "not the documented status";
}

static void of_a_stopped_rank(void **state)
{
    const char *text = ranks_run(RANKS_PROCESSES, 3, 3600000, stopped_body, NULL);

    if (text)
        fail_msg("%s", text);
    file_says(1, "for one that is gone or stands still\0#1 all_reduce by ring\0has run for \0");
    file_says(0, "failed after \0waits for \0because of rank 1\0");
    file_says(2, "failed after \0because of rank 1\0");
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_that_ended),
        cmocka_unit_test(a_wait_after_a_step_begins_anew),
        cmocka_unit_test(since_when_a_rank_waits),
        cmocka_unit_test(of_a_killed_rank),
        cmocka_unit_test(of_a_stopped_rank),
    };

    if (!ranks_have_emulator_room())
        return RUNNER_SKIP;
    snprintf(dir, sizeof(dir), "/tmp/opennrt-flight-%d", (int)getpid());
    ranks_flight_dir = dir;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
