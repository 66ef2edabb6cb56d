/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of a tool, as a table: parsing, --help, which lists every line of the table,
 * --version, and the exit codes that all tools share. */
#ifndef TOOLS_COMMON_OPTIONS_H
#define TOOLS_COMMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum { TOOL_OK = 0, TOOL_FAILED = 1, TOOL_USAGE = 2 };

/* The arguments of an option that may be given several times. */
struct tool_list {
    const char **items; /* room for max */
    size_t count, max;
};

/* One option. Exactly one of flag, choice, text, list and number is set. */
struct tool_option {
    char letter; /* 0: none */
    const char *name, *arg, *help;
    int *choice; /* set to value; no argument */
    int value;
    const char **text; /* the argument itself */
    struct tool_list *list;
    unsigned *number; /* a decimal number in [min, max] */
    unsigned min, max;
    bool *flag; /* set to true; no argument */
};

struct tool {
    const char *name;      /* as its messages begin: "neuron-ls", "opennrt fit" */
    const char *arguments; /* after the name in the usage line: "[options]" */
    const char *about;     /* lines for --help */
    const struct tool_option *options;
    size_t count;
    bool mixed; /* options may also follow operands */
};

/* True: run, operands from *ret_first on in argv. False: end with *ret_code; what there is to say
 * has been said: help and version on the standard output, errors on the standard error. */
bool tool_parse(const struct tool *t, int argc, char **argv, int *ret_first, int *ret_code);
/* How a tool ends: with code, or with TOOL_FAILED in the place of TOOL_OK where the standard output
 * did not take the whole answer, said as "<name>: ...". */
int tool_end(const char *name, int code);
/* A wrong operand or combination: "<name>: <text>" and the usage; returns TOOL_USAGE. */
int tool_usage(const struct tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
