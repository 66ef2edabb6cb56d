/* SPDX-License-Identifier: Apache-2.0 */
/* Three links over loopback, of which one is stopped in the middle of a message that nobody has
 * asked for yet (src/net/early.c). Nobody else may seem to be silent for that: messages of the
 * third come, also those behind others that nobody has asked for. When the stopped one goes on, its
 * messages are there, whole and in their order; when it dies, the others go on. Over every
 * provider. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "link_ends.h"
#include "net/link.h"
#include "run/run.h"
#include "runner.h"

#define WORLD    3
#define STOPS    1u /* the rank */
#define BULK     1u /* numbers of communicators: of the long messages, and of the others */
#define OTHER    2u
#define MESSAGE  (512u << 10)
#define MESSAGES 64u /* more than the buffers of a connection hold */
#define BUFFER   (1 << 20)
#define FDS      1024
#define EARLY    12u
#define TURNS    1000u /* in which nothing moves that could */
#define WHILE_NS UINT64_C(30000000)
#define LOST_NS  (RUNNER_WAIT_MS * UINT64_C(1000000)) /* no message takes that long */

static const char *const providers[] = {"tcp", "net"};

static struct net_link *open_one(uint32_t rank, const char *provider)
{
    struct net_link_config cfg = {
        .rank = rank, .world = WORLD, .provider = provider, .farewell_ns = LOST_NS};
    struct net_link *l = NULL;
    struct err err = {0};

    return net_link_open(&cfg, &l, &err) == NRT_SUCCESS ? l : NULL;
}

/* ---- messages ---- */

/* from NET_NO_RANK: of anybody. */
static enum net_posted post(struct net_link *l, bool send, uint32_t peer, uint32_t channel, void *p,
                            uint32_t size, struct net_request **ret)
{
    struct net_wire w = net_link_wire(l);
    struct net_entry e = {.data = p, .size = size, .peer = peer};
    struct err err = {0};

    return w.post(w.arg, send, channel, &e, size, ret, &err);
}

/* Whether it is over; one that has failed ends the test, or the process. */
static bool over(struct net_link *l, struct net_request *r)
{
    struct net_wire w = net_link_wire(l);
    struct err err = {0};
    uint32_t size;
    bool done = false;

    if (w.test(w.arg, r, &done, &size, &err) == NRT_SUCCESS)
        return done;
    fprintf(stderr, "a message has failed: %s\n", err.text);
    abort();
}

/* Ends the test where a message is lost. */
static void turn(struct net_link *const *l, uint64_t begin)
{
    if (run_now_ns() - begin > LOST_NS)
        fail_msg("a message does not come");
    for (unsigned i = 0; i < WORLD; i++)
        if (l[i])
            (void)net_link_progress(l[i], 16);
}

static struct net_request *posted(struct net_link *const *l, uint32_t rank, bool send,
                                  uint32_t peer, uint32_t channel, void *p, uint32_t size)
{
    uint64_t begin = run_now_ns();
    struct net_request *r = NULL;
    enum net_posted how;

    while ((how = post(l[rank], send, peer, channel, p, size, &r)) == NET_AGAIN)
        turn(l, begin);
    assert_int_equal(how, NET_POSTED);
    return r;
}

static void finish(struct net_link *const *l, uint32_t rank, struct net_request *r)
{
    uint64_t begin = run_now_ns();

    while (!over(l[rank], r))
        turn(l, begin);
}

/* A number from rank 2 to rank 0, which receives it of `from`. */
static void number_move(struct net_link *const *l, uint32_t from, uint32_t channel)
{
    uint32_t sent = 4000 + channel, got = 0;
    struct net_request *in = posted(l, 0, false, from, channel, &got, sizeof(got));
    struct net_request *out = posted(l, 2, true, 0, channel, &sent, sizeof(sent));

    finish(l, 0, in);
    finish(l, 2, out);
    assert_int_equal(got, sent);
}

/* Connections of this process hold little, whatever this machine gives them. */
static void buffers_limit(void)
{
    for (int fd = 3; fd < FDS; fd++) {
        int type = 0, size = BUFFER;
        socklen_t len = sizeof(type);

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM)
            continue;
        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) != 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) != 0)
            abort();
    }
}

/* ---- the one that stops ---- */

/* Sends more than is taken, and stops. Goes on until all is sent. */
static void stopping_side(const char *provider, int in, int out)
{
    struct net_link *l = open_one(STOPS, provider);
    uint8_t address[NET_ADDRESS_MAX], *bytes = calloc(MESSAGES, MESSAGE);
    struct net_request *r[MESSAGES];
    unsigned posted_n = 0, idle = 0;
    uint32_t got = 0;
    size_t size;
    struct err err = {0};

    if (!l || !bytes)
        _exit(2);
    size = net_link_address(l, address);
    if (write(out, &size, sizeof(size)) != sizeof(size) ||
        write(out, address, size) != (ssize_t)size ||
        read(in, &size, sizeof(size)) != sizeof(size) || read(in, address, size) != (ssize_t)size ||
        net_link_peer(l, 0, address, size, &err) != NRT_SUCCESS)
        _exit(3);
    for (unsigned i = 0; i < MESSAGES; i++)
        memset(bytes + (size_t)i * MESSAGE, (int)i + 1, MESSAGE);
    if (post(l, false, 0, OTHER * NET_LINK_GROUP_CHANNELS, &got, sizeof(got), &r[0]) != NET_POSTED)
        _exit(4);
    while (!over(l, r[0])) /* the two are connected */
        (void)net_link_progress(l, 16);
    buffers_limit();
    while (posted_n < MESSAGES && idle < TURNS) {
        enum net_posted how = post(l, true, 0, BULK * NET_LINK_GROUP_CHANNELS,
                                   bytes + (size_t)posted_n * MESSAGE, MESSAGE, &r[posted_n]);

        posted_n += how == NET_POSTED;
        idle = net_link_progress(l, 16) || how == NET_POSTED ? 0 : idle + 1;
    }
    for (idle = 0; idle < TURNS;) /* what can be written has been */
        idle = net_link_progress(l, 16) ? 0 : idle + 1;
    raise(SIGSTOP);
    for (unsigned i = 0; i < MESSAGES; i++) {
        while (i == posted_n) {
            posted_n += post(l, true, 0, BULK * NET_LINK_GROUP_CHANNELS,
                             bytes + (size_t)i * MESSAGE, MESSAGE, &r[i]) == NET_POSTED;
            (void)net_link_progress(l, 16);
        }
        while (!over(l, r[i]))
            (void)net_link_progress(l, 16);
    }
    net_link_close(l);
    free(bytes);
    _exit(0);
}

/* ---- the others ---- */

struct stage {
    struct net_link *l[WORLD]; /* [STOPS]: NULL */
    pid_t peer;
    int to, from;
};

/* False: no such provider. */
static bool stage_open(struct stage *s, const char *provider)
{
    uint8_t address[NET_ADDRESS_MAX];
    int to[2], from[2], status;
    uint32_t number = 1;
    struct net_request *r;
    struct err err = {0};
    size_t size;

    assert_int_equal(pipe(to) | pipe(from), 0);
    s->peer = fork();
    if (s->peer == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(to[1]);
        close(from[0]);
        stopping_side(provider, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    s->to = to[1];
    s->from = from[0];
    if (read(s->from, &size, sizeof(size)) != sizeof(size)) {
        assert_int_equal(waitpid(s->peer, &status, 0), s->peer);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
        close(s->to);
        close(s->from);
        return false;
    }
    assert_int_equal(read(s->from, address, size), size);
    s->l[0] = open_one(0, provider);
    s->l[STOPS] = NULL;
    s->l[2] = open_one(2, provider);
    assert_true(s->l[0] && s->l[2]);
    assert_int_equal(net_link_peer(s->l[0], STOPS, address, size, &err), NRT_SUCCESS);
    size = net_link_address(s->l[0], address);
    assert_int_equal(write(s->to, &size, sizeof(size)), sizeof(size));
    assert_int_equal(write(s->to, address, size), size);
    assert_int_equal(net_link_peer(s->l[2], 0, address, size, &err), NRT_SUCCESS);
    size = net_link_address(s->l[2], address);
    assert_int_equal(net_link_peer(s->l[0], 2, address, size, &err), NRT_SUCCESS);
    number_move(s->l, 2, OTHER * NET_LINK_GROUP_CHANNELS);
    buffers_limit();
    r = posted(s->l, 0, true, STOPS, OTHER * NET_LINK_GROUP_CHANNELS, &number, sizeof(number));
    finish(s->l, 0, r);
    assert_int_equal(waitpid(s->peer, &status, WUNTRACED), s->peer);
    assert_true(WIFSTOPPED(status));
    return true;
}

/* Until what the stopped one has written is taken, but for the message that it is in the middle of:
 * no receive for it is posted then. */
static void take_all(struct stage *s)
{
    uint32_t number = 2, got = 0, channel = OTHER * NET_LINK_GROUP_CHANNELS + 1;
    struct net_request *waits, *r, *out;
    uint64_t begin = run_now_ns();
    unsigned half = 0;

    waits = posted(s->l, 0, false, 2, channel, &got, sizeof(got)); /* something is under way */
    while (half < TURNS) {
        enum net_posted how = NET_AGAIN;

        turn(s->l, begin);
        for (uint64_t now = run_now_ns(); half == 0 && run_now_ns() - now < WHILE_NS;)
            (void)net_link_progress(s->l[0], 16); /* in which messages are taken */
        how = post(s->l[0], false, STOPS, OTHER * NET_LINK_GROUP_CHANNELS + 2, &number,
                   sizeof(number), &r);
        half = how == NET_AGAIN ? half + 1 : 0;
        if (how == NET_POSTED)
            net_link_wire(s->l[0]).drop(s->l[0], r);
    }
    out = posted(s->l, 2, true, 0, channel, &number, sizeof(number));
    finish(s->l, 0, waits);
    finish(s->l, 2, out);
    assert_int_equal(got, number);
}

/* Of a rank that has not stopped, in each way in which it is waited for. */
static void the_third_is_heard(struct stage *s)
{
    uint32_t channel = OTHER * NET_LINK_GROUP_CHANNELS + 3, last = 77, got = 0;
    uint8_t out[EARLY][3000], in[3000];
    struct net_request *r[EARLY], *l, *waits;

    number_move(s->l, 2, channel);
    number_move(s->l, NET_NO_RANK, channel);
    waits = posted(s->l, 0, false, 2, channel, &got, sizeof(got));
    for (unsigned i = 0; i < EARLY; i++) { /* nobody asks for these now */
        memset(out[i], (int)i + 1, sizeof(out[i]));
        r[i] = posted(s->l, 2, true, 0, channel + 1, out[i], sizeof(out[i]));
    }
    l = posted(s->l, 2, true, 0, channel, &last, sizeof(last));
    finish(s->l, 0, waits);
    finish(s->l, 2, l);
    assert_int_equal(got, last);
    for (unsigned i = 0; i < EARLY; i++) {
        struct net_request *read = posted(s->l, 0, false, 2, channel + 1, in, sizeof(in));

        finish(s->l, 0, read);
        finish(s->l, 2, r[i]);
        assert_memory_equal(in, out[i], sizeof(in));
    }
}

/* One receive of anybody after the other, of which one is posted while the message that is to be
 * its is half here. */
static void all_come_in_order(struct stage *s)
{
    uint8_t *in = malloc(MESSAGE);
    bool stopped = true;

    assert_non_null(in);
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct net_request *r =
            posted(s->l, 0, false, NET_NO_RANK, BULK * NET_LINK_GROUP_CHANNELS, in, MESSAGE);

        if (!over(s->l[0], r)) {
            if (stopped)
                kill(s->peer, SIGCONT);
            stopped = false;
            finish(s->l, 0, r);
        }
        for (size_t k = 0; k < MESSAGE; k += MESSAGE / 2 - 1)
            assert_int_equal(in[k], i + 1);
    }
    assert_false(stopped);
    free(in);
}

/* False: no such provider. */
static bool half_way(const char *provider, bool dies)
{
    struct net_link *left[2];
    struct stage s;
    int status;

    if (!stage_open(&s, provider))
        return false;
    take_all(&s);
    the_third_is_heard(&s);
    if (dies) {
        kill(s.peer, SIGKILL);
        assert_int_equal(waitpid(s.peer, &status, 0), s.peer);
        net_link_lose(s.l[0], STOPS, "it was killed");
        the_third_is_heard(&s);
    } else {
        all_come_in_order(&s);
        the_third_is_heard(&s);
    }
    left[0] = s.l[0];
    left[1] = s.l[2];
    links_close(left, 2);
    if (!dies) {
        assert_int_equal(waitpid(s.peer, &status, 0), s.peer);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    close(s.to);
    close(s.from);
    return true;
}

static void one_that_goes_on_is_heard_in_order(void **state)
{
    unsigned n = 0;

    for (unsigned p = 0; p < sizeof(providers) / sizeof(providers[0]); p++)
        n += half_way(providers[p], false);
    assert_true(n > 0);
    (void)state;
}

static void one_that_dies_keeps_nobody(void **state)
{
    unsigned n = 0;

    for (unsigned p = 0; p < sizeof(providers) / sizeof(providers[0]); p++)
        n += half_way(providers[p], true);
    assert_true(n > 0);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_goes_on_is_heard_in_order),
        cmocka_unit_test(one_that_dies_keeps_nobody),
    };

    signal(SIGPIPE, SIG_IGN);
    runner_watchdog(280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
