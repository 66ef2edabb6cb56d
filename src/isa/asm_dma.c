/* SPDX-License-Identifier: Apache-2.0 */
/* DMA groups and their descriptors. */
#include "isa/asm_int.h"

#include <string.h>

#include "base/checked.h"

#define DMA_DESCS_MAX 65536

static const char *const dma_ops[ISA_DMA_OP_COUNT] = {"copy", "cast", "add",      "min",
                                                      "max",  "fma",  "transpose"};

const char *isa_dma_op_name(unsigned op)
{
    return op < ISA_DMA_OP_COUNT ? dma_ops[op] : NULL;
}

/* Elements; a pattern of bytes holds whole ones (asm_ref_side). */
static uint64_t ref_count(const struct ref *r)
{
    uint64_t n = r->mem == ISA_HBM ? 1 : r->nparts;

    for (unsigned k = 0; k < r->nd; k++)
        if (u64_mul_over(n, (uint64_t)r->num[k], &n))
            return UINT64_MAX;
    return r->bytes ? n / dtype_size((enum dtype)r->dtype) : n;
}

/* Of a transpose without `shape=`: that of its source. */
static bool transpose_shape(struct as *as, const struct ref *r, struct isa_asm_desc *d)
{
    unsigned n = 0;

    if (r->mem != ISA_HBM)
        d->transpose_shape[n++] = r->nparts;
    for (unsigned k = 0; k < r->nd; k++) {
        if (n == 4)
            return asm_fail(as, "a transpose has at most 4 dimensions");
        d->transpose_shape[n++] = r->num[k];
    }
    if (r->bytes)
        d->transpose_shape[n - 1] /= (int64_t)dtype_size((enum dtype)r->dtype);
    while (n < 4)
        d->transpose_shape[n++] = 1;
    return true;
}

/* [ dims ], of a transpose whose source is stored otherwise. */
static bool given_shape(struct as *as, struct isa_asm_desc *d)
{
    unsigned n = 0;

    if (!asm_want(as, '['))
        return false;
    do {
        if (n == 4)
            return asm_fail(as, "a transpose has at most 4 dimensions");
        if (!asm_int_range(as, "dimension", 0, UINT32_MAX, &d->transpose_shape[n]))
            return false;
        n++;
    } while (asm_take(as, ','));
    while (n < 4)
        d->transpose_shape[n++] = 1;
    return asm_want(as, ']');
}

struct desc_parse {
    struct isa_asm_desc *d;
    struct ref to, from;
    bool shaped; /* `shape=` was given */
    struct isa_asm_side side[16];
};

static bool desc_source(struct as *as, struct desc_parse *p)
{
    struct isa_asm_side *s = &p->side[p->d->n_from];

    if (p->d->n_from == 16)
        return asm_fail(as, "more than 16 sources");
    if (!asm_ref(as, &p->from) || !asm_ref_side(as, &p->from, s))
        return false;
    if (ref_count(&p->from) != ref_count(&p->to))
        return asm_fail(as, "%llu elements to %llu", (unsigned long long)ref_count(&p->from),
                        (unsigned long long)ref_count(&p->to));
    p->d->n_from++;
    if (asm_take(as, '*')) {
        if (p->d->op != ISA_DMA_FMA)
            return asm_fail(as, "a factor belongs to fma");
        return asm_number(as, &s->scale);
    }
    return true;
}

static bool desc_constant(struct as *as, struct isa_asm_desc *d)
{
    struct val v;

    if (d->op != ISA_DMA_MIN && d->op != ISA_DMA_MAX)
        return asm_fail(as, "a start value belongs to min and max");
    if (!asm_expr(as, &v))
        return false;
    if (v.kind == VAL_REG || (v.kind == VAL_INT && (v.i < INT32_MIN || v.i > UINT32_MAX)))
        return asm_fail(as, "a 32-bit constant is expected");
    d->constant_dtype = v.kind == VAL_FLOAT ? DT_FP32 : v.i > INT32_MAX ? DT_UINT32 : DT_INT32;
    d->constant = v.kind == VAL_FLOAT ? v.f : (double)v.i;
    return true;
}

/* word = */
static bool take_key(struct as *as, const char *word)
{
    if (!asm_is_word(as, word) || asm_peek2(as)->kind != TK_PUNCT || asm_peek2(as)->p != '=')
        return false;
    asm_next(as);
    asm_next(as);
    return true;
}

static bool desc_shape(struct as *as, struct desc_parse *p)
{
    if (p->d->op != ISA_DMA_TRANSPOSE)
        return asm_fail(as, "a shape belongs to transpose");
    p->shaped = true;
    return given_shape(as, p->d);
}

static bool desc_size(struct as *as, struct isa_asm_desc *d)
{
    int64_t n;

    if (d->op != ISA_DMA_TRANSPOSE)
        return asm_fail(as, "a size belongs to transpose");
    if (!asm_int(as, &n))
        return false;
    if (n != 1 && n != 2 && n != 4 && n != 8)
        return asm_fail(as, "a transpose moves 1, 2, 4 or 8 bytes at a time, not %lld",
                        (long long)n);
    d->transpose_element_size = (unsigned)n;
    return true;
}

static bool desc_sources(struct as *as, struct desc_parse *p)
{
    bool ok;

    if (!asm_want(as, '('))
        return false;
    do {
        if (take_key(as, "from"))
            ok = desc_constant(as, p->d);
        else if (take_key(as, "shape"))
            ok = desc_shape(as, p);
        else if (take_key(as, "size"))
            ok = desc_size(as, p->d);
        else
            ok = desc_source(as, p);
        if (!ok)
            return false;
    } while (asm_take(as, ','));
    return asm_want(as, ')');
}

/* What is moved at a time, and as which array. */
static bool desc_transpose(struct as *as, struct desc_parse *p)
{
    struct isa_asm_desc *d = p->d;
    uint64_t es = dtype_size((enum dtype)p->from.dtype), have, want;

    if (d->n_from != 1)
        return asm_fail(as, "a transpose has one source");
    if (d->transpose_element_size == 0)
        d->transpose_element_size = (unsigned)es;
    if (!p->shaped && !transpose_shape(as, &p->from, d))
        return false;
    want = d->transpose_element_size;
    for (unsigned k = 0; k < 4; k++)
        if (u64_mul_over(want, (uint64_t)d->transpose_shape[k], &want))
            return asm_fail(as, "the array of a transpose is too large");
    if (u64_mul_over(ref_count(&p->from), es, &have) || have != want)
        return asm_fail(as, "a transpose of %llu bytes as an array of %llu",
                        (unsigned long long)have, (unsigned long long)want);
    return true;
}

static bool parse_desc(struct as *as, struct isa_asm_desc *d)
{
    struct desc_parse p = {.d = d};
    bool word;

    *d = (struct isa_asm_desc){.op = ISA_DMA_COPY};
    if (!asm_ref(as, &p.to) || !asm_ref_side(as, &p.to, &d->to) || !asm_want(as, P_FROM))
        return false;
    for (unsigned i = ISA_DMA_ADD; i < ISA_DMA_OP_COUNT; i++)
        if (tok_is_word(asm_peek(as), dma_ops[i]) && asm_peek2(as)->kind == TK_PUNCT &&
            asm_peek2(as)->p == '(')
            d->op = (enum isa_dma_op)i;
    if (d->op == ISA_DMA_COPY) {
        word = asm_peek2(as)->kind == TK_IDENT && asm_take_word(as, "cast");
        if (word)
            d->op = ISA_DMA_CAST;
        if (!desc_source(as, &p))
            return false;
    } else {
        asm_next(as);
        if (!desc_sources(as, &p))
            return false;
    }
    if (d->n_from == 0)
        return asm_fail(as, "no source");
    if ((d->op == ISA_DMA_COPY || d->op == ISA_DMA_TRANSPOSE) && p.from.dtype != p.to.dtype)
        return asm_fail(as, "%s to %s: write cast, or view one side",
                        dtype_name((enum dtype)p.from.dtype), dtype_name((enum dtype)p.to.dtype));
    if (d->op == ISA_DMA_TRANSPOSE && !desc_transpose(as, &p))
        return false;
    d->from = arena_calloc(as->arena, d->n_from, sizeof(*d->from));
    if (!d->from)
        return asm_nomem(as);
    memcpy(d->from, p.side, d->n_from * sizeof(*d->from));
    return true;
}

static bool dma_signals(struct as *as, struct isa_asm_dma *g)
{
    do {
        bool event = false;
        int n;

        if (asm_take_word(as, "peer")) {
            if (g->n_remote == 4)
                return asm_fail(as, "more than 4 semaphores of the peer");
            if (!asm_sem(as, &g->remote[g->n_remote]))
                return false;
            g->n_remote++;
            continue;
        }
        if (!asm_sem_or_event(as, &event, &n))
            return false;
        if (event) {
            g->event = n;
            continue;
        }
        if (g->semaphore != ISA_ASM_NONE)
            return asm_fail(as, "a transfer raises one semaphore");
        g->semaphore = n;
    } while (asm_take(as, ','));
    return true;
}

static bool dma_queue(struct as *as, struct isa_asm_dma *g)
{
    const struct sym *s = asm_find_here(as);
    const struct isa_asm_queue *q;
    const char *name;

    if (!s || s->kind != SYM_QUEUE)
        return asm_fail(as, "a queue is expected");
    if (!asm_name(as, &name))
        return false;
    q = &as->out->queues[s->u.index];
    g->queue = q->name;
    if (asm_take(as, '.')) {
        const char *inst = asm_word_or_string(as);

        for (size_t i = 0; inst && i < q->n_instances; i++)
            if (strcmp(inst, q->instances[i]) == 0)
                g->instance = q->instances[i];
        if (!g->instance)
            return asm_fail(as, "queue %s has no such instance", q->name);
    }
    g->engine = (enum isa_engine)(q->owner >= 0 ? q->owner : as->engine);
    return true;
}

static bool dma_head(struct as *as, struct isa_asm_dma *g, bool *ret_owned)
{
    enum isa_engine e;
    int64_t id;

    if (!asm_take_word(as, "on"))
        return asm_fail(as, "on QUEUE is expected");
    if (!dma_queue(as, g))
        return false;
    *ret_owned = (int)g->engine >= 0;
    for (;;) {
        if (asm_take_word(as, "by")) {
            if (!asm_engine_tok(asm_next(as), &e))
                return asm_fail(as, "an engine is expected");
            g->engine = e;
            *ret_owned = true;
        } else if (asm_take_word(as, "id")) {
            if (!asm_int_range(as, "id", 0, INT32_MAX, &id))
                return false;
            g->id = id;
        } else if (asm_take(as, P_ARROW)) {
            if (!dma_signals(as, g))
                return false;
        } else {
            return true;
        }
    }
}

static bool dma_descs(struct as *as, struct isa_asm_dma *g)
{
    struct isa_asm_desc *d = NULL;
    size_t n = 0, cap = 0;
    bool block = asm_take(as, '{'), ok = block || asm_want(as, ':');

    if (ok && block)
        asm_skip_nl(as);
    while (ok) {
        if (n == DMA_DESCS_MAX) {
            ok = asm_fail(as, "more than %u descriptors", DMA_DESCS_MAX);
            break;
        }
        if (!mem_grow((void **)&d, &cap, n + 1, sizeof(*d))) {
            ok = asm_nomem(as);
            break;
        }
        ok = parse_desc(as, &d[n++]);
        as->made++;
        if (!ok)
            break;
        if (!block) {
            if (!asm_take(as, ','))
                break;
            continue;
        }
        asm_take(as, ',');
        asm_skip_nl(as);
        if (asm_take(as, '}'))
            break;
    }
    if (ok) {
        g->desc = arena_calloc(as->arena, n, sizeof(*d));
        if (g->desc)
            memcpy(g->desc, d, n * sizeof(*d));
        g->n_desc = n;
        ok = g->desc || asm_nomem(as);
    }
    mem_free(d);
    return ok;
}

/* With a record: an anonymous group that the record triggers. */
bool asm_decl_dma(struct as *as, struct isa_record *rec)
{
    struct isa_asm_dma g = {.semaphore = ISA_ASM_NONE,
                            .event = ISA_ASM_NONE,
                            .id = ISA_ASM_NONE,
                            .line = asm_peek(as)->line};
    struct sym *s = NULL;
    bool owned = false;

    if (!rec && !asm_name(as, &g.name))
        return false;
    if (!dma_head(as, &g, &owned))
        return false;
    if (!owned)
        return asm_fail(as, "queue %s has no owner: say by ENGINE", g.queue);
    if (rec && (int)g.engine != as->engine)
        return asm_fail(as, "queue %s belongs to %s", g.queue, isa_engine_name(g.engine));
    if (!dma_descs(as, &g))
        return false;
    if (g.id == ISA_ASM_NONE)
        g.id = as->next_dma_id++;
    else if (g.id >= as->next_dma_id)
        as->next_dma_id = g.id + 1;
    if (g.id > INT32_MAX)
        return asm_fail(as, "no dma id is left");
    if (g.name && !(s = asm_define(as, g.name, SYM_DMA)))
        return false;
    if (!mem_grow((void **)&as->out->dmas, &as->dmas_cap, as->out->n_dmas + 1, sizeof(g)))
        return asm_nomem(as);
    if (s)
        s->u.index = as->out->n_dmas;
    as->out->dmas[as->out->n_dmas++] = g;
    if (rec) {
        rec->opcode = ISA_OP_DMA_TRIGGER;
        rec->body.s.imm = (int32_t)g.id;
    }
    return true;
}
