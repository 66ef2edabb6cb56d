/* SPDX-License-Identifier: Apache-2.0 */
/* The documentation's advice on performance, as experiments on this machine (docs/performance.md):
 *
 *   tips layer.neff pipeline [batches]   one batch after the other, and stages at the same time
 *   tips layer.neff depth [batches]      1, 2, 3 and 8 executions queued
 *   tips layer.neff waiting [batches]    ask, ask and yield, sleep on a descriptor
 *   tips layer.neff threads [batches]    one model executed by 1, 2 and 4 threads
 *   tips layer.neff calls [batches]      how long nrt_execute keeps its caller
 *   tips layer.neff placement            CPUs of the runtime's threads
 *
 * The model has one input and one output of the same size. Ends with 1 when a result is wrong. */
#include <dirent.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "nrt/nrt_async.h"
#include "nrt/nrt_async_sendrecv.h"
#include "nrt/nrt_experimental.h"

#define SETS        3 /* of buffers: one is written, one executes, one is read */
#define THREADS_MAX 4
#define ROUNDS      5

struct buffers {
    nrt_tensor_t *x, *y;
    nrt_tensor_set_t *in, *out;
    float *from, *to; /* host memory */
};

static nrt_model_t *model;
static size_t bytes;
static struct buffers set[THREADS_MAX]; /* SETS are used where there are no threads */
static nrta_error_tracker_t *failures;

/* --- medians -----------------------------------------------------------------------------------
 */

static double median(const double us[ROUNDS])
{
    double sorted[ROUNDS];

    memcpy(sorted, us, sizeof(sorted));
    qsort(sorted, ROUNDS, sizeof(sorted[0]), by_value);
    return sorted[ROUNDS / 2];
}

/* Of ROUNDS runs, microseconds per batch. */
static double median_of(double (*run)(unsigned batches, int arg), unsigned batches, int arg)
{
    double us[ROUNDS];

    for (int i = 0; i < ROUNDS; i++)
        us[i] = run(batches, arg) / batches;
    return median(us);
}

/* --- the model and its buffers -----------------------------------------------------------------
 */

static void buffers_make(struct buffers *b, const char *x, const char *y, float value)
{
    OK(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, bytes, x, &b->x));
    OK(nrt_tensor_allocate(NRT_TENSOR_PLACEMENT_DEVICE, 0, bytes, y, &b->y));
    OK(nrt_allocate_tensor_set(&b->in));
    OK(nrt_allocate_tensor_set(&b->out));
    OK(nrt_add_tensor_to_tensor_set(b->in, x, b->x));
    OK(nrt_add_tensor_to_tensor_set(b->out, y, b->y));
    b->from = malloc(bytes);
    b->to = malloc(bytes);
    if (!b->from || !b->to)
        exit(1);
    for (size_t i = 0; i < bytes / sizeof(float); i++)
        b->from[i] = value + (float)(i % 64) / 64;
    memset(b->to, 0, bytes);
    OK(nrt_tensor_write(b->x, b->from, 0, bytes));
    OK(nrt_execute(model, b->in, b->out)); /* and everything is warm */
    OK(nrt_tensor_read(b->y, b->to, 0, bytes));
}

static void begin(const char *path)
{
    nrt_tensor_info_array_t *info;
    size_t size;
    void *neff = file_read(path, &size);

    OK(nrt_init(NRT_FRAMEWORK_TYPE_NO_FW, "", ""));
    OK(nrt_load(neff, size, 0, -1, &model));
    free(neff);
    OK(nrta_error_tracker_create(0, &failures));
    OK(nrt_get_model_tensor_info(model, &info));
    bytes = info->tensor_array[0].size;
    for (int i = 0; i < THREADS_MAX; i++)
        buffers_make(&set[i], info->tensor_array[0].name, info->tensor_array[1].name, (float)i);
    OK(nrt_free_model_tensor_info(info));
}

/* Nothing is in the outputs, here and on the device, nor in the inputs there if they are to be
 * written again: what is right afterwards has been done. */
static void forget(unsigned sets, bool inputs)
{
    for (unsigned s = 0; s < sets; s++) {
        memset(set[s].to, 0, bytes);
        OK(nrt_tensor_memset(set[s].y, 0, 0, bytes));
        if (inputs)
            OK(nrt_tensor_memset(set[s].x, 0, 0, bytes));
    }
}

/* What layer.nasm says of what was written. */
static bool results_right(unsigned sets)
{
    for (unsigned s = 0; s < sets; s++)
        for (size_t i = 0; i < bytes / sizeof(float); i += 61)
            if (fabsf(set[s].to[i] - tanhf(set[s].from[i] / 2)) > 1e-5f) {
                fprintf(stderr, "tips: buffers %u: element %zu is %g\n", s, i, set[s].to[i]);
                return false;
            }
    return true;
}

/* fetch: the experiment has left its results on the device. */
static int end(unsigned sets, bool fetch)
{
    const nrta_error_t *list;
    size_t count;
    bool right;

    for (unsigned s = 0; fetch && s < sets; s++)
        OK(nrt_tensor_read(set[s].y, set[s].to, 0, bytes));
    right = results_right(sets);
    OK(nrta_error_tracker_get_list(failures, &list, &count));
    if (count > 0)
        fprintf(stderr, "tips: %zu requests failed\n", count);
    nrta_error_tracker_destroy(failures);
    nrt_close();
    return right && count == 0 ? 0 : 1;
}

/* --- requests ----------------------------------------------------------------------------------
 */

static int handle_of(nrta_seq_t seq)
{
    int fd = -1;

    OK(nrta_get_completion_handle(seq, &fd));
    return fd;
}

static void finish(nrta_seq_t seq)
{
    struct pollfd p = {.fd = handle_of(seq), .events = POLLIN};

    while (poll(&p, 1, -1) != 1)
        ;
    close(p.fd);
}

/* --- pipeline ----------------------------------------------------------------------------------
 */

enum stage { WRITE, EXECUTE, READ, STAGES };
static const char *const stage_names[STAGES] = {"write", "execute", "read"};

static nrta_seq_t leave(enum stage what, struct buffers *b)
{
    nrta_seq_t seq = 0;

    if (what == WRITE)
        OK(nrta_tensor_write(b->x, b->from, 0, bytes, 0, failures, &seq));
    else if (what == EXECUTE)
        OK(nrta_execute_schedule(model, b->in, b->out, 0, failures, &seq));
    else
        OK(nrta_tensor_read(b->to, b->y, 0, bytes, 0, failures, &seq));
    return seq;
}

/* Of one stage, each request awaited before the next is left. */
static double one_stage(unsigned batches, int stage)
{
    double start = now_us();

    for (unsigned k = 0; k < batches; k++)
        finish(leave((enum stage)stage, &set[k % SETS]));
    return now_us() - start;
}

static double one_after_the_other(unsigned batches, int unused)
{
    double start = now_us();

    (void)unused;
    for (unsigned k = 0; k < batches; k++)
        for (int s = 0; s < STAGES; s++)
            finish(leave((enum stage)s, &set[k % SETS]));
    return now_us() - start;
}

/* How many requests of each stage were left, and how many have completed. */
struct progress {
    unsigned batches, left[STAGES], done[STAGES];
    struct pollfd head[STAGES]; /* of the oldest request that has not; fd -1: none */
    nrta_seq_t seq[STAGES][SETS];
};

/* Whether the next request of a stage has what it needs, and its buffers are free. */
static bool may_go(const struct progress *p, int s)
{
    unsigned k = p->left[s], after = (s + 1) % STAGES;

    if (k == p->batches || (s > 0 && p->done[s - 1] <= k))
        return false;
    if (s == READ) /* whoever gets the result has it at once */
        return k < p->done[READ] + SETS;
    return k < p->done[after] + SETS;
}

static void go(struct progress *p)
{
    for (int s = STAGES - 1; s >= 0; s--)
        while (may_go(p, s)) {
            unsigned k = p->left[s]++;

            p->seq[s][k % SETS] = leave((enum stage)s, &set[k % SETS]);
        }
    for (int s = 0; s < STAGES; s++)
        if (p->head[s].fd < 0 && p->done[s] < p->left[s])
            p->head[s] =
                (struct pollfd){.fd = handle_of(p->seq[s][p->done[s] % SETS]), .events = POLLIN};
}

static double all_at_the_same_time(unsigned batches, int unused)
{
    struct progress p = {.batches = batches};
    double start = now_us();

    (void)unused;
    for (int s = 0; s < STAGES; s++)
        p.head[s].fd = -1;
    go(&p);
    while (p.done[READ] < batches) {
        poll(p.head, STAGES, -1);
        for (int s = 0; s < STAGES; s++) {
            if (p.head[s].fd < 0 || !(p.head[s].revents & POLLIN))
                continue;
            close(p.head[s].fd);
            p.head[s].fd = -1;
            p.done[s]++;
        }
        go(&p);
    }
    return now_us() - start;
}

/* Executions of one set, one after the other, until told to stop. */
struct executions {
    pthread_t thread;
    atomic_bool stop;
    double us; /* one of them */
};

static void *executions_main(void *arg)
{
    struct executions *e = arg;
    double start = now_us();
    unsigned n = 0;

    do {
        OK(nrt_execute(model, set[0].in, set[0].out));
        n++;
    } while (!atomic_load(&e->stop));
    e->us = (now_us() - start) / n;
    return NULL;
}

/* Of a transfer of another set while the core executes, and of the executions meanwhile. */
static void beside(unsigned batches, enum stage what, double *ret_us, double *ret_execute)
{
    struct executions e = {.stop = false};
    double start;

    if (pthread_create(&e.thread, NULL, executions_main, &e) != 0)
        exit(1);
    start = now_us();
    for (unsigned k = 0; k < batches; k++)
        finish(leave(what, &set[1]));
    *ret_us = (now_us() - start) / batches;
    atomic_store(&e.stop, true);
    pthread_join(e.thread, NULL);
    *ret_execute = e.us;
}

/* What a batch takes at least when stages slow each other down: beside its write and its read, one
 * after the other, so much of an execution is done as was measured, the rest of it alone. */
static double ideal_beside(unsigned batches, double execute)
{
    double left = 1, us = 0;

    for (int s = 0; s < STAGES; s++) {
        double moved, slowed;

        if (s == EXECUTE)
            continue;
        beside(batches, (enum stage)s, &moved, &slowed);
        us += moved;
        left -= moved / slowed;
    }
    return left > 0 ? us + left * execute : us;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* All in turns, so that a machine that changes changes them alike. */
static void pipeline(unsigned batches)
{
    double us[STAGES][ROUNDS], serial[ROUNDS], both[ROUNDS], ideal[ROUNDS], share[ROUNDS];
    double slowed[ROUNDS], share_slowed[ROUNDS];
    cpu_set_t mask;
    int cpus = sched_getaffinity(0, sizeof(mask), &mask) == 0 ? CPU_COUNT(&mask) : 1;

    for (int i = 0; i < ROUNDS; i++) {
        double longest = 0, sum = 0;

        for (int s = 0; s < STAGES; s++) {
            us[s][i] = one_stage(batches, s) / batches;
            longest = larger(longest, us[s][i]);
            sum += us[s][i];
        }
        serial[i] = one_after_the_other(batches, 0) / batches;
        both[i] = all_at_the_same_time(batches, 0) / batches;
        ideal[i] = larger(longest, sum / cpus);
        share[i] = 100 * ideal[i] / both[i];
        slowed[i] = larger(ideal[i], ideal_beside(batches, us[EXECUTE][i]));
        share_slowed[i] = 100 * slowed[i] / both[i];
    }
    /* Each set once, so that no earlier batch stands in for a stage that came too soon. */
    forget(SETS, true);
    all_at_the_same_time(SETS, 0);
    for (int s = 0; s < STAGES; s++)
        printf("%-34s %10.1f us\n", stage_names[s], median(us[s]));
    printf("%-34s %10.1f us\n", "one after the other", median(serial));
    printf("%-34s %10.1f us\n", "at the same time", median(both));
    printf("%-34s %10.1f us  (the longest stage, or all by %d CPUs)\n", "ideal", median(ideal),
           cpus);
    printf("%-34s %10.1f %%\n", "of the ideal", median(share));
    printf("%-34s %10.1f us  (the same, of stages beside each other)\n",
           "what the stages leave of it", median(slowed));
    printf("%-34s %10.1f %%\n", "of what they leave", median(share_slowed));
}

/* --- depth -------------------------------------------------------------------------------------
 */

static double queued(unsigned batches, int depth)
{
    nrta_seq_t seq[64];
    double start = now_us();

    for (unsigned k = 0; k < batches; k++) {
        if (k >= (unsigned)depth)
            finish(seq[k % (unsigned)depth]);
        seq[k % (unsigned)depth] = leave(EXECUTE, &set[k % SETS]);
    }
    for (unsigned k = batches > (unsigned)depth ? batches - (unsigned)depth : 0; k < batches; k++)
        finish(seq[k % (unsigned)depth]);
    return now_us() - start;
}

static void depth(unsigned batches)
{
    static const int depths[] = {1, 2, 3, 8};

    for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++)
        printf("%d queued%-26s %10.1f us\n", depths[i], "", median_of(queued, batches, depths[i]));
}

/* --- waiting -----------------------------------------------------------------------------------
 */

enum way { ASK, ASK_AND_YIELD, SLEEP, WAYS };

static double waited(unsigned batches, int way)
{
    double start = now_us();

    for (unsigned k = 0; k < batches; k++) {
        nrta_seq_t seq = leave(EXECUTE, &set[k % SETS]);
        bool done = false;

        if (way == SLEEP)
            finish(seq);
        while (way != SLEEP && !done) {
            OK(nrta_is_completed(seq, &done));
            if (way == ASK_AND_YIELD && !done)
                sched_yield();
        }
    }
    return now_us() - start;
}

static void waiting(unsigned batches)
{
    static const char *const names[WAYS] = {"ask", "ask and yield", "sleep on a descriptor"};

    for (int w = 0; w < WAYS; w++) {
        double cpu = clock_us(CLOCK_THREAD_CPUTIME_ID);
        double us = median_of(waited, batches, w);

        cpu = (clock_us(CLOCK_THREAD_CPUTIME_ID) - cpu) / ROUNDS / batches;
        printf("%-34s %10.1f us, of the caller's CPU %10.1f us\n", names[w], us, cpu);
    }
}

/* --- threads -----------------------------------------------------------------------------------
 */

struct hand {
    pthread_t thread;
    unsigned batches;
    struct buffers *b;
};

static void *hand_main(void *arg)
{
    const struct hand *h = arg;

    for (unsigned k = 0; k < h->batches; k++) {
        OK(nrt_tensor_write(h->b->x, h->b->from, 0, bytes));
        OK(nrt_execute(model, h->b->in, h->b->out));
        OK(nrt_tensor_read(h->b->y, h->b->to, 0, bytes));
    }
    return NULL;
}

static double by_threads(unsigned batches, int threads)
{
    struct hand h[THREADS_MAX];
    double start = now_us();

    for (int i = 0; i < threads; i++) {
        h[i] = (struct hand){.b = &set[i],
                             .batches = batches / (unsigned)threads +
                                        ((unsigned)i < batches % (unsigned)threads)};
        if (pthread_create(&h[i].thread, NULL, hand_main, &h[i]) != 0)
            exit(1);
    }
    for (int i = 0; i < threads; i++)
        pthread_join(h[i].thread, NULL);
    return now_us() - start;
}

static void threads(unsigned batches)
{
    for (int n = 1; n <= THREADS_MAX; n *= 2)
        printf("%d thread%-26s %10.1f us\n", n, n > 1 ? "s" : "",
               median_of(by_threads, batches, n));
}

/* --- calls -------------------------------------------------------------------------------------
 */

static double kept_us;

/* As many at a time as the queue may have; without one, nrt_execute returns when it is done. */
static double called(unsigned batches, int burst)
{
    double start = now_us();

    kept_us = 0;
    for (unsigned k = 0; k < batches; k++) {
        double before = now_us();

        OK(nrt_execute(model, set[k % SETS].in, set[k % SETS].out));
        kept_us += now_us() - before;
        if ((k + 1) % (unsigned)burst == 0 || k + 1 == batches)
            OK(nrt_async_drain_queued_execs(0));
    }
    return now_us() - start;
}

static void calls(unsigned batches)
{
    const char *depth = getenv("NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS");
    int burst = depth ? atoi(depth) : 0;
    double us = median_of(called, batches, burst > 0 ? burst : 1);

    printf("%-34s %10.1f us\n", "an execution", us);
    printf("%-34s %10.1f us\n", "of it the caller is kept for", kept_us / batches);
}

/* --- placement ---------------------------------------------------------------------------------
 */

static void cpus_print(const cpu_set_t *s)
{
    for (int c = 0, many = 0; c < CPU_SETSIZE; c++)
        if (CPU_ISSET(c, s))
            printf("%s%d", many++ ? "," : "", c);
    printf("\n");
}

static bool is_named(int tid, const char *name)
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
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, name) == 0;
}

/* The thread of that name; 0: none has it yet. */
static int thread_find(const char *name)
{
    DIR *d = opendir("/proc/self/task");
    struct dirent *e;
    int found = 0;

    while (d && !found && (e = readdir(d)))
        if (atoi(e->d_name) > 0 && is_named(atoi(e->d_name), name))
            found = atoi(e->d_name);
    if (d)
        closedir(d);
    return found;
}

/* One that was started gives itself its name as soon as it runs. */
static void thread_show(const char *name)
{
    double start = now_us();
    cpu_set_t s;
    int tid;

    while ((tid = thread_find(name)) == 0 && now_us() - start < 60e6)
        sched_yield();
    printf("%-34s ", name);
    if (tid != 0 && sched_getaffinity(tid, sizeof(s), &s) == 0)
        cpus_print(&s);
    else
        printf("none\n");
}

/* Starts a worker, and the proxy of send and receive if the program may use it. */
static void placement(void)
{
    bool proxy = getenv("NEURON_RT_ASYNC_SENDRECV_EXPERIMENTAL_ENABLED") != NULL;

    finish(leave(EXECUTE, &set[0]));
    thread_show("nrt-core0");
    if (!proxy)
        return;
    OK(nrt_async_sendrecv_init(0));
    thread_show("nrt-sendrecv");
    OK(nrt_async_sendrecv_close(0));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(unsigned batches);
        unsigned sets; /* whose results are looked at */
        bool moves;    /* writes inputs and reads outputs itself */
    } tips[] = {{"pipeline", pipeline, SETS, true},
                {"depth", depth, SETS, false},
                {"waiting", waiting, SETS, false},
                {"threads", threads, THREADS_MAX, true},
                {"calls", calls, SETS, false}};
    unsigned batches = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 50;

    for (size_t i = 0; argc > 2 && i < sizeof(tips) / sizeof(tips[0]); i++)
        if (strcmp(argv[2], tips[i].name) == 0 && batches > 0) {
            unsigned used = batches < tips[i].sets ? batches : tips[i].sets;

            begin(argv[1]);
            forget(used, tips[i].moves);
            tips[i].run(batches);
            return end(used, !tips[i].moves);
        }
    if (argc > 2 && strcmp(argv[2], "placement") == 0) {
        begin(argv[1]);
        forget(1, false);
        placement();
        return end(1, true);
    }
    fprintf(stderr, "usage: tips layer.neff pipeline|depth|waiting|threads|calls [batches]\n"
                    "       tips layer.neff placement\n");
    return 2;
}
