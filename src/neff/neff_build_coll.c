/* SPDX-License-Identifier: Apache-2.0 */
/* The builder: entries of the collectives table, as neff_coll.c reads them. */
#include "neff/build_int.h"

static bool lists_ok(struct neff_build *b, const struct neff_build_coll *c)
{
    if ((c->group_count > 0 && !build_given(b, c->groups, "groups")) ||
        (c->pair_count > 0 && !build_given(b, c->pairs, "pairs")) ||
        (c->in_count > 0 && !build_given(b, c->in, "in")) ||
        (c->out_count > 0 && !build_given(b, c->out, "out")))
        return false;
    for (unsigned g = 0; g < c->group_count; g++)
        if (c->groups[g].count > 0 && !build_given(b, c->groups[g].ranks, "the ranks of a group"))
            return false;
    return true;
}

static void put_text(struct strbuf *s, const char *key, const char *text)
{
    if (text == NULL)
        return;
    strbuf_printf(s, ", \"%s\": ", key);
    strbuf_put_json(s, text);
}

static void put_groups(struct strbuf *s, const struct neff_build_coll *c)
{
    strbuf_put(s, ", \"groups\": [");
    for (unsigned g = 0; g < c->group_count; g++) {
        strbuf_put(s, g > 0 ? ", [" : "[");
        for (unsigned i = 0; i < c->groups[g].count; i++)
            strbuf_printf(s, "%s%u", i > 0 ? ", " : "", c->groups[g].ranks[i]);
        strbuf_put(s, "]");
    }
    strbuf_put(s, "]");
}

static void put_pairs(struct strbuf *s, const struct neff_build_coll *c)
{
    strbuf_put(s, ", \"pairs\": [");
    for (unsigned i = 0; i < c->pair_count; i++)
        strbuf_printf(s, "%s[%u, %u]", i > 0 ? ", " : "", c->pairs[i][0], c->pairs[i][1]);
    strbuf_put(s, "]");
}

static bool put_ranges(struct neff_build *b, const struct build_graph *g, struct strbuf *s,
                       const char *key, const struct neff_build_coll_range *r, unsigned count)
{
    strbuf_printf(s, ", \"%s\": [", key);
    for (unsigned i = 0; i < count; i++) {
        if (!build_var_ok(b, g, r[i].var))
            return false;
        strbuf_put(s, i > 0 ? ", {\"var\": " : "{\"var\": ");
        strbuf_put_json(s, g->var[r[i].var].name);
        strbuf_printf(s, ", \"off\": %llu, \"size\": %llu", (unsigned long long)r[i].off,
                      (unsigned long long)r[i].size);
        if (r[i].partitions > 0)
            strbuf_printf(s, ", \"partitions\": %u", r[i].partitions);
        if (r[i].partition_step > 0)
            strbuf_printf(s, ", \"partition_step\": %u", r[i].partition_step);
        if (r[i].step > 0)
            strbuf_printf(s, ", \"step\": %u", r[i].step);
        strbuf_put(s, "}");
    }
    strbuf_put(s, "]");
    return true;
}

int neff_build_collective(struct neff_build *b, int graph, const struct neff_build_coll *c)
{
    struct build_graph *g = build_graph_at(b, graph);
    struct strbuf *s;

    if (g == NULL || !build_given(b, c, "a collective") || !lists_ok(b, c))
        return -1;
    if (c->op == NULL)
        return build_fail(b, "a collective needs an op");
    s = &g->collectives;
    strbuf_put(s, g->coll_count > 0 ? ",\n {\"op\": " : " {\"op\": ");
    strbuf_put_json(s, c->op);
    put_text(s, "reduce", c->reduce);
    put_text(s, "dtype", c->dtype);
    strbuf_printf(s, ", \"stream\": %u", c->stream);
    if (c->group_count > 0)
        put_groups(s, c);
    if (c->pair_count > 0)
        put_pairs(s, c);
    if (c->in_count + c->out_count > 0 && (!put_ranges(b, g, s, "in", c->in, c->in_count) ||
                                           !put_ranges(b, g, s, "out", c->out, c->out_count)))
        return -1;
    if (c->has_metadata) {
        if (!build_var_ok(b, g, c->metadata_var))
            return -1;
        strbuf_put(s, ", \"metadata\": {\"var\": ");
        strbuf_put_json(s, g->var[c->metadata_var].name);
        strbuf_printf(s, ", \"off\": %llu}", (unsigned long long)c->metadata_off);
    }
    put_text(s, "algorithm", c->algorithm);
    strbuf_put(s, "}");
    return s->failed ? build_oom(b) : (int)g->coll_count++;
}
