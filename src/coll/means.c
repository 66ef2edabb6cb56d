/* SPDX-License-Identifier: Apache-2.0 */
#include "coll/means.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/settings.h"
#include "kernel/kernel.h"

/* ---- where, and for whom ---- */

bool means_path(char *ret, size_t size)
{
    const char *path = settings_str("OPENNRT_TUNE", ""), *dir = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    int n;

    if (strcmp(path, "0") == 0)
        return false;
    if (path[0])
        n = snprintf(ret, size, "%s", path);
    else if (dir && dir[0] == '/')
        n = snprintf(ret, size, "%s/opennrt/tune", dir);
    else if (home && home[0] == '/')
        n = snprintf(ret, size, "%s/.cache/opennrt/tune", home);
    else
        return false;
    return n > 0 && (size_t)n < size;
}

static void cpu_model(char *ret, size_t size)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256];

    snprintf(ret, size, "unknown");
    while (f && fgets(line, sizeof(line), f)) {
        char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) == 0 && colon && colon[1]) {
            colon[strcspn(colon, "\n")] = 0;
            snprintf(ret, size, "%.90s", colon + 2);
            break;
        }
    }
    if (f)
        fclose(f);
}

void means_host(char *ret, size_t size)
{
    char model[96];

    cpu_model(model, sizeof(model));
    snprintf(ret, size, "%s, %ld CPUs, %s, opennrt %s", model, sysconf(_SC_NPROCESSORS_ONLN),
             kernel_host_name(), OPENNRT_VERSION);
    for (char *p = ret; *p; p++) /* what a line of the table can hold */
        if (*p < 0x20 || *p > 0x7e || *p == '#')
            *p = '?';
}

/* ---- reading ---- */

static NRT_STATUS file_check(int fd, const char *path, size_t *ret_size, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_set(err, NRT_FAILURE, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, NRT_INVALID, "%s is no plain file", path);
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return err_set(err, NRT_INVALID, "%s belongs to or may be written by another user", path);
    if (st.st_size < 0 || st.st_size > (off_t)SCHED_TUNE_TEXT_MAX)
        return err_set(err, NRT_INVALID, "%s is longer than any table", path);
    *ret_size = (size_t)st.st_size;
    return NRT_SUCCESS;
}

/* Bytes until the end or until `size`; a file that shrinks meanwhile gives fewer. */
static ssize_t read_some(int fd, char *buf, size_t size)
{
    size_t at = 0;

    while (at < size) {
        ssize_t n = read(fd, buf + at, size - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    return (ssize_t)at;
}

NRT_STATUS means_read(const char *path, struct sched_tuning *ret, char **ret_text, struct err *err)
{
    int fd = fd_keep(open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    size_t size = 0;
    char *text = NULL;
    ssize_t got;
    NRT_STATUS st;

    if (fd < 0)
        return err_set(err, errno == ELOOP ? NRT_INVALID : NRT_FAILURE, "%s: %s", path,
                       strerror(errno));
    st = file_check(fd, path, &size, err);
    if (!st && !(text = mem_alloc(size + 1)))
        st = err_set(err, NRT_RESOURCE, "no memory for %s", path);
    if (!st && (got = read_some(fd, text, size)) < 0)
        st = err_set(err, NRT_INVALID, "%s: %s", path, strerror(errno));
    if (!st) {
        struct err why = {0};

        text[got] = 0;
        st = sched_tuning_parse(text, (size_t)got, ret, &why);
        if (st)
            err_set(err, st, "%s: %s", path, why.text);
    }
    close(fd);
    if (!st && ret_text)
        *ret_text = text;
    else
        mem_free(text);
    return st;
}

bool means_load(struct sched_tuning *ret, const struct diag_sink *sink)
{
    char path[4096], host[SCHED_TUNE_HOST_MAX];
    struct err err = {0};
    NRT_STATUS st;

    if (!means_path(path, sizeof(path))) {
        sched_tuning_default(ret);
        return false;
    }
    st = means_read(path, ret, NULL, &err);
    if (!st && ret->host[0]) {
        means_host(host, sizeof(host));
        if (strcmp(host, ret->host) != 0)
            st = err_set(&err, NRT_INVALID,
                         "%s was measured on another host (%s; this is %s): run opennrt tune", path,
                         ret->host, host);
    }
    if (!st)
        return true;
    if (st != NRT_FAILURE)
        diag_warn(sink, "%s; the fixed table of means is used", err.text);
    sched_tuning_default(ret);
    return false;
}

/* ---- writing ---- */

/* Every folder of a path; those that exist are fine. */
static bool folders_make(char *path)
{
    for (char *p = path + 1; (p = strchr(p, '/')); p++) {
        int rc;

        *p = 0;
        rc = mkdir(path, 0700);
        *p = '/';
        if (rc != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

#define TEMPORARY_MAX 4160

/* A new file beside path, open; -1: err says why there is none. */
static int temporary_make(const char *path, char ret[TEMPORARY_MAX], struct err *err)
{
    int fd;

    if (snprintf(ret, TEMPORARY_MAX, "%s.XXXXXX", path) >= TEMPORARY_MAX) {
        err_set(err, NRT_FAILURE, "the path is too long");
        return -1;
    }
    if (!folders_make(ret)) {
        err_set(err, NRT_FAILURE, "the folder of %s: %s", path, strerror(errno));
        return -1;
    }
    fd = fd_keep(mkostemp(ret, O_CLOEXEC));
    if (fd < 0)
        err_set(err, NRT_FAILURE, "%s: %s", ret, strerror(errno));
    return fd;
}

NRT_STATUS means_try(const char *path, struct err *err)
{
    char temporary[TEMPORARY_MAX];
    int fd = temporary_make(path, temporary, err);

    if (fd < 0)
        return NRT_FAILURE;
    close(fd);
    unlink(temporary);
    return NRT_SUCCESS;
}

NRT_STATUS means_write(const char *path, const char *text, size_t size, struct err *err)
{
    char temporary[TEMPORARY_MAX];
    int fd = temporary_make(path, temporary, err);
    bool good;

    if (fd < 0)
        return NRT_FAILURE;
    good = fd_write_all(fd, text, size) && fsync(fd) == 0;
    good = close(fd) == 0 && good && rename(temporary, path) == 0;
    if (good)
        return NRT_SUCCESS;
    err_set(err, NRT_FAILURE, "%s: %s", path, strerror(errno));
    unlink(temporary);
    return NRT_FAILURE;
}
