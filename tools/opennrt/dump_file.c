/* SPDX-License-Identifier: Apache-2.0 */
/* Lines `kind name=value name="text" ...`. A last line without its newline was being written when
 * the writer was stopped: it is not read. */
#include "dump_file.h"

#include <string.h>

/* A line without its newline. */
struct line {
    const char *at, *end;
};

/* ---- fields ---- */

/* The word at p, up to a blank outside of quotes. */
static const char *word_end(const char *p, const char *end)
{
    bool quoted = false;

    for (; p < end && (quoted || *p != ' '); p++)
        if (*p == '"')
            quoted = !quoted;
    return p;
}

/* The value of a field, without its quotes. False: the line has none of this name. */
static bool field(const struct line *l, const char *name, struct line *ret)
{
    size_t n = strlen(name);

    for (const char *p = word_end(l->at, l->end), *e; p < l->end; p = e) {
        p++;
        e = word_end(p, l->end);
        if ((size_t)(e - p) <= n || memcmp(p, name, n) != 0 || p[n] != '=')
            continue;
        *ret = (struct line){p + n + 1, e};
        if (ret->at < ret->end && *ret->at == '"')
            ret->at++;
        if (ret->at < ret->end && ret->end[-1] == '"')
            ret->end--;
        return true;
    }
    return false;
}

static bool get_text(const struct line *l, const char *name, char *buf, size_t size)
{
    struct line v;
    size_t n = 0;

    if (!field(l, name, &v))
        return false;
    for (const char *p = v.at; p < v.end && n + 1 < size; p++)
        buf[n++] = *p >= ' ' && *p < 127 ? *p : '?';
    buf[n] = '\0';
    return true;
}

static bool is_word(const struct line *v, const char *word)
{
    return (size_t)(v->end - v->at) == strlen(word) && memcmp(v->at, word, strlen(word)) == 0;
}

/* Decimal digits, up to max; anything else leaves *ret alone. */
static bool parse_u64(const char *p, const char *end, uint64_t max, uint64_t *ret)
{
    uint64_t x = 0;

    if (p == end)
        return false;
    for (; p < end; p++) {
        unsigned d = (unsigned)(unsigned char)*p - '0';

        if (d > 9 || x > (UINT64_MAX - d) / 10)
            return false;
        x = x * 10 + d;
    }
    if (x > max)
        return false;
    *ret = x;
    return true;
}

static bool get_u64(const struct line *l, const char *name, uint64_t max, uint64_t *ret)
{
    struct line v;

    return field(l, name, &v) && parse_u64(v.at, v.end, max, ret);
}

static bool get_u32(const struct line *l, const char *name, uint32_t *ret)
{
    uint64_t v;

    if (!get_u64(l, name, UINT32_MAX, &v))
        return false;
    *ret = (uint32_t)v;
    return true;
}

static bool get_flag(const struct line *l, const char *name)
{
    uint64_t v = 0;

    return get_u64(l, name, UINT64_MAX, &v) && v != 0;
}

static void get_i64(const struct line *l, const char *name, int64_t *ret)
{
    struct line v;
    uint64_t x;
    bool minus;

    if (!field(l, name, &v))
        return;
    minus = v.at < v.end && *v.at == '-';
    if (parse_u64(v.at + minus, v.end, INT64_MAX, &x))
        *ret = minus ? -(int64_t)x : (int64_t)x;
}

static bool get_engine(const struct line *l, const char *name, unsigned *ret)
{
    struct line v;

    if (!field(l, name, &v))
        return false;
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        if (is_word(&v, isa_engine_name(e))) {
            *ret = e;
            return true;
        }
    return false;
}

/* ---- lines ---- */

static void read_head(struct dump_file *f, const struct line *l)
{
    struct line of;

    if (f->of != DUMP_OF_NOTHING || !field(l, "of", &of))
        return;
    (void)get_u64(l, "version", UINT64_MAX, &f->version);
    f->of = is_word(&of, "cc-core") ? DUMP_OF_CC : DUMP_OF_CORE;
}

static void read_failure(struct dump_file *f, const struct line *l)
{
    (void)get_u32(l, "status", &f->status);
    (void)get_text(l, "name", f->status_name, sizeof(f->status_name));
    (void)get_text(l, "call", f->call, sizeof(f->call));
    (void)get_text(l, "text", f->text, sizeof(f->text));
    get_i64(l, "signal", &f->signal);
    f->dead = get_flag(l, "dead");
}

static void read_process(struct dump_file *f, const struct line *l)
{
    get_i64(l, "pid", &f->pid);
    get_i64(l, "tid", &f->tid);
    get_i64(l, "written_by", &f->written_by);
    (void)get_u64(l, "log_id", UINT64_MAX, &f->log_id);
    (void)get_u64(l, "time", UINT64_MAX, &f->time);
}

static void read_place(struct dump_file *f, const struct line *l)
{
    (void)get_text(l, "instance", f->instance, sizeof(f->instance));
    (void)get_text(l, "type", f->type, sizeof(f->type));
    (void)get_u32(l, "device", &f->device);
    (void)get_u32(l, "nc", &f->nc);
    (void)get_u32(l, "core", &f->core);
}

static void read_job(struct dump_file *f, const struct line *l)
{
    f->has_job = get_u32(l, "rank", &f->rank) && get_u32(l, "world", &f->world);
    (void)get_text(l, "cluster", f->cluster, sizeof(f->cluster));
}

static void read_model(struct dump_file *f, const struct line *l)
{
    (void)get_text(l, "neff_name", f->neff_name, sizeof(f->neff_name));
    (void)get_text(l, "neff_uuid", f->neff_uuid, sizeof(f->neff_uuid));
    (void)get_u64(l, "id", UINT64_MAX, &f->model);
    f->has_since = get_u64(l, "since_us", UINT64_MAX, &f->since_us);
    f->running = get_flag(l, "running");
}

static void read_end_of_run(struct dump_file *f, const struct line *l)
{
    f->has_end = get_text(l, "end", f->end, sizeof(f->end)) && get_u32(l, "core", &f->end_core) &&
                 get_engine(l, "engine", &f->end_engine) &&
                 get_u64(l, "record", UINT64_MAX, &f->end_record);
    (void)get_u64(l, "device_ns", UINT64_MAX, &f->device_ns);
}

static void read_engine(struct dump_file *f, const struct line *l)
{
    struct dump_engine *e;
    unsigned which;

    if (!get_engine(l, "name", &which))
        return;
    e = &f->engine[which];
    e->present = get_u64(l, "record", UINT64_MAX, &e->record);
    (void)get_u64(l, "records", UINT64_MAX, &e->records);
    (void)get_u64(l, "retired", UINT64_MAX, &e->retired);
    e->ended = get_flag(l, "ended");
    (void)get_text(l, "op", e->op, sizeof(e->op));
    if (!get_u32(l, "id", &e->id) || !get_text(l, "waits", e->waits, sizeof(e->waits)))
        e->waits[0] = '\0';
    get_i64(l, "wanted", &e->wanted);
    get_i64(l, "value", &e->value);
    e->has_since = get_u64(l, "since_us", UINT64_MAX, &e->since_us);
}

static void read_raise(struct dump_file *f, const struct line *l)
{
    struct dump_raise r = {.event = false};

    if (!get_u32(l, "semaphore", &r.id) && !(r.event = get_u32(l, "event", &r.id)))
        return;
    if (f->raises == DUMP_RAISES || !get_u32(l, "core", &r.core) ||
        !get_engine(l, "engine", &r.engine))
        return;
    (void)get_text(l, "by", r.by, sizeof(r.by));
    (void)get_text(l, "queue", r.queue, sizeof(r.queue));
    (void)get_u64(l, "record", UINT64_MAX, &r.record);
    (void)get_u64(l, "behind", UINT64_MAX, &r.behind);
    (void)get_u64(l, "ahead", UINT64_MAX, &r.ahead);
    f->raise[f->raises++] = r;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Of the engine's position only. */
static void read_instr(struct dump_file *f, const struct line *l)
{
    uint8_t bytes[sizeof(struct isa_record)];
    struct dump_engine *e;
    uint64_t record;
    unsigned which;
    struct line v;

    if (!get_engine(l, "engine", &which) || !get_u64(l, "record", UINT64_MAX, &record) ||
        !field(l, "bytes", &v) || (size_t)(v.end - v.at) != 2 * sizeof(bytes))
        return;
    e = &f->engine[which];
    if (!e->present || record != e->record)
        return;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        int hi = hex_digit(v.at[2 * i]), lo = hex_digit(v.at[2 * i + 1]);

        if (hi < 0 || lo < 0)
            return;
        bytes[i] = (uint8_t)(hi << 4 | lo);
    }
    memcpy(&e->instr, bytes, sizeof(bytes));
    e->has_instr = true;
}

static void read_source(struct dump_file *f, const struct line *l)
{
    struct dump_engine *e;
    uint64_t record;
    unsigned which;

    if (!get_engine(l, "engine", &which) || !get_u64(l, "record", UINT64_MAX, &record))
        return;
    e = &f->engine[which];
    if (!e->present || record != e->record)
        return;
    (void)get_text(l, "file", e->file, sizeof(e->file));
    (void)get_text(l, "label", e->label, sizeof(e->label));
    (void)get_u64(l, "line", UINT64_MAX, &e->line);
}

static void read_operation(struct dump_file *f, const struct line *l)
{
    struct dump_op o = {.over = get_flag(l, "over")};

    if (f->ops == DUMP_OPS || !get_u64(l, "sequence", UINT64_MAX, &o.sequence))
        return;
    (void)get_u64(l, "age_us", UINT64_MAX, &o.age_us);
    (void)get_u32(l, "status", &o.status);
    o.failed = get_u32(l, "culprit", &o.culprit);
    o.waits = get_u32(l, "waits_for", &o.waits_for);
    (void)get_text(l, "name", o.name, sizeof(o.name));
    (void)get_text(l, "text", o.text, sizeof(o.text));
    f->op[f->ops++] = o;
}

static void read_ring(struct dump_file *f, const struct line *l)
{
    struct dump_ring r = {.number = 0};

    if (f->rings == DUMP_RINGS || !get_u64(l, "number", UINT64_MAX, &r.number))
        return;
    (void)get_text(l, "queue", r.queue, sizeof(r.queue));
    (void)get_u64(l, "head", UINT64_MAX, &r.head);
    (void)get_u64(l, "tail", UINT64_MAX, &r.tail);
    f->ring[f->rings++] = r;
}

static void read_semaphore(struct dump_file *f, const struct line *l)
{
    (void)l;
    f->semaphores++;
}

static void read_event(struct dump_file *f, const struct line *l)
{
    (void)l;
    f->events++;
}

static void read_transfer(struct dump_file *f, const struct line *l)
{
    (void)l;
    f->transfers++;
}

static void read_memory(struct dump_file *f, const struct line *l)
{
    uint64_t bytes;

    if (get_u64(l, "bytes", UINT64_MAX - f->memory_bytes, &bytes))
        f->memory_bytes += bytes;
}

static void read_end(struct dump_file *f, const struct line *l)
{
    uint64_t lines;

    f->complete = get_u64(l, "lines", UINT64_MAX, &lines);
}

static void read_complete(struct dump_file *f, const struct line *l)
{
    (void)l;
    f->host = true;
}

static const struct {
    const char *kind;
    void (*read)(struct dump_file *f, const struct line *l);
} kinds[] = {
    {"failure", read_failure},
    {"process", read_process},
    {"place", read_place},
    {"job", read_job},
    {"model", read_model},
    {"end_of_run", read_end_of_run},
    {"engine", read_engine},
    {"raise", read_raise},
    {"instr", read_instr},
    {"source", read_source},
    {"operation", read_operation},
    {"ring", read_ring},
    {"transfer", read_transfer},
    {"semaphore", read_semaphore},
    {"event", read_event},
    {"memory", read_memory},
    {"end", read_end},
    {"[complete]", read_complete},
};

static void read_line(struct dump_file *f, const struct line *l)
{
    const struct line kind = {l->at, word_end(l->at, l->end)};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (is_word(&kind, kinds[i].kind)) {
            kinds[i].read(f, l);
            return;
        }
}

void dump_file_parse(const char *bytes, size_t size, struct dump_file *ret)
{
    static const char magic[] = "opennrt-core-dump ";
    const char *p = bytes, *end = bytes + (size < DUMP_BYTES ? size : DUMP_BYTES), *eol;

    memset(ret, 0, sizeof(*ret));
    if ((size_t)(end - p) < sizeof(magic) - 1 || memcmp(p, magic, sizeof(magic) - 1) != 0)
        return;
    for (; p < end && (eol = memchr(p, '\n', (size_t)(end - p))); p = eol + 1) {
        const struct line l = {p, eol};

        if (p == bytes)
            read_head(ret, &l);
        else
            read_line(ret, &l);
    }
}
