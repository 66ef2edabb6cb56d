/* SPDX-License-Identifier: Apache-2.0 */
/* How a job comes about: joining, what is wrong with one rank or between ranks, time, faults. All
 * ranks live in one thread, so that every step is under the test's control. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fault.h"
#include "net_support.h"
#include "proves.h"
#include "run/run.h"
#include "runner.h"

/* --- joining -----------------------------------------------------------------------------------
 */

static void everybody_knows_everybody(void **state)
{
    for (uint32_t world = 1; world <= 9; world += 1 + world / 3) {
        struct ranks r;
        char blob[64];

        ranks_setup(&r, world);
        for (uint32_t i = 0; i < world; i++) {
            uint32_t rank = world - 1 - i; /* the root comes last */
            struct net_job_config cfg = r.cfg;

            cfg.rank = rank;
            cfg.host = rank % 2 ? "odd-host" : "even-host";
            snprintf(blob, sizeof(blob), "blob of rank %u", rank);
            cfg.blob = blob;
            cfg.blob_size = strlen(blob) * (rank != 2); /* one has none */
            assert_int_equal(net_job_open(&cfg, &r.job[rank], NULL), NRT_SUCCESS);
        }
        ranks_join(&r);
        for (uint32_t i = 0; i < world; i++) {
            assert_int_equal(net_job_rank(r.job[i]), i);
            assert_int_equal(net_job_world(r.job[i]), world);
            assert_true(net_job_authenticated(r.job[i]));
            assert_true(net_job_cluster_id(r.job[i]) == net_job_cluster_id(r.job[0]));
            assert_true(net_job_epoch(r.job[i]) == net_job_epoch(r.job[0]));
            assert_int_equal(net_job_culprit(r.job[i]), NET_NO_RANK);
            assert_null(net_job_member(r.job[i], world));
            for (uint32_t k = 0; k < world; k++) {
                const struct net_rank *m = net_job_member(r.job[i], k);

                snprintf(blob, sizeof(blob), "blob of rank %u", k);
                assert_string_equal(m->host, k % 2 ? "odd-host" : "even-host");
                assert_string_equal(m->instance, "default");
                assert_int_equal(m->pid, getpid());
                assert_int_equal(m->blob_size, k == 2 ? 0 : strlen(blob));
                assert_memory_equal(m->blob, blob, m->blob_size);
            }
        }
        assert_true(net_job_cluster_id(r.job[0]) != 0);
        ranks_teardown(&r);
    }
}

static void one_rank_needs_no_address(void **state)
{
    struct ranks r;

    ranks_setup(&r, 1);
    r.cfg.root = NULL;
    ranks_join(&r);
    ranks_teardown(&r);
}

static void over_ipv6(void **state)
{
    struct ranks r;

    ranks_setup(&r, 3);
    port_free(&r.port);
    if (!port_take(&r.port, "::1")) {
        print_message("NOT RUN: this machine has no IPv6 loopback\n");
        assert_true(port_take(&r.port, "127.0.0.1"));
        ranks_teardown(&r);
        skip();
    }
    ranks_join(&r);
    ranks_teardown(&r);
}

/* --- what is wrong at once ---------------------------------------------------------------------
 */

static void expect_open(struct ranks *r, struct net_job_config cfg, NRT_STATUS want,
                        const char *text)
{
    struct err err = {0};
    struct net_job *job;

    log_tap_clear(&r->tap);
    if (net_job_open(&cfg, &job, &err) != want)
        fail_msg("not refused with \"%s\"", text);
    assert_null(job);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.text);
    assert_int_equal(log_tap_count(&r->tap, LOG_ERROR), 1);
    assert_int_equal(log_tap_find(&r->tap, text), 1);
}

static void what_is_wrong_at_once_is_said_at_once(void **state)
{
    static const char long_name[] =
        "a-host-name-of-sixty-four-characters-is-one-more-than-the-limit-";
    static const char blob[NET_BLOB_MAX + 1];
    struct net_job_config cfg;
    struct ranks r;

    ranks_setup(&r, 4);
    cfg = r.cfg;
    cfg.rank = 3;
    cfg.root = NULL;
    expect_open(&r, cfg, NRT_INVALID, "rank 3 of 4: NEURON_RT_ROOT_COMM_ID is not set");
    cfg.root = "localhost";
    expect_open(&r, cfg, NRT_INVALID,
                "Invalid NCCL_COMM_ID [localhost], please use format: <ipv4>:<port> or "
                "[<ipv6>]:<port>");
    expect_open(&r, cfg, NRT_INVALID, "NEURON_RT_ROOT_COMM_ID of rank 3");
    cfg = r.cfg;
    cfg.rank = 4;
    expect_open(&r, cfg, NRT_INVALID, "rank 4 of a world of 4");
    cfg = r.cfg;
    cfg.world = 0;
    expect_open(&r, cfg, NRT_INVALID, "rank 0 of a world of 0");
    cfg = r.cfg;
    cfg.host = long_name;
    expect_open(&r, cfg, NRT_INVALID, "has 64 characters, at most 63");
    cfg.host = "two\nlines";
    expect_open(&r, cfg, NRT_INVALID, "not ASCII");
    cfg = r.cfg;
    cfg.blob = blob;
    cfg.blob_size = sizeof(blob);
    expect_open(&r, cfg, NRT_INVALID, "a blob of 4097 bytes");
    cfg = r.cfg;
    cfg.root = "203.0.113.7:9"; /* of no machine */
    expect_open(&r, cfg, NRT_INVALID, "this is no address of this host");
    expect_open(&r, cfg, NRT_INVALID, "NEURON_RT_ROOT_COMM_ID=203.0.113.7:9");
    /* the second rank 0 of one address */
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    expect_open(&r, r.cfg, NRT_FAILURE, "another job or another rank 0 uses this port");
    ranks_teardown(&r);
}

/* --- what is wrong between ranks ---------------------------------------------------------------
 */

struct failing {
    struct ranks *r;
    uint32_t n; /* jobs that must fail: 0 .. n-1 */
};

static bool all_failed(void *arg)
{
    const struct failing *f = arg;

    for (uint32_t i = 0; i < f->n; i++) {
        bool joined;

        if (f->r->job[i] != NULL && net_job_state(f->r->job[i], &joined, NULL) == NRT_SUCCESS)
            return false;
    }
    return true;
}

/* Opens a job whose last rank is set up as odd says; everybody must fail, with the text. */
static void misfit(struct ranks *r, uint32_t world, struct net_job_config odd, const char *text)
{
    struct failing f = {.r = r, .n = world};

    for (uint32_t i = 0; i + 1 < world; i++)
        assert_int_equal(ranks_open(r, i, NULL), NRT_SUCCESS);
    assert_int_equal(net_job_open(&odd, &r->job[world - 1], NULL), NRT_SUCCESS);
    ranks_until(r, all_failed, &f);
    for (uint32_t i = 0; i < world; i++)
        ranks_expect_failure(r, i, NRT_INVALID, text);
}

static void another_world_size(void **state)
{
    struct net_job_config odd;
    struct ranks r;

    ranks_setup(&r, 4);
    odd = r.cfg;
    odd.rank = 3;
    odd.world = 5;
    misfit(&r, 4, odd, "says that the job has 5 ranks, rank 0 says 4");
    ranks_expect_failure(&r, 1, NRT_INVALID, "g_device_count");
    assert_int_equal(net_job_culprit(r.job[0]), 3);
    ranks_teardown(&r);
}

static void another_version(void **state)
{
    struct net_job_config odd;
    struct ranks r;

    ranks_setup(&r, 3);
    r.cfg.version = "1.2.3";
    odd = r.cfg;
    odd.rank = 2;
    odd.version = "1.2.4";
    misfit(&r, 3, odd, "runs version 1.2.4, rank 0 runs version 1.2.3");
    PROVES("inter-008");
    ranks_teardown(&r);
}

static void two_ranks_with_one_id(void **state)
{
    struct net_job_config odd;
    struct ranks r;

    ranks_setup(&r, 3);
    odd = r.cfg;
    odd.rank = 1;
    misfit(&r, 3, odd, "two processes are rank 1");
    ranks_expect_failure(&r, 0, NRT_INVALID, "g_device_id");
    ranks_teardown(&r);
}

static void a_rank_too_many(void **state)
{
    struct failing f;
    struct ranks r, late;
    bool joined;

    ranks_setup(&r, 2);
    ranks_join(&r);
    /* The job is complete and goes on; the newcomer learns why it cannot join. */
    memset(&late, 0, sizeof(late));
    r.cfg.rank = 1;
    assert_int_equal(net_job_open(&r.cfg, &r.job[2], NULL), NRT_SUCCESS);
    f = (struct failing){.r = &late, .n = 1};
    late.job[0] = r.job[2];
    ranks_until(&r, all_failed, &f);
    ranks_expect_failure(&r, 2, NRT_INVALID, "two processes are rank 1");
    assert_int_equal(net_job_state(r.job[0], &joined, NULL), NRT_SUCCESS);
    assert_int_equal(net_job_state(r.job[1], &joined, NULL), NRT_SUCCESS);
    ranks_teardown(&r);
}

static void another_key(void **state)
{
    struct ranks r, one;
    struct failing f = {.r = &one, .n = 1};
    struct net_job_config odd;

    ranks_setup(&r, 2);
    r.cfg.key = "the key";
    odd = r.cfg;
    odd.rank = 1;
    odd.key = "another key";
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    assert_int_equal(net_job_open(&odd, &r.job[2], NULL), NRT_SUCCESS);
    memset(&one, 0, sizeof(one));
    one.job[0] = r.job[2];
    ranks_until(&r, all_failed, &f);
    ranks_expect_failure(&r, 2, NRT_INVALID, "do not have the same key: set OPENNRT_JOB_KEY");
    /* It is a stranger to the job, which goes on without it. */
    ranks_join(&r);
    assert_true(net_job_authenticated(r.job[0]));
    ranks_teardown(&r);
}

static void another_key_file(void **state)
{
    struct ranks r, one;
    struct failing f = {.r = &one, .n = 1};
    struct net_job_config odd;
    struct folder elsewhere;

    ranks_setup(&r, 2);
    folder_make(&elsewhere);
    odd = r.cfg;
    odd.rank = 1;
    odd.key_dirs[0] = elsewhere.path;
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    /* On one host there is no reason to have another file. */
    assert_int_equal(net_job_open(&odd, &r.job[2], NULL), NRT_SUCCESS);
    memset(&one, 0, sizeof(one));
    one.job[0] = r.job[2];
    ranks_until(&r, all_failed, &f);
    ranks_expect_failure(&r, 2, NRT_INVALID, "do not have the same key");
    /* A newcomer that tries all the same is turned away by the root. */
    odd.unkeyed = NET_UNKEYED_ALWAYS;
    net_job_close(r.job[2]);
    assert_int_equal(net_job_open(&odd, &r.job[2], NULL), NRT_SUCCESS);
    one.job[0] = r.job[2];
    ranks_until(&r, all_failed, &f);
    ranks_expect_failure(&r, 2, NRT_INVALID, "rank 0 at");
    ranks_expect_failure(&r, 2, NRT_INVALID, "does not have the key of rank 0");
    ranks_teardown(&r);
    folder_remove(&elsewhere);
}

static void hosts_that_share_no_key_file(void **state)
{
    struct net_job_config odd;
    struct folder elsewhere;
    struct ranks r;

    ranks_setup(&r, 3);
    folder_make(&elsewhere);
    r.cfg.unkeyed = NET_UNKEYED_ALWAYS; /* as if they were different hosts */
    odd = r.cfg;
    odd.rank = 1;
    odd.key_dirs[0] = elsewhere.path;
    assert_int_equal(net_job_open(&odd, &r.job[1], NULL), NRT_SUCCESS);
    ranks_join(&r);
    for (uint32_t i = 0; i < 3; i++)
        assert_false(net_job_authenticated(r.job[i]));
    /* both sides say so, once each */
    assert_int_equal(log_tap_find(&r.tap, "this job is not authenticated"), 2);
    ranks_teardown(&r);
    folder_remove(&elsewhere);
}

/* --- time --------------------------------------------------------------------------------------
 */

static void root_waits_as_documented(void **state)
{
    struct clock clock = {.ns = 1};
    struct ranks r;

    ranks_setup(&r, 3);
    r.cfg.now = clock_now;
    r.cfg.now_arg = &clock;
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    ranks_steps(&r, 20);
    clock.ns += 119999000000ull;
    ranks_steps(&r, 20);
    assert_int_equal(log_tap_find(&r.tap, "retrying"), 0);
    clock.ns += 2000000ull;
    ranks_steps(&r, 20);
    assert_int_equal(
        log_tap_find(&r.tap, "Timeout waiting for incoming connection (waited 120 sec) - retrying"),
        1);
    assert_int_equal(log_tap_find(&r.tap, "ranks missing: 1, 2"), 2); /* root and its member */
    assert_int_equal(log_tap_find(&r.tap, "Timeout waiting for RX (waited 120 sec) - retrying"), 1);
    clock.ns += 120000000000ull;
    ranks_steps(&r, 20);
    assert_int_equal(
        log_tap_find(&r.tap, "Timeout waiting for incoming connection (waited 120 sec) - retrying"),
        2);
    PROVES("inter-003");
    ranks_join(&r); /* and retried for ever: they come after four minutes */
    ranks_teardown(&r);
}

static void member_retries_as_documented(void **state)
{
    struct clock clock = {.ns = 1};
    struct ranks r;
    char text[128];

    ranks_setup(&r, 2);
    r.cfg.now = clock_now;
    r.cfg.now_arg = &clock;
    assert_int_equal(ranks_open(&r, 1, NULL), NRT_SUCCESS);
    ranks_steps(&r, 20);
    snprintf(text, sizeof(text), "Connect to %s failed - retrying", r.port.root);
    assert_int_equal(log_tap_find(&r.tap, text), 0); /* a root that is about to come is no news */
    for (int i = 0; i < 5; i++) {
        clock.ns += 1000000000ull;
        ranks_steps(&r, 10);
    }
    assert_int_equal(log_tap_find(&r.tap, text), 1);
    assert_int_equal(log_tap_count(&r.tap, LOG_ERROR), 1);
    assert_int_equal(log_tap_find(&r.tap, "rank 1 of 2, NEURON_RT_ROOT_COMM_ID="), 1);
    assert_int_equal(log_tap_find(&r.tap, "Connection refused"), 1);
    for (int i = 0; i < 240; i++) {
        clock.ns += 1000000000ull;
        ranks_steps(&r, 10);
    }
    assert_int_equal(log_tap_find(&r.tap, text), 1 + 2); /* then once per 120 s */
    clock.ns += 1000000000ull;
    ranks_join(&r);
    ranks_teardown(&r);
}

static void the_limit_names_who_is_missing(void **state)
{
    struct clock clock = {.ns = 1};
    struct failing f;
    struct ranks r;

    ranks_setup(&r, 4);
    r.cfg.now = clock_now;
    r.cfg.now_arg = &clock;
    r.cfg.join_limit_ms = 30000;
    f = (struct failing){.r = &r, .n = 4};
    assert_int_equal(ranks_open(&r, 0, NULL), NRT_SUCCESS);
    assert_int_equal(ranks_open(&r, 2, NULL), NRT_SUCCESS);
    ranks_steps(&r, 50);
    for (int i = 0; i < 30; i++) {
        clock.ns += 1000000000ull;
        ranks_steps(&r, 10);
    }
    ranks_until(&r, all_failed, &f);
    ranks_expect_failure(&r, 0, NRT_TIMEOUT, "after 30 s these ranks of 4 have not joined: 1, 3");
    ranks_expect_failure(&r, 2, NRT_TIMEOUT, "after 30 s these ranks of 4 have not joined: 1, 3");
    assert_int_equal(net_job_culprit(r.job[2]), 1);
    ranks_teardown(&r);
}

static void the_limit_names_a_root_that_is_not_there(void **state)
{
    struct clock clock = {.ns = 1};
    struct failing f;
    struct ranks r;

    ranks_setup(&r, 2);
    r.cfg.now = clock_now;
    r.cfg.now_arg = &clock;
    r.cfg.join_limit_ms = 2000;
    f = (struct failing){.r = &r, .n = 2};
    assert_int_equal(ranks_open(&r, 1, NULL), NRT_SUCCESS);
    ranks_steps(&r, 10);
    clock.ns += 2000000000ull;
    ranks_until(&r, all_failed, &f);
    ranks_expect_failure(&r, 1, NRT_TIMEOUT,
                         "rank 1 could not reach rank 0 at NEURON_RT_ROOT_COMM_ID=");
    ranks_expect_failure(&r, 1, NRT_TIMEOUT, "Connection refused");
    assert_int_equal(net_job_culprit(r.job[1]), 0);
    ranks_teardown(&r);
}

/* --- faults ------------------------------------------------------------------------------------
 */

static bool settled(void *arg)
{
    struct ranks *r = arg;
    bool joined[3] = {false}, failed = false;

    for (uint32_t i = 0; i < 3; i++) {
        if (net_job_state(r->job[i], &joined[i], NULL) != NRT_SUCCESS)
            failed = true;
    }
    return failed || (joined[0] && joined[1] && joined[2]);
}

/* Every allocation of a job fails once: no crash, no leak (the address sanitizer looks), and either
 * the job works or it says why not. */
static void without_memory(void **state)
{
    uint64_t hits;
    unsigned failures = 0;
    struct ranks r;

    ranks_setup(&r, 3);
    fault_count_start();
    ranks_join(&r);
    hits = fault_count(FAULT_ALLOC);
    fault_disarm();
    ranks_teardown(&r);
    assert_true(hits > 20);
    for (uint64_t n = 1; n <= hits; n++) {
        bool opened = true;

        ranks_setup(&r, 3);
        fault_arm(FAULT_ALLOC, n);
        for (uint32_t i = 0; i < 3 && opened; i++)
            opened = ranks_open(&r, i, NULL) == NRT_SUCCESS;
        if (opened) {
            ranks_until(&r, settled, &r);
        } else {
            failures++;
        }
        fault_disarm();
        /* nor is the root taken for what it is not */
        assert_int_equal(log_tap_find(&r.tap, "is not rank 0 of this job"), 0);
        ranks_teardown(&r);
    }
    assert_true(failures > 5);
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void nothing_is_left_open(void **state)
{
    unsigned before = open_descriptors();
    struct ranks r;

    for (int i = 0; i < 3; i++) {
        ranks_setup(&r, 3);
        ranks_join(&r);
        ranks_teardown(&r);
    }
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_knows_everybody),
        cmocka_unit_test(one_rank_needs_no_address),
        cmocka_unit_test(over_ipv6),
        cmocka_unit_test(what_is_wrong_at_once_is_said_at_once),
        cmocka_unit_test(another_world_size),
        cmocka_unit_test(another_version),
        cmocka_unit_test(two_ranks_with_one_id),
        cmocka_unit_test(a_rank_too_many),
        cmocka_unit_test(another_key),
        cmocka_unit_test(another_key_file),
        cmocka_unit_test(hosts_that_share_no_key_file),
        cmocka_unit_test(root_waits_as_documented),
        cmocka_unit_test(member_retries_as_documented),
        cmocka_unit_test(the_limit_names_who_is_missing),
        cmocka_unit_test(the_limit_names_a_root_that_is_not_there),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(nothing_is_left_open),
    };

    runner_watchdog(240);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
