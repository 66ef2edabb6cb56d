/* SPDX-License-Identifier: Apache-2.0 */
/* What of a view is written where. */
#include "viewer/documents.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "common/options.h"
#include "viewer/lines.h"
#include "viewer/report.h"
#include "viewer/store.h"

/* ---- where bytes go ---- */

static bool fd_put(void *arg, const void *bytes, size_t size)
{
    return fd_write_all(*(int *)arg, bytes, size);
}

int viewer_say(const char *tool, const char *path, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", tool, path, why);
    return TOOL_FAILED;
}

/* A document: what is written of the entries of one group. */
struct document {
    const struct view_request *o;
    const struct viewer_shown **shown;
    size_t count;
    const struct viewer_set *set;
    bool quiet; /* the files that are made are not named */
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
        return viewer_say(tool, path, strerror(errno));
    errno = 0;
    st = write(d, &sink, &err);
    if (st == NRT_FAILURE && errno)
        err_set(&err, st, "%s%s", strerror(errno), fd_size_hint(errno));
    if (!out && close(fd) != 0 && st == NRT_SUCCESS)
        st = err_set(&err, NRT_FAILURE, "%s", strerror(errno));
    if (st == NRT_SUCCESS) {
        if (!out && !d->quiet)
            printf("%s\n", path);
        return TOOL_OK;
    }
    if (!out)
        (void)unlink(path);
    return viewer_say(tool, path, err.text);
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

bool view_format_known(const char *name)
{
    return format_find(name) != NULL;
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
    code =
        path.failed ? viewer_say(tool, folder, "no memory") : document_save(tool, path.s, d, write);
    strbuf_fini(&path);
    return code;
}

/* device_profile_model_<hash>.<suffix> for each NEFF, and system_profile.<suffix>, in the folder.
 */
static int groups_write(const char *tool, const struct format *f, const struct document *all,
                        const char *folder)
{
    struct document d = {.o = all->o,
                         .set = all->set,
                         .quiet = all->quiet,
                         .shown = mem_calloc(all->count + 1, sizeof(*d.shown))};
    char hash[VIEWER_HASH_SIZE], name[sizeof("device_profile_model_") + VIEWER_HASH_SIZE];
    int code = TOOL_OK;

    if (!d.shown)
        return viewer_say(tool, folder, "no memory");
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
        return viewer_say(tool, folder, strerror(errno));
    if (f->suffix)
        return groups_write(tool, f, all, folder);
    strbuf_printf(&path, "%s/%s", folder, f->stored);
    code = path.failed ? viewer_say(tool, folder, "no memory")
                       : document_save(tool, path.s, all, f->write);
    strbuf_fini(&path);
    return code;
}

/* The profile's folder below the data path, which is made, and must be new unless --force says
 * otherwise. */
static int stored_write(const char *tool, const struct format *f, const struct document *all)
{
    struct strbuf folder = {0};
    int code;

    viewer_store_path(all->o->data, all->o->display, &folder);
    if (folder.failed)
        code = viewer_say(tool, all->o->data, "no memory");
    else if (!all->o->force && access(folder.s, F_OK) == 0)
        code = viewer_say(tool, folder.s, "is there already; --force writes into it");
    else
        code = folder_write(tool, f, all, folder.s);
    strbuf_fini(&folder);
    return code;
}

static bool document_all(const char *tool, const struct view_request *o, const struct viewer_set *s,
                         struct document *ret)
{
    *ret = (struct document){
        .o = o, .set = s, .shown = mem_calloc(s->entry_count + 1, sizeof(*ret->shown))};
    if (!ret->shown) {
        (void)viewer_say(tool, "profiles", "no memory");
        return false;
    }
    for (size_t i = 0; i < s->entry_count; i++)
        ret->shown[ret->count++] = &s->entries[i]->shown;
    return true;
}

int view_set_write(const char *tool, const struct view_request *o, const struct viewer_set *s)
{
    const struct format *f = format_find(o->format);
    struct document all;
    int code;

    if (!document_all(tool, o, s, &all))
        return TOOL_FAILED;
    if (o->data)
        code = stored_write(tool, f, &all);
    else if (!f->suffix || (!o->folders && o->output))
        code = one_write(tool, f, &all);
    else
        code = folder_write(tool, f, &all, o->output ? o->output : ".");
    mem_free(all.shown);
    return code;
}

int view_set_keep(const char *tool, const struct view_request *o, const struct viewer_set *s,
                  const char *folder)
{
    static const char *const kept[] = {"html", "summary", "summary-json", "json", "perfetto"};
    struct document all;
    int code = TOOL_OK;

    if (!document_all(tool, o, s, &all))
        return TOOL_FAILED;
    all.quiet = true;
    for (size_t i = 0; code == TOOL_OK && i < sizeof(kept) / sizeof(kept[0]); i++)
        code = folder_write(tool, format_find(kept[i]), &all, folder);
    mem_free(all.shown);
    return code;
}

static NRT_STATUS lines_put(const struct document *all, struct influx *x, struct err *err)
{
    const struct viewer_sink sink = {influx_write, x};
    struct viewer_lines lines;
    NRT_STATUS st;

    viewer_lines_init(&lines, &sink);
    st = viewer_tables_put(all->shown, all->count, &lines.rows, err);
    viewer_system_tables(all->set->systems, all->set->system_count, &all->o->choice, &lines.rows);
    if (st == NRT_SUCCESS && !viewer_lines_end(&lines))
        st = NRT_FAILURE; /* influx_close says why, unless it is memory */
    viewer_lines_fini(&lines);
    return st;
}

int view_set_send(const char *tool, const struct view_request *o, const struct viewer_set *s,
                  const struct influx_config *config)
{
    struct err err = {0}, closed = {0};
    struct influx *x;
    struct document all;
    NRT_STATUS st = influx_open(config, &x, &err);

    if (st != NRT_SUCCESS)
        return viewer_say(tool, "database", err.text);
    if (!document_all(tool, o, s, &all)) {
        (void)influx_close(x, &closed);
        return TOOL_FAILED;
    }
    st = lines_put(&all, x, &err);
    mem_free(all.shown);
    if (influx_close(x, &closed) != NRT_SUCCESS)
        return viewer_say(tool, "database", closed.text);
    if (st != NRT_SUCCESS)
        return viewer_say(tool, "database", err.text[0] ? err.text : "no memory");
    return TOOL_OK;
}
