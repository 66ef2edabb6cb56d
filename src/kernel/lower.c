/* SPDX-License-Identifier: Apache-2.0 */
/* From record to op: one lowering function per opcode. */
#include "kernel/kernel_int.h"

#include <string.h>

static const k_lower_fn LOWER[ISA_OP_LIMIT] = {
    [ISA_OP_NC_MATMUL] = k_lower_matmul,
    [ISA_OP_NC_TRANSPOSE] = k_lower_transpose,
    [ISA_OP_TENSOR_COPY] = k_lower_tensor_copy,
    [ISA_OP_TENSOR_COPY_PREDICATED] = k_lower_copy_predicated,
    [ISA_OP_MEMSET] = k_lower_memset,
    [ISA_OP_TENSOR_TENSOR] = k_lower_tensor_tensor,
    [ISA_OP_TENSOR_SCALAR] = k_lower_tensor_scalar,
    [ISA_OP_SCALAR_TENSOR_TENSOR] = k_lower_scalar_tensor_tensor,
    [ISA_OP_ACTIVATION] = k_lower_activation,
    [ISA_OP_ACTIVATION_REDUCE] = k_lower_activation,
    [ISA_OP_RECIPROCAL] = k_lower_reciprocal,
    [ISA_OP_DROPOUT] = k_lower_dropout,
    [ISA_OP_NC_STREAM_SHUFFLE] = k_lower_shuffle,
    [ISA_OP_TENSOR_REDUCE] = k_lower_tensor_reduce,
    [ISA_OP_TENSOR_PARTITION_REDUCE] = k_lower_partition_reduce,
    [ISA_OP_TENSOR_SCALAR_REDUCE] = k_lower_scalar_reduce,
    [ISA_OP_AFFINE_SELECT] = k_lower_affine_select,
    [ISA_OP_RANGE_SELECT] = k_lower_range_select,
    [ISA_OP_SELECT_REDUCE] = k_lower_select_reduce,
    [ISA_OP_MAX8] = k_lower_max8,
    [ISA_OP_NC_FIND_INDEX8] = k_lower_find_index8,
    [ISA_OP_NC_MATCH_REPLACE8] = k_lower_match_replace8,
    [ISA_OP_NC_N_GATHER] = k_lower_n_gather,
    [ISA_OP_BN_STATS] = k_lower_bn_stats,
    [ISA_OP_BN_AGGR] = k_lower_bn_aggr,
    [ISA_OP_IOTA] = k_lower_iota,
    [ISA_OP_RNG] = k_lower_rng,
    [ISA_OP_SET_RNG_SEED] = k_lower_set_rng_seed,
    [ISA_OP_PRINT] = k_lower_print,
};

NRT_STATUS kernel_lower(const struct isa_record *records, uint32_t max, struct kernel_core *kc,
                        enum kernel_math math, struct arena *arena, struct kernel_op *ret_op,
                        struct err *err)
{
    struct k_lower l = {records, max, kc, math, arena, ret_op, err};
    unsigned opcode = records[0].opcode;

    memset(ret_op, 0, sizeof(*ret_op));
    ret_op->consumed = 1;
    if (opcode >= ISA_OP_LIMIT || LOWER[opcode] == NULL)
        return err_set(err, NRT_INVALID, "opcode 0x%02x has no kernel", opcode);
    return LOWER[opcode](&l);
}

struct k_rec *k_lower_rec(struct k_lower *l, unsigned ntiles, kernel_fn fn, NRT_STATUS *ret_st)
{
    struct k_rec *rec = NULL;

    *ret_st = k_rec_new(l->r, l->kc, l->math, ntiles, l->arena, &rec, l->err);
    if (*ret_st != NRT_SUCCESS)
        return NULL;
    l->op->fn = fn;
    l->op->priv[0] = (uint64_t)(uintptr_t)rec;
    return rec;
}

void k_offer_rows(struct k_lower *l, const struct k_rec *rec, unsigned writes)
{
    uint32_t bytes = 0;

    if (rec->dynamic || rec->nrows == 0)
        return;
    for (unsigned i = 0; i < rec->ntiles; i++) {
        const struct k_tile *t = &rec->t[i];

        if (t->n == 0)
            continue;
        if (t->part != rec->t[0].part || t->nparts != rec->nrows)
            return;
        if (t->n * t->esize > bytes)
            bytes = t->n * t->esize;
    }
    for (unsigned i = 0; i < 3; i++)
        if (rec->s[i].kind == ISA_SC_REG ||
            (rec->s[i].kind == ISA_SC_TILE && rec->s[i].part != rec->t[0].part))
            return;
    l->op->part = rec->t[0].part;
    l->op->rows = (uint8_t)rec->nrows;
    l->op->row_bytes = bytes;
    l->op->row_writes = (uint8_t)writes;
}

void k_rows_all(struct kernel_core *kc)
{
    kc->row_first = 0;
    kc->row_end = ISA_PARTITIONS;
    kc->elsewhere = NULL;
}

void kernel_run_rows(const struct kernel_op *op, struct kernel_core *kc, uint32_t first,
                     uint32_t end, const struct kernel_elsewhere *elsewhere)
{
    kc->row_first = first;
    kc->row_end = end;
    kc->elsewhere = elsewhere;
    (void)op->fn(op, kc, NULL, NULL); /* no offset register: nothing to refuse */
    k_rows_all(kc);
}

bool kernel_op_operand(const struct kernel_op *op, unsigned i, struct kernel_range *ret)
{
    const struct k_rec *rec = (const struct k_rec *)(uintptr_t)op->priv[0];

    *ret = (struct kernel_range){0};
    if (i < rec->ntiles) {
        const struct k_tile *t = &rec->t[i];

        if (t->n != 0)
            *ret = (struct kernel_range){t->mem == ISA_SBUF, t->contig,
                                         (uint32_t)((int32_t)t->offset + t->lo),
                                         (uint32_t)((int32_t)t->offset + t->hi)};
    } else if (i >= KERNEL_TILES && i < KERNEL_TILES + 3) {
        const struct k_scalar *s = &rec->s[i - KERNEL_TILES];

        if (s->kind == ISA_SC_TILE)
            *ret = (struct kernel_range){s->mem == ISA_SBUF, true, s->bits,
                                         s->bits + (uint32_t)dtype_size((enum dtype)s->dtype)};
    }
    return i < KERNEL_TILES + 3;
}

NRT_STATUS k_refuse(struct k_lower *l, const char *what, unsigned value)
{
    const struct isa_op_info *info = isa_op_info(l->r->opcode);

    return err_set(l->err, NRT_INVALID, "%s: %s %u", info != NULL ? info->name : "record", what,
                   value);
}

NRT_STATUS k_same_shape(struct k_lower *l, const struct k_rec *rec, unsigned a, unsigned b)
{
    const struct k_tile *x = &rec->t[a], *y = &rec->t[b];

    if (x->n == 0 || y->n == 0)
        return k_refuse(l, "absent operand", x->n == 0 ? a : b);
    if (x->n != y->n)
        return k_refuse(l, "elements of operand", b);
    if (x->nparts != y->nparts)
        return k_refuse(l, "partitions of operand", b);
    return NRT_SUCCESS;
}

NRT_STATUS k_bit_types(struct k_lower *l, const struct k_rec *rec, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!dtype_is_int((enum dtype)rec->t[i].dtype) || rec->t[i].esize != rec->t[0].esize)
            return k_refuse(l, "bit operator on dtype", rec->t[i].dtype);
    return NRT_SUCCESS;
}

bool k_float_op(const struct k_vec *v, unsigned op)
{
    return op < ISA_ALU_COUNT && v->bin[op] != NULL;
}
