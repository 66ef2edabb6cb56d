/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands of the opennrt tool: one file each, one line in main.c each. A command gets
 * "opennrt <command>" in argv[0] and returns the exit code: 0 done, 1 failed, 2 wrong usage. */
#ifndef TOOLS_OPENNRT_OPENNRT_H
#define TOOLS_OPENNRT_OPENNRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/options.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int cmd_asm(int argc, char **argv);
int cmd_disasm(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_fit(int argc, char **argv);
int cmd_inject(int argc, char **argv);
int cmd_predict(int argc, char **argv);
int cmd_ranks(int argc, char **argv);
int cmd_reset(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_schedule(int argc, char **argv);
int cmd_sysfs(int argc, char **argv);
int cmd_tune(int argc, char **argv);
int cmd_view(int argc, char **argv);

/* The option of every command that looks at an instance. */
#define OPTION_INSTANCE(to)                                                                    \
    {                                                                                          \
        'i', "instance", "NAME", "the instance (default: OPENNRT_INSTANCE, else \"default\")", \
            .text = (to)                                                                       \
    }

/* Whether libfabric offers a provider between nodes. names: those it has, comma-separated. */
enum doctor_net { DOCTOR_NET_ABSENT, DOCTOR_NET_FAILED, DOCTOR_NET_NONE, DOCTOR_NET_SOME };
enum doctor_net doctor_net_providers(char *names, size_t size);

/* The whole file, malloced; NULL with errno. "-" is the standard input. */
char *read_all(const char *path, size_t *ret_size);

#endif
