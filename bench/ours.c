/* SPDX-License-Identifier: Apache-2.0 */
#include "ours.h"

#include "measure.h"
#include "nrt/nrt_async.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "neff/asm.h"
#include "neff/build.h"
#include "nrt/nrt_experimental.h"

void ours_must(NRT_STATUS status, const char *what)
{
    if (status == NRT_SUCCESS)
        return;
    fprintf(stderr, "bench: %s: status %d\n", what, (int)status);
    exit(1);
}

void ours_session(unsigned threads)
{
    static bool open;
    char text[16];

    if (open)
        nrt_close();
    snprintf(text, sizeof(text), "%u", threads);
    setenv("OPENNRT_HOST_THREADS", text, 1);
    ours_must(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
    open = true;
}

void *ours_assemble(const char *text, bool plain_tar, size_t *ret_size)
{
    struct neff_asm_options options = {.file = "bench", .arch = "trn1"};
    struct neff_build_options write = {.arch = "trn1", .plain_tar = plain_tar};
    struct neff_error error = {0};
    struct neff_build *b = NULL;
    void *bytes = NULL;

    if (neff_asm_text(text, strlen(text), &options, &b, NULL, &error) != NRT_SUCCESS) {
        fprintf(stderr, "bench: %s\n", error.text);
        exit(1);
    }
    if (neff_build_write_memory(b, &write, &bytes, ret_size) != NRT_SUCCESS) {
        fprintf(stderr, "bench: %s\n", neff_build_error(b));
        exit(1);
    }
    neff_build_destroy(b);
    return bytes;
}

struct ours *ours_open_neff(const void *neff, size_t size)
{
    struct ours *o = calloc(1, sizeof(*o));
    nrt_tensor_info_array_t *infos = NULL;

    if (!o)
        exit(1);
    ours_must(nrt_load(neff, size, 0, 1, &o->model), "nrt_load");
    ours_must(nrt_get_model_tensor_info(o->model, &infos), "nrt_get_model_tensor_info");
    ours_must(nrt_allocate_tensor_set(&o->in), "set");
    ours_must(nrt_allocate_tensor_set(&o->out), "set");
    for (uint64_t i = 0; i < infos->tensor_count && i < OURS_TENSORS; i++) {
        const nrt_tensor_info_t *t = &infos->tensor_array[i];

        o->size[i] = t->size;
        o->is_input[i] = t->usage == NRT_TENSOR_USAGE_INPUT;
        ours_must(
            nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, t->size, t->name, &o->tensor[i]),
            "nrt_tensor_allocate");
        ours_must(
            nrt_add_tensor_to_tensor_set(o->is_input[i] ? o->in : o->out, t->name, o->tensor[i]),
            "nrt_add_tensor_to_tensor_set");
        o->count++;
    }
    nrt_free_model_tensor_info(infos);
    return o;
}

struct ours *ours_open(const char *text)
{
    size_t size = 0;
    void *neff = ours_assemble(text, false, &size);
    struct ours *o = ours_open_neff(neff, size);

    neff_build_free(neff);
    return o;
}

void ours_close(struct ours *o)
{
    if (!o)
        return;
    ours_must(nrt_unload(o->model), "nrt_unload");
    for (unsigned i = 0; i < o->count; i++)
        nrt_tensor_free(&o->tensor[i]);
    nrt_destroy_tensor_set(&o->in);
    nrt_destroy_tensor_set(&o->out);
    free(o);
}

void ours_run(void *p)
{
    struct ours *o = p;

    ours_must(nrt_execute(o->model, o->in, o->out), "nrt_execute");
}

/* ---- queued executions ---- */

void ours_queue_open(struct ours *o)
{
    ours_must(nrta_error_tracker_create(0, &o->tracker), "nrta_error_tracker_create");
}

void ours_queue_close(struct ours *o)
{
    const nrta_error_t *list;
    size_t errors;

    ours_must(nrta_error_tracker_get_list(o->tracker, &list, &errors), "tracker");
    if (errors)
        ours_must((NRT_STATUS)list[0].error_code, "a queued execution");
    nrta_error_tracker_destroy(o->tracker);
}

/* The queue takes 63: the last ones of 64 may have to wait for the first. */
static nrta_seq_t schedule(struct ours *o, unsigned count)
{
    nrta_seq_t seq = 0;

    for (unsigned i = 0; i < count; i++) {
        NRT_STATUS status;

        do
            status = nrta_execute_schedule(o->model, o->in, o->out, 0, o->tracker, &seq);
        while (status == NRT_QUEUE_FULL);
        ours_must(status, "nrta_execute_schedule");
    }
    return seq;
}

static void await(nrta_seq_t seq)
{
    bool done;

    do
        ours_must(nrta_is_completed(seq, &done), "nrta_is_completed");
    while (!done);
}

/* A full queue logs each refusal: one fewer than 63 first, and the rest when these are through. */
void ours_queue_run(void *p)
{
    struct ours *o = p;
    nrta_seq_t first = schedule(o, 1);

    schedule(o, OURS_QUEUED - 2);
    await(first);
    await(schedule(o, 1));
}

double ours_schedule_us(struct ours *o, unsigned rounds)
{
    double us = 0;

    for (unsigned i = 0; i < rounds; i++) {
        double start;
        nrta_seq_t seq;

        schedule(o, 1); /* whoever carries it out is awake for the next ones */
        start = measure_now_us();
        seq = schedule(o, OURS_QUEUED - 2);
        us += measure_now_us() - start;
        await(seq);
    }
    return us / rounds / (OURS_QUEUED - 2);
}

static unsigned find(const struct ours *o, unsigned k, bool input, size_t size)
{
    for (unsigned i = 0; i < o->count; i++)
        if (o->is_input[i] == input && k-- == 0 && o->size[i] == size)
            return i;
    fprintf(stderr, "bench: no such tensor\n");
    exit(1);
}

void ours_fill(struct ours *o, unsigned k, const void *data, size_t size)
{
    ours_must(nrt_tensor_write(o->tensor[find(o, k, true, size)], data, 0, size), "write");
}

void ours_result(struct ours *o, unsigned k, void *data, size_t size)
{
    ours_must(nrt_tensor_read(o->tensor[find(o, k, false, size)], data, 0, size), "read");
}

/* ---- programs ---- */

const char ours_nothing[] = "var a: input f32[16]\n"
                            "var b: output f32[16]\n"
                            "sp:\n"
                            "    end\n";

#define ROWS "const R = 128\nconst N = 4096\n"
/* W columns at a time, in place in one tile. What a program leaves in SBUF has to be written there
 * as well as to HBM, so each further tile that its end leaves full is bytes to store. %s: the
 * function. */
static const char activation[] =
    ROWS "const W = 512\n"
         "const T = N / W\n"
         "var x: input f32[R, N]\n"
         "var y: output f32[R, N]\n"
         "queue qIn: in owner=sp n=16\n"
         "queue qOut: out owner=sp n=16\n"
         "sem loaded, stored, done\n"
         "tile t: sbuf f32[R, W]\n"
         "sp:\n"
         "    repeat i in 0..T {\n"
         "        wait stored >= 16 * i: dma on qIn -> loaded: t <- x[:, i * W : (i + 1) * W]\n"
         "        wait done >= i + 1: dma on qOut -> stored: y[:, i * W : (i + 1) * W] <- t\n"
         "    }\n"
         "    wait stored >= 16 * T: end\n"
         "act:\n"
         "    repeat i in 0..T {\n"
         "        wait loaded >= 16 * (i + 1): activation t, t, %s -> done++\n"
         "    }\n";

char *ours_activation_text(const char *function)
{
    size_t size = sizeof(activation) + strlen(function);
    char *text = malloc(size);

    if (!text)
        exit(1);
    snprintf(text, size, activation, function);
    return text;
}

const char ours_softmax[] =
    ROWS "var x: input f32[R, N]\n"
         "var y: output f32[R, N]\n"
         "queue qIn: in owner=sp n=16\n"
         "queue qOut: out owner=sp n=16\n"
         "sem loaded, stored, ready, done\n"
         "tile xs: sbuf f32[R, N]\n"
         "tile nmax, total, rtotal: sbuf f32[R, 1]\n"
         "sp:\n"
         "    dma on qIn -> loaded: xs <- x\n"
         "    wait done >= 1: dma on qOut -> stored: y <- xs\n"
         "    wait stored >= 16: end\n"
         "dve:\n"
         "    wait loaded >= 16: tensor_reduce nmax, xs, max, negate -> ready++\n"
         "act:\n"
         "    wait ready >= 1: activation xs, xs, exp, bias = nmax, reduce_op = add, "
         "reduce_cmd = reset_reduce, reduce_res = total -> ready++\n"
         "dve:\n"
         "    wait ready >= 2: reciprocal rtotal, total\n"
         "    tensor_scalar xs, xs, multiply, rtotal -> done++\n";

/* W columns at a time, in place in one tile: x is read once for its statistics and once more to be
 * scaled, as where a row is longer than a partition. gamma and beta go to all partitions; a result
 * leaves as soon as it is there. */
const char ours_layernorm[] =
    ROWS "const W = 512\n"
         "const T = N / W\n"
         "var x: input f32[R, N]\n"
         "var gamma, beta: input f32[N]\n"
         "var y: output f32[R, N]\n"
         "queue qIn: in owner=sp n=16\n"
         "queue qOut: out owner=sp n=16\n"
         "sem loaded, seen, operands, stored, ready, done\n"
         "tile t, gs, bs: sbuf f32[R, W]\n"
         "tile stats: sbuf f32[R, T, 6]\n"
         "tile mv: sbuf f32[R, 2]\n"
         "tile eps, rstd: sbuf f32[R, 1]\n"
         "sp:\n"
         "    repeat i in 0..T {\n"
         "        wait seen >= i: dma on qIn -> loaded: t <- x[:, i * W : (i + 1) * W]\n"
         "    }\n"
         "    wait seen >= T: nop\n"
         "    repeat i in 0..T {\n"
         "        wait stored >= 16 * i: dma on qIn -> operands: t <- x[:, i * W : (i + 1) * W]\n"
         "        dma on qIn -> operands: gs <- gamma[i * W : (i + 1) * W].bcast(R, W)\n"
         "        dma on qIn -> operands: bs <- beta[i * W : (i + 1) * W].bcast(R, W)\n"
         "        wait done >= i + 1: dma on qOut -> stored: y[:, i * W : (i + 1) * W] <- t\n"
         "    }\n"
         "    wait stored >= 16 * T: end\n"
         "dve:\n"
         "    memset eps, 1e-5\n"
         "    repeat i in 0..T {\n"
         "        wait loaded >= 16 * (i + 1): bn_stats stats[:, i, :], t -> seen++\n"
         "    }\n"
         "    bn_aggr mv, stats -> ready++\n"
         "act:\n"
         "    wait ready >= 1: activation rstd, mv[:, 1:2], rsqrt, bias = eps -> ready++\n"
         "dve:\n"
         "    wait ready >= 2: nop\n"
         "    repeat i in 0..T {\n"
         "        wait operands >= 48 * (i + 1): scalar_tensor_tensor t, t, subtract, mv[:, 0:1], "
         "multiply, gs\n"
         "        scalar_tensor_tensor t, t, multiply, rstd, add, bs -> done++\n"
         "    }\n";

/* The same with x in SBUF from its statistics to its result, as a program for the device would have
 * it, where HBM is the slower one: here what SBUF holds afterwards has to be written there. */
const char ours_layernorm_kept[] =
    ROWS "const W = 512\n"
         "const T = N / W\n"
         "var x: input f32[R, N]\n"
         "var gamma, beta: input f32[N]\n"
         "var y: output f32[R, N]\n"
         "queue qIn: in owner=sp n=16\n"
         "queue qOut: out owner=sp n=16\n"
         "sem loaded, weights, stored, ready, done\n"
         "tile xs: sbuf f32[R, N]\n"
         "tile gs, bs, ys: sbuf f32[R, W]\n"
         "tile stats: sbuf f32[R, T, 6]\n"
         "tile mv: sbuf f32[R, 2]\n"
         "tile eps, rstd: sbuf f32[R, 1]\n"
         "sp:\n"
         "    dma on qIn -> loaded: xs <- x\n"
         "    repeat i in 0..T {\n"
         "        wait stored >= 16 * i: dma on qIn -> weights: "
         "gs <- gamma[i * W : (i + 1) * W].bcast(R, W)\n"
         "        dma on qIn -> weights: bs <- beta[i * W : (i + 1) * W].bcast(R, W)\n"
         "        wait done >= i + 1: dma on qOut -> stored: y[:, i * W : (i + 1) * W] <- ys\n"
         "    }\n"
         "    wait stored >= 16 * T: end\n"
         "dve:\n"
         "    memset eps, 1e-5\n"
         "    wait loaded >= 16: nop\n"
         "    repeat i in 0..T {\n"
         "        bn_stats stats[:, i, :], xs[:, i * W : (i + 1) * W]\n"
         "    }\n"
         "    bn_aggr mv, stats -> ready++\n"
         "act:\n"
         "    wait ready >= 1: activation rstd, mv[:, 1:2], rsqrt, bias = eps -> ready++\n"
         "dve:\n"
         "    wait ready >= 2: nop\n"
         "    repeat i in 0..T {\n"
         "        wait weights >= 32 * (i + 1): scalar_tensor_tensor xs[:, i * W : (i + 1) * W], "
         "xs[:, i * W : (i + 1) * W], subtract, mv[:, 0:1], multiply, gs\n"
         "        scalar_tensor_tensor ys, xs[:, i * W : (i + 1) * W], multiply, rstd, add, bs "
         "-> done++\n"
         "    }\n";

/* The sum takes the place of the first addend. */
const char ours_add[] =
    ROWS "const W = 512\n"
         "const T = N / W\n"
         "var a, b: input f32[R, N]\n"
         "var y: output f32[R, N]\n"
         "queue qIn: in owner=sp n=16\n"
         "queue qOut: out owner=sp n=16\n"
         "sem loaded, stored, done\n"
         "tile s, t: sbuf f32[R, W]\n"
         "sp:\n"
         "    repeat i in 0..T {\n"
         "        wait stored >= 16 * i: dma on qIn -> loaded: s <- a[:, i * W : (i + 1) * W]\n"
         "        dma on qIn -> loaded: t <- b[:, i * W : (i + 1) * W]\n"
         "        wait done >= i + 1: dma on qOut -> stored: y[:, i * W : (i + 1) * W] <- s\n"
         "    }\n"
         "    wait stored >= 16 * T: end\n"
         "dve:\n"
         "    repeat i in 0..T {\n"
         "        wait loaded >= 32 * (i + 1): tensor_tensor s, s, t, add -> done++\n"
         "    }\n";

const char ours_add_sbuf[] = ROWS "var a: input f32[16]\n"
                                  "var b: output f32[16]\n"
                                  "tile xs, ys, zs: sbuf f32[R, N]\n"
                                  "dve:\n"
                                  "    memset xs, 1.0\n"
                                  "    memset ys, 2.0\n"
                                  "    for i in 0..64 {\n"
                                  "        tensor_tensor zs, xs, ys, add\n"
                                  "    }\n";

/* 8 blocks of 256 rows by 2 of 1024 columns. A block's 64 matmuls fill half of the banks while the
 * other half is evicted; each stationary tile meets two moving ones, and each moving tile two
 * stationary ones. */
static const char matmul[] =
    "const N = 2048\n"
    "const NB = N / 128\n"
    "var at, b: input %s[N, N]\n"
    "var c: output f32[N, N]\n"
    "queue qA: in owner=sp n=16\n"
    "queue qB: in owner=sp n=16\n"
    "queue qC: out owner=sp n=16\n"
    "sem a_loaded, b_loaded, stored, multiplied, evicted\n"
    "tile bs: sbuf %s[128, NB, N]\n"
    "tile as: sbuf %s[128, 2, NB, 256]\n"
    "tile cs: sbuf f32[128, 2, 2, 1024]\n"
    "tile z: psum f32[128, 8, 512] bank=0\n"
    "sp:\n"
    "    dma on qB -> b_loaded: bs <- b.reshape(NB, 128, N).perm(1, 0, 2)\n"
    "    repeat m in 0..NB / 2 {\n"
    "        wait multiplied >= (m < 2 ? 0 : 2 * (m - 1)):\n"
    "            dma on qA -> a_loaded: as[:, m %% 2, :, :] <- at.reshape(NB, 128, "
    "N).perm(1, 0, 2)[:, :, m * 256 : (m + 1) * 256]\n"
    "        if m > 0 {\n"
    "            repeat n in 0..2 {\n"
    "                wait evicted >= 4 * (2 * (m - 1) + n + 1): dma on qC -> stored: "
    "c.reshape(NB, 128, N).perm(1, 0, 2)[:, 2 * (m - 1) : 2 * m, n * 1024 : (n + 1) * 1024] "
    "<- cs[:, n, :, :]\n"
    "            }\n"
    "        }\n"
    "    }\n"
    "    repeat n in 0..2 {\n"
    "        wait evicted >= 4 * (NB - 1 + n): dma on qC -> stored: c.reshape(NB, 128, "
    "N).perm(1, 0, 2)[:, NB - 2 : NB, n * 1024 : (n + 1) * 1024] <- cs[:, n, :, :]\n"
    "    }\n"
    "    wait stored >= 16 * NB: end\n"
    "pe:\n"
    "    wait b_loaded >= 16: nop\n"
    "    repeat m in 0..NB / 2 {\n"
    "        repeat n in 0..2 {\n"
    "            wait a_loaded >= 16 * (m + 1), evicted >= (m < 1 ? 0 : 4 * (2 * (m - 1) + n "
    "+ 1)): nop\n"
    "            repeat h in 0..2 {\n"
    "                repeat q in 0..2 {\n"
    "                    nc_matmul z[:, 4 * n + 2 * h + q, :], as[:, m %% 2, 0, h * 128 : (h "
    "+ 1) * 128], bs[:, 0, (2 * n + q) * 512 : (2 * n + q + 1) * 512]\n"
    "                }\n"
    "            }\n"
    "            repeat k in 1..NB {\n"
    "                repeat h in 0..2 {\n"
    "                    repeat q in 0..2 {\n"
    "                        nc_matmul z[:, 4 * n + 2 * h + q, :], as[:, m %% 2, k, h * 128 "
    ": (h + 1) * 128], bs[:, k, (2 * n + q) * 512 : (2 * n + q + 1) * 512], acc\n"
    "                    }\n"
    "                }\n"
    "            }\n"
    "            nop -> multiplied++\n"
    "        }\n"
    "    }\n"
    "dve:\n"
    "    repeat m in 0..NB / 2 {\n"
    "        repeat n in 0..2 {\n"
    "            wait multiplied >= 2 * m + n + 1, stored >= (m < 1 ? 0 : 16 * (2 * (m - 1) "
    "+ n + 1)): nop\n"
    "            repeat h in 0..2 {\n"
    "                repeat q in 0..2 {\n"
    "                    tensor_copy cs[:, n, h, q * 512 : (q + 1) * 512], z[:, 4 * n + 2 * "
    "h + q, :] -> evicted++\n"
    "                }\n"
    "            }\n"
    "        }\n"
    "    }\n";

char *ours_matmul_text(const char *dtype)
{
    size_t size = sizeof(matmul) + 32;
    char *text = malloc(size);

    if (!text)
        exit(1);
    snprintf(text, size, matmul, dtype, dtype, dtype);
    return text;
}
