/* SPDX-License-Identifier: Apache-2.0 */
/* What nrt_async_sendrecv.h moves: random exchanges between processes and instances, large
 * messages, threads. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "draw.h"
#include "pair_ends.h"
#include "proves.h"
#include "runner.h"
#include "seed.h"

static uint64_t seed;

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
    uint64_t r = draw_mix(seed + comm * 1000003u + i);
    struct message m = {.size = draw_size(draw_mix(r)), .off = MARGIN + draw_mix(r + 1) % 10000};

    m.room = m.size + (draw_mix(r + 2) % 4 == 0 ? draw_mix(r + 3) % 1000 : 0);
    for (int side = 0; side < 2; side++)
        m.where[side] = draw_mix(r + 4 + (uint64_t)side) % 3 == 0 ? NRT_TENSOR_PLACEMENT_VIRTUAL
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

    m->tensor = pair_tensor_new(m->where[send], m->off + m->room + MARGIN);
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

    assert_ok(pair_request_wait(m->request, &size));
    assert_int_equal(size, m->size);
    if (!send)
        check(m, comm, i);
    nrt_tensor_free(&m->tensor);
}

/* side 0 sends on even communicators, side 1 on odd ones; up to `ahead` requests under way. */
static void exchange(const struct pair_end *e, unsigned side, unsigned comms)
{
    comm_t *c[PAIR_COMMS];
    static struct message m[PAIR_COMMS][MESSAGES];
    const unsigned ahead = 5, messages = comms > 8 ? 4 : MESSAGES;

    for (unsigned k = 0; k < comms; k++)
        c[k] = pair_comm_new(e, k % 2 == side);
    for (unsigned k = 0; k < comms; k++)
        assert_ok(pair_comm_wait(c[k]));
    for (unsigned i = 0; i < messages + ahead; i++) {
        for (unsigned k = 0; k < comms; k++) {
            bool send = k % 2 == side;

            if (i < messages) {
                m[k][i] = draw(k, i);
                fill(&m[k][i], k, i, send);
                m[k][i].request = pair_post(send, m[k][i].tensor, m[k][i].off,
                                            send ? m[k][i].size : m[k][i].room, c[k]);
            }
            if (i >= ahead && i - ahead < messages)
                end_message(&m[k][i - ahead], k, i - ahead, send);
        }
    }
    assert_ok(nrt_async_sendrecv_flush(e->lnc));
    assert_ok(nrt_async_sendrecv_close(e->lnc));
}

/* exchange LNC PEER IP COMMS SEED [SIDE] */
static int helper_exchange(int argc, char **argv)
{
    struct pair_end e = pair_end_from(argv + 1);

    seed = strtoull(argv[5], NULL, 10);
    pair_begin(e.lnc);
    exchange(&e, argc > 6 ? (unsigned)atoi(argv[6]) : 1, (unsigned)atoi(argv[4]));
    nrt_close();
    return 0;
}

static void run_exchange(bool other, const char *ip, unsigned comms)
{
    char text[32], number[16];
    struct runner_proc p;
    struct pair_end e;

    pair_setup();
    snprintf(text, sizeof(text), "%llu", (unsigned long long)seed);
    snprintf(number, sizeof(number), "%u", comms);
    pair_start(&p, "exchange", &e, other, ip, number, text);
    exchange(&e, 0, comms);
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
    pair_teardown();
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
    PROVES("inter-021");
    PROVES("inter-022");
}

/* One of two hosts, in a process of its own, since libfabric reads its settings once. */
static void host_start(struct runner_proc *p, unsigned side, const char *provider)
{
    char port[80], instance[80], fi[48], ip[32], text[32], number[8];
    const char *args[] = {"0", "0", ip, "4", text, number, NULL};
    const char *env[] = {
        port, instance, fi, "NEURON_RT_LOG_LEVEL=INFO", "NEURON_RT_EXEC_TIMEOUT=110", NULL};

    snprintf(ip, sizeof(ip), "127.0.0.1:%u", pair_port(1 - side));
    snprintf(text, sizeof(text), "%llu", (unsigned long long)seed);
    snprintf(number, sizeof(number), "%u", side);
    snprintf(port, sizeof(port), "NEURON_RT_ASYNC_SENDRECV_BOOTSTRAP_PORT=%u", pair_port(side));
    snprintf(instance, sizeof(instance), "OPENNRT_INSTANCE=%s-%u", getenv("OPENNRT_INSTANCE"),
             side);
    snprintf(fi, sizeof(fi), "FI_PROVIDER=%s", provider);
    assert_true(runner_start(p, "exchange", args, env));
}

/* How many of both hosts' communicators say so in the log. */
static unsigned exchange_over(const char *one, const char *two, const char *what)
{
    struct runner_proc p[2];
    unsigned n = 0;

    api_env("trn1.2xlarge", 0);
    setenv("OPENNRT_JOB_KEY", "of the tests", 1);
    host_start(&p[0], 0, one);
    host_start(&p[1], 1, two);
    assert_int_equal(runner_wait(&p[0], RUNNER_WAIT_MS), 0);
    assert_int_equal(runner_wait(&p[1], RUNNER_WAIT_MS), 0);
    for (const char *at = api_log(); (at = strstr(at, what)) != NULL; at++)
        n++;
    unsetenv("OPENNRT_JOB_KEY");
    api_env_end();
    return n;
}

/* Between instances bytes travel over libfabric, by whichever provider there is. */
static void over_each_provider(void **state)
{
    static const char *const providers[] = {"tcp", "net", "tcp;ofi_rxm"};
    unsigned met = 0;

    for (unsigned i = 0; i < sizeof(providers) / sizeof(providers[0]); i++) {
        char what[64];

        snprintf(what, sizeof(what), "go over libfabric provider %s\n", providers[i]);
        met += exchange_over(providers[i], providers[i], what) == 2 * 4;
    }
    assert_true(met >= 2); /* libfabric has tcp or net, and tcp;ofi_rxm */
    (void)state;
}

/* Ends with two providers use neither, and say once which they have. */
static void with_two_providers_over_tcp(void **state)
{
    assert_int_equal(exchange_over("net", "tcp;ofi_rxm", "go over TCP and not over libfabric"), 2);
    (void)state;
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
    run_exchange(false, "127.0.0.1", PAIR_COMMS);
    run_exchange(true, "127.0.0.1", PAIR_COMMS);
}

/* ---- large ---- */

static void offsets_beyond_4_gib(void **state)
{
    const size_t far = ((size_t)5 << 30) - 1000;
    struct runner_proc p;
    struct pair_end e;
    nrt_tensor_t *t;
    comm_t *c;
    request_t *r;
    uint8_t zero[1000] = {0}, got[1000];
    size_t size;

    pair_setup();
    c = pair_peer_start(&p, &e, false, false);
    t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, (size_t)5 << 30);
    memset(got, 1, sizeof(got));
    assert_ok(nrt_tensor_write(t, got, far, 1000));
    r = pair_post(false, t, far, 1000, c);
    pair_tell(&p, "send 1000");
    assert_ok(pair_request_wait(r, &size));
    assert_int_equal(size, 1000);
    assert_ok(nrt_tensor_read(t, got, far, 1000));
    assert_memory_equal(got, zero, 1000);
    pair_peer_end(&p);
    pair_teardown();
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

static void long_transfer(const struct pair_end *e, bool send)
{
    uint8_t *p = repeated(LONG_TOTAL, LONG_PART);
    nrt_tensor_t *t;
    size_t size = 0;

    assert_ok(nrt_tensor_allocate_empty("", &t));
    assert_ok(nrt_tensor_attach_buffer(t, p, LONG_TOTAL));
    for (size_t i = 0; i < LONG_PART && send; i++)
        p[i] = byte_of(1, 2, i);
    assert_ok(
        pair_request_wait(pair_post(send, t, 0, LONG_TOTAL, pair_comm_connected(e, send)), &size));
    assert_int_equal(size, LONG_TOTAL);
    for (size_t i = 0; i < LONG_PART; i++)
        assert_int_equal(p[i], byte_of(1, 2, i));
    assert_ok(nrt_async_sendrecv_close(e->lnc));
    nrt_tensor_free(&t);
    munmap(p, LONG_TOTAL);
}

static int helper_long(int argc, char **argv)
{
    struct pair_end e = pair_end_from(argv + 1);

    seed = strtoull(argv[4], NULL, 10);
    pair_begin(e.lnc);
    long_transfer(&e, true);
    nrt_close();
    return 0;
}

static void a_message_of_more_than_4_gib(void **state)
{
    struct runner_proc p;
    struct pair_end e;
    char text[32];

    if (runner_little_room()) {
        print_message("NOT RUN: the thread sanitizer keeps several bytes for each of 8 GiB\n");
        skip();
    }
    pair_setup();
    snprintf(text, sizeof(text), "%llu", (unsigned long long)seed);
    pair_start(&p, "long", &e, true, "127.0.0.1", text, NULL);
    long_transfer(&e, false);
    assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 0);
    pair_teardown();
}

/* ---- flush, threads, fork ---- */

static void flush_after_a_receive(void **state)
{
    struct runner_proc p;
    struct pair_end e;
    nrt_tensor_t *t;
    comm_t *c;
    request_t *r;
    uint8_t got[64];
    size_t size;

    pair_setup();
    c = pair_peer_start(&p, &e, false, false);
    t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 64);
    memset(got, 1, sizeof(got));
    assert_ok(nrt_tensor_write(t, got, 0, 64));
    pair_tell(&p, "send 64");
    r = pair_post(false, t, 0, 64, c);
    assert_ok(pair_request_wait(r, &size));
    assert_ok(nrt_async_sendrecv_flush(0));
    for (int i = 0; i < 64; i++)
        assert_int_equal(((uint8_t *)nrt_tensor_get_va(t))[i], 0);
    pair_peer_end(&p);
    pair_teardown();
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
            pair_request_wait(r, &size) != NRT_SUCCESS || size != 8)
            me->failed++;
    }
    return NULL;
}

/* receiver LNC PEER IP */
static int helper_receiver(int argc, char **argv)
{
    struct pair_end e = pair_end_from(argv + 1);
    unsigned long long sum = 0;
    nrt_tensor_t *t;
    comm_t *c;

    pair_begin(e.lnc);
    c = pair_comm_connected(&e, false);
    t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 8);
    for (int i = 0; i < THREADS * PER_THREAD; i++) {
        uint64_t v = 0;
        size_t size;

        assert_ok(pair_request_wait(pair_post(false, t, 0, 8, c), &size));
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
    struct pair_end e;
    char line[64], want[64];
    comm_t *c;

    pair_setup();
    pair_start(&proc, "receiver", &e, false, "127.0.0.1", NULL, NULL);
    c = pair_comm_connected(&e, true);
    for (unsigned i = 0; i < THREADS; i++) {
        uint64_t v = (uint64_t)1 << (16 * i);

        p[i] = (struct poster){.c = c, .t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 8)};
        assert_ok(nrt_tensor_write(p[i].t, &v, 0, 8));
        assert_int_equal(pthread_create(&p[i].thread, NULL, poster_main, &p[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(p[i].thread, NULL);
        assert_int_equal(p[i].failed, 0);
    }
    assert_true(runner_line(&proc, line, sizeof(line), RUNNER_WAIT_MS));
    snprintf(want, sizeof(want), "%llu", 0x0001000100010001ull * PER_THREAD);
    assert_string_equal(line, want);
    assert_int_equal(runner_wait(&proc, RUNNER_WAIT_MS), 0);
    assert_ok(nrt_async_sendrecv_close(0));
    pair_teardown();
}

static int in_the_child(comm_t *c)
{
    bool done;

    if (nrt_async_sendrecv_test_comm(c, &done) != NRT_UNINITIALIZED)
        return 1;
    nrt_close();
    return nrt_async_sendrecv_close(0) == NRT_UNINITIALIZED ? 0 : 2;
}

static void the_thread_keeps_to_its_cpus(void **state)
{
    pair_setenv("NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY", runner_last_cpu());
    pair_setup();
    assert_int_equal(runner_thread_cpu("nrt-sendrecv"), runner_last_cpu());
    PROVES("api-242");
    PROVES("perf-015");
    pair_teardown();
    unsetenv("NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY");
    (void)state;
}

/* As with the documentation's taskset: the program keeps off the CPU that it gives to the thread.
 */
static void its_cpus_may_lie_outside_of_the_callers_mask(void **state)
{
    int last = runner_last_cpu();
    cpu_set_t mask, rest, after;

    assert_int_equal(sched_getaffinity(0, sizeof(mask), &mask), 0);
    rest = mask;
    CPU_CLR(last, &rest);
    if (CPU_COUNT(&rest) == 0) {
        print_message("NOT RUN: one CPU\n");
        skip();
    }
    pair_setenv("NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY", last);
    assert_int_equal(sched_setaffinity(0, sizeof(rest), &rest), 0);
    pair_setup();
    assert_int_equal(runner_thread_cpu("nrt-sendrecv"), last);
    assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
    assert_true(CPU_EQUAL(&after, &rest));
    pair_teardown();
    assert_int_equal(sched_setaffinity(0, sizeof(mask), &mask), 0);
    unsetenv("NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY");
    (void)state;
}

static void a_forked_child_has_none_of_it(void **state)
{
    struct runner_proc p;
    struct pair_end e;
    nrt_tensor_t *t;
    comm_t *c;
    size_t size;
    int status;
    pid_t pid;

    pair_setup();
    c = pair_peer_start(&p, &e, false, false);
    pid = fork();
    if (pid == 0)
        _exit(in_the_child(c));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    t = pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 64);
    pair_tell(&p, "send 64");
    assert_ok(pair_request_wait(pair_post(false, t, 0, 64, c), &size));
    pair_peer_end(&p);
    pair_teardown();
}

struct polling {
    request_t *request;
    _Atomic int polls, cancelled, returned;
};

static void poll_once(struct polling *p)
{
    bool done = false;
    size_t size;

    if (nrt_async_sendrecv_test_request(p->request, &done, &size) != NRT_SUCCESS || done)
        abort(); /* nobody sends */
    p->polls++;
}

/* Cancelled, it still tests long enough for each kind of work that a test does. */
static void *polling_user(void *arg)
{
    struct polling *p = arg;

    while (!p->cancelled)
        poll_once(p);
    for (unsigned i = 0; i < 4096; i++)
        poll_once(p);
    p->returned = 1;
    for (;;)
        pthread_testcancel(); /* now it may end */
    return NULL;
}

static void poll_and_cancel(bool other)
{
    struct polling poll = {0};
    struct runner_proc p;
    struct pair_end e;
    pthread_t t;
    void *result;

    pair_setup();
    poll.request = pair_post(false, pair_tensor_new(NRT_TENSOR_PLACEMENT_DEVICE, 8), 0, 8,
                             pair_peer_start(&p, &e, other, false));
    assert_int_equal(pthread_create(&t, NULL, polling_user, &poll), 0);
    while (poll.polls == 0)
        sched_yield();
    assert_int_equal(pthread_cancel(t), 0);
    poll.cancelled = 1;
    pthread_join(t, &result);
    assert_ptr_equal(result, PTHREAD_CANCELED);
    assert_int_equal(poll.returned, 1); /* it ended outside the calls */
    pair_tell(&p, "send 8");            /* the request is whole */
    assert_true(runner_expect(&p, "ok", RUNNER_WAIT_MS));
    assert_ok(pair_request_wait(poll.request, &(size_t){0}));
    assert_ok(nrt_async_sendrecv_close(0));
    pair_peer_end(&p);
    pair_teardown();
}

static void a_test_defers_cancellation(void **state)
{
    poll_and_cancel(false);
    poll_and_cancel(true);
}

static const struct runner_helper helpers[] = {{"exchange", helper_exchange},
                                               {"peer", pair_helper_peer},
                                               {"long", helper_long},
                                               {"receiver", helper_receiver},
                                               {NULL, NULL}};

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_of_one_host_exchange),
        cmocka_unit_test(two_hosts_exchange),
        cmocka_unit_test(over_each_provider),
        cmocka_unit_test(with_two_providers_over_tcp),
        cmocka_unit_test(over_ipv6),
        cmocka_unit_test(as_many_communicators_as_allowed_in_order),
        cmocka_unit_test(offsets_beyond_4_gib),
        cmocka_unit_test(a_message_of_more_than_4_gib),
        cmocka_unit_test(flush_after_a_receive),
        cmocka_unit_test(threads_send_on_one_communicator),
        cmocka_unit_test(the_thread_keeps_to_its_cpus),
        cmocka_unit_test(its_cpus_may_lie_outside_of_the_callers_mask),
        cmocka_unit_test(a_forked_child_has_none_of_it),
        cmocka_unit_test(a_test_defers_cancellation),
    };
    int rc = runner_dispatch(argc, argv, helpers);

    if (rc >= 0)
        return rc;
    seed = seed_take_new();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
