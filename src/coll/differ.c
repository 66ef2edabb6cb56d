/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that do different operations: what each has announced, in words. A signature tells that two
 * operations differ, not in what; so every rank publishes, beside the signature, what its last two
 * operations are, and ranks of other nodes are told of it (tell.c). All of it is bytes of peers:
 * names are checked where they are printed. */
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "coll/coll_int.h"

#define SAID_NS UINT64_C(100000000) /* longest wait for what a rank says of its operation */

#define BYTES_MASK ((UINT64_C(1) << 48) - 1)

enum { HOW_INTER = 0, HOW_INTRA = 4, HOW_IN_PLACE = 8, HOW_VARIANT = 12, HOW_REDUCE = 16 };
enum { HOW_TENSORS = 24 };

struct coll_op coll_op_of(const struct coll_plan *p)
{
    const struct sched_request *r = sched_request_of(p->s);
    bool sums = r->op == SCHED_REDUCE_SCATTER || r->op == SCHED_ALL_REDUCE ||
                r->op == SCHED_REDUCE_SCATTER_V;

    return (struct coll_op){
        .mark = p->signature,
        .what = (uint64_t)r->op << 60 | (uint64_t)r->alg << 56 | (uint64_t)p->dtype << 48 |
                (p->bytes & BYTES_MASK),
        .how = (uint64_t)p->signature << 32 | (uint64_t)p->tensors << HOW_TENSORS |
               (uint64_t)(sums ? 1u + p->reduce : 0) << HOW_REDUCE |
               (uint64_t)r->variant << HOW_VARIANT | (uint64_t)r->in_place << HOW_IN_PLACE |
               (uint64_t)r->intra << HOW_INTRA | (uint64_t)r->inter << HOW_INTER};
}

static const char *reduce_name(unsigned reduce)
{
    static const char *const names[] = {"", " (sum)", " (min)", " (max)"};

    return reduce < sizeof(names) / sizeof(names[0]) ? names[reduce] : " (unknown)";
}

void coll_op_text(const struct coll_op *op, char text[COLL_OP_TEXT])
{
    enum sched_alg alg = (enum sched_alg)(op->what >> 56 & 15);
    enum dtype dtype = (enum dtype)(op->what >> 48 & 255);
    unsigned tensors = op->how >> HOW_TENSORS & 255;
    const char *type = dtype_name(dtype);
    char levels[48] = "", pieces[24] = "";

    if (alg == SCHED_HIER)
        snprintf(levels, sizeof(levels), " of %.12s and %.12s",
                 sched_alg_name((enum sched_alg)(op->how >> HOW_INTRA & 15)),
                 sched_alg_name((enum sched_alg)(op->how >> HOW_INTER & 15)));
    if (tensors > 1)
        snprintf(pieces, sizeof(pieces), " in %u tensors", tensors);
    snprintf(text, COLL_OP_TEXT, "%s%s by %s%s (%s) of %" PRIu64 " bytes of %s%s%s",
             sched_op_name((enum sched_op)(op->what >> 60)),
             reduce_name(op->how >> HOW_REDUCE & 15), sched_alg_name(alg), levels,
             sched_variant_name((enum sched_variant)(op->how >> HOW_VARIANT & 15)),
             op->what & BYTES_MASK, type ? type : "no type", pieces,
             op->how >> HOW_IN_PLACE & 1 ? ", in place" : "");
}

/* Whether what was read is of operation number seq, and of one operation only. */
static bool of_this_number(const struct coll_comm *c, const struct coll_op *op)
{
    return op->mark >> 32 == (uint32_t)c->seq && op->how >> 32 == (uint32_t)op->mark;
}

/* What a rank has announced as operation number seq; false: nothing is known of it, or what was
 * read is of two operations. */
static bool announced(const struct coll_comm *c, uint32_t rank, struct coll_op *ret)
{
    struct coll_said said;

    if (!coll_said_by(c, rank, &said))
        return false;
    *ret = said.op[c->seq & 1];
    return of_this_number(c, ret);
}

static bool is_another(const struct coll_comm *c, const struct coll_op *op)
{
    return (uint32_t)op->mark != c->run->plan->signature;
}

bool coll_op_differs(const struct coll_comm *c, uint32_t rank, struct coll_op *ret)
{
    return c->run->plan && announced(c, rank, ret) && is_another(c, ret);
}

void coll_differ_publish(struct coll_comm *c)
{
    struct coll_differing *d = &c->peers[c->me].area->differing;
    struct coll_op theirs;

    if (!c->net || !c->net->tell || atomic_load_explicit(&d->rank, memory_order_relaxed))
        return;
    for (uint32_t r = 0; r < c->n; r++) {
        if (coll_near(c, r) || !coll_op_differs(c, r, &theirs))
            continue;
        d->op = theirs;
        atomic_store_explicit(&d->rank, r + 1, memory_order_release);
        return;
    }
}

/* A rank of another node that does another operation, as one of my node has found. */
static bool found_by_mates(const struct coll_comm *c, uint32_t *ret_rank, struct coll_op *ret)
{
    for (uint32_t i = 0; i < c->near_count && c->run->plan; i++) {
        const struct coll_differing *d = &c->peers[c->near[i]].area->differing;
        uint32_t rank = atomic_load_explicit(&d->rank, memory_order_acquire);

        if (rank == 0 || rank > c->n)
            continue;
        *ret_rank = rank - 1;
        *ret = d->op;
        if (of_this_number(c, ret) && is_another(c, ret))
            return true;
    }
    return false;
}

/* What two texts of operations that differ leave open. */
static const char *unsaid(const char *a, const char *b)
{
    return strcmp(a, b) == 0 ? " (with other counts, displacements or pairs)" : "";
}

void coll_differ_text(const struct coll_comm *c, uint32_t rank, char text[COLL_DIFFER_MAX])
{
    char here[COLL_OP_TEXT], there[COLL_OP_TEXT];
    struct coll_op theirs;
    uint32_t r = rank;

    text[0] = '\0';
    if (r >= c->n || !coll_op_differs(c, r, &theirs))
        for (r = 0; r < c->n && !coll_op_differs(c, r, &theirs);)
            r++;
    if (r == c->n && !found_by_mates(c, &r, &theirs))
        return;
    coll_op_text(&c->run->plan->said, here);
    coll_op_text(&theirs, there);
    snprintf(text, COLL_DIFFER_MAX, "; rank %" PRIu32 " has %s, rank %" PRIu32 " has %s%s", c->me,
             here, r, there, unsaid(here, there));
}

void coll_differ_fail(struct coll_comm *c, uint32_t rank, uint64_t mark)
{
    uint64_t end = run_now_ns() + SAID_NS;
    char here[COLL_OP_TEXT], there[COLL_OP_TEXT];
    struct coll_op theirs;
    bool told;

    /* its lines may be seen before what it says of them, which it stores just after */
    while (!(told = announced(c, rank, &theirs) && theirs.mark == mark) && run_now_ns() < end)
        (void)sched_yield();
    coll_op_text(&c->run->plan->said, here);
    if (told)
        coll_op_text(&theirs, there);
    coll_fail(c, NRT_EXEC_HW_ERR_COLLECTIVES, rank,
              "operation %" PRIu64 " of the communicator is %s here (rank %" PRIu32
              "), but another operation, size, type or algorithm at rank %" PRIu32 ": %s%s",
              c->seq, here, c->me, rank, told ? there : "it has not said which",
              told ? unsaid(here, there) : "");
}
