/* SPDX-License-Identifier: Apache-2.0 */
/* The queue room: order, independence, depth, failures, who waits for completions, and every state
 * between two others. What a request does here is to note that it was there, or to stand before a
 * gate. docs/spec/api.md 5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fault.h"
#include "proves.h"
#include "queue/queue.h"
#include "runner.h"

#define CORES 3u

struct gate {
    _Atomic int reached, open;
};

static void gate_reach(struct gate *g)
{
    while (!atomic_load(&g->reached))
        sched_yield();
}

/* What a request is to do; dropped and told count what was done with it. */
struct job {
    struct gate *gate;
    bool copies;
    NRT_STATUS status;
    unsigned *seen; /* its number in order of running */
    unsigned *count;
    _Atomic unsigned *dropped, *told;
};

static NRT_STATUS job_run(void *arg)
{
    struct job *j = arg;

    if (j->gate) {
        atomic_store(&j->gate->reached, 1);
        while (!atomic_load(&j->gate->open))
            sched_yield();
    }
    if (j->count)
        *j->seen = ++*j->count;
    return j->status;
}

static void job_drop(void *arg)
{
    struct job *j = arg;

    if (j->dropped)
        atomic_fetch_add(j->dropped, 1);
}

static void job_told(void *arg, uint64_t seq, NRT_STATUS status)
{
    struct job *j = arg;

    (void)seq;
    (void)status;
    atomic_fetch_add(j->told, 1);
}

static const struct queue_ops quiet = {.run = job_run, .drop = job_drop};
static const struct queue_ops telling = {.run = job_run, .drop = job_drop, .told = job_told};

static struct queue_set *s;

static int setup(void **state)
{
    struct queue_config cfg = {.cores = CORES};

    return queue_set_create(&cfg, &s, NULL) == NRT_SUCCESS ? 0 : 1;
}

static int teardown(void **state)
{
    queue_set_stop(s);
    queue_set_destroy(s);
    s = NULL;
    return 0;
}

static NRT_STATUS push(uint32_t core, enum queue_kind kind, unsigned queue, struct job j,
                       struct queue_tracker *t, uint64_t *seq)
{
    struct queue_request r = {.ops = j.told ? &telling : &quiet,
                              .tracker = t,
                              .lasts = j.gate != NULL,
                              .copies = j.copies};

    return queue_push(s, core, kind, queue, &r, &j, sizeof(j), QUEUE_DEPTH, seq, NULL);
}

static bool completed(uint64_t seq)
{
    bool done;

    assert_int_equal(queue_completed(s, seq, &done), NRT_SUCCESS);
    return done;
}

/* ---- numbers ---- */

static void sequences_name_their_unit_and_count_from_one(void **state)
{
    uint64_t seen[CORES * QUEUE_KINDS * 2];
    unsigned n = 0;

    for (uint32_t core = 0; core < CORES; core++)
        for (unsigned k = 0; k < QUEUE_KINDS; k++)
            for (unsigned q = 0; q < queue_count((enum queue_kind)k); q++) {
                uint64_t last, seq;

                assert_int_equal(queue_last(s, core, (enum queue_kind)k, q, &last), NRT_SUCCESS);
                assert_true(last >> 48 != 0);
                assert_int_equal(last & QUEUE_NUM_MAX, 0);
                for (unsigned i = 0; i < n; i++)
                    assert_int_not_equal(seen[i], last >> 48);
                seen[n++] = last >> 48;
                for (uint64_t num = 1; num <= 3; num++) {
                    assert_int_equal(push(core, (enum queue_kind)k, q, (struct job){0}, NULL, &seq),
                                     NRT_SUCCESS);
                    assert_int_equal(seq, last + num);
                }
                queue_drain(s, core, (enum queue_kind)k, q);
                assert_int_equal(queue_last(s, core, (enum queue_kind)k, q, &last), NRT_SUCCESS);
                assert_int_equal(last, seq);
                assert_true(completed(seq));
            }
    assert_int_equal(n, CORES * 8);
}

static void sequences_that_nobody_gave_are_refused(void **state)
{
    uint64_t seq, last;
    bool done = true;

    assert_int_equal(push(1, QUEUE_COMPUTE, 0, (struct job){0}, NULL, &seq), NRT_SUCCESS);
    assert_int_equal(queue_completed(s, 0, &done), NRT_INVALID);
    assert_int_equal(queue_completed(s, seq + 1, &done), NRT_INVALID);
    assert_int_equal(queue_completed(s, seq - 1, &done), NRT_INVALID); /* number 0 */
    assert_int_equal(queue_completed(s, UINT64_MAX, &done), NRT_INVALID);
    for (unsigned low = 0; low < 256; low++) /* every form of a unit, of which 8 a core exist */
        for (uint64_t core = 0; core < 8; core++) {
            uint64_t id = core << 5 | (low & 31);

            if (id != seq >> 48)
                assert_int_equal(queue_completed(s, id << 48 | 1, &done), NRT_INVALID);
        }
    assert_true(done);
    assert_int_equal(queue_last(s, CORES, QUEUE_COMPUTE, 0, &last), NRT_INVALID);
    assert_int_equal(queue_last(s, 0, QUEUE_COMPUTE, 1, &last), NRT_INVALID);
    assert_int_equal(queue_last(s, 0, QUEUE_KINDS, 0, &last), NRT_INVALID);
    assert_int_equal(queue_last(s, 0, QUEUE_TENSOR_OP, 2, &last), NRT_INVALID);
    assert_int_equal(push(CORES, QUEUE_COMPUTE, 0, (struct job){0}, NULL, &seq), NRT_INVALID);
    assert_int_equal(push(0, QUEUE_COMPUTE, 1, (struct job){0}, NULL, &seq), NRT_INVALID);
}

/* ---- order, independence, depth ---- */

static void requests_of_a_queue_run_in_order(void **state)
{
    unsigned seen[500] = {0}, count = 0;
    uint64_t seq;

    for (unsigned i = 0; i < 500; i++) {
        struct job j = {.seen = &seen[i], .count = &count};
        NRT_STATUS status;

        while ((status = push(0, QUEUE_TENSOR_READ, 1, j, NULL, &seq)) == NRT_QUEUE_FULL)
            sched_yield();
        assert_int_equal(status, NRT_SUCCESS);
    }
    queue_drain(s, 0, QUEUE_TENSOR_READ, 1);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(seen[i], i + 1);
}

/* All queues of all cores but one stand before a gate; the one goes on. Each in turn. */
static void a_queue_that_waits_keeps_no_other_waiting(void **state)
{
    for (unsigned free = 0; free < QUEUE_KINDS; free++) {
        struct gate g[QUEUE_KINDS * 2] = {0};
        unsigned count = 0, ran = 0, n = 0;
        uint64_t seq = 0, stuck = 0;

        for (unsigned k = 0; k < QUEUE_KINDS; k++)
            for (unsigned q = 0; q < queue_count((enum queue_kind)k); q++)
                if (k != free || q != 0) {
                    struct job j = {.gate = &g[n]};

                    assert_int_equal(push(0, (enum queue_kind)k, q, j, NULL, &stuck), NRT_SUCCESS);
                    gate_reach(&g[n++]);
                }
        for (unsigned i = 0; i < 200; i++) {
            struct job j = {.seen = &ran, .count = &count};

            assert_int_equal(push(0, (enum queue_kind)free, 0, j, NULL, &seq), NRT_SUCCESS);
            while (!completed(seq))
                sched_yield();
        }
        assert_int_equal(ran, 200);
        assert_false(completed(stuck));
        for (unsigned i = 0; i < n; i++)
            atomic_store(&g[i].open, 1);
        for (unsigned k = 0; k < QUEUE_KINDS; k++)
            for (unsigned q = 0; q < queue_count((enum queue_kind)k); q++)
                queue_drain(s, 0, (enum queue_kind)k, q);
    }
}

/* A core has one thread until two of its units have something lasting at once. */
static void a_core_has_one_thread_until_units_overlap(void **state)
{
    static const char name[] = "nrt-core0";
    struct gate g[2] = {0};
    uint64_t seq[2];

    while (runner_thread_count(name) > 0)
        sched_yield(); /* those of the test before, joined and not yet off the kernel's list */
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){0}, NULL, &seq[0]), NRT_SUCCESS);
        assert_int_equal(push(0, QUEUE_TENSOR_OP, 0, (struct job){0}, NULL, &seq[1]), NRT_SUCCESS);
    }
    queue_drain(s, 0, QUEUE_COMPUTE, 0);
    queue_drain(s, 0, QUEUE_TENSOR_OP, 0);
    assert_int_equal(runner_thread_count(name), 1);
    assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){.gate = &g[0]}, NULL, &seq[0]),
                     NRT_SUCCESS);
    gate_reach(&g[0]);
    assert_int_equal(runner_thread_count(name), 1);
    assert_int_equal(push(0, QUEUE_TENSOR_OP, 0, (struct job){.gate = &g[1]}, NULL, &seq[1]),
                     NRT_SUCCESS);
    gate_reach(&g[1]);
    assert_int_equal(runner_thread_count(name), 2);
    atomic_store(&g[0].open, 1);
    atomic_store(&g[1].open, 1);
    queue_drain(s, 0, QUEUE_COMPUTE, 0);
    queue_drain(s, 0, QUEUE_TENSOR_OP, 0);
}

static bool first_cpus(void *arg, uint32_t core, struct run_cpus *ret)
{
    const unsigned *n = arg;

    (void)core;
    *ret = (struct run_cpus){.bits = {(UINT64_C(1) << *n) - 1}};
    return true;
}

/* A set whose threads are told of so many CPUs, which need not be there. */
static void setup_cpus(unsigned *n)
{
    struct queue_config cfg = {.cores = 1, .cpus = first_cpus, .cpus_arg = n};

    teardown(NULL);
    assert_int_equal(queue_set_create(&cfg, &s, NULL), NRT_SUCCESS);
}

/* Something that may wait, and as many copies as leave no CPU, at least one: then others wait until
 * a copy ends, and no longer. Until then they have threads. */
static void copies_keep_others_waiting_once_they_have_all_cpus(void **state)
{
    static const struct {
        enum queue_kind kind;
        unsigned queue;
    } at[] = {{QUEUE_TENSOR_WRITE, 0}, {QUEUE_TENSOR_WRITE, 1}, {QUEUE_TENSOR_OP, 1}};

    for (unsigned cpus = 1; cpus <= 4; cpus++) {
        struct gate still = {0}, g[3] = {0};
        unsigned copies = cpus > 1 ? cpus - 1 : 1;
        uint64_t seq, behind;

        setup_cpus(&cpus);
        assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){.gate = &still}, NULL, &seq),
                         NRT_SUCCESS);
        gate_reach(&still);
        for (unsigned i = 0; i < copies; i++) {
            struct job j = {.gate = &g[i], .copies = true};

            assert_int_equal(push(0, at[i].kind, at[i].queue, j, NULL, &seq), NRT_SUCCESS);
            gate_reach(&g[i]);
            if (i + 1 < copies) { /* there is a CPU for one more */
                assert_int_equal(push(0, QUEUE_TENSOR_READ, 0, (struct job){0}, NULL, &seq),
                                 NRT_SUCCESS);
                queue_drain(s, 0, QUEUE_TENSOR_READ, 0);
            }
        }
        assert_int_equal(push(0, QUEUE_TENSOR_READ, 0, (struct job){0}, NULL, &behind),
                         NRT_SUCCESS);
        for (unsigned i = 0; i < 50; i++)
            sched_yield();
        assert_false(completed(behind));
        atomic_store(&g[copies - 1].open, 1);
        queue_drain(s, 0, QUEUE_TENSOR_READ, 0);
        for (unsigned i = 0; i < copies; i++)
            atomic_store(&g[i].open, 1);
        atomic_store(&still.open, 1);
        for (unsigned i = 0; i < copies; i++)
            queue_drain(s, 0, at[i].kind, at[i].queue);
        queue_drain(s, 0, QUEUE_COMPUTE, 0);
    }
    (void)state;
}

/* Of two queues of copies and one of others with one thread for all, none is carried out to its end
 * before the others. */
static void queues_of_copies_take_turns(void **state)
{
    unsigned one = 1, count = 0, seen[2][3], other = 0;
    struct gate still = {0}, first = {0}, open = {.open = 1};
    uint64_t seq;

    setup_cpus(&one);
    assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){.gate = &still}, NULL, &seq),
                     NRT_SUCCESS);
    gate_reach(&still);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned q = 0; q < 2; q++) {
            struct job j = {.gate = &open, .copies = true, .seen = &seen[q][i], .count = &count};

            if (i + q == 0)
                j.gate = &first;
            assert_int_equal(push(0, QUEUE_TENSOR_WRITE, q, j, NULL, &seq), NRT_SUCCESS);
            if (i + q == 0)
                gate_reach(&first);
        }
    assert_int_equal(
        push(0, QUEUE_TENSOR_READ, 0, (struct job){.seen = &other, .count = &count}, NULL, &seq),
        NRT_SUCCESS);
    atomic_store(&first.open, 1);
    queue_drain(s, 0, QUEUE_TENSOR_READ, 0);
    for (unsigned q = 0; q < 2; q++)
        queue_drain(s, 0, QUEUE_TENSOR_WRITE, q);
    for (unsigned i = 0; i < 3; i++) {
        assert_in_range(seen[0][i], 1 + 2 * i, 1 + 2 * i + (i > 0));
        assert_int_equal(seen[1][i], seen[0][i] + 1 + (i == 0 && other == 2));
    }
    assert_in_range(other, 2, 3);
    atomic_store(&still.open, 1);
    queue_drain(s, 0, QUEUE_COMPUTE, 0);
    (void)state;
}

static void a_queue_takes_63_requests_and_then_is_full(void **state)
{
    _Atomic unsigned dropped = 0;
    struct gate g = {0};
    uint64_t seq, first, untouched = 77;

    assert_int_equal(push(2, QUEUE_COMPUTE, 0, (struct job){.gate = &g}, NULL, &first),
                     NRT_SUCCESS);
    gate_reach(&g);
    for (unsigned i = 1; i < 63; i++)
        assert_int_equal(push(2, QUEUE_COMPUTE, 0, (struct job){.dropped = &dropped}, NULL, &seq),
                         NRT_SUCCESS);
    assert_int_equal(seq, first + 62);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(
            push(2, QUEUE_COMPUTE, 0, (struct job){.dropped = &dropped}, NULL, &untouched),
            NRT_QUEUE_FULL);
    assert_int_equal(untouched, 77);
    assert_int_equal(atomic_load(&dropped), 0);
    atomic_store(&g.open, 1);
    queue_drain(s, 2, QUEUE_COMPUTE, 0);
    assert_int_equal(atomic_load(&dropped), 62);
    assert_int_equal(push(2, QUEUE_COMPUTE, 0, (struct job){0}, NULL, &seq), NRT_SUCCESS);
    assert_int_equal(seq, first + 63); /* what was refused has no number */
}

/* ---- failures ---- */

static void failures_come_to_their_tracker_in_order(void **state)
{
    struct queue_tracker *t[2] = {queue_tracker_create(0), queue_tracker_create(0)};
    const struct queue_error *list;
    uint64_t seq[300], want = 0;
    size_t count;

    for (unsigned i = 0; i < 300; i++) {
        struct job j = {.status = i % 3 ? NRT_SUCCESS : NRT_EXEC_OOB};

        while (push(0, QUEUE_COMPUTE, 0, j, t[i % 2], &seq[i]) == NRT_QUEUE_FULL)
            sched_yield();
    }
    queue_drain(s, 0, QUEUE_COMPUTE, 0);
    for (unsigned k = 0; k < 2; k++) {
        assert_int_equal(queue_tracker_list(t[k], &list, &count), NRT_SUCCESS);
        assert_int_equal(count, 50);
        want = 0;
        for (unsigned i = k; i < 300; i += 2)
            if (i % 3 == 0) {
                assert_int_equal(list[want].seq, seq[i]);
                assert_int_equal(list[want].status, NRT_EXEC_OOB);
                want++;
            }
        assert_int_equal(want, 50);
        assert_int_equal(queue_tracker_list(t[k], &list, &count), NRT_SUCCESS);
        assert_int_equal(count, 50); /* reading takes nothing away */
    }
    queue_tracker_unref(t[0]);
    queue_tracker_unref(t[1]);
}

/* A failure can be read as soon as the completion can be seen. */
static void a_failure_is_there_before_the_completion(void **state)
{
    struct queue_tracker *t = queue_tracker_create(0);
    const struct queue_error *list;
    size_t count;
    uint64_t seq;

    for (unsigned i = 1; i <= 200; i++) {
        assert_int_equal(push(0, QUEUE_TENSOR_OP, 0, (struct job){.status = NRT_INVALID}, t, &seq),
                         NRT_SUCCESS);
        while (!completed(seq))
            ;
        assert_int_equal(queue_tracker_list(t, &list, &count), NRT_SUCCESS);
        assert_int_equal(count, i);
        assert_int_equal(list[i - 1].seq, seq);
    }
    queue_tracker_unref(t);
}

static void only_failures_of_state_end_a_unit(void **state)
{
    static const NRT_STATUS final[] = {NRT_TIMEOUT,
                                       NRT_HW_ERROR,
                                       NRT_EXEC_HW_ERR_COLLECTIVES,
                                       NRT_EXEC_HW_ERR_HBM_UE,
                                       NRT_EXEC_HW_ERR_NC_UE,
                                       NRT_EXEC_HW_ERR_DMA_ABORT,
                                       NRT_EXEC_SW_NQ_OVERFLOW,
                                       NRT_EXEC_HW_ERR_REPAIRABLE_HBM_UE,
                                       NRT_NETWORK_PROXY_FAILURE};
    static const NRT_STATUS other[] = {NRT_FAILURE,
                                       NRT_INVALID,
                                       NRT_RESOURCE,
                                       NRT_EXEC_BAD_INPUT,
                                       NRT_EXEC_OOB,
                                       NRT_EXEC_COMPLETED_WITH_NUM_ERR,
                                       NRT_EXEC_COMPLETED_WITH_ERR};
    uint64_t seq;

    for (unsigned i = 0; i < sizeof(final) / sizeof(final[0]); i++) {
        struct queue_tracker *t = queue_tracker_create(0);
        _Atomic unsigned dropped = 0;
        const struct queue_error *list;
        unsigned ran = 0, count = 0;
        struct gate g = {0};
        size_t errors;

        assert_int_equal(
            push(0, QUEUE_COMPUTE, 0, (struct job){.gate = &g, .status = final[i]}, t, &seq),
            NRT_SUCCESS);
        for (unsigned k = 0; k < 5; k++)
            assert_int_equal(push(0, QUEUE_COMPUTE, 0,
                                  (struct job){.seen = &ran, .count = &count, .dropped = &dropped},
                                  t, &seq),
                             NRT_SUCCESS);
        atomic_store(&g.open, 1);
        while (!completed(seq))
            sched_yield();
        assert_int_equal(count, 0); /* none of those behind it was carried out */
        assert_int_equal(atomic_load(&dropped), 5);
        assert_int_equal(queue_tracker_list(t, &list, &errors), NRT_SUCCESS);
        assert_int_equal(errors, 6);
        assert_int_equal(list[0].status, final[i]);
        for (unsigned k = 1; k < 6; k++)
            assert_int_equal(list[k].status, NRT_EXEC_UNIT_UNRECOVERABLE);
        assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){0}, t, &seq),
                         NRT_EXEC_UNIT_UNRECOVERABLE);
        /* the other units of the core, and the unit of another core, go on */
        assert_int_equal(push(0, QUEUE_TENSOR_READ, 0, (struct job){0}, t, &seq), NRT_SUCCESS);
        assert_int_equal(push(1, QUEUE_COMPUTE, 0, (struct job){0}, t, &seq), NRT_SUCCESS);
        teardown(NULL);
        queue_tracker_unref(t);
        setup(NULL);
        assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){0}, NULL, &seq), NRT_SUCCESS);
    }
    for (unsigned i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){.status = other[i]}, NULL, &seq),
                         NRT_SUCCESS);
        queue_drain(s, 0, QUEUE_COMPUTE, 0);
    }
    assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){0}, NULL, &seq), NRT_SUCCESS);
}

static void a_tracker_lives_as_long_as_its_requests(void **state)
{
    struct queue_tracker *t = queue_tracker_create(2);
    struct gate g = {0};
    uint64_t seq;

    assert_int_equal(queue_tracker_core(t), 2);
    assert_int_equal(
        push(2, QUEUE_COMPUTE, 0, (struct job){.gate = &g, .status = NRT_INVALID}, t, &seq),
        NRT_SUCCESS);
    queue_tracker_unref(t);
    atomic_store(&g.open, 1);
    queue_drain(s, 2, QUEUE_COMPUTE, 0); /* the sanitizers see a use after free, and a leak */
}

/* ---- completion handles ---- */

static bool ready_by_poll(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

static bool ready_by_select(int fd)
{
    struct timeval none = {0};
    fd_set set;

    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, &set, NULL, NULL, &none) == 1 && FD_ISSET(fd, &set);
}

static bool ready_by_epoll(int fd, int timeout)
{
    struct epoll_event ev = {.events = EPOLLIN};
    int ep = epoll_create1(EPOLL_CLOEXEC), n;

    assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
    n = epoll_wait(ep, &ev, 1, timeout);
    close(ep);
    return n == 1;
}

static void handles_tell_poll_select_and_epoll(void **state)
{
    unsigned fds;
    struct gate g = {0};
    uint64_t seq;
    int fd[3], early, bad = -7;

    assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){0}, NULL, &seq), NRT_SUCCESS);
    queue_drain(s, 0, QUEUE_COMPUTE, 0);
    fds = runner_open_fds();
    assert_int_equal(queue_notice_fd(s, seq, &early, NULL), NRT_SUCCESS);
    assert_true(ready_by_poll(early)); /* it was complete already */
    assert_true(ready_by_select(early));
    assert_true(ready_by_epoll(early, 0));
    close(early);
    assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){.gate = &g}, NULL, &seq), NRT_SUCCESS);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(queue_notice_fd(s, seq, &fd[i], NULL), NRT_SUCCESS);
        assert_false(ready_by_poll(fd[i]));
        assert_false(ready_by_select(fd[i]));
        assert_false(ready_by_epoll(fd[i], 0));
    }
    close(fd[1]); /* the caller has lost interest */
    atomic_store(&g.open, 1);
    assert_true(ready_by_epoll(fd[0], -1)); /* blocks until it is told */
    assert_true(ready_by_epoll(fd[2], -1));
    assert_true(completed(seq));
    assert_true(ready_by_poll(fd[0])); /* and stays so */
    assert_true(ready_by_poll(fd[0]));
    close(fd[0]);
    close(fd[2]);
    queue_drain(s, 0, QUEUE_COMPUTE, 0);
    assert_int_equal(runner_open_fds(), fds);
    assert_int_equal(queue_notice_fd(s, seq + 1, &bad, NULL), NRT_INVALID);
    assert_int_equal(bad, -7);
}

/* A handle is asked for while the request is being completed, again and again. */
static void handles_never_miss(void **state)
{
    unsigned fds = 0;

    for (unsigned i = 0; i < 3000; i++) {
        struct pollfd p = {.events = POLLIN};
        uint64_t seq;

        assert_int_equal(push(i % CORES, QUEUE_TENSOR_WRITE, i % 2, (struct job){0}, NULL, &seq),
                         NRT_SUCCESS);
        assert_int_equal(queue_notice_fd(s, seq, &p.fd, NULL), NRT_SUCCESS);
        assert_int_equal(poll(&p, 1, RUNNER_WAIT_MS), 1);
        assert_true(completed(seq));
        close(p.fd);
        if (i == 9) {
            for (unsigned k = 0; k < CORES * 2; k++)
                queue_drain(s, k / 2, QUEUE_TENSOR_WRITE, k % 2);
            fds = runner_open_fds();
        }
    }
    for (unsigned k = 0; k < CORES * 2; k++)
        queue_drain(s, k / 2, QUEUE_TENSOR_WRITE, k % 2);
    assert_int_equal(runner_open_fds(), fds);
}

/* ---- the end ---- */

static void stopping_carries_out_what_is_there(void **state)
{
    unsigned fds = runner_open_fds();
    _Atomic unsigned dropped = 0, told = 0;
    struct gate g = {0};
    uint64_t seq;
    int fd;

    assert_int_equal(push(1, QUEUE_COMPUTE, 0, (struct job){.gate = &g}, NULL, &seq), NRT_SUCCESS);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(
            push(1, QUEUE_COMPUTE, 0, (struct job){.dropped = &dropped, .told = &told}, NULL, &seq),
            NRT_SUCCESS);
    assert_int_equal(queue_notice_fd(s, seq, &fd, NULL), NRT_SUCCESS);
    atomic_store(&g.open, 1);
    queue_set_stop(s);
    assert_int_equal(atomic_load(&dropped), 40);
    assert_int_equal(atomic_load(&told), 40);
    assert_true(ready_by_poll(fd));
    close(fd);
    assert_int_equal(runner_open_fds(), fds);
    assert_int_equal(push(1, QUEUE_COMPUTE, 0, (struct job){0}, NULL, &seq), NRT_CLOSED);
    assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){0}, NULL, &seq), NRT_CLOSED);
}

struct stopper {
    _Atomic int go;
    _Atomic unsigned accepted;
    _Atomic unsigned *dropped;
};

static void *pushes_until_closed(void *arg)
{
    struct stopper *p = arg;
    NRT_STATUS status;
    uint64_t seq;

    do {
        status = push(0, QUEUE_COMPUTE, 0, (struct job){.dropped = p->dropped}, NULL, &seq);
        if (status == NRT_SUCCESS) {
            atomic_fetch_add(&p->accepted, 1);
            atomic_store(&p->go, 1);
        }
    } while (status != NRT_CLOSED);
    return NULL;
}

/* What a caller puts in while the end comes is carried out or refused. */
static void stopping_meets_callers(void **state)
{
    for (unsigned round = 0; round < 30; round++) {
        _Atomic unsigned dropped = 0;
        struct stopper p = {.dropped = &dropped};
        pthread_t t[3];

        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(pthread_create(&t[i], NULL, pushes_until_closed, &p), 0);
        while (!atomic_load(&p.go))
            sched_yield();
        queue_set_stop(s);
        for (unsigned i = 0; i < 3; i++)
            pthread_join(t[i], NULL);
        assert_int_equal(atomic_load(&dropped), atomic_load(&p.accepted));
        queue_set_destroy(s);
        setup(NULL);
    }
}

/* Our threads leave the program's signals to the program. */
static NRT_STATUS mask_run(void *arg)
{
    sigset_t *set = *(sigset_t **)arg;

    pthread_sigmask(SIG_SETMASK, NULL, set);
    return NRT_SUCCESS;
}

static void mask_drop(void *arg)
{
    (void)arg;
}

static void threads_of_ours_block_signals(void **state)
{
    static const struct queue_ops ops = {.run = mask_run, .drop = mask_drop};
    struct queue_request r = {.ops = &ops};
    sigset_t set, *to = &set;
    uint64_t seq;

    assert_int_equal(queue_push(s, 0, QUEUE_COMPUTE, 0, &r, &to, sizeof(to), 63, &seq, NULL),
                     NRT_SUCCESS);
    queue_drain(s, 0, QUEUE_COMPUTE, 0);
    assert_true(sigismember(&set, SIGINT) && sigismember(&set, SIGUSR1) &&
                sigismember(&set, SIGSEGV) && sigismember(&set, SIGALRM));
}

/* What a thread has waited for is complete, and its descriptor readable. */
static void what_was_drained_is_complete(void **state)
{
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t seq;
        int fd;

        assert_int_equal(push(0, QUEUE_COMPUTE, 0, (struct job){0}, NULL, &seq), NRT_SUCCESS);
        assert_int_equal(queue_notice_fd(s, seq, &fd, NULL), NRT_SUCCESS);
        queue_drain(s, 0, QUEUE_COMPUTE, 0);
        assert_true(completed(seq));
        assert_true(ready_by_poll(fd));
        close(fd);
    }
    (void)state;
}

/* ---- faults ---- */

/* What every call of the room does once, on two units, one of which waits for the other. */
static NRT_STATUS tour(bool *ret_ran)
{
    struct queue_tracker *t = queue_tracker_create(0);
    _Atomic unsigned told = 0;
    const struct queue_error *list;
    struct gate g = {0};
    uint64_t seq[3];
    size_t errors;
    NRT_STATUS status;
    int fd = -1;

    *ret_ran = false;
    if (!t)
        return NRT_RESOURCE;
    status =
        push(0, QUEUE_COLLECTIVES, 0, (struct job){.gate = &g, .status = NRT_INVALID}, t, &seq[0]);
    if (status != NRT_SUCCESS)
        goto out;
    status = queue_notice_fd(s, seq[0], &fd, NULL);
    if (status == NRT_SUCCESS)
        status = push(0, QUEUE_TENSOR_READ, 0, (struct job){.told = &told}, t, &seq[1]);
    if (status == NRT_SUCCESS)
        status = push(0, QUEUE_TENSOR_READ, 0, (struct job){.told = &told}, t, &seq[2]);
    atomic_store(&g.open, 1);
    queue_drain(s, 0, QUEUE_TENSOR_READ, 0);
    queue_drain(s, 0, QUEUE_COLLECTIVES, 0);
    if (status != NRT_SUCCESS)
        goto out;
    *ret_ran = atomic_load(&told) == 2 && completed(seq[2]) && ready_by_poll(fd);
    status = queue_tracker_list(t, &list, &errors);
    if (status == NRT_SUCCESS)
        *ret_ran = *ret_ran && errors == 1 && list[0].seq == seq[0];
out:
    if (fd >= 0)
        close(fd);
    queue_tracker_unref(t);
    return status;
}

/* Each point fails, or stops its thread, at each of its hits. */
static void every_transition_survives_faults(void **state)
{
    static const enum fault_point points[] = {FAULT_ALLOC, FAULT_FILE, FAULT_THREAD, FAULT_QUEUE};
    unsigned fds = runner_open_fds();

    for (unsigned p = 0; p < sizeof(points) / sizeof(points[0]); p++) {
        uint64_t hits, refused = 0;
        bool ran;

        teardown(NULL);
        fault_count_start();
        setup(NULL);
        assert_int_equal(tour(&ran), NRT_SUCCESS);
        assert_true(ran);
        teardown(NULL);
        hits = fault_count(points[p]);
        fault_disarm();
        assert_true(hits > 0);
        for (uint64_t n = 1; n <= hits; n++) {
            struct queue_config cfg = {.cores = CORES};
            NRT_STATUS status;

            fault_arm(points[p], n);
            status = queue_set_create(&cfg, &s, NULL);
            if (status == NRT_SUCCESS)
                status = tour(&ran);
            fault_disarm();
            if (status != NRT_SUCCESS)
                refused++;
            else
                assert_true(ran);
            assert_true(status == NRT_SUCCESS || status == NRT_RESOURCE);
            if (s) { /* and it works afterwards */
                assert_int_equal(tour(&ran), NRT_SUCCESS);
                assert_true(ran);
            }
            teardown(NULL);
            assert_int_equal(runner_open_fds(), fds);
        }
        if (points[p] == FAULT_QUEUE)
            assert_int_equal(refused, 0);
        else
            assert_true(refused > 0);
        setup(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sequences_name_their_unit_and_count_from_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(sequences_that_nobody_gave_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(requests_of_a_queue_run_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_queue_that_waits_keeps_no_other_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(a_core_has_one_thread_until_units_overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(copies_keep_others_waiting_once_they_have_all_cpus, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(queues_of_copies_take_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(a_queue_takes_63_requests_and_then_is_full, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(failures_come_to_their_tracker_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_is_there_before_the_completion, setup, teardown),
        cmocka_unit_test_setup_teardown(only_failures_of_state_end_a_unit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tracker_lives_as_long_as_its_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(handles_tell_poll_select_and_epoll, setup, teardown),
        cmocka_unit_test_setup_teardown(handles_never_miss, setup, teardown),
        cmocka_unit_test_setup_teardown(stopping_carries_out_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(stopping_meets_callers, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_drained_is_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_of_ours_block_signals, setup, teardown),
        cmocka_unit_test_setup_teardown(every_transition_survives_faults, setup, teardown),
    };

    runner_watchdog(100);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
