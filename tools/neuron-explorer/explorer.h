/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-explorer: what its commands share. docs/spec/behaviour.md 15; the command line is that of
 * "CLI profiling" of the Neuron Explorer documentation. */
#ifndef EXPLORER_H
#define EXPLORER_H

#include "common/options.h"

#define EXPLORER_PATH_MAX 4096u

/* Each gets its arguments without the command's name, and returns the exit code. */
int cmd_capture(int argc, char **argv);
int cmd_inspect(int argc, char **argv);

#endif
