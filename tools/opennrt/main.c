/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt: the project's own tool. Finds the subcommand and calls it. */
#include "opennrt.h"

#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"asm", "assemble the text form into a NEFF", cmd_asm},
    {"disasm", "print the programs of a NEFF, or bare records, as text", cmd_disasm},
    {"doctor", "say what of this host will hurt, and what helps", cmd_doctor},
    {"dump", "say what core dumps tell, and who is to blame", cmd_dump},
    {"fit", "say whether models and tensors would fit into device memory", cmd_fit},
    {"inject", "make a core meet a hardware error", cmd_inject},
    {"predict", "predict how long a collective operation lasts", cmd_predict},
    {"ranks", "show the last collective operation of every rank", cmd_ranks},
    {"reset", "remove an instance that no process uses", cmd_reset},
    {"run", "load a NEFF, execute it, show or save its outputs", cmd_run},
    {"schedule", "print, prove, count or draw a collective operation", cmd_schedule},
    {"sysfs", "mount or copy the driver's sysfs tree of an instance", cmd_sysfs},
    {"tune", "measure how this host carries out collective operations best", cmd_tune},
    {"view", "show profiles as tables, JSON, traces or a page", cmd_view},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to)
{
    fprintf(to, "usage: opennrt <command> [arguments]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "\n\"opennrt <command> --help\" tells more.\n");
}

int main(int argc, char **argv)
{
    char name[64];

    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("opennrt %s\n", OPENNRT_VERSION);
        return EXIT_OK;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            (void)snprintf(name, sizeof(name), "opennrt %s", commands[i].name);
            argv[1] = name; /* what getopt puts in front of its messages */
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "opennrt: unknown command \"%s\"\n", argv[1]);
    usage(stderr);
    return EXIT_USAGE;
}
