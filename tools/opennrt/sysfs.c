/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt sysfs: the driver's sysfs tree of an instance, mounted, or copied into a folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "opennrt.h"
#include "sysfs_fuse.h"
#include "sysfs_tree.h"

/* ---- a snapshot ---- */

static bool say(const char *path)
{
    fprintf(stderr, "opennrt sysfs: %s: %s\n", path, strerror(errno));
    return false;
}

static bool write_file(int dir, struct sysfs_tree *t, const struct sysfs_entry *e)
{
    char text[SYSFS_TEXT_MAX];
    int fd = openat(dir, e->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, e->mode);
    size_t n;
    bool done;

    if (fd < 0)
        return say(e->path);
    sysfs_read(t, e, text);
    n = strlen(text);
    done = write(fd, text, n) == (ssize_t)n;
    if (close(fd) != 0 || !done)
        return say(e->path);
    return true;
}

static bool write_entry(int dir, struct sysfs_tree *t, const struct sysfs_entry *e)
{
    if (!*e->path)
        return true;
    if (e->kind == SYSFS_DIR)
        return mkdirat(dir, e->path, 0755) == 0 || say(e->path);
    if (e->kind == SYSFS_LINK)
        return symlinkat(e->link, dir, e->path) == 0 || say(e->path);
    return write_file(dir, t, e);
}

/* Whether the entry is the node, in it, or a folder on the way to it. */
static bool belongs(const char *path, const char *node)
{
    size_t p = strlen(path), n = strlen(node), least = p < n ? p : n;
    const char *longer = p < n ? node : path;

    return least == 0 || (strncmp(path, node, least) == 0 && (p == n || longer[least] == '/'));
}

/* A folder comes before what is in it, since the entries are in the order of their paths. */
static bool write_tree(int dir, struct sysfs_tree *t, const char *node)
{
    for (size_t i = 0; i < t->count; i++)
        if (belongs(t->entries[i].path, node) && !write_entry(dir, t, &t->entries[i]))
            return false;
    return true;
}

/* node: "" for the whole tree. */
static int snapshot(const char *path, const char *node)
{
    struct sysfs_tree t;
    struct view v;
    int dir, rc = EXIT_FAILED;

    if (!view_open(&v, "opennrt sysfs"))
        return EXIT_FAILED;
    if (!sysfs_tree_open(&t, &v)) {
        fprintf(stderr, "opennrt sysfs: no memory\n");
    } else if (!sysfs_find(&t, node)) {
        fprintf(stderr, "opennrt sysfs: there is no node %s\n", node);
    } else if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        say(path);
    } else {
        dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            say(path);
        else if (write_tree(dir, &t, node))
            rc = EXIT_OK;
        if (dir >= 0)
            close(dir);
    }
    sysfs_tree_close(&t);
    view_close(&v);
    return rc;
}

/* ---- the command ---- */

#ifdef HAVE_FUSE
static int mount_at(const char *path, bool foreground)
{
    struct stat st;
    bool found = stat(path, &st) == 0;
    struct view v;

    if (found && !S_ISDIR(st.st_mode)) { /* it would be mounted over a file, too */
        errno = ENOTDIR;
        say(path);
        return EXIT_FAILED;
    }
    if (found && sysfs_mounted(st.st_dev)) { /* the second would hide the first */
        fprintf(stderr, "opennrt sysfs: %s: a tree is mounted there; fusermount3 -u ends it\n",
                path);
        return EXIT_FAILED;
    }
    if (!view_open(&v, "opennrt sysfs")) /* says what is wrong while there is somebody to hear */
        return EXIT_FAILED;
    view_close(&v);
    return sysfs_mount(path, foreground);
}
#else
static int mount_at(const char *path, bool foreground)
{
    (void)path;
    (void)foreground;
    fprintf(stderr, "opennrt sysfs: built without libfuse3; --snapshot copies the tree\n");
    return EXIT_FAILED;
}
#endif

int cmd_sysfs(int argc, char **argv)
{
    const char *name = NULL;
    bool foreground = false, copy = false;
    const struct tool_option options[] = {
        {'f', "foreground", NULL, "serve the mount in this process", .flag = &foreground},
        {'s', "snapshot", NULL, "write the tree into DIR, which must be empty or not there",
         .flag = &copy},
        OPTION_INSTANCE(&name)};
    const struct tool t = {
        "opennrt sysfs",
        "[--instance NAME] [--foreground] MOUNTPOINT\n"
        "       opennrt sysfs [--instance NAME] --snapshot DIR [NODE]",
        "Mounts what the Neuron driver shows in /sys/devices/virtual/neuron_device for an\n"
        "instance, or copies it as it is now: all of it, or NODE, as neuron0/neuron_core1.\n"
        "\"fusermount3 -u MOUNTPOINT\" ends the mount.\n",
        options,
        sizeof(options) / sizeof(options[0]),
        .mixed = true};
    int first, rc;

    if (!tool_parse(&t, argc, argv, &first, &rc))
        return rc;
    if (first == argc || argc - first > (copy ? 2 : 1))
        return tool_usage(&t, copy ? "a folder and at most one node are expected"
                                   : "a mount point is expected");
    if (copy && foreground)
        return tool_usage(&t, "a snapshot has no foreground");
    if (name)
        setenv("OPENNRT_INSTANCE", name, 1);
    if (!copy)
        return mount_at(argv[first], foreground);
    return snapshot(argv[first], first + 1 < argc ? argv[first + 1] : "");
}
