/* SPDX-License-Identifier: Apache-2.0 */
/* From the builder's declarations to the members of the file, and to bytes. */
#include <stdio.h>
#include <string.h>

#include "neff/build_int.h"
#include "neff/neff_int.h"

/* Member names of the engines' files. */
static const char *const engine_files[NEFF_ENGINE_COUNT] = {"PE", "DVE", "Activation", "Pool",
                                                            "SP"};

static NRT_STATUS image_put(struct build_image *img, const char *name, const void *data,
                            uint64_t size, bool owned, struct err *err)
{
    struct neff_source *s;

    if (!mem_grow((void **)&img->sources, &img->cap, img->count + 1, sizeof(*img->sources)) ||
        !mem_grow((void **)&img->owned, &img->owned_cap, img->count + 1, sizeof(*img->owned)))
        return neff_oom(err);
    s = &img->sources[img->count];
    *s = (struct neff_source){.name = arena_strdup(&img->names, name), .data = data, .size = size};
    img->owned[img->count] = false;
    if (s->name == NULL)
        return neff_oom(err);
    img->owned[img->count] = owned;
    img->count++;
    return NRT_SUCCESS;
}

/* Takes text, also on failure. */
static NRT_STATUS image_text(struct build_image *img, const char *name, struct strbuf *text,
                             struct err *err)
{
    NRT_STATUS st = text->failed ? neff_oom(err) : NRT_SUCCESS;

    if (st == NRT_SUCCESS)
        st = image_put(img, name, text->s, text->len, true, err);
    if (st != NRT_SUCCESS)
        strbuf_fini(text);
    return st;
}

static bool engine_present(const struct build_engine *e)
{
    return e->has_program || e->group_count > 0 || e->act_sets.len > 0 || e->dve_tables.len > 0;
}

static NRT_STATUS kelf_put(const struct neff_build *b, struct build_image *img, struct err *err)
{
    struct strbuf s = {0};

    strbuf_put(&s, "{\"graphs\": [");
    for (int g = 0; g < b->graph_count; g++)
        strbuf_printf(&s, "%s{\"definition\": \"sg%02d/def.json\", \"name\": \"sg%02d\"}",
                      g > 0 ? ", " : "", g, g);
    strbuf_put(&s, "], \"version\": \"0.5\"}\n");
    return image_text(img, "kelf-0.json", &s, err);
}

static NRT_STATUS nodes_put(struct neff_build *b, struct build_image *img)
{
    static const struct neff_build_node only = {.name = NULL};
    struct strbuf s = {0};

    if (b->node_count == 0 && neff_build_node(b, &only) < 0)
        return b->err.status;
    strbuf_put(&s, "{\"nodes\": [\n  ");
    strbuf_putn(&s, b->nodes.s, b->nodes.len);
    strbuf_put(&s, "\n]}\n");
    return image_text(img, "neff.json", &s, &b->err);
}

static NRT_STATUS info_put(const struct neff_build *b, const struct neff_build_options *o,
                           struct build_image *img, struct err *err)
{
    struct strbuf s = {0};

    strbuf_put(&s, "{\"tool_version\": \"" OPENNRT_VERSION "\", \"name\": ");
    strbuf_put_json(&s, b->name.s != NULL ? b->name.s : "");
    if (o->arch != NULL) {
        strbuf_put(&s, ", \"arch\": ");
        strbuf_put_json(&s, o->arch);
    }
    strbuf_put(&s, "}\n");
    return image_text(img, "info.json", &s, err);
}

static NRT_STATUS def_put(const struct neff_build *b, int graph, struct build_image *img,
                          struct err *err)
{
    const struct build_graph *g = &b->graphs[graph];
    struct strbuf s = {0};
    char name[64];

    strbuf_put(&s, "{\n  \"name\": \"definition\",\n  \"version\": \"0.1\",\n");
    for (unsigned e = 0; e < NEFF_ENGINE_COUNT; e++) {
        const char *key = neff_engine_key((enum neff_engine)e);

        if (engine_present(&g->engines[e]))
            strbuf_printf(&s, "  \"%s\": \"%s.json\", \"%s_instr\": \"%s.bin\",\n", key,
                          engine_files[e], key, engine_files[e]);
    }
    if (g->has_isa) {
        strbuf_put(&s, "  \"isa\": {\"name\": ");
        strbuf_put_json(&s, g->isa_name.s);
        strbuf_printf(&s, ", \"version\": %lld},\n", (long long)g->isa_version);
    }
    if (g->coll_count > 0)
        strbuf_put(&s, "  \"collectives\": \"collectives.json\",\n");
    strbuf_put(&s, "  \"dma_queue\": {");
    strbuf_putn(&s, g->queues.s != NULL ? g->queues.s : "", g->queues.len);
    strbuf_put(&s, "},\n  \"var\": {");
    strbuf_putn(&s, g->vars.s != NULL ? g->vars.s : "", g->vars.len);
    strbuf_put(&s, "}\n}\n");
    (void)snprintf(name, sizeof(name), "sg%02d/def.json", graph);
    return image_text(img, name, &s, err);
}

static NRT_STATUS engine_put(struct neff_build *b, int graph, unsigned engine,
                             struct build_image *img, struct err *err)
{
    const struct build_engine *e = &b->graphs[graph].engines[engine];
    struct strbuf s = {0};
    char name[64];
    NRT_STATUS st;

    if (!engine_present(e))
        return NRT_SUCCESS;
    if (!e->has_program)
        return neff_fail(err, NRT_INVALID, "engine %s has no program",
                         neff_engine_key((enum neff_engine)engine));
    strbuf_put(&s, "{\"dma\": [");
    for (size_t i = 0; i < e->group_count; i++) {
        const struct build_group *g = &e->groups[i];

        strbuf_put(&s, i > 0 ? ",\n    " : "\n    ");
        strbuf_putn(&s, g->head.s, g->head.len);
        strbuf_putn(&s, g->descs.s != NULL ? g->descs.s : "", g->descs.len);
        strbuf_put(&s, "]}");
    }
    strbuf_put(&s, "]");
    if (e->act_sets.len > 0)
        strbuf_printf(&s, ",\n \"activation_function_sets\": [%s]", e->act_sets.s);
    if (e->dve_tables.len > 0)
        strbuf_printf(&s, ",\n \"dve_tables\": [%s}]", e->dve_tables.s);
    strbuf_put(&s, "}\n");
    (void)snprintf(name, sizeof(name), "sg%02d/%s.json", graph, engine_files[engine]);
    st = image_text(img, name, &s, err);
    (void)snprintf(name, sizeof(name), "sg%02d/%s.bin", graph, engine_files[engine]);
    if (st == NRT_SUCCESS)
        st = image_put(img, name, e->code, e->code_size, false, err);
    if (st == NRT_SUCCESS && e->debug.len > 0) {
        struct strbuf d = {0};

        strbuf_put(&d, "[");
        strbuf_putn(&d, e->debug.s, e->debug.len);
        strbuf_put(&d, "]\n");
        (void)snprintf(name, sizeof(name), "debug_info/sg%02d-%s.json", graph,
                       neff_engine_key((enum neff_engine)engine));
        st = image_text(img, name, &d, err);
    }
    return st;
}

static NRT_STATUS graph_put(struct neff_build *b, int graph, struct build_image *img,
                            struct err *err)
{
    const struct build_graph *g = &b->graphs[graph];
    char name[64];
    NRT_STATUS st = def_put(b, graph, img, err);

    for (unsigned e = 0; e < NEFF_ENGINE_COUNT && st == NRT_SUCCESS; e++)
        st = engine_put(b, graph, e, img, err);
    if (st == NRT_SUCCESS && g->coll_count > 0) {
        struct strbuf s = {0};

        strbuf_printf(&s, "[\n%s\n]\n", g->collectives.s);
        (void)snprintf(name, sizeof(name), "sg%02d/collectives.json", graph);
        st = image_text(img, name, &s, err);
    }
    return st;
}

NRT_STATUS build_image_make(struct neff_build *b, const struct neff_build_options *o,
                            struct build_image *img)
{
    NRT_STATUS st;

    memset(img, 0, sizeof(*img));
    if (b->err.status != NRT_SUCCESS)
        return b->err.status;
    st = kelf_put(b, img, &b->err);
    if (st == NRT_SUCCESS)
        st = nodes_put(b, img);
    if (st == NRT_SUCCESS)
        st = info_put(b, o, img, &b->err);
    for (int g = 0; g < b->graph_count && st == NRT_SUCCESS; g++)
        st = graph_put(b, g, img, &b->err);
    for (size_t i = 0; i < b->member_count && st == NRT_SUCCESS; i++) {
        const struct build_member *m = &b->members[i];

        st = image_put(img, m->name, m->data, m->size, false, &b->err);
        if (st == NRT_SUCCESS && m->path != NULL) {
            img->sources[img->count - 1].read = neff_file_read;
            img->sources[img->count - 1].arg = m->path;
        }
    }
    if (st != NRT_SUCCESS)
        build_image_fini(img);
    return st;
}

void build_image_fini(struct build_image *img)
{
    for (size_t i = 0; i < img->count; i++) {
        if (img->owned[i])
            mem_free((void *)img->sources[i].data);
    }
    mem_free(img->sources);
    mem_free(img->owned);
    arena_fini(&img->names);
    memset(img, 0, sizeof(*img));
}

/* Into a field that is all zeros and keeps a NUL at its end. */
static bool put_text(struct neff_build *b, const char *what, void *field, size_t size,
                     const char *text)
{
    size_t n = strlen(text);

    if (n >= size) {
        build_fail(b, "%s has %zu bytes, at most %zu fit", what, n, size - 1);
        return false;
    }
    memcpy(field, text, n);
    return true;
}

NRT_STATUS build_header(struct neff_build *b, const struct neff_build_options *o,
                        struct neff_header *h)
{
    const char *version = o->build_version != NULL ? o->build_version : "opennrt " OPENNRT_VERSION;

    memset(h, 0, sizeof(*h));
    h->pkg_version = o->pkg_version != 0 ? o->pkg_version : NEFF_PKG_MD5;
    h->neff_version_major = o->has_neff_version ? o->neff_version_major : 2;
    h->neff_version_minor = o->has_neff_version ? o->neff_version_minor : 0;
    if (!put_text(b, "the build version", h->neff_build_version, sizeof(h->neff_build_version),
                  version) ||
        !put_text(b, "the network's name", h->name, sizeof(h->name), b->name.s))
        return b->err.status;
    h->num_tpb = (uint32_t)b->graph_count;
    h->requested_tpb_count = o->requested_cores != 0 ? o->requested_cores : 1;
    h->tpb_per_node[0] = (uint8_t)b->graph_count;
    h->feature_bits = o->feature_bits;
    h->lnc_size = o->lnc_size != 0 ? o->lnc_size : (uint32_t)b->graph_count;
    if (!o->has_uuid)
        return neff_uuid_random(h->uuid, &b->err);
    memcpy(h->uuid, o->uuid, sizeof(h->uuid));
    return NRT_SUCCESS;
}
