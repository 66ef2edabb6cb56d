/* SPDX-License-Identifier: Apache-2.0 */
/* Source files below folders that the user names: --framework-source-root, --nki-source-root. The
 * names come from profiles, which may hold anything: a file is read only if it is a regular one
 * that really lies below its root. */
#ifndef VIEWER_SOURCES_H
#define VIEWER_SOURCES_H

#include "base/mem.h"
#include "viewer/views.h"

enum viewer_root { VIEWER_ROOT_NKI, VIEWER_ROOT_FRAMEWORK, VIEWER_ROOTS };

/* Zero-initialise; then the roots. One thread at a time. */
struct viewer_sources {
    char *root[VIEWER_ROOTS]; /* as realpath has it; NULL: not given */
    struct str_map names;     /* of files that were asked for: index in files */
    struct viewer_source_file *files;
    size_t count, cap;
    uint64_t bytes;              /* of all texts that are kept */
    struct viewer_source source; /* of viewer_sources_view */
};
/* False with errno: it is no folder that can be entered. */
bool viewer_sources_root(struct viewer_sources *s, enum viewer_root which, const char *path);
/* For views, as long as s lives where it is; NULL: no root was given. */
const struct viewer_source *viewer_sources_view(struct viewer_sources *s);
void viewer_sources_fini(struct viewer_sources *s);

#endif
