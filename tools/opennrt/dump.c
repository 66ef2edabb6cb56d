/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt dump show: a directory of core dumps in words. */
#include "opennrt.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "dump_judge.h"

#define FILES_MAX 4096

/* ---- reading ---- */

static bool add_file(struct dump_set *s, unsigned *cap, const char *dir, const char *name)
{
    char path[4096], *bytes;
    struct stat st;
    size_t size;

    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path) ||
        strlen(name) >= sizeof(*s->name) || stat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
        st.st_size > (off_t)DUMP_BYTES)
        return true;
    if (s->n == *cap) {
        unsigned more = *cap ? *cap * 2 : 16;
        void *files = realloc(s->file, more * sizeof(*s->file)), *names;

        if (files)
            s->file = files;
        names = files ? realloc(s->name, more * sizeof(*s->name)) : NULL;
        if (!names)
            return false;
        s->name = names;
        *cap = more;
    }
    bytes = read_all(path, &size);
    if (!bytes)
        return errno != ENOMEM; /* one that cannot be read is passed over */
    dump_file_parse(bytes, size, &s->file[s->n]);
    free(bytes);
    if (s->file[s->n].of != DUMP_OF_NOTHING)
        strcpy(s->name[s->n++], name);
    return true;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_dir(struct dump_set *s, const char *dir)
{
    struct dirent **list;
    unsigned cap = 0;
    int n = scandir(dir, &list, NULL, by_name);
    bool ok = true;

    if (n < 0) {
        fprintf(stderr, "opennrt dump: %s: %s\n", dir, strerror(errno));
        return EXIT_FAILED;
    }
    for (int i = 0; i < n; i++) {
        ok = ok && (s->n == FILES_MAX || add_file(s, &cap, dir, list[i]->d_name));
        free(list[i]);
    }
    free(list);
    if (!ok)
        fprintf(stderr, "opennrt dump: out of memory\n");
    else if (s->n == 0)
        fprintf(stderr, "opennrt dump: %s: no core dump\n", dir);
    return ok && s->n > 0 ? EXIT_OK : EXIT_FAILED;
}

/* ---- for people ---- */

static void text_time(uint64_t epoch, struct strbuf *out)
{
    time_t t = epoch < INT64_C(253402300800) ? (time_t)epoch : 0;
    struct tm tm = {0};
    char text[40];

    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
    strbuf_put(out, text);
}

static void text_engine(const struct dump_file *f, unsigned engine, struct strbuf *out)
{
    const struct dump_engine *e = &f->engine[engine];

    strbuf_put(out, "  ");
    if (e->ended) {
        strbuf_printf(out, "%s ended, %" PRIu64 " records\n", isa_engine_name(engine), e->retired);
        return;
    }
    dump_engine_text(f, engine, out);
    if (strcmp(e->waits, "event==") == 0)
        strbuf_printf(out, " waits for event %" PRIu32 " to be %s", e->id,
                      e->wanted ? "set" : "cleared");
    else if (e->waits[0])
        strbuf_printf(out, " waits for semaphore %" PRIu32 ", wanted %" PRId64 ", value %" PRId64,
                      e->id, e->wanted, e->value);
    if (e->waits[0] && e->has_since)
        strbuf_printf(out, ", for %.3f s", (double)e->since_us / 1e6);
    strbuf_put(out, "\n");
}

static void text_core(const struct dump_file *f, struct strbuf *out)
{
    strbuf_printf(out,
                  "nd%" PRIu32 " nc%" PRIu32 ", pid %" PRId64 ", tid %" PRId64 ", log id %" PRIu64,
                  f->device, f->nc, f->pid, f->tid, f->log_id);
    if (f->world > 1)
        strbuf_printf(out, ", rank %" PRIu32 " of %" PRIu32, f->rank, f->world);
    strbuf_put(out, ", ");
    text_time(f->time, out);
    strbuf_printf(out, "\n  %s (%" PRIu32 ") of %s, model %s\n  %s\n", f->status_name, f->status,
                  f->call, f->neff_name, f->text);
    if (f->has_since)
        strbuf_printf(out, "  the execution began %.3f s before\n", (double)f->since_us / 1e6);
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        if (f->engine[e].present)
            text_engine(f, e, out);
    for (unsigned i = 0; i < f->rings; i++)
        if (f->ring[i].head != f->ring[i].tail)
            strbuf_printf(out, "  queue %s: %" PRIu64 " of %" PRIu64 " transfers done\n",
                          f->ring[i].queue[0] ? f->ring[i].queue : "?", f->ring[i].tail,
                          f->ring[i].head);
}

static void text_cc(const struct dump_file *f, struct strbuf *out)
{
    strbuf_printf(out, "nd%" PRIu32 " nc%" PRIu32 ", rank %" PRIu32 ", collectives, newest first\n",
                  f->device, f->nc, f->rank);
    for (unsigned i = 0; i < f->ops && i < 3; i++)
        strbuf_printf(out, "  %s #%" PRIu64 "%s%s\n", f->op[i].name, f->op[i].sequence,
                      f->op[i].text[0] ? ": " : "", f->op[i].text);
}

/* A name in the directory may be anything, and a terminal obeys control characters. */
static void text_name(const char *name, struct strbuf *out)
{
    for (; *name; name++)
        strbuf_putn(out, (unsigned char)*name < ' ' || *name == 127 ? "?" : name, 1);
}

static void text_show(const struct dump_set *s, const struct dump_verdict *v, struct strbuf *out)
{
    strbuf_printf(out, "culprit: ");
    if (v->has_rank)
        strbuf_printf(out, "rank %" PRIu32 ", ", v->rank);
    if (v->file >= 0)
        strbuf_printf(out, "nd%" PRIu32 " nc%" PRIu32 ", ", s->file[v->file].device,
                      s->file[v->file].nc);
    strbuf_printf(out, "%s: %s\n", dump_cause_name(v->cause), v->text.s ? v->text.s : "");
    for (unsigned i = 0; i < s->n; i++) {
        strbuf_put(out, "\n");
        text_name(s->name[i], out);
        strbuf_printf(out, "%s\n",
                      s->file[i].complete ? "" : " (cut short: its writer was stopped)");
        s->file[i].of == DUMP_OF_CC ? text_cc(&s->file[i], out) : text_core(&s->file[i], out);
    }
}

/* ---- JSON ---- */

static void json_text(struct strbuf *out, const char *name, const char *text)
{
    strbuf_printf(out, "\"%s\": ", name);
    strbuf_put_json(out, text);
    strbuf_put(out, ", ");
}

/* Absent where it is not known. */
static void json_since(bool known, uint64_t us, struct strbuf *out)
{
    if (known)
        strbuf_printf(out, "\"since_us\": %" PRIu64 ", ", us);
}

static void json_engine(const struct dump_file *f, unsigned engine, struct strbuf *out)
{
    const struct dump_engine *e = &f->engine[engine];
    struct strbuf text = {0};

    strbuf_put(out, "{");
    json_text(out, "engine", isa_engine_name(engine));
    if (e->has_instr) {
        isa_print_record(&e->instr, &text);
        json_text(out, "instruction", text.s ? text.s : "");
        strbuf_fini(&text);
    }
    json_text(out, "op", e->op);
    if (e->file[0]) {
        json_text(out, "file", e->file);
        strbuf_printf(out, "\"line\": %" PRIu64 ", ", e->line);
    }
    if (!e->ended && e->waits[0]) {
        json_text(out, "waits", e->waits);
        strbuf_printf(out, "\"id\": %" PRIu32 ", \"wanted\": %" PRId64 ", \"value\": %" PRId64 ", ",
                      e->id, e->wanted, e->value);
        json_since(e->has_since, e->since_us, out);
    }
    strbuf_printf(out, "\"record\": %" PRIu64 ", \"retired\": %" PRIu64 ", \"ended\": %s}",
                  e->record, e->retired, e->ended ? "true" : "false");
}

static void json_file(const struct dump_set *s, unsigned i, struct strbuf *out)
{
    const struct dump_file *f = &s->file[i];
    const char *sep = "";

    strbuf_printf(out, "%s\n    {", i ? "," : "");
    json_text(out, "file", s->name[i]);
    json_text(out, "of", f->of == DUMP_OF_CC ? "cc-core" : "core");
    json_text(out, "status_name", f->status_name);
    json_text(out, "call", f->call);
    json_text(out, "text", f->text);
    json_text(out, "instance", f->instance);
    json_text(out, "cluster", f->cluster);
    json_text(out, "neff_name", f->neff_name);
    json_text(out, "neff_uuid", f->neff_uuid);
    json_text(out, "end", f->end);
    json_since(f->has_since, f->since_us, out);
    strbuf_printf(out,
                  "\"status\": %" PRIu32 ", \"pid\": %" PRId64 ", \"tid\": %" PRId64
                  ", \"log_id\": %" PRIu64 ", \"time\": %" PRIu64 ", \"device\": %" PRIu32
                  ", \"nc\": %" PRIu32 ", \"rank\": %" PRIu32 ", \"world\": %" PRIu32
                  ", \"complete\": %s, \"dead\": %s, \"signal\": "
                  "%" PRId64 ", \"engines\": [",
                  f->status, f->pid, f->tid, f->log_id, f->time, f->device, f->nc, f->rank,
                  f->world, f->complete ? "true" : "false", f->dead ? "true" : "false", f->signal);
    for (unsigned e = 0; e < ISA_ENGINES; e++) {
        if (!f->engine[e].present)
            continue;
        strbuf_put(out, sep);
        sep = ", ";
        json_engine(f, e, out);
    }
    strbuf_put(out, "], \"queues\": [");
    for (unsigned k = 0; k < f->rings; k++) {
        strbuf_put(out, k ? ", {" : "{");
        json_text(out, "queue", f->ring[k].queue);
        strbuf_printf(out, "\"head\": %" PRIu64 ", \"tail\": %" PRIu64 "}", f->ring[k].head,
                      f->ring[k].tail);
    }
    strbuf_put(out, "], \"operations\": [");
    for (unsigned k = 0; k < f->ops; k++) {
        strbuf_put(out, k ? ", " : "");
        strbuf_put_json(out, f->op[k].text);
    }
    strbuf_put(out, "]}");
}

static void json_show(const struct dump_set *s, const struct dump_verdict *v, struct strbuf *out)
{
    strbuf_put(out, "{\"culprit\": {");
    json_text(out, "cause", dump_cause_name(v->cause));
    if (v->has_rank)
        strbuf_printf(out, "\"rank\": %" PRIu32 ", ", v->rank);
    if (v->file >= 0)
        strbuf_printf(out, "\"device\": %" PRIu32 ", \"nc\": %" PRIu32 ", \"pid\": %" PRId64 ", ",
                      s->file[v->file].device, s->file[v->file].nc, s->file[v->file].pid);
    if (v->has_engine && v->file >= 0) {
        strbuf_put(out, "\"at\": ");
        json_engine(&s->file[v->file], v->engine, out);
        strbuf_put(out, ", ");
    }
    strbuf_put(out, "\"text\": ");
    strbuf_put_json(out, v->text.s ? v->text.s : "");
    strbuf_put(out, "}, \"files\": [");
    for (unsigned i = 0; i < s->n; i++)
        json_file(s, i, out);
    strbuf_put(out, "\n]}\n");
}

int cmd_dump(int argc, char **argv)
{
    struct dump_set s = {0};
    struct dump_verdict v;
    struct strbuf out = {0};
    bool json = false;
    const struct tool_option options[] = {{'j', "json", NULL, "the same as JSON", .flag = &json}};
    const struct tool t = {
        "opennrt dump",
        "show [--json] DIR",
        "Reads the core dumps in a directory and says what failed, on which rank and engine,\n"
        "at which instruction, what was waited for and since when, and who is to blame.\n",
        options,
        sizeof(options) / sizeof(options[0]),
        .mixed = true};
    int first, rc;

    if (!tool_parse(&t, argc, argv, &first, &rc))
        return rc;
    if (argc - first != 2 || strcmp(argv[first], "show") != 0)
        return tool_usage(&t, "show and a directory are expected");
    rc = read_dir(&s, argv[first + 1]);
    if (rc == EXIT_OK) {
        dump_judge(&s, &v);
        json ? json_show(&s, &v, &out) : text_show(&s, &v, &out);
        if (out.failed) {
            fprintf(stderr, "opennrt dump: out of memory\n");
            rc = EXIT_FAILED;
        } else {
            fputs(out.s, stdout);
        }
        strbuf_fini(&out);
        strbuf_fini(&v.text);
    }
    free(s.file);
    free(s.name);
    return rc;
}
