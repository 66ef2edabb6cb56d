/* SPDX-License-Identifier: Apache-2.0 */
/* One record of the text form: waits, body, updates. */
#include "isa/asm_int.h"

#include <string.h>

struct isa_record *asm_emit(struct as *as)
{
    struct eng_out *e;
    size_t most = as->opts->max_records ? as->opts->max_records : (size_t)4 << 20;

    if (as->engine < 0) {
        asm_note(as, "a record outside an engine's section");
        return NULL;
    }
    e = &as->eng[as->engine];
    if (e->n >= most) {
        asm_note(as, "more than %zu records", most);
        return NULL;
    }
    if (!mem_grow((void **)&e->r, &e->cap, e->n + 1, sizeof(*e->r)) ||
        !mem_grow((void **)&e->l, &e->lcap, e->n + 1, sizeof(*e->l))) {
        asm_nomem(as);
        return NULL;
    }
    e->l[e->n] = (struct isa_asm_line){asm_peek(as)->line, e->label, as->op_name};
    e->r[e->n] = (struct isa_record){.version = ISA_VERSION, .engine = (uint8_t)as->engine};
    e->target_end = false;
    as->made++;
    return &e->r[e->n++];
}

/* ---- waits and updates ---- */

/* $S[n], $E[n] or a name. */
bool asm_sem_or_event(struct as *as, bool *ret_event, int *ret)
{
    const struct sym *s;
    const char *name;
    int64_t n;

    if (asm_take(as, '$')) {
        const struct tok *t = asm_next(as);

        *ret_event = tok_is_word(t, "E");
        if (!*ret_event && !tok_is_word(t, "S"))
            return asm_fail(as, "$S[n] or $E[n] is expected");
        if (!asm_want(as, '[') || !asm_int_range(as, "number", 0, 255, &n) || !asm_want(as, ']'))
            return false;
        *ret = (int)n;
        return true;
    }
    if (asm_peek(as)->kind != TK_IDENT)
        return asm_fail(as, "a semaphore or event is expected");
    if (!asm_name(as, &name))
        return false;
    s = asm_find(as, name);
    if (!s || (s->kind != SYM_SEM && s->kind != SYM_EVENT))
        return asm_fail(as, "%s is no semaphore or event", name);
    *ret_event = s->kind == SYM_EVENT;
    *ret = s->u.number;
    return true;
}

bool asm_sem(struct as *as, int *ret)
{
    bool event = false;
    int64_t n;

    if (asm_peek(as)->kind == TK_INT) {
        if (!asm_int_range(as, "semaphore", 0, 255, &n))
            return false;
        *ret = (int)n;
        return true;
    }
    if (!asm_sem_or_event(as, &event, ret))
        return false;
    return !event || asm_fail(as, "a semaphore is expected, not an event");
}

/* A constant or a register of this engine. */
static bool value_or_reg(struct as *as, int32_t *value, uint8_t *reg)
{
    struct val v;

    if (!asm_expr_at(as, 8, &v))
        return false;
    if (v.kind == VAL_REG) {
        if (v.i || v.mul != 1)
            return asm_fail(as, "a plain register or a constant is expected");
        *reg = v.reg;
        *value = 0;
        return true;
    }
    if (v.kind != VAL_INT || v.i < INT32_MIN || v.i > INT32_MAX)
        return asm_fail(as, "a 32-bit integer is expected");
    *reg = ISA_NO_REG;
    *value = (int32_t)v.i;
    return true;
}

bool asm_waits(struct as *as, struct isa_record *r)
{
    do {
        struct isa_wait *w = &r->wait[r->nwaits];
        bool event, clear = asm_take(as, '!');
        int n;

        if (r->nwaits == 4)
            return asm_fail(as, "more than 4 waits");
        if (!asm_sem_or_event(as, &event, &n))
            return false;
        *w = (struct isa_wait){.index = (uint8_t)n, .reg = ISA_NO_REG};
        r->nwaits++;
        if (event) {
            w->kind = clear ? ISA_WAIT_EVENT_CLEAR : ISA_WAIT_EVENT_SET;
            continue;
        }
        if (clear)
            return asm_fail(as, "! belongs to events");
        if (asm_take(as, P_GE))
            w->kind = ISA_WAIT_SEM_GE;
        else if (asm_take(as, P_EQ))
            w->kind = ISA_WAIT_SEM_EQ;
        else
            return asm_fail(as, ">= or == is expected");
        if (!value_or_reg(as, &w->value, &w->reg))
            return false;
    } while (asm_take(as, ','));
    return true;
}

static bool update_op(struct as *as, struct isa_update *u, bool event)
{
    int64_t n;

    if (event) {
        if (!asm_want(as, '=') || !asm_int_range(as, "event value", 0, 1, &n))
            return false;
        u->kind = n ? ISA_UPD_EVENT_SET : ISA_UPD_EVENT_CLEAR;
        return true;
    }
    if (asm_take(as, P_INC))
        u->kind = ISA_UPD_INC;
    else if (asm_take(as, P_DEC))
        u->kind = ISA_UPD_DEC;
    else if (asm_take(as, P_ADDEQ))
        u->kind = ISA_UPD_ADD;
    else if (asm_take(as, P_SUBEQ))
        u->kind = ISA_UPD_SUB;
    else if (asm_take(as, '='))
        u->kind = ISA_UPD_WRITE;
    else
        return asm_fail(as, "++, --, +=, -= or = is expected");
    return u->kind < ISA_UPD_ADD || value_or_reg(as, &u->value, &u->reg);
}

bool asm_updates(struct as *as, struct isa_record *r)
{
    do {
        struct isa_update *u = &r->update[r->nupdates];
        bool event, peer = asm_take_word(as, "peer");
        int n;

        if (r->nupdates == 4)
            return asm_fail(as, "more than 4 updates");
        if (!asm_sem_or_event(as, &event, &n))
            return false;
        *u = (struct isa_update){.index = (uint8_t)n, .reg = ISA_NO_REG};
        r->nupdates++;
        if (peer)
            u->flags |= ISA_UPD_PEER;
        if (!update_op(as, u, event))
            return false;
        if (asm_take(as, '@')) {
            if (asm_take_word(as, "read"))
                u->flags |= ISA_UPD_AT_READ;
            else if (!asm_take_word(as, "complete"))
                return asm_fail(as, "@read or @complete is expected");
        }
    } while (asm_take(as, ','));
    return true;
}

/* ---- sequencer records ---- */

bool asm_branch_to(struct as *as, struct isa_record *r, const char *label)
{
    struct eng_out *e = &as->eng[as->engine];
    struct fixup *f;

    if (!mem_grow((void **)&as->fix, &as->fix_cap, as->n_fix + 1, sizeof(*as->fix)))
        return asm_nomem(as);
    f = &as->fix[as->n_fix++];
    *f = (struct fixup){.engine = (enum isa_engine)as->engine,
                        .record = (uint32_t)(r - e->r),
                        .scope = as->scope,
                        .line = asm_peek(as)->line,
                        .name = label};
    return true;
}

unsigned asm_cond_not(unsigned op)
{
    static const uint8_t not_of[ISA_BR_COUNT] = {
        [ISA_BR_LT] = ISA_BR_GE, [ISA_BR_LE] = ISA_BR_GT, [ISA_BR_EQ] = ISA_BR_NE,
        [ISA_BR_NE] = ISA_BR_EQ, [ISA_BR_GE] = ISA_BR_LT, [ISA_BR_GT] = ISA_BR_LE};

    return not_of[op];
}

/* `reg op value`, or a constant expression. */
bool asm_cond(struct as *as, struct isa_seq *ret, bool *ret_const, bool *ret_value)
{
    size_t pos = as->pos;
    struct val v;
    double d;
    unsigned op = 0;

    memset(ret, 0, sizeof(*ret));
    if (!asm_expr_at(as, 8, &v))
        return false;
    if (v.kind != VAL_REG) {
        as->pos = pos;
        if (!asm_number(as, &d))
            return false;
        *ret_const = true;
        *ret_value = d != 0;
        return true;
    }
    if (v.i || v.mul != 1)
        return asm_fail(as, "a plain register is compared");
    switch (asm_peek(as)->kind == TK_PUNCT ? asm_peek(as)->p : 0) {
    case '<':
        op = ISA_BR_LT;
        break;
    case P_LE:
        op = ISA_BR_LE;
        break;
    case P_EQ:
        op = ISA_BR_EQ;
        break;
    case P_NE:
        op = ISA_BR_NE;
        break;
    case P_GE:
        op = ISA_BR_GE;
        break;
    case '>':
        op = ISA_BR_GT;
        break;
    default:
        return asm_fail(as, "a comparison is expected");
    }
    asm_next(as);
    *ret_const = false;
    ret->op = (uint8_t)op;
    ret->ra = v.reg;
    return value_or_reg(as, &ret->imm, &ret->rb);
}

static bool branch_target(struct as *as, struct isa_record *r)
{
    const char *label;
    int64_t n;

    if (!asm_take_word(as, "goto"))
        return asm_fail(as, "goto is expected");
    if (asm_take(as, '@')) {
        if (!asm_int_range(as, "record", 0, UINT32_MAX, &n))
            return false;
        r->body.s.target = (uint32_t)n;
        return true;
    }
    return asm_name(as, &label) && asm_branch_to(as, r, label);
}

static bool place(struct as *as, struct isa_seq *s)
{
    struct ref r;

    if (!asm_ref(as, &r))
        return false;
    s->place_mem = r.mem;
    if (r.mem == ISA_HBM)
        return asm_ref_hbm(as, &r, &s->place.hbm);
    if (r.mem == ISA_PSUM)
        return asm_fail(as, "a register reaches SBUF and variables only");
    return asm_ref_tensor(as, &r, &s->place.tile);
}

/* What binds tighter than the register operator. */
static bool expr_above(struct as *as, int op, struct val *ret)
{
    static const uint8_t least[ISA_REG_OP_COUNT] = {
        [ISA_REG_ADD] = 10, [ISA_REG_SUB] = 10, [ISA_REG_MUL] = 11, [ISA_REG_AND] = 6,
        [ISA_REG_OR] = 4,   [ISA_REG_XOR] = 5,  [ISA_REG_SHL] = 9,  [ISA_REG_SHR] = 9,
        [ISA_REG_SAR] = 9,  [ISA_REG_MIN] = 8,  [ISA_REG_MAX] = 8};

    return asm_expr_at(as, least[op], ret);
}

/* `op x` behind a register when that makes one ALU record. */
static bool alu_tail(struct as *as, struct isa_seq *s, bool *ret_done)
{
    static const struct {
        uint8_t p, op;
    } ops[] = {{'+', ISA_REG_ADD},   {'-', ISA_REG_SUB},   {'*', ISA_REG_MUL},
               {'&', ISA_REG_AND},   {'|', ISA_REG_OR},    {'^', ISA_REG_XOR},
               {P_SHL, ISA_REG_SHL}, {P_SHR, ISA_REG_SHR}, {P_SAR, ISA_REG_SAR}};
    const struct tok *t = asm_peek(as);
    int op = -1;
    struct val v;

    *ret_done = false;
    for (size_t i = 0; t->kind == TK_PUNCT && i < sizeof(ops) / sizeof(ops[0]); i++)
        if (ops[i].p == t->p)
            op = ops[i].op;
    if (tok_is_word(t, "min"))
        op = ISA_REG_MIN;
    if (tok_is_word(t, "max"))
        op = ISA_REG_MAX;
    if (op < 0)
        return true;
    asm_next(as);
    if (!expr_above(as, op, &v))
        return false;
    if (!asm_at_end(as))
        return asm_fail(as, "one operation at a time; brackets around a constant help");
    s->op = (uint8_t)op;
    if (v.kind == VAL_REG) {
        if (v.i || v.mul != 1)
            return asm_fail(as, "one operation at a time");
        s->rb = v.reg;
    } else if (v.kind == VAL_INT && v.i >= INT32_MIN && v.i <= UINT32_MAX) {
        s->rb = ISA_NO_REG;
        s->imm = (int32_t)(uint32_t)v.i;
    } else {
        return asm_fail(as, "a 32-bit integer is expected");
    }
    *ret_done = true;
    return true;
}

/* rd = reg | constant | load(place) | reg op x; the cursor is behind the sign of assignment. */
static bool assign_value(struct as *as, struct isa_record *r, uint8_t rd)
{
    struct isa_seq *s = &r->body.s;
    const struct sym *sym;
    struct val v;
    bool done = false;

    if (tok_is_word(asm_peek(as), "load") && asm_peek2(as)->kind == TK_PUNCT &&
        asm_peek2(as)->p == '(') {
        asm_next(as);
        asm_next(as);
        r->opcode = ISA_OP_REG_LOAD;
        s->rd = rd;
        return place(as, s) && asm_want(as, ')');
    }
    sym = asm_find_here(as);
    if (asm_peek(as)->kind == TK_IDENT &&
        ((sym && sym->kind == SYM_REG) ||
         (!sym && asm_raw_reg(asm_peek(as)->s, asm_peek(as)->len) >= 0))) {
        const char *name;

        if (!asm_name(as, &name))
            return false;
        s->ra = (uint8_t)(sym ? sym->u.number : asm_raw_reg(name, strlen(name)));
        if (!alu_tail(as, s, &done))
            return false;
        s->rd = rd;
        r->opcode = done ? ISA_OP_REG_ALU : ISA_OP_REG_MOVE;
        if (!done) {
            s->rb = s->ra;
            s->ra = 0;
        }
        return true;
    }
    if (!asm_expr(as, &v))
        return false;
    if (v.kind != VAL_INT || v.i < INT32_MIN || v.i > UINT32_MAX)
        return asm_fail(as, "a register, a 32-bit integer or one operation is expected");
    r->opcode = ISA_OP_REG_MOVE;
    s->rd = rd;
    s->rb = ISA_NO_REG;
    s->imm = (int32_t)(uint32_t)v.i;
    return true;
}

static bool assignment(struct as *as, struct isa_record *r)
{
    struct isa_seq *s = &r->body.s;
    uint8_t rd;

    if (!asm_reg(as, &rd))
        return false;
    if (asm_take(as, '='))
        return assign_value(as, r, rd);
    s->op = asm_is(as, P_ADDEQ) ? ISA_REG_ADD : ISA_REG_SUB;
    asm_next(as);
    r->opcode = ISA_OP_REG_ALU;
    s->rd = s->ra = rd;
    return value_or_reg(as, &s->imm, &s->rb);
}

/* A collective of the text, or its number in the table. */
static bool collective_index(struct as *as, int64_t *ret)
{
    const struct sym *s = asm_find_here(as);
    const char *name;

    if (!s || s->kind != SYM_COLL)
        return asm_int_range(as, "collective", 0, INT32_MAX, ret);
    *ret = (int64_t)s->u.index;
    return asm_name(as, &name);
}

static bool seq_body(struct as *as, struct isa_record *r)
{
    struct isa_seq *s = &r->body.s;
    const struct sym *sym;
    const char *name;
    int64_t n, m;
    int sem;

    switch (r->opcode) {
    case ISA_OP_DMA_TRIGGER:
        sym = asm_find_here(as);
        if (sym && sym->kind == SYM_DMA) {
            const struct isa_asm_dma *d = &as->out->dmas[sym->u.index];

            if (!asm_name(as, &name))
                return false;
            if ((int)d->engine != as->engine)
                return asm_fail(as, "dma %s belongs to %s", name, isa_engine_name(d->engine));
            s->imm = (int32_t)d->id;
            return true;
        }
        if (!asm_int_range(as, "dma id", INT32_MIN, INT32_MAX, &n))
            return false;
        s->imm = (int32_t)n;
        return true;
    case ISA_OP_SEM_RANGE_CLEAR:
        if (!asm_sem(as, &sem) || !asm_want(as, ',') || !asm_int_range(as, "count", 0, 65535, &m))
            return false;
        s->first = (uint16_t)sem;
        s->count = (uint16_t)m;
        return true;
    case ISA_OP_CORE_BARRIER:
        if (!asm_sem(as, &sem))
            return false;
        s->first = (uint16_t)sem;
        return true;
    case ISA_OP_TRIGGER_COLLECTIVE:
        if (!collective_index(as, &n))
            return false;
        s->imm = (int32_t)n;
        if (asm_take(as, ',')) {
            if (!asm_sem(as, &sem))
                return false;
            s->first = (uint16_t)(sem + 1);
        }
        return true;
    default:
        return asm_fail(as, "write it as an assignment, store, goto or if");
    }
}

/* ---- dynamic transfers ---- */

static bool dyn_side(struct as *as, const struct ref *r, union isa_place *p, uint8_t *mem)
{
    *mem = r->mem;
    if (r->mem == ISA_HBM)
        return asm_ref_hbm(as, r, &p->hbm);
    if (r->mem == ISA_PSUM)
        return asm_fail(as, "a transfer cannot reach PSUM");
    return asm_ref_tensor(as, r, &p->tile);
}

static bool dyn_queue(struct as *as, struct isa_record *r)
{
    const struct sym *s = asm_find_here(as);
    const char *name;
    int64_t n;

    if (!s || s->kind != SYM_QUEUE) {
        if (!asm_int_range(as, "queue", 0, UINT16_MAX, &n))
            return false;
        r->body.d.queue = (uint16_t)n;
        return true;
    }
    if (!asm_name(as, &name))
        return false;
    /* the number follows when all names are known */
    return asm_branch_to(as, r, NULL) &&
           ((as->fix[as->n_fix - 1].scope = (uint32_t)s->u.index), true);
}

static bool dyn_keyword(struct as *as, struct isa_record *r, const struct tok *key)
{
    static const char *const ops[] = {"copy", "transpose", "add"};
    struct isa_dyn *d = &r->body.d;
    int sem;

    if (tok_is_word(key, "queue"))
        return dyn_queue(as, r);
    if (tok_is_word(key, "sem")) {
        if (!asm_sem(as, &sem))
            return false;
        d->semaphore = (int16_t)sem;
        return true;
    }
    if (tok_is_word(key, "op")) {
        for (unsigned i = 0; i < 3; i++)
            if (asm_take_word(as, ops[i])) {
                d->op = (uint8_t)i;
                return true;
            }
        return asm_fail(as, "op is copy, transpose or add");
    }
    if (tok_is_word(key, "mode")) {
        d->mode = asm_take_word(as, "hwdge") ? ISA_DGE_HW : ISA_DGE_SW;
        return d->mode == ISA_DGE_HW || asm_take_word(as, "swdge") ||
               asm_fail(as, "mode is swdge or hwdge");
    }
    if (tok_is_word(key, "oob")) {
        if (asm_take_word(as, "skip"))
            d->oob = ISA_OOB_SKIP;
        else if (!asm_take_word(as, "error"))
            return asm_reg(as, &d->oob_reg);
        return true;
    }
    return asm_fail(as, "dma_dyn has no operand %.*s", (int)key->len, key->s);
}

static bool dyn_body(struct as *as, struct isa_record *r)
{
    struct isa_dyn *d = &r->body.d;
    struct ref dst, src;

    d->semaphore = -1;
    d->oob_reg = ISA_NO_REG;
    d->mode = as->engine == ISA_POOL ? ISA_DGE_SW : ISA_DGE_HW;
    if (!asm_ref(as, &dst) || !asm_want(as, ',') || !asm_ref(as, &src) ||
        !dyn_side(as, &dst, &d->dst, &d->dst_mem) || !dyn_side(as, &src, &d->src, &d->src_mem))
        return false;
    if (dst.vec && src.vec)
        return asm_fail(as, "one vector offset at most");
    if (dst.vec || src.vec) {
        d->index_side = src.vec ? 1 : 2;
        if (!asm_ref_tensor(as, src.vec ? src.vec : dst.vec, &d->index))
            return false;
    }
    while (asm_take(as, ',')) {
        const struct tok *key = asm_next(as);

        if (key->kind != TK_IDENT || !asm_want(as, '=') || !dyn_keyword(as, r, key))
            return asm_fail(as, "keyword=value is expected");
    }
    return true;
}

/* ---- the record ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool raw_body(struct as *as, struct isa_record *r)
{
    const struct tok *t = asm_next(as);
    uint8_t *out = (uint8_t *)r;

    if (t->kind != TK_STR || t->len != 2 * sizeof(*r))
        return asm_fail(as, "raw wants a string of %zu hex digits", 2 * sizeof(*r));
    for (size_t i = 0; i < sizeof(*r); i++) {
        int h = hex_digit(t->s[2 * i]), l = hex_digit(t->s[2 * i + 1]);

        if (h < 0 || l < 0)
            return asm_fail(as, "a digit of raw is not 0-9 or a-f");
        out[i] = (uint8_t)(h << 4 | l);
    }
    return true;
}

static bool op_body(struct as *as, struct isa_record *r)
{
    const struct tok *t = asm_next(as);
    const struct isa_op_info *info;

    r->opcode = (uint16_t)isa_opcode_from_name(t->s, t->kind == TK_IDENT ? t->len : 0);
    info = isa_op_info(r->opcode);
    if (!info)
        return asm_fail(as, "%.*s is no instruction, label or macro",
                        t->kind == TK_NL ? 0 : (int)t->len, t->s);
    switch (info->format) {
    case ISA_FMT_NONE:
        return true;
    case ISA_FMT_COMPUTE:
        return asm_compute(as, r);
    case ISA_FMT_SEQ:
        return seq_body(as, r);
    case ISA_FMT_DYN:
        return dyn_body(as, r);
    }
    return false;
}

static bool record_body(struct as *as, struct isa_record *r)
{
    const struct tok *t = asm_peek(as), *t2 = asm_peek2(as);
    bool is_const, value;

    if (asm_take_word(as, "raw"))
        return raw_body(as, r);
    if (tok_is_word(t, "goto")) {
        r->opcode = ISA_OP_BRANCH;
        return branch_target(as, r);
    }
    if (asm_take_word(as, "if")) {
        r->opcode = ISA_OP_BRANCH;
        if (!asm_cond(as, &r->body.s, &is_const, &value))
            return false;
        if (is_const)
            return asm_fail(as, "a branch compares a register");
        return branch_target(as, r);
    }
    if (asm_take_word(as, "store")) {
        r->opcode = ISA_OP_REG_STORE;
        return place(as, &r->body.s) && asm_want(as, ',') && asm_reg(as, &r->body.s.ra);
    }
    if (asm_take_word(as, "dma"))
        return asm_decl_dma(as, r);
    if (t->kind == TK_IDENT && t2->kind == TK_PUNCT &&
        (t2->p == '=' || t2->p == P_ADDEQ || t2->p == P_SUBEQ || t2->p == '#'))
        return assignment(as, r);
    return op_body(as, r);
}

bool asm_record(struct as *as)
{
    struct isa_record *r = asm_emit(as);

    if (!r)
        return false;
    if (asm_take_word(as, "wait")) {
        if (!asm_waits(as, r))
            return false;
        if (!asm_take(as, ':')) {
            r->opcode = ISA_OP_NOP;
            return !asm_take(as, P_ARROW) || asm_updates(as, r);
        }
        asm_skip_nl(as);
    }
    if (asm_take_word(as, "signal")) {
        r->opcode = ISA_OP_NOP;
        return asm_updates(as, r);
    }
    if (!record_body(as, r))
        return false;
    return !asm_take(as, P_ARROW) || asm_updates(as, r);
}
