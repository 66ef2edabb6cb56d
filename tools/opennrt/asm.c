/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt asm: the text form of a subgraph to a NEFF, or to the bare records of one engine. */
#include "opennrt.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "neff/asm.h"

static void help(FILE *to)
{
    fprintf(to,
            "usage: opennrt asm INPUT -o OUTPUT [options]\n\n"
            "Assembles the text form (docs/isa.md). INPUT \"-\" is the standard input.\n\n"
            "  -o, --output FILE      the NEFF, or the records with -c\n"
            "  -c, --records ENGINE   bare records of pe, dve, act, pool or sp\n"
            "  -D, --define NAME=EXPR give a `param` of the text its value\n"
            "  -a, --arch NAME        trn1, inf2, trn2, trn3, for a text without .arch\n"
            "  -I, --dir DIR          where files of constants are (default: INPUT's directory)\n"
            "      --plain            an uncompressed payload\n"
            "  -h, --help             this text\n");
}

struct job {
    const char *input, *output, *records, *arch, *dir;
    bool plain;
    struct neff_asm_define *defines;
    size_t define_count;
};

char *read_all(const char *path, size_t *ret_size)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    char *text = NULL;
    size_t n = 0, cap = 0, got;

    if (!f)
        return NULL;
    do {
        if (n == cap) {
            char *more = realloc(text, cap = cap ? 2 * cap : 65536);

            if (!more)
                break;
            text = more;
        }
        got = fread(text + n, 1, cap - n, f);
        n += got;
    } while (got);
    if (ferror(f) || n == cap) {
        free(text);
        text = NULL;
    }
    if (f != stdin)
        fclose(f);
    *ret_size = n;
    return text;
}

static void warn(void *arg, const char *text)
{
    fprintf(stderr, "%s: warning: %s\n", (const char *)arg, text);
}

static int engine_number(const char *name)
{
    static const char *const names[] = {"pe", "dve", "act", "pool", "sp"};

    for (int i = 0; i < 5; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static int write_records(const struct job *job, const char *text, size_t size,
                         const struct neff_asm_options *o)
{
    struct neff_error error = {0};
    int engine = engine_number(job->records);
    void *bytes;
    size_t n;
    FILE *f;
    bool ok;

    if (engine < 0) {
        fprintf(stderr, "opennrt asm: unknown engine \"%s\"\n", job->records);
        return EXIT_USAGE;
    }
    if (neff_asm_records(text, size, o, (enum neff_engine)engine, &bytes, &n, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILED;
    }
    f = fopen(job->output, "wb");
    ok = f && fwrite(bytes, 1, n, f) == n;
    if (f)
        ok = fclose(f) == 0 && ok;
    if (!ok)
        fprintf(stderr, "opennrt asm: %s: %s\n", job->output, strerror(errno));
    neff_build_free(bytes);
    return ok ? EXIT_OK : EXIT_FAILED;
}

static int write_neff(const struct job *job, const char *text, size_t size,
                      const struct neff_asm_options *o)
{
    struct neff_error error = {0};
    struct neff_asm_info info;
    struct neff_build *b;
    struct neff_build_options wo = {.plain_tar = job->plain};
    int rc = EXIT_OK;

    if (neff_asm_text(text, size, o, &b, &info, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILED;
    }
    wo.arch = info.arch;
    if (neff_build_write_file(b, &wo, job->output)) {
        fprintf(stderr, "opennrt asm: %s: %s\n", job->output, neff_build_error(b));
        rc = EXIT_FAILED;
    }
    neff_build_destroy(b);
    return rc;
}

static int assemble(const struct job *job)
{
    struct neff_asm_options o = {.file = job->input,
                                 .dir = job->dir,
                                 .defines = job->defines,
                                 .define_count = job->define_count,
                                 .arch = job->arch,
                                 .warn = warn,
                                 .arg = (void *)job->input};
    char dir[4096], *slash, *text;
    size_t size;
    int rc;

    if (!o.dir && strlen(job->input) < sizeof(dir)) {
        strcpy(dir, job->input);
        slash = strrchr(dir, '/');
        if (slash) {
            *slash = 0;
            o.dir = dir;
        }
    }
    text = read_all(job->input, &size);
    if (!text) {
        fprintf(stderr, "opennrt asm: %s: %s\n", job->input, strerror(errno));
        return EXIT_FAILED;
    }
    rc = job->records ? write_records(job, text, size, &o) : write_neff(job, text, size, &o);
    free(text);
    return rc;
}

static bool add_define(struct job *job, char *arg)
{
    char *eq = strchr(arg, '=');
    struct neff_asm_define *d;

    if (!eq || eq == arg) {
        fprintf(stderr, "opennrt asm: --define wants NAME=EXPR\n");
        return false;
    }
    d = realloc(job->defines, (job->define_count + 1) * sizeof(*d));
    if (!d)
        return false;
    *eq = 0;
    job->defines = d;
    d[job->define_count++] = (struct neff_asm_define){arg, eq + 1};
    return true;
}

int cmd_asm(int argc, char **argv)
{
    static const struct option options[] = {
        {"output", required_argument, NULL, 'o'}, {"records", required_argument, NULL, 'c'},
        {"define", required_argument, NULL, 'D'}, {"arch", required_argument, NULL, 'a'},
        {"dir", required_argument, NULL, 'I'},    {"plain", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    struct job job = {0};
    int c, rc = EXIT_USAGE;

    while ((c = getopt_long(argc, argv, "o:c:D:a:I:h", options, NULL)) != -1) {
        switch (c) {
        case 'o':
            job.output = optarg;
            break;
        case 'c':
            job.records = optarg;
            break;
        case 'D':
            if (!add_define(&job, optarg))
                goto out;
            break;
        case 'a':
            job.arch = optarg;
            break;
        case 'I':
            job.dir = optarg;
            break;
        case 'p':
            job.plain = true;
            break;
        case 'h':
            help(stdout);
            rc = EXIT_OK;
            goto out;
        default:
            help(stderr);
            goto out;
        }
    }
    if (optind + 1 != argc || !job.output) {
        help(stderr);
        goto out;
    }
    job.input = argv[optind];
    rc = assemble(&job);
out:
    free(job.defines);
    return rc;
}
