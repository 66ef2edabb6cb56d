/* SPDX-License-Identifier: Apache-2.0 */
#include "run/run.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/broken.h"
#include "base/fault.h"
#include "base/mem.h"

#define THREAD_STACK (1024 * 1024)

unsigned run_cpu_count(void)
{
    cpu_set_t set;
    int n;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

void run_cpus_mine(struct run_cpus *ret)
{
    cpu_set_t set;

    *ret = (struct run_cpus){{0}};
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return;
    for (unsigned i = 0; i < RUN_CPUS_MAX && i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set))
            ret->bits[i / 64] |= UINT64_C(1) << i % 64;
}

static void *widen(void *arg)
{
    cpu_set_t all;

    memset(&all, 0xff, sizeof(all));
    if (sched_setaffinity(0, sizeof(all), &all) == 0)
        run_cpus_mine(arg);
    return NULL;
}

void run_cpus_allowed(struct run_cpus *ret)
{
    struct err ignored = {0};
    pthread_t t;

    run_cpus_mine(ret);
    if (run_thread_start(&t, widen, ret, "nrt-cpus", &ignored) == NRT_SUCCESS)
        pthread_join(t, NULL);
}

unsigned run_cpu_now(void)
{
    int cpu = sched_getcpu();

    return cpu > 0 ? (unsigned)cpu : 0;
}

bool run_cpu_move(unsigned cpu)
{
    cpu_set_t mine, only;

    CPU_ZERO(&mine);
    if (cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof(mine), &mine) != 0 ||
        !CPU_ISSET(cpu, &mine))
        return false;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    if (sched_setaffinity(0, sizeof(only), &only) != 0)
        return false;
    return sched_setaffinity(0, sizeof(mine), &mine) == 0;
}

static const char *blanks_skip(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* With blanks around it. */
static bool cpu_number(const char **text, unsigned *ret)
{
    unsigned v = 0;
    const char *p = blanks_skip(*text);

    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        v = v * 10 + (unsigned)(*p - '0');
        if (v >= RUN_CPUS_MAX)
            return false;
    }
    *text = blanks_skip(p);
    *ret = v;
    return true;
}

bool run_cpus_parse(const char *text, struct run_cpus *ret)
{
    struct run_cpus cpus = {{0}};

    while (!BROKEN(PERF)) {
        unsigned first, last;

        if (!cpu_number(&text, &first))
            return false;
        last = first;
        if (*text == '-') {
            text++;
            if (!cpu_number(&text, &last) || last < first)
                return false;
        }
        for (unsigned c = first; c <= last; c++)
            cpus.bits[c / 64] |= 1ull << (c % 64);
        if (*text == '\0') {
            *ret = cpus;
            return true;
        }
        if (*text++ != ',')
            return false;
    }
    return false;
}

bool run_thread_pin(pthread_t t, const struct run_cpus *cpus)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    for (unsigned c = 0; c < RUN_CPUS_MAX && c < CPU_SETSIZE; c++) {
        if (cpus->bits[c / 64] >> (c % 64) & 1)
            CPU_SET(c, &set);
    }
    errno = pthread_setaffinity_np(t, sizeof(set), &set);
    return errno == 0;
}

void run_thread_keep(pthread_t t, const struct run_cpus *cpus)
{
    for (unsigned w = 0; w < RUN_CPUS_MAX / 64; w++) {
        if (cpus->bits[w] == 0)
            continue;
        (void)run_thread_pin(t, cpus);
        return;
    }
}

/* The floating-point control word that our arithmetic runs under: round to nearest even, no
 * flush-to-zero, no denormals-are-zero, exceptions masked. Its flags nobody here looks at. */
#if defined(__x86_64__)
/* MXCSR, and above it the x87 control word: the C library rounds decimal text by the latter. */
#define FP_OURS  (0x1F80u | 0x037Full << 32)
#define FP_FLAGS UINT64_C(0x3F)

static uint64_t fp_read(void)
{
    uint16_t cw;

    __asm__ volatile("fnstcw %0" : "=m"(cw));
    return __builtin_ia32_stmxcsr() | (uint64_t)cw << 32;
}

static void fp_write(uint64_t v, uint64_t before)
{
    uint16_t cw = (uint16_t)(v >> 32);

    if ((uint16_t)(before >> 32) != cw)
        __asm__ volatile("fldcw %0" : : "m"(cw));
    __builtin_ia32_ldmxcsr((unsigned)v);
}
#elif defined(__aarch64__)
/* FPCR: AHP 26, DN 25, FZ 24, RMode 23..22, FZ16 19, trap enables 15 and 12..8. FPSR keeps the
 * cumulative flags apart; both fit one word. */
static uint64_t fp_read(void)
{
    uint64_t fpcr, fpsr;

    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("mrs %0, fpsr" : "=r"(fpsr));
    return (fpcr & 0xFFFFFFFFu) | fpsr << 32;
}

#define FP_OURS  UINT64_C(0)
#define FP_FLAGS (UINT64_C(0xFFFFFFFF) << 32)

static void fp_write(uint64_t v, uint64_t before)
{
    uint64_t fpcr = v & 0xFFFFFFFFu, fpsr = v >> 32;

    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr) : "memory");
    __asm__ volatile("msr fpsr, %0" : : "r"(fpsr) : "memory");
}
#else
#error "the floating-point control word of this processor is not known"
#endif

/* Flags that a program has raised stay as they are, and are there nearly always: a write takes as
 * long as hundred other instructions. */
uint64_t run_fp_enter(void)
{
    uint64_t saved = fp_read();

    if ((saved & ~FP_FLAGS) != FP_OURS)
        fp_write(FP_OURS, saved);
    return saved;
}

void run_fp_leave(uint64_t saved)
{
    uint64_t now = fp_read();

    if (now != saved)
        fp_write(saved, now);
}

void run_caller_enter(struct run_caller *c)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &c->cancel);
    c->fp = run_fp_enter();
}

void run_caller_leave(const struct run_caller *c)
{
    run_fp_leave(c->fp);
    pthread_setcancelstate(c->cancel, NULL);
}

struct thread_start {
    void *(*fn)(void *arg);
    void *arg;
    char name[16];
};

static void *thread_main(void *arg)
{
    struct thread_start start = *(struct thread_start *)arg;

    mem_free(arg);
    if (start.name[0] != '\0')
        pthread_setname_np(pthread_self(), start.name);
    run_fp_enter();
    return start.fn(start.arg);
}

NRT_STATUS run_thread_start(pthread_t *ret, void *(*fn)(void *arg), void *arg, const char *name,
                            struct err *err)
{
    struct thread_start *start = mem_zalloc(sizeof(*start));
    sigset_t all, before;
    pthread_attr_t attr;
    int rc;

    if (start == NULL)
        return err_set(err, NRT_RESOURCE, "out of memory for a thread");
    start->fn = fn;
    start->arg = arg;
    if (name != NULL)
        strncpy(start->name, name, sizeof(start->name) - 1);
    rc = pthread_attr_init(&attr);
    if (rc == 0) {
        pthread_attr_setstacksize(&attr, THREAD_STACK);
        /* The new thread inherits the mask, so no signal finds it unblocked even for a moment. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        rc = fault_hit(FAULT_THREAD) ? errno : pthread_create(ret, &attr, thread_main, start);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
    }
    if (rc != 0) {
        mem_free(start);
        return err_set(err, NRT_RESOURCE, "cannot start a thread: %s", strerror(rc));
    }
    return NRT_SUCCESS;
}
