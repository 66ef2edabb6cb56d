/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-packager info: the header, the nodes with their tensors, weights and spills, as tables or
 * as JSON. Columns are as wide as their widest cell, right-aligned, four blanks apart. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "packager.h"

#define MAX_COLUMNS 10

/* ---- tables ---- */

struct table {
    unsigned columns;
    char **cells; /* rows of columns cells, owned; NULL is empty */
    size_t count, cap;
    bool failed;
};

static void table_cell(struct table *t, const char *text)
{
    char *copy = NULL;

    if (text != NULL && (copy = mem_strdup(text)) == NULL)
        t->failed = true;
    if (!t->failed && mem_grow((void **)&t->cells, &t->cap, t->count + 1, sizeof(*t->cells)))
        t->cells[t->count++] = copy;
    else
        t->failed = true;
}

static void table_number(struct table *t, uint64_t v)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
    table_cell(t, text);
}

static void table_head(struct table *t, const char *const *names, unsigned n)
{
    memset(t, 0, sizeof(*t));
    t->columns = n;
    for (unsigned i = 0; i < n; i++)
        table_cell(t, names[i]);
}

/* Characters on a terminal: UTF-8 continuation bytes take no room. */
static size_t width_of(const char *s)
{
    size_t n = 0;

    for (; s != NULL && *s != '\0'; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void table_print(struct table *t, const char *title, struct strbuf *out)
{
    size_t width[MAX_COLUMNS] = {0};

    for (size_t i = 0; i < t->count; i++) {
        size_t w = width_of(t->cells[i]);

        if (w > width[i % t->columns])
            width[i % t->columns] = w;
    }
    strbuf_printf(out, "%s:\n", title);
    for (size_t row = 0; row + t->columns <= t->count; row += t->columns) {
        unsigned last = t->columns;

        while (last > 0 && t->cells[row + last - 1] == NULL)
            last--; /* no blanks at the end of a line */
        for (unsigned c = 0; c < last; c++) {
            const char *text = t->cells[row + c] != NULL ? t->cells[row + c] : "";

            strbuf_printf(out, "    %*s%s", (int)(width[c] - width_of(text)), "", text);
        }
        strbuf_put(out, "\n");
    }
    out->failed = out->failed || t->failed;
    for (size_t i = 0; i < t->count; i++)
        mem_free(t->cells[i]);
    mem_free(t->cells);
}

static void shape_text(char *buf, size_t size, unsigned ndim, const uint64_t *shape)
{
    size_t n = (size_t)snprintf(buf, size, "[");

    for (unsigned i = 0; i < ndim && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%llu", i > 0 ? "," : "",
                              (unsigned long long)shape[i]);
    if (n < size)
        (void)snprintf(buf + n, size - n, "]");
}

static void hex_text(char *dst, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)snprintf(dst + 2 * i, 3, "%02x", bytes[i]);
    dst[2 * n] = '\0';
}

static void features_text(const struct neff_header *h, struct strbuf *s)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        if (!(h->feature_bits >> bit & 1))
            continue;
        strbuf_put(s, s->len > 0 ? "," : "");
        if (neff_feature_name(bit) != NULL)
            strbuf_put(s, neff_feature_name(bit));
        else
            strbuf_printf(s, "bit-%u", bit);
    }
    if (s->len == 0)
        strbuf_put(s, "N/A");
}

static size_t hash_bytes(const struct neff_header *h)
{
    return h->pkg_version == NEFF_PKG_SHA256 ? 32 : 16;
}

static void header_print(const struct neff *n, struct strbuf *out)
{
    const struct neff_header *h = &n->header;
    struct strbuf features = {0};
    char hash[2 * NEFF_HASH_SIZE + 1], uuid[2 * NEFF_UUID_SIZE + 1];

    features_text(h, &features);
    hex_text(hash, h->hash, hash_bytes(h));
    hex_text(uuid, h->uuid, sizeof(h->uuid));
    strbuf_put(out, "NEFF Header:\n");
#define LINE "    %-26s%"
    strbuf_printf(out, LINE "llu\n", "Package Version:", (unsigned long long)h->pkg_version);
    strbuf_printf(out, LINE "llu\n", "Header Size (bytes):", (unsigned long long)h->header_size);
    strbuf_printf(out, LINE "llu\n", "Data Size (bytes):", (unsigned long long)h->data_size);
    strbuf_printf(out, LINE "llu\n", "Major Version:", (unsigned long long)h->neff_version_major);
    strbuf_printf(out, LINE "llu\n", "Minor Version:", (unsigned long long)h->neff_version_minor);
    strbuf_printf(out, "    %-26s", "Build Version:");
    strbuf_put(out, n->build_version);
    strbuf_printf(out, "\n" LINE "u\n", "Number of Neuron cores:", h->num_tpb);
    strbuf_printf(out, LINE "s\n", "Hash:", hash);
    strbuf_printf(out, LINE "s\n", "UUID:", uuid);
    strbuf_printf(out, "    %-26s", "Network Name:");
    strbuf_put(out, n->name);
    strbuf_printf(out, "\n" LINE "s\n", "Enabled Features:", features.s);
#undef LINE
    strbuf_fini(&features);
}

static void tensor_rows(struct table *t, const struct neff_tensor *tensors, uint32_t count,
                        bool input, bool derived)
{
    char shape[512];

    for (uint32_t i = 0; i < count; i++) {
        const struct neff_tensor *x = &tensors[i];

        table_cell(t, NULL);
        table_cell(t, NULL);
        table_cell(t, NULL);
        table_cell(t, x->name);
        table_number(t, x->size);
        table_cell(t, input ? "IN" : "OUT");
        table_cell(t, x->format != NULL ? x->format : "N/A");
        shape_text(shape, sizeof(shape), x->ndim, x->shape);
        table_cell(t, derived ? "N/A" : shape);
        table_cell(t, x->dtype_text != NULL ? x->dtype_text : "N/A");
        table_cell(t, !input || x->time_series ? (x->time_series ? "true" : "false") : NULL);
    }
}

static void nodes_print(const struct neff *n, struct strbuf *out)
{
    static const char *const names[] = {"NODE", "Executor", "Name",  "Variable", "Size",
                                        "Type", "Format",   "Shape", "DataType", "TimeSeries"};
    struct table t;

    table_head(&t, names, 10);
    for (uint32_t i = 0; i < n->node_count; i++) {
        const struct neff_node *node = &n->nodes[i];
        char id[32];

        (void)snprintf(id, sizeof(id), "%lld", (long long)node->id);
        table_cell(&t, id);
        table_cell(&t, node->is_cpu ? "CPU" : "NeuronCore");
        table_cell(&t, node->name);
        for (unsigned k = 3; k < 10; k++)
            table_cell(&t, NULL);
        tensor_rows(&t, node->inputs, node->input_count, true, n->nodes_derived);
        tensor_rows(&t, node->outputs, node->output_count, false, n->nodes_derived);
    }
    table_print(&t, "NEFF Nodes", out);
}

/* The npy header of a weight, when it has one of its own. */
static const struct neff_member *weight_npy(const struct neff *n, const struct neff_var *v)
{
    const struct neff_member *m = &n->members[v->file_member];

    return m->npy_ok && v->file_off == m->npy_data_off ? m : NULL;
}

static void weights_print(const struct neff *n, struct strbuf *out)
{
    static const char *const names[] = {"Subgraph", "Variable", "Size",
                                        "File",     "Shape",    "DataType"};
    struct table t;
    char shape[512];

    table_head(&t, names, 6);
    for (uint32_t g = 0; g < n->graph_count; g++) {
        for (uint32_t i = 0; i < n->graphs[g].var_count; i++) {
            const struct neff_var *v = &n->graphs[g].vars[i];
            const struct neff_member *npy;

            if (v->type != NEFF_VAR_FILE)
                continue;
            npy = weight_npy(n, v);
            table_cell(&t, n->graphs[g].name);
            table_cell(&t, v->name);
            table_number(&t, v->size);
            table_cell(&t, n->members[v->file_member].name);
            if (npy != NULL)
                shape_text(shape, sizeof(shape), npy->npy_ndim, npy->npy_shape);
            table_cell(&t, npy != NULL ? shape : "N/A");
            table_cell(&t, npy != NULL && npy->npy_dtype != DT_INVALID ? dtype_name(npy->npy_dtype)
                                                                       : "N/A");
        }
    }
    table_print(&t, "NEFF Weights", out);
}

/* A spill: a variable of the scratch memories, and the bytes that descriptors move to and from it.
 */
struct spill {
    const struct neff_subgraph *sg;
    const struct neff_var *var;
    uint64_t written, read;
};

static bool is_spill(const struct neff_var *v)
{
    return v->type == NEFF_VAR_TMP_BUF || v->type == NEFF_VAR_VIRTUAL;
}

static uint64_t add_sat(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* Traffic of every variable of a subgraph; bytes is two numbers (written, read) per variable. */
static void spill_traffic(const struct neff_subgraph *sg, uint64_t *bytes)
{
    for (unsigned e = 0; e < NEFF_ENGINE_COUNT; e++) {
        for (uint32_t g = 0; g < sg->engines[e].group_count; g++) {
            const struct neff_dma_group *group = &sg->engines[e].groups[g];

            for (uint32_t d = 0; d < group->desc_count; d++) {
                const struct neff_desc *desc = &group->descs[d];
                uint64_t *w = &bytes[2 * desc->to.var];

                *w = add_sat(*w, neff_access_bytes(&desc->to));
                for (unsigned k = 0; k < desc->from_count; k++) {
                    uint64_t *r = &bytes[2 * desc->from[k].var + 1];

                    *r = add_sat(*r, neff_access_bytes(&desc->from[k]));
                }
            }
        }
    }
}

/* Calls put for each spill. False when memory is out. */
static bool spills_walk(const struct neff *n, void (*put)(void *arg, const struct spill *s),
                        void *arg)
{
    for (uint32_t g = 0; g < n->graph_count; g++) {
        const struct neff_subgraph *sg = &n->graphs[g];
        uint64_t *bytes = mem_calloc(sg->var_count, 2 * sizeof(*bytes));

        if (bytes == NULL)
            return false;
        spill_traffic(sg, bytes);
        for (uint32_t i = 0; i < sg->var_count; i++) {
            struct spill s = {sg, &sg->vars[i], bytes[2 * i], bytes[2 * i + 1]};

            if (is_spill(s.var))
                put(arg, &s);
        }
        mem_free(bytes);
    }
    return true;
}

static void spill_row(void *arg, const struct spill *s)
{
    struct table *t = arg;

    table_cell(t, s->sg->name);
    table_cell(t, s->var->name);
    table_cell(t, neff_var_type_name(s->var->type));
    table_number(t, s->var->size);
    table_number(t, s->written);
    table_number(t, s->read);
}

static void spills_print(const struct neff *n, struct strbuf *out)
{
    static const char *const names[] = {"Subgraph", "Variable", "Type", "Size", "Written", "Read"};
    struct table t;

    table_head(&t, names, 6);
    if (!spills_walk(n, spill_row, &t))
        t.failed = true;
    table_print(&t, "NEFF Spills", out);
}

/* ---- JSON ---- */

static void json_str(struct strbuf *s, const char *text)
{
    if (text == NULL)
        strbuf_put(s, "null");
    else
        strbuf_put_json(s, text);
}

static void json_shape(struct strbuf *s, unsigned ndim, const uint64_t *shape)
{
    strbuf_put(s, "[");
    for (unsigned i = 0; i < ndim; i++)
        strbuf_printf(s, "%s%llu", i > 0 ? ", " : "", (unsigned long long)shape[i]);
    strbuf_put(s, "]");
}

static void json_header(const struct neff *n, struct strbuf *s)
{
    const struct neff_header *h = &n->header;
    char hash[2 * NEFF_HASH_SIZE + 1], uuid[2 * NEFF_UUID_SIZE + 1];
    bool any = false;

    hex_text(hash, h->hash, hash_bytes(h));
    hex_text(uuid, h->uuid, sizeof(h->uuid));
    strbuf_printf(s,
                  "  \"header\": {\n    \"package_version\": %llu,\n    \"header_size\": %llu,\n"
                  "    \"data_size\": %llu,\n    \"major_version\": %llu,\n"
                  "    \"minor_version\": %llu,\n    \"build_version\": ",
                  (unsigned long long)h->pkg_version, (unsigned long long)h->header_size,
                  (unsigned long long)h->data_size, (unsigned long long)h->neff_version_major,
                  (unsigned long long)h->neff_version_minor);
    json_str(s, n->build_version);
    strbuf_printf(s,
                  ",\n    \"neuroncore_count\": %u,\n    \"requested_neuroncore_count\": %u,\n"
                  "    \"lnc_size\": %u,\n    \"hash\": \"%s\",\n    \"uuid\": \"%s\",\n"
                  "    \"network_name\": ",
                  h->num_tpb, h->requested_tpb_count, h->lnc_size, hash, uuid);
    json_str(s, n->name);
    strbuf_put(s, ",\n    \"enabled_features\": [");
    for (unsigned bit = 0; bit < 64; bit++) {
        if (!(h->feature_bits >> bit & 1))
            continue;
        strbuf_put(s, any ? ", " : "");
        if (neff_feature_name(bit) != NULL)
            json_str(s, neff_feature_name(bit));
        else
            strbuf_printf(s, "\"bit-%u\"", bit);
        any = true;
    }
    strbuf_put(s, "]\n  }");
}

static void json_tensors(const struct neff_tensor *t, uint32_t count, bool input, bool derived,
                         bool *any, struct strbuf *s)
{
    for (uint32_t i = 0; i < count; i++) {
        strbuf_put(s, *any ? ",\n        {\"name\": " : "\n        {\"name\": ");
        *any = true;
        json_str(s, t[i].name);
        strbuf_printf(s, ", \"size\": %llu, \"type\": \"%s\", \"format\": ",
                      (unsigned long long)t[i].size, input ? "IN" : "OUT");
        json_str(s, t[i].format);
        strbuf_put(s, ", \"shape\": ");
        if (derived)
            strbuf_put(s, "null");
        else
            json_shape(s, t[i].ndim, t[i].shape);
        strbuf_put(s, ", \"data_type\": ");
        json_str(s, t[i].dtype_text);
        strbuf_printf(s, ", \"time_series\": %s}", t[i].time_series ? "true" : "false");
    }
}

static void json_nodes(const struct neff *n, struct strbuf *s)
{
    strbuf_put(s, ",\n  \"nodes\": [");
    for (uint32_t i = 0; i < n->node_count; i++) {
        const struct neff_node *node = &n->nodes[i];
        bool any = false;

        strbuf_printf(s,
                      "%s\n    {\"node\": %lld, \"executor\": \"%s\", \"name\": ", i > 0 ? "," : "",
                      (long long)node->id, node->is_cpu ? "CPU" : "NeuronCore");
        json_str(s, node->name);
        strbuf_put(s, ",\n      \"variables\": [");
        json_tensors(node->inputs, node->input_count, true, n->nodes_derived, &any, s);
        json_tensors(node->outputs, node->output_count, false, n->nodes_derived, &any, s);
        strbuf_put(s, "]}");
    }
    strbuf_put(s, "\n  ]");
}

static void json_weights(const struct neff *n, struct strbuf *s)
{
    bool any = false;

    strbuf_put(s, ",\n  \"weights\": [");
    for (uint32_t g = 0; g < n->graph_count; g++) {
        for (uint32_t i = 0; i < n->graphs[g].var_count; i++) {
            const struct neff_var *v = &n->graphs[g].vars[i];
            const struct neff_member *npy;

            if (v->type != NEFF_VAR_FILE)
                continue;
            npy = weight_npy(n, v);
            strbuf_put(s, any ? ",\n    {\"subgraph\": " : "\n    {\"subgraph\": ");
            any = true;
            json_str(s, n->graphs[g].name);
            strbuf_put(s, ", \"variable\": ");
            json_str(s, v->name);
            strbuf_printf(s, ", \"size\": %llu, \"file\": ", (unsigned long long)v->size);
            json_str(s, n->members[v->file_member].name);
            strbuf_put(s, ", \"shape\": ");
            if (npy != NULL)
                json_shape(s, npy->npy_ndim, npy->npy_shape);
            else
                strbuf_put(s, "null");
            strbuf_put(s, ", \"data_type\": ");
            json_str(s, npy != NULL && npy->npy_dtype != DT_INVALID ? dtype_name(npy->npy_dtype)
                                                                    : NULL);
            strbuf_put(s, "}");
        }
    }
    strbuf_put(s, "\n  ]");
}

struct json_spills {
    struct strbuf *s;
    bool any;
};

static void json_spill(void *arg, const struct spill *p)
{
    struct json_spills *j = arg;

    strbuf_put(j->s, j->any ? ",\n    {\"subgraph\": " : "\n    {\"subgraph\": ");
    j->any = true;
    json_str(j->s, p->sg->name);
    strbuf_put(j->s, ", \"variable\": ");
    json_str(j->s, p->var->name);
    strbuf_printf(j->s, ", \"type\": \"%s\", \"size\": %llu, \"written\": %llu, \"read\": %llu}",
                  neff_var_type_name(p->var->type), (unsigned long long)p->var->size,
                  (unsigned long long)p->written, (unsigned long long)p->read);
}

static void json_print(const struct neff *n, bool weights, bool spills, struct strbuf *s)
{
    struct json_spills j = {s, false};

    strbuf_put(s, "{\n");
    json_header(n, s);
    json_nodes(n, s);
    if (weights)
        json_weights(n, s);
    if (spills) {
        strbuf_put(s, ",\n  \"spills\": [");
        if (!spills_walk(n, json_spill, &j))
            s->failed = true;
        strbuf_put(s, "\n  ]");
    }
    strbuf_put(s, "\n}\n");
}

/* ---- the command ---- */

static void usage(FILE *f)
{
    fputs("usage: neuron-packager info [-w] [-s] [--json-output] <neff>\n\n"
          "  -w, --show-weights  the constants with their files\n"
          "  -s, --show-spills   scratch variables and the bytes moved to and from them\n"
          "  --json-output       JSON instead of tables\n",
          f);
}

static int info_run(const char *path, bool weights, bool spills, bool json)
{
    struct neff_options opt = {.lenient = true, .skip_debug = true};
    struct strbuf out = {0};
    struct opened o;
    struct err err = {0}, first;
    int rc = 0;

    if (packager_open(path, &opt, &o, &err) != NRT_SUCCESS) {
        /* the contents are damaged: the header can still be shown */
        first = err;
        memset(&err, 0, sizeof(err));
        opt.index_only = true;
        if (json || packager_open(path, &opt, &o, &err) != NRT_SUCCESS)
            return packager_fail(first.text);
        header_print(o.neff, &out);
        rc = packager_fail(first.text);
    } else if (json) {
        json_print(o.neff, weights, spills, &out);
    } else {
        header_print(o.neff, &out);
        strbuf_put(&out, "\n");
        nodes_print(o.neff, &out);
        if (weights) {
            strbuf_put(&out, "\n");
            weights_print(o.neff, &out);
        }
        if (spills) {
            strbuf_put(&out, "\n");
            spills_print(o.neff, &out);
        }
    }
    if (out.failed)
        rc = packager_fail("out of memory");
    else if (fwrite(out.s, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
        rc = packager_fail("cannot write the output");
    strbuf_fini(&out);
    packager_close(&o);
    return rc;
}

int cmd_info(int argc, char **argv)
{
    static const struct option options[] = {
        {"show-weights", no_argument, NULL, 'w'},
        {"show-spills", no_argument, NULL, 's'},
        {"json-output", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool weights = false, spills = false, json = false;
    int opt;

    while ((opt = getopt_long(argc, argv, "wsh", options, NULL)) != -1) {
        switch (opt) {
        case 'w':
            weights = true;
            break;
        case 's':
            spills = true;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind + 1 != argc) {
        usage(stderr);
        return 2;
    }
    return info_run(argv[optind], weights, spills, json);
}
