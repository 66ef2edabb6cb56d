/* SPDX-License-Identifier: Apache-2.0 */
/* The complete example of docs/spec/neff.md section 11, field by field; what is accepted beside it;
 * lenient reading; warnings. Expected values are written from the page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "maker.h"
#include "neff/neff.h"
#include "proves.h"
#include "seed.h"

#define SP  "sg00/SP.json"
#define DEF "sg00/def.json"

/* A loaded NEFF with its bytes and what was said while loading. */
struct loaded {
    uint8_t *file;
    size_t size;
    struct neff *neff;
    char said[4096];
};

static void listen(void *arg, const char *text)
{
    struct loaded *l = arg;
    size_t n = strlen(l->said);

    snprintf(l->said + n, sizeof(l->said) - n, "%s\n", text);
}

static NRT_STATUS open_with(struct maker *m, struct neff_options opt, struct loaded *l,
                            struct err *err)
{
    struct diag_sink sink = {.warn = listen, .debug = listen, .arg = l};

    memset(l, 0, sizeof(*l));
    memset(err, 0, sizeof(*err));
    opt.sink = &sink;
    l->file = maker_write(m, &l->size);
    return neff_create(l->file, l->size, &opt, &l->neff, err);
}

static void open_ok(struct maker *m, struct loaded *l)
{
    struct neff_options opt = {.validate_hash = true};
    struct err err;

    if (open_with(m, opt, l, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
}

static void close_it(struct loaded *l)
{
    neff_destroy(l->neff);
    free(l->file);
}

static void header_fields_are_at_their_offsets(void **state)
{
    struct neff_header h;
    struct err err = {0};
    struct maker m;
    uint8_t *file;
    size_t size;

    (void)state;
    maker_small(&m);
    maker_set_u64(&m, 0, 2);
    maker_set_u64(&m, 24, 2);
    maker_set_u64(&m, 32, 0x0102030405060708);
    memset(m.header + 40, 0, 128);
    memcpy(m.header + 40, "build text", 10);
    maker_set_u32(&m, 168, 0x01020304);
    for (unsigned i = 0; i < 16; i++)
        m.header[204 + i] = (uint8_t)(0xf0 + i);
    memset(m.header + 220, 0, 256);
    memcpy(m.header + 220, "network", 7);
    maker_set_u32(&m, 476, 77);
    for (unsigned i = 0; i < 64; i++)
        m.header[480 + i] = (uint8_t)i;
    maker_set_u64(&m, 544, 0x15);
    maker_set_u32(&m, 552, 2);
    m.header[1023] = 9;
    file = maker_write(&m, &size);
    assert_int_equal(neff_header_read(file, size, NULL, &h, &err), NRT_SUCCESS);
    assert_int_equal(h.pkg_version, 2);
    PROVES("neff-001");
    assert_int_equal(h.header_size, 1024);
    PROVES("neff-002");
    assert_int_equal(h.data_size, size - 1024);
    PROVES("neff-003");
    assert_int_equal(h.neff_version_major, 2);
    PROVES("neff-004");
    assert_true(h.neff_version_minor == 0x0102030405060708);
    PROVES("neff-005");
    assert_string_equal((const char *)h.neff_build_version, "build text");
    PROVES("neff-006");
    assert_int_equal(h.num_tpb, 0x01020304);
    PROVES("neff-007");
    assert_memory_equal(h.hash, file + 172, 32);
    PROVES("neff-008");
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(h.uuid[i], 0xf0 + i);
    PROVES("neff-009");
    assert_string_equal(h.name, "network");
    PROVES("neff-010");
    assert_int_equal(h.requested_tpb_count, 77);
    PROVES("neff-011");
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(h.tpb_per_node[i], i);
    PROVES("neff-012");
    assert_int_equal(h.feature_bits, 0x15);
    PROVES("neff-013");
    assert_int_equal(h.lnc_size, 2);
    PROVES("neff-014");
    assert_int_equal(h.pad[467], 9);
    PROVES("neff-015");
    free(file);
    maker_fini(&m);
}

static void check_queues(const struct neff_subgraph *sg)
{
    const struct neff_queue *q = sg->queues;

    assert_int_equal(sg->queue_count, 3);
    PROVES("neff-047");
    assert_string_equal(q[0].name, "qIn");
    assert_int_equal(q[0].type, NEFF_QUEUE_IN);
    assert_int_equal(q[1].type, NEFF_QUEUE_DATA);
    assert_int_equal(q[2].type, NEFF_QUEUE_OUT);
    assert_int_equal(q[0].num_queues, 2);
    assert_int_equal(q[1].num_queues, 1);
    PROVES("neff-050");
    assert_int_equal(q[0].owner, NEFF_SP);
    PROVES("neff-051");
    assert_int_equal(q[1].instance_count, 1);
    assert_string_equal(q[1].instances[0], "qAdd.i0");
    PROVES("neff-053");
    assert_int_equal(q[1].semaphore_count, 2);
    assert_int_equal(q[1].semaphores[0], 4);
    assert_int_equal(q[1].semaphores[1], 5);
    PROVES("neff-054");
    assert_int_equal(q[0].semaphore, 3);
    assert_int_equal(q[1].semaphore, NEFF_NONE);
    PROVES("neff-055");
    assert_false(q[0].fabric_alt);
    assert_true(q[2].fabric_alt);
    PROVES("neff-056");
}

static void check_vars(const struct neff *n, const struct neff_subgraph *sg)
{
    static const char *const proof[] = {"neff-057", "neff-058", NULL,       "neff-059", "neff-062",
                                        "neff-060", "neff-061", "neff-063", "neff-064"};
    static const enum neff_var_type types[] = {
        NEFF_VAR_STATE_BUFFER, NEFF_VAR_INPUT,   NEFF_VAR_INPUT,
        NEFF_VAR_OUTPUT,       NEFF_VAR_VIRTUAL, NEFF_VAR_FILE,
        NEFF_VAR_TMP_BUF,      NEFF_VAR_POINTER, NEFF_VAR_DGE_TABLE};
    static const uint64_t sizes[] = {25165824, 256, 256, 256, 256, 256, 512, 8, 16};
    const struct neff_var *v = sg->vars;

    assert_int_equal(sg->var_count, 9);
    PROVES("neff-048");
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(v[i].type, types[i]);
        assert_int_equal(v[i].var_id, i);
        assert_int_equal(v[i].size, sizes[i]);
        assert_int_equal(neff_subgraph_find(sg, v[i].name), i);
        if (proof[i] != NULL)
            PROVES(proof[i]);
    }
    PROVES("neff-065");
    PROVES("neff-066");
    assert_int_equal(neff_subgraph_find(sg, "nothing"), NEFF_NONE);
    assert_int_equal(v[3].alignment, 64);
    assert_int_equal(v[1].alignment, 0);
    PROVES("neff-067");
    assert_string_equal(n->members[v[5].file_member].name, "sg00/w.npy");
    assert_int_equal(v[5].file_off, 128);
    assert_int_equal(v[5].file_bytes, 256);
    PROVES("neff-069");
    assert_int_equal(v[4].scratch_off, 0);
    assert_int_equal(sg->scratch_bytes, 256);
    PROVES("neff-070");
    assert_int_equal(v[7].ref, 1);
    PROVES("neff-072");
    assert_int_equal(v[8].list_count, 2);
    assert_int_equal(v[8].list[0], 1);
    assert_int_equal(v[8].list[1], 2);
    PROVES("neff-073");
    PROVES("neff-074"); /* t0 has an empty `ops` */
    assert_int_equal(sg->input_count, 2);
    assert_int_equal(sg->inputs[1], 2);
    assert_int_equal(sg->output_count, 1);
    assert_int_equal(sg->constant_bytes, 256);
}

static void check_access(const struct neff_access *a, uint32_t var, unsigned ndim, int64_t step1,
                         uint64_t size0, uint64_t size1, enum dtype dtype)
{
    assert_int_equal(a->var, var);
    assert_int_equal(a->off, 0);
    assert_int_equal(a->ndim, ndim);
    assert_int_equal(a->steps[0], 1);
    assert_int_equal(a->sizes[0], size0);
    assert_int_equal(a->dtype, dtype);
    if (ndim > 1) {
        assert_int_equal(a->steps[1], step1);
        assert_int_equal(a->sizes[1], size1);
    }
}

static void check_groups(const struct neff_subgraph *sg)
{
    const struct neff_dma_group *g = sg->engines[NEFF_SP].groups;
    const struct neff_desc *d;

    assert_int_equal(sg->engines[NEFF_SP].group_count, 4);
    assert_int_equal(g[1].id, 1);
    PROVES("neff-075");
    assert_int_equal(g[0].queue, 0);
    assert_int_equal(g[0].instance, NEFF_NONE);
    PROVES("neff-076");
    assert_int_equal(g[1].queue, 1);
    assert_int_equal(g[1].instance, 0);
    PROVES("neff-077");
    assert_string_equal(g[1].function_start, "");
    PROVES("neff-078");
    assert_true(g[1].section_start_desc);
    assert_false(g[0].section_start_desc);
    PROVES("neff-079");
    assert_int_equal(g[1].event, 1);
    assert_int_equal(g[0].event, NEFF_NONE);
    PROVES("neff-080");
    assert_int_equal(g[0].semaphore, 3);
    assert_int_equal(g[1].semaphore, 4);
    assert_int_equal(g[2].semaphore, NEFF_NONE);
    assert_int_equal(g[3].desc_count, 5);
    PROVES("neff-083");

    d = g[0].descs;
    assert_int_equal(d->op, NEFF_OP_COPY);
    check_access(&d->from[0], 1, 1, 0, 256, 0, DT_UINT8);
    check_access(&d->to, 4, 1, 0, 256, 0, DT_UINT8);
    PROVES("neff-085");
    PROVES("neff-086");
    d = g[1].descs;
    assert_int_equal(d->op, NEFF_OP_ADD);
    assert_int_equal(d->from_count, 2);
    check_access(&d->from[0], 4, 2, 32, 32, 8, DT_FP32);
    check_access(&d->from[1], 2, 2, 32, 32, 8, DT_FP32);
    check_access(&d->to, 6, 2, 32, 32, 8, DT_FP32);
    PROVES("neff-087");
    PROVES("neff-088");
    assert_null(d->scale);

    d = g[3].descs;
    assert_int_equal(d[0].op, NEFF_OP_FMA);
    assert_true(d[0].scale[0] == 0.5f && d[0].scale[1] == 0.5f);
    PROVES("neff-092");
    PROVES("neff-093");
    assert_int_equal(d[1].op, NEFF_OP_MAX);
    assert_true(d[1].has_constant && d[1].constant == 0.0);
    assert_int_equal(d[1].to.off, 256);
    assert_int_equal(d[2].op, NEFF_OP_MIN);
    assert_true(d[2].has_constant && d[2].constant == 1.0);
    assert_int_equal(d[2].constant_dtype, DT_FP32);
    PROVES("neff-094");
    PROVES("neff-095");
    assert_int_equal(d[3].op, NEFF_OP_CAST);
    assert_int_equal(d[3].to.dtype, DT_BF16);
    assert_int_equal(d[4].op, NEFF_OP_TRANSPOSE);
    assert_int_equal(d[4].transpose_shape[0], 8);
    assert_int_equal(d[4].transpose_shape[3], 1);
    PROVES("neff-096");
    assert_int_equal(d[4].transpose_element_size, 4);
    PROVES("neff-097");
    assert_int_equal(d[4].num_tiling_dimensions, 2);
    assert_int_equal(d[3].num_tiling_dimensions, -1);
    PROVES("neff-090");
    PROVES("neff-084");
}

static void the_example_is_understood(void **state)
{
    static const char *const proof[NEFF_ENGINE_COUNT] = {"neff-043", "neff-042", "neff-041",
                                                         "neff-044", "neff-045"};

    (void)state;
    for (unsigned gzip = 0; gzip < 2; gzip++) {
        const struct neff_subgraph *sg;
        const struct neff_node *node;
        struct loaded l;
        struct maker m;

        maker_example(&m);
        m.gzip = gzip != 0;
        open_ok(&m, &l);
        assert_int_equal(l.neff->is_gzip, gzip);
        PROVES(gzip ? "neff-018" : "neff-019");
        assert_string_equal(l.neff->name, "example");
        assert_int_equal(l.neff->member_count, 17);
        assert_int_equal(l.neff->graph_count, 1);
        assert_string_equal(l.neff->kelf_version, "0.5");
        sg = &l.neff->graphs[0];
        assert_string_equal(sg->name, "sg00");
        assert_string_equal(sg->definition, DEF);
        PROVES("neff-029");
        assert_string_equal(l.neff->tool_version, "0.1.0");
        assert_string_equal(l.neff->arch, "trn2");
        PROVES("neff-033");
        PROVES("neff-034"); /* hlo_stats.json and metrics.json are there */
        PROVES("neff-039"); /* "name" and "version" of def.json too */
        PROVES("neff-040");
        assert_null(sg->isa_name);
        for (unsigned e = 0; e < NEFF_ENGINE_COUNT; e++) {
            assert_true(sg->engines[e].present);
            assert_int_equal(sg->engines[e].instr_bytes, 16);
            assert_memory_equal(sg->engines[e].instr, "0123456789abcdef", 16);
            PROVES(proof[e]);
        }
        assert_int_equal(l.neff->code_bytes, 80);
        check_queues(sg);
        check_vars(l.neff, sg);
        check_groups(sg);

        assert_int_equal(l.neff->node_count, 1);
        node = &l.neff->nodes[0];
        assert_int_equal(node->id, 1);
        assert_false(node->is_cpu);
        assert_int_equal(node->input_count, 2);
        assert_string_equal(node->inputs[1].name, "b");
        assert_string_equal(node->inputs[1].format, "NC");
        assert_int_equal(node->inputs[1].dtype, DT_FP32);
        assert_int_equal(node->outputs[0].ndim, 2);
        assert_int_equal(node->outputs[0].shape[1], 8);
        PROVES("neff-031");
        PROVES("neff-207");
        close_it(&l);
        maker_fini(&m);
    }
}

static void a_longer_header_is_skipped(void **state)
{
    struct loaded l;
    struct maker m;

    (void)state;
    maker_example(&m);
    maker_set_u64(&m, 8, 2048);
    open_ok(&m, &l);
    assert_ptr_equal(l.neff->payload, l.file + 2048);
    PROVES("neff-017");
    PROVES("neff-016");
    close_it(&l);
    maker_fini(&m);
}

/* Edits of the example that must load, and what is said about them ("" for nothing). */
static void what_the_page_allows_loads(void **state)
{
    static const struct {
        const char *id, *member, *from, *to, *said;
    } cases[] = {
        {"neff-049", DEF, "\"type\": \"in\"", "\"type\": \"embedding_update\"", ""},
        {"neff-049", DEF, "\"type\": \"in\"", "\"type\": \"dynamic\"", ""},
        {"neff-052", DEF, "\"num_queues\": 2", "\"pinned\": true",
         "dma_queue qIn: pinned has no effect\n"},
        {"neff-046", DEF, "\"version\": \"0.1\"", "\"host\": \"host.json\"", ""},
        {"neff-068", DEF, "\"alignment\": 64", "\"fabric_path\": \"alt\"", ""},
        {"neff-037", DEF, "\"alignment\": 64", "\"colour\": [1]",
         "sg00/def.json: unknown key var.colour ignored\n"},
        {"neff-036", DEF, "\"alignment\": 64", "\"#note\": {\"x\": [1]}, \"# note\": 2", ""},
        {"neff-158", DEF, "\"var_id\": 0, \"size\": 25165824", "\"var_id\": 0", ""},
        {"neff-158", DEF, "\"var_id\": 5, \"size\": 256", "\"var_id\": 5", ""},
        {"neff-162", DEF, "\"var_id\": 5, \"size\": 256", "\"var_id\": 5, \"size\": 300",
         "var w: file w.npy has 256 bytes, size is 300; the rest is zero\n"},
        {"neff-191", SP, "\"from\": \"tmp\", \"from_off\": 0", "\"from\": \"c\", \"from_off\": 0",
         ""},
        {"neff-032", "neff.json", "\"nodes\"", "\"#nodes\"", ""},
        {NULL, "neff.json",
         "\"name\": \"a\", \"size\": 256, \"shape\": [8, 8], \"dtype\": "
         "\"float32\"",
         "\"name\": \"a\", \"size\": 256, \"shape\": [8, 8], \"dtype\": \"int4\"",
         "tensor a: dtype int4 is unknown\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct loaded l;
        struct maker m;

        maker_example(&m);
        maker_edit(&m, cases[i].member, cases[i].from, cases[i].to);
        open_ok(&m, &l);
        assert_string_equal(l.said, cases[i].said);
        if (cases[i].id != NULL)
            PROVES(cases[i].id);
        if (i == 11) {
            assert_true(l.neff->nodes_derived);
            assert_string_equal(l.neff->nodes[0].inputs[0].name, "a");
            assert_int_equal(l.neff->nodes[0].inputs[0].shape[0], 256);
            assert_int_equal(l.neff->nodes[0].inputs[0].dtype, DT_INVALID);
        }
        close_it(&l);
        maker_fini(&m);
    }
}

static void every_dtype_has_its_name(void **state)
{
    static const struct {
        const char *id, *name;
        enum dtype dtype;
        unsigned size;
    } types[] = {
        {"neff-105", "float8e3", DT_FP8_E3, 1}, {"neff-106", "float8e4", DT_FP8_E4, 1},
        {"neff-107", "float8e5", DT_FP8_E5, 1}, {"neff-108", "float16", DT_FP16, 2},
        {"neff-109", "float32", DT_FP32, 4},    {"neff-110", "float32r", DT_FP32R, 4},
        {"neff-111", "bfloat16", DT_BF16, 2},   {"neff-112", "uint8", DT_UINT8, 1},
        {"neff-113", "uint16", DT_UINT16, 2},   {"neff-114", "uint32", DT_UINT32, 4},
        {"neff-115", "uint64", DT_UINT64, 8},   {"neff-116", "int8", DT_INT8, 1},
        {"neff-117", "int16", DT_INT16, 2},     {"neff-118", "int32", DT_INT32, 4},
        {"neff-119", "int64", DT_INT64, 8},
    };

    (void)state;
    for (size_t i = 0; i < 15; i++) {
        char from[200], to[200];
        const struct neff_desc *d;
        struct loaded l;
        struct maker m;

        /* 8 elements of the type cast to 8 of float32: the element count follows the type's size */
        snprintf(
            from, sizeof(from), "%s",
            "\"from_sizes\": [256], \"from_dtype\": \"float32\", \"to\": \"tmp\", \"to_off\": 0, "
            "\"to_steps\": [1], \"to_sizes\": [128], \"to_dtype\": \"bfloat16\"");
        snprintf(to, sizeof(to),
                 "\"from_sizes\": [%u], \"from_dtype\": \"%s\", \"to\": \"tmp\", \"to_off\": 0, "
                 "\"to_steps\": [1], \"to_sizes\": [32], \"to_dtype\": \"float32\"",
                 8 * types[i].size, types[i].name);
        maker_example(&m);
        maker_edit(&m, SP, from, to);
        open_ok(&m, &l);
        d = &l.neff->graphs[0].engines[NEFF_SP].groups[3].descs[3];
        assert_int_equal(d->from[0].dtype, types[i].dtype);
        assert_int_equal(dtype_size((enum dtype)d->from[0].dtype), types[i].size);
        PROVES(types[i].id);
        PROVES("neff-089");
        close_it(&l);
        maker_fini(&m);
    }
}

/* Negative steps and pattern bounds against a count of every byte. */
static void bounds_agree_with_enumeration(void **state)
{
    unsigned negative = 0;

    (void)state;
    srand((unsigned)seed_take(20261123));
    for (unsigned round = 0; round < 500; round++) {
        unsigned ndim = 1 + (unsigned)rand() % 4;
        long long steps[4], sizes[4], off = rand() % 300, lo = 1 << 30, hi = -(1 << 30), total = 1;
        char from[300], to[600], st[100] = "", sz[100] = "", want[200];
        struct loaded l;
        struct maker m;
        struct err err;
        NRT_STATUS status;

        for (unsigned i = 0; i < ndim; i++) {
            steps[i] = rand() % 80 - 40;
            sizes[i] = 1 + rand() % 4;
            total *= sizes[i];
            snprintf(st + strlen(st), sizeof(st) - strlen(st), "%s%lld", i ? ", " : "", steps[i]);
            snprintf(sz + strlen(sz), sizeof(sz) - strlen(sz), "%s%lld", i ? ", " : "", sizes[i]);
        }
        for (long long k = 0; k < total; k++) { /* every byte the pattern touches */
            long long at = off, r = k;

            for (unsigned i = 0; i < ndim; i++) {
                at += r % sizes[i] * steps[i];
                r /= sizes[i];
            }
            lo = at < lo ? at : lo;
            hi = at + 1 > hi ? at + 1 : hi;
        }
        snprintf(from, sizeof(from), "%s",
                 "\"from\": \"a\", \"from_off\": 0, \"from_steps\": [1], \"from_sizes\": [256], "
                 "\"to\": \"t0\", \"to_off\": 0, \"to_steps\": [1], \"to_sizes\": [256]}]}, "
                 "{\"id\": 1");
        snprintf(to, sizeof(to),
                 "\"from\": \"a\", \"from_off\": %lld, \"from_steps\": [%s], \"from_sizes\": [%s], "
                 "\"to\": \"t0\", \"to_off\": 0, \"to_steps\": [1], \"to_sizes\": [%lld]}]}, "
                 "{\"id\": 1",
                 off, st, sz, total);
        maker_example(&m);
        maker_edit(&m, SP, from, to);
        status = open_with(&m, (struct neff_options){.lenient = false}, &l, &err);
        if (lo >= 0 && hi <= 256) {
            assert_int_equal(status, NRT_SUCCESS);
            negative += steps[0] < 0;
        } else {
            snprintf(want, sizeof(want),
                     "sg00/SP.json: dma[0].desc[0]: access [%lld,%lld) outside a of 256 bytes", lo,
                     hi);
            assert_string_equal(err.text, want);
        }
        close_it(&l);
        maker_fini(&m);
    }
    assert_true(negative > 10);
    PROVES("neff-120");
    PROVES("neff-182");
}

static void areas_lie_one_after_the_other(void **state)
{
    const struct neff_subgraph *sg;
    struct loaded l;
    struct maker m;

    (void)state;
    maker_example(&m);
    maker_edit(&m, DEF, "\"tmp\": {",
               "\"v1\": {\"type\": \"virtual\", \"var_id\": 20, \"size\": 10, "
               "\"backing_variable_off\": 5, \"backing_buf\": \"z\"}, "
               "\"v2\": {\"type\": \"virtual\", \"var_id\": 21, \"size\": 100, "
               "\"backing_variable_off\": 0, \"backing_buf\": \"b\"}, "
               "\"v3\": {\"type\": \"virtual\", \"var_id\": 22, \"size\": 1, "
               "\"backing_variable_off\": 299, \"backing_buf\": \"b\"}, "
               "\"tmp\": {");
    open_ok(&m, &l);
    sg = &l.neff->graphs[0];
    /* unnamed area: 256 bytes; "b": starts at 256, 300 bytes; "z": starts at 576, 15 bytes */
    assert_int_equal(sg->vars[neff_subgraph_find(sg, "t0")].scratch_off, 0);
    assert_int_equal(sg->vars[neff_subgraph_find(sg, "v2")].scratch_off, 256);
    assert_int_equal(sg->vars[neff_subgraph_find(sg, "v3")].scratch_off, 256 + 299);
    assert_int_equal(sg->vars[neff_subgraph_find(sg, "v1")].scratch_off, 576 + 5);
    assert_int_equal(sg->scratch_bytes, 576 + 15);
    PROVES("neff-071");
    close_it(&l);
    maker_fini(&m);
}

static void extras_are_listed(void **state)
{
    const struct neff_subgraph *sg;
    struct loaded l;
    struct maker m;

    (void)state;
    maker_example(&m);
    maker_text(&m, "sg00/Activation.json",
               "{\"dma\": [], \"activation_function_sets\": [\"gelu_and_others\", \"x\"]}");
    maker_text(&m, "sg00/DVE.json",
               "{\"dma\": [], \"dve_tables\": [{\"control_table\": \"ctl.bin\", "
               "\"datapath_table\": \"dp.bin\", \"opcode_table\": \"op.bin\"}]}");
    maker_text(&m, "sg00/ctl.bin", "c");
    maker_text(&m, "sg00/dp.bin", "dd");
    maker_text(&m, "sg00/op.bin", "ooo");
    maker_text(
        &m, "debug_info/sg00-sp.json",
        "[{\"file\": \"a.nasm\", \"line\": 12, \"label\": \"loop\", \"op\": \"dot.7\"}, {}]");
    maker_text(&m, "debug_info/sg00-pe.json", "[{\"line\": \"x\"}]");
    open_ok(&m, &l);
    sg = &l.neff->graphs[0];
    assert_int_equal(sg->engines[NEFF_ACT].act_set_count, 2);
    assert_string_equal(sg->engines[NEFF_ACT].act_sets[0], "gelu_and_others");
    PROVES("neff-121");
    assert_int_equal(sg->engines[NEFF_DVE].dve_table_count, 1);
    assert_int_equal(l.neff->members[sg->engines[NEFF_DVE].dve_tables[0].datapath_member].size, 2);
    PROVES("neff-122");
    assert_int_equal(l.neff->code_bytes, 80 + 6);
    assert_int_equal(sg->engines[NEFF_SP].debug_count, 2);
    assert_string_equal(sg->engines[NEFF_SP].debug[0].op, "dot.7");
    assert_int_equal(sg->engines[NEFF_SP].debug[0].line, 12);
    assert_int_equal(sg->engines[NEFF_PE].debug_count, 0);
    assert_string_equal(l.said, "debug information ignored: debug_info/sg00-pe.json: [0].line must "
                                "be an integer\n");
    PROVES("neff-035");
    close_it(&l);
    maker_fini(&m);
}

static void constants_are_npy_or_raw(void **state)
{
    static const char *const headers[] = {
        "{'descr': '<f4', 'fortran_order': True, 'shape': (8, 8), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (65,), }", /* longer than the member */
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "garbage",
    };
    struct loaded l;
    struct maker m;
    struct err err;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (unsigned gzip = 0; gzip < 2; gzip++) {
            maker_example(&m);
            m.gzip = gzip != 0;
            maker_npy(&m, "sg00/w.npy", 64, headers[i]);
            assert_int_equal(open_with(&m, (struct neff_options){.lenient = false}, &l, &err),
                             NRT_INVALID);
            assert_string_equal(err.text, "var w: invalid npy file w.npy");
            close_it(&l);
            maker_fini(&m);
        }
    }
    PROVES("neff-163");
    PROVES("neff-124");

    maker_example(&m);
    maker_edit(&m, DEF, "\"file_name\": \"w.npy\"", "\"file_name\": \"w.raw\"");
    maker_put(&m, "sg00/w.raw", "0123", 4);
    open_ok(&m, &l);
    assert_int_equal(l.neff->graphs[0].vars[5].file_off, 0);
    assert_int_equal(l.neff->graphs[0].vars[5].file_bytes, 4);
    PROVES("neff-123");
    close_it(&l);
    maker_fini(&m);
}

static void lenient_reading_fills_patterns_in(void **state)
{
    const struct neff_desc *d;
    struct loaded l;
    struct maker m;
    struct err err;

    (void)state;
    maker_example(&m);
    maker_text(&m, SP,
               "{\"dma\": [{\"id\": 0, \"queue\": \"qIn\", \"desc\": "
               "{\"from\": \"a\", \"to\": \"t0\"}}]}");
    assert_int_equal(open_with(&m, (struct neff_options){.lenient = false}, &l, &err), NRT_INVALID);
    assert_string_equal(err.text, "sg00/SP.json: dma[0].desc[0].from_off is missing");
    close_it(&l);
    assert_int_equal(open_with(&m, (struct neff_options){.lenient = true}, &l, &err), NRT_SUCCESS);
    d = l.neff->graphs[0].engines[NEFF_SP].groups[0].descs;
    check_access(&d->from[0], 1, 1, 0, 256, 0, DT_UINT8);
    check_access(&d->to, 4, 1, 0, 256, 0, DT_UINT8);
    PROVES("neff-021");
    close_it(&l);
    maker_fini(&m);
}

static void a_cpu_node_has_its_library_in_memory(void **state)
{
    const struct neff_node *node;
    struct loaded l;
    struct maker m;

    (void)state;
    for (unsigned gzip = 0; gzip < 2; gzip++) {
        maker_example(&m);
        m.gzip = gzip != 0;
        maker_put(&m, "lib/ops.so",
                  "\x7f"
                  "ELF...",
                  7);
        maker_edit(&m, "neff.json", "{\"nodes\": [",
                   "{\"nodes\": [{\"executor\": \"CPU\", \"name\": \"pre\", \"library\": "
                   "\"lib/ops.so\", \"function\": \"f\", \"inputs\": [{\"name\": \"x\", \"size\": "
                   "4, \"shape\": [], \"dtype\": \"float32\"}], \"outputs\": []}, ");
        open_ok(&m, &l);
        assert_int_equal(l.neff->node_count, 2);
        node = &l.neff->nodes[0];
        assert_true(node->is_cpu);
        assert_string_equal(node->function, "f");
        assert_int_equal(node->inputs[0].ndim, 1); /* rank 0 is reported as [1] */
        assert_int_equal(node->inputs[0].shape[0], 1);
        assert_memory_equal(l.neff->members[node->library_member].data,
                            "\x7f"
                            "ELF...",
                            7);
        close_it(&l);
        maker_fini(&m);
    }
}

static void an_empty_model_warns(void **state)
{
    struct loaded l;
    struct maker m;

    (void)state;
    maker_small(&m);
    open_ok(&m, &l);
    assert_string_equal(l.said, "the NEFF has no input and no output\n");
    PROVES("neff-167");
    assert_true(l.neff->nodes_derived);
    PROVES("neff-032"); /* neff.json absent */
    close_it(&l);
    maker_fini(&m);
}

static void subgraphs_agree_on_tensors(void **state)
{
    struct loaded l;
    struct maker m;
    struct err err;

    (void)state;
    maker_two_cores(&m);
    open_ok(&m, &l);
    assert_int_equal(l.neff->graph_count, 2);
    assert_string_equal(l.neff->graphs[1].engines[NEFF_PE].json_member, "sg01/PE.json");
    PROVES("neff-038");
    close_it(&l);
    maker_edit(&m, "sg01/def.json", "\"b\": {\"type\": \"input\", \"var_id\": 2, \"size\": 256",
               "\"b\": {\"type\": \"input\", \"var_id\": 2, \"size\": 512");
    assert_int_equal(open_with(&m, (struct neff_options){.lenient = false}, &l, &err), NRT_INVALID);
    assert_string_equal(err.text, "tensor b: size differs between subgraphs");
    PROVES("neff-168");
    close_it(&l);
    maker_fini(&m);
}

static void function_names_are_checked_in_our_encoding(void **state)
{
    struct loaded l;
    struct maker m;
    struct err err;

    (void)state;
    maker_example(&m);
    maker_edit(&m, SP, "\"function_start\": \"\"", "\"function_start\": \"f\"");
    open_ok(&m, &l); /* another encoding: its functions are unknown here */
    close_it(&l);
    maker_edit(&m, DEF, "\"version\": \"0.1\"", "\"isa\": {\"name\": \"opennrt\", \"version\": 1}");
    assert_int_equal(open_with(&m, (struct neff_options){.lenient = false}, &l, &err), NRT_INVALID);
    assert_string_equal(err.text, "sg00/SP.json: dma[1]: unknown function f");
    PROVES("neff-172");
    close_it(&l);
    maker_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_fields_are_at_their_offsets),
        cmocka_unit_test(the_example_is_understood),
        cmocka_unit_test(a_longer_header_is_skipped),
        cmocka_unit_test(what_the_page_allows_loads),
        cmocka_unit_test(every_dtype_has_its_name),
        cmocka_unit_test(bounds_agree_with_enumeration),
        cmocka_unit_test(areas_lie_one_after_the_other),
        cmocka_unit_test(extras_are_listed),
        cmocka_unit_test(constants_are_npy_or_raw),
        cmocka_unit_test(lenient_reading_fills_patterns_in),
        cmocka_unit_test(a_cpu_node_has_its_library_in_memory),
        cmocka_unit_test(an_empty_model_warns),
        cmocka_unit_test(subgraphs_agree_on_tensors),
        cmocka_unit_test(function_names_are_checked_in_our_encoding),
    };

    return cmocka_run_group_tests_name("neff-example", tests, NULL, NULL);
}
