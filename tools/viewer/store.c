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

/* It has files only: nobody else knows its name. */
void viewer_store_remove(const char *folder)
{
    DIR *d = opendir(folder);
    const struct dirent *e;

    while (d && (e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        (void)closedir(d);
    (void)rmdir(folder);
}

/* folder and path swap their names, or folder gets it when there is no path. */
static bool put_in_place(const char *folder, const char *path)
{
    if (renameat2(AT_FDCWD, folder, AT_FDCWD, path, RENAME_EXCHANGE) == 0)
        return true;
    return errno == ENOENT && renameat2(AT_FDCWD, folder, AT_FDCWD, path, RENAME_NOREPLACE) == 0;
}

bool viewer_store_end(const char *data, const char *name, const char *folder)
{
    struct strbuf path = {0};
    bool ok = chmod(folder, 0755) == 0; /* mkdtemp made it for its owner only */
    int e;

    viewer_store_path(data, name, &path);
    if (path.failed) {
        errno = ENOMEM;
        ok = false;
    }
    ok = ok && put_in_place(folder, path.s);
    e = errno;
    viewer_store_remove(folder);
    strbuf_fini(&path);
    errno = e;
    return ok;
}

/* ---- what is kept ---- */

static int is_kept(const struct dirent *e)
{
    size_t n = strlen(e->d_name), m = strlen(VIEWER_STORE_SUFFIX);

    return e->d_name[0] != '.' && n > m && strcmp(e->d_name + n - m, VIEWER_STORE_SUFFIX) == 0;
}

bool viewer_store_list(const char *data, struct viewer_store_list *ret)
{
    struct strbuf folder = {0};
    struct dirent **entries = NULL;
    bool ok = true;
    int n;

    *ret = (struct viewer_store_list){0};
    viewer_store_folder(data, &folder);
    n = folder.failed ? -1 : scandir(folder.s, &entries, is_kept, alphasort);
    if (n < 0)
        ok = !folder.failed && errno == ENOENT;
    for (int i = 0; i < n; i++) {
        char *name = entries[i]->d_name;

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
