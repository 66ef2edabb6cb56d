/* SPDX-License-Identifier: Apache-2.0 */
/* Commands to ranks, and the timing of an operation: the same for every library. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "coll_job.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TRIPS    2000
#define LARGE    (16u << 20) /* one call is enough to warm up */
#define PATIENCE 20000       /* polls of the start line between calls of progress */

double job_now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void must(bool good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(1);
}

unsigned job_port_free(void)
{
    struct sockaddr_in a;
    socklen_t size = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    memset(&a, 0, sizeof(a));
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
             getsockname(fd, (struct sockaddr *)&a, &size) == 0,
         "bench: port");
    close(fd);
    return ntohs(a.sin_port);
}

void *job_alloc(size_t size)
{
    const size_t huge = (size_t)2 << 20;
    void *p = NULL;

    size = (size + huge - 1) / huge * huge;
    must(posix_memalign(&p, huge, size) == 0, "bench: memory");
    (void)madvise(p, size, MADV_HUGEPAGE);
    memset(p, 1, size);
    return p;
}

/* ---- the region ---- */

static struct job_region *region_map(const char *path, int flags)
{
    int fd = open(path, flags, 0600);
    void *p;

    must(fd >= 0, path);
    if (flags & O_CREAT)
        must(ftruncate(fd, sizeof(struct job_region)) == 0, path);
    p = mmap(NULL, sizeof(struct job_region), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(p != MAP_FAILED, path);
    close(fd);
    return (struct job_region *)p;
}

struct job_region *job_region_make(const char *path, uint32_t ranks)
{
    struct job_region *r = region_map(path, O_RDWR | O_CREAT | O_EXCL);

    r->ranks = r->left = ranks;
    return r;
}

struct job_region *job_region_open(const char *path)
{
    return region_map(path, O_RDWR);
}

uint32_t job_ranks_start(const struct job_region *r)
{
    pid_t parent = getpid();

    for (uint32_t rank = 0; rank + 1 < r->ranks; rank++) {
        pid_t pid = fork();

        must(pid >= 0, "bench: fork");
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                _exit(1);
            return rank;
        }
    }
    return r->ranks - 1;
}

bool job_folder_make(char *buf, size_t size)
{
    const char *base = getenv("BENCH_TMP");

    snprintf(buf, size, "%s/bench-coll-XXXXXX", base ? base : "/tmp");
    return mkdtemp(buf) != NULL;
}

void job_region_close(struct job_region *r)
{
    munmap(r, sizeof(*r));
}

static void word_sleep(uint32_t *word, uint32_t seen, unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    syscall(SYS_futex, word, FUTEX_WAIT, seen, ms ? &t : NULL, NULL, 0);
}

static void word_wake(uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void job_command_post(struct job_region *r, enum job_command kind)
{
    r->kind = kind;
    __atomic_store_n(&r->left, r->ranks, __ATOMIC_RELAXED);
    __atomic_add_fetch(&r->command, 1, __ATOMIC_RELEASE);
    word_wake(&r->command);
}

bool job_command_wait(struct job_region *r, unsigned limit_ms, bool (*alive)(void *), void *arg)
{
    double end = job_now_us() + limit_ms * 1e3;
    uint32_t left;

    while ((left = __atomic_load_n(&r->left, __ATOMIC_ACQUIRE)) != 0) {
        if (job_now_us() > end || !alive(arg))
            return false;
        word_sleep(&r->left, left, 100);
    }
    return true;
}

static void command_done(struct job_region *r)
{
    if (__atomic_sub_fetch(&r->left, 1, __ATOMIC_ACQ_REL) == 0)
        word_wake(&r->left);
}

/* ---- the start line ---- */

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static bool crowded(uint32_t ranks)
{
    static long cpus; /* asked once: the answer is read from a file */

    if (cpus == 0)
        cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return (long)ranks > cpus;
}

void job_start_line(struct job_region *r, const struct job_library *lib, void *arg)
{
    uint32_t phase = __atomic_load_n(&r->phase, __ATOMIC_ACQUIRE);
    bool yield = crowded(r->ranks);

    if (__atomic_add_fetch(&r->arrived, 1, __ATOMIC_ACQ_REL) == r->ranks) {
        __atomic_store_n(&r->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&r->phase, phase + 1, __ATOMIC_RELEASE);
        return;
    }
    for (unsigned polls = 1; __atomic_load_n(&r->phase, __ATOMIC_ACQUIRE) == phase; polls++) {
        if (yield)
            sched_yield();
        else
            relax();
        if (polls % PATIENCE == 0 && lib->progress)
            lib->progress(arg);
    }
}

/* ---- contents: small integers, so that every order of a sum is exact ---- */

struct point {
    struct job_region *r;
    uint32_t rank;
    const struct job_library *lib;
    void *arg;
    float *x, *y;
};

static float pattern(uint64_t i)
{
    return (float)((i & 7) + 1 + (i >> 10 & 15));
}

/* Input of this rank, times scale. */
static void input_fill(const struct point *p, float scale)
{
    uint64_t n = p->r->bytes / sizeof(float);
    float factor = (float)(p->rank + 1) * scale;

    if (p->r->op == JOB_ALL_GATHER)
        n /= p->r->ranks;
    for (uint64_t i = 0; i < n; i++)
        p->x[i] = factor * pattern(i);
}

static bool output_check(const struct point *p)
{
    uint64_t n = p->r->bytes / sizeof(float), block = n / p->r->ranks;
    float all = (float)(p->r->ranks * (p->r->ranks + 1) / 2);

    switch (p->r->op) {
    case JOB_ALL_REDUCE:
        for (uint64_t i = 0; i < n; i++)
            if (p->y[i] != all * pattern(i))
                return false;
        return true;
    case JOB_ALL_GATHER:
        for (uint64_t i = 0; i < block * p->r->ranks; i++)
            if (p->y[i] != (float)(i / block + 1) * pattern(i % block))
                return false;
        return true;
    case JOB_REDUCE_SCATTER:
        for (uint64_t i = 0; i < block; i++)
            if (p->y[i] != all * pattern(p->rank * block + i))
                return false;
        return true;
    case JOB_TRIP:
    case JOB_WINDOW: /* rank 0's input */
        for (uint64_t i = 0; i < n && (p->rank != 0 || p->r->op == JOB_TRIP); i++)
            if (p->y[i] != pattern(i))
                return false;
        return true;
    default:
        return true;
    }
}

/* ---- commands ---- */

static void settle(const struct point *p)
{
    if (p->lib->settle)
        p->lib->settle(p->arg);
}

static void line(const struct point *p)
{
    job_start_line(p->r, p->lib, p->arg);
}

static void do_prepare(struct point *p)
{
    uint32_t *refused = &p->r->refused[p->rank];

    *refused = !p->lib->prepare(p->arg, (enum job_op)p->r->op, p->r->bytes, &p->x, &p->y);
    line(p);
    for (uint32_t i = 0; i < p->r->ranks; i++)
        if (p->r->refused[i])
            return; /* all of them, as none may wait for the others */
    input_fill(p, 1);
    if (p->r->bytes)
        memset(p->y, 0, p->r->bytes);
    line(p);
    p->lib->run(p->arg, false);
    settle(p);
    line(p);
    *refused = output_check(p) ? 0 : 2;
}

/* BENCH_TOUCH: so many KiB of the rank's own memory are written before each call, as a program does
 * that computes between its operations; code and data of the library are then where that has left
 * them. */
static void touch(void)
{
    static volatile uint64_t *memory;
    static size_t count;
    static bool asked;

    if (!asked) {
        const char *kib = getenv("BENCH_TOUCH");

        asked = true;
        count = kib ? strtoul(kib, NULL, 10) * 1024 / sizeof(*memory) : 0;
        if (count)
            memory = (volatile uint64_t *)job_alloc(count * sizeof(*memory));
    }
    for (size_t i = 0; i < count; i++)
        memory[i] = i;
}

/* Each sample: fresh input, everybody at the line, one operation. The driver takes the longest over
 * the ranks. */
static void do_calls(const struct point *p)
{
    uint32_t warm = p->r->bytes < LARGE ? 3 : 1;

    for (uint32_t i = 0; i < warm + p->r->calls; i++) {
        double start;

        input_fill(p, 1);
        touch();
        settle(p);
        line(p);
        start = job_now_us();
        p->lib->run(p->arg, false);
        if (i >= warm)
            p->r->us[p->rank][i - warm] = (float)(job_now_us() - start);
    }
    settle(p);
}

/* Starts small enough for the sums of the chain to stay finite: each multiplies by the ranks. */
static void do_chain(const struct point *p)
{
    double start;

    input_fill(p, 0x1p-120f);
    settle(p);
    line(p);
    if (p->lib->chain) {
        p->r->us[p->rank][0] = (float)(p->lib->chain(p->arg, p->r->calls) / p->r->calls);
        return;
    }
    start = job_now_us();
    for (uint32_t i = 0; i < p->r->calls; i++)
        p->lib->run(p->arg, p->r->op == JOB_ALL_REDUCE && i % 2);
    p->r->us[p->rank][0] = (float)((job_now_us() - start) / p->r->calls);
    settle(p);
}

/* Round trip of a flag between ranks 0 and 1. */
static void do_trips(const struct point *p)
{
    uint32_t *mine = p->rank == 0 ? &p->r->ping : &p->r->pong;
    uint32_t *other = p->rank == 0 ? &p->r->pong : &p->r->ping;
    uint32_t base = __atomic_load_n(mine, __ATOMIC_RELAXED);
    double start;

    line(p);
    start = job_now_us();
    for (uint32_t i = 1; i <= TRIPS && p->rank < 2; i++) {
        if (p->rank == 0)
            __atomic_store_n(mine, base + i, __ATOMIC_RELEASE);
        while (__atomic_load_n(other, __ATOMIC_ACQUIRE) != base + i)
            relax();
        if (p->rank == 1)
            __atomic_store_n(mine, base + i, __ATOMIC_RELEASE);
    }
    p->r->us[p->rank][0] = (float)((job_now_us() - start) / TRIPS);
}

static void pin(uint32_t rank)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(rank, &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
}

void job_serve(struct job_region *r, uint32_t rank, const struct job_library *lib, void *arg)
{
    struct point p = {.r = r, .rank = rank, .lib = lib, .arg = arg};
    uint32_t seen = __atomic_load_n(&r->command, __ATOMIC_ACQUIRE);

    if (!crowded(r->ranks))
        pin(rank);
    command_done(r); /* come */
    for (;;) {
        uint32_t now;

        while ((now = __atomic_load_n(&r->command, __ATOMIC_ACQUIRE)) == seen)
            word_sleep(&r->command, seen, 0);
        seen = now;
        switch (r->kind) {
        case JOB_PREPARE:
            do_prepare(&p);
            break;
        case JOB_CALLS:
            do_calls(&p);
            break;
        case JOB_CHAIN:
            do_chain(&p);
            break;
        case JOB_TRIPS:
            do_trips(&p);
            break;
        case JOB_RELEASE:
            lib->release(arg);
            break;
        default:
            command_done(r);
            return;
        }
        command_done(r);
    }
}
