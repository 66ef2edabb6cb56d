/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-packager optimize: <name>_optimized.neff beside <name>.neff. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "packager.h"

struct optimize {
    const struct neff *neff; /* plain */
    bool keep_debug;
};

static NRT_STATUS fill(void *arg, const struct neff_out *out, struct err *err)
{
    const struct optimize *o = arg;

    return neff_write_optimized(o->neff, o->keep_debug, out, err);
}

static NRT_STATUS fill_plain(void *arg, const struct neff_out *out, struct err *err)
{
    return neff_write_plain(arg, out, err);
}

/* What was written must be what the lenient reader takes; strict, if the input was. */
static NRT_STATUS check(void *arg, const char *path, struct err *err)
{
    struct neff_options opt = {.lenient = true, .validate_hash = true, .skip_debug = true};
    struct opened o;
    NRT_STATUS st = packager_open(path, &opt, &o, err);

    (void)arg;
    if (st == NRT_SUCCESS)
        packager_close(&o);
    return st;
}

/* A gzip payload is unpacked into a file beside the output first: memory stays bounded. */
static NRT_STATUS optimize_open(const char *path, const char *tmp, struct opened *o, bool *ret_tmp,
                                struct err *err)
{
    struct neff_options opt = {.lenient = true};
    struct opened packed;
    NRT_STATUS st = packager_open(path, &opt, &packed, err);

    *ret_tmp = false;
    if (st != NRT_SUCCESS || !packed.neff->is_gzip) {
        *o = packed;
        return st;
    }
    st = neff_file_replace(tmp, fill_plain, NULL, packed.neff, err);
    packager_close(&packed);
    if (st != NRT_SUCCESS)
        return st;
    *ret_tmp = true;
    return packager_open(tmp, &opt, o, err);
}

static int optimize_one(const char *path, bool keep_debug)
{
    struct optimize job = {.keep_debug = keep_debug};
    struct strbuf out = {0}, tmp = {0};
    size_t n = strlen(path);
    bool has_tmp = false;
    struct opened o;
    struct err err = {0};
    NRT_STATUS st;

    if (n > 5 && strcmp(path + n - 5, ".neff") == 0)
        n -= 5;
    strbuf_printf(&out, "%.*s_optimized.neff", (int)n, path);
    strbuf_printf(&tmp, "%.*s_unpacked.tmp", (int)n, path);
    if (out.failed || tmp.failed) {
        st = err_set(&err, NRT_RESOURCE, "out of memory");
        goto free_names;
    }
    st = optimize_open(path, tmp.s, &o, &has_tmp, &err);
    if (st == NRT_SUCCESS) {
        job.neff = o.neff;
        st = neff_file_replace(out.s, fill, check, &job, &err);
        packager_close(&o);
    }
    if (has_tmp)
        (void)remove(tmp.s);
    if (st == NRT_SUCCESS)
        printf("Successfully generated: %s\n", out.s);

free_names:
    strbuf_fini(&out);
    strbuf_fini(&tmp);
    return st == NRT_SUCCESS ? 0 : packager_fail(err.text);
}

static void usage(FILE *f)
{
    fputs("usage: neuron-packager optimize [--keep-debug] <neff>...\n\n"
          "Writes <name>_optimized.neff beside each file: weights merged into one member per\n"
          "subgraph, debug_info/ removed, payload stored uncompressed.\n\n"
          "  --keep-debug  keep debug_info/\n",
          f);
}

int cmd_optimize(int argc, char **argv)
{
    static const struct option options[] = {
        {"keep-debug", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool keep = false;
    int opt, rc = 0;

    while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (opt) {
        case 'k':
            keep = true;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind == argc) {
        usage(stderr);
        return 2;
    }
    for (int i = optind; i < argc; i++)
        rc |= optimize_one(argv[i], keep);
    return rc;
}
