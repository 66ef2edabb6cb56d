/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-explorer capture: the command line, and the workers, each a thread with a core. */
#include "capture.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/settings.h"

bool cap_session_name(const struct cap_options *o, unsigned rank, unsigned exec,
                      char ret[EXPLORER_PATH_MAX])
{
    const char *slash = strrchr(o->session, '/'), *dot = strrchr(slash ? slash : o->session, '.');
    int stem = (int)(dot ? dot - o->session : (ptrdiff_t)strlen(o->session)), n;
    char part[64] = "", number[32] = "";

    if (o->collectives)
        snprintf(part, sizeof(part), "_rank_%u", rank);
    if (exec)
        snprintf(number, sizeof(number), "_exec_%u", exec);
    n = snprintf(ret, EXPLORER_PATH_MAX, "%.*s%s%s%s", stem, o->session, part, number,
                 dot ? dot : "");
    if (n >= 0 && (unsigned)n < EXPLORER_PATH_MAX)
        return true;
    fprintf(stderr, CAPTURE ": the path %s is too long\n", o->session);
    return false;
}

/* ---- inputs of several workers ---- */

/* The words of a line, separated by blanks; they point into it. */
static bool line_parse(char *line, unsigned number, const char *path, struct cap_inputs *ret)
{
    size_t words = 0, room = strlen(line) / 2 + 2;

    ret->words = calloc(room, sizeof(*ret->words));
    for (char *w = strtok(line, " \t\r\n"); ret->words && w; w = strtok(NULL, " \t\r\n"))
        ret->words[words++] = w;
    ret->count = words / 2;
    if (ret->words && words % 2 == 0)
        return true;
    fprintf(stderr, CAPTURE ": %s: line %u is not \"<NAME> <FILE> ...\"\n", path, number);
    return false;
}

struct multi {
    char *text;
    struct cap_inputs *inputs; /* one for each worker */
};

static bool multi_parse(const char *path, unsigned workers, struct multi *m)
{
    unsigned n = 0;
    char *next = m->text;

    while (next && *next) {
        char *line = next;

        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (n < workers && !line_parse(line, n + 1, path, &m->inputs[n]))
            return false;
        n++;
    }
    if (n == workers)
        return true;
    fprintf(stderr, CAPTURE ": %s has %u lines for %u workers\n", path, n, workers);
    return false;
}

static bool multi_read(const char *path, unsigned workers, struct multi *m)
{
    struct tool_file f;

    m->inputs = calloc(workers, sizeof(*m->inputs));
    if (!m->inputs)
        return cap_good(NRT_RESOURCE, "memory");
    if (!path)
        return true;
    if (!tool_file_map(CAPTURE, path, &f))
        return false;
    m->text = malloc(f.size + 1);
    if (m->text) {
        memcpy(m->text, f.bytes, f.size);
        m->text[f.size] = '\0';
    }
    tool_file_unmap(&f);
    return m->text ? multi_parse(path, workers, m) : cap_good(NRT_RESOURCE, "memory");
}

static void multi_fini(struct multi *m, unsigned workers)
{
    for (unsigned i = 0; m->text && i < workers; i++)
        free(m->inputs[i].words);
    free(m->inputs);
    free(m->text);
}

/* ---- workers ---- */

struct job {
    const struct cap_options *o;
    const struct tool_file *file;
    const struct cap_inputs *inputs;
    unsigned vnc;
    pthread_t thread;
    bool ok;
};

static void *job_main(void *arg)
{
    struct job *j = arg;

    j->ok = cap_worker_run(j->o, j->file, j->vnc, j->inputs);
    return NULL;
}

static bool jobs_run(const struct cap_options *o, const struct tool_file *file,
                     const struct cap_inputs *inputs)
{
    struct job *jobs = calloc(o->workers, sizeof(*jobs));
    unsigned started = 0;
    bool ok = jobs != NULL;

    for (; ok && started < o->workers; started++) {
        jobs[started] =
            (struct job){.o = o, .file = file, .inputs = &inputs[started], .vnc = started};
        if (pthread_create(&jobs[started].thread, NULL, job_main, &jobs[started]) != 0) {
            /* The others would wait for this rank for ever. */
            fprintf(stderr, CAPTURE ": cannot start a thread for rank %u\n",
                    o->first_rank + started);
            exit(TOOL_FAILED);
        }
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(jobs[i].thread, NULL);
        ok = ok && jobs[i].ok;
    }
    free(jobs);
    return ok;
}

/* The process has the first o->workers of the cores that it may use. */
static bool cores_suffice(const struct cap_options *o)
{
    uint32_t cores;

    if (!cap_good(nrt_get_visible_vnc_count(&cores), "nrt_get_visible_vnc_count"))
        return false;
    if (cores >= o->workers)
        return true;
    fprintf(stderr, CAPTURE ": %u workers on this node, which has %u cores for them\n", o->workers,
            cores);
    return false;
}

static bool capture(const struct cap_options *o, const struct cap_inputs *inputs)
{
    struct tool_file file;
    bool ok;

    if (!tool_file_map(CAPTURE, o->neff, &file))
        return false;
    ok = cap_good(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""), "nrt_init");
    if (ok) {
        ok = cores_suffice(o) && (!o->systrace || cap_systrace_begin(o));
        if (ok) {
            ok = jobs_run(o, &file, inputs);
            if (o->systrace)
                cap_systrace_end();
        }
        nrt_close();
    }
    tool_file_unmap(&file);
    return ok;
}

/* ---- the command line ---- */

struct words {
    const char *type, *mode, *profile_id, *io_from;
    int disable, dge, single, raw, npy, crc, ignore, types;
    unsigned workers, world;
};

static int ranks_check(const struct tool *t, const struct words *w, struct cap_options *o)
{
    int64_t id;

    o->collectives = w->workers || w->world;
    o->workers = w->workers ? w->workers : w->world > o->first_rank ? w->world - o->first_rank : 1;
    o->world = w->world ? w->world : o->workers;
    if (!o->collectives && o->first_rank)
        return tool_usage(t, "--collectives-worker-start-id is for several workers");
    if ((uint64_t)o->first_rank + o->workers > o->world)
        return tool_usage(t, "workers %u to %u of this node exceed the %u of all", o->first_rank,
                          o->first_rank + o->workers - 1, o->world);
    o->profiled = UINT32_MAX;
    if (strcmp(w->profile_id, "all") == 0)
        return TOOL_OK;
    if (!settings_parse_int(w->profile_id, &id) || id < 0 || id >= o->world)
        return tool_usage(t, "--collectives-profile-id %s is no worker of %u", w->profile_id,
                          o->world);
    o->profiled = (unsigned)id;
    return TOOL_OK;
}

static int words_check(const struct tool *t, const struct words *w, struct cap_options *o)
{
    static const char *const modes[] = {"sync", "async", "async-wait"};
    unsigned mode = 0;

    while (mode < 3 && strcmp(w->mode, modes[mode]) != 0)
        mode++;
    if (mode == 3)
        return tool_usage(t, "--exec-mode is sync, async or async-wait, not \"%s\"", w->mode);
    o->mode = (enum cap_mode)mode;
    o->systrace = strcmp(w->type, "systrace") == 0;
    if (!o->systrace && strcmp(w->type, "profile") != 0)
        return tool_usage(t, "--capture-type is profile or systrace, not \"%s\"", w->type);
    if (strcmp(w->io_from, "runtime") != 0)
        return tool_usage(t, "--io-from is runtime, not \"%s\"", w->io_from);
    if (o->filter_count && !o->systrace)
        return tool_usage(t, "--systrace-event-filter is for --capture-type systrace");
    if (w->crc && o->mode == CAP_ASYNC)
        return tool_usage(t,
                          "--check-output-determinism needs the outputs of each execution, which "
                          "--exec-mode async does not leave");
    if (w->disable)
        o->nth = 0, o->systrace = false;
    o->single_io = w->single, o->save_raw = w->raw, o->save_npy = w->npy;
    o->check_crc = w->crc, o->ignore_errors = w->ignore;
    return ranks_check(t, w, o);
}

static int inputs_run(const struct tool *t, struct cap_options *o, int words, char **argv)
{
    struct multi m = {0};
    bool ok;

    if (words % 2)
        return tool_usage(t, "input %s has no file", argv[words - 1]);
    if (words && o->multi_input)
        return tool_usage(t, "--multi-input and inputs on the command line exclude each other");
    ok = multi_read(o->multi_input, o->workers, &m);
    for (unsigned i = 0; ok && words && i < o->workers; i++)
        m.inputs[i] = (struct cap_inputs){argv, (size_t)words / 2};
    ok = ok && capture(o, m.inputs);
    multi_fini(&m, o->workers);
    return ok ? TOOL_OK : TOOL_FAILED;
}

int cmd_capture(int argc, char **argv)
{
    struct cap_options o = {
        .neff = "file.neff", .session = "profile.ntff", .num_exec = 1, .nth = 1};
    struct words w = {.type = "profile", .mode = "sync", .profile_id = "all", .io_from = "runtime"};
    const char *filters[CAPTURE_FILTERS];
    struct tool_list list = {.items = filters, .max = CAPTURE_FILTERS};
    const struct tool_option options[] = {
        {'n', "neff", "FILE", "the NEFF (file.neff)", .text = &o.neff},
        {'s', "session-file", "FILE", "where the profile goes (profile.ntff)", .text = &o.session},
        {0, "num-exec", "N", "executions (1)", .number = &o.num_exec, .min = 1, .max = INT_MAX},
        {0, "profile-nth-exec", "N", "profile every Nth execution (1); 0: none", .number = &o.nth,
         .max = INT_MAX},
        {'t', "capture-type", "TYPE",
         "profile: what the device did (default); systrace: the runtime", .text = &w.type},
        {0, "exec-mode", "MODE", "sync (default), async (all queued), async-wait (one at a time)",
         .text = &w.mode},
        {0, "ignore-exec-errors", NULL, "go on after a failed execution", .choice = &w.ignore,
         .value = 1},
        {0, "disable-profile", NULL, "load and execute only", .choice = &w.disable, .value = 1},
        {0, "enable-dge-notifs", NULL, "record dynamic DMA as well", .choice = &w.dge, .value = 1},
        {0, "single-io", NULL, "one buffer for all inputs and outputs, which are then not correct",
         .choice = &w.single, .value = 1},
        {0, "single-io-threshold", "BYTES", "tensors up to this size get their own (0)",
         .number = &o.single_io_threshold, .max = UINT_MAX},
        {0, "save-output", NULL, "write each output to a file of its name", .choice = &w.raw,
         .value = 1},
        {0, "save-output-npy", NULL, "write each output to <name>.npy", .choice = &w.npy,
         .value = 1},
        {0, "check-output-determinism", NULL, "compare each execution's outputs with the first's",
         .choice = &w.crc, .value = 1},
        {'r', "collectives-workers-per-node", "N", "workers on this node", .number = &w.workers,
         .min = 1, .max = 65536},
        {0, "collectives-worker-count", "N", "workers on all nodes", .number = &w.world, .min = 1,
         .max = 65536},
        {0, "collectives-worker-start-id", "N", "rank of this node's first worker (0)",
         .number = &o.first_rank, .max = 65535},
        {'i', "collectives-profile-id", "RANK", "the worker to profile (all)",
         .text = &w.profile_id},
        {'m', "multi-input", "FILE", "a line of inputs for each worker", .text = &o.multi_input},
        {0, "systrace-get-event-types", NULL, "print the types of events and end",
         .choice = &w.types, .value = 1},
        {0, "systrace-event-filter", "TYPE", "capture this type only; repeatable", .list = &list},
        {0, "io-from", "WHERE", "where the tensors are looked up: runtime", .text = &w.io_from},
    };
    const struct tool t = {CAPTURE, "[options] [<NAME> <FILE>]...",
                           "Executes a NEFF on this host's software device and saves its profile.\n"
                           "Inputs that are not named are zero.\n",
                           options, sizeof(options) / sizeof(options[0])};
    int first, code;

    if (!tool_parse(&t, argc, argv, &first, &code))
        return code;
    if (w.types)
        return cap_systrace_types() ? TOOL_OK : TOOL_FAILED;
    o.filters = filters, o.filter_count = list.count;
    code = words_check(&t, &w, &o);
    if (code != TOOL_OK)
        return code;
    if (w.dge)
        setenv("NEURON_RT_ENABLE_DGE_NOTIFICATIONS", "1", 1);
    setenv("OPENNRT_CPU_NODES", "0", 0); /* native code in a file runs only when the user says so */
    return inputs_run(&t, &o, argc - first, argv + first);
}
