/* SPDX-License-Identifier: Apache-2.0 */
/* Who wants a profile, and the records of the cores.
 *
 * A core's record belongs to whoever holds the core: the thread that runs a program on it, or
 * profiler_continuous_save. Everything else is under the profiler's lock. */
#include "diag/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/settings.h"
#include "core/core.h"
#include "device/device.h"
#include "diag/profile_doc.h"
#include "model/model.h"

#define PATH_BYTES (PATH_MAX + 160) /* a folder and a name in it */

/* Profile buffers (behaviour.md 1.2 numbers 27 to 31). */
enum { BUF_EVENT, BUF_DMA, BUF_THROTTLE, BUF_CC_INSTRUCTION, BUF_CC_EVENT, BUF_COUNT };
static const struct {
    const char *name;
    unsigned mb;
} bufs[BUF_COUNT] = {
    [BUF_EVENT] = {"NEURON_RT_PROFILE_BUF_EVENT_MB", 64},
    [BUF_DMA] = {"NEURON_RT_PROFILE_BUF_DMA_MB", 128},
    [BUF_THROTTLE] = {"NEURON_RT_PROFILE_BUF_THROTTLE_MB", 64},
    [BUF_CC_INSTRUCTION] = {"NEURON_RT_PROFILE_BUF_CC_CORE_INSTRUCTION_MB", 64},
    [BUF_CC_EVENT] = {"NEURON_RT_PROFILE_BUF_CC_CORE_EVENT_MB", 64},
};
#define BUF_MB_MAX 65536

struct core_record {
    unsigned users;
    struct device_extent ext[BUF_COUNT]; /* the account of it: the record itself is host memory */
    unsigned have;
    struct time_events rec;
    struct time_keeper times; /* of rec, and of what came before */
    bool seen;                /* rec holds an execution of last */
    struct model_seen last;
    struct profile_doc *kept; /* of the latest one when its model went */
};

/* Of nrt_profile_start. */
struct target {
    struct target *next;
    const struct model *m;
    char *path;
    struct profile_doc *doc;
};

/* A model that a capture has on file already. */
struct on_file {
    const struct model *m;
    uint32_t instance;
};

struct profiler {
    struct profiler_config cfg;
    struct model_watch watch;
    uint64_t room[BUF_COUNT]; /* bytes */
    pthread_mutex_t change;   /* starting and stopping; before lock, and never by a run */
    pthread_mutex_t lock;
    struct core_record *cores;
    unsigned users;
    struct target *targets;
    bool continuous;
    unsigned capture; /* enum profiler_capture */
    char *folder;
    int session;
    struct profile_doc **session_docs; /* [vnc_count], while capture & PROFILER_SESSION */
    struct on_file *on_file;
    size_t on_file_count, on_file_cap;
};

/* ---- the records of the cores ---- */

static void buffers_free(struct profiler *p, struct core_record *c)
{
    while (c->have > 0)
        device_free(p->cfg.in, &c->ext[--c->have], NULL);
    mem_free(c->rec.ev);
    time_keeper_drop(&c->times);
    profile_doc_free(c->kept);
    c->rec = (struct time_events){0};
    c->kept = NULL;
    c->seen = false;
}

static NRT_STATUS buffers_make(struct profiler *p, uint32_t vnc, struct err *err)
{
    struct core_record *c = &p->cores[vnc];

    for (; c->have < BUF_COUNT; c->have++) {
        struct device_alloc a = {.core = device_vnc_core(p->cfg.in, p->cfg.first_vnc + vnc),
                                 .neff = DEVICE_NONE,
                                 .cat = DEVICE_CAT_PROFILER,
                                 .size = p->room[c->have],
                                 .name = "profile"};
        NRT_STATUS status = device_alloc(p->cfg.in, &a, &c->ext[c->have], err);

        if (status != NRT_SUCCESS) {
            buffers_free(p, c);
            return status;
        }
    }
    c->rec.cap = p->room[BUF_EVENT] / sizeof(*c->rec.ev);
    c->rec.ev = mem_calloc(c->rec.cap, sizeof(*c->rec.ev)); /* the host backs what is written */
    if (c->rec.ev)
        return NRT_SUCCESS;
    buffers_free(p, c);
    return err_set(err, NRT_RESOURCE, "no host memory for a profile's events");
}

static void cores_give(struct profiler *p, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        if (--p->cores[i].users > 0)
            continue;
        model_core_hold(p->cfg.host, i);
        pthread_mutex_lock(&p->lock);
        buffers_free(p, &p->cores[i]);
        pthread_mutex_unlock(&p->lock);
        model_core_release(p->cfg.host, i);
    }
    if (--p->users == 0)
        model_host_watch(p->cfg.host, NULL);
}

/* One more who wants the records of these cores; change is held. */
static NRT_STATUS cores_take(struct profiler *p, uint32_t first, uint32_t count, struct err *err)
{
    NRT_STATUS status = NRT_SUCCESS;
    uint32_t n = 0;

    for (; n < count && status == NRT_SUCCESS; n++) {
        uint32_t i = first + n;

        if (p->cores[i].users++ > 0)
            continue;
        pthread_mutex_lock(
            &p->lock); /* a run under way has begun without them, and does not look */
        status = buffers_make(p, i, err);
        pthread_mutex_unlock(&p->lock);
    }
    if (p->users++ == 0 && status == NRT_SUCCESS)
        model_host_watch(p->cfg.host, &p->watch);
    if (status != NRT_SUCCESS)
        cores_give(p, first, n);
    return status;
}

/* ---- what a run is wanted for ---- */

static struct target *target_of(struct profiler *p, const struct model *m)
{
    struct target *t = p->targets;

    while (t && t->m != m)
        t = t->next;
    return t;
}

static bool is_on_file(const struct profiler *p, const struct model_seen *s)
{
    for (size_t i = 0; i < p->on_file_count; i++)
        if (p->on_file[i].m == s->model && p->on_file[i].instance == s->instance)
            return true;
    return false;
}

static struct time_events *run_begin(void *arg, const struct model_seen *s)
{
    struct profiler *p = arg;
    struct core_record *c = &p->cores[s->vnc];
    bool wanted;

    pthread_mutex_lock(&p->lock);
    wanted = c->rec.ev && (p->continuous || target_of(p, s->model) ||
                           p->capture & (PROFILER_SESSION | PROFILER_ON_FAIL) ||
                           (p->capture & PROFILER_MODELS && !is_on_file(p, s)));
    profile_doc_free(c->kept);
    c->kept = NULL;
    c->seen = false;
    pthread_mutex_unlock(&p->lock);
    if (!wanted)
        return NULL;
    c->rec.count = 0;
    c->rec.dropped = 0;
    return &c->rec;
}

static void write_doc(struct profiler *p, struct profile_doc *doc, const char *path)
{
    struct err err = {0};

    if (profile_doc_write(doc, path, false, &err) != NRT_SUCCESS)
        LOGE(p->cfg.log, LOG_NRT, "nrt_profile", "%s", err.text);
}

/* The run alone, to a file of its own. */
static void write_run(struct profiler *p, const struct profile_run *run, const char *suffix)
{
    struct profile_doc *doc = profile_doc_new(NULL);
    char hash[PROFILER_HASH_TEXT], path[PATH_BYTES];

    profiler_hash_text(model_hash(run->seen->model), hash);
    snprintf(path, sizeof(path), "%s/%s_instid_%u_vnc_%u%s.ntff", p->folder, hash,
             run->seen->instance, run->seen->vnc, suffix);
    if (doc) {
        profile_doc_add(doc, run);
        write_doc(p, doc, path);
    }
    profile_doc_free(doc);
}

static void capture_run(struct profiler *p, const struct model_seen *s,
                        const struct profile_run *run)
{
    if (p->capture & PROFILER_SESSION && p->session_docs[s->vnc])
        profile_doc_add(p->session_docs[s->vnc], run);
    if (p->capture & PROFILER_MODELS && !is_on_file(p, s)) {
        if (mem_grow((void **)&p->on_file, &p->on_file_cap, p->on_file_count + 1,
                     sizeof(*p->on_file)))
            p->on_file[p->on_file_count++] = (struct on_file){s->model, s->instance};
        write_run(p, run, "");
    }
    if (p->capture & PROFILER_ON_FAIL && s->status != NRT_SUCCESS) {
        char suffix[48];

        snprintf(suffix, sizeof(suffix), "_failed_%llu", (unsigned long long)s->run);
        write_run(p, run, suffix);
    }
}

static void run_end(void *arg, const struct model_seen *s, const struct time_events *ev)
{
    struct profiler *p = arg;
    struct core_record *c = &p->cores[s->vnc];
    struct profile_run run;
    struct err err = {0};
    struct target *t;
    bool now;

    pthread_mutex_lock(&p->lock);
    t = target_of(p, s->model);
    now = t || p->capture & (PROFILER_SESSION | PROFILER_MODELS) ||
          (p->capture & PROFILER_ON_FAIL && s->status != NRT_SUCCESS);
    if (now && profile_run_make(&run, &c->times, s, ev, &err) != NRT_SUCCESS) {
        LOGE(p->cfg.log, LOG_NRT, "nrt_profile", "an execution is not in the profile: %s",
             err.text);
    } else if (now) {
        if (t)
            profile_doc_add(t->doc, &run);
        if (p->capture)
            capture_run(p, s, &run);
    }
    c->seen = p->continuous;
    c->last = *s;
    pthread_mutex_unlock(&p->lock);
}

/* ---- life ---- */

NRT_STATUS profiler_create(const struct profiler_config *cfg, struct profiler **ret,
                           struct err *err)
{
    struct profiler *p = mem_zalloc(sizeof(*p));

    if (p)
        p->cores = mem_calloc(cfg->vnc_count, sizeof(*p->cores));
    if (!p || !p->cores) {
        mem_free(p);
        return err_set(err, NRT_RESOURCE, "no host memory for the profiler");
    }
    p->cfg = *cfg;
    p->watch = (struct model_watch){.arg = p, .begin = run_begin, .end = run_end};
    for (unsigned i = 0; i < BUF_COUNT; i++)
        p->room[i] = (uint64_t)settings_int(bufs[i].name, bufs[i].mb, 1, BUF_MB_MAX, &cfg->sink)
                     << 20;
    pthread_mutex_init(&p->change, NULL);
    pthread_mutex_init(&p->lock, NULL);
    *ret = p;
    return NRT_SUCCESS;
}

static void target_free(struct target *t)
{
    profile_doc_free(t->doc);
    mem_free(t->path);
    mem_free(t);
}

static void capture_drop(struct profiler *p)
{
    for (uint32_t i = 0; p->session_docs && i < p->cfg.vnc_count; i++)
        profile_doc_free(p->session_docs[i]);
    mem_free(p->session_docs);
    mem_free(p->folder);
    mem_free(p->on_file);
    p->session_docs = NULL;
    p->folder = NULL;
    p->on_file = NULL;
    p->on_file_count = p->on_file_cap = 0;
    p->capture = 0;
}

void profiler_destroy(struct profiler *p)
{
    if (!p)
        return;
    if (p->users > 0)
        model_host_watch(p->cfg.host, NULL);
    while (p->targets) {
        struct target *t = p->targets;

        p->targets = t->next;
        target_free(t);
    }
    capture_drop(p);
    for (uint32_t i = 0; i < p->cfg.vnc_count; i++)
        buffers_free(p, &p->cores[i]);
    mem_free(p->cores);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->change);
    mem_free(p);
}

/* ---- a model's profile ---- */

static void target_room(const struct profiler *p, struct profile_room *ret)
{
    *ret = (struct profile_room){.events = p->room[BUF_EVENT],
                                 .transfers = p->room[BUF_DMA],
                                 .collectives = p->room[BUF_CC_EVENT]};
}

static struct target *target_new(struct profiler *p, const struct model *m, const char *path)
{
    struct target *t = mem_zalloc(sizeof(*t));
    struct profile_room room;

    if (!t)
        return NULL;
    target_room(p, &room);
    t->m = m;
    t->path = mem_strdup(path);
    t->doc = profile_doc_new(&room);
    if (t->path && t->doc)
        return t;
    target_free(t);
    return NULL;
}

static NRT_STATUS target_check(const struct profiler *p, const struct model *m, const char *path,
                               struct err *err)
{
    for (struct target *t = p->targets; t; t = t->next) {
        if (t->m == m)
            return err_set(err, NRT_INVALID, "the model is being profiled, for %s", t->path);
        if (strcmp(t->path, path) == 0)
            return err_set(err, NRT_INVALID, "%s is another profile's file", path);
    }
    return NRT_SUCCESS;
}

/* Whether the file can be written, before anything is taken for it. It stays as it is. */
static NRT_STATUS path_check(const char *path, struct err *err)
{
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX] = ".";

    if (fd >= 0) {
        (void)close(fd);
        return NRT_SUCCESS;
    }
    if (errno != ENOENT)
        return err_set(err, NRT_INVALID, "%s: %s", path, strerror(errno));
    if (slash)
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path + 1), path);
    if (access(folder, W_OK | X_OK) != 0)
        return err_set(err, NRT_INVALID, "%s: %s", path, strerror(errno));
    return NRT_SUCCESS;
}

NRT_STATUS profiler_start(struct profiler *p, const struct model *m, const char *path,
                          struct err *err)
{
    struct target *t;
    NRT_STATUS status;

    pthread_mutex_lock(&p->change);
    status = target_check(p, m, path, err);
    if (status == NRT_SUCCESS)
        status = path_check(path, err);
    if (status != NRT_SUCCESS)
        goto out_unlock;
    t = target_new(p, m, path);
    if (!t) {
        status = err_set(err, NRT_RESOURCE, "no host memory for a profile");
        goto out_unlock;
    }
    status = cores_take(p, model_vnc(m, 0), model_instance_count(m), err);
    if (status != NRT_SUCCESS)
        goto out_free;
    /* Last, since it empties a file that is there. */
    if (!fd_file_write(path, "", 0, false)) {
        status = err_set(err, NRT_INVALID, "%s: %s", path, strerror(errno));
        goto out_give;
    }
    pthread_mutex_lock(&p->lock);
    t->next = p->targets;
    p->targets = t;
    pthread_mutex_unlock(&p->lock);
    goto out_unlock;

out_give:
    cores_give(p, model_vnc(m, 0), model_instance_count(m));
out_free:
    target_free(t);
out_unlock:
    pthread_mutex_unlock(&p->change);
    return status;
}

/* Out of the list; NULL: it is not there. change is held. */
static struct target *target_take(struct profiler *p, const struct model *m, const char *path)
{
    struct target **at = &p->targets, *t;

    pthread_mutex_lock(&p->lock);
    while (*at && !(m ? (*at)->m == m : path && strcmp((*at)->path, path) == 0))
        at = &(*at)->next;
    t = *at;
    if (t)
        *at = t->next;
    pthread_mutex_unlock(&p->lock);
    if (t)
        cores_give(p, model_vnc(t->m, 0), model_instance_count(t->m));
    return t;
}

NRT_STATUS profiler_stop(struct profiler *p, const char *path, struct err *err)
{
    struct target *t;
    NRT_STATUS status;

    pthread_mutex_lock(&p->change);
    t = target_take(p, NULL, path);
    pthread_mutex_unlock(&p->change);
    if (!t)
        return err_set(err, NRT_INVALID, "no profile was started for %s", path);
    status = profile_doc_write(t->doc, path, false, err);
    target_free(t);
    return status;
}

/* The document of a core's latest execution; change is held. */
static NRT_STATUS last_make(struct profiler *p, uint32_t vnc, struct profile_doc **ret,
                            struct err *err)
{
    struct core_record *c = &p->cores[vnc];
    struct profile_run run;
    NRT_STATUS status;

    *ret = profile_doc_new(NULL);
    if (!*ret)
        return err_set(err, NRT_RESOURCE, "no host memory for a profile");
    status = profile_run_make(&run, &c->times, &c->last, &c->rec, err);
    if (status != NRT_SUCCESS) {
        profile_doc_free(*ret);
        *ret = NULL;
        return status;
    }
    profile_doc_add(*ret, &run);
    return NRT_SUCCESS;
}

void profiler_forget(struct profiler *p, const struct model *m)
{
    struct err err = {0};
    struct target *t;

    pthread_mutex_lock(&p->change);
    if (p->users == 0) { /* nobody waits for a core that runs something else */
        pthread_mutex_unlock(&p->change);
        return;
    }
    t = target_take(p, m, NULL);
    if (t) {
        LOGW(p->cfg.log, LOG_NRT, "nrt_unload", "the profile for %s ends without being written",
             t->path);
        target_free(t);
    }
    for (uint32_t i = 0; i < model_instance_count(m); i++) {
        uint32_t vnc = model_vnc(m, i);
        struct core_record *c = &p->cores[vnc];

        model_core_hold(p->cfg.host, vnc);
        if (c->seen && c->last.model == m) {
            c->seen = false;
            (void)last_make(p, vnc, &c->kept, &err);
        }
        time_keeper_drop(&c->times);
        model_core_release(p->cfg.host, vnc);
    }
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->on_file_count; i++)
        if (p->on_file[i].m == m)
            p->on_file[i].m = NULL; /* another model may get its address */
    for (uint32_t i = 0; p->session_docs && i < p->cfg.vnc_count; i++)
        if (p->session_docs[i])
            profile_doc_forget(p->session_docs[i], m);
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->change);
}

/* ---- continuous ---- */

NRT_STATUS profiler_continuous_start(struct profiler *p, struct err *err)
{
    NRT_STATUS status;

    pthread_mutex_lock(&p->change);
    if (p->continuous)
        status = err_set(err, NRT_FAILURE, "continuous profiling is on already");
    else if (p->capture)
        status = err_set(err, NRT_FAILURE, "inspect records device profiles");
    else
        status = cores_take(p, 0, p->cfg.vnc_count, err);
    if (status == NRT_SUCCESS) {
        pthread_mutex_lock(&p->lock);
        p->continuous = true;
        pthread_mutex_unlock(&p->lock);
    }
    pthread_mutex_unlock(&p->change);
    return status;
}

/* To the first free name of the folder. */
static NRT_STATUS save_fresh(struct profile_doc *doc, const char *folder, uint32_t vnc,
                             struct err *err)
{
    char path[PATH_BYTES], hash[PROFILER_HASH_TEXT];

    if (!fd_folders_make(folder))
        return err_set(err, NRT_FAILURE, "%s: %s", folder, strerror(errno));
    profiler_hash_text(profile_doc_hash(doc), hash);
    for (unsigned k = 0; k < 1000000; k++) {
        struct err why = {0};

        if ((size_t)snprintf(path, sizeof(path), "%s/%s_vnc_%u_%u.ntff", folder, hash, vnc, k) >=
            sizeof(path))
            return err_set(err, NRT_FAILURE, "%s: %s", folder, strerror(ENAMETOOLONG));
        if (profile_doc_write(doc, path, true, &why) == NRT_SUCCESS)
            return NRT_SUCCESS;
        if (why.status != NRT_INVALID) /* it is not that the name is taken */
            return err_set(err, why.status, "%s", why.text);
    }
    return err_set(err, NRT_FAILURE, "%s: no name is free", folder);
}

/* The profile of a model that went, which could not be saved: for the next try, unless the core has
 * executed something meanwhile. */
static void keep_again(struct profiler *p, uint32_t vnc, struct profile_doc *doc)
{
    struct core_record *c = &p->cores[vnc];

    model_core_hold(p->cfg.host, vnc);
    if (!c->seen && !c->kept) {
        c->kept = doc;
        doc = NULL;
    }
    model_core_release(p->cfg.host, vnc);
    profile_doc_free(doc);
}

NRT_STATUS profiler_continuous_save(struct profiler *p, uint32_t vnc, const char *folder,
                                    struct err *err)
{
    struct core_record *c = &p->cores[vnc];
    struct profile_doc *doc = NULL;
    NRT_STATUS status = NRT_SUCCESS;
    bool kept = false;

    pthread_mutex_lock(&p->change);
    if (!p->continuous) {
        status = err_set(err, NRT_FAILURE, "continuous profiling is not on");
        goto out_unlock;
    }
    model_core_hold(p->cfg.host, vnc);
    if (c->seen)
        status = last_make(p, vnc, &doc, err);
    if (!c->seen && !c->kept)
        status = err_set(err, NRT_FAILURE, "nothing was executed on core %u yet", vnc);
    if (!c->seen && c->kept) {
        doc = c->kept;
        c->kept = NULL;
        kept = true;
    }
    model_core_release(p->cfg.host, vnc);
    if (status == NRT_SUCCESS)
        status = save_fresh(doc, folder, vnc, err);
    if (kept && status != NRT_SUCCESS) {
        keep_again(p, vnc, doc);
        goto out_unlock;
    }
    profile_doc_free(doc);

out_unlock:
    pthread_mutex_unlock(&p->change);
    return status;
}

NRT_STATUS profiler_continuous_stop(struct profiler *p, struct err *err)
{
    NRT_STATUS status = NRT_SUCCESS;

    pthread_mutex_lock(&p->change);
    if (p->continuous) {
        pthread_mutex_lock(&p->lock);
        p->continuous = false;
        pthread_mutex_unlock(&p->lock);
        cores_give(p, 0, p->cfg.vnc_count);
    } else {
        status = err_set(err, NRT_FAILURE, "continuous profiling is not on");
    }
    pthread_mutex_unlock(&p->change);
    return status;
}

/* ---- inspect ---- */

NRT_STATUS profiler_capture_start(struct profiler *p, unsigned what, const char *folder,
                                  int session, struct err *err)
{
    struct profile_doc **docs;
    struct profile_room room;
    NRT_STATUS status;
    char *copy;

    pthread_mutex_lock(&p->change);
    if (p->continuous || p->capture) {
        pthread_mutex_unlock(&p->change);
        return err_set(err, NRT_FAILURE, "device profiles are being recorded already");
    }
    target_room(p, &room);
    docs = mem_calloc(p->cfg.vnc_count, sizeof(*docs));
    copy = mem_strdup(folder);
    status = docs && copy ? NRT_SUCCESS
                          : err_set(err, NRT_RESOURCE, "no host memory for device profiles");
    for (uint32_t i = 0; i < p->cfg.vnc_count && status == NRT_SUCCESS; i++) {
        docs[i] = profile_doc_new(&room);
        if (!docs[i])
            status = err_set(err, NRT_RESOURCE, "no host memory for device profiles");
    }
    if (status == NRT_SUCCESS)
        status = cores_take(p, 0, p->cfg.vnc_count, err);
    pthread_mutex_lock(&p->lock);
    p->session_docs = docs;
    p->folder = copy;
    p->session = session;
    p->capture = what;
    if (status != NRT_SUCCESS)
        capture_drop(p);
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->change);
    return status;
}

void profiler_capture_stop(struct profiler *p, bool quiesce)
{
    pthread_mutex_lock(&p->change);
    if (!p->capture)
        goto out_unlock;
    pthread_mutex_lock(&p->lock);
    for (uint32_t i = 0; p->capture & PROFILER_SESSION && i < p->cfg.vnc_count; i++) {
        char path[PATH_BYTES];

        snprintf(path, sizeof(path), "%s/profile_nc_%u_session_%d.ntff", p->folder, i, p->session);
        if (profile_doc_count(p->session_docs[i]) > 0)
            write_doc(p, p->session_docs[i], path);
    }
    capture_drop(p);
    pthread_mutex_unlock(&p->lock);
    if (quiesce)
        cores_give(p, 0, p->cfg.vnc_count);

out_unlock:
    pthread_mutex_unlock(&p->change);
}

void profiler_hash_text(const uint8_t *hash, char text[PROFILER_HASH_TEXT])
{
    for (unsigned i = 0; i < (PROFILER_HASH_TEXT - 1) / 2; i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
}
