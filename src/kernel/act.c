/* SPDX-License-Identifier: Apache-2.0 */
/* activation and activation_reduce (neuroncore.md 3.2, 3.3, 4.2). */
#include "kernel/kernel_int.h"

#include <math.h>

struct act_run {
    struct k_run r;
    float scale, bias, param; /* of this row */
    float acc;
    bool acc_nan; /* a NaN entered the sum */
};

static float scalar_or(const struct k_run *r, unsigned i, float absent)
{
    return r->rec->s[i].kind == ISA_SC_NONE ? absent : k_scalar_f32(r, i, r->k);
}

/* out = function of in * scale + bias. True if *acc became acc + the sum of out, too. */
static bool apply(const struct k_run *r, float *out, const float *in, uint32_t n, float scale,
                  float bias, float param, float *acc)
{
    const struct k_rec *rec = r->rec;

    if (rec->act == ISA_ACT_EXP && r->vec->exp_sum != NULL) {
        *acc = r->vec->exp_sum(out, in, scale, bias, n, *acc);
        return true;
    }
    if (scale == 1.0f && bias == 0.0f && rec->act != ISA_ACT_RECIPROCAL &&
        rec->act != ISA_ACT_RSQRT) {
        /* x * 1 + 0 is x but for the sign of zero, which only reciprocals show */
        r->vec->act[rec->act](out, in, param, n);
    } else {
        r->vec->affine(out, in, scale, bias, n);
        r->vec->act[rec->act](out, out, param, n);
    }
    return false;
}

static void chunk(struct act_run *a, uint32_t n)
{
    struct k_run *r = &a->r;
    const float *in = k_read(r, 1, r->k, r->pos, n, r->buf[1]);
    float *out = k_out(r, 0, r->k, r->pos, r->buf[0]), acc = a->acc;
    bool summed = apply(r, out, in, n, a->scale, a->bias, a->param, &acc);

    if (k_folds(r->rec->reduce_cmd))
        a->acc = summed ? acc : r->vec->fold[ISA_ALU_ADD](a->acc, out, n);
    if (r->kc->check_nan && !isnan(a->scale) && !isnan(a->bias)) {
        k_nan_note(r, out, &in, 1, n);
        a->acc_nan |= r->vec->has_nan(in, n);
    }
    k_write(r, 0, r->k, r->pos, n, out);
}

static void one_row(struct act_run *a)
{
    struct k_run *r = &a->r;
    const struct k_rec *rec = r->rec;
    unsigned lane = rec->t[1].part + r->k;
    float *reg = &r->kc->act_acc[lane];
    float start = *reg;

    r->kc->acc_used = true;
    a->scale = scalar_or(r, 0, 1.0f);
    a->bias = scalar_or(r, 1, 0.0f);
    a->param = scalar_or(r, 2, 0.0f);
    r->sf[0] = a->scale;
    r->sf[1] = a->bias;
    r->sf[2] = a->param;
    a->acc = k_acc_start(rec->reduce_cmd, ISA_ALU_ADD, start, 0.0f);
    a->acc_nan = isnan(a->acc) || isnan(a->scale) || isnan(a->bias);
    for (r->pos = 0; r->pos < rec->t[0].n; r->pos += r->chunk) {
        uint32_t left = rec->t[0].n - r->pos;

        chunk(a, left < r->chunk ? left : r->chunk);
    }
    if (rec->reduce_cmd != ISA_RC_IDLE)
        *reg = a->acc;
    if (rec->t[2].n != 0) {
        if (r->kc->check_nan && k_nan_in((enum dtype)rec->t[2].dtype, *reg) && !a->acc_nan)
            r->nan = true;
        k_write(r, 2, r->k, 0, 1, reg);
    }
}

static NRT_STATUS run_activation(const struct kernel_op *op, struct kernel_core *kc,
                                 const uint32_t *regs, struct err *err)
{
    struct act_run a;
    NRT_STATUS st = k_run_begin(&a.r, op, kc, regs, err);

    if (st != NRT_SUCCESS)
        return st;
    for (; a.r.k < a.r.end; a.r.k++)
        one_row(&a);
    k_run_end(&a.r);
    return NRT_SUCCESS;
}

/* Without a sum each element is on its own. */
static void ew_activation(struct k_run *r, const float *const *in, float *out, uint32_t n)
{
    float scale = r->rec->s[0].kind == ISA_SC_NONE ? 1.0f : r->sf[0], sum = 0.0f;

    apply(r, out, in[0], n, scale, r->sf[1], r->sf[2], &sum);
}

static NRT_STATUS run_elements(const struct kernel_op *op, struct kernel_core *kc,
                               const uint32_t *regs, struct err *err)
{
    struct k_run r;
    NRT_STATUS st = k_run_begin(&r, op, kc, regs, err);

    if (st != NRT_SUCCESS)
        return st;
    k_elementwise(&r, 1, 1, true, ew_activation);
    k_run_end(&r);
    return NRT_SUCCESS;
}

NRT_STATUS k_lower_activation(struct k_lower *l)
{
    NRT_STATUS st;
    struct k_rec *rec = k_lower_rec(l, 3, run_activation, &st);

    if (rec == NULL || (st = k_same_shape(l, rec, 0, 1)) != NRT_SUCCESS)
        return st;
    if (rec->act >= ISA_ACT_COUNT)
        return k_refuse(l, "activation function", rec->act);
    if (rec->reduce_cmd >= ISA_RC_COUNT)
        return k_refuse(l, "reduce_cmd", rec->reduce_cmd);
    if (rec->t[2].n != 0 && (rec->t[2].n != 1 || rec->t[2].nparts != rec->nrows))
        return k_refuse(l, "reduce_res elements", rec->t[2].n);
    if (rec->opcode == ISA_OP_ACTIVATION_REDUCE)
        rec->reduce_cmd = ISA_RC_RESET_REDUCE;
    if (rec->reduce_cmd == ISA_RC_IDLE && rec->t[2].n == 0)
        l->op->fn = run_elements;
    l->op->flops = (uint64_t)rec->t[0].n * rec->nrows * 3;
    k_offer_rows(l, rec, 5);
    return NRT_SUCCESS;
}
