/* SPDX-License-Identifier: Apache-2.0 */
/* The collectives table: docs/spec/neff.md section 7.3. */
#include "neff/neff_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

#define MAX_GROUPS  16u /* distinct groups in a NEFF */
#define MAX_STREAMS 4u

struct coll_reader {
    struct neff_sg_reader *s;
    const struct json_ctx *c;
    uint64_t index;
    struct neff_coll *coll;
};

static NRT_STATUS coll_fail(const struct coll_reader *r, const char *reason, const char *value)
{
    return neff_fail(r->c->err, NRT_INVALID, "%s: [%llu]: %s%s", r->c->member,
                     (unsigned long long)r->index, reason, value);
}

static const char *const op_names[NEFF_COLL_OP_COUNT] = {
    "all_gather",   "reduce_scatter", "all_reduce",       "all_to_all",
    "all_gather_v", "all_to_all_v",   "reduce_scatter_v", "permute",
    "send",         "recv",           "barrier"};

const char *neff_coll_op_name(enum neff_coll_op op)
{
    return op_names[op];
}
static const char *const reduce_names[] = {"", "add", "min", "max"};

static int find_name(const char *const *names, unsigned n, const char *s)
{
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(names[i], s) == 0)
            return (int)i;
    }
    return -1;
}

static bool op_reduces(enum neff_coll_op op)
{
    return op == NEFF_COLL_ALL_REDUCE || op == NEFF_COLL_REDUCE_SCATTER ||
           op == NEFF_COLL_REDUCE_SCATTER_V;
}

static bool op_varies(enum neff_coll_op op)
{
    return op == NEFF_COLL_ALL_GATHER_V || op == NEFF_COLL_ALL_TO_ALL_V ||
           op == NEFF_COLL_REDUCE_SCATTER_V;
}

static bool op_pairs(enum neff_coll_op op)
{
    return op == NEFF_COLL_PERMUTE || op == NEFF_COLL_SEND || op == NEFF_COLL_RECV;
}

static NRT_STATUS coll_kind(const struct coll_reader *r, const struct json_path *p,
                            const struct json_node *obj)
{
    const char *op = NULL, *reduce = NULL, *dtype = NULL;
    struct neff_coll *coll = r->coll;
    int64_t stream = 0;
    int k;
    NRT_STATUS st = json_field_str(r->c, p, obj, K_op, JSON_REQUIRED, &op);

    if (st != NRT_SUCCESS)
        return st;
    k = find_name(op_names, NEFF_COLL_OP_COUNT, op);
    if (k < 0)
        return coll_fail(r, "unknown op ", op);
    coll->op = (enum neff_coll_op)k;

    st = json_field_str(r->c, p, obj, K_reduce, op_reduces(coll->op), &reduce);
    if (st != NRT_SUCCESS)
        return st;
    if (reduce != NULL) {
        k = *reduce != '\0' ? find_name(reduce_names, 4, reduce) : -1;
        if (k < 0)
            return coll_fail(r, "unknown reduce ", reduce);
        if (!op_reduces(coll->op) && coll->op != NEFF_COLL_PERMUTE)
            return coll_fail(r, "reduce is not valid for op ", op);
        coll->reduce = (enum neff_coll_reduce)k;
    }
    st = json_field_str(r->c, p, obj, K_dtype, coll->op != NEFF_COLL_BARRIER, &dtype);
    if (st == NRT_SUCCESS)
        st = json_field_int(r->c, p, obj, K_stream, JSON_OPTIONAL, &stream);
    if (st != NRT_SUCCESS)
        return st;
    coll->dtype = dtype != NULL ? neff_dtype(dtype, false) : DT_INVALID;
    if (dtype != NULL && coll->dtype == DT_INVALID)
        return coll_fail(r, "unknown dtype ", dtype);
    if (stream < 0 || stream >= (int64_t)MAX_STREAMS)
        return coll_fail(r, "stream out of range", "");
    coll->stream = (unsigned)stream;
    return NRT_SUCCESS;
}

/* ---- groups and pairs ---- */

static int rank_cmp(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static NRT_STATUS rank_value(const struct coll_reader *r, const struct json_node *n, uint32_t *ret)
{
    if (n->type != JSON_INT)
        return coll_fail(r, "a rank must be an integer", "");
    if (n->u.i < 0 || n->u.i >= UINT32_MAX)
        return coll_fail(r, "rank out of range", "");
    *ret = (uint32_t)n->u.i;
    return NRT_SUCCESS;
}

/* No rank in two groups, nor twice in one. */
static NRT_STATUS groups_disjoint(const struct coll_reader *r, uint32_t total)
{
    uint32_t *all = mem_calloc(total, sizeof(*all)), n = 0;
    NRT_STATUS st = NRT_SUCCESS;

    if (all == NULL)
        return neff_oom(r->c->err);
    for (uint32_t g = 0; g < r->coll->group_count; g++) {
        const struct neff_coll_group *group = &r->coll->groups[g];

        memcpy(all + n, group->ranks, group->rank_count * sizeof(*all));
        n += group->rank_count;
    }
    qsort(all, n, sizeof(*all), rank_cmp);
    for (uint32_t i = 1; i < n && st == NRT_SUCCESS; i++) {
        if (all[i - 1] == all[i])
            st = coll_fail(r, "groups overlap", "");
    }
    mem_free(all);
    return st;
}

static NRT_STATUS group_read(const struct coll_reader *r, const struct json_node *n,
                             struct neff_coll_group *group)
{
    const struct json_node *rank = json_first(n);
    uint32_t *ranks;
    NRT_STATUS st;

    if (n->type != JSON_ARRAY)
        return coll_fail(r, "a group must be an array of ranks", "");
    if (n->u.count == 0)
        return coll_fail(r, "empty group", "");
    ranks = arena_calloc(r->s->r->arena, n->u.count, sizeof(*ranks));
    if (ranks == NULL)
        return neff_oom(r->c->err);
    for (uint64_t i = 0; i < n->u.count; i++, rank = json_next(r->c->doc, rank)) {
        st = rank_value(r, rank, &ranks[i]);
        if (st != NRT_SUCCESS)
            return st;
    }
    group->ranks = ranks;
    group->rank_count = (uint32_t)n->u.count;
    return NRT_SUCCESS;
}

static NRT_STATUS coll_groups(const struct coll_reader *r, const struct json_path *p,
                              const struct json_node *obj)
{
    bool required = r->coll->op != NEFF_COLL_PERMUTE && !op_pairs(r->coll->op);
    const struct json_node *a, *n;
    struct neff_coll_group *groups;
    uint32_t total = 0;
    NRT_STATUS st = json_field_array(r->c, p, obj, K_groups, required, &a);

    if (st != NRT_SUCCESS || a == NULL)
        return st;
    if (a->u.count == 0 && required)
        return coll_fail(r, "no groups", "");
    groups = arena_calloc(r->s->r->arena, a->u.count, sizeof(*groups));
    if (groups == NULL)
        return neff_oom(r->c->err);
    r->coll->groups = groups;
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(r->c->doc, n)) {
        st = group_read(r, n, &groups[i]);
        if (st != NRT_SUCCESS)
            return st;
        if (groups[i].rank_count != groups[0].rank_count)
            return coll_fail(r, "groups differ in size", "");
        total += groups[i].rank_count; /* at most the nodes of one document */
        r->coll->group_count++;
    }
    return groups_disjoint(r, total);
}

static NRT_STATUS coll_pairs(const struct coll_reader *r, const struct json_path *p,
                             const struct json_node *obj)
{
    const struct json_node *a, *n;
    uint32_t(*pairs)[2];
    NRT_STATUS st = json_field_array(r->c, p, obj, K_pairs, op_pairs(r->coll->op), &a);

    if (st != NRT_SUCCESS || a == NULL)
        return st;
    if (!op_pairs(r->coll->op))
        return coll_fail(r, "pairs is not valid for op ", op_names[r->coll->op]);
    if (a->u.count == 0)
        return coll_fail(r, "no pairs", "");
    pairs = arena_calloc(r->s->r->arena, a->u.count, sizeof(*pairs));
    if (pairs == NULL)
        return neff_oom(r->c->err);
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(r->c->doc, n)) {
        if (n->type != JSON_ARRAY || n->u.count != 2)
            return coll_fail(r, "a pair must be [source, target]", "");
        for (unsigned k = 0; k < 2; k++) {
            st = rank_value(r, json_first(n) + k, &pairs[i][k]);
            if (st != NRT_SUCCESS)
                return st;
        }
    }
    r->coll->pairs = (const uint32_t(*)[2])pairs;
    r->coll->pair_count = (uint32_t)a->u.count;
    return NRT_SUCCESS;
}

/* ---- tensors ---- */

bool neff_tile_inside(const struct neff_coll_range *r, uint64_t elem, uint64_t partition_bytes)
{
    uint64_t elems = r->size / r->partitions / elem, reach, last;

    return !u64_mul_over(elems - 1, r->step, &reach) &&
           !u64_add_over(r->off % NEFF_SBUF_STRIDE + elem, reach, &reach) &&
           reach <= partition_bytes && !u64_mul_over(r->partitions - 1, r->partition_step, &last) &&
           !u64_add_over(r->off / NEFF_SBUF_STRIDE, last, &last) && last < NEFF_PARTITIONS;
}

/* What a range of a state-buffer has besides. The partitions' real bytes are neff_check's. */
static NRT_STATUS tile_read(const struct coll_reader *r, const struct json_path *p,
                            const struct json_node *n, const char *name,
                            struct neff_coll_range *ret)
{
    uint64_t elem = dtype_size(r->coll->dtype);
    int64_t partitions = 0, partition_step = 1, step = (int64_t)elem;
    NRT_STATUS st = json_field_int(r->c, p, n, K_partitions, JSON_REQUIRED, &partitions);

    if (st == NRT_SUCCESS)
        st = json_field_int(r->c, p, n, K_partition_step, JSON_OPTIONAL, &partition_step);
    if (st == NRT_SUCCESS)
        st = json_field_int(r->c, p, n, K_step, JSON_OPTIONAL, &step);
    if (st != NRT_SUCCESS)
        return st;
    if (partitions < 1 || partitions > NEFF_PARTITIONS || partition_step < 1 ||
        partition_step > NEFF_PARTITIONS || step < (int64_t)elem || step > NEFF_SBUF_STRIDE)
        return coll_fail(r, "partitions or steps out of range in ", name);
    ret->partitions = (uint32_t)partitions;
    ret->partition_step = (uint32_t)partition_step;
    ret->step = (uint32_t)step;
    if (ret->size == 0 || ret->size % ((uint64_t)partitions * elem) != 0)
        return coll_fail(r, "size is not whole rows of elements: ", name);
    if (!neff_tile_inside(ret, elem, NEFF_SBUF_STRIDE))
        return coll_fail(r, "range outside ", name);
    return NRT_SUCCESS;
}

static NRT_STATUS range_read(const struct coll_reader *r, const struct json_path *p,
                             const struct json_node *n, struct neff_coll_range *ret)
{
    const char *name = NULL;
    int64_t off = 0, size = 0;
    bool tile;
    uint64_t index;
    NRT_STATUS st;

    if (n->type != JSON_OBJECT)
        return json_must_be(r->c, p, "an object");
    st = json_field_str(r->c, p, n, K_var, JSON_REQUIRED, &name);
    if (st == NRT_SUCCESS)
        st = json_field_int(r->c, p, n, K_off, JSON_REQUIRED, &off);
    if (st == NRT_SUCCESS)
        st = json_field_int(r->c, p, n, K_size, JSON_REQUIRED, &size);
    if (st != NRT_SUCCESS)
        return st;
    if (!str_map_get(&r->s->var_by_name, name, &index))
        return coll_fail(r, "unknown variable ", name);
    ret->var = (uint32_t)index;
    tile = r->s->vars[index].type == NEFF_VAR_STATE_BUFFER;
    if (off < 0 || size < 0 ||
        (!tile && !range_ok((uint64_t)off, (uint64_t)size, r->s->vars[index].size)))
        return coll_fail(r, "range outside ", name);
    if ((uint64_t)size % dtype_size(r->coll->dtype) != 0)
        return coll_fail(r, "size is not a multiple of the element size: ", name);
    ret->off = (uint64_t)off;
    ret->size = (uint64_t)size;
    return tile ? tile_read(r, p, n, name, ret) : NRT_SUCCESS;
}

static NRT_STATUS ranges_read(const struct coll_reader *r, const struct json_path *up,
                              const struct json_node *obj, enum json_key k, uint32_t *ret_count,
                              const struct neff_coll_range **ret)
{
    struct json_path list = {up, json_key_name(k), 0};
    const struct json_node *a, *n;
    struct neff_coll_range *ranges;
    NRT_STATUS st = json_field_array(r->c, up, obj, k, JSON_REQUIRED, &a);

    if (st != NRT_SUCCESS)
        return st;
    if (a->u.count == 0)
        return coll_fail(r, "no tensors in ", json_key_name(k));
    ranges = arena_calloc(r->s->r->arena, a->u.count, sizeof(*ranges));
    if (ranges == NULL)
        return neff_oom(r->c->err);
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(r->c->doc, n)) {
        struct json_path p = {&list, NULL, i};

        st = range_read(r, &p, n, &ranges[i]);
        if (st != NRT_SUCCESS)
            return st;
    }
    *ret = ranges;
    *ret_count = (uint32_t)a->u.count;
    return NRT_SUCCESS;
}

static bool in_sbuf(const struct neff_coll_range *r, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (r[i].partitions > 0)
            return true;
    return false;
}

/* Tensors in SBUF: one on each side, of the operations that work there. The larger side has as many
 * partitions as the smaller one, or a multiple, over which whole blocks are spread. */
static NRT_STATUS tiles_check(const struct coll_reader *r)
{
    const struct neff_coll *c = r->coll;
    uint32_t small, large;

    if (!in_sbuf(c->in, c->in_count) && !in_sbuf(c->out, c->out_count))
        return NRT_SUCCESS;
    if (op_varies(c->op) || (c->op != NEFF_COLL_ALL_GATHER && !op_reduces(c->op)))
        return coll_fail(r, "tensors in SBUF are not valid for op ", op_names[c->op]);
    if (c->in_count != 1 || c->out_count != 1)
        return coll_fail(r, "one tensor on each side is needed", "");
    if (c->in->partitions == 0 || c->out->partitions == 0)
        return coll_fail(r, "tensors in HBM and in SBUF", "");
    small = c->op == NEFF_COLL_REDUCE_SCATTER ? c->out->partitions : c->in->partitions;
    large = c->op == NEFF_COLL_REDUCE_SCATTER ? c->in->partitions : c->out->partitions;
    if (c->op == NEFF_COLL_ALL_REDUCE
            ? small != large
            : large % small != 0 || c->groups[0].rank_count % (large / small) != 0)
        return coll_fail(r, "partitions do not fit ", op_names[c->op]);
    return NRT_SUCCESS;
}

/* Sizes that the operation asks for, tensor by tensor. */
static NRT_STATUS sizes_check(const struct coll_reader *r)
{
    const struct neff_coll *c = r->coll;
    uint64_t ranks = c->group_count > 0 ? c->groups[0].rank_count : 1, want;

    if (op_varies(c->op)) /* counts are in the metadata, read when it runs */
        return c->in_count == 1 && c->out_count == 1
                   ? NRT_SUCCESS
                   : coll_fail(r, "one tensor on each side is needed", "");
    if (op_pairs(c->op) && (c->in_count != 1 || c->out_count != 1))
        return coll_fail(r, "one tensor on each side is needed", "");
    if (c->in_count != c->out_count)
        return coll_fail(r, "in and out differ in length", "");
    for (uint32_t i = 0; i < c->in_count; i++) {
        uint64_t in = c->in[i].size, out = c->out[i].size;
        bool ok = in == out;

        if (c->op == NEFF_COLL_ALL_GATHER)
            ok = !u64_mul_over(in, ranks, &want) && want == out;
        else if (c->op == NEFF_COLL_REDUCE_SCATTER)
            ok = !u64_mul_over(out, ranks, &want) && want == in;
        else if (c->op == NEFF_COLL_ALL_TO_ALL)
            ok = in == out && in % (ranks * dtype_size(c->dtype)) == 0;
        if (!ok)
            return coll_fail(r, "sizes do not fit ", op_names[c->op]);
    }
    return NRT_SUCCESS;
}

static NRT_STATUS metadata_read(const struct coll_reader *r, const struct json_path *up,
                                const struct json_node *obj)
{
    struct json_path p = {up, "metadata", 0};
    const struct json_node *m;
    const char *name = NULL;
    int64_t off = 0;
    uint64_t index, bytes;
    NRT_STATUS st = json_field_object(r->c, up, obj, K_metadata, op_varies(r->coll->op), &m);

    r->coll->metadata_var = NEFF_NONE;
    if (st != NRT_SUCCESS || m == NULL)
        return st;
    if (!op_varies(r->coll->op))
        return coll_fail(r, "metadata is not valid for op ", op_names[r->coll->op]);
    st = json_field_str(r->c, &p, m, K_var, JSON_REQUIRED, &name);
    if (st == NRT_SUCCESS)
        st = json_field_int(r->c, &p, m, K_off, JSON_REQUIRED, &off);
    if (st != NRT_SUCCESS)
        return st;
    if (!str_map_get(&r->s->var_by_name, name, &index))
        return coll_fail(r, "unknown variable ", name);
    bytes = 3ull * 4 * r->coll->groups[0].rank_count; /* rows 0 to 2 of collectives.md 2.1 */
    if (off < 0 || !range_ok((uint64_t)off, bytes, r->s->vars[index].size))
        return coll_fail(r, "range outside ", name);
    r->coll->metadata_var = (uint32_t)index;
    r->coll->metadata_off = (uint64_t)off;
    return NRT_SUCCESS;
}

static NRT_STATUS coll_read(const struct coll_reader *r, const struct json_node *obj)
{
    struct json_path p = {NULL, NULL, r->index};
    const char *algorithm = NULL;
    NRT_STATUS st;

    if (obj->type != JSON_OBJECT)
        return json_must_be(r->c, &p, "an object");
    neff_unknown_keys(r->s->r, r->c, obj, "");
    r->coll->metadata_var = NEFF_NONE;
    st = coll_kind(r, &p, obj);
    if (st == NRT_SUCCESS)
        st = coll_groups(r, &p, obj);
    if (st == NRT_SUCCESS)
        st = coll_pairs(r, &p, obj);
    if (st == NRT_SUCCESS && r->coll->op != NEFF_COLL_BARRIER) {
        st = ranges_read(r, &p, obj, K_in, &r->coll->in_count, &r->coll->in);
        if (st == NRT_SUCCESS)
            st = ranges_read(r, &p, obj, K_out, &r->coll->out_count, &r->coll->out);
        if (st == NRT_SUCCESS)
            st = sizes_check(r);
        if (st == NRT_SUCCESS)
            st = tiles_check(r);
    }
    if (st == NRT_SUCCESS)
        st = metadata_read(r, &p, obj);
    if (st == NRT_SUCCESS)
        st = json_field_str(r->c, &p, obj, K_algorithm, JSON_OPTIONAL, &algorithm);
    if (st != NRT_SUCCESS || algorithm == NULL)
        return st;
    r->coll->algorithm = arena_strdup(r->s->r->arena, algorithm);
    return r->coll->algorithm != NULL ? NRT_SUCCESS : neff_oom(r->c->err);
}

/* At most 16 different groups in the NEFF; the first entry that goes past it is named. */
struct group_set {
    const struct neff_coll_group *seen[MAX_GROUPS];
    unsigned count;
};

static bool same_group(const struct neff_coll_group *a, const struct neff_coll_group *b)
{
    return a->rank_count == b->rank_count &&
           memcmp(a->ranks, b->ranks, a->rank_count * sizeof(*a->ranks)) == 0;
}

static NRT_STATUS groups_count(const struct coll_reader *r, struct group_set *set)
{
    for (uint32_t g = 0; g < r->coll->group_count; g++) {
        const struct neff_coll_group *group = &r->coll->groups[g];
        unsigned i;

        for (i = 0; i < set->count && !same_group(set->seen[i], group); i++)
            continue;
        if (i < set->count)
            continue;
        if (set->count == MAX_GROUPS)
            return coll_fail(r, "more than 16 groups", "");
        set->seen[set->count++] = group;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS table_read(struct neff_sg_reader *s, const struct json_ctx *c)
{
    const struct json_node *root = c->doc->nodes, *n = json_first(root);
    struct group_set set = {.count = 0};
    struct neff_coll *colls;
    NRT_STATUS st;

    if (root->type != JSON_ARRAY)
        return json_must_be(c, NULL, "an array");
    for (uint32_t g = 0; g < s->r->neff->graph_count; g++) { /* subgraphs read before this one */
        const struct neff_subgraph *sg = &s->r->neff->graphs[g];

        for (uint32_t i = 0; i < sg->coll_count; i++) {
            struct coll_reader r = {s, c, i, (struct neff_coll *)&sg->colls[i]};

            (void)groups_count(&r, &set);
        }
    }
    colls = arena_calloc(s->r->arena, root->u.count, sizeof(*colls));
    if (colls == NULL)
        return neff_oom(c->err);
    for (uint64_t i = 0; i < root->u.count; i++, n = json_next(c->doc, n)) {
        struct coll_reader r = {s, c, i, &colls[i]};

        st = coll_read(&r, n);
        if (st == NRT_SUCCESS)
            st = groups_count(&r, &set);
        if (st != NRT_SUCCESS)
            return st;
    }
    s->sg->coll_member = c->member;
    s->sg->colls = colls;
    s->sg->coll_count = (uint32_t)root->u.count;
    return NRT_SUCCESS;
}

NRT_STATUS neff_colls_read(struct neff_sg_reader *s, uint32_t member)
{
    struct json_doc doc;
    struct json_ctx c;
    NRT_STATUS st = neff_json_open(s->r, member, &doc);

    if (st != NRT_SUCCESS)
        return st;
    c = (struct json_ctx){&doc, s->r->neff->members[member].name, s->r->err};
    st = table_read(s, &c);
    json_doc_fini(&doc);
    return st;
}
