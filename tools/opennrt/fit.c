/* SPDX-License-Identifier: Apache-2.0 */
/* opennrt fit: would these models and tensors fit? The loader's own placing is done on an instance
 * of the asked type that nobody else sees, without backing memory, so the answer is that of a load:
 * same allocator, same alignment, same gaps, same report. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "device/device.h"
#include "model/model.h"
#include "opennrt.h"

/* ---- numbers of the command line ---- */

/* A number and what follows it; false: none, or more than max. */
static bool number(const char **at, uint64_t max, uint64_t *ret)
{
    char *end;

    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    *ret = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0 && *ret <= max;
}

static bool bytes_of(const char **at, uint64_t *ret)
{
    static const char units[] = "KMG";
    const char *unit;

    if (!number(at, UINT64_MAX, ret))
        return false;
    unit = **at ? strchr(units, **at) : NULL;
    for (const char *u = units; unit && u <= unit; u++) {
        if (*ret > UINT64_MAX >> 10)
            return false;
        *ret <<= 10;
    }
    *at += unit != NULL;
    return true;
}

struct tensors {
    uint64_t core, bytes, count;
};

/* One entry of --tensors; *at behind it. */
static bool tensors_of(const char **at, struct tensors *ret)
{
    ret->count = 1;
    return number(at, UINT16_MAX, &ret->core) && *(*at)++ == ':' && bytes_of(at, &ret->bytes) &&
           (**at != 'x' || ((*at)++, number(at, UINT32_MAX, &ret->count))) &&
           (!**at || *(*at)++ == ',');
}

struct span {
    uint64_t first, last;
};

static bool span_of(const char *text, struct span *ret)
{
    if (!number(&text, UINT16_MAX, &ret->first))
        return false;
    ret->last = ret->first;
    if (*text == '-' && (text++, !number(&text, UINT16_MAX, &ret->last)))
        return false;
    return !*text && ret->first <= ret->last;
}

/* ---- the instance ---- */

struct fit {
    char dir[32];
    struct log *log;
    struct device_config cfg;
    struct device_instance *in;
    const struct topo_instance *topo;
    struct model_host *host;
    struct model **models;
    size_t count, cap;
    struct span cores;
    struct device_usage *steady; /* per physical core */
};

static bool said(const char *what, const char *why)
{
    fprintf(stderr, "opennrt fit: %s%s%s\n", what, *what ? ": " : "", why);
    return false;
}

static bool fit_open(struct fit *f)
{
    struct model_host_config hc = {.account_only = true};
    struct err err = {0};
    uint32_t first;

    strcpy(f->dir, "/tmp/opennrt-fit-XXXXXX");
    if (!mkdtemp(f->dir)) {
        f->dir[0] = 0;
        return said("/tmp", strerror(errno));
    }
    f->log = log_open_env();
    f->cfg.name = "fit";
    f->cfg.dir = f->cfg.report_dir = f->dir;
    f->cfg.log = f->log;
    if (device_instance_open(&f->cfg, &f->in, &err) != NRT_SUCCESS ||
        device_cores_claim_run(f->in, 0, &first, &err) != NRT_SUCCESS)
        return said("", err.text);
    f->topo = device_topo(f->in);
    hc.in = f->in;
    hc.log = f->log;
    hc.vnc_count = topo_vnc_count(f->topo, device_lnc(f->in));
    if (model_host_create(&hc, &f->host, &err) != NRT_SUCCESS)
        return said("", err.text);
    f->steady = mem_calloc(topo_core_count(f->topo), sizeof(*f->steady));
    return f->steady || said("", "no memory");
}

/* The folder with what the device left there: its lock, the reports of a failure. */
static void folder_remove(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;

    while (d && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(path);
}

static void fit_close(struct fit *f)
{
    bool removed;

    while (f->count)
        model_unload(f->models[--f->count]);
    mem_free(f->models);
    mem_free(f->steady);
    model_host_destroy(f->host);
    device_instance_close(f->in);
    if (f->dir[0]) {
        (void)device_instance_reset(&f->cfg, true, &removed, NULL);
        folder_remove(f->dir);
    }
    if (f->log)
        log_close(f->log);
}

/* ---- what is to fit ---- */

static bool add_neff(struct fit *f, const char *word)
{
    const char *at = strrchr(word, '@');
    struct span cores = f->cores;
    struct err err = {0};
    struct model_where where;
    bool ok = false;
    char *path;
    void *data;
    size_t size;

    if (at && !span_of(at + 1, &cores))
        at = NULL; /* an @ of the name */
    path = strndup(word, at ? (size_t)(at - word) : strlen(word));
    data = path ? read_all(path, &size) : NULL;
    if (!data) {
        said(path ? path : "", strerror(errno));
        free(path);
        return false;
    }
    where = (struct model_where){.vnc = (int32_t)cores.first,
                                 .vnc_count = (uint32_t)(cores.last - cores.first + 1)};
    if (!mem_grow((void **)&f->models, &f->cap, f->count + 1, sizeof(struct model *))) {
        said(path, "no memory");
    } else if (model_load(f->host, data, size, &where, &f->models[f->count], &err) != NRT_SUCCESS) {
        said(path, err.text);
    } else {
        if (model_has_collectives(f->models[f->count++]))
            printf("%s: has collectives; the channel buffers that ranks take when they meet are "
                   "not counted\n",
                   path);
        ok = true;
    }
    free(data);
    free(path);
    return ok;
}

static bool add_tensors(struct fit *f, const struct tensors *t)
{
    struct device_alloc a = {
        .neff = DEVICE_NONE, .cat = DEVICE_CAT_TENSOR, .name = "tensor", .size = t->bytes};
    struct device_extent x;
    struct err err = {0};

    if (t->core >= topo_vnc_count(f->topo, device_lnc(f->in)))
        return said("--tensors", "there is no such core");
    a.core = device_vnc_core(f->in, (uint32_t)t->core);
    for (uint64_t i = 0; a.size && i < t->count; i++)
        if (device_alloc(f->in, &a, &x, &err) != NRT_SUCCESS)
            return said("tensors", err.text);
    return true;
}

/* ---- the answer ---- */

static uint64_t hbm_total(struct fit *f, uint32_t hbm)
{
    struct device_usage u = {0};

    (void)device_usage_hbm(f->in, hbm, &u);
    return u.total;
}

static bool tables(struct fit *f)
{
    struct strbuf b = {0};
    bool ok = true;

    for (uint32_t h = 0; ok && h < topo_hbm_count(f->topo); h++) {
        if (!hbm_total(f, h))
            continue;
        strbuf_printf(&b, "ND %u HBM %u\n", topo_hbm_device(f->topo, h),
                      h % f->topo->hbms_per_device);
        ok = device_usage_table(f->in, h, &b) == NRT_SUCCESS;
        strbuf_put(&b, "\n");
    }
    if (ok && b.s && !b.failed)
        fputs(b.s, stdout);
    ok = ok && !b.failed;
    strbuf_fini(&b);
    return ok || said("", "no memory");
}

static bool remember_steady(struct fit *f)
{
    for (uint32_t c = 0; c < topo_core_count(f->topo); c++)
        if (device_usage_core(f->in, c, &f->steady[c]) != NRT_SUCCESS)
            return said("", "no account");
    return true;
}

static void figures(struct fit *f)
{
    uint32_t per_hbm = f->topo->cores_per_device / f->topo->hbms_per_device;

    for (uint32_t h = 0; h < topo_hbm_count(f->topo); h++) {
        uint64_t steady = 0;

        if (!hbm_total(f, h))
            continue;
        for (uint32_t c = h * per_hbm; c < (h + 1) * per_hbm; c++) {
            struct device_usage u;

            steady += f->steady[c].total;
            if (device_usage_core(f->in, c, &u) == NRT_SUCCESS && u.total)
                printf("core %u: steady %" PRIu64 " bytes, peak %" PRIu64 "\n", c,
                       f->steady[c].total, u.total);
        }
        printf("HBM %u: steady %" PRIu64 " bytes, peak %" PRIu64 ", of %" PRIu64 "\n", h, steady,
               hbm_total(f, h), device_hbm_bytes(f->in));
    }
}

/* Steady: loaded, executed with tensors in HBM. Peak: each executed with tensors in host memory,
 * too, whose copies it keeps. */
static int answer(struct fit *f)
{
    struct err err = {0};
    bool copies = true;

    if (!tables(f) || !remember_steady(f))
        return EXIT_FAILED;
    for (size_t i = 0; copies && i < f->count; i++)
        copies = model_account_copies(f->models[i], &err) == NRT_SUCCESS;
    figures(f);
    printf(copies ? "they fit\n"
                  : "they fit, but not all of them with inputs and outputs in host memory\n");
    return EXIT_OK;
}

static int fit(struct fit *f, char **words, int count, const char *tensors)
{
    struct tensors t;
    bool ok = fit_open(f);

    for (int i = 0; ok && i < count; i++)
        ok = add_neff(f, words[i]);
    for (const char *at = tensors; ok && *at;)
        ok = tensors_of(&at, &t) && add_tensors(f, &t);
    if (ok)
        return answer(f);
    if (f->in && device_was_full(f->in)) /* else the host could not tell */
        printf("they do not fit\n");
    return EXIT_FAILED;
}

int cmd_fit(int argc, char **argv)
{
    const char *type = NULL, *lnc = NULL, *cores = "0", *tensors = "";
    const struct tool_option options[] = {
        {'I', "instance", "TYPE", "instance type (default: OPENNRT_INSTANCE_TYPE)", .text = &type},
        {'l', "lnc", "N", "logical core size, 1 or 2 (default: of the type)", .text = &lnc},
        {'c', "cores", "A[-B]", "logical cores for NEFFs that name none (default 0)",
         .text = &cores},
        {'t', "tensors", "LIST", "device tensors besides, as above", .text = &tensors}};
    const struct tool t = {
        "opennrt fit",
        "[options] FILE.neff[@FIRST[-LAST]]...",
        "Says whether NEFFs and tensors would fit into the HBM of an instance together, and\n"
        "what they would use, without loading them. Code of any encoding will do.\n"
        "FIRST-LAST are the logical cores that get the NEFF (default: those of --cores).\n"
        "LIST of tensors: CORE:BYTES[xCOUNT],... (K, M and G are powers of 1024).\n"
        "Exit code 0: they fit; 1: they do not, or a file cannot be read; 2: wrong usage.\n",
        options,
        sizeof(options) / sizeof(options[0]),
        .mixed = true};
    struct fit f = {.count = 0};
    struct tensors list;
    struct err err = {0};
    int first, rc;

    if (!tool_parse(&t, argc, argv, &first, &rc))
        return rc;
    if (!span_of(cores, &f.cores))
        return tool_usage(&t, "--cores takes A or A-B, not \"%s\"", cores);
    if (lnc && strcmp(lnc, "1") != 0 && strcmp(lnc, "2") != 0)
        return tool_usage(&t, "--lnc takes 1 or 2, not \"%s\"", lnc);
    for (const char *at = tensors; *at;)
        if (!tensors_of(&at, &list))
            return tool_usage(&t, "--tensors takes CORE:BYTES[xCOUNT],..., not \"%s\"", tensors);
    if (first == argc && !*tensors)
        return tool_usage(&t, "nothing to fit is named");
    if (device_config_env(&f.cfg, &err) != NRT_SUCCESS) {
        said("", err.text);
        return EXIT_FAILED;
    }
    if (type)
        f.cfg.type = type;
    if (lnc)
        f.cfg.lnc = (unsigned)(lnc[0] - '0');
    f.cfg.hbm_dir = NULL;
    rc = fit(&f, argv + first, argc - first, tensors);
    fit_close(&f);
    return rc;
}
