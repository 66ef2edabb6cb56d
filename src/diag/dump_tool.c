/* SPDX-License-Identifier: Apache-2.0 */
/* What is done around a dump's files: the tail of the log, and the run of neuron-dump, whose flags
 * are the published ones. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/broken.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/log.h"
#include "diag/dump_int.h"
#include "run/run.h"

#define LIMIT_MS 60000
#define LOOK_MS  20

extern char **environ;

/* ---- the log ---- */

struct tail {
    int fd, error;
};

static void tail_line(void *arg, const char *text)
{
    struct tail *t = arg;

    if (t->error == 0 && (fault_hit(FAULT_FILE) || !fd_write_all(t->fd, text, strlen(text)) ||
                          !fd_write_all(t->fd, "\n", 1)))
        t->error = errno;
}

/* Under another name until it is whole: an earlier dump's stays if this one fails. */
void dump_log(struct dump *d)
{
    char name[192], part[200];
    struct tail t = {.fd = -1};
    struct plain p;

    if (d->dir_fd < 0)
        return;
    plain_init(&p, name, sizeof(name));
    plain_put(&p, d->instance);
    plain_put(&p, "-nrt-pid-");
    plain_i64(&p, d->pid);
    plain_put(&p, ".log");
    plain_init(&p, part, sizeof(part));
    plain_put(&p, name);
    plain_put(&p, ".");
    plain_u64(&p, d->log_id, 0);
    if (!fault_hit(FAULT_FILE))
        t.fd = fd_keep(
            openat(d->dir_fd, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (t.fd < 0) {
        dump_warn(d, name, errno);
        return;
    }
    (void)log_tail(d->cfg->log, !d->quick, tail_line, &t);
    if (close(t.fd) != 0 && t.error == 0)
        t.error = errno;
    if (t.error == 0 && renameat(d->dir_fd, part, d->dir_fd, name) == 0)
        return;
    dump_warn(d, name, t.error ? t.error : errno);
    (void)unlinkat(d->dir_fd, part, 0);
}

/* ---- neuron-dump ---- */

#define ARGS_MAX 32

struct args {
    char *argv[ARGS_MAX];
    unsigned n;
    char text[4096];
    struct plain p; /* over text: the values that are made here */
};

static void arg_put(struct args *a, const char *flag, const char *value)
{
    a->argv[a->n++] = (char *)flag;
    a->argv[a->n++] = (char *)value;
}

/* A value made here: begin, put into a->p, end. */
static char *value_begin(struct args *a)
{
    return a->p.buf + a->p.len;
}

static void value_end(struct args *a, const char *flag, char *value)
{
    plain_putn(&a->p, "", 1); /* its NUL */
    arg_put(a, flag, value);
}

static void arg_number(struct args *a, const char *flag, int64_t v)
{
    char *value = value_begin(a);

    plain_i64(&a->p, v);
    value_end(a, flag, value);
}

static void args_make(struct args *a, const struct dump *d, const char *date, const char *s3)
{
    char *value;

    a->n = 0;
    plain_init(&a->p, a->text, sizeof(a->text));
    a->argv[a->n++] = (char *)d->cfg->tool;
    arg_put(a, "--neff-name", d->neff_name);
    value = value_begin(a);
    plain_bytes(&a->p, d->neff_uuid, sizeof(d->neff_uuid));
    value_end(a, "--neff-uuid", value);
    arg_put(a, "--date-time", date);
    arg_number(a, "--pid", d->pid);
    arg_number(a, "--tid", d->tid);
    arg_number(a, "--log-id", d->log_id);
    arg_put(a, "--instance-id", d->instance);
    value = value_begin(a);
    plain_hex(&a->p, d->cluster, 16);
    value_end(a, "--cluster-id", value);
    arg_put(a, "--error-location", d->call);
    arg_number(a, "--error-code", d->status);
    arg_put(a, "--local-output-dir", d->dir);
    if (s3)
        arg_put(a, "--s3-output-prefix", s3);
    a->argv[a->n] = NULL;
}

/* Not by fork: the program's own handlers would run, and those of its other libraries. Signals are
 * as at the start of a program, nothing is inherited but standard error, which is its output. */
static int spawn(const struct args *a, pid_t *ret_pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int rc;

    if (fault_hit(FAULT_THREAD))
        return EAGAIN;
    if ((rc = posix_spawn_file_actions_init(&files)) != 0)
        return rc;
    if ((rc = posix_spawnattr_init(&attr)) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return rc;
    }
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    rc = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0 && fcntl(STDERR_FILENO, F_GETFD) >= 0)
        rc = posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
    if (rc == 0)
        rc = posix_spawn(ret_pid, a->argv[0], &files, &attr, a->argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

/* It has ended, or the program has waited for it already. */
static bool is_over(pid_t pid)
{
    siginfo_t how = {.si_pid = 0};

    return waitid(P_PID, (id_t)pid, &how, WEXITED | WNOHANG | WNOWAIT) != 0 || how.si_pid != 0;
}

/* Whether it ended within the limit; else it is killed, with what it has started. Without a
 * descriptor for it, which older containers forbid, it is looked at again and again. */
static bool await(pid_t pid)
{
    struct pollfd ended = {.events = POLLIN};
    uint64_t end = run_now_ns() + LIMIT_MS * UINT64_C(1000000), now;
    bool over;

    ended.fd = fault_hit(FAULT_THREAD) ? -1 : fd_keep(pidfd_open(pid, 0));
    while (!(over = is_over(pid)) && (now = run_now_ns()) < end) {
        int left = (int)((end - now) / 1000000) + 1;

        (void)poll(&ended, 1, ended.fd < 0 && left > LOOK_MS ? LOOK_MS : left);
    }
    if (!over)
        (void)kill(-pid, SIGKILL);
    if (ended.fd >= 0)
        close(ended.fd);
    return over;
}

void dump_tool(struct dump *d)
{
    char date[DUMPDIR_DATE], s3[DUMPDIR_MAX];
    struct dumpdir_names names = {.epoch = d->epoch,
                                  .cluster = d->cluster,
                                  .pid = d->pid,
                                  .tid = d->tid,
                                  .log_id = d->log_id,
                                  .instance = d->instance};
    struct args a;
    int rc, how = 0;
    pid_t pid = 0;

    if (BROKEN(DUMP))
        return;
    dumpdir_date(d->epoch, date);
    if (d->cfg->has_s3 && !dumpdir_expand(d->cfg->s3, &names, s3, sizeof(s3))) {
        dump_warn(d, "NEURON_RT_S3_CORE_DUMP_PREFIX", 0);
        return;
    }
    args_make(&a, d, date, d->cfg->has_s3 ? s3 : NULL);
    rc = spawn(&a, &pid);
    if (rc != 0) {
        dump_warn(d, d->cfg->tool, rc);
        return;
    }
    if (!await(pid))
        LOGW(d->cfg->log, LOG_NRT, "nrt_core_dump", "%s was ended after %d s", d->cfg->tool,
             LIMIT_MS / 1000);
    while ((rc = waitpid(pid, &how, 0)) < 0 && errno == EINTR)
        ;
    if (rc < 0) /* the program waits for all children, or ignores them */
        LOGI(d->cfg->log, LOG_NRT, "nrt_core_dump", "core dump %u is in %s", d->log_id, d->dir);
    else if (WIFEXITED(how) && WEXITSTATUS(how) == 0)
        LOGI(d->cfg->log, LOG_NRT, "nrt_core_dump", "core dump %u is in %s, %s ended with 0",
             d->log_id, d->dir, d->cfg->tool);
    else
        LOGW(d->cfg->log, LOG_NRT, "nrt_core_dump", "core dump %u is in %s, %s ended with %s %d",
             d->log_id, d->dir, d->cfg->tool, WIFEXITED(how) ? "status" : "signal",
             WIFEXITED(how) ? WEXITSTATUS(how) : WTERMSIG(how));
}
