/* SPDX-License-Identifier: Apache-2.0 */
/* A model's profile, to a file. */
#include "diag/profile_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

struct target *profiler_target_of(struct profiler *p, const struct model *m)
{
    struct target *t = p->targets;

    while (t && t->m != m)
        t = t->next;
    return t;
}

void profiler_target_free(struct target *t)
{
    profile_doc_free(t->doc);
    mem_free(t->path);
    mem_free(t);
}

static struct target *target_new(struct profiler *p, const struct model *m, const char *path)
{
    struct target *t = mem_zalloc(sizeof(*t));
    struct profile_room room;

    if (!t)
        return NULL;
    profiler_room(p, &room);
    t->m = m;
    t->path = mem_strdup(path);
    t->doc = profile_doc_new(&room);
    if (t->path && t->doc)
        return t;
    profiler_target_free(t);
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

static void target_link(struct profiler *p, struct target *t)
{
    pthread_mutex_lock(&p->lock);
    t->next = p->targets;
    p->targets = t;
    pthread_mutex_unlock(&p->lock);
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
    status = profiler_cores_take(p, model_vnc(m, 0), model_instance_count(m), err);
    if (status != NRT_SUCCESS)
        goto out_free;
    /* Last, since it empties a file that is there. */
    if (!fd_file_write(path, "", 0, false)) {
        status = err_set(err, NRT_INVALID, "%s: %s", path, strerror(errno));
        goto out_give;
    }
    target_link(p, t);
    goto out_unlock;

out_give:
    profiler_cores_give(p, model_vnc(m, 0), model_instance_count(m));
out_free:
    profiler_target_free(t);
out_unlock:
    pthread_mutex_unlock(&p->change);
    return status;
}

/* Out of the list, so that runs add nothing; NULL: it is not there. change is held. */
static struct target *target_unlink(struct profiler *p, const struct model *m, const char *path)
{
    struct target **at = &p->targets, *t;

    pthread_mutex_lock(&p->lock);
    while (*at && !(m ? (*at)->m == m : path && strcmp((*at)->path, path) == 0))
        at = &(*at)->next;
    t = *at;
    if (t)
        *at = t->next;
    pthread_mutex_unlock(&p->lock);
    return t;
}

static void cores_give(struct profiler *p, const struct target *t)
{
    profiler_cores_give(p, model_vnc(t->m, 0), model_instance_count(t->m));
}

struct target *profiler_target_take(struct profiler *p, const struct model *m)
{
    struct target *t = target_unlink(p, m, NULL);

    if (t)
        cores_give(p, t);
    return t;
}

NRT_STATUS profiler_stop(struct profiler *p, const char *path, struct err *err)
{
    struct target *t;
    NRT_STATUS status;

    pthread_mutex_lock(&p->change);
    t = target_unlink(p, NULL, path);
    if (!t) {
        status = err_set(err, NRT_INVALID, "no profile was started for %s", path);
        goto out_unlock;
    }
    status = profile_doc_write(t->doc, path, false, err);
    if (status == NRT_SUCCESS) {
        cores_give(p, t);
        profiler_target_free(t);
    } else {
        target_link(p, t); /* there is another try */
    }

out_unlock:
    pthread_mutex_unlock(&p->change);
    return status;
}
