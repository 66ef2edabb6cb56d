/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-packager: make, look into, optimize and unpack NEFFs. docs/spec/behaviour.md 19.4. */
#include <stdio.h>
#include <string.h>

#include "packager.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"create", cmd_create, "make a NEFF from a tarball"},
    {"info", cmd_info, "show header, nodes and tensors of a NEFF"},
    {"optimize", cmd_optimize, "merge weights, drop debug files, store uncompressed"},
    {"unpack", cmd_unpack, "write the members of a NEFF to a directory"},
};

int packager_fail(const char *text)
{
    fprintf(stderr, "neuron-packager: %s\n", text);
    return 1;
}

static void warn(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "neuron-packager: warning: %s\n", text);
}

NRT_STATUS packager_open(const char *path, const struct neff_options *opt, struct opened *ret,
                         struct err *err)
{
    struct diag_sink sink = {.warn = warn};
    struct neff_options o = *opt;
    NRT_STATUS st = neff_file_map(path, &ret->map, err);

    if (st != NRT_SUCCESS)
        return st;
    o.sink = &sink;
    ret->neff = NULL;
    st = neff_create(ret->map.bytes, ret->map.size, &o, &ret->neff, err);
    if (st != NRT_SUCCESS)
        neff_file_unmap(&ret->map);
    return st;
}

void packager_close(struct opened *o)
{
    neff_destroy(o->neff);
    neff_file_unmap(&o->map);
}

static void usage(FILE *f)
{
    fprintf(f, "usage: neuron-packager [-h] [-v] <command> ...\n\ncommands:\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(f, "\noptions:\n  -h, --help     this text; after a command, that command's\n"
               "  -v, --version  the version\n");
}

int main(int argc, char **argv)
{
    char name[64];

    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "--version") == 0) {
        printf("neuron-packager " OPENNRT_VERSION " (OpenNRT)\n");
        return 0;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            (void)snprintf(name, sizeof(name), "neuron-packager %s", commands[i].name);
            argv[1] = name; /* what getopt puts in front of its messages */
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "neuron-packager: unknown command %s\n", argv[1]);
    usage(stderr);
    return 2;
}
