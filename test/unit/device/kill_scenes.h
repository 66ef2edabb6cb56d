/* SPDX-License-Identifier: Apache-2.0 */
/* What processes do while they are killed, and what the parent, attached all the time, then finds.
 * A scenario runs in a child; what it returns is its exit code, 0 when nothing failed. */
#ifndef TEST_UNIT_DEVICE_KILL_SCENES_H
#define TEST_UNIT_DEVICE_KILL_SCENES_H

#include "audit.h"

#include <signal.h>
#include <sys/wait.h>

typedef int scenario(const struct device_config *cfg);

/* Whether the child was killed; else it ended without a failure. */
static inline bool was_killed(pid_t pid)
{
    int status = 0;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return true;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    return false;
}

#define TRY(expr)                                         \
    do {                                                  \
        if ((expr) != NRT_SUCCESS)                        \
            return __LINE__ & 0xff ? __LINE__ & 0xff : 1; \
    } while (0)

/* Allocations in several places, growth, frees in another order, a lease, a NEFF, cores. */
static inline int scenario_alloc(const struct device_config *cfg)
{
    struct device_instance *in;
    struct device_extent x[6];
    uint64_t lease;
    uint32_t first, self;
    void *p;

    TRY(device_instance_open(cfg, &in, NULL));
    TRY(device_cores_claim_run(in, 1, &first, NULL));
    TRY(device_neff_add(in, first, 1001, "toy", NULL, NULL));
    for (int i = 0; i < 6; i++) {
        struct device_alloc a = want(i % 2, (enum device_cat)i, (uint64_t)(i + 1) << 20);

        a.flags = i == 2 ? DEVICE_ALLOC_BACK : 0;
        TRY(device_alloc(in, &a, &x[i], NULL));
    }
    TRY(device_map(in, x[5].addr, x[5].size, DEVICE_RW, &p, NULL));
    memset(p, 0x5a, x[5].size);
    self = device_slot(in);
    TRY(device_lease_open(in, &self, 1, &lease, NULL));
    TRY(device_lease_add(in, lease, &x[1], NULL));
    TRY(device_free(in, &x[1], NULL));
    TRY(device_free(in, &x[0], NULL));
    TRY(device_free(in, &x[4], NULL));
    TRY(device_extent_grow(in, &x[5], x[5].size + (3u << 20), NULL));
    TRY(device_extent_grow(in, &x[5], 1u << 20, NULL));
    TRY(device_free(in, &x[5], NULL));
    TRY(device_lease_leave(in, lease, NULL));
    device_neff_remove(in, first, 1001);
    device_instance_close(in);
    return 0;
}

#define SMALL          65536u
#define SURVIVOR_BYTES ((3u << 20) + 24 * SMALL)

struct survivor {
    struct device_instance *in;
    struct device_extent x[2];
};

static inline void survivor_open(struct fixture *f, struct survivor *s)
{
    s->in = fixture_open(f);
    for (int i = 0; i < 2; i++) {
        struct device_alloc a = want(i, DEVICE_CAT_TENSOR, 3u << 20);
        void *p;

        assert_int_equal(device_alloc(s->in, &a, &s->x[i], NULL), NRT_SUCCESS);
        assert_int_equal(device_map(s->in, s->x[i].addr, s->x[i].size, DEVICE_RW, &p, NULL),
                         NRT_SUCCESS);
        memset(p, 0x11 * (i + 1), s->x[i].size);
    }
    for (int i = 0; i < 48; i++) { /* so that the trees have some depth */
        struct device_alloc a = want(i % 2, DEVICE_CAT_RUNTIME, SMALL);
        struct device_extent x;

        a.flags = DEVICE_ALLOC_AT;
        a.at = (8u << 20) + (uint64_t)i * 2 * SMALL;
        assert_int_equal(device_alloc(s->in, &a, &x, NULL), NRT_SUCCESS);
    }
}

/* Nothing but the survivor: no slot, no generation, no NEFF of the dead. */
static inline void only_one_is_left(struct device_instance *in)
{
    unsigned slots = 0;

    for (uint32_t i = 0; i < in->lay.slots; i++)
        slots += ctl_slot(in, i)->state != SLOT_FREE;
    assert_int_equal(slots, 1);
    for (uint32_t i = 0; i < CTL_GEN_MAX; i++)
        assert_int_equal(ctl_gen(in, i)->state, GEN_FREE);
    for (uint32_t i = 0; i < in->lay.neffs; i++)
        assert_int_equal(ctl_neff(in, i)->used, 0);
}

/* Only the survivor's memory is left, with its bytes, and all else agrees. */
static inline void survivor_check(struct survivor *s)
{
    device_reclaim(s->in);
    audit(s->in);
    only_one_is_left(s->in);
    for (int i = 0; i < 2; i++) {
        unsigned char *p;

        assert_true(used_on(s->in, i) == SURVIVOR_BYTES);
        assert_int_equal(
            device_map(s->in, s->x[i].addr, s->x[i].size, DEVICE_READ, (void **)&p, NULL),
            NRT_SUCCESS);
        assert_int_equal(p[0], 0x11 * (i + 1));
        assert_int_equal(memcmp(p, p + 1, s->x[i].size - 1), 0);
    }
    assert_int_equal(device_cores_free_count(s->in), 2);
}

/* Everything outside the survivor's extents that an allocation returns reads as zero. */
static inline void fresh_memory_is_zero(struct survivor *s)
{
    struct device_alloc a = want(1, DEVICE_CAT_TENSOR, 16u << 20);
    struct device_extent x;
    unsigned char *p;

    assert_int_equal(device_alloc(s->in, &a, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_map(s->in, x.addr, x.size, DEVICE_READ, (void **)&p, NULL),
                     NRT_SUCCESS);
    assert_int_equal(p[0], 0);
    assert_int_equal(memcmp(p, p + 1, x.size - 1), 0);
    assert_int_equal(device_free(s->in, &x, NULL), NRT_SUCCESS);
}

/* A process that has reserves, leases to the survivor and cores, and dies. */
static inline int scenario_die_holding(const struct device_config *cfg)
{
    struct device_instance *in;
    uint64_t lease;
    uint32_t members[2] = {0, 0};

    TRY(device_instance_open(cfg, &in, NULL));
    TRY(device_cores_claim(in, 0, 2, NULL));
    TRY(device_neff_add(in, 0, 1001, "toy", NULL, NULL));
    members[1] = device_slot(in);
    TRY(device_lease_open(in, members, 2, &lease, NULL));
    for (int i = 0; i < 4; i++) {
        struct device_alloc a = want(i % 2, DEVICE_CAT_COLL, 5u << 20);
        struct device_extent x;

        a.flags = DEVICE_ALLOC_BACK;
        TRY(device_alloc(in, &a, &x, NULL));
        if (i == 3)
            TRY(device_lease_add(in, lease, &x, NULL));
    }
    return 0; /* no close */
}

static inline int scenario_reclaim(const struct device_config *cfg)
{
    struct device_instance *in;

    TRY(device_instance_open(cfg, &in, NULL));
    device_instance_close(in);
    return 0;
}

/* The one open generation, left by the survivor. */
static inline void survivor_leaves(struct survivor *s)
{
    for (uint32_t g = 0; g < CTL_GEN_MAX; g++) {
        if (ctl_gen(s->in, g)->state == GEN_OPEN)
            assert_int_equal(device_lease_leave(s->in, ctl_gen(s->in, g)->id, NULL), NRT_SUCCESS);
    }
}

/* The first process of an instance: it also makes the memory of an HBM. */
static inline int scenario_first(const struct device_config *cfg)
{
    struct device_alloc a = want(0, DEVICE_CAT_TENSOR, 3u << 20);
    struct device_instance *in;
    struct device_extent x;
    void *p;

    TRY(device_instance_open(cfg, &in, NULL));
    TRY(device_alloc(in, &a, &x, NULL));
    TRY(device_map(in, x.addr, x.size, DEVICE_RW, &p, NULL));
    memset(p, 0x77, x.size);
    TRY(device_free(in, &x, NULL));
    device_instance_close(in);
    return 0;
}

#endif
