/* SPDX-License-Identifier: Apache-2.0 */
/* The assembler: the published example, expressions, errors and memory, against values worked out
 * by hand. */
#include "records.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"

/* ---- the example of neuroncore.md 8.1 ---- */

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
    const struct isa_record *d = asm_program(r, ISA_DVE)->records,
                            *a = asm_program(r, ISA_ACT)->records;
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

    assert_int_equal(asm_program(r, ISA_DVE)->n, 4);
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
    assert_int_equal(asm_program(r, ISA_SP)->n, 3);
    /* where the records come from */
    assert_int_equal(asm_program(r, ISA_DVE)->lines[0].line, 15);
    assert_null(asm_program(r, ISA_DVE)->lines[0].label);
    assert_string_equal(asm_program(r, ISA_DVE)->lines[1].label, "again");
    assert_string_equal(asm_program(r, ISA_DVE)->lines[2].label, "again");
    isa_asm_free(r);
}

/* ---- expressions ---- */

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
        if (asm_program(r, ISA_SP)->records[0].body.s.imm != (int32_t)rows[i].value)
            fail_msg("%s is %d", rows[i].text, asm_program(r, ISA_SP)->records[0].body.s.imm);
        isa_asm_free(r);
    }
}

/* ---- errors ---- */

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
    {"tile A: sbuf f32[128, 8]\ndve: tensor_copy A, A.reshape(128, 8, 1, 1, 1, 1, 1, 1, 1)\n",
     "too many dimensions"},
    {"var x: input f32[4]\nqueue q: in owner=sp\ndma a on q: x <- x[0].view(u8).view(f33)\n",
     "f33 is no data type"},
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
    {"var x: file f32[4]\n", "x has neither a file nor values"},
    {"var x: input f32[4] align=3\n", "align 3 is not a power of two"},
    {"var x: file f32[1] = {1} align=8\n", "align belongs to input, output and tmp-buf"},
    {"var x: tmp-buf u8[4] area=west\n", "area belongs to virtual"},
    {"var x: output u8[1, 4294967296]\n", "a tensor's dimension has at most 4294967295"},
    {"var x: virtual u8[8] @ 9223372036854775800\n", "ends behind 9223372036854775807"},
    {"queue q: in fabric=mian\n", "fabric is main or alt"},
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
    {"queue q: in owner=sp\nvar x: input f32[1]\ndma a on q: x <- transpose(size=4)\n",
     "no source"},
    {"queue q: in owner=sp\nvar x: input f32[4]\ndma a on q: x <- transpose(x, shape=[2, 3])\n",
     "of 16 bytes as an array of 24"},
    {"queue q: in owner=sp\nvar x: input f32[4]\ndma a on q: x <- transpose(x, size=3)\n",
     "1, 2, 4 or 8 bytes at a time, not 3"},
    {"queue q: in owner=sp\nvar x: input f32[4]\n"
     "dma a on q: x <- transpose(x, shape=[1, 2, 2, 1, 1])\n",
     "at most 4 dimensions"},
    {"queue q: in owner=sp\nvar x: input f32[4]\n"
     "dma a on q: x <- transpose(x, shape=[4294967295, 4294967295, 4294967295])\n",
     "too large"},
    {"queue q: in owner=sp\nvar x: input f32[4]\ndma a on q: x <- add(x, shape=[4])\n",
     "a shape belongs to transpose"},
    {"queue q: in owner=sp\nvar x: input f32[4]\ndma a on q: x <- max(x, size=4)\n",
     "a size belongs to transpose"},
    {"queue q: in owner=sp\nvar x: input f32[4]\n"
     "dma a on q: x <- hbm.f32(x, 0, bytes, [1,15])\n",
     "15 bytes are no whole elements of float32"},
    {"queue q: in owner=sp\nvar x: input f32[4]\ndma a on q: x <- hbm.f32(x, 0, bytes)\n",
     "1 to 4 dimensions"},
    {"queue q: in owner=sp\nvar x: input f32[4]\n"
     "dma a on q: x <- hbm.f32(x, 0, bytes, [1,1], [1,1], [1,1], [1,1], [1,16])\n",
     "1 to 4 dimensions"},
    {"queue q: in owner=sp\nvar x: input f32[4]\n"
     "dma a on q: x <- hbm.f32(x, 0, bytes, [1,16]).view(i32)\n",
     "no view of a pattern of bytes"},
    {"queue q: in owner=sp\nvar x: input f32[4]\n"
     "dma a on q: x <- hbm.f32(x, 0, bytes, [1,16])[0]\n",
     "no index of a pattern of bytes"},
    {"queue q: in owner=sp\nvar x: input f32[4]\n"
     "dma a on q: x <- hbm.f32(x, 0, bytes, [1,-4])\n",
     "dimension of -4 elements"},
    {"queue q: in owner=sp\nvar x: input f32[4]\ndma a on q: x <- hbm.f32(x, 0, [1,-4])\n",
     "dimension of -4 elements"},
    {"tile A: sbuf f32[1, 4]\ndve: memset sbuf.f32(0:1, 0, bytes, [1,4]), 0\n",
     "[step, num] or +register"},
    {"var x: input f32[4]\ntile A: sbuf f32[1, 4]\nqueue q: dynamic owner=pool\n"
     "pool: dma_dyn A, hbm.f32(x, 0, bytes, [1,16])\n",
     "belongs to a descriptor"},
    {"var x: input f32[4]\nvar y: output f32[4]\n"
     "collective a: y <- all_reduce(add, hbm.f32(x, 0, bytes, [1,16])) ranks=2\n",
     "belongs to a descriptor"},
    {"var x: input f32[4]\nvar y: output f32[4] id=2\n",
     "t:2: the id of a variable is its place, 1"},
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
    /* the line of the word, not of the bracket behind it */
    {"tile t: sbuf f32[1,\nnowhere\n]\n", "t:2: nowhere is not defined"},
    {"const a = 2 * (3 +\nnowhere\n)\n", "t:2: nowhere is not defined"},
    {"tile t: sbuf f32[nowhere\n, 1]\n", "t:1: nowhere is not defined"},
    {"tile t: sbuf f32[1,\n2:]\n", "t:2: ']' is expected"},
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
/* With the limits that a user meets. Each would go on for a minute, or end well after one. */
static void text_that_unrolls_for_ever_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"sp:\nrepeat k in 0..1 << 40 { nop }\n", "t:2: the text unrolls to too many statements"},
        {"\nrepeat k in -(1 << 62)..1 << 62 step 3 { }\n", "t:2: the text unrolls to too many"},
        {"repeat a in 0..8000 {\n  repeat b in 0..8000 {\n } }\n",
         "t:2: the text unrolls to too many"},
        {"macro m(n) {\nif n {\nm(n - 1)\nm(n - 1) } }\nm(25)\n", "the text unrolls to too many"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct isa_asm_opts o = {.file = "t"};
        struct isa_asm_result *r = NULL;
        struct err err = {0};

        assert_int_equal(isa_asm(rows[i].text, strlen(rows[i].text), &o, NULL, &r, &err),
                         NRT_INVALID);
        if (!strstr(err.text, rows[i].says))
            fail_msg("%s: %s", rows[i].text, err.text);
    }
}

/* Of what makes something there may be much. */
static void long_text_is_no_text_without_an_end(void **state)
{
    static const char text[] = "sp: repeat a in 0..700 { repeat b in 0..600 {\n"
                               "const c = a * b\nif c % 300 == 0 { nop } } }\n";
    struct isa_asm_opts o = {.file = "t", .no_check = true};
    struct isa_asm_result *r = NULL;
    struct err err = {0};

    (void)state;
    assert_int_equal(isa_asm(text, strlen(text), &o, NULL, &r, &err), NRT_SUCCESS);
    assert_true(r->core[0].engine[ISA_SP].n > 2000);
    isa_asm_free(r);
}

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

/* ---- memory ---- */

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
        cmocka_unit_test(text_that_unrolls_for_ever_is_refused_with_its_line),
        cmocka_unit_test(long_text_is_no_text_without_an_end),
        cmocka_unit_test(cut_text_is_answered),
        cmocka_unit_test(memory_out_anywhere_is_a_status),
    };

    return cmocka_run_group_tests_name("isa-asm", tests, NULL, NULL);
}
