/* SPDX-License-Identifier: Apache-2.0 */
/* A job of processes on several nodes that runs collectives: bootstrap, links and communicators as
 * a program has them; and what is left of it when a rank is killed or stops. Nodes are instances
 * with names of their own.
 *
 *     test_coll_net [rounds]      so many of the drawn losses, and nothing else; OPENNRT_SEED
 * replays
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "../unit/net/net_support.h"
#include "base/log.h"
#include "base/mem.h"
#include "coll/coll_int.h"
#include "common_clock.h"
#include "device/device.h"
#include "draw.h"
#include "net/link.h"
#include "proves.h"
#include "runner.h"
#include "topo/group.h"
#include "seed.h"

#define WORLD_MAX 6
#define START_MS  120000 /* for members to meet, and for their first operations */
#define LOOK_NS   UINT64_C(50000000)
#define STOPPED   "24" /* ms of the common clock: ranks of nodes tell each other eight times */

/* --- one rank: rank, root, nodes, ranks of a node, folder, timeout in ms (once it has said
 * "busy"), elements, operations (0: for ever), silence of a host in ms. A file in CLOCK: the common
 * clock of all. Rank ABSENT does not begin another operation once it is "busy".
 */

struct member {
    uint32_t rank, world, nodes;
    const char *root, *dir;
    struct log *lg;
    struct device_instance *in;
    struct net_link *link;
    struct net_job *job;
    struct net_group *everybody;
    struct topo_group group;
    struct coll_comm *comm;
    struct common_clock *clock; /* NULL: that of the machine */
    uint64_t looked_ns, shown_ns, calls;
    struct err err;
};

static struct common_clock *clock_map(const char *path, int flags)
{
    int fd = open(path, O_RDWR | flags, 0600);
    void *p = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, sizeof(struct common_clock)) == 0)
        p = mmap(NULL, sizeof(struct common_clock), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "no clock %s\n", path);
        abort();
    }
    close(fd);
    return p;
}

/* Of the common clock, at which a rank that polls looks no oftener than one that sleeps. Later at
 * each call, too: what was heard after something else is later than that. */
static uint64_t member_now(void *arg)
{
    struct member *m = arg;
    uint64_t now = run_now_ns();

    if (!m->clock)
        return now;
    if (now - m->looked_ns >= LOOK_NS) {
        m->looked_ns = now;
        m->shown_ns = common_clock_look(m->clock, m->rank, m->world);
    }
    return m->shown_ns + ++m->calls;
}

static NRT_STATUS exchange(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    struct member *m = arg;
    NRT_STATUS st = net_op_start(m->everybody, NET_OP_GATHER, mine, size, err);

    if (!st)
        st = net_op_wait(m->everybody, NET_NO_LIMIT, err);
    for (uint32_t i = 0; i < m->world && !st; i++) {
        size_t n;

        memcpy((uint8_t *)all + i * size, net_op_part(m->everybody, i, &n), size);
    }
    return st;
}

static bool node_open(struct member *m)
{
    char name[16];
    struct device_config cfg = {
        .type = "trn2.48xlarge", .dir = m->dir, .report_dir = m->dir, .name = name, .log = m->lg};
    struct topo_fabric fabric;
    struct topo_world world;

    snprintf(name, sizeof(name), "node%u", m->rank / (m->world / m->nodes));
    return !topo_fabric_init(&fabric, topo_instance_find(cfg.type), 1, &m->err) &&
           !topo_world_init(&world, &fabric, 2, m->nodes, m->world / m->nodes, &m->err) &&
           !topo_group_init(&m->group, &world, NULL, 0, &m->err) &&
           !device_instance_open(&cfg, &m->in, &m->err);
}

/* A link, a job that carries its address, and the addresses of the others. */
static bool job_open(struct member *m, uint64_t dead_ms)
{
    struct net_link_config lc = {.rank = m->rank, .world = m->world, .root = m->root, .log = m->lg};
    uint8_t address[NET_ADDRESS_MAX];
    struct net_job_config jc = {.rank = m->rank,
                                .world = m->world,
                                .root = m->root,
                                .key = "collectives test",
                                .host = "test-host",
                                .blob = address,
                                .log = m->lg,
                                .join_limit_ms = START_MS,
                                .dead_ms = dead_ms};

    if (net_link_open(&lc, &m->link, &m->err))
        return false;
    jc.blob_size = net_link_address(m->link, address);
    if (net_job_open(&jc, &m->job, &m->err) || net_job_wait(m->job, NET_NO_LIMIT, &m->err))
        return false;
    for (uint32_t i = 0; i < m->world; i++) {
        const struct net_rank *r = net_job_member(m->job, i);

        if (net_link_peer(m->link, i, r->blob, r->blob_size, &m->err))
            return false;
    }
    net_link_watch(m->link, m->job);
    return !net_group_open(m->job, 0, NULL, 0, &m->everybody, &m->err);
}

static bool comm_open(struct member *m)
{
    struct coll_config cc = {.in = m->in,
                             .group = &m->group,
                             .rank = m->rank,
                             .core = m->rank % (m->world / m->nodes) * 2,
                             .exchange = {m, exchange},
                             .link = m->link,
                             .job = m->job,
                             .timeout_ns = START_MS * UINT64_C(1000000),
                             .log = m->lg,
                             .now = member_now,
                             .now_arg = m};

    device_runnable_add(m->in, 1);
    return !coll_comm_open(&cc, &m->comm, &m->err);
}

static float *tensor(struct member *m, uint64_t elems, uint64_t *ret_addr)
{
    struct device_alloc a = {.core = m->rank % (m->world / m->nodes) * 2,
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_TENSOR,
                             .size = elems * sizeof(float)};
    struct device_extent x;
    void *p = NULL;

    if (device_alloc(m->in, &a, &x, &m->err) ||
        device_map(m->in, x.addr, a.size, DEVICE_RW, &p, &m->err))
        return NULL;
    *ret_addr = x.addr;
    return p;
}

static bool absent(const struct member *m, uint32_t op)
{
    const char *who = getenv("ABSENT");

    return op > 20 && who && (uint32_t)atoi(who) == m->rank;
}

/* all_reduce again and again, checked. The rank's input is rank + 1 + operation % 5, everywhere.
 * The limit is that of the operations in which a rank may be stopped: while members greet each
 * other and get going, only a defect may reach one. */
static void work(struct member *m, uint64_t elems, uint32_t ops, uint64_t timeout_ms)
{
    struct sched_request req = {.op = SCHED_ALL_REDUCE,
                                .alg = m->world > m->nodes ? SCHED_HIER : SCHED_RDH,
                                .intra = SCHED_MESH,
                                .inter = SCHED_MESH,
                                .group = &m->group,
                                .tensors = 1,
                                .counts = &elems,
                                .elem_size = sizeof(float)};
    struct coll_plan *plan = NULL;
    struct sched *s = NULL;
    uint64_t in_addr = 0, out_addr = 0;
    float *in = tensor(m, elems, &in_addr), *out = tensor(m, elems, &out_addr);

    if (!in || !out || sched_create(&req, &s, &m->err) ||
        coll_plan_create(m->comm, s, DT_FP32, KERNEL_COMBINE_SUM, &plan, &m->err))
        return;
    for (uint32_t op = 0; (ops == 0 || op < ops) && !m->err.status && !absent(m, op); op++) {
        float want = (float)(m->world * (m->world + 1) / 2 + m->world * (op % 5));

        for (uint64_t i = 0; i < elems; i++)
            in[i] = (float)(m->rank + 1 + op % 5);
        if (coll_begin(plan, &in_addr, &out_addr, &m->err) || coll_wait(m->comm, &m->err))
            break;
        for (uint64_t i = 0; i < elems && !m->err.status; i++)
            if (out[i] != want)
                err_set(&m->err, NRT_FAILURE, "operation %u, element %llu is %g, not %g", op,
                        (unsigned long long)i, (double)out[i], (double)want);
        if (op == 20) {
            m->comm->cfg.timeout_ns = timeout_ms * 1000000;
            runner_say("busy");
        }
    }
    coll_plan_destroy(plan);
    sched_destroy(s);
}

static int rank_helper(int argc, char **argv)
{
    struct member m = {.lg = log_open_env(),
                       .rank = (uint32_t)atoi(argv[1]),
                       .root = argv[2],
                       .nodes = (uint32_t)atoi(argv[3]),
                       .world = (uint32_t)(atoi(argv[3]) * atoi(argv[4])),
                       .dir = argv[5]};
    char line[ERR_TEXT_MAX + 64];

    if (getenv("CLOCK"))
        m.clock = clock_map(getenv("CLOCK"), 0);
    if (node_open(&m) && job_open(&m, argc > 9 ? (uint64_t)atoi(argv[9]) : 0) && comm_open(&m))
        work(&m, strtoull(argv[7], NULL, 0), (uint32_t)atoi(argv[8]), (uint64_t)atoi(argv[6]));
    snprintf(line, sizeof(line), "ended %d %s", (int)m.err.status, m.err.text);
    if (m.clock)
        common_clock_out(m.clock, m.rank);
    runner_say(line);
    runner_hear(line, sizeof(line));
    coll_comm_close(m.comm);
    net_link_close(m.link);
    net_job_close(m.job);
    device_instance_close(m.in);
    topo_group_fini(&m.group);
    log_close(m.lg);
    return 0;
}

static const struct runner_helper helpers[] = {{"rank", rank_helper}, {NULL, NULL}};

/* --- the tests ---------------------------------------------------------------------------------
 */

static uint64_t seed = 11; /* two of each kind, on two and on three nodes */
static unsigned rounds = 4;
static bool big;

struct cluster {
    char dir[64];
    uint32_t nodes, per_node, world;
    struct common_clock *clock;
    struct port port;
    struct runner_proc p[WORLD_MAX];
};

static void cluster_open(struct cluster *k, uint32_t nodes, uint32_t per_node)
{
    char path[96];

    *k = (struct cluster){.nodes = nodes, .per_node = per_node, .world = nodes * per_node};
    strcpy(k->dir, "/tmp/opennrt-coll-XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    snprintf(path, sizeof(path), "%s/clock", k->dir);
    k->clock = clock_map(path, O_CREAT);
}

static void cluster_close(struct cluster *k)
{
    char cmd[128];

    munmap(k->clock, sizeof(*k->clock));
    snprintf(cmd, sizeof(cmd), "rm -rf %s", k->dir);
    assert_int_equal(system(cmd), 0);
}

/* timeout_ms: of the common clock. absent: NULL, or one that does not go on. */
static void start(struct cluster *k, const char *timeout_ms, const char *elems, const char *ops,
                  const char *absent)
{
    char rank[16], nodes[16], per_node[16], clock[96], gone[24];
    const char *const env[] = {"NEURON_RT_LOG_LEVEL=QUIET", clock, absent ? gone : "ABSENT", NULL};
    const char *args[] = {rank,       k->port.root, nodes, per_node, k->dir,
                          timeout_ms, elems,        ops,   NULL};

    assert_true(port_take(&k->port, "127.0.0.1"));
    common_clock_start(k->clock);
    snprintf(clock, sizeof(clock), "CLOCK=%s/clock", k->dir);
    snprintf(gone, sizeof(gone), "ABSENT=%s", absent ? absent : "");
    snprintf(nodes, sizeof(nodes), "%u", k->nodes);
    snprintf(per_node, sizeof(per_node), "%u", k->per_node);
    for (uint32_t i = 0; i < k->world; i++) {
        snprintf(rank, sizeof(rank), "%u", i);
        assert_true(runner_start(&k->p[i], "rank", args, env));
    }
}

/* How a rank ended: "ended <status> <text>". */
static int ended(struct runner_proc *p, char *line, size_t size)
{
    int status = -1;

    do
        assert_true(runner_line(p, line, size, RUNNER_WAIT_MS));
    while (sscanf(line, "ended %d", &status) != 1);
    return status;
}

static void finish(struct cluster *k, uint32_t but)
{
    for (uint32_t i = 0; i < k->world; i++)
        if (i != but) {
            runner_tell(&k->p[i], "bye");
            assert_int_equal(runner_wait(&k->p[i], RUNNER_WAIT_MS), 0);
        }
    port_free(&k->port);
}

static void whole_job(struct cluster *k)
{
    char line[1024];

    start(k, "120000", "5000", "30", NULL);
    for (uint32_t i = 0; i < k->world; i++)
        if (ended(&k->p[i], line, sizeof(line)) != NRT_SUCCESS)
            fail_msg("rank %u: %s", i, line);
    finish(k, k->world);
}

static void a_job_on_two_nodes(void **state)
{
    struct cluster k;

    cluster_open(&k, 2, 2);
    whole_job(&k);
    cluster_close(&k);
    (void)state;
}

/* Whether it is the rank that the message calls guilty: who judges says how the rank stands, who is
 * told says that it failed, and the job and the network say with whom they cannot talk. Others are
 * in the text as well: the one that speaks, and the one that it waits for. */
static bool blames(const char *line, uint32_t rank)
{
    static const struct {
        const char *before, *after;
    } clauses[] = {{"; rank ", " "},
                   {"was stopped: rank ", " failed"},
                   {"remote peer: rank ", " ("},
                   {"sending to rank ", ":"},
                   {"receiving from rank ", ":"}};
    bool found = false;

    for (unsigned i = 0; i < sizeof(clauses) / sizeof(clauses[0]) && !found; i++) {
        char want[48];

        snprintf(want, sizeof(want), "%s%u%s", clauses[i].before, rank, clauses[i].after);
        found = strstr(line, want) != NULL;
    }
    return found;
}

/* What a rank says of the victim: a documented status, the victim, the operation and its
 * number. */
static bool names(const char *line, int status, uint32_t victim)
{
    return (status == NRT_EXEC_HW_ERR_COLLECTIVES || status == NRT_NETWORK_PROXY_FAILURE) &&
           blames(line, victim) && strstr(line, "operation ") && strstr(line, "(all_reduce by ");
}

/* What happens to the victim: a signal, or 0: it does not begin another operation. */
static void harm(struct cluster *k, uint32_t victim, int signal)
{
    char line[1024];

    if (signal)
        runner_kill(&k->p[victim], signal);
    else
        assert_int_equal(ended(&k->p[victim], line, sizeof(line)), NRT_SUCCESS);
    common_clock_out(k->clock, victim);
}

/* All others name it. Who is killed is found long before the limit; who is stopped, or does not
 * come, by it. */
static void lose(struct cluster *k, uint32_t victim, int signal, const char *elems)
{
    char line[WORLD_MAX][1024] = {0}, number[16];
    bool named = true;

    snprintf(number, sizeof(number), "%u", victim);
    start(k, signal == SIGKILL ? "120000" : STOPPED, elems, "0", signal ? NULL : number);
    for (uint32_t i = 0; i < k->world; i++)
        assert_true(runner_expect(&k->p[i], "busy", RUNNER_WAIT_MS));
    harm(k, victim, signal);
    for (uint32_t i = 0; i < k->world; i++)
        if (i != victim)
            named &= names(line[i], ended(&k->p[i], line[i], sizeof(line[i])), victim);
    for (uint32_t i = 0; i < k->world && !named; i++)
        print_message("rank %u: %s\n", i, line[i]);
    if (!named)
        fail_msg("not all say that rank %u failed, and in which operation", victim);
    runner_kill(&k->p[victim], SIGKILL);
    runner_wait(&k->p[victim], RUNNER_WAIT_MS);
    finish(k, victim);
}

static void a_killed_rank_is_named(void **state)
{
    struct cluster k;

    cluster_open(&k, 2, 2);
    for (uint32_t victim = 0; victim < k.world; victim++)
        lose(&k, victim, SIGKILL, "5000");
    lose(&k, k.world - 1, SIGKILL, "1000000");
    whole_job(&k); /* the next job on the same instances */
    cluster_close(&k);
    (void)state;
}

static void a_stopped_rank_is_named(void **state)
{
    struct cluster k;

    cluster_open(&k, 2, 2);
    for (uint32_t victim = 0; victim < k.world; victim++)
        lose(&k, victim, SIGSTOP, "5000");
    whole_job(&k);
    cluster_close(&k);
    (void)state;
}

/* Two or three nodes of one to three ranks, any of which is stopped, or does not come. In the
 * ordinary run no message is so long that a stop cuts it. */
static void whoever_is_missing_is_named_by_all(void **state)
{
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t salt = draw_mix(seed + i);
        uint32_t nodes = 2 + (uint32_t)(salt % 2), per_node = 1 + (uint32_t)((salt >> 8) % 3);
        struct cluster k;

        if (nodes * per_node > WORLD_MAX)
            per_node = 2;
        cluster_open(&k, nodes, per_node);
        lose(&k, (uint32_t)((salt >> 16) % k.world), salt >> 32 & 1 ? SIGSTOP : 0,
             salt >> 33 & 1 && big ? "300000" : "5000");
        cluster_close(&k);
    }
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_on_two_nodes),
        cmocka_unit_test(a_killed_rank_is_named),
        cmocka_unit_test(a_stopped_rank_is_named),
        cmocka_unit_test(whoever_is_missing_is_named_by_all),
    };
    int rc;

    signal(SIGPIPE, SIG_DFL); /* for the helpers, which must live without */
    rc = runner_dispatch(argc, argv, helpers);
    if (rc >= 0)
        return rc;
    if (argc > 1) {
        rounds = (unsigned)atoi(argv[1]);
        big = argc > 2;
        cmocka_set_test_filter("whoever_*");
    }
    seed = argc > 1 ? seed_take_new() : seed_take(seed);
    signal(SIGPIPE, SIG_IGN); /* a helper that is told goodbye may have ended already */
    runner_watchdog(280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
