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
                                .join_limit_ms = RUNNER_WAIT_MS};
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_over_the_first_provider),
        cmocka_unit_test(a_ring_over_ipv6),
        cmocka_unit_test(a_ring_over_each_provider),
        cmocka_unit_test(a_killed_rank_is_named),
        cmocka_unit_test(a_provider_that_is_not_there),
        cmocka_unit_test(its_thread_keeps_to_its_cpus),
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
