/* SPDX-License-Identifier: Apache-2.0 */
/* A web server of the profiles that are kept, for browsers of this host: it listens at the loopback
 * address only, and answers only those who call it by a name of that address, so that no page of
 * another site gets at profiles through a name that it can move. */
#ifndef VIEWER_SERVE_H
#define VIEWER_SERVE_H

/* Serves until SIGINT or SIGTERM. port 0: any. name: the profile that is announced, NULL: the list.
 * Returns the exit code; failures are said on the standard error. */
int viewer_serve(const char *tool, const char *data, unsigned port, const char *name);

#endif
