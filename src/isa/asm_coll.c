/* SPDX-License-Identifier: Apache-2.0 */
/* The collectives of a subgraph: entries of its table, which programs start by name.
 *
 *     collective total: y <- all_reduce(add, x) ranks=4 stream=1
 */
#include "isa/asm_int.h"

#include <string.h>

#include "base/checked.h"

#define TENSORS_MAX 64
#define GROUPS_MAX  64
#define RANKS_MAX   4096

/* Rows of evenly spaced elements, one to a partition. */
static bool tile(struct as *as, const struct isa_asm_side *s, struct isa_asm_range *ret)
{
    int64_t es = (int64_t)dtype_size(s->dtype), step = es, count = s->sizes[0] / es, reach;
    unsigned n = s->ndim;

    *ret = (struct isa_asm_range){.var = s->var, .off = s->off, .partitions = 1};
    if (n > 1 && s->steps[n - 1] == ISA_SBUF_MAP_STRIDE)
        ret->partitions = (uint32_t)s->sizes[--n];
    for (unsigned k = 1; k < n; k++) {
        if (count == 1)
            step = s->steps[k];
        else if (i64_mul_over(step, count, &reach) || s->steps[k] != reach)
            return asm_fail(as, "the rows of a collective's tile are not evenly spaced");
        if (i64_mul_over(count, s->sizes[k], &count))
            return asm_fail(as, "the tensor of a collective is too large");
    }
    if (step < es || step > ISA_SBUF_MAP_STRIDE)
        return asm_fail(as, "the rows of a collective's tile do not rise from element to element");
    ret->step = (uint32_t)step;
    if (i64_mul_over(count, es * ret->partitions, &ret->size))
        return asm_fail(as, "the tensor of a collective is too large");
    return true;
}

/* A contiguous piece of a variable in HBM, or a tile in SBUF. */
static bool range(struct as *as, struct isa_asm_range *ret, enum dtype *ret_dtype)
{
    struct isa_asm_side s;
    struct ref r;

    if (!asm_ref(as, &r))
        return false;
    if (r.bytes)
        return asm_fail(as, "a pattern of bytes belongs to a descriptor");
    if (r.mem == ISA_PSUM)
        return asm_fail(as, "a collective works on variables and on tiles in SBUF");
    if (!asm_ref_side(as, &r, &s))
        return false;
    *ret_dtype = s.dtype;
    if (r.mem == ISA_SBUF)
        return tile(as, &s, ret);
    for (unsigned k = 1, run = 0; k < s.ndim; k++, run++)
        if (s.steps[k] != (run ? s.steps[k - 1] * s.sizes[k - 1] : s.sizes[0]))
            return asm_fail(as, "the tensor of a collective is not contiguous");
    *ret = (struct isa_asm_range){.var = s.var, .off = s.off, .size = s.sizes[0]};
    for (unsigned k = 1; k < s.ndim; k++)
        if (i64_mul_over(ret->size, s.sizes[k], &ret->size))
            return asm_fail(as, "the tensor of a collective is too large");
    return true;
}

static bool ranges(struct as *as, struct isa_asm_coll *c, struct isa_asm_range **ret, size_t *ret_n)
{
    struct isa_asm_range list[TENSORS_MAX];
    size_t n = 0;

    do {
        enum dtype t;

        if (n == TENSORS_MAX)
            return asm_fail(as, "more than %u tensors", TENSORS_MAX);
        if (!range(as, &list[n++], &t))
            return false;
        if (c->dtype != DT_INVALID && c->dtype != t)
            return asm_fail(as, "tensors of %s and %s in one collective", dtype_name(c->dtype),
                            dtype_name(t));
        c->dtype = t;
    } while (asm_take(as, ','));
    *ret = arena_calloc(as->arena, n, sizeof(**ret));
    if (!*ret)
        return asm_nomem(as);
    memcpy(*ret, list, n * sizeof(list[0]));
    *ret_n = n;
    return true;
}

/* op "(" [reduce ","] sources ")" */
static bool operation(struct as *as, struct isa_asm_coll *c)
{
    static const char *const reduces[] = {"add", "min", "max"};

    if (!asm_name(as, &c->op) || !asm_want(as, '('))
        return false;
    for (unsigned i = 0; i < 3; i++)
        if (asm_is_word(as, reduces[i]) && asm_peek2(as)->kind == TK_PUNCT &&
            asm_peek2(as)->p == ',') {
            asm_next(as);
            asm_next(as);
            c->reduce = reduces[i];
            break;
        }
    if (!asm_is(as, ')') && !ranges(as, c, &c->in, &c->n_in))
        return false;
    return asm_want(as, ')');
}

/* ---- options ---- */

static bool group_add(struct as *as, struct isa_asm_coll *c, const uint32_t *ranks, size_t n)
{
    struct isa_asm_ranks *g;

    if (!c->groups)
        c->groups = arena_calloc(as->arena, GROUPS_MAX, sizeof(*c->groups));
    if (!c->groups)
        return asm_nomem(as);
    if (c->n_groups == GROUPS_MAX)
        return asm_fail(as, "more than %u groups", GROUPS_MAX);
    g = &c->groups[c->n_groups++];
    g->rank = arena_calloc(as->arena, n, sizeof(*g->rank));
    if (!g->rank)
        return asm_nomem(as);
    memcpy(g->rank, ranks, n * sizeof(*ranks));
    g->n = n;
    return true;
}

/* ranks=n: one group of ranks 0 to n - 1. */
static bool all_ranks(struct as *as, struct isa_asm_coll *c)
{
    uint32_t list[RANKS_MAX];
    int64_t n;

    if (!asm_int_range(as, "ranks", 1, RANKS_MAX, &n))
        return false;
    for (uint32_t i = 0; i < n; i++)
        list[i] = i;
    return group_add(as, c, list, (size_t)n);
}

/* Numbers in braces; pairs: two by two, with an arrow between. */
static bool numbers(struct as *as, bool pairs, uint32_t *list, size_t *ret_n)
{
    size_t n = 0;

    if (!asm_want(as, '{'))
        return false;
    do {
        for (unsigned k = 0; k < 1 + (unsigned)pairs; k++) {
            int64_t v;

            if (n == RANKS_MAX)
                return asm_fail(as, "more than %u ranks", RANKS_MAX);
            if ((k && !asm_want(as, P_ARROW)) || !asm_int_range(as, "rank", 0, UINT32_MAX - 1, &v))
                return false;
            list[n++] = (uint32_t)v;
        }
    } while (asm_take(as, ','));
    *ret_n = n;
    return asm_want(as, '}');
}

static bool pairs_take(struct as *as, struct isa_asm_coll *c)
{
    uint32_t list[RANKS_MAX];
    size_t n;

    if (!numbers(as, true, list, &n))
        return false;
    c->pairs = arena_calloc(as->arena, n, sizeof(list[0]));
    if (!c->pairs)
        return asm_nomem(as);
    memcpy(c->pairs, list, n * sizeof(list[0]));
    c->n_pairs = n / 2;
    return true;
}

static bool group_take(struct as *as, struct isa_asm_coll *c)
{
    uint32_t list[RANKS_MAX];
    size_t n;

    return numbers(as, false, list, &n) && group_add(as, c, list, n);
}

static bool option(struct as *as, struct isa_asm_coll *c)
{
    const struct tok *t = asm_next(as);
    enum dtype ignored;
    int64_t n;

    if (!asm_want(as, '='))
        return false;
    if (tok_is_word(t, "ranks"))
        return all_ranks(as, c);
    if (tok_is_word(t, "group"))
        return group_take(as, c);
    if (tok_is_word(t, "pairs"))
        return pairs_take(as, c);
    if (tok_is_word(t, "algorithm"))
        return asm_name(as, &c->algorithm);
    if (tok_is_word(t, "metadata"))
        return range(as, &c->metadata, &ignored);
    if (!tok_is_word(t, "stream"))
        return asm_fail(as, "a collective has ranks, group, pairs, stream, metadata and algorithm");
    if (!asm_int_range(as, "stream", 0, 3, &n))
        return false;
    c->stream = (unsigned)n;
    return true;
}

bool asm_decl_coll(struct as *as)
{
    struct isa_asm_coll c = {.dtype = DT_INVALID, .line = asm_peek(as)->line};
    const char *name;
    struct sym *s;

    if (!asm_name(as, &name) || !asm_want(as, ':'))
        return false;
    if (!tok_is_word(asm_peek(as), "barrier") &&
        (!ranges(as, &c, &c.out, &c.n_out) || !asm_want(as, P_FROM)))
        return false;
    if (!operation(as, &c))
        return false;
    while (!asm_at_end(as))
        if (!option(as, &c))
            return false;
    s = asm_define(as, name, SYM_COLL);
    if (!s)
        return false;
    if (!mem_grow((void **)&as->out->colls, &as->colls_cap, as->out->n_colls + 1, sizeof(c)))
        return asm_nomem(as);
    s->u.index = as->out->n_colls;
    as->out->colls[as->out->n_colls++] = c;
    return true;
}
