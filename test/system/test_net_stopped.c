/* SPDX-License-Identifier: Apache-2.0 */
/* Two links in two processes over loopback, of which one is stopped in the middle of a message and
 * goes on later (SIGSTOP, SIGCONT). The other one's memory is wanted back, which costs its
 * endpoint; with a new one, of which the two tell each other, messages go both ways again, on new
 * channels only, and closing loses nothing. Over every provider. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../unit/net/net_support.h"
#include "net/link.h"
#include "run/run.h"
#include "runner.h"

#define OLD       1u /* numbers of communicators */
#define NEW       2u
#define MESSAGE   (512u << 10)
#define MESSAGES  256u /* more than a connection's buffers hold */
#define SETTLE_NS UINT64_C(100000000)
#define LOST_NS   (RUNNER_WAIT_MS * UINT64_C(1000000)) /* no message takes that long */

/* Not tcp;ofi_rxm: that of libfabric 1.17 may crash in a receive from anybody when a peer has
 * connected anew (docs/modules/net.md). */
static const char *const providers[] = {"tcp", "net"};

/* One of the two: its link, and pipes to the other one. */
struct side {
    uint32_t rank;
    int in, out;
    struct net_link *link;
    struct net_wire wire;
    struct err err;
};

/* An address each way. */
static bool addresses_meet(struct side *s)
{
    uint8_t mine[NET_ADDRESS_MAX] = {0}, theirs[NET_ADDRESS_MAX];
    size_t size = net_link_address(s->link, mine), got;

    return write(s->out, &size, sizeof(size)) == sizeof(size) &&
           write(s->out, mine, size) == (ssize_t)size &&
           read(s->in, &got, sizeof(got)) == sizeof(got) && got <= sizeof(theirs) &&
           read(s->in, theirs, got) == (ssize_t)got &&
           net_link_peer(s->link, 1 - s->rank, theirs, got, &s->err) == NRT_SUCCESS;
}

static bool side_open(struct side *s, const char *provider, struct log *lg)
{
    struct net_link_config cfg = {.rank = s->rank, .world = 2, .provider = provider, .log = lg};

    if (net_link_open(&cfg, &s->link, &s->err) != NRT_SUCCESS)
        return false;
    s->wire = net_link_wire(s->link);
    return net_link_group_hold(s->link, OLD, &s->err) == NRT_SUCCESS;
}

static enum net_posted post(struct side *s, bool send, uint32_t group, void *p, uint32_t size,
                            struct net_request **ret)
{
    struct net_entry e = {.data = p, .size = size, .peer = 1 - s->rank};

    s->err = (struct err){0};
    return s->wire.post(s->wire.arg, send, group * NET_LINK_GROUP_CHANNELS, &e, size, ret, &s->err);
}

/* One number to the other, or from it. */
static bool number_move(struct side *s, bool send, uint32_t group, uint32_t *number)
{
    uint64_t end = run_now_ns() + LOST_NS;
    struct net_request *r;
    enum net_posted how;
    uint32_t size;
    bool done = false;

    while ((how = post(s, send, group, number, sizeof(*number), &r)) == NET_AGAIN &&
           run_now_ns() < end)
        (void)net_link_progress(s->link, 16);
    while (how == NET_POSTED && !done && run_now_ns() < end) {
        (void)net_link_progress(s->link, 16);
        if (s->wire.test(s->wire.arg, r, &done, &size, &s->err) != NRT_SUCCESS)
            return false;
    }
    return done;
}

/* ---- the one that stops ---- */

#define MUST(cond)                                                                    \
    do {                                                                              \
        if (!(cond)) {                                                                \
            fprintf(stderr, "the stopped side, line %d: %s\n", __LINE__, s.err.text); \
            _exit(1);                                                                 \
        }                                                                             \
    } while (0)

static void stopping_side(const char *provider, int in, int out)
{
    struct side s = {.rank = 1, .in = in, .out = out};
    struct net_request *r;
    uint32_t got = 0, number = 22;

    if (!side_open(&s, provider, NULL))
        _exit(2); /* no such provider */
    MUST(addresses_meet(&s) && number_move(&s, false, OLD, &got) && got == 11);
    raise(SIGSTOP);
    MUST(addresses_meet(&s)); /* it has another one now */
    MUST(post(&s, true, OLD, &number, sizeof(number), &r) == NET_FAILED);
    MUST(strstr(s.err.text, "it has another endpoint since the communicator was opened"));
    net_link_group_drop(s.link, OLD);
    (void)net_link_group_hold(s.link, NEW, &s.err);
    MUST(number_move(&s, false, NEW, &got) && got == 33);
    MUST(number_move(&s, true, NEW, &number));
    net_link_close(s.link);
    _exit(0);
}

/* ---- the other one ---- */

/* Sends until the connection is full, and wants its memory back. */
static void fill_and_drop(struct side *s, uint8_t *bytes)
{
    struct net_request *r[MESSAGES];
    unsigned n = 0;

    for (unsigned i = 0; i < MESSAGES; i++) {
        enum net_posted how = post(s, true, OLD, bytes, MESSAGE, &r[n]);

        assert_int_not_equal(how, NET_FAILED);
        n += how == NET_POSTED;
        (void)net_link_progress(s->link, 16);
    }
    for (unsigned i = 0; i < n; i++)
        s->wire.drop(s->wire.arg, r[i]);
    net_link_settle(s->link, SETTLE_NS);
}

static void stopped_for_good(struct side *s, uint8_t *bytes)
{
    uint8_t address[NET_ADDRESS_MAX];
    struct net_request *r;
    size_t size = net_link_address(s->link, address);

    assert_false(net_link_group_serves(s->link, OLD));
    assert_false(net_link_group_serves(s->link, NEW));
    assert_int_equal(post(s, true, NEW, bytes, 1, &r), NET_FAILED);
    assert_non_null(strstr(s->err.text, "a peer stopped in the middle of a message"));
    assert_int_equal(net_link_peer(s->link, 1, address, size, &s->err), NRT_NETWORK_PROXY_FAILURE);
}

static void begin_again(struct side *s, uint8_t *bytes)
{
    uint8_t was[NET_ADDRESS_MAX], is[NET_ADDRESS_MAX];
    size_t size = net_link_address(s->link, was);
    struct net_entry anybody = {.data = bytes, .size = 1, .peer = NET_NO_RANK};
    struct net_request *r;

    assert_int_equal(net_link_renew(s->link, &s->err), NRT_SUCCESS);
    assert_int_equal(net_link_address(s->link, is), size);
    assert_memory_not_equal(was, is, size);
    assert_int_equal(net_link_renew(s->link, &s->err), NRT_SUCCESS); /* that it has serves */
    assert_int_equal(net_link_address(s->link, was), size);
    assert_memory_equal(was, is, size);
    assert_false(net_link_group_serves(s->link, OLD));
    assert_true(net_link_group_serves(s->link, NEW));
    assert_int_equal(post(s, true, NEW, bytes, 1, &r), NET_FAILED);
    assert_non_null(strstr(s->err.text, "its address is not known"));
    s->err = (struct err){0};
    assert_int_equal(
        s->wire.post(s->wire.arg, false, OLD * NET_LINK_GROUP_CHANNELS, &anybody, 1, &r, &s->err),
        NET_FAILED);
    assert_non_null(strstr(s->err.text, "a peer stopped in the middle of a message"));
}

/* False: no such provider. */
static bool stop_and_go_on(const char *provider)
{
    uint8_t *bytes = calloc(1, MESSAGE);
    struct side s = {.rank = 0};
    struct log *lg = log_open_env();
    struct net_request *r;
    int to[2], from[2], status;
    uint32_t number = 11, got = 0;
    pid_t peer;
    bool there;

    assert_non_null(bytes);
    assert_int_equal(pipe(to) | pipe(from), 0);
    peer = fork();
    if (peer == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(to[1]);
        close(from[0]);
        stopping_side(provider, to[0], from[1]);
    }
    close(from[1]);
    s.in = from[0];
    s.out = to[1];
    there = side_open(&s, provider, lg);
    if (there) {
        assert_true(addresses_meet(&s) && number_move(&s, true, OLD, &number));
        assert_int_equal(waitpid(peer, &status, WUNTRACED), peer);
        assert_true(WIFSTOPPED(status));
        fill_and_drop(&s, bytes);
        stopped_for_good(&s, bytes);
        begin_again(&s, bytes);
        kill(peer, SIGCONT);
        assert_true(addresses_meet(&s));
        assert_int_equal(post(&s, true, OLD, bytes, 1, &r), NET_FAILED);
        net_link_group_drop(s.link, OLD);
        (void)net_link_group_hold(s.link, NEW, &s.err);
        number = 33;
        if (!number_move(&s, true, NEW, &number) || !number_move(&s, false, NEW, &got))
            fail_msg("%s: no message with the new endpoint: %s", provider, s.err.text);
        assert_int_equal(got, 22);
        net_link_close(s.link);
    }
    assert_int_equal(waitpid(peer, &status, 0), peer);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), there ? 0 : 2);
    log_close(lg);
    close(from[0]);
    close(to[0]);
    close(to[1]);
    free(bytes);
    return there;
}

static void a_peer_that_stops_goes_on_with_a_new_endpoint(void **state)
{
    unsigned n = 0;

    for (unsigned p = 0; p < sizeof(providers) / sizeof(providers[0]); p++)
        n += stop_and_go_on(providers[p]);
    assert_true(n > 0);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_stops_goes_on_with_a_new_endpoint),
    };

    signal(SIGPIPE, SIG_IGN);
    runner_watchdog(280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
