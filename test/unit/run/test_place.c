/* SPDX-License-Identifier: Apache-2.0 */
/* Placement on machines that are not there: hwloc reads synthetic topologies and one in XML, and
 * the placement of every instance type is held against what the page promises, on hosts and masks
 * drawn at random. Nothing here moves a thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "log_tap.h"
#include "proves.h"
#include "run/place.h"
#include "runner.h"
#include "seed.h"

static bool has(const struct run_cpus *c, unsigned cpu)
{
    return c->bits[cpu / 64] >> cpu % 64 & 1;
}

static void add(struct run_cpus *c, unsigned cpu)
{
    c->bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

static unsigned count(const struct run_cpus *c)
{
    unsigned n = 0;

    for (unsigned i = 0; i < RUN_CPUS_MAX; i++)
        n += has(c, i);
    return n;
}

static bool within(const struct run_cpus *a, const struct run_cpus *b)
{
    for (unsigned i = 0; i < RUN_CPUS_MAX; i++)
        if (has(a, i) && !has(b, i))
            return false;
    return true;
}

static bool touch(const struct run_cpus *a, const struct run_cpus *b)
{
    for (unsigned i = 0; i < RUN_CPUS_MAX; i++)
        if (has(a, i) && has(b, i))
            return true;
    return false;
}

static struct run_cpus cpus(const char *list)
{
    struct run_cpus c;

    assert_true(run_cpus_parse(list, &c));
    return c;
}

/* --- the host ----------------------------------------------------------------------------------
 */

/* Nodes of cores of CPUs, numbered in this order. */
static void synthetic_hosts(void **state)
{
    static const unsigned shapes[][3] = {{1, 1, 1}, {1, 2, 1}, {2, 1, 1}, {2, 2, 2},
                                         {4, 6, 2}, {3, 5, 1}, {8, 24, 2}};

    for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++) {
        unsigned cores = shapes[s][1], pus = shapes[s][2];
        struct run_host h;
        struct err err = {0};
        char text[64];

        snprintf(text, sizeof(text), "numa:%u core:%u pu:%u", shapes[s][0], cores, pus);
        setenv("HWLOC_SYNTHETIC", text, 1);
        assert_int_equal(run_host_read(&h, &err), NRT_SUCCESS);
        assert_int_equal(h.count, shapes[s][0]);
        for (unsigned n = 0; n < h.count; n++) {
            assert_int_equal(h.node[n].os, n);
            for (unsigned c = 0; c < RUN_CPUS_MAX; c++)
                assert_int_equal(has(&h.node[n].cpus, c), c / (cores * pus) == n);
        }
        for (unsigned c = 0; c < h.count * cores * pus; c++)
            assert_int_equal(h.core[c], c - c % pus);
    }
    unsetenv("HWLOC_SYNTHETIC");
}

/* Nodes 1 and 4, the second thread of a core far from the first, and memory without CPUs. */
static const char odd_host[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n"
    "<topology version=\"2.0\">\n"
    "<object type=\"Machine\" os_index=\"0\" cpuset=\"0xf\" complete_cpuset=\"0xf\""
    " allowed_cpuset=\"0xf\" nodeset=\"0x32\" complete_nodeset=\"0x32\""
    " allowed_nodeset=\"0x32\" gp_index=\"1\">\n"
    " <object type=\"NUMANode\" os_index=\"5\" cpuset=\"0x0\" complete_cpuset=\"0x0\""
    " nodeset=\"0x20\" complete_nodeset=\"0x20\" gp_index=\"10\" local_memory=\"4096\"/>\n"
    " <object type=\"Core\" os_index=\"0\" cpuset=\"0x5\" complete_cpuset=\"0x5\""
    " nodeset=\"0x10\" complete_nodeset=\"0x10\" gp_index=\"2\">\n"
    "  <object type=\"NUMANode\" os_index=\"4\" cpuset=\"0x5\" complete_cpuset=\"0x5\""
    " nodeset=\"0x10\" complete_nodeset=\"0x10\" gp_index=\"3\" local_memory=\"4096\"/>\n"
    "  <object type=\"PU\" os_index=\"0\" cpuset=\"0x1\" complete_cpuset=\"0x1\""
    " nodeset=\"0x10\" complete_nodeset=\"0x10\" gp_index=\"4\"/>\n"
    "  <object type=\"PU\" os_index=\"2\" cpuset=\"0x4\" complete_cpuset=\"0x4\""
    " nodeset=\"0x10\" complete_nodeset=\"0x10\" gp_index=\"5\"/>\n"
    " </object>\n"
    " <object type=\"Core\" os_index=\"1\" cpuset=\"0xa\" complete_cpuset=\"0xa\""
    " nodeset=\"0x2\" complete_nodeset=\"0x2\" gp_index=\"6\">\n"
    "  <object type=\"NUMANode\" os_index=\"1\" cpuset=\"0xa\" complete_cpuset=\"0xa\""
    " nodeset=\"0x2\" complete_nodeset=\"0x2\" gp_index=\"7\" local_memory=\"4096\"/>\n"
    "  <object type=\"PU\" os_index=\"1\" cpuset=\"0x2\" complete_cpuset=\"0x2\""
    " nodeset=\"0x2\" complete_nodeset=\"0x2\" gp_index=\"8\"/>\n"
    "  <object type=\"PU\" os_index=\"3\" cpuset=\"0x8\" complete_cpuset=\"0x8\""
    " nodeset=\"0x2\" complete_nodeset=\"0x2\" gp_index=\"9\"/>\n"
    " </object>\n"
    "</object>\n"
    "</topology>\n";

static void a_host_from_xml(void **state)
{
    char path[] = "/tmp/test-place-XXXXXX";
    int fd = mkstemp(path);
    struct run_cpus first = cpus("1,3"), second = cpus("0,2");
    struct run_host h;
    struct err err = {0};

    assert_true(fd >= 0);
    assert_int_equal(write(fd, odd_host, sizeof(odd_host) - 1), sizeof(odd_host) - 1);
    close(fd);
    setenv("HWLOC_XMLFILE", path, 1);
    assert_int_equal(run_host_read(&h, &err), NRT_SUCCESS);
    unsetenv("HWLOC_XMLFILE");
    unlink(path);
    assert_int_equal(h.count, 2); /* in the order of their numbers, and none without CPUs */
    assert_int_equal(h.node[0].os, 1);
    assert_int_equal(h.node[1].os, 4);
    assert_memory_equal(&h.node[0].cpus, &first, sizeof(first));
    assert_memory_equal(&h.node[1].cpus, &second, sizeof(second));
    assert_int_equal(h.core[2], 0);
    assert_int_equal(h.core[3], 1);
}

static void this_host(void **state)
{
    struct run_cpus mine, all = {{0}};
    struct run_host h;
    struct err err = {0};

    assert_int_equal(run_host_read(&h, &err), NRT_SUCCESS);
    assert_true(h.count >= 1);
    for (unsigned n = 0; n < h.count; n++)
        for (unsigned c = 0; c < RUN_CPUS_MAX; c++)
            if (has(&h.node[n].cpus, c)) {
                assert_false(has(&all, c)); /* a CPU is on one node */
                add(&all, c);
            }
    run_cpus_mine(&mine);
    assert_true(within(&mine, &all));
}

/* --- limits of CPU time ------------------------------------------------------------------------
 */

static char root[] = "/tmp/test-place-XXXXXX";

/* Makes the folders on the way; text NULL removes it. */
static void put(const char *path, const char *text)
{
    char full[256];
    FILE *f;

    snprintf(full, sizeof(full), "%s/%s", root, path);
    for (char *p = full + strlen(root) + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            mkdir(full, 0700);
            *p = '/';
        }
    if (!text) {
        unlink(full);
        return;
    }
    f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void limits_of_cgroups(void **state)
{
    assert_non_null(mkdtemp(root));
    assert_int_equal(run_quota_cpus(root), 0); /* nothing there */
    put("proc/self/cgroup", "0::/a/b\n");
    assert_int_equal(run_quota_cpus(root), 0);
    put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    assert_int_equal(run_quota_cpus(root), 0);
    put("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
    assert_int_equal(run_quota_cpus(root), 2); /* rounded up */
    put("sys/fs/cgroup/a/b/cpu.max", "1000 100000\n");
    assert_int_equal(run_quota_cpus(root), 1);
    put("sys/fs/cgroup/a/b/cpu.max", "800000 100000\n");
    assert_int_equal(run_quota_cpus(root), 8);
    put("sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    assert_int_equal(run_quota_cpus(root), 3); /* the group above has less */
    put("sys/fs/cgroup/cpu.max", "100000 50000\n");
    assert_int_equal(run_quota_cpus(root), 2);
    put("sys/fs/cgroup/cpu.max", "50000 0\n");
    assert_int_equal(run_quota_cpus(root), 3); /* that is no limit */
    put("sys/fs/cgroup/cpu.max", "99999999999999999999 100000\n");
    assert_int_equal(run_quota_cpus(root), 3);
    /* Version 1, beside it. */
    put("proc/self/cgroup", "3:cpuset:/x\n2:cpu,cpuacct:/c\n1:memory:/a\n0::/a\n");
    put("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
    assert_int_equal(run_quota_cpus(root), 3);
    put("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "100001\n");
    assert_int_equal(run_quota_cpus(root), 2);
    put("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", NULL);
    assert_int_equal(run_quota_cpus(root), 3);
    put("proc/self/cgroup", "3:cpuset:/c\nnonsense\n::\n");
    assert_int_equal(run_quota_cpus(root), 0);
}

static int remove_root(void **state)
{
    static const char *const files[] = {"sys/fs/cgroup/cpu/c/cpu.cfs_quota_us",
                                        "sys/fs/cgroup/cpu/c",
                                        "sys/fs/cgroup/cpu",
                                        "sys/fs/cgroup/a/b/cpu.max",
                                        "sys/fs/cgroup/a/b",
                                        "sys/fs/cgroup/a/cpu.max",
                                        "sys/fs/cgroup/a",
                                        "sys/fs/cgroup/cpu.max",
                                        "sys/fs/cgroup",
                                        "sys/fs",
                                        "sys",
                                        "proc/self/cgroup",
                                        "proc/self",
                                        "proc"};
    char full[256];

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(full, sizeof(full), "%s/%s", root, files[i]);
        remove(full);
    }
    return remove(root);
}

/* --- placements --------------------------------------------------------------------------------
 */

/* n nodes of `cores` cores of two CPUs: CPU c and c + n * cores are one core, as on the machines of
 * the documentation. */
static struct run_host host_of(unsigned n, unsigned cores)
{
    struct run_host h = {.count = n};

    for (unsigned c = 0; c < RUN_CPUS_MAX; c++)
        h.core[c] = (uint16_t)(c < 2 * n * cores ? c % (n * cores) : c);
    for (unsigned i = 0; i < n; i++) {
        h.node[i].os = i;
        for (unsigned c = i * cores; c < (i + 1) * cores; c++) {
            add(&h.node[i].cpus, c);
            add(&h.node[i].cpus, c + n * cores);
        }
    }
    return h;
}

static struct run_cpus first_cpus(unsigned n)
{
    struct run_cpus c = {{0}};

    for (unsigned i = 0; i < n; i++)
        add(&c, i);
    return c;
}

static struct run_place *place_of(const struct run_place_config *cfg)
{
    struct run_place *p = NULL;
    struct err err = {0};

    assert_int_equal(run_place_new(cfg, &p, &err), NRT_SUCCESS);
    return p;
}

/* On a host like the one of the documentation every device is where the documentation says, and so
 * are the CPUs. */
static void documented_hosts(void **state)
{
    static const struct {
        const char *type;
        unsigned nodes, cores;
    } of[] = {{"trn1.32xlarge", 2, 32}, {"inf2.48xlarge", 4, 24}, {"trn2.48xlarge", 2, 48}};

    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        const struct topo_instance *t = topo_instance_find(of[i].type);
        struct run_host h = host_of(of[i].nodes, of[i].cores);
        struct run_place_config cfg = {
            .topo = t, .host = &h, .mask = first_cpus(2 * of[i].nodes * of[i].cores)};
        struct run_place *p = place_of(&cfg);

        assert_int_equal(t->vcpus, count(&cfg.mask));
        for (unsigned d = 0; d < t->device_count; d++) {
            struct run_cpus want = cpus(t->devices[d].cpu_affinity), got;

            assert_int_equal(run_place_node(p, d), t->devices[d].numa_node);
            assert_true(run_place_worker(p, d, &got));
            assert_memory_equal(&got, &want, sizeof(want));
            assert_true(run_place_proxy(p, d, 0, &got));
            assert_memory_equal(&got, &want, sizeof(want));
        }
        assert_int_equal(run_place_pool_size(p), t->vcpus);
        run_place_free(p);
    }
}

/* Any other host: neighbours stay together, every node that there is gets its part, and nothing
 * depends on the mask. */
static void other_hosts(void **state)
{
    for (unsigned i = 0; topo_instance_at(i); i++) {
        const struct topo_instance *t = topo_instance_at(i);
        int most = -1;

        for (unsigned d = 0; d < t->device_count; d++)
            most = t->devices[d].numa_node > most ? t->devices[d].numa_node : most;
        for (unsigned n = 1; n <= 16; n++) {
            struct run_host h = host_of(n, 2);
            struct run_place_config cfg = {.topo = t, .host = &h, .mask = first_cpus(4 * n)};
            struct run_place *p = place_of(&cfg), *q;
            bool used[16] = {false};
            unsigned distinct = 0;

            cfg.mask = first_cpus(1);
            q = place_of(&cfg);
            for (unsigned d = 0; d < t->device_count; d++) {
                int at = run_place_node(p, d), types = most + 1;

                assert_int_equal(run_place_node(q, d), at);
                if (most < 0 || n == 1) {
                    assert_int_equal(at, -1);
                    continue;
                }
                assert_true(at >= 0 && at < (int)n);
                used[at] = true;
                /* Halves of the machine are halves of the host. */
                for (unsigned e = 0; e < t->device_count; e++) {
                    int other = run_place_node(p, e);

                    if (t->devices[e].numa_node > t->devices[d].numa_node)
                        assert_true(other >= at && ((int)n < types || other > at));
                }
            }
            for (unsigned k = 0; k < n; k++)
                distinct += used[k];
            if (most >= 0 && n > 1)
                assert_true(distinct == (n < t->device_count ? n : t->device_count) ||
                            n % (unsigned)(most + 1) != 0);
            assert_int_equal(run_place_node(p, t->device_count), -1);
            run_place_free(p);
            run_place_free(q);
        }
    }
    assert_int_equal(run_place_node(NULL, 0), -1);
}

static void why_is_in_the_log(void **state)
{
    static const struct {
        const char *type;
        unsigned nodes;
        const char *text;
    } of[] = {
        {"trn1.2xlarge", 2, "no NUMA nodes are published for trn1.2xlarge"},
        {"trn2.48xlarge", 1, "trn2.48xlarge has 2 NUMA nodes, this host one"},
        {"trn2.48xlarge", 2, "trn2.48xlarge has 2, this host 2: nd0 on 1"},
        {"inf2.48xlarge", 2, "inf2.48xlarge has 4, this host 2, so that several share one: nd0 on"},
    };

    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        struct run_host h = host_of(of[i].nodes, 2);
        struct run_place_config cfg = {.topo = topo_instance_find(of[i].type),
                                       .host = &h,
                                       .mask = first_cpus(8),
                                       .log = log_open_env()};
        struct run_place *p;
        struct log_tap tap;

        log_tap_init(&tap);
        log_tap_attach(&tap, cfg.log);
        p = place_of(&cfg);
        assert_int_equal(tap.count, 0);
        run_place_node(p, 0);
        run_place_node(p, 1); /* once */
        if (log_tap_find(&tap, of[i].text) != 1) {
            log_tap_dump(&tap);
            fail_msg("no \"%s\"", of[i].text);
        }
        assert_int_equal(tap.count, 1);
        run_place_free(p);
        log_close(cfg.log);
        log_tap_fini(&tap);
    }
}

/* --- masks, proxies, limits ---
 */

static void proxies_and_the_pool(void **state)
{
    struct run_host h = host_of(2, 4); /* node 0: 0-3,8-11 */
    struct run_place_config cfg = {.topo = topo_instance_find("trn2.48xlarge"),
                                   .host = &h,
                                   .mask = first_cpus(16),
                                   .low_latency = "2-3,10,40-47"};
    struct run_cpus want = cpus("2-3,10"), got;
    struct run_place *p = place_of(&cfg);
    unsigned near = 0;

    while (run_place_node(p, near) != 0)
        near++;
    assert_true(run_place_proxy(p, near, 0, &got)); /* what there is of them */
    assert_memory_equal(&got, &want, sizeof(want));
    assert_true(run_place_pool(p, &got));
    want = cpus("0-1,4-9,11-15");
    assert_memory_equal(&got, &want, sizeof(want));
    assert_int_equal(run_place_pool_size(p), 13);
    assert_true(run_place_worker(p, near, &got));
    want = cpus("0-1,8-9,11");
    assert_memory_equal(&got, &want, sizeof(want));
    run_place_free(p);

    /* All of the node: its workers go elsewhere. All of the mask: everybody stays. */
    cfg.low_latency = "0-3,8-11";
    p = place_of(&cfg);
    assert_true(run_place_worker(p, near, &got));
    want = cpus("4-7,12-15");
    assert_memory_equal(&got, &want, sizeof(want));
    run_place_free(p);
    cfg.low_latency = "0-15";
    p = place_of(&cfg);
    assert_true(run_place_worker(p, near, &got));
    want = cpus("0-3,8-11");
    assert_memory_equal(&got, &want, sizeof(want));
    assert_false(run_place_pool(p, &got));
    assert_int_equal(run_place_pool_size(p), 16);
    run_place_free(p);

    /* Beside the mask, as with the documentation's taskset; not all of them are allowed. */
    cfg.mask = cpus("0-1,4-9,12-15");
    cfg.allowed = first_cpus(16);
    cfg.low_latency = "2-3,10-11,40-47";
    p = place_of(&cfg);
    want = cpus("2-3,10-11");
    assert_true(run_place_proxy(p, near, 0, &got));
    assert_memory_equal(&got, &want, sizeof(want));
    assert_false(run_place_pool(p, &got));
    assert_int_equal(run_place_pool_size(p), 12);
    assert_true(run_place_worker(p, near, &got));
    want = cpus("0-1,8-9");
    assert_memory_equal(&got, &want, sizeof(want));
    run_place_free(p);

    /* As many as in the mask, and none of these. */
    cfg.mask = cpus("0-3");
    cfg.low_latency = "12-15";
    p = place_of(&cfg);
    want = cpus("12-15");
    assert_true(run_place_proxy(p, near, 0, &got));
    assert_memory_equal(&got, &want, sizeof(want));
    run_place_free(p);

    /* What cgroups grant is less than the mask. */
    cfg.mask = first_cpus(16);
    cfg.allowed = (struct run_cpus){{0}};
    cfg.low_latency = NULL;
    cfg.quota = 3;
    p = place_of(&cfg);
    assert_int_equal(run_place_pool_size(p), 3);
    assert_false(run_place_pool(p, &got));
    run_place_free(p);
}

/* Each on a core of its own until there are none left, then the second threads. */
static void a_core_for_each_proxy(void **state)
{
    static const unsigned want[] = {0, 1, 2, 8, 9, 10, 0}, pairs[] = {0, 2, 6, 1, 3, 7, 0};
    struct run_host h = host_of(2, 4);
    struct run_place_config cfg = {.topo = topo_instance_find("trn2.48xlarge"),
                                   .host = &h,
                                   .mask = first_cpus(16),
                                   .low_latency = "0-2,8-10",
                                   .one_per_core = true};
    struct run_place *p = place_of(&cfg);
    struct run_cpus got;

    for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_true(run_place_proxy(p, 0, i, &got));
        assert_int_equal(count(&got), 1);
        assert_true(has(&got, want[i]));
    }
    run_place_free(p);

    /* Without a list, on the device's node. */
    cfg.low_latency = NULL;
    p = place_of(&cfg);
    for (unsigned i = 0; i < 8; i++) {
        assert_true(run_place_proxy(p, 0, i, &got));
        assert_int_equal(count(&got), 1);
        assert_true(within(&got, &h.node[run_place_node(p, 0)].cpus));
        assert_true(has(&got, (unsigned)run_place_node(p, 0) * 4 + i % 4 + i / 4 * 8));
    }
    run_place_free(p);

    /* Where the numbers of a core's threads follow each other. */
    for (unsigned c = 0; c < RUN_CPUS_MAX; c++)
        h.core[c] = (uint16_t)(c & ~1u);
    cfg.low_latency = "0-3,6-7";
    p = place_of(&cfg);
    for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        assert_true(run_place_proxy(p, 0, i, &got));
        assert_int_equal(count(&got), 1);
        assert_true(has(&got, pairs[i]));
    }
    run_place_free(p);
    PROVES("perf-016");
    PROVES("api-243");
}

static void a_wrong_list_is_told(void **state)
{
    static const struct {
        const char *list, *text;
    } of[] = {{"1-", "\"1-\" is no list of CPUs"}, {"99", "may use none of the CPUs 99"}};
    struct run_host h = host_of(1, 4);

    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        struct run_place_config cfg = {.topo = topo_instance_find("trn2.48xlarge"),
                                       .host = &h,
                                       .mask = first_cpus(8),
                                       .low_latency = of[i].list,
                                       .log = log_open_env()};
        struct run_place *p;
        struct run_cpus got;
        struct log_tap tap;

        log_tap_init(&tap);
        log_tap_attach(&tap, cfg.log);
        p = place_of(&cfg);
        assert_int_equal(log_tap_find(&tap, of[i].text), 1);
        assert_int_equal(log_tap_count(&tap, LOG_WARN), 1);
        assert_false(run_place_proxy(p, 0, 0, &got));
        assert_false(run_place_pool(p, &got));
        assert_false(run_place_worker(p, 0, &got));
        run_place_free(p);
        log_close(cfg.log);
        log_tap_fini(&tap);
    }
}

/* Whatever the host, the mask and the variable. */
static void any_mask(void **state)
{
    unsigned seed = (unsigned)seed_take_new();

    for (unsigned round = 0; round < 2000; round++) {
        unsigned nodes = 1 + (unsigned)rand_r(&seed) % 5, cores = 1 + (unsigned)rand_r(&seed) % 5;
        unsigned n = 2 * nodes * cores, types = 0, device;
        struct run_host h = host_of(nodes, cores);
        struct run_place_config cfg = {.host = &h};
        struct run_cpus list = {{0}}, whole, may, worker, proxy, pool;
        char text[512] = "";
        struct run_place *p;
        const struct run_node *at = NULL;

        while (topo_instance_at(types))
            types++;
        cfg.topo = topo_instance_at((unsigned)rand_r(&seed) % types);
        cfg.one_per_core = rand_r(&seed) % 2;
        for (unsigned c = 0; c < n; c++) {
            if (rand_r(&seed) % 3)
                add(&cfg.mask, c);
            if (rand_r(&seed) % 4 == 0) {
                add(&list, c);
                snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u",
                         text[0] ? "," : "", c);
            }
        }
        cfg.low_latency = text[0] ? text : NULL;
        whole = may = cfg.mask;
        for (unsigned c = 0, wider = (unsigned)rand_r(&seed) % 2; wider && c < n; c++)
            if (rand_r(&seed) % 3) {
                add(&cfg.allowed, c);
                add(&may, c);
            }
        p = place_of(&cfg);
        device = (unsigned)rand_r(&seed) % cfg.topo->device_count;
        if (run_place_node(p, device) >= 0)
            at = &h.node[run_place_node(p, device)];
        worker = proxy = pool = whole;
        (void)run_place_worker(p, device, &worker);
        (void)run_place_proxy(p, device, (unsigned)rand_r(&seed), &proxy);
        (void)run_place_pool(p, &pool);
        assert_true(within(&worker, &whole) && within(&pool, &whole));
        assert_true(within(&proxy, touch(&list, &may) ? &may : &whole));
        if (count(&whole) > 0) {
            bool listed = touch(&list, &may);

            assert_true(count(&worker) > 0 && count(&proxy) > 0 && count(&pool) > 0);
            if (listed) {
                assert_true(within(&proxy, &list));
                /* The kernel pool never takes the proxies' CPUs, nor does a worker, unless there
                 * are no others. */
                if (!within(&whole, &list))
                    assert_true(!touch(&pool, &list) && !touch(&worker, &list));
            } else if (at && touch(&at->cpus, &whole)) {
                assert_true(within(&proxy, &at->cpus) && within(&worker, &at->cpus));
            }
            if (cfg.one_per_core && (listed || count(&whole) > 0))
                assert_int_equal(count(&proxy), 1);
            assert_int_equal(run_place_pool_size(p), count(&pool));
        }
        run_place_free(p);
    }
}

static void without_a_topology(void **state)
{
    struct run_cpus got;

    assert_false(run_place_worker(NULL, 0, &got));
    assert_false(run_place_proxy(NULL, 0, 0, &got));
    assert_false(run_place_pool(NULL, &got));
    assert_int_equal(run_place_pool_size(NULL), run_cpu_count());
    run_place_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synthetic_hosts),
        cmocka_unit_test(a_host_from_xml),
        cmocka_unit_test(this_host),
        cmocka_unit_test_teardown(limits_of_cgroups, remove_root),
        cmocka_unit_test(documented_hosts),
        cmocka_unit_test(other_hosts),
        cmocka_unit_test(why_is_in_the_log),
        cmocka_unit_test(proxies_and_the_pool),
        cmocka_unit_test(a_core_for_each_proxy),
        cmocka_unit_test(a_wrong_list_is_told),
        cmocka_unit_test(any_mask),
        cmocka_unit_test(without_a_topology),
    };

    runner_watchdog(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
