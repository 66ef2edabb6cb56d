/* SPDX-License-Identifier: Apache-2.0 */
/* Where processed profiles are kept: <data path>/profiles/global/<name>@latest/, as published. */
#ifndef VIEWER_STORE_H
#define VIEWER_STORE_H

#include "base/strbuf.h"

#define VIEWER_STORE_SUFFIX "@latest"

/* A name of one folder that is shown: no '/', no dot in front, not empty and not too long. */
bool viewer_store_name_good(const char *name);
/* The folder of all profiles, and that of one; appended. */
void viewer_store_folder(const char *data, struct strbuf *out);
void viewer_store_path(const char *data, const char *name, struct strbuf *out);
/* The data path of somebody who names none: below XDG_DATA_HOME or HOME; false: neither is set. */
bool viewer_store_default(struct strbuf *out);
/* A new folder beside the one of that name, to be filled. False with errno. */
bool viewer_store_begin(const char *data, const char *name, struct strbuf *out);
/* Puts it in place of the one of that name, at once for those who look. False with errno, EEXIST
 * where there is one and it is not to be replaced; then the new one is removed. A link of that name
 * is replaced, not followed. */
bool viewer_store_end(const char *data, const char *name, const char *folder, bool replace);
/* A folder with files, or what else has that path. */
void viewer_store_remove(const char *path);
/* The names of all profiles that are kept, in order; free with viewer_store_list_fini. False with
 * errno; a folder that is not there has none. */
struct viewer_store_list {
    char **names;
    size_t count, cap;
};
bool viewer_store_list(const char *data, struct viewer_store_list *ret);
void viewer_store_list_fini(struct viewer_store_list *l);

#endif
