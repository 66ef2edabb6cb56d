/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "draw.h"
#include "seed.h"

#define GUARD 64
#define FILL  0xa5

void fx_init(struct fx *f, unsigned count, enum isa_gen gen)
{
    struct core_config cfg = {.gen = gen};
    struct err err = {0};

    memset(f, 0, sizeof(*f));
    f->count = count;
    f->gen = gen;
    f->opt.lnc = count;
    for (unsigned c = 0; c < count; c++) {
        assert_int_equal(core_create(&cfg, &f->c[c].core, &err), NRT_SUCCESS);
        fx_var(f, c, NEFF_VAR_STATE_BUFFER, 0);
        strcpy(f->c[c].var_names[0], "SB");
        fx_queue(f, c, NEFF_QUEUE_DATA, 16, -1);
    }
}

static void check_guards(struct fx_core *c)
{
    for (unsigned i = 0; i < c->sg.var_count; i++) {
        const uint8_t *m = c->mem[i];

        for (unsigned k = 0; m != NULL && k < GUARD; k++) {
            assert_int_equal(m[c->vars[i].size + k], FILL);
            assert_int_equal(m[(int)k - GUARD], FILL);
        }
    }
}

void fx_clear(struct fx *f)
{
    for (unsigned c = 0; c < f->count; c++) {
        struct fx_core *k = &f->c[c];

        core_binding_destroy(k->binding);
        core_program_destroy(k->program);
        k->binding = NULL;
        k->program = NULL;
        for (unsigned e = 0; e < ISA_ENGINES; e++)
            k->e[e].count = k->e[e].ngroups = 0;
        check_guards(k);
    }
    arena_fini(&f->arena);
}

void fx_fini(struct fx *f)
{
    fx_clear(f);
    for (unsigned c = 0; c < f->count; c++) {
        for (unsigned i = 0; i < f->c[c].sg.var_count; i++)
            if (f->c[c].mem[i] != NULL && (c == 0 || f->c[c].mem[i] != f->c[0].mem[i]))
                free((uint8_t *)f->c[c].mem[i] - GUARD);
        for (unsigned e = 0; e < ISA_ENGINES; e++) {
            free(f->c[c].e[e].rec);
            free(f->c[c].e[e].groups);
        }
        core_destroy(f->c[c].core);
    }
    free(f->ev);
}

unsigned fx_var(struct fx *f, unsigned core, enum neff_var_type type, uint64_t size)
{
    struct fx_core *c = &f->c[core];
    unsigned i = c->sg.var_count++;
    uint8_t *m;

    assert_true(i < FX_VARS);
    snprintf(c->var_names[i], sizeof(c->var_names[i]), "v%u", i);
    c->vars[i] = (struct neff_var){.name = c->var_names[i],
                                   .type = type,
                                   .var_id = i,
                                   .size = size,
                                   .file_member = NEFF_NONE,
                                   .ref = NEFF_NONE};
    c->sg.vars = c->vars;
    if (type != NEFF_VAR_STATE_BUFFER) {
        m = malloc(size + 2 * GUARD);
        assert_non_null(m);
        memset(m, FILL, size + 2 * GUARD);
        memset(m + GUARD, 0, size);
        c->mem[i] = m + GUARD;
    }
    return i;
}

unsigned fx_queue(struct fx *f, unsigned core, enum neff_queue_type type, unsigned num, int owner)
{
    static const char *const names[FX_QUEUES] = {"q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7"};
    struct fx_core *c = &f->c[core];
    unsigned i = c->sg.queue_count++;

    assert_true(i < FX_QUEUES);
    c->queues[i] = (struct neff_queue){
        .name = names[i], .type = type, .num_queues = num, .owner = owner, .semaphore = NEFF_NONE};
    c->sg.queues = c->queues;
    return i;
}

struct isa_record *fx_rec(struct fx *f, unsigned core, unsigned engine, unsigned opcode)
{
    struct fx_engine *e = &f->c[core].e[engine];
    struct isa_record *r;

    if (e->count == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 16;
        e->rec = realloc(e->rec, e->cap * sizeof(e->rec[0]));
        assert_non_null(e->rec);
    }
    r = &e->rec[e->count++];
    memset(r, 0, sizeof(*r));
    r->opcode = (uint16_t)opcode;
    r->version = ISA_VERSION;
    r->engine = (uint8_t)engine;
    return r;
}

void fx_wait(struct isa_record *r, unsigned kind, unsigned index, int32_t value)
{
    r->wait[r->nwaits++] = (struct isa_wait){
        .kind = (uint8_t)kind, .index = (uint8_t)index, .reg = ISA_NO_REG, .value = value};
}

void fx_wait_reg(struct isa_record *r, unsigned kind, unsigned index, unsigned reg)
{
    r->wait[r->nwaits++] =
        (struct isa_wait){.kind = (uint8_t)kind, .index = (uint8_t)index, .reg = (uint8_t)reg};
}

void fx_update(struct isa_record *r, unsigned kind, unsigned index, int32_t value, unsigned flags)
{
    r->update[r->nupdates++] = (struct isa_update){.kind = (uint8_t)kind,
                                                   .index = (uint8_t)index,
                                                   .reg = ISA_NO_REG,
                                                   .flags = (uint8_t)flags,
                                                   .value = value};
}

struct isa_record *fx_move(struct fx *f, unsigned core, unsigned engine, unsigned rd, int32_t imm)
{
    struct isa_record *r = fx_rec(f, core, engine, ISA_OP_REG_MOVE);

    r->body.s.rd = (uint8_t)rd;
    r->body.s.rb = ISA_NO_REG;
    r->body.s.imm = imm;
    return r;
}

struct isa_record *fx_alu(struct fx *f, unsigned core, unsigned engine, unsigned op, unsigned rd,
                          unsigned ra, unsigned rb, int32_t imm)
{
    struct isa_record *r = fx_rec(f, core, engine, ISA_OP_REG_ALU);

    r->body.s.op = (uint8_t)op;
    r->body.s.rd = (uint8_t)rd;
    r->body.s.ra = (uint8_t)ra;
    r->body.s.rb = rb < ISA_REGS ? (uint8_t)rb : ISA_NO_REG;
    r->body.s.imm = rb < ISA_REGS ? 0 : imm;
    return r;
}

struct isa_record *fx_branch(struct fx *f, unsigned core, unsigned engine, unsigned cond,
                             unsigned ra, unsigned rb, int32_t imm, uint32_t target)
{
    struct isa_record *r = fx_rec(f, core, engine, ISA_OP_BRANCH);

    r->body.s.op = (uint8_t)cond;
    r->body.s.target = target;
    if (cond == ISA_BR_ALWAYS)
        return r;
    r->body.s.ra = (uint8_t)ra;
    r->body.s.rb = rb < ISA_REGS ? (uint8_t)rb : ISA_NO_REG;
    r->body.s.imm = rb < ISA_REGS ? 0 : imm;
    return r;
}

struct isa_record *fx_trigger(struct fx *f, unsigned core, unsigned engine, int32_t id)
{
    struct isa_record *r = fx_rec(f, core, engine, ISA_OP_DMA_TRIGGER);

    r->body.s.imm = id;
    return r;
}

void fx_end(struct fx *f, unsigned core, unsigned engine)
{
    fx_rec(f, core, engine, ISA_OP_END);
}

struct isa_tensor fx_tile(unsigned mem, enum dtype t, unsigned part, unsigned nparts,
                          uint32_t offset, unsigned n)
{
    struct isa_tensor r = {.mem = (uint8_t)mem,
                           .dtype = (uint8_t)t,
                           .part = (uint8_t)part,
                           .nparts = (uint8_t)nparts,
                           .offset = offset,
                           .ndim = 1,
                           .off_reg = ISA_NO_REG};

    r.dim[0] = (struct isa_dim){1, (uint16_t)n};
    return r;
}

struct neff_access fx_access(unsigned var, uint64_t off, unsigned ndim, const int64_t *steps,
                             const uint64_t *sizes, enum dtype t)
{
    struct neff_access a = {.var = var, .ndim = (uint8_t)ndim, .dtype = (uint8_t)t, .off = off};

    memcpy(a.steps, steps, ndim * sizeof(steps[0]));
    memcpy(a.sizes, sizes, ndim * sizeof(sizes[0]));
    return a;
}

struct neff_access fx_flat(unsigned var, uint64_t off, uint64_t bytes)
{
    int64_t one = 1;

    return fx_access(var, off, 1, &one, &bytes, DT_UINT8);
}

struct neff_desc *fx_desc(struct fx *f, unsigned op, struct neff_access to,
                          const struct neff_access *from, unsigned nfrom)
{
    struct neff_desc *d = arena_calloc(&f->arena, 1, sizeof(*d));
    struct neff_access *a = arena_calloc(&f->arena, nfrom, sizeof(*a));
    float *scale = arena_calloc(&f->arena, nfrom, sizeof(*scale));

    assert_true(d != NULL && a != NULL && scale != NULL);
    memcpy(a, from, nfrom * sizeof(*a));
    for (unsigned i = 0; i < nfrom; i++)
        scale[i] = 1.0f;
    d->op = (uint8_t)op;
    d->from_count = (uint8_t)nfrom;
    d->num_tiling_dimensions = -1;
    d->to = to;
    d->from = a;
    d->scale = op == NEFF_OP_FMA ? scale : NULL;
    return d;
}

struct neff_dma_group *fx_group(struct fx *f, unsigned core, unsigned engine, uint32_t id,
                                unsigned queue, const struct neff_desc *d, unsigned ndesc)
{
    struct fx_engine *e = &f->c[core].e[engine];

    if (e->ngroups == e->cap_groups) {
        e->cap_groups = e->cap_groups ? e->cap_groups * 2 : 16;
        e->groups = realloc(e->groups, e->cap_groups * sizeof(e->groups[0]));
        assert_non_null(e->groups);
    }
    e->groups[e->ngroups] = (struct neff_dma_group){.id = id,
                                                    .queue = queue,
                                                    .instance = NEFF_NONE,
                                                    .function_start = "",
                                                    .event = NEFF_NONE,
                                                    .semaphore = NEFF_NONE,
                                                    .desc_count = ndesc,
                                                    .descs = d};
    return &e->groups[e->ngroups++];
}

NRT_STATUS fx_prepare_status(struct fx *f, struct err *err)
{
    static const char *const json[] = {"PE.json", "DVE.json", "Activation.json", "Pool.json",
                                       "SP.json"};
    NRT_STATUS st = NRT_SUCCESS;

    for (unsigned c = 0; c < f->count && st == NRT_SUCCESS; c++) {
        struct fx_core *k = &f->c[c];

        for (unsigned e = 0; e < ISA_ENGINES; e++)
            k->sg.engines[e] =
                (struct neff_engine_code){.present = k->e[e].count > 0,
                                          .json_member = json[e],
                                          .instr = (const uint8_t *)k->e[e].rec,
                                          .instr_bytes = k->e[e].count * sizeof(struct isa_record),
                                          .group_count = k->e[e].ngroups,
                                          .groups = k->e[e].groups,
                                          .debug = k->sg.engines[e].debug,
                                          .debug_count = k->sg.engines[e].debug_count};
        st = core_program_create(k->core, &k->sg, &f->opt, &k->program, err);
        if (st != NRT_SUCCESS)
            break;
        st = core_binding_create(k->program, &k->binding, err);
        for (unsigned i = 0; st == NRT_SUCCESS && i < k->sg.var_count; i++)
            if (k->mem[i] != NULL)
                st = core_binding_set(k->binding, i, k->mem[i], k->vars[i].size, err);
    }
    return st;
}

void fx_prepare(struct fx *f)
{
    struct err err = {0};

    if (fx_prepare_status(f, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
}

void fx_record_events(struct fx *f, size_t cap)
{
    free(f->ev);
    f->ev = calloc(cap, sizeof(f->ev[0]));
    assert_non_null(f->ev);
    f->events = (struct time_events){.ev = f->ev, .cap = cap};
}

static void run_make(struct fx *f, uint64_t timeout_ns)
{
    f->run.count = f->count;
    f->run.timeout_ns = timeout_ns;
    for (unsigned c = 0; c < f->count; c++) {
        f->run.program[c] = f->c[c].program;
        f->run.binding[c] = f->c[c].binding;
    }
    f->events.count = 0;
    f->events.dropped = 0;
    f->run.events = f->ev != NULL ? &f->events : NULL;
    memset(&f->report, 0xee, sizeof(f->report)); /* the run sets what it promises */
    f->text[0] = '\0';
}

static void report_text(struct fx *f)
{
    struct strbuf b = {0};

    if (f->report.end == CORE_END_DONE)
        return;
    core_report_text(&f->report, &b);
    snprintf(f->text, sizeof(f->text), "%s", b.s != NULL ? b.s : "");
    strbuf_fini(&b);
}

NRT_STATUS fx_start(struct fx *f, uint64_t timeout_ns)
{
    run_make(f, timeout_ns);
    return core_start(&f->run, &f->report);
}

NRT_STATUS fx_finish(struct fx *f)
{
    NRT_STATUS st = core_finish(f->c[0].core);

    report_text(f);
    return st;
}

NRT_STATUS fx_run(struct fx *f, uint64_t timeout_ns)
{
    uint64_t did = 0;
    NRT_STATUS st;

    if (f->budget == 0) {
        run_make(f, timeout_ns);
        st = core_run(&f->run, &f->report);
        report_text(f);
        return st;
    }
    st = fx_start(f, timeout_ns);
    if (st != NRT_SUCCESS)
        return st;
    while (core_progress(f->c[0].core, f->budget, &did) < CORE_STEP_DONE)
        assert_true(did > 0); /* nothing outside: every call moves on */
    return fx_finish(f);
}

uint8_t *fx_sbuf(struct fx *f, unsigned core, unsigned part, uint32_t off)
{
    struct kernel_core *k = core_kernel(f->c[core].core);

    return k->sbuf + part * k->sbuf_stride + off;
}

uint8_t *fx_psum(struct fx *f, unsigned core, unsigned part, uint32_t off)
{
    struct kernel_core *k = core_kernel(f->c[core].core);

    return k->psum + part * k->psum_stride + off;
}

uint32_t fx_rand(struct fx_rng *r)
{
    return (uint32_t)(draw_next(&r->s) >> 16);
}

uint64_t fx_seed(void)
{
    return seed_take(1);
}
