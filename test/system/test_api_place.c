/* SPDX-License-Identifier: Apache-2.0 */
/* Where the threads and the memory of devices end up, through the public calls: hwloc is told of a
 * host of two nodes with one CPU each, which are CPUs 0 and 1 of this one. */
#include <ctype.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "api_support.h"
#include "models.h"
#include "nrt/nrt_async.h"
#include "proves.h"
#include "runner.h"

#define TYPE "trn1.32xlarge" /* devices of node 0 and of node 1; two cores each */
#define NEAR 0               /* a core of the first device, which is on node 0 */
#define FAR  4               /* a core of the third device, which is on node 1 */

static cpu_set_t whole;

static int setup(void **state)
{
    (void)state;
    sched_getaffinity(0, sizeof(whole), &whole);
    setenv("HWLOC_SYNTHETIC", "numa:2 pu:1", 1);
    api_env(TYPE, 0);
    setenv("NEURON_RT_LOG_LEVEL", "INFO", 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    nrt_close();
    sched_setaffinity(0, sizeof(whole), &whole);
    unsetenv("HWLOC_SYNTHETIC");
    unsetenv("NEURON_RT_LOG_LEVEL");
    unsetenv("NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY");
    api_env_end();
    return 0;
}

static void begin(void)
{
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
}

/* Both CPUs, and no others that they could be mistaken for. */
static void need_two_cpus(void)
{
    if (!CPU_ISSET(0, &whole) || !CPU_ISSET(1, &whole)) {
        print_message("NOT RUN: CPUs 0 and 1 are not this process's\n");
        skip();
    }
}

/* A request to the core's execution units, carried out. */
static void request(int core)
{
    struct pollfd p = {.events = POLLIN};
    nrta_error_tracker_t *tracker;
    nrt_tensor_t *t;
    nrta_seq_t seq;
    char byte = 7;

    assert_ok(nrt_tensor_allocate(DEV, core, 1, NULL, &t));
    assert_ok(nrta_error_tracker_create((uint32_t)core, &tracker));
    assert_ok(nrta_tensor_write(t, &byte, 0, 1, 0, tracker, &seq));
    assert_ok(nrta_get_completion_handle(seq, &p.fd));
    assert_int_equal(poll(&p, 1, -1), 1);
    close(p.fd);
    nrta_error_tracker_destroy(tracker);
    nrt_tensor_free(&t);
}

static void workers_are_near_their_devices(void **state)
{
    need_two_cpus();
    begin();
    request(NEAR);
    request(FAR);
    assert_int_equal(runner_thread_cpu("nrt-core0"), 0);
    assert_int_equal(runner_thread_cpu("nrt-core4"), 1);
    assert_true(
        api_log_has("NUMA nodes: " TYPE " has 2, this host 2: nd0 on 0, nd1 on 0, nd2 on 1"));
    (void)state;
}

/* The caller's own mask holds for the threads that are started for it. */
static void the_callers_mask_holds(void **state)
{
    cpu_set_t one;

    need_two_cpus();
    CPU_ZERO(&one);
    CPU_SET(1, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    begin();
    request(NEAR);
    assert_int_equal(runner_thread_cpu("nrt-core0"), 1);
    (void)state;
}

static void workers_leave_the_proxies_alone(void **state)
{
    need_two_cpus();
    setenv("NEURON_RT_LOW_LATENCY_TASKS_CPU_AFFINITY", "0", 1);
    if (CPU_COUNT(&whole) != 2) {
        print_message("NOT RUN: with more than two CPUs it is told by its mask, not by one CPU\n");
        skip();
    }
    begin();
    request(NEAR);
    assert_int_equal(runner_thread_cpu("nrt-core0"), 1);
    (void)state;
}

/* What the kernel says of the mapping of an HBM; false: nothing. */
static bool policy_of(unsigned hbm, char *ret, size_t size)
{
    FILE *f = fopen("/proc/self/numa_maps", "r");
    char line[1024], name[64];
    bool found = false;

    snprintf(name, sizeof(name), "opennrt-hbm-%u", hbm);
    while (f && !found && fgets(line, sizeof(line), f)) {
        char *at = strstr(line, name);

        found = at && !isdigit((unsigned char)at[strlen(name)]);
        if (found)
            snprintf(ret, size, "%s", strchr(line, ' ') ? strchr(line, ' ') + 1 : "");
    }
    if (f)
        fclose(f);
    return found;
}

static void memory_comes_from_the_devices_node(void **state)
{
    char policy[1024] = "";

    setenv("NEURON_RT_LOG_LEVEL", "DEBUG", 1);
    begin();
    request(NEAR);
    if (!policy_of(0, policy, sizeof(policy)) || api_log_has("HBM 0 is not bound")) {
        print_message("NOT RUN: this system has no NUMA policies, or refuses them\n");
        skip();
    }
    if (strncmp(policy, "prefer:0 ", 9) != 0)
        fail_msg("HBM 0: %s", policy);
    /* Of a node that is not there the system says no, and nothing is worse than that. */
    request(FAR);
    if (access("/sys/devices/system/node/node1", F_OK) != 0)
        assert_true(api_log_has("HBM 4 is not bound to NUMA node 1: "));
    else
        assert_true(policy_of(4, policy, sizeof(policy)) && !strncmp(policy, "prefer:1 ", 9));
    (void)state;
}

/* A host of one node is left alone, and so is a type of which nothing is published. */
static void one_node_is_left_alone(void **state)
{
    char policy[1024] = "";

    setenv("HWLOC_SYNTHETIC", "numa:1 pu:2", 1);
    begin();
    request(NEAR);
    assert_true(api_log_has(TYPE " has 2 NUMA nodes, this host one: its devices are all there"));
    if (CPU_COUNT(&whole) > 1)
        assert_int_equal(runner_thread_cpu("nrt-core0"), -1);
    if (policy_of(0, policy, sizeof(policy)))
        assert_int_equal(strncmp(policy, "default ", 8), 0);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(workers_are_near_their_devices, setup, teardown),
        cmocka_unit_test_setup_teardown(the_callers_mask_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(workers_leave_the_proxies_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_comes_from_the_devices_node, setup, teardown),
        cmocka_unit_test_setup_teardown(one_node_is_left_alone, setup, teardown),
    };

    if (runner_emulated()) {
        print_message("NOT RUN: an emulator's system calls are not the host's\n");
        return RUNNER_SKIP;
    }
    runner_watchdog(240);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
