/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks with other versions of the runtime: whoever hears them says both versions, whatever else
 * has changed in what they say. */
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

/* Rank 1 answers with the bytes of rank 0, but for its number and its version. */
static NRT_STATUS exchange(void *arg, const void *mine, size_t size, void *all, struct err *err)
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
    char dir[] = "/tmp/opennrt-versions-XXXXXX", cmd[64], theirs[64], ours[32];
    struct topo_group g = group_of(1, 2);
    struct coll_comm *comm = NULL;
    uint32_t version = COLL_VERSION + 7;
    struct err err = {0};

    assert_non_null(mkdtemp(dir));
    struct device_config dc = {
        .type = "trn2.48xlarge", .dir = dir, .report_dir = dir, .name = "versions"};
    struct coll_config cfg = {.group = &g, .exchange = {&version, exchange}};

    assert_int_equal(device_instance_open(&dc, &cfg.in, &err), NRT_SUCCESS);
    assert_int_equal(coll_comm_open(&cfg, &comm, &err), NRT_INVALID);
    snprintf(ours, sizeof(ours), "rank 0 has version %u", COLL_VERSION);
    snprintf(theirs, sizeof(theirs), "rank 1 of the group has version %u of", version);
    expect_text(&err, theirs, ours);
    device_instance_close(cfg.in);
    topo_group_fini(&g);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    assert_int_equal(system(cmd), 0);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_messages_between_nodes),
        cmocka_unit_test(of_members_of_a_communicator),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
