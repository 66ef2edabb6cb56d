/* SPDX-License-Identifier: Apache-2.0 */
#include "common/commands.h"

#include <stdio.h>
#include <string.h>

#include "common/options.h"

static void usage(const struct tool_suite *s, FILE *to)
{
    fprintf(to, "usage: %s [-h] [-v] <command> ...\n\ncommands:\n", s->name);
    for (size_t i = 0; i < s->count; i++)
        fprintf(to, "  %-10s %s\n", s->commands[i].name, s->commands[i].help);
    fprintf(to,
            "\noptions:\n  -h, --help     this text; after a command, that command's\n"
            "  -v, --version  the version\n%s",
            s->options);
}

static int run(const struct tool_suite *s, int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    char name[64];

    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        usage(s, stdout);
        return TOOL_OK;
    }
    if (strcmp(word, "-v") == 0 || strcmp(word, "--version") == 0) {
        printf("%s %s%s\n", s->name, OPENNRT_VERSION, s->kind);
        return TOOL_OK;
    }
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(word, s->commands[i].name) == 0) {
            (void)snprintf(name, sizeof(name), "%s %s", s->name, word);
            argv[1] = name;
            return s->commands[i].run(argc - 1, argv + 1);
        }
    if (argc > 1)
        fprintf(stderr, "%s: unknown command \"%s\"\n", s->name, word);
    usage(s, stderr);
    return TOOL_USAGE;
}

int tool_suite_run(const struct tool_suite *s, int argc, char **argv)
{
    return tool_end(s->name, run(s, argc, argv));
}
