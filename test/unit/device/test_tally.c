/* SPDX-License-Identifier: Apache-2.0 */
/* The tally of executions, what observers read of it, and clearing counters under it. */
#include "fixture.h"

#include "device/tally.h"

/* A bucket is a sixteenth of a power of two, by plain search over powers. */
static void buckets_are_sixteenths_of_powers(void **state)
{
    uint64_t x = 88172645463325252u;

    for (int i = 0; i < 200000; i++) {
        uint64_t v, first, next;
        uint32_t b;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        v = x >> (20 + x % 44);
        b = device_tally_bucket(v);
        assert_true(b < DEVICE_TALLY_BUCKETS);
        first = device_tally_first(b);
        next = device_tally_first(b + 1);
        assert_true(first <= v && (v < next || b == DEVICE_TALLY_BUCKETS - 1));
        for (uint64_t p = 16; p <= first; p *= 2)
            if (first < 2 * p) {
                assert_int_equal(next - first, p / 16);
                assert_int_equal(first % (p / 16), 0);
            }
    }
    for (uint64_t v = 0; v < 16; v++)
        assert_int_equal(device_tally_bucket(v), v);
    assert_int_equal(device_tally_bucket(UINT64_MAX), DEVICE_TALLY_BUCKETS - 1);
    assert_int_equal(device_tally_first(DEVICE_TALLY_BUCKETS), UINT64_C(1) << 44);
    (void)state;
}

static uint64_t total(const struct device_instance *in, uint32_t core, enum device_counter c)
{
    uint64_t t, present;

    device_counter_get(in, core, c, &t, &present);
    return t;
}

static struct device_instance *observer(struct fixture *f, bool clear)
{
    struct device_config cfg = f->cfg;
    struct device_instance *eye = NULL;
    struct err err = {0};

    cfg.observe = true;
    cfg.clear = clear;
    assert_int_equal(device_instance_open(&cfg, &eye, &err), NRT_SUCCESS);
    return eye;
}

static void counts_survive_owners_and_tallies_do_not(void **state)
{
    static struct device_tally_view v;
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *a = fixture_open(f), *b, *eye, *eraser;
    const struct device_tally_end good = {.status = DEVICE_CTR_SUCCESS,
                                          .busy_us = 7,
                                          .flops = 100,
                                          .core_ns = 7300,
                                          .whole_ns = 9000};
    const struct device_tally_end bad = {.status = DEVICE_CTR_OOB_ERROR};

    assert_int_equal(device_cores_claim(a, 1, 1, NULL), NRT_SUCCESS);
    for (int i = 0; i < 3; i++)
        device_tally_add(a, 1, &good);
    device_tally_add(a, 1, &bad);
    device_tally_add(a, 2, &good); /* no such core */
    eye = observer(f, false);
    device_tally_read(eye, 1, &v);
    assert_int_equal(v.count[DEVICE_CTR_SUCCESS], 3);
    assert_int_equal(v.count[DEVICE_CTR_INFERENCE_COUNT], 3);
    assert_int_equal(v.count[DEVICE_CTR_OOB_ERROR], 1);
    assert_int_equal(v.count[DEVICE_CTR_NC_TIME_IN_USE], 21);
    assert_int_equal(v.count[DEVICE_CTR_FLOP_COUNT], 300);
    for (uint32_t i = 0; i < DEVICE_TALLY_BUCKETS; i++) {
        assert_int_equal(v.core[i], i == device_tally_bucket(7300) ? 3 : 0);
        assert_int_equal(v.whole[i], i == device_tally_bucket(9000) ? 3 : 0);
    }
    assert_int_equal(total(eye, 1, DEVICE_CTR_SUCCESS), 3);

    /* The next owner begins with nothing; the counters since the instance was made go on. */
    device_cores_release(a);
    b = fixture_open(f);
    assert_int_equal(device_cores_claim(b, 0, 2, NULL), NRT_SUCCESS);
    device_tally_read(eye, 1, &v);
    for (unsigned c = 0; c < DEVICE_CTR_COUNT; c++)
        assert_int_equal(v.count[c], 0);
    assert_int_equal(v.core[device_tally_bucket(7300)], 0);
    assert_int_equal(total(eye, 1, DEVICE_CTR_SUCCESS), 3);
    device_tally_add(b, 1, &good);
    device_counter_add(b, 1, DEVICE_CTR_SUCCESS, 2);
    assert_int_equal(total(eye, 1, DEVICE_CTR_SUCCESS), 6);

    /* Clearing leaves the tally alone. Only an observer that asked for it may. */
    device_counter_clear(eye, 1, DEVICE_CTR_SUCCESS);
    assert_int_equal(total(eye, 1, DEVICE_CTR_SUCCESS), 6);
    eraser = observer(f, true);
    device_counter_clear(eraser, 1, DEVICE_CTR_SUCCESS);
    assert_int_equal(total(eye, 1, DEVICE_CTR_SUCCESS), 0);
    device_tally_add(b, 1, &good);
    assert_int_equal(total(eye, 1, DEVICE_CTR_SUCCESS), 1);
    device_tally_read(eye, 1, &v);
    assert_int_equal(v.count[DEVICE_CTR_SUCCESS], 4); /* two executions, two otherwise */
    device_cores_release(b);
    assert_int_equal(device_cores_claim(b, 0, 2, NULL), NRT_SUCCESS);
    assert_int_equal(total(eye, 1, DEVICE_CTR_SUCCESS), 1);

    device_instance_close(eraser);
    device_instance_close(eye);
    device_instance_close(b);
    device_instance_close(a);
    (void)state;
    fixture_free(f);
}

static void neffs_and_peaks_are_seen(void **state)
{
    static const uint8_t uuid[16] = {1, 2, 3, [15] = 9};
    struct fixture *f = fixture_new("trn1.2xlarge");
    struct device_instance *a = fixture_open(f), *eraser;
    struct device_alloc need = {.core = 0, .neff = 1001, .cat = DEVICE_CAT_CONST, .size = 8192};
    struct device_neff_info n;
    struct device_extent x, y;
    uint64_t present, peak;
    unsigned found = 0;

    assert_int_equal(device_cores_claim(a, 0, 1, NULL), NRT_SUCCESS);
    assert_int_equal(device_neff_add(a, 0, 1001, "toy", uuid, NULL), NRT_SUCCESS);
    eraser = observer(f, true);
    for (uint32_t i = 0; i < device_neff_count(eraser); i++)
        if (device_neff_get(eraser, i, &n)) {
            found++;
            assert_int_equal(n.slot, device_slot(a));
            assert_int_equal(n.core, 0);
            assert_int_equal(n.id, 1001);
            assert_string_equal(n.name, "toy");
            assert_memory_equal(n.uuid, uuid, 16);
        }
    assert_int_equal(found, 1);
    device_neff_remove(a, 0, 1001);
    for (uint32_t i = 0; i <= device_neff_count(eraser); i++)
        assert_false(device_neff_get(eraser, i, &n));

    assert_int_equal(device_alloc(a, &need, &x, NULL), NRT_SUCCESS);
    assert_int_equal(device_alloc(a, &need, &y, NULL), NRT_SUCCESS);
    assert_int_equal(device_free(a, &x, NULL), NRT_SUCCESS);
    device_memory_peak(eraser, 0, DEVICE_CAT_CONST, &present, &peak);
    assert_int_equal(present, 8192);
    assert_int_equal(peak, 2 * 8192);
    device_memory_clear(eraser, 0, DEVICE_CAT_CONST);
    device_memory_peak(eraser, 0, DEVICE_CAT_CONST, &present, &peak);
    assert_int_equal(present, 0);
    assert_int_equal(peak, 0);
    assert_int_equal(device_alloc(a, &need, &x, NULL), NRT_SUCCESS);
    device_memory_peak(eraser, 0, DEVICE_CAT_CONST, &present, &peak);
    assert_int_equal(peak, 2 * 8192);

    assert_false(device_instance_gone(eraser));
    device_instance_close(a);
    {
        bool removed = false;

        assert_int_equal(device_instance_reset(&f->cfg, false, &removed, NULL), NRT_SUCCESS);
        assert_true(removed);
    }
    assert_true(device_instance_gone(eraser));
    device_instance_close(eraser);
    (void)state;
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_are_sixteenths_of_powers),
        cmocka_unit_test(counts_survive_owners_and_tallies_do_not),
        cmocka_unit_test(neffs_and_peaks_are_seen),
    };

    runner_watchdog(60);
    return cmocka_run_group_tests_name("device-tally", tests, NULL, NULL);
}
