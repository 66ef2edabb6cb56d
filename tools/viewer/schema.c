/* SPDX-License-Identifier: Apache-2.0 */
/* What `--show-profile-schema` and `--terminology` print. docs/profiling.md says how figures are
 * counted. */
#include "viewer/schema.h"

#include <stdio.h>

#include "viewer/views.h"

struct column {
    const char *name, *type;
    const char *about; /* of keys of summaries: for --terminology */
};

/* Columns that several tables have. */
static const struct column event_columns[] = {
    {"model_id", "integer"}, {"nc_idx", "integer"},  {"execution", "integer"},
    {"timestamp", "number"}, {"duration", "number"}, {"core", "integer"},
    {"engine", "string"},
};
enum { EVENT_COLUMNS = sizeof(event_columns) / sizeof(event_columns[0]) };
static const struct column figure_columns[] = {
    {"model_id", "integer"}, {"nc_idx", "integer"}, {"core", "integer"}};
static const struct column sample_columns[] = {
    {"timestamp", "integer"}, {"duration", "integer"}, {"instance_id", "string"}};

static const struct column summary_head[] = {
    {"profile", "string", "file of the profile"},
    {"model_name", "string", "name that the NEFF's header has"},
    {"model_id", "integer", "number that the runtime gave the model"},
    {"nd_idx", "integer", "Neuron device, counted from the process's first one"},
    {"nc_idx", "integer", "logical NeuronCore, counted from the process's first one"},
    {"rank_id", "integer", "rank of the core among those of its job"},
    {"execution_count", "integer", "executions of the model in the profile"},
    {"failed_execution_count", "integer", "those of them that ended with an error"},
    {"total_time", "number", "device time of all executions, seconds"},
    {"total_active_time", "number",
     "time in which an engine computed or a transfer or collective was under way"},
    {"total_active_time_percent", "number", "the same as a share of total_time, 0 to 1"},
};

/* For each engine, behind its name. */
static const struct column summary_engine[] = {
    {"active_time", "number",
     "time in which one of its instructions ran, mean over physical cores"},
    {"active_time_percent", "number", "the same as a share of total_time, 0 to 1"},
    {"instruction_count", "integer", "instructions that it executed"},
    {"idle_reason", "string, where the engine has a program",
     "what it waited for longest while idle"},
};

static const struct column summary_tail[] = {
    {"matmul_instruction_count", "integer", "matrix multiplications"},
    {"dma_active_time", "number",
     "time in which a transfer was under way, mean over physical cores"},
    {"dma_active_time_percent", "number", "the same as a share of total_time, 0 to 1"},
    {"dma_transfer_count", "integer", "DMA transfers: one is a trigger and all its descriptors"},
    {"dma_transfer_total_bytes", "integer", "bytes that transfers wrote"},
    {"dma_transfer_average_bytes", "number", "the same for each transfer"},
    {"dma_efficiency_percent", "number",
     "time that these bytes take on all DMA engines of the core, as a share of dma_active_time"},
    {"cc_op_count", "integer", "collective operations"},
    {"cc_active_time", "number", "time in which a collective was under way, all its members there"},
    {"cc_active_time_percent", "number", "the same as a share of total_time, 0 to 1"},
    {"cc_late_member_time", "number", "time that collectives waited for their last member"},
    {"compute_active_time", "number", "time in which at least one engine computed"},
    {"compute_active_time_percent", "number", "the same as a share of total_time, 0 to 1"},
    {"dma_overlap_compute_time", "number", "time of transfers in which an engine computed"},
    {"dma_overlap_compute_time_percent", "number", "the same as a share of the time of transfers"},
    {"cc_overlap_compute_time", "number", "time of collectives in which an engine computed"},
    {"cc_overlap_compute_time_percent", "number", "the same as a share of the time of collectives"},
    {"scratchpad_peak_bytes", "integer, where the memory tracker is on",
     "most bytes of the scratchpad that one core had in use at once"},
    {"dropped_event_count", "integer", "events that the capture had no room for"},
    {"dropped_execution_count", "integer", "executions that the capture had no room for"},
};

static const struct column engine_columns[] = {
    {"engine", "string"},       {"instruction_count", "integer"}, {"active", "number"},
    {"idle_engine", "number"},  {"idle_transfer", "number"},      {"idle_collective", "number"},
    {"idle_unknown", "number"}, {"idle_between", "number"},       {"idle_ended", "number"},
};
static const struct column queue_columns[] = {
    {"queue", "integer"}, {"queue_name", "string"}, {"transfer_count", "integer"},
    {"bytes", "integer"}, {"active", "number"},
};
static const struct column instruction_columns[] = {
    {"id", "integer"},          {"opcode", "string"},
    {"label", "string"},        {"hlo_name", "string"},
    {"operands", "string"},     {"source_file", "string"},
    {"source_line", "integer"}, {"source_root", "string"},
    {"source_text", "string"},  {"semaphore_wait", "number"},
};
/* A transfer that the profile's model does not have is a row with a number only. */
static const struct column dma_columns[] = {
    {"id", "integer"},          {"queue", "integer"},
    {"queue_name", "string"},   {"first_dma_engine", "integer"},
    {"dma_engines", "integer"}, {"bytes", "integer"},
};
static const struct column collective_columns[] = {
    {"id", "integer"}, {"entry", "integer"}, {"stream", "integer"}, {"operation", "string"}};
static const struct column usage_columns[] = {{"usage", "integer"}};
static const struct column tensor_columns[] = {
    {"tensor_name", "string"}, {"type", "string"},  {"size", "integer"},
    {"written", "integer"},    {"read", "integer"},
};
static const struct column trace_columns[] = {
    {"name", "string"},
    {"timestamp", "integer"},
    {"duration", "integer"},
    {"id", "integer"},
    {"instance_id", "string"},
    {"process_id", "string"},
    {"thread_id", "integer"},
    {"group", "string"},
    {"lnc_idx", "string, where it concerns a core"},
    {"details", "string"},
};
static const struct column memory_columns[] = {{"usage", "integer"}, {"percent_usage", "number"}};
static const struct column cpu_columns[] = {{"cpu_id", "string"}, {"util", "number"}};

#define COLUMNS(c) c, sizeof(c) / sizeof((c)[0])

static const struct table {
    const char *name, *about;
    const struct column *common;
    size_t common_count;
    const struct column *own;
    size_t own_count;
} tables[] = {
    {"engine", "an engine of a model", COLUMNS(figure_columns), COLUMNS(engine_columns)},
    {"queue", "a queue set of a model", COLUMNS(figure_columns), COLUMNS(queue_columns)},
    {"instruction", "an executed instruction", COLUMNS(event_columns),
     COLUMNS(instruction_columns)},
    {"dma", "a transfer", COLUMNS(event_columns), COLUMNS(dma_columns)},
    {"collective", "a collective operation", COLUMNS(event_columns), COLUMNS(collective_columns)},
    /* No engine has them: all columns of events but the last. */
    {"scratchpad_usage", "bytes of the scratchpad in use, with --enable-memory-tracker",
     event_columns, EVENT_COLUMNS - 1, COLUMNS(usage_columns)},
    {"scratchpad_tensor", "a tensor of the scratchpad in use, with --enable-memory-tracker",
     event_columns, EVENT_COLUMNS - 1, COLUMNS(tensor_columns)},
    {"trace_events", "an event of the runtime, or a start and its stop", NULL, 0,
     COLUMNS(trace_columns)},
    {"mem_usage", "a sample of host memory", COLUMNS(sample_columns), COLUMNS(memory_columns)},
    {"cpu_util", "a sample of CPU use", COLUMNS(sample_columns), COLUMNS(cpu_columns)},
};

/* Calls put for each key of a summary. */
static void summary_walk(struct strbuf *out,
                         void (*put)(struct strbuf *out, const char *name, const struct column *c))
{
    char name[80];

    for (size_t i = 0; i < sizeof(summary_head) / sizeof(summary_head[0]); i++)
        put(out, summary_head[i].name, &summary_head[i]);
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        for (size_t i = 0; i < sizeof(summary_engine) / sizeof(summary_engine[0]); i++) {
            (void)snprintf(name, sizeof(name), "%s_%s", viewer_engine_key(e),
                           summary_engine[i].name);
            put(out, name, &summary_engine[i]);
        }
    for (size_t i = 0; i < sizeof(summary_tail) / sizeof(summary_tail[0]); i++)
        put(out, summary_tail[i].name, &summary_tail[i]);
}

static void type_put(struct strbuf *out, const char *name, const struct column *c)
{
    strbuf_printf(out, "    %s: %s\n", name, c->type);
}

static void head_put(struct strbuf *out, const char *name, const char *about)
{
    strbuf_printf(out, "%s:\n  description: %s\n  properties:\n", name, about);
}

void viewer_schema_put(struct strbuf *out)
{
    head_put(out, "summary", "a model of a profile: the keys of summary-text");
    summary_walk(out, type_put);
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        strbuf_put(out, "---\n");
        head_put(out, tables[t].name, tables[t].about);
        for (size_t i = 0; i < tables[t].common_count; i++)
            type_put(out, tables[t].common[i].name, &tables[t].common[i]);
        for (size_t i = 0; i < tables[t].own_count; i++)
            type_put(out, tables[t].own[i].name, &tables[t].own[i]);
    }
}

static void term_put(struct strbuf *out, const char *name, const struct column *c)
{
    strbuf_printf(out, "%-40s  %s\n", name, c->about);
}

void viewer_terms_put(struct strbuf *out)
{
    static const struct column other[] = {
        {"tensor_engine", "", "PE: multiplies matrices"},
        {"vector_engine", "", "DVE: works along the free dimension, reduces, compares"},
        {"scalar_engine", "", "ACT: functions of single elements"},
        {"gpsimd_engine", "", "POOL: all the rest, and software descriptors"},
        {"sync_engine", "", "SP: starts transfers, waits"},
        {"transfer", "", "what one trigger starts on the DMA engines"},
        {"queue", "", "a queue set: transfers of one run in their order"},
        {"collective", "", "an operation of several ranks, such as all_reduce"},
        {"scratchpad", "", "memory of a NEFF in HBM for what does not fit on the chip"},
        {"SBUF, PSUM, HBM", "", "memory on the chip, its accumulators, and the device's memory"},
    };

    summary_walk(out, term_put);
    strbuf_put(out, "\n");
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
        term_put(out, other[i].name, &other[i]);
}
