/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the isa room: the assembler's state. One per call and physical core. */
#ifndef ISA_ASM_INT_H
#define ISA_ASM_INT_H

#include "base/mem.h"
#include "isa/asm.h"
#include "isa/isa_int.h"

enum tok_kind { TK_EOF, TK_NL, TK_IDENT, TK_INT, TK_FLOAT, TK_STR, TK_PUNCT };
enum {
    P_DOTS = 128, /* .. */
    P_ARROW,      /* -> */
    P_FROM,       /* <- */
    P_INC,
    P_DEC,
    P_ADDEQ,
    P_SUBEQ,
    P_GE,
    P_LE,
    P_EQ,
    P_NE,
    P_SHL,
    P_SAR, /* >>> */
    P_SHR,
    P_ANDAND,
    P_OROR,
    P_LEN /* +: */
};
struct tok {
    uint8_t kind, p;
    uint32_t line, len;
    const char *s;
    union {
        int64_t i;
        double f;
    } u;
};
struct toks {
    struct tok *t; /* ends with TK_EOF */
    size_t n;
};

/* A value: a number, or mul * reg + i. */
enum val_kind { VAL_INT, VAL_FLOAT, VAL_REG };
struct val {
    enum val_kind kind;
    int64_t i;
    double f;
    uint8_t reg;
    int64_t mul;
};

#define ASM_DIMS 8
struct tile {
    uint8_t mem, dtype, part, nparts;
    uint32_t off;
    unsigned nd;
    int64_t shape[ASM_DIMS];
};

/* A tensor operand while it is taken apart. Free dimensions only for tiles, slowest first. */
struct ref {
    uint8_t mem, dtype;
    bool scalar_form; /* raw form without a count: only good for [P,1] operands */
    bool bytes;       /* steps and the fastest dimension count bytes: only good in descriptors */
    bool named;
    unsigned part, nparts;
    int64_t var; /* HBM: index of the variable, -1 when only the id is known */
    uint32_t var_id;
    int64_t off; /* bytes */
    unsigned nd;
    int64_t step[ASM_DIMS], num[ASM_DIMS]; /* elements */
    int off_reg;                           /* -1 none */
    int64_t off_mul;                       /* elements */
    const struct ref *vec;                 /* vector offset of dimension 0; off_mul its factor */
    uint64_t bound_first, bound_bytes;
};

enum sym_kind {
    SYM_CONST,
    SYM_WORD,
    SYM_REG,
    SYM_SEM,
    SYM_EVENT,
    SYM_TILE,
    SYM_VAR,
    SYM_QUEUE,
    SYM_DMA,
    SYM_COLL,
    SYM_MACRO
};
struct macro {
    size_t n_params;
    struct tok *params;
    struct tok *body; /* n tokens, then TK_EOF */
    size_t n_body;
};
struct sym {
    const char *name;
    enum sym_kind kind;
    uint32_t hash;
    struct sym *chain; /* of the bucket */
    struct sym *older; /* of all symbols */
    union {
        struct val v;
        int number; /* register, semaphore, event */
        const struct tile *tile;
        size_t index; /* variable, queue, dma, collective */
        struct macro *macro;
        const char *word; /* define that is no number */
    } u;
};
#define SYM_BUCKETS 1024

struct fixup {
    enum isa_engine engine;
    uint32_t record, scope, line;
    const char *name;
};

struct eng_out {
    struct isa_record *r;
    struct isa_asm_line *l;
    size_t n, cap, lcap;
    bool used;         /* the section was entered */
    bool target_end;   /* something branches to the current end */
    const char *label; /* since the last label */
};

struct as {
    const struct isa_asm_opts *opts;
    const struct diag_sink *sink;
    struct err *err;
    struct arena *arena;
    const char *file;
    unsigned core;
    struct isa_asm_result *res;
    /* input */
    struct tok *t;
    size_t pos;
    unsigned depth;
    unsigned expansions; /* macros under way */
    uint64_t inline_bytes;
    uint64_t steps;      /* work done, against endless expansion */
    uint64_t idle, made; /* statements; records, descriptors and names that they made */
    bool *taken;         /* which of the definitions from outside a `param` has named */
    /* symbols */
    struct sym *buckets[SYM_BUCKETS];
    struct sym *newest;
    uint32_t scope, n_scopes;
    uint32_t *scope_parent;
    size_t scope_cap;
    uint64_t regs_used;
    uint8_t sem_used[ISA_SEMAPHORES / 8], event_used[ISA_EVENTS / 8];
    int64_t next_dma_id;
    uint32_t sbuf_top, psum_top;
    /* output */
    struct isa_asm_core *out;
    size_t vars_cap, queues_cap, dmas_cap, colls_cap;
    int engine; /* -1: none yet */
    struct eng_out eng[ISA_ENGINES];
    struct fixup *fix;
    size_t n_fix, fix_cap;
    struct str_map labels;
    const char *op_name;
    unsigned lnc;
};

/* asm_lex.c */
bool asm_lex(struct as *as, const char *text, size_t size, struct toks *ret);

/* asm.c */
/* The text has a `param` of this name. */
void asm_take_define(struct as *as, const char *name);
/* The message of the first error, with the line of the current token. */
void asm_note(struct as *as, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As a value false in plain sight, so that the compiler knows which results a caller can meet. */
#define asm_fail(...) (asm_note(__VA_ARGS__), false)
bool asm_nomem(struct as *as);
static inline const struct tok *asm_peek(const struct as *as)
{
    return &as->t[as->pos];
}
static inline const struct tok *asm_peek2(const struct as *as)
{
    return as->t[as->pos].kind == TK_EOF ? &as->t[as->pos] : &as->t[as->pos + 1];
}
const struct tok *asm_next(struct as *as);
bool asm_is(const struct as *as, unsigned punct);
bool asm_is_word(const struct as *as, const char *word);
bool tok_is_word(const struct tok *t, const char *word);
bool asm_take(struct as *as, unsigned punct);
bool asm_take_word(struct as *as, const char *word);
bool asm_want(struct as *as, unsigned punct);
bool asm_at_end(const struct as *as); /* of a statement */
void asm_skip_nl(struct as *as);
/* An identifier with its pastes (a#k), interned. */
bool asm_name(struct as *as, const char **ret);
bool asm_engine_tok(const struct tok *t, enum isa_engine *ret);
struct sym *asm_find(const struct as *as, const char *name);
/* Lookup of the name at the cursor (pastes allowed); the cursor stays. NULL: no such symbol. */
struct sym *asm_find_here(struct as *as);
struct sym *asm_define(struct as *as, const char *name, enum sym_kind kind);
void asm_scope_open(struct as *as, uint32_t *ret_scope, struct sym **ret_mark, uint64_t *ret_regs);
void asm_scope_close(struct as *as, uint32_t scope, struct sym *mark, uint64_t regs);
bool asm_reg_alloc(struct as *as, int *ret);
int asm_raw_reg(const char *s, size_t len); /* r0..r63; -1 */

/* asm_stmt.c: statements up to the end of the text, or to the closing brace. */
bool asm_block(struct as *as, bool nested);
/* The block at the cursor, in a scope of its own. */
bool asm_scoped_block(struct as *as);
bool asm_want_open(struct as *as);               /* a { stands at the cursor; it stays */
bool asm_find_close(struct as *as, size_t *ret); /* position behind the matching } */
bool asm_step(struct as *as);                    /* one more statement; false: too many */

/* asm_macro.c */
bool asm_macro_define(struct as *as);
bool asm_macro_call(struct as *as, const struct macro *m);

/* asm_args.c: the operands of r->opcode, a compute record. */
bool asm_compute(struct as *as, struct isa_record *r);

/* asm_expr.c */
bool asm_expr(struct as *as, struct val *ret);
/* Operators of at least this precedence only: 8 shifts, 9 sums, 10 products, 11 none. */
bool asm_expr_at(struct as *as, unsigned least, struct val *ret);
bool asm_int(struct as *as, int64_t *ret); /* an expression that is an integer */
bool asm_int_range(struct as *as, const char *what, int64_t lo, int64_t hi, int64_t *ret);
bool asm_number(struct as *as, double *ret);
bool asm_reg(struct as *as, uint8_t *ret); /* a plain register */
bool asm_dtype(struct as *as, enum dtype *ret);
bool asm_sem(struct as *as, int *ret);
/* $S[n], $E[n] or a name. */
bool asm_sem_or_event(struct as *as, bool *ret_event, int *ret);

/* asm_ref.c */
bool asm_ref_starts(struct as *as); /* a tensor operand stands at the cursor */
bool asm_ref(struct as *as, struct ref *ret);
bool asm_ref_tensor(struct as *as, const struct ref *r, struct isa_tensor *ret);
bool asm_ref_hbm(struct as *as, const struct ref *r, struct isa_hbm *ret);
bool asm_ref_side(struct as *as, const struct ref *r, struct isa_asm_side *ret);

/* asm_decl.c */
bool asm_decl_var(struct as *as);
bool asm_decl_tile(struct as *as);
bool asm_decl_queue(struct as *as);
const char *asm_word_or_string(struct as *as); /* NULL: failed */

/* asm_dma.c */
bool asm_decl_dma(struct as *as, struct isa_record *rec);

/* asm_coll.c */
bool asm_decl_coll(struct as *as);

/* asm_rec.c */
struct isa_record *asm_emit(struct as *as); /* NULL: failed */
/* wait, body and updates of one record; the engine is set. */
bool asm_record(struct as *as);
bool asm_waits(struct as *as, struct isa_record *r);
bool asm_updates(struct as *as, struct isa_record *r);
bool asm_branch_to(struct as *as, struct isa_record *r, const char *label);
bool asm_cond(struct as *as, struct isa_seq *ret, bool *ret_const, bool *ret_value);
unsigned asm_cond_not(unsigned op);

#endif
