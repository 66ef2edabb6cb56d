/* SPDX-License-Identifier: Apache-2.0 */
#include "neuron-ls/lookers.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* Whether the process has the file open. It may end while it is looked at. */
static bool has_open(int pid, const struct stat *file)
{
    char path[64];
    struct dirent *e;
    struct stat sb;
    bool found = false;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    d = opendir(path);
    while (d && !found && (e = readdir(d)) != NULL)
        found = e->d_name[0] != '.' && fstatat(dirfd(d), e->d_name, &sb, 0) == 0 &&
                sb.st_dev == file->st_dev && sb.st_ino == file->st_ino;
    if (d)
        closedir(d);
    return found;
}

static void command_of(int pid, char *buf, size_t size)
{
    char path[64];
    size_t n = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    f = fopen(path, "re");
    if (f) {
        n = fread(buf, 1, size - 1, f);
        fclose(f);
    }
    while (n > 0 && buf[n - 1] == '\0')
        n--;
    buf[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)buf[i] < 0x20)
            buf[i] = ' ';
}

static bool attached(const struct view *v, int pid)
{
    struct device_process p;

    for (uint32_t i = 0; v->in && i < device_slot_count(v->in); i++)
        if (device_process_get(v->in, i, &p) && p.pid == pid && p.live)
            return true;
    return false;
}

static bool add(struct lookers *l, int pid)
{
    if (!mem_grow((void **)&l->l, &l->cap, l->count + 1, sizeof(*l->l)))
        return false;
    l->l[l->count].pid = pid;
    command_of(pid, l->l[l->count].command, sizeof(l->l[0].command));
    l->count++;
    return true;
}

bool lookers_find(const struct view *v, struct lookers *ret)
{
    char path[512];
    struct dirent *e;
    struct stat sb;
    bool ok, there = false;
    DIR *d;

    *ret = (struct lookers){.count = 0};
    ok = add(ret, (int)getpid());
    if (v->in) {
        snprintf(path, sizeof(path), "%s/control", device_instance_dir(v->in));
        there = stat(path, &sb) == 0;
    }
    d = there ? opendir("/proc") : NULL;
    while (d && ok && (e = readdir(d)) != NULL) {
        int pid = atoi(e->d_name); /* 0: not a process */

        if (pid > 0 && pid != (int)getpid() && has_open(pid, &sb) && !attached(v, pid))
            ok = add(ret, pid);
    }
    if (d)
        closedir(d);
    return ok;
}

void lookers_fini(struct lookers *l)
{
    mem_free(l->l);
    l->l = NULL;
}
