/* SPDX-License-Identifier: Apache-2.0 */
/* Element-wise instructions that follow each other in place, as one pass: what lies between them is
 * never stored. Each element goes through the same operations, rounded the same way. */
#include "kernel/kernel_int.h"

#include <string.h>

#define PART_STAGES 2 /* of one op */

/* The stages of an element-wise record whose operands are fp32 in place, or 0. */
static unsigned stages_of(const struct k_rec *rec, struct k_stage stage[PART_STAGES])
{
    unsigned first = k_pair_index(rec->op0), second = k_pair_index(rec->op1);

    if (rec->opcode == ISA_OP_TENSOR_TENSOR) {
        stage[0] = (struct k_stage){.op = (uint8_t)first, .each = true};
        return first < K_PAIRS ? 1 : 0;
    }
    stage[0] = (struct k_stage){.op = (uint8_t)first};
    stage[1] =
        (struct k_stage){.op = (uint8_t)second, .each = rec->opcode == ISA_OP_SCALAR_TENSOR_TENSOR};
    if (rec->reverse != 0 || first == K_PAIRS)
        return 0;
    if (rec->opcode == ISA_OP_TENSOR_SCALAR && rec->op1 == ISA_ALU_NONE)
        return 1;
    return second < K_PAIRS ? 2 : 0;
}

void k_offer_join(struct k_lower *l, struct k_rec *rec)
{
    struct k_stage stage[PART_STAGES];
    bool offered = l->op->rows != 0 && !rec->copy && stages_of(rec, stage) != 0;

    for (unsigned i = 0; i < rec->ntiles; i++)
        offered = offered && rec->t[i].contig && k_is_f32(rec->t[i].dtype);
    for (unsigned i = 0; i < 3; i++)
        offered = offered && (rec->s[i].kind != ISA_SC_TILE || rec->s[i].dtype == DT_FP32);
    l->op->joins = offered;
}

static bool same_place(const struct kernel_range *a, const struct kernel_range *b)
{
    return a->sbuf == b->sbuf && a->lo == b->lo && a->hi == b->hi;
}

static bool meets(const struct kernel_range *a, const struct kernel_range *b)
{
    return a->sbuf == b->sbuf && a->lo < b->hi && b->lo < a->hi;
}

bool kernel_op_joins(const struct kernel_op *a, const struct kernel_op *b)
{
    struct kernel_range result, o;

    if (!a->joins || !b->joins || a->part != b->part || a->rows != b->rows)
        return false;
    kernel_op_operand(a, 0, &result);
    for (unsigned i = 0; kernel_op_operand(b, i, &o); i++)
        if (i < 2 ? !same_place(&o, &result) : meets(&o, &result))
            return false;
    return true;
}

/* What a stage takes, as it goes from row to row. */
struct source {
    const uint8_t *at;
    size_t step;
    float constant; /* at, where it is the same in all rows */
};

static void source_tile(struct source *s, const struct k_run *r, unsigned tile)
{
    s->at = k_row(r, tile, r->first);
    s->step = r->stride[tile];
}

static void source_scalar(struct source *s, const struct k_run *r, unsigned i)
{
    const struct k_scalar *k = &r->rec->s[i];

    if (k->kind == ISA_SC_TILE) {
        s->step = k_stride(r->kc, k->mem);
        s->at = k->row + r->first * s->step;
    } else {
        s->constant = k_scalar_f32(r, i, r->first);
        s->step = 0;
        s->at = (const uint8_t *)&s->constant;
    }
}

struct joined {
    unsigned count;
    struct k_stage stage[KERNEL_JOINED * PART_STAGES];
    struct source source[KERNEL_JOINED * PART_STAGES];
};

/* Append the stages of r's record. */
static void add_part(struct joined *j, const struct k_run *r)
{
    struct k_stage *stage = &j->stage[j->count];
    unsigned n = stages_of(r->rec, stage);

    for (unsigned i = 0; i < n; i++, j->count++)
        if (stage[i].each)
            source_tile(&j->source[j->count], r, 2);
        else
            source_scalar(&j->source[j->count], r, i);
}

static void next_row(struct joined *j)
{
    for (unsigned i = 0; i < j->count; i++) {
        struct source *s = &j->source[i];

        if (j->stage[i].each)
            j->stage[i].y = (const float *)(const void *)s->at;
        else
            memcpy(&j->stage[i].s, s->at, sizeof(j->stage[i].s));
        s->at += s->step;
    }
}

void kernel_run_rows_joined(const struct kernel_part *part, unsigned count, struct kernel_core *kc,
                            uint32_t first, uint32_t end)
{
    struct joined j = {.count = 0};
    struct source in = {0}, out = {0};
    struct k_run r;

    kc->row_first = first;
    kc->row_end = end;
    for (unsigned i = 0; i < count; i++) {
        kc->elsewhere = part[i].elsewhere;
        (void)k_run_begin(&r, part[i].op, kc, NULL, NULL); /* no offset register */
        if (i == 0)
            source_tile(&in, &r, 1);
        add_part(&j, &r);
    }
    source_tile(&out, &r, 0);
    for (uint32_t k = first; k < end; k++) {
        next_row(&j);
        r.vec->chain((float *)(void *)(uintptr_t)out.at, (const float *)(const void *)in.at,
                     j.stage, j.count, r.rec->t[0].n);
        in.at += in.step;
        out.at += out.step;
    }
    k_rows_all(kc);
}
