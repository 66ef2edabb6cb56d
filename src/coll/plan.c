/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: the steps of one rank in compact form, with their memory resolved as far as it is known.
 */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "coll/coll_int.h"

#define SMALL_BYTES 4096u

/* ---- buffers of channels ---- */

static uint64_t buffer_bytes(const struct coll_plan *p, enum sched_buf buf, uint32_t rank,
                             uint32_t channel)
{
    uint64_t bytes = sched_buffer_elems(p->s, buf, rank, channel) * p->elem;

    return (bytes + 63) & ~UINT64_C(63);
}

/* Offset of a buffer in the extent that holds all SLOTs, then all TEMPs of a rank. */
static uint64_t buffer_off(const struct coll_plan *p, enum sched_buf buf, uint32_t rank,
                           uint32_t channel)
{
    uint64_t off = 0;

    for (uint32_t c = 0; c < sched_channels(p->s); c++) {
        if (buf == SCHED_SLOT && c == channel)
            return off;
        off += buffer_bytes(p, SCHED_SLOT, rank, c);
    }
    for (uint32_t c = 0; c < channel; c++)
        off += buffer_bytes(p, SCHED_TEMP, rank, c);
    return off;
}

static uint64_t buffers_size(const struct coll_plan *p, uint32_t rank)
{
    uint64_t size = 0;

    for (uint32_t c = 0; c < sched_channels(p->s); c++)
        size += buffer_bytes(p, SCHED_SLOT, rank, c) + buffer_bytes(p, SCHED_TEMP, rank, c);
    return size;
}

NRT_STATUS coll_buffers_alloc(struct coll_comm *c, uint64_t size, struct device_extent *ret,
                              struct err *err)
{
    struct device_alloc a = {.core = c->cfg.core,
                             .neff = DEVICE_NONE,
                             .cat = c->cfg.driven ? DEVICE_CAT_XT_CC : DEVICE_CAT_COLL,
                             .size = size,
                             .align = 4096,
                             .name = "channel buffers"};

    return device_alloc(c->cfg.in, &a, ret, err);
}

static NRT_STATUS buffers_make(struct coll_plan *p, struct err *err)
{
    uint64_t size = buffers_size(p, p->comm->me);
    NRT_STATUS st;

    if (size == 0)
        return NRT_SUCCESS;
    st = coll_buffers_alloc(p->comm, size, &p->buffers, err);
    if (st)
        return st;
    p->have_buffers = true;
    return device_lease_add(p->comm->cfg.in, p->comm->lease, &p->buffers, err);
}

bool coll_sched_has_buffers(const struct sched *s)
{
    for (uint32_t r = 0; r < sched_request_of(s)->group->n; r++)
        for (uint32_t c = 0; c < sched_channels(s); c++)
            if (sched_buffer_elems(s, SCHED_SLOT, r, c) || sched_buffer_elems(s, SCHED_TEMP, r, c))
                return true;
    return false;
}

/* Nobody is asked: right when nobody uses another's buffers (bases_fix), and everybody makes the
 * same plan. */
static NRT_STATUS offers_none(struct coll_plan *p, const struct device_extent *own, struct err *err)
{
    const struct coll_comm *c = p->comm;
    uint64_t size = buffers_size(p, c->me);
    struct device_extent held = {0};

    if (size > (own ? own->size : 0))
        return err_set(err, NRT_INVALID,
                       "a plan made alone has channel buffers of %" PRIu64 " bytes", size);
    if (size == 0)
        return NRT_SUCCESS;
    p->buffer_addr[c->me] = own->addr;
    return device_lease_hold(c->cfg.in, c->lease, own->addr, own->size, &held, err);
}

static NRT_STATUS offers_exchange(struct coll_comm *c, const struct coll_offer *mine,
                                  struct err *err)
{
    return c->cfg.exchange.all_gather(c->cfg.exchange.arg, mine, sizeof(*mine), c->offers, err);
}

void coll_plan_refuse(struct coll_comm *c)
{
    const struct coll_offer none = {.channels = COLL_CHANNELS_NONE};
    struct err ignored = {0};

    /* Of what the host drives nobody knows whether the others ask for this plan (shared.c). If they
     * do not, what is left there stays to the end of the session: one for a communicator, which is
     * broken then. */
    if (c->cfg.driven && c->cfg.exchange.leave)
        c->cfg.exchange.leave(c->cfg.exchange.arg, &none, sizeof(none));
    else
        (void)offers_exchange(c, &none, &ignored);
    c->unfit = false; /* they know */
}

/* Nothing: it had no memory to say anything. */
static bool refuses(const struct coll_offer *o)
{
    return o->channels == COLL_CHANNELS_NONE || o->channels == 0;
}

uint32_t coll_plan_refuser(const struct coll_comm *c)
{
    return c->refuser < c->n ? c->refuser : coll_net_culprit(c, c->me);
}

bool coll_comm_unfit(const struct coll_comm *c)
{
    return c->unfit;
}

void coll_comm_set_unfit(struct coll_comm *c)
{
    c->unfit = true;
}

static NRT_STATUS offers_differ(const struct coll_comm *c, uint32_t rank,
                                const struct coll_offer *mine, const struct coll_offer *theirs,
                                struct err *err)
{
    char here[COLL_OP_TEXT], there[COLL_OP_TEXT];

    coll_op_text(&mine->op, here);
    coll_op_text(&theirs->op, there);
    return err_set(
        err, NRT_INVALID,
        "rank %u plans %s on %u channels, rank %u plans %s on %u channels: they differ in "
        "operation, size, type, algorithm or channels",
        coll_job_rank(c, c->me), here, mine->channels, coll_job_rank(c, rank), there,
        theirs->channels);
}

/* made: why this rank has no buffers, or NRT_SUCCESS; the others must not wait for it. */
static NRT_STATUS offers_take(struct coll_plan *p, NRT_STATUS made, struct err *err)
{
    struct coll_comm *c = p->comm;
    struct err of_others = {0};
    struct coll_offer mine = {p->have_buffers ? p->buffers.addr : 0, p->signature,
                              made ? COLL_CHANNELS_NONE : sched_channels(p->s), p->said};
    NRT_STATUS st = offers_exchange(c, &mine, &of_others);

    c->refuser = c->n;
    for (uint32_t r = 0; r < c->n && !st && !made; r++) {
        const struct coll_offer *o = &c->offers[r];

        p->buffer_addr[r] = o->buffers;
        if (refuses(o)) {
            c->refuser = r;
            st = err_set(&of_others, NRT_FAILURE, "rank %u has no memory for %s",
                         coll_job_rank(c, r), sched_op_name(sched_request_of(p->s)->op));
        } else if (o->signature != p->signature || o->channels != mine.channels) {
            st = offers_differ(c, r, &mine, o, &of_others);
        }
    }
    if (made)
        return made;
    if (st)
        *err = of_others;
    return st;
}

/* ---- what an operation is, in 32 bits ---- */

static uint32_t mix(uint32_t h, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        h = (h ^ (uint8_t)(v >> 8 * i)) * 16777619u;
    return h;
}

/* What the variable forms and permute bring besides their sizes. */
static uint32_t mix_tables(uint32_t h, const struct coll_plan *p)
{
    const struct sched_request *r = sched_request_of(p->s);
    uint32_t n = p->comm->n;

    for (uint32_t i = 0; r->op == SCHED_PERMUTE && i < n; i++)
        h = mix(h, sched_target(p->s, i));
    for (size_t i = 0; r->send_count && i < (size_t)n * n; i++) {
        if (r->op == SCHED_ALL_GATHER_V && i % n != 0)
            continue; /* of its table one column is read */
        h = mix(h, (uint64_t)r->send_count[i] << 32 | r->send_displ[i]);
    }
    for (size_t i = 0; r->send_count && r->recv_displ && i < (size_t)n * n; i++)
        h = mix(h, r->recv_displ[i]);
    return mix(mix(h, r->in_elems), r->out_elems);
}

static uint32_t signature_of(const struct coll_plan *p)
{
    const struct sched_request *r = sched_request_of(p->s);
    uint32_t h = 2166136261u;

    h = mix(h, r->op);
    h = mix(h, r->alg);
    h = mix(h, r->variant);
    h = mix(h, (uint64_t)r->intra << 32 | r->inter);
    h = mix(h, p->dtype);
    h = mix(h, p->reduce);
    h = mix(h, (uint64_t)r->channels << 32 | r->slots);
    h = mix(h, (uint64_t)r->slices << 32 | r->chunk_bytes);
    h = mix(h, r->pipeline);
    h = mix(h, r->in_place);
    h = mix(h, r->tensors);
    for (uint32_t t = 0; t < r->tensors; t++)
        h = mix(h, r->counts[t]);
    if (r->op == SCHED_PERMUTE || sched_op_varies(r->op))
        h = mix_tables(h, p);
    return h | 1; /* never 0 */
}

/* ---- compiling ---- */

static NRT_STATUS no_memory(struct err *err)
{
    return err_set(err, NRT_RESOURCE, "no memory for a plan");
}

/* Number of the base for a reference; a new one when it has not been seen. */
static bool base_of(struct coll_plan *p, const struct sched_ref *ref, uint32_t channel,
                    uint32_t *ret)
{
    struct plan_base b = {.buf = ref->buf, .rank = ref->rank};

    if (ref->buf == SCHED_IN || ref->buf == SCHED_OUT || ref->buf == SCHED_LINE)
        b.tensor = ref->tensor;
    else
        b.channel = channel;
    for (size_t i = p->base_count; i-- > 0;) { /* most repeat a recent one */
        struct plan_base *have = &p->bases[i];

        if (have->buf == b.buf && have->rank == b.rank && have->tensor == b.tensor &&
            have->channel == b.channel) {
            *ret = (uint32_t)i;
            return true;
        }
    }
    if (!mem_grow((void **)&p->bases, &p->base_cap, p->base_count + 1, sizeof(*p->bases)))
        return false;
    p->bases[p->base_count] = b;
    *ret = (uint32_t)p->base_count++;
    return true;
}

static bool ref_add(struct coll_plan *p, struct plan_channel *ch, const struct sched_ref *ref,
                    uint32_t channel, const struct sched_step *step)
{
    struct plan_ref *r;
    uint64_t last;
    uint32_t base;

    if (!base_of(p, ref, channel, &base) ||
        !mem_grow((void **)&ch->refs, &ch->ref_cap, ch->ref_count + 1, sizeof(*ch->refs)))
        return false;
    r = &ch->refs[ch->ref_count++];
    r->base = base;
    r->off = ref->off * p->elem;
    r->stride = step->repeat > 1 ? ref->stride * (int64_t)p->elem : 0;
    last = r->off + (r->stride > 0 ? (uint64_t)r->stride * (step->repeat - 1) : 0) +
           step->count * p->elem;
    if (last > p->bases[base].bytes)
        p->bases[base].bytes = last;
    return true;
}

static bool total_add(struct coll_plan *p, uint32_t channel, const struct sched_step *step)
{
    for (size_t i = p->total_count; i-- > 0;) {
        struct plan_total *t = &p->totals[i];

        if (t->peer == step->peer && t->channel == channel && t->sem == step->sem) {
            if (step->value > t->value)
                t->value = step->value;
            return true;
        }
    }
    if (!mem_grow((void **)&p->totals, &p->total_cap, p->total_count + 1, sizeof(*p->totals)))
        return false;
    p->totals[p->total_count++] =
        (struct plan_total){step->peer, (uint16_t)channel, step->sem, step->value};
    return true;
}

static bool target_add(struct coll_plan *p, uint32_t peer, uint32_t channel)
{
    for (size_t i = p->target_count; i-- > 0;)
        if (p->targets[i].peer == peer && p->targets[i].channel == channel)
            return true;
    if (!mem_grow((void **)&p->targets, &p->target_cap, p->target_count + 1, sizeof(*p->targets)))
        return false;
    p->targets[p->target_count++] = (struct plan_target){peer, channel};
    return true;
}

/* Pieces of one message follow each other: all but the last lose their mark. */
static void mark_last(struct plan_channel *ch, struct plan_step *put)
{
    struct plan_step *before = put - 1;

    put->value = 1;
    if (put > ch->steps && before->kind == SCHED_PUT && before->peer == put->peer)
        before->value = 0;
}

static bool reaches_peers(const struct coll_plan *p, const struct sched_ref *refs, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if ((refs[i].buf == SCHED_IN || refs[i].buf == SCHED_OUT) && refs[i].rank != p->comm->me)
            return true;
    return false;
}

/* A copy for which there is nothing to choose: one memmove does it. */
static bool is_small(const struct coll_plan *p, const struct sched_step *step)
{
    return step->kind == SCHED_COPY && step->nsrc == 1 && step->ndst == 1 && step->repeat == 1 &&
           step->count > 0 && step->count <= SMALL_BYTES / p->elem && !p->means.around;
}

static bool step_add(struct coll_plan *p, uint32_t channel, const struct sched_step *step)
{
    struct plan_channel *ch = &p->channels[channel];
    bool message = step->kind == SCHED_NET_SEND || step->kind == SCHED_NET_RECV;
    bool empty = message && step->count == 0; /* it comes from nowhere */
    struct plan_step *out;

    /* what an operation adds to the counters of messages is their number (net.c) */
    if ((step->kind == SCHED_WAIT || step->kind == SCHED_EXPECT) && step->sem < SCHED_SEM_SENT)
        if (!total_add(p, channel, step))
            return false;
    if (step->kind == SCHED_EXPECT)
        return true;
    if (step->kind == SCHED_SIGNAL && !target_add(p, step->peer, channel))
        return false;
    if (!mem_grow((void **)&ch->steps, &ch->cap, ch->count + 1, sizeof(*ch->steps)))
        return false;
    out = &ch->steps[ch->count++];
    *out = (struct plan_step){.kind = step->kind,
                              .sem = step->sem,
                              .nsrc = step->nsrc,
                              .ndst = step->ndst,
                              .phase = step->phase,
                              .whole = step->repeat == 1 && step->count > 0 &&
                                       step->count <= p->means.slice / p->elem,
                              .small = is_small(p, step),
                              .reaches = reaches_peers(p, step->src, step->nsrc) ||
                                         reaches_peers(p, step->dst, step->ndst),
                              .peer = step->peer,
                              .value = step->value,
                              .repeat = step->repeat,
                              .refs = (uint32_t)ch->ref_count,
                              .count = step->count};
    if (step->kind == SCHED_PUT)
        mark_last(ch, out);
    for (unsigned i = 0; i < step->nsrc && !empty; i++)
        if (!ref_add(p, ch, &step->src[i], channel, step))
            return false;
    for (unsigned i = 0; i < step->ndst && !empty; i++)
        if (!ref_add(p, ch, &step->dst[i], channel, step))
            return false;
    return !message || coll_wire_add(p, channel, out);
}

static NRT_STATUS channel_compile(struct coll_plan *p, uint32_t channel, struct err *err)
{
    const struct sched_step *step;
    struct sched_iter *it;
    NRT_STATUS st = sched_iter_create(p->s, p->comm->me, channel, &it);

    if (st)
        return no_memory(err);
    while (!st && (step = sched_iter_next(it)))
        if (!step_add(p, channel, step))
            st = no_memory(err);
    if (!st && sched_iter_status(it))
        st = no_memory(err);
    sched_iter_destroy(it);
    return st;
}

/* Memory that does not change from operation to operation. */
static NRT_STATUS bases_fix(struct coll_plan *p, struct err *err)
{
    struct coll_comm *c = p->comm;

    for (size_t i = 0; i < p->base_count; i++) {
        struct plan_base *b = &p->bases[i];
        NRT_STATUS st = NRT_SUCCESS;
        uint64_t size;
        void *at = NULL;

        switch (b->buf) {
        case SCHED_SLOT:
        case SCHED_TEMP:
            if (p->alone && b->rank != c->me)
                return err_set(err, NRT_INVALID, "a plan made alone uses the buffers of rank %u",
                               b->rank);
            size = buffer_bytes(p, (enum sched_buf)b->buf, b->rank, b->channel);
            st = device_map(c->cfg.in,
                            p->buffer_addr[b->rank] +
                                buffer_off(p, (enum sched_buf)b->buf, b->rank, b->channel),
                            size, DEVICE_RW, &at, err);
            break;
        case SCHED_LINE: /* mine, after TAKE; those of others are found by PUT */
            at = c->staging + (size_t)b->tensor * SCHED_INLINE_MAX;
            break;
        default:
            break;
        }
        if (st)
            return st;
        b->p = at;
    }
    return NRT_SUCCESS;
}

/* All that needs memory, but for buffers. */
static NRT_STATUS compile(struct coll_plan *p, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    for (uint32_t ch = 0; ch < sched_channels(p->s) && !st; ch++)
        st = channel_compile(p, ch, err);
    if (!st && !coll_tensors_open(p))
        st = no_memory(err);
    return st ? st : coll_wires_open(p, err);
}

/* own: memory for the buffers of a plan made alone, or NULL. What a rank lacks it says with its
 * offer: after that the others wait for its greeting. */
static NRT_STATUS plan_fill(struct coll_plan *p, const struct device_extent *own, struct err *err)
{
    struct err unheard = {0};
    NRT_STATUS st = NRT_SUCCESS, greeted;

    p->channels = mem_calloc(sched_channels(p->s), sizeof(*p->channels));
    p->buffer_addr = mem_calloc(p->comm->n, sizeof(*p->buffer_addr));
    if (!p->channels || !p->buffer_addr)
        st = no_memory(err);
    if (!st && !p->alone)
        st = buffers_make(p, err);
    if (!st)
        st = compile(p, err);
    if (!p->alone)
        st = offers_take(p, st, err);
    else if (!st)
        st = offers_none(p, own, err);
    if (st)
        return st; /* all know it */
    st = bases_fix(p, err);
    greeted = coll_wires_greet(p, &unheard);
    if (!st && greeted)
        st = err_set(err, greeted, "%s", unheard.text);
    if (st && !p->alone)
        p->comm->unfit = true;
    return st;
}

static NRT_STATUS plan_check(const struct coll_comm *c, const struct sched *s, enum dtype dtype,
                             enum kernel_combine reduce, struct err *err)
{
    const struct sched_request *r = sched_request_of(s);
    bool sums = r->op == SCHED_REDUCE_SCATTER || r->op == SCHED_ALL_REDUCE ||
                r->op == SCHED_REDUCE_SCATTER_V;

    if (r->group->n != c->n || sched_channels(s) > c->channels)
        return err_set(err, NRT_INVALID,
                       "schedule of %u ranks and %u channels for a communicator of %u and %u",
                       r->group->n, sched_channels(s), c->n, c->channels);
    if (r->op != SCHED_BARRIER && dtype_size(dtype) != r->elem_size)
        return err_set(err, NRT_INVALID, "%s of %zu bytes for a schedule of %u-byte elements",
                       dtype_name(dtype), dtype_size(dtype), r->elem_size);
    if (sums && (!kernel_combine_can(dtype) || (unsigned)reduce > KERNEL_COMBINE_MAX))
        return err_set(err, NRT_INVALID, "%s cannot be reduced", dtype_name(dtype));
    return NRT_SUCCESS;
}

/* What is known of steps once all of them are there. */
static void steps_choose(struct coll_plan *p)
{
    p->pair = p->means.around ? NULL : kernel_combine_pair(p->dtype, p->reduce);
    for (uint32_t i = 0; i < p->channel_count; i++) {
        struct plan_channel *ch = &p->channels[i];

        for (size_t k = 0; k < ch->count; k++) {
            struct plan_step *step = &ch->steps[k];

            step->pair = p->pair && step->kind == SCHED_REDUCE && step->whole && step->nsrc == 2 &&
                         step->ndst == 1 && step->count <= KERNEL_PAIR_MAX;
            step->line = step->kind == SCHED_PUT && step->value &&
                         ch->refs[step->refs + 1].off == 0 &&
                         step->count * p->elem <= COLL_LINE_DATA;
        }
    }
}

/* Steps that put lines, before anything else is done; they are not all that there is. */
static size_t lines_first(const struct coll_plan *p)
{
    const struct plan_channel *ch = &p->channels[0];
    size_t n = 0;

    while (p->channel_count == 1 && n + 1 < ch->count && ch->steps[n].kind == SCHED_PUT)
        n++;
    return n;
}

/* By which algorithm and variant; nccom-test reads this line. */
static void plan_log(const struct coll_plan *p)
{
    const struct sched_request *r = sched_request_of(p->s);
    uint64_t bytes = sched_request_bytes(r);

    if (bytes == 0) /* the variable-size forms: the larger tensor */
        bytes = (r->in_elems > r->out_elems ? r->in_elems : r->out_elems) * r->elem_size;
    if (p->comm->cfg.log)
        LOGD(p->comm->cfg.log, LOG_NRT, "coll_plan_create",
             "plan: %s of %" PRIu64 " bytes between %" PRIu32 " ranks: %s, %s",
             sched_op_name(r->op), bytes, p->comm->n, sched_alg_printed(r->alg),
             sched_variant_name(r->variant));
}

static NRT_STATUS plan_create(struct coll_comm *c, const struct sched *s, enum dtype dtype,
                              enum kernel_combine reduce, bool alone,
                              const struct device_extent *own, struct coll_plan **ret,
                              struct err *err)
{
    struct coll_plan *p;
    NRT_STATUS st = plan_check(c, s, dtype, reduce, err);

    if (st)
        return st;
    p = alone || !c->unfit ? mem_zalloc(sizeof(*p)) : NULL;
    if (!p && !alone)
        coll_plan_refuse(c);
    if (!p)
        return no_memory(err);
    p->comm = c;
    p->s = s;
    p->alone = alone;
    p->dtype = dtype;
    p->reduce = reduce;
    p->elem = sched_request_of(s)->elem_size;
    p->channel_count = sched_channels(s);
    p->means = sched_tuning_choose(&c->tuning, sched_request_of(s)->op, c->crowded,
                                   sched_request_bytes(sched_request_of(s)));
    p->signature = signature_of(p);
    coll_tensors_measure(p);
    p->said = coll_op_of(p);
    st = plan_fill(p, own, err);
    if (st) {
        if (c->cfg.log)
            LOGE(c->cfg.log, LOG_NRT, "coll_plan_create", "%s", err->text);
        coll_plan_destroy(p);
        return st;
    }
    plan_log(p);
    p->step_count = coll_plan_steps(p);
    p->lines_first = lines_first(p);
    steps_choose(p);
    p->what = device_flight_what(sched_request_of(s)->op, sched_request_of(s)->alg,
                                 sched_request_of(s)->variant, dtype);
    *ret = p;
    return NRT_SUCCESS;
}

NRT_STATUS coll_plan_create(struct coll_comm *c, const struct sched *s, enum dtype dtype,
                            enum kernel_combine reduce, struct coll_plan **ret, struct err *err)
{
    return plan_create(c, s, dtype, reduce, false, NULL, ret, err);
}

NRT_STATUS coll_plan_create_alone(struct coll_comm *c, const struct sched *s, enum dtype dtype,
                                  enum kernel_combine reduce, const struct device_extent *own,
                                  struct coll_plan **ret, struct err *err)
{
    return plan_create(c, s, dtype, reduce, true, own, ret, err);
}

void coll_plan_destroy(struct coll_plan *p)
{
    struct err ignored = {0};

    if (!p)
        return;
    if (p->have_buffers) /* stays in quarantine while the communicator is leased */
        (void)device_free(p->comm->cfg.in, &p->buffers, &ignored);
    for (uint32_t ch = 0; p->channels && ch < sched_channels(p->s); ch++) {
        mem_free(p->channels[ch].steps);
        mem_free(p->channels[ch].refs);
    }
    coll_wires_free(p);
    coll_tensors_free(p);
    mem_free(p->channels);
    mem_free(p->bases);
    mem_free(p->totals);
    mem_free(p->targets);
    mem_free(p->buffer_addr);
    mem_free(p);
}

uint64_t coll_plan_steps(const struct coll_plan *p)
{
    uint64_t n = 0;

    for (uint32_t ch = 0; ch < sched_channels(p->s); ch++)
        n += p->channels[ch].count;
    return n;
}
