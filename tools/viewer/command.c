/* SPDX-License-Identifier: Apache-2.0 */
/* view: the command line. Without a format, profiles are kept and served. */
#include "viewer/command.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/options.h"
#include "viewer/documents.h"
#include "viewer/schema.h"
#include "viewer/serve.h"
#include "viewer/store.h"

#define PORT_DEFAULT 3001u
#define PORT_NONE    UINT_MAX

/* ---- what is named ---- */

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool roots_set(const struct view_request *o, struct viewer_set *s)
{
    for (unsigned r = 0; r < VIEWER_ROOTS; r++)
        if (o->roots[r] && !viewer_sources_root(&s->sources, (enum viewer_root)r, o->roots[r])) {
            (void)viewer_say(s->tool, o->roots[r], strerror(errno));
            return false;
        }
    return true;
}

static bool set_load(const struct view_request *o, char **operands, int count, struct viewer_set *s)
{
    bool ok = roots_set(o, s);

    if (ok && o->neff)
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
        code = viewer_say(tool, "standard output", "no memory");
    else if (fputs(text.s, stdout) == EOF || fflush(stdout) != 0)
        code = viewer_say(tool, "standard output", strerror(errno));
    strbuf_fini(&text);
    return code;
}

int viewer_schema_command(const char *tool)
{
    return text_say(tool, viewer_schema_put);
}

/* ---- keeping and serving ---- */

/* The name under which the profiles are kept. */
static const char *kept_name(const struct view_request *o, const struct viewer_set *s,
                             char made[VIEWER_SET_NAME_SIZE])
{
    if (o->display)
        return o->display;
    if (o->bucket)
        return o->bucket;
    return viewer_set_name(s, made) ? made : NULL;
}

static bool is_there(const char *data, const char *name)
{
    struct strbuf path = {0};
    bool there;

    viewer_store_path(data, name, &path);
    there = !path.failed && access(path.s, F_OK) == 0;
    strbuf_fini(&path);
    return there;
}

static int keep(const char *tool, const struct view_request *o, const struct viewer_set *s,
                const char *data, const char *name, bool replace)
{
    struct strbuf folder = {0};
    int code;

    if (!viewer_store_begin(data, name, &folder)) {
        code = viewer_say(tool, folder.s ? folder.s : data, strerror(errno));
        strbuf_fini(&folder);
        return code;
    }
    code = view_set_keep(tool, o, s, folder.s);
    if (code != TOOL_OK)
        viewer_store_remove(folder.s);
    else if (!viewer_store_end(data, name, folder.s, replace))
        code =
            viewer_say(tool, name,
                       errno == EEXIST ? "is there already; --force replaces it" : strerror(errno));
    strbuf_fini(&folder);
    return code;
}

static bool wants_database(const struct view_request *o)
{
    return o->endpoint || o->org || o->bucket || (o->format && strcmp(o->format, "db") == 0);
}

/* Where the environment of InfluxDB's own tools says what the command line does not. */
static int database_write(const struct tool *t, const struct view_request *o,
                          const struct viewer_set *s, const char *name)
{
    const struct influx_config config = {.endpoint =
                                             o->endpoint ? o->endpoint : "http://localhost:8086",
                                         .org = o->org ? o->org : getenv("INFLUX_ORG"),
                                         .bucket = o->bucket ? o->bucket : name,
                                         .token = getenv("INFLUX_TOKEN"),
                                         .force = o->force != 0};

    if (!config.org || !config.org[0])
        return tool_usage(t, "a database wants --db-org or INFLUX_ORG");
    return view_set_send(t->name, o, s, &config);
}

/* Keeps what is named; *name: under which name. */
static int kept_run(const struct tool *t, const struct view_request *o, struct viewer_set *s,
                    const char *data, const char **name, char made[VIEWER_SET_NAME_SIZE])
{
    int code = TOOL_OK;

    *name = kept_name(o, s, made);
    if (!*name)
        return viewer_say(t->name, "profiles", "there is none among what is named");
    if (!viewer_store_name_good(*name))
        return tool_usage(t, "\"%s\" is no name of a profile", *name);
    /* A name that was made is that of these profiles only: there is nothing to lose. */
    if (*name != made && !o->force && is_there(data, *name))
        return viewer_say(t->name, *name, "is there already; --force replaces it");
    if (wants_database(o))
        code = database_write(t, o, s, *name);
    if (code == TOOL_OK)
        code = keep(t->name, o, s, data, *name, *name == made || o->force);
    if (code == TOOL_OK && o->ingest_only)
        printf("Profile \"%s\" is ready to view\n", *name);
    return code;
}

static int serve_run(const struct tool *t, struct view_request *o, char **operands, int count,
                     struct viewer_set *s)
{
    bool some = o->session || o->folder || count > 0;
    struct strbuf standard = {0};
    char made[VIEWER_SET_NAME_SIZE];
    const char *name = NULL, *data = o->data;
    int code = TOOL_OK;

    if (o->output)
        return tool_usage(t, "--output-file goes with --output-format");
    if (!data && !viewer_store_default(&standard))
        return tool_usage(t, "without HOME --data-path must say where profiles are kept");
    data = data ? data : standard.s;
    if (!some && (o->ingest_only || o->neff || o->display || wants_database(o)))
        o->session = "profile.ntff";
    if (o->session || some)
        code = set_load(o, operands, count, s) ? kept_run(t, o, s, data, &name, made) : TOOL_FAILED;
    if (code == TOOL_OK && !o->ingest_only)
        code = viewer_serve(t->name, data, o->port, name);
    strbuf_fini(&standard);
    return code;
}

/* ---- the command ---- */

static int write_run(const struct tool *t, struct view_request *o, char **operands, int count,
                     struct viewer_set *s)
{
    if (!view_format_known(o->format))
        return tool_usage(t, "there is no output format \"%s\"", o->format);
    if (o->data && (!o->display || o->output))
        return tool_usage(t, "--data-path goes with --display-name, not with --output-file");
    if (!o->data && (o->display || o->force))
        return tool_usage(t, "--display-name and --force go with --data-path");
    if (o->ingest_only || wants_database(o))
        return tool_usage(t, "what is kept or goes to a database has no --output-format but db");
    if (!o->session && !o->folder && count == 0)
        o->session = "profile.ntff";
    return set_load(o, operands, count, s) ? view_set_write(t->name, o, s) : TOOL_FAILED;
}

static int options_run(const struct tool *t, struct view_request *o, bool serves, char **operands,
                       int count)
{
    struct viewer_set s = {.tool = t->name,
                           .no_profiles = o->no_device != 0,
                           .no_systems = o->no_system != 0,
                           .track = o->track != 0};
    struct err err = {0};
    int code;

    if (o->terms)
        return text_say(t->name, viewer_terms_put);
    if (viewer_choice_check(&o->choice, &err) != NRT_SUCCESS)
        return tool_usage(t, "%s", err.text);
    if (o->display && !viewer_store_name_good(o->display))
        return tool_usage(t, "--display-name \"%s\" is no name of a folder", o->display);
    serves = serves || o->ingest_only || o->port != PORT_NONE || wants_database(o);
    if (!o->format && !serves)
        o->format = "summary";
    o->port = o->port == PORT_NONE ? PORT_DEFAULT : o->port;
    o->folders = o->folder != NULL;
    for (int i = 0; i < count; i++)
        o->folders = o->folders || is_folder(operands[i]);
    code = o->format && strcmp(o->format, "db") != 0 ? write_run(t, o, operands, count, &s)
                                                     : serve_run(t, o, operands, count, &s);
    viewer_set_fini(&s);
    if (fflush(stdout) != 0 && code == TOOL_OK)
        code = viewer_say(t->name, "standard output", strerror(errno));
    return code;
}

int viewer_command(const char *tool, bool serves, int argc, char **argv)
{
    struct view_request o = {.port = PORT_NONE};
    const struct tool_option options[] = {
        {'n', "neff", "FILE", "the NEFF that was executed: shows its instructions' operands",
         .text = &o.neff},
        {'s', "session-file", "FILE", "the profile (default profile.ntff)", .text = &o.session},
        {'d', "session-dir", "DIR", "all profiles and NEFFs of a folder", .text = &o.folder},
        {0, "output-format", "FORMAT",
         "summary, summary-text, summary-json, json, perfetto, html or db", .text = &o.format},
        {0, "output-file", "FILE", "where to; with -d a folder; - is the standard output",
         .text = &o.output},
        {0, "port", "PORT", "without a format: serve there (3001; 0: any)", .number = &o.port,
         .max = 65535},
        {0, "ingest-only", NULL, "keep the profile, and do not serve", .choice = &o.ingest_only,
         .value = 1},
        {0, "data-path", "DIR", "where profiles are kept", .text = &o.data},
        {0, "display-name", "NAME", "the profile's name there", .text = &o.display},
        {0, "db-endpoint", "URL", "write into InfluxDB (http://localhost:8086)",
         .text = &o.endpoint},
        {0, "db-org", "NAME", "its organization (INFLUX_ORG)", .text = &o.org},
        {0, "db-bucket", "NAME", "the bucket that is made (the profile's name)", .text = &o.bucket},
        {0, "force", NULL, "the profile may be there already", .choice = &o.force, .value = 1},
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
    return options_run(&t, &o, serves, argv + first, argc - first);
}
