/* SPDX-License-Identifier: Apache-2.0 */
/* Records to text and back: the same bytes, whatever they are. */
#include "records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proves.h"
#include "runner.h"

static void roundtrip(const struct isa_record *r, enum isa_engine e)
{
    struct strbuf out = {0}, again = {0};
    struct isa_asm_result *res;

    isa_print_program(r, 1, e, &out);
    assert_false(out.failed);
    res = asm_of(out.s);
    for (size_t i = 0; i < sizeof(*r); i++)
        if (((const uint8_t *)&res->core[0].engine[e].records[0])[i] != ((const uint8_t *)r)[i])
            fail_msg("not the same record at byte %zu: %s", i, out.s);
    isa_print_program(res->core[0].engine[e].records, 1, e, &again);
    assert_string_equal(out.s, again.s);
    isa_asm_free(res);
    strbuf_fini(&out);
    strbuf_fini(&again);
}

static void record_random_prints_and_assembles_to_the_same_bytes(void **state)
{
    struct rnd r = rnd_start();

    for (unsigned i = 0; i < runner_rounds(20000); i++) {
        struct isa_record rec;
        struct strbuf out = {0};

        record_random(&r, &rec);
        isa_print_record(&rec, &out);
        if (strncmp(out.s, "raw", 3) == 0)
            fail_msg("opcode %u has no text: %s", rec.opcode, out.s);
        strbuf_fini(&out);
        roundtrip(&rec, (enum isa_engine)rec.engine);
    }
}

static void record_with_any_byte_changed_survives(void **state)
{
    struct rnd r = rnd_start();

    for (unsigned i = 0; i < runner_rounds(20000); i++) {
        struct isa_record rec;

        record_random(&r, &rec);
        for (unsigned k = 1 + rnd_below(&r, 3); k; k--)
            ((uint8_t *)&rec)[rnd_below(&r, sizeof(rec))] = (uint8_t)rnd_next(&r);
        roundtrip(&rec, ISA_DVE);
    }
}

static void every_opcode_has_a_line(void **state)
{
    unsigned seen = 0;

    for (unsigned op = 0; op < ISA_OP_LIMIT; op++)
        if (isa_op_info(op)) {
            assert_int_equal(
                isa_opcode_from_name(isa_op_info(op)->name, strlen(isa_op_info(op)->name)), op);
            assert_true((isa_op_slots(op) != NULL) == (isa_op_info(op)->format == ISA_FMT_COMPUTE));
            seen++;
        }
    assert_int_equal(seen, 15 + 3 + 13 + 6 + 3 + 8 + 3 + 5 - 1 + 1);
}

static void float_constants_keep_their_bits(void **state)
{
    struct rnd r = rnd_start();

    for (unsigned i = 0; i < runner_rounds(20000); i++) {
        struct isa_record rec = {.opcode = ISA_OP_DROPOUT, .version = 1, .engine = ISA_DVE};

        rec.body.c.t[0] = (struct isa_tensor){.mem = 1,
                                              .dtype = DT_FP32,
                                              .nparts = 1,
                                              .dim = {{1, 1}},
                                              .ndim = 1,
                                              .off_reg = ISA_NO_REG};
        rec.body.c.t[1] = rec.body.c.t[0];
        rec.body.c.s[0] = (struct isa_scalar){.kind = ISA_SC_F32, .v = (uint32_t)rnd_next(&r)};
        if (i < 512) /* every exponent */
            rec.body.c.s[0].v = i << 23;
        roundtrip(&rec, ISA_DVE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_random_prints_and_assembles_to_the_same_bytes),
        cmocka_unit_test(record_with_any_byte_changed_survives),
        cmocka_unit_test(every_opcode_has_a_line),
        cmocka_unit_test(float_constants_keep_their_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
