/* SPDX-License-Identifier: Apache-2.0 */
/* Every fault point failed at every hit, over the calls of nrt_async_sendrecv.h between two cores
 * of one process: a status that says so, never wrong bytes; the cores can be closed; nothing stays
 * open or held; and in the next session everything works. docs/spec/api.md 6. Some hits fall on the
 * thread that moves the bytes, so a hit may be met by another call from run to run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api_support.h"
#include "fault_tour.h"
#include "pair_ends.h"
#include "runner.h"

#define SIZE 100000

static uint8_t sent[SIZE], received[SIZE];

struct things {
    nrt_tensor_t *t[2];
    comm_t *c[2]; /* core 0 sends, core 1 receives */
};

static NRT_STATUS comm_wait(comm_t *c)
{
    bool done = false;

    while (!done)
        TRY(nrt_async_sendrecv_test_comm(c, &done));
    return NRT_SUCCESS;
}

static NRT_STATUS request_wait(request_t *r)
{
    bool done = false;
    size_t size = 0;

    while (!done)
        TRY(nrt_async_sendrecv_test_request(r, &done, &size));
    assert_int_equal(size, SIZE);
    return NRT_SUCCESS;
}

static NRT_STATUS tour(struct things *k)
{
    request_t *r[2];
    int n;

    TRY(nrt_async_sendrecv_get_max_num_communicators_per_lnc(&n));
    TRY(nrt_async_sendrecv_get_max_num_pending_request(&n));
    for (int i = 0; i < 2; i++)
        TRY(nrt_async_sendrecv_init(i));
    TRY(nrt_async_sendrecv_accept("127.0.0.1", 0, 1, &k->c[1]));
    TRY(nrt_async_sendrecv_connect("127.0.0.1", 1, 0, &k->c[0]));
    for (int i = 0; i < 2; i++)
        TRY(comm_wait(k->c[i]));
    TRY(nrt_async_sendrecv_recv_tensor(k->t[1], 0, SIZE, k->c[1], &r[1]));
    TRY(nrt_async_sendrecv_send_tensor(k->t[0], 0, SIZE, k->c[0], &r[0]));
    for (int i = 0; i < 2; i++)
        TRY(request_wait(r[i]));
    TRY(nrt_async_sendrecv_flush(1));
    for (int i = 0; i < 2; i++)
        TRY(nrt_async_sendrecv_close(i));
    return NRT_SUCCESS;
}

/* Nothing was armed: ends the test with what the runtime said. */
static void need(NRT_STATUS status, const char *what)
{
    if (status != NRT_SUCCESS)
        fail_msg("%s: status %d\n%s", what, (int)status, api_log());
}

/* A session of two cores, and what is sent: one is device memory, the other the host's when the
 * bytes are to travel over the connection. */
static void begin(struct things *k, bool host)
{
    *k = (struct things){{NULL}, {NULL}};
    need(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "a session");
    for (int i = 0; i < 2; i++) {
        need(nrt_tensor_allocate(host && i == 0 ? NRT_TENSOR_PLACEMENT_VIRTUAL
                                                : NRT_TENSOR_PLACEMENT_DEVICE,
                                 i, SIZE, "", &k->t[i]),
             "a tensor");
        need(nrt_tensor_memset(k->t[i], 0, i ? 0xee : 0, SIZE), "its bytes");
    }
    assert_ok(nrt_tensor_write(k->t[0], sent, 0, SIZE));
}

/* What was received, if the tour says that it was. */
static void end(struct things *k, NRT_STATUS status)
{
    nrt_vnc_memory_stats_t stats;
    size_t n;

    if (status == NRT_SUCCESS) {
        assert_ok(nrt_tensor_read(k->t[1], received, 0, SIZE));
        assert_memory_equal(sent, received, SIZE);
    } else {
        for (int i = 0; i < 2; i++)
            nrt_async_sendrecv_close(i);
    }
    for (int i = 0; i < 2; i++)
        nrt_tensor_free(&k->t[i]);
    for (uint32_t i = 0; i < 2; i++) {
        assert_ok(nrt_get_vnc_memory_stats(i, &stats, sizeof(stats), &n));
        assert_int_equal(stats.bytes_used, 0);
    }
    nrt_close();
}

static uint64_t hits_of(enum fault_point p, bool host)
{
    struct things k;
    uint64_t hits;
    NRT_STATUS status;

    begin(&k, host);
    fault_count_start();
    status = tour(&k);
    hits = fault_count(p);
    fault_disarm();
    assert_ok(status);
    end(&k, status);
    return hits;
}

/* The status of the tour with this hit. */
static NRT_STATUS one_hit(enum fault_point p, uint64_t hit, bool host)
{
    struct things k;
    NRT_STATUS status, next;

    begin(&k, host);
    api_log_clear();
    fault_arm(p, hit);
    status = tour(&k);
    fault_disarm();
    if (!tour_status_may_be(p, status))
        fail_msg("%s %llu: status %d", tour_points[p], (unsigned long long)hit, (int)status);
    if (status != NRT_SUCCESS && api_log_errors() == 0)
        fail_msg("%s %llu: status %d without a line in the log", tour_points[p],
                 (unsigned long long)hit, (int)status);
    end(&k, status);
    begin(&k, host);
    next = tour(&k);
    if (next != NRT_SUCCESS)
        fail_msg("after %s %llu: status %d\n%s", tour_points[p], (unsigned long long)hit, (int)next,
                 api_log());
    end(&k, next);
    return status;
}

static void calls_survive_every_fault(void **state)
{
    (void)state;
    for (int host = 0; host < 2; host++)
        for (int p = 0; p < FAULT_POINT_COUNT; p++) {
            uint64_t hits = hits_of((enum fault_point)p, host), seen = 0;
            unsigned fds = runner_open_fds();

            for (uint64_t hit = 1; hit <= hits; hit++) {
                seen += one_hit((enum fault_point)p, hit, host) != NRT_SUCCESS;
                if (runner_open_fds() != fds)
                    fail_msg("%s %llu: %u open files, were %u", tour_points[p],
                             (unsigned long long)hit, runner_open_fds(), fds);
            }
            if (hits)
                print_message("%-7s %-10s %llu hits, %llu seen by a call\n",
                              host ? "host" : "device", tour_points[p], (unsigned long long)hits,
                              (unsigned long long)seen);
        }
}

static void the_tour_makes_every_call(void **state)
{
    static const char *const but[] = {NULL};

    (void)state;
    assert_int_equal(tour_covers(HEADERS "/nrt/nrt_async_sendrecv.h", but), 11);
}

static int setup(void **state)
{
    (void)state;
    api_env("trn1.2xlarge", 0);
    setenv("OPENNRT_HOST_THREADS", "1", 1);
    setenv("OPENNRT_JOB_KEY", "of the tests", 1);
    setenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED", "1", 1);
    pair_setenv("NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", pair_port(0));
    pair_setenv("NEURON_RT_EXEC_TIMEOUT", 20);
    for (size_t i = 0; i < SIZE; i++)
        sent[i] = (uint8_t)(i * 2654435761u >> 13);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    api_env_end();
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(calls_survive_every_fault, tour_end_session),
        cmocka_unit_test(the_tour_makes_every_call)};

    runner_watchdog(580);
    return cmocka_run_group_tests_name("api-sendrecv-fault", tests, setup, teardown);
}
