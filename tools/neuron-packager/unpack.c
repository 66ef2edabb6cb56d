/* SPDX-License-Identifier: Apache-2.0 */
/* neuron-packager unpack: members and the payload as files. Names come from an untrusted file:
 * every step down a path is taken with O_NOFOLLOW, so nothing outside the directory is written. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "packager.h"

#define PAYLOAD_NAME "neff.tgz"

struct unpack {
    const struct neff *neff;
    int dir;
    int fd; /* of the member being written */
};

static NRT_STATUS failed(struct err *err, const char *name)
{
    return err_set(err, NRT_FAILURE, "cannot write %s: %s", name, strerror(errno));
}

/* A new file for a member, its directories made. -1: errno. */
static int member_create(int dir, const char *name)
{
    int at = dir, next, fd;
    char part[4096];

    for (const char *slash; (slash = strchr(name, '/')) != NULL; name = slash + 1) {
        (void)snprintf(part, sizeof(part), "%.*s", (int)(slash - name), name);
        if (mkdirat(at, part, 0777) != 0 && errno != EEXIST)
            next = -1;
        else
            next = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (at != dir)
            (void)close(at);
        if (next < 0)
            return -1;
        at = next;
    }
    fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (at != dir)
        (void)close(at);
    return fd;
}

static NRT_STATUS write_all(int fd, const void *data, size_t size, const char *name,
                            struct err *err)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(err, name);
        data = (const char *)data + n;
        size -= (size_t)n;
    }
    return NRT_SUCCESS;
}

static bool want_all(void *arg, uint32_t member)
{
    (void)arg;
    (void)member;
    return true;
}

static NRT_STATUS chunk(void *arg, uint32_t member, uint64_t off, const void *data, size_t size,
                        struct err *err)
{
    struct unpack *u = arg;
    const struct neff_member *m = &u->neff->members[member];
    NRT_STATUS st;

    if (off == 0) {
        u->fd = member_create(u->dir, m->name);
        if (u->fd < 0)
            return failed(err, m->name);
    }
    st = write_all(u->fd, data, size, m->name, err);
    if (st == NRT_SUCCESS && off + size < m->size)
        return st;
    if (close(u->fd) != 0 && st == NRT_SUCCESS)
        st = failed(err, m->name);
    u->fd = -1;
    return st;
}

/* Members without bytes are not streamed. */
static NRT_STATUS write_empty(struct unpack *u, struct err *err)
{
    for (uint32_t i = 0; i < u->neff->member_count; i++) {
        int fd;

        if (u->neff->members[i].size != 0)
            continue;
        fd = member_create(u->dir, u->neff->members[i].name);
        if (fd < 0 || close(fd) != 0)
            return failed(err, u->neff->members[i].name);
    }
    return NRT_SUCCESS;
}

static NRT_STATUS write_payload(struct unpack *u, struct err *err)
{
    int fd = member_create(u->dir, PAYLOAD_NAME);
    NRT_STATUS st;

    if (fd < 0)
        return failed(err, PAYLOAD_NAME);
    st = write_all(fd, u->neff->payload, u->neff->payload_bytes, PAYLOAD_NAME, err);
    if (close(fd) != 0 && st == NRT_SUCCESS)
        st = failed(err, PAYLOAD_NAME);
    return st;
}

static NRT_STATUS unpack_to(const struct neff *neff, const char *dir, struct err *err)
{
    struct unpack u = {.neff = neff, .fd = -1};
    struct neff_sink sink = {want_all, chunk, &u};
    NRT_STATUS st = NRT_SUCCESS;

    if (neff_member_find(neff, PAYLOAD_NAME) != NEFF_NONE)
        return err_set(err, NRT_INVALID, "the NEFF has a member named " PAYLOAD_NAME);
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return err_set(err, NRT_FAILURE, "cannot create %s: %s", dir, strerror(errno));
    u.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (u.dir < 0)
        return err_set(err, NRT_FAILURE, "cannot open %s: %s", dir, strerror(errno));
    st = neff_stream(neff, &sink, err);
    if (u.fd >= 0)
        (void)close(u.fd);
    if (st == NRT_SUCCESS)
        st = write_empty(&u, err);
    if (st == NRT_SUCCESS)
        st = write_payload(&u, err);
    (void)close(u.dir);
    return st;
}

static void usage(FILE *f)
{
    fputs("usage: neuron-packager unpack [-o <dir>] <neff>\n\n"
          "  -o, --output <dir>  where to (default: the file's name without .neff)\n",
          f);
}

static int unpack_run(const char *path, const char *dir)
{
    struct neff_options opt = {.lenient = true, .index_only = true};
    struct strbuf name = {0};
    struct opened o;
    struct err err = {0};
    NRT_STATUS st;

    if (dir == NULL) {
        const char *base = strrchr(path, '/');
        size_t n;

        base = base != NULL ? base + 1 : path;
        n = strlen(base);
        if (n > 5 && strcmp(base + n - 5, ".neff") == 0)
            n -= 5;
        else
            strbuf_put(&name, n > 0 ? "unpacked_" : "unpacked"); /* not the file itself */
        strbuf_putn(&name, base, n);
        if (name.failed)
            return packager_fail("out of memory");
        dir = name.s;
    }
    st = packager_open(path, &opt, &o, &err);
    if (st == NRT_SUCCESS) {
        printf("Unpacking NEFF in \"%s\" directory...\n", dir);
        st = unpack_to(o.neff, dir, &err);
        packager_close(&o);
    }
    strbuf_fini(&name);
    return st == NRT_SUCCESS ? 0 : packager_fail(err.text);
}

int cmd_unpack(int argc, char **argv)
{
    static const struct option options[] = {
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *dir = NULL;
    int opt;

    while ((opt = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
        switch (opt) {
        case 'o':
            dir = optarg;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind + 1 != argc) {
        usage(stderr);
        return 2;
    }
    return unpack_run(argv[optind], dir);
}
