/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about operands against plain enumeration. */
#include "records.h"

#include <stdlib.h>
#include <string.h>

static struct isa_tensor random_pattern(struct rnd *r)
{
    struct isa_tensor t = {.mem = ISA_SBUF,
                           .dtype = DT_FP32,
                           .nparts = 1,
                           .ndim = (uint8_t)(1 + rnd_below(r, 4)),
                           .off_reg = ISA_NO_REG};
    static const uint16_t most[] = {0, 60, 24, 9, 6};

    for (unsigned k = 0; k < t.ndim; k++) {
        int range = 1 + (int)rnd_below(r, rnd_below(r, 2) ? 300 : 12);

        t.dim[k].num = (uint16_t)(1 + rnd_below(r, most[t.ndim]));
        t.dim[k].step = (int16_t)((int)rnd_below(r, (uint32_t)(2 * range + 1)) - range);
    }
    return t;
}

struct walk {
    int64_t at[65536];
    size_t n;
    int64_t lo, hi;
};

static void walk(const struct isa_tensor *t, struct walk *w)
{
    uint16_t i[4] = {0}, num[4] = {1, 1, 1, 1};

    for (unsigned k = 0; k < t->ndim; k++)
        num[k] = t->dim[k].num;
    w->n = 0;
    for (i[3] = 0; i[3] < num[3]; i[3]++)
        for (i[2] = 0; i[2] < num[2]; i[2]++)
            for (i[1] = 0; i[1] < num[1]; i[1]++)
                for (i[0] = 0; i[0] < num[0]; i[0]++) {
                    int64_t at = t->offset;

                    for (unsigned k = 0; k < t->ndim; k++)
                        at += 4ll * t->dim[k].step * i[k];
                    if (w->n == 0 || at < w->lo)
                        w->lo = at;
                    if (w->n == 0 || at > w->hi)
                        w->hi = at;
                    w->at[w->n++] = at;
                }
}

static int cmp(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void pattern_facts_equal_enumeration(void **state)
{
    struct rnd r = rnd_start();
    static struct walk w;
    unsigned overlapping = 0;

    for (unsigned i = 0; i < 30000; i++) {
        struct isa_tensor t = random_pattern(&r);
        int64_t lo, hi;
        bool twice = false;

        t.offset = 4 * rnd_below(&r, 1000);
        walk(&t, &w);
        assert_int_equal(isa_tensor_count(&t), w.n);
        isa_tensor_extent(&t, &lo, &hi);
        assert_int_equal(lo, w.lo);
        assert_int_equal(hi, w.hi + 4);
        qsort(w.at, w.n, sizeof(w.at[0]), cmp);
        for (size_t k = 1; k < w.n; k++)
            twice = twice || w.at[k] == w.at[k - 1];
        if (isa_tensor_overlaps(&t) != twice)
            fail_msg("overlap %d, [%d,%u] [%d,%u] [%d,%u] [%d,%u]", twice, t.dim[3].step,
                     t.dim[3].num, t.dim[2].step, t.dim[2].num, t.dim[1].step, t.dim[1].num,
                     t.dim[0].step, t.dim[0].num);
        overlapping += twice;
    }
    assert_true(overlapping > 3000 && overlapping < 27000); /* both answers were asked for */
}

static void roles_follow_the_operands(void **state)
{
    struct isa_record r = {.opcode = ISA_OP_NC_MATMUL};

    for (unsigned k = 0; k < 3; k++)
        r.body.c.t[k].mem = ISA_SBUF;
    assert_int_equal(isa_reads(&r), 6);
    assert_int_equal(isa_writes(&r), 1);
    r.body.c.acc = 1;
    assert_int_equal(isa_reads(&r), 7);
    r.opcode = ISA_OP_ACTIVATION;
    r.body.c.t[2].mem = ISA_MEM_NONE;
    assert_int_equal(isa_reads(&r), 2);
    assert_int_equal(isa_writes(&r), 1);
    r.body.c.t[2].mem = ISA_SBUF;
    assert_int_equal(isa_writes(&r), 5);
    r.opcode = ISA_OP_REG_LOAD;
    assert_int_equal(isa_reads(&r) | isa_writes(&r), 0);
    /* the roles agree with the slots */
    for (unsigned op = 0; op < ISA_OP_LIMIT; op++) {
        const struct isa_slot *s = isa_op_slots(op);
        unsigned rd = 0, wr = 0;

        for (; s && s->kind != ISA_SLOT_END; s++)
            if (s->kind == ISA_SLOT_TENSOR)
                *(s->flags & ISA_SF_OUT ? &wr : &rd) |= 1u << s->index;
        if (isa_op_info(op)) {
            assert_int_equal(isa_op_info(op)->reads, rd);
            assert_int_equal(isa_op_info(op)->writes, wr);
        }
    }
}

static void start_partitions_follow_the_count(void **state)
{
    for (unsigned n = 1; n <= 128; n++)
        for (unsigned p = 0; p < 128; p++) {
            bool want = n > 64 ? p == 0 : n > 32 ? p == 0 || p == 64 : p % 32 == 0;

            assert_int_equal(isa_start_ok(p, n), want);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pattern_facts_equal_enumeration),
        cmocka_unit_test(roles_follow_the_operands),
        cmocka_unit_test(start_partitions_follow_the_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
