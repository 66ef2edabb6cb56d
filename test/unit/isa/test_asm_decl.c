/* SPDX-License-Identifier: Apache-2.0 */
/* The assembler: declarations, scopes, two cores and the types of constants. */
#include "records.h"

#include <string.h>

static void declarations_are_handed_over(void **state)
{
    static const char text[] =
        ".arch trn2\n"
        "const N = 4\nparam M = N + 1\nparam T = bf16\n"
        "var x: input T[N, M] align=64\n"
        "var w: file f32[2, 2] = { 1, 2.5,\n -3, inf }\n"
        "var ones: file i16[8] = {1}\n"
        "var k: file f32[3] \"dir/k.npy\"\n"
        "var t: tmp-buf u8[100]\n"
        "var v: virtual f32[16] @ 64 area=pool_a\n"
        "var p: pointer -> w\n"
        "var tab: dge-table [x, w]\n"
        "var sb: state-buffer\n"
        "queue zz: in owner=act n=4 sem=7 fabric=alt\n"
        "queue aa: data instances=[i0, \"i.1\"]\n"
        "queue mm: dynamic\n"
        "sem s0, s1 = 0, s2\nevent e0, e1\n"
        "tile A: sbuf f32[128, 3]\ntile B: sbuf f32[128, 100]\ntile C: sbuf u8[32] part=96 @ 8\n"
        "tile P: psum f32[64, 512]\ntile Q: psum f32[64, 1]\ntile R: psum f32[64, 1] bank=7\n"
        "dma one on zz -> s2, e1, peer s1 id 9 { A[0:2] <- cast x[0:2, 0:3]\n"
        "    B[0] <- fma(B[1] * 0.5, B[2])\n B[0] <- max(B[1], from=2.5), B[3] <- min(B[4], "
        "from=7)\n"
        "    B[5:9, 0:6] <- transpose(w.bcast(6, 2, 2).reshape(6, 4)[:, :]) }\n"
        "dma two on aa.\"i.1\" by sp: w <- add(w, w, w)\n"
        "pool: dma_dyn A, A, queue=mm\n dma_dyn A, A, queue=zz\n"
        "act: dma_trigger one\nsp: dma_trigger two\n.op dot\nnop\n"
        "dve: tensor_copy C[0:32], C\n tensor_copy P[:, 0:1], Q\n tensor_copy Q, R\n";
    struct isa_asm_result *r;
    struct isa_asm_define d[] = {{"M", "3 * 2"}, {"T", "f32"}};
    struct isa_asm_opts o = {.file = "t", .defines = d, .n_defines = 2, .no_check = true};
    struct err err = {0};
    const struct isa_asm_core *c;
    float w[4];
    int16_t one[8];

    if (strstr(text, "reshape(6, 4)")) { /* a broadcast is not contiguous: take it out again */
        assert_int_equal(isa_asm(text, strlen(text), &o, NULL, &r, &err), NRT_INVALID);
        assert_non_null(strstr(err.text, "not contiguous"));
    }
    {
        char good[sizeof(text)], *at;

        memcpy(good, text, sizeof(text));
        at = strstr(good, "B[5:9, 0:6]");
        memset(at, ' ', (size_t)(strstr(at, " }") - at));
        memcpy(at, "B[5:7, 0:2] <- transpose(w)", 27);
        err = (struct err){0};
        if (isa_asm(good, strlen(good), &o, NULL, &r, &err) != NRT_SUCCESS)
            fail_msg("%s", err.text);
    }
    c = &r->core[0];
    assert_string_equal(r->arch, "trn2");
    assert_int_equal(r->gen, ISA_V3);
    assert_int_equal(c->n_vars, 9);
    for (size_t i = 0; i < c->n_vars; i++)
        assert_int_equal(c->vars[i].var_id, i);
    assert_int_equal(c->vars[0].size, 4 * 6 * 4);
    assert_int_equal(c->vars[0].alignment, 64);
    memcpy(w, c->vars[1].data, 16);
    assert_true(w[0] == 1 && w[1] == 2.5f && w[2] == -3 && w[3] > 1e38f);
    memcpy(one, c->vars[2].data, 16);
    assert_int_equal(one[7], 1);
    assert_string_equal(c->vars[3].file_name, "dir/k.npy");
    assert_int_equal(c->vars[5].backing_off, 64);
    assert_string_equal(c->vars[5].backing_buf, "pool_a");
    assert_int_equal(c->vars[6].referenced, 1);
    assert_int_equal(c->vars[7].n_list, 2);
    assert_string_equal(c->queues[0].fabric, "alt");
    assert_int_equal(c->queues[0].semaphore, 7);
    assert_int_equal(c->queues[0].number, 2); /* aa mm zz */
    assert_int_equal(c->queues[2].number, 1);
    assert_string_equal(c->queues[1].instances[1], "i.1");
    assert_int_equal(asm_program(r, ISA_POOL)->records[0].body.d.queue, 1);
    assert_int_equal(asm_program(r, ISA_POOL)->records[1].body.d.queue, 2);

    assert_int_equal(c->n_dmas, 2);
    assert_int_equal(c->dmas[0].id, 9);
    assert_int_equal(c->dmas[0].engine, ISA_ACT);
    assert_int_equal(c->dmas[0].semaphore, 1); /* s0 and s1 are 0, s2 the next free */
    assert_int_equal(c->dmas[0].event, 1);
    assert_int_equal(c->dmas[0].remote[0], 0);
    assert_int_equal(c->dmas[0].n_desc, 5);
    assert_int_equal(c->dmas[0].desc[0].op, ISA_DMA_CAST);
    assert_int_equal(c->dmas[0].desc[1].op, ISA_DMA_FMA);
    assert_true(c->dmas[0].desc[1].from[0].scale == 0.5 && c->dmas[0].desc[1].from[1].scale == 1);
    assert_int_equal(c->dmas[0].desc[2].constant_dtype, DT_FP32);
    assert_int_equal(c->dmas[0].desc[3].constant_dtype, DT_INT32);
    assert_int_equal(c->dmas[0].desc[4].transpose_shape[0], 2);
    assert_int_equal(c->dmas[0].desc[4].transpose_shape[2], 1);
    assert_int_equal(c->dmas[0].desc[4].transpose_element_size, 4);
    assert_string_equal(c->dmas[1].instance, "i.1");
    assert_int_equal(c->dmas[1].engine, ISA_SP);
    assert_int_equal(c->dmas[1].id, 10);
    assert_int_equal(c->dmas[1].desc[0].n_from, 3);
    assert_int_equal(asm_program(r, ISA_SP)->records[0].body.s.imm, 10);
    assert_null(asm_program(r, ISA_SP)->lines[0].op);
    assert_string_equal(asm_program(r, ISA_SP)->lines[1].op, "dot");
    {
        const struct isa_record *t = asm_program(r, ISA_DVE)->records;

        assert_int_equal(t[0].body.c.t[0].part, 96);
        assert_int_equal(t[0].body.c.t[0].offset, 8);
        assert_int_equal(t[1].body.c.t[0].offset, 0);    /* P */
        assert_int_equal(t[1].body.c.t[1].offset, 2048); /* Q: the next bank */
        assert_int_equal(t[2].body.c.t[1].offset, 7 * 2048);
    }
    isa_asm_free(r);
}

static void two_cores_come_from_one_text(void **state)
{
    static const char text[] = ".lnc 2\n.arch trn2\n"
                               "var x: input f32[2, 8]\nqueue q: in owner=sp\nsem s, b\n"
                               "tile A: sbuf f32[1, 8]\n"
                               "sp: dma on q -> s: A <- x[core]\n"
                               "if core == 0 { r1 = 5 } else { r1 = 6\n nop }\n"
                               "core_barrier b\nnop -> peer s++\n";
    struct isa_asm_result *r = asm_of(text);

    assert_int_equal(r->n_cores, 2);
    assert_int_equal(r->core[0].engine[ISA_SP].n, 5);
    assert_int_equal(r->core[1].engine[ISA_SP].n, 6);
    assert_int_equal(r->core[0].dmas[0].desc[0].from[0].off, 0);
    assert_int_equal(r->core[1].dmas[0].desc[0].from[0].off, 32);
    assert_int_equal(r->core[1].engine[ISA_SP].records[1].body.s.imm, 6);
    assert_int_equal(r->core[1].engine[ISA_SP].records[4].update[0].flags, ISA_UPD_PEER);
    isa_asm_free(r);
}

static void names_macros_and_scopes(void **state)
{
    static const char text[] =
        "macro copy2(d, s, n) {\n  repeat k in 0..n { tensor_copy d[:, k * 2 + 1], s[:, k] }\n"
        "  goto skip\n  nop\nskip:\n}\n"
        "macro twice(n) { r1 = n * 2\n macro inner(z) { r2 = z + n\n }\n inner(n + 1) }\n"
        "repeat t in 0..2 { tile A#t: sbuf f32[128, 8]\n const here = t * 10\n"
        "  dve: r3 = here\n}\n"
        "dve: l#(1 + 1): copy2(A0, A1[:, 0:4], 1 + 1)\n copy2(A1, A0, 1)\n"
        "twice(3 + 4)\n r4 = A\n"
        "const A = 3\n";
    char good[sizeof(text)];
    struct isa_asm_result *r;
    struct isa_asm_opts o = {.no_check = true};
    struct err err = {0};
    const struct isa_record *d;

    assert_int_equal(isa_asm(text, strlen(text), &o, NULL, &r, &err), NRT_INVALID);
    assert_non_null(strstr(err.text, "A is not defined"));
    memcpy(good, text, sizeof(text));
    memcpy(strstr(good, "r4 = A"), "r4 = 9", 6);
    r = asm_of(good);
    d = asm_program(r, ISA_DVE)->records;
    assert_int_equal(d[0].body.s.imm, 0);
    assert_int_equal(d[1].body.s.imm, 10);
    assert_int_equal(d[2].opcode, ISA_OP_TENSOR_COPY);
    assert_int_equal(d[3].body.c.t[0].offset, 12);
    assert_int_equal(d[4].body.s.target, 6);
    assert_int_equal(d[7].opcode, ISA_OP_BRANCH);
    assert_int_equal(d[7].body.s.target, 9);
    assert_int_equal(d[9].body.s.imm, 14);     /* (3 + 4) * 2 */
    assert_int_equal(d[10].body.s.imm, 8 + 7); /* (n + 1) + n */
    isa_asm_free(r);
}

static void constants_take_the_type_of_their_place(void **state)
{
    static const char tiles[] = "tile F: sbuf f32[4, 8]\ntile H: sbuf bf16[4, 8]\n"
                                "tile B: sbuf u8[4, 8]\ntile I: sbuf i32[4, 8]\n"
                                "tile N: sbuf i16[4, 8]\n";
    unsigned e;
    struct isa_record r;

    r = record_of(tiles, "dve: memset F, 1.5", &e);
    assert_int_equal(r.body.c.s[0].kind, ISA_SC_I32);
    assert_int_equal(r.body.c.s[0].v, 0x3fc00000);
    r = record_of(tiles, "dve: memset H, 1", &e);
    assert_int_equal(r.body.c.s[0].v, 0x3f80);
    r = record_of(tiles, "dve: memset B, 255", &e);
    assert_int_equal(r.body.c.s[0].v, 255);
    r = record_of(tiles, "dve: memset N, -2", &e);
    assert_int_equal(r.body.c.s[0].v, 0xfffe);
    r = record_of(tiles, "dve: memset I, -2147483648", &e);
    assert_int_equal(r.body.c.s[0].v, 0x80000000);
    r = record_of(tiles, "dve: memset I, -5", &e);
    assert_int_equal(r.body.c.s[0].v, 0xfffffffb);
    r = record_of(tiles, "dve: tensor_scalar F, F, add, 2", &e);
    assert_int_equal(r.body.c.s[0].kind, ISA_SC_F32);
    assert_int_equal(r.body.c.s[0].v, 0x40000000);
    r = record_of(tiles, "dve: tensor_scalar I, I, shl, 2", &e);
    assert_int_equal(r.body.c.s[0].kind, ISA_SC_I32);
    r = record_of(tiles, "dve: tensor_scalar I, I, bitwise_and, 0xffffffff", &e);
    assert_int_equal(r.body.c.s[0].v, 0xffffffff);
    r = record_of(tiles, "dve: tensor_scalar F, F, add, bits(0x7fc00001), reverse0", &e);
    assert_int_equal(r.body.c.s[0].v, 0x7fc00001);
    assert_int_equal(r.body.c.reverse, 1);
    r = record_of(tiles,
                  "dve: tensor_scalar F, F, add, r7, reverse0=1, op1=multiply, operand1=2, "
                  "reverse1",
                  &e);
    assert_int_equal(r.body.c.s[0].kind, ISA_SC_REG);
    assert_int_equal(r.body.c.reverse, 3);
    r = record_of(tiles, "pe: nc_matmul psum.f32(0:8, 0, [1,8]), F, F, acc=0, perf_mode=double_row",
                  &e);
    assert_int_equal(r.body.c.perf_mode, 1);
    assert_int_equal(r.body.c.acc, 0);
    r = record_of(tiles, "dve: nc_stream_shuffle F, F, mask=7", &e);
    assert_int_equal(r.body.c.x.mask[31], 7);
}

/* A value given from outside for a name that no `param` has is a mistake in the name. */
static void a_definition_that_no_param_takes_is_refused(void **state)
{
    static const struct {
        const char *text, *told;
    } cases[] = {
        {"param N = 1\n", NULL},
        {"param N = 1\n.lnc 2\n", NULL}, /* both subgraphs take it */
        {"pool: { param N = 1\n nop }\n", NULL},
        {"param M = 1\nconst L = M\n", "t: no `param` takes the value of N"},
        {"const N = 1\n", "t: no `param` takes the value of N"},
        {"var x: input f32[N]\n", "t: no `param` takes the value of N"},
        {"if 0 { param N = 1\n }\n", "t: no `param` takes the value of N"},
    };
    const struct isa_asm_define d = {"N", "3"};
    const struct isa_asm_opts o = {.file = "t", .defines = &d, .n_defines = 1};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct isa_asm_result *r = NULL;
        struct err err = {0};
        NRT_STATUS st = isa_asm(cases[i].text, strlen(cases[i].text), &o, NULL, &r, &err);

        if (cases[i].told == NULL && st != NRT_SUCCESS)
            fail_msg("%s: %s", cases[i].text, err.text);
        if (cases[i].told != NULL) {
            assert_int_equal(st, NRT_INVALID);
            assert_string_equal(err.text, cases[i].told);
        }
        isa_asm_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_definition_that_no_param_takes_is_refused),
        cmocka_unit_test(declarations_are_handed_over),
        cmocka_unit_test(two_cores_come_from_one_text),
        cmocka_unit_test(names_macros_and_scopes),
        cmocka_unit_test(constants_take_the_type_of_their_place),
    };

    return cmocka_run_group_tests_name("isa-asm-decl", tests, NULL, NULL);
}
