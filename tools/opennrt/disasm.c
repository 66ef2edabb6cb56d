/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt disasm: a NEFF, or bare records, as the text form. */
#include "opennrt.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "isa/isa.h"
#include "neff/asm.h"
#include "neff/neff.h"

static void help(FILE *to)
{
    fprintf(to, "usage: opennrt disasm FILE [--engine ENGINE]\n\n"
                "Prints a NEFF (declarations, collectives, DMA groups, programs) or a file of\n"
                "bare records as text. The text assembles again when no name is a reserved word,\n"
                "has a quote or more than 200 bytes, the numbers of the variables are those of\n"
                "their order, as our own writer makes them, constants have members of their own\n"
                "(not after neuron-packager optimize), and no node runs on the CPU; lines that\n"
                "say something else are refused then.\n\n"
                "  -e, --engine ENGINE  of bare records: pe, dve, act, pool, sp (default: as the\n"
                "                       first record says)\n"
                "  -h, --help           this text\n");
}

/* A string has no escapes: what one cannot hold becomes a line that does not assemble. */
static void print_string(const char *s)
{
    if (strpbrk(s, "\"\n"))
        printf("?");
    else
        printf("\"%s\"", s);
}

static bool is_word(const char *name)
{
    if (!name[0] || isdigit((unsigned char)name[0]))
        return false;
    while (isalnum((unsigned char)*name) || *name == '_')
        name++;
    return *name == '\0';
}

/* A name of the text form: as it is where it is a word, else in quotes. */
static void print_name(const char *name)
{
    if (is_word(name))
        printf("%s", name);
    else
        print_string(name);
}

static const struct neff_tensor *tensor_of(const struct neff *n, const char *name)
{
    for (uint32_t i = 0; i < n->node_count; i++) {
        const struct neff_node *node = &n->nodes[i];

        for (uint32_t k = 0; k < node->input_count; k++)
            if (strcmp(node->inputs[k].name, name) == 0)
                return &node->inputs[k];
        for (uint32_t k = 0; k < node->output_count; k++)
            if (strcmp(node->outputs[k].name, name) == 0)
                return &node->outputs[k];
    }
    return NULL;
}

static void print_shape(enum dtype t, unsigned ndim, const uint64_t *shape)
{
    printf(" %s", dtype_name(t));
    for (unsigned k = 0; k < ndim; k++)
        printf("%s%" PRIu64 "%s", k ? ", " : "[", shape[k], k + 1 == ndim ? "]" : "");
}

/* A constant that is not all of its member cannot be said: the line will not assemble. */
static void print_file(const struct neff_member *m, const struct neff_var *v)
{
    uint64_t first = m->is_npy ? m->npy_data_off : 0;
    uint64_t bytes = m->is_npy ? m->npy_data_bytes : m->size;

    if (v->file_off == first && v->file_bytes == bytes && v->size == bytes) {
        printf(" ");
        print_string(m->name);
    } else {
        printf(" ; %" PRIu64 " bytes at %" PRIu64 " of \"%s\"", v->file_bytes, v->file_off - first,
               m->name);
    }
}

static void print_var(const struct neff *n, const struct neff_subgraph *g, uint32_t i)
{
    static const char *const types[] = {"state-buffer", "input",   "output",  "file",
                                        "tmp-buf",      "virtual", "pointer", "dge-table"};
    const struct neff_var *v = &g->vars[i];
    const struct neff_tensor *t = tensor_of(n, v->name);

    printf("var ");
    print_name(v->name);
    printf(": %s", types[v->type]);
    switch (v->type) {
    case NEFF_VAR_STATE_BUFFER:
        break;
    case NEFF_VAR_POINTER:
        printf(" -> ");
        print_name(g->vars[v->ref].name);
        break;
    case NEFF_VAR_DGE_TABLE:
        for (uint32_t k = 0; k < v->list_count; k++) {
            printf(k ? ", " : " [");
            print_name(g->vars[v->list[k]].name);
        }
        printf("]");
        break;
    default:
        if (t && t->dtype != DT_INVALID)
            print_shape(t->dtype, t->scalar ? 0 : t->ndim, t->shape);
        else if (v->type == NEFF_VAR_FILE && n->members[v->file_member].is_npy &&
                 n->members[v->file_member].npy_dtype != DT_INVALID)
            print_shape(n->members[v->file_member].npy_dtype, n->members[v->file_member].npy_ndim,
                        n->members[v->file_member].npy_shape);
        else
            print_shape(DT_UINT8, 1, &v->size);
    }
    if (v->type == NEFF_VAR_VIRTUAL)
        printf(" @ %" PRIu64, v->area_off);
    if (v->type == NEFF_VAR_VIRTUAL && v->area[0]) {
        printf(" area=");
        print_string(v->area);
    }
    if (v->type == NEFF_VAR_FILE)
        print_file(&n->members[v->file_member], v);
    if (v->alignment)
        printf(" align=%" PRIu64, v->alignment);
    if (v->var_id != (int64_t)i) /* the programs name it by this number */
        printf(" id=%" PRId64, v->var_id);
    printf("\n");
}

static void print_queue(const struct neff_queue *q)
{
    static const char *const types[] = {"in", "out", "data", "embedding_update", "dynamic"};

    printf("queue ");
    print_name(q->name);
    printf(": %s n=%u", types[q->type], q->num_queues);
    if (q->owner >= 0)
        printf(" owner=%s", isa_engine_name((unsigned)q->owner));
    if (q->semaphore != NEFF_NONE)
        printf(" sem=%u", q->semaphore);
    if (q->fabric_alt)
        printf(" fabric=alt");
    for (unsigned k = 0; k < q->instance_count; k++) {
        printf(k ? ", " : " instances=[");
        print_string(q->instances[k]);
    }
    if (q->instance_count)
        printf("]");
    printf("\n");
}

/* Whether the pattern is one of elements that lie together, `step` elements apart. */
static bool side_in_elements(const struct neff_access *a, enum dtype t)
{
    int64_t es = (int64_t)dtype_size(t);

    for (unsigned k = 1; k < a->ndim; k++)
        if (a->steps[k] % es)
            return false;
    return a->steps[0] == 1 && a->sizes[0] % (uint64_t)es == 0;
}

/* Steps are in elements where that says all, else in bytes. */
static void print_side(const struct neff_subgraph *g, const struct neff_access *a, enum dtype t)
{
    bool whole = side_in_elements(a, t);
    int64_t es = whole ? (int64_t)dtype_size(t) : 1;

    printf("hbm.%s(", dtype_name(t));
    print_name(g->vars[a->var].name);
    printf(", %" PRIu64 "%s", a->off, whole ? "" : ", bytes");
    for (unsigned k = a->ndim; k-- > 1;)
        printf(", [%" PRId64 ",%" PRIu64 "]", a->steps[k] / es, a->sizes[k]);
    printf(", [%" PRId64 ",%" PRIu64 "])", a->steps[0], a->sizes[0] / (uint64_t)es);
}

/* The shape that the text gives a transpose by itself is that of the pattern as printed. */
static bool shape_is_of_pattern(const struct neff_desc *d)
{
    const struct neff_access *a = &d->from[0];
    uint64_t es = dtype_size((enum dtype)a->dtype);

    for (unsigned k = 0; k < 4; k++) {
        uint64_t n = k + 1 < a->ndim    ? a->sizes[a->ndim - 1 - k]
                     : k + 1 == a->ndim ? a->sizes[0] / es
                                        : 1;

        if (n != d->transpose_shape[k])
            return false;
    }
    return d->transpose_element_size == es;
}

static void print_transpose(const struct neff_desc *d)
{
    if (shape_is_of_pattern(d))
        return;
    printf(", shape=[%u, %u, %u, %u]", d->transpose_shape[0], d->transpose_shape[1],
           d->transpose_shape[2], d->transpose_shape[3]);
    if (d->transpose_element_size != dtype_size((enum dtype)d->from[0].dtype))
        printf(", size=%u", d->transpose_element_size);
}

/* With a sign and a point where an integer would lose them. */
static void print_float(double v)
{
    printf(v == 0 && signbit(v) ? "-0.0" : "%.9g", v);
}

static void print_desc(const struct neff_subgraph *g, const struct neff_desc *d)
{
    static const char *const ops[] = {"copy", "cast", "add", "fma", "min", "max", "transpose"};
    bool plain = d->op == NEFF_OP_COPY || d->op == NEFF_OP_CAST;
    enum dtype to = (enum dtype)d->to.dtype;

    /* a transpose moves bytes: the type of the destination says nothing but their number */
    if (d->op == NEFF_OP_TRANSPOSE && dtype_size(to) == dtype_size((enum dtype)d->from[0].dtype))
        to = (enum dtype)d->from[0].dtype;
    printf("    ");
    print_side(g, &d->to, to);
    printf(" <- %s%s", d->op == NEFF_OP_COPY ? "" : ops[d->op],
           d->op == NEFF_OP_COPY ? "" : (plain ? " " : "("));
    for (unsigned k = 0; k < d->from_count; k++) {
        printf("%s", k ? ", " : "");
        print_side(g, &d->from[k], (enum dtype)d->from[k].dtype);
        if (d->op == NEFF_OP_FMA && d->scale) {
            printf(" * ");
            print_float((double)d->scale[k]);
        }
    }
    if (d->op == NEFF_OP_TRANSPOSE)
        print_transpose(d);
    if (d->has_constant && d->constant_dtype == DT_FP32) {
        printf(", from=float(");
        print_float(d->constant);
        printf(")");
    } else if (d->has_constant) {
        printf(", from=%.0f", d->constant);
    }
    printf("%s\n", plain ? "" : ")");
}

/* again: another group before it has its id, as one trigger may start several groups. */
static void print_group(const struct neff_subgraph *g, unsigned e, const struct neff_dma_group *d,
                        bool again)
{
    printf("dma %s_%u", isa_engine_name(e), d->id);
    if (again)
        printf("_%u", (unsigned)(d - g->engines[e].groups));
    printf(" on ");
    print_name(g->queues[d->queue].name);
    if (d->instance != NEFF_NONE) {
        printf(".");
        print_string(g->queues[d->queue].instances[d->instance]);
    }
    printf(" by %s id %u", isa_engine_name(e), d->id);
    if (d->semaphore != NEFF_NONE)
        printf(" -> $S[%u]", d->semaphore);
    for (unsigned k = 0; k < d->remote_semaphore_count; k++)
        printf(" -> peer $S[%u]", d->remote_semaphores[k]);
    if (d->event != NEFF_NONE)
        printf(" -> $E[%u]", d->event);
    printf(" {\n");
    for (uint32_t k = 0; k < d->desc_count; k++)
        print_desc(g, &d->descs[k]);
    printf("}\n");
}

/* By id, then by place. */
static int group_order(const void *a, const void *b)
{
    const struct neff_dma_group *x = *(const struct neff_dma_group *const *)a;
    const struct neff_dma_group *y = *(const struct neff_dma_group *const *)b;

    return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : (x > y) - (x < y);
}

static bool print_groups(const struct neff_subgraph *g, unsigned e)
{
    const struct neff_engine_code *code = &g->engines[e];
    const struct neff_dma_group **sorted = calloc(code->group_count + 1, sizeof(const void *));
    bool *again = calloc(code->group_count + 1, sizeof(*again));
    bool ok = sorted && again;

    for (uint32_t i = 0; ok && i < code->group_count; i++)
        sorted[i] = &code->groups[i];
    if (ok)
        qsort(sorted, code->group_count, sizeof(const void *), group_order);
    for (uint32_t i = 1; ok && i < code->group_count; i++)
        again[sorted[i] - code->groups] = sorted[i]->id == sorted[i - 1]->id;
    for (uint32_t i = 0; ok && i < code->group_count; i++)
        print_group(g, e, &code->groups[i], again[i]);
    if (!ok)
        fprintf(stderr, "opennrt disasm: out of memory\n");
    free(sorted);
    free(again);
    return ok;
}

/* Bytes of a variable, or a tile. */
static void print_range(const struct neff_subgraph *g, enum dtype t,
                        const struct neff_coll_range *r)
{
    uint64_t es = dtype_size(t), part = r->off / NEFF_SBUF_STRIDE;

    if (r->partitions == 0) {
        printf("hbm.%s(", dtype_name(t));
        print_name(g->vars[r->var].name);
        printf(", %" PRIu64 ", [1,%" PRIu64 "])", r->off, r->size / es);
    } else {
        printf("sbuf.%s(%" PRIu64 ":%" PRIu64 ", %" PRIu64 ", [%" PRIu64 ",%" PRIu64 "])",
               dtype_name(t), part, part + r->partitions, r->off % NEFF_SBUF_STRIDE, r->step / es,
               r->size / r->partitions / es);
    }
}

static void print_ranks(const struct neff_coll *c)
{
    for (uint32_t i = 0; i < c->group_count; i++) {
        for (uint32_t k = 0; k < c->groups[i].rank_count; k++)
            printf("%s%u", k ? ", " : " group={", c->groups[i].ranks[k]);
        printf("}");
    }
    for (uint32_t i = 0; i < c->pair_count; i++)
        printf("%s%u -> %u%s", i ? ", " : " pairs={", c->pairs[i][0], c->pairs[i][1],
               i + 1 == c->pair_count ? "}" : "");
}

static void print_coll(const struct neff_subgraph *g, uint32_t i)
{
    static const char *const reduces[] = {"", "add", "min", "max"};
    const struct neff_coll *c = &g->colls[i];

    printf("collective coll_%u: ", i);
    for (uint32_t k = 0; k < c->out_count; k++) {
        print_range(g, c->dtype, &c->out[k]);
        fputs(k + 1 < c->out_count ? ", " : " <- ", stdout);
    }
    printf("%s(%s%s", neff_coll_op_name(c->op), reduces[c->reduce], c->reduce ? ", " : "");
    for (uint32_t k = 0; k < c->in_count; k++) {
        fputs(k ? ", " : "", stdout);
        print_range(g, c->dtype, &c->in[k]);
    }
    printf(")");
    print_ranks(c);
    if (c->stream)
        printf(" stream=%u", c->stream);
    if (c->metadata_var != NEFF_NONE) {
        printf(" metadata=hbm.uint8(");
        print_name(g->vars[c->metadata_var].name);
        printf(", %" PRIu64 ", [1,1])", c->metadata_off);
    }
    if (c->algorithm)
        printf(" algorithm=%s", c->algorithm);
    printf("\n");
}

static bool print_code(const void *code, size_t size, unsigned e)
{
    struct neff_error error = {0};
    char *text;

    if (neff_asm_print(code, size, (enum neff_engine)e, &text, &error)) {
        fprintf(stderr, "opennrt disasm: %s: %s\n", isa_engine_name(e), error.text);
        return false;
    }
    fputs(text, stdout);
    neff_build_free(text);
    return true;
}

static bool print_graph(const struct neff *n, const struct neff_subgraph *g)
{
    bool ok = true;

    for (uint32_t i = 0; i < g->var_count; i++)
        print_var(n, g, i);
    for (uint32_t i = 0; i < g->coll_count; i++)
        print_coll(g, i);
    for (uint32_t i = 0; i < g->queue_count; i++)
        print_queue(&g->queues[i]);
    for (unsigned e = 0; e < NEFF_ENGINE_COUNT; e++)
        if (g->engines[e].present)
            ok = print_groups(g, e) && ok;
    for (unsigned e = 0; e < NEFF_ENGINE_COUNT; e++)
        if (g->engines[e].present && g->engines[e].instr_bytes)
            ok = print_code(g->engines[e].instr, g->engines[e].instr_bytes, e) && ok;
    return ok;
}

static int print_neff(const char *path, const void *bytes, size_t size)
{
    struct neff_options o = {.lenient = true};
    struct err err = {0};
    struct neff *n;
    bool ok = true;

    if (neff_create(bytes, size, &o, &n, &err) != NRT_SUCCESS) {
        fprintf(stderr, "opennrt disasm: %s: %s\n", path, err.text);
        return EXIT_FAILED;
    }
    printf(".name ");
    print_string(n->name);
    printf("\n");
    for (uint32_t i = 0; i < n->node_count; i++)
        if (n->nodes[i].is_cpu)
            printf(".node ? ; node %u runs on the CPU, which no text says\n", i);
    if (n->arch)
        printf(".arch %s\n", n->arch);
    if (n->graph_count > 1)
        printf(".lnc 2\n");
    for (uint32_t i = 0; i < n->graph_count; i++) {
        if (n->graph_count > 1)
            printf("if core == %u {\n", i);
        ok = print_graph(n, &n->graphs[i]) && ok;
        if (n->graph_count > 1)
            printf("}\n");
    }
    neff_destroy(n);
    return ok ? EXIT_OK : EXIT_FAILED;
}

static int refuse_engine(const char *path)
{
    fprintf(stderr,
            "opennrt disasm: %s is not bare records, which --engine is for: a NEFF says whose its "
            "records are\n",
            path);
    return EXIT_USAGE;
}

int cmd_disasm(int argc, char **argv)
{
    static const struct option options[] = {{"engine", required_argument, NULL, 'e'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int c, rc, engine = -1;
    char *bytes;
    size_t size;

    while ((c = getopt_long(argc, argv, "e:h", options, NULL)) != -1) {
        if (c == 'h') {
            help(stdout);
            return EXIT_OK;
        }
        engine = -1;
        for (unsigned e = 0; c == 'e' && e < NEFF_ENGINE_COUNT; e++)
            if (strcmp(optarg, isa_engine_name(e)) == 0)
                engine = (int)e;
        if (c != 'e' || engine < 0) {
            help(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind + 1 != argc) {
        help(stderr);
        return EXIT_USAGE;
    }
    bytes = read_all(argv[optind], &size);
    if (!bytes) {
        fprintf(stderr, "opennrt disasm: %s: %s\n", argv[optind], strerror(errno));
        return EXIT_FAILED;
    }
    if (isa_looks_ours(bytes, size))
        rc = print_code(bytes, size, engine >= 0 ? (unsigned)engine : (unsigned char)bytes[3])
                 ? EXIT_OK
                 : EXIT_FAILED;
    else if (engine >= 0)
        rc = refuse_engine(argv[optind]);
    else
        rc = print_neff(argv[optind], bytes, size);
    free(bytes);
    return rc;
}
