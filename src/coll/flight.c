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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "coll/coll_int.h"
#include "net/job.h"

#define DIR_MAX 512

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

/* "2026-11-28-12-00": of the job's first barrier, else now. */
static void date_text(const struct coll_comm *c, char *buf, size_t size)
{
    time_t t = c->cfg.job ? (time_t)net_job_epoch(c->cfg.job) : time(NULL);
    struct tm tm = {0};

    localtime_r(&t, &tm);
    if (strftime(buf, size, "%Y-%m-%d-%H-%M", &tm) == 0)
        buf[0] = '\0';
}

/* What stands for %<letter>; false: nothing does. */
static bool letter_text(const struct coll_comm *c, char letter, char *buf, size_t size)
{
    switch (letter) {
    case 'd':
        date_text(c, buf, size);
        return true;
    case 'c':
        snprintf(buf, size, "%016" PRIx64, c->cfg.job ? net_job_cluster_id(c->cfg.job) : 0);
        return true;
    case 'p':
        snprintf(buf, size, "%d", (int)getpid());
        return true;
    case 't':
        snprintf(buf, size, "%ld", syscall(SYS_gettid));
        return true;
    case 'l':
        snprintf(buf, size, "0"); /* core dumps number their logs; these files belong to none */
        return true;
    case 'i':
        snprintf(buf, size, "opennrt-%s", device_instance_name(c->cfg.in));
        return true;
    default:
        return false;
    }
}

/* The folder's name; false: it does not fit. */
static bool dir_name(const struct coll_comm *c, char dir[DIR_MAX])
{
    size_t n = 0;

    for (const char *p = c->cfg.flight_dir; *p; p++) {
        char text[96] = {*p};

        if (*p == '%' && letter_text(c, p[1], text, sizeof(text)))
            p++;
        if (strlen(text) >= DIR_MAX - n)
            return false;
        strcpy(dir + n, text);
        n += strlen(text);
    }
    return n > 0;
}

/* Makes the folders on the way, as `mkdir -p` does. */
static bool dir_make(char *dir)
{
    for (char *p = dir + 1;; p++) {
        char was = *p;

        if (was != '/' && was != '\0')
            continue;
        *p = '\0';
        if (mkdir(dir, 0755) != 0 && errno != EEXIST)
            return false;
        *p = was;
        if (was == '\0')
            return true;
    }
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

static bool write_records(const struct coll_comm *c, uint32_t r, int fd)
{
    const struct device_live_page *page = device_live(c->cfg.in, c->peers[r].core);
    char line[DEVICE_FLIGHT_TEXT];
    struct device_flight_view v;
    bool ok = true;

    if (!page || !records_are_its(c, &page->flights))
        return write_line(fd, "(none: it has not begun any, or its core has a new owner)");
    for (unsigned back = 0; back < DEVICE_FLIGHTS && ok; back++) {
        if (!device_flight_read(&page->flights, back, &v))
            continue;
        device_flight_text(&v, line, sizeof(line));
        ok = write_line(fd, line);
    }
    return ok;
}

/* What rank r of this node did last. *ret_error: errno; 0: done, by us or by another rank. */
static void write_file(const struct coll_comm *c, int dir, uint32_t r, int *ret_error)
{
    uint32_t core = c->peers[r].core, per = device_topo(c->cfg.in)->cores_per_device;
    char name[160];
    int fd;

    snprintf(name, sizeof(name),
             "opennrt-%s-nd%u-nc%u-rank-%u-comm-%" PRIu64 "-op-%" PRIu64 ".flight",
             device_instance_name(c->cfg.in), core / per, core % per, c->cfg.group->rank[r],
             c->lease, c->seq);
    fd = fd_keep(openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
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
    char dir[DIR_MAX];
    int fd = -1, error = ENAMETOOLONG;

    if (c->run->plan)
        device_flight_end(&c->flying, c->run->steps, (uint32_t)c->status,
                          culprit < c->n ? rank[culprit] : rank[c->me]);
    if (!c->cfg.flight_dir || !c->cfg.flight_dir[0] || !c->lease)
        return;
    if (dir_name(c, dir)) {
        error = 0;
        if (dir_make(dir))
            fd = fd_keep(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        error = fd < 0 ? errno : write_files(c, fd, culprit);
    }
    if (fd >= 0)
        close(fd);
    if (error && c->cfg.log)
        LOGW(c->cfg.log, LOG_NRT, "coll_flight", "flight records were not written to %s: %s",
             c->cfg.flight_dir, strerror(error));
    else if (c->cfg.log)
        LOGI(c->cfg.log, LOG_NRT, "coll_flight", "flight records are in %s", dir);
}
