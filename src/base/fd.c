/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int fd_keep(int fd)
{
    int kept, saved;

    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    kept = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    saved = errno;
    close(fd);
    errno = saved;
    return kept;
}

bool fd_size_ok(uint64_t end)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        end <= limit.rlim_cur)
        return true;
    errno = EFBIG;
    return false;
}

const char *fd_size_hint(int e)
{
    return e == EFBIG ? "; the size of files is limited (ulimit -f), raise the limit" : "";
}

static bool write_rest(int fd, const char *p, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, p, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        p += n;
        size -= (size_t)n;
    }
    return true;
}

/* The two signals are sent to the writing thread: hold them back, and take them off again unless
 * the program itself had one of them waiting. */
bool fd_write_all(int fd, const void *data, size_t size)
{
    static const struct timespec at_once = {0};
    sigset_t ours, old, before, after;
    bool ok;
    int saved;

    sigemptyset(&ours);
    sigaddset(&ours, SIGPIPE);
    sigaddset(&ours, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &ours, &old);
    sigpending(&before);
    ok = write_rest(fd, data, size);
    saved = errno;
    if (!ok && (saved == EPIPE || saved == EFBIG)) {
        int sig = saved == EPIPE ? SIGPIPE : SIGXFSZ;

        sigpending(&after);
        if (sigismember(&after, sig) && !sigismember(&before, sig)) {
            sigemptyset(&ours);
            sigaddset(&ours, sig);
            while (sigtimedwait(&ours, NULL, &at_once) < 0 && errno == EINTR)
                ;
        }
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = saved;
    return ok;
}

/* ---- whole files ---- */

bool fd_folders_make(const char *path)
{
    char dir[PATH_MAX];
    size_t n = strlen(path);
    struct stat sb;

    if (fault_hit(FAULT_FILE))
        return false;
    if (n == 0 || n >= sizeof(dir)) {
        errno = n == 0 ? ENOENT : ENAMETOOLONG;
        return false;
    }
    memcpy(dir, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (dir[i] != '/' && dir[i] != '\0')
            continue;
        dir[i] = '\0';
        if (mkdir(dir, 0755) != 0 && errno != EEXIST)
            return false;
        dir[i] = path[i];
    }
    if (stat(dir, &sb) != 0)
        return false;
    errno = ENOTDIR;
    return S_ISDIR(sb.st_mode);
}

bool fd_file_end(int fd, const void *data, size_t size)
{
    bool ok = !fault_hit(FAULT_FILE) && fd_write_all(fd, data, size);
    int saved = errno;

    if (ok)
        return close(fd) == 0;
    if (ftruncate(fd, 0) != 0) /* not of a file: it had nothing to give back */
        errno = saved;
    (void)close(fd);
    errno = saved;
    return false;
}

bool fd_file_write(const char *path, const void *data, size_t size, bool fresh)
{
    int fd, saved;

    if (fault_hit(FAULT_FILE))
        return false;
    fd = fd_keep(open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (fresh ? O_EXCL : O_TRUNC), 0644));
    if (fd < 0)
        return false;
    if (fd_file_end(fd, data, size))
        return true;
    saved = errno;
    if (fresh)
        (void)unlink(path);
    errno = saved;
    return false;
}
