/* SPDX-License-Identifier: Apache-2.0 */
/* FUSE calls sysfs_tree.c. As in sysfs, a file's text is made when it is read from its beginning;
 * an open file remembers it, so that poll can tell whether it changed since. One thread serves;
 * a second one looks at the files that somebody polls, every few milliseconds, since processes that
 * count executions know of no one who waits. It rests while nobody does. */
#define FUSE_USE_VERSION 31

#include "sysfs_fuse.h"

#include <errno.h>
#include <fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "opennrt.h"
#include "sysfs_tree.h"

#define SUBTYPE     "neuron"
#define FILE_SIZE   4096    /* what sysfs says of every file */
#define LOOK_PERIOD 5000000 /* ns */

/* An open file. */
struct open_file {
    struct open_file *next;
    char path[128];
    char text[SYSFS_TEXT_MAX]; /* as it was read last */
    struct fuse_pollhandle *waits;
};

static struct server {
    pthread_mutex_t lock;
    pthread_cond_t some; /* somebody waits, or the end */
    struct view view;
    struct sysfs_tree tree;
    struct open_file *files;
    pthread_t watcher;
    bool ready, watching, end;
    time_t start;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER};

/* With the lock held. The path without its first slash; NULL with *ret_error set. */
static const struct sysfs_entry *entry_of(const char *path, int *ret_error)
{
    const struct sysfs_entry *e;

    *ret_error = -EIO;
    if (!server.ready || !sysfs_tree_refresh(&server.tree))
        return NULL;
    e = sysfs_find(&server.tree, path[0] == '/' ? path + 1 : path);
    *ret_error = e ? 0 : -ENOENT;
    return e;
}

/* ---- files and folders ---- */

static void stat_of(const struct sysfs_entry *e, struct stat *st)
{
    static const mode_t types[] = {
        [SYSFS_DIR] = S_IFDIR, [SYSFS_FILE] = S_IFREG, [SYSFS_LINK] = S_IFLNK};

    memset(st, 0, sizeof(*st));
    st->st_mode = types[e->kind] | e->mode;
    st->st_nlink = e->kind == SYSFS_DIR ? 2 : 1;
    st->st_uid = getuid();
    st->st_gid = getgid();
    st->st_size = e->kind == SYSFS_FILE   ? FILE_SIZE
                  : e->kind == SYSFS_LINK ? (off_t)strlen(e->link)
                                          : 0;
    st->st_atime = st->st_mtime = st->st_ctime = server.start;
}

static int on_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    const struct sysfs_entry *e;
    int rc;

    (void)fi;
    pthread_mutex_lock(&server.lock);
    e = entry_of(path, &rc);
    if (e)
        stat_of(e, st);
    pthread_mutex_unlock(&server.lock);
    return rc;
}

static int on_readlink(const char *path, char *buf, size_t size)
{
    const struct sysfs_entry *e;
    int rc;

    pthread_mutex_lock(&server.lock);
    e = entry_of(path, &rc);
    if (e && e->kind != SYSFS_LINK)
        rc = -EINVAL;
    else if (e)
        snprintf(buf, size, "%s", e->link);
    pthread_mutex_unlock(&server.lock);
    return rc;
}

static int on_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
                      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
    const struct sysfs_entry *dir, *e;
    const char *name;
    struct stat st;
    size_t at = 0;
    int rc;

    (void)off;
    (void)fi;
    (void)flags;
    pthread_mutex_lock(&server.lock);
    dir = entry_of(path, &rc);
    if (dir) {
        fill(buf, ".", NULL, 0, 0);
        fill(buf, "..", NULL, 0, 0);
        while ((e = sysfs_child(&server.tree, dir, &at, &name))) {
            stat_of(e, &st);
            fill(buf, name, &st, 0, 0);
        }
    }
    pthread_mutex_unlock(&server.lock);
    return rc;
}

/* ---- open files ---- */

static struct open_file *file_of(const struct fuse_file_info *fi)
{
    return (struct open_file *)(uintptr_t)fi->fh;
}

static int on_open(const char *path, struct fuse_file_info *fi)
{
    const struct sysfs_entry *e;
    struct open_file *f;
    int rc;

    pthread_mutex_lock(&server.lock);
    e = entry_of(path, &rc);
    f = e ? mem_zalloc(sizeof(*f)) : NULL;
    if (e && !f)
        rc = -ENOMEM;
    if (f) {
        snprintf(f->path, sizeof(f->path), "%s", e->path);
        sysfs_read(&server.tree, e, f->text);
        f->next = server.files;
        server.files = f;
        fi->fh = (uintptr_t)f;
        fi->direct_io = 1; /* what a file says is new each time, and shorter than its size */
    }
    pthread_mutex_unlock(&server.lock);
    return rc;
}

static int on_release(const char *path, struct fuse_file_info *fi)
{
    struct open_file **at = &server.files, *f = file_of(fi);

    (void)path;
    pthread_mutex_lock(&server.lock);
    while (*at && *at != f)
        at = &(*at)->next;
    if (*at)
        *at = f->next;
    pthread_mutex_unlock(&server.lock);
    if (f->waits)
        fuse_pollhandle_destroy(f->waits);
    mem_free(f);
    return 0;
}

static int on_read(const char *path, char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct open_file *f = file_of(fi);
    const struct sysfs_entry *e;
    int rc = 0;

    (void)path;
    pthread_mutex_lock(&server.lock);
    if (off == 0) {
        e = entry_of(f->path, &rc);
        if (e && !sysfs_read(&server.tree, e, f->text))
            rc = -EISDIR;
    }
    if (rc == 0) {
        size_t n = strlen(f->text);

        n = (uint64_t)off < n ? n - (size_t)off : 0;
        rc = (int)(n < size ? n : size);
        memcpy(buf, f->text + (rc ? off : 0), (size_t)rc);
    }
    pthread_mutex_unlock(&server.lock);
    return rc;
}

static int on_write(const char *path, const char *buf, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    const struct sysfs_entry *e;
    int rc;

    (void)path;
    (void)off;
    pthread_mutex_lock(&server.lock);
    e = entry_of(file_of(fi)->path, &rc);
    if (e)
        rc = -sysfs_write(&server.tree, e, buf, size);
    pthread_mutex_unlock(&server.lock);
    return rc ? rc : (int)size;
}

static int on_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    (void)path;
    (void)size;
    (void)fi;
    return 0; /* a shell's > */
}

/* ---- what no program changes: the names, modes and times; refused as by sysfs ---- */

static int on_mknod(const char *path, mode_t mode, dev_t dev)
{
    (void)path;
    (void)mode;
    (void)dev;
    return -EPERM;
}

static int on_mkdir(const char *path, mode_t mode)
{
    (void)path;
    (void)mode;
    return -EPERM;
}

static int on_remove(const char *path)
{
    (void)path;
    return -EPERM;
}

static int on_link(const char *to, const char *path)
{
    (void)to;
    (void)path;
    return -EPERM;
}

static int on_rename(const char *from, const char *to, unsigned flags)
{
    (void)from;
    (void)to;
    (void)flags;
    return -EPERM;
}

static int on_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    (void)path;
    (void)mode;
    (void)fi;
    return -EPERM;
}

static int on_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
    (void)path;
    (void)uid;
    (void)gid;
    (void)fi;
    return -EPERM;
}

static int on_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi)
{
    (void)path;
    (void)times;
    (void)fi;
    return -EPERM;
}

static int on_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    (void)path;
    (void)mode;
    (void)fi;
    return -EACCES;
}

/* ---- waiting ---- */

/* With the lock held: the file says something else than what was read of it last, and its device's
 * notifications are on. */
static bool changed(const struct open_file *f)
{
    char text[SYSFS_TEXT_MAX];
    const struct sysfs_entry *e;
    int rc;

    e = entry_of(f->path, &rc);
    return e && e->counter && server.tree.notify[e->source.dev] == 0 &&
           sysfs_read(&server.tree, e, text) && strcmp(text, f->text) != 0;
}

static int on_poll(const char *path, struct fuse_file_info *fi, struct fuse_pollhandle *ph,
                   unsigned *revents)
{
    struct open_file *f = file_of(fi);

    (void)path;
    pthread_mutex_lock(&server.lock);
    *revents |= POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
    if (changed(f))
        *revents |= POLLERR | POLLPRI;
    if (ph) {
        if (f->waits)
            fuse_pollhandle_destroy(f->waits);
        f->waits = ph;
        pthread_cond_signal(&server.some);
    }
    pthread_mutex_unlock(&server.lock);
    return 0;
}

static bool some_wait(void)
{
    for (const struct open_file *f = server.files; f; f = f->next)
        if (f->waits)
            return true;
    return false;
}

static void *watch(void *arg)
{
    struct timespec period = {.tv_nsec = LOOK_PERIOD};

    (void)arg;
    pthread_mutex_lock(&server.lock);
    while (!server.end) {
        if (!some_wait()) {
            pthread_cond_wait(&server.some, &server.lock);
            continue;
        }
        for (struct open_file *f = server.files; f; f = f->next)
            if (f->waits && changed(f)) {
                fuse_notify_poll(f->waits);
                fuse_pollhandle_destroy(f->waits);
                f->waits = NULL;
            }
        pthread_mutex_unlock(&server.lock);
        nanosleep(&period, NULL);
        pthread_mutex_lock(&server.lock);
    }
    pthread_mutex_unlock(&server.lock);
    return NULL;
}

/* ---- the server ---- */

/* In the process that serves: an observer does not survive a fork. */
static void *on_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
    (void)conn;
    cfg->direct_io = 1;
    cfg->attr_timeout = cfg->entry_timeout = cfg->negative_timeout = 0;
    server.start = time(NULL);
    if (view_open(&server.view, "opennrt sysfs")) {
        server.view.cfg.clear = true;
        view_close(&server.view);
        view_refresh(&server.view);
        server.ready = sysfs_tree_open(&server.tree, &server.view);
    }
    server.watching = pthread_create(&server.watcher, NULL, watch, NULL) == 0;
    return NULL;
}

static void on_destroy(void *data)
{
    (void)data;
    pthread_mutex_lock(&server.lock);
    server.end = true;
    pthread_cond_signal(&server.some);
    pthread_mutex_unlock(&server.lock);
    if (server.watching)
        pthread_join(server.watcher, NULL);
    sysfs_tree_close(&server.tree);
    view_close(&server.view);
}

static const struct fuse_operations operations = {.init = on_init,
                                                  .destroy = on_destroy,
                                                  .getattr = on_getattr,
                                                  .readlink = on_readlink,
                                                  .readdir = on_readdir,
                                                  .open = on_open,
                                                  .release = on_release,
                                                  .read = on_read,
                                                  .write = on_write,
                                                  .truncate = on_truncate,
                                                  .mknod = on_mknod,
                                                  .mkdir = on_mkdir,
                                                  .unlink = on_remove,
                                                  .rmdir = on_remove,
                                                  .symlink = on_link,
                                                  .link = on_link,
                                                  .rename = on_rename,
                                                  .chmod = on_chmod,
                                                  .chown = on_chown,
                                                  .utimens = on_utimens,
                                                  .create = on_create,
                                                  .poll = on_poll};

/* /proc/self/mountinfo: "<id> <parent> <device> <root> <mount point> <options> ... - <type> ..." */
bool sysfs_mounted(dev_t device)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL, number[32];
    size_t room = 0;
    bool found = false;

    snprintf(number, sizeof(number), " %u:%u ", major(device), minor(device));
    while (f && !found && getline(&line, &room, f) > 0)
        found = strstr(line, " - fuse." SUBTYPE " ") && strstr(line, number);
    free(line);
    if (f)
        fclose(f);
    return found;
}

int sysfs_mount(const char *mountpoint, bool foreground)
{
    char name[] = "opennrt", option[] = "-o",
         options[] = "fsname=opennrt,subtype=" SUBTYPE ",default_permissions";
    char *argv[] = {name, option, options, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, argv);
    struct fuse *f = fuse_new(&args, &operations, sizeof(operations), NULL);
    int rc = EXIT_FAILED;

    if (f && fuse_mount(f, mountpoint) == 0) {
        if (fuse_daemonize(foreground) == 0 && fuse_set_signal_handlers(fuse_get_session(f)) == 0) {
            rc = fuse_loop(f) >= 0 ? EXIT_OK : EXIT_FAILED;
            fuse_remove_signal_handlers(fuse_get_session(f));
        }
        fuse_unmount(f);
    } else {
        fprintf(stderr,
                "opennrt sysfs: cannot mount at %s; --snapshot copies the tree where FUSE is not "
                "permitted\n",
                mountpoint);
    }
    if (f)
        fuse_destroy(f);
    fuse_opt_free_args(&args);
    return rc;
}
