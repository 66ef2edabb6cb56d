/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-explorer: profiles of NEFFs. One file per command. */
#include <stdio.h>
#include <string.h>

#include "explorer.h"
#include "viewer/command.h"

static int cmd_view(int argc, char **argv)
{
    return viewer_command("neuron-explorer view", argc, argv);
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"capture", cmd_capture, "execute a NEFF and save what the device did"},
    {"inspect", cmd_inspect, "run a command with its profiles written to a folder"},
    {"view", cmd_view, "show profiles as tables, JSON, traces or a page"},
};

static void usage(FILE *f)
{
    fprintf(f, "usage: neuron-explorer [-h] [-v] <command> ...\n\ncommands:\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(f, "\noptions:\n  -h, --help     this text; after a command, that command's\n"
               "  -v, --version  the version\n");
}

int main(int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        usage(stdout);
        return TOOL_OK;
    }
    if (argc > 1 && (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0)) {
        printf("neuron-explorer " OPENNRT_VERSION " (OpenNRT, software device)\n");
        return TOOL_OK;
    }
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (argc > 1)
        fprintf(stderr, "neuron-explorer: no command \"%s\"\n", argv[1]);
    usage(stderr);
    return TOOL_USAGE;
}
