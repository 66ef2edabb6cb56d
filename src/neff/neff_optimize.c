/* SPDX-License-Identifier: Apache-2.0 */
/* Merging the constants of a NEFF into one member per subgraph: what `neuron-packager optimize`
 * does. def.json is printed again from its parsed form with the references changed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/strbuf.h"
#include "neff/build_int.h"
#include "neff/neff_int.h"
#include "neff/write.h"

#define WEIGHTS_NAME  "weights.dat" /* not .bin: that would count as code */
#define WEIGHTS_ALIGN 64u

/* A piece of the merged member. */
struct piece {
    uint64_t off; /* in the merged member */
};

struct merged {
    const struct neff *neff;
    const struct neff_subgraph *sg;
    struct piece *pieces; /* parallel to sg->vars; off UINT64_MAX when not a file */
    uint32_t *order;      /* variables with pieces of their own, by off */
    uint32_t order_count;
    uint64_t size;
    struct strbuf def;
    struct strbuf weights_name;
};

/* Same member, same bytes, same size. */
static int piece_cmp(const void *a, const void *b, void *arg)
{
    const struct neff_var *vars = arg;
    const struct neff_var *x = &vars[*(const uint32_t *)a], *y = &vars[*(const uint32_t *)b];

    if (x->file_member != y->file_member)
        return x->file_member < y->file_member ? -1 : 1;
    if (x->file_off != y->file_off)
        return x->file_off < y->file_off ? -1 : 1;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return 0;
}

static NRT_STATUS merge_layout(struct merged *m, struct err *err)
{
    uint32_t n = m->sg->var_count, files = 0;
    const struct neff_var *vars = m->sg->vars;

    m->pieces = mem_calloc(n, sizeof(*m->pieces));
    m->order = mem_calloc(n, sizeof(*m->order));
    if (m->pieces == NULL || m->order == NULL)
        return neff_oom(err);
    for (uint32_t i = 0; i < n; i++) {
        m->pieces[i].off = UINT64_MAX;
        if (vars[i].type == NEFF_VAR_FILE)
            m->order[files++] = i;
    }
    qsort_r(m->order, files, sizeof(*m->order), piece_cmp, (void *)vars);
    for (uint32_t k = 0; k < files; k++) {
        uint32_t v = m->order[k], last = m->order_count > 0 ? m->order[m->order_count - 1] : 0;
        uint64_t start;

        if (m->order_count > 0 && piece_cmp(&last, &v, (void *)vars) == 0) {
            m->pieces[v].off = m->pieces[last].off;
            continue;
        }
        if (u64_align_up_over(m->size, WEIGHTS_ALIGN, &start) ||
            u64_add_over(start, vars[v].size, &m->size) || m->size > INT64_MAX)
            return neff_fail(err, NRT_INVALID, "the constants of %s are too large", m->sg->name);
        m->pieces[v].off = start;
        m->order[m->order_count++] = v;
    }
    return NRT_SUCCESS;
}

/* Bytes of the merged member: data, zeros up to a variable's size, zeros between variables. */
static NRT_STATUS merged_read(void *arg, uint64_t off, void *dst, size_t size, struct err *err)
{
    const struct merged *m = arg;
    uint32_t lo = 0, hi = m->order_count;

    (void)err;
    memset(dst, 0, size);
    while (lo < hi) { /* the last piece that starts at or before off */
        uint32_t mid = lo + (hi - lo) / 2;

        if (m->pieces[m->order[mid]].off <= off)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (uint32_t k = lo > 0 ? lo - 1 : 0; k < m->order_count; k++) {
        const struct neff_var *v = &m->sg->vars[m->order[k]];
        uint64_t start = m->pieces[m->order[k]].off, end = start + v->file_bytes;
        uint64_t a = start > off ? start : off, b = end < off + size ? end : off + size;

        if (start >= off + size)
            break;
        if (a < b)
            memcpy((char *)dst + (a - off),
                   m->neff->members[v->file_member].data + v->file_off + (a - start), b - a);
    }
    return NRT_SUCCESS;
}

/* ---- def.json again ---- */

static void emit(struct strbuf *s, const struct json_doc *d, const struct json_node *n,
                 unsigned depth);

static void emit_scalar(struct strbuf *s, const struct json_doc *d, const struct json_node *n)
{
    switch (n->type) {
    case JSON_NULL:
        strbuf_put(s, "null");
        break;
    case JSON_BOOL:
        strbuf_put(s, n->u.b ? "true" : "false");
        break;
    case JSON_INT:
        strbuf_printf(s, "%lld", (long long)n->u.i);
        break;
    case JSON_REAL:
        build_json_num(s, n->u.d);
        break;
    default:
        strbuf_put_json(s, json_text(d, n));
        break;
    }
}

static void emit(struct strbuf *s, const struct json_doc *d, const struct json_node *n,
                 unsigned depth)
{
    const struct json_node *c = json_first(n);
    bool object = n->type == JSON_OBJECT;

    if (n->type != JSON_ARRAY && !object) {
        emit_scalar(s, d, n);
        return;
    }
    strbuf_put(s, object ? "{" : "[");
    for (uint64_t i = 0; i < n->u.count; i++, c = json_next(d, c)) {
        strbuf_put(s, i > 0 ? "," : "");
        strbuf_put(s, depth < 2 ? "\n" : i > 0 ? " " : "");
        if (object) {
            strbuf_put_json(s, json_name(d, c));
            strbuf_put(s, ": ");
        }
        emit(s, d, c, depth + 1);
    }
    strbuf_put(s, object ? "}" : "]");
}

/* One variable: file variables get the merged member and their place in it. */
static void emit_var(struct strbuf *s, const struct json_doc *d, const struct json_node *n,
                     const struct merged *m, uint32_t var)
{
    const struct json_node *c = json_first(n);
    bool first = true;

    if (m->pieces[var].off == UINT64_MAX) {
        emit(s, d, n, 2);
        return;
    }
    strbuf_put(s, "{");
    for (uint64_t i = 0; i < n->u.count; i++, c = json_next(d, c)) {
        if (c->key_id == K_file_name || c->key_id == K_file_off || c->key_id == K_size)
            continue;
        strbuf_put(s, first ? "" : ", ");
        strbuf_put_json(s, json_name(d, c));
        strbuf_put(s, ": ");
        emit(s, d, c, 3);
        first = false;
    }
    strbuf_printf(s, "%s\"size\": %llu, \"file_name\": \"" WEIGHTS_NAME "\", \"file_off\": %llu}",
                  first ? "" : ", ", (unsigned long long)m->sg->vars[var].size,
                  (unsigned long long)m->pieces[var].off);
}

static NRT_STATUS def_rewrite(struct merged *m, struct err *err)
{
    const struct neff *neff = m->neff;
    const struct neff_member *member = &neff->members[neff_member_find(neff, m->sg->definition)];
    const struct json_node *root, *c, *v;
    struct json_doc doc;
    struct strbuf *s = &m->def;
    NRT_STATUS st = json_parse(&doc, member->name, member->data, member->size, err);

    if (st != NRT_SUCCESS)
        return st;
    root = doc.nodes;
    c = json_first(root);
    strbuf_put(s, "{");
    for (uint64_t i = 0; i < root->u.count; i++, c = json_next(&doc, c)) {
        strbuf_put(s, i > 0 ? ",\n" : "\n");
        strbuf_put_json(s, json_name(&doc, c));
        strbuf_put(s, ": ");
        if (c->key_id != K_var) {
            emit(s, &doc, c, 1);
            continue;
        }
        v = json_first(c);
        strbuf_put(s, "{");
        for (uint64_t k = 0; k < c->u.count; k++, v = json_next(&doc, v)) {
            strbuf_put(s, k > 0 ? ",\n" : "\n");
            strbuf_put_json(s, json_name(&doc, v));
            strbuf_put(s, ": ");
            emit_var(s, &doc, v, m, (uint32_t)k);
        }
        strbuf_put(s, "}");
    }
    strbuf_put(s, "\n}\n");
    json_doc_fini(&doc);
    return s->failed ? neff_oom(err) : NRT_SUCCESS;
}

static NRT_STATUS merge_subgraph(const struct neff *neff, const struct neff_subgraph *sg,
                                 struct merged *m, struct err *err)
{
    NRT_STATUS st;

    m->neff = neff;
    m->sg = sg;
    st = merge_layout(m, err);
    if (st == NRT_SUCCESS)
        st = def_rewrite(m, err);
    strbuf_printf(&m->weights_name, "%s" WEIGHTS_NAME, sg->dir);
    if (st == NRT_SUCCESS && m->weights_name.failed)
        st = neff_oom(err);
    return st;
}

static void merged_fini(struct merged *m)
{
    mem_free(m->pieces);
    mem_free(m->order);
    strbuf_fini(&m->def);
    strbuf_fini(&m->weights_name);
}

/* ---- the members of the new file ---- */

/* Which members stay: not those that only fed constants, not debug_info/. */
static void members_select(const struct neff *neff, bool keep_debug, uint8_t *drop)
{
    for (uint32_t g = 0; g < neff->graph_count; g++) {
        const struct neff_subgraph *sg = &neff->graphs[g];

        for (uint32_t i = 0; i < sg->var_count; i++) {
            if (sg->vars[i].file_member != NEFF_NONE)
                drop[sg->vars[i].file_member] = 1;
        }
    }
    for (uint32_t g = 0; g < neff->graph_count;
         g++) { /* a table or program that is a constant too */
        for (unsigned e = 0; e < NEFF_ENGINE_COUNT; e++) {
            const struct neff_engine_code *code = &neff->graphs[g].engines[e];

            if (code->present) {
                drop[neff_member_find(neff, code->instr_member)] = 0;
                drop[neff_member_find(neff, code->json_member)] = 0;
            }
            for (unsigned t = 0; t < code->dve_table_count; t++) {
                drop[code->dve_tables[t].control_member] = 0;
                drop[code->dve_tables[t].datapath_member] = 0;
                drop[code->dve_tables[t].opcode_member] = 0;
            }
        }
    }
    for (uint32_t i = 0; i < neff->member_count; i++) {
        const char *name = neff->members[i].name;

        if (!keep_debug && strncmp(name, "debug_info/", 11) == 0)
            drop[i] = 1;
    }
}

static uint32_t definition_of(const struct neff *neff, uint32_t member)
{
    for (uint32_t g = 0; g < neff->graph_count; g++) {
        if (strcmp(neff->graphs[g].definition, neff->members[member].name) == 0)
            return g;
    }
    return NEFF_NONE;
}

NRT_STATUS neff_write_optimized(const struct neff *neff, bool keep_debug,
                                const struct neff_out *out, struct err *err)
{
    struct merged merged[NEFF_MAX_GRAPHS] = {{0}};
    struct neff_header h = neff->header;
    struct neff_source *sources = NULL;
    uint8_t *drop = NULL;
    size_t count = 0;
    NRT_STATUS st = NRT_SUCCESS;

    if (neff->is_gzip)
        return neff_fail(err, NRT_INVALID, "the NEFF must be unpacked before it is optimized");
    if (neff->graph_count > 1 && strcmp(neff->graphs[0].dir, neff->graphs[1].dir) == 0)
        return neff_fail(err, NRT_INVALID, "two subgraphs share the directory %s",
                         neff->graphs[0].dir);
    sources = mem_calloc((size_t)neff->member_count + NEFF_MAX_GRAPHS, sizeof(*sources));
    drop = mem_calloc(neff->member_count, 1);
    if (sources == NULL || drop == NULL) {
        st = neff_oom(err);
        goto free_all;
    }
    members_select(neff, keep_debug, drop);
    for (uint32_t g = 0; g < neff->graph_count && st == NRT_SUCCESS; g++)
        st = merge_subgraph(neff, &neff->graphs[g], &merged[g], err);
    if (st != NRT_SUCCESS)
        goto free_all;

    for (uint32_t i = 0; i < neff->member_count; i++) {
        const struct neff_member *m = &neff->members[i];
        uint32_t g = definition_of(neff, i);

        if (drop[i])
            continue;
        sources[count] = (struct neff_source){.name = m->name, .data = m->data, .size = m->size};
        if (g != NEFF_NONE) {
            sources[count].data = merged[g].def.s;
            sources[count].size = merged[g].def.len;
        }
        count++;
    }
    for (uint32_t g = 0; g < neff->graph_count; g++) {
        if (merged[g].order_count > 0)
            sources[count++] = (struct neff_source){.name = merged[g].weights_name.s,
                                                    .size = merged[g].size,
                                                    .read = merged_read,
                                                    .arg = &merged[g]};
    }
    if (h.pkg_version != NEFF_PKG_SHA256)
        h.pkg_version = NEFF_PKG_MD5;
    h.feature_bits |= NEFF_FEATURE_BIN_WEIGHTS;
    st = neff_write_members(&h, sources, count, NEFF_PLAIN, out, err);

free_all:
    for (uint32_t g = 0; g < neff->graph_count; g++)
        merged_fini(&merged[g]);
    mem_free(sources);
    mem_free(drop);
    return st;
}
