/* SPDX-License-Identifier: Apache-2.0 */
#include "viewer/load.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/crypto.h"
#include "base/mem.h"

#define DEPTH_MAX 4 /* folders below the one that is named: timestamp, instance and process */

struct viewer_input {
    char *path;
    struct neff_map map;
    struct ntff n;
    struct viewer_file file;
};

struct viewer_neff {
    struct neff_map map;
    struct neff *neff;
};

static bool fail(const struct viewer_set *s, const char *path, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", s->tool, path, why);
    return false;
}

/* ---- files ---- */

static void input_free(struct viewer_input *in)
{
    viewer_file_fini(&in->file);
    neff_file_unmap(&in->map);
    mem_free(in->path);
    mem_free(in);
}

static NRT_STATUS input_open(struct viewer_input *in, struct err *err)
{
    NRT_STATUS st = neff_file_map(in->path, &in->map, err);

    if (st == NRT_SUCCESS)
        st = ntff_open(in->map.bytes, in->map.size, &in->n, err);
    if (st == NRT_SUCCESS)
        st = viewer_file_init(&in->file, &in->n, err);
    return st;
}

bool viewer_set_profile(struct viewer_set *s, const char *path)
{
    struct viewer_input *in = mem_zalloc(sizeof(*in));
    struct err err = {0};

    if (!in || !(in->path = mem_strdup(path))) {
        mem_free(in);
        return fail(s, path, "no memory");
    }
    if (input_open(in, &err) != NRT_SUCCESS) {
        input_free(in);
        return fail(s, path, err.text);
    }
    if (!mem_grow((void **)&s->inputs, &s->input_cap, s->input_count + 1, sizeof(in))) {
        input_free(in);
        return fail(s, path, "no memory");
    }
    s->inputs[s->input_count++] = in;
    return true;
}

static void neff_free(struct viewer_neff *n)
{
    neff_destroy(n->neff);
    neff_file_unmap(&n->map);
    mem_free(n);
}

bool viewer_set_neff(struct viewer_set *s, const char *path)
{
    struct viewer_neff *n = mem_zalloc(sizeof(*n));
    const struct neff_options options = {.lenient = true};
    struct err err = {0};
    NRT_STATUS st;

    if (!n)
        return fail(s, path, "no memory");
    st = neff_file_map(path, &n->map, &err);
    if (st == NRT_SUCCESS)
        st = neff_create(n->map.bytes, n->map.size, &options, &n->neff, &err);
    if (st != NRT_SUCCESS) {
        neff_free(n);
        return fail(s, path, err.text);
    }
    if (!mem_grow((void **)&s->neffs, &s->neff_cap, s->neff_count + 1, sizeof(n))) {
        neff_free(n);
        return fail(s, path, "no memory");
    }
    s->neffs[s->neff_count++] = n;
    return true;
}

/* ---- folders ---- */

static bool has_end(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n > m && strcmp(name + n - m, end) == 0;
}

/* One file of a system profile; need: it must be there. */
static bool system_part(const struct viewer_set *s, struct viewer_system *sys, const char *folder,
                        const char *name, bool need)
{
    struct neff_map map = {0};
    struct strbuf path = {0};
    struct err err = {0};
    NRT_STATUS st = NRT_SUCCESS;
    bool ok;

    strbuf_printf(&path, "%s/%s.pb", folder, name);
    if (path.failed)
        return fail(s, folder, "no memory");
    if (need || access(path.s, F_OK) == 0) {
        st = neff_file_map(path.s, &map, &err);
        if (st == NRT_SUCCESS)
            st = viewer_system_read(sys, name, map.bytes, map.size, &err);
        neff_file_unmap(&map);
    }
    ok = st == NRT_SUCCESS || fail(s, path.s, err.text);
    strbuf_fini(&path);
    return ok;
}

static bool system_add(struct viewer_set *s, const char *folder)
{
    struct viewer_system *sys;

    if (!mem_grow((void **)&s->systems, &s->system_cap, s->system_count + 1, sizeof(*s->systems)))
        return fail(s, folder, "no memory");
    sys = &s->systems[s->system_count++];
    *sys = (struct viewer_system){0};
    if (!system_part(s, sys, folder, "trace_info", false) ||
        !system_part(s, sys, folder, "ntrace", true) ||
        !system_part(s, sys, folder, "cpu_util", false) ||
        !system_part(s, sys, folder, "host_mem", false))
        return false;
    if (sys->dropped)
        fprintf(stderr,
                "%s: Warning: %s: %" PRIu64 " trace events were dropped during capture (stored "
                "%" PRIu64 " out of %" PRIu64 " total events)\n",
                s->tool, folder, sys->dropped,
                sys->stored > sys->dropped ? sys->stored - sys->dropped : 0, sys->stored);
    return true;
}

static bool folder_walk(struct viewer_set *s, const char *path, unsigned depth);

static bool entry_take(struct viewer_set *s, const char *folder, const char *name, unsigned depth)
{
    struct strbuf path = {0};
    struct stat st;
    bool ok = true;

    strbuf_printf(&path, "%s/%s", folder, name);
    if (path.failed)
        ok = fail(s, name, "no memory");
    else if (stat(path.s, &st) != 0)
        ok = fail(s, path.s, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        ok = depth >= DEPTH_MAX || folder_walk(s, path.s, depth + 1);
    else if (has_end(name, ".ntff"))
        ok = s->no_profiles || viewer_set_profile(s, path.s);
    else if (has_end(name, ".neff"))
        ok = viewer_set_neff(s, path.s);
    else if (strcmp(name, "ntrace.pb") == 0)
        ok = s->no_systems || system_add(s, folder);
    strbuf_fini(&path);
    return ok;
}

static bool folder_walk(struct viewer_set *s, const char *path, unsigned depth)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    bool ok = true;

    if (n < 0)
        return fail(s, path, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (ok && names[i]->d_name[0] != '.')
            ok = entry_take(s, path, names[i]->d_name, depth);
        free(names[i]);
    }
    free(names);
    return ok;
}

bool viewer_set_folder(struct viewer_set *s, const char *path)
{
    return folder_walk(s, path, 0);
}

/* ---- figures ---- */

/* The NEFF that the model was loaded from, told by its hash. */
static const struct neff *neff_of(const struct viewer_set *s, const struct ntff_model *m)
{
    for (size_t i = 0; i < s->neff_count; i++)
        if (memcmp(s->neffs[i]->neff->header.hash, m->hash, sizeof(m->hash)) == 0)
            return s->neffs[i]->neff;
    return NULL;
}

static bool model_count(struct viewer_set *s, const struct viewer_input *in, uint64_t index)
{
    struct viewer_entry *e = mem_zalloc(sizeof(*e));
    struct err err = {0};
    NRT_STATUS st;

    if (!e || !mem_grow((void **)&s->entries, &s->entry_cap, s->entry_count + 1, sizeof(e))) {
        mem_free(e);
        return fail(s, in->path, "no memory");
    }
    viewer_model_init(&e->model, &in->file, index, neff_of(s, &in->n.models[index]));
    e->shown = (struct viewer_shown){
        .file = in->path, .f = &e->figures, .source = viewer_sources_view(&s->sources)};
    s->entries[s->entry_count++] = e;
    st = viewer_figures_make(&e->figures, &e->model, &err);
    if (st == NRT_SUCCESS && s->track) {
        if (!e->model.neff)
            fprintf(stderr,
                    "%s: Warning: %s: without its NEFF nothing is known of its scratchpad\n",
                    s->tool, in->path);
        st = viewer_scratch_make(&e->scratch, &e->model, &err);
        e->shown.scratch = &e->scratch;
    }
    return st == NRT_SUCCESS || fail(s, in->path, err.text);
}

static void dropped_tell(const struct viewer_set *s, const struct viewer_input *in)
{
    const struct ntff_head *h = in->n.head;

    if (h->dropped_events)
        fprintf(stderr,
                "%s: Warning: %s: %" PRIu64 " trace events were dropped during capture (stored "
                "%" PRIu64 " out of %" PRIu64 " total events)\n",
                s->tool, in->path, h->dropped_events, in->n.event_count,
                in->n.event_count + h->dropped_events);
    if (h->dropped_execs)
        fprintf(stderr, "%s: Warning: %s: %" PRIu64 " executions had no room in the profile\n",
                s->tool, in->path, h->dropped_execs);
}

bool viewer_set_count(struct viewer_set *s)
{
    for (size_t i = 0; i < s->input_count; i++) {
        const struct viewer_input *in = s->inputs[i];

        dropped_tell(s, in);
        for (uint64_t m = 0; m < in->n.model_count; m++)
            if (in->file.first[m] && !model_count(s, in, m))
                return false;
    }
    return true;
}

static bool set_digest(const struct viewer_set *s, EVP_MD_CTX *c,
                       unsigned char ret[EVP_MAX_MD_SIZE])
{
    bool ok = EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1;

    for (size_t i = 0; ok && i < s->input_count; i++)
        ok = EVP_DigestUpdate(c, s->inputs[i]->map.bytes, s->inputs[i]->map.size) == 1;
    for (size_t i = 0; ok && i < s->system_count; i++) {
        const struct viewer_system *sys = &s->systems[i];

        ok = EVP_DigestUpdate(c, &sys->process, sizeof(sys->process)) == 1 &&
             EVP_DigestUpdate(c, sys->texts.s, sys->texts.len) == 1 &&
             EVP_DigestUpdate(c, sys->calls, sys->call_count * sizeof(*sys->calls)) == 1;
    }
    return ok && EVP_DigestFinal_ex(c, ret, NULL) == 1;
}

bool viewer_set_name(const struct viewer_set *s, char ret[VIEWER_SET_NAME_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t count = s->input_count + s->system_count;
    EVP_MD_CTX *c;
    bool ok;

    crypto_start();
    c = EVP_MD_CTX_new();
    ok = c && count > 0 && set_digest(s, c, digest);
    EVP_MD_CTX_free(c);
    if (!ok)
        return false;
    (void)snprintf(ret, VIEWER_SET_NAME_SIZE, "%c_", count == 1 ? 'n' : 'p');
    for (unsigned i = 0; i < (VIEWER_SET_NAME_SIZE - 3) / 2; i++)
        (void)snprintf(ret + 2 + 2 * i, 3, "%02x", digest[i]);
    return true;
}

void viewer_set_fini(struct viewer_set *s)
{
    for (size_t i = 0; i < s->entry_count; i++) {
        viewer_figures_fini(&s->entries[i]->figures);
        viewer_scratch_fini(&s->entries[i]->scratch);
        mem_free(s->entries[i]);
    }
    for (size_t i = 0; i < s->input_count; i++)
        input_free(s->inputs[i]);
    for (size_t i = 0; i < s->neff_count; i++)
        neff_free(s->neffs[i]);
    for (size_t i = 0; i < s->system_count; i++)
        viewer_system_fini(&s->systems[i]);
    mem_free(s->entries);
    mem_free(s->inputs);
    mem_free(s->neffs);
    mem_free(s->systems);
    viewer_sources_fini(&s->sources);
    *s = (struct viewer_set){.tool = s->tool};
}
