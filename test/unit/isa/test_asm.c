/* SPDX-License-Identifier: Apache-2.0 */
/* The assembler: what texts become, against values worked out by hand or by plain enumeration. */
#include "records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"

static const struct isa_asm_program *prog(const struct isa_asm_result *r, unsigned e)
{
    return &r->core[0].engine[e];
}

/* ---- the example of neuroncore.md 8.1
 * -------------------------------------------------------------- */

static const char softmax[] =
    ".name softmax\n"
    "var x: input f32[128, 512]\n"
    "var y: output f32[128, 512]\n"
    "queue qIn: in owner=sp n=16\n"
    "queue qOut: out owner=sp n=16\n"
    "sem loaded = 1, stored = 2, dve_done = 10, act_done\n"
    "tile X, E: sbuf f32[128, 512]\n"
    "tile nmax, sum, rinv: sbuf f32[128, 1]\n"
    "dma load on qIn -> loaded: X <- x\n"
    "dma save on qOut -> stored: y <- E\n"
    "sp: dma_trigger load\n"
    "    wait dve_done>=2: dma_trigger save\n"
    "    wait stored>=16: end\n"
    "dve:\n"
    "    wait loaded>=16: tensor_reduce nmax, X, max, negate -> dve_done++\n"
    "again: wait $S[11]>=1: reciprocal rinv, sum\n"
    "    tensor_scalar E, E, multiply, rinv -> dve_done++\n"
    "act:\n"
    "    wait dve_done>=1: activation E, X, exp, bias=nmax, reduce_op=add, \\\n"
    "        reduce_cmd=reset_reduce, reduce_res=sum -> $S[11]++\n";

static void published_example_has_its_addresses_and_descriptors(void **state)
{
    struct isa_asm_result *r = asm_of(softmax);
    const struct isa_asm_core *c = &r->core[0];
    const struct isa_record *d = prog(r, ISA_DVE)->records, *a = prog(r, ISA_ACT)->records;
    const struct isa_asm_desc *in = &c->dmas[0].desc[0];

    assert_string_equal(r->name, "softmax");
    assert_int_equal(c->n_vars, 3);
    assert_string_equal(c->vars[2].name, "SB");
    assert_string_equal(c->vars[2].type, "state-buffer");
    assert_int_equal(c->vars[0].size, 128 * 2048);
    assert_int_equal(c->dmas[0].engine, ISA_SP);
    assert_int_equal(c->dmas[0].semaphore, 1);
    assert_string_equal(in->from[0].var, "x");
    assert_int_equal(in->from[0].ndim, 2);
    assert_int_equal(in->from[0].steps[0], 1);
    assert_int_equal(in->from[0].steps[1], 2048);
    assert_int_equal(in->from[0].sizes[0], 2048);
    assert_int_equal(in->from[0].sizes[1], 128);
    assert_string_equal(in->to.var, "SB");
    assert_int_equal(in->to.steps[1], 262144);
    assert_int_equal(c->dmas[1].desc[0].from[0].off, 2048);

    assert_int_equal(prog(r, ISA_DVE)->n, 4);
    assert_int_equal(d[0].opcode, ISA_OP_TENSOR_REDUCE);
    assert_int_equal(d[0].body.c.t[0].offset, 4096);
    assert_int_equal(d[0].body.c.op0, ISA_ALU_MAX);
    assert_int_equal(d[0].body.c.negate, 1);
    assert_int_equal(d[0].wait[0].index, 1);
    assert_int_equal(d[0].wait[0].value, 16);
    assert_int_equal(d[0].update[0].index, 10);
    assert_int_equal(d[1].body.c.t[0].offset, 4104);
    assert_int_equal(d[2].body.c.s[0].kind, ISA_SC_TILE);
    assert_int_equal(d[2].body.c.s[0].v, 4104);
    assert_int_equal(d[3].opcode, ISA_OP_END);
    assert_int_equal(a[0].body.c.act, ISA_ACT_EXP);
    assert_int_equal(a[0].body.c.s[0].kind, ISA_SC_NONE);
    assert_int_equal(a[0].body.c.s[1].v, 4096);
    assert_int_equal(a[0].body.c.t[2].offset, 4100);
    assert_int_equal(a[0].body.c.reduce_cmd, ISA_RC_RESET_REDUCE);
    assert_int_equal(prog(r, ISA_SP)->n, 3);
    /* where the records come from */
    assert_int_equal(prog(r, ISA_DVE)->lines[0].line, 15);
    assert_null(prog(r, ISA_DVE)->lines[0].label);
    assert_string_equal(prog(r, ISA_DVE)->lines[1].label, "again");
    assert_string_equal(prog(r, ISA_DVE)->lines[2].label, "again");
    isa_asm_free(r);
}

/* ---- expressions
 * -------------------------------------------------------------------------------------- */

static void expression_has_its_value(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } rows[] = {
        {"1 + 2 * 3", 7},
        {"(1 + 2) * 3", 9},
        {"10 - 4 - 3", 3},
        {"100 / 7 / 2", 7},
        {"-7 / 2", -3},
        {"-7 % 3", -1},
        {"1 << 4 | 3", 19},
        {"0xff & 0x0f ^ 1", 14},
        {"~5", -6},
        {"-8 >> 1", -4},
        {"1_000", 1000},
        {"3 < 4", 1},
        {"3 >= 4", 0},
        {"3 == 3 && 2 != 2", 0},
        {"0 || 5", 1},
        {"!3", 0},
        {"1 ? 2 : 3", 2},
        {"0 ? 2 : 1 ? 4 : 5", 4},
        {"min(3, 2) + max(4, 9)", 11},
        {"cdiv(7, 2) + align(65, 64)", 132},
        {"sizeof(bf16) * sizeof(f32)", 8},
        {"int(2.9) + int(-2.9)", 0},
        {"int(1e3 * 2.5)", 2500},
        {"int(sqrt(81.0) + exp(0.0) + log(1.0) + float(2))", 12},
        {"int(pi * 100)", 314},
        {"1.5 < 2", 1},
        {"2.0 == 2", 1},
        {"A + A * B", 15},
        {"-(-3)", 3},
        {"+4", 4},
        {"inf > 1 ? 1 : 0", 1},
        {"nan == nan", 0},
        {"core", 0},
        {"int(7.0 - 0.5 / 0.25)", 5},
        {"2147483647", INT32_MAX},
        {"-2147483648", INT32_MIN},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[200];
        struct isa_asm_result *r;

        snprintf(text, sizeof(text), "const A = 3\nconst B = 4\nsp: r1 = %s\n", rows[i].text);
        r = asm_of(text);
        if (prog(r, ISA_SP)->records[0].body.s.imm != (int32_t)rows[i].value)
            fail_msg("%s is %d", rows[i].text, prog(r, ISA_SP)->records[0].body.s.imm);
        isa_asm_free(r);
    }
}

/* ---- errors
 * ------------------------------------------------------------------------------------------- */

static const struct wrong {
    const char *text, *says;
} wrongs[] = {
    {"\n\nsp: foo bar\n", "t:3: foo is no instruction"},
    {"dve:\n  tensor_copy A, B\n", "t:2: a tensor is expected"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A\n", "tensor_copy: src is missing"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A, A\n", "no further operand"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, src=A, src=A\n", "src is given twice"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, what=A\n", "no operand what"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A[0:129]\n", "slice 0:129:1"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A[:, 8]\n", "index 8 of a dimension of 8"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A[:, 0:8:0]\n", "step 0"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A[:, 0, 0]\n", "more indices than dimensions"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A[r1]\n", "plain range"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A[:, r1:4]\n", "r +: length"},
    {"tile A: sbuf f32[128, 8, 8]\ndve: tensor_copy A, A[:, r1, r2]\n", "an offset already"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A.foo()\n", "foo is no view"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A.reshape(3, 3)\n", "reshape of 8 elements"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A[:, 0:8:2].reshape(4).reshape(2,2)"
     ".perm(1,0).reshape(4)\n",
     "not contiguous"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A.perm(0, 0)\n", "every dimension once"},
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A.bcast(7)\n", "bcast of a dimension of 8"},
    {"tile A: sbuf f32[128, 8, 1]\ndve: tensor_copy A, A.bcast(8)\n", "fewer dimensions"},
    {"tile A: sbuf bf16[128, 7]\ndve: tensor_copy A, A.view(f32)\n", "does not fit the last"},
    {"tile A: sbuf f32[128, 2, 2, 2, 2, 2]\ndve: tensor_copy A, A.perm(4, 3, 2, 1, 0)\n",
     "more than 4 dimensions"},
    {"tile A: sbuf f32[129, 8]\n", "1 to 128 partitions"},
    {"tile A: sbuf f32[128, 100000]\n", "does not fit a partition"},
    {"tile A: dram f32[128, 8]\n", "sbuf or psum is expected"},
    {"tile A: sbuf f33[128, 8]\n", "f33 is no data type"},
    {"tile A: sbuf f32[128, 8] what\n", "option of the tile"},
    {"tile A: sbuf f32[128, 8]\ntile A: sbuf f32[1, 1]\n", "A is defined already"},
    {"tile pe: sbuf f32[128, 8]\n", "reserved word"},
    {"tile r5: sbuf f32[128, 8]\n", "reserved word"},
    {"var x: input\n", "a data type is expected"},
    {"var x: thing f32[4]\n", "input, output, file"},
    {"var x: tmp f32[4]\n", "'-' is expected"},
    {"var x: input f32[4] = {1}\n", "values belong to file"},
    {"var x: file f32[4] = {1, 2}\n", "2 values for 4 elements"},
    {"var x: file f32[1] = {1, 2}\n", "more than 1 values"},
    {"var x: input f32[4] @ 3\n", "belongs to virtual"},
    {"var x: pointer -> y\n", "a variable is expected"},
    {"var x: input f32[1000000000, 1000000000]\n", "256 TiB"},
    {"var x: input f32[4] what=1\n", "option of the variable"},
    {"queue q: out n=17\n", "n 17 is outside 1 to 16"},
    {"queue q: up\n", "a queue is in, out"},
    {"queue q: in owner=gpu\n", "an engine is expected"},
    {"queue q: in what=3\n", "a queue has owner"},
    {"var x: input f32[4]\nqueue q: in\ndma a on q: x <- x\n", "has no owner"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndma a on p: x <- x\n", "a queue is expected"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndma a at q: x <- x\n", "on QUEUE is expected"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndma a on q.b: x <- x\n", "no such instance"},
    {"var x, y: input f32[4]\nqueue q: in owner=sp\ndma a on q: x <- y[0:3]\n", "3 elements to 4"},
    {"var x: input f32[4]\nvar y: input bf16[4]\nqueue q: in owner=sp\ndma a on q: x <- y\n",
     "write cast"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndma a on q: x <- add()\n", "a tensor is expected"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndma a on q: x <- add(x * 2)\n",
     "factor belongs to fma"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndma a on q: x <- add(x, from=2)\n",
     "start value belongs"},
    {"var x: input f32[2,2,2,2,2]\nqueue q: in owner=sp\n"
     "dma a on q: x <- x.perm(4,3,2,1,0)\n",
     "more than 4 dimensions in a descriptor"},
    {"tile P: psum f32[128, 8]\nvar x: input f32[128, 8]\nqueue q: in owner=sp\n"
     "dma a on q: P <- x\n",
     "cannot reach PSUM"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndma a on q: x <- x[r1]\n", "takes no register"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndma a on q: x <- x\ndve: dma_trigger a\n",
     "dma a belongs to sp"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndve: dma on q: x <- x\n", "belongs to sp"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndma a on q -> $S[1], $S[2]: x <- x\n",
     "raises one semaphore"},
    {"sem a = 256\n", "outside 0 to 255"},
    {"reg a = 5\n", "a register is expected"},
    {"reg i, j\ntile A: sbuf f32[1, 8]\ndve: tensor_copy A, A[:, i * j]\n", "a constant only"},
    {"reg i\ntile A: sbuf f32[1, 8]\ndve: tensor_copy A, A[:, 1.5]\n", "an index is an integer"},
    {"tile A: sbuf bf16[1, 3, 5]\ndve: tensor_copy A, A[:, :, 0:2].view(f32)\n",
     "does not fit dimension 0"},
    {"dve: tensor_copy sbuf.f32(0, 4), sbuf.f32(0, 4)\n", "first:last+1"},
    {"dve: memset sbuf.f32(0:1, 0, [1,70000]), 0\n", "at most 65535"},
    {"dve: memset sbuf.f32(0:1, 0, [40000,2]), 0\n", "does not fit 16 bits"},
    {"dve: memset sbuf.f32(0:1, 0, [1,2], 3), 0\n", "[step, num] or +register"},
    {"dve: memset sbuf.f32(0:1, 0, [1,2], +r1+1), 0\n", "register * factor"},
    {"dve: memset sbuf.f32(0:1, 0, [1,2], @sbuf.i32(0:1, 0)*2), 0\n", "belongs to a variable"},
    {"dve: memset sbuf.f32(0:1, 0, [1,1], [1,1], [1,1], [1,1], [1,1], [1,1], [1,1], [1,1], [1,1]), "
     "0\n",
     "too many dimensions"},
    {"sem SB, state_buffer\nvar x: input f32[4]\ntile A: sbuf f32[4, 1]\n"
     "queue q: in owner=sp\ndma a on q: A <- x\n",
     "wanted for the state buffer"},
    {"tile A: sbuf f32[1, 4]\ndve: memset A.bound(0, 1), 0\n", "belongs to a variable"},
    {"tile A: sbuf f32[4, 8]\ntile I: sbuf i32[4, 1]\nvar x: input f32[9, 8]\n"
     "pool: dma_dyn A, x[I].view(u8)\n",
     "no view of a tensor with a vector"},
    {"tile A: sbuf f32[4, 8]\ntile I: sbuf i32[4, 1]\nvar x: input f32[9, 8]\n"
     "pool: dma_dyn A, x[I][0]\n",
     "no index of a tensor with a vector"},
    {"tile A: sbuf f32[4, 8]\ntile I: psum i32[4, 1]\nvar x: input f32[9, 8]\n"
     "pool: dma_dyn A, x[I]\n",
     "is an SBUF tile"},
    {"var x: input f32[4]\nvar p: pointer -> x\nqueue q: in owner=sp\ndma a on q: p <- x\n",
     "has no data type"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndma a on q: x <- hbm.f32(0, 0, [1,4])\n",
     "a declared variable"},
    {"tile A: sbuf f32[1, 4]\ndve: memset A[:, r1 * 3000000000], 0\n", "factor 3000000000"},
    {"tile A: sbuf f32[1, 4]\ndve: memset A[:, r1 - 1], 0\n", "outside a partition"},
    {"const a = 5 / -1 + 7 % -1 + (1 >> 70)\n", "shift by 70"},
    {"const a = min(1, r1)\n", "min of a register"},
    {"const a = int(1e30)\n", "leaves 64 bits"},
    {"sem s\nconst a = s\n", "s is no number"},
    {"sp: r1 = 1.5\n", "32-bit integer"},
    {"const a = !r1\n", "no constant"},
    {"const a = r1 ? 1 : 2\n", "no constant"},
    {"sp: sem_range_clear 1, 1.5\n", "an integer constant"},
    {"var x: file f32[1] = {r1}\n", "a constant is expected"},
    {"var x: file float8_e5m2_x4[1] = {1}\n", "no values of type"},
    {"var x: file u8[100000000] = {1}\n", "values for more than"},
    {"var x: input f32[1,1,1,1,1,1,1,1,1]\n", "more than 8 dimensions"},
    {"var x: input f32[1] align=x\n", "x is not defined"},
    {"tile A: sbuf f32[1, 9000000000]\n", "does not fit a partition"},
    {"queue q: in fabric=1\n", "a word or string"},
    {"queue q: in owner=sp\nvar x: input f32[1]\ndma a on q by x: x <- x\n", "an engine"},
    {"queue q: in owner=sp\nvar x: input f32[1,1]\ndma a on q: x <- transpose(x, x)\n",
     "one source"},
    {"queue q: in owner=sp\nvar x: input f32[1,1,1,1,1]\ndma a on q: x <- transpose(x)\n",
     "at most 4 dimensions"},
    {"queue q: in owner=sp\nvar x: input f32[1]\ndma a on q: x <- max(from=1)\n", "no source"},
    {"queue q: in owner=sp\nvar x: input f32[1]\ndma a on q id 2147483647: x <- x\n"
     "dma b on q: x <- x\n",
     "no dma id is left"},
    {"queue q: in owner=sp\nvar x: input f32[1]\ndma a on q: x <- add(x,x,x,x,x,x,x,x,x,x,x,x,x,"
     "x,x,x,x)\n",
     "more than 16 sources"},
    {"macro m(a) { nop }\nsp: m(1\n", "do not end"},
    {"sp: for i in 0..2 on dve, tpu { }\n", "an engine is expected"},
    {"sp: (1)\n", "a statement is expected"},
    {"repeat k of 3 { }\n", "FIRST..END is expected"},
    {"sem a = 1\nconst a = 2\n", "defined already"},
    {"const a = r1\n", "a register is no constant"},
    {"const a = b\n", "b is not defined"},
    {"const a = 1 / 0\n", "division by zero"},
    {"const a = 9223372036854775807 + 1\n", "leaves 64 bits"},
    {"const a = 9223372036854775808\n", "too large"},
    {"const a = 1 << 63\n", "shift by 63"},
    {"const a = 1.5 | 2\n", "wants integers"},
    {"const a = ~1.5\n", "~ wants an integer"},
    {"const a = cdiv(1, 0)\n", "above 0"},
    {"const a = 12ab\n", "runs into a word"},
    {"const a = 0x\n", "malformed"},
    {"const a = \"x\n", "does not end in its line"},
    {"/* no end", "comment does not end"},
    {"const a = 1 \x01\n", "no meaning"},
    {"const a = 1 2\n", "'2' does not belong here"},
    {"}\n", "without a block"},
    {"repeat k in 0..3 {\n", "does not end"},
    {"repeat k in 0..3\n", "'{' is expected"},
    {"for i in 0..3 { }\n", "says on ENGINE"},
    {"sp: for i in 0..r1+1 { }\n", "bound is a 32-bit integer or a register"},
    {"sp: for i of 3 { }\n", "FIRST..END is expected"},
    {"sp: goto nowhere\n", "t:1: label nowhere is not defined in sp"},
    {"sp: a: nop\na: nop\n", "label a is defined already"},
    {"a: nop\n", "outside an engine's section"},
    {"nop\n", "outside an engine's section"},
    {"sp: if 1 goto a\n", "compares a register"},
    {"sp: if r1 goto a\n", "a comparison is expected"},
    {"sp: if r1 + 1 < 3 goto a\n", "a plain register is compared"},
    {"sp: r1 = r2 * 2 + 1\n", "one operation at a time"},
    {"sp: r1 = r2 + r3 * 2\n", "one operation at a time"},
    {"sp: r1 = 4294967296\n", "32-bit integer"},
    {"sp: r64 = 1\n", "r64 is not defined"},
    {"sp: wait $S[1]>=1, $S[2]>=1, $S[3]>=1, $S[4]>=1, $S[5]>=1: nop\n", "more than 4 waits"},
    {"sp: wait $S[1]>2: nop\n", ">= or == is expected"},
    {"sp: wait !$S[1]: nop\n", "belongs to events"},
    {"sp: wait $Q[1]: nop\n", "$S[n] or $E[n]"},
    {"sp: nop -> $S[1]++, $S[1]++, $S[1]++, $S[1]++, $S[1]++\n", "more than 4 updates"},
    {"sp: nop -> $S[1]\n", "++, --, +=, -= or = is expected"},
    {"sp: nop -> $S[1]++@start\n", "@read or @complete"},
    {"sp: nop -> $E[1]=2\n", "event value 2"},
    {"sp: nop -> foo++\n", "foo is no semaphore"},
    {"sp: core_barrier $E[1]\n", "not an event"},
    {"sp: raw \"00\"\n", "640 hex digits"},
    {"sp: register_move r1, 2\n", "write it as an assignment"},
    {".arch v9\n", ".arch is v2"},
    {".what\n", "no directive .what"},
    {".lnc 3\n", ".lnc 3"},
    {"macro m(a) { }\nsp: m()\n", "wants 1 arguments"},
    {"macro m(a) { }\nsp: m(1, 2)\n", "wants 1 arguments"},
    {"macro m() { }\nsp: m(1)\n", "wants 0 arguments"},
    {"macro m() {\n m() \n}\nsp: m()\n", "too deeply"},
    {"macro m(1) { }\n", "parameter names"},
    {"tile A: sbuf f32[64, 8]\ntile c: sbuf f32[128, 1]\n"
     "dve: tensor_scalar A, A, add, c\n",
     "operand0 has 128 partitions, the record 64"},
    {"tile A: sbuf f32[64, 8]\ndve: tensor_scalar A, A, add, A\n", "[P,1] tile is expected"},
    {"tile A: sbuf i32[64, 8]\ndve: tensor_scalar A, A, shl, 1.5\n", "32-bit integer"},
    {"tile A: sbuf u8[64, 8]\ndve: memset A, 256\n", "no uint8"},
    {"tile A: sbuf u8[64, 8]\ndve: memset A, 1.5\n", "no uint8"},
    {"tile A: sbuf f32[64, 8]\ndve: tensor_tensor A, A, A, foo\n", "foo is no operator"},
    {"tile A: sbuf f32[64, 8]\nact: activation A, A, foo\n", "foo is no activation function"},
    {"tile A: sbuf f32[64, 8]\nact: activation A, A, exp, reduce_cmd=foo\n", "no reduce command"},
    {"tile A: sbuf f32[64, 8]\npool: iota A, pattern=[[1,2,3]]\n", "']' is expected"},
    {"tile A: sbuf f32[64, 8]\npool: iota A, pattern=[[1,8]], offset=1.5\n", "an offset is"},
    {"tile A: sbuf f32[64, 8]\ndve: nc_stream_shuffle A, A, mask=[1,2]\n", "',' is expected"},
    {"tile A: sbuf f32[64, 8]\nvar x: input f32[64, 8]\ndve: tensor_copy A, x\n", "not a variable"},
    {"tile A: sbuf f32[64, 8]\nqueue q: dynamic\nvar x: input f32[64, 8]\n"
     "pool: dma_dyn A, x, queue=q, what=3\n",
     "no operand what"},
    {"tile A: sbuf f32[64, 8]\nqueue q: dynamic\nvar x: input f32[64, 8]\n"
     "pool: dma_dyn A, x, q\n",
     "'=' is expected"},
    {"tile A: sbuf f32[64, 8]\nqueue q: dynamic\nvar x: input f32[64, 8]\n"
     "pool: dma_dyn A, x, op=jump\n",
     "op is copy"},
    {"tile A: sbuf f32[64, 8]\nqueue q: dynamic\nvar x: input f32[64, 8]\n"
     "pool: dma_dyn A, x, mode=jump\n",
     "mode is swdge"},
    {"var x: input f32[64, 8]\nsp: r1 = load(x[0, 0:2])\n", "not 1"},
    {"sp: store psum.f32(0:1, 0, [1,1]), r1\n", "SBUF and variables only"},
    {"const k = 1\nconst a#x = 1\n", "# wants an integer"},
    {"repeat k in 0..100000000 { }\n", "too many statements"},
    {"sp: repeat k in 0..2000 { nop }\n", "more than 1000 records"},
};

static void wrong_text_is_refused_with_its_line(void **state)
{
    unsigned failed = 0;

    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        struct isa_asm_opts o = {.file = "t", .max_records = 1000};
        struct isa_asm_result *r = NULL;
        struct err err = {0};
        NRT_STATUS st = isa_asm(wrongs[i].text, strlen(wrongs[i].text), &o, NULL, &r, &err);

        if (st != NRT_INVALID || strncmp(err.text, "t:", 2) != 0 ||
            !strstr(err.text, wrongs[i].says)) {
            print_error("%s    %s\n    instead of: %s\n", wrongs[i].text, err.text, wrongs[i].says);
            failed++;
        }
        isa_asm_free(st == NRT_SUCCESS ? r : NULL);
    }
    assert_int_equal(failed, 0);
}

/* Every prefix of a good text, and every text with one byte gone, is answered. */
static void cut_text_is_answered(void **state)
{
    size_t n = strlen(softmax);
    char copy[sizeof(softmax)];

    for (size_t i = 0; i < 2 * n; i++) {
        struct isa_asm_result *r;
        struct err err = {0};
        size_t size = i < n ? i : n - 1;

        memcpy(copy, softmax, n);
        if (i >= n)
            memmove(copy + i - n, copy + i - n + 1, 2 * n - i - 1);
        if (isa_asm(copy, size, NULL, NULL, &r, &err) == NRT_SUCCESS)
            isa_asm_free(r);
        else
            assert_int_equal(err.status, NRT_INVALID);
    }
}

/* ---- control flow: the records against a walk of the same loops in C
 * ---------------------------------- */

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
    struct rnd rnd = rnd_start("loops");

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

            sequencer(prog(r, ISA_DVE), regs, sems);
            memset(regs, 0, sizeof(regs));
            sequencer(prog(r, ISA_ACT), regs, sems);
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
        sequencer(prog(r, ISA_SP), regs, sems);
        if (regs[1] != rows[i].value)
            fail_msg("%s gives %d", rows[i].text, regs[1]);
        isa_asm_free(r);
    }
    { /* for ever */
        struct isa_asm_result *r = asm_of("sp: while 1 { nop }\n");

        assert_int_equal(prog(r, ISA_SP)->n, 2);
        assert_int_equal(prog(r, ISA_SP)->records[1].body.s.target, 0);
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

    assert_int_equal(prog(r, ISA_SP)->n, 19);
    sequencer(prog(r, ISA_SP), regs, sems);
    /* 10, 9, 27, 27, 59, 58, 232, 116, 58, 40, 40 */
    assert_int_equal(regs[1], 40);
    assert_int_equal(regs[0], INT32_MIN);
    isa_asm_free(r);
}

/* ---- operands: views against an array of addresses
 * ------------------------------------------------------ */

struct model {
    unsigned nd;
    int64_t dim[8];
    int64_t at[4096];
    size_t n;
};

static size_t flat(const struct model *m, const int64_t *i)
{
    size_t k = 0;

    for (unsigned d = 0; d < m->nd; d++)
        k = k * (size_t)m->dim[d] + (size_t)i[d];
    return k;
}

/* dst[i] = src[f(i)] for all i of dst's shape, by a chain of first/step per source dimension. */
static void model_pick(struct model *m, unsigned nd, const int64_t *dim, const int *src_dim,
                       const int64_t *first, const int64_t *step, const int64_t *fixed)
{
    static struct model old;
    int64_t i[8] = {0}, s[8];

    old = *m;
    m->nd = nd;
    m->n = 1;
    for (unsigned d = 0; d < nd; d++) {
        m->dim[d] = dim[d];
        m->n *= (size_t)dim[d];
    }
    for (size_t k = 0; k < m->n; k++) {
        for (unsigned d = 0; d < old.nd; d++)
            s[d] = fixed[d];
        for (unsigned d = 0; d < nd; d++)
            if (src_dim[d] >= 0)
                s[src_dim[d]] = first[d] + step[d] * i[d];
        m->at[k] = old.at[flat(&old, s)];
        for (unsigned d = nd; d-- > 0;) {
            if (++i[d] < m->dim[d])
                break;
            i[d] = 0;
        }
    }
}

/* One random index, permutation, broadcast or reshape, on the model and in text. */
static void random_view(struct rnd *r, struct model *m, char *text, bool hbm)
{
    int64_t dim[8], first[8], step[8], fixed[8] = {0};
    int src[8];
    unsigned nd = 0;
    char *t = text + strlen(text);

    if (m->nd == 0)
        return;
    switch (rnd_below(r, 4)) {
    case 0:
        t += sprintf(t, hbm ? "[" : "[:");
        for (unsigned d = 0; d < m->nd; d++) {
            int64_t a = rnd_below(r, (uint32_t)m->dim[d]), b, s = 1 + rnd_below(r, 3);

            t += sprintf(t, d || !hbm ? ", " : "");
            switch (rnd_below(r, m->nd - nd > 1 || nd ? 5 : 4)) {
            case 0:
                t += sprintf(t, ":");
                a = 0, b = m->dim[d], s = 1;
                break;
            case 1:
                b = a + 1 + rnd_below(r, (uint32_t)(m->dim[d] - a));
                t += sprintf(t, "%lld:%lld:%lld", (long long)a, (long long)b, (long long)s);
                break;
            case 2:
                b = a + 1 + rnd_below(r, (uint32_t)(m->dim[d] - a));
                s = 1;
                t += sprintf(t, "%lld +: %lld", (long long)a, (long long)(b - a));
                break;
            case 3:
                s = -s;
                b = -1;
                t += sprintf(t, "%lld::%lld", (long long)a, (long long)s);
                break;
            default:
                fixed[d] = a;
                t += sprintf(t, "%lld", (long long)a);
                continue;
            }
            first[nd] = a;
            step[nd] = s;
            dim[nd] = s > 0 ? (b - a - 1) / s + 1 : a / -s + 1;
            src[nd++] = (int)d;
        }
        t += sprintf(t, "]");
        break;
    case 1:
        for (unsigned d = 0; d < m->nd; d++)
            src[d] = (int)d;
        for (unsigned d = m->nd; d-- > 1;) {
            unsigned k = rnd_below(r, d + 1);
            int x = src[d];

            src[d] = src[k];
            src[k] = x;
        }
        t += sprintf(t, ".perm(");
        for (nd = 0; nd < m->nd; nd++) {
            dim[nd] = m->dim[src[nd]];
            first[nd] = 0;
            step[nd] = 1;
            t += sprintf(t, "%s%d", nd ? "," : "", src[nd]);
        }
        t += sprintf(t, ")");
        break;
    case 2:
        t += sprintf(t, ".bcast(");
        if (m->nd < 4 && m->n < 1000) {
            dim[0] = 2;
            src[0] = -1;
            nd = 1;
            t += sprintf(t, "2,");
        }
        for (unsigned d = 0; d < m->nd; d++, nd++) {
            dim[nd] = m->dim[d] == 1 ? 3 : m->dim[d];
            first[nd] = 0;
            step[nd] = m->dim[d] == 1 ? 0 : 1;
            src[nd] = (int)d;
            t += sprintf(t, "%s%lld", d ? "," : "", (long long)dim[nd]);
        }
        t += sprintf(t, ")");
        break;
    default:
        return;
    }
    model_pick(m, nd, dim, src, first, step, fixed);
}

static void views_address_what_they_say(void **state)
{
    struct rnd rnd = rnd_start("views");
    static struct model m;
    unsigned checked = 0;

    for (unsigned i = 0; i < 3000; i++) {
        int64_t dim[3] = {1 + rnd_below(&rnd, 5), 1 + rnd_below(&rnd, 6), 1 + rnd_below(&rnd, 7)};
        bool hbm = rnd_below(&rnd, 2);
        char text[1000], op[800] = "";
        struct isa_asm_result *r;
        struct err err = {0};
        struct isa_asm_opts o = {.no_check = true};
        size_t k = 0;

        m = (struct model){.nd = 3, .dim = {dim[0], dim[1], dim[2]}};
        m.n = (size_t)(dim[0] * dim[1] * dim[2]);
        for (size_t e = 0; e < m.n; e++)
            m.at[e] = 4 * (int64_t)e;
        for (unsigned v = rnd_below(&rnd, 4); v; v--)
            random_view(&rnd, &m, op, hbm);
        if (hbm)
            snprintf(text, sizeof(text),
                     "var x: input f32[%lld,%lld,%lld]\nqueue q: in owner=sp\n"
                     "tile T: sbuf f32[1, %zu]\ndma a on q: T <- x%s\n",
                     (long long)dim[0], (long long)dim[1], (long long)dim[2], m.n, op);
        else
            snprintf(text, sizeof(text),
                     "tile A: sbuf f32[7, %lld,%lld,%lld]\ndve: tensor_copy A, A%s\n",
                     (long long)dim[0], (long long)dim[1], (long long)dim[2], op);
        if (isa_asm(text, strlen(text), &o, NULL, &r, &err) != NRT_SUCCESS) {
            if (!strstr(err.text, "more than 4 dimensions"))
                fail_msg("%s%s", text, err.text);
            continue;
        }
        checked++;
        if (hbm) {
            const struct isa_asm_side *s = &r->core[0].dmas[0].desc[0].from[0];
            int64_t sz[4] = {1, 1, 1, 1};

            for (unsigned d = 0; d < s->ndim; d++)
                sz[d] = s->sizes[d];
            assert_int_equal(s->steps[0], 1);
            for (int64_t i3 = 0; i3 < sz[3]; i3++)
                for (int64_t i2 = 0; i2 < sz[2]; i2++)
                    for (int64_t i1 = 0; i1 < sz[1]; i1++)
                        for (int64_t b = 0; b < sz[0]; b += 4, k++)
                            if (s->off + b + (s->ndim > 1 ? i1 * s->steps[1] : 0) +
                                    (s->ndim > 2 ? i2 * s->steps[2] : 0) +
                                    (s->ndim > 3 ? i3 * s->steps[3] : 0) !=
                                m.at[k])
                                fail_msg("element %zu\n%s", k, text);
        } else {
            const struct isa_tensor *t = &prog(r, ISA_DVE)->records[0].body.c.t[1];
            unsigned n[4] = {1, 1, 1, 1};

            for (unsigned d = 0; d < t->ndim; d++)
                n[d] = t->dim[d].num;
            for (unsigned i3 = 0; i3 < n[3]; i3++)
                for (unsigned i2 = 0; i2 < n[2]; i2++)
                    for (unsigned i1 = 0; i1 < n[1]; i1++)
                        for (unsigned i0 = 0; i0 < n[0]; i0++, k++)
                            if ((int64_t)t->offset + 4ll * i0 * t->dim[0].step +
                                    4ll * i1 * t->dim[1].step + 4ll * i2 * t->dim[2].step +
                                    4ll * i3 * t->dim[3].step !=
                                m.at[k])
                                fail_msg("element %zu\n%s", k, text);
        }
        assert_int_equal(k, m.n);
        isa_asm_free(r);
    }
    assert_true(checked > 2000);
}

static void register_index_becomes_an_offset(void **state)
{
    unsigned e;
    static const char tiles[] = "reg i\ntile A: sbuf f32[128, 8, 16]\ntile B: sbuf f32[128, 16]\n"
                                "var x: input f32[100, 4, 16]\nqueue q: dynamic\n"
                                "tile I: sbuf i32[128, 1]\n";
    struct isa_record r = record_of(tiles, "dve: tensor_copy B, A[:, 2 * i + 1]", &e);

    assert_int_equal(r.body.c.t[1].off_reg, 0);
    assert_int_equal(r.body.c.t[1].off_mul, 32);
    assert_int_equal(r.body.c.t[1].offset, 64);
    assert_int_equal(r.body.c.t[1].dim[0].num, 16);
    r = record_of(tiles, "dve: tensor_copy B.view(bf16)[:, i +: 4], A[:, 0:1, 0:4].view(f32)", &e);
    assert_int_equal(r.body.c.t[0].off_mul, 1);
    assert_int_equal(r.body.c.t[0].dtype, DT_BF16);
    r = record_of(tiles, "dve: tensor_copy A[:, i].view(u8), A[:, i].view(u8)", &e);
    assert_int_equal(r.body.c.t[0].off_mul, 64);
    assert_int_equal(r.body.c.t[0].dim[0].num, 64);
    r = record_of(tiles,
                  "pool: dma_dyn B, x[I, 1, :].bound(64, 6400), queue=q, oob=skip, sem=$S[9]", &e);
    assert_int_equal(r.body.d.index_side, 1);
    assert_int_equal(r.body.d.src.hbm.off_mul, 64);
    assert_int_equal(r.body.d.src.hbm.offset, 64);
    assert_int_equal(r.body.d.src.hbm.ndim, 2);
    assert_int_equal(r.body.d.src.hbm.num[1], 128);
    assert_int_equal(r.body.d.src.hbm.step[1], 0);
    assert_int_equal(r.body.d.src.hbm.bound_bytes, 6400);
    assert_int_equal(r.body.d.index.dtype, DT_INT32);
    assert_int_equal(r.body.d.oob, ISA_OOB_SKIP);
    assert_int_equal(r.body.d.semaphore, 9);
    r = record_of(tiles, "pool: dma_dyn x[i, 1, :], B[3:4], queue=q, oob=i", &e);
    assert_int_equal(r.body.d.dst.hbm.off_mul, 64);
    assert_int_equal(r.body.d.dst.hbm.off_reg, 0);
    assert_int_equal(r.body.d.src.tile.part, 3);
    assert_int_equal(r.body.d.oob_reg, 0);
    r = record_of(tiles, "dve: tensor_copy B, A[:, 7 - 2 * i]", &e);
    assert_int_equal(r.body.c.t[1].off_mul, -32);
    assert_int_equal(r.body.c.t[1].offset, 7 * 64);
    r = record_of(tiles, "dve: tensor_copy B, A[:, -i + 3]", &e);
    assert_int_equal(r.body.c.t[1].off_mul, -16);
    assert_int_equal(r.body.c.t[1].offset, 3 * 64);
    r = record_of(tiles, "reg j = r9\ndve: tensor_copy B, A[:, j]", &e);
    assert_int_equal(r.body.c.t[1].off_reg, 9);
    r = record_of(tiles, "sp: i = load(x[i, 0, 2])", &e);
    assert_int_equal(r.body.s.place.hbm.off_mul, 64);
    assert_int_equal(r.body.s.place.hbm.offset, 8);
    r = record_of(tiles, "pool: iota B, pattern=[[1, 16]], offset=i - 3, channel_multiplier=16",
                  &e);
    assert_int_equal(r.body.c.x.pattern.offset, -3);
    assert_int_equal(r.body.c.x.pattern.off_reg, 0);
}

/* ---- declarations
 * -------------------------------------------------------------------------------------- */

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
    assert_int_equal(prog(r, ISA_POOL)->records[0].body.d.queue, 1);
    assert_int_equal(prog(r, ISA_POOL)->records[1].body.d.queue, 2);

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
    assert_int_equal(prog(r, ISA_SP)->records[0].body.s.imm, 10);
    assert_null(prog(r, ISA_SP)->lines[0].op);
    assert_string_equal(prog(r, ISA_SP)->lines[1].op, "dot");
    {
        const struct isa_record *t = prog(r, ISA_DVE)->records;

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
    d = prog(r, ISA_DVE)->records;
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

/* ---- memory
 * ---------------------------------------------------------------------------------------------- */

static void memory_out_anywhere_is_a_status(void **state)
{
    uint64_t hits;
    struct isa_asm_result *r;
    struct err err = {0};

    fault_count_start();
    assert_int_equal(isa_asm(softmax, strlen(softmax), NULL, NULL, &r, &err), NRT_SUCCESS);
    hits = fault_count(FAULT_ALLOC);
    fault_disarm();
    isa_asm_free(r);
    assert_true(hits > 20);
    for (uint64_t n = 1; n <= hits; n++) {
        NRT_STATUS st;

        err = (struct err){0};
        fault_arm(FAULT_ALLOC, n);
        st = isa_asm(softmax, strlen(softmax), NULL, NULL, &r, &err);
        fault_disarm();
        assert_int_equal(st, NRT_RESOURCE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_example_has_its_addresses_and_descriptors),
        cmocka_unit_test(expression_has_its_value),
        cmocka_unit_test(wrong_text_is_refused_with_its_line),
        cmocka_unit_test(cut_text_is_answered),
        cmocka_unit_test(loops_run_as_often_as_they_say),
        cmocka_unit_test(constant_conditions_choose_while_assembling),
        cmocka_unit_test(register_operators_are_one_record_each),
        cmocka_unit_test(views_address_what_they_say),
        cmocka_unit_test(register_index_becomes_an_offset),
        cmocka_unit_test(declarations_are_handed_over),
        cmocka_unit_test(two_cores_come_from_one_text),
        cmocka_unit_test(names_macros_and_scopes),
        cmocka_unit_test(constants_take_the_type_of_their_place),
        cmocka_unit_test(memory_out_anywhere_is_a_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
