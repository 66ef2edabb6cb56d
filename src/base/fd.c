/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
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
