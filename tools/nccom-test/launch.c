/* SPDX-License-Identifier: Apache-2.0 */
/* A step is a run of its own, so that one that fails leaves nothing to the next: the launcher
 * starts the node (or those who start the nodes), reads their texts and their logs, and shows
 * progress. */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/settings.h"
#include "node.h"

#define TICK_MS       100
#define STRANGERS_MAX 16 /* connections beyond those of the nodes */
#define GREETING_S    10 /* a connection that has not said who it is by then is closed */
#define DRAIN_TICKS   20 /* what nodes have sent is read for so long after the end of all */

/* One connection; the result's job is NULL when the place is free. */
struct caller {
    int fd; /* -1: closed, the result is complete */
    time_t since;
    struct cc_result result;
};

struct run {
    struct cc_launch *l;
    unsigned step;
    pid_t pid;
    int out; /* what the nodes print; -1 at its end */
    int log;
    char log_path[CC_PATH_MAX], save_dir[CC_PATH_MAX + 8];
    struct caller *caller;
    uint32_t callers;
    struct err why;
};

/* A job of Slurm is given back, and nodes are stopped, whoever ends the program. */
static volatile sig_atomic_t stopped;

static void stop(int sig)
{
    (void)sig;
    stopped = 1;
}

bool cc_launch_stopped(void)
{
    return stopped != 0;
}

/* ---- addresses ---- */

/* This host's address as the first host would see it. */
static bool own_address(const char *host, char *buf, size_t size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *a = NULL;
    struct sockaddr_storage me;
    socklen_t len = sizeof(me);
    bool ok = false;
    int fd;

    if (getaddrinfo(host, "9", &hints, &a) != 0)
        return false;
    fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0 &&
        getsockname(fd, (struct sockaddr *)&me, &len) == 0)
        ok = getnameinfo((struct sockaddr *)&me, len, buf, (socklen_t)size, NULL, 0,
                         NI_NUMERICHOST) == 0;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(a);
    return ok;
}

static NRT_STATUS collector_open(struct cc_launch *l, struct err *err)
{
    const struct cc_options *o = &l->job->o;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *a = NULL;
    char port[8];
    int one = 1, why = 0;

    if (o->collector_host != NULL)
        snprintf(l->collector, sizeof(l->collector), "%s", o->collector_host);
    else if (o->slurm || !own_address(l->hosts[0], l->collector, sizeof(l->collector)))
        (void)gethostname(l->collector, sizeof(l->collector) - 1);
    snprintf(port, sizeof(port), "%u", o->collector_port);
    if (getaddrinfo(l->collector, port, &hints, &a) != 0)
        return err_set(err, NRT_INVALID, "--data-collector-host: cannot resolve %s", l->collector);
    l->listener = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->listener < 0 ||
        setsockopt(l->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(l->listener, a->ai_addr, a->ai_addrlen) != 0 || listen(l->listener, 64) != 0)
        why = errno;
    freeaddrinfo(a);
    if (why != 0)
        return err_set(err, NRT_INVALID, "data collector: cannot listen on %s port %s: %s",
                       l->collector, port, strerror(why));
    return NRT_SUCCESS;
}

static bool token_make(char *token)
{
    uint8_t bytes[(CC_TOKEN_MAX - 1) / 2];

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return false;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(token + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

NRT_STATUS cc_launch_open(struct cc_launch *l, const struct cc_job *j, int argc, char **argv,
                          struct err *err)
{
    NRT_STATUS st;
    ssize_t n;

    memset(l, 0, sizeof(*l));
    l->job = j;
    l->argc = argc;
    l->argv = argv;
    l->listener = -1;
    n = readlink("/proc/self/exe", l->exe, sizeof(l->exe) - 1);
    if (n <= 0 || !token_make(l->token))
        return err_set(err, NRT_FAILURE, "cannot tell where this program is");
    sigaction(SIGINT, &(struct sigaction){.sa_handler = stop}, NULL);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    if (j->o.nodes == 1 && !j->o.slurm)
        return NRT_SUCCESS;
    setenv("NCCOM_TEST_TOKEN", l->token, 1);
    st = cc_remote_open(l, err);
    if (st == NRT_SUCCESS)
        st = collector_open(l, err);
    if (st != NRT_SUCCESS)
        cc_launch_close(l);
    return st;
}

void cc_launch_close(struct cc_launch *l)
{
    if (l->listener >= 0)
        close(l->listener);
    l->listener = -1;
    cc_remote_close(l);
}

/* ---- starting ---- */

static bool log_make(struct run *r)
{
    const char *dir = settings_str("TMPDIR", "/tmp");

    snprintf(r->log_path, sizeof(r->log_path), "%.3900s/nccom_test_log_XXXXXX.log", dir);
    r->log = mkostemps(r->log_path, 4, O_CLOEXEC);
    if (r->log < 0) {
        err_set(&r->why, NRT_FAILURE, "%s: %s", r->log_path, strerror(errno));
        return false;
    }
    snprintf(r->save_dir, sizeof(r->save_dir), "%.*s_check", (int)strlen(r->log_path) - 4,
             r->log_path);
    dprintf(r->log, "nccom-test %s, step %u, seed %" PRIu64 "\n", OPENNRT_VERSION, r->step,
            r->l->job->o.seed);
    return true;
}

/* One node, in a process of its own. */
static void node_start(struct run *r, int to)
{
    struct cc_node n = {.job = r->l->job,
                        .step = r->step,
                        .token = r->l->token,
                        .save_dir = r->save_dir,
                        .log_dir = r->l->job->o.mpi_log_dir,
                        .to = to};
    char port[64];

    if (settings_str("NEURON_RT_ROOT_COMM_ID", NULL) == NULL) {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

        /* A port that nobody has now, nor gets before rank 0 listens there: it stays bound until
         * this process ends. */
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
            bind(fd, (struct sockaddr *)&a, len) == 0 &&
            getsockname(fd, (struct sockaddr *)&a, &len) == 0) {
            snprintf(port, sizeof(port), "127.0.0.1:%u", ntohs(a.sin_port));
            setenv("NEURON_RT_ROOT_COMM_ID", port, 1);
        }
    }
    _exit(cc_node_run(&n));
}

static void remote_start(struct run *r)
{
    char *args[CC_ARGS_MAX];

    setenv("NCCOM_TEST_SAVE", r->save_dir, 1);
    if (cc_remote_args(r->l, r->step, args)) {
        execvp(args[0], args);
        fprintf(stderr, "nccom-test: %s: %s\n", args[0], strerror(errno));
    } else {
        fprintf(stderr, "nccom-test: too many arguments\n");
    }
    _exit(127);
}

static bool callers_make(struct run *r)
{
    r->callers = r->l->listener >= 0 ? r->l->job->o.nodes + STRANGERS_MAX : 1;
    r->caller = mem_calloc(r->callers, sizeof(*r->caller));
    for (uint32_t i = 0; r->caller != NULL && i < r->callers; i++)
        r->caller[i].fd = -1;
    return r->caller != NULL;
}

static bool run_start(struct run *r)
{
    int out[2] = {-1, -1}, pair[2] = {-1, -1};
    pid_t parent = getpid();

    if (!log_make(r))
        return false;
    if (!callers_make(r) || pipe2(out, O_CLOEXEC) != 0 ||
        (r->l->listener < 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)) {
        err_set(&r->why, NRT_RESOURCE, "%s", strerror(errno));
        return false;
    }
    r->pid = fork();
    if (r->pid == 0) {
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(1);
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        close(out[1]);
        if (r->l->listener < 0)
            node_start(r, pair[1]);
        else
            remote_start(r);
    }
    close(out[1]);
    r->out = out[0];
    if (r->l->listener < 0) {
        close(pair[1]);
        r->caller[0].fd = pair[0];
        cc_result_init(&r->caller[0].result, r->l->job, r->l->token);
    }
    if (r->pid < 0)
        err_set(&r->why, NRT_RESOURCE, "fork: %s", strerror(errno));
    return r->pid > 0;
}

/* ---- reading ---- */

static time_t seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

static void caller_drop(struct caller *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    cc_result_fini(&c->result);
}

static void caller_accept(struct run *r)
{
    int fd = accept4(r->l->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    for (uint32_t i = 0; fd >= 0 && i < r->callers; i++)
        if (r->caller[i].fd < 0 && r->caller[i].result.job == NULL) {
            r->caller[i].fd = fd;
            r->caller[i].since = seconds();
            cc_result_init(&r->caller[i].result, r->l->job, r->l->token);
            return;
        }
    if (fd >= 0)
        close(fd); /* too many strangers */
}

static void caller_read(struct run *r, struct caller *c)
{
    char bytes[16384];
    ssize_t n = read(c->fd, bytes, sizeof(bytes));
    struct err err = {0};

    if (n > 0 && cc_result_take(&c->result, bytes, (size_t)n, &err) != NRT_SUCCESS) {
        dprintf(r->log, "nccom-test: %s\n", err.text);
        caller_drop(c);
        return;
    }
    if (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)))
        return;
    close(c->fd);
    c->fd = -1;
    if (!c->result.ended)
        caller_drop(c);
}

static void output_read(struct run *r)
{
    char bytes[16384];
    ssize_t n = read(r->out, bytes, sizeof(bytes));

    if (n > 0) {
        (void)!write(r->log, bytes, (size_t)n);
        if (r->l->job->o.debug)
            (void)!write(STDERR_FILENO, bytes, (size_t)n);
    } else if (n == 0 || errno != EINTR) {
        close(r->out);
        r->out = -1;
    }
}

/* Reads whatever is there, waiting at most a tick. False: nothing was. */
static bool input_read(struct run *r)
{
    struct pollfd p[CC_HOSTS_MAX + STRANGERS_MAX + 2];
    nfds_t n = 0;
    bool some = false;

    p[n++] = (struct pollfd){.fd = r->out, .events = POLLIN};
    p[n++] = (struct pollfd){.fd = r->l->listener, .events = POLLIN};
    for (uint32_t i = 0; i < r->callers; i++)
        p[n++] = (struct pollfd){.fd = r->caller[i].fd, .events = POLLIN};
    if (poll(p, n, TICK_MS) <= 0)
        return false;
    if (p[0].revents != 0) {
        output_read(r);
        some = true;
    }
    if (p[1].revents != 0) {
        caller_accept(r);
        some = true;
    }
    for (uint32_t i = 0; i < r->callers; i++)
        if (p[i + 2].fd >= 0 && p[i + 2].revents != 0) {
            caller_read(r, &r->caller[i]);
            some = true;
        }
    return some;
}

/* ---- progress ---- */

static void progress_show(const struct run *r)
{
    const struct cc_job *j = r->l->job;
    uint32_t done = UINT32_MAX, of = 0;

    if (j->o.non_interactive || !isatty(STDERR_FILENO))
        return;
    for (uint32_t i = 0; i < r->callers; i++)
        if (r->caller[i].result.greeted) {
            done = r->caller[i].result.done < done ? r->caller[i].result.done : done;
            of = r->caller[i].result.of;
        }
    fprintf(stderr, "\r[size %u of %u] %3u %%", r->step + 1, j->steps,
            of > 0 ? (unsigned)(100ull * done / of) : 0);
}

static void progress_clear(const struct run *r)
{
    if (!r->l->job->o.non_interactive && isatty(STDERR_FILENO))
        fprintf(stderr, "\r%40s\r", "");
}

/* ---- the end ---- */

static void run_wait(struct run *r)
{
    int status = 0, idle = 0;
    bool ended = false, told = false;

    /* programs that the nodes' starters leave behind may hold the pipe open: nobody waits for it */
    while (!ended || (r->out >= 0 && idle < DRAIN_TICKS)) {
        bool some = input_read(r);

        idle = some ? 0 : idle + 1;
        if (stopped && !told) {
            kill(r->pid, SIGTERM);
            told = true;
        }
        if (!ended)
            ended = waitpid(r->pid, &status, WNOHANG) == r->pid;
        for (uint32_t i = 0; i < r->callers && r->l->listener >= 0; i++)
            if (r->caller[i].fd >= 0 && !r->caller[i].result.greeted &&
                seconds() - r->caller[i].since > GREETING_S)
                caller_drop(&r->caller[i]);
        progress_show(r);
    }
    while (input_read(r))
        continue;
    progress_clear(r);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        err_set(&r->why, NRT_FAILURE, "the nodes ended with status %d",
                WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* Results by node; a failed node's reason comes first. */
static struct cc_result *results_of(struct run *r)
{
    uint32_t nodes = r->l->job->o.nodes, found = 0;
    struct cc_result *all = mem_calloc(nodes, sizeof(*all));
    struct err first = {0};

    for (uint32_t i = 0; all != NULL && i < r->callers; i++) {
        struct cc_result *c = &r->caller[i].result;

        if (!c->ended || all[c->node].job != NULL)
            continue;
        if (!c->ok)
            err_set(&first, NRT_FAILURE, "node %u: %.400s", c->node, c->text);
        all[c->node] = *c;
        found++;
    }
    if (first.status != NRT_SUCCESS)
        r->why = first;
    else if (found < nodes)
        err_set(&r->why, NRT_FAILURE, "%u of %u nodes gave no result", nodes - found, nodes);
    if (r->why.status == NRT_SUCCESS)
        return all;
    mem_free(all);
    return NULL;
}

static void row_describe(struct cc_row *row, const struct cc_job *j, unsigned s,
                         const struct cc_case *c)
{
    row->bytes = c->bytes;
    row->count = c->count;
    row->in_bytes = cc_case_in_bytes(c);
    row->out_bytes = cc_case_out_bytes(c);
    snprintf(row->type, sizeof(row->type), "%s", j->stream[s].dtype_name);
    snprintf(row->algorithm, sizeof(row->algorithm), "-");
}

/* As node 0 saw the runtime choose it. */
static void row_means(struct cc_row *row, const struct cc_job *j, unsigned s,
                      const struct cc_result *node)
{
    if (node->algorithm[s][0] == '\0')
        return;
    snprintf(row->algorithm, sizeof(row->algorithm), "%s", node->algorithm[s]);
    if (j->o.debug)
        fprintf(stderr, "nccom-test: stream %u: %s of %llu bytes: %s, %s\n", s,
                cc_op_name(j->stream[s].op), (unsigned long long)row->bytes, node->algorithm[s],
                node->variant[s]);
}

static void rows_fill(struct run *r, const struct cc_case *cases, struct cc_row *rows)
{
    const struct cc_job *j = r->l->job;
    struct cc_result *nodes = results_of(r);
    double *us = mem_calloc(j->counts.execs, sizeof(*us));
    struct cc_hash_line where;

    if (nodes != NULL && !cc_results_equal(nodes, j->o.nodes, &where))
        err_set(&r->why, NRT_FAILURE,
                "check failed: ranks of group %u on different nodes have different outputs",
                where.group);
    for (unsigned s = 0; s < j->stream_count && us != NULL && r->why.status == NRT_SUCCESS; s++) {
        cc_results_merge(nodes, j->o.nodes, s, us);
        cc_row_fill(&rows[s], &cases[s], &j->o, us, j->counts.execs);
        row_means(&rows[s], j, s, &nodes[0]);
    }
    mem_free(us);
    mem_free(nodes);
}

static void run_close(struct run *r, unsigned streams, struct cc_row *rows)
{
    for (uint32_t i = 0; i < r->callers && r->caller != NULL; i++)
        caller_drop(&r->caller[i]);
    mem_free(r->caller);
    if (r->out >= 0)
        close(r->out);
    if (r->why.status != NRT_SUCCESS) {
        if (r->log >= 0)
            dprintf(r->log, "nccom-test: %s\n", r->why.text);
        for (unsigned s = 0; s < streams; s++) {
            rows[s].failed = true;
            snprintf(rows[s].log, sizeof(rows[s].log), "%s", r->log_path);
        }
    } else {
        (void)unlink(r->log_path);
    }
    if (r->log >= 0)
        close(r->log);
}

void cc_launch_step(struct cc_launch *l, unsigned step, struct cc_row *rows)
{
    struct run r = {.l = l, .step = step, .out = -1, .log = -1};
    struct cc_case cases[CC_STREAMS_MAX];

    memset(rows, 0, l->job->stream_count * sizeof(*rows));
    if (cc_job_cases(l->job, step, cases, &r.why) == NRT_SUCCESS) {
        for (unsigned s = 0; s < l->job->stream_count; s++)
            row_describe(&rows[s], l->job, s, &cases[s]);
        if (run_start(&r)) {
            run_wait(&r);
            rows_fill(&r, cases, rows);
        }
        for (unsigned s = 0; s < l->job->stream_count; s++)
            cc_case_fini(&cases[s]);
    }
    run_close(&r, l->job->stream_count, rows);
}
