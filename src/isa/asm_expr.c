/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions: 64-bit integers, doubles, and linear forms of one register. */
#include "isa/asm_int.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

static double as_float(const struct val *v)
{
    return v->kind == VAL_FLOAT ? v->f : (double)v->i;
}

static struct val mk_int(int64_t i)
{
    return (struct val){.kind = VAL_INT, .i = i};
}

static struct val mk_float(double f)
{
    return (struct val){.kind = VAL_FLOAT, .f = f};
}

static bool overflow(struct as *as)
{
    return asm_fail(as, "the number leaves 64 bits");
}

static bool ipow2_ok(int64_t n)
{
    return n >= 0 && n < 63;
}

static bool int_op(struct as *as, unsigned op, int64_t a, int64_t b, int64_t *r)
{
    switch (op) {
    case '+':
        return !i64_add_over(a, b, r) || overflow(as);
    case '-':
        return !__builtin_sub_overflow(a, b, r) || overflow(as);
    case '*':
        return !i64_mul_over(a, b, r) || overflow(as);
    case '/':
    case '%':
        if (b == 0)
            return asm_fail(as, "division by zero");
        if (b == -1)
            return op == '%' ? (*r = 0, true)
                             : (!__builtin_sub_overflow((int64_t)0, a, r) || overflow(as));
        *r = op == '/' ? a / b : a % b;
        return true;
    case P_SHL:
        if (!ipow2_ok(b))
            return asm_fail(as, "shift by %lld", (long long)b);
        return !i64_mul_over(a, (int64_t)1 << b, r) || overflow(as);
    case P_SHR:
    case P_SAR:
        if (!ipow2_ok(b))
            return asm_fail(as, "shift by %lld", (long long)b);
        *r = a >> b;
        return true;
    case '&':
        return *r = a & b, true;
    case '|':
        return *r = a | b, true;
    case '^':
        return *r = a ^ b, true;
    default:
        return asm_fail(as, "operator without meaning");
    }
}

static bool compare(unsigned op, double a, double b)
{
    switch (op) {
    case '<':
        return a < b;
    case '>':
        return a > b;
    case P_LE:
        return a <= b;
    case P_GE:
        return a >= b;
    case P_EQ:
        return a == b;
    default:
        return a != b;
    }
}

static bool is_compare(unsigned op)
{
    return op == '<' || op == '>' || op == P_LE || op == P_GE || op == P_EQ || op == P_NE;
}

/* Linear forms: reg + c, reg - c, c - reg, reg * c and the mirrors. */
static bool reg_op(struct as *as, unsigned op, const struct val *a, const struct val *b,
                   struct val *r)
{
    const struct val *reg = a->kind == VAL_REG ? a : b, *c = a->kind == VAL_REG ? b : a;

    if (c->kind != VAL_INT || (op != '+' && op != '-' && op != '*'))
        return asm_fail(as, "a register can be added to, or multiplied by, a constant only");
    *r = *reg;
    if (op == '-' && b->kind == VAL_REG)
        return (!__builtin_sub_overflow((int64_t)0, reg->mul, &r->mul) &&
                !__builtin_sub_overflow(c->i, reg->i, &r->i)) ||
               overflow(as);
    if (op == '*')
        return (!i64_mul_over(reg->mul, c->i, &r->mul) && !i64_mul_over(reg->i, c->i, &r->i)) ||
               overflow(as);
    return int_op(as, op, reg->i, c->i, &r->i);
}

static bool apply(struct as *as, unsigned op, const struct val *a, const struct val *b,
                  struct val *r)
{
    double x, y;

    if (a->kind == VAL_REG || b->kind == VAL_REG)
        return reg_op(as, op, a, b, r);
    if (op == P_ANDAND || op == P_OROR) {
        bool p = as_float(a) != 0, q = as_float(b) != 0;

        *r = mk_int(op == P_ANDAND ? p && q : p || q);
        return true;
    }
    if (a->kind == VAL_INT && b->kind == VAL_INT) {
        int64_t i = 0;

        if (is_compare(op))
            i = op == '<'    ? a->i < b->i
                : op == '>'  ? a->i > b->i
                : op == P_LE ? a->i <= b->i
                : op == P_GE ? a->i >= b->i
                : op == P_EQ ? a->i == b->i
                             : a->i != b->i;
        else if (!int_op(as, op, a->i, b->i, &i))
            return false;
        *r = mk_int(i);
        return true;
    }
    x = as_float(a);
    y = as_float(b);
    if (is_compare(op)) {
        *r = mk_int(compare(op, x, y));
        return true;
    }
    switch (op) {
    case '+':
        *r = mk_float(x + y);
        return true;
    case '-':
        *r = mk_float(x - y);
        return true;
    case '*':
        *r = mk_float(x * y);
        return true;
    case '/':
        *r = mk_float(x / y);
        return true;
    default:
        return asm_fail(as, "the operator wants integers");
    }
}

static bool binary(struct as *as, unsigned least, struct val *ret);

static bool expr_in(struct as *as, struct val *ret)
{
    bool ok;

    if (as->depth >= 200)
        return asm_fail(as, "nested too deeply");
    as->depth++;
    ok = asm_expr(as, ret);
    as->depth--;
    return ok;
}

enum fn { FN_MIN, FN_MAX, FN_CDIV, FN_ALIGN, FN_SQRT, FN_EXP, FN_LOG, FN_INT, FN_FLOAT, FN_COUNT };
static const struct {
    const char *name;
    unsigned args;
} fns[FN_COUNT] = {{"min", 2}, {"max", 2}, {"cdiv", 2}, {"align", 2}, {"sqrt", 1},
                   {"exp", 1}, {"log", 1}, {"int", 1},  {"float", 1}};

static bool call(struct as *as, enum fn f, struct val *ret)
{
    struct val a, b = mk_int(0);
    int64_t q;

    asm_next(as);
    if (!asm_want(as, '(') || !expr_in(as, &a))
        return false;
    if (fns[f].args == 2 && (!asm_want(as, ',') || !expr_in(as, &b)))
        return false;
    if (!asm_want(as, ')'))
        return false;
    if (a.kind == VAL_REG || b.kind == VAL_REG)
        return asm_fail(as, "%s of a register", fns[f].name);
    switch (f) {
    case FN_MIN:
        *ret = as_float(&a) <= as_float(&b) ? a : b;
        return true;
    case FN_MAX:
        *ret = as_float(&a) >= as_float(&b) ? a : b;
        return true;
    case FN_CDIV:
    case FN_ALIGN:
        if (a.kind != VAL_INT || b.kind != VAL_INT || b.i <= 0 || a.i < 0)
            return asm_fail(as, "%s wants integers above 0", fns[f].name);
        q = a.i / b.i + (a.i % b.i != 0);
        if (f == FN_ALIGN && i64_mul_over(q, b.i, &q))
            return overflow(as);
        *ret = mk_int(q);
        return true;
    case FN_SQRT:
        *ret = mk_float(sqrt(as_float(&a)));
        return true;
    case FN_EXP:
        *ret = mk_float(exp(as_float(&a)));
        return true;
    case FN_LOG:
        *ret = mk_float(log(as_float(&a)));
        return true;
    case FN_INT:
        if (a.kind == VAL_FLOAT && !(fabs(a.f) < 9e18))
            return overflow(as);
        *ret = mk_int(a.kind == VAL_FLOAT ? (int64_t)a.f : a.i);
        return true;
    case FN_FLOAT:
        *ret = mk_float(as_float(&a));
        return true;
    case FN_COUNT:
        break;
    }
    return false;
}

static bool sizeof_dtype(struct as *as, struct val *ret)
{
    enum dtype t;

    asm_next(as);
    if (!asm_want(as, '(') || !asm_dtype(as, &t) || !asm_want(as, ')'))
        return false;
    *ret = mk_int((int64_t)dtype_size(t));
    return true;
}

static bool word_value(struct as *as, struct val *ret)
{
    const struct tok *t = asm_peek(as);
    const struct sym *s;
    const char *name;
    int r;

    if (asm_peek2(as)->kind == TK_PUNCT && asm_peek2(as)->p == '(') {
        for (unsigned f = 0; f < FN_COUNT; f++)
            if (tok_is_word(t, fns[f].name))
                return call(as, (enum fn)f, ret);
        if (tok_is_word(t, "sizeof"))
            return sizeof_dtype(as, ret);
    }
    if (!asm_name(as, &name))
        return false;
    s = asm_find(as, name);
    if (s && s->kind == SYM_CONST) {
        *ret = s->u.v;
        return true;
    }
    if (s && s->kind == SYM_REG) {
        *ret = (struct val){.kind = VAL_REG, .reg = (uint8_t)s->u.number, .mul = 1};
        return true;
    }
    if (s)
        return asm_fail(as, "%s is no number", name);
    r = asm_raw_reg(name, strlen(name));
    if (r >= 0) {
        *ret = (struct val){.kind = VAL_REG, .reg = (uint8_t)r, .mul = 1};
        return true;
    }
    if (strcmp(name, "inf") == 0)
        *ret = mk_float(INFINITY);
    else if (strcmp(name, "nan") == 0)
        *ret = mk_float(NAN);
    else if (strcmp(name, "pi") == 0)
        *ret = mk_float(3.14159265358979323846);
    else if (strcmp(name, "core") == 0)
        *ret = mk_int(as->core);
    else
        return asm_fail(as, "%s is not defined", name);
    return true;
}

static bool unary(struct as *as, struct val *ret)
{
    const struct tok *t = asm_peek(as);
    struct val zero = mk_int(0), v;

    if (t->kind == TK_INT) {
        *ret = mk_int(asm_next(as)->u.i);
        return true;
    }
    if (t->kind == TK_FLOAT) {
        *ret = mk_float(asm_next(as)->u.f);
        return true;
    }
    if (t->kind == TK_IDENT)
        return word_value(as, ret);
    if (asm_take(as, '('))
        return expr_in(as, ret) && asm_want(as, ')');
    if (t->kind != TK_PUNCT || (t->p != '-' && t->p != '+' && t->p != '~' && t->p != '!'))
        return asm_fail(as, "a number is expected");
    if (as->depth >= 200)
        return asm_fail(as, "nested too deeply");
    asm_next(as);
    as->depth++;
    if (!unary(as, &v))
        return false;
    as->depth--;
    switch (t->p) {
    case '+':
        *ret = v;
        return true;
    case '!':
        if (v.kind == VAL_REG)
            return asm_fail(as, "a register is no constant");
        *ret = mk_int(as_float(&v) == 0);
        return true;
    case '~':
        if (v.kind != VAL_INT)
            return asm_fail(as, "~ wants an integer");
        *ret = mk_int(~v.i);
        return true;
    default:
        if (v.kind == VAL_FLOAT) {
            *ret = mk_float(-v.f);
            return true;
        }
        if (v.kind == VAL_REG) {
            struct val m = mk_int(-1);

            return reg_op(as, '*', &v, &m, ret);
        }
        return apply(as, '-', &zero, &v, ret);
    }
}

static unsigned precedence(const struct tok *t)
{
    if (t->kind != TK_PUNCT)
        return 0;
    switch (t->p) {
    case P_OROR:
        return 1;
    case P_ANDAND:
        return 2;
    case '|':
        return 3;
    case '^':
        return 4;
    case '&':
        return 5;
    case P_EQ:
    case P_NE:
        return 6;
    case '<':
    case '>':
    case P_LE:
    case P_GE:
        return 7;
    case P_SHL:
    case P_SHR:
    case P_SAR:
        return 8;
    case '+':
    case '-':
        return 9;
    case '*':
    case '/':
    case '%':
        return 10;
    default:
        return 0;
    }
}

static bool binary(struct as *as, unsigned least, struct val *ret)
{
    struct val a, b, r;

    if (!unary(as, &a))
        return false;
    for (;;) {
        const struct tok *t = asm_peek(as);
        unsigned p = precedence(t);

        if (p == 0 || p < least)
            break;
        asm_next(as);
        if (!binary(as, p + 1, &b) || !apply(as, t->p, &a, &b, &r))
            return false;
        a = r;
    }
    *ret = a;
    return true;
}

bool asm_expr_at(struct as *as, unsigned least, struct val *ret)
{
    return binary(as, least, ret);
}

/* cond ? a : b over constants. */
bool asm_expr(struct as *as, struct val *ret)
{
    struct val c, a, b;

    if (!binary(as, 1, &c))
        return false;
    if (!asm_is(as, '?')) {
        *ret = c;
        return true;
    }
    asm_next(as);
    if (c.kind == VAL_REG)
        return asm_fail(as, "a register is no constant");
    if (!expr_in(as, &a) || !asm_want(as, ':') || !expr_in(as, &b))
        return false;
    *ret = as_float(&c) != 0 ? a : b;
    return true;
}

bool asm_int(struct as *as, int64_t *ret)
{
    struct val v;

    if (!asm_expr(as, &v))
        return false;
    if (v.kind != VAL_INT)
        return asm_fail(as, "an integer constant is expected");
    *ret = v.i;
    return true;
}

bool asm_int_range(struct as *as, const char *what, int64_t lo, int64_t hi, int64_t *ret)
{
    if (!asm_int(as, ret))
        return false;
    if (*ret < lo || *ret > hi)
        return asm_fail(as, "%s %lld is outside %lld to %lld", what, (long long)*ret, (long long)lo,
                        (long long)hi);
    return true;
}

bool asm_number(struct as *as, double *ret)
{
    struct val v;

    if (!asm_expr(as, &v))
        return false;
    if (v.kind == VAL_REG)
        return asm_fail(as, "a constant is expected");
    *ret = as_float(&v);
    return true;
}

bool asm_reg(struct as *as, uint8_t *ret)
{
    struct val v;

    if (!asm_expr(as, &v))
        return false;
    if (v.kind != VAL_REG || v.i || v.mul != 1)
        return asm_fail(as, "a register is expected");
    *ret = v.reg;
    return true;
}

bool asm_dtype(struct as *as, enum dtype *ret)
{
    const struct tok *t = asm_peek(as);
    const struct sym *s;
    char buf[48];

    if (t->kind != TK_IDENT || t->len >= sizeof(buf))
        return asm_fail(as, "a data type is expected");
    s = asm_find_here(as);
    if (s && s->kind == SYM_WORD) {
        *ret = dtype_from_name(s->u.word);
    } else {
        memcpy(buf, t->s, t->len);
        buf[t->len] = 0;
        *ret = dtype_from_name(buf);
    }
    if (*ret == DT_INVALID)
        return asm_fail(as, "%.*s is no data type", (int)t->len, t->s);
    asm_next(as);
    return true;
}
