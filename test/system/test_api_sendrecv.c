/* SPDX-License-Identifier: Apache-2.0 */
/* nrt_async_sendrecv.h between real processes: on one instance, and on two that play two hosts.
 * api.md 6. What a message must hold is a formula of (seed, communicator, message, position), so
 * the receiver needs nothing from the sender to check it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "nrt/nrt_async_sendrecv.h"
#include "proves.h"
#include "runner.h"

#define WAIT_MS   60000
#define COMMS_MAX 64
#define PENDING   128

typedef nrt_async_sendrecv_comm_t comm_t;
typedef nrt_async_sendrecv_request_t request_t;

static uint64_t seed;

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* ---- ends ---- */

/* A core of this process, and how it reaches its peer. */
struct end {
    int lnc, peer_lnc;
    char peer_ip[64];
};

/* Below the ports that the kernel gives to connecting sockets, and this process's own. */
static unsigned base_port(void)
{
    return 12000 + (unsigned)(getpid() % 1600) * 8;
}

static void setenv_number(const char *name, long v)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld", v);
    setenv(name, text, 1);
}

/* Core lnc of the current instance, with the port of the environment. */
static void begin(int lnc)
{
    setenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED", "1", 1);
    setenv_number("NEURON_RT_VISIBLE_CORES", lnc);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_ok(nrt_async_sendrecv_init(lnc));
}

static void end_of_test(void)
{
    nrt_close();
    unsetenv("NEURON_RT_VISIBLE_CORES");
    unsetenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED");
    unsetenv("NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT");
    unsetenv("NEURON_RT_EXEC_TIMEOUT");
    unsetenv("OPENNRT_JOB_KEY");
    api_env_end();
}

/* The test is core 0 of an instance of its own. */
static void setup(void)
{
    nrt_close(); /* what a failed test has left */
    api_env("trn1.2xlarge", 0);
    setenv("OPENNRT_JOB_KEY", "of the tests", 1);
    setenv_number("NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", base_port());
    begin(0);
}

static comm_t *comm_new(const struct end *e, bool send)
{
    comm_t *c = NULL;

    assert_ok(send ? nrt_async_sendrecv_connect(e->peer_ip, e->peer_lnc, e->lnc, &c)
                   : nrt_async_sendrecv_accept(e->peer_ip, e->peer_lnc, e->lnc, &c));
    assert_non_null(c);
    return c;
}

static NRT_STATUS comm_wait(comm_t *c)
{
    bool done = false;
    NRT_STATUS st = NRT_SUCCESS;

    while (st == NRT_SUCCESS && !done)
        st = nrt_async_sendrecv_test_comm(c, &done);
    return st;
}

static comm_t *comm_connected(const struct end *e, bool send)
{
    comm_t *c = comm_new(e, send);

    assert_ok(comm_wait(c));
    return c;
}

static NRT_STATUS request_wait(request_t *r, size_t *ret_size)
{
    bool done = false;
    NRT_STATUS st = NRT_SUCCESS;

    while (st == NRT_SUCCESS && !done)
        st = nrt_async_sendrecv_test_request(r, &done, ret_size);
    return st;
}

static nrt_tensor_t *tensor_new(nrt_tensor_placement_t where, size_t size)
{
    nrt_tensor_t *t = NULL;

    assert_ok(nrt_tensor_allocate(where, 0, size, "", &t));
    return t;
}

static request_t *post(bool send, nrt_tensor_t *t, size_t off, size_t size, comm_t *c)
{
    request_t *r = NULL;

    assert_ok(send ? nrt_async_sendrecv_send_tensor(t, off, size, c, &r)
                   : nrt_async_sendrecv_recv_tensor(t, off, size, c, &r));
    assert_non_null(r);
    return r;
}

/* ---- a random exchange in both directions at once ---- */

#define MESSAGES 24 /* a communicator, where there are few */
#define MARGIN   64 /* bytes around a received message that must stay as they were */

struct message {
    size_t size, room, off; /* room: what the receiver offers */
    nrt_tensor_placement_t where[2];
    nrt_tensor_t *tensor;
    request_t *request;
};

static size_t draw_size(uint64_t r)
{
    static const size_t edge[] = {0, 1, 7, 63, 64, 65, 4095, 4096, 65536, 1 << 20, (1 << 20) + 1};

    switch (r % 4) {
    case 0:
        return edge[r / 4 % (sizeof(edge) / sizeof(edge[0]))];
    case 1:
        return r / 4 % 300000;
    case 2:
        return r / 4 % 2000000;
    default:
        return r / 4 % 5000;
    }
}

/* Both sides draw the same. */
static struct message draw(unsigned comm, unsigned i)
{
    uint64_t r = mix(seed + comm * 1000003u + i);
    struct message m = {.size = draw_size(mix(r)), .off = MARGIN + mix(r + 1) % 10000};

    m.room = m.size + (mix(r + 2) % 4 == 0 ? mix(r + 3) % 1000 : 0);
    for (int side = 0; side < 2; side++)
        m.where[side] = mix(r + 4 + (uint64_t)side) % 3 == 0 ? NRT_TENSOR_PLACEMENT_VIRTUAL
                                                             : NRT_TENSOR_PLACEMENT_DEVICE;
    return m;
}

static uint8_t byte_of(unsigned comm, unsigned i, size_t at)
{
    return (uint8_t)((seed + comm * 131u + i * 31u + at) * 2654435761u >> 13);
}

static void fill(struct message *m, unsigned comm, unsigned i, bool send)
{
    uint8_t *buf = malloc(m->room + 2 * MARGIN);

    m->tensor = tensor_new(m->where[send], m->off + m->room + MARGIN);
    for (size_t k = 0; k < m->room + 2 * MARGIN; k++)
        buf[k] = send && k >= MARGIN && k < MARGIN + m->size ? byte_of(comm, i, k - MARGIN) : 0xa5;
    assert_ok(nrt_tensor_write(m->tensor, buf, m->off - MARGIN, m->room + 2 * MARGIN));
    free(buf);
}

static void check(struct message *m, unsigned comm, unsigned i)
{
    uint8_t *buf = malloc(m->room + 2 * MARGIN);

    assert_ok(nrt_tensor_read(m->tensor, buf, m->off - MARGIN, m->room + 2 * MARGIN));
    for (size_t k = 0; k < m->room + 2 * MARGIN; k++) {
        bool inside = k >= MARGIN && k < MARGIN + m->size;

        if (buf[k] != (inside ? byte_of(comm, i, k - MARGIN) : 0xa5))
            fail_msg("seed %llu communicator %u message %u of %zu bytes: byte %zd",
                     (unsigned long long)seed, comm, i, m->size, (ssize_t)k - MARGIN);
    }
    free(buf);
}

static void end_message(struct message *m, unsigned comm, unsigned i, bool send)
{
    size_t size = 0;

    assert_ok(request_wait(m->request, &size));
    assert_int_equal(size, m->size);
    if (!send)
        check(m, comm, i);
    nrt_tensor_free(&m->tensor);
}

/* side 0 sends on even communicators, side 1 on odd ones; up to `ahead` requests under way. */
static void exchange(const struct end *e, unsigned side, unsigned comms)
{
    comm_t *c[COMMS_MAX];
    static struct message m[COMMS_MAX][MESSAGES];
    const unsigned ahead = 5, messages = comms > 8 ? 4 : MESSAGES;

    for (unsigned k = 0; k < comms; k++)
        c[k] = comm_new(e, k % 2 == side);
    for (unsigned k = 0; k < comms; k++)
        assert_ok(comm_wait(c[k]));
    for (unsigned i = 0; i < messages + ahead; i++) {
        for (unsigned k = 0; k < comms; k++) {
            bool send = k % 2 == side;

            if (i < messages) {
                m[k][i] = draw(k, i);
                fill(&m[k][i], k, i, send);
                m[k][i].request = post(send, m[k][i].tensor, m[k][i].off,
                                       send ? m[k][i].size : m[k][i].room, c[k]);
            }
            if (i >= ahead && i - ahead < messages)
                end_message(&m[k][i - ahead], k, i - ahead, send);
        }
    }
    assert_ok(nrt_async_sendrecv_flush(e->lnc));
    assert_ok(nrt_async_sendrecv_close(e->lnc));
}

static struct end end_from(char **argv)
{
    struct end e = {.lnc = atoi(argv[0]), .peer_lnc = atoi(argv[1])};

    snprintf(e.peer_ip, sizeof(e.peer_ip), "%s", argv[2]);
    return e;
}

/* exchange LNC PEER IP COMMS SEED */
static int helper_exchange(int argc, char **argv)
{
    struct end e = end_from(argv + 1);

    seed = strtoull(argv[5], NULL, 10);
    begin(e.lnc);
    exchange(&e, 1, (unsigned)atoi(argv[4]));
    nrt_close();
    return 0;
}

/* other: the helper is a host of its own, with an instance and a port of its own. */
static void start_helper(struct runner_proc *p, const char *name, struct end *e, bool other,
                         const char *ip, const char *a, const char *b)
{
    char lnc[16], peer[16], here[64], port[80], instance[80], number[32];
    bool six = strchr(ip, ':') != NULL;
    unsigned theirs = base_port() + 4;
    const char *args[] = {lnc, peer, here, a, b, NULL};
    const char *env[] = {port, instance, NULL};

    *e = (struct end){.lnc = 0, .peer_lnc = other ? 0 : 1};
    snprintf(lnc, sizeof(lnc), "%d", e->peer_lnc);
    snprintf(peer, sizeof(peer), "%d", e->lnc);
    snprintf(e->peer_ip, sizeof(e->peer_ip), other ? (six ? "[%s]:%u" : "%s:%u") : "%s", ip,
             theirs);
    snprintf(here, sizeof(here), other ? (six ? "[%s]:%u" : "%s:%u") : "%s", ip, base_port());
    snprintf(number, sizeof(number), "%u", other ? theirs : base_port());
    snprintf(port, sizeof(port), "NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT=%s", number);
    snprintf(instance, sizeof(instance), "OPENNRT_INSTANCE=%s%s", getenv("OPENNRT_INSTANCE"),
             other ? "-b" : "");
    assert_true(runner_start(p, name, args, env));
}

static void run_exchange(bool other, const char *ip, unsigned comms)
{
    char text[32], number[16];
    struct runner_proc p;
    struct end e;

    setup();
    snprintf(text, sizeof(text), "%llu", (unsigned long long)seed);
    snprintf(number, sizeof(number), "%u", comms);
    start_helper(&p, "exchange", &e, other, ip, number, text);
    exchange(&e, 0, comms);
    assert_int_equal(runner_wait(&p, WAIT_MS), 0);
    end_of_test();
}

static void processes_of_one_host_exchange(void **state)
{
    run_exchange(false, "127.0.0.1", 6);
    PROVES("api-061");
    PROVES("api-062");
    PROVES("api-064");
    PROVES("api-065");
    PROVES("api-251");
}

static void two_hosts_exchange(void **state)
{
    run_exchange(true, "127.0.0.1", 6);
}

static bool have_ipv6(void)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool have = fd >= 0 && bind(fd, (struct sockaddr *)&six, sizeof(six)) == 0;

    if (fd >= 0)
        close(fd);
    return have;
}

static void over_ipv6(void **state)
{
    if (!have_ipv6())
        skip();
    run_exchange(true, "::1", 2);
    run_exchange(false, "::1", 2);
}

/* The k-th connect meets the k-th accept, for as many as a core may have. */
static void as_many_communicators_as_allowed_in_order(void **state)
{
    run_exchange(false, "127.0.0.1", COMMS_MAX);
    run_exchange(true, "127.0.0.1", COMMS_MAX);
}

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
    end_of_test();
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

    setup();
    assert_ok(nrt_async_sendrecv_get_max_num_communicators_per_lnc(&num));
    assert_int_equal(num, COMMS_MAX);
    assert_ok(nrt_async_sendrecv_get_max_num_pending_request(&num));
    assert_int_equal(num, PENDING);
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
    t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 64);
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
    end_of_test();
    /* a new session begins anew */
    setup();
    assert_ok(nrt_async_sendrecv_close(0));
    assert_ok(nrt_async_sendrecv_init(0));
    assert_ok(nrt_async_sendrecv_close(0));
    end_of_test();
    PROVES("api-059");
}

/* ---- a peer that does as it is told ---- */

static comm_t *told_comm[4];
static request_t *told_request[PENDING + 1];
static unsigned told_comms, told_requests;
static nrt_tensor_t *told_tensor;

static bool obey(const struct end *e, const char *line)
{
    unsigned long size;
    size_t moved = 0;
    NRT_STATUS st;

    if (strcmp(line, "connect") == 0 || strcmp(line, "accept") == 0) {
        told_comm[told_comms++] = comm_connected(e, line[0] == 'c');
    } else if (sscanf(line, "send %lu", &size) == 1) {
        told_request[told_requests++] = post(true, told_tensor, 0, size, told_comm[0]);
    } else if (sscanf(line, "recv %lu", &size) == 1) {
        told_request[told_requests++] = post(false, told_tensor, 0, size, told_comm[0]);
    } else if (strcmp(line, "wait") == 0) {
        st = request_wait(told_request[--told_requests], &moved);
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
static int helper_peer(int argc, char **argv)
{
    struct end e = end_from(argv + 1);
    char line[80];

    begin(e.lnc);
    told_tensor = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, (size_t)256 << 20);
    runner_say("ready");
    while (runner_hear(line, sizeof(line)) && obey(&e, line))
        ;
    return 0;
}

static void tell(struct runner_proc *p, const char *line)
{
    assert_true(runner_tell(p, line));
}

/* A peer that is there; the test connects to it or accepts it. */
static comm_t *peer_start(struct runner_proc *p, struct end *e, bool other, bool send)
{
    comm_t *c;

    start_helper(p, "peer", e, other, "127.0.0.1", NULL, NULL);
    assert_true(runner_expect(p, "ready", WAIT_MS));
    tell(p, send ? "accept" : "connect");
    c = comm_connected(e, send);
    assert_true(runner_expect(p, "ok", WAIT_MS));
    return c;
}

static void peer_end(struct runner_proc *p)
{
    runner_kill(p, SIGKILL);
    assert_int_equal(runner_wait(p, WAIT_MS), RUNNER_SIGNAL(SIGKILL));
}

static void limits_of_communicators_and_requests(void **state)
{
    struct runner_proc p;
    struct end e;
    nrt_tensor_t *t;
    comm_t *c, *other = NULL;
    request_t *r[PENDING + 1];
    size_t size;

    setup();
    c = peer_start(&p, &e, false, false);
    t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 4096);
    for (int i = 0; i < PENDING; i++)
        r[i] = post(false, t, 0, 64, c);
    r[PENDING] = (request_t *)5;
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 0, 64, c, &r[PENDING]), NRT_RESOURCE,
                 "nrt_async_sendrecv_recv_tensor");
    assert_ptr_equal(r[PENDING], (request_t *)5);
    /* one that is over makes room for one */
    tell(&p, "send 64");
    assert_true(runner_expect(&p, "ok", WAIT_MS));
    assert_ok(request_wait(r[0], &size));
    assert_fails(nrt_async_sendrecv_test_request(r[0], &(bool){0}, &size), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_test_request");
    r[0] = post(false, t, 0, 64, c);
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 0, 64, c, &r[PENDING]), NRT_RESOURCE,
                 "nrt_async_sendrecv_recv_tensor");

    /* the direction, the range */
    assert_fails(nrt_async_sendrecv_send_tensor(t, 0, 1, c, &r[PENDING]), NRT_FAILURE,
                 "nrt_async_sendrecv_send_tensor");
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 4096, 1, c, &r[PENDING]), NRT_FAILURE,
                 "nrt_async_sendrecv_recv_tensor");
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 1, SIZE_MAX, c, &r[PENDING]), NRT_FAILURE,
                 "nrt_async_sendrecv_recv_tensor");
    assert_fails(nrt_async_sendrecv_recv_tensor(NULL, 0, 1, c, &r[PENDING]), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_recv_tensor");
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 0, 1, NULL, &r[PENDING]), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_recv_tensor");
    assert_fails(nrt_async_sendrecv_recv_tensor(t, 0, 1, c, NULL), NRT_INVALID,
                 "nrt_async_sendrecv_recv_tensor");

    for (int i = 1; i < COMMS_MAX; i++)
        comm_new(&e, i % 2);
    assert_fails(nrt_async_sendrecv_connect(e.peer_ip, 1, 0, &other), NRT_RESOURCE,
                 "nrt_async_sendrecv_connect");
    assert_fails(nrt_async_sendrecv_accept(e.peer_ip, 1, 0, &other), NRT_RESOURCE,
                 "nrt_async_sendrecv_accept");
    assert_null(other);
    peer_end(&p);
    end_of_test(); /* with everything open: nrt_close ends it */
}

/* The sender has more than the receiver wants: both are told, and what follows arrives. */
static void a_message_that_does_not_fit(void **state)
{
    struct runner_proc p;
    struct end e;
    nrt_tensor_t *t;
    comm_t *c;
    request_t *r[3];
    size_t size;
    char line[64];

    for (int other = 0; other < 2; other++) {
        setup();
        c = peer_start(&p, &e, other, false);
        t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 4096);
        r[0] = post(false, t, 0, 100, c);
        r[1] = post(false, t, 0, 99, c);
        r[2] = post(false, t, 0, 200, c);
        for (int i = 0; i < 3; i++) {
            tell(&p, "send 100");
            assert_true(runner_expect(&p, "ok", WAIT_MS));
        }
        assert_ok(request_wait(r[0], &size));
        assert_int_equal(size, 100);
        api_log_clear();
        assert_int_equal(request_wait(r[1], &size), NRT_FAILURE);
        assert_true(api_log_has("100 bytes where 99 fit"));
        assert_ok(request_wait(r[2], &size));
        assert_int_equal(size, 100);
        tell(&p, "wait"); /* the last one sent */
        assert_true(runner_line(&p, line, sizeof(line), WAIT_MS));
        assert_string_equal(line, "0 100");
        tell(&p, "wait");
        assert_true(runner_line(&p, line, sizeof(line), WAIT_MS));
        assert_string_equal(line, "1 0");
        tell(&p, "close");
        assert_true(runner_line(&p, line, sizeof(line), WAIT_MS));
        assert_string_equal(line, "0");
        assert_ok(nrt_async_sendrecv_close(0));
        peer_end(&p);
        end_of_test();
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
        struct end e;
        nrt_tensor_t *t;
        comm_t *c;
        request_t *r[2];
        size_t size;
        pid_t pid;

        setup();
        c = peer_start(&p, &e, other, send);
        t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 4096);
        r[0] = post(send, t, 0, 4096, c);
        r[1] = post(send, t, 0, 10, c);
        pid = p.pid;
        peer_end(&p);
        api_log_clear();
        assert_int_equal(request_wait(r[0], &size), NRT_FAILURE);
        names_the_dead(&p, pid);
        assert_int_equal(request_wait(r[1], &size), NRT_FAILURE);
        api_log_clear();
        assert_int_equal(comm_wait(c), NRT_FAILURE);
        names_the_dead(&p, pid);
        refuses(send, t, c);
        assert_ok(nrt_async_sendrecv_close(0)); /* nothing is under way */
        /* and the core works with the next peer */
        assert_ok(nrt_async_sendrecv_init(0));
        c = peer_start(&p, &e, other, send);
        tell(&p, send ? "recv 4096" : "send 4096");
        r[0] = post(send, t, 0, 4096, c);
        assert_ok(request_wait(r[0], &size));
        peer_end(&p);
        end_of_test();
    }
}

/* Killed while a large message is under way: it fails, or it is all there. */
static void killed_in_the_middle(void **state)
{
    const size_t large = (size_t)200 << 20;

    for (int other = 0; other < 2; other++) {
        struct runner_proc p;
        struct end e;
        nrt_tensor_t *t;
        comm_t *c;
        request_t *r;
        size_t size = 0;
        NRT_STATUS st;

        setup();
        c = peer_start(&p, &e, other, false);
        t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, large);
        r = post(false, t, 0, large, c);
        tell(&p, "send 209715200");
        assert_true(runner_expect(&p, "ok", WAIT_MS));
        peer_end(&p);
        st = request_wait(r, &size);
        assert_true(st == NRT_FAILURE || (st == NRT_SUCCESS && size == large));
        assert_ok(nrt_async_sendrecv_close(0));
        end_of_test();
    }
}

/* A peer that is there and does nothing. */
static void a_stopped_peer_times_out(void **state)
{
    for (int how = 0; how < 2; how++) {
        bool send = how, other = how;
        struct runner_proc p;
        struct end e;
        nrt_tensor_t *t;
        comm_t *c;
        request_t *r;
        size_t size;

        setenv("NEURON_RT_EXEC_TIMEOUT", "5", 1); /* to connect, too */
        setup();
        c = peer_start(&p, &e, other, send);
        t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 4096);
        assert_non_null(
            nrt_tensor_get_va(t)); /* backed: the peer may stop with the device's lock */
        runner_kill(&p, SIGSTOP);
        r = post(send, t, 0, 4096, c);
        api_log_clear();
        assert_int_equal(request_wait(r, &size), NRT_TIMEOUT);
        names_the_dead(&p, p.pid);
        assert_true(api_log_has("nothing moved for 5000 ms"));
        refuses(send, t, c);
        peer_end(&p);
        end_of_test();
    }
}

/* Silent, talkative and half-hearted strangers at the port, more than are let in. */
static void strangers_keep_nobody_out(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)base_port()),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static const char *const words[] = {"", "GET / HTTP/1.1\r\n\r\n", "ONRB"};
    int fd[150];
    struct runner_proc p;
    struct end e;
    nrt_tensor_t *t;
    comm_t *c;
    size_t size;

    setup();
    for (unsigned i = 0; i < 150; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fd[i], (struct sockaddr *)&a, sizeof(a)), 0);
        (void)!send(fd[i], words[i % 3], strlen(words[i % 3]), MSG_NOSIGNAL);
    }
    c = peer_start(&p, &e, false, false); /* it connects to the port with the strangers */
    t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 64);
    tell(&p, "send 64");
    assert_ok(request_wait(post(false, t, 0, 64, c), &size));
    for (unsigned i = 0; i < 150; i++)
        close(fd[i]);
    peer_end(&p);
    end_of_test();
}

static void a_peer_that_is_not_there(void **state)
{
    struct end e = {.lnc = 0, .peer_lnc = 1, .peer_ip = "127.0.0.1"};
    comm_t *c;

    setenv("NEURON_RT_EXEC_TIMEOUT", "1", 1);
    setup();
    c = comm_new(&e, true);
    api_log_clear();
    assert_int_equal(comm_wait(c), NRT_TIMEOUT);
    assert_true(api_log_has("logical core 1 of 127.0.0.1 could not be reached within 1000 ms: "
                            "Connection refused"));
    assert_fails(nrt_async_sendrecv_test_comm(c, &(bool){0}), NRT_TIMEOUT,
                 "nrt_async_sendrecv_test_comm");
    c = comm_new(&e, false);
    api_log_clear();
    assert_int_equal(comm_wait(c), NRT_TIMEOUT);
    assert_true(api_log_has("must call nrt_async_sendrecv_connect for logical core 0"));
    /* an address that nobody answers for, or that cannot be reached from here */
    snprintf(e.peer_ip, sizeof(e.peer_ip), "203.0.113.1");
    c = comm_new(&e, true);
    assert_int_equal(comm_wait(c), NRT_TIMEOUT);
    assert_ok(nrt_async_sendrecv_close(0)); /* they have failed: nothing is left to connect */
    end_of_test();
    PROVES("api-063");
}

static void a_port_that_is_taken(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)base_port())};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    api_env("trn1.2xlarge", 0);
    setenv("OPENNRT_JOB_KEY", "of the tests", 1);
    setenv_number("NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT", base_port());
    setenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED", "1", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    api_log_clear();
    assert_int_equal(nrt_async_sendrecv_init(0), NRT_FAILURE);
    assert_true(api_log_has("choose another NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT"));
    assert_int_equal(api_log_errors(), 1);
    close(fd);
    assert_ok(nrt_async_sendrecv_init(0)); /* it was not the core's fault */
    assert_ok(nrt_async_sendrecv_close(0));
    end_of_test();
    PROVES("api-251");
}

/* other-key LNC PEER IP */
static int helper_other_key(int argc, char **argv)
{
    struct end e = end_from(argv + 1);

    setenv("OPENNRT_JOB_KEY", "another", 1);
    begin(e.lnc);
    runner_say(comm_wait(comm_new(&e, true)) == NRT_FAILURE ? "refused" : "not refused");
    return 0;
}

static void another_key_is_refused(void **state)
{
    struct runner_proc p;
    struct end e;
    comm_t *c;
    bool done = true;

    setup();
    start_helper(&p, "other-key", &e, true, "127.0.0.1", NULL, NULL);
    c = comm_new(&e, false);
    assert_true(runner_expect(&p, "refused", WAIT_MS));
    assert_ok(nrt_async_sendrecv_test_comm(c, &done));
    assert_false(done);
    runner_wait(&p, WAIT_MS);
    end_of_test();
}

static void closing_with_requests_under_way(void **state)
{
    struct runner_proc p;
    struct end e;
    nrt_tensor_t *t;
    comm_t *c;
    request_t *r;
    size_t size;
    bool done;
    char line[64];

    setup();
    c = peer_start(&p, &e, false, true);
    t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 4096);
    r = post(true, t, 0, 10, c);
    tell(&p, "recv 5000");
    assert_true(runner_expect(&p, "ok", WAIT_MS));
    assert_ok(request_wait(r, &size));
    tell(&p, "recv 5000"); /* for which nothing will come */
    assert_true(runner_expect(&p, "ok", WAIT_MS));
    r = post(true, t, 0, 10, c);
    assert_ok(request_wait(r, &size));
    r = post(true, t, 0, 10, c); /* which nobody takes */
    nrt_tensor_free(&t);         /* the request still has it */
    assert_fails(nrt_async_sendrecv_close(0), NRT_FAILURE, "nrt_async_sendrecv_close");
    assert_fails(nrt_async_sendrecv_test_request(r, &done, &size), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_test_request");
    assert_fails(nrt_async_sendrecv_test_comm(c, &done), NRT_INVALID_HANDLE,
                 "nrt_async_sendrecv_test_comm");
    assert_fails(nrt_async_sendrecv_init(0), NRT_FAILURE, "nrt_async_sendrecv_init");
    for (int i = 0; i < 2; i++) {
        tell(&p, "wait");
        assert_true(runner_line(&p, line, sizeof(line), WAIT_MS));
        assert_string_equal(line, "0 10");
    }
    tell(&p, "lost");
    assert_true(runner_line(&p, line, sizeof(line), WAIT_MS));
    assert_string_equal(line, "1"); /* NRT_FAILURE: told that the other side has gone */
    peer_end(&p);
    end_of_test();
}

/* ---- large ---- */

static void offsets_beyond_4_gib(void **state)
{
    const size_t far = ((size_t)5 << 30) - 1000;
    struct runner_proc p;
    struct end e;
    nrt_tensor_t *t;
    comm_t *c;
    request_t *r;
    uint8_t zero[1000] = {0}, got[1000];
    size_t size;

    setup();
    c = peer_start(&p, &e, false, false);
    t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, (size_t)5 << 30);
    memset(got, 1, sizeof(got));
    assert_ok(nrt_tensor_write(t, got, far, 1000));
    r = post(false, t, far, 1000, c);
    tell(&p, "send 1000");
    assert_ok(request_wait(r, &size));
    assert_int_equal(size, 1000);
    assert_ok(nrt_tensor_read(t, got, far, 1000));
    assert_memory_equal(got, zero, 1000);
    peer_end(&p);
    end_of_test();
}

/* A range of virtual memory of more than 4 GiB that is one small file again and again. */
static uint8_t *repeated(size_t total, size_t part)
{
    uint8_t *p = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int fd = memfd_create("repeated", MFD_CLOEXEC);

    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(ftruncate(fd, (off_t)part), 0);
    for (size_t at = 0; at < total; at += part)
        assert_ptr_not_equal(mmap(p + at, total - at < part ? total - at : part,
                                  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0),
                             MAP_FAILED);
    close(fd);
    return p;
}

#define LONG_TOTAL (((size_t)4 << 30) + 12288)
#define LONG_PART  ((size_t)4 << 20)

static void long_transfer(const struct end *e, bool send)
{
    uint8_t *p = repeated(LONG_TOTAL, LONG_PART);
    nrt_tensor_t *t;
    size_t size = 0;

    assert_ok(nrt_tensor_allocate_empty("", &t));
    assert_ok(nrt_tensor_attach_buffer(t, p, LONG_TOTAL));
    for (size_t i = 0; i < LONG_PART && send; i++)
        p[i] = byte_of(1, 2, i);
    assert_ok(request_wait(post(send, t, 0, LONG_TOTAL, comm_connected(e, send)), &size));
    assert_int_equal(size, LONG_TOTAL);
    for (size_t i = 0; i < LONG_PART; i++)
        assert_int_equal(p[i], byte_of(1, 2, i));
    assert_ok(nrt_async_sendrecv_close(e->lnc));
    nrt_tensor_free(&t);
    munmap(p, LONG_TOTAL);
}

static int helper_long(int argc, char **argv)
{
    struct end e = end_from(argv + 1);

    seed = strtoull(argv[4], NULL, 10);
    begin(e.lnc);
    long_transfer(&e, true);
    nrt_close();
    return 0;
}

static void a_message_of_more_than_4_gib(void **state)
{
    struct runner_proc p;
    struct end e;
    char text[32];

    setup();
    snprintf(text, sizeof(text), "%llu", (unsigned long long)seed);
    start_helper(&p, "long", &e, true, "127.0.0.1", text, NULL);
    long_transfer(&e, false);
    assert_int_equal(runner_wait(&p, WAIT_MS), 0);
    end_of_test();
}

/* ---- flush, threads, fork ---- */

static void flush_after_a_receive(void **state)
{
    struct runner_proc p;
    struct end e;
    nrt_tensor_t *t;
    comm_t *c;
    request_t *r;
    uint8_t got[64];
    size_t size;

    setup();
    c = peer_start(&p, &e, false, false);
    t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 64);
    memset(got, 1, sizeof(got));
    assert_ok(nrt_tensor_write(t, got, 0, 64));
    tell(&p, "send 64");
    r = post(false, t, 0, 64, c);
    assert_ok(request_wait(r, &size));
    assert_ok(nrt_async_sendrecv_flush(0));
    for (int i = 0; i < 64; i++)
        assert_int_equal(((uint8_t *)nrt_tensor_get_va(t))[i], 0);
    peer_end(&p);
    end_of_test();
    PROVES("api-067");
}

#define THREADS    4
#define PER_THREAD 200

struct poster {
    pthread_t thread;
    comm_t *c;
    nrt_tensor_t *t;
    unsigned failed;
};

static void *poster_main(void *arg)
{
    struct poster *me = arg;

    for (int i = 0; i < PER_THREAD; i++) {
        request_t *r = NULL;
        size_t size = 0;

        if (nrt_async_sendrecv_send_tensor(me->t, 0, 8, me->c, &r) != NRT_SUCCESS ||
            request_wait(r, &size) != NRT_SUCCESS || size != 8)
            me->failed++;
    }
    return NULL;
}

/* receiver LNC PEER IP */
static int helper_receiver(int argc, char **argv)
{
    struct end e = end_from(argv + 1);
    unsigned long long sum = 0;
    nrt_tensor_t *t;
    comm_t *c;

    begin(e.lnc);
    c = comm_connected(&e, false);
    t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 8);
    for (int i = 0; i < THREADS * PER_THREAD; i++) {
        uint64_t v = 0;
        size_t size;

        assert_ok(request_wait(post(false, t, 0, 8, c), &size));
        assert_ok(nrt_tensor_read(t, &v, 0, 8));
        sum += v;
    }
    assert_ok(nrt_async_sendrecv_close(e.lnc));
    printf("%llu\n", sum);
    return 0;
}

static void threads_send_on_one_communicator(void **state)
{
    struct poster p[THREADS];
    struct runner_proc proc;
    struct end e;
    char line[64], want[64];
    comm_t *c;

    setup();
    start_helper(&proc, "receiver", &e, false, "127.0.0.1", NULL, NULL);
    c = comm_connected(&e, true);
    for (unsigned i = 0; i < THREADS; i++) {
        uint64_t v = (uint64_t)1 << (16 * i);

        p[i] = (struct poster){.c = c, .t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 8)};
        assert_ok(nrt_tensor_write(p[i].t, &v, 0, 8));
        assert_int_equal(pthread_create(&p[i].thread, NULL, poster_main, &p[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(p[i].thread, NULL);
        assert_int_equal(p[i].failed, 0);
    }
    assert_true(runner_line(&proc, line, sizeof(line), WAIT_MS));
    snprintf(want, sizeof(want), "%llu", 0x0001000100010001ull * PER_THREAD);
    assert_string_equal(line, want);
    assert_int_equal(runner_wait(&proc, WAIT_MS), 0);
    assert_ok(nrt_async_sendrecv_close(0));
    end_of_test();
}

static int in_the_child(comm_t *c)
{
    bool done;

    if (nrt_async_sendrecv_test_comm(c, &done) != NRT_UNINITIALIZED)
        return 1;
    nrt_close();
    return nrt_async_sendrecv_close(0) == NRT_UNINITIALIZED ? 0 : 2;
}

static void a_forked_child_has_none_of_it(void **state)
{
    struct runner_proc p;
    struct end e;
    nrt_tensor_t *t;
    comm_t *c;
    size_t size;
    int status;
    pid_t pid;

    setup();
    c = peer_start(&p, &e, false, false);
    pid = fork();
    if (pid == 0)
        _exit(in_the_child(c));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    t = tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 64);
    tell(&p, "send 64");
    assert_ok(request_wait(post(false, t, 0, 64, c), &size));
    peer_end(&p);
    end_of_test();
}

static const struct runner_helper helpers[] = {
    {"exchange", helper_exchange}, {"peer", helper_peer},         {"other-key", helper_other_key},
    {"long", helper_long},         {"receiver", helper_receiver}, {NULL, NULL}};

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_in_the_wrong_state),
        cmocka_unit_test(off_unless_enabled),
        cmocka_unit_test(arguments),
        cmocka_unit_test(processes_of_one_host_exchange),
        cmocka_unit_test(two_hosts_exchange),
        cmocka_unit_test(over_ipv6),
        cmocka_unit_test(as_many_communicators_as_allowed_in_order),
        cmocka_unit_test(limits_of_communicators_and_requests),
        cmocka_unit_test(a_message_that_does_not_fit),
        cmocka_unit_test(a_killed_peer_is_named),
        cmocka_unit_test(killed_in_the_middle),
        cmocka_unit_test(a_stopped_peer_times_out),
        cmocka_unit_test(strangers_keep_nobody_out),
        cmocka_unit_test(a_peer_that_is_not_there),
        cmocka_unit_test(a_port_that_is_taken),
        cmocka_unit_test(another_key_is_refused),
        cmocka_unit_test(closing_with_requests_under_way),
        cmocka_unit_test(offsets_beyond_4_gib),
        cmocka_unit_test(a_message_of_more_than_4_gib),
        cmocka_unit_test(flush_after_a_receive),
        cmocka_unit_test(threads_send_on_one_communicator),
        cmocka_unit_test(a_forked_child_has_none_of_it),
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    seed =
        getenv("OPENNRT_SEED") ? strtoull(getenv("OPENNRT_SEED"), NULL, 10) : (uint64_t)time(NULL);
    print_message("OPENNRT_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
