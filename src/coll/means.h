/* SPDX-License-Identifier: Apache-2.0 */
/* The file of `opennrt tune`: where it lies, for which host it holds, reading and writing it. */
#ifndef COLL_MEANS_H
#define COLL_MEANS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "sched/tune.h"

/* OPENNRT_TUNE, else opennrt/tune in XDG_CACHE_HOME, else .cache/opennrt/tune in HOME. False: none
 * of them is set, or the path does not fit; or OPENNRT_TUNE is "0": the fixed table is wanted. */
bool means_path(char *ret, size_t size);

/* What measurements hold for: processor, CPUs, vector unit, version of the runtime. */
void means_host(char *ret, size_t size);

/* The table of the file. It must be a plain file of this user that nobody else may write, and hold
 * for this host: else, and when it is no table, `sink` is warned and the fixed table returned. So
 * is the fixed table when there is no file. True: the file's. Any thread. */
bool means_load(struct sched_tuning *ret, const struct diag_sink *sink);

/* Reads a file under the same rules, whatever host it is for. *ret_text, unless ret_text is NULL:
 * its bytes, NUL-terminated, for mem_free. NRT_FAILURE: there is no such file; NRT_INVALID: the
 * text says what is wrong with it; NRT_RESOURCE. */
NRT_STATUS means_read(const char *path, struct sched_tuning *ret, char **ret_text, struct err *err);

/* Writes text to path, folders and all, in one step: who reads meanwhile sees the old file or the
 * new one. NRT_FAILURE: the text says why. */
NRT_STATUS means_write(const char *path, const char *text, size_t size, struct err *err);

/* Whether means_write could begin: makes the folders, and leaves nothing else. NRT_FAILURE: the
 * text says why not. */
NRT_STATUS means_try(const char *path, struct err *err);

#endif
