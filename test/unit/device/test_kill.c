/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 at every store of the control block's critical sections: one run per store, each in a
 * child of its own; the parent, attached all the time, then looks at the table. */
#include "kill_scenes.h"
#include "seed.h"

#include <signal.h>

struct fuse {
    uint64_t left; /* points until the end; 0: never */
};

static void fuse_point(void *arg)
{
    struct fuse *f = arg;

    if (f->left && --f->left == 0)
        raise(SIGKILL);
}

/* Runs the scenario in a child that dies at point n; true if it died. */
static bool run_until(scenario *fn, const struct device_config *cfg, uint64_t n)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct fuse fuse = {n};
        struct device_config c = *cfg;

        c.store_point = fuse_point;
        c.store_point_arg = &fuse;
        _exit(fn(&c));
    }
    return was_killed(pid);
}

static void kill_in_the_allocator(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct survivor s;
    uint64_t n = 1;

    f->cfg.reserve_bytes = 2 * DEVICE_BLOCK; /* frees punch */
    survivor_open(f, &s);
    f->cfg.log = NULL;
    for (; run_until(scenario_alloc, &f->cfg, n); n++) {
        survivor_check(&s);
        if (n % 16 == 0)
            fresh_memory_is_zero(&s);
    }
    assert_true(n > 300);
    print_message("%llu stores\n", (unsigned long long)n);
    survivor_check(&s);
    fresh_memory_is_zero(&s);
    device_instance_close(s.in);
    (void)state;
    fixture_free(f);
}

static void kill_in_the_reclaimer(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct survivor s;
    bool died = true;
    uint64_t n = 1;

    f->cfg.reserve_bytes = 2 * DEVICE_BLOCK;
    survivor_open(f, &s);
    assert_int_equal(device_slot(s.in), 0);
    f->cfg.log = NULL;
    for (; died; n++) {
        assert_false(run_until(scenario_die_holding, &f->cfg, 0));
        died = run_until(scenario_reclaim, &f->cfg, n);
        device_reclaim(s.in);
        audit(s.in);
        assert_true(used_on(s.in, 1) ==
                    SURVIVOR_BYTES + (5u << 20)); /* the leased extent waits for the survivor */
        survivor_leaves(&s);
        survivor_check(&s);
    }
    print_message("%llu stores\n", (unsigned long long)n);
    assert_true(n > 50);
    fresh_memory_is_zero(&s);
    device_instance_close(s.in);
    (void)state;
    fixture_free(f);
}

static void kill_during_creation(void **state)
{
    bool died = true;

    for (uint64_t n = 1; died; n++) {
        struct fixture *f = fixture_new("trn1.2xlarge");
        struct log *log = f->cfg.log;
        struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 3u << 20);
        struct device_extent x;
        unsigned char *p;

        f->cfg.log = NULL;
        died = run_until(scenario_first, &f->cfg, n);
        f->cfg.log = log;
        struct device_instance *in = fixture_open(f);
        audit(in);
        assert_int_equal(device_cores_free_count(in), 2);
        /* No byte of the dead one. */
        assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
        assert_int_equal(device_map(in, x.addr, x.size, DEVICE_READ, (void **)&p, NULL),
                         NRT_SUCCESS);
        assert_int_equal(p[0], 0);
        assert_int_equal(memcmp(p, p + 1, x.size - 1), 0);
        audit(in);
        device_instance_close(in);
        fixture_free(f);
        if (!died)
            assert_true(n > 10);
    }
    (void)state;
}

/* Whoever repairs what a death in the middle left dies in the repair: at other stores for
 * each place, every 37th of them (most make the list of free extents, one like the other). */
static void kill_in_the_repair(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct survivor s;
    /* Places of the first death, all over the scenario; it has some 490 stores. */
    static const uint64_t firsts[] = {7, 60, 150, 250, 320, 400};
    uint64_t runs = 0;

    f->cfg.reserve_bytes = 2 * DEVICE_BLOCK;
    survivor_open(f, &s);
    f->cfg.log = NULL;
    for (size_t k = 0; k < sizeof(firsts) / sizeof(firsts[0]); k++) {
        bool died = true;

        for (uint64_t second = 1 + k; died; second += 37, runs++) {
            assert_true(run_until(scenario_alloc, &f->cfg, firsts[k]));
            died = run_until(scenario_reclaim, &f->cfg, second);
            survivor_check(&s);
        }
    }
    print_message("%llu deaths in the repair\n", (unsigned long long)runs);
    assert_true(runs > 50);
    fresh_memory_is_zero(&s);
    device_instance_close(s.in);
    (void)state;
    fixture_free(f);
}

/* The table of extents grows in the middle of an allocation. */
static int scenario_grow_table(const struct device_config *cfg)
{
    struct device_alloc a = want(0, DEVICE_CAT_RUNTIME, 64);
    struct device_instance *in;
    struct device_extent x;

    TRY(device_instance_open(cfg, &in, NULL));
    for (int i = 0; i < 4; i++)
        TRY(device_alloc(in, &a, &x, NULL));
    device_instance_close(in);
    return 0;
}

static void kill_while_the_table_grows(void **state)
{
    bool died = true;
    uint64_t n = 1;

    for (; died; n += 101) {
        struct fixture *f = fixture_new("trn1.2xlarge");
        struct device_alloc a = want(0, DEVICE_CAT_RUNTIME, 64);
        struct device_instance *in = fixture_open(f);
        struct device_extent x;

        while (ctl_head(in)->extents_used < CTL_EXTENT_CHUNK - 2)
            assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
        assert_int_equal(ctl_extent_cap(in), CTL_EXTENT_CHUNK);
        f->cfg.log = NULL;
        died = run_until(scenario_grow_table, &f->cfg, n);
        device_reclaim(in);
        audit(in);
        assert_int_equal(ctl_head(in)->extents_used, CTL_EXTENT_CHUNK - 2);
        for (int i = 0; i < 4; i++) /* and it grows, now or before */
            assert_int_equal(device_alloc(in, &a, &x, NULL), NRT_SUCCESS);
        assert_int_equal(ctl_extent_cap(in), 2 * CTL_EXTENT_CHUNK);
        audit(in);
        device_instance_close(in);
        fixture_free(f);
    }
    assert_true(n > 2 * CTL_EXTENT_CHUNK); /* two stores for each new extent */
    (void)state;
}

/* The audit itself must be able to fail: an extent changed behind its back. */
static int scenario_recover_refuses(const struct device_config *cfg)
{
    struct device_instance *in;
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 1u << 20);
    struct device_extent x, y;
    struct err err = {0};

    TRY(device_instance_open(cfg, &in, NULL));
    TRY(device_alloc(in, &a, &x, NULL));
    TRY(device_alloc(in, &a, &y, NULL));
    ctl_extent(in, y.index)->off = DEVICE_ADDR_OFF(x.addr) + 64; /* overlaps x */
    if (ctl_lock(in, NULL) != NRT_SUCCESS || ctl_recover_locked(in) != NRT_FAILURE)
        return 1;
    ctl_unlock(in);
    (void)err;
    return 0;
}

static void overlapping_extents_are_noticed(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");

    assert_false(run_until(scenario_recover_refuses, &f->cfg, 0));
    (void)state;
    fixture_free(f);
}

/* Random numbers in the derived fields: noticed, rebuilt, nothing lost; never a crash. */
static void damaged_links_are_rebuilt(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *in = fixture_open(f);
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 4096);
    struct device_extent x[64];
    unsigned seed = (unsigned)seed_take_new();

    for (int i = 0; i < 64; i++)
        assert_int_equal(device_alloc(in, &a, &x[i], NULL), NRT_SUCCESS);
    for (int round = 0; round < 200; round++) {
        int victim = rand_r(&seed) % 64;
        struct ctl_extent *e = ctl_extent(in, x[victim].index);
        struct device_extent y;

        switch (rand_r(&seed) % 4) {
        case 0:
            e->left = (uint32_t)rand_r(&seed);
            break;
        case 1:
            e->right = x[rand_r(&seed) % 64].index; /* a cycle, perhaps */
            break;
        case 2:
            ctl_hbm(in, 0)->root = (uint32_t)rand_r(&seed) % 2000;
            break;
        case 3:
            e->gap = ~UINT64_C(0);
            break;
        }
        if (device_alloc(in, &a, &y, NULL) == NRT_SUCCESS)
            device_free(in, &y, NULL);
        assert_int_equal(ctl_lock(in, NULL), NRT_SUCCESS);
        assert_int_equal(ctl_recover_locked(in), NRT_SUCCESS);
        ctl_unlock(in);
        audit(in);
        for (int i = 0; i < 64; i++)
            assert_int_equal(ctl_extent(in, x[i].index)->state, EXT_LIVE);
    }
    device_instance_close(in);
    (void)state;
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kill_in_the_allocator),
        cmocka_unit_test(kill_in_the_reclaimer),
        cmocka_unit_test(kill_during_creation),
        cmocka_unit_test(kill_in_the_repair),
        cmocka_unit_test(kill_while_the_table_grows),
        cmocka_unit_test(overlapping_extents_are_noticed),
        cmocka_unit_test(damaged_links_are_rebuilt),
    };
    const struct CMUnitTest nobody_dies[] = {
        cmocka_unit_test(overlapping_extents_are_noticed),
        cmocka_unit_test(damaged_links_are_rebuilt),
    };

    runner_watchdog(280);
    if (runner_emulator_lacks("what is killed in device-kill", RUNNER_NO_ROBUST))
        return cmocka_run_group_tests_name("device-kill", nobody_dies, NULL, NULL);
    return cmocka_run_group_tests_name("device-kill", tests, NULL, NULL);
}
