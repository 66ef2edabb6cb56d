/* SPDX-License-Identifier: Apache-2.0 */
/* Tools that are a row of commands: the help that lists them, --version, and the one that is asked
 * for. */
#ifndef TOOLS_COMMON_COMMANDS_H
#define TOOLS_COMMON_COMMANDS_H

#include <stddef.h>

struct tool_command {
    const char *name;
    /* argv[0] is "<tool> <command>", which getopt puts in front of its messages; returns the exit
     * code. */
    int (*run)(int argc, char **argv);
    const char *help;
};

struct tool_suite {
    const char *name;
    const char *kind;    /* behind the version: " (OpenNRT)" */
    const char *options; /* lines of --help about options that the tool itself looks at; "": none */
    const struct tool_command *commands;
    size_t count;
};

/* Runs the command that argv[1] names. Exit code 2: there is none such, and the usage has said so.
 * An answer that standard output did not take is a failure. */
int tool_suite_run(const struct tool_suite *s, int argc, char **argv);

#endif
