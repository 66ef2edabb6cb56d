/* SPDX-License-Identifier: Apache-2.0 */
/* Loading engine code that cannot run here: statuses and records (rule R01, behaviour.md 6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "api_support.h"
#include "neffs.h"
#include "proves.h"

struct code {
    const char *isa; /* NULL: none in def.json */
    int64_t version;
    struct isa_record r[2];
    size_t size;
};

static struct code nothing(void)
{
    struct code c = {.isa = "opennrt", .version = 1, .size = sizeof(c.r)};

    for (unsigned i = 0; i < 2; i++)
        c.r[i] = (struct isa_record){
            .opcode = i ? ISA_OP_END : ISA_OP_NOP, .version = ISA_VERSION, .engine = ISA_DVE};
    return c;
}

static NRT_STATUS load(const struct code *c)
{
    static const uint64_t shape[] = {16};
    struct neff_build *b = neff_build_create("code");
    struct bytes f;
    nrt_model_t *m = NULL;
    NRT_STATUS st;

    neff_build_isa(b, 0, c->isa, c->version);
    neff_build_input(b, 0, "a", "float32", 1, shape);
    neff_build_output(b, 0, "c", "float32", 1, shape);
    neff_build_program(b, 0, NEFF_DVE, c->r, c->size);
    neff_build_debug(b, 0, NEFF_DVE, "code.nasm", 7, NULL, NULL);
    neff_build_debug(b, 0, NEFF_DVE, "code.nasm", 8, NULL, NULL);
    f = neff_finish(b, NULL);
    api_log_clear();
    st = nrt_load(f.data, f.size, 0, 1, &m);
    if (st == NRT_SUCCESS)
        assert_ok(nrt_unload(m));
    neff_free(&f);
    return st;
}

static void good_code_loads(void **state)
{
    struct code c = nothing();

    assert_ok(load(&c));
    assert_int_equal(api_log_errors(), 0);
}

static void unknown_and_parked_opcodes_have_the_published_records(void **state)
{
    static const struct {
        unsigned opcode;
        const char *says;
    } rows[] = {{214, "Unsupported hardware operator code 214 found in neff."},
                {ISA_OP_TOPK, "Unsupported hardware operator code 83 found in neff."},
                {ISA_OP_TENSOR_TENSOR_SCAN, "tensor_tensor_scan is known but not executable"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct code c = nothing();

        c.r[0].opcode = (uint16_t)rows[i].opcode;
        assert_int_equal(load(&c), NRT_INVALID);
        if (!api_log_has(rows[i].says) || !api_log_has("TDRV:translate_one_pseudo_instr_v2 ") ||
            !api_log_has("Please make sure to upgrade to latest aws-neuronx-runtime-lib and "
                         "aws-neuronx-collective") ||
            !api_log_has("Failed to load NN: code, err: 2"))
            fail_msg("%s", api_log());
        if (api_log_errors() != 3)
            fail_msg("not three errors:\n%s", api_log());
    }
    PROVES("neff-193");
    PROVES("neff-202");
}

static void other_encodings_are_named_with_what_is_left_to_do(void **state)
{
    struct code c = nothing();

    c.isa = NULL;
    assert_int_equal(load(&c), NRT_INVALID);
    assert_true(api_log_has("in a compiler's own encoding") && api_log_has("neuron-packager info"));
    c.isa = "kelf";
    c.version = 3;
    assert_int_equal(load(&c), NRT_INVALID);
    assert_true(
        api_log_has("encoding \"kelf\" version 3, this runtime runs \"opennrt\" version 1"));
    c.isa = "opennrt";
    c.version = 2;
    assert_int_equal(load(&c), NRT_INVALID);
    assert_true(api_log_has("encoding \"opennrt\" version 2"));
}

static void refused_record_is_named_by_member_and_line(void **state)
{
    struct code c = nothing();

    c.r[1].nwaits = 9;
    assert_int_equal(load(&c), NRT_INVALID);
    if (!api_log_has("code.nasm:8: record 1: end: nwaits 9 is above 4"))
        fail_msg("%s", api_log());
    c = nothing();
    c.size = 400;
    assert_int_equal(load(&c), NRT_INVALID);
    assert_true(api_log_has(".bin: program size 400 is not a multiple of 320"));
}

static int setup(void **state)
{
    api_env("trn1.2xlarge", 0);
    return nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") == NRT_SUCCESS ? 0 : -1;
}

static int teardown(void **state)
{
    nrt_close();
    api_env_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_code_loads),
        cmocka_unit_test(unknown_and_parked_opcodes_have_the_published_records),
        cmocka_unit_test(other_encodings_are_named_with_what_is_left_to_do),
        cmocka_unit_test(refused_record_is_named_by_member_and_line),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
