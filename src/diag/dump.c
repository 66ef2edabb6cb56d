/* SPDX-License-Identifier: Apache-2.0 */
/* Beginning and end of a dump, and the file of a physical core. */
#include "diag/dump.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/settings.h"
#include "core/core.h"
#include "diag/dump_int.h"
#include "run/run.h"

#define LOAD(field)  atomic_load_explicit(&(field), memory_order_relaxed)
#define AROUND       8  /* records before and after an engine's position */
#define TRANSFER_MAX 64 /* pending transfers that are shown */

extern char **environ;

/* ---- configuration ---- */

static bool copy_env(const char *name, const char *def, char buf[DUMPDIR_MAX])
{
    struct plain p;

    plain_init(&p, buf, DUMPDIR_MAX);
    plain_put(&p, settings_str(name, def));
    return !p.cut;
}

void dump_config_env(struct dump_config *cfg, struct device_instance *in, struct log *log)
{
    const char *dir = settings_str("NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY", NULL);
    const char *s3 = settings_str("NEURON_RT_S3_CORE_DUMP_PREFIX", NULL);

    *cfg = (struct dump_config){.in = in, .log = log, .has_s3 = s3 && s3[0]};
    cfg->off = dir && !dir[0] && s3 && !s3[0];
    if (copy_env("NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY", DUMPDIR_DEFAULT, cfg->dir) &&
        copy_env("NEURON_RT_S3_CORE_DUMP_PREFIX", "", cfg->s3) &&
        copy_env("OPENNRT_NEURON_DUMP", DUMP_TOOL, cfg->tool))
        return;
    LOGW(log, LOG_NRT, "nrt_init",
         "no core dumps: a path of more than %d bytes in NEURON_RT_LOCAL_CORE_DUMP_DIRECTORY, "
         "NEURON_RT_S3_CORE_DUMP_PREFIX or OPENNRT_NEURON_DUMP",
         DUMPDIR_MAX - 1);
    cfg->off = true;
}

bool dump_enabled(const struct dump_config *cfg)
{
    return !cfg->off && access(cfg->tool, X_OK) == 0;
}

void dump_warn(const struct dump *d, const char *what, int error)
{
    if (!d->quick)
        LOGW(d->cfg->log, LOG_NRT, "nrt_core_dump", "core dump %u of process %d: %s: %s", d->log_id,
             d->pid, what, error ? strerror(error) : "does not fit");
}

/* ---- a dump ---- */

static _Atomic uint32_t next_log_id_;

void dump_begin(struct dump *d, uint32_t core)
{
    const struct device_live_page *p = device_live(d->cfg->in, core);
    struct dumpdir_names names;
    struct plain instance;

    d->log_id = atomic_fetch_add(&next_log_id_, 1);
    if (!d->dead) {
        d->pid = (int)getpid();
        d->tid = (int)syscall(SYS_gettid);
    }
    if (p) {
        d->rank = LOAD(p->rank);
        d->world = LOAD(p->world);
        d->cluster = LOAD(p->job_cluster);
        d->epoch = LOAD(p->job_epoch);
    }
    if (d->epoch == 0)
        d->epoch = (uint64_t)time(NULL);
    plain_init(&instance, d->instance, sizeof(d->instance));
    plain_put(&instance, "opennrt-");
    plain_put(&instance, device_instance_name(d->cfg->in));
    names = (struct dumpdir_names){.epoch = d->epoch,
                                   .cluster = d->cluster,
                                   .pid = d->pid,
                                   .tid = d->tid,
                                   .log_id = d->log_id,
                                   .instance = d->instance};
    d->dir_fd = -1;
    if (!dumpdir_expand(d->cfg->dir, &names, d->dir, sizeof(d->dir))) {
        d->dir[0] = '\0';
        dump_warn(d, "the directory's name", 0);
    } else if (d->dir[0]) {
        d->dir_fd = dumpdir_open(d->dir);
        if (d->dir_fd < 0)
            dump_warn(d, d->dir, errno);
    }
}

bool dump_turn(struct dump *d, uint32_t core)
{
    const struct device_live_page *p = device_live(d->cfg->in, core);

    if (!p || LOAD(p->job_cluster) != d->cluster ||
        (d->cluster != 0 && LOAD(p->job_epoch) != d->epoch))
        return false;
    d->rank = LOAD(p->rank);
    d->world = LOAD(p->world);
    return true;
}

void dump_end(struct dump *d)
{
    if (d->dir_fd >= 0)
        close(d->dir_fd);
    d->dir_fd = -1;
}

/* ---- what every file begins with ---- */

/* <instance>-nd<d>-<middle><number>-pid-<pid>-tid-<tid>-lid-<log id> */
void dump_name(const struct dump *d, uint32_t core, const char *middle, uint32_t number,
               struct plain *p)
{
    plain_put(p, d->instance);
    plain_put(p, "-nd");
    plain_u64(p, core / device_topo(d->cfg->in)->cores_per_device, 0);
    plain_put(p, middle);
    plain_u64(p, number, 0);
    plain_put(p, "-pid-");
    plain_i64(p, d->pid);
    plain_put(p, "-tid-");
    plain_i64(p, d->tid);
    plain_put(p, "-lid-");
    plain_u64(p, d->log_id, 0);
}

static void put_uuid(struct dump_out *o, const uint8_t uuid[16])
{
    char text[33];
    struct plain p;

    plain_init(&p, text, sizeof(text));
    plain_bytes(&p, uuid, 16);
    dump_out_text(o, "neff_uuid", text);
}

void dump_head(struct dump_out *o, const struct dump *d, const char *kind, uint32_t core)
{
    uint32_t per = device_topo(d->cfg->in)->cores_per_device;
    char cluster[17];
    struct plain p;

    dump_out_begin(o, "opennrt-core-dump");
    dump_out_u64(o, "version", DUMP_VERSION);
    dump_out_text(o, "of", kind);
    dump_out_end(o);
    dump_out_line(o, "[failure]");
    dump_out_begin(o, "failure");
    dump_out_u64(o, "status", (uint64_t)d->status);
    dump_out_text(o, "name", status_name(d->status));
    dump_out_text(o, "call", d->call);
    if (d->signal)
        dump_out_i64(o, "signal", d->signal);
    if (d->dead)
        dump_out_u64(o, "dead", 1);
    dump_out_text(o, "text", d->text);
    dump_out_end(o);
    dump_out_begin(o, "process");
    dump_out_i64(o, "pid", d->pid);
    dump_out_i64(o, "tid", d->tid);
    dump_out_u64(o, "log_id", d->log_id);
    dump_out_u64(o, "time", (uint64_t)time(NULL));
    if (d->dead)
        dump_out_i64(o, "written_by", (int64_t)getpid());
    dump_out_text(o, "version", OPENNRT_VERSION);
    dump_out_end(o);
    dump_out_begin(o, "place");
    dump_out_text(o, "instance", d->instance);
    dump_out_text(o, "type", device_topo(d->cfg->in)->name);
    dump_out_u64(o, "device", core / per);
    dump_out_u64(o, "nc", core % per);
    dump_out_u64(o, "core", core);
    dump_out_end(o);
    plain_init(&p, cluster, sizeof(cluster));
    plain_hex(&p, d->cluster, 16);
    dump_out_begin(o, "job");
    dump_out_u64(o, "rank", d->rank);
    dump_out_u64(o, "world", d->world);
    dump_out_text(o, "cluster", cluster);
    dump_out_u64(o, "epoch", d->epoch);
    dump_out_end(o);
}

/* ---- sections of a core's file ---- */

/* How long ago that was; now: the same for all that a file tells. */
static void put_since(struct dump_out *o, uint64_t now_us, uint64_t since_us)
{
    dump_out_u64(o, "since_us", now_us > since_us ? now_us - since_us : 0);
}

static void put_model(struct dump_out *o, const struct dump *d, const struct device_live_page *p,
                      uint64_t now_us)
{
    dump_out_begin(o, "model");
    dump_out_u64(o, "id", LOAD(p->last_neff));
    dump_out_text(o, "neff_name", d->neff_name);
    put_uuid(o, d->neff_uuid);
    dump_out_u64(o, "executions", LOAD(p->op_seq));
    dump_out_u64(o, "running", LOAD(p->neff) != DEVICE_NONE);
    put_since(o, now_us, LOAD(p->since_us));
    dump_out_end(o);
}

static const char *end_name(enum core_end end)
{
    static const char *const name[] = {
        [CORE_END_DONE] = "done",           [CORE_END_HANG] = "hang",
        [CORE_END_TIMEOUT] = "timeout",     [CORE_END_OOB] = "out of bounds",
        [CORE_END_FAULT] = "fault",         [CORE_END_CHECK] = "check",
        [CORE_END_CANCELLED] = "cancelled", [CORE_END_STALL] = "stall",
        [CORE_END_OUTSIDE] = "collective"};

    return (unsigned)end < sizeof(name) / sizeof(name[0]) ? name[end] : "?";
}

/* How the run ended, and at which engine. */
static void put_report(struct dump_out *o, const struct model_failure *f)
{
    const struct core_report *r = f->report;

    if (!r || r->core >= f->count || r->engine >= ISA_ENGINES)
        return;
    dump_out_begin(o, "end_of_run");
    dump_out_text(o, "end", end_name(r->end));
    dump_out_u64(o, "core", f->core[r->core].index);
    dump_out_text(o, "engine", isa_engine_name(r->engine));
    dump_out_u64(o, "record", r->record);
    dump_out_u64(o, "device_ns", r->stats.device_ns);
    dump_out_u64(o, "records", r->stats.records);
    dump_out_end(o);
}

static void put_engine(struct dump_out *o, const struct device_live_engine *l, unsigned e,
                       uint64_t records, uint64_t now_us)
{
    static const char *const kinds[] = {[DEVICE_WAIT_SEMAPHORE] = "semaphore>=",
                                        [DEVICE_WAIT_SEMAPHORE_EQUAL] = "semaphore==",
                                        [DEVICE_WAIT_EVENT] = "event=="};
    uint32_t kind = LOAD(l->wait_kind);
    const struct isa_op_info *op = isa_op_info(LOAD(l->opcode)); /* the core may run on */

    dump_out_begin(o, "engine");
    dump_out_text(o, "name", isa_engine_name(e));
    dump_out_u64(o, "record", LOAD(l->pc));
    if (op)
        dump_out_text(o, "op", op->name);
    dump_out_u64(o, "records", records);
    dump_out_u64(o, "retired", LOAD(l->retired));
    dump_out_u64(o, "ended", LOAD(l->ended) != 0);
    if (!LOAD(l->ended) && kind < sizeof(kinds) / sizeof(kinds[0]) && kinds[kind]) {
        dump_out_text(o, "waits", kinds[kind]);
        dump_out_u64(o, "id", LOAD(l->wait_id));
        dump_out_i64(o, "wanted", LOAD(l->wait_value));
        dump_out_i64(o, "value", LOAD(l->wait_have));
        put_since(o, now_us, LOAD(l->since_us));
    }
    dump_out_end(o);
}

static void put_source(struct dump_out *o, const struct neff_subgraph *sg, unsigned engine,
                       uint64_t number)
{
    const struct neff_debug_record *at;

    if (!sg || engine >= NEFF_ENGINE_COUNT || number >= sg->engines[engine].debug_count)
        return;
    at = &sg->engines[engine].debug[number];
    dump_out_begin(o, "source");
    dump_out_text(o, "engine", isa_engine_name(engine));
    dump_out_u64(o, "record", number);
    if (at->file)
        dump_out_text(o, "file", at->file);
    dump_out_u64(o, "line", at->line);
    if (at->label)
        dump_out_text(o, "label", at->label);
    if (at->op)
        dump_out_text(o, "op", at->op);
    dump_out_end(o);
}

/* The instruction buffer around an engine's position. */
static void put_instructions(struct dump_out *o, const struct dump_code *code,
                             const struct neff_subgraph *sg, unsigned engine, uint64_t pc)
{
    uint64_t i = pc > AROUND ? pc - AROUND : 0;
    struct isa_record r;

    for (; i <= pc + AROUND && dump_code_get(code, engine, i, &r); i++) {
        dump_out_begin(o, "instr");
        dump_out_text(o, "engine", isa_engine_name(engine));
        dump_out_u64(o, "record", i);
        plain_put(&o->line, " bytes=");
        plain_bytes(&o->line, &r, sizeof(r));
        dump_out_end(o);
        put_source(o, sg, engine, i);
    }
}

static void put_semaphores(struct dump_out *o, const struct device_live_page *p)
{
    for (unsigned i = 0; i < DEVICE_SEMS; i++) {
        int32_t v = LOAD(p->sems[i]);

        if (v == 0)
            continue;
        dump_out_begin(o, "semaphore");
        dump_out_u64(o, "id", i);
        dump_out_i64(o, "value", v);
        dump_out_end(o);
    }
    for (unsigned i = 0; i < DEVICE_SEMS; i++) {
        if (!(LOAD(p->events[i / 32]) >> i % 32 & 1))
            continue;
        dump_out_begin(o, "event");
        dump_out_u64(o, "id", i);
        dump_out_end(o);
    }
}

static void put_rings(struct dump_out *o, const struct device_live_page *p,
                      const struct model_failure *f, unsigned at)
{
    if (f && f->report) {
        core_dump_rings(f->core[0].core, f->core[at].program, TRANSFER_MAX, dump_out_line, o);
        return;
    }
    for (unsigned q = 0; q < DEVICE_RINGS; q++) {
        if (LOAD(p->ring_head[q]) == 0)
            continue;
        dump_out_begin(o, "ring");
        dump_out_u64(o, "number", q);
        dump_out_u64(o, "head", LOAD(p->ring_head[q]));
        dump_out_u64(o, "tail", LOAD(p->ring_tail[q]));
        dump_out_end(o);
    }
}

static void put_memory(struct dump_out *o, const struct dump *d, uint32_t core)
{
    struct device_usage use;

    if (d->quick || device_usage_core(d->cfg->in, core, &use) != NRT_SUCCESS)
        return;
    for (unsigned c = 0; c < DEVICE_CAT_COUNT; c++) {
        dump_out_begin(o, "memory");
        dump_out_text(o, "category", device_cat_name((enum device_cat)c));
        dump_out_u64(o, "bytes", use.bytes[c]);
        dump_out_end(o);
    }
}

/* The key of a job is nobody's business. */
static void put_environment(struct dump_out *o, const struct dump *d)
{
    static const char key[] = "OPENNRT_JOB_KEY=";

    for (char **e = environ; !d->dead && e && *e; e++) {
        if ((strncmp(*e, "NEURON_", 7) != 0 && strncmp(*e, "OPENNRT_", 8) != 0) ||
            strncmp(*e, key, sizeof(key) - 1) == 0)
            continue;
        dump_out_begin(o, "env");
        dump_out_text(o, "set", *e);
        dump_out_end(o);
    }
}

/* Who changes what the engines wait for: this core, and the other one of its logical core. */
static void put_raises(struct dump_out *o, const struct dump *d, uint32_t core,
                       const struct dump_code *code, const struct model_failure *f, unsigned at)
{
    struct device_instance *in = d->cfg->in;
    unsigned lnc = f ? f->count : device_lnc(in);
    uint32_t other = core ^ 1;
    struct dump_code theirs;
    struct dump_raiser from[2] = {{.core = core,
                                   .code = code,
                                   .sg = f ? f->core[at].sg : NULL,
                                   .page = device_live(in, core)}};
    unsigned n = 1;

    if (lnc == 2 && device_live(in, other)) {
        dump_code_open(&theirs, in, device_live(in, other), d->quick);
        from[n++] = (struct dump_raiser){.core = other,
                                         .peer = true,
                                         .code = &theirs,
                                         .sg = f ? f->core[1 - at].sg : NULL,
                                         .page = device_live(in, other)};
    }
    dump_raises(o, device_live(in, core), from, n);
    if (n > 1)
        dump_code_close(&theirs);
}

static void put_core(struct dump_out *o, const struct dump *d, uint32_t core,
                     const struct device_live_page *p, const struct model_failure *f, unsigned at)
{
    const struct neff_subgraph *sg = f ? f->core[at].sg : NULL;
    uint64_t now_us = run_now_ns() / 1000;
    struct dump_code code;

    dump_head(o, d, "core", core);
    put_model(o, d, p, now_us);
    if (f)
        put_report(o, f);
    dump_code_open(&code, d->cfg->in, p, d->quick);
    dump_out_line(o, "[engines]");
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        if (code.count[e] > 0 || LOAD(p->engine[e].opcode) != 0)
            put_engine(o, &p->engine[e], e, code.count[e], now_us);
    put_raises(o, d, core, &code, f, at);
    dump_out_line(o, "[instr]");
    for (unsigned e = 0; e < ISA_ENGINES; e++)
        put_instructions(o, &code, sg, e, LOAD(p->engine[e].pc));
    dump_code_close(&code);
    dump_out_line(o, "[semaphores]");
    put_semaphores(o, p);
    dump_out_line(o, "[dma]");
    put_rings(o, p, f, at);
    dump_out_line(o, "[memory]");
    put_memory(o, d, core);
    dump_out_line(o, "[env]");
    put_environment(o, d);
}

/* Name and uuid of the model, for the files and for neuron-dump. */
static void name_model(struct dump *d, uint32_t core, const struct device_live_page *p,
                       const struct model_failure *f)
{
    struct device_neff_info info;
    struct plain name;

    plain_init(&name, d->neff_name, sizeof(d->neff_name));
    if (f) {
        plain_put(&name, model_name(f->model));
        memcpy(d->neff_uuid, f->uuid, sizeof(d->neff_uuid));
        return;
    }
    for (uint32_t i = 0; i < device_neff_count(d->cfg->in); i++) {
        if (!device_neff_get(d->cfg->in, i, &info) || info.core != core ||
            info.id != LOAD(p->last_neff))
            continue;
        info.name[sizeof(info.name) - 1] = '\0';
        plain_init(&name, d->neff_name, sizeof(d->neff_name));
        plain_put(&name, info.name);
        memcpy(d->neff_uuid, info.uuid, sizeof(d->neff_uuid));
    }
}

void dump_core(struct dump *d, uint32_t core, const struct model_failure *f, unsigned at)
{
    const struct device_live_page *p = device_live(d->cfg->in, core);
    char text[256];
    struct plain name;
    struct dump_out o;
    bool ok;

    if (!p)
        return;
    name_model(d, core, p, f);
    if (d->dir_fd < 0)
        return;
    plain_init(&name, text, sizeof(text));
    dump_name(d, core, "-nc", core % device_topo(d->cfg->in)->cores_per_device, &name);
    ok = dump_out_open(&o, d->dir_fd, text);
    if (ok) {
        put_core(&o, d, core, p, f, at);
        ok = dump_out_close(&o);
    }
    if (!ok)
        dump_warn(d, text, errno);
    dump_cc(d, core);
}
