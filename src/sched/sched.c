/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules: the request checked, its sizes; stages and parts are planned in plan.c. */
#include "sched/plan_int.h"

#include <string.h>

#include "base/checked.h"

/* Elements that a request may name in all: sums of cuts and strides stay far inside int64. */
#define ELEMS_MAX        (UINT64_C(1) << 48)
#define PIPELINE_DEFAULT 3

static bool reduces(enum sched_op op)
{
    return op == SCHED_REDUCE_SCATTER || op == SCHED_ALL_REDUCE || op == SCHED_BARRIER ||
           op == SCHED_REDUCE_SCATTER_V;
}

static NRT_STATUS check_enums(const struct sched_request *r, struct err *err)
{
    if ((unsigned)r->op >= SCHED_OP_COUNT)
        return err_set(err, NRT_INVALID, "operation %d is unknown", r->op);
    if ((unsigned)r->alg >= SCHED_ALG_COUNT)
        return err_set(err, NRT_INVALID, "algorithm %d is unknown", r->alg);
    if ((unsigned)r->variant >= SCHED_VARIANT_COUNT)
        return err_set(err, NRT_INVALID, "variant %d is unknown", r->variant);
    if (r->alg == SCHED_HIER &&
        ((unsigned)r->intra >= SCHED_ALG_COUNT || (unsigned)r->inter >= SCHED_ALG_COUNT))
        return err_set(err, NRT_INVALID, "algorithms %d and %d of the stages are unknown", r->intra,
                       r->inter);
    if (!r->group || r->group->n == 0)
        return err_set(err, NRT_INVALID, "no group");
    if (r->elem_size != 1 && r->elem_size != 2 && r->elem_size != 4 && r->elem_size != 8)
        return err_set(err, NRT_INVALID, "elem_size %u is not 1, 2, 4 or 8", r->elem_size);
    return NRT_SUCCESS;
}

static NRT_STATUS check_limits(const struct sched_request *r, struct err *err)
{
    if (r->channels > SCHED_CHANNELS_MAX)
        return err_set(err, NRT_INVALID, "channels %u is above %u", r->channels,
                       SCHED_CHANNELS_MAX);
    if (r->slots > SCHED_SLOTS_MAX)
        return err_set(err, NRT_INVALID, "slots %u is above %u", r->slots, SCHED_SLOTS_MAX);
    if (r->slices > SCHED_SLICES_MAX || r->pipeline > SCHED_SLICES_MAX)
        return err_set(err, NRT_INVALID, "slices %u or pipeline %u is above %u", r->slices,
                       r->pipeline, SCHED_SLICES_MAX);
    if (r->chunk_bytes > UINT32_C(1) << 30)
        return err_set(err, NRT_INVALID, "chunk_bytes %u is above 1 GiB", r->chunk_bytes);
    if (sched_op_varies(r->op) || r->op == SCHED_BARRIER) {
        if (r->tensors > 1)
            return err_set(err, NRT_INVALID, "%s takes no coalesced tensors, got %u",
                           sched_op_name(r->op), r->tensors);
        return NRT_SUCCESS;
    }
    if (r->tensors == 0 || r->tensors > SCHED_TENSORS_MAX || !r->counts)
        return err_set(err, NRT_INVALID, "%u tensors; an operation has 1 to %u", r->tensors,
                       SCHED_TENSORS_MAX);
    if ((r->op == SCHED_PERMUTE || r->op == SCHED_SENDRECV) && r->tensors != 1)
        return err_set(err, NRT_INVALID, "%s moves one tensor, got %u", sched_op_name(r->op),
                       r->tensors);
    return NRT_SUCCESS;
}

/* Own copies of the counts, per chunk, and their sums. */
static NRT_STATUS take_counts(struct sched *s, const struct sched_request *r, struct err *err)
{
    uint32_t tensors = sched_op_varies(r->op) || r->op == SCHED_BARRIER ? 0 : r->tensors;
    uint64_t all;

    uint64_t *given = arena_calloc(&s->mem, tensors + 1u, sizeof(*given));
    s->counts = arena_calloc(&s->mem, tensors + 1u, sizeof(*s->counts));
    s->prefix = arena_calloc(&s->mem, tensors + 1u, sizeof(*s->prefix));
    if (!given || !s->counts || !s->prefix)
        return err_set(err, NRT_RESOURCE, "no memory for a schedule");
    s->req.tensors = tensors;
    s->req.counts = given;
    for (uint32_t t = 0; t < tensors; t++) {
        uint64_t c = r->counts[t];

        given[t] = c;
        if (r->op == SCHED_ALL_TO_ALL) {
            if (c % s->n != 0)
                return err_set(err, NRT_INVALID,
                               "tensor %u: all_to_all of %llu elements over %u ranks; the count "
                               "must be a multiple of the ranks",
                               t, (unsigned long long)c, s->n);
            c /= s->n;
        }
        s->counts[t] = c;
        if (u64_add_over(s->prefix[t], c, &s->prefix[t + 1]) ||
            u64_mul_over(s->prefix[t + 1], s->n, &all) || all > ELEMS_MAX)
            return err_set(err, NRT_INVALID, "tensor %u: %llu elements are too many", t,
                           (unsigned long long)r->counts[t]);
    }
    return NRT_SUCCESS;
}

static NRT_STATUS check_block(const char *what, uint32_t rank, uint64_t displ, uint64_t count,
                              uint64_t elems, struct err *err)
{
    if (!range_ok(displ, count, elems))
        return err_set(err, NRT_INVALID,
                       "rank %u: %s of %llu elements at %llu is outside its tensor of %llu", rank,
                       what, (unsigned long long)count, (unsigned long long)displ,
                       (unsigned long long)elems);
    return NRT_SUCCESS;
}

uint64_t sched_v_count(const struct sched *s, uint32_t from, uint32_t to)
{
    size_t col = s->req.op == SCHED_ALL_GATHER_V ? 0 : to;

    return s->req.send_count[(size_t)from * s->n + col];
}

uint64_t sched_v_source(const struct sched *s, uint32_t from, uint32_t to)
{
    size_t col = s->req.op == SCHED_ALL_GATHER_V ? 0 : to;

    return s->req.send_displ[(size_t)from * s->n + col];
}

uint64_t sched_v_target(const struct sched *s, uint32_t from, uint32_t to)
{
    if (s->req.op == SCHED_REDUCE_SCATTER_V)
        return 0;
    if (s->req.recv_displ)
        return s->req.recv_displ[(size_t)to * s->n + from];
    return from * (s->req.out_elems / s->n);
}

/* What one block must be beside lying in its tensors: a sum has terms of one length, a slot is as
 * long as any other. */
static NRT_STATUS check_count(const struct sched *s, uint32_t from, uint32_t to, struct err *err)
{
    const struct sched_request *r = &s->req;
    uint64_t count = sched_v_count(s, from, to), slot = r->out_elems / s->n;

    if (r->op == SCHED_REDUCE_SCATTER_V) {
        if (count != sched_v_count(s, 0, to))
            return err_set(err, NRT_INVALID,
                           "rank %u: the block of rank %u has %llu elements, that of rank 0 %llu; "
                           "what is reduced must be equally long",
                           to, from, (unsigned long long)count,
                           (unsigned long long)sched_v_count(s, 0, to));
    } else if (!r->recv_displ && count > slot) {
        return err_set(err, NRT_INVALID,
                       "rank %u: the block of %llu elements from rank %u is longer than its slot "
                       "of %llu",
                       to, (unsigned long long)count, from, (unsigned long long)slot);
    }
    return NRT_SUCCESS;
}

/* Every block lies in its tensors and has the length that the operation asks for. */
static NRT_STATUS check_table(const struct sched *s, struct err *err)
{
    const struct sched_request *r = &s->req;
    NRT_STATUS st = NRT_SUCCESS;

    if (!r->send_count || !r->send_displ)
        return err_set(err, NRT_INVALID, "%s without counts and displacements",
                       sched_op_name(r->op));
    if (r->in_elems > ELEMS_MAX || r->out_elems > ELEMS_MAX)
        return err_set(err, NRT_INVALID, "tensors of %llu and %llu elements are too large",
                       (unsigned long long)r->in_elems, (unsigned long long)r->out_elems);
    for (uint32_t to = 0; to < s->n; to++)
        for (uint32_t from = 0; from < s->n; from++) {
            uint64_t count = sched_v_count(s, from, to);

            st = check_block("a sent block", from, sched_v_source(s, from, to), count, r->in_elems,
                             err);
            if (!st)
                st = check_block("a received block", to, sched_v_target(s, from, to), count,
                                 r->out_elems, err);
            if (!st)
                st = check_count(s, from, to, err);
            if (st)
                return st;
        }
    return NRT_SUCCESS;
}

static NRT_STATUS take_pairs(struct sched *s, const struct sched_request *r, struct err *err)
{
    s->target = arena_calloc(&s->mem, s->n, sizeof(*s->target));
    s->origin = arena_calloc(&s->mem, s->n, sizeof(*s->origin));
    if (!s->target || !s->origin)
        return err_set(err, NRT_RESOURCE, "no memory for a schedule");
    if (r->op == SCHED_SENDRECV) {
        for (uint32_t i = 0; i < s->n; i++) {
            s->target[i] = (i + 1) % s->n;
            s->origin[i] = (i + s->n - 1) % s->n;
        }
        return NRT_SUCCESS;
    }
    if (!r->pairs && r->pair_count > 0)
        return err_set(err, NRT_INVALID, "permute without pairs");
    NRT_STATUS st = topo_pairs_check(r->group, r->pairs, r->pair_count, err);

    if (st)
        return st;
    memset(s->target, 0xff, s->n * sizeof(*s->target));
    memset(s->origin, 0xff, s->n * sizeof(*s->origin));
    for (uint32_t i = 0; i < r->pair_count; i++) {
        s->target[r->pairs[i].source] = r->pairs[i].target;
        s->origin[r->pairs[i].target] = r->pairs[i].source;
    }
    return NRT_SUCCESS;
}

uint32_t sched_target(const struct sched *s, uint32_t rank)
{
    return s->target ? s->target[rank] : UINT32_MAX;
}

static void set_defaults(struct sched *s)
{
    struct sched_request *r = &s->req;

    if (r->slices == 0)
        r->slices = reduces(r->op) ? 2 : 1;
    if (r->slots == 0)
        r->slots = r->slices + 1 > SCHED_SLOTS_DEFAULT ? r->slices + 1 : SCHED_SLOTS_DEFAULT;
    if (r->chunk_bytes == 0)
        r->chunk_bytes = SCHED_CHUNK_DEFAULT;
    r->chunk_bytes = (r->chunk_bytes + 63) & ~63u;
    s->in_big = r->op != SCHED_ALL_GATHER && r->op != SCHED_PERMUTE && r->op != SCHED_SENDRECV;
    s->out_big = r->op != SCHED_REDUCE_SCATTER && r->op != SCHED_PERMUTE && r->op != SCHED_SENDRECV;
}

/* Every slice crosses the network by itself: what one rank sends there is cut only where a slice is
 * a chunk at least, else latencies are all that there is more of. */
static void set_pipeline(struct sched *s)
{
    struct sched_request *r = &s->req;
    uint64_t sent = s->prefix[r->tensors];

    if (r->alg != SCHED_HIER) {
        r->pipeline = 1; /* also where it was given: what is not used must not differ */
    } else if (r->pipeline == 0) {
        uint32_t per_node = s->g->per_node ? s->g->per_node : 1;

        sent = r->op == SCHED_ALL_REDUCE ? sent / per_node : sent * s->g->nodes;
        sent /= r->chunk_bytes / r->elem_size;
        r->pipeline = sent > PIPELINE_DEFAULT ? PIPELINE_DEFAULT : (uint32_t)sent;
        r->pipeline += r->pipeline == 0;
    }
    s->slices = r->pipeline;
}

static NRT_STATUS fill(struct sched *s, const struct sched_request *r, struct err *err)
{
    NRT_STATUS st = check_limits(r, err);

    if (st)
        return st;
    set_defaults(s);
    if (s->req.slots < s->req.slices + 1)
        return err_set(err, NRT_INVALID, "slots %u; with %u slices a ring needs %u", s->req.slots,
                       s->req.slices, s->req.slices + 1);
    st = take_counts(s, r, err);
    if (!st)
        set_pipeline(s);
    if (!st && sched_op_varies(r->op))
        st = check_table(s, err);
    if (!st && (r->op == SCHED_PERMUTE || r->op == SCHED_SENDRECV))
        st = take_pairs(s, r, err);
    if (!st)
        st = sched_plan(s, err);
    return st ? st : sched_classify(s, err);
}

NRT_STATUS sched_create(const struct sched_request *req, struct sched **ret, struct err *err)
{
    NRT_STATUS st = check_enums(req, err);
    struct sched *s;

    if (st)
        return st;
    s = mem_zalloc(sizeof(*s));
    if (!s)
        return err_set(err, NRT_RESOURCE, "no memory for a schedule");
    s->req = *req;
    s->g = req->group;
    s->n = req->group->n;
    st = fill(s, req, err);
    if (st) {
        sched_destroy(s);
        return st;
    }
    *ret = s;
    return NRT_SUCCESS;
}

void sched_destroy(struct sched *s)
{
    if (!s)
        return;
    arena_fini(&s->mem);
    mem_free(s);
}

const struct sched_request *sched_request_of(const struct sched *s)
{
    return &s->req;
}

uint32_t sched_ranks(const struct sched *s)
{
    return s->n;
}

uint32_t sched_channels(const struct sched *s)
{
    return s->channels;
}

uint64_t sched_tensor_elems(const struct sched *s, enum sched_buf buf, uint32_t rank,
                            uint32_t tensor)
{
    bool big = buf == SCHED_IN ? s->in_big : s->out_big;
    bool joined = s->req.op == SCHED_ALL_REDUCE;

    (void)rank;
    if (sched_op_varies(s->req.op))
        return buf == SCHED_IN ? s->req.in_elems : s->req.out_elems;
    if (tensor >= s->req.tensors)
        return 0;
    return s->counts[tensor] * (big && !joined ? s->n : 1);
}

uint64_t sched_buffer_elems(const struct sched *s, enum sched_buf buf, uint32_t rank,
                            uint32_t channel)
{
    (void)rank;
    (void)channel;
    switch (buf) {
    case SCHED_SLOT:
        return s->slot_elems;
    case SCHED_TEMP:
        return s->temp_elems;
    case SCHED_LINE:
        return s->line_elems;
    default:
        return 0;
    }
}

uint32_t sched_class_count(const struct sched *s)
{
    return s->class_count;
}

uint32_t sched_class(const struct sched *s, uint32_t rank)
{
    return s->classes[rank];
}

uint32_t sched_class_rank(const struct sched *s, uint32_t class_index)
{
    return s->class_rank[class_index];
}

uint32_t sched_class_size(const struct sched *s, uint32_t class_index)
{
    return s->class_size[class_index];
}

uint32_t sched_role_count(const struct sched *s)
{
    return s->role_count;
}

uint32_t sched_role(const struct sched *s, uint32_t rank)
{
    return s->roles[rank];
}

uint32_t sched_role_rank(const struct sched *s, uint32_t role)
{
    return s->role_rank[role];
}
