/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: what other processes may still touch is not given out again, until all members of a
 * generation have left; a process that dies leaves nothing behind that waits for ever. */
#include "audit.h"

#define MIB (UINT64_C(1) << 20)

static void leased_memory_is_quarantined(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *a = fixture_open(f), *b = fixture_open(f);
    uint32_t slots[2] = {device_slot(a), device_slot(b)};
    struct device_alloc w = want(0, DEVICE_CAT_TENSOR, MIB);
    struct device_extent x, y;
    uint64_t one, two;

    assert_int_equal(device_alloc(a, &w, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_open(a, slots, 2, &one, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_open(a, slots, 1, &two, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_add(a, one, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_add(a, two, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_add(b, two, &x, NULL), NRT_INVALID_HANDLE); /* not b's */
    assert_int_equal(device_free(a, &x, NULL), NRT_SUCCESS);
    assert_true(used_on(a, 0) == MIB); /* not to be had yet */
    w.flags = DEVICE_ALLOC_AT;
    w.at = DEVICE_ADDR_OFF(x.addr);
    assert_int_equal(device_alloc(a, &w, &y, NULL), NRT_RESOURCE);
    assert_int_equal(device_free(a, &x, NULL), NRT_INVALID_HANDLE); /* it was freed */
    assert_int_equal(device_lease_leave(a, one, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_leave(a, two, NULL), NRT_SUCCESS);
    assert_true(used_on(a, 0) == MIB); /* b is still in one */
    assert_int_equal(device_lease_leave(a, two, NULL), NRT_INVALID_HANDLE);
    assert_int_equal(device_lease_leave(b, one, NULL), NRT_SUCCESS);
    assert_true(used_on(a, 0) == 0);
    assert_int_equal(device_alloc(a, &w, &y, NULL), NRT_SUCCESS);

    /* the owner goes, the member stays; then the member goes */
    assert_int_equal(device_lease_open(a, slots, 2, &one, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_add(a, one, &y, NULL), NRT_SUCCESS);
    device_instance_close(a);
    assert_true(used_on(b, 0) == MIB);
    audit(b);
    assert_int_equal(device_lease_leave(b, one, NULL), NRT_SUCCESS);
    assert_true(used_on(b, 0) == 0);
    audit(b);
    slots[0] = 1000;
    assert_int_equal(device_lease_open(b, slots, 1, &one, NULL), NRT_INVALID);
    device_instance_close(b);
    (void)state;
    fixture_free(f);
}

/* A process with two ranks is in the generation until both have left. */
static void a_process_may_be_two_members(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *a = fixture_open(f), *b = fixture_open(f);
    uint32_t slots[3] = {device_slot(a), device_slot(a), device_slot(b)};
    struct device_alloc w = want(0, DEVICE_CAT_TENSOR, MIB);
    struct device_extent x;
    uint64_t lease;
    bool member[3];

    assert_int_equal(device_alloc(a, &w, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_open(a, slots, 3, &lease, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_add(a, lease, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_free(a, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_leave(a, lease, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_join(b, lease, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_leave(b, lease, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_leave(b, lease, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_leave(b, lease, NULL), NRT_INVALID_HANDLE); /* it was two */
    assert_int_equal(device_lease_look(b, lease, slots, 3, member, NULL), NRT_SUCCESS);
    assert_true(member[0] && member[1] && !member[2]);
    assert_true(used_on(a, 0) == MIB); /* the second rank of a */
    assert_int_equal(device_lease_leave(a, lease, NULL), NRT_SUCCESS);
    assert_true(used_on(a, 0) == 0);
    assert_int_equal(device_lease_look(b, lease, slots, 3, member, NULL), NRT_SUCCESS);
    assert_true(!member[0] && !member[2]);
    assert_int_equal(device_lease_join(a, lease, NULL), NRT_INVALID_HANDLE);
    device_instance_close(a);
    device_instance_close(b);
    (void)state;
    fixture_free(f);
}

/* What an operation exposes: free at once when it is freed between operations, in quarantine when
 * during one, or after one that failed, until the other member has left. */
static void held_memory_is_leased_while_busy(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *a = fixture_open(f), *b = fixture_open(f);
    uint32_t slots[2] = {device_slot(a), device_slot(b)};
    struct device_alloc w = want(0, DEVICE_CAT_TENSOR, MIB);
    struct device_extent x, held, other;
    _Atomic uint32_t busy;
    uint64_t lease;

    atomic_init(&busy, 0);
    for (int how = 0; how < 4; how++) { /* freed: idle, busy, after an idle end, after a failure */
        memset(&held, 0, sizeof(held));
        memset(&other, 0, sizeof(other));
        assert_int_equal(device_alloc(a, &w, &x, NULL), NRT_SUCCESS);
        assert_int_equal(device_lease_open(a, slots, 2, &lease, NULL), NRT_SUCCESS);
        assert_int_equal(device_lease_watch(a, lease, &busy, NULL), NRT_SUCCESS);
        for (int twice = 0; twice < 2; twice++)
            assert_int_equal(device_lease_hold(a, lease, x.addr + 64, 1000, &held, NULL),
                             NRT_SUCCESS);
        assert_int_equal(device_lease_hold(a, lease, x.addr + 64, MIB, &other, NULL), NRT_INVALID);
        assert_int_equal(device_lease_hold(a, lease, x.addr + 64, MIB, &held, NULL), NRT_INVALID);
        assert_true(device_lease_holds(a, &held, 1));
        assert_true(device_lease_holds(a, &other, 1)); /* all zero */
        assert_int_equal(device_lease_hold(b, lease, x.addr, 64, &other, NULL), NRT_INVALID);
        atomic_store(&busy, how % 2);
        if (how >= 2) {
            device_lease_unwatch(a, lease, &busy);
            assert_int_equal(device_lease_leave(a, lease, NULL), NRT_SUCCESS);
        }
        assert_int_equal(device_free(a, &x, NULL), NRT_SUCCESS);
        assert_true(used_on(a, 0) == (how % 2 ? MIB : 0));
        if (how % 2 == 0) { /* another extent there: what was held is not it */
            assert_false(device_lease_holds(a, &held, 1));
            assert_int_equal(device_alloc(a, &w, &x, NULL), NRT_SUCCESS);
            assert_false(device_lease_holds(a, &held, 1));
            if (how == 0)
                assert_int_equal(device_lease_hold(a, lease, x.addr, 64, &held, NULL), NRT_SUCCESS);
            assert_true(how == 2 || held.generation == x.generation);
            assert_int_equal(device_free(a, &x, NULL), NRT_SUCCESS);
            assert_true(used_on(a, 0) == 0);
        }
        if (how < 2) {
            atomic_store(&busy, 0);
            device_lease_unwatch(a, lease, &busy);
            assert_int_equal(device_lease_leave(a, lease, NULL), NRT_SUCCESS);
        }
        assert_true(used_on(b, 0) == (how % 2 ? MIB : 0));
        assert_int_equal(device_lease_leave(b, lease, NULL), NRT_SUCCESS);
        assert_true(used_on(b, 0) == 0);
        audit(b);
    }
    device_instance_close(a);
    device_instance_close(b);
    (void)state;
    fixture_free(f);
}

/* A process that dies between operations: nobody can ask it, so its memory waits. */
static void held_memory_of_a_slot_that_goes_is_leased(void **state)
{
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *a = fixture_open(f), *b = fixture_open(f);
    uint32_t slots[2] = {device_slot(a), device_slot(b)};
    struct device_alloc w = want(0, DEVICE_CAT_TENSOR, MIB);
    struct device_extent x, held = {0};
    uint64_t lease;

    assert_int_equal(device_alloc(a, &w, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_open(a, slots, 2, &lease, NULL), NRT_SUCCESS);
    assert_int_equal(device_lease_hold(a, lease, x.addr, MIB, &held, NULL), NRT_SUCCESS);
    device_instance_close(a); /* nobody watched */
    assert_true(used_on(b, 0) == MIB);
    assert_int_equal(device_lease_leave(b, lease, NULL), NRT_SUCCESS);
    assert_true(used_on(b, 0) == 0);
    device_instance_close(b);
    (void)state;
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leased_memory_is_quarantined),
        cmocka_unit_test(a_process_may_be_two_members),
        cmocka_unit_test(held_memory_is_leased_while_busy),
        cmocka_unit_test(held_memory_of_a_slot_that_goes_is_leased),
    };

    runner_watchdog(280);
    return cmocka_run_group_tests_name("device-lease", tests, NULL, NULL);
}
