/* SPDX-License-Identifier: Apache-2.0 */
/* view: the command line, and what of it is written where. */
#include "viewer/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "common/options.h"
#include "viewer/load.h"
#include "viewer/report.h"
#include "viewer/schema.h"

struct view_options {
    const char *neff, *session, *folder, *format, *output;
    const char *data, *display;
    const char *roots[VIEWER_ROOTS];
    int flows, no_device, no_system, force, terms, track;
    struct viewer_choice choice;
    bool folders; /* among what is to be shown */
};

/* ---- where bytes go ---- */

static bool fd_put(void *arg, const void *bytes, size_t size)
{
    return fd_write_all(*(int *)arg, bytes, size);
}

static int say(const char *tool, const char *path, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", tool, path, why);
    return TOOL_FAILED;
}

/* A document: what is written of the entries of one group. */
struct document {
    const struct view_options *o;
    const struct viewer_shown **shown;
    size_t count;
    const struct viewer_set *set;
};
typedef NRT_STATUS (*document_write)(const struct document *d, const struct viewer_sink *sink,
                                     struct err *err);

/* Into the file, which is removed again when that fails; "-" is the standard output. */
static int document_save(const char *tool, const char *path, const struct document *d,
                         document_write write)
{
    bool out = strcmp(path, "-") == 0;
    int fd = out ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    struct viewer_sink sink = {fd_put, &fd};
    struct err err = {0};
    NRT_STATUS st;

    if (fd < 0)
        return say(tool, path, strerror(errno));
    errno = 0;
    st = write(d, &sink, &err);
    if (st == NRT_FAILURE && errno)
        err_set(&err, st, "%s%s", strerror(errno), fd_size_hint(errno));
    if (!out && close(fd) != 0 && st == NRT_SUCCESS)
        st = err_set(&err, NRT_FAILURE, "%s", strerror(errno));
    if (st == NRT_SUCCESS) {
        if (!out)
            printf("%s\n", path);
        return TOOL_OK;
    }
    if (!out)
        (void)unlink(path);
    return say(tool, path, err.text);
}

/* ---- formats ---- */

static NRT_STATUS text_end(struct strbuf *text, const struct viewer_sink *sink, struct err *err)
{
    NRT_STATUS st = NRT_SUCCESS;

    if (text->failed)
        st = err_set(err, NRT_RESOURCE, "no memory for a summary");
    else if (!viewer_flush(text, sink, true))
        st = err_set(err, NRT_FAILURE, "the summary could not be written");
    strbuf_fini(text);
    return st;
}

static NRT_STATUS texts_write(const struct document *d, const struct viewer_sink *sink,
                              bool (*put)(const struct viewer_shown *s, struct strbuf *out),
                              struct err *err)
{
    struct strbuf text = {0};

    for (size_t i = 0; i < d->count; i++) {
        strbuf_put(&text, i ? "\n" : "");
        (void)put(d->shown[i], &text);
    }
    return text_end(&text, sink, err);
}

static NRT_STATUS words_write(const struct document *d, const struct viewer_sink *sink,
                              struct err *err)
{
    return texts_write(d, sink, viewer_text_words, err);
}

static NRT_STATUS keys_write(const struct document *d, const struct viewer_sink *sink,
                             struct err *err)
{
    return texts_write(d, sink, viewer_text_keys, err);
}

/* An object of summaries, each under its NEFF's hash, replica and core, and, when there are
 * several, its number. */
static NRT_STATUS summary_json_write(const struct document *d, const struct viewer_sink *sink,
                                     struct err *err)
{
    struct json_out j = {.indent = 2};
    struct viewer_rows_json rows;
    char hash[VIEWER_HASH_SIZE], key[112];

    viewer_rows_json_init(&rows, &j, NULL);
    json_out_open(&j, NULL, '{');
    for (size_t i = 0; i < d->count; i++) {
        const struct ntff_model *m = d->shown[i]->f->model->m;
        int n;

        viewer_hash_text(m, hash);
        n = snprintf(key, sizeof(key), "%s_instid_%u_vnc_%u", hash, m->instance, m->vnc);
        if (d->count > 1)
            (void)snprintf(key + n, sizeof(key) - (size_t)n, "_%zu", i + 1);
        json_out_open(&j, key, '{');
        viewer_summary_put(d->shown[i], &rows.rows);
        json_out_close(&j, '}');
    }
    json_out_close(&j, '}');
    strbuf_put(&j.out, "\n");
    return text_end(&j.out, sink, err);
}

static NRT_STATUS json_write(const struct document *d, const struct viewer_sink *sink,
                             struct err *err)
{
    return viewer_json_profile(d->shown, d->count, sink, err);
}

static NRT_STATUS trace_write(const struct document *d, const struct viewer_sink *sink,
                              struct err *err)
{
    return viewer_trace_profile(d->shown, d->count, d->o->flows != 0, sink, err);
}

static NRT_STATUS system_json_write(const struct document *d, const struct viewer_sink *sink,
                                    struct err *err)
{
    return viewer_system_json(d->set->systems, d->set->system_count, &d->o->choice, sink, err);
}

static NRT_STATUS system_trace_write(const struct document *d, const struct viewer_sink *sink,
                                     struct err *err)
{
    return viewer_system_trace(d->set->systems, d->set->system_count, &d->o->choice, sink, err);
}

static NRT_STATUS report_write(const struct document *d, const struct viewer_sink *sink,
                               struct err *err)
{
    return viewer_report(d->shown, d->count, d->set->systems, d->set->system_count, sink, err);
}

static const struct format {
    const char *name;
    const char *suffix; /* of a file for each NEFF; NULL: one document */
    const char *file;   /* then: its name; NULL: the standard output */
    const char *stored; /* its name in a folder of --data-path */
    document_write write, system;
} formats[] = {
    {"summary", .stored = "summary.txt", .write = words_write},
    {"summary-text", .stored = "summary.txt", .write = keys_write},
    {"summary-json", .stored = "summary.json", .write = summary_json_write},
    {"json", "json", .write = json_write, .system = system_json_write},
    {"perfetto", "pftrace", .write = trace_write, .system = system_trace_write},
    {"html", .file = "report.html", .stored = "report.html", .write = report_write},
};

static const struct format *format_find(const char *name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

/* ---- documents ---- */

/* One document of everything, at the path that was asked for. */
static int one_write(const char *tool, const struct format *f, const struct document *all)
{
    const char *path = f->file ? f->file : "-";

    return document_save(tool, all->o->output ? all->o->output : path, all, f->write);
}

static bool same_neff(const struct viewer_shown *a, const struct viewer_shown *b)
{
    return memcmp(a->f->model->m->hash, b->f->model->m->hash, NEFF_HASH_SIZE) == 0;
}

/* The entries of the NEFF of entry `first`, if that is its first one. */
static size_t group_take(const struct document *all, size_t first, const struct viewer_shown **ret)
{
    size_t n = 0;

    for (size_t i = 0; i < all->count; i++) {
        if (!same_neff(all->shown[first], all->shown[i]))
            continue;
        if (i < first)
            return 0;
        ret[n++] = all->shown[i];
    }
    return n;
}

static int file_write(const char *tool, const char *folder, const char *name, const char *suffix,
                      const struct document *d, document_write write)
{
    struct strbuf path = {0};
    int code;

    strbuf_printf(&path, "%s/%s.%s", folder, name, suffix);
    code = path.failed ? say(tool, folder, "no memory") : document_save(tool, path.s, d, write);
    strbuf_fini(&path);
    return code;
}

/* device_profile_model_<hash>.<suffix> for each NEFF, and system_profile.<suffix>, in the folder.
 */
static int groups_write(const char *tool, const struct format *f, const struct document *all,
                        const char *folder)
{
    struct document d = {
        .o = all->o, .set = all->set, .shown = mem_calloc(all->count + 1, sizeof(*d.shown))};
    char hash[VIEWER_HASH_SIZE], name[sizeof("device_profile_model_") + VIEWER_HASH_SIZE];
    int code = TOOL_OK;

    if (!d.shown)
        return say(tool, folder, "no memory");
    for (size_t i = 0; code == TOOL_OK && i < all->count; i++) {
        d.count = group_take(all, i, d.shown);
        if (d.count == 0)
            continue;
        viewer_hash_text(d.shown[0]->f->model->m, hash);
        (void)snprintf(name, sizeof(name), "device_profile_model_%s", hash);
        code = file_write(tool, folder, name, f->suffix, &d, f->write);
    }
    mem_free(d.shown);
    if (code == TOOL_OK && all->set->system_count)
        code = file_write(tool, folder, "system_profile", f->suffix, all, f->system);
    return code;
}

/* What is asked for, in the folder, which is made. */
static int folder_write(const char *tool, const struct format *f, const struct document *all,
                        const char *folder)
{
    struct strbuf path = {0};
    int code;

    if (!fd_folders_make(folder))
        return say(tool, folder, strerror(errno));
    if (f->suffix)
        return groups_write(tool, f, all, folder);
    strbuf_printf(&path, "%s/%s", folder, f->stored);
    code =
        path.failed ? say(tool, folder, "no memory") : document_save(tool, path.s, all, f->write);
    strbuf_fini(&path);
    return code;
}

/* <data path>/<display name>, which is made, and must be new unless --force says otherwise. */
static int stored_write(const char *tool, const struct format *f, const struct document *all)
{
    struct strbuf folder = {0};
    int code;

    strbuf_printf(&folder, "%s/%s", all->o->data, all->o->display);
    if (folder.failed)
        code = say(tool, all->o->data, "no memory");
    else if (!all->o->force && access(folder.s, F_OK) == 0)
        code = say(tool, folder.s, "is there already; --force writes into it");
    else
        code = folder_write(tool, f, all, folder.s);
    strbuf_fini(&folder);
    return code;
}

static int set_write(const char *tool, const struct view_options *o, const struct viewer_set *s)
{
    const struct format *f = format_find(o->format);
    struct document all = {
        .o = o, .set = s, .shown = mem_calloc(s->entry_count + 1, sizeof(*all.shown))};
    int code;

    if (!all.shown)
        return say(tool, "profiles", "no memory");
    for (size_t i = 0; i < s->entry_count; i++)
        all.shown[all.count++] = &s->entries[i]->shown;
    if (o->data)
        code = stored_write(tool, f, &all);
    else if (!f->suffix || (!o->folders && o->output))
        code = one_write(tool, f, &all);
    else
        code = folder_write(tool, f, &all, o->output ? o->output : ".");
    mem_free(all.shown);
    return code;
}

/* ---- the command line ---- */

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool roots_set(const struct view_options *o, struct viewer_set *s)
{
    for (unsigned r = 0; r < VIEWER_ROOTS; r++)
        if (o->roots[r] && !viewer_sources_root(&s->sources, (enum viewer_root)r, o->roots[r])) {
            (void)say(s->tool, o->roots[r], strerror(errno));
            return false;
        }
    return true;
}

static bool set_load(const struct view_options *o, char **operands, int count, struct viewer_set *s)
{
    bool ok = roots_set(o, s);

    if (o->neff)
        ok = viewer_set_neff(s, o->neff);
    if (ok && o->folder)
        ok = viewer_set_folder(s, o->folder);
    if (ok && o->session)
        ok = viewer_set_profile(s, o->session);
    for (int i = 0; ok && i < count; i++)
        ok = is_folder(operands[i]) ? viewer_set_folder(s, operands[i])
                                    : viewer_set_profile(s, operands[i]);
    return ok && viewer_set_count(s);
}

static int text_say(const char *tool, void (*put)(struct strbuf *out))
{
    struct strbuf text = {0};
    int code = TOOL_OK;

    put(&text);
    if (text.failed)
        code = say(tool, "standard output", "no memory");
    else if (fputs(text.s, stdout) == EOF || fflush(stdout) != 0)
        code = say(tool, "standard output", strerror(errno));
    strbuf_fini(&text);
    return code;
}

int viewer_schema_command(const char *tool)
{
    return text_say(tool, viewer_schema_put);
}

static int options_run(const struct tool *t, struct view_options *o, char **operands, int count)
{
    struct viewer_set s = {.tool = t->name,
                           .no_profiles = o->no_device != 0,
                           .no_systems = o->no_system != 0,
                           .track = o->track != 0};
    struct err err = {0};
    int code;

    if (o->terms)
        return text_say(t->name, viewer_terms_put);
    if (!format_find(o->format))
        return tool_usage(t, "there is no output format \"%s\"", o->format);
    if (viewer_choice_check(&o->choice, &err) != NRT_SUCCESS)
        return tool_usage(t, "%s", err.text);
    if (o->data && (!o->display || o->output))
        return tool_usage(t, "--data-path goes with --display-name, not with --output-file");
    if (!o->data && (o->display || o->force))
        return tool_usage(t, "--display-name and --force go with --data-path");
    if (o->display && (!o->display[0] || o->display[0] == '.' || strchr(o->display, '/')))
        return tool_usage(t, "--display-name \"%s\" is no name of a folder", o->display);
    if (!o->session && !o->folder && count == 0)
        o->session = "profile.ntff";
    o->folders = o->folder != NULL;
    for (int i = 0; i < count; i++)
        o->folders = o->folders || is_folder(operands[i]);
    code = set_load(o, operands, count, &s) ? set_write(t->name, o, &s) : TOOL_FAILED;
    viewer_set_fini(&s);
    if (fflush(stdout) != 0 && code == TOOL_OK)
        code = say(t->name, "standard output", strerror(errno));
    return code;
}

int viewer_command(const char *tool, int argc, char **argv)
{
    struct view_options o = {.format = "summary"};
    const struct tool_option options[] = {
        {'n', "neff", "FILE", "the NEFF that was executed: shows its instructions' operands",
         .text = &o.neff},
        {'s', "session-file", "FILE", "the profile (default profile.ntff)", .text = &o.session},
        {'d', "session-dir", "DIR", "all profiles and NEFFs of a folder", .text = &o.folder},
        {0, "output-format", "FORMAT",
         "summary, summary-text, summary-json, json, perfetto or html", .text = &o.format},
        {0, "output-file", "FILE", "where to; with -d a folder; - is the standard output",
         .text = &o.output},
        {0, "data-path", "DIR", "keep the results there, below --display-name", .text = &o.data},
        {0, "display-name", "NAME", "with --data-path: the folder that is made",
         .text = &o.display},
        {0, "force", NULL, "with --data-path: it may be there already", .choice = &o.force,
         .value = 1},
        {0, "framework-source-root", "DIR", "shows the lines of source files found there",
         .text = &o.roots[VIEWER_ROOT_FRAMEWORK]},
        {0, "nki-source-root", "DIR", "the same for kernels; looked into first",
         .text = &o.roots[VIEWER_ROOT_NKI]},
        {0, "enable-memory-tracker", NULL, "use of the scratchpad over time, by tensor",
         .choice = &o.track, .value = 1},
        {0, "terminology", NULL, "say what the figures mean, and end", .choice = &o.terms,
         .value = 1},
        {0, "show-perfetto-flows", NULL, "arrows from what let an instruction go",
         .choice = &o.flows, .value = 1},
        {0, "ignore-device-profile", NULL, "of a folder, only the system profile",
         .choice = &o.no_device, .value = 1},
        {0, "ignore-system-profile", NULL, "of a folder, only device profiles",
         .choice = &o.no_system, .value = 1},
        {0, "system-trace-filter-neuron-core", "LIST", "system events of these cores only",
         .text = &o.choice.cores},
        {0, "system-trace-filter-event-type", "LIST", "system events of these types only",
         .text = &o.choice.types},
        {0, "system-trace-filter-instance-id", "LIST", "system events of these instances only",
         .text = &o.choice.instances},
        {0, "system-trace-primary-group", "LIST",
         "what a process of the trace is (instance_id,process_id)", .text = &o.choice.primary},
        {0, "system-trace-secondary-group", "LIST",
         "what a row of it is (worker_gid,lnc_idx,thread_id)", .text = &o.choice.secondary},
    };
    const struct tool t = {.name = tool,
                           .arguments = "[options] [FILE.ntff | DIR]...",
                           .about = "Shows what a device profile says.\n",
                           .options = options,
                           .count = sizeof(options) / sizeof(options[0]),
                           .mixed = true};
    int first, code;

    if (!tool_parse(&t, argc, argv, &first, &code))
        return code;
    return options_run(&t, &o, argv + first, argc - first);
}
