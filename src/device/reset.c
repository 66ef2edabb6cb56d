/* SPDX-License-Identifier: Apache-2.0 */
/* Removing an instance, of whatever version: nothing of the control block is read, liveness comes
 * from the slots' lock files. The caller must not be attached itself. */
#include "device/device_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Pid that holds a record lock on the file, 0: nobody. */
static int lock_holder(const char *path)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return 0;
    int rc = fcntl(fd, F_GETLK, &fl);
    close(fd);
    return rc == 0 && fl.l_type != F_UNLCK ? (fl.l_pid ? fl.l_pid : -1) : 0;
}

static void live_pids(const char *dir, char *buf, size_t size)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    buf[0] = 0;
    while (d && (e = readdir(d)) != NULL) {
        char path[2 * CTL_PATH_MAX + 64];
        size_t n = strlen(buf);
        int pid;

        if (strncmp(e->d_name, "slot.", 5) != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        if ((pid = lock_holder(path)) != 0 && n + 16 < size)
            snprintf(buf + n, size - n, "%s%d", n ? " " : "", pid);
    }
    if (d)
        closedir(d);
}

static void remove_matching(const char *dir, const char *prefix)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d && (e = readdir(d)) != NULL) {
        char path[2 * CTL_PATH_MAX + 64];

        if (e->d_name[0] == '.' || strncmp(e->d_name, prefix, strlen(prefix)) != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
}

static NRT_STATUS reset_dir(const char *dir, bool force, struct err *err)
{
    char pids[256], control[CTL_PATH_MAX + 16];
    NRT_STATUS st = paths_dir_check(dir, false, err);

    if (st != NRT_SUCCESS)
        return st;
    live_pids(dir, pids, sizeof(pids));
    if (pids[0] && !force)
        return err_set(err, NRT_FAILURE, "%s is in use by process %s", dir, pids);
    paths_join(control, sizeof(control), dir, "control"); /* first: nobody attaches from here on */
    unlink(control);
    remove_matching(dir, "");
    if (rmdir(dir) != 0)
        return err_set(err, NRT_FAILURE, "cannot remove %s: %s", dir, strerror(errno));
    return NRT_SUCCESS;
}

NRT_STATUS device_instance_reset(const struct device_config *cfg, bool force, bool *ret_removed,
                                 struct err *err)
{
    const char *name = cfg->name ? cfg->name : "default";
    struct device_paths paths;

    *ret_removed = false;
    if (!paths_name_ok(name))
        return err_set(err, NRT_INVALID, "\"%s\" is not an instance name", name);
    NRT_STATUS st = paths_candidates(cfg, &paths, err);
    for (unsigned i = 0; st == NRT_SUCCESS && i < paths.count; i++) {
        char dir[CTL_PATH_MAX];
        struct stat sb;

        st = paths_instance_dir(paths.base[i], name, dir, sizeof(dir), err);
        if (st != NRT_SUCCESS || lstat(dir, &sb) != 0)
            continue;
        st = reset_dir(dir, force, err);
        *ret_removed = *ret_removed || st == NRT_SUCCESS;
    }
    if (st == NRT_SUCCESS && cfg->hbm_dir) {
        char prefix[DEVICE_NAME_MAX + 32];

        snprintf(prefix, sizeof(prefix), "opennrt-%u-%s-", (unsigned)geteuid(), name);
        remove_matching(cfg->hbm_dir, prefix);
    }
    return st;
}
