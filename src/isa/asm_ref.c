/* SPDX-License-Identifier: Apache-2.0 */
/* Tensor operands: names with indices and views, raw forms, and what they become. */
#include "isa/asm_int.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"

static int raw_mem(const struct tok *t)
{
    if (tok_is_word(t, "sbuf"))
        return ISA_SBUF;
    if (tok_is_word(t, "psum"))
        return ISA_PSUM;
    if (tok_is_word(t, "hbm"))
        return ISA_HBM;
    return 0;
}

bool asm_ref_starts(struct as *as)
{
    const struct tok *t = asm_peek(as), *t2 = asm_peek2(as);
    const struct sym *s;

    if (raw_mem(t) && t2->kind == TK_PUNCT && t2->p == '.')
        return true;
    s = asm_find_here(as);
    return s && (s->kind == SYM_TILE || s->kind == SYM_VAR);
}

static bool too_large(struct as *as)
{
    return asm_fail(as, "the operand's offset or step is too large");
}

/* off += n * step elements */
static bool move(struct as *as, struct ref *r, int64_t n, int64_t step)
{
    int64_t d;

    if (i64_mul_over(n, step, &d) ||
        i64_mul_over(d, (int64_t)dtype_size((enum dtype)r->dtype), &d) ||
        i64_add_over(r->off, d, &r->off))
        return too_large(as);
    return true;
}

static bool add_reg(struct as *as, struct ref *r, unsigned reg, int64_t mul)
{
    if (r->vec || (r->off_reg >= 0 && r->off_reg != (int)reg))
        return asm_fail(as, "the operand has an offset already");
    r->off_reg = (int)reg;
    return !i64_add_over(r->off_mul, mul, &r->off_mul) || too_large(as);
}

/* ---- raw forms ---- */

static bool raw_dims(struct as *as, struct ref *r)
{
    while (asm_take(as, ',')) {
        if (asm_take(as, '[')) {
            if (r->nd == ASM_DIMS)
                return asm_fail(as, "too many dimensions");
            if (!asm_int(as, &r->step[r->nd]) || !asm_want(as, ',') ||
                !asm_int(as, &r->num[r->nd]) || !asm_want(as, ']'))
                return false;
            r->nd++;
        } else if (asm_take(as, '+')) {
            struct val v;

            if (!asm_expr(as, &v))
                return false;
            if (v.kind != VAL_REG || v.i)
                return asm_fail(as, "register * factor is expected");
            if (!add_reg(as, r, v.reg, v.mul))
                return false;
        } else if (asm_take(as, '@')) {
            struct ref *vec = arena_alloc(as->arena, sizeof(*vec));

            if (!vec)
                return asm_nomem(as);
            if (r->mem != ISA_HBM || r->vec || r->off_reg >= 0)
                return asm_fail(as, "a vector offset belongs to a variable");
            if (!asm_ref(as, vec) || !asm_want(as, '*') || !asm_int(as, &r->off_mul))
                return false;
            r->vec = vec;
        } else if (r->mem == ISA_HBM && asm_take_word(as, "bound")) {
            int64_t first, bytes;

            if (!asm_want(as, '(') || !asm_int_range(as, "bound", 0, INT64_MAX, &first) ||
                !asm_want(as, ',') || !asm_int_range(as, "bound", 0, INT64_MAX, &bytes) ||
                !asm_want(as, ')'))
                return false;
            r->bound_first = (uint64_t)first;
            r->bound_bytes = (uint64_t)bytes;
        } else if (r->mem == ISA_HBM && asm_take_word(as, "bytes")) {
            r->bytes = true;
        } else {
            return asm_fail(as, "[step, num] or +register is expected");
        }
    }
    return asm_want(as, ')');
}

static bool raw_tile(struct as *as, struct ref *r)
{
    int64_t a, b = 0;

    if (!asm_int_range(as, "partition", 0, 255, &a))
        return false;
    r->part = (unsigned)a;
    if (asm_take(as, ':')) {
        if (!asm_int_range(as, "partition", a, a + 255, &b))
            return false;
        r->nparts = (unsigned)(b - a);
    } else {
        r->scalar_form = true;
        r->nparts = 1;
    }
    if (!asm_want(as, ',') || !asm_int_range(as, "offset", 0, UINT32_MAX, &r->off))
        return false;
    return raw_dims(as, r);
}

static bool raw_hbm(struct as *as, struct ref *r)
{
    const struct sym *s = asm_find_here(as);
    const char *name;
    int64_t id;

    if (s && s->kind == SYM_VAR) {
        if (!asm_name(as, &name))
            return false;
        r->var = (int64_t)s->u.index;
        r->var_id = (uint32_t)as->out->vars[r->var].var_id;
    } else {
        if (!asm_int_range(as, "variable", 0, UINT32_MAX, &id))
            return false;
        r->var_id = (uint32_t)id;
    }
    return asm_want(as, ',') && asm_int(as, &r->off) && raw_dims(as, r);
}

static bool raw_ref(struct as *as, struct ref *r)
{
    enum dtype t;

    r->mem = (uint8_t)raw_mem(asm_next(as));
    if (!asm_want(as, '.') || !asm_dtype(as, &t) || !asm_want(as, '('))
        return false;
    r->dtype = (uint8_t)t;
    return r->mem == ISA_HBM ? raw_hbm(as, r) : raw_tile(as, r);
}

/* ---- indices ---- */

struct slice {
    bool point; /* one index: the dimension goes away */
    int64_t first, step, num;
    int reg;
    int64_t mul;
};

static bool slice_tail(struct as *as, int64_t dim, bool has_a, int64_t a, struct slice *s)
{
    bool has_b = false;
    int64_t b = 0, step = 1;

    if (!asm_is(as, ':') && !asm_is(as, ',') && !asm_is(as, ']')) {
        has_b = true;
        if (!asm_int(as, &b))
            return false;
    }
    if (asm_take(as, ':') && !asm_int(as, &step))
        return false;
    if (step == 0 || step < -32768 || step > 32767)
        return asm_fail(as, "step %lld is not possible", (long long)step);
    if (!has_a)
        a = step > 0 ? 0 : dim - 1;
    if (!has_b)
        b = step > 0 ? dim : -1;
    if (a < 0 || a >= dim || b < -1 || b > dim || (step > 0 ? b <= a : b >= a))
        return asm_fail(as, "slice %lld:%lld:%lld of a dimension of %lld", (long long)a,
                        (long long)b, (long long)step, (long long)dim);
    s->first = a;
    s->step = step;
    s->num = step > 0 ? (b - a - 1) / step + 1 : (a - b - 1) / -step + 1;
    return true;
}

static bool parse_slice(struct as *as, int64_t dim, struct slice *s)
{
    struct val v;

    *s = (struct slice){.step = 1, .num = 1, .reg = -1};
    if (asm_take(as, ':'))
        return slice_tail(as, dim, false, 0, s);
    if (!asm_expr(as, &v))
        return false;
    if (v.kind == VAL_FLOAT)
        return asm_fail(as, "an index is an integer");
    s->first = v.i;
    if (v.kind == VAL_REG) {
        s->reg = v.reg;
        s->mul = v.mul;
    }
    if (asm_take(as, P_LEN)) {
        if (!asm_int_range(as, "length", 1, INT32_MAX, &s->num))
            return false;
    } else if (asm_is(as, ':')) {
        if (v.kind == VAL_REG)
            return asm_fail(as, "a slice that starts at a register is written r +: length");
        asm_next(as);
        return slice_tail(as, dim, true, v.i, s);
    } else {
        s->point = true;
    }
    if (s->reg < 0 && (s->first < 0 || s->first >= dim || s->num > dim - s->first))
        return asm_fail(as, "index %lld of a dimension of %lld", (long long)s->first,
                        (long long)dim);
    return true;
}

static bool index_partition(struct as *as, struct ref *r)
{
    struct slice s;

    if (!parse_slice(as, r->nparts, &s))
        return false;
    if (s.reg >= 0 || s.step != 1)
        return asm_fail(as, "partitions are taken by a plain range");
    r->part += (unsigned)s.first;
    r->nparts = (unsigned)s.num;
    return true;
}

static bool index_vector(struct as *as, struct ref *r)
{
    struct ref *vec = arena_alloc(as->arena, sizeof(*vec));

    if (!vec)
        return asm_nomem(as);
    if (!asm_ref(as, vec))
        return false;
    if (vec->mem != ISA_SBUF || r->mem != ISA_HBM || r->vec || r->off_reg >= 0)
        return asm_fail(as, "a vector offset is an SBUF tile in a variable's first index");
    r->vec = vec;
    r->off_mul = r->step[0];
    r->step[0] = 0;
    r->num[0] = vec->nparts;
    return true;
}

static bool parse_index(struct as *as, struct ref *r)
{
    unsigned from = 0, to = 0, nd = r->nd;
    bool first = true;

    do {
        struct slice s;
        int64_t mul;

        if (first && r->mem != ISA_HBM) {
            first = false;
            if (!index_partition(as, r))
                return false;
            continue;
        }
        if (from == nd)
            return asm_fail(as, "more indices than dimensions");
        if (first && asm_ref_starts(as)) {
            if (!index_vector(as, r))
                return false;
            first = false;
            from++;
            to++;
            continue;
        }
        first = false;
        if (!parse_slice(as, r->num[from], &s) || !move(as, r, s.first, r->step[from]))
            return false;
        if (s.reg >= 0 &&
            (i64_mul_over(s.mul, r->step[from], &mul) || !add_reg(as, r, (unsigned)s.reg, mul)))
            return too_large(as); /* unless an error is set already */
        if (!s.point) {
            if (i64_mul_over(r->step[from], s.step, &r->step[to]))
                return too_large(as);
            r->num[to] = s.num;
            to++;
        }
        from++;
    } while (asm_take(as, ','));
    for (; from < nd; from++, to++) {
        r->step[to] = r->step[from];
        r->num[to] = r->num[from];
    }
    r->nd = to;
    return asm_want(as, ']');
}

/* ---- views ---- */

/* Where there is one element its step says nothing: it may have the one that suits. */
static bool steps_by(const struct ref *r, unsigned k, int64_t step)
{
    return r->num[k] == 1 || r->step[k] == step;
}

static bool view(struct as *as, struct ref *r)
{
    int64_t old = (int64_t)dtype_size((enum dtype)r->dtype), now;
    enum dtype t;

    if (!asm_dtype(as, &t))
        return false;
    now = (int64_t)dtype_size(t);
    r->dtype = (uint8_t)t;
    if (old == now)
        return true;
    if (r->nd == 0 && now < old && old % now == 0) { /* one cell becomes a few */
        r->nd = 1;
        r->step[0] = 1;
        r->num[0] = 1;
    }
    if (r->nd == 0 || !steps_by(r, r->nd - 1, 1) || r->num[r->nd - 1] * old % now)
        return asm_fail(as, "the view does not fit the last dimension");
    r->step[r->nd - 1] = 1;
    for (unsigned k = 0; k + 1 < r->nd; k++) {
        if (r->num[k] == 1)
            r->step[k] = now;
        if (i64_mul_over(r->step[k], old, &r->step[k]))
            return too_large(as);
        if (r->step[k] % now)
            return asm_fail(as, "the view does not fit dimension %u", k);
        r->step[k] /= now;
    }
    if (i64_mul_over(r->num[r->nd - 1], old, &r->num[r->nd - 1]) ||
        i64_mul_over(r->off_mul, old, &r->off_mul))
        return too_large(as);
    r->num[r->nd - 1] /= now;
    if (r->off_mul % now)
        return asm_fail(as, "the view does not fit the register's factor");
    r->off_mul /= now;
    return true;
}

static bool dim_list(struct as *as, int64_t *dims, unsigned *ret_n)
{
    unsigned n = 0;

    if (!asm_is(as, ')'))
        do {
            if (n == ASM_DIMS)
                return asm_fail(as, "too many dimensions");
            if (!asm_int_range(as, "dimension", 0, INT32_MAX, &dims[n]))
                return false;
            n++;
        } while (asm_take(as, ','));
    *ret_n = n;
    return true;
}

static bool bcast(struct as *as, struct ref *r)
{
    int64_t d[ASM_DIMS], step[ASM_DIMS];
    unsigned n;

    if (!dim_list(as, d, &n))
        return false;
    if (n < r->nd || n == 0)
        return asm_fail(as, "bcast to fewer dimensions");
    for (unsigned k = 0; k < n; k++) {
        unsigned lead = n - r->nd;
        int64_t num = k < lead ? 1 : r->num[k - lead];

        if (d[k] == 0 || (num != 1 && num != d[k]))
            return asm_fail(as, "bcast of a dimension of %lld to %lld", (long long)num,
                            (long long)d[k]);
        step[k] = num == d[k] && k >= lead ? r->step[k - lead] : 0;
    }
    r->nd = n;
    memcpy(r->step, step, n * sizeof(step[0]));
    memcpy(r->num, d, n * sizeof(d[0]));
    return true;
}

static bool reshape(struct as *as, struct ref *r)
{
    int64_t d[ASM_DIMS], have = 1, want = 1, base = 1;
    unsigned n;

    if (!dim_list(as, d, &n))
        return false;
    for (unsigned k = 0; k < r->nd; k++)
        if (r->num[k] != 1)
            base = r->step[k];
    for (unsigned k = r->nd; k-- > 0;) {
        if (!steps_by(r, k, base * have))
            return asm_fail(as, "reshape of a tensor that is not contiguous");
        if (i64_mul_over(have, r->num[k], &have))
            return too_large(as);
    }
    for (unsigned k = n; k-- > 0;) {
        if (d[k] == 0 || i64_mul_over(base, want, &r->step[k]) || i64_mul_over(want, d[k], &want))
            return too_large(as);
        r->num[k] = d[k];
    }
    if (have != want)
        return asm_fail(as, "reshape of %lld elements to %lld", (long long)have, (long long)want);
    r->nd = n;
    return true;
}

static bool perm(struct as *as, struct ref *r)
{
    int64_t d[ASM_DIMS];
    struct ref old = *r;
    unsigned n, seen = 0;

    if (!dim_list(as, d, &n))
        return false;
    for (unsigned k = 0; k < n; k++) {
        if (d[k] >= r->nd || n != r->nd || (seen >> d[k] & 1))
            return asm_fail(as, "perm wants every dimension once");
        seen |= 1u << d[k];
        r->step[k] = old.step[d[k]];
        r->num[k] = old.num[d[k]];
    }
    return n == r->nd || asm_fail(as, "perm wants every dimension once");
}

static bool bound(struct as *as, struct ref *r)
{
    int64_t first, bytes;

    if (r->mem != ISA_HBM)
        return asm_fail(as, "bound belongs to a variable");
    if (!asm_int_range(as, "bound", 0, INT64_MAX, &first) || !asm_want(as, ',') ||
        !asm_int_range(as, "bound", 0, INT64_MAX, &bytes))
        return false;
    r->bound_first = (uint64_t)first;
    r->bound_bytes = (uint64_t)bytes;
    return true;
}

static bool views(struct as *as, struct ref *r)
{
    static const struct {
        const char *name;
        bool (*fn)(struct as *, struct ref *);
    } tab[] = {
        {"view", view}, {"bcast", bcast}, {"reshape", reshape}, {"perm", perm}, {"bound", bound}};

    for (;;) {
        const struct tok *t;
        size_t i = 0;

        if (asm_take(as, '[')) { /* a view may be indexed again */
            if (r->vec)
                return asm_fail(as, "no index of a tensor with a vector offset");
            if (r->bytes)
                return asm_fail(as, "no index of a pattern of bytes");
            if (!parse_index(as, r))
                return false;
            continue;
        }
        if (!asm_take(as, '.'))
            return true;
        t = asm_next(as);
        while (i < sizeof(tab) / sizeof(tab[0]) && !tok_is_word(t, tab[i].name))
            i++;
        if (i == sizeof(tab) / sizeof(tab[0]))
            return asm_fail(as, "%.*s is no view", (int)t->len, t->s);
        if (r->vec && tab[i].fn != bound)
            return asm_fail(as, "no view of a tensor with a vector offset");
        if (r->bytes)
            return asm_fail(as, "no view of a pattern of bytes");
        if (!asm_want(as, '(') || !tab[i].fn(as, r) || !asm_want(as, ')'))
            return false;
    }
}

bool asm_ref(struct as *as, struct ref *ret)
{
    const struct sym *s;
    const char *name;

    if (as->depth >= 200)
        return asm_fail(as, "nested too deeply");
    *ret = (struct ref){.off_reg = -1, .var = -1};
    if (!asm_ref_starts(as))
        return asm_fail(as, "a tensor is expected");
    if (raw_mem(asm_peek(as)) && asm_peek2(as)->kind == TK_PUNCT && asm_peek2(as)->p == '.') {
        as->depth++;
        if (!raw_ref(as, ret))
            return false;
        as->depth--;
        return views(as, ret);
    }
    s = asm_find_here(as);
    if (!asm_name(as, &name))
        return false;
    ret->named = true;
    if (s->kind == SYM_TILE) {
        const struct tile *t = s->u.tile;

        ret->mem = t->mem;
        ret->dtype = t->dtype;
        ret->part = t->part;
        ret->nparts = t->nparts;
        ret->off = t->off;
        ret->nd = t->nd;
        memcpy(ret->num, t->shape, sizeof(ret->num));
    } else {
        const struct isa_asm_var *v = &as->out->vars[s->u.index];

        ret->mem = ISA_HBM;
        ret->var = (int64_t)s->u.index;
        ret->var_id = (uint32_t)v->var_id;
        ret->dtype = (uint8_t)v->dtype;
        if (ret->dtype == DT_INVALID)
            return asm_fail(as, "variable %s has no data type", name);
        ret->nd = v->ndim;
        for (unsigned k = 0; k < ret->nd; k++)
            ret->num[k] = (int64_t)v->shape[k];
    }
    for (unsigned k = ret->nd; k-- > 0;)
        ret->step[k] = k + 1 == ret->nd ? 1 : ret->step[k + 1] * ret->num[k + 1];
    as->depth++;
    if (!views(as, ret))
        return false;
    as->depth--;
    return true;
}

/* ---- what they become ---- */

/* At most `most` dimensions: drop those of one element, then join what lies in line. */
static unsigned squeeze(unsigned nd, int64_t *step, int64_t *num, unsigned most)
{
    unsigned n = 0;

    if (nd <= most)
        return nd;
    for (unsigned k = 0; k < nd; k++)
        if (num[k] != 1) {
            step[n] = step[k];
            num[n++] = num[k];
        }
    for (unsigned k = 0; n > most && k + 1 < n;) {
        int64_t run, all;

        if (!i64_mul_over(step[k + 1], num[k + 1], &run) && run == step[k] &&
            !i64_mul_over(num[k], num[k + 1], &all)) {
            num[k] = all;
            step[k] = step[k + 1];
            memmove(&step[k + 1], &step[k + 2], (n - k - 2) * sizeof(step[0]));
            memmove(&num[k + 1], &num[k + 2], (n - k - 2) * sizeof(num[0]));
            n--;
        } else {
            k++;
        }
    }
    if (n == 0) {
        step[0] = 1;
        num[0] = 1;
        n = 1;
    }
    return n;
}

bool asm_ref_tensor(struct as *as, const struct ref *r, struct isa_tensor *ret)
{
    int64_t step[ASM_DIMS], num[ASM_DIMS];
    unsigned n;

    if (r->mem == ISA_HBM)
        return asm_fail(as, "an SBUF or PSUM tile is expected, not a variable");
    if (r->scalar_form)
        return asm_fail(as, "the partitions are written first:last+1 here");
    memcpy(step, r->step, sizeof(step));
    memcpy(num, r->num, sizeof(num));
    n = squeeze(r->nd, step, num, 4);
    if (n == 0) {
        step[0] = num[0] = 1;
        n = 1;
    }
    if (n > 4)
        return asm_fail(as, "more than 4 dimensions");
    if (r->off < 0 || r->off > UINT32_MAX)
        return asm_fail(as, "offset %lld is outside a partition", (long long)r->off);
    if (r->off_mul < INT32_MIN || r->off_mul > INT32_MAX)
        return asm_fail(as, "register factor %lld is too large", (long long)r->off_mul);
    *ret = (struct isa_tensor){.mem = r->mem,
                               .dtype = r->dtype,
                               .part = (uint8_t)r->part,
                               .nparts = (uint8_t)r->nparts,
                               .offset = (uint32_t)r->off,
                               .ndim = (uint8_t)n,
                               .off_reg = r->off_reg < 0 ? ISA_NO_REG : (uint8_t)r->off_reg,
                               .off_mul = (int32_t)r->off_mul};
    for (unsigned k = 0; k < n; k++) {
        int64_t s = step[n - 1 - k], m = num[n - 1 - k];

        if (m == 1 && (s < INT16_MIN || s > INT16_MAX))
            s = 1; /* never taken */
        if (m < 0 || m > UINT16_MAX)
            return asm_fail(as, "dimension of %lld elements, at most 65535", (long long)m);
        if (s < INT16_MIN || s > INT16_MAX)
            return asm_fail(as, "step %lld does not fit 16 bits", (long long)s);
        ret->dim[k] = (struct isa_dim){(int16_t)s, (uint16_t)m};
    }
    return true;
}

bool asm_ref_hbm(struct as *as, const struct ref *r, struct isa_hbm *ret)
{
    int64_t step[ASM_DIMS], num[ASM_DIMS];
    unsigned n;

    if (r->mem != ISA_HBM)
        return asm_fail(as, "a variable is expected");
    if (r->bytes)
        return asm_fail(as, "a pattern of bytes belongs to a descriptor");
    memcpy(step, r->step, sizeof(step));
    memcpy(num, r->num, sizeof(num));
    if (r->vec && r->nd > 4) { /* the rows stay a dimension of their own */
        n = 1 + squeeze(r->nd - 1, step + 1, num + 1, 3);
    } else {
        n = squeeze(r->nd, step, num, 4);
    }
    if (n == 0) {
        step[0] = num[0] = 1;
        n = 1;
    }
    if (n > 4)
        return asm_fail(as, "more than 4 dimensions");
    if (r->off_mul < INT32_MIN || r->off_mul > INT32_MAX)
        return asm_fail(as, "offset factor %lld is too large", (long long)r->off_mul);
    *ret = (struct isa_hbm){.var_id = r->var_id,
                            .dtype = r->dtype,
                            .ndim = (uint8_t)n,
                            .off_reg = r->off_reg < 0 ? ISA_NO_REG : (uint8_t)r->off_reg,
                            .offset = r->off,
                            .off_mul = (int32_t)r->off_mul,
                            .bound_first = r->bound_first,
                            .bound_bytes = r->bound_bytes};
    for (unsigned k = 0; k < n; k++) {
        ret->step[k] = step[n - 1 - k];
        if (num[n - 1 - k] < 0 || num[n - 1 - k] > UINT32_MAX)
            return asm_fail(as, "dimension of %lld elements", (long long)num[n - 1 - k]);
        ret->num[k] = (uint32_t)num[n - 1 - k];
    }
    return true;
}

static const char *state_buffer(struct as *as)
{
    struct isa_asm_core *c = as->out;
    struct isa_asm_var *v;

    for (size_t i = 0; i < c->n_vars; i++)
        if (strcmp(c->vars[i].type, "state-buffer") == 0)
            return c->vars[i].name;
    if (!mem_grow((void **)&c->vars, &as->vars_cap, c->n_vars + 1, sizeof(*v))) {
        asm_nomem(as);
        return NULL;
    }
    v = &c->vars[c->n_vars];
    *v = (struct isa_asm_var){.name = asm_find(as, "SB") ? "state_buffer" : "SB",
                              .type = "state-buffer",
                              .var_id = (int64_t)c->n_vars,
                              .size = (uint64_t)ISA_PARTITIONS * isa_sbuf_bytes(as->res->gen),
                              .referenced = ISA_ASM_NONE};
    if (asm_find(as, v->name)) {
        asm_note(as, "the name %s is wanted for the state buffer", v->name);
        return NULL;
    }
    c->n_vars++;
    return v->name;
}

/* The pattern as it is written. */
static bool side_bytes(struct as *as, const struct ref *r, struct isa_asm_side *ret)
{
    int64_t es = (int64_t)dtype_size((enum dtype)r->dtype);

    if (r->nd < 1 || r->nd > 4)
        return asm_fail(as, "a pattern of bytes has 1 to 4 dimensions");
    if (r->num[r->nd - 1] % es)
        return asm_fail(as, "%lld bytes are no whole elements of %s", (long long)r->num[r->nd - 1],
                        dtype_name((enum dtype)r->dtype));
    ret->ndim = r->nd;
    for (unsigned k = 0; k < r->nd; k++) {
        ret->steps[k] = r->step[r->nd - 1 - k];
        ret->sizes[k] = r->num[r->nd - 1 - k];
    }
    return true;
}

bool asm_ref_side(struct as *as, const struct ref *r, struct isa_asm_side *ret)
{
    int64_t es = (int64_t)dtype_size((enum dtype)r->dtype), run;
    int64_t step[ASM_DIMS + 1], num[ASM_DIMS + 1];
    unsigned n = 0, most = 3;

    if (r->off_reg >= 0 || r->vec)
        return asm_fail(as, "a static transfer takes no register and no vector offset");
    if (r->mem == ISA_PSUM)
        return asm_fail(as, "a transfer cannot reach PSUM");
    if (r->mem == ISA_HBM && r->var < 0)
        return asm_fail(as, "a declared variable is expected");
    for (unsigned k = 0; k < r->nd; k++)
        if (r->num[k] < 0)
            return asm_fail(as, "dimension of %lld elements", (long long)r->num[k]);
    *ret = (struct isa_asm_side){.off = r->off, .dtype = (enum dtype)r->dtype, .scale = 1.0};
    if (r->mem == ISA_SBUF) {
        ret->off += (int64_t)r->part * ISA_SBUF_MAP_STRIDE;
        if (r->nparts != 1) {
            step[n] = ISA_SBUF_MAP_STRIDE;
            num[n++] = r->nparts;
        }
        ret->var = state_buffer(as);
        if (!ret->var)
            return false;
    } else {
        ret->var = as->out->vars[r->var].name;
    }
    if (r->bytes)
        return side_bytes(as, r, ret);
    for (unsigned k = 0; k < r->nd; k++) {
        if (r->num[k] == 1)
            continue;
        if (i64_mul_over(r->step[k], es, &step[n]))
            return too_large(as);
        num[n++] = r->num[k];
    }
    run = es;
    if (n > 0 && step[n - 1] == es) {
        if (i64_mul_over(num[n - 1], es, &run))
            return too_large(as);
        n--;
    }
    if (n > most) {
        n = squeeze(n, step, num, most);
        if (n > 0 && step[n - 1] == run)
            run *= num[--n];
    }
    if (n > most)
        return asm_fail(as, "more than 4 dimensions in a descriptor");
    ret->ndim = n + 1;
    ret->steps[0] = 1;
    ret->sizes[0] = run;
    for (unsigned k = 0; k < n; k++) {
        ret->steps[k + 1] = step[n - 1 - k];
        ret->sizes[k + 1] = num[n - 1 - k];
    }
    return true;
}
