/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt ranks: what the ranks of an instance do, from the flight records in their cores' live
 * pages. Only reads; a rank that hangs, is stopped or has died is shown like any other. Nothing
 * that the instance holds is trusted. */
#include "opennrt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "base/strbuf.h"
#include "device/flight.h"
#include "sched/sched.h"

/* A core that has records, and whose they are. */
struct owner {
    uint32_t core;
    bool there; /* it has an owner, whose slot could be read */
    struct device_process process;
    char state; /* of the process, as ps prints it; '-': gone, '?': not known */
};

struct view {
    struct device_instance *in;
    bool json, history;
    struct strbuf out;
    unsigned cores; /* shown */
};

static char process_state(const struct device_process *p)
{
    char path[40], text[512];
    const char *end;
    size_t n;
    FILE *f;

    if (!p->live)
        return '-';
    snprintf(path, sizeof(path), "/proc/%d/stat", p->pid);
    f = fopen(path, "r");
    if (!f)
        return '?';
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    end = strrchr(text, ')'); /* the name in front may hold anything */
    return end && end[1] == ' ' && end[2] >= 'A' && end[2] <= 'z' ? end[2] : '?';
}

static const char *state_word(char state)
{
    switch (state) {
    case 'R':
        return "running";
    case 'S':
    case 'D':
        return "sleeping";
    case 'T':
    case 't':
        return "stopped";
    case 'Z':
    case 'X':
    case '-':
        return "gone";
    default:
        return "unknown";
    }
}

static void owner_find(struct view *w, uint32_t core, struct owner *o)
{
    uint32_t slot = device_core_owner(w->in, core);

    *o = (struct owner){.core = core, .state = '-'};
    o->there = slot != DEVICE_NONE && device_process_get(w->in, slot, &o->process);
    if (o->there)
        o->state = process_state(&o->process);
}

/* The rank of the record's own process: a position in a list of which the first are recorded. */
static bool own_rank(const struct device_flight_view *v, uint32_t *ret)
{
    if (v->me >= v->members)
        return false;
    *ret = v->member[v->me];
    return true;
}

/* ---- for people ---- */

static void text_core(struct view *w, const struct owner *o)
{
    uint32_t per = device_topo(w->in)->cores_per_device;

    strbuf_printf(&w->out, "nd%" PRIu32 " nc%" PRIu32, o->core / per, o->core % per);
    if (o->there)
        strbuf_printf(&w->out, "  pid %d %s\n", o->process.pid, state_word(o->state));
    else
        strbuf_put(&w->out, "  no process\n");
}

static void text_record(struct view *w, const struct device_flight_view *v)
{
    char line[DEVICE_FLIGHT_TEXT];
    uint32_t rank;

    device_flight_text(v, line, sizeof(line));
    if (own_rank(v, &rank))
        strbuf_printf(&w->out, "  rank %" PRIu32 " ", rank);
    else
        strbuf_put(&w->out, "  ");
    strbuf_printf(&w->out, "%s\n", line);
}

/* ---- JSON ---- */

static void json_core(struct view *w, const struct owner *o)
{
    uint32_t per = device_topo(w->in)->cores_per_device;

    strbuf_printf(&w->out, "%s\n    {\"device\": %" PRIu32 ", \"core\": %" PRIu32 ", \"pid\": ",
                  w->cores ? "," : "", o->core / per, o->core % per);
    if (o->there)
        strbuf_printf(&w->out, "%d", o->process.pid);
    else
        strbuf_put(&w->out, "null");
    strbuf_printf(&w->out, ", \"process\": \"%s\", \"operations\": [", state_word(o->state));
}

static void json_group(struct view *w, const struct device_flight_view *v)
{
    uint32_t rank;

    if (own_rank(v, &rank))
        strbuf_printf(&w->out, "\"rank\": %" PRIu32, rank);
    else
        strbuf_put(&w->out, "\"rank\": null");
    strbuf_printf(&w->out, ", \"position\": %" PRIu32 ", \"size\": %" PRIu32 ", \"members\": [",
                  v->me, v->n);
    for (uint32_t i = 0; i < v->members; i++)
        strbuf_printf(&w->out, "%s%" PRIu32, i ? ", " : "", v->member[i]);
    strbuf_printf(&w->out, "], \"communicator\": %" PRIu64, v->comm);
}

static void json_state(struct view *w, const struct device_flight_view *v)
{
    strbuf_printf(&w->out,
                  ", \"state\": \"%s\", \"age_ns\": %" PRIu64 ", \"lasted_ns\": %" PRIu64
                  ", \"steps\": %" PRIu64 ", \"total_steps\": %" PRIu64,
                  !v->over         ? "under way"
                  : v->status == 0 ? "ended"
                                   : "failed",
                  v->age_ns, v->lasted_ns, v->steps, v->total);
    if (v->over && v->status != 0)
        strbuf_printf(&w->out, ", \"status\": %" PRIu32 ", \"culprit\": %" PRIu32, v->status,
                      v->culprit);
    if (v->waits)
        strbuf_printf(&w->out, ", \"waits_for\": {\"semaphore\": \"%s\", \"rank\": %" PRIu32 "}",
                      sched_sem_name((enum sched_sem)v->sem), v->waits_for);
    else
        strbuf_put(&w->out, ", \"waits_for\": null");
}

static void json_record(struct view *w, const struct device_flight_view *v, bool first)
{
    strbuf_printf(
        &w->out,
        "%s\n      {\"sequence\": %" PRIu64 ", \"operation\": \"%s\", \"algorithm\": \"%s\", "
        "\"variant\": \"%s\", \"bytes\": %" PRIu64 ", \"dtype\": \"%s\", ",
        first ? "" : ",", v->seq, sched_op_name((enum sched_op)v->op),
        sched_alg_name((enum sched_alg)v->alg), sched_variant_name((enum sched_variant)v->variant),
        v->bytes, dtype_name((enum dtype)v->dtype));
    json_group(w, v);
    json_state(w, v);
    strbuf_put(&w->out, "}");
}

/* ---- the instance ---- */

/* The newest, and what is under way besides; with --history all. */
static void show_core(struct view *w, uint32_t core)
{
    const struct device_live_page *page = device_live(w->in, core);
    struct device_flight_view v;
    struct owner o;
    bool first = true;

    for (unsigned back = 0; back < DEVICE_FLIGHTS; back++) {
        if (!device_flight_read(&page->flights, back, &v))
            continue;
        if (!first && !w->history && v.over)
            continue;
        if (first) {
            owner_find(w, core, &o);
            w->json ? json_core(w, &o) : text_core(w, &o);
        }
        w->json ? json_record(w, &v, first) : text_record(w, &v);
        first = false;
    }
    if (first)
        return;
    if (w->json)
        strbuf_put(&w->out, "]}");
    w->cores++;
}

static int show(struct view *w)
{
    uint32_t cores = topo_core_count(device_topo(w->in));

    if (w->json) {
        strbuf_put(&w->out, "{\"instance\": ");
        strbuf_put_json(&w->out, device_instance_name(w->in));
        strbuf_put(&w->out, ", \"cores\": [");
    }
    for (uint32_t c = 0; c < cores; c++)
        show_core(w, c);
    if (w->json)
        strbuf_put(&w->out, w->cores ? "\n]}\n" : "]}\n");
    else if (w->cores == 0)
        strbuf_printf(&w->out, "instance \"%s\": no collective operation has been recorded\n",
                      device_instance_name(w->in));
    if (w->out.failed) {
        fprintf(stderr, "opennrt ranks: out of memory\n");
        return EXIT_FAILED;
    }
    fputs(w->out.s, stdout);
    return EXIT_OK;
}

int cmd_ranks(int argc, char **argv)
{
    struct device_config cfg = {.name = device_env("OPENNRT_INSTANCE"), .observe = true};
    struct view w = {0};
    const struct tool_option options[] = {{'j', "json", NULL, "the same as JSON", .flag = &w.json},
                                          {'a', "history", NULL,
                                           "all operations that are recorded, the newest first",
                                           .flag = &w.history},
                                          OPTION_INSTANCE(&cfg.name)};
    const struct tool t = {
        "opennrt ranks",
        "[--json] [--history] [--instance NAME]",
        "Shows the last collective operation of every core of an instance, those that are\n"
        "still under way, and what they wait for. The processes are not disturbed.\n",
        options,
        sizeof(options) / sizeof(options[0]),
        .mixed = true};
    struct err err = {0};
    int first, rc;

    if (!tool_parse(&t, argc, argv, &first, &rc))
        return rc;
    if (first < argc)
        return tool_usage(&t, "unexpected \"%s\"", argv[first]);
    if (device_instance_open(&cfg, &w.in, &err) != NRT_SUCCESS) {
        fprintf(stderr, "opennrt ranks: %s\n", err.text);
        return EXIT_FAILED;
    }
    rc = show(&w);
    strbuf_fini(&w.out);
    device_instance_close(w.in);
    return rc;
}
