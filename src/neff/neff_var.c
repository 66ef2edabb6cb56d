/* SPDX-License-Identifier: Apache-2.0 */
/* Variables of a subgraph: docs/spec/neff.md sections 6.2 and 9, rules V01 to V11. */
#include "neff/neff_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static NRT_STATUS var_invalid(struct neff_sg_reader *s, const struct neff_var *v, const char *what)
{
    return neff_fail(s->r->err, NRT_INVALID, "var %s: %s", v->name, what);
}

/* V05: fields that belong to one type only. */
static NRT_STATUS var_fields_check(struct neff_sg_reader *s, const struct json_ctx *c,
                                   const struct json_node *obj, const struct neff_var *v)
{
    static const struct {
        enum json_key key;
        enum neff_var_type type;
    } rules[] = {
        {K_file_name, NEFF_VAR_FILE},
        {K_file_off, NEFF_VAR_FILE},
        {K_backing_variable_off, NEFF_VAR_VIRTUAL},
        {K_referenced_var_id, NEFF_VAR_POINTER},
        {K_list, NEFF_VAR_DGE_TABLE},
    };

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (v->type != rules[i].type && json_get(c->doc, obj, rules[i].key) != NULL)
            return neff_fail(s->r->err, NRT_INVALID, "var %s: %s is not valid for type %s", v->name,
                             json_key_name(rules[i].key), neff_var_type_name(v->type));
    }
    return NRT_SUCCESS;
}

/* Where the data of the file lie: array data of an .npy member, else the raw member; file_off
 * (merged weights) gives a raw piece of it. V06, V07, V08. */
static NRT_STATUS var_file(struct neff_sg_reader *s, const struct json_ctx *c,
                           const struct json_path *p, const struct json_node *obj, bool has_size,
                           struct neff_var *v)
{
    const struct neff_member *m;
    const char *name = NULL, *full;
    int64_t off = -1;
    uint64_t have;
    NRT_STATUS st = json_field_str(c, p, obj, K_file_name, JSON_OPTIONAL, &name);

    if (st == NRT_SUCCESS)
        st = json_field_int(c, p, obj, K_file_off, JSON_OPTIONAL, &off);
    if (st == NRT_SUCCESS && name != NULL)
        st = neff_sibling(s->r, s->sg->dir, name, &full, &v->file_member);
    if (st != NRT_SUCCESS)
        return st;
    if (v->file_member == NEFF_NONE)
        return neff_fail(s->r->err, NRT_INVALID, "var %s: file %s not found", v->name,
                         name != NULL ? name : "(none)");
    m = &s->r->neff->members[v->file_member];

    if (json_get(c->doc, obj, K_file_off) != NULL) {
        if (!has_size)
            return var_invalid(s, v, "invalid size");
        if (off < 0 || !range_ok((uint64_t)off, v->size, m->size))
            return neff_fail(s->r->err, NRT_INVALID,
                             "var %s: file %s has %llu bytes, file_off is %lld and size %llu",
                             v->name, name, (unsigned long long)m->size, (long long)off,
                             (unsigned long long)v->size);
        v->file_off = (uint64_t)off;
        v->file_bytes = v->size;
        return NRT_SUCCESS;
    }

    if (m->is_npy && (!m->npy_ok || m->npy_fortran))
        return neff_fail(s->r->err, NRT_INVALID, "var %s: invalid npy file %s", v->name, name);
    v->file_off = m->is_npy ? m->npy_data_off : 0;
    have = m->is_npy ? m->npy_data_bytes : m->size;
    if (!has_size)
        v->size = have;
    if (have > v->size)
        return neff_fail(s->r->err, NRT_INVALID, "var %s: file %s has %llu bytes, size is %llu",
                         v->name, name, (unsigned long long)have, (unsigned long long)v->size);
    if (have < v->size)
        diag_warn(s->r->opt->sink, "var %s: file %s has %llu bytes, size is %llu; the rest is zero",
                  v->name, name, (unsigned long long)have, (unsigned long long)v->size);
    v->file_bytes = have;
    return NRT_SUCCESS;
}

static NRT_STATUS var_virtual(struct neff_sg_reader *s, const struct json_ctx *c,
                              const struct json_path *p, const struct json_node *obj,
                              struct neff_var *v)
{
    const char *area = "";
    int64_t off = -1;
    uint64_t end;
    NRT_STATUS st = json_field_int(c, p, obj, K_backing_variable_off, JSON_OPTIONAL, &off);

    if (st == NRT_SUCCESS)
        st = json_field_str(c, p, obj, K_backing_buf, JSON_OPTIONAL, &area);
    if (st != NRT_SUCCESS)
        return st;
    if (off < 0 || u64_add_over((uint64_t)off, v->size, &end) || end > INT64_MAX)
        return var_invalid(s, v, "invalid backing_variable_off");
    v->area_off = (uint64_t)off;
    v->area = arena_strdup(s->r->arena, area);
    return v->area != NULL ? NRT_SUCCESS : neff_oom(s->r->err);
}

static NRT_STATUS var_read(struct neff_sg_reader *s, const struct json_ctx *c,
                           const struct json_node *obj, struct neff_var *v)
{
    struct json_path top = {NULL, "var", 0}, p = {&top, v->name, 0};
    const char *type = NULL, *fabric = "main";
    const struct json_node *ops;
    int64_t size = -1, alignment = 0;
    bool has_size;
    unsigned t;
    NRT_STATUS st;

    v->file_member = v->ref = NEFF_NONE;
    v->area = "";
    if (obj->type != JSON_OBJECT)
        return json_must_be(c, &p, "an object");
    neff_unknown_keys(s->r, c, obj, "var");
    st = json_field_str(c, &p, obj, K_type, JSON_REQUIRED, &type);
    if (st != NRT_SUCCESS)
        return st;
    for (t = 0; t < NEFF_VAR_TYPE_COUNT; t++) {
        if (strcmp(type, neff_var_type_name((enum neff_var_type)t)) == 0)
            break;
    }
    if (t == NEFF_VAR_TYPE_COUNT)
        return neff_fail(s->r->err, NRT_INVALID, "var %s: invalid type %s", v->name, type);
    v->type = (enum neff_var_type)t;

    st = json_field_int(c, &p, obj, K_var_id, JSON_REQUIRED, &v->var_id);
    if (st == NRT_SUCCESS)
        st = json_field_int(c, &p, obj, K_size, JSON_OPTIONAL, &size);
    if (st == NRT_SUCCESS)
        st = json_field_int(c, &p, obj, K_alignment, JSON_OPTIONAL, &alignment);
    if (st == NRT_SUCCESS)
        st = json_field_str(c, &p, obj, K_fabric_path, JSON_OPTIONAL, &fabric);
    if (st == NRT_SUCCESS)
        st = json_field_array(c, &p, obj, K_ops, JSON_OPTIONAL, &ops);
    if (st != NRT_SUCCESS)
        return st;
    has_size = json_get(c->doc, obj, K_size) != NULL;
    if (size < 0 && (has_size || (v->type != NEFF_VAR_STATE_BUFFER && v->type != NEFF_VAR_FILE)))
        return var_invalid(s, v, "invalid size");
    v->size = has_size ? (uint64_t)size : 0;
    if (alignment != 0 && (alignment < 0 || !is_pow2_u64((uint64_t)alignment)))
        return neff_fail(s->r->err, NRT_INVALID, "var %s: alignment %lld is not a power of two",
                         v->name, (long long)alignment);
    v->alignment = (uint64_t)alignment;
    v->fabric_alt = strcmp(fabric, "alt") == 0;
    if (!v->fabric_alt && strcmp(fabric, "main") != 0)
        return neff_fail(s->r->err, NRT_INVALID, "var %s: invalid fabric_path %s", v->name, fabric);
    st = var_fields_check(s, c, obj, v);
    if (st == NRT_SUCCESS && v->type == NEFF_VAR_FILE)
        st = var_file(s, c, &p, obj, has_size, v);
    if (st == NRT_SUCCESS && v->type == NEFF_VAR_VIRTUAL)
        st = var_virtual(s, c, &p, obj, v);
    return st;
}

/* ---- references: pointers and tables, after all variables are known ---- */

struct id_index {
    int64_t id;
    uint32_t var;
};

static int id_cmp(const void *a, const void *b)
{
    const struct id_index *x = a, *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->var < y->var ? -1 : 1;
}

static uint32_t id_find(const struct id_index *ids, uint32_t n, int64_t id)
{
    uint32_t lo = 0, hi = n;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (ids[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && ids[lo].id == id ? ids[lo].var : NEFF_NONE;
}

static NRT_STATUS unknown_id(struct neff_sg_reader *s, const struct neff_var *v, int64_t id)
{
    return neff_fail(s->r->err, NRT_INVALID, "var %s: unknown var_id %lld", v->name, (long long)id);
}

static NRT_STATUS var_pointer(struct neff_sg_reader *s, const struct json_ctx *c,
                              const struct json_path *p, const struct json_node *obj,
                              const struct id_index *ids, struct neff_var *v)
{
    int64_t id = -1;
    NRT_STATUS st = json_field_int(c, p, obj, K_referenced_var_id, JSON_REQUIRED, &id);

    if (st != NRT_SUCCESS)
        return st;
    v->ref = id_find(ids, s->sg->var_count, id);
    if (v->ref == NEFF_NONE)
        return unknown_id(s, v, id);
    if (&s->vars[v->ref] == v)
        return var_invalid(s, v, "invalid reference");
    return v->size < 8 ? var_invalid(s, v, "invalid size") : NRT_SUCCESS;
}

static NRT_STATUS var_table(struct neff_sg_reader *s, const struct json_ctx *c,
                            const struct json_path *p, const struct json_node *obj,
                            const struct id_index *ids, struct neff_var *v)
{
    const struct json_node *a, *n;
    uint32_t *list;
    NRT_STATUS st = neff_int_array(s->r, c, p, obj, K_list, &a);

    if (st != NRT_SUCCESS)
        return st;
    if (a == NULL) {
        const struct json_node *need;

        return json_field_array(c, p, obj, K_list, JSON_REQUIRED, &need);
    }
    list = arena_calloc(s->r->arena, a->u.count, sizeof(*list));
    if (list == NULL)
        return neff_oom(s->r->err);
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(c->doc, n)) {
        list[i] = id_find(ids, s->sg->var_count, n->u.i);
        if (list[i] == NEFF_NONE)
            return unknown_id(s, v, n->u.i);
    }
    v->list = list;
    v->list_count = (uint32_t)a->u.count;
    return v->size / 8 < v->list_count ? var_invalid(s, v, "invalid size") : NRT_SUCCESS;
}

static NRT_STATUS references_read(struct neff_sg_reader *s, const struct json_ctx *c,
                                  const struct json_node *vars)
{
    uint32_t n = s->sg->var_count;
    struct json_path top = {NULL, "var", 0};
    const struct json_node *obj = json_first(vars);
    struct id_index *ids = mem_calloc(n, sizeof(*ids));
    NRT_STATUS st = NRT_SUCCESS;

    if (ids == NULL)
        return neff_oom(s->r->err);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = (struct id_index){s->vars[i].var_id, i};
    qsort(ids, n, sizeof(*ids), id_cmp);
    for (uint32_t i = 0; i < n && st == NRT_SUCCESS; i++) {
        const struct neff_var *v = &s->vars[ids[i].var];

        if (v->var_id < 0 || (i > 0 && ids[i - 1].id == ids[i].id))
            st = neff_fail(s->r->err, NRT_INVALID, "var %s: duplicate var_id %lld", v->name,
                           (long long)v->var_id);
    }
    for (uint32_t i = 0; i < n && st == NRT_SUCCESS; i++, obj = json_next(c->doc, obj)) {
        struct json_path p = {&top, s->vars[i].name, 0};

        if (s->vars[i].type == NEFF_VAR_POINTER)
            st = var_pointer(s, c, &p, obj, ids, &s->vars[i]);
        else if (s->vars[i].type == NEFF_VAR_DGE_TABLE)
            st = var_table(s, c, &p, obj, ids, &s->vars[i]);
    }
    mem_free(ids);
    return st;
}

/* ---- scratchpad ---- */

static int by_area(const void *a, const void *b, void *arg)
{
    const struct neff_var *vars = arg;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int c = strcmp(vars[x].area, vars[y].area);

    return c != 0 ? c : (x > y) - (x < y);
}

/* Offsets of the virtual variables: areas in order of their names, starts 64-aligned. */
static NRT_STATUS scratch_layout(struct neff_sg_reader *s)
{
    uint64_t start = 0, end = 0, var_end;
    uint32_t n = 0, *list;
    NRT_STATUS st = NRT_SUCCESS;

    list = mem_calloc(s->sg->var_count, sizeof(*list));
    if (list == NULL)
        return neff_oom(s->r->err);
    for (uint32_t i = 0; i < s->sg->var_count; i++) {
        if (s->vars[i].type == NEFF_VAR_VIRTUAL)
            list[n++] = i;
    }
    qsort_r(list, n, sizeof(*list), by_area, s->vars);
    for (uint32_t k = 0; k < n && st == NRT_SUCCESS; k++) {
        struct neff_var *v = &s->vars[list[k]];

        if (k > 0 && strcmp(v->area, s->vars[list[k - 1]].area) != 0 &&
            u64_align_up_over(end, 64, &start))
            start = UINT64_MAX;
        if (u64_add_over(start, v->area_off, &v->scratch_off) ||
            u64_add_over(v->scratch_off, v->size, &var_end) || var_end > INT64_MAX)
            st = var_invalid(s, v, "invalid backing_variable_off");
        else if (var_end > end)
            end = var_end;
    }
    s->sg->scratch_bytes = end;
    mem_free(list);
    return st;
}

NRT_STATUS neff_vars_read(struct neff_sg_reader *s, const struct json_ctx *c,
                          const struct json_node *vars)
{
    const struct json_node *n = json_first(vars);
    NRT_STATUS st;

    s->vars = arena_calloc(s->r->arena, vars->u.count, sizeof(*s->vars));
    if (s->vars == NULL)
        return neff_oom(s->r->err);
    s->sg->vars = s->vars;
    for (uint64_t i = 0; i < vars->u.count; i++, n = json_next(c->doc, n)) {
        struct neff_var *v = &s->vars[i];

        v->name = arena_strdup(s->r->arena, json_name(c->doc, n));
        if (v->name == NULL || !str_map_put(&s->var_by_name, v->name, i, NULL))
            return neff_oom(s->r->err);
        st = var_read(s, c, n, v);
        if (st != NRT_SUCCESS)
            return st;
        if (v->type == NEFF_VAR_FILE &&
            (u64_add_over(s->sg->constant_bytes, v->size, &s->sg->constant_bytes) ||
             u64_add_over(s->r->neff->constant_bytes, v->size, &s->r->neff->constant_bytes)))
            return var_invalid(s, v, "invalid size");
        s->sg->var_count++;
    }
    st = references_read(s, c, vars);
    return st == NRT_SUCCESS ? scratch_layout(s) : st;
}
