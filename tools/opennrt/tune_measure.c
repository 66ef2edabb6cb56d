/* SPDX-License-Identifier: Apache-2.0 */
/* What opennrt tune measures, and measuring: two jobs of processes on an instance of their own:
 * ranks that have a CPU each, and twice as many as CPUs. All ranks walk the same list; the ways of
 * a point are measured in turns, so that a machine whose clock or neighbours change treats them
 * alike. */
#include "tune.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "coll/coll.h"
#include "device/device.h"
#include "sched/select.h"
#include "topo/group.h"

#define INSTANCE  "trn2.48xlarge"
#define RANKS_MAX 4
#define WAYS_MAX  16
#define BUSY      8     /* times its budget, */
#define SLACK_US  500e3 /* and so much more, a way may take where others use the CPUs, */
#define TRIES     8     /* to find how long it takes */
#define TURNS_MIN 3     /* but so many turns it has */
#define BLOCK     512   /* bytes that a rank tells the others at once */

/* ---- what to measure ---- */

static const enum sched_op ops[] = {SCHED_ALL_REDUCE, SCHED_ALL_GATHER, SCHED_REDUCE_SCATTER,
                                    SCHED_BARRIER};

bool tune_same_point(const struct sched_tune_sample *a, const struct sched_tune_sample *b)
{
    return a->op == b->op && a->crowded == b->crowded && a->size == b->size;
}

bool tune_same_way(const struct sched_tune_sample *a, const struct sched_tune_sample *b)
{
    return tune_same_point(a, b) && sched_means_equal(a->means, b->means) &&
           sched_patience_equal(a->patience, b->patience);
}

static void sample_add(struct sched_tune_sample *samples, size_t *n,
                       const struct sched_tune_sample *s)
{
    for (size_t i = 0; i < *n; i++)
        if (tune_same_way(&samples[i], s))
            return;
    if (*n < TUNE_SAMPLES_MAX)
        samples[(*n)++] = *s;
}

/* The ways of a point, that of the fixed table first. */
static void point_add(struct sched_tune_sample *samples, size_t *n, enum sched_op op, bool crowded,
                      uint64_t size, const struct sched_tuning *fixed)
{
    static const uint64_t inline_max = 4096, around_min = 1 << 20;
    struct sched_tune_sample s = {.op = (uint8_t)op, .crowded = crowded, .size = size};
    uint32_t slice;

    s.patience = fixed->patience[crowded];
    s.means = sched_tuning_choose(fixed, op, crowded, size);
    slice = s.means.slice;
    sample_add(samples, n, &s);
    if (size <= inline_max) {
        s.means = (struct sched_means){SCHED_INLINE, false, slice};
        sample_add(samples, n, &s);
    }
    for (unsigned k = 0; k < (size >= around_min ? 2 : 1); k++) {
        s.means = (struct sched_means){SCHED_DIRECT, false, slice << 2 * k};
        sample_add(samples, n, &s);
        if (size >= around_min) {
            s.means.around = true;
            sample_add(samples, n, &s);
        }
    }
    s.means = (struct sched_means){SCHED_STAGED, false, slice};
    sample_add(samples, n, &s);
}

/* How long to yield matters where ranks share CPUs, and there for small operations most. */
static void patience_add(struct sched_tune_sample *samples, size_t *n,
                         const struct sched_tuning *fixed)
{
    static const struct sched_patience crowded[] = {{0, 100}, {0, 10000}, {200, 1000}};
    static const struct sched_patience spread[] = {{500, 16}, {8000, 16}};

    for (unsigned size = 64; size <= 4096; size *= 64) {
        struct sched_tune_sample s = {.op = SCHED_ALL_REDUCE, .crowded = true, .size = size};

        s.means = sched_tuning_choose(fixed, SCHED_ALL_REDUCE, true, size);
        for (unsigned i = 0; i < sizeof(crowded) / sizeof(crowded[0]); i++) {
            s.patience = crowded[i];
            sample_add(samples, n, &s);
        }
        s.crowded = false;
        s.means = sched_tuning_choose(fixed, SCHED_ALL_REDUCE, false, size);
        for (unsigned i = 0; i < sizeof(spread) / sizeof(spread[0]); i++) {
            s.patience = spread[i];
            sample_add(samples, n, &s);
        }
    }
}

static const uint64_t sizes[] = {64,    256,    1024,    2048,    4096,     16384,
                                 65536, 262144, 1 << 20, 4 << 20, 16 << 20, 64 << 20};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

size_t tune_plan(struct sched_tune_sample *samples, uint64_t largest)
{
    struct sched_tuning fixed;
    size_t n = 0;

    sched_tuning_default(&fixed);
    for (unsigned crowded = 0; crowded < 2; crowded++)
        for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
            for (unsigned k = 0; k < SIZES; k++) {
                if (ops[i] == SCHED_BARRIER && k > 0)
                    break;
                if (sizes[k] <= largest)
                    point_add(samples, &n, ops[i], crowded, ops[i] == SCHED_BARRIER ? 1 : sizes[k],
                              &fixed);
            }
    patience_add(samples, &n, &fixed);
    return n;
}

/* The nearest size of another point, below or above; that of s itself: none. */
static uint64_t next_size(const struct sched_tune_sample *all, size_t n,
                          const struct sched_tune_sample *s, bool above)
{
    uint64_t best = s->size;

    for (size_t i = 0; i < n; i++)
        if (all[i].op == s->op && all[i].crowded == s->crowded &&
            (above ? all[i].size > s->size : all[i].size < s->size) &&
            (best == s->size || (above ? all[i].size < best : all[i].size > best)))
            best = all[i].size;
    return best;
}

/* Whether one of the tables takes these means at the size of s, or in the stretch below or above.
 */
static bool means_matter(const struct sched_tune_sample *all, size_t n,
                         const struct sched_tune_sample *s, const struct sched_tuning *fixed,
                         const struct sched_tuning *tuned)
{
    const uint64_t near[] = {s->size, s->size - 1, s->size + 1, next_size(all, n, s, false) + 1,
                             next_size(all, n, s, true) - 1};
    enum sched_op op = (enum sched_op)s->op;

    for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++)
        if (sched_means_equal(s->means, sched_tuning_choose(fixed, op, s->crowded, near[i])) ||
            sched_means_equal(s->means, sched_tuning_choose(tuned, op, s->crowded, near[i])))
            return true;
    return false;
}

size_t tune_plan_again(const struct sched_tune_sample *first, size_t n,
                       const struct sched_tuning *tuned, struct sched_tune_sample *ret)
{
    struct sched_tuning fixed;
    size_t count = 0;

    sched_tuning_default(&fixed);
    for (size_t i = 0; i < n; i++) {
        struct sched_tune_sample s = first[i];

        if (!(s.us > 0) || (sched_patience_equal(s.patience, fixed.patience[s.crowded])
                                ? !means_matter(first, n, &s, &fixed, tuned)
                                : !sched_patience_equal(s.patience, tuned->patience[s.crowded])))
            continue;
        s.us = 0;
        sample_add(ret, &count, &s);
    }
    return count;
}

/* ---- a job ---- */

struct table { /* shared by the ranks and the process that started them */
    pthread_barrier_t barrier;
    uint8_t block[RANKS_MAX][BLOCK];
    double us[TUNE_SAMPLES_MAX];
};

struct job {
    struct table *table;
    struct sched_tune_sample *samples;
    size_t n;
    bool crowded;
    uint32_t ranks;
    double budget_us;
    unsigned rounds;
    char dir[64];
};

struct rank {
    const struct job *job;
    uint32_t me;
    struct topo_group group;
    struct device_instance *in;
    struct device_extent x, y;
};

/* One way of a point, ready to run. */
struct way {
    size_t sample;
    struct sched_tuning tuning;
    struct coll_comm *comm;
    struct sched *s;
    struct coll_plan *plan;
    uint32_t calls;
    double us[TUNE_ROUNDS_MAX];
};

static NRT_STATUS exchange(void *arg, const void *mine, size_t size, void *all, struct err *err)
{
    struct rank *r = arg;
    struct table *t = r->job->table;

    if (size > BLOCK)
        return err_set(err, NRT_RESOURCE, "%zu bytes; the table has %d", size, BLOCK);
    memcpy(t->block[r->me], mine, size);
    pthread_barrier_wait(&t->barrier);
    for (uint32_t i = 0; i < r->job->ranks; i++)
        memcpy((uint8_t *)all + i * size, t->block[i], size);
    pthread_barrier_wait(&t->barrier);
    return NRT_SUCCESS;
}

/* Ends this rank; its parent ends the others, which would wait for it. */
static void must(NRT_STATUS st, const struct err *err)
{
    if (st == NRT_SUCCESS)
        return;
    fprintf(stderr, "opennrt tune: %s\n", err->text);
    _exit(1);
}

static void memory(struct rank *r, uint64_t size, struct device_extent *x)
{
    struct device_alloc a = {.core = r->me * 2, /* two physical cores a logical one */
                             .neff = DEVICE_NONE,
                             .cat = DEVICE_CAT_TENSOR,
                             .size = size};
    struct err err = {0};
    void *p;

    must(device_alloc(r->in, &a, x, &err), &err);
    must(device_map(r->in, x->addr, size, DEVICE_RW, &p, &err), &err);
    memset(p, 0, size);
}

static void way_open(struct rank *r, const struct sched_tune_sample *sample, struct way *w)
{
    uint64_t count = sample->size / sizeof(float);
    struct sched_request req = {.op = (enum sched_op)sample->op,
                                .group = &r->group,
                                .tensors = sample->op == SCHED_BARRIER ? 0 : 1,
                                .counts = &count,
                                .elem_size = sizeof(float)};
    struct sched_question q = {.op = req.op, .size = sample->size, .dims = r->group.dims};
    struct coll_config cfg = {.in = r->in,
                              .group = &r->group,
                              .rank = r->me,
                              .core = r->me * 2,
                              .exchange = {r, exchange},
                              .tuning = &w->tuning};
    struct sched_rules rules;
    struct sched_choice choice;
    struct err err = {0};

    w->tuning = (struct sched_tuning){.count = 2, .patience = {sample->patience, sample->patience}};
    for (unsigned c = 0; c < 2; c++)
        w->tuning.rule[c] =
            (struct sched_tune_rule){.op = sample->op, .crowded = c, .means = sample->means};
    if (req.op == SCHED_ALL_GATHER || req.op == SCHED_REDUCE_SCATTER)
        count /= r->job->ranks;
    must(coll_comm_open(&cfg, &w->comm, &err), &err);
    sched_rules_default(&rules);
    must(sched_select(&rules, &q, &choice, &err), &err);
    req.alg = choice.alg;
    coll_request_tune(w->comm, &req);
    must(sched_create(&req, &w->s, &err), &err);
    must(coll_plan_create(w->comm, w->s, DT_FP32, KERNEL_COMBINE_SUM, &w->plan, &err), &err);
}

static void way_close(struct way *w)
{
    coll_plan_destroy(w->plan);
    sched_destroy(w->s);
    coll_comm_close(w->comm);
}

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* Mean time of one of a chain of operations; all_reduce reads what the one before wrote. */
static double way_run(struct rank *r, struct way *w, enum sched_op op, uint32_t calls)
{
    double start = now_us();

    for (uint32_t i = 0; i < calls; i++) {
        bool flip = op == SCHED_ALL_REDUCE && i % 2;
        struct err err = {0};

        must(coll_begin(w->plan, flip ? &r->y.addr : &r->x.addr, flip ? &r->x.addr : &r->y.addr,
                        &err),
             &err);
        must(coll_wait(w->comm, &err), &err);
    }
    return (now_us() - start) / calls;
}

/* The longest over the ranks: every rank learns it. */
static double all_longest(struct rank *r, double us)
{
    double all[RANKS_MAX], most = 0;
    struct err err = {0};

    must(exchange(r, &us, sizeof(us), all, &err), &err);
    for (uint32_t i = 0; i < r->job->ranks; i++)
        most = all[i] > most ? all[i] : most;
    return most;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* One turn of every way; every other time from the last to the first, so that none always follows
 * another. */
static void turn_take(struct rank *r, struct way *ways, unsigned count, unsigned turn)
{
    enum sched_op op = (enum sched_op)r->job->samples[ways[0].sample].op;

    for (unsigned i = 0; i < count; i++) {
        struct way *w = &ways[turn % 2 ? count - 1 - i : i];

        (void)way_run(r, w, op, 2); /* all are here */
        w->us[turn] = all_longest(r, way_run(r, w, op, w->calls));
    }
}

/* All turns, or fewer where the host is so busy that they last much longer than they should: all
 * ranks agree on how long that was. Returns how many. */
static unsigned turns_take(struct rank *r, struct way *ways, unsigned count)
{
    double start = now_us(), spent = 0;
    double limit = count * (BUSY * r->job->budget_us + SLACK_US);
    unsigned turns = 0;

    while (turns < r->job->rounds && (turns < TURNS_MIN || spent < limit)) {
        turn_take(r, ways, count, turns++);
        spent = all_longest(r, now_us() - start);
    }
    return turns;
}

/* How many operations a turn of a way has. The least of some tries counts: a turn of few, after one
 * in which a rank lost its CPU, would measure how ranks meet. */
static uint32_t calls_find(struct rank *r, struct way *w, enum sched_op op)
{
    double least = 0, spent = 0, calls;

    (void)way_run(r, w, op, 2);
    for (unsigned i = 0; i < TRIES && (i == 0 || spent < r->job->budget_us / 2); i++) {
        double us = all_longest(r, way_run(r, w, op, 4));

        least = i == 0 || us < least ? us : least;
        spent += 4 * us;
    }
    calls = r->job->budget_us / r->job->rounds / (least > 0.1 ? least : 0.1);
    return calls < 2 ? 2 : calls > 5000 ? 5000 : (uint32_t)calls;
}

static void point_measure(struct rank *r, struct way *ways, unsigned count)
{
    const struct sched_tune_sample *samples = r->job->samples;
    enum sched_op op = (enum sched_op)samples[ways[0].sample].op;
    unsigned turns;

    for (unsigned i = 0; i < count; i++) {
        way_open(r, &samples[ways[i].sample], &ways[i]);
        ways[i].calls = calls_find(r, &ways[i], op);
    }
    turns = turns_take(r, ways, count);
    for (unsigned i = 0; i < count; i++) {
        qsort(ways[i].us, turns, sizeof(ways[i].us[0]), compare);
        if (r->me == 0)
            r->job->table->us[ways[i].sample] = ways[i].us[turns / 2];
        way_close(&ways[i]);
    }
}

static void points_measure(struct rank *r)
{
    const struct job *job = r->job;

    for (size_t i = 0; i < job->n; i++) {
        struct way ways[WAYS_MAX];
        unsigned count = 0;
        bool first = job->samples[i].crowded == job->crowded;

        for (size_t k = 0; k < i && first; k++)
            first = !tune_same_point(&job->samples[k], &job->samples[i]);
        for (size_t k = i; k < job->n && first && count < WAYS_MAX; k++)
            if (tune_same_point(&job->samples[k], &job->samples[i]))
                ways[count++] = (struct way){.sample = k};
        if (count)
            point_measure(r, ways, count);
    }
}

/* The CPU with that number among this process's. */
static void cpu_take(uint32_t number)
{
    cpu_set_t mine, one;

    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof(mine), &mine) != 0)
        return;
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &mine) && number-- == 0)
            CPU_SET(i, &one);
    (void)sched_setaffinity(0, sizeof(one), &one);
}

static void rank_run(const struct job *job, uint32_t me)
{
    struct device_config cfg = {.type = INSTANCE, .dir = job->dir, .report_dir = job->dir};
    struct rank r = {.job = job, .me = me};
    struct topo_fabric fabric;
    struct topo_world world;
    struct err err = {0};
    uint64_t largest = 64;

    for (size_t i = 0; i < job->n; i++)
        largest = job->samples[i].size > largest ? job->samples[i].size : largest;
    must(topo_fabric_init(&fabric, topo_instance_find(INSTANCE), 1, &err), &err);
    must(topo_world_init(&world, &fabric, 2, 1, job->ranks, &err), &err);
    must(topo_group_init(&r.group, &world, NULL, 0, &err), &err);
    must(device_instance_open(&cfg, &r.in, &err), &err);
    memory(&r, largest, &r.x);
    memory(&r, largest, &r.y);
    if (!job->crowded)
        cpu_take(me);
    device_runnable_add(r.in, 1);
    points_measure(&r);
    device_runnable_add(r.in, -1);
    device_instance_close(r.in);
    topo_group_fini(&r.group);
}

/* Ranks run on the first of this process's CPUs: one each, or twice as many as CPUs. */
static bool bind(bool crowded, uint32_t *ret_ranks)
{
    cpu_set_t mine, few;
    unsigned cpus = 0, most = 2;

    if (sched_getaffinity(0, sizeof(mine), &mine) != 0)
        return false;
    CPU_ZERO(&few);
    for (int i = 0; i < CPU_SETSIZE && cpus < most; i++)
        if (CPU_ISSET(i, &mine)) {
            CPU_SET(i, &few);
            cpus++;
        }
    *ret_ranks = crowded ? 2 * cpus : cpus;
    return *ret_ranks >= 2 && sched_setaffinity(0, sizeof(few), &few) == 0;
}

/* False: a rank failed, and said why. */
static bool ranks_run(const struct job *job)
{
    pid_t pids[RANKS_MAX];
    bool good = true;

    for (uint32_t i = 0; i < job->ranks; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            rank_run(job, i);
            _exit(0);
        }
        good = good && pids[i] > 0;
    }
    for (uint32_t left = job->ranks; left > 0; left--) {
        int status = 0;

        if (!good)
            for (uint32_t i = 0; i < job->ranks; i++)
                if (pids[i] > 0)
                    kill(pids[i], SIGKILL); /* ours, and not waited for yet */
        pid_t pid = wait(&status);

        for (uint32_t i = 0; i < job->ranks; i++)
            if (pids[i] == pid)
                pids[i] = 0;
        good = good && pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    return good;
}

/* Whether there is something to measure with so many ranks. */
static bool wanted(const struct sched_tune_sample *samples, size_t n, bool crowded)
{
    for (size_t i = 0; i < n; i++)
        if (samples[i].crowded == crowded)
            return true;
    return false;
}

static bool job_run(struct job *job)
{
    pthread_barrierattr_t attr;
    bool good;

    job->table =
        mmap(NULL, sizeof(*job->table), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (job->table == MAP_FAILED) {
        perror("opennrt tune");
        return false;
    }
    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&job->table->barrier, &attr, job->ranks);
    pthread_barrierattr_destroy(&attr);
    good = ranks_run(job);
    for (size_t i = 0; i < job->n && good; i++)
        if (job->samples[i].crowded == job->crowded)
            job->samples[i].us = job->table->us[i];
    munmap(job->table, sizeof(*job->table));
    return good;
}

static void dir_remove(const char *dir)
{
    pid_t pid = fork();

    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", dir, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
}

bool tune_measure(struct sched_tune_sample *samples, size_t n, double budget_us, unsigned rounds)
{
    cpu_set_t mine;
    bool any = false;

    if (sched_getaffinity(0, sizeof(mine), &mine) != 0) {
        perror("opennrt tune");
        return false;
    }
    for (unsigned crowded = 0; crowded < 2; crowded++) {
        struct job job = {.samples = samples,
                          .n = n,
                          .crowded = crowded,
                          .budget_us = budget_us,
                          .rounds = rounds < TUNE_ROUNDS_MAX ? rounds : TUNE_ROUNDS_MAX,
                          .dir = "/tmp/opennrt-tune-XXXXXX"};

        if (!wanted(samples, n, crowded))
            continue;
        if (!bind(crowded, &job.ranks)) {
            fprintf(stderr, "opennrt tune: one CPU: ranks with a CPU each are not measured\n");
            continue;
        }
        if (!mkdtemp(job.dir)) {
            perror("opennrt tune");
            return false;
        }
        any = job_run(&job) || any;
        dir_remove(job.dir);
        (void)sched_setaffinity(0, sizeof(mine), &mine);
    }
    return any;
}
