/* SPDX-License-Identifier: Apache-2.0 */
/* The checker is proved by damage: one edit in the steps of a real schedule, and the verdict must
 * be that of naive.c, which judges the same steps by other means. So a mutation that changes a
 * result or leaves two accesses unordered cannot pass, and one that does neither cannot be blamed.
 * Those that survive are listed by the reason that their edit has for being harmless; one without a
 * reason fails the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "naive.h"
#include "proof.h"
#include "sched/text.h"

/* ---- a schedule in memory ---- */

struct streams {
    struct sched *s;
    uint32_t ranks, channels;
    struct sched_step **step; /* [rank * channels + channel] */
    size_t *count, *at;
};

static size_t stream_of(const struct streams *m, uint32_t rank, uint32_t channel)
{
    return (size_t)rank * m->channels + channel;
}

static const struct sched_step *next(void *ctx, uint32_t rank, uint32_t channel)
{
    struct streams *m = ctx;
    size_t i = stream_of(m, rank, channel);

    return m->at[i] < m->count[i] ? &m->step[i][m->at[i]++] : NULL;
}

static void rewind_stream(void *ctx, uint32_t rank, uint32_t channel)
{
    struct streams *m = ctx;

    m->at[stream_of(m, rank, channel)] = 0;
}

static uint64_t buffer_elems(void *ctx, enum sched_buf buf, uint32_t rank, uint32_t channel)
{
    const struct streams *m = ctx;

    return sched_buffer_elems(m->s, buf, rank, channel);
}

static uint32_t node(void *ctx, uint32_t rank)
{
    const struct streams *m = ctx;

    return sched_request_of(m->s)->group->node[rank];
}

static void streams_read(struct streams *m, struct sched *s)
{
    size_t n = (size_t)sched_ranks(s) * sched_channels(s);

    *m = (struct streams){s,
                          sched_ranks(s),
                          sched_channels(s),
                          calloc(n, sizeof(*m->step)),
                          calloc(n, sizeof(*m->count)),
                          calloc(n, sizeof(*m->at))};
    assert_true(m->step && m->count && m->at);
    for (size_t i = 0; i < n; i++) {
        struct sched_iter *it;
        const struct sched_step *st;

        assert_int_equal(
            sched_iter_create(s, (uint32_t)(i / m->channels), (uint32_t)(i % m->channels), &it),
            NRT_SUCCESS);
        while ((st = sched_iter_next(it))) { /* room for one more, which a mutation may add */
            m->step[i] = realloc(m->step[i], (m->count[i] + 2) * sizeof(*st));
            assert_non_null(m->step[i]);
            m->step[i][m->count[i]++] = *st;
        }
        sched_iter_destroy(it);
    }
}

static void streams_free(struct streams *m)
{
    for (size_t i = 0; i < (size_t)m->ranks * m->channels; i++)
        free(m->step[i]);
    free(m->step);
    free(m->count);
    free(m->at);
}

/* ---- mutations ---- */

enum mutation {
    DROP,
    SWAP, /* with the next step */
    TWICE,
    SHIFT,    /* a place by one element */
    SHORTEN,  /* by one element */
    RETARGET, /* a peer, or the rank of a place */
    LOWER,    /* a value that is waited for or expected */
    RAISE,
    MUTATIONS
};
static const char *const mutation_names[MUTATIONS] = {"drop",    "swap",     "twice", "shift",
                                                      "shorten", "retarget", "lower", "raise"};

static bool moves(const struct sched_step *st)
{
    return st->kind != SCHED_WAIT && st->kind != SCHED_SIGNAL && st->kind != SCHED_EXPECT;
}

static bool valued(const struct sched_step *st)
{
    return st->kind == SCHED_WAIT || st->kind == SCHED_EXPECT;
}

static struct sched_ref *any_ref(struct sched_step *st, struct proof_random *r)
{
    uint32_t k = proof_draw(r, st->nsrc + st->ndst);

    return k < st->nsrc ? &st->src[k] : &st->dst[k - st->nsrc];
}

/* Change stream i at step k; false: the mutation does not apply there. */
static bool mutate(struct streams *m, size_t i, size_t k, enum mutation how, struct proof_random *r)
{
    struct sched_step *st = &m->step[i][k];
    struct sched_ref *ref;

    switch (how) {
    case DROP:
        memmove(st, st + 1, (m->count[i] - k - 1) * sizeof(*st));
        m->count[i]--;
        return true;
    case SWAP: {
        struct sched_step t = *st;

        if (k + 1 == m->count[i])
            return false;
        st[0] = st[1];
        st[1] = t;
        return true;
    }
    case TWICE:
        memmove(st + 1, st, (m->count[i] - k) * sizeof(*st));
        m->count[i]++;
        return true;
    case SHIFT:
        if (!moves(st) || st->nsrc + st->ndst == 0)
            return false;
        ref = any_ref(st, r);
        ref->off = ref->off && proof_draw(r, 2) ? ref->off - 1 : ref->off + 1;
        return true;
    case SHORTEN:
        if (!moves(st) || st->count == 0)
            return false;
        st->count--;
        return true;
    case RETARGET:
        if (m->ranks < 3 || (moves(st) && st->nsrc + st->ndst == 0))
            return false;
        if (!moves(st))
            st->peer = (st->peer + 1 + proof_draw(r, m->ranks - 1)) % m->ranks;
        else
            ref = any_ref(st, r),
            ref->rank = (ref->rank + 1 + proof_draw(r, m->ranks - 1)) % m->ranks;
        return true;
    case LOWER:
        if (!valued(st))
            return false;
        st->value--;
        return true;
    case RAISE:
        if (!valued(st))
            return false;
        st->value++;
        return true;
    case MUTATIONS:
        break;
    }
    return false;
}

/* ---- why an edit may be harmless ---- */

enum reason {
    NOTHING_MOVED,  /* the step has no elements and raises nothing */
    ORDER_IMPLIED,  /* a wait less, and others order the same accesses */
    ORDER_EARLIER,  /* a step moved before or after a wait or a signal that does not concern it */
    INDEPENDENT,    /* two neighbours that do not touch the same things */
    ONCE_MORE,      /* the same values written to the same places */
    ALREADY_THERE,  /* the step changed nothing (naive_changes), so it may do less */
    ELSEWHERE_SAME, /* another place with the same values, or without readers */
    IN_A_GAP,       /* what is lost lies between the blocks of a variable form: nobody's */
    UNEXPLAINED,
    REASONS
};
static const char *const reason_names[REASONS] = {"nothing moved",
                                                  "order implied by other waits",
                                                  "order not needed by the neighbour",
                                                  "independent neighbours",
                                                  "written once more",
                                                  "was there already",
                                                  "same values elsewhere",
                                                  "a gap between blocks",
                                                  "unexplained"};

/* Whether no block that a rank sends has any of `count` elements of its input. */
static bool sent_to_nobody(const struct sched_request *req, const struct sched_ref *ref,
                           uint64_t first, uint64_t count)
{
    uint32_t n = req->group->n;

    if (ref->buf != SCHED_IN || !sched_op_varies(req->op))
        return false;
    for (uint32_t d = 0; d < (req->op == SCHED_ALL_GATHER_V ? 1 : n); d++) {
        size_t k = (size_t)ref->rank * n + d;

        if (req->send_count[k] > 0 && first < (uint64_t)req->send_displ[k] + req->send_count[k] &&
            req->send_displ[k] < first + count)
            return false;
    }
    return true;
}

/* From the edit alone; that it is harmless indeed is naive.c's finding. */
static enum reason reason_of(const struct sched_request *req, const struct sched_step *a,
                             const struct sched_step *b, enum mutation how, bool changes)
{
    if (moves(a) && a->count == 0 && how != SWAP)
        return NOTHING_MOVED;
    if ((how == SHORTEN || how == DROP) && a->kind == SCHED_COPY && a->repeat == 1 &&
        sent_to_nobody(req, &a->src[0], a->src[0].off + (how == DROP ? 0 : a->count - 1),
                       how == DROP ? a->count : 1))
        return IN_A_GAP;
    if (moves(a) && (how == DROP || how == SHORTEN))
        return changes ? UNEXPLAINED : ALREADY_THERE;
    switch (how) {
    case DROP:
    case LOWER:
    case RAISE:
    case TWICE:
        if (valued(a))
            return ORDER_IMPLIED;
        return how == TWICE && moves(a) ? ONCE_MORE : UNEXPLAINED;
    case SWAP:
        return moves(a) == moves(b) ? INDEPENDENT : ORDER_EARLIER;
    case SHIFT:
    case RETARGET:
        return moves(a) ? ELSEWHERE_SAME : valued(a) ? ORDER_IMPLIED : UNEXPLAINED;
    default:
        return UNEXPLAINED;
    }
}

/* ---- runs ---- */

static struct {
    struct proof_random random;
    unsigned long made, caught[SCHED_FLAW_COUNT], survived[REASONS][MUTATIONS];
} run;

static void judge(struct streams *m, const struct sched_request *req, const char *name,
                  const struct sched_step *before, const struct sched_step *after, size_t i,
                  size_t k, enum mutation how, bool changes)
{
    struct sched_check_source source = {m, next, rewind_stream, NULL, buffer_elems, node};
    struct sched_check_options options = {.runs = 3};
    struct sched_violation v;
    struct strbuf b = {0};
    struct err err = {0};
    NRT_STATUS status = sched_check(req, m->ranks, m->channels, &source, &options, &v, NULL, &err);
    const char *wrong = naive_check(req, m->ranks, m->channels, &source, options.runs);
    enum reason why = UNEXPLAINED;

    run.made++;
    if (status == NRT_SUCCESS && !wrong) {
        why = reason_of(req, before, after, how, changes);
        run.survived[why][how]++;
    } else {
        run.caught[v.flaw]++;
    }
    if ((status == NRT_SUCCESS) == !wrong && (wrong || why != UNEXPLAINED))
        return;
    sched_text_step_print(before, (uint32_t)(i / m->channels), &b);
    fail_msg("%s, %s at rank %zu, channel %zu, step %zu (%s): checker %s; naive: %s", name,
             mutation_names[how], i / m->channels, i % m->channels, k, b.s,
             status == NRT_SUCCESS ? "finds nothing" : err.text, wrong ? wrong : "finds nothing");
}

/* Every step in turn with every mutation, or a sample of `some` in all. */
static void schedule_mutate(struct streams *m, const struct sched_request *req, const char *name,
                            uint32_t some)
{
    struct sched_check_source source = {m, next, rewind_stream, NULL, buffer_elems, node};
    size_t n = (size_t)m->ranks * m->channels, steps = 0;

    for (size_t i = 0; i < n; i++)
        steps += m->count[i];
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m->count[i]; k++)
            for (int how = 0; how < MUTATIONS; how++) {
                size_t count = m->count[i];
                struct sched_step *saved;
                struct sched_step first = m->step[i][k], second = first;
                bool changes;

                if (proof_draw(&run.random, (uint32_t)steps * MUTATIONS) >= some)
                    continue;
                saved = malloc(count * sizeof(*saved));
                assert_non_null(saved);
                memcpy(saved, m->step[i], count * sizeof(*saved));
                if (k + 1 < count)
                    second = m->step[i][k + 1];
                changes =
                    naive_changes(req, m->ranks, m->channels, &source, 3,
                                  (uint32_t)(i / m->channels), (uint32_t)(i % m->channels), k);
                if (mutate(m, i, k, (enum mutation)how, &run.random))
                    judge(m, req, name, &first, &second, i, k, (enum mutation)how, changes);
                memcpy(m->step[i], saved, count * sizeof(*saved));
                m->count[i] = count;
                free(saved);
            }
}

static unsigned long made_of[SCHED_OP_COUNT];

static void case_mutate(const struct proof_case *c, uint32_t some)
{
    unsigned long before = run.made;
    struct sched_request req = c->req;
    struct streams m;
    struct sched *s;
    struct err err = {0};
    char name[400];
    struct sched_check_source source = {&m, next, rewind_stream, NULL, buffer_elems, node};
    const char *wrong;
    NRT_STATUS status;

    req.counts = c->counts;
    status = sched_create(&req, &s, &err);
    if (status == NRT_FAILURE)
        return;
    if (status != NRT_SUCCESS)
        fail_msg("%s", err.text);
    proof_case_text(c, name, sizeof(name));
    streams_read(&m, s);
    wrong = naive_check(&req, m.ranks, m.channels, &source, 3);
    if (wrong)
        fail_msg("%s: undamaged, but naive finds %s", name, wrong);
    schedule_mutate(&m, &req, name, some);
    streams_free(&m);
    sched_destroy(s);
    made_of[req.op] += run.made - before;
}

static uint32_t sample = 60; /* mutations of one schedule */

static void world_mutate(const struct proof_world *w)
{
    static const enum sched_op ops[] = {
        SCHED_ALL_GATHER,   SCHED_REDUCE_SCATTER,  SCHED_ALL_REDUCE, SCHED_ALL_TO_ALL,
        SCHED_SENDRECV,     SCHED_PERMUTE,         SCHED_BARRIER,    SCHED_ALL_GATHER_V,
        SCHED_ALL_TO_ALL_V, SCHED_REDUCE_SCATTER_V};
    struct proof_group g;

    proof_group_init(&g, w, &run.random);
    for (size_t op = 0; op < sizeof(ops) / sizeof(ops[0]); op++)
        for (int alg = 0; alg < SCHED_ALG_COUNT; alg++)
            for (int v = 0; v < SCHED_VARIANT_COUNT; v++)
                for (int in_place = 0; in_place < 2; in_place++) {
                    struct sched_request req = {.op = ops[op],
                                                .alg = (enum sched_alg)alg,
                                                .variant = (enum sched_variant)v,
                                                .in_place = in_place,
                                                .intra = SCHED_MESH,
                                                .inter = SCHED_RING,
                                                .group = &g.group,
                                                .tensors = 1,
                                                .elem_size = 8,
                                                .channels = proof_draw(&run.random, 2),
                                                .chunk_bytes = 64,
                                                .pipeline = 1};
                    struct proof_case c;

                    /* tables and pairs; the number of tensors stays 1 */
                    proof_case_init(&c, &req, 1 + proof_draw(&run.random, 3), &run.random);
                    c.req.tensors = ops[op] == SCHED_BARRIER ? 0 : 1;
                    c.counts[0] = ops[op] == SCHED_ALL_GATHER || ops[op] == SCHED_REDUCE_SCATTER
                                      ? 3 + proof_draw(&run.random, 10)
                                      : (2 + proof_draw(&run.random, 8)) * g.group.n;
                    case_mutate(&c, sample);
                    proof_case_fini(&c);
                }
    proof_group_fini(&g);
}

static void one_node(void **state)
{
    static const struct proof_world worlds[] = {{"trn2.48xlarge", 2, 1, 1, 2, false},
                                                {"trn2.48xlarge", 2, 1, 1, 3, false},
                                                {"trn2.48xlarge", 2, 1, 1, 4, false},
                                                {"trn1.32xlarge", 1, 1, 1, 4, true}};

    for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++)
        world_mutate(&worlds[i]);
    (void)state;
}

static void several_nodes(void **state)
{
    static const struct proof_world worlds[] = {{"trn2.48xlarge", 2, 1, 2, 1, false},
                                                {"trn2.48xlarge", 2, 1, 3, 1, false},
                                                {"trn2.48xlarge", 2, 1, 2, 2, false}};

    for (size_t i = 0; i < sizeof(worlds) / sizeof(worlds[0]); i++)
        world_mutate(&worlds[i]);
    (void)state;
}

static void the_list(void **state)
{
    unsigned long lost = 0;

    print_message("%lu mutations\n", run.made);
    for (int f = 1; f < SCHED_FLAW_COUNT; f++)
        if (run.caught[f])
            print_message("  caught as %-14s %lu\n", sched_flaw_name((enum sched_flaw)f),
                          run.caught[f]);
    for (int why = 0; why < REASONS; why++)
        for (int how = 0; how < MUTATIONS; how++)
            if (run.survived[why][how]) {
                print_message("  harmless: %s, %s: %lu\n", mutation_names[how], reason_names[why],
                              run.survived[why][how]);
                lost += run.survived[why][how];
            }
    for (int op = 0; op < SCHED_OP_COUNT; op++) {
        print_message("  %s: %lu\n", sched_op_name((enum sched_op)op), made_of[op]);
        assert_true(made_of[op] > 50);
    }
    assert_true(run.made > 1000);
    assert_true(lost < run.made / 2);
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_node),
        cmocka_unit_test(several_nodes),
        cmocka_unit_test(the_list),
    };

    if (argc > 1)
        sample = (uint32_t)atoi(argv[1]);
    run.random = proof_seed();
    return cmocka_run_group_tests_name("sched-mutate", tests, NULL, NULL);
}
