/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that others start: Open MPI's mpirun over a list of hosts, or Slurm's srun in a job. On
 * each node this program runs again with the same command line and the number of the step. */
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/settings.h"
#include "launch.h"
#include "nrt/nrt.h"

extern char **environ;

/* ---- lists of words ---- */

struct words {
    char **args;
    unsigned n;
    bool full;
};

static void word_add(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void word_add(struct words *w, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (w->n + 1 >= CC_ARGS_MAX || vasprintf(&text, fmt, ap) < 0)
        w->full = true;
    else
        w->args[w->n++] = text;
    va_end(ap);
    w->args[w->n] = NULL;
}

void cc_args_free(char **args)
{
    for (unsigned i = 0; args[i] != NULL; i++)
        free(args[i]);
    args[0] = NULL;
}

/* ---- commands ---- */

/* Runs a command to its end; its output (cut) goes to buf. False: it could not be run, or failed.
 */
static bool command_run(char **args, char *buf, size_t size)
{
    int out[2], status = -1;
    size_t len = 0;
    char bytes[512];
    ssize_t n;
    pid_t pid;

    if (pipe2(out, O_CLOEXEC) != 0)
        return false;
    pid = fork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        execvp(args[0], args);
        fprintf(stderr, "%s: %s\n", args[0], strerror(errno));
        _exit(127);
    }
    close(out[1]);
    while (pid > 0 && (n = read(out[0], bytes, sizeof(bytes))) > 0)
        for (ssize_t i = 0; i < n && len + 1 < size; i++)
            buf[len++] = bytes[i];
    buf[len] = '\0';
    close(out[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static NRT_STATUS command_fail(struct err *err, char **args, const char *said)
{
    return err_set(err, NRT_INVALID, "%s failed: %.300s", args[0], said);
}

/* ---- hosts ---- */

/* One host a line; blank lines and those that begin with '#' are left out. */
static NRT_STATUS hosts_file_read(struct cc_launch *l, const char *path, unsigned *ret,
                                  struct err *err)
{
    FILE *f = fopen(path, "r");
    char line[256], *to = l->host_text, *word, *save;
    size_t room = sizeof(l->host_text);

    if (f == NULL)
        return err_set(err, NRT_INVALID, "%s: %s", path, strerror(errno));
    while (*ret < CC_HOSTS_MAX && fgets(line, sizeof(line), f) != NULL) {
        save = NULL;
        word = strtok_r(line, " \t\r\n", &save);
        if (word == NULL || word[0] == '#' || strlen(word) + 1 > room)
            continue;
        memcpy(to, word, strlen(word) + 1);
        l->hosts[(*ret)++] = to;
        room -= strlen(word) + 1;
        to += strlen(word) + 1;
    }
    fclose(f);
    return NRT_SUCCESS;
}

static NRT_STATUS hosts_find(struct cc_launch *l, struct err *err)
{
    const struct cc_options *o = &l->job->o;
    const char *home = getenv("HOME");
    char path[CC_PATH_MAX];
    unsigned n = o->host_count;
    NRT_STATUS st = NRT_SUCCESS;

    memcpy(l->hosts, o->hosts, sizeof(o->hosts));
    if (n == 0 && o->hosts_file != NULL) {
        st = hosts_file_read(l, o->hosts_file, &n, err);
    } else if (n == 0 && home != NULL) {
        snprintf(path, sizeof(path), "%s/hosts", home);
        if (access(path, F_OK) == 0)
            st = hosts_file_read(l, path, &n, err);
    }
    if (st == NRT_SUCCESS && n < o->nodes)
        return err_set(err, NRT_INVALID,
                       "%u nodes need %u hosts, %u are given: --hosts, --hosts-file or ~/hosts",
                       o->nodes, o->nodes, n);
    if (st == NRT_SUCCESS && settings_str("NEURON_RT_ROOT_COMM_ID", NULL) == NULL)
        return err_set(
            err, NRT_INVALID,
            "several nodes need NEURON_RT_ROOT_COMM_ID=<address of the first host>:<free "
            "port>");
    return st;
}

/* ---- Slurm ---- */

static void srun_begin(const struct cc_launch *l, struct words *w)
{
    word_add(w, "srun");
    word_add(w, "--jobid=%s", l->slurm_job);
    word_add(w, "--nodes=%u", l->job->o.nodes);
    word_add(w, "--ntasks=%u", l->job->o.nodes);
    word_add(w, "--ntasks-per-node=1");
}

static NRT_STATUS slurm_job_make(struct cc_launch *l, struct err *err)
{
    static const char granted[] = "Granted job allocation ";
    char *args[CC_ARGS_MAX], said[4096];
    struct words w = {.args = args};
    const char *at = NULL;
    bool ok;

    word_add(&w, "salloc");
    word_add(&w, "--nodes=%u", l->job->o.nodes);
    word_add(&w, "--no-shell");
    ok = command_run(args, said, sizeof(said));
    at = ok ? strstr(said, granted) : NULL;
    if (at == NULL || !isdigit((unsigned char)at[sizeof(granted) - 1])) {
        command_fail(err, args, said);
        cc_args_free(args);
        return NRT_INVALID;
    }
    cc_args_free(args);
    at += sizeof(granted) - 1;
    snprintf(l->slurm_job, sizeof(l->slurm_job), "%.*s", (int)strspn(at, "0123456789"), at);
    l->slurm_own = true;
    return NRT_SUCCESS;
}

/* The least number of CPUs of the nodes. */
static NRT_STATUS vcpus_ask(struct cc_launch *l, struct err *err)
{
    char *args[CC_ARGS_MAX], said[8192], *save = NULL;
    struct words w = {.args = args};
    bool ok;

    srun_begin(l, &w);
    word_add(&w, "nproc");
    ok = command_run(args, said, sizeof(said));
    for (char *word = strtok_r(said, " \n", &save); ok && word != NULL;
         word = strtok_r(NULL, " \n", &save)) {
        int64_t n;

        if (settings_parse_int(word, &n) && n > 0 && n < 65536 &&
            (l->vcpus == 0 || n < (int64_t)l->vcpus))
            l->vcpus = (uint32_t)n;
    }
    if (l->vcpus == 0)
        command_fail(err, args, said);
    cc_args_free(args);
    return l->vcpus > 0 ? NRT_SUCCESS : NRT_INVALID;
}

/* A command on every node. */
static NRT_STATUS everywhere(const struct cc_launch *l, const char *a, const char *b, const char *c,
                             struct err *err)
{
    char *args[CC_ARGS_MAX], said[4096];
    struct words w = {.args = args};
    NRT_STATUS st = NRT_SUCCESS;

    srun_begin(l, &w);
    word_add(&w, "%s", a);
    if (b != NULL)
        word_add(&w, "%s", b);
    if (c != NULL)
        word_add(&w, "%s", c);
    if (!command_run(args, said, sizeof(said)))
        st = command_fail(err, args, said);
    cc_args_free(args);
    return st;
}

static NRT_STATUS broadcast(const struct cc_launch *l, const char *from, const char *to,
                            struct err *err)
{
    char *args[CC_ARGS_MAX], said[4096];
    struct words w = {.args = args};
    NRT_STATUS st = NRT_SUCCESS;

    word_add(&w, "sbcast");
    word_add(&w, "--force");
    word_add(&w, "--jobid=%s", l->slurm_job);
    word_add(&w, "%s", from);
    word_add(&w, "%s", to);
    if (!command_run(args, said, sizeof(said)))
        st = command_fail(err, args, said);
    cc_args_free(args);
    return st;
}

/* This program and the library that it runs with, to a folder of the job on every node. */
static NRT_STATUS bench_copy(struct cc_launch *l, struct err *err)
{
    char dir[128], to[256];
    Dl_info lib;
    NRT_STATUS st;

    if (dladdr((const void *)nrt_init, &lib) == 0)
        return err_set(err, NRT_FAILURE, "cannot tell where libnrt is");
    snprintf(dir, sizeof(dir), "/tmp/nccom_test_%s", l->slurm_job);
    st = everywhere(l, "mkdir", "-p", dir, err);
    snprintf(to, sizeof(to), "%s/libnrt.so.1", dir);
    if (st == NRT_SUCCESS)
        st = broadcast(l, lib.dli_fname, to, err);
    snprintf(to, sizeof(to), "%s/nccom-test", dir);
    if (st == NRT_SUCCESS)
        st = broadcast(l, l->exe, to, err);
    if (st == NRT_SUCCESS) {
        snprintf(l->exe, sizeof(l->exe), "%s", to);
        setenv("LD_LIBRARY_PATH", dir, 1);
    }
    return st;
}

static NRT_STATUS slurm_open(struct cc_launch *l, struct err *err)
{
    const struct cc_options *o = &l->job->o;
    NRT_STATUS st = NRT_SUCCESS;

    if (o->slurm_job != NULL && strcmp(o->slurm_job, "alloc") != 0)
        snprintf(l->slurm_job, sizeof(l->slurm_job), "%s", o->slurm_job);
    else
        st = slurm_job_make(l, err);
    l->vcpus = o->slurm_vcpus;
    if (st == NRT_SUCCESS && l->vcpus == 0)
        st = vcpus_ask(l, err);
    if (st == NRT_SUCCESS && o->slurm_copy_bench)
        st = bench_copy(l, err);
    if (st != NRT_SUCCESS || o->slurm_setup == NULL)
        return st;
    if (strcmp(o->slurm_setup, "default") == 0) /* nothing is to be installed: is it there? */
        return everywhere(l, l->exe, "--version", NULL, err);
    return everywhere(l, o->slurm_setup, NULL, NULL, err);
}

/* ---- both ---- */

NRT_STATUS cc_remote_open(struct cc_launch *l, struct err *err)
{
    return l->job->o.slurm ? slurm_open(l, err) : hosts_find(l, err);
}

void cc_remote_close(struct cc_launch *l)
{
    char *args[CC_ARGS_MAX], said[256];
    struct words w = {.args = args};

    if (!l->slurm_own)
        return;
    l->slurm_own = false;
    word_add(&w, "scancel");
    word_add(&w, "%s", l->slurm_job);
    (void)command_run(args, said, sizeof(said));
    cc_args_free(args);
}

/* The variables that nodes need, by name: mpirun takes their values from here. */
static void variables_add(struct words *w)
{
    static const char *const prefixes[] = {"NEURON_", "OPENNRT_",    "NCCL_",
                                           "FI_",     "NCCOM_TEST_", "LD_LIBRARY_PATH="};

    for (char **e = environ; *e != NULL; e++)
        for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
            if (strncmp(*e, prefixes[i], strlen(prefixes[i])) == 0) {
                word_add(w, "-x");
                word_add(w, "%.*s", (int)strcspn(*e, "="), *e);
            }
}

/* Open MPI's by its own name where the distribution has one: "mpirun" may be another MPI's. */
static const char *mpirun_name(void)
{
    char path[CC_PATH_MAX];

    for (const char *p = settings_str("PATH", ""), *end; *p != '\0'; p = end) {
        p += *p == ':';
        end = strchrnul(p, ':');
        snprintf(path, sizeof(path), "%.*s/mpirun.openmpi", (int)(end - p), p);
        if (access(path, X_OK) == 0)
            return "mpirun.openmpi";
    }
    return "mpirun";
}

static void mpirun_begin(const struct cc_launch *l, struct words *w)
{
    struct strbuf hosts = {0};

    for (uint32_t i = 0; i < l->job->o.nodes; i++)
        strbuf_printf(&hosts, "%s%s:1", i > 0 ? "," : "", l->hosts[i]);
    word_add(w, "%s", mpirun_name());
    word_add(w, "--host");
    word_add(w, "%s", hosts.s != NULL ? hosts.s : "");
    strbuf_fini(&hosts);
    word_add(w, "-np");
    word_add(w, "%u", l->job->o.nodes);
    word_add(w, "--bind-to");
    word_add(w, "none");
    variables_add(w);
}

bool cc_remote_args(const struct cc_launch *l, unsigned step, char **args)
{
    const struct cc_options *o = &l->job->o;
    struct words w = {.args = args};

    if (o->slurm) {
        srun_begin(l, &w);
        word_add(&w, "--cpus-per-task=%u", l->vcpus);
    } else {
        mpirun_begin(l, &w);
    }
    word_add(&w, "%s", l->exe);
    word_add(&w, "--bench-step");
    word_add(&w, "%u", step);
    for (int i = 1; i < l->argc; i++)
        word_add(&w, "%s", l->argv[i]);
    word_add(&w, "--seed");
    word_add(&w, "%llu", (unsigned long long)o->seed);
    word_add(&w, "--data-collector-host");
    word_add(&w, "%s", l->collector);
    if (w.full)
        cc_args_free(args);
    return !w.full;
}
