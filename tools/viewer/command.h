/* SPDX-License-Identifier: Apache-2.0 */
/* The command "view", which `opennrt` and `neuron-explorer` both have. */
#ifndef VIEWER_COMMAND_H
#define VIEWER_COMMAND_H

#include <stdbool.h>

/* tool: as messages begin, "opennrt view". serves: without a format, profiles are kept and served
 * (else that needs an option that says so). Returns the exit code. */
int viewer_command(const char *tool, bool serves, int argc, char **argv);

/* --show-profile-schema: prints the tables of the JSON output, in YAML. Returns the exit code. */
int viewer_schema_command(const char *tool);

#endif
