/* SPDX-License-Identifier: Apache-2.0 */
/* Continuous profiling: the latest execution of each core is kept, and written on demand. */
#include "diag/profile_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"

/* The document of a core's latest execution; change is held. */
NRT_STATUS profiler_last_make(struct profiler *p, uint32_t vnc, struct profile_doc **ret,
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

NRT_STATUS profiler_continuous_start(struct profiler *p, struct err *err)
{
    NRT_STATUS status;

    pthread_mutex_lock(&p->change);
    if (p->continuous)
        status = err_set(err, NRT_FAILURE, "continuous profiling is on already");
    else if (p->capture)
        status = err_set(err, NRT_FAILURE, "inspect records device profiles");
    else
        status = profiler_cores_take(p, 0, p->cfg.vnc_count, err);
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
    char path[PROFILER_PATH_BYTES], hash[PROFILER_HASH_TEXT];

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
        status = profiler_last_make(p, vnc, &doc, err);
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
        profiler_cores_give(p, 0, p->cfg.vnc_count);
    } else {
        status = err_set(err, NRT_FAILURE, "continuous profiling is not on");
    }
    pthread_mutex_unlock(&p->change);
    return status;
}
