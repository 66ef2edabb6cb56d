/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the isa room: the table of operand slots that the checker, the printer and the
 * assembler share. */
#ifndef ISA_ISA_INT_H
#define ISA_ISA_INT_H

#include "isa/isa.h"

enum isa_slot_kind {
    ISA_SLOT_END = 0,
    ISA_SLOT_TENSOR,  /* t[index] */
    ISA_SLOT_SCALAR,  /* s[index] */
    ISA_SLOT_ALU,     /* one byte at off: enum isa_alu */
    ISA_SLOT_ACT,     /* one byte at off: enum isa_act */
    ISA_SLOT_RC,      /* one byte at off: enum isa_reduce_cmd */
    ISA_SLOT_FLAG,    /* one byte at off: 0 or 1 */
    ISA_SLOT_U8,      /* one byte at off */
    ISA_SLOT_REVERSE, /* bit index of the byte `reverse` */
    ISA_SLOT_PATTERN, /* x.pattern */
    ISA_SLOT_MASK,    /* x.mask */
    ISA_SLOT_I32,     /* four bytes at off, signed */
    ISA_SLOT_U32      /* four bytes at off */
};

#define ISA_SF_OPT  1 /* may be absent */
#define ISA_SF_OUT  2 /* tensor: written */
#define ISA_SF_BITS 4 /* scalar: bits in dst's type, never fp32 */

struct isa_slot {
    uint8_t kind, index, flags;
    uint8_t def;  /* one-byte fields: the value that the text form may leave out */
    uint16_t off; /* in body.c */
    const char *name;
};

/* Slots of a compute record, ended by ISA_SLOT_END; NULL for other opcodes. */
const struct isa_slot *isa_op_slots(unsigned opcode);
/* Which bytes of body.c the function uses: 31 words, each byte 0 or 0xff; NULL as above. Computed
 * once per table entry at build time is not worth it: the caller keeps what it gets. */
void isa_op_used_mask(unsigned opcode, uint64_t ret_mask[31]);
unsigned isa_opcode_from_name(const char *name, size_t len); /* 0: unknown */
unsigned isa_alu_from_name(const char *name, size_t len);    /* aliases too; 0: unknown */
int isa_act_from_name(const char *name, size_t len);         /* -1: unknown */
int isa_rc_from_name(const char *name, size_t len);          /* -1: unknown */
const char *isa_rc_name(unsigned rc);
const char *isa_reg_op_name(unsigned op); /* "+" "-" ... "min" */
const char *isa_cond_name(unsigned op);   /* "<" ... ; "always" */

bool isa_alu_is_unary(unsigned op);
bool isa_alu_is_cmp(unsigned op);

/* Whether some byte of a partition is addressed twice by the static pattern. Exact for patterns of
 * at most 65536 elements. */
bool isa_tensor_overlaps(const struct isa_tensor *t);

/* Ids of a file in ascending order, each with a value: found in logarithmic time. */
struct isa_ids {
    struct isa_id {
        int64_t id;
        uint64_t value;
    } * v;
    size_t n;
};
bool isa_ids_find(const struct isa_ids *ids, int64_t id, uint64_t *ret_value);

/* Everything one record check needs; the program checks share it. */
struct isa_check {
    const struct isa_check_env *env;
    const struct isa_record *r;
    enum isa_engine engine;
    size_t record;
    size_t n_records;
    const struct diag_sink *sink;
    struct err *err;
    uint32_t sbuf_bytes;
    struct isa_ids vars, dmas, dges;
    unsigned mask_op; /* opcode whose mask is below; 0 none */
    uint64_t mask[31];
};
NRT_STATUS isa_check_fail(struct isa_check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void isa_check_warn(struct isa_check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* One operand as an engine's, or as a DMA's or sequencer's (any start partition, any overlap). */
#define ISA_CT_OUT 1
#define ISA_CT_DMA 2
NRT_STATUS isa_check_tensor(struct isa_check *c, const struct isa_tensor *t, const char *name,
                            unsigned flags);
bool isa_start_ok(unsigned part, unsigned nparts);

NRT_STATUS isa_check_compute(struct isa_check *c);
NRT_STATUS isa_check_rules(struct isa_check *c); /* rules of single functions */
NRT_STATUS isa_check_seq(struct isa_check *c);
NRT_STATUS isa_check_dyn(struct isa_check *c);

#endif
