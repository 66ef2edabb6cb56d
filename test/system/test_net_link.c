/* SPDX-License-Identifier: Apache-2.0 */
/* Real libfabric between real processes on loopback: bootstrap, addresses, a ring of proxies with
 * devices that follow the protocol, and a rank that is killed. */
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
#include "base/mem.h"
#include "log_tap.h"
#include "net/link.h"
#include "run/run.h"
#include "runner.h"

#define WORLD   3
#define K       4
#define ENTRIES 37
#define LEAVES  40
#define LOST_NS (RUNNER_WAIT_MS * UINT64_C(1000000)) /* no message takes that long */

/* --- one rank ----------------------------------------------------------------------------------
 */

struct node {
    struct log *lg;
    struct net_link *link;
    struct net_job *job;
    uint32_t rank, world;
    struct err err;
};

static bool node_open(struct node *n, char **argv)
{
    struct net_link_config lc = {.rank = n->rank,
                                 .world = n->world,
                                 .root = argv[2],
                                 .provider = strcmp(argv[4], "any") == 0 ? NULL : argv[4],
                                 .log = n->lg};
    struct net_job_config jc = {.rank = n->rank,
                                .world = n->world,
                                .root = argv[2],
                                .key = "link test",
                                .host = "test-host",
                                .log = n->lg,
                                .join_limit_ms = 20000};
    uint8_t address[NET_ADDRESS_MAX];

    if (net_link_open(&lc, &n->link, &n->err) != NRT_SUCCESS)
        return false;
    jc.blob = address;
    jc.blob_size = net_link_address(n->link, address);
    if (net_job_open(&jc, &n->job, &n->err) != NRT_SUCCESS ||
        net_job_wait(n->job, NET_NO_LIMIT, &n->err) != NRT_SUCCESS)
        return false;
    for (uint32_t i = 0; i < n->world; i++) {
        const struct net_rank *m = net_job_member(n->job, i);

        if (net_link_peer(n->link, i, m->blob, m->blob_size, &n->err) != NRT_SUCCESS)
            return false;
    }
    net_link_watch(n->link, n->job);
    return true;
}

/* A connector's end: a device that follows the table, with slots of size bytes. */
struct end {
    struct net_page page;
    _Atomic uint32_t sem;
    struct net_proxy *p;
    struct net_entry entries[ENTRIES];
    uint8_t *slots;
    struct net_memory *memory;
    uint32_t size, base, at, op;
};

static bool end_open(struct node *n, struct end *e, bool send, uint32_t peer, uint32_t size)
{
    struct net_proxy_config cfg = {.send = send,
                                   .channel = 1,
                                   .page = &e->page,
                                   .handshake = &e->sem,
                                   .complete = &e->sem,
                                   .wire = net_link_wire(n->link),
                                   .log = n->lg,
                                   .name = send ? "ring sender" : "ring receiver"};

    memset(e, 0, sizeof(*e));
    e->size = size;
    e->slots = mem_zalloc((size_t)size * K + 1);
    if (e->slots == NULL ||
        net_memory_register(n->link, e->slots, (size_t)size * K + 1, &e->memory, &n->err) !=
            NRT_SUCCESS ||
        net_proxy_open(&cfg, &e->p, &n->err) != NRT_SUCCESS)
        return false;
    for (uint32_t j = 0; j < ENTRIES; j++)
        e->entries[j] = (struct net_entry){.data = e->slots + (size_t)(j % K) * size,
                                           .memory = e->memory,
                                           .size = size,
                                           .peer = peer};
    return true;
}

static void end_close(struct node *n, struct end *e)
{
    net_proxy_close(e->p);
    net_memory_release(n->link, e->memory);
    mem_free(e->slots);
}

static uint8_t byte_of(uint32_t rank, uint32_t op, uint32_t j, uint32_t b)
{
    return (uint8_t)(rank * 71 + op * 31 + j * 7 + b + b / 253);
}

static void index_set(struct end *e, uint32_t v)
{
    __atomic_store_n((uint32_t *)&e->page.fold[0].index, v, __ATOMIC_RELEASE);
}

/* One step of the sending device; true when the operation is over. */
static bool send_step(struct node *n, struct end *e)
{
    uint32_t sem = __atomic_load_n((uint32_t *)&e->sem, __ATOMIC_ACQUIRE), j = e->at - 2;

    if (e->at == 0) {
        index_set(e, NET_INDEX_READY);
        e->at = 1;
    } else if (e->at == 1) {
        e->at += sem >= e->base + 1;
    } else if (j < ENTRIES) {
        if (sem < e->base + 1 + (j >= K ? j - K + 1 : 0))
            return false;
        for (uint32_t b = 0; b < e->size; b++)
            e->slots[(size_t)(j % K) * e->size + b] = byte_of(n->rank, e->op, j, b);
        index_set(e, j + 1);
        e->at++;
    } else if (sem >= e->base + 1 + ENTRIES) {
        e->base += 1 + ENTRIES;
        e->op++;
        e->at = 0;
        return true;
    }
    return false;
}

static bool recv_step(struct node *n, struct end *e, uint32_t from)
{
    uint32_t sem = __atomic_load_n((uint32_t *)&e->sem, __ATOMIC_ACQUIRE), j = e->at - 2;

    if (e->at == 0) {
        index_set(e, NET_INDEX_READY);
        e->at = 1;
    } else if (e->at == 1 && sem >= e->base + 1) {
        index_set(e, K);
        e->at = 2;
    } else if (e->at >= 2 && j < ENTRIES && sem >= e->base + 2 + j) {
        for (uint32_t b = 0; b < e->size; b++) {
            if (e->slots[(size_t)(j % K) * e->size + b] != byte_of(from, e->op, j, b)) {
                err_set(&n->err, NRT_FAILURE, "op %u entry %u byte %u is wrong", e->op, j, b);
                return true;
            }
        }
        index_set(e, j + 1 + K < ENTRIES ? j + 1 + K : ENTRIES);
        e->at++;
    } else if (e->at >= 2 && j == ENTRIES) {
        e->base += 1 + ENTRIES;
        e->op++;
        e->at = 0;
        return true;
    }
    return false;
}

/* ops operations of the ring (0: for ever); false: err. */
static bool ring_run(struct node *n, uint32_t size, uint32_t ops)
{
    uint32_t next = (n->rank + 1) % n->world, prev = (n->rank + n->world - 1) % n->world;
    static struct end out, in;
    bool ok = end_open(n, &out, true, next, size) && end_open(n, &in, false, prev, size);

    for (uint32_t op = 0; ok && (ops == 0 || op < ops); op++) {
        bool sent = false, received = false;

        ok = net_proxy_add(out.p, out.entries, ENTRIES, &n->err) == NRT_SUCCESS &&
             net_proxy_add(in.p, in.entries, ENTRIES, &n->err) == NRT_SUCCESS;
        while (ok && !(sent && received)) {
            sent = sent || send_step(n, &out);
            received = received || recv_step(n, &in, prev);
            net_link_progress(n->link, 16);
            net_job_progress(n->job, 4);
            net_proxy_step(out.p);
            net_proxy_step(in.p);
            ok = n->err.status == NRT_SUCCESS && net_proxy_state(out.p, &n->err) == NRT_SUCCESS &&
                 net_proxy_state(in.p, &n->err) == NRT_SUCCESS;
        }
        if (op == 3)
            runner_say("busy");
    }
    end_close(n, &out);
    end_close(n, &in);
    return ok;
}

/* rank root world provider ops */
static int ring_helper(int argc, char **argv)
{
    static const uint32_t sizes[] = {8, 64, 4096, 300000};
    struct node n = {
        .lg = log_open_env(), .rank = (uint32_t)atoi(argv[1]), .world = (uint32_t)atoi(argv[3])};
    uint32_t ops = (uint32_t)atoi(argv[5]);
    char line[ERR_TEXT_MAX + 64];
    bool ok = node_open(&n, argv);

    if (ok) {
        snprintf(line, sizeof(line), "provider %s", net_link_provider(n.link));
        runner_say(line);
    }
    for (unsigned i = 0; ok && i < sizeof(sizes) / sizeof(sizes[0]); i++)
        ok = ring_run(&n, sizes[i], ops);
    snprintf(line, sizeof(line), "ended %d %s", (int)n.err.status, n.err.text);
    runner_say(line);
    runner_hear(line, sizeof(line));
    net_link_close(n.link);
    net_job_close(n.job);
    log_close(n.lg);
    return ok ? 0 : 1;
}

static const struct runner_helper helpers[] = {{"ring", ring_helper}, {NULL, NULL}};

/* --- the tests ---------------------------------------------------------------------------------
 */

static void start_all(struct runner_proc *p, const struct port *port, const char *provider,
                      const char *ops)
{
    static const char *const env[] = {"NEURON_RT_LOG_LEVEL=QUIET", NULL};
    char number[8];
    const char *args[] = {number, port->root, "3", provider, ops, NULL};

    for (uint32_t i = 0; i < WORLD; i++) {
        snprintf(number, sizeof(number), "%u", i);
        assert_true(runner_start(&p[i], "ring", args, env));
    }
}

static void line_that_begins(struct runner_proc *p, const char *with, char *line, size_t size)
{
    do {
        if (!runner_line(p, line, size, RUNNER_WAIT_MS))
            fail_msg("no line that begins with \"%s\"", with);
    } while (strncmp(line, with, strlen(with)) != 0);
}

static void end_all(struct runner_proc *p, uint32_t but)
{
    for (uint32_t i = 0; i < WORLD; i++) {
        if (i != but) {
            runner_tell(&p[i], "bye");
            runner_wait(&p[i], RUNNER_WAIT_MS);
        }
    }
}

/* False: this provider is not there. */
static bool ring(const char *host, const char *provider)
{
    struct runner_proc p[WORLD];
    struct port port;
    char line[1024];
    bool there = true;

    if (!port_take(&port, host)) {
        print_message("NOT RUN: this machine has no address %s\n", host);
        return false;
    }
    start_all(p, &port, provider, "5");
    for (uint32_t i = 0; i < WORLD; i++) {
        line_that_begins(&p[i], "ended ", line, sizeof(line));
        if (strstr(line, "has no usable provider") != NULL) {
            there = false;
            print_message("NOT RUN: %s\n", line);
        } else if (strncmp(line, "ended 0 ", 8) != 0) {
            fail_msg("rank %u over %s: %s", i, provider, line);
        }
    }
    end_all(p, WORLD);
    port_free(&port);
    return there;
}

static void a_ring_over_the_first_provider(void **state)
{
    assert_true(ring("127.0.0.1", "any"));
}

static void a_ring_over_ipv6(void **state)
{
    if (!ring("::1", "any"))
        skip();
}

static void a_ring_over_each_provider(void **state)
{
    static const char *const all[] = {"tcp", "net", "tcp;ofi_rxm"};
    unsigned n = 0;

    for (unsigned i = 0; i < 3; i++)
        n += ring("127.0.0.1", all[i]);
    assert_true(n > 0);
}

static void a_killed_rank_is_named(void **state)
{
    for (uint32_t victim = 0; victim < WORLD; victim++) {
        struct runner_proc p[WORLD];
        struct port port;
        char line[1024], want[64];

        assert_true(port_take(&port, "127.0.0.1"));
        start_all(p, &port, "any", "0");
        for (uint32_t i = 0; i < WORLD; i++)
            assert_true(runner_expect(&p[i], "busy", RUNNER_WAIT_MS));
        runner_kill(&p[victim], SIGKILL);
        runner_wait(&p[victim], RUNNER_WAIT_MS);
        snprintf(want, sizeof(want), "rank %u", victim);
        for (uint32_t i = 0; i < WORLD; i++) {
            int status = 0;

            if (i == victim)
                continue;
            line_that_begins(&p[i], "ended ", line, sizeof(line));
            assert_int_equal(sscanf(line, "ended %d", &status), 1);
            if (strstr(line, want) == NULL)
                fail_msg("%s is not named: %s", want, line);
            assert_int_equal(status, NRT_NETWORK_PROXY_FAILURE);
        }
        end_all(p, victim);
        port_free(&port);
    }
}

/* A rank that cannot have what it asks for learns what there is. */
static void a_provider_that_is_not_there(void **state)
{
    struct net_link_config cfg = {.world = 1, .provider = "efa-of-mars"};
    struct net_link *l;
    struct err err = {0};

    assert_int_equal(net_link_open(&cfg, &l, &err), NRT_FAILURE);
    assert_null(l);
    assert_non_null(strstr(err.text, "Unable to run multi-instance workload.  Ofi plugin is not "
                                     "installed or EFA is not enabled"));
}

static void its_thread_keeps_to_its_cpus(void **state)
{
    struct net_link_config cfg = {.world = 1};
    struct net_link *l;
    struct err err = {0};

    cfg.cpus.bits[runner_last_cpu() / 64] = UINT64_C(1) << runner_last_cpu() % 64;
    assert_int_equal(net_link_open(&cfg, &l, &err), NRT_SUCCESS);
    assert_int_equal(runner_thread_cpu("nrt-net"), runner_last_cpu());
    net_link_close(l);
    (void)state;
}

/* --- links of one process ----------------------------------------------------------------------
 */

static const char *const providers[] = {"tcp", "net", "tcp;ofi_rxm"};

/* NULL where the library does not have the provider. */
static struct net_link *trio_open(struct net_link *l[WORLD], const char *provider, struct log *lg)
{
    uint8_t address[NET_ADDRESS_MAX];
    struct err err = {0};

    for (uint32_t i = 0; i < WORLD; i++) {
        struct net_link_config cfg = {.rank = i, .world = WORLD, .provider = provider, .log = lg};

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

static void *close_main(void *link)
{
    net_link_close(link);
    return NULL;
}

/* In threads: none can close before the others answer. */
static void trio_close(struct net_link *l[WORLD])
{
    pthread_t threads[WORLD];

    for (uint32_t i = 0; i < WORLD; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, close_main, l[i]), 0);
    for (uint32_t i = 0; i < WORLD; i++)
        pthread_join(threads[i], NULL);
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
    trio_close(l);
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

/* What was sent arrives also if nobody waits for it before the sender closes. */
static void the_last_message_arrives(void **state)
{
    for (unsigned p = 0; p < 3; p++) {
        uint32_t sent = 4711, got = 0;
        struct net_entry out = {.data = (uint8_t *)&sent, .size = sizeof(sent), .peer = 1};
        struct net_entry in = {.data = (uint8_t *)&got, .size = sizeof(got), .peer = 0};
        struct net_link *l[WORLD];
        struct net_request *s, *r;
        struct net_wire a, b;
        pthread_t leaver;
        struct err err = {0};

        if (trio_open(l, providers[p], NULL) == NULL)
            continue;
        a = net_link_wire(l[0]);
        b = net_link_wire(l[1]);
        number_move(l, 0, 1);
        assert_int_equal(a.post(a.arg, true, 1, &out, sizeof(sent), &s, &err), NET_POSTED);
        request_end(l[0], s, sizeof(sent));
        assert_int_equal(pthread_create(&leaver, NULL, close_main, l[0]), 0);
        for (unsigned turns = 0; turns < 20000; turns++) /* time for the leaver to be wrong */
            (void)net_link_progress(l[1], 16);
        assert_int_equal(b.post(b.arg, false, 1, &in, sizeof(got), &r, &err), NET_POSTED);
        request_end(l[1], r, sizeof(got));
        assert_int_equal(got, sent);
        pthread_join(leaver, NULL);
        net_link_close(l[1]);
        net_link_close(l[2]);
    }
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
        trio_close(l);
    }
    if (log_tap_count(&tap, LOG_WARN) > 0)
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
    struct net_link_config cfg = {.rank = 0, .world = 2, .provider = provider};
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
        trio_close(l);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_over_the_first_provider),
        cmocka_unit_test(a_ring_over_ipv6),
        cmocka_unit_test(a_ring_over_each_provider),
        cmocka_unit_test(a_killed_rank_is_named),
        cmocka_unit_test(a_provider_that_is_not_there),
        cmocka_unit_test(its_thread_keeps_to_its_cpus),
        cmocka_unit_test(all_take_leave_at_once),
        cmocka_unit_test(a_link_settles),
        cmocka_unit_test(early_messages_are_in_nobodys_way),
        cmocka_unit_test(the_last_message_arrives),
        cmocka_unit_test(unread_messages_hold_nobody_up),
        cmocka_unit_test(the_dead_hold_nobody_up),
    };
    int rc;

    signal(SIGPIPE, SIG_DFL);
    rc = runner_dispatch(argc, argv, helpers);
    if (rc >= 0)
        return rc;
    signal(SIGPIPE, SIG_IGN);
    runner_watchdog(280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
