/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt: the project's own tool. Finds the subcommand and calls it. */
#include "opennrt.h"

#include "common/commands.h"

static const struct tool_command commands[] = {
    {"asm", cmd_asm, "assemble the text form into a NEFF"},
    {"disasm", cmd_disasm, "print the programs of a NEFF, or bare records, as text"},
    {"doctor", cmd_doctor, "say what of this host will hurt, and what helps"},
    {"dump", cmd_dump, "say what core dumps tell, and who is to blame"},
    {"fit", cmd_fit, "say whether models and tensors would fit into device memory"},
    {"inject", cmd_inject, "make a core meet a hardware error"},
    {"predict", cmd_predict, "predict how long a collective operation lasts"},
    {"ranks", cmd_ranks, "show the last collective operation of every rank"},
    {"reset", cmd_reset, "remove an instance that no process uses"},
    {"run", cmd_run, "load a NEFF, execute it, show or save its outputs"},
    {"schedule", cmd_schedule, "print, prove, count or draw a collective operation"},
    {"sysfs", cmd_sysfs, "mount or copy the driver's sysfs tree of an instance"},
    {"tune", cmd_tune, "measure how this host carries out collective operations best"},
    {"view", cmd_view, "show profiles as tables, JSON, traces or a page"},
};

int main(int argc, char **argv)
{
    const struct tool_suite suite = {"opennrt", "", "", commands,
                                     sizeof(commands) / sizeof(commands[0])};

    return tool_suite_run(&suite, argc, argv);
}
