/* SPDX-License-Identifier: Apache-2.0 */
/* The load-time check on bytes: those that no text gives, unknown opcodes, programs cut short, and
 * random ones. */
#include "records.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proves.h"

static const char tiles[] = "var hv: input f32[64, 32]\n"
                            "queue dyn: dynamic n=4\n"
                            "tile A, B: sbuf f32[128, 64]\n"
                            "tile I: sbuf i32[128, 64]\n"
                            "tile c: sbuf f32[128, 1]\n";

/* Bytes that no text gives. */
static const struct damage {
    const char *text;
    size_t at;
    uint8_t value;
    const char *says;
} damages[] = {
    {"dve: nop", 2, 2, "version 2"},
    {"dve: nop", 3, 2, "engine 2 stands in the program of engine 1"},
    {"dve: nop", 3, 9, "engine 9"},
    {"dve: nop", 4, 5, "nwaits 5"},
    {"dve: nop", 5, 5, "nupdates 5"},
    {"dve: nop", 6, 1, "header padding"},
    {"dve: nop", 8, 1, "wait[0] is not zero"},
    {"dve: nop", 40, 1, "update[0] is not zero"},
    {"dve: wait $S[1]>=2: nop", 8, 7, "wait[0].kind 7"},
    {"dve: wait $S[1]>=2: nop", 10, 64, "wait[0].reg 64"},
    {"dve: wait $S[1]>=2: nop", 10, 5, "wait[0].value 2"},
    {"dve: wait $S[1]>=2: nop", 11, 1, "wait[0].pad"},
    {"dve: wait $E[1]: nop", 12, 1, "wait[0].value 1"},
    {"dve: nop -> $S[1]++", 40, 9, "update[0].kind 9"},
    {"dve: nop -> $S[1]++", 42, 1, "update[0].reg 1"},
    {"dve: nop -> $S[1]++", 43, 4, "update[0].flags 0x4"},
    {"dve: nop -> $S[1]++", 44, 4, "update[0].value 4"},
    {"dve: nop -> $S[1]+=3", 42, 99, "update[0].reg 99"},
    {"dve: nop", 100, 1, "the body is not zero"},
    {"dve: tensor_copy A, B", 72 + 29, 1, "dst.off_mul 256 without"},
    {"dve: tensor_copy A, B", 72, 3, "dst.mem 3"},
    {"dve: tensor_copy A, B", 72, 0, "dst is missing"},
    {"dve: tensor_copy A, B", 72 + 1, 200, "dst.dtype 0xc8"},
    {"dve: tensor_copy A, B", 72 + 3, 0, "partitions"},
    {"dve: tensor_copy A, B", 72 + 24, 5, "dst.ndim 5"},
    {"dve: tensor_copy A, B", 72 + 24, 0, "dst.ndim 0"},
    {"dve: tensor_copy A, B", 72 + 12, 1, "dst.dim[1] is not zero"},
    {"dve: tensor_copy A, B", 72 + 25, 64, "dst.off_reg 64"},
    {"dve: tensor_copy A, B", 72 + 26, 1, "tensor indirection is not in this generation"},
    {"dve: tensor_copy A, B", 72 + 27, 1, "dst.pad"},
    {"dve: tensor_copy A, B", 72 + 28, 1, "dst.off_mul 1 without"},
    {"dve: tensor_copy A, B", 72 + 64, 1, "does not use"},
    {"dve: tensor_copy A, B", 72 + 247, 1, "does not use"},
    {"dve: tensor_scalar A, B, add, 1.0", 72 + 160, 9, "operand0.kind 9"},
    {"dve: tensor_scalar A, B, add, 1.0", 72 + 161, 1, "tile's fields"},
    {"dve: tensor_scalar A, B, add, 1.0", 72 + 168 + 4, 1, "operand1"},
    {"dve: tensor_scalar A, B, add, r1", 72 + 160 + 4, 64, "register 64"},
    {"dve: tensor_scalar A, B, add, 1.0", 72 + 184, 99, "op0 99"},
    {"dve: tensor_scalar A, B, add, 1.0", 72 + 184, 0, "op0 0"},
    {"dve: tensor_scalar A, B, add, 1.0", 72 + 188, 4, "reverse 0x4"},
    {"dve: tensor_reduce c, A, add", 72 + 191, 2, "negate 2"},
    {"dve: memset A, 0", 72 + 160, 1, "value must carry bits"},
    {"dve: memset A, 0", 72 + 160, 4, "value must be a constant"},
    {"act: activation A, B, exp", 72 + 189, 77, "op 77"},
    {"act: activation A, B, exp", 72 + 187, 9, "reduce_cmd 9"},
    {"act: activation A, B, exp", 72 + 128 + 5, 1, "does not use"},
    {"act: activation A, B, exp", 72 + 64 + 5, 1, "absent and not zero"},
    {"pool: iota I, pattern=[[1, 64]]", 72 + 204 + 4, 64, "pattern.off_reg 64"},
    {"pool: iota I, pattern=[[1, 64]]", 72 + 204 + 5, 5, "pattern.ndim 5"},
    {"pool: iota I, pattern=[[1, 64]]", 72 + 204 + 6, 1, "pattern padding"},
    {"pool: iota I, pattern=[[1, 64]]", 72 + 204 + 16, 1, "pattern dimension 1"},
    {"pool: iota I, pattern=[[1, 64]]", 72 + 204 + 28, 0, "pattern.num[0] is 0"},
    {"dve: r1 = r2 + 3", 72, 99, "op 99"},
    {"dve: r1 = r2 + 3", 73, 64, "rd 64"},
    {"dve: r1 = r2 + 3", 74, 64, "ra 64"},
    {"dve: r1 = r2 + 3", 75, 64, "imm 3 beside register"},
    {"dve: r1 = r2 + r3", 75, 64, "rb 64"},
    {"dve: r1 = 3", 74, 1, "does not use"},
    {"dve: r1 = 3", 72 + 200, 1, "does not use"},
    {"dve: r1 = load(I[0:1, 0])", 72 + 16, 2, "place_mem 2"},
    {"dve: r1 = load(I[0:1, 0])", 72 + 24, 2, "place.mem 2"},
    {"dve: r1 = load(I[0:1, 0])", 72 + 24 + 40, 2, "bytes after place"},
    {"dve: if r1 < 3 goto @0", 72, 9, "op 9 is no comparison"},
    {"dve: if r1 < 3 goto @0", 74, 64, "ra 64"},
    {"dve: goto @0", 74, 1, "unconditional branch"},
    {"dve: dma_trigger 0", 76, 9, "dma id 9"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 176, 2, "src_mem 2"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 178, 9, "op 9"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 179, 9, "mode 9"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 180, 9, "index_side 9"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 180, 2, "cannot take a vector offset"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 181, 64, "oob_reg 64"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 182, 2, "oob 2"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 183, 1, "padding"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 184, 7, "queue 7"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 187, 1, "semaphore"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 190, 1, "index is not zero"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 221, 1, "padding"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 230, 1, "padding"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 4, 99, "src.dtype"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 5, 9, "src.ndim 9"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 6, 64, "src.off_reg 64"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 7, 1, "src padding"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 64, 1, "src.off_mul 1"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 72, 1, "bound_first"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 48, 0, "num[0] 0"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 56, 1, "src.dim[2] is not zero"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 88 + 40, 1, "bytes after dst"},
    {"pool: dma_dyn A[0:64, 0:32], hv, queue=dyn", 72 + 88, 2, "dst.mem 2"},
};

/* Where the reader of this test finds the bytes it changes. */
static_assert(offsetof(struct isa_compute, s) == 160 && offsetof(struct isa_compute, op0) == 184 &&
                  offsetof(struct isa_compute, x) == 204,
              "offsets used above");
static_assert(offsetof(struct isa_dyn, src_mem) == 176 && offsetof(struct isa_seq, place) == 24,
              "offsets used above");

static NRT_STATUS check_bytes(const struct isa_record *r, size_t n, unsigned engine, unsigned gen,
                              struct err *err)
{
    static const int64_t vars[] = {1, 0};
    static const uint64_t sizes[] = {4096, 8192};
    static const int64_t dmas[] = {5, 0};
    static const bool dynamic[] = {true};
    struct isa_check_env env = {.gen = (enum isa_gen)gen,
                                .lnc = 1,
                                .var_ids = vars,
                                .var_sizes = sizes,
                                .n_vars = 2,
                                .dma_ids = dmas,
                                .n_dma_ids = 2,
                                .n_queues = 1,
                                .queue_dynamic = dynamic};

    return isa_check_program(r, n * sizeof(*r), (enum isa_engine)engine, &env, NULL, err);
}

static struct isa_record end_of(unsigned engine)
{
    return (struct isa_record){
        .opcode = ISA_OP_END, .version = ISA_VERSION, .engine = (uint8_t)engine};
}

static void damaged_byte_is_named(void **state)
{
    unsigned failed = 0;

    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        const struct damage *d = &damages[i];
        unsigned engine;
        struct isa_record r[2] = {record_of(tiles, d->text, &engine)};
        struct err err = {0};

        r[1] = end_of(engine);
        if (check_bytes(r, 2, engine, 2, &err) != NRT_SUCCESS) {
            print_error("refused: %s: %s\n", d->text, err.text);
            failed++;
            continue;
        }
        ((uint8_t *)r)[d->at] = d->value;
        if (check_bytes(r, 2, engine, 2, &err) != NRT_INVALID || !strstr(err.text, d->says) ||
            !strstr(err.text, "record 0")) {
            print_error("wrong answer to %s, byte %zu = %u: %s\n    instead of: %s\n", d->text,
                        d->at, d->value, err.text, d->says);
            failed++;
        }
    }
    assert_int_equal(failed, 0);
}

static void program_must_be_whole_and_end(void **state)
{
    struct isa_record r[3] = {end_of(ISA_SP), end_of(ISA_SP), end_of(ISA_SP)};
    struct err err = {0};
    unsigned char odd[2 * sizeof(r[0]) + 1];

    assert_int_equal(check_bytes(r, 3, ISA_SP, 2, &err), NRT_SUCCESS);
    assert_int_equal(check_bytes(r, 0, ISA_SP, 2, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "is empty"));
    err = (struct err){0};
    assert_int_equal(
        isa_check_program(r, 319, ISA_SP, &(struct isa_check_env){.gen = ISA_V2}, NULL, &err),
        NRT_INVALID);
    assert_non_null(strstr(err.text, "size 319"));
    r[2].opcode = ISA_OP_NOP;
    err = (struct err){0};
    assert_int_equal(check_bytes(r, 3, ISA_SP, 2, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "fall through"));
    r[2].opcode = ISA_OP_BRANCH; /* always, to record 0 */
    err = (struct err){0};
    assert_int_equal(check_bytes(r, 3, ISA_SP, 2, &err), NRT_SUCCESS);
    r[2].body.s.op = ISA_BR_EQ;
    assert_int_equal(check_bytes(r, 3, ISA_SP, 2, &err), NRT_INVALID);
    err = (struct err){0};
    assert_int_equal(check_bytes(r, 3, ISA_SP, 9, &err), NRT_INVALID);
    /* any alignment */
    memcpy(odd + 1, r, 2 * sizeof(r[0]));
    assert_true(isa_looks_ours(odd + 1, 2 * sizeof(r[0])));
    err = (struct err){0};
    assert_int_equal(isa_check_program(odd + 1, 2 * sizeof(r[0]), ISA_SP,
                                       &(struct isa_check_env){.gen = ISA_V2, .lnc = 1}, NULL,
                                       &err),
                     NRT_SUCCESS);
}

static void opcode_that_cannot_run_is_refused_by_name(void **state)
{
    unsigned unknown = 0, parked = 0;

    for (unsigned op = 0; op < 300; op++) {
        const struct isa_op_info *info = isa_op_info(op);
        struct isa_record r[2] = {{.opcode = (uint16_t)op, .version = 1, .engine = ISA_POOL},
                                  end_of(ISA_POOL)};
        struct err err = {0};
        char want[80];

        if (info && info->executable)
            continue;
        snprintf(want, sizeof(want), "Unsupported hardware operator code %u found in neff.", op);
        assert_int_equal(check_bytes(r, 2, ISA_POOL, 4, &err), NRT_INVALID);
        assert_non_null(strstr(err.text, want));
        if (info) {
            assert_non_null(strstr(err.text, info->name));
            parked++;
        } else {
            unknown++;
        }
    }
    assert_int_equal(parked, 15);
    assert_true(unknown > 200);
}

static void executable_functions_are_those_of_the_first_milestone(void **state)
{
    unsigned functions = 0;

    for (unsigned op = 0; op < ISA_OP_LIMIT; op++) {
        const struct isa_op_info *info = isa_op_info(op);

        if (!info || info->format != ISA_FMT_COMPUTE)
            continue;
        assert_int_equal(info->executable, info->milestone == 1 || op == ISA_OP_PRINT);
        functions += info->executable;
    }
    /* and device_print; the other 7 of the 35: register_*, dma_copy, dma_transpose, dma_compute */
    assert_int_equal(functions, 29);
}

static void random_bytes_are_refused_or_understood(void **state)
{
    struct rnd rnd = rnd_start();
    unsigned accepted = 0;

    for (unsigned i = 0; i < 100000; i++) {
        struct isa_record r[2];
        struct err err = {0};
        unsigned engine;

        record_random(&rnd, &r[0]);
        engine = r[0].engine;
        r[1] = end_of(engine);
        if (rnd_below(&rnd, 4) == 0)
            ((uint8_t *)r)[rnd_below(&rnd, sizeof(r[0]))] ^= (uint8_t)(1u << rnd_below(&rnd, 8));
        if (check_bytes(r, 2, engine, 2 + rnd_below(&rnd, 3), &err) == NRT_SUCCESS)
            accepted++;
        else
            assert_true(err.text[0] != 0);
    }
    printf("accepted %u\n", accepted);
    assert_true(accepted > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_byte_is_named),
        cmocka_unit_test(program_must_be_whole_and_end),
        cmocka_unit_test(opcode_that_cannot_run_is_refused_by_name),
        cmocka_unit_test(executable_functions_are_those_of_the_first_milestone),
        cmocka_unit_test(random_bytes_are_refused_or_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
