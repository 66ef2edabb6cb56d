/* SPDX-License-Identifier: Apache-2.0 */
/* nrt_async_sendrecv.h where something is wrong: states, arguments, limits, peers that die, stop or
 * are not there, strangers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "pair_ends.h"
#include "proves.h"
#include "runner.h"

/* ---- states, arguments, limits ---- */

static void off_unless_enabled(void **state)
{
    comm_t *c = (comm_t *)1;

    api_env("trn1.2xlarge", 0);
    unsetenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED");
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_fails(nrt_async_sendrecv_init(0), NRT_FAILURE, "nrt_async_sendrecv_init");
    api_log_clear();
    nrt_async_sendrecv_init(0);
    assert_true(api_log_has("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED=1"));
    assert_fails(nrt_async_sendrecv_close(0), NRT_FAILURE, "nrt_async_sendrecv_close");
    assert_fails(nrt_async_sendrecv_connect("127.0.0.1", 1, 0, &c), NRT_FAILURE,
                 "nrt_async_sendrecv_connect");
    assert_fails(nrt_async_sendrecv_accept("127.0.0.1", 1, 0, &c), NRT_FAILURE,
                 "nrt_async_sendrecv_accept");
    assert_fails(nrt_async_sendrecv_flush(0), NRT_FAILURE, "nrt_async_sendrecv_flush");
    assert_ptr_equal(c, (comm_t *)1);
    pair_teardown();
    PROVES("api-250");
}

static void every_function_in_the_wrong_state(void **state)
{
    static const NRT_STATUS want[] = {NRT_UNINITIALIZED, NRT_CLOSED};
    bool done;
    size_t size;
    int num;
    comm_t *c;
    request_t *r;

    for (int closed = 0; closed < 2; closed++) {
        NRT_STATUS w = want[closed];

        api_env("trn1.2xlarge", 0);
        if (closed) {
            assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
            nrt_close();
        }
        assert_fails(nrt_async_sendrecv_get_max_num_communicators_per_lnc(&num), w,
                     "nrt_async_sendrecv_get_max_num_communicators_per_lnc");
        assert_fails(nrt_async_sendrecv_get_max_num_pending_request(&num), w,
                     "nrt_async_sendrecv_get_max_num_pending_request");
        assert_fails(nrt_async_sendrecv_init(0), w, "nrt_async_sendrecv_init");
        assert_fails(nrt_async_sendrecv_close(0), w, "nrt_async_sendrecv_close");
        assert_fails(nrt_async_sendrecv_connect("127.0.0.1", 1, 0, &c), w,
                     "nrt_async_sendrecv_connect");
        assert_fails(nrt_async_sendrecv_accept("127.0.0.1", 1, 0, &c), w,
                     "nrt_async_sendrecv_accept");
        assert_fails(nrt_async_sendrecv_test_comm((comm_t *)8, &done), w,
                     "nrt_async_sendrecv_test_comm");
        assert_fails(nrt_async_sendrecv_send_tensor((nrt_tensor_t *)8, 0, 1, (comm_t *)8, &r), w,
                     "nrt_async_sendrecv_send_tensor");
        assert_fails(nrt_async_sendrecv_recv_tensor((nrt_tensor_t *)8, 0, 1, (comm_t *)8, &r), w,
                     "nrt_async_sendrecv_recv_tensor");
        assert_fails(nrt_async_sendrecv_test_request((request_t *)8, &done, &size), w,
                     "nrt_async_sendrecv_test_request");
        assert_fails(nrt_async_sendrecv_flush(0), w, "nrt_async_sendrecv_flush");
        api_env_end();
    }
}

static void arguments(void **state)
{
    static const char *const bad_ip[] = {
        "",      "host",   "1.2.3", "1.2.3.4.5", "1.2.3.4:0", "1.2.3.4:65536",
        "[::1]", "[::1]:", "[::1",  "::1]:5",    "localhost", "1.2.3.4:65535"};
    nrt_tensor_t *t;
    comm_t *c = NULL;
    bool done;
    size_t size;
    int num = 0;

    pair_setup();
    assert_ok(nrt_async_sendrecv_get_max_num_communicators_per_lnc(&num));
    assert_int_equal(num, PAIR_COMMS);
    assert_ok(nrt_async_sendrecv_get_max_num_pending_request(&num));
    assert_int_equal(num, PAIR_PENDING);
    assert_fails(nrt_async_sendrecv_get_max_num_communicators_per_lnc(NULL), NRT_INVALID,
                 "nrt_async_sendrecv_get_max_num_communicators_per_lnc");
    assert_fails(nrt_async_sendrecv_get_max_num_pending_request(NULL), NRT_INVALID,
                 "nrt_async_sendrecv_get_max_num_pending_request");
    PROVES("api-057");
    PROVES("api-058");

    /* not this process's, not a core, there already */
    assert_fails(nrt_async_sendrecv_init(1), NRT_FAILURE, "nrt_async_sendrecv_init");
    assert_fails(nrt_async_sendrecv_init(-1), NRT_FAILURE, "nrt_async_sendrecv_init");
    assert_fails(nrt_async_sendrecv_init(0), NRT_FAILURE, "nrt_async_sendrecv_init");
    assert_fails(nrt_async_sendrecv_close(1), NRT_FAILURE, "nrt_async_sendrecv_close");
    assert_fails(nrt_async_sendrecv_flush(1), NRT_FAILURE, "nrt_async_sendrecv_flush");
    assert_ok(nrt_async_sendrecv_flush(0));

    for (size_t i = 0; i < sizeof(bad_ip) / sizeof(bad_ip[0]); i++) {
        assert_fails(nrt_async_sendrecv_connect(bad_ip[i], 1, 0, &c), NRT_FAILURE,
                     "nrt_async_sendrecv_connect");
        assert_fails(nrt_async_sendrecv_accept(bad_ip[i], 1, 0, &c), NRT_FAILURE,
                     "nrt_async_sendrecv_accept");
    }
    assert_fails(nrt_async_sendrecv_connect("127.0.0.1", -1, 0, &c), NRT_FAILURE,
                 "nrt_async_sendrecv_connect");
    assert_fails(nrt_async_sendrecv_connect("127.0.0.1", 1, 1, &c), NRT_FAILURE,
                 "nrt_async_sendrecv_connect");
    assert_fails(nrt_async_sendrecv_connect(NULL, 1, 0, &c), NRT_INVALID,
                 "nrt_async_sendrecv_connect");
    assert_fails(nrt_async_sendrecv_accept("127.0.0.1", 1, 0, NULL), NRT_INVALID,
                 "nrt_async_sendrecv_accept");
    assert_null(c);

    assert_fails(nrt_async_sendrecv_test_comm(NULL, &done), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_test_comm");
    assert_fails(nrt_async_sendrecv_test_request(NULL, &done, &size), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_test_request");
    t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 64);
    assert_fails(nrt_async_sendrecv_test_comm((comm_t *)t, &done), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_test_comm");

    assert_ok(nrt_async_sendrecv_accept("127.0.0.1", 1, 0, &c));
    done = true;
    assert_ok(nrt_async_sendrecv_test_comm(c, &done));
    assert_false(done);
    assert_fails(nrt_async_sendrecv_test_comm(c, NULL), NRT_INVALID,
                 "nrt_async_sendrecv_test_comm");
    /* not connected */
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 0, 1, c, &(request_t *){NULL}), NRT_FAILURE,
                 "nrt_async_sendrecv_recv_tensor");
    /* closing then is an error, and the core stays closed */
    assert_fails(nrt_async_sendrecv_close(0), NRT_FAILURE, "nrt_async_sendrecv_close");
    assert_fails(nrt_async_sendrecv_test_comm(c, &done), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_test_comm");
    assert_fails(nrt_async_sendrecv_init(0), NRT_FAILURE, "nrt_async_sendrecv_init");
    PROVES("api-060");
    pair_teardown();
    /* a new session begins anew */
    pair_setup();
    assert_ok(nrt_async_sendrecv_close(0));
    assert_ok(nrt_async_sendrecv_init(0));
    assert_ok(nrt_async_sendrecv_close(0));
    pair_teardown();
    PROVES("api-059");
}

static void limits_of_communicators_and_requests(void **state)
{
    struct runner_proc p;
    struct pair_end e;
    nrt_tensor_t *t;
    comm_t *c, *other = NULL;
    request_t *r[PAIR_PENDING + 1];
    size_t size;

    pair_setup();
    c = pair_peer_start(&p, &e, false, false);
    t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 4096);
    for (int i = 0; i < PAIR_PENDING; i++)
        r[i] = pair_post(false, t, 0, 64, c);
    r[PAIR_PENDING] = (request_t *)5;
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 0, 64, c, &r[PAIR_PENDING]), NRT_RESOURCE,
                 "nrt_async_sendrecv_recv_tensor");
    assert_ptr_equal(r[PAIR_PENDING], (request_t *)5);
    /* one that is over makes room for one */
    pair_tell(&p, "send 64");
    assert_true(runner_expect(&p, "ok", RUNNER_WAIT_MS));
    assert_ok(pair_request_wait(r[0], &size));
    assert_fails(nrt_async_sendrecv_test_request(r[0], &(bool){0}, &size), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_test_request");
    r[0] = pair_post(false, t, 0, 64, c);
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 0, 64, c, &r[PAIR_PENDING]), NRT_RESOURCE,
                 "nrt_async_sendrecv_recv_tensor");

    /* the direction, the range */
    assert_fails(nrt_async_sendrecv_send_tensor(t, 0, 1, c, &r[PAIR_PENDING]), NRT_FAILURE,
                 "nrt_async_sendrecv_send_tensor");
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 4096, 1, c, &r[PAIR_PENDING]), NRT_FAILURE,
                 "nrt_async_sendrecv_recv_tensor");
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 1, SIZE_MAX, c, &r[PAIR_PENDING]), NRT_FAILURE,
                 "nrt_async_sendrecv_recv_tensor");
    assert_fails(nrt_async_sendrecv_recv_tensor(NULL, 0, 1, c, &r[PAIR_PENDING]),
                 NRT_INVALID_HANDLE, "nrt_async_sendrecv_recv_tensor");
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 0, 1, NULL, &r[PAIR_PENDING]),
                 NRT_INVALID_HANDLE, "nrt_async_sendrecv_recv_tensor");
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 0, 1, c, NULL), NRT_INVALID,
                 "nrt_async_sendrecv_recv_tensor");

    for (int i = 1; i < PAIR_COMMS; i++)
        pair_comm_new(&e, i % 2);
    assert_fails(nrt_async_sendrecv_connect(e.peer_ip, 1, 0, &other), NRT_RESOURCE,
                 "nrt_async_sendrecv_connect");
    assert_fails(nrt_async_sendrecv_accept(e.peer_ip, 1, 0, &other), NRT_RESOURCE,
                 "nrt_async_sendrecv_accept");
    assert_null(other);
    PROVES("inter-023");
    pair_peer_end(&p);
    pair_teardown(); /* with everything open: nrt_close ends it */
}

/* The sender has more than the receiver wants: both are told, and what follows arrives. */
static void a_message_that_does_not_fit(void **state)
{
    struct runner_proc p;
    struct pair_end e;
    nrt_tensor_t *t;
    comm_t *c;
    request_t *r[3];
    size_t size;
    char line[64];

    for (int other = 0; other < 2; other++) {
        pair_setup();
        c = pair_peer_start(&p, &e, other, false);
        t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 4096);
        r[0] = pair_post(false, t, 0, 100, c);
        r[1] = pair_post(false, t, 0, 99, c);
        r[2] = pair_post(false, t, 0, 200, c);
        for (int i = 0; i < 3; i++) {
            pair_tell(&p, "send 100");
            assert_true(runner_expect(&p, "ok", RUNNER_WAIT_MS));
        }
        assert_ok(pair_request_wait(r[0], &size));
        assert_int_equal(size, 100);
        api_log_clear();
        assert_int_equal(pair_request_wait(r[1], &size), NRT_FAILURE);
        assert_true(api_log_has("100 bytes where 99 fit"));
        assert_ok(pair_request_wait(r[2], &size));
        assert_int_equal(size, 100);
        pair_tell(&p, "wait"); /* the last one sent */
        assert_true(runner_line(&p, line, sizeof(line), RUNNER_WAIT_MS));
        assert_string_equal(line, "0 100");
        pair_tell(&p, "wait");
        assert_true(runner_line(&p, line, sizeof(line), RUNNER_WAIT_MS));
        assert_string_equal(line, "1 0");
        pair_tell(&p, "close");
        assert_true(runner_line(&p, line, sizeof(line), RUNNER_WAIT_MS));
        assert_string_equal(line, "0");
        assert_ok(nrt_async_sendrecv_close(0));
        pair_peer_end(&p);
        pair_teardown();
    }
    PROVES("api-066");
}

/* ---- failures ---- */

static void names_the_dead(const struct runner_proc *p, pid_t pid)
{
    char who[40];

    snprintf(who, sizeof(who), "pid %d)", (int)pid);
    if (!api_log_has(who) || !api_log_has("logical core"))
        fail_msg("log is %s", api_log());
}

/* A communicator that has failed takes no more requests. */
static void refuses(bool send, nrt_tensor_t *t, comm_t *c)
{
    request_t *r = NULL;

    if (send)
        assert_fails(nrt_async_sendrecv_send_tensor(t, 0, 1, c, &r), NRT_FAILURE,
                     "nrt_async_sendrecv_send_tensor");
    else
        assert_fails(nrt_async_sendrecv_recv_tensor(t, 0, 1, c, &r), NRT_FAILURE,
                     "nrt_async_sendrecv_recv_tensor");
    assert_null(r);
}

/* Killed with requests of ours waiting, in both directions, on one host and on two. */
static void a_killed_peer_is_named(void **state)
{
    for (int how = 0; how < 4; how++) {
        bool send = how % 2, other = how / 2;
        struct runner_proc p;
        struct pair_end e;
        nrt_tensor_t *t;
        comm_t *c;
        request_t *r[2];
        size_t size;
        pid_t pid;

        pair_setup();
        c = pair_peer_start(&p, &e, other, send);
        t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 4096);
        r[0] = pair_post(send, t, 0, 4096, c);
        r[1] = pair_post(send, t, 0, 10, c);
        pid = p.pid;
        pair_peer_end(&p);
        api_log_clear();
        assert_int_equal(pair_request_wait(r[0], &size), NRT_FAILURE);
        names_the_dead(&p, pid);
        assert_int_equal(pair_request_wait(r[1], &size), NRT_FAILURE);
        api_log_clear();
        assert_int_equal(pair_comm_wait(c), NRT_FAILURE);
        names_the_dead(&p, pid);
        refuses(send, t, c);
        assert_ok(nrt_async_sendrecv_close(0)); /* nothing is under way */
        /* and the core works with the next peer */
        assert_ok(nrt_async_sendrecv_init(0));
        c = pair_peer_start(&p, &e, other, send);
        pair_tell(&p, send ? "recv 4096" : "send 4096");
        r[0] = pair_post(send, t, 0, 4096, c);
        assert_ok(pair_request_wait(r[0], &size));
        pair_peer_end(&p);
        pair_teardown();
    }
}

/* A child that its peer has forked lives on: nothing of it keeps the connection or the port. */
static void a_killed_peer_that_has_forked_is_named_too(void **state)
{
    struct runner_proc p, next;
    struct pair_end e;
    char line[32];
    comm_t *c;
    request_t *r;
    size_t size;
    pid_t pid, child;

    (void)state;
    pair_setup();
    c = pair_peer_start(&p, &e, false, true);
    pair_tell(&p, "fork");
    assert_true(runner_line(&p, line, sizeof(line), RUNNER_WAIT_MS));
    child = (pid_t)atoi(line);
    assert_true(child > 1);
    pid = p.pid;
    r = pair_post(true, pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 64), 0, 64, c);
    api_log_clear();
    runner_kill(&p, SIGKILL);
    assert_int_equal(pair_request_wait(r, &size), NRT_FAILURE);
    names_the_dead(&p, pid);
    assert_ok(nrt_async_sendrecv_close(0));
    assert_ok(nrt_async_sendrecv_init(0));
    assert_int_equal(kill(child, 0), 0);
    (void)pair_peer_start(&next, &e, false, true); /* at the same port */
    pair_peer_end(&next);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), RUNNER_SIGNAL(SIGKILL));
    pair_teardown();
}

/* Killed while a large message is under way: it fails, or it is all there. */
static void killed_in_the_middle(void **state)
{
    const size_t large = (size_t)200 << 20;

    for (int other = 0; other < 2; other++) {
        struct runner_proc p;
        struct pair_end e;
        nrt_tensor_t *t;
        comm_t *c;
        request_t *r;
        size_t size = 0;
        NRT_STATUS st;

        pair_setup();
        c = pair_peer_start(&p, &e, other, false);
        t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, large);
        r = pair_post(false, t, 0, large, c);
        pair_tell(&p, "send 209715200");
        assert_true(runner_expect(&p, "ok", RUNNER_WAIT_MS));
        pair_peer_end(&p);
        st = pair_request_wait(r, &size);
        assert_true(st == NRT_FAILURE || (st == NRT_SUCCESS && size == large));
        assert_ok(nrt_async_sendrecv_close(0));
        pair_teardown();
    }
}

/* A peer that is there and does nothing. */
static void a_stopped_peer_times_out(void **state)
{
    for (int how = 0; how < 2; how++) {
        bool send = how, other = how;
        struct runner_proc p;
        struct pair_end e;
        nrt_tensor_t *t;
        comm_t *c;
        request_t *r;
        char text[64];
        size_t size;
        long s;

        c = pair_peer_limited(&p, &e, other, send, &s);
        t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 4096);
        assert_non_null(
            nrt_tensor_get_va(t)); /* backed: the peer may stop with the device's lock */
        runner_kill(&p, SIGSTOP);
        r = pair_post(send, t, 0, 4096, c);
        api_log_clear();
        assert_int_equal(pair_request_wait(r, &size), NRT_TIMEOUT);
        names_the_dead(&p, p.pid);
        snprintf(text, sizeof(text), "nothing moved for %ld ms", 1000 * s);
        assert_true(api_log_has(text));
        refuses(send, t, c);
        pair_peer_end(&p);
        pair_teardown();
    }
}

/* Silent, talkative and half-hearted strangers at the port, more than are let in. */
static void strangers_keep_nobody_out(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)pair_port(0)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static const char *const words[] = {"", "GET / HTTP/1.1\r\n\r\n", "ONRB"};
    int fd[150];
    struct runner_proc p;
    struct pair_end e;
    nrt_tensor_t *t;
    comm_t *c;
    size_t size;

    pair_setup();
    for (unsigned i = 0; i < 150; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fd[i], (struct sockaddr *)&a, sizeof(a)), 0);
        (void)!send(fd[i], words[i % 3], strlen(words[i % 3]), MSG_NOSIGNAL);
    }
    c = pair_peer_start(&p, &e, false, false); /* it connects to the port with the strangers */
    t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 64);
    pair_tell(&p, "send 64");
    assert_ok(pair_request_wait(pair_post(false, t, 0, 64, c), &size));
    for (unsigned i = 0; i < 150; i++)
        close(fd[i]);
    pair_peer_end(&p);
    pair_teardown();
}

static void a_peer_that_is_not_there(void **state)
{
    struct pair_end e = {.lnc = 0, .peer_lnc = 1, .peer_ip = "127.0.0.1"};
    comm_t *c;

    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    pair_setup();
    c = pair_comm_new(&e, true);
    api_log_clear();
    assert_int_equal(pair_comm_wait(c), NRT_TIMEOUT);
    assert_true(api_log_has("logical core 1 of 127.0.0.1 could not be reached within 1000 ms: "
                            "Connection refused"));
    assert_fails(nrt_async_sendrecv_test_comm(c, &(bool){0}), NRT_TIMEOUT,
                 "nrt_async_sendrecv_test_comm");
    c = pair_comm_new(&e, false);
    api_log_clear();
    assert_int_equal(pair_comm_wait(c), NRT_TIMEOUT);
    assert_true(api_log_has("must call nrt_async_sendrecv_connect for logical core 0"));
    /* an address that nobody answers for, or that cannot be reached from here */
    snprintf(e.peer_ip, sizeof(e.peer_ip), "203.0.113.1");
    c = pair_comm_new(&e, true);
    assert_int_equal(pair_comm_wait(c), NRT_TIMEOUT);
    assert_ok(nrt_async_sendrecv_close(0)); /* they have failed: nothing is left to connect */
    pair_teardown();
    PROVES("api-063");
}

static void a_port_that_is_taken(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)pair_port(0))};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    api_env("trn1.2xlarge", 0);
    setenv("OPENNRT_JOB_KEY", "of the tests", 1);
    pair_setenv("NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", pair_port(0));
    setenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED", "1", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    api_log_clear();
    assert_int_equal(nrt_async_sendrecv_init(0), NRT_FAILURE);
    assert_true(api_log_has("choose another NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT"));
    assert_int_equal(api_log_errors(), 1);
    close(fd);
    assert_ok(nrt_async_sendrecv_init(0)); /* it was not the core's fault */
    assert_ok(nrt_async_sendrecv_close(0));
    pair_teardown();
    PROVES("api-251");
    PROVES("inter-024"); /* with off_unless_enabled above */
}

/* other-key LNC PEER IP */
static int helper_other_key(int argc, char **argv)
{
    struct pair_end e = pair_end_from(argv + 1);

    setenv("OPENNRT_JOB_KEY", "another", 1);
    pair_begin(e.lnc);
    runner_say(pair_comm_wait(pair_comm_new(&e, true)) == NRT_FAILURE ? "refused" : "not refused");
    return 0;
}

static void another_key_is_refused(void **state)
{
    struct runner_proc p;
    struct pair_end e;
    comm_t *c;
    bool done = true;

    pair_setup();
    pair_start(&p, "other-key", &e, true, "127.0.0.1", NULL, NULL);
    c = pair_comm_new(&e, false);
    assert_true(runner_expect(&p, "refused", RUNNER_WAIT_MS));
    assert_ok(nrt_async_sendrecv_test_comm(c, &done));
    assert_false(done);
    runner_wait(&p, RUNNER_WAIT_MS);
    pair_teardown();
}

static void closing_with_requests_under_way(void **state)
{
    struct runner_proc p;
    struct pair_end e;
    nrt_tensor_t *t;
    comm_t *c;
    request_t *r;
    size_t size;
    bool done;
    char line[64];

    pair_setup();
    c = pair_peer_start(&p, &e, false, true);
    t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 4096);
    r = pair_post(true, t, 0, 10, c);
    pair_tell(&p, "recv 5000");
    assert_true(runner_expect(&p, "ok", RUNNER_WAIT_MS));
    assert_ok(pair_request_wait(r, &size));
    pair_tell(&p, "recv 5000"); /* for which nothing will come */
    assert_true(runner_expect(&p, "ok", RUNNER_WAIT_MS));
    r = pair_post(true, t, 0, 10, c);
    assert_ok(pair_request_wait(r, &size));
    r = pair_post(true, t, 0, 10, c); /* which nobody takes */
    nrt_tensor_free(&t);              /* the request still has it */
    assert_fails(nrt_async_sendrecv_close(0), NRT_FAILURE, "nrt_async_sendrecv_close");
    assert_fails(nrt_async_sendrecv_test_request(r, &done, &size), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_test_request");
    assert_fails(nrt_async_sendrecv_test_comm(c, &done), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_test_comm");
    assert_fails(nrt_async_sendrecv_init(0), NRT_FAILURE, "nrt_async_sendrecv_init");
    for (int i = 0; i < 2; i++) {
        pair_tell(&p, "wait");
        assert_true(runner_line(&p, line, sizeof(line), RUNNER_WAIT_MS));
        assert_string_equal(line, "0 10");
    }
    pair_tell(&p, "lost");
    assert_true(runner_line(&p, line, sizeof(line), RUNNER_WAIT_MS));
    assert_string_equal(line, "1"); /* NRT_FAILURE: told that the other side has gone */
    pair_peer_end(&p);
    pair_teardown();
}

static const struct runner_helper helpers[] = {
    {"peer", pair_helper_peer}, {"other-key", helper_other_key}, {NULL, NULL}};

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_in_the_wrong_state),
        cmocka_unit_test(off_unless_enabled),
        cmocka_unit_test(arguments),
        cmocka_unit_test(limits_of_communicators_and_requests),
        cmocka_unit_test(a_message_that_does_not_fit),
        cmocka_unit_test(a_killed_peer_is_named),
        cmocka_unit_test(a_killed_peer_that_has_forked_is_named_too),
        cmocka_unit_test(killed_in_the_middle),
        cmocka_unit_test(a_stopped_peer_times_out),
        cmocka_unit_test(strangers_keep_nobody_out),
        cmocka_unit_test(a_peer_that_is_not_there),
        cmocka_unit_test(a_port_that_is_taken),
        cmocka_unit_test(another_key_is_refused),
        cmocka_unit_test(closing_with_requests_under_way),
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
