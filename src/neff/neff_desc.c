/* SPDX-License-Identifier: Apache-2.0 */
/* One DMA descriptor: docs/spec/neff.md section 7.2, rules E01 to E14. */
#include "neff/neff_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

enum dtype neff_dtype(const char *name, bool allow_bool)
{
    static const struct {
        const char *name;
        enum dtype dtype;
    } names[] = {
        {"float32", DT_FP32},    {"bfloat16", DT_BF16},   {"uint8", DT_UINT8},
        {"float16", DT_FP16},    {"int32", DT_INT32},     {"uint32", DT_UINT32},
        {"int8", DT_INT8},       {"int16", DT_INT16},     {"uint16", DT_UINT16},
        {"int64", DT_INT64},     {"uint64", DT_UINT64},   {"float32r", DT_FP32R},
        {"float8e3", DT_FP8_E3}, {"float8e4", DT_FP8_E4}, {"float8e5", DT_FP8_E5},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].name, name) == 0)
            return names[i].dtype;
    }
    return allow_bool && strcmp(name, "bool") == 0 ? DT_BOOL : DT_INVALID;
}

/* The descriptor that is read, and how messages name it. */
struct desc_reader {
    struct neff_sg_reader *s;
    const struct json_ctx *c;
    const struct json_path *path;
    struct neff_desc *d;
};

static NRT_STATUS desc_fail(const struct desc_reader *r, const struct json_path *where,
                            const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static NRT_STATUS desc_fail(const struct desc_reader *r, const struct json_path *where,
                            const char *fmt, ...)
{
    char path[160], text[280];
    va_list ap;

    json_path_text(where, path, sizeof(path));
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return neff_fail(r->c->err, NRT_INVALID, "%s: %s: %s", r->c->member, path, text);
}

/* The five keys of one side. */
struct side_keys {
    enum json_key var, off, steps, sizes, dtype;
};
static const struct side_keys from_keys = {K_from, K_from_off, K_from_steps, K_from_sizes,
                                           K_from_dtype};
static const struct side_keys to_keys = {K_to, K_to_off, K_to_steps, K_to_sizes, K_to_dtype};

static NRT_STATUS side_pattern(const struct desc_reader *r, const struct json_path *where,
                               const struct json_node *obj, const struct side_keys *k,
                               struct neff_access *a)
{
    bool required = !r->s->r->opt->lenient;
    const struct json_node *steps, *sizes, *ns, *nz;
    int64_t off = 0;
    NRT_STATUS st = json_field_int(r->c, where, obj, k->off, required, &off);

    if (st == NRT_SUCCESS)
        st = neff_int_array(r->s->r, r->c, where, obj, k->steps, &steps);
    if (st == NRT_SUCCESS)
        st = neff_int_array(r->s->r, r->c, where, obj, k->sizes, &sizes);
    if (st == NRT_SUCCESS && required && steps == NULL)
        st = json_field_array(r->c, where, obj, k->steps, JSON_REQUIRED, &ns);
    if (st == NRT_SUCCESS && required && sizes == NULL)
        st = json_field_array(r->c, where, obj, k->sizes, JSON_REQUIRED, &nz);
    if (st != NRT_SUCCESS)
        return st;
    if (off < 0)
        return desc_fail(r, where, "invalid access pattern");
    a->off = (uint64_t)off;
    if (steps == NULL && sizes == NULL) { /* lenient: the whole variable */
        a->ndim = 1;
        a->steps[0] = 1;
        a->sizes[0] = r->s->vars[a->var].size;
        return NRT_SUCCESS;
    }
    if (steps == NULL || sizes == NULL || steps->u.count != sizes->u.count || steps->u.count < 1 ||
        steps->u.count > NEFF_MAX_DIMS)
        return desc_fail(r, where, "steps and sizes must have the same length, 1 to 4");

    a->ndim = (uint8_t)steps->u.count;
    ns = json_first(steps);
    nz = json_first(sizes);
    for (unsigned i = 0; i < a->ndim; i++, ns++, nz++) {
        if (nz->u.i < 0)
            return desc_fail(r, where, "invalid access pattern");
        a->steps[i] = ns->u.i;
        a->sizes[i] = (uint64_t)nz->u.i;
    }
    return NRT_SUCCESS;
}

/* Lowest and one past the highest byte, held at the ends of 64 bits when they leave them. */
static void access_range(const struct neff_access *a, int64_t *ret_lo, int64_t *ret_hi)
{
    int64_t lo = (int64_t)a->off, hi = (int64_t)a->off;

    for (unsigned i = 0; i < a->ndim; i++) {
        int64_t count = (int64_t)(a->sizes[i] - 1), reach;

        if (i64_mul_over(count, a->steps[i], &reach)) {
            *(a->steps[i] < 0 ? &lo : &hi) = a->steps[i] < 0 ? INT64_MIN : INT64_MAX;
            continue;
        }
        if (reach < 0 && i64_add_over(lo, reach, &lo))
            lo = INT64_MIN;
        if (reach > 0 && i64_add_over(hi, reach, &hi))
            hi = INT64_MAX;
    }
    if (i64_add_over(hi, 1, &hi))
        hi = INT64_MAX;
    *ret_lo = lo;
    *ret_hi = hi;
}

/* More bytes in all than 63 bits count (possible with steps of 0). */
static bool access_huge(const struct neff_access *a)
{
    uint64_t bytes = 1;

    for (unsigned i = 0; i < a->ndim; i++) {
        if (u64_mul_over(bytes, a->sizes[i], &bytes))
            return true;
    }
    return bytes > INT64_MAX;
}

static bool access_empty(const struct neff_access *a)
{
    for (unsigned i = 0; i < a->ndim; i++) {
        if (a->sizes[i] == 0)
            return true;
    }
    return false;
}

/* E07. A state-buffer's limit here is the address map; neff_check knows the real partitions. */
static NRT_STATUS side_bounds(const struct desc_reader *r, const struct json_path *where,
                              struct neff_access *a)
{
    const struct neff_var *v = &r->s->vars[a->var];
    uint64_t limit =
        v->type == NEFF_VAR_STATE_BUFFER ? (uint64_t)NEFF_PARTITIONS * NEFF_SBUF_STRIDE : v->size;
    int64_t lo = 0, hi = 0;

    if (access_empty(a)) {
        /* a product with a zero in it must not overflow on the way */
        for (unsigned i = 0; i < a->ndim; i++)
            a->sizes[i] = 0;
        return NRT_SUCCESS;
    }
    access_range(a, &lo, &hi);
    if (lo < 0 || (uint64_t)hi > limit || hi == INT64_MAX)
        return desc_fail(r, where, "access [%lld,%lld) outside %s of %llu bytes", (long long)lo,
                         (long long)hi, v->name, (unsigned long long)limit);
    if (access_huge(a))
        return desc_fail(r, where, "invalid access pattern");
    return NRT_SUCCESS;
}

static NRT_STATUS side_dtype(const struct desc_reader *r, const struct json_path *where,
                             const struct json_node *obj, enum json_key k, struct neff_access *a)
{
    const char *name = "uint8";
    NRT_STATUS st = json_field_str(r->c, where, obj, k, JSON_OPTIONAL, &name);
    enum dtype t;

    if (st != NRT_SUCCESS)
        return st;
    t = neff_dtype(name, false);
    if (t == DT_INVALID)
        return desc_fail(r, where, "invalid dtype %s", name);
    a->dtype = (uint8_t)t;
    if (a->sizes[0] % dtype_size(t) != 0)
        return desc_fail(r, where, "innermost size not a multiple of %s", name);
    return NRT_SUCCESS;
}

static NRT_STATUS side_read(const struct desc_reader *r, const struct json_path *where,
                            const struct json_node *obj, const struct side_keys *k,
                            struct neff_access *a)
{
    const char *name = NULL;
    uint64_t index;
    NRT_STATUS st = json_field_str(r->c, where, obj, k->var, JSON_REQUIRED, &name);

    if (st != NRT_SUCCESS)
        return st;
    if (!str_map_get(&r->s->var_by_name, name, &index))
        return desc_fail(r, where, "unknown variable %s", name);
    a->var = (uint32_t)index;
    st = side_pattern(r, where, obj, k, a);
    if (st == NRT_SUCCESS)
        st = side_bounds(r, where, a);
    if (st == NRT_SUCCESS)
        st = side_dtype(r, where, obj, k->dtype, a);
    return st;
}

static uint64_t elements(const struct neff_access *a)
{
    return neff_access_bytes(a) / dtype_size((enum dtype)a->dtype);
}

static NRT_STATUS sources_read(const struct desc_reader *r, const struct json_node *obj)
{
    struct json_path list = {r->path, "from_arr", 0};
    const struct json_node *arr, *n;
    struct neff_access *from;
    NRT_STATUS st = json_field_array(r->c, r->path, obj, K_from_arr, JSON_OPTIONAL, &arr);

    if (st != NRT_SUCCESS)
        return st;
    if (arr == NULL && json_get(r->c->doc, obj, K_from) == NULL)
        return desc_fail(r, r->path, "from or from_arr is needed");
    if (arr != NULL && arr->u.count == 0)
        return desc_fail(r, r->path, "from or from_arr is needed");
    if (arr != NULL && arr->u.count > NEFF_MAX_SOURCES)
        return desc_fail(r, r->path, "%llu sources, at most 16", (unsigned long long)arr->u.count);

    r->d->from_count = arr != NULL ? (uint8_t)arr->u.count : 1;
    from = arena_calloc(r->s->r->arena, r->d->from_count, sizeof(*from));
    if (from == NULL)
        return neff_oom(r->c->err);
    r->d->from = from;
    if (arr == NULL)
        return side_read(r, r->path, obj, &from_keys, &from[0]);
    n = json_first(arr);
    for (unsigned i = 0; i < r->d->from_count; i++, n = json_next(r->c->doc, n)) {
        struct json_path where = {&list, NULL, i};

        if (n->type != JSON_OBJECT)
            return json_must_be(r->c, &where, "an object");
        st = side_read(r, &where, n, &from_keys, &from[i]);
        if (st != NRT_SUCCESS)
            return st;
    }
    return NRT_SUCCESS;
}

/* E11: fields that belong to some ops only. A constant without a type is ignored (neff.md 7.2). */
static NRT_STATUS op_fields_check(const struct desc_reader *r, const struct json_node *obj)
{
    const unsigned fma = 1u << NEFF_OP_FMA, minmax = 1u << NEFF_OP_MIN | 1u << NEFF_OP_MAX;
    const struct {
        enum json_key key;
        unsigned ops;
    } rules[] = {
        {K_scale, fma},
        {K_scale_dtype, fma},
        {K_constant_dtype, minmax},
        {K_transpose_shape, 1u << NEFF_OP_TRANSPOSE},
        {K_transpose_element_size, 1u << NEFF_OP_TRANSPOSE},
    };

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (!(rules[i].ops >> r->d->op & 1) && json_get(r->c->doc, obj, rules[i].key) != NULL)
            return desc_fail(r, r->path, "%s is not valid for op %s", json_key_name(rules[i].key),
                             neff_op_name((enum neff_op)r->d->op));
    }
    return NRT_SUCCESS;
}

static NRT_STATUS scale_value(const struct desc_reader *r, const struct json_path *where,
                              const struct json_node *n, float *ret)
{
    double v;

    if (n->type != JSON_INT && n->type != JSON_REAL)
        return json_must_be(r->c, where, "a number");
    v = n->type == JSON_INT ? (double)n->u.i : n->u.d;
    *ret = (float)v;
    if (!isfinite(*ret))
        return desc_fail(r, r->path, "invalid scale %g", v);
    return NRT_SUCCESS;
}

static NRT_STATUS fma_read(const struct desc_reader *r, const struct json_node *obj)
{
    struct json_path where = {r->path, "scale", 0};
    const struct json_node *scale = json_get(r->c->doc, obj, K_scale), *n;
    const char *dtype = "float32";
    float *scales;
    NRT_STATUS st = json_field_str(r->c, r->path, obj, K_scale_dtype, JSON_OPTIONAL, &dtype);

    if (st != NRT_SUCCESS)
        return st;
    if (strcmp(dtype, "float32") != 0)
        return desc_fail(r, r->path, "invalid scale_dtype %s", dtype);
    scales = arena_calloc(r->s->r->arena, r->d->from_count, sizeof(*scales));
    if (scales == NULL)
        return neff_oom(r->c->err);
    r->d->scale = scales;
    for (unsigned i = 0; i < r->d->from_count; i++)
        scales[i] = 1.0f;
    if (scale == NULL)
        return NRT_SUCCESS;

    if (scale->type == JSON_ARRAY) {
        if (scale->u.count != r->d->from_count)
            return json_must_be(r->c, &where, "one number for each source");
        n = json_first(scale);
        for (unsigned i = 0; i < r->d->from_count; i++, n = json_next(r->c->doc, n)) {
            st = scale_value(r, &where, n, &scales[i]);
            if (st != NRT_SUCCESS)
                return st;
        }
        return NRT_SUCCESS;
    }
    st = scale_value(r, &where, scale, &scales[0]);
    for (unsigned i = 1; i < r->d->from_count; i++)
        scales[i] = scales[0];
    return st;
}

static NRT_STATUS constant_read(const struct desc_reader *r, const struct json_node *obj)
{
    const char *dtype = NULL;
    double v = 0;
    bool ok;
    NRT_STATUS st = json_field_str(r->c, r->path, obj, K_constant_dtype, JSON_OPTIONAL, &dtype);

    if (st != NRT_SUCCESS || dtype == NULL)
        return st;
    r->d->constant_dtype = strcmp(dtype, "float32") == 0  ? DT_FP32
                           : strcmp(dtype, "int32") == 0  ? DT_INT32
                           : strcmp(dtype, "uint32") == 0 ? DT_UINT32
                                                          : DT_INVALID;
    if (r->d->constant_dtype == DT_INVALID)
        return desc_fail(r, r->path, "invalid constant_dtype %s", dtype);
    if (json_get(r->c->doc, obj, K_constant) == NULL)
        return desc_fail(r, r->path, "constant is missing");
    st = json_field_num(r->c, r->path, obj, K_constant, JSON_REQUIRED, &v);
    if (st != NRT_SUCCESS)
        return st;
    switch (r->d->constant_dtype) {
    case DT_INT32:
        ok = v >= INT32_MIN && v <= INT32_MAX && v == rint(v);
        break;
    case DT_UINT32:
        ok = v >= 0 && v <= UINT32_MAX && v == rint(v);
        break;
    default:
        ok = isfinite((float)v);
        v = (float)v;
        break;
    }
    if (!ok)
        return desc_fail(r, r->path, "invalid constant %.17g", v);
    r->d->constant = v;
    r->d->has_constant = 1;
    return NRT_SUCCESS;
}

/* Without transpose_shape the pattern is the shape: counts outermost first, then elements of the
 * innermost run. */
static bool shape_from_pattern(struct neff_desc *d)
{
    const struct neff_access *a = &d->from[0];

    if (a->sizes[0] % d->transpose_element_size != 0)
        return false;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t n = 1;

        if (i + 1 < a->ndim)
            n = a->sizes[a->ndim - 1 - i];
        else if (i + 1 == a->ndim)
            n = a->sizes[0] / d->transpose_element_size;
        if (n > UINT32_MAX)
            return false;
        d->transpose_shape[i] = (uint32_t)n;
    }
    return true;
}

static NRT_STATUS transpose_read(const struct desc_reader *r, const struct json_node *obj)
{
    struct neff_desc *d = r->d;
    const struct json_node *shape, *n;
    int64_t element = (int64_t)dtype_size((enum dtype)d->from[0].dtype);
    uint64_t bytes;
    NRT_STATUS st = neff_int_array(r->s->r, r->c, r->path, obj, K_transpose_shape, &shape);

    if (st == NRT_SUCCESS)
        st = json_field_int(r->c, r->path, obj, K_transpose_element_size, JSON_OPTIONAL, &element);
    if (st != NRT_SUCCESS)
        return st;
    if (element != 1 && element != 2 && element != 4 && element != 8)
        return desc_fail(r, r->path, "invalid transpose_element_size %lld", (long long)element);
    d->transpose_element_size = (uint32_t)element;
    if (shape == NULL) {
        if (!shape_from_pattern(d))
            return desc_fail(r, r->path, "invalid transpose_shape");
    } else if (shape->u.count != 4) {
        return desc_fail(r, r->path, "invalid transpose_shape");
    } else {
        n = json_first(shape);
        for (unsigned i = 0; i < 4; i++, n++) {
            if (n->u.i < 0 || n->u.i > UINT32_MAX)
                return desc_fail(r, r->path, "invalid transpose_shape");
            d->transpose_shape[i] = (uint32_t)n->u.i;
        }
    }
    bytes = d->transpose_element_size;
    for (unsigned i = 0; i < 4; i++) {
        if (u64_mul_over(bytes, d->transpose_shape[i], &bytes))
            return desc_fail(r, r->path, "invalid transpose_shape");
    }
    if (bytes != neff_access_bytes(&d->from[0]))
        return desc_fail(r, r->path, "invalid transpose_shape");
    return NRT_SUCCESS;
}

static NRT_STATUS op_read(const struct desc_reader *r, const struct json_node *obj)
{
    const char *op = "copy";
    NRT_STATUS st = json_field_str(r->c, r->path, obj, K_op, JSON_OPTIONAL, &op);
    unsigned k;

    if (st != NRT_SUCCESS)
        return st;
    for (k = 0; k < NEFF_OP_COUNT; k++) {
        if (strcmp(op, neff_op_name((enum neff_op)k)) == 0)
            break;
    }
    if (k == NEFF_OP_COUNT)
        return desc_fail(r, r->path, "invalid op %s", op);
    r->d->op = (uint8_t)k;
    return op_fields_check(r, obj);
}

/* Ops that move one source take one; only the arithmetic ops fold several. */
static NRT_STATUS op_sources_check(const struct desc_reader *r)
{
    enum neff_op op = (enum neff_op)r->d->op;

    if (r->d->from_count > 1 &&
        (op == NEFF_OP_COPY || op == NEFF_OP_CAST || op == NEFF_OP_TRANSPOSE))
        return desc_fail(r, r->path, "from_arr is not valid for op %s", neff_op_name(op));
    for (unsigned i = 0; i < r->d->from_count; i++) {
        uint64_t a = elements(&r->d->from[i]), b = elements(&r->d->to);

        if (a != b)
            return desc_fail(r, r->path, "%llu elements to %llu", (unsigned long long)a,
                             (unsigned long long)b);
    }
    return NRT_SUCCESS;
}

NRT_STATUS neff_desc_read(struct neff_sg_reader *s, const struct json_ctx *c,
                          const struct json_path *path, const struct json_node *obj,
                          struct neff_desc *ret)
{
    struct desc_reader r = {s, c, path, ret};
    int64_t tiling = -1;
    NRT_STATUS st;

    if (obj->type != JSON_OBJECT)
        return json_must_be(c, path, "an object");
    neff_unknown_keys(s->r, c, obj, "desc");
    st = op_read(&r, obj);
    if (st == NRT_SUCCESS)
        st = sources_read(&r, obj);
    if (st == NRT_SUCCESS)
        st = side_read(&r, path, obj, &to_keys, &ret->to);
    if (st == NRT_SUCCESS)
        st = op_sources_check(&r);
    if (st == NRT_SUCCESS)
        st = json_field_int(c, path, obj, K_num_tiling_dimensions, JSON_OPTIONAL, &tiling);
    if (st != NRT_SUCCESS)
        return st;
    if (json_get(c->doc, obj, K_num_tiling_dimensions) != NULL &&
        (tiling < 0 || tiling > (int64_t)NEFF_MAX_DIMS)) {
        struct json_path p = {path, "num_tiling_dimensions", 0};

        return json_must_be(c, &p, "0 to 4");
    }
    ret->num_tiling_dimensions = (int8_t)tiling;

    switch (ret->op) {
    case NEFF_OP_FMA:
        return fma_read(&r, obj);
    case NEFF_OP_MIN:
    case NEFF_OP_MAX:
        return constant_read(&r, obj);
    case NEFF_OP_TRANSPOSE:
        return transpose_read(&r, obj);
    case NEFF_OP_COPY:
        if (ret->from[0].dtype != ret->to.dtype)
            ret->op = NEFF_OP_CAST;
        return NRT_SUCCESS;
    default:
        return NRT_SUCCESS;
    }
}
