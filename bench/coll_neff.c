/* SPDX-License-Identifier: Apache-2.0 */
/* Our collectives as a program meets them: in NEFFs, through libnrt, a process a rank. A call is
 * one nrt_execute of a NEFF with one operation; a chain is one nrt_execute of a NEFF whose engine
 * triggers an operation, waits for it, triggers the next on what it wrote, and so on.
 *
 *     coll_neff REGION [nodes]          nodes: each rank has an instance of its own */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coll_job.h"
#include "neff/asm.h"
#include "neff/build.h"
#include "nrt/nrt.h"
#include "nrt/nrt_experimental.h"

struct neff_side {
    struct job_region *r;
    uint32_t rank;
    enum job_op op;
    uint64_t bytes;
    nrt_tensor_t *x, *y;
    nrt_tensor_set_t *in, *out;
    nrt_model_t *one, *many;
    uint32_t many_count; /* operations in many */
};

static void must(NRT_STATUS st, const char *what)
{
    if (st == NRT_SUCCESS)
        return;
    fprintf(stderr, "coll_neff: %s: status %d\n", what, (int)st);
    exit(1);
}

/* ---- programs ---- */

static void entry_add(struct neff_build *b, const struct neff_side *s, bool flipped)
{
    static const char *const names[] = {"all_reduce", "all_gather", "reduce_scatter"};
    uint64_t block = s->bytes / s->r->ranks;
    struct neff_build_coll_range x = {0, 0, s->op == JOB_ALL_GATHER ? block : s->bytes};
    struct neff_build_coll_range y = {1, 0, s->op == JOB_REDUCE_SCATTER ? block : s->bytes};
    uint32_t list[JOB_RANKS];
    struct neff_build_coll_group group = {list, s->r->ranks};
    struct neff_build_coll e = {.op = names[s->op],
                                .reduce = s->op == JOB_ALL_GATHER ? NULL : "add",
                                .dtype = "float32",
                                .groups = &group,
                                .group_count = 1,
                                .in = flipped ? &y : &x,
                                .in_count = 1,
                                .out = flipped ? &x : &y,
                                .out_count = 1};

    for (uint32_t i = 0; i < s->r->ranks; i++)
        list[i] = i;
    must(neff_build_collective(b, 0, &e) < 0 ? NRT_FAILURE : NRT_SUCCESS, neff_build_error(b));
}

/* A NEFF of so many operations, loaded. */
static nrt_model_t *load(struct neff_side *s, uint32_t operations)
{
    struct neff_asm_options options = {.file = "bench"};
    struct neff_error error = {0};
    bool turns = s->op == JOB_ALL_REDUCE;
    nrt_model_t *model = NULL;
    struct neff_build *b;
    char text[640];
    void *neff;
    size_t size;
    int n = snprintf(text, sizeof(text),
                     ".name bench_coll\nsem done\nvar x: input f32[%llu]\nvar y: output f32[%llu]\n"
                     "sp:\n    for i in 0..%u {\n",
                     (unsigned long long)(s->bytes / sizeof(float)),
                     (unsigned long long)(s->bytes / sizeof(float)),
                     turns && operations > 1 ? operations / 2 : operations);

    for (unsigned k = 0; k < (turns && operations > 1 ? 2 : 1); k++)
        n += snprintf(text + n, sizeof(text) - (size_t)n,
                      "        trigger_collective %u, done\n        wait done >= 1 -> done--\n", k);
    snprintf(text + n, sizeof(text) - (size_t)n, "    }\n    end\n");
    if (neff_asm_text(text, strlen(text), &options, &b, NULL, &error) != NRT_SUCCESS) {
        fprintf(stderr, "coll_neff: %s\n", error.text);
        exit(1);
    }
    entry_add(b, s, false);
    if (turns && operations > 1)
        entry_add(b, s, true);
    must(neff_build_write_memory(b, NULL, &neff, &size), neff_build_error(b));
    neff_build_destroy(b);
    must(nrt_load_collectives(neff, size, 0, -1, s->rank, s->r->ranks, &model),
         "nrt_load_collectives");
    neff_build_free(neff);
    return model;
}

/* ---- the library ---- */

static bool prepare(void *arg, enum job_op op, uint64_t bytes, float **x, float **y)
{
    struct neff_side *s = arg;

    s->op = op;
    s->bytes = bytes;
    if (op != JOB_ALL_REDUCE && op != JOB_ALL_GATHER && op != JOB_REDUCE_SCATTER)
        return false; /* not in a NEFF, or not of this library */
    must(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, bytes, "x", &s->x), "allocate");
    must(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, bytes, "y", &s->y), "allocate");
    must(nrt_allocate_tensor_set(&s->in), "set");
    must(nrt_allocate_tensor_set(&s->out), "set");
    must(nrt_add_tensor_to_tensor_set(s->in, "x", s->x), "add");
    must(nrt_add_tensor_to_tensor_set(s->out, "y", s->y), "add");
    *x = nrt_tensor_get_va(s->x);
    *y = nrt_tensor_get_va(s->y);
    s->one = load(s, 1);
    return true;
}

static void run(void *arg, bool flipped)
{
    struct neff_side *s = arg;

    (void)flipped; /* chains are not made of calls */
    must(nrt_execute(s->one, s->in, s->out), "nrt_execute");
}

static double chain(void *arg, uint32_t operations)
{
    static const struct job_library none = {0};
    struct neff_side *s = arg;
    double start;

    if (s->many_count != operations) {
        if (s->many)
            must(nrt_unload(s->many), "nrt_unload");
        s->many = load(s, operations);
        s->many_count = operations;
        must(nrt_execute(s->many, s->in, s->out), "nrt_execute");
    }
    job_start_line(s->r, &none, NULL);
    start = job_now_us();
    must(nrt_execute(s->many, s->in, s->out), "nrt_execute");
    return job_now_us() - start;
}

static void release(void *arg)
{
    struct neff_side *s = arg;

    if (!s->one)
        return; /* nothing was prepared */
    if (s->many)
        must(nrt_unload(s->many), "nrt_unload");
    must(nrt_unload(s->one), "nrt_unload");
    s->one = s->many = NULL;
    s->many_count = 0;
    nrt_destroy_tensor_set(&s->in);
    nrt_destroy_tensor_set(&s->out);
    nrt_tensor_free(&s->x);
    nrt_tensor_free(&s->y);
}

static void environment(uint32_t rank, bool nodes, unsigned port)
{
    const char *run = getenv("OPENNRT_INSTANCE"); /* of run_coll.sh, which removes what is left */
    char text[64];

    snprintf(text, sizeof(text), "%u", nodes ? 0 : rank);
    setenv("NEURON_RT_VISIBLE_CORES", text, 1);
    snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    setenv("NEURON_RT_ROOT_COMM_ID", text, 1);
    setenv("NEURON_LOGICAL_NC_CONFIG", "1", 1);
    setenv("OPENNRT_INSTANCE_TYPE", "trn2.48xlarge", 1);
    snprintf(text, sizeof(text), "%s-%u-%u", run ? run : "bench-coll", nodes ? rank : 0, port);
    setenv("OPENNRT_INSTANCE", text, 1);
}

int main(int argc, char **argv)
{
    static const struct job_library lib = {
        .prepare = prepare, .run = run, .release = release, .chain = chain};
    struct neff_side s = {0};
    unsigned port = job_port_free();

    bool nodes = argc == 3 && strcmp(argv[2], "nodes") == 0;

    if (argc != 2 && !nodes)
        return 2;
    s.r = job_region_open(argv[1]);
    s.rank = job_ranks_start(s.r);
    environment(s.rank, nodes, port);
    must(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
    job_serve(s.r, s.rank, &lib, &s);
    nrt_close();
    while (wait(NULL) > 0)
        ;
    return 0;
}
