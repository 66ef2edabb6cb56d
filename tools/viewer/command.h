/* SPDX-License-Identifier: Apache-2.0 */
/* The command "view", which `opennrt` and `neuron-explorer` both have. */
#ifndef VIEWER_COMMAND_H
#define VIEWER_COMMAND_H

/* tool: as messages begin, "opennrt view". Returns the exit code. */
int viewer_command(const char *tool, int argc, char **argv);

/* The tables of the JSON output, in YAML: a document for each table. */
extern const char viewer_schema[];

#endif
