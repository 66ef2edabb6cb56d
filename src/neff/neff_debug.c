/* SPDX-License-Identifier: Apache-2.0 */
/* Source positions of instruction records: debug_info/<sg>-<engine>.json. A damaged file is worth a
 * warning and nothing more: the loader does not need it. */
#include "neff/neff_int.h"

#include <string.h>

#include "base/strbuf.h"

/* What is read: its length is known at its end only. */
struct debug_list {
    struct neff_sg_reader *s;
    const char *member;
    struct neff_debug_record *records;
    size_t count, cap;
    const char *file, *label, *op; /* of the record before */
    struct err *err;
};

/* Neighbouring records mostly repeat their texts: one copy for a run of equal ones. */
static bool debug_text(struct neff_sg_reader *s, const char *text, const char **last,
                       const char **ret)
{
    if (text == NULL)
        return true;
    if (*last == NULL || strcmp(*last, text) != 0)
        *last = arena_strdup(s->r->arena, text);
    *ret = *last;
    return *last != NULL;
}

static NRT_STATUS record_read(void *arg, const struct json_doc *doc, uint64_t index)
{
    struct debug_list *l = arg;
    const struct json_ctx c = {doc, l->member, l->err};
    const struct json_node *n = json_first(doc->nodes);
    const struct json_path p = {NULL, NULL, index};
    const char *file = NULL, *label = NULL, *op = NULL;
    struct neff_debug_record *to;
    int64_t line = 0;
    NRT_STATUS st;

    if (n->type != JSON_OBJECT)
        return json_must_be(&c, &p, "an object");
    st = json_field_str(&c, &p, n, K_file, JSON_OPTIONAL, &file);
    if (st == NRT_SUCCESS)
        st = json_field_str(&c, &p, n, K_label, JSON_OPTIONAL, &label);
    if (st == NRT_SUCCESS)
        st = json_field_str(&c, &p, n, K_op, JSON_OPTIONAL, &op);
    if (st == NRT_SUCCESS)
        st = json_field_int(&c, &p, n, K_line, JSON_OPTIONAL, &line);
    if (st != NRT_SUCCESS)
        return st;
    if (!mem_grow((void **)&l->records, &l->cap, l->count + 1, sizeof(*l->records)))
        return neff_oom(l->err);
    to = &l->records[l->count++];
    *to = (struct neff_debug_record){
        .line = line > 0 && line <= UINT32_MAX ? (uint32_t)line : 0,
    };
    if (!debug_text(l->s, file, &l->file, &to->file) ||
        !debug_text(l->s, label, &l->label, &to->label) || !debug_text(l->s, op, &l->op, &to->op))
        return neff_oom(l->err);
    return NRT_SUCCESS;
}

/* The list is the subgraph's, in its arena. */
static NRT_STATUS records_keep(struct debug_list *l, struct neff_engine_code *code)
{
    struct neff_debug_record *kept =
        arena_calloc(l->s->r->arena, l->count + 1, sizeof(*l->records));

    if (kept == NULL)
        return neff_oom(l->err);
    if (l->count > 0)
        memcpy(kept, l->records, l->count * sizeof(*kept));
    code->debug = kept;
    code->debug_count = (uint32_t)l->count;
    return NRT_SUCCESS;
}

NRT_STATUS neff_debug_read(struct neff_sg_reader *s, enum neff_engine e)
{
    struct err local = {0};
    struct neff_reader quiet = *s->r;
    struct strbuf name = {0};
    struct json_doc doc;
    struct debug_list list = {.s = s, .err = &local};
    uint32_t member;
    NRT_STATUS st;

    strbuf_printf(&name, "debug_info/%s-%s.json", s->sg->name, neff_engine_key(e));
    if (name.failed)
        return neff_oom(s->r->err);
    member = neff_member_find(s->r->neff, name.s);
    strbuf_fini(&name);
    if (member == NEFF_NONE)
        return NRT_SUCCESS;

    quiet.err = &local;
    list.member = s->r->neff->members[member].name;
    st = neff_json_elements(&quiet, member, &doc, record_read, &list);
    if (st == NRT_SUCCESS && doc.nodes->type != JSON_ARRAY)
        st = json_must_be(&(struct json_ctx){&doc, list.member, &local}, NULL, "an array");
    if (st == NRT_SUCCESS)
        st = records_keep(&list, &s->sg->engines[e]);
    json_doc_fini(&doc);
    mem_free(list.records);
    if (st == NRT_RESOURCE)
        return neff_fail(s->r->err, st, "%s", local.text);
    if (st != NRT_SUCCESS)
        diag_warn(s->r->opt->sink, "debug information ignored: %s", local.text);
    return NRT_SUCCESS;
}
