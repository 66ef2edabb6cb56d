/* SPDX-License-Identifier: Apache-2.0 */
/* How often a rank looks before it does something else (src/coll/wait.c, which is part of this
 * program): where ranks crowd, as often as the table of means says; a rank that began to look where
 * they did not stops soon when they do. docs/modules/coll.md, "Means". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "coll/wait.c" /* NOLINT: its parts are what is tested */

#define TUNED 5000u

struct looks {
    struct coll_comm *c;
    unsigned count, crowds, moves; /* at these looks ranks begin to crowd, or something moves */
};

static uint32_t look(void *arg)
{
    struct looks *l = arg;

    l->count++;
    if (l->count == l->crowds)
        l->c->crowded = true;
    return l->count == l->moves;
}

static void a_crowded_rank_looks_as_often_as_it_is_tuned_to(void **state)
{
    struct coll_comm c = {.crowded = true};
    struct looks l = {.c = &c};

    c.tuning.patience[true].spins = TUNED;
    assert_int_equal(spins(&c), TUNED);
    assert_int_equal(look_often(&c, spins(&c), false, look, &l), 0);
    assert_int_equal(l.count, TUNED);
    l = (struct looks){.c = &c, .moves = 100};
    assert_int_equal(look_often(&c, spins(&c), false, look, &l), 1);
    assert_int_equal(l.count, 100);
    (void)state;
}

static void looks_of_an_idle_host_end_when_ranks_crowd(void **state)
{
    struct coll_comm c = {.cpus = 4};
    struct looks l = {.c = &c, .crowds = 10};

    assert_int_equal(look_often(&c, TUNED, true, look, &l), 0);
    assert_in_range(l.count, 10, 10 + CROWD_POLLS);
    (void)state;
}

/* All of it, as a core waits: who is crowded yields as often as its table says, and polls no
 * rounds. */
static void a_crowded_rank_yields_as_often_as_it_is_tuned_to(void **state)
{
    struct coll_comm c = {.crowded = true}, *list[] = {&c};
    struct looks l = {.c = &c};

    c.tuning.patience[true].yields = SILENT_YIELDS; /* it has nothing to say yet */
    assert_int_equal(coll_spin(list, 1, TUNED, look, &l), 0);
    assert_int_equal(l.count, SILENT_YIELDS);
    (void)state;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crowded_rank_looks_as_often_as_it_is_tuned_to),
        cmocka_unit_test(looks_of_an_idle_host_end_when_ranks_crowd),
        cmocka_unit_test(a_crowded_rank_yields_as_often_as_it_is_tuned_to),
    };

    return cmocka_run_group_tests_name("coll-patience", tests, NULL, NULL);
}
