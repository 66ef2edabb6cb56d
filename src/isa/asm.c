/* SPDX-License-Identifier: Apache-2.0 */
/* The assembler: state, symbols and scopes, the end of the work. Statements are in asm_stmt.c. */
#include "isa/asm_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The line of what an error is about. Behind the last word of a line within brackets the next token
 * is the one that ends the operand, on another line. */
static unsigned error_line(const struct as *as)
{
    const struct tok *t = asm_peek(as);
    bool ends = t->kind == TK_PUNCT && (t->p == ']' || t->p == ')' || t->p == ',');

    return ends && as->pos > 0 ? t[-1].line : t->line;
}

void asm_note(struct as *as, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err_set(as->err, NRT_INVALID, "%s:%u: %s", as->file ? as->file : "<text>",
            as->t ? error_line(as) : 0, text);
}

bool asm_nomem(struct as *as)
{
    err_set(as->err, NRT_RESOURCE, "out of memory in the assembler");
    return false;
}

/* ---- tokens ---- */

const struct tok *asm_next(struct as *as)
{
    const struct tok *t = &as->t[as->pos];

    if (t->kind != TK_EOF)
        as->pos++;
    return t;
}

bool tok_is_word(const struct tok *t, const char *word)
{
    return t->kind == TK_IDENT && strlen(word) == t->len && memcmp(word, t->s, t->len) == 0;
}

bool asm_is_word(const struct as *as, const char *word)
{
    return tok_is_word(asm_peek(as), word);
}

bool asm_is(const struct as *as, unsigned punct)
{
    return asm_peek(as)->kind == TK_PUNCT && asm_peek(as)->p == punct;
}

bool asm_take(struct as *as, unsigned punct)
{
    if (!asm_is(as, punct))
        return false;
    as->pos++;
    return true;
}

bool asm_take_word(struct as *as, const char *word)
{
    if (!asm_is_word(as, word))
        return false;
    as->pos++;
    return true;
}

static const char *punct_text(unsigned p, char buf[2])
{
    static const char *const longs[] = {"..", "->", "<-", "++",  "--", "+=", "-=", ">=", "<=",
                                        "==", "!=", "<<", ">>>", ">>", "&&", "||", "+:"};

    if (p >= P_DOTS)
        return longs[p - P_DOTS];
    buf[0] = (char)p;
    buf[1] = 0;
    return buf;
}

bool asm_want(struct as *as, unsigned punct)
{
    char buf[2];

    return asm_take(as, punct) || asm_fail(as, "'%s' is expected", punct_text(punct, buf));
}

bool asm_at_end(const struct as *as)
{
    const struct tok *t = asm_peek(as);

    return t->kind == TK_EOF || t->kind == TK_NL ||
           (t->kind == TK_PUNCT && (t->p == '}' || t->p == P_ARROW));
}

void asm_skip_nl(struct as *as)
{
    while (asm_peek(as)->kind == TK_NL)
        as->pos++;
}

int asm_raw_reg(const char *s, size_t len)
{
    int n;

    if (len < 2 || len > 3 || s[0] != 'r' || s[1] < '0' || s[1] > '9')
        return -1;
    n = s[1] - '0';
    if (len == 3) {
        if (s[2] < '0' || s[2] > '9' || n == 0)
            return -1;
        n = 10 * n + s[2] - '0';
    }
    return n < ISA_REGS ? n : -1;
}

bool asm_engine_tok(const struct tok *t, enum isa_engine *ret)
{
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        if (tok_is_word(t, isa_engine_name(e))) {
            *ret = (enum isa_engine)e;
            return true;
        }
    return false;
}

#define NAME_MAX_LEN 200

/* A name that is no word stands in quotes. */
static bool is_name(const struct tok *t)
{
    return t->kind == TK_IDENT || (t->kind == TK_STR && t->len > 0);
}

/* name {# number} into buf; the cursor moves behind it. */
static bool paste(struct as *as, char *buf, size_t *ret_len)
{
    const struct tok *t = asm_next(as);
    size_t n = t->len;

    if (!is_name(t))
        return asm_fail(as, "a name is expected");
    if (n > NAME_MAX_LEN)
        return asm_fail(as, "the name is too long");
    memcpy(buf, t->s, n);
    while (asm_take(as, '#')) {
        struct val v = {0};

        if (asm_is(as, '(')) {
            if (as->depth >= 200)
                return asm_fail(as, "nested too deeply");
            as->depth++;
            asm_next(as);
            if (!asm_int(as, &v.i) || !asm_want(as, ')'))
                return false;
            as->depth--;
        } else {
            const struct tok *w = asm_peek(as);

            if (w->kind == TK_INT) {
                v.i = asm_next(as)->u.i;
            } else if (w->kind == TK_IDENT) {
                const struct sym *s;
                char word[NAME_MAX_LEN + 1];

                if (w->len > NAME_MAX_LEN)
                    return asm_fail(as, "the name is too long");
                memcpy(word, w->s, w->len);
                word[w->len] = 0;
                s = asm_find(as, word);
                if (strcmp(word, "core") == 0)
                    v.i = as->core;
                else if (!s || s->kind != SYM_CONST || s->u.v.kind != VAL_INT)
                    return asm_fail(as, "# wants an integer constant");
                else
                    v.i = s->u.v.i;
                asm_next(as);
            } else {
                return asm_fail(as, "# wants an integer constant");
            }
        }
        n += (size_t)snprintf(buf + n, 24, "%lld", (long long)v.i);
        if (n > NAME_MAX_LEN)
            return asm_fail(as, "the name is too long");
    }
    buf[n] = 0;
    *ret_len = n;
    return true;
}

bool asm_name(struct as *as, const char **ret)
{
    char buf[NAME_MAX_LEN + 32];
    size_t n;

    if (!paste(as, buf, &n))
        return false;
    *ret = arena_strndup(as->arena, buf, n);
    return *ret || asm_nomem(as);
}

/* ---- symbols and scopes ---- */

static uint32_t hash_of(const char *s)
{
    uint32_t h = 2166136261u;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

struct sym *asm_find(const struct as *as, const char *name)
{
    uint32_t h = hash_of(name);

    for (struct sym *s = as->buckets[h % SYM_BUCKETS]; s; s = s->chain)
        if (s->hash == h && strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

struct sym *asm_find_here(struct as *as)
{
    char buf[NAME_MAX_LEN + 32];
    size_t pos = as->pos, n;
    struct err *err = as->err, none = {0};
    unsigned depth = as->depth;
    bool ok;

    if (!is_name(asm_peek(as)))
        return NULL;
    as->err = &none; /* only a look */
    ok = paste(as, buf, &n);
    as->err = err;
    as->pos = pos;
    as->depth = depth;
    return ok ? asm_find(as, buf) : NULL;
}

static bool reserved(const char *name)
{
    static const char *const words[] = {
        "wait", "signal", "goto", "if",    "else", "for",   "while", "repeat", "const",     "param",
        "var",  "tile",   "sem",  "event", "reg",  "queue", "dma",   "macro",  "sbuf",      "psum",
        "hbm",  "pe",     "dve",  "act",   "pool", "sp",    "core",  "peer",   "collective"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i], name) == 0)
            return true;
    return asm_raw_reg(name, strlen(name)) >= 0;
}

struct sym *asm_define(struct as *as, const char *name, enum sym_kind kind)
{
    struct sym *s = asm_find(as, name), *head = as->newest;

    if (reserved(name)) {
        asm_note(as, "%s is a reserved word", name);
        return NULL;
    }
    /* an outer name may be shadowed by constants and registers of an inner block */
    if (s && kind != SYM_CONST && kind != SYM_REG) {
        asm_note(as, "%s is defined already", name);
        return NULL;
    }
    s = arena_alloc(as->arena, sizeof(*s));
    if (!s) {
        asm_nomem(as);
        return NULL;
    }
    as->made += kind != SYM_CONST && kind != SYM_WORD && kind != SYM_REG && kind != SYM_MACRO;
    s->name = name;
    s->kind = kind;
    s->hash = hash_of(name);
    s->older = head;
    s->chain = as->buckets[s->hash % SYM_BUCKETS];
    as->buckets[s->hash % SYM_BUCKETS] = s;
    as->newest = s;
    return s;
}

void asm_scope_open(struct as *as, uint32_t *ret_scope, struct sym **ret_mark, uint64_t *ret_regs)
{
    *ret_scope = as->scope;
    *ret_mark = as->newest;
    *ret_regs = as->regs_used;
    if (mem_grow((void **)&as->scope_parent, &as->scope_cap, (size_t)as->n_scopes + 2,
                 sizeof(uint32_t))) {
        as->n_scopes++;
        as->scope_parent[as->n_scopes] = as->scope;
        as->scope = as->n_scopes;
    } else {
        asm_nomem(as);
    }
}

/* Constants, registers and macros of the block go; declarations stay known to the end of the file.
 */
void asm_scope_close(struct as *as, uint32_t scope, struct sym *mark, uint64_t regs)
{
    struct sym **at = &as->newest;

    while (*at != mark) {
        struct sym *s = *at, **b = &as->buckets[s->hash % SYM_BUCKETS];

        if (s->kind != SYM_CONST && s->kind != SYM_WORD && s->kind != SYM_REG &&
            s->kind != SYM_MACRO) {
            at = &s->older;
            continue;
        }
        while (*b != s)
            b = &(*b)->chain;
        *b = s->chain;
        *at = s->older;
    }
    as->regs_used = regs;
    as->scope = scope;
}

bool asm_reg_alloc(struct as *as, int *ret)
{
    for (int r = 0; r < ISA_REGS; r++)
        if (!(as->regs_used >> r & 1)) {
            as->regs_used |= 1ull << r;
            *ret = r;
            return true;
        }
    return asm_fail(as, "all 64 registers are named");
}

/* ---- the end of a core's work ---- */

static bool resolve_label(struct as *as, const struct fixup *f, uint64_t *ret)
{
    char key[NAME_MAX_LEN + 64];
    uint32_t scope = f->scope;

    for (;;) {
        snprintf(key, sizeof(key), "%u:%u:%s", f->engine, scope, f->name);
        if (str_map_get(&as->labels, key, ret))
            return true;
        if (scope == 0)
            break;
        scope = as->scope_parent[scope];
    }
    err_set(as->err, NRT_INVALID, "%s:%u: label %s is not defined in %s", as->file, f->line,
            f->name, isa_engine_name(f->engine));
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct isa_asm_queue *const *)a)->name,
                  (*(const struct isa_asm_queue *const *)b)->name);
}

static bool number_queues(struct as *as)
{
    size_t n = as->out->n_queues;
    struct isa_asm_queue **q;

    if (n == 0)
        return true;
    if (n > UINT16_MAX)
        return asm_fail(as, "more than 65535 queues");
    q = mem_calloc(n, sizeof(*q));
    if (!q)
        return asm_nomem(as);
    for (size_t i = 0; i < n; i++)
        q[i] = &as->out->queues[i];
    qsort(q, n, sizeof(*q), by_name);
    for (size_t i = 0; i < n; i++)
        q[i]->number = (unsigned)i;
    mem_free(q);
    return true;
}

static bool resolve(struct as *as)
{
    if (!number_queues(as))
        return false;
    for (size_t i = 0; i < as->n_fix; i++) {
        struct isa_record *r = &as->eng[as->fix[i].engine].r[as->fix[i].record];
        uint64_t at;

        if (!as->fix[i].name) { /* a queue of a dynamic transfer */
            r->body.d.queue = (uint16_t)as->out->queues[as->fix[i].scope].number;
            continue;
        }
        if (!resolve_label(as, &as->fix[i], &at))
            return false;
        r->body.s.target = (uint32_t)at;
    }
    return true;
}

/* A program that could run past its last record, or is branched to behind it, gets an END. */
static bool close_programs(struct as *as)
{
    for (int e = 0; e < ISA_ENGINES; e++) {
        struct eng_out *o = &as->eng[e];
        struct isa_record *r;

        if (o->n == 0 && !o->target_end)
            continue;
        if (o->n && !o->target_end && o->r[o->n - 1].opcode == ISA_OP_END)
            continue;
        if (o->n && !o->target_end && o->r[o->n - 1].opcode == ISA_OP_BRANCH &&
            o->r[o->n - 1].body.s.op == ISA_BR_ALWAYS)
            continue;
        as->engine = e;
        r = asm_emit(as);
        if (!r)
            return false;
        r->opcode = ISA_OP_END;
    }
    return true;
}

struct env_lists {
    int64_t *vars, *dmas[ISA_ENGINES], *dge;
    uint64_t *sizes;
    size_t n_dmas[ISA_ENGINES], n_dge;
    bool *dynamic;
};

static bool make_lists(struct as *as, struct env_lists *l)
{
    const struct isa_asm_core *c = as->out;
    size_t dge = 0;

    for (size_t i = 0; i < c->n_vars; i++)
        dge += c->vars[i].n_list;
    l->vars = arena_calloc(as->arena, c->n_vars + 1, sizeof(*l->vars));
    l->sizes = arena_calloc(as->arena, c->n_vars + 1, sizeof(*l->sizes));
    l->dge = arena_calloc(as->arena, dge + 1, sizeof(*l->dge));
    l->dynamic = arena_calloc(as->arena, c->n_queues + 1, sizeof(*l->dynamic));
    if (!l->vars || !l->sizes || !l->dge || !l->dynamic)
        return asm_nomem(as);
    for (size_t i = 0; i < c->n_vars; i++) {
        l->vars[i] = c->vars[i].var_id;
        l->sizes[i] = c->vars[i].size;
        for (size_t k = 0; k < c->vars[i].n_list; k++)
            l->dge[l->n_dge++] = c->vars[i].list[k];
    }
    for (size_t i = 0; i < c->n_queues; i++)
        l->dynamic[c->queues[i].number] = strcmp(c->queues[i].type, "dynamic") == 0 ||
                                          strcmp(c->queues[i].type, "embedding_update") == 0;
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        l->dmas[e] = arena_calloc(as->arena, c->n_dmas + 1, sizeof(int64_t));
        if (!l->dmas[e])
            return asm_nomem(as);
    }
    for (size_t i = 0; i < c->n_dmas; i++)
        l->dmas[c->dmas[i].engine][l->n_dmas[c->dmas[i].engine]++] = c->dmas[i].id;
    return true;
}

/* The load-time check, with the line of the text in front. Text without declarations is a bare
 * program: its references are not looked at. */
static bool check(struct as *as)
{
    const struct isa_asm_core *c = as->out;
    struct env_lists l = {0};
    bool bare = c->n_vars + c->n_queues + c->n_dmas == 0;

    if (!make_lists(as, &l))
        return false;
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        const struct isa_asm_program *p = &c->engine[e];
        struct isa_check_env env = {.gen = as->res->gen,
                                    .lnc = as->lnc,
                                    .var_ids = bare ? NULL : l.vars,
                                    .var_sizes = l.sizes,
                                    .n_vars = c->n_vars,
                                    .dma_ids = bare ? NULL : l.dmas[e],
                                    .n_dma_ids = l.n_dmas[e],
                                    .n_queues = bare ? 65536 : c->n_queues,
                                    .queue_dynamic = bare ? NULL : l.dynamic,
                                    .dge_ids = l.n_dge ? l.dge : NULL,
                                    .n_dge_ids = l.n_dge,
                                    .n_collectives = 65536,
                                    .collectives = true};
        struct err err = {0};
        unsigned long i;

        if (p->n == 0)
            continue;
        if (isa_check_program(p->records, p->n * sizeof(*p->records), (enum isa_engine)e, &env,
                              as->sink, &err) == NRT_SUCCESS)
            continue;
        if (sscanf(err.text, "record %lu", &i) != 1 &&
            (!strstr(err.text, "(record ") ||
             sscanf(strstr(err.text, "(record "), "(record %lu", &i) != 1))
            i = p->n;
        err_set(as->err, err.status, "%s:%u: %s: %.380s", as->file, i < p->n ? p->lines[i].line : 0,
                isa_engine_name(e), err.text);
        return false;
    }
    return true;
}

static void hand_over(struct as *as)
{
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        as->out->engine[e] = (struct isa_asm_program){as->eng[e].r, as->eng[e].l, as->eng[e].n};
        as->eng[e].r = NULL;
        as->eng[e].l = NULL;
    }
}

static bool defines(struct as *as)
{
    for (size_t i = 0; i < as->opts->n_defines; i++) {
        const struct isa_asm_define *d = &as->opts->defines[i];
        struct toks t;
        struct tok *outer = as->t;
        size_t pos = as->pos;
        struct sym *s;
        bool ok, word;
        const char *name = arena_strdup(as->arena, d->name);

        if (!name)
            return asm_nomem(as);
        if (!asm_lex(as, d->value, strlen(d->value), &t))
            return false;
        as->t = t.t;
        as->pos = 0;
        s = asm_define(as, name, SYM_CONST);
        word = s && t.t[0].kind == TK_IDENT && t.t[1].kind == TK_NL && !asm_find_here(as) &&
               strcmp(d->value, "inf") != 0 && strcmp(d->value, "nan") != 0;
        if (word) {
            s->kind = SYM_WORD;
            s->u.word = arena_strndup(as->arena, t.t[0].s, t.t[0].len);
            ok = s->u.word || asm_nomem(as);
        } else {
            ok = s && asm_expr(as, &s->u.v);
            if (ok) {
                asm_skip_nl(as);
                ok = asm_peek(as)->kind == TK_EOF || asm_fail(as, "define %s", name);
            }
        }
        as->t = outer;
        as->pos = pos;
        mem_free(t.t);
        if (!ok)
            return false;
    }
    return true;
}

void asm_take_define(struct as *as, const char *name)
{
    for (size_t i = 0; i < as->opts->n_defines; i++)
        if (strcmp(as->opts->defines[i].name, name) == 0)
            as->taken[i] = true;
}

/* A value that nothing takes is a mistake in its name. */
static bool defines_taken(struct as *as)
{
    for (size_t i = 0; i < as->opts->n_defines; i++)
        if (!as->taken[i]) {
            err_set(as->err, NRT_INVALID, "%s: no `param` takes the value of %s", as->file,
                    as->opts->defines[i].name);
            return false;
        }
    return true;
}

static bool one_core(struct as *as, const struct toks *t, unsigned core)
{
    bool ok;

    as->taken = arena_calloc(as->arena, as->opts->n_defines + 1, sizeof(*as->taken));
    if (!as->taken)
        return asm_nomem(as);
    as->core = core;
    as->out = &as->res->core[core];
    as->engine = -1;
    as->t = t->t;
    as->pos = 0;
    ok = defines(as) && asm_block(as, false) && defines_taken(as) && close_programs(as) &&
         resolve(as);
    hand_over(as);
    if (ok && !as->opts->no_check)
        ok = check(as);
    str_map_fini(&as->labels);
    mem_free(as->fix);
    mem_free(as->scope_parent);
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        mem_free(as->eng[e].r);
        mem_free(as->eng[e].l);
    }
    return ok;
}

void isa_asm_free(struct isa_asm_result *res)
{
    if (!res)
        return;
    for (unsigned c = 0; c < 2; c++) {
        for (unsigned e = 0; e < ISA_ENGINES; e++) {
            mem_free(res->core[c].engine[e].records);
            mem_free(res->core[c].engine[e].lines);
        }
        mem_free(res->core[c].vars);
        mem_free(res->core[c].queues);
        mem_free(res->core[c].dmas);
        mem_free(res->core[c].colls);
    }
    if (res->arena)
        arena_fini(res->arena);
    mem_free(res->arena);
    mem_free(res);
}

NRT_STATUS isa_asm(const char *text, size_t size, const struct isa_asm_opts *opts,
                   const struct diag_sink *sink, struct isa_asm_result **ret, struct err *err)
{
    static const struct isa_asm_opts none;
    struct isa_asm_result *res = mem_zalloc(sizeof(*res));
    struct as *as = mem_zalloc(sizeof(*as));
    struct toks t = {0};
    struct err own = {0};
    bool ok = res && as;

    if (ok) {
        res->arena = mem_zalloc(sizeof(*res->arena));
        ok = res->arena != NULL;
    }
    if (!ok) {
        err_set(&own, NRT_RESOURCE, "out of memory");
        goto out;
    }
    if (!opts)
        opts = &none;
    *as = (struct as){.opts = opts, .sink = sink, .err = &own, .res = res, .arena = res->arena};
    as->file = arena_strdup(res->arena, opts->file ? opts->file : "<text>");
    ok = as->file || asm_nomem(as);
    res->file = as->file;
    res->gen = opts->gen ? opts->gen : ISA_V2;
    res->n_cores = 1;
    as->lnc = 1;
    ok = ok && asm_lex(as, text, size, &t) && one_core(as, &t, 0);
    if (ok && as->lnc == 2) {
        const char *file = as->file;

        res->n_cores = 2;
        *as = (struct as){.opts = opts,
                          .sink = sink,
                          .err = &own,
                          .res = res,
                          .arena = res->arena,
                          .file = file,
                          .lnc = 2};
        ok = one_core(as, &t, 1);
    }
out:
    mem_free(t.t);
    mem_free(as);
    if (ok) {
        *ret = res;
        return NRT_SUCCESS;
    }
    isa_asm_free(res);
    return err_set(err, own.status ? own.status : NRT_FAILURE, "%s", own.text);
}
