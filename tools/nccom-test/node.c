/* SPDX-License-Identifier: Apache-2.0 */
/* The ranks of a node are processes of their own, as in a real job; two of them are one process
 * where they share an output. They leave times and hashes in shared memory. */
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/settings.h"
#include "base/strbuf.h"
#include "rank.h"
#include "result.h"

#define TICK_MS       100 /* between two looks at the ranks */
#define EXEC_DEFAULT  30  /* s: NEURON_RT_EXEC_TIMEOUT */
#define GRACE_SECONDS 5   /* that ranks have to notice, by themselves, that one has failed */

struct group {
    const struct cc_node *n;
    struct cc_case cases[CC_STREAMS_MAX];
    uint32_t ranks, each; /* of this node, of a process */
    struct cc_seat *seat; /* [ranks], in shared memory */
    uint64_t *start, *end;
    size_t shared_bytes;
    pid_t *pid;     /* [ranks / each] */
    int out;        /* what ranks print */
    int log;        /* of the node, or -1 */
    char line[512]; /* of what they print, as far as it has come */
    size_t line_len;
    char algorithm[CC_STREAMS_MAX][CC_WORD_MAX], variant[CC_STREAMS_MAX][CC_WORD_MAX];
    char why[ERR_TEXT_MAX];
};

/* ---- a rank's process ---- */

static void cpu_pin(uint32_t local)
{
    cpu_set_t all, one;
    unsigned count, skip;

    if (sched_getaffinity(0, sizeof(all), &all) != 0)
        return;
    count = (unsigned)CPU_COUNT(&all);
    skip = local % (count > 0 ? count : 1);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all) || skip-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void)sched_setaffinity(0, sizeof(one), &one);
        return;
    }
}

static void *rank_thread(void *arg)
{
    struct cc_rank_context *x = arg;

    if (x->job->o.pin)
        cpu_pin(x->rank % (x->job->o.ranks / x->job->o.nodes));
    if (x->job->o.pin && x->job->o.debug)
        fprintf(stderr, "nccom-test: rank %u is on CPU %d\n", x->rank, sched_getcpu());
    return cc_rank_run(x) ? x : NULL;
}

static void rank_environment(const struct group *g, uint32_t first)
{
    char text[64];

    if (g->each == 1)
        snprintf(text, sizeof(text), "%u", first);
    else
        snprintf(text, sizeof(text), "%u-%u", first, first + g->each - 1);
    setenv("NEURON_RT_VISIBLE_CORES", text, 1);
    unsetenv("NEURON_RT_NUM_CORES");
    if (g->n->job->o.debug)
        setenv("NEURON_RT_LOG_LEVEL", "DEBUG", 0);
    else if (g->n->job->o.show_algorithm && first == 0)
        setenv("NEURON_RT_LOG_LEVEL_NRT", "DEBUG", 1); /* line_read wants its word */
    snprintf(text, sizeof(text), "%lld",
             (long long)settings_int("NEURON_RT_EXEC_TIMEOUT", EXEC_DEFAULT, 1, INT32_MAX, NULL));
    setenv("OPENNRT_JOIN_TIMEOUT", text, 0); /* a rank that never comes fails the step */
}

/* The process of local ranks first .. first + each - 1. */
static int rank_process(const struct group *g, uint32_t first)
{
    struct cc_rank_context x[2];
    struct cc_couple couple = {.outputs = NULL};
    pthread_t second;
    void *other = NULL;
    bool ok, started;

    rank_environment(g, first);
    for (uint32_t i = 0; i < g->each; i++)
        x[i] = (struct cc_rank_context){
            .job = g->n->job,
            .cases = g->cases,
            .rank = g->n->node * g->ranks + first + i,
            .vnc = (int32_t)i,
            .seat = &g->seat[first + i],
            .start = g->start + (size_t)(first + i) * g->n->job->counts.execs,
            .end = g->end + (size_t)(first + i) * g->n->job->counts.execs,
            .couple = g->each == 2 ? &couple : NULL,
            .first = i == 0,
            .save_dir = g->n->save_dir};
    if (nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", "") != NRT_SUCCESS) {
        fprintf(stderr, "nccom-test: rank %u: nrt_init failed\n", x[0].rank);
        return 1;
    }
    if (g->each == 1) {
        ok = rank_thread(&x[0]) != NULL;
    } else {
        pthread_barrier_init(&couple.ready, NULL, 2);
        started = pthread_create(&second, NULL, rank_thread, &x[1]) == 0;
        ok = started && rank_thread(&x[0]) != NULL;
        if (started)
            pthread_join(second, &other);
        ok = ok && other != NULL;
    }
    nrt_close();
    return ok ? 0 : 1;
}

/* ---- starting and waiting ---- */

static bool shared_make(struct group *g)
{
    size_t execs = g->n->job->counts.execs, seats = g->ranks * sizeof(struct cc_seat);
    uint8_t *p;

    g->shared_bytes = seats + 2 * execs * g->ranks * sizeof(uint64_t);
    p = mmap(NULL, g->shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return false;
    g->seat = (struct cc_seat *)(void *)p;
    g->start = (uint64_t *)(void *)(p + seats);
    g->end = g->start + execs * g->ranks;
    return true;
}

static bool ranks_start(struct group *g)
{
    int out[2];
    pid_t parent = getpid();

    if (pipe2(out, O_CLOEXEC) != 0)
        return false;
    g->out = out[0];
    for (uint32_t i = 0; i < g->ranks / g->each; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                _exit(1);
            dup2(out[1], STDOUT_FILENO);
            dup2(out[1], STDERR_FILENO);
            close(out[0]);
            close(out[1]);
            _exit(rank_process(g, i * g->each));
        }
        g->pid[i] = pid > 0 ? pid : 0;
        if (pid < 0) {
            snprintf(g->why, sizeof(g->why), "fork: %s", strerror(errno));
            break;
        }
    }
    close(out[1]);
    return g->why[0] == '\0';
}

static void text_send(const struct group *g, const struct strbuf *b)
{
    for (size_t off = 0; b->s != NULL && off < b->len;) {
        ssize_t n = send(g->n->to, b->s + off, b->len - off, MSG_NOSIGNAL);

        if (n <= 0 && errno != EINTR)
            return;
        off += n > 0 ? (size_t)n : 0;
    }
}

/* The runtime's word for how it carries out an operation (coll_plan_create): of the stream that
 * this size and operation belong to. */
static void line_read(struct group *g)
{
    char op[CC_WORD_MAX], algorithm[CC_WORD_MAX], variant[CC_WORD_MAX];
    const char *at = strstr(g->line, " plan: ");
    unsigned long long bytes;

    if (at == NULL || strstr(g->line, "coll_plan_create") == NULL ||
        sscanf(at, " plan: %15s of %llu bytes between %*u ranks: %15[a-z_], %15[a-z_]", op, &bytes,
               algorithm, variant) != 4)
        return;
    for (unsigned s = 0; s < g->n->job->stream_count; s++) {
        uint64_t in = cc_case_in_bytes(&g->cases[s]), out = cc_case_out_bytes(&g->cases[s]);

        if (strcmp(op, cc_job_op(g->cases[s].op)) != 0 || bytes != (in > out ? in : out) ||
            g->algorithm[s][0] != '\0')
            continue;
        snprintf(g->algorithm[s], CC_WORD_MAX, "%s", algorithm);
        snprintf(g->variant[s], CC_WORD_MAX, "%s", variant);
    }
}

static void output_read(struct group *g, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n') {
            g->line[g->line_len] = '\0';
            line_read(g);
            g->line_len = 0;
        } else if (g->line_len + 1 < sizeof(g->line)) {
            g->line[g->line_len++] = bytes[i];
        }
    }
}

static void output_pass(struct group *g, const char *bytes, size_t size)
{
    output_read(g, bytes, size);
    (void)!write(STDOUT_FILENO, bytes, size);
    if (g->log >= 0)
        (void)!write(g->log, bytes, size);
}

/* Executions that every rank has done. */
static void progress_send(const struct group *g, uint32_t *last)
{
    uint32_t done = UINT32_MAX;
    struct strbuf b = {0};

    for (uint32_t r = 0; r < g->ranks; r++) {
        uint32_t n = __atomic_load_n(&g->seat[r].execs, __ATOMIC_RELAXED);

        done = n < done ? n : done;
    }
    if (done == *last)
        return;
    *last = done;
    strbuf_printf(&b, "progress %u %u\n", done,
                  g->n->job->counts.execs + g->n->job->counts.warm_execs);
    text_send(g, &b);
    strbuf_fini(&b);
}

/* Reaps what has ended; returns how many processes are left. A failure is kept in why. */
static uint32_t ranks_reap(struct group *g)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < g->ranks / g->each; i++) {
        int status;

        if (g->pid[i] == 0)
            continue;
        if (waitpid(g->pid[i], &status, WNOHANG) != g->pid[i]) {
            left++;
            continue;
        }
        g->pid[i] = 0;
        if (g->why[0] != '\0' || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
            continue;
        if (WIFSIGNALED(status))
            snprintf(g->why, sizeof(g->why), "rank %u was killed by signal %d",
                     g->n->node * g->ranks + i * g->each, WTERMSIG(status));
        else
            snprintf(g->why, sizeof(g->why), "rank %u failed", g->n->node * g->ranks + i * g->each);
    }
    return left;
}

static void ranks_kill(const struct group *g)
{
    for (uint32_t i = 0; i < g->ranks / g->each; i++)
        if (g->pid[i] != 0)
            kill(g->pid[i], SIGKILL);
}

/* How long the others may go on when one has failed: until the runtime tells them. Where rank 0 has
 * met nobody, there is nobody to tell them. */
static int64_t grace_of(const struct group *g)
{
    bool led =
        g->n->node > 0 || g->pid[0] != 0 || __atomic_load_n(&g->seat[0].met, __ATOMIC_RELAXED) != 0;

    return GRACE_SECONDS +
           (led ? settings_int("NEURON_RT_EXEC_TIMEOUT", EXEC_DEFAULT, 1, INT32_MAX, NULL) : 0);
}

/* Until all ranks have ended. When one has failed the others get that time, and then are killed. */
static void ranks_wait(struct group *g)
{
    struct pollfd p = {.fd = g->out, .events = POLLIN};
    time_t failed = 0;
    uint32_t last = 0;
    char bytes[4096];

    for (;;) {
        int ready = poll(&p, 1, TICK_MS);
        ssize_t n = ready > 0 ? read(g->out, bytes, sizeof(bytes)) : -1;
        struct timespec now;

        if (n > 0) {
            output_pass(g, bytes, (size_t)n);
            continue;
        }
        if (n == 0)
            p.fd = -1; /* all have closed it: they end */
        progress_send(g, &last);
        if (ranks_reap(g) == 0 && ready <= 0)
            return; /* and nothing is left to read */
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (g->why[0] != '\0' && failed == 0)
            failed = now.tv_sec + 1;
        if (failed != 0 && now.tv_sec > failed + grace_of(g))
            ranks_kill(g);
    }
}

/* ---- results ---- */

/* Longest of the groups: from the latest start to the latest end of its ranks here. Streams of an
 * execution end together, so each gets all of it, shared out over its operations. */
static double exec_ns(const struct group *g, unsigned s, uint32_t exec)
{
    const struct cc_job *j = g->n->job;
    const struct cc_grouping *l = &j->groups[s].list[0];
    uint32_t execs = j->counts.execs, base = g->n->node * g->ranks;
    double longest = 0;

    for (uint32_t k = 0; k < l->groups; k++) {
        uint64_t start = 0, end = 0;

        for (uint32_t i = 0; i < l->size; i++) {
            uint32_t local = l->ranks[k * l->size + i] - base;

            if (local >= g->ranks)
                continue;
            if (g->start[(size_t)local * execs + exec] > start)
                start = g->start[(size_t)local * execs + exec];
            if (g->end[(size_t)local * execs + exec] > end)
                end = g->end[(size_t)local * execs + exec];
        }
        if ((double)(end - start) > longest && end > start)
            longest = (double)(end - start);
    }
    return longest / ((double)j->counts.ops * j->stream[s].ops_per_iter);
}

/* Ranks of a group that must end alike; the group's hash goes to the launcher. */
static void group_hash(struct group *g, unsigned s, unsigned list, uint32_t k, struct strbuf *b)
{
    const struct cc_grouping *l = &g->n->job->groups[s].list[list];
    uint32_t base = g->n->node * g->ranks, first = UINT32_MAX;

    for (uint32_t i = 0; i < l->size; i++) {
        uint32_t local = l->ranks[k * l->size + i] - base;

        if (local >= g->ranks)
            continue;
        if (first == UINT32_MAX) {
            first = local;
            strbuf_printf(b, "hash %u %u %u %" PRIx64 "\n", s, list, k,
                          g->seat[local].hash[s][list]);
        } else if (g->seat[local].hash[s][list] != g->seat[first].hash[s][list]) {
            snprintf(g->why, sizeof(g->why), "ranks %u and %u have different outputs", base + first,
                     base + local);
        }
    }
}

static void results_put(struct group *g, struct strbuf *b)
{
    const struct cc_job *j = g->n->job;

    for (unsigned s = 0; s < j->stream_count; s++) {
        if (g->algorithm[s][0] != '\0')
            strbuf_printf(b, "means %u %s %s\n", s, g->algorithm[s], g->variant[s]);
        strbuf_printf(b, "times %u %u\n", s, j->counts.execs);
        for (uint32_t i = 0; i < j->counts.execs; i++)
            strbuf_printf(b, "%.1f\n", exec_ns(g, s, i));
        if (j->o.check == CC_CHECK_OFF || !cc_op_same_output(j->stream[s].op))
            continue;
        for (unsigned l = 0; l < j->groups[s].count; l++)
            for (uint32_t k = 0; k < j->groups[s].list[l].groups; k++)
                group_hash(g, s, l, k, b);
    }
}

static void environment_make(const struct cc_node *n)
{
    char name[256];

    if (n->local > 0) { /* another node on this host: an instance of its own */
        snprintf(name, sizeof(name), "%s-node%u", settings_str("OPENNRT_INSTANCE", "default"),
                 n->local);
        setenv("OPENNRT_INSTANCE", name, 1);
    }
}

static void log_open(struct group *g)
{
    char path[CC_PATH_MAX];

    g->log = -1;
    if (g->n->log_dir == NULL)
        return;
    snprintf(path, sizeof(path), "%s/nccom_test_node%u.log", g->n->log_dir, g->n->node);
    g->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (g->log < 0)
        fprintf(stderr, "nccom-test: %s: %s\n", path, strerror(errno));
}

int cc_node_run(const struct cc_node *n)
{
    struct group g = {.n = n, .ranks = n->job->o.ranks / n->job->o.nodes, .each = 1, .out = -1};
    struct strbuf b = {0};
    struct err err = {0};

    for (unsigned s = 0; s < n->job->stream_count; s++)
        if (n->job->stream[s].shared_output)
            g.each = 2;
    strbuf_printf(&b, "nccom-test 1 %s %u %u\n", n->token, n->node, n->job->o.nodes);
    text_send(&g, &b);
    strbuf_fini(&b);
    environment_make(n);
    log_open(&g);
    g.pid = calloc(g.ranks, sizeof(*g.pid));
    if (cc_job_cases(n->job, n->step, g.cases, &err) != NRT_SUCCESS)
        snprintf(g.why, sizeof(g.why), "%s", err.text);
    else if (g.pid == NULL || !shared_make(&g))
        snprintf(g.why, sizeof(g.why), "no memory");
    else if (ranks_start(&g) || g.out >= 0)
        ranks_wait(&g);
    else
        snprintf(g.why, sizeof(g.why), "pipe: %s", strerror(errno));
    if (g.why[0] == '\0')
        results_put(&g, &b);
    if (g.why[0] == '\0')
        strbuf_put(&b, "end ok\n");
    else
        strbuf_printf(&b, "end failed %s\n", g.why);
    text_send(&g, &b);
    strbuf_fini(&b);
    for (unsigned s = 0; s < n->job->stream_count; s++)
        cc_case_fini(&g.cases[s]);
    free(g.pid);
    return g.why[0] != '\0';
}
