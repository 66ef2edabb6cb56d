/* SPDX-License-Identifier: Apache-2.0 */
/* Three links of one process over loopback, without a job: messages that come before they are
 * waited for, and farewells, with peers that leave, do not read, or die. Each over every provider.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../unit/net/net_support.h"
#include "link_ends.h"
#include "log_tap.h"
#include "net/link.h"
#include "run/run.h"
#include "runner.h"

#define WORLD   3
#define LEAVES  40
#define LOST_NS (RUNNER_WAIT_MS * UINT64_C(1000000)) /* no message takes that long */

static const char *const providers[] = {"tcp", "net", "tcp;ofi_rxm"};

/* NULL where the library does not have the provider. */
static struct net_link *trio_open(struct net_link *l[WORLD], const char *provider, struct log *lg)
{
    uint8_t address[NET_ADDRESS_MAX];
    struct err err = {0};

    for (uint32_t i = 0; i < WORLD; i++) {
        struct net_link_config cfg = {
            .rank = i, .world = WORLD, .provider = provider, .farewell_ns = LOST_NS, .log = lg};

        if (net_link_open(&cfg, &l[i], &err) != NRT_SUCCESS) {
            assert_int_equal(i, 0);
            return NULL;
        }
    }
    for (uint32_t i = 0; i < WORLD; i++)
        for (uint32_t k = 0; k < WORLD; k++) {
            size_t size = net_link_address(l[k], address);

            assert_int_equal(net_link_peer(l[i], k, address, size, &err), NRT_SUCCESS);
        }
    return l[0];
}

static void request_end(struct net_link *l, struct net_request *r, uint32_t size)
{
    struct net_wire w = net_link_wire(l);
    struct err err = {0};
    uint64_t end = run_now_ns() + LOST_NS;
    uint32_t moved;
    bool done = false;

    while (!done) {
        if (run_now_ns() > end)
            fail_msg("a message was lost");
        (void)net_link_progress(l, 16);
        assert_int_equal(w.test(w.arg, r, &done, &moved, &err), NRT_SUCCESS);
    }
    assert_int_equal(moved, size);
}

/* One number from a rank to another, which has posted its receive. */
static void number_move(struct net_link *l[WORLD], uint32_t from, uint32_t to)
{
    uint32_t sent = from * 8 + to, got = 0;
    struct net_entry out = {.data = (uint8_t *)&sent, .size = sizeof(sent), .peer = to};
    struct net_entry in = {.data = (uint8_t *)&got, .size = sizeof(got), .peer = from};
    struct net_wire a = net_link_wire(l[from]), b = net_link_wire(l[to]);
    struct net_request *s, *r;
    enum net_posted how;
    struct err err = {0};

    assert_int_equal(b.post(b.arg, false, 1, &in, sizeof(got), &r, &err), NET_POSTED);
    while ((how = a.post(a.arg, true, 1, &out, sizeof(sent), &s, &err)) == NET_AGAIN)
        for (uint32_t i = 0; i < WORLD; i++) /* they connect */
            (void)net_link_progress(l[i], 16);
    assert_int_equal(how, NET_POSTED);
    request_end(l[from], s, sizeof(sent));
    request_end(l[to], r, sizeof(got));
    assert_int_equal(got, sent);
}

/* What is waited for comes although it stands behind messages that are waited for later; these are
 * there then, whole and in their order, or forgotten with their communicator. False: no such
 * provider. */
static bool come_in_another_order(const char *provider, struct log *lg)
{
    enum { EARLY = 12, READ = 7, SIZE = 3000 };
    struct net_link *l[WORLD];
    uint8_t out[EARLY][SIZE], in[EARLY][SIZE];
    struct net_request *s[EARLY], *first, *r;
    struct net_entry e = {.data = in[EARLY - 1]};
    struct net_wire a, b;
    struct err err = {0};

    if (trio_open(l, provider, lg) == NULL)
        return false;
    number_move(l, 0, 1);
    a = net_link_wire(l[0]);
    b = net_link_wire(l[1]);
    assert_int_equal(b.post(b.arg, false, 9, &e, SIZE, &first, &err), NET_POSTED);
    for (unsigned i = 0; i < EARLY; i++) {
        bool last = i == EARLY - 1;
        struct net_entry to = {.data = out[i], .peer = 1, .stamp = last ? 0 : (uint16_t)i};

        memset(out[i], (int)i + 1, SIZE);
        while (a.post(a.arg, true, last ? 9 : NET_LINK_GROUP_CHANNELS + i % 2, &to, SIZE - i, &s[i],
                      &err) == NET_AGAIN)
            (void)net_link_progress(l[0], 16);
    }
    request_end(l[1], first, SIZE - (EARLY - 1));
    for (unsigned i = 0; i < READ; i++) {
        struct net_entry from = {.data = in[i], .peer = 0, .stamp = (uint16_t)i};

        while (b.post(b.arg, false, NET_LINK_GROUP_CHANNELS + i % 2, &from, SIZE, &r, &err) ==
               NET_AGAIN)
            (void)net_link_progress(l[1], 16);
        request_end(l[1], r, SIZE - i);
    }
    for (unsigned i = 0; i < EARLY; i++) {
        request_end(l[0], s[i], SIZE - i);
        if (i < READ || i == EARLY - 1)
            assert_memory_equal(in[i], out[i], SIZE - i);
    }
    net_link_group_drop(l[1], 1);
    links_close(l, WORLD);
    return true;
}

static void early_messages_are_in_nobodys_way(void **state)
{
    struct log *lg = log_open_env();
    struct log_tap tap;
    unsigned n = 0;

    log_tap_init(&tap);
    log_tap_attach(&tap, lg);
    for (unsigned p = 0; p < 3; p++)
        n += come_in_another_order(providers[p], lg);
    assert_true(n > 0);
    assert_int_equal(log_tap_count(&tap, LOG_WARN), 0);
    log_tap_fini(&tap);
    log_close(lg);
    (void)state;
}

/* What was sent arrives also if nobody waits for it before the sender closes: the farewell says how
 * many messages it follows, and a peer that could hear it before it has them does not answer. A
 * provider may keep a small message, and fetch a long one from its sender only when it is asked
 * for. False: no such provider. */
static bool last_message(const char *provider, uint32_t size)
{
    uint8_t *sent = malloc(size), *got = calloc(1, size);
    struct net_entry out = {.data = sent, .size = size, .peer = 1};
    struct net_entry in = {.data = got, .size = size, .peer = 0};
    struct net_link *l[WORLD];
    struct net_request *s, *r;
    struct net_wire a, b;
    pthread_t leaver;
    struct err err = {0};

    assert_true(sent && got);
    memset(sent, 47, size);
    if (trio_open(l, provider, NULL) == NULL) {
        free(sent);
        free(got);
        return false;
    }
    a = net_link_wire(l[0]);
    b = net_link_wire(l[1]);
    number_move(l, 0, 1);
    assert_int_equal(a.post(a.arg, true, 1, &out, size, &s, &err), NET_POSTED);
    assert_int_equal(pthread_create(&leaver, NULL, link_close_main, l[0]), 0);
    for (unsigned turns = 0; turns < 20000; turns++) /* time for the leaver to be wrong */
        (void)net_link_progress(l[1], 16);
    assert_int_equal(b.post(b.arg, false, 1, &in, size, &r, &err), NET_POSTED);
    request_end(l[1], r, size);
    assert_memory_equal(got, sent, size);
    pthread_join(leaver, NULL);
    net_link_close(l[1]);
    net_link_close(l[2]);
    free(sent);
    free(got);
    return true;
}

static void the_last_message_arrives(void **state)
{
    static const uint32_t sizes[] = {4, 3000, 256u << 10};
    unsigned n = 0;

    for (unsigned p = 0; p < 3; p++)
        for (unsigned i = 0; i < 3; i++)
            n += last_message(providers[p], sizes[i]);
    assert_true(n > 0);
    (void)state;
}

/* Farewells and answers of several peers come at once, from endpoints that close at once: each is
 * heard, or closing takes until the limit and says so. False: no such provider. */
static bool leave_together(const char *provider)
{
    struct log *lg = log_open_env();
    struct net_link *l[WORLD];
    struct log_tap tap;
    bool there;

    log_tap_init(&tap);
    log_tap_attach(&tap, lg);
    there = trio_open(l, provider, lg) != NULL;
    if (there) {
        number_move(l, 0, 1);
        number_move(l, 0, 2);
        number_move(l, 1, 2);
        links_close(l, WORLD);
    }
    if (log_tap_count(&tap, LOG_WARN) > 0) /* a hang alone reaches the limit */
        fail_msg("%s: a farewell was not answered", provider);
    log_tap_fini(&tap);
    log_close(lg);
    return there;
}

static void all_take_leave_at_once(void **state)
{
    unsigned n = 0;

    for (unsigned p = 0; p < 3; p++)
        for (unsigned round = 0; round < LEAVES && leave_together(providers[p]); round++)
            n++;
    assert_true(n > 0);
}

/* What a peer does when nobody will read what a link has sent last. */
enum unread { IT_DROPPED_THE_GROUP, IT_GAVE_UP, IT_DROPPED_LATER };

static void *progress_main(void *link)
{
    struct net_link **l = link;

    net_link_group_drop(l[1], 7);
    net_link_close(l[0]);
    return NULL;
}

/* A message that nobody reads does not hold up who sent it: its peer has closed the communicator
 * before it came, or after, or is gone without having closed anything. False: no such provider. */
static bool leave_unread(const char *provider, enum unread how)
{
    struct log *lg = log_open_env();
    uint8_t bytes[3000] = {1};
    struct net_entry out = {.data = bytes, .size = sizeof(bytes), .peer = 1};
    struct net_link *l[WORLD];
    struct net_request *s;
    struct net_wire w;
    struct log_tap tap;
    struct err err = {0};
    pthread_t leaver;
    bool there;

    log_tap_init(&tap);
    log_tap_attach(&tap, lg);
    there = trio_open(l, provider, lg) != NULL;
    if (there) {
        w = net_link_wire(l[0]);
        number_move(l, 0, 1);
        if (how == IT_DROPPED_THE_GROUP)
            net_link_group_drop(l[1], 7);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(w.post(w.arg, true, 7 * NET_LINK_GROUP_CHANNELS + i * 31, &out,
                                    sizeof(bytes), &s, &err),
                             NET_POSTED);
            request_end(l[0], s, sizeof(bytes));
        }
        if (how == IT_GAVE_UP) {
            net_link_give_up(l[1]);
            net_link_close(l[1]);
            net_link_close(l[0]);
        } else if (how == IT_DROPPED_LATER) {
            assert_int_equal(pthread_create(&leaver, NULL, progress_main, l), 0);
            pthread_join(leaver, NULL);
        } else {
            net_link_close(l[0]);
        }
        if (how != IT_GAVE_UP)
            net_link_close(l[1]);
        net_link_close(l[2]);
    }
    if (log_tap_count(&tap, LOG_WARN) > 0)
        fail_msg("%s: a link waited for a message that nobody reads", provider);
    log_tap_fini(&tap);
    log_close(lg);
    return there;
}

static void unread_messages_hold_nobody_up(void **state)
{
    unsigned n = 0;

    for (unsigned p = 0; p < 3; p++)
        for (int how = IT_DROPPED_THE_GROUP; how <= IT_DROPPED_LATER; how++)
            n += leave_unread(providers[p], (enum unread)how);
    assert_true(n > 0);
    (void)state;
}

/* The other process of a pair of links that no job watches: takes one number, and then nothing. */
static void mute_peer(const char *provider, int in, int out)
{
    struct net_link_config cfg = {.rank = 1, .world = 2, .provider = provider};
    uint8_t address[NET_ADDRESS_MAX], theirs[NET_ADDRESS_MAX];
    uint32_t got = 0;
    struct net_entry e = {.data = (uint8_t *)&got, .size = sizeof(got), .peer = 0};
    struct net_link *l;
    struct net_request *r;
    struct net_wire w;
    struct err err = {0};
    size_t size;

    if (net_link_open(&cfg, &l, &err) != NRT_SUCCESS)
        _exit(2);
    size = net_link_address(l, address);
    w = net_link_wire(l);
    if (write(out, address, size) != (ssize_t)size || read(in, theirs, size) != (ssize_t)size ||
        net_link_peer(l, 0, theirs, size, &err) != NRT_SUCCESS ||
        w.post(w.arg, false, 1, &e, sizeof(got), &r, &err) != NET_POSTED)
        _exit(2);
    request_end(l, r, sizeof(got));
    if (write(out, "", 1) != 1)
        _exit(2);
    for (;;)
        pause();
}

/* Who is killed does not read what was sent, and nobody waits for it, even where no job says that
 * it is dead. False: no such provider. */
static bool leave_the_dead(const char *provider)
{
    struct net_link_config cfg = {
        .rank = 0, .world = 2, .provider = provider, .farewell_ns = LOST_NS};
    uint8_t address[NET_ADDRESS_MAX], theirs[NET_ADDRESS_MAX], bytes[3000] = {1};
    uint32_t number = 4711;
    struct net_entry first = {.data = (uint8_t *)&number, .size = sizeof(number), .peer = 1};
    struct net_entry unread = {.data = bytes, .size = sizeof(bytes), .peer = 1};
    struct log *lg = log_open_env();
    struct net_request *s;
    struct net_link *l;
    struct net_wire w;
    struct log_tap tap;
    struct err err = {0};
    enum net_posted how;
    int to[2], from[2];
    size_t size;
    pid_t peer;

    cfg.log = lg;
    assert_int_equal(pipe(to) | pipe(from), 0);
    peer = fork();
    if (peer == 0)
        mute_peer(provider, to[0], from[1]);
    close(from[1]);
    size = (size_t)read(from[0], theirs, sizeof(theirs));
    if (size > 0) {
        log_tap_init(&tap);
        log_tap_attach(&tap, lg);
        assert_int_equal(net_link_open(&cfg, &l, &err), NRT_SUCCESS);
        assert_int_equal(net_link_address(l, address), size);
        assert_int_equal(write(to[1], address, size), size);
        assert_int_equal(net_link_peer(l, 1, theirs, size, &err), NRT_SUCCESS);
        w = net_link_wire(l);
        while ((how = w.post(w.arg, true, 1, &first, sizeof(number), &s, &err)) == NET_AGAIN)
            (void)net_link_progress(l, 16);
        assert_int_equal(how, NET_POSTED);
        request_end(l, s, sizeof(number));
        assert_int_equal(read(from[0], theirs, 1), 1);
        assert_int_equal(w.post(w.arg, true, 9, &unread, sizeof(bytes), &s, &err), NET_POSTED);
        request_end(l, s, sizeof(bytes));
        kill(peer, SIGKILL);
        assert_int_equal(waitpid(peer, NULL, 0), peer);
        net_link_close(l);
        if (log_tap_count(&tap, LOG_WARN) > 0)
            fail_msg("%s: a link waited for a rank that is dead", provider);
        log_tap_fini(&tap);
    } else {
        assert_int_equal(waitpid(peer, NULL, 0), peer);
    }
    close(from[0]);
    close(to[0]);
    close(to[1]);
    log_close(lg);
    return size > 0;
}

static void the_dead_hold_nobody_up(void **state)
{
    unsigned n = 0;

    for (unsigned p = 0; p < 3; p++)
        n += leave_the_dead(providers[p]);
    assert_true(n > 0);
    (void)state;
}

/* Receives that are dropped before anything comes cost nothing: the link goes on. */
static void a_link_settles(void **state)
{
    for (unsigned p = 0; p < 3; p++) {
        struct net_link *l[WORLD];
        uint8_t nowhere[64];
        struct net_entry e = {.data = nowhere, .size = sizeof(nowhere), .peer = 1};
        struct net_request *r;
        struct net_wire w;
        struct err err = {0};

        if (trio_open(l, providers[p], NULL) == NULL)
            continue;
        w = net_link_wire(l[0]);
        number_move(l, 0, 1);
        assert_int_equal(w.post(w.arg, false, 2, &e, sizeof(nowhere), &r, &err), NET_POSTED);
        w.drop(w.arg, r);
        net_link_settle(l[0], UINT64_C(1000000000));
        number_move(l, 0, 1);
        number_move(l, 1, 0);
        links_close(l, WORLD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_take_leave_at_once),
        cmocka_unit_test(a_link_settles),
        cmocka_unit_test(early_messages_are_in_nobodys_way),
        cmocka_unit_test(the_last_message_arrives),
        cmocka_unit_test(unread_messages_hold_nobody_up),
        cmocka_unit_test(the_dead_hold_nobody_up),
    };

    signal(SIGPIPE, SIG_IGN);
    runner_watchdog(280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
