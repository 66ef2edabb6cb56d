/* SPDX-License-Identifier: Apache-2.0 */
/* The table of options, and its two readers: the command line and a stream of a streams file. */
#include "options.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

    if (*p < '0' || *p > '9')
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

static NRT_STATUS stat(struct cc_options *o, const char *value, struct err *err)
{
    int64_t p;

    if (o->stat_count == CC_STATS_MAX)
        return err_set(err, NRT_INVALID, "--stats: more than %u", CC_STATS_MAX);
    if (strcmp(value, "avg") == 0) {
        o->stats[o->stat_count++] = CC_STAT_AVG;
        return NRT_SUCCESS;
    }
    if (value[0] != 'p' || value[1] < '0' || value[1] > '9' || !settings_parse_int(value + 1, &p) ||
        p > 100)
        return bad(err, "--stats", value, "avg or p0 to p100");
    o->stats[o->stat_count++] = (int)p;
    return NRT_SUCCESS;
}

/* ---- the table ---- */

enum id {
    ID_OPERATION,
    ID_NWORKERS,
    ID_NNODES,
    ID_MIN,
    ID_MAX,
    ID_STEP,
    ID_FACTOR,
    ID_ITERS,
    ID_WARMUP,
    ID_NEFF_ITERS,
    ID_NEFF_WARMUP,
    ID_DATATYPE,
    ID_CHECK,
    ID_SEED,
    ID_UNIQUE,
    ID_RATIO,
    ID_SHARED,
    ID_METADATA,
    ID_HOSTS,
    ID_HOSTS_FILE,
    ID_MPI_LOG_DIR,
    ID_SLURM,
    ID_SLURM_VCPUS,
    ID_SLURM_SETUP,
    ID_SLURM_JOB,
    ID_SLURM_COPY,
    ID_NON_INTERACTIVE,
    ID_JSON,
    ID_STATS,
    ID_SHOW_ALGORITHM,
    ID_SHOW_SIZES,
    ID_DEBUG,
    ID_SB2SB,
    ID_INPUT_SHAPE,
    ID_OUTPUT_SHAPE,
    ID_CC_DIM,
    ID_PARALLEL,
    ID_GROUPS,
    ID_PAIRS,
    ID_STREAMS,
    ID_OPS_PER_ITER,
    ID_PIN,
    ID_PORT,
    ID_COLLECTOR,
    ID_GIB,
    ID_HELP,
    ID_VERSION
};

enum takes { FLAG, ONE, MAYBE, MANY };

static const struct row {
    enum id id;
    const char *name;
    char letter;
    enum takes takes;
    bool stream; /* may stand in a stream of a streams file */
    const char *metavar, *help;
} rows[] = {
    {ID_NWORKERS, "nworkers", 'r', ONE, false, "N", "ranks in all (required)"},
    {ID_NNODES, "nnodes", 'N', ONE, false, "N", "nodes, which share the ranks equally (1)"},
    {ID_MIN, "minbytes", 'b', ONE, true, "SIZE", "first size (32M)"},
    {ID_MAX, "maxbytes", 'e', ONE, true, "SIZE", "last size (32M)"},
    {ID_STEP, "stepbytes", 'i', ONE, true, "SIZE", "from size to size ((max - min) / 10)"},
    {ID_FACTOR, "stepfactor", 'f', ONE, true, "N", "factor from size to size; wins over -i"},
    {ID_ITERS, "iters", 'n', ONE, false, "N", "measured operations (20)"},
    {ID_WARMUP, "warmup_iters", 'w', ONE, false, "N", "warm-up operations (5)"},
    {ID_NEFF_ITERS, "neff_iters", 'I', ONE, false, "N", "measured executions of the NEFF"},
    {ID_NEFF_WARMUP, "neff_warmup_iters", 'W', ONE, false, "N", "warm-up executions of the NEFF"},
    {ID_DATATYPE, "datatype", 'd', ONE, true, "TYPE",
     "uint8 int8 fp8 uint16 int16 fp16 bf16 uint32 int32 fp32 (uint8)"},
    {ID_CHECK, "check", 'c', MAYBE, false, "random|all_ones", "verify the results (random)"},
    {ID_SEED, "seed", 0, ONE, false, "N", "of the random data (the time; logged)"},
    {ID_UNIQUE, "unique-buff", 0, FLAG, true, NULL, "own buffers for every operation of a NEFF"},
    {ID_RATIO, "coalesced-cc-size-ratio", 0, ONE, true, "[A,B,...]",
     "split each operation into coalesced tensors"},
    {ID_SHARED, "shared-output-buff", 0, FLAG, true, NULL,
     "one output for the two cores of an HBM"},
    {ID_METADATA, "variable-size-op-metadata", 0, ONE, true, "FILE",
     "JSON: counts and displacements of alltoallv and all_gatherv"},
    {ID_HOSTS, "hosts", 's', MANY, false, "HOST ...", "hosts to run on (mpirun)"},
    {ID_HOSTS_FILE, "hosts-file", 0, ONE, false, "FILE", "one host a line (~/hosts is read, too)"},
    {ID_MPI_LOG_DIR, "mpi-log-dir", 0, ONE, false, "DIR", "one log for each node"},
    {ID_SLURM, "slurm-mode", 'S', FLAG, false, NULL, "run with srun"},
    {ID_SLURM_VCPUS, "slurm-vcpus-per-node", 'u', ONE, false, "N", "CPUs of a node (the least)"},
    {ID_SLURM_SETUP, "slurm-setup-script", 0, ONE, false, "FILE",
     "run on each node first; default: look whether nccom-test is there"},
    {ID_SLURM_JOB, "slurm-job-id", 0, ONE, false, "ID", "existing job (alloc: a new one)"},
    {ID_SLURM_COPY, "slurm-use-head-node-neuron-bench", 0, FLAG, false, NULL,
     "copy this program and its library to the nodes"},
    {ID_NON_INTERACTIVE, "non-interactive", 0, FLAG, false, NULL, "no progress display"},
    {ID_JSON, "report-to-json-file", 0, ONE, false, "FILE", "write configuration and results"},
    {ID_STATS, "stats", 't', MANY, false, "avg|pNN ...", "columns of latency (avg)"},
    {ID_SHOW_ALGORITHM, "show-algorithm", 0, FLAG, false, NULL, "a column with the algorithm"},
    {ID_SHOW_SIZES, "show-input-output-size", 0, FLAG, false, NULL,
     "columns with the bytes of a rank's input and output"},
    {ID_DEBUG, "debug", 0, FLAG, false, NULL, "logs as they come; implies --non-interactive"},
    {ID_SB2SB, "sb2sb", 0, FLAG, true, NULL, "tensors in SBUF (not on the software device)"},
    {ID_INPUT_SHAPE, "input-shape", 0, ONE, true, "[S0,S1][N0,N1]", "of the input in SBUF"},
    {ID_OUTPUT_SHAPE, "output-shape", 0, ONE, true, "[S0,S1][N0,N1]", "of the output in SBUF"},
    {ID_CC_DIM, "cc-dim", 0, ONE, true, "0|1", "concatenate in the free dimension, or in both (1)"},
    {ID_PARALLEL, "data-parallel-dimension", 0, ONE, true, "N", "groups of N ranks, in parallel"},
    {ID_GROUPS, "custom-replica-groups", 0, ONE, true, "FILE", "JSON: replica groups"},
    {ID_PAIRS, "custom-src-target-pairs", 0, ONE, true, "FILE", "JSON: pairs of a permute"},
    {ID_STREAMS, "streams-json", 0, ONE, false, "FILE", "JSON: an operation for each stream"},
    {ID_PIN, "vcpu-pin-mode", 0, FLAG, false, NULL, "pin the thread of each rank to a CPU"},
    {ID_PORT, "data-collector-port", 0, ONE, false, "PORT", "where latencies arrive (60006)"},
    {ID_COLLECTOR, "data-collector-host", 0, ONE, false, "HOST", "its address (this host)"},
    {ID_GIB, "gib", 0, FLAG, false, NULL, "bandwidths in units of 2^30 bytes (ours)"},
    {ID_HELP, "help", 'h', FLAG, false, NULL, "this text"},
    {ID_VERSION, "version", 0, FLAG, false, NULL, "the version"},
    /* keys of a stream only */
    {ID_OPERATION, "operation", 0, ONE, true, NULL, NULL},
    {ID_OPS_PER_ITER, "ops-per-iter", 0, ONE, true, NULL, NULL},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

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
static NRT_STATUS stream_row_set(struct cc_stream *s, const struct row *row, const char *value,
                                 struct err *err)
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
static NRT_STATUS count_set(struct cc_options *o, const struct row *row, const char *value,
                            struct err *err)
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

/* value: NULL for a flag, and for --check without a word. */
static NRT_STATUS row_set(struct cc_options *o, const struct row *row, const char *value,
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
    for (size_t i = 0; i < ROWS; i++) {
        const char *a = rows[i].name, *b = key;

        while (*a != '\0' && (*a == *b || (*a == '-' && *b == '_'))) {
            a++;
            b++;
        }
        if (*a != '\0' || *b != '\0')
            continue;
        if (rows[i].stream && rows[i].takes == FLAG && strcmp(value, "true") != 0 &&
            strcmp(value, "false") != 0)
            return bad(err, key, value, "true or false");
        return stream_row_set(s, &rows[i], value, err);
    }
    return err_set(err, NRT_INVALID, "\"%s\" is not an option of a stream", key);
}

/* ---- the command line ---- */

void cc_options_init(struct cc_options *o)
{
    memset(o, 0, sizeof(*o));
    o->all.min = o->all.max = UINT64_C(32) << 20;
    o->all.dtype = DT_UINT8;
    snprintf(o->all.dtype_name, sizeof(o->all.dtype_name), "uint8");
    o->all.cc_dim = 1;
    o->all.ops_per_iter = 1;
    o->nodes = 1;
    o->iters = 20;
    o->warmup_iters = 5;
    o->collector_port = 60006;
}

/* A long name as it is, or the start of just one (as the published tool takes it); "f" is the
 * guide's other spelling of --stepfactor. NULL: none, or several. */
static const struct row *row_long(const char *name, size_t len)
{
    const struct row *found = NULL;
    unsigned fits = 0;

    if (len == 1 && name[0] == 'f')
        name = "stepfactor", len = strlen(name);
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].help == NULL || strncmp(rows[i].name, name, len) != 0)
            continue;
        if (rows[i].name[len] == '\0')
            return &rows[i];
        found = &rows[i];
        fits++;
    }
    return fits == 1 ? found : NULL;
}

static const struct row *row_short(char letter)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].letter != 0 && rows[i].letter == letter)
            return &rows[i];
    return NULL;
}

struct words {
    int argc, next;
    char **argv;
};

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0' && !(word[1] >= '0' && word[1] <= '9');
}

/* The values of one option; attached: the text behind '=' or the letter, or NULL. */
static NRT_STATUS values_take(struct cc_options *o, struct words *w, const struct row *row,
                              const char *attached, struct err *err)
{
    const char *word = w->next < w->argc ? w->argv[w->next] : NULL;
    NRT_STATUS st = NRT_SUCCESS;

    if (row->takes == FLAG)
        return attached == NULL ? row_set(o, row, NULL, err)
                                : err_set(err, NRT_INVALID, "--%s takes no value", row->name);
    if (row->takes == MAYBE) {
        /* the guide writes "--check allg": only its own words are its value */
        if (attached == NULL && word != NULL &&
            (strcmp(word, "random") == 0 || strcmp(word, "all_ones") == 0))
            attached = w->argv[w->next++];
        return row_set(o, row, attached, err);
    }
    if (attached != NULL)
        st = row_set(o, row, attached, err);
    else if (word == NULL || is_option(word))
        return err_set(err, NRT_INVALID, "--%s needs a value", row->name);
    else
        st = row_set(o, row, w->argv[w->next++], err);
    while (st == NRT_SUCCESS && row->takes == MANY && w->next < w->argc &&
           !is_option(w->argv[w->next])) {
        /* an operation ends a list, unless there is one already */
        if (!o->all.has_op && cc_op_from_name(w->argv[w->next]) != CC_OP_COUNT)
            break;
        st = row_set(o, row, w->argv[w->next++], err);
    }
    return st;
}

/* "-r2", "-r 2", "-Sc": flags may share a word. */
static NRT_STATUS letters_take(struct cc_options *o, struct words *w, const char *word,
                               struct err *err)
{
    for (const char *p = word + 1; *p != '\0'; p++) {
        const struct row *row = row_short(*p);
        NRT_STATUS st;

        if (row == NULL)
            return err_set(err, NRT_INVALID, "unknown option -%c", *p);
        if (row->takes != FLAG && p[1] != '\0')
            return values_take(o, w, row, p[1] == '=' ? p + 2 : p + 1, err);
        st = values_take(o, w, row, NULL, err);
        if (st != NRT_SUCCESS)
            return st;
    }
    return NRT_SUCCESS;
}

static NRT_STATUS word_take(struct cc_options *o, struct words *w, struct err *err)
{
    const char *word = w->argv[w->next++], *eq;
    const struct row *row;

    if (!is_option(word)) {
        if (o->all.has_op)
            return err_set(err, NRT_INVALID, "\"%s\": there is an operation already", word);
        return operation_set(&o->all, word, err);
    }
    if (word[1] != '-')
        return letters_take(o, w, word, err);
    eq = strchr(word, '=');
    row = row_long(word + 2, eq != NULL ? (size_t)(eq - word - 2) : strlen(word + 2));
    if (row == NULL)
        return err_set(err, NRT_INVALID, "unknown option %s", word);
    return values_take(o, w, row, eq != NULL ? eq + 1 : NULL, err);
}

NRT_STATUS cc_options_parse(struct cc_options *o, int argc, char **argv, struct err *err)
{
    struct words w = {argc, 1, argv};
    NRT_STATUS st = NRT_SUCCESS;

    while (st == NRT_SUCCESS && w.next < argc)
        st = word_take(o, &w, err);
    if (o->stat_count == 0)
        o->stats[o->stat_count++] = CC_STAT_AVG;
    if (o->debug)
        o->non_interactive = true;
    return st;
}

void cc_options_help(struct strbuf *to)
{
    strbuf_put(to, "usage: nccom-test [options] <operation>\n\n"
                   "Measures collective operations between ranks of the software Neuron device. "
                   "Operations:\n\n ");
    for (unsigned op = 0; op < CC_OP_COUNT; op++) {
        strbuf_printf(to, " %s", op_names[op].name);
        if (strcmp(op_names[op].name, op_names[op].alias) != 0)
            strbuf_printf(to, " (%s)", op_names[op].alias);
    }
    strbuf_put(to, "\n\n");
    for (size_t i = 0; i < ROWS && rows[i].help != NULL; i++) {
        char left[64];
        int n;

        if (rows[i].letter != 0)
            n = snprintf(left, sizeof(left), "-%c, --%s", rows[i].letter, rows[i].name);
        else
            n = snprintf(left, sizeof(left), "    --%s", rows[i].name);
        if (rows[i].metavar != NULL)
            snprintf(left + n, sizeof(left) - (size_t)n, " %s", rows[i].metavar);
        strbuf_printf(to, "  %-46s %s\n", left, rows[i].help);
    }
    strbuf_put(to, "\nSizes take units: 2kb, 32M, 1GB; 1 MB is 1048576 bytes.\n");
}
