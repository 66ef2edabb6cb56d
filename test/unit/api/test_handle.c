/* SPDX-License-Identifier: Apache-2.0 */
/* Handles: api.md 4.3 (a handle carries its session and is looked up before it is dereferenced). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/handle_int.h"
#include "proves.h"

static struct handle_table table = HANDLE_TABLE_INIT(HANDLE_TENSOR);

static void handle_new_then_pinned_gives_its_object(void **state)
{
    int obj;
    uint64_t token = handle_new(&table, 7, &obj);
    struct handle_slot *s = handle_pin(&table, token);

    assert_true(token != 0);
    assert_non_null(s);
    assert_ptr_equal(s->obj, &obj);
    handle_unpin(s);
    assert_ptr_equal(handle_take(&table, token), &obj);
}

static void handle_taken_is_refused_for_ever(void **state)
{
    int obj[2];
    uint64_t first = handle_new(&table, 7, &obj[0]), second;

    assert_ptr_equal(handle_take(&table, first), &obj[0]);
    assert_null(handle_take(&table, first));
    second = handle_new(&table, 7, &obj[1]);
    /* The slot is used again; the old token still is nothing. */
    assert_int_equal(first & ((1u << HANDLE_INDEX_BITS) - 1),
                     second & ((1u << HANDLE_INDEX_BITS) - 1));
    assert_true(first != second);
    assert_null(handle_pin(&table, first));
    assert_null(handle_lock(&table, first));
    assert_ptr_equal(handle_take(&table, second), &obj[1]);
}

static void handle_of_another_kind_or_session_is_refused(void **state)
{
    static struct handle_table other = HANDLE_TABLE_INIT(HANDLE_SET);
    int a, b;
    uint64_t mine = handle_new(&table, 7, &a), theirs = handle_new(&other, 7, &b);

    assert_null(handle_pin(&table, theirs));
    assert_null(handle_pin(&other, mine));
    assert_null(handle_pin(&table, mine ^ (UINT64_C(1) << (HANDLE_INDEX_BITS + HANDLE_GEN_BITS))));
    handle_take(&table, mine);
    handle_take(&other, theirs);
}

static void handle_is_one_version_of_a_live_object(void **state)
{
    int a, b;
    uint64_t token = handle_new(&table, 7, &a), next;
    struct handle_slot *s;

    assert_true(handle_is(&table, token, 0));
    assert_false(handle_is(&table, token, 1));
    s = handle_lock(&table, token);
    atomic_store(&s->version, 1);
    handle_unlock(s);
    assert_true(handle_is(&table, token, 1));
    assert_false(handle_is(&table, token, 0));
    assert_int_equal(atomic_load(&s->pins), 0); /* it pins nothing */
    handle_take(&table, token);
    assert_false(handle_is(&table, token, 1));
    next = handle_new(&table, 7, &b); /* in the same slot: a new object, no versions yet */
    assert_false(handle_is(&table, token, 1));
    assert_false(handle_is(&table, next, 1));
    assert_true(handle_is(&table, next, 0));
    handle_take(&table, next);
    assert_false(handle_is(&table, 0, 0));
    assert_false(handle_is(&table, UINT64_MAX, 0));
}

/* Two copies of the library that gave their session the same number. */
static void handle_of_another_copy_is_refused(void **state)
{
    static struct handle_table here = HANDLE_TABLE_INIT(HANDLE_TENSOR),
                               there = HANDLE_TABLE_INIT(HANDLE_TENSOR);
    int a, b;

    here.gen_first = 4711;
    there.gen_first = UINT32_MAX; /* wraps at once */
    for (int i = 0; i < 1025; i++) {
        uint64_t mine = handle_new(&here, 7, &a), theirs = handle_new(&there, 7, &b);

        assert_true(mine != 0 && theirs != 0);
        assert_null(handle_pin(&here, theirs));
        assert_null(handle_pin(&there, mine));
        assert_ptr_equal(handle_take(&here, mine), &a);
        assert_ptr_equal(handle_take(&there, theirs), &b);
    }
}

static void handle_any_number_is_refused_without_a_fault(void **state)
{
    int obj;
    uint64_t token = handle_new(&table, 7, &obj), x = 88172645463325252u;
    static const uint64_t edges[] = {0, 1, UINT64_MAX, UINT64_MAX >> 1, 1ull << 63, 4096};

    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        assert_null(handle_pin(&table, edges[i]));
        assert_null(handle_take(&table, edges[i]));
    }
    for (int i = 0; i < 1000000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        if (x != token)
            assert_null(handle_pin(&table, x));
    }
    assert_ptr_equal(handle_take(&table, token), &obj);
}

static void handle_many_are_found_and_ended(void **state)
{
    enum { N = 5000 };
    static uint64_t tokens[N];
    static int objs[N];
    uint32_t cursor = 0, n = 0;

    for (int i = 0; i < N; i++)
        tokens[i] = handle_new(&table, 9, &objs[i]);
    for (int i = 0; i < N; i++) {
        struct handle_slot *s = handle_pin(&table, tokens[i]);

        assert_non_null(s);
        assert_ptr_equal(s->obj, &objs[i]);
        handle_unpin(s);
    }
    while (handle_take_any(&table, &cursor))
        n++;
    assert_int_equal(n, N);
    assert_null(handle_pin(&table, tokens[N - 1]));
}

/* ---- users against one who frees ---- */

struct shared {
    _Atomic uint64_t token;
    _Atomic int stop;
    _Atomic long seen;
};

struct object {
    int alive; /* plain: the race detector sees an unordered free */
};

static void *user(void *arg)
{
    struct shared *sh = arg;

    while (!atomic_load(&sh->stop)) {
        struct handle_slot *s = handle_pin(&table, atomic_load(&sh->token));

        if (!s)
            continue;
        if (((struct object *)s->obj)->alive != 1)
            abort();
        atomic_fetch_add(&sh->seen, 1);
        handle_unpin(s);
        if ((s = handle_lock(&table, atomic_load(&sh->token)))) {
            ((struct object *)s->obj)->alive = 2;
            ((struct object *)s->obj)->alive = 1;
            handle_unlock(s);
        }
    }
    return NULL;
}

static void handle_freed_while_used_waits_for_its_users(void **state)
{
    struct shared sh = {0};
    pthread_t t[3];

    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, user, &sh), 0);
    for (int i = 0; i < 3000; i++) {
        struct object *o = malloc(sizeof(*o));
        uint64_t token;

        o->alive = 1;
        token = handle_new(&table, 3, o);
        atomic_store(&sh.token, token);
        while (i % 100 == 0 && atomic_load(&sh.seen) == 0)
            ;
        atomic_store(&sh.seen, 0);
        assert_ptr_equal(handle_take(&table, token), o);
        o->alive = 0;
        free(o);
    }
    atomic_store(&sh.stop, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handle_new_then_pinned_gives_its_object),
        cmocka_unit_test(handle_taken_is_refused_for_ever),
        cmocka_unit_test(handle_of_another_kind_or_session_is_refused),
        cmocka_unit_test(handle_is_one_version_of_a_live_object),
        cmocka_unit_test(handle_of_another_copy_is_refused),
        cmocka_unit_test(handle_any_number_is_refused_without_a_fault),
        cmocka_unit_test(handle_many_are_found_and_ended),
        cmocka_unit_test(handle_freed_while_used_waits_for_its_users),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
