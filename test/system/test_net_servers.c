/* SPDX-License-Identifier: Apache-2.0 */
/* Links of one process that share proxy threads: as many threads as it takes, and each link is
 * served although nobody waits on it. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "link_ends.h"
#include "net/link.h"
#include "run/run.h"
#include "runner.h"

#define LINKS   5
#define WAIT_NS (RUNNER_WAIT_MS * UINT64_C(1000000)) /* only what is lost takes that long */

static void threads_become(unsigned want)
{
    assert_int_equal(runner_threads_become("nrt-net", want), want);
}

static bool is_no_provider(const struct err *err)
{
    return err->status == NRT_FAILURE && (strstr(err->text, "has no usable provider") != NULL ||
                                          strstr(err->text, "Error opening libfabric") != NULL);
}

/* False: there is no provider, nor was there one before. */
static bool links_open(struct net_link *l[LINKS], struct net_servers *s)
{
    static bool opened;
    uint8_t address[NET_ADDRESS_MAX];
    struct err err = {0};

    for (uint32_t i = 0; i < LINKS; i++) {
        struct net_link_config cfg = {.rank = i, .world = LINKS, .servers = s};

        if (net_link_open(&cfg, &l[i], &err) != NRT_SUCCESS) {
            if (opened || !is_no_provider(&err))
                fail_msg("link %u: status %d: %s", i, err.status, err.text);
            return false;
        }
        opened = true;
    }
    for (uint32_t i = 0; i < LINKS; i++)
        for (uint32_t k = 0; k < LINKS; k++) {
            size_t size = net_link_address(l[k], address);

            assert_int_equal(net_link_peer(l[i], k, address, size, &err), NRT_SUCCESS);
        }
    return true;
}

/* Until the request is over. To ask makes no progress: the proxy threads do. */
static void request_end(struct net_link *l, struct net_request *r)
{
    struct net_wire w = net_link_wire(l);
    uint64_t end = run_now_ns() + WAIT_NS;
    struct err err = {0};
    uint32_t moved;
    bool done = false;

    while (!done) {
        if (run_now_ns() > end)
            fail_msg("nobody served the link");
        sched_yield();
        assert_int_equal(w.test(w.arg, r, &done, &moved, &err), NRT_SUCCESS);
    }
}

/* A number from one link to another. */
static void number_move(struct net_link *from, uint32_t to_rank, struct net_link *to,
                        uint32_t from_rank, uint32_t number)
{
    uint32_t got = 0;
    struct net_entry out = {.data = (uint8_t *)&number, .size = sizeof(number), .peer = to_rank};
    struct net_entry in = {.data = (uint8_t *)&got, .size = sizeof(got), .peer = from_rank};
    struct net_wire a = net_link_wire(from), b = net_link_wire(to);
    uint64_t end = run_now_ns() + WAIT_NS;
    struct net_request *s, *r;
    enum net_posted how;
    struct err err = {0};

    assert_int_equal(b.post(b.arg, false, 1, &in, sizeof(got), &r, &err), NET_POSTED);
    while ((how = a.post(a.arg, true, 1, &out, sizeof(number), &s, &err)) == NET_AGAIN) {
        if (run_now_ns() > end)
            fail_msg("nobody serves the links, which do not connect");
        sched_yield();
    }
    assert_int_equal(how, NET_POSTED);
    request_end(from, s);
    request_end(to, r);
    assert_int_equal(got, number);
}

static void links_share_threads(void **state)
{
    static const unsigned each[] = {1, 2, 3, 4, 5, 1000000};

    (void)state;
    threads_become(0);
    for (unsigned k = 0; k < sizeof(each) / sizeof(each[0]); k++) {
        struct net_link *l[LINKS];
        struct net_servers *s;
        struct err err = {0};

        assert_int_equal(net_servers_create(each[k], &s, &err), NRT_SUCCESS);
        if (!links_open(l, s)) {
            print_message("NOT RUN: libfabric has no provider here\n");
            net_servers_destroy(s);
            skip();
        }
        threads_become((LINKS + each[k] - 1) / each[k]);
        for (uint32_t i = 0; i < LINKS; i++)
            number_move(l[i], (i + 1) % LINKS, l[(i + 1) % LINKS], i, 100 * k + i + 1);
        threads_become((LINKS + each[k] - 1) / each[k]);
        links_close(l, LINKS);
        net_servers_destroy(s);
        threads_become(0);
    }
}

/* Visitors come and go, the first to a thread that has room, the second to one of its own; those
 * that stay are served all the time. */
static void links_come_and_go(void **state)
{
    struct net_link *l[LINKS], *visitor[2];
    struct net_servers *s;
    struct err err = {0};

    (void)state;
    threads_become(0);
    assert_int_equal(net_servers_create(3, &s, &err), NRT_SUCCESS);
    if (!links_open(l, s)) {
        net_servers_destroy(s);
        skip();
    }
    threads_become(2);
    for (unsigned round = 0; round < 20; round++) {
        uint32_t i = round % LINKS, k = (round + 1 + round % 3) % LINKS;

        for (unsigned v = 0; v < 2; v++) {
            struct net_link_config cfg = {.rank = LINKS, .world = LINKS + 1, .servers = s};

            assert_int_equal(net_link_open(&cfg, &visitor[v], &err), NRT_SUCCESS);
            threads_become(2 + v);
        }
        number_move(l[i], k, l[k], i, round + 1);
        net_link_close(visitor[round % 2]);
        number_move(l[k], i, l[i], k, round + 2);
        net_link_close(visitor[1 - round % 2]);
        threads_become(2);
    }
    links_close(l, LINKS);
    net_servers_destroy(s);
    threads_become(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_share_threads),
        cmocka_unit_test(links_come_and_go),
    };

    signal(SIGPIPE, SIG_IGN);
    runner_watchdog(280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
