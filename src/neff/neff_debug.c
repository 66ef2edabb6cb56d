/* SPDX-License-Identifier: Apache-2.0 */
/* Source positions of instruction records: debug_info/<sg>-<engine>.json. A damaged file is worth a
 * warning and nothing more: the loader does not need it. */
#include "neff/neff_int.h"

#include <string.h>

#include "base/strbuf.h"

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

static NRT_STATUS records_read(struct neff_sg_reader *s, const struct json_ctx *c,
                               struct neff_engine_code *code)
{
    const struct json_node *root = c->doc->nodes, *n = json_first(root);
    const char *last_file = NULL, *last_label = NULL, *last_op = NULL;
    struct neff_debug_record *records;

    if (root->type != JSON_ARRAY)
        return json_must_be(c, NULL, "an array");
    records = arena_calloc(s->r->arena, root->u.count, sizeof(*records));
    if (records == NULL)
        return neff_oom(c->err);
    for (uint64_t i = 0; i < root->u.count; i++, n = json_next(c->doc, n)) {
        struct json_path p = {NULL, NULL, i};
        const char *file = NULL, *label = NULL, *op = NULL;
        int64_t line = 0;
        NRT_STATUS st;

        if (n->type != JSON_OBJECT)
            return json_must_be(c, &p, "an object");
        st = json_field_str(c, &p, n, K_file, JSON_OPTIONAL, &file);
        if (st == NRT_SUCCESS)
            st = json_field_str(c, &p, n, K_label, JSON_OPTIONAL, &label);
        if (st == NRT_SUCCESS)
            st = json_field_str(c, &p, n, K_op, JSON_OPTIONAL, &op);
        if (st == NRT_SUCCESS)
            st = json_field_int(c, &p, n, K_line, JSON_OPTIONAL, &line);
        if (st != NRT_SUCCESS)
            return st;
        records[i].line = line > 0 && line <= UINT32_MAX ? (uint32_t)line : 0;
        if (!debug_text(s, file, &last_file, &records[i].file) ||
            !debug_text(s, label, &last_label, &records[i].label) ||
            !debug_text(s, op, &last_op, &records[i].op))
            return neff_oom(c->err);
    }
    code->debug = records;
    code->debug_count = (uint32_t)root->u.count;
    return NRT_SUCCESS;
}

NRT_STATUS neff_debug_read(struct neff_sg_reader *s, enum neff_engine e)
{
    struct err local = {0};
    struct neff_reader quiet = *s->r;
    struct strbuf name = {0};
    struct json_doc doc;
    struct json_ctx c;
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
    st = neff_json_open(&quiet, member, &doc);
    if (st == NRT_SUCCESS) {
        c = (struct json_ctx){&doc, s->r->neff->members[member].name, &local};
        st = records_read(s, &c, &s->sg->engines[e]);
        json_doc_fini(&doc);
    }
    if (st == NRT_RESOURCE)
        return neff_fail(s->r->err, st, "%s", local.text);
    if (st != NRT_SUCCESS)
        diag_warn(s->r->opt->sink, "debug information ignored: %s", local.text);
    return NRT_SUCCESS;
}
