/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmarks: one table with our figure, the peer's, and the ratio.
 *
 *     bench [row ...]      rows whose name contains one of the words; default: all */
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"
#include "neff/asm.h"
#include "neff/build.h"
#include "nrt/nrt_experimental.h"
#include "ours.h"
#include "peers.h"

#define N_GEMM  2048
#define ROWS    128
#define COLUMNS 4096
#define KIB     1024u
#define MIB     (1024u * KIB)

static int word_count;
static char **words;
static bool all_met = true;
static struct peer_ocl *ocl;
static const char *ocl_why;
static struct peer_numpy *numpy;
static const char *numpy_why;

static bool wanted(const char *name)
{
    for (int i = 0; i < word_count; i++)
        if (strstr(name, words[i]))
            return true;
    return word_count == 0;
}

static void row_finish(struct measure_row *row)
{
    measure_run(row);
    all_met = measure_print(row) && all_met;
}

/* ---- matrix products ---- */

static uint16_t bf16(float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof(u));
    return (uint16_t)(u >> 16); /* the values below are exact */
}

/* Our product against OpenBLAS or a plain sum at sampled places. */
static void gemm_check(struct ours *o, const float *a, const float *b)
{
    float *c = malloc(sizeof(*c) * N_GEMM * N_GEMM);

    if (!c)
        exit(1);
    ours_run(o);
    ours_result(o, 0, c, sizeof(*c) * N_GEMM * N_GEMM);
    for (unsigned s = 0; s < 200; s++) {
        unsigned i = s * 131 % N_GEMM, j = s * 197 % N_GEMM;
        double sum = 0;

        for (unsigned k = 0; k < N_GEMM; k++)
            sum += (double)a[i * N_GEMM + k] * (double)b[k * N_GEMM + j];
        if (fabs(sum - (double)c[i * N_GEMM + j]) > 1e-3 * (1 + fabs(sum))) {
            fprintf(stderr, "bench: wrong product at %u, %u\n", i, j);
            exit(1);
        }
    }
    free(c);
}

static void gemm_row(bool is_bf16, unsigned threads, const float *a, const float *b)
{
    size_t count = (size_t)N_GEMM * N_GEMM, bytes = count * (is_bf16 ? 2 : 4);
    uint8_t *at = malloc(bytes), *bt = malloc(bytes);
    char name[80], *text;
    struct ours *o;
    struct peer_gemm *blas = NULL, *dnnl;
    const char *why = NULL, *blas_why = NULL;

    snprintf(name, sizeof(name), "matmul 2048^3 %s, %u thread%s", is_bf16 ? "bf16 -> f32" : "f32",
             threads, threads > 1 ? "s" : "");
    if (!wanted(name) || !at || !bt) {
        free(at);
        free(bt);
        return;
    }
    for (size_t i = 0; i < N_GEMM; i++)
        for (size_t k = 0; k < N_GEMM; k++) {
            float x = a[i * N_GEMM + k], y = b[i * N_GEMM + k];

            if (is_bf16) {
                ((uint16_t *)at)[k * N_GEMM + i] = bf16(x);
                ((uint16_t *)bt)[i * N_GEMM + k] = bf16(y);
            } else {
                ((float *)at)[k * N_GEMM + i] = x;
                ((float *)bt)[i * N_GEMM + k] = y;
            }
        }
    ours_session(threads);
    text = ours_matmul_text(is_bf16 ? "bf16" : "f32");
    o = ours_open(text);
    free(text);
    ours_fill(o, 0, at, bytes);
    ours_fill(o, 1, bt, bytes);
    gemm_check(o, a, b);
    dnnl = peer_gemm_open(is_bf16 ? PEER_ONEDNN_BF16 : PEER_ONEDNN_F32, N_GEMM, a, b, &why);
    if (!is_bf16)
        blas = peer_gemm_open(PEER_OPENBLAS_F32, N_GEMM, a, b, &blas_why);
    {
        struct measure_row row = {.what = name,
                                  .kind = MEASURE_RATE,
                                  .unit = "GFLOP/s",
                                  .work = 2.0 * N_GEMM * N_GEMM * N_GEMM * 1e-3,
                                  .goal = is_bf16 || threads > 1 ? 0.85 : 0.90,
                                  .rounds = 9,
                                  .ours = {.run = ours_run, .arg = o},
                                  .peer = {{.name = "oneDNN, packed",
                                            .run = dnnl ? peer_gemm_run : NULL,
                                            .arg = dnnl,
                                            .why = why},
                                           {.name = is_bf16 ? NULL : "OpenBLAS",
                                            .run = blas ? peer_gemm_run : NULL,
                                            .arg = blas,
                                            .why = blas_why}}};

        row_finish(&row);
    }
    peer_gemm_close(dnnl);
    peer_gemm_close(blas);
    ours_close(o);
    free(at);
    free(bt);
}

/* The libraries read their thread counts once: two threads are a run of their own (--threads 2). */
static void gemm_rows(unsigned threads)
{
    size_t count = (size_t)N_GEMM * N_GEMM;
    float *a = measure_alloc(count * sizeof(*a)), *b = measure_alloc(count * sizeof(*b));

    for (size_t i = 0; i < count; i++) { /* eighths: exact in bf16, too */
        a[i] = (float)((int)(i * 7 % 17) - 8) / 8;
        b[i] = (float)((int)(i * 5 % 13) - 6) / 8;
    }
    if (threads > 1)
        printf("%-46s %10.3f us\n", "(flag round trip between two threads)",
               measure_round_trip_us());
    gemm_row(false, threads, a, b);
    gemm_row(true, threads, a, b);
    if (threads > 1)
        printf("%-46s %10.3f us\n", "(flag round trip between two threads)",
               measure_round_trip_us());
    free(a);
    free(b);
}

/* ---- the empty execution ---- */

static void nothing_row(void)
{
    const char *name = "nrt_execute of a NEFF that does nothing";
    struct ours *o;

    if (!wanted(name))
        return;
    o = ours_open(ours_nothing);
    {
        struct measure_row row = {.what = name,
                                  .kind = MEASURE_TIME,
                                  .unit = "us",
                                  .goal = 1.0,
                                  .ours = {.run = ours_run, .arg = o},
                                  .peer = {{.name = "PoCL basic, 4 args",
                                            .run = ocl ? peer_ocl_launch : NULL,
                                            .arg = ocl,
                                            .why = ocl_why}}};

        row_finish(&row);
    }
    ours_close(o);
}

/* ---- queued executions ---- */

static void queued_row(void)
{
    const char *name = "64 empty executions, queued and awaited";
    const char *why;
    struct peer_ocl *threads;
    struct ours *o;

    if (!wanted(name))
        return;
    threads = peer_ocl_open("pthread", KIB, &why);
    o = ours_open(ours_nothing);
    ours_queue_open(o);
    {
        struct measure_row row = {.what = name,
                                  .kind = MEASURE_TIME,
                                  .unit = "us",
                                  .goal = 0.5,
                                  .ours = {.run = ours_queue_run, .arg = o},
                                  .peer = {{.name = "PoCL pthread, 4 args",
                                            .run = threads ? peer_ocl_launch_many : NULL,
                                            .arg = threads,
                                            .why = why}}};

        row_finish(&row);
    }
    ours_queue_close(o);
    ours_close(o);
    peer_ocl_close(threads);
}

/* What it takes the caller to leave one execution to a unit that is at work. */
static void schedule_row(void)
{
    enum { ROUNDS = 31, QUEUES = 50 };
    const char *name = "nrta_execute_schedule, the caller's time";
    double us[ROUNDS], x;
    struct ours *o;

    if (!wanted(name))
        return;
    o = ours_open(ours_nothing);
    ours_queue_open(o);
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned at = i;

        x = ours_schedule_us(o, QUEUES);
        for (; at > 0 && us[at - 1] > x; at--)
            us[at] = us[at - 1];
        us[at] = x;
    }
    x = us[ROUNDS / 2];
    printf("%-46s %10.3f  %-20s %10.3f %-8s %7s  at most 0.5 us: %s\n", name, x,
           "(median; the least)", us[0], "us", "-", x <= 0.5 ? "met" : "MISSED");
    all_met = all_met && x <= 0.5;
    ours_queue_close(o);
    ours_close(o);
}

/* ---- tensors ---- */

struct transfer {
    nrt_tensor_t *tensor;
    void *host;
    size_t bytes;
};

static void tensor_write(void *p)
{
    struct transfer *t = p;

    ours_must(nrt_tensor_write(t->tensor, t->host, 0, t->bytes), "nrt_tensor_write");
}

static void tensor_read(void *p)
{
    struct transfer *t = p;

    ours_must(nrt_tensor_read(t->tensor, t->host, 0, t->bytes), "nrt_tensor_read");
}

static void tensor_row(const char *name, size_t bytes, bool write)
{
    void *host, *other;
    struct transfer t = {.bytes = bytes};
    struct peer_copy copy;
    bool large = bytes >= MIB;

    if (!wanted(name))
        return;
    host = measure_alloc(bytes);
    other = measure_alloc(bytes);
    t.host = host;
    copy = (struct peer_copy){.dst = write ? other : host, .src = write ? host : other, bytes};
    ours_must(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, bytes, "t", &t.tensor), "tensor");
    tensor_write(&t); /* touched before */
    if (ocl)
        peer_ocl_transfer(ocl, host, bytes);
    {
        struct measure_side pocl = {.name = "PoCL basic",
                                    .run = !ocl    ? NULL
                                           : write ? peer_ocl_write
                                                   : peer_ocl_read,
                                    .arg = ocl,
                                    .why = ocl_why};
        struct measure_row row = {.what = name,
                                  .kind = large ? MEASURE_RATE : MEASURE_TIME,
                                  .unit = large ? "GB/s" : "us",
                                  .work = large ? (double)bytes * 1e-3 : 0,
                                  .goal = large ? 0.95 : 0.5,
                                  .ours = {.run = write ? tensor_write : tensor_read, .arg = &t},
                                  .peer = {pocl}};

        if (large) {
            row.peer[1] =
                (struct measure_side){.name = "memcpy", .run = peer_copy_libc, .arg = &copy};
            row.peer[2] = (struct measure_side){
                .name = "streaming stores", .run = peer_copy_streaming, .arg = &copy};
        }
        row_finish(&row);
    }
    nrt_tensor_free(&t.tensor);
    free(host);
    free(other);
}

static void tensor_cycle(void *p)
{
    struct transfer *t = p;
    nrt_tensor_t *tensor = NULL;

    ours_must(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, t->bytes, "t", &tensor),
              "tensor");
    ours_must(nrt_tensor_write(tensor, t->host, 0, t->bytes), "nrt_tensor_write");
    nrt_tensor_free(&tensor);
}

static void cycle_row(void)
{
    const char *name = "allocate, write 16 MiB, free";
    struct transfer t = {.bytes = 16 * MIB};
    struct peer_copy copy;

    if (!wanted(name))
        return;
    t.host = measure_alloc(t.bytes);
    copy = (struct peer_copy){.src = t.host, .bytes = t.bytes};
    {
        struct measure_row row = {
            .what = name,
            .kind = MEASURE_RATE,
            .unit = "GB/s",
            .work = (double)t.bytes * 1e-3,
            .goal = 0.8,
            .ours = {.run = tensor_cycle, .arg = &t},
            .peer = {{.name = "malloc, memcpy, free", .run = peer_malloc_copy_free, .arg = &copy}}};

        row_finish(&row);
    }
    free(t.host);
}

/* ---- against NumPy ---- */

static void numpy_row(const char *name, const char *op, const char *text, double goal,
                      unsigned per_run)
{
    struct peer_numpy_op side = {numpy, op};
    float *data;
    struct ours *o;

    if (!wanted(name))
        return;
    data = measure_alloc((size_t)ROWS * COLUMNS * sizeof(*data));
    for (size_t i = 0; i < (size_t)ROWS * COLUMNS; i++)
        data[i] = (float)((int)(i * 7919 % 2001) - 1000) / 400;
    o = ours_open(text);
    for (unsigned i = 0; i < o->count; i++)
        if (o->is_input[i])
            ours_must(nrt_tensor_write(o->tensor[i], data, 0, o->size[i]), "write");
    {
        struct measure_row row = {.what = name,
                                  .kind = MEASURE_RATE,
                                  .unit = "Gelem/s",
                                  .work = (double)ROWS * COLUMNS * 1e-3,
                                  .goal = goal,
                                  .ours = {.run = ours_run, .arg = o},
                                  .peer = {{.name = "NumPy",
                                            .time_us = numpy ? peer_numpy_time_us : NULL,
                                            .arg = &side,
                                            .why = numpy_why}}};

        measure_run(&row);
        row.ours.us /= per_run;
        all_met = measure_print(&row) && all_met;
    }
    ours_close(o);
    free(data);
}

static void activation_row(const char *name, const char *function)
{
    char *text = ours_activation_text(function);

    numpy_row(name, function, text, 2, 1);
    free(text);
}

/* ---- loading ---- */

struct load {
    const void *neff;
    size_t size;
    int fd;
    const char *path;
};

static void load_run(void *p)
{
    struct load *l = p;
    nrt_model_t *model = NULL;

    ours_must(nrt_load(l->neff, l->size, 0, 1, &model), "nrt_load");
    ours_must(nrt_unload(model), "nrt_unload");
}

/* The cached file into fresh memory with small pages. */
static void pread_run(void *p)
{
    struct load *l = p;
    char *m = mmap(NULL, l->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (m == MAP_FAILED)
        exit(1);
    madvise(m, l->size, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < l->size;) {
        ssize_t n = pread(l->fd, m + at, l->size - at, (off_t)at);

        if (n <= 0)
            exit(1);
        at += (size_t)n;
    }
    munmap(m, l->size);
}

static void constants_row(void)
{
    const char *name = "load 1 GiB of constants, plain tar, mapped";
    char path[] = "/tmp/bench-constants-XXXXXX";
    struct neff_build_options options = {.arch = "trn1", .plain_tar = true};
    uint64_t bytes = (uint64_t)1024 * MIB;
    struct neff_asm_options text = {.arch = "trn1"};
    struct neff_build *b = NULL;
    struct load l = {.fd = mkstemp(path)};
    void *data;

    if (!wanted(name)) {
        unlink(path);
        close(l.fd);
        return;
    }
    data = measure_alloc(bytes);
    ours_must(neff_asm_text(ours_nothing, strlen(ours_nothing), &text, &b, NULL, NULL), "text");
    neff_build_constant_raw(b, 0, "w", bytes, data, bytes);
    ours_must(neff_build_write_file(b, &options, path), neff_build_error(b));
    neff_build_destroy(b);
    free(data);
    close(l.fd);
    l.fd = open(path, O_RDONLY);
    l.size = (size_t)lseek(l.fd, 0, SEEK_END);
    l.neff = mmap(NULL, l.size, PROT_READ, MAP_PRIVATE, l.fd, 0);
    if (l.neff == MAP_FAILED)
        exit(1);
    {
        struct measure_row row = {.what = name,
                                  .kind = MEASURE_RATE,
                                  .unit = "GB/s",
                                  .work = (double)bytes * 1e-3,
                                  .goal = 0.8,
                                  .rounds = 5,
                                  .ours = {.run = load_run, .arg = &l},
                                  .peer = {{.name = "pread", .run = pread_run, .arg = &l}}};

        row_finish(&row);
    }
    munmap((void *)l.neff, l.size);
    close(l.fd);
    unlink(path);
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Processor seconds of one load of a NEFF with that many descriptors or instructions: there is no
 * peer to be slowed down by the same neighbours. */
static double load_seconds(unsigned descriptors, unsigned instructions)
{
    size_t cap = (size_t)descriptors * 64 + (size_t)instructions * 40 + 512, size = 0, at;
    char *text = malloc(cap);
    double best = 1e30;
    void *neff;

    if (!text)
        exit(1);
    at = (size_t)snprintf(text, cap,
                          "var a: input f32[16]\nvar b: output f32[16]\n"
                          "tile t: sbuf f32[128, 64]\n");
    if (descriptors > 0) {
        at += (size_t)snprintf(text + at, cap - at,
                               "queue q: in owner=sp n=1\nsem s\nsp:\n"
                               "    repeat i in 0..%u {\n        dma on q -> s {\n",
                               descriptors / 100);
        for (unsigned i = 0; i < 100; i++)
            at += (size_t)snprintf(text + at, cap - at, "            b <- a\n");
        at += (size_t)snprintf(text + at, cap - at, "        }\n    }\n");
    }
    if (instructions > 0)
        at += (size_t)snprintf(text + at, cap - at,
                               "dve:\n    repeat i in 0..%u {\n"
                               "        tensor_scalar t, t, add, 1.0\n    }\n",
                               instructions);
    neff = ours_assemble(text, true, &size);
    free(text);
    for (unsigned i = 0; i < 3; i++) {
        struct load l = {.neff = neff, .size = size};
        double start = cpu_seconds(), s;

        load_run(&l);
        s = cpu_seconds() - start;
        best = s < best ? s : best;
    }
    neff_build_free(neff);
    return best;
}

static void load_row(const char *name, unsigned descriptors, unsigned instructions)
{
    double half, full;

    if (!wanted(name))
        return;
    half = load_seconds(descriptors / 2, instructions / 2);
    full = load_seconds(descriptors, instructions);
    printf("%-46s %10.3f  %-20s %10s %-8s %7.2f  < 1 s, twice as long as half of it: %s\n", name,
           full, "(half of it, ratio)", "-", "s", full / half,
           full < 1 && full / half < 2.5 ? "met" : "MISSED");
    all_met = all_met && full < 1 && full / half < 2.5;
}

/* nrt_init of one core, the first of a process that makes its instance and those that find it: the
 * slowest of all counts. run.sh asks for one core; no session may be open. */
static void init_row(void)
{
    enum { ROUNDS = 15 };
    const char *name = "nrt_init of one core";
    double first = 0, worst = 0;

    if (!wanted(name))
        return;
    for (unsigned i = 0; i < ROUNDS; i++) {
        double start = measure_now_us(), ms;

        ours_must(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
        ms = (measure_now_us() - start) / 1000;
        nrt_close();
        first = i == 0 ? ms : first;
        worst = ms > worst ? ms : worst;
    }
    printf("%-46s %10.3f  %-20s %10.3f %-8s %7s  at most 20 ms: %s\n", name, worst,
           "(slowest; the first)", first, "ms", "-", worst <= 20 ? "met" : "MISSED");
    all_met = all_met && worst <= 20;
}

static void rows_one_thread(void)
{
    init_row();
    gemm_rows(1);
    ours_session(1);
    nothing_row();
    queued_row();
    schedule_row();
    tensor_row("tensor write 4 KiB", 4 * KIB, true);
    tensor_row("tensor read 4 KiB", 4 * KIB, false);
    tensor_row("tensor write 16 MiB", 16 * MIB, true);
    tensor_row("tensor read 16 MiB", 16 * MIB, false);
    cycle_row();
    numpy_row("softmax 128x4096 f32 through HBM", "softmax", ours_softmax, 3, 1);
    numpy_row("layernorm 128x4096 f32 through HBM", "layernorm", ours_layernorm, 3, 1);
    numpy_row("layernorm, x kept in SBUF", "layernorm", ours_layernorm_kept, 0, 1);
    activation_row("tanh 128x4096 f32 through HBM", "tanh");
    activation_row("gelu 128x4096 f32 through HBM", "gelu");
    numpy_row("add 128x4096 f32 through HBM", "add", ours_add, 0.5, 1);
    numpy_row("add 128x4096 f32 SBUF to SBUF", "add", ours_add_sbuf, 1, OURS_ADDS);
    constants_row();
    load_row("load 100,000 descriptors, CPU time", 100000, 0);
    load_row("load 1,000,000 instructions, CPU time", 0, 1000000);
}

int main(int argc, char **argv)
{
    unsigned threads = 1;
    const char *script = getenv("BENCH_NUMPY");

    if (argc > 2 && strcmp(argv[1], "--threads") == 0) {
        threads = (unsigned)strtoul(argv[2], NULL, 10);
        argc -= 2;
        argv += 2;
    }
    word_count = argc - 1;
    words = argv + 1;
    if (threads > 1) {
        gemm_rows(threads);
    } else {
        ocl = peer_ocl_open("basic", 16 * MIB, &ocl_why);
        numpy = peer_numpy_open(script ? script : "bench/numpy_peer.py", &numpy_why);
        measure_print_head();
        rows_one_thread();
        peer_numpy_close(numpy);
        peer_ocl_close(ocl);
    }
    nrt_close();
    return all_met ? 0 : 3;
}
