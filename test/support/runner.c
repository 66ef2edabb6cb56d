/* SPDX-License-Identifier: Apache-2.0 */
#include "runner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELPER_FLAG "--runner-helper"
#define ARGS_MAX    64

static long long now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* Children that nobody has waited for yet; 0: a free place. More are forgotten. Tests start and
 * wait in one thread. */
static pid_t left_[256];
#define LEFT_MAX (sizeof(left_) / sizeof(left_[0]))

static void left_change(pid_t from, pid_t to)
{
    for (size_t i = 0; i < LEFT_MAX; i++) {
        if (left_[i] == from) {
            left_[i] = to;
            return;
        }
    }
}

int runner_dispatch(int argc, char **argv, const struct runner_helper *helpers)
{
    if (argc < 3 || strcmp(argv[1], HELPER_FLAG) != 0)
        return -1;
    for (; helpers->name != NULL; helpers++) {
        if (strcmp(helpers->name, argv[2]) == 0)
            return helpers->fn(argc - 2, argv + 2) & 255;
    }
    fprintf(stderr, "runner: no helper \"%s\"\n", argv[2]);
    return 127;
}

static void child_run(const char *path, const char *const *argv, const char *const *env,
                      const int in[2], const int out[2], pid_t parent)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    for (; env != NULL && *env != NULL; env++) {
        if (strchr(*env, '=') != NULL)
            putenv((char *)(size_t)*env);
        else
            unsetenv(*env);
    }
    execvp(path, (char *const *)(size_t)argv);
    fprintf(stderr, "runner: cannot run %s: %s\n", path, strerror(errno));
    _exit(127);
}

static bool start(struct runner_proc *p, const char *path, const char *const *argv,
                  const char *const *env)
{
    int in[2], out[2];
    pid_t parent = getpid();

    memset(p, 0, sizeof(*p));
    if (pipe2(in, O_CLOEXEC) != 0)
        return false;
    if (pipe2(out, O_CLOEXEC) != 0) {
        close(in[0]);
        close(in[1]);
        return false;
    }
    fflush(NULL);
    p->pid = fork();
    if (p->pid == 0)
        child_run(path, argv, env, in, out, parent);
    close(in[0]);
    close(out[1]);
    p->to = in[1];
    p->from = out[0];
    if (p->pid < 0) {
        close(p->to);
        close(p->from);
        p->pid = 0;
        return false;
    }
    left_change(0, p->pid);
    return true;
}

bool runner_start(struct runner_proc *p, const char *name, const char *const *args,
                  const char *const *env)
{
    const char *argv[ARGS_MAX] = {NULL};
    const char *wrapper = getenv("OPENNRT_EXE_WRAPPER");
    char self[4096];
    size_t n = 0;
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (len < 0)
        return false;
    self[len] = '\0';
    if (wrapper != NULL && wrapper[0] != '\0')
        argv[n++] = wrapper;
    argv[n++] = self;
    argv[n++] = HELPER_FLAG;
    argv[n++] = name;
    for (; args != NULL && *args != NULL && n < ARGS_MAX - 1; args++)
        argv[n++] = *args;
    return start(p, argv[0], argv, env);
}

bool runner_start_program(struct runner_proc *p, const char *const *argv, const char *const *env)
{
    return start(p, argv[0], argv, env);
}

bool runner_tell(struct runner_proc *p, const char *line)
{
    return dprintf(p->to, "%s\n", line) > 0;
}

bool runner_peek(const struct runner_proc *p, int timeout_ms)
{
    struct pollfd pfd = {.fd = p->from, .events = POLLIN};

    return p->len > 0 || poll(&pfd, 1, timeout_ms) > 0;
}

bool runner_line(struct runner_proc *p, char *buf, size_t size, int timeout_ms)
{
    long long end = now_ms() + timeout_ms;

    for (;;) {
        char *nl = memchr(p->buf, '\n', p->len);
        struct pollfd pfd = {.fd = p->from, .events = POLLIN};
        long long left = end - now_ms();
        ssize_t got;

        if (nl != NULL || p->len == sizeof(p->buf)) {
            size_t n = nl != NULL ? (size_t)(nl - p->buf) : p->len;
            size_t used = nl != NULL ? n + 1 : n;

            snprintf(buf, size, "%.*s", (int)n, p->buf);
            memmove(p->buf, p->buf + used, p->len - used);
            p->len -= used;
            return true;
        }
        if (left <= 0 || (poll(&pfd, 1, (int)left) <= 0 && errno != EINTR))
            return false;
        got = read(p->from, p->buf + p->len, sizeof(p->buf) - p->len);
        if (got <= 0)
            return false;
        p->len += (size_t)got;
    }
}

bool runner_expect(struct runner_proc *p, const char *line, int timeout_ms)
{
    long long end = now_ms() + timeout_ms;
    char got[sizeof(p->buf) + 1];

    while (runner_line(p, got, sizeof(got), (int)(end - now_ms()))) {
        if (strcmp(got, line) == 0)
            return true;
        fprintf(stderr, "runner: helper said \"%s\"\n", got);
    }
    return false;
}

void runner_kill(struct runner_proc *p, int sig)
{
    if (p->pid > 0)
        kill(p->pid, sig);
}

/* True when the process has ended within the time. */
static bool wait_end(pid_t pid, int *status, int timeout_ms)
{
    long long end = now_ms() + timeout_ms;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    for (;;) {
        pid_t got = waitpid(pid, status, WNOHANG);
        long long left = end - now_ms();

        if (got != 0 || left <= 0) {
            if (fd >= 0)
                close(fd);
            return got == pid;
        }
        if (fd >= 0) {
            struct pollfd pfd = {.fd = fd, .events = POLLIN};

            poll(&pfd, 1, (int)left);
        } else { /* an emulator without pidfd */
            struct timespec ts = {0, 1000000};

            nanosleep(&ts, NULL);
        }
    }
}

int runner_wait(struct runner_proc *p, int timeout_ms)
{
    int status = 0, rc;

    if (p->pid <= 0)
        return RUNNER_TIMED_OUT;
    close(p->to);
    if (wait_end(p->pid, &status, timeout_ms)) {
        rc = WIFEXITED(status) ? WEXITSTATUS(status) : RUNNER_SIGNAL(WTERMSIG(status));
    } else {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, &status, 0);
        rc = RUNNER_TIMED_OUT;
    }
    close(p->from);
    left_change(p->pid, 0);
    p->pid = 0;
    return rc;
}

void runner_drop_all(void)
{
    for (size_t i = 0; i < LEFT_MAX; i++) {
        if (left_[i] != 0 && kill(left_[i], SIGKILL) == 0)
            waitpid(left_[i], NULL, 0);
        left_[i] = 0;
    }
}

void runner_say(const char *line)
{
    fflush(stdout);
    if (dprintf(STDOUT_FILENO, "%s\n", line) < 0)
        exit(125);
}

bool runner_hear(char *buf, size_t size)
{
    size_t n = 0;
    char c;

    /* One byte at a time: nothing of a later line may stay in a buffer. */
    while (read(STDIN_FILENO, &c, 1) == 1) {
        if (c == '\n') {
            buf[n] = '\0';
            return true;
        }
        if (n + 1 < size)
            buf[n++] = c;
    }
    return false;
}

unsigned runner_open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

bool runner_emulated(void)
{
    void *head;
    size_t len;

    return syscall(SYS_get_robust_list, 0, &head, &len) != 0 && errno == ENOSYS;
}

bool runner_emulator_lacks(const char *test, const char *why)
{
    if (!runner_emulated())
        return false;
    printf("NOT RUN %s: %s\n", test, why);
    fflush(stdout);
    return true;
}

unsigned runner_rounds(unsigned n)
{
    return runner_emulated() ? (n + 3) / 4 : n;
}

uint64_t runner_hbm_bytes(void)
{
    return runner_emulated() ? UINT64_C(256) << 20 : 0;
}

static void watchdog_fire(int sig)
{
    static const char text[] = "watchdog: the test did not end in time\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

    (void)sig;
    (void)ignored;
    abort();
}

void runner_watchdog(unsigned idle_seconds)
{
    signal(SIGALRM, watchdog_fire);
    alarm(10 * idle_seconds);
}

int runner_last_cpu(void)
{
    cpu_set_t set;
    int last = -1;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        for (int i = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &set))
                last = i;
    return last;
}

static bool thread_is(int tid, const char *name)
{
    char path[64], line[32] = "";
    FILE *f;

    snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
    f = fopen(path, "r");
    if (!f)
        return false;
    if (!fgets(line, sizeof(line), f))
        line[0] = 0;
    fclose(f);
    line[strcspn(line, "\n")] = 0;
    return strcmp(line, name) == 0;
}

/* How many there are, one of them, and the CPUs that are the only one of any. */
static unsigned threads_find(const char *name, int *ret_tid, cpu_set_t *ret_pinned)
{
    DIR *d = opendir("/proc/self/task");
    struct dirent *e;
    unsigned n = 0;

    CPU_ZERO(ret_pinned);
    while (d && (e = readdir(d)))
        if (atoi(e->d_name) > 0 && thread_is(atoi(e->d_name), name)) {
            cpu_set_t set;

            *ret_tid = atoi(e->d_name);
            if (sched_getaffinity(*ret_tid, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1)
                CPU_OR(ret_pinned, ret_pinned, &set);
            n++;
        }
    if (d)
        closedir(d);
    return n;
}

unsigned runner_thread_count(const char *name)
{
    cpu_set_t pinned;
    int tid;

    return threads_find(name, &tid, &pinned);
}

unsigned runner_threads_pinned(const char *name)
{
    cpu_set_t pinned;
    int tid;

    (void)threads_find(name, &tid, &pinned);
    return (unsigned)CPU_COUNT(&pinned);
}

unsigned runner_threads_become(const char *name, unsigned want)
{
    time_t end = time(NULL) + RUNNER_WAIT_MS / 1000;
    unsigned n;

    while ((n = runner_thread_count(name)) != want && time(NULL) < end)
        sched_yield();
    return n;
}

int runner_thread_cpu(const char *name)
{
    time_t end = time(NULL) + RUNNER_WAIT_MS / 1000;
    int tid = 0, cpu = 0;
    cpu_set_t set;

    while (threads_find(name, &tid, &set) == 0 && time(NULL) < end)
        sched_yield(); /* it gives itself its name when it runs first */
    if (tid == 0 || sched_getaffinity(tid, sizeof(set), &set) != 0 || CPU_COUNT(&set) != 1)
        return -1;
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    return cpu;
}
