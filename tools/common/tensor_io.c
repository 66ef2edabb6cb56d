/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tensor_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/npy.h"
#include "base/strbuf.h"

#define SUFFIX_MAX 64 /* of an output's file, with the end */

/* NULL: bytes of it can be mapped. */
static const char *unfit(const struct stat *st)
{
    if (S_ISDIR(st->st_mode))
        return strerror(EISDIR);
    if (S_ISFIFO(st->st_mode))
        return "a pipe, not a file";
    if (!S_ISREG(st->st_mode))
        return "a device, not a file";
    return st->st_size == 0 ? "empty file" : NULL;
}

bool tool_file_map(const char *tool, const char *path, struct tool_file *ret)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* does not wait for a pipe's writer */
    struct stat st = {0};
    const char *wrong = fd < 0 || fstat(fd, &st) != 0 ? strerror(errno) : unfit(&st);

    if (!wrong) {
        ret->bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        ret->size = (size_t)st.st_size;
        wrong = ret->bytes == MAP_FAILED ? strerror(errno) : NULL;
    }
    if (wrong)
        fprintf(stderr, "%s: %s: %s\n", tool, path, wrong);
    if (fd >= 0)
        close(fd);
    return !wrong;
}

void tool_file_unmap(struct tool_file *f)
{
    munmap((void *)f->bytes, f->size);
}

/* Whether the array has the input's type and, but for sizes of 1, its shape: bytes of anything else
 * would be taken for what they are not. Inputs without a type take all. */
static bool array_fits(const nrt_tensor_info_t *info, const struct npy_desc *d)
{
    unsigned i = 0, k = 0;

    if (info->dtype == NRT_DTYPE_UNKNOWN)
        return true;
    if (!npy_holds(d, (enum dtype)info->dtype))
        return false;
    for (;; i++, k++) {
        while (i < d->ndim && d->shape[i] == 1)
            i++;
        while (k < info->ndim && info->shape[k] == 1)
            k++;
        if (i == d->ndim || k == info->ndim)
            return i == d->ndim && k == info->ndim;
        if (d->shape[i] != info->shape[k])
            return false;
    }
}

/* "q.npy holds int32 [256, 64], input q is float32 [256, 64]" */
static void misfit_tell(const char *tool, const char *path, const nrt_tensor_info_t *info,
                        const struct npy_desc *d)
{
    struct strbuf t = {0};

    strbuf_printf(&t, "%s: %s holds ", tool, path);
    if (d->dtype == DT_INVALID)
        strbuf_printf(&t, "elements of %zu bytes [", d->elem_size);
    else
        strbuf_printf(&t, "%s [", dtype_name(d->dtype));
    for (unsigned i = 0; i < d->ndim; i++)
        strbuf_printf(&t, "%s%llu", i ? ", " : "", (unsigned long long)d->shape[i]);
    strbuf_printf(&t, "], input %s is %s [", info->name, dtype_name((enum dtype)info->dtype));
    for (uint32_t i = 0; i < info->ndim; i++)
        strbuf_printf(&t, "%s%u", i ? ", " : "", info->shape[i]);
    fprintf(stderr, "%s]\n", t.failed ? tool : t.s);
    strbuf_fini(&t);
}

static bool payload(const char *tool, const char *path, const struct tool_file *f,
                    const nrt_tensor_info_t *info, const uint8_t **ret, size_t *ret_size)
{
    size_t n = strlen(path);
    struct npy_desc d;
    struct err err = {0};

    *ret = f->bytes;
    *ret_size = f->size;
    if (n < 4 || strcmp(path + n - 4, ".npy") != 0)
        return true;
    if (npy_parse(f->bytes, f->size, &d, &err) != NRT_SUCCESS) {
        fprintf(stderr, "%s: %s: %s\n", tool, path, err.text);
        return false;
    }
    if (d.fortran_order || d.data_off > f->size || d.data_bytes > f->size - d.data_off) {
        fprintf(stderr, "%s: %s: %s\n", tool, path,
                d.fortran_order ? "Fortran order" : "the data end early");
        return false;
    }
    if (!array_fits(info, &d)) {
        misfit_tell(tool, path, info, &d);
        return false;
    }
    *ret = f->bytes + d.data_off;
    *ret_size = d.data_bytes;
    return true;
}

bool tool_tensor_fill(const char *tool, const nrt_tensor_info_t *info, nrt_tensor_t *tensor,
                      const char *path)
{
    NRT_STATUS status = NRT_SUCCESS;
    const uint8_t *bytes;
    struct tool_file f;
    size_t size;
    bool ok;

    if (!tool_file_map(tool, path, &f))
        return false;
    ok = payload(tool, path, &f, info, &bytes, &size);
    if (ok && size != info->size) {
        fprintf(stderr, "%s: %s has %zu bytes, input %s needs %zu\n", tool, path, size, info->name,
                info->size);
        ok = false;
    }
    if (ok)
        status = nrt_tensor_write(tensor, bytes, 0, size);
    if (status != NRT_SUCCESS)
        fprintf(stderr, "%s: %s: %s (%d)\n", tool, info->name, nrt_get_status_as_str(status),
                (int)status);
    tool_file_unmap(&f);
    return ok && status == NRT_SUCCESS;
}

enum dtype tool_tensor_dtype(const nrt_tensor_info_t *info)
{
    return info->dtype == NRT_DTYPE_UNKNOWN ? DT_UINT8 : (enum dtype)info->dtype;
}

static bool header(const nrt_tensor_info_t *t, struct strbuf *ret)
{
    bool known = t->dtype != NRT_DTYPE_UNKNOWN && t->ndim <= NPY_MAX_DIMS;
    uint64_t shape[NPY_MAX_DIMS], n = t->size;

    for (uint32_t d = 0; known && d < t->ndim; d++)
        shape[d] = t->shape[d];
    return npy_write_header(ret, known ? tool_tensor_dtype(t) : DT_UINT8, known ? t->ndim : 1,
                            known ? shape : &n);
}

/* The file of an output, without its folder. */
static void file_name(const nrt_tensor_info_t *t, const char *suffix,
                      char ret[NRT_TENSOR_NAME_MAX + SUFFIX_MAX])
{
    snprintf(ret, NRT_TENSOR_NAME_MAX + SUFFIX_MAX, "%s%s", t->name, suffix);
    for (char *p = ret; *p; p++)
        if (*p == '/')
            *p = '_';
}

/* ret: the file that both would be. */
static bool same_file(const nrt_tensor_info_t *a, const nrt_tensor_info_t *b,
                      const char *const *suffixes, char ret[NRT_TENSOR_NAME_MAX + SUFFIX_MAX])
{
    char other[NRT_TENSOR_NAME_MAX + SUFFIX_MAX];

    if (a->usage != NRT_TENSOR_USAGE_OUTPUT || b->usage != NRT_TENSOR_USAGE_OUTPUT)
        return false;
    for (const char *const *s = suffixes; *s; s++) {
        file_name(a, *s, ret);
        for (const char *const *r = suffixes; *r; r++) {
            file_name(b, *r, other);
            if (strcmp(ret, other) == 0)
                return true;
        }
    }
    return false;
}

bool tool_outputs_apart(const char *tool, const nrt_tensor_info_array_t *infos,
                        const char *const *suffixes)
{
    char name[NRT_TENSOR_NAME_MAX + SUFFIX_MAX];

    for (uint64_t i = 0; i < infos->tensor_count; i++)
        for (uint64_t k = 0; k < i; k++) {
            const nrt_tensor_info_t *a = &infos->tensor_array[k], *b = &infos->tensor_array[i];

            if (!same_file(a, b, suffixes, name))
                continue;
            fprintf(stderr,
                    "%s: outputs %s and %s would be one file, %s, where '/' is '_'; nothing was "
                    "executed\n",
                    tool, a->name, b->name, name);
            return false;
        }
    return true;
}

bool tool_tensor_save(const char *tool, const char *dir, const char *suffix, bool npy,
                      const nrt_tensor_info_t *info, const uint8_t *data, char *ret_path,
                      size_t path_size)
{
    char name[NRT_TENSOR_NAME_MAX + SUFFIX_MAX];
    struct strbuf head = {0};
    bool ok = false;
    FILE *f = NULL;

    file_name(info, suffix, name);
    errno = ENAMETOOLONG;
    if ((size_t)snprintf(ret_path, path_size, "%s/%s", dir, name) < path_size &&
        (!npy || header(info, &head)))
        f = fopen(ret_path, "wb");
    if (f) {
        ok = fwrite(head.s, 1, head.len, f) == head.len &&
             fwrite(data, 1, info->size, f) == info->size;
        ok = fclose(f) == 0 && ok;
    }
    if (!ok)
        fprintf(stderr, "%s: cannot write %s: %s\n", tool, ret_path, strerror(errno));
    strbuf_fini(&head);
    return ok;
}
