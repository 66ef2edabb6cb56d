/* SPDX-License-Identifier: Apache-2.0 */
/* A profile says where a file was when it was compiled: /build/model/attention.py. Below a root it
 * is looked for by that whole path, then without its first folder, and so on: the longest part that
 * leads to a file counts. */
#include "viewer/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define FILE_BYTES_MAX (16u << 20)  /* of more it is no source */
#define ALL_BYTES_MAX  (256u << 20) /* of all that a profile names: it may name one file often */
#define DEPTH_MAX      64           /* folders of a path */

struct viewer_source_file {
    enum viewer_root root; /* VIEWER_ROOTS: there is no such file */
    char *text;            /* its lines end with NUL */
    uint32_t *line;        /* offsets */
    uint32_t lines;
};

bool viewer_sources_root(struct viewer_sources *s, enum viewer_root which, const char *path)
{
    char *real = realpath(path, NULL);
    struct stat st;

    if (!real)
        return false;
    if (stat(real, &st) != 0 || !S_ISDIR(st.st_mode)) {
        free(real);
        errno = ENOTDIR;
        return false;
    }
    free(s->root[which]);
    s->root[which] = real;
    return true;
}

/* ---- files ---- */

/* Whether path is the root or below. Both are as realpath has them. */
static bool is_below(const char *root, const char *path)
{
    size_t n = strlen(root);

    return strncmp(root, path, n) == 0 && (n == 1 || path[n] == '/');
}

/* The file, opened; -1: there is none such below the root. */
static int file_open(const char *root, const char *name)
{
    struct strbuf path = {0};
    char *real = NULL;
    struct stat st;
    int fd = -1;

    strbuf_printf(&path, "%s/%s", root, name);
    if (!path.failed)
        real = realpath(path.s, NULL);
    strbuf_fini(&path);
    /* A pipe or device must not even be opened: that could wait or do something. */
    if (real && is_below(root, real) && stat(real, &st) == 0 && S_ISREG(st.st_mode))
        fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    free(real);
    return fd;
}

static bool has_parent(const char *name)
{
    for (const char *at = name; (at = strstr(at, "..")) != NULL; at += 2)
        if ((at == name || at[-1] == '/') && (at[2] == '/' || !at[2]))
            return true;
    return false;
}

static int longest_open(const char *root, const char *name)
{
    int fd = -1;

    if (has_parent(name))
        return -1;
    for (unsigned i = 0; i < DEPTH_MAX && fd < 0; i++) {
        const char *slash;

        while (*name == '/')
            name++;
        if (!*name)
            return -1;
        fd = file_open(root, name);
        slash = strchr(name, '/');
        name = slash ? slash : "";
    }
    return fd;
}

/* Its bytes and a NUL; NULL: it is too long, or cannot be read. */
static char *text_read(int fd, size_t *ret_size)
{
    struct stat st;
    char *text;
    size_t size = 0;
    ssize_t n = 1;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX)
        return NULL;
    text = mem_alloc((size_t)st.st_size + 1);
    while (text && n > 0 && size < (size_t)st.st_size) {
        n = read(fd, text + size, (size_t)st.st_size - size);
        size += n > 0 ? (size_t)n : 0;
    }
    if (text)
        text[size] = '\0';
    *ret_size = size;
    return text;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* Ends each line with NUL, and notes where its first character that is no blank stands. */
static void lines_split(struct viewer_source_file *f, size_t size)
{
    size_t count = 1, from = 0;

    for (size_t i = 0; i < size; i++)
        count += f->text[i] == '\n';
    f->line = mem_calloc(count, sizeof(*f->line));
    while (f->line && from < size) {
        char *end = memchr(f->text + from, '\n', size - from);
        size_t next = end ? (size_t)(end - f->text) : size, to = next;

        while (to > from && is_blank(f->text[to - 1]))
            to--;
        f->text[to] = '\0';
        while (is_blank(f->text[from]))
            from++;
        f->line[f->lines++] = (uint32_t)from;
        from = next + 1;
    }
}

static void file_read(struct viewer_sources *s, const char *name, struct viewer_source_file *ret)
{
    *ret = (struct viewer_source_file){.root = VIEWER_ROOTS};
    for (unsigned r = 0; r < VIEWER_ROOTS && !ret->text; r++) {
        int fd = s->root[r] ? longest_open(s->root[r], name) : -1;
        size_t size;

        if (fd < 0)
            continue;
        ret->root = (enum viewer_root)r;
        ret->text = s->bytes < ALL_BYTES_MAX ? text_read(fd, &size) : NULL;
        (void)close(fd);
        if (!ret->text)
            continue;
        s->bytes += size;
        lines_split(ret, size);
    }
}

/* ---- lines ---- */

static const char *line_of(void *arg, const char *name, uint32_t line, const char **ret_root)
{
    static const char *const roots[VIEWER_ROOTS] = {
        [VIEWER_ROOT_NKI] = "nki", [VIEWER_ROOT_FRAMEWORK] = "framework"};
    struct viewer_sources *s = arg;
    const struct viewer_source_file *f;
    uint64_t index;

    if (!str_map_get(&s->names, name, &index)) {
        struct viewer_source_file read;

        file_read(s, name, &read);
        index = s->count;
        if (!mem_grow((void **)&s->files, &s->cap, s->count + 1, sizeof(*s->files)) ||
            !str_map_put(&s->names, name, index, NULL)) {
            mem_free(read.text);
            mem_free(read.line);
            return NULL;
        }
        s->files[s->count++] = read;
    }
    f = &s->files[index];
    if (line == 0 || line > f->lines)
        return NULL;
    *ret_root = roots[f->root];
    return f->text + f->line[line - 1];
}

const struct viewer_source *viewer_sources_view(struct viewer_sources *s)
{
    s->source = (struct viewer_source){line_of, s};
    for (unsigned r = 0; r < VIEWER_ROOTS; r++)
        if (s->root[r])
            return &s->source;
    return NULL;
}

void viewer_sources_fini(struct viewer_sources *s)
{
    for (size_t i = 0; i < s->count; i++) {
        mem_free(s->files[i].text);
        mem_free(s->files[i].line);
    }
    mem_free(s->files);
    str_map_fini(&s->names);
    for (unsigned r = 0; r < VIEWER_ROOTS; r++)
        free(s->root[r]);
    *s = (struct viewer_sources){0};
}
