/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations: variables, tiles, queues. */
#include "isa/asm_int.h"

#include <string.h>

#include "base/checked.h"

#define NAMES_MAX   64
#define INLINE_DATA ((uint64_t)64 << 20)

/* name {, name} : */
static bool name_list(struct as *as, const char **names, unsigned *ret_n)
{
    unsigned n = 0;

    do {
        if (n == NAMES_MAX)
            return asm_fail(as, "more than %u names", NAMES_MAX);
        if (!asm_name(as, &names[n]))
            return false;
        n++;
    } while (asm_take(as, ','));
    *ret_n = n;
    return asm_want(as, ':');
}

/* dtype [ dims ] */
static bool shape(struct as *as, enum dtype *t, unsigned *ret_n, int64_t *dims)
{
    unsigned n = 0;

    if (!asm_dtype(as, t))
        return false;
    if (asm_take(as, '[')) {
        do {
            if (n == ASM_DIMS)
                return asm_fail(as, "more than %u dimensions", ASM_DIMS);
            if (!asm_int_range(as, "dimension", 1, (int64_t)1 << 40, &dims[n]))
                return false;
            n++;
        } while (asm_take(as, ','));
        if (!asm_want(as, ']'))
            return false;
    }
    *ret_n = n;
    return true;
}

/* ---- variables ---- */

static bool var_type(struct as *as, const char **ret)
{
    static const struct {
        const char *first, *second, *type;
    } types[] = {{"state", "buffer", "state-buffer"}, {"input", NULL, "input"},
                 {"output", NULL, "output"},          {"file", NULL, "file"},
                 {"tmp", "buf", "tmp-buf"},           {"virtual", NULL, "virtual"},
                 {"pointer", NULL, "pointer"},        {"dge", "table", "dge-table"}};
    const struct tok *t = asm_next(as);

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (!tok_is_word(t, types[i].first))
            continue;
        *ret = types[i].type;
        if (types[i].second && (!asm_want(as, '-') || !asm_take_word(as, types[i].second)))
            return asm_fail(as, "%s is expected", types[i].type);
        return true;
    }
    return asm_fail(as, "input, output, file, tmp-buf, virtual, pointer, dge-table or "
                        "state-buffer is expected");
}

static bool var_is(const struct isa_asm_var *v, const char *type)
{
    return strcmp(v->type, type) == 0;
}

/* The caller's. */
static bool var_is_tensor(const struct isa_asm_var *v)
{
    return var_is(v, "input") || var_is(v, "output");
}

static bool data_value(struct as *as, struct isa_asm_var *v, uint8_t *at)
{
    size_t es = dtype_size(v->dtype);
    struct val x;

    if (!asm_expr(as, &x))
        return false;
    if (x.kind == VAL_REG)
        return asm_fail(as, "a constant is expected");
    if (dtype_is_int(v->dtype) && x.kind == VAL_INT)
        memcpy(at, &x.i, es);
    else if (dtype_kind(v->dtype) == DTK_PACKED)
        return asm_fail(as, "no values of type %s", dtype_name(v->dtype));
    else
        dtype_store(v->dtype, at, (float)(x.kind == VAL_INT ? (double)x.i : x.f));
    return true;
}

/* = { value, ... } with one value for each element, or one for all. */
static bool var_data(struct as *as, struct isa_asm_var *v)
{
    size_t es = dtype_size(v->dtype);
    uint64_t n = 0, all = v->size / es;
    uint8_t *data;

    if (!var_is(v, "file"))
        return asm_fail(as, "values belong to file variables");
    as->inline_bytes += v->size < INLINE_DATA ? v->size : INLINE_DATA + 1;
    if (as->inline_bytes > INLINE_DATA)
        return asm_fail(as, "values for more than %llu bytes", (unsigned long long)INLINE_DATA);
    data = arena_alloc(as->arena, v->size + 8);
    if (!data)
        return asm_nomem(as);
    if (!asm_want(as, '{'))
        return false;
    do {
        asm_skip_nl(as);
        if (n == all)
            return asm_fail(as, "more than %llu values", (unsigned long long)all);
        if (!data_value(as, v, data + n * es))
            return false;
        n++;
        asm_skip_nl(as);
    } while (asm_take(as, ','));
    if (n != 1 && n != all)
        return asm_fail(as, "%llu values for %llu elements", (unsigned long long)n,
                        (unsigned long long)all);
    for (uint64_t i = n; i < all; i++)
        memcpy(data + i * es, data, es);
    v->data = data;
    return asm_want(as, '}');
}

static bool var_id_of(struct as *as, int64_t *ret)
{
    const struct sym *s = asm_find_here(as);
    const char *name;

    if (!s || s->kind != SYM_VAR)
        return asm_fail(as, "a variable is expected");
    *ret = as->out->vars[s->u.index].var_id;
    return asm_name(as, &name);
}

static bool var_list(struct as *as, struct isa_asm_var *v)
{
    int64_t ids[256];
    size_t n = 0;

    if (!asm_want(as, '['))
        return false;
    do {
        if (n == sizeof(ids) / sizeof(ids[0]))
            return asm_fail(as, "more than %zu variables", n);
        if (!var_id_of(as, &ids[n]))
            return false;
        n++;
    } while (asm_take(as, ','));
    v->list = arena_calloc(as->arena, n, sizeof(*v->list));
    if (!v->list)
        return asm_nomem(as);
    memcpy(v->list, ids, n * sizeof(ids[0]));
    v->n_list = n;
    v->size = 8 * n;
    return asm_want(as, ']');
}

const char *asm_word_or_string(struct as *as)
{
    const struct tok *t = asm_next(as);
    const char *s;

    if (t->kind != TK_STR && t->kind != TK_IDENT) {
        asm_note(as, "a word or string is expected");
        return NULL;
    }
    s = arena_strndup(as->arena, t->s, t->len);
    if (!s)
        asm_nomem(as);
    return s;
}

static bool var_options(struct as *as, struct isa_asm_var *v)
{
    bool sized = dtype_size(v->dtype) != 0;
    int64_t n;

    while (!asm_at_end(as)) {
        if (asm_peek(as)->kind == TK_STR && var_is(v, "file")) {
            v->file_name = asm_word_or_string(as);
            if (!v->file_name)
                return false;
        } else if (asm_is(as, '=') && sized) {
            asm_next(as);
            if (!var_data(as, v))
                return false;
        } else if (asm_take(as, '@')) {
            if (!var_is(v, "virtual"))
                return asm_fail(as, "@ belongs to virtual variables");
            if (!asm_int_range(as, "offset", 0, INT64_MAX, &v->backing_off))
                return false;
        } else if (asm_take_word(as, "align")) {
            if (!asm_want(as, '=') || !asm_int_range(as, "align", 0, INT64_MAX, &n))
                return false;
            if (!var_is_tensor(v) && !var_is(v, "tmp-buf"))
                return asm_fail(as, "align belongs to input, output and tmp-buf");
            if (n && !is_pow2_u64((uint64_t)n))
                return asm_fail(as, "align %lld is not a power of two", (long long)n);
            v->alignment = (uint64_t)n;
        } else if (asm_take_word(as, "size")) {
            if (!asm_want(as, '=') || !asm_int_range(as, "size", 0, INT64_MAX, &n))
                return false;
            v->size = (uint64_t)n;
        } else if (asm_take_word(as, "id")) {
            if (!asm_want(as, '=') || !asm_int(as, &n))
                return false;
            if (n != (int64_t)as->out->n_vars)
                return asm_fail(as, "the id of a variable is its place, %zu, not %lld",
                                as->out->n_vars, (long long)n);
        } else if (asm_take_word(as, "area")) {
            if (!var_is(v, "virtual"))
                return asm_fail(as, "area belongs to virtual variables");
            if (!asm_want(as, '=') || !(v->backing_buf = asm_word_or_string(as)))
                return false;
        } else {
            return asm_fail(as, "an option of the variable is expected");
        }
    }
    return true;
}

/* What the container would refuse, where the line is known. */
static bool var_fits(struct as *as, const struct isa_asm_var *v, const char *name)
{
    if (var_is(v, "file") && !v->file_name && !v->data)
        return asm_fail(as, "%s has neither a file nor values", name);
    for (unsigned k = 0; var_is_tensor(v) && k < v->ndim; k++)
        if (v->shape[k] > UINT32_MAX)
            return asm_fail(as, "a tensor's dimension has at most %u elements", UINT32_MAX);
    if (var_is(v, "virtual") && v->size > (uint64_t)(INT64_MAX - v->backing_off))
        return asm_fail(as, "%s ends behind %lld", name, (long long)INT64_MAX);
    return true;
}

bool asm_decl_var(struct as *as)
{
    const char *names[NAMES_MAX], *type = NULL;
    unsigned n_names;
    struct isa_asm_var v = {.referenced = ISA_ASM_NONE, .line = asm_peek(as)->line};
    int64_t dims[ASM_DIMS];

    if (!name_list(as, names, &n_names) || !var_type(as, &type))
        return false;
    v.type = type;
    if (var_is(&v, "pointer")) {
        v.size = 8;
        if (!asm_want(as, P_ARROW) || !var_id_of(as, &v.referenced))
            return false;
    } else if (var_is(&v, "dge-table")) {
        if (!var_list(as, &v))
            return false;
    } else if (var_is(&v, "state-buffer")) {
        v.size = (uint64_t)ISA_PARTITIONS * isa_sbuf_bytes(as->res->gen);
    } else {
        uint64_t size;

        if (!shape(as, &v.dtype, &v.ndim, dims))
            return false;
        size = dtype_size(v.dtype);
        for (unsigned k = 0; k < v.ndim; k++) {
            v.shape[k] = (uint64_t)dims[k];
            if (u64_mul_over(size, v.shape[k], &size) || size > (uint64_t)1 << 48)
                return asm_fail(as, "the variable is larger than 256 TiB");
        }
        v.size = size;
    }
    if (!var_options(as, &v) || !var_fits(as, &v, names[0]))
        return false;
    for (unsigned i = 0; i < n_names; i++) {
        struct sym *s = asm_define(as, names[i], SYM_VAR);

        if (!s)
            return false;
        if (!mem_grow((void **)&as->out->vars, &as->vars_cap, as->out->n_vars + 1, sizeof(v)))
            return asm_nomem(as);
        s->u.index = as->out->n_vars;
        as->out->vars[as->out->n_vars] = v;
        as->out->vars[as->out->n_vars].name = names[i];
        as->out->vars[as->out->n_vars].var_id = (int64_t)as->out->n_vars;
        as->out->n_vars++;
    }
    return true;
}

/* ---- tiles ---- */

static bool tile_place(struct as *as, struct tile *t, uint64_t bytes, bool given)
{
    uint64_t room = t->mem == ISA_PSUM ? ISA_PSUM_BYTES : isa_sbuf_bytes(as->res->gen);
    uint32_t *top = t->mem == ISA_PSUM ? &as->psum_top : &as->sbuf_top;
    uint64_t align = t->mem == ISA_PSUM ? ISA_PSUM_BANK : bytes >= 64 ? 64 : 4;

    if (!given)
        t->off = (uint32_t)((*top + align - 1) / align * align);
    if (bytes > room || t->off > room - bytes)
        return asm_fail(as, "the tile at %u of %llu bytes does not fit a partition of %llu", t->off,
                        (unsigned long long)bytes, (unsigned long long)room);
    if (t->off + bytes > *top)
        *top = (uint32_t)(t->off + bytes);
    return true;
}

bool asm_decl_tile(struct as *as)
{
    const char *names[NAMES_MAX];
    unsigned n_names, nd;
    struct tile t = {0};
    int64_t dims[ASM_DIMS], n, part = 0;
    uint64_t bytes;
    enum dtype dt;
    bool given = false;

    if (!name_list(as, names, &n_names))
        return false;
    t.mem = asm_take_word(as, "sbuf") ? ISA_SBUF : ISA_PSUM;
    if (t.mem == ISA_PSUM && !asm_take_word(as, "psum"))
        return asm_fail(as, "sbuf or psum is expected");
    if (!shape(as, &dt, &nd, dims))
        return false;
    t.dtype = (uint8_t)dt;
    if (nd == 0 || dims[0] > ISA_PARTITIONS)
        return asm_fail(as, "a tile has 1 to 128 partitions");
    t.nparts = (uint8_t)dims[0];
    t.nd = nd - 1;
    bytes = dtype_size(dt);
    for (unsigned k = 0; k < t.nd; k++) {
        t.shape[k] = dims[k + 1];
        if (u64_mul_over(bytes, (uint64_t)dims[k + 1], &bytes) || bytes > INT32_MAX)
            return asm_fail(as, "the tile does not fit a partition");
    }
    while (!asm_at_end(as)) {
        if (asm_take(as, '@')) {
            if (!asm_int_range(as, "offset", 0, INT32_MAX, &n))
                return false;
            t.off = (uint32_t)n;
            given = true;
        } else if (asm_take_word(as, "bank")) {
            if (!asm_want(as, '=') || !asm_int_range(as, "bank", 0, 7, &n))
                return false;
            t.off = (uint32_t)n * ISA_PSUM_BANK;
            given = true;
        } else if (asm_take_word(as, "part")) {
            if (!asm_want(as, '=') ||
                !asm_int_range(as, "part", 0, ISA_PARTITIONS - t.nparts, &part))
                return false;
        } else {
            return asm_fail(as, "an option of the tile is expected");
        }
    }
    t.part = (uint8_t)part;
    for (unsigned i = 0; i < n_names; i++) {
        struct sym *s = asm_define(as, names[i], SYM_TILE);
        struct tile *copy = arena_alloc(as->arena, sizeof(*copy));

        if (!s || !copy)
            return s ? asm_nomem(as) : false;
        if (!tile_place(as, &t, bytes, given))
            return false;
        *copy = t;
        s->u.tile = copy;
    }
    return true;
}

/* ---- queues ---- */

static bool instances(struct as *as, struct isa_asm_queue *q)
{
    const char *names[NAMES_MAX];
    size_t n = 0;

    if (!asm_want(as, '['))
        return false;
    do {
        if (n == NAMES_MAX)
            return asm_fail(as, "more than %u instances", NAMES_MAX);
        names[n] = asm_word_or_string(as);
        if (!names[n])
            return false;
        n++;
    } while (asm_take(as, ','));
    q->instances = arena_calloc(as->arena, n, sizeof(*q->instances));
    if (!q->instances)
        return asm_nomem(as);
    memcpy(q->instances, names, n * sizeof(names[0]));
    q->n_instances = n;
    return asm_want(as, ']');
}

static bool queue_options(struct as *as, struct isa_asm_queue *q)
{
    enum isa_engine e;
    int64_t n;

    while (!asm_at_end(as)) {
        const struct tok *t = asm_next(as);

        if (!asm_want(as, '='))
            return false;
        if (tok_is_word(t, "owner")) {
            if (!asm_engine_tok(asm_next(as), &e))
                return asm_fail(as, "an engine is expected");
            q->owner = (int)e;
        } else if (tok_is_word(t, "n")) {
            if (!asm_int_range(as, "n", 1, 16, &n))
                return false;
            q->num_queues = (unsigned)n;
        } else if (tok_is_word(t, "sem")) {
            if (!asm_sem(as, &q->semaphore))
                return false;
        } else if (tok_is_word(t, "fabric")) {
            if (!(q->fabric = asm_word_or_string(as)))
                return false;
            if (strcmp(q->fabric, "main") != 0 && strcmp(q->fabric, "alt") != 0)
                return asm_fail(as, "fabric is main or alt");
        } else if (tok_is_word(t, "instances")) {
            if (!instances(as, q))
                return false;
        } else {
            return asm_fail(as, "a queue has owner, n, sem, fabric and instances");
        }
    }
    return true;
}

bool asm_decl_queue(struct as *as)
{
    static const char *const types[] = {"in", "out", "data", "embedding_update", "dynamic"};
    const char *name;
    struct isa_asm_queue q = {.owner = ISA_ASM_NONE,
                              .num_queues = 1,
                              .semaphore = ISA_ASM_NONE,
                              .line = asm_peek(as)->line};
    const struct tok *t;
    struct sym *s;

    if (!asm_name(as, &name) || !asm_want(as, ':'))
        return false;
    t = asm_next(as);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (tok_is_word(t, types[i]))
            q.type = types[i];
    if (!q.type)
        return asm_fail(as, "a queue is in, out, data, embedding_update or dynamic");
    if (!queue_options(as, &q))
        return false;
    q.name = name;
    s = asm_define(as, name, SYM_QUEUE);
    if (!s)
        return false;
    if (!mem_grow((void **)&as->out->queues, &as->queues_cap, as->out->n_queues + 1, sizeof(q)))
        return asm_nomem(as);
    s->u.index = as->out->n_queues;
    as->out->queues[as->out->n_queues++] = q;
    return true;
}
