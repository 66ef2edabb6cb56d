/* SPDX-License-Identifier: Apache-2.0 */
/* Statements: directives, names, blocks, loops, macros. */
#include "isa/asm_int.h"

#include <stdio.h>
#include <string.h>

#define IDLE_PER_MADE 256

/* Statements that a text may unroll to in all. */
static uint64_t steps_most(const struct as *as)
{
    return as->opts->max_records ? (uint64_t)as->opts->max_records * 16 + 100000
                                 : (uint64_t)64 << 20;
}

static bool too_many_steps(struct as *as)
{
    return asm_fail(as, "the text unrolls to too many statements");
}

/* Statements that make nothing may be many only beside those that do, so that a text without an end
 * is refused after a moment. */
bool asm_step(struct as *as)
{
    return (++as->steps <= steps_most(as) &&
            ++as->idle <= ((uint64_t)1 << 20) + as->made * IDLE_PER_MADE) ||
           too_many_steps(as);
}

/* ---- directives ---- */

static bool directive_arch(struct as *as)
{
    static const char *const gens[] = {[ISA_V2] = "v2", [ISA_V3] = "v3", [ISA_V4] = "v4"};
    const struct tok *t = asm_next(as);
    const struct isa_arch *arch = t->kind == TK_IDENT ? isa_arch_find(t->s, t->len) : NULL;

    if (arch) {
        as->res->arch = arch->name;
        as->res->gen = arch->gen;
        return true;
    }
    for (enum isa_gen g = ISA_V2; g <= ISA_V4; g++)
        if (tok_is_word(t, gens[g])) {
            as->res->arch = NULL;
            as->res->gen = g;
            return true;
        }
    return asm_fail(as, ".arch is v2, v3, v4, trn1, inf2, trn2 or trn3");
}

static bool text_or_word(struct as *as, const char **ret)
{
    const struct tok *t = asm_next(as);

    if (t->kind != TK_STR && t->kind != TK_IDENT)
        return asm_fail(as, "a word or string is expected");
    *ret = t->len ? arena_strndup(as->arena, t->s, t->len) : NULL;
    return *ret || !t->len || asm_nomem(as);
}

static bool directive(struct as *as)
{
    const struct tok *t = asm_next(as);
    int64_t n;

    if (tok_is_word(t, "arch"))
        return directive_arch(as);
    if (tok_is_word(t, "name"))
        return text_or_word(as, &as->res->name);
    if (tok_is_word(t, "op"))
        return text_or_word(as, &as->op_name);
    if (tok_is_word(t, "lnc")) {
        if (!asm_int_range(as, ".lnc", 1, 2, &n))
            return false;
        as->lnc = (unsigned)n;
        return true;
    }
    return asm_fail(as, "there is no directive .%.*s", t->kind == TK_IDENT ? (int)t->len : 0, t->s);
}

/* ---- names ---- */

/* The name of a data type, or of a constant that is one, and nothing behind it. */
static bool dtype_word(struct as *as)
{
    const struct tok *t = asm_peek(as), *t2 = asm_peek2(as);
    const struct sym *s = asm_find_here(as);
    char buf[48];

    if (t->kind != TK_IDENT || t2->kind == TK_PUNCT)
        return false;
    if (s || t->len >= sizeof(buf))
        return s && s->kind == SYM_WORD;
    memcpy(buf, t->s, t->len);
    buf[t->len] = 0;
    return dtype_from_name(buf) != DT_INVALID;
}

static bool decl_const(struct as *as, bool param)
{
    const char *name;
    struct sym *s;
    struct val v;
    enum dtype t = DT_INVALID;
    bool word;

    if (!asm_name(as, &name) || !asm_want(as, '='))
        return false;
    word = dtype_word(as);
    if (word ? !asm_dtype(as, &t) : !asm_expr(as, &v))
        return false;
    if (!word && v.kind == VAL_REG)
        return asm_fail(as, "a register is no constant");
    s = asm_find(as, name);
    if (param)
        asm_take_define(as, name);
    if (param && s && (s->kind == SYM_CONST || s->kind == SYM_WORD))
        return true; /* defined from outside */
    if (s && s->kind != SYM_CONST && s->kind != SYM_WORD)
        return asm_fail(as, "%s is defined already", name);
    s = asm_define(as, name, SYM_CONST);
    if (!s)
        return false;
    if (word) {
        s->kind = SYM_WORD;
        s->u.word = dtype_name(t);
    } else {
        s->u.v = v;
    }
    return true;
}

static bool decl_numbers(struct as *as, enum sym_kind kind)
{
    uint8_t *used = kind == SYM_SEM ? as->sem_used : as->event_used;

    do {
        const char *name;
        struct sym *s;
        int64_t n = 0;

        if (!asm_name(as, &name))
            return false;
        if (asm_take(as, '=')) {
            if (!asm_int_range(as, "number", 0, 255, &n))
                return false;
        } else {
            while (n < 256 && (used[n / 8] >> n % 8 & 1))
                n++;
            if (n == 256)
                return asm_fail(as, "all 256 numbers are named");
        }
        used[n / 8] |= (uint8_t)(1 << n % 8);
        s = asm_define(as, name, kind);
        if (!s)
            return false;
        s->u.number = (int)n;
    } while (asm_take(as, ','));
    return true;
}

static bool decl_reg(struct as *as)
{
    do {
        const char *name;
        struct sym *s;
        uint8_t given;
        int n;

        if (!asm_name(as, &name))
            return false;
        if (asm_take(as, '=')) {
            if (!asm_reg(as, &given))
                return false;
            n = given;
            as->regs_used |= 1ull << n;
        } else if (!asm_reg_alloc(as, &n)) {
            return false;
        }
        s = asm_define(as, name, SYM_REG);
        if (!s)
            return false;
        s->u.number = n;
    } while (asm_take(as, ','));
    return true;
}

/* ---- blocks ---- */

/* The cursor stands at {; ret the position behind the matching }. */
bool asm_find_close(struct as *as, size_t *ret)
{
    size_t pos = as->pos + 1;
    unsigned nest = 1;

    for (; as->t[pos].kind != TK_EOF; pos++) {
        if (as->t[pos].kind != TK_PUNCT)
            continue;
        if (as->t[pos].p == '{')
            nest++;
        else if (as->t[pos].p == '}' && --nest == 0) {
            *ret = pos + 1;
            return true;
        }
    }
    return asm_fail(as, "the block does not end");
}

bool asm_want_open(struct as *as)
{
    return asm_is(as, '{') || asm_fail(as, "'{' is expected");
}

/* The block at the cursor, in a scope of its own. */
bool asm_scoped_block(struct as *as)
{
    uint32_t scope;
    struct sym *mark;
    uint64_t regs;
    bool ok;

    if (!asm_want(as, '{'))
        return false;
    if (as->depth >= 100)
        return asm_fail(as, "nested too deeply");
    as->depth++;
    asm_scope_open(as, &scope, &mark, &regs);
    ok = as->err->status == 0 && asm_block(as, true);
    asm_scope_close(as, scope, mark, regs);
    as->depth--;
    return ok;
}

static bool repeat(struct as *as)
{
    const char *name;
    int64_t a, b, by = 1;
    size_t open, close;

    if (!asm_name(as, &name) || !asm_take_word(as, "in"))
        return asm_fail(as, "repeat NAME in FIRST..END is expected");
    if (!asm_int(as, &a) || !asm_want(as, P_DOTS) || !asm_int(as, &b))
        return false;
    if (asm_take_word(as, "step") && !asm_int_range(as, "step", 1, INT32_MAX, &by))
        return false;
    if (!asm_want_open(as) || !asm_find_close(as, &close))
        return false;
    if (a < b && ((uint64_t)b - (uint64_t)a - 1) / (uint64_t)by >= steps_most(as) - as->steps)
        return too_many_steps(as);
    open = as->pos;
    for (int64_t i = a; i < b; i += by) {
        uint32_t scope;
        struct sym *mark, *s;
        uint64_t regs;
        bool ok;

        as->pos = open;
        if (!asm_step(as))
            return false;
        asm_scope_open(as, &scope, &mark, &regs);
        s = as->err->status ? NULL : asm_define(as, name, SYM_CONST);
        if (s)
            s->u.v = (struct val){.kind = VAL_INT, .i = i};
        ok = s && asm_scoped_block(as);
        asm_scope_close(as, scope, mark, regs);
        if (!ok)
            return false;
        if (i > INT64_MAX - by)
            break;
    }
    as->pos = close;
    return true;
}

/* ---- control flow over registers ---- */

static struct isa_record *emit_branch(struct as *as, unsigned op)
{
    struct isa_record *r = asm_emit(as);

    if (r) {
        r->opcode = ISA_OP_BRANCH;
        r->body.s.op = (uint8_t)op;
    }
    return r;
}

static void set_target(struct as *as, int engine, size_t record)
{
    as->eng[engine].r[record].body.s.target = (uint32_t)as->eng[engine].n;
    as->eng[engine].target_end = true;
}

static bool if_else(struct as *as)
{
    struct isa_seq cond;
    bool is_const, value;
    int engine = as->engine;
    size_t close, at = 0, over = 0;
    struct isa_record *r;

    if (!asm_cond(as, &cond, &is_const, &value))
        return false;
    if (!asm_want_open(as) || !asm_find_close(as, &close))
        return false;
    if (is_const) {
        if (value ? !asm_scoped_block(as) : (as->pos = close, false))
            return false;
    } else {
        r = emit_branch(as, asm_cond_not(cond.op));
        if (!r)
            return false;
        cond.op = r->body.s.op;
        r->body.s = cond;
        at = as->eng[engine].n - 1;
        if (!asm_scoped_block(as))
            return false;
        as->engine = engine;
    }
    if (!asm_is_word(as, "else")) {
        if (!is_const)
            set_target(as, engine, at);
        return true;
    }
    asm_next(as);
    if (!is_const) {
        if (!emit_branch(as, ISA_BR_ALWAYS))
            return false;
        over = as->eng[engine].n - 1;
        set_target(as, engine, at);
    }
    if (asm_is_word(as, "if")) {
        if (is_const && value) { /* skip the chain */
            while (!asm_is(as, '{') && asm_peek(as)->kind != TK_EOF)
                asm_next(as);
            for (;;) {
                if (!asm_want_open(as) || !asm_find_close(as, &as->pos))
                    return false;
                if (!asm_take_word(as, "else"))
                    return true;
                while (!asm_is(as, '{') && asm_peek(as)->kind != TK_EOF)
                    asm_next(as);
            }
        }
        asm_next(as);
        if (as->depth >= 100)
            return asm_fail(as, "nested too deeply");
        as->depth++;
        if (!if_else(as))
            return false;
        as->depth--;
    } else {
        if (!asm_want_open(as) || !asm_find_close(as, &close))
            return false;
        if (is_const && value)
            as->pos = close;
        else if (!asm_scoped_block(as))
            return false;
    }
    if (!is_const) {
        as->engine = engine;
        set_target(as, engine, over);
    }
    return true;
}

struct loop {
    bool on[ISA_ENGINES];
    size_t top[ISA_ENGINES], skip[ISA_ENGINES];
};

/* [on engine {, engine}]: default the current one. */
static bool loop_engines(struct as *as, struct loop *l)
{
    enum isa_engine e;

    memset(l, 0, sizeof(*l));
    if (!asm_take_word(as, "on")) {
        if (as->engine < 0)
            return asm_fail(as, "a loop outside an engine's section says on ENGINE, ...");
        l->on[as->engine] = true;
        return true;
    }
    do {
        if (!asm_engine_tok(asm_next(as), &e))
            return asm_fail(as, "an engine is expected");
        l->on[e] = true;
    } while (asm_take(as, ','));
    return true;
}

static bool loop_bound(struct as *as, struct val *v)
{
    if (!asm_expr_at(as, 8, v))
        return false;
    if (v->kind == VAL_FLOAT || (v->kind == VAL_REG && (v->i || v->mul != 1)) ||
        (v->kind == VAL_INT && (v->i < INT32_MIN || v->i > INT32_MAX)))
        return asm_fail(as, "a bound is a 32-bit integer or a register");
    return true;
}

static void put_operand(struct isa_seq *s, const struct val *v)
{
    s->rb = v->kind == VAL_REG ? v->reg : ISA_NO_REG;
    s->imm = v->kind == VAL_REG ? 0 : (int32_t)v->i;
}

/* A branch on a register compared with b; NULL with the error noted. */
static struct isa_record *emit_compare(struct as *as, unsigned op, uint8_t reg, const struct val *b)
{
    struct isa_record *r = emit_branch(as, op);

    if (r) {
        r->body.s.ra = reg;
        put_operand(&r->body.s, b);
    }
    return r;
}

static bool for_head(struct as *as, struct loop *l, uint8_t reg, const struct val *a,
                     const struct val *b)
{
    bool sure = a->kind == VAL_INT && b->kind == VAL_INT && a->i < b->i;

    for (int e = 0; e < ISA_ENGINES; e++) {
        struct isa_record *r;

        if (!l->on[e])
            continue;
        as->engine = e;
        r = asm_emit(as);
        if (!r)
            return false;
        r->opcode = ISA_OP_REG_MOVE;
        r->body.s.rd = reg;
        put_operand(&r->body.s, a);
        if (!sure) {
            if (!emit_compare(as, ISA_BR_GE, reg, b))
                return false;
            l->skip[e] = as->eng[e].n; /* its number plus 1 */
        }
        l->top[e] = as->eng[e].n;
    }
    return true;
}

static bool for_tail(struct as *as, struct loop *l, uint8_t reg, int64_t by, const struct val *b)
{
    for (int e = 0; e < ISA_ENGINES; e++) {
        struct isa_record *r;

        if (!l->on[e])
            continue;
        as->engine = e;
        r = asm_emit(as);
        if (!r)
            return false;
        r->opcode = ISA_OP_REG_ALU;
        r->body.s = (struct isa_seq){
            .op = ISA_REG_ADD, .rd = reg, .ra = reg, .rb = ISA_NO_REG, .imm = (int32_t)by};
        r = emit_compare(as, ISA_BR_LT, reg, b);
        if (!r)
            return false;
        r->body.s.target = (uint32_t)l->top[e];
        if (l->skip[e])
            set_target(as, e, l->skip[e] - 1);
    }
    return true;
}

static bool for_loop(struct as *as)
{
    uint32_t scope;
    struct sym *mark, *s;
    uint64_t regs;
    struct val a, b;
    struct loop l;
    const char *name;
    int64_t by = 1;
    int reg, engine = as->engine;
    bool ok;

    if (!asm_name(as, &name) || !asm_take_word(as, "in"))
        return asm_fail(as, "for NAME in FIRST..END is expected");
    if (!loop_bound(as, &a) || !asm_want(as, P_DOTS) || !loop_bound(as, &b))
        return false;
    if (asm_take_word(as, "step") && !asm_int_range(as, "step", 1, INT32_MAX, &by))
        return false;
    if (!loop_engines(as, &l))
        return false;
    asm_scope_open(as, &scope, &mark, &regs);
    ok = as->err->status == 0 && asm_reg_alloc(as, &reg) && (s = asm_define(as, name, SYM_REG));
    if (ok) {
        s->u.number = reg;
        ok = for_head(as, &l, (uint8_t)reg, &a, &b);
        as->engine = engine;
        ok = ok && asm_scoped_block(as) && for_tail(as, &l, (uint8_t)reg, by, &b);
    }
    as->engine = engine;
    asm_scope_close(as, scope, mark, regs);
    return ok;
}

static bool while_loop(struct as *as)
{
    struct isa_seq cond;
    bool is_const, value, ok = true;
    struct loop l;
    int engine = as->engine;

    if (!asm_cond(as, &cond, &is_const, &value) || !loop_engines(as, &l))
        return false;
    if (is_const && !value)
        return asm_want_open(as) && asm_find_close(as, &as->pos);
    for (int e = 0; e < ISA_ENGINES && ok; e++) {
        struct isa_record *r;

        if (!l.on[e])
            continue;
        as->engine = e;
        l.top[e] = as->eng[e].n;
        if (is_const) /* for ever */
            continue;
        r = emit_branch(as, asm_cond_not(cond.op));
        ok = r != NULL;
        if (ok) {
            unsigned op = r->body.s.op;

            r->body.s = cond;
            r->body.s.op = (uint8_t)op;
            l.skip[e] = as->eng[e].n;
        }
    }
    as->engine = engine;
    ok = ok && asm_scoped_block(as);
    for (int e = 0; e < ISA_ENGINES && ok; e++) {
        struct isa_record *r;

        if (!l.on[e])
            continue;
        as->engine = e;
        r = emit_branch(as, ISA_BR_ALWAYS);
        ok = r != NULL;
        if (ok)
            r->body.s.target = (uint32_t)l.top[e];
        if (ok && l.skip[e])
            set_target(as, e, l.skip[e] - 1);
    }
    as->engine = engine;
    return ok;
}

/* ---- the statement ---- */

static bool define_label(struct as *as)
{
    struct eng_out *e;
    const char *name;
    char key[300];
    bool existed;

    if (!asm_name(as, &name) || !asm_want(as, ':'))
        return false;
    if (as->engine < 0)
        return asm_fail(as, "a label outside an engine's section");
    e = &as->eng[as->engine];
    snprintf(key, sizeof(key), "%d:%u:%s", as->engine, as->scope, name);
    if (!str_map_put(&as->labels, key, e->n, &existed))
        return asm_nomem(as);
    if (existed)
        return asm_fail(as, "label %s is defined already", name);
    e->label = name;
    e->target_end = true;
    return true;
}

/* Behind the name at the cursor and its pastes. */
static const struct tok *after_name(const struct as *as)
{
    const struct tok *t = asm_peek2(as);
    unsigned nest = 0;

    while (t->kind == TK_PUNCT && t->p == '#') {
        t++;
        do {
            if (t->kind == TK_EOF)
                return t;
            if (t->kind == TK_PUNCT && t->p == '(')
                nest++;
            if (t->kind == TK_PUNCT && t->p == ')' && nest)
                nest--;
            t++;
        } while (nest);
    }
    return t;
}

static bool is_if_block(const struct as *as)
{
    for (const struct tok *t = asm_peek(as); t->kind != TK_EOF && t->kind != TK_NL; t++) {
        if (tok_is_word(t, "goto"))
            return false;
        if (t->kind == TK_PUNCT && t->p == '{')
            return true;
    }
    return false;
}

static bool declaration(struct as *as, bool *ret_was)
{
    *ret_was = true;
    if (asm_take_word(as, "const"))
        return decl_const(as, false);
    if (asm_take_word(as, "param"))
        return decl_const(as, true);
    if (asm_take_word(as, "var"))
        return asm_decl_var(as);
    if (asm_take_word(as, "tile"))
        return asm_decl_tile(as);
    if (asm_take_word(as, "sem"))
        return decl_numbers(as, SYM_SEM);
    if (asm_take_word(as, "event"))
        return decl_numbers(as, SYM_EVENT);
    if (asm_take_word(as, "reg"))
        return decl_reg(as);
    if (asm_take_word(as, "queue"))
        return asm_decl_queue(as);
    if (asm_take_word(as, "collective"))
        return asm_decl_coll(as);
    if (asm_is_word(as, "dma") && !tok_is_word(asm_peek2(as), "on")) {
        asm_next(as);
        return asm_decl_dma(as, NULL);
    }
    if (asm_take_word(as, "macro"))
        return asm_macro_define(as);
    if (asm_take_word(as, "repeat"))
        return repeat(as);
    if (asm_take_word(as, "for"))
        return for_loop(as);
    if (asm_take_word(as, "while"))
        return while_loop(as);
    if (asm_is_word(as, "if") && is_if_block(as)) {
        asm_next(as);
        return if_else(as);
    }
    *ret_was = false;
    return true;
}

/* *ret_label: what was read only leads to the next statement of the line. */
static bool statement(struct as *as, bool *ret_label)
{
    const struct tok *t = asm_peek(as), *after;
    const struct sym *s;
    const char *name;
    enum isa_engine e;
    bool was;

    if (asm_take(as, '.'))
        return directive(as);
    if (asm_is(as, '{'))
        return asm_scoped_block(as);
    if (t->kind != TK_IDENT)
        return asm_fail(as, "a statement is expected");
    if (!declaration(as, &was))
        return false;
    if (was)
        return true;

    after = after_name(as);
    if (after->kind == TK_PUNCT && after->p == ':') {
        if (asm_engine_tok(t, &e)) {
            asm_next(as);
            asm_next(as);
            as->engine = (int)e;
        } else if (!define_label(as)) {
            return false;
        }
        *ret_label = true;
        return true;
    }
    if (after->kind == TK_PUNCT && after->p == '(') {
        s = asm_find_here(as);
        if (s && s->kind == SYM_MACRO)
            return asm_name(as, &name) && asm_macro_call(as, s->u.macro);
    }
    return asm_record(as);
}

bool asm_block(struct as *as, bool nested)
{
    for (;;) {
        bool label = false;

        asm_skip_nl(as);
        if (asm_peek(as)->kind == TK_EOF)
            return !nested || asm_fail(as, "the block does not end");
        if (asm_is(as, '}')) {
            if (!nested)
                return asm_fail(as, "'}' without a block");
            asm_next(as);
            return true;
        }
        if (!asm_step(as) || !statement(as, &label))
            return false;
        if (!label && asm_peek(as)->kind != TK_NL && asm_peek(as)->kind != TK_EOF &&
            !asm_is(as, '}'))
            return asm_fail(as, "'%.*s' does not belong here", (int)asm_peek(as)->len,
                            asm_peek(as)->s);
    }
}
