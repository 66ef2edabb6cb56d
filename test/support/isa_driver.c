/* SPDX-License-Identifier: Apache-2.0 */
/* Runs batches of instruction cases for the oracle (test/oracle/run_oracle.py): reads memories,
 * registers and records from one file, checks the records as one engine's program, executes them in
 * order on one core's kernels, writes
 * status and memories to another.
 *
 *   isa_driver IN OUT fast|exact
 *
 * IN: "ORC1", case count; per case eight words (generation, records, records that may be fused,
 * registers, SBUF window base and bytes, PSUM window base and bytes), (engine, register, value)
 * words, records, SBUF window (128 rows), PSUM window. OUT per case: status, text length, text,
 * both windows. Bytes outside the windows must stay untouched; a violation ends the program. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernel/kernel.h"

#define FILL 0xA5

struct window {
    uint8_t *mem;
    size_t stride;
    uint32_t row_bytes, base, bytes;
};

static void die(const char *what)
{
    fprintf(stderr, "isa_driver: %s\n", what);
    exit(2);
}

static void get(void *p, size_t n, FILE *f)
{
    if (n > 0 && fread(p, 1, n, f) != n)
        die("the input ends early");
}

static void put(const void *p, size_t n, FILE *f)
{
    if (n > 0 && fwrite(p, 1, n, f) != n)
        die("cannot write the output");
}

static struct window sbuf_of(struct kernel_core *kc)
{
    return (struct window){.mem = kc->sbuf, .stride = kc->sbuf_stride, .row_bytes = kc->sbuf_bytes};
}

static struct window psum_of(struct kernel_core *kc)
{
    return (struct window){.mem = kc->psum, .stride = kc->psum_stride, .row_bytes = ISA_PSUM_BYTES};
}

static uint8_t *row(const struct window *w, unsigned part)
{
    return w->mem + part * w->stride + w->base;
}

static void window_load(const struct window *w, FILE *f)
{
    if ((uint64_t)w->base + w->bytes > w->row_bytes)
        die("a window does not fit");
    for (unsigned p = 0; p < ISA_PARTITIONS; p++)
        get(row(w, p), w->bytes, f);
}

/* Write the window and cover its traces. */
static void window_save(const struct window *w, FILE *f)
{
    for (unsigned p = 0; p < ISA_PARTITIONS; p++) {
        put(row(w, p), w->bytes, f);
        memset(row(w, p), FILL, w->bytes);
    }
}

static void memory_fill(const struct window *w)
{
    for (unsigned p = 0; p < ISA_PARTITIONS; p++)
        memset(w->mem + p * w->stride, FILL, w->row_bytes);
}

static void memory_check(const struct window *w, const char *name)
{
    for (unsigned p = 0; p < ISA_PARTITIONS; p++) {
        const uint8_t *r = w->mem + p * w->stride;

        for (uint32_t i = 0; i < w->row_bytes; i++) {
            if (r[i] != FILL) {
                fprintf(stderr, "isa_driver: %s partition %u byte %u written outside the case\n",
                        name, p, i);
                exit(3);
            }
        }
    }
}

static void generators_reset(struct kernel_core *kc)
{
    for (unsigned p = 0; p < ISA_PARTITIONS; p++) {
        for (unsigned k = 0; k < 4; k++)
            kernel_rng_seed(&kc->dve_rng[p][k], ((uint64_t)k << 8) | p);
        kernel_rng_seed(&kc->pool_rng[p], p);
    }
}

/* The load-time check of the records as one program of their engine. */
static NRT_STATUS records_check(const struct isa_record *rec, uint32_t count, enum isa_gen gen,
                                struct err *err)
{
    struct isa_check_env env = {.gen = gen, .lnc = 1};
    struct isa_record *program = calloc(count + 1, sizeof(*program));
    NRT_STATUS status;

    if (!program || count == 0)
        die("no memory, or a case without records");
    memcpy(program, rec, count * sizeof(*program));
    program[count].opcode = ISA_OP_END;
    program[count].version = ISA_VERSION;
    program[count].engine = rec[0].engine;
    status = isa_check_program(program, (count + 1) * sizeof(*program),
                               (enum isa_engine)rec[0].engine, &env, NULL, err);
    free(program);
    return status;
}

static NRT_STATUS records_run(struct kernel_core *kc, const struct isa_record *rec, uint32_t count,
                              uint32_t max_fused, enum kernel_math math,
                              uint32_t regs[ISA_ENGINES][ISA_REGS], struct err *err)
{
    struct arena arena = {0};
    NRT_STATUS status = NRT_SUCCESS;

    for (uint32_t i = 0; i < count && status == NRT_SUCCESS;) {
        struct kernel_op op;
        uint32_t max = count - i < max_fused ? count - i : max_fused;

        memset(&op, 0, sizeof(op));
        status = kernel_lower(&rec[i], max, kc, math, &arena, &op, err);
        if (status != NRT_SUCCESS)
            break;
        if (op.consumed < 1 || op.consumed > max)
            die("kernel_lower consumed a wrong number of records");
        status = op.fn(&op, kc, regs[rec[i].engine], err);
        i += op.consumed;
    }
    arena_fini(&arena);
    return status;
}

static void case_run(struct kernel_core *kc, const uint32_t head[8], enum kernel_math math,
                     FILE *in, FILE *out)
{
    static uint32_t regs[ISA_ENGINES][ISA_REGS];
    struct window sbuf = sbuf_of(kc), psum = psum_of(kc);
    struct isa_record *rec = calloc(head[1] ? head[1] : 1, sizeof(*rec));
    struct err err = {0};
    int32_t status;
    uint32_t length;

    if (!rec)
        die("no memory");
    memset(regs, 0, sizeof(regs));
    for (uint32_t i = 0; i < head[3]; i++) {
        uint32_t r[3];

        get(r, sizeof(r), in);
        if (r[0] >= ISA_ENGINES || r[1] >= ISA_REGS)
            die("a register that does not exist");
        regs[r[0]][r[1]] = r[2];
    }
    get(rec, head[1] * sizeof(*rec), in);
    sbuf.base = head[4];
    sbuf.bytes = head[5];
    psum.base = head[6];
    psum.bytes = head[7];
    window_load(&sbuf, in);
    window_load(&psum, in);
    kernel_core_start(kc);
    generators_reset(kc);
    status = records_check(rec, head[1], kc->gen, &err);
    if (status == NRT_SUCCESS)
        status = records_run(kc, rec, head[1], head[2], math, regs, &err);
    length = strlen(err.text);
    put(&status, sizeof(status), out);
    put(&length, sizeof(length), out);
    put(err.text, length, out);
    window_save(&sbuf, out);
    window_save(&psum, out);
    free(rec);
}

int main(int argc, char **argv)
{
    struct kernel_core core[5];
    bool present[5] = {false};
    enum kernel_math math;
    FILE *in, *out;
    char magic[4];
    uint32_t count;

    if (argc != 4)
        die("usage: isa_driver IN OUT fast|exact");
    math = strcmp(argv[3], "exact") == 0 ? KERNEL_MATH_EXACT : KERNEL_MATH_FAST;
    in = fopen(argv[1], "rb");
    out = fopen(argv[2], "wb");
    if (!in || !out)
        die("cannot open the files");
    get(magic, 4, in);
    get(&count, 4, in);
    if (memcmp(magic, "ORC1", 4) != 0)
        die("not a case file");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t head[8];
        struct err err = {0};

        get(head, sizeof(head), in);
        if (head[0] < ISA_V2 || head[0] > ISA_V4)
            die("unknown generation");
        if (!present[head[0]]) {
            struct window w;

            if (kernel_core_init(&core[head[0]], (enum isa_gen)head[0], 0, &err) != NRT_SUCCESS)
                die(err.text);
            present[head[0]] = true;
            w = sbuf_of(&core[head[0]]);
            memory_fill(&w);
            w = psum_of(&core[head[0]]);
            memory_fill(&w);
        }
        case_run(&core[head[0]], head, math, in, out);
    }
    for (unsigned g = ISA_V2; g <= ISA_V4; g++) {
        if (present[g]) {
            struct window s = sbuf_of(&core[g]), p = psum_of(&core[g]);

            memory_check(&s, "SBUF");
            memory_check(&p, "PSUM");
            kernel_core_fini(&core[g]);
        }
    }
    fclose(in);
    if (fclose(out) != 0)
        die("cannot write the output");
    return 0;
}
