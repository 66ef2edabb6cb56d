/* SPDX-License-Identifier: Apache-2.0 */
/* Text to tokens. Newlines inside ( ) and [ ] and after a backslash do not count. */
#include "isa/asm_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct lexer {
    struct as *as;
    const char *s, *end;
    uint32_t line;
    unsigned nest;
    struct tok *t;
    size_t n, cap;
};

static bool lex_fail(struct lexer *lx, const char *what)
{
    err_set(lx->as->err, NRT_INVALID, "%s:%u: %s", lx->as->file, lx->line, what);
    return false;
}

static struct tok *push(struct lexer *lx, unsigned kind, const char *s, size_t len)
{
    struct tok *t;

    if (len > UINT32_MAX || !mem_grow((void **)&lx->t, &lx->cap, lx->n + 1, sizeof(*lx->t))) {
        asm_nomem(lx->as);
        return NULL;
    }
    t = &lx->t[lx->n++];
    *t = (struct tok){.kind = (uint8_t)kind, .line = lx->line, .len = (uint32_t)len, .s = s};
    return t;
}

static bool is_word_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_word_start(c) || is_digit(c);
}

/* Comments, blanks, line ends; false at the end of the text or on an error. */
static bool skip_blank(struct lexer *lx, bool *ret_failed)
{
    while (lx->s < lx->end) {
        char c = *lx->s;

        if (c == ' ' || c == '\t' || c == '\r') {
            lx->s++;
        } else if (c == ';' || (c == '/' && lx->s + 1 < lx->end && lx->s[1] == '/')) {
            while (lx->s < lx->end && *lx->s != '\n')
                lx->s++;
        } else if (c == '/' && lx->s + 1 < lx->end && lx->s[1] == '*') {
            for (lx->s += 2; lx->s + 1 < lx->end && !(lx->s[0] == '*' && lx->s[1] == '/'); lx->s++)
                lx->line += *lx->s == '\n';
            if (lx->s + 1 >= lx->end) {
                *ret_failed = !lex_fail(lx, "the comment does not end");
                return false;
            }
            lx->s += 2;
        } else if (c == '\\' && lx->s + 1 < lx->end && lx->s[1] == '\n') {
            lx->s += 2;
            lx->line++;
        } else if (c == '\n' && lx->nest) {
            lx->s++;
            lx->line++;
        } else {
            return true;
        }
    }
    return false;
}

static bool lex_number(struct lexer *lx)
{
    const char *s = lx->s, *e = s;
    char buf[64], *stop;
    bool hex = s + 1 < lx->end && s[0] == '0' && (s[1] == 'x' || s[1] == 'X'), flt = false;
    size_t n = 0;
    struct tok *t;

    if (hex)
        e += 2;
    for (; e < lx->end; e++) {
        if (hex ? !is_word(*e) : !(is_digit(*e) || *e == '_')) {
            if (hex)
                break;
            if (*e == '.' && !flt && !(e + 1 < lx->end && e[1] == '.') && e + 1 < lx->end &&
                is_digit(e[1]))
                flt = true;
            else if ((*e == 'e' || *e == 'E') && e + 1 < lx->end &&
                     (is_digit(e[1]) ||
                      ((e[1] == '-' || e[1] == '+') && e + 2 < lx->end && is_digit(e[2])))) {
                flt = true;
                e++;
            } else
                break;
        }
    }
    if (e < lx->end && is_word(*e))
        return lex_fail(lx, "a number runs into a word");
    for (const char *p = s; p < e; p++)
        if (*p != '_') {
            if (n + 1 >= sizeof(buf))
                return lex_fail(lx, "the number is too long");
            buf[n++] = *p;
        }
    buf[n] = 0;
    t = push(lx, flt ? TK_FLOAT : TK_INT, s, (size_t)(e - s));
    if (!t)
        return false;
    errno = 0;
    if (flt) {
        t->u.f = strtod(buf, &stop);
    } else {
        unsigned long long v = strtoull(hex ? buf + 2 : buf, &stop, hex ? 16 : 10);

        if (errno || v > INT64_MAX)
            return lex_fail(lx, "the number is too large");
        t->u.i = (int64_t)v;
    }
    if (*stop || (hex && n == 2))
        return lex_fail(lx, "the number is malformed");
    lx->s = e;
    return true;
}

static bool lex_string(struct lexer *lx)
{
    const char *s = ++lx->s;

    while (lx->s < lx->end && *lx->s != '"' && *lx->s != '\n' && *lx->s != 0)
        lx->s++;
    if (lx->s >= lx->end || *lx->s != '"')
        return lex_fail(lx, "the string does not end in its line");
    if (!push(lx, TK_STR, s, (size_t)(lx->s - s)))
        return false;
    lx->s++;
    return true;
}

static bool lex_punct(struct lexer *lx)
{
    static const struct {
        const char *s;
        uint8_t code;
    } longs[] = {{">>>", P_SAR}, {"..", P_DOTS},  {"->", P_ARROW}, {"<-", P_FROM}, {"++", P_INC},
                 {"--", P_DEC},  {"+=", P_ADDEQ}, {"-=", P_SUBEQ}, {">=", P_GE},   {"<=", P_LE},
                 {"==", P_EQ},   {"!=", P_NE},    {"<<", P_SHL},   {">>", P_SHR},  {"&&", P_ANDAND},
                 {"||", P_OROR}, {"+:", P_LEN}};
    size_t left = (size_t)(lx->end - lx->s), len = 1;
    unsigned code = (unsigned char)*lx->s;
    struct tok *t;

    for (size_t i = 0; i < sizeof(longs) / sizeof(longs[0]); i++) {
        size_t n = strlen(longs[i].s);

        if (n <= left && memcmp(longs[i].s, lx->s, n) == 0) {
            code = longs[i].code;
            len = n;
            break;
        }
    }
    if (code < 128 && (code == 0 || !strchr("()[]{}.,:=+-*/%<>&|^~!?@#$", (int)code)))
        return lex_fail(lx, "a character that has no meaning here");
    if (code >= 128 && len == 1)
        return lex_fail(lx, "a character that has no meaning here");
    t = push(lx, TK_PUNCT, lx->s, len);
    if (!t)
        return false;
    t->p = (uint8_t)code;
    if (code == '(' || code == '[')
        lx->nest++;
    else if ((code == ')' || code == ']') && lx->nest)
        lx->nest--;
    lx->s += len;
    return true;
}

bool asm_lex(struct as *as, const char *text, size_t size, struct toks *ret)
{
    struct lexer lx = {.as = as, .s = text, .end = text + size, .line = 1};
    bool failed = false, ok = true;

    while (ok && skip_blank(&lx, &failed)) {
        const char *s = lx.s;

        if (*s == '\n') {
            ok = push(&lx, TK_NL, s, 1);
            lx.s++;
            lx.line++;
        } else if (is_word_start(*s)) {
            while (lx.s < lx.end && is_word(*lx.s))
                lx.s++;
            ok = push(&lx, TK_IDENT, s, (size_t)(lx.s - s));
        } else if (is_digit(*s)) {
            ok = lex_number(&lx);
        } else if (*s == '"') {
            ok = lex_string(&lx);
        } else {
            ok = lex_punct(&lx);
        }
    }
    ok = ok && !failed && push(&lx, TK_NL, "", 0) && push(&lx, TK_EOF, "", 0);
    if (!ok) {
        mem_free(lx.t);
        return false;
    }
    ret->t = lx.t;
    ret->n = lx.n;
    return true;
}
