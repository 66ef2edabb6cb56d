/* SPDX-License-Identifier: Apache-2.0 */
/* The edge of libneff: the only file of the room that touches files. The runtime calls nothing of
 * it; it serves the builder's users and the tools. */
#include "neff/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "neff/build_int.h"
#include "neff/neff_int.h"

static NRT_STATUS file_failed(struct err *err, const char *what, const char *path)
{
    return neff_fail(err, NRT_FAILURE, "cannot %s %s: %s", what, path, strerror(errno));
}

NRT_STATUS neff_file_size(const char *path, uint64_t *ret, struct err *err)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return file_failed(err, "read", path);
    if (!S_ISREG(st.st_mode))
        return neff_fail(err, NRT_INVALID, "%s is not a regular file", path);
    *ret = (uint64_t)st.st_size;
    return NRT_SUCCESS;
}

NRT_STATUS neff_file_read(void *arg, uint64_t off, void *dst, size_t size, struct err *err)
{
    const char *path = arg;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    NRT_STATUS st = NRT_SUCCESS;

    if (fd < 0)
        return file_failed(err, "open", path);
    while (size > 0 && st == NRT_SUCCESS) {
        ssize_t n = pread(fd, dst, size, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            st = file_failed(err, "read", path);
        } else if (n == 0) {
            st = neff_fail(err, NRT_INVALID, "%s became shorter while it was read", path);
        } else {
            dst = (char *)dst + n;
            off += (uint64_t)n;
            size -= (size_t)n;
        }
    }
    (void)close(fd);
    return st;
}

NRT_STATUS neff_file_map(const char *path, struct neff_map *ret, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* waits for no writer of a pipe */
    void *p = NULL;

    if (fd < 0)
        return file_failed(err, "open", path);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return neff_fail(err, NRT_INVALID, "%s is not a regular file", path);
    }
    if (st.st_size > 0)
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    if (p == MAP_FAILED)
        return file_failed(err, "map", path);
    ret->bytes = p;
    ret->size = (size_t)st.st_size;
    return NRT_SUCCESS;
}

void neff_file_unmap(struct neff_map *m)
{
    if (m->bytes != NULL)
        (void)munmap((void *)m->bytes, m->size);
    memset(m, 0, sizeof(*m));
}

struct file_out {
    int fd;
    const char *path;
};

static NRT_STATUS file_write(void *arg, uint64_t off, const void *data, size_t size,
                             struct err *err)
{
    const struct file_out *f = arg;

    while (size > 0) {
        ssize_t n = pwrite(f->fd, data, size, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_failed(err, "write", f->path);
        data = (const char *)data + n;
        off += (uint64_t)n;
        size -= (size_t)n;
    }
    return NRT_SUCCESS;
}

NRT_STATUS neff_file_replace(
    const char *path, NRT_STATUS (*fill)(void *arg, const struct neff_out *out, struct err *err),
    NRT_STATUS (*check)(void *arg, const char *path, struct err *err), void *arg, struct err *err)
{
    struct strbuf tmp = {0};
    struct file_out f = {.fd = -1, .path = path};
    struct neff_out out = {file_write, &f};
    struct stat there;
    NRT_STATUS st;

    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) /* a device would be gone */
        return neff_fail(err, NRT_INVALID, "%s is not a regular file", path);
    for (unsigned k = 0; k < 100 && f.fd < 0; k++) {
        strbuf_fini(&tmp);
        strbuf_printf(&tmp, "%s.%ld.%u", path, (long)getpid(), k);
        if (tmp.failed)
            return neff_oom(err);
        f.fd = open(tmp.s, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (f.fd < 0 && errno != EEXIST)
            break;
    }
    if (f.fd < 0) {
        st = file_failed(err, "create", path);
        goto free_name;
    }
    st = fill(arg, &out, err);
    if (close(f.fd) != 0 && st == NRT_SUCCESS)
        st = file_failed(err, "write", path);
    if (st == NRT_SUCCESS && check != NULL)
        st = check(arg, tmp.s, err);
    if (st == NRT_SUCCESS && rename(tmp.s, path) != 0)
        st = file_failed(err, "write", path);
    if (st != NRT_SUCCESS)
        (void)unlink(tmp.s);

free_name:
    strbuf_fini(&tmp);
    return st;
}

/* ---- the builder's two ways out ---- */

struct build_write {
    struct neff_header header;
    struct build_image image;
    int level;
};

/* The strict reader's verdict on what was written. *ret_ratio: refused only for its ratio. */
static NRT_STATUS verify(const void *bytes, size_t size, bool *ret_ratio, struct err *err)
{
    struct neff_options opt = {.validate_hash = true};
    struct neff *neff;
    struct err local = {0};
    NRT_STATUS st = neff_create(bytes, size, &opt, &neff, &local);

    if (st == NRT_SUCCESS) {
        neff_destroy(neff);
        return NRT_SUCCESS;
    }
    *ret_ratio = strcmp(local.text, "NEFF payload too large") == 0;
    return *ret_ratio ? st : neff_fail(err, st, "%s", local.text);
}

static NRT_STATUS write_start(struct neff_build *b, const struct neff_build_options *o,
                              struct build_write *w)
{
    static const struct neff_build_options defaults;
    NRT_STATUS st;

    if (b == NULL)
        return NRT_RESOURCE;
    if (b->err.status != NRT_SUCCESS)
        return b->err.status;
    if (o == NULL)
        o = &defaults;
    w->level = o->plain_tar ? NEFF_PLAIN : o->level != 0 ? o->level : 6;
    if (w->level < 0 || w->level > 9)
        return neff_fail(&b->err, NRT_INVALID, "gzip level %d is not 1 to 9", w->level);
    st = build_header(b, o, &w->header);
    return st == NRT_SUCCESS ? build_image_make(b, o, &w->image) : st;
}

/* Without a text of its own, a failure is the ratio that no level could bring down. */
static NRT_STATUS write_end(struct neff_build *b, struct build_write *w, NRT_STATUS st)
{
    if (st != NRT_SUCCESS)
        neff_note(&b->err, st, "NEFF payload too large");
    build_image_fini(&w->image);
    return st;
}

NRT_STATUS neff_build_write_memory(struct neff_build *b, const struct neff_build_options *options,
                                   void **ret_bytes, size_t *ret_size)
{
    struct build_write w = {.level = 0};
    bool ratio;
    NRT_STATUS st;

    if (b != NULL && b->err.status == NRT_SUCCESS &&
        (!build_given(b, ret_bytes, "ret_bytes") || !build_given(b, ret_size, "ret_size")))
        return NRT_INVALID;
    st = write_start(b, options, &w);
    if (st != NRT_SUCCESS)
        return st;
    do {
        struct neff_memory m = {0};
        struct neff_out out = {neff_memory_write, &m};

        ratio = false;
        st = neff_write_members(&w.header, w.image.sources, w.image.count, w.level, &out, &b->err);
        if (st == NRT_SUCCESS)
            st = verify(m.bytes, m.size, &ratio, &b->err);
        if (st == NRT_SUCCESS) {
            *ret_bytes = m.bytes;
            *ret_size = m.size;
            break;
        }
        mem_free(m.bytes);
        ratio = ratio && w.level > 1;
        w.level = 1; /* zeros pack a thousand to one at the usual levels: rule N14 */
    } while (ratio);
    return write_end(b, &w, st);
}

void neff_build_free(void *bytes)
{
    mem_free(bytes);
}

static NRT_STATUS build_fill(void *arg, const struct neff_out *out, struct err *err)
{
    struct build_write *w = arg;

    return neff_write_members(&w->header, w->image.sources, w->image.count, w->level, out, err);
}

static NRT_STATUS build_check(void *arg, const char *path, struct err *err)
{
    struct build_write *w = arg;
    struct neff_map map;
    bool ratio = false;
    NRT_STATUS st = neff_file_map(path, &map, err);

    if (st != NRT_SUCCESS)
        return st;
    st = verify(map.bytes, map.size, &ratio, err);
    neff_file_unmap(&map);
    if (ratio)
        w->level = w->level > 1 ? 1 : -1;
    return st;
}

NRT_STATUS neff_build_write_file(struct neff_build *b, const struct neff_build_options *options,
                                 const char *path)
{
    struct build_write w = {.level = 0};
    int level;
    NRT_STATUS st;

    if (b != NULL && b->err.status == NRT_SUCCESS && !build_given(b, path, "the path"))
        return NRT_INVALID;
    st = write_start(b, options, &w);
    if (st != NRT_SUCCESS)
        return st;
    do {
        level = w.level;
        st = neff_file_replace(path, build_fill, build_check, &w, &b->err);
    } while (st != NRT_SUCCESS && w.level == 1 && level > 1);
    return write_end(b, &w, st);
}
