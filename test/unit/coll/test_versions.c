/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks with other versions of the runtime: whoever hears them says both versions, whatever else
 * has changed in what they say. And a rank that gives up between two exchanges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coll/tell_int.h"

static struct topo_group group_of(uint32_t nodes, uint32_t per_node)
{
    struct topo_fabric fabric;
    struct topo_world world;
    struct topo_group g = {0};
    struct err err = {0};

    if (topo_fabric_init(&fabric, topo_instance_find("trn2.48xlarge"), 1, &err) ||
        topo_world_init(&world, &fabric, 2, nodes, per_node, &err) ||
        topo_group_init(&g, &world, NULL, 0, &err))
        fail_msg("%s", err.text);
    return g;
}

static void expect_text(const struct err *err, const char *a, const char *b)
{
    if (!strstr(err->text, a) || !strstr(err->text, b))
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", err->text, a, b);
}

static void of_messages_between_nodes(void **state)
{
    struct topo_group g = group_of(2, 4);
    struct tell_head h = tell_head_make(TELL_HELLO, 5), got;
    /* a later version may have more to say, or less */
    const size_t sizes[] = {sizeof(h), sizeof(h) + 40, 12};
    uint8_t bytes[sizeof(h) + 40] = {0};
    char theirs[32], ours[32];

    snprintf(ours, sizeof(ours), "this rank has version %u", COLL_VERSION);
    snprintf(theirs, sizeof(theirs), "version %u of the", COLL_VERSION + 7);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct err err = {0};

        h.version = COLL_VERSION + 7;
        memcpy(bytes, &h, sizeof(h));
        assert_int_equal(tell_msg_read(&g, 0, bytes, sizes[i], &got, &err), NRT_INVALID);
        expect_text(&err, theirs, ours);
        expect_text(&err, "rank 5", "all ranks must run the same version");
    }
    struct err err = {0};

    h.version = COLL_VERSION;
    assert_int_equal(tell_msg_read(&g, 0, &h, sizeof(h), &got, &err), NRT_SUCCESS);
    assert_int_equal(got.rank, 5);
    topo_group_fini(&g);
    (void)state;
}

/* A process on an instance of its own, and how it opens a communicator of two. */
struct alone {
    char dir[40];
    struct topo_group g;
    struct coll_config cfg; /* all but exchange and rank */
    bool told;              /* of the lease */
};

static void alone_up(struct alone *a)
{
    struct device_config dc = {
        .type = "trn2.48xlarge", .dir = a->dir, .report_dir = a->dir, .name = "versions"};
    struct err err = {0};

    strcpy(a->dir, "/tmp/opennrt-versions-XXXXXX");
    assert_non_null(mkdtemp(a->dir));
    a->g = group_of(1, 2);
    a->cfg = (struct coll_config){.group = &a->g};
    a->told = false;
    assert_int_equal(device_instance_open(&dc, &a->cfg.in, &err), NRT_SUCCESS);
}

static void alone_down(struct alone *a)
{
    char cmd[64];

    device_instance_close(a->cfg.in);
    topo_group_fini(&a->g);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", a->dir);
    assert_int_equal(system(cmd), 0);
}

/* Rank 1 answers with the bytes of rank 0, but for its number and its version. */
static NRT_STATUS other_version(void *arg, const void *mine, size_t size, void *all,
                                struct err *err)
{
    const uint32_t version = *(const uint32_t *)arg, rank = 1;

    (void)err;
    memcpy(all, mine, size);
    memcpy((uint8_t *)all + size, mine, size);
    if (size <= 16)
        return NRT_SUCCESS;
    memcpy((uint8_t *)all + size + 8, &version, sizeof(version)); /* magic, version, rank, ... */
    memcpy((uint8_t *)all + size + 12, &rank, sizeof(rank));
    return NRT_SUCCESS;
}

static void of_members_of_a_communicator(void **state)
{
    char theirs[64], ours[32];
    struct coll_comm *comm = NULL;
    uint32_t version = COLL_VERSION + 7;
    struct err err = {0};
    struct alone a;

    alone_up(&a);
    a.cfg.exchange = (struct coll_exchange){&version, other_version, NULL};
    assert_int_equal(coll_comm_open(&a.cfg, &comm, &err), NRT_INVALID);
    snprintf(ours, sizeof(ours), "rank 0 has version %u", COLL_VERSION);
    snprintf(theirs, sizeof(theirs), "rank 1 of the group has version %u of", version);
    expect_text(&err, theirs, ours);
    alone_down(&a);
    (void)state;
}

/* Rank 0 says what rank 1 says, then names a lease that it has left since, then says no more. */
static NRT_STATUS giving_up(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    struct alone *a = arg;
    const uint32_t slot = device_slot(a->cfg.in), rank = 0;
    uint64_t lease;
    NRT_STATUS st;

    memcpy(all, mine, size);
    memcpy((uint8_t *)all + size, mine, size);
    if (size > 16) {
        memcpy((uint8_t *)all + 12, &rank, sizeof(rank));
        return NRT_SUCCESS;
    }
    if (a->told)
        return err_set(err, NRT_TIMEOUT, "not entered by rank 0");
    a->told = true;
    st = device_lease_open(a->cfg.in, &slot, 1, &lease, err);
    memcpy(all, &lease, sizeof(lease));
    return st ? st : device_lease_leave(a->cfg.in, lease, err);
}

/* The one that has heard of the lease last finds it closed: the other one has failed, by name. */
static void a_member_gives_up_after_it_has_told_of_the_lease(void **state)
{
    struct coll_comm *comm = NULL;
    struct err err = {0};
    struct alone a;

    alone_up(&a);
    a.cfg.rank = 1;
    a.cfg.exchange = (struct coll_exchange){&a, giving_up, NULL};
    assert_int_equal(coll_comm_open(&a.cfg, &comm, &err), NRT_FAILURE);
    expect_text(&err, "rank 0", "has given the communicator up");
    alone_down(&a);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_messages_between_nodes),
        cmocka_unit_test(of_members_of_a_communicator),
        cmocka_unit_test(a_member_gives_up_after_it_has_told_of_the_lease),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
