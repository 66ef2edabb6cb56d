/* SPDX-License-Identifier: Apache-2.0 */
/* The whole of a NEFF: what is read in which order, and what is freed. */
#include "neff/neff.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "neff/neff_int.h"

void neff_note(struct err *err, NRT_STATUS status, const char *fmt, ...)
{
    va_list ap;

    if (err == NULL || err->status != NRT_SUCCESS)
        return;
    va_start(ap, fmt);
    err_vset(err, status, fmt, ap);
    va_end(ap);
    for (char *s = err->text; *s != '\0'; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
    }
}

NRT_STATUS neff_oom(struct err *err)
{
    return neff_fail(err, NRT_RESOURCE, "out of host memory reading the NEFF");
}

uint32_t neff_member_find(const struct neff *neff, const char *name)
{
    uint64_t i;

    return str_map_get(&neff->priv->by_name, name, &i) ? (uint32_t)i : NEFF_NONE;
}

NRT_STATUS neff_json_open(struct neff_reader *r, uint32_t member, struct json_doc *doc)
{
    return neff_json_elements(r, member, doc, NULL, NULL);
}

NRT_STATUS neff_json_elements(struct neff_reader *r, uint32_t member, struct json_doc *doc,
                              json_element_fn fn, void *arg)
{
    const struct neff_member *m = &r->neff->members[member];
    NRT_STATUS st;

    memset(doc, 0, sizeof(*doc));
    if (m->size > JSON_MAX_PARSER || m->size > r->opt->max_json) {
        uint64_t max = m->size > JSON_MAX_PARSER ? JSON_MAX_PARSER : r->opt->max_json;

        return neff_fail(r->err, NRT_INVALID,
                         "File %s size (%llu) exceeds json parser maximum (%llu)", m->name,
                         (unsigned long long)m->size, (unsigned long long)max);
    }
    st = neff_member_need(r->neff, r->priv, member, r->err);
    if (st != NRT_SUCCESS)
        return st;
    return json_parse_elements(doc, m->name, m->data, m->size, fn, arg, r->err);
}

void neff_unknown_keys(const struct neff_reader *r, const struct json_ctx *c,
                       const struct json_node *obj, const char *where)
{
    const struct json_node *n = json_first(obj);

    if (r->opt->sink == NULL || r->opt->sink->debug == NULL)
        return;
    for (uint64_t i = 0; i < obj->u.count; i++, n = json_next(c->doc, n)) {
        if (n->key_id == K_OTHER)
            diag_debug(r->opt->sink, "%s: unknown key %s%s%s ignored", c->member, where,
                       *where != '\0' ? "." : "", json_name(c->doc, n));
    }
}

NRT_STATUS neff_sibling(struct neff_reader *r, const char *dir, const char *name,
                        const char **ret_full, uint32_t *ret_member)
{
    size_t a = strlen(dir), b = strlen(name);
    char *full = arena_alloc(r->arena, a + b + 1);

    if (full == NULL)
        return neff_oom(r->err);
    memcpy(full, dir, a);
    memcpy(full + a, name, b + 1);
    *ret_full = full;
    *ret_member = neff_member_find(r->neff, full);
    return NRT_SUCCESS;
}

NRT_STATUS neff_int_array(struct neff_reader *r, const struct json_ctx *c,
                          const struct json_path *up, const struct json_node *obj, enum json_key k,
                          const struct json_node **ret)
{
    const struct json_node *a, *n;
    NRT_STATUS st = json_field_array(c, up, obj, k, JSON_OPTIONAL, &a);

    (void)r;
    if (st != NRT_SUCCESS || a == NULL) {
        *ret = NULL;
        return st;
    }
    n = json_first(a);
    for (uint64_t i = 0; i < a->u.count; i++, n = json_next(c->doc, n)) {
        if (n->type != JSON_INT) {
            struct json_path p = {up, json_key_name(k), 0}, e = {&p, NULL, i};

            return json_must_be(c, &e, "an integer");
        }
    }
    *ret = a;
    return NRT_SUCCESS;
}

/* Header texts may fill their field without a NUL (N08), and hold anything: what a log, a terminal
 * or JSON would choke on becomes '?'. */
static void copy_text(char *dst, const void *src, size_t n)
{
    memcpy(dst, src, n);
    dst[n] = '\0';
    for (size_t k; *dst != '\0'; dst += k) {
        k = utf8_size(dst);
        if (k == 0 || (unsigned char)*dst < 0x20 || *dst == 0x7f) {
            *dst = '?';
            k = 1;
        }
    }
}

static NRT_STATUS read_all(struct neff_reader *r)
{
    struct neff *neff = r->neff;
    NRT_STATUS st;

    st = neff_members_index(neff, r->priv, r->err);
    if (st != NRT_SUCCESS || r->opt->index_only)
        return st;
    st = neff_kelf_read(r);
    if (st == NRT_SUCCESS)
        st = neff_info_read(r);
    for (uint32_t g = 0; g < neff->graph_count && st == NRT_SUCCESS; g++)
        st = neff_subgraph_read(r, (struct neff_subgraph *)&neff->graphs[g]);
    if (st == NRT_SUCCESS)
        st = neff_nodes_read(r);
    return st;
}

/* JSON copies are not needed once parsed; keep the others (instructions, CPU libraries). */
static void drop_json_copies(struct neff *neff, struct neff_priv *priv)
{
    for (uint32_t i = 0; i < neff->member_count; i++) {
        const char *name = neff->members[i].name;
        size_t n = strlen(name);

        if (priv->copies[i] != NULL && n >= 5 && strcmp(name + n - 5, ".json") == 0) {
            mem_free(priv->copies[i]);
            priv->copies[i] = NULL;
            priv->members[i].data = NULL;
        }
    }
}

NRT_STATUS neff_create(const void *bytes, size_t size, const struct neff_options *opt,
                       struct neff **ret_neff, struct err *err)
{
    static const struct neff_options strict;
    struct neff_reader r = {.err = err};
    struct neff_header header;
    const uint8_t *payload;
    uint64_t payload_bytes;
    NRT_STATUS st;

    if (opt == NULL)
        opt = &strict;
    st = neff_header_check(bytes, size, opt, &header, &payload, &payload_bytes, err);
    if (st != NRT_SUCCESS)
        return st;

    r.neff = mem_zalloc(sizeof(*r.neff));
    r.priv = mem_zalloc(sizeof(*r.priv));
    if (r.neff == NULL || r.priv == NULL) {
        mem_free(r.neff);
        mem_free(r.priv);
        return neff_oom(err);
    }
    r.neff->priv = r.priv;
    r.arena = &r.priv->arena;
    r.priv->opt = *opt;
    if (r.priv->opt.max_json == 0)
        r.priv->opt.max_json = NEFF_DEFAULT_MAX_JSON;
    if (r.priv->opt.max_unpacked == 0)
        r.priv->opt.max_unpacked = NEFF_DEFAULT_MAX_UNPACKED;
    r.opt = &r.priv->opt;
    r.neff->header = header;
    copy_text(r.neff->name, header.name, sizeof(header.name));
    copy_text(r.neff->build_version, header.neff_build_version, sizeof(header.neff_build_version));
    r.neff->payload = payload;
    r.neff->payload_bytes = payload_bytes;
    r.neff->is_gzip = payload_bytes >= 2 && payload[0] == 0x1f && payload[1] == 0x8b;

    st = read_all(&r);
    if (st != NRT_SUCCESS) {
        neff_destroy(r.neff);
        return st;
    }
    drop_json_copies(r.neff, r.priv);
    r.priv->opt.sink = NULL;
    *ret_neff = r.neff;
    return NRT_SUCCESS;
}

void neff_destroy(struct neff *neff)
{
    struct neff_priv *p;

    if (neff == NULL)
        return;
    p = (struct neff_priv *)neff->priv;
    for (uint32_t g = 0; g < neff->graph_count; g++) {
        struct str_map *m = (struct str_map *)neff->graphs[g].name_index;

        if (m != NULL)
            str_map_fini(m);
    }
    for (size_t i = 0; i < neff->member_count; i++)
        mem_free(p->copies[i]);
    mem_free(p->copies);
    mem_free(p->members);
    str_map_fini(&p->by_name);
    arena_fini(&p->arena);
    mem_free(p);
    mem_free(neff);
}

uint32_t neff_subgraph_find(const struct neff_subgraph *sg, const char *name)
{
    uint64_t i;

    if (sg->name_index == NULL || !str_map_get(sg->name_index, name, &i))
        return NEFF_NONE;
    return (uint32_t)i;
}

const char *neff_engine_key(enum neff_engine e)
{
    static const char *const names[NEFF_ENGINE_COUNT] = {"pe", "dve", "act", "pool", "sp"};

    return (unsigned)e < NEFF_ENGINE_COUNT ? names[e] : "?";
}

const char *neff_var_type_name(enum neff_var_type t)
{
    static const char *const names[NEFF_VAR_TYPE_COUNT] = {
        "state-buffer", "input", "output", "file", "tmp-buf", "virtual", "pointer", "dge-table"};

    return (unsigned)t < NEFF_VAR_TYPE_COUNT ? names[t] : "?";
}

const char *neff_queue_type_name(enum neff_queue_type t)
{
    static const char *const names[] = {"in", "out", "data", "embedding_update", "dynamic"};

    return (unsigned)t < sizeof(names) / sizeof(names[0]) ? names[t] : "?";
}

const char *neff_op_name(enum neff_op op)
{
    static const char *const names[NEFF_OP_COUNT] = {"copy", "cast", "add",      "fma",
                                                     "min",  "max",  "transpose"};

    return (unsigned)op < NEFF_OP_COUNT ? names[op] : "?";
}

const char *neff_feature_name(unsigned bit)
{
    static const char *const names[] = {"bin-weights",  "collectives-offset",  "custom-ops",
                                        "coalesced-cc", "queue-set-instances", "on-chip-functions"};

    return bit < sizeof(names) / sizeof(names[0]) ? names[bit] : NULL;
}

int neff_natural_cmp(const char *a, const char *b)
{
    while (*a != '\0' && *b != '\0') {
        if (*a >= '0' && *a <= '9' && *b >= '0' && *b <= '9') {
            size_t na, nb;
            int c;

            a += strspn(a, "0");
            b += strspn(b, "0");
            na = strspn(a, "0123456789");
            nb = strspn(b, "0123456789");
            if (na != nb)
                return na < nb ? -1 : 1;
            c = strncmp(a, b, na);
            if (c != 0)
                return c;
            a += na;
            b += nb;
            continue;
        }
        if (*a != *b)
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        a++;
        b++;
    }
    return (*a != '\0') - (*b != '\0');
}
