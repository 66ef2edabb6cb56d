/* SPDX-License-Identifier: Apache-2.0 */
/* The flight recorder of communicators: which records are theirs, and the files that a failure
 * leaves. Every rank writes its own; who is dead or stopped cannot, so the others of its node do,
 * from its core's live page, the one that the failure is about first. A file is made by whoever
 * comes first: its name is the failure's. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/dumpdir.h"
#include "base/fd.h"
#include "base/log.h"
#include "coll/coll_int.h"
#include "net/job.h"

void coll_flight_open(struct coll_comm *c)
{
    const struct topo_group *g = c->cfg.group;
    struct device_flight_group *f = &c->flight;

    *f = (struct device_flight_group){.comm = c->lease, .me = c->me, .n = c->n};
    f->members = c->n < DEVICE_FLIGHT_MEMBERS ? c->n : DEVICE_FLIGHT_MEMBERS;
    for (uint32_t i = 0; i < f->members; i++)
        f->member[i] = g->rank[i];
    device_flight_open(c->cfg.in, c->cfg.core, f);
}

/* ---- the folder ---- */

/* Whose folder it is. */
struct place {
    struct device_instance *in;
    uint64_t epoch, cluster; /* 0: of no job */
    const char *pattern;
};

static struct place place_of(const struct coll_comm *c)
{
    struct net_job *job = c->cfg.job;

    return (struct place){c->cfg.in, job ? net_job_epoch(job) : 0,
                          job ? net_job_cluster_id(job) : 0, c->cfg.flight_dir};
}

/* Its descriptor; -1: *ret_error. dir: its name. These files belong to no run of neuron-dump: their
 * log id is 0. */
static int dir_open(const struct place *w, char dir[DUMPDIR_MAX], int *ret_error)
{
    char instance[DEVICE_NAME_MAX + 16];
    struct dumpdir_names names = {.epoch = w->epoch ? w->epoch : (uint64_t)time(NULL),
                                  .cluster = w->cluster,
                                  .pid = (int)getpid(),
                                  .tid = (int)gettid(),
                                  .instance = instance};
    int fd = -1;

    snprintf(instance, sizeof(instance), "opennrt-%s", device_instance_name(w->in));
    *ret_error = ENAMETOOLONG;
    if (!dumpdir_expand(w->pattern, &names, dir, DUMPDIR_MAX))
        return -1;
    fd = dumpdir_open(dir);
    *ret_error = fd < 0 ? errno : 0;
    return fd;
}

/* ---- files ---- */

static bool write_line(int fd, const char *text)
{
    return fd_write_all(fd, text, strlen(text)) && fd_write_all(fd, "\n", 1);
}

static bool write_head(const struct coll_comm *c, uint32_t r, int fd)
{
    char line[ERR_TEXT_MAX + 200];

    snprintf(line, sizeof(line),
             "opennrt flight records, 1\nrank %u, core %u of instance %s\nwritten by rank %u, pid "
             "%d%s\nfailure: %s\nlast operations, newest first:",
             c->cfg.group->rank[r], c->peers[r].core, device_instance_name(c->cfg.in),
             c->cfg.group->rank[c->me], (int)getpid(),
             r == c->me ? "" : ", for one that is gone or stands still", c->err.text);
    return write_line(fd, line);
}

/* Whether a record of this communicator is there: the core of a dead rank may have a new owner. */
static bool records_are_its(const struct coll_comm *c, const struct device_flights *log)
{
    struct device_flight_view v;

    for (unsigned back = 0; back < DEVICE_FLIGHTS; back++)
        if (device_flight_read(log, back, &v) && v.comm == c->lease)
            return true;
    return false;
}

static bool write_log(const struct device_flights *log, int fd)
{
    char line[DEVICE_FLIGHT_TEXT];
    struct device_flight_view v;
    bool ok = true;

    for (unsigned back = 0; back < DEVICE_FLIGHTS && ok; back++) {
        if (!device_flight_read(log, back, &v))
            continue;
        device_flight_text(&v, line, sizeof(line));
        ok = write_line(fd, line);
    }
    return ok;
}

static bool write_records(const struct coll_comm *c, uint32_t r, int fd)
{
    const struct device_live_page *page = device_live(c->cfg.in, c->peers[r].core);

    if (!page || !records_are_its(c, &page->flights))
        return write_line(fd, "(none: it has not begun any, or its core has a new owner)");
    return write_log(&page->flights, fd);
}

/* -1 with errno EEXIST: somebody has written it. */
static int file_make(struct device_instance *in, int dir, uint32_t core, uint32_t rank,
                     uint64_t comm, uint64_t seq)
{
    uint32_t per = device_topo(in)->cores_per_device;
    char name[160];

    snprintf(name, sizeof(name),
             "opennrt-%s-nd%u-nc%u-rank-%u-comm-%" PRIu64 "-op-%" PRIu64 ".flight",
             device_instance_name(in), core / per, core % per, rank, comm, seq);
    return fd_keep(openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
}

/* What rank r of this node did last. *ret_error: errno; 0: done, by us or by another rank. */
static void write_file(const struct coll_comm *c, int dir, uint32_t r, int *ret_error)
{
    int fd = file_make(c->cfg.in, dir, c->peers[r].core, c->cfg.group->rank[r], c->lease, c->seq);

    if (fd < 0) {
        *ret_error = errno == EEXIST ? 0 : errno;
        return;
    }
    *ret_error = write_head(c, r, fd) && write_records(c, r, fd) ? 0 : errno;
    close(fd);
}

/* The culprit, which may not be able to write for itself, then the own, then for who is gone. One
 * look at all of them: when it cannot tell who lives, nobody is taken for dead. */
static int write_files(struct coll_comm *c, int dir, uint32_t culprit)
{
    bool known = device_lease_look(c->cfg.in, c->lease, c->near_slot, c->near_count, c->near_live,
                                   NULL) == NRT_SUCCESS;
    int error = 0, e = 0;

    if (culprit < c->n && coll_near(c, culprit))
        write_file(c, dir, culprit, &error);
    if (culprit != c->me)
        write_file(c, dir, c->me, &e);
    error = error ? error : e;
    for (uint32_t y = 0; known && y < c->near_count && !error; y++)
        if (!c->near_live[y] && c->near[y] != culprit && c->near[y] != c->me)
            write_file(c, dir, c->near[y], &error);
    return error;
}

void coll_flight_fail(struct coll_comm *c, uint32_t culprit)
{
    const uint32_t *rank = c->cfg.group->rank;
    struct place place = place_of(c);
    char dir[DUMPDIR_MAX];
    int fd, error;

    if (c->run->plan)
        device_flight_end(&c->flying, c->run->steps, (uint32_t)c->status,
                          culprit < c->n ? rank[culprit] : rank[c->me]);
    if (!c->cfg.flight_dir || !c->cfg.flight_dir[0] || !c->lease)
        return;
    fd = dir_open(&place, dir, &error);
    if (fd >= 0)
        error = write_files(c, fd, culprit);
    if (fd >= 0)
        close(fd);
    if (error && c->cfg.log)
        LOGW(c->cfg.log, LOG_NRT, "coll_flight", "flight records were not written to %s: %s",
             c->cfg.flight_dir, strerror(error));
    else if (c->cfg.log)
        LOGI(c->cfg.log, LOG_NRT, "coll_flight", "flight records are in %s", dir);
}

/* ---- of a process that is gone ---- */

/* The operation that was under way. */
static bool flight_open(const struct device_flights *log, struct device_flight_view *ret)
{
    for (unsigned back = 0; back < DEVICE_FLIGHTS; back++)
        if (device_flight_read(log, back, ret) && !ret->over)
            return true;
    return false;
}

static bool write_dead(struct device_instance *in, uint32_t core, int pid, uint32_t rank, int fd)
{
    char line[256];

    snprintf(
        line, sizeof(line),
        "opennrt flight records, 1\nrank %u, core %u of instance %s\nwritten by pid %d, for one "
        "that is gone\nfailure: process %d has died in an operation\nlast operations, newest "
        "first:",
        rank, core, device_instance_name(in), (int)getpid(), pid);
    return write_line(fd, line) && write_log(&device_live(in, core)->flights, fd);
}

void coll_flight_dead(struct device_instance *in, uint32_t core, int pid, const char *pattern,
                      struct log *log)
{
    const struct device_live_page *page = device_live(in, core);
    struct place place = {in, 0, 0, pattern};
    struct device_flight_view v;
    char dir[DUMPDIR_MAX];
    uint32_t rank;
    int fd, error;

    if (!pattern || !pattern[0] || !page || !flight_open(&page->flights, &v))
        return;
    place.epoch = atomic_load_explicit(&page->job_epoch, memory_order_relaxed);
    place.cluster = atomic_load_explicit(&page->job_cluster, memory_order_relaxed);
    rank = v.me < v.members ? v.member[v.me] : v.me;
    fd = dir_open(&place, dir, &error);
    if (fd >= 0) {
        int file = file_make(in, fd, core, rank, v.comm, v.seq);

        if (file < 0)
            error = errno == EEXIST ? 0 : errno;
        else
            error = write_dead(in, core, pid, rank, file) ? 0 : errno;
        if (file >= 0)
            close(file);
        close(fd);
    }
    if (log && error)
        LOGW(log, LOG_NRT, "coll_flight", "flight records of process %d were not written to %s: %s",
             pid, pattern, strerror(error));
    else if (log)
        LOGI(log, LOG_NRT, "coll_flight", "flight records of process %d are in %s", pid, dir);
}
