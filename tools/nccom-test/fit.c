/* SPDX-License-Identifier: Apache-2.0 */
/* Which options fit together, and what follows from them alone: the sizes of a sweep, the numbers
 * of operations and executions. */
#include "options.h"

#include "base/checked.h"

/* ---- what fits together ---- */

static NRT_STATUS sizes_check(const struct cc_stream *s, struct err *err)
{
    if (s->min == 0)
        return err_set(err, NRT_INVALID, "--minbytes: 0 bytes");
    if (s->min > s->max)
        return err_set(err, NRT_INVALID, "--minbytes %llu is more than --maxbytes %llu",
                       (unsigned long long)s->min, (unsigned long long)s->max);
    if (cc_sweep(s, NULL, 0) > CC_SIZES_MAX)
        return err_set(err, NRT_INVALID, "more than %u sizes from %llu to %llu", CC_SIZES_MAX,
                       (unsigned long long)s->min, (unsigned long long)s->max);
    return NRT_SUCCESS;
}

static NRT_STATUS only_for(struct err *err, const char *option, const char *ops)
{
    return err_set(err, NRT_INVALID, "%s is for %s", option, ops);
}

/* What exists from SBUF to SBUF. */
static NRT_STATUS sbuf_check(const struct cc_stream *s, struct err *err)
{
    if (s->op != CC_ALL_REDUCE && s->op != CC_ALL_GATHER && s->op != CC_REDUCE_SCATTER)
        return only_for(err, "--sb2sb", "all_reduce, all_gather and reduce_scatter");
    if (s->parts > 0 || s->shared_output)
        return err_set(err, NRT_INVALID,
                       "--coalesced-cc-size-ratio and --shared-output-buff are for tensors in HBM, "
                       "not for --sb2sb");
    if (s->cc_dim == 0 && s->op != CC_ALL_GATHER)
        return only_for(err, "--cc-dim 0", "all_gather");
    return NRT_SUCCESS;
}

NRT_STATUS cc_stream_check(const struct cc_stream *s, const struct cc_options *o, struct err *err)
{
    if (!s->has_op)
        return err_set(err, NRT_INVALID, "no operation given");
    if (s->sb2sb) {
        if (sbuf_check(s, err) != NRT_SUCCESS)
            return NRT_INVALID;
    } else if (s->in_shape.given || s->out_shape.given || s->has_cc_dim) {
        return only_for(err, "--input-shape, --output-shape, --cc-dim", "--sb2sb");
    }
    if (s->metadata[0] != '\0' && !cc_op_varies(s->op))
        return only_for(err, "--variable-size-op-metadata", "alltoallv and all_gatherv");
    if (s->pairs[0] != '\0' && s->op != CC_PERMUTE)
        return only_for(err, "--custom-src-target-pairs", "permute");
    if (s->parts > 0 && (cc_op_varies(s->op) || s->op == CC_PERMUTE || s->op == CC_SENDRECV))
        return only_for(err, "--coalesced-cc-size-ratio",
                        "all_reduce, all_gather, reduce_scatter and alltoall");
    if (s->shared_output && !cc_op_same_output(s->op))
        return only_for(err, "--shared-output-buff", "operations whose outputs are equal");
    if (s->groups[0] != '\0' && s->parallel > 0)
        return err_set(err, NRT_INVALID,
                       "--custom-replica-groups and --data-parallel-dimension exclude each other");
    if (s->parallel > 0 && o->ranks % s->parallel != 0)
        return err_set(err, NRT_INVALID, "--data-parallel-dimension: %u ranks are no groups of %u",
                       o->ranks, s->parallel);
    return sizes_check(s, err);
}

NRT_STATUS cc_options_check(const struct cc_options *o, struct err *err)
{
    if (o->ranks == 0)
        return err_set(err, NRT_INVALID, "-r/--nworkers is required");
    if (o->ranks % o->nodes != 0)
        return err_set(err, NRT_INVALID, "%u ranks do not divide over %u nodes", o->ranks,
                       o->nodes);
    if (o->streams_json == NULL)
        return cc_stream_check(&o->all, o, err);
    return NRT_SUCCESS;
}

/* ---- sizes and counts ---- */

unsigned cc_sweep(const struct cc_stream *s, uint64_t *sizes, unsigned max)
{
    uint64_t step = s->has_step ? s->step : (s->max - s->min) / 10, v = s->min;
    unsigned n = 0;

    while (n <= CC_SIZES_MAX) {
        if (n < max)
            sizes[n] = v;
        n++;
        if (s->factor > 0 ? u64_mul_over(v, s->factor, &v) : u64_add_over(v, step, &v))
            break;
        if (v > s->max || (s->factor == 0 && step == 0))
            break;
    }
    return n;
}

/* The largest divisor of n that is at most its root: so many operations to a NEFF make about as
 * many executions, each a sample, as there are operations over which a sample is averaged. */
static uint32_t ops_of(uint32_t n)
{
    uint32_t best = 1;

    for (uint32_t d = 2; d <= n / d; d++)
        if (n % d == 0)
            best = d;
    return best;
}

struct cc_counts cc_counts_of(const struct cc_options *o)
{
    struct cc_counts c = {.warm_ops = o->warmup_iters};

    if (!o->has_neff_iters && !o->has_neff_warmup) {
        c.ops = ops_of(o->iters);
        c.execs = o->iters / c.ops;
        c.warm_ups = o->warmup_iters > 0;
        return c;
    }
    c.ops = o->iters;
    c.execs = o->has_neff_iters ? o->neff_iters : 1;
    c.warm_execs = o->neff_warmup_iters;
    c.warm_each = o->warmup_iters > 0;
    return c;
}
