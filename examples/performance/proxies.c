/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy threads of two nodes on this host, as an experiment of docs/performance.md:
 *
 *   proxies sum.neff [busy] [operations]
 *
 * sum.neff is of allreduce_build 4 COUNT. Each node is an instance and a process with two ranks,
 * one thread each; with `busy` each also has as many threads as CPUs that compute all the time.
 * Printed are, of the first node, how many proxy threads it has and on which CPUs, and how long an
 * execution of the sum takes. Ends with 1 when a sum is wrong. */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "nrt/nrt_experimental.h"

#define NODES    2
#define PER_NODE 2
#define RANKS    (NODES * PER_NODE)
#define BUSY_MAX 64

static void *neff;
static size_t neff_size;
static unsigned operations = 200;
static double *took_us; /* of the first rank */
static atomic_bool over;
static atomic_bool wrong;

/* --- a rank ------------------------------------------------------------------------------------
 */

struct rank {
    pthread_t thread;
    unsigned number;
};

/* Every rank gives its number and one more. */
static void sum_check(nrt_tensor_t *y, float *host, size_t bytes)
{
    OK(nrt_tensor_read(y, host, 0, bytes));
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        if (host[i] != RANKS * (RANKS + 1) / 2)
            atomic_store(&wrong, true);
}

static void *rank_main(void *arg)
{
    const struct rank *r = arg;
    int core = (int)(r->number % PER_NODE);
    nrt_tensor_info_array_t *info;
    nrt_tensor_set_t *in, *out;
    nrt_tensor_t *x, *y;
    nrt_model_t *model;
    size_t bytes;
    float *host;

    OK(nrt_load_collectives(neff, neff_size, core, 1, r->number, RANKS, &model));
    OK(nrt_get_model_tensor_info(model, &info));
    bytes = info->tensor_array[0].size;
    OK(nrt_free_model_tensor_info(info));
    host = malloc(bytes);
    if (!host)
        exit(1);
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        host[i] = (float)(r->number + 1);
    OK(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, core, bytes, "x", &x));
    OK(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, core, bytes, "y", &y));
    OK(nrt_allocate_tensor_set(&in));
    OK(nrt_allocate_tensor_set(&out));
    OK(nrt_add_tensor_to_tensor_set(in, "x", x));
    OK(nrt_add_tensor_to_tensor_set(out, "y", y));
    OK(nrt_tensor_write(x, host, 0, bytes));
    OK(nrt_execute(model, in, out)); /* and everything is warm */
    for (unsigned i = 0; i < operations; i++) {
        double start = now_us();

        OK(nrt_execute(model, in, out));
        if (r->number == 0)
            took_us[i] = now_us() - start;
    }
    sum_check(y, host, bytes);
    OK(nrt_barrier(core, r->number, RANKS));
    nrt_destroy_tensor_set(&in);
    nrt_destroy_tensor_set(&out);
    nrt_tensor_free(&x);
    nrt_tensor_free(&y);
    free(host);
    return model;
}

/* --- what it shows -----------------------------------------------------------------------------
 */

static bool is_proxy(int tid)
{
    char path[64], line[32] = "";
    FILE *f;

    snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
    f = fopen(path, "r");
    if (!f)
        return false;
    if (!fgets(line, sizeof(line), f))
        line[0] = '\0';
    fclose(f);
    return strncmp(line, "nrt-net", strlen("nrt-net")) == 0;
}

/* Threads of links, and all CPUs that they may use. */
static unsigned proxies_find(cpu_set_t *ret)
{
    DIR *d = opendir("/proc/self/task");
    struct dirent *e;
    unsigned found = 0;
    cpu_set_t s;

    CPU_ZERO(ret);
    while (d && (e = readdir(d))) {
        int tid = atoi(e->d_name);

        if (tid <= 0 || !is_proxy(tid) || sched_getaffinity(tid, sizeof(s), &s) != 0)
            continue;
        CPU_OR(ret, ret, &s);
        found++;
    }
    if (d)
        closedir(d);
    return found;
}

static void proxies_show(void)
{
    cpu_set_t s;
    unsigned n = proxies_find(&s);

    printf("%-34s %10u, on CPUs ", "proxy threads of a node", n);
    for (int c = 0, many = 0; c < CPU_SETSIZE; c++)
        if (CPU_ISSET(c, &s))
            printf("%s%d", many++ ? "," : "", c);
    printf("\n");
}

static void times_show(void)
{
    qsort(took_us, operations, sizeof(*took_us), by_value);
    printf("%-34s %10.1f us\n", "an execution, median", took_us[operations / 2]);
    printf("%-34s %10.1f us\n", "one in a hundred takes more than", took_us[operations * 99 / 100]);
}

/* --- a node ------------------------------------------------------------------------------------
 */

static void *busy_main(void *unused)
{
    (void)unused;
    while (!atomic_load(&over))
        ;
    return NULL;
}

static int busy_start(pthread_t *threads)
{
    cpu_set_t mask;
    int cpus = sched_getaffinity(0, sizeof(mask), &mask) == 0 ? CPU_COUNT(&mask) : 1;
    int n = 0;

    while (n < BUSY_MAX && n < cpus && pthread_create(&threads[n], NULL, busy_main, NULL) == 0)
        n++;
    return n;
}

static int node(unsigned number, bool busy)
{
    pthread_t threads[BUSY_MAX];
    struct rank r[PER_NODE];
    void *models[PER_NODE];
    int at_work;

    setenv("NEURON_RT_NUM_CORES", "2", 1);
    OK(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    at_work = busy ? busy_start(threads) : 0;
    for (unsigned i = 0; i < PER_NODE; i++) {
        r[i].number = number * PER_NODE + i;
        if (pthread_create(&r[i].thread, NULL, rank_main, &r[i]) != 0)
            return 1;
    }
    for (unsigned i = 0; i < PER_NODE; i++)
        pthread_join(r[i].thread, &models[i]);
    atomic_store(&over, true);
    for (int i = 0; i < at_work; i++)
        pthread_join(threads[i], NULL);
    if (number == 0) {
        proxies_show();
        times_show();
    }
    for (unsigned i = 0; i < PER_NODE; i++)
        OK(nrt_unload(models[i]));
    nrt_close();
    if (atomic_load(&wrong))
        fprintf(stderr, "proxies: wrong sums on node %u\n", number);
    return atomic_load(&wrong);
}

/* The first node is this process; the others are instances with names of their own. */
static int nodes(bool busy)
{
    const char *instance = getenv("OPENNRT_INSTANCE");
    int bad, status;

    for (unsigned n = 1; n < NODES; n++) {
        pid_t pid = fork();

        if (pid < 0)
            return 1;
        if (pid == 0) {
            char name[128];

            snprintf(name, sizeof(name), "%s-node%u", instance ? instance : "default", n);
            setenv("OPENNRT_INSTANCE", name, 1);
            prctl(PR_SET_PDEATHSIG, SIGKILL); /* alone it would wait for the others */
            exit(node(n, busy));
        }
    }
    bad = node(0, busy);
    for (unsigned n = 1; n < NODES; n++)
        bad |= wait(&status) < 0 || status != 0;
    return bad;
}

int main(int argc, char **argv)
{
    bool busy = argc > 2 && strcmp(argv[2], "busy") == 0;
    int at = busy ? 3 : 2;

    if (argc > at)
        operations = (unsigned)strtoul(argv[at], NULL, 10);
    if (argc < 2 || argc > at + 1 || operations == 0) {
        fprintf(stderr, "usage: proxies sum.neff [busy] [operations]\n");
        return 2;
    }
    neff = file_read(argv[1], &neff_size);
    setenv("OPENNRT_JOIN_TIMEOUT", "60", 0); /* whatever keeps a node away is said */
    took_us = calloc(operations, sizeof(*took_us));
    return took_us ? nodes(busy) : 1;
}
