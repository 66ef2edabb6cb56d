/* SPDX-License-Identifier: Apache-2.0 */
/* nccom-test: measures collective operations (docs/nccom-test.md). This file reads the command line
 * and shows the results; "nccom-test --bench-step N ..." is what runs on a node that mpirun or srun
 * has started. */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/settings.h"
#include "common/options.h"
#include "launch.h"
#include "node.h"

#define TOOL  "nccom-test"
#define USAGE 2 /* exit code: wrong command line */

static int fail(int code, const char *text)
{
    fprintf(stderr, TOOL ": %s\n", text);
    return code;
}

/* ---- the launcher ---- */

static bool json_write(const char *path, const struct strbuf *b)
{
    FILE *f = fopen(path, "w");
    bool ok = f != NULL && fwrite(b->s, 1, b->len, f) == b->len;

    if (f != NULL)
        ok = fclose(f) == 0 && ok;
    if (!ok)
        fprintf(stderr, "nccom-test: %s: %s\n", path, strerror(errno));
    return ok;
}

/* rows[stream * steps + step] */
static int results_show(const struct cc_job *j, const struct cc_row *rows)
{
    size_t counts[CC_STREAMS_MAX];
    struct strbuf b = {0};
    unsigned errors = 0;
    bool ok = true;

    for (unsigned s = 0; s < j->stream_count; s++) {
        counts[s] = j->steps;
        errors += cc_table_print(&b, &j->o, rows + (size_t)s * j->steps, j->steps);
    }
    if (errors > 0)
        strbuf_printf(&b, "%u errors found - test failed\n", errors);
    if (b.failed)
        return fail(1, "out of host memory");
    fputs(b.s, stdout);
    b.len = 0;
    if (j->o.json != NULL) {
        cc_json_print(&b, &j->o, j->stream, j->stream_count, rows, counts);
        ok = !b.failed && json_write(j->o.json, &b);
    }
    strbuf_fini(&b);
    return tool_end(TOOL, errors == 0 && ok ? 0 : 1);
}

static int job_run(const struct cc_job *j, int argc, char **argv)
{
    struct cc_row *rows = mem_calloc((size_t)j->stream_count * j->steps, sizeof(*rows));
    struct cc_row step[CC_STREAMS_MAX];
    struct cc_launch *l = mem_zalloc(sizeof(*l));
    struct err err = {0};
    int rc;

    if (rows == NULL || l == NULL) {
        mem_free(rows);
        mem_free(l);
        return fail(1, "out of host memory");
    }
    rc = cc_launch_open(l, j, argc, argv, &err) == NRT_SUCCESS ? 0 : fail(1, err.text);
    for (unsigned i = 0; i < j->steps && rc == 0; i++) {
        cc_launch_step(l, i, step);
        if (cc_launch_stopped())
            rc = fail(1, "stopped");
        for (unsigned s = 0; s < j->stream_count; s++)
            rows[(size_t)s * j->steps + i] = step[s];
    }
    cc_launch_close(l);
    if (rc == 0)
        rc = results_show(j, rows);
    mem_free(rows);
    mem_free(l);
    return rc;
}

/* Every size of every stream must do, before the first is run. */
static NRT_STATUS sizes_try(const struct cc_job *j, struct err *err)
{
    struct cc_case cases[CC_STREAMS_MAX];
    NRT_STATUS st = NRT_SUCCESS;

    for (unsigned i = 0; i < j->steps && st == NRT_SUCCESS; i++) {
        st = cc_job_cases(j, i, cases, err);
        for (unsigned s = 0; s < j->stream_count && st == NRT_SUCCESS; s++)
            cc_case_fini(&cases[s]);
    }
    return st;
}

/* ---- a node of several ---- */

static uint32_t variable_number(const char *a, const char *b, uint32_t max)
{
    int64_t n = settings_int(a, -1, 0, max, NULL);

    return (uint32_t)(n >= 0 ? n : settings_int(b, 0, 0, max, NULL));
}

static int collector_connect(const struct cc_options *o)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    char port[8];
    int fd = -1;

    snprintf(port, sizeof(port), "%u", o->collector_port);
    if (o->collector_host == NULL || getaddrinfo(o->collector_host, port, &hints, &list) != 0)
        return -1;
    for (struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

/* Under Slurm nobody need name the first node: its list does, and the job's token gives a port. */
static void root_find(const char *token)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *a = NULL;
    const char *list = settings_str("SLURM_STEP_NODELIST", settings_str("SLURM_JOB_NODELIST", ""));
    char host[256], address[64], text[128];

    if (settings_str("NEURON_RT_ROOT_COMM_ID", NULL) != NULL ||
        !cc_first_host(list, host, sizeof(host)) || getaddrinfo(host, NULL, &hints, &a) != 0)
        return;
    if (getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof(address), NULL, 0, NI_NUMERICHOST) ==
        0) {
        snprintf(text, sizeof(text), "%s:%u", address,
                 20000 + (unsigned)(cc_hash(CC_HASH, token, strlen(token)) % 10000));
        setenv("NEURON_RT_ROOT_COMM_ID", text, 1);
    }
    freeaddrinfo(a);
}

static int bench(const struct cc_job *j, unsigned step)
{
    const char *token = settings_str("NCCOM_TEST_TOKEN", "");
    struct cc_node n = {
        .job = j,
        .step = step,
        .node = variable_number("OMPI_COMM_WORLD_RANK", "SLURM_PROCID", j->o.nodes - 1),
        .local = variable_number("OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", j->o.nodes - 1),
        .token = token,
        .save_dir = settings_str("NCCOM_TEST_SAVE", "/tmp/nccom_test_check"),
        .log_dir = j->o.mpi_log_dir,
        .to = collector_connect(&j->o)};
    int rc;

    if (n.to < 0)
        return fail(1, "cannot reach the data collector");
    root_find(token);
    rc = cc_node_run(&n);
    close(n.to);
    return rc;
}

/* ---- main ---- */

/* "--bench-step N" in front: this is a node. */
static bool bench_asked(int *argc, char ***argv, unsigned *ret_step)
{
    int64_t n;

    if (*argc < 3 || strcmp((*argv)[1], "--bench-step") != 0 ||
        !settings_parse_int((*argv)[2], &n) || n < 0 || n > (int64_t)CC_SIZES_MAX)
        return false;
    *ret_step = (unsigned)n;
    *argc -= 2;
    *argv += 2;
    return true;
}

static int help(void)
{
    struct strbuf b = {0};
    int rc = 0;

    cc_options_help(&b);
    if (b.failed)
        rc = fail(1, "out of host memory");
    else
        fputs(b.s, stdout);
    strbuf_fini(&b);
    return tool_end(TOOL, rc);
}

static int no_driver(void)
{
    puts("Neuron DKMS Driver is not running! Read the troubleshooting guide at: "
         "https://awsdocs-neuron.readthedocs-hosted.com/en/latest/neuron-runtime/"
         "nrt-troubleshoot.html#neuron-driver-installation-fails");
    return 1;
}

int main(int argc, char **argv)
{
    struct cc_options o;
    struct cc_job *job;
    struct err err = {0};
    unsigned step = 0;
    bool node = bench_asked(&argc, &argv, &step);
    int rc;

    signal(SIGPIPE, SIG_IGN);
    cc_options_init(&o);
    if (cc_options_parse(&o, argc, argv, &err) != NRT_SUCCESS)
        return fail(USAGE, err.text);
    if (o.help)
        return help();
    if (o.version) {
        printf("nccom-test %s (OpenNRT, software device)\n", OPENNRT_VERSION);
        return tool_end(TOOL, 0);
    }
    if (cc_options_check(&o, &err) != NRT_SUCCESS)
        return fail(USAGE, err.text);
    if (settings_is_word("OPENNRT_INSTANCE_TYPE", "none"))
        return no_driver();
    if (!o.has_seed)
        o.seed = (uint64_t)time(NULL);
    job = mem_zalloc(sizeof(*job));
    if (job == NULL)
        return fail(1, "out of host memory");
    if (cc_job_make(job, &o, &err) != NRT_SUCCESS || sizes_try(job, &err) != NRT_SUCCESS)
        rc = fail(USAGE, err.text);
    else
        rc = node ? bench(job, step) : job_run(job, argc, argv);
    cc_job_fini(job);
    mem_free(job);
    return rc;
}
