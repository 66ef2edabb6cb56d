/* SPDX-License-Identifier: Apache-2.0 */
/* Device profiles of an inspection: models or sessions, to a folder. */
#include "diag/profile_int.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"

static struct on_file *on_file_of(const struct profiler *p, const struct model_seen *s)
{
    for (size_t i = 0; i < p->on_file_count; i++)
        if (p->on_file[i].m == s->model && p->on_file[i].instance == s->instance)
            return &p->on_file[i];
    return NULL;
}

bool profiler_capture_has(const struct profiler *p, const struct model_seen *s)
{
    const struct on_file *f = on_file_of(p, s);

    return f && f->written;
}

/* The run alone, to a file of its own. */
static NRT_STATUS write_run(struct profiler *p, const struct profile_run *run, const char *suffix,
                            struct err *err)
{
    struct profile_doc *doc = profile_doc_new(NULL);
    char hash[PROFILER_HASH_TEXT], path[PROFILER_PATH_BYTES];
    NRT_STATUS status;

    if (!doc)
        return err_set(err, NRT_RESOURCE, "no host memory for a profile");
    profiler_hash_text(model_hash(run->seen->model), hash);
    snprintf(path, sizeof(path), "%s/%s_instid_%u_vnc_%u%s.ntff", p->folder, hash,
             run->seen->instance, run->seen->vnc, suffix);
    profile_doc_add(doc, run);
    status = profile_doc_write(doc, path, false, err);
    profile_doc_free(doc);
    return status;
}

static void tell(struct profiler *p, const struct err *err)
{
    LOGE(p->cfg.log, LOG_NRT, "nrt_profile", "%s", err->text);
}

/* A model's first execution that gets to the file; the log has the first one that does not. */
static void model_run(struct profiler *p, const struct model_seen *s, const struct profile_run *run)
{
    struct on_file *f = on_file_of(p, s);
    bool again = f != NULL;
    struct err err = {0};

    if (!f && mem_grow((void **)&p->on_file, &p->on_file_cap, p->on_file_count + 1,
                       sizeof(*p->on_file))) {
        f = &p->on_file[p->on_file_count++];
        *f = (struct on_file){.m = s->model, .instance = s->instance};
    }
    if (write_run(p, run, "", &err) == NRT_SUCCESS) {
        if (f)
            f->written = true;
    } else if (!again) {
        tell(p, &err);
    }
}

void profiler_capture_run(struct profiler *p, const struct model_seen *s,
                          const struct profile_run *run)
{
    if (p->capture & PROFILER_SESSION && p->session_docs[s->vnc])
        profile_doc_add(p->session_docs[s->vnc], run);
    if (p->capture & PROFILER_MODELS && !profiler_capture_has(p, s))
        model_run(p, s, run);
    if (p->capture & PROFILER_ON_FAIL && s->status != NRT_SUCCESS) {
        struct err err = {0};
        char suffix[48];

        snprintf(suffix, sizeof(suffix), "_failed_%llu", (unsigned long long)s->run);
        if (write_run(p, run, suffix, &err) != NRT_SUCCESS)
            tell(p, &err);
    }
}

void profiler_capture_drop(struct profiler *p)
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
    profiler_room(p, &room);
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
        status = profiler_cores_take(p, 0, p->cfg.vnc_count, err);
    pthread_mutex_lock(&p->lock);
    p->session_docs = docs;
    p->folder = copy;
    p->session = session;
    p->capture = what;
    if (status != NRT_SUCCESS)
        profiler_capture_drop(p);
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_unlock(&p->change);
    return status;
}

NRT_STATUS profiler_capture_write(struct profiler *p, struct err *err)
{
    struct err why = {0};

    pthread_mutex_lock(&p->lock);
    for (uint32_t i = 0; p->capture & PROFILER_SESSION && i < p->cfg.vnc_count; i++) {
        char path[PROFILER_PATH_BYTES];

        snprintf(path, sizeof(path), "%s/profile_nc_%u_session_%d.ntff", p->folder, i, p->session);
        if (profile_doc_count(p->session_docs[i]) > 0)
            (void)profile_doc_write(p->session_docs[i], path, false, &why);
    }
    pthread_mutex_unlock(&p->lock);
    return why.status == NRT_SUCCESS ? NRT_SUCCESS : err_set(err, why.status, "%s", why.text);
}

void profiler_capture_stop(struct profiler *p, bool quiesce)
{
    pthread_mutex_lock(&p->change);
    if (p->capture) {
        pthread_mutex_lock(&p->lock);
        profiler_capture_drop(p);
        pthread_mutex_unlock(&p->lock);
        p->cores_left = true;
    }
    if (quiesce && p->cores_left) {
        profiler_cores_give(p, 0, p->cfg.vnc_count);
        p->cores_left = false;
    }
    pthread_mutex_unlock(&p->change);
}

void profiler_hash_text(const uint8_t *hash, char text[PROFILER_HASH_TEXT])
{
    for (unsigned i = 0; i < (PROFILER_HASH_TEXT - 1) / 2; i++)
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
}
