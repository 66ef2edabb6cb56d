/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors and sets through the public API: api.md 4.6 and 4.7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "models.h"
#include "proves.h"
#include "seed.h"

#define KIB 1024u
#define MIB (1024u * KIB)
#define GIB ((size_t)1024 * MIB)

static nrt_tensor_t *host(nrt_tensor_placement_t place, size_t size)
{
    nrt_tensor_t *t = NULL;

    assert_ok(nrt_tensor_allocate(place, -1, size, NULL, &t));
    return t;
}

static void fill(uint8_t *p, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (uint8_t)(seed >> 24);
    }
}

static bool all_are(const uint8_t *p, size_t n, uint8_t v)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != v)
            return false;
    return true;
}

/* ---- placements, contents, addresses ---- */

static void tensor_new_reads_zero_in_every_placement(void **state)
{
    static uint8_t buf[3 * MIB];

    /* Twice: memory that was used before is zero again. */
    for (int round = 0; round < 2; round++)
        for (int place = 0; place < 3; place++)
            for (size_t size = 1; size <= sizeof(buf); size = size * 7 + 3) {
                nrt_tensor_t *t =
                    place ? host((nrt_tensor_placement_t)place, size) : device_tensor(1, size);

                memset(buf, 0x5A, size);
                assert_ok(nrt_tensor_read(t, buf, 0, size));
                assert_true(all_are(buf, size, 0));
                memset(buf, 0xC3, size);
                assert_ok(nrt_tensor_write(t, buf, 0, size));
                nrt_tensor_free(&t);
                assert_null(t);
            }
    PROVES("api-021");
    PROVES("api-022");
    PROVES("hbm-003");
}

/* Only a part is written first: the rest still is zero, in memory that had another owner. */
static void tensor_reused_memory_written_in_part_reads_zero_elsewhere(void **state)
{
    static uint8_t buf[5 * MIB];

    for (int round = 0; round < 6; round++) {
        nrt_tensor_t *t = device_tensor(0, sizeof(buf)), *s = NULL;

        if (round == 0) {
            memset(buf, 0xEE, sizeof(buf));
            assert_ok(nrt_tensor_write(t, buf, 0, sizeof(buf)));
        } else if (round == 1) {
            assert_ok(nrt_tensor_write(t, "abc", 1000, 3));
            assert_ok(nrt_tensor_read(t, buf, 0, sizeof(buf)));
            assert_memory_equal(buf + 1000, "abc", 3);
            assert_true(all_are(buf, 1000, 0));
            assert_true(all_are(buf + 1003, sizeof(buf) - 1003, 0));
            assert_ok(nrt_tensor_memset(t, 0, 0xEE, sizeof(buf)));
        } else if (round == 2) {
            assert_ok(nrt_tensor_memset(t, 4 * MIB, 0x77, MIB));
            assert_ok(nrt_tensor_read(t, buf, 0, sizeof(buf)));
            assert_true(all_are(buf, 4 * MIB, 0));
            assert_true(all_are(buf + 4 * MIB, MIB, 0x77));
            assert_ok(nrt_tensor_memset(t, 0, 0xEE, sizeof(buf)));
        } else if (round == 3) {
            assert_true(all_are(nrt_tensor_get_va(t), sizeof(buf), 0));
            assert_ok(nrt_tensor_memset(t, 0, 0xEE, sizeof(buf)));
        } else if (round == 4) {
            assert_ok(nrt_tensor_allocate_slice(t, MIB, MIB, "s", &s));
            assert_ok(nrt_tensor_memset(s, 0, 0x11, MIB));
            assert_ok(nrt_tensor_read(t, buf, 0, sizeof(buf)));
            assert_true(all_are(buf, MIB, 0) && all_are(buf + MIB, MIB, 0x11) &&
                        all_are(buf + 2 * MIB, 3 * MIB, 0));
            nrt_tensor_free(&s);
            assert_ok(nrt_tensor_memset(t, 0, 0xEE, sizeof(buf)));
        } else {
            nrt_tensor_t *u = device_tensor(0, sizeof(buf));

            assert_ok(nrt_tensor_copy(t, 0, u, MIB, MIB));
            assert_true(all_are(nrt_tensor_get_va(u), sizeof(buf), 0));
            nrt_tensor_free(&u);
        }
        nrt_tensor_free(&t);
    }
}

static void tensor_host_is_limited_to_four_mib(void **state)
{
    nrt_tensor_t *t = host(NRT_TENSOR_PLACEMENT_HOST, 4 * MIB), *u = (nrt_tensor_t *)&t;

    assert_fails(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_HOST, -1, 4 * MIB + 1, "h", &u),
                 NRT_INVALID, "nrt_tensor_allocate");
    assert_ptr_equal(u, &t); /* untouched */
    nrt_tensor_free(&t);
    PROVES("hbm-002");
}

static void tensor_of_no_bytes_is_a_tensor(void **state)
{
    nrt_tensor_t *z = device_tensor(0, 0), *e = NULL, *t = device_tensor(0, 64);
    nrt_tensor_device_allocation_info_t info;

    assert_ok(nrt_tensor_allocate_empty("e", &e));
    for (nrt_tensor_t **p = (nrt_tensor_t *[]){z, e, NULL}; *p; p++) {
        assert_int_equal(nrt_tensor_get_size(*p), 0);
        assert_null(nrt_tensor_get_va(*p));
        assert_ok(nrt_tensor_read(*p, NULL, 0, 0));
        assert_ok(nrt_tensor_write(*p, NULL, 0, 0));
        assert_ok(nrt_tensor_memset(*p, 0, 1, 0));
        assert_ok(nrt_tensor_copy(*p, 0, t, 64, 0));
        assert_ok(nrt_tensor_copy(t, 0, *p, 0, 0));
        assert_fails(nrt_tensor_read(*p, &info, 0, 1), NRT_INVALID, "nrt_tensor_read");
        assert_fails(nrt_tensor_write(*p, &info, 1, 0), NRT_INVALID, "nrt_tensor_write");
        assert_fails(nrt_tensor_get_device_allocation_info(*p, &info), NRT_INVALID,
                     "nrt_tensor_get_device_allocation_info");
    }
    PROVES("hbm-016");
    PROVES("api-030");
    nrt_tensor_free(&z);
    nrt_tensor_free(&e);
    assert_ok(nrt_tensor_read(t, NULL, 64, 0));
    nrt_tensor_free(&t);
}

static void tensor_of_more_than_four_gib_is_addressed_to_its_end(void **state)
{
    nrt_tensor_t *t = device_tensor(0, 5 * GIB);
    char buf[8] = "";

    assert_int_equal(nrt_tensor_get_size(t), 5 * GIB);
    assert_ok(nrt_tensor_write(t, "the end", 5 * GIB - 8, 8));
    assert_ok(nrt_tensor_write(t, "beyond", 4 * GIB + 1, 7));
    assert_ok(nrt_tensor_read(t, buf, 5 * GIB - 8, 8));
    assert_string_equal(buf, "the end");
    assert_ok(nrt_tensor_read(t, buf, 1, 7)); /* not wrapped */
    assert_true(all_are((uint8_t *)buf, 7, 0));
    assert_fails(nrt_tensor_read(t, buf, 5 * GIB - 7, 8), NRT_INVALID, "nrt_tensor_read");
    nrt_tensor_free(&t);
    PROVES("hbm-015");
}

static void tensor_addresses_are_unique_and_tell_where(void **state)
{
    enum { N = 40 };
    static const size_t sizes[] = {1, 63, 64, 65, 4095, 4096, 100000, 2 * MIB};
    nrt_tensor_t *t[N];
    struct {
        uint8_t *va;
        size_t size;
        uint64_t pa;
    } a[N];

    for (int i = 0; i < N; i++) {
        nrt_tensor_device_allocation_info_t info;

        a[i].size = sizes[i % 8];
        t[i] = device_tensor(i % 2, a[i].size);
        a[i].va = nrt_tensor_get_va(t[i]);
        assert_non_null(a[i].va);
        assert_ok(nrt_tensor_get_device_allocation_info(t[i], &info));
        assert_true(info.size >= a[i].size && info.size % 64 == 0);
        assert_int_equal(info.hbm_index, i % 2); /* v2: one HBM per core */
        assert_int_equal(info.physical_address % (a[i].size >= 4096 ? 4096 : 64), 0);
        a[i].pa = info.physical_address;
        a[i].va[0] = (uint8_t)i; /* the address is real */
        for (int k = 0; k < i; k++) {
            assert_true(a[k].va + a[k].size <= a[i].va || a[i].va + a[i].size <= a[k].va);
            assert_true(a[k].pa + a[k].size <= a[i].pa || a[i].pa + a[i].size <= a[k].pa);
        }
    }
    PROVES("mem-046");
    PROVES("hbm-001");
    PROVES("mem-049");
    PROVES("api-034");
    for (int i = 0; i < N; i++) {
        uint8_t v;

        assert_ok(nrt_tensor_read(t[i], &v, 0, 1));
        assert_int_equal(v, i);
        nrt_tensor_free(&t[i]);
    }
    PROVES("hbm-010");
    PROVES("api-033");
}

/* ---- transfers ---- */

static void tensor_ranges_never_wrap(void **state)
{
    static const size_t edges[] = {
        0, 1, 99, 100, 101, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 99, SIZE_MAX / 2 + 1};
    enum { N = sizeof(edges) / sizeof(edges[0]) };
    nrt_tensor_t *t[3] = {device_tensor(0, 100), host(NRT_TENSOR_PLACEMENT_VIRTUAL, 100), NULL};
    static uint8_t buf[128];
    nrt_tensor_t *s;

    assert_ok(nrt_tensor_allocate_slice(t[0], 0, 100, NULL, &t[2]));
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                size_t off = edges[i], size = edges[j];
                NRT_STATUS want = off <= 100 && size <= 100 - off ? NRT_SUCCESS : NRT_INVALID;
                nrt_tensor_batch_op_t op = {off, size, buf};
                nrt_tensor_batch_t b = {t[k], &op, 1};

                assert_int_equal(nrt_tensor_read(t[k], buf, off, size), want);
                assert_int_equal(nrt_tensor_write(t[k], buf, off, size), want);
                assert_int_equal(nrt_tensor_memset(t[k], off, 0, size), want);
                assert_int_equal(nrt_tensor_copy(t[k], off, t[k], 0, size), want);
                assert_int_equal(nrt_tensor_copy(t[k], 0, t[k], off, size), want);
                assert_int_equal(nrt_tensor_read_batch(&b, 1, false), want);
                assert_int_equal(nrt_tensor_write_batch(&b, 1, true), want);
                s = NULL;
                assert_int_equal(nrt_tensor_allocate_slice(t[k], off, size, "s", &s), want);
                assert_true((s != NULL) == (want == NRT_SUCCESS));
                nrt_tensor_free(&s);
            }
    for (int k = 0; k < 3; k++)
        nrt_tensor_free(&t[k]);
    api_log_clear();
    PROVES("api-023");
    PROVES("api-024");
}

/* A model of one storage as plain bytes, and random calls on both. */
static void tensor_random_calls_match_plain_memory(void **state)
{
    enum { SIZE = 200000 };
    static uint8_t want[2][SIZE], buf[SIZE], got[SIZE];
    nrt_tensor_t *t[2] = {device_tensor(0, SIZE), host(NRT_TENSOR_PLACEMENT_VIRTUAL, SIZE)};
    unsigned x = (unsigned)seed_take_new();

    for (int round = 0; round < 3000; round++) {
        size_t off, off2, size;
        int k, k2;

        x = x * 1103515245 + 12345;
        k = x >> 16 & 1, k2 = x >> 17 & 1;
        off = (x >> 8) % SIZE;
        x = x * 1103515245 + 12345;
        off2 = (x >> 8) % SIZE;
        x = x * 1103515245 + 12345;
        size = (x >> 8) % (SIZE - (off > off2 ? off : off2) + 1);
        switch ((x >> 4) % 6) {
        case 0:
            fill(buf, size, x);
            memcpy(want[k] + off, buf, size);
            assert_ok(nrt_tensor_write(t[k], buf, off, size));
            break;
        case 1:
            memset(want[k] + off, (int)(x & 0xff), size);
            assert_ok(nrt_tensor_memset(t[k], off, (int)x, size)); /* the low 8 bits count */
            break;
        case 2: /* overlaps within one tensor behave as memmove */
            memmove(want[k2] + off2, want[k] + off, size);
            assert_ok(nrt_tensor_copy(t[k], off, t[k2], off2, size));
            break;
        case 3: /* and so does a buffer that is the tensor's own memory */
            memmove(want[k] + off2, want[k] + off, size);
            assert_ok(nrt_tensor_write(t[k], (char *)nrt_tensor_get_va(t[k]) + off, off2, size));
            break;
        case 4:
            memmove(want[k] + off2, want[k] + off, size);
            assert_ok(nrt_tensor_read(t[k], (char *)nrt_tensor_get_va(t[k]) + off2, off, size));
            break;
        default:
            assert_ok(nrt_tensor_read(t[k], got, off, size));
            assert_memory_equal(got, want[k] + off, size);
            break;
        }
    }
    for (int k = 0; k < 2; k++) {
        assert_ok(nrt_tensor_read(t[k], got, 0, SIZE));
        assert_memory_equal(got, want[k], SIZE);
        nrt_tensor_free(&t[k]);
    }
    PROVES("api-027");
    PROVES("api-029");
}

static void tensor_copy_between_hbms_is_refused(void **state)
{
    nrt_tensor_t *a = device_tensor(0, 64), *b = device_tensor(1, 64),
                 *h = host(NRT_TENSOR_PLACEMENT_VIRTUAL, 64);

    assert_fails(nrt_tensor_copy(a, 0, b, 0, 64), NRT_INVALID, "nrt_tensor_copy");
    assert_ok(nrt_tensor_copy(a, 0, h, 0, 64));
    assert_ok(nrt_tensor_copy(h, 0, b, 0, 64));
    nrt_tensor_free(&a);
    nrt_tensor_free(&b);
    nrt_tensor_free(&h);
    PROVES("hbm-007");
}

static void batches_are_checked_first_and_done_in_order(void **state)
{
    nrt_tensor_t *a = device_tensor(0, 64), *b = host(NRT_TENSOR_PLACEMENT_VIRTUAL, 64);
    uint8_t one[64], two[64], back[4][64] = {{0}};
    nrt_tensor_batch_op_t wa[] = {{0, 64, one}, {8, 8, two}}, wb[] = {{60, 4, two}};
    nrt_tensor_batch_op_t ra[] = {{0, 64, back[0]}}, rb[] = {{0, 64, back[1]}};
    nrt_tensor_batch_op_t bad[] = {{0, 8, two}, {61, 4, two}};
    nrt_tensor_batch_t w[] = {{a, wa, 2}, {b, wb, 1}}, r[] = {{a, ra, 1}, {b, rb, 1}};
    nrt_tensor_batch_t mixed[] = {{a, bad, 1}, {b, bad, 2}};

    memset(one, 1, sizeof(one));
    memset(two, 2, sizeof(two));
    for (int unsafe = 0; unsafe < 2; unsafe++) {
        assert_ok(nrt_tensor_write_batch(w, 2, unsafe));
        assert_ok(nrt_tensor_read_batch(r, 2, unsafe));
        assert_true(all_are(back[0], 8, 1) && all_are(back[0] + 8, 8, 2) &&
                    all_are(back[0] + 16, 48, 1));
        assert_true(all_are(back[1], 60, 0) && all_are(back[1] + 60, 4, 2));
    }
    /* The second batch does not fit: the first is not done either. */
    assert_fails(nrt_tensor_write_batch(mixed, 2, false), NRT_INVALID, "nrt_tensor_write_batch");
    assert_ok(nrt_tensor_read(a, back[2], 0, 64));
    assert_memory_equal(back[2], back[0], 64);
    assert_ok(nrt_tensor_write_batch(w, 0, false));
    assert_ok(nrt_tensor_read_batch(NULL, 0, false));
    mixed[0].ops = NULL;
    assert_fails(nrt_tensor_read_batch(mixed, 1, false), NRT_INVALID, "nrt_tensor_read_batch");
    mixed[0].tensor = NULL;
    assert_fails(nrt_tensor_read_batch(mixed, 1, false), NRT_INVALID, "nrt_tensor_read_batch");
    nrt_tensor_free(&a);
    nrt_tensor_free(&b);
    PROVES("hbm-014");
    PROVES("api-025");
    PROVES("api-026");
}

/* ---- slices and buffers ---- */

static void slice_shares_storage_until_the_last_handle(void **state)
{
    nrt_tensor_t *t = device_tensor(0, 4096), *s, *ss, *other;
    nrt_tensor_device_allocation_info_t ti, si;
    uint8_t v = 0;

    assert_ok(nrt_tensor_allocate_slice(t, 1000, 100, "s", &s));
    assert_ok(nrt_tensor_allocate_slice(s, 10, 20, NULL, &ss)); /* of the root storage */
    assert_int_equal(nrt_tensor_get_size(ss), 20);
    assert_ptr_equal(nrt_tensor_get_va(ss), (char *)nrt_tensor_get_va(t) + 1010);
    assert_ok(nrt_tensor_get_device_allocation_info(t, &ti));
    assert_ok(nrt_tensor_get_device_allocation_info(ss, &si));
    assert_int_equal(si.physical_address, ti.physical_address + 1010);
    assert_ok(nrt_tensor_write(ss, "\x2a", 0, 1));
    assert_ok(nrt_tensor_read(t, &v, 1010, 1));
    assert_int_equal(v, 0x2a);

    nrt_tensor_free(&t);
    nrt_tensor_free(&s);
    other = device_tensor(0, 4096); /* must not get the storage that lives */
    assert_ok(nrt_tensor_memset(other, 0, 0xff, 4096));
    v = 0;
    assert_ok(nrt_tensor_read(ss, &v, 0, 1));
    assert_int_equal(v, 0x2a);
    nrt_tensor_free(&ss);
    nrt_tensor_free(&other);
    PROVES("hbm-008");
    PROVES("api-032");
}

static void attach_replaces_the_storage_of_this_handle_only(void **state)
{
    nrt_vnc_memory_stats_t before, during, after;
    nrt_tensor_device_allocation_info_t info;
    uint8_t mine[64] = {7, 8, 9}, v[3];
    nrt_tensor_t *t, *s, *e;
    size_t n;

    assert_ok(nrt_get_vnc_memory_stats(0, &before, sizeof(before), &n));
    t = device_tensor(0, 8192);
    assert_ok(nrt_get_vnc_memory_stats(0, &during, sizeof(during), &n));
    assert_int_equal(during.bytes_used, before.bytes_used + 8192);
    assert_ok(nrt_tensor_attach_buffer(t, mine, sizeof(mine)));
    assert_ok(nrt_get_vnc_memory_stats(0, &after, sizeof(after), &n));
    assert_int_equal(after.bytes_used, before.bytes_used); /* what it had is freed */
    assert_int_equal(nrt_tensor_get_size(t), 64);
    assert_ptr_equal(nrt_tensor_get_va(t), mine);
    assert_ok(nrt_tensor_read(t, v, 0, 3));
    assert_memory_equal(v, mine, 3);
    assert_ok(nrt_tensor_write(t, "\1", 5, 1));
    assert_int_equal(mine[5], 1);
    assert_fails(nrt_tensor_get_device_allocation_info(t, &info), NRT_INVALID,
                 "nrt_tensor_get_device_allocation_info"); /* VIRTUAL now */
    assert_fails(nrt_tensor_attach_buffer(t, NULL, 1), NRT_INVALID, "nrt_tensor_attach_buffer");
    assert_fails(nrt_tensor_attach_buffer(t, mine, SIZE_MAX), NRT_INVALID,
                 "nrt_tensor_attach_buffer");
    assert_int_equal(nrt_tensor_get_size(t), 64);
    nrt_tensor_free(&t);
    assert_int_equal(mine[0], 7); /* the caller's, still */

    t = device_tensor(0, 64);
    assert_ok(nrt_tensor_allocate_slice(t, 0, 64, "s", &s));
    assert_ok(nrt_tensor_write(t, "\5", 0, 1));
    assert_ok(nrt_tensor_attach_buffer(t, mine, 64));
    assert_ok(nrt_tensor_read(s, v, 0, 1));
    assert_int_equal(v[0], 5);
    nrt_tensor_free(&s);
    nrt_tensor_free(&t);

    assert_ok(nrt_tensor_allocate_empty(NULL, &e));
    assert_ok(nrt_tensor_attach_buffer(e, mine, 3));
    assert_int_equal(nrt_tensor_get_size(e), 3);
    assert_ok(nrt_tensor_attach_buffer(e, NULL, 0));
    assert_int_equal(nrt_tensor_get_size(e), 0);
    nrt_tensor_free(&e);
    PROVES("hbm-009");
    PROVES("api-031");
    PROVES("api-028");
}

/* ---- sets ---- */

static void set_adds_replaces_and_finds(void **state)
{
    nrt_tensor_t *a = device_tensor(0, 64), *b = device_tensor(0, 64), *got = (nrt_tensor_t *)&a;
    nrt_tensor_set_t *s;
    char name[32];

    assert_ok(nrt_allocate_tensor_set(&s));
    assert_fails(nrt_get_tensor_from_tensor_set(s, "x", &got), NRT_FAILURE,
                 "nrt_get_tensor_from_tensor_set");
    PROVES("api-128");
    assert_ptr_equal(got, &a); /* untouched */
    assert_ok(nrt_add_tensor_to_tensor_set(s, "x", a));
    assert_ok(nrt_get_tensor_from_tensor_set(s, "x", &got));
    assert_ptr_equal(got, a);
    assert_ok(nrt_add_tensor_to_tensor_set(s, "x", b));
    assert_ok(nrt_get_tensor_from_tensor_set(s, "x", &got));
    assert_ptr_equal(got, b);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "t%d", i);
        assert_ok(nrt_add_tensor_to_tensor_set(s, name, i & 1 ? a : b));
    }
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "t%d", i);
        assert_ok(nrt_get_tensor_from_tensor_set(s, name, &got));
        assert_ptr_equal(got, i & 1 ? a : b);
    }
    assert_ok(nrt_add_tensor_to_tensor_set(s, "", a)); /* any name */
    PROVES("api-017");
    PROVES("api-019");
    PROVES("api-020");

    /* The guide's order: tensors first, then the set. */
    nrt_tensor_free(&a);
    nrt_tensor_free(&b);
    assert_fails(nrt_add_tensor_to_tensor_set(s, "y", got), NRT_INVALID_HANDLE,
                 "nrt_add_tensor_to_tensor_set");
    nrt_destroy_tensor_set(&s);
    assert_null(s);
    PROVES("hbm-019");
    PROVES("api-018");
}

/* ---- completions ---- */

static void completion_is_awaited_polled_and_reset(void **state)
{
    nrt_tensor_t *t = device_tensor(0, 64);

    assert_ok(nrt_tensor_check_output_completion(t, -1, 0));
    assert_int_equal(nrt_tensor_check_output_completion(t, 0, 1), NRT_TIMEOUT);
    assert_fails(nrt_tensor_check_output_completion(t, 1000, 1), NRT_TIMEOUT,
                 "nrt_tensor_check_output_completion");
    PROVES("api-132");
    assert_ok(nrt_tensor_reset_output_completion(t));
    assert_ok(nrt_tensor_check_output_completion(t, INT64_MAX, 0));
    assert_ok(nrt_tensor_check_output_completion(t, INT64_MIN, 0));
    nrt_tensor_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensor_new_reads_zero_in_every_placement),
        cmocka_unit_test(tensor_reused_memory_written_in_part_reads_zero_elsewhere),
        cmocka_unit_test(tensor_host_is_limited_to_four_mib),
        cmocka_unit_test(tensor_of_no_bytes_is_a_tensor),
        cmocka_unit_test(tensor_of_more_than_four_gib_is_addressed_to_its_end),
        cmocka_unit_test(tensor_addresses_are_unique_and_tell_where),
        cmocka_unit_test(tensor_ranges_never_wrap),
        cmocka_unit_test(tensor_random_calls_match_plain_memory),
        cmocka_unit_test(tensor_copy_between_hbms_is_refused),
        cmocka_unit_test(batches_are_checked_first_and_done_in_order),
        cmocka_unit_test(slice_shares_storage_until_the_last_handle),
        cmocka_unit_test(attach_replaces_the_storage_of_this_handle_only),
        cmocka_unit_test(set_adds_replaces_and_finds),
        cmocka_unit_test(completion_is_awaited_polled_and_reset),
    };

    return cmocka_run_group_tests(tests, models_setup, models_teardown);
}
