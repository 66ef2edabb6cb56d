/* SPDX-License-Identifier: Apache-2.0 */
/* A job of real processes on loopback, and what the others learn when one of them is killed. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../unit/net/net_support.h"
#include "run/run.h"
#include "proves.h"
#include "runner.h"
#include "seed.h"

#define WORLD 4

/* --- one rank: rank, root, world, key ("-": the key file), rounds, silence in ms ---------------
 */

/* Of joining (JOIN_MS), and of an operation (OP_MS). */
static uint64_t limit_ms(const char *variable)
{
    const char *text = getenv(variable);

    return text != NULL ? strtoull(text, NULL, 10) : RUNNER_WAIT_MS;
}

static struct net_job *helper_job(int argc, char **argv, struct log *lg)
{
    struct net_job_config cfg = {.rank = (uint32_t)atoi(argv[1]),
                                 .root = argv[2],
                                 .world = (uint32_t)atoi(argv[3]),
                                 .key = strcmp(argv[4], "-") == 0 ? NULL : argv[4],
                                 .host = "test-host",
                                 .log = lg,
                                 .join_limit_ms = limit_ms("JOIN_MS"),
                                 .dead_ms = argc > 6 ? (uint64_t)atoi(argv[6]) : 0};
    struct err err = {0};
    struct net_job *job;
    char line[ERR_TEXT_MAX + 64];

    if (net_job_open(&cfg, &job, &err) == NRT_SUCCESS) {
        if (net_job_wait(job, NET_NO_LIMIT, &err) == NRT_SUCCESS)
            return job;
        net_job_close(job);
    }
    snprintf(line, sizeof(line), "failed %d %s", (int)err.status, err.text);
    runner_say(line);
    return NULL;
}

/* Gathers for ever, or a given number of times; says how it ended. */
static int rank_helper(int argc, char **argv)
{
    struct log *lg = log_open_env();
    struct net_job *job = helper_job(argc, argv, lg);
    int rounds = argc > 5 ? atoi(argv[5]) : 0;
    struct net_group *g;
    struct err err = {0};
    NRT_STATUS st = NRT_SUCCESS;
    char line[ERR_TEXT_MAX + 64];

    if (job == NULL)
        return 1;
    runner_say("joined");
    st = net_group_open(job, 0, NULL, 0, &g, &err);
    for (int i = 0; st == NRT_SUCCESS && (rounds == 0 || i < rounds); i++) {
        uint64_t mine = (uint64_t)net_job_rank(job) << 32 | (uint32_t)i;

        st = net_op_start(g, i % 3 == 0 ? NET_OP_BARRIER : NET_OP_GATHER, &mine,
                          i % 3 == 0 ? 0 : sizeof(mine), &err);
        if (st == NRT_SUCCESS)
            st = net_op_wait(g, limit_ms("OP_MS") * 1000000, &err);
        for (uint32_t k = 0; st == NRT_SUCCESS && i % 3 != 0 && k < net_job_world(job); k++) {
            uint64_t want = (uint64_t)k << 32 | (uint32_t)i;
            size_t size;
            const void *p = net_op_part(g, k, &size);

            if (size != sizeof(want) || memcmp(p, &want, size) != 0)
                st = err_set(&err, NRT_FAILURE, "a wrong part of rank %u", k);
        }
        if (i == 20)
            runner_say("busy");
    }
    snprintf(line, sizeof(line), "ended %d %u %s", (int)st, net_job_culprit(job), err.text);
    runner_say(line);
    /* the root stays until the test has heard everybody: leaving is another test */
    runner_hear(line, sizeof(line));
    net_job_close(job);
    log_close(lg);
    return 0;
}

/* Joins, says so, and then does nothing at all: no progress, no exit. */
static int idle_helper(int argc, char **argv)
{
    struct net_job *job = helper_job(argc, argv, NULL);
    char line[16];

    if (job == NULL)
        return 1;
    runner_say("joined");
    runner_hear(line, sizeof(line));
    net_job_close(job);
    return 0;
}

static const struct runner_helper helpers[] = {
    {"rank", rank_helper}, {"idle", idle_helper}, {NULL, NULL}};

/* --- the tests ---------------------------------------------------------------------------------
 */

static void start(struct runner_proc *p, const char *what, uint32_t rank, const struct port *port,
                  const char *key, const char *rounds)
{
    static const char *const env[] = {"NEURON_RT_LOG_LEVEL=QUIET", NULL};
    char number[8];
    const char *args[] = {number, port->root, "4", key, rounds, NULL};

    snprintf(number, sizeof(number), "%u", rank);
    assert_true(runner_start(p, what, args, env));
}

static void start_all(struct runner_proc *p, const struct port *port, const char *rounds)
{
    for (uint32_t i = 0; i < WORLD; i++)
        start(&p[i], "rank", WORLD - 1 - i, port, "secret", rounds);
    for (uint32_t i = 0; i < WORLD / 2; i++) { /* in rank order from here */
        struct runner_proc t = p[i];

        p[i] = p[WORLD - 1 - i];
        p[WORLD - 1 - i] = t;
    }
}

static void work(const char *host)
{
    struct runner_proc p[WORLD];
    struct port port;

    if (!port_take(&port, host)) {
        print_message("NOT RUN: this machine has no address %s\n", host);
        skip();
    }
    start_all(p, &port, "400");
    for (uint32_t i = 0; i < WORLD; i++) {
        assert_true(runner_expect(&p[i], "joined", RUNNER_WAIT_MS));
        assert_true(runner_expect(&p[i], "ended 0 4294967295 ", RUNNER_WAIT_MS));
    }
    for (uint32_t i = 0; i < WORLD; i++) {
        runner_tell(&p[i], "bye");
        assert_int_equal(runner_wait(&p[i], RUNNER_WAIT_MS), 0);
    }
    port_free(&port);
}

static void processes_work_together(void **state)
{
    work("127.0.0.1");
}

static void processes_work_together_over_ipv6(void **state)
{
    work("::1");
}

/* The line "ended <status> <culprit> <text>" of a survivor. */
static void expect_end(struct runner_proc *p, int status, uint32_t culprit, const char *text,
                       char line[1024])
{
    char want[64];

    do
        assert_true(runner_line(p, line, 1024, RUNNER_WAIT_MS));
    while (strncmp(line, "ended ", 6) != 0);
    snprintf(want, sizeof(want), "ended %d %u ", status, culprit);
    if (strncmp(line, want, strlen(want)) != 0 || strstr(line, text) == NULL)
        fail_msg("\"%s\" where \"%s...%s\" should be", line, want, text);
}

/* Rank victim is killed while all gather: everybody else learns who, from the connection that the
 * kernel closes, long before any limit. */
static void kill_while_working(uint32_t victim)
{
    struct runner_proc p[WORLD];
    struct port port;
    char text[96], line[1024];

    assert_true(port_take(&port, "127.0.0.1"));
    start_all(p, &port, "0");
    for (uint32_t i = 0; i < WORLD; i++)
        assert_true(runner_expect(&p[i], "busy", RUNNER_WAIT_MS));
    snprintf(text, sizeof(text), "RX, connection closed by remote peer: rank %u (", victim);
    runner_kill(&p[victim], SIGKILL);
    assert_int_equal(runner_wait(&p[victim], RUNNER_WAIT_MS), RUNNER_SIGNAL(SIGKILL));
    for (uint32_t i = 0; i < WORLD; i++) {
        if (i != victim)
            expect_end(&p[i], NRT_FAILURE, victim, text, line);
    }
    for (uint32_t i = 0; i < WORLD; i++) {
        if (i != victim) {
            runner_tell(&p[i], "bye");
            assert_int_equal(runner_wait(&p[i], RUNNER_WAIT_MS), 0);
        }
    }
    port_free(&port);
}

static void every_rank_killed_in_turn(void **state)
{
    for (uint32_t victim = 0; victim < WORLD; victim++)
        kill_while_working(victim);
    PROVES("inter-005");
}

/* Whether the text has this number; what follows the variable's name is an address. */
static bool names(const char *line, uint32_t rank)
{
    const char *end = strstr(line, "NEURON_RT_ROOT_COMM_ID=");
    size_t left = end != NULL ? (size_t)(end - line) : strlen(line);

    while (left > 0) {
        size_t digits = 0;

        while (digits < left && line[digits] >= '0' && line[digits] <= '9')
            digits++;
        if (digits == 1 && line[0] == (char)('0' + rank))
            return true;
        digits += digits == 0;
        line += digits;
        left -= digits;
    }
    return false;
}

/* Killed at any moment between its start and its work; whoever survives ends, and says why. Who
 * starts when rank 0 has learnt of the death, said so, and left, finds nobody there. */
static void killed_at_random_moments(void **state)
{
    srand((unsigned)seed_take_new());
    for (int round = 0; round < 12; round++) {
        uint32_t victim = (uint32_t)rand() % WORLD;
        struct runner_proc p[WORLD];
        struct timespec t = {.tv_nsec = rand() % 60000000};
        struct port port;

        assert_true(port_take(&port, "127.0.0.1"));
        setenv("JOIN_MS", "5000", 1); /* whoever reaches it misses the victim, too */
        start_all(p, &port, "0");
        unsetenv("JOIN_MS");
        nanosleep(&t, NULL); /* the moment is what is random here */
        runner_kill(&p[victim], SIGKILL);
        runner_wait(&p[victim], RUNNER_WAIT_MS);
        for (uint32_t i = 0; i < WORLD; i++) {
            char line[1024];
            int status = -1;

            if (i == victim)
                continue;
            do
                assert_true(runner_line(&p[i], line, sizeof(line), RUNNER_WAIT_MS));
            while (sscanf(line, "ended %d", &status) != 1 &&
                   sscanf(line, "failed %d", &status) != 1);
            /* Before it had joined, the victim is missing; afterwards it has died. */
            if (status != NRT_FAILURE && status != NRT_TIMEOUT)
                fail_msg("%s", line);
            if (strstr(line, "rank") == NULL ||
                (!names(strchr(line, ' ') + 2, victim) &&
                 (i == 0 || strstr(line, " could not reach rank 0 at ") == NULL)))
                fail_msg("rank %u is not named: %s", victim, line);
        }
        for (uint32_t i = 0; i < WORLD; i++) {
            if (i != victim) {
                runner_tell(&p[i], "bye");
                runner_wait(&p[i], RUNNER_WAIT_MS);
            }
        }
        port_free(&port);
    }
}

/* A process that is stopped has not closed its connection: the limit of the operation ends the
 * wait, and names it, beside others that are late. */
static void a_stopped_rank_is_named(void **state)
{
    struct runner_proc p[WORLD];
    struct port port;
    char line[1024];

    assert_true(port_take(&port, "127.0.0.1"));
    setenv("OP_MS", "2000", 1);
    for (uint32_t i = 0; i < WORLD; i++)
        start(&p[i], i == 2 ? "idle" : "rank", i, &port, "secret", "0");
    unsetenv("OP_MS");
    for (uint32_t i = 0; i < WORLD; i++)
        assert_true(runner_expect(&p[i], "joined", RUNNER_WAIT_MS));
    for (uint32_t i = 0; i < WORLD; i++) {
        if (i == 2)
            continue;
        expect_end(&p[i], NRT_TIMEOUT, NET_NO_RANK,
                   "in barrier #0 of group 0: not entered by ranks ", line);
        assert_true(names(strstr(line, "by ranks "), 2));
    }
    for (uint32_t i = 0; i < WORLD; i++) {
        runner_tell(&p[i], "bye");
        runner_wait(&p[i], RUNNER_WAIT_MS);
    }
    port_free(&port);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_work_together),
        cmocka_unit_test(processes_work_together_over_ipv6),
        cmocka_unit_test(every_rank_killed_in_turn),
        cmocka_unit_test(killed_at_random_moments),
        cmocka_unit_test(a_stopped_rank_is_named),
    };
    int rc;

    /* For the helpers, which must live without: ours below is theirs by inheritance. */
    signal(SIGPIPE, SIG_DFL);
    rc = runner_dispatch(argc, argv, helpers);
    if (rc >= 0)
        return rc;
    signal(SIGPIPE, SIG_IGN); /* a helper that is told goodbye may have ended already */
    runner_watchdog(280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
