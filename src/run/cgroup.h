/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroups of this process, of version 1 and 2. */
#ifndef RUN_CGROUP_H
#define RUN_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

/* Calls group with the folder of every group that the process is in for the controller ("cpu"),
 * from its own up to the root, in both versions. root is the folder that has proc and sys: "" for
 * the machine. What cannot be read is no group. */
void run_cgroup_each(const char *root, const char *controller,
                     void (*group)(void *arg, const char *dir, bool v2), void *arg);

/* The first size - 1 bytes of dir/name as text; false: it cannot be read, or is empty. */
bool run_file_text(const char *dir, const char *name, char *buf, size_t size);

#endif
