/* SPDX-License-Identifier: Apache-2.0 */
/* The builder: what is declared is what the reader finds, and wrong declarations are refused. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fault.h"
#include "neff/build.h"
#include "neff/neff.h"
#include "proves.h"
#include "runner.h"

static const uint64_t shape_8x8[] = {8, 8};

/* Two engines, every kind of variable, every op. */
static struct neff_build *make(void)
{
    static const uint32_t set[] = {4, 5};
    static const char *const instances[] = {"q1.i0", "q1.i1"};
    static const float weights[64] = {1.5f, -2.0f};
    struct neff_build *b = neff_build_create("net \"quoted\"");
    struct neff_build_queue q0 = {.name = "q0",
                                  .type = "in",
                                  .owner = "sp",
                                  .num_queues = 2,
                                  .has_semaphore = true,
                                  .semaphore = 3};
    struct neff_build_queue q1 = {.name = "q1",
                                  .type = "data",
                                  .semaphore_set = set,
                                  .semaphore_set_count = 2,
                                  .instances = instances,
                                  .instance_count = 2,
                                  .fabric_alt = true};
    struct neff_build_group g0 = {.id = 7, .has_semaphore = true, .semaphore = 0};
    struct neff_build_group g1 = {.id = 8,
                                  .instance_name = "q1.i1",
                                  .has_event = true,
                                  .event = 0,
                                  .section_start_desc = true,
                                  .function_start = ""};
    struct neff_build_side from[2], to;
    struct neff_build_desc d;
    float scales[] = {0.1f, -2.5f};
    int sb, a, w, c, t, table[2], group;

    sb = neff_build_state_buffer(b, 0, "SB");
    a = neff_build_input(b, 0, "a", "float32", 2, shape_8x8);
    w = neff_build_constant(b, 0, "w/1", "float32", 2, shape_8x8, weights);
    c = neff_build_output(b, 0, "c", "bfloat16", 2, shape_8x8);
    t = neff_build_virtual(b, 0, "t", 256, "zone", 64);
    table[0] = a;
    table[1] = neff_build_tmp(b, 0, "tmp", 300, 64);
    assert_int_equal(neff_build_pointer(b, 0, "p", w), 6);
    assert_int_equal(neff_build_dge_table(b, 0, "tab", table, 2), 7);
    assert_int_equal(neff_build_constant_raw(b, 0, "raw", 10, "abc", 3), 8);
    assert_int_equal(neff_build_queue(b, 0, &q0), 0);
    assert_int_equal(neff_build_queue(b, 0, &q1), 1);
    group = neff_build_group(b, 0, NEFF_SP, &g0);
    assert_int_equal(group, 0);
    assert_int_equal(neff_build_copy(b, 0, NEFF_SP, group, a, 0, t, 0, 256), 0);
    group = neff_build_group(b, 0, NEFF_SP, &g1);

    from[0] = (struct neff_build_side){
        .var = a, .ndim = 2, .steps = {1, -32}, .sizes = {32, 8}, .off = 224, .dtype = "float32"};
    from[1] = from[0];
    from[1].var = w;
    to = (struct neff_build_side){
        .var = c, .ndim = 1, .steps = {1}, .sizes = {128}, .dtype = "bfloat16"};
    d = (struct neff_build_desc){
        .op = "fma", .from = from, .from_count = 2, .to = to, .scales = scales};
    assert_int_equal(neff_build_desc(b, 0, NEFF_SP, group, &d), 0);
    d = (struct neff_build_desc){.op = "min",
                                 .from = from,
                                 .from_count = 1,
                                 .to = to,
                                 .constant_dtype = "float32",
                                 .constant = 0.1f};
    assert_int_equal(neff_build_desc(b, 0, NEFF_SP, group, &d), 0);
    to = (struct neff_build_side){.var = sb,
                                  .off = 262144,
                                  .ndim = 2,
                                  .steps = {1, 262144},
                                  .sizes = {32, 8},
                                  .dtype = "float32"};
    d = (struct neff_build_desc){.op = "transpose",
                                 .from = from,
                                 .from_count = 1,
                                 .to = to,
                                 .has_transpose_shape = true,
                                 .transpose_shape = {8, 8, 1, 1},
                                 .transpose_element_size = 4};
    assert_int_equal(neff_build_desc(b, 0, NEFF_SP, group, &d), 0);
    assert_int_equal(neff_build_program(b, 0, NEFF_SP, "program", 7), 0);
    assert_int_equal(neff_build_program(b, 0, NEFF_ACT, "", 0), 0);
    assert_int_equal(neff_build_act_set(b, 0, "gelu_and_others"), 0);
    assert_int_equal(neff_build_program(b, 0, NEFF_DVE, "dve", 3), 0);
    assert_int_equal(neff_build_dve_table(b, 0, "1", 1, "22", 2, "333", 3), 0);
    assert_int_equal(neff_build_debug(b, 0, NEFF_SP, "x.nasm", 12, "loop", NULL), 0);
    assert_int_equal(neff_build_debug(b, 0, NEFF_SP, NULL, 0, NULL, NULL), 0);
    assert_int_equal(neff_build_member(b, "hlo_stats.json", "{}", 2), 0);
    assert_int_equal(neff_build_member(b, "gr\xc3\xbc\xc3\x9f", "x", 1), 0);
    assert_string_equal(neff_build_error(b), "");
    return b;
}

static void check(const struct neff *n)
{
    const struct neff_subgraph *sg = &n->graphs[0];
    const struct neff_engine_code *sp = &sg->engines[NEFF_SP];
    const struct neff_desc *d;
    const struct neff_var *v;
    uint8_t bytes[256];
    struct err err = {0};

    assert_string_equal(n->name, "net \"quoted\"");
    assert_int_not_equal(neff_member_find(n, "gr\xc3\xbc\xc3\x9f"), NEFF_NONE);
    assert_int_equal(n->header.lnc_size, 1);
    assert_int_equal(n->header.num_tpb, 1);
    assert_string_equal(sg->isa_name, "opennrt");
    assert_int_equal(sg->isa_version, 1);
    assert_int_equal(sg->var_count, 9);
    assert_int_equal(sg->scratch_bytes, 64 + 256);
    assert_int_equal(sg->constant_bytes, 256 + 10);
    v = &sg->vars[2];
    assert_string_equal(v->name, "w/1");
    assert_int_equal(v->type, NEFF_VAR_FILE);
    assert_string_equal(n->members[v->file_member].name, "sg00/w_1.npy");
    assert_int_equal(neff_member_read(n, v->file_member, v->file_off, bytes, 256, &err),
                     NRT_SUCCESS);
    assert_memory_equal(bytes, ((const float[]){1.5f, -2.0f}), 8);
    assert_int_equal(sg->vars[6].ref, 2);
    assert_int_equal(sg->vars[7].list[1], 5);
    assert_int_equal(sg->vars[8].size, 10);
    assert_int_equal(sg->vars[8].file_bytes, 3);
    assert_int_equal(sg->queues[0].num_queues, 2);
    assert_int_equal(sg->queues[1].semaphores[1], 5);
    assert_true(sg->queues[1].fabric_alt);

    assert_int_equal(sp->group_count, 2);
    assert_int_equal(sp->groups[0].id, 7);
    assert_int_equal(sp->groups[0].semaphore, 0);
    assert_int_equal(sp->groups[0].event, NEFF_NONE);
    assert_int_equal(sp->groups[1].queue, 1);
    assert_int_equal(sp->groups[1].instance, 1);
    assert_int_equal(sp->groups[1].event, 0);
    assert_int_equal(sp->groups[1].semaphore, NEFF_NONE);
    d = sp->groups[1].descs;
    assert_int_equal(d[0].op, NEFF_OP_FMA);
    assert_int_equal(d[0].from_count, 2);
    assert_true(d[0].scale[0] == 0.1f && d[0].scale[1] == -2.5f);
    assert_int_equal(d[0].from[1].var, 2);
    assert_int_equal(d[0].from[0].steps[1], -32);
    assert_int_equal(d[0].from[0].off, 224);
    assert_int_equal(d[0].to.dtype, DT_BF16);
    assert_int_equal(d[1].op, NEFF_OP_MIN);
    assert_true(d[1].has_constant && d[1].constant == (double)0.1f);
    assert_int_equal(d[2].op, NEFF_OP_TRANSPOSE);
    assert_int_equal(d[2].transpose_shape[1], 8);
    assert_int_equal(d[2].to.steps[1], 262144);
    assert_int_equal(sp->instr_bytes, 7);
    assert_memory_equal(sp->instr, "program", 7);
    assert_int_equal(sp->debug_count, 2);
    assert_int_equal(sp->debug[0].line, 12);
    assert_string_equal(sp->debug[0].label, "loop");
    assert_null(sp->debug[1].file);
    assert_string_equal(sg->engines[NEFF_ACT].act_sets[0], "gelu_and_others");
    assert_int_equal(n->members[sg->engines[NEFF_DVE].dve_tables[0].opcode_member].size, 3);
    assert_int_equal(n->code_bytes, 7 + 3 + 6);

    assert_int_equal(n->node_count, 1);
    assert_int_equal(n->nodes[0].input_count, 1);
    assert_int_equal(n->nodes[0].inputs[0].dtype, DT_FP32);
    assert_int_equal(n->nodes[0].outputs[0].ndim, 2);
    assert_int_equal(n->nodes[0].outputs[0].size, 128);
}

static void what_is_declared_is_read(void **state)
{
    struct neff_build *b = make();

    (void)state;
    for (unsigned plain = 0; plain < 2; plain++) {
        for (unsigned pkg = 1; pkg <= 2; pkg++) {
            struct neff_build_options o = {.plain_tar = plain != 0,
                                           .pkg_version = pkg,
                                           .has_uuid = true,
                                           .uuid = {1, 2, 3},
                                           .arch = "trn2"};
            struct neff_options strict = {.validate_hash = true};
            struct neff *n;
            struct err err = {0};
            void *bytes, *again;
            size_t size, size2;

            assert_int_equal(neff_build_write_memory(b, &o, &bytes, &size), NRT_SUCCESS);
            assert_int_equal(neff_create(bytes, size, &strict, &n, &err), NRT_SUCCESS);
            assert_int_equal(n->is_gzip, !plain);
            assert_string_equal(n->arch, "trn2");
            check(n);
            neff_destroy(n);
            assert_int_equal(neff_build_write_memory(b, &o, &again, &size2), NRT_SUCCESS);
            assert_int_equal(size, size2);
            assert_memory_equal(bytes, again, size); /* a given uuid: equal bytes */
            neff_build_free(again);
            neff_build_free(bytes);
        }
    }
    neff_build_destroy(b);
}

/* Whatever the header's field: magic and digest of the seal, reserved bytes and name too. */
static void every_flipped_bit_of_a_written_file_is_refused(void **state)
{
    struct neff_options check = {.validate_hash = true};
    struct neff_build_options o = {.pkg_version = 2};
    struct neff_build *b = make();
    uint8_t *bytes;
    void *written;
    size_t size;

    (void)state;
    assert_int_equal(neff_build_write_memory(b, &o, &written, &size), NRT_SUCCESS);
    neff_build_destroy(b);
    bytes = written;
    for (size_t at = 0; at < size; at++) {
        uint8_t bit = (uint8_t)(1u << at % 8);
        struct neff *n = NULL;
        struct err err = {0};
        NRT_STATUS st;

        bytes[at] ^= bit;
        st = neff_create(bytes, size, &check, &n, &err);
        if (st == NRT_SUCCESS)
            print_error("flipped bit %u of byte %zu was not noticed\n", (unsigned)(at % 8), at);
        assert_int_not_equal(st, NRT_SUCCESS);
        bytes[at] ^= bit;
    }
    neff_build_free(written);
}

static void a_file_is_replaced_only_on_success(void **state)
{
    struct neff_build *b = make();
    char dir[] = "/tmp/neff-build-XXXXXX", path[64], npy[64], text[64] = "";
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/x.neff", dir);
    snprintf(npy, sizeof(npy), "%s/k.raw", dir);
    f = fopen(path, "w");
    fputs("old", f);
    fclose(f);
    f = fopen(npy, "w");
    fputs("constant", f);
    fclose(f);
    assert_int_equal(neff_build_constant_file(b, 0, "k", npy), 9);
    assert_int_equal(unlink(npy), 0);
    assert_int_not_equal(neff_build_write_file(b, NULL, path), NRT_SUCCESS);
    assert_non_null(strstr(neff_build_error(b), "k.raw"));
    f = fopen(path, "r");
    assert_non_null(fgets(text, sizeof(text), f));
    fclose(f);
    assert_string_equal(text, "old");
    neff_build_destroy(b);

    b = make();
    f = fopen(npy, "w");
    fputs("constant", f);
    fclose(f);
    assert_int_equal(neff_build_constant_file(b, 0, "k", npy), 9);
    assert_int_equal(neff_build_write_file(b, NULL, path), NRT_SUCCESS);
    f = fopen(path, "r");
    assert_int_equal(fgetc(f), 2);
    fclose(f);
    neff_build_destroy(b);
    assert_int_equal(unlink(npy), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* nothing else was left */
}

/* A rename would put a file in the place of /dev/full. */
static void what_is_no_file_is_not_replaced(void **state)
{
    struct neff_build *b = make();
    char dir[] = "/tmp/neff-build-XXXXXX", path[64];
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/pipe", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(neff_build_write_file(b, NULL, path), NRT_INVALID);
    assert_non_null(strstr(neff_build_error(b), "pipe is not a regular file"));
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    neff_build_destroy(b);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void two_subgraphs_make_an_lnc_2_neff(void **state)
{
    struct neff_build *b = neff_build_create("two");
    uint32_t remote[] = {9};
    struct neff_build_queue q = {.name = "q", .type = "data"};
    struct neff_build_group g = {.id = 0, .remote_semaphores = remote, .remote_semaphore_count = 1};
    struct neff *n;
    struct err err = {0};
    void *bytes;
    size_t size;

    (void)state;
    assert_int_equal(neff_build_subgraph(b), 1);
    for (int k = 0; k < 2; k++) {
        int a = neff_build_input(b, k, "a", "uint8", 1, (const uint64_t[]){64});
        int c = neff_build_output(b, k, k == 0 ? "c0" : "c1", "uint8", 1, (const uint64_t[]){64});

        assert_int_equal(neff_build_queue(b, k, &q), 0);
        assert_int_equal(neff_build_group(b, k, NEFF_SP, &g), 0);
        assert_int_equal(neff_build_copy(b, k, NEFF_SP, 0, a, 0, c, 0, 64), 0);
        assert_int_equal(neff_build_program(b, k, NEFF_SP, "x", 1), 0);
    }
    assert_int_equal(neff_build_write_memory(b, NULL, &bytes, &size), NRT_SUCCESS);
    assert_int_equal(neff_create(bytes, size, NULL, &n, &err), NRT_SUCCESS);
    assert_int_equal(n->graph_count, 2);
    assert_int_equal(n->header.lnc_size, 2);
    assert_int_equal(n->header.num_tpb, 2);
    assert_int_equal(n->nodes[0].input_count, 1);
    assert_int_equal(n->nodes[0].output_count, 2);
    assert_int_equal(n->graphs[1].engines[NEFF_SP].groups[0].remote_semaphores[0], 9);
    PROVES("neff-038");
    neff_destroy(n);
    neff_build_free(bytes);
    assert_int_equal(neff_build_subgraph(b), -1);
    neff_build_destroy(b);
}

/* Each wrong declaration, alone on a fresh builder. */
static void wrong_declarations_are_refused(void **state)
{
    static const struct {
        int what;
        const char *text;
    } cases[] = {
        {0, "there is no subgraph 1"},
        {1, "variable a: unknown dtype float33"},
        {2, "variable a is declared twice"},
        {3, "there is no variable 5"},
        {4, "there is no queue 2"},
        {5, "engine sp has no program"},
        {6, "variable a: the shape is too large"},
        {7, "Invalid NEFF member name ../x"},
        {8, "sg00/SP.json: dma[0].desc[0]: access [0,65) outside a of 64 bytes"},
        {9, "sg00/SP.json: dma[0]: no descriptors"},
        {10, "a variable needs a name that does not begin with #"},
        {11, "an access pattern has 1 to 4 dimensions, not 0"},
        {12, "a scale or constant of a descriptor is not finite"},
        {13, "gzip level 12 is not 1 to 9"},
        {14, "Unsupported NEFF package version 9"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct neff_build *b = neff_build_create("wrong");
        struct neff_build_queue q = {.name = "q", .type = "data"};
        struct neff_build_group g = {.id = 0};
        struct neff_build_side side = {.var = 0, .ndim = 1, .steps = {1}, .sizes = {64}};
        struct neff_build_desc d = {.op = "fma", .from = &side, .from_count = 1, .to = side};
        struct neff_build_options o = {.level = 0};
        uint64_t shape[] = {64, 1};
        float nan_scale[] = {__builtin_nanf("")};
        void *bytes = NULL;
        size_t size;

        neff_build_input(b, 0, "a", "uint8", 1, shape);
        neff_build_queue(b, 0, &q);
        switch (cases[i].what) {
        case 0:
            neff_build_state_buffer(b, 1, "SB");
            break;
        case 1:
            neff_build_input(b, 0, "a", "float33", 1, shape);
            break;
        case 2:
            neff_build_output(b, 0, "a", "uint8", 1, shape);
            break;
        case 3:
            neff_build_pointer(b, 0, "p", 5);
            break;
        case 4:
            g.queue = 2;
            neff_build_group(b, 0, NEFF_SP, &g);
            break;
        case 5:
            neff_build_group(b, 0, NEFF_SP, &g);
            neff_build_copy(b, 0, NEFF_SP, 0, 0, 0, 0, 0, 64);
            break;
        case 6:
            shape[0] = shape[1] = UINT64_MAX / 2;
            neff_build_input(b, 0, "a", "uint8", 2, shape);
            break;
        case 7:
            neff_build_member(b, "../x", "", 0);
            break;
        case 8:
            neff_build_program(b, 0, NEFF_SP, "x", 1);
            neff_build_group(b, 0, NEFF_SP, &g);
            neff_build_copy(b, 0, NEFF_SP, 0, 0, 0, 0, 0, 65);
            break;
        case 9:
            neff_build_program(b, 0, NEFF_SP, "x", 1);
            neff_build_group(b, 0, NEFF_SP, &g);
            break;
        case 10:
            neff_build_tmp(b, 0, "#x", 1, 0);
            break;
        case 11:
            neff_build_group(b, 0, NEFF_SP, &g);
            side.ndim = 0;
            neff_build_desc(b, 0, NEFF_SP, 0, &d);
            break;
        case 12:
            neff_build_group(b, 0, NEFF_SP, &g);
            d.scales = nan_scale;
            neff_build_desc(b, 0, NEFF_SP, 0, &d);
            break;
        case 13:
            o.level = 12;
            break;
        case 14:
            o.pkg_version = 9;
            break;
        default:
            break;
        }
        assert_int_not_equal(neff_build_write_memory(b, &o, &bytes, &size), NRT_SUCCESS);
        assert_null(bytes);
        assert_string_equal(neff_build_error(b), cases[i].text);
        neff_build_destroy(b);
    }
}

/* The longest name and build version are kept whole, a byte more is refused. */
static void texts_fill_their_fields(void **state)
{
    char name[257], version[129];

    (void)state;
    memset(name, 'n', sizeof(name));
    memset(version, 'v', sizeof(version));
    for (int more = 0; more < 3; more++) {
        struct neff_build_options o = {.build_version = version};
        struct neff_build *b;
        void *bytes = NULL;
        size_t size;

        name[255 + (more == 1)] = version[127 + (more == 2)] = '\0';
        b = neff_build_create(name);
        neff_build_program(b, 0, NEFF_SP, "x", 1);
        if (more == 0) {
            struct err err = {0};
            struct neff *n;

            assert_int_equal(neff_build_write_memory(b, &o, &bytes, &size), NRT_SUCCESS);
            assert_int_equal(neff_create(bytes, size, NULL, &n, &err), NRT_SUCCESS);
            assert_string_equal(n->header.name, name);
            assert_string_equal(n->build_version, version);
            neff_destroy(n);
            neff_build_free(bytes);
        } else {
            assert_int_equal(neff_build_write_memory(b, &o, &bytes, &size), NRT_INVALID);
            assert_null(bytes);
            assert_string_equal(neff_build_error(b),
                                more == 1 ? "the network's name has 256 bytes, at most 255 fit"
                                          : "the build version has 128 bytes, at most 127 fit");
        }
        neff_build_destroy(b);
        memset(name, 'n', sizeof(name));
        memset(version, 'v', sizeof(version));
    }
}

static void numbers_do_not_follow_the_locale(void **state)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE"};
    struct neff_build *b;
    void *bytes;
    size_t size;

    (void)state;
    for (size_t i = 0; i < 3 && setlocale(LC_ALL, names[i]) == NULL; i++)
        continue; /* where none is installed the C locale is used: nothing is shown */
    b = make();
    assert_int_equal(neff_build_write_memory(b, NULL, &bytes, &size), NRT_SUCCESS);
    neff_build_free(bytes);
    neff_build_destroy(b);
    setlocale(LC_ALL, "C");
}

/* Zeros pack 1,030 to one: the writer falls back to a level that the reader accepts. */
static void zeros_can_be_written(void **state)
{
    struct neff_build *b = neff_build_create("zeros");
    size_t n = 64u << 20, size;
    void *zeros = calloc(1, n), *bytes;

    (void)state;
    neff_build_program(b, 0, NEFF_SP, "x", 1);
    neff_build_constant_raw(b, 0, "z", n, zeros, n);
    assert_int_equal(neff_build_write_memory(b, NULL, &bytes, &size), NRT_SUCCESS);
    assert_true(size < n / 100);
    neff_build_free(bytes);
    neff_build_destroy(b);
    free(zeros);
}

/* Every allocation of building, writing and reading fails once: a status, no leak, no crash. */
static void failed_allocations_are_reported(void **state)
{
    uint64_t total;

    (void)state;
    for (uint64_t nth = 0;; nth++) {
        struct neff_build *b;
        uint64_t shape[] = {16};
        void *bytes = NULL;
        size_t size;
        NRT_STATUS st;

        if (nth == 0)
            fault_count_start();
        else
            fault_arm(FAULT_ALLOC, nth);
        b = neff_build_create("faults");
        neff_build_input(b, 0, "a", "uint8", 1, shape);
        neff_build_constant(b, 0, "w", "uint8", 1, shape, "0123456789abcdef");
        neff_build_program(b, 0, NEFF_SP, "x", 1);
        st = neff_build_write_memory(b, NULL, &bytes, &size);
        if (nth == 0) {
            assert_int_equal(st, NRT_SUCCESS);
            total = fault_count(FAULT_ALLOC);
            assert_true(total > 20);
        } else {
            assert_int_equal(st, NRT_RESOURCE);
            assert_null(bytes);
        }
        neff_build_free(bytes);
        neff_build_destroy(b);
        fault_disarm();
        if (nth == total)
            break;
    }
}

/* ---- an end while threads write ---- */

static struct neff_build_options leaver_options;

static NRT_STATUS leaver_write(void)
{
    struct neff_build *b = neff_build_create("left");
    void *bytes = NULL;
    size_t size;
    NRT_STATUS st;

    neff_build_program(b, 0, NEFF_SP, "x", 1);
    st = neff_build_write_memory(b, &leaver_options, &bytes, &size);
    neff_build_free(bytes);
    neff_build_destroy(b);
    return st;
}

/* Runs after what libcrypto may have registered: a thread that writes would still need it now. */
static void leaver_at_exit(void)
{
    _exit(leaver_write() == NRT_SUCCESS ? 7 : 8);
}

/* The builder is the first here to use libcrypto: for the digest, or before it for a uuid. */
static int helper_leaver(int argc, char **argv)
{
    leaver_options.has_uuid = argc == 2 && strcmp(argv[1], "uuid") == 0;
    if (argc != 2 || atexit(leaver_at_exit) != 0 || leaver_write() != NRT_SUCCESS)
        return 1;
    exit(0);
}

static void exit_leaves_libcrypto_to_threads_that_write(void **state)
{
    (void)state;
    for (int given = 0; given < 2; given++) {
        const char *const args[] = {given ? "uuid" : "random", NULL};
        struct runner_proc p;

        assert_true(runner_start(&p, "leaver", args, NULL));
        assert_int_equal(runner_wait(&p, RUNNER_WAIT_MS), 7);
    }
}

static const struct runner_helper helpers[] = {{"leaver", helper_leaver}, {NULL, NULL}};

int main(int argc, char **argv)
{
    int rc = runner_dispatch(argc, argv, helpers);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_declared_is_read),
        cmocka_unit_test(every_flipped_bit_of_a_written_file_is_refused),
        cmocka_unit_test(a_file_is_replaced_only_on_success),
        cmocka_unit_test(what_is_no_file_is_not_replaced),
        cmocka_unit_test(two_subgraphs_make_an_lnc_2_neff),
        cmocka_unit_test(wrong_declarations_are_refused),
        cmocka_unit_test(texts_fill_their_fields),
        cmocka_unit_test(numbers_do_not_follow_the_locale),
        cmocka_unit_test(zeros_can_be_written),
        cmocka_unit_test(failed_allocations_are_reported),
        cmocka_unit_test(exit_leaves_libcrypto_to_threads_that_write),
    };

    if (rc >= 0)
        return rc;
    return cmocka_run_group_tests_name("neff-build", tests, NULL, NULL);
}
