/* SPDX-License-Identifier: Apache-2.0 */
/* Text to NEFF through the public functions: what the strict reader finds in the file. */
#include "records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/npy.h"
#include "base/strbuf.h"
#include "neff/asm.h"
#include "neff/neff.h"

static const char text[] =
    ".name toy\n.arch trn2\n.lnc 2\n"
    "param N = 8\n"
    "var x: input f32[4, N]\nvar y: output f32[4, N]\n"
    "var w: file f32[4] = {1, 2, 3, 4}\n"
    "var v: virtual u8[64] @ 128\nvar p: pointer -> w\nvar tab: dge-table [x, w]\n"
    "queue zin: in owner=sp n=3 sem=9\nqueue qd: dynamic owner=pool\nqueue aout: out owner=sp\n"
    "sem s\nevent e\n"
    "tile X: sbuf f32[4, N]\ntile Y: sbuf f32[4, 1]\n"
    "sp: dma on zin -> s, e, peer s { X <- x\n Y <- w\n"
    "    Y <- max(w, from=0.5)\n X <- fma(x * 2, x * 0.25)\n y <- transpose(x.reshape(8, 4)) }\n"
    "again: if r0 < 1 goto again\n"
    "pool: dma_dyn X[0:1], x[r1, :], queue=qd\n"
    "collective total: y[0:2], y[3] <- all_reduce(max, x[0:2], x[3]) ranks=4 stream=2 "
    "algorithm=ring\n"
    "collective swap: y[0, 0:4] <- permute(x[1, 2 +: 4]) pairs={0 -> 1, 1 -> 0}\n"
    "collective all: barrier() group={3, 1} group={0, 2}\n"
    "collective turn: y[0, 0:4] <- all_gather_v(x[0, 0:2]) group={1, 0} "
    "metadata=v.view(u32)[8:16]\n"
    "act: trigger_collective all, s\n trigger_collective 1\n";

static void *write_neff(const char *t, const struct neff_asm_options *o, size_t *ret_size)
{
    struct neff_error error = {0};
    struct neff_asm_info info;
    struct neff_build *b = NULL;
    struct neff_build_options wo = {0};
    void *bytes = NULL;

    if (neff_asm_text(t, strlen(t), o, &b, &info, &error) != NRT_SUCCESS)
        fail_msg("%s", error.text);
    wo.arch = info.arch;
    if (neff_build_write_memory(b, &wo, &bytes, ret_size) != NRT_SUCCESS)
        fail_msg("%s", neff_build_error(b));
    neff_build_destroy(b);
    return bytes;
}

static void text_becomes_a_file_that_the_strict_reader_takes(void **state)
{
    struct neff_asm_define d = {"N", "2 * 4"};
    struct neff_asm_options o = {.file = "toy.nasm", .defines = &d, .define_count = 1};
    size_t size;
    void *bytes = write_neff(text, &o, &size);
    struct neff *n;
    struct err err = {0};
    const struct neff_subgraph *g;
    const struct neff_dma_group *grp;

    if (neff_create(bytes, size, NULL, &n, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    assert_string_equal(n->name, "toy");
    assert_string_equal(n->arch, "trn2");
    assert_int_equal(n->graph_count, 2);
    g = &n->graphs[1];
    assert_string_equal(g->isa_name, "opennrt");
    assert_int_equal(g->var_count, 7);
    for (uint32_t i = 0; i < g->var_count; i++)
        assert_int_equal(g->vars[i].var_id, i);
    assert_int_equal(g->vars[2].type, NEFF_VAR_FILE);
    assert_int_equal(g->vars[2].file_bytes, 16);
    assert_int_equal(g->vars[3].scratch_off, 128);
    assert_int_equal(g->vars[4].ref, 2);
    assert_int_equal(g->vars[5].list_count, 2);
    assert_int_equal(g->vars[6].type, NEFF_VAR_STATE_BUFFER);
    assert_int_equal(g->queue_count, 3);
    grp = &g->engines[NEFF_SP].groups[0];
    assert_int_equal(g->engines[NEFF_SP].group_count, 1);
    assert_string_equal(g->queues[grp->queue].name, "zin");
    assert_int_equal(g->queues[grp->queue].num_queues, 3);
    assert_int_equal(g->queues[grp->queue].semaphore, 9);
    assert_int_equal(grp->semaphore, 0);
    assert_int_equal(grp->event, 0);
    assert_int_equal(grp->remote_semaphore_count, 1);
    assert_int_equal(grp->desc_count, 5);
    assert_int_equal(grp->descs[2].op, NEFF_OP_MAX);
    assert_true(grp->descs[2].has_constant && grp->descs[2].constant == 0.5);
    assert_int_equal(grp->descs[3].op, NEFF_OP_FMA);
    assert_true(grp->descs[3].scale[0] == 2.0f && grp->descs[3].scale[1] == 0.25f);
    assert_int_equal(grp->descs[4].op, NEFF_OP_TRANSPOSE);
    assert_int_equal(grp->descs[4].transpose_shape[0], 8);
    assert_int_equal(grp->descs[4].transpose_element_size, 4);
    assert_int_equal(g->engines[NEFF_SP].instr_bytes, 3 * 320);
    assert_int_equal(g->engines[NEFF_SP].debug_count, 3);
    assert_string_equal(g->engines[NEFF_SP].debug[1].file, "toy.nasm");
    assert_string_equal(g->engines[NEFF_SP].debug[1].label, "again");
    assert_int_equal(g->engines[NEFF_SP].debug[1].line, 23);
    neff_destroy(n);
    neff_build_free(bytes);
}

static void collectives_stand_in_the_table(void **state)
{
    struct neff_asm_options o = {.file = "toy.nasm"};
    size_t size;
    void *bytes = write_neff(text, &o, &size);
    const struct neff_subgraph *g;
    const struct isa_record *act;
    const struct neff_coll *c;
    struct err err = {0};
    struct neff *n;

    if (neff_create(bytes, size, NULL, &n, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    g = &n->graphs[1];
    assert_int_equal(g->coll_count, 4);
    c = &g->colls[0];
    assert_int_equal(c->op, NEFF_COLL_ALL_REDUCE);
    assert_int_equal(c->reduce, NEFF_REDUCE_MAX);
    assert_int_equal(c->dtype, DT_FP32);
    assert_int_equal(c->stream, 2);
    assert_string_equal(c->algorithm, "ring");
    assert_int_equal(c->groups[0].rank_count, 4);
    assert_int_equal(c->groups[0].ranks[3], 3);
    assert_int_equal(c->in_count, 2);
    assert_int_equal(c->in[0].var, 0);
    assert_int_equal(c->in[0].size, 2 * 8 * 4);
    assert_int_equal(c->out[1].var, 1);
    assert_int_equal(c->out[1].off, 3 * 8 * 4);
    assert_int_equal(c->out[1].size, 8 * 4);
    c = &g->colls[1];
    assert_int_equal(c->pair_count, 2);
    assert_int_equal(c->pairs[1][0], 1);
    assert_int_equal(c->pairs[1][1], 0);
    assert_int_equal(c->in[0].off, 8 * 4 + 2 * 4);
    c = &g->colls[2];
    assert_int_equal(c->op, NEFF_COLL_BARRIER);
    assert_int_equal(c->groups[0].ranks[0], 3);
    assert_int_equal(c->groups[1].ranks[1], 2);
    c = &g->colls[3];
    assert_int_equal(c->metadata_var, 3);
    assert_int_equal(c->metadata_off, 32);
    act = (const struct isa_record *)(const void *)g->engines[NEFF_ACT].instr;
    assert_int_equal(act[0].opcode, ISA_OP_TRIGGER_COLLECTIVE);
    assert_int_equal(act[0].body.s.imm, 2); /* by name */
    assert_int_equal(act[0].body.s.first, 1);
    assert_int_equal(act[1].body.s.imm, 1);
    neff_destroy(n);
    neff_build_free(bytes);
}

static void tiles_of_collectives_stand_in_the_table(void **state)
{
    static const char t[] =
        "tile A: sbuf bf16[16, 32] @ 128 part=4\ntile B: sbuf bf16[16, 4, 8] @ 4096 part=20\n"
        "collective c: B[8:16, 0:4, 1:8:2] <- all_reduce(add, A[2:10, 0:32:2]) ranks=2\n"
        "collective one: B[3:4] <- all_reduce(add, A[0:1]) ranks=2\n"
        "sp: trigger_collective c\n trigger_collective one\n end\n";
    struct neff_asm_options o = {.file = "tiles.nasm"};
    size_t size;
    void *bytes = write_neff(t, &o, &size);
    const struct neff_coll *c;
    struct err err = {0};
    struct neff *n;

    if (neff_create(bytes, size, NULL, &n, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    c = &n->graphs[0].colls[0];
    assert_int_equal(n->graphs[0].vars[c->in->var].type, NEFF_VAR_STATE_BUFFER);
    assert_int_equal(c->in->off, 6 * NEFF_SBUF_STRIDE + 128);
    assert_int_equal(c->in->size, 8 * 16 * 2);
    assert_int_equal(c->in->partitions, 8);
    assert_int_equal(c->in->step, 4);
    assert_int_equal(c->out->off, 28 * NEFF_SBUF_STRIDE + 4096 + 2);
    assert_int_equal(c->out->partitions, 8);
    assert_int_equal(c->out->step, 4); /* two dimensions of even distance are one */
    c = &n->graphs[0].colls[1];
    assert_int_equal(c->in->partitions, 1);
    assert_int_equal(c->in->size, 64);
    assert_int_equal(c->in->step, 2);
    assert_int_equal(c->out->off, 23 * NEFF_SBUF_STRIDE + 4096);
    neff_destroy(n);
    neff_build_free(bytes);
    (void)state;
}

static void wrong_collectives_say_why(void **state)
{
    static const struct {
        const char *line, *why;
    } cases[] = {
        {"y <- all_reduce(add, Q) ranks=2", "a collective works on variables and on tiles in SBUF"},
        {"T <- all_reduce(add, T.bcast(2, 4)) ranks=2",
         "the rows of a collective's tile are not evenly spaced"},
        {"U <- all_reduce(add, U[:, 0:2, 0:3]) ranks=2",
         "the rows of a collective's tile are not evenly spaced"},
        {"T <- all_reduce(add, T[:, ::-1]) ranks=2",
         "the rows of a collective's tile do not rise from element to element"},
        {"y[:, 0] <- all_reduce(add, x[:, 0]) ranks=2",
         "the tensor of a collective is not contiguous"},
        {"y <- all_reduce(add, h) ranks=2", "tensors of float32 and float16 in one collective"},
        {"y <- all_reduce(add, x) rank=2",
         "a collective has ranks, group, pairs, stream, metadata and algorithm"},
        {"y <- permute(x) pairs={0, 1}", "'->' is expected"},
        {"y <- all_reduce(add, x) stream=4", "stream"},
        {"y <- all_reduce(add, x) ranks=0", "ranks"},
        {"y <- all_reduce(add, x) group={}", "expected"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct neff_error error = {0};
        struct neff_build *b = NULL;
        char t[320];

        snprintf(t, sizeof(t),
                 "var x: input f32[4, 4]\nvar h: input f16[4, 4]\nvar y: output f32[4, 4]\n"
                 "tile T: sbuf f32[4, 4]\ntile U: sbuf f32[4, 4, 4]\ntile Q: psum f32[4, 4]\n"
                 "collective c: %s\nsp: end\n",
                 cases[i].line);
        assert_int_equal(neff_asm_text(t, strlen(t), NULL, &b, NULL, &error), NRT_INVALID);
        if (!strstr(error.text, cases[i].why))
            fail_msg("%s: %s", cases[i].line, error.text);
    }
}

static void queue_number_is_that_of_the_names_in_order(void **state)
{
    struct neff_error error = {0};
    void *bytes;
    size_t size;
    struct isa_record *r;
    struct neff_asm_options o = {.arch = "trn2"};
    static const char t[] = "var x: input f32[4]\nqueue b: dynamic\nqueue c: in\nqueue a: in\n"
                            "tile X: sbuf f32[1, 4]\npool: dma_dyn X, x, queue=b\n";
    char *printed;

    assert_int_equal(neff_asm_records(t, strlen(t), &o, NEFF_POOL, &bytes, &size, &error),
                     NRT_SUCCESS);
    r = bytes;
    assert_int_equal(size, 640);
    assert_int_equal(r[0].body.d.queue, 1);
    assert_int_equal(neff_asm_print(bytes, size, NEFF_POOL, &printed, &error), NRT_SUCCESS);
    assert_non_null(strstr(printed, "queue=1"));
    neff_build_free(printed);
    assert_int_equal(neff_asm_print(bytes, 100, NEFF_POOL, &printed, &error), NRT_INVALID);
    assert_non_null(strstr(error.text, "not in this encoding"));
    error = (struct neff_error){0};
    assert_int_equal(neff_asm_records(t, strlen(t), &o, NEFF_PE, &bytes, &size, &error),
                     NRT_INVALID);
    assert_non_null(strstr(error.text, "no program"));
    neff_build_free(r);
}

static void only_architectures_that_there_are(void **state)
{
    static const char t[] = "var x: input f32[4]\nsp: end\n";
    static const struct {
        const char *arch;
        bool taken;
    } rows[] = {{NULL, true},    {"trn1", true},  {"inf2", true},   {"trn2", true}, {"trn3", true},
                {"trn9", false}, {"inf1", false}, {"trn2x", false}, {"v3", false},  {"", false}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct neff_asm_options o = {.arch = rows[i].arch};
        struct neff_error error = {0};
        struct neff_asm_info info = {0};
        struct neff_build *b = NULL;
        void *bytes = NULL;
        size_t size;
        NRT_STATUS want = rows[i].taken ? NRT_SUCCESS : NRT_INVALID;

        assert_int_equal(neff_asm_text(t, strlen(t), &o, &b, &info, &error), want);
        assert_int_equal(neff_asm_records(t, strlen(t), &o, NEFF_SP, &bytes, &size, &error), want);
        if (rows[i].taken) {
            assert_true(info.arch == rows[i].arch);
            neff_build_destroy(b);
            neff_build_free(bytes);
        } else {
            assert_string_equal(error.text, "the architecture is trn1, inf2, trn2 or trn3");
        }
    }
}

static void wrong_text_says_where(void **state)
{
    struct neff_build *b = NULL;
    struct neff_error error = {0};
    struct neff_asm_options o = {.file = "bad.nasm", .dir = "/nonexistent"};

    assert_int_equal(neff_asm_text("\nsp: foo\n", 9, &o, &b, NULL, &error), NRT_INVALID);
    assert_string_equal(error.text, "bad.nasm:2: foo is no instruction, label or macro");
    assert_null(b);
    error = (struct neff_error){0};
    assert_int_equal(neff_asm_text(NULL, 0, NULL, &b, NULL, &error), NRT_INVALID);
    error = (struct neff_error){0};
    assert_int_equal(neff_asm_text("sp: end\n", 8, NULL, NULL, NULL, &error), NRT_INVALID);
    /* what only the container forbids is reported by the builder */
    {
        static const char t[] = "var x: input f32[4]\nvar k: file f32[4] \"k.npy\"\nsp: end\n";
        void *bytes;
        size_t size;

        error = (struct neff_error){0};
        if (neff_asm_text(t, strlen(t), &o, &b, NULL, &error) == NRT_SUCCESS) {
            assert_int_not_equal(neff_build_write_memory(b, NULL, &bytes, &size), NRT_SUCCESS);
            assert_non_null(strstr(neff_build_error(b), "k.npy"));
            neff_build_destroy(b);
        } else {
            assert_non_null(strstr(error.text, "k.npy"));
        }
    }
}

/* The builder and the files know no lines; the message has that of the declaration. */
static void what_the_builder_refuses_has_its_line(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"\nvar k: file f32[4]\\\n \"k.npy\"\nsp: end\n",
         "bad.nasm:2: cannot read /nonexistent/k.npy: No such file or directory"},
        {"var a: input u8[4]\nvar x: output float8_e5m2_x4[4]\nsp: end\n",
         "bad.nasm:2: variable x: unknown dtype float8_e5m2_x4"},
    };
    struct neff_asm_options o = {.file = "bad.nasm", .dir = "/nonexistent"};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct neff_error error = {0};
        struct neff_build *b = NULL;

        assert_int_not_equal(
            neff_asm_text(rows[i].text, strlen(rows[i].text), &o, &b, NULL, &error), NRT_SUCCESS);
        assert_memory_equal(error.text, rows[i].says, strlen(rows[i].says));
        assert_null(b);
    }
    (void)state;
}

/* The file of a constant has as many bytes as the text says, raw or behind NumPy's header. */
static void file_has_the_bytes_of_the_declared_shape(void **state)
{
    static const uint64_t four[] = {2, 2};
    static const struct {
        const char *name, *says; /* NULL: taken */
        enum dtype dtype;        /* of the array; DT_INVALID: raw */
        size_t bytes;
    } rows[] = {
        {"a.raw", NULL, DT_INVALID, 16},
        {"b.raw", "t.nasm:2: DIR/b.raw has 15 bytes, w has 16", DT_INVALID, 15},
        {"c.raw", "t.nasm:2: DIR/c.raw has 80 bytes, w has 16", DT_INVALID, 80},
        {"d.npy", NULL, DT_FP32, 16},
        {"e.npy", NULL, DT_INT32, 16}, /* the bytes are what counts */
        {"f.npy", "t.nasm:2: DIR/f.npy has 8 bytes, w has 16", DT_BF16, 8},
    };
    char dir[] = "/tmp/opennrt-glue-XXXXXX";

    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct neff_asm_options o = {.file = "t.nasm", .dir = dir};
        struct neff_error error = {0};
        struct neff_build *b = NULL;
        struct strbuf head = {0};
        char path[128], t[128], says[256];
        static const char data[80];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s", dir, rows[i].name);
        snprintf(t, sizeof(t), "\nvar w: file f32[4] \"%s\"\nsp: end\n", rows[i].name);
        f = fopen(path, "wb");
        assert_non_null(f);
        if (rows[i].dtype != DT_INVALID) {
            assert_true(npy_write_header(&head, rows[i].dtype, 2, four));
            assert_int_equal(fwrite(head.s, 1, head.len, f), head.len);
        }
        assert_int_equal(fwrite(data, 1, rows[i].bytes, f), rows[i].bytes);
        assert_int_equal(fclose(f), 0);
        strbuf_fini(&head);
        if (rows[i].says) {
            snprintf(says, sizeof(says), "t.nasm:2: %s%s", path, strstr(rows[i].says, " has "));
            assert_int_equal(neff_asm_text(t, strlen(t), &o, &b, NULL, &error), NRT_INVALID);
            assert_string_equal(error.text, says);
        } else if (neff_asm_text(t, strlen(t), &o, &b, NULL, &error) != NRT_SUCCESS) {
            fail_msg("%s", error.text);
        } else {
            neff_build_destroy(b);
        }
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(remove(dir), 0);
    (void)state;
}

static void alignment_and_fabric_are_in_the_file(void **state)
{
    static const char t[] = "var a: input u8[4] align=128\nvar b: output u8[4] align=4096\n"
                            "var c: tmp-buf u8[4] align=64\nvar d: input u8[4]\n"
                            "queue m: in fabric=main\nqueue n: in fabric=alt\nsp: end\n";
    static const uint64_t want[] = {128, 4096, 64, 0};
    struct err err = {0};
    struct neff *n;
    size_t size;
    void *bytes = write_neff(t, NULL, &size);

    if (neff_create(bytes, size, NULL, &n, &err) != NRT_SUCCESS)
        fail_msg("%s", err.text);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(n->graphs[0].vars[i].alignment, want[i]);
    assert_false(n->graphs[0].queues[0].fabric_alt);
    assert_true(n->graphs[0].queues[1].fabric_alt);
    neff_destroy(n);
    neff_build_free(bytes);
    (void)state;
}

static void memory_out_anywhere_leaves_nothing_behind(void **state)
{
    struct neff_build *b;
    struct neff_error error = {0};
    uint64_t hits;

    fault_count_start();
    assert_int_equal(neff_asm_text(text, strlen(text), NULL, &b, NULL, &error), NRT_SUCCESS);
    hits = fault_count(FAULT_ALLOC);
    fault_disarm();
    neff_build_destroy(b);
    for (uint64_t n = 1; n <= hits; n++) {
        NRT_STATUS st;

        error = (struct neff_error){0};
        fault_arm(FAULT_ALLOC, n);
        st = neff_asm_text(text, strlen(text), NULL, &b, NULL, &error);
        fault_disarm();
        if (st == NRT_SUCCESS) { /* the builder keeps its failure for the write */
            void *bytes;
            size_t size;

            assert_int_not_equal(neff_build_write_memory(b, NULL, &bytes, &size), NRT_SUCCESS);
            neff_build_destroy(b);
        } else {
            assert_int_equal(st, NRT_RESOURCE);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_becomes_a_file_that_the_strict_reader_takes),
        cmocka_unit_test(collectives_stand_in_the_table),
        cmocka_unit_test(tiles_of_collectives_stand_in_the_table),
        cmocka_unit_test(wrong_collectives_say_why),
        cmocka_unit_test(queue_number_is_that_of_the_names_in_order),
        cmocka_unit_test(only_architectures_that_there_are),
        cmocka_unit_test(wrong_text_says_where),
        cmocka_unit_test(what_the_builder_refuses_has_its_line),
        cmocka_unit_test(file_has_the_bytes_of_the_declared_shape),
        cmocka_unit_test(alignment_and_fabric_are_in_the_file),
        cmocka_unit_test(memory_out_anywhere_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
