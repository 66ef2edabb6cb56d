/* SPDX-License-Identifier: Apache-2.0 */
/* Where an instance's files live: a folder of the user's own, mode 0700, inside /dev/shm, else
 * XDG_RUNTIME_DIR, else /tmp. The name carries the uid, and a folder that somebody else made is
 * refused, so that a shared /tmp is no way in. */
#include "device/device_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool paths_name_ok(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n >= DEVICE_NAME_MAX || name[0] == '.')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static void paths_add(struct device_paths *p, const char *dir)
{
    if (dir && dir[0] == '/' && strlen(dir) < CTL_PATH_MAX - 2 * DEVICE_NAME_MAX)
        snprintf(p->base[p->count++], CTL_PATH_MAX, "%s", dir);
}

NRT_STATUS paths_candidates(const struct device_config *cfg, struct device_paths *ret,
                            struct err *err)
{
    memset(ret, 0, sizeof(*ret));
    if (cfg->dir) {
        paths_add(ret, cfg->dir);
        if (ret->count == 0)
            return err_set(err, NRT_INVALID,
                           "folder \"%s\" is not an absolute path of legal length", cfg->dir);
        return NRT_SUCCESS;
    }
    paths_add(ret, "/dev/shm");
    paths_add(ret, getenv("XDG_RUNTIME_DIR"));
    paths_add(ret, "/tmp");
    return NRT_SUCCESS;
}

NRT_STATUS paths_instance_dir(const char *base, const char *name, char *buf, size_t size,
                              struct err *err)
{
    int n = snprintf(buf, size, "%s/opennrt-%u-%s", base, (unsigned)geteuid(), name);

    if (n < 0 || (size_t)n >= size)
        return err_set(err, NRT_INVALID, "path of instance \"%s\" in %s is too long", name, base);
    return NRT_SUCCESS;
}

void paths_join(char *buf, size_t size, const char *dir, const char *file)
{
    snprintf(buf, size, "%s/%s", dir, file);
}

NRT_STATUS paths_dir_check(const char *dir, bool create, struct err *err)
{
    struct stat st;

    if (create && mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_set(err, NRT_FAILURE, "cannot make folder %s: %s", dir, strerror(errno));
    if (lstat(dir, &st) != 0)
        return err_set(err, NRT_FAILURE, "folder %s: %s", dir, strerror(errno));
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return err_set(err, NRT_FAILURE,
                       "%s is not a folder of this user with mode 0700; remove it or set another "
                       "OPENNRT_INSTANCE name",
                       dir);
    return NRT_SUCCESS;
}
