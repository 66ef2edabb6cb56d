/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "pair_ends.h"
#include "runner.h"

/* port: 0 for any. On all addresses of both families, as the cores listen; -1 if somebody has it.
 */
static int port_bind(uint16_t *port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(*port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(*port)};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), off = 0, one = 1;
    bool v6 = fd >= 0;
    struct sockaddr *sa = v6 ? (struct sockaddr *)&six : (struct sockaddr *)&four;
    socklen_t len = v6 ? sizeof(six) : sizeof(four);

    if (v6)
        assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
    else
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    if (bind(fd, sa, len) != 0) {
        close(fd);
        return -1;
    }
    assert_int_equal(getsockname(fd, sa, &len), 0);
    *port = ntohs(v6 ? six.sin6_port : four.sin_port);
    return fd;
}

unsigned pair_port(unsigned host)
{
    static uint16_t ports[2];

    while (ports[host] == 0) {
        uint16_t first = 0, next;
        int fd = port_bind(&first);

        assert_true(fd >= 0);
        next = (uint16_t)(first + 1);
        if (next != 0 && port_bind(&next) >= 0)
            ports[host] = first;
        /* else the first stays bound, too: the kernel chooses another */
    }
    return ports[host];
}

void pair_setenv(const char *name, long v)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld", v);
    setenv(name, text, 1);
}

/* Core lnc of the current instance, with the port of the environment. */
void pair_begin(int lnc)
{
    setenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED", "1", 1);
    pair_setenv("NEURON_RT_VISIBLE_CORES", lnc);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_ok(nrt_async_sendrecv_init(lnc));
}

void pair_teardown(void)
{
    nrt_close();
    unsetenv("NEURON_RT_VISIBLE_CORES");
    unsetenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED");
    unsetenv("NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT");
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    unsetenv("OPENNRT_JOB_KEY");
    api_env_end();
}

/* The test is core 0 of an instance of its own. Its ends have a long limit, unless it sets one. */
void pair_setup(void)
{
    nrt_close();                                /* what a failed test has left */
    setenv("NEURON_RT_EXEC_TIMEOUT", "110", 0); /* only a hang reaches it */
    api_env("trn1.2xlarge", 0);
    setenv("OPENNRT_JOB_KEY", "of the tests", 1);
    pair_setenv("NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", pair_port(0));
    pair_begin(0);
}

comm_t *pair_comm_new(const struct pair_end *e, bool send)
{
    comm_t *c = NULL;

    assert_ok(send ? nrt_async_sendrecv_connect(e->peer_ip, e->peer_lnc, e->lnc, &c)
                   : nrt_async_sendrecv_accept(e->peer_ip, e->peer_lnc, e->lnc, &c));
    assert_non_null(c);
    return c;
}

NRT_STATUS pair_comm_wait(comm_t *c)
{
    bool done = false;
    NRT_STATUS st = NRT_SUCCESS;

    while (st == NRT_SUCCESS && !done)
        st = nrt_async_sendrecv_test_comm(c, &done);
    return st;
}

comm_t *pair_comm_connected(const struct pair_end *e, bool send)
{
    comm_t *c = pair_comm_new(e, send);

    assert_ok(pair_comm_wait(c));
    return c;
}

NRT_STATUS pair_request_wait(request_t *r, size_t *ret_size)
{
    bool done = false;
    NRT_STATUS st = NRT_SUCCESS;

    while (st == NRT_SUCCESS && !done)
        st = nrt_async_sendrecv_test_request(r, &done, ret_size);
    return st;
}

nrt_tensor_t *pair_tensor_new(nrt_tensor_placement_t where, size_t size)
{
    nrt_tensor_t *t = NULL;

    assert_ok(nrt_tensor_allocate(where, 0, size, "", &t));
    return t;
}

request_t *pair_post(bool send, nrt_tensor_t *t, size_t off, size_t size, comm_t *c)
{
    request_t *r = NULL;

    assert_ok(send ? nrt_async_sendrecv_send_tensor(t, off, size, c, &r)
                   : nrt_async_sendrecv_recv_tensor(t, off, size, c, &r));
    assert_non_null(r);
    return r;
}

struct pair_end pair_end_from(char **argv)
{
    struct pair_end e = {.lnc = atoi(argv[0]), .peer_lnc = atoi(argv[1])};

    snprintf(e.peer_ip, sizeof(e.peer_ip), "%s", argv[2]);
    return e;
}

/* other: the helper is a host of its own, with an instance and a port of its own. */
void pair_start(struct runner_proc *p, const char *name, struct pair_end *e, bool other,
                const char *ip, const char *a, const char *b)
{
    char lnc[16], peer[16], here[64], port[80], instance[80], number[32];
    bool six = strchr(ip, ':') != NULL;
    unsigned theirs = pair_port(1);
    const char *args[] = {lnc, peer, here, a, b, NULL};
    const char *env[] = {port, instance, "NEURON_RT_EXEC_TIMEOUT=110", NULL};

    *e = (struct pair_end){.lnc = 0, .peer_lnc = other ? 0 : 1};
    snprintf(lnc, sizeof(lnc), "%d", e->peer_lnc);
    snprintf(peer, sizeof(peer), "%d", e->lnc);
    snprintf(e->peer_ip, sizeof(e->peer_ip), other ? (six ? "[%s]:%u" : "%s:%u") : "%s", ip,
             theirs);
    snprintf(here, sizeof(here), other ? (six ? "[%s]:%u" : "%s:%u") : "%s", ip, pair_port(0));
    snprintf(number, sizeof(number), "%u", other ? theirs : pair_port(0));
    snprintf(port, sizeof(port), "NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT=%s", number);
    snprintf(instance, sizeof(instance), "OPENNRT_INSTANCE=%s%s", getenv("OPENNRT_INSTANCE"),
             other ? "-b" : "");
    assert_true(runner_start(p, name, args, env));
}

/* ---- a peer that does as it is told ---- */

static comm_t *told_comm[4];
static request_t *told_request[PAIR_PENDING + 1];
static unsigned told_comms, told_requests;
static nrt_tensor_t *told_tensor;

static bool obey(const struct pair_end *e, const char *line)
{
    unsigned long size;
    size_t moved = 0;
    NRT_STATUS st;

    if (strcmp(line, "connect") == 0 || strcmp(line, "accept") == 0) {
        told_comm[told_comms++] = pair_comm_connected(e, line[0] == 'c');
    } else if (sscanf(line, "send %lu", &size) == 1) {
        told_request[told_requests++] = pair_post(true, told_tensor, 0, size, told_comm[0]);
    } else if (sscanf(line, "recv %lu", &size) == 1) {
        told_request[told_requests++] = pair_post(false, told_tensor, 0, size, told_comm[0]);
    } else if (strcmp(line, "wait") == 0) {
        st = pair_request_wait(told_request[--told_requests], &moved);
        printf("%d %zu\n", (int)st, moved);
        fflush(stdout);
        return true;
    } else if (strcmp(line, "lost") == 0) {
        bool done;

        do
            st = nrt_async_sendrecv_test_comm(told_comm[0], &done);
        while (st == NRT_SUCCESS);
        printf("%d\n", (int)st);
        fflush(stdout);
        return true;
    } else if (strcmp(line, "fork") == 0) {
        pid_t pid = fork();

        if (pid == 0) { /* lives longer than its parent */
            alarm(RUNNER_WAIT_MS / 1000);
            pause();
            _exit(0);
        }
        printf("%d\n", (int)pid);
        fflush(stdout);
        return true;
    } else if (strcmp(line, "close") == 0) {
        printf("%d\n", (int)nrt_async_sendrecv_close(e->lnc));
        fflush(stdout);
        return true;
    } else {
        return false;
    }
    runner_say("ok");
    return true;
}

/* peer LNC PEER IP */
int pair_helper_peer(int argc, char **argv)
{
    struct pair_end e = pair_end_from(argv + 1);
    char line[80];

    pair_begin(e.lnc);
    told_tensor = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, (size_t)256 << 20);
    runner_say("ready");
    while (runner_hear(line, sizeof(line)) && obey(&e, line))
        ;
    return 0;
}

void pair_tell(struct runner_proc *p, const char *line)
{
    assert_true(runner_tell(p, line));
}

/* A peer that is there; the test connects to it or accepts it. */
static NRT_STATUS peer_meet(struct runner_proc *p, struct pair_end *e, bool other, bool send,
                            comm_t **ret)
{
    pair_start(p, "peer", e, other, "127.0.0.1", NULL, NULL);
    assert_true(runner_expect(p, "ready", RUNNER_WAIT_MS));
    pair_tell(p, send ? "accept" : "connect");
    *ret = pair_comm_new(e, send);
    return pair_comm_wait(*ret);
}

comm_t *pair_peer_start(struct runner_proc *p, struct pair_end *e, bool other, bool send)
{
    comm_t *c;

    assert_ok(peer_meet(p, e, other, send, &c));
    assert_true(runner_expect(p, "ok", RUNNER_WAIT_MS));
    return c;
}

comm_t *pair_peer_limited(struct runner_proc *p, struct pair_end *e, bool other, bool send,
                          long *ret_s)
{
    NRT_STATUS st = NRT_TIMEOUT;
    comm_t *c = NULL;

    for (*ret_s = 4; st == NRT_TIMEOUT; *ret_s *= 2) {
        if (c) {
            pair_peer_end(p);
            pair_teardown();
        }
        pair_setenv("NEURON_RT_EXEC_TIMEOUT", *ret_s);
        pair_setup();
        st = peer_meet(p, e, other, send, &c);
    }
    *ret_s /= 2;
    assert_ok(st);
    assert_true(runner_expect(p, "ok", RUNNER_WAIT_MS));
    return c;
}

void pair_peer_end(struct runner_proc *p)
{
    runner_kill(p, SIGKILL);
    assert_int_equal(runner_wait(p, RUNNER_WAIT_MS), RUNNER_SIGNAL(SIGKILL));
}
