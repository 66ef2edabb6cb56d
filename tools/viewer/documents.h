/* SPDX-License-Identifier: Apache-2.0 */
/* A view written into files, into a folder that is kept, or into a database. Failures are said on
 * the standard error, after the tool's name; each returns the exit code. */
#ifndef VIEWER_DOCUMENTS_H
#define VIEWER_DOCUMENTS_H

#include "viewer/influx.h"
#include "viewer/load.h"

/* What the command line asks for. */
struct view_request {
    const char *neff, *session, *folder, *format, *output;
    const char *data, *display;
    const char *roots[VIEWER_ROOTS];
    const char *endpoint, *org, *bucket;
    unsigned port;
    int flows, no_device, no_system, force, terms, track, ingest_only;
    struct viewer_choice choice;
    bool folders; /* among what is to be shown */
};

/* A message; returns TOOL_FAILED. */
int viewer_say(const char *tool, const char *path, const char *why);
bool view_format_known(const char *name);
/* In the format that is asked for, to where it shall go; names the files that are made on the
 * standard output. */
int view_set_write(const char *tool, const struct view_request *o, const struct viewer_set *s);
/* In every format, into the folder, which is made. */
int view_set_keep(const char *tool, const struct view_request *o, const struct viewer_set *s,
                  const char *folder);
/* Into a bucket of its own. */
int view_set_send(const char *tool, const struct view_request *o, const struct viewer_set *s,
                  const struct influx_config *config);

#endif
