/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-packager: make, look into, optimize and unpack NEFFs. docs/spec/behaviour.md 19.4. */
#include <stdio.h>

#include "common/commands.h"
#include "packager.h"

static const struct tool_command commands[] = {
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

int main(int argc, char **argv)
{
    const struct tool_suite suite = {"neuron-packager", " (OpenNRT)", "", commands,
                                     sizeof(commands) / sizeof(commands[0])};

    return tool_suite_run(&suite, argc, argv);
}
