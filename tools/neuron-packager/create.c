/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-packager create: a header before a tarball. The tarball is stored as it is. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "packager.h"

struct create {
    const char *input, *output;
    struct neff_map payload;
    struct neff_header header;
    bool named;
};

static void usage(FILE *f)
{
    fputs("usage: neuron-packager create -i <tarball> [options]\n\n"
          "  -i, --input <file>           the payload: a tar, plain or gzip\n"
          "  -v, --tool-version <text>    build version (default: this project's)\n"
          "  -k, --neff-version <x.y>     NEFF version (0.4)\n"
          "  -r, --header-version <n>     package version: 1 SHA-256, 2 MD5 (2)\n"
          "  -n, --name <text>            network name (default: the output's)\n"
          "  -t, --num-nc <n>             requested cores (1)\n"
          "  -o, --output <name>          writes <name>.neff (NN)\n"
          "  -e, --enable-feature <name>  bin-weights, collectives-offset, custom-ops, "
          "coalesced-cc; repeatable\n",
          f);
}

static bool parse_u64(const char *s, uint64_t max, uint64_t *ret, const char **end)
{
    char *stop;
    unsigned long long v;

    if (!isdigit((unsigned char)*s))
        return false;
    errno = 0;
    v = strtoull(s, &stop, 10);
    if (errno != 0 || v > max)
        return false;
    *ret = v;
    *end = stop;
    return true;
}

static bool parse_number(const char *s, uint64_t max, uint64_t *ret)
{
    const char *end;

    return parse_u64(s, max, ret, &end) && *end == '\0';
}

static bool parse_version(const char *s, struct neff_header *h)
{
    const char *end;

    return parse_u64(s, UINT32_MAX, &h->neff_version_major, &end) && *end == '.' &&
           parse_number(end + 1, UINT32_MAX, &h->neff_version_minor);
}

static bool parse_feature(const char *s, struct neff_header *h)
{
    for (unsigned bit = 0; bit < 4; bit++) { /* the four that the guide names */
        if (strcmp(s, neff_feature_name(bit)) == 0) {
            h->feature_bits |= 1ull << bit;
            return true;
        }
    }
    return false;
}

/* Text into a fixed field, NUL-terminated; false: it does not fit. */
static bool put_text(void *field, size_t size, const char *text)
{
    size_t n = strlen(text);

    if (n >= size)
        return false;
    memset(field, 0, size);
    memcpy(field, text, n);
    return true;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* One option. NULL when it is fine, else what is wrong. */
static const char *option(struct create *c, int opt, const char *arg)
{
    struct neff_header *h = &c->header;
    uint64_t v;

    switch (opt) {
    case 'i':
        c->input = arg;
        return NULL;
    case 'v':
        return put_text(h->neff_build_version, sizeof(h->neff_build_version), arg)
                   ? NULL
                   : "the tool version must be at most 127 bytes";
    case 'k':
        return parse_version(arg, h) ? NULL : "the NEFF version must be <major>.<minor>";
    case 'r':
        if (!parse_number(arg, 2, &v) || v == 0)
            return "the header version must be 1 or 2";
        h->pkg_version = v;
        return NULL;
    case 'n':
        c->named = true;
        return put_text(h->name, sizeof(h->name), arg) ? NULL
                                                       : "the name must be at most 255 bytes";
    case 't':
        if (!parse_number(arg, UINT32_MAX, &v) || v == 0)
            return "the number of cores must be a number from 1";
        h->requested_tpb_count = (uint32_t)v;
        return NULL;
    case 'o':
        c->output = arg;
        return NULL;
    case 'e':
        return parse_feature(arg, h) ? NULL
                                     : "the feature must be one of bin-weights, "
                                       "collectives-offset, custom-ops, coalesced-cc";
    default:
        return "";
    }
}

static NRT_STATUS fill(void *arg, const struct neff_out *out, struct err *err)
{
    struct create *c = arg;

    return neff_write_payload(&c->header, c->payload.bytes, c->payload.size, out, err);
}

/* The strict reader says whether it is a NEFF, and how many subgraphs the header must promise. */
static NRT_STATUS check(void *arg, const char *path, struct err *err)
{
    struct create *c = arg;
    struct neff_options strict = {.validate_hash = true};
    uint8_t bytes[NEFF_HEADER_SIZE];
    struct opened o;
    NRT_STATUS st = packager_open(path, &strict, &o, err);
    int fd;

    if (st != NRT_SUCCESS)
        return st;
    c->header.num_tpb = c->header.lnc_size = o.neff->graph_count;
    c->header.tpb_per_node[0] = (uint8_t)o.neff->graph_count;
    packager_close(&o);
    neff_header_put(&c->header, bytes);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || pwrite(fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        st = err_set(err, NRT_FAILURE, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return st;
}

static int create_run(struct create *c)
{
    struct strbuf path = {0};
    struct err err = {0};
    NRT_STATUS st;

    st = neff_uuid_random(c->header.uuid, &err);
    if (st == NRT_SUCCESS)
        st = neff_file_map(c->input, &c->payload, &err);
    if (st != NRT_SUCCESS)
        return packager_fail(err.text);
    strbuf_printf(&path, "%s.neff", c->output);
    if (path.failed) {
        neff_file_unmap(&c->payload);
        return packager_fail("out of memory");
    }
    st = neff_file_replace(path.s, fill, check, c, &err);
    neff_file_unmap(&c->payload);
    if (st == NRT_SUCCESS)
        printf("Successfully generated: %s\n", path.s);
    strbuf_fini(&path);
    return st == NRT_SUCCESS ? 0 : packager_fail(err.text);
}

int cmd_create(int argc, char **argv)
{
    static const struct option options[] = {
        {"input", required_argument, NULL, 'i'},
        {"tool-version", required_argument, NULL, 'v'},
        {"neff-version", required_argument, NULL, 'k'},
        {"header-version", required_argument, NULL, 'r'},
        {"name", required_argument, NULL, 'n'},
        {"num-nc", required_argument, NULL, 't'},
        {"output", required_argument, NULL, 'o'},
        {"enable-feature", required_argument, NULL, 'e'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct create c = {
        .output = "NN",
        .header = {.pkg_version = 2, .neff_version_minor = 4, .requested_tpb_count = 1}};
    const char *wrong;
    int opt;

    (void)put_text(c.header.neff_build_version, sizeof(c.header.neff_build_version),
                   "opennrt " OPENNRT_VERSION);
    while ((opt = getopt_long(argc, argv, "i:v:k:r:n:t:o:e:h", options, NULL)) != -1) {
        if (opt == 'h') {
            usage(stdout);
            return 0;
        }
        wrong = option(&c, opt, optarg);
        if (wrong != NULL) {
            if (*wrong != '\0')
                packager_fail(wrong);
            else
                usage(stderr);
            return 2;
        }
    }
    if (c.input == NULL || optind != argc) {
        usage(stderr);
        return 2;
    }
    if (*base_name(c.output) == '\0') {
        fprintf(stderr, "neuron-packager: the output \"%s\" has no name\n", c.output);
        return 2;
    }
    if (!c.named && !put_text(c.header.name, sizeof(c.header.name), base_name(c.output))) {
        packager_fail("the output's name must be at most 255 bytes");
        return 2;
    }
    return create_run(&c);
}
