/* SPDX-License-Identifier: Apache-2.0 */
/* The assembler: operands, views against an array of addresses. */
#include "records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct model {
    unsigned nd;
    int64_t dim[8];
    int64_t at[4096];
    size_t n;
};

static size_t flat(const struct model *m, const int64_t *i)
{
    size_t k = 0;

    for (unsigned d = 0; d < m->nd; d++)
        k = k * (size_t)m->dim[d] + (size_t)i[d];
    return k;
}

/* dst[i] = src[f(i)] for all i of dst's shape, by a chain of first/step per source dimension. */
static void model_pick(struct model *m, unsigned nd, const int64_t *dim, const int *src_dim,
                       const int64_t *first, const int64_t *step, const int64_t *fixed)
{
    static struct model old;
    int64_t i[8] = {0}, s[8];

    old = *m;
    m->nd = nd;
    m->n = 1;
    for (unsigned d = 0; d < nd; d++) {
        m->dim[d] = dim[d];
        m->n *= (size_t)dim[d];
    }
    for (size_t k = 0; k < m->n; k++) {
        for (unsigned d = 0; d < old.nd; d++)
            s[d] = fixed[d];
        for (unsigned d = 0; d < nd; d++)
            if (src_dim[d] >= 0)
                s[src_dim[d]] = first[d] + step[d] * i[d];
        m->at[k] = old.at[flat(&old, s)];
        for (unsigned d = nd; d-- > 0;) {
            if (++i[d] < m->dim[d])
                break;
            i[d] = 0;
        }
    }
}

/* One random index, permutation, broadcast or reshape, on the model and in text. */
static void random_view(struct rnd *r, struct model *m, char *text, bool hbm)
{
    int64_t dim[8], first[8], step[8], fixed[8] = {0};
    int src[8];
    unsigned nd = 0;
    char *t = text + strlen(text);

    if (m->nd == 0)
        return;
    switch (rnd_below(r, 4)) {
    case 0:
        t += sprintf(t, hbm ? "[" : "[:");
        for (unsigned d = 0; d < m->nd; d++) {
            int64_t a = rnd_below(r, (uint32_t)m->dim[d]), b, s = 1 + rnd_below(r, 3);

            t += sprintf(t, d || !hbm ? ", " : "");
            switch (rnd_below(r, m->nd - nd > 1 || nd ? 5 : 4)) {
            case 0:
                t += sprintf(t, ":");
                a = 0, b = m->dim[d], s = 1;
                break;
            case 1:
                b = a + 1 + rnd_below(r, (uint32_t)(m->dim[d] - a));
                t += sprintf(t, "%lld:%lld:%lld", (long long)a, (long long)b, (long long)s);
                break;
            case 2:
                b = a + 1 + rnd_below(r, (uint32_t)(m->dim[d] - a));
                s = 1;
                t += sprintf(t, "%lld +: %lld", (long long)a, (long long)(b - a));
                break;
            case 3:
                s = -s;
                b = -1;
                t += sprintf(t, "%lld::%lld", (long long)a, (long long)s);
                break;
            default:
                fixed[d] = a;
                t += sprintf(t, "%lld", (long long)a);
                continue;
            }
            first[nd] = a;
            step[nd] = s;
            dim[nd] = s > 0 ? (b - a - 1) / s + 1 : a / -s + 1;
            src[nd++] = (int)d;
        }
        t += sprintf(t, "]");
        break;
    case 1:
        for (unsigned d = 0; d < m->nd; d++)
            src[d] = (int)d;
        for (unsigned d = m->nd; d-- > 1;) {
            unsigned k = rnd_below(r, d + 1);
            int x = src[d];

            src[d] = src[k];
            src[k] = x;
        }
        t += sprintf(t, ".perm(");
        for (nd = 0; nd < m->nd; nd++) {
            dim[nd] = m->dim[src[nd]];
            first[nd] = 0;
            step[nd] = 1;
            t += sprintf(t, "%s%d", nd ? "," : "", src[nd]);
        }
        t += sprintf(t, ")");
        break;
    case 2:
        t += sprintf(t, ".bcast(");
        if (m->nd < 4 && m->n < 1000) {
            dim[0] = 2;
            src[0] = -1;
            nd = 1;
            t += sprintf(t, "2,");
        }
        for (unsigned d = 0; d < m->nd; d++, nd++) {
            dim[nd] = m->dim[d] == 1 ? 3 : m->dim[d];
            first[nd] = 0;
            step[nd] = m->dim[d] == 1 ? 0 : 1;
            src[nd] = (int)d;
            t += sprintf(t, "%s%lld", d ? "," : "", (long long)dim[nd]);
        }
        t += sprintf(t, ")");
        break;
    default:
        return;
    }
    model_pick(m, nd, dim, src, first, step, fixed);
}

static void views_address_what_they_say(void **state)
{
    struct rnd rnd = rnd_start();
    static struct model m;
    unsigned checked = 0;

    for (unsigned i = 0; i < 3000; i++) {
        int64_t dim[3] = {1 + rnd_below(&rnd, 5), 1 + rnd_below(&rnd, 6), 1 + rnd_below(&rnd, 7)};
        bool hbm = rnd_below(&rnd, 2);
        char text[1000], op[800] = "";
        struct isa_asm_result *r;
        struct err err = {0};
        struct isa_asm_opts o = {.no_check = true};
        size_t k = 0;

        m = (struct model){.nd = 3, .dim = {dim[0], dim[1], dim[2]}};
        m.n = (size_t)(dim[0] * dim[1] * dim[2]);
        for (size_t e = 0; e < m.n; e++)
            m.at[e] = 4 * (int64_t)e;
        for (unsigned v = rnd_below(&rnd, 4); v; v--)
            random_view(&rnd, &m, op, hbm);
        if (hbm)
            snprintf(text, sizeof(text),
                     "var x: input f32[%lld,%lld,%lld]\nqueue q: in owner=sp\n"
                     "tile T: sbuf f32[1, %zu]\ndma a on q: T <- x%s\n",
                     (long long)dim[0], (long long)dim[1], (long long)dim[2], m.n, op);
        else
            snprintf(text, sizeof(text),
                     "tile A: sbuf f32[7, %lld,%lld,%lld]\ndve: tensor_copy A, A%s\n",
                     (long long)dim[0], (long long)dim[1], (long long)dim[2], op);
        if (isa_asm(text, strlen(text), &o, NULL, &r, &err) != NRT_SUCCESS) {
            if (!strstr(err.text, "more than 4 dimensions"))
                fail_msg("%s%s", text, err.text);
            continue;
        }
        checked++;
        if (hbm) {
            const struct isa_asm_side *s = &r->core[0].dmas[0].desc[0].from[0];
            int64_t sz[4] = {1, 1, 1, 1};

            for (unsigned d = 0; d < s->ndim; d++)
                sz[d] = s->sizes[d];
            assert_int_equal(s->steps[0], 1);
            for (int64_t i3 = 0; i3 < sz[3]; i3++)
                for (int64_t i2 = 0; i2 < sz[2]; i2++)
                    for (int64_t i1 = 0; i1 < sz[1]; i1++)
                        for (int64_t b = 0; b < sz[0]; b += 4, k++)
                            if (s->off + b + (s->ndim > 1 ? i1 * s->steps[1] : 0) +
                                    (s->ndim > 2 ? i2 * s->steps[2] : 0) +
                                    (s->ndim > 3 ? i3 * s->steps[3] : 0) !=
                                m.at[k])
                                fail_msg("element %zu\n%s", k, text);
        } else {
            const struct isa_tensor *t = &asm_program(r, ISA_DVE)->records[0].body.c.t[1];
            unsigned n[4] = {1, 1, 1, 1};

            for (unsigned d = 0; d < t->ndim; d++)
                n[d] = t->dim[d].num;
            for (unsigned i3 = 0; i3 < n[3]; i3++)
                for (unsigned i2 = 0; i2 < n[2]; i2++)
                    for (unsigned i1 = 0; i1 < n[1]; i1++)
                        for (unsigned i0 = 0; i0 < n[0]; i0++, k++)
                            if ((int64_t)t->offset + 4ll * i0 * t->dim[0].step +
                                    4ll * i1 * t->dim[1].step + 4ll * i2 * t->dim[2].step +
                                    4ll * i3 * t->dim[3].step !=
                                m.at[k])
                                fail_msg("element %zu\n%s", k, text);
        }
        assert_int_equal(k, m.n);
        isa_asm_free(r);
    }
    assert_true(checked > 2000);
}

static void register_index_becomes_an_offset(void **state)
{
    unsigned e;
    static const char tiles[] = "reg i\ntile A: sbuf f32[128, 8, 16]\ntile B: sbuf f32[128, 16]\n"
                                "var x: input f32[100, 4, 16]\nqueue q: dynamic\n"
                                "tile I: sbuf i32[128, 1]\n";
    struct isa_record r = record_of(tiles, "dve: tensor_copy B, A[:, 2 * i + 1]", &e);

    assert_int_equal(r.body.c.t[1].off_reg, 0);
    assert_int_equal(r.body.c.t[1].off_mul, 32);
    assert_int_equal(r.body.c.t[1].offset, 64);
    assert_int_equal(r.body.c.t[1].dim[0].num, 16);
    r = record_of(tiles, "dve: tensor_copy B.view(bf16)[:, i +: 4], A[:, 0:1, 0:4].view(f32)", &e);
    assert_int_equal(r.body.c.t[0].off_mul, 1);
    assert_int_equal(r.body.c.t[0].dtype, DT_BF16);
    r = record_of(tiles, "dve: tensor_copy A[:, i].view(u8), A[:, i].view(u8)", &e);
    assert_int_equal(r.body.c.t[0].off_mul, 64);
    assert_int_equal(r.body.c.t[0].dim[0].num, 64);
    r = record_of(tiles,
                  "pool: dma_dyn B, x[I, 1, :].bound(64, 6400), queue=q, oob=skip, sem=$S[9]", &e);
    assert_int_equal(r.body.d.index_side, 1);
    assert_int_equal(r.body.d.src.hbm.off_mul, 64);
    assert_int_equal(r.body.d.src.hbm.offset, 64);
    assert_int_equal(r.body.d.src.hbm.ndim, 2);
    assert_int_equal(r.body.d.src.hbm.num[1], 128);
    assert_int_equal(r.body.d.src.hbm.step[1], 0);
    assert_int_equal(r.body.d.src.hbm.bound_bytes, 6400);
    assert_int_equal(r.body.d.index.dtype, DT_INT32);
    assert_int_equal(r.body.d.oob, ISA_OOB_SKIP);
    assert_int_equal(r.body.d.semaphore, 9);
    r = record_of(tiles, "pool: dma_dyn x[i, 1, :], B[3:4], queue=q, oob=i", &e);
    assert_int_equal(r.body.d.dst.hbm.off_mul, 64);
    assert_int_equal(r.body.d.dst.hbm.off_reg, 0);
    assert_int_equal(r.body.d.src.tile.part, 3);
    assert_int_equal(r.body.d.oob_reg, 0);
    r = record_of(tiles, "dve: tensor_copy B, A[:, 7 - 2 * i]", &e);
    assert_int_equal(r.body.c.t[1].off_mul, -32);
    assert_int_equal(r.body.c.t[1].offset, 7 * 64);
    r = record_of(tiles, "dve: tensor_copy B, A[:, -i + 3]", &e);
    assert_int_equal(r.body.c.t[1].off_mul, -16);
    assert_int_equal(r.body.c.t[1].offset, 3 * 64);
    r = record_of(tiles, "reg j = r9\ndve: tensor_copy B, A[:, j]", &e);
    assert_int_equal(r.body.c.t[1].off_reg, 9);
    r = record_of(tiles, "sp: i = load(x[i, 0, 2])", &e);
    assert_int_equal(r.body.s.place.hbm.off_mul, 64);
    assert_int_equal(r.body.s.place.hbm.offset, 8);
    r = record_of(tiles, "pool: iota B, pattern=[[1, 16]], offset=i - 3, channel_multiplier=16",
                  &e);
    assert_int_equal(r.body.c.x.pattern.offset, -3);
    assert_int_equal(r.body.c.x.pattern.off_reg, 0);
}

/* Where there is one element, its step says nothing. */
static void one_element_has_no_step(void **state)
{
    static const char tiles[] = "tile A: sbuf bf16[128, 4, 1] @ 0\ntile B: sbuf bf16[128, 2] @ 64\n"
                                "tile C: sbuf f32[128, 1, 4] @ 128\ntile O: sbuf f32[128, 8]\n";
    static const struct {
        const char *src, *dst;
        uint32_t offset;
        struct isa_dim dim[2]; /* those of more than one element */
    } rows[] = {
        {"A.perm(1, 0).view(f32)", "O[:, 0:2]", 0, {{1, 2}}},
        {"B[:, 1::-2].view(u8)", "O.view(u8)[:, 0:2]", 2, {{1, 2}}},
        {"B[:, 1::-2].bcast(3, 1).view(u8)", "O.view(u8)[:, 0:6]", 2, {{1, 2}, {0, 3}}},
        {"C.perm(1, 0).reshape(2, 2)", "O[:, 0:4]", 0, {{1, 2}, {2, 2}}},
        {"C[:, :, 3].reshape(1, 1)", "O[:, 0:1]", 12, {{0, 0}}},
    };
    unsigned e;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct isa_tensor *t;
        struct isa_record r;
        char line[128];
        unsigned n = 0;

        snprintf(line, sizeof(line), "dve: tensor_copy %s, %s", rows[i].dst, rows[i].src);
        r = record_of(tiles, line, &e);
        t = &r.body.c.t[1];
        assert_int_equal(t->offset - (rows[i].src[0] == 'A'   ? 0
                                      : rows[i].src[0] == 'B' ? 64
                                                              : 128),
                         rows[i].offset);
        for (unsigned k = 0; k < t->ndim; k++) {
            if (t->dim[k].num == 1)
                continue;
            assert_int_equal(t->dim[k].step, rows[i].dim[n].step);
            assert_int_equal(t->dim[k].num, rows[i].dim[n].num);
            n++;
        }
        assert_true(n == 2 || rows[i].dim[n].num == 0);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_address_what_they_say),
        cmocka_unit_test(register_index_becomes_an_offset),
        cmocka_unit_test(one_element_has_no_step),
    };

    return cmocka_run_group_tests_name("isa-asm-operand", tests, NULL, NULL);
}
