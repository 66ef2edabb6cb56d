/* SPDX-License-Identifier: Apache-2.0 */
/* Macros: definition, arguments, expansion into tokens that are read like text. */
#include "isa/asm_int.h"

#include <string.h>

bool asm_macro_define(struct as *as)
{
    struct macro *m = arena_alloc(as->arena, sizeof(*m));
    struct tok params[32];
    const char *name;
    struct sym *s;
    size_t close;

    if (!m)
        return asm_nomem(as);
    if (!asm_name(as, &name) || !asm_want(as, '('))
        return false;
    if (!asm_is(as, ')'))
        do {
            const struct tok *t = asm_next(as);

            if (t->kind != TK_IDENT || m->n_params == 32)
                return asm_fail(as, "at most 32 parameter names are expected");
            params[m->n_params++] = *t;
        } while (asm_take(as, ','));
    if (!asm_want(as, ')') || !asm_want_open(as) || !asm_find_close(as, &close))
        return false;
    m->params = arena_calloc(as->arena, m->n_params + 1, sizeof(*params));
    if (!m->params)
        return asm_nomem(as);
    memcpy(m->params, params, m->n_params * sizeof(*params));
    m->body = &as->t[as->pos];
    m->n_body = close - as->pos;
    /* tokens of an expansion are freed after it: keep those of nested definitions */
    if (as->expansions) {
        struct tok *copy = arena_calloc(as->arena, m->n_body, sizeof(*copy));

        if (!copy)
            return asm_nomem(as);
        memcpy(copy, m->body, m->n_body * sizeof(*copy));
        m->body = copy;
    }
    as->pos = close;
    s = asm_define(as, name, SYM_MACRO);
    if (!s)
        return false;
    s->u.macro = m;
    return true;
}

struct arg {
    size_t first, n;
    bool wrap; /* an expression: brackets keep it together */
};

static bool macro_args(struct as *as, const struct macro *m, struct arg *args)
{
    size_t n = 0;

    if (!asm_want(as, '('))
        return false;
    if (asm_take(as, ')'))
        return m->n_params == 0 || asm_fail(as, "the macro wants %zu arguments", m->n_params);
    for (;;) {
        unsigned nest = 0;
        bool op = false, other = false;

        if (n == m->n_params)
            return asm_fail(as, "the macro wants %zu arguments", m->n_params);
        args[n].first = as->pos;
        for (;; as->pos++) {
            const struct tok *t = asm_peek(as);
            unsigned p = t->kind == TK_PUNCT ? t->p : 0;

            if (t->kind == TK_EOF)
                return asm_fail(as, "the arguments do not end");
            if (nest == 0 && (p == ',' || p == ')'))
                break;
            if (p == '(' || p == '[' || p == '{')
                nest++;
            else if ((p == ')' || p == ']' || p == '}') && nest)
                nest--;
            if (p == '+' || p == '-' || p == '*' || p == '/' || p == '%')
                op = true;
            if (p == '[' || p == '{' || p == ':' || p == '=' || p == '.' || t->kind == TK_STR)
                other = true;
        }
        args[n].n = as->pos - args[n].first;
        args[n].wrap = op && !other && args[n].n > 1;
        n++;
        if (asm_take(as, ')'))
            break;
        if (!asm_want(as, ','))
            return false;
    }
    return n == m->n_params || asm_fail(as, "the macro wants %zu arguments", m->n_params);
}

static const struct arg *param_of(const struct macro *m, const struct arg *args,
                                  const struct tok *t)
{
    for (size_t i = 0; t->kind == TK_IDENT && i < m->n_params; i++)
        if (m->params[i].len == t->len && memcmp(m->params[i].s, t->s, t->len) == 0)
            return &args[i];
    return NULL;
}

static bool expand(struct as *as, const struct macro *m, const struct arg *args, struct toks *out)
{
    size_t n = 2;
    struct tok open = {.kind = TK_PUNCT, .p = '(', .s = "(", .len = 1}, shut = open, *o;
    uint32_t line = asm_peek(as)->line;

    shut.p = ')';
    shut.s = ")";
    for (size_t i = 0; i < m->n_body; i++) {
        const struct arg *a = param_of(m, args, &m->body[i]);

        n += a ? a->n + 2 : 1;
    }
    as->steps += n / 4;
    if (!asm_step(as))
        return false;
    o = out->t = mem_calloc(n, sizeof(*o));
    if (!o)
        return asm_nomem(as);
    for (size_t i = 0; i < m->n_body; i++) {
        const struct arg *a = param_of(m, args, &m->body[i]);
        /* behind #, a number stands alone */
        bool wrap = a && a->wrap;

        if (!a) {
            *o++ = m->body[i];
            continue;
        }
        open.line = shut.line = m->body[i].line;
        if (wrap)
            *o++ = open;
        memcpy(o, &as->t[a->first], a->n * sizeof(*o));
        o += a->n;
        if (wrap)
            *o++ = shut;
    }
    *o++ = (struct tok){.kind = TK_NL, .line = line, .s = ""};
    *o++ = (struct tok){.kind = TK_EOF, .line = line, .s = ""};
    out->n = (size_t)(o - out->t);
    return true;
}

bool asm_macro_call(struct as *as, const struct macro *m)
{
    struct arg args[32];
    struct toks t = {0};
    struct tok *outer = as->t;
    size_t pos;
    bool ok;

    if (!macro_args(as, m, args))
        return false;
    if (as->depth >= 60)
        return asm_fail(as, "macros nested too deeply");
    if (!expand(as, m, args, &t))
        return false;
    pos = as->pos;
    as->t = t.t;
    as->pos = 0;
    as->expansions++;
    ok = asm_scoped_block(as);
    as->expansions--;
    as->t = outer;
    as->pos = pos;
    mem_free(t.t);
    return ok;
}
