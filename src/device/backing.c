/* SPDX-License-Identifier: Apache-2.0 */
/* Two ways to back an HBM: sealed memfds that peers open through /proc, and files in OPENNRT_DIR.
 */
#include "device/device_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static bool fd_is(int fd, const struct backing_id *id, uint64_t size)
{
    struct stat sb;

    return fstat(fd, &sb) == 0 && (uint64_t)sb.st_dev == id->dev &&
           (uint64_t)sb.st_ino == id->ino && (uint64_t)sb.st_size == size;
}

static bool fd_id(int fd, struct backing_id *ret)
{
    struct stat sb;

    if (fstat(fd, &sb) != 0)
        return false;
    ret->dev = sb.st_dev;
    ret->ino = sb.st_ino;
    return true;
}

/* --- shared by both ----------------------------------------------------------------------------
 */

/* At a multiple of a block, so that blocks can be huge pages; anywhere if the address space has no
 * room to choose in. */
static void *map_aligned(int fd, uint64_t size)
{
    int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_NORESERVE;
    char *room = mmap(NULL, size + DEVICE_BLOCK, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *p;

    if (room == MAP_FAILED)
        return mmap(NULL, size, prot, flags, fd, 0);
    p = room + (size_t)(-(uintptr_t)room % DEVICE_BLOCK);
    if (mmap(p, size, prot, flags | MAP_FIXED, fd, 0) == MAP_FAILED) {
        munmap(room, size + DEVICE_BLOCK);
        return MAP_FAILED;
    }
    if (p > room)
        munmap(room, (size_t)(p - room));
    munmap(p + size, (size_t)(room + DEVICE_BLOCK - p)); /* never empty */
    return p;
}

static NRT_STATUS any_map(const struct device_instance *in, int fd, uint64_t size, char **ret_p,
                          struct err *err)
{
    void *p = MAP_FAILED;
    struct rlimit rl;

    if (!fault_hit(FAULT_MMAP))
        p = map_aligned(fd, size);
    if (p == MAP_FAILED) {
        int e = errno;

        if (getrlimit(RLIMIT_AS, &rl) == 0 && rl.rlim_cur != RLIM_INFINITY)
            return err_set(err, NRT_RESOURCE,
                           "cannot map %llu GiB of device memory: the address space is limited to "
                           "%llu MiB (ulimit -v); raise the limit",
                           (unsigned long long)size >> 30, (unsigned long long)rl.rlim_cur >> 20);
        return err_set(err, NRT_RESOURCE, "cannot map %llu GiB of device memory: %s",
                       (unsigned long long)size >> 30, strerror(e));
    }
    madvise(p, size, MADV_DONTDUMP);
    madvise(p, size, MADV_HUGEPAGE); /* where the host allows it for shared memory */
    *ret_p = p;
    return NRT_SUCCESS;
}

static void any_write(char *base, uint64_t off, const void *src, uint64_t size)
{
    if (src)
        memcpy(base + off, src, size);
    else
        memset(base + off, 0, size);
}

static bool any_punch(int fd, uint64_t off, uint64_t size)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)size) == 0;
}

static NRT_STATUS file_back(int fd, char *base, uint64_t off, uint64_t size)
{
    int rc;

    (void)base;
    do {
        rc = posix_fallocate(fd, (off_t)off, (off_t)size);
    } while (rc == EINTR);
    return rc == 0 ? NRT_SUCCESS : NRT_RESOURCE;
}

/* --- memfd
 * ---------------------------------------------------------------------------------------- */

static NRT_STATUS memfd_backing_create(const struct device_instance *in, uint32_t hbm, int *ret_fd,
                                       struct backing_id *ret_id, struct err *err)
{
    char name[64];
    int fd = -1;

    snprintf(name, sizeof(name), "opennrt-hbm-%u", hbm);
    if (!fault_hit(FAULT_BACKING))
        fd = fd_keep(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd < 0)
        return err_set(err, NRT_RESOURCE,
                       "cannot make memory for HBM %u: %s; set OPENNRT_DIR to a folder for files",
                       hbm, strerror(errno));
    if (!fd_size_ok(in->hbm_bytes) || ftruncate(fd, (off_t)in->hbm_bytes) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
        !fd_id(fd, ret_id)) {
        int e = errno;

        close(fd);
        return err_set(err, NRT_RESOURCE, "cannot size memory for HBM %u: %s%s", hbm, strerror(e),
                       fd_size_hint(e));
    }
    *ret_fd = fd;
    return NRT_SUCCESS;
}

static NRT_STATUS memfd_backing_attach(const struct device_instance *in, uint32_t hbm, int pid,
                                       int fd, const struct backing_id *id, int *ret_fd,
                                       struct err *err)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
    int own = fault_hit(FAULT_BACKING) ? -1 : fd_keep(open(path, O_RDWR | O_CLOEXEC));
    if (own < 0 || !fd_is(own, id, in->hbm_bytes)) {
        int e = own < 0 ? errno : ESTALE;

        if (own >= 0)
            close(own);
        return err_set(
            err, e == ENOENT || e == ESRCH ? NRT_INVALID_HANDLE : NRT_FAILURE,
            "cannot open HBM %u of process %d through /proc: %s; processes that cannot see "
            "each other need OPENNRT_DIR, set before the instance is made",
            hbm, pid, strerror(e));
    }
    *ret_fd = own;
    return NRT_SUCCESS;
}

/* Populating gives a status where a page fault would give a signal, and saves the faults. */
static NRT_STATUS memfd_backing_back(int fd, char *base, uint64_t off, uint64_t size)
{
    int rc;

    do {
        rc = madvise(base + off, size, MADV_POPULATE_WRITE);
    } while (rc != 0 && (errno == EINTR || errno == EAGAIN));
    if (rc == 0)
        return NRT_SUCCESS;
    return errno == EINVAL ? file_back(fd, base, off, size) : NRT_RESOURCE; /* before Linux 5.14 */
}

/* Of linux/udmabuf.h, which is not everywhere. */
struct udmabuf_create_args {
    uint32_t memfd, flags;
    uint64_t offset, size;
};
#define UDMABUF_CREATE_NR _IOW('u', 0x42, struct udmabuf_create_args)

static NRT_STATUS memfd_backing_export(int fd, uint64_t off, uint64_t size, int *ret_fd)
{
    struct udmabuf_create_args args = {
        .memfd = (uint32_t)fd, .flags = 1 /* CLOEXEC */, .offset = off, .size = size};
    int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);

    if (dev < 0)
        return NRT_INVALID;
    int buf = ioctl(dev, UDMABUF_CREATE_NR, &args);
    int e = errno;
    close(dev);
    errno = e;
    if (buf < 0)
        return NRT_INVALID;
    *ret_fd = buf;
    return NRT_SUCCESS;
}

static void memfd_backing_destroy(const struct device_instance *in, uint32_t hbm)
{
    (void)in; /* gone with the last descriptor */
    (void)hbm;
}

static const struct backing_ops memfd_ops = {
    .name = "memfd",
    .create = memfd_backing_create,
    .attach = memfd_backing_attach,
    .map = any_map,
    .back = memfd_backing_back,
    .write = any_write,
    .punch = any_punch,
    .export_fd = memfd_backing_export,
    .destroy = memfd_backing_destroy,
};

/* --- files
 * ------------------------------------------------------------------------------------------ */

static void file_path(const struct device_instance *in, uint32_t hbm, char *buf, size_t size)
{
    char dir[CTL_PATH_MAX + 1] = {0};

    memcpy(dir, ctl_head(in)->hbm_dir, CTL_PATH_MAX);
    snprintf(buf, size, "%s/opennrt-%u-%s-%016llx.hbm%u", dir, (unsigned)geteuid(), in->name,
             (unsigned long long)ctl_head(in)->serial, hbm);
}

static NRT_STATUS file_backing_create(const struct device_instance *in, uint32_t hbm, int *ret_fd,
                                      struct backing_id *ret_id, struct err *err)
{
    char path[2 * CTL_PATH_MAX];
    int fd = -1;

    file_path(in, hbm, path, sizeof(path));
    unlink(path); /* what a killed process left */
    if (!fault_hit(FAULT_BACKING))
        fd = fd_keep(open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (fd < 0)
        return err_set(err, NRT_RESOURCE, "cannot make %s (OPENNRT_DIR): %s", path,
                       strerror(errno));
    if (!fd_size_ok(in->hbm_bytes) || ftruncate(fd, (off_t)in->hbm_bytes) != 0 ||
        !fd_id(fd, ret_id)) {
        int e = errno;

        close(fd);
        unlink(path);
        return err_set(err, NRT_RESOURCE, "cannot size %s: %s%s", path, strerror(e),
                       fd_size_hint(e));
    }
    *ret_fd = fd;
    return NRT_SUCCESS;
}

static NRT_STATUS file_backing_attach(const struct device_instance *in, uint32_t hbm, int pid,
                                      int fd, const struct backing_id *id, int *ret_fd,
                                      struct err *err)
{
    char path[2 * CTL_PATH_MAX];

    (void)pid;
    (void)fd;
    file_path(in, hbm, path, sizeof(path));
    int own = fault_hit(FAULT_BACKING) ? -1 : fd_keep(open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (own < 0 || !fd_is(own, id, in->hbm_bytes)) {
        int e = own < 0 ? errno : ESTALE;

        if (own >= 0)
            close(own);
        return err_set(err, NRT_FAILURE, "cannot open %s (OPENNRT_DIR): %s", path, strerror(e));
    }
    *ret_fd = own;
    return NRT_SUCCESS;
}

static NRT_STATUS file_backing_export(int fd, uint64_t off, uint64_t size, int *ret_fd)
{
    (void)fd;
    (void)off;
    (void)size;
    (void)ret_fd;
    errno = ENOTSUP;
    return NRT_INVALID;
}

static void file_backing_destroy(const struct device_instance *in, uint32_t hbm)
{
    char path[2 * CTL_PATH_MAX];

    file_path(in, hbm, path, sizeof(path));
    unlink(path);
}

static const struct backing_ops file_ops = {
    .name = "file",
    .outlives = true,
    .create = file_backing_create,
    .attach = file_backing_attach,
    .map = any_map,
    .back = file_back,
    .write = any_write,
    .punch = any_punch,
    .export_fd = file_backing_export,
    .destroy = file_backing_destroy,
};

const struct backing_ops *backing_for(const struct device_instance *in)
{
    return ctl_head(in)->hbm_dir[0] ? &file_ops : &memfd_ops;
}
