/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks of one process meet (src/coll/meet.h): exchanges that do not wait, and a world that is not
 * complete in time. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "coll/meet.h"

#define TAG 7

struct joiner {
    struct coll_meet_config cfg;
    struct coll_meet *m;
    NRT_STATUS st;
};

static void *join_thread(void *arg)
{
    struct joiner *j = arg;
    struct err err = {0};

    j->st = coll_meet_open(&j->cfg, &j->m, &err);
    return NULL;
}

static void leave(struct joiner *j, const char *text)
{
    struct err err = {0};

    assert_int_equal(coll_meet_leave(j->m, NULL, 0, TAG, text, strlen(text), true, &err),
                     NRT_SUCCESS);
}

/* Gathers at rank 0, when everybody else has given. */
static void expect(struct joiner *j, const char *mine, const char *all)
{
    const struct coll_terms terms = {0};
    struct coll_parts parts;
    struct err err = {0};

    assert_int_equal(coll_meet_gather(j->m, NULL, 0, TAG, mine, strlen(mine), &terms, &parts, &err),
                     NRT_SUCCESS);
    assert_int_equal(parts.off[2], strlen(all));
    assert_memory_equal(parts.data, all, strlen(all));
    coll_parts_free(&parts);
}

static struct coll_house *two_join(struct joiner j[2])
{
    struct coll_house *house;
    struct err err = {0};
    pthread_t other;

    assert_int_equal(coll_house_create(&house, &err), NRT_SUCCESS);
    for (uint32_t r = 0; r < 2; r++)
        j[r].cfg = (struct coll_meet_config){.rank = r, .world = 2, .house = house, .local_max = 2};
    assert_int_equal(pthread_create(&other, NULL, join_thread, &j[1]), 0);
    join_thread(&j[0]);
    pthread_join(other, NULL);
    assert_int_equal(j[0].st, NRT_SUCCESS);
    assert_int_equal(j[1].st, NRT_SUCCESS);
    return house;
}

static void two_leave(struct joiner j[2], struct coll_house *house)
{
    for (uint32_t r = 0; r < 2; r++)
        coll_meet_close(j[r].m);
    coll_house_destroy(house);
}

static void what_a_rank_left_counts_until_it_gives_again(void **state)
{
    struct joiner j[2] = {0};
    struct coll_house *house = two_join(j);

    (void)state;
    leave(&j[1], "x");
    expect(&j[0], "a", "ax"); /* nobody waits for who has left */
    leave(&j[1], "longer");
    leave(&j[1], "y");
    expect(&j[0], "", "y"); /* the last word */
    leave(&j[1], "z");
    leave(&j[0], "b"); /* all have left: over */
    leave(&j[1], "w");
    expect(&j[0], "c", "cw");
    leave(&j[1], "held at the end");
    two_leave(j, house);
}

/* Whatever it has no memory for, whoever comes to the exchange after it hears so at once, without a
 * limit; and both are in step in the next one. */
static void who_has_no_memory_fails_the_exchange_for_all(void **state)
{
    const struct coll_terms terms = {0};
    struct joiner j[2] = {0};
    struct coll_house *house = two_join(j);
    struct coll_parts parts;
    uint64_t hits;

    (void)state;
    leave(&j[1], ""); /* makes the place where they meet */
    expect(&j[0], "", "");
    fault_count_start();
    leave(&j[1], "a");
    hits = fault_count(FAULT_ALLOC);
    fault_disarm();
    expect(&j[0], "b", "ba");
    assert_true(hits > 1);
    for (uint64_t hit = 1; hit <= hits; hit++)
        for (unsigned left = 0; left < 3; left++) { /* by whom a part is there before: 1, 2 */
            struct err err = {0}, other = {0};

            if (left)
                leave(&j[left - 1], "x");
            fault_arm(FAULT_ALLOC, left ? 1 : hit);
            assert_int_equal(coll_meet_leave(j[1].m, NULL, 0, TAG, "y", 1, false, &err),
                             NRT_RESOURCE);
            fault_disarm();
            if (left != 1) {
                assert_int_equal(
                    coll_meet_gather(j[0].m, NULL, 0, TAG, "z", 1, &terms, &parts, &other),
                    NRT_FAILURE);
                assert_string_equal(other.text, "rank 1 has no memory to meet the other ranks");
            }
            leave(&j[1], "next");
            expect(&j[0], "n", "nnext");
        }
    two_leave(j, house);
}

/* At every allocation of an exchange: its part is empty, the other one does not wait, and both are
 * in step in the next exchange. */
static void who_has_no_memory_is_excused(void **state)
{
    const struct coll_terms terms = {.most = 8, .excused = true};
    struct joiner j[2] = {0};
    struct coll_house *house = two_join(j);
    struct coll_parts parts;
    struct err err = {0};
    uint64_t hits;

    (void)state;
    fault_count_start();
    assert_int_equal(coll_meet_leave(j[1].m, NULL, 0, TAG, "x", 1, false, &err), NRT_SUCCESS);
    hits = fault_count(FAULT_ALLOC) + 2; /* where the parts of others go to */
    fault_disarm();
    for (uint64_t hit = 1; hit <= hits; hit++) {
        uint32_t tag = TAG + (uint32_t)hit;

        fault_arm(FAULT_ALLOC, hit);
        assert_int_equal(coll_meet_gather(j[1].m, NULL, 0, tag, "x", 1, &terms, &parts, &err),
                         NRT_RESOURCE);
        fault_disarm();
        assert_int_equal(coll_meet_leave(j[1].m, NULL, 0, tag, "y", 1, false, &err), NRT_SUCCESS);
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(coll_meet_gather(j[0].m, NULL, 0, tag, "a", 1, &terms, &parts, &err),
                             NRT_SUCCESS);
            assert_int_equal(parts.off[2], 1 + i);
            assert_memory_equal(parts.data, "ay", 1 + i);
            coll_parts_free(&parts);
        }
    }
    two_leave(j, house);
}

/* Of three, one comes without a limit, and one has a short one, after which it comes again. */
static void who_has_waited_long_enough_leaves_and_may_come_again(void **state)
{
    struct coll_house *house;
    struct joiner j[3] = {0};
    pthread_t other[3];
    struct err err = {0};

    (void)state;
    assert_int_equal(coll_house_create(&house, &err), NRT_SUCCESS);
    for (uint32_t r = 0; r < 3; r++)
        j[r].cfg = (struct coll_meet_config){.rank = r, .world = 3, .house = house, .local_max = 3};
    j[0].cfg.join_ms = 20;
    join_thread(&j[0]); /* alone */
    assert_int_equal(j[0].st, NRT_TIMEOUT);
    assert_int_equal(pthread_create(&other[1], NULL, join_thread, &j[1]), 0);
    assert_int_equal(coll_meet_open(&j[0].cfg, &j[0].m, &err), NRT_TIMEOUT);
    assert_non_null(strstr(err.text, "of 3 have not joined: "));
    j[0].cfg.join_ms = 0;
    assert_int_equal(pthread_create(&other[2], NULL, join_thread, &j[2]), 0);
    join_thread(&j[0]);
    for (uint32_t r = 1; r < 3; r++)
        pthread_join(other[r], NULL);
    for (uint32_t r = 0; r < 3; r++) {
        assert_int_equal(j[r].st, NRT_SUCCESS);
        coll_meet_close(j[r].m);
    }
    coll_house_destroy(house);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_rank_left_counts_until_it_gives_again),
        cmocka_unit_test(who_has_no_memory_fails_the_exchange_for_all),
        cmocka_unit_test(who_has_no_memory_is_excused),
        cmocka_unit_test(who_has_waited_long_enough_leaves_and_may_come_again),
    };

    return cmocka_run_group_tests_name("coll-meet", tests, NULL, NULL);
}
