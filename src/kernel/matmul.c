/* SPDX-License-Identifier: Apache-2.0 */
/* nc_matmul by its definition (neuroncore.md 2.4, 4.1). */
#include "kernel/kernel_int.h"

#include <math.h>
#include <string.h>

#include "kernel/mm_plan.h"

/* stationary element (k, j, m): row k, position j * M + m of its pattern. */
struct shape {
    uint32_t k, m, n; /* rows, dst partitions, dst elements */
    uint32_t pairs;   /* 2 with double_row, else 1 */
};

static struct shape shape_of(const struct k_rec *rec)
{
    struct shape s;

    s.pairs = rec->perf_mode == 1 ? 2 : 1;
    s.k = rec->t[1].nparts;
    s.m = rec->t[1].n / s.pairs;
    s.n = rec->t[2].n / s.pairs;
    return s;
}

/* Rows of tile i as fp32, one after the other. */
static void load_rows(struct k_run *r, unsigned i, float *out)
{
    const struct k_tile *t = &r->rec->t[i];

    for (unsigned k = 0; k < t->nparts; k++) {
        const float *p = k_read(r, i, k, 0, t->n, r->buf[4]);

        memcpy(out + (size_t)k * t->n, p, t->n * sizeof(*out));
    }
}

static bool column_nan(const float *a, uint32_t rows, uint32_t width, uint32_t col)
{
    bool nan = false;

    for (uint32_t k = 0; k < rows; k++)
        nan |= isnan(a[(size_t)k * width + col]);
    return nan;
}

/* Whether row m of the result has a NaN that nothing it came from had. */
static void note_nan(struct k_run *r, const struct shape *s, const float *a, const float *b,
                     uint32_t m, const float *old, const float *out)
{
    uint32_t rows = s->k * s->pairs;

    for (uint32_t n = 0; n < s->n && !r->nan; n++)
        if (k_nan_in((enum dtype)r->rec->t[0].dtype, out[n]) && !(r->rec->acc && isnan(old[n])) &&
            !column_nan(a, rows, s->m, m) && !column_nan(b, rows, s->n, n))
            r->nan = true;
}

static NRT_STATUS run_one(const struct k_rec *rec, struct kernel_core *kc, const uint32_t *regs,
                          struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_start(&r, rec, kc, regs, err);
    struct shape s;
    float *a, *b, *sum;

    if (st != NRT_SUCCESS)
        return st;
    s = shape_of(rec);
    a = (float *)(void *)((uint8_t *)kc->scratch + K_SCRATCH_PACK);
    b = a + (size_t)ISA_PARTITIONS * rec->t[1].n;
    sum = r.buf[0];
    load_rows(&r, 1, a);
    load_rows(&r, 2, b);
    for (uint32_t m = 0; m < s.m; m++) {
        const float *old = NULL, *out = sum;

        memset(sum, 0, s.n * sizeof(*sum));
        for (uint32_t k = 0; k < s.k * s.pairs; k++)
            r.vec->fma(sum, a[(size_t)k * s.m + m], b + (size_t)k * s.n, s.n);
        if (rec->acc) {
            old = k_read(&r, 0, m, 0, s.n, r.buf[1]);
            r.vec->bin[ISA_ALU_ADD](r.buf[2], old, sum, s.n);
            out = r.buf[2];
        }
        if (kc->check_nan)
            note_nan(&r, &s, a, b, m, old, out);
        k_write(&r, 0, m, 0, s.n, out);
    }
    k_run_end(&r);
    return NRT_SUCCESS;
}

NRT_STATUS k_run_matmul(const struct kernel_op *op, struct kernel_core *kc, const uint32_t *regs,
                        struct err *err)
{
    const struct k_rec *rec = (const struct k_rec *)(uintptr_t)op->priv[0];
    NRT_STATUS st = NRT_SUCCESS;

    for (; rec != NULL && st == NRT_SUCCESS; rec = rec->next)
        st = run_one(rec, kc, regs, err);
    return st;
}

static NRT_STATUS check(struct k_lower *l, struct k_rec *rec)
{
    struct shape s;

    for (unsigned i = 0; i < 3; i++)
        if (rec->t[i].n == 0)
            return k_refuse(l, "absent operand", i);
    if (rec->transpose)
        return k_refuse(l, "is_transpose", rec->transpose);
    s = shape_of(rec);
    if (rec->t[1].nparts != rec->t[2].nparts)
        return k_refuse(l, "partitions of operand", 2);
    if (rec->t[1].n % s.pairs != 0 || s.m > ISA_PARTITIONS || s.m != rec->t[0].nparts)
        return k_refuse(l, "elements of operand", 1);
    if (rec->t[2].n % s.pairs != 0 || s.n != rec->t[0].n || s.n > 8192 / s.pairs)
        return k_refuse(l, "elements of operand", 2);
    rec->nrows = s.m;
    rec->mm = k_mm_choose(rec, l->math);
    l->op->flops += 2ull * s.m * s.n * s.k * s.pairs;
    return NRT_SUCCESS;
}

/* Whether record i of the run may join the op of the ones before it. */
static bool joins(const struct isa_record *r, uint32_t i)
{
    return r[i].opcode == ISA_OP_NC_MATMUL && r[i].engine == r[0].engine && r[i].nwaits == 0 &&
           r[i - 1].nupdates == 0 && !r[i].body.c.transpose;
}

/* The records that the op of `first` covers too, chained to it. */
static void chain(struct k_lower *l, struct k_rec *first)
{
    struct k_rec *last = first;

    /* Offsets from registers stay alone: an error must leave what comes after it undone. */
    for (uint32_t i = 1; i < l->max && i < MM_RECORDS && !first->dynamic && joins(l->r, i); i++) {
        struct k_rec *next = NULL;
        uint64_t flops = l->op->flops;
        struct err dropped = {0}; /* the record will be lowered, and refused, on its own */
        struct k_lower one = *l;

        one.err = &dropped;
        if (k_rec_new(l->r + i, l->kc, l->math, 3, l->arena, &next, &dropped) != NRT_SUCCESS ||
            next->dynamic || check(&one, next) != NRT_SUCCESS) {
            l->op->flops = flops;
            break;
        }
        last->next = next;
        last = next;
        l->op->consumed++;
    }
}

NRT_STATUS k_lower_matmul(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 3, k_run_matmul, &st);
    const struct mm_plan *plan;

    if (rec == NULL || (st = check(l, rec)) != NRT_SUCCESS)
        return st;
    chain(l, rec);
    if (rec->mm == NULL)
        return NRT_SUCCESS;
    plan = mm_plan_make(rec, l->arena);
    if (plan == NULL)
        return err_set(l->err, NRT_RESOURCE, "out of memory for instructions");
    l->op->fn = k_run_matmul_fast;
    l->op->priv[1] = (uint64_t)(uintptr_t)plan;
    return NRT_SUCCESS;
}
