/* SPDX-License-Identifier: Apache-2.0 */
/* Strangers at the root's port: noise, silence, crowds, lies and replays, while a job joins and
 * runs. The job must neither notice nor wait. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/base.h"
#include "net/net_int.h"
#include "net_support.h"
#include "run/run.h"
#include "runner.h"

static int stranger(const struct ranks *r)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)r->port.number),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

static void say(int fd, const void *p, size_t n)
{
    /* The root may have hung up already. */
    (void)!send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* All that the root has to say to fd, until it hangs up or says nothing for some steps. */
static size_t hear(struct ranks *r, int fd, uint8_t *buf, size_t size, bool *ret_closed)
{
    size_t n = 0;

    *ret_closed = false;
    for (int quiet = 0; quiet < 200 && !*ret_closed;) {
        ssize_t got = recv(fd, buf + n, size - n, MSG_DONTWAIT);

        if (got > 0) {
            n += (size_t)got;
            quiet = 0;
        } else if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
            *ret_closed = true;
        } else {
            quiet++;
        }
        for (uint32_t i = 0; i < RANKS_MAX; i++) {
            if (r->job[i] != NULL)
                net_job_progress(r->job[i], 16);
        }
    }
    return n;
}

/* What the root says first; 0: nothing, for as long as a test waits. */
static size_t hear_something(struct ranks *r, int fd, uint8_t *buf, size_t size)
{
    uint64_t end = run_now_ns() + RUNNER_WAIT_MS * UINT64_C(1000000);
    bool closed = false;
    size_t n = 0;

    while (n == 0 && !closed && run_now_ns() < end)
        n = hear(r, fd, buf, size, &closed);
    return n;
}

/* All that it says until it hangs up. */
static size_t hear_out(struct ranks *r, int fd, uint8_t *buf, size_t size)
{
    uint64_t end = run_now_ns() + RUNNER_WAIT_MS * UINT64_C(1000000);
    bool closed = false;
    size_t n = 0;

    while (!closed && run_now_ns() < end)
        n += hear(r, fd, buf + n, size - n, &closed);
    assert_true(closed);
    return n;
}

static void expect_hung_up(struct ranks *r, int fd)
{
    uint8_t buf[4096];

    hear_out(r, fd, buf, sizeof(buf));
    close(fd);
}

/* The root listens at the address that it was given and at no other one of its host. */
static void only_the_chosen_address_answers(void **state)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    struct ranks r;
    int fd;

    (void)state;
    ranks_setup(&r, 2);
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    close(stranger(&r)); /* there it answers */
    sa.sin_port = htons((uint16_t)r.port.number);
    for (uint32_t last = 2; last < 5; last++) { /* the rest of the loopback's addresses */
        sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + last);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), -1);
        assert_int_equal(errno, ECONNREFUSED);
        close(fd);
    }
    ranks_join(&r);
    ranks_teardown(&r);
}

static void noise_is_hung_up_on(void **state)
{
    struct ranks r;
    uint8_t noise[512];

    ranks_setup(&r, 2);
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    srand(7);
    for (int i = 0; i < 100; i++) {
        int fd = stranger(&r);

        for (size_t k = 0; k < sizeof(noise); k++)
            noise[k] = (uint8_t)rand();
        say(fd, noise, 12 + (size_t)rand() % (sizeof(noise) - 12));
        expect_hung_up(&r, fd);
    }
    ranks_join(&r);
    ranks_teardown(&r);
}

static void a_silent_crowd_keeps_nobody_out(void **state)
{
    enum { CROWD = 200 };
    int fd[CROWD];
    struct ranks r;

    ranks_setup(&r, 3);
    r.cfg.half_open_max = 8;
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    for (int i = 0; i < CROWD; i++) {
        fd[i] = stranger(&r);
        net_job_progress(r.job[0], 16);
        if (i == CROWD / 2)
            assert_int_equal(ranks_open(&r, 1, NULL), NRT_SUCCESS);
    }
    ranks_join(&r);
    /* at most the cap is kept, the others were hung up on */
    int open = 0;
    for (int i = 0; i < CROWD; i++) {
        uint8_t buf[256];
        ssize_t n;

        do
            n = recv(fd[i], buf, sizeof(buf), MSG_DONTWAIT);
        while (n > 0);
        open += n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        close(fd[i]);
    }
    assert_true(open <= 8);
    ranks_teardown(&r);
}

/* One byte now and then: dropped when the time to join is over, however busy it looks. */
static void a_slow_one_is_dropped(void **state)
{
    struct clock clock = {.ns = 1};
    struct ranks r;
    uint8_t head[MSG_HEAD] = {'O', 'N', 'R', 'B', MSG_JOIN, 0, MSG_PROTOCOL, 0, 0, 2, 0, 0},
            buf[256];
    bool closed = false;
    int fd;

    ranks_setup(&r, 2);
    r.cfg.now = clock_now;
    r.cfg.now_arg = &clock;
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    fd = stranger(&r);
    assert_true(hear_something(&r, fd, buf, sizeof(buf)) > 0); /* its time has begun */
    for (int i = 0; i < 9; i++) {
        say(fd, &head[i], 1);
        clock.ns += 1000000000ull;
        hear(&r, fd, buf, sizeof(buf), &closed);
        assert_false(closed);
    }
    say(fd, &head[9], 1);
    clock.ns += 1000000001ull;
    expect_hung_up(&r, fd);
    ranks_join(&r);
    ranks_teardown(&r);
}

/* A promise of 4 GiB costs nothing, and one of more than a join is refused at the head. */
static void promises_are_not_believed(void **state)
{
    uint8_t head[MSG_HEAD] = {'O', 'N', 'R', 'B', MSG_JOIN, 0, MSG_PROTOCOL, 0, 0, 0, 0, 0};
    static const uint32_t sizes[] = {0xffffffffu, 0x7fffffffu, 1u << 20, MSG_JOIN_MAX};
    struct ranks r;

    ranks_setup(&r, 2);
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int fd = stranger(&r);

        msg_u32_put(head + 8, sizes[i]);
        say(fd, head, sizeof(head));
        expect_hung_up(&r, fd);
    }
    ranks_join(&r);
    ranks_teardown(&r);
}

/* Between a member and the root, who repeats everything and takes notes. */
struct relay {
    int listen_fd, member, root;
    struct port port;
    uint8_t up[8192]; /* what the member said */
    size_t up_len;
};

static void relay_open(struct relay *t)
{
    memset(t, 0, sizeof(*t));
    t->member = t->root = -1;
    assert_true(port_take(&t->port, "127.0.0.1"));
    assert_int_equal(listen(t->port.fd, 1), 0);
    assert_int_equal(fcntl(t->port.fd, F_SETFL, O_NONBLOCK), 0);
}

static void relay_step(struct relay *t, const struct ranks *r)
{
    uint8_t buf[4096];
    ssize_t n;

    if (t->member < 0) {
        t->member = accept4(t->port.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (t->member < 0)
            return;
        t->root = stranger(r);
    }
    n = recv(t->member, buf, sizeof(buf), MSG_DONTWAIT);
    if (n > 0) {
        if (t->up_len + (size_t)n <= sizeof(t->up)) {
            memcpy(t->up + t->up_len, buf, (size_t)n);
            t->up_len += (size_t)n;
        }
        say(t->root, buf, (size_t)n);
    }
    n = recv(t->root, buf, sizeof(buf), MSG_DONTWAIT);
    if (n > 0)
        say(t->member, buf, (size_t)n);
}

static void a_recorded_join_is_worth_nothing(void **state)
{
    struct relay t;
    struct ranks r;
    struct net_job_config cfg;
    uint8_t buf[4096];
    bool joined = false;
    size_t n;
    int fd;
    struct msg m;

    ranks_setup(&r, 3);
    relay_open(&t);
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    cfg = r.cfg;
    cfg.rank = 1;
    cfg.root = t.port.root;
    assert_int_equal(net_job_open(&cfg, &r.job[1], NULL), NRT_SUCCESS);
    for (uint64_t end = run_now_ns() + RUNNER_WAIT_MS * 1000000ull;
         t.up_len < MSG_HEAD && run_now_ns() < end;) {
        relay_step(&t, &r);
        net_job_progress(r.job[0], 16);
        net_job_progress(r.job[1], 16);
    }
    assert_true(t.up_len > MSG_HEAD);
    assert_int_equal(msg_parse(t.up, t.up_len, &m, NULL), NRT_SUCCESS);
    assert_int_equal(m.type, MSG_JOIN);
    /* The same words again, as rank 1 they come from a stranger: another nonce was asked about. */
    fd = stranger(&r);
    say(fd, t.up, t.up_len);
    n = hear_out(&r, fd, buf, sizeof(buf));
    close(fd);
    /* challenge, then the refusal */
    size_t total;
    assert_int_equal(msg_frame_size(buf, n, MSG_MAX, &total, NULL), NRT_SUCCESS);
    assert_int_equal(msg_parse(buf, total, &m, NULL), NRT_SUCCESS);
    assert_int_equal(m.type, MSG_CHALLENGE);
    assert_int_equal(msg_parse(buf + total, n - total, &m, NULL), NRT_SUCCESS);
    assert_int_equal(m.type, MSG_REJECT);
    assert_int_equal(m.u.reject.status, NRT_INVALID);
    /* and with another rank in them, the proof does not fit any more */
    fd = stranger(&r);
    t.up[MSG_HEAD] = 2;
    say(fd, t.up, t.up_len);
    expect_hung_up(&r, fd);
    assert_int_equal(net_job_state(r.job[0], &joined, NULL), NRT_SUCCESS);
    assert_false(joined);
    close(t.member);
    close(t.root);
    port_free(&t.port);
    net_job_close(r.job[1]);
    r.job[1] = NULL;
    ranks_teardown(&r);
}

/* A false root: the member proves itself, and asks for as much in return. */
static void a_false_root_is_found_out(void **state)
{
    struct port port;
    struct ranks r;
    struct net_job_config cfg;
    struct key key;
    struct msg c = {.type = MSG_CHALLENGE}, w = {.type = MSG_WELCOME, .u.welcome.keyed = 1};
    struct frame *f;
    uint8_t nonce[MSG_NONCE] = {1};
    struct err err = {0};
    bool joined;
    int fd = -1;

    ranks_setup(&r, 2);
    assert_true(port_take(&port, "127.0.0.1"));
    assert_int_equal(listen(port.fd, 1), 0);
    cfg = r.cfg;
    cfg.rank = 1;
    cfg.root = port.root;
    assert_int_equal(key_load(&cfg, &key, NULL), NRT_SUCCESS);
    assert_int_equal(net_job_open(&cfg, &r.job[1], NULL), NRT_SUCCESS);
    while (fd < 0) {
        net_job_progress(r.job[1], 16);
        struct pollfd p = {.fd = port.fd, .events = POLLIN};
        if (poll(&p, 1, 1) > 0)
            fd = accept(port.fd, NULL, NULL);
    }
    /* It knows the name of the key, which is no secret, but not the key. */
    c.u.challenge = (struct msg_challenge){.source = MSG_KEY_FILE,
                                           .key_id = key.id,
                                           .nonce = nonce,
                                           .version = msg_text_of(OPENNRT_VERSION)};
    f = msg_build(&c, NULL, NULL);
    say(fd, f->bytes, f->len);
    frame_drop(f);
    f = msg_build(&w, NULL, NULL);
    say(fd, f->bytes, f->len);
    frame_drop(f);
    while (net_job_state(r.job[1], &joined, &err) == NRT_SUCCESS)
        net_job_progress(r.job[1], 16);
    assert_int_equal(err.status, NRT_INVALID);
    assert_non_null(strstr(err.text, "does not have the job's key"));
    assert_non_null(strstr(err.text, "NEURON_RT_ROOT_COMM_ID"));
    close(fd);
    port_free(&port);
    ranks_teardown(&r);
}

/* The port of something else entirely. */
static void another_service_is_named(void **state)
{
    struct port port;
    struct ranks r;
    struct net_job_config cfg;
    struct err err = {0};
    bool joined;
    int fd = -1;

    ranks_setup(&r, 2);
    assert_true(port_take(&port, "127.0.0.1"));
    assert_int_equal(listen(port.fd, 1), 0);
    cfg = r.cfg;
    cfg.rank = 1;
    cfg.root = port.root;
    assert_int_equal(net_job_open(&cfg, &r.job[1], NULL), NRT_SUCCESS);
    while (fd < 0) {
        net_job_progress(r.job[1], 16);
        struct pollfd p = {.fd = port.fd, .events = POLLIN};
        if (poll(&p, 1, 1) > 0)
            fd = accept(port.fd, NULL, NULL);
    }
    say(fd, "SSH-2.0-OpenSSH_9.2\r\n", 21);
    while (net_job_state(r.job[1], &joined, &err) == NRT_SUCCESS)
        net_job_progress(r.job[1], 16);
    assert_int_equal(err.status, NRT_INVALID);
    assert_non_null(strstr(err.text, "is not rank 0 of this job"));
    assert_non_null(strstr(err.text, "NEURON_RT_ROOT_COMM_ID of rank 1"));
    close(fd);
    port_free(&port);
    ranks_teardown(&r);
}

/* Strangers of all kinds at once while a job works: it finishes, and none of its memory is theirs.
 */
static void a_job_works_among_strangers(void **state)
{
    enum { RANKS = 3, ROUNDS = 60 };
    struct net_group *g[RANKS];
    struct ranks r;

    ranks_setup(&r, RANKS);
    r.cfg.half_open_max = 4;
    ranks_join(&r);
    for (uint32_t i = 0; i < RANKS; i++)
        assert_int_equal(net_group_open(r.job[i], 1, NULL, RANKS, &g[i], NULL), NRT_SUCCESS);
    srand(11);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        int fd[6];
        uint8_t noise[64] = {'O', 'N', 'R', 'B', (uint8_t)(rand() % 12), 0, MSG_PROTOCOL, 0, 40};
        bool done = false;

        for (int k = 0; k < 6; k++) {
            fd[k] = stranger(&r);
            for (unsigned b = 9; b < sizeof(noise); b++)
                noise[b] = b < MSG_HEAD ? 0 : (uint8_t)rand();
            say(fd[k], noise, (size_t)rand() % sizeof(noise));
        }
        for (uint32_t i = 0; i < RANKS; i++)
            assert_int_equal(net_op_start(g[i], NET_OP_GATHER, &i, 4, NULL), NRT_SUCCESS);
        while (!done) {
            done = true;
            for (uint32_t i = 0; i < RANKS; i++) {
                bool one;

                net_job_progress(r.job[i], 16);
                assert_int_equal(net_op_test(g[i], &one, NULL), NRT_SUCCESS);
                done = done && one;
            }
        }
        for (int k = 0; k < 6; k++)
            close(fd[k]);
    }
    /* The log was not flooded: a line per power of two. */
    assert_true(log_tap_find(&r.tap, "none of this job") <= 10);
    ranks_teardown(&r);
}

static bool noise_was_named(void *arg)
{
    struct ranks *r = arg;

    return log_tap_find(&r->tap, "none of this job") > 0;
}

/* A child holds what its parent had open: closing alone takes no connection out of the set of
 * events, which would go on telling of an object that is no more. */
static void a_forked_child_keeps_no_connection_alive(void **state)
{
    uint8_t buf[4096];
    struct pollfd set = {.events = POLLIN};
    struct ranks r;
    int fd, gate[2], status;
    pid_t child;

    ranks_setup(&r, 2);
    ranks_join(&r);
    set.fd = net_job_fd(r.job[0]);
    fd = stranger(&r);
    assert_true(hear_something(&r, fd, buf, sizeof(buf)) > 0); /* a challenge: it was accepted */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, gate), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(fd); /* it has the root's end alone */
        close(gate[1]);
        _exit(write(gate[0], "", 1) != 1 || read(gate[0], buf, 1) != 0); /* until we are done */
    }
    close(gate[0]);
    assert_int_equal(read(gate[1], buf, 1), 1);
    memset(buf, 0xff, sizeof(buf));
    say(fd, buf, 64);
    ranks_until(&r, noise_was_named, &r);
    close(fd); /* the child's end hears of it */
    ranks_steps(&r, 20);
    assert_int_equal(poll(&set, 1, 0), 0);
    close(gate[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    ranks_teardown(&r);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_chosen_address_answers),
        cmocka_unit_test(noise_is_hung_up_on),
        cmocka_unit_test(a_silent_crowd_keeps_nobody_out),
        cmocka_unit_test(a_slow_one_is_dropped),
        cmocka_unit_test(promises_are_not_believed),
        cmocka_unit_test(a_recorded_join_is_worth_nothing),
        cmocka_unit_test(a_false_root_is_found_out),
        cmocka_unit_test(another_service_is_named),
        cmocka_unit_test(a_job_works_among_strangers),
        cmocka_unit_test(a_forked_child_keeps_no_connection_alive),
    };

    runner_watchdog(240);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
