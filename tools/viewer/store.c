/* SPDX-License-Identifier: Apache-2.0 */
#include "viewer/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

#define NAME_MAX_BYTES 200 /* a folder's name has 255, and there is a suffix */

bool viewer_store_name_good(const char *name)
{
    return name[0] && name[0] != '.' && !strchr(name, '/') && strlen(name) <= NAME_MAX_BYTES;
}

void viewer_store_folder(const char *data, struct strbuf *out)
{
    strbuf_printf(out, "%s/profiles/global", data);
}

void viewer_store_path(const char *data, const char *name, struct strbuf *out)
{
    viewer_store_folder(data, out);
    strbuf_printf(out, "/%s" VIEWER_STORE_SUFFIX, name);
}

bool viewer_store_default(struct strbuf *out)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

    if (data && data[0] == '/')
        strbuf_printf(out, "%s/opennrt/explorer", data);
    else if (home && home[0] == '/')
        strbuf_printf(out, "%s/.local/share/opennrt/explorer", home);
    else
        return false;
    return true;
}

bool viewer_store_begin(const char *data, const char *name, struct strbuf *out)
{
    viewer_store_folder(data, out);
    if (out->failed || !fd_folders_make(out->s)) {
        errno = out->failed ? ENOMEM : errno;
        return false;
    }
    strbuf_printf(out, "/.%s.XXXXXX", name);
    if (out->failed) {
        errno = ENOMEM;
        return false;
    }
    return mkdtemp(out->s) != NULL;
}

void viewer_store_remove(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;

    if (!d) { /* a link is not followed */
        if (fd >= 0)
            (void)close(fd);
        (void)unlink(path);
        return;
    }
    while ((e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(fd, e->d_name, 0);
    (void)closedir(d);
    (void)rmdir(path);
}

/* A file system that has no way to swap names: what is there gets a name that nobody else has, and
 * is gone for a moment. */
static bool move_aside(const char *folder, const char *path, bool replace)
{
    struct strbuf aside = {0};
    struct stat st;
    bool ok;

    if (lstat(path, &st) != 0)
        return errno == ENOENT && rename(folder, path) == 0;
    if (!replace) {
        errno = EEXIST;
        return false;
    }
    strbuf_printf(&aside, "%s.old", folder);
    if (aside.failed)
        errno = ENOMEM;
    ok = !aside.failed && rename(path, aside.s) == 0 && rename(folder, path) == 0;
    if (ok)
        viewer_store_remove(aside.s);
    strbuf_fini(&aside);
    return ok;
}

/* folder gets the name; what had it is removed. */
static bool put_in_place(const char *folder, const char *path, bool replace)
{
    if (renameat2(AT_FDCWD, folder, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return true;
    if (errno == EINVAL)
        return move_aside(folder, path, replace);
    if (errno != EEXIST || !replace)
        return false;
    if (renameat2(AT_FDCWD, folder, AT_FDCWD, path, RENAME_EXCHANGE) == 0) {
        viewer_store_remove(folder);
        return true;
    }
    return errno == EINVAL && move_aside(folder, path, replace);
}

bool viewer_store_end(const char *data, const char *name, const char *folder, bool replace)
{
    struct strbuf path = {0};
    bool ok = chmod(folder, 0755) == 0; /* mkdtemp made it for its owner only */
    int e;

    viewer_store_path(data, name, &path);
    if (path.failed) {
        errno = ENOMEM;
        ok = false;
    }
    ok = ok && put_in_place(folder, path.s, replace);
    e = errno;
    if (!ok)
        viewer_store_remove(folder);
    strbuf_fini(&path);
    errno = e;
    return ok;
}

/* ---- what is kept ---- */

static int is_named(const struct dirent *e)
{
    size_t n = strlen(e->d_name), m = strlen(VIEWER_STORE_SUFFIX);

    return e->d_name[0] != '.' && n > m && strcmp(e->d_name + n - m, VIEWER_STORE_SUFFIX) == 0;
}

/* A folder, and no link to one: nothing else is served. */
static bool is_folder_in(const char *folder, const char *name)
{
    struct strbuf path = {0};
    struct stat st;
    bool is;

    strbuf_printf(&path, "%s/%s", folder, name);
    is = !path.failed && lstat(path.s, &st) == 0 && S_ISDIR(st.st_mode);
    strbuf_fini(&path);
    return is;
}

bool viewer_store_list(const char *data, struct viewer_store_list *ret)
{
    struct strbuf folder = {0};
    struct dirent **entries = NULL;
    bool ok = true;
    int n;

    *ret = (struct viewer_store_list){0};
    viewer_store_folder(data, &folder);
    n = folder.failed ? -1 : scandir(folder.s, &entries, is_named, alphasort);
    if (n < 0)
        ok = !folder.failed && errno == ENOENT;
    for (int i = 0; i < n; i++) {
        char *name = entries[i]->d_name;

        if (!is_folder_in(folder.s, name)) {
            free(entries[i]);
            continue;
        }
        name[strlen(name) - strlen(VIEWER_STORE_SUFFIX)] = '\0';
        if (ok && mem_grow((void **)&ret->names, &ret->cap, ret->count + 1, sizeof(char *)))
            ok = (ret->names[ret->count] = mem_strdup(name)) != NULL && ++ret->count;
        else
            ok = false;
        free(entries[i]);
    }
    free(entries);
    strbuf_fini(&folder);
    return ok;
}

void viewer_store_list_fini(struct viewer_store_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        mem_free(l->names[i]);
    mem_free(l->names);
    *l = (struct viewer_store_list){0};
}
