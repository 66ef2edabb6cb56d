/* SPDX-License-Identifier: Apache-2.0 */
#include "neffs.h"

#include <stdarg.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

void prog_init(struct prog *p, enum isa_engine engine)
{
    memset(p, 0, sizeof(*p));
    p->engine = engine;
}

struct isa_record *prog_op(struct prog *p, unsigned opcode)
{
    struct isa_record *r = &p->rec[p->n++];

    assert_true(p->n <= sizeof(p->rec) / sizeof(p->rec[0]));
    r->opcode = (uint16_t)opcode;
    r->version = ISA_VERSION;
    r->engine = (uint8_t)p->engine;
    return r;
}

void prog_wait(struct prog *p, unsigned sem, int32_t value)
{
    struct isa_record *r = &p->rec[p->n - 1];

    r->wait[r->nwaits++] = (struct isa_wait){
        .kind = ISA_WAIT_SEM_GE, .index = (uint8_t)sem, .reg = ISA_NO_REG, .value = value};
}

void prog_trigger(struct prog *p, int32_t id)
{
    struct isa_record *r = prog_op(p, ISA_OP_DMA_TRIGGER);

    r->body.s.imm = id;
}

void prog_done(struct prog *p, struct neff_build *b, int graph)
{
    static const enum neff_engine map[] = {[ISA_PE] = NEFF_PE,
                                           [ISA_DVE] = NEFF_DVE,
                                           [ISA_ACT] = NEFF_ACT,
                                           [ISA_POOL] = NEFF_POOL,
                                           [ISA_SP] = NEFF_SP};

    prog_op(p, ISA_OP_END);
    neff_build_program(b, graph, map[p->engine], p->rec, p->n * sizeof(p->rec[0]));
}

struct isa_tensor prog_tile(unsigned mem, enum dtype t, unsigned part, unsigned nparts,
                            uint32_t offset, unsigned n)
{
    struct isa_tensor x = {.mem = (uint8_t)mem,
                           .dtype = (uint8_t)t,
                           .part = (uint8_t)part,
                           .nparts = (uint8_t)nparts,
                           .offset = offset,
                           .ndim = 1,
                           .off_reg = ISA_NO_REG};

    x.dim[0].step = 1;
    x.dim[0].num = (uint16_t)n;
    return x;
}

struct bytes neff_finish(struct neff_build *b, const struct neff_build_options *opt)
{
    struct bytes f = {NULL, 0};

    if (neff_build_write_memory(b, opt, &f.data, &f.size) != NRT_SUCCESS)
        fail_msg("builder: %s", neff_build_error(b));
    neff_build_destroy(b);
    return f;
}

void neff_free(struct bytes *f)
{
    neff_build_free(f->data);
    f->data = NULL;
}

static int queue(struct neff_build *b, const char *name, const char *type)
{
    struct neff_build_queue q = {.name = name, .type = type, .num_queues = 1, .owner = "sp"};

    return neff_build_queue(b, 0, &q);
}

static int group(struct neff_build *b, uint32_t id, int q, enum neff_engine e)
{
    struct neff_build_group g = {.id = id, .queue = q, .has_semaphore = true, .semaphore = 3};

    return neff_build_group(b, 0, e, &g);
}

/* The program that triggers group 0 and waits for it. */
static void prog_moves(struct neff_build *b)
{
    struct prog p;

    prog_init(&p, ISA_SP);
    prog_trigger(&p, 0);
    prog_op(&p, ISA_OP_NOP);
    prog_wait(&p, 3, 1);
    prog_done(&p, b, 0);
}

struct bytes neff_nothing(uint64_t n)
{
    struct neff_build *b = neff_build_create("nothing");
    struct prog p;

    neff_build_input(b, 0, "a", "uint8", 1, &n);
    neff_build_output(b, 0, "c", "uint8", 1, &n);
    prog_init(&p, ISA_SP);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

struct bytes neff_add(uint64_t n)
{
    struct neff_build *b = neff_build_create("add");
    int va = neff_build_input(b, 0, "a", "float32", 1, &n);
    int vb = neff_build_input(b, 0, "b", "float32", 1, &n);
    int vc = neff_build_output(b, 0, "c", "float32", 1, &n);
    struct neff_build_side from[2] = {
        {.var = va, .ndim = 1, .steps = {1}, .sizes = {4 * n}, .dtype = "float32"},
        {.var = vb, .ndim = 1, .steps = {1}, .sizes = {4 * n}, .dtype = "float32"}};
    struct neff_build_desc d = {.op = "add", .from = from, .from_count = 2, .to = from[0]};

    d.to.var = vc;
    neff_build_desc(b, 0, NEFF_SP, group(b, 0, queue(b, "q", "data"), NEFF_SP), &d);
    prog_moves(b);
    return neff_finish(b, NULL);
}

struct bytes neff_copy(uint64_t n, bool half)
{
    struct neff_build *b = neff_build_create("copy");
    int va = neff_build_input(b, 0, "a", "uint8", 1, &n);
    int vc = neff_build_output(b, 0, "c", "uint8", 1, &n);

    neff_build_copy(b, 0, NEFF_SP, group(b, 0, queue(b, "q", "data"), NEFF_SP), va, 0, vc, 0,
                    half ? n / 2 : n);
    prog_moves(b);
    return neff_finish(b, NULL);
}

struct bytes neff_marks(uint64_t size, uint64_t step)
{
    struct neff_build_options plain = {.plain_tar = true};
    struct neff_build *b = neff_build_create("marks");
    const uint8_t zeros[512] = {0};
    const uint64_t n = size / step;
    struct neff_build_side from = {.var = neff_build_constant_raw(b, 0, "w", size, zeros, 512),
                                   .ndim = 2,
                                   .steps = {1, (int64_t)step},
                                   .sizes = {4, n},
                                   .dtype = "uint32"};
    struct neff_build_desc d = {
        .op = "copy",
        .from = &from,
        .from_count = 1,
        .to = {.ndim = 1, .steps = {1}, .sizes = {4 * n}, .dtype = "uint32"}};

    d.to.var = neff_build_output(b, 0, "c", "uint32", 1, &n);
    neff_build_desc(b, 0, NEFF_SP, group(b, 0, queue(b, "q", "data"), NEFF_SP), &d);
    prog_moves(b);
    return neff_finish(b, &plain);
}

struct bytes neff_all_reduce(unsigned ranks, uint64_t n)
{
    struct neff_build *b = neff_build_create("all_reduce");
    struct neff_build_coll_range in = {neff_build_input(b, 0, "a", "float32", 1, &n), 0, 4 * n};
    struct neff_build_coll_range out = {neff_build_output(b, 0, "c", "float32", 1, &n), 0, 4 * n};
    uint32_t list[64];
    struct neff_build_coll_group group = {list, ranks};
    struct prog p;

    for (uint32_t r = 0; r < ranks; r++)
        list[r] = r;
    neff_build_collective(b, 0,
                          &(struct neff_build_coll){.op = "all_reduce",
                                                    .reduce = "add",
                                                    .dtype = "float32",
                                                    .groups = &group,
                                                    .group_count = 1,
                                                    .in = &in,
                                                    .in_count = 1,
                                                    .out = &out,
                                                    .out_count = 1});
    prog_init(&p, ISA_SP);
    prog_op(&p, ISA_OP_TRIGGER_COLLECTIVE)->body.s.first = 1 + 3;
    prog_op(&p, ISA_OP_NOP);
    prog_wait(&p, 3, 1);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

struct bytes neff_hang(void)
{
    struct neff_build *b = neff_build_create("hang");
    uint64_t n = 4;
    struct prog p;

    neff_build_input(b, 0, "a", "uint8", 1, &n);
    prog_init(&p, ISA_SP);
    prog_op(&p, ISA_OP_NOP);
    neff_build_debug(b, 0, NEFF_SP, "toy.nasm", 1, "start", NULL);
    prog_op(&p, ISA_OP_NOP);
    prog_wait(&p, 9, 1);
    neff_build_debug(b, 0, NEFF_SP, "toy.nasm", 42, "stuck", "wait.0");
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

struct bytes neff_endless(void)
{
    struct neff_build *b = neff_build_create("endless");
    uint64_t n = 4;
    struct isa_record *r;
    struct prog p;

    neff_build_input(b, 0, "a", "uint8", 1, &n);
    prog_init(&p, ISA_SP);
    prog_op(&p, ISA_OP_NOP);
    r = prog_op(&p, ISA_OP_BRANCH);
    r->body.s.op = ISA_BR_ALWAYS;
    r->body.s.target = 0;
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

struct bytes neff_endless_dma(void)
{
    struct neff_build *b = neff_build_create("endless-dma");
    uint64_t n = 4;
    int va = neff_build_input(b, 0, "a", "uint8", 1, &n);
    int vc = neff_build_output(b, 0, "c", "uint8", 1, &n);
    struct isa_record *r;
    struct prog p;

    neff_build_copy(b, 0, NEFF_SP, group(b, 0, queue(b, "q", "data"), NEFF_SP), va, 0, vc, 0, n);
    prog_init(&p, ISA_SP);
    prog_trigger(&p, 0);
    r = prog_op(&p, ISA_OP_NOP);
    prog_wait(&p, 3, 1);
    r->nupdates = 1;
    r->update[0] = (struct isa_update){.kind = ISA_UPD_DEC, .index = 3, .reg = ISA_NO_REG};
    r = prog_op(&p, ISA_OP_BRANCH);
    r->body.s.op = ISA_BR_ALWAYS;
    r->body.s.target = 0;
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

struct bytes neff_index(void)
{
    struct neff_build *b = neff_build_create("index");
    uint64_t n = 8, one = 1;
    int va = neff_build_input(b, 0, "a", "int32", 1, &n);
    int vi = neff_build_input(b, 0, "i", "int32", 1, &one);
    int vc = neff_build_output(b, 0, "c", "int32", 1, &one);
    struct isa_hbm h = {
        .dtype = DT_INT32, .ndim = 1, .off_reg = ISA_NO_REG, .step = {1}, .num = {1}};
    struct isa_record *r;
    struct prog p;

    prog_init(&p, ISA_SP);
    r = prog_op(&p, ISA_OP_REG_LOAD);
    r->body.s.rd = 1;
    r->body.s.place_mem = ISA_HBM;
    r->body.s.place.hbm = h;
    r->body.s.place.hbm.var_id = (uint32_t)vi;
    r = prog_op(&p, ISA_OP_REG_LOAD);
    r->body.s.rd = 2;
    r->body.s.place_mem = ISA_HBM;
    r->body.s.place.hbm = h;
    r->body.s.place.hbm.var_id = (uint32_t)va;
    r->body.s.place.hbm.off_reg = 1;
    r->body.s.place.hbm.off_mul = 1;
    neff_build_debug(b, 0, NEFF_SP, "toy.nasm", 6, NULL, NULL);
    neff_build_debug(b, 0, NEFF_SP, "toy.nasm", 7, NULL, "load.1");
    r = prog_op(&p, ISA_OP_REG_STORE);
    r->body.s.ra = 2;
    r->body.s.place_mem = ISA_HBM;
    r->body.s.place.hbm = h;
    r->body.s.place.hbm.var_id = (uint32_t)vc;
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

struct bytes neff_multiply(void)
{
    struct neff_build *b = neff_build_create("multiply");
    uint64_t one = 1;
    int va = neff_build_input(b, 0, "a", "float32", 1, &one);
    int vb = neff_build_input(b, 0, "b", "float32", 1, &one);
    int vc = neff_build_output(b, 0, "c", "float32", 1, &one);
    int sb = neff_build_state_buffer(b, 0, "SB");
    int q = queue(b, "q", "data"), g;
    struct isa_record *r;
    struct prog sp, dve;

    g = group(b, 0, q, NEFF_SP);
    neff_build_copy(b, 0, NEFF_SP, g, va, 0, sb, 0, 4);
    neff_build_copy(b, 0, NEFF_SP, g, vb, 0, sb, 64, 4);
    g = group(b, 1, q, NEFF_SP);
    neff_build_copy(b, 0, NEFF_SP, g, sb, 128, vc, 0, 4);

    prog_init(&sp, ISA_SP);
    prog_trigger(&sp, 0);
    prog_trigger(&sp, 1);
    prog_wait(&sp, 5, 1);
    prog_done(&sp, b, 0);
    prog_init(&dve, ISA_DVE);
    r = prog_op(&dve, ISA_OP_TENSOR_TENSOR);
    prog_wait(&dve, 3, 1);
    r->body.c.t[0] = prog_tile(ISA_SBUF, DT_FP32, 0, 1, 128, 1);
    r->body.c.t[1] = prog_tile(ISA_SBUF, DT_FP32, 0, 1, 0, 1);
    r->body.c.t[2] = prog_tile(ISA_SBUF, DT_FP32, 0, 1, 64, 1);
    r->body.c.op0 = ISA_ALU_MULTIPLY;
    r->update[r->nupdates++] =
        (struct isa_update){.kind = ISA_UPD_INC, .index = 5, .reg = ISA_NO_REG};
    prog_done(&dve, b, 0);
    return neff_finish(b, NULL);
}

struct bytes neff_graph(uint64_t n, const char *first, const char *last, const void *library,
                        size_t library_size)
{
    struct neff_build *b = neff_build_create("graph");
    int va = neff_build_input(b, 0, "t", "float32", 1, &n);
    int vb = neff_build_input(b, 0, "k", "float32", 1, &n);
    int vc = neff_build_output(b, 0, "u", "float32", 1, &n);
    struct neff_build_tensor x = {"x", "float32", 1, &n, NULL, false};
    struct neff_build_tensor t = {"t", "float32", 1, &n, NULL, false};
    struct neff_build_tensor k = {"k", "float32", 1, &n, NULL, false};
    struct neff_build_tensor u = {"u", "float32", 1, &n, NULL, false};
    struct neff_build_tensor y = {"y", "float32", 1, &n, NULL, false};
    struct neff_build_tensor tk[2] = {t, k};
    struct neff_build_side from[2] = {
        {.var = va, .ndim = 1, .steps = {1}, .sizes = {4 * n}, .dtype = "float32"},
        {.var = vb, .ndim = 1, .steps = {1}, .sizes = {4 * n}, .dtype = "float32"}};
    struct neff_build_desc d = {.op = "add", .from = from, .from_count = 2, .to = from[0]};
    struct neff_build_node nodes[3] = {
        {"double", true, "cpu.so", first, &x, &t, 1, 1},
        {"sg00", false, NULL, NULL, tk, &u, 2, 1},
        {"negate", true, "cpu.so", last, &u, &y, 1, 1},
    };

    d.to.var = vc;
    neff_build_desc(b, 0, NEFF_SP, group(b, 0, queue(b, "q", "data"), NEFF_SP), &d);
    prog_moves(b);
    for (int i = 0; i < 3; i++)
        neff_build_node(b, &nodes[i]);
    neff_build_member(b, "cpu.so", library, library_size);
    return neff_finish(b, NULL);
}

struct bytes neff_cast(uint64_t n)
{
    struct neff_build *b = neff_build_create("cast");
    int va = neff_build_input(b, 0, "a", "float32", 1, &n);
    int vc = neff_build_output(b, 0, "c", "bfloat16", 1, &n);
    struct neff_build_side from = {
        .var = va, .ndim = 1, .steps = {1}, .sizes = {4 * n}, .dtype = "float32"};
    struct neff_build_desc d = {
        .op = "cast",
        .from = &from,
        .from_count = 1,
        .to = {.var = vc, .ndim = 1, .steps = {1}, .sizes = {2 * n}, .dtype = "bfloat16"}};

    neff_build_desc(b, 0, NEFF_SP, group(b, 0, queue(b, "q", "data"), NEFF_SP), &d);
    prog_moves(b);
    return neff_finish(b, NULL);
}

struct bytes neff_unwritten(void)
{
    struct neff_build *b = neff_build_create("unwritten");
    uint64_t n = 4;
    int vc = neff_build_output(b, 0, "c", "uint8", 1, &n);
    int sb = neff_build_state_buffer(b, 0, "SB");

    neff_build_copy(b, 0, NEFF_SP, group(b, 0, queue(b, "q", "data"), NEFF_SP), sb, 65536, vc, 0,
                    4);
    prog_moves(b);
    return neff_finish(b, NULL);
}

struct bytes neff_print(const char *label, enum dtype t, unsigned parts, unsigned n)
{
    struct neff_build *b = neff_build_create("print");
    uint64_t row = n * dtype_size(t), all = parts * row;
    int va = neff_build_input(b, 0, "a", "uint8", 1, &all);
    int sb = neff_build_state_buffer(b, 0, "SB");
    int g = group(b, 0, queue(b, "q", "data"), NEFF_SP);
    struct isa_record *r;
    struct prog sp, pool;

    for (unsigned k = 0; k < parts; k++)
        neff_build_copy(b, 0, NEFF_SP, g, va, k * row, sb, (uint64_t)k * 262144 + 64, row);
    prog_init(&sp, ISA_SP);
    prog_trigger(&sp, 0);
    prog_done(&sp, b, 0);
    prog_init(&pool, ISA_POOL);
    r = prog_op(&pool, ISA_OP_PRINT);
    prog_wait(&pool, 3, 1);
    r->body.c.t[1] = prog_tile(ISA_SBUF, t, 0, parts, 64, n);
    r->body.c.x.v.n = 5;
    neff_build_debug(b, 0, NEFF_POOL, "toy.nasm", 1, label, NULL);
    prog_done(&pool, b, 0);
    return neff_finish(b, NULL);
}
