/* SPDX-License-Identifier: Apache-2.0 */
/* The sysfs tree as a FUSE file system. */
#ifndef TOOLS_OPENNRT_SYSFS_FUSE_H
#define TOOLS_OPENNRT_SYSFS_FUSE_H

#include <stdbool.h>
#include <sys/types.h>

/* Mounts the tree of the instance that the environment names and serves it until it is unmounted or
 * the process is ended; unless `foreground`, the caller's process ends once the tree is there and
 * another serves. Returns the exit code; messages go to standard error. */
int sysfs_mount(const char *mountpoint, bool foreground);
/* Whether what has this device number (st_dev) is such a tree. */
bool sysfs_mounted(dev_t device);

#endif
