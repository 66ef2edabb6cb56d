/* SPDX-License-Identifier: Apache-2.0 */
/* The bits of sums: values whose sums are not exact, added as docs/spec/collectives.md 5.2 and 6 to
 * 8 say for each algorithm: left to right in fp32, rounded once at the end of each step. The oracle
 * knows the order of the documentation only; it makes no schedule. OPENNRT_SEED replays values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cases.h"
#include "draw.h"
#include "runner.h"
#include "seed.h"

#define MOST 20 /* ranks */

static uint64_t seed;

/* ---- values ---- */

static const enum dtype types[] = {DT_FP32,   DT_BF16,   DT_FP16,    DT_FP8_E3,
                                   DT_FP8_E4, DT_FP8_E5, DT_FP8_E4FN};
#define TYPES (sizeof(types) / sizeof(types[0]))

/* To the type, to nearest, and back. */
static float rounded(enum dtype t, float v)
{
    uint8_t cell[8];

    dtype_store(t, cell, v);
    return dtype_load(t, cell);
}

/* Of both signs, with many bits; no sum of 20 overflows the type. */
static float value(enum dtype t, uint64_t salt, uint32_t r, uint64_t i)
{
    float most = t == DT_FP8_E3 ? 0.7f : dtype_size(t) == 1 ? 10 : 100;
    uint64_t draw = draw_mix(salt ^ draw_mix((uint64_t)r << 40 | i));

    return rounded(t, most * ((float)(draw % 2000003) / 1000001 - 1));
}

/* ---- one sum, by each algorithm ---- */

/* Left to right, rounded once, 16 sources to a step: the sum so far is the first of the next. */
static float sum_of(enum dtype t, const float *x, uint32_t n)
{
    float acc = x[0];

    for (uint32_t i = 1; i < n; i++) {
        acc += x[i];
        if (i % 15 == 0 && i + 1 < n)
            acc = rounded(t, acc);
    }
    return rounded(t, acc);
}

/* 6.1, 6.2: the sum begins at the position after the owner's and ends there; each hop adds what the
 * members of its position have. back: the channel runs the other way. */
static float ring(enum dtype t, const float *x, uint32_t n, uint32_t members, uint32_t owner,
                  bool back)
{
    uint32_t positions = n / members, at = owner / members;
    float acc = 0;

    for (uint32_t hop = 0; hop < positions; hop++) {
        at = (at + (back ? positions - 1 : 1)) % positions;
        for (uint32_t m = 0; m < members; m++)
            acc = hop + m == 0 ? x[at * members] : acc + x[at * members + m];
        acc = rounded(t, acc);
    }
    return acc;
}

/* 6.3: chips first, then over chips. */
static float mesh(enum dtype t, const float *x, uint32_t n, uint32_t per_chip)
{
    float part[MOST];

    for (uint32_t d = 0; d < n / per_chip; d++)
        part[d] = sum_of(t, x + d * per_chip, per_chip);
    return sum_of(t, part, n / per_chip);
}

/* 6.5: chips first, then the label's bits from the lowest. Devices 0 to 3 of a row have the routing
 * ids 0, 8, 9 and 1 (4), whose bits 0 and 3 are the label. */
static float rdh(enum dtype t, const float *x, uint32_t n, uint32_t per_chip)
{
    static const uint32_t label[][4] = {{0}, {0, 1}, {0}, {0, 2, 3, 1}}; /* by chips - 1 */
    uint32_t chips = n / per_chip;
    float part[4];

    for (uint32_t d = 0; d < chips; d++)
        part[label[chips - 1][d]] = sum_of(t, x + d * per_chip, per_chip);
    for (uint32_t bit = 1; bit < chips; bit *= 2)
        for (uint32_t v = 0; v < chips; v += 2 * bit)
            part[v] = rounded(t, part[v] + part[v + bit]);
    return part[0];
}

/* 7: a power of two, the highest bit of the rank first. */
static float halving(enum dtype t, const float *x, uint32_t n)
{
    float y[MOST];

    memcpy(y, x, n * sizeof(*y));
    for (uint32_t half = n / 2; half > 0; half /= 2)
        for (uint32_t r = 0; r < half; r++)
            y[r] = rounded(t, y[r] + y[r + half]);
    return y[0];
}

/* 7: even and odd of the first ranks are folded to leave a power of two. */
static float fold(enum dtype t, const float *x, uint32_t n)
{
    uint32_t power = 1, extra;
    float y[MOST];

    while (power * 2 <= n)
        power *= 2;
    extra = n - power;
    for (uint32_t r = 0; r < power; r++)
        y[r] = r < extra ? rounded(t, x[2 * r] + x[2 * r + 1]) : x[r + extra];
    return halving(t, y, power);
}

/* 7: the mirror of Bruck's all_gather. block[r][i] of rank r is its term of chunk r + i. */
static float bruck_mirror(enum dtype t, const float *x, uint32_t n, uint32_t owner)
{
    float block[MOST][MOST];
    uint32_t k = 0;

    for (uint32_t r = 0; r < n; r++)
        for (uint32_t i = 0; i < n; i++)
            block[r][i] = (r + i) % n == owner ? x[r] : 0;
    while (1u << k < n)
        k++;
    while (k-- > 0) {
        uint32_t from = 1u << k;

        for (uint32_t r = 0; r < n; r++) /* what is sent is not added to in the same step */
            for (uint32_t i = 0; i < from && from + i < n; i++)
                block[(r + from) % n][i] =
                    rounded(t, block[(r + from) % n][i] + block[r][from + i]);
    }
    return block[owner][0];
}

/* ---- where an element belongs ---- */

/* 5.1: length of a part, elements. */
static uint64_t part_len(uint64_t count, uint32_t parts, size_t size)
{
    uint64_t u = 64 / size, q = (count + parts - 1) / parts;

    return (q + u - 1) / u * u;
}

struct shape {
    uint32_t nodes, per_node;
};

static float between(enum dtype t, const struct op_case *c, enum sched_alg alg, const float *x,
                     uint32_t n, uint32_t owner)
{
    if (alg == SCHED_RING)
        return ring(t, x, n, 1, owner, false);
    if (alg == SCHED_MESH || alg == SCHED_MESH_ONE)
        return sum_of(t, x, n);
    if ((n & (n - 1)) == 0)
        return halving(t, x, n);
    return c->op == SCHED_ALL_REDUCE ? fold(t, x, n) : bruck_mirror(t, x, n, owner);
}

/* back: the element is in the second half of its chunk where the chunk has two channels. */
static float inside(const struct op_case *c, enum sched_alg alg, const float *x, uint32_t n,
                    uint32_t owner, bool back)
{
    uint32_t per_chip = n <= 4 ? n : n % 4 == 0 ? 4 : 1;

    if (c->variant != SCHED_STAGED || alg == SCHED_MESH_ONE)
        return sum_of(c->dtype, x, n);
    if (alg == SCHED_RING || alg == SCHED_KANGARING)
        return ring(c->dtype, x, n, alg == SCHED_KANGARING ? 2 : 1, owner, back);
    return alg == SCHED_MESH ? mesh(c->dtype, x, n, per_chip) : rdh(c->dtype, x, n, per_chip);
}

/* Element i of the output of rank me. */
static float expected(const struct op_case *c, const struct shape *s, uint32_t me, uint64_t i)
{
    size_t size = dtype_size(c->dtype);
    uint32_t n = s->nodes * s->per_node, owner = me;
    uint64_t at = i, chunk = c->counts[0];
    float x[MOST], part[MOST];
    bool back;

    if (c->op == SCHED_ALL_REDUCE) {
        chunk = part_len(c->counts[0], n, size);
        owner = (uint32_t)(i / chunk);
        at = i % chunk;
        if ((owner + 1) * chunk > c->counts[0])
            chunk = c->counts[0] - owner * chunk;
    } else {
        i += me * c->counts[0];
    }
    for (uint32_t r = 0; r < n; r++)
        x[r] = value(c->dtype, c->salt, r, i);
    if (s->per_node == 1)
        return between(c->dtype, c, c->alg, x, n, owner);
    /* 4: four devices of a row have a cycle and its reverse, the others here one channel */
    back = n == 16 && at >= part_len(chunk, 2, size);
    if (s->nodes == 1)
        return inside(c, c->alg, x, n, owner, back);
    /* shapes are chosen so that the order of a stage does not depend on the owner */
    for (uint32_t k = 0; k < s->nodes; k++)
        part[k] = inside(c, c->intra, x + k * s->per_node, s->per_node, 0, false);
    return between(c->dtype, c, c->inter, part, s->nodes, 0);
}

/* ---- running ---- */

struct tally {
    uint32_t ran[SCHED_OP_COUNT][SCHED_ALG_COUNT][SCHED_VARIANT_COUNT];
    uint32_t odd; /* elements of rank 0 that are not the sum in rank order, rounded at the end */
};

static const char *compare(struct rank *r, const struct case_kit *k, const struct shape *s)
{
    static _Thread_local char text[256];
    struct tally *tally = ranks_shared(r);
    size_t size = dtype_size(k->c.dtype);

    for (uint64_t i = 0; i < k->ts.out_len[0]; i++) {
        float want = expected(&k->c, s, r->me, i), all[MOST] = {0};
        uint8_t cell[8];

        dtype_store(k->c.dtype, cell, want);
        if (memcmp(cell, k->ts.out[0] + i * size, size) != 0) {
            snprintf(text, sizeof(text),
                     "%s by %s (%s, %s), %s, %s of %llu%s: element %llu is %g, not %g",
                     sched_op_name(k->c.op), sched_alg_name(k->c.alg), sched_alg_name(k->c.intra),
                     sched_alg_name(k->c.inter), sched_variant_name(k->c.variant),
                     dtype_name(k->c.dtype), (unsigned long long)k->c.counts[0],
                     k->c.in_place ? " in place" : "", (unsigned long long)i,
                     (double)dtype_load(k->c.dtype, k->ts.out[0] + i * size), (double)want);
            return text;
        }
        if (r->me != 0) /* one writer */
            continue;
        for (uint32_t q = 0; q < r->n; q++)
            all[q] = value(k->c.dtype, k->c.salt, q, i);
        tally->odd += sum_of(k->c.dtype, all, r->n) != want;
    }
    return NULL;
}

static const char *one_case(struct rank *r, const struct op_case *c, const struct shape *s)
{
    static _Thread_local struct err err;
    struct tally *tally = ranks_shared(r);
    const char *text = NULL;
    struct case_kit k;
    NRT_STATUS st;
    bool ran;

    err = (struct err){0};
    st = case_open(r, &k, c, &err);
    ran = k.s != NULL; /* else this algorithm does not have it */
    for (uint64_t i = 0; !st && i < k.ts.in_len[0]; i++)
        dtype_store(c->dtype, k.ts.in[0] + i * dtype_size(c->dtype),
                    value(c->dtype, c->salt, r->me, i));
    if (!st)
        st = coll_begin(k.plan, k.ts.in_addr, k.ts.out_addr, &err);
    if (!st)
        st = coll_wait(r->comm, &err);
    if (!st)
        text = compare(r, &k, s);
    if (!st && r->me == 0)
        tally->ran[c->op][c->alg][c->variant]++;
    case_close(&k);
    rank_memory_free(r);
    return ran && st ? err.text : text;
}

static const char *body(struct rank *r)
{
    static const enum sched_op ops[] = {SCHED_ALL_REDUCE, SCHED_REDUCE_SCATTER};
    static _Thread_local struct err first;
    const struct shape *s = r->arg;
    const char *said;
    uint64_t salt = draw_mix(seed + 100 * s->nodes + s->per_node);

    for (unsigned o = 0; o < 2; o++)
        for (unsigned way = 0; way < SCHED_ALG_COUNT * SCHED_VARIANT_COUNT; way++)
            for (unsigned t = 0; t < TYPES; t++, salt += 64) {
                struct op_case c = {.op = ops[o],
                                    .alg = (enum sched_alg)(way / SCHED_VARIANT_COUNT),
                                    .variant = (enum sched_variant)(way % SCHED_VARIANT_COUNT),
                                    .intra = draw_mix(salt + 1) % 2 ? SCHED_RING : SCHED_MESH,
                                    .inter = s->nodes > 2             ? SCHED_MESH
                                             : draw_mix(salt + 2) % 2 ? SCHED_RING
                                                                      : SCHED_RDH,
                                    .dtype = types[t],
                                    .reduce = KERNEL_COMBINE_SUM,
                                    .tensors = 1,
                                    .in_place = draw_mix(salt + 3) % 2,
                                    .chunk_bytes = draw_mix(salt + 4) % 2 ? 256 : 0,
                                    .salt = salt};

                c.counts[0] = 1 + draw_mix(salt + 5) % (c.variant == SCHED_INLINE ? 40 : 700);
                said = one_case(r, &c, s);
                if (said && !first.status) /* go on: the others do */
                    (void)err_set(&first, NRT_FAILURE, "%s", said);
            }
    return first.status ? first.text : NULL;
}

static void shape_run(struct shape s, const enum sched_alg *algs, unsigned n)
{
    struct ranks_nodes w = {.nodes = s.nodes, .per_node = s.per_node};
    const char *text = ranks_run_nodes(RANKS_PROCESSES, &w, 120000, body, &s);
    struct tally t;

    memcpy(&t, ranks_shared_last(), sizeof(t));
    if (text)
        fail_msg("%u nodes of %u ranks, seed %llu: %s", s.nodes, s.per_node,
                 (unsigned long long)seed, text);
    for (unsigned i = 0; i < n; i++)
        if (t.ran[SCHED_ALL_REDUCE][algs[i]][SCHED_STAGED] != TYPES ||
            (algs[i] != SCHED_MESH_ONE &&
             t.ran[SCHED_REDUCE_SCATTER][algs[i]][SCHED_STAGED] != TYPES))
            fail_msg("%s did not run with every type on %u nodes of %u ranks",
                     sched_alg_name(algs[i]), s.nodes, s.per_node);
    if (s.nodes == 1 && (!t.ran[SCHED_ALL_REDUCE][SCHED_MESH][SCHED_DIRECT] ||
                         !t.ran[SCHED_ALL_REDUCE][SCHED_MESH][SCHED_INLINE]))
        fail_msg("no direct or inline sum");
    print_message("%u nodes of %u ranks: %u elements tell the order\n", s.nodes, s.per_node, t.odd);
    assert_true(t.odd > 0 || s.nodes * s.per_node == 2);
}

static void ranks_of_a_node(void **state)
{
    static const enum sched_alg algs[] = {SCHED_RING, SCHED_MESH, SCHED_MESH_ONE, SCHED_RDH,
                                          SCHED_KANGARING};
    static const struct {
        uint32_t n;
        unsigned algs;
    } runs[] = {{2, 4}, {3, 4}, {4, 4}, {5, 3}, {8, 5}, {16, 5}, {20, 3}};

    /* in an emulator the numbers of ranks end at 8 */
    for (unsigned i = 0; i < (runner_emulated() ? 5 : sizeof(runs) / sizeof(runs[0])); i++)
        shape_run((struct shape){1, runs[i].n}, algs, runs[i].algs);
    (void)state;
}

static void one_rank_a_node(void **state)
{
    static const enum sched_alg algs[] = {SCHED_RING, SCHED_MESH, SCHED_MESH_ONE, SCHED_RDH};

    for (uint32_t n = 2; n <= 5; n++)
        shape_run((struct shape){n, 1}, algs, 4);
    (void)state;
}

static void two_levels(void **state)
{
    static const enum sched_alg algs[] = {SCHED_HIER};

    shape_run((struct shape){2, 2}, algs, 1);
    shape_run((struct shape){3, 2}, algs, 1);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_of_a_node),
        cmocka_unit_test(one_rank_a_node),
        cmocka_unit_test(two_levels),
    };

    if (!ranks_have_emulator_room())
        return RUNNER_SKIP;
    seed = seed_take(7);
    runner_watchdog(280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
