/* SPDX-License-Identifier: Apache-2.0 */
/* What a record and a transfer cost. The formulas and conditions are data/isa_costs.json, turned
 * into the functions of costs.inc at build; here are the facts of a record that they ask for. */
#include "time/time.h"

#include <math.h>
#include <string.h>

/* The variables and conditions of the file, for one record. dtype fields are sets: bit per enum
 * dtype. */
struct cost_facts {
    double N, N_out, M, K, P, F, n, e, num_valid, dtype_size;
    uint64_t in_dtype, out_dtype, all_dtype, data_dtype, operand1_dtype;
    unsigned op0, op1, engine, psum_inputs, perf_mode, dve_mode;
    bool contiguous, is_transpose, onezero, dtype_16bit, dynamic_offset, value_zero, n_even,
        reduce_res;
};

struct cost_entry {
    int8_t clock; /* enum isa_engine, -1: the executing engine */
    bool (*when)(const struct cost_facts *f);
    double (*expr)(const struct cost_facts *f); /* NULL: unpublished */
    uint8_t gens;
    bool adds;
};

struct cost_gen {
    double clock_ghz[ISA_ENGINES];
    double dma_bytes_per_ns, dma_start_ns, dma_hwdge_ns;
    double dma_efficiency[4]; /* by enum time_dma_kind */
    unsigned dge_blocks;
};

#include "costs.inc"

#define BIT(t)     (UINT64_C(1) << (t))
#define MASK_16BIT (BIT(DT_BF16) | BIT(DT_FP16))

static const struct cost_gen *gen_of(enum isa_gen gen)
{
    return &cost_gens[gen >= ISA_V2 && gen <= ISA_V4 ? gen - ISA_V2 : 0];
}

double time_clock_ghz(enum isa_gen gen, unsigned engine)
{
    return gen_of(gen)->clock_ghz[engine < ISA_ENGINES ? engine : ISA_SP];
}

static bool tile_contiguous(const struct isa_tensor *t)
{
    int64_t step = 1;

    for (unsigned i = 0; i < t->ndim; i++) {
        if (t->dim[i].num != 1 && t->dim[i].step != step)
            return false;
        step *= t->dim[i].num;
    }
    return true;
}

static bool innermost_contiguous(const struct isa_tensor *t)
{
    return t->dim[0].num == 1 || t->dim[0].step == 1;
}

/* DVE performance mode (the file's table dve_performance_modes): 1, 2 or 4. */
static unsigned dve_mode(const struct isa_record *r, enum isa_gen gen, const struct cost_facts *f)
{
    const struct isa_tensor *t = r->body.c.t;

    if (gen < ISA_V3 || r->engine != ISA_DVE || !f->dtype_16bit)
        return 1;
    if (r->opcode == ISA_OP_TENSOR_TENSOR)
        return t[1].mem == ISA_SBUF && t[2].mem == ISA_SBUF ? 2 : 1;
    if (r->opcode != ISA_OP_TENSOR_COPY && r->opcode != ISA_OP_TENSOR_SCALAR)
        return 1;
    bool inner = innermost_contiguous(&t[0]) && innermost_contiguous(&t[1]);

    if (t[0].mem == ISA_SBUF && t[1].mem == ISA_SBUF)
        return inner ? 4 : 2;
    return inner && (t[0].mem == ISA_SBUF || t[1].mem == ISA_SBUF) ? 2 : 1;
}

static uint64_t dtype_bit(const struct isa_tensor *t)
{
    return t->mem != ISA_MEM_NONE ? BIT(t->dtype) : 0;
}

/* Of two PE inputs the dtype that takes longer: fp32 before the narrow ones. */
static uint64_t pe_dtype(const struct isa_tensor *a, const struct isa_tensor *b)
{
    if (a->dtype == DT_FP32R || b->dtype == DT_FP32R)
        return BIT(DT_FP32R);
    if (a->dtype == DT_FP32 || b->dtype == DT_FP32)
        return BIT(DT_FP32);
    return BIT(b->dtype);
}

static void gather_facts(const struct isa_record *r, enum isa_gen gen, struct cost_facts *f)
{
    const struct isa_compute *c = &r->body.c;
    const struct isa_op_info *info = isa_op_info(r->opcode);
    const struct isa_tensor *in = c->t[1].mem != ISA_MEM_NONE ? &c->t[1] : &c->t[0];
    uint64_t all = 0;

    memset(f, 0, sizeof(*f));
    f->engine = r->engine;
    f->op0 = c->op0;
    f->op1 = c->op1;
    f->contiguous = true;
    for (unsigned i = 0; i < 5; i++) {
        if (c->t[i].mem == ISA_MEM_NONE)
            continue;
        all |= BIT(c->t[i].dtype);
        f->dynamic_offset |= c->t[i].off_reg != ISA_NO_REG;
        if (i > 0 && info != NULL && (info->reads >> i & 1) != 0)
            f->contiguous &= tile_contiguous(&c->t[i]);
    }
    f->all_dtype = all;
    f->dtype_16bit = (all & ~MASK_16BIT) == 0;
    f->in_dtype = f->data_dtype = dtype_bit(in);
    f->operand1_dtype = dtype_bit(&c->t[2]);
    f->out_dtype = dtype_bit(&c->t[0]);
    f->N = (double)isa_tensor_count(in);
    f->N_out = c->t[0].mem != ISA_MEM_NONE ? (double)isa_tensor_count(&c->t[0]) : 0;
    f->F = f->N;
    f->P = in->nparts;
    f->dtype_size = (double)dtype_size((enum dtype)in->dtype);
    f->psum_inputs = (c->t[1].mem == ISA_PSUM) + (c->t[2].mem == ISA_PSUM);
    f->value_zero = c->s[0].v == 0;
    f->e = c->x.v.n;
    f->num_valid = f->n = c->x.v.count;
    f->K = c->x.v.n;
    if (r->opcode == ISA_OP_NC_MATMUL || r->opcode == ISA_OP_NC_MATMUL_MX) {
        f->M = f->N;
        f->N = (double)isa_tensor_count(&c->t[2]);
        f->K = in->nparts;
        f->in_dtype = pe_dtype(&c->t[1], &c->t[2]);
        f->perf_mode = c->perf_mode;
        f->is_transpose = c->transpose != 0;
    }
    switch (r->opcode) { /* where reduce_res stands */
    case ISA_OP_ACTIVATION:
    case ISA_OP_ACTIVATION_REDUCE:
    case ISA_OP_TENSOR_SCALAR_REDUCE:
    case ISA_OP_RANGE_SELECT:
        f->reduce_res = c->t[2].mem != ISA_MEM_NONE;
        break;
    case ISA_OP_SELECT_REDUCE:
        f->reduce_res = c->t[3].mem != ISA_MEM_NONE;
        break;
    default:
        break;
    }
    f->n_even = ((uint64_t)f->N & 1) == 0;
    f->dve_mode = dve_mode(r, gen, f);
}

static uint32_t cycles_ps(double cycles, double ghz)
{
    double ps = ceil(cycles) * 1000.0 / ghz;

    return ps < (double)UINT32_MAX ? (uint32_t)llround(ps) : UINT32_MAX;
}

/* Sequencer records, and what nothing is published for. */
static struct time_cost unpublished(const struct isa_record *r, enum isa_gen gen, bool compute,
                                    double n)
{
    double cycles = PAR_UNPUBLISHED_ISSUE, ghz = time_clock_ghz(gen, ISA_ACT);

    if (compute) {
        ghz = time_clock_ghz(gen, r->engine);
        if (r->engine == ISA_POOL)
            cycles = PAR_GPSIMD_START + n;
    }
    return (struct time_cost){.ps = cycles_ps(cycles, ghz), .guess = true};
}

struct time_cost time_cost_record(const struct isa_record *r, enum isa_gen gen)
{
    const struct isa_op_info *info = isa_op_info(r->opcode);
    const struct cost_entry *base = NULL;
    struct time_cost ret;
    struct cost_facts f;
    double ns = 0, small;

    if (info == NULL || info->format != ISA_FMT_COMPUTE)
        return unpublished(r, gen, false, 0);
    gather_facts(r, gen, &f);
    for (unsigned i = 0; i < cost_index[r->opcode][1]; i++) {
        const struct cost_entry *c = &cost_entries[cost_index[r->opcode][0] + i];

        if (!(c->gens >> (gen - ISA_V2) & 1) || (!c->adds && base != NULL) || !c->when(&f))
            continue;
        if (!c->adds)
            base = c;
        if (c->expr != NULL)
            ns += ceil(c->expr(&f)) /
                  time_clock_ghz(gen, c->clock >= 0 ? (unsigned)c->clock : r->engine);
    }
    if (base == NULL || base->expr == NULL)
        ret = unpublished(r, gen, true, f.N);
    else
        ret = (struct time_cost){.ps = cycles_ps(ns * 1000, 1000)};
    if (r->engine == ISA_DVE || r->engine == ISA_ACT) {
        small = PAR_SMALL_OR_DEPENDENT * 1000.0 / time_clock_ghz(gen, r->engine);
        if (f.N < ISA_PARTITIONS)
            ret.ps += (uint32_t)llround(small);
        else
            ret.dependent_ps = (uint32_t)llround(small);
    }
    return ret;
}

static bool overlap(const struct isa_tensor *a, const struct isa_tensor *b)
{
    int64_t alo, ahi, blo, bhi;

    if (a->mem == ISA_MEM_NONE || a->mem != b->mem || a->part >= b->part + b->nparts ||
        b->part >= a->part + a->nparts)
        return false;
    if (a->off_reg != ISA_NO_REG || b->off_reg != ISA_NO_REG)
        return true;
    isa_tensor_extent(a, &alo, &ahi);
    isa_tensor_extent(b, &blo, &bhi);
    return alo < bhi && blo < ahi;
}

/* A [P,1] operand as a tensor. */
static struct isa_tensor scalar_tile(const struct isa_scalar *s, unsigned nparts)
{
    struct isa_tensor t = {.mem = s->mem,
                           .dtype = s->dtype,
                           .part = s->part,
                           .nparts = (uint8_t)nparts,
                           .offset = s->v,
                           .ndim = 1,
                           .off_reg = ISA_NO_REG};

    t.dim[0] = (struct isa_dim){1, 1};
    return t;
}

bool time_record_dependent(const struct isa_record *prev, const struct isa_record *next)
{
    const struct isa_op_info *pi = isa_op_info(prev->opcode), *ni = isa_op_info(next->opcode);
    unsigned w, rd;

    if (pi == NULL || ni == NULL || pi->format != ISA_FMT_COMPUTE || ni->format != ISA_FMT_COMPUTE)
        return false;
    w = isa_writes(prev);
    rd = isa_reads(next);
    for (unsigned i = 0; i < 5; i++) {
        const struct isa_tensor *out = &prev->body.c.t[i];

        if (!(w >> i & 1))
            continue;
        for (unsigned k = 0; k < 5; k++)
            if ((rd >> k & 1) != 0 && overlap(out, &next->body.c.t[k]))
                return true;
        for (unsigned k = 0; k < 3; k++) {
            const struct isa_scalar *s = &next->body.c.s[k];
            struct isa_tensor t;

            if (s->kind != ISA_SC_TILE)
                continue;
            t = scalar_tile(s, next->body.c.t[0].nparts);
            if (overlap(out, &t))
                return true;
        }
    }
    return false;
}

uint64_t time_dma_ps(enum isa_gen gen, enum time_dma_kind kind, uint64_t bytes)
{
    const struct cost_gen *g = gen_of(gen);
    double ps = (double)bytes * 1000.0 / (g->dma_bytes_per_ns * g->dma_efficiency[kind & 3]);

    return ps < 0x1p64 ? (uint64_t)ps : UINT64_MAX;
}

uint64_t time_dma_start_ps(enum isa_gen gen)
{
    return (uint64_t)(gen_of(gen)->dma_start_ns * 1000);
}

uint64_t time_dma_hwdge_ps(enum isa_gen gen)
{
    return (uint64_t)(gen_of(gen)->dma_hwdge_ns * 1000);
}

unsigned time_dge_blocks(enum isa_gen gen)
{
    return gen_of(gen)->dge_blocks;
}
