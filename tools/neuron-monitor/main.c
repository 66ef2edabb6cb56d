/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-monitor: metrics of the instance and of the processes that use it, one JSON document per
 * line (behaviour.md 19.3), or for Prometheus.
 *
 * Each group of metrics of each entry of the configuration has a period of its own and remembers
 * the sample with which its period began. The loop sleeps until the next group is due, takes one
 * sample for all that are, and writes one document. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "common/options.h"
#include "neuron-monitor/groups.h"
#include "neuron-monitor/prometheus.h"

#define CONFIG_MAX (1u << 20) /* bytes */

/* When a group of an entry, or of the system, is due. */
struct due {
    double period; /* 0: never */
    uint64_t at_ns;
    struct sample *begun;
};

struct monitor {
    struct view view;
    struct mon_config config;
    struct due app[MON_RUNTIMES_MAX][MON_APP_COUNT];
    struct due sys[MON_GROUP_COUNT];
    unsigned verbose;
};

static void say(const struct monitor *m, unsigned level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void say(const struct monitor *m, unsigned level, const char *fmt, ...)
{
    va_list ap;

    if (m->verbose < level)
        return;
    fputs("neuron-monitor: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

/* ---- configuration ---- */

static bool config_read(struct monitor *m, const char *path)
{
    char *bytes = mem_calloc(CONFIG_MAX + 1, 1);
    FILE *f = bytes ? fopen(path, "re") : NULL;
    struct err err = {0};
    size_t n = 0;
    bool ok = false;

    if (f) {
        n = fread(bytes, 1, CONFIG_MAX + 1, f);
        ok = !ferror(f);
        fclose(f);
    }
    if (!ok)
        fprintf(stderr, "neuron-monitor: cannot read %s: %s\n", path, strerror(errno));
    else if (n > CONFIG_MAX)
        fprintf(stderr, "neuron-monitor: %s is larger than %u bytes\n", path, CONFIG_MAX);
    else if (mon_config_parse(&m->config, bytes, n, &err) != NRT_SUCCESS)
        fprintf(stderr, "neuron-monitor: %s: %s\n", path, err.text);
    else {
        if (m->config.unknown)
            say(m, 1, "%s: %u unknown members, the first is \"%s\"", path, m->config.unknown,
                m->config.unknown_name);
        mem_free(bytes);
        return true;
    }
    mem_free(bytes);
    return false;
}

/* ---- periods ---- */

static void due_begin(struct due *d, double period, struct sample *s)
{
    d->period = period;
    if (period <= 0)
        return;
    d->at_ns = s->snap.ns + (uint64_t)(period * 1e9);
    d->begun = sample_ref(s);
}

static void begin(struct monitor *m, struct sample *s)
{
    for (size_t r = 0; r < m->config.runtime_count; r++)
        for (unsigned g = 0; g < MON_APP_COUNT; g++)
            due_begin(&m->app[r][g], m->config.runtime[r].period[g], s);
    for (unsigned g = MON_VCPU; g < MON_GROUP_COUNT; g++)
        due_begin(&m->sys[g], m->config.period[g], s);
}

static uint64_t earlier(const struct due *d, uint64_t at)
{
    return d->period > 0 && d->at_ns < at ? d->at_ns : at;
}

static uint64_t next_due(const struct monitor *m)
{
    uint64_t at = UINT64_MAX;

    for (size_t r = 0; r < m->config.runtime_count; r++)
        for (unsigned g = 0; g < MON_APP_COUNT; g++)
            at = earlier(&m->app[r][g], at);
    for (unsigned g = MON_VCPU; g < MON_GROUP_COUNT; g++)
        at = earlier(&m->sys[g], at);
    return at;
}

static bool is_due(const struct due *d, uint64_t at)
{
    return d->period > 0 && d->at_ns <= at;
}

/* The period ends with s, and the next begins: the moments stay on their grid, without catching up
 * on those that were slept through. */
static void due_next(struct due *d, uint64_t at, struct sample *s)
{
    uint64_t period = (uint64_t)(d->period * 1e9);

    if (!is_due(d, at))
        return;
    sample_unref(d->begun);
    d->begun = sample_ref(s);
    d->at_ns += period;
    if (d->at_ns <= s->snap.ns)
        d->at_ns = s->snap.ns + period - (s->snap.ns - d->at_ns) % period;
}

static void periods_end(struct monitor *m, uint64_t at, struct sample *s)
{
    for (size_t r = 0; r < m->config.runtime_count; r++)
        for (unsigned g = 0; g < MON_APP_COUNT; g++)
            due_next(&m->app[r][g], at, s);
    for (unsigned g = MON_VCPU; g < MON_GROUP_COUNT; g++)
        due_next(&m->sys[g], at, s);
}

static void periods_fini(struct monitor *m)
{
    for (size_t r = 0; r < MON_RUNTIMES_MAX; r++)
        for (unsigned g = 0; g < MON_APP_COUNT; g++)
            sample_unref(m->app[r][g].begun);
    for (unsigned g = 0; g < MON_GROUP_COUNT; g++)
        sample_unref(m->sys[g].begun);
}

/* ---- a document ---- */

/* The entry by which a group of this process is due now; NULL: none. */
static const struct due *app_due(const struct monitor *m, const char *tag, unsigned g, uint64_t at)
{
    for (size_t r = 0; r < m->config.runtime_count; r++)
        if (is_due(&m->app[r][g], at) && mon_runtime_matches(&m->config.runtime[r], tag))
            return &m->app[r][g];
    return NULL;
}

static void process_report(struct monitor *m, struct json_out *j, const struct sample *s, size_t i,
                           uint64_t at)
{
    const struct device_process *p = &s->snap.processes[i].p;
    bool any = false;

    for (unsigned g = 0; g < MON_APP_COUNT; g++)
        any = any || app_due(m, p->tag, g, at);
    if (!any)
        return;
    json_out_open(j, NULL, '{');
    json_out_int(j, "pid", p->pid);
    json_out_text(j, "address", "");
    json_out_text(j, "neuron_runtime_tag", p->tag);
    json_out_text(j, "error", s->process_ok[i] ? "" : "the process cannot be looked at in /proc");
    json_out_open(j, "report", '{');
    for (unsigned g = 0; g < MON_APP_COUNT; g++) {
        const struct due *d = app_due(m, p->tag, g, at);

        if (d)
            group_app(j, &m->view, (enum mon_group)g, d->begun, s, i);
    }
    json_out_close(j, '}');
    json_out_close(j, '}');
}

static bool document(struct monitor *m, const struct sample *s, uint64_t at)
{
    struct json_out j = {.indent = 0};
    bool ok;

    json_out_open(&j, NULL, '{');
    json_out_open(&j, "neuron_runtime_data", '[');
    for (size_t i = 0; i < s->snap.process_count; i++)
        process_report(m, &j, s, i, at);
    json_out_close(&j, ']');
    json_out_open(&j, "system_data", '{');
    for (unsigned g = MON_VCPU; g < MON_GROUP_COUNT; g++)
        if (is_due(&m->sys[g], at))
            group_system(&j, &m->view, (enum mon_group)g, m->sys[g].begun, s);
    json_out_close(&j, '}');
    group_instance(&j, &m->view);
    group_hardware(&j, &m->view);
    json_out_close(&j, '}');
    ok = !j.out.failed && puts(j.out.s) >= 0 && fflush(stdout) == 0;
    say(m, 4, "a document of %zu bytes about %zu processes", j.out.len, s->snap.process_count);
    strbuf_fini(&j.out);
    return ok;
}

/* ---- the loop ---- */

static void sleep_until(uint64_t at_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(at_ns / 1000000000u),
                          .tv_nsec = (long)(at_ns % 1000000000u)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
}

/* limit 0: no end. */
static bool monitor_run(struct monitor *m, unsigned limit)
{
    struct sample *s = sample_take(&m->view);
    bool ok = s != NULL;

    if (ok)
        begin(m, s);
    sample_unref(s);
    for (unsigned n = 0; ok && (limit == 0 || n < limit); n++) {
        uint64_t at = next_due(m);

        if (at == UINT64_MAX) {
            fprintf(stderr, "neuron-monitor: the configuration asks for no group\n");
            return false;
        }
        sleep_until(at);
        s = sample_take(&m->view);
        ok = s && document(m, s, at);
        if (ok)
            periods_end(m, at, s);
        sample_unref(s);
    }
    return ok;
}

int main(int argc, char **argv)
{
    static struct monitor m;
    const char *path = NULL, *address = "127.0.0.1";
    unsigned limit = 0, port = 0;
    int first, code;
    bool ok = true;
    const struct tool_option options[] = {
        {.name = "verbose",
         .arg = "LEVEL",
         .number = &m.verbose,
         .min = 0,
         .max = 4,
         .help = "messages to the standard error, 0 (none, the default) to 4"},
        {.letter = 'c',
         .name = "config-file",
         .arg = "FILE",
         .text = &path,
         .help = "which groups, of which processes, how often"},
        {.letter = 'n',
         .name = "count",
         .arg = "N",
         .number = &limit,
         .min = 1,
         .max = 1000000,
         .help = "end after N documents"},
        {.name = "prometheus",
         .arg = "PORT",
         .number = &port,
         .min = 1,
         .max = 65535,
         .help = "serve the metrics to Prometheus instead of writing documents"},
        {.name = "address",
         .arg = "ADDRESS",
         .text = &address,
         .help = "IPv4 address to serve at (default 127.0.0.1)"},
    };
    const struct tool tool = {
        .name = "neuron-monitor",
        .arguments = "[options]",
        .about = "Writes metrics of the instance and of the processes that use it, one JSON\n"
                 "document per line. Without a configuration: all groups every 5 seconds.\n",
        .options = options,
        .count = sizeof(options) / sizeof(options[0])};

    if (!tool_parse(&tool, argc, argv, &first, &code))
        return code;
    if (first < argc)
        return tool_usage(&tool, "unexpected \"%s\"", argv[first]);
    signal(SIGPIPE, SIG_IGN); /* a reader that ends is an error of writing */
    if (!view_open(&m.view, tool.name))
        return TOOL_FAILED;
    if (path)
        ok = config_read(&m, path);
    else
        mon_config_default(&m.config);
    if (ok)
        ok = port ? prometheus_serve(&m.view, &m.config, address, port) : monitor_run(&m, limit);
    periods_fini(&m);
    mon_config_fini(&m.config);
    view_close(&m.view);
    return ok ? TOOL_OK : TOOL_FAILED;
}
