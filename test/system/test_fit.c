/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt fit against loading: random NEFFs and tensors are asked about, then loaded, allocated and
 * executed; what nrt_get_vnc_memory_stats says then is what fit said. NEFFs in a compiler's own
 * encoding are asked about, and the same NEFFs in ours are loaded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "api_support.h"
#include "neffs.h"
#include "proves.h"
#include "runner.h"
#include "seed.h"

#define NEFFS  3
#define ROUNDS 12

static unsigned rnd(unsigned *seed, unsigned n)
{
    return (unsigned)rand_r(seed) % n;
}

/* A model that does nothing, with variables of every kind at random. */
static struct bytes random_neff(unsigned seed, unsigned graphs, bool foreign)
{
    struct neff_build *b = neff_build_create("random");
    static uint8_t zeros[1 << 16];
    struct prog p;
    char name[32];

    for (unsigned g = 1; g < graphs; g++)
        assert_int_equal(neff_build_subgraph(b), g);
    for (unsigned g = 0; g < graphs; g++) {
        uint64_t n_in = 1 + rnd(&seed, 100000), n_out = 1 + rnd(&seed, 100000);
        unsigned consts = rnd(&seed, 4), tmps = rnd(&seed, 4), virtuals = rnd(&seed, 4);
        int vars[2];

        if (foreign)
            assert_true(neff_build_isa(b, (int)g, NULL, 0) >= 0);
        snprintf(name, sizeof(name), g ? "a%u" : "a", g);
        vars[0] = neff_build_input(b, (int)g, name, "uint8", 1, &n_in);
        snprintf(name, sizeof(name), g ? "c%u" : "c", g);
        vars[1] = neff_build_output(b, (int)g, name, "uint8", 1, &n_out);
        for (unsigned i = 0; i < consts; i++) {
            snprintf(name, sizeof(name), "w%u_%u", g, i);
            neff_build_constant_raw(b, (int)g, name, 1 + rnd(&seed, 3000000), zeros,
                                    1 + rnd(&seed, 1));
        }
        for (unsigned i = 0; i < tmps; i++) {
            snprintf(name, sizeof(name), "t%u_%u", g, i);
            neff_build_tmp(b, (int)g, name, 1 + rnd(&seed, 3000000), 1u << rnd(&seed, 17));
        }
        for (unsigned i = 0; i < virtuals; i++) {
            snprintf(name, sizeof(name), "v%u_%u", g, i);
            neff_build_virtual(b, (int)g, name, 1 + rnd(&seed, 200u << 20), NULL,
                               64ull * rnd(&seed, 1u << 20));
        }
        if (rnd(&seed, 2)) {
            snprintf(name, sizeof(name), "p%u", g);
            neff_build_pointer(b, (int)g, name, vars[0]);
            snprintf(name, sizeof(name), "d%u", g);
            neff_build_dge_table(b, (int)g, name, vars, 2);
        }
        prog_init(&p, ISA_SP);
        for (unsigned i = rnd(&seed, 20); i > 0; i--)
            prog_op(&p, ISA_OP_NOP);
        prog_done(&p, b, (int)g);
    }
    return neff_finish(b, NULL);
}

static struct bytes neff_with_constant(uint64_t size)
{
    struct neff_build *b = neff_build_create("constant");
    static const uint8_t zero[1];
    uint64_t n = 4;
    struct prog p;

    neff_build_input(b, 0, "a", "uint8", 1, &n);
    neff_build_constant_raw(b, 0, "w", size, zero, 1);
    prog_init(&p, ISA_SP);
    prog_done(&p, b, 0);
    return neff_finish(b, NULL);
}

struct question {
    char dir[32], words[600];
    unsigned limit_kib; /* of files; 0: none */
    char *answer;
    int code;
};

static void put_file(const struct question *q, unsigned i, const struct bytes *f)
{
    char path[64];
    FILE *to;

    snprintf(path, sizeof(path), "%s/%u.neff", q->dir, i);
    to = fopen(path, "w");
    assert_non_null(to);
    assert_int_equal(fwrite(f->data, 1, f->size, to), f->size);
    assert_int_equal(fclose(to), 0);
}

static void ask(struct question *q)
{
    char command[800];
    size_t size = 0;
    FILE *from, *to;
    int c, status;

    char limit[32] = "";

    if (q->limit_kib)
        snprintf(limit, sizeof(limit), "ulimit -f %u;", q->limit_kib * 2); /* of 512 bytes */
    snprintf(command, sizeof(command),
             "%s cd %s && env -u NEURON_RT_LOG_LOCATION_TDRV " OPENNRT " fit %s 2>&1", limit,
             q->dir, q->words);
    from = popen(command, "r");
    assert_non_null(from);
    to = open_memstream(&q->answer, &size);
    while ((c = fgetc(from)) != EOF)
        fputc(c, to);
    fclose(to);
    status = pclose(from);
    assert_true(WIFEXITED(status));
    q->code = WEXITSTATUS(status);
}

static void question_open(struct question *q)
{
    unsetenv("OPENNRT_INSTANCE_TYPE"); /* of the runtime in this process */
    unsetenv("NEURON_LOGICAL_NC_CONFIG");
    memset(q, 0, sizeof(*q));
    strcpy(q->dir, "/tmp/opennrt-fitt-XXXXXX");
    assert_non_null(mkdtemp(q->dir));
}

static void question_close(struct question *q)
{
    char command[64];

    free(q->answer);
    snprintf(command, sizeof(command), "rm -rf %s", q->dir);
    assert_int_equal(system(command), 0);
}

/* Adds the line of a physical core of the answer. */
static void said_of_core(const struct question *q, unsigned core, uint64_t *steady, uint64_t *peak)
{
    char label[64];
    const char *at;
    unsigned long long s = 0, p = 0;

    snprintf(label, sizeof(label), "core %u: steady ", core);
    at = strstr(q->answer, label);
    if (!at || sscanf(at + strlen(label), "%llu bytes, peak %llu", &s, &p) != 2)
        fail_msg("no figures of core %u in\n%s", core, q->answer);
    *steady += s;
    *peak += p;
}

/* Sum over the physical cores of logical core 0. */
static void said_of(const struct question *q, unsigned lnc, uint64_t *steady, uint64_t *peak)
{
    *steady = *peak = 0;
    for (unsigned core = 0; core < lnc; core++)
        said_of_core(q, core, steady, peak);
}

static uint64_t used_of(uint32_t vnc)
{
    nrt_vnc_memory_stats_t stats;
    size_t n;

    assert_ok(nrt_get_vnc_memory_stats(vnc, &stats, sizeof(stats), &n));
    return stats.bytes_used;
}

static uint64_t used(void)
{
    return used_of(0);
}

/* All inputs and outputs of a model, in one set each; tensors of `place`. */
struct sets {
    nrt_tensor_set_t *set[2];
    nrt_tensor_t *t[16];
    unsigned n;
};

static void sets_make(struct sets *s, nrt_model_t *m, nrt_tensor_placement_t place)
{
    nrt_tensor_info_array_t *info;

    memset(s, 0, sizeof(*s));
    assert_ok(nrt_allocate_tensor_set(&s->set[0]));
    assert_ok(nrt_allocate_tensor_set(&s->set[1]));
    assert_ok(nrt_get_model_tensor_info(m, &info));
    for (uint64_t i = 0; i < info->tensor_count; i++) {
        const nrt_tensor_info_t *t = &info->tensor_array[i];

        assert_true(s->n < 16);
        assert_ok(nrt_tensor_allocate(place, 0, t->size, t->name, &s->t[s->n]));
        assert_ok(nrt_add_tensor_to_tensor_set(s->set[t->usage != NRT_TENSOR_USAGE_INPUT], t->name,
                                               s->t[s->n++]));
    }
    assert_ok(nrt_free_model_tensor_info(info));
}

static void sets_free(struct sets *s)
{
    for (unsigned i = 0; i < s->n; i++)
        nrt_tensor_free(&s->t[i]);
    nrt_destroy_tensor_set(&s->set[0]);
    nrt_destroy_tensor_set(&s->set[1]);
}

static void execute(nrt_model_t *m, nrt_tensor_placement_t place)
{
    struct sets s;

    sets_make(&s, m, place);
    assert_ok(nrt_execute(m, s.set[0], s.set[1]));
    sets_free(&s);
}

/* Loads what was asked about, and compares. */
static void load_and_compare(const struct question *q, unsigned seed, unsigned lnc,
                             const uint64_t *tensor, unsigned tensors)
{
    nrt_tensor_t *t[4];
    nrt_model_t *m[NEFFS];
    uint64_t steady, peak;

    said_of(q, lnc, &steady, &peak);
    for (unsigned i = 0; i < NEFFS; i++) {
        struct bytes f = random_neff(seed + i, lnc, false);

        assert_ok(nrt_load(f.data, f.size, 0, 1, &m[i]));
        neff_free(&f);
    }
    for (unsigned i = 0; i < tensors; i++)
        assert_ok(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, tensor[i], "t", &t[i]));
    for (unsigned i = 0; i < NEFFS; i++)
        execute(m[i], NRT_TENSOR_PLACEMENT_DEVICE);
    if (used() != steady)
        fail_msg("seed %u: used %llu, fit said\n%s", seed, (unsigned long long)used(), q->answer);
    for (unsigned i = 0; i < NEFFS; i++)
        execute(m[i], NRT_TENSOR_PLACEMENT_HOST);
    if (used() != peak)
        fail_msg("seed %u: with host tensors used %llu, fit said\n%s", seed,
                 (unsigned long long)used(), q->answer);
    for (unsigned i = 0; i < NEFFS; i++)
        assert_ok(nrt_unload(m[i]));
    for (unsigned i = 0; i < tensors; i++)
        nrt_tensor_free(&t[i]);
}

static void compare(const char *type, unsigned lnc, unsigned seed)
{
    uint64_t tensor[4];
    unsigned tensors = rnd(&seed, 5), foreign = rnd(&seed, 2 * NEFFS);
    const unsigned base = seed; /* of the NEFFs; the tensors draw on */
    struct question q;
    size_t at;

    question_open(&q);
    at = (size_t)snprintf(q.words, sizeof(q.words), "--instance %s --lnc %u", type, lnc);
    for (unsigned i = 0; i < NEFFS; i++) {
        struct bytes f = random_neff(base + i, lnc, i == foreign);

        put_file(&q, i, &f);
        neff_free(&f);
        at += (size_t)snprintf(q.words + at, sizeof(q.words) - at, " %u.neff", i);
    }
    for (unsigned i = 0; i < tensors; i++) {
        tensor[i] = 1 + rnd(&seed, 5000000);
        at += (size_t)snprintf(q.words + at, sizeof(q.words) - at, "%s0:%llu",
                               i ? "," : " --tensors ", (unsigned long long)tensor[i]);
    }
    ask(&q);
    if (q.code != 0 || !strstr(q.answer, "they fit\n") || !strstr(q.answer, "DMA Rings"))
        fail_msg("seed %u: %s\n%s", seed, q.words, q.answer);
    load_and_compare(&q, base, lnc, tensor, tensors);
    question_close(&q);
}

static void of_type(const char *type, unsigned lnc)
{
    unsigned seed = (unsigned)seed_take_new();

    api_env(type, lnc);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    for (unsigned i = 0; i < ROUNDS; i++)
        compare(type, lnc, seed + 100 * i);
    nrt_close();
    api_env_end();
}

static void fit_says_what_a_load_takes(void **state)
{
    (void)state;
    of_type("trn1.2xlarge", 1);
}

static void fit_says_what_a_load_takes_on_two_cores(void **state)
{
    (void)state;
    of_type("trn2.3xlarge", 2);
}

/* Instances of a model, two of which have one HBM: each core has what a load gives it. */
static void fit_stores_shared_weights_once(void **state)
{
    const unsigned instances = 3;
    struct question q;
    uint64_t said[2] = {0, 0};

    (void)state;
    question_open(&q);
    setenv("NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS", "1", 1);
    for (int shared = 1; shared >= 0; shared--) {
        struct bytes f = neff_with_constant(3000000);
        nrt_model_t *m;

        put_file(&q, 0, &f);
        snprintf(q.words, sizeof(q.words), "--instance trn2.3xlarge --lnc 1 0.neff@0-%u",
                 instances - 1);
        ask(&q);
        assert_int_equal(q.code, 0);
        api_env("trn2.3xlarge", 1);
        assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
        assert_ok(nrt_load(f.data, f.size, 0, (int32_t)instances, &m));
        neff_free(&f);
        for (unsigned core = 0; core < instances; core++) {
            uint64_t steady = 0, peak = 0;

            said_of_core(&q, core, &steady, &peak);
            if (used_of(core) != steady)
                fail_msg("core %u: used %llu, fit said\n%s", core,
                         (unsigned long long)used_of(core), q.answer);
            said[shared] += steady;
        }
        assert_ok(nrt_unload(m));
        nrt_close();
        api_env_end();
        free(q.answer);
        q.answer = NULL;
        unsetenv("NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS");
    }
    assert_true(said[0] - said[1] >= 3000000 && said[0] - said[1] < 3000000 + 4096);
    question_close(&q);
}

/* The edge: the largest tensor that fits beside a model does, one byte block more does not. */
static void the_edge_is_where_the_load_has_it(void **state)
{
    const uint64_t hbm = UINT64_C(16) << 30;
    struct question q;
    struct bytes f = random_neff(7, 1, false);
    uint64_t steady, peak, room;
    nrt_model_t *m;
    nrt_tensor_t *t;

    (void)state;
    question_open(&q);
    put_file(&q, 0, &f);
    snprintf(q.words, sizeof(q.words), "--instance trn1.2xlarge --cores 0 0.neff");
    ask(&q);
    assert_int_equal(q.code, 0);
    said_of(&q, 1, &steady, &peak);
    free(q.answer);
    api_env("trn1.2xlarge", 1);
    assert_ok(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    assert_ok(nrt_load(f.data, f.size, 0, 1, &m));
    assert_int_equal(used(), steady);
    /* The largest that the runtime gives, by halving; fit gives the same answer on both sides. */
    uint64_t low = 0, high = (hbm - steady) / 4096 + 1;
    while (high - low > 1) {
        room = low + (high - low) / 2;
        if (nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, room * 4096, "t", &t) ==
            NRT_SUCCESS) {
            nrt_tensor_free(&t);
            low = room;
        } else {
            high = room;
        }
    }
    assert_true(low > 0);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(q.words, sizeof(q.words), "--instance trn1.2xlarge 0.neff@0 -t 0:%llu",
                 (unsigned long long)(low + i) * 4096);
        ask(&q);
        if (q.code != (int)i)
            fail_msg("%s: %d\n%s", q.words, q.code, q.answer);
        if (i)
            assert_true(strstr(q.answer, "Failed to allocate") &&
                        strstr(q.answer, "they do not fit"));
        free(q.answer);
        q.answer = NULL;
    }
    assert_ok(nrt_unload(m));
    nrt_close();
    api_env_end();
    neff_free(&f);
    question_close(&q);
}

static void wrong_words_are_refused(void **state)
{
    static const struct {
        const char *words;
        int code;
    } rows[] = {{"", 2},
                {"--lnc 3 0.neff", 2},
                {"--cores 1-0 0.neff", 2},
                {"--cores x 0.neff", 2},
                {"none.neff", 1},
                {"--instance none 0.neff", 1},
                {"0.neff@5", 1},
                {"--tensors 0 ", 2},
                {"--tensors 9:5", 1},
                {"--tensors 0:5y", 2},
                {"--tensors 0:5,", 0},
                {"--tensors 0:99999999999999999999", 2},
                {"--tensors 0:99999999999G", 2},
                {"--tensors 0:17G", 1},
                {"--tensors 0:1Gx17", 1},
                {"--tensors 0:1Kx3,1:7M", 0},
                {"/dev/null", 1},
                {"0.neff 0.neff@1 0.neff@0-1", 0}};
    struct bytes f = random_neff(3, 1, true);
    struct question q;

    (void)state;
    question_open(&q);
    put_file(&q, 0, &f);
    neff_free(&f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(q.words, sizeof(q.words), "%s", rows[i].words);
        ask(&q);
        if (q.code != rows[i].code)
            fail_msg("%s: %d\n%s", q.words, q.code, q.answer);
        free(q.answer);
        q.answer = NULL;
    }
    question_close(&q);
}

/* What only the host has too little of, here room for a larger memory table, is no answer. */
static void a_host_that_is_full_is_no_answer(void **state)
{
    struct question q;

    (void)state;
    question_open(&q);
    snprintf(q.words, sizeof(q.words), "--instance trn1.2xlarge -t 0:64x100000");
    ask(&q);
    if (q.code != 0)
        fail_msg("%s: %d\n%s", q.words, q.code, q.answer);
    free(q.answer);
    q.limit_kib = 1024; /* of a file: the control block of this type has 0.6 MiB to begin with */
    ask(&q);
    if (q.code != 1 || strstr(q.answer, "fit\n") || !strstr(q.answer, "larger memory table"))
        fail_msg("%s: %d\n%s", q.words, q.code, q.answer);
    free(q.answer);
    q.answer = NULL;
    question_close(&q);
}

/* The contiguous scratchpad has no room to grow: that is the HBM's limit, not the host's. */
static void a_scratchpad_that_cannot_grow_does_not_fit(void **state)
{
    static const uint64_t sizes[] = {UINT64_C(1) << 20, UINT64_C(17) << 30}; /* of 16 GiB */
    struct question q;

    (void)state;
    question_open(&q);
    setenv("NEURON_RT_CONTIGUOUS_SCRATCHPAD", "1", 1);
    for (unsigned i = 0; i < 2; i++) {
        struct neff_build *b = neff_build_create("virtual");
        uint64_t n = 4;
        struct bytes f;
        struct prog p;

        neff_build_input(b, 0, "a", "uint8", 1, &n);
        neff_build_virtual(b, 0, "v", sizes[i], NULL, 0);
        prog_init(&p, ISA_SP);
        prog_done(&p, b, 0);
        f = neff_finish(b, NULL);
        put_file(&q, i, &f);
        neff_free(&f);
    }
    for (unsigned k = 0; k < 2; k++) {
        snprintf(q.words, sizeof(q.words), "--instance trn1.2xlarge 0.neff%s", k ? " 1.neff" : "");
        ask(&q);
        if (q.code != (int)k || !strstr(q.answer, k ? "they do not fit\n" : "they fit\n"))
            fail_msg("%s: %d\n%s", q.words, q.code, q.answer);
        if (k && !strstr(q.answer, "the contiguous scratchpad cannot grow"))
            fail_msg("%s", q.answer);
        free(q.answer);
        q.answer = NULL;
    }
    unsetenv("NEURON_RT_CONTIGUOUS_SCRATCHPAD");
    question_close(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fit_says_what_a_load_takes),
        cmocka_unit_test(fit_says_what_a_load_takes_on_two_cores),
        cmocka_unit_test(fit_stores_shared_weights_once),
        cmocka_unit_test(the_edge_is_where_the_load_has_it),
        cmocka_unit_test(wrong_words_are_refused),
        cmocka_unit_test(a_host_that_is_full_is_no_answer),
        cmocka_unit_test(a_scratchpad_that_cannot_grow_does_not_fit),
    };

    runner_watchdog(300);
    return cmocka_run_group_tests_name("opennrt-fit", tests, NULL, NULL);
}
