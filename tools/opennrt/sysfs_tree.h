/* SPDX-License-Identifier: Apache-2.0 */
/* The sysfs tree of an instance, as behaviour.md section 18 has it: which nodes there are and what
 * they say. It knows of no file system: sysfs_fuse.c mounts it, sysfs.c copies it. */
#ifndef TOOLS_OPENNRT_SYSFS_TREE_H
#define TOOLS_OPENNRT_SYSFS_TREE_H

#include "common/view.h"

#define SYSFS_TEXT_MAX 256 /* of a file, with the NUL */

enum sysfs_kind { SYSFS_DIR, SYSFS_FILE, SYSFS_LINK };

struct sysfs_entry {
    char *path; /* from the root, "" is the root: "neuron0/info/serial_number" */
    enum sysfs_kind kind;
    unsigned mode; /* permissions */
    bool counter;  /* writing clears it, poll tells of changes */
    char link[64]; /* target */
    struct sysfs_source {
        unsigned what; /* enum sysfs_what */
        unsigned which, part;
        uint32_t dev, core;
    } source;
};

struct sysfs_tree {
    struct view *view;
    const struct topo_instance *topo; /* that the entries were made for */
    struct sysfs_entry *entries;      /* by path */
    size_t count, cap;
    int notify[TOPO_MAX_DEVICES]; /* notify_delay: 0 on, -1 off; of this tree alone */
    bool failed;
};

/* The view is the caller's, open, for the tree's life. False: no memory. */
bool sysfs_tree_open(struct sysfs_tree *t, struct view *v);
void sysfs_tree_close(struct sysfs_tree *t);
/* Look at the instance again: it may have come, or have another type, which makes other entries.
 * False: no memory. */
bool sysfs_tree_refresh(struct sysfs_tree *t);

/* NULL: there is none. Valid until the next refresh. */
const struct sysfs_entry *sysfs_find(const struct sysfs_tree *t, const char *path);
/* The child number i of a directory: its entry, and its name within; NULL past the last. */
const struct sysfs_entry *sysfs_child(const struct sysfs_tree *t, const struct sysfs_entry *dir,
                                      size_t *at, const char **ret_name);
/* What a file says now, one line. False: the instance does not answer. */
bool sysfs_read(struct sysfs_tree *t, const struct sysfs_entry *e, char text[SYSFS_TEXT_MAX]);
/* 0, or an errno: EACCES not writable, EINVAL not a value of it, EBUSY the device is in use. */
int sysfs_write(struct sysfs_tree *t, const struct sysfs_entry *e, const char *text, size_t size);

#endif
