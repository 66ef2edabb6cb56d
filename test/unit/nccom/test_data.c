/* SPDX-License-Identifier: Apache-2.0 */
/* Golden outputs of nccom-test, against the operations done on whole arrays by plain loops
 * (docs/spec/collectives.md 2 and 16.5); and that a wrong element is found. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "nccom-test/data.h"
#include "proves.h"

#define RANKS 6u
#define BYTES 65536u

struct fixture {
    struct cc_options o;
    struct cc_groups groups;
    struct cc_pairs pairs;
    struct cc_case c;
    struct cc_data d;
    uint8_t in[RANKS][BYTES], out[RANKS][BYTES];
};
static struct fixture F;

static void make(enum cc_op op, enum dtype t, enum cc_check check, uint64_t size, uint32_t group)
{
    struct err err = {0};

    memset(&F, 0, sizeof(F));
    cc_options_init(&F.o);
    F.o.all.op = op;
    F.o.all.dtype = t;
    assert_int_equal(cc_groups_make(&F.groups, RANKS, group, &err), NRT_SUCCESS);
    F.pairs.count = 1; /* in each group every rank to the next */
    F.pairs.list[0].count = RANKS;
    F.pairs.list[0].pair = mem_calloc(RANKS, sizeof(F.pairs.list[0].pair[0]));
    assert_non_null(F.pairs.list[0].pair);
    for (uint32_t i = 0; i < RANKS; i++) {
        const uint32_t *ranks = F.groups.list[0].ranks + i / group * group;

        F.pairs.list[0].pair[i][0] = ranks[i % group];
        F.pairs.list[0].pair[i][1] = ranks[(i + 1) % group];
    }
    if (cc_case_make(&F.c, &F.o.all, size, &F.groups, NULL, RANKS, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    F.d = (struct cc_data){.c = &F.c,
                           .groups = &F.groups.list[0],
                           .pairs = &F.pairs.list[0],
                           .check = check,
                           .seed = 12345};
    for (uint32_t r = 0; r < RANKS; r++) {
        assert_true(cc_case_in_bytes(&F.c) <= BYTES && cc_case_out_bytes(&F.c) <= BYTES);
        cc_data_input(&F.d, r, 0, 0, F.c.in[0], F.in[r]);
        memset(F.out[r], CC_POISON, BYTES);
    }
}

static void drop(void)
{
    cc_case_fini(&F.c);
    cc_pairs_fini(&F.pairs);
    cc_groups_fini(&F.groups);
}

static uint64_t wrong(uint32_t rank)
{
    struct cc_mismatch m = {0};

    cc_data_compare(&F.d, rank, 0, 0, F.c.out[0], F.out[rank], &m);
    return m.count;
}

/* out of rank r at element `to` := in of rank s at element `from`, n elements */
static void move(uint32_t r, uint64_t to, uint32_t s, uint64_t from, uint64_t n)
{
    size_t z = dtype_size(F.c.dtype);

    memcpy(F.out[r] + to * z, F.in[s] + from * z, n * z);
}

/* The operations that move, done by their definition; then all ranks compare equal, and after one
 * flipped bit one element does not. */
static void moving_operations(void **state)
{
    static const enum dtype types[] = {DT_UINT8, DT_FP8_E4, DT_BF16, DT_INT32, DT_FP32};
    static const enum cc_op ops[] = {CC_ALL_GATHER, CC_ALL_TO_ALL,   CC_SENDRECV,
                                     CC_PERMUTE,    CC_ALL_GATHER_V, CC_ALL_TO_ALL_V};

    (void)state;
    for (unsigned k = 0; k < 6 * 5 * 2; k++) {
        enum cc_op op = ops[k % 6];
        uint32_t n = k / 30 ? 3 : 6, groups = RANKS / n; /* group g: g, g + groups, ... */

        make(op, types[k / 6 % 5], CC_CHECK_RANDOM, 6 * 4 * 40, n);
        for (uint32_t r = 0; r < RANKS; r++) {
            uint32_t p = r / groups, g = r % groups;
            uint64_t whole = F.c.in[0], block = whole / n;

            for (uint32_t s = 0; s < n; s++) {
                uint32_t from = g + s * groups;

                if (op == CC_ALL_GATHER || op == CC_ALL_GATHER_V)
                    move(r, s * whole, from, 0, whole);
                else if (op == CC_ALL_TO_ALL || op == CC_ALL_TO_ALL_V)
                    move(r, s * block, from, p * block, block);
                else if (s == (p + n - 1) % n)
                    move(r, 0, from, 0, whole);
            }
        }
        for (uint32_t r = 0; r < RANKS; r++) {
            uint64_t at = (k * 7919 + r) % (F.c.out[0] * dtype_size(F.c.dtype));

            assert_true(wrong(r) == 0);
            F.out[r][at] ^= (uint8_t)(1u << k % 8);
            assert_true(wrong(r) == 1);
        }
        drop();
    }
}

/* Sums in double, rounded once: within the tolerance; a value off by a quarter is not. Integers
 * wrap. */
static void reducing_operations(void **state)
{
    static const enum dtype types[] = {DT_UINT8, DT_INT8,   DT_UINT16, DT_INT16, DT_UINT32,
                                       DT_INT32, DT_FP8_E4, DT_FP16,   DT_BF16,  DT_FP32};

    (void)state;
    for (unsigned k = 0; k < 20; k++) {
        enum dtype t = types[k % 10];
        size_t z = dtype_size(t);
        bool scatter = k >= 10;

        make(scatter ? CC_REDUCE_SCATTER : CC_ALL_REDUCE, t, CC_CHECK_RANDOM, 6 * 4 * 40, RANKS);
        for (uint32_t r = 0; r < RANKS; r++)
            for (uint64_t i = 0; i < F.c.out[0]; i++) {
                uint64_t from = scatter ? r * F.c.out[0] + i : i;
                double sum = 0;
                uint32_t wraps = 0;

                for (uint32_t s = 0; s < RANKS; s++) {
                    uint32_t v = 0;

                    memcpy(&v, F.in[s] + from * z, z);
                    wraps += v;
                    sum += (double)dtype_load(t, F.in[s] + from * z);
                }
                if (dtype_is_float(t))
                    dtype_store(t, F.out[r] + i * z, (float)sum);
                else
                    memcpy(F.out[r] + i * z, &wraps, z);
            }
        for (uint32_t r = 0; r < RANKS; r++) {
            assert_true(wrong(r) == 0);
            if (dtype_is_float(t))
                dtype_store(t, F.out[r] + z, dtype_load(t, F.out[r] + z) + 8);
            else
                F.out[r][z] ^= 1;
            assert_true(wrong(r) == 1);
        }
        drop();
    }
}

/* All ones: an all_reduce of r ranks gives r, operations that move give 1. */
static void all_ones(void **state)
{
    (void)state;
    make(CC_ALL_REDUCE, DT_FP32, CC_CHECK_ALL_ONES, 64, RANKS);
    for (uint32_t r = 0; r < RANKS; r++) {
        for (uint64_t i = 0; i < F.c.out[0]; i++)
            assert_true(cc_data_golden(&F.d, r, 0, i).value == RANKS);
        assert_true(((float *)(void *)F.in[r])[3] == 1.0f);
    }
    drop();
    make(CC_ALL_TO_ALL, DT_UINT16, CC_CHECK_ALL_ONES, 6 * 2 * 4, RANKS);
    assert_true(cc_data_golden(&F.d, 2, 0, 5).value == 1);
    drop();
}

/* Without a check inputs are zero; with one, ranks, tensors, operations and seeds differ. */
static void inputs(void **state)
{
    uint8_t other[BYTES];

    (void)state;
    make(CC_ALL_REDUCE, DT_INT32, CC_CHECK_OFF, 4096, RANKS);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(F.in[1][i], 0);
    drop();
    make(CC_ALL_REDUCE, DT_INT32, CC_CHECK_RANDOM, 4096, RANKS);
    assert_memory_not_equal(F.in[0], F.in[1], 4096);
    cc_data_input(&F.d, 0, 0, 16, 100, other); /* a part of it is the same part */
    assert_memory_equal(other, F.in[0] + 64, 400);
    cc_data_input(&F.d, 0, 1, 0, 1024, other);
    assert_memory_not_equal(F.in[0], other, 4096);
    F.d.op = 1;
    cc_data_input(&F.d, 0, 0, 0, 1024, other);
    assert_memory_not_equal(F.in[0], other, 4096);
    F.d.op = 0;
    F.d.seed++;
    cc_data_input(&F.d, 0, 0, 0, 1024, other);
    assert_memory_not_equal(F.in[0], other, 4096);
    drop();
}

/* A rank that takes no part keeps its poison. */
static void nobody_writes(void **state)
{
    (void)state;
    make(CC_PERMUTE, DT_UINT8, CC_CHECK_RANDOM, 64, RANKS);
    F.pairs.list[0].count = 0;
    for (uint32_t r = 0; r < RANKS; r++) {
        assert_true(wrong(r) == 0);
        F.out[r][5] = 0;
        assert_true(wrong(r) == 1);
    }
    drop();
}

static void hashes_differ(void **state)
{
    uint8_t a[100] = {0};
    uint64_t h = cc_hash(CC_HASH, a, 100);

    (void)state;
    for (unsigned i = 0; i < 800; i++) {
        a[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_true(cc_hash(CC_HASH, a, 100) != h);
        a[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    assert_true(cc_hash(CC_HASH, a, 100) == h && cc_hash(CC_HASH, a, 99) != h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moving_operations), cmocka_unit_test(reducing_operations),
        cmocka_unit_test(all_ones),          cmocka_unit_test(inputs),
        cmocka_unit_test(nobody_writes),     cmocka_unit_test(hashes_differ),
    };

    return cmocka_run_group_tests_name("nccom-data", tests, NULL, NULL);
}
