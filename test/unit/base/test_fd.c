/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors in a program that closed its own, and writes that would be signals. Each case runs in
 * a child, whose exit code is the line that failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

#define NEED(cond)                                        \
    do {                                                  \
        if (!(cond))                                      \
            _exit(__LINE__ & 0xff ? __LINE__ & 0xff : 1); \
    } while (0)

static void in_child(void (*fn)(void))
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        fail_msg("child ended with signal %d, code %d (the line modulo 256)",
                 WIFSIGNALED(status) ? WTERMSIG(status) : 0, WEXITSTATUS(status));
}

static void keeps_above_the_standard_ones(void)
{
    int fd, high;

    high = open("/dev/null", O_RDONLY);
    NEED(high > STDERR_FILENO && fd_keep(high) == high); /* nothing to do */
    for (int i = 0; i <= STDERR_FILENO; i++)
        close(i);
    for (int i = 0; i <= STDERR_FILENO; i++) {
        fd = open("/dev/null", O_RDWR);
        NEED(fd == 0);
        fd = fd_keep(fd);
        NEED(fd > STDERR_FILENO && fcntl(fd, F_GETFD) == FD_CLOEXEC);
        NEED(fcntl(0, F_GETFD) < 0 && errno == EBADF); /* the number is free again */
    }
    errno = ENOENT;
    NEED(fd_keep(-1) == -1 && errno == ENOENT);
}

static void keep_without_room_closes(void)
{
    struct rlimit one = {1, 1};

    for (int i = 0; i < 64; i++)
        close(i);
    NEED(open("/dev/null", O_RDWR) == 0);
    NEED(setrlimit(RLIMIT_NOFILE, &one) == 0);
    NEED(fd_keep(0) == -1 && (errno == EMFILE || errno == EINVAL));
    NEED(fcntl(0, F_GETFD) < 0 && errno == EBADF);
}

static void write_to_a_closed_pipe_is_a_status(void)
{
    sigset_t set, now;
    int p[2];

    NEED(pipe(p) == 0 && close(p[0]) == 0);
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 3; i++)
        NEED(!fd_write_all(p[1], "x", 1) && errno == EPIPE);
    sigpending(&set);
    NEED(!sigismember(&set, SIGPIPE));
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    NEED(!sigismember(&now, SIGPIPE) && !sigismember(&now, SIGXFSZ));

    /* One that the program has waiting stays. */
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise(SIGPIPE);
    NEED(!fd_write_all(p[1], "x", 1) && errno == EPIPE);
    sigpending(&now);
    NEED(sigismember(&now, SIGPIPE));
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    NEED(sigismember(&now, SIGPIPE));
}

static void write_beyond_the_file_limit_is_a_status(void)
{
    char path[] = "/tmp/opennrt-fd-XXXXXX", text[1000] = {0};
    struct rlimit limit = {1500, RLIM_INFINITY};
    int fd = mkstemp(path);

    NEED(fd >= 0 && unlink(path) == 0);
    NEED(fd_size_ok(UINT64_MAX)); /* no limit */
    NEED(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    NEED(fd_size_ok(0) && fd_size_ok(1500));
    errno = 0;
    NEED(!fd_size_ok(1501) && errno == EFBIG);
    NEED(fd_write_all(fd, text, sizeof(text)));
    NEED(!fd_write_all(fd, text, sizeof(text)) && errno == EFBIG);
    NEED(lseek(fd, 0, SEEK_END) == 1500);
}

/* A file that cannot be written whole leaves no part of itself: a new one is not there, another one
 * is empty. */
static void files_are_whole_or_give_their_room_back(void)
{
    char top[] = "/tmp/opennrt-fd-XXXXXX", path[64], text[1000] = {0};
    struct rlimit limit = {500, RLIM_INFINITY};
    struct stat sb;

    NEED(mkdtemp(top) != NULL);
    snprintf(path, sizeof(path), "%s/file", top);
    NEED(fd_file_write(path, text, sizeof(text), true));
    NEED(stat(path, &sb) == 0 && sb.st_size == sizeof(text));
    NEED(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    errno = 0;
    NEED(!fd_file_write(path, text, sizeof(text), true) && errno == EEXIST);
    NEED(stat(path, &sb) == 0 && sb.st_size == sizeof(text));
    errno = 0;
    NEED(!fd_file_write(path, text, sizeof(text), false) && errno == EFBIG);
    NEED(stat(path, &sb) == 0 && sb.st_size == 0);
    NEED(unlink(path) == 0);
    errno = 0;
    NEED(!fd_file_write(path, text, sizeof(text), true) && errno == EFBIG);
    NEED(stat(path, &sb) != 0 && errno == ENOENT);
    NEED(fd_file_write(path, text, 500, true));
    errno = 0;
    NEED(!fd_file_write("/dev/full", text, 1, false) && errno == ENOSPC);
    NEED(stat("/dev/full", &sb) == 0 && S_ISCHR(sb.st_mode));
    NEED(unlink(path) == 0 && rmdir(top) == 0);
}

static volatile sig_atomic_t ticks;

static void tick(int sig)
{
    ticks++;
}

/* A pipe takes the bytes in pieces, and a handler without SA_RESTART interrupts the writer. */
static void write_goes_on_after_an_interruption(void)
{
    static char out[1 << 20], in[1 << 20];
    struct sigaction sa = {.sa_handler = tick};
    size_t got = 0;
    int p[2], status;
    pid_t pid;

    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (char)(i * 7 + i / 4096);
    NEED(pipe(p) == 0);
    sigaction(SIGUSR1, &sa, NULL);
    pid = fork();
    if (pid == 0) {
        pid_t parent = getppid();

        close(p[1]);
        for (int i = 0; i < 1000; i++) { /* of a full pipe, too: nothing is written meanwhile */
            kill(parent, SIGUSR1);
            sched_yield();
        }
        while (got < sizeof(in)) {
            ssize_t n;

            kill(parent, SIGUSR1);
            n = read(p[0], in + got, 10000);
            if (n <= 0)
                _exit(1);
            got += (size_t)n;
        }
        _exit(memcmp(in, out, sizeof(in)) != 0);
    }
    close(p[0]);
    NEED(fd_write_all(p[1], out, sizeof(out)));
    while (waitpid(pid, &status, 0) < 0)
        NEED(errno == EINTR);
    NEED(status == 0 && ticks > 0);
}

/* As mkdir -p: a file is no folder, on the way or at the end. */
static void folders_are_folders(void)
{
    char top[] = "/tmp/opennrt-fd-XXXXXX", path[64];
    struct stat sb;

    NEED(mkdtemp(top) != NULL);
    snprintf(path, sizeof(path), "%s/a//b/", top);
    NEED(fd_folders_make(path) && fd_folders_make(path));
    NEED(stat(path, &sb) == 0 && S_ISDIR(sb.st_mode));
    snprintf(path, sizeof(path), "%s/link", top);
    NEED(symlink("a/b", path) == 0 && fd_folders_make(path)); /* to a folder */
    snprintf(path, sizeof(path), "%s/file", top);
    NEED(fd_file_write(path, "x", 1, true));
    errno = 0;
    NEED(!fd_folders_make(path) && errno == ENOTDIR);
    snprintf(path, sizeof(path), "%s/file/c", top);
    errno = 0;
    NEED(!fd_folders_make(path) && errno == ENOTDIR);
    snprintf(path, sizeof(path), "%s/lost", top);
    NEED(symlink("nothing", path) == 0);
    errno = 0;
    NEED(!fd_folders_make(path) && errno == ENOENT);
    unlink(path);
    snprintf(path, sizeof(path), "%s/file", top);
    unlink(path);
    snprintf(path, sizeof(path), "%s/link", top);
    unlink(path);
    snprintf(path, sizeof(path), "%s/a/b", top);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/a", top);
    rmdir(path);
    NEED(rmdir(top) == 0);
}

#define CASE(fn)                        \
    static void test_##fn(void **state) \
    {                                   \
        in_child(fn);                   \
    }
CASE(keeps_above_the_standard_ones)
CASE(keep_without_room_closes)
CASE(write_to_a_closed_pipe_is_a_status)
CASE(write_beyond_the_file_limit_is_a_status)
CASE(files_are_whole_or_give_their_room_back)
CASE(write_goes_on_after_an_interruption)
CASE(folders_are_folders)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_above_the_standard_ones),
        cmocka_unit_test(test_keep_without_room_closes),
        cmocka_unit_test(test_write_to_a_closed_pipe_is_a_status),
        cmocka_unit_test(test_write_beyond_the_file_limit_is_a_status),
        cmocka_unit_test(test_files_are_whole_or_give_their_room_back),
        cmocka_unit_test(test_write_goes_on_after_an_interruption),
        cmocka_unit_test(test_folders_are_folders),
    };

    return cmocka_run_group_tests_name("base-fd", tests, NULL, NULL);
}
