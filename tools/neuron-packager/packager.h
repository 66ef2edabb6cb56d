/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-packager: what its files share. */
#ifndef PACKAGER_H
#define PACKAGER_H

#include "base/err.h"
#include "neff/file.h"
#include "neff/neff.h"

/* A NEFF of a file, read leniently. Warnings go to stderr. */
struct opened {
    struct neff_map map;
    struct neff *neff;
};
NRT_STATUS packager_open(const char *path, const struct neff_options *opt, struct opened *ret,
                         struct err *err);
void packager_close(struct opened *o);
/* "neuron-packager: <text>" on stderr; returns 1, the exit code. */
int packager_fail(const char *text);

/* Subcommands: argv[0] is "neuron-packager <subcommand>"; the result is the exit code. */
int cmd_create(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_optimize(int argc, char **argv);
int cmd_unpack(int argc, char **argv);

#endif
