/* SPDX-License-Identifier: Apache-2.0 */
/* A tour of the collectives that the host drives, on which each fault point fails at each of its
 * hits, or stops its thread between two states of a queue. What fails says so with a documented
 * status, in the call or in the tracker; the same operation then works in the same session, and
 * nothing stays open. The points that fail are met by a world of one rank, since another one would
 * wait for it for half a minute; the stops by two. docs/spec/api.md 5. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "async_held.h"
#include "base/fault.h"
#include "coll_ranks.h"
#include "driven_world.h"
#include "fault_tour.h"
#include "models.h"

#define RANKS_MAX 2u

/* The operation of every rank, scheduled and completed. The status of the first call that failed,
 * or of the last request, which *ret_began (may be NULL) tells apart. A result that is wrong ends
 * the test. */
static NRT_STATUS tour(unsigned ranks, struct driven_run *r, bool *ret_began)
{
    nrta_error_tracker_t *t[RANKS_MAX] = {NULL};
    NRT_STATUS status = driven_join(ranks);
    unsigned scheduled = 0;

    for (unsigned i = 0; i < ranks && status == NRT_SUCCESS; i++)
        status = nrta_error_tracker_create(i, &t[i]);
    for (unsigned i = 0; i < ranks && status == NRT_SUCCESS; i++) {
        nrt_cc_context_t *ctx = NULL;

        status = driven_prepare(&r[i], &ctx);
        if (status == NRT_SUCCESS)
            status = nrta_cc_schedule(&ctx, 0, t[i], &r[i].seq);
        scheduled += status == NRT_SUCCESS;
    }
    for (unsigned i = 0; i < scheduled; i++) {
        bool done = false;

        while (!done) { /* a descriptor may be what fails */
            assert_ok(nrta_is_completed(r[i].seq, &done));
            if (!done)
                sched_yield();
        }
    }
    if (ret_began)
        *ret_began = scheduled > 0;
    fault_disarm(); /* what looks at the outcome needs memory, too */
    for (unsigned i = 0; i < scheduled; i++) {
        nrta_seq_t seq;

        if (async_errors(t[i]) > 0) {
            assert_int_equal(async_errors(t[i]), 1);
            status = (NRT_STATUS)async_error(t[i], 0, &seq);
            assert_int_equal(seq, r[i].seq);
        } else if (driven_compare(&r[i])) {
            fail_msg("%s", driven_compare(&r[i]));
        }
    }
    for (unsigned i = 0; i < ranks; i++)
        nrta_error_tracker_destroy(t[i]);
    return status;
}

/* A session of that many ranks, with the tensors of one all_reduce, or one of the others. */
struct tour_session {
    struct driven_case c;
    struct driven_run r[RANKS_MAX];
};

static void tour_begin(struct tour_session *s, unsigned ranks, unsigned op)
{
    static const nrt_cc_op_type_t ops[] = {NRT_CC_ALLREDUCE, NRT_CC_ALLGATHER,
                                           NRT_CC_REDUCESCATTER};

    s->c = (struct driven_case){.seed = 1 + op,
                                .ranks = ranks,
                                .cc_op = ops[op],
                                .dtype = DT_FP32,
                                .op = NRT_OP_ADD,
                                .elems = 300,
                                .n = ranks};
    for (unsigned i = 0; i < ranks; i++)
        s->c.group[i] = i;
    coll_session(ranks);
    for (unsigned i = 0; i < ranks; i++)
        driven_make(&s->r[i], &s->c, i, i);
}

static void tensors_renew(struct tour_session *s, unsigned ranks)
{
    for (unsigned i = 0; i < ranks; i++) {
        driven_free(&s->r[i]);
        driven_make(&s->r[i], &s->c, i, i);
    }
}

static void tour_end(struct tour_session *s, unsigned ranks)
{
    for (unsigned i = 0; i < ranks; i++)
        driven_free(&s->r[i]);
    nrt_close();
}

static uint64_t hits_of(enum fault_point p, unsigned ranks, unsigned op)
{
    struct tour_session s;
    uint64_t hits;

    tour_begin(&s, ranks, op);
    fault_count_start();
    assert_ok(driven_join(ranks)); /* tour ends the count before it looks at the outcome */
    hits = fault_count(p);
    fault_disarm();
    fault_count_start();
    {
        nrta_error_tracker_t *t;

        for (unsigned i = 0; i < ranks; i++) {
            assert_ok(nrta_error_tracker_create(i, &t));
            driven_schedule(&s.r[i], t);
            nrta_error_tracker_destroy(t);
        }
        for (unsigned i = 0; i < ranks; i++)
            async_finish(s.r[i].seq);
    }
    hits += fault_count(p);
    fault_disarm();
    tour_end(&s, ranks);
    return hits;
}

static bool may_be(NRT_STATUS status)
{
    return status == NRT_SUCCESS || status == NRT_RESOURCE || status == NRT_FAILURE ||
           status == NRT_INVALID || status == NRT_TIMEOUT;
}

/* Ends the test unless the status may be. */
static void need(bool good, const char *what, const char *name, uint64_t hit, NRT_STATUS status)
{
    if (!good)
        fail_msg("%s %llu: %s gives %d\n%s", name, (unsigned long long)hit, what, (int)status,
                 api_log());
}

static void one_hit(enum fault_point p, const char *name, uint64_t hit, unsigned ranks, unsigned op,
                    unsigned *failed)
{
    struct tour_session s;
    NRT_STATUS first, next;
    bool began;

    tour_begin(&s, ranks, op);
    fault_arm(p, hit);
    first = tour(ranks, s.r, &began);
    fault_disarm();
    need(p == FAULT_QUEUE ? first == NRT_SUCCESS : may_be(first), "the tour", name, hit, first);
    *failed += first != NRT_SUCCESS;
    tensors_renew(&s, ranks); /* nothing right is in them any more */
    next = tour(ranks, s.r, NULL);
    /* An operation that had begun has broken its communicator, for all its members; a timeout has
     * ended the queue. */
    need(next == NRT_SUCCESS ||
             (began && next == (first == NRT_TIMEOUT ? NRT_EXEC_UNIT_UNRECOVERABLE
                                                     : NRT_EXEC_HW_ERR_COLLECTIVES)),
         "the next", name, hit, next);
    tour_end(&s, ranks);
    if (next != NRT_SUCCESS) {
        tour_begin(&s, ranks, op);
        next = tour(ranks, s.r, NULL);
        need(next == NRT_SUCCESS, "the next session", name, hit, next);
        tour_end(&s, ranks);
    }
    api_log_clear();
}

/* Every hit of the point, in each of the three operations. */
static void tours(enum fault_point p, const char *name, unsigned ranks)
{
    for (unsigned op = 0; op < 3; op++) {
        uint64_t hits = hits_of(p, ranks, op);
        unsigned fds = runner_open_fds(), failed = 0;

        assert_true(hits > 0);
        for (uint64_t hit = 1; hit <= hits; hit++)
            one_hit(p, name, hit, ranks, op, &failed);
        assert_int_equal(runner_open_fds(), fds);
        print_message("%-8s operation %u: %llu hits, %u seen\n", name, op, (unsigned long long)hits,
                      failed);
    }
}

static void every_point_may_fail(void **state)
{
    static const struct {
        enum fault_point p;
        const char *name;
    } points[] = {{FAULT_ALLOC, "alloc"},
                  {FAULT_FILE, "file"},
                  {FAULT_LOCK, "lock"},
                  {FAULT_THREAD, "thread"}};

    (void)state;
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
        tours(points[i].p, points[i].name, 1);
}

static void every_transition_may_be_met(void **state)
{
    (void)state;
    tours(FAULT_QUEUE, "queue", 2);
}

static int setup(void **state)
{
    setenv("OPENNRT_HOST_THREADS", "1", 1);
    return coll_setup(state);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_point_may_fail, tour_end_session),
        cmocka_unit_test_teardown(every_transition_may_be_met, tour_end_session)};

    if (runner_emulated()) {
        print_message("NOT RUN: emulated, the memories of many cores are slow to map\n");
        return RUNNER_SKIP;
    }
    runner_watchdog(280);
    return cmocka_run_group_tests_name("api-driven-fault", tests, setup, coll_teardown);
}
