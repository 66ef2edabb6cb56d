/* SPDX-License-Identifier: Apache-2.0 */
/* The assembler: control flow, the records against a walk of the same loops in C. */
#include "records.h"

#include <stdio.h>
#include <string.h>

/* Run a sequencer program of moves, ALU records, branches and counted NOPs. */
static uint32_t sequencer(const struct isa_asm_program *p, int32_t regs[64], int32_t sems[256])
{
    uint32_t pc = 0, steps = 0;

    for (; p->records[pc].opcode != ISA_OP_END; steps++) {
        const struct isa_record *r = &p->records[pc++];
        const struct isa_seq *s = &r->body.s;
        int32_t b = s->rb == ISA_NO_REG ? s->imm : regs[s->rb & 63];

        assert_true(steps < 1000000);
        for (unsigned k = 0; k < r->nupdates; k++)
            sems[r->update[k].index] +=
                r->update[k].kind == ISA_UPD_INC
                    ? 1
                    : (r->update[k].reg == ISA_NO_REG ? r->update[k].value
                                                      : regs[r->update[k].reg]);
        if (r->opcode == ISA_OP_REG_MOVE) {
            regs[s->rd] = b;
        } else if (r->opcode == ISA_OP_REG_ALU) {
            int32_t a = regs[s->ra];
            uint32_t ua = (uint32_t)a, ub = (uint32_t)b;
            const int32_t out[] = {(int32_t)(ua + ub),
                                   (int32_t)(ua - ub),
                                   (int32_t)(ua * ub),
                                   a & b,
                                   a | b,
                                   a ^ b,
                                   ub < 32 ? (int32_t)(ua << ub) : 0,
                                   ub < 32 ? (int32_t)(ua >> ub) : 0,
                                   ub < 32 ? a >> ub : (a < 0 ? -1 : 0),
                                   a < b ? a : b,
                                   a > b ? a : b};

            regs[s->rd] = out[s->op];
        } else if (r->opcode == ISA_OP_BRANCH) {
            int32_t a = regs[s->ra];
            const bool take[] = {true, a<b, a <= b, a == b, a != b, a >= b, a> b};

            if (take[s->op])
                pc = s->target;
        }
    }
    return steps;
}

static void loops_run_as_often_as_they_say(void **state)
{
    struct rnd rnd = rnd_start();

    for (unsigned i = 0; i < 500; i++) {
        int a = (int)rnd_below(&rnd, 9) - 4, b = (int)rnd_below(&rnd, 12) - 4;
        int by = 1 + (int)rnd_below(&rnd, 3), reps = (int)rnd_below(&rnd, 3);
        int lim = (int)rnd_below(&rnd, 5);
        bool reg_a = rnd_below(&rnd, 2), reg_b = rnd_below(&rnd, 2);
        char text[1500], as[16], bs[16];
        int want[8] = {0};
        struct isa_asm_result *r;

        snprintf(as, sizeof(as), reg_a ? "lo" : "%d", a);
        snprintf(bs, sizeof(bs), reg_b ? "hi" : "%d", b);
        snprintf(text, sizeof(text),
                 "sem s0 = 0, s1 = 1, s2 = 2, s3 = 3, s4 = 4, s5 = 5\n"
                 "reg lo, hi, j, sum\n"
                 "macro bump(s, n) { repeat q in 0..n { signal s++ } }\n"
                 "dve: lo = %d\n hi = %d\nact: lo = %d\n hi = %d\n"
                 "sum = 0\n"
                 "for i in %s..%s step %d on dve, act {\n"
                 "    dve: signal s0++\n"
                 "    act: bump(s1, %d)\n"
                 "    sum = sum + i\n"
                 "    if i < %d { signal s2++ } else if i == %d { signal s3 += 1 } else {\n"
                 "        signal s4 += i\n"
                 "    }\n"
                 "}\n"
                 "act: j = %d\n"
                 "while j > 0 { j -= 1\n  if j == 2 goto out\n  signal s5++ }\n"
                 "out: signal $S[6] += sum\n",
                 a, b, a, b, as, bs, by, reps, lim, lim + 1, lim + 2);
        for (int k = a; k < b; k += by) {
            want[0]++;
            want[1] += reps;
            want[2] += k < lim;
            want[3] += k == lim + 1;
            want[4] += k >= lim && k != lim + 1 ? k : 0;
            want[6] += k;
        }
        for (int j = lim + 2; j > 0;) {
            if (--j == 2)
                break;
            want[5]++;
        }
        r = asm_of(text);
        {
            int32_t regs[64] = {0}, sems[256] = {0};

            sequencer(asm_program(r, ISA_DVE), regs, sems);
            memset(regs, 0, sizeof(regs));
            sequencer(asm_program(r, ISA_ACT), regs, sems);
            for (unsigned k = 0; k < 7; k++)
                if (sems[k] != want[k])
                    fail_msg("semaphore %u is %d, not %d\n%s", k, sems[k], want[k], text);
        }
        isa_asm_free(r);
    }
}

static void constant_conditions_choose_while_assembling(void **state)
{
    static const struct {
        const char *text;
        int32_t value;
    } rows[] = {
        {"if 1 { r1 = 1 } else { r1 = 2 }", 1},
        {"if 0 { r1 = 1 } else { r1 = 2 }", 2},
        {"if 0 { r1 = 1 }\nr1 = 7", 7},
        {"if N == 4 { r1 = 1 } else if N == 5 { r1 = 2 } else { r1 = 3 }", 1},
        {"if N == 5 { r1 = 1 } else if N == 4 { r1 = 2 } else { r1 = 3 }", 2},
        {"if N == 5 { r1 = 1 } else if N == 6 { r1 = 2 } else { r1 = 3 }", 3},
        {"if N == 4 { r1 = 1 } else if N == 5 { r1 = 2 } else if N == 6 { r1 = 4 }", 1},
        {"while 0 { r1 = 1 }\nr1 = 5", 5},
        {"{ const N = 9\n r1 = N }", 9},
        {"const k = 3\nrepeat k in 0..1 { r1 = k + 10 }", 10},
        {"repeat k in 5..2 { r1 = 1 }\nr1 = 8", 8},
        {"if r0 == 0 { r1 = 4 } else if r0 == 1 { r1 = 5 }", 4},
        {"if r0 == 1 { r1 = 4 } else if r0 == 0 { r1 = 5 }", 5},
        {"if r0 != 0 { r1 = 4 } else if N == 4 { r1 = 6 }", 6},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[300];
        struct isa_asm_result *r;
        int32_t regs[64] = {0}, sems[256];

        snprintf(text, sizeof(text), "const N = 4\nsp:\n%s\n", rows[i].text);
        r = asm_of(text);
        sequencer(asm_program(r, ISA_SP), regs, sems);
        if (regs[1] != rows[i].value)
            fail_msg("%s gives %d", rows[i].text, regs[1]);
        isa_asm_free(r);
    }
    { /* for ever */
        struct isa_asm_result *r = asm_of("sp: while 1 { nop }\n");

        assert_int_equal(asm_program(r, ISA_SP)->n, 2);
        assert_int_equal(asm_program(r, ISA_SP)->records[1].body.s.target, 0);
        isa_asm_free(r);
    }
}

static void register_operators_are_one_record_each(void **state)
{
    static const char text[] =
        "reg a, b\nsp: a = 6\nb = a + 4\nb = b - 1\nb = b * 3\nb = b & 0x1f\n"
        "b = b | 32\nb = b ^ 1\nb = b << 2\nb = b >> 1\nb = b >>> 1\n"
        "b = b min 40\nb = b max a\na = b\na += 2\na -= b\na += (4 * 2)\n"
        "a = a << (1 + 1)\na = 0x80000000\n";
    struct isa_asm_result *r = asm_of(text);
    int32_t regs[64] = {0}, sems[256] = {0};

    assert_int_equal(asm_program(r, ISA_SP)->n, 19);
    sequencer(asm_program(r, ISA_SP), regs, sems);
    /* 10, 9, 27, 27, 59, 58, 232, 116, 58, 40, 40 */
    assert_int_equal(regs[1], 40);
    assert_int_equal(regs[0], INT32_MIN);
    isa_asm_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_run_as_often_as_they_say),
        cmocka_unit_test(constant_conditions_choose_while_assembling),
        cmocka_unit_test(register_operators_are_one_record_each),
    };

    return cmocka_run_group_tests_name("isa-asm-flow", tests, NULL, NULL);
}
