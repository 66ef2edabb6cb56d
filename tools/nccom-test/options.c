/* SPDX-License-Identifier: Apache-2.0 */
/* Sets one option, of the command line or of a stream of a streams file. */
#include "options_int.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/broken.h"
#include "base/checked.h"
#include "base/settings.h"

#define OPS_MAX 1000000u /* operations, and executions (ours) */

/* ---- operations and types ---- */

static const struct {
    const char *name, *alias;
} op_names[CC_OP_COUNT] = {
    [CC_ALL_REDUCE] = {"all_reduce", "allr"},
    [CC_ALL_GATHER] = {"all_gather", "allg"},
    [CC_ALL_GATHER_V] = {"all_gatherv", "allgv"},
    [CC_REDUCE_SCATTER] = {"reduce_scatter", "redsct"},
    [CC_SENDRECV] = {"sendrecv", "sendrecv"},
    [CC_ALL_TO_ALL] = {"alltoall", "alltoall"},
    [CC_ALL_TO_ALL_V] = {"alltoallv", "alltoallv"},
    [CC_PERMUTE] = {"permute", "permute"},
};

enum cc_op cc_op_from_name(const char *name)
{
    unsigned op = 0;

    while (op < CC_OP_COUNT && strcmp(name, op_names[op].name) != 0 &&
           strcmp(name, op_names[op].alias) != 0)
        op++;
    return (enum cc_op)op;
}

const char *cc_op_name(enum cc_op op)
{
    return op < CC_OP_COUNT ? op_names[op].name : "";
}

const char *cc_op_alias(enum cc_op op)
{
    return op < CC_OP_COUNT ? op_names[op].alias : "";
}

static const struct {
    const char *name;
    enum dtype type;
} types[] = {
    {"uint8", DT_UINT8},   {"int8", DT_INT8},   {"fp8", DT_FP8_E4}, {"fp8e4", DT_FP8_E4},
    {"uint16", DT_UINT16}, {"int16", DT_INT16}, {"fp16", DT_FP16},  {"bf16", DT_BF16},
    {"uint32", DT_UINT32}, {"int32", DT_INT32}, {"fp32", DT_FP32},
};

/* ---- values ---- */

bool cc_size_parse(const char *text, uint64_t *ret)
{
    static const char units[] = "kmg";
    uint64_t v = 0;
    const char *p = text, *unit;
    unsigned shift = 0;

    if (*p < '0' || *p > '9' || BROKEN(TOOL))
        return false;
    for (; *p >= '0' && *p <= '9'; p++)
        if (u64_mul_over(v, 10, &v) || u64_add_over(v, (uint64_t)(*p - '0'), &v))
            return false;
    unit = *p != '\0' ? strchr(units, *p | 0x20) : NULL;
    if (unit != NULL) {
        shift = 10 * (unsigned)(unit - units + 1);
        p++;
    }
    if (*p == 'b' || *p == 'B')
        p++;
    if (*p != '\0' || u64_mul_over(v, UINT64_C(1) << shift, &v))
        return false;
    *ret = v;
    return true;
}

static NRT_STATUS bad(struct err *err, const char *option, const char *value, const char *want)
{
    return err_set(err, NRT_INVALID, "%s: \"%s\" is not %s", option, value, want);
}

static NRT_STATUS number(const char *option, const char *value, uint32_t min, uint32_t max,
                         uint32_t *ret, struct err *err)
{
    int64_t n;

    if (!settings_parse_int(value, &n) || n < min || n > max)
        return err_set(err, NRT_INVALID, "%s: \"%s\" is not a number from %u to %u", option, value,
                       min, max);
    *ret = (uint32_t)n;
    return NRT_SUCCESS;
}

static NRT_STATUS size(const char *option, const char *value, uint64_t *ret, struct err *err)
{
    return cc_size_parse(value, ret) ? NRT_SUCCESS : bad(err, option, value, "a size (32M, 1kb)");
}

static NRT_STATUS path(const char *option, const char *value, char *to, struct err *err)
{
    if (value[0] == '\0' || strlen(value) >= CC_PATH_MAX)
        return bad(err, option, value, "a path");
    snprintf(to, CC_PATH_MAX, "%s", value);
    return NRT_SUCCESS;
}

/* "[1,2,1]": at most max numbers; blanks are allowed. *end: behind the bracket. */
static bool list(const char *text, uint64_t *ret, unsigned max, unsigned *ret_count,
                 const char **end)
{
    unsigned n = 0;
    const char *p = text + strspn(text, " ");

    if (*p++ != '[')
        return false;
    for (;;) {
        uint64_t v = 0;

        p += strspn(p, " ");
        if (*p < '0' || *p > '9' || n == max)
            return false;
        for (; *p >= '0' && *p <= '9'; p++)
            if (u64_mul_over(v, 10, &v) || u64_add_over(v, (uint64_t)(*p - '0'), &v))
                return false;
        ret[n++] = v;
        p += strspn(p, " ");
        if (*p == ']')
            break;
        if (*p++ != ',')
            return false;
    }
    *ret_count = n;
    *end = p + 1;
    return true;
}

static NRT_STATUS ratio(struct cc_stream *s, const char *value, struct err *err)
{
    uint64_t v[CC_PARTS_MAX];
    const char *end;

    if (!list(value, v, CC_PARTS_MAX, &s->parts, &end) || *end != '\0')
        return bad(err, "--coalesced-cc-size-ratio", value, "a list of up to 64 numbers: [1,2,1]");
    for (unsigned i = 0; i < s->parts; i++) {
        if (v[i] == 0 || v[i] > UINT16_MAX)
            return bad(err, "--coalesced-cc-size-ratio", value, "a list of numbers 1 to 65535");
        s->ratio[i] = (uint32_t)v[i];
    }
    return NRT_SUCCESS;
}

static NRT_STATUS shape(const char *option, const char *value, struct cc_shape *ret,
                        struct err *err)
{
    unsigned a = 0, b = 0;
    const char *end = "";

    if (!list(value, ret->step, 2, &a, &end) || a != 2 || !list(end, ret->num, 2, &b, &end) ||
        b != 2 || *end != '\0' || ret->num[0] == 0 || ret->num[1] == 0)
        return bad(err, option, value, "a shape: [step0,step1][num_elem0,num_elem1]");
    ret->given = true;
    return NRT_SUCCESS;
}

/* Twice the same is one column, as it is one key of the report. */
static NRT_STATUS stat(struct cc_options *o, const char *value, struct err *err)
{
    int64_t p = CC_STAT_AVG;

    if (strcmp(value, "avg") != 0 && (value[0] != 'p' || value[1] < '0' || value[1] > '9' ||
                                      !settings_parse_int(value + 1, &p) || p > 100))
        return bad(err, "--stats", value, "avg or p0 to p100");
    for (unsigned i = 0; i < o->stat_count; i++)
        if (o->stats[i] == (int)p)
            return NRT_SUCCESS;
    if (o->stat_count == CC_STATS_MAX)
        return err_set(err, NRT_INVALID, "--stats: more than %u", CC_STATS_MAX);
    o->stats[o->stat_count++] = (int)p;
    return NRT_SUCCESS;
}

/* ---- setting one ---- */

static NRT_STATUS datatype_set(struct cc_stream *s, const char *value, struct err *err)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(value, types[i].name) == 0) {
            s->dtype = types[i].type;
            snprintf(s->dtype_name, sizeof(s->dtype_name), "%s", value);
            return NRT_SUCCESS;
        }
    return bad(err, "--datatype", value, "uint8 int8 fp8 uint16 int16 fp16 bf16 uint32 int32 fp32");
}

static NRT_STATUS operation_set(struct cc_stream *s, const char *value, struct err *err)
{
    s->op = cc_op_from_name(value);
    s->has_op = s->op != CC_OP_COUNT;
    return s->has_op ? NRT_SUCCESS : bad(err, "operation", value, "a collective operation");
}

static NRT_STATUS factor_set(struct cc_stream *s, const char *value, struct err *err)
{
    if (!cc_size_parse(value, &s->factor) || s->factor < 2)
        return bad(err, "--stepfactor", value, "a factor from 2 on");
    return NRT_SUCCESS;
}

/* Flags have value "true" or "false". */
static NRT_STATUS stream_row_set(struct cc_stream *s, const struct cc_row_option *row,
                                 const char *value, struct err *err)
{
    bool on = strcmp(value, "true") == 0;
    uint32_t n = 0;

    switch (row->id) {
    case ID_OPERATION:
        return operation_set(s, value, err);
    case ID_MIN:
        return size("--minbytes", value, &s->min, err);
    case ID_MAX:
        return size("--maxbytes", value, &s->max, err);
    case ID_STEP:
        s->has_step = true;
        return size("--stepbytes", value, &s->step, err);
    case ID_FACTOR:
        return factor_set(s, value, err);
    case ID_DATATYPE:
        return datatype_set(s, value, err);
    case ID_UNIQUE:
        s->unique_buff = on;
        return NRT_SUCCESS;
    case ID_RATIO:
        return ratio(s, value, err);
    case ID_SHARED:
        s->shared_output = on;
        return NRT_SUCCESS;
    case ID_METADATA:
        return path("--variable-size-op-metadata", value, s->metadata, err);
    case ID_SB2SB:
        s->sb2sb = on;
        return NRT_SUCCESS;
    case ID_INPUT_SHAPE:
        return shape("--input-shape", value, &s->in_shape, err);
    case ID_OUTPUT_SHAPE:
        return shape("--output-shape", value, &s->out_shape, err);
    case ID_CC_DIM:
        s->has_cc_dim = true;
        if (number("--cc-dim", value, 0, 1, &n, err) != NRT_SUCCESS)
            return NRT_INVALID;
        s->cc_dim = n;
        return NRT_SUCCESS;
    case ID_PARALLEL:
        return number("--data-parallel-dimension", value, 1, UINT32_MAX, &s->parallel, err);
    case ID_GROUPS:
        return path("--custom-replica-groups", value, s->groups, err);
    case ID_PAIRS:
        return path("--custom-src-target-pairs", value, s->pairs, err);
    case ID_OPS_PER_ITER:
        return number("ops_per_iter", value, 1, OPS_MAX, &s->ops_per_iter, err);
    default:
        return err_set(err, NRT_INVALID, "--%s: not an option of a stream", row->name);
    }
}

static NRT_STATUS check_set(struct cc_options *o, const char *value, struct err *err)
{
    if (value == NULL || strcmp(value, "random") == 0)
        o->check = CC_CHECK_RANDOM;
    else if (strcmp(value, "all_ones") == 0)
        o->check = CC_CHECK_ALL_ONES;
    else
        return bad(err, "--check", value, "random or all_ones");
    return NRT_SUCCESS;
}

static NRT_STATUS seed_set(struct cc_options *o, const char *value, struct err *err)
{
    int64_t n;

    if (!settings_parse_int(value, &n) || n < 0)
        return bad(err, "--seed", value, "a number from 0 on");
    o->seed = (uint64_t)n;
    o->has_seed = true;
    return NRT_SUCCESS;
}

static NRT_STATUS host_add(struct cc_options *o, const char *value, struct err *err)
{
    if (o->host_count == CC_HOSTS_MAX)
        return err_set(err, NRT_INVALID, "--hosts: more than %u", CC_HOSTS_MAX);
    if (value[0] == '\0' || strpbrk(value, ", :\t") != NULL)
        return bad(err, "--hosts", value, "a host name or an IPv4 address");
    o->hosts[o->host_count++] = value;
    return NRT_SUCCESS;
}

/* Counts: how many, how often. */
static NRT_STATUS count_set(struct cc_options *o, const struct cc_row_option *row,
                            const char *value, struct err *err)
{
    switch (row->id) {
    case ID_NWORKERS:
        return number("--nworkers", value, 1, 65536, &o->ranks, err);
    case ID_NNODES:
        return number("--nnodes", value, 1, CC_HOSTS_MAX, &o->nodes, err);
    case ID_ITERS:
        return number("--iters", value, 1, OPS_MAX, &o->iters, err);
    case ID_WARMUP:
        return number("--warmup_iters", value, 0, OPS_MAX, &o->warmup_iters, err);
    case ID_NEFF_ITERS:
        o->has_neff_iters = true;
        return number("--neff_iters", value, 1, OPS_MAX, &o->neff_iters, err);
    case ID_NEFF_WARMUP:
        o->has_neff_warmup = true;
        return number("--neff_warmup_iters", value, 0, OPS_MAX, &o->neff_warmup_iters, err);
    case ID_SLURM_VCPUS:
        return number("--slurm-vcpus-per-node", value, 1, 65536, &o->slurm_vcpus, err);
    case ID_PORT:
        return number("--data-collector-port", value, 1, 65535, &o->collector_port, err);
    default:
        return err_set(err, NRT_INVALID, "--%s: not a count", row->name);
    }
}

static bool flag_set(struct cc_options *o, enum id id)
{
    bool *flag = id == ID_SLURM             ? &o->slurm
                 : id == ID_SLURM_COPY      ? &o->slurm_copy_bench
                 : id == ID_NON_INTERACTIVE ? &o->non_interactive
                 : id == ID_SHOW_ALGORITHM  ? &o->show_algorithm
                 : id == ID_SHOW_SIZES      ? &o->show_sizes
                 : id == ID_DEBUG           ? &o->debug
                 : id == ID_PIN             ? &o->pin
                 : id == ID_GIB             ? &o->gib
                 : id == ID_HELP            ? &o->help
                 : id == ID_VERSION         ? &o->version
                                            : NULL;

    if (flag != NULL)
        *flag = true;
    return flag != NULL;
}

static bool text_set(struct cc_options *o, enum id id, const char *value)
{
    const char **text = id == ID_HOSTS_FILE    ? &o->hosts_file
                        : id == ID_MPI_LOG_DIR ? &o->mpi_log_dir
                        : id == ID_SLURM_SETUP ? &o->slurm_setup
                        : id == ID_SLURM_JOB   ? &o->slurm_job
                        : id == ID_JSON        ? &o->json
                        : id == ID_STREAMS     ? &o->streams_json
                        : id == ID_COLLECTOR   ? &o->collector_host
                                               : NULL;

    if (text != NULL)
        *text = value;
    return text != NULL;
}

NRT_STATUS cc_row_set(struct cc_options *o, const struct cc_row_option *row, const char *value,
                      struct err *err)
{
    if (row->stream)
        return stream_row_set(&o->all, row, value != NULL ? value : "true", err);
    if (row->takes == FLAG)
        return flag_set(o, row->id) ? NRT_SUCCESS : NRT_INVALID;
    if (row->id == ID_CHECK)
        return check_set(o, value, err);
    if (row->id == ID_SEED)
        return seed_set(o, value, err);
    if (row->id == ID_STATS)
        return stat(o, value, err);
    if (row->id == ID_HOSTS)
        return host_add(o, value, err);
    if (text_set(o, row->id, value))
        return value[0] != '\0' ? NRT_SUCCESS : err_set(err, NRT_INVALID, "--%s: empty", row->name);
    return count_set(o, row, value, err);
}

NRT_STATUS cc_stream_set(struct cc_stream *s, const char *key, const char *value, struct err *err)
{
    for (size_t i = 0; i < cc_row_count; i++) {
        const char *a = cc_rows[i].name, *b = key;

        while (*a != '\0' && (*a == *b || (*a == '-' && *b == '_'))) {
            a++;
            b++;
        }
        if (*a != '\0' || *b != '\0')
            continue;
        if (cc_rows[i].stream && cc_rows[i].takes == FLAG && strcmp(value, "true") != 0 &&
            strcmp(value, "false") != 0)
            return bad(err, key, value, "true or false");
        return stream_row_set(s, &cc_rows[i], value, err);
    }
    return err_set(err, NRT_INVALID, "\"%s\" is not an option of a stream", key);
}
